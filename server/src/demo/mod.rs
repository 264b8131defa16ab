//! `patchcord demo`: a whole phone call on this machine. The real server, between a simulated carrier whose caller is
//! recorded human speech and a simulated model. What happened is judged by what the carrier played, and left in a folder.

pub mod picture;
pub mod story;
pub mod timeline;
pub mod wav;

mod cast;
mod checks;
mod show;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use call::trace::Trace;
use futures_util::stream;
use sim::carrier::twilio::CallOptions;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::record::CallRecord;
use crate::{Calls, Server};

use cast::Cast;
use checks::Check;
use story::STORY;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder that the call's files are left in.
    #[arg(long, value_name = "DIR", default_value = "patchcord-demo")]
    pub out: PathBuf,
    /// Another WAV as the caller's side.
    #[arg(long, value_name = "FILE")]
    pub caller: Option<PathBuf>,
    /// The model to talk to.
    #[arg(long, default_value = Model::DEFAULT)]
    pub model: Model,
    /// Print what others may parse.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// The embedded one: it listens and speaks. Its weights are fetched once (101 MB, by pip).
    #[cfg(feature = "voice")]
    Local,
    /// One that plays a script, hums its words, and needs nothing.
    Fake,
}

impl Model {
    const DEFAULT: &str = if cfg!(feature = "voice") { "local" } else { "fake" };
}

/// When it is said that the embedded model is still being loaded.
const LOADING_TOLD_AFTER: Duration = Duration::from_secs(2);

/// How long that may take: seconds, on a machine with several times the work that it can do.
const LOADING_MAX: Duration = Duration::from_secs(120);

/// How long everything may take after the caller's side is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the record may take to be written once the carrier's call is over.
const RECORD_MAX: Duration = Duration::from_secs(10);

/// The files that a demo leaves, as they are named in the call's own folder.
const FILES: [&str; 4] = ["recording.wav", "transcript.txt", "call.json", "call.trace"];

/// Whether the call did what it should.
///
/// # Errors
/// If the call could not be made, or its files could not be left.
pub async fn run(args: Args, env: &dyn Fn(&str) -> Option<String>) -> Result<bool> {
    let own_caller = match &args.caller {
        None => None,
        Some(path) => {
            let file = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
            Some(wav::read(&file).with_context(|| format!("{}", path.display()))?)
        }
    };
    // Beside the folder's own files, so that they can be moved into it, and gone if anything fails.
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot make this folder", args.out.display()))?;
    let data = tempfile::Builder::new().prefix(".call-").tempdir_in(&args.out).context("no temporary folder")?;

    let voice = match args.model {
        #[cfg(feature = "voice")]
        Model::Local => {
            let folder = crate::local::folder(None, env);
            crate::local::pull_if_needed(&folder)?;
            Some(std::path::absolute(folder).context("the weights' folder")?)
        }
        Model::Fake => None,
    };
    #[cfg(not(feature = "voice"))]
    let _ = env;
    let cast = Cast::gather(&STORY, own_caller, voice).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on loopback")?;
    let server = Server::new(cast.config(data.path())?, listener)?;
    let calls = server.calls();
    let loaded = server.loaded();
    let base = format!("http://{}", server.address());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server.run(stream::once(async {
        // Both a message and its sender's end mean: stop.
        let _ = stopped.await;
    })));

    let watching = (!args.json).then(|| tokio::spawn(show::conversation(calls.watch())));
    if !args.json {
        show::opening(cast.length(), args.model);
    }
    let still_loading = || {
        if !args.json {
            show::still_loading();
        }
    };
    until_loaded(loaded, still_loading).await?;
    let options = CallOptions { limit: cast.length() + PATIENCE, ..CallOptions::default() };
    let report = cast.carrier.call(&base, cast::CALLER, cast::CALLED, cast.caller.clone(), options).await;
    let record = timeout(RECORD_MAX, calls.wait_for_finished(1)).await;
    let record = record.ok().flatten().context("the call left no record; its log says more")?;
    drop(stop);
    server.await.context("the server panicked")??;
    drop(watching);

    let left = leave_files(&args.out, &calls, &record, args.model)?;
    let checks = checks::of(&cast, &report, &record, &left);
    let good = checks.iter().all(|check| check.result.is_ok());
    if args.json {
        println!("{}", summary(&args.out, &record, &checks));
    } else {
        show::checks(&checks);
        show::files(&args.out, good);
    }
    Ok(good)
}

/// The call waits for the model, and not the caller, whose first words would wait for it otherwise.
async fn until_loaded(loaded: impl Future<Output = Result<()>>, still_loading: impl FnOnce()) -> Result<()> {
    let mut loaded = pin!(loaded);
    if let Ok(loaded) = timeout(LOADING_TOLD_AFTER, &mut loaded).await {
        return loaded;
    }
    still_loading();
    let late = || {
        let limit = LOADING_MAX.as_secs();
        format!(
            "the embedded model was not loaded within {limit} s: try again when this machine has less to do, or with --model fake"
        )
    };
    timeout(LOADING_MAX - LOADING_TOLD_AFTER, loaded).await.with_context(late)?
}

/// What was left in the folder and is judged too.
pub(crate) struct Left {
    pub trace: Trace,
    pub trace_text: String,
    pub recording: wav::Stereo,
}

fn leave_files(out: &Path, calls: &Calls, record: &Arc<CallRecord>, model: Model) -> Result<Left> {
    let folder = calls.folder(record.facts.id);
    for name in FILES {
        std::fs::rename(folder.join(name), out.join(name)).with_context(|| format!("the call left no {name}"))?;
    }
    let trace_text = std::fs::read_to_string(out.join("call.trace")).context("call.trace")?;
    let trace = Trace::read(&trace_text).context("call.trace")?;
    let recording = wav::read_recording(&std::fs::read(out.join("recording.wav")).context("recording.wav")?)?;
    ensure!(!recording.left.is_empty(), "the recording is empty");
    let subtitle = match model {
        #[cfg(feature = "voice")]
        Model::Local => {
            "Simulated carrier, recorded human caller, embedded model; everything between them is the real server."
        }
        Model::Fake => {
            "Simulated carrier and model, recorded human caller; everything between them is the real server."
        }
    };
    let title = "A call through Patchcord".to_owned();
    let picture = timeline::picture(title, subtitle.to_owned(), &trace, &record.summary.turns, &recording);
    let svg = picture::svg(&picture);
    std::fs::write(out.join("call.png"), picture::png(&svg)?).context("call.png")?;
    std::fs::write(out.join("call.svg"), svg).context("call.svg")?;
    Ok(Left { trace, trace_text, recording })
}

fn summary(out: &Path, record: &CallRecord, checks: &[Check]) -> serde_json::Value {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| match &check.result {
            Ok(found) => serde_json::json!({"check": check.what, "ok": true, "found": found}),
            Err(found) => serde_json::json!({"check": check.what, "ok": false, "found": found}),
        })
        .collect();
    serde_json::json!({"out": out, "call": record, "checks": checks})
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_model_that_is_there_is_not_waited_for() {
        until_loaded(ready(Ok(())), || panic!("nothing was waited for")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_takes_long_is_waited_for_and_said_to() {
        let (load, loaded) = oneshot::channel();
        let load = Cell::new(Some(load));
        let loaded = async { loaded.await.context("it was not said to take long") };
        // It is loaded only when that was said: nothing else lets the wait end.
        until_loaded(loaded, || load.take().unwrap().send(()).unwrap()).await.unwrap();
        assert!(load.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_cannot_be_loaded_is_the_reason() {
        let never = ready(Err(anyhow::anyhow!("it is damaged")));
        let error = until_loaded(never, || panic!("nothing was waited for")).await.unwrap_err();
        assert_eq!(error.to_string(), "it is damaged");
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_never_comes_ends_the_wait() {
        let began = tokio::time::Instant::now();
        let error = until_loaded(pending(), || ()).await.unwrap_err();
        assert_eq!(began.elapsed(), LOADING_MAX);
        assert!(format!("{error:#}").contains("--model fake"), "{error:#}");
    }
}
