//! The process under load: started on one core, looked at from outside by `/proc`, and ended.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// How long it may take to listen, and to end when it is asked to.
const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(5);

/// Of what it logged: the first complaints are what explains the rest.
const COMPLAINTS_MAX: usize = 8;

/// Clock ticks a second in `/proc/<pid>/stat`: `USER_HZ`, which is 100 on every architecture that Linux offers it on.
const TICKS: f64 = 100.0;

/// Which cores who runs on.
#[derive(Clone, Debug, Serialize)]
pub struct Pinning {
    /// Of the process under load.
    pub server_core: usize,
    pub load_cores: Vec<usize>,
    /// There is one core only: the figures have the load's own work in them.
    pub shared: bool,
}

impl Pinning {
    /// The first core that we may run on for the server, the rest for the load.
    pub(crate) fn choose() -> Result<Pinning> {
        let allowed = sched_getaffinity(None).context("on which cores we may run is not known")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let (server_core, rest) = cores.split_first().context("there is no core to run on")?;
        let load_cores = if rest.is_empty() { vec![*server_core] } else { rest.to_vec() };
        Ok(Pinning { server_core: *server_core, load_cores, shared: rest.is_empty() })
    }

    /// This thread, and what it starts, run there from now on.
    fn pin(cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        sched_setaffinity(None, &set).context("this thread cannot be kept to its cores")
    }

    pub(crate) fn pin_load(&self) -> Result<()> {
        Self::pin(&self.load_cores)
    }
}

pub(crate) struct Process {
    child: Child,
    pub address: SocketAddr,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// CPU time since a process began, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }

    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    fn of(process: &str) -> Result<Cpu> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
        // The name, in parentheses, may have anything in it; the fields after it begin with the third.
        let (_, fields) = stat.rsplit_once(')').context("/proc has another form")?;
        let ticks =
            |number: usize| fields.split_whitespace().nth(number - 3).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(14).zip(ticks(15)).context("/proc has another form")?;
        Ok(Cpu { user: user / TICKS, system: system / TICKS })
    }

    /// Of this process.
    pub(crate) fn own() -> Result<Cpu> {
        Cpu::of("self")
    }
}

impl Process {
    /// Starts this program with these arguments on the server's core, and waits until it says where it listens.
    pub(crate) fn start(
        pinning: &Pinning,
        arguments: &[&str],
        environment: &[(&str, String)],
        folder: &Path,
    ) -> Result<Process> {
        let program = std::env::current_exe().context("this program's own file is not known")?;
        let mut command = Command::new(program);
        // Nothing of ours: a key or an address of a real account has no place in a load test.
        command.args(arguments).env_clear().current_dir(folder);
        command.env("NO_COLOR", "1").envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child inherits the cores of the thread that starts it, and makes as many workers as it has cores.
        Pinning::pin(&[pinning.server_core])?;
        let child = command.spawn();
        pinning.pin_load()?;
        let mut child = child.context("the process under load cannot be started")?;
        let (found, address) = mpsc::channel();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        for output in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
            let (found, complaints) = (found.clone(), complaints.clone());
            std::thread::spawn(move || listen(output, &found, &complaints));
        }
        let mut process = Process { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), complaints };
        drop(found);
        match address.recv_timeout(START_MAX) {
            Ok(address) => process.address = address,
            Err(_) => bail!("the process under load does not listen: {}", process.complaints().join("; ")),
        }
        Ok(process)
    }

    pub(crate) fn cpu(&self) -> Result<Cpu> {
        Cpu::of(&self.child.id().to_string())
    }

    /// Memory that it occupies, in bytes. Not counted is what is only a copy of a file: the pages of the program itself
    /// come in one by one as they are first needed, by the first call and not by each.
    pub(crate) fn rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("it is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("/proc has another form")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("/proc has another form")?;
        Ok(kib * 1024)
    }

    /// Sockets that it has open. Files are not counted: the database opens some of its own when it likes.
    pub(crate) fn sockets(&self) -> Result<usize> {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).context("it is gone")?;
        let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Ok(targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count())
    }

    /// The first warnings and errors of its log.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to end, and sees to it.
    pub(crate) fn stop(mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// However the run ends, no process is left.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn boxed(output: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(output)
}

/// Reads what the process says, to its end: so it never waits for us.
fn listen(output: Box<dyn Read + Send>, found: &mpsc::Sender<SocketAddr>, complaints: &Mutex<Vec<String>>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        if let Some(address) = address_in(&line) {
            // Nobody waits any more for the second one.
            let _ = found.send(address);
        } else if ![" INFO ", " DEBUG ", " TRACE "].iter().any(|level| line.contains(level)) {
            let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
            if complaints.len() < COMPLAINTS_MAX {
                complaints.push(line);
            }
        }
    }
}

/// Where it listens, if this line says so.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening ")?;
    let rest = rest.strip_prefix("address=").unwrap_or(rest);
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log_and_in_the_floors_line() {
        let log =
            "2026-11-21T10:00:00Z  INFO patchcord: listening address=127.0.0.1:4321 public_url=http://h/ agents=1";
        for line in [log, "listening 127.0.0.1:4321"] {
            assert_eq!(address_in(line), Some(SocketAddr::from(([127, 0, 0, 1], 4321))));
        }
        assert_eq!(address_in("not listening"), None);
    }

    #[test]
    fn our_own_cpu_time_is_read() {
        let before = Cpu::own().unwrap();
        assert!(before.since(before).total() == 0.0 && before.total() >= 0.0);
    }
}
