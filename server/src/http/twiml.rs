//! The few documents that tell the carrier what to do with a call (TwiML).

use std::borrow::Cow;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::answer::Answer;

pub(crate) const HANG_UP: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>"#;

/// Joins the call to our media socket; when that ends, asks us what comes next.
pub(crate) fn connect(stream: &str, after_stream: &str, stream_status: &str) -> String {
    let (stream, after_stream, stream_status) = (escape(stream), escape(after_stream), escape(stream_status));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="{after_stream}"><Stream url="{stream}" statusCallback="{stream_status}"/></Connect></Response>"#
    )
}

/// What the caller gets in place of an agent. The call ends with it.
pub(crate) fn instead(answer: &Answer) -> String {
    let verb = match answer {
        Answer::Reject => r#"<Reject reason="rejected"/>"#.to_owned(),
        Answer::Busy => r#"<Reject reason="busy"/>"#.to_owned(),
        Answer::Say { text, voice, language } => {
            let attribute = |name: &str, value: &Option<String>| match value {
                Some(value) => format!(r#" {name}="{}""#, escape(value)),
                None => String::new(),
            };
            let attributes = attribute("voice", voice) + &attribute("language", language);
            format!("<Say{attributes}>{}</Say><Hangup/>", escape(text))
        }
        Answer::Dial(number) => match number.starts_with("sip:") {
            true => format!("<Dial><Sip>{}</Sip></Dial>", escape(number)),
            false => format!("<Dial>{}</Dial>", escape(number)),
        },
    };
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><Response>{verb}</Response>"#)
}

pub(crate) fn answer(document: impl Into<Cow<'static, str>>) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], document.into()).into_response()
}

/// For text and for an attribute's value. What XML has no way to write is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // As they stand, a parser makes spaces of them in an attribute, and of the last one a line's end in a text.
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {}
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

    #[test]
    fn n9_answers_in_place_of_an_agent() {
        let body = |answer| {
            let document = instead(&answer);
            let body = document.split_once("<Response>").unwrap().1.strip_suffix("</Response>").unwrap();
            body.to_owned()
        };
        assert_eq!(body(Answer::Reject), r#"<Reject reason="rejected"/>"#);
        assert_eq!(body(Answer::Busy), r#"<Reject reason="busy"/>"#);
        let say = Answer::Say { text: "Tea & <cake>\0".into(), voice: Some("\"man\"".into()), language: None };
        assert_eq!(body(say), r#"<Say voice="&quot;man&quot;">Tea &amp; &lt;cake&gt;</Say><Hangup/>"#);
        assert_eq!(body(Answer::Dial("+15005550009".into())), "<Dial>+15005550009</Dial>");
        assert_eq!(body(Answer::Dial("sip:a@b".into())), "<Dial><Sip>sip:a@b</Sip></Dial>");
    }
}
