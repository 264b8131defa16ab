//! `patchcord bench`: the real server, as a process of its own on one core, between virtual carriers and virtual models
//! that this process plays on the other cores; and a minimal relay in its place, for comparison.
//!
//! What is measured, and what it means, is in `docs/performance.md`.

mod child;
mod load;
mod measure;
mod plot;
pub mod relay;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use child::{Cpu, Pinning, Process};
use load::{CALLS_MAX, Dialogue, Door, Load};
use report::{Limits, Report, Step, Target};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Calls at once; several numbers are several steps, from few to many
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u32).range(1..=CALLS_MAX as i64))]
    pub calls: Vec<u32>,
    /// How long each step is measured
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// How long calls go on before they are measured [default: until each has had its first answer]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub warm_up: Option<u64>,
    /// What the calls do
    #[arg(long, value_enum, default_value = "steady")]
    pub workload: Workload,
    /// TLS to the model
    #[arg(long)]
    pub tls: bool,
    /// Audio in one message: to the model, and to the carrier after the first of an utterance; in ms
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = PossibleValuesParser::new(["20", "40", "60"]).map(|ms| ms.parse::<u32>().unwrap_or(20)))]
    pub group_ms: u32,
    /// Record and trace every call, as a server does unless it is told otherwise
    #[arg(long)]
    pub recording: bool,
    /// So many of the calls read nothing while it is measured, for what that does to the others
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub blocked: u32,
    /// So many more calls than are admitted arrive at once while it is measured, for what that does to the others
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub refused: u32,
    /// Look for the largest number of calls within the limits, between the smallest and the largest of --calls
    #[arg(long)]
    pub search: bool,
    /// What the server's tasks run on
    #[arg(long, value_enum, default_value = "multi-thread", hide = true)]
    pub runtime: RuntimeShape,
    /// Minimal relays to compare with: one that paces the same frames, one that sends each delta on as it comes
    #[arg(long, value_enum, value_delimiter = ',', default_value = "frames")]
    pub floor: Vec<Floor>,
    /// Added latency that 99 % may reach, for the largest number of calls that the machine carries
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    pub latency_max_ms: f64,
    /// Share of frames that may come too late, in %
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub underruns_max: f64,
    /// Print what others may parse
    #[arg(long)]
    pub json: bool,
    /// Draw the figures
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(clap::ValueEnum, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Caller 1.6 s, agent 7 s, every 10 s
    Steady,
    /// The caller interrupts every answer
    BargeIn,
    /// Half of the calls arrive at once, while the other half is talking
    Burst,
}

/// One core is given to the server, so a runtime for each core is one for all calls on one thread.
#[derive(clap::ValueEnum, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeShape {
    MultiThread,
    CurrentThread,
}

impl RuntimeShape {
    /// As the command line has it.
    fn name(self) -> &'static str {
        match self {
            RuntimeShape::MultiThread => "multi-thread",
            RuntimeShape::CurrentThread => "current-thread",
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Floor {
    Frames,
    Deltas,
    None,
}

/// Calls arrive one after the other, this far apart, in no more than this.
const ARRIVAL: Duration = Duration::from_millis(5);
const ARRIVALS_MAX: Duration = Duration::from_secs(5);

/// From the last arrival to a stream for each.
const JOINED_MAX: Duration = Duration::from_secs(30);

/// After the calls, before it is looked at what they left behind; and before what is left counts as left for good.
const LEFT_BEHIND: Duration = Duration::from_millis(500);
const LEFT_FOR_GOOD: Duration = Duration::from_secs(10);

/// A process that was started is looked at when it has come to rest.
const REST: Duration = Duration::from_millis(500);

/// Descriptors that a call takes in this process and in the other one, and what either needs besides.
const DESCRIPTORS_A_CALL: u64 = 4;
const DESCRIPTORS: u64 = 256;

impl Workload {
    fn dialogue(self) -> Dialogue {
        match self {
            Workload::Steady | Workload::Burst => Dialogue::new(&[Duration::from_secs(10)]),
            // Into an answer that is still being given, and into one that has been.
            Workload::BargeIn => Dialogue::new(&[Duration::from_millis(3_500), Duration::from_millis(5_500)]),
        }
    }
}

/// Whether every step went as it should: no call was lost, and nothing was left behind.
///
/// # Errors
/// If a process cannot be started or looked at, or the picture cannot be written.
pub fn run(args: &Args) -> Result<bool> {
    let mut calls: Vec<u32> = args.calls.clone();
    calls.sort_unstable();
    calls.dedup();
    let (least, most) = (calls.first().copied().unwrap_or(1), calls.last().copied().unwrap_or(1));
    ensure!(args.blocked < least, "--blocked has to leave calls that are not");
    allow_descriptors(u64::from(most + args.refused) * DESCRIPTORS_A_CALL + DESCRIPTORS)?;
    let pinning = Pinning::choose()?;
    pinning.pin_load()?;
    let limits = Limits { latency_ms: args.latency_max_ms, underruns_percent: args.underruns_max };
    let mut report = Report::new(args, pinning.clone(), limits);
    let floors = args.floor.iter().filter_map(|floor| match floor {
        Floor::Frames => Some(Target::Relay { sends: relay::Sends::Frames }),
        Floor::Deltas => Some(Target::Relay { sends: relay::Sends::Deltas }),
        Floor::None => None,
    });
    let targets: Vec<Target> = floors.chain([Target::Patchcord]).collect();
    let mut steps = |calls: u32| -> Result<bool> {
        for target in &targets {
            if !args.json {
                eprintln!("{calls} calls: {} …", target.name());
            }
            let step = step(args, &pinning, *target, calls as usize)
                .with_context(|| format!("{calls} calls through {}", target.name()))?;
            report.add(step);
        }
        Ok(report.last_is_within())
    };
    if args.search {
        search(least, most, &mut steps)?;
    } else {
        calls.into_iter().try_for_each(|calls| steps(calls).map(drop))?;
    }
    report.close();
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&report)).with_context(|| format!("{}", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).context("the report is no JSON")?);
    } else {
        print!("{}", report.table());
    }
    Ok(report.is_sound())
}

/// Steps up by half until something gives way, and then narrows it down to a tenth.
fn search(least: u32, most: u32, is_within: &mut dyn FnMut(u32) -> Result<bool>) -> Result<()> {
    let (mut good, mut bad) = (0, most + 1);
    let mut next = least;
    while bad - good > (good / 10).max(1) {
        if is_within(next)? {
            good = next;
        } else {
            bad = next;
        }
        next = if bad > most { (good + good / 2).max(good + 1).min(most) } else { (good + bad) / 2 };
        if good == most {
            break;
        }
    }
    Ok(())
}

/// So many calls through this, from an empty process to an empty process.
fn step(args: &Args, pinning: &Pinning, target: Target, calls: usize) -> Result<Step> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let certificate = args.tls.then(|| Certificate::make(folder.path())).transpose()?;
    let dialogue = args.workload.dialogue();
    let length = dialogue.length();
    let mut load = Load::new(dialogue, certificate.as_ref().map(|certificate| certificate.server.clone()))?;
    let scheme = if args.tls { "wss" } else { "ws" };
    // A name, since a certificate for an address is a rarity.
    let model = format!("{scheme}://localhost:{}/v1/realtime", load.model_address()?.port());
    let (process, door) = match target {
        Target::Patchcord => (serve(args, pinning, &model, calls, folder.path())?, Door::Webhook),
        Target::Relay { sends } => (relay(args, pinning, &model, sends, folder.path())?, Door::Stream),
    };
    load.aim(process.address, door);
    load.run(REST, |_| false)?;
    let (idle, sockets) = (process.rss()?, process.sockets()?);

    let first = if args.workload == Workload::Burst { calls.div_ceil(2) } else { calls };
    let arrivals = (ARRIVAL * first as u32).min(ARRIVALS_MAX);
    load.arrive(first, arrivals);
    load.run(arrivals, |_| false)?;
    load.run(JOINED_MAX, |load| load.streaming() == first || load.problems().0 > 0)?;
    load.run(args.warm_up.map_or(length + Duration::from_secs(1), Duration::from_secs), |_| false)?;

    load.measure();
    let (cpu, own) = (process.cpu()?, Cpu::own()?);
    let began = std::time::Instant::now();
    load.block(args.blocked as usize)?;
    let refused = if target == Target::Patchcord { args.refused as usize } else { 0 };
    load.arrive(calls - first + refused, Duration::from_millis(100));
    let seconds = Duration::from_secs(args.seconds);
    load.run(seconds / 2, |_| false)?;
    let half_way = (process.rss()?, load.queued());
    load.run(seconds.saturating_sub(began.elapsed()), |_| false)?;
    let lasted = began.elapsed().as_secs_f64();
    let (cpu, own) = (process.cpu()?.since(cpu), Cpu::own()?.since(own));
    let (live, queued) = (process.rss()?, load.queued()).max(half_way);
    let (streaming, refused, mut measured) = (load.streaming(), load.refused(), load.measured());
    let blocked = args.blocked as usize;

    load.hang_up();
    load.run(LEFT_BEHIND, |_| false)?;
    let left_open = process.sockets()?.saturating_sub(sockets);
    let left = process.rss()?;
    let open = |load: &Load| Some(process.sockets().ok()?.saturating_sub(sockets) + load.open());
    load.run(LEFT_FOR_GOOD, |load| open(load) == Some(0))?;
    let left_for_good = open(&load).context("it is gone")?;
    let (lost, mut problems) = load.problems();
    if left_for_good > 0 {
        problems.push(format!("{LEFT_FOR_GOOD:?} after the calls, {left_for_good} connections are open"));
    }
    problems.extend(process.complaints());
    process.stop();
    Ok(Step::new(
        target,
        calls,
        report::Raw {
            lasted,
            cpu,
            own,
            idle,
            live,
            queued,
            left,
            streaming,
            blocked,
            refused,
            lost,
            left_open,
            left_for_good,
            problems,
        },
        &mut measured,
    ))
}

fn serve(args: &Args, pinning: &Pinning, model: &str, calls: usize, folder: &Path) -> Result<Process> {
    let (frames, recording) = (args.group_ms / 20, args.recording);
    let trace = if recording { "masked" } else { "off" };
    let mut config = format!(
        "max_calls = {calls}\n[twilio]\nverify = \"unless-loopback\"\n\
         [defaults]\ngroup_frames = {frames}\nappend_frames = {frames}\nrecording = {recording}\ntrace = \"{trace}\"\n\
         [agents.bench]\ndefault = true\ninstructions = \"You are a load.\"\nlanguage = \"en\"\n"
    );
    if args.tls {
        config.push_str(&format!("[openai]\nca_file = {:?}\n", folder.join(CERTIFICATE)));
    }
    let file = folder.join("patchcord.toml");
    std::fs::write(&file, config).context("no configuration can be written")?;
    let environment = [
        ("PATCHCORD_DATA", folder.join("data").display().to_string()),
        ("OPENAI_API_KEY", "bench".to_owned()),
        ("OPENAI_REALTIME_URL", model.to_owned()),
        ("TWILIO_ACCOUNT_SID", format!("AC{:032x}", 0)),
        ("TWILIO_AUTH_TOKEN", "0".repeat(32)),
        // Nobody listens there: no caller of this load is hung up on.
        ("TWILIO_API_URL", "http://127.0.0.1:9".to_owned()),
    ];
    let file = file.display().to_string();
    let runtime = args.runtime.name();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--config", &file, "--runtime", runtime];
    Process::start(pinning, &arguments, &environment, folder)
}

fn relay(args: &Args, pinning: &Pinning, model: &str, sends: relay::Sends, folder: &Path) -> Result<Process> {
    let sends = match sends {
        relay::Sends::Frames => "frames",
        relay::Sends::Deltas => "deltas",
    };
    let certificate = folder.join(CERTIFICATE).display().to_string();
    let mut arguments = vec!["bench-relay", "--model", model, "--sends", sends];
    if args.tls {
        arguments.extend(["--ca-file", certificate.as_str()]);
    }
    Process::start(pinning, &arguments, &[], folder)
}

const CERTIFICATE: &str = "model.pem";

/// What the virtual models prove themselves with, for this run only.
struct Certificate {
    server: Arc<rustls::ServerConfig>,
}

impl Certificate {
    /// Leaves the certificate in the folder.
    fn make(folder: &Path) -> Result<Certificate> {
        // The only provider in the process; whoever comes second finds the first one's.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).context("no certificate")?;
        std::fs::write(folder.join(CERTIFICATE), made.cert.pem()).context("the certificate cannot be written")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .context("the certificate cannot be used")?;
        Ok(Certificate { server: Arc::new(server) })
    }
}

/// Lets this process, and those that it starts, open so many files and sockets.
fn allow_descriptors(wanted: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "so many calls need {wanted} descriptors, of which this shell allows {}; see `ulimit -n`",
        limit.maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .context("the limit of descriptors cannot be raised")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried, where so many calls are carried.
    fn tried(least: u32, most: u32, carried: u32) -> Vec<u32> {
        let mut tried = Vec::new();
        let mut is_within = |calls| {
            tried.push(calls);
            Ok(calls <= carried)
        };
        search(least, most, &mut is_within).unwrap();
        tried
    }

    #[test]
    fn a_search_steps_up_by_half_and_narrows_down_to_a_tenth() {
        assert_eq!(tried(100, 1_000, 370), [100, 150, 225, 337, 505, 421, 379, 358]);
        assert_eq!(tried(100, 1_000, 5_000), [100, 150, 225, 337, 505, 757, 1_000]);
        assert_eq!(tried(100, 1_000, 100), [100, 150, 125, 112, 106]);
        assert_eq!(tried(8, 1_000, 0), [8, 4, 2, 1]);
    }
}
