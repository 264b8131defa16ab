//! Whole calls over real sockets: a carrier and a model that play their part, the server between them.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::{SinkExt, StreamExt, stream};
use patchcord::config::{Config, Secret, Verify};
use patchcord::{Calls, Server};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

#[tokio::test]
async fn a_greeting_that_says_goodbye_is_heard_recorded_and_hung_up() {
    let mut world = World::new(Part::Speaks("Hello and goodbye."), |_| {}).await;
    let mut stream = world.call("CA1").await;
    let (mut heard, mut played) = (0, Instant::now());
    loop {
        let said = tokio::select! {
            said = stream.next() => said,
            () = hung_up(&mut world.hang_ups) => break,
        };
        match said {
            Heard::Audio(bytes) => {
                heard += bytes;
                played = played.max(Instant::now()) + Duration::from_millis(bytes as u64 / 8);
            }
            // A carrier plays at the pace of speech, and marks what it has played.
            Heard::Mark(name) => {
                sleep_until(played).await;
                stream.say(json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": name } })).await;
            }
            Heard::Clear => panic!("nobody interrupted"),
            Heard::Closed => panic!("the hang-up goes by REST first (H1)"),
        }
    }
    assert_eq!(heard, AUDIO.len());
    stream.stop().await;

    let record = world.calls.wait_for_finished(1).await.unwrap();
    let json = serde_json::to_value(&*record).unwrap();
    assert_eq!((&json["ended_reason"], &json["ended_by"]), (&"goodbye".into(), &"agent".into()), "{json:#}");
    assert_eq!((&json["audio_in"], &json["audio_out"], &json["frames_sent"]), (&5.into(), &1.into(), &3.into()));
    assert_eq!(json["turns"][0]["text"], "Hello and goodbye.");
    assert!(json["answered_at"].is_string() && json["abandoned"] == 0, "{json:#}");
    assert_eq!(json["usage"]["output_audio"], 7);

    let folder = world.calls.folder(record.facts.id);
    let on_disk: Value = serde_json::from_slice(&std::fs::read(folder.join("call.json")).unwrap()).unwrap();
    assert_eq!(on_disk, json);
    assert!(std::fs::read_to_string(folder.join("transcript.txt")).unwrap().contains("Agent: Hello and goodbye."));
    let trace = std::fs::read_to_string(folder.join("call.trace")).unwrap();
    assert_eq!(call::trace::Trace::read(&trace).unwrap().replay(), trace);
    let wav = std::fs::read(folder.join("recording.wav")).unwrap();
    let (left, right): (Vec<u8>, Vec<u8>) = wav[58..].chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    assert!(left.windows(CALLER.len()).any(|window| window == CALLER), "the caller is on the left");
    assert!(right.windows(AUDIO.len()).any(|window| window == AUDIO), "the agent is on the right, in one piece");
    let shown = world.get(&format!("/api/v1/calls/{}", record.facts.id)).await;
    assert_eq!(shown, json);
}

#[tokio::test]
async fn a_caller_who_hangs_up_ended_the_call() {
    let world = World::new(Part::Listens, |_| {}).await;
    let mut stream = world.call("CA1").await;
    stream.stop().await;
    world.post("/twilio/after-stream", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    let record = world.calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, call::EndReason::CallerHungUp);
    assert_eq!(*world.hang_ups.borrow(), 0);
    // The webhook's late twin starts nothing.
    world.announce("CA1").await;
    assert_eq!((world.calls.live(), world.calls.finished().len()), (0, 1));
}

#[tokio::test]
async fn a_second_stream_is_refused_and_does_not_disturb_the_first() {
    let mut world = World::new(Part::Listens, |_| {}).await;
    let twiml = world.announce("CA1").await;
    let mut first = world.stream(&twiml).await;
    match tokio_tungstenite::connect_async(stream_url(&twiml)).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), StatusCode::CONFLICT),
        other => panic!("the second stream was not refused: {other:?}"),
    }
    first.say(media(0)).await;
    world.model_hears_audio().await;
    assert_eq!(world.calls.live(), 1);
}

#[tokio::test]
async fn the_model_is_configured_before_the_stream_comes() {
    let mut world = World::new(Part::Listens, |_| {}).await;
    world.announce("CA1").await;
    let configuration = world.model_heard.recv().await.unwrap();
    assert_eq!(configuration["type"], "session.update");
    assert_eq!(configuration["session"]["instructions"], "Be brief.");
}

#[tokio::test]
async fn a_rejected_key_ends_the_call_by_the_model() {
    let mut world = World::new(Part::Refuses, |_| {}).await;
    let mut stream = world.call("CA1").await;
    hung_up(&mut world.hang_ups).await;
    stream.stop().await;
    let record = world.calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, call::EndReason::ModelFailed);
}

#[tokio::test]
async fn one_call_too_many_is_busy() {
    let world = World::new(Part::Listens, |config| config.max_calls = 2).await;
    let _first = world.call("CA1").await;
    let _second = world.call("CA2").await;
    assert!(world.announce("CA3").await.contains("<Reject reason=\"busy\"/>"));
    let ready = reqwest::get(format!("{}/readyz", world.origin)).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_tool_is_an_http_request_and_its_answer_reaches_the_model() {
    let asked = Arc::new(std::sync::Mutex::new(Value::Null));
    let seen = asked.clone();
    let tool = Router::new().route(
        "/book",
        post(move |body: String| async move {
            *seen.lock().unwrap() = serde_json::from_str(&body).unwrap();
            "booked for Tuesday"
        }),
    );
    let url = format!("{}/book", serve(tool).await);
    let mut world = World::new(Part::CallsTool, |config| {
        config.agents[0].tools = vec![patchcord::agent::Tool {
            name: "book".to_owned(),
            description: "Books a repair".to_owned(),
            parameters: json!({ "type": "object" }),
            url: Url::parse(&url).unwrap(),
        }];
    })
    .await;
    let _stream = world.call("CA1").await;
    let output = loop {
        let event = world.model_heard.recv().await.unwrap();
        if event["type"] == "conversation.item.create" {
            break event;
        }
    };
    assert_eq!(output["item"]["output"], "booked for Tuesday");
    let asked = asked.lock().unwrap().clone();
    assert_eq!((&asked["name"], &asked["arguments"]), (&"book".into(), &json!({ "day": "tue" })));
}

#[tokio::test]
async fn n6_a_stream_that_breaks_is_brought_back_and_the_conversation_goes_on() {
    let mut world = World::new(Part::Listens, |_| {}).await;
    let first = world.call("CA1").await;
    world.model_hears_audio().await;
    drop(first);

    let asks = [("CallSid", "CA1"), ("CallStatus", "in-progress")];
    let twiml = world.post("/twilio/after-stream", &asks).await;
    // N3: a delivery that comes twice gets the same bytes, so that whichever answer is used works.
    assert_eq!(world.post("/twilio/after-stream", &asks).await, twiml);
    let mut second = world.stream(&twiml).await;
    while world.model_heard.try_recv().is_ok() {}
    second.say(media(0)).await;
    world.model_hears_audio().await;

    // L5: the token of the second stream is as good for one as that of the first.
    assert!(tokio_tungstenite::connect_async(stream_url(&twiml)).await.is_err());
    second.stop().await;
    let gone = world.post("/twilio/after-stream", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    assert!(gone.contains("<Hangup/>"), "{gone}");
    let record = world.calls.wait_for_finished(1).await.unwrap();
    assert_eq!((record.ended_reason, record.summary.audio_in), (call::EndReason::CallerHungUp, 6));
    assert_eq!(*world.hang_ups.borrow(), 0);
}

#[tokio::test]
async fn n6_a_call_that_is_not_to_be_resumed_is_hung_up_by_the_document() {
    let mut world = World::new(Part::Listens, |config| config.agents[0].call.resume_max = None).await;
    let mut stream = world.call("CA1").await;
    world.model_hears_audio().await;
    stream.stop().await;
    let answer = world.post("/twilio/after-stream", &[("CallSid", "CA1"), ("CallStatus", "in-progress")]).await;
    assert!(answer.contains("<Hangup/>"), "{answer}");
}

/// µ-law of the agent: two frames and a tail.
const AUDIO: [u8; 480] = {
    let mut audio = [0; 480];
    let mut index = 0;
    while index < 480 {
        audio[index] = (index % 100) as u8;
        index += 1;
    }
    audio
};

/// µ-law of the caller: a frame.
const CALLER: [u8; 160] = [0x55; 160];

/// What the model does.
#[derive(Clone, Copy)]
enum Part {
    Listens,
    /// Answers each request for a response with this.
    Speaks(&'static str),
    CallsTool,
    /// Does not let us in.
    Refuses,
}

struct World {
    origin: String,
    calls: Calls,
    _stop: oneshot::Sender<()>,
    model_heard: mpsc::UnboundedReceiver<Value>,
    hang_ups: watch::Receiver<u32>,
    _data: tempfile::TempDir,
}

impl World {
    async fn new(part: Part, change: impl FnOnce(&mut Config)) -> Self {
        let (model, model_heard) = model(part).await;
        let (count, hang_ups) = watch::channel(0);
        let rest = Router::new().route("/2010-04-01/Accounts/AC1/Calls/{sid}", post(hang_up)).with_state(count);
        let data = tempfile::tempdir().unwrap();

        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        config.twilio.verify = Verify::UnlessLoopback;
        config.twilio.api_url = Url::parse(&serve(rest).await).unwrap();
        config.twilio.account_sid = Some("AC1".to_owned());
        config.twilio.auth_token = Some(Secret::new("token"));
        config.openai.url = Url::parse(&model).unwrap();
        config.agents[0].instructions = "Be brief.".to_owned();
        if !matches!(part, Part::Listens) {
            config.agents[0].greeting = Some("Hello.".to_owned());
        }
        change(&mut config);

        let server = Server::new(config, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let (origin, calls) = (format!("http://{}", server.address()), server.calls());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(stream::once(async {
            let _ = stopped.await;
        })));
        World { origin, calls, _stop: stop, model_heard, hang_ups, _data: data }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> String {
        let request = reqwest::Client::new().post(format!("{}{path}", self.origin)).form(form);
        request.send().await.unwrap().text().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.origin)).await.unwrap().json().await.unwrap()
    }

    async fn announce(&self, sid: &str) -> String {
        self.post("/twilio/voice", &[("CallSid", sid), ("From", "+15005550001"), ("To", "+15005550006")]).await
    }

    /// A call whose stream has begun, with five frames of the caller.
    async fn call(&self, sid: &str) -> Stream {
        let mut stream = self.stream(&self.announce(sid).await).await;
        for frame in 0..5 {
            stream.say(media(frame * 20)).await;
        }
        stream
    }

    async fn stream(&self, twiml: &str) -> Stream {
        let (socket, _) = tokio_tungstenite::connect_async(stream_url(twiml)).await.unwrap();
        let mut stream = Stream(socket);
        stream.say(json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })).await;
        let format = json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
        let start = json!({ "streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"],
            "mediaFormat": format, "customParameters": {} });
        stream.say(json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start })).await;
        stream
    }

    async fn model_hears_audio(&mut self) {
        while self.model_heard.recv().await.unwrap()["type"] != "input_audio_buffer.append" {}
    }
}

async fn hang_up(State(count): State<watch::Sender<u32>>, body: String) -> &'static str {
    assert_eq!(body, "Status=completed");
    count.send_modify(|count| *count += 1);
    "{}"
}

/// Waits until we asked the carrier to hang up.
async fn hung_up(count: &mut watch::Receiver<u32>) {
    count.wait_for(|count| *count > 0).await.unwrap();
}

/// The carrier's end of a media stream.
struct Stream(WebSocketStream<MaybeTlsStream<TcpStream>>);

enum Heard {
    Audio(usize),
    Mark(String),
    Clear,
    Closed,
}

impl Stream {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn stop(&mut self) {
        let stop = json!({ "event": "stop", "sequenceNumber": "9", "streamSid": "MZ1",
            "stop": { "accountSid": "AC1", "callSid": "CA1" } });
        self.say(stop).await;
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    return match message["event"].as_str().unwrap() {
                        "media" => {
                            let payload = message["media"]["payload"].as_str().unwrap();
                            Heard::Audio(
                                base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload).unwrap().len(),
                            )
                        }
                        "mark" => Heard::Mark(message["mark"]["name"].as_str().unwrap().to_owned()),
                        "clear" => Heard::Clear,
                        other => panic!("{other} is nothing that a carrier knows"),
                    };
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Heard::Closed,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn media(timestamp: u64) -> Value {
    let payload = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, CALLER);
    json!({ "event": "media", "sequenceNumber": "2", "streamSid": "MZ1",
        "media": { "track": "inbound", "chunk": "1", "timestamp": timestamp.to_string(), "payload": payload } })
}

fn stream_url(twiml: &str) -> &str {
    twiml.split("<Stream url=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap()
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    origin
}

/// A model on a free port, and all that it is told.
async fn model(part: Part) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/realtime", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(converse(socket, part, tell.clone()));
        }
    });
    (url, told)
}

#[expect(clippy::result_large_err, reason = "the handshake's callback has this signature")]
async fn converse(socket: TcpStream, part: Part, tell: mpsc::UnboundedSender<Value>) {
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};
    let answer = |request: &Request, response: Response| {
        assert_eq!(request.uri().query(), Some("model=gpt-realtime-2.1"));
        if matches!(part, Part::Refuses) {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Err(refusal);
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(socket, answer).await else { return };
    let mut responses = 0;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        let answers = match event["type"].as_str().unwrap() {
            "session.update" => vec![json!({ "type": "session.updated", "event_id": "e1", "session": {} })],
            "response.create" => {
                responses += 1;
                response(part, responses, &event["response"]["metadata"])
            }
            _ => Vec::new(),
        };
        let _ = tell.send(event);
        for answer in answers {
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                return;
            }
        }
    }
}

fn response(part: Part, number: u32, metadata: &Value) -> Vec<Value> {
    let (id, item) = (format!("resp_{number}"), format!("item_{number}"));
    let body = |status: &str, output: Value| {
        json!({ "id": id, "status": status, "conversation_id": "conv_1", "metadata": metadata, "output": output,
            "usage": { "output_token_details": { "audio_tokens": 7 } } })
    };
    let part_of = |kind: &str, more: Value| {
        let mut event =
            json!({ "type": kind, "response_id": id, "item_id": item, "output_index": 0, "content_index": 0 });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let mut events = vec![json!({ "type": "response.created", "response": body("in_progress", json!([])) })];
    match part {
        Part::Speaks(text) => {
            let audio = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, AUDIO);
            events.extend([
                part_of(
                    "response.output_item.added",
                    json!({ "item": { "id": item, "type": "message", "role": "assistant" } }),
                ),
                part_of("response.output_audio.delta", json!({ "delta": audio })),
                part_of("response.output_audio.done", json!({})),
                part_of("response.output_audio_transcript.done", json!({ "transcript": text })),
            ]);
        }
        Part::CallsTool if number == 1 => {
            let call = json!({ "id": item, "type": "function_call", "status": "completed", "call_id": "call_1",
                "name": "book", "arguments": "{\"day\":\"tue\"}" });
            events.extend([
                part_of("response.output_item.added", json!({ "item": call })),
                part_of("response.output_item.done", json!({ "item": call })),
            ]);
        }
        Part::CallsTool | Part::Listens | Part::Refuses => {}
    }
    events.push(json!({ "type": "response.done", "response": body("completed", json!([])) }));
    events
}
