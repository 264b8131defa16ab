//! Who plays in the demo: the carrier with its caller, the model, the tools, and how the server is told of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use call::trace::Words;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{FakeTwilio, Settings};
use sim::model::server::ModelServer;
use sim::model::{Behaviour, FakeModel, Reply, Script};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::story::{Cue, Story, spoken};
use crate::agent::{Agent, Model, Provider, Tool};
use crate::config::{Config, OpenAi, Secret, Twilio, Verify};

/// Agent speech of this length is the reply to what was said, and not the end of what was interrupted.
const REPLIED: Duration = Duration::from_millis(500);

/// Numbers that the carrier keeps for tests; no telephone has them.
pub const CALLER: &str = "+15005550001";
pub const CALLED: &str = "+15005550006";

/// Of the model, which runs on this machine and knows no other.
const MODEL_KEY: &str = "demo";

pub struct Cast {
    pub story: &'static Story,
    pub carrier: FakeTwilio,
    /// `None`: the embedded model, whose weights are in [`voice`](Cast::voice).
    pub model: Option<ModelServer>,
    voice: Option<PathBuf>,
    pub caller: Vec<CallerStep>,
    /// The caller's side is somebody's own recording, of which the story knows nothing.
    pub is_improvised: bool,
    tools: Tools,
}

impl Cast {
    /// `voice`: the folder of the embedded model's weights, if it is to be the model.
    pub async fn gather(story: &'static Story, own_caller: Option<Vec<u8>>, voice: Option<PathBuf>) -> Result<Cast> {
        let carrier = FakeTwilio::start(Settings::default()).await.context("the simulated carrier cannot start")?;
        let model = match &voice {
            Some(_) => None,
            None => {
                let script = script(story);
                let model = ModelServer::start(MODEL_KEY, move |opening| {
                    FakeModel::new(&format!("demo{}", opening.number), script.clone(), Behaviour::default())
                });
                Some(model.await.context("the simulated model cannot start")?)
            }
        };
        let tools = Tools::start(story).await.context("the demo's tools cannot start")?;
        let is_improvised = own_caller.is_some();
        let caller = match own_caller {
            Some(audio) => vec![
                CallerStep::AwaitAgentQuiet(Duration::from_millis(500)),
                CallerStep::Say(audio.into()),
                CallerStep::Pause(Duration::from_secs(5)),
                CallerStep::HangUp,
            ],
            None => caller(story)?,
        };
        Ok(Cast { story, carrier, model, voice, caller, is_improvised, tools })
    }

    /// How long the call will last, about.
    pub fn length(&self) -> Duration {
        let said: Duration = self
            .caller
            .iter()
            .map(|step| match step {
                CallerStep::Say(audio) => Duration::from_micros(125 * audio.len() as u64),
                CallerStep::Pause(duration) | CallerStep::AwaitAgentSpeech { for_at_least: duration } => *duration,
                CallerStep::AwaitAgentQuiet(_) | CallerStep::Press(_) | CallerStep::HangUp => Duration::ZERO,
            })
            .sum();
        let interrupted = |exchange: usize| {
            self.story.exchanges.get(exchange + 1).is_some_and(|next| matches!(next.cue, Cue::IntoReply(_)))
        };
        let heard: Duration = match self.is_improvised {
            true => spoken(self.story.greeting),
            false => {
                let replies = self.story.exchanges.iter().enumerate().filter(|(index, _)| !interrupted(*index));
                spoken(self.story.greeting) + replies.map(|(_, exchange)| spoken(exchange.reply)).sum::<Duration>()
            }
        };
        // Each turn is found to be over after half a second, and thought about as long.
        said + heard + Duration::from_millis(1_000) * self.story.exchanges.len() as u32
    }

    /// The server's configuration: the real one, with the cast's addresses in it.
    pub fn config(&self, data: &Path) -> Result<Config> {
        let flow = data.join("flow.toml");
        std::fs::write(&flow, self.story.flow).context("the flow cannot be written")?;
        let defaults = Config::default();
        let known = |url: String| url.parse().unwrap_or_else(|_| defaults.openai.url.clone());
        let settings = Settings::default();
        let defaults_of_agent = Agent::default();
        let model = match &self.voice {
            Some(_) => Model { provider: Provider::Local, flow: Some(flow), ..defaults_of_agent.model.clone() },
            None => defaults_of_agent.model.clone(),
        };
        Ok(Config {
            data: data.to_owned(),
            voice_models: self.voice.clone(),
            openai: OpenAi {
                url: self.model.as_ref().map_or_else(|| defaults.openai.url.clone(), |model| known(model.url())),
                key: Some(Secret::new(MODEL_KEY)),
                ..defaults.openai.clone()
            },
            twilio: Twilio {
                account_sid: Some(settings.account_sid),
                auth_token: Some(Secret::new(settings.auth_token)),
                api_url: known(self.carrier.api_url()),
                verify: Verify::Always,
                ..defaults.twilio.clone()
            },
            agents: vec![Agent {
                name: "rover-dispatch".to_owned(),
                instructions: self.story.instructions.to_owned(),
                greeting: Some(self.story.greeting.to_owned()),
                language: Some("en".to_owned()),
                // Nobody's secrets are in it, and the picture shows its words.
                trace: Some(Words::Full),
                tools: self.story.tools.iter().map(|tool| self.tools.tool(tool)).collect(),
                model,
                ..defaults_of_agent
            }],
            ..defaults
        })
    }
}

fn script(story: &Story) -> Script {
    let mut script = Script::default();
    for exchange in story.exchanges {
        script.caller_says.push(Some(exchange.line.words.to_owned()));
        if let Some(tool) = &exchange.tool {
            script.replies.push(Reply::calls(tool.name, tool.arguments));
        }
        script.replies.push(Reply::says(exchange.reply));
    }
    script
}

fn caller(story: &Story) -> Result<Vec<CallerStep>> {
    let mut steps = Vec::new();
    for exchange in story.exchanges {
        match exchange.cue {
            Cue::AfterAgent(pause) => {
                steps.push(CallerStep::AwaitAgentSpeech { for_at_least: REPLIED });
                steps.push(CallerStep::AwaitAgentQuiet(pause));
            }
            Cue::IntoReply(into) => steps.push(CallerStep::AwaitAgentSpeech { for_at_least: into }),
        }
        steps.push(CallerStep::Say(exchange.line.audio()?.into()));
    }
    // The agent says goodbye and hangs up; a caller who has to wait for that in vain gives up.
    steps.push(CallerStep::AwaitAgentQuiet(Duration::from_secs(10)));
    steps.push(CallerStep::HangUp);
    Ok(steps)
}

/// The tools of the story, as the HTTP services that tools are.
struct Tools {
    origin: String,
    serving: JoinHandle<()>,
}

impl Tools {
    async fn start(story: &'static Story) -> Result<Tools> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/{tool}", post(use_tool)).with_state(story);
        let serving = tokio::spawn(async move {
            // Ends with the demo.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Tools { origin, serving })
    }

    fn tool(&self, tool: &super::story::Tool) -> Tool {
        let url = format!("{}/{}", self.origin, tool.name);
        Tool {
            name: tool.name.to_owned(),
            description: tool.description.to_owned(),
            parameters: serde_json::from_str(tool.parameters).unwrap_or_default(),
            url: url.parse().unwrap_or_else(|_| Config::default().twilio.api_url),
        }
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn use_tool(
    State(story): State<&'static Story>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Result<&'static str, StatusCode> {
    let uses = story.exchanges.iter().filter_map(|exchange| exchange.tool.as_ref());
    let tool = uses.into_iter().find(|tool| tool.name == name).ok_or(StatusCode::NOT_FOUND)?;
    tokio::time::sleep(tool.takes).await;
    Ok(tool.result)
}
