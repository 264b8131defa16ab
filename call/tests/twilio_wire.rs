//! Twilio's messages, read and written. The vectors are our own data in the shapes that Twilio documents.

use std::borrow::Cow;

use call::MarkId;
use call::wire::payload;
use call::wire::twilio::*;
use proptest::prelude::*;

const STREAM: &str = "MZ00000000000000000000000000000003";
const CALL: &str = "CA00000000000000000000000000000002";
const ACCOUNT: &str = "AC00000000000000000000000000000001";

// What Twilio sends.

#[test]
fn connected_is_read_and_written() {
    assert_eq!(read(vector!("connected")), Ok(FromCarrier::Connected));
    assert_eq!(written(write_connected), vector!("connected"));
}

#[test]
fn start_is_read_and_written() {
    let start = Start {
        stream_sid: STREAM.into(),
        call_sid: CALL.into(),
        account_sid: Some(ACCOUNT.into()),
        tracks: vec![Track::Inbound],
        encoding: Some("audio/x-mulaw".into()),
        sample_rate: Some(8_000),
        channels: Some(1),
        custom_parameters: vec![
            ("callToken".into(), "opaque-one-time-token".into()),
            ("greeting".into(), "שלום \"you\"".into()),
        ],
    };
    assert_eq!(read(vector!("start")), Ok(FromCarrier::Start(start.clone())));
    assert_eq!(written(|out| write_start(out, 1, &start)), vector!("start"));
}

#[test]
fn media_is_read_and_written() {
    let Ok(FromCarrier::Media { stream_sid, track, chunk, timestamp_ms, payload }) = read(vector!("media")) else {
        panic!("not read");
    };
    assert_eq!(stream_sid.as_deref(), Some(STREAM));
    assert_eq!((track, chunk, timestamp_ms), (Track::Inbound, Some(3), 63));
    assert_eq!(payload::payload_len(&payload), Some(160));
    let mut audio = Vec::new();
    payload::decode_into(&payload, &mut audio).unwrap();
    assert_eq!(written(|out| write_caller_media(out, 4, STREAM, 3, 63, &audio)), vector!("media"));
}

/// The frame path allocates nothing (A5): what `read` gives for a frame lies in the message.
#[test]
fn a_frame_of_audio_is_borrowed() {
    assert!(matches!(
        read(vector!("media")),
        Ok(FromCarrier::Media { stream_sid: Some(Cow::Borrowed(_)), payload: Cow::Borrowed(_), .. })
    ));
}

#[test]
fn dtmf_mark_and_stop_are_read_and_written() {
    assert_eq!(read(vector!("dtmf")), Ok(FromCarrier::Dtmf { stream_sid: sid(), digit: '#' }));
    assert_eq!(written(|out| write_dtmf(out, 5, STREAM, '#')), vector!("dtmf"));
    assert_eq!(read(vector!("mark")), Ok(FromCarrier::Mark { stream_sid: sid(), name: "2.17".into() }));
    assert_eq!(written(|out| write_mark_returned(out, 6, STREAM, "2.17")), vector!("mark"));
    assert_eq!(read(vector!("stop")), Ok(FromCarrier::Stop { stream_sid: sid(), call_sid: Some(CALL.into()) }));
    assert_eq!(written(|out| write_stop(out, 7, STREAM, ACCOUNT, CALL)), vector!("stop"));
}

// What is tolerated of Twilio.

#[test]
fn numbers_come_with_quotes_or_without() {
    let quoted = r#"{"event":"media","media":{"chunk":"2","timestamp":"20","payload":"AAAA"}}"#;
    let bare = r#"{"event":"media","media":{"chunk":2,"timestamp":20,"payload":"AAAA"}}"#;
    assert!(read(quoted).is_ok());
    assert_eq!(read(quoted), read(bare));
    let format = |rate| {
        format!(
            r#"{{"event":"start","streamSid":"M","start":{{"callSid":"C","mediaFormat":{{"sampleRate":{rate}}}}}}}"#
        )
    };
    assert!(read(&format("8000")).is_ok());
    assert_eq!(read(&format("8000")), read(&format("\"8000\"")));
}

#[test]
fn fields_come_in_any_order() {
    let text = r#"{"media":{"payload":"AAAA","timestamp":"5"},"streamSid":"MZ1","event":"media"}"#;
    assert!(matches!(read(text), Ok(FromCarrier::Media { timestamp_ms: 5, payload: Cow::Borrowed("AAAA"), .. })));
}

#[test]
fn unknown_fields_and_messages_pass() {
    let text = r#"{"event":"mark","new":[{"a":1}],"mark":{"name":"1.2","reason":"clear"},"streamSid":"MZ1","n":null}"#;
    assert_eq!(read(text), Ok(FromCarrier::Mark { stream_sid: Some("MZ1".into()), name: "1.2".into() }));
    assert_eq!(read(r#"{"event":"transcription","text":"hi"}"#), Ok(FromCarrier::Unknown));
    // Even where they use our names for other things.
    assert_eq!(read(r#"{"start":"2026-11-21","media":[1],"event":"report"}"#), Ok(FromCarrier::Unknown));
}

#[test]
fn what_a_call_can_do_without_may_be_missing() {
    let Ok(FromCarrier::Start(start)) = read(r#"{"event":"start","start":{"streamSid":"MZ1","callSid":"CA1"}}"#) else {
        panic!("not read");
    };
    assert_eq!((&*start.stream_sid, &*start.call_sid), ("MZ1", "CA1"));
    assert_eq!((start.account_sid, start.encoding, start.sample_rate, start.channels), (None, None, None, None));
    assert!(start.tracks.is_empty() && start.custom_parameters.is_empty());

    let outer = r#"{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","customParameters":null}}"#;
    assert!(matches!(read(outer), Ok(FromCarrier::Start(start)) if start.stream_sid == "MZ1"));
    assert_eq!(read(r#"{"event":"stop"}"#), Ok(FromCarrier::Stop { stream_sid: None, call_sid: None }));
}

#[test]
fn escapes_are_undone() {
    let text = r#"{"event":"media","streamSid":"\u004dZ1","media":{"timestamp":"1\u0030","payload":"\/\/79\/w=="}}"#;
    let Ok(FromCarrier::Media { stream_sid, timestamp_ms, payload, .. }) = read(text) else { panic!("not read") };
    assert_eq!((stream_sid.as_deref(), timestamp_ms, &*payload), (Some("MZ1"), 10, "//79/w=="));
    assert!(matches!(payload, Cow::Owned(_)));
}

#[test]
fn parameters_that_are_no_text_are_left_out() {
    let text = r#"{"event":"start","start":{"streamSid":"M","callSid":"C","customParameters":{"a":"1","b":2,"c":{},"d":"\n"}}}"#;
    let Ok(FromCarrier::Start(start)) = read(text) else { panic!("not read") };
    assert_eq!(start.custom_parameters, [("a".into(), "1".into()), ("d".into(), "\n".into())]);
}

#[test]
fn every_key_of_a_telephone_is_read_and_no_other() {
    let dtmf = |digit: &str| format!(r#"{{"event":"dtmf","dtmf":{{"digit":{digit}}}}}"#);
    for key in "0123456789*#ABCD".chars() {
        let text = dtmf(&format!("\"{key}\""));
        assert_eq!(read(&text), Ok(FromCarrier::Dtmf { stream_sid: None, digit: key }));
    }
    assert_eq!(read(&dtmf("7")), Ok(FromCarrier::Dtmf { stream_sid: None, digit: '7' }));
    for none in ["\"\"", "\"12\"", "\"E\"", "\"٣\"", "10", "4294967296"] {
        assert_eq!(read(&dtmf(none)), Err(ReadError::NoSuchKey), "{none}");
    }
}

// What is refused.

#[test]
fn errors_say_what_is_missing() {
    for (text, missing) in [
        (r#"{}"#, "event"),
        (r#"{"event":null}"#, "event"),
        (r#"{"event":"media"}"#, "media"),
        (r#"{"event":"media","media":{"timestamp":"1"}}"#, "media.payload"),
        (r#"{"event":"media","media":{"payload":"AAAA"}}"#, "media.timestamp"),
        (r#"{"event":"mark","mark":{}}"#, "mark.name"),
        (r#"{"event":"dtmf","dtmf":{}}"#, "dtmf.digit"),
        (r#"{"event":"start","start":{"streamSid":"MZ1"}}"#, "start.callSid"),
        (r#"{"event":"start","start":{"callSid":"CA1"}}"#, "streamSid"),
    ] {
        assert_eq!(read(text), Err(ReadError::Missing(missing)), "{text}");
    }
}

#[test]
fn hostile_messages_are_errors() {
    for text in [
        r#"{"event":7}"#,
        r#"{"event":"media","media":["inbound","1","20","AAAA"]}"#,
        r#"["media"]"#,
        r#"{"event":"media","media":{"timestamp":"-1","payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":-1,"payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":1.5,"payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":"99999999999999999999","payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":99999999999999999999,"payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":true,"payload":"AAAA"}}"#,
        r#"{"event":"media","media":{"timestamp":"1","payload":5}}"#,
        r#"{"event":"media","streamSid":{},"media":{"timestamp":"1","payload":"AAAA"}}"#,
        r#"{"event":"media","event":"mark"}"#,
        r#"{"event":"start","start":"2026-11-21"}"#,
    ] {
        assert!(matches!(read(text), Err(ReadError::WrongShape { .. })), "{text}: {:?}", read(text));
    }
    for text in [
        "",
        "garbage",
        r#"{"event":"media","media":{"timestamp":1e999,"payload":"AAAA"}}"#,
        r#"{"event":"mark","mark":{"name":"1"}}{}"#,
        r#"{"event":"mark","mark":{"name":"\ud800"}}"#,
        r#"{"event":"mark","mark":{"name":"1"#,
        &format!(r#"{{"event":"mark","x":{}}}"#, "[".repeat(10_000)),
    ] {
        assert!(matches!(read(text), Err(ReadError::NotJson { .. })), "{text}: {:?}", read(text));
    }
}

#[test]
fn huge_formats_saturate() {
    let text = r#"{"event":"start","start":{"streamSid":"M","callSid":"C","mediaFormat":{"sampleRate":"18446744073709551615"}}}"#;
    assert!(matches!(read(text), Ok(FromCarrier::Start(start)) if start.sample_rate == Some(u32::MAX)));
}

#[test]
fn errors_repeat_nothing_of_the_message() {
    for text in
        [r#"{"event":"mark","mark":"+15005550001"}"#, r#"{"event":"media","media":{"timestamp":"+15005550001x"}}"#]
    {
        let error = read(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("1500555"), "{error}");
    }
}

// What we send.

#[test]
fn our_messages_have_exactly_the_documented_fields() {
    let audio = [0xFF, 0xFE, 0xFD, 0xFF];
    assert_eq!(written(|out| write_media(out, STREAM, &audio)), vector!("to_media"));
    assert_eq!(written(|out| write_mark(out, STREAM, MarkId { epoch: 2, seq: 17 })), vector!("to_mark"));
    assert_eq!(written(|out| write_clear(out, STREAM)), vector!("to_clear"));
}

#[test]
fn twilio_reads_what_we_send() {
    let stream_sid = Cow::Borrowed(STREAM);
    assert_eq!(
        read_to_carrier(vector!("to_media")),
        Ok(ToCarrier::Media { stream_sid: stream_sid.clone(), payload: "//79/w==".into() })
    );
    assert_eq!(
        read_to_carrier(vector!("to_mark")),
        Ok(ToCarrier::Mark { stream_sid: stream_sid.clone(), name: "2.17".into() })
    );
    assert_eq!(read_to_carrier(vector!("to_clear")), Ok(ToCarrier::Clear { stream_sid }));
}

#[test]
fn a_warm_buffer_does_not_grow() {
    let mut out = String::new();
    write_media(&mut out, STREAM, &[0x7F; 160]);
    let capacity = out.capacity();
    out.clear();
    write_media(&mut out, STREAM, &[0x55; 160]);
    assert_eq!(out.capacity(), capacity);
}

#[test]
fn a_stream_sid_cannot_break_out_of_its_string() {
    let hostile = "MZ\"},\"x\":\"\\\u{1}\n";
    let text = written(|out| write_clear(out, hostile));
    assert_eq!(read_to_carrier(&text), Ok(ToCarrier::Clear { stream_sid: hostile.into() }));
}

/// What Twilio would warn about (31951).
#[test]
fn twilio_refuses_what_it_does_not_document() {
    for (text, missing) in [
        (r#"{"streamSid":"M"}"#, "event"),
        (r#"{"event":"clear"}"#, "streamSid"),
        (r#"{"event":"media","streamSid":"M"}"#, "media"),
        (r#"{"event":"media","streamSid":"M","media":{}}"#, "media.payload"),
        (r#"{"event":"mark","streamSid":"M","mark":{}}"#, "mark.name"),
    ] {
        assert_eq!(read_to_carrier(text), Err(ReadError::Missing(missing)), "{text}");
    }
    for (text, extra) in [
        (r#"{"event":"clear","streamSid":"M","mark":{"name":"1"}}"#, "mark"),
        (r#"{"event":"mark","streamSid":"M","mark":{"name":"1"},"media":{"payload":""}}"#, "media"),
    ] {
        assert_eq!(read_to_carrier(text), Err(ReadError::Extra(extra)), "{text}");
    }
    assert_eq!(read_to_carrier(r#"{"event":"stop","streamSid":"M"}"#), Err(ReadError::UnknownEvent));
    for text in [
        r#"{"event":"clear","streamSid":"M","x":1}"#,
        r#"{"event":"clear","streamSid":"M","media":null}"#,
        r#"{"event":"clear","streamSid":5}"#,
        r#"{"event":"media","streamSid":"M","media":{"payload":"","track":"outbound"}}"#,
        r#"{"event":"mark","streamSid":"M","mark":{"name":5}}"#,
        r#"{"event":"mark","streamSid":"M","mark":["5"]}"#,
    ] {
        assert!(matches!(read_to_carrier(text), Err(ReadError::WrongShape { .. })), "{text}");
    }
    assert!(matches!(read_to_carrier("clear"), Err(ReadError::NotJson { .. })));
}

#[test]
fn only_names_of_ours_are_marks_of_ours() {
    assert_eq!(mark_id("0.0"), Some(MarkId { epoch: 0, seq: 0 }));
    assert_eq!(mark_id("4294967295.10"), Some(MarkId { epoch: u32::MAX, seq: 10 }));
    for name in
        ["", ".", "1", "1.", ".1", "1.2.3", "+1.2", "-1.2", "01.2", "1.00", "1.4294967296", "a.b", "1 .2", "١.٢"]
    {
        assert_eq!(mark_id(name), None, "{name:?}");
    }
}

proptest! {
    #[test]
    fn marks_find_their_way_back(epoch: u32, seq: u32, sid: String) {
        let mark = MarkId { epoch, seq };
        let sent = written(|out| write_mark(out, &sid, mark));
        let Ok(ToCarrier::Mark { stream_sid, name }) = read_to_carrier(&sent) else {
            return Err(TestCaseError::fail(sent));
        };
        prop_assert_eq!(&*stream_sid, &sid);
        let returned = written(|out| write_mark_returned(out, 9, &stream_sid, &name));
        let Ok(FromCarrier::Mark { stream_sid, name }) = read(&returned) else {
            return Err(TestCaseError::fail(returned));
        };
        prop_assert_eq!(stream_sid.as_deref(), Some(&*sid));
        prop_assert_eq!(mark_id(&name), Some(mark));
    }

    #[test]
    fn audio_survives_in_both_directions(audio: Vec<u8>, sid: String, sequence: u64, chunk: u64, timestamp: u64) {
        let ours = written(|out| write_media(out, &sid, &audio));
        let Ok(ToCarrier::Media { stream_sid, payload }) = read_to_carrier(&ours) else {
            return Err(TestCaseError::fail(ours));
        };
        prop_assert_eq!(&*stream_sid, &sid);
        prop_assert_eq!(&decoded(&payload), &audio);

        let theirs = written(|out| write_caller_media(out, sequence, &sid, chunk, timestamp, &audio));
        let Ok(FromCarrier::Media { stream_sid, track: Track::Inbound, chunk: Some(c), timestamp_ms, payload }) = read(&theirs)
        else {
            return Err(TestCaseError::fail(theirs));
        };
        prop_assert_eq!((stream_sid.as_deref(), c, timestamp_ms), (Some(&*sid), chunk, timestamp));
        prop_assert_eq!(&decoded(&payload), &audio);
    }

    #[test]
    fn start_survives(sid: String, call: String, account: Option<String>, pairs: Vec<(String, String)>, rate: u32) {
        let start = Start {
            stream_sid: sid.into(),
            call_sid: call.into(),
            account_sid: Some(account.unwrap_or_default().into()),
            tracks: vec![Track::Inbound, Track::Outbound],
            encoding: Some("audio/x-mulaw".into()),
            sample_rate: Some(rate),
            channels: Some(1),
            custom_parameters: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        };
        let text = written(|out| write_start(out, 1, &start));
        prop_assert_eq!(read(&text), Ok(FromCarrier::Start(start)));
    }

    /// Whatever comes, there is an answer; and what the strict reader takes is JSON to anybody.
    #[test]
    fn nothing_panics(text in r#"[\{\}"a-z:,0-9\\ ]{0,40}"#, name: String, inner: String) {
        let _ = read(&text);
        let _ = read_to_carrier(&text);
        let _ = mark_id(&name);
        let framed = format!(r#"{{"event":"mark","streamSid":"M","mark":{{"name":"{inner}"}}}}"#);
        let _ = read(&framed);
        if read_to_carrier(&framed).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&framed).is_ok());
        }
    }
}

// Helpers.

/// A message as `vectors/twilio` has it.
macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("vectors/twilio/", $name, ".json")).trim_end()
    };
}
use vector;

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

fn decoded(payload: &str) -> Vec<u8> {
    let mut out = Vec::new();
    payload::decode_into(payload, &mut out).expect("what was written is base64");
    out
}

fn sid() -> Option<Cow<'static, str>> {
    Some(STREAM.into())
}
