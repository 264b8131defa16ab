//! Who said goodbye, and who only said "mhm": H9, H7 and B4 of `docs/rules.md`, from word lists per language.
//!
//! Three questions are asked of a transcript, and a wrong "yes" costs more than a wrong "no": a farewell that was
//! overlooked ends with the caller hanging up, one that was imagined cuts the caller off in the middle of a matter,
//! and a question taken for "mhm" is never answered. So all three answer "no" when in doubt.
//!
//! * [`says_farewell`] (H9): did the agent say goodbye? Its transcripts are punctuated, so sentences can be trusted.
//! * [`is_only_farewell`] (H9, H7): is the caller's whole utterance a farewell? Nothing else may be in it.
//! * [`is_back_channel`] (B4, H7): is it only a sign of listening, which is no reason to stop talking?
//!
//! # The rules
//! 1. **Words.** Letters and digits are words, everything else lies between words. Case, accents, vowel points,
//!    tatweel, apostrophes and invisible marks do not count; the Arabic spellings of alef, ya and ta marbuta are one.
//!    A listed word matches a whole word only ("bye" is not in "byte"), save that in languages with prefix letters
//!    the first word of a phrase may carry up to two of them (`ולהתראות`, `ومع السلامة`).
//! 2. **Sentences** end at `.` `!` `?` `…` and line ends. A full stop does not end one inside a word or number, after a
//!    title ("Goodbye, Mr. Smith.") or after a single letter ("p.m.").
//! 3. **The last sentence counts**, and sentences of nothing but courtesies after it do not ("Goodbye! Thank you for
//!    calling."). A question is never a farewell, and no mere sign of listening either.
//! 4. **Exclusions** are phrases with a farewell in them that is not one ("goodbye to", "say goodbye", `היי ביי`).
//!    A farewell that shares a word with one is void, unless it is the longer phrase and has the exclusion inside it
//!    ("take care of yourself" against "take care of").
//! 5. **Some farewells must begin a clause**: "See you soon" takes leave, "I hope to see you soon" does not. A clause
//!    begins with the sentence, after a comma, colon, semicolon or dash, after "and", and after courtesies that stand
//!    at the beginning of one ("Okay then, thanks so much, see you soon").
//! 6. **Nothing of weight follows** a farewell in its sentence: further farewells, courtesies, and at most
//!    [`ADDRESS_WORDS`] other words, which are taken for a name. Words that begin a continuation ("but", "before",
//!    "because") follow it never. What precedes it does not matter: "Thanks for calling, have a great day!"
//!
//! Rules 3 to 6 look at punctuation, listed words and the number of the others, never at what the others are. So
//! [`mask`] can black those out in a stored trace, and a replay (N11) still decides the same.
//!
//! # The lists
//! One file a language in `call/data/farewell`; the head of `en.txt` describes their form. An agent that speaks two
//! languages is given both, and phrases of both may meet in one sentence ("Okay, adiós.").

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Words outside the lists that may follow a farewell: "Goodbye, Mary Ann Smith." A fourth is a sentence that goes on.
pub const ADDRESS_WORDS: u32 = 3;

/// Letters that may be written together with the word that follows; two at most, as in `וש`.
const PREFIX_LETTERS: usize = 2;

/// A language that farewells and back-channel words are known for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Language(u8);

impl Language {
    pub const ENGLISH: Language = Language(0);
    pub const HEBREW: Language = Language(1);
    pub const SPANISH: Language = Language(2);
    pub const GERMAN: Language = Language(3);
    pub const FRENCH: Language = Language(4);
    pub const ARABIC: Language = Language(5);

    pub const ALL: [Language; 6] =
        [Self::ENGLISH, Self::HEBREW, Self::SPANISH, Self::GERMAN, Self::FRENCH, Self::ARABIC];

    /// The language of a BCP 47 tag or a POSIX locale: `en`, `en-US`, `es_MX.UTF-8`. Only the first part counts.
    pub fn from_code(code: &str) -> Option<Language> {
        let primary = code.split(['-', '_', '.']).next()?;
        // `iw` is what Hebrew was called before 1989, and what some clients still call it.
        let primary = if primary.eq_ignore_ascii_case("iw") { "he" } else { primary };
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(primary))
    }

    /// Reads the lists, which otherwise happens when they are first asked: a few milliseconds, best not spent in a call.
    pub fn load(self) {
        LazyLock::force(&LEXICONS[self.0 as usize]);
    }

    /// The ISO 639-1 code.
    pub const fn code(self) -> &'static str {
        ["en", "he", "es", "de", "fr", "ar"][self.0 as usize]
    }

    fn lexicon(self) -> &'static Lexicon {
        &LEXICONS[self.0 as usize]
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Language::from_code(&code).ok_or_else(|| D::Error::custom("a language without lists"))
    }
}

/// Whether the agent took its leave with this (H9): the whole transcript of a response, its items joined by a space.
pub fn says_farewell(text: &str, languages: &[Language]) -> bool {
    let words = Words::read(text, languages);
    for sentence in words.sentences.iter().rev() {
        if sentence.question {
            return false;
        }
        let found = Found::new(&words, sentence, languages);
        let others_from = found.others_from(Kind::is_courtesy);
        if found.farewells().any(|farewell| others_from[farewell.end] <= ADDRESS_WORDS) {
            return true;
        }
        if others_from[0] > 0 {
            return false;
        }
    }
    false
}

/// Whether this utterance of the caller is a farewell and nothing else (H9, H7): "okay thanks, bye".
pub fn is_only_farewell(text: &str, languages: &[Language]) -> bool {
    let words = Words::read(text, languages);
    let mut farewell = false;
    for sentence in &words.sentences {
        let found = Found::new(&words, sentence, languages);
        if sentence.question || found.others_from(Kind::is_courtesy)[0] > 0 {
            return false;
        }
        farewell |= found.farewells().next().is_some();
    }
    farewell
}

/// Whether this utterance of the caller only says "I am listening" (B4, H7). An empty one says nothing: `false`.
pub fn is_back_channel(text: &str, languages: &[Language]) -> bool {
    let words = Words::read(text, languages);
    let only_listens = |sentence: &Sentence| {
        let found = Found::new(&words, sentence, languages);
        !sentence.question && found.others_from(|kind| kind == Kind::BackChannel)[0] == 0
    };
    !words.sentences.is_empty() && words.sentences.iter().all(only_listens)
}

/// The text with what people said in it blacked out: in words of no list, letters become `x` and digits `0`.
///
/// Punctuation and the length in characters stay, and so does what the three questions above answer.
pub fn mask(text: &str, languages: &[Language]) -> String {
    let words = Words::read(text, languages);
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    for word in &words.words {
        if languages.iter().any(|language| language.lexicon().lists(words.folded(word))) {
            continue;
        }
        masked.push_str(&text[copied..word.raw.start]);
        masked.extend(text[word.raw.clone()].chars().map(|c| match Class::of(c) {
            Class::Letter | Class::Mark => 'x',
            Class::Digit => '0',
            Class::Joiner | Class::Stop | Class::Question | Class::End | Class::Pause | Class::Between => c,
        }));
        copied = word.raw.end;
    }
    masked.push_str(&text[copied..]);
    masked
}

/// What a character is to a reader of words and sentences.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    /// Part of a word that does not count: accents, vowel points, tatweel.
    Mark,
    /// Neither here nor there: apostrophes ("that's" and "thats" are one word), marks of direction, soft hyphens.
    Joiner,
    /// A full stop, which ends a sentence or does not.
    Stop,
    Question,
    End,
    /// A comma and its like, after which a clause begins.
    Pause,
    Between,
}

impl Class {
    fn of(c: char) -> Class {
        match c {
            '.' => Class::Stop,
            '?' | '\u{61f}' | '\u{ff1f}' => Class::Question,
            '!' | '\u{ff01}' | '…' | '\u{6d4}' | '\u{3002}' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Class::End,
            ',' | ';' | ':' | '–' | '—' | '\u{60c}' | '\u{61b}' | '\u{ff0c}' | '\u{3001}' => Class::Pause,
            // Apostrophes and what is typed for them; geresh and gershayim.
            '\'' | '`' | '\u{b4}' | '\u{2b9}'..='\u{2bc}' | '\u{2018}'..='\u{201b}' | '\u{2032}' => Class::Joiner,
            '\u{ff07}' | '\u{5f3}' | '\u{5f4}' => Class::Joiner,
            // Invisible: soft hyphen, joiners, marks of direction.
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => Class::Joiner,
            '\u{2060}'..='\u{2069}' | '\u{feff}' => Class::Joiner,
            // Accents that stand by themselves; niqqud and cantillation; harakat and tatweel.
            '\u{300}'..='\u{36f}' => Class::Mark,
            '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' => {
                Class::Mark
            }
            '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' => {
                Class::Mark
            }
            _ if c.is_alphabetic() => Class::Letter,
            _ if c.is_numeric() => Class::Digit,
            _ => Class::Between,
        }
    }

    fn begins_word(self) -> bool {
        matches!(self, Class::Letter | Class::Digit)
    }
}

/// Appends a letter or digit in the one spelling that words are compared in.
fn fold(c: char, folded: &mut String) {
    for c in c.to_lowercase() {
        match c {
            'à'..='å' => folded.push('a'),
            'æ' => folded.push_str("ae"),
            'ç' => folded.push('c'),
            'è'..='ë' => folded.push('e'),
            'ì'..='ï' => folded.push('i'),
            'ñ' => folded.push('n'),
            'ò'..='ö' | 'ø' => folded.push('o'),
            'ù'..='ü' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'œ' => folded.push_str("oe"),
            'ß' => folded.push_str("ss"),
            'أ' | 'إ' | 'آ' | 'ٱ' => folded.push('ا'),
            'ى' | 'ئ' | 'ی' => folded.push('ي'),
            'ؤ' => folded.push('و'),
            'ة' => folded.push('ه'),
            'ک' => folded.push('ك'),
            // `to_lowercase` takes some letters apart: `İ` is an `i` and a dot.
            _ if Class::of(c) == Class::Mark => {}
            _ => folded.push(c),
        }
    }
}

/// A text as words and sentences.
#[derive(Default)]
struct Words {
    /// The words in their folded spelling, one after the other.
    folded: String,
    words: Vec<Word>,
    /// In order; none is empty.
    sentences: Vec<Sentence>,
}

struct Word {
    /// Bytes of the text.
    raw: Range<usize>,
    /// Bytes of `Words::folded`.
    folded: Range<usize>,
    /// A letter by itself, as in "p.m.". Marks count, since they are letters once masked.
    initial: bool,
    /// The first of a clause, as far as punctuation tells.
    opens: bool,
}

struct Sentence {
    words: Range<usize>,
    question: bool,
}

impl Words {
    fn read(text: &str, languages: &[Language]) -> Words {
        let mut read = Words::default();
        let mut in_word = false;
        let mut paused = true;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let class = Class::of(c);
            match class {
                Class::Letter | Class::Digit => {
                    if !in_word {
                        let start = read.folded.len();
                        let initial = class == Class::Letter;
                        read.words.push(Word { raw: at..at, folded: start..start, initial, opens: paused });
                        paused = false;
                    }
                    fold(c, &mut read.folded);
                    read.extend_word(at + c.len_utf8(), in_word);
                    in_word = true;
                }
                Class::Mark if in_word => read.extend_word(at + c.len_utf8(), in_word),
                Class::Mark | Class::Joiner => {}
                Class::Stop => {
                    let inside = chars.peek().is_some_and(|&(_, next)| Class::of(next).begins_word());
                    let abbreviates =
                        in_word && read.words.last().is_some_and(|word| read.abbreviates(word, languages));
                    in_word = false;
                    if !inside && !abbreviates {
                        paused = true;
                        read.end_sentence(false);
                    }
                }
                Class::Question | Class::End => {
                    in_word = false;
                    paused = true;
                    read.end_sentence(class == Class::Question);
                }
                Class::Pause => {
                    in_word = false;
                    paused = true;
                }
                Class::Between => in_word = false,
            }
        }
        read.end_sentence(false);
        read
    }

    /// The last word reaches to here; `more` if that makes it longer than one letter.
    fn extend_word(&mut self, end: usize, more: bool) {
        if let Some(word) = self.words.last_mut() {
            word.raw.end = end;
            word.folded.end = self.folded.len();
            word.initial &= !more;
        }
    }

    /// Whether a full stop right after this word says that the word is short, not that the sentence is over.
    fn abbreviates(&self, word: &Word, languages: &[Language]) -> bool {
        word.initial || languages.iter().any(|language| language.lexicon().titles.contains(self.folded(word)))
    }

    fn end_sentence(&mut self, question: bool) {
        let start = self.sentences.last().map_or(0, |sentence| sentence.words.end);
        if start < self.words.len() {
            self.sentences.push(Sentence { words: start..self.words.len(), question });
        } else if let Some(last) = self.sentences.last_mut() {
            // More marks behind the first: "bye!?"
            last.question |= question;
        }
    }

    fn folded(&self, word: &Word) -> &str {
        &self.folded[word.folded.clone()]
    }
}

/// What the lists have in one sentence.
struct Found {
    /// In the order in which they begin. Farewells that are void (rule 4) or out of place (rule 5) are not among them.
    matches: Vec<Match>,
    /// Words of the sentence.
    words: usize,
}

struct Match {
    kind: Kind,
    /// Numbers of words in the sentence.
    at: Range<usize>,
}

impl Found {
    fn new(words: &Words, sentence: &Sentence, languages: &[Language]) -> Found {
        let sentence = &words.words[sentence.words.clone()];
        let folded: Vec<&str> = sentence.iter().map(|word| words.folded(word)).collect();
        let mut matches = Vec::new();
        for start in 0..folded.len() {
            for language in languages {
                let found = |kind, len| matches.push(Match { kind, at: start..start + len });
                language.lexicon().find(&folded[start..], found);
            }
        }
        let exclusions: Vec<Range<usize>> =
            matches.iter().filter(|found| found.kind == Kind::Exclusion).map(|found| found.at.clone()).collect();
        let mut opens: Vec<bool> = sentence.iter().map(|word| word.opens).chain([false]).collect();
        matches.retain(|Match { kind, at }| {
            let void = kind.is_farewell() && exclusions.iter().any(|exclusion| voids(exclusion, at));
            let misplaced = *kind == Kind::ClauseFarewell && !opens[at.start];
            if void || misplaced {
                return false;
            }
            opens[at.end] |= *kind == Kind::Joint || kind.is_courtesy() && opens[at.start];
            true
        });
        Found { matches, words: folded.len() }
    }

    fn farewells(&self) -> impl Iterator<Item = &Range<usize>> {
        self.matches.iter().filter(|found| found.kind.is_farewell()).map(|found| &found.at)
    }

    /// For each place in the sentence, its end included: the fewest words from there on that phrases of the kinds that
    /// `count`, laid side by side, leave over. `u32::MAX` where a continuation is left over.
    fn others_from(&self, count: impl Fn(Kind) -> bool) -> Vec<u32> {
        let mut others = vec![0_u32; self.words + 1];
        for at in (0..self.words).rev() {
            let first = self.matches.partition_point(|found| found.at.start < at);
            let starting = self.matches[first..].iter().take_while(|found| found.at.start == at);
            let goes_on = starting.clone().any(|found| found.kind == Kind::Continuation);
            let left_over = if goes_on { u32::MAX } else { others[at + 1].saturating_add(1) };
            let covered = starting.filter(|found| count(found.kind)).map(|found| others[found.at.end]);
            others[at] = covered.fold(left_over, u32::min);
        }
        others
    }
}

/// Rule 4. A phrase that is in both lists is an exclusion.
fn voids(exclusion: &Range<usize>, farewell: &Range<usize>) -> bool {
    let overlap = farewell.start < exclusion.end && exclusion.start < farewell.end;
    let inside = farewell.start <= exclusion.start && exclusion.end <= farewell.end && farewell != exclusion;
    overlap && !inside
}

/// What a list is of. The files have a section for each, and one for prefix letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Farewell,
    /// One only where it begins a clause.
    ClauseFarewell,
    Exclusion,
    Continuation,
    Filler,
    /// "And": a filler after which a clause begins.
    Joint,
    Title,
    BackChannel,
}

impl Kind {
    fn is_farewell(self) -> bool {
        matches!(self, Kind::Farewell | Kind::ClauseFarewell)
    }

    /// Whether it may stand around a farewell without making it anything else.
    fn is_courtesy(self) -> bool {
        match self {
            Kind::Farewell | Kind::ClauseFarewell => true,
            Kind::Filler | Kind::Joint | Kind::Title | Kind::BackChannel => true,
            Kind::Exclusion | Kind::Continuation => false,
        }
    }
}

/// The lists of one language: a constant in spirit, parsed from a constant when first needed.
#[derive(Default)]
struct Lexicon {
    prefixes: Vec<char>,
    titles: BTreeSet<String>,
    /// By their first word.
    phrases: BTreeMap<String, Vec<Phrase>>,
    /// Every word of every phrase.
    words: BTreeSet<String>,
}

struct Phrase {
    kind: Kind,
    /// The words after the first.
    rest: Vec<String>,
}

/// In the order of the numbers of [`Language`].
static LEXICONS: [LazyLock<Lexicon>; Language::ALL.len()] = [
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/en.txt"))),
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/he.txt"))),
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/es.txt"))),
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/de.txt"))),
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/fr.txt"))),
    LazyLock::new(|| Lexicon::parse(include_str!("../data/farewell/ar.txt"))),
];

impl Lexicon {
    /// Panics where the file is wrong: it is part of the program, and the tests read all of them.
    fn parse(source: &str) -> Lexicon {
        let mut lexicon = Lexicon::default();
        let mut section = "";
        for line in source.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                continue;
            }
            let kind = match section {
                _ if line.is_empty() => continue,
                "prefix" => {
                    lexicon.prefixes.extend(line.chars().filter(|c| !c.is_whitespace()));
                    continue;
                }
                "farewell" => Kind::Farewell,
                "farewell at the beginning of a clause" => Kind::ClauseFarewell,
                "exclusion" => Kind::Exclusion,
                "continuation" => Kind::Continuation,
                "filler" => Kind::Filler,
                "joint" => Kind::Joint,
                "title" => Kind::Title,
                "back-channel" => Kind::BackChannel,
                _ => panic!("farewell data: `{line}` stands in an unknown section, `{section}`"),
            };
            for phrase in spell_out(line) {
                lexicon.add(kind, &phrase);
            }
        }
        lexicon
    }

    fn add(&mut self, kind: Kind, phrase: &str) {
        let words = Words::read(phrase, &[]);
        let mut words = words.words.iter().map(|word| words.folded(word).to_owned());
        let first = words.next().expect("no line of the farewell data has all its words optional");
        let rest: Vec<String> = words.collect();
        if kind == Kind::Title {
            self.titles.insert(first.clone());
        }
        self.words.extend(rest.iter().cloned().chain([first.clone()]));
        self.phrases.entry(first).or_default().push(Phrase { kind, rest });
    }

    /// The phrases that these words begin with, as their kind and number of words.
    fn find(&self, words: &[&str], mut found: impl FnMut(Kind, usize)) {
        let Some((first, after)) = words.split_first() else { return };
        for (prefixes, form) in self.forms(first).enumerate() {
            for phrase in self.phrases.get(form).into_iter().flatten() {
                // A prefix on a back-channel word gives another word: `כן` is "yes", `שכן` is "neighbour".
                let applies = prefixes == 0 || phrase.kind != Kind::BackChannel;
                let rest = after.get(..phrase.rest.len());
                if applies && rest.is_some_and(|rest| phrase.rest.iter().eq(rest)) {
                    found(phrase.kind, 1 + phrase.rest.len());
                }
            }
        }
    }

    /// Whether an answer may depend on what this word is.
    fn lists(&self, word: &str) -> bool {
        self.forms(word).any(|form| self.words.contains(form))
    }

    /// The word itself, and without the letters that may be prefixes.
    fn forms<'w>(&self, word: &'w str) -> impl Iterator<Item = &'w str> {
        let shorter = |form: &&'w str| form.strip_prefix(self.prefixes.as_slice());
        std::iter::successors(Some(word), shorter).take(1 + PREFIX_LETTERS)
    }
}

/// The phrases that a line of the data stands for: `see you again? soon/later` is four.
fn spell_out(line: &str) -> Vec<String> {
    let mut phrases = vec![String::new()];
    for slot in line.split_whitespace() {
        let optional = slot.ends_with('?').then_some("");
        let choices: Vec<&str> = slot.trim_end_matches('?').split('/').chain(optional).collect();
        phrases =
            phrases.iter().flat_map(|phrase| choices.iter().map(move |choice| format!("{phrase} {choice}"))).collect();
    }
    phrases
}
