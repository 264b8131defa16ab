//! What was said, as words: the form in which all readers of values see it.

/// Longer turns are not read whole: nobody says one value with more words.
const WORDS_MAX: usize = 60;

/// One word of what was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// In small letters: `thursday`, `3:30`, `1200`, `3rd`, `pm`, `plus`. Empty: it belongs to a value that was read already.
    pub text: String,
    /// Whether it was written with a capital.
    pub capital: bool,
}

/// The words of a text. Figures stay together with what makes them one number or one time, and apart from letters.
pub fn words(text: &str) -> Vec<Word> {
    let characters: Vec<char> = text.chars().collect();
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    while at < characters.len() && words.len() < WORDS_MAX {
        let first = characters[at];
        let (word, next) = if first.is_ascii_digit() {
            figures(&characters, at)
        } else if first.is_alphabetic() {
            letters(&characters, at)
        } else {
            (if first == '+' { "plus".to_owned() } else { String::new() }, at + 1)
        };
        if !word.is_empty() {
            words.push(Word { text: word, capital: first.is_uppercase() });
        }
        at = next;
    }
    words
}

/// `1,200` is one number, `3:30` one time, `3rd` one ordinal.
fn figures(characters: &[char], from: usize) -> (String, usize) {
    let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let mut word = String::new();
    let mut at = from;
    loop {
        if digit(at) {
            word.push(characters[at]);
            at += 1;
        } else if characters.get(at) == Some(&',') && (1..4).all(|more| digit(at + more)) && !digit(at + 4) {
            at += 1;
        } else if characters.get(at) == Some(&':') && digit(at + 1) && digit(at + 2) && !word.contains(':') {
            word.push(':');
            at += 1;
        } else {
            break;
        }
    }
    let suffix: String = characters[at..].iter().take(2).collect::<String>().to_lowercase();
    let ends = !characters.get(at + 2).is_some_and(|next| next.is_alphanumeric());
    if ends && ["st", "nd", "rd", "th"].contains(&suffix.as_str()) {
        return (word + &suffix, at + 2);
    }
    (word, at)
}

fn letters(characters: &[char], from: usize) -> (String, usize) {
    let rest: String = characters[from..].iter().take(4).collect::<String>().to_lowercase();
    for (written, meant) in [("a.m.", "am"), ("p.m.", "pm"), ("a.m", "am"), ("p.m", "pm")] {
        if rest.starts_with(written) {
            return (meant.to_owned(), from + written.len());
        }
    }
    let belongs = |character: &&char| character.is_alphabetic() || matches!(character, '\'' | '’');
    let word: Vec<char> = characters[from..].iter().take_while(belongs).copied().collect();
    let next = from + word.len();
    (String::from_iter(word).to_lowercase().replace('’', "'").trim_end_matches('\'').to_owned(), next)
}

/// The word at a place; nothing beyond the last.
pub fn at(words: &[Word], place: usize) -> &str {
    words.get(place).map_or("", |word| word.text.as_str())
}

/// Whether this row of words is there.
pub fn is_at(words: &[Word], place: usize, row: &[&str]) -> bool {
    row.iter().enumerate().all(|(offset, text)| at(words, place + offset) == *text)
}

/// Whether this row of words is anywhere.
pub fn has(words: &[Word], row: &str) -> bool {
    let row: Vec<&str> = row.split(' ').collect();
    (0..words.len()).any(|place| is_at(words, place, &row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_can_be_read() {
        for (text, wanted) in [
            ("At 3:30 p.m., please.", "at 3:30 pm please"),
            ("7pm on May 3rd", "7 pm on may 3rd"),
            ("1,200 of 33, 4, and 5,67", "1200 of 33 4 and 5 67"),
            ("+1 555-0100", "plus 1 555 0100"),
            ("three o'clock, isn’t it", "three o'clock isn't it"),
            ("S-M-I-T-H", "s m i t h"),
            ("", ""),
        ] {
            let found: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
            assert_eq!(found.join(" "), wanted);
        }
    }
}
