//! TwiML documents, as far as a call with a media stream needs them (twilio.com/docs/voice/twiml).

use std::time::Duration;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// One instruction of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `<Connect><Stream>`: nothing follows until the stream has ended. Then `action` is asked, if there is one.
    Connect {
        action: Option<String>,
        stream: Stream,
    },
    Hangup,
    /// Do not answer. With `busy`, as if the line were.
    Reject {
        busy: bool,
    },
    Redirect(String),
    Pause(Duration),
    Say(String),
    /// Put through to this number or address. Here nobody answers there.
    Dial(String),
    /// One that this carrier does not know, by name.
    Other(String),
}

/// `<Stream>` inside `<Connect>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    pub url: String,
    pub name: Option<String>,
    pub status_callback: Option<String>,
    /// The `<Parameter>`s, in order.
    pub parameters: Vec<(String, String)>,
}

/// Reads a document. The error says what is wrong with it (Twilio's 12100).
pub fn parse(text: &str) -> Result<Vec<Verb>, String> {
    let root = read_tree(text)?;
    if root.name != "Response" {
        return Err(format!("<{}> where <Response> should be", root.name));
    }
    root.children.into_iter().map(verb).collect()
}

struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.attribute(name).ok_or_else(|| format!("<{}> without {name}", self.name))
    }
}

fn verb(element: Element) -> Result<Verb, String> {
    Ok(match element.name.as_str() {
        "Connect" => {
            let [noun] = element.children.as_slice() else {
                return Err("<Connect> does not have exactly one noun".into());
            };
            if noun.name != "Stream" {
                return Ok(Verb::Other(format!("Connect {}", noun.name)));
            }
            Verb::Connect { action: element.attribute("action"), stream: stream(noun)? }
        }
        "Hangup" => Verb::Hangup,
        "Reject" => Verb::Reject { busy: element.attribute("reason").as_deref() == Some("busy") },
        "Redirect" => Verb::Redirect(element.text.trim().to_owned()),
        "Pause" => {
            let length = element.attribute("length").unwrap_or_else(|| "1".into());
            let seconds = length.parse().map_err(|_| "a <Pause> of no length".to_owned())?;
            Verb::Pause(Duration::from_secs(seconds))
        }
        "Say" => Verb::Say(element.text),
        "Dial" => match element.children.as_slice() {
            [] => Verb::Dial(element.text.trim().to_owned()),
            [noun] if matches!(&*noun.name, "Number" | "Sip" | "Client") => Verb::Dial(noun.text.trim().to_owned()),
            _ => Verb::Other("Dial".into()),
        },
        _ => Verb::Other(element.name),
    })
}

fn stream(element: &Element) -> Result<Stream, String> {
    // Connect takes the caller's track and no other (31941).
    if element.attribute("track").is_some_and(|track| track != "inbound_track") {
        return Err("31941: a track that <Connect> does not take".into());
    }
    let mut parameters = Vec::new();
    for child in &element.children {
        if child.name != "Parameter" {
            return Err(format!("<{}> in <Stream>", child.name));
        }
        let (name, value) = (child.required("name")?, child.required("value")?);
        if name.len() + value.len() >= MOST_PARAMETER_CHARS {
            return Err("a <Parameter> of 500 characters or more".into());
        }
        parameters.push((name, value));
    }
    Ok(Stream {
        url: element.required("url")?,
        name: element.attribute("name"),
        status_callback: element.attribute("statusCallback"),
        parameters,
    })
}

/// Name and value together are documented to be below this.
const MOST_PARAMETER_CHARS: usize = 500;

/// Deeper than any verb, shallow enough for what follows to recurse.
const MOST_DEPTH: usize = 16;

fn read_tree(text: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(text);
    // Elements whose end is still to come, the outermost first; below them a place for the root.
    let mut open = vec![Element { name: String::new(), attributes: vec![], children: vec![], text: String::new() }];
    let unfinished = || "the document ends too early".to_owned();
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let depth = open.len();
        let top = open.last_mut().ok_or_else(unfinished)?;
        match event {
            Event::Start(_) if depth > MOST_DEPTH => return Err("elements too deep in each other".into()),
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(start) => top.children.push(element(&start)?),
            Event::End(_) => {
                let done = open.pop().ok_or_else(unfinished)?;
                open.last_mut().ok_or_else(unfinished)?.children.push(done);
            }
            Event::Text(text) => top.text.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(text) => top.text.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                Some(c) => top.text.push(c),
                None => {
                    let name = reference.into_inner();
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    top.text.push_str(known.ok_or_else(|| format!("an unknown entity, {name}"))?);
                }
            },
            Event::DocType(_) => return Err("a document type".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let [mut outside] = <[Element; 1]>::try_from(open).map_err(|_| unfinished())?;
    match outside.children.pop() {
        Some(root) if outside.children.is_empty() && outside.text.trim().is_empty() => Ok(root),
        _ => Err("not exactly one root element".into()),
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.name().as_ref().to_owned(), attributes, children: vec![], text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_parameters() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <Response>
              <Connect action="/twilio/after-stream">
                <Stream url="wss://calls.example.org/media/1" statusCallback="https://calls.example.org/s?a=1&amp;b=2">
                  <Parameter name="token" value="&lt;&quot;1&quot;&gt;"/>
                  <Parameter name="b" value=""></Parameter>
                </Stream>
              </Connect>
              <Hangup/>
            </Response>"#;
        let stream = Stream {
            url: "wss://calls.example.org/media/1".into(),
            name: None,
            status_callback: Some("https://calls.example.org/s?a=1&b=2".into()),
            parameters: vec![("token".into(), "<\"1\">".into()), ("b".into(), String::new())],
        };
        let connect = Verb::Connect { action: Some("/twilio/after-stream".into()), stream };
        assert_eq!(parse(text), Ok(vec![connect, Verb::Hangup]));
    }

    #[test]
    fn the_other_verbs() {
        let text = r#"<Response><Say>Bread &amp; butter&#33;</Say><Pause/><Pause length="3"/><Redirect> /x </Redirect>
            <Reject reason="busy"/><Reject/><Dial>+15005550001</Dial><Dial><Sip>sip:a@b</Sip></Dial><Enqueue/></Response>"#;
        assert_eq!(
            parse(text),
            Ok(vec![
                Verb::Say("Bread & butter!".into()),
                Verb::Pause(Duration::from_secs(1)),
                Verb::Pause(Duration::from_secs(3)),
                Verb::Redirect("/x".into()),
                Verb::Reject { busy: true },
                Verb::Reject { busy: false },
                Verb::Dial("+15005550001".into()),
                Verb::Dial("sip:a@b".into()),
                Verb::Other("Enqueue".into()),
            ])
        );
        assert_eq!(parse("<Response/>"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_document() {
        let deep = format!("<Response>{}", "<a>".repeat(100_000));
        for text in [
            "",
            "hello",
            "<Answer/>",
            "<Response>",
            "</Response>",
            "<Response/><Response/>",
            "<Response>&bomb;</Response>",
            "<!DOCTYPE x><Response/>",
            "<Response><Connect/></Response>",
            "<Response><Connect><Stream/></Connect></Response>",
            "<Response><Connect><Stream url='a' track='both_tracks'/></Connect></Response>",
            "<Response><Connect><Stream url='a'><Parameter name='b'/></Stream></Connect></Response>",
            "<Response a='1' a='2'/>",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(80)]);
        }
    }
}
