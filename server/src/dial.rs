//! `patchcord call`: has a running server call somebody, and follows the call to its end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::config::Config;
use crate::model;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Who is called: +15005550006, or sip:name@host
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// The agent that calls [default: the server's default agent]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The running server; its PATCHCORD_API_KEY is taken from the environment [default: at PATCHCORD_LISTEN, or else
    /// http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// Print the call's record and nothing else.
    #[arg(long)]
    json: bool,
}

/// Between two looks: often enough to see it ring, a small load for hours.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One request, and how often it is sent before the server counts as gone. A server that is started again is back by
/// then; sending again is safe, as the request has a key.
const REQUEST_MAX: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;
const RETRY: Duration = Duration::from_secs(1);

/// Beyond every limit on waiting for an answer and on a call.
const FOLLOW_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Whether somebody answered, and the call ended as calls should.
///
/// # Errors
/// If the call could not be asked for, or followed.
pub async fn run(args: Args, env: &dyn Fn(&str) -> Option<String>) -> Result<bool> {
    let server = match args.server {
        Some(server) => server,
        None => local_url(listen(env)?),
    };
    let api = Api::new(&server, env("PATCHCORD_API_KEY").filter(|key| !key.is_empty()))?;
    let mut wanted = json!({ "to": args.to });
    if let Some(agent) = &args.agent {
        wanted["agent"] = agent.as_str().into();
    }
    let key = Uuid::now_v7().to_string();
    let began = Instant::now();
    let placed = api.ask(|http, calls| http.post(calls).header("Idempotency-Key", &key).json(&wanted)).await?;
    let id = placed["id"].as_str().context("the server's answer is not a call")?.to_owned();
    let say = |line: &str| {
        if !args.json {
            println!("{:>7.1} s  {line}", began.elapsed().as_secs_f64());
        }
    };
    if !args.json {
        println!("Calling {} with agent {}.", args.to, word(&placed["agent"]));
        println!("Call {id}; Ctrl-C stops looking, not the call.");
        println!();
    }
    let mut progress = String::new();
    let record = loop {
        let call = api.ask(|http, calls| http.get(format!("{calls}/{id}"))).await?;
        if !call["ended_at"].is_null() {
            break call;
        }
        let now = word(&call["progress"]);
        if progress != now {
            say(now);
            progress = now.to_owned();
        }
        if began.elapsed() > FOLLOW_MAX {
            bail!("the call goes on and on; see {server}api/v1/calls/{id}");
        }
        sleep(LOOK_EVERY).await;
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&record)?);
    } else {
        say(&format!("ended: {}, by {}", word(&record["ended_reason"]).replace('_', " "), word(&record["ended_by"])));
        if let Some(failure) = record["failure"].as_str() {
            println!("{:>9}  the carrier says: {failure}", "");
        }
    }
    Ok(went_well(&record))
}

/// Where a server listens that was started with this environment.
fn listen(env: &dyn Fn(&str) -> Option<String>) -> Result<SocketAddr> {
    match env("PATCHCORD_LISTEN").filter(|listen| !listen.is_empty()) {
        Some(listen) => listen.parse().context("PATCHCORD_LISTEN is no address; say --server URL"),
        None => Ok(Config::default().listen),
    }
}

/// The origin of whoever listens there, seen from this machine.
pub(crate) fn local_url(listen: SocketAddr) -> Url {
    // What listens everywhere also listens here.
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    let address = SocketAddr::new(ip, listen.port());
    Url::parse(&format!("http://{address}")).expect("an address makes a URL")
}

/// Answered, and ended by somebody who meant to.
fn went_well(record: &Value) -> bool {
    let meant = ["caller_hung_up", "goodbye", "silence", "max_duration", "operator_hung_up"];
    record["answered_at"].is_string() && meant.contains(&word(&record["ended_reason"]))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The API of a running server.
struct Api {
    http: Client,
    calls: String,
    key: Option<String>,
}

impl Api {
    fn new(server: &Url, key: Option<String>) -> Result<Self> {
        // The only provider in the process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = model::tls(None)?;
        let http = Client::builder().tls_backend_preconfigured((*tls).clone()).timeout(REQUEST_MAX).build()?;
        let calls = server.join("/api/v1/calls").context("--server is no URL to send requests to")?;
        Ok(Api { http, calls: calls.into(), key })
    }

    /// Sends a request until the server answers it. A refusal is an error in the server's own words.
    async fn ask(&self, request: impl Fn(&Client, &str) -> RequestBuilder) -> Result<Value> {
        let mut attempt = 1;
        loop {
            let request = request(&self.http, &self.calls);
            let request = match &self.key {
                Some(key) => request.bearer_auth(key),
                None => request,
            };
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    return response.json().await.context("the server's answer cannot be read");
                }
                Ok(response) if !is_passing(response.status()) || attempt == ATTEMPTS => {
                    let status = response.status();
                    let problem: Value = response.json().await.unwrap_or_default();
                    bail!("{}", problem["detail"].as_str().unwrap_or(&format!("the server answered {status}")));
                }
                Err(error) if attempt == ATTEMPTS || error.is_builder() => {
                    let place = self.calls.trim_end_matches("/api/v1/calls");
                    return Err(error.without_url())
                        .with_context(|| format!("no server answers at {place}; start it, or say --server URL"));
                }
                Ok(_) | Err(_) => sleep(RETRY).await,
            }
            attempt += 1;
        }
    }
}

/// Whether it may be otherwise in a second.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}
