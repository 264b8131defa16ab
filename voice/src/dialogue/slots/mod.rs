//! Values in what a caller said: days, times, numbers, names, one of some words. A slot is what is looked for; nothing is
//! taken for a value that could as well be something else.

mod choices;
mod dates;
mod names;
mod numbers;
mod times;
mod words;
mod yes;

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

use jiff::civil::{Date, Time};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Slots;
use dates::{Asked, Day};
pub use numbers::value_of;
use times::Moment;
use words::{Word, words};

/// What a slot takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// 7 to 15 digits.
    Phone,
    /// One of these words.
    OneOf(Vec<String>),
    YesNo,
    /// Digits in a row, however they were grouped: "thirty-three four six" is 3346.
    Digits,
    /// A whole number: "ten", "twenty five", "1,200".
    Number,
    /// A person's, said or spelled.
    Name,
    /// All that was said.
    Text,
}

impl Kind {
    /// The words that a caller may be expected to answer with who was asked for one. A yes or a no is heard without.
    pub fn expected(&self) -> Vec<&'static str> {
        match self {
            Kind::Date => dates::expected().collect(),
            Kind::Time => times::expected().collect(),
            Kind::Phone | Kind::Digits | Kind::Number => numbers::expected().collect(),
            Kind::OneOf(_) | Kind::YesNo | Kind::Name | Kind::Text => Vec::new(),
        }
    }
}

/// In which order kinds look for their values: a word that one has taken is no other's. "At seven" is a time before seven
/// is a number.
const ORDER: [fn(&Kind) -> bool; 9] = [
    |kind| matches!(kind, Kind::Date),
    |kind| matches!(kind, Kind::Time),
    |kind| matches!(kind, Kind::Phone),
    |kind| matches!(kind, Kind::OneOf(_)),
    |kind| matches!(kind, Kind::YesNo),
    |kind| matches!(kind, Kind::Digits),
    |kind| matches!(kind, Kind::Number),
    |kind| matches!(kind, Kind::Name),
    |kind| matches!(kind, Kind::Text),
];

/// A slot as the flow has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    pub name: String,
    pub kind: Kind,
    /// Asked if it was not said. `None`: what is said without it means something else.
    pub ask: Option<String>,
    /// Of times without morning or evening: the first such time at or after this is meant.
    pub earliest: Time,
}

/// A slot in the flow's file: a kind, a list of words, or a table.
#[derive(Clone, Debug)]
pub struct SlotFile {
    pub kind: Kind,
    pub ask: Option<String>,
    pub earliest: Option<Time>,
}

const KINDS: &str =
    "\"date\", \"time\", \"number\", \"digits\", \"phone\", \"name\", \"yes_no\", \"text\", or a list of words";

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;
        impl<'de> Visitor<'de> for Kinds {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(KINDS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
                Ok(match text {
                    "date" => Kind::Date,
                    "time" => Kind::Time,
                    "phone" => Kind::Phone,
                    "yes_no" => Kind::YesNo,
                    "digits" => Kind::Digits,
                    "number" => Kind::Number,
                    "name" => Kind::Name,
                    "text" => Kind::Text,
                    other => return Err(E::custom(format!("a slot cannot be {other:?}; it can be {KINDS}"))),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
                let mut choices = Vec::new();
                while let Some(choice) = list.next_element::<String>()? {
                    choices.push(choice);
                }
                if choices.iter().all(|choice| !words(choice).is_empty()) && choices.len() > 1 {
                    return Ok(Kind::OneOf(choices));
                }
                Err(de::Error::custom("a list of words needs two or more, each with letters or figures"))
            }
        }
        deserializer.deserialize_any(Kinds)
    }
}

impl<'de> Deserialize<'de> for SlotFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(rename = "type")]
            kind: Kind,
            ask: Option<String>,
            earliest: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SlotFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{KINDS}, or a table with `type`, `ask` and `earliest`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SlotFile, E> {
                let kind = Kind::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(SlotFile { kind, ask: None, earliest: None })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<SlotFile, A::Error> {
                let kind = Kind::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(SlotFile { kind, ask: None, earliest: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SlotFile, A::Error> {
                let Table { kind, ask, earliest } = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                if earliest.is_some() && kind != Kind::Time {
                    return Err(de::Error::custom("`earliest` is for slots of type \"time\" only"));
                }
                let earliest = earliest.map(|text| text.parse::<Time>().map_err(|_| text)).transpose();
                let earliest = earliest.map_err(|text| {
                    de::Error::custom(format!("`earliest` cannot be {text:?}; write a time of 24 hours, as \"17:30\""))
                })?;
                Ok(SlotFile { kind, ask, earliest })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What was said for a slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    Date(Day),
    Time(Moment),
    Number(u64),
    /// Of telephone numbers too.
    Digits(String),
    YesNo(bool),
    Text(String),
}

/// As it is said: digits one by one.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Date(day) => day.fmt(f),
            Value::Time(time) => time.fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::YesNo(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::Text(text) => text.fmt(f),
            Value::Digits(digits) => {
                for (at, digit) in digits.chars().enumerate() {
                    let digit = if digit == '+' { "plus".to_owned() } else { digit.to_string() };
                    write!(f, "{}{digit}", if at > 0 { " " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// Looks for the values of `slots` in what was heard; `asked` is the name of the one that was asked for. What is not
/// there is not in the answer.
pub fn find(slots: &[Slot], heard: &str, asked: Option<&str>, today: Date) -> Slots {
    let all = words(heard);
    let mut found = Slots::new();
    // "Monday, no, Tuesday": what comes after the last correction holds, as far as it goes.
    if let Some(after) = after_correction(&all) {
        found = find_in(slots, &mut all[after..].to_vec(), heard, asked, today);
    }
    for (name, value) in find_in(slots, &mut all.clone(), heard, asked, today) {
        found.entry(name).or_insert(value);
    }
    found
}

fn find_in(slots: &[Slot], words: &mut [Word], heard: &str, asked: Option<&str>, today: Date) -> Slots {
    let mut found = Slots::new();
    for is_next in ORDER {
        let mut slots: Vec<&Slot> = slots.iter().filter(|slot| is_next(&slot.kind)).collect();
        // "Medium roast" is looked for before "medium", and of two alike the one that was asked for.
        slots.sort_by_cached_key(|slot| {
            let length = match &slot.kind {
                Kind::OneOf(choices) => choices::one_of(choices, words).map_or(0, |(_, range)| range.len()),
                _ => 0,
            };
            (Reverse(length), asked != Some(slot.name.as_str()))
        });
        for slot in slots {
            let asked = if asked == Some(slot.name.as_str()) { Asked::ForThis } else { Asked::ForOther };
            if let Some((value, range)) = value(slot, words, heard, asked, today) {
                words[range].iter_mut().for_each(|word| word.text.clear());
                found.insert(slot.name.clone(), value);
            }
        }
    }
    found
}

fn value(slot: &Slot, words: &[Word], heard: &str, asked: Asked, today: Date) -> Option<(Value, Range<usize>)> {
    match &slot.kind {
        Kind::Date => dates::day(words, today, asked).map(|(day, range)| (Value::Date(day), range)),
        Kind::Time => times::time(words, slot.earliest, asked).map(|(time, range)| (Value::Time(time), range)),
        Kind::Phone => numbers::phone(words).map(|(digits, range)| (Value::Digits(digits), range)),
        Kind::OneOf(choices) => choices::one_of(choices, words).map(|(choice, range)| (Value::Text(choice), range)),
        Kind::YesNo => yes::yes(words).map(|(yes, range)| (Value::YesNo(yes), range)),
        Kind::Digits => numbers::digits(words).map(|(digits, range)| (Value::Digits(digits), range)),
        Kind::Number => numbers::number(words).map(|(number, range)| (Value::Number(number), range)),
        Kind::Name => names::name(words, asked).map(|(name, range)| (Value::Text(name), range)),
        Kind::Text => Some((Value::Text(heard.trim().to_owned()), 0..0)).filter(|_| !words.is_empty()),
    }
}

/// Where the words after the last correction begin, if there is one in the middle.
fn after_correction(words: &[Word]) -> Option<usize> {
    const ROWS: [&[&str]; 9] = [
        &["no"],
        &["sorry"],
        &["i", "mean"],
        &["i", "meant"],
        &["actually"],
        &["rather"],
        &["make", "that"],
        &["make", "it"],
        &["wait"],
    ];
    let ends = |at: usize| ROWS.iter().find(|row| words::is_at(words, at, row)).map(|row| at + row.len());
    (0..words.len()).rev().find_map(ends).filter(|&after| after < words.len())
}

/// What a caller who was asked whether `known` is right wants changed: other values, or the name of a slot that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Correction {
    Values(Slots),
    /// This one is wrong, and what is right was not said.
    Slot(String),
    None,
}

/// Reads a correction. A value that could be meant for two slots is for neither, unless one of them is named.
pub fn correction(slots: &[Slot], known: &Slots, heard: &str, today: Date) -> Correction {
    let said = words(heard);
    let named = |slot: &&Slot| {
        let name = words(&slot.name.replace(['_', '-'], " "));
        let name: Vec<&str> = name.iter().map(|word| word.text.as_str()).collect();
        (0..said.len()).any(|at| words::is_at(&said, at, &name))
    };
    let named: Vec<&Slot> = slots.iter().filter(named).collect();
    let meant: Vec<Slot> = match named[..] {
        [one] => vec![one.clone()],
        _ => slots.iter().filter(|slot| !matches!(slot.kind, Kind::Text | Kind::YesNo)).cloned().collect(),
    };
    let asked = named.first().filter(|_| named.len() == 1).map(|slot| slot.name.as_str());
    let mut values = find(&meant, heard, asked, today);
    values.retain(|name, value| known.get(name) != Some(value));
    for slot in &meant {
        if let Some(Value::Time(time)) = known.get(&slot.name)
            && !values.contains_key(&slot.name)
            && let Some(other) = time.in_the_other_half(&said)
        {
            values.insert(slot.name.clone(), Value::Time(other));
        }
    }
    let same_kind = |name: &String| {
        let kind =
            |name: &String| meant.iter().find(|slot| slot.name == *name).map(|slot| std::mem::discriminant(&slot.kind));
        meant.iter().filter(|slot| Some(std::mem::discriminant(&slot.kind)) == kind(name)).count()
    };
    values.retain(|name, _| same_kind(name) == 1);
    match (values.is_empty(), &named[..]) {
        (false, _) => Correction::Values(values),
        (true, [one]) => Correction::Slot(one.name.clone()),
        (true, _) => Correction::None,
    }
}

/// Whether they said yes or no. Both, or neither, is none.
pub fn yes_or_no(heard: &str) -> Option<bool> {
    yes::yes(&words(heard)).map(|(yes, _)| yes)
}

/// Whether they want no more of what is being talked about.
pub fn wants_none(heard: &str) -> bool {
    const ROWS: [&str; 9] = [
        "never mind",
        "nevermind",
        "forget it",
        "forget about it",
        "cancel that",
        "cancel it",
        "leave it",
        "no more of that",
        "stop that",
    ];
    let said = words(heard);
    ROWS.iter().any(|row| words::has(&said, row)) || (said.len() <= 2 && words::has(&said, "cancel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str, kind: Kind) -> Slot {
        Slot { name: name.into(), kind, ask: None, earliest: "07:00".parse().unwrap() }
    }

    /// A Wednesday.
    fn today() -> Date {
        "2026-11-18".parse().unwrap()
    }

    fn shown(slots: &Slots) -> String {
        serde_json::to_string(slots).unwrap()
    }

    fn table() -> [Slot; 4] {
        [slot("day", Kind::Date), slot("time", Kind::Time), slot("people", Kind::Number), slot("name", Kind::Name)]
    }

    #[test]
    fn several_values_are_found_in_one_sentence() {
        for (heard, wanted) in [
            (
                "A table for four on Friday at half past seven in the evening, my name is Anna",
                r#"{"day":"2026-11-20","name":"Anna","people":4,"time":"19:30"}"#,
            ),
            ("tomorrow at eight for 6 people", r#"{"day":"2026-11-19","people":6,"time":"08:00"}"#),
            ("for two on Monday, no, Tuesday", r#"{"day":"2026-11-24","people":2}"#),
            ("for two, I mean three", r#"{"people":3}"#),
            ("just a table", "{}"),
        ] {
            assert_eq!(shown(&find(&table(), heard, None, today())), wanted, "{heard}");
        }
    }

    #[test]
    fn what_was_asked_for_may_be_said_shortly() {
        let asked = |name: &str, heard: &str| shown(&find(&table(), heard, Some(name), today()));
        assert_eq!(asked("time", "four"), r#"{"time":"16:00"}"#);
        assert_eq!(asked("people", "four"), r#"{"people":4}"#);
        assert_eq!(asked("name", "Anna Schmidt"), r#"{"name":"Anna Schmidt"}"#);
        assert_eq!(asked("day", "the third"), r#"{"day":"2026-12-03"}"#);
    }

    #[test]
    fn a_choice_is_one_of_its_words_and_two_are_none() {
        let size = [slot("size", Kind::OneOf(vec!["large".into(), "extra large".into(), "small".into()]))];
        let read = |heard: &str| shown(&find(&size, heard, None, today()));
        assert_eq!(read("An extra-large one."), r#"{"size":"extra large"}"#);
        assert_eq!(read("large"), r#"{"size":"large"}"#);
        assert_eq!(read("small or large"), "{}");
        assert_eq!(read("large, no, small"), r#"{"size":"small"}"#);
        assert_eq!(read("enlarge it"), "{}");
    }

    #[test]
    fn a_word_is_the_slot_s_that_it_says_most_about() {
        let one_of = |choices: &[&str]| Kind::OneOf(choices.iter().map(|choice| (*choice).to_owned()).collect());
        let coffee =
            [slot("size", one_of(&["medium", "large"])), slot("roast", one_of(&["medium roast", "dark roast"]))];
        let read = |heard: &str| shown(&find(&coffee, heard, None, today()));
        assert_eq!(read("a medium roast"), r#"{"roast":"medium roast"}"#);
        assert_eq!(read("a large medium roast"), r#"{"roast":"medium roast","size":"large"}"#);
        assert_eq!(read("a medium dark roast"), r#"{"roast":"dark roast","size":"medium"}"#);
        // Of two alike, the one that was asked for.
        let people = [slot("adults", Kind::Number), slot("children", Kind::Number)];
        let asked = |name: &str| shown(&find(&people, "two", Some(name), today()));
        assert_eq!((asked("adults").as_str(), asked("children").as_str()), (r#"{"adults":2}"#, r#"{"children":2}"#));
    }

    #[test]
    fn corrections_are_read() {
        let known = find(&table(), "for four on Friday at seven, my name is Anna", None, today());
        let read = |heard: &str| match correction(&table(), &known, heard, today()) {
            Correction::Values(values) => shown(&values),
            Correction::Slot(name) => format!("not {name}"),
            Correction::None => "none".to_owned(),
        };
        assert_eq!(read("no, Thursday"), r#"{"day":"2026-11-19"}"#);
        assert_eq!(read("no, five people"), r#"{"people":5}"#);
        assert_eq!(read("no, at eight"), r#"{"time":"08:00"}"#);
        assert_eq!(read("no, in the evening"), r#"{"time":"19:00"}"#);
        assert_eq!(read("the name is Hanna"), r#"{"name":"Hanna"}"#);
        assert_eq!(read("the time is wrong"), "not time");
        assert_eq!(read("no"), "none");
        assert_eq!(read("yes, Friday"), "none");
        let two = [slot("from", Kind::Number), slot("until", Kind::Number)];
        let known = find(&two, "from 3 until 5", None, today());
        assert_eq!(shown(&known), r#"{"from":3,"until":5}"#);
        // For which of the two?
        assert_eq!(correction(&two, &known, "no, six", today()), Correction::None);
        let Correction::Values(values) = correction(&two, &known, "no, until six", today()) else { panic!() };
        assert_eq!(shown(&values), r#"{"until":6}"#);
    }

    #[test]
    fn kinds_are_read_and_mistakes_say_what_there_is() {
        #[derive(Deserialize, Debug)]
        struct File {
            slot: SlotFile,
        }
        let read = |text: &str| toml::from_str::<File>(&format!("slot = {text}")).map(|file| file.slot);
        assert_eq!(read("'yes_no'").unwrap().kind, Kind::YesNo);
        assert_eq!(read("['a', 'b c']").unwrap().kind, Kind::OneOf(vec!["a".into(), "b c".into()]));
        let full = read("{ type = 'time', ask = 'When?', earliest = '17:00' }").unwrap();
        assert_eq!(
            (full.kind, full.ask.as_deref(), full.earliest.map(|time| time.hour())),
            (Kind::Time, Some("When?"), Some(17))
        );
        for (text, wanted) in [
            ("'dtae'", "a slot cannot be \"dtae\"; it can be \"date\""),
            ("['a']", "needs two or more"),
            ("['a', '?']", "letters or figures"),
            ("{ type = 'date', ask = 'x', earliest = '17:00' }", "`earliest` is for slots of type \"time\" only"),
            ("{ type = 'date', aks = 'x' }", "unknown field `aks`"),
            ("{ type = 'time', earliest = '5 pm' }", "as \"17:30\""),
            ("7", "a list of words"),
        ] {
            let mistake = read(text).unwrap_err().to_string();
            assert!(mistake.contains(wanted) && mistake.contains("line 1"), "{mistake}");
        }
    }
}
