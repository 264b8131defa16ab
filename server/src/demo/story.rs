//! What is said in `patchcord demo`, as data: a robot's owner calls its dispatcher.
//!
//! The caller's lines are recorded human speech (`assets/demo/NOTICE.md`); the words of the agent are ours. In two dozen seconds
//! the call goes through what calls are made of: a greeting, a request that needs a tool, an answer that talks too long and is
//! interrupted, a question, a second tool, a goodbye that the agent says and then hangs up by.

use std::time::Duration;

use anyhow::Result;

use super::wav;

pub struct Story {
    /// What the agent is told it is.
    pub instructions: &'static str,
    /// What the embedded model answers: the same as below, by what it hears.
    pub flow: &'static str,
    /// Said by the agent as soon as the call stands.
    pub greeting: &'static str,
    pub tools: &'static [Tool],
    /// The conversation, in order. The reply of the last is the farewell: it ends with a goodbye, and the agent hangs up.
    pub exchanges: &'static [Exchange],
}

/// The caller says something, and gets an answer.
pub struct Exchange {
    pub cue: Cue,
    pub line: Line,
    /// What the agent does before it answers.
    pub tool: Option<ToolUse>,
    /// What the agent answers, as far as it is let.
    pub reply: &'static str,
}

/// When the caller speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cue {
    /// This long after the agent was last heard: the caller took their turn.
    AfterAgent(Duration),
    /// This long after the agent began to be heard, in the middle of its answer: the caller interrupts.
    IntoReply(Duration),
}

/// Something the caller says.
pub struct Line {
    pub words: &'static str,
    /// A WAV file.
    recording: &'static [u8],
}

impl Line {
    /// µ-law, 8 kHz, mono.
    pub fn audio(&self) -> Result<Vec<u8>> {
        wav::read(self.recording)
    }
}

/// A tool that the agent has.
pub struct Tool {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub parameters: &'static str,
}

/// One use of a tool.
pub struct ToolUse {
    pub name: &'static str,
    /// JSON, as the model writes it.
    pub arguments: &'static str,
    /// JSON, as the tool answers.
    pub result: &'static str,
    /// How long the tool takes.
    pub takes: Duration,
}

pub const STORY: Story = Story {
    instructions: "You are Ada, who dispatches a rover over the telephone. Be brief. Drive it as the caller says, or let it explore \
                   by itself under the caller's mission code; then say goodbye.",
    flow: include_str!("../../assets/demo/flow.toml"),
    greeting: "Rover dispatch, this is Ada. Where should it go?",
    tools: &[
        Tool {
            name: "drive",
            description: "Drives the rover in a straight line.",
            parameters: r#"{"type":"object","properties":{"direction":{"type":"string","enum":["forward","backward"]},"meters":{"type":"number"}},"required":["direction","meters"]}"#,
        },
        Tool {
            name: "explore",
            description: "Lets the rover choose its own way, filed under a mission code.",
            parameters: r#"{"type":"object","properties":{"mission":{"type":"string","pattern":"^[0-9]{6}$"}},"required":["mission"]}"#,
        },
    ],
    exchanges: &[
        Exchange {
            cue: Cue::AfterAgent(Duration::from_millis(600)),
            line: Line {
                words: "go forward ten meters",
                recording: include_bytes!("../../assets/demo/go-forward-ten-meters.wav"),
            },
            tool: Some(ToolUse {
                name: "drive",
                arguments: r#"{"direction":"forward","meters":10}"#,
                result: r#"{"accepted":true,"seconds":20}"#,
                takes: Duration::from_millis(300),
            }),
            reply: "Ten meters forward, about twenty seconds. On the way it passes the charging bay, switches its lamp on, \
                    and takes a picture of every door, so that tonight you can see which of them were left open.",
        },
        Exchange {
            cue: Cue::IntoReply(Duration::from_millis(4_300)),
            line: Line {
                words: "go somewhere and do something",
                recording: include_bytes!("../../assets/demo/go-somewhere-and-do-something.wav"),
            },
            tool: None,
            reply: "All right, it may explore by itself. Under which mission code?",
        },
        Exchange {
            cue: Cue::AfterAgent(Duration::from_millis(500)),
            line: Line {
                words: "thirty-three four six ninety-two",
                recording: include_bytes!("../../assets/demo/thirty-three-four-six-ninety-two.wav"),
            },
            tool: Some(ToolUse {
                name: "explore",
                arguments: r#"{"mission":"334692"}"#,
                result: r#"{"accepted":true}"#,
                takes: Duration::from_millis(200),
            }),
            reply: "Thirty-three, four, six, ninety-two. It is on its way. Thank you for calling, goodbye!",
        },
    ],
};

/// How long a text takes to say, at the pace of a telephone agent: some 165 words a minute.
pub fn spoken(text: &str) -> Duration {
    const PER_CHARACTER: Duration = Duration::from_millis(65);
    PER_CHARACTER * text.chars().count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_heard() {
        for exchange in STORY.exchanges {
            let audio = exchange.line.audio().unwrap();
            let loudest = audio.iter().map(|&byte| call::g711::decode(byte).unsigned_abs()).max().unwrap();
            assert!((8_000..32_000).contains(&audio.len()), "{}: {} samples", exchange.line.words, audio.len());
            assert!((10_000..32_000).contains(&loudest), "{}: peak {loudest}", exchange.line.words);
        }
    }

    #[test]
    fn tools_are_known_and_speak_json() {
        for tool in STORY.tools {
            serde_json::from_str::<serde_json::Value>(tool.parameters).unwrap();
        }
        for tool_use in STORY.exchanges.iter().filter_map(|exchange| exchange.tool.as_ref()) {
            let tool = STORY.tools.iter().find(|tool| tool.name == tool_use.name).unwrap();
            let parameters: serde_json::Value = serde_json::from_str(tool.parameters).unwrap();
            let arguments: serde_json::Value = serde_json::from_str(tool_use.arguments).unwrap();
            serde_json::from_str::<serde_json::Value>(tool_use.result).unwrap();
            for name in arguments.as_object().unwrap().keys() {
                assert!(parameters["properties"].get(name).is_some(), "{}: {name}", tool.name);
            }
        }
    }

    #[test]
    fn an_interruption_comes_well_before_the_reply_would_end() {
        for pair in STORY.exchanges.windows(2) {
            if let Cue::IntoReply(after) = pair[1].cue {
                assert!(after + Duration::from_secs(5) < spoken(pair[0].reply));
            }
        }
    }

    #[test]
    fn it_ends_with_a_goodbye() {
        assert!(STORY.exchanges.last().unwrap().reply.ends_with("goodbye!"));
    }
}
