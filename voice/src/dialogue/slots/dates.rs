//! Days: "tomorrow", "next Tuesday", "the third of May". What is said without a year, or a month, is the next such day.

use std::fmt;
use std::ops::Range;

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};
use serde::{Serialize, Serializer};

use super::numbers::{number_at, value_of};
use super::words::{Word, at, is_at};

/// A day that somebody said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Day {
    pub date: Date,
    /// Whether the year was said, and so has to be said back.
    with_year: bool,
}

/// As ISO 8601: `2027-05-03`.
impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.date)
    }
}

/// As it is said: "Monday, May 3rd".
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.date.day();
        let suffix = match (day, day % 10) {
            (11..=13, _) => "th",
            (_, 1) => "st",
            (_, 2) => "nd",
            (_, 3) => "rd",
            _ => "th",
        };
        write!(f, "{}{suffix}", self.date.strftime("%A, %B %-d"))?;
        if self.with_year { write!(f, ", {}", self.date.year()) } else { Ok(()) }
    }
}

/// Whether a bare "the third" is a day: it is if a day was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    ForThis,
    ForOther,
}

/// The first day that was said, and its words. `None` if none was, or if what was said is no day: the thirtieth of
/// February, a Monday that is a Tuesday.
pub fn day(words: &[Word], today: Date, asked: Asked) -> Option<(Day, Range<usize>)> {
    let (from, (day, to)) = (0..words.len()).find_map(|from| Some((from, day_at(words, from, today, asked)?)))?;
    day.map(|day| (day, from..to))
}

/// What begins at a place, and where it ends. A day that there is not is none, and nothing is looked for behind it.
type Read = (Option<Day>, usize);

fn day_at(words: &[Word], from: usize, today: Date, asked: Asked) -> Option<Read> {
    let plain = |(date, to): (Date, usize)| (Some(Day { date, with_year: false }), to);
    relative(words, from, today)
        .or_else(|| distance(words, from, today, asked))
        .map(plain)
        .or_else(|| on_weekday(words, from, today))
        .or_else(|| absolute(words, from, today, asked).map(|(day, to)| (Some(day), to)))
}

fn relative(words: &[Word], from: usize, today: Date) -> Option<(Date, usize)> {
    if is_at(words, from, &["day", "after", "tomorrow"]) {
        return Some((today.checked_add(2.days()).ok()?, from + 3));
    }
    match at(words, from) {
        "today" | "tonight" => Some((today, from + 1)),
        "tomorrow" => Some((today.tomorrow().ok()?, from + 1)),
        "this" if matches!(at(words, from + 1), "morning" | "afternoon" | "evening") => Some((today, from + 2)),
        _ => None,
    }
}

/// "In three days", "two weeks from Monday".
fn distance(words: &[Word], from: usize, today: Date, asked: Asked) -> Option<(Date, usize)> {
    let after_in = at(words, from) == "in";
    let start = from + usize::from(after_in);
    let (count, unit) = match at(words, start) {
        "a" | "an" => (1, start + 1),
        _ => number_at(words, start)?,
    };
    let count = i64::try_from(count).ok().filter(|count| *count < 1_000)?;
    let span = match at(words, unit) {
        "day" | "days" => count.days(),
        "week" | "weeks" => count.weeks(),
        "month" | "months" => count.months(),
        _ => return None,
    };
    if after_in {
        return Some((today.checked_add(span).ok()?, unit + 1));
    }
    if !matches!(at(words, unit + 1), "from" | "after") {
        return None;
    }
    let (origin, to) = match at(words, unit + 2) {
        "now" => (today, unit + 3),
        _ => match day_at(words, unit + 2, today, asked)? {
            (Some(day), to) => (day.date, to),
            (None, _) => return None,
        },
    };
    Some((origin.checked_add(span).ok()?, to))
}

/// "Thursday" is the next one after today, "next Thursday" that of the next week, which begins on Monday. A date that
/// follows has to be on that day of the week.
fn on_weekday(words: &[Word], from: usize, today: Date) -> Option<Read> {
    let next_week = |place: usize| is_at(words, place, &["next", "week"]);
    let mut place = from;
    let mut next = false;
    if next_week(place) {
        (place, next) = (place + 2 + usize::from(at(words, place + 2) == "on"), true);
    } else if matches!(at(words, place), "next" | "this" | "coming") {
        (next, place) = (at(words, place) == "next", place + 1);
    }
    let weekday = weekday(at(words, place))?;
    place += 1;
    if next_week(place) {
        (place, next) = (place + 2, true);
    }
    if let Some((day, to)) = absolute(words, place, today, Asked::ForThis) {
        return Some((Some(day).filter(|day| day.date.weekday() == weekday), to));
    }
    let date = if next {
        let monday = today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?;
        monday.checked_add((7 + i64::from(weekday.to_monday_zero_offset())).days()).ok()?
    } else {
        today.nth_weekday(1, weekday).ok()?
    };
    Some((Some(Day { date, with_year: false }), place))
}

const MONTHS: [(&str, &str); 12] = [
    ("january", "jan"),
    ("february", "feb"),
    ("march", "march"),
    ("april", "apr"),
    ("may", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sept"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

const ORDINALS: [&str; 20] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];

/// The words that days are made of.
pub fn expected() -> impl Iterator<Item = &'static str> {
    const OTHERS: [&str; 12] = [
        "today",
        "tomorrow",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "twenty",
        "thirty",
        "thirtieth",
    ];
    OTHERS.into_iter().chain(MONTHS.map(|(name, _)| name)).chain(ORDINALS)
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word.trim_end_matches("'s") {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

/// "The third of May", "May 3rd, 2027", "2027-05-03", and "the third" where that is a day.
fn absolute(words: &[Word], from: usize, today: Date, asked: Asked) -> Option<(Day, usize)> {
    iso(words, from).or_else(|| of_month(words, from, today)).or_else(|| of_any_month(words, from, today, asked))
}

fn iso(words: &[Word], from: usize) -> Option<(Day, usize)> {
    let figures = |place: usize, len: usize| Some(at(words, place)).filter(|word| word.len() == len);
    let (year, month, day) = (figures(from, 4)?, figures(from + 1, 2)?, figures(from + 2, 2)?);
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    Some((Day { date, with_year: true }, from + 3))
}

fn of_month(words: &[Word], from: usize, today: Date) -> Option<(Day, usize)> {
    let from = from + usize::from(at(words, from) == "the");
    let (month, day, end) = match month(at(words, from)) {
        Some(month) => {
            let place = from + 1 + usize::from(at(words, from + 1) == "the");
            let (day, end) = ordinal(words, place).or_else(|| cardinal(words, place))?;
            (month, day, end)
        }
        None => {
            let (day, place) = ordinal(words, from).or_else(|| cardinal(words, from))?;
            let place = place + usize::from(at(words, place) == "of");
            (month(at(words, place))?, day, place + 1)
        }
    };
    if let Some((year, end)) = year(words, end) {
        return Some((Day { date: Date::new(year, month, day).ok()?, with_year: true }, end));
    }
    // The twenty-ninth of February may be years away.
    let date =
        (0..8).filter_map(|years| Date::new(today.year() + years, month, day).ok()).find(|date| *date >= today)?;
    Some((Day { date, with_year: false }, end))
}

fn of_any_month(words: &[Word], from: usize, today: Date, asked: Asked) -> Option<(Day, usize)> {
    let article = usize::from(at(words, from) == "the");
    let on = from > 0 && at(words, from - 1) == "on";
    let (day, end) = ordinal(words, from + article)?;
    let written = at(words, from + article).starts_with(|first: char| first.is_ascii_digit());
    if !(written || asked == Asked::ForThis || (on && article == 1)) {
        return None;
    }
    let first = today.first_of_month();
    let months = (0..3_i64).filter_map(|months| first.checked_add(months.months()).ok());
    let date =
        months.filter_map(|month| Date::new(month.year(), month.month(), day).ok()).find(|date| *date >= today)?;
    Some((Day { date, with_year: false }, end))
}

fn month(word: &str) -> Option<i8> {
    MONTHS.iter().position(|(name, short)| *name == word || *short == word).map(|at| at as i8 + 1)
}

/// "Third", "twenty first", "3rd": 1 to 31.
fn ordinal(words: &[Word], place: usize) -> Option<(i8, usize)> {
    let small = |word: &str| ORDINALS.iter().position(|&ordinal| ordinal == word).map(|at| at as i8 + 1);
    let word = at(words, place);
    if let Some(ordinal) = small(word) {
        return Some((ordinal, place + 1));
    }
    if word == "thirtieth" {
        return Some((30, place + 1));
    }
    if let Some(tens @ (20 | 30)) = value_of(word)
        && let Some(ones) = small(at(words, place + 1)).filter(|ones| *ones < 10)
    {
        return Some((tens as i8 + ones, place + 2)).filter(|(day, _)| *day <= 31);
    }
    let figures = ["st", "nd", "rd", "th"].iter().find_map(|suffix| word.strip_suffix(suffix))?;
    figures.parse().ok().filter(|day| (1..=31).contains(day)).map(|day| (day, place + 1))
}

/// "May three", "3 May".
fn cardinal(words: &[Word], place: usize) -> Option<(i8, usize)> {
    let (value, to) = number_at(words, place)?;
    i8::try_from(value).ok().filter(|day| (1..=31).contains(day)).map(|day| (day, to))
}

/// "2027", "twenty twenty-seven", "two thousand and twenty-seven".
fn year(words: &[Word], place: usize) -> Option<(i16, usize)> {
    let (first, middle) = number_at(words, place)?;
    if (1_900..2_200).contains(&first) {
        return Some((first as i16, middle));
    }
    let (second, end) = number_at(words, middle)?;
    ((19..22).contains(&first) && (10..100).contains(&second)).then_some(((first * 100 + second) as i16, end))
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    /// A Wednesday.
    const TODAY: &str = "2026-11-18";

    fn read(heard: &str, asked: Asked) -> Option<String> {
        day(&words(heard), TODAY.parse().unwrap(), asked).map(|(day, _)| day.date.to_string())
    }

    #[test]
    fn days_are_read() {
        for (heard, wanted) in [
            ("today please", "2026-11-18"),
            ("this afternoon", "2026-11-18"),
            ("tomorrow", "2026-11-19"),
            ("the day after tomorrow", "2026-11-20"),
            ("in three days", "2026-11-21"),
            ("in a week", "2026-11-25"),
            ("two weeks from tomorrow", "2026-12-03"),
            ("a week from Friday", "2026-11-27"),
            ("in two months", "2027-01-18"),
            ("on Thursday", "2026-11-19"),
            ("this Friday at five", "2026-11-20"),
            ("Wednesday", "2026-11-25"),
            ("next Tuesday", "2026-11-24"),
            ("next Friday", "2026-11-27"),
            ("Friday next week", "2026-11-27"),
            ("next week on Monday", "2026-11-23"),
            ("the third of May", "2027-05-03"),
            ("third May", "2027-05-03"),
            ("May third", "2027-05-03"),
            ("May the 3rd", "2027-05-03"),
            ("3 December", "2026-12-03"),
            ("November eighteenth", "2026-11-18"),
            ("December twenty-first", "2026-12-21"),
            ("the thirty first of December", "2026-12-31"),
            ("May third, twenty twenty-eight", "2028-05-03"),
            ("born on the 3rd of May 1984", "1984-05-03"),
            ("the first of June two thousand and twenty-seven", "2027-06-01"),
            ("2027-05-03", "2027-05-03"),
            ("February 29th", "2028-02-29"),
            ("on the fifth", "2026-12-05"),
            ("the 20th", "2026-11-20"),
            ("Monday the third of May", "2027-05-03"),
            ("Thursday the nineteenth", "2026-11-19"),
        ] {
            assert_eq!(read(heard, Asked::ForOther).as_deref(), Some(wanted), "{heard}");
        }
        assert_eq!(read("the third", Asked::ForThis).as_deref(), Some("2026-12-03"));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for heard in [
            "",
            "the thirtieth of February",
            "I may come",
            "a second opinion",
            "the third",
            "some day",
            "in three minutes",
            "three",
            "Tuesday the third of May",
            "May the fortieth",
        ] {
            assert_eq!(read(heard, Asked::ForOther), None, "{heard}");
        }
    }

    #[test]
    fn a_day_is_said_as_people_say_it() {
        let said = |heard: &str| day(&words(heard), TODAY.parse().unwrap(), Asked::ForThis).unwrap().0.to_string();
        assert_eq!(said("the third of May"), "Monday, May 3rd");
        assert_eq!(said("may 11 2027"), "Tuesday, May 11th, 2027");
        assert_eq!(said("the twenty second"), "Sunday, November 22nd");
    }
}
