//! The streams and sessions of one call, put together: for those who judge the call and not its connections.
//!
//! What the caller should hear is not what the model gave, but what of it was *accepted*, and what we added ourselves. The
//! trace says which that was, in its order; the bytes come from the sessions' records and from our clips.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use call::bridge::Clips;
use call::trace::{Event, Trace};
use call::{Input, ItemId, ModelInput, OperatorInput, ResponseId, tones};

use crate::carrier::stream::{StepTaken, StreamEnd};
use crate::model::{GeneratedItem, Record};
use crate::world::World;

/// The caller's line through all streams of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub started_at: Duration,
    pub ended_at: Option<Duration>,
    pub end: Option<StreamEnd>,
    /// What the caller heard, one stream after the other.
    pub played: Vec<u8>,
    /// Where each stream begins in `played`, and when it did.
    streams: Vec<(usize, Duration)>,
    pub audible: Vec<Range<Duration>>,
    pub steps: Vec<StepTaken>,
    pub most_buffered: Duration,
    pub violations: Vec<String>,
}

impl Line {
    pub fn of(world: &World) -> Line {
        let last = world.carrier.report();
        let mut line = Line {
            started_at: world.earlier.first().map_or(last.started_at, |first| first.started_at),
            ended_at: last.ended_at,
            end: last.end,
            played: Vec::new(),
            streams: Vec::new(),
            audible: Vec::new(),
            steps: Vec::new(),
            most_buffered: Duration::ZERO,
            violations: Vec::new(),
        };
        for report in world.earlier.iter().chain([last]) {
            line.streams.push((line.played.len(), report.started_at));
            line.played.extend(&report.played);
            line.audible.extend(report.audible.iter().cloned());
            // The step that a stream broke off goes on with the next.
            let broken_off = line.steps.pop().map(|step| step.began_at);
            let from = line.steps.len();
            line.steps.extend(&report.steps);
            if let (Some(began_at), Some(step)) = (broken_off, line.steps.get_mut(from)) {
                step.began_at = began_at;
            }
            line.most_buffered = line.most_buffered.max(report.most_buffered());
            line.violations.extend(report.violations.iter().cloned());
        }
        line
    }

    /// When this byte of `played` was played.
    pub fn time_of(&self, byte: usize) -> Duration {
        let (from, began) = self.streams.iter().rev().find(|(from, _)| *from <= byte).copied().unwrap_or_default();
        began + Duration::from_micros(125) * u32::try_from(byte - from).unwrap_or(u32::MAX)
    }
}

/// What all sessions of the model did, in their order and in the call's time.
pub fn record(world: &World) -> Record {
    let mut joined = Record::default();
    for session in &world.sessions {
        let record = session.model.record();
        joined.generated.extend(record.generated.iter().cloned());
        joined.received.extend(record.received.iter().map(|(at, event)| (session.opened + *at, event.clone())));
        let errors = record.client_errors.iter().cloned();
        joined.client_errors.extend(errors.map(|mut error| {
            error.at += session.opened;
            error
        }));
        joined.appends += record.appends;
        joined.appended += record.appended;
        joined.responses.extend(record.responses.iter().cloned());
    }
    joined
}

/// A stretch of audio that was accepted, in the order in which it is to be played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub what: What,
    /// Byte of the item at which it begins.
    pub from: usize,
    pub audio: Vec<u8>,
    /// When its first byte was accepted.
    pub since: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Of the model: the index of the item in the joined record.
    Item(usize),
    /// Ours.
    Local(&'static str),
}

/// What was accepted, and what the core's numbers mean.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Accepted {
    pub stretches: Vec<Stretch>,
    /// Names of the model.
    pub responses: BTreeMap<ResponseId, String>,
    /// Indices in the joined record.
    pub items: BTreeMap<ItemId, usize>,
}

impl Accepted {
    /// Reads it off the trace.
    pub fn of(world: &World, trace: &Trace, generated: &[GeneratedItem], clips: &Clips) -> Accepted {
        let mut accepted = Accepted::default();
        let (mut responses, mut items) = (world.responses_told.iter(), world.items_told.iter());
        // How much of each item was given to us, accepted or not.
        let mut given: BTreeMap<ItemId, usize> = BTreeMap::new();
        let mut told: Option<&Input> = None;
        let mut keys = "";
        for (at, event) in &trace.events {
            let since = Duration::from_micros(at.as_micros());
            match event {
                Event::Input(input) => {
                    told = Some(input);
                    match input {
                        Input::Model(_, ModelInput::ResponseCreated { response, .. }) => {
                            accepted.responses.extend(responses.next().map(|name| (*response, name.clone())));
                        }
                        Input::Model(_, ModelInput::Audio { item, bytes, .. }) => {
                            if !given.contains_key(item) {
                                let name = items.next();
                                let index = generated.iter().position(|known| Some(&known.item_id) == name);
                                accepted.items.extend(index.map(|index| (*item, index)));
                            }
                            *given.entry(*item).or_default() += *bytes as usize;
                        }
                        Input::Operator(OperatorInput::Press(pressed)) => keys = pressed,
                        _ => {}
                    }
                }
                Event::Output(words) => match words.as_str() {
                    "keep" => {
                        let Some(Input::Model(_, ModelInput::Audio { item, bytes, .. })) = told else { continue };
                        let Some(&index) = accepted.items.get(item) else { continue };
                        let from = given[item] - *bytes as usize;
                        let Some(audio) = generated[index].audio.get(from..from + *bytes as usize) else { continue };
                        match accepted.stretches.last_mut() {
                            Some(last) if last.what == What::Item(index) && last.from + last.audio.len() == from => {
                                last.audio.extend(audio);
                            }
                            _ => {
                                let what = What::Item(index);
                                accepted.stretches.push(Stretch { what, from, audio: audio.to_vec(), since });
                            }
                        }
                    }
                    "keep filler" => accepted.local("filler", clips.filler.to_vec(), since),
                    "keep apology" => accepted.local("apology", clips.apology.to_vec(), since),
                    words if words.starts_with("keep tones") => accepted.local("tones", tones::keys(keys), since),
                    _ => {}
                },
            }
        }
        accepted
    }

    fn local(&mut self, name: &'static str, audio: Vec<u8>, since: Duration) {
        self.stretches.push(Stretch { what: What::Local(name), from: 0, audio, since });
    }
}
