//! Our intentions as client events.

use std::collections::BTreeMap;

use super::client::{ClientEvent, Content, Item, ResponseParams};
use super::read::{REQUEST_KEY, Realtime};
use super::settings::SessionSettings;
use crate::id::RequestId;
use crate::output::{ModelOutput, Reason, Remembered};
use crate::wire::payload::{self, payload_len};

pub(super) const APPEND_START: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
pub(super) const APPEND_END: &str = r#""}"#;

/// Appends one `input_audio_buffer.append` to `out`.
///
/// `payload` is µ-law in base64 and must have been checked to be that: it is spliced into the message as it is.
pub fn write_append(out: &mut String, payload: &str) {
    debug_assert!(payload_len(payload).is_some(), "spliced unchecked");
    out.push_str(APPEND_START);
    out.push_str(payload);
    out.push_str(APPEND_END);
}

/// The same for µ-law that is not in base64 yet.
pub fn write_append_bytes(out: &mut String, audio: &[u8]) {
    out.push_str(APPEND_START);
    payload::encode_into(audio, out);
    out.push_str(APPEND_END);
}

/// Instructions of one response replace the session's, so these stand alone. The text follows in quotation marks, as it
/// is: what is inside is not read by a parser.
const LITERALLY: &str = "Say exactly the text between the quotation marks, word for word, in the language it is \
     written in, and nothing else. Do not translate it, answer it or comment on it.\n\"";

const ASK_IF_THERE: &str = "The caller has been silent for a while. Ask briefly, in the language of the conversation, \
     whether the caller is still there. Say nothing else.";

const SAY_GOODBYE: &str =
    "The call ends now. Say a brief goodbye in the language of the conversation, and nothing else.";

/// Keys that the caller pressed are told as if typed.
const PRESSED: &str = "(The caller pressed these keys on the telephone:) ";

/// The text that a response with these instructions is to say word for word, if we wrote them so. For whoever plays the
/// model.
pub fn literal_text(instructions: &str) -> Option<&str> {
    instructions.strip_prefix(LITERALLY)?.strip_suffix('"')
}

/// The keys that a caller's message tells of, if we wrote it so. For whoever plays the model.
pub fn pressed_keys(text: &str) -> Option<&str> {
    text.strip_prefix(PRESSED)
}

/// What a response is asked for by instructions that we wrote. For whoever plays the model without understanding
/// instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// To say this, word for word.
    Say(&'a str),
    /// To ask whether the caller is still there.
    IfStillThere,
    /// To say goodbye.
    Goodbye,
}

impl Asked<'_> {
    /// `None`: these instructions are somebody else's.
    pub fn read(instructions: &str) -> Option<Asked<'_>> {
        let whole = |ending: &str| instructions.ends_with(ending).then_some(());
        let say = literal_text(instructions).map(Asked::Say);
        say.or_else(|| whole(ASK_IF_THERE).map(|()| Asked::IfStillThere))
            .or_else(|| whole(SAY_GOODBYE).map(|()| Asked::Goodbye))
    }
}

impl Realtime {
    /// Appends the client event that carries out `output` to `out`. Returns false, and writes nothing, if there is
    /// nothing to send: what it is about belongs to a session that is gone, or is long forgotten.
    pub fn write(&mut self, output: &ModelOutput, settings: &SessionSettings, out: &mut String) -> bool {
        let event = self.client_event(output, settings);
        if let Some(event) = &event {
            event.write(out);
        }
        event.is_some()
    }

    fn client_event(&self, output: &ModelOutput, settings: &SessionSettings) -> Option<ClientEvent> {
        let known = |name: Option<&str>| name.map(str::to_owned);
        Some(match output {
            ModelOutput::Configure { request } => {
                ClientEvent::SessionUpdate { event_id: event_id(*request), session: Box::new(settings.session()) }
            }
            ModelOutput::CreateResponse { request, reason, text } => ClientEvent::ResponseCreate {
                event_id: event_id(*request),
                response: Some(Box::new(response_params(*request, *reason, text.as_deref(), settings))),
            },
            ModelOutput::CancelResponse { request, response } => ClientEvent::ResponseCancel {
                event_id: event_id(*request),
                response_id: Some(known(self.responses.name(response.0))?),
            },
            ModelOutput::Truncate { request, item, heard_ms } => ClientEvent::ItemTruncate {
                event_id: event_id(*request),
                item_id: known(self.items.name(item.0))?,
                content_index: 0,
                audio_end_ms: *heard_ms,
            },
            ModelOutput::DeleteItem { request, item } => {
                ClientEvent::ItemDelete { event_id: event_id(*request), item_id: known(self.items.name(item.0))? }
            }
            ModelOutput::Remember { request, what } => item_create(*request, remembered(what)),
            ModelOutput::CallerPressed { request, digits } => item_create(*request, pressed(digits)),
            ModelOutput::ToolOutput { request, call, output } => ClientEvent::ItemCreate {
                event_id: event_id(*request),
                previous_item_id: None,
                item: Box::new(Item {
                    kind: "function_call_output".into(),
                    call_id: Some(known(self.calls.name(call.0))?),
                    output: Some(output.clone()),
                    ..Default::default()
                }),
            },
        })
    }
}

fn item_create(request: RequestId, item: Item) -> ClientEvent {
    ClientEvent::ItemCreate { event_id: event_id(request), previous_item_id: None, item: Box::new(item) }
}

/// What was said before this session began. The agent's audio cannot be put into a conversation, only its words; and
/// a call's id is ours, since the session that named it is gone.
fn remembered(what: &Remembered) -> Item {
    match what {
        Remembered::Caller(text) => message("user", "input_text", text),
        Remembered::Agent(text) => message("assistant", "output_text", text),
        Remembered::Keys(digits) => pressed(digits),
        Remembered::ToolCall { call, name, arguments } => Item {
            kind: "function_call".into(),
            call_id: Some(format!("call_{call}")),
            name: Some(name.clone()),
            arguments: Some(arguments.clone()),
            ..Default::default()
        },
        Remembered::ToolOutput { call, output } => Item {
            kind: "function_call_output".into(),
            call_id: Some(format!("call_{call}")),
            output: Some(output.clone()),
            ..Default::default()
        },
    }
}

fn pressed(digits: &str) -> Item {
    message("user", "input_text", &format!("{PRESSED}{digits}"))
}

fn message(role: &str, kind: &str, text: &str) -> Item {
    let content = Content { kind: kind.into(), text: Some(text.to_owned()), ..Default::default() };
    Item { kind: "message".into(), role: Some(role.into()), content: Some(vec![content]), ..Default::default() }
}

fn event_id(request: RequestId) -> Option<String> {
    Some(format!("q{}", request.0))
}

fn response_params(
    request: RequestId,
    reason: Reason,
    text: Option<&str>,
    settings: &SessionSettings,
) -> ResponseParams {
    let instructions = match (text, reason) {
        (Some(text), _) => Some(format!("{LITERALLY}{text}\"")),
        (None, Reason::IdlePrompt) => Some(settings.instructions_and(ASK_IF_THERE)),
        (None, Reason::Farewell) => Some(settings.instructions_and(SAY_GOODBYE)),
        (None, Reason::Greeting | Reason::CallerTurn | Reason::ToolResult | Reason::Say) => None,
    };
    ResponseParams {
        // Whoever is told what to say has nothing to look up.
        tool_choice: instructions.is_some().then(|| "none".into()),
        instructions,
        metadata: Some(BTreeMap::from([(REQUEST_KEY.to_owned(), format!("q{}", request.0))])),
        ..Default::default()
    }
}

impl SessionSettings {
    fn instructions_and(&self, more: &str) -> String {
        match self.instructions.as_str() {
            "" => more.to_owned(),
            instructions => format!("{instructions}\n\n{more}"),
        }
    }
}
