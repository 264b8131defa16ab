//! What a caller gets in place of an agent: because no agent answers the number, or none can take one more call.

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The call is refused; the caller hears that the number is not in service.
    Reject,
    /// The caller hears the tone of a busy line.
    Busy,
    /// The carrier reads this out, then hangs up.
    Say { text: String, voice: Option<String>, language: Option<String> },
    /// The caller is put through to this number.
    Dial(String),
}
