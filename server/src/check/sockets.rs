//! The same server that `patchcord serve` runs, on a free port of this machine and in a folder that is thrown away,
//! between the simulated carrier and the simulated model: webhooks, TwiML, and a call over real sockets.

use std::sync::PoisonError;
use std::time::Duration;

use call::EndReason;
use reqwest::{Client, Response};
use sim::carrier::signature::sign;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, FakeTwilio, Settings};
use sim::carrier::twiml::{self, Verb};
use sim::model::server::ModelServer;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use sim::oracle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{Finding, Report};
use crate::agent::{Agent, Provider};
use crate::config::{Config, Secret, Verify};
use crate::{Calls, Server};

/// For all of it: it takes some three seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// From a call's last status to its record.
const RECORD_MAX: Duration = Duration::from_secs(10);

const KEY: &str = "check";
/// Of the call that is announced more than once.
const CALL_SID: &str = "CA0000000000000000000000000000cafe";

const FROM: &str = "+15005550001";

/// How long a webhook may take to be answered, while [`LIVE`] calls go on. The carrier waits 15 s, so it is not for it: for so
/// long the caller hears nothing but ringing, and before an answer the model is not even dialled.
const ANSWER_BUDGET: Duration = Duration::from_millis(100);

/// Calls that are announced, one after another, to measure that: what a core has to do at a busy moment.
const LIVE: usize = 50;

/// Where the simulated carrier has us reached by, unless it is configured.
const ORIGIN: &str = "https://calls.example.org";

pub(super) async fn examine(config: Option<&Config>, report: &mut Report) {
    let examined = match timeout(LIMIT, Stage::set(config)).await {
        Ok(Ok(stage)) => timeout(LIMIT, stage.examine(report)).await.map_err(|_| LATE.to_owned()),
        Ok(Err(error)) => Err(format!("no server could be started for it: {error:#}")),
        Err(_) => Err(LATE.to_owned()),
    };
    if let Err(why) = examined {
        report.add(Finding::fail("sockets", why, "please report it, with what else is listed here"));
    }
}

fn judged(mut took: Vec<Duration>) -> Finding {
    took.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
    let (median, worst) = (took.get(took.len() / 2), took.last());
    let budget = ANSWER_BUDGET.as_millis();
    let what = format!(
        "answered within {:.1} ms (median), {:.1} ms (the slowest of {}), with up to {LIVE} calls; the budget is {budget} ms",
        ms(median),
        ms(worst),
        took.len()
    );
    if worst.is_some_and(|worst| *worst <= ANSWER_BUDGET) {
        return Finding::ok("webhooks", what);
    }
    Finding::warn("webhooks", what, "see what else this machine does: it is slow for calls, or was busy")
}

const LATE: &str = "it took more than 30 s";

struct Stage {
    carrier: FakeTwilio,
    settings: Settings,
    model: ModelServer,
    client: Client,
    calls: Calls,
    agent: Agent,
    /// Of the server.
    base: String,
    /// As it is known to the public.
    origin: String,
    /// Whether that is what is configured.
    is_public: bool,
    /// A number that the agent answers.
    number: String,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: oneshot::Sender<()>,
    _data: tempfile::TempDir,
}

impl Stage {
    async fn set(config: Option<&Config>) -> anyhow::Result<Self> {
        let mut config = config.cloned().unwrap_or_default();
        let is_public = config.public_url.is_some();
        let origin = config.public_url.as_ref().map_or(ORIGIN, |url| url.as_str()).trim_end_matches('/').to_owned();
        let settings = Settings { public_origin: Some(origin.clone()), ..Settings::default() };
        let carrier = FakeTwilio::start(settings.clone()).await?;
        let says = |_: &_| FakeModel::new("check", Script::says(["Hello."]), Behaviour::default());
        let model = ModelServer::start(KEY, says).await?;
        let data = tempfile::tempdir()?;
        config.data = data.path().to_owned();
        config.api_key = None;
        config.public_url = origin.parse().ok();
        config.openai.url = model.url().parse()?;
        config.openai.key = Some(Secret::new(KEY));
        config.openai.ca_file = None;
        config.twilio.account_sid = Some(settings.account_sid.clone());
        config.twilio.auth_token = Some(Secret::new(settings.auth_token.clone()));
        config.twilio.api_url = carrier.api_url().parse()?;
        config.twilio.verify = Verify::Always;
        // How many may call is not what is looked at here.
        config.max_calls = config.max_calls.max(2 * LIVE);
        for agent in &mut config.agents {
            agent.max_calls = None;
            // Nor which model: the simulated one has to say what is heard.
            agent.model.provider = Provider::OpenAi;
        }
        let agent = config.agents.first().cloned().unwrap_or_default();
        let number = agent.numbers.first().cloned().unwrap_or_else(|| "+15005550006".to_owned());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = Server::new(config, listener)?;
        let (calls, base) = (server.calls(), format!("http://{}", server.address()));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(futures_util::stream::once(async {
            // Both a message and its sender's end mean: stop.
            let _ = stopped.await;
        })));
        let client = Client::builder().no_proxy().build()?;
        Ok(Stage {
            carrier,
            settings,
            model,
            client,
            calls,
            agent,
            base,
            origin,
            is_public,
            number,
            server,
            stop,
            _data: data,
        })
    }

    async fn examine(self, report: &mut Report) {
        let please = "this build is not to be let near a telephone; please report it";
        let document = self.deliver_twice().await;
        match &document {
            Ok(document) => match self.read_twiml(document) {
                Ok(url) => {
                    let example = if self.is_public { "" } else { ", for example: there is no public_url" };
                    report.add(Finding::ok("twiml", format!("the answer leads the carrier to {url}{example}")));
                }
                Err(why) => report.add(Finding::fail("twiml", why, "check PATCHCORD_PUBLIC_URL")),
            },
            Err(why) => report.add(Finding::fail("twiml", format!("no document: {why}"), please)),
        }
        let once = match document {
            Ok(_) => self.ends_once().await,
            Err(why) => Err(why),
        };
        report.add(match once {
            Ok(()) => {
                Finding::ok("sockets", "webhooks that came twice were answered with the same bytes: one call (N3)")
            }
            Err(why) => Finding::fail("sockets", format!("webhooks that come twice (N3): {why}"), please),
        });
        report.add(match self.call().await {
            Ok(heard) => Finding::ok("sockets", format!("{} spoke for {heard} ms on a call here", self.agent.name)),
            Err(why) => Finding::fail("sockets", format!("a call on this machine: {why}"), please),
        });
        report.add(match self.answer_times().await {
            Ok(took) => judged(took),
            Err(why) => Finding::fail("webhooks", why, please),
        });
        drop(self.stop);
        // It has nothing left to do; what it came to is in the findings.
        let _ = self.server.await;
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, String> {
        let form: Vec<(String, String)> = form.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let signature = sign(&self.settings.auth_token, &format!("{}{path}", self.origin), &form);
        let request = self.client.post(format!("{}{path}", self.base)).header("X-Twilio-Signature", signature);
        let answer = request.form(&form).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(answer) } else { Err(format!("{path} answered {}", answer.status())) }
    }

    fn form<'a>(&'a self, call_sid: &'a str, status: &'a str) -> [(&'a str, &'a str); 5] {
        [
            ("AccountSid", &self.settings.account_sid),
            ("CallSid", call_sid),
            ("CallStatus", status),
            ("From", FROM),
            ("To", &self.number),
        ]
    }

    /// The same webhook, two at once and one after.
    async fn deliver_twice(&self) -> Result<String, String> {
        let form = self.form(CALL_SID, "ringing");
        let deliver =
            || async { self.post("/twilio/voice", &form).await?.text().await.map_err(|error| error.to_string()) };
        let (one, two) = tokio::join!(deliver(), deliver());
        let (one, two, three) = (one?, two?, deliver().await?);
        if one != two || one != three {
            return Err("they were answered with different documents".to_owned());
        }
        match self.calls.live() + self.calls.finished().len() {
            1 => Ok(one),
            more => Err(format!("they became {more} calls")),
        }
    }

    /// The call that was announced is over when the carrier says so, twice.
    async fn ends_once(&self) -> Result<(), String> {
        let form = self.form(CALL_SID, "completed");
        self.post("/twilio/status", &form).await?;
        self.post("/twilio/status", &form).await?;
        let record = timeout(RECORD_MAX, self.calls.wait_for_finished(1)).await;
        let record = record.map_err(|_| "its end left no record".to_owned())?.ok_or("its end left no record")?;
        match (self.calls.live(), self.calls.finished().len()) {
            (0, 1) => Ok(()),
            (live, ended) => Err(format!("{live} calls go on and {ended} have ended as {:?}", record.ended_reason)),
        }
    }

    /// How long each webhook took of calls that begin one after another, and then end so.
    async fn answer_times(&self) -> Result<Vec<Duration>, String> {
        let before = self.calls.finished().len();
        let sids: Vec<String> = (0..LIVE).map(|number| format!("CAca11{number:028x}")).collect();
        let mut took = Vec::new();
        for (path, status) in [("/twilio/voice", "ringing"), ("/twilio/status", "completed")] {
            for sid in &sids {
                let began = Instant::now();
                let answer = self.post(path, &self.form(sid, status)).await?;
                answer.bytes().await.map_err(|error| error.to_string())?;
                took.push(began.elapsed());
            }
        }
        let ended = self.calls.wait_for_finished((before + LIVE) as u64);
        timeout(RECORD_MAX, ended).await.map_err(|_| "calls that were announced did not end".to_owned())?;
        Ok(took)
    }

    /// Where the carrier is to bring the call's audio.
    fn read_twiml(&self, document: &str) -> Result<String, String> {
        let verbs = twiml::parse(document)?;
        let Some(Verb::Connect { action: Some(action), stream }) = verbs.first() else {
            return Err(format!("the document begins with {:?}", verbs.first()));
        };
        let wanted = if self.origin.starts_with("https") { "wss://" } else { "ws://" };
        let url = reqwest::Url::parse(&stream.url).map_err(|_| format!("{} is no absolute URL", stream.url))?;
        if !stream.url.starts_with(wanted) || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{} is not an absolute {wanted} URL without a query", stream.url));
        }
        if !action.starts_with(&self.origin) {
            return Err(format!("{action} is not under {}", self.origin));
        }
        // Its path ends in the token, which is nobody's business.
        Ok(format!("{wanted}{}/twilio/media/…", url.host_str().unwrap_or_default()))
    }

    /// Somebody calls, hears the agent begin to speak, and hangs up. How much was heard, in ms.
    async fn call(&self) -> Result<u128, String> {
        let mut caller = Vec::new();
        if self.agent.greeting.is_none() {
            caller.extend([CallerStep::Pause(Duration::from_millis(300)), CallerStep::Say(hum("hello").into())]);
        }
        let listen = CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(400) };
        caller.extend([listen, CallerStep::HangUp]);
        let options = CallOptions { limit: LIMIT, ..CallOptions::default() };
        let report = self.carrier.call(&self.base, FROM, &self.number, caller, options).await;
        if let Some(problem) = report.problems.first() {
            return Err(format!("the carrier would say: {problem}"));
        }
        let stream = report.streams.first().ok_or("it had no media stream")?;
        let sessions = self.model.sessions();
        let session = sessions.last().ok_or("the model was not reached")?;
        let model = session.lock().unwrap_or_else(PoisonError::into_inner).record().clone();
        // The caller hung up into it, so that nobody was told where hearing stopped.
        let heard = oracle::heard(stream, &model)?;
        if let Some(warning) = stream.violations.first() {
            return Err(format!("the carrier would warn: {warning}"));
        }
        if let Some(error) = model.client_errors.first() {
            return Err(format!("the model complained: {:?}", error.code));
        }
        let record = timeout(RECORD_MAX, self.calls.wait_for_finished(2)).await.ok().flatten();
        let record = record.ok_or("it left no record")?;
        if record.ended_reason != EndReason::CallerHungUp {
            return Err(format!("it ended as {:?}", record.ended_reason));
        }
        match heard.iter().map(|heard| heard.bytes as u128 / 8).sum() {
            0 => Err("the agent was not heard".to_owned()),
            heard => Ok(heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn the_slowest_webhook_decides() {
        let of = |worst| judged([vec![Duration::from_millis(2); 99], vec![Duration::from_millis(worst)]].concat());
        let found =
            "answered within 2.0 ms (median), 101.0 ms (the slowest of 100), with up to 50 calls; the budget is 100 ms";
        assert_eq!((of(101).level, of(101).found.as_str()), (Level::Warn, found));
        assert_eq!(of(100).level, Level::Ok);
    }
}
