//! Writes a call's recording as the call goes (C3).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::{Disk, SWEEP_EVERY, Work};
use super::timeline::{SETTLES_AFTER, Timeline};
use super::voices::Voices;
use super::wav;

// C3: at most 500 ms late.
const _: () = assert!(SETTLES_AFTER.as_millis() + SWEEP_EVERY.as_millis() <= 500);

/// Events, and bytes of audio, that may wait for a slow disk: some five seconds of a call. What is beyond is missing in
/// the recording, and the log says so; the call goes on.
const EVENTS_MAX: usize = 512;
const AUDIO_MAX: usize = 96 * 1024;

/// Room that is kept from one sweep to the next, lest each of them allocate: twice what is usual, and less than what a slow
/// disk, or an answer that begins, takes for once.
const EVENTS_KEPT: usize = 32;
const AUDIO_KEPT: usize = 4 * 1024;

/// The call's end of it. Nothing here waits; dropping it finishes the recording.
pub(crate) struct Recorder {
    said: Arc<Said>,
    /// Tells when the stream began, until it has.
    start: Option<oneshot::Sender<Instant>>,
    disk: Disk,
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
    /// A recorder and what becomes of its recording, which is known when the recorder has been dropped. Nothing is written,
    /// and there is no recording, if the stream never begins, or before this is awaited.
    pub(crate) fn new(
        path: PathBuf,
        disk: &Disk,
    ) -> (Self, impl Future<Output = io::Result<Option<Recorded>>> + Send + 'static) {
        let said = Arc::new(Said::default());
        let (start, started) = oneshot::channel();
        let recorder = Recorder { said: said.clone(), start: Some(start), disk: disk.clone(), missed: 0 };
        (recorder, write(path, said, started, disk.clone()))
    }

    pub(crate) fn started(&mut self, now: Instant) {
        if let Some(start) = self.start.take() {
            // Nobody may be there to write it, who has said why.
            let _ = start.send(now);
        }
    }

    pub(crate) fn caller(&mut self, at: Duration, audio: &[u8]) {
        self.tell(Event::Caller { at, bytes: audio.len() }, audio);
    }

    pub(crate) fn agent(&mut self, at: Duration, audio: &[u8]) {
        self.tell(Event::Agent { at, bytes: audio.len() }, audio);
    }

    pub(crate) fn cleared(&mut self, at: Duration) {
        self.tell(Event::Cleared { at }, &[]);
    }

    fn tell(&mut self, event: Event, audio: &[u8]) {
        // Before the stream began nothing is said.
        if self.start.is_some() || self.said.lock().add(event, audio) {
            return;
        }
        if self.missed == 0 {
            tracing::warn!("the recording cannot keep up with the call: is the disk slow?");
        }
        self.missed += 1;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.said.lock().ended = Some(Instant::now());
        self.disk.hurry();
    }
}

/// What was said since the last sweep. The lock is between one call and the writer, who holds it to take or to give back
/// memory.
#[derive(Default)]
struct Said(Mutex<Events>);

#[derive(Default)]
struct Events {
    events: Vec<Event>,
    /// Of all events, one after the other.
    audio: Vec<u8>,
    /// When the call was over.
    ended: Option<Instant>,
    /// Nobody writes any more.
    given_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Caller { at: Duration, bytes: usize },
    Agent { at: Duration, bytes: usize },
    Cleared { at: Duration },
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of what was swept, unless the call has taken other room meanwhile.
    fn give_back(&self, mut swept: Events) {
        swept.clear();
        let mut said = self.lock();
        if said.events.capacity() == 0 {
            (said.events, said.audio) = (swept.events, swept.audio);
        }
    }
}

impl Events {
    /// Whether there was room. A writer that has given up has said why.
    fn add(&mut self, event: Event, audio: &[u8]) -> bool {
        if self.given_up {
            return true;
        }
        if self.events.len() >= EVENTS_MAX || self.audio.len() + audio.len() > AUDIO_MAX {
            return false;
        }
        self.events.push(event);
        self.audio.extend_from_slice(audio);
        true
    }

    fn clear(&mut self) {
        self.events.clear();
        self.events.shrink_to(EVENTS_KEPT);
        self.audio.clear();
        self.audio.shrink_to(AUDIO_KEPT);
    }
}

async fn write(
    path: PathBuf,
    said: Arc<Said>,
    started: oneshot::Receiver<Instant>,
    disk: Disk,
) -> io::Result<Option<Recorded>> {
    let Ok(origin) = started.await else { return Ok(None) };
    let (timeline, voices) = (Timeline::default(), Voices::default());
    disk.take(Writing { path, origin, said, file: None, timeline, voices }).await.map(Some)
}

/// A recording in the making.
struct Writing {
    path: PathBuf,
    /// When the carrier's stream began: time zero.
    origin: Instant,
    said: Arc<Said>,
    file: Option<File>,
    timeline: Timeline,
    voices: Voices,
}

impl Work for Writing {
    type Done = Recorded;

    fn write(&mut self, now: Instant) -> io::Result<Option<Recorded>> {
        let mut swept = std::mem::take(&mut *self.said.lock());
        self.place(&swept);
        // As much as was said is settled, more or less: it gets the same room.
        let (ended, settled) = (swept.ended, &mut swept.audio);
        settled.clear();
        match ended {
            None => self.timeline.settle(now.saturating_duration_since(self.origin), settled),
            Some(ended) => self.timeline.finish(ended.saturating_duration_since(self.origin), settled),
        }
        self.voices.hear(settled);
        // Without a buffer of ours, which a crash would take along.
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = File::create(&self.path)?;
                file.write_all(&wav::unfinished_header())?;
                file
            }
        };
        if !settled.is_empty() {
            file.write_all(settled)?;
        }
        if ended.is_none() {
            self.file = Some(file);
            self.said.give_back(swept);
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&wav::finished_header(self.timeline.bytes()))?;
        let recording = Recording {
            file: self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            duration_ms: self.timeline.duration().as_millis() as u64,
            unplaced_ms: self.timeline.unplaced().as_millis() as u64,
        };
        Ok(Some(Recorded { recording, voice_to_voice: std::mem::take(&mut self.voices).answers() }))
    }

    fn give_up(&mut self) {
        *self.said.lock() = Events { given_up: true, ..Events::default() };
    }
}

impl Writing {
    fn place(&mut self, said: &Events) {
        let mut audio = said.audio.as_slice();
        let mut next = |bytes| {
            let (this, rest) = audio.split_at(bytes);
            audio = rest;
            this
        };
        for event in &said.events {
            match *event {
                Event::Caller { at, bytes } => self.timeline.caller(at, next(bytes)),
                Event::Agent { at, bytes } => self.timeline.agent(at, next(bytes)),
                Event::Cleared { at } => self.timeline.cleared(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_written_while_the_call_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.wav");
        let (mut recorder, work) = Recorder::new(path.clone(), &Disk::default());
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
        let (recorder, work) = Recorder::new(path.clone(), &Disk::default());
        drop(recorder);
        assert_eq!(work.await.unwrap(), None);
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_takes_nothing_costs_neither_the_call_nor_its_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, work) = Recorder::new(folder.path().join("recording.wav"), &Disk::default());
        recorder.started(Instant::now());
        // Nobody sweeps: as long as this is not awaited, nothing is written.
        for frame in 0..2_000_u64 {
            recorder.caller(Duration::from_millis(frame * 20), &[1; 160]);
        }
        assert_eq!(recorder.missed, 2_000 - EVENTS_MAX as u64);
        recorder.caller(Duration::ZERO, &[1; AUDIO_MAX]);
        assert_eq!(recorder.said.lock().audio.len(), EVENTS_MAX * 160);
        drop(work);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_cannot_be_written_ends_the_recording_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, work) = Recorder::new(folder.path().join("missing").join("recording.wav"), &Disk::default());
        let work = tokio::spawn(work);
        recorder.started(Instant::now());
        recorder.caller(Duration::ZERO, &[1; 160]);
        assert_eq!(work.await.unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
        for frame in 0..2_000_u64 {
            recorder.caller(Duration::from_millis(frame * 20), &[1; 160]);
        }
        assert_eq!((recorder.missed, recorder.said.lock().events.len()), (0, 0));
    }
}
