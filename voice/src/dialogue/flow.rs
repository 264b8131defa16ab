//! The operator's flow: a TOML file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::nearest::{Examples, words};
use super::slots::Kind;

/// What an agent knows to answer.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Said first, unless whoever runs the call has a greeting of its own.
    pub(super) greeting: String,
    /// Said when nothing was understood.
    pub(super) again: String,
    /// Said when a tool failed, or is not there.
    pub(super) failed: String,
    pub(super) farewell: String,
    pub(super) still_there: String,
    pub(super) intents: Vec<Intent>,
    examples: Examples,
}

#[derive(Clone, Debug)]
pub(super) struct Intent {
    /// Any of these, word for word, means this.
    pub phrases: Vec<Vec<String>>,
    pub slots: BTreeMap<String, Kind>,
    pub tool: Option<String>,
    pub answer: String,
    /// What the answer asks for.
    pub next: Option<usize>,
}

/// What is wrong with a flow.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("two intents are named {0:?}")]
    Twice(String),
    #[error("intent {intent:?}: there is no intent {next:?} that could be next")]
    NoNext { intent: String, next: String },
    #[error("intent {0:?} can never be meant: it has neither examples nor phrases, and no answer asks for it")]
    Unreachable(String),
    #[error("intent {intent:?}: its answer has {{{name}}}, and no slot is named so")]
    NoSlot { intent: String, name: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    #[serde(default = "greeting")]
    greeting: String,
    #[serde(default = "again")]
    again: String,
    #[serde(default = "failed")]
    failed: String,
    #[serde(default = "farewell")]
    farewell: String,
    #[serde(default = "still_there")]
    still_there: String,
    #[serde(default)]
    intent: Vec<IntentFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentFile {
    name: String,
    #[serde(default)]
    examples: Vec<String>,
    #[serde(default)]
    phrases: Vec<String>,
    #[serde(default)]
    slots: BTreeMap<String, Kind>,
    tool: Option<String>,
    answer: String,
    next: Option<String>,
}

fn greeting() -> String {
    "Hello, how can I help you?".into()
}

fn again() -> String {
    "Sorry, I did not understand that. Could you say that again?".into()
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

impl Flow {
    /// Reads a flow.
    ///
    /// # Errors
    /// If it is not TOML, has unknown keys, or contradicts itself.
    pub fn read(text: &str) -> Result<Flow, FlowError> {
        let file: FlowFile = toml::from_str(text)?;
        let names: Vec<String> = file.intent.iter().map(|intent| intent.name.clone()).collect();
        let place = |name: &str| names.iter().position(|other| other == name);
        let asked_for: Vec<&str> = file.intent.iter().filter_map(|intent| intent.next.as_deref()).collect();
        let mut intents = Vec::with_capacity(names.len());
        for (at, intent) in file.intent.iter().enumerate() {
            if place(&intent.name) != Some(at) {
                return Err(FlowError::Twice(intent.name.clone()));
            }
            let next = match &intent.next {
                None => None,
                Some(next) => Some(
                    place(next).ok_or_else(|| FlowError::NoNext { intent: intent.name.clone(), next: next.clone() })?,
                ),
            };
            if intent.examples.is_empty() && intent.phrases.is_empty() && !asked_for.contains(&intent.name.as_str()) {
                return Err(FlowError::Unreachable(intent.name.clone()));
            }
            if let Some(name) = braced(&intent.answer).find(|name| !intent.slots.contains_key(*name)) {
                return Err(FlowError::NoSlot { intent: intent.name.clone(), name: name.to_owned() });
            }
            intents.push(Intent {
                phrases: intent
                    .phrases
                    .iter()
                    .map(|phrase| words(phrase))
                    .filter(|phrase| !phrase.is_empty())
                    .collect(),
                slots: intent.slots.clone(),
                tool: intent.tool.clone(),
                answer: intent.answer.clone(),
                next,
            });
        }
        let examples = file
            .intent
            .iter()
            .enumerate()
            .flat_map(|(at, intent)| intent.examples.iter().map(move |text| (at, text.as_str())));
        let examples = Examples::new(examples);
        let FlowFile { greeting, again, failed, farewell, still_there, .. } = file;
        Ok(Flow { greeting, again, failed, farewell, still_there, intents, examples })
    }

    /// The intent of the nearest example, if one is near enough.
    pub(super) fn nearest(&self, words: &[String]) -> Option<usize> {
        self.examples.nearest(words)
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

/// The names in braces.
fn braced(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let mistake = |text: &str| Flow::read(text).map(|_| ()).unwrap_err().to_string();
        assert!(mistake("greting = 'x'").contains("unknown field"));
        let intent = |more: &str| format!("[[intent]]\nname = 'a'\nanswer = 'b {{c}}'\n{more}\n");
        assert!(mistake(&intent("")).contains("never be meant"));
        assert!(mistake(&intent("examples = ['x']")).contains("no slot"));
        assert!(mistake(&intent("examples = ['x']\nslots = {c = 'number'}\nnext = 'z'")).contains("no intent \"z\""));
        let good = intent("examples = ['x']\nslots = {c = 'number'}");
        assert!(Flow::read(&good).is_ok());
        assert!(mistake(&format!("{good}{good}")).contains("two intents"));
    }

    #[test]
    fn the_one_that_was_told_nothing_can_be_read() {
        assert_eq!(Flow::default().intents.len(), 3);
    }
}
