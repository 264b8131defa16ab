//! Whole calls by seed: a fixed range that must keep every rule and reach everything worth reaching, and seeds that
//! once broke a rule. Long runs are made by hand: `cargo run --release -p patchcord-sim -- --seeds 0..100000`.

use call::EndReason;
use sim::seed::Plan;
use sim::survey::survey;

/// As many as fit into the patience of `cargo test`; `SIM_SEEDS` sets another number.
const SEEDS: u64 = 2_500;

/// What a range of seeds has to reach, or it proves nothing.
const REACHED: [&str; 79] = [
    "A8: goodbye without marks",
    "already ended",
    "asked CallerTurn",
    "asked Farewell",
    "asked Greeting",
    "asked IdlePrompt",
    "asked Say",
    "asked ToolResult",
    "clock leapt",
    "collided CallerTurn",
    "collided Farewell",
    "collided IdlePrompt",
    "collided Say",
    "collided ToolResult",
    "complained Collision",
    "complained SessionExpired",
    "direction Outbound",
    "dropped ModelNotReady",
    "dropped NoModel",
    "dropped QueueFull",
    "dropped StaleResponse",
    "dtmf",
    "ended CallerHungUp",
    "ended Goodbye",
    "ended MaxDuration",
    "ended Machine",
    "ended ModelFailed",
    "ended NeverStarted",
    "ended NotAnswered",
    "ended OperatorHungUp",
    "ended Silence",
    "ended Stopped",
    "ended StreamLost",
    "frozen",
    "goodbye done AudioDone",
    "goodbye done Unspoken",
    "goodbye wanted Goodbye",
    "goodbye wanted MaxDuration",
    "goodbye wanted Silence",
    "goodbye withdrawn",
    "hanging up, attempt 2",
    "hanging up, attempt 3",
    "held",
    "interrupted",
    "model lost",
    "model lost for good",
    "odd: a response came to nothing twice",
    "odd: a second start",
    "refused IdlePrompt ResponseActive",
    "refused Say ResponseActive",
    "rejected edit_rejected",
    "rejected response_cancel_not_active",
    "resumed",
    "resumed after a back-channel",
    "sent apology",
    "sent cancel",
    "sent delete",
    "sent filler",
    "sent forward silence",
    "sent our own ears open a hold",
    "sent pressed",
    "sent remember",
    "sent remember output",
    "sent resume stream",
    "sent silence for what is withheld",
    "sent tones",
    "sent tool output",
    "sent truncate",
    "sent what only our own ears heard is nothing",
    "session after a loss",
    "stream came back",
    "tool answered",
    "tool failed",
    "transcripts never come",
    "turns Model",
    "waits CallerTurn CallerSpeaking",
    "waits CallerTurn NoConnection",
    "waits Greeting NotConfigured",
    "waits ToolResult GoodbyePending",
];

#[test]
fn every_rule_holds_in_every_call() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(SEEDS);
    let survey = survey(0..seeds, threads);
    assert!(survey.broken.is_empty(), "{survey}");
    let missing: Vec<_> = REACHED.into_iter().filter(|what| !survey.reached.contains_key(*what)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}\n{survey}");
}

#[test]
fn a_seed_is_one_call() {
    for seed in [1, 2, 3] {
        let (one, two) = (Plan::from_seed(seed).run(), Plan::from_seed(seed).run());
        assert_eq!(one.trace, two.trace);
        assert_eq!(one.verdict, two.verdict);
    }
}

/// What this call comes to, as a regression test wants it.
fn ended(seed: u64) -> EndReason {
    match Plan::from_seed(seed).run().verdict {
        Ok(facts) => facts.ended,
        Err(violation) => panic!("seed {seed}: {violation:?}"),
    }
}

/// The operator forces a text while another forced text is asked for. Each put the other back before itself and
/// interrupted it, until the call reached its greatest length (R3).
#[test]
fn two_forced_texts_do_not_interrupt_each_other_for_ever() {
    for seed in [1324, 1633, 2869] {
        ended(seed);
    }
}

/// The model goes on by itself, twice, while its goodbye is still heard. The response that said it was forgotten, so
/// nothing could complete it, and nothing else could be said either (H2, H4).
#[test]
fn a_goodbye_is_not_forgotten_while_it_is_heard() {
    for seed in [1682, 8239, 8255] {
        assert_ne!(ended(seed), EndReason::MaxDuration, "seed {seed}");
    }
}

/// The callee answers, and hangs up before the stream comes: that call was answered (L10).
#[test]
fn a_callee_who_hangs_up_at_once_did_answer() {
    for seed in [49_760, 64_049, 73_600] {
        assert_eq!(ended(seed), EndReason::CallerHungUp, "seed {seed}");
    }
}

/// The model falls silent in the middle of a word, and nobody says that its connection is dead: the caller heard nothing
/// for as long as the longest response may last (R10).
#[test]
fn a_model_that_stops_in_the_middle_is_replaced() {
    for seed in [219, 475, 549] {
        assert_ne!(ended(seed), EndReason::MaxDuration, "seed {seed}");
    }
}

/// The first session was lost before it had any item. The first item of the next, number 0, was taken for one of the
/// lost session's, and the model never told how much of it was heard (N4, B1).
#[test]
fn the_first_item_of_all_may_be_interrupted() {
    ended(1164);
}

/// An answer was queued behind another when the model was lost. The next session was not told of it, and it played (N4).
#[test]
fn what_waits_to_be_played_is_told_to_the_next_session() {
    ended(811);
}

/// A connection that was given up stood after its successor, and the bridge took one for the other: everything that the
/// model said from then on was ignored (R11).
#[test]
fn a_connection_that_comes_too_late_is_not_the_next() {
    for seed in [5307, 6438, 6789] {
        ended(seed);
    }
}

/// The hang-up was accepted and did not happen, the model was lost meanwhile, and a caller who had heard goodbye was asked
/// to wait (N4, H10).
#[test]
fn nobody_is_asked_to_wait_after_goodbye() {
    ended(3068);
}

/// The caller spoke on a stream that broke, and the agent went on when the next stream began, although it was open whether
/// that was an interruption (B4, N6).
#[test]
fn a_stream_that_comes_back_waits_for_the_verdict() {
    ended(81_351);
}

/// A frame on its way plays a little later, and a new session was told of it after what waited behind it (N4).
#[test]
fn what_is_told_is_in_order() {
    ended(1_578);
}

/// The caller's goodbye was held against one of the agent's that was cut short meanwhile, and nothing came of either (H9).
#[test]
fn a_goodbye_is_not_held_against_one_that_is_gone() {
    ended(50_895);
}
