//! What a chat server is asked: the conversation as messages, and the functions that it may call.

use call::wire::openai::{Item, ToolSpec};
use serde_json::{Value, json};

/// One thing that happened in a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Told by the client, beside its instructions.
    System(String),
    /// What the caller was understood to say, or the client wrote for them.
    Caller(String),
    /// What of the agent's words was heard.
    Agent(String),
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
    Output {
        call_id: String,
        output: String,
    },
}

/// What stands for the caller's words where there are none. Servers refuse, or go on with, a conversation in which the agent
/// had the last word.
pub const SILENT: &str = "(The caller says nothing.)";

/// What stands for the caller before the agent's first words, where those come first: a greeting does.
pub const IS_THERE: &str = "(The caller is on the line.)";

/// What stands for words that were heard and not understood.
pub const NOT_UNDERSTOOD: &str = "(The caller said something that could not be understood.)";

/// What stands for the output of a function that is still running: each call has to have one.
const RUNNING: &str = r#"{"status":"still running"}"#;

/// What is asked, but for the server's own: the model, and that it streams.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Request {
    pub instructions: String,
    pub turns: Vec<Turn>,
    pub tools: Vec<ToolSpec>,
    /// As a response of the Realtime protocol has it.
    pub tool_choice: Option<Value>,
    /// `None`: as many as it likes.
    pub tokens_max: Option<u64>,
    pub reasoning_effort: Option<String>,
}

impl Request {
    /// With at most so many messages of the conversation, the newest, beside the instructions. A call and its output stay
    /// together.
    pub fn body(&self, messages_max: usize) -> Value {
        let mut body = json!({"messages": self.messages(messages_max)});
        let mut set = |key: &str, value: Value| body[key] = value;
        let tools: Vec<Value> = self.tools.iter().map(function).collect();
        let choice = self.tool_choice.as_ref().filter(|choice| *choice != "auto");
        if !tools.is_empty() && choice.is_none_or(|choice| choice != "none") {
            set("tools", tools.into());
            if let Some(choice) = choice {
                let named = |name: &Value| json!({"type": "function", "function": {"name": name}});
                set("tool_choice", choice.get("name").map_or_else(|| choice.clone(), named));
            }
        }
        if let Some(tokens_max) = self.tokens_max {
            set("max_tokens", tokens_max.into());
        }
        if let Some(effort) = &self.reasoning_effort {
            set("reasoning_effort", effort.clone().into());
        }
        body
    }

    fn messages(&self, messages_max: usize) -> Vec<Value> {
        let mut groups = self.groups();
        let mut count: usize = groups.iter().map(Vec::len).sum();
        while count > messages_max && groups.len() > 1 {
            count -= groups.remove(0).len();
        }
        let mut messages: Vec<Value> = groups.into_iter().flatten().collect();
        let is_of = |message: Option<&Value>, roles: &[&str]| {
            message.and_then(|message| message["role"].as_str()).is_some_and(|role| roles.contains(&role))
        };
        if !is_of(messages.last(), &["user", "tool"]) {
            messages.push(message("user", SILENT));
        }
        let first = messages.iter().position(|message| !is_of(Some(message), &["system"])).unwrap_or_default();
        if is_of(messages.get(first), &["assistant"]) {
            messages.insert(first, message("user", IS_THERE));
        }
        if !self.instructions.is_empty() {
            messages.insert(0, message("system", &self.instructions));
        }
        alternating(messages)
    }

    /// Messages that cannot be without each other: what the agent said and called then, and what came of it.
    fn groups(&self) -> Vec<Vec<Value>> {
        let mut groups: Vec<Vec<Value>> = Vec::new();
        let mut turns = self.turns.iter().peekable();
        let mut after_agent = false;
        while let Some(turn) = turns.next() {
            let spoke = std::mem::take(&mut after_agent);
            match turn {
                Turn::System(text) => groups.push(vec![message("system", text)]),
                Turn::Caller(text) => groups.push(vec![message("user", text)]),
                Turn::Agent(text) if text.trim().is_empty() => {}
                Turn::Agent(text) => {
                    groups.push(vec![message("assistant", text)]);
                    after_agent = true;
                }
                Turn::Call { .. } => {
                    let before = if spoke { groups.pop() } else { None };
                    let mut group = before.unwrap_or_else(|| vec![json!({"role": "assistant", "content": null})]);
                    let mut calls = Vec::new();
                    let mut next = Some(turn);
                    while let Some(Turn::Call { call_id, name, arguments }) = next {
                        let function = json!({"name": name, "arguments": arguments});
                        calls.push(json!({"id": call_id, "type": "function", "function": function}));
                        let output = self.output(call_id).unwrap_or(RUNNING);
                        group.push(json!({"role": "tool", "tool_call_id": call_id, "content": output}));
                        next = turns.next_if(|turn| matches!(turn, Turn::Call { .. }));
                    }
                    group[0]["tool_calls"] = calls.into();
                    groups.push(group);
                }
                // It stands with its call. That of a call that is forgotten says nothing to anybody.
                Turn::Output { .. } => {}
            }
        }
        groups
    }

    fn output(&self, wanted: &str) -> Option<&str> {
        self.turns.iter().find_map(|turn| match turn {
            Turn::Output { call_id, output } if call_id == wanted => Some(output.as_str()),
            _ => None,
        })
    }
}

/// Messages of one role in a row as one. Many models' templates have the two sides take turns, beginning with the user, and
/// fail with anything else; their servers then refuse the whole conversation.
fn alternating(messages: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for message in messages {
        match joined.last_mut() {
            // Each output stands for itself, and what was called is followed by its outputs.
            Some(last) if last["role"] == message["role"] && message["role"] != "tool" => {
                let texts = [&last["content"], &message["content"]];
                let text = texts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
                *last = message;
                last["content"] = text.into();
            }
            _ => joined.push(message),
        }
    }
    joined
}

fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

fn function(tool: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = tool;
    json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
}

impl Turn {
    /// Of an item whose words are in it. `None`: it says nothing to a chat server.
    pub fn of(item: &Item) -> Option<Turn> {
        let parts = item.content.as_deref().unwrap_or_default();
        let words =
            parts.iter().filter_map(|part| part.text.as_deref().or_else(|| part.transcript.as_ref()?.as_deref()));
        let text = words.collect::<Vec<_>>().join(" ");
        let (call_id, own) =
            (item.call_id.clone().unwrap_or_default(), |text: &Option<String>| text.clone().unwrap_or_default());
        match (item.kind.as_str(), item.role.as_deref()) {
            ("message", Some("system")) => Some(Turn::System(text)),
            ("message", Some("assistant")) => Some(Turn::Agent(text)),
            ("message", _) => Some(Turn::Caller(text)),
            ("function_call", _) => {
                Some(Turn::Call { call_id, name: own(&item.name), arguments: own(&item.arguments) })
            }
            ("function_call_output", _) => Some(Turn::Output { call_id, output: own(&item.output) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(text: &str) -> Turn {
        Turn::Caller(text.to_owned())
    }

    fn agent(text: &str) -> Turn {
        Turn::Agent(text.to_owned())
    }

    fn call(call_id: &str) -> Turn {
        Turn::Call { call_id: call_id.to_owned(), name: "book".to_owned(), arguments: "{}".to_owned() }
    }

    fn output(call_id: &str) -> Turn {
        Turn::Output { call_id: call_id.to_owned(), output: format!("of {call_id}") }
    }

    /// Role, text, and the ids of calls, of each message.
    fn messages(turns: Vec<Turn>, messages_max: usize) -> Vec<String> {
        let request = Request { instructions: "Be brief.".to_owned(), turns, ..Request::default() };
        let body = request.body(messages_max);
        let told = |message: &Value| {
            let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| call["id"].as_str().unwrap());
            let (role, text) = (message["role"].as_str().unwrap(), message["content"].as_str().unwrap_or("-"));
            format!("{role}: {text} {}", calls.collect::<Vec<_>>().join(",")).trim_end().to_owned()
        };
        body["messages"].as_array().unwrap().iter().map(told).collect()
    }

    #[test]
    fn a_conversation_becomes_messages() {
        let turns = vec![
            agent("Hello."),
            caller("Book."),
            agent("A moment."),
            call("a"),
            call("b"),
            caller("And?"),
            output("b"),
            output("gone"),
            agent(" "),
            call("c"),
        ];
        assert_eq!(
            messages(turns, 40),
            [
                "system: Be brief.",
                "user: (The caller is on the line.)",
                "assistant: Hello.",
                "user: Book.",
                "assistant: A moment. a,b",
                r#"tool: {"status":"still running"}"#,
                "tool: of b",
                "user: And?",
                "assistant: - c",
                r#"tool: {"status":"still running"}"#,
            ]
        );
    }

    #[test]
    fn the_caller_has_the_last_word() {
        assert_eq!(messages(vec![], 40), ["system: Be brief.", "user: (The caller says nothing.)"]);
        assert_eq!(messages(vec![agent("Hello.")], 40)[3..], ["user: (The caller says nothing.)"]);
    }

    /// As the templates of Gemma and Mistral want it: llama.cpp and vLLM answer 400 otherwise.
    #[test]
    fn both_sides_take_turns_and_the_caller_begins() {
        let system = |text: &str| Turn::System(text.to_owned());
        let turns = vec![
            system("It is Monday."),
            agent("Hello."),
            caller("I want"),
            caller("a table."),
            agent("For when?"),
            agent("Are you still there?"),
            call("a"),
            output("a"),
            agent("It is booked."),
        ];
        assert_eq!(
            messages(turns, 40),
            [
                "system: Be brief.\nIt is Monday.",
                "user: (The caller is on the line.)",
                "assistant: Hello.",
                "user: I want\na table.",
                "assistant: For when?\nAre you still there? a",
                "tool: of a",
                "assistant: It is booked.",
                "user: (The caller says nothing.)",
            ]
        );
        // What was forgotten leaves it to the caller to begin, too.
        let told = messages(vec![caller("1"), agent("2"), caller("3")], 2);
        assert_eq!(told[1..], ["user: (The caller is on the line.)", "assistant: 2", "user: 3"]);
    }

    #[test]
    fn the_oldest_is_forgotten_and_calls_stay_with_their_outputs() {
        let turns = vec![caller("1"), agent("2"), call("a"), output("a"), caller("3"), agent("4"), caller("5")];
        assert_eq!(
            messages(turns.clone(), 5)[2..],
            ["assistant: 2 a", "tool: of a", "user: 3", "assistant: 4", "user: 5"]
        );
        // Its output alone would be refused.
        assert_eq!(messages(turns.clone(), 4)[1..], ["user: 3", "assistant: 4", "user: 5"]);
        assert_eq!(messages(turns, 0)[1..], ["user: 5"]);
    }

    #[test]
    fn functions_are_offered_in_the_servers_shape() {
        let (name, description, parameters) = ("book".to_owned(), "Books.".to_owned(), json!({"type": "object"}));
        let request = Request {
            tools: vec![ToolSpec { name, description, parameters }],
            tokens_max: Some(100),
            reasoning_effort: Some("low".to_owned()),
            ..Request::default()
        };
        let body = request.body(40);
        let function = json!({"name": "book", "description": "Books.", "parameters": {"type": "object"}});
        assert_eq!(body["tools"], json!([{"type": "function", "function": function}]));
        assert_eq!((&body["max_tokens"], &body["reasoning_effort"]), (&json!(100), &json!("low")));
        assert!(body.get("tool_choice").is_none());
        let choice = |choice: Value| Request { tool_choice: Some(choice), ..request.clone() }.body(40);
        assert!(choice("none".into()).get("tools").is_none());
        assert_eq!(choice("required".into())["tool_choice"], "required");
        let named = json!({"type": "function", "function": {"name": "book"}});
        assert_eq!(choice(json!({"type": "function", "name": "book"}))["tool_choice"], named);
    }
}
