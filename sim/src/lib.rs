pub mod carrier;
pub mod explore;
