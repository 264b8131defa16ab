//! Times of day: "half past three", "7:30 p.m.", "at seven". Without morning or evening, a time is the first such time at or
//! after the slot's `earliest`.

use std::fmt;
use std::ops::Range;

use jiff::civil::Time;
use serde::{Serialize, Serializer};

use super::dates::Asked;
use super::numbers::{self, number_at, value_of};
use super::words::{Word, at, has, is_at};

/// A time that somebody said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment(pub Time);

/// As ISO 8601: `15:30`.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%H:%M"))
    }
}

/// As it is said: "3:30 p.m.".
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hour = (self.0.hour() + 11) % 12 + 1;
        let half = if self.0.hour() < 12 { "a.m." } else { "p.m." };
        match (self.0.hour(), self.0.minute()) {
            (12, 0) => f.write_str("noon"),
            (0, 0) => f.write_str("midnight"),
            (_, 0) => write!(f, "{hour} {half}"),
            (_, minute) => write!(f, "{hour}:{minute:02} {half}"),
        }
    }
}

impl Moment {
    /// The same hour of the other half of the day, if that is what was said: "no, in the evening".
    pub fn in_the_other_half(self, words: &[Word]) -> Option<Moment> {
        let wanted = half_in(words)?;
        let hour = self.0.hour() % 12 + if wanted == Half::Afternoon { 12 } else { 0 };
        Time::new(hour, self.0.minute(), 0, 0).ok().map(Moment).filter(|moment| *moment != self)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Morning,
    Afternoon,
}

/// A time on the clock's face, or one of 24 hours.
#[derive(Clone, Copy)]
struct Face {
    hour: u64,
    minute: u64,
    /// It was said so that it can be nothing but a time.
    plainly: bool,
    /// It was written with a leading zero: of 24 hours.
    of_24: bool,
}

/// The words that times are made of.
pub fn expected() -> impl Iterator<Item = &'static str> {
    ["half", "quarter", "past", "noon", "midnight", "o'clock"].into_iter().chain(numbers::expected())
}

/// The first time that was said, and its words. A bare "four" is one only if a time was asked for.
pub fn time(words: &[Word], earliest: Time, asked: Asked) -> Option<(Moment, Range<usize>)> {
    (0..words.len()).find_map(|from| time_at(words, from, earliest, asked).map(|(time, to)| (Moment(time), from..to)))
}

fn time_at(words: &[Word], from: usize, earliest: Time, asked: Asked) -> Option<(Time, usize)> {
    match at(words, from) {
        "noon" | "midday" => return Some((Time::midnight().with().hour(12).build().ok()?, from + 1)),
        "midnight" => return Some((Time::midnight(), from + 1)),
        _ => {}
    }
    let (face, to) = past(words, from).or_else(|| to_the_hour(words, from)).or_else(|| on_the_clock(words, from))?;
    let after = half_at(words, to);
    let (half, to) = match after {
        Some((half, to)) => (Some(half), to),
        None => (half_in(words), to),
    };
    if !(face.plainly || after.is_some() || asked == Asked::ForThis) {
        return None;
    }
    resolved(face, half, earliest).map(|time| (time, to))
}

/// "Half past three", "ten after four", "quarter past one", and as the British have it "half three".
fn past(words: &[Word], from: usize) -> Option<(Face, usize)> {
    let (minute, place) = part_of_hour(words, from)?;
    let place = match (at(words, place), at(words, from)) {
        ("past" | "after", _) => place + 1,
        (_, "half") => place,
        _ => return None,
    };
    let (hour, to) = hour(words, place)?;
    Some((Face { hour, minute, plainly: true, of_24: false }, to))
}

/// "Quarter to three", "five minutes before noon" (without the noon).
fn to_the_hour(words: &[Word], from: usize) -> Option<(Face, usize)> {
    let (minutes, place) = part_of_hour(words, from)?;
    if !matches!(at(words, place), "to" | "of" | "before" | "till" | "until") {
        return None;
    }
    let (hour, to) = hour(words, place + 1)?;
    // "Two of five" is no time; the quarter of five is.
    let plainly = at(words, place) != "of" || at(words, place - 1) == "quarter";
    Some((Face { hour: (hour + 11) % 12, minute: 60 - minutes, plainly, of_24: false }, to))
        .map(|(face, to)| (Face { hour: if face.hour == 0 { 12 } else { face.hour }, ..face }, to))
        .filter(|_| plainly)
}

fn part_of_hour(words: &[Word], from: usize) -> Option<(u64, usize)> {
    let from = from + usize::from(at(words, from) == "a");
    match at(words, from) {
        "half" => Some((30, from + 1)),
        "quarter" => Some((15, from + 1)),
        _ => {
            let (minutes, place) = number_at(words, from).filter(|(minutes, _)| (1..60).contains(minutes))?;
            Some((minutes, place + usize::from(at(words, place) == "minutes")))
        }
    }
}

fn hour(words: &[Word], place: usize) -> Option<(u64, usize)> {
    let hour = value_of(at(words, place)).filter(|hour| (1..=12).contains(hour))?;
    Some((hour, place + 1 + usize::from(is_o_clock(at(words, place + 1)))))
}

fn is_o_clock(word: &str) -> bool {
    matches!(word, "o'clock" | "oclock")
}

/// "3:30", "three thirty", "seven oh five", "three o'clock", "at seven".
fn on_the_clock(words: &[Word], from: usize) -> Option<(Face, usize)> {
    let word = at(words, from);
    if let Some((hour, minute)) = word.split_once(':') {
        let face = Face {
            hour: hour.parse().ok()?,
            minute: minute.parse().ok()?,
            plainly: true,
            of_24: word.starts_with('0'),
        };
        return Some((face, from + 1));
    }
    let hour = value_of(word).filter(|hour| *hour < 24).map(|tens| match value_of(at(words, from + 1)) {
        Some(ones @ 1..=3) if tens == 20 && word == "twenty" => (tens + ones, from + 2),
        _ => (tens, from + 1),
    });
    let (hour, place) = hour?;
    let said_as_time = from > 0 && matches!(at(words, from - 1), "at" | "by" | "around" | "about" | "until" | "till");
    if is_o_clock(at(words, place)) {
        return Some((Face { hour, minute: 0, plainly: true, of_24: false }, place + 1));
    }
    let (minute, to) = minutes(words, place).unwrap_or((0, place));
    Some((Face { hour, minute, plainly: said_as_time, of_24: false }, to))
}

/// "Thirty", "oh five", "forty five".
fn minutes(words: &[Word], place: usize) -> Option<(u64, usize)> {
    if matches!(at(words, place), "oh" | "o") {
        return value_of(at(words, place + 1)).filter(|minute| *minute < 10).map(|minute| (minute, place + 2));
    }
    number_at(words, place).filter(|(minute, _)| (10..60).contains(minute))
}

/// "a.m.", "in the evening", right after a time.
fn half_at(words: &[Word], place: usize) -> Option<(Half, usize)> {
    let rows: [(&[&str], Half); 8] = [
        (&["am"], Half::Morning),
        (&["pm"], Half::Afternoon),
        (&["a", "m"], Half::Morning),
        (&["p", "m"], Half::Afternoon),
        (&["in", "the", "morning"], Half::Morning),
        (&["in", "the", "afternoon"], Half::Afternoon),
        (&["in", "the", "evening"], Half::Afternoon),
        (&["at", "night"], Half::Afternoon),
    ];
    rows.iter().find(|(row, _)| is_at(words, place, row)).map(|(row, half)| (*half, place + row.len()))
}

/// The half of the day that the whole sentence is about: "tomorrow morning at seven".
fn half_in(words: &[Word]) -> Option<Half> {
    let says = |rows: &[&str]| rows.iter().any(|row| has(words, row));
    match (says(&["morning", "am"]), says(&["afternoon", "evening", "tonight", "pm", "at night"])) {
        (true, false) => Some(Half::Morning),
        (false, true) => Some(Half::Afternoon),
        _ => None,
    }
}

fn resolved(face: Face, half: Option<Half>, earliest: Time) -> Option<Time> {
    let at = |hour: u64| Time::new(i8::try_from(hour).ok()?, i8::try_from(face.minute).ok()?, 0, 0).ok();
    if face.hour == 0 || face.hour > 12 || face.of_24 {
        return at(face.hour);
    }
    let (morning, afternoon) = (at(face.hour % 12)?, at(face.hour % 12 + 12)?);
    Some(match half {
        Some(Half::Morning) => morning,
        Some(Half::Afternoon) => afternoon,
        None if morning >= earliest || afternoon < earliest => morning,
        None => afternoon,
    })
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn read(heard: &str, asked: Asked) -> Option<String> {
        time(&words(heard), "07:00".parse().unwrap(), asked).map(|(time, _)| time.0.strftime("%H:%M").to_string())
    }

    #[test]
    fn times_are_read() {
        for (heard, wanted) in [
            ("half past three", "15:30"),
            ("a quarter past nine in the evening", "21:15"),
            ("quarter to eight", "07:45"),
            ("quarter of five", "16:45"),
            ("half seven", "07:30"),
            ("ten minutes to one", "12:50"),
            ("twenty after six a.m.", "06:20"),
            ("7:30 p.m.", "19:30"),
            ("07:05", "07:05"),
            ("15:45", "15:45"),
            ("3:30", "15:30"),
            ("at seven", "07:00"),
            ("around six", "18:00"),
            ("seven thirty pm", "19:30"),
            ("at seven oh five", "07:05"),
            ("at twenty two fifteen", "22:15"),
            ("four o'clock", "16:00"),
            ("4 o'clock in the morning", "04:00"),
            ("twelve p.m.", "12:00"),
            ("12 a.m.", "00:00"),
            ("at twelve", "12:00"),
            ("noon", "12:00"),
            ("tomorrow evening at eight", "20:00"),
            ("tonight at nine thirty", "21:30"),
            ("a table for four at half past seven", "07:30"),
        ] {
            assert_eq!(read(heard, Asked::ForOther).as_deref(), Some(wanted), "{heard}");
        }
        assert_eq!(read("four", Asked::ForThis).as_deref(), Some("16:00"));
        assert_eq!(read("nine forty five", Asked::ForThis).as_deref(), Some("09:45"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for heard in ["", "four", "a table for four", "25:10", "two of five", "half a dozen", "at thirty", "7:75"] {
            assert_eq!(read(heard, Asked::ForOther), None, "{heard}");
        }
    }

    #[test]
    fn the_earliest_decides_between_morning_and_evening() {
        let from_noon =
            |heard: &str| time(&words(heard), "12:00".parse().unwrap(), Asked::ForThis).unwrap().0.to_string();
        assert_eq!(from_noon("half past seven"), "7:30 p.m.");
        assert_eq!(from_noon("seven in the morning"), "7 a.m.");
        assert_eq!(from_noon("twelve"), "noon");
    }

    #[test]
    fn the_half_of_the_day_can_be_put_right() {
        let seven = Moment("07:00".parse().unwrap());
        let put = |heard: &str| seven.in_the_other_half(&words(heard)).map(|moment| moment.to_string());
        assert_eq!(put("no, in the evening").as_deref(), Some("7 p.m."));
        assert_eq!(put("in the morning"), None);
        assert_eq!(put("no"), None);
    }
}
