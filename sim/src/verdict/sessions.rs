//! What becomes of a conversation whose model was lost: the next session is told what was said, and nobody waits in
//! silence meanwhile (N4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use call::output::DropReason;
use call::trace::{Event, Trace};
use call::wire::openai::ClientEvent;
use call::{Input, ItemId, ModelInput, Note};

use super::playing::Heard;
use super::{Doubt, Judgement, broken, ms, since_made};
use crate::joined::What;
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
    /// Entries of keys that a session was told (N10).
    pressed: usize,
}

/// The moment at which a session is told what was said.
struct Telling<'a> {
    plan: &'a Plan,
    world: &'a World,
    record: &'a Record,
    heard: &'a Heard<'a>,
    doubt: &'a Doubt,
    /// It lived long enough to hear it all.
    whole: bool,
    now: Duration,
}

/// Each session but the first is told the conversation: the caller's words, all of them, and the agent's as far as they
/// were heard.
pub(super) fn judge_history(
    plan: &Plan,
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
                let until = [session.closed, session.silent].into_iter().flatten().min();
                let whole = !session.model.is_closed() && until.is_none_or(|until| until > now + doubt.all + ms(500));
                let received = session.model.record().received.iter().map(|(_, event)| event);
                let telling = Telling { plan, world, record, heard, doubt, whole, now };
                judge_told(&telling, &said, received)?;
            }
            Event::Input(Input::Model(_, input)) => said.note(input),
            Event::Input(_) => {}
            Event::Output(words) => {
                said.pressed += usize::from(words.starts_with("pressed "));
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
            ModelInput::SpeechStarted { item, .. } if self.caller.iter().all(|(known, _)| known != item) => {
                self.caller.push((*item, String::new()));
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

fn judge_told<'a>(telling: &Telling<'_>, said: &Said, received: impl Iterator<Item = &'a ClientEvent>) -> Judgement {
    let Telling { plan, whole, now, .. } = *telling;
    let (mut caller, mut agent, mut keys) = (Vec::new(), Vec::new(), 0);
    for event in received {
        match event {
            ClientEvent::ItemCreate { item, .. } if item.kind == "message" => {
                let text = item.content.iter().flatten().find_map(|part| part.text.clone()).unwrap_or_default();
                match item.role.as_deref() {
                    Some("assistant") => agent.push(text),
                    Some(_) if text.starts_with("(The caller pressed") => keys += 1,
                    _ => caller.push(text),
                }
            }
            ClientEvent::ResponseCreate { .. } => break,
            _ => {}
        }
    }
    // They are told at once when the session is there; later ones are no history, but look the same.
    if whole && keys < said.pressed.min(16) {
        return broken("N4", now, format!("{} entries of keys, of which a new session was told {keys}", said.pressed));
    }
    let expected: Vec<&str> = said
        .caller
        .iter()
        .filter(|(item, text)| !text.trim().is_empty() && !said.deleted.contains(item))
        .map(|(_, text)| text.as_str())
        .collect();
    let is_it = if whole {
        caller == expected
    } else {
        expected.starts_with(&caller.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // Of a model to which nothing can be taken back, the trace does not say what was nothing.
    if !is_it && plan.config.abilities.truncates {
        return broken("N4", now, format!("the caller said {expected:?}, a new session was told {caller:?}"));
    }
    judge_agent_told(telling, said, &agent)
}

/// Each text told is the beginning of one that was heard, no longer than what was heard of it; and none is left out.
fn judge_agent_told(telling: &Telling<'_>, said: &Said, told: &[String]) -> Judgement {
    let Telling { world, record, heard, doubt, whole, now, .. } = *telling;
    // How many of the texts told may be accounted for, by the items so far: an item cut off early may be one or none.
    let mut accounted = BTreeSet::from([0]);
    for (item, text) in &said.agent {
        let Some(&index) = heard.accepted.items.get(item) else { continue };
        let (text, accepted) = (text.trim(), heard.accepted(index, now));
        if text.is_empty() || accepted == 0 || said.deleted.contains(item) {
            continue;
        }
        let slack = usize::try_from((doubt.all + ms(40)).as_micros() / 125).unwrap_or(usize::MAX);
        // What was accepted and not interrupted counts as heard.
        let cut =
            heard.accepted.stretches.iter().find(|stretch| stretch.what == What::Item(index)).is_some_and(|first| {
                world
                    .notes
                    .iter()
                    .any(|(at, note)| matches!(note, Note::Interrupted { .. }) && *at >= first.since && *at < now)
            });
        let reached = heard.reached(index, Duration::MAX) + slack;
        let chars = text.chars().count();
        let most = if !cut || reached >= accepted { chars } else { (chars * reached).div_ceil(accepted) };
        // So much was heard by now that at least a word of it must be told.
        let by_now = heard.reached(index, now).min(heard.reached(index, now.saturating_sub(doubt.all)));
        let first_word = text.split(' ').next().map_or(0, |word| word.chars().count()) + 1;
        let due = (accepted * first_word).div_ceil(chars) + slack;
        let is_due = whole && (!cut || by_now > due);
        let fits = |told: &String| text.starts_with(told.trim()) && told.trim().chars().count() <= most;
        let with = accounted.iter().filter(|count| told.get(**count).is_some_and(fits)).map(|count| count + 1);
        let mut after: BTreeSet<usize> = with.collect();
        if !is_due {
            after.extend(&accounted);
        }
        accounted = after;
        if accounted.is_empty() {
            let name = &record.generated[index].item_id;
            let what = format!("{by_now} bytes of {name}, {text:?}, were heard; a new session was told {told:?}");
            return broken("N4", now, what);
        }
    }
    if accounted.contains(&told.len()) {
        return Ok(());
    }
    broken("N4", now, format!("a new session was told {told:?}, which was not heard so"))
}

/// An outage is short, or ends the call; and the caller is asked to wait.
pub(super) fn judge_outages(plan: &Plan, world: &World, heard: &Heard<'_>, doubt: &Doubt) -> Judgement {
    // A call without a stream has nobody to tell; one whose stream broke is judged by the others.
    if plan.faults.no_stream || !plan.faults.stream_breaks.is_empty() {
        return Ok(());
    }
    let (config, line) = (&plan.config, heard.line);
    let ended = [world.ended.map(|(at, _)| at), line.ended_at].into_iter().flatten().min().unwrap_or(world.now());
    let apology = playing_time(plan.apology_bytes);
    for (lost, back) in outages(world, ended) {
        // Before the stream there is nobody to tell; while something is heard, nobody has to be told.
        let from = lost.max(line.started_at + doubt.all);
        let ours = heard.accepted.stretches.iter().find_map(|stretch| {
            (matches!(stretch.what, What::Local(_)) && stretch.since >= lost && stretch.since <= back)
                .then_some(stretch.since)
        });
        let told = ours.unwrap_or(back);
        let mut quiet_from = from;
        for span in line.audible.iter().filter(|span| span.end > from && span.start < told) {
            if span.start <= quiet_from + doubt.all + ms(60) {
                quiet_from = quiet_from.max(span.end.min(told));
            }
        }
        // Whoever is hearing goodbye is not asked to wait.
        let goodbye = world.notes.iter().rev().find(|(at, note)| {
            *at <= quiet_from && matches!(note, Note::GoodbyePending { .. } | Note::GoodbyeWithdrawn)
        });
        let goodbye = goodbye.is_some_and(|(_, note)| matches!(note, Note::GoodbyePending { .. }));
        if plan.filler_bytes > 0 && !goodbye && told > quiet_from + config.filler_after + doubt.all + ms(60) {
            return broken("N4", quiet_from, format!("without a model until {told:?}, and without a word of waiting"));
        }
        // What was accepted plays out, and then the apology.
        let plays_until = line.audible.iter().filter(|span| span.start < back).map(|span| span.end.min(back)).max();
        let hopeless = from.max(lost + config.reconnect_max.unwrap_or_default()).max(plays_until.unwrap_or(from));
        let limit = hopeless + config.filler_after + apology + config.mark_grace + doubt.all * 2 + ms(200);
        if back > limit {
            return broken("N4", back, format!("without a model since {lost:?}, and nothing came of it"));
        }
    }
    Ok(())
}

/// From the loss of a model to the next, to the hang-up, or to the end.
fn outages(world: &World, ended: Duration) -> Vec<(Duration, Duration)> {
    let (mut since, mut outages) = (None, Vec::new());
    for (at, note) in world.notes.iter().filter(|(at, _)| *at <= ended) {
        match note {
            Note::ModelLost { .. } => since = since.or(Some(*at)),
            Note::ModelReady { .. } => outages.extend(since.take().map(|since| (since, *at))),
            Note::HangingUp { .. } => {
                outages.extend(since.map(|since| (since, *at)));
                return outages;
            }
            _ => {}
        }
    }
    outages.extend(since.map(|since| (since, ended)));
    outages
}

fn playing_time(bytes: usize) -> Duration {
    Duration::from_micros(125) * u32::try_from(bytes).unwrap_or(u32::MAX)
}
