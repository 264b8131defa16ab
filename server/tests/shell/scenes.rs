//! What no seed needs to be drawn for.

use std::time::Duration;

use call::OperatorInput;
use call::config::CallConfig;
use sim::carrier::stream::StreamOptions;
use sim::faults::{Faults, HangUpFault, ToolFault};
use sim::model::Behaviour;
use sim::seed::{self, CallerAct, PlannedReply};
use tokio::time::{Instant, sleep, timeout};

use super::plan::{CallPlan, Plan};
use super::{Stage, in_paused_time, tasks};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One call on a good day, to be made worse.
fn call(caller: Vec<CallerAct>, replies: Vec<PlannedReply>, faults: Faults) -> Plan {
    let call = seed::Plan {
        direction: call::config::Direction::Inbound,
        config: CallConfig { tool_timeout: s(20), ..CallConfig::default() },
        caller,
        replies,
        behaviour: Behaviour::default(),
        later: Vec::new(),
        stream: StreamOptions::default(),
        faults,
        answer_delay: s(1),
        ..seed::Plan::from_seed(0)
    };
    let call = CallPlan {
        call,
        rings_at: Duration::ZERO,
        deliveries: 1,
        tries_token_again: false,
        carrier_stalls: Vec::new(),
        model_stalls: Vec::new(),
        garbage: Vec::new(),
        recording: true,
    };
    Plan { calls: vec![call], max_calls: 1, stops: Vec::new(), leaps: Vec::new(), backlog_max: 1 << 20 }
}

/// The request to hang up hangs when the caller hangs up, and a tool is running. The request gets a second and is
/// reported; the tool goes on to its answer, which nobody waits for any more.
#[test]
fn l8_helpers_get_a_second_at_the_end_and_tools_their_own_time() {
    let says = CallerAct::Speak { meaning: Some("Book it."), length: Duration::from_millis(800) };
    let caller = vec![says, CallerAct::Pause(s(6)), CallerAct::HangUp];
    let books = PlannedReply { calls: vec!["book"], ..PlannedReply::default() };
    let faults = Faults {
        operator: vec![(s(5), OperatorInput::HangUp)],
        hang_ups: vec![HangUpFault::Hangs; 9],
        tools: vec![ToolFault::Answers(s(15))],
        ..Faults::default()
    };
    let plan = call(caller, vec![books], faults);
    let data = tempfile::tempdir().unwrap();
    in_paused_time(async || {
        let stage = Stage::set(&plan, data.path()).await;
        let (calls, line) = (stage.app.calls.clone(), stage.lines[0].clone());
        let outcome = stage.carrier(0, &plan).run().await;
        assert_eq!(outcome.problems, Vec::<String>::new());
        assert!(line.hang_ups.get() > 0 && line.tools_begun.get() == 1, "nothing is going on that could survive");

        let over = Instant::now();
        let record = timeout(s(60), calls.wait_for_finished(1)).await.unwrap().unwrap();
        assert_eq!((over.elapsed(), record.abandoned), (s(1), 1));
        assert_eq!(line.tools_answered.get(), 0);
        sleep(s(15)).await;
        assert_eq!(line.tools_answered.get(), 1);
        assert_eq!(tasks(), stage.tasks);
    });
}
