pub mod carrier;
