//! A session whose answers come from a chat server, without one: the test plays the server, the recogniser and the voice.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use voice::chat::calls::CallPiece;
use voice::chat::request::Request;
use voice::chat::{Failure, Finish, Limits, Piece};
use voice::server::engine::{Done, Found, What, Work};
use voice::server::session::{Answers, Out, Session};

const LIMITS: Limits = Limits {
    silence_max: Duration::from_secs(1),
    answer_max: Duration::from_secs(1),
    characters_max: 100,
    messages_max: 40,
};

struct Bench {
    session: Session,
    work: VecDeque<Work>,
    events: Vec<Value>,
    asked: Vec<Request>,
    stopped: usize,
}

impl Bench {
    fn new() -> Self {
        let session = Session::new("t", "any", Timestamp::UNIX_EPOCH, Answers::ByChat(LIMITS));
        let mut bench = Bench { session, work: VecDeque::new(), events: Vec::new(), asked: Vec::new(), stopped: 0 };
        let tools = json!([{"type": "function", "name": "book", "parameters": {"type": "object"}}]);
        let audio = json!({"output": {"format": {"type": "audio/pcmu"}}, "input": {"format": {"type": "audio/pcmu"}}});
        let session = json!({"type": "realtime", "instructions": "Be brief.", "tools": tools, "audio": audio});
        bench.send(json!({"type": "session.update", "session": session}));
        bench.events.clear();
        bench
    }

    fn send(&mut self, event: Value) {
        self.session.receive(&event.to_string());
        self.collect();
    }

    /// The caller's words, as a client types them.
    fn hears(&mut self, text: &str) {
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"type": "message", "role": "user", "content": content});
        self.send(json!({"type": "conversation.item.create", "item": item}));
    }

    fn create(&mut self, response: Value) {
        self.events.clear();
        self.send(json!({"type": "response.create", "response": response}));
    }

    fn piece(&mut self, piece: Piece) {
        self.session.answered(piece);
        self.collect();
    }

    fn text(&mut self, text: &str) {
        self.piece(Piece::Text(text.to_owned()));
    }

    fn end(&mut self) {
        self.piece(Piece::End(Ok(Finish::Completed)));
    }

    fn collect(&mut self) {
        while let Some(out) = self.session.poll() {
            match out {
                Out::Text(text) => self.events.push(serde_json::from_str(&text).unwrap()),
                Out::Work(work) => self.work.push_back(work),
                Out::Ask(request) => self.asked.push(*request),
                Out::StopAsking => self.stopped += 1,
            }
        }
    }

    /// The sentence that is to be said next.
    fn next_sentence(&self) -> Option<&str> {
        match &self.work.front()?.what {
            What::Speak { sentence, .. } => Some(sentence),
            What::Detect { .. } | What::TurnEnd { .. } | What::Understand { .. } | What::Recognise { .. } => None,
        }
    }

    /// Says it: ten milliseconds for each character.
    fn say(&mut self) {
        let Work { id, what: What::Speak { sentence, .. } } = self.work.pop_front().unwrap() else { panic!() };
        self.session.found(Done { id, found: Ok(Found::Sound(vec![0.1; sentence.len() * 80].into())) });
        self.collect();
    }

    fn event(&self, kind: &str) -> &Value {
        let mut found = self.events.iter().filter(|event| event["type"] == kind);
        found.next().unwrap_or_else(|| panic!("no {kind} among {:?}", self.events))
    }

    fn has(&self, kind: &str) -> bool {
        self.events.iter().any(|event| event["type"] == kind)
    }

    /// Role and text of what was asked last, the instructions not counted.
    fn told(&self) -> Vec<String> {
        let body = self.asked.last().unwrap().body(40);
        let messages = body["messages"].as_array().unwrap()[1..].to_vec();
        let line = |message: &Value| {
            format!("{}: {}", message["role"].as_str().unwrap(), message["content"].as_str().unwrap_or("-"))
        };
        messages.iter().map(line).collect()
    }
}

#[test]
fn the_first_sentence_is_spoken_while_the_rest_is_still_to_come() {
    let mut bench = Bench::new();
    bench.hears("When are you open?");
    bench.create(json!({}));
    assert_eq!(bench.told(), ["user: When are you open?"]);
    assert_eq!(bench.asked[0].instructions, "Be brief.");
    bench.text("**From** ni");
    bench.text("ne. Until");
    assert!(bench.next_sentence().is_none() && !bench.has("response.output_item.added"));
    bench.text(" five");
    assert_eq!(bench.next_sentence(), Some("From nine."));
    bench.say();
    assert!(bench.has("response.output_audio.delta") && !bench.has("response.done"));
    bench.text(".");
    bench.end();
    assert_eq!(bench.next_sentence(), Some("Until five."));
    assert!(!bench.has("response.done"));
    bench.say();
    let done = &bench.event("response.done")["response"];
    let said = &done["output"][0]["content"][0]["transcript"];
    assert_eq!((&done["status"], said), (&json!("completed"), &json!("From nine. Until five.")));
    assert_eq!(bench.stopped, 0);
    bench.hears("Thanks.");
    bench.create(json!({}));
    let said = "assistant: From nine. Until five.";
    assert_eq!(bench.told(), ["user: When are you open?", said, "user: Thanks."]);
}

/// The end may come while the first sentence is still being spoken, and with no word at all.
#[test]
fn a_response_is_over_when_all_has_come_and_all_was_said() {
    let mut bench = Bench::new();
    bench.create(json!({}));
    bench.text("One thing. Another thing.");
    bench.end();
    assert!(!bench.has("response.done"));
    bench.say();
    assert!(!bench.has("response.done"));
    bench.say();
    assert_eq!(bench.event("response.done")["response"]["status"], "completed");
    bench.create(json!({}));
    bench.end();
    let done = &bench.event("response.done")["response"];
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!([])));
    assert!(bench.work.is_empty());
}

#[test]
fn of_what_was_cut_only_what_was_heard_is_told() {
    let mut bench = Bench::new();
    bench.hears("And?");
    bench.create(json!({}));
    bench.text("We open at nine. We close at five o'clock. And so");
    bench.say();
    bench.say();
    let item_id = bench.event("response.output_item.added")["item"]["id"].clone();
    bench.send(json!({"type": "response.cancel"}));
    assert_eq!((bench.stopped, &bench.event("response.done")["response"]["status"]), (1, &json!("cancelled")));
    // The 160 ms of the first sentence, and of the second's 250 those of two words and a letter.
    let cut =
        json!({"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": 265});
    bench.send(cut);
    bench.hears("Stop.");
    bench.create(json!({}));
    assert_eq!(bench.told(), ["user: And?", "assistant: We open at nine. We close", "user: Stop."]);
    // What comes of the old answer, nobody says; but this is the new one's.
    bench.text("All right.");
    bench.end();
    assert_eq!(bench.next_sentence(), Some("All right."));
}

#[test]
fn a_function_is_called_and_its_output_is_told() {
    let mut bench = Bench::new();
    bench.hears("Book it.");
    bench.create(json!({}));
    assert_eq!(bench.asked[0].body(40)["tools"][0]["function"]["name"], "book");
    bench.text("One moment.");
    let piece = |id: Option<&str>, name: Option<&str>, arguments: &str| {
        let given = |text: Option<&str>| text.map(str::to_owned);
        Piece::Call(CallPiece { index: Some(0), id: given(id), name: given(name), arguments: arguments.into() })
    };
    bench.piece(piece(Some("call_9"), Some("book"), ""));
    bench.piece(piece(None, None, r#"{"day":"#));
    bench.piece(piece(None, None, r#""Monday"}"#));
    assert!(!bench.has("response.function_call_arguments.done"));
    bench.end();
    bench.say();
    let call = bench.event("response.function_call_arguments.done").clone();
    assert_eq!((&call["name"], &call["call_id"]), (&json!("book"), &json!("call_9")));
    assert_eq!((&call["arguments"], &call["output_index"]), (&json!(r#"{"day":"Monday"}"#), &json!(1)));
    let output = bench.event("response.done")["response"]["output"].clone();
    assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("message"), &json!("function_call")));
    let item = json!({"type": "function_call_output", "call_id": "call_9", "output": "{\"ok\":true}"});
    bench.send(json!({"type": "conversation.item.create", "item": item}));
    bench.create(json!({}));
    assert_eq!(bench.told(), ["user: Book it.", "assistant: One moment.", r#"tool: {"ok":true}"#]);
    let assistant = bench.asked[1].body(40)["messages"][2].clone();
    let function = json!({"name": "book", "arguments": r#"{"day":"Monday"}"#});
    assert_eq!(assistant["tool_calls"], json!([{"id": "call_9", "type": "function", "function": function}]));
    // The same id once more is not one that outputs could be told apart by.
    bench.piece(piece(Some("call_9"), Some("book"), "{}"));
    bench.end();
    assert_ne!(bench.event("response.function_call_arguments.done")["call_id"], "call_9");
}

#[test]
fn a_failure_is_told_with_its_code() {
    let mut bench = Bench::new();
    bench.create(json!({}));
    bench.text("We open at nine. And");
    let failure = Failure { code: "rate_limit_exceeded", message: "Please try again in 2s.".into() };
    bench.piece(Piece::End(Err(failure)));
    let done = &bench.event("response.done")["response"];
    let error = &done["status_details"]["error"];
    assert_eq!((&done["status"], &error["code"]), (&json!("failed"), &json!("rate_limit_exceeded")));
    assert_eq!(error["message"], "Please try again in 2s.");
    assert_eq!(bench.stopped, 0);
    // The call core waits as long as is said.
    let mut realtime = call::wire::openai::Realtime::default();
    let done = bench.event("response.done").to_string();
    let read = format!("{:?}", realtime.read(&done));
    assert!(read.contains("retry_after_ms: 2000"), "{read}");
    // The session goes on.
    bench.create(json!({}));
    assert_eq!(bench.asked.len(), 2);
}

#[test]
fn an_answer_that_is_too_long_is_cut() {
    let mut bench = Bench::new();
    bench.create(json!({}));
    bench.text(&"Word after word. ".repeat(20));
    assert_eq!(bench.stopped, 1);
    while bench.next_sentence().is_some() {
        bench.say();
    }
    let done = &bench.event("response.done")["response"];
    assert_eq!(
        (&done["status"], &done["status_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    let said = done["output"][0]["content"][0]["transcript"].as_str().unwrap();
    assert!((80..=LIMITS.characters_max + 1).contains(&said.len()), "{said}");
    // The same where the server itself cut it; a call whose arguments may be cut is not made.
    bench.create(json!({}));
    let name = Some("book".to_owned());
    bench.piece(Piece::Call(CallPiece { name, arguments: r#"{"day"#.into(), ..CallPiece::default() }));
    bench.piece(Piece::End(Ok(Finish::Cut)));
    assert_eq!(bench.event("response.done")["response"]["status"], "incomplete");
    assert!(!bench.has("response.function_call_arguments.done"));
}

#[test]
fn what_the_product_asks_for_is_asked_for() {
    let mut bench = Bench::new();
    let settings = call::wire::openai::SessionSettings { instructions: "Be brief.".into(), ..Default::default() };
    let create = |reason: call::Reason, text: Option<&str>| {
        let request = call::id::RequestId(1);
        let text = text.map(Into::into);
        let mut event = String::new();
        let ask = call::ModelOutput::CreateResponse { request, reason, text };
        assert!(call::wire::openai::Realtime::default().write(&ask, &settings, &mut event));
        event
    };
    // A text to be said word for word needs nobody.
    bench.session.receive(&create(call::Reason::Greeting, Some("Good day!")));
    bench.collect();
    assert!(bench.asked.is_empty());
    bench.say();
    bench.hears("Hm.");
    // A goodbye in the conversation's language does, and no function.
    bench.session.receive(&create(call::Reason::Farewell, None));
    bench.collect();
    assert_eq!(bench.told(), ["assistant: Good day!", "user: Hm."]);
    let body = bench.asked[0].body(40);
    let instructions = body["messages"][0]["content"].as_str().unwrap();
    assert!(instructions.starts_with("Be brief.\n\n") && instructions.contains("goodbye"), "{instructions}");
    assert!(body.get("tools").is_none());
    // Keys are words in brackets.
    bench.end();
    let mut pressed = String::new();
    let keys = call::ModelOutput::CallerPressed { request: call::id::RequestId(2), digits: "42".into() };
    assert!(call::wire::openai::Realtime::default().write(&keys, &settings, &mut pressed));
    bench.session.receive(&pressed);
    bench.collect();
    bench.create(json!({}));
    assert!(bench.told()[2].starts_with("user: (") && bench.told()[2].ends_with(" 42"), "{:?}", bench.told());
}

/// What a flow has to refuse: its instructions and its input are the response's own, and no part of the conversation.
#[test]
fn a_response_outside_the_conversation_follows_its_instructions() {
    let mut bench = Bench::new();
    bench.hears("Hello.");
    let content = json!([{"type": "input_text", "text": "A long story."}]);
    let input = json!([{"type": "message", "role": "user", "content": content}]);
    let aside =
        json!({"conversation": "none", "output_modalities": ["text"], "input": input, "instructions": "Sum up."});
    bench.create(aside);
    assert_eq!(
        (bench.told(), bench.asked[0].instructions.as_str()),
        (vec!["user: A long story.".to_owned()], "Sum up.")
    );
    // As it is written, piece by piece.
    bench.text("**A** ");
    assert_eq!(bench.event("response.output_text.delta")["delta"], "**A** ");
    bench.text("story.");
    bench.end();
    assert_eq!(bench.event("response.output_text.done")["text"], "**A** story.");
    assert_eq!(bench.event("response.done")["response"]["output"][0]["content"][0]["text"], "**A** story.");
    assert!(bench.work.is_empty() && !bench.has("conversation.item.added"));
    bench.create(json!({}));
    assert_eq!(bench.told(), ["user: Hello."]);
}

/// Speech that nobody understood is not silence, and the model is told which it was.
#[test]
fn a_turn_without_words_is_told_as_such() {
    let mut bench = Bench::new();
    bench.hears("");
    bench.create(json!({}));
    assert_eq!(bench.told(), ["user: (The caller said something that could not be understood.)"]);
}
