//! What to answer. The operator writes a [`Flow`]: what callers may want, in a few example phrasings each, and what is then
//! said or done. Nothing is made up: what is not understood is asked for again.
//!
//! A turn is understood by the first of these that fits: what the last answer asked for; the phrases of an intent, word for
//! word; a goodbye; the nearest example, if it is near enough.

mod flow;
mod nearest;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use call::farewell::{Language, says_farewell};

use flow::Intent;
pub use flow::{Flow, FlowError};

/// What the agent does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Say(String),
    /// A function call; its output is given to [`Dialogue::tool_answered`].
    Call {
        name: String,
        /// JSON.
        arguments: String,
    },
}

/// One conversation over a flow. Pure: texts in, replies out.
#[derive(Clone, Debug)]
pub struct Dialogue {
    flow: Arc<Flow>,
    /// The intent that the last answer asked for.
    expected: Option<usize>,
    /// The intent whose tool was called, and what the caller had said for it.
    called: Option<(usize, Slots)>,
}

/// What the caller said, by the name of the slot.
pub(crate) type Slots = BTreeMap<String, slots::Value>;

impl Dialogue {
    pub fn new(flow: Arc<Flow>) -> Self {
        Dialogue { flow, expected: None, called: None }
    }

    /// The answer to a turn of the caller. An empty text: they said something, and it was not understood.
    ///
    /// `can_call`: the tools that there are.
    pub fn reply(&mut self, heard: &str, can_call: &[&str]) -> Reply {
        let understood = self.understood(heard);
        self.called = None;
        match understood {
            Some((at, slots)) => self.act(at, slots, can_call),
            None if says_farewell(heard, &[Language::ENGLISH]) => {
                self.expected = None;
                Reply::Say(self.flow.farewell.clone())
            }
            // What was asked for is still asked for.
            None => Reply::Say(self.flow.again.clone()),
        }
    }

    /// The answer once a tool has given `output`.
    pub fn tool_answered(&mut self, output: &str) -> Reply {
        let Some((at, slots)) = self.called.take() else { return Reply::Say(self.flow.again.clone()) };
        let intent = &self.flow.intents[at];
        let failed =
            serde_json::from_str::<serde_json::Value>(output).is_ok_and(|output| output.get("error").is_some());
        self.expected = intent.next;
        Reply::Say(if failed { self.flow.failed.clone() } else { filled(&intent.answer, &slots) })
    }

    /// What is said if nobody has said anything.
    pub fn opening(&self) -> Reply {
        Reply::Say(self.flow.greeting.clone())
    }

    /// Whether the caller is still there.
    pub fn still_there(&self) -> Reply {
        Reply::Say(self.flow.still_there.clone())
    }

    pub fn goodbye(&self) -> Reply {
        Reply::Say(self.flow.farewell.clone())
    }

    fn understood(&self, heard: &str) -> Option<(usize, Slots)> {
        let words = nearest::words(heard);
        if words.is_empty() {
            return None;
        }
        let with_slots = |at: usize| slots::fill(&self.flow.intents[at].slots, heard).map(|slots| (at, slots));
        let expected = self.expected.filter(|&at| !self.flow.intents[at].slots.is_empty()).and_then(with_slots);
        let by_phrase = || {
            let intents = self.flow.intents.iter().enumerate();
            let mut named =
                intents.filter(|(_, intent)| intent.phrases.iter().any(|phrase| nearest::contains(&words, phrase)));
            named.find_map(|(at, _)| with_slots(at))
        };
        let by_example = || self.flow.nearest(&words).and_then(with_slots);
        expected.or_else(by_phrase).or_else(by_example)
    }

    fn act(&mut self, at: usize, slots: Slots, can_call: &[&str]) -> Reply {
        let intent: &Intent = &self.flow.intents[at];
        match &intent.tool {
            Some(tool) if can_call.contains(&tool.as_str()) => {
                let arguments = serde_json::to_string(&slots).unwrap_or_else(|_| "{}".to_owned());
                self.called = Some((at, slots));
                Reply::Call { name: tool.clone(), arguments }
            }
            // A tool that nobody offers is not pretended to be used.
            Some(_) => Reply::Say(self.flow.failed.clone()),
            None => {
                self.expected = intent.next;
                Reply::Say(filled(&intent.answer, &slots))
            }
        }
    }
}

/// A text with `{name}` replaced by what was said for it.
fn filled(template: &str, slots: &Slots) -> String {
    let mut text = template.to_owned();
    for (name, value) in slots {
        text = text.replace(&format!("{{{name}}}"), &value.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = r#"
        greeting = "Rover dispatch. Where should it go?"
        again = "Sorry, say that again?"

        [[intent]]
        name = "drive"
        examples = ["go forward ten meters", "drive backward five meters", "move ahead three meters"]
        slots = { direction = ["forward", "backward"], meters = "number" }
        tool = "drive"
        answer = "{meters} meters {direction}, it is on its way."

        [[intent]]
        name = "explore"
        examples = ["go somewhere and do something", "look around on your own"]
        answer = "Under which mission code?"
        next = "mission"

        [[intent]]
        name = "mission"
        phrases = ["the code is"]
        slots = { mission = "digits" }
        answer = "{mission}. Goodbye!"

        [[intent]]
        name = "hours"
        examples = ["when are you open", "what are your opening hours"]
        answer = "Always."
    "#;

    fn dialogue() -> Dialogue {
        Dialogue::new(Arc::new(Flow::read(FLOW).unwrap()))
    }

    fn says(reply: &Reply) -> &str {
        match reply {
            Reply::Say(text) => text,
            Reply::Call { .. } => panic!("{reply:?}"),
        }
    }

    #[test]
    fn a_tool_is_called_with_what_was_said_and_answered_for() {
        let mut dialogue = dialogue();
        let reply = dialogue.reply("Go forward 10 meters.", &["drive"]);
        let Reply::Call { name, arguments } = reply else { panic!("{reply:?}") };
        assert_eq!((name.as_str(), arguments.as_str()), ("drive", r#"{"direction":"forward","meters":10}"#));
        assert_eq!(says(&dialogue.tool_answered(r#"{"accepted":true}"#)), "10 meters forward, it is on its way.");
        dialogue.reply("Go backward ten meters", &["drive"]);
        assert_eq!(says(&dialogue.tool_answered(r#"{"error":"stuck"}"#)), dialogue.flow.failed);
        assert_eq!(says(&dialogue.reply("go forward ten meters", &[])), dialogue.flow.failed);
    }

    #[test]
    fn what_was_asked_for_is_understood_first() {
        let mut dialogue = dialogue();
        assert_eq!(says(&dialogue.reply("Go somewhere and do something.", &[])), "Under which mission code?");
        assert_eq!(says(&dialogue.reply("Well...", &[])), "Sorry, say that again?");
        assert_eq!(says(&dialogue.reply("thirty-three, four, six ninety two", &[])), "3 3 4 6 9 2. Goodbye!");
        // Nobody asked for it now.
        assert_eq!(says(&dialogue.reply("thirty-three", &[])), "Sorry, say that again?");
        assert_eq!(says(&dialogue.reply("The code is 12 please", &[])), "1 2. Goodbye!");
    }

    #[test]
    fn other_words_for_the_same_are_understood_and_other_things_are_not() {
        let mut dialogue = dialogue();
        assert_eq!(says(&dialogue.reply("What time are you open?", &[])), "Always.");
        assert_eq!(says(&dialogue.reply("Tell me your opening hours please", &[])), "Always.");
        for other in ["I would like a pizza", "", "ten", "my cat is green", "Thank you."] {
            assert_eq!(says(&dialogue.reply(other, &["drive"])), "Sorry, say that again?", "{other}");
        }
    }

    #[test]
    fn a_goodbye_is_returned() {
        let mut dialogue = dialogue();
        let farewell = dialogue.reply("Okay, goodbye.", &[]);
        assert!(says_farewell(says(&farewell), &[Language::ENGLISH]), "{farewell:?}");
        assert_eq!(says(&dialogue.opening()), "Rover dispatch. Where should it go?");
    }
}
