//! A carrier that does not exist: Twilio as its documentation and its users describe it, with a caller who follows a script.
//!
//! [`stream`] is one media stream, pure and in virtual time. [`twilio`] runs it over real sockets and adds the rest of
//! Twilio that a call needs: webhooks, documents, callbacks, the REST API.

mod recordings;
pub mod signature;
pub mod stream;
pub mod twilio;
pub mod twiml;
