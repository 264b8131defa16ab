//! What a run comes to: figures, a table of them that fits a terminal, and the largest number of calls within limits.

use std::fmt::Write as _;

use serde::Serialize;

use super::child::{Cpu, Pinning};
use super::measure::{Measured, Spread};
use super::relay::Sends;
use super::{Args, RuntimeShape, Workload, load};

#[derive(Serialize)]
pub struct Report {
    pub version: u32,
    pub machine: Machine,
    pub build: Build,
    pub settings: Settings,
    pub steps: Vec<Step>,
    /// The largest number of calls of Patchcord's steps at which everything stayed within the limits, and so it did at
    /// every smaller one. `None`: not even at the smallest.
    pub calls_within_limits: Option<usize>,
    /// What `max_calls` should be on one such core: that, and room for what a bench does not do.
    pub max_calls_recommended: Option<usize>,
}

/// Of what a core carries, what it should be asked to carry: the rest is for calls that begin and end, tools, an
/// operator's requests, and neighbours on the machine.
const RECOMMENDED_PERCENT: usize = 80;

#[derive(Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub pinning: Pinning,
}

#[derive(Serialize)]
pub struct Build {
    pub version: &'static str,
    /// Figures of anything but a release build say nothing about one.
    pub optimised: bool,
}

#[derive(Serialize)]
pub struct Settings {
    pub workload: Workload,
    pub seconds: u64,
    pub tls: bool,
    pub group_ms: u32,
    pub recording: bool,
    pub runtime: RuntimeShape,
    pub blocked: u32,
    pub refused: u32,
    pub search: bool,
    pub answer_ms: u64,
    pub delta_ms: u64,
    pub faster_than_heard: u64,
    pub limits: Limits,
}

/// What counts as carried.
#[derive(Clone, Copy, Serialize)]
pub struct Limits {
    /// 99 % of the latencies added to either direction.
    pub latency_ms: f64,
    pub underruns_percent: f64,
}

/// What was under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum Target {
    Patchcord,
    Relay { sends: Sends },
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Target::Patchcord => "patchcord",
            Target::Relay { sends: Sends::Frames } => "relay, frames",
            Target::Relay { sends: Sends::Deltas } => "relay, deltas",
        }
    }
}

/// One number of calls through one target.
#[derive(Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub target: Target,
    pub calls: usize,
    /// That had their stream at the end of the measured time, and that broke.
    pub streaming: usize,
    pub lost: usize,
    /// That read nothing and are not measured; that were told that the line is busy.
    pub blocked: usize,
    pub refused: usize,
    pub measured_seconds: f64,
    /// Of the process under load: ms of CPU for each second of each call.
    pub cpu_ms_per_call_second: CpuCost,
    /// Share of its core that it took.
    pub core_percent: f64,
    /// The same as the first of the step's relays, which is 1; by what each sends.
    pub cost_to_relay: Vec<Ratio>,
    /// Share of one core that the load took, and how late it was. Beyond 90 % or 5 ms its figures are its own.
    pub load_core_percent: f64,
    pub load_lateness: Option<Spread>,
    pub load_gave_out: bool,
    pub idle_rss_kib: u64,
    /// Memory for each call, without what the idle process has; and how much of it is audio that waits to be sent.
    pub rss_kib_per_call: f64,
    pub queued_kib_per_call: f64,
    /// What is left of it half a second after all have hung up.
    pub left_kib_per_call: f64,
    /// Sockets that were open then, and connections that were not closed for ten seconds.
    pub left_open: usize,
    pub left_for_good: usize,
    /// Latency added to every frame of the caller, and to the first one of each of the agent's utterances.
    pub uplink: Option<Spread>,
    pub first_frame: Option<Spread>,
    /// From the model's word that the caller speaks to the `clear` at the carrier.
    pub clear: Option<Spread>,
    /// Between messages of audio, and how far that is from their pace.
    pub gap: Option<Spread>,
    pub jitter: Option<Spread>,
    /// Truncation against what was heard.
    pub truncation: Option<Spread>,
    pub truncations_within_20_ms: Option<f64>,
    pub setup: Option<Spread>,
    pub underruns: u64,
    pub underruns_percent: f64,
    pub starved_ms: f64,
    pub frames_up: u64,
    pub frames_down: u64,
    pub messages_down: u64,
    pub marks: u64,
    pub responses: u64,
    pub barge_ins: u64,
    pub within_limits: bool,
    /// The first things that went wrong, those that the process logged among them.
    pub problems: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
pub struct CpuCost {
    pub user: f64,
    pub system: f64,
    pub total: f64,
}

#[derive(Serialize)]
pub struct Ratio {
    pub sends: Sends,
    pub ratio: f64,
}

/// A step before it was reckoned up.
pub(crate) struct Raw {
    pub lasted: f64,
    pub cpu: Cpu,
    pub own: Cpu,
    pub idle: u64,
    pub live: u64,
    pub queued: u64,
    pub left: u64,
    pub streaming: usize,
    pub blocked: usize,
    pub refused: usize,
    pub lost: usize,
    pub left_open: usize,
    pub left_for_good: usize,
    pub problems: Vec<String>,
}

impl Step {
    pub(crate) fn new(target: Target, calls: usize, raw: Raw, measured: &mut Measured) -> Step {
        let call_seconds = raw.lasted * calls as f64;
        let a_call_second = |seconds: f64| round(seconds * 1e3 / call_seconds, 3);
        let kib_a_call = |bytes: u64| round(bytes.saturating_sub(raw.idle) as f64 / 1024.0 / calls as f64, 1);
        let load_core_percent = round(raw.own.total() / raw.lasted * 1e2, 1);
        let load_lateness = measured.lateness.spread();
        Step {
            target,
            calls,
            streaming: raw.streaming,
            lost: raw.lost,
            blocked: raw.blocked,
            refused: raw.refused,
            measured_seconds: round(raw.lasted, 3),
            cpu_ms_per_call_second: CpuCost {
                user: a_call_second(raw.cpu.user),
                system: a_call_second(raw.cpu.system),
                total: a_call_second(raw.cpu.total()),
            },
            core_percent: round(raw.cpu.total() / raw.lasted * 1e2, 1),
            cost_to_relay: Vec::new(),
            load_gave_out: load_core_percent > 90.0 || load_lateness.is_some_and(|late| late.p99_ms > 5.0),
            load_core_percent,
            load_lateness,
            idle_rss_kib: raw.idle / 1024,
            rss_kib_per_call: kib_a_call(raw.live),
            queued_kib_per_call: round(raw.queued as f64 / 1024.0 / calls as f64, 1),
            left_kib_per_call: kib_a_call(raw.left),
            left_open: raw.left_open,
            left_for_good: raw.left_for_good,
            uplink: measured.uplink.spread(),
            first_frame: measured.first_frame.spread(),
            clear: measured.clear.spread(),
            gap: measured.gap.spread(),
            jitter: measured.jitter.spread(),
            truncations_within_20_ms: (measured.truncation.spread().is_some())
                .then(|| round(measured.truncation.share_within(20_000), 5)),
            truncation: measured.truncation.spread(),
            setup: measured.setup.spread(),
            underruns: measured.underruns,
            underruns_percent: round(measured.underruns as f64 / measured.messages_down.max(1) as f64 * 1e2, 3),
            starved_ms: measured.starved_micros as f64 / 1e3,
            frames_up: measured.frames_up,
            frames_down: measured.frames_down,
            messages_down: measured.messages_down,
            marks: measured.marks,
            responses: measured.responses,
            barge_ins: measured.barge_ins,
            within_limits: false,
            problems: raw.problems,
        }
    }

    fn is_within(&self, limits: Limits) -> bool {
        let latencies = [self.uplink, self.first_frame];
        self.lost == 0
            && self.holds_all()
            && latencies.iter().all(|spread| spread.is_some_and(|spread| spread.p99_ms < limits.latency_ms))
            && self.underruns_percent < limits.underruns_percent
    }

    fn holds_all(&self) -> bool {
        self.streaming + self.blocked == self.calls
    }
}

impl Report {
    pub(crate) fn new(args: &Args, pinning: Pinning, limits: Limits) -> Report {
        let (cpu, cores) = processor();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        Report {
            version: 1,
            machine: Machine { cpu, cores, kernel, pinning },
            build: Build { version: env!("CARGO_PKG_VERSION"), optimised: !cfg!(debug_assertions) },
            settings: Settings {
                workload: args.workload,
                seconds: args.seconds,
                tls: args.tls,
                group_ms: args.group_ms,
                recording: args.recording,
                runtime: args.runtime,
                blocked: args.blocked,
                refused: args.refused,
                search: args.search,
                answer_ms: load::ANSWER_MS,
                delta_ms: load::DELTA_MS,
                faster_than_heard: load::FASTER,
                limits,
            },
            steps: Vec::new(),
            calls_within_limits: None,
            max_calls_recommended: None,
        }
    }

    /// A step's relays come before it.
    pub(crate) fn add(&mut self, mut step: Step) {
        step.within_limits = step.is_within(self.settings.limits);
        if step.target == Target::Patchcord {
            let relays = self.steps.iter().filter(|relay| relay.calls == step.calls);
            let ratio = |relay: &Step| {
                let Target::Relay { sends } = relay.target else { return None };
                let floor = relay.cpu_ms_per_call_second.total;
                let ratio = round(step.cpu_ms_per_call_second.total / floor, 2);
                (floor > 0.0).then_some(Ratio { sends, ratio })
            };
            step.cost_to_relay = relays.filter_map(ratio).collect();
        }
        self.steps.push(step);
    }

    /// All steps are there.
    pub(crate) fn close(&mut self) {
        // A search goes up and down.
        let ours = || self.steps.iter().filter(|step| step.target == Target::Patchcord);
        let too_many = ours().filter(|step| !step.within_limits).map(|step| step.calls).min();
        let carried = ours().map(|step| step.calls).filter(|calls| too_many.is_none_or(|bad| *calls < bad));
        self.calls_within_limits = carried.max();
        self.max_calls_recommended = self.calls_within_limits.map(|calls| (calls * RECOMMENDED_PERCENT / 100).max(1));
    }

    pub(crate) fn last_is_within(&self) -> bool {
        self.steps.last().is_some_and(|step| step.within_limits)
    }

    /// Whether no call was lost and none left anything open.
    pub(crate) fn is_sound(&self) -> bool {
        // A search has to come to where calls are lost.
        let mut asked = self.steps.iter().filter(|step| !self.settings.search || step.within_limits);
        asked.all(|step| {
            let refused = if step.target == Target::Patchcord { self.settings.refused as usize } else { 0 };
            step.lost == 0 && step.holds_all() && step.refused == refused && step.left_for_good == 0
        })
    }

    /// At most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let Report { machine, build, settings, .. } = self;
        writeln!(out, "{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel)?;
        writeln!(
            out,
            "patchcord {}{}; server on core {}, load on {}",
            build.version,
            if build.optimised { "" } else { ", NOT an optimised build" },
            machine.pinning.server_core,
            if machine.pinning.shared {
                "the same: there is no other".to_owned()
            } else {
                cores(&machine.pinning.load_cores)
            },
        )?;
        writeln!(
            out,
            "{}, {} s a step, {} ms a message, {}, {}\n",
            match settings.workload {
                Workload::Steady => "steady",
                Workload::BargeIn => "barge-in",
                Workload::Burst => "burst",
            },
            settings.seconds,
            settings.group_ms,
            if settings.tls { "TLS to the model" } else { "no TLS" },
            if settings.recording { "recorded and traced" } else { "neither recorded nor traced" },
        )?;
        writeln!(out, "               CPU ms per call-second  × relay server   load      KiB a call")?;
        writeln!(out, "calls  target          user   sys  total         core % core %  live queue left")?;
        for step in &self.steps {
            let CpuCost { user, system, total } = step.cpu_ms_per_call_second;
            let ratios: Vec<String> = step.cost_to_relay.iter().map(|ratio| format!("{:.2}", ratio.ratio)).collect();
            writeln!(
                out,
                "{:5}  {:13} {user:6.2} {system:5.2} {total:6.2} {:>8} {:6.1} {:6.1} {:5.0} {:5.0} {:4.0}",
                step.calls,
                step.target.name(),
                ratios.join(" "),
                step.core_percent,
                step.load_core_percent,
                step.rss_kib_per_call,
                step.queued_kib_per_call,
                step.left_kib_per_call,
            )?;
        }
        writeln!(out, "\n               uplink ms    first frame  clear ms     jitter  under-  truncated")?;
        writeln!(out, "calls  target    p50   p99    p50   p99    p50   p99    p99  runs %  ±20 ms %")?;
        for step in &self.steps {
            let both = |spread: Option<Spread>| match spread {
                Some(spread) => format!("{:5.1} {:5.1}", spread.p50_ms, spread.p99_ms),
                None => format!("{:>5} {:>5}", "–", "–"),
            };
            writeln!(
                out,
                "{:5} {:>9} {}  {}  {} {:>6} {:7.2} {:>9}",
                step.calls,
                match step.target {
                    Target::Patchcord => "patchcord",
                    Target::Relay { .. } => "relay",
                },
                both(step.uplink),
                both(step.first_frame),
                both(step.clear),
                step.jitter.map_or("–".to_owned(), |jitter| format!("{:.1}", jitter.p99_ms)),
                step.underruns_percent,
                step.truncations_within_20_ms.map_or("–".to_owned(), |share| format!("{:.2}", share * 1e2)),
            )?;
        }
        writeln!(out)?;
        let Limits { latency_ms, underruns_percent } = settings.limits;
        let limits = format!("p99 below {latency_ms} ms added, below {underruns_percent} % underruns");
        match self.calls_within_limits {
            Some(calls) => {
                writeln!(out, "{calls} calls on one core within limits: {limits}")?;
                let recommended = self.max_calls_recommended.unwrap_or(calls);
                writeln!(out, "max_calls = {recommended}, for each such core, leaves a fifth of it for the rest")?;
            }
            None => writeln!(out, "no step within limits: {limits}")?,
        }
        for step in self.steps.iter().filter(|step| step.blocked + step.refused > 0) {
            let Step { calls, blocked, refused, .. } = step;
            writeln!(out, "{calls} calls: {blocked} read nothing; {refused} more were refused")?;
        }
        for step in &self.steps {
            if let Some(truncation) = step.truncation {
                let (count, worst) = (truncation.count, truncation.max_ms);
                writeln!(out, "{} calls: of {count} truncations the worst was {worst:.1} ms off", step.calls)?;
            }
        }
        for step in self.steps.iter().filter(|step| step.load_gave_out) {
            let CpuCost { total, .. } = step.cpu_ms_per_call_second;
            writeln!(
                out,
                "{} calls, {}: the load gave out first; by CPU alone, {:.0} a core",
                step.calls,
                step.target.name(),
                1e3 / total.max(0.001)
            )?;
        }
        for step in &self.steps {
            for problem in &step.problems {
                writeln!(out, "{} calls, {}: {problem}", step.calls, step.target.name())?;
            }
        }
        Ok(())
    }
}

fn cores(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// What the system calls it, and how many there are.
fn processor() -> (String, usize) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    (name.map_or("unknown processor".to_owned(), |(_, name)| name.trim().to_owned()), cores)
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
