//! What a fake model says, hears, and does wrong.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::voice::{hum, noise};

/// What is said on both sides, in order.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// One for each response that does not ask for a literal text. When they have run out: "Go on."
    pub replies: Vec<Reply>,
    /// What the transcription makes of each committed item; `None`: it fails. When they have run out: "Hello."
    pub caller_says: Vec<Option<String>>,
}

/// What one response comes to.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Spoken items, before the calls. None and no calls: an empty response.
    pub items: Vec<ReplyItem>,
    pub calls: Vec<ReplyCall>,
    pub end: ReplyEnd,
}

#[derive(Clone, Debug)]
pub struct ReplyItem {
    pub transcript: String,
    /// µ-law at 8 kHz.
    pub audio: Arc<[u8]>,
}

#[derive(Clone, Debug)]
pub struct ReplyCall {
    pub name: String,
    /// JSON if all is well.
    pub arguments: String,
}

#[derive(Clone, Debug, Default)]
pub enum ReplyEnd {
    #[default]
    Completed,
    /// `reason`: `max_output_tokens` or `content_filter`. The last item is incomplete.
    Incomplete {
        reason: &'static str,
    },
    Failed {
        code: Option<&'static str>,
        message: &'static str,
    },
}

impl Script {
    /// A script of these spoken replies.
    pub fn says<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Script { replies: texts.into_iter().map(Reply::says).collect(), caller_says: Vec::new() }
    }

    /// The same script, with what the caller will be understood to say.
    pub fn hears<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        self.caller_says = texts.into_iter().map(|text| Some(text.to_owned())).collect();
        self
    }
}

impl Reply {
    pub fn says(text: &str) -> Self {
        Reply { items: vec![ReplyItem::says(text)], ..Default::default() }
    }

    pub fn calls(name: &str, arguments: &str) -> Self {
        Reply { calls: vec![ReplyCall { name: name.into(), arguments: arguments.into() }], ..Default::default() }
    }

    /// Nothing at all.
    pub fn empty() -> Self {
        Reply::default()
    }

    /// Nothing but an error.
    pub fn fails(code: Option<&'static str>, message: &'static str) -> Self {
        Reply { end: ReplyEnd::Failed { code, message }, ..Default::default() }
    }
}

impl ReplyItem {
    /// Hummed, for want of a recording.
    pub fn says(text: &str) -> Self {
        ReplyItem { transcript: text.into(), audio: hum(text).into() }
    }

    /// Noise of this length, to be told from all others by any few bytes of it.
    pub fn hisses(text: &str, seed: u64, length: Duration) -> Self {
        let bytes = usize::try_from(length.as_micros() / 125).unwrap_or(0);
        ReplyItem { transcript: text.into(), audio: noise(seed, bytes).into() }
    }
}

/// How long a hosted model takes to report speech, from when the first of it is sent to when the report is received,
/// the network included: as far as is known, for gpt-realtime-2.
///
/// τ-bench (<https://github.com/sierra-research/tau2-bench> at `a2c0247`: `docs/interaction-metrics.md`, the
/// submissions of its leaderboard) sends a spoken interruption in frames of 20 ms and counts steps of 200 ms until the
/// agent has fallen silent. One passes before any of it is sent and one after the report; the mean of 5,424
/// interruptions of gpt-realtime-2 is 0.61 to 0.62 s, by submission, so that the report comes in the second step of
/// sending. What is between the two bounds cannot be told, nor how much silence the spoken text begins with; of
/// gpt-realtime 1.0 and 1.5 (5,235 interruptions, 0.41 to 0.42 s) the report comes in the first step.
pub const HOSTED_SPEECH_LATENCY: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_millis(400);

/// How the model behaves. The default is a good day; each deviation was seen on real servers, or is allowed by the
/// reference.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Whether undocumented fields in client events are errors. Off for foreign SDKs.
    pub strict: bool,
    /// How much faster than real time audio is generated.
    pub speed: f64,
    /// Bytes of µ-law in the deltas, in turn; more than one, and none zero, for odd sizes.
    pub delta_bytes: Vec<usize>,
    /// From `session.update` to `session.updated`.
    pub configure_latency: Duration,
    /// From when the caller's sound shows that speech began or ended to the report of it. Ours is shown by 30 ms of
    /// loudness and reported at once; a hosted detector wants more, and reports when it gets to it: see
    /// [`HOSTED_SPEECH_LATENCY`].
    pub speech_latency: Duration,
    /// From `response.create` to `response.created`.
    pub create_latency: Duration,
    /// From `response.created` to the first item.
    pub first_audio: Duration,
    /// From the last item to `response.done`.
    pub done_latency: Duration,
    /// From `response.cancel` to `response.done`.
    pub cancel_latency: Duration,
    pub transcript: TranscriptOrder,
    pub transcription: TranscriptionTiming,
    /// How long after `response.done` a create is still rejected as a collision: the model was not quite done.
    pub lingers: Duration,
    /// Audio deltas that still come between a cancel and `response.done`.
    pub stragglers: usize,
    /// All `output_audio.done` just before `response.done`.
    pub audio_done_at_end: bool,
    /// Creates that are never answered, from the first on.
    pub ignored_creates: u32,
    /// Truncations and deletions that are answered with an error `edit_rejected`, from the first on.
    pub rejected_edits: u32,
    /// The configuration is answered with an error of this code.
    pub reject_configuration: Option<&'static str>,
    /// Instead of a session, an error of this code and a closed connection: a refusal after the handshake.
    pub refuse: Option<&'static str>,
    /// After this many events the connection ends, with this close code; `None`: it just breaks.
    pub close_after: Option<(u64, Option<u16>)>,
    /// The session is too old after this time: error `session_expired`, then close.
    pub expires_after: Option<Duration>,
    /// An event that nobody knows, after each so many.
    pub unknown_every: Option<u64>,
    /// Errors come with `code: null`.
    pub errors_without_code: bool,
    /// Responses that nobody asked for begin at these times, unless one is active.
    pub spontaneous: Vec<Duration>,
    /// How the model speaks where the script gives it no audio.
    pub voice: Voice,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Voice {
    /// For ears, and for those who look for it by correlation.
    #[default]
    Hum,
    /// For those who compare bytes, thousands of calls a second.
    Noise,
}

/// When the words of an item come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranscriptOrder {
    /// With its audio, a little ahead.
    Interleaved,
    /// `output_audio_transcript.done` before the first audio.
    BeforeAudio,
    /// The first word after `output_audio.done`.
    AfterAudio,
    /// All words at once, a while after `response.done`: no documentation says that they cannot come so late (H6).
    AfterResponse,
}

/// When the transcription of the caller comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranscriptionTiming {
    /// So long after the commit; zero: before a response to it.
    After(Duration),
    /// After the next `response.done`.
    AfterResponse,
    Never,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            strict: true,
            speed: 10.0,
            delta_bytes: vec![1_600],
            configure_latency: Duration::from_millis(20),
            speech_latency: Duration::ZERO,
            create_latency: Duration::from_millis(30),
            first_audio: Duration::from_millis(250),
            done_latency: Duration::ZERO,
            cancel_latency: Duration::from_millis(20),
            transcript: TranscriptOrder::Interleaved,
            transcription: TranscriptionTiming::After(Duration::from_millis(200)),
            lingers: Duration::ZERO,
            stragglers: 0,
            audio_done_at_end: false,
            ignored_creates: 0,
            rejected_edits: 0,
            reject_configuration: None,
            refuse: None,
            close_after: None,
            expires_after: None,
            unknown_every: None,
            errors_without_code: false,
            spontaneous: Vec::new(),
            voice: Voice::Hum,
        }
    }
}
