//! The life of a response: asked for, thought about until the caller's words are there, said sentence by sentence or
//! made a function call of, and over. What a chat server answers in the meantime is in `answer.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::wire::openai::{
    Asked, Content, ErrorBody, InputTokens, Item, Modality, OutputTokens, Response, ResponseParams, ServerEvent,
    StatusDetails, TokenUsage, pressed_keys,
};
use serde_json::{Value, json};

use super::answer::Answer;
use super::engine::{Found, What, at_rate};
use super::session::{Answers, CONVERSATION, Held, Out, Session};
use super::settings;
use crate::chat::Failure;
use crate::dialogue::{Dialogue, Reply};
use crate::speak::sentences;

/// Audio of one delta: 200 ms, so that a reader who counts what was heard has something to count.
const DELTA_MS: usize = 200;

/// A response under way. There is one at most.
pub(super) struct Active {
    pub id: String,
    pub params: ResponseParams,
    pub phase: Phase,
    pub modality: Modality,
    /// What the chat server has answered so far. `None`: it was not asked.
    pub answer: Option<Answer>,
    /// What has come of it: the ids of the conversation's items, or the items themselves.
    outputs: Outputs,
    /// Items of the output, the one under way included.
    items: u32,
    said_characters: usize,
    said_ms: u64,
}

enum Outputs {
    InConversation(Vec<String>),
    Outside(Vec<Item>),
}

pub(super) enum Phase {
    /// It is not decided yet what to say: the caller's words are still to come.
    Thinking,
    /// The chat server was asked, and nothing that can be said has come.
    Asking,
    /// The sentences that are still to be asked for, and the work under way for one.
    Speaking { item_id: String, said: String, rest: VecDeque<String>, under_way: Option<(u64, String)> },
    /// Given as text.
    Writing { item_id: String, written: String },
}

/// How a response ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Completed,
    /// `turn_detected` or `client_cancelled`.
    Cancelled(&'static str),
    /// `max_output_tokens` or `content_filter`.
    Incomplete(&'static str),
    Failed(Failure),
}

impl Session {
    /// Begins a response, unless there is one.
    pub(super) fn respond(&mut self, params: ResponseParams, event_id: Option<String>) {
        let modality = match params.output_modalities.as_deref() {
            None => Ok(self.settings.modality()),
            Some(modalities) => Modality::of(modalities, "response.output_modalities"),
        };
        let modality = match modality {
            Ok(modality) => modality,
            Err(refused) => return self.error(Some(refused.code), &refused.message, Some(refused.param), event_id),
        };
        let by_flow = matches!(self.answers, Answers::ByFlow(_));
        if let Some((param, message)) = cannot(&params, by_flow) {
            return self.error(Some("invalid_value"), message, Some(format!("response.{param}")), event_id);
        }
        let outside = params.conversation.as_deref() == Some("none");
        if outside && modality == Modality::Text && by_flow {
            return self.respond_outside(params);
        }
        if let Some(active) = &self.active {
            let message = format!(
                "Conversation already has an active response in progress: {}. Wait until the response is finished before \
                 creating a new one.",
                active.id
            );
            return self.error(Some("conversation_already_has_active_response"), &message, None, event_id);
        }
        let active = self.new_response(params, modality);
        self.active = Some(active);
    }

    /// A response that is text and no part of the conversation needs nothing that has to be waited for, so that it may be
    /// made beside another one.
    fn respond_outside(&mut self, params: ResponseParams) {
        let busy = self.active.take();
        let active = self.new_response(params, Modality::Text);
        self.active = Some(active);
        self.decide();
        self.active = busy;
    }

    fn new_response(&mut self, params: ResponseParams, modality: Modality) -> Active {
        let outputs = match params.conversation.as_deref() {
            Some("none") => Outputs::Outside(Vec::new()),
            _ => Outputs::InConversation(Vec::new()),
        };
        let id = self.new_id("resp");
        let active = Active {
            id,
            params,
            phase: Phase::Thinking,
            modality,
            answer: None,
            outputs,
            items: 0,
            said_characters: 0,
            said_ms: 0,
        };
        let response = self.shown(&active, None);
        self.emit(ServerEvent::ResponseCreated { response });
        active
    }

    pub(super) fn cancel_by_client(&mut self, response_id: Option<String>, event_id: Option<String>) {
        let meant = |active: &&Active| response_id.as_ref().is_none_or(|id| *id == active.id);
        if self.active.as_ref().filter(meant).is_some() {
            self.cancel(End::Cancelled("client_cancelled"));
        } else {
            let message = "Cancellation failed: no active response found";
            self.error(Some("response_cancel_not_active"), message, None, event_id);
        }
    }

    /// Ends the response under way, if there is one. Its message keeps what was given of it.
    pub(super) fn cancel(&mut self, end: End) {
        let Some(mut active) = self.active.take() else { return };
        if active.answer.as_ref().is_some_and(|answer| answer.finish.is_none()) {
            self.ready.push_back(Out::StopAsking);
        }
        self.end_message(&mut active, "incomplete");
        self.over(&active, end);
    }

    /// Decides what to say, if that is due. All that the caller said is known.
    pub(super) fn decide(&mut self) {
        let Some(active) = &self.active else { return };
        if !matches!(active.phase, Phase::Thinking) {
            return;
        }
        let (params, modality) = (active.params.clone(), active.modality);
        let functions = self.functions(&params);
        let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
        let idle =
            self.conversation.last().is_some_and(|held| self.idle_item.is_some() && held.item.id == self.idle_item);
        let asked = params.instructions.as_deref().and_then(Asked::read);
        if asked.is_none() && !idle && self.asks_about(&params) {
            return;
        }
        let reply = match (asked, &mut self.answers) {
            (Some(Asked::Say(text)), _) => Reply::Say(text.to_owned()),
            (_, Answers::ByChat(limits)) => {
                let limits = *limits;
                return self.ask_chat(limits);
            }
            (Some(Asked::IfStillThere), Answers::ByFlow(dialogue)) => dialogue.still_there(),
            (Some(Asked::Goodbye), Answers::ByFlow(dialogue)) => dialogue.goodbye(),
            (None, Answers::ByFlow(dialogue)) => reply(dialogue, &self.conversation, &params, idle, &functions),
        };
        match reply {
            Reply::Say(text) if modality == Modality::Text => self.write_message(&text),
            Reply::Say(text) => {
                // What was recorded was recorded as a whole.
                let recorded = self.clip(&text).is_some();
                self.begin_message(if recorded { vec![text] } else { sentences(&text) });
            }
            Reply::Call { name, arguments } => {
                let Some(mut active) = self.active.take() else { return };
                self.call(&mut active, None, name, arguments);
                self.over(&active, End::Completed);
            }
        }
    }

    /// Has it found out what the words are about that are to be answered, if the flow wants to know. Whether that is still to
    /// come.
    fn asks_about(&mut self, params: &ResponseParams) -> bool {
        let Answers::ByFlow(dialogue) = &self.answers else { return false };
        let said = match &params.input {
            Some(input) => said_in(input),
            None => last(&self.conversation)
                .and_then(|held| held.heard.clone())
                .filter(|heard| pressed_keys(heard).is_none()),
        };
        let Some(words) = said.and_then(|said| dialogue.asks_about(&said)) else { return false };
        if self.understanding.as_ref().is_none_or(|(_, asked)| *asked != words) {
            let work = self.ask(What::Understand { words: words.clone() });
            self.understanding = Some((work, words));
        }
        true
    }

    /// What the words are about that were asked about.
    pub(super) fn understood(&mut self, words: Vec<String>, found: Result<Found, String>) {
        if let Answers::ByFlow(dialogue) = &mut self.answers {
            let vector = found.ok().and_then(|found| if let Found::About(vector) = found { vector } else { None });
            dialogue.told_about(words, vector);
        }
    }

    /// The operator's recording of a text, 8 kHz, ±1.
    fn clip(&self, text: &str) -> Option<Arc<[f32]>> {
        match &self.answers {
            Answers::ByFlow(dialogue) => dialogue.clip(text),
            Answers::ByChat(_) => None,
        }
    }

    /// Gives the whole message as text.
    fn write_message(&mut self, text: &str) {
        self.write(text);
        let Some(mut active) = self.active.take() else { return };
        self.end_message(&mut active, "completed");
        self.over(&active, End::Completed);
    }

    /// Gives more of a message as text.
    pub(super) fn write(&mut self, text: &str) {
        let Some(mut active) = self.active.take() else { return };
        let (output_index, content_index) = (0, 0);
        if !matches!(active.phase, Phase::Writing { .. }) {
            let item_id = self.new_id("item");
            self.begin_item(&mut active, message(&item_id, "in_progress", None), false);
            let (response_id, part) = (active.id.clone(), text_part("text", ""));
            let item = item_id.clone();
            self.emit(ServerEvent::ContentPartAdded { response_id, item_id: item, output_index, content_index, part });
            active.phase = Phase::Writing { item_id, written: String::new() };
        }
        active.said_characters += text.len();
        if let Phase::Writing { item_id, written } = &mut active.phase {
            written.push_str(text);
            let (response_id, item_id, delta) = (active.id.clone(), item_id.clone(), text.to_owned());
            self.emit(ServerEvent::TextDelta { response_id, item_id, output_index, content_index, delta });
        }
        self.active = Some(active);
    }

    /// Ends the message under way, if there is one.
    pub(super) fn end_message(&mut self, active: &mut Active, status: &'static str) {
        match std::mem::replace(&mut active.phase, Phase::Asking) {
            Phase::Thinking | Phase::Asking => {}
            Phase::Speaking { item_id, said, .. } => self.message_done(active, &item_id, &said, status),
            Phase::Writing { item_id, written } => {
                let (output_index, content_index) = (0, 0);
                let ids = || (active.id.clone(), item_id.clone());
                let ((response_id, item), text) = (ids(), written.clone());
                self.emit(ServerEvent::TextDone { response_id, item_id: item, output_index, content_index, text });
                let ((response_id, item), part) = (ids(), text_part("text", &written));
                self.emit(ServerEvent::ContentPartDone {
                    response_id,
                    item_id: item,
                    output_index,
                    content_index,
                    part,
                });
                let content = Some(vec![text_part("output_text", &written)]);
                self.end_item(active, Item { content, ..message(&item_id, status, None) });
            }
        }
    }

    /// Begins a message that is spoken, with these sentences.
    pub(super) fn begin_message(&mut self, sentences: Vec<String>) {
        let Some(mut active) = self.active.take() else { return };
        let item_id = self.new_id("item");
        self.begin_item(&mut active, message(&item_id, "in_progress", None), true);
        self.emit(ServerEvent::ContentPartAdded {
            response_id: active.id.clone(),
            item_id: item_id.clone(),
            output_index: 0,
            content_index: 0,
            part: Content { kind: "audio".into(), transcript: Some(Some(String::new())), ..Default::default() },
        });
        active.phase = Phase::Speaking { item_id, said: String::new(), rest: sentences.into(), under_way: None };
        self.active = Some(active);
        self.speak();
    }

    /// Has the next sentence said, or ends the response if there will be none.
    pub(super) fn speak(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        let Phase::Speaking { rest, under_way, .. } = &mut active.phase else {
            self.active = Some(active);
            return;
        };
        if let Some(sentence) = rest.pop_front() {
            let rate = settings::rate(self.settings.output_format());
            if let Some(samples) = self.clip(&sentence) {
                self.active = Some(active);
                return self.give(sentence, &at_rate(samples, rate));
            }
            let speed = self.settings.speed() as f32;
            let work = self.ask(What::Speak { sentence: sentence.clone(), rate, speed });
            *under_way = Some((work, sentence));
            self.active = Some(active);
            return;
        }
        if active.answer.as_ref().is_some_and(|answer| answer.finish.is_none()) {
            // More of them may come.
            self.active = Some(active);
            return;
        }
        self.end_message(&mut active, "completed");
        self.finish(active);
    }

    /// A sentence has been said.
    pub(super) fn spoken(&mut self, work: u64, found: Result<Found, String>) {
        let Some(active) = &mut self.active else { return };
        let Phase::Speaking { under_way, .. } = &mut active.phase else { return };
        let Some((_, sentence)) = under_way.take_if(|(under_way, _)| *under_way == work) else { return };
        match found {
            Ok(Found::Sound(samples)) => self.give(sentence, &samples),
            Ok(_) => self.cancel(End::Failed(Failure::passing("the synthesis answered something else"))),
            Err(error) => self.cancel(End::Failed(Failure::passing(error))),
        }
    }

    /// Sends a sentence and its sound, and goes on to the next.
    fn give(&mut self, sentence: String, samples: &[f32]) {
        let Some(active) = &mut self.active else { return };
        let Phase::Speaking { item_id, said, .. } = &mut active.phase else { return };
        let delta = if said.is_empty() { sentence.clone() } else { format!(" {sentence}") };
        said.push_str(&delta);
        active.said_characters += delta.len();
        let (response_id, item_id) = (active.id.clone(), item_id.clone());
        let format = self.settings.output_format();
        let ms = samples.len() as u64 * 1_000 / u64::from(settings::rate(format).hz());
        active.said_ms += ms;
        if let Some(at) = self.position(&item_id) {
            self.conversation[at].spoken.get_or_insert_default().push((sentence, ms));
        }
        self.has_spoken = true;
        let (output_index, content_index) = (0, 0);
        self.emit(ServerEvent::TranscriptDelta {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            output_index,
            content_index,
            delta,
        });
        for piece in samples.chunks(settings::rate(format).hz() as usize * DELTA_MS / 1_000) {
            let delta = STANDARD.encode(settings::write(format, piece));
            let (response_id, item_id) = (response_id.clone(), item_id.clone());
            self.emit(ServerEvent::AudioDelta { response_id, item_id, output_index, content_index, delta });
        }
        self.speak();
    }

    fn message_done(&mut self, active: &mut Active, item_id: &str, said: &str, status: &'static str) {
        let (response_id, item_id) = (active.id.clone(), item_id.to_owned());
        let (output_index, content_index) = (0, 0);
        self.emit(ServerEvent::AudioDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            output_index,
            content_index,
        });
        self.emit(ServerEvent::TranscriptDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            output_index,
            content_index,
            transcript: said.to_owned(),
        });
        self.emit(ServerEvent::ContentPartDone {
            response_id,
            item_id: item_id.clone(),
            output_index,
            content_index,
            part: Content { kind: "audio".into(), transcript: Some(Some(said.to_owned())), ..Default::default() },
        });
        self.end_item(active, message(&item_id, status, Some(said)));
    }

    /// Calls a function. `call_id`: what it is called by whoever thought of it.
    pub(super) fn call(&mut self, active: &mut Active, call_id: Option<String>, name: String, arguments: String) {
        let item_id = self.new_id("item");
        let call_id = call_id.unwrap_or_else(|| self.new_id("call"));
        let item = |status: &str, arguments: &str| Item {
            id: Some(item_id.clone()),
            object: Some("realtime.item".into()),
            kind: "function_call".into(),
            status: Some(status.into()),
            call_id: Some(call_id.clone()),
            name: Some(name.clone()),
            arguments: Some(arguments.to_owned()),
            ..Default::default()
        };
        self.begin_item(active, item("in_progress", ""), false);
        let output_index = active.items - 1;
        active.said_characters += arguments.len();
        self.emit(ServerEvent::ArgumentsDelta {
            response_id: active.id.clone(),
            item_id: item_id.clone(),
            output_index,
            call_id: call_id.clone(),
            delta: arguments.clone(),
        });
        self.emit(ServerEvent::ArgumentsDone {
            response_id: active.id.clone(),
            item_id: item_id.clone(),
            output_index,
            call_id: call_id.clone(),
            name: name.clone(),
            arguments: arguments.clone(),
        });
        self.end_item(active, item("completed", &arguments));
    }

    fn begin_item(&mut self, active: &mut Active, item: Item, spoken: bool) {
        let (response_id, output_index) = (active.id.clone(), active.items);
        active.items += 1;
        self.emit(ServerEvent::OutputItemAdded { response_id, output_index, item: item.clone() });
        let Outputs::InConversation(outputs) = &mut active.outputs else { return };
        outputs.extend(item.id.clone());
        self.make_room();
        let previous_item_id = self.conversation.last().and_then(|held| held.item.id.clone());
        let spoken = spoken.then(Vec::new);
        self.conversation.push(Held { item: item.clone(), spoken, heard: None });
        self.emit(ServerEvent::ItemAdded { previous_item_id, item });
    }

    fn end_item(&mut self, active: &mut Active, item: Item) {
        let (response_id, output_index) = (active.id.clone(), active.items - 1);
        self.emit(ServerEvent::OutputItemDone { response_id, output_index, item: item.clone() });
        if let Outputs::Outside(items) = &mut active.outputs {
            return items.push(item);
        }
        // An item that the client deleted meanwhile stays deleted; one that it truncated keeps no words.
        let Some(at) = item.id.as_deref().and_then(|id| self.position(id)) else { return };
        let truncated = self.conversation[at]
            .item
            .content
            .as_ref()
            .is_some_and(|parts| parts.iter().any(|part| part.transcript.is_none()));
        if !truncated {
            self.conversation[at].item = item.clone();
        }
        let previous_item_id = at.checked_sub(1).and_then(|before| self.conversation[before].item.id.clone());
        self.emit(ServerEvent::ItemDone { previous_item_id, item });
    }

    pub(super) fn over(&mut self, active: &Active, end: End) {
        if matches!(end, End::Completed | End::Incomplete(_)) && active.said_ms > 0 {
            self.spoke(active.said_ms);
        }
        let response = self.shown(active, Some(end));
        self.emit(ServerEvent::ResponseDone { response });
    }

    fn shown(&self, active: &Active, end: Option<End>) -> Response {
        let details = |kind, reason, error| Some(StatusDetails { kind, reason, error });
        let (status, status_details) = match &end {
            None => ("in_progress", None),
            Some(End::Completed) => ("completed", None),
            Some(End::Cancelled(reason)) => ("cancelled", details("cancelled", Some(reason), None)),
            Some(End::Incomplete(reason)) => ("incomplete", details("incomplete", Some(reason), None)),
            Some(End::Failed(Failure { code, message })) => {
                let kind = if *code == "server_error" { "server_error" } else { "invalid_request_error" };
                let (kind, code) = (kind.to_owned(), Some((*code).to_owned()));
                let error = ErrorBody { kind, code, message: message.clone(), ..Default::default() };
                ("failed", details("failed", None, Some(error)))
            }
        };
        let here = |id: &String| self.position(id).map(|at| self.conversation[at].item.clone());
        let (output, conversation_id) = match &active.outputs {
            Outputs::InConversation(ids) => (ids.iter().filter_map(here).collect(), Some(CONVERSATION.into())),
            Outputs::Outside(items) => (items.clone(), None),
        };
        let format = self.settings.output_format().name();
        let modality = match active.modality {
            Modality::Audio => "audio",
            Modality::Text => "text",
        };
        Response {
            id: active.id.clone(),
            object: "realtime.response",
            status,
            status_details,
            output: if end.is_some() { output } else { Vec::new() },
            conversation_id,
            output_modalities: vec![modality.into()],
            audio: json!({"output": {"format": {"type": format}, "voice": self.settings.voice()}}),
            max_output_tokens: self.settings.max_output_tokens.clone().unwrap_or_else(|| "inf".into()),
            metadata: active.params.metadata.clone(),
            usage: end.filter(|end| !matches!(end, End::Failed(_))).map(|_| self.usage(active)),
        }
    }

    /// Nobody is billed; counted as the vendor does: a token for 100 ms heard, for 50 ms spoken, for four characters.
    fn usage(&self, active: &Active) -> TokenUsage {
        let instructions = self.settings.instructions.as_ref().map_or(0, String::len);
        TokenUsage::new(
            InputTokens {
                text_tokens: instructions as u64 / 4,
                audio_tokens: self.committed / 800,
                ..Default::default()
            },
            OutputTokens {
                text_tokens: active.said_characters.div_ceil(4) as u64,
                audio_tokens: active.said_ms.div_ceil(50),
            },
        )
    }
}

fn message(item_id: &str, status: &str, said: Option<&str>) -> Item {
    let content = said.map(|said| Content {
        kind: "output_audio".into(),
        transcript: Some(Some(said.to_owned())),
        ..Default::default()
    });
    Item {
        id: Some(item_id.to_owned()),
        object: Some("realtime.item".into()),
        kind: "message".into(),
        status: Some(status.into()),
        role: Some("assistant".into()),
        content: Some(content.into_iter().collect()),
        ..Default::default()
    }
}

/// What a flow says to the last that happened. `idle`: nobody has said anything for too long.
fn reply(
    dialogue: &mut Dialogue,
    conversation: &[Held],
    params: &ResponseParams,
    idle: bool,
    functions: &[&str],
) -> Reply {
    if let Some(input) = &params.input {
        return reply_to_input(dialogue, input, functions);
    }
    if idle {
        return dialogue.still_there();
    }
    if params.conversation.as_deref() == Some("none") {
        // What comes of it is not remembered, so neither is what was understood for it.
        return reply_to_last(&mut dialogue.clone(), conversation, functions);
    }
    reply_to_last(dialogue, conversation, functions)
}

/// What a flow says to the last message of an input of the response's own. It begins a conversation of its own.
fn reply_to_input(dialogue: &Dialogue, input: &[Value], functions: &[&str]) -> Reply {
    let mut aside = dialogue.begun_anew();
    match said_in(input) {
        Some(said) => aside.reply(&said, functions),
        None => aside.opening(),
    }
}

fn said_in(input: &[Value]) -> Option<String> {
    let said = |item: &Value| {
        let parts = item["content"].as_array()?.iter().filter_map(|part| part["text"].as_str());
        (item["role"] == "user").then(|| parts.collect::<Vec<_>>().join(" "))
    };
    input.iter().rev().find_map(said)
}

fn reply_to_last(dialogue: &mut Dialogue, conversation: &[Held], functions: &[&str]) -> Reply {
    match last(conversation) {
        None => dialogue.opening(),
        Some(held) if held.item.kind == "function_call_output" => {
            dialogue.tool_answered(held.item.output.as_deref().unwrap_or_default())
        }
        Some(Held { heard: Some(heard), .. }) => match pressed_keys(heard) {
            Some(keys) => dialogue.pressed(keys, functions),
            None => dialogue.reply(heard, functions),
        },
        // The agent had the last word, and is asked for more.
        Some(_) => dialogue.still_there(),
    }
}

/// The last that happened.
fn last(conversation: &[Held]) -> Option<&Held> {
    conversation.iter().rev().find(|held| held.item.role.as_deref() != Some("system"))
}

fn text_part(kind: &str, text: &str) -> Content {
    Content { kind: kind.into(), text: Some(text.to_owned()), ..Default::default() }
}

/// What of a response's own wishes cannot be honoured, and why.
fn cannot(params: &ResponseParams, by_flow: bool) -> Option<(&'static str, &'static str)> {
    match params.conversation.as_deref() {
        None | Some("auto" | "none") => {}
        Some(_) => return Some(("conversation", "Invalid value. Supported values are: 'auto', 'none'.")),
    }
    let outside = params.conversation.as_deref() == Some("none");
    if by_flow && outside && params.instructions.as_deref().is_some_and(|text| Asked::read(text).is_none()) {
        return Some(("instructions", "This model answers by a flow; it cannot follow instructions of a response."));
    }
    let reference = |item: &Value| item["type"] == "item_reference";
    if params.input.as_ref().is_some_and(|input| input.iter().any(reference)) {
        return Some(("input", "References to items are not supported by this server; give the items themselves."));
    }
    None
}
