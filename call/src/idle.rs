//! Silence: nobody speaks, and nothing is on its way (N8).

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::time::CallTime;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Idle {
    quiet_since: Option<CallTime>,
    /// The agent asked already whether anybody is there.
    prompted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    Ask,
    SayGoodbye,
}

impl Idle {
    /// What the silence has come to.
    pub fn observe(&mut self, quiet: bool, now: CallTime, config: &CallConfig) -> Option<Silence> {
        if !quiet {
            self.quiet_since = None;
            return None;
        }
        let since = *self.quiet_since.get_or_insert(now);
        if now < since + config.silence_max? {
            return None;
        }
        self.quiet_since = None;
        Some(if std::mem::replace(&mut self.prompted, true) { Silence::SayGoodbye } else { Silence::Ask })
    }

    /// The caller is there.
    pub fn caller_spoke(&mut self) {
        self.prompted = false;
    }

    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        Some(self.quiet_since? + config.silence_max?)
    }

    /// Nothing at all when silence never comes to anything.
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Idle { quiet_since: _, prompted } = self;
        if config.silence_max.is_some() {
            print.until_some(self.deadline(config));
            print.put(*prompted);
        }
    }
}
