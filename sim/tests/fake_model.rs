//! The fake model against what the reference says a real one does, in virtual time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::output::{ModelOutput, Reason};
use call::wire::openai::Read;
use call::wire::openai::{Realtime, SessionSettings, write_append_bytes};
use call::{ModelInput, RequestId};
use proptest::prelude::*;
use serde_json::{Value, json};
use sim::model::voice::hum;
use sim::model::{
    Behaviour, FakeModel, Reply, ReplyCall, ReplyEnd, ReplyItem, Script, Sent, TranscriptOrder, TranscriptionTiming,
};

// Configuration.

#[test]
fn a_session_opens_and_is_configured() {
    let mut client = Client::new(Script::default(), Behaviour::default());
    assert_eq!(client.kinds(), ["session.created"]);
    let created = client.new_events().remove(0);
    assert_eq!(created["session"]["audio"]["input"]["format"], json!({"type": "audio/pcm", "rate": 24000}));
    client.send(json!({"type": "session.update", "event_id": "q1", "session": {"type": "realtime",
        "instructions": "Be a shop.", "audio": {"input": {"turn_detection": null}}}}));
    assert!(client.new_events().is_empty());
    client.run_for(20);
    let [updated] = &client.new_events()[..] else { panic!("one") };
    assert_eq!(updated["type"], "session.updated");
    assert_eq!(updated["session"]["instructions"], "Be a shop.");
    assert_eq!(updated["session"]["audio"]["input"]["turn_detection"], Value::Null);
    assert_eq!(updated["session"]["audio"]["input"]["format"]["type"], "audio/pcm", "what is not named stays");
}

#[test]
fn what_our_settings_say_is_taken() {
    let client = configured(Script::default(), Behaviour::default());
    assert_eq!(client.model.record().client_errors, []);
}

#[test]
fn a_wrong_value_refuses_the_whole_update() {
    for (session, code, param) in [
        (
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}}}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (json!({"type": "realtime", "temperature": 0.8}), "unknown_parameter", "session.temperature"),
        (json!({"instructions": "x"}), "missing_required_parameter", "session.type"),
        (
            json!({"type": "realtime", "audio": {"output": {"format": {"type": "g711_ulaw"}}}}),
            "invalid_value",
            "session.audio.output.format.type",
        ),
        (
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}}}}),
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
        (json!({"type": "realtime", "max_output_tokens": 5000}), "invalid_value", "session.max_output_tokens"),
    ] {
        let mut client = Client::new(Script::default(), Behaviour::default());
        client.new_events();
        client.send(json!({"type": "session.update", "event_id": "q1", "session": session}));
        client.run_for(1_000);
        let [error] = &client.new_events()[..] else { panic!("{param}: one event") };
        assert_eq!(error["type"], "error");
        assert_eq!((error["error"]["code"].as_str(), error["error"]["param"].as_str()), (Some(code), Some(param)));
        assert_eq!(error["error"]["event_id"], "q1");
    }
}

#[test]
fn the_voice_is_fixed_once_it_was_heard() {
    let mut client = configured(Script::says(["Hello."]), Behaviour::default());
    client.create();
    client.run_for(3_000);
    client.new_events();
    client.send(
        json!({"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}}),
    );
    assert_eq!(client.new_events()[0]["error"]["code"], "cannot_update_voice");
}

#[test]
fn a_configuration_can_be_rejected_and_a_session_refused() {
    let behaviour = Behaviour { reject_configuration: Some("invalid_value"), ..Default::default() };
    let mut client = Client::new(Script::default(), behaviour);
    client.write(&ModelOutput::Configure { request: RequestId(1) });
    client.run_for(1_000);
    assert_eq!(client.kinds(), ["session.created", "error"]);

    let refuse = Behaviour { refuse: Some("insufficient_quota"), ..Default::default() };
    let client = Client::new(Script::default(), refuse);
    assert_eq!(client.events[0]["error"]["code"], "insufficient_quota");
    assert_eq!(client.closed, Some(Some(1008)));
    assert_eq!(client.model.poll_timeout(), None);
}

// What the caller says.

#[test]
fn speech_becomes_an_item() {
    let mut client = configured(Script::default().hears(["When do you open?"]), Behaviour::default());
    let speech = hum("When do you open?");
    client.hear(&[0xff; 8_000]);
    client.hear(&speech);
    client.hear(&[0xff; 8_000]);
    client.run_for(300);
    let events = client.new_events();
    let mut heard = kinds(&events);
    heard.dedup();
    assert_eq!(
        heard,
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
        ]
    );
    // The prefix reaches back 300 ms from where the voice rose above the threshold.
    let started = events[0]["audio_start_ms"].as_u64().unwrap();
    assert!((700..760).contains(&started), "{started}");
    let stopped = events[1]["audio_end_ms"].as_u64().unwrap();
    let spoken_until = 1_000 + speech.len() as u64 / 8;
    assert!((spoken_until + 200..spoken_until + 510).contains(&stopped), "{stopped} of {spoken_until}");
    let item = &events[0]["item_id"];
    assert!(events.iter().all(|event| event["item_id"] == *item || event["item"]["id"] == *item));
    assert_eq!(events.last().unwrap()["transcript"], "When do you open?");
    assert_eq!(client.model.record().appended, 16_000 + speech.len() as u64);
}

/// Breaks when the reports come as soon as ever, change their positions, or come of audio that was cleared.
#[test]
fn speech_can_be_reported_late() {
    let reports = |latency_ms: u64| {
        let speech_latency = Duration::from_millis(latency_ms);
        let mut client = configured(Script::default(), Behaviour { speech_latency, ..Behaviour::default() });
        client.hear(&[[0x80; 2_400].as_slice(), &[0xff; 12_000]].concat());
        let told = client.events.iter().zip(&client.times);
        let speech = told.filter(|(event, _)| event["type"].as_str().is_some_and(|kind| kind.contains(".speech_")));
        speech
            .map(|(event, at)| (event["audio_start_ms"].clone(), event["audio_end_ms"].clone(), at.as_millis()))
            .collect::<Vec<_>>()
    };
    let at_once = reports(0);
    assert_eq!(at_once.len(), 2);
    let later = at_once.into_iter().map(|(start, end, at)| (start, end, at + 250)).collect::<Vec<_>>();
    assert_eq!(reports(250), later);

    let speech_latency = Duration::from_millis(250);
    let mut client = configured(Script::default(), Behaviour { speech_latency, ..Behaviour::default() });
    client.hear(&[0x80; 800]);
    client.send(json!({"type": "input_audio_buffer.clear"}));
    client.run_for(1_000);
    assert_eq!(kinds(&client.new_events()), ["input_audio_buffer.cleared"]);
}

#[test]
fn transcription_comes_before_after_or_never_and_may_fail() {
    let transcript = "conversation.item.input_audio_transcription.completed";
    let heard = |timing, said: Option<&str>| {
        let script = Script { caller_says: vec![said.map(str::to_owned)], ..Script::says(["Yes."]) };
        let mut client = configured(script, Behaviour { transcription: timing, ..Default::default() });
        client.turn();
        client.create();
        client.run_for(3_000);
        kinds(&client.new_events())
    };
    let place = |kinds: &[String], kind: &str| kinds.iter().position(|other| other == kind);
    let kinds = heard(TranscriptionTiming::After(Duration::ZERO), Some("Hi."));
    assert!(place(&kinds, transcript) < place(&kinds, "response.created"));
    let kinds = heard(TranscriptionTiming::After(Duration::from_millis(300)), Some("Hi."));
    assert!(place(&kinds, transcript) > place(&kinds, "response.created"));
    assert!(place(&kinds, transcript) < place(&kinds, "response.done"), "{kinds:?}");
    let kinds = heard(TranscriptionTiming::AfterResponse, Some(""));
    assert_eq!(place(&kinds, transcript), Some(kinds.len() - 1));
    let kinds = heard(TranscriptionTiming::Never, Some("Hi."));
    assert_eq!(place(&kinds, transcript), None);
    let kinds = heard(TranscriptionTiming::After(Duration::ZERO), None);
    assert!(place(&kinds, "conversation.item.input_audio_transcription.failed").is_some());
}

#[test]
fn an_automatic_session_answers_and_interrupts_by_itself() {
    let mut client = Client::new(Script::says(["A rather long answer, which will be cut."]), Behaviour::default());
    client.send(json!({"type": "session.update", "session": {"type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}}}));
    client.turn();
    client.run_for(320);
    assert!(client.kinds().contains(&"response.output_audio.delta".to_owned()));
    client.new_events();
    client.model_hears(&hum("No."));
    let events = client.new_events();
    assert!(kinds(&events).contains(&"input_audio_buffer.speech_started".to_owned()));
    client.run_for(50);
    let events = client.new_events();
    let done = &events.last().unwrap()["response"];
    assert_eq!(
        (done["status"].as_str(), done["status_details"]["reason"].as_str()),
        (Some("cancelled"), Some("turn_detected"))
    );
    assert!(client.model.record().generated[0].cancelled);
}

#[test]
fn the_client_may_commit_and_clear() {
    let mut client = Client::new(Script::default(), Behaviour::default());
    client.send(json!({"type": "session.update", "session": {"type": "realtime",
        "audio": {"input": {"turn_detection": null, "format": {"type": "audio/pcmu"}}}}}));
    client.run_for(50);
    client.new_events();
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(client.new_events()[0]["error"]["code"], "input_audio_buffer_commit_empty");
    client.model_hears(&hum("Hello there."));
    client.send(json!({"type": "input_audio_buffer.clear"}));
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(kinds(&client.new_events()), ["input_audio_buffer.cleared", "error"]);
    client.model_hears(&[0xff; 800]);
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(
        kinds(&client.new_events()),
        ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    );
}

// Responses.

#[test]
fn a_response_climbs_the_documented_ladder() {
    let mut client = configured(Script::says(["Hi you."]), Behaviour::default());
    client.create();
    client.run_for(5_000);
    let events = client.new_events();
    let mut ladder = kinds(&events);
    let mut seen = std::collections::BTreeSet::new();
    ladder.retain(|kind| seen.insert(kind.clone()));
    assert_eq!(
        ladder,
        [
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    assert_eq!(events[0]["response"]["metadata"]["patchcord_request"], "q7");
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["status"], "completed");
    assert_eq!(done["output"][0]["content"][0]["transcript"], "Hi you.");
    assert!(done["usage"]["output_token_details"]["audio_tokens"].as_u64() > Some(5));
    let [item] = &client.model.record().generated[..] else { panic!("one item") };
    assert_eq!((&item.transcript[..], &item.audio[..]), ("Hi you.", &hum("Hi you.")[..]));
    assert_eq!(audio_of(&events, &item.item_id), item.audio);
}

#[test]
fn audio_is_generated_faster_than_it_plays_and_in_any_size() {
    let behaviour = Behaviour { delta_bytes: vec![1_600, 37, 4_001], ..Default::default() };
    let mut client = configured(Script::says(["One, two, three, four, five, six, seven."]), behaviour);
    client.create();
    let from = client.now;
    client.run_for(10_000);
    let events = client.new_events();
    let sizes: Vec<usize> = deltas(&events).map(|(_, audio)| audio.len()).collect();
    assert_eq!(sizes[..4], [1_600, 37, 4_001, 1_600]);
    let total: usize = sizes.iter().sum();
    let took = client.times.last().unwrap().saturating_sub(from).as_secs_f64() - 0.28;
    let real = total as f64 / 8_000.0;
    assert!((real / 12.0..real / 9.0).contains(&took), "{took} for {real}");
}

#[test]
fn two_items_and_a_call_come_in_order() {
    let reply = Reply {
        items: vec![ReplyItem::says("Goodbye."), ReplyItem::says("Bye bye.")],
        calls: vec![ReplyCall { name: "end_call".into(), arguments: "{\"why\":\"done\"}".into() }],
        end: ReplyEnd::Completed,
    };
    let behaviour = Behaviour { audio_done_at_end: true, ..Default::default() };
    let mut client = configured(Script { replies: vec![reply], ..Default::default() }, behaviour);
    client.create();
    client.run_for(5_000);
    let events = client.new_events();
    let inputs = client.inputs(&events);
    assert!(inputs.iter().any(|input| matches!(input, ModelInput::ToolCall { name, arguments, .. }
        if name == "end_call" && arguments == "{\"why\":\"done\"}")));
    let ends = kinds(&events).iter().rev().take(3).cloned().collect::<Vec<_>>();
    assert_eq!(ends, ["response.done", "response.output_audio.done", "response.output_audio.done"]);
    assert_eq!(events.last().unwrap()["response"]["output"].as_array().unwrap().len(), 3);
    assert_eq!(client.model.record().generated.len(), 2);
}

#[test]
fn a_literal_text_is_said() {
    let mut client = configured(Script::says(["Scripted."]), Behaviour::default());
    let text = "Thanks for calling \"Rad & Tat\", bye.".to_owned();
    client.write(&ModelOutput::CreateResponse {
        request: RequestId(3),
        reason: Reason::Farewell,
        text: Some(text.clone()),
    });
    client.run_for(5_000);
    client.create();
    client.run_for(5_000);
    let said: Vec<_> = client.model.record().generated.iter().map(|item| item.transcript.as_str()).collect();
    assert_eq!(said, [&text, "Scripted."]);
}

#[test]
fn a_response_may_be_empty_fail_or_be_cut_short() {
    let cut = Reply { end: ReplyEnd::Incomplete { reason: "max_output_tokens" }, ..Reply::says("And then") };
    let replies = vec![Reply::empty(), Reply::fails(Some("inference_rate_limit_exceeded"), "Try again in 2s."), cut];
    let mut client = configured(Script { replies, ..Default::default() }, Behaviour::default());
    let mut dones = Vec::new();
    for _ in 0..3 {
        client.create();
        client.run_for(3_000);
        dones.push(client.new_events().pop().unwrap()["response"].clone());
    }
    assert_eq!((&dones[0]["status"], &dones[0]["output"]), (&json!("completed"), &json!([])));
    assert_eq!(dones[1]["status"], "failed");
    assert_eq!(dones[1]["status_details"]["error"]["code"], "inference_rate_limit_exceeded");
    assert_eq!(dones[1]["usage"], Value::Null);
    assert_eq!(dones[2]["status_details"]["reason"], "max_output_tokens");
    assert_eq!(dones[2]["output"][0]["status"], "incomplete");
}

#[test]
fn words_may_come_before_or_after_the_voice() {
    for (order, words_first) in [(TranscriptOrder::BeforeAudio, true), (TranscriptOrder::AfterAudio, false)] {
        let mut client = configured(Script::says(["Good bye."]), Behaviour { transcript: order, ..Default::default() });
        client.create();
        client.run_for(3_000);
        let kinds = kinds(&client.new_events());
        let place = |kind: &str| kinds.iter().position(|other| other == kind).unwrap();
        assert_eq!(
            place("response.output_audio_transcript.done") < place("response.output_audio.delta"),
            words_first,
            "{kinds:?}"
        );
        assert_eq!(
            place("response.output_audio_transcript.delta") > place("response.output_audio.done"),
            !words_first,
            "{kinds:?}"
        );
    }
}

#[test]
fn there_is_one_response_at_a_time() {
    let mut client = configured(Script::says(["Hello."]), Behaviour::default());
    client.create();
    client.create();
    let [error] = &client.new_events()[..] else { panic!("one") };
    assert_eq!(error["error"]["code"], "conversation_already_has_active_response");
    assert_eq!(error["error"]["event_id"], "q7");
    assert_eq!(client.model.record().responses.len(), 1);
}

// Interrupting.

#[test]
fn a_cancel_ends_the_response_with_what_was_begun() {
    let behaviour = Behaviour { stragglers: 2, cancel_latency: Duration::from_millis(40), ..Default::default() };
    let mut client = configured(Script::says(["A long sentence that will never be heard to its end."]), behaviour);
    client.create();
    client.run_for(330);
    let before = deltas(&client.new_events()).count();
    client.send(json!({"type": "response.cancel", "event_id": "q8"}));
    client.run_for(39);
    assert!(client.new_events().is_empty());
    client.run_for(1);
    let events = client.new_events();
    assert_eq!(
        kinds(&events),
        [
            "response.output_audio.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    assert_eq!(events[5]["item"]["status"], "incomplete");
    let done = &events[7]["response"];
    assert_eq!(
        (done["status"].as_str(), done["status_details"]["reason"].as_str()),
        (Some("cancelled"), Some("client_cancelled"))
    );
    let [item] = &client.model.record().generated[..] else { panic!("one item") };
    assert!(item.cancelled);
    assert_eq!(item.audio.len(), (before + 2) * 1_600);
    assert!(!item.transcript.ends_with("end."));
    client.run_for(10_000);
    assert!(client.new_events().is_empty());
}

#[test]
fn there_may_be_nothing_to_cancel() {
    let mut client = configured(Script::says(["Hello."]), Behaviour::default());
    let cancel = json!({"type": "response.cancel", "event_id": "q8"});
    client.send(cancel.clone());
    assert_eq!(client.new_events()[0]["error"]["code"], "response_cancel_not_active");
    client.create();
    client.send(cancel.clone());
    assert_eq!(client.new_events()[0]["error"]["code"], "response_cancel_not_active", "not announced yet");
    client.run_for(5_000);
    client.new_events();
    client.send(cancel);
    assert_eq!(client.new_events()[0]["error"]["code"], "response_cancel_not_active", "over");
}

#[test]
fn a_truncated_item_keeps_what_was_heard_and_no_words() {
    let mut client = configured(Script::says(["Nine to five."]), Behaviour::default());
    client.create();
    client.run_for(3_000);
    client.new_events();
    let item = client.model.record().generated[0].item_id.clone();
    let truncate = |item: &str, ms: u64| json!({"type": "conversation.item.truncate", "event_id": "q9", "item_id": item, "content_index": 0, "audio_end_ms": ms});
    let length = client.model.record().generated[0].audio.len() / 8;
    client.send(truncate(&item, 60_000));
    let error = client.new_events()[0]["error"].clone();
    assert_eq!(error["code"], "invalid_value");
    assert_eq!(error["message"], format!("Audio content of {length}ms is already shorter than 60000ms"));
    client.send(truncate(&item, 420));
    assert_eq!(client.new_events()[0]["audio_end_ms"], 420);
    assert_eq!(client.model.record().generated[0].truncated_to_ms, Some(420));
    client.send(truncate(&item, 421));
    assert_eq!(client.new_events()[0]["error"]["code"], "invalid_value");
    client.send(json!({"type": "conversation.item.retrieve", "item_id": item}));
    let content = client.new_events()[0]["item"]["content"][0].clone();
    assert_eq!(content["transcript"], Value::Null);
    assert_eq!(STANDARD.decode(content["audio"].as_str().unwrap()).unwrap().len(), 420 * 8);

    client.turn();
    let caller = client.new_events()[2]["item_id"].as_str().unwrap().to_owned();
    client.send(truncate(&caller, 10));
    let error = client.new_events()[0]["error"].clone();
    assert_eq!(
        (&error["code"], error["message"].as_str().unwrap().contains("Only model output")),
        (&Value::Null, true)
    );
    client.send(truncate("item_unknown", 10));
    assert_eq!(client.new_events()[0]["error"]["code"], "item_not_found");
}

#[test]
fn a_deleted_item_is_gone() {
    let mut client = configured(Script::says(["Nine to five."]), Behaviour::default());
    client.create();
    client.run_for(3_000);
    client.new_events();
    let item = client.model.record().generated[0].item_id.clone();
    let delete = json!({"type": "conversation.item.delete", "event_id": "q9", "item_id": item});
    client.send(delete.clone());
    assert_eq!(client.new_events()[0]["type"], "conversation.item.deleted");
    assert!(client.model.record().generated[0].deleted);
    client.send(delete);
    assert_eq!(client.new_events()[0]["error"]["code"], "item_not_found");
}

// Tools.

#[test]
fn a_tool_is_called_and_answered() {
    let script =
        Script { replies: vec![Reply::calls("book_slot", "{}"), Reply::says("Booked.")], ..Default::default() };
    let mut client = configured(script, Behaviour::default());
    client.create();
    client.run_for(1_000);
    let events = client.new_events();
    let call = client.inputs(&events).into_iter().find_map(|input| match input {
        ModelInput::ToolCall { call, .. } => Some(call),
        _ => None,
    });
    client.write(&ModelOutput::ToolOutput { request: RequestId(8), call: call.unwrap(), output: "ok".into() });
    assert_eq!(kinds(&client.new_events()), ["conversation.item.added", "conversation.item.done"]);
    client.send(json!({"type": "conversation.item.create", "item":
        {"type": "function_call_output", "call_id": "call_unknown", "output": "ok"}}));
    assert_eq!(client.new_events()[0]["error"]["param"], "item.call_id");
    client.create();
    client.run_for(3_000);
    assert_eq!(client.model.record().generated[0].transcript, "Booked.");
}

// Worse days.

#[test]
fn a_create_may_never_be_answered() {
    let mut client = configured(Script::says(["Hello."]), Behaviour { ignored_creates: 1, ..Default::default() });
    client.create();
    client.run_for(60_000);
    assert!(client.new_events().is_empty());
    client.create();
    client.run_for(60_000);
    assert!(!client.new_events().is_empty());
}

#[test]
fn the_connection_may_drop_in_the_middle() {
    for code in [None, Some(1011)] {
        let behaviour = Behaviour { close_after: Some((6, code)), ..Default::default() };
        let mut client = configured(Script::says(["Hello."]), behaviour);
        client.create();
        client.run_for(5_000);
        assert_eq!((client.events.len(), client.closed), (6, Some(code)));
        assert_eq!(client.model.poll_timeout(), None);
    }
}

#[test]
fn a_session_ends_when_it_is_old() {
    let mut client =
        configured(Script::default(), Behaviour { expires_after: Some(Duration::from_secs(9)), ..Default::default() });
    client.run_for(9_000);
    assert_eq!(client.events.last().unwrap()["error"]["code"], "session_expired");
    assert_eq!(client.closed, Some(Some(1001)));
}

#[test]
fn unknown_events_and_nameless_errors_come_between() {
    let behaviour = Behaviour { unknown_every: Some(2), errors_without_code: true, ..Default::default() };
    let mut client = configured(Script::default(), behaviour);
    client.send(json!({"type": "response.cancel"}));
    client.run_for(10);
    assert!(client.kinds().contains(&"response.tea.ready".to_owned()));
    let error = client.events.iter().find(|event| event["type"] == "error").unwrap();
    assert_eq!(error["error"]["code"], Value::Null);
    assert_eq!(client.model.record().client_errors[0].code.as_deref(), Some("response_cancel_not_active"));
}

#[test]
fn it_may_speak_unasked() {
    let behaviour = Behaviour { spontaneous: vec![Duration::from_secs(2)], ..Default::default() };
    let mut client = configured(Script::says(["Are you there?"]), behaviour);
    client.run_for(5_000);
    let created = client.new_events()[0].clone();
    assert_eq!((&created["type"], &created["response"]["metadata"]), (&json!("response.created"), &Value::Null));
}

#[test]
fn a_foreign_field_is_an_error_only_where_it_is_meant_to_be() {
    let append = json!({"type": "input_audio_buffer.append", "audio": "AAAA", "mood": "good"});
    let mut strict = Client::new(Script::default(), Behaviour::default());
    strict.send(append.clone());
    assert_eq!(strict.events[1]["error"]["param"], "mood");
    let mut lenient = Client::new(Script::default(), Behaviour { strict: false, ..Default::default() });
    lenient.send(append);
    assert_eq!(lenient.events.len(), 1);
    lenient.send(json!({"type": "input_audio_buffer.append", "audio": "no base64"}));
    assert_eq!(lenient.events[1]["error"]["param"], "audio");
}

#[test]
fn the_same_day_twice_is_the_same_text() {
    let day = || {
        let mut client = configured(Script::says(["One.", "Two."]), Behaviour::default());
        client.turn();
        client.create();
        client.run_for(5_000);
        (client.texts, client.times)
    };
    assert_eq!(day(), day());
}

#[test]
fn whatever_it_sends_our_reader_understands() {
    let mut client = configured(Script::says(["Hello there."]), Behaviour::default());
    client.turn();
    client.create();
    client.run_for(5_000);
    for text in &client.texts {
        let read = Realtime::new().read(text);
        assert!(!matches!(read, Read::Malformed(_)), "{text}");
    }
}

/// What a client may do, in any order.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Speak,
    Pause,
    Create,
    Cancel,
    Truncate(u32),
    Delete,
    Commit,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1_u64..700).prop_map(Act::Wait),
        2 => Just(Act::Speak),
        2 => Just(Act::Pause),
        3 => Just(Act::Create),
        1 => Just(Act::Cancel),
        1 => (0_u32..900).prop_map(Act::Truncate),
        1 => Just(Act::Delete),
        1 => Just(Act::Commit),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Responses follow one another, each begun and ended once; what is recorded as generated is what was sent.
    #[test]
    fn whatever_a_client_does_the_session_makes_sense(
        acts in acts(),
        automatic in any::<bool>(),
        stragglers in 0_usize..3,
        audio_done_at_end in any::<bool>(),
    ) {
        let reply = Reply { items: vec![ReplyItem::says("Oh."), ReplyItem::says("Well.")], ..Reply::calls("f", "{}") };
        let script = Script { replies: vec![reply; 40], ..Default::default() };
        let mut client = Client::new(script, Behaviour { stragglers, audio_done_at_end, ..Default::default() });
        let detection = json!({"type": "server_vad", "create_response": automatic, "interrupt_response": automatic});
        let pcmu = json!({"type": "audio/pcmu"});
        client.send(json!({"type": "session.update", "session": {"type": "realtime", "audio":
            {"input": {"format": pcmu, "turn_detection": detection}, "output": {"format": pcmu}}}}));
        let speech = hum("Hm.");
        for act in acts {
            let item = client.model.record().generated.last().map_or_else(|| "item_none".into(), |item| item.item_id.clone());
            match act {
                Act::Wait(ms) => client.run_for(ms),
                Act::Speak => client.model_hears(&speech),
                Act::Pause => client.model_hears(&[0xff; 4_800]),
                Act::Create => client.create(),
                Act::Cancel => client.send(json!({"type": "response.cancel"})),
                Act::Truncate(ms) => client.send(json!({"type": "conversation.item.truncate", "item_id": item,
                    "content_index": 0, "audio_end_ms": ms})),
                Act::Delete => client.send(json!({"type": "conversation.item.delete", "item_id": item})),
                Act::Commit => client.send(json!({"type": "input_audio_buffer.commit"})),
            }
        }
        client.run_for(60_000);
        prop_assert_eq!(client.model.poll_timeout(), None, "it comes to rest");

        let ends = client.events.iter().filter(|event| event["response"]["id"].is_string());
        let ends: Vec<_> = ends.map(|event| (event["type"].as_str(), event["response"]["id"].as_str())).collect();
        for pair in ends.chunks(2) {
            prop_assert_eq!((pair[0].0, pair[1].0), (Some("response.created"), Some("response.done")));
            prop_assert_eq!(pair[0].1, pair[1].1);
        }
        let record = client.model.record();
        prop_assert_eq!(ends.len(), record.responses.len() * 2);
        for item in &record.generated {
            prop_assert_eq!(&audio_of(&client.events, &item.item_id), &item.audio);
        }
        let events = client.events.clone();
        client.inputs(&events);
    }
}

// Helpers.

/// A client of one session, with the clock in its hand.
struct Client {
    model: FakeModel,
    now: Duration,
    texts: Vec<String>,
    events: Vec<Value>,
    /// When each event came.
    times: Vec<Duration>,
    seen: usize,
    closed: Option<Option<u16>>,
    realtime: Realtime,
}

impl Client {
    fn new(script: Script, behaviour: Behaviour) -> Self {
        let mut client = Client {
            model: FakeModel::new("T", script, behaviour),
            now: Duration::ZERO,
            texts: Vec::new(),
            events: Vec::new(),
            times: Vec::new(),
            seen: 0,
            closed: None,
            realtime: Realtime::new(),
        };
        client.poll();
        client
    }

    fn poll(&mut self) {
        while let Some(sent) = self.model.poll(self.now) {
            assert_eq!(self.closed, None, "nothing follows a close");
            match sent {
                Sent::Text(text) => {
                    self.events.push(serde_json::from_str(&text).expect("JSON"));
                    self.texts.push(text);
                    self.times.push(self.now);
                }
                Sent::Close(code) => self.closed = Some(code),
            }
        }
        assert!(self.model.poll_timeout().is_none_or(|due| due > self.now), "due, but nothing came");
    }

    fn run_for(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(due) = self.model.poll_timeout().filter(|&due| due <= until) {
            self.now = due;
            self.poll();
        }
        self.now = until;
    }

    fn send(&mut self, event: Value) {
        self.send_text(&event.to_string());
    }

    fn send_text(&mut self, text: &str) {
        self.model.receive(text, self.now);
        self.poll();
    }

    fn write(&mut self, output: &ModelOutput) {
        let mut text = String::new();
        assert!(self.realtime.write(output, &SessionSettings::default(), &mut text));
        self.send_text(&text);
    }

    fn create(&mut self) {
        self.write(&ModelOutput::CreateResponse { request: RequestId(7), reason: Reason::CallerTurn, text: None });
    }

    /// Audio in frames of 20 ms, at the pace of a phone line.
    fn hear(&mut self, audio: &[u8]) {
        for frame in audio.chunks(160) {
            self.model_hears(frame);
            self.run_for(20);
        }
    }

    /// Audio at once.
    fn model_hears(&mut self, audio: &[u8]) {
        let mut text = String::new();
        write_append_bytes(&mut text, audio);
        self.send_text(&text);
    }

    /// A short turn of the caller, all at once.
    fn turn(&mut self) {
        self.run_for(50);
        self.new_events();
        self.model_hears(&hum("Hello there."));
        self.model_hears(&[0xff; 4_800]);
    }

    fn new_events(&mut self) -> Vec<Value> {
        let new = self.events[self.seen..].to_vec();
        self.seen = self.events.len();
        new
    }

    fn kinds(&self) -> Vec<String> {
        kinds(&self.events)
    }

    /// The same events as a call is told them.
    fn inputs(&mut self, events: &[Value]) -> Vec<ModelInput> {
        let texts: Vec<String> = events.iter().map(Value::to_string).collect();
        let inputs = texts.iter().filter_map(|text| match self.realtime.read(text) {
            Read::Input(input) | Read::Audio { input, .. } => Some(input),
            Read::Nothing => None,
            Read::Malformed(error) => panic!("{error}: {text}"),
        });
        inputs.collect()
    }
}

/// A session configured as our calls do it, with its events taken.
fn configured(script: Script, behaviour: Behaviour) -> Client {
    let mut client = Client::new(script, behaviour);
    client.write(&ModelOutput::Configure { request: RequestId(1) });
    client.run_for(20);
    assert!(client.kinds().contains(&"session.updated".to_owned()));
    client.new_events();
    client
}

fn kinds(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
}

fn deltas(events: &[Value]) -> impl Iterator<Item = (&str, Vec<u8>)> {
    events.iter().filter(|event| event["type"] == "response.output_audio.delta").map(|event| {
        let audio = STANDARD.decode(event["delta"].as_str().expect("delta")).expect("base64");
        (event["item_id"].as_str().expect("item"), audio)
    })
}

fn audio_of(events: &[Value], item: &str) -> Vec<u8> {
    deltas(events).filter(|(of, _)| *of == item).flat_map(|(_, audio)| audio).collect()
}
