//! Messages on their way, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dice::Dice;
use crate::faults::LinkFaults;

/// A message on its way.
pub struct Late<T> {
    due: Duration,
    what: T,
}

/// First in, first out, however late.
pub struct Link<T> {
    delay: Duration,
    faults: LinkFaults,
    dice: Dice,
    queue: VecDeque<Late<T>>,
}

impl<T> Link<T> {
    pub fn new(delay: Duration, faults: LinkFaults, dice: Dice) -> Self {
        Link { delay, faults, dice, queue: VecDeque::new() }
    }

    pub fn send(&mut self, what: T, now: Duration) {
        let mut due = now + self.delay + self.dice.up_to(self.faults.jitter);
        if let Some(burst) = self.faults.burst.filter(|burst| !burst.is_zero()) {
            due = burst * u32::try_from(due.as_micros().div_ceil(burst.as_micros())).unwrap_or(u32::MAX);
        }
        if let Some(stall) = self.faults.stalls.iter().find(|stall| stall.contains(&due)) {
            due = stall.end;
        }
        let after = self.queue.back().map_or(Duration::ZERO, |late| late.due);
        self.queue.push_back(Late { due: due.max(after), what });
    }

    pub fn receive(&mut self, now: Duration) -> Option<T> {
        self.queue.pop_front_if(|late| late.due <= now).map(|late| late.what)
    }

    /// The socket is gone, and what was on its way with it.
    pub fn lose(&mut self) {
        self.queue.clear();
    }

    pub fn due(&self) -> Option<Duration> {
        self.queue.front().map(|late| late.due)
    }
}

/// What comes at its own time, each apart from the others. What is due at once comes in the order in which it was put.
pub struct Agenda<T>(Vec<Late<T>>);

impl<T> Agenda<T> {
    pub fn new() -> Self {
        Agenda(Vec::new())
    }

    pub fn put(&mut self, due: Duration, what: T) {
        self.0.push(Late { due, what });
    }

    pub fn take(&mut self, now: Duration) -> Option<T> {
        let due = self.due().filter(|due| *due <= now)?;
        let index = self.0.iter().position(|late| late.due == due)?;
        Some(self.0.remove(index).what)
    }

    pub fn due(&self) -> Option<Duration> {
        self.0.iter().map(|late| late.due).min()
    }
}
