//! A virtual model: one session of the Realtime protocol (GA), as far as a call needs it. It hears speech where the
//! caller's frames say that there is some, and answers when it is asked to, faster than its answer can be heard.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::caller::Caller;
use super::frame::{self, Kind, Side};
use super::socket::Socket;
use super::stamp::{FRAME_BYTES, Stamp, decoded_len};
use super::{Due, Shared};

/// Audio of one answer, and of one delta.
pub(crate) const ANSWER_MS: u64 = 7_000;
pub(crate) const DELTA_MS: u64 = 200;

/// How much faster than it is heard the answer is given.
pub(crate) const FASTER: u64 = 5;

/// From the request to the first audio, and from the end of speech to its words.
const FIRST_AUDIO_MICROS: u64 = 300_000;
const TRANSCRIBED_MICROS: u64 = 200_000;

/// Silence that ends a turn, in bytes; what is counted to speech before it began, in ms.
const TURN_SILENCE: u64 = 4_000;
const PREFIX_MS: u64 = 300;

/// More audio than this in one message was kept back until the session was configured.
const HELD_MIN: usize = 4 * FRAME_BYTES;

const FRAMES_A_DELTA: usize = (DELTA_MS / 20) as usize;

pub(super) struct Model {
    index: u32,
    /// Tells it from a session that was at its place before.
    serial: u32,
    socket: Socket,
    open: bool,
    /// Whose it is; known by the first frame of audio.
    call: Option<u16>,
    heard_bytes: u64,
    speaking: bool,
    silent_bytes: u64,
    turns: u32,
    responses: u32,
    answer: Option<Answer>,
}

/// One that is being given.
struct Answer {
    response: String,
    item: String,
    utterance: u16,
    /// As the request had it, JSON.
    metadata: String,
    deltas: u64,
}

impl Model {
    pub(super) fn new(index: u32, serial: u32, socket: Socket) -> Model {
        Model {
            index,
            serial,
            socket,
            open: false,
            call: None,
            heard_bytes: 0,
            speaking: false,
            silent_bytes: 0,
            turns: 0,
            responses: 0,
            answer: None,
        }
    }

    pub(super) fn is(&self, serial: u32) -> bool {
        self.serial == serial
    }

    /// The system has something to say about the socket. Whether the session goes on.
    pub(super) fn ready(&mut self, callers: &mut [Caller], shared: &mut Shared) -> io::Result<bool> {
        self.socket.flush()?;
        let open = self.socket.fill(&mut shared.scratch)?;
        if !self.open {
            let Some((answer, end)) = frame::answer_handshake(&self.socket.unread) else { return Ok(open) };
            self.socket.unread.drain(..end);
            self.socket.send(&answer)?;
            self.open = true;
            self.say(shared, r#"{"type":"session.created","event_id":"event_s","session":{"type":"realtime","object":"realtime.session","id":"sess_b","model":"gpt-realtime-2.1","output_modalities":["audio"]}}"#)?;
        }
        let mut unread = std::mem::take(&mut self.socket.unread);
        let mut at = 0;
        let mut goes_on = open;
        while let Some(found) = frame::find(&mut unread, at) {
            at = found.end;
            match found.kind {
                Kind::Text => self.message(&unread[found.payload], callers, shared)?,
                Kind::Ping => {
                    let mut pong = Vec::new();
                    frame::write_pong(&mut pong, Side::Server, &unread[found.payload]);
                    self.socket.send(&pong)?;
                }
                Kind::Close => {
                    let mut close = Vec::new();
                    frame::write_close(&mut close, Side::Server);
                    // The peer may be gone already.
                    let _ = self.socket.send(&close);
                    goes_on = false;
                }
                Kind::Other => {}
            }
        }
        unread.drain(..at);
        self.socket.unread = unread;
        Ok(goes_on)
    }

    fn message(&mut self, text: &[u8], callers: &mut [Caller], shared: &mut Shared) -> io::Result<()> {
        if let Some(rest) = text.strip_prefix(br#"{"type":"input_audio_buffer.append","audio":""#)
            && let Some(payload) = rest.strip_suffix(br#""}"#)
        {
            return self.append(payload, callers, shared);
        }
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(text) else {
            shared.problem("the model was sent something that is not JSON".to_owned());
            return Ok(());
        };
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        match text("type") {
            "session.update" => {
                let session = &event["session"];
                let updated =
                    format!(r#"{{"type":"session.updated","event_id":"event_u","session":{session}}}"#);
                self.say(shared, &updated)
            }
            "response.create" => {
                let metadata = &event["response"]["metadata"];
                self.respond(metadata.to_string(), callers, shared)
            }
            "response.cancel" => match self.answer.take() {
                Some(answer) => self.done(shared, &answer, "cancelled"),
                None => self.say(shared, r#"{"type":"error","event_id":"event_e","error":{"type":"invalid_request_error","code":"response_cancel_not_active","message":"Cancellation failed: no active response found"}}"#),
            },
            "conversation.item.truncate" => {
                let (item, told_ms) = (text("item_id"), event["audio_end_ms"].as_u64().unwrap_or(0));
                let caller = self.call.and_then(|call| callers.get_mut(usize::from(call)));
                if let Some((utterance, heard)) = caller.and_then(|caller| caller.cleared.take())
                    && item.rsplit_once('_').and_then(|(_, number)| number.parse().ok()) == Some(utterance)
                    && shared.measuring
                {
                    shared.measured.truncation.add((told_ms * 1_000).abs_diff(heard));
                }
                let truncated = format!(
                    r#"{{"type":"conversation.item.truncated","event_id":"event_t","item_id":"{item}","content_index":0,"audio_end_ms":{told_ms}}}"#
                );
                self.say(shared, &truncated)
            }
            "conversation.item.delete" => {
                let deleted =
                    format!(r#"{{"type":"conversation.item.deleted","event_id":"event_d","item_id":"{}"}}"#, text("item_id"));
                self.say(shared, &deleted)
            }
            other => {
                shared.problem(format!("the model was sent {other}"));
                Ok(())
            }
        }
    }

    fn append(&mut self, payload: &[u8], callers: &mut [Caller], shared: &mut Shared) -> io::Result<()> {
        let now = shared.now();
        let len = decoded_len(payload);
        if len <= FRAME_BYTES {
            let stamp = Stamp::of_payload(payload);
            return self.frame(stamp, len as u64, now, callers, shared);
        }
        let mut audio = std::mem::take(&mut shared.audio);
        let stamps: Vec<Stamp> = Stamp::all_of_payload(payload, &mut audio).collect();
        shared.audio = audio;
        let measuring = shared.measuring;
        shared.measuring &= len < HELD_MIN;
        for stamp in stamps {
            self.frame(Some(stamp), FRAME_BYTES as u64, now, callers, shared)?;
        }
        shared.measuring = measuring;
        Ok(())
    }

    fn frame(
        &mut self,
        stamp: Option<Stamp>,
        bytes: u64,
        now: u64,
        callers: &mut [Caller],
        shared: &mut Shared,
    ) -> io::Result<()> {
        self.heard_bytes += bytes;
        let Some(stamp) = stamp else { return Ok(()) };
        if *self.call.get_or_insert(stamp.call) != stamp.call {
            shared.problem(format!("a model heard two callers, one of them call {}", stamp.call));
        }
        if shared.measuring {
            shared.measured.uplink.add(u64::from((now as u32).wrapping_sub(stamp.number)));
        }
        let heard_ms = self.heard_bytes / 8;
        if stamp.speech {
            self.silent_bytes = 0;
            if !std::mem::replace(&mut self.speaking, true) {
                self.turns += 1;
                let started = format!(
                    r#"{{"type":"input_audio_buffer.speech_started","event_id":"event_a","audio_start_ms":{},"item_id":"{}"}}"#,
                    heard_ms.saturating_sub(PREFIX_MS),
                    self.turn(),
                );
                if let Some(caller) = callers.get_mut(usize::from(stamp.call)) {
                    caller.speech_told = caller.hears_agent(now).then_some(now);
                }
                self.say(shared, &started)?;
            }
        } else if self.speaking {
            self.silent_bytes += bytes;
            if self.silent_bytes >= TURN_SILENCE {
                self.speaking = false;
                let turn = self.turn();
                self.say(shared, &format!(r#"{{"type":"input_audio_buffer.speech_stopped","event_id":"event_b","audio_end_ms":{heard_ms},"item_id":"{turn}"}}"#))?;
                self.say(shared, &format!(r#"{{"type":"input_audio_buffer.committed","event_id":"event_c","previous_item_id":null,"item_id":"{turn}"}}"#))?;
                self.say(shared, &format!(r#"{{"type":"conversation.item.added","event_id":"event_f","previous_item_id":null,"item":{{"id":"{turn}","object":"realtime.item","type":"message","status":"completed","role":"user","content":[{{"type":"input_audio","transcript":null}}]}}}}"#))?;
                shared.schedule(now + TRANSCRIBED_MICROS, Due::Transcript { model: self.index, serial: self.serial });
            }
        }
        Ok(())
    }

    /// The caller's words are known.
    pub(super) fn transcribe(&mut self, shared: &mut Shared) -> io::Result<()> {
        let turn = self.turn();
        self.say(shared, &format!(r#"{{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_g","item_id":"{turn}","content_index":0,"transcript":"And what would that be on a Tuesday?","usage":{{"type":"duration","seconds":2}}}}"#))
    }

    fn respond(&mut self, metadata: String, callers: &mut [Caller], shared: &mut Shared) -> io::Result<()> {
        if self.answer.is_some() {
            return self.say(shared, r#"{"type":"error","event_id":"event_e","error":{"type":"invalid_request_error","code":"conversation_already_has_active_response","message":"Conversation already has an active response"}}"#);
        }
        self.responses += 1;
        let caller = self.call.and_then(|call| callers.get_mut(usize::from(call)));
        let utterance = caller.map_or(0, |caller| {
            caller.utterances = caller.utterances.wrapping_add(1);
            caller.utterances
        });
        let response = format!("resp_{}_{}_{}", self.index, self.serial, self.responses);
        let item = format!("item_{}_{}_{utterance}", self.index, self.serial);
        self.say(shared, &format!(r#"{{"type":"response.created","event_id":"event_h","response":{{"object":"realtime.response","id":"{response}","status":"in_progress","status_details":null,"output":[],"conversation_id":"conv_b","output_modalities":["audio"],"usage":null,"metadata":{metadata}}}}}"#))?;
        self.say(shared, &format!(r#"{{"type":"response.output_item.added","event_id":"event_i","response_id":"{response}","output_index":0,"item":{{"id":"{item}","object":"realtime.item","type":"message","status":"in_progress","role":"assistant","content":[]}}}}"#))?;
        self.say(shared, &format!(r#"{{"type":"response.content_part.added","event_id":"event_j","response_id":"{response}","item_id":"{item}","output_index":0,"content_index":0,"part":{{"type":"audio","transcript":""}}}}"#))?;
        self.answer = Some(Answer { response, item, utterance, metadata, deltas: 0 });
        if shared.measuring {
            shared.measured.responses += 1;
        }
        let first = shared.now() + FIRST_AUDIO_MICROS;
        shared.schedule(first, Due::Delta { model: self.index, serial: self.serial, response: self.responses });
        Ok(())
    }

    /// The next piece of the answer, due at `due`.
    pub(super) fn delta(
        &mut self,
        due: u64,
        response: u32,
        callers: &mut [Caller],
        shared: &mut Shared,
    ) -> io::Result<()> {
        if response != self.responses {
            return Ok(());
        }
        let Some(mut answer) = self.answer.take() else { return Ok(()) };
        if answer.deltas == ANSWER_MS / DELTA_MS {
            return self.complete(shared, &answer);
        }
        let call = self.call.unwrap_or(0);
        let mut audio = [0; FRAMES_A_DELTA * FRAME_BYTES];
        let before = answer.deltas as u32 * FRAMES_A_DELTA as u32;
        for (frame, number) in audio.chunks_mut(FRAME_BYTES).zip(before..) {
            let number = u32::from(answer.utterance) << 16 | number;
            Stamp { call, speech: false, number }.write_frame(frame);
        }
        let mut text = std::mem::take(&mut shared.utf8);
        text.clear();
        let Answer { response: id, item, .. } = &answer;
        text.push_str(r#"{"type":"response.output_audio.delta","event_id":"event_k","response_id":""#);
        text.push_str(id);
        text.push_str(r#"","item_id":""#);
        text.push_str(item);
        text.push_str(r#"","output_index":0,"content_index":0,"delta":""#);
        STANDARD.encode_string(audio, &mut text);
        text.push_str(r#""}"#);
        shared.frame.clear();
        frame::write_text(&mut shared.frame, Side::Server, text.as_bytes());
        shared.utf8 = text;
        let words = format!(
            r#"{{"type":"response.output_audio_transcript.delta","event_id":"event_l","response_id":"{id}","item_id":"{item}","output_index":0,"content_index":0,"delta":" words"}}"#
        );
        frame::write_text(&mut shared.frame, Side::Server, words.as_bytes());
        if let Some(caller) = callers.get_mut(usize::from(call)) {
            caller.queued += audio.len() as u64;
            if answer.deltas == 0 {
                caller.first_delta = Some((answer.utterance, shared.now()));
            }
        }
        answer.deltas += 1;
        self.answer = Some(answer);
        let next = Due::Delta { model: self.index, serial: self.serial, response };
        shared.schedule(due + DELTA_MS * 1_000 / FASTER, next);
        self.socket.send(&shared.frame)
    }

    fn complete(&mut self, shared: &mut Shared, answer: &Answer) -> io::Result<()> {
        let Answer { response, item, deltas, .. } = answer;
        let words = " words".repeat(*deltas as usize);
        self.say(shared, &format!(r#"{{"type":"response.output_audio.done","event_id":"event_m","response_id":"{response}","item_id":"{item}","output_index":0,"content_index":0}}"#))?;
        self.say(shared, &format!(r#"{{"type":"response.output_audio_transcript.done","event_id":"event_n","response_id":"{response}","item_id":"{item}","output_index":0,"content_index":0,"transcript":"{words}"}}"#))?;
        self.say(shared, &format!(r#"{{"type":"response.output_item.done","event_id":"event_o","response_id":"{response}","output_index":0,"item":{{"id":"{item}","object":"realtime.item","type":"message","status":"completed","role":"assistant","content":[{{"type":"output_audio","transcript":"{words}"}}]}}}}"#))?;
        self.done(shared, answer, "completed")
    }

    fn done(&mut self, shared: &mut Shared, answer: &Answer, status: &str) -> io::Result<()> {
        let Answer { response, metadata, .. } = answer;
        self.say(shared, &format!(r#"{{"type":"response.done","event_id":"event_p","response":{{"object":"realtime.response","id":"{response}","status":"{status}","status_details":{{"type":"{status}"}},"output":[],"conversation_id":"conv_b","output_modalities":["audio"],"metadata":{metadata},"usage":{{"total_tokens":30,"input_tokens":20,"output_tokens":10,"input_token_details":{{"text_tokens":5,"audio_tokens":15,"cached_tokens":0}},"output_token_details":{{"text_tokens":2,"audio_tokens":8}}}}}}}}"#))
    }

    fn say(&mut self, shared: &mut Shared, text: &str) -> io::Result<()> {
        shared.frame.clear();
        frame::write_text(&mut shared.frame, Side::Server, text.as_bytes());
        self.socket.send(&shared.frame)
    }

    /// The item of the caller's turn that is being spoken, or was last.
    fn turn(&self) -> String {
        format!("turn_{}_{}_{}", self.index, self.serial, self.turns)
    }
}
