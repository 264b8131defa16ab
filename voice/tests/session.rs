//! The Realtime protocol as a client sees it, without weights: the test plays the detector, the recogniser and the voice.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use voice::dialogue::Flow;
use voice::server::engine::{Done, Found, What, Work};
use voice::server::session::{Answers, Out, Session};

const FLOW: &str = r#"
    greeting = "Rover dispatch."
    again = "Say that again?"

    [[intent]]
    name = "hours"
    examples = ["when are you open"]
    answer = "From nine to five. Every day."

    [[intent]]
    name = "drive"
    examples = ["go forward ten meters"]
    slots = { meters = "number" }
    tool = "drive"
    answer = "{meters} meters, all right."
"#;

/// A client and the machine behind the session in one.
struct Bench {
    session: Session,
    /// Work that nobody has done yet.
    work: VecDeque<Work>,
    events: Vec<Value>,
    /// What the recogniser will understand.
    understood: &'static str,
    /// How likely the judge will find it that a turn is over.
    over: Option<f32>,
    /// Who reads sentences.
    reads: fn(&[String]) -> Option<Vec<f32>>,
}

impl Bench {
    fn new() -> Self {
        Bench::over(Flow::read(FLOW).unwrap())
    }

    fn over(flow: Flow) -> Self {
        let answers = Answers::by_flow(Arc::new(flow), Timestamp::UNIX_EPOCH);
        let session = Session::new("t", "any", Timestamp::UNIX_EPOCH, answers);
        let (work, events) = (VecDeque::new(), Vec::new());
        let mut bench = Bench { session, work, events, understood: "when are you open", over: None, reads: |_| None };
        bench.collect();
        bench.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": {
            "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "any"}},
            "output": {"format": {"type": "audio/pcmu"}},
        }}}));
        assert_eq!(bench.types(), ["session.created", "session.updated"]);
        bench
    }

    fn send(&mut self, event: Value) {
        self.session.receive(&event.to_string());
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(out) = self.session.poll() {
            match out {
                Out::Text(text) => self.events.push(serde_json::from_str(&text).unwrap()),
                Out::Work(work) => self.work.push_back(work),
                Out::Ask(_) | Out::StopAsking => panic!("a flow asks nobody"),
            }
        }
    }

    /// Does the oldest work: loud audio is speech, a sentence sounds as long as it is written.
    fn do_one(&mut self) {
        let Work { id, what } = self.work.pop_front().unwrap();
        let found = match what {
            What::Detect { hearing, samples } => {
                let probabilities = samples.chunks_exact(256).map(|step| if step[0].abs() > 0.1 { 0.9 } else { 0.0 });
                Found::Speech { hearing, probabilities: probabilities.collect() }
            }
            What::TurnEnd { .. } => Found::TurnEnd(self.over),
            What::Understand { words } => Found::About((self.reads)(&words)),
            What::Recognise { samples, .. } => {
                assert!(!samples.is_empty());
                Found::Text(self.understood.to_owned())
            }
            What::Speak { sentence, rate, .. } => {
                assert_eq!(rate.hz(), 8_000);
                Found::Sound(vec![0.1; sentence.len() * 400].into())
            }
        };
        self.session.found(Done { id, found: Ok(found) });
        self.collect();
    }

    fn do_all(&mut self) {
        while !self.work.is_empty() {
            self.do_one();
        }
    }

    fn append(&mut self, byte: u8, samples: usize) {
        self.send(json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(vec![byte; samples])}));
    }

    /// What the product tells of keys, and asks for then.
    fn press(&mut self, digits: &str) {
        let mut text = String::new();
        let pressed = call::ModelOutput::CallerPressed { request: call::id::RequestId(1), digits: digits.into() };
        let settings = call::wire::openai::SessionSettings::default();
        assert!(call::wire::openai::Realtime::default().write(&pressed, &settings, &mut text));
        self.session.receive(&text);
        self.send(json!({"type": "response.create"}));
    }

    /// A second of speech and a second of silence.
    fn speak(&mut self) {
        self.append(0x80, 8_192);
        self.append(0xFF, 8_192);
    }

    /// So many steps of the detector, each appended and worked upon by itself, as in a call.
    fn steps(&mut self, byte: u8, steps: usize) {
        for _ in 0..steps {
            self.append(byte, 256);
            self.do_all();
        }
    }

    /// How long it is silent, in milliseconds after `speech_ms`, until the turn is over.
    fn silence_until_stopped(&mut self, speech_ms: u64) -> u64 {
        for _ in 0..400 {
            self.steps(0xFF, 1);
            let stopped = self.events.iter().find(|event| event["type"] == "input_audio_buffer.speech_stopped");
            if let Some(stopped) = stopped {
                return stopped["audio_end_ms"].as_u64().unwrap() - speech_ms;
            }
        }
        panic!("the turn never ended");
    }

    /// Speaks for a second and 24 ms, and then is silent for a moment; the question whether the turn is over, if there is
    /// one: nobody has answered it yet.
    fn speak_and_pause(&mut self) -> Option<Work> {
        self.steps(0x80, 32);
        self.steps(0xFF, 4);
        self.append(0xFF, 256);
        self.do_one();
        let question = self.work.iter().position(|work| matches!(work.what, What::TurnEnd { .. }));
        let question = question.and_then(|at| self.work.remove(at));
        self.do_all();
        question
    }

    /// The types of the events since it was last asked, repetitions once.
    fn types(&mut self) -> Vec<String> {
        let mut types: Vec<String> =
            self.events.drain(..).map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        types.dedup();
        types
    }

    fn event(&self, kind: &str) -> &Value {
        let mut found = self.events.iter().filter(|event| event["type"] == kind);
        found.next().unwrap_or_else(|| panic!("no {kind} among {:?}", self.events))
    }

    fn error(&mut self, event: Value) -> String {
        self.events.clear();
        self.send(event);
        assert_eq!(self.events.len(), 1, "{:?}", self.events);
        self.event("error")["error"]["code"].as_str().unwrap_or("none").to_owned()
    }
}

#[test]
fn a_turn_is_heard_understood_and_answered() {
    let mut bench = Bench::new();
    bench.speak();
    bench.do_all();
    let audio = bench.events.iter().filter(|event| event["type"] == "response.output_audio.delta");
    let bytes: usize = audio.map(|event| STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len()).sum();
    assert_eq!(bytes, ("From nine to five.".len() + "Every day.".len()) * 400);
    let transcript = bench.event("response.output_audio_transcript.done")["transcript"].clone();
    assert_eq!(transcript, "From nine to five. Every day.");
    let done = bench.event("response.done")["response"].clone();
    assert_eq!((&done["status"], &done["output"][0]["content"][0]["transcript"]), (&json!("completed"), &transcript));
    assert!(done["usage"]["output_token_details"]["audio_tokens"].as_u64().unwrap() > 20);
    assert_eq!(
        bench.types(),
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
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
}

#[test]
fn positions_count_what_was_appended() {
    let mut bench = Bench::new();
    bench.append(0xFF, 16_384);
    bench.speak();
    bench.do_all();
    // 300 ms of prefix before two seconds and 48 ms; half a second of silence after a second and 24 ms of speech.
    assert_eq!(bench.event("input_audio_buffer.speech_started")["audio_start_ms"], 1_748);
    assert_eq!(bench.event("input_audio_buffer.speech_stopped")["audio_end_ms"], 3_584);
}

#[test]
fn recognition_begins_in_the_pause_and_is_used_when_the_turn_ends() {
    let mut bench = Bench::new();
    bench.append(0x80, 8_192);
    bench.append(0xFF, 2_048);
    bench.do_one();
    bench.do_one();
    let Some(Work { what: What::Recognise { speech, .. }, .. }) = bench.work.front() else {
        panic!("{:?}", bench.work)
    };
    assert_eq!(*speech, Some(8_192));
    bench.do_one();
    bench.append(0xFF, 4_096);
    bench.do_one();
    // Nothing is left to be recognised: what was found before is used.
    assert_eq!(bench.event("conversation.item.input_audio_transcription.completed")["transcript"], "when are you open");
    assert!(matches!(bench.work.front(), Some(Work { what: What::Speak { .. }, .. })), "{:?}", bench.work);
}

#[test]
fn what_goes_on_after_a_pause_is_recognised_as_a_whole() {
    let mut bench = Bench::new();
    bench.understood = "go";
    bench.append(0x80, 4_096);
    bench.append(0xFF, 2_048);
    bench.do_all();
    bench.understood = "go forward ten meters";
    bench.append(0x80, 4_096);
    bench.append(0xFF, 8_192);
    bench.do_all();
    let transcript = &bench.event("conversation.item.input_audio_transcription.completed")["transcript"];
    assert_eq!(transcript, "go forward ten meters");
}

#[test]
fn speech_interrupts_a_response() {
    let mut bench = Bench::new();
    bench.send(json!({"type": "response.create"}));
    assert!(bench.work.len() == 1 && !bench.types().contains(&"response.done".to_owned()));
    let sentence = bench.work.pop_front().unwrap();
    bench.append(0x80, 8_192);
    bench.do_one();
    let response = &bench.event("response.done")["response"];
    assert_eq!(
        (&response["status"], &response["status_details"]["reason"]),
        (&json!("cancelled"), &json!("turn_detected"))
    );
    // The sentence that was under way is said by nobody.
    bench.events.clear();
    bench.session.found(Done { id: sentence.id, found: Ok(Found::Sound(vec![0.1; 800].into())) });
    bench.collect();
    assert_eq!(bench.types(), [""; 0]);
}

#[test]
fn a_client_with_its_own_turns_decides_everything() {
    let mut bench = Bench::new();
    let detection = json!({"type": "server_vad", "create_response": false, "interrupt_response": false});
    let session = json!({"type": "realtime", "audio": {"input": {"turn_detection": detection}}});
    bench.send(json!({"type": "session.update", "session": session}));
    bench.speak();
    bench.do_all();
    assert!(!bench.types().contains(&"response.created".to_owned()));
    bench.send(json!({"type": "response.create", "response": {"metadata": {"ours": "q7"}}}));
    assert_eq!(bench.event("response.created")["response"]["metadata"]["ours"], "q7");
    assert_eq!(bench.error(json!({"type": "response.create"})), "conversation_already_has_active_response");
    bench.append(0x80, 8_192);
    bench.do_all();
    assert_eq!(bench.event("response.done")["response"]["status"], "completed");
}

#[test]
fn turns_without_detection_are_committed_by_the_client() {
    let mut bench = Bench::new();
    let session = json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}});
    bench.send(json!({"type": "session.update", "session": session}));
    assert_eq!(bench.error(json!({"type": "input_audio_buffer.commit"})), "input_audio_buffer_commit_empty");
    bench.events.clear();
    bench.speak();
    bench.do_all();
    assert_eq!(bench.types(), [""; 0]);
    bench.send(json!({"type": "input_audio_buffer.commit"}));
    let Some(Work { what: What::Recognise { samples, speech, .. }, .. }) = bench.work.front() else { panic!() };
    // Nobody has looked whether that is speech.
    assert!(samples.len() == 16_384 && speech.is_none());
    bench.do_all();
    assert!(bench.types().contains(&"conversation.item.input_audio_transcription.completed".to_owned()));
    assert_eq!(bench.error(json!({"type": "input_audio_buffer.commit"})), "input_audio_buffer_commit_empty");
}

/// Breaks when a turn is recognised, in a pause or at its end, without knowing what the flow is about.
#[test]
fn the_recogniser_is_told_what_the_flow_expects() {
    let mut bench = Bench::new();
    bench.speak();
    let flow = Flow::read(FLOW).unwrap();
    let mut told = 0;
    while let Some(work) = bench.work.front() {
        if let What::Recognise { expected, .. } = &work.what {
            assert!(*expected == flow.expected() && *expected != Arc::default());
            told += 1;
        }
        bench.do_one();
    }
    assert!(told > 0);
}

#[test]
fn a_function_is_called_and_its_output_answered() {
    let mut bench = Bench::new();
    let tools = json!([{"type": "function", "name": "drive", "parameters": {"type": "object"}}]);
    bench.send(json!({"type": "session.update", "session": {"type": "realtime", "tools": tools}}));
    bench.understood = "Go forward 10 meters.";
    bench.speak();
    bench.do_all();
    let call = bench.event("response.function_call_arguments.done").clone();
    assert_eq!((&call["name"], &call["arguments"]), (&json!("drive"), &json!(r#"{"meters":10}"#)));
    let output = |call_id: &Value| json!({"type": "function_call_output", "call_id": call_id, "output": "{}"});
    let unknown = json!({"type": "conversation.item.create", "item": output(&json!("call_x"))});
    assert_eq!(bench.error(unknown), "invalid_value");
    bench.send(json!({"type": "conversation.item.create", "item": output(&call["call_id"])}));
    bench.send(json!({"type": "response.create"}));
    bench.do_all();
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "10 meters, all right.");
}

#[test]
fn what_was_said_can_be_truncated_and_deleted() {
    let mut bench = Bench::new();
    bench.send(json!({"type": "response.create"}));
    bench.do_all();
    let item_id = bench.event("response.output_item.added")["item"]["id"].clone();
    let truncate = |ms: u32| json!({"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": ms});
    let said_ms = "Rover dispatch.".len() as u32 * 50;
    assert_eq!(bench.error(truncate(said_ms + 1)), "invalid_value");
    bench.send(truncate(said_ms / 2));
    assert_eq!(bench.event("conversation.item.truncated")["audio_end_ms"], said_ms / 2);
    assert_eq!(bench.error(truncate(said_ms)), "invalid_value");
    bench.send(json!({"type": "conversation.item.retrieve", "item_id": item_id}));
    assert_eq!(bench.event("conversation.item.retrieved")["item"]["content"], json!([{"type": "output_audio"}]));
    bench.send(json!({"type": "conversation.item.delete", "item_id": item_id}));
    assert_eq!(bench.event("conversation.item.deleted")["item_id"], item_id);
    assert_eq!(bench.error(json!({"type": "conversation.item.delete", "item_id": item_id})), "item_not_found");
    assert_eq!(bench.error(json!({"type": "response.cancel"})), "response_cancel_not_active");
}

#[test]
fn texts_are_answered_and_instructions_of_ours_are_followed() {
    let mut bench = Bench::new();
    let content = json!([{"type": "input_text", "text": "When are you open?"}]);
    let item = json!({"type": "message", "role": "user", "content": content});
    bench.send(json!({"type": "conversation.item.create", "item": item}));
    bench.send(json!({"type": "response.create"}));
    bench.do_all();
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "From nine to five. Every day.");
    bench.events.clear();
    let mut say = String::new();
    let mut realtime = call::wire::openai::Realtime::default();
    let ask = call::ModelOutput::CreateResponse {
        request: call::id::RequestId(1),
        reason: call::Reason::Greeting,
        text: Some("Good day!".into()),
    };
    assert!(realtime.write(&ask, &call::wire::openai::SessionSettings::default(), &mut say));
    bench.session.receive(&say);
    bench.collect();
    bench.do_all();
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "Good day!");
}

#[test]
fn a_machine_that_fails_is_told_of() {
    let mut bench = Bench::new();
    bench.send(json!({"type": "response.create"}));
    let work = bench.work.pop_front().unwrap();
    bench.session.found(Done { id: work.id, found: Err("no room".into()) });
    bench.collect();
    let response = &bench.event("response.done")["response"];
    assert_eq!(
        (&response["status"], &response["status_details"]["error"]["message"]),
        (&json!("failed"), &json!("no room"))
    );
    bench.events.clear();
    bench.speak();
    while let Some(work) = bench.work.pop_front() {
        let failed = matches!(work.what, What::Recognise { .. });
        bench.work.push_front(work);
        if failed {
            let work = bench.work.pop_front().unwrap();
            bench.session.found(Done { id: work.id, found: Err("no room".into()) });
            bench.collect();
        } else {
            bench.do_one();
        }
    }
    assert!(bench.events.iter().any(|event| event["type"] == "conversation.item.input_audio_transcription.failed"));
    // The caller is asked to say it again, rather than left in silence.
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "Say that again?");
}

#[test]
fn nonsense_is_refused_with_its_event_id() {
    let mut bench = Bench::new();
    assert_eq!(bench.error(json!({"type": "tea.make", "event_id": "e1"})), "invalid_value");
    assert_eq!(bench.event("error")["error"]["event_id"], "e1");
    assert_eq!(bench.error(json!({"type": "input_audio_buffer.append", "audio": "?"})), "invalid_value");
    let huge = STANDARD.encode(vec![0xFF; 8_000 * 60 * 13]);
    assert_eq!(bench.error(json!({"type": "input_audio_buffer.append", "audio": huge})), "rate_limit_exceeded");
    assert_eq!(bench.error(json!({"type": "session.update", "session": {}})), "missing_required_parameter");
}

#[test]
fn a_long_conversation_is_forgotten_from_its_beginning() {
    let mut bench = Bench::new();
    let item = |id: usize| {
        let content = json!([{"type": "input_text", "text": "Hello"}]);
        json!({"type": "message", "role": "user", "id": format!("i{id}"), "content": content})
    };
    for id in 0..450 {
        bench.send(json!({"type": "conversation.item.create", "item": item(id)}));
    }
    assert_eq!(bench.error(json!({"type": "conversation.item.retrieve", "item_id": "i49"})), "item_not_found");
    bench.events.clear();
    bench.send(json!({"type": "conversation.item.retrieve", "item_id": "i50"}));
    assert_eq!(bench.event("conversation.item.retrieved")["item"]["id"], "i50");
}

/// The vendor's other telephone coding, both ways.
#[test]
fn a_law_is_heard_and_spoken() {
    let mut bench = Bench::new();
    let audio = json!({"input": {"format": {"type": "audio/pcma"}}, "output": {"format": {"type": "audio/pcma"}}});
    bench.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": audio}}));
    assert_eq!(bench.event("session.updated")["session"]["audio"]["output"]["format"]["type"], "audio/pcma");
    bench.append(0x2A, 8_192);
    let Some(Work { what: What::Detect { samples, .. }, .. }) = bench.work.front() else { panic!() };
    assert_eq!((samples.len(), samples[0]), (8_192, -32_256.0 / 32_768.0));
    bench.append(0xD5, 8_192);
    bench.do_all();
    assert_eq!(bench.event("response.done")["response"]["audio"]["output"]["format"]["type"], "audio/pcma");
    let delta = STANDARD.decode(bench.event("response.output_audio.delta")["delta"].as_str().unwrap()).unwrap();
    // 0.1 of full scale, as A-law.
    assert!(delta.iter().all(|byte| *byte == 0x9C), "{:x}", delta[0]);
}

#[test]
fn text_is_written_where_text_is_wanted() {
    let mut bench = Bench::new();
    bench.send(json!({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}));
    bench.events.clear();
    bench.send(json!({"type": "response.create"}));
    assert!(bench.work.is_empty());
    assert_eq!(bench.event("response.output_text.done")["text"], "Rover dispatch.");
    let response = bench.event("response.done")["response"].clone();
    let text = json!([{"type": "output_text", "text": "Rover dispatch."}]);
    assert_eq!((&response["output_modalities"], &response["output"][0]["content"]), (&json!(["text"]), &text));
    let item_id = response["output"][0]["id"].clone();
    assert_eq!(
        bench.types(),
        [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    // There is no audio of it to be truncated.
    let truncate =
        json!({"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": 0});
    assert_eq!(bench.error(truncate), "none");
    let both = json!({"type": "response.create", "response": {"output_modalities": ["text", "audio"]}});
    assert_eq!(bench.error(both), "invalid_value");
}

#[test]
fn a_response_outside_the_conversation_leaves_it_alone() {
    let mut bench = Bench::new();
    bench.send(json!({"type": "response.create"}));
    assert_eq!(
        bench.types(),
        ["response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added"]
    );
    // While the greeting is being spoken.
    let content = json!([{"type": "input_text", "text": "When are you open?"}]);
    let input = json!([{"type": "message", "role": "user", "content": content}]);
    let aside =
        json!({"conversation": "none", "output_modalities": ["text"], "input": input, "metadata": {"for": "us"}});
    bench.send(json!({"type": "response.create", "response": aside}));
    let done = bench.event("response.done")["response"].clone();
    assert_eq!((&done["conversation_id"], &done["metadata"]["for"]), (&json!(null), &json!("us")));
    assert_eq!(done["output"][0]["content"][0]["text"], "From nine to five. Every day.");
    assert!(!bench.types().iter().any(|kind| kind.starts_with("conversation.item")));
    let retrieve = json!({"type": "conversation.item.retrieve", "item_id": done["output"][0]["id"]});
    assert_eq!(bench.error(retrieve), "item_not_found");
    bench.events.clear();
    bench.do_all();
    assert_eq!(bench.event("response.done")["response"]["output"][0]["content"][0]["transcript"], "Rover dispatch.");
    // What a flow cannot do is said, not pretended.
    let summary = json!({"conversation": "none", "instructions": "Summarise the call."});
    assert_eq!(bench.error(json!({"type": "response.create", "response": summary})), "invalid_value");
    let reference = json!({"input": [{"type": "item_reference", "id": "x"}]});
    assert_eq!(bench.error(json!({"type": "response.create", "response": reference})), "invalid_value");
}

#[test]
fn a_long_silence_after_the_agent_has_spoken_is_answered() {
    let mut bench = Bench::new();
    let detection = json!({"type": "server_vad", "idle_timeout_ms": 5_000});
    let session = json!({"type": "realtime", "audio": {"input": {"turn_detection": detection}}});
    bench.send(json!({"type": "session.update", "session": session}));
    bench.append(0xFF, 80_000);
    bench.do_all();
    // Nobody has spoken at all.
    assert_eq!(bench.types(), ["session.updated"]);
    bench.send(json!({"type": "response.create"}));
    bench.do_all();
    let said_ms = "Rover dispatch.".len() as u64 * 50;
    bench.events.clear();
    bench.append(0xFF, (said_ms as usize + 4_900) * 8);
    bench.do_all();
    assert_eq!(bench.types(), [""; 0]);
    bench.append(0xFF, 2_048);
    bench.do_all();
    let timeout = bench.event("input_audio_buffer.timeout_triggered").clone();
    let started = timeout["audio_start_ms"].as_u64().unwrap();
    assert!(timeout["audio_end_ms"].as_u64().unwrap() - started >= 5_000, "{timeout}");
    assert_eq!(bench.event("input_audio_buffer.committed")["item_id"], timeout["item_id"]);
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "Are you still there?");
    let semantic = json!({"type": "semantic_vad", "idle_timeout_ms": 5_000});
    let session = json!({"type": "realtime", "audio": {"input": {"turn_detection": semantic}}});
    assert_eq!(bench.error(json!({"type": "session.update", "session": session})), "unknown_parameter");
}

/// A client whose turns end by how they sound.
fn by_sound(eagerness: &str, over: Option<f32>) -> Bench {
    let mut bench = Bench::new();
    bench.over = over;
    let detection = json!({"type": "semantic_vad", "eagerness": eagerness});
    let session = json!({"type": "realtime", "audio": {"input": {"turn_detection": detection}}});
    bench.send(json!({"type": "session.update", "session": session}));
    assert_eq!(bench.types(), ["session.updated"]);
    bench
}

#[test]
fn a_turn_that_sounds_complete_ends_at_once_and_another_waits_as_the_client_is_eager() {
    for (eagerness, over, silence_ms) in [
        // The pause is noticed after 160 ms; the next step ends the turn.
        ("medium", 1.0, 192),
        ("low", 1.0, 192),
        ("medium", 0.5, 1_024),
        ("low", 0.0, 8_000),
        ("medium", 0.0, 4_000),
        ("auto", 0.0, 4_000),
        ("high", 0.0, 2_016),
    ] {
        let mut bench = by_sound(eagerness, Some(over));
        bench.steps(0x80, 32);
        assert_eq!(bench.silence_until_stopped(1_024), silence_ms, "{eagerness}, {over}");
        bench.do_all();
        assert_eq!(bench.event("response.done")["response"]["status"], "completed", "{eagerness}, {over}");
    }
}

#[test]
fn silence_alone_ends_a_turn_that_nobody_can_judge() {
    for (eagerness, silence_ms) in [("low", 1_216), ("medium", 704), ("high", 352)] {
        let mut bench = by_sound(eagerness, None);
        bench.steps(0x80, 32);
        assert_eq!(bench.silence_until_stopped(1_024), silence_ms, "{eagerness}");
    }
    let mut bench = by_sound("medium", None);
    let question = bench.speak_and_pause().unwrap();
    bench.session.found(Done { id: question.id, found: Err("no room".into()) });
    bench.collect();
    assert_eq!(bench.silence_until_stopped(1_024), 704);
}

#[test]
fn loudness_and_silence_ask_no_judge() {
    let mut bench = Bench::new();
    bench.over = Some(1.0);
    assert_eq!(bench.speak_and_pause(), None);
    assert_eq!(bench.silence_until_stopped(1_024), 512);
}

#[test]
fn a_judge_who_is_late_holds_no_turn_and_ends_no_other() {
    let mut bench = by_sound("medium", Some(1.0));
    let late = bench.speak_and_pause().unwrap();
    assert_eq!(bench.silence_until_stopped(1_024), 704);
    bench.events.clear();
    // A turn and its silence later; meanwhile nothing else is asked.
    let spoken_ms = 1_024 + 704 + 1_024;
    assert_eq!(bench.speak_and_pause(), None);
    bench.session.found(Done { id: late.id, found: Ok(Found::TurnEnd(Some(1.0))) });
    bench.collect();
    assert_eq!(bench.silence_until_stopped(spoken_ms), 704);
    bench.events.clear();
    bench.steps(0x80, 32);
    assert_eq!(bench.silence_until_stopped(spoken_ms + 704 + 1_024), 192);
}

#[test]
fn what_was_found_of_a_pause_is_forgotten_when_speech_goes_on() {
    let mut bench = by_sound("medium", Some(0.0));
    // Answered in the pause: it would hold the turn for 4 s.
    bench.steps(0x80, 32);
    bench.steps(0xFF, 8);
    assert!(bench.speak_and_pause().is_some());
    assert_eq!(bench.silence_until_stopped(1_024 + 256 + 1_024), 704);
    // Answered after it.
    let mut bench = by_sound("medium", Some(1.0));
    let question = bench.speak_and_pause().unwrap();
    bench.append(0x80, 256);
    bench.do_all();
    bench.session.found(Done { id: question.id, found: Ok(Found::TurnEnd(Some(1.0))) });
    bench.collect();
    assert!(bench.speak_and_pause().is_some());
    assert_eq!(bench.silence_until_stopped(1_024 + 160 + 32 + 1_024), 704);
}

#[test]
fn what_was_found_of_a_turn_says_nothing_of_the_next() {
    for taken_by_client in [false, true] {
        let mut bench = by_sound("medium", Some(1.0));
        bench.steps(0x80, 32);
        bench.steps(0xFF, 5);
        if taken_by_client {
            bench.send(json!({"type": "input_audio_buffer.commit"}));
        }
        bench.steps(0xFF, 10);
        bench.events.clear();
        // Between two sounds of a word it is silent for 64 ms: too short to be asked about.
        bench.steps(0x80, 32);
        bench.steps(0xFF, 2);
        bench.steps(0x80, 8);
        assert_eq!(bench.types(), ["input_audio_buffer.speech_started"], "{taken_by_client}");
    }
}

#[test]
fn a_turn_is_judged_by_its_last_eight_seconds_and_little_silence() {
    let heard = |question: Option<Work>| match question.unwrap().what {
        What::TurnEnd { samples } => samples,
        other => panic!("{other:?}"),
    };
    let mut bench = by_sound("low", None);
    bench.steps(0xFF, 20);
    let samples = heard(bench.speak_and_pause());
    // 300 ms from before the speech, a second and 24 ms of it, and 64 ms of what followed.
    assert_eq!(samples.len(), 2_400 + 8_192 + 512);
    let is_speech = |sample: &f32| sample.abs() > 0.1;
    assert_eq!(samples.iter().position(is_speech), Some(2_400));
    assert_eq!(samples.iter().rposition(is_speech), Some(2_400 + 8_192 - 1));
    let mut bench = by_sound("low", None);
    bench.steps(0x80, 300);
    let samples = heard(bench.speak_and_pause());
    assert!(samples.len() == 64_000 && samples.iter().rposition(is_speech) == Some(64_000 - 512 - 1));
}

/// What the client committed or cleared while the detector had it is no second turn.
#[test]
fn a_commit_while_the_detector_works_leaves_no_empty_turn() {
    for taking in ["input_audio_buffer.commit", "input_audio_buffer.clear"] {
        let mut bench = Bench::new();
        bench.append(0x80, 8_192);
        assert!(matches!(bench.work.front(), Some(Work { what: What::Detect { .. }, .. })));
        bench.send(json!({"type": taking}));
        bench.append(0xFF, 16_384);
        bench.do_all();
        let committed = bench.events.iter().filter(|event| event["type"] == "input_audio_buffer.committed").count();
        assert_eq!(committed, usize::from(taking.ends_with("commit")), "{taking}: {:?}", bench.types());
        bench.events.clear();
        // The next turn is one.
        bench.speak();
        bench.do_all();
        assert_eq!(
            bench.event("conversation.item.input_audio_transcription.completed")["transcript"],
            "when are you open"
        );
    }
}

const MENU: &str = r#"
    greeting = "Press 1 for our hours, 2 to order."

    [clips]
    "From nine to five. Every day." = "hours.wav"

    [[intent]]
    name = "hours"
    key = "1"
    answer = "From nine to five. Every day."

    [[intent]]
    name = "order"
    key = "2"
    slots = { number = { type = "digits", ask = "Which number?" } }
    confirm = "{number}?"
    answer = "Ordered."
"#;

/// A caller presses keys, and hears what was recorded. Nothing listens, and nothing is synthesised that was recorded.
#[test]
fn keys_are_a_menu_of_recordings() {
    let read = |name: &str| if name == "hours.wav" { Ok(vec![0x80; 2_000]) } else { Err("is not there".to_owned()) };
    let mut bench = Bench::over(Flow::read(MENU).unwrap().with_clips(read).unwrap());
    let answer = |bench: &mut Bench, keys: &str| {
        bench.events.clear();
        bench.press(keys);
        bench.do_all();
        bench.event("response.output_audio_transcript.done")["transcript"].as_str().unwrap().to_owned()
    };
    bench.press("1");
    assert!(bench.work.is_empty(), "{:?}", bench.work);
    let delta = STANDARD.decode(bench.event("response.output_audio.delta")["delta"].as_str().unwrap()).unwrap();
    assert!(delta.iter().all(|byte| *byte == 0x80) && delta.len() == 1_600);
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "From nine to five. Every day.");
    assert_eq!(answer(&mut bench, "2"), "Which number?");
    assert_eq!(answer(&mut bench, "4711"), "4 7 1 1?");
    assert_eq!(answer(&mut bench, "2"), "What should I change?");
    assert_eq!(
        answer(&mut bench, "9"),
        "Sorry, I did not understand that. Could you say that again? What should I change?"
    );
    let mut bench = Bench::over(Flow::read(MENU).unwrap());
    assert_eq!(answer(&mut bench, "2"), "Which number?");
    assert_eq!(answer(&mut bench, "33"), "3 3?");
    assert_eq!(answer(&mut bench, "1"), "Ordered.");
    let mistake = Flow::read(MENU).unwrap().with_clips(|_| Err("no such file".to_owned())).unwrap_err();
    assert_eq!(mistake.to_string(), "hours.wav: no such file");
}

/// A reader of two meanings: what is about opening, and all else. Some words nobody can read.
fn opening(words: &[String]) -> Option<Vec<f32>> {
    let about = |word: &str| words.iter().any(|other| other == word);
    (!about("unreadable")).then(|| if about("open") || about("shut") { vec![1.0, 0.0] } else { vec![0.0, 1.0] })
}

/// What `bench` answers to words that a client writes, and how often it had them read.
fn written(bench: &mut Bench, text: &str) -> (String, usize) {
    bench.events.clear();
    let content = json!([{"type": "input_text", "text": text}]);
    let item = json!({"type": "message", "role": "user", "content": content});
    bench.send(json!({"type": "conversation.item.create", "item": item}));
    bench.send(json!({"type": "response.create", "response": {"output_modalities": ["text"]}}));
    let read = bench.work.iter().filter(|work| matches!(work.what, What::Understand { .. })).count();
    bench.do_all();
    (bench.event("response.output_text.done")["text"].as_str().unwrap().to_owned(), read)
}

#[test]
fn what_callers_say_is_read_before_a_flow_that_asks_for_it_answers() {
    let flow = Flow::read(FLOW).unwrap().with_sentences(|words| opening(words).ok_or(())).unwrap();
    let mut bench = Bench::over(flow);
    bench.reads = opening;
    bench.understood = "Do you ever shut?";
    bench.speak();
    while !matches!(bench.work.front().unwrap().what, What::Understand { .. }) {
        bench.do_one();
    }
    // Until it is read nothing is said, whatever else happens; and it is read once.
    bench.append(0xFF, 1_024);
    let asked: Vec<&Work> = bench.work.iter().filter(|work| matches!(work.what, What::Understand { .. })).collect();
    let [Work { what: What::Understand { words }, .. }] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(*words, ["do", "you", "ever", "shut"]);
    assert!(bench.events.iter().all(|event| event["type"] != "response.output_item.added"));
    bench.do_all();
    assert_eq!(bench.event("response.output_audio_transcript.done")["transcript"], "From nine to five. Every day.");
    // Also what is written, and where there are no words there is nothing to read.
    assert_eq!(written(&mut bench, "Shut at all?"), ("From nine to five. Every day.".to_owned(), 1));
    assert_eq!(written(&mut bench, "..."), ("Say that again?".to_owned(), 0));
    // What nobody can read is compared by letters.
    assert_eq!(written(&mut bench, "unreadable: shut"), ("Say that again?".to_owned(), 1));
    assert_eq!(written(&mut bench, "unreadable, when are you open"), ("From nine to five. Every day.".to_owned(), 1));
    let mut bench = Bench::new();
    assert_eq!(written(&mut bench, "when are you open"), ("From nine to five. Every day.".to_owned(), 0));
}

/// The words of a response that nobody waits for any more are not those of the next.
#[test]
fn what_was_read_for_words_is_not_taken_for_others() {
    let flow = Flow::read(FLOW).unwrap().with_sentences(|words| opening(words).ok_or(())).unwrap();
    let mut bench = Bench::over(flow);
    bench.reads = opening;
    let item = |text: &str| {
        let content = json!([{"type": "input_text", "text": text}]);
        json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
    };
    let respond = json!({"type": "response.create", "response": {"output_modalities": ["text"]}});
    bench.send(item("do you shut"));
    bench.send(respond.clone());
    bench.send(json!({"type": "response.cancel"}));
    bench.send(item("my cat is green"));
    bench.send(respond);
    assert_eq!(bench.work.len(), 2, "{:?}", bench.work);
    bench.do_one();
    assert!(bench.events.iter().all(|event| event["type"] != "response.output_text.done"));
    bench.do_one();
    assert_eq!(bench.event("response.output_text.done")["text"], "Say that again?");
}
