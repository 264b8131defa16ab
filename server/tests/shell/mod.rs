//! The shell by seed: the real router, driver, pacing, admission, commands and files, between the simulator's carrier and
//! model, over connections in memory and in paused time. A seed draws whole calls on one server and what goes wrong
//! around it (`plan.rs`); what came of it is judged from outside (`judge.rs`).
//!
//! `SEED=n cargo test -p patchcord --lib shell` runs one seed, `SHELL_SEEDS=n` so many. What is due at the same moment the
//! runtime takes in an order of its own, so that a seed that fails may need a second try.

mod carrier;
mod judge;
mod peers;
mod plan;
mod rough;
mod scenes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep, sleep_until, timeout};

use crate::http::{App, router};
use crate::outside::memory;
use crate::record::CallRecord;
use crate::{Server, stop};
use carrier::{Carrier, Outcome};
use peers::{Line, Peers};
use plan::Plan;

/// As many as fit into the patience of `cargo test`.
const SEEDS: u64 = 200;

/// No call lasts so long, whatever goes wrong: `call_max` and its grace, a model that is waited for, ringing.
const LONGEST: Duration = Duration::from_secs(600);

/// What may go on after the calls: tools, to their own limit, and sockets that are being closed.
const AFTERMATH: Duration = Duration::from_secs(60);

/// What is left of a plan that was carried out.
pub struct Aftermath {
    pub lines: Vec<Rc<Line>>,
    pub outcomes: Vec<Outcome>,
    pub records: Vec<Arc<CallRecord>>,
    pub held: crate::Held,
    pub tasks: usize,
    pub log: String,
}

/// The server in memory, and its peers.
pub struct Stage {
    pub app: Arc<App>,
    pub router: axum::Router,
    pub lines: Vec<Rc<Line>>,
    pub zero: Instant,
    /// Those that the server has without any call.
    pub tasks: usize,
    origin: String,
    ends: watch::Sender<bool>,
}

impl Stage {
    pub async fn set(plan: &Plan, data: &Path) -> Stage {
        // Nobody connects there; it is the server's name.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(plan.config(data), listener).unwrap();
        let zero = Instant::now();
        let lines: Vec<Rc<Line>> =
            plan.calls.iter().enumerate().map(|(index, call)| Rc::new(Line::new(index, call, zero))).collect();
        let (ends, ended) = watch::channel(false);
        memory::enter(Rc::new(Peers { lines: lines.clone(), ends: ended }));
        let origin = format!("http://{}", server.address());
        Stage { router: router(server.app.clone()), app: server.app, lines, zero, tasks: tasks(), origin, ends }
    }

    pub fn carrier(&self, index: usize, plan: &Plan) -> Carrier {
        Carrier {
            index,
            line: self.lines[index].clone(),
            router: self.router.clone(),
            origin: self.origin.clone(),
            calls: self.app.calls.clone(),
            max_calls: plan.max_calls,
            zero: self.zero,
            stops: plan.stops.first().map(|at| self.zero + *at),
            outcome: Outcome::default(),
        }
    }
}

/// Has the plan happen.
async fn carry_out(plan: &Plan, data: &Path) -> Aftermath {
    let stage = Stage::set(plan, data).await;
    let zero = stage.zero;
    let app = stage.app.clone();
    let stops: Vec<Instant> = plan.stops.iter().map(|at| zero + *at).collect();
    tokio::task::spawn_local(async move {
        let asks = futures_util::stream::iter(stops).then(sleep_until);
        stop::stopped(&app, asks.chain(futures_util::stream::pending())).await;
    });
    for (at, by) in plan.leaps.clone() {
        tokio::task::spawn_local(async move {
            sleep_until(zero + at).await;
            advance(by).await;
        });
    }
    let carriers: Vec<_> =
        (0..plan.calls.len()).map(|index| tokio::task::spawn_local(stage.carrier(index, plan).run())).collect();
    let mut outcomes = Vec::new();
    for carrier in carriers {
        let outcome = timeout(LONGEST, carrier).await;
        outcomes.push(outcome.expect("the carrier waits without end").expect("the carrier itself failed"));
    }
    assert!(stage.app.calls.all_ended(LONGEST).await, "N8: a call never ended: {:?}", stage.app.calls.held());
    sleep(AFTERMATH).await;
    let held = stage.app.calls.held();
    let tasks = tasks() - stage.tasks;
    let records = stage.app.calls.finished();
    stage.ends.send_replace(true);
    memory::leave();
    Aftermath { lines: stage.lines, outcomes, records, held, tasks, log: String::new() }
}

/// Of the server: its peers' are none of the runtime's, but of the `LocalSet`.
pub fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// In a runtime of its own, with a clock that only moves when nobody has anything to do.
pub fn in_paused_time<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, work())
}

/// What goes wrong with this seed.
fn try_seed(seed: u64) -> Result<(), String> {
    let plan = Plan::from_seed(seed);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let data = tempfile::tempdir().unwrap();
    let happened = tracing::subscriber::with_default(subscriber, || {
        catch_unwind(AssertUnwindSafe(|| in_paused_time(async || carry_out(&plan, data.path()).await)))
    });
    memory::leave();
    let text = log.text();
    let judged = match happened {
        Ok(aftermath) => judge::judge(&plan, &Aftermath { log: text.clone(), ..aftermath }, data.path()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned())).unwrap_or_default())
        }
    };
    judged.map_err(|why| format!("{why}\n{text}"))
}

/// What was logged, by one seed.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_shell_keeps_its_rules_whatever_happens() {
    let seeds = match setting("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SHELL_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    if let Err(why) = try_seed(seed) {
                        failed.lock().unwrap().push((seed, why));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let all: String =
        failed.iter().map(|(seed, why)| format!("{seed}: {}\n", why.lines().next().unwrap_or_default())).collect();
    if let Some((seed, why)) = failed.first() {
        panic!("{all}SEED={seed} cargo test -p patchcord --lib shell\n{why}");
    }
}
