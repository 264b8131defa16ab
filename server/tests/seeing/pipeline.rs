//! Whose fault it is that the caller waits, over real sockets: model, carrier and processor are slow in turn (O1, O2).

use std::time::Duration;

use call::Note;
use call::pipeline::{Line, Queue, Verdict};
use futures_util::{SinkExt, StreamExt};
use patchcord::config::Verify;
use patchcord::{CallEvent, Happening};
use serde_json::json;
use sim::carrier::stream::{CallerStep, StreamOptions};
use sim::carrier::twilio::CallOptions;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::common::Stage;
use crate::log::Kept;
use crate::{FROM, TO, conversation, jumping, talker};

/// Nothing is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says so much that no test hears the end of it.
const LONG: &str = "This is going to be a long story. It has a beginning, which you are listening to now, a middle, in \
    which a great many things happen to a great many people, one after the other and sometimes all at once, and an end, \
    at which they look back at the middle and find that it was not so bad. Let us begin at the beginning, as one should. \
    Once upon a time, when wishing still helped, there was a telephone exchange at the edge of a deep forest, and all \
    the lines of the land came together in it.";

#[tokio::test]
async fn o2_a_call_in_which_all_goes_well_is_fine() {
    let stage = Stage::set(|_| talker(Behaviour::default())).await;
    let events = stage.calls.watch();
    conversation(&stage).await;
    let lines = lines_of(events);
    assert!(lines.len() >= 3 && lines.iter().any(|line| line.speaking && line.frames > 50), "{lines:?}");
    assert!(lines.iter().all(|line| line.verdict == Verdict::Fine), "{lines:?}");
    stage.strike().await;
}

#[tokio::test]
async fn o2_a_model_that_trickles_is_a_slow_model() {
    let stage = Stage::set(|_| {
        let behaviour = Behaviour { speed: 0.6, delta_bytes: vec![800], ..Behaviour::default() };
        FakeModel::new("slow", Script::says([LONG]), behaviour)
    })
    .await;
    let line = jumping(blamed(&stage, StreamOptions::default(), Verdict::ModelSlow)).await;
    assert!((1..800).contains(&line.delta_rate), "{line:?}");
    assert_eq!(line.ws_block_ms, 0, "{line:?}");
    stage.strike().await;
}

#[tokio::test]
async fn o2_a_carrier_whose_marks_are_late_is_a_slow_carrier() {
    let stage = Stage::set(|_| FakeModel::new("fast", Script::says([LONG]), Behaviour::default())).await;
    let late = StreamOptions { marks_delay: Duration::from_millis(900), ..StreamOptions::default() };
    let line = jumping(blamed(&stage, late, Verdict::CarrierSlow)).await;
    assert_eq!(line.ws_block_ms, 0, "{line:?}");
    stage.strike().await;
}

/// The call, until it is said whose fault it is.
async fn blamed(stage: &Stage, stream: StreamOptions, verdict: Verdict) -> Line {
    let events = stage.calls.watch();
    let caller = vec![
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Say(sim::model::voice::hum("tell me a story").into()),
        CallerStep::Pause(PATIENCE),
    ];
    let options = CallOptions { limit: PATIENCE, stream, ..CallOptions::default() };
    let call = std::pin::pin!(stage.carrier.call(&stage.base, FROM, TO, caller, options));
    let line = std::pin::pin!(line_with(events, |line| line.verdict == verdict));
    match futures_util::future::select(line, call).await {
        futures_util::future::Either::Left((line, _)) => line,
        futures_util::future::Either::Right(_) => panic!("the call was over before anybody was blamed"),
    }
}

#[tokio::test]
async fn o2_o1_a_carrier_that_does_not_read_is_a_slow_carrier_and_a_warning() {
    let (log, _guard) = Kept::keep("minimal");
    // With buffers of the usual size the kernels would take minutes of audio before anybody noticed.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let stage = Stage::listening(
        |_| FakeModel::new("fast", Script::default(), Behaviour::default()),
        socket.listen(16).unwrap(),
        |config| {
            config.twilio.verify = Verify::UnlessLoopback;
            config.agents[0].greeting = Some(LONG.to_owned());
        },
    )
    .await;
    let mut events = stage.calls.watch();
    let deaf = tokio::spawn(deaf_carrier(stage.base.clone()));
    let watching = async {
        let (mut blamed, mut warned) = (None, None);
        while blamed.is_none() || warned.is_none() {
            match note(&mut events).await {
                Note::Pipeline(line) if line.ws_block_ms > 0 => blamed = Some(line),
                Note::Backlog { queue: Queue::Socket, waiting, .. } => warned = Some(waiting),
                _ => {}
            }
        }
        (blamed.unwrap(), warned.unwrap())
    };
    let (line, warned) = jumping(timeout(PATIENCE, watching)).await.unwrap();
    assert_eq!(line.verdict, Verdict::CarrierSlow, "{line:?}");
    assert!(warned > Duration::from_secs(1), "{warned:?}");
    // In every log mode, with the full context, and not again and again.
    let log = log.text();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("backlog")).collect();
    let [warning] = warnings[..] else { panic!("{log}") };
    for field in ["WARN", "call{id=", "queue=\"socket\"", "tx_q=", "ws_block_ms=", "verdict=\"carrier_slow\""] {
        assert!(warning.contains(field), "{field}: {warning}");
    }
    deaf.abort();
    stage.strike().await;
}

/// A carrier that speaks and does not listen.
async fn deaf_carrier(base: String) {
    let form = [("CallSid", "CA1"), ("From", FROM), ("To", TO)];
    let answer = reqwest::Client::new().post(format!("{base}/twilio/voice")).form(&form).send().await.unwrap();
    let twiml = answer.text().await.unwrap();
    let url = twiml.split('"').find(|text| text.starts_with("ws://")).unwrap().to_owned();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream: TcpStream = socket.connect(base.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let (mut say, _unheard) = socket.split();
    let format = json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
    let start = json!({ "streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"],
        "mediaFormat": format, "customParameters": {} });
    let start = json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start });
    say.send(Message::text(start.to_string())).await.unwrap();
    let mut frames = interval(Duration::from_millis(20));
    for frame in 0_u64.. {
        frames.tick().await;
        let payload = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [0xFF; 160]);
        let media =
            json!({ "track": "inbound", "chunk": "1", "timestamp": (frame * 20).to_string(), "payload": payload });
        let media = json!({ "event": "media", "sequenceNumber": "2", "streamSid": "MZ1", "media": media });
        if say.send(Message::text(media.to_string())).await.is_err() {
            return;
        }
    }
}

/// The only one by the real clock: there is no other way to keep a processor busy.
#[tokio::test]
async fn o2_a_processor_that_is_busy_is_to_blame_itself() {
    let stage = Stage::set(|_| FakeModel::new("fast", Script::says([LONG]), Behaviour::default())).await;
    let busy = tokio::spawn(async {
        loop {
            let until = Instant::now() + Duration::from_millis(160);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            // Whoever was kept waiting gets a turn.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    blamed(&stage, StreamOptions::default(), Verdict::Cpu).await;
    busy.abort();
    drop(stage);
}

async fn line_with(mut events: broadcast::Receiver<CallEvent>, is_it: impl Fn(&Line) -> bool) -> Line {
    let line = async {
        loop {
            if let Note::Pipeline(line) = note(&mut events).await
                && is_it(&line)
            {
                return line;
            }
        }
    };
    timeout(PATIENCE, line).await.expect("no such line")
}

async fn note(events: &mut broadcast::Receiver<CallEvent>) -> Note {
    loop {
        match events.recv().await {
            Ok(CallEvent { what: Happening::Note(note), .. }) => return note,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => panic!("the server is gone"),
        }
    }
}

/// The pipeline lines of calls that are over.
fn lines_of(mut events: broadcast::Receiver<CallEvent>) -> Vec<Line> {
    let mut lines = Vec::new();
    loop {
        match events.try_recv() {
            Ok(CallEvent { what: Happening::Note(Note::Pipeline(line)), .. }) => lines.push(line),
            Ok(_) => {}
            Err(broadcast::error::TryRecvError::Lagged(_)) => panic!("too much happened"),
            Err(_) => return lines,
        }
    }
}
