//! Writes a call's recording as the call goes (C3).

use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::timeline::{SETTLES_AFTER, Timeline};
use super::voices::Voices;
use super::wav;

/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(100);

// C3: at most 500 ms late.
const _: () = assert!(SETTLES_AFTER.as_millis() + WRITE_EVERY.as_millis() <= 500);

/// Events that may wait for a slow disk: some five seconds of a call. What is beyond is missing in the recording, and
/// the record says so; the call goes on.
const EVENTS_MAX: usize = 512;

#[derive(Debug)]
enum Event {
    /// The carrier's stream began: time zero.
    Started(Instant),
    Caller {
        at: Duration,
        audio: Box<[u8]>,
    },
    Agent {
        at: Duration,
        audio: Box<[u8]>,
    },
    Cleared {
        at: Duration,
    },
}

/// The call's end of it. Nothing here waits; dropping it finishes the recording.
pub(crate) struct Recorder {
    events: mpsc::Sender<Event>,
    /// Its end tells the writer that of the call: it does not wait for events, lest each frame wake it.
    _ended: oneshot::Sender<()>,
    missed: u64,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Recording {
    /// Relative to the call's folder.
    pub file: String,
    pub duration_ms: u64,
    /// Audio that came too late for its place, or claimed an impossible one.
    pub unplaced_ms: u64,
}

/// A recording, and what was heard on it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    pub recording: Recording,
    /// From the caller's last loud sample to the agent's first one, of each answer.
    pub voice_to_voice: Vec<Duration>,
}

impl Recorder {
    /// A recorder and the work of writing, which ends when the recorder is dropped. Nothing is written, and there is
    /// no recording, if the stream never begins.
    pub(crate) fn new(path: PathBuf) -> (Self, impl Future<Output = io::Result<Option<Recorded>>> + Send + 'static) {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let (_ended, ended) = oneshot::channel();
        (Recorder { events, _ended, missed: 0 }, write(path, inbox, ended))
    }

    pub(crate) fn started(&mut self, now: Instant) {
        self.tell(Event::Started(now));
    }

    pub(crate) fn caller(&mut self, at: Duration, audio: &[u8]) {
        self.tell(Event::Caller { at, audio: audio.into() });
    }

    pub(crate) fn agent(&mut self, at: Duration, audio: &[u8]) {
        self.tell(Event::Agent { at, audio: audio.into() });
    }

    pub(crate) fn cleared(&mut self, at: Duration) {
        self.tell(Event::Cleared { at });
    }

    fn tell(&mut self, event: Event) {
        // A writer that has ended has said why.
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            if self.missed == 0 {
                tracing::warn!("the recording cannot keep up with the call: is the disk slow?");
            }
            self.missed += 1;
        }
    }
}

async fn write(
    path: PathBuf,
    mut events: mpsc::Receiver<Event>,
    mut ended: oneshot::Receiver<()>,
) -> io::Result<Option<Recorded>> {
    let origin = loop {
        match events.recv().await {
            Some(Event::Started(origin)) => break origin,
            Some(_) => {}
            None => return Ok(None),
        }
    };
    let mut file = File::create(&path).await?;
    file.write_all(&wav::unfinished_header()).await?;

    let mut timeline = Timeline::default();
    let mut voices = Voices::default();
    let mut settled = Vec::new();
    let mut next_write = origin + WRITE_EVERY;
    loop {
        let over = timeout_at(next_write, &mut ended).await.is_ok();
        let now = Instant::now();
        while let Ok(event) = events.try_recv() {
            match event {
                Event::Started(_) => {}
                Event::Caller { at, audio } => timeline.caller(at, &audio),
                Event::Agent { at, audio } => timeline.agent(at, &audio),
                Event::Cleared { at } => timeline.cleared(at),
            }
        }
        if over {
            break;
        }
        timeline.settle(now - origin, &mut settled);
        voices.hear(&settled);
        append(&mut file, &mut settled).await?;
        next_write = now + WRITE_EVERY;
    }
    timeline.finish(origin.elapsed(), &mut settled);
    voices.hear(&settled);
    append(&mut file, &mut settled).await?;

    file.seek(SeekFrom::Start(0)).await?;
    file.write_all(&wav::finished_header(timeline.bytes())).await?;
    file.flush().await?;
    let recording = Recording {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        duration_ms: timeline.duration().as_millis() as u64,
        unplaced_ms: timeline.unplaced().as_millis() as u64,
    };
    Ok(Some(Recorded { recording, voice_to_voice: voices.answers() }))
}

async fn append(file: &mut File, audio: &mut Vec<u8>) -> io::Result<()> {
    file.write_all(audio).await?;
    // Until then it lies in a buffer of ours, which a crash would take along.
    file.flush().await?;
    audio.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_written_while_the_call_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.wav");
        let (mut recorder, work) = Recorder::new(path.clone());
        let work = tokio::spawn(work);
        recorder.started(Instant::now());
        for frame in 0..100 {
            recorder.caller(Duration::from_millis(frame * 20), &[frame as u8; 160]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Two seconds have gone by; all but the last 500 ms is there.
        let so_far = std::fs::read(&path).unwrap();
        assert!(so_far.len() >= wav::HEADER_LEN + 1_500 * 16, "{} bytes", so_far.len());
        assert_eq!(so_far[4..8], [0xFF; 4]);

        drop(recorder);
        let Recorded { recording, voice_to_voice } = work.await.unwrap().unwrap().unwrap();
        assert!(voice_to_voice.is_empty(), "nobody answered");
        assert_eq!(recording, Recording { file: "recording.wav".into(), duration_ms: 2_000, unplaced_ms: 0 });
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), wav::HEADER_LEN + 2_000 * 16);
        assert_eq!(whole[..wav::HEADER_LEN], wav::finished_header(32_000));
        // What was on the disk then is on it now.
        assert_eq!(whole[wav::HEADER_LEN..so_far.len()], so_far[wav::HEADER_LEN..]);
        let caller: Vec<u8> = whole[wav::HEADER_LEN..].iter().step_by(2).copied().collect();
        assert!(caller.chunks(160).enumerate().all(|(frame, audio)| audio == [frame as u8; 160]));
    }

    #[tokio::test]
    async fn a_call_without_media_leaves_no_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.wav");
        let (recorder, work) = Recorder::new(path.clone());
        drop(recorder);
        assert_eq!(work.await.unwrap(), None);
        assert!(!path.exists());
    }
}
