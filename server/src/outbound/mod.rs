//! Calls that we place, from the request until somebody answers or nobody will.
//!
//! The carrier's create cannot be repeated safely, answers may be lost, and callbacks come late, twice, in any order, or
//! never. So each placed call has a token of its own in the addresses that the carrier is given: whatever comes with it
//! is about this call, even before the carrier has told us the call's name. What is known of a call lies in one table;
//! a task follows it and asks the table, woken whenever something is learnt, what is to be done next.
//!
//! A create whose answer did not come is never sent again: the call is looked for (by callbacks with its token, and in
//! the carrier's list) and adopted, or given up. One that was given up and is answered after all is told to hang up, as
//! its token is known no more.
//!
//! An answered call leaves this table for [`Calls`]: from there on it is like any other.

mod rest;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call::config::{Direction, OnMachine};
use call::{Answerer, CallConfig, CallStatus, CarrierInput, EndReason, Input, OperatorInput, Outcome};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use crate::agent::Agent;
use crate::calls::{Calls, Token, new_token};
use crate::commands::Commands;
use crate::config::Outbound as Limits;
use crate::record::{CallFacts, CallRecord};
pub(crate) use rest::status;
use rest::{Create, Created};

/// The query parameter of our addresses that says which call they are about.
pub(crate) const TOKEN: &str = "call";

/// Creates at once. A carrier begins one call a second unless asked for more, and refuses requests by the dozen.
const CREATES_MAX: usize = 8;

/// The first pause before a create is tried again, or a call looked for; it doubles up to the second.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The carrier's own limit of a call, beyond ours: it is only for a call that we have forgotten.
const CALL_MAX_EXTRA: Duration = Duration::from_secs(60);

/// The most that the carrier takes for it.
const CARRIER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Who is to be called, and how.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Request {
    pub to: String,
    pub from: String,
    pub agent: Agent,
    pub ring_max: Duration,
    /// `None`: machines are not looked for.
    pub on_machine: Option<OnMachine>,
}

/// A placed call that was answered.
pub(crate) struct Answered {
    pub facts: CallFacts,
    pub agent: Agent,
    pub on_machine: OnMachine,
}

/// How far a placed call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// The carrier was asked.
    Placing,
    Ringing,
}

/// The calls that nobody has answered yet. Clones are the same table.
#[derive(Clone)]
pub(crate) struct Outbound {
    state: Arc<Mutex<State>>,
    calls: Calls,
    commands: Commands,
    limits: Limits,
    creates: Arc<Semaphore>,
    /// Origin that the carrier reaches us by.
    origin: String,
}

#[derive(Default)]
struct State {
    by_id: HashMap<Uuid, Placed>,
    by_token: HashMap<Token, Uuid>,
}

/// What is known of a placed call.
struct Placed {
    facts: CallFacts,
    request: Request,
    token: Token,
    name: Name,
    ringing: bool,
    answered_by: Option<Answerer>,
    /// The carrier asked what to do with it, and is being answered.
    answering: bool,
    stop: Option<Stop>,
    over: Option<Over>,
    /// The status that says it is over.
    last_status: Option<CallStatus>,
    /// Something was learnt.
    news: Arc<Notify>,
}

/// The carrier's name of a call, and how we know.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    Unknown,
    /// From the carrier's list: a call between the same numbers, begun since we asked.
    Found(String),
    /// From the carrier's answer, or from a request with the call's token.
    Told(String),
}

/// Why a call is to be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Operator,
    TooLong,
}

/// What a call came to.
#[derive(Clone, Debug)]
struct Over {
    reason: EndReason,
    failure: Option<String>,
}

/// What is to be done about a call next.
enum Next {
    /// Nothing any more.
    Gone,
    Finish(Over),
    HangUp(String),
    Wait,
}

impl State {
    /// A request with this token came from the carrier, about the call that it calls `sid`.
    fn told(&mut self, token: &str, sid: &str) -> Option<&mut Placed> {
        let placed = self.by_id.get_mut(self.by_token.get(token)?)?;
        if let Name::Told(known) = &placed.name
            && known != sid
        {
            tracing::warn!(call = %placed.facts.id, "a request with this call's token is about another call; ignored");
            return None;
        }
        placed.name = Name::Told(sid.to_owned());
        placed.news.notify_one();
        Some(placed)
    }

    fn remove(&mut self, id: Uuid) -> Option<Placed> {
        let placed = self.by_id.remove(&id)?;
        self.by_token.remove(&placed.token);
        Some(placed)
    }
}

impl Placed {
    /// Whether the carrier is not to be asked for it, any more.
    fn is_settled(&self) -> bool {
        self.is_known() || self.stop.is_some()
    }

    /// Whether it is known what became of the request for it.
    fn is_known(&self) -> bool {
        self.name != Name::Unknown || self.over.is_some()
    }

    /// What it came to, if it was taken back in time.
    fn stopped_as(&self) -> EndReason {
        match self.stop {
            Some(Stop::TooLong) => EndReason::NotAnswered,
            Some(Stop::Operator) | None => EndReason::OperatorHungUp,
        }
    }
}

impl Name {
    fn sid(&self) -> Option<&str> {
        match self {
            Name::Unknown => None,
            Name::Found(sid) | Name::Told(sid) => Some(sid),
        }
    }
}

impl Outbound {
    pub(crate) fn new(calls: Calls, commands: Commands, limits: Limits, public_url: &reqwest::Url) -> Self {
        let origin = public_url.as_str().trim_end_matches('/').to_owned();
        let creates = Arc::new(Semaphore::new(CREATES_MAX));
        Outbound { state: Arc::default(), calls, commands, limits, creates, origin }
    }

    /// What a call that is placed now is known by.
    pub(crate) fn facts(request: &Request) -> CallFacts {
        CallFacts {
            id: Uuid::now_v7(),
            carrier: "twilio",
            call_sid: String::new(),
            direction: Direction::Outbound,
            from: request.from.clone(),
            to: request.to.clone(),
            agent: request.agent.name.clone(),
            started_at: Timestamp::now(),
        }
    }

    /// Places a call that has its place in [`Calls`] already, and follows it.
    ///
    /// # Errors
    /// If the system has no randomness. The place is given back.
    pub(crate) fn place(&self, facts: CallFacts, request: Request) -> Result<(), getrandom::Error> {
        let token = new_token().inspect_err(|_| self.calls.unplace(facts.id))?;
        let id = facts.id;
        self.calls.placed(&facts);
        let placed = Placed {
            facts,
            request,
            token: token.clone(),
            name: Name::Unknown,
            ringing: false,
            answered_by: None,
            answering: false,
            stop: None,
            over: None,
            last_status: None,
            news: Arc::new(Notify::new()),
        };
        let mut state = self.state();
        state.by_token.insert(token, id);
        state.by_id.insert(id, placed);
        drop(state);
        tokio::spawn(self.clone().follow(id));
        Ok(())
    }

    /// The carrier asks what to do with a call that was answered. `None`: it is not one that we wait for. Otherwise
    /// [`Outbound::taken`] or [`Outbound::not_taken`] is to be called; until then the call is not ended here.
    pub(crate) fn answered(&self, token: &str, sid: &str) -> Option<Answered> {
        let mut state = self.state();
        let placed = state.told(token, sid)?;
        if placed.over.is_some() || placed.stop.is_some() {
            return None;
        }
        placed.facts.call_sid = sid.to_owned();
        placed.answering = true;
        Some(Answered {
            facts: placed.facts.clone(),
            agent: placed.request.agent.clone(),
            on_machine: placed.request.on_machine.unwrap_or(OnMachine::Continue),
        })
    }

    /// The call is among [`Calls`] now. Returns what it has to be told that came too early for it.
    pub(crate) fn taken(&self, id: Uuid) -> Vec<Input> {
        let Some(placed) = self.state().remove(id) else { return Vec::new() };
        placed.news.notify_one();
        let verdict = placed.answered_by.map(|by| Input::Carrier(CarrierInput::AnsweredBy(by)));
        let status = placed.last_status.map(|status| Input::Carrier(CarrierInput::Status(status)));
        let stop = placed.stop.map(|_| Input::Operator(OperatorInput::HangUp));
        [verdict, status, stop].into_iter().flatten().collect()
    }

    /// The call could not be taken after all.
    pub(crate) fn not_taken(&self, id: Uuid) {
        self.learn(id, |placed| {
            placed.answering = false;
            placed.news.notify_one();
        });
    }

    /// A status callback. Whatever the order in which they come: what is over is over.
    pub(crate) fn status(&self, token: &str, sid: &str, word: &str, sip: Option<&str>) {
        let mut state = self.state();
        let Some(placed) = state.told(token, sid) else { return };
        placed.ringing |= matches!(word, "ringing" | "in-progress");
        let status = status(word);
        match status.and_then(EndReason::unanswered) {
            None => {}
            Some(reason) => {
                placed.last_status = status;
                let failure = sip.filter(|_| reason == EndReason::Unreachable).map(|code| format!("SIP {code}"));
                placed.over.get_or_insert(Over { reason, failure });
            }
        }
    }

    /// The carrier's verdict on who answered. Whether it is about a call that is still to be answered, for us.
    pub(crate) fn answered_by(&self, token: &str, sid: &str, answerer: Answerer) -> bool {
        let mut state = self.state();
        let Some(placed) = state.told(token, sid) else { return false };
        placed.answered_by.get_or_insert(answerer);
        true
    }

    /// Takes a call back. Whether there is one that nobody has answered.
    pub(crate) fn hang_up(&self, id: Uuid) -> bool {
        let mut state = self.state();
        let Some(placed) = state.by_id.get_mut(&id) else { return false };
        placed.stop.get_or_insert(Stop::Operator);
        placed.news.notify_one();
        true
    }

    /// Takes all calls back that nobody has answered.
    pub(crate) fn hang_up_all(&self) {
        for placed in self.state().by_id.values_mut() {
            placed.stop.get_or_insert(Stop::Operator);
            placed.news.notify_one();
        }
    }

    /// How far this call is. `None`: it is not one of these.
    pub(crate) fn progress(&self, id: Uuid) -> Option<Progress> {
        let state = self.state();
        let placed = state.by_id.get(&id)?;
        Some(if placed.ringing { Progress::Ringing } else { Progress::Placing })
    }

    async fn follow(self, id: Uuid) {
        let placed_at = Instant::now();
        if let Err(over) = self.create(id).await {
            self.learn(id, |placed| _ = placed.over.get_or_insert(over));
        }
        loop {
            match self.next(id) {
                Next::Gone => return,
                Next::Finish(over) => return self.finish(id, over),
                Next::HangUp(sid) => return self.take_back(id, sid).await,
                Next::Wait => {}
            }
            let too_long = placed_at.elapsed() >= self.limits.answer_max;
            if too_long && self.look(id, |placed| placed.stop.is_none()) == Some(true) {
                self.learn(id, |placed| _ = placed.stop.get_or_insert(Stop::TooLong));
                continue;
            }
            if !self.news(id, self.limits.check_every).await {
                self.ask(id).await;
            }
        }
    }

    /// Has the carrier make the call, and finds out what it calls it.
    async fn create(&self, id: Uuid) -> Result<(), Over> {
        let unreachable = |why: String| Over { reason: EndReason::Unreachable, failure: Some(why) };
        let began = Instant::now();
        let mut pause = PAUSE_FIRST;
        loop {
            while self.has_rival(id) && began.elapsed() < self.limits.create_max {
                self.news(id, PAUSE_FIRST).await;
            }
            let created = {
                let _turn = self.creates.acquire().await;
                // It may have been taken back while it waited.
                let Some(create) = self.wish(id) else { return Ok(()) };
                self.commands.create_call(&create).await
            };
            match created {
                Created::Placed(sid) => {
                    self.learn(id, |placed| placed.name = Name::Told(sid));
                    return Ok(());
                }
                Created::Refused(why) => {
                    tracing::warn!(call = %id, why = loggable(&why), "the carrier refused to place a call");
                    return Err(unreachable(why));
                }
                Created::Later(why) if began.elapsed() + pause > self.limits.create_max => {
                    tracing::warn!(call = %id, "the carrier does not take calls");
                    return Err(unreachable(why));
                }
                Created::Later(_) => {
                    self.news(id, jittered(pause, id)).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                Created::Unclear(why) => {
                    tracing::warn!(call = %id, "it is not clear whether the carrier placed a call; looking for it");
                    return match self.find(id).await {
                        true => Ok(()),
                        false => Err(unreachable(format!("no answer to the request, and no such call: {why}"))),
                    };
                }
            }
        }
    }

    /// Whether another call between the same numbers was asked for and has no name yet. Were both looked for, nobody
    /// could tell them apart.
    fn has_rival(&self, id: Uuid) -> bool {
        let state = self.state();
        let Some(ours) = state.by_id.get(&id) else { return false };
        let is_rival = |other: &Placed| {
            other.facts.id < id && other.facts.to == ours.facts.to && other.facts.from == ours.facts.from
        };
        !ours.is_settled() && state.by_id.values().any(|other| is_rival(other) && !other.is_settled())
    }

    /// Looks for a call whose create was not answered. Whether it is known how it stands.
    async fn find(&self, id: Uuid) -> bool {
        let until = Instant::now() + self.limits.lookup_max;
        let mut pause = PAUSE_FIRST;
        loop {
            let Some((facts, known)) = self.look(id, |placed| (placed.facts.clone(), placed.is_known())) else {
                return true;
            };
            if known {
                return true;
            }
            match self.commands.find_calls(&facts.to, &facts.from, facts.started_at).await {
                Ok(found) => {
                    if self.adopt(id, found) {
                        tracing::info!(call = %id, "the call was found");
                        return true;
                    }
                }
                Err(why) => tracing::warn!(call = %id, why = loggable(&why), "the carrier's calls cannot be listed"),
            }
            if Instant::now() + pause > until {
                return false;
            }
            self.news(id, pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Takes the oldest of these that is nobody else's, if there is one. The oldest: it was asked for first, and calls
    /// that were asked for later have tokens and answers of their own to be known by.
    fn adopt(&self, id: Uuid, found: Vec<String>) -> bool {
        let mut state = self.state();
        let is_free = |sid: &&String| {
            !self.calls.knows(sid) && !state.by_id.values().any(|placed| placed.name.sid() == Some(sid))
        };
        let Some(sid) = found.iter().rev().find(is_free).cloned() else { return false };
        let Some(placed) = state.by_id.get_mut(&id) else { return true };
        if placed.name == Name::Unknown {
            placed.name = Name::Found(sid);
        }
        true
    }

    /// The carrier has been silent about this call: asks how it stands.
    async fn ask(&self, id: Uuid) {
        let Some(Some(sid)) = self.look(id, |placed| placed.name.sid().map(str::to_owned)) else { return };
        match self.commands.call_status(&sid).await {
            Ok(status) => {
                if let Some(reason) = status.and_then(EndReason::unanswered) {
                    self.learn(id, |placed| _ = placed.over.get_or_insert(Over { reason, failure: None }));
                }
            }
            Err(why) => tracing::warn!(call = %id, why = loggable(&why), "the carrier cannot be asked about a call"),
        }
    }

    /// Ends a call at the carrier, as far as that can be done, and then for us.
    async fn take_back(&self, id: Uuid, sid: String) {
        let default = CallConfig::default();
        for attempt in 1..=default.hang_up_attempts {
            if self.commands.clone().hang_up(sid.clone()).await == Outcome::HungUp {
                break;
            }
            if attempt < default.hang_up_attempts {
                sleep(default.hang_up_retry).await;
            }
        }
        // Its last status says what became of it; it may have been over before we asked.
        let until = Instant::now() + default.hang_up_grace;
        while let Some((None, news)) = self.look(id, |placed| (placed.over.clone(), placed.news.clone())) {
            if timeout_at(until, news.notified()).await.is_err() {
                break;
            }
        }
        let over = self.look(id, |placed| {
            let theirs = placed.over.clone().filter(|over| over.reason != EndReason::Canceled);
            let theirs = theirs.filter(|over| over.reason != EndReason::CallerHungUp);
            theirs.unwrap_or(Over { reason: placed.stopped_as(), failure: None })
        });
        if let Some(over) = over {
            self.finish(id, over);
        }
    }

    fn next(&self, id: Uuid) -> Next {
        // Whoever told us its name did not tell everybody.
        self.learn(id, |_| {});
        self.look(id, |placed| match (&placed.over, placed.stop, placed.name.sid()) {
            _ if placed.answering => Next::Wait,
            (Some(over), _, _) => Next::Finish(over.clone()),
            (None, Some(_), Some(sid)) => Next::HangUp(sid.to_owned()),
            // It was never asked for.
            (None, Some(_), None) => Next::Finish(Over { reason: placed.stopped_as(), failure: None }),
            (None, None, _) => Next::Wait,
        })
        .unwrap_or(Next::Gone)
    }

    /// What the carrier is to be asked for. `None`: nothing, any more.
    fn wish(&self, id: Uuid) -> Option<Create> {
        let (request, token, settled) =
            self.look(id, |placed| (placed.request.clone(), placed.token.clone(), placed.is_settled()))?;
        let address = |path: &str| format!("{}/twilio/{path}?{TOKEN}={token}", self.origin);
        let config = request.agent.call_config();
        (!settled).then(|| Create {
            to: request.to,
            from: request.from,
            url: address("voice"),
            status_callback: address("status"),
            amd_callback: request.on_machine.map(|_| address("amd")),
            ring_max: request.ring_max,
            call_max: (config.call_max + config.call_max_grace + CALL_MAX_EXTRA).min(CARRIER_MAX),
        })
    }

    fn finish(&self, id: Uuid, over: Over) {
        let Some(placed) = self.state().remove(id) else { return };
        let mut facts = placed.facts;
        facts.call_sid = placed.name.sid().unwrap_or_default().to_owned();
        let mut record = CallRecord::without_stream(facts, over.reason, over.failure);
        record.summary.answered_by = placed.answered_by;
        tracing::info!(call = %id, reason = ?record.ended_reason, by = ?record.ended_by, "call ended, not answered");
        self.calls.finish(record);
    }

    /// Waits until something is learnt, at most so long. Whether something was.
    async fn news(&self, id: Uuid, limit: Duration) -> bool {
        let Some(news) = self.look(id, |placed| placed.news.clone()) else { return true };
        timeout(limit, news.notified()).await.is_ok()
    }

    fn look<T>(&self, id: Uuid, look: impl FnOnce(&Placed) -> T) -> Option<T> {
        self.state().by_id.get(&id).map(look)
    }

    fn learn(&self, id: Uuid, learn: impl FnOnce(&mut Placed)) {
        let mut state = self.state();
        let Some(placed) = state.by_id.get_mut(&id) else { return };
        learn(placed);
        if let Some(sid) = placed.name.sid()
            && placed.facts.call_sid != sid
        {
            placed.facts.call_sid = sid.to_owned();
            self.calls.placed(&placed.facts);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The carrier's code without its words, which may name a number.
fn loggable(why: &str) -> &str {
    why.split(':').next().unwrap_or_default()
}

/// So that calls that were refused together do not come back together.
fn jittered(pause: Duration, id: Uuid) -> Duration {
    pause * (768 + u32::from(id.as_bytes()[15]) * 2) / 1_024
}
