//! What it costs: time of a processor, memory, and how long callers wait.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::EarInput;
use jiff::Timestamp;
use voice::dialogue::{Dialogue, Flow};
use voice::ears::{EarSettings, Ears, Listener};
use voice::expected::Expected;
use voice::server::engine::Engine;
use voice::server::session::{Answers, Out, Session};
use voice::speak::{Rate, Said};
use voice::word_vectors::WordVectors;
use voice::{Weights, turn_end};

use crate::FETCH;
use crate::common::sounds::{hold_music, long_speech, shifted, telephone};
use crate::common::{self, understanding};

/// What each recogniser takes of the machine's memory, after a turn of 30 s, the longest there is.
#[test]
#[ignore = "a measurement"]
fn memory() {
    for weights in common::recognisers("a measurement") {
        let (before, began) = (resident(), Instant::now());
        let mut recogniser = weights.recogniser().unwrap();
        let (loaded, took) = (resident(), began.elapsed());
        let turn: Vec<f32> = (0..3 * 16_000).map(|at| 0.1 * (at as f32 * 0.05).sin()).collect();
        recogniser.recognise(&turn, Duration::from_secs(3), &Expected::default()).unwrap();
        let turned = resident();
        recogniser.recognise(&turn.repeat(10), Duration::from_secs(30), &Expected::default()).unwrap();
        println!(
            "{:?}: loaded in {} ms, {} MB; {} MB after a turn of 3 s, {} MB after one of 30 s",
            weights.recogniser_size(),
            took.as_millis(),
            loaded - before,
            turned - before,
            resident() - before
        );
    }
}

/// The same of what judges turns, by itself: what others gave back would be used again.
#[test]
#[ignore = "a measurement"]
fn memory_of_the_end_of_turn() {
    let weights = Weights::open(&common::folder()).unwrap();
    let (before, began) = (resident(), Instant::now());
    let mut judge = weights.turn_end().unwrap().expect("scripts/voice-models fetches its weights");
    let (loaded, took) = (resident(), began.elapsed());
    for _ in 0..10 {
        judge.judge(&vec![0.0; turn_end::SECONDS_MAX * turn_end::RATE as usize]).unwrap();
    }
    println!(
        "end of turn: loaded in {} ms, {} MB; {} MB after ten judgements",
        took.as_millis(),
        loaded - before,
        resident() - before
    );
}

/// What it takes to load what understands, to find out what the examples of a flow of 12 intents are about, and to understand a
/// turn by it.
#[test]
#[ignore = "a measurement"]
fn cost_of_understanding() {
    let flow = Flow::read(include_str!("../data/paraphrases.toml")).unwrap();
    let weights = Weights::open(&common::folder()).unwrap();
    let (before, began) = (resident(), Instant::now());
    let mut sentences = weights.sentences().unwrap().expect(FETCH);
    let (loaded, began) = (began.elapsed(), Instant::now());
    let by_sentences = flow.clone().with_sentences(|words| sentences.vector(words)).unwrap();
    println!(
        "sentences: loaded in {} ms, 36 examples in {} ms, {} MB",
        loaded.as_millis(),
        began.elapsed().as_millis(),
        resident() - before
    );
    let sentences = Mutex::new(sentences);
    let began = Instant::now();
    let vectors = WordVectors::open(&common::folder()).unwrap().expect(FETCH);
    let (loaded, began) = (began.elapsed(), Instant::now());
    let by_words = flow.clone().with_word_vectors(vectors);
    println!("word vectors: loaded in {} ms, 36 examples in {} µs", loaded.as_millis(), began.elapsed().as_micros());
    for (way, flow) in [("by sentences", by_sentences), ("by word vectors", by_words), ("without", flow)] {
        let flow = Arc::new(flow);
        let mut took = Vec::new();
        for line in include_str!("../data/paraphrases_tuning.txt").lines().cycle().take(720) {
            let (_, text) = line.split_once(": ").unwrap();
            let mut dialogue = Dialogue::new(flow.clone(), Timestamp::UNIX_EPOCH);
            let began = Instant::now();
            understanding::read(&mut dialogue, text, Some(&sentences));
            dialogue.reply(text, &[]);
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!("a turn, {way}: median {} µs, slowest {} µs", took[360].as_micros(), took[719].as_micros());
    }
}

/// What listening to one call costs, without the queue: time of the processor, whatever else the machine does.
#[test]
#[ignore = "a measurement"]
fn cost_of_one_ear() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut detector = weights.detector().unwrap();
    let speech = long_speech();
    let silence = vec![0xFF; speech.len()];
    let spoken = telephone(&speech);
    let echo = telephone(&shifted(&speech, 2_000, 0.1, speech.len()));
    // Of nothing that is played, as loud: the gate looks for it everywhere, until the ear tells of it.
    let music = telephone(&shifted(&hold_music(), 0, 0.3, speech.len()));
    for (name, caller, agent) in [
        ("silence", &silence, &silence),
        ("the caller speaks", &spoken, &silence),
        ("the agent speaks, and its echo comes back", &echo, &spoken),
        ("the agent speaks over music", &music, &spoken),
    ] {
        let mut listener = Listener::new(EarSettings { threshold: 0.5, echo_gate: true, music: false });
        let mut frames = Vec::new();
        for (index, (caller, agent)) in caller.chunks(160).zip(agent.chunks(160)).enumerate() {
            let before = thread_time();
            listener.agent(frame_time(index), agent);
            listener.caller(&mut detector, frame_time(index), caller).unwrap();
            frames.push(thread_time() - before);
        }
        // The first steps load what is needed later.
        let mut frames = frames.split_off(50);
        let all: Duration = frames.iter().sum();
        frames.sort();
        println!(
            "an ear, {name}: {:.2} ms of a core for a second of a call; a frame {} µs at most, 99 of 100 at most {} µs",
            1_000.0 * all.as_secs_f64() / frame_time(frames.len()).as_secs_f64(),
            frames[frames.len() - 1].as_micros(),
            frames[frames.len() * 99 / 100].as_micros()
        );
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Whether one thread follows, and how late it gets: calls at once, all their frames at the same moment, in real time. In
/// half of the calls the caller speaks; in the others the line carries our own echo, which is looked for all the time.
#[test]
#[ignore = "a measurement"]
fn cost_of_ears() {
    let weights = Weights::open(&common::folder()).unwrap();
    let speech = long_speech();
    let spoken = telephone(&speech);
    let echo = telephone(&shifted(&speech, 2_000, 0.1, speech.len()));
    let settings = EarSettings { threshold: 0.5, echo_gate: true, music: false };
    // Which frames are told of, of a call whose caller speaks.
    let (mut detector, mut listener) = (weights.detector().unwrap(), Listener::new(settings));
    let mut told_of = vec![0];
    for (index, frame) in spoken.chunks(160).enumerate() {
        let told = listener.caller(&mut detector, frame_time(index), frame).unwrap();
        told_of.extend(told.iter().map(|_| index));
    }
    for calls in [1, 4, 16, 32, 64, 96, 128, 192, 256] {
        let ears = Ears::start(&weights, calls, 10).unwrap();
        let (mut listening, mut facts): (Vec<_>, Vec<_>) = (0..calls).map(|_| ears.ear(settings).unwrap()).unzip();
        // The last call's frames wait for those of all others.
        let mut last = facts.pop().unwrap();
        let told = std::thread::spawn(move || {
            std::iter::from_fn(|| last.blocking_recv()).map(|fact| (fact, Instant::now())).collect::<Vec<_>>()
        });
        let thread = std::iter::repeat_with(|| task_of("ears")).find_map(|task| task).unwrap();
        let (before, began) = (cpu_of(&thread), Instant::now());
        for (index, (spoken, echo)) in spoken.chunks(160).zip(echo.chunks(160)).enumerate() {
            std::thread::sleep((began + frame_time(index)).saturating_duration_since(Instant::now()));
            for (call, ear) in listening.iter_mut().enumerate() {
                if call % 2 == 0 || call + 1 == calls {
                    ear.caller(frame_time(index), spoken);
                } else {
                    ear.agent(frame_time(index), spoken);
                    ear.caller(frame_time(index), echo);
                }
            }
        }
        let audio = frame_time(spoken.len() / 160).as_secs_f64();
        let took = (cpu_of(&thread) - before).as_secs_f64();
        let missed = ears.missed();
        drop((listening, ears));
        let told = told.join().unwrap();
        while task_of("ears").is_some() {
            std::thread::yield_now();
        }
        let late = told_of.iter().zip(&told).map(|(frame, (_, at))| at.duration_since(began + frame_time(*frame)));
        let followed = told.iter().all(|(fact, _)| *fact != EarInput::Deaf);
        println!(
            "ears, {calls} at once: {:.2} ms of a core for a second of a call, {:.3} of a core; {missed} missed, {}",
            1_000.0 * took / audio / calls as f64,
            took / audio,
            if followed { format!("told {} ms late at most", late.max().unwrap().as_millis()) } else { "deaf".into() }
        );
    }
}

fn frame_time(index: usize) -> Duration {
    Duration::from_millis(20 * index as u64)
}

/// The thread of this name, once it has it.
fn task_of(name: &str) -> Option<PathBuf> {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
}

/// What a thread has taken of a processor.
fn cpu_of(task: &Path) -> Duration {
    let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(schedule.split_whitespace().next().unwrap().parse().unwrap())
}

/// How long callers wait: sessions at once, without their sockets, each hearing a line in real time, from the line's last
/// audible sample to the first of the answer's audio. What ends a turn is in it: 500 ms of silence, or the judgement that
/// it is over, where the weights for that are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn waiting() {
    let weights = Weights::open(&common::folder()).unwrap();
    let engine = Engine::start(&weights, 2, 8).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let line = speaker.say("What are your opening hours?", Rate::Telephone, 1.0).unwrap();
    // Until the last sample that is heard: a breath of silence follows it.
    let audible = line.iter().rposition(|sample| sample.abs() > 0.01).unwrap() + 1;
    let coded: Vec<u8> = line[..audible].iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect();
    let mut spoken = 1;
    let mut ways = vec!["server_vad"];
    ways.extend(weights.turn_end().unwrap().map(|_| "semantic_vad"));
    for (vad, sessions) in ways.into_iter().flat_map(|vad| [1, 2, 4, 8].map(|sessions| (vad, sessions))) {
        let mut callers = Vec::new();
        for number in 0..sessions {
            // Another answer for each, so that nothing was said before.
            let answer = format!("We are open from nine to five, and this is answer {spoken} of this day.");
            spoken += 1;
            let flow =
                format!("[[intent]]\nname = 'a'\nexamples = ['what are your opening hours']\nanswer = '{answer}'\n");
            let answers = Answers::by_flow(Arc::new(Flow::read(&flow).unwrap()), Timestamp::UNIX_EPOCH);
            let mut session = Session::new("m", "any", Timestamp::UNIX_EPOCH, answers);
            let format = serde_json::json!({"type": "audio/pcmu"});
            let input = serde_json::json!({"format": format, "turn_detection": {"type": vad}});
            let audio = serde_json::json!({"input": input, "output": {"format": format}});
            let settings = serde_json::json!({"type": "realtime", "audio": audio});
            session.receive(&serde_json::json!({"type": "session.update", "session": settings}).to_string());
            callers.push(tokio::spawn(caller(session, engine.clone(), coded.clone(), 97 * number)));
        }
        let mut waits = Vec::new();
        for caller in callers {
            waits.push(caller.await.unwrap().as_millis());
        }
        waits.sort_unstable();
        println!(
            "waiting, {vad}, {sessions} at once: median {} ms, longest {} ms",
            waits[waits.len() / 2],
            waits[waits.len() - 1]
        );
    }
}

/// One caller in real time, who begins a little later than the one before.
async fn caller(mut session: Session, engine: Engine, line: Vec<u8>, later_ms: u64) -> Duration {
    let (results, mut found) = tokio::sync::mpsc::channel(16);
    let lead = [0xFF; 4_000];
    let audio: Vec<u8> = lead.into_iter().chain(line).collect();
    let mut frames = audio.chunks(160);
    let begin = tokio::time::Instant::now() + Duration::from_millis(later_ms);
    let mut clock = tokio::time::interval_at(begin, Duration::from_millis(20));
    let mut last_sample = None;
    let patience = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(patience);
    loop {
        while let Some(out) = session.poll() {
            match out {
                Out::Work(work) => engine.ask(work, &results),
                Out::Text(text) if text.contains("output_audio.delta") => {
                    let last_sample: Instant = last_sample.expect("it was answered before it had spoken");
                    return last_sample.elapsed();
                }
                Out::Text(_) | Out::Ask(_) | Out::StopAsking => {}
            }
        }
        tokio::select! {
            _ = clock.tick() => {
                let silence = [0xFF; 160];
                let frame = frames.next();
                if frame.is_none() && last_sample.is_none() {
                    last_sample = Some(Instant::now());
                }
                let payload = STANDARD.encode(frame.unwrap_or(&silence));
                session.receive(&format!(r#"{{"type":"input_audio_buffer.append","audio":"{payload}"}}"#));
            }
            Some(done) = found.recv() => session.found(done),
            () = &mut patience => panic!("it was never answered"),
        }
    }
}

/// What this process has of the machine's memory, in MB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
