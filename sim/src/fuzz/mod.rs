//! Whatever bytes a peer sends: what reads them must not panic, must not take for ever, and must agree with a reader of
//! somebody else's.
//!
//! A target is a plain function of bytes, so that any fuzzer can drive it. `cargo test` drives each with its corpus and
//! with so many mutations of it (`sim/tests/fuzz.rs`); `scripts/fuzz` has libFuzzer drive them, which looks where it gets.

mod corpus;
mod mutate;
mod peers;
mod session;

pub use corpus::corpus;
pub use mutate::Mutator;
pub use peers::{from_carrier, from_model, to_carrier, to_model};
pub use session::{call, session, trace};

/// A function that panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets. The name is that of the corpus's folder.
pub const TARGETS: [(&str, Target); 6] = [
    ("from-carrier", from_carrier),
    ("to-carrier", to_carrier),
    ("from-model", from_model),
    ("to-model", to_model),
    ("trace", trace),
    ("session", session),
];
