//! A simulated carrier, a simulated model, and what goes wrong between them.

pub mod model;
