//! How long the caller waited for a voice, by the samples of the recording: what both sides said, and when, as they heard
//! it. Everything else that is measured believes somebody; this does not.
//!
//! A stretch of 10 ms is *loud* if its mean amplitude is at least [`LOUD`]. An *answer* is the agent's first loud stretch
//! after the caller was the last to be loud, if the caller said something (not a click) and is not saying it still. So a
//! caller who interrupts is answered too, and one who is talked over is not.

use std::time::Duration;

use call::g711;

/// Of 32,124, the loudest sample of µ-law: −40 dB. Above the noise of lines and comfort noise, below soft speech.
const LOUD: u32 = 320;

/// 10 ms: shorter than any sound of speech, longer than a period of any voice.
const STRETCH: usize = 80;

/// What the caller has to have been loud for, in all, since the agent last was: less is a click or a breath.
const SAID_MIN: u32 = 10;

/// Answers in one recording; as many as the record keeps.
const ANSWERS_MAX: usize = 512;

/// Listens to interleaved stereo µ-law, caller left, as it is written.
#[derive(Debug, Default)]
pub(crate) struct Voices {
    /// Stretches so far.
    at: u64,
    stretch: Sums,
    /// End of the caller's last loud stretch, and how many there were since the agent's.
    caller_until: u64,
    caller_said: u32,
    answers: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Sums {
    samples: usize,
    caller: u32,
    agent: u32,
}

impl Voices {
    pub(crate) fn hear(&mut self, audio: &[u8]) {
        for pair in audio.chunks_exact(2) {
            self.stretch.caller += amplitude(pair[0]);
            self.stretch.agent += amplitude(pair[1]);
            self.stretch.samples += 1;
            if self.stretch.samples == STRETCH {
                self.end_stretch();
            }
        }
    }

    /// From the caller's last loud sample to the agent's first one, for each answer.
    pub(crate) fn answers(self) -> Vec<Duration> {
        self.answers
    }

    fn end_stretch(&mut self) {
        let Sums { samples, caller, agent } = std::mem::take(&mut self.stretch);
        let is_loud = |sum: u32| sum >= LOUD * samples as u32;
        let (begins, ends) = (self.at, self.at + 1);
        self.at = ends;
        if is_loud(caller) {
            self.caller_until = ends;
            self.caller_said += 1;
        }
        if is_loud(agent) {
            if self.caller_said >= SAID_MIN && !is_loud(caller) && self.answers.len() < ANSWERS_MAX {
                self.answers.push(Duration::from_millis((begins - self.caller_until) * 10));
            }
            self.caller_said = 0;
        }
    }
}

fn amplitude(sample: u8) -> u32 {
    u32::from(g711::decode(sample).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little softer than loud, and a little louder than soft.
    const SOFT: u8 = g711::encode(LOUD as i16 - 20);
    const SPOKEN: u8 = g711::encode(LOUD as i16 + 20);

    fn answers(what: &[(u64, u8, u8)]) -> Vec<u64> {
        let mut voices = Voices::default();
        for (millis, caller, agent) in what {
            voices.hear(&[*caller, *agent].repeat(*millis as usize * 8));
        }
        voices.answers().iter().map(|answer| answer.as_millis() as u64).collect()
    }

    #[test]
    fn an_answer_comes_after_the_caller_s_last_loud_sample() {
        let calm = 0xFF;
        assert!(answers(&[(500, calm, SPOKEN), (300, calm, calm)]).is_empty());
        let turn = [(1_000, SPOKEN, calm), (730, SOFT, SOFT), (400, calm, SPOKEN), (200, calm, calm)];
        assert_eq!(answers(&turn), [730]);
        // A pause in what the agent says is no second answer.
        let paused =
            [(1_000, SPOKEN, calm), (500, calm, calm), (400, calm, SPOKEN), (300, calm, calm), (90, calm, SPOKEN)];
        assert_eq!(answers(&paused), [500]);
    }

    #[test]
    fn who_interrupts_is_answered_and_who_is_talked_over_is_not() {
        let calm = 0xFF;
        let interrupts =
            [(500, calm, SPOKEN), (200, SPOKEN, SPOKEN), (900, SPOKEN, calm), (640, calm, calm), (90, calm, SPOKEN)];
        assert_eq!(answers(&interrupts), [640]);
        let talked_over = [(900, SPOKEN, calm), (300, SPOKEN, SPOKEN), (50, SPOKEN, calm), (20, calm, SPOKEN)];
        assert!(answers(&talked_over).is_empty());
    }

    #[test]
    fn a_click_is_not_answered() {
        let calm = 0xFF;
        assert!(answers(&[(90, SPOKEN, calm), (500, calm, calm), (90, calm, SPOKEN)]).is_empty());
    }
}
