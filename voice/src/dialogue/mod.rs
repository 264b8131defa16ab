//! What to answer. The operator writes a [`Flow`]: what callers may want, in a few example phrasings each, and what is then
//! said or done. Nothing is made up: what is not understood is asked for again.
//!
//! Keys mean what the flow says of them, so that a flow can also be a menu of recordings that needs no ear and no voice.
//!
//! A turn is understood by the first of these that fits: what the agent asked for last; the phrases of an intent, word for
//! word; the nearest example, if it is near enough; a goodbye. Whether what is less near is meant, the caller is asked. What an
//! intent needs and was not said is asked for, slot by slot; what it has to have confirmed is said back, and done after a yes.

mod flow;
mod meaning;
mod nearest;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use call::farewell::{Language, says_farewell};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::expected::{Expected, OF_AN_ANSWER};
use flow::Intent;
pub use flow::{Flow, FlowError};
use meaning::Meant;
use slots::{Correction, Slot};

/// The tool by which a flow hands the call over to a person. Where the agent has none of that name, the flow says that
/// nobody can take the call.
pub const HAND_OVER: &str = "hand_over";

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
    /// The day that "tomorrow" is counted from: that of the conversation's beginning.
    today: Date,
    waits_for: WaitsFor,
    /// The intent whose tool was called, and what the caller had said for it.
    called: Option<(usize, Slots)>,
    /// What was asked about last, and what it is about; `None`: nobody could find out.
    about: Option<(Vec<String>, Option<Vec<f32>>)>,
}

/// What the agent asked for last.
#[derive(Clone, PartialEq, Eq, Debug)]
enum WaitsFor {
    Nothing,
    /// The intent that the last answer asked for.
    Intent(usize),
    /// Whether this intent is meant; and what was said for it.
    Meant {
        at: usize,
        slots: Slots,
    },
    /// Other words for what is meant, which is not this intent.
    OtherWords {
        not: usize,
    },
    /// One more slot of an intent.
    Slot {
        at: usize,
        slots: Slots,
        slot: String,
    },
    /// Whether all is right.
    Yes {
        at: usize,
        slots: Slots,
    },
    /// What is not right.
    Change {
        at: usize,
        slots: Slots,
    },
}

/// What the caller said, by the name of the slot.
pub(crate) type Slots = BTreeMap<String, slots::Value>;

impl Dialogue {
    /// A conversation that begins `now`.
    pub fn new(flow: Arc<Flow>, now: Timestamp) -> Self {
        Dialogue { today: flow.today(now), flow, waits_for: WaitsFor::Nothing, called: None, about: None }
    }

    /// A conversation over the same flow in which nothing was said yet.
    pub(crate) fn begun_anew(&self) -> Self {
        Dialogue { waits_for: WaitsFor::Nothing, called: None, ..self.clone() }
    }

    /// What a recogniser may expect to be said now: the words of the flow, and of what was asked for.
    pub fn expected(&self) -> Arc<Expected> {
        let slots = |at: usize| self.flow.intents[at].slots.iter();
        let asked: Vec<&Slot> = match &self.waits_for {
            WaitsFor::Intent(at) | WaitsFor::Change { at, .. } => slots(*at).collect(),
            WaitsFor::Slot { at, slot, .. } => slots(*at).filter(|other| other.name == *slot).collect(),
            WaitsFor::Nothing | WaitsFor::Meant { .. } | WaitsFor::OtherWords { .. } | WaitsFor::Yes { .. } => {
                Vec::new()
            }
        };
        let words: Vec<&str> = asked.iter().flat_map(|slot| slot.kind.expected()).collect();
        if words.is_empty() {
            return self.flow.expected();
        }
        let with = self.flow.expected().as_ref().clone().with(words.into_iter().map(|word| (word, OF_AN_ANSWER)));
        Arc::new(with)
    }

    /// The words of a turn that a [reader of sentences](crate::sentences::Sentences) has to be asked about before
    /// [`Dialogue::reply`], if this flow understands by it, and was not told yet.
    pub fn asks_about(&self, heard: &str) -> Option<Vec<String>> {
        let words = nearest::words(heard);
        let known = words.is_empty() || self.about.as_ref().is_some_and(|(told, _)| *told == words);
        (self.flow.asks_about() && !known).then_some(words)
    }

    /// What those words are about. `None`: nobody could find out, so letters have to do.
    pub fn told_about(&mut self, words: Vec<String>, vector: Option<Vec<f32>>) {
        self.about = Some((words, vector));
    }

    /// The answer to a turn of the caller. An empty text: they said something, and it was not understood.
    ///
    /// `can_call`: the tools that there are.
    pub fn reply(&mut self, heard: &str, can_call: &[&str]) -> Reply {
        self.called = None;
        if let Some(reply) = self.continued(heard, can_call) {
            return reply;
        }
        match self.understood(heard) {
            Some((Meant::Clearly(at), slots)) => self.advance(at, slots, can_call),
            _ if says_farewell(heard, &[Language::ENGLISH]) => {
                self.waits_for = WaitsFor::Nothing;
                Reply::Say(self.flow.farewell.clone())
            }
            Some((Meant::Perhaps(at), slots)) if let Some(question) = self.may_ask_whether(at) => {
                self.waits_for = WaitsFor::Meant { at, slots };
                Reply::Say(question)
            }
            // What was asked for is still asked for.
            _ => Reply::Say(self.again()),
        }
    }

    /// The answer to keys that the caller pressed: an intent's, or the value that was asked for. Where something was said
    /// back, 1 is yes and 2 is no.
    pub fn pressed(&mut self, keys: &str, can_call: &[&str]) -> Reply {
        self.called = None;
        let said = match (&self.waits_for, keys) {
            (WaitsFor::Yes { .. } | WaitsFor::Meant { .. }, "1") => "yes",
            (WaitsFor::Yes { .. } | WaitsFor::Meant { .. }, "2") => "no",
            (WaitsFor::Slot { .. } | WaitsFor::Intent(_), _) => keys,
            _ => "",
        };
        if let Some(reply) = (!said.is_empty()).then(|| self.continued(said, can_call)).flatten() {
            return reply;
        }
        let meant = self.flow.intents.iter().position(|intent| intent.keys.as_deref() == Some(keys));
        match meant.filter(|&at| self.has_what_it_needs(at, &Slots::new())) {
            Some(at) => self.advance(at, Slots::new(), can_call),
            None => Reply::Say(self.again()),
        }
    }

    /// The operator's recording of a text, 8 kHz, ±1.
    pub(crate) fn clip(&self, text: &str) -> Option<Arc<[f32]>> {
        self.flow.clip(text)
    }

    /// The answer once a tool has given `output`.
    pub fn tool_answered(&mut self, output: &str) -> Reply {
        let Some((at, slots)) = self.called.take() else { return Reply::Say(self.flow.again.clone()) };
        let failed =
            serde_json::from_str::<serde_json::Value>(output).is_ok_and(|output| output.get("error").is_some());
        if failed {
            return Reply::Say(self.tool_failed(at));
        }
        self.answer(at, &slots)
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

    /// The answer, if this is one to what the agent asked for.
    fn continued(&mut self, heard: &str, can_call: &[&str]) -> Option<Reply> {
        if !matches!(self.waits_for, WaitsFor::Nothing | WaitsFor::Intent(_)) && slots::wants_none(heard) {
            self.waits_for = WaitsFor::Nothing;
            return Some(Reply::Say(self.flow.dropped.clone()));
        }
        match self.waits_for.clone() {
            WaitsFor::Nothing | WaitsFor::OtherWords { .. } => None,
            WaitsFor::Meant { at, mut slots } => {
                let another = self.understood(heard).map(|(meant, _)| meant).filter(|meant| meant.intent() != at);
                let yes = slots::yes_or_no(heard)?;
                if yes && !matches!(another, Some(Meant::Clearly(_))) {
                    slots.extend(slots::find(&self.flow.intents[at].slots, heard, None, self.today));
                    return Some(self.advance(at, slots, can_call));
                }
                self.waits_for = WaitsFor::OtherWords { not: at };
                let only_no = !yes && another.is_none() && !says_farewell(heard, &[Language::ENGLISH]);
                only_no.then(|| Reply::Say(self.again()))
            }
            WaitsFor::Intent(at) => {
                let slots = &self.flow.intents[at].slots;
                // Where there is one slot, the whole turn is about it.
                let asked = Some(slots).filter(|slots| slots.len() == 1).map(|slots| slots[0].name.clone());
                let found = slots::find(slots, heard, asked.as_deref(), self.today);
                (!found.is_empty() && self.has_what_it_needs(at, &found)).then(|| self.advance(at, found, can_call))
            }
            WaitsFor::Slot { at, slots, slot } => {
                let mut found = slots::find(&self.flow.intents[at].slots, heard, Some(&slot), self.today);
                found.retain(|name, _| *name == slot || !slots.contains_key(name));
                let all = slots.into_iter().chain(found.clone()).collect();
                (!found.is_empty()).then(|| self.advance(at, all, can_call))
            }
            WaitsFor::Yes { at, slots } | WaitsFor::Change { at, slots } => self.confirmed(at, slots, heard, can_call),
        }
    }

    /// The answer to what was said about values that were said back.
    fn confirmed(&mut self, at: usize, mut slots: Slots, heard: &str, can_call: &[&str]) -> Option<Reply> {
        match slots::correction(&self.flow.intents[at].slots, &slots, heard, self.today) {
            Correction::Values(values) => {
                slots.extend(values);
                return Some(self.advance(at, slots, can_call));
            }
            Correction::Slot(name) if slots::yes_or_no(heard) != Some(true) => {
                let asked = self.flow.intents[at].slots.iter().any(|slot| slot.name == name && slot.ask.is_some());
                if asked {
                    slots.remove(&name);
                    return Some(self.advance(at, slots, can_call));
                }
            }
            Correction::Slot(_) | Correction::None => {}
        }
        let to_change = matches!(self.waits_for, WaitsFor::Change { .. });
        match slots::yes_or_no(heard)? {
            true if to_change => None,
            true => Some(self.act(at, slots, can_call)),
            // Nothing is to be changed, and it is not right.
            false if to_change => {
                self.waits_for = WaitsFor::Nothing;
                Some(Reply::Say(self.flow.dropped.clone()))
            }
            false => {
                self.waits_for = WaitsFor::Change { at, slots };
                Some(Reply::Say(self.flow.change.clone()))
            }
        }
    }

    /// What was not understood is asked for again, with the question that it was no answer to.
    fn again(&self) -> String {
        let question = match &self.waits_for {
            WaitsFor::Slot { at, slot, .. } => {
                let slots = &self.flow.intents[*at].slots;
                slots.iter().find(|other| other.name == *slot).and_then(|slot| slot.ask.clone())
            }
            WaitsFor::Yes { at, slots } => self.flow.intents[*at].confirm.as_ref().map(|text| filled(text, slots)),
            WaitsFor::Change { .. } => Some(self.flow.change.clone()),
            WaitsFor::Meant { at, .. } => self.asks_whether(*at),
            WaitsFor::OtherWords { .. } => return self.flow.other_words.clone(),
            WaitsFor::Nothing | WaitsFor::Intent(_) => None,
        };
        question.map_or_else(|| self.flow.again.clone(), |question| format!("{} {question}", self.flow.again))
    }

    /// The question whether this intent is meant, if there is one, and nothing else is being asked for.
    fn may_ask_whether(&self, at: usize) -> Option<String> {
        let may = match self.waits_for {
            WaitsFor::Nothing | WaitsFor::Intent(_) => true,
            WaitsFor::Meant { at: asked, .. } | WaitsFor::OtherWords { not: asked } => asked != at,
            WaitsFor::Slot { .. } | WaitsFor::Yes { .. } | WaitsFor::Change { .. } => false,
        };
        self.asks_whether(at).filter(|_| may)
    }

    fn asks_whether(&self, at: usize) -> Option<String> {
        self.flow.intents[at].about.as_ref().map(|about| self.flow.unsure.replace("{about}", about))
    }

    fn understood(&self, heard: &str) -> Option<(Meant, Slots)> {
        let words = nearest::words(heard);
        if words.is_empty() {
            return None;
        }
        let with_slots = |meant: Meant| {
            let at = meant.intent();
            let found = slots::find(&self.flow.intents[at].slots, heard, None, self.today);
            self.has_what_it_needs(at, &found).then_some((meant, found))
        };
        let by_phrase = || {
            let intents = self.flow.intents.iter().enumerate();
            let mut named =
                intents.filter(|(_, intent)| intent.phrases.iter().any(|phrase| nearest::contains(&words, phrase)));
            named.find_map(|(at, _)| with_slots(Meant::Clearly(at)))
        };
        let about = self.about.as_ref().filter(|(told, _)| *told == words).and_then(|(_, vector)| vector.clone());
        let by_example = || self.flow.nearest(&words, about).and_then(with_slots);
        by_phrase().or_else(by_example)
    }

    /// Whether all that was not said can be asked for.
    fn has_what_it_needs(&self, at: usize, found: &Slots) -> bool {
        self.flow.intents[at].slots.iter().all(|slot| slot.ask.is_some() || found.contains_key(&slot.name))
    }

    /// Asks for what is missing, then whether all is right, then does it.
    fn advance(&mut self, at: usize, slots: Slots, can_call: &[&str]) -> Reply {
        let intent = &self.flow.intents[at];
        let missing = intent.slots.iter().find(|slot| !slots.contains_key(&slot.name));
        if let Some((slot, question)) = missing.and_then(|slot| slot.ask.as_ref().map(|ask| (slot, ask))) {
            let question = question.clone();
            self.waits_for = WaitsFor::Slot { at, slot: slot.name.clone(), slots };
            return Reply::Say(question);
        }
        if let Some(question) = &intent.confirm {
            let question = filled(question, &slots);
            self.waits_for = WaitsFor::Yes { at, slots };
            return Reply::Say(question);
        }
        self.act(at, slots, can_call)
    }

    fn act(&mut self, at: usize, slots: Slots, can_call: &[&str]) -> Reply {
        let intent: &Intent = &self.flow.intents[at];
        match &intent.tool {
            Some(tool) if can_call.contains(&tool.as_str()) => {
                let arguments = serde_json::to_string(&slots).unwrap_or_else(|_| "{}".to_owned());
                let name = tool.clone();
                self.waits_for = WaitsFor::Nothing;
                self.called = Some((at, slots));
                Reply::Call { name, arguments }
            }
            // A tool that nobody offers is not pretended to be used.
            Some(_) => Reply::Say(self.tool_failed(at)),
            None => self.answer(at, &slots),
        }
    }

    fn answer(&mut self, at: usize, slots: &Slots) -> Reply {
        let intent = &self.flow.intents[at];
        self.waits_for = intent.next.map_or(WaitsFor::Nothing, WaitsFor::Intent);
        Reply::Say(filled(&intent.answer, slots))
    }

    fn tool_failed(&mut self, at: usize) -> String {
        self.waits_for = WaitsFor::Nothing;
        let intent = &self.flow.intents[at];
        match &intent.failed {
            Some(failed) => failed.clone(),
            None if intent.tool.as_deref() == Some(HAND_OVER) => self.flow.nobody.clone(),
            None => self.flow.failed.clone(),
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
        Dialogue::new(Arc::new(Flow::read(FLOW).unwrap()), Timestamp::UNIX_EPOCH)
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

    const UNSURE: &str = r#"
        again = "Sorry?"

        [[intent]]
        name = "hours"
        about = "our opening hours"
        examples = ["when are you open"]
        answer = "Always."

        [[intent]]
        name = "deliver"
        about = "a delivery"
        examples = ["can you deliver it"]
        slots = { day = { type = "date", ask = "On which day?" } }
        answer = "Until {day}."

        [[intent]]
        name = "secret"
        examples = ["what is the secret"]
        answer = "It is none."
    "#;

    /// Answers of a dialogue whose reader says that a text is about what its words name, `hours`, `deliver` or `secret`, and
    /// farther from all of them with `perhaps`.
    fn answers(turns: &[&str]) -> Vec<String> {
        let vector = |words: &[String]| {
            let about = |intent: &str| if words.iter().any(|word| word == intent) { 1.0_f32 } else { 0.0 };
            let unsure = about("perhaps");
            vec![
                about("open") + about("hours"),
                about("deliver"),
                about("secret"),
                // Of length 2.3, of which 1 is 0.4.
                2.3 * unsure,
            ]
        };
        let flow = Flow::read(UNSURE).unwrap().with_sentences(|words| Ok::<_, ()>(vector(words))).unwrap();
        let mut dialogue = Dialogue::new(Arc::new(flow), Timestamp::UNIX_EPOCH);
        let mut answer = |heard: &str| {
            if let Some(words) = dialogue.asks_about(heard) {
                let vector = vector(&words);
                dialogue.told_about(words, Some(vector));
            }
            let reply = match heard.strip_prefix("keys ") {
                Some(keys) => dialogue.pressed(keys, &[]),
                None => dialogue.reply(heard, &[]),
            };
            says(&reply).to_owned()
        };
        turns.iter().map(|heard| answer(heard)).collect()
    }

    #[test]
    fn a_caller_is_asked_whether_what_is_near_is_meant() {
        const HOURS: &str = "Do you mean our opening hours?";
        const OTHER_WORDS: &str = "Could you say it in other words, please?";
        for (turns, wanted) in [
            (&["hours"][..], &["Always."][..]),
            (&["perhaps hours", "Yes, please."], &[HOURS, "Always."]),
            (&["perhaps hours", "keys 1"], &[HOURS, "Always."]),
            (&["perhaps hours", "No.", "perhaps hours", "hours"], &[HOURS, OTHER_WORDS, OTHER_WORDS, "Always."]),
            (&["perhaps hours", "keys 2", "perhaps deliver"], &[HOURS, OTHER_WORDS, "Do you mean a delivery?"]),
            // Another wish is taken for what it is, whatever else it says.
            (&["perhaps hours", "right, deliver it"], &[HOURS, "On which day?"]),
            (&["perhaps hours", "no, perhaps deliver"], &[HOURS, "Do you mean a delivery?"]),
            (&["perhaps hours", "No, goodbye."], &[HOURS, "Thank you for calling, goodbye!"]),
            // What was said with the wish, and with the yes, is known.
            (&["perhaps deliver tomorrow", "Yes."], &["Do you mean a delivery?", "Until Friday, January 2nd."]),
            (&["perhaps deliver", "Yes, tomorrow."], &["Do you mean a delivery?", "Until Friday, January 2nd."]),
            // What is no answer is asked again.
            (&["perhaps hours", "mhm banana"], &[HOURS, "Sorry? Do you mean our opening hours?"]),
            (&["perhaps hours", "perhaps hours"], &[HOURS, "Sorry? Do you mean our opening hours?"]),
            // Nobody wrote what it is about; and a value that is being asked for comes first.
            (&["perhaps secret"], &["Sorry?"]),
            (&["deliver", "perhaps hours"], &["On which day?", "Sorry? On which day?"]),
        ] {
            assert_eq!(answers(turns), wanted, "{turns:?}");
        }
    }

    #[test]
    fn what_was_asked_for_is_expected() {
        let mut dialogue = dialogue();
        let likelier = |dialogue: &Dialogue, word: &str| {
            let (place, ahead) = dialogue.expected().after(crate::expected::Place::BEGIN, word);
            ahead + dialogue.expected().end(place)
        };
        assert_eq!((likelier(&dialogue, "seven"), likelier(&dialogue, "somewhere") > 0.0), (0.0, true));
        dialogue.reply("Go somewhere and do something.", &[]);
        assert!(likelier(&dialogue, "seven") > 0.0 && likelier(&dialogue, "somewhere") > 0.0);
        assert_eq!(likelier(&dialogue, "Friday"), 0.0);
        dialogue.reply("thirty-three", &[]);
        assert_eq!(likelier(&dialogue, "seven"), 0.0);
        for (kind, word) in [("date", "friday"), ("date", "december"), ("time", "quarter"), ("phone", "seven")] {
            let flow =
                "[[intent]]\nname = 'a'\nphrases = ['ask']\nanswer = ''\nslots = { s = { type = 'KIND', ask = '?' } }";
            let flow = Flow::read(&flow.replace("KIND", kind)).unwrap();
            let mut dialogue = Dialogue::new(Arc::new(flow), Timestamp::UNIX_EPOCH);
            assert_eq!(likelier(&dialogue, word), 0.0);
            assert_eq!(says(&dialogue.reply("ask", &[])), "?");
            assert!(likelier(&dialogue, word) > 0.0, "{word}");
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
