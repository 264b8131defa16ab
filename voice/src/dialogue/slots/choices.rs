//! One of some words: as it is written, or else as it sounds. Over a telephone line "medium roast" is often heard as "medium rose"
//! and a mocha as a "mocker", and since all that can be meant is known, it can be told what is.
//!
//! How a word sounds is guessed by its letters, since a flow may have no dictionary. A short choice has to sound the same, and a
//! very short one to be the same; of a longer one a part may differ, vowels twice as much as consonants. Numbers have to be the
//! same: "thirty" is not "thirteen".

use std::ops::Range;

use super::numbers::value_of;
use super::words::{Word, words};

/// What has fewer sounds is like many other words: a chain and "can".
const SOUNDS_MIN: usize = 4;

/// What has fewer may not differ: a filling is not a feeling.
const SOUNDS_TO_DIFFER_MIN: usize = 7;

/// What a consonant counts of what differs. A vowel counts 1.
const CONSONANT: usize = 2;

/// A choice, where it may have been said, and how much that differs.
#[derive(Clone)]
struct Said<'a> {
    choice: &'a String,
    range: Range<usize>,
    differs: usize,
}

/// The longest choice that was said. Two different ones are none.
pub fn one_of(choices: &[String], heard: &[Word]) -> Option<(String, Range<usize>)> {
    let rows: Vec<(&String, Vec<Word>)> = choices.iter().map(|choice| (choice, words(choice))).collect();
    let (mut said, mut sounds) = (Vec::new(), Vec::new());
    for (choice, row) in &rows {
        match as_written(row, heard) {
            Some(range) => said.push(Said { choice, range, differs: 0 }),
            None => sounds.extend(as_it_sounds(row, heard).map(|(differs, range)| Said { choice, range, differs })),
        }
    }
    sounds.sort_by_key(|sound| sound.differs);
    // What sounds the same is as good as written, but where that is what was written.
    let same = sounds.partition_point(|sound| sound.differs == 0);
    let written: Vec<Range<usize>> = said.iter().map(|said| said.range.clone()).collect();
    said.extend(sounds.drain(..same).filter(|sound| !written.iter().any(|range| is_inside(&sound.range, range))));
    // In "ice coffee", "coffee" was said, and "iced coffee" meant.
    let mut longer = sounds.iter().filter(|sound| said.iter().any(|said| is_inside(&said.range, &sound.range)));
    if let Some(nearest) = longer.next() {
        let is_clear = longer.next().is_none_or(|other| other.differs > nearest.differs);
        said.extend(is_clear.then(|| nearest.clone()));
    }
    if said.is_empty() {
        let nearest = sounds.first()?;
        let another = |other: &Said| other.differs == nearest.differs || !overlap(&other.range, &nearest.range);
        let is_clear = !sounds[1..].iter().any(another);
        return is_clear.then(|| (nearest.choice.clone(), nearest.range.clone()));
    }
    let longest = said.iter().max_by_key(|said| said.range.len())?;
    let rivals = said.iter().filter(|said| said.range == longest.range).count() - 1;
    let all_inside = said.iter().all(|said| is_inside(&said.range, &longest.range));
    // "12 ounce" and "twelve ounce" may both be choices, and are the same.
    let is_one = all_inside && (rivals == 0 || written.contains(&longest.range));
    is_one.then(|| (longest.choice.clone(), longest.range.clone()))
}

fn is_inside(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Numbers may be written either way.
fn as_written(row: &[Word], heard: &[Word]) -> Option<Range<usize>> {
    let same = |(word, heard): (&Word, &Word)| {
        word.text == heard.text || value_of(&word.text).is_some_and(|value| value_of(&heard.text) == Some(value))
    };
    // Of a choice without letters nothing is ever said.
    let at = heard.windows(row.len().max(1)).position(|heard| !row.is_empty() && row.iter().zip(heard).all(same))?;
    Some(at..at + row.len())
}

/// Where it sounds most like this, and how much it differs. Words may be heard as one, or one as two.
fn as_it_sounds(row: &[Word], heard: &[Word]) -> Option<(usize, Range<usize>)> {
    let wanted = sounds(row);
    let may_differ = match wanted.len() {
        ..SOUNDS_MIN => return None,
        SOUNDS_MIN..SOUNDS_TO_DIFFER_MIN => 0,
        count => (count - 1) / 3,
    };
    let numbers = |words: &[Word]| words.iter().filter_map(|word| value_of(&word.text)).collect::<Vec<_>>();
    let begins = |word: &Word| sounds(std::slice::from_ref(word)).first().copied().filter(|first| !is_vowel(*first));
    let begins_alike =
        |(one, other): (&Word, &Word)| begins(one).zip(begins(other)).is_none_or(|(one, other)| one == other);
    let fits = |range: &Range<usize>| {
        let part = &heard[range.clone()];
        let whole = part.iter().all(|word| !word.text.is_empty());
        let alike = if part.len() == row.len() {
            row.iter().zip(part).all(begins_alike)
        } else {
            begins_alike((&row[0], &part[0]))
        };
        whole && alike && numbers(part) == numbers(row)
    };
    let lengths = row.len().saturating_sub(1).max(1)..=row.len() + 1;
    let ranges =
        lengths.flat_map(|length| (0..(heard.len() + 1).saturating_sub(length)).map(move |from| from..from + length));
    let compared = ranges.filter(fits).map(|range| (differ(&wanted, &sounds(&heard[range.clone()])), range));
    compared.filter(|(differs, _)| *differs <= may_differ).min_by_key(|(differs, range)| (*differs, range.len()))
}

/// How much of one has to be changed to make it the other.
fn differ(one: &[char], other: &[char]) -> usize {
    let counts = |sound: char| if is_vowel(sound) { 1 } else { CONSONANT };
    let mut row: Vec<usize> = vec![0];
    row.extend(other.iter().scan(0, |sum, &sound| {
        *sum += counts(sound);
        Some(*sum)
    }));
    for &a in one {
        let mut diagonal = row[0];
        row[0] += counts(a);
        for (at, &b) in other.iter().enumerate() {
            let replaced = diagonal + if a == b { 0 } else { counts(a).max(counts(b)) };
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + counts(a)).min(row[at] + counts(b));
        }
    }
    row[other.len()]
}

fn is_vowel(sound: char) -> bool {
    matches!(sound, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// Roughly how words sound: "roast" is `rost`, "mocha" and "mocker" are `moka`.
fn sounds(words: &[Word]) -> Vec<char> {
    let sounds = |word: &Word| match value_of(&word.text) {
        Some(number) => number.to_string().chars().collect(),
        None => sounds_of(&word.text),
    };
    words.iter().flat_map(sounds).collect()
}

fn sounds_of(word: &str) -> Vec<char> {
    const LETTERS: [(&str, &str); 10] = [
        ("ph", "f"),
        ("gh", ""),
        ("ck", "k"),
        ("cc", "k"),
        ("ch", "k"),
        ("qu", "kw"),
        ("x", "ks"),
        ("ce", "se"),
        ("ci", "si"),
        ("cy", "si"),
    ];
    let mut text: String = word.chars().filter(|letter| letter.is_alphanumeric()).collect();
    for (letters, sound) in LETTERS {
        text = text.replace(letters, sound);
    }
    text = text.replace('c', "k").replace('y', "i");
    // Several are as one.
    if text.len() > 3 && text.ends_with('s') && !text.ends_with("ss") {
        text.pop();
    }
    let mut sounds: Vec<char> = text.chars().collect();
    match sounds[..] {
        [_, _, .., 'e', 'r'] => {
            sounds.truncate(sounds.len() - 2);
            sounds.push('a');
        }
        [_, .., before, 'e', 'd'] if !is_vowel(before) => _ = sounds.remove(sounds.len() - 2),
        // "Late" is not "latte".
        [.., two, one, 'e'] if !is_vowel(one) && two != one => _ = sounds.pop(),
        _ => {}
    }
    sounds.dedup_by(|next, before| next == before || (is_vowel(*next) && is_vowel(*before)));
    sounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(choices: &[&str], heard: &str) -> Option<String> {
        let choices: Vec<String> = choices.iter().map(|choice| (*choice).to_owned()).collect();
        one_of(&choices, &words(heard)).map(|(choice, _)| choice)
    }

    #[test]
    fn a_choice_is_known_by_its_sound() {
        let menu = [
            "coffee",
            "iced coffee",
            "mocha",
            "iced mocha",
            "americano",
            "cappuccino",
            "latte",
            "medium roast",
            "dark roast",
        ];
        for (heard, wanted) in [
            ("a mocker with cream", Some("mocha")),
            ("an ice coffee please", Some("iced coffee")),
            ("an ice-mocker please", Some("iced mocha")),
            ("a coffee please", Some("coffee")),
            ("a shot of maricano", Some("americano")),
            ("a capuchino", Some("cappuccino")),
            ("medium rose", Some("medium roast")),
            ("dark-rose, please", Some("dark roast")),
            ("dark rose or medium rose", None),
            ("is it too late", None),
            ("later, the letter", None),
            ("I want a smoker", None),
        ] {
            assert_eq!(read(&menu, heard).as_deref(), wanted, "{heard}");
        }
    }

    #[test]
    fn of_two_that_sound_alike_the_one_that_is_written_is_meant() {
        let names = ["Philipp", "Filip"];
        assert_eq!(read(&names, "for Philipp please").as_deref(), Some("Philipp"));
        assert_eq!(read(&names, "for Filip please").as_deref(), Some("Filip"));
        assert_eq!(read(&names, "for Phillip please"), None);
    }

    #[test]
    fn what_is_another_word_is_no_choice() {
        for (choices, heard) in [
            (["extra large", "small"], "is there an extra charge"),
            (["north", "south"], "on the fourth, by mouth"),
            (["small", "large"], "at the mall, in charge"),
            (["thirteen nights", "two nights"], "thirty nights"),
            (["next week", "next month"], "next weekend"),
            (["red", "blue"], "I read a book"),
            (["chain", "gears"], "can I go there"),
            (["filling", "cleaning"], "I am feeling cold, falling and flying"),
            (["americano", "latte"], "I was in America"),
        ] {
            assert_eq!(read(&choices, heard), None, "{heard}");
        }
    }

    /// Breaks when one is looked for word for word: there is no row of no words.
    #[test]
    fn a_choice_without_letters_is_never_said() {
        assert_eq!(read(&["–", "small"], "a small one").as_deref(), Some("small"));
        assert_eq!(read(&["–", "small"], "an enormous one"), None);
    }

    #[test]
    fn numbers_may_be_written_either_way() {
        let sizes = ["twelve ounce", "16 ounce"];
        assert_eq!(read(&sizes, "a 12-ounce one").as_deref(), Some("twelve ounce"));
        assert_eq!(read(&sizes, "sixteen ounce").as_deref(), Some("16 ounce"));
        assert_eq!(read(&sizes, "sixteen ounces").as_deref(), Some("16 ounce"));
        assert_eq!(read(&sizes, "sixty ounce"), None);
        assert!(read(&["12 ounce", "twelve ounce"], "twelve ounce").is_some());
    }
}
