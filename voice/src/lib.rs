//! The embedded model: it hears speech, finds out what to answer, and says it, on the processor of this machine.
//!
//! The stages, each usable alone: [`detect`] (is somebody speaking?), [`turn_end`] (have they finished?), [`recognise`]
//! (what did they say?), [`dialogue`] with [`word_vectors`] or [`sentences`], or [`chat`] (what to answer?), [`g2p`] and [`synthesise`], joined in
//! [`speak`] (how does that sound?). [`models`] brings their weights.

pub mod chat;
pub mod detect;
pub mod dialogue;
pub mod ears;
mod error;
pub mod expected;
pub mod g2p;
pub mod level;
pub mod log_mel;
pub mod models;
pub mod recognise;
pub mod resample;
mod runtime;
mod safetensors;
pub mod sentences;
pub mod server;
pub mod speak;
pub mod spectrum;
pub mod synthesise;
mod threads;
pub mod turn_end;
mod weights;
pub mod word_vectors;

pub use error::{Error, Result};
pub use runtime::Runtime;
pub use weights::Weights;
