//! Twilio Media Streams: what Twilio sends ([`read`]), what we send ([`write_media`], [`write_mark`], [`write_clear`]),
//! and both from the other side, for a simulated carrier ([`read_to_carrier`] and the writers below it).
//!
//! The spelling is that of twilio.com/docs/voice/media-streams/websocket-messages. Twilio writes every number as a JSON
//! string, except those of `start.mediaFormat`. What it sends is read with tolerance: numbers either way, fields in any
//! order, unknown fields and unknown messages. What it receives must have exactly the documented fields: anything else is
//! its warning 31951, once per stream, and a lost message. So [`read_to_carrier`] refuses what Twilio would refuse.
//!
//! Writers append to a buffer that the caller clears and uses again; nothing here allocates for a normal frame of audio.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use crate::id::MarkId;
use crate::wire::payload;
use crate::wire::plain::is_plain;

/// A message of Twilio's. Texts are borrowed from the message unless they had escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromCarrier<'a> {
    /// The first message; says nothing about the call.
    Connected,
    /// The second: which call this is, and how its audio is coded.
    Start(Start<'a>),
    /// Audio of the call, usually 20 ms of it.
    Media {
        stream_sid: Option<Cow<'a, str>>,
        track: Track,
        /// Counts the media messages of the stream from 1; shared by its tracks.
        chunk: Option<u64>,
        /// When this audio belongs, in ms on the stream's clock. A jump means that audio is missing.
        timestamp_ms: u64,
        /// Base64, not looked at yet: see [`payload::payload_len`].
        payload: Cow<'a, str>,
    },
    /// A mark of ours was reached, or a `clear` flushed it.
    Mark { stream_sid: Option<Cow<'a, str>>, name: Cow<'a, str> },
    /// The caller pressed `0`–`9`, `*`, `#` or `A`–`D`.
    Dtmf { stream_sid: Option<Cow<'a, str>>, digit: char },
    /// The last message: the stream was stopped, or the call ended.
    Stop { stream_sid: Option<Cow<'a, str>>, call_sid: Option<Cow<'a, str>> },
    /// A message that this version of the protocol does not have.
    Unknown,
}

/// What `start` says. Optional is what a call can do without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start<'a> {
    /// `MZ…`: goes into each message that we send.
    pub stream_sid: Cow<'a, str>,
    /// `CA…`.
    pub call_sid: Cow<'a, str>,
    /// `AC…`.
    pub account_sid: Option<Cow<'a, str>>,
    pub tracks: Vec<Track>,
    /// Documented as always `audio/x-mulaw`.
    pub encoding: Option<Cow<'a, str>>,
    /// Samples a second; documented as always 8000.
    pub sample_rate: Option<u32>,
    /// Documented as always 1.
    pub channels: Option<u32>,
    /// The `<Parameter>`s of the TwiML document, in the order in which Twilio gave them.
    pub custom_parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Whose audio it is, seen from Twilio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Track {
    /// The caller's. The only one that a `<Connect><Stream>` has.
    Inbound,
    /// Ours, given back.
    Outbound,
    Other,
}

/// Why a message could not be read. Nothing of the message is repeated here, since it may be personal; the column (in
/// bytes, from 1) leads whoever may see it to the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("not JSON, as of line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("a field of the wrong type, or one that the message does not have, at line {line}, column {column}")]
    WrongShape { line: usize, column: usize },
    #[error("no field `{0}`")]
    Missing(&'static str),
    #[error("a field `{0}` in a message that has none")]
    Extra(&'static str),
    #[error("a key that no telephone has")]
    NoSuchKey,
    /// Only of [`read_to_carrier`]; from Twilio it is [`FromCarrier::Unknown`].
    #[error("no message by this name")]
    UnknownEvent,
}

/// Reads a message of Twilio's.
pub fn read(text: &str) -> Result<FromCarrier<'_>, ReadError> {
    match read_usual_media(text).or_else(|| read_usual_mark(text)) {
        Some(usual) => Ok(usual),
        None => read_any(text),
    }
}

/// Audio as Twilio writes it, field for field and without a space: 50 times a second, at a fifth of what a reader of JSON
/// takes. `None`, if a single character is not as expected: [`read_any`] says what it is then, and of what is read here it
/// says the same.
fn read_usual_media(text: &str) -> Option<FromCarrier<'_>> {
    let rest = text.strip_prefix(r#"{"event":"media","sequenceNumber":""#)?;
    let (_, rest) = usual_number(rest)?;
    let rest = rest.strip_prefix(r#","media":{"track":"inbound","chunk":""#)?;
    let (chunk, rest) = usual_number(rest)?;
    let rest = rest.strip_prefix(r#","timestamp":""#)?;
    let (timestamp_ms, rest) = usual_number(rest)?;
    // From behind, since what is behind the audio is shorter.
    let (rest, stream_sid) = rest.strip_prefix(r#","payload":""#)?.strip_suffix(r#""}"#)?.rsplit_once('"')?;
    let payload = rest.strip_suffix(r#""},"streamSid":"#)?;
    (is_plain(payload) && is_plain(stream_sid)).then_some(FromCarrier::Media {
        stream_sid: Some(Cow::Borrowed(stream_sid)),
        track: Track::Inbound,
        chunk: Some(chunk),
        timestamp_ms,
        payload: Cow::Borrowed(payload),
    })
}

/// The same of a mark that comes back.
fn read_usual_mark(text: &str) -> Option<FromCarrier<'_>> {
    let rest = text.strip_prefix(r#"{"event":"mark","sequenceNumber":""#)?;
    let (_, rest) = usual_number(rest)?;
    let rest = rest.strip_prefix(r#","streamSid":""#)?;
    let (stream_sid, rest) = rest.split_once('"')?;
    let name = rest.strip_prefix(r#","mark":{"name":""#)?.strip_suffix(r#""}}"#)?;
    (is_plain(stream_sid) && is_plain(name))
        .then_some(FromCarrier::Mark { stream_sid: Some(Cow::Borrowed(stream_sid)), name: Cow::Borrowed(name) })
}

/// Digits, as many as cannot overflow, their closing quotation mark, and what is behind it.
fn usual_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take(19).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(digits);
    let is_short = (1..=18).contains(&digits.len());
    let rest = rest.strip_prefix('"').filter(|_| is_short)?;
    Some((digits.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), rest))
}

fn read_any(text: &str) -> Result<FromCarrier<'_>, ReadError> {
    let message = match parse::<Inbound<'_>>(text) {
        Ok(message) => message,
        // A message that we do not know owes us no shape: its `start` may be a date.
        Err(error) => {
            return match parse::<EventOnly<'_>>(text) {
                Ok(EventOnly { event: Some(Text(event)) }) if !EVENTS.contains(&&*event) => Ok(FromCarrier::Unknown),
                _ => Err(error),
            };
        }
    };
    let stream_sid = message.stream_sid.map(Text::into);
    match &*required(message.event, "event")? {
        "media" => {
            let media = required_part(message.media, "media")?;
            Ok(FromCarrier::Media {
                stream_sid,
                track: media.track.unwrap_or(Track::Inbound),
                chunk: media.chunk.map(|Number(chunk)| chunk),
                timestamp_ms: media.timestamp.ok_or(ReadError::Missing("media.timestamp"))?.0,
                payload: required(media.payload, "media.payload")?,
            })
        }
        "mark" => {
            let mark = required_part(message.mark, "mark")?;
            Ok(FromCarrier::Mark { stream_sid, name: required(mark.name, "mark.name")? })
        }
        "dtmf" => {
            let dtmf = required_part(message.dtmf, "dtmf")?;
            let digit = dtmf.digit.ok_or(ReadError::Missing("dtmf.digit"))?;
            Ok(FromCarrier::Dtmf { stream_sid, digit: digit.0.ok_or(ReadError::NoSuchKey)? })
        }
        "start" => {
            let start = required_part(message.start, "start")?;
            let format = start.media_format.map(|Object(format)| format).unwrap_or_default();
            Ok(FromCarrier::Start(Start {
                stream_sid: start.stream_sid.map(Text::into).or(stream_sid).ok_or(ReadError::Missing("streamSid"))?,
                call_sid: required(start.call_sid, "start.callSid")?,
                account_sid: start.account_sid.map(Text::into),
                tracks: start.tracks.unwrap_or_default(),
                encoding: format.encoding.map(Text::into),
                sample_rate: format.sample_rate.map(Number::saturating),
                channels: format.channels.map(Number::saturating),
                custom_parameters: start.custom_parameters.map(|Pairs(pairs)| pairs).unwrap_or_default(),
            }))
        }
        "stop" => {
            let call_sid = message.stop.and_then(|Object(stop)| stop.call_sid).map(Text::into);
            Ok(FromCarrier::Stop { stream_sid, call_sid })
        }
        "connected" => Ok(FromCarrier::Connected),
        _ => Ok(FromCarrier::Unknown),
    }
}

/// Appends a message that has Twilio play `audio` (µ-law, 8,000 bytes a second, any length) after what it has already.
pub fn write_media(out: &mut String, stream_sid: &str, audio: &[u8]) {
    out.push_str(r#"{"event":"media","streamSid":"#);
    push_text(out, stream_sid);
    out.push_str(r#","media":{"payload":""#);
    payload::encode_into(audio, out);
    out.push_str(r#""}}"#);
}

/// Appends a message that has Twilio send the mark back, once the audio before it was played or cleared.
pub fn write_mark(out: &mut String, stream_sid: &str, mark: MarkId) {
    out.push_str(r#"{"event":"mark","streamSid":"#);
    push_text(out, stream_sid);
    // Digits and a dot: nothing to escape.
    push(out, format_args!(r#","mark":{{"name":"{mark}"}}}}"#));
}

/// Appends a message that empties Twilio's playback buffer and has it send back the marks in it.
pub fn write_clear(out: &mut String, stream_sid: &str) {
    out.push_str(r#"{"event":"clear","streamSid":"#);
    push_text(out, stream_sid);
    out.push('}');
}

/// The mark that has this name, if [`write_mark`] wrote it.
pub fn mark_id(name: &str) -> Option<MarkId> {
    let (epoch, seq) = name.split_once('.')?;
    Some(MarkId { epoch: decimal(epoch)?, seq: decimal(seq)? })
}

/// A message to Twilio, as Twilio reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToCarrier<'a> {
    /// Base64, not looked at yet: see [`payload::payload_len`].
    Media {
        stream_sid: Cow<'a, str>,
        payload: Cow<'a, str>,
    },
    Mark {
        stream_sid: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Clear {
        stream_sid: Cow<'a, str>,
    },
}

/// Reads a message to Twilio as strictly as Twilio does (its warning 31951): no unknown message, no field missing, none
/// too many, none of another type.
pub fn read_to_carrier(text: &str) -> Result<ToCarrier<'_>, ReadError> {
    let Outbound { event, stream_sid, media, mark } = parse(text)?;
    let event = required(event, "event")?;
    if !["media", "mark", "clear"].contains(&&*event) {
        return Err(ReadError::UnknownEvent);
    }
    let stream_sid = required(stream_sid, "streamSid")?;
    if media.is_some() && event != "media" {
        return Err(ReadError::Extra("media"));
    }
    if mark.is_some() && event != "mark" {
        return Err(ReadError::Extra("mark"));
    }
    match &*event {
        "media" => {
            let media = required_part(media, "media")?;
            Ok(ToCarrier::Media { stream_sid, payload: required(media.payload, "media.payload")? })
        }
        "mark" => {
            let mark = required_part(mark, "mark")?;
            Ok(ToCarrier::Mark { stream_sid, name: required(mark.name, "mark.name")? })
        }
        _ => Ok(ToCarrier::Clear { stream_sid }),
    }
}

/// Appends Twilio's `connected`, the one message without a sequence number.
pub fn write_connected(out: &mut String) {
    out.push_str(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
}

/// Appends Twilio's `start`. What `start` leaves open is written as Twilio always has it.
pub fn write_start(out: &mut String, sequence: u64, start: &Start<'_>) {
    push(out, format_args!(r#"{{"event":"start","sequenceNumber":"{sequence}","start":{{"accountSid":"#));
    push_text(out, start.account_sid.as_deref().unwrap_or_default());
    out.push_str(r#","streamSid":"#);
    push_text(out, &start.stream_sid);
    out.push_str(r#","callSid":"#);
    push_text(out, &start.call_sid);
    out.push_str(r#","tracks":["#);
    for (n, track) in start.tracks.iter().enumerate() {
        push(out, format_args!("{}\"{}\"", if n == 0 { "" } else { "," }, track.name()));
    }
    out.push_str(r#"],"mediaFormat":{"encoding":"#);
    push_text(out, start.encoding.as_deref().unwrap_or("audio/x-mulaw"));
    let (sample_rate, channels) = (start.sample_rate.unwrap_or(8_000), start.channels.unwrap_or(1));
    push(out, format_args!(r#","sampleRate":{sample_rate},"channels":{channels}}},"customParameters":{{"#));
    for (n, (name, value)) in start.custom_parameters.iter().enumerate() {
        out.push_str(if n == 0 { "" } else { "," });
        push_text(out, name);
        out.push(':');
        push_text(out, value);
    }
    out.push_str(r#"}},"streamSid":"#);
    push_text(out, &start.stream_sid);
    out.push('}');
}

/// Appends Twilio's `media`: audio of the caller (µ-law), at `timestamp_ms` on the stream's clock.
pub fn write_caller_media(
    out: &mut String,
    sequence: u64,
    stream_sid: &str,
    chunk: u64,
    timestamp_ms: u64,
    audio: &[u8],
) {
    push(
        out,
        format_args!(
            r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{timestamp_ms}","payload":""#
        ),
    );
    payload::encode_into(audio, out);
    out.push_str(r#""},"streamSid":"#);
    push_text(out, stream_sid);
    out.push('}');
}

/// Appends Twilio's `dtmf`. Its track is `inbound_track`, with the suffix that media's lacks.
pub fn write_dtmf(out: &mut String, sequence: u64, stream_sid: &str, digit: char) {
    out.push_str(r#"{"event":"dtmf","streamSid":"#);
    push_text(out, stream_sid);
    push(out, format_args!(r#","sequenceNumber":"{sequence}","dtmf":{{"track":"inbound_track","digit":"#));
    push_text(out, digit.encode_utf8(&mut [0; 4]));
    out.push_str("}}");
}

/// Appends Twilio's `mark`: the one by this name was reached or flushed.
pub fn write_mark_returned(out: &mut String, sequence: u64, stream_sid: &str, name: &str) {
    push(out, format_args!(r#"{{"event":"mark","sequenceNumber":"{sequence}","streamSid":"#));
    push_text(out, stream_sid);
    out.push_str(r#","mark":{"name":"#);
    push_text(out, name);
    out.push_str("}}");
}

/// Appends Twilio's `stop`.
pub fn write_stop(out: &mut String, sequence: u64, stream_sid: &str, account_sid: &str, call_sid: &str) {
    push(out, format_args!(r#"{{"event":"stop","sequenceNumber":"{sequence}","streamSid":"#));
    push_text(out, stream_sid);
    out.push_str(r#","stop":{"accountSid":"#);
    push_text(out, account_sid);
    out.push_str(r#","callSid":"#);
    push_text(out, call_sid);
    out.push_str("}}");
}

/// The messages of [`FromCarrier`].
const EVENTS: [&str; 6] = ["connected", "start", "media", "mark", "dtmf", "stop"];

impl Track {
    /// As `start.tracks` and `media.track` spell it.
    fn name(self) -> &'static str {
        match self {
            Track::Inbound => "inbound",
            Track::Outbound => "outbound",
            Track::Other => "other",
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ReadError> {
    let Object(value) = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => ReadError::WrongShape { line, column },
            Category::Syntax | Category::Eof | Category::Io => ReadError::NotJson { line, column },
        }
    })?;
    Ok(value)
}

fn required<'a>(text: Option<Text<'a>>, name: &'static str) -> Result<Cow<'a, str>, ReadError> {
    text.map(Text::into).ok_or(ReadError::Missing(name))
}

fn required_part<T>(part: Option<Object<T>>, name: &'static str) -> Result<T, ReadError> {
    part.map(|Object(part)| part).ok_or(ReadError::Missing(name))
}

/// A `u32` in the one way in which `Display` writes it.
fn decimal(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

/// A JSON string. What goes in here is short, and almost never has anything to escape.
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\0'..='\x1f' => push(out, format_args!("\\u{:04x}", u32::from(c))),
                _ => out.push(c),
            }
        }
    }
    out.push('"');
}

/// Any message of Twilio's. One flat read, since `event` may come after what it names, and serde's tagged enums would
/// copy the audio to wait for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inbound<'a> {
    #[serde(borrow)]
    event: Option<Text<'a>>,
    stream_sid: Option<Text<'a>>,
    media: Option<Object<InboundMedia<'a>>>,
    mark: Option<Object<InboundMark<'a>>>,
    dtmf: Option<Object<InboundDtmf>>,
    start: Option<Object<InboundStart<'a>>>,
    stop: Option<Object<InboundStop<'a>>>,
}

#[derive(Deserialize)]
struct EventOnly<'a> {
    #[serde(borrow)]
    event: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct InboundMedia<'a> {
    track: Option<Track>,
    chunk: Option<Number>,
    timestamp: Option<Number>,
    #[serde(borrow)]
    payload: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct InboundMark<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct InboundDtmf {
    digit: Option<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InboundStart<'a> {
    #[serde(borrow)]
    stream_sid: Option<Text<'a>>,
    call_sid: Option<Text<'a>>,
    account_sid: Option<Text<'a>>,
    tracks: Option<Vec<Track>>,
    media_format: Option<Object<InboundFormat<'a>>>,
    custom_parameters: Option<Pairs<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct InboundFormat<'a> {
    #[serde(borrow)]
    encoding: Option<Text<'a>>,
    sample_rate: Option<Number>,
    channels: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InboundStop<'a> {
    #[serde(borrow)]
    call_sid: Option<Text<'a>>,
}

/// Any message to Twilio.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outbound<'a> {
    #[serde(borrow, default, deserialize_with = "not_null")]
    event: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    stream_sid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    media: Option<Object<OutboundMedia<'a>>>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    mark: Option<Object<OutboundMark<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundMedia<'a> {
    #[serde(borrow, default, deserialize_with = "not_null")]
    payload: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundMark<'a> {
    #[serde(borrow, default, deserialize_with = "not_null")]
    name: Option<Text<'a>>,
}

/// A field that may be absent, but not `null`.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A struct written as a JSON object. Serde alone would also take an array of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A string, borrowed where it has no escapes. `Option<Cow>` would always copy.
struct Text<'a>(Cow<'a, str>);

impl<'a> From<Text<'a>> for Cow<'a, str> {
    fn from(text: Text<'a>) -> Self {
        text.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A whole number, in quotes or not.
struct Number(u64);

impl Number {
    fn saturating(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, in quotes or not")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::custom("not a whole number"))
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

/// A key of a telephone, `None` if it is none.
struct Key(Option<char>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key of a telephone")
            }

            fn visit_u64<E: de::Error>(self, digit: u64) -> Result<Key, E> {
                Ok(Key(u32::try_from(digit).ok().and_then(|digit| char::from_digit(digit, 10))))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                let mut chars = text.chars();
                Ok(Key(match (chars.next(), chars.next()) {
                    (Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Some(key),
                    (Some(key @ 'a'..='d'), None) => Some(key.to_ascii_uppercase()),
                    _ => None,
                }))
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Track {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TrackVisitor;

        impl Visitor<'_> for TrackVisitor {
            type Value = Track;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a track")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Track, E> {
                Ok(match name {
                    "inbound" | "inbound_track" => Track::Inbound,
                    "outbound" | "outbound_track" => Track::Outbound,
                    _ => Track::Other,
                })
            }
        }

        deserializer.deserialize_str(TrackVisitor)
    }
}

/// An object of strings, in order. A value that is no string is left out: the parameters are for our own use, and what
/// we set were strings.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value<'a> {
            #[serde(borrow)]
            Text(Text<'a>),
            Other(IgnoredAny),
        }

        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    if let Value::Text(Text(value)) = map.next_value()? {
                        pairs.push((name, value));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::plain::nearly;

    const USUAL: &str = r#"{"event":"media","sequenceNumber":"4","media":{"track":"inbound","chunk":"3","timestamp":"40","payload":"//79/w=="},"streamSid":"MZ1"}"#;

    const USUAL_MARK: &str = r#"{"event":"mark","sequenceNumber":"5","streamSid":"MZ1","mark":{"name":"1.7"}}"#;

    #[test]
    fn what_twilio_sends_50_times_a_second_is_read_the_short_way() {
        let mut written = String::new();
        write_caller_media(&mut written, 4, "MZ1", 3, 40, &[0xFF, 0xFE, 0xFD, 0xFF]);
        assert_eq!(written, USUAL);
        let media = read_usual_media(USUAL);
        assert!(media.is_some() && media == read_any(USUAL).ok(), "{media:?}");
        let mut written = String::new();
        write_mark_returned(&mut written, 5, "MZ1", "1.7");
        assert_eq!(written, USUAL_MARK);
        let mark = read_usual_mark(USUAL_MARK);
        assert!(mark.is_some() && mark == read_any(USUAL_MARK).ok(), "{mark:?}");
    }

    proptest! {
        #[test]
        fn the_short_way_reads_nothing_that_the_long_one_reads_otherwise(
            text in prop::sample::select(vec![USUAL, USUAL_MARK]).prop_flat_map(nearly),
        ) {
            if let Some(message) = read_usual_media(&text).or_else(|| read_usual_mark(&text)) {
                prop_assert_eq!(Ok(message), read_any(&text));
            }
        }
    }

    #[test]
    fn numbers_that_could_overflow_go_the_long_way() {
        for digits in ["", "-1", "1234567890123456789", "99999999999999999999"] {
            assert_eq!(usual_number(&format!("{digits}\"")), None, "{digits}");
        }
        assert_eq!(usual_number("123456789012345678\","), Some((123_456_789_012_345_678, ",")));
    }
}
