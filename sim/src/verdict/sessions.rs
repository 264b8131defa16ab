//! What becomes of a conversation whose model was lost: the next session is told what was said, and nobody waits in
//! silence meanwhile (N4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use call::output::DropReason;
use call::trace::{Event, Trace};
use call::wire::openai::ClientEvent;
use call::{EndReason, Input, ItemId, ModelInput, Note};

use super::playing::Heard;
use super::{Doubt, Judgement, broken, ms, since_made};
use crate::joined::{Line, What};
use crate::model::Record;
use crate::seed::Plan;
use crate::world::World;

/// What was said so far, as one who reads the trace knows it.
#[derive(Default)]
struct Said {
    /// The caller's words, in the order in which they began.
    caller: Vec<(ItemId, String)>,
    agent: BTreeMap<ItemId, String>,
    /// Never happened.
    deleted: BTreeSet<ItemId>,
}

/// Each session but the first is told the conversation: the caller's words, all of them, and the agent's as far as they
/// were heard.
pub(super) fn judge_history(
    world: &World,
    trace: &Trace,
    record: &Record,
    heard: &Heard<'_>,
    doubt: &Doubt,
) -> Judgement {
    // Of a runaway (A1), nobody knows how much its words are worth.
    if world.notes.iter().any(|(_, note)| matches!(note, Note::Dropped { reason: DropReason::QueueFull, .. })) {
        return Ok(());
    }
    let mut said = Said::default();
    let mut told = world.sessions.iter().skip(1);
    let first = world.sessions.first().map(|session| session.epoch);
    for (at, event) in &trace.events {
        let now = since_made(*at);
        match event {
            Event::Input(Input::Model(epoch, ModelInput::Configured)) if first.is_some_and(|first| *epoch > first) => {
                let Some(session) = told.find(|session| session.epoch == *epoch) else { continue };
                // One that was lost again did not hear it all.
                let whole = session.closed.is_none_or(|closed| closed > now + doubt.all + ms(500));
                let received = session.model.record().received.iter().map(|(_, event)| event);
                judge_told(&said, received, whole, world, record, heard, now, doubt)?;
            }
            Event::Input(Input::Model(_, input)) => said.note(input),
            Event::Input(_) => {}
            Event::Output(words) => {
                if let Some(item) = words.strip_prefix("delete i").and_then(|digits| digits.parse().ok()) {
                    said.deleted.insert(ItemId(item));
                }
            }
        }
    }
    Ok(())
}

impl Said {
    fn note(&mut self, input: &ModelInput) {
        match input {
            ModelInput::SpeechStarted { item, .. } => {
                if self.caller.iter().all(|(known, _)| known != item) {
                    self.caller.push((*item, String::new()));
                }
            }
            ModelInput::CallerTranscript { item, text: Some(text) } => {
                if let Some((_, known)) = self.caller.iter_mut().find(|(known, _)| known == item) {
                    text.clone_into(known);
                }
            }
            ModelInput::TranscriptDelta { item, text, .. } => self.agent.entry(*item).or_default().push_str(text),
            ModelInput::TranscriptDone { item, text, .. } => {
                self.agent.insert(*item, text.clone());
            }
            _ => {}
        }
    }
}

fn judge_told<'a>(
    said: &Said,
    received: impl Iterator<Item = &'a ClientEvent>,
    whole: bool,
    world: &World,
    record: &Record,
    heard: &Heard<'_>,
    now: Duration,
    doubt: &Doubt,
) -> Judgement {
    let (mut caller, mut agent) = (Vec::new(), Vec::new());
    for event in received {
        match event {
            ClientEvent::ItemCreate { item, .. } if item.kind == "message" => {
                let text = item.content.iter().flatten().find_map(|part| part.text.clone()).unwrap_or_default();
                match item.role.as_deref() {
                    Some("assistant") => agent.push(text),
                    // Keys look the same, and are counted elsewhere.
                    Some(_) if text.starts_with("(The caller pressed") => {}
                    _ => caller.push(text),
                }
            }
            ClientEvent::ResponseCreate { .. } => break,
            _ => {}
        }
    }
    let expected: Vec<&str> = said
        .caller
        .iter()
        .filter(|(item, text)| !text.trim().is_empty() && !said.deleted.contains(item))
        .map(|(_, text)| text.as_str())
        .collect();
    let is_it = if whole { caller == expected } else { expected.starts_with(&caller.iter().map(String::as_str).collect::<Vec<_>>()) };
    if !is_it {
        return broken("N4", now, format!("the caller said {expected:?}, a new session was told {caller:?}"));
    }
    judge_agent_told(said, &agent, whole, world, record, heard, now, doubt)
}

/// Each text told is the beginning of one that was heard, no longer than what was heard of it; and none is left out.
fn judge_agent_told(
    said: &Said,
    told: &[String],
    whole: bool,
    world: &World,
    record: &Record,
    heard: &Heard<'_>,
    now: Duration,
    doubt: &Doubt,
) -> Judgement {
    let mut left = told.iter();
    let mut next = left.next();
    for (item, text) in &said.agent {
        let Some(&index) = heard.accepted.items.get(item) else { continue };
        let (text, accepted) = (text.trim(), heard.accepted(index, now));
        if text.is_empty() || accepted == 0 {
            continue;
        }
        let slack = usize::try_from((doubt.all + ms(40)).as_micros() / 125).unwrap_or(usize::MAX);
        // What was accepted and not interrupted counts as heard.
        let cut = heard.accepted.stretches.iter().find(|stretch| stretch.what == What::Item(index)).is_some_and(|first| {
            world.notes.iter().any(|(at, note)| {
                matches!(note, Note::Interrupted { .. }) && *at >= first.since && *at <= now
            })
        });
        let reached = heard.reached(index, Duration::MAX) + slack;
        let chars = text.chars().count();
        let most = if !cut || reached >= accepted { chars } else { (chars * reached).div_ceil(accepted) };
        let fits = next.is_some_and(|next| text.starts_with(next.trim()) && next.trim().chars().count() <= most);
        if fits {
            next = left.next();
            continue;
        }
        // So much was heard by now that at least a word of it must be told.
        let by_now = heard.reached(index, now).min(heard.reached(index, now.saturating_sub(doubt.all)));
        let first_word = text.split(' ').next().map_or(0, |word| word.chars().count()) + 1;
        let due = (accepted * first_word).div_ceil(chars) + slack;
        if whole && (!cut || by_now > due) && !said.deleted.contains(item) {
            let name = &record.generated[index].item_id;
            let what = format!("{by_now} bytes of {name}, {text:?}, were heard; a new session was told {told:?}");
            return broken("N4", now, what);
        }
    }
    match next {
        None => Ok(()),
        Some(text) => broken("N4", now, format!("a new session was told {text:?}, which was not heard so")),
    }
}

/// An outage is short, or ends the call; and the caller is asked to wait.
pub(super) fn judge_outages(plan: &Plan, world: &World, line: &Line, doubt: &Doubt) -> Judgement {
    if plan.faults.no_stream {
        return Ok(());
    }
    let config = &plan.config;
    let ended = world.ended.map_or(world.now(), |(at, _)| at);
    let mut since = None;
    let mut outages = Vec::new();
    for (at, note) in &world.notes {
        match note {
            Note::ModelLost { .. } => {
                since.get_or_insert(*at);
            }
            Note::ModelReady { .. } => outages.extend(since.take().map(|since| (since, *at))),
            Note::HangingUp { .. } => outages.extend(since.take().map(|since| (since, *at))),
            _ => {}
        }
    }
    outages.extend(since.map(|since| (since, ended)));
    let apology = Duration::from_micros(125) * config_bytes(plan.clips().apology.len());
    let hopeless = config.reconnect_max.unwrap_or_default() + config.filler_after + apology + ms(100);
    for (from, to) in outages {
        // What was accepted plays out first.
        let audible = line.audible.iter().filter(|span| span.end > from).map(|span| span.end.min(to)).max();
        let ends = audible.unwrap_or(from).max(from) + hopeless + config.mark_grace * 2 + doubt.all;
        let streams = world.earlier.is_empty() && plan.faults.stream_breaks.is_empty();
        let began = line.started_at + doubt.all + ms(100);
        if to > ends.max(from.max(began) + hopeless + config.mark_grace * 2 + doubt.all) && streams && ended >= to {
            // Before the stream there is nobody to apologise to, and nothing to hang up.
            let what = format!("without a model since {from:?}, and nothing came of it until {to:?}");
            return broken("N4", to, what);
        }
        if plan.clips().filler.is_empty() || !streams {
            continue;
        }
        // Silence in it, from its beginning or from the last sound on.
        let mut quiet_from = from.max(began);
        let allowed = config.filler_after + doubt.all + ms(60);
        let sounds = line.audible.iter().map(|span| (span.start, span.end)).chain([(to, to)]);
        for (start, end) in sounds.filter(|(_, end)| *end > from) {
            if start.min(to) > quiet_from + allowed && !world.ended.is_some_and(|(_, why)| why != EndReason::ModelFailed && ended < start) {
                return broken("N4", quiet_from, format!("silence until {start:?}, without a word of waiting"));
            }
            // Once asked to wait, the caller waits.
            break_at(&mut quiet_from, end);
            if end > from && start >= from {
                break;
            }
        }
    }
    Ok(())
}

fn break_at(quiet_from: &mut Duration, end: Duration) {
    *quiet_from = (*quiet_from).max(end);
}

fn config_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
