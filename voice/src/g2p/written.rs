//! From text as it is written to words as they are said: numbers, dates, times, money, telephone numbers, units,
//! abbreviations, addresses of the internet.
//!
//! The text is read in pieces, as they stand between spaces, each without the marks around it. The first reading that
//! fits a piece (with the one after it, where that belongs to it) is taken.

use super::numbers::{cardinal, digits, ordinal, year};
use super::stress::Emphasis;

/// What is said, or where one pauses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// A word, with apostrophes, hyphens, or the periods of an abbreviation in it.
    Word {
        text: String,
        emphasis: Option<Emphasis>,
        /// Whether there is a space before it.
        spaced: bool,
    },
    /// One of `; : , . ! ? — … “ ” ( )`.
    Mark { mark: char, spaced: bool },
}

/// Longer texts are cut: nobody says that much in one breath.
const TEXT_MAX: usize = 4_000;

/// The words and marks of a text.
pub fn tokens(text: &str) -> Vec<Token> {
    let text: String = text.chars().take(TEXT_MAX).map(plain).collect();
    let pieces: Vec<Piece<'_>> = text.split_whitespace().map(Piece::new).collect();
    let mut reader = Reader { pieces, at: 0, out: Vec::new() };
    while reader.at < reader.pieces.len() {
        reader.read();
    }
    reader.out
}

/// Variants of a character are the character.
fn plain(character: char) -> char {
    match character {
        '’' | '‘' | '`' | '´' => '\'',
        '‐' | '‑' | '‒' => '-',
        '―' => '—',
        '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
        other => other,
    }
}

/// What stands between two spaces: marks, a core, marks.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    before: &'a str,
    core: &'a str,
    after: &'a str,
}

impl<'a> Piece<'a> {
    fn new(text: &'a str) -> Self {
        const OPENING: &[char] =
            &['(', '[', '{', '"', '“', '”', '«', '\'', ',', ';', ':', '!', '?', '*', '…', '—', '–', '_'];
        const CLOSING: &[char] = &[
            '.', ',', ';', ':', '!', '?', ')', ']', '}', '"', '“', '”', '»', '\'', '…', '*', '—', '–', '_', '™', '®',
            '©',
        ];
        let mut inner = text.trim_start_matches(OPENING);
        if inner.starts_with("..") {
            inner = inner.trim_start_matches('.');
        }
        let before = &text[..text.len() - inner.len()];
        let core = inner.trim_end_matches(CLOSING);
        let (mut core, mut after) = (core, &inner[core.len()..]);
        // An abbreviation owns its period, a plural its apostrophe.
        let owns_apostrophe = core.ends_with('s') && !before.contains('\'');
        if (after.starts_with('.') && owns_period(core)) || (after.starts_with('\'') && owns_apostrophe) {
            (core, after) = (&inner[..core.len() + 1], &after[1..]);
        }
        // 'tis, 'em
        if before.ends_with('\'')
            && !after.contains('\'')
            && matches!(core.to_lowercase().as_str(), "tis" | "twas" | "em" | "cause" | "til")
        {
            return Piece {
                before: &before[..before.len() - 1],
                core: &text[before.len() - 1..before.len() + core.len()],
                after,
            };
        }
        Piece { before, core, after }
    }
}

fn owns_period(core: &str) -> bool {
    abbreviation(&format!("{core}.")).is_some()
        || title(core).is_some()
        || (core.contains('.') && core.split('.').all(|part| part.len() == 1 && part.chars().all(char::is_alphabetic)))
        || matches!(core, "a.m" | "p.m" | "A.M" | "P.M")
}

struct Reader<'a> {
    pieces: Vec<Piece<'a>>,
    at: usize,
    out: Vec<Token>,
}

impl Reader<'_> {
    /// Reads one piece, and those that belong to it.
    fn read(&mut self) {
        let piece = self.pieces[self.at];
        let next =
            self.pieces.get(self.at + 1).copied().filter(|next| piece.after.is_empty() && next.before.is_empty());
        if let Some(next) = self.pieces.get(self.at + 1)
            && is_area_code(piece, next.core)
        {
            for word in digits(piece.core).iter().map(String::as_str).chain([","]) {
                self.word(word, true);
            }
            self.at += 1;
            return;
        }
        let said = self.out.len();
        self.marks(piece.before, true);
        let glued = self.out.len() > said;
        let readings: [Read; 16] = [
            |core, _| dash(core),
            time,
            date,
            month_and_day,
            |core, _| telephone(core),
            money,
            measured,
            |core, _| fraction(core),
            |core, _| range(core),
            |core, _| ordinal_number(core),
            |core, _| number(core),
            abbreviated,
            |core, _| internet(core),
            |core, _| symbol(core),
            |core, _| mixed(core),
            |core, _| Some(Reading::of([core.to_owned()])),
        ];
        let next_core = next.map(|next| next.core);
        let reading = readings.iter().find_map(|reading| reading(piece.core, next_core)).unwrap_or_default();
        let last = self.at + reading.more;
        for (at, word) in reading.words.iter().enumerate() {
            self.word(word, at > 0 || !glued);
        }
        if reading.owns_period && piece.after.is_empty() && self.ends_sentence(last) {
            self.out.push(Token::Mark { mark: '.', spaced: false });
        }
        self.marks(self.pieces[last].after, false);
        self.at = last + 1;
    }

    /// Whether nothing follows, so that an abbreviation's period ended the sentence too.
    fn ends_sentence(&self, at: usize) -> bool {
        at + 1 == self.pieces.len() && self.pieces[at].after.is_empty()
    }

    fn word(&mut self, word: &str, spaced: bool) {
        if word == "," {
            return self.out.push(Token::Mark { mark: ',', spaced: false });
        }
        if word == "—" {
            return self.out.push(Token::Mark { mark: '—', spaced: true });
        }
        // "O" and "point" between digits are hardly heard.
        let emphasis = (word == "point").then_some(Emphasis::Off);
        if !word.is_empty() {
            self.out.push(Token::Word { text: word.to_owned(), emphasis, spaced });
        }
    }

    fn marks(&mut self, marks: &str, opening: bool) {
        let mut first = opening;
        for mark in marks.chars() {
            let mark = match mark {
                '"' | '«' | '»' if opening => '“',
                '"' | '«' | '»' => '”',
                '[' | '{' => '(',
                ']' | '}' => ')',
                '–' => '—',
                other => other,
            };
            if ";:,.!?—…“”()".contains(mark) {
                self.out.push(Token::Mark { mark, spaced: first });
                first = false;
            }
        }
    }
}

/// One way to read a piece, with the core of the next one. `None`: it is something else.
type Read = fn(&str, Option<&str>) -> Option<Reading>;

/// The words of a piece.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Reading {
    words: Vec<String>,
    /// Pieces after the first that were read with it.
    more: usize,
    /// It ended with the period of an abbreviation.
    owns_period: bool,
}

impl Reading {
    fn of(words: impl IntoIterator<Item = String>) -> Reading {
        Reading { words: words.into_iter().collect(), ..Reading::default() }
    }

    fn with(mut self, more: usize) -> Reading {
        self.more = more;
        self
    }
}

fn text(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn small(text: &str, max: u64) -> Option<u64> {
    text.parse().ok().filter(|&value| all_digits(text) && value <= max)
}

fn dash(core: &str) -> Option<Reading> {
    matches!(core, "-" | "--" | "–" | "—").then(|| Reading::of(["—".to_owned()]))
}

// Times.

/// `7:30`, `7:30pm`, `7pm`, `7:30 p.m.`, `07:05:09`.
fn time(core: &str, next: Option<&str>) -> Option<Reading> {
    let (clock, half_here) = split_half(core);
    let half_next = next
        .filter(|_| half_here.is_none())
        .and_then(|next| split_half(next).1.filter(|_| split_half(next).0.is_empty()));
    let half = half_here.or(half_next);
    let mut parts = clock.split(':');
    let hour = small(parts.next()?, 24)?;
    let minute = parts.next();
    if minute.is_none() && half.is_none() {
        return None;
    }
    let mut words = cardinal(hour);
    let second = parts.next();
    if parts.next().is_some() {
        return None;
    }
    if let Some(minute) = minute {
        match small(minute, 59).filter(|_| minute.len() == 2)? {
            0 if half.is_none() && second.is_none() => words.push("o'clock".to_owned()),
            0 => {}
            minute if minute < 10 => {
                words.push("oh".to_owned());
                words.extend(cardinal(minute));
            }
            minute => words.extend(cardinal(minute)),
        }
    }
    if let Some(second) = second {
        words.push("and".to_owned());
        words.extend(cardinal(small(second, 59)?));
        words.push("seconds".to_owned());
    }
    words.extend(half.map(str::to_owned));
    let ends_with_period =
        if half_next.is_some() { next.is_some_and(|next| next.ends_with('.')) } else { core.ends_with('.') };
    Some(Reading { words, more: usize::from(half_next.is_some()), owns_period: ends_with_period })
}

/// What is before `am`, `p.m.` and the like, and which of them it is.
fn split_half(core: &str) -> (&str, Option<&'static str>) {
    let lower = core.to_lowercase();
    for (ending, said) in
        [("a.m.", "A.M."), ("p.m.", "P.M."), ("a.m", "A.M."), ("p.m", "P.M."), ("am", "A.M."), ("pm", "P.M.")]
    {
        if lower.ends_with(ending) && core.is_char_boundary(core.len() - ending.len()) {
            let before = &core[..core.len() - ending.len()];
            if before.is_empty() || before.ends_with(|character: char| character.is_ascii_digit()) {
                return (before, Some(said));
            }
        }
    }
    (core, None)
}

// Dates.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `10/12/2026`, `2026-10-12`.
fn date(core: &str, _: Option<&str>) -> Option<Reading> {
    let separator = if core.contains('/') { '/' } else { '-' };
    let mut parts = core.split(separator);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || ![a, b, c].into_iter().all(all_digits) {
        return None;
    }
    let (year_text, month, day) = match (separator, a.len(), c.len()) {
        ('-', 4, 2) => (a.to_owned(), small(b, 12)?, small(c, 31)?),
        ('/', 1..=2, 2 | 4) => {
            let century = if c.len() == 4 {
                ""
            } else if small(c, 30).is_some() {
                "20"
            } else {
                "19"
            };
            let (a, b) = (small(a, 31)?, small(b, 31)?);
            let (month, day) = if a <= 12 { (a, b) } else { (b, a) };
            (format!("{century}{c}"), month, day)
        }
        _ => return None,
    };
    let month = MONTHS.get((month as usize).checked_sub(1)?)?;
    let mut words = vec![(*month).to_owned()];
    words.extend(ordinal(day));
    words.push(",".to_owned());
    words.extend(year(small(&year_text, 9_999)?));
    Some(Reading::of(words))
}

/// `October 12`, `Oct. 12th`; `12 October` is said "the twelfth of October".
fn month_and_day(core: &str, next: Option<&str>) -> Option<Reading> {
    let next = next?;
    if let Some(month) = month(core) {
        let day = day(next)?;
        return Some(Reading::of([month.to_owned()].into_iter().chain(ordinal(day))).with(1));
    }
    let month = month(next)?;
    let day = small(core, 31).filter(|&day| day > 0)?;
    let words = [vec!["the".to_owned()], ordinal(day), vec!["of".to_owned(), month.to_owned()]].concat();
    Some(Reading::of(words).with(1))
}

fn day(text: &str) -> Option<u64> {
    let number = ["st", "nd", "rd", "th"].iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(text);
    small(number, 31).filter(|&day| day > 0)
}

fn month(text: &str) -> Option<&'static str> {
    let name = text.trim_end_matches('.');
    let short = name == "Sept" || name.len() == 3;
    MONTHS.into_iter().find(|month| *month == name || (short && name != "May" && month.starts_with(&name[..3])))
}

// Telephone numbers.

/// `555-213-8647`, `(555)213-8647`, `213-8647`, `+1-555-213-8647`: digit by digit, with a pause where there is a hyphen.
fn telephone(core: &str) -> Option<Reading> {
    let (plus, rest) = match core.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, core),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'(' | b')')) {
        return None;
    }
    let groups: Vec<&str> = rest.split(['-', '.', '(', ')']).filter(|group| !group.is_empty()).collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let total: usize = lengths.iter().sum();
    let is_one = match lengths.as_slice() {
        [3, 4] => rest.contains('-'),
        [3, 3, 4] | [1, 3, 3, 4] => true,
        [_] => plus && total >= 8,
        _ => plus && (8..=15).contains(&total),
    };
    is_one.then(|| {
        let mut words = if plus { text("plus") } else { Vec::new() };
        for (at, group) in groups.iter().enumerate() {
            if at > 0 {
                words.push(",".to_owned());
            }
            words.extend(digits(group));
        }
        Reading::of(words)
    })
}

/// `(555)` before `213-8647`.
fn is_area_code(piece: Piece<'_>, next: &str) -> bool {
    let is_rest =
        next.split_once('-').is_some_and(|(a, b)| a.len() == 3 && b.len() == 4 && all_digits(a) && all_digits(b));
    is_rest && piece.before == "(" && piece.after == ")" && piece.core.len() == 3 && all_digits(piece.core)
}

// Numbers.

/// `1,250`, `3.14`, `-5`, `2026` (a year, as four digits mostly are), `007`.
fn number(core: &str) -> Option<Reading> {
    number_words(core).map(Reading::of)
}

fn number_words(core: &str) -> Option<Vec<String>> {
    if let Some(positive) = core.strip_prefix(['-', '−']) {
        return Some([text("minus"), number_words(positive)?].concat());
    }
    if let Some(positive) = core.strip_prefix('+') {
        return Some([text("plus"), number_words(positive)?].concat());
    }
    if all_digits(core) && core.len() == 4 {
        return Some(year(small(core, 9_999)?));
    }
    amount(core)
}

/// Without the reading as a year.
fn amount(core: &str) -> Option<Vec<String>> {
    let (whole, part) = match core.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (core, None),
    };
    let whole_words = if whole.is_empty() { Vec::new() } else { grouped(whole)? };
    let Some(part) = part else { return Some(whole_words).filter(|words| !words.is_empty()) };
    all_digits(part).then_some(())?;
    let part = part.trim_end_matches('0');
    if part.is_empty() {
        return Some(whole_words).filter(|words| !words.is_empty());
    }
    Some([whole_words, text("point"), digits(part)].concat())
}

/// A whole number, perhaps with commas between thousands.
fn grouped(text: &str) -> Option<Vec<String>> {
    let mut groups = text.split(',');
    let first = groups.next()?;
    if !all_digits(first) || !groups.clone().all(|group| group.len() == 3 && all_digits(group)) {
        return None;
    }
    if groups.next().is_some() && first.len() > 3 {
        return None;
    }
    text.replace(',', "").parse().ok().map(cardinal)
}

/// `1st`, `1990s`.
fn ordinal_number(core: &str) -> Option<Reading> {
    if let Some(number) = ["st", "nd", "rd", "th"].iter().find_map(|suffix| core.strip_suffix(suffix)) {
        return Some(Reading::of(ordinal(number.replace(',', "").parse().ok().filter(|_| grouped(number).is_some())?)));
    }
    let decade = core.strip_suffix("'s").or_else(|| core.strip_suffix('s'))?;
    let mut words = number_words(decade).filter(|_| all_digits(decade))?;
    if let Some(last) = words.last_mut() {
        *last = match last.strip_suffix('y') {
            Some(tens) => format!("{tens}ies"),
            None => format!("{last}s"),
        };
    }
    Some(Reading::of(words))
}

/// `3/4`; `10/12` is said as a date, since a fraction of that kind hardly occurs.
fn fraction(core: &str) -> Option<Reading> {
    const PARTS: [&str; 11] =
        ["", "", "half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    let (above, below) = core.split_once('/')?;
    let (above, below) = (small(above, 99)?, small(below, 99)?);
    if above > 0 && above < below && below <= 10 {
        let part = PARTS[below as usize];
        let part = match (above, part) {
            (1, part) => part.to_owned(),
            (_, "half") => "halves".to_owned(),
            (_, part) => format!("{part}s"),
        };
        return Some(Reading::of([cardinal(above), vec![part]].concat()));
    }
    if (1..=12).contains(&above) && (1..=31).contains(&below) {
        let month = MONTHS[above as usize - 1].to_owned();
        return Some(Reading::of([vec![month], ordinal(below)].concat()));
    }
    Some(Reading::of([cardinal(above), text("slash"), cardinal(below)].concat()))
}

/// `9-5`, `2020–2026`.
fn range(core: &str) -> Option<Reading> {
    let (from, to) = core.split_once(['-', '–'])?;
    let (_, _) = (small(from, 9_999)?, small(to, 9_999)?);
    Some(Reading::of([number_words(from)?, text("to"), number_words(to)?].concat()))
}

// Money and measures.

/// `$45.50`, `£3`, `$2 million`, `€5k`, `20 USD` is a [measure](measured).
fn money(core: &str, next: Option<&str>) -> Option<Reading> {
    const CURRENCIES: [(&str, [&str; 2], [&str; 2]); 6] = [
        ("$", ["dollar", "dollars"], ["cent", "cents"]),
        ("£", ["pound", "pounds"], ["pence", "pence"]),
        ("€", ["euro", "euros"], ["cent", "cents"]),
        ("¥", ["yen", "yen"], ["", ""]),
        ("₹", ["rupee", "rupees"], ["", ""]),
        ("₩", ["won", "won"], ["", ""]),
    ];
    let (sign, core) = match core.strip_prefix('-') {
        Some(rest) => (text("minus"), rest),
        None => (Vec::new(), core),
    };
    let (rest, units, parts) =
        CURRENCIES.iter().find_map(|(symbol, units, parts)| Some((core.strip_prefix(symbol)?, units, parts)))?;
    let (rest, scale_here) = match rest.strip_suffix(['k', 'K', 'm', 'M', 'b', 'B']) {
        Some(number) => (number, scale(&rest[number.len()..])),
        None => (rest, None),
    };
    let scale_next = next.filter(|_| scale_here.is_none()).and_then(scale);
    if let Some(scale) = scale_here.or(scale_next) {
        let words = [sign, amount(rest)?, text(scale), text(units[1])].concat();
        return Some(Reading::of(words).with(usize::from(scale_next.is_some())));
    }
    let (whole, cents) = match rest.split_once('.') {
        Some((whole, cents)) if cents.len() == 2 && all_digits(cents) && !parts[0].is_empty() => {
            (whole, small(cents, 99)?)
        }
        Some(_) => return Some(Reading::of([sign, amount(rest)?, text(units[1])].concat())),
        None => (rest, 0),
    };
    let whole = if whole.is_empty() { 0 } else { grouped(whole).and(whole.replace(',', "").parse::<u64>().ok())? };
    let mut words = sign;
    if whole > 0 || cents == 0 {
        words.extend(cardinal(whole));
        words.extend(text(units[usize::from(whole != 1)]));
    }
    if cents > 0 {
        if whole > 0 {
            words.extend(text("and"));
        }
        words.extend(cardinal(cents));
        words.extend(text(parts[usize::from(cents != 1)]));
    }
    Some(Reading::of(words))
}

fn scale(text: &str) -> Option<&'static str> {
    Some(match text {
        "k" | "K" | "thousand" => "thousand",
        "m" | "M" | "million" => "million",
        "b" | "B" | "billion" => "billion",
        "trillion" => "trillion",
        "hundred" => "hundred",
        _ => return None,
    })
}

const UNITS: [(&str, &str, &str); 52] = [
    ("%", "percent", "percent"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    ("°", "degree", "degrees"),
    ("¢", "cent", "cents"),
    ("km", "kilometer", "kilometers"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("kg", "kilogram", "kilograms"),
    ("mg", "milligram", "milligrams"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("ft", "foot", "feet"),
    ("mi", "mile", "miles"),
    ("yd", "yard", "yards"),
    ("ml", "milliliter", "milliliters"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("km/h", "kilometer per hour", "kilometers per hour"),
    ("mph", "mile per hour", "miles per hour"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("KB", "kilobyte", "kilobytes"),
    ("kB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("Gbps", "gigabit per second", "gigabits per second"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("min", "minute", "minutes"),
    ("mins", "minute", "minutes"),
    ("sec", "second", "seconds"),
    ("secs", "second", "seconds"),
    ("ms", "millisecond", "milliseconds"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("MW", "megawatt", "megawatts"),
    ("GW", "gigawatt", "gigawatts"),
    ("mAh", "milliamp hour", "milliamp hours"),
    ("fps", "frame per second", "frames per second"),
    ("cc", "cubic centimeter", "cubic centimeters"),
    ("mcg", "microgram", "micrograms"),
    ("µg", "microgram", "micrograms"),
    ("nm", "nanometer", "nanometers"),
    ("µm", "micrometer", "micrometers"),
    ("USD", "dollar", "dollars"),
    ("EUR", "euro", "euros"),
    ("GBP", "pound", "pounds"),
];

/// `5km`, `5 km`, `20%`, `72°F`.
fn measured(core: &str, next: Option<&str>) -> Option<Reading> {
    let of = |number: &str, unit: &str| {
        let (_, one, many) = UNITS.iter().find(|(short, _, _)| *short == unit)?;
        let words = amount(number.trim_start_matches('-'))?;
        let sign = if number.starts_with('-') { text("minus") } else { Vec::new() };
        let unit = if matches!(number, "1" | "-1" | "1.0") { one } else { many };
        Some([sign, words, text(unit)].concat())
    };
    let unit_from = core.rfind(|character: char| character.is_ascii_digit())? + 1;
    if unit_from < core.len() {
        return of(&core[..unit_from], &core[unit_from..]).map(Reading::of);
    }
    of(core, next?).map(|words| Reading::of(words).with(1))
}

// Abbreviations.

const TITLES: [(&str, &str); 26] = [
    ("Mr", "Mister"),
    ("Mrs", "Mrs"),
    ("Ms", "Miz"),
    ("Dr", "Doctor"),
    ("Prof", "Professor"),
    ("St", "Saint"),
    ("Mt", "Mount"),
    ("Ft", "Fort"),
    ("Gen", "General"),
    ("Gov", "Governor"),
    ("Sen", "Senator"),
    ("Rep", "Representative"),
    ("Capt", "Captain"),
    ("Lt", "Lieutenant"),
    ("Col", "Colonel"),
    ("Sgt", "Sergeant"),
    ("Cmdr", "Commander"),
    ("Rev", "Reverend"),
    ("Hon", "Honorable"),
    ("Pres", "President"),
    ("Supt", "Superintendent"),
    ("Cpl", "Corporal"),
    ("Maj", "Major"),
    ("Adm", "Admiral"),
    ("Fr", "Father"),
    ("Msgr", "Monsignor"),
];

/// Before a name.
fn title(core: &str) -> Option<&'static str> {
    TITLES.iter().find(|(short, _)| *short == core).map(|&(_, long)| long)
}

const ABBREVIATIONS: [(&str, &str); 62] = [
    ("Mr.", "Mister"),
    ("Mrs.", "Mrs"),
    ("Ms.", "Miz"),
    ("Dr.", "Doctor"),
    ("Jr.", "Junior"),
    ("Sr.", "Senior"),
    ("St.", "Street"),
    ("Mt.", "Mount"),
    ("Ave.", "Avenue"),
    ("Blvd.", "Boulevard"),
    ("Rd.", "Road"),
    ("Ln.", "Lane"),
    ("Hwy.", "Highway"),
    ("Pkwy.", "Parkway"),
    ("Ste.", "Suite"),
    ("Apt.", "Apartment"),
    ("Bldg.", "Building"),
    ("Ltd.", "Limited"),
    ("Inc.", "Incorporated"),
    ("Corp.", "Corporation"),
    ("Co.", "Company"),
    ("Bros.", "Brothers"),
    ("Dept.", "Department"),
    ("Univ.", "University"),
    ("Govt.", "Government"),
    ("approx.", "approximately"),
    ("est.", "established"),
    ("vs.", "versus"),
    ("vs", "versus"),
    ("vol.", "volume"),
    ("Vol.", "Volume"),
    ("fig.", "figure"),
    ("Fig.", "Figure"),
    ("ch.", "chapter"),
    ("Ch.", "Chapter"),
    ("pp.", "pages"),
    ("ed.", "edition"),
    ("Jan.", "January"),
    ("Feb.", "February"),
    ("Mar.", "March"),
    ("Apr.", "April"),
    ("Jun.", "June"),
    ("Jul.", "July"),
    ("Aug.", "August"),
    ("Sep.", "September"),
    ("Sept.", "September"),
    ("Oct.", "October"),
    ("Nov.", "November"),
    ("Dec.", "December"),
    ("Mon.", "Monday"),
    ("Tue.", "Tuesday"),
    ("Tues.", "Tuesday"),
    ("Wed.", "Wednesday"),
    ("Thu.", "Thursday"),
    ("Thurs.", "Thursday"),
    ("Fri.", "Friday"),
    ("Sat.", "Saturday"),
    ("Sun.", "Sunday"),
    ("w/", "with"),
    ("w/o", "without"),
    ("etc.", "et cetera"),
    ("Prof.", "Professor"),
];

fn abbreviation(core: &str) -> Option<&'static str> {
    ABBREVIATIONS.iter().find(|(short, _)| *short == core).map(|&(_, long)| long)
}

fn abbreviated(core: &str, next: Option<&str>) -> Option<Reading> {
    let names_somebody = next.is_some_and(|next| next.starts_with(char::is_uppercase));
    let owns_period = core.ends_with('.');
    if let Some(title) = title(core.trim_end_matches('.')).filter(|_| names_somebody) {
        return Some(Reading { words: text(title), owns_period, more: 0 });
    }
    if matches!(core, "No." | "Nos.") && next.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
        return Some(Reading::of([if core == "No." { "Number" } else { "Numbers" }.to_owned()]));
    }
    if let Some(long) = abbreviation(core) {
        return Some(Reading { words: text(long), owns_period, more: 0 });
    }
    // Initials: "U.S.", "a.m."
    let initials = core.len() > 2 && core.ends_with('.') && core[..core.len() - 1].contains('.');
    initials.then(|| Reading { words: vec![core.to_owned()], owns_period, more: 0 })
}

// Everything else.

/// `ada@example.com`, `www.example.com/help`, `example.org`.
fn internet(core: &str) -> Option<Reading> {
    const ENDINGS: [&str; 14] =
        ["com", "org", "net", "edu", "gov", "io", "co", "uk", "de", "info", "biz", "us", "ca", "ai"];
    let host = core.split('/').next()?;
    let is_address = core.contains("://") || core.starts_with("www.") || (core.contains('@') && core.contains('.'));
    let (_, top) = host.rsplit_once('.').unwrap_or(("", ""));
    if !is_address && !ENDINGS.contains(&top) {
        return None;
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for character in core.split_once("://").map_or(core, |(_, rest)| rest).chars() {
        if character.is_alphabetic() || character == '\'' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match character {
            '.' => words.push("dot".to_owned()),
            '@' => words.push("at".to_owned()),
            '/' => words.push("slash".to_owned()),
            '-' => words.push("dash".to_owned()),
            '_' => words.push("underscore".to_owned()),
            digit if digit.is_ascii_digit() => words.extend(digits(&digit.to_string())),
            _ => {}
        }
    }
    words.push(word);
    Some(Reading::of(words))
}

/// `#5`, `&`, `+`, `=`.
fn symbol(core: &str) -> Option<Reading> {
    if let Some(number) = core.strip_prefix('#').and_then(number_words) {
        return Some(Reading::of([text("number"), number].concat()));
    }
    let said = match core {
        "&" => "and",
        "+" => "plus",
        "@" => "at",
        "%" => "percent",
        "=" => "equals",
        "<" => "less than",
        ">" => "greater than",
        "~" => "about",
        "×" => "times",
        "÷" => "divided by",
        "±" => "plus or minus",
        "½" => "one half",
        "¼" => "one quarter",
        "¾" => "three quarters",
        "/" => "slash",
        "#" => "hashtag",
        "*" => "star",
        "→" => "to",
        _ => return None,
    };
    Some(Reading::of(text(said)))
}

/// Letters and digits in one, and what is joined by slashes and ampersands: `A4729`, `R&D`, `and/or`, `COVID-19`.
fn mixed(core: &str) -> Option<Reading> {
    let is_plain = |character: char| character.is_alphabetic() || matches!(character, '\'' | '-' | '.');
    if core.chars().all(is_plain) {
        return None;
    }
    let mut words = Vec::new();
    let mut rest = core;
    while let Some(first) = rest.chars().next() {
        let same = |character: char| {
            if first.is_ascii_digit() {
                character.is_ascii_digit()
            } else {
                character.is_alphabetic() || character == '\''
            }
        };
        let length = rest.find(|character| !same(character)).unwrap_or(rest.len()).max(first.len_utf8());
        let (part, after) = rest.split_at(length);
        match part {
            "-" | "." | "," | "'" | "_" | "*" => {}
            "/" | "&" | "+" | "@" | "%" | "=" | "#" => {
                words.extend(symbol(part).map(|reading| reading.words).unwrap_or_default())
            }
            _ if first.is_ascii_digit() => words.extend(code(part)),
            _ if first.is_alphabetic() => words.push(part.to_owned()),
            _ => {}
        }
        rest = after;
    }
    Some(Reading::of(words))
}

/// Digits inside a code: two at a time at most, "one oh five" for three.
fn code(part: &str) -> Vec<String> {
    match part.len() {
        1 | 2 if !part.starts_with('0') => part.parse().map(cardinal).unwrap_or_default(),
        3 if part.ends_with("00") && !part.starts_with('0') => part.parse().map(cardinal).unwrap_or_default(),
        3 if !part.starts_with('0') => {
            let tens = if part[1..].starts_with('0') {
                [text("oh"), digits(&part[2..])].concat()
            } else {
                part[1..].parse().map(cardinal).unwrap_or_default()
            };
            [digits(&part[..1]), tens].concat()
        }
        _ => digits(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As text again, marks attached.
    fn said(text: &str) -> String {
        let mut out = String::new();
        for token in tokens(text) {
            let (text, spaced) = match token {
                Token::Word { text, spaced, .. } => (text, spaced),
                Token::Mark { mark, spaced } => (mark.to_string(), spaced),
            };
            if spaced && !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&text);
        }
        out
    }

    fn check(pairs: &[(&str, &str)]) {
        for (written, wanted) in pairs {
            assert_eq!(said(written), *wanted, "{written}");
        }
    }

    #[test]
    fn times_and_dates() {
        check(&[
            ("At 7:30 pm.", "At seven thirty P.M.."),
            ("At 7:30 p.m. on Friday", "At seven thirty P.M. on Friday"),
            ("9am to 5pm", "nine A.M. to five P.M."),
            ("It is 12:00.", "It is twelve o'clock."),
            ("08:05", "eight oh five"),
            ("on October 12th, 2026", "on October twelfth, twenty twenty six"),
            ("Oct. 3", "October third"),
            ("the 4 July sale", "the the fourth of July sale"),
            ("10/12/2026", "October twelfth, twenty twenty six"),
            ("2026-01-31", "January thirty first, twenty twenty six"),
        ]);
    }

    #[test]
    fn money_and_measures() {
        check(&[
            ("$45.50!", "forty five dollars and fifty cents!"),
            ("$1", "one dollar"),
            ("$0.99", "ninety nine cents"),
            ("£1,200", "one thousand two hundred pounds"),
            ("$2.5 million", "two point five million dollars"),
            ("€5k", "five thousand euros"),
            ("20%", "twenty percent"),
            ("5 km", "five kilometers"),
            ("1 lb", "one pound"),
            ("72°F", "seventy two degrees Fahrenheit"),
        ]);
    }

    #[test]
    fn numbers_and_telephones() {
        check(&[
            ("1,250 people", "one thousand two hundred fifty people"),
            ("in 1905", "in nineteen oh five"),
            ("3.14", "three point one four"),
            ("-5", "minus five"),
            ("the 3rd", "the third"),
            ("the 1990s", "the nineteen nineties"),
            ("3/4 cup", "three quarters cup"),
            ("9-5", "nine to five"),
            ("555-213-8647", "five five five, two one three, eight six four seven"),
            ("(555) 213-8647", "five five five, two one three, eight six four seven"),
            ("+44-20-7946-0018", "plus four four, two zero, seven nine four six, zero zero one eight"),
            ("#5", "number five"),
            ("A4729", "A four seven two nine"),
            ("room 12B", "room twelve B"),
        ]);
    }

    #[test]
    fn abbreviations_and_addresses() {
        check(&[
            ("Dr. Smith", "Doctor Smith"),
            ("Oak St. is closed", "Oak Street is closed"),
            ("St. Paul", "Saint Paul"),
            ("R&D", "R and D"),
            ("and/or", "and slash or"),
            ("ada@example.com", "ada at example dot com"),
            ("the U.S. team", "the U.S. team"),
        ]);
    }

    #[test]
    fn marks_stay() {
        check(&[
            ("\"Hi,\" she said - softly.", "“Hi,” she said — softly."),
            ("(Really?)", "(Really?)"),
            ("the dogs' bowl", "the dogs' bowl"),
            ("rock 'n' roll", "rock n roll"),
            ("", ""),
            ("...", "..."),
        ]);
    }
}
