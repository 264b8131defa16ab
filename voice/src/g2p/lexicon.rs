//! How words are pronounced: two dictionaries, and rules for what is not in them as it stands (endings, acronyms,
//! capitals, words that sound otherwise before a vowel).

use std::collections::HashMap;

use serde::Deserialize;

use super::stress::{Emphasis, PRIMARY, SECONDARY, emphasised};

/// A dictionary: one pronunciation, or one for each part of speech.
pub type Dictionary = HashMap<String, Entry>;

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub enum Entry {
    One(String),
    /// By tag, `DEFAULT` among them, or `None` for "nothing follows". Null: it is spelled out.
    ByTag(HashMap<String, Option<String>>),
}

pub struct Lexicon {
    /// Checked by people, and made by a machine.
    gold: Dictionary,
    silver: Dictionary,
}

/// What follows a word, as far as its pronunciation depends on that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Following {
    /// Whether the next sound is a vowel. `None`: a pause comes, or the end.
    pub vowel: Option<bool>,
    /// The next word is "to".
    pub to: bool,
}

/// A word with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub word: &'a str,
    /// Penn Treebank; empty if there is none.
    pub tag: &'a str,
    pub emphasis: Option<Emphasis>,
    pub following: Following,
}

impl Lexicon {
    pub fn new(gold: Dictionary, silver: Dictionary) -> Self {
        Lexicon { gold, silver }
    }

    /// The phonemes of a word: letters and apostrophes, also with periods (`p.m.`). `None` if the rules do not reach.
    pub fn pronounce(&self, asked: Asked<'_>) -> Option<String> {
        if let Some(special) = self.special(asked) {
            return Some(special);
        }
        let lower = asked.word.to_lowercase();
        let lowered = Asked { word: &lower, ..asked };
        let asked = if self.is_better_lower(asked, lowered) { lowered } else { asked };
        let word = asked.word;
        if self.is_known(word) {
            return self.look_up(asked);
        }
        // A plural's apostrophe is not heard.
        if let Some(stem) = word.strip_suffix('\'').filter(|stem| self.is_known(stem)) {
            return self.look_up(Asked { word: stem, ..asked });
        }
        self.with_s(asked).or_else(|| self.with_ed(asked)).or_else(|| {
            let emphasis = asked.emphasis.or(Some(Emphasis::Some));
            self.with_ing(Asked { emphasis, ..asked })
        })
    }

    /// Letter by letter, the last one stressed. `None` if it has letters that are not English.
    pub fn spell(&self, word: &str) -> Option<String> {
        let mut spelled = String::new();
        for letter in word.chars().filter(|letter| letter.is_alphabetic()) {
            match self.gold.get(letter.to_uppercase().to_string().as_str())? {
                Entry::One(name) => spelled.push_str(name),
                Entry::ByTag(names) => spelled.push_str(names.get("DEFAULT")?.as_deref()?),
            }
        }
        let spelled = emphasised(&spelled, Some(Emphasis::Light));
        let last = spelled.rfind(SECONDARY)?;
        Some(format!("{}{PRIMARY}{}", &spelled[..last], &spelled[last + SECONDARY.len_utf8()..]))
    }

    /// Words that depend on what follows, and abbreviations with periods.
    fn special(&self, Asked { word, tag, emphasis, following }: Asked<'_>) -> Option<String> {
        let text = |text: &str| Some(text.to_owned());
        let inner = word.trim_matches('.');
        if inner.contains('.') && inner.split('.').all(|part| part.len() < 3 && part.chars().all(char::is_alphabetic)) {
            return self.spell(word);
        }
        match word {
            "a" | "A" if tag == "DT" => text("ɐ"),
            "a" | "A" => text("ˈA"),
            "am" | "Am" | "AM" if tag.starts_with("NN") => self.spell(word),
            "am" if following.vowel.is_some() && emphasis != Some(Emphasis::Strong) => text("ɐm"),
            "am" | "Am" | "AM" => self.plain("am"),
            "AN" if tag.starts_with("NN") => self.spell(word),
            "an" | "An" | "AN" => text("ɐn"),
            "I" if tag == "PRP" => text("ˌI"),
            "by" | "By" | "BY" if part_of_speech(tag) == "ADV" => text("bˈI"),
            "TO" if tag != "TO" && tag != "IN" => None,
            "to" | "To" | "TO" => match following.vowel {
                None => self.plain("to"),
                Some(false) => text("tə"),
                Some(true) => text("tʊ"),
            },
            "IN" if tag == "NNP" => None,
            "in" | "In" | "IN" if following.vowel.is_none() || tag != "IN" => text("ˈɪn"),
            "in" | "In" | "IN" => text("ɪn"),
            "THE" if tag != "DT" => None,
            "the" | "The" | "THE" => text(if following.vowel == Some(true) { "ði" } else { "ðə" }),
            "vs" | "vs." | "Vs" | "Vs." | "VS" => self.plain("versus"),
            "used" | "Used" | "USED" => {
                let tag = if matches!(tag, "VBD" | "JJ") && following.to { "VBD" } else { "DEFAULT" };
                match self.gold.get("used")? {
                    Entry::One(phonemes) => Some(phonemes.clone()),
                    Entry::ByTag(by_tag) => by_tag.get(tag)?.clone(),
                }
            }
            _ => None,
        }
    }

    fn plain(&self, word: &str) -> Option<String> {
        self.look_up(Asked { word, tag: "", emphasis: None, following: Following { vowel: Some(false), to: false } })
    }

    /// Capitals at a sentence's beginning, or for emphasis, are no other word; a name may be.
    fn is_better_lower(&self, asked: Asked<'_>, lowered: Asked<'_>) -> bool {
        let Asked { word, tag, .. } = asked;
        let rest: String = word.chars().skip(1).collect();
        word.chars().count() > 1
            && word.chars().all(|character| character.is_alphabetic() || character == '\'')
            && word != lowered.word
            && (tag != "NNP" || word.chars().count() > 7)
            && !self.has(word)
            && (word == word.to_uppercase() || rest == rest.to_lowercase())
            && (self.has(lowered.word)
                || self.with_s(lowered).is_some()
                || self.with_ed(lowered).is_some()
                || self.with_ing(lowered).is_some())
    }

    fn has(&self, word: &str) -> bool {
        entry(&self.gold, word).is_some() || entry(&self.silver, word).is_some()
    }

    /// Whether [`look_up`](Lexicon::look_up) can say it: it is in a dictionary, or is letters to be spelled.
    fn is_known(&self, word: &str) -> bool {
        if self.has(word) {
            return true;
        }
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return false;
        }
        let upper = word.to_uppercase();
        word.len() == 1
            || word[1..] == upper[1..]
            || (word == upper && entry(&self.gold, &word.to_lowercase()).is_some())
    }

    fn look_up(&self, asked: Asked<'_>) -> Option<String> {
        let Asked { tag, emphasis, following, .. } = asked;
        let shouted = asked.word == asked.word.to_uppercase() && entry(&self.gold, asked.word).is_none();
        let lower;
        let word = if shouted {
            lower = asked.word.to_lowercase();
            lower.as_str()
        } else {
            asked.word
        };
        let is_name = shouted && tag == "NNP";
        let found = entry(&self.gold, word).or_else(|| entry(&self.silver, word).filter(|_| !is_name));
        let phonemes = match found {
            Some(Entry::One(phonemes)) => Some(phonemes.as_str()),
            Some(Entry::ByTag(by_tag)) => {
                let at_the_end = by_tag.get("None").filter(|_| following.vowel.is_none());
                let of_tag = || by_tag.get(tag).or_else(|| by_tag.get(part_of_speech(tag)));
                at_the_end.or_else(of_tag).or_else(|| by_tag.get("DEFAULT")).and_then(Option::as_deref)
            }
            None => None,
        };
        match phonemes {
            Some(phonemes) if !is_name || phonemes.contains(PRIMARY) => Some(emphasised(phonemes, emphasis)),
            _ => self.spell(word),
        }
    }

    /// Plurals, third persons, and what belongs to somebody.
    fn with_s(&self, asked: Asked<'_>) -> Option<String> {
        let word = asked.word;
        if word.chars().count() < 3 || !word.ends_with('s') {
            return None;
        }
        let known = |stem: &str| self.is_known(stem).then(|| stem.to_owned());
        let long = word.chars().count() > 4;
        let stem = word.strip_suffix('s').filter(|stem| !stem.ends_with('s')).and_then(known);
        let stem = stem.or_else(|| word.strip_suffix("'s").and_then(known));
        let stem = stem.or_else(|| word.strip_suffix("es").filter(|_| long && !word.ends_with("ies")).and_then(known));
        let stem =
            stem.or_else(|| word.strip_suffix("ies").filter(|_| long).and_then(|stem| known(&format!("{stem}y"))))?;
        self.look_up(Asked { word: &stem, ..asked }).map(|stem| add_s(&stem))
    }

    fn with_ed(&self, asked: Asked<'_>) -> Option<String> {
        let word = asked.word;
        if word.chars().count() < 4 || !word.ends_with('d') {
            return None;
        }
        let known = |stem: &&str| self.is_known(stem);
        let stem = word.strip_suffix('d').filter(|stem| !stem.ends_with('d')).filter(known);
        let stem = stem
            .or_else(|| word.strip_suffix("ed").filter(|stem| word.len() > 4 && !stem.ends_with('e')).filter(known))?;
        let stem = self.look_up(Asked { word: stem, ..asked })?;
        let mut sounds = stem.chars().rev();
        let (last, before) = (sounds.next()?, sounds.next());
        Some(match last {
            'p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ' => format!("{stem}t"),
            'd' => format!("{stem}ᵻd"),
            't' if before.is_none() => format!("{stem}ɪd"),
            't' if before.is_some_and(flaps) => format!("{}ɾᵻd", &stem[..stem.len() - 1]),
            't' => format!("{stem}ᵻd"),
            _ => format!("{stem}d"),
        })
    }

    fn with_ing(&self, asked: Asked<'_>) -> Option<String> {
        let word = asked.word;
        let base = word.strip_suffix("ing").filter(|base| base.chars().count() >= 2)?;
        let long = base.chars().count() > 2;
        let known = |stem: String| Some(stem).filter(|stem| self.is_known(stem));
        let doubled = || {
            let mut letters = base.chars().rev();
            let (last, before) = (letters.next()?, letters.next()?);
            let double = last == before && "bcdgklmnprstvxz".contains(last);
            (double || base.ends_with("ck")).then(|| base[..base.len() - last.len_utf8()].to_owned())
        };
        let stem = known(base.to_owned()).filter(|_| long).or_else(|| known(format!("{base}e")));
        let stem = stem.or_else(|| doubled().filter(|_| long).and_then(known))?;
        let stem = self.look_up(Asked { word: &stem, ..asked })?;
        let mut sounds = stem.chars().rev();
        let (last, before) = (sounds.next()?, sounds.next());
        if last == 't' && before.is_some_and(flaps) {
            return Some(format!("{}ɾɪŋ", &stem[..stem.len() - 1]));
        }
        Some(format!("{stem}ɪŋ"))
    }
}

/// An entry, also under the other way to write the first letter.
fn entry<'a>(dictionary: &'a Dictionary, word: &str) -> Option<&'a Entry> {
    if let Some(entry) = dictionary.get(word) {
        return Some(entry);
    }
    let lower = word.to_lowercase();
    let mut letters = lower.chars();
    let capitalised: String = letters.next()?.to_uppercase().chain(letters).collect();
    match word {
        _ if word.chars().count() < 2 => None,
        _ if word == lower && word != capitalised => dictionary.get(&capitalised),
        _ if word == capitalised => dictionary.get(&lower),
        _ => None,
    }
}

/// The sound that a plural or a genitive adds.
pub fn add_s(stem: &str) -> String {
    match stem.chars().next_back() {
        Some('p' | 't' | 'k' | 'f' | 'θ') => format!("{stem}s"),
        Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => format!("{stem}ᵻz"),
        Some(_) => format!("{stem}z"),
        None => String::new(),
    }
}

/// After these, an American t between vowels is a flap.
fn flaps(before: char) -> bool {
    "AIOWYiuæɑəɛɪɹʊʌ".contains(before)
}

/// The coarser names that dictionaries use.
fn part_of_speech(tag: &str) -> &str {
    match tag {
        _ if tag.starts_with("VB") => "VERB",
        _ if tag.starts_with("NN") => "NOUN",
        _ if tag.starts_with("ADV") || tag.starts_with("RB") => "ADV",
        _ if tag.starts_with("ADJ") || tag.starts_with("JJ") => "ADJ",
        _ => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let gold = serde_json::json!({
            "to": "tˈu", "am": "æm", "cat": "kˈæt", "want": "wˈɑnt", "write": "ɹˈIt", "stop": "stˈɑp", "box": "bˈɑks", "city": "sˈɪTi",
            "load": "lˈOd", "P": "pˈi", "M": "ˈɛm", "Paris": "pˈɛɹɪs", "mine": "mˈIn",
            "record": {"DEFAULT": "ɹˈɛkəɹd", "VERB": "ɹəkˈɔɹd"},
            "us": {"DEFAULT": "ˌʌs", "None": "ˈʌs"},
        });
        let silver = serde_json::json!({"zither": "zˈɪðəɹ"});
        Lexicon::new(serde_json::from_value(gold).unwrap(), serde_json::from_value(silver).unwrap())
    }

    fn said_with(word: &str, tag: &str, vowel: Option<bool>) -> Option<String> {
        lexicon().pronounce(Asked { word, tag, emphasis: None, following: Following { vowel, to: false } })
    }

    fn said(word: &str, tag: &str) -> Option<String> {
        said_with(word, tag, Some(false))
    }

    #[test]
    fn the_part_of_speech_decides() {
        assert_eq!(said("record", "VBP").as_deref(), Some("ɹəkˈɔɹd"));
        assert_eq!(said("record", "NN").as_deref(), Some("ɹˈɛkəɹd"));
        assert_eq!(said("a", "DT").as_deref(), Some("ɐ"));
        assert_eq!(said("A", "NNP").as_deref(), Some("ˈA"));
    }

    #[test]
    fn what_follows_decides() {
        let words = [Some(true), Some(false), None]
            .map(|vowel| ["the", "to", "in", "us"].map(|word| said_with(word, "IN", vowel).unwrap()));
        assert_eq!(words, [["ði", "tʊ", "ɪn", "ˌʌs"], ["ðə", "tə", "ɪn", "ˌʌs"], ["ðə", "tˈu", "ˈɪn", "ˈʌs"]]);
    }

    #[test]
    fn endings_follow_their_stem() {
        for (word, wanted) in [
            ("cats", "kˈæts"),
            ("boxes", "bˈɑksᵻz"),
            ("cities", "sˈɪTiz"),
            ("cat's", "kˈæts"),
            ("stops", "stˈɑps"),
            ("wanted", "wˈɑntᵻd"),
            ("loaded", "lˈOdᵻd"),
            ("writing", "ɹˈIɾɪŋ"),
            ("stopping", "stˈɑpɪŋ"),
            ("mined", "mˈInd"),
            ("zithers", "zˈɪðəɹz"),
        ] {
            assert_eq!(said(word, "NN").as_deref(), Some(wanted), "{word}");
        }
        assert_eq!(said("glorp", "NN"), None);
    }

    #[test]
    fn capitals_and_letters() {
        assert_eq!(said("Cat", "NN").as_deref(), Some("kˈæt"));
        assert_eq!(said("paris", "NN").as_deref(), Some("pˈɛɹɪs"));
        assert_eq!(said("PM", "NN").as_deref(), Some("pˌiˈɛm"));
        assert_eq!(said("p.m.", "NN").as_deref(), Some("pˌiˈɛm"));
    }
}
