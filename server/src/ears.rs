//! Our own ears beside a model that is elsewhere (B4, B7, O3): what a call's driver has of them. They hear, and decide
//! nothing; what follows from it is the call's.

use std::time::Duration;

use call::EarInput;

use crate::agent::Agent;
use crate::check::Finding;
use crate::config::{Audio, Config};

#[cfg(feature = "voice")]
pub(crate) use ::voice::ears::Ears;

/// In a build without the feature voice there are none.
#[cfg(not(feature = "voice"))]
#[derive(Clone)]
pub(crate) enum Ears {}

/// Starts to listen, if an agent wants it. Without weights there are no ears, and the log says what to do: calls go on as
/// with `simple_mode`.
///
/// # Errors
/// If a file of the weights is damaged.
#[cfg(feature = "voice")]
pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Ears>> {
    if !config.agents.iter().any(|agent| agent.audio.wants_ears()) {
        return Ok(None);
    }
    let weights = match ::voice::Weights::open(&crate::local::folder_of(config)) {
        Ok(weights) => weights,
        Err(::voice::Error::Missing(file)) => {
            let (file, run) = (file.display(), crate::local::pull_command(config));
            tracing::error!(missing = %file, "there are no local ears without weights; run `{run}`");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let ears = Ears::start(&weights, config.ears_max, config.ears_backlog_frames)?;
    tracing::info!(ears_max = config.ears_max, "local ears are ready");
    Ok(Some(ears))
}

#[cfg(not(feature = "voice"))]
pub(crate) fn start(_: &Config) -> anyhow::Result<Option<Ears>> {
    Ok(None)
}

/// Whether agents have the ears that they want. `None`: none wants any.
pub(crate) fn finding(config: &Config) -> Option<Finding> {
    let wanting = config.agents.iter().filter(|agent| agent.audio.wants_ears());
    let names: Vec<&str> = wanting.map(|agent| agent.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let names = names.join(", ");
    #[cfg(feature = "voice")]
    if let Some(missing) = crate::local::missing(config) {
        let what = format!("{names}: no local ears, since {} is missing", missing.display());
        return Some(Finding::warn("ears", what, format!("run `{}`", crate::local::pull_command(config))));
    }
    Some(Finding::ok("ears", format!("{names}: up to {} calls are listened to", config.ears_max)))
}

/// What listens to one call.
pub(crate) struct CallEars {
    gate: Option<NoiseGate>,
    #[cfg(feature = "voice")]
    ear: Option<(::voice::ears::Ear, tokio::sync::mpsc::Receiver<EarInput>)>,
}

/// Whether a call has the ear that its agent wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admitted {
    Yes,
    /// As many calls as may be are listened to.
    TooMany,
}

impl CallEars {
    pub(crate) fn new(agent: &Agent, ears: Option<&Ears>) -> (CallEars, Admitted) {
        let audio = &agent.audio;
        let gate = (!audio.simple_mode && audio.noise_gate_min_frames > 0).then(|| NoiseGate::new(audio));
        #[cfg(feature = "voice")]
        {
            let wanted = ears.filter(|_| audio.wants_ears());
            let ear = wanted.and_then(|ears| ears.ear(audio.ear_settings()));
            let admitted = if wanted.is_some() && ear.is_none() { Admitted::TooMany } else { Admitted::Yes };
            (CallEars { gate, ear }, admitted)
        }
        #[cfg(not(feature = "voice"))]
        {
            let _ = ears;
            (CallEars { gate }, Admitted::Yes)
        }
    }

    /// Whether anything listens, and the samples are wanted.
    pub(crate) fn are_there(&self) -> bool {
        #[cfg(feature = "voice")]
        if self.ear.is_some() {
            return true;
        }
        self.gate.is_some()
    }

    /// A media stream began: what was heard before says nothing of it. A gate is shut at first.
    pub(crate) fn stream_began(&mut self) -> Option<EarInput> {
        #[cfg(feature = "voice")]
        if let Some((ear, _)) = &mut self.ear {
            ear.begin_anew();
        }
        self.gate.as_mut().map(NoiseGate::shut)
    }

    /// The caller's audio (µ-law) from this moment of the call; what is to be told of it at once.
    pub(crate) fn caller(&mut self, at: Duration, audio: &[u8]) -> Option<EarInput> {
        #[cfg(feature = "voice")]
        if let Some((ear, _)) = &mut self.ear {
            ear.caller(at, audio);
        }
        let _ = at;
        self.gate.as_mut().and_then(|gate| gate.hear(audio))
    }

    /// The agent's audio (µ-law) that is expected to begin playing at this moment of the call.
    pub(crate) fn agent(&mut self, at: Duration, audio: &[u8]) {
        #[cfg(feature = "voice")]
        if let Some((ear, _)) = &mut self.ear {
            ear.agent(at, audio);
        }
        let _ = (at, audio);
    }

    /// Nothing of the agent after this moment is played.
    pub(crate) fn cleared(&mut self, at: Duration) {
        #[cfg(feature = "voice")]
        if let Some((ear, _)) = &mut self.ear {
            ear.cleared(at);
        }
        let _ = at;
    }

    /// What the ear tells next; without one, nothing ever comes.
    pub(crate) async fn next(&mut self) -> Option<EarInput> {
        #[cfg(feature = "voice")]
        if let Some((_, facts)) = &mut self.ear {
            return facts.recv().await;
        }
        std::future::pending().await
    }
}

/// Tells what may be a voice from what is too quiet, or loud for too short a time (O3). Costs a look at each sample, so it
/// is done on the spot.
#[derive(Clone, Debug)]
pub(crate) struct NoiseGate {
    min_frames: u32,
    /// Mean square of a loud frame.
    power: f64,
    /// Frames in a row that were loud, or were not.
    loud: u32,
    quiet: u32,
    open: bool,
}

/// Frames that are quiet before a gate shuts: half a second, the closing silence of most models, so that they hear a
/// sentence end in its own silence.
const HANG_FRAMES: u32 = 25;

impl NoiseGate {
    fn new(audio: &Audio) -> Self {
        let power = 10.0_f64.powf(audio.noise_gate_dbfs / 10.0) * 32_768.0_f64.powi(2);
        NoiseGate { min_frames: audio.noise_gate_min_frames, power, loud: 0, quiet: 0, open: false }
    }

    fn shut(&mut self) -> EarInput {
        (self.loud, self.quiet, self.open) = (0, 0, false);
        EarInput::Quiet
    }

    /// Hears one frame; says so when the gate opens or shuts for those that follow.
    fn hear(&mut self, audio: &[u8]) -> Option<EarInput> {
        let sum: f64 = audio.iter().map(|&byte| f64::from(call::g711::decode(byte)).powi(2)).sum();
        if sum >= self.power * audio.len().max(1) as f64 {
            (self.loud, self.quiet) = (self.loud.saturating_add(1), 0);
        } else {
            (self.loud, self.quiet) = (0, self.quiet.saturating_add(1));
        }
        if !self.open && self.loud >= self.min_frames {
            self.open = true;
            return Some(EarInput::Loud);
        }
        if self.open && self.quiet >= HANG_FRAMES {
            return Some(self.shut());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(min_frames: u32) -> NoiseGate {
        NoiseGate::new(&Audio { noise_gate_min_frames: min_frames, ..Audio::default() })
    }

    /// µ-law: as loud as can be, and silence.
    const LOUD: [u8; 160] = [0x80; 160];
    const QUIET: [u8; 160] = [0xFF; 160];

    fn told(gate: &mut NoiseGate, frames: &[([u8; 160], usize)]) -> Vec<(usize, EarInput)> {
        let frames = frames.iter().flat_map(|&(frame, times)| std::iter::repeat_n(frame, times));
        frames.enumerate().filter_map(|(index, frame)| Some((index, gate.hear(&frame)?))).collect()
    }

    /// Breaks when a click opens the gate, or a pause within a sentence shuts it.
    #[test]
    fn o3_the_gate_opens_for_what_lasts_and_shuts_after_half_a_second() {
        let mut gate = gate(3);
        assert_eq!(told(&mut gate, &[(QUIET, 5), (LOUD, 2), (QUIET, 5)]), []);
        let sentence = [(LOUD, 10), (QUIET, 24), (LOUD, 1), (QUIET, 30)];
        assert_eq!(told(&mut gate, &sentence), [(2, EarInput::Loud), (59, EarInput::Quiet)]);
        assert_eq!(told(&mut gate, &[(LOUD, 3)]), [(2, EarInput::Loud)]);
        // Another stream has to be loud anew.
        assert_eq!(gate.shut(), EarInput::Quiet);
        assert_eq!(told(&mut gate, &[(LOUD, 2)]), []);
    }
}
