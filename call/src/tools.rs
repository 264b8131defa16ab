//! Function calls: run outside the call, answered exactly once, spoken about once all are answered (N2).

use std::collections::VecDeque;

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{CommandId, ResponseId, ToolCallId};
use crate::planted::{Fault, planted};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tools {
    /// In the order of the model's calling. Bounded by `ANSWERED_MAX`.
    calls: Vec<ToolCall>,
    /// The last that the model was told of, for a session that knows nothing of them (N4). Bounded by `CALLS_MAX`.
    told: VecDeque<(CallTime, Told)>,
}

/// A call with its result.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Told {
    pub call: ToolCallId,
    pub name: String,
    pub arguments: String,
    pub output: String,
}

/// What the model is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tell {
    /// The result of a call that it made.
    Output(ToolCallId, String),
    /// It was another session that made the call: the call, and its result.
    Whole(Told),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct ToolCall {
    call: ToolCallId,
    response: ResponseId,
    name: String,
    arguments: String,
    since: CallTime,
    state: State,
    /// The session that made it is gone (N4).
    lost: bool,
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
    pub fn started(
        &mut self,
        call: ToolCallId,
        response: ResponseId,
        name: &str,
        arguments: &str,
        command: CommandId,
        now: CallTime,
    ) -> bool {
        if self.calls.len() >= ANSWERED_MAX || self.calls.iter().any(|known| known.call == call) {
            return false;
        }
        let runs = self.calls.len() < CALLS_MAX;
        let state = if runs {
            State::Running(command)
        } else {
            State::Answered("{\"error\":\"too many calls at once\"}".to_owned())
        };
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        self.calls.push(ToolCall { call, response, name, arguments, since: now, state, lost: false, speak: true });
        runs
    }

    /// Adds a call that is answered without running anything, and about which nothing is to be said.
    pub fn answered_at_once(&mut self, call: ToolCallId, response: ResponseId, output: &str, now: CallTime) {
        if self.calls.len() < ANSWERED_MAX && !self.calls.iter().any(|known| known.call == call) {
            let state = State::Answered(output.to_owned());
            let (name, arguments) = (String::new(), String::new());
            self.calls.push(ToolCall { call, response, name, arguments, since: now, state, lost: false, speak: false });
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
            .find(|call| matches!(call.state, State::Running(_)) && call.since + config.tool_timeout <= now)
            .filter(|_| !planted(Fault::ToolTrusted))?;
        call.state = State::Answered("{\"error\":\"the tool did not answer in time\"}".to_owned());
        Some(Finished { call: call.call, name: call.name.clone(), since: call.since })
    }

    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        let running = self.calls.iter().filter(|call| matches!(call.state, State::Running(_)));
        running.map(|call| call.since + config.tool_timeout).min().filter(|_| !planted(Fault::ToolTrusted))
    }

    /// The next that may be told to the model: the calling response has ended.
    pub fn tell(&mut self, generating: Option<ResponseId>) -> Option<Tell> {
        let call = self
            .calls
            .iter_mut()
            .find(|call| matches!(call.state, State::Answered(_)) && Some(call.response) != generating)?;
        let State::Answered(output) = std::mem::replace(&mut call.state, State::Told) else { return None };
        let told = Told {
            call: call.call,
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            output: output.clone(),
        };
        let tell = if call.lost { Tell::Whole(told.clone()) } else { Tell::Output(call.call, output) };
        if call.speak {
            if self.told.len() == CALLS_MAX {
                self.told.pop_front();
            }
            self.told.push_back((call.since, told));
        }
        Some(tell)
    }

    /// What the model was told, and when the calls were made.
    pub fn told(&self) -> impl Iterator<Item = &(CallTime, Told)> {
        self.told.iter()
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

    /// Whether something that this response called for is still to be spoken about.
    pub fn will_speak_of(&self, response: ResponseId) -> bool {
        self.calls.iter().any(|call| call.response == response && call.speak)
    }

    pub fn any_running(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.state, State::Running(_)))
    }

    /// The session is gone, and with it its memory of its calls (N4). They go on; a request to end the call does not.
    pub fn lose_session(&mut self) {
        self.calls.retain(|call| call.speak);
        for call in &mut self.calls {
            call.lost = true;
        }
    }

    /// There is nobody left to tell.
    pub fn forget(&mut self) {
        self.calls.clear();
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        // What was told is told again word for word, and decides nothing.
        let Tools { calls, told: _ } = self;
        print.put(calls.len());
        for ToolCall { call, response, name: _, arguments: _, since, state, lost, speak } in calls {
            print.id(*call);
            print.id(*response);
            print.put((*speak, *lost));
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
