//! Ears beside the model's, as a driver may have them (B4, O3): they judge by loudness alone, tell it a little late,
//! and are sometimes wrong. Better ones come from whoever makes a world: [`Listen`].

use std::ops::Range;
use std::time::Duration;

use call::EarInput;
use call::wire::payload;
use call::wire::twilio::{self, FromCarrier};

use crate::model::vad::{Heard, Vad, VadSettings};

/// What listens to one call, and is given what a driver gives to its ears: what a recording has of both voices.
pub trait Listen {
    /// A media stream began: what was heard before says nothing of it.
    fn stream_began(&mut self);

    /// µ-law of the caller from this moment of the call; what is to be told of it.
    fn caller(&mut self, at: Duration, audio: &[u8]) -> Vec<EarInput>;

    /// µ-law of the agent that is expected to begin playing at this moment of the call.
    fn agent(&mut self, at: Duration, audio: &[u8]);

    /// Nothing of the agent after this moment is played.
    fn cleared(&mut self, at: Duration);
}

/// How good the ears are.
#[derive(Clone, PartialEq, Debug)]
pub struct EarsPlan {
    /// From a sound to what is told of it.
    pub delay: Duration,
    /// Silence that ends speech.
    pub silence: Duration,
    /// Told at these times, whatever is heard.
    pub wrong: Vec<(Duration, EarInput)>,
    /// What comes meanwhile counts as too quiet to be a voice.
    pub quiet: Vec<Range<Duration>>,
}

pub struct Ears {
    vad: Vad,
    plan: EarsPlan,
}

impl Ears {
    pub fn new(plan: EarsPlan) -> Self {
        Ears { vad: Vad::default(), plan }
    }

    /// Hears a message of the carrier; what is to be told of it, and how much later.
    pub fn hear(&mut self, text: &str) -> Vec<(Duration, EarInput)> {
        let facts = match twilio::read(text) {
            Ok(FromCarrier::Start(_)) => {
                self.vad = Vad::default();
                vec![EarInput::Listening]
            }
            Ok(FromCarrier::Media { payload, .. }) => {
                let mut audio = Vec::new();
                if payload::decode_into(&payload, &mut audio).is_err() {
                    return Vec::new();
                }
                let silence_ms = u32::try_from(self.plan.silence.as_millis()).unwrap_or(u32::MAX);
                let heard = self.vad.hear(&audio, VadSettings::new(0.5, silence_ms));
                heard.iter().map(told).collect()
            }
            Ok(_) | Err(_) => Vec::new(),
        };
        facts.into_iter().map(|fact| (self.plan.delay, fact)).collect()
    }
}

fn told(heard: &Heard) -> EarInput {
    match heard {
        Heard::Started { .. } => EarInput::SpeechStarted,
        Heard::Stopped { .. } => EarInput::SpeechStopped,
    }
}
