//! The negative fixture: the rules of this project were once flags and latches. A small model of that logic, in which
//! the explorer has to find what is wrong with it, so that "no violation found" elsewhere means something.
//!
//! `pending_hangup` is set by a farewell's transcript; one global `active_response_status` says how "the" response
//! stands; `hangup_executed` is cleared when the socket closes; and whether the queues are empty is looked at only when
//! an event of the model arrives.

use std::hash::{Hash, Hasher};

use sim::explore::{Explorable, Report, explore};

const RESPONSES: usize = 2;
const DELTAS: u8 = 2;

#[derive(Clone, Hash, Default)]
struct Latches {
    model: [Response; RESPONSES],
    created: usize,
    interrupted: bool,
    closed: bool,

    // The handler's state.
    out_q: u8,
    tx_q: u8,
    active_response: Option<usize>,
    active_response_status: Status,
    pending_hangup: bool,
    hangup_executed: bool,

    // What an observer sees.
    hangups: u8,
    hung_up_for_cancelled: bool,
    hung_up_after_close: bool,
}

/// What the model still has to say about a response.
#[derive(Clone, Copy, Hash, Default)]
struct Response {
    deltas: u8,
    audio_done: bool,
    transcript_done: bool,
    cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Status {
    #[default]
    None,
    InProgress,
    Cancelled,
    AudioDone,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Created,
    Delta(usize),
    AudioDone(usize),
    /// With a farewell in it.
    TranscriptDone(usize),
    SpeechStarted,
    QueueMoves,
    Close,
}

impl Latches {
    fn maybe_hang_up(&mut self, response: usize) {
        let queues_empty = self.out_q == 0 && self.tx_q == 0;
        if self.pending_hangup
            && !self.hangup_executed
            && self.active_response_status == Status::AudioDone
            && queues_empty
        {
            self.hangup_executed = true;
            self.hangups += 1;
            self.hung_up_for_cancelled |= self.model[response].cancelled;
            self.hung_up_after_close |= self.closed;
        }
    }

    /// Nothing more will happen by itself.
    fn is_quiet(&self) -> bool {
        let told = self.model[..self.created].iter().all(|response| response.audio_done && response.transcript_done);
        told && self.out_q == 0 && self.tx_q == 0
    }
}

impl Explorable for Latches {
    type Action = Event;

    fn actions(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let generating = self.active_response.is_some_and(|active| !self.model[active].audio_done);
        if self.created < RESPONSES && !generating && !self.closed {
            events.push(Event::Created);
        }
        for (index, response) in self.model[..self.created].iter().enumerate() {
            if response.deltas < DELTAS && !response.audio_done {
                events.push(Event::Delta(index));
            }
            if !response.audio_done && (response.deltas > 0 || response.cancelled) {
                events.push(Event::AudioDone(index));
            }
            if !response.transcript_done && response.deltas > 0 {
                events.push(Event::TranscriptDone(index));
            }
        }
        if !self.interrupted && self.created > 0 && !self.closed {
            events.push(Event::SpeechStarted);
        }
        if self.out_q > 0 || self.tx_q > 0 {
            events.push(Event::QueueMoves);
        }
        if !self.closed {
            events.push(Event::Close);
        }
        events
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Created => {
                self.active_response = Some(self.created);
                self.active_response_status = Status::InProgress;
                self.created += 1;
            }
            Event::Delta(response) => {
                self.model[response].deltas += 1;
                if self.active_response_status != Status::Cancelled {
                    self.out_q += 1;
                }
            }
            Event::AudioDone(response) => {
                self.model[response].audio_done = true;
                // Whichever response it is: there is one status for all.
                self.active_response_status = Status::AudioDone;
                self.maybe_hang_up(response);
            }
            Event::TranscriptDone(response) => {
                self.model[response].transcript_done = true;
                self.pending_hangup = true;
                self.maybe_hang_up(response);
            }
            Event::SpeechStarted => {
                self.interrupted = true;
                self.pending_hangup = false;
                if self.active_response_status == Status::InProgress
                    && let Some(active) = self.active_response
                {
                    self.model[active].cancelled = true;
                    self.active_response_status = Status::Cancelled;
                }
                self.out_q = 0;
                self.tx_q = 0;
            }
            Event::QueueMoves => {
                if self.tx_q > 0 {
                    self.tx_q -= 1;
                } else {
                    self.out_q -= 1;
                    self.tx_q += 1;
                }
            }
            Event::Close => {
                self.closed = true;
                self.hangup_executed = false;
            }
        }
    }

    fn fingerprint(&self, hasher: &mut impl Hasher) {
        self.hash(hasher);
    }

    fn violation(&self) -> Option<&'static str> {
        let farewell_heard =
            self.model[..self.created].iter().any(|response| response.transcript_done && !response.cancelled);
        if self.hangups > 1 {
            Some("a second hang-up")
        } else if self.hung_up_after_close {
            Some("a hang-up after the close")
        } else if self.hung_up_for_cancelled {
            Some("a hang-up for a cancelled response")
        } else if self.is_quiet() && farewell_heard && !self.interrupted && !self.closed && self.hangups == 0 {
            Some("a goodbye that was played never hangs up")
        } else {
            None
        }
    }

    fn sometimes(&self) -> Vec<&'static str> {
        [(self.hangups == 1 && !self.closed, "a hang-up as it should be"), (self.interrupted, "an interruption")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect()
    }
}

#[test]
fn the_explorer_finds_what_is_wrong_with_latches() {
    let report: Report<Event> = explore(Latches::default(), 1_000_000);
    println!("{} states, {} deep", report.states, report.depth);
    for (rule, trace) in &report.violations {
        println!("{rule}: {} steps: {trace:?}", trace.len());
    }
    assert!(report.exhausted);
    let found: Vec<_> = report.violations.keys().copied().collect();
    assert_eq!(
        found,
        [
            "a goodbye that was played never hangs up",
            "a hang-up after the close",
            "a hang-up for a cancelled response",
            "a second hang-up",
        ]
    );
    assert_eq!(report.sometimes.len(), 2, "{:?}", report.sometimes);
}
