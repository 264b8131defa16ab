//! One session of the Realtime protocol, as a value: texts and results go in, texts and work come out.
//!
//! Contract: after every [`Session::receive`], [`Session::found`] and [`Session::answered`], take [`Session::poll`] until it
//! returns `None`. The session has no clock: silence is counted in the audio that was appended, as the reference does.
//!
//! Not done of the reference: MCP, images, prompts, references to items in a response's input, and two responses at once
//! that are both spoken.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::wire::openai::{
    ClientEvent, Content, ErrorBody, Format, Item, ResponseParams, ServerEvent, Session as Settings, SessionObject,
    Tool, TranscriptionUsage,
};
use jiff::Timestamp;
use serde_json::Value;

use super::engine::{Done, Found, What, Work};
use super::response::{Active, End};
use super::settings::{self, SEMANTIC};
use crate::chat;
use crate::detect::{Hearing, Turn, Turns};
use crate::dialogue::{Dialogue, Flow};
use crate::expected::Expected;
use crate::resample::Resampler;
use crate::speak::Rate;
use crate::turn_end;

/// A session ends after this, as with the vendor.
pub(super) const SESSION_MAX: Duration = Duration::from_secs(60 * 60);

/// The conversation's id. There is one in a session.
pub(super) const CONVERSATION: &str = "conv_1";

/// Samples (8 kHz) of the input buffer; what is older is forgotten. Twice what is recognised at once.
const BUFFER_MAX: usize = 60 * 8_000;

/// Audio that the detector has not taken yet. A client that sends much faster than real time is refused beyond that.
const WAITING_MAX: usize = 120 * 8_000;

/// Silence after speech that is given to the recogniser: more makes it invent words.
const TAIL: u64 = 1_600;

/// Recognitions of one session under way at once: one that was begun in a pause, and the turn's own.
const RECOGNITIONS_MAX: usize = 2;

/// Items of a conversation. Beyond that the oldest is forgotten; nothing here looks back further than the last few.
const ITEMS_MAX: usize = 400;

/// Less than this cannot be committed: 100 ms.
const COMMIT_MIN: usize = 800;

/// What a session wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Out {
    /// To be sent.
    Text(String),
    /// To be found out; the result comes back by [`Session::found`].
    Work(Work),
    /// To be asked of the chat server; the pieces of its answer come back by [`Session::answered`]. There is one at a time: the
    /// one before is over, or was stopped.
    Ask(Box<chat::request::Request>),
    /// The answer that is under way is of no use any more.
    StopAsking,
}

/// What decides on the answers of a session.
#[derive(Clone, Debug)]
pub enum Answers {
    ByFlow(Dialogue),
    ByChat(chat::Limits),
}

impl Answers {
    /// Those of a conversation over `flow` that begins `now`.
    pub fn by_flow(flow: Arc<Flow>, now: Timestamp) -> Answers {
        Answers::ByFlow(Dialogue::new(flow, now))
    }

    /// What a recogniser may expect of the caller.
    fn expected(&self) -> Arc<Expected> {
        match self {
            Answers::ByFlow(dialogue) => dialogue.expected(),
            Answers::ByChat(_) => Arc::default(),
        }
    }
}

pub struct Session {
    /// Part of every id, so that two sessions share none.
    name: String,
    ids: u64,
    pub(super) settings: Settings,
    expires_at: u64,
    pub(super) answers: Answers,
    pub(super) ready: VecDeque<Out>,

    /// From 24 kHz, for clients that send that.
    narrower: Resampler,
    /// Appended, and not yet given to the detector.
    waiting: Vec<f32>,
    /// `None`: the detector has it.
    hearing: Option<Box<Hearing>>,
    detecting: Option<u64>,
    turns: Turns,
    /// The input buffer at 8 kHz, and the position of its first sample in all that was appended.
    buffer: VecDeque<f32>,
    buffer_from: u64,
    /// What was committed or cleared by the client up to here is no part of a turn any more, even where the detector has
    /// not judged it yet.
    taken_until: u64,
    /// Since when everybody is silent, if the agent spoke last: the end of what it said.
    idle_from: Option<u64>,
    /// The item of the last silence that was too long: it is answered by asking whether somebody is there.
    pub(super) idle_item: Option<String>,
    /// The item that the caller's speech under way will become, and where it began.
    speech: Option<(String, u64)>,
    /// A recognition that was begun in a pause: work, and its text once it is there.
    ahead: Option<(u64, Option<String>)>,
    /// Whether the turn is over was asked in the pause that the caller is in: how likely that is, once it is known.
    over: Option<Option<f32>>,
    /// The question of that kind under way, whether it is still of use or not: there is one at a time.
    judging: Option<u64>,
    /// Recognitions under way, whether they are still of use or not.
    recognising: HashSet<u64>,
    /// Committed items whose text is still to come, by their work.
    unrecognised: Vec<(u64, String, f64)>,
    /// The work that finds out what these words are about, which are to be answered.
    pub(super) understanding: Option<(u64, Vec<String>)>,

    pub(super) conversation: Vec<Held>,
    pub(super) active: Option<Active>,
    /// Samples (8 kHz) that were committed: for the usage.
    pub(super) committed: u64,
    /// The agent has spoken, so its voice stays.
    pub(super) has_spoken: bool,
}

/// An item of the conversation.
pub(super) struct Held {
    pub item: Item,
    /// Of what the agent spoke: its sentences, and how long each sounds, in milliseconds. `None`: no audio message of the
    /// agent.
    pub spoken: Option<Vec<(String, u64)>>,
    /// What the caller was understood to say; `None` while that is being found out, and for items without sound.
    pub heard: Option<String>,
}

impl Held {
    /// How long what the agent spoke sounds.
    fn audio_ms(&self) -> Option<u64> {
        self.spoken.as_ref().map(|spoken| spoken.iter().map(|(_, ms)| ms).sum())
    }

    /// Keeps of what the agent spoke only what was heard: whole sentences, and of the one that was cut so many words as its
    /// sound has room for.
    fn cut(&mut self, mut heard_ms: u64) {
        for (text, ms) in self.spoken.iter_mut().flatten() {
            if heard_ms < *ms {
                let end = text.floor_char_boundary((text.len() as u64 * heard_ms / *ms) as usize);
                let between_words = text[end..].starts_with(char::is_whitespace);
                let end = if between_words { Some(end) } else { text[..end].rfind(char::is_whitespace) };
                text.truncate(end.unwrap_or(0));
                *ms = heard_ms;
            }
            heard_ms -= *ms;
        }
    }
}

impl Session {
    /// A session that is opened `now`, of the model that the client named.
    pub fn new(name: &str, model: &str, now: Timestamp, answers: Answers) -> Self {
        let mut session = Session {
            name: name.to_owned(),
            ids: 0,
            settings: settings::defaults(model),
            expires_at: now.as_second().unsigned_abs() + SESSION_MAX.as_secs(),
            answers,
            ready: VecDeque::new(),
            narrower: Resampler::new(Rate::Wide.hz(), Rate::Telephone.hz()),
            waiting: Vec::new(),
            hearing: Some(Box::default()),
            detecting: None,
            turns: Turns::default(),
            buffer: VecDeque::new(),
            buffer_from: 0,
            taken_until: 0,
            idle_from: None,
            idle_item: None,
            speech: None,
            ahead: None,
            over: None,
            judging: None,
            recognising: HashSet::new(),
            unrecognised: Vec::new(),
            understanding: None,
            conversation: Vec::new(),
            active: None,
            committed: 0,
            has_spoken: false,
        };
        session.emit(ServerEvent::SessionCreated { session: session.object() });
        session
    }

    /// A text of the client.
    pub fn receive(&mut self, text: &str) {
        match ClientEvent::read_lenient(text) {
            Ok(event) => self.event(event),
            Err(error) => self.error(Some(error.code), &error.message, error.param, error.event_id),
        }
        self.settle();
    }

    /// Whether its turns end by how they sound: [`What::TurnEnd`] will be asked.
    pub fn judges_turns(&self) -> bool {
        self.settings.turn_detection().is_some_and(|detection| detection.kind == SEMANTIC)
    }

    /// A result of earlier work. What nobody waits for any more is passed over.
    pub fn found(&mut self, done: Done) {
        if self.detecting == Some(done.id) {
            self.detecting = None;
            self.detected(done.found);
        } else if self.judging == Some(done.id) {
            self.judging = None;
            self.judged(done.found);
        } else if self.recognising.remove(&done.id) {
            self.recognised(done.id, done.found);
        } else if let Some((_, words)) = self.understanding.take_if(|(work, _)| *work == done.id) {
            self.understood(words, done.found);
        } else {
            self.spoken(done.id, done.found);
        }
        self.settle();
    }

    /// A piece of the chat server's answer.
    pub fn answered(&mut self, piece: chat::Piece) {
        self.piece(piece);
        self.settle();
    }

    /// The next thing that it wants.
    pub fn poll(&mut self) -> Option<Out> {
        self.ready.pop_front()
    }

    /// Says that the session is over, because it lasted as long as it may.
    pub fn expire(&mut self) {
        self.error(Some("session_expired"), "Your session hit the maximum duration of 60 minutes.", None, None);
    }

    /// What has become due by what is known now.
    fn settle(&mut self) {
        self.detect();
        if self.unrecognised.is_empty() {
            self.decide();
        }
    }

    // Sending.

    pub(super) fn emit(&mut self, event: ServerEvent) {
        let event_id = self.new_id("event");
        let mut text = String::new();
        event.write(&event_id, &mut text);
        self.ready.push_back(Out::Text(text));
    }

    pub(super) fn ask(&mut self, what: What) -> u64 {
        self.ids += 1;
        self.ready.push_back(Out::Work(Work { id: self.ids, what }));
        self.ids
    }

    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}_{}_{}", self.name, self.ids)
    }

    pub(super) fn error(&mut self, code: Option<&str>, message: &str, param: Option<String>, event_id: Option<String>) {
        let (kind, code) = ("invalid_request_error".to_owned(), code.map(str::to_owned));
        self.emit(ServerEvent::Error { error: ErrorBody { kind, code, message: message.to_owned(), param, event_id } });
    }

    fn object(&self) -> SessionObject {
        SessionObject {
            id: format!("sess_{}", self.name),
            object: "realtime.session",
            expires_at: self.expires_at,
            settings: self.settings.clone(),
        }
    }

    // The client's events.

    fn event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::SessionUpdate { event_id, session } => self.configure(*session, event_id),
            ClientEvent::Append { event_id, audio } => self.append(&audio, event_id),
            ClientEvent::Commit { event_id } => self.commit_by_client(event_id),
            ClientEvent::Clear { .. } => {
                self.take_buffer();
                self.emit(ServerEvent::Cleared {});
            }
            ClientEvent::ItemCreate { event_id, previous_item_id, item } => {
                self.create_item(*item, previous_item_id, event_id);
            }
            ClientEvent::ItemRetrieve { event_id, item_id } => match self.position(&item_id) {
                Some(at) => self.emit(ServerEvent::ItemRetrieved { item: self.conversation[at].item.clone() }),
                None => self.no_such_item("retrieving", &item_id, event_id),
            },
            ClientEvent::ItemDelete { event_id, item_id } => match self.position(&item_id) {
                Some(at) => {
                    self.conversation.remove(at);
                    self.emit(ServerEvent::ItemDeleted { item_id });
                }
                None => self.no_such_item("deleting", &item_id, event_id),
            },
            ClientEvent::ItemTruncate { event_id, item_id, content_index, audio_end_ms } => {
                self.truncate(item_id, content_index, audio_end_ms, event_id);
            }
            ClientEvent::ResponseCreate { event_id, response } => {
                self.respond(response.map(|params| *params).unwrap_or_default(), event_id);
            }
            ClientEvent::ResponseCancel { event_id, response_id } => self.cancel_by_client(response_id, event_id),
        }
    }

    fn configure(&mut self, update: Settings, event_id: Option<String>) {
        let voice = update.voice();
        if self.has_spoken && voice.is_some() && voice != self.settings.voice() {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            let param = Some("session.audio.output.voice".to_owned());
            return self.error(Some("cannot_update_voice"), message, param, event_id);
        }
        match self.settings.update(update) {
            Ok(()) => self.emit(ServerEvent::SessionUpdated { session: self.object() }),
            Err(refused) => self.error(Some(refused.code), &refused.message, Some(refused.param), event_id),
        }
    }

    // The caller's audio.

    fn append(&mut self, audio: &str, event_id: Option<String>) {
        let Ok(bytes) = STANDARD.decode(audio) else {
            let message = "Invalid 'audio'. Expected base64-encoded audio bytes.";
            return self.error(Some("invalid_value"), message, Some("audio".to_owned()), event_id);
        };
        if self.waiting.len() + bytes.len() / 6 > WAITING_MAX {
            let message = "Audio is appended much faster than it can be heard; this append was dropped.";
            return self.error(Some("rate_limit_exceeded"), message, None, event_id);
        }
        let before = self.waiting.len();
        let format = self.settings.input_format();
        match format {
            Format::MuLaw | Format::ALaw => self.waiting.extend(settings::read(format, &bytes)),
            Format::Pcm => self.narrower.process(&settings::read(format, &bytes), &mut self.waiting),
        }
        self.buffer.extend(&self.waiting[before..]);
        let spare = self.buffer.len().saturating_sub(BUFFER_MAX);
        self.forget(spare);
    }

    /// Forgets the oldest samples of the input buffer.
    fn forget(&mut self, samples: usize) {
        self.buffer.drain(..samples.min(self.buffer.len()));
        self.buffer_from += samples as u64;
    }

    /// Gives the detector what has come since it had something.
    fn detect(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some(hearing) = self.hearing.take() {
            let samples = std::mem::take(&mut self.waiting);
            self.detecting = Some(self.ask(What::Detect { hearing, samples }));
        }
    }

    fn detected(&mut self, found: Result<Found, String>) {
        let Ok(Found::Speech { hearing, probabilities }) = found else {
            // Deaf for that piece of audio; what follows is heard again.
            self.hearing = Some(Box::default());
            return self.error(Some("server_error"), "The audio could not be heard.", None, None);
        };
        self.hearing = Some(hearing);
        for probability in probabilities {
            let Some(detection) = self.settings.turn_detection().cloned() else {
                // The clock goes on although nobody listens.
                self.turns.step(0.0, crate::detect::TurnSettings { threshold: 1.0, silence: u64::MAX });
                continue;
            };
            // The client took this piece while the detector had it.
            let taken = self.turns.position() < self.taken_until;
            let settings = settings::turn_settings(&detection, self.over.flatten());
            let turn = self.turns.step(if taken { 0.0 } else { probability }, settings);
            let prefix = u64::from(detection.prefix_padding_ms.unwrap_or(300)) * 8;
            match turn {
                Some(Turn::Started { at }) => {
                    let from = at.saturating_sub(prefix).max(self.buffer_from);
                    let item_id = self.new_id("item");
                    self.speech = Some((item_id.clone(), from));
                    self.idle_from = None;
                    self.emit(ServerEvent::SpeechStarted { item_id, audio_start_ms: at.saturating_sub(prefix) / 8 });
                    if detection.interrupt_response != Some(false) {
                        self.cancel(End::Cancelled("turn_detected"));
                    }
                }
                Some(Turn::Paused { at }) => {
                    if detection.kind == SEMANTIC {
                        self.ask_if_over(at + turn_end::TAIL_MS * 8);
                    }
                    self.recognise_ahead(at + TAIL);
                }
                Some(Turn::Resumed) => (self.ahead, self.over) = (None, None),
                Some(Turn::Stopped { at }) => {
                    self.over = None;
                    let (item_id, from) = self.speech.take().unwrap_or_else(|| (self.new_id("item"), self.buffer_from));
                    self.emit(ServerEvent::SpeechStopped { item_id: item_id.clone(), audio_end_ms: at / 8 });
                    let work = match self.ahead.take() {
                        Some(ahead) => Some(ahead),
                        None => {
                            let samples = self.samples(from, self.turns.last_speech() + TAIL);
                            Some((self.recognise(samples, Some(self.turns.spoken())), None))
                        }
                    };
                    self.forget((at.saturating_sub(self.buffer_from)) as usize);
                    self.commit(item_id, (at - from.min(at)) as f64 / 8_000.0, work);
                    if detection.create_response != Some(false) && self.active.is_none() {
                        self.respond(ResponseParams::default(), None);
                    }
                }
                None => self.ask_if_idle(detection.idle_timeout_ms.flatten()),
            }
            // While nobody speaks, only what may become a turn's beginning is kept.
            if self.speech.is_none() {
                let needed_from = self.turns.position().saturating_sub(prefix + 4_000);
                self.forget(needed_from.saturating_sub(self.buffer_from) as usize);
            }
        }
    }

    /// Asks the model to say something, if nobody has for too long. The silence is counted in the caller's audio.
    fn ask_if_idle(&mut self, idle_ms: Option<u32>) {
        let (Some(idle_ms), Some(from)) = (idle_ms, self.idle_from) else { return };
        let now = self.turns.position();
        if self.speech.is_some() || self.active.is_some() || now < from + u64::from(idle_ms) * 8 {
            return;
        }
        self.idle_from = None;
        let item_id = self.new_id("item");
        self.emit(ServerEvent::TimeoutTriggered {
            item_id: item_id.clone(),
            audio_start_ms: from / 8,
            audio_end_ms: now / 8,
        });
        self.idle_item = Some(item_id.clone());
        self.commit(item_id, (now - from) as f64 / 8_000.0, Some((0, Some(String::new()))));
        self.respond(ResponseParams::default(), None);
    }

    /// The agent has spoken: for so long its voice plays, then silence counts.
    pub(super) fn spoke(&mut self, ms: u64) {
        self.idle_from = Some(self.turns.position() + ms * 8);
    }

    /// All of the input buffer; the turn that was under way in it is none.
    fn take_buffer(&mut self) -> Vec<f32> {
        let samples: Vec<f32> = self.buffer.drain(..).collect();
        self.buffer_from += samples.len() as u64;
        self.taken_until = self.buffer_from;
        self.speech = None;
        self.ahead = None;
        self.over = None;
        self.turns.reset();
        samples
    }

    /// The buffered samples between two positions.
    fn samples(&self, from: u64, until: u64) -> Vec<f32> {
        let at = |position: u64| (position.saturating_sub(self.buffer_from) as usize).min(self.buffer.len());
        self.buffer.range(at(from)..at(until).max(at(from))).copied().collect()
    }

    fn recognise(&mut self, samples: Vec<f32>, speech: Option<u64>) -> u64 {
        let work = self.ask(What::Recognise { samples, speech, expected: self.answers.expected() });
        self.recognising.insert(work);
        work
    }

    /// Asks in a pause whether the turn is over. Until that is known, and if it never is, silence alone ends it.
    fn ask_if_over(&mut self, until: u64) {
        if let Some((_, from)) = &self.speech
            && self.judging.is_none()
        {
            let heard_from = until.saturating_sub(turn_end::SECONDS_MAX as u64 * 8_000);
            let samples = self.samples(heard_from.max(*from), until);
            self.judging = Some(self.ask(What::TurnEnd { samples }));
            self.over = Some(None);
        }
    }

    fn judged(&mut self, found: Result<Found, String>) {
        if let (Some(over), Ok(Found::TurnEnd(probability))) = (&mut self.over, found) {
            *over = probability;
        }
    }

    /// Begins to recognise before the turn is over: if it is, nothing is lost by waiting for that.
    fn recognise_ahead(&mut self, until: u64) {
        if let Some((_, from)) = &self.speech
            && self.recognising.len() < RECOGNITIONS_MAX
        {
            let samples = self.samples(*from, until);
            let work = self.recognise(samples, Some(self.turns.spoken()));
            self.ahead = Some((work, None));
        }
    }

    fn recognised(&mut self, work: u64, found: Result<Found, String>) {
        let text = match found {
            Ok(Found::Text(text)) => Ok(text),
            Ok(_) => Err("the recogniser answered something else".to_owned()),
            Err(error) => Err(error),
        };
        if let Some((ahead, known)) = &mut self.ahead
            && *ahead == work
        {
            match text {
                Ok(text) => *known = Some(text),
                // The turn's own recognition may have more luck.
                Err(_) => self.ahead = None,
            }
            return;
        }
        if let Some(at) = self.unrecognised.iter().position(|(waiting, _, _)| *waiting == work) {
            let (_, item_id, seconds) = self.unrecognised.remove(at);
            self.transcribed(item_id, text, seconds);
        }
    }

    fn commit_by_client(&mut self, event_id: Option<String>) {
        if self.buffer.len() < COMMIT_MIN {
            let message = format!(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer \
                 only has {:.2}ms of audio.",
                self.buffer.len() as f64 / 8.0
            );
            return self.error(Some("input_audio_buffer_commit_empty"), &message, None, event_id);
        }
        let item_id = self.speech.take().map(|(item_id, _)| item_id).unwrap_or_else(|| self.new_id("item"));
        let samples = self.take_buffer();
        let seconds = samples.len() as f64 / 8_000.0;
        let work = self.recognise(samples, None);
        self.commit(item_id, seconds, Some((work, None)));
    }

    fn commit(&mut self, item_id: String, seconds: f64, recognition: Option<(u64, Option<String>)>) {
        self.committed += (seconds * 8_000.0) as u64;
        let previous_item_id = self.conversation.last().and_then(|held| held.item.id.clone());
        self.emit(ServerEvent::Committed { item_id: item_id.clone(), previous_item_id });
        let item = Item {
            id: Some(item_id.clone()),
            object: Some("realtime.item".into()),
            kind: "message".into(),
            status: Some("completed".into()),
            role: Some("user".into()),
            content: Some(vec![Content { kind: "input_audio".into(), transcript: Some(None), ..Default::default() }]),
            ..Default::default()
        };
        self.add(Held { item, spoken: None, heard: None }, None);
        match recognition {
            Some((_, Some(text))) => self.transcribed(item_id, Ok(text), seconds),
            Some((work, None)) => self.unrecognised.push((work, item_id, seconds)),
            None => {}
        }
    }

    fn transcribed(&mut self, item_id: String, text: Result<String, String>, seconds: f64) {
        let at = self.position(&item_id);
        if let Some(at) = at {
            self.conversation[at].heard = Some(text.clone().unwrap_or_default());
        }
        if !self.settings.transcribes() {
            return;
        }
        let transcript = match text {
            Ok(transcript) => transcript,
            Err(message) => {
                let (kind, code) = ("transcription_error".into(), Some("server_error".into()));
                let error = ErrorBody { kind, code, message, ..Default::default() };
                return self.emit(ServerEvent::TranscriptionFailed { item_id, content_index: 0, error });
            }
        };
        let content = at.and_then(|at| self.conversation[at].item.content.as_mut()?.first_mut());
        if let Some(content) = content {
            content.transcript = Some(Some(transcript.clone()));
        }
        if !transcript.is_empty() {
            let (item_id, delta) = (item_id.clone(), transcript.clone());
            self.emit(ServerEvent::TranscriptionDelta { item_id, content_index: 0, delta });
        }
        let usage = TranscriptionUsage { seconds };
        self.emit(ServerEvent::TranscriptionCompleted { item_id, content_index: 0, transcript, usage });
    }

    // The conversation.

    fn create_item(&mut self, mut item: Item, previous: Option<String>, event_id: Option<String>) {
        let known_call = |held: &Held| held.item.kind == "function_call" && held.item.call_id == item.call_id;
        let parts = item.content.as_deref().unwrap_or_default();
        let refusal = if item.id.as_deref().is_some_and(|id| self.position(id).is_some()) {
            Some(("item.id", "An item with this id is in the conversation already."))
        } else if item.kind == "function_call_output" && !self.conversation.iter().any(known_call) {
            Some(("item.call_id", "Tool call ID not found in conversation."))
        } else if parts.iter().any(|part| part.kind.ends_with("_audio")) {
            Some(("item.content", "Audio cannot be created; append it to the input buffer."))
        } else {
            None
        };
        if let Some((param, message)) = refusal {
            return self.error(Some("invalid_value"), message, Some(param.to_owned()), event_id);
        }
        let at = match previous.as_deref() {
            None => self.conversation.len(),
            Some("root") => 0,
            Some(previous) => match self.position(previous) {
                Some(at) => at + 1,
                None => return self.no_such_item("inserting after", previous, event_id),
            },
        };
        item.id.get_or_insert_with(|| self.new_id("item"));
        item.object = Some("realtime.item".into());
        item.status = Some("completed".into());
        let text = item.content.as_deref().unwrap_or_default().iter().filter_map(|part| part.text.as_deref());
        let heard = (item.role.as_deref() == Some("user")).then(|| text.collect::<Vec<_>>().join(" "));
        self.add(Held { item, spoken: None, heard }, Some(at));
    }

    /// Puts an item at its place (the end, if `None`) and tells that it is there and complete.
    fn add(&mut self, held: Held, at: Option<usize>) {
        let forgotten = self.make_room();
        let at = at.map_or(self.conversation.len(), |at| at.saturating_sub(forgotten));
        let previous_item_id = at.checked_sub(1).and_then(|before| self.conversation[before].item.id.clone());
        let item = held.item.clone();
        self.conversation.insert(at, held);
        self.emit(ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() });
        self.emit(ServerEvent::ItemDone { previous_item_id, item });
    }

    /// Forgets the oldest items if there are too many; returns how many those were.
    pub(super) fn make_room(&mut self) -> usize {
        let forgotten = (self.conversation.len() + 1).saturating_sub(ITEMS_MAX);
        self.conversation.drain(..forgotten);
        forgotten
    }

    fn truncate(&mut self, item_id: String, content_index: u32, audio_end_ms: u32, event_id: Option<String>) {
        let Some(at) = self.position(&item_id) else { return self.no_such_item("truncating", &item_id, event_id) };
        let Some(available_ms) = self.conversation[at].audio_ms().filter(|_| content_index == 0) else {
            return self.error(None, "Only model output audio messages can be truncated.", None, event_id);
        };
        if u64::from(audio_end_ms) > available_ms {
            let message = format!("Audio content of {available_ms}ms is already shorter than {audio_end_ms}ms");
            return self.error(Some("invalid_value"), &message, Some("audio_end_ms".to_owned()), event_id);
        }
        let held = &mut self.conversation[at];
        held.cut(audio_end_ms.into());
        // Where the words were cut is an estimate, and the protocol shows none.
        held.item.content = Some(vec![Content { kind: "output_audio".into(), ..Default::default() }]);
        self.emit(ServerEvent::ItemTruncated { item_id, content_index, audio_end_ms });
    }

    fn no_such_item(&mut self, doing: &str, item_id: &str, event_id: Option<String>) {
        let message = format!("Error {doing} item: the item with id '{item_id}' does not exist.");
        self.error(Some("item_not_found"), &message, Some("item_id".to_owned()), event_id);
    }

    pub(super) fn position(&self, item_id: &str) -> Option<usize> {
        self.conversation.iter().rposition(|held| held.item.id.as_deref() == Some(item_id))
    }

    /// The functions that a response may call.
    pub(super) fn functions(&self, params: &ResponseParams) -> Vec<String> {
        let name = |tool: &Tool| match tool {
            Tool::Function { name, .. } => Some(name.clone()),
            _ => None,
        };
        match self.tool_choice(params) {
            Some(choice) if choice == "none" => Vec::new(),
            _ => self.tools(params).iter().filter_map(name).collect(),
        }
    }

    pub(super) fn tools<'a>(&'a self, params: &'a ResponseParams) -> &'a [Tool] {
        params.tools.as_deref().or(self.settings.tools.as_deref()).unwrap_or_default()
    }

    pub(super) fn tool_choice<'a>(&'a self, params: &'a ResponseParams) -> Option<&'a Value> {
        params.tool_choice.as_ref().or(self.settings.tool_choice.as_ref())
    }
}
