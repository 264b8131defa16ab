//! What is seen of a call from outside, and the rules that it must keep whatever happens.
//!
//! Only outputs are looked at, and what the environment did itself. Where the call knows better than an onlooker can
//! (how far playing has come when marks are late), the rule is asked in its weaker form, so that what is found broken
//! here is broken.

use std::collections::VecDeque;
use std::time::Duration;

use call::config::CallConfig;
use call::fingerprint::Fingerprint;
use call::id::MarkId;
use call::output::{Guard, Via};
use call::{
    CallTime, Command, CommandId, EndReason, ItemId, ModelOutput, Note, Output, Reason, RequestId, ResponseId, Span,
    ToolCallId,
};

use super::{Item, Response, Speech, World};

#[derive(Clone, Default)]
pub(super) struct Watch {
    /// The rule that was broken.
    pub broken: Option<&'static str>,
    /// What was seen in the last step that must be seen sometimes.
    pub happened: Vec<&'static str>,

    pub streaming: bool,
    /// The carrier said that the call goes on.
    pub goes_on: bool,
    ended: bool,
    model_closed: bool,
    model_given_up: bool,

    /// Audio that is being given, to see whether it is accepted.
    pub giving: Option<(ResponseId, ItemId, u32)>,
    /// Bytes kept at the driver, ever.
    kept: u64,
    /// Where the next frame should begin.
    next: u64,
    /// The end of what was sent, farthest.
    sent: u64,
    /// Marks that came back confirm all that lies before.
    confirmed: u64,
    /// What lies before was interrupted: it is never sent again (B2).
    dead: u64,
    /// After a `clear`, until more is sent: how far the caller may have heard, and whether that is not all that was sent.
    cleared: Option<u64>,
    cut_off: bool,
    held: bool,
    /// It was opened by our own ears, and the model reported nothing since.
    ears_only: bool,
    /// A response is going on.
    pub generating: bool,
    /// At the carrier, not confirmed.
    frames: VecDeque<Frame>,
    marks: VecDeque<Mark>,
    frames_sent: u64,
    play_end: CallTime,

    pub caller_speaking: bool,
    /// What answers a mere goodbye is one, whatever its words (H9).
    pub caller_said_goodbye: bool,
    /// Committed, and no response was asked for since.
    unanswered: Vec<ItemId>,
    /// A response to the caller was cancelled before anything of it was heard.
    taken_back: bool,
    /// Texts of the operator that were not asked for yet, and results of tools that were not spoken about.
    pub texts: u8,
    pub result: bool,
    /// What the create on its way is for.
    answering: bool,
    tells_result: bool,

    pub goodbye_pending: bool,
    goodbyes_that_came_to_nothing: u8,
    hang_up: HangUp,
    hang_ups: u32,
    greeted: bool,
    collided: bool,
    recordings: u8,
    /// Function calls that the model got no output for.
    pub tool_calls: Vec<(ToolCallId, ResponseId)>,
    /// Those of them that were run: their results are to be spoken about.
    tools_run: Vec<ToolCallId>,
}

#[derive(Clone, Copy)]
struct Frame {
    end: u64,
    /// If it plays at once after the one before; a mark that comes late says that it plays later.
    play_end: CallTime,
}

#[derive(Clone, Copy)]
struct Mark {
    id: MarkId,
    due: CallTime,
    /// It stands behind this place, and was reached rather than flushed.
    confirms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum HangUp {
    #[default]
    No,
    Asked {
        until: CallTime,
    },
    Failed,
    Accepted,
}

impl Watch {
    // ── What the environment tells ───────────────────────────────────────────────────────────────────────────────

    pub fn committed(&mut self, item: ItemId) {
        self.unanswered.push(item);
    }

    /// Whether this response answers all that the caller said so far, and whether it tells a tool's result.
    pub fn created(&mut self, request: Option<(RequestId, Reason)>) -> (bool, bool) {
        let tells_result = request.is_some() && std::mem::take(&mut self.tells_result);
        let is_awaited = std::mem::take(&mut self.answering);
        let answers = match request {
            // One with a text of its own says that text; what the caller said waits (B5, R3).
            // One that was overtaken and begins after all has nothing left to answer (R8).
            Some((_, reason)) => is_awaited && !matches!(reason, Reason::Greeting | Reason::Say),
            // The model's own stands for the one that it overtook.
            None => is_awaited,
        };
        if answers {
            self.answered();
        }
        (answers, tells_result)
    }

    /// The request did not become a response.
    pub fn rejected(&mut self, reason: Reason) {
        self.taken_back |= std::mem::take(&mut self.answering);
        self.result |= std::mem::take(&mut self.tells_result);
        self.texts += u8::from(reason == Reason::Say);
    }

    /// The response was cancelled, or ended, before anything of it was heard: what it was for is still owed.
    pub fn came_to_nothing(&mut self, response: &Response) {
        self.taken_back |= response.answers;
        self.result |= response.tells_result;
        self.texts += u8::from(response.reason == Some(Reason::Say));
    }

    fn answered(&mut self) {
        self.unanswered.clear();
        self.taken_back = false;
    }

    pub fn goodbye_came_to_nothing(&mut self) {
        self.goodbye_pending = false;
        self.goodbyes_that_came_to_nothing += 1;
        self.happened.push("a goodbye that came to nothing");
    }

    pub fn hang_up_answered(&mut self, accepted: bool) {
        self.hang_up = if accepted { HangUp::Accepted } else { HangUp::Failed };
    }

    /// When the carrier reaches its next mark.
    pub fn next_mark(&self) -> Option<CallTime> {
        self.marks.front().map(|mark| mark.due)
    }

    pub fn mark_returns(&mut self) -> Option<MarkId> {
        let mark = self.marks.pop_front()?;
        if let Some(place) = mark.confirms {
            self.confirmed = self.confirmed.max(place);
            while self.frames.pop_front_if(|frame| frame.end <= place).is_some() {}
        }
        Some(mark.id)
    }

    /// Marks that say nothing any more are not waited for, in a world that is not about them.
    pub fn forget_stale_marks(&mut self) {
        self.marks.retain(|mark| mark.confirms.is_some());
    }

    pub fn mark_is_lost(&mut self) {
        self.marks.pop_front();
        self.happened.push("a mark is lost");
    }

    /// Whether an edit may still be made to the item, or the end of its hearing matters.
    pub fn may_be_asked_about(&self, item: &Item) -> bool {
        item.accepted > 0 && item.start + item.accepted > self.confirmed.max(self.dead)
    }

    // ── Audio ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn sends(&mut self, span: Span, pad: u32, now: CallTime, config: &CallConfig) {
        let end = span.start + u64::from(span.len);
        let goes_on = span.start == self.next || (span.start == self.dead && self.next <= self.dead);
        // After a hold it goes on from where hearing stopped.
        let goes_back = self.cleared.is_some_and(|heard| (self.confirmed..=heard).contains(&span.start));
        // Nothing that was not heard is left out.
        let goes_on = goes_on && !self.cleared.is_some_and(|heard| heard < span.start && self.dead < span.start);
        if !self.streaming {
            self.breaks("L7: audio for a carrier that is not there");
        }
        if self.is_held() {
            self.breaks("B4: audio during a hold");
        }
        if span.start < self.dead {
            self.breaks("B2: audio that was interrupted");
        }
        if !goes_on && !goes_back {
            self.breaks("A2: audio left out, or sent twice");
        }
        if end > self.kept {
            self.breaks("A2: audio that was never accepted");
        }
        if goes_back && span.start < self.next {
            self.happened.push("playing goes on after a hold");
        }
        self.next = end;
        self.sent = self.sent.max(end);
        self.cleared = None;
        self.cut_off = false;
        let plays = Duration::from_micros(u64::from(span.len + pad) * 125);
        self.play_end = self.play_end.max(now) + plays;
        if self.play_end.since(now) > config.lead.max(plays) {
            self.breaks("A3: more than the lead lies at the carrier");
        }
        self.frames_sent += 1;
        self.frames.push_back(Frame { end, play_end: self.play_end });
    }

    /// How far the caller has heard if each frame plays at once after the one before; never farther than that.
    fn heard(&self, now: CallTime) -> u64 {
        match self.frames.iter().find(|frame| frame.play_end > now) {
            // 8 bytes a ms.
            Some(playing) => playing.end.saturating_sub(playing.play_end.since(now).as_micros() as u64 / 125),
            None => self.next,
        }
    }

    fn clears(&mut self, now: CallTime) {
        self.cut_off = self.frames.back().is_some_and(|frame| frame.play_end > now);
        self.cleared = Some(self.heard(now));
        self.frames.clear();
        self.play_end = now;
        // All marks come back, in order, and say nothing any more (A7).
        for mark in &mut self.marks {
            mark.due = mark.due.min(now);
            mark.confirms = None;
        }
    }

    /// Whether a hold is undecided that has something to decide about. One in which all was heard after all, and
    /// nothing more is coming, may be decided without a word.
    fn is_held(&self) -> bool {
        let unsent = self.next.max(self.dead) != self.kept;
        self.held && (self.generating || self.cut_off || unsent || self.goodbye_pending)
    }

    /// Whether the agent is heard, however late its marks are.
    pub fn is_surely_audible(&self, now: CallTime) -> bool {
        self.streaming && self.frames.back().is_some_and(|frame| frame.play_end > now)
    }

    /// Our own ears heard the caller over the agent.
    pub fn must_be_held(&mut self) {
        if !self.is_held() && !self.ended {
            self.breaks("B4: our own ears hear the caller over the agent, who speaks on");
        }
    }

    /// The model reports speech.
    pub fn reported(&mut self) {
        if self.is_held() && std::mem::take(&mut self.ears_only) {
            self.happened.push("the model reports what our own ears heard");
        }
    }

    pub fn step_ends(&mut self) {
        self.held = self.is_held();
    }

    /// Everything accepted so far is over (B1).
    fn interrupts(&mut self) {
        self.dead = self.kept;
        self.held = false;
    }

    // ── Rules ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn breaks(&mut self, rule: &'static str) {
        self.broken.get_or_insert(rule);
    }

    fn asks_to_hang_up(&mut self, now: CallTime, config: &CallConfig) {
        let again = match self.hang_up {
            HangUp::No => true,
            HangUp::Failed => true,
            HangUp::Asked { until } => until <= now,
            HangUp::Accepted => false,
        };
        if !again {
            self.breaks("H1, H3: a hang-up while another is in progress");
        }
        self.hang_ups += 1;
        if self.hang_ups > config.hang_up_attempts {
            self.breaks("H10: more attempts to hang up than there are");
        }
        if self.hang_ups > 1 {
            self.happened.push("a hang-up is tried again");
        }
        self.hang_up = HangUp::Asked { until: now + config.hang_up_timeout };
    }

    pub fn put_position(&self, position: u64, print: &mut Fingerprint<'_>) {
        print.put(self.kept.wrapping_sub(position));
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Watch {
            broken: _,
            happened: _,
            streaming,
            goes_on,
            ended,
            model_closed,
            model_given_up,
            giving: _,
            kept,
            next,
            sent,
            confirmed,
            dead,
            cleared,
            cut_off,
            held,
            ears_only,
            generating: _,
            frames,
            marks,
            frames_sent,
            play_end,
            caller_speaking,
            caller_said_goodbye,
            unanswered,
            taken_back,
            texts,
            result,
            answering,
            tells_result,
            goodbye_pending,
            goodbyes_that_came_to_nothing,
            hang_up,
            hang_ups,
            greeted,
            // Only for what must be seen sometimes.
            collided: _,
            recordings,
            tool_calls,
            tools_run,
        } = self;
        print.put((*streaming, *goes_on, *ended, *model_closed, *model_given_up));
        // What lies before was confirmed or interrupted is behind everything that is still asked about.
        let behind = (*dead).max(*confirmed);
        print.put((kept - next, kept - sent, kept - behind, kept - dead.max(confirmed)));
        print.put(cleared.map(|heard| kept.wrapping_sub(heard)));
        print.put((*cut_off, *held, *held && *ears_only, *caller_speaking, *caller_said_goodbye));
        print.put((*taken_back, *answering, *goodbye_pending, *texts, *result, *tells_result));
        print.put(frames.len());
        for Frame { end, play_end } in frames {
            print.put(kept - end);
            print.until(*play_end + config.mark_grace);
        }
        print.put(marks.len());
        for Mark { id, due, confirms } in marks {
            print.id(*id);
            print.until(*due);
            print.put(confirms.map(|place| kept.wrapping_sub(place)));
        }
        print.put(*frames_sent > 0);
        print.until(*play_end);
        print.ids(unanswered.iter().copied());
        print.put((*goodbyes_that_came_to_nothing, *hang_ups, *recordings, *greeted));
        match hang_up {
            HangUp::No => print.put(0),
            HangUp::Asked { until } => {
                print.put(1);
                print.until(*until);
            }
            HangUp::Failed => print.put(2),
            HangUp::Accepted => print.put(3),
        }
        print.put(tool_calls.len());
        for (call, response) in tool_calls {
            print.id(*call);
            print.id(*response);
            print.put(tools_run.contains(call));
        }
    }
}

impl World {
    /// Looks at what the call puts out, before the environment does it.
    pub(super) fn watch(&mut self, output: &Output) {
        let now = self.now;
        let watch = &mut self.watch;
        if watch.ended && !matches!(output, Output::Note(Note::AlreadyEnded)) {
            watch.breaks(match output {
                Output::Ended(_) => "L7: ended twice",
                _ => "L7, L9: something after the end",
            });
        }
        match output {
            Output::SendAudio { span, pad, .. } => watch.sends(*span, *pad, now, &self.scope.config),
            Output::SendMark(id) => {
                let (due, confirms) = (watch.play_end.max(now), Some(watch.next));
                watch.marks.push_back(Mark { id: *id, due, confirms });
            }
            Output::Clear => watch.clears(now),
            Output::KeepAudio => self.accepts(),
            Output::Model(output) => self.watch_model(output),
            Output::Do(id, command) => self.watch_command(*id, command),
            Output::CloseCarrier => {
                if matches!(watch.hang_up, HangUp::Failed | HangUp::Accepted | HangUp::Asked { .. }) && watch.streaming
                {
                    watch.happened.push("the socket is closed as a last resort");
                }
                watch.streaming = false;
            }
            Output::CloseModel => {
                if std::mem::replace(&mut watch.model_closed, true) {
                    watch.breaks("L7: the model's socket closed twice");
                }
                watch.model_given_up = true;
                // Nobody can say any more when the caller stops (N4).
                watch.held = false;
                watch.caller_speaking = false;
            }
            Output::Note(note) => self.watch_note(note),
            Output::Ended(reason) => {
                watch.ended = true;
                watch.streaming = false;
                watch.happened.push(match reason {
                    EndReason::Goodbye => "ended by goodbye",
                    EndReason::CallerHungUp => "ended by the caller",
                    EndReason::OperatorHungUp => "ended by the operator",
                    EndReason::StreamLost => "ended by a lost stream",
                    EndReason::ModelFailed => "ended by the model",
                    EndReason::Silence => "ended by silence",
                    _ => "ended otherwise",
                });
            }
            // These worlds have no clips, no second connection, no second stream.
            Output::KeepLocal(_) | Output::ResumeStream => watch.breaks("N4, N6: switched off, and happened"),
            Output::ForwardAudio
            | Output::HoldAudio
            | Output::ForwardHeld { .. }
            | Output::DropHeld { .. }
            | Output::ForwardSilence { .. } => {}
        }
    }

    /// The audio that is just given was accepted.
    fn accepts(&mut self) {
        let watch = &mut self.watch;
        let Some((id, item, bytes)) = watch.giving else { return watch.breaks("A2: nothing was there to accept") };
        let start = watch.kept;
        watch.kept += u64::from(bytes);
        let Some(response) = self.model.responses.iter_mut().find(|response| response.id == id) else { return };
        if response.cancel.is_some() {
            watch.breaks("R6, B2: audio of a cancelled response was accepted");
        }
        if let Some(item) = response.items.iter_mut().find(|known| known.id == item) {
            if item.accepted == 0 {
                item.start = start;
            }
            item.accepted += u64::from(bytes);
        }
    }

    fn watch_model(&mut self, output: &ModelOutput) {
        let watch = &mut self.watch;
        if watch.model_given_up {
            watch.breaks("N4: something for a model that is gone");
        }
        match output {
            ModelOutput::Configure { .. } => {}
            ModelOutput::CreateResponse { reason, .. } => self.watch_create(*reason),
            ModelOutput::CancelResponse { response, .. } => {
                let Some(response) = self.model.responses.iter().find(|known| known.id == *response) else { return };
                if response.cancel.is_some() {
                    watch.breaks("B6: cancelled twice");
                }
                let sent = response.items.iter().any(|item| item.accepted > 0 && item.start < watch.sent);
                if !sent && !response.called {
                    watch.came_to_nothing(response);
                }
            }
            ModelOutput::Truncate { item, heard_ms, .. } => {
                let items = self.model.responses.iter().flat_map(|response| &response.items);
                let known = items.into_iter().find(|known| known.id == *item);
                let sent = known.map_or(0, |known| watch.sent.saturating_sub(known.start).min(known.accepted));
                if *heard_ms == 0 {
                    watch.breaks("B1: truncated to nothing");
                }
                if u64::from(*heard_ms) * 8 > sent {
                    watch.breaks("A7, B1: truncated to more than was sent");
                }
                watch.happened.push("an item heard in part is truncated");
            }
            ModelOutput::DeleteItem { item, .. } => {
                watch.unanswered.retain(|known| known != item);
                let items = self.model.responses.iter().flat_map(|response| &response.items);
                match items.into_iter().find(|known| known.id == *item) {
                    Some(known) if known.accepted > 0 && watch.confirmed >= known.start + 8 => {
                        watch.breaks("B1: deleted, though some of it was heard");
                    }
                    Some(_) => watch.happened.push("an unheard item is deleted"),
                    None => watch.happened.push("an item of the caller is deleted"),
                }
            }
            ModelOutput::Remember { .. } | ModelOutput::CallerPressed { .. } => {
                watch.breaks("N4, N10: switched off, and happened");
            }
            ModelOutput::ToolOutput { call, .. } => {
                match watch.tool_calls.iter().position(|(known, _)| known == call) {
                    Some(index) => {
                        let (_, response) = watch.tool_calls.remove(index);
                        watch.result |= watch.tools_run.contains(call);
                        if self.model.responses.iter().any(|known| known.id == response && !known.done) {
                            watch.breaks("N2: an output before the calling response was done");
                        }
                    }
                    None => watch.breaks("N2: a second output for a call"),
                }
                watch.happened.push("a tool's output is told");
            }
        }
    }

    fn watch_create(&mut self, reason: Reason) {
        let watch = &mut self.watch;
        if self.model.request.is_some() {
            watch.breaks("R1: two requests at once");
        }
        if reason != Reason::Greeting && (watch.caller_speaking || watch.is_held()) {
            watch.breaks("R2: a request while the caller speaks");
        }
        if watch.goodbye_pending && reason != Reason::Farewell {
            watch.breaks("R2: a request while a goodbye is pending");
        }
        if watch.hang_up != HangUp::No {
            watch.breaks("R2: a request after the hang-up");
        }
        // One that the model began by itself may not be known of yet; one that is cancelled has to end first.
        if self.model.responses.iter().any(|response| !response.done) {
            watch.breaks("R2: a request while a response is active");
        }
        match reason {
            // Nothing rejects it, or makes it fail, in the worlds that have one.
            Reason::Greeting if std::mem::replace(&mut watch.greeted, true) => watch.breaks("G1: greeted twice"),
            Reason::Greeting => {}
            Reason::Say => watch.texts = watch.texts.saturating_sub(1),
            Reason::CallerTurn | Reason::ToolResult => {
                watch.answering = true;
                watch.tells_result = std::mem::take(&mut watch.result);
            }
            Reason::Farewell | Reason::IdlePrompt => watch.answering = true,
        }
        if std::mem::take(&mut watch.collided) {
            watch.happened.push("a request after one that collided");
        }
        watch.happened.push(match reason {
            Reason::Greeting => "a greeting",
            Reason::CallerTurn => "a turn is answered",
            Reason::ToolResult => "a tool's result is spoken about",
            Reason::Farewell => "a goodbye is asked for",
            Reason::Say => "an operator's text is asked for",
            Reason::IdlePrompt => "silence is broken",
        });
    }

    fn watch_command(&mut self, _id: CommandId, command: &Command) {
        let watch = &mut self.watch;
        match command {
            Command::HangUp => watch.asks_to_hang_up(self.now, &self.scope.config),
            Command::StartRecording => {
                watch.recordings += 1;
                if watch.recordings > 1 {
                    watch.breaks("C1: a second recording");
                }
                if watch.frames_sent == 0 {
                    watch.breaks("C2: a recording before the first frame");
                }
            }
            Command::ConnectModel { .. } => {}
            Command::RunTool { call, .. } => {
                watch.tools_run.push(*call);
                watch.happened.push("a tool is run");
            }
        }
    }

    fn watch_note(&mut self, note: &Note) {
        let watch = &mut self.watch;
        match note {
            Note::MediaStarted => watch.streaming = true,
            Note::CallerStopped => watch.caller_speaking = false,
            Note::EarsHeard => {
                watch.ears_only = true;
                watch.happened.push("our own ears open a hold");
            }
            Note::Held => {
                watch.held = true;
                watch.happened.push("a hold");
            }
            Note::Resumed { back_channel } => {
                watch.held = false;
                if watch.caller_speaking && watch.streaming {
                    watch.breaks("B4: playing goes on while the caller speaks");
                }
                if std::mem::take(&mut watch.ears_only) {
                    watch.happened.push("what only our own ears heard is ignored");
                }
                watch.happened.push(if *back_channel { "a back-channel word is ignored" } else { "noise is ignored" });
            }
            Note::Interrupted { .. } => {
                if watch.is_held() {
                    if std::mem::take(&mut watch.ears_only) {
                        watch.breaks("B4: an interruption that the model never heard");
                    }
                    watch.happened.push("a hold becomes an interruption");
                }
                watch.interrupts();
                for response in self.model.responses.iter_mut().filter(|response| response.done) {
                    response.cancelled = true;
                }
                watch.happened.push("an interruption");
            }
            Note::GoodbyePending { .. } => watch.goodbye_pending = true,
            Note::GoodbyeWithdrawn => {
                watch.goodbye_pending = false;
                watch.held = false;
                if watch.caller_said_goodbye {
                    // It was the answer, and nothing revives it (H7).
                    watch.answered();
                }
                watch.happened.push("a goodbye is withdrawn");
            }
            Note::GoodbyeDone { via } => self.watch_goodbye(*via),
            Note::Collided { .. } => watch.collided = true,
            Note::NotAsking { guard: Guard::GoodbyePending, .. } => {
                watch.happened.push("a request that a goodbye stops");
            }
            Note::Odd("a response came to nothing twice") => {
                // Given up: there is nothing more to be done about it (R10).
                watch.answered();
                watch.result = false;
                watch.texts = watch.texts.saturating_sub(1);
                watch.happened.push("a response that came to nothing twice");
            }
            Note::Odd("a response began before the one before it was done") => {
                watch.happened.push("a response begins too early");
            }
            _ => {}
        }
    }

    /// A goodbye is carried out: was it said, complete and heard, and does nobody object? (H2, H7, H8)
    fn watch_goodbye(&mut self, via: Via) {
        let (now, grace) = (self.now, self.scope.config.mark_grace);
        let watch = &mut self.watch;
        if watch.caller_speaking || watch.is_held() {
            watch.breaks("H2, H7: a goodbye while the caller speaks");
        }
        if watch.next.max(watch.dead) != watch.kept
            || (watch.cleared.is_some() && watch.cut_off && watch.dead != watch.kept)
        {
            watch.breaks("H2, H8: a goodbye before everything was sent");
        }
        let is_unheard = |end: u64| watch.frames.iter().any(|frame| frame.end <= end && frame.play_end + grace > now);
        let is_good = |response: &Response| {
            let end = response.items.iter().map(|item| item.start + item.accepted).max().unwrap_or_default();
            let is_goodbye = response.is_goodbye() || (response.answers && watch.caller_said_goodbye);
            is_goodbye && response.done && !response.cancelled && response.accepted() > 0 && !is_unheard(end)
        };
        let is_said = self.model.responses.iter().any(is_good);
        match via {
            Via::Unspoken if watch.model_given_up || watch.goodbyes_that_came_to_nothing > 1 => {}
            Via::Unspoken => watch.breaks("H2: a goodbye without words, though there was a way to say them"),
            Via::AudioDone | Via::TranscriptDone if is_said => {}
            Via::AudioDone | Via::TranscriptDone => watch.breaks("H2: a goodbye that was not said, complete and heard"),
        }
        watch.happened.push(match via {
            Via::AudioDone => "goodbye, via audio.done",
            Via::TranscriptDone => "goodbye, via transcript.done",
            Via::Unspoken => "goodbye, unspoken",
        });
        if watch.frames.iter().any(|frame| frame.play_end + grace <= now) {
            watch.happened.push("a goodbye whose mark never came");
        }
    }

    /// What must hold when nothing will happen by itself any more: nobody owes the call anything, and no deadline of
    /// its own is ahead.
    pub(super) fn broken_at_rest(&self) -> Option<&'static str> {
        let watch = &self.watch;
        if watch.ended {
            return None;
        }
        let waits = self.call.poll_timeout().is_some_and(|deadline| deadline.at != CallTime::NEVER);
        if waits {
            return None;
        }
        let owes = self.model.request.is_some() || self.model.responses.iter().any(|response| !response.done);
        let config = &self.scope.config;
        let limited = config.requested_timeout != Duration::MAX && config.response_max != Duration::MAX;
        if owes && !self.model.lost && limited {
            return Some("R10, N12: the model is waited for without a limit");
        }
        let speaks = self.utterances.iter().any(|utterance| utterance.state != Speech::Committed);
        if owes || speaks || !self.tools.is_empty() || self.hang_up.is_some() {
            return None;
        }
        if !watch.streaming {
            return Some("L7: a call without a stream that never ends");
        }
        if self.model.lost {
            return Some("R9: a call without a model that never ends");
        }
        [
            (watch.is_held(), "B4: a hold that is never decided"),
            (watch.goodbye_pending, "H8: a goodbye that never ends the call"),
            (watch.hang_up != HangUp::No, "H10: a hang-up that never ends the call"),
            (watch.next.max(watch.dead) != watch.kept, "A2: accepted audio that is never sent"),
            (!watch.unanswered.is_empty(), "T1: a turn of the caller that is never answered"),
            (watch.taken_back, "T1: an answer that was taken back and never given"),
            (!watch.tool_calls.is_empty(), "N2: a function call without an output"),
            (watch.result, "N2: a tool's result that is never spoken about"),
            (watch.texts > 0, "R3: a text of the operator that is never said"),
        ]
        .into_iter()
        .find_map(|(broken, rule)| broken.then_some(rule))
    }
}
