//! Where audio waits, and whose fault it is (O1, O2). It only looks and tells; nothing here changes a call.

use std::time::Duration;

use serde::Serialize;

use crate::config::CallConfig;
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pipeline {
    /// When the next line is due; its own clock, so that it comes when every peer is silent.
    next: Option<CallTime>,
    since: Since,
    /// The model's response is being heard faster than it comes, since this moment.
    starving: Option<CallTime>,
    warned: [Option<CallTime>; 3],
}

/// What came together since the last line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Since {
    frames: u64,
    agent_bytes: u64,
    blocked: Duration,
    starved: Duration,
    latest_wake: Duration,
}

/// One look at a call's pipeline, every 3 s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Line {
    /// Frames of 20 ms in the paced queue, and behind it (A1).
    pub tx_queue: u32,
    pub out_queue: u32,
    /// Frames sent since the last line, and per second.
    pub frames: u64,
    pub tx_fps: u32,
    /// How long writes to the carrier waited, of that time.
    pub ws_block_ms: u32,
    /// Ms of agent audio accepted per second.
    pub delta_rate: u32,
    pub speaking: bool,
    pub verdict: Verdict,
}

/// Who keeps the caller waiting.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fine,
    /// Its audio comes slower than it is heard.
    ModelSlow,
    /// It takes our messages late, or returns marks late.
    CarrierSlow,
    /// We were woken late.
    Cpu,
}

/// A queue that has grown past what is usual (O1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Agent audio that waits to be sent.
    Agent,
    /// Caller audio that waits for the model.
    Caller,
    /// Messages that wait for the carrier's socket.
    Socket,
}

/// What the rest of the call knows that belongs into a line.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub tx_queue: u32,
    pub out_queue: u32,
    /// Frames ever sent, bytes ever accepted of the agent.
    pub frames_sent: u64,
    pub agent_bytes: u64,
    pub caller_held: Duration,
    pub speaking: bool,
    /// More of the agent is to come, and there is nothing left to play.
    pub starving: bool,
    /// A mark is this late.
    pub mark_late: Duration,
}

/// Lateness of a wake-up from which on the lead may not hide it.
const LATE_WAKE: Duration = Duration::from_millis(100);

/// Lateness of a mark that no healthy network has.
const LATE_MARK: Duration = Duration::from_millis(500);

/// Of the time between two lines, when it is somebody's fault: a tenth.
const FAULT_SHARE: u32 = 10;

impl Pipeline {
    /// We were woken so much later than we asked for.
    pub fn woken_late(&mut self, by: Duration) {
        self.since.latest_wake = self.since.latest_wake.max(by);
    }

    pub fn write_blocked(&mut self, by: Duration) {
        self.since.blocked += by;
    }

    pub fn begin(&mut self, now: CallTime, config: &CallConfig) {
        self.next = config.pipeline_every.map(|every| now + every);
    }

    pub fn deadline(&self) -> Option<CallTime> {
        self.next
    }

    /// Looks at the state of things; gives the line when it is due.
    pub fn observe(&mut self, facts: Facts, now: CallTime, config: &CallConfig) -> Option<Line> {
        match (facts.starving, self.starving) {
            (true, None) => self.starving = Some(now),
            (false, Some(since)) => {
                self.since.starved += now.since(since);
                self.starving = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        if self.next.is_none_or(|at| now < at) {
            return None;
        }
        let every = config.pipeline_every?;
        if let Some(since) = self.starving {
            self.since.starved += now.since(since);
            self.starving = Some(now);
        }
        let frames = facts.frames_sent - self.since.frames;
        let agent_ms = (facts.agent_bytes - self.since.agent_bytes) / 8;
        let per_second =
            |count: u64| u32::try_from(count * 1_000 / (every.as_millis() as u64).max(1)).unwrap_or(u32::MAX);
        let fault = every / FAULT_SHARE;
        let verdict = if self.since.latest_wake >= LATE_WAKE {
            Verdict::Cpu
        } else if self.since.blocked >= fault || facts.mark_late >= LATE_MARK {
            Verdict::CarrierSlow
        } else if self.since.starved >= fault {
            Verdict::ModelSlow
        } else {
            Verdict::Fine
        };
        let line = Line {
            tx_queue: facts.tx_queue,
            out_queue: facts.out_queue,
            frames,
            tx_fps: per_second(frames),
            ws_block_ms: u32::try_from(self.since.blocked.as_millis()).unwrap_or(u32::MAX),
            delta_rate: per_second(agent_ms),
            speaking: facts.speaking,
            verdict,
        };
        self.since = Since { frames: facts.frames_sent, agent_bytes: facts.agent_bytes, ..Since::default() };
        self.next = Some(now + every);
        Some(line)
    }

    /// The queues that have grown past what is usual, each at most once in `backlog_pause`.
    pub fn backlog(
        &mut self,
        facts: Facts,
        line: &Line,
        now: CallTime,
        config: &CallConfig,
    ) -> Option<(Queue, Duration)> {
        let agent = Duration::from_millis(20) * (facts.tx_queue.saturating_add(facts.out_queue));
        let blocked = Duration::from_millis(u64::from(line.ws_block_ms));
        let queues = [
            (Queue::Agent, agent, config.backlog_agent),
            (Queue::Caller, facts.caller_held, config.backlog_caller),
            (Queue::Socket, blocked, config.backlog_socket),
        ];
        for (index, (queue, length, usual)) in queues.into_iter().enumerate() {
            let quiet = self.warned[index].is_some_and(|warned| now < warned + config.backlog_pause);
            if length > usual && !quiet {
                self.warned[index] = Some(now);
                return Some((queue, length));
            }
        }
        None
    }
}
