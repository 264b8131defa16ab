//! The caller's frames, read together where several go to the model in one message (`append_frames`).
//!
//! A look at a socket costs the same whether one frame lies there or three, and is most of what a frame costs. So when a
//! group is whole, the socket is left alone until the last frame of the next should lie there. What cannot wait so long
//! is a mark, of which the moment at which it comes says what was heard (A7): when one is expected, every message is read
//! as it comes. Whatever else the carrier says may come later by what a group plays.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// By so much earlier each look comes than the one before it, until it comes too early: a carrier's clock is not ours, and
/// what is once read late would stay late for the rest of the call.
const EARLIER: Duration = Duration::from_micros(200);

/// By so much later when it was too early. Ten looks of eleven find the whole group, and no frame waits longer than this.
const LATER: Duration = Duration::from_millis(2);

pub(crate) struct Together {
    /// What a group plays.
    span: Duration,
    /// Left alone until then.
    until: Instant,
    /// A mark is expected then.
    expected: Option<Instant>,
    /// Since it was last left alone: a group became whole, and something was waited for.
    whole: bool,
    waited: bool,
    /// A group was begun.
    partial: bool,
    /// Rings when it is to be looked at.
    alarm: Pin<Box<Sleep>>,
}

impl Together {
    pub(crate) fn new(frames: u32) -> Self {
        let until = Instant::now();
        Together {
            span: frames * Duration::from_millis(20),
            until,
            expected: None,
            whole: false,
            waited: false,
            partial: false,
            alarm: Box::pin(sleep_until(until)),
        }
    }

    /// Ready while the socket is to be looked at.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.rests_until(Instant::now()) {
            if until != self.alarm.deadline() || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(until);
            }
            ready!(self.alarm.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    /// What was made of each message that was read: when a mark should come back, if one is out, and whether a group was
    /// begun that is not whole.
    pub(crate) fn made(&mut self, mark: Option<Instant>, partial: bool) {
        self.expected = mark;
        // A mark that comes between two groups says nothing of when a group does.
        self.whole |= self.partial && !partial;
        self.partial = partial;
    }

    /// When to look again, if that is later than now.
    fn rests_until(&self, now: Instant) -> Option<Instant> {
        let until = self.expected.map_or(self.until, |expected| expected.min(self.until));
        (now < until).then_some(until)
    }

    /// Nothing more lies there.
    pub(crate) fn found_nothing(&mut self, now: Instant) {
        // For a mark it is looked at in between.
        if now < self.until {
            return;
        }
        if !self.whole || self.partial {
            self.waited = true;
            return;
        }
        let next = if self.waited { now + LATER } else { self.until.max(now - self.span) - EARLIER };
        self.until = next + self.span;
        (self.whole, self.waited) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// A carrier whose frames come every 20 ms of a clock that is by so much too slow, for a minute; looks at its socket as
    /// the driver does. How often it looked, and how long the last frame of a group waited at most.
    fn listen(slower: Duration, marks: &[Duration]) -> (usize, Duration) {
        let start = Instant::now();
        let mut together = Together::new(3);
        let (mut now, mut looks, mut waited, mut gathered) = (start, 0, Duration::ZERO, 0);
        let mut marks = marks.iter().map(|at| start + *at).peekable();
        let mut frames = (1..).map(|frame| start + frame * (FRAME + slower)).peekable();
        while now < start + Duration::from_secs(60) {
            together.made(marks.peek().copied(), gathered != 0);
            if let Some(until) = together.rests_until(now) {
                now = until;
                continue;
            }
            looks += 1;
            while marks.next_if(|at| *at <= now).is_some() {
                together.made(marks.peek().copied(), gathered != 0);
            }
            while let Some(came) = frames.next_if(|at| *at <= now) {
                gathered = (gathered + 1) % 3;
                together.made(marks.peek().copied(), gathered != 0);
                if gathered == 0 && now > start + Duration::from_secs(1) {
                    waited = waited.max(now - came);
                }
            }
            together.found_nothing(now);
            if together.rests_until(now).is_none() {
                let next = [marks.peek(), frames.peek()].into_iter().flatten().min().copied();
                now = next.expect("frames go on");
            }
        }
        (looks, waited)
    }

    #[tokio::test]
    async fn a_group_is_read_in_little_more_than_one_look_and_at_once_when_it_is_whole() {
        for slower in [Duration::ZERO, Duration::from_micros(2)] {
            let (looks, waited) = listen(slower, &[]);
            assert!((1_000..1_150).contains(&looks), "{looks}");
            assert!(waited <= LATER, "{waited:?}");
        }
    }

    /// Breaks when a mark that comes between two groups is taken for the end of one: the next is read 6 ms late.
    #[tokio::test]
    async fn a_mark_is_read_when_it_comes() {
        let marks: Vec<_> = (0..400).map(|mark| Duration::from_millis(mark * 130 + 7)).collect();
        let (looks, waited) = listen(Duration::ZERO, &marks);
        assert!((1_300..1_700).contains(&looks), "{looks}");
        assert!(waited <= LATER, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_is_time_to_look_again() {
        let start = Instant::now();
        let mut together = Together::new(3);
        let look = async |together: &mut Together| std::future::poll_fn(|cx| together.poll(cx)).await;
        let whole = |together: &mut Together| {
            together.made(None, true);
            together.made(None, false);
        };
        look(&mut together).await;
        whole(&mut together);
        together.found_nothing(Instant::now());
        look(&mut together).await;
        // 59.8, by a timer of whole milliseconds.
        assert_eq!(start.elapsed(), Duration::from_millis(60));
        // Too early; then a mark is waited for.
        together.found_nothing(Instant::now());
        whole(&mut together);
        together.found_nothing(Instant::now());
        together.made(Some(Instant::now() + Duration::from_millis(30)), false);
        look(&mut together).await;
        assert_eq!(start.elapsed(), Duration::from_millis(90));
        together.made(None, false);
        look(&mut together).await;
        assert_eq!(start.elapsed(), Duration::from_millis(60 + 62));
        // We stood still, the carrier did not.
        tokio::time::advance(Duration::from_millis(500)).await;
        whole(&mut together);
        together.found_nothing(Instant::now());
        look(&mut together).await;
        assert_eq!(start.elapsed(), Duration::from_millis(60 + 62 + 500));
    }
}
