//! A seed becomes some calls on one server: what each is, by the simulator's own dice, and what goes wrong around the shell.

use std::ops::Range;
use std::time::Duration;

use sim::dice::Dice;
use sim::seed;

use crate::agent::{Agent, Tool};
use crate::config::{Config, Secret, Verify};

/// The carrier's, with which it signs.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How much lies between the two ends of a media socket: a second of audio, so that a carrier that does not read is felt.
pub const MEDIA_BUFFER: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub struct Plan {
    pub calls: Vec<CallPlan>,
    pub max_calls: usize,
    /// When the server is asked to stop.
    pub stops: Vec<Duration>,
    /// The process stands still, and the clock has leapt when it comes back: from when on, and how far.
    pub leaps: Vec<(Duration, Duration)>,
    /// Bytes that may wait for one peer.
    pub backlog_max: usize,
}

#[derive(Clone, Debug)]
pub struct CallPlan {
    /// Who says what, how both peers behave, which commands fail. Its times count from the ringing.
    pub call: seed::Plan,
    pub rings_at: Duration,
    /// How often the webhook is delivered, at once.
    pub deliveries: usize,
    /// After it has its stream, the token is tried again.
    pub tries_token_again: bool,
    /// Neither peer reads meanwhile. From the ringing on.
    pub carrier_stalls: Vec<Range<Duration>>,
    pub model_stalls: Vec<Range<Duration>>,
    /// The carrier sends something that nobody understands.
    pub garbage: Vec<Duration>,
    pub recording: bool,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut dice = Dice::new(seed ^ 0x5E11_0000_0000);
        let [mut calls, mut server] = std::array::from_fn(|_| dice.split());
        let count = calls.weighted(&[(6, 1), (3, 2), (2, 3), (1, 5)]);
        let spread = calls.pick(&[0, 300, 15_000]);
        let calls = (0..count).map(|_| draw_call(&mut calls, spread)).collect();
        Plan {
            calls,
            max_calls: server.weighted(&[(2, 1), (2, 2), (1, 9)]),
            stops: match server.between(0..=9) {
                0 => vec![server.ms(0..=20_000)],
                1 => vec![server.ms(0..=20_000), server.ms(20_000..=40_000)],
                _ => Vec::new(),
            },
            leaps: Vec::from_iter(server.percent(15).then(|| (server.ms(0..=20_000), server.ms(30..=90_000)))),
            backlog_max: server.pick(&[30_000, 1 << 20]),
        }
    }

    /// The server's settings: an agent for each call, so that each has a configuration of its own.
    pub fn config(&self, data: &std::path::Path) -> Config {
        let mut config = Config { data: data.to_owned(), max_calls: self.max_calls, ..Config::default() };
        config.socket_backlog_max = self.backlog_max;
        config.openai.url = "ws://model.invalid/v1/realtime".parse().unwrap();
        config.openai.key = Some(Secret::new("key"));
        config.twilio.account_sid = Some("AC1".to_owned());
        config.twilio.auth_token = Some(Secret::new(AUTH_TOKEN));
        config.twilio.api_url = "http://carrier.invalid".parse().unwrap();
        config.twilio.verify = Verify::Always;
        config.twilio.fetch_recordings = false;
        config.agents = self.calls.iter().enumerate().map(|(index, call)| call.agent(index)).collect();
        config
    }
}

impl CallPlan {
    pub fn append_frames(&self) -> u32 {
        self.call.append_frames.min(3)
    }

    fn agent(&self, index: usize) -> Agent {
        let mut agent = Agent { name: format!("agent-{index}"), numbers: vec![number(index)], ..Agent::default() };
        agent.model.name = format!("m{index}");
        agent.greeting.clone_from(&self.call.config.greeting);
        agent.call = self.call.config.clone();
        // Nothing is to be heard but the model: what else was played would have to be told from it.
        agent.clips = sim::world::no_clips();
        agent.recording = self.recording;
        agent.audio.append_frames = self.append_frames();
        agent.trace = Some(call::trace::Words::Full);
        agent.tools = ["book", "look_up"]
            .map(|name| Tool {
                name: name.to_owned(),
                description: String::new(),
                parameters: serde_json::json!({ "type": "object", "properties": {} }),
                url: format!("http://tools.invalid/{index}/{name}").parse().unwrap(),
            })
            .into();
        agent
    }
}

/// The number that is called.
pub fn number(index: usize) -> String {
    format!("+1500555{index:04}")
}

fn draw_call(dice: &mut Dice, spread: u64) -> CallPlan {
    let mut call = seed::Plan::from_seed(dice.draw() % 1_000_000);
    call.direction = call::config::Direction::Inbound;
    // A model that is silent for good is found out by pings in the shell.
    call.config.announced_max = Duration::from_secs(10);
    let spans = |dice: &mut Dice, percent: u64| {
        let count = if dice.percent(percent) { dice.between(1..=2) } else { 0 };
        let span = |from: Duration, length: Duration| from..from + length;
        (0..count).map(|_| span(dice.ms(0..=20_000), dice.ms(50..=6_000))).collect()
    };
    CallPlan {
        call,
        rings_at: dice.ms(0..=spread),
        deliveries: if dice.percent(15) { 2 } else { 1 },
        tries_token_again: dice.percent(20),
        carrier_stalls: spans(dice, 12),
        model_stalls: spans(dice, 12),
        garbage: if dice.percent(15) { (0..3).map(|_| dice.ms(0..=20_000)).collect() } else { Vec::new() },
        recording: dice.percent(80),
    }
}
