//! The real [`Call`] in small worlds, each searched until nothing new can happen (`explore`).
//!
//! Around the call stands an environment that may do at any moment whatever its protocol allows: a model that is slow,
//! late, contrary or gone, a caller who speaks, a carrier that returns marks or loses them, an operator, tools. It is
//! driven by what the call puts out, and time jumps to the next moment at which something is due; so between any two
//! things that happen, everything else may happen first. [`watch`] sees what comes out, and knows the rules.
//!
//! What may happen in a world, and how often, is its [`Scope`]. [`scopes`] has the worlds that the tests search.

use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use call::config::{CallConfig, CallFacts, Direction};
use call::fingerprint::Fingerprint;
use call::input::{ItemKind, ModelError, ResponseStatus, Usage};
use call::{
    Call, CallStatus, CallTime, CarrierInput, Command, CommandId, END_CALL, EarInput, Epoch, Input, ItemId, ModelInput,
    ModelOutput, OperatorInput, Outcome, Output, Reason, RequestId, ResponseId, ToolCallId,
};

use crate::explore::Explorable;

pub mod scopes;
mod watch;

use watch::Watch;

const EPOCH: Epoch = Epoch(1);

/// What may happen in a world. Numbers are how often.
#[derive(Clone, Debug)]
pub struct Scope {
    pub name: &'static str,
    pub config: CallConfig,
    /// A turn of the caller was committed when the world begins; otherwise the agent greets, or nobody speaks.
    pub asked: bool,
    /// Items of speech in a response, deltas of each, and how long one is.
    pub items: u8,
    pub deltas: u8,
    pub delta_ms: u32,
    /// What a response may turn out to have said.
    pub replies: &'static [Reply],
    /// That may become known after the response ended, until the next one begins.
    pub late_transcripts: bool,
    /// Responses that the model begins by itself.
    pub own_responses: u8,
    /// Requests that it rejects, for no reason that is ours.
    pub rejections: u8,
    /// Responses that fail.
    pub failures: u8,
    /// Responses that it cancels by itself.
    pub own_cancellations: u8,
    /// Responses that end before they said anything.
    pub empty: u8,
    /// Items are announced before their audio, and perhaps never get any.
    pub announcements: bool,
    /// Function calls: to run something, and to end the call.
    pub tools: u8,
    pub end_calls: u8,
    pub model_loss: bool,
    /// Times at which the caller speaks, what it is found to be, and how long it lasts.
    pub utterances: u8,
    pub said: &'static [Said],
    pub lengths: &'static [Length],
    /// Times at which our own ears hear speech, whether there is any or not.
    pub ears: u8,
    pub marks_get_lost: bool,
    /// Marks that a `clear` flushed come back at any later time.
    pub marks_come_late: bool,
    pub stream_stops: bool,
    /// Starts that come a second time.
    pub starts_again: u8,
    pub statuses: bool,
    pub hang_up_fails: bool,
    pub operator_hangs_up: bool,
    pub texts: u8,
    pub forced_texts: u8,
    /// What must be reached, or the search has proved nothing.
    pub sometimes: &'static [&'static str],
}

/// What a response of the agent says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    Plain,
    Goodbye,
}

/// What the caller turns out to have said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Said {
    Nothing,
    BackChannel,
    Words,
    Farewell,
    /// The transcription failed.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Length {
    Short,
    Long,
}

/// Something that happens. Numbers are those of responses and items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Created,
    BeginsByItself,
    Collides,
    Rejects,
    Announces(ResponseId),
    Delta(ResponseId),
    AudioDone(ResponseId),
    Says(ResponseId, Reply),
    CallsTool(ResponseId),
    CallsEnd(ResponseId),
    Done(ResponseId),
    DoneCancelled(ResponseId),
    Fails(ResponseId),
    NothingToCancel,
    ModelLost,
    Speaks,
    Stops(Length),
    Committed(ItemId),
    Transcribed(ItemId, Said),
    EarsHear,
    EarsHearTheEnd,
    EarsGoDeaf,
    MarkReturns,
    MarkIsLost,
    StreamStops,
    StartsAgain,
    /// The carrier says that the call is over.
    Completed,
    /// The carrier says that the call goes on without its stream.
    GoesOn,
    HungUp,
    HangUpFails,
    ToolAnswers,
    OperatorHangsUp,
    OperatorSays,
    OperatorSaysNow,
    TimePasses,
}

#[derive(Clone)]
pub struct World {
    scope: Rc<Scope>,
    call: Call,
    now: CallTime,
    model: Model,
    /// What the caller said, until nothing more will be heard of it.
    utterances: Vec<Utterance>,
    /// Our own ears hear speech.
    ears_hear: bool,
    hang_up: Option<CommandId>,
    tools: Vec<CommandId>,
    left: Left,
    next: Next,
    watch: Watch,
}

/// How often things may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    own_responses: u8,
    rejections: u8,
    failures: u8,
    own_cancellations: u8,
    empty: u8,
    tools: u8,
    end_calls: u8,
    utterances: u8,
    ears: u8,
    texts: u8,
    forced_texts: u8,
    starts: u8,
    operator_hang_ups: u8,
}

/// Numbers for new things.
#[derive(Clone, Copy)]
struct Next {
    response: u32,
    item: u32,
    tool: u32,
}

#[derive(Clone, Default)]
struct Model {
    lost: bool,
    /// A create that it has not answered.
    request: Option<(RequestId, Reason)>,
    /// Those that may still say something, or that a rule still asks about.
    responses: Vec<Response>,
    /// A cancel that came too late.
    too_late: Option<RequestId>,
}

#[derive(Clone)]
struct Response {
    id: ResponseId,
    reason: Option<Reason>,
    items: Vec<Item>,
    called: bool,
    /// Our cancel is on its way, or has arrived.
    cancel: Option<RequestId>,
    done: bool,
    /// It answers what the caller said before it.
    answers: bool,
    /// It speaks about a tool's result.
    tells_result: bool,
    /// It ended because it was cancelled, or the caller has interrupted since: no goodbye any more, whatever it said.
    cancelled: bool,
    ends_call: bool,
}

#[derive(Clone)]
struct Item {
    id: ItemId,
    deltas: u8,
    audio_done: bool,
    said: Option<Reply>,
    /// Where its accepted audio begins, and how much it is, in bytes.
    start: u64,
    accepted: u64,
}

#[derive(Clone, Copy, Hash)]
struct Utterance {
    item: ItemId,
    state: Speech,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Speech {
    Going,
    Stopped,
    Committed,
}

impl World {
    pub fn new(scope: &Rc<Scope>) -> Self {
        let mut world = World {
            scope: Rc::clone(scope),
            call: Call::new(scope.config.clone(), CallFacts { direction: Direction::Inbound }),
            // Late enough for no lead to reach before the beginning.
            now: CallTime::from_millis(1_000),
            model: Model::default(),
            utterances: Vec::new(),
            ears_hear: false,
            hang_up: None,
            tools: Vec::new(),
            left: Left {
                own_responses: scope.own_responses,
                rejections: scope.rejections,
                failures: scope.failures,
                own_cancellations: scope.own_cancellations,
                empty: scope.empty,
                tools: scope.tools,
                end_calls: scope.end_calls,
                utterances: scope.utterances,
                ears: scope.ears,
                texts: scope.texts,
                forced_texts: scope.forced_texts,
                starts: scope.starts_again,
                operator_hang_ups: u8::from(scope.operator_hangs_up),
            },
            next: Next { response: 1, item: 1, tool: 1 },
            watch: Watch::default(),
        };
        world.give(Input::Announced);
        world.tell(ModelInput::Connected);
        world.tell(ModelInput::Configured);
        world.give(Input::Carrier(CarrierInput::Started));
        if scope.asked {
            let item = world.item();
            world.watch.committed(item);
            world.tell(ModelInput::Committed { item });
        }
        world
    }

    // ── What may happen ──────────────────────────────────────────────────────────────────────────────────────────

    fn model_steps(&self, steps: &mut Vec<Step>) {
        if self.model.lost {
            return;
        }
        if self.scope.model_loss {
            steps.push(Step::ModelLost);
        }
        let generating = self.model.responses.iter().any(|response| !response.done);
        if self.model.request.is_some() {
            steps.push(if generating { Step::Collides } else { Step::Created });
            if self.left.rejections > 0 && !generating {
                steps.push(Step::Rejects);
            }
        }
        if self.left.own_responses > 0 && !generating {
            steps.push(Step::BeginsByItself);
        }
        if self.model.too_late.is_some() {
            steps.push(Step::NothingToCancel);
        }
        for response in &self.model.responses {
            self.response_steps(response, steps);
        }
    }

    fn response_steps(&self, response: &Response, steps: &mut Vec<Step>) {
        let id = response.id;
        let item = response.items.last();
        if item.is_some_and(|item| item.said.is_none() && item.deltas > 0)
            && (!response.done || (self.scope.late_transcripts && self.is_newest(id)))
        {
            steps.extend(self.scope.replies.iter().map(|reply| Step::Says(id, *reply)));
        }
        if response.done {
            return;
        }
        let is_open = item.is_some_and(|item| !item.audio_done);
        let has_room = response.items.len() < usize::from(self.scope.items)
            && item.is_none_or(|item| item.audio_done && (item.said.is_some() || self.scope.replies.is_empty()));
        if self.scope.announcements && has_room {
            steps.push(Step::Announces(id));
        }
        if item.is_some_and(|item| !item.audio_done && item.deltas < self.scope.deltas)
            || (!self.scope.announcements && has_room)
        {
            steps.push(Step::Delta(id));
        }
        if item.is_some_and(|item| !item.audio_done && item.deltas > 0) {
            steps.push(Step::AudioDone(id));
        }
        if !response.called && !is_open {
            if self.left.tools > 0 {
                steps.push(Step::CallsTool(id));
            }
            if self.left.end_calls > 0 {
                steps.push(Step::CallsEnd(id));
            }
        }
        let spoke = response.items.iter().any(|item| item.deltas > 0);
        if !is_open && (spoke || response.called || self.left.empty > 0) {
            steps.push(Step::Done(id));
        }
        if response.cancel.is_some() {
            steps.push(Step::DoneCancelled(id));
        } else {
            if self.left.failures > 0 {
                steps.push(Step::Fails(id));
            }
            if self.left.own_cancellations > 0 {
                steps.push(Step::DoneCancelled(id));
            }
        }
    }

    fn caller_steps(&self, steps: &mut Vec<Step>) {
        if self.model.lost {
            return;
        }
        for utterance in &self.utterances {
            match utterance.state {
                Speech::Going => steps.extend(self.scope.lengths.iter().map(|length| Step::Stops(*length))),
                Speech::Stopped => steps.push(Step::Committed(utterance.item)),
                Speech::Committed => {
                    steps.extend(self.scope.said.iter().map(|said| Step::Transcribed(utterance.item, *said)));
                }
            }
        }
        if self.left.utterances > 0 && self.utterances.iter().all(|utterance| utterance.state == Speech::Committed) {
            steps.push(Step::Speaks);
        }
    }

    fn ear_steps(&self, steps: &mut Vec<Step>) {
        if !self.watch.streaming {
            return;
        }
        if self.ears_hear {
            steps.push(Step::EarsHearTheEnd);
            steps.push(Step::EarsGoDeaf);
        } else if self.left.ears > 0 {
            steps.push(Step::EarsHear);
        }
    }

    fn carrier_steps(&self, steps: &mut Vec<Step>) {
        if self.watch.streaming {
            if self.watch.next_mark().is_some_and(|due| due <= self.now) {
                steps.push(Step::MarkReturns);
                if self.scope.marks_get_lost {
                    steps.push(Step::MarkIsLost);
                }
            }
            if self.scope.stream_stops {
                steps.push(Step::StreamStops);
            }
            if self.left.starts > 0 {
                steps.push(Step::StartsAgain);
            }
        }
        if self.scope.statuses {
            steps.push(Step::Completed);
            if !self.watch.goes_on {
                steps.push(Step::GoesOn);
            }
        }
        if self.hang_up.is_some() {
            steps.push(Step::HungUp);
            if self.scope.hang_up_fails {
                steps.push(Step::HangUpFails);
            }
        }
    }

    /// When time may next stop: something is due, or a mark is reached.
    fn next_moment(&self) -> Option<CallTime> {
        let call = self.call.poll_timeout().map(|deadline| deadline.at).filter(|at| *at != CallTime::NEVER);
        let mark = self.watch.next_mark().filter(|due| self.watch.streaming && *due > self.now);
        [call, mark].into_iter().flatten().min()
    }

    // ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────

    fn created(&mut self, request: Option<(RequestId, Reason)>) {
        let id = ResponseId(self.next.response);
        self.next.response += 1;
        let (answers, tells_result) = self.watch.created(request);
        self.watch.generating = true;
        self.model.responses.push(Response {
            id,
            reason: request.map(|(_, reason)| reason),
            items: Vec::new(),
            called: false,
            cancel: None,
            done: false,
            answers,
            tells_result,
            cancelled: false,
            ends_call: false,
        });
        self.tell(ModelInput::ResponseCreated { response: id, request: request.map(|(request, _)| request) });
    }

    fn announce(&mut self, response: ResponseId) {
        let item = self.item();
        self.response(response).items.push(Item {
            id: item,
            deltas: 0,
            audio_done: false,
            said: None,
            start: 0,
            accepted: 0,
        });
        self.tell(ModelInput::ItemAdded { response, item, kind: ItemKind::Message });
    }

    fn delta(&mut self, response: ResponseId) {
        if self.response(response).items.last().is_none_or(|item| item.audio_done) {
            self.announce(response);
        }
        let bytes = self.scope.delta_ms * 8;
        let Some(item) = self.response(response).items.last_mut() else { return };
        item.deltas += 1;
        let item = item.id;
        self.watch.giving = Some((response, item, bytes));
        self.tell(ModelInput::Audio { response, item, bytes });
        self.watch.giving = None;
    }

    fn says(&mut self, response: ResponseId, reply: Reply) {
        let Some(item) = self.response(response).items.last_mut() else { return };
        item.said = Some(reply);
        let item = item.id;
        let text = match reply {
            Reply::Plain => "It is half past nine.",
            Reply::Goodbye => "Goodbye!",
        };
        self.tell(ModelInput::TranscriptDone { response, item, text: text.to_owned() });
    }

    fn calls_tool(&mut self, response: ResponseId, name: &str) {
        let (call, item) = (ToolCallId(self.next.tool), self.item());
        self.next.tool += 1;
        let ends = name == END_CALL;
        let caller = self.response(response);
        caller.called = true;
        caller.ends_call |= ends;
        self.watch.tool_calls.push((call, response));
        let (name, arguments) = (name.to_owned(), "{}".to_owned());
        self.tell(ModelInput::ToolCall { response, item, call, name, arguments });
    }

    fn done(&mut self, response: ResponseId, status: ResponseStatus) {
        let done = self.response(response);
        done.done = true;
        self.watch.generating = false;
        let done = self.response(response);
        done.cancelled = status == ResponseStatus::Cancelled;
        let cancel = done.cancel.filter(|_| !done.cancelled);
        let came_to_nothing = done.items.iter().all(|item| item.accepted == 0);
        self.model.too_late = cancel.or(self.model.too_late);
        let done = self.response(response).clone();
        if came_to_nothing && !done.called && done.cancel.is_none() && !done.cancelled {
            self.watch.came_to_nothing(&done);
        }
        let answers_goodbye = done.answers && self.watch.caller_said_goodbye;
        let was_goodbye = done.reason == Some(Reason::Farewell) || answers_goodbye;
        if came_to_nothing && !done.cancelled && was_goodbye {
            self.watch.goodbye_came_to_nothing();
        }
        self.tell(ModelInput::ResponseDone { response, status, usage: Usage::default() });
    }

    fn stops(&mut self, length: Length) {
        let Some(utterance) = self.utterances.iter_mut().find(|utterance| utterance.state == Speech::Going) else {
            return;
        };
        utterance.state = Speech::Stopped;
        let item = utterance.item;
        let speech = match length {
            Length::Short => self.scope.config.min_speech / 2,
            Length::Long => self.scope.config.min_speech * 2,
        };
        // The detector counts its padding and its closing silence.
        let whole = speech + self.scope.config.vad_prefix + self.scope.config.vad_silence;
        self.tell(ModelInput::SpeechStopped { item, at_ms: whole.as_millis() as u64 });
    }

    fn ears_hear(&mut self) {
        self.left.ears -= 1;
        self.ears_hear = true;
        let over_agent = self.watch.is_surely_audible(self.now) && !self.watch.caller_speaking && !self.model.lost;
        self.give(Input::Ears(EarInput::SpeechStarted));
        if over_agent {
            self.watch.must_be_held();
        }
    }

    fn transcribed(&mut self, item: ItemId, said: Said) {
        self.watch.caller_said_goodbye |= said == Said::Farewell;
        self.utterances.retain(|utterance| utterance.item != item);
        let text = match said {
            Said::Nothing => Some(""),
            Said::BackChannel => Some("Mhm."),
            Said::Words => Some("And what about tomorrow?"),
            Said::Farewell => Some("Bye!"),
            Said::Unknown => None,
        };
        self.tell(ModelInput::CallerTranscript { item, text: text.map(str::to_owned) });
    }

    fn tell(&mut self, input: ModelInput) {
        self.give(Input::Model(EPOCH, input));
    }

    fn give(&mut self, input: Input) {
        let (call, now) = (&mut self.call, self.now);
        if catch_unwind(AssertUnwindSafe(|| call.handle_input(input, now))).is_err() {
            let rule = self.call.broken_rule().unwrap_or("the call panicked");
            self.watch.broken.get_or_insert(rule);
            return;
        }
        while let Some(output) = self.call.poll_output() {
            self.watch(&output);
            self.take(output);
        }
    }

    /// The environment does what it is asked.
    fn take(&mut self, output: Output) {
        match output {
            Output::Model(ModelOutput::CreateResponse { request, reason, .. }) => {
                self.model.request = Some((request, reason));
            }
            Output::Model(ModelOutput::CancelResponse { request, response }) => {
                match self.model.responses.iter_mut().find(|known| known.id == response && !known.done) {
                    Some(response) => response.cancel = Some(request),
                    None => self.model.too_late = Some(request),
                }
            }
            Output::Do(id, Command::HangUp) => self.hang_up = Some(id),
            Output::Do(id, Command::RunTool { .. }) => self.tools.push(id),
            Output::CloseModel => self.model.lost = true,
            Output::Ended(_) => self.say_everything_once_more(),
            _ => {}
        }
    }

    /// Whatever still comes after the end changes nothing (L7, L9).
    fn say_everything_once_more(&mut self) {
        let item = ItemId(self.next.item);
        let inputs = [
            Input::TimePassed,
            Input::Operator(OperatorInput::HangUp),
            Input::Carrier(CarrierInput::Stopped),
            Input::Carrier(CarrierInput::Closed),
            Input::Carrier(CarrierInput::Started),
            Input::Carrier(CarrierInput::Status(CallStatus::Completed)),
            Input::Model(EPOCH, ModelInput::SpeechStarted { item, at_ms: 0 }),
            Input::Model(EPOCH, ModelInput::Committed { item }),
            Input::Model(EPOCH, ModelInput::Lost { fatal: false }),
        ];
        for input in inputs {
            self.give(input);
        }
        for command in self.hang_up.iter().chain(&self.tools).copied().collect::<Vec<_>>() {
            self.give(Input::Done(command, Outcome::HangUpFailed));
        }
    }

    /// Forgets responses of which nothing more comes, and about which no rule asks any more.
    fn forget(&mut self) {
        if !self.scope.marks_come_late {
            self.watch.forget_stale_marks();
        }
        let late = self.scope.late_transcripts && !self.scope.replies.is_empty();
        let watch = &self.watch;
        let newest = self.model.responses.last().map(|response| response.id);
        self.model.responses.retain(|response| {
            let is_newest = newest == Some(response.id);
            let speaks = |item: &Item| late && is_newest && item.said.is_none() && item.deltas > 0;
            !response.done
                || response.items.iter().any(|item| speaks(item) || watch.may_be_asked_about(item))
                || (!response.cancelled && (is_newest || watch.goodbye_pending))
        });
    }

    fn is_newest(&self, response: ResponseId) -> bool {
        self.model.responses.last().is_some_and(|newest| newest.id == response)
    }

    fn item(&mut self) -> ItemId {
        self.next.item += 1;
        ItemId(self.next.item - 1)
    }

    fn response(&mut self, id: ResponseId) -> &mut Response {
        let known = self.model.responses.iter_mut().find(|response| response.id == id);
        known.expect("steps are only taken where they were offered")
    }
}

impl Response {
    fn is_goodbye(&self) -> bool {
        self.ends_call
            || self.reason == Some(Reason::Farewell)
            || self.items.iter().any(|item| item.said == Some(Reply::Goodbye))
    }

    fn accepted(&self) -> u64 {
        self.items.iter().map(|item| item.accepted).sum()
    }
}

impl Explorable for World {
    type Action = Step;

    fn actions(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.call.has_ended() {
            return steps;
        }
        self.model_steps(&mut steps);
        self.caller_steps(&mut steps);
        self.ear_steps(&mut steps);
        self.carrier_steps(&mut steps);
        if !self.tools.is_empty() {
            steps.push(Step::ToolAnswers);
        }
        if self.left.operator_hang_ups > 0 {
            steps.push(Step::OperatorHangsUp);
        }
        if self.left.texts > 0 {
            steps.push(Step::OperatorSays);
        }
        if self.left.forced_texts > 0 {
            steps.push(Step::OperatorSaysNow);
        }
        if self.next_moment().is_some() {
            steps.push(Step::TimePasses);
        }
        steps
    }

    fn apply(&mut self, step: &Step) {
        self.watch.happened.clear();
        match *step {
            Step::Created => {
                let request = self.model.request.take();
                self.created(request);
            }
            Step::BeginsByItself => {
                self.left.own_responses -= 1;
                self.created(None);
            }
            Step::Collides | Step::Rejects => {
                let error = if *step == Step::Collides { ModelError::Collision } else { ModelError::Other };
                self.left.rejections -= u8::from(*step == Step::Rejects);
                let request = self.model.request.take();
                if let Some((_, reason)) = request {
                    self.watch.rejected(reason);
                    if reason == Reason::Farewell {
                        self.watch.goodbye_came_to_nothing();
                    }
                }
                self.tell(ModelInput::Error { request: request.map(|(request, _)| request), error });
            }
            Step::Announces(response) => self.announce(response),
            Step::Delta(response) => self.delta(response),
            Step::AudioDone(response) => {
                let Some(item) = self.response(response).items.last_mut() else { return };
                item.audio_done = true;
                let item = item.id;
                self.tell(ModelInput::AudioDone { response, item });
            }
            Step::Says(response, reply) => self.says(response, reply),
            Step::CallsTool(response) => {
                self.left.tools -= 1;
                self.calls_tool(response, "look_up");
            }
            Step::CallsEnd(response) => {
                self.left.end_calls -= 1;
                self.calls_tool(response, END_CALL);
            }
            Step::Done(response) => {
                let response_done = self.response(response);
                let is_empty = !response_done.called && response_done.items.iter().all(|item| item.deltas == 0);
                self.left.empty -= u8::from(is_empty);
                self.done(response, ResponseStatus::Completed);
            }
            Step::DoneCancelled(response) => {
                self.left.own_cancellations -= u8::from(self.response(response).cancel.is_none());
                self.done(response, ResponseStatus::Cancelled);
            }
            Step::Fails(response) => {
                self.left.failures -= 1;
                self.done(response, ResponseStatus::Failed(ModelError::Other));
            }
            Step::NothingToCancel => {
                let request = self.model.too_late.take();
                self.tell(ModelInput::Error { request, error: ModelError::NothingToCancel });
            }
            Step::ModelLost => {
                self.model.lost = true;
                self.tell(ModelInput::Lost { fatal: false });
            }
            Step::Speaks => {
                self.left.utterances -= 1;
                let item = self.item();
                self.utterances.push(Utterance { item, state: Speech::Going });
                self.watch.caller_speaking = true;
                self.watch.reported();
                self.tell(ModelInput::SpeechStarted { item, at_ms: 0 });
            }
            Step::Stops(length) => self.stops(length),
            Step::Committed(item) => {
                let more = !self.scope.said.is_empty();
                self.utterances.retain(|utterance| more || utterance.item != item);
                for utterance in self.utterances.iter_mut().filter(|utterance| utterance.item == item) {
                    utterance.state = Speech::Committed;
                }
                self.watch.committed(item);
                self.tell(ModelInput::Committed { item });
            }
            Step::Transcribed(item, said) => self.transcribed(item, said),
            Step::EarsHear => self.ears_hear(),
            Step::EarsHearTheEnd => {
                self.ears_hear = false;
                self.give(Input::Ears(EarInput::SpeechStopped));
            }
            Step::EarsGoDeaf => {
                self.ears_hear = false;
                self.give(Input::Ears(EarInput::Deaf));
            }
            Step::MarkReturns => {
                if let Some(mark) = self.watch.mark_returns() {
                    self.give(Input::Carrier(CarrierInput::MarkReturned(mark)));
                }
            }
            Step::MarkIsLost => self.watch.mark_is_lost(),
            Step::StreamStops => {
                self.watch.streaming = false;
                self.give(Input::Carrier(CarrierInput::Stopped));
            }
            Step::StartsAgain => {
                self.left.starts -= 1;
                self.give(Input::Carrier(CarrierInput::Started));
            }
            Step::Completed => self.give(Input::Carrier(CarrierInput::Status(CallStatus::Completed))),
            Step::GoesOn => {
                self.watch.goes_on = true;
                self.watch.streaming = false;
                self.give(Input::Carrier(CarrierInput::AfterStream(CallStatus::InProgress)));
            }
            Step::HungUp | Step::HangUpFails => {
                let Some(command) = self.hang_up.take() else { return };
                let outcome = if *step == Step::HungUp { Outcome::HungUp } else { Outcome::HangUpFailed };
                self.watch.hang_up_answered(*step == Step::HungUp);
                self.give(Input::Done(command, outcome));
            }
            Step::ToolAnswers => {
                let command = self.tools.remove(0);
                self.give(Input::Done(command, Outcome::ToolAnswered("{}".to_owned())));
            }
            Step::OperatorHangsUp => {
                self.left.operator_hang_ups -= 1;
                self.give(Input::Operator(OperatorInput::HangUp));
            }
            Step::OperatorSays => {
                self.left.texts -= 1;
                self.watch.texts += 1;
                self.give(Input::Operator(OperatorInput::Say { text: "One moment.".to_owned(), force: false }));
            }
            Step::OperatorSaysNow => {
                self.left.forced_texts -= 1;
                self.watch.texts += 1;
                self.give(Input::Operator(OperatorInput::Say { text: "Listen.".to_owned(), force: true }));
            }
            Step::TimePasses => {
                self.now = self.next_moment().unwrap_or(self.now);
                self.give(Input::TimePassed);
            }
        }
        self.watch.step_ends();
        self.forget();
    }

    fn fingerprint(&self, mut hasher: &mut impl Hasher) {
        let mut print = Fingerprint::new(&mut hasher, self.now);
        if self.call.has_ended() {
            // Nothing happens any more, and what still came was ignored.
            return print.put("ended");
        }
        print.put(self.left);
        print.put((self.model.lost, self.model.request.map(|(_, reason)| reason)));
        print.id_of(self.model.request.map(|(request, _)| request));
        print.id_of(self.model.too_late);
        print.put(self.model.responses.len());
        for response in &self.model.responses {
            let Response { id, reason, items, called, cancel, done, answers, tells_result, cancelled, ends_call } =
                response;
            print.id(*id);
            print.put((*reason, *called, *done, *answers, *tells_result, *cancelled, *ends_call, items.len()));
            print.id_of(*cancel);
            for Item { id, deltas, audio_done, said, start, accepted } in items {
                print.id(*id);
                print.put((*deltas, *audio_done, *said, *accepted));
                if *accepted > 0 {
                    self.watch.put_position(*start, &mut print);
                }
            }
        }
        print.put(self.utterances.len());
        for Utterance { item, state } in &self.utterances {
            print.id(*item);
            print.put(*state);
        }
        print.id_of(self.hang_up);
        print.ids(self.tools.iter().copied());
        print.put(self.ears_hear);
        self.watch.fingerprint(&mut print, &self.scope.config);
        self.call.fingerprint(&mut print);
    }

    fn violation(&self) -> Option<&'static str> {
        self.watch.broken.or_else(|| self.broken_at_rest())
    }

    fn sometimes(&self) -> Vec<&'static str> {
        self.watch.happened.clone()
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
