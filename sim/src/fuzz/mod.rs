//! Whatever bytes a peer sends: what reads them must not panic, must not take for ever, and must agree with a reader of
//! somebody else's.
//!
//! A target is a plain function of bytes, so that any fuzzer can drive it. `cargo test` drives each with its corpus and
//! with so many mutations of it (`sim/tests/fuzz.rs`).

mod corpus;
mod mutate;
mod peers;
mod session;

pub use corpus::corpus;
pub use mutate::Mutator;

/// A function that panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets. The name is that of the corpus's folder.
pub const TARGETS: [(&str, Target); 6] = [
    ("from-carrier", peers::from_carrier),
    ("to-carrier", peers::to_carrier),
    ("from-model", peers::from_model),
    ("to-model", peers::to_model),
    ("trace", session::trace),
    ("session", session::session),
];

/// The core under arbitrary inputs. Its bytes are no text, so it has no corpus.
pub const CALL: Target = session::call;
