//! Settings that contradict each other, or that no call could keep: found before a call is made, all at once.

use std::time::Duration;

use crate::config::{CallConfig, Keys, ProtectGreeting, Turns};

/// A setting that cannot stand, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The field of [`CallConfig`].
    pub setting: &'static str,
    /// A sentence for whoever wrote it.
    pub what: String,
}

/// A frame of 20 ms.
const FRAME: Duration = Duration::from_millis(20);

impl CallConfig {
    /// Every setting that is inconsistent with the rules or with another; none for the defaults.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut refuse = |wrong: bool, setting: &'static str, what: String| {
            if wrong {
                mistakes.push(Mistake { setting, what });
            }
        };
        let group = FRAME * self.group_frames;
        refuse(
            !(1..=3).contains(&self.group_frames),
            "group_frames",
            format!("{} frames in a message; it takes 1 to 3, which is 60 ms (A3)", self.group_frames),
        );
        refuse(
            self.group_frames > 1 && group > self.lead,
            "group_frames",
            format!("messages of {group:?} do not fit into a lead of {:?}: raise `lead`, or group fewer", self.lead),
        );
        let by_model = self.turns == Turns::Model;
        refuse(
            by_model && self.hold,
            "hold",
            "with turns = \"model\" the model interrupts by itself, and nothing can be held: set hold = false (T1)"
                .into(),
        );
        refuse(
            by_model && self.protect_greeting != ProtectGreeting::None,
            "protect_greeting",
            "with turns = \"model\" the model interrupts by itself, the greeting too: protect nothing (T1)".into(),
        );
        refuse(
            self.greeting.is_none() && self.protect_greeting != ProtectGreeting::None,
            "protect_greeting",
            "there is no greeting to be protected".into(),
        );
        refuse(
            self.greeting.as_ref().is_some_and(|text| text.trim().is_empty()),
            "greeting",
            "is empty: leave it out, and the caller begins".into(),
        );
        refuse(
            self.languages.is_empty(),
            "languages",
            "names none, so no goodbye would ever be understood: name at least one (H9)".into(),
        );
        for (setting, number) in [("queue_frames", self.queue_frames), ("hang_up_attempts", self.hang_up_attempts)] {
            refuse(number == 0, setting, "must be at least 1".into());
        }
        for (setting, time) in self.times() {
            refuse(time.is_zero(), setting, "must be longer than nothing".into());
        }
        for (setting, time, other, least) in [
            ("response_audio_max", self.response_audio_max, "one frame of 20 ms", FRAME),
            ("response_max", self.response_max, "response_audio_max", self.response_audio_max),
            ("response_max", self.response_max, "first_audio_timeout", self.first_audio_timeout),
            ("floor_max", self.floor_max, "hold_max", self.hold_max),
            ("carrier_silence_max", self.carrier_silence_max, "gap_fill_after", self.gap_fill_after),
            ("hold_max", self.hold_max, "min_speech", self.min_speech),
        ] {
            refuse(time < least, setting, format!("{time:?} is shorter than {other}, {least:?}: it would come first"));
        }
        if let Some(reconnect_max) = self.reconnect_max {
            refuse(
                self.clips.filler > 0 && self.filler_after >= reconnect_max,
                "filler_after",
                format!("{:?} is not before reconnect_max, {reconnect_max:?}: it would never play", self.filler_after),
            );
        }
        if let Keys::Collect { terminator, length, pause } = self.keys {
            refuse(length == Some(0), "keys", "a length of 0 collects nothing".into());
            refuse(pause.is_zero(), "keys", "a pause of 0 collects nothing: use single keys".into());
            let is_key = |key: char| key.is_ascii_digit() || matches!(key, '*' | '#' | 'A'..='D');
            refuse(
                terminator.is_some_and(|key| !is_key(key)),
                "keys",
                format!("{:?} is no key of a telephone: 0-9, *, #, A-D", terminator.unwrap_or_default()),
            );
        }
        mistakes
    }

    /// Limits of which zero would mean that nothing ever works.
    fn times(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let always = [
            ("mark_every", self.mark_every),
            ("configure_timeout", self.configure_timeout),
            ("requested_timeout", self.requested_timeout),
            ("first_audio_timeout", self.first_audio_timeout),
            ("next_output_timeout", self.next_output_timeout),
            ("cancel_timeout", self.cancel_timeout),
            ("reconnect_pause", self.reconnect_pause),
            ("hold_max", self.hold_max),
            ("ears_report_max", self.ears_report_max),
            ("announced_max", self.announced_max),
            ("hang_up_timeout", self.hang_up_timeout),
            ("tool_timeout", self.tool_timeout),
            ("call_max", self.call_max),
            ("gap_fill_after", self.gap_fill_after),
        ];
        let at_times = [
            ("reconnect_max", self.reconnect_max),
            ("resume_max", self.resume_max),
            ("silence_max", self.silence_max),
            ("pipeline_every", self.pipeline_every),
        ];
        always.into_iter().chain(at_times.into_iter().filter_map(|(setting, time)| Some((setting, time?))))
    }
}
