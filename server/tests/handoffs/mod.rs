//! The registry of calls in every order in which threads can come to it, by shuttle's exhaustive search.
//!
//! All that the shell's threads share is behind one lock ([`Calls`]), in a channel of tokio's with one end each, or in a bell
//! (`bell.rs`, which has its own searches). What a lock protects happens as one step, so another order begins where it is taken:
//! there the search lets others go first.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use call::EndReason;
use call::config::Direction;
use jiff::Timestamp;
use shuttle::thread;
use uuid::Uuid;

use crate::calls::{Announced, Announcement, Calls, NewCall, NoStream};
use crate::record::{CallFacts, CallRecord, CarrierRecording, RecordingStatus};

thread_local! {
    static SEARCHED: Cell<bool> = const { Cell::new(false) };
}

/// A lock is about to be taken.
pub(crate) fn others_may_go_first() {
    if SEARCHED.get() {
        thread::yield_now();
    }
}

/// More orders than any of the tests has.
const ORDERS_MAX: usize = 200_000;

/// Tries every order.
pub(crate) fn in_every_order(work: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = orders.clone();
    SEARCHED.set(true);
    shuttle::check_dfs(
        move || {
            counted.fetch_add(1, Ordering::Relaxed);
            work();
        },
        Some(ORDERS_MAX),
    );
    SEARCHED.set(false);
    let orders = orders.load(Ordering::Relaxed);
    assert!((2..ORDERS_MAX).contains(&orders), "{orders} orders are not all");
}

fn calls(max_calls: usize) -> Calls {
    Calls::new(max_calls, Duration::from_secs(60), PathBuf::from("unused"))
}

fn facts(call_sid: &str) -> CallFacts {
    CallFacts {
        // The clock and the system's randomness are no part of the search.
        id: Uuid::from_u128(call_sid.bytes().fold(1, |id, byte| id << 8 | u128::from(byte))),
        carrier: "twilio",
        call_sid: call_sid.to_owned(),
        direction: Direction::Inbound,
        from: String::new(),
        to: String::new(),
        agent: "default".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
    }
}

/// The answer is the token, or why there is none; and the call, if this began it.
fn announce(calls: &Calls, call_sid: &str) -> (String, Option<NewCall>) {
    let announcement = Announcement { facts: facts(call_sid), delivery: None, agent_calls_max: None };
    match calls.announce(announcement, str::to_owned, |why| format!("{why:?}")).unwrap() {
        Announced::New { answer, call } => (answer, Some(call)),
        Announced::Again { answer } => (answer, None),
    }
}

fn end(calls: &Calls, call_sid: &str) -> bool {
    calls.finish(CallRecord::without_stream(facts(call_sid), EndReason::CallerHungUp, None))
}

fn on_a_thread<T: Send + 'static>(
    calls: &Calls,
    work: impl FnOnce(&Calls) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let calls = calls.clone();
    thread::spawn(move || work(&calls))
}

#[test]
fn n9_a_limit_of_two_admits_two_of_three_who_come_at_once() {
    in_every_order(|| {
        let calls = calls(2);
        let threads = ["CA1", "CA2", "CA3"].map(|sid| on_a_thread(&calls, move |calls| announce(calls, sid).1));
        let admitted: Vec<NewCall> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!((admitted.len(), calls.live()), (2, 2));
    });
}

#[test]
fn n9_a_place_is_free_again_when_its_call_has_ended_and_not_before() {
    in_every_order(|| {
        let calls = calls(1);
        let (_, first) = announce(&calls, "CA1");
        let ends = on_a_thread(&calls, |calls| end(calls, "CA1"));
        let (_, second) = on_a_thread(&calls, |calls| announce(calls, "CA2")).join().unwrap();
        ends.join().unwrap();
        assert_eq!(calls.live(), usize::from(second.is_some()));
        let held = calls.held();
        assert_eq!((held.calls, held.call_sids, held.tokens), (calls.live(), calls.live(), calls.live()));
        drop(first);
    });
}

#[test]
fn n3_a_delivery_that_comes_twice_at_once_starts_one_call() {
    in_every_order(|| {
        let calls = calls(2);
        let threads = [(); 2].map(|()| on_a_thread(&calls, |calls| announce(calls, "CA1")));
        let [(one, first), (other, second)] = threads.map(|thread| thread.join().unwrap());
        assert_eq!(one, other);
        assert_eq!((usize::from(first.is_some()) + usize::from(second.is_some()), calls.live()), (1, 1));
    });
}

#[test]
fn l5_two_streams_at_once_are_one_stream() {
    in_every_order(|| {
        let calls = calls(1);
        let (token, call) = announce(&calls, "CA1");
        let threads = [(); 2].map(|()| {
            let token = token.clone();
            on_a_thread(&calls, move |calls| calls.redeem(&token).map(drop))
        });
        let mut redeemed = threads.map(|thread| thread.join().unwrap());
        redeemed.sort_by_key(Result::is_err);
        assert_eq!(redeemed, [Ok(()), Err(NoStream::Used)]);
        drop(call);
    });
}

#[test]
fn a_token_goes_with_its_call_whoever_comes_meanwhile() {
    in_every_order(|| {
        let calls = calls(1);
        let (token, call) = announce(&calls, "CA1");
        let redeems = on_a_thread(&calls, move |calls| (calls.redeem(&token).map(drop), token));
        let ends = on_a_thread(&calls, |calls| end(calls, "CA1"));
        let (_, token) = redeems.join().unwrap();
        ends.join().unwrap();
        assert_eq!(calls.redeem(&token).err(), Some(NoStream::Unknown));
        drop(call);
    });
}

/// The server goes when it has closed and sees no call. One that was admitted meanwhile would be cut off.
#[test]
fn nobody_slips_in_when_the_server_stops() {
    in_every_order(|| {
        let calls = calls(2);
        let comes = on_a_thread(&calls, |calls| announce(calls, "CA1").1);
        let stops = on_a_thread(&calls, |calls| {
            calls.close();
            calls.live() == 0
        });
        let (call, goes) = (comes.join().unwrap(), stops.join().unwrap());
        assert!(!goes || call.is_none(), "the server goes, and a call has just begun");
    });
}

/// What the carrier says of its recording while the call ends is in the record, or the record is written again.
#[test]
fn news_that_come_while_a_call_ends_are_not_lost() {
    in_every_order(|| {
        let calls = calls(1);
        let (_, call) = announce(&calls, "CA1");
        let told = on_a_thread(&calls, |calls| {
            let (sid, status) = ("RE1".to_owned(), RecordingStatus::Completed);
            let recording = CarrierRecording { sid, status, url: None, duration_ms: None, channels: None, file: None };
            calls.note_recording("CA1", recording).expect("there is, or was, such a call").is_to_be_written
        });
        let ends = on_a_thread(&calls, |calls| end(calls, "CA1"));
        let (told, again) = (told.join().unwrap(), ends.join().unwrap());
        assert!(calls.finished()[0].carrier_recording.is_some());
        assert!(again != told, "the record is written again by one of them");
        drop(call);
    });
}
