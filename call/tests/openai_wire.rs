//! OpenAI Realtime as it is spelled: what is read, what is written.

use call::config::Turns;
use call::input::ModelInput;
use call::output::{ModelOutput, Reason};
use call::wire::openai::{
    ClientEvent, Eagerness, Item, NoiseReduction, Read, Realtime, ServerEvent, SessionSettings, ToolSpec,
    TurnDetection, close_is_fatal, literal_text, write_append, write_append_bytes,
};
use call::{ItemId, RequestId, ResponseId, ToolCallId};
use proptest::prelude::*;
use serde_json::{Value, json};

const REQUEST: RequestId = RequestId(17);

// Reading.

#[test]
fn every_server_event_is_read_as_the_vectors_say() {
    let mut realtime = Realtime::new();
    let mut lines = include_str!("vectors/openai/server.txt")
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    while let Some((number, text)) = lines.next() {
        let (_, expected) = lines.next().unwrap();
        assert_eq!(shown(realtime.read(text)), expected, "line {}: {text}", number + 1);
    }
}

#[test]
fn a_known_audio_delta_is_borrowed_from_the_text() {
    let text = r#"{"type":"response.output_audio.delta","response_id":"resp_1","item_id":"item_1","delta":"//8="}"#;
    let Read::Audio { payload, .. } = Realtime::new().read(text) else { panic!("audio") };
    assert!(matches!(payload, std::borrow::Cow::Borrowed("//8=")));
}

#[test]
fn numbers_never_come_twice_within_a_call() {
    let mut realtime = Realtime::new();
    let committed = r#"{"type":"input_audio_buffer.committed","item_id":"item_1"}"#;
    assert_eq!(shown(realtime.read(committed)), "= Committed { item: i0 }");
    realtime.reconnected();
    assert_eq!(shown(realtime.read(committed)), "= Committed { item: i1 }");
    let delete = |item| ModelOutput::DeleteItem { request: REQUEST, item: ItemId(item) };
    assert_eq!(written(&mut realtime, &delete(0)), None);
    assert!(written(&mut realtime, &delete(1)).is_some());
}

#[test]
fn an_id_without_end_is_not_remembered() {
    let event = |len| format!(r#"{{"type":"input_audio_buffer.committed","item_id":"{}"}}"#, "x".repeat(len));
    assert_eq!(shown(Realtime::new().read(&event(512))), "= Committed { item: i0 }");
    assert_eq!(shown(Realtime::new().read(&event(513))), "! an id of 513 bytes");
}

#[test]
fn what_the_server_writes_is_read_back() {
    let mut out = String::new();
    ServerEvent::SpeechStarted { item_id: "item_1".into(), audio_start_ms: 40 }.write("event_1", &mut out);
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({"type": "input_audio_buffer.speech_started", "event_id": "event_1", "item_id": "item_1", "audio_start_ms": 40})
    );
    assert_eq!(shown(Realtime::new().read(&out)), "= SpeechStarted { item: i0, at_ms: 40 }");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_=/+\\\\\"é]{0,6}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        "id|type|item_id|response_id|delta|transcript|response|item|error|code|message|status|usage|metadata",
        "rate_limits|status_details|input_token_details|audio_tokens|conversation_id|arguments|call_id|name",
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        Realtime::new().read(&text);
        let _ = ClientEvent::read(&text);
    }

    #[test]
    fn no_event_of_a_known_type_makes_it_panic(mut event in any_json(), kind in 0..KINDS.len()) {
        if let Value::Object(fields) = &mut event {
            fields.insert("type".into(), KINDS[kind].into());
        }
        let text = event.to_string();
        let read = Realtime::new().read(&text);
        prop_assert!(event.is_object() || matches!(read, Read::Malformed(_)));
        let _ = ClientEvent::read(&text);
    }
}

const KINDS: &[&str] = &[
    "session.updated",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.completed",
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_audio.delta",
    "response.output_audio_transcript.done",
    "response.done",
    "error",
    "rate_limits.updated",
    "response.create",
    "conversation.item.create",
    "session.update",
];

// Writing.

#[test]
fn a_session_has_exactly_the_documented_fields() {
    let settings = SessionSettings {
        instructions: "You answer the phone for a bike shop.".into(),
        language: Some("de".into()),
        noise_reduction: Some(NoiseReduction::FarField),
        speed: Some(1.1),
        max_output_tokens: Some(1024),
        reasoning_effort: Some("low".into()),
        tools: vec![ToolSpec {
            name: "book_slot".into(),
            description: "Book a repair slot".into(),
            parameters: json!({"type": "object"}),
        }],
        ..Default::default()
    };
    assert_eq!(
        written_with(&mut Realtime::new(), &ModelOutput::Configure { request: REQUEST }, &settings).unwrap(),
        concat!(
            r#"{"type":"session.update","event_id":"q17","session":{"type":"realtime","output_modalities":["audio"],"#,
            r#""instructions":"You answer the phone for a bike shop.","audio":{"input":{"format":{"type":"audio/pcmu"},"#,
            r#""noise_reduction":{"type":"far_field"},"transcription":{"model":"gpt-realtime-whisper","language":"de"},"#,
            r#""turn_detection":{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,"silence_duration_ms":500,"#,
            r#""create_response":false,"interrupt_response":false}},"#,
            r#""output":{"format":{"type":"audio/pcmu"},"voice":"marin","speed":1.1}},"#,
            r#""tools":[{"type":"function","name":"book_slot","description":"Book a repair slot","parameters":{"type":"object"}}],"#,
            r#""tool_choice":"auto","reasoning":{"effort":"low"},"max_output_tokens":1024}}"#,
        )
    );
}

#[test]
fn what_has_no_setting_is_left_to_the_server() {
    let settings = SessionSettings {
        transcription_model: None,
        turn_detection: TurnDetection::SemanticVad { eagerness: Eagerness::High },
        turns: Turns::Model,
        ..Default::default()
    };
    assert_eq!(
        written_with(&mut Realtime::new(), &ModelOutput::Configure { request: REQUEST }, &settings).unwrap(),
        concat!(
            r#"{"type":"session.update","event_id":"q17","session":{"type":"realtime","output_modalities":["audio"],"#,
            r#""audio":{"input":{"format":{"type":"audio/pcmu"},"turn_detection":{"type":"semantic_vad","#,
            r#""eagerness":"high","create_response":true,"interrupt_response":true}},"#,
            r#""output":{"format":{"type":"audio/pcmu"},"voice":"marin"}}}}"#,
        )
    );
}

#[test]
fn creates_are_tagged_and_say_no_more_than_they_must() {
    let create = |reason| ModelOutput::CreateResponse { request: REQUEST, reason, text: None };
    for reason in [Reason::CallerTurn, Reason::ToolResult] {
        assert_eq!(
            written(&mut Realtime::new(), &create(reason)).unwrap(),
            r#"{"type":"response.create","event_id":"q17","response":{"metadata":{"patchcord_request":"q17"}}}"#
        );
    }
    let settings = SessionSettings { instructions: "Be a shop.".into(), ..Default::default() };
    for reason in [Reason::IdlePrompt, Reason::Farewell] {
        let text = written_with(&mut Realtime::new(), &create(reason), &settings).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        let instructions = event["response"]["instructions"].as_str().unwrap();
        assert!(instructions.starts_with("Be a shop.\n\n"), "{instructions}");
        assert_eq!(literal_text(instructions), None);
    }
}

#[test]
fn a_text_is_asked_for_literally() {
    let text = "He said \"hi\",\nand left. שלום";
    let say = ModelOutput::CreateResponse { request: REQUEST, reason: Reason::Say, text: Some(text.into()) };
    let written = written(&mut Realtime::new(), &say).unwrap();
    let event: Value = serde_json::from_str(&written).unwrap();
    let fields: Vec<_> = event["response"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["instructions", "metadata", "tool_choice"]);
    assert_eq!(literal_text(event["response"]["instructions"].as_str().unwrap()), Some(text));
}

#[test]
fn what_is_about_an_item_names_it_as_the_server_does() {
    let mut realtime = Realtime::new();
    realtime.read(r#"{"type":"response.created","response":{"id":"resp_1"}}"#);
    realtime.read(
        r#"{"type":"response.output_item.done","response_id":"resp_1",
            "item":{"id":"item\"1","type":"function_call","status":"completed","name":"f","call_id":"call_1"}}"#,
    );
    for (output, expected) in [
        (
            ModelOutput::CancelResponse { request: REQUEST, response: ResponseId(0) },
            r#"{"type":"response.cancel","event_id":"q17","response_id":"resp_1"}"#,
        ),
        (
            ModelOutput::Truncate { request: REQUEST, item: ItemId(0), heard_ms: 1420 },
            r#"{"type":"conversation.item.truncate","event_id":"q17","item_id":"item\"1","content_index":0,"audio_end_ms":1420}"#,
        ),
        (
            ModelOutput::DeleteItem { request: REQUEST, item: ItemId(0) },
            r#"{"type":"conversation.item.delete","event_id":"q17","item_id":"item\"1"}"#,
        ),
        (
            ModelOutput::ToolOutput { request: REQUEST, call: ToolCallId(0), output: "{\"ok\":true}".into() },
            r#"{"type":"conversation.item.create","event_id":"q17","item":{"type":"function_call_output","call_id":"call_1","output":"{\"ok\":true}"}}"#,
        ),
    ] {
        assert_eq!(written(&mut realtime, &output).unwrap(), expected);
    }
    for unknown in [
        ModelOutput::CancelResponse { request: REQUEST, response: ResponseId(9) },
        ModelOutput::Truncate { request: REQUEST, item: ItemId(9), heard_ms: 1 },
        ModelOutput::ToolOutput { request: REQUEST, call: ToolCallId(9), output: String::new() },
    ] {
        assert_eq!(written(&mut realtime, &unknown), None);
    }
}

#[test]
fn appends() {
    let expected = r#"{"type":"input_audio_buffer.append","audio":"//8="}"#;
    let mut out = String::new();
    write_append(&mut out, "//8=");
    assert_eq!(out, expected);
    out.clear();
    write_append_bytes(&mut out, &[0xff, 0xff]);
    assert_eq!(out, expected);
    assert_eq!(ClientEvent::read(expected), Ok(ClientEvent::Append { event_id: None, audio: "//8=".into() }));
}

#[test]
fn close_codes() {
    for (code, fatal) in
        [(None, false), (Some(1000), true), (Some(1001), false), (Some(1006), false), (Some(1008), true)]
    {
        assert_eq!(close_is_fatal(code), fatal, "{code:?}");
    }
    assert!(close_is_fatal(Some(4000)));
}

// The client's events, read by whoever plays the model.

#[test]
fn what_we_write_is_read_strictly() {
    let settings = SessionSettings { noise_reduction: Some(NoiseReduction::NearField), ..Default::default() };
    let text = written_with(&mut Realtime::new(), &ModelOutput::Configure { request: REQUEST }, &settings).unwrap();
    let event = ClientEvent::read(&text).unwrap();
    assert_eq!(event.event_id(), Some("q17"));
    let mut again = String::new();
    event.write(&mut again);
    assert_eq!(again, text);
}

#[test]
fn undocumented_fields_are_refused_with_their_path() {
    for (text, code, param) in [
        (r#"{"type":"response.cancel","why":1}"#, "unknown_parameter", Some("why")),
        (
            r#"{"type":"session.update","session":{"type":"realtime","audio":{"input":{"vad":{}}}}}"#,
            "unknown_parameter",
            Some("session.audio.input.vad"),
        ),
        (
            r#"{"type":"conversation.item.create","item":{"type":"message","content":[{"type":"input_text","tone":""}]}}"#,
            "unknown_parameter",
            Some("item.content[0].tone"),
        ),
        (r#"{"type":"session.update","session":{"voice":"marin"}}"#, "unknown_parameter", Some("session.voice")),
        (r#"{"type":"conversation.item.delete"}"#, "missing_required_parameter", Some("item_id")),
        (r#"{"type":"response.stop"}"#, "invalid_value", Some("type")),
        (r#"{"event_id":"e1"}"#, "missing_required_parameter", Some("type")),
        (
            r#"{"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":1.5}"#,
            "invalid_type",
            None,
        ),
        ("{", "invalid_json", None),
    ] {
        let error = ClientEvent::read(text).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (code, param), "{text}: {error}");
    }
    assert_eq!(
        ClientEvent::read_lenient(r#"{"type":"response.cancel","why":1}"#),
        Ok(ClientEvent::ResponseCancel { event_id: None, response_id: None })
    );
    // `null` is a value.
    let off = r#"{"type":"session.update","session":{"audio":{"input":{"turn_detection":null}}}}"#;
    assert!(ClientEvent::read(off).is_ok());
    let mut item = String::new();
    let event = ClientEvent::ItemCreate {
        event_id: None,
        previous_item_id: Some("root".into()),
        item: Box::new(Item { kind: "message".into(), ..Default::default() }),
    };
    event.write(&mut item);
    assert_eq!(ClientEvent::read(&item), Ok(event));
}

// Helpers.

fn shown(read: Read<'_>) -> String {
    match read {
        Read::Input(input) => format!("= {input:?}"),
        Read::Audio { input, payload } => {
            assert!(matches!(input, ModelInput::Audio { .. }));
            format!("~ {input:?} {payload}")
        }
        Read::Nothing => "-".into(),
        Read::Malformed(error) => format!("! {error}"),
    }
}

fn written(realtime: &mut Realtime, output: &ModelOutput) -> Option<String> {
    written_with(realtime, output, &SessionSettings::default())
}

/// Appended to what is in the buffer already, and nothing if there is nothing to send.
fn written_with(realtime: &mut Realtime, output: &ModelOutput, settings: &SessionSettings) -> Option<String> {
    let mut out = String::from("kept");
    let sent = realtime.write(output, settings, &mut out);
    let rest = out.strip_prefix("kept").expect("what was there stays");
    assert_eq!(sent, !rest.is_empty());
    sent.then(|| rest.to_owned())
}
