//! A carrier that does not exist: Twilio as its documentation and its users describe it, with a caller who follows a script.

pub mod stream;
