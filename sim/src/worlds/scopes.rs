//! The worlds that are searched: small enough to be finished, together everything that can meet in a call.
//!
//! Limits that a world is not about never come; a world is about few of them, and they are small multiples of the
//! frames of its short responses, so that their orders all occur.

use std::time::Duration;

use call::CallConfig;

use super::{Length, Reply, Said, Scope, ms};

/// All worlds.
pub fn all() -> Vec<Scope> {
    vec![goodbye(), hold(), hang_up()]
}

/// Two frames ahead, a mark every two, and no limit but those that playing itself needs.
fn config() -> CallConfig {
    CallConfig {
        lead: ms(40),
        mark_every: ms(40),
        mark_grace: ms(40),
        configure_timeout: Duration::MAX,
        requested_timeout: Duration::MAX,
        first_audio_timeout: Duration::MAX,
        response_max: Duration::MAX,
        cancel_timeout: Duration::MAX,
        floor_max: Duration::MAX,
        hold_max: ms(60),
        hold_transcript_wait: ms(40),
        stream_lost_grace: ms(100),
        hang_up_attempts: 2,
        hang_up_retry: ms(100),
        hang_up_timeout: ms(100),
        hang_up_grace: ms(100),
        tool_timeout: Duration::MAX,
        silence_max: None,
        call_max: Duration::MAX,
        carrier_silence_max: Duration::MAX,
        ..CallConfig::default()
    }
}

/// A turn of the caller is being answered, in two deltas that play for 80 ms; nothing else happens.
fn quiet(name: &'static str) -> Scope {
    Scope {
        name,
        config: config(),
        asked: true,
        items: 1,
        deltas: 2,
        delta_ms: 40,
        replies: &[],
        late_transcripts: false,
        own_responses: 0,
        rejections: 0,
        failures: 0,
        empty: 0,
        announcements: false,
        tools: 0,
        end_calls: 0,
        model_loss: false,
        utterances: 0,
        said: &[],
        lengths: &[Length::Long],
        marks_get_lost: false,
        marks_come_late: false,
        stream_stops: false,
        statuses: false,
        hang_up_fails: false,
        operator_hangs_up: false,
        texts: 0,
        forced_texts: 0,
        sometimes: &[],
    }
}

/// Goodbye × end of audio × transcript × interruption × marks (H2, H5–H8): the inherited design's own world.
fn goodbye() -> Scope {
    Scope {
        replies: &[Reply::Plain, Reply::Goodbye],
        deltas: 1,
        delta_ms: 60,
        late_transcripts: true,
        utterances: 1,
        said: &[Said::Nothing, Said::Words, Said::Farewell],
        marks_get_lost: true,
        sometimes: &[
            "goodbye, via audio.done",
            "goodbye, via transcript.done",
            "a goodbye is withdrawn",
            "a goodbye whose mark never came",
            "a hold becomes an interruption",
            "noise is ignored",
            "ended by goodbye",
        ],
        ..quiet("goodbye")
    }
}

/// Speech × what it turns out to be × marks × resuming × interruption (B1–B4).
fn hold() -> Scope {
    Scope {
        announcements: true,
        utterances: 2,
        said: &[Said::Nothing, Said::BackChannel, Said::Words, Said::Unknown],
        lengths: &[Length::Short, Length::Long],
        sometimes: &[
            "a hold",
            "a hold becomes an interruption",
            "a back-channel word is ignored",
            "noise is ignored",
            "playing goes on after a hold",
            "an item heard in part is truncated",
            "an unheard item is deleted",
            "an item of the caller is deleted",
        ],
        ..quiet("hold")
    }
}

/// Goodbye × operator × failing hang-ups × the carrier's stop and statuses (H1, H3, H10, L7, L9).
fn hang_up() -> Scope {
    Scope {
        deltas: 1,
        replies: &[Reply::Goodbye],
        utterances: 1,
        stream_stops: true,
        statuses: true,
        hang_up_fails: true,
        operator_hangs_up: true,
        sometimes: &[
            "a hang-up is tried again",
            "the socket is closed as a last resort",
            "ended by goodbye",
            "ended by the operator",
            "ended by the caller",
            "ended by a lost stream",
        ],
        ..quiet("hang-up")
    }
}
