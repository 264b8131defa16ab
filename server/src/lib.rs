pub mod demo;
pub mod g711;
