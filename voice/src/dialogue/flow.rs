//! The operator's flow: a TOML file.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::Deserialize;
use toml::Spanned;

use super::meaning::{self, Meanings, Meant};
use super::nearest::{Examples, telling, words};
use super::slots::{Kind, Slot, SlotFile};
use crate::expected::{Expected, OF_AN_ANSWER, OF_AN_EXAMPLE};
use crate::word_vectors::WordVectors;

/// Opening hours begin here, unless a slot says otherwise: "at six" is in the evening, "at seven" in the morning.
const EARLIEST: Time = civil::time(7, 0, 0, 0);

/// What an agent knows to answer.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Said first, unless whoever runs the call has a greeting of its own.
    pub(super) greeting: String,
    /// Said when nothing was understood.
    pub(super) again: String,
    /// Asked when an intent is near and not clearly meant, with what it is about.
    pub(super) unsure: String,
    /// Asked when it was not meant.
    pub(super) other_words: String,
    /// Said when a tool failed, or is not there.
    pub(super) failed: String,
    /// Said when nobody can take the call over.
    pub(super) nobody: String,
    pub(super) farewell: String,
    pub(super) still_there: String,
    /// Asked when what was to be confirmed is not right.
    pub(super) change: String,
    /// Said when a caller wants no more of what they began.
    pub(super) dropped: String,
    /// Where "tomorrow" is.
    pub(super) zone: TimeZone,
    pub(super) intents: Vec<Intent>,
    examples: Examples,
    /// The words of choices and examples.
    expected: Arc<Expected>,
    understands: By,
    /// What the operator recorded, by its text.
    clips: BTreeMap<String, Clip>,
}

/// By what it is found which example is nearest.
#[derive(Clone, Debug)]
enum By {
    Letters,
    Words(Meanings, Arc<WordVectors>),
    /// Whoever asks has to bring the vector, since finding it out takes a thread that may be busy for a while.
    Sentences(Meanings),
}

#[derive(Clone, Debug)]
struct Clip {
    path: String,
    /// 8 kHz, ±1. `None`: not read yet.
    samples: Option<Arc<[f32]>>,
}

#[derive(Clone, Debug)]
pub(super) struct Intent {
    /// What it is, for a caller who is asked whether they mean it. `None`: nobody is asked.
    pub about: Option<String>,
    /// The keys of the telephone that mean this.
    pub keys: Option<String>,
    /// Any of these, word for word, means this.
    pub phrases: Vec<Vec<String>>,
    /// In the order of the file, which is that of asking.
    pub slots: Vec<Slot>,
    /// Said before anything is done, and to be answered with yes.
    pub confirm: Option<String>,
    pub tool: Option<String>,
    /// Said when the tool failed, or is not there.
    pub failed: Option<String>,
    pub answer: String,
    /// What the answer asks for.
    pub next: Option<usize>,
}

/// What is wrong with a flow: all of it, each with its line and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct FlowError(Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    #[serde(default = "greeting")]
    greeting: String,
    #[serde(default = "again")]
    again: String,
    #[serde(default = "unsure")]
    unsure: Spanned<String>,
    #[serde(default = "other_words")]
    other_words: String,
    #[serde(default = "failed")]
    failed: String,
    #[serde(default = "nobody")]
    nobody: String,
    #[serde(default = "farewell")]
    farewell: String,
    #[serde(default = "still_there")]
    still_there: String,
    #[serde(default = "change")]
    change: String,
    #[serde(default = "dropped")]
    dropped: String,
    timezone: Option<Spanned<String>>,
    /// Text to WAV file.
    #[serde(default)]
    clips: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    intent: Vec<IntentFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentFile {
    name: Spanned<String>,
    about: Option<String>,
    #[serde(default)]
    examples: Vec<String>,
    key: Option<Spanned<String>>,
    #[serde(default)]
    phrases: Vec<Spanned<String>>,
    #[serde(default)]
    slots: BTreeMap<String, Spanned<SlotFile>>,
    confirm: Option<Spanned<String>>,
    tool: Option<String>,
    failed: Option<String>,
    answer: Spanned<String>,
    next: Option<Spanned<String>>,
}

fn greeting() -> String {
    "Hello, how can I help you?".into()
}

fn again() -> String {
    "Sorry, I did not understand that. Could you say that again?".into()
}

fn unsure() -> Spanned<String> {
    Spanned::new(0..0, "Do you mean {about}?".into())
}

fn other_words() -> String {
    "Could you say it in other words, please?".into()
}

fn failed() -> String {
    "I am sorry, that did not work just now.".into()
}

fn farewell() -> String {
    "Thank you for calling, goodbye!".into()
}

fn still_there() -> String {
    "Are you still there?".into()
}

fn nobody() -> String {
    "I am sorry, nobody can take your call right now.".into()
}

fn change() -> String {
    "What should I change?".into()
}

fn dropped() -> String {
    "All right, I have not done anything. What else can I do for you?".into()
}

impl Flow {
    /// Whether there is something in it for a caller who can be neither heard nor spoken to: keys to press, or recordings.
    pub fn is_menu(&self) -> bool {
        !self.clips.is_empty() || self.intents.iter().any(|intent| intent.keys.is_some())
    }

    /// Reads a flow.
    ///
    /// # Errors
    /// If it is not TOML, has unknown keys, or contradicts itself.
    pub fn read(text: &str) -> Result<Flow, FlowError> {
        let file: FlowFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            FlowError(vec![format!("line {line}: {}", error.message())])
        })?;
        let mut mistakes = Vec::new();
        let mut wrong = |at: usize, what: String| mistakes.push((at, what));
        let names: Vec<&str> = file.intent.iter().map(|intent| intent.name.as_ref().as_str()).collect();
        for (at, intent) in file.intent.iter().enumerate() {
            check(intent, at, &file.intent, &names, &mut wrong);
        }
        let unsure = file.unsure.as_ref();
        if !braced(unsure).eq(["about"]) {
            let what = "`unsure` asks for one thing, so write {about} in it once, and nothing else in braces";
            wrong(file.unsure.span().start, what.to_owned());
        }
        let zone = match &file.timezone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name.as_ref()).unwrap_or_else(|_| {
                let what = format!("there is no time zone {:?} here; write one as \"Europe/Berlin\"", name.as_ref());
                wrong(name.span().start, what);
                TimeZone::UTC
            }),
        };
        if !mistakes.is_empty() {
            mistakes.sort();
            let lines = mistakes.into_iter().map(|(at, what)| format!("line {}: {what}", line_of(text, at)));
            return Err(FlowError(lines.collect()));
        }
        let intents: Vec<Intent> = file.intent.iter().map(|intent| intent_of(intent, &names)).collect();
        let examples = file
            .intent
            .iter()
            .enumerate()
            .flat_map(|(at, intent)| intent.examples.iter().map(move |text| (at, text.as_str())));
        let examples = Examples::new(examples);
        let clips = file
            .clips
            .into_iter()
            .map(|(text, path)| (text, Clip { path: path.into_inner(), samples: None }))
            .collect();
        let FlowFile {
            greeting,
            again,
            unsure,
            other_words,
            failed,
            nobody,
            farewell,
            still_there,
            change,
            dropped,
            ..
        } = file;
        Ok(Flow {
            greeting,
            again,
            unsure: unsure.into_inner(),
            other_words,
            failed,
            nobody,
            farewell,
            still_there,
            change,
            dropped,
            zone,
            expected: Arc::new(expected(&intents, &examples)),
            intents,
            examples,
            understands: By::Letters,
            clips,
        })
    }

    /// Reads the recordings that the flow names: `read` gives a file's samples as µ-law at 8 kHz, or says what is wrong.
    ///
    /// # Errors
    /// If one cannot be read; all that cannot are named.
    pub fn with_clips(mut self, read: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Flow, FlowError> {
        let mut mistakes = Vec::new();
        for Clip { path, samples } in self.clips.values_mut() {
            match read(path) {
                Ok(coded) => {
                    let decoded = coded.iter().map(|&byte| f32::from(call::g711::decode(byte)) / 32_768.0);
                    *samples = Some(decoded.collect());
                }
                Err(why) => mistakes.push(format!("{path}: {why}")),
            }
        }
        if mistakes.is_empty() { Ok(self) } else { Err(FlowError(mistakes)) }
    }

    /// The same, but it understands by these what callers say.
    pub fn with_word_vectors(self, vectors: Arc<WordVectors>) -> Flow {
        let vector = |words: &[String]| Ok::<_, Infallible>(vectors.vector(&words.join(" ")));
        let Ok(meanings) = Meanings::new(meaning::WORDS, self.examples.iter(), vector);
        Flow { understands: By::Words(meanings, vectors), ..self }
    }

    /// The same, but it understands by whole sentences what callers say: by what `vector` says that words are about, here of
    /// the examples, and later of what [`Dialogue::asks_about`](super::Dialogue::asks_about).
    ///
    /// # Errors
    /// If that has one.
    pub fn with_sentences<E>(self, vector: impl FnMut(&[String]) -> Result<Vec<f32>, E>) -> Result<Flow, E> {
        let meanings = Meanings::new(meaning::SENTENCES, self.examples.iter(), vector)?;
        Ok(Flow { understands: By::Sentences(meanings), ..self })
    }

    /// The recording of a text, 8 kHz, if the operator made one.
    pub(super) fn clip(&self, text: &str) -> Option<Arc<[f32]>> {
        self.clips.get(text).and_then(|clip| clip.samples.clone())
    }

    /// The day that it is where the flow is.
    pub(super) fn today(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone()).date()
    }

    /// What a recogniser may expect that is said to it.
    pub fn expected(&self) -> Arc<Expected> {
        self.expected.clone()
    }

    /// Whether it is to be told what words are about.
    pub(crate) fn asks_about(&self) -> bool {
        matches!(self.understands, By::Sentences(_))
    }

    /// The intent of the nearest example, if one is near enough. `about`: what the words are about, if that was asked for and
    /// could be found out.
    pub(super) fn nearest(&self, words: &[String], about: Option<Vec<f32>>) -> Option<Meant> {
        match (&self.understands, about) {
            (By::Sentences(meanings), Some(vector)) => meanings.nearest(words, vector),
            (By::Words(meanings, vectors), _) => meanings.nearest(words, vectors.vector(&words.join(" "))),
            (By::Letters | By::Sentences(_), _) => self.examples.nearest(words).map(Meant::Clearly),
        }
    }
}

/// Knows nothing but manners, and says so.
impl Default for Flow {
    fn default() -> Self {
        const NOTHING_TOLD: &str = r#"
            [[intent]]
            name = "who"
            examples = ["who are you", "what is this", "who am I talking to", "are you a robot"]
            answer = "I am the built-in voice of this telephone server. Nobody has told me yet what to answer."

            [[intent]]
            name = "hello"
            examples = ["hello", "hi there", "good morning", "good afternoon"]
            answer = "Hello. I am a built-in voice, and nobody has told me yet what to answer."

            [[intent]]
            name = "thanks"
            examples = ["thank you", "thanks a lot", "many thanks"]
            answer = "You are welcome. Is there anything else?"
        "#;
        Flow::read(NOTHING_TOLD).expect("a test reads it")
    }
}

fn intent_of(file: &IntentFile, names: &[&str]) -> Intent {
    let mut slots: Vec<(&String, &Spanned<SlotFile>)> = file.slots.iter().collect();
    slots.sort_by_key(|(_, slot)| slot.span().start);
    let slot = |(name, slot): (&String, &Spanned<SlotFile>)| {
        let SlotFile { kind, ask, earliest } = slot.as_ref().clone();
        Slot { name: name.clone(), kind, ask, earliest: earliest.unwrap_or(EARLIEST) }
    };
    Intent {
        about: file.about.clone(),
        keys: file.key.as_ref().map(|keys| keys.as_ref().clone()),
        phrases: file.phrases.iter().map(|phrase| words(phrase.as_ref())).collect(),
        slots: slots.into_iter().map(slot).collect(),
        confirm: file.confirm.as_ref().map(|text| text.as_ref().clone()),
        tool: file.tool.clone(),
        failed: file.failed.clone(),
        answer: file.answer.as_ref().clone(),
        next: file.next.as_ref().and_then(|next| names.iter().position(|name| name == next.as_ref())),
    }
}

fn expected(intents: &[Intent], examples: &Examples) -> Expected {
    let choices = intents.iter().flat_map(|intent| &intent.slots).filter_map(|slot| match &slot.kind {
        Kind::OneOf(choices) => Some(choices),
        _ => None,
    });
    let of_choices = choices.flatten().flat_map(|choice| words(choice)).map(|word| (word, OF_AN_ANSWER));
    let of_examples =
        examples.iter().flat_map(|(_, words)| telling(words)).map(|word| (word.to_owned(), OF_AN_EXAMPLE));
    let all: Vec<(String, f32)> = of_choices.chain(of_examples).collect();
    Expected::new(all.iter().map(|(word, counts)| (word.as_str(), *counts)))
}

/// Tells what is wrong with one intent: where, and what to do.
fn check(file: &IntentFile, at: usize, all: &[IntentFile], names: &[&str], wrong: &mut impl FnMut(usize, String)) {
    let name = file.name.as_ref();
    let here = file.name.span().start;
    if names.iter().position(|other| other == name) != Some(at) {
        wrong(here, format!("two intents are named {name:?}; give this one another name"));
    }
    if let Some(next) = file.next.as_ref().filter(|next| !names.contains(&next.as_ref().as_str())) {
        let what = format!(
            "intent {name:?}: there is no intent {:?} that could be next; write one, or take `next` out",
            next.as_ref()
        );
        wrong(next.span().start, what);
    }
    let is_next = all.iter().any(|other| other.next.as_ref().is_some_and(|next| next.as_ref() == name));
    if let Some(keys) = &file.key {
        let keypad = |key: char| key.is_ascii_digit() || matches!(key, '*' | '#');
        let same = |other: &&IntentFile| other.key.as_ref().is_some_and(|other| other.as_ref() == keys.as_ref());
        if keys.as_ref().is_empty() || !keys.as_ref().chars().all(keypad) {
            wrong(keys.span().start, format!("intent {name:?}: `key` is of 0 to 9, * and #"));
        } else if all[..at].iter().any(|other| same(&other)) {
            let what =
                format!("intent {name:?}: another has the key {:?} already; give this one another", keys.as_ref());
            wrong(keys.span().start, what);
        }
    }
    if file.examples.is_empty() && file.phrases.is_empty() && file.key.is_none() && !is_next {
        let what = format!(
            "intent {name:?} can never be meant; give it `examples`, `phrases` or a `key`, or name it as another's `next`"
        );
        wrong(here, what);
    }
    for phrase in file.phrases.iter().filter(|phrase| words(phrase.as_ref()).is_empty()) {
        wrong(phrase.span().start, format!("intent {name:?}: a phrase has no words; take it out"));
    }
    for text in [Some(&file.answer), file.confirm.as_ref()].into_iter().flatten() {
        for slot in braced(text.as_ref()).filter(|slot| !file.slots.contains_key(*slot)) {
            let what = format!(
                "intent {name:?}: no slot is named {slot:?}, so {{{slot}}} cannot be said; add it to `slots`, or take it out"
            );
            wrong(text.span().start, what);
        }
    }
}

/// The line, from 1, of a place in a text.
fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

/// The names in braces.
fn braced(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected::Place;

    #[test]
    fn mistakes_are_named_with_their_lines_and_what_to_do() {
        let mistake = |text: &str| Flow::read(text).map(|_| ()).unwrap_err().to_string();
        assert!(
            mistake("again = 'y'\ngreting = 'x'")
                .starts_with("line 2: unknown field `greting`, expected one of `greeting`")
        );
        assert!(
            mistake("unsure = 'What?'").starts_with("line 1: `unsure` asks for one thing, so write {about} in it once")
        );
        assert!(mistake("timezone = 'Nowhere'").contains("line 1: there is no time zone \"Nowhere\" here"));
        let intent = |more: &str| format!("[[intent]]\nname = 'a'\nanswer = 'b {{c}}'\n{more}\n");
        let all = mistake(&intent("next = 'z'\nphrases = ['?']\nconfirm = '{d}?'"));
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines.len(), 4, "{all}");
        assert!(lines[0].starts_with("line 3: intent \"a\": no slot is named \"c\""), "{all}");
        assert!(lines[1].starts_with("line 4: intent \"a\": there is no intent \"z\""), "{all}");
        assert!(lines[2].starts_with("line 5: intent \"a\": a phrase has no words"), "{all}");
        assert!(lines[3].starts_with("line 6: intent \"a\": no slot is named \"d\""), "{all}");
        let keyed = "[[intent]]\nname = 'NAME'\nanswer = 'b'\nkey = 'KEY'\n".to_owned();
        assert!(mistake(&keyed.replace("KEY", "x")).starts_with("line 4: intent \"NAME\": `key` is of 0 to 9"));
        assert!(
            mistake(&(keyed.replace("NAME", "a") + &keyed).replace("KEY", "1"))
                .contains("line 8: intent \"NAME\": another has the key")
        );
        assert!(mistake(&intent("slots = {c = 'number'}")).starts_with("line 2: intent \"a\" can never be meant"));
        assert!(mistake(&intent("slots = {c = 'nmber'}")).starts_with("line 4: a slot cannot be \"nmber\""));
        let good = intent("examples = ['x']\nslots = {c = 'number'}");
        assert!(Flow::read(&good).is_ok());
        assert!(mistake(&format!("{good}{good}")).contains("line 7: two intents"));
    }

    #[test]
    fn slots_are_asked_for_in_the_order_of_the_file() {
        let flow =
            "[[intent]]\nname = 'a'\nexamples = ['x']\nanswer = 'b'\nslots = { z = 'date', b = 'time', m = 'number' }";
        let names: Vec<String> =
            Flow::read(flow).unwrap().intents[0].slots.iter().map(|slot| slot.name.clone()).collect();
        assert_eq!(names, ["z", "b", "m"]);
    }

    #[test]
    fn words_of_choices_are_expected_more_than_those_of_examples_and_common_ones_not_at_all() {
        let flow = "[[intent]]\nname = 'a'\nexamples = ['the voucher for 7']\nanswer = 'b'\nslots = { c = ['dark Roast', 'light'] }";
        let expected = Flow::read(flow).unwrap().expected();
        let counts = |word: &str| {
            let (place, ahead) = expected.after(Place::BEGIN, word);
            (ahead + expected.end(place)) / word.len() as f32
        };
        for (word, letter) in [
            ("roast", OF_AN_ANSWER),
            ("dark", OF_AN_ANSWER),
            ("voucher", OF_AN_EXAMPLE),
            ("the", 0.0),
            ("7", 0.0),
            ("cold", 0.0),
        ] {
            assert!((counts(word) - letter).abs() < 1e-6, "{word}");
        }
    }

    #[test]
    fn the_one_that_was_told_nothing_can_be_read() {
        assert_eq!(Flow::default().intents.len(), 3);
    }
}
