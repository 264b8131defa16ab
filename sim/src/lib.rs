//! A simulated carrier, a simulated model, and what goes wrong between them.

pub mod carrier;
pub mod dice;
pub mod ears;
pub mod explore;
pub mod faults;
pub mod fuzz;
pub mod joined;
mod link;
pub mod model;
pub mod oracle;
pub mod seed;
pub mod survey;
pub mod verdict;
pub mod world;
pub mod worlds;
