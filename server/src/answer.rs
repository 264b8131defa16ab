//! What a caller gets in place of an agent: because no agent answers the number, or none can take one more call.

use serde::de::{Deserialize, Deserializer, Error};

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

const FORMS: &str =
    r#"use "reject", "busy", { say = "…" } (with `voice` and `language` if need be) or { dial = "+…" }"#;

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unusable = || D::Error::custom(format!("not an answer; {FORMS}"));
        let mut table = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) if word == "reject" => return Ok(Answer::Reject),
            toml::Value::String(word) if word == "busy" => return Ok(Answer::Busy),
            toml::Value::Table(table) => table,
            _ => return Err(unusable()),
        };
        let mut text = |key: &str| match table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(_) => Err(unusable()),
        };
        let (say, voice, language, dial) = (text("say")?, text("voice")?, text("language")?, text("dial")?);
        match (say, dial) {
            _ if !table.is_empty() => Err(unusable()),
            (Some(text), None) => Ok(Answer::Say { text, voice, language }),
            (None, Some(number)) if voice.is_none() && language.is_none() => Ok(Answer::Dial(number)),
            _ => Err(unusable()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, String> {
        let table: toml::Table = toml::from_str(&format!("answer = {text}")).unwrap();
        table["answer"].clone().try_into().map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn the_forms() {
        assert_eq!(read("\"busy\""), Ok(Answer::Busy));
        assert_eq!(read("\"reject\""), Ok(Answer::Reject));
        assert_eq!(read("{ dial = \"+15005550009\" }"), Ok(Answer::Dial("+15005550009".into())));
        let said = Answer::Say { text: "Call later.".into(), voice: None, language: Some("en-GB".into()) };
        assert_eq!(read("{ say = \"Call later.\", language = \"en-GB\" }"), Ok(said));
    }

    #[test]
    fn what_is_no_answer_is_told_the_forms() {
        for text in
            ["\"hang up\"", "3", "{}", "{ say = 3 }", "{ say = \" \" }", "{ say = \"a\", dial = \"+15005550009\" }"]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains("{ dial = "), "{text}: {error}");
        }
        for text in ["{ say = \"a\", loud = true }", "{ dial = \"+15005550009\", voice = \"x\" }"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
