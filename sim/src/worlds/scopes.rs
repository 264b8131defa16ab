//! The worlds that are searched: small enough to be finished, together everything that can meet in a call.
//!
//! Limits that a world is not about never come; a world is about few of them, and they are small multiples of the
//! frames of its short responses, so that their orders all occur.

use std::time::Duration;

use call::CallConfig;
use call::config::ProtectGreeting;

use super::{Length, Reply, Said, Scope, ms};

/// Two frames ahead, a mark every two, and no limit but those that playing itself needs.
fn config() -> CallConfig {
    CallConfig {
        lead: ms(40),
        resume_max: None,
        mark_every: ms(40),
        mark_grace: ms(40),
        configure_timeout: Duration::MAX,
        requested_timeout: Duration::MAX,
        first_audio_timeout: Duration::MAX,
        next_output_timeout: Duration::MAX,
        response_max: Duration::MAX,
        cancel_timeout: Duration::MAX,
        floor_max: Duration::MAX,
        hold_max: ms(60),
        hold_transcript_wait: ms(40),
        stream_lost_grace: ms(100),
        hang_up_attempts: 2,
        hang_up_retry: ms(100),
        hang_up_timeout: ms(100),
        hang_up_grace: ms(40),
        tool_timeout: Duration::MAX,
        silence_max: None,
        reconnect_max: None,
        pipeline_every: None,
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
        own_cancellations: 0,
        empty: 0,
        announcements: false,
        tools: 0,
        end_calls: 0,
        model_loss: false,
        utterances: 0,
        said: &[],
        lengths: &[Length::Long],
        ears: 0,
        marks_get_lost: false,
        marks_come_late: false,
        stream_stops: false,
        starts_again: 0,
        statuses: false,
        hang_up_fails: false,
        operator_hangs_up: false,
        texts: 0,
        forced_texts: 0,
        sometimes: &[],
    }
}

/// Goodbye × end of audio × transcript × interruption × marks (H2, H5–H8): the inherited design's own world.
pub fn goodbye() -> Scope {
    Scope {
        replies: &[Reply::Plain, Reply::Goodbye],
        deltas: 1,
        delta_ms: 60,
        late_transcripts: true,
        utterances: 1,
        said: &[Said::Nothing, Said::Words, Said::Farewell],
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

/// Goodbye × a model that cancels by itself × tool that ends the call (H2, H7, H11).
pub fn cancelled() -> Scope {
    Scope {
        replies: &[Reply::Plain, Reply::Goodbye],
        late_transcripts: true,
        own_cancellations: 1,
        end_calls: 1,
        sometimes: &["a goodbye is withdrawn", "goodbye, via audio.done", "goodbye, via transcript.done"],
        ..quiet("cancelled")
    }
}

/// Goodbye × other responses that the model begins by itself while it plays (H2, H4).
pub fn talkative() -> Scope {
    Scope {
        deltas: 1,
        replies: &[Reply::Goodbye],
        own_responses: 2,
        sometimes: &["ended by goodbye"],
        ..quiet("talkative")
    }
}

/// Speech × what it turns out to be × marks × resuming × interruption (B1–B4).
pub fn hold() -> Scope {
    Scope {
        deltas: 1,
        delta_ms: 60,
        announcements: true,
        utterances: 2,
        said: &[Said::Nothing, Said::BackChannel, Said::Words],
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

/// Speech as our own ears hear it × as the model reports it: before, after, or only one of the two (B4).
pub fn ears() -> Scope {
    Scope {
        config: CallConfig { ears_report_max: ms(40), vad_silence: ms(40), ..config() },
        deltas: 1,
        delta_ms: 60,
        utterances: 1,
        said: &[Said::Nothing, Said::Words],
        lengths: &[Length::Short, Length::Long],
        ears: 2,
        sometimes: &[
            "our own ears open a hold",
            "the model reports what our own ears heard",
            "what only our own ears heard is ignored",
            "a hold becomes an interruption",
            "playing goes on after a hold",
        ],
        ..quiet("ears")
    }
}

/// The same × goodbye × the carrier's stop (H7, L7).
pub fn ears_goodbye() -> Scope {
    Scope {
        replies: &[Reply::Goodbye],
        lengths: &[Length::Long],
        ears: 1,
        stream_stops: true,
        sometimes: &[
            "our own ears open a hold",
            "what only our own ears heard is ignored",
            "a goodbye is withdrawn",
            "ended by goodbye",
        ],
        ..Scope { name: "ears-goodbye", ..ears() }
    }
}

/// Goodbye × operator × failing hang-ups × the carrier's stop and statuses (H1, H3, H10, L7, L9).
pub fn hang_up() -> Scope {
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

/// Collision × operator's text × interruption (R1–R4, R8, B6).
pub fn asking() -> Scope {
    Scope {
        deltas: 1,
        own_responses: 1,
        utterances: 1,
        texts: 1,
        sometimes: &["a request after one that collided", "an operator's text is asked for", "an interruption"],
        ..quiet("asking")
    }
}

/// Failure × empty response × interruption × cancellation that comes too late (R10, B6).
pub fn failing() -> Scope {
    Scope {
        deltas: 1,
        rejections: 1,
        failures: 1,
        empty: 1,
        utterances: 2,
        sometimes: &["a response that came to nothing twice", "a turn is answered", "an interruption"],
        ..quiet("failing")
    }
}

/// Tool result × end of the call by tool × time-out × interruption (N2, H11).
pub fn tools() -> Scope {
    Scope {
        config: CallConfig { tool_timeout: ms(100), ..config() },
        deltas: 1,
        tools: 1,
        end_calls: 1,
        utterances: 1,
        sometimes: &[
            "a tool is run",
            "a tool's output is told",
            "a tool's result is spoken about",
            "a goodbye is asked for",
            "a goodbye is withdrawn",
            "ended by goodbye",
            "an interruption",
        ],
        ..quiet("tools")
    }
}

/// Tool result × noise that stops the agent for a while (N2, B4).
pub fn noise() -> Scope {
    Scope {
        deltas: 1,
        tools: 1,
        utterances: 1,
        said: &[Said::Nothing],
        lengths: &[Length::Short],
        sometimes: &["noise is ignored", "a tool's result is spoken about"],
        ..quiet("noise")
    }
}

/// Tool results and texts × responses that the model begins by itself, before ours (R8, RACES a).
pub fn overtaken() -> Scope {
    Scope {
        own_responses: 1,
        utterances: 0,
        end_calls: 0,
        texts: 1,
        sometimes: &["a request after one that collided", "a tool's result is spoken about"],
        ..Scope { name: "overtaken", ..tools() }
    }
}

/// Model loss × its deadlines × goodbye × speech that never stops × the carrier's stop (R9, R10, N4, L7).
pub fn loss() -> Scope {
    Scope {
        config: CallConfig {
            requested_timeout: ms(100),
            first_audio_timeout: ms(100),
            next_output_timeout: ms(100),
            response_max: ms(200),
            cancel_timeout: ms(100),
            floor_max: ms(200),
            ..config()
        },
        deltas: 1,
        replies: &[Reply::Goodbye],
        model_loss: true,
        utterances: 1,
        said: &[Said::Nothing, Said::Words],
        stream_stops: true,
        sometimes: &["goodbye, unspoken", "ended by the model", "ended by goodbye", "ended by a lost stream"],
        ..quiet("loss")
    }
}

/// Greeting × its protection × speech × texts that do not wait (G1, B5, R3).
pub fn greeting() -> Scope {
    Scope {
        config: CallConfig {
            greeting: Some("Hello.".to_owned()),
            protect_greeting: ProtectGreeting::First(ms(40)),
            carrier_recording: true,
            ..config()
        },
        asked: false,
        deltas: 1,
        utterances: 1,
        said: &[Said::Nothing, Said::Words],
        starts_again: 1,
        forced_texts: 1,
        sometimes: &["a turn is answered", "an operator's text is asked for", "an interruption", "a hold"],
        ..quiet("greeting")
    }
}

/// Silence × a goodbye asked for that fails, or that the caller interrupts (N8, H2, H7).
pub fn silence() -> Scope {
    Scope {
        config: CallConfig { silence_max: Some(ms(100)), ..config() },
        asked: false,
        deltas: 1,
        failures: 1,
        utterances: 1,
        sometimes: &[
            "silence is broken",
            "a goodbye is asked for",
            "a goodbye that came to nothing",
            "a goodbye is withdrawn",
            "ended by silence",
        ],
        ..quiet("silence")
    }
}

/// Silence, and a goodbye that the model cannot say (H2).
pub fn unspoken() -> Scope {
    Scope {
        failures: 2,
        rejections: 1,
        utterances: 0,
        sometimes: &["a goodbye that came to nothing", "goodbye, unspoken", "ended by silence"],
        ..Scope { name: "unspoken", ..silence() }
    }
}

/// Marks in order, late, lost and flushed × items × interruption × cancellation (A2–A8, B1, B2).
pub fn marks() -> Scope {
    Scope {
        items: 2,
        deltas: 1,
        announcements: true,
        utterances: 1,
        said: &[Said::Nothing, Said::Words],
        marks_get_lost: true,
        marks_come_late: true,
        sometimes: &[
            "a mark is lost",
            "playing goes on after a hold",
            "an item heard in part is truncated",
            "an unheard item is deleted",
        ],
        ..quiet("marks")
    }
}

/// More of the same, for an hour's patience: run by hand.
pub fn larger() -> Vec<Scope> {
    vec![
        Scope { deltas: 2, delta_ms: 40, marks_get_lost: true, ..Scope { name: "goodbye, larger", ..goodbye() } },
        Scope {
            deltas: 2,
            delta_ms: 40,
            said: &[Said::Nothing, Said::BackChannel, Said::Words, Said::Unknown],
            ..Scope { name: "hold, larger", ..hold() }
        },
        Scope { rejections: 1, failures: 1, ..Scope { name: "asking, larger", ..asking() } },
        Scope {
            tools: 2,
            utterances: 0,
            sometimes: &["a tool's result is spoken about", "ended by goodbye"],
            ..Scope { name: "tools, larger", ..tools() }
        },
        Scope { deltas: 2, ..Scope { name: "marks, larger", ..marks() } },
    ]
}
