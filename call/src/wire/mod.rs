//! Each vendor's messages, in both directions: JSON ↔ our types. The only files that know a vendor's spelling.
//!
//! What a peer sends is tolerated: unknown fields and unknown messages pass. What we send has exactly the documented fields.

pub mod openai;
pub mod payload;
mod plain;
pub mod twilio;
