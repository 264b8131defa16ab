//! The few documents that tell the carrier what to do with a call (TwiML).

use std::borrow::Cow;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

pub(crate) const HANG_UP: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>"#;
pub(crate) const BUSY: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Reject reason="busy"/></Response>"#;
pub(crate) const REJECTED: &str =
    r#"<?xml version="1.0" encoding="UTF-8"?><Response><Reject reason="rejected"/></Response>"#;

/// Joins the call to our media socket; when that ends, asks us what comes next.
pub(crate) fn connect(stream: &str, after_stream: &str, stream_status: &str) -> String {
    let (stream, after_stream, stream_status) = (escape(stream), escape(after_stream), escape(stream_status));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="{after_stream}"><Stream url="{stream}" statusCallback="{stream_status}"/></Connect></Response>"#
    )
}

pub(crate) fn answer(document: impl Into<Cow<'static, str>>) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], document.into()).into_response()
}

/// For an attribute's value.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_escaped() {
        let document = connect("wss://h/a?b=1&c=\"<'>", "https://h/after", "https://h/status");
        assert!(document.contains(r#"<Stream url="wss://h/a?b=1&amp;c=&quot;&lt;&apos;&gt;" "#), "{document}");
        assert!(document.contains(r#"<Connect action="https://h/after">"#));
    }
}
