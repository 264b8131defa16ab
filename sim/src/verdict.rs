//! Was it a good call? Judged from outside: by what the carrier played, what the model was told, and the trace, which
//! has every input and output in order.
//!
//! *Safety* holds in every call, whatever went wrong. *Liveness* is asked for once nothing new goes wrong: see
//! [`crate::seed::CALM`]. Each check names the rule of `docs/rules.md` that it stands for.
//!
//! Nobody knows better than the links allow what was heard, so what depends on hearing has a tolerance ([`Doubt`]): the
//! way of the audio to the carrier, the way of the marks back, and what was added to both in this call. On good links
//! it is a few frames; a stall of seconds makes it seconds, and the other calls judge more strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use call::config::{CallConfig, Turns};
use call::input::{CallStatus, CarrierInput, Input, ModelError, ModelInput};
use call::trace::{Event, Trace};
use call::{CallTime, EndReason, ItemId, Note, RequestId, ResponseId, ToolCallId};

use crate::carrier::stream::StreamEnd;
use crate::model::{GeneratedItem, TranscriptionTiming};
use crate::oracle::is_silent;
use crate::seed::{CALM, CallerAct, Plan};
use crate::world::World;

/// A rule was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
    pub at: Duration,
}

/// What a good call came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub ended: EndReason,
    pub at: Duration,
    /// What happened in it, and how often: a simulation that reaches nothing proves nothing.
    pub reached: BTreeMap<String, u64>,
}

type Judgement = Result<(), Violation>;

fn broken(rule: &'static str, at: Duration, what: impl Into<String>) -> Judgement {
    Err(Violation { rule, what: what.into(), at })
}

/// Judges a call that has run to its end, or to its limit.
///
/// # Errors
/// The first rule that was found to be broken.
pub fn judge(plan: &Plan, world: &World) -> Result<Facts, Violation> {
    let trace = match Trace::read(&world.trace) {
        Ok(trace) => trace,
        Err(error) => return Err(Violation { rule: "N11", what: error.to_string(), at: world.now() }),
    };
    if world.ended.is_some() && trace.replay() != world.trace {
        return Err(Violation { rule: "N11", what: "the trace replays to other bytes".into(), at: world.now() });
    }
    let doubt = Doubt::of(plan);
    let mut referee = Referee::new(plan, &doubt);
    for (at, event) in &trace.events {
        referee.see(*at, event)?;
    }
    referee.finish(world)?;
    judge_peers(plan, world)?;
    judge_counts(world)?;
    judge_playing(plan, world, &doubt, referee.told_after_stream)?;
    let Some((at, ended)) = world.ended else {
        return Err(Violation { rule: "N8", what: "the call never ended".into(), at: world.now() });
    };
    judge_end(plan, world, &doubt, ended, at)?;
    let reached = count(plan, world, &referee, ended);
    Ok(Facts { ended, at, reached })
}

/// How far what is known of hearing may be off, in this call.
struct Doubt {
    /// Between sending a frame and the carrier's having it.
    there: Duration,
    /// What a link may add to that, more for one message than for another.
    there_uneven: Duration,
    /// Between the playing of a frame and our knowing of it.
    back: Duration,
    /// Our process stood still for so long.
    frozen: Duration,
    /// Between anything happening and its being handled, at worst.
    all: Duration,
}

impl Doubt {
    fn of(plan: &Plan) -> Doubt {
        let faults = &plan.faults;
        let there_uneven = faults.to_carrier.uneven();
        let there = plan.carrier_delay + there_uneven;
        let back = plan.carrier_delay + faults.from_carrier.uneven() + plan.stream.marks_delay;
        let frozen = faults.frozen();
        let model = plan.model_delay * 2 + faults.to_model.uneven() + faults.from_model.uneven();
        Doubt { there, there_uneven, back, frozen, all: there + back + frozen + model }
    }

    /// How far the place where hearing stopped may be from where we take it to be.
    fn hearing(&self, plan: &Plan) -> Duration {
        // Marks that came back while we stood still look late, by no more than what can lie at the carrier.
        let thaw = self.frozen.min(plan.config.lead + frame_group(plan));
        ms(20) + self.there + self.back + thaw + plan.stream.post_clear_tail
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The longest message of audio.
fn frame_group(plan: &Plan) -> Duration {
    ms(20) * plan.config.group_frames.max(1)
}

fn since_made(at: CallTime) -> Duration {
    Duration::from_micros(at.as_micros())
}

// ── What the peers complain about ────────────────────────────────────────────────────────────────────────────────────

fn judge_peers(plan: &Plan, world: &World) -> Judgement {
    if let Some(what) = world.carrier.report().violations.first() {
        return broken("A6", world.now(), format!("the carrier would warn: {what}"));
    }
    for error in &world.model.record().client_errors {
        let code = error.code.as_deref().unwrap_or_default();
        let permitted = match code {
            // Our cancel and the end of its response met on the way (B6).
            "response_cancel_not_active" => true,
            // Only the model's own responses can be in the way of ours (R8).
            "conversation_already_has_active_response" => {
                !plan.behaviour.spontaneous.is_empty() || plan.config.turns == Turns::Model
            }
            "session_expired" => plan.behaviour.expires_after.is_some(),
            _ => plan.behaviour.reject_configuration == Some(code) || plan.behaviour.refuse == Some(code),
        };
        if !permitted {
            return broken("R9", error.at, format!("the model complained: {error:?}"));
        }
    }
    Ok(())
}

fn judge_counts(world: &World) -> Judgement {
    let summary = world.summary();
    if summary.audio_in != world.media_in {
        let what = format!("audio_in is {}, the carrier sent {}", summary.audio_in, world.media_in);
        return broken("L2", world.now(), what);
    }
    if world.after_end > 0 {
        return broken("L7", world.now(), format!("{} effects after the end", world.after_end));
    }
    Ok(())
}

// ── What was heard ───────────────────────────────────────────────────────────────────────────────────────────────────

/// A stretch of an item that was played without a break.
struct Piece {
    item: usize,
    /// Its first byte, in the item.
    from: usize,
    /// Where it was played, in bytes since the stream's start.
    at: usize,
    bytes: usize,
}

impl Piece {
    fn reaches(&self) -> usize {
        self.from + self.bytes
    }
}

/// What was played is the items in their order, each from its beginning, going on where it had stopped.
fn pieces(played: &[u8], items: &[GeneratedItem], doubt: usize) -> Result<Vec<Piece>, (usize, Vec<Piece>)> {
    /// So many bytes of noise are no accident.
    const SURE: usize = 4;
    let mut pieces: Vec<Piece> = Vec::new();
    // The item that plays, and how much of it has.
    let (mut item, mut reached) = (0_usize, 0_usize);
    let mut at = 0;
    loop {
        let Some(silent) = played[at..].iter().position(|byte| !is_silent(*byte)) else { return Ok(pieces) };
        at += silent;
        let run = played[at..].iter().position(|byte| is_silent(*byte)).unwrap_or(played.len() - at);
        let matching = |at: usize, index: usize, from: usize| {
            let audio: &[u8] = items.get(index).map_or(&[], |item| &item.audio);
            played[at..].iter().zip(audio.get(from..).unwrap_or_default()).take_while(|(a, b)| a == b).count()
        };
        let best = |at: usize| {
            let near = (reached.saturating_sub(doubt)..=reached + doubt).map(|from| (item, from));
            // The end of the item before may be in doubt too, when only the beginning of this one was played.
            let before = item.checked_sub(1).filter(|_| reached < doubt).into_iter().flat_map(|index| {
                let length = items[index].audio.len();
                (length.saturating_sub(doubt - reached)..length).map(move |from| (index, from))
            });
            let later = (item + 1..items.len()).flat_map(|index| (0..=doubt).map(move |from| (index, from)));
            near.chain(before)
                .chain(later)
                .map(|(index, from)| (matching(at, index, from), index, from))
                .max_by_key(|found| found.0)
        };
        let going_on = matching(at, item, reached);
        let mut found = (going_on >= SURE.min(run)).then_some((going_on, item, reached));
        if found.is_none() {
            found = best(at).filter(|found| found.0 >= SURE.min(run));
        }
        // The end of one piece may continue, by accident, with what begins the next.
        for back in 1..SURE {
            if found.is_some() || pieces.last().is_none_or(|piece| piece.bytes <= back || piece.at + piece.bytes != at)
            {
                break;
            }
            found = best(at - back).filter(|found| found.0 >= SURE + back);
            if found.is_some() {
                at -= back;
                if let Some(last) = pieces.last_mut() {
                    last.bytes -= back;
                }
            }
        }
        let Some((bytes, index, from)) = found else { return Err((at, pieces)) };
        pieces.push(Piece { item: index, from, at, bytes });
        (item, reached) = (index, from + bytes);
        at += bytes;
    }
}

fn judge_playing(plan: &Plan, world: &World, doubt: &Doubt, told_after_stream: bool) -> Judgement {
    let (report, record) = (world.carrier.report(), world.model.record());
    let bytes_of = |time: Duration| usize::try_from(time.as_micros() / 125).unwrap_or(usize::MAX);
    let time_of =
        |byte: usize| report.started_at + Duration::from_micros(125) * u32::try_from(byte).unwrap_or(u32::MAX);
    let tolerance = doubt.hearing(plan);

    let pieces = match pieces(&report.played, &record.generated, bytes_of(tolerance)) {
        Ok(pieces) => pieces,
        Err((at, before)) => {
            let known = record.generated.iter().enumerate().find_map(|(index, item)| {
                let reached = before.iter().filter(|piece| piece.item == index).map(Piece::reaches).max().unwrap_or(0);
                let from = find(&item.audio, &report.played[at..])?;
                Some(format!("{} from byte {from}, of which {reached} were played (± {tolerance:?})", item.item_id))
            });
            let what = format!("played out of order: {}", known.as_deref().unwrap_or("nothing that was generated"));
            return broken("A2", time_of(at), what);
        }
    };

    let allowed = plan.config.lead.max(frame_group(plan)) + doubt.there_uneven + plan.stream.post_clear_tail + ms(1);
    if report.most_buffered > allowed {
        let what = format!("{:?} lay at the carrier, {allowed:?} are allowed", report.most_buffered);
        return broken("A3", world.now(), what);
    }

    for (at, note) in &world.notes {
        let Note::Interrupted { response: Some(response), .. } = note else { continue };
        let Some(name) = record.responses.get(response.0 as usize) else { continue };
        let over = *at + doubt.there + plan.stream.post_clear_tail + ms(1);
        let zombie = pieces
            .iter()
            .find(|piece| record.generated[piece.item].response_id == *name && time_of(piece.at + piece.bytes) > over);
        if let Some(piece) = zombie {
            let what = format!(
                "{} of {name} played until {:?}",
                record.generated[piece.item].item_id,
                time_of(piece.at + piece.bytes)
            );
            return broken("B2", *at, what);
        }
    }

    let cut_short = world
        .notes
        .iter()
        .any(|(_, note)| matches!(note, Note::Dropped { reason: call::output::DropReason::QueueFull, .. }));
    if cut_short && plan.config.response_audio_max == CallConfig::default().response_audio_max {
        return broken("A1", world.now(), "audio was refused, of which no response had five minutes");
    }
    // What the model is told once the stream is gone is of no use to any conversation, and is not always right: how much
    // of an item was heard is not known any more when the rest of it comes.
    if told_after_stream {
        return Ok(());
    }
    let last_played = pieces.last().map_or(0, |piece| piece.item);
    for (index, item) in record.generated.iter().enumerate() {
        let reached = pieces.iter().filter(|piece| piece.item == index).map(Piece::reaches).max().unwrap_or(0);
        judge_item(plan, world, item, reached, tolerance, index < last_played && !cut_short)?;
    }
    Ok(())
}

/// What the model was told about an item is what was heard of it.
fn judge_item(
    plan: &Plan,
    world: &World,
    item: &GeneratedItem,
    reached: usize,
    tolerance: Duration,
    passed: bool,
) -> Judgement {
    let name = &item.item_id;
    let at = world.now();
    let tolerance_ms = u32::try_from(tolerance.as_millis()).unwrap_or(u32::MAX);
    let reached_ms = u32::try_from(reached / 8).unwrap_or(u32::MAX);
    if let Some(told) = item.truncated_to_ms {
        if told == 0 {
            return broken("B1", at, format!("{name} was truncated to nothing"));
        }
        if reached_ms.abs_diff(told) > tolerance_ms {
            let what = format!("{reached_ms} ms of {name} were heard, the model was told {told} ms (± {tolerance_ms})");
            return broken("B1", at, what);
        }
    } else if item.deleted {
        if reached_ms > tolerance_ms {
            return broken("B1", at, format!("{reached_ms} ms of {name} were heard, and it was deleted"));
        }
    } else if passed && reached < item.audio.len() && plan.config.abilities.truncates {
        // Something after it was played, so nobody waits for the rest of it any more.
        let rest_ms = u32::try_from((item.audio.len() - reached) / 8).unwrap_or(u32::MAX);
        if rest_ms > tolerance_ms {
            let what =
                format!("{reached} of {} bytes of {name} were heard, and the model was not told", item.audio.len());
            return broken("A2", at, what);
        }
    }
    Ok(())
}

fn find(audio: &[u8], played: &[u8]) -> Option<usize> {
    let key = &played[..played.len().min(8)];
    audio.windows(key.len().max(1)).position(|window| window == key)
}

// ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn judge_end(plan: &Plan, world: &World, doubt: &Doubt, ended: EndReason, at: Duration) -> Judgement {
    let report = world.carrier.report();
    let noted = |wanted: fn(&Note) -> bool| world.notes.iter().any(|(_, note)| wanted(note));
    let hung_up = noted(|note| matches!(note, Note::HangingUp { .. }));
    let faults = &plan.faults;
    let terminal = faults.statuses.iter().any(|(_, status)| status.is_terminal());
    let explained = match ended {
        EndReason::CallerHungUp => {
            terminal
                || matches!(report.end, Some(StreamEnd::CallerHungUp | StreamEnd::CallerGaveUp | StreamEnd::TooLong))
                || faults.stream_breaks.is_some_and(|(_, says)| says == Some(CallStatus::Completed))
                || faults.hang_ups.contains(&crate::world::HangUpFault::FailsAndWorks)
        }
        EndReason::StreamLost => {
            faults.stream_breaks.is_some()
                || faults.no_last_status
                || plan.stream.stop_without_close
                // A carrier that said nothing for so long.
                || plan.stream.media_gaps.iter().any(|gap| gap.end - gap.start + doubt.all >= plan.config.carrier_silence_max)
                || doubt.all >= plan.config.carrier_silence_max
        }
        EndReason::NeverStarted => {
            faults.no_stream
                || faults.stream_breaks.is_some()
                || plan.answer_delay + doubt.all >= plan.config.announced_max
        }
        EndReason::NotAnswered | EndReason::Busy | EndReason::Unreachable | EndReason::Canceled => {
            terminal
                || faults.stream_breaks.is_some()
                || faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::HangUp)
        }
        EndReason::OperatorHungUp => faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::HangUp),
        EndReason::Stopped => faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::SayGoodbye),
        EndReason::MaxDuration => at >= plan.config.call_max,
        EndReason::Silence => plan.config.silence_max.is_some_and(|silence| at >= silence * 2),
        EndReason::Goodbye => hung_up,
        EndReason::ModelFailed => {
            hung_up && noted(|note| matches!(note, Note::GoodbyeDone { .. } | Note::HangingUp { .. }))
        }
        // No simulated carrier detects machines yet.
        EndReason::Machine | EndReason::Fault => false,
    };
    if !explained {
        return broken("L10", at, format!("ended as {ended:?}, and nobody did that"));
    }

    // Hung up while the agent could still be heard.
    let goodbye = matches!(ended, EndReason::Goodbye | EndReason::Silence | EndReason::ModelFailed);
    let limit = noted(|note| matches!(note, Note::GoodbyeDone { .. }));
    if let Some(cut) = world.cut_by_hang_up
        && (goodbye || (ended == EndReason::MaxDuration && limit))
        // The silence that fills up the last frame does not count; what is cleared anyway does not either.
        && cut > doubt.there + ms(20)
        && !noted(|note| matches!(note, Note::HangingUp { attempt: 2.., .. }))
        && !interrupted_before(world, doubt)
    {
        return broken("H8", at, format!("{cut:?} of the agent were cut off"));
    }

    judge_silence(plan, world, doubt, at)?;

    // Once nothing goes wrong and the caller is quiet, two silences and a goodbye end any call.
    let quiet_from = report.steps.get(plan.caller.len()).map_or(CALM, |step| step.began_at.max(CALM));
    let config = &plan.config;
    let answering = plan.behaviour.create_latency + plan.behaviour.first_audio + plan.behaviour.done_latency;
    let a_reply = answering + config.tool_timeout + Duration::from_secs(15);
    let hanging_up = (config.hang_up_timeout + config.hang_up_retry) * config.hang_up_attempts + config.hang_up_grace;
    let talking = config.silence_max.map_or(config.call_max + config.call_max_grace, |silence| silence * 2);
    let limit = quiet_from + talking + a_reply * 4 + hanging_up + config.mark_grace + doubt.all;
    if at > limit {
        return broken(
            "N8",
            at,
            format!("nothing was wrong since {quiet_from:?}, the call should have ended by {limit:?}"),
        );
    }
    Ok(())
}

/// Whether a `clear` was on its way when the hang-up overtook it.
fn interrupted_before(world: &World, doubt: &Doubt) -> bool {
    let at = |wanted: fn(&Note) -> bool| world.notes.iter().rev().find(|(_, note)| wanted(note)).map(|(at, _)| *at);
    let cleared = at(|note| matches!(note, Note::Interrupted { .. } | Note::Held));
    let hung_up = at(|note| matches!(note, Note::HangingUp { .. }));
    cleared.zip(hung_up).is_some_and(|(cleared, hung_up)| hung_up < cleared + doubt.there + ms(1))
}

/// Once nothing goes wrong, nobody sits in silence: the agent asks, or says goodbye (N8).
fn judge_silence(plan: &Plan, world: &World, doubt: &Doubt, ended: Duration) -> Judgement {
    let Some(silence_max) = plan.config.silence_max else { return Ok(()) };
    let report = world.carrier.report();
    let hanging_up = world.notes.iter().find(|(_, note)| matches!(note, Note::HangingUp { .. }));
    let until = [Some(ended), report.ended_at, hanging_up.map(|(at, _)| *at)].into_iter().flatten().min();
    let spoken = plan.caller.iter().zip(&report.steps).filter(|(act, _)| matches!(act, CallerAct::Speak { .. }));
    let mut sounds: Vec<(Duration, Duration)> =
        spoken.map(|(_, step)| (step.began_at, step.ended_at.unwrap_or(ended))).collect();
    sounds.extend(report.audible.iter().map(|span| (span.start, span.end)));
    sounds.sort_unstable();
    sounds.push((until.unwrap_or(ended), ended));
    let behaviour = &plan.behaviour;
    let answering =
        behaviour.create_latency + behaviour.first_audio + behaviour.done_latency + behaviour.cancel_latency;
    // One attempt to speak may come to nothing, and the model may ask for patience before the next (R10).
    let allowed = silence_max * 2 + answering * 3 + plan.config.tool_timeout + Duration::from_secs(6) + doubt.all;
    let mut quiet_from = report.started_at.max(CALM);
    for (from, to) in sounds {
        if from > quiet_from + allowed {
            return broken("N8", from, format!("silence since {quiet_from:?}, {allowed:?} are allowed"));
        }
        quiet_from = quiet_from.max(to);
    }
    Ok(())
}

// ── The trace ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Reads the trace as somebody who knows the rules and nothing of how they are kept.
struct Referee<'a> {
    plan: &'a Plan,
    doubt: &'a Doubt,
    configured: bool,
    model_closed: bool,
    streaming: bool,
    ended: bool,
    caller_speaks: bool,
    /// Our create that was neither answered nor rejected, and since when.
    requested: Option<(RequestId, Duration)>,
    active: Option<ResponseId>,
    cancelled: BTreeSet<ResponseId>,
    /// A goodbye was announced, and no create since.
    goodbye_announced: bool,
    goodbye_pending: bool,
    /// What the pending goodbye is in: asked for, then begun.
    goodbye_request: Option<RequestId>,
    goodbye_response: Option<ResponseId>,
    /// Responses of which audio came.
    spoke: BTreeSet<ResponseId>,
    hang_ups: u32,
    /// Tool calls that exist, by whom and when.
    tools: BTreeMap<ToolCallId, (ResponseId, Duration)>,
    tools_told: BTreeSet<ToolCallId>,
    responses_done: BTreeMap<ResponseId, Duration>,
    /// Turns of the caller that were not answered yet.
    unanswered: BTreeMap<ItemId, Duration>,
    held_since: Option<Duration>,
    /// Reasons to speak that were stopped by a guard, in the words of the notes.
    waiting: BTreeSet<String>,
    /// Since when no guard of R2 stops anything.
    free_since: Option<Duration>,
    /// The last moment at which something happened that a goodbye has to wait for.
    goodbye_waited_until: Duration,
    goodbye_done: Option<Duration>,
    /// The model was told about hearing when the stream was gone already.
    told_after_stream: bool,
    /// A create that was interrupted before its response began, and whether that has begun since the last input.
    taken_back: Option<RequestId>,
    began_taken_back: bool,
    /// Kinds of outputs seen since the last input, for the order of an interruption.
    batch: Vec<&'static str>,
    counts: BTreeMap<&'static str, u64>,
}

impl<'a> Referee<'a> {
    fn new(plan: &'a Plan, doubt: &'a Doubt) -> Self {
        Referee {
            plan,
            doubt,
            configured: false,
            model_closed: false,
            streaming: false,
            ended: false,
            caller_speaks: false,
            requested: None,
            active: None,
            cancelled: BTreeSet::new(),
            goodbye_announced: false,
            goodbye_pending: false,
            goodbye_request: None,
            goodbye_response: None,
            spoke: BTreeSet::new(),
            hang_ups: 0,
            tools: BTreeMap::new(),
            tools_told: BTreeSet::new(),
            responses_done: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            held_since: None,
            waiting: BTreeSet::new(),
            free_since: None,
            goodbye_waited_until: Duration::ZERO,
            goodbye_done: None,
            told_after_stream: false,
            taken_back: None,
            began_taken_back: false,
            batch: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    fn see(&mut self, at: CallTime, event: &Event) -> Judgement {
        let now = since_made(at);
        match event {
            Event::Input(input) => {
                self.judge_batch(now)?;
                self.judge_waiting(now)?;
                if !self.ended {
                    self.input(input, now);
                }
                Ok(())
            }
            Event::Output(words) => self.output(words, now),
        }
    }

    fn input(&mut self, input: &Input, now: Duration) {
        let Input::Model(_, input) = input else {
            self.streaming |= *input == Input::Carrier(CarrierInput::Started);
            if let Input::Carrier(CarrierInput::Stopped | CarrierInput::Closed) = input {
                self.streaming = false;
                self.unanswered.clear();
                self.held_since = None;
            }
            return;
        };
        if self.model_closed {
            return;
        }
        match input {
            ModelInput::Configured => self.configured = true,
            ModelInput::SpeechStarted { .. } => {
                self.caller_speaks = true;
                // Who speaks again will be answered later.
                self.unanswered.clear();
            }
            ModelInput::SpeechStopped { .. } => {
                self.caller_speaks = false;
                self.goodbye_waited_until = now;
            }
            ModelInput::Committed { item } if self.plan.config.turns == Turns::Client => {
                self.unanswered.insert(*item, now);
            }
            ModelInput::ResponseCreated { response, request } => {
                self.began_taken_back = request.is_some() && *request == self.taken_back;
                // If it is not ours, ours was overtaken: what becomes of it the model may say late, or never (R8).
                let overtaken = self.requested.take().map(|(asked, _)| asked).filter(|asked| Some(*asked) != *request);
                if overtaken.is_some() && overtaken == self.goodbye_request {
                    self.goodbye_pending = false;
                }
                if request.is_some() && *request == self.goodbye_request {
                    self.goodbye_response = Some(*response);
                }
                self.active = Some(*response);
            }
            ModelInput::ResponseDone { response, .. } => {
                self.active.take_if(|active| active == response);
                self.responses_done.insert(*response, now);
                if self.goodbye_response == Some(*response) && !self.spoke.contains(response) {
                    // It came to nothing, and is wanted again (H2).
                    (self.goodbye_pending, self.goodbye_response) = (false, None);
                }
                self.goodbye_waited_until = now;
            }
            ModelInput::Audio { response, .. } => {
                self.spoke.insert(*response);
            }
            ModelInput::TranscriptDone { .. } | ModelInput::CallerTranscript { .. } => self.goodbye_waited_until = now,
            ModelInput::ToolCall { response, call, .. } if self.active == Some(*response) => {
                self.tools.entry(*call).or_insert((*response, now));
            }
            ModelInput::Error { request, error } => {
                if request.is_some() && *request == self.requested.map(|(request, _)| request) {
                    self.requested = None;
                    if *request == self.goodbye_request {
                        self.goodbye_pending = false;
                    }
                } else if *error == ModelError::NothingToCancel {
                    self.active.take_if(|active| self.cancelled.contains(active));
                }
            }
            _ => {}
        }
    }

    fn output(&mut self, words: &str, now: Duration) -> Judgement {
        if self.ended {
            // `AlreadyEnded` is an answer to the operator.
            return if words == "note AlreadyEnded" {
                Ok(())
            } else {
                broken("L7", now, format!("after the end: {words}"))
            };
        }
        let mut parts = words.split(' ');
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let number = name.get(1..).and_then(|digits| digits.parse::<u32>().ok());
        if self.model_closed
            && matches!(kind, "create" | "cancel" | "truncate" | "delete" | "tool" | "configure" | "forward")
        {
            return broken("N4", now, format!("to a model that is gone: {words}"));
        }
        self.told_after_stream |= matches!(kind, "truncate" | "delete") && !self.streaming;
        match kind {
            "create" => {
                self.saw("create");
                return self.create(RequestId(number.unwrap_or(u32::MAX)), parts.next().unwrap_or_default(), now);
            }
            "cancel" => {
                self.saw("cancel");
                if !self.cancelled.insert(ResponseId(number.unwrap_or(u32::MAX))) {
                    return broken("B6", now, format!("cancelled twice: {name}"));
                }
            }
            "clear" => self.saw("clear"),
            "truncate" => self.saw("truncate"),
            "delete" => {
                self.saw("delete");
                self.unanswered.remove(&ItemId(number.unwrap_or(u32::MAX)));
            }
            "tool" => {
                let number = words.rsplit('t').next().and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX);
                return self.tool_output(ToolCallId(number), now);
            }
            "do" if words.ends_with("hang up") => {
                self.hang_ups += 1;
                if self.hang_ups > self.plan.config.hang_up_attempts {
                    return broken("H10", now, format!("{} attempts to hang up", self.hang_ups));
                }
            }
            "close" if name == "model" => {
                self.model_closed = true;
                self.unanswered.clear();
                self.held_since = None;
                self.caller_speaks = false;
                (self.active, self.requested) = (None, None);
            }
            "ended" => self.ended = true,
            "note" => self.note(words, name, now),
            _ => {}
        }
        Ok(())
    }

    fn saw(&mut self, kind: &'static str) {
        self.batch.push(kind);
        *self.counts.entry(kind).or_default() += 1;
    }

    fn note(&mut self, words: &str, name: &str, now: Duration) {
        match name {
            // Also when the floor was freed without the model's saying so.
            "CallerStopped" => self.caller_speaks = false,
            "AgentStarted" => self.unanswered.clear(),
            // With nothing left to be heard, a hold that was meant has nothing to interrupt, and is not noted.
            "AgentStopped" => self.held_since = None,
            "Held" => self.held_since = Some(now),
            "Resumed" => {
                self.held_since = None;
                self.goodbye_waited_until = now;
            }
            "Interrupted" => {
                self.held_since = None;
                self.taken_back = self.requested.map(|(request, _)| request);
                self.batch.push("interrupted");
            }
            "GoodbyeWithdrawn" => {
                self.held_since = None;
                self.waiting.remove("Farewell");
                (self.goodbye_announced, self.goodbye_pending) = (false, false);
            }
            "GoodbyeWanted" => {
                self.held_since = None;
                self.unanswered.clear();
                // A caller who said nothing but goodbye is answered by a goodbye (H9).
                self.waiting.remove("CallerTurn");
            }
            "NotAsking" if words.contains("waits: true") => {
                let reason = words.split("reason: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
                self.waiting.insert(reason.to_owned());
            }
            "GoodbyePending" => {
                self.unanswered.clear();
                self.waiting.remove("Farewell");
                self.goodbye_pending = true;
                // In a response that was asked for already, or in one that is asked for right now.
                let asked = self.requested.map(|(request, _)| request);
                self.goodbye_announced = words.contains("response: None") && asked.is_none();
                let bound = words.split("Some(r").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
                (self.goodbye_request, self.goodbye_response) = (asked, bound.map(ResponseId));
            }
            "GoodbyeDone" if !words.contains("Unspoken") => self.goodbye_done = Some(now),
            // The rules know of no more than two attempts (R10).
            _ if words.contains("came to nothing twice") => self.unanswered.clear(),
            _ => {}
        }
    }

    /// R1, R2: one gate, one slot, five guards.
    fn create(&mut self, request: RequestId, reason: &str, now: Duration) -> Judgement {
        if !self.configured {
            return broken("R2", now, "asked of a model that is not configured");
        }
        if self.caller_speaks && reason != "Greeting" {
            return broken("R2", now, format!("{reason} asked for while the caller speaks"));
        }
        if self.goodbye_pending && !(reason == "Farewell" && self.goodbye_announced) {
            return broken("R2", now, format!("{reason} asked for while a goodbye is pending"));
        }
        if self.hang_ups > 0 {
            return broken("R2", now, format!("{reason} asked for while hanging up"));
        }
        if let Some(active) = self.active {
            return broken("R2", now, format!("{reason} asked for while {active} is active"));
        }
        if let Some((outstanding, since)) = self.requested
            && now < since + self.plan.config.requested_timeout
        {
            return broken("R1", now, format!("{reason} asked for while {outstanding} is not answered"));
        }
        if std::mem::take(&mut self.goodbye_announced) {
            self.goodbye_request = Some(request);
        }
        self.held_since = None;
        self.waiting.remove(reason);
        if matches!(reason, "CallerTurn" | "ToolResult") {
            // One plain create answers both (R3).
            self.waiting.remove("CallerTurn");
            self.waiting.remove("ToolResult");
        }
        self.requested = Some((request, now));
        Ok(())
    }

    /// N2: exactly one, when the response that called is over.
    fn tool_output(&mut self, call: ToolCallId, now: Duration) -> Judgement {
        let Some((response, _)) = self.tools.get(&call) else {
            return broken("N2", now, format!("an output for {call}, which nobody called"));
        };
        if self.active == Some(*response) {
            return broken("N2", now, format!("an output for {call} while {response} goes on"));
        }
        if !self.tools_told.insert(call) {
            return broken("N2", now, format!("a second output for {call}"));
        }
        *self.counts.entry("tool output").or_default() += 1;
        Ok(())
    }

    /// B1: stop, clear, cancel, then tell what was heard.
    fn judge_batch(&mut self, now: Duration) -> Judgement {
        let batch = std::mem::take(&mut self.batch);
        let cancels = self.plan.config.abilities.cancels;
        if std::mem::take(&mut self.began_taken_back) && cancels && !batch.contains(&"cancel") {
            return broken("B6", now, "what was interrupted before it began was not cancelled when it did");
        }
        if batch.contains(&"interrupted") {
            let rank = |kind: &str| ["clear", "cancel", "truncate"].iter().position(|known| *known == kind);
            let ranks: Vec<usize> = batch.iter().filter_map(|kind| rank(kind)).collect();
            if !ranks.is_sorted() {
                return broken("B1", now, format!("in the wrong order: {batch:?}"));
            }
        }
        Ok(())
    }

    /// What waits must not wait for ever.
    fn judge_waiting(&mut self, now: Duration) -> Judgement {
        let (config, behaviour) = (&self.plan.config, &self.plan.behaviour);
        let guarded = !self.configured
            || self.model_closed
            || !self.streaming
            || self.caller_speaks
            || self.held_since.is_some()
            || self.goodbye_pending
            || self.hang_ups > 0
            || self.requested.is_some_and(|(_, since)| now < since + config.requested_timeout)
            || self.active.is_some();
        if guarded {
            self.free_since = None;
        } else if !self.waiting.is_empty() {
            let since = *self.free_since.get_or_insert(now);
            // The model may have asked for patience (R8, R10).
            if now > since + config.requested_timeout + self.doubt.frozen + ms(100) {
                return broken("R3", now, format!("{:?} waits since {since:?}, and nothing stops it", self.waiting));
            }
        }
        if let Some(since) = self.held_since
            // A second utterance within the hold may begin when the first is waiting for its transcript.
            && now > since + config.hold_max + config.hold_transcript_wait * 2 + self.doubt.frozen + ms(20)
        {
            return broken("B4", now, format!("a hold since {since:?} is not decided"));
        }
        let answering =
            behaviour.create_latency + behaviour.first_audio + behaviour.done_latency + behaviour.cancel_latency;
        let patience = answering * 3 + config.tool_timeout * 2 + Duration::from_secs(15) + self.doubt.all;
        if let Some((item, since)) = self.unanswered.iter().find(|(_, since)| now > **since + patience) {
            return broken("T1", now, format!("{item}, committed at {since:?}, is not answered"));
        }
        Ok(())
    }

    fn finish(&mut self, world: &World) -> Judgement {
        let now = world.now();
        self.judge_batch(now)?;
        let Some((ended_at, _)) = world.ended else { return Ok(()) };
        if !self.ended {
            return broken("L7", now, "the trace has no end");
        }
        for (call, (response, since)) in &self.tools {
            let Some(done) = self.responses_done.get(response) else { continue };
            let due = (*since).max(*done) + self.plan.config.tool_timeout + self.doubt.frozen + ms(50);
            if !self.tools_told.contains(call) && due < ended_at && !self.model_closed_before(world, due) {
                return broken("N2", due, format!("{call} never got an output"));
            }
        }
        self.judge_goodbye(world)
    }

    fn model_closed_before(&self, world: &World, at: Duration) -> bool {
        world.notes.iter().any(|(noted, note)| matches!(note, Note::ModelLost { .. }) && *noted <= at)
            || self.plan.behaviour.refuse.is_some()
            || self.plan.behaviour.expires_after.is_some()
    }

    /// A goodbye that was heard ends the call: within a second, or when marks are lost, when their time is over (A8).
    fn judge_goodbye(&self, world: &World) -> Judgement {
        let Some(done) = self.goodbye_done else { return Ok(()) };
        let stream = &self.plan.stream;
        // A carrier that is gone without a word returns none either.
        let vanished = stream.close_without_stop && stream.stop_without_close;
        let marks = stream.marks_never || !stream.marks_lost.is_empty();
        let grace = if marks { self.plan.config.mark_grace } else { Duration::ZERO };
        let heard = world.carrier.report().audible.last().map_or(Duration::ZERO, |span| span.end);
        if vanished {
            return Ok(());
        }
        let due = heard.max(self.goodbye_waited_until) + Duration::from_secs(1) + grace + self.doubt.all;
        if done > due {
            return broken(
                "H8",
                done,
                format!("goodbye was heard at {heard:?}, and nothing else to wait for by {due:?}"),
            );
        }
        Ok(())
    }
}

// ── What was reached ─────────────────────────────────────────────────────────────────────────────────────────────────

fn count(plan: &Plan, world: &World, referee: &Referee<'_>, ended: EndReason) -> BTreeMap<String, u64> {
    let mut reached = BTreeMap::new();
    let mut reach = |what: String, times: u64| {
        if times > 0 {
            *reached.entry(what).or_insert(0) += times;
        }
    };
    reach(format!("ended {ended:?}"), 1);
    for (_, note) in &world.notes {
        let what = match note {
            Note::Asking { reason, .. } => format!("asked {reason:?}"),
            Note::NotAsking { reason, guard, waits } => {
                format!("{} {reason:?} {guard:?}", if *waits { "waits" } else { "refused" })
            }
            Note::Collided { reason, .. } => format!("collided {reason:?}"),
            Note::Resumed { back_channel } => {
                format!("resumed{}", if *back_channel { " after a back-channel" } else { "" })
            }
            Note::Dropped { reason, .. } => format!("dropped {reason:?}"),
            Note::GoodbyeWanted { why } => format!("goodbye wanted {why:?}"),
            Note::GoodbyeDone { via } => format!("goodbye done {via:?}"),
            Note::HangingUp { attempt, .. } => format!("hanging up, attempt {attempt}"),
            Note::ToolFinished { failed, .. } => format!("tool {}", if *failed { "failed" } else { "answered" }),
            Note::ModelComplained { error, .. } => format!("complained {error:?}"),
            Note::ModelLost { fatal, .. } => format!("model lost{}", if *fatal { " for good" } else { "" }),
            Note::Odd(what) => format!("odd: {what}"),
            Note::Held => "held".to_owned(),
            Note::Interrupted { .. } => "interrupted".to_owned(),
            Note::GoodbyeWithdrawn => "goodbye withdrawn".to_owned(),
            Note::AlreadyEnded => "already ended".to_owned(),
            Note::Dtmf => "dtmf".to_owned(),
            _ => continue,
        };
        reach(what, 1);
    }
    for kind in ["create", "cancel", "clear", "truncate", "delete", "tool output"] {
        reach(format!("sent {kind}"), referee.counts.get(kind).copied().unwrap_or(0));
    }
    for error in &world.model.record().client_errors {
        reach(format!("rejected {}", error.code.as_deref().unwrap_or("without a code")), 1);
    }
    let goodbye = referee.goodbye_done.is_some();
    reach("A8: goodbye without marks".to_owned(), u64::from(goodbye && plan.stream.marks_never));
    reach("frozen".to_owned(), plan.faults.freezes.len() as u64);
    reach("transcripts never come".to_owned(), u64::from(plan.behaviour.transcription == TranscriptionTiming::Never));
    reach(format!("turns {:?}", plan.config.turns), 1);
    reached
}
