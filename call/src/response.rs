//! The slot: at most one response of the model at a time, and what waits for it (R1–R8).
//!
//! ```text
//! Idle ──create──▶ Requested ──created──▶ Active ──done──▶ Idle
//!                      │                    │
//!                      │ cancel:            └──cancel──▶ Cancelling ──done──▶ Idle
//!                      └ remembered, applied on `created` (B6)
//! ```
//! A model that answers by itself (`turns = "model"`) enters at `Active`.

use std::collections::VecDeque;

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{ItemId, RequestId, ResponseId};
use crate::input::ItemKind;
use crate::output::Reason;
use crate::time::CallTime;

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ask {
    pub request: RequestId,
    pub reason: Reason,
    pub text: Option<String>,
    /// The caller's item that it answers, for turns.
    pub answers: Option<ItemId>,
    /// It also speaks about a tool's result.
    pub tool: bool,
    pub at: CallTime,
    /// It was asked for before and came to nothing; it is not asked for a third time (R10, H2).
    pub again: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Slot {
    #[default]
    Idle,
    Requested {
        ask: Ask,
        /// To be cancelled as soon as it exists (B6).
        cancel: bool,
    },
    Active(Active),
    Cancelling {
        active: Active,
        since: CallTime,
        /// Our cancel, so that its rejection is understood.
        request: RequestId,
    },
}

/// A response that the model is working on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Active {
    pub response: ResponseId,
    /// `None` when the model began it by itself.
    pub ask: Option<Ask>,
    pub since: CallTime,
    /// Its first accepted audio or its first tool call (R5, R10).
    pub first_output: Option<CallTime>,
    /// When anything of it last came (R10).
    pub last_output: CallTime,
    /// Whether audio of it was accepted.
    pub spoke: bool,
    /// Whether a frame of it was sent.
    pub sent: bool,
    pub called_tools: bool,
    /// It called for the end of the call before it said anything (H11).
    pub ends_call: bool,
    /// Items announced for it. Bounded by `ITEMS_MAX`.
    pub items: Vec<(ItemId, ItemKind)>,
    /// What it says, item by item, as far as it is known.
    pub said: Vec<(ItemId, String)>,
}

/// Items of one response that are kept track of; a response of more is not of this world.
const ITEMS_MAX: usize = 64;

impl Active {
    pub fn new(response: ResponseId, ask: Option<Ask>, since: CallTime) -> Self {
        Active {
            response,
            ask,
            since,
            first_output: None,
            last_output: since,
            spoke: false,
            sent: false,
            called_tools: false,
            ends_call: false,
            items: Vec::new(),
            said: Vec::new(),
        }
    }

    pub fn note_item(&mut self, item: ItemId, kind: ItemKind) {
        if self.items.len() < ITEMS_MAX && !self.items.iter().any(|(known, _)| *known == item) {
            self.items.push((item, kind));
        }
    }
}

impl Slot {
    pub fn is_idle(&self) -> bool {
        matches!(self, Slot::Idle)
    }

    /// The response whose audio may be heard: the active one only (R6).
    pub fn active(&self) -> Option<&Active> {
        match self {
            Slot::Active(active) => Some(active),
            Slot::Idle | Slot::Requested { .. } | Slot::Cancelling { .. } => None,
        }
    }

    pub fn active_mut(&mut self) -> Option<&mut Active> {
        match self {
            Slot::Active(active) => Some(active),
            Slot::Idle | Slot::Requested { .. } | Slot::Cancelling { .. } => None,
        }
    }

    /// The response that occupies the slot, cancelled or not.
    pub fn occupant_mut(&mut self) -> Option<&mut Active> {
        match self {
            Slot::Active(active) | Slot::Cancelling { active, .. } => Some(active),
            Slot::Idle | Slot::Requested { .. } => None,
        }
    }

    /// The response that occupies the slot, cancelled or not.
    pub fn occupant(&self) -> Option<&Active> {
        match self {
            Slot::Active(active) | Slot::Cancelling { active, .. } => Some(active),
            Slot::Idle | Slot::Requested { .. } => None,
        }
    }

    pub fn ask(&self) -> Option<&Ask> {
        match self {
            Slot::Idle => None,
            Slot::Requested { ask, .. } => Some(ask),
            Slot::Active(active) | Slot::Cancelling { active, .. } => active.ask.as_ref(),
        }
    }

    pub fn is_cancelled(&self) -> bool {
        match self {
            Slot::Requested { cancel, .. } => *cancel,
            Slot::Cancelling { .. } => true,
            Slot::Idle | Slot::Active(_) => false,
        }
    }

    /// `has_audio`: whether audio of this item was ever accepted.
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig, has_audio: impl Fn(ItemId) -> bool) {
        match self {
            Slot::Idle => print.put(0),
            Slot::Requested { ask, cancel } => {
                print.put((1, *cancel));
                ask.fingerprint(print);
                print.until(ask.at + config.requested_timeout);
            }
            Slot::Active(active) => {
                print.put(2);
                active.fingerprint(print, config, has_audio);
            }
            Slot::Cancelling { active, since, request } => {
                print.put(3);
                active.fingerprint(print, config, has_audio);
                print.until(*since + config.cancel_timeout);
                print.id(*request);
            }
        }
    }
}

impl Ask {
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>) {
        // How long ago matters only to what waits for its beginning, which puts in the deadline.
        let Ask { request, reason, text, answers, tool, at: _, again } = self;
        print.id(*request);
        print.put((*reason, text, *tool, *again));
        print.id_of(*answers);
    }
}

impl Active {
    fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig, has_audio: impl Fn(ItemId) -> bool) {
        let Active {
            response,
            ask,
            since,
            first_output,
            last_output,
            spoke,
            sent,
            called_tools,
            ends_call,
            items,
            said,
        } = self;
        print.id(*response);
        print.put(ask.is_some());
        if let Some(ask) = ask {
            ask.fingerprint(print);
        }
        // When its first output came is for the record; that it came lifts the first deadline.
        print.until_some(first_output.is_none().then_some(*since + config.first_audio_timeout));
        print.until(*since + config.response_max);
        print.until(*last_output + config.next_output_timeout);
        print.put((*spoke, *sent, *called_tools, *ends_call, items.len()));
        for (item, kind) in items {
            print.id(*item);
            print.put((*kind, has_audio(*item)));
        }
        fingerprint_said(said, print);
    }
}

/// What a response says is looked at again when more of it is known (H9).
fn fingerprint_said(said: &[(ItemId, String)], print: &mut Fingerprint<'_>) {
    print.put(said.len());
    for (item, text) in said {
        print.id(*item);
        print.put(text);
    }
}

/// What is remembered of a response after its end (H4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ended {
    pub response: ResponseId,
    pub answers: Option<ItemId>,
    /// It was not said to its end, or the caller has interrupted since: it is no goodbye, whatever it says (H7).
    pub cancelled: bool,
    pub said: Vec<(ItemId, String)>,
}

/// The last two responses that ended; the goodbye may be bound to one of them (H4).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Memory {
    ended: VecDeque<Ended>,
}

const REMEMBERED: usize = 2;

impl Memory {
    /// `kept`: the one that a goodbye is bound to is not forgotten, however many the model begins by itself meanwhile.
    pub fn remember(&mut self, ended: Ended, kept: Option<ResponseId>) {
        if self.ended.len() >= REMEMBERED
            && let Some(oldest) = self.ended.iter().position(|ended| Some(ended.response) != kept)
        {
            self.ended.remove(oldest);
        }
        self.ended.push_back(ended);
    }

    /// The caller interrupted: the conversation has left all of them behind.
    pub fn pass(&mut self) {
        self.ended.iter_mut().for_each(|ended| ended.cancelled = true);
    }

    pub fn get(&self, response: ResponseId) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.response == response)
    }

    pub fn get_mut(&mut self, response: ResponseId) -> Option<&mut Ended> {
        self.ended.iter_mut().find(|ended| ended.response == response)
    }

    /// The response that answered this item of the caller.
    pub fn answering(&self, item: ItemId) -> Option<&Ended> {
        self.ended.iter().rev().find(|ended| ended.answers == Some(item))
    }

    pub fn last(&self) -> Option<ResponseId> {
        self.ended.back().map(|ended| ended.response)
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>) {
        let Memory { ended } = self;
        print.put(ended.len());
        for Ended { response, answers, cancelled, said } in ended {
            print.id(*response);
            print.id_of(*answers);
            print.put(*cancelled);
            fingerprint_said(said, print);
        }
    }
}

/// Reasons to speak that a guard stopped, until what stopped them has passed (R3).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Waiting {
    pub greeting: Option<Again>,
    /// The caller's turn that is to be answered.
    pub turn: Option<Turn>,
    /// A tool answered: its result has to be spoken about.
    pub tool: Option<Again>,
    pub idle_prompt: bool,
    /// Bounded by `says_max`, and one more that came to nothing and is asked for again.
    pub says: VecDeque<Say>,
}

/// What a create is to be about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    pub text: Option<String>,
    pub answers: Option<ItemId>,
    pub tool: bool,
    pub again: bool,
}

/// Whether it was tried before and came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Again(pub bool);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Turn {
    pub item: Option<ItemId>,
    pub again: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Say {
    pub text: String,
    /// It does not wait for the end of another response (R3).
    pub force: bool,
    pub again: bool,
}

impl Waiting {
    /// The caller's turn is to be answered; a later one is answered together with it.
    pub fn want_turn(&mut self, item: Option<ItemId>) {
        let before = self.turn;
        self.turn = Some(Turn {
            item: item.or(before.and_then(|turn| turn.item)),
            again: before.is_some_and(|turn| turn.again),
        });
    }

    /// Puts back what was asked for and came to nothing. `again` marks it as tried.
    pub fn put_back(&mut self, ask: &Ask, again: bool) {
        if ask.tool {
            self.tool = Some(Again(again));
        }
        match ask.reason {
            Reason::Greeting => self.greeting = Some(Again(again)),
            Reason::CallerTurn => {
                self.want_turn(ask.answers);
                if let Some(turn) = &mut self.turn {
                    turn.again |= again;
                }
            }
            Reason::Say => {
                if let Some(text) = ask.text.clone() {
                    // Behind what is forced: that interrupted it, and would do so again and again.
                    let index = self.says.iter().take_while(|say| say.force).count();
                    self.says.insert(index, Say { text, force: false, again });
                }
            }
            // The tool is above. The goodbye asks again by itself; silence will come again by itself.
            Reason::ToolResult | Reason::Farewell | Reason::IdlePrompt => {}
        }
    }

    /// What is asked for first: a text that does not wait, the greeting, turn and tool as one plain create, then texts.
    pub fn first(&self) -> Option<Reason> {
        if self.is_forced() {
            return Some(Reason::Say);
        }
        if self.greeting.is_some() {
            return Some(Reason::Greeting);
        }
        if self.turn.is_some() {
            return Some(Reason::CallerTurn);
        }
        if self.tool.is_some() {
            return Some(Reason::ToolResult);
        }
        if !self.says.is_empty() {
            return Some(Reason::Say);
        }
        self.idle_prompt.then_some(Reason::IdlePrompt)
    }

    /// Whether a text waits that does not wait for the end of another response (R3).
    pub fn is_forced(&self) -> bool {
        self.says.front().is_some_and(|say| say.force)
    }

    pub fn is_empty(&self) -> bool {
        self.greeting.is_none()
            && self.turn.is_none()
            && self.tool.is_none()
            && self.says.is_empty()
            && !self.idle_prompt
    }

    /// Takes what is asked for now out of the waiting.
    pub fn take(&mut self, reason: Reason) -> Taken {
        match reason {
            Reason::Greeting => Taken { again: self.greeting.take().is_some_and(|again| again.0), ..Taken::default() },
            // One plain create answers the turn and speaks about the tool's result alike.
            Reason::CallerTurn | Reason::ToolResult => {
                let tool = self.tool.take();
                let turn = self.turn.take();
                Taken {
                    text: None,
                    answers: turn.and_then(|turn| turn.item),
                    tool: tool.is_some(),
                    again: tool.is_some_and(|again| again.0) | turn.is_some_and(|turn| turn.again),
                }
            }
            Reason::Say => self.says.pop_front().map_or_else(Taken::default, |say| Taken {
                text: Some(say.text),
                again: say.again,
                ..Taken::default()
            }),
            Reason::IdlePrompt => {
                self.idle_prompt = false;
                Taken::default()
            }
            Reason::Farewell => Taken::default(),
        }
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>) {
        let Waiting { greeting, turn, tool, idle_prompt, says } = self;
        print.put((greeting, tool, *idle_prompt, says));
        print.put(turn.is_some());
        if let Some(Turn { item, again }) = turn {
            print.id_of(*item);
            print.put(*again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_once_and_no_more_than_there_is_room_for() {
        let mut active = Active::new(ResponseId(1), None, CallTime::ZERO);
        for item in (0..=ITEMS_MAX as u32).chain([0, 7]) {
            active.note_item(ItemId(item), ItemKind::Message);
        }
        let kept: Vec<u32> = active.items.iter().map(|(item, _)| item.0).collect();
        assert_eq!(kept, (0..ITEMS_MAX as u32).collect::<Vec<_>>());
        active.items.pop();
        active.note_item(ItemId(7), ItemKind::Message);
        assert_eq!(active.items.len(), ITEMS_MAX - 1);
    }

    #[test]
    fn whatever_waits_is_seen_to_wait() {
        assert!(Waiting::default().is_empty());
        let turn = Turn { item: None, again: false };
        let say = Say { text: "hello".into(), force: false, again: false };
        for waiting in [
            Waiting { greeting: Some(Again(false)), ..Waiting::default() },
            Waiting { turn: Some(turn), ..Waiting::default() },
            Waiting { tool: Some(Again(false)), ..Waiting::default() },
            Waiting { idle_prompt: true, ..Waiting::default() },
            Waiting { says: [say].into(), ..Waiting::default() },
        ] {
            assert!(!waiting.is_empty(), "{waiting:?}");
        }
    }

    #[test]
    fn what_was_tried_before_stays_so_with_whatever_it_is_asked_for() {
        for (tool, turn) in [(false, false), (false, true), (true, false), (true, true)] {
            let turn_waits = Some(Turn { item: None, again: turn });
            let mut waiting = Waiting { tool: Some(Again(tool)), turn: turn_waits, ..Waiting::default() };
            assert_eq!(waiting.take(Reason::CallerTurn).again, tool || turn);
            assert!(waiting.is_empty());
        }
    }
}
