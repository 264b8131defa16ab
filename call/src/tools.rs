//! Function calls: run outside the call, answered exactly once, spoken about once all are answered (N2).

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{CommandId, ResponseId, ToolCallId};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tools {
    /// In the order of the model's calling. Bounded by `ANSWERED_MAX`.
    calls: Vec<ToolCall>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct ToolCall {
    call: ToolCallId,
    response: ResponseId,
    name: String,
    since: CallTime,
    state: State,
    /// The model is asked to speak about the result.
    speak: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Running(CommandId),
    /// Answered; the model is told once the calling response is done.
    Answered(String),
    Told,
}

/// Calls that may be open at once; a model that makes more is running in circles, and is told so.
const CALLS_MAX: usize = 32;

/// Calls that are answered at all, until all are.
const ANSWERED_MAX: usize = 256;

/// What became of a tool, for the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    pub call: ToolCallId,
    pub name: String,
    pub since: CallTime,
}

impl Tools {
    /// False when the call is not to be run: it is known already, or there are too many, which is its answer then.
    pub fn started(&mut self, call: ToolCallId, response: ResponseId, name: &str, command: CommandId, now: CallTime) -> bool {
        if self.calls.len() >= ANSWERED_MAX || self.calls.iter().any(|known| known.call == call) {
            return false;
        }
        let runs = self.calls.len() < CALLS_MAX;
        let state = if runs {
            State::Running(command)
        } else {
            State::Answered("{\"error\":\"too many calls at once\"}".to_owned())
        };
        self.calls.push(ToolCall { call, response, name: name.to_owned(), since: now, state, speak: true });
        runs
    }

    /// Adds a call that is answered without running anything, and about which nothing is to be said.
    pub fn answered_at_once(&mut self, call: ToolCallId, response: ResponseId, output: &str, now: CallTime) {
        if self.calls.len() < ANSWERED_MAX && !self.calls.iter().any(|known| known.call == call) {
            let state = State::Answered(output.to_owned());
            self.calls.push(ToolCall { call, response, name: String::new(), since: now, state, speak: false });
        }
    }

    /// The answer to a running call; a second one, or one after the time-out, is ignored.
    pub fn done(&mut self, command: CommandId, output: String) -> Option<Finished> {
        let call = self.calls.iter_mut().find(|call| call.state == State::Running(command))?;
        call.state = State::Answered(output);
        Some(Finished { call: call.call, name: call.name.clone(), since: call.since })
    }

    /// A call that ran for too long: it counts as answered, by its failure.
    pub fn expire(&mut self, now: CallTime, config: &CallConfig) -> Option<Finished> {
        let call = self
            .calls
            .iter_mut()
            .find(|call| matches!(call.state, State::Running(_)) && call.since + config.tool_timeout <= now)?;
        call.state = State::Answered("{\"error\":\"the tool did not answer in time\"}".to_owned());
        Some(Finished { call: call.call, name: call.name.clone(), since: call.since })
    }

    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        let running = self.calls.iter().filter(|call| matches!(call.state, State::Running(_)));
        running.map(|call| call.since + config.tool_timeout).min()
    }

    /// The next output that may be told to the model: the calling response has ended.
    pub fn tell(&mut self, generating: Option<ResponseId>) -> Option<(ToolCallId, String)> {
        let call = self
            .calls
            .iter_mut()
            .find(|call| matches!(call.state, State::Answered(_)) && Some(call.response) != generating)?;
        match std::mem::replace(&mut call.state, State::Told) {
            State::Answered(output) => Some((call.call, output)),
            State::Running(_) | State::Told => None,
        }
    }

    /// True once, when all calls were answered and told, and there is something to say about them.
    pub fn all_told(&mut self) -> bool {
        if !self.calls.iter().all(|call| call.state == State::Told) {
            return false;
        }
        let speak = self.calls.iter().any(|call| call.speak);
        self.calls.clear();
        speak
    }

    pub fn any_running(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.state, State::Running(_)))
    }

    /// The connection is gone, and with it the ids of its calls (N4).
    pub fn forget(&mut self) {
        self.calls.clear();
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Tools { calls } = self;
        print.put(calls.len());
        for ToolCall { call, response, name: _, since, state, speak } in calls {
            print.id(*call);
            print.id(*response);
            print.put(*speak);
            match state {
                State::Running(command) => {
                    print.put(0);
                    print.id(*command);
                    print.until(*since + config.tool_timeout);
                }
                // What it answered changes nothing here.
                State::Answered(_) => print.put(1),
                State::Told => print.put(2),
            }
        }
    }
}
