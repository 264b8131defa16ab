//! The command line.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::ptr::null_mut;
use std::time::Duration;

use clap::{Parser, Subcommand};
use futures_util::{Stream, stream};
#[cfg(target_os = "linux")]
use patchcord::bench;
#[cfg(feature = "voice")]
use patchcord::local;
use patchcord::{Config, check, config, demo, dial, init, log, replay};
use tikv_jemalloc_sys::mallctl;
use tokio::net::TcpListener;

/// Holds less beside what is used than the system's allocator does, and gives back what calls took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What has not been used for a fifth of a second goes back to the system (<https://jemalloc.net/jemalloc.3.html>).
#[allow(unsafe_code, reason = "the allocator looks for its settings under this name, before anything runs")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"dirty_decay_ms:200,muzzy_decay_ms:0\0";

/// Has the allocator look for such memory ten times a second, elsewhere than where calls are carried. By itself it looks
/// when it is asked for more, which nobody does when calls have ended; and its own thread for this waits for 4 MiB to lie
/// unused. What is freed it counts as unused from the next look on.
fn give_back_memory() -> std::io::Result<()> {
    const EVERY: Duration = Duration::from_millis(100);
    /// "All arenas", by the manual's `MALLCTL_ARENAS_ALL`.
    const DECAY: &CStr = c"arena.4096.decay";
    std::thread::Builder::new().name("memory".to_owned()).spawn(|| {
        loop {
            std::thread::sleep(EVERY);
            #[allow(unsafe_code, reason = "nothing is read or written; the allocator has no safe way to be told")]
            let failed = unsafe { mallctl(DECAY.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
            debug_assert_eq!(failed, 0, "the allocator knows no {DECAY:?}");
        }
    })?;
    Ok(())
}

/// Answers the phone with an AI agent.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(Serve),
    /// Look for all that is wrong with configuration, accounts, network and this build.
    Check(check::Args),
    /// Write a commented configuration to start from.
    Init(init::Args),
    /// Make a whole phone call on this machine, without account or key.
    Demo(demo::Args),
    /// Have a running server call somebody, and follow the call.
    Call(dial::Args),
    /// Runs a recorded trace through the call core and prints what it decides.
    Replay(replay::Args),
    /// Find out how many calls a core of this machine carries, and at what cost.
    #[cfg(target_os = "linux")]
    Bench(bench::Args),
    /// What the bench compares with.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    BenchRelay(bench::relay::Args),
    /// The embedded model's weights: fetch them, look at them, check them.
    #[cfg(feature = "voice")]
    Models(local::ModelsArgs),
    /// Run only the embedded model, as a server that speaks the Realtime protocol.
    #[cfg(feature = "voice")]
    Realtime(local::RealtimeArgs),
}

#[derive(clap::Args)]
struct Serve {
    /// Configuration file [default: patchcord.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [env: PATCHCORD_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Origin that the carrier reaches us by, as https://calls.example.org [env: PATCHCORD_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// What tasks run on; for `bench` to compare
    #[arg(long, value_enum, default_value = "multi-thread", hide = true)]
    runtime: Runtime,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Runtime {
    MultiThread,
    CurrentThread,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = match &cli.command {
        Command::Serve(Serve { runtime: Runtime::CurrentThread, .. }) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => {
            eprintln!("patchcord: no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> ExitCode {
    // These tell their own story. What is wrong with them is still said; the check says so itself.
    let quiet = match cli.command {
        Command::Demo(_) | Command::Call(_) => Some("warn".to_owned()),
        Command::Check(_) => Some("off".to_owned()),
        Command::Serve(_) | Command::Init(_) | Command::Replay(_) => None,
        #[cfg(target_os = "linux")]
        Command::Bench(_) | Command::BenchRelay(_) => Some("warn".to_owned()),
        #[cfg(feature = "voice")]
        Command::Models(_) | Command::Realtime(_) => Some("warn".to_owned()),
    };
    let done = match log::init(&|name| env(name).or_else(|| quiet.clone().filter(|_| name == "PATCHCORD_LOG"))) {
        Err(error) => Err(error),
        Ok(()) => match cli.command {
            Command::Serve(args) => serve(args).await.map(|()| true),
            Command::Check(args) => Ok(check::run(args, &env).await),
            Command::Init(args) => init::run(&args).map(|()| true),
            Command::Demo(args) => demo::run(args, &env).await,
            Command::Call(args) => dial::run(args, &env).await,
            Command::Replay(args) => replay::run(&args),
            // The runtime is not used: the load has a loop of its own, on cores of its own.
            #[cfg(target_os = "linux")]
            Command::Bench(args) => {
                tokio::task::spawn_blocking(move || bench::run(&args)).await.unwrap_or_else(|panic| Err(panic.into()))
            }
            #[cfg(target_os = "linux")]
            Command::BenchRelay(args) => bench::relay::run(args).await.map(|()| true),
            #[cfg(feature = "voice")]
            Command::Models(args) => local::models(args, &env),
            #[cfg(feature = "voice")]
            Command::Realtime(args) => local::realtime(args, &env).await,
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("patchcord: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Serve) -> anyhow::Result<()> {
    let file = args.config.or_else(|| Some(PathBuf::from(config::FILE)).filter(|path| path.exists()));
    // What was typed wins over what was set.
    let settings = |name: &str| match name {
        "PATCHCORD_LISTEN" => args.listen.clone().or_else(|| env(name)),
        "PATCHCORD_PUBLIC_URL" => args.public_url.clone().or_else(|| env(name)),
        _ => env(name),
    };
    let config = Config::load(file.as_deref().map(Path::new), &settings)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {}: {error}; choose another with --listen", config.listen)
    })?;
    #[cfg(target_os = "linux")]
    let _limit = survive_file_size_limit();
    if let Err(error) = give_back_memory() {
        tracing::warn!("what calls took may be kept for longer than they last: no thread to give it back: {error}");
    }
    patchcord::run(config, listener, stops()).await
}

/// Makes a limit on the size of files (`LimitFSIZE=`, `ulimit -f`) a write that fails, as a full disk does, and not the
/// death of every call: with a handler, the signal that comes before the error (setrlimit(2)) does nothing.
#[cfg(target_os = "linux")]
fn survive_file_size_limit() -> std::io::Result<tokio::signal::unix::Signal> {
    const SIGXFSZ: i32 = 25;
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ))
}

/// Each Ctrl-C, and each of the service manager's polite signals.
fn stops() -> impl Stream<Item = ()> {
    let interrupts = stream::unfold((), |()| async { tokio::signal::ctrl_c().await.ok().map(|()| ((), ())) });
    #[cfg(unix)]
    let terminates = {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        stream::unfold(signal, |signal| async {
            let mut signal = signal?;
            signal.recv().await.map(|()| ((), Some(signal)))
        })
    };
    #[cfg(not(unix))]
    let terminates = stream::pending();
    stream::select(interrupts, terminates)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
