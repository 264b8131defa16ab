//! Names of people, said or spelled: "my name is Anna Schmidt", "S C H M I D T", "S as in Sam".

use std::ops::Range;

use super::dates::Asked;
use super::numbers::value_of;
use super::words::{Word, at, is_at};

/// A name has no more words than this.
const WORDS_MAX: usize = 4;

/// What names stand behind. Those in the second list are said before other things too, so there the name has to be written
/// with capitals.
const BEFORE_NAMES: [&[&str]; 5] =
    [&["name", "is"], &["name's"], &["call", "me"], &["under", "the", "name", "of"], &["under", "the", "name"]];
const PERHAPS_BEFORE_NAMES: [&[&str]; 7] =
    [&["this", "is"], &["i", "am"], &["i'm"], &["it's"], &["it", "is"], &["that's"], &["for"]];

/// What is said before an answer.
const FILLERS: [&str; 16] = [
    "um",
    "uh",
    "well",
    "yes",
    "yeah",
    "sure",
    "hi",
    "hello",
    "okay",
    "ok",
    "so",
    "of",
    "course",
    "certainly",
    "no",
    "sorry",
];

/// No names: where one of these is, a name has ended, or never was one.
const NO_NAMES: [&str; 62] = [
    "a", "an", "and", "the", "i", "you", "he", "she", "we", "they", "my", "your", "me", "us", "is", "are", "am", "was",
    "do", "does", "don't", "not", "know", "mean", "what", "who", "why", "how", "when", "where", "which", "can",
    "could", "would", "please", "at", "on", "in", "for", "from", "to", "with", "calling", "speaking", "here", "but",
    "that", "this", "it", "it's", "that's", "about", "again", "want", "like", "need", "have", "spelled", "spell", "as",
    "just", "looking",
];

/// The name that was said, and its words. Without anything that announces it, only what was asked for is one.
pub fn name(words: &[Word], asked: Asked) -> Option<(String, Range<usize>)> {
    let (from, needs_capitals) = beginning(words, asked)?;
    let spelled = spelled(words, from);
    let until = spelled.as_ref().map_or(words.len(), |(_, range)| range.start);
    let said: Vec<usize> = (from..until)
        .take_while(|&place| !NO_NAMES.contains(&at(words, place)) && !at(words, place).is_empty())
        .collect();
    let numbers = said.iter().any(|&place| {
        value_of(at(words, place)).is_some() || at(words, place).starts_with(|first: char| first.is_ascii_digit())
    });
    let mut parts: Vec<String> = said.iter().map(|&place| capitalised(at(words, place))).collect();
    if let Some((letters, range)) = spelled {
        // How it is spelled is how the last one is written.
        let initial = letters.chars().next();
        parts.pop_if(|last| last.chars().next() == initial);
        parts.push(letters);
        return (parts.len() <= WORDS_MAX && !numbers).then(|| (parts.join(" "), from..range.end));
    }
    let end = said.last()? + 1;
    let capitals = said.iter().all(|&place| words[place].capital);
    // An answer that is more than a name is perhaps none.
    let whole =
        end == words.len() || needs_capitals || announced(words, from) || NO_NAMES[31..].contains(&at(words, end));
    let good = !numbers && parts.len() <= WORDS_MAX && (capitals || !needs_capitals) && whole;
    good.then(|| (parts.join(" "), from..end))
}

fn announced(words: &[Word], from: usize) -> bool {
    BEFORE_NAMES.iter().any(|row| from >= row.len() && is_at(words, from - row.len(), row))
}

/// Where the name begins, and whether it has to be written with capitals to be believed.
fn beginning(words: &[Word], asked: Asked) -> Option<(usize, bool)> {
    let behind = |rows: &[&[&str]]| {
        (0..words.len()).rev().find_map(|at| rows.iter().find(|row| is_at(words, at, row)).map(|row| at + row.len()))
    };
    if let Some(from) = behind(&BEFORE_NAMES) {
        return Some((from, false));
    }
    if let Some(from) = behind(&PERHAPS_BEFORE_NAMES) {
        return Some((from, true));
    }
    let first = words.iter().position(|word| !FILLERS.contains(&word.text.as_str()))?;
    (asked == Asked::ForThis).then_some((first, false))
}

/// The first row of two or more letters, as a word.
fn spelled(words: &[Word], from: usize) -> Option<(String, Range<usize>)> {
    (from..words.len()).find_map(|start| {
        let mut letters = String::new();
        let mut place = start;
        while let Some((letter, next)) = letter(words, place) {
            letters.push_str(&letter);
            place = next;
        }
        (letters.len() >= 2 && place > start + 1).then(|| (capitalised(&letters), start..place))
    })
}

/// "S", "double S", "S as in Sam", "S for sugar".
fn letter(words: &[Word], place: usize) -> Option<(String, usize)> {
    let times = 1 + usize::from(at(words, place) == "double");
    let place = place + times - 1;
    let letter = at(words, place);
    let mut characters = letter.chars();
    let single = characters.next().filter(|letter| letter.is_alphabetic())?;
    if characters.next().is_some() {
        return None;
    }
    let example = |place: usize| at(words, place).starts_with(single);
    let next = match () {
        () if is_at(words, place + 1, &["as", "in"]) && example(place + 3) => place + 4,
        () if matches!(at(words, place + 1), "for" | "like") && example(place + 2) => place + 3,
        () => place + 1,
    };
    Some((letter.repeat(times), next))
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn read(heard: &str, asked: Asked) -> Option<String> {
        name(&words(heard), asked).map(|(name, _)| name)
    }

    #[test]
    fn names_are_read() {
        for (heard, wanted) in [
            ("my name is anna schmidt", "Anna Schmidt"),
            ("Hello, this is Peter Miller calling about a bike", "Peter Miller"),
            ("I'm Joan", "Joan"),
            ("please call me Bob", "Bob"),
            ("My name is Anna Schmidt, S C H M I D T", "Anna Schmidt"),
            ("my name is Anna Smith, that's spelled S-C-H-M-I-T-T", "Anna Schmitt"),
            ("my name is S as in Sam, M as in Mary, I, T for Tom, H", "Smith"),
            ("the name is M I double L E R", "Miller"),
        ] {
            assert_eq!(read(heard, Asked::ForOther).as_deref(), Some(wanted), "{heard}");
        }
        for (heard, wanted) in [
            ("Anna Schmidt.", "Anna Schmidt"),
            ("um, o'brien", "O'brien"),
            ("Yes, Miller please", "Miller"),
            ("it's Miller", "Miller"),
            ("A N N A", "Anna"),
        ] {
            assert_eq!(read(heard, Asked::ForThis).as_deref(), Some(wanted), "{heard}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for heard in ["", "Anna", "I am looking for a bike", "it's broken", "this is about my order"] {
            assert_eq!(read(heard, Asked::ForOther), None, "{heard}");
        }
        for heard in ["what do you mean", "I don't know", "why", "ten", "the big blue one over there"] {
            assert_eq!(read(heard, Asked::ForThis), None, "{heard}");
        }
    }
}
