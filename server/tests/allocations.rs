//! What a frame allocates in the whole server, sockets included, once a call is warm: nothing. By itself in this file: it
//! counts what the server's thread allocates, for which it has that thread to itself.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use patchcord::Server;
use patchcord::bench::relay::{self, Sends};
use patchcord::config::{Config, OpenAi, Secret, Verify};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

struct Counting;

/// On threads that are counted.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that ends may have lost it already.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator as it came; counting touches no memory that it gives, and
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const FRAME_BYTES: usize = 160;

/// In one delta of the model; and how many of those it is ahead.
const DELTA_FRAMES: usize = 10;
const DELTAS_AHEAD: usize = 10;

/// Frames of the agent before and while it is counted; for each, the caller says one.
const WARM_UP: usize = 150;
const FRAMES: usize = 200;

/// What is counted.
enum Under {
    Server(Box<Config>),
    /// What the bench compares with.
    Relay,
}

fn server(change: impl FnOnce(&mut Config)) -> Under {
    let mut config = Config::default();
    config.openai.key = Some(Secret::new("key"));
    config.twilio.account_sid = Some(format!("AC{:032x}", 0));
    config.twilio.auth_token = Some(Secret::new("token"));
    // Nobody listens there.
    config.twilio.api_url = "http://127.0.0.1:9".parse().unwrap();
    config.twilio.verify = Verify::UnlessLoopback;
    config.agents[0].greeting = Some("Hello.".to_owned());
    change(&mut config);
    Under::Server(Box::new(config))
}

/// On a thread of its own, which is counted, until the guard is dropped. Returns where it listens.
fn start(under: Under, model: String) -> (String, Guard) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            match under {
                Under::Server(config) => {
                    let openai = OpenAi { url: model.parse().unwrap(), ..config.openai };
                    let server = Server::new(Config { data: folder, openai, ..*config }, listener).unwrap();
                    tell.send(address).unwrap();
                    COUNTED.set(true);
                    // Twice: those who still talk are not waited for.
                    let stops = stream::once(async { drop(stopped.await) }).chain(stream::once(async {}));
                    server.run(stops).await.unwrap();
                }
                Under::Relay => {
                    tell.send(address).unwrap();
                    COUNTED.set(true);
                    tokio::select! {
                        ended = relay::serve(listener, model, None, Sends::Frames) => ended.unwrap(),
                        _ = stopped => {}
                    }
                }
            }
            COUNTED.set(false);
        });
    });
    (told.recv().unwrap().to_string(), Guard { stop: Some(stop), thread: Some(thread), _data: data })
}

struct Guard {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _data: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Greets, and goes on greeting for as long as it hears anything: a delta for every ten frames.
async fn model(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let audio = STANDARD.encode([0x55; DELTA_FRAMES * FRAME_BYTES]);
    let delta = format!(
        r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"{audio}"}}"#
    );
    let (mut heard, mut asked) = (0, false);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let mut say = Vec::new();
        if !asked && text.contains(r#""type":"input_audio_buffer.append""#) {
            // Who asks for nothing until a turn is over.
            asked = true;
            say.push(r#"{"type":"input_audio_buffer.committed","item_id":"item_0"}"#.to_owned());
        } else if text.contains(r#""type":"session.update""#) {
            say.push(r#"{"type":"session.updated","session":{}}"#.to_owned());
        } else if text.contains(r#""type":"response.create""#) {
            asked = true;
            let request = text.split_once(r#""patchcord_request":""#).map_or("", |(_, rest)| rest);
            let request = request.split('"').next().unwrap();
            say.push(format!(
                r#"{{"type":"response.created","response":{{"id":"resp_1","conversation_id":"c","metadata":{{"patchcord_request":"{request}"}}}}}}"#
            ));
            say.push(
                r#"{"type":"response.output_item.added","response_id":"resp_1","output_index":0,"item":{"id":"item_1","type":"message"}}"#
                    .to_owned(),
            );
            say.extend(std::iter::repeat_n(delta.clone(), DELTAS_AHEAD));
        } else if text.contains(r#""type":"input_audio_buffer.append""#) {
            heard += 1;
            if heard % DELTA_FRAMES == 0 {
                say.push(delta.clone());
            }
        }
        for text in say {
            // A call that is over is not to be said anything to.
            let _ = socket.send(Message::text(text)).await;
        }
    }
}

/// Announces a call and returns where its stream goes.
async fn announced(server: &str) -> String {
    let form = [
        ("CallSid", format!("CA{:032x}", 1)),
        ("AccountSid", format!("AC{:032x}", 0)),
        ("From", "+15005550001".to_owned()),
        ("To", "+15005550006".to_owned()),
        ("CallStatus", "ringing".to_owned()),
        ("Direction", "inbound".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
    ];
    let answer = reqwest::Client::new().post(format!("http://{server}/twilio/voice")).form(&form).send().await.unwrap();
    let document = answer.text().await.unwrap();
    let (_, rest) = document.split_once("<Stream url=\"").unwrap_or_else(|| panic!("no stream in {document}"));
    rest.split('"').next().unwrap().to_owned()
}

/// How often was allocated until each frame that came to the carrier, of a call in which both talk all the time.
async fn talk(stream: &str) -> Vec<u64> {
    let (mut socket, _) = connect_async(stream).await.unwrap();
    let start = format!(
        r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC{:032x}","streamSid":"MZ1","callSid":"CA{:032x}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{}}}},"streamSid":"MZ1"}}"#,
        0, 1
    );
    socket.send(Message::text(start)).await.unwrap();
    let payload = STANDARD.encode([0x7E; FRAME_BYTES]);
    let first = format!(
        r#"{{"event":"media","sequenceNumber":"2","media":{{"track":"inbound","chunk":"1","timestamp":"0","payload":"{payload}"}},"streamSid":"MZ1"}}"#
    );
    socket.send(Message::text(first)).await.unwrap();
    let mut allocations = Vec::with_capacity(WARM_UP + FRAMES);
    while allocations.len() < WARM_UP + FRAMES {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the stream was closed") };
        let said = if text.contains(r#""event":"media""#) {
            allocations.push(ALLOCATIONS.load(Ordering::Relaxed));
            let number = allocations.len() + 2;
            format!(
                r#"{{"event":"media","sequenceNumber":"{number}","media":{{"track":"inbound","chunk":"{}","timestamp":"{}","payload":"{payload}"}},"streamSid":"MZ1"}}"#,
                number - 1,
                (number - 2) * 20,
            )
        } else {
            // A mark, which was reached.
            text.replacen("{", r#"{"sequenceNumber":"9","#, 1)
        };
        socket.send(Message::text(said)).await.unwrap();
    }
    allocations.split_off(WARM_UP)
}

/// What was allocated between frames, in a whole call.
fn allocated(under: Under) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let has_webhook = matches!(under, Under::Server(_));
        let (address, guard) = start(under, format!("ws://{}/v1/realtime", listener.local_addr().unwrap()));
        let model = tokio::spawn(model(listener));
        let stream = if has_webhook { announced(&address).await } else { format!("ws://{address}/media") };
        let at = talk(&stream).await;
        drop(guard);
        model.abort();
        at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    })
}

/// The longest stretch without an allocation, in frames.
fn longest_without(allocated: &[u64]) -> usize {
    allocated.split(|count| *count > 0).map(<[u64]>::len).max().unwrap_or(0)
}

/// Longer than from one delta, or one mark, to the next.
const WITHOUT: usize = 25;

/// One after the other: they share the count. What comes late comes in lots, for which there may not be room: on a busy
/// machine, a frame now and then finds itself in one. And every 3 s the call says how it goes.
#[test]
fn a_frame_allocates_nothing_in_the_whole_server() {
    let plain = allocated(server(|config| {
        config.agents[0].recording = false;
        config.agents[0].trace = None;
    }));
    assert!(longest_without(&plain) >= WITHOUT, "{plain:?}");

    let recorded = allocated(server(|config| {
        config.agents[0].recording = true;
        config.agents[0].trace = None;
    }));
    // A sweep of the disk, at every fifth frame, is a task.
    let with = recorded.iter().filter(|count| **count > 0).count();
    assert!(with <= recorded.len() / 2, "{with} of {} frames: {recorded:?}", recorded.len());

    let relayed = allocated(Under::Relay);
    let [plain, recorded, relayed] = [plain, recorded, relayed].map(|counts| counts.iter().sum::<u64>());
    println!("allocations in {FRAMES} frames: {plain}; recorded {recorded}; the relay {relayed}");
    assert!(plain <= recorded && recorded <= relayed, "{plain}; recorded {recorded}; the relay {relayed}");
}
