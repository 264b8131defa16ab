//! A frame costs no allocation, once a call is warm: not the caller's, not the agent's, not its mark.
//!
//! By itself in this file: it counts what its thread allocates.
#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]

mod line;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use call::bridge::Wants;
use line::{Counted, Line};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Allocated and not given back.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn took(bytes: usize) {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
    HELD.with(|held| held.set(held.get().wrapping_add(bytes)));
}

fn gave_back(bytes: usize) {
    HELD.with(|held| held.set(held.get().wrapping_sub(bytes)));
}

// SAFETY: everything is passed on to the system's allocator as it came; counting touches no memory that is not the
// thread's own, and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        gave_back(layout.size());
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave_back(layout.size());
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// What 30 s of talk allocate, after as much of it that was not counted, and what went through.
fn counted(wants: Wants) -> (u64, Counted) {
    let mut line = Line::answering(wants);
    line.ticks(1_500);
    let (allocated, before) = (allocations(), line.counted);
    line.ticks(1_500);
    let (allocated, after) = (allocations() - allocated, line.counted);
    let through = Counted {
        to_model: after.to_model - before.to_model,
        audio: after.audio - before.audio,
        marks: after.marks - before.marks,
        deltas: after.deltas - before.deltas,
    };
    (allocated, through)
}

#[test]
fn a_frame_allocates_nothing() {
    let (allocated, through) = counted(Wants { samples: false, trace: None });
    // It was a call: 30 s in both directions, at least 290 marks on the way.
    assert_eq!((through.to_model, through.deltas), (1_500, 150));
    assert!(through.audio >= 1_480 && through.marks >= 290, "{through:?}");
    assert_eq!(allocated, 0, "{through:?}");
}

#[test]
fn nor_does_a_frame_that_is_recorded() {
    let (allocated, through) = counted(Wants { samples: true, trace: None });
    assert!(through.audio >= 1_480, "{through:?}");
    assert_eq!(allocated, 0, "{through:?}");
}

#[test]
fn a_long_answer_is_kept_no_longer_than_it_is_needed() {
    let mut line = Line::answering(Wants { samples: false, trace: None });
    line.ticks(500);
    let before = HELD.with(Cell::get);
    // A minute of it, at once.
    for _ in 0..300 {
        line.delta();
    }
    line.answer_is_over();
    assert!(HELD.with(Cell::get) >= before + 60 * 8_000);
    // All of it was heard; what is left is room, and what is remembered of marks and words.
    line.quiet_ticks(50 * 60 + 75);
    let kept = HELD.with(Cell::get).saturating_sub(before);
    assert!(kept < 24 * 1_024, "{kept} bytes");
}

#[test]
fn the_count_counts() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1);
}
