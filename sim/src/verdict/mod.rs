//! Was it a good call? Judged from outside: by what the carrier played, what the model was told, and the trace, which
//! has every input and output in order.
//!
//! *Safety* holds in every call, whatever went wrong. *Liveness* is asked for once nothing new goes wrong: see
//! [`crate::seed::CALM`]. Each check names the rule of `docs/rules.md` that it stands for.
//!
//! Nobody knows better than the links allow what was heard, so what depends on hearing has a tolerance ([`Doubt`]): the
//! way of the audio to the carrier, the way of the marks back, and what was added to both in this call. On good links
//! it is a few frames; a stall of seconds makes it seconds, and the other calls judge more strictly.

mod farewells;
mod playing;
mod referee;
mod sessions;

use std::collections::BTreeMap;
use std::time::Duration;

use call::config::{OnMachine, Turns};
use call::input::{Answerer, CallStatus};
use call::output::DropReason;
use call::trace::Trace;
use call::{CallTime, EndReason, Note};

use self::farewells::Farewells;
pub use self::playing::in_order;
use self::playing::{Heard, judge_playing};
use self::referee::Referee;
use self::sessions::{judge_history, judge_outages};
use crate::carrier::stream::StreamEnd;
use crate::joined::{self, Accepted, Line};
use crate::model::{Behaviour, Record, TranscriptionTiming};
use crate::seed::{CALM, CallerAct, Plan};
use crate::world::{ModelBreak, World};

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
    let mut trace = match Trace::read(&world.trace) {
        Ok(trace) => trace,
        Err(error) => return Err(Violation { rule: "N11", what: error.to_string(), at: world.now() }),
    };
    if world.ended.is_some() && trace.replay() != world.trace {
        return Err(Violation { rule: "N11", what: "the trace replays to other bytes".into(), at: world.now() });
    }
    // It has the times of our clock; everything else here those of the peers'.
    for (at, _) in &mut trace.events {
        let real = plan.faults.real(since_made(*at));
        *at = CallTime::from_micros(u64::try_from(real.as_micros()).unwrap_or(u64::MAX));
    }
    let doubt = Doubt::of(plan);
    let mut referee = Referee::new(plan, &doubt);
    let mut farewells = Farewells::default();
    for (at, event) in &trace.events {
        referee.see(*at, event)?;
        farewells.see(since_made(*at), event, &plan.config)?;
    }
    let (line, record) = (Line::of(world), joined::record(world));
    referee.finish(world, &line)?;
    judge_peers(plan, world, &line, &record)?;
    judge_counts(world)?;
    let accepted = Accepted::of(world, &trace, &record.generated, &plan.clips());
    let heard = Heard::find(plan, &line, &accepted, &record, &doubt)?;
    judge_playing(plan, world, &record, &heard, &doubt, referee.told_after_stream)?;
    judge_history(plan, world, &trace, &record, &heard, &doubt)?;
    judge_outages(plan, world, &heard, &doubt)?;
    let Some((at, ended)) = world.ended else {
        return Err(Violation { rule: "N8", what: "the call never ended".into(), at: world.now() });
    };
    judge_end(plan, world, &line, &doubt, ended, at)?;
    let reached = count(plan, world, &record, &referee, ended);
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
        // Marks that came back while we stood still look late, by no more than what can lie at the carrier; a clock that
        // leapt takes that for played, each time.
        let thaw = self.frozen.min((plan.config.lead + frame_group(plan)) * (1 + plan.faults.leaps.len() as u32));
        // What lay at the carrier when its socket broke, the carrier alone knows to the frame.
        let broken = if plan.faults.stream_breaks.is_empty() { Duration::ZERO } else { frame_group(plan) };
        broken + ms(20) + self.there + self.back + thaw + plan.stream.post_clear_tail
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whose clock leapt takes what lay at the carrier for played, and if no mark returns never learns better: how much.
fn taken_for_played(plan: &Plan, at: Duration) -> Duration {
    let leaps = plan.faults.leaps.iter().filter(|(when, _)| *when <= at).count() as u32;
    if leaps == 0 { Duration::ZERO } else { plan.config.lead.max(frame_group(plan)) * (1 + leaps) }
}

/// The longest message of audio.
fn frame_group(plan: &Plan) -> Duration {
    ms(20) * plan.config.group_frames.max(1)
}

fn since_made(at: CallTime) -> Duration {
    Duration::from_micros(at.as_micros())
}

// ── What the peers complain about ────────────────────────────────────────────────────────────────────────────────────

fn judge_peers(plan: &Plan, world: &World, line: &Line, record: &Record) -> Judgement {
    if let Some(what) = line.violations.first() {
        return broken("A6", world.now(), format!("the carrier would warn: {what}"));
    }
    for error in &record.client_errors {
        let behaviours = || plan.behaviours();
        let code = error.code.as_deref().unwrap_or_default();
        let permitted = match code {
            // Our cancel and the end of its response met on the way (B6).
            "response_cancel_not_active" => true,
            // Only the model's own responses can be in the way of ours (R8), and those that it is not quite done with.
            "conversation_already_has_active_response" => {
                let in_the_way =
                    |behaviour: &Behaviour| !behaviour.spontaneous.is_empty() || !behaviour.lingers.is_zero();
                behaviours().any(in_the_way) || plan.config.turns == Turns::Model
            }
            "session_expired" => behaviours().any(|behaviour| behaviour.expires_after.is_some()),
            "edit_rejected" => behaviours().any(|behaviour| behaviour.rejected_edits > 0),
            _ => behaviours()
                .any(|behaviour| behaviour.reject_configuration == Some(code) || behaviour.refuse == Some(code)),
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

// ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn judge_end(plan: &Plan, world: &World, line: &Line, doubt: &Doubt, ended: EndReason, at: Duration) -> Judgement {
    let noted = |wanted: fn(&Note) -> bool| world.notes.iter().any(|(_, note)| wanted(note));
    let hung_up = noted(|note| matches!(note, Note::HangingUp { .. }));
    let faults = &plan.faults;
    let terminal = faults.statuses.iter().any(|(_, status)| status.is_terminal());
    let explained = match ended {
        EndReason::CallerHungUp => {
            terminal
                || matches!(line.end, Some(StreamEnd::CallerHungUp | StreamEnd::CallerGaveUp | StreamEnd::TooLong))
                || faults.stream_breaks.iter().any(|(_, says)| *says == Some(CallStatus::Completed))
                || faults.hang_ups.contains(&crate::world::HangUpFault::FailsAndWorks)
        }
        EndReason::StreamLost => {
            !faults.stream_breaks.is_empty()
                || faults.no_last_status
                || plan.stream.stop_without_close
                // A carrier that said nothing for so long.
                || plan.stream.media_gaps.iter().any(|gap| gap.end - gap.start + doubt.all >= plan.config.carrier_silence_max)
                || doubt.all >= plan.config.carrier_silence_max.min(plan.config.stream_lost_grace)
        }
        EndReason::NeverStarted => {
            faults.no_stream
                || !faults.stream_breaks.is_empty()
                || plan.answer_delay + doubt.all >= plan.config.announced_max
        }
        EndReason::NotAnswered | EndReason::Busy | EndReason::Unreachable | EndReason::Canceled => {
            terminal
                || !faults.stream_breaks.is_empty()
                || faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::HangUp)
        }
        EndReason::OperatorHungUp => faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::HangUp),
        EndReason::Stopped => faults.operator.iter().any(|(_, input)| *input == call::OperatorInput::SayGoodbye),
        EndReason::MaxDuration => faults.shown(at) >= plan.config.call_max,
        EndReason::Silence => plan.config.silence_max.is_some_and(|silence| faults.shown(at) >= silence * 2),
        EndReason::Goodbye => hung_up,
        EndReason::ModelFailed => {
            hung_up && noted(|note| matches!(note, Note::GoodbyeDone { .. } | Note::HangingUp { .. }))
        }
        EndReason::Machine => {
            plan.config.on_machine == OnMachine::HangUp && matches!(faults.answered_by, Some((_, Answerer::Machine)))
        }
        EndReason::Fault => false,
    };
    if !explained {
        return broken("L10", at, format!("ended as {ended:?}, and nobody did that"));
    }

    // Hung up while the agent could still be heard.
    let goodbye =
        matches!(ended, EndReason::Goodbye | EndReason::Silence | EndReason::Stopped | EndReason::ModelFailed);
    let limit = noted(|note| matches!(note, Note::GoodbyeDone { .. }));
    if let Some(cut) = world.cut_by_hang_up
        && (goodbye || (ended == EndReason::MaxDuration && limit))
        // The silence that fills up the last frame does not count; what is cleared anyway does not either.
        && cut > doubt.there + ms(20) + taken_for_played(plan, at)
        && !noted(|note| matches!(note, Note::HangingUp { attempt: 2.., .. }))
        && !interrupted_before(world, doubt)
    {
        return broken("H8", at, format!("{cut:?} of the agent were cut off"));
    }

    judge_silence(plan, world, line, doubt, at)?;

    // Once nothing goes wrong and the caller is quiet, two silences and a goodbye end any call.
    let quiet_from = line.steps.get(plan.caller.len()).map_or(CALM, |step| step.began_at.max(CALM));
    let config = &plan.config;
    let answering = answering(plan);
    let a_reply = answering + config.tool_timeout + Duration::from_secs(15);
    let hanging_up = (config.hang_up_timeout + config.hang_up_retry) * config.hang_up_attempts + config.hang_up_grace;
    let talking = config.silence_max.map_or(config.call_max + config.call_max_grace, |silence| silence * 2);
    // Answers that are all cut off as runaways (A1) let nobody say goodbye.
    let talking = if noted(|note| matches!(note, Note::Dropped { reason: DropReason::QueueFull, .. })) {
        talking.max(config.call_max + config.call_max_grace)
    } else {
        talking
    };
    let limit = quiet_from + talking + a_reply * 4 + hanging_up + config.mark_grace + doubt.all + deaf(plan, world);
    if at > limit {
        return broken(
            "N8",
            at,
            format!("nothing was wrong since {quiet_from:?}, the call should have ended by {limit:?}"),
        );
    }
    Ok(())
}

/// How long the slowest of the call's sessions takes for everything but talking.
fn answering(plan: &Plan) -> Duration {
    let times = plan.behaviours().map(|behaviour| {
        behaviour.create_latency + behaviour.first_audio + behaviour.done_latency + behaviour.cancel_latency
    });
    times.max().unwrap_or_default()
}

/// How long sessions that die may hold a call up without anybody's knowing.
fn deaf(plan: &Plan, world: &World) -> Duration {
    let config = &plan.config;
    // A model that was cut off while it heard the caller speak does not say that the caller stopped (R10).
    let cut_off = plan.faults.model_breaks.iter().any(|(_, how)| *how == ModelBreak::Silent);
    let cut_off = if cut_off { config.floor_max + config.requested_timeout } else { Duration::ZERO };
    // What was asked of a session that died over it is not always asked of the next.
    let replaced = world.sessions.iter().filter(|session| session.opened > CALM).count() as u32;
    cut_off + (config.requested_timeout + config.configure_timeout) * replaced
}

/// Whether a `clear` was on its way when the hang-up overtook it.
fn interrupted_before(world: &World, doubt: &Doubt) -> bool {
    let at = |wanted: fn(&Note) -> bool| world.notes.iter().rev().find(|(_, note)| wanted(note)).map(|(at, _)| *at);
    let cleared = at(|note| matches!(note, Note::Interrupted { .. } | Note::Held));
    let hung_up = at(|note| matches!(note, Note::HangingUp { .. }));
    cleared.zip(hung_up).is_some_and(|(cleared, hung_up)| hung_up < cleared + doubt.there + ms(1))
}

/// Once nothing goes wrong, nobody sits in silence: the agent asks, or says goodbye (N8).
fn judge_silence(plan: &Plan, world: &World, line: &Line, doubt: &Doubt, ended: Duration) -> Judgement {
    let Some(silence_max) = plan.config.silence_max else { return Ok(()) };
    let hanging_up = world.notes.iter().find(|(_, note)| matches!(note, Note::HangingUp { .. }));
    let until = [Some(ended), line.ended_at, hanging_up.map(|(at, _)| *at)].into_iter().flatten().min();
    let spoken = plan.caller.iter().zip(&line.steps).filter(|(act, _)| matches!(act, CallerAct::Speak { .. }));
    let mut sounds: Vec<(Duration, Duration)> =
        spoken.map(|(_, step)| (step.began_at, step.ended_at.unwrap_or(ended))).collect();
    sounds.extend(line.audible.iter().map(|span| (span.start, span.end)));
    sounds.sort_unstable();
    sounds.push((until.unwrap_or(ended), ended));
    let answering = answering(plan);
    // One attempt to speak may come to nothing, and the model may ask for patience before the next (R10).
    let patience = answering * 3 + plan.config.tool_timeout + Duration::from_secs(6);
    let allowed = silence_max * 2 + patience + deaf(plan, world) + doubt.all;
    let mut quiet_from = line.started_at.max(CALM);
    for (from, to) in sounds {
        if from > quiet_from + allowed {
            return broken("N8", from, format!("silence since {quiet_from:?}, {allowed:?} are allowed"));
        }
        quiet_from = quiet_from.max(to);
    }
    Ok(())
}

// ── What was reached ─────────────────────────────────────────────────────────────────────────────────────────────────

fn count(
    plan: &Plan,
    world: &World,
    record: &Record,
    referee: &Referee<'_>,
    ended: EndReason,
) -> BTreeMap<String, u64> {
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
    for (kind, times) in &referee.counts {
        reach(format!("sent {kind}"), *times);
    }
    for error in &record.client_errors {
        reach(format!("rejected {}", error.code.as_deref().unwrap_or("without a code")), 1);
    }
    reach("session after a loss".to_owned(), world.sessions.len().saturating_sub(1) as u64);
    reach("stream came back".to_owned(), world.earlier.len() as u64);
    reach(format!("direction {:?}", plan.direction), 1);
    let goodbye = referee.goodbye_done.is_some();
    reach("A8: goodbye without marks".to_owned(), u64::from(goodbye && plan.stream.marks_never));
    reach("frozen".to_owned(), plan.faults.freezes.len() as u64);
    reach("clock leapt".to_owned(), plan.faults.leaps.len() as u64);
    reach("transcripts never come".to_owned(), u64::from(plan.behaviour.transcription == TranscriptionTiming::Never));
    reach(format!("turns {:?}", plan.config.turns), 1);
    reached
}
