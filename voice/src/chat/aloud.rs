//! What of a written text can be spoken, as the text comes. Models write for eyes: Markdown, links, tables, emoji. Their marks
//! are left out, a link is its text and an address its host, code is not read, and what ends a line ends a sentence.

use crate::speak::sentences;

/// Makes sentences of a text that comes in pieces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aloud {
    /// What of the last word has come, as it was written.
    word: String,
    /// The words that are no sentence yet, as they are spoken.
    words: String,
    /// A word of this line has come.
    in_line: bool,
    /// The line is a mark, and says nothing.
    skips_line: bool,
    in_code: bool,
}

impl Aloud {
    /// The sentences that are whole now.
    pub fn add(&mut self, text: &str) -> Vec<String> {
        let mut ready = Vec::new();
        for character in text.chars() {
            match character {
                '\n' => {
                    self.word_ended();
                    self.line_ended(&mut ready);
                }
                space if space.is_whitespace() => self.word_ended(),
                other => self.word.push(other),
            }
        }
        // What may still go on is the last of them.
        let mut whole = sentences(&self.words);
        if let Some(last) = whole.pop() {
            self.words = last;
        }
        ready.extend(whole);
        ready
    }

    /// What is left, once nothing more comes.
    pub fn end(&mut self) -> Vec<String> {
        let mut ready = Vec::new();
        self.word_ended();
        self.line_ended(&mut ready);
        ready
    }

    fn word_ended(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        if !self.in_line && word.starts_with("```") {
            self.in_code = !self.in_code;
            self.skips_line = true;
        }
        if self.in_code || self.skips_line {
            self.in_line = true;
            return;
        }
        if !self.in_line && is_mark(&word) {
            return;
        }
        self.in_line = true;
        let spoken = spoken(&word);
        if !spoken.is_empty() {
            if !self.words.is_empty() {
                self.words.push(' ');
            }
            self.words.push_str(&spoken);
        }
    }

    fn line_ended(&mut self, ready: &mut Vec<String>) {
        (self.in_line, self.skips_line) = (false, false);
        let mut words = std::mem::take(&mut self.words);
        if words.ends_with(|last: char| last.is_alphanumeric()) {
            words.push('.');
        }
        ready.extend(sentences(&words));
    }
}

/// Whether a line's first word only says what kind of line it is: a list's, a heading, a quotation, a rule, a table.
fn is_mark(word: &str) -> bool {
    let all = |marks: &str| word.chars().all(|character| marks.contains(character));
    all("-+*•") || all("#") || all(">") || all("|-:=_")
}

/// A word as it is spoken. Nothing, if it is none.
fn spoken(word: &str) -> String {
    let word: String = word.chars().filter(|&character| !is_picture(character)).collect();
    let word = without_target(&word.replace("![", "["));
    let word = host(&word);
    let characters: Vec<char> = word.chars().collect();
    let letter = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(|near| near.is_alphanumeric());
    let mut spoken = String::new();
    for (at, &character) in characters.iter().enumerate() {
        match character {
            '*' | '`' | '|' | '[' | ']' => {}
            // Within a word it belongs there.
            '_' | '~' if !(letter(at.checked_sub(1)) && letter(Some(at + 1))) => {}
            other => spoken.push(other),
        }
    }
    spoken
}

/// A link without what it leads to: of `[text](target)` the target may have come with the text's last word.
fn without_target(word: &str) -> String {
    let Some((text, rest)) = word.split_once("](") else { return word.to_owned() };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{text}{after}")
}

/// An address as people tell it: the host alone.
fn host(word: &str) -> String {
    let Some((before, address)) = word.split_once("://") else { return word.to_owned() };
    let before = before.trim_end_matches(|scheme: char| scheme.is_ascii_alphabetic()).trim_end_matches('<');
    let bare = address.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '>', '"']);
    let host = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let after = address[bare.len()..].replace('>', "");
    format!("{before}{}{after}", host.strip_prefix("www.").unwrap_or(host))
}

/// Emoji, arrows, dingbats, and what joins and colours them.
fn is_picture(character: char) -> bool {
    matches!(u32::from(character),
        0x200D | 0x20E3 | 0x2190..=0x21FF | 0x2300..=0x23FF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0xFE00..=0xFE0F
        | 0x1F000..=0x1FAFF | 0xE0020..=0xE007F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aloud(text: &str) -> Vec<String> {
        let mut aloud = Aloud::default();
        let mut spoken = aloud.add(text);
        spoken.extend(aloud.end());
        spoken
    }

    #[test]
    fn marks_are_not_read_out() {
        assert_eq!(aloud("**Hello!** This is _very_ `simple`."), ["Hello!", "This is very simple."]);
        assert_eq!(aloud("# Opening hours\n\nWe open at nine"), ["Opening hours.", "We open at nine."]);
        assert_eq!(aloud("> - *One*\n> - two,\n---\n3. Three 🎉"), ["One.", "two,", "3.", "Three."]);
        assert_eq!(aloud("See [our site](https://example.org/a?b=c#d), please."), ["See our site, please."]);
        assert_eq!(
            aloud("See https://www.example.org/a/b?c. Or <http://b.example/>!"),
            ["See example.org.", "Or b.example!"]
        );
        assert_eq!(aloud("![A map](map.png) ~~old~~ new"), ["A map old new."]);
        assert_eq!(aloud("Do this:\n```sh\nrm -rf *\n```\nThat is all."), ["Do this:", "That is all."]);
        assert_eq!(aloud("| day | hours |\n|---|:--|\n| Monday | nine |"), ["day hours.", "Monday nine."]);
        // What only looks like a mark.
        assert_eq!(aloud("It is 20 °C – some_name costs 3 €, #4."), ["It is 20 °C – some_name costs 3 €, #4."]);
        assert_eq!(aloud("👍🏽 1️⃣ ➡️ ❤️"), ["1."]);
        assert!(aloud(" \n** \n🎉\n").is_empty());
    }

    #[test]
    fn a_sentence_is_ready_before_the_text_is_over() {
        let mut aloud = Aloud::default();
        assert!(aloud.add("We open at 9.").is_empty());
        assert!(aloud.add("30 a.m. Come").is_empty());
        assert_eq!(aloud.add(" early"), ["We open at 9.30 a.m."]);
        assert!(aloud.add(" or").is_empty());
        assert_eq!(aloud.add(" late\nAnd"), ["Come early or late."]);
        assert_eq!(aloud.end(), ["And."]);
    }

    /// However a text is cut, the same is spoken.
    #[test]
    fn pieces_do_not_matter() {
        let text = "**Hello, Mr. Doe!** It is 3.5 km – see [the map](https://e.org/x).\n\n* One 🎉\n* Two\n\n```\ncode\n```\nBye…";
        for size in 1..12 {
            let mut aloud_ = Aloud::default();
            let characters: Vec<char> = text.chars().collect();
            let mut spoken: Vec<String> =
                characters.chunks(size).flat_map(|piece| aloud_.add(&piece.iter().collect::<String>())).collect();
            spoken.extend(aloud_.end());
            assert_eq!(spoken, aloud(text), "in pieces of {size}");
        }
    }
}
