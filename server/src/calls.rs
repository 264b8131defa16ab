//! The calls there are, and the last that there were: who is reached under which name. Routing only; what a call
//! knows is the call's own (L6).

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call::output::EndReason;
use call::summary::Turn;
use call::{Input, Note, OperatorInput, Summary};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::driver::{Driver, Ended, Mail, Onlookers, Setup};
use crate::metrics::{Measure, Measured, Metrics, Rejected, name_of};
use crate::record::{CallFacts, CallRecord, Folder, Recorded, Recorder, TRACE, Tracer};
use crate::spans::{Span, Spans};

/// Messages to a call from outside its sockets: a handful in a whole call, so a full box is a call that hangs.
const MAIL_MAX: usize = 32;

/// Ended calls kept in memory; older ones are on the disk.
const FINISHED_MAX: usize = 256;

/// Webhook answers remembered so that a repeated delivery gets the same bytes (N3). Carriers repeat within seconds.
const ANSWERS_MAX: usize = 1_024;

/// What the writers of recording and trace get after the call, and the record's own writing. Beyond, the disk hangs.
const WRITERS_MAX: Duration = Duration::from_secs(5);

/// Events that wait for a slow observer; beyond, it misses the oldest.
const EVENTS_MAX: usize = 1_024;

/// Something that happened in a call, for whoever watches.
#[derive(Clone, Debug)]
pub struct CallEvent {
    pub call: Uuid,
    pub what: Happening,
}

#[derive(Clone, Debug)]
pub enum Happening {
    /// Somebody's turn is complete.
    Turn(Turn),
    Note(Note),
}

/// The registry. Clones are the same registry.
#[derive(Clone)]
pub struct Calls {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    events: broadcast::Sender<CallEvent>,
    metrics: Metrics,
    spans: Option<mpsc::Sender<Span>>,
    max_calls: usize,
    token_max: Duration,
    data: PathBuf,
}

#[derive(Default)]
struct State {
    by_id: HashMap<Uuid, Live>,
    by_sid: HashMap<String, Uuid>,
    by_token: HashMap<Token, Uuid>,
    /// Oldest first.
    finished: VecDeque<Arc<CallRecord>>,
    /// By the carrier's name of the call, oldest first.
    answers: VecDeque<(String, String)>,
}

struct Live {
    facts: CallFacts,
    mail: mpsc::Sender<Mail>,
    token: Token,
    ticket: Ticket,
}

/// What the call's token is still good for.
#[derive(Clone, Copy)]
enum Ticket {
    GoodUntil(Instant),
    Used,
}

/// Admits one media stream to one call: 128 bits from the system's generator, in hexadecimal.
type Token = String;

/// How a webhook is to be answered.
pub(crate) enum Announced {
    /// A new call; run it with [`Calls::run`].
    New { answer: String, call: NewCall },
    /// Answered before, with these bytes.
    Again { answer: String },
}

/// A call that was admitted and does not run yet.
pub(crate) struct NewCall {
    facts: CallFacts,
    mail: mpsc::Receiver<Mail>,
}

/// Why a media stream is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoStream {
    Unknown,
    Expired,
    /// The call has its stream (L5).
    Used,
}

impl Calls {
    pub(crate) fn new(max_calls: usize, token_max: Duration, data: PathBuf) -> Self {
        let (changes, _) = watch::channel(0);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let metrics = Metrics::default();
        Calls { state: Arc::default(), changes, events, metrics, spans: None, max_calls, token_max, data }
    }

    /// Calls that begin from now on put their spans there.
    #[cfg(feature = "otel")]
    pub(crate) fn export_spans_to(&mut self, spans: mpsc::Sender<Span>) {
        self.spans = Some(spans);
    }

    /// Calls that are going on.
    pub fn live(&self) -> usize {
        self.state().by_id.len()
    }

    /// The last calls that ended, oldest first, at most 256.
    pub fn finished(&self) -> Vec<Arc<CallRecord>> {
        self.state().finished.iter().cloned().collect()
    }

    /// Waits until `count` calls have ended since the server began, and returns the last of them.
    pub async fn wait_for_finished(&self, count: u64) -> Option<Arc<CallRecord>> {
        let mut changes = self.changes.subscribe();
        // The sender is ours, so it is there.
        let _ = changes.wait_for(|finished| *finished >= count).await;
        self.state().finished.back().cloned()
    }

    /// What happens in calls from now on.
    pub fn watch(&self) -> broadcast::Receiver<CallEvent> {
        self.events.subscribe()
    }

    /// The folder of a call's files.
    pub fn folder(&self, id: Uuid) -> PathBuf {
        Folder::of(&self.data, id).path().to_owned()
    }

    /// What was measured in all calls so far.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether one more call would be admitted.
    pub(crate) fn has_room(&self) -> bool {
        self.live() < self.max_calls
    }

    /// A webhook announced a call. `welcome` writes the answer for a token, `busy` is the one when there is no room.
    /// Deciding and entering are one step, so the limit is exact (N9) and a delivery that comes twice starts once (N3).
    pub(crate) fn announce(
        &self,
        facts: CallFacts,
        welcome: impl FnOnce(&str) -> String,
        busy: impl FnOnce() -> String,
    ) -> Result<Announced, getrandom::Error> {
        let token = new_token()?;
        let mut state = self.state();
        if let Some((_, answer)) = state.answers.iter().find(|(sid, _)| *sid == facts.call_sid) {
            return Ok(Announced::Again { answer: answer.clone() });
        }
        let admitted = state.by_id.len() < self.max_calls;
        let answer = if admitted { welcome(&token) } else { busy() };
        if state.answers.len() >= ANSWERS_MAX {
            state.answers.pop_front();
        }
        state.answers.push_back((facts.call_sid.clone(), answer.clone()));
        if !admitted {
            self.metrics.rejected(Rejected::Busy);
            return Ok(Announced::Again { answer });
        }
        let (sender, mail) = mpsc::channel(MAIL_MAX);
        state.by_sid.insert(facts.call_sid.clone(), facts.id);
        state.by_token.insert(token.clone(), facts.id);
        let ticket = Ticket::GoodUntil(Instant::now() + self.token_max);
        state.by_id.insert(facts.id, Live { facts: facts.clone(), mail: sender, token, ticket });
        Ok(Announced::New { answer, call: NewCall { facts, mail } })
    }

    /// Exchanges a token for the call that it admits to. Works once.
    pub(crate) fn redeem(&self, token: &str) -> Result<mpsc::Sender<Mail>, NoStream> {
        let mut state = self.state();
        let id = *state.by_token.get(token).ok_or(NoStream::Unknown)?;
        let live = state.by_id.get_mut(&id).ok_or(NoStream::Unknown)?;
        match live.ticket {
            Ticket::Used => Err(NoStream::Used),
            Ticket::GoodUntil(until) if until < Instant::now() => Err(NoStream::Expired),
            Ticket::GoodUntil(_) => {
                live.ticket = Ticket::Used;
                Ok(live.mail.clone())
            }
        }
    }

    /// Passes something on to the call that the carrier calls `sid`. Whether there is one that takes it.
    pub(crate) fn tell(&self, sid: &str, input: Input) -> bool {
        let state = self.state();
        let live = state.by_sid.get(sid).and_then(|id| state.by_id.get(id));
        live.is_some_and(|live| live.mail.try_send(Mail::Input(input)).is_ok())
    }

    /// What is known of a call that is going on.
    pub(crate) fn facts(&self, id: Uuid) -> Option<CallFacts> {
        self.state().by_id.get(&id).map(|live| live.facts.clone())
    }

    pub(crate) fn record(&self, id: Uuid) -> Option<Arc<CallRecord>> {
        self.state().finished.iter().rev().find(|record| record.facts.id == id).cloned()
    }

    /// Runs a call to its end and keeps what it leaves.
    pub(crate) async fn run(self, call: NewCall, setup: Setup) {
        let NewCall { facts, mail } = call;
        let active = self.metrics.call_began(&facts.agent);
        let span = tracing::info_span!("call", id = %facts.id);
        let record = self.drive(&facts, mail, setup).instrument(span.clone()).await;

        let folder = Folder::of(&self.data, facts.id);
        match tokio::time::timeout(WRITERS_MAX, folder.finish(&record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(call = %facts.id, %error, "the call's record could not be written"),
            Err(_) => tracing::error!(call = %facts.id, "the call's record could not be written in time"),
        }
        // The last line of a call (O4).
        let (ended_reason, ended_by) = (name_of(record.ended_reason), name_of(record.ended_by));
        span.in_scope(|| tracing::info!(ended_reason, ended_by, "call ended"));
        drop(active);
        self.finish(record);
    }

    async fn drive(&self, facts: &CallFacts, mail: mpsc::Receiver<Mail>, setup: Setup) -> CallRecord {
        // The writers open their files themselves, so that the model need not wait for the disk (N1).
        let folder = Folder::of(&self.data, facts.id);
        let (recorder, recording) = Recorder::new(folder.recording());
        let (tracer, trace) = Tracer::new(folder.trace());
        let made = folder.clone();
        let writers = tokio::spawn(async move {
            made.create().await?;
            // Two files, two paces.
            let (recording, trace) = futures_util::future::join(recording, trace).await;
            Ok::<_, std::io::Error>((recording, trace))
        });

        // A task of its own, so that a panic costs this call and no other.
        let its_facts = facts.clone();
        let events = self.events.clone();
        let onlookers = Onlookers { metrics: self.metrics.clone(), spans: Spans::new(facts, self.spans.clone()) };
        let driver =
            async move { Driver::new(&its_facts, setup, mail, recorder, tracer, events, onlookers).run().await };
        let driver = tokio::spawn(driver.in_current_span());
        let mut ended = driver.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the call failed: a bug in Patchcord, please report it");
            Ended { reason: EndReason::Fault, summary: Summary::default(), answered_at: None, abandoned: 0 }
        });

        let (recorded, traced) = match tokio::time::timeout(WRITERS_MAX, writers).await {
            Ok(Ok(Ok((recording, traced)))) => {
                (written(recording, "the recording").flatten(), written(traced, "the trace") == Some(true))
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(%error, "the call's folder could not be made; check PATCHCORD_DATA");
                (None, false)
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!("recording and trace could not be finished in time");
                (None, false)
            }
        };
        let recording = recorded.map(|Recorded { recording, voice_to_voice }| {
            let mut measured = Measured::default();
            for answer in &voice_to_voice {
                measured.of(Measure::VoiceToVoice).add(answer.as_secs_f64());
            }
            self.metrics.measured(&measured);
            ended.summary.latency.voice_to_voice =
                voice_to_voice.iter().map(|answer| answer.as_millis() as u32).collect();
            recording
        });
        self.metrics.call_ended(&facts.agent, ended.reason, ended.reason.by());
        CallRecord {
            version: CallRecord::VERSION,
            facts: facts.clone(),
            answered_at: ended.answered_at,
            ended_at: Timestamp::now(),
            ended_reason: ended.reason,
            ended_by: ended.reason.by(),
            summary: ended.summary,
            recording,
            trace: traced.then(|| TRACE.to_owned()),
            abandoned: ended.abandoned,
        }
    }

    fn finish(&self, record: CallRecord) {
        let mut state = self.state();
        if let Some(live) = state.by_id.remove(&record.facts.id) {
            state.by_token.remove(&live.token);
        }
        state.by_sid.remove(&record.facts.call_sid);
        if state.finished.len() >= FINISHED_MAX {
            state.finished.pop_front();
        }
        state.finished.push_back(Arc::new(record));
        drop(state);
        self.changes.send_modify(|finished| *finished += 1);
    }

    /// Ends all calls, and waits for it at most this long.
    pub(crate) async fn hang_up_all(&self, limit: Duration) {
        for live in self.state().by_id.values() {
            // A call whose box is full is not listening; the limit is for it.
            let _ = live.mail.try_send(Mail::Input(Input::Operator(OperatorInput::HangUp)));
        }
        let mut changes = self.changes.subscribe();
        let all_ended = async { while self.live() > 0 && changes.changed().await.is_ok() {} };
        if tokio::time::timeout(limit, all_ended).await.is_err() {
            tracing::warn!(calls = self.live(), "stopping with calls going on");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way; and one call's bug should not end the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn written<T>(result: std::io::Result<T>, what: &str) -> Option<T> {
    result.inspect_err(|error| tracing::error!(%error, "{what} could not be written")).ok()
}

fn new_token() -> Result<Token, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_MAX: Duration = Duration::from_secs(60);

    fn calls(max_calls: usize) -> Calls {
        Calls::new(max_calls, TOKEN_MAX, PathBuf::from("unused"))
    }

    fn facts(call_sid: &str) -> CallFacts {
        CallFacts {
            id: Uuid::now_v7(),
            carrier: "twilio",
            call_sid: call_sid.to_owned(),
            direction: "inbound",
            from: String::new(),
            to: String::new(),
            agent: "default".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The token is the answer.
    fn announce(calls: &Calls, call_sid: &str) -> (String, Option<NewCall>) {
        match calls.announce(facts(call_sid), str::to_owned, || "busy".to_owned()).unwrap() {
            Announced::New { answer, call } => (answer, Some(call)),
            Announced::Again { answer } => (answer, None),
        }
    }

    fn end(calls: &Calls, call: &NewCall) {
        calls.finish(CallRecord {
            version: CallRecord::VERSION,
            facts: call.facts.clone(),
            answered_at: None,
            ended_at: Timestamp::UNIX_EPOCH,
            ended_reason: EndReason::CallerHungUp,
            ended_by: EndReason::CallerHungUp.by(),
            summary: Summary::default(),
            recording: None,
            trace: None,
            abandoned: 0,
        });
    }

    #[tokio::test]
    async fn a_token_works_once() {
        let calls = calls(10);
        let (token, _call) = announce(&calls, "CA1");
        assert!(calls.redeem(&token).is_ok());
        assert_eq!(calls.redeem(&token).err(), Some(NoStream::Used));
        assert_eq!(calls.redeem("another").err(), Some(NoStream::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires() {
        let calls = calls(10);
        let (late, _call) = announce(&calls, "CA1");
        tokio::time::advance(TOKEN_MAX).await;
        let (in_time, _call) = announce(&calls, "CA2");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(calls.redeem(&late).err(), Some(NoStream::Expired));
        assert!(calls.redeem(&in_time).is_ok());
    }

    #[tokio::test]
    async fn a_token_goes_with_its_call() {
        let calls = calls(10);
        let (token, call) = announce(&calls, "CA1");
        end(&calls, &call.unwrap());
        assert_eq!(calls.redeem(&token).err(), Some(NoStream::Unknown));
        assert!(calls.state().by_token.is_empty() && calls.state().by_sid.is_empty());
    }

    #[tokio::test]
    async fn a_limit_of_two_admits_two() {
        let calls = calls(2);
        let (_, first) = announce(&calls, "CA1");
        let (_, second) = announce(&calls, "CA2");
        assert!(second.is_some() && !calls.has_room());
        assert_eq!(announce(&calls, "CA3").0, "busy");
        end(&calls, &first.unwrap());
        // The carrier was told busy; a repeated delivery is not told otherwise (N3).
        assert_eq!(announce(&calls, "CA3").0, "busy");
        assert!(announce(&calls, "CA4").1.is_some());
    }

    #[tokio::test]
    async fn a_repeated_webhook_gets_the_same_answer_even_after_the_call() {
        let calls = calls(2);
        let (answer, call) = announce(&calls, "CA1");
        assert_eq!(announce(&calls, "CA1").0, answer);
        end(&calls, &call.unwrap());
        let (again, none) = announce(&calls, "CA1");
        assert_eq!(again, answer);
        assert!(none.is_none() && calls.live() == 0);
    }

    #[tokio::test]
    async fn a_call_that_does_not_listen_bounds_its_mail() {
        let calls = calls(1);
        let (_, call) = announce(&calls, "CA1");
        let told = (0..MAIL_MAX + 5).filter(|_| calls.tell("CA1", Input::TimePassed)).count();
        assert_eq!(told, MAIL_MAX);
        assert!(!calls.tell("CA2", Input::TimePassed));
        drop(call);
    }

    #[tokio::test]
    async fn the_ended_calls_in_memory_are_bounded() {
        let calls = calls(1);
        for index in 0..FINISHED_MAX + 3 {
            let (_, call) = announce(&calls, &format!("CA{index}"));
            end(&calls, &call.unwrap());
        }
        let finished = calls.finished();
        assert_eq!((finished.len(), finished[0].facts.call_sid.as_str()), (FINISHED_MAX, "CA3"));
        let last = calls.wait_for_finished(FINISHED_MAX as u64 + 3).await.unwrap();
        assert_eq!(calls.record(last.facts.id), Some(last));
    }
}
