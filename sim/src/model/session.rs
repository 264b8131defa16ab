//! One session of the fake model, in virtual time.
//!
//! Contract: after every [`FakeModel::receive`], call [`FakeModel::poll`] until it returns `None`, then wait for the
//! next text or for [`FakeModel::poll_timeout`]. Times count from the opening of the session and never go back.
//!
//! What is modelled of the reference: session, input buffer with server VAD, transcription, conversation items, the
//! life of a response. What is not: responses outside the conversation, text output, MCP, images, A-law, the idle
//! time-out, and the real semantics of `semantic_vad`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::wire::openai::{
    ClientEvent, Content, ErrorBody, Format, InputTokens, Item, OutputTokens, RateLimit, Response, ResponseParams,
    ServerEvent, Session, SessionObject, TokenUsage, TranscriptionUsage, literal_text,
};
use serde_json::json;

use super::generation::{Ending, Generation, Step, What};
use super::mulaw;
use super::script::{Behaviour, Reply, ReplyItem, Script, TranscriptOrder, TranscriptionTiming, Voice};
use super::vad::{Heard, Vad, VadSettings};

/// The conversation's id. There is one in a session.
const CONVERSATION: &str = "conv_1";

/// How long after a response its words come, with [`TranscriptOrder::AfterResponse`].
const WORDS_LATE: Duration = Duration::from_millis(150);

pub struct FakeModel {
    /// Part of every id, so that two sessions share none.
    name: String,
    script: Script,
    behaviour: Behaviour,
    now: Duration,
    /// Written, to be polled.
    ready: VecDeque<Sent>,
    /// Due later; the number keeps what is due at once in order.
    later: BTreeMap<(Duration, u64), Later>,
    closed: bool,
    ids: u64,
    events_sent: u64,
    session: Session,
    vad: Vad,
    /// The item that the caller's speech under way will become.
    hearing: Option<String>,
    /// Samples (8 kHz) appended since the last commit or clear.
    buffered: u64,
    committed: usize,
    /// Items whose transcription waits for the end of a response, with what was said.
    untranscribed: Vec<(String, Option<String>)>,
    conversation: Vec<Held>,
    replies_given: usize,
    creates_seen: u32,
    active: Option<Generation>,
    /// The last response, and until when it counts as active although it is done.
    lingering: Option<(String, Duration)>,
    record: Record,
}

/// What a session sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    Text(String),
    /// The connection ends, with this code; without one, it breaks. Nothing follows.
    Close(Option<u16>),
}

/// What happened in a session, for those who judge it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Record {
    /// Items with audio, in the order in which they were announced.
    pub generated: Vec<GeneratedItem>,
    /// The client's events and when they came, appends excepted.
    pub received: Vec<(Duration, ClientEvent)>,
    /// Every `error` event that was sent about one of them.
    pub client_errors: Vec<ClientError>,
    /// Appends received.
    pub appends: u64,
    /// Audio appended, in samples at 8 kHz.
    pub appended: u64,
    /// Responses that were active one after the other; the ids.
    pub responses: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct GeneratedItem {
    pub item_id: String,
    pub response_id: String,
    /// What was given of the words.
    pub transcript: String,
    /// What was given of the audio: µ-law at 8 kHz.
    pub audio: Vec<u8>,
    /// Its response was cancelled before the item was done.
    pub cancelled: bool,
    pub truncated_to_ms: Option<u32>,
    pub deleted: bool,
    /// Truncations and deletions of it that were rejected.
    pub edits_rejected: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientError {
    pub at: Duration,
    /// As documented, also where `Behaviour::errors_without_code` hides it.
    pub code: Option<String>,
    pub message: String,
    pub param: Option<String>,
    pub event_id: Option<String>,
}

/// An item of the conversation.
struct Held {
    item: Item,
    /// µ-law of the agent: what there is of it to truncate. `None`: no audio message of the agent.
    audio: Option<Vec<u8>>,
}

enum Later {
    Configured,
    Heard(Heard),
    Transcribed { item_id: String, text: Option<String> },
    Words(Box<ServerEvent>),
    Spontaneous,
    Expired,
}

impl FakeModel {
    /// A session that was opened now. `name` becomes part of its ids.
    pub fn new(name: &str, script: Script, behaviour: Behaviour) -> Self {
        let mut model = FakeModel {
            name: name.into(),
            script,
            now: Duration::ZERO,
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            closed: false,
            ids: 0,
            events_sent: 0,
            session: Session::of_model("gpt-realtime-2.1"),
            vad: Vad::default(),
            hearing: None,
            buffered: 0,
            committed: 0,
            untranscribed: Vec::new(),
            conversation: Vec::new(),
            replies_given: 0,
            creates_seen: 0,
            active: None,
            lingering: None,
            record: Record::default(),
            behaviour,
        };
        if let Some(code) = model.behaviour.refuse {
            model.error(Some(code), "The session was refused.", None, None);
            model.close(Some(1008));
            return model;
        }
        model.emit(ServerEvent::SessionCreated { session: model.session_object() });
        for at in model.behaviour.spontaneous.clone() {
            model.schedule(at, Later::Spontaneous);
        }
        if let Some(at) = model.behaviour.expires_after {
            model.schedule(at, Later::Expired);
        }
        model
    }

    /// A text of the client.
    pub fn receive(&mut self, text: &str, now: Duration) {
        self.advance(now);
        if self.closed {
            return;
        }
        let read = if self.behaviour.strict { ClientEvent::read(text) } else { ClientEvent::read_lenient(text) };
        match read {
            Ok(ClientEvent::Append { event_id, audio }) => self.append(&audio, event_id),
            Ok(event) => {
                self.record.received.push((now, event.clone()));
                self.event(event);
            }
            Err(error) => self.error(Some(error.code), &error.message, error.param, error.event_id),
        }
    }

    /// The next thing to send at this time.
    pub fn poll(&mut self, now: Duration) -> Option<Sent> {
        self.advance(now);
        self.ready.pop_front()
    }

    /// When there will be something to send, if nothing is received before. A time that is past means: now.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() { Some(self.now) } else { self.next_due() }
    }

    /// It has ended its connection, and hears nothing any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The settings in force.
    pub fn session(&self) -> &Session {
        &self.session
    }

    // Time.

    fn next_due(&self) -> Option<Duration> {
        if self.closed {
            return None;
        }
        let later = self.later.keys().next().map(|&(at, _)| at);
        let step = self.active.as_ref().and_then(|generation| generation.steps.front()).map(|&(at, _)| at);
        later.into_iter().chain(step).min()
    }

    /// Does what is due until `now`, in order.
    fn advance(&mut self, now: Duration) {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            self.now = self.now.max(due);
            match self.later.first_entry().filter(|entry| entry.key().0 == due) {
                Some(entry) => {
                    let later = entry.remove();
                    self.later_has_come(later);
                }
                None => self.step(),
            }
        }
        self.now = self.now.max(now);
    }

    fn schedule(&mut self, at: Duration, later: Later) {
        self.ids += 1;
        self.later.insert((at, self.ids), later);
    }

    fn later_has_come(&mut self, later: Later) {
        match later {
            Later::Configured => self.emit(ServerEvent::SessionUpdated { session: self.session_object() }),
            Later::Heard(heard) => self.report(heard),
            Later::Transcribed { item_id, text } => self.transcribed(item_id, text),
            Later::Words(event) => self.emit(*event),
            Later::Spontaneous if self.active.is_none() => self.respond(None, None),
            Later::Spontaneous => {}
            Later::Expired => {
                self.error(Some("session_expired"), "Your session hit the maximum duration of 60 minutes.", None, None);
                self.close(Some(1001));
            }
        }
    }

    // Sending.

    fn emit(&mut self, event: ServerEvent) {
        let mut text = String::new();
        let event_id = self.new_id("event");
        event.write(&event_id, &mut text);
        self.send(text);
        if self.behaviour.unknown_every.is_some_and(|every| every > 0 && self.events_sent.is_multiple_of(every)) {
            let event_id = self.new_id("event");
            self.send(json!({"type": "response.tea.ready", "event_id": event_id, "delta": {"cups": 2}}).to_string());
        }
    }

    fn send(&mut self, text: String) {
        if self.closed {
            return;
        }
        self.ready.push_back(Sent::Text(text));
        self.events_sent += 1;
        if let Some((events, code)) = self.behaviour.close_after
            && self.events_sent >= events
        {
            self.close(code);
        }
    }

    fn close(&mut self, code: Option<u16>) {
        if !self.closed {
            self.ready.push_back(Sent::Close(code));
            self.closed = true;
        }
    }

    fn error(&mut self, code: Option<&str>, message: &str, param: Option<String>, event_id: Option<String>) {
        self.record.client_errors.push(ClientError {
            at: self.now,
            code: code.map(str::to_owned),
            message: message.into(),
            param: param.clone(),
            event_id: event_id.clone(),
        });
        let code = code.filter(|_| !self.behaviour.errors_without_code).map(str::to_owned);
        let kind = "invalid_request_error".into();
        self.emit(ServerEvent::Error { error: ErrorBody { kind, code, message: message.into(), param, event_id } });
    }

    fn new_id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}_{}_{}", self.name, self.ids)
    }

    fn session_object(&self) -> SessionObject {
        SessionObject {
            id: format!("sess_{}", self.name),
            object: "realtime.session",
            expires_at: 1_790_000_000,
            settings: self.session.clone(),
        }
    }

    // The client's events.

    fn event(&mut self, event: ClientEvent) {
        if let ClientEvent::ItemDelete { event_id, item_id } | ClientEvent::ItemTruncate { event_id, item_id, .. } =
            &event
            && self.behaviour.rejected_edits > 0
        {
            self.behaviour.rejected_edits -= 1;
            if let Some(generated) = self.generated(item_id) {
                generated.edits_rejected += 1;
            }
            return self.error(Some("edit_rejected"), "The item cannot be changed now.", None, event_id.clone());
        }
        match event {
            ClientEvent::SessionUpdate { event_id, session } => self.configure(*session, event_id),
            ClientEvent::Append { event_id, audio } => self.append(&audio, event_id),
            ClientEvent::Commit { event_id } => self.commit_by_client(event_id),
            ClientEvent::Clear { .. } => {
                self.buffered = 0;
                self.hearing = None;
                self.forget_speech();
                self.emit(ServerEvent::Cleared {});
            }
            ClientEvent::ItemCreate { event_id, previous_item_id, item } => {
                self.create_item(*item, previous_item_id, event_id);
            }
            ClientEvent::ItemRetrieve { event_id, item_id } => match self.position(&item_id) {
                Some(at) => {
                    let item = self.conversation[at].with_audio();
                    self.emit(ServerEvent::ItemRetrieved { item });
                }
                None => self.no_such_item("retrieving", &item_id, event_id),
            },
            ClientEvent::ItemDelete { event_id, item_id } => match self.position(&item_id) {
                Some(at) => {
                    self.conversation.remove(at);
                    if let Some(generated) = self.generated(&item_id) {
                        generated.deleted = true;
                    }
                    self.emit(ServerEvent::ItemDeleted { item_id });
                }
                None => self.no_such_item("deleting", &item_id, event_id),
            },
            ClientEvent::ItemTruncate { event_id, item_id, content_index, audio_end_ms } => {
                self.truncate(item_id, content_index, audio_end_ms, event_id);
            }
            ClientEvent::ResponseCreate { event_id, response } => {
                self.creates_seen += 1;
                if self.creates_seen > self.behaviour.ignored_creates {
                    self.respond(response.map(|params| *params), event_id);
                }
            }
            ClientEvent::ResponseCancel { event_id, response_id } => self.cancel_by_client(response_id, event_id),
        }
    }

    fn configure(&mut self, update: Session, event_id: Option<String>) {
        if let Some(code) = self.behaviour.reject_configuration {
            return self.error(Some(code), "The configuration was rejected.", Some("session".into()), event_id);
        }
        if [update.input_format(), update.output_format()].contains(&Format::ALaw) {
            // It is documented; nobody here speaks it.
            let param = Some("session.audio".into());
            return self.error(Some("invalid_value"), "The simulator does not know A-law.", param, event_id);
        }
        let voice = update.voice();
        let spoken = self.record.generated.iter().any(|item| !item.audio.is_empty());
        if spoken && voice.is_some() && voice != self.session.voice() {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            let param = Some("session.audio.output.voice".into());
            return self.error(Some("cannot_update_voice"), message, param, event_id);
        }
        if let Err(refused) = self.session.update(update) {
            return self.error(Some(refused.code), &refused.message, Some(refused.param), event_id);
        }
        self.schedule(self.now + self.behaviour.configure_latency, Later::Configured);
    }

    // The caller's audio.

    fn append(&mut self, audio: &str, event_id: Option<String>) {
        self.record.appends += 1;
        let Ok(bytes) = STANDARD.decode(audio) else {
            let message = "Invalid 'audio'. Expected base64-encoded audio bytes.";
            return self.error(Some("invalid_value"), message, Some("audio".into()), event_id);
        };
        let audio = if self.session.input_format() == Format::MuLaw { bytes } else { mulaw::from_pcm_24k(&bytes) };
        self.record.appended += audio.len() as u64;
        self.buffered += audio.len() as u64;
        let Some(detection) = self.session.turn_detection().cloned() else {
            // The clock goes on although nobody listens.
            let deaf = VadSettings { power: f64::INFINITY, silence: u64::MAX };
            self.vad.hear(&audio, deaf);
            return;
        };
        for heard in self.vad.hear(&audio, VadSettings::of(&detection)) {
            match self.behaviour.speech_latency {
                Duration::ZERO => self.report(heard),
                latency => self.schedule(self.now + latency, Later::Heard(heard)),
            }
        }
    }

    fn report(&mut self, heard: Heard) {
        // Turned off since it was heard.
        let Some(detection) = self.session.turn_detection().cloned() else { return };
        match heard {
            Heard::Started { at } => {
                let item_id = self.new_id("item");
                self.hearing = Some(item_id.clone());
                let prefix = u64::from(detection.prefix_padding_ms.unwrap_or(300)) * 8;
                self.emit(ServerEvent::SpeechStarted { item_id, audio_start_ms: at.saturating_sub(prefix) / 8 });
                if detection.interrupt_response != Some(false) {
                    self.cancel("turn_detected");
                }
            }
            Heard::Stopped { at } => {
                let item_id = self.hearing.take().unwrap_or_else(|| self.new_id("item"));
                self.emit(ServerEvent::SpeechStopped { item_id: item_id.clone(), audio_end_ms: at / 8 });
                self.commit(item_id);
                if detection.create_response != Some(false) {
                    self.respond(None, None);
                }
            }
        }
    }

    /// What was heard and not reported yet is not heard any more.
    fn forget_speech(&mut self) {
        self.vad.reset();
        self.later.retain(|_, later| !matches!(later, Later::Heard(_)));
    }

    fn commit_by_client(&mut self, event_id: Option<String>) {
        if self.buffered < 800 {
            let buffered_ms = self.buffered as f64 / 8.0;
            let message = format!(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer \
                 only has {buffered_ms:.2}ms of audio."
            );
            return self.error(Some("input_audio_buffer_commit_empty"), &message, None, event_id);
        }
        self.forget_speech();
        let item_id = self.hearing.take().unwrap_or_else(|| self.new_id("item"));
        self.commit(item_id);
    }

    fn commit(&mut self, item_id: String) {
        let seconds = self.buffered as f64 / 8_000.0;
        self.buffered = 0;
        let previous_item_id = self.last_item_id();
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
        self.add(Held { item, audio: None }, None);
        let said = self.script.caller_says.get(self.committed).cloned().unwrap_or_else(|| Some("Hello.".into()));
        self.committed += 1;
        if self.session.transcribes() && seconds > 0.0 {
            match self.behaviour.transcription {
                TranscriptionTiming::After(Duration::ZERO) => self.transcribed(item_id, said),
                TranscriptionTiming::After(delay) => {
                    self.schedule(self.now + delay, Later::Transcribed { item_id, text: said });
                }
                TranscriptionTiming::AfterResponse => self.untranscribed.push((item_id, said)),
                TranscriptionTiming::Never => {}
            }
        }
    }

    fn transcribed(&mut self, item_id: String, text: Option<String>) {
        let Some(transcript) = text else {
            let error = ErrorBody {
                kind: "transcription_error".into(),
                code: Some("audio_unintelligible".into()),
                message: "The audio could not be transcribed.".into(),
                ..Default::default()
            };
            return self.emit(ServerEvent::TranscriptionFailed { item_id, content_index: 0, error });
        };
        for word in transcript.split_inclusive(' ') {
            let (item_id, delta) = (item_id.clone(), word.to_owned());
            self.emit(ServerEvent::TranscriptionDelta { item_id, content_index: 0, delta });
        }
        if let Some(at) = self.position(&item_id)
            && let Some(content) = self.conversation[at].item.content.as_mut().and_then(|parts| parts.first_mut())
        {
            content.transcript = Some(Some(transcript.clone()));
        }
        // A second for every 15 characters: nobody is billed for it.
        let usage = TranscriptionUsage { seconds: transcript.len() as f64 / 15.0 };
        self.emit(ServerEvent::TranscriptionCompleted { item_id, content_index: 0, transcript, usage });
    }

    // The conversation.

    fn create_item(&mut self, mut item: Item, previous: Option<String>, event_id: Option<String>) {
        let refused = |param: &str, message: &str| (Some("invalid_value"), message.to_owned(), Some(param.to_owned()));
        let known_call = |held: &Held| held.item.kind == "function_call" && held.item.call_id == item.call_id;
        let parts = item.content.as_deref().unwrap_or_default();
        let refusal = if item.id.as_deref().is_some_and(|id| self.position(id).is_some()) {
            Some(refused("item.id", "An item with this id is in the conversation already."))
        } else if item.kind == "function_call_output" && !self.conversation.iter().any(known_call) {
            Some(refused("item.call_id", "Tool call ID not found in conversation."))
        } else if item.role.as_deref() == Some("assistant") && parts.iter().any(|part| part.kind == "output_audio") {
            Some(refused("item.content", "Audio of the assistant cannot be created."))
        } else {
            None
        };
        if let Some((code, message, param)) = refusal {
            return self.error(code, &message, param, event_id);
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
        self.add(Held { item, audio: None }, Some(at));
    }

    /// Puts an item at its place (the end, if `None`) and tells that it is there and complete.
    fn add(&mut self, held: Held, at: Option<usize>) {
        let at = at.unwrap_or(self.conversation.len());
        let previous_item_id = at.checked_sub(1).and_then(|before| self.conversation[before].item.id.clone());
        let item = held.item.clone();
        self.conversation.insert(at, held);
        self.emit(ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() });
        self.emit(ServerEvent::ItemDone { previous_item_id, item });
    }

    fn truncate(&mut self, item_id: String, content_index: u32, audio_end_ms: u32, event_id: Option<String>) {
        let Some(at) = self.position(&item_id) else { return self.no_such_item("truncating", &item_id, event_id) };
        let held = &mut self.conversation[at];
        let Some(audio) = held.audio.as_mut().filter(|audio| !audio.is_empty() && content_index == 0) else {
            return self.error(None, "Only model output audio messages can be truncated.", None, event_id);
        };
        let available_ms = audio.len() / 8;
        if audio_end_ms as usize > available_ms {
            let message = format!("Audio content of {available_ms}ms is already shorter than {audio_end_ms}ms");
            return self.error(Some("invalid_value"), &message, Some("audio_end_ms".into()), event_id);
        }
        audio.truncate(audio_end_ms as usize * 8);
        // The words cannot be cut where the audio is, so none are kept.
        held.item.content = Some(vec![Content { kind: "output_audio".into(), ..Default::default() }]);
        if let Some(generated) = self.generated(&item_id) {
            generated.truncated_to_ms = Some(audio_end_ms);
        }
        self.emit(ServerEvent::ItemTruncated { item_id, content_index, audio_end_ms });
    }

    fn no_such_item(&mut self, doing: &str, item_id: &str, event_id: Option<String>) {
        let message = format!("Error {doing} item: the item with id '{item_id}' does not exist.");
        self.error(Some("item_not_found"), &message, Some("item_id".into()), event_id);
    }

    fn position(&self, item_id: &str) -> Option<usize> {
        self.conversation.iter().rposition(|held| held.item.id.as_deref() == Some(item_id))
    }

    fn last_item_id(&self) -> Option<String> {
        self.conversation.last().and_then(|held| held.item.id.clone())
    }

    fn generated(&mut self, item_id: &str) -> Option<&mut GeneratedItem> {
        self.record.generated.iter_mut().rev().find(|generated| generated.item_id == item_id)
    }

    // Responses.

    fn respond(&mut self, params: Option<ResponseParams>, event_id: Option<String>) {
        let lingering = self.lingering.as_ref().filter(|(_, until)| self.now < *until).map(|(id, _)| id);
        if let Some(id) = self.active.as_ref().map(|active| &active.id).or(lingering) {
            let message = format!(
                "Conversation already has an active response in progress: {id}. Wait until the response is finished \
                 before creating a new one."
            );
            return self.error(Some("conversation_already_has_active_response"), &message, None, event_id);
        }
        let params = params.unwrap_or_default();
        let reply = match params.instructions.as_deref().and_then(|text| self.literal(text)) {
            Some(text) => self.says(&text),
            None => {
                self.replies_given += 1;
                let scripted = self.script.replies.get(self.replies_given - 1);
                scripted.cloned().unwrap_or_else(|| self.says("Go on."))
            }
        };
        let id = self.new_id("resp");
        let mut ids = self.ids;
        let new_id = |kind: &str| {
            ids += 1;
            format!("{kind}_{}_{ids}", self.name)
        };
        let mut generation = Generation::plan(id, reply, &self.behaviour, self.now, new_id);
        generation.metadata = params.metadata;
        self.ids = ids;
        self.record.responses.push(generation.id.clone());
        self.active = Some(generation);
    }

    fn says(&self, text: &str) -> Reply {
        match self.behaviour.voice {
            Voice::Hum => Reply::says(text),
            Voice::Noise => {
                // Another noise each time, also for the same words.
                let name = self.name.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
                let seed = name << 32 | self.record.responses.len() as u64;
                let length = Duration::from_millis(67) * u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                Reply { items: vec![ReplyItem::hisses(text, seed, length)], ..Reply::default() }
            }
        }
    }

    /// The text in quotation marks that these instructions ask for; quotations of the session's instructions aside.
    fn literal(&self, instructions: &str) -> Option<String> {
        if let Some(text) = literal_text(instructions) {
            return Some(text.to_owned());
        }
        let session = self.session.instructions.as_deref().unwrap_or_default();
        let instructions = instructions.strip_prefix(session).unwrap_or(instructions);
        let (start, end) = (instructions.find('"')?, instructions.rfind('"')?);
        instructions.get(start + 1..end).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn cancel_by_client(&mut self, response_id: Option<String>, event_id: Option<String>) {
        let meant = |generation: &&Generation| response_id.as_ref().is_none_or(|id| *id == generation.id);
        let cancellable =
            self.active.as_ref().filter(meant).is_some_and(|active| active.created && !active.is_cancelled());
        if cancellable {
            self.cancel("client_cancelled");
        } else {
            let message = "Cancellation failed: no active response found";
            self.error(Some("response_cancel_not_active"), message, None, event_id);
        }
    }

    fn cancel(&mut self, reason: &'static str) {
        let Some(generation) = self.active.as_mut().filter(|active| !active.is_cancelled()) else { return };
        generation.cancel(reason, &self.behaviour, self.now);
        if !generation.created {
            generation.steps.push_front((self.now, Step::Created));
        }
        for output in generation.outputs.iter().filter(|output| output.added && !output.done) {
            let generated = self.record.generated.iter_mut().find(|generated| generated.item_id == output.item_id);
            if let Some(generated) = generated {
                generated.cancelled = true;
            }
        }
    }

    /// Does the next step of the active response.
    fn step(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        if let Some((_, step)) = active.steps.pop_front()
            && self.perform(step, &mut active) == After::GoesOn
        {
            self.active = Some(active);
        }
    }

    fn perform(&mut self, step: Step, active: &mut Generation) -> After {
        let response_id = active.id.clone();
        let content_index = 0;
        let place = |index: usize, active: &Generation| (active.outputs[index].item_id.clone(), index as u32);
        match step {
            Step::Created => {
                active.created = true;
                let response = self.response(active, "in_progress");
                self.emit(ServerEvent::ResponseCreated { response });
                let limit = |name, limit| RateLimit { name, limit, remaining: limit - 1, reset_seconds: 0.06 };
                self.emit(ServerEvent::RateLimits {
                    rate_limits: vec![limit("requests", 1_000), limit("tokens", 40_000)],
                });
            }
            Step::ItemAdded(index) => self.item_added(index, active),
            Step::Words(index, delta) => {
                active.outputs[index].said.push_str(&delta);
                let (item_id, output_index) = place(index, active);
                if let Some(generated) = self.generated(&item_id) {
                    generated.transcript.push_str(&delta);
                }
                self.emit(ServerEvent::TranscriptDelta { response_id, item_id, output_index, content_index, delta });
            }
            Step::Audio(index, range) => {
                let output = &mut active.outputs[index];
                let What::Message { audio, .. } = &output.what else { return After::GoesOn };
                let piece = audio[range].to_vec();
                output.given += piece.len();
                let (item_id, output_index) = place(index, active);
                if let Some(generated) = self.generated(&item_id) {
                    generated.audio.extend(&piece);
                }
                if let Some(at) = self.position(&item_id)
                    && let Some(audio) = &mut self.conversation[at].audio
                {
                    audio.extend(&piece);
                }
                let mulaw = self.session.output_format() == Format::MuLaw;
                let delta = STANDARD.encode(if mulaw { piece } else { mulaw::to_pcm_24k(&piece) });
                self.emit(ServerEvent::AudioDelta { response_id, item_id, output_index, content_index, delta });
            }
            Step::AudioDone(index) => {
                let (item_id, output_index) = place(index, active);
                self.emit(ServerEvent::AudioDone { response_id, item_id, output_index, content_index });
            }
            Step::TranscriptDone(index) => {
                let (item_id, output_index) = place(index, active);
                let transcript = active.outputs[index].said.clone();
                self.emit(ServerEvent::TranscriptDone {
                    response_id,
                    item_id,
                    output_index,
                    content_index,
                    transcript,
                });
            }
            Step::Arguments(index, delta) => {
                active.outputs[index].said.push_str(&delta);
                let (item_id, output_index) = place(index, active);
                let What::Call { call_id, .. } = &active.outputs[index].what else { return After::GoesOn };
                let call_id = call_id.clone();
                self.emit(ServerEvent::ArgumentsDelta { response_id, item_id, output_index, call_id, delta });
            }
            Step::ArgumentsDone(index) => {
                let (item_id, output_index) = place(index, active);
                let What::Call { call_id, name, arguments } = &active.outputs[index].what else {
                    return After::GoesOn;
                };
                self.emit(ServerEvent::ArgumentsDone {
                    response_id,
                    item_id,
                    output_index,
                    call_id: call_id.clone(),
                    name: name.clone(),
                    arguments: arguments.clone(),
                });
            }
            Step::ItemDone(index) => self.item_done(index, active),
            Step::Done => {
                let response = self.response(active, active.status().0);
                self.emit(ServerEvent::ResponseDone { response });
                self.lingering = Some((active.id.clone(), self.now + self.behaviour.lingers));
                for (item_id, text) in std::mem::take(&mut self.untranscribed) {
                    self.transcribed(item_id, text);
                }
                if self.behaviour.transcript == TranscriptOrder::AfterResponse && !active.is_cancelled() {
                    self.words_later(active);
                }
                return After::Over;
            }
        }
        After::GoesOn
    }

    /// What was said, when the response is over.
    fn words_later(&mut self, active: &Generation) {
        for (index, output) in active.outputs.iter().enumerate() {
            let What::Message { transcript, .. } = &output.what else { continue };
            let words = ServerEvent::TranscriptDone {
                response_id: active.id.clone(),
                item_id: output.item_id.clone(),
                output_index: index as u32,
                content_index: 0,
                transcript: transcript.clone(),
            };
            if let Some(generated) = self.generated(&output.item_id) {
                generated.transcript.push_str(transcript);
            }
            self.schedule(self.now + WORDS_LATE, Later::Words(Box::new(words)));
        }
    }

    fn item_added(&mut self, index: usize, active: &mut Generation) {
        let response_id = active.id.clone();
        let output = &mut active.outputs[index];
        output.added = true;
        let item = output.item("in_progress");
        let item_id = output.item_id.clone();
        let output_index = index as u32;
        let previous_item_id = self.last_item_id();
        let spoken = matches!(output.what, What::Message { .. });
        let part = output.content("audio");
        self.conversation.push(Held { item: item.clone(), audio: spoken.then(Vec::new) });
        self.emit(ServerEvent::OutputItemAdded { response_id: response_id.clone(), output_index, item: item.clone() });
        self.emit(ServerEvent::ItemAdded { previous_item_id, item });
        if spoken {
            self.record.generated.push(GeneratedItem {
                item_id: item_id.clone(),
                response_id: response_id.clone(),
                transcript: String::new(),
                audio: Vec::new(),
                cancelled: false,
                truncated_to_ms: None,
                deleted: false,
                edits_rejected: 0,
            });
            self.emit(ServerEvent::ContentPartAdded { response_id, item_id, output_index, content_index: 0, part });
        }
    }

    fn item_done(&mut self, index: usize, active: &mut Generation) {
        let status = active.item_status(index);
        let response_id = active.id.clone();
        let output = &mut active.outputs[index];
        output.done = true;
        let item = output.item(status);
        let item_id = output.item_id.clone();
        let output_index = index as u32;
        if matches!(output.what, What::Message { .. }) {
            self.emit(ServerEvent::ContentPartDone {
                response_id: response_id.clone(),
                item_id: item_id.clone(),
                output_index,
                content_index: 0,
                part: output.content("audio"),
            });
        }
        self.emit(ServerEvent::OutputItemDone { response_id, output_index, item: item.clone() });
        // An item that the client deleted meanwhile stays deleted; one that it truncated keeps no words.
        let Some(at) = self.position(&item_id) else { return };
        let truncated = self.generated(&item_id).is_some_and(|generated| generated.truncated_to_ms.is_some());
        if !truncated {
            self.conversation[at].item = item.clone();
        }
        let previous_item_id = at.checked_sub(1).and_then(|before| self.conversation[before].item.id.clone());
        self.emit(ServerEvent::ItemDone { previous_item_id, item });
    }

    fn response(&self, active: &Generation, status: &'static str) -> Response {
        let over = status != "in_progress";
        let begun = active.outputs.iter().enumerate().filter(|(_, output)| over && output.added);
        let voice = self.session.voice().cloned();
        let format = self.session.output_format().name();
        Response {
            id: active.id.clone(),
            object: "realtime.response",
            status,
            status_details: active.status().1.filter(|_| over),
            output: begun.map(|(index, output)| output.item(active.item_status(index))).collect(),
            conversation_id: Some(CONVERSATION.into()),
            output_modalities: vec!["audio".into()],
            audio: json!({"output": {"format": {"type": format}, "voice": voice}}),
            max_output_tokens: self.session.max_output_tokens.clone().unwrap_or_else(|| "inf".into()),
            metadata: active.metadata.clone(),
            usage: (over && !matches!(active.ending, Ending::Failed { .. })).then(|| self.usage(active)),
        }
    }

    /// By the rule of thumb: a token for 100 ms heard, for 50 ms spoken, for four characters.
    fn usage(&self, active: &Generation) -> TokenUsage {
        let spoken: usize = active.outputs.iter().map(|output| output.given).sum();
        let said: usize = active.outputs.iter().map(|output| output.said.len()).sum();
        let instructions = self.session.instructions.as_ref().map_or(0, String::len);
        TokenUsage::new(
            InputTokens {
                text_tokens: instructions as u64 / 4,
                audio_tokens: self.record.appended / 800,
                ..Default::default()
            },
            OutputTokens { text_tokens: said.div_ceil(4) as u64, audio_tokens: spoken as u64 / 400 },
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoesOn,
    Over,
}

impl Held {
    /// The item as `conversation.item.retrieved` shows it: with its audio.
    fn with_audio(&self) -> Item {
        let mut item = self.item.clone();
        if let Some(audio) = &self.audio
            && let Some(content) = item.content.as_mut().and_then(|parts| parts.first_mut())
        {
            content.audio = Some(STANDARD.encode(audio));
        }
        item
    }
}
