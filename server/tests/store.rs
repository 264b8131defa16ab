//! What is kept of calls, and what a crash leaves of it.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::Stage;
use patchcord::Server;
use patchcord::config::{Config, Verify};
use serde_json::{Value, json};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::outbound::{Callee, Outcome};
use sim::model::{Behaviour, FakeModel, Script};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const THEIRS: &str = "+15005550001";

/// Four calls, and a copy of the disk while they are live: one that rings, one that talks, one that has ended since and
/// left its record in its folder, and one that ended before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_were_live_at_a_crash_are_closed_as_our_fault() {
    let stage = stage().await;
    let (hang_up, hung_up) = (CallerStep::HangUp, vec![CallerStep::HangUp]);
    let talks = vec![CallerStep::Pause(Duration::from_secs(60)), hang_up];
    stage.carrier.callees(move |create| match create.to.as_str() {
        "+15005550002" => Callee { rings: Duration::from_secs(60), ..Callee::default() },
        "+15005550003" | "+15005550004" => Callee::answers(talks.clone()),
        "+15005550005" => Callee::answers(hung_up.clone()),
        _ => Callee::is(Outcome::Busy),
    });
    let mut ids = Vec::new();
    for to in ["+15005550005", "+15005550002", "+15005550003", "+15005550004"] {
        ids.push(stage.place(json!({ "to": to })).await["id"].as_str().unwrap().to_owned());
    }
    let progress = |id: &str| {
        let path = format!("/api/v1/calls/{id}");
        let stage = &stage;
        async move { stage.get(&path).await["progress"].as_str().unwrap_or("none").to_owned() }
    };
    while progress(&ids[1]).await != "ringing"
        || progress(&ids[2]).await != "connected"
        || progress(&ids[3]).await != "connected"
    {
        tokio::task::yield_now().await;
    }
    stage.calls.wait_for_finished(1).await;
    let listed = stage.get("/api/v1/calls").await["calls"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 4);

    let crashed = tempfile::tempdir().unwrap();
    for file in ["patchcord.db", "patchcord.db-wal"] {
        std::fs::copy(stage.data.path().join(file), crashed.path().join(file)).unwrap();
    }
    stage.post(&format!("/api/v1/calls/{}/hangup", ids[3]), None, None).await;
    let whole = serde_json::to_value(&*stage.calls.wait_for_finished(2).await.unwrap()).unwrap();
    assert_eq!((&whole["id"], &whole["ended_reason"]), (&json!(ids[3]), &json!("operator_hung_up")));
    let folder = |data: &Path| data.join("calls").join(&ids[3]);
    std::fs::create_dir_all(folder(crashed.path())).unwrap();
    std::fs::copy(folder(stage.data.path()).join("call.json"), folder(crashed.path()).join("call.json")).unwrap();

    let started_again = jiff::Timestamp::now();
    let restarted = Restarted::on(crashed.path());
    for (id, before) in [(&ids[1], &listed[2]), (&ids[2], &listed[1])] {
        let record = restarted.get(&format!("/api/v1/calls/{id}")).await;
        assert_eq!((&record["ended_reason"], &record["ended_by"]), (&json!("fault"), &json!("us")), "{record:#}");
        for known in ["id", "call_sid", "direction", "from", "to", "agent", "started_at"] {
            assert_eq!(record[known], before[known], "{known}");
        }
        assert!(
            record["ended_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() + Duration::from_millis(1)
                >= started_again
        );
        assert_eq!(record.as_object().unwrap().len(), whole.as_object().unwrap().len(), "{record:#}");
    }
    assert_eq!(restarted.get(&format!("/api/v1/calls/{}", ids[3])).await, whole);
    let ended = restarted.get(&format!("/api/v1/calls/{}", ids[0])).await;
    assert_eq!(ended["ended_reason"], "caller_hung_up");
    assert_eq!(restarted.get("/api/v1/calls?state=live").await["calls"], json!([]));
    assert_eq!(restarted.get("/api/v1/calls?state=ended").await["calls"].as_array().unwrap().len(), 4);
    restarted.stop().await.unwrap();
    drop(stage);
}

#[tokio::test]
async fn the_database_is_whole_and_for_our_eyes_only() {
    use std::os::unix::fs::PermissionsExt;
    let stage = stage().await;
    stage.carrier.callees(|_| Callee::is(Outcome::Busy));
    for _ in 0..10 {
        stage.place(json!({ "to": THEIRS })).await;
    }
    stage.calls.wait_for_finished(10).await;
    stage.get("/api/v1/calls").await;
    let data = stage.data.path().join("inner");
    let file = stage.data.path().join("patchcord.db");
    for file in ["patchcord.db", "patchcord.db-wal", "patchcord.db-shm", "patchcord.db.lock"] {
        let mode = std::fs::metadata(stage.data.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mut connection = open(&file).await;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM calls").fetch_one(&mut connection).await.unwrap();
    assert_eq!((check.as_str(), mode.as_str(), rows), ("ok", "wal", 10));
    connection.close().await.unwrap();
    // A folder that has to be made is private too; one that is there stays as it is.
    let other = Restarted::on(&data);
    other.get("/api/v1/calls").await;
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    other.stop().await.unwrap();
    stage.strike().await;
}

#[tokio::test]
async fn a_server_that_stopped_has_written_everything() {
    let stage = stage().await;
    stage.carrier.callees(|_| Callee { rings: Duration::from_secs(60), ..Callee::default() });
    for _ in 0..5 {
        stage.place(json!({ "to": THEIRS })).await;
    }
    let kept = tempfile::tempdir().unwrap();
    let file = stage.data.path().join("patchcord.db");
    let copy = kept.path().join("patchcord.db");
    // A hard link outlives the folder.
    std::fs::hard_link(&file, &copy).unwrap();
    stage.strike().await;
    let mut connection = open(&copy).await;
    let ended = "SELECT count(*) FROM calls WHERE ended_reason = 'operator_hung_up'";
    let ended: i64 = sqlx::query_scalar(ended).fetch_one(&mut connection).await.unwrap();
    assert_eq!(ended, 5);
}

#[tokio::test]
async fn two_servers_do_not_share_a_database() {
    let data = tempfile::tempdir().unwrap();
    let first = Restarted::on(data.path());
    first.get("/api/v1/calls").await;
    let error = Restarted::on(data.path()).server.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("another process uses it"), "{error:#}");
    first.stop().await.unwrap();
    Restarted::on(data.path()).stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_not_touched() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("patchcord.db");
    std::fs::write(&file, "dear diary, ".repeat(1_000)).unwrap();
    let error = Restarted::on(data.path()).server.await.unwrap().unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("patchcord.db cannot be opened") && error.contains("not a database"), "{error}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("dear diary"));
}

#[test]
fn the_databases_url_is_understood_or_explained() {
    let read = |url: &'static str| {
        let environment = |name: &str| {
            let set = [
                ("DATABASE_URL", url),
                ("OPENAI_API_KEY", "k"),
                ("TWILIO_ACCOUNT_SID", "AC1"),
                ("TWILIO_AUTH_TOKEN", "t"),
            ];
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Config::parse("", &environment)
    };
    for (url, file) in [
        ("sqlite:calls.db", "calls.db"),
        ("sqlite://calls.db", "calls.db"),
        ("sqlite:/var/lib/calls.db", "/var/lib/calls.db"),
        ("sqlite:///var/lib/calls.db", "/var/lib/calls.db"),
    ] {
        assert_eq!(read(url).unwrap().database.unwrap().0.to_str(), Some(file), "{url}");
    }
    for (url, wrong) in [
        ("postgres://user:secret@host/calls", "PostgreSQL is not in this build"),
        ("postgresql://user:secret@host/calls", "PostgreSQL is not in this build"),
        ("mysql://user:secret@host/calls", "not a database's URL"),
        ("sqlite::memory:", "names no file"),
        ("sqlite:", "names no file"),
        ("sqlite:calls.db?mode=ro", "options"),
        ("calls.db", "not a database's URL"),
    ] {
        let mistakes = read(url).unwrap_err().to_string();
        assert!(mistakes.contains("DATABASE_URL") && mistakes.contains(wrong), "{url}: {mistakes}");
        assert!(!mistakes.contains("secret"), "{mistakes}");
    }
}

async fn stage() -> Stage {
    let session = |_: &_| FakeModel::new("s", Script::default(), Behaviour::default());
    Stage::with(session, |config| config.agents[0].numbers = vec!["+15005550006".to_owned()]).await
}

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// A server on data that another one left.
struct Restarted {
    base: String,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Restarted {
    fn on(data: &Path) -> Self {
        let mut config = Config { data: data.to_owned(), ..Config::default() };
        config.twilio.verify = Verify::UnlessLoopback;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Server::new(config, TcpListener::from_std(listener).unwrap()).unwrap();
        let base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(futures_util::stream::once(async {
            let _ = stopped.await;
        })));
        Restarted { base, server, stop }
    }

    async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.base)).await.unwrap().json().await.unwrap()
    }

    async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.server.await.unwrap()
    }
}
