//! The calls there are, and the last that there were: who is reached under which name. Routing only; what a call
//! knows is the call's own (L6).

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call::output::EndReason;
use call::summary::Turn;
use call::{CallStatus, CarrierInput, Input, Note, OperatorInput, Summary};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::driver::{Driver, Ended, Mail, Onlookers, Setup};
use crate::metrics::{Measure, Metrics, Rejected, name_of};
use crate::record::{CallFacts, CallRecord, CarrierRecording, Disk, Folder, Recorded, Recorder, TRACE, Tracer};
use crate::spans::{Span, Spans};
use crate::store::Store;

/// Messages to a call from outside its sockets: a handful in a whole call, so a full box is a call that hangs.
const MAIL_MAX: usize = 32;

/// Ended calls kept in memory; older ones are on the disk.
const FINISHED_MAX: usize = 256;

/// Webhook answers remembered so that a repeated delivery gets the same bytes (N3). Carriers repeat within seconds.
const ANSWERS_MAX: usize = 1_024;

/// What the writers of recording and trace get after the call, and the record's own writing. Beyond, the disk hangs.
const WRITERS_MAX: Duration = Duration::from_secs(5);

/// How long a webhook waits for a call to decide about another stream. The carrier waits 15 s for us.
const DECISION_MAX: Duration = Duration::from_secs(2);

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
    disk: Disk,
    store: Option<Store>,
    /// Held by whoever writes a record again, so that the last news is what stays.
    rewriting: Arc<tokio::sync::Mutex<()>>,
}

/// How many of what the registry holds. All are bounded by the calls there are, or by a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub calls: usize,
    pub call_sids: usize,
    pub tokens: usize,
    pub answers: usize,
    pub finished: usize,
}

#[derive(Default)]
struct State {
    by_id: HashMap<Uuid, Live>,
    by_sid: HashMap<String, Uuid>,
    by_token: HashMap<Token, Uuid>,
    /// The server is stopping, and takes no call any more.
    closed: bool,
    /// Calls of ours that nobody has answered yet; `outbound` follows them. Each has its place already (N9).
    placed: HashMap<Uuid, CallFacts>,
    /// Oldest first.
    finished: VecDeque<Arc<CallRecord>>,
    /// Oldest first. Those of calls that go on are with the calls.
    answers: VecDeque<Answered>,
}

/// A webhook that was answered.
struct Answered {
    call_sid: String,
    delivery: Option<String>,
    answer: String,
}

impl State {
    /// Places that are taken.
    fn occupied(&self) -> usize {
        self.by_id.len() + self.placed.len()
    }

    /// Whether there is a place for one more call with this agent (N9).
    fn place_for(&self, agent: &str, calls_max: usize, agent_calls_max: Option<usize>) -> Result<(), NoPlace> {
        if self.closed {
            return Err(NoPlace::Closed);
        }
        let with_agent = || {
            let live = self.by_id.values().map(|live| &live.facts);
            live.chain(self.placed.values()).filter(|facts| facts.agent == agent).count()
        };
        let has_place = self.occupied() < calls_max && agent_calls_max.is_none_or(|max| with_agent() < max);
        if has_place { Ok(()) } else { Err(NoPlace::Full) }
    }
}

struct Live {
    facts: CallFacts,
    mail: mpsc::Sender<Mail>,
    token: Token,
    ticket: Ticket,
    /// What the webhook that announced it was answered with.
    answered: Answered,
    /// Number of the newest status callback.
    last_status: Option<u32>,
    carrier_recording: Option<CarrierRecording>,
}

/// A call that a webhook tells of.
pub(crate) struct Announcement {
    pub facts: CallFacts,
    /// The carrier's name of this delivery of it.
    pub delivery: Option<String>,
    /// Calls at once with its agent.
    pub agent_calls_max: Option<usize>,
}

/// What the call's token is still good for.
#[derive(Clone, Copy)]
enum Ticket {
    GoodUntil(Instant),
    Used,
}

/// Admits one media stream to one call: 128 bits from the system's generator, in hexadecimal.
pub(crate) type Token = String;

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

/// Why a call is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoPlace {
    /// It is one too many.
    Full,
    /// The server is stopping.
    Closed,
}

/// What the carrier said of its recording was noted.
pub(crate) struct Noted {
    pub call: Uuid,
    /// The call is over, and its record has news.
    pub is_to_be_written: bool,
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
        let (store, rewriting, metrics, spans) = (None, Arc::default(), Metrics::default(), None);
        let disk = Disk::default();
        Calls {
            state: Arc::default(),
            changes,
            events,
            metrics,
            spans,
            max_calls,
            token_max,
            data,
            disk,
            store,
            rewriting,
        }
    }

    /// Calls that begin from now on put their spans there.
    #[cfg(feature = "otel")]
    pub(crate) fn export_spans_to(&mut self, spans: mpsc::Sender<Span>) {
        self.spans = Some(spans);
    }

    /// The same, kept in this store too.
    pub(crate) fn kept_in(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Calls that are going on, those among them that we placed and nobody has answered yet.
    pub fn live(&self) -> usize {
        self.state().occupied()
    }

    pub fn held(&self) -> Held {
        let state = self.state();
        Held {
            calls: state.by_id.len(),
            call_sids: state.by_sid.len(),
            tokens: state.by_token.len(),
            answers: state.answers.len(),
            finished: state.finished.len(),
        }
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

    /// Waits for the record of a call that ended, and is as wanted: what the carrier says of it may come later.
    pub async fn wait_for_record(&self, mut wanted: impl FnMut(&CallRecord) -> bool) -> Arc<CallRecord> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(record) = self.state().finished.iter().find(|record| wanted(record)) {
                return record.clone();
            }
            // The sender is ours, so it is there.
            let _ = changes.changed().await;
        }
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

    /// Admits no call from now on. Whoever looks afterwards and finds no call going on, will find none later.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// A webhook announced a call. `welcome` writes the answer for a token, `refuse` the one when it is not taken.
    /// Deciding and entering are one step, so the limits are exact (N9), a delivery that comes twice starts once (N3), and
    /// none slips in when the server stops.
    ///
    /// While a call goes on, whatever announces it again gets its answer. One that is over may be announced anew, as when
    /// another application gives the caller back to us; but that is another delivery, and the carrier says so.
    pub(crate) fn announce(
        &self,
        announcement: Announcement,
        welcome: impl FnOnce(&str) -> String,
        refuse: impl FnOnce(NoPlace) -> String,
    ) -> Result<Announced, getrandom::Error> {
        let Announcement { facts, delivery, agent_calls_max } = announcement;
        let token = new_token()?;
        let mut state = self.state();
        if let Some(before) = state.answered(&facts.call_sid, delivery.as_deref()) {
            return Ok(Announced::Again { answer: before.answer.clone() });
        }
        // One that we placed has its place.
        let place = match state.placed.remove(&facts.id) {
            Some(_) => Ok(()),
            None => state.place_for(&facts.agent, self.max_calls, agent_calls_max),
        };
        let answer = place.map_or_else(refuse, |()| welcome(&token));
        let answered = Answered { call_sid: facts.call_sid.clone(), delivery, answer: answer.clone() };
        if let Err(why) = place {
            state.remember(answered);
            self.metrics.rejected(match why {
                NoPlace::Full => Rejected::Busy,
                NoPlace::Closed => Rejected::Draining,
            });
            return Ok(Announced::Again { answer });
        }
        let (sender, mail) = mpsc::channel(MAIL_MAX);
        state.by_sid.insert(facts.call_sid.clone(), facts.id);
        state.by_token.insert(token.clone(), facts.id);
        let live = Live {
            facts: facts.clone(),
            mail: sender,
            token,
            ticket: Ticket::GoodUntil(Instant::now() + self.token_max),
            answered,
            last_status: None,
            carrier_recording: None,
        };
        state.by_id.insert(facts.id, live);
        if let Some(store) = &self.store {
            store.begun(&facts);
        }
        Ok(Announced::New { answer, call: NewCall { facts, mail } })
    }

    /// Takes a place for a call that we are going to place; exact, as for calls that come (N9).
    pub(crate) fn place(&self, facts: &CallFacts, agent_calls_max: Option<usize>) -> Result<(), NoPlace> {
        let mut state = self.state();
        state.place_for(&facts.agent, self.max_calls, agent_calls_max)?;
        state.placed.insert(facts.id, facts.clone());
        Ok(())
    }

    /// More is known of a call that we placed: its name, or that it is kept from now on.
    pub(crate) fn placed(&self, facts: &CallFacts) {
        let mut state = self.state();
        // Under the lock, so that the row of its end cannot overtake this one.
        if let Some(placed) = state.placed.get_mut(&facts.id) {
            placed.clone_from(facts);
            if let Some(store) = &self.store {
                store.begun(facts);
            }
        }
    }

    /// Gives the place back of a call that was not placed after all.
    pub(crate) fn unplace(&self, id: Uuid) {
        self.state().placed.remove(&id);
    }

    /// How the webhook about this call was answered, if it was.
    pub(crate) fn answered(&self, sid: &str) -> Option<String> {
        self.state().answered(sid, None).map(|answered| answered.answer.clone())
    }

    /// Whether there is, or was lately, a call that the carrier calls so.
    pub(crate) fn knows(&self, sid: &str) -> bool {
        let state = self.state();
        state.by_sid.contains_key(sid)
            || state.answers.iter().any(|answered| answered.call_sid == sid)
            || state.finished.iter().any(|record| record.facts.call_sid == sid)
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

    /// The stream of the call that the carrier calls `sid` is over; `status` is how the call itself stands. If the call
    /// wants another stream (N6), the token for it: the same one until it is used, so that a webhook which comes twice
    /// gets the same answer (N3).
    pub(crate) async fn after_stream(&self, sid: &str, status: CallStatus) -> Option<String> {
        let mail = {
            let state = self.state();
            state.by_sid.get(sid).and_then(|id| state.by_id.get(id))?.mail.clone()
        };
        let (goes_on, decision) = oneshot::channel();
        mail.try_send(Mail::AfterStream { status, goes_on }).ok()?;
        // The call's loop answers at once, or is no more.
        if !tokio::time::timeout(DECISION_MAX, decision).await.ok()?.ok()? {
            return None;
        }
        let fresh = new_token().ok()?;
        let mut state = self.state();
        let State { by_id, by_sid, by_token, .. } = &mut *state;
        let live = by_sid.get(sid).and_then(|id| by_id.get_mut(id))?;
        let now = Instant::now();
        if !matches!(live.ticket, Ticket::GoodUntil(until) if now <= until) {
            by_token.remove(&live.token);
            by_token.insert(fresh.clone(), live.facts.id);
            live.token = fresh;
            live.ticket = Ticket::GoodUntil(now + self.token_max);
        }
        Some(live.token.clone())
    }

    /// Passes something on to the call that the carrier calls `sid`. Whether there is one that takes it.
    pub(crate) fn tell(&self, sid: &str, input: Input) -> bool {
        let state = self.state();
        let live = state.by_sid.get(sid).and_then(|id| state.by_id.get(id));
        live.is_some_and(|live| live.mail.try_send(Mail::Input(input.into())).is_ok())
    }

    /// Passes something on to this call. Whether it takes it; `None`: there is no such call, or nobody has answered it.
    pub(crate) fn tell_id(&self, id: Uuid, input: Input) -> Option<bool> {
        self.state().by_id.get(&id).map(|live| live.mail.try_send(Mail::Input(input.into())).is_ok())
    }

    /// Passes a status callback on, unless a newer one was: they come in any order, and numbered.
    pub(crate) fn tell_status(&self, sid: &str, number: Option<u32>, status: CallStatus) {
        let mut state = self.state();
        let Some(live) = state.live_mut(sid) else { return };
        if number.is_some() && number <= live.last_status {
            return;
        }
        if live.mail.try_send(Mail::Input(Input::Carrier(CarrierInput::Status(status)).into())).is_ok() {
            live.last_status = live.last_status.max(number);
        }
    }

    /// Notes what the carrier says of its own recording: of a call that goes on for its record, of one that is over in
    /// it. Returns whose recording it is, unless that was long ago.
    pub(crate) async fn carrier_recorded(&self, sid: &str, recording: CarrierRecording) -> Option<Uuid> {
        let Noted { call, is_to_be_written } = self.note_recording(sid, recording)?;
        if is_to_be_written {
            self.write_again(call).await;
        }
        Some(call)
    }

    pub(crate) fn note_recording(&self, sid: &str, recording: CarrierRecording) -> Option<Noted> {
        let mut state = self.state();
        if let Some(live) = state.live_mut(sid) {
            CarrierRecording::update(&mut live.carrier_recording, recording);
            return Some(Noted { call: live.facts.id, is_to_be_written: false });
        }
        let record = state.finished.iter_mut().rev().find(|record| record.facts.call_sid == sid)?;
        let mut news = record.carrier_recording.clone();
        let is_to_be_written = CarrierRecording::update(&mut news, recording);
        if is_to_be_written {
            Arc::make_mut(record).carrier_recording = news;
        }
        Some(Noted { call: record.facts.id, is_to_be_written })
    }

    /// Notes that the carrier's recording is in the call's folder.
    pub(crate) async fn carrier_recording_fetched(&self, id: Uuid, recording_sid: &str, file: &str) {
        let is_it = |recording: &&mut CarrierRecording| recording.sid == recording_sid;
        {
            let mut state = self.state();
            if let Some(live) = state.by_id.get_mut(&id) {
                if let Some(recording) = live.carrier_recording.as_mut().filter(is_it) {
                    recording.file = Some(file.to_owned());
                }
                return;
            }
            let Some(record) = state.finished.iter_mut().find(|record| record.facts.id == id) else { return };
            if let Some(recording) = Arc::make_mut(record).carrier_recording.as_mut().filter(is_it) {
                recording.file = Some(file.to_owned());
            }
        }
        self.write_again(id).await;
    }

    async fn write_again(&self, id: Uuid) {
        let _writing = self.rewriting.lock().await;
        if let Some(record) = self.record(id) {
            if let Some(store) = &self.store {
                store.ended(&record);
            }
            self.write(&record).await;
        }
        self.changes.send_modify(|_| {});
    }

    /// What is known of a call that is going on.
    pub(crate) fn facts(&self, id: Uuid) -> Option<CallFacts> {
        let state = self.state();
        state.by_id.get(&id).map(|live| &live.facts).or_else(|| state.placed.get(&id)).cloned()
    }

    pub(crate) fn record(&self, id: Uuid) -> Option<Arc<CallRecord>> {
        self.state().finished.iter().rev().find(|record| record.facts.id == id).cloned()
    }

    /// Runs a call to its end and keeps what it leaves.
    pub(crate) async fn run(self, call: NewCall, setup: Box<Setup>) {
        let NewCall { facts, mail } = call;
        let active = self.metrics.call_began(&facts.agent);
        let span = tracing::info_span!("call", id = %facts.id);
        let record = self.drive(&facts, mail, setup).instrument(span.clone()).await;

        self.write(&record).await;
        // The last line of a call (O4).
        let (ended_reason, ended_by) = (name_of(record.ended_reason), name_of(record.ended_by));
        span.in_scope(|| tracing::info!(ended_reason, ended_by, "call ended"));
        drop(active);
        if self.finish(record) {
            self.write_again(facts.id).await;
        }
    }

    async fn write(&self, record: &CallRecord) {
        let call = record.facts.id;
        match tokio::time::timeout(WRITERS_MAX, Folder::of(&self.data, call).finish(record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%call, %error, "the call's record could not be written"),
            Err(_) => tracing::error!(%call, "the call's record could not be written in time"),
        }
    }

    async fn drive(&self, facts: &CallFacts, mail: mpsc::Receiver<Mail>, setup: Box<Setup>) -> CallRecord {
        // The writers open their files themselves, so that the model need not wait for the disk (N1).
        let folder = Folder::of(&self.data, facts.id);
        let (recorder, recording) = Recorder::new(folder.recording(), &self.disk);
        let (tracer, trace) = Tracer::new(folder.trace(), &self.disk);
        let made = folder.clone();
        let writers = async move {
            if let Err(error) = made.create().await {
                tracing::error!(%error, "no recording, trace and record of this call: its folder cannot be made");
                return (None, None);
            }
            // Two files, two paces.
            futures_util::future::join(kept(recording, "recording"), kept(trace, "trace")).await
        };
        let writers = tokio::spawn(writers.in_current_span());

        // A task of its own, so that a panic costs this call and no other.
        let its_facts = facts.clone();
        let events = self.events.clone();
        let onlookers = Onlookers { metrics: self.metrics.clone(), spans: Spans::new(facts, self.spans.clone()) };
        let driver = async move {
            // Boxed, as is the setup: a future has room for each place that a value is handed on from.
            let driver = Box::new(Driver::new(&its_facts, setup, mail, recorder, tracer, events, onlookers));
            driver.run().await
        };
        let driver = tokio::spawn(driver.in_current_span());
        let mut ended = driver.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the call failed: a bug in Patchcord, please report it");
            Ended { reason: EndReason::Fault, summary: Summary::default(), answered_at: None, abandoned: 0 }
        });

        let (recorded, traced) = match tokio::time::timeout(WRITERS_MAX, writers).await {
            Ok(Ok((recording, traced))) => (recording.flatten(), traced == Some(true)),
            Ok(Err(_)) | Err(_) => {
                tracing::error!("recording and trace could not be finished in time");
                (None, false)
            }
        };
        let recording = recorded.map(|Recorded { recording, voice_to_voice }| {
            for answer in &voice_to_voice {
                self.metrics.measured(Measure::VoiceToVoice, answer.as_secs_f64());
            }
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
            carrier_recording: self.carrier_recording(facts.id),
            trace: traced.then(|| TRACE.to_owned()),
            abandoned: ended.abandoned,
            failure: None,
        }
    }

    fn carrier_recording(&self, id: Uuid) -> Option<CarrierRecording> {
        self.state().by_id.get(&id).and_then(|live| live.carrier_recording.clone())
    }

    /// The call is over, with this record. Returns whether there is news that the record did not have yet.
    pub(crate) fn finish(&self, mut record: CallRecord) -> bool {
        let mut state = self.state();
        let mut news = false;
        state.placed.remove(&record.facts.id);
        if let Some(live) = state.by_id.remove(&record.facts.id) {
            state.by_token.remove(&live.token);
            news = live.carrier_recording != record.carrier_recording;
            record.carrier_recording = live.carrier_recording;
            state.remember(live.answered);
        }
        state.by_sid.remove(&record.facts.call_sid);
        if state.finished.len() >= FINISHED_MAX {
            state.finished.pop_front();
        }
        if let Some(store) = &self.store {
            store.ended(&record);
        }
        state.finished.push_back(Arc::new(record));
        drop(state);
        self.changes.send_modify(|finished| *finished += 1);
        news
    }

    /// Asks the same of every call. Those that nobody has answered are `outbound`'s.
    pub(crate) fn tell_all(&self, input: &OperatorInput) {
        for live in self.state().by_id.values() {
            // A call whose box is full is not listening; whoever tells has a limit for those.
            let _ = live.mail.try_send(Mail::Input(Input::Operator(input.clone()).into()));
        }
    }

    /// Waits until no call goes on, at most this long. Whether it came to that.
    pub(crate) async fn all_ended(&self, limit: Duration) -> bool {
        let mut changes = self.changes.subscribe();
        let all_ended = async { while self.live() > 0 && changes.changed().await.is_ok() {} };
        tokio::time::timeout(limit, all_ended).await.is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        crate::handoffs::others_may_go_first();
        // Nothing in here panics half-way; and one call's bug should not end the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live_mut(&mut self, sid: &str) -> Option<&mut Live> {
        self.by_id.get_mut(self.by_sid.get(sid)?)
    }

    /// The answer that this delivery had before, or has as good as had.
    fn answered(&self, call_sid: &str, delivery: Option<&str>) -> Option<&Answered> {
        if let Some(live) = self.by_sid.get(call_sid).and_then(|id| self.by_id.get(id)) {
            return Some(&live.answered);
        }
        let before = self.answers.iter().rev().find(|answered| answered.call_sid == call_sid)?;
        // Without names to tell them by, it is the same delivery.
        let same = delivery.is_none_or(|name| before.delivery.as_deref().is_none_or(|before| before == name));
        same.then_some(before)
    }

    fn remember(&mut self, answered: Answered) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answered);
    }
}

/// Writes a file of a call. That the disk refuses it is told at once, by the file's name, and costs the file and not the
/// call.
async fn kept<T>(work: impl Future<Output = std::io::Result<T>>, file: &str) -> Option<T> {
    let refused = |error: &_| tracing::error!(%error, file, "cannot be written and ends here; the call goes on");
    work.await.inspect_err(refused).ok()
}

pub(crate) fn new_token() -> Result<Token, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordingStatus;
    use call::config::Direction;

    const TOKEN_MAX: Duration = Duration::from_secs(60);

    fn calls(max_calls: usize) -> Calls {
        Calls::new(max_calls, TOKEN_MAX, PathBuf::from("unused"))
    }

    fn facts(call_sid: &str) -> CallFacts {
        CallFacts {
            id: Uuid::now_v7(),
            carrier: "twilio",
            call_sid: call_sid.to_owned(),
            direction: Direction::Inbound,
            from: String::new(),
            to: String::new(),
            agent: "default".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The token is the answer.
    fn announce(calls: &Calls, call_sid: &str) -> (String, Option<NewCall>) {
        deliver(calls, call_sid, None)
    }

    fn deliver(calls: &Calls, call_sid: &str, delivery: Option<&str>) -> (String, Option<NewCall>) {
        let delivery = delivery.map(str::to_owned);
        let announcement = Announcement { facts: facts(call_sid), delivery, agent_calls_max: None };
        match calls.announce(announcement, str::to_owned, |_| "busy".to_owned()).unwrap() {
            Announced::New { answer, call } => (answer, Some(call)),
            Announced::Again { answer } => (answer, None),
        }
    }

    fn end(calls: &Calls, call: &NewCall) {
        calls.finish(CallRecord::without_stream(call.facts.clone(), EndReason::CallerHungUp, None));
    }

    fn recording(sid: &str, status: RecordingStatus) -> CarrierRecording {
        CarrierRecording { sid: sid.to_owned(), status, url: None, duration_ms: None, channels: None, file: None }
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
    async fn n3_another_delivery_may_bring_a_call_back_that_was_over() {
        let calls = calls(2);
        let (first, call) = deliver(&calls, "CA1", Some("a"));
        assert_eq!(deliver(&calls, "CA1", Some("b")).0, first);
        end(&calls, &call.unwrap());
        assert_eq!(deliver(&calls, "CA1", Some("a")).0, first);
        let (second, call) = deliver(&calls, "CA1", Some("c"));
        assert!(call.is_some() && second != first);
    }

    #[tokio::test]
    async fn n3_what_comes_again_while_the_server_stops_gets_the_same_answer() {
        let calls = calls(2);
        let (welcome, call) = announce(&calls, "CA1");
        calls.close();
        assert_eq!(announce(&calls, "CA1").0, welcome);
        assert_eq!(announce(&calls, "CA2").0, "busy");
        drop(call);
    }

    #[tokio::test]
    async fn n9_agents_have_limits_of_their_own() {
        let calls = calls(10);
        let announce = |sid: &str, agent: &str| {
            let facts = CallFacts { agent: agent.to_owned(), ..facts(sid) };
            let announcement = Announcement { facts, delivery: None, agent_calls_max: Some(1) };
            calls.announce(announcement, str::to_owned, |_| "busy".to_owned()).unwrap()
        };
        let Announced::New { call, .. } = announce("CA1", "a") else { panic!("there was room") };
        assert!(matches!(announce("CA2", "a"), Announced::Again { answer } if answer == "busy"));
        assert!(matches!(announce("CA3", "b"), Announced::New { .. }));
        end(&calls, &call);
        assert!(matches!(announce("CA4", "a"), Announced::New { .. }));
    }

    #[tokio::test]
    async fn an_older_status_never_overrides_a_newer_one() {
        let calls = calls(1);
        let (_, call) = announce(&calls, "CA1");
        for (number, status) in [
            (Some(2), CallStatus::InProgress),
            (Some(0), CallStatus::Ringing),
            (Some(2), CallStatus::Completed),
            (Some(3), CallStatus::Completed),
            (None, CallStatus::Ringing),
            (Some(1), CallStatus::Ringing),
        ] {
            calls.tell_status("CA1", number, status);
        }
        let mut mail = call.unwrap().mail;
        let mut told = Vec::new();
        while let Ok(Mail::Input(input)) = mail.try_recv() {
            let Input::Carrier(CarrierInput::Status(status)) = *input else { panic!("{input:?}") };
            told.push(status);
        }
        assert_eq!(told, [CallStatus::InProgress, CallStatus::Completed, CallStatus::Ringing]);
    }

    #[tokio::test]
    async fn what_the_carrier_says_of_its_recording_is_kept_in_any_order() {
        let data = tempfile::tempdir().unwrap();
        let calls = Calls::new(1, TOKEN_MAX, data.path().to_owned());
        let (_, call) = announce(&calls, "CA1");
        let call = call.unwrap();
        std::fs::create_dir_all(calls.folder(call.facts.id)).unwrap();
        let id = Some(call.facts.id);
        assert_eq!(calls.carrier_recorded("CA1", recording("RE1", RecordingStatus::InProgress)).await, id);
        end(&calls, &call);
        assert_eq!(calls.finished()[0].carrier_recording, Some(recording("RE1", RecordingStatus::InProgress)));
        assert_eq!(calls.carrier_recorded("CA1", recording("RE1", RecordingStatus::Completed)).await, id);
        assert_eq!(calls.carrier_recorded("CA1", recording("RE1", RecordingStatus::InProgress)).await, id);
        calls.carrier_recording_fetched(call.facts.id, "RE1", "a.wav").await;
        calls.carrier_recording_fetched(call.facts.id, "RE2", "b.wav").await;
        let expected = CarrierRecording { file: Some("a.wav".into()), ..recording("RE1", RecordingStatus::Completed) };
        assert_eq!(calls.finished()[0].carrier_recording, Some(expected));
        let json = std::fs::read(calls.folder(call.facts.id).join("call.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            (&json["carrier_recording"]["status"], &json["carrier_recording"]["file"]),
            (&"completed".into(), &"a.wav".into())
        );
        assert_eq!(calls.carrier_recorded("CA9", recording("RE1", RecordingStatus::Completed)).await, None);
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
