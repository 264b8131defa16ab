//! Twilio's end of a stream, in virtual time.

#![expect(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::sync::Arc;
use std::time::Duration;

use call::g711;
use call::wire::payload;
use call::wire::twilio::{self as wire, FromCarrier};
use sim::carrier::stream::*;

// Opening.

#[test]
fn a_stream_opens_with_connected_and_start() {
    let mut twilio = Twilio::new([], StreamOptions::default());
    assert_eq!(twilio.until(0), ["0 connected", "0 start CA1 MZ1 inbound audio/x-mulaw 8000 1 token=t"]);
}

#[test]
fn frames_come_every_20_ms_with_chunk_timestamp_and_sequence() {
    let mut twilio = Twilio::new([], StreamOptions::default());
    twilio.until(0);
    assert_eq!(twilio.until(60), ["20 media 1 @0 silence", "40 media 2 @20 silence", "60 media 3 @40 silence"]);
    assert_eq!(twilio.sequences, [1, 2, 3, 4]);
}

// Playback and marks.

#[test]
fn marks_come_back_in_order_when_the_audio_before_them_was_played() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    twilio.until(5);
    twilio.mark("0.0");
    twilio.media(&[1; 160]);
    twilio.mark("0.1");
    twilio.media(&[2; 80]);
    twilio.mark("0.2");
    twilio.mark("0.3");
    assert_eq!(twilio.until(1_000), ["5 mark 0.0", "25 mark 0.1", "35 mark 0.2", "35 mark 0.3"]);
    assert!(twilio.report().marks.iter().all(|mark| !mark.flushed && mark.received_at == ms(5)));
}

#[test]
fn the_timeline_is_what_the_caller_heard() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    twilio.until(1);
    twilio.media(&[1; 16]);
    twilio.media(&[2; 8]);
    twilio.until(10);
    twilio.media(&[3; 8]);
    twilio.until(12);
    twilio.close();
    let expected = [&[0xFF; 8][..], &[1; 16], &[2; 8], &[0xFF; 48], &[3; 8], &[0xFF; 8]].concat();
    assert_eq!(twilio.report().played, expected);
    assert_eq!(twilio.report().audible, [ms(1)..ms(4), ms(10)..ms(11)]);
    let piece = |at, plays_at, bytes| Piece { received_at: ms(at), plays_at: ms(plays_at), bytes };
    assert_eq!(twilio.report().pieces, [piece(1, 1, 16), piece(1, 3, 8), piece(10, 10, 8)]);
    assert_eq!(twilio.report().most_buffered(), ms(3));
}

#[test]
fn a_byte_that_has_begun_is_not_filled() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    twilio.now = Duration::from_micros(130);
    twilio.media(&[7]);
    twilio.until(1);
    twilio.close();
    assert_eq!(twilio.report().played, [0xFF, 0xFF, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
}

#[test]
fn clear_discards_what_was_not_played_and_returns_its_marks_in_order() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    twilio.media(&[1; 160]);
    twilio.mark("0.0");
    twilio.media(&[2; 160]);
    twilio.mark("0.1");
    twilio.media(&[3; 160]);
    twilio.mark("0.2");
    assert_eq!(twilio.until(30), ["20 mark 0.0"]);
    twilio.clear();
    assert_eq!(twilio.until(500), ["30 mark 0.1", "30 mark 0.2"]);
    let report = twilio.report();
    assert_eq!(report.clears, [Clear { at: ms(30), played_bytes: 240, discarded_bytes: 240 }]);
    assert_eq!(report.marks.iter().map(|mark| mark.flushed).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(report.played, [[1; 80], [1; 80], [2; 80]].concat());
    assert_eq!(report.audible, [ms(0)..ms(30)]);
}

#[test]
fn audio_after_a_clear_plays_at_once() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    twilio.media(&[1; 800]);
    twilio.clear();
    twilio.media(&[2; 8]);
    twilio.until(10);
    twilio.clear();
    twilio.media(&[3; 8]);
    twilio.until(20);
    twilio.close();
    let report = twilio.report();
    assert_eq!(report.played[..8], [2; 8]);
    assert_eq!(report.played[80..88], [3; 8]);
    assert_eq!(report.audible, [ms(0)..ms(1), ms(10)..ms(11)]);
    assert_eq!(
        report.clears.iter().map(|clear| (clear.played_bytes, clear.discarded_bytes)).collect::<Vec<_>>(),
        [(0, 800), (8, 0)]
    );
}

#[test]
fn a_tail_plays_on_after_a_clear() {
    let mut twilio = Twilio::quiet([], StreamOptions { post_clear_tail: ms(40), ..Default::default() });
    twilio.media(&[1; 800]);
    twilio.mark("0.0");
    twilio.until(20);
    twilio.clear();
    assert_eq!(twilio.until(100), ["20 mark 0.0"]);
    let report = twilio.report();
    assert_eq!(report.clears, [Clear { at: ms(20), played_bytes: 160, discarded_bytes: 320 }]);
    assert_eq!(report.audible, [ms(0)..ms(60)]);
}

#[test]
fn more_than_ten_minutes_are_not_buffered() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    for _ in 0..10 {
        twilio.media(&[1; 60 * 8_000]);
    }
    assert_eq!(twilio.report().violations, [""; 0]);
    twilio.media(&[2]);
    assert_eq!(twilio.report().violations, ["31931: more than ten minutes of audio"]);
    assert_eq!(twilio.report().played.len(), 600 * 8_000);
}

// The caller.

#[test]
fn what_the_caller_says_goes_out_in_frames_and_is_padded() {
    let script = [CallerStep::Pause(ms(30)), CallerStep::Say(Arc::from(vec![7; 200]))];
    let mut twilio = Twilio::new(script, StreamOptions::default());
    twilio.until(0);
    assert_eq!(
        twilio.until(100),
        [
            "20 media 1 @0 silence",
            "40 media 2 @20 silence",
            "60 media 3 @40 160 of 7",
            "80 media 4 @60 40 of 7",
            "100 media 5 @80 silence"
        ]
    );
    assert_eq!(twilio.steps(), [(0, Some(30)), (30, Some(80)), (80, None)]);
    assert_eq!(twilio.report().said.len(), 800);
}

/// Two ways back from a line that carries speech too. Breaks when an echo is of something else, as loud as it was, or
/// of what a `clear` took away.
#[test]
fn the_line_gives_back_what_was_played() {
    let echo = |way: u64, gain_permille| Echo { way: Duration::from_micros(125 * way), gain_permille };
    let options = StreamOptions { echoes: vec![echo(200, 100), echo(400, -50)], ..Default::default() };
    let mut twilio = Twilio::quiet([CallerStep::Say(vec![g711::encode(3_000); 160].into())], options);
    let loud = g711::encode(20_000);
    twilio.media(&[loud; 800]);
    twilio.until(50);
    twilio.clear();
    twilio.until(140);
    let loud = i32::from(g711::decode(loud));
    let played = |at: i32| if (0..400).contains(&at) { loud } else { 0 };
    for (at, &byte) in (0..).zip(&twilio.report().said) {
        let said = if at < 160 { i32::from(g711::decode(g711::encode(3_000))) } else { 0 };
        let expected = said + played(at - 200) * 100 / 1_000 + played(at - 400) * -50 / 1_000;
        assert_eq!(byte, g711::encode(expected as i16), "byte {at}");
    }
}

#[test]
fn the_caller_waits_for_the_agent_to_speak_and_to_fall_silent() {
    let script = [
        CallerStep::AwaitAgentSpeech { for_at_least: ms(50) },
        CallerStep::Press('5'),
        CallerStep::AwaitAgentQuiet(ms(100)),
        CallerStep::AwaitAgentQuiet(ms(100)),
        CallerStep::HangUp,
    ];
    let mut twilio = Twilio::quiet(script, StreamOptions::default());
    twilio.until(10);
    twilio.media(&[1; 320]);
    assert_eq!(twilio.until(100), [""; 0], "40 ms are not enough");
    twilio.media(&[1; 320]);
    // A pause of 50 ms is a breath: the agent has been speaking since 10 ms.
    assert_eq!(twilio.until(239), ["100 dtmf 5"]);
    assert_eq!(twilio.steps()[2..], [(100, None)]);
    assert_eq!(twilio.until(1_000), [""; 0]);
    assert_eq!(twilio.steps()[2..], [(100, Some(240)), (240, None)], "quiet counts once");
    twilio.media(&[1; 80]);
    assert_eq!(twilio.until(2_000), ["1110 stop", "1110 close"]);
    assert_eq!(twilio.report().end, Some(StreamEnd::CallerHungUp));
}

#[test]
fn speech_that_was_cleared_is_not_waited_out() {
    let script = [CallerStep::AwaitAgentSpeech { for_at_least: ms(100) }, CallerStep::HangUp];
    let mut twilio = Twilio::quiet(script, StreamOptions::default());
    twilio.media(&[1; 8_000]);
    twilio.until(50);
    twilio.clear();
    assert_eq!(twilio.until(1_000), [""; 0]);
    twilio.media(&[1; 8_000]);
    assert_eq!(twilio.until(2_000), ["1100 stop", "1100 close"]);
    assert_eq!(twilio.report().audible, [ms(0)..ms(50), ms(1_000)..ms(1_100)]);
}

#[test]
fn a_caller_who_waits_in_vain_hangs_up() {
    let script = [CallerStep::AwaitAgentSpeech { for_at_least: ms(1) }];
    let mut twilio = Twilio::quiet(script, StreamOptions { patience: ms(3_000), ..Default::default() });
    assert_eq!(twilio.until(5_000), ["3000 stop", "3000 close"]);
    assert_eq!(twilio.report().end, Some(StreamEnd::CallerGaveUp));
}

#[test]
fn what_is_left_of_the_script_is_for_the_next_stream() {
    let say = CallerStep::Say([[7; 160], [8; 160]].concat().into());
    let mut twilio = Twilio::quiet([CallerStep::Press('1'), say, CallerStep::HangUp], StreamOptions::default());
    twilio.until(25);
    twilio.close();
    assert_eq!(twilio.stream.poll_timeout(), None);
    let (_, rest) = twilio.stream.into_report();
    assert_eq!(rest, [CallerStep::Say(Arc::from(vec![8; 160])), CallerStep::HangUp]);
}

// Violations.

#[test]
fn what_twilio_would_warn_about_is_recorded() {
    let mut twilio = Twilio::quiet([], StreamOptions::default());
    for text in [
        "no JSON",
        r#"{"event":"clear","streamSid":"MZ2"}"#,
        r#"{"event":"clear","streamSid":"MZ1","extra":1}"#,
        r#"{"event":"media","streamSid":"MZ1","media":{"payload":"A"}}"#,
        r#"{"event":"sing","streamSid":"MZ1"}"#,
    ] {
        twilio.stream.receive(text, twilio.now);
    }
    twilio.stream.receive_binary(twilio.now);
    let codes: Vec<&str> = twilio.report().violations.iter().map(|text| &text[..5]).collect();
    assert_eq!(codes, ["31951", "31951", "31951", "31951", "31951", "31950"]);
    assert_eq!(twilio.report().received, Received::default());
}

#[test]
fn what_comes_after_the_end_is_late_not_wrong() {
    let mut twilio = Twilio::quiet([CallerStep::HangUp], StreamOptions::default());
    twilio.until(10);
    twilio.stream.receive("nonsense", twilio.now);
    assert_eq!(twilio.report().violations, [""; 0]);
    assert_eq!(twilio.report().received.late, 1);
}

// Misbehaviour.

#[test]
fn marks_can_be_delayed_lost_or_never_returned() {
    let after = |options| {
        let mut twilio = Twilio::quiet([], options);
        twilio.media(&[1; 160]);
        for name in ["0.0", "0.1", "0.2"] {
            twilio.mark(name);
        }
        twilio.until(1_000)
    };
    assert_eq!(after(StreamOptions { marks_never: true, ..Default::default() }), [""; 0]);
    assert_eq!(after(StreamOptions { marks_lost: vec![1], ..Default::default() }), ["20 mark 0.0", "20 mark 0.2"]);
    let delayed = after(StreamOptions { marks_delay: ms(300), ..Default::default() });
    assert_eq!(delayed, ["320 mark 0.0", "320 mark 0.1", "320 mark 0.2"]);
}

#[test]
fn frames_can_be_missing_and_late() {
    let options = StreamOptions {
        media_gaps: vec![ms(20)..ms(60)],
        frame_jitter: vec![ms(0), ms(0), ms(0), ms(35), ms(0)],
        ..Default::default()
    };
    let mut twilio = Twilio::new([], options);
    twilio.until(0);
    assert_eq!(
        twilio.until(120),
        ["20 media 1 @0 silence", "115 media 2 @60 silence", "115 media 3 @80 silence", "120 media 4 @100 silence"]
    );
}

#[test]
fn starts_can_be_doubled_late_and_among_strangers() {
    let options =
        StreamOptions { duplicate_start: true, media_before_start: true, unknown_events: true, ..Default::default() };
    let mut twilio = Twilio::new([], options);
    let opening = twilio.until(0);
    let kinds: Vec<&str> = opening.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(kinds, ["connected", "media", "start", "start"]);
    assert!(twilio.until(1_000).contains(&"180 unknown".to_owned()));
    assert!(twilio.sequences.is_sorted_by(|a, b| a + 1 == *b));
}

#[test]
fn an_end_can_lack_its_stop_or_its_close() {
    let end = |options| Twilio::quiet([CallerStep::Pause(ms(50)), CallerStep::HangUp], options).until(1_000);
    assert_eq!(end(StreamOptions { close_without_stop: true, ..Default::default() }), ["50 close"]);
    assert_eq!(end(StreamOptions { stop_without_close: true, ..Default::default() }), ["50 stop"]);
}

#[test]
fn a_stream_has_a_limit() {
    let mut twilio = Twilio::quiet([], StreamOptions { limit: ms(70), ..Default::default() });
    assert_eq!(twilio.until(1_000), ["70 stop", "70 close"]);
    assert_eq!(twilio.report().end, Some(StreamEnd::TooLong));
}

/// What is seen does not depend on how often one looks.
#[test]
fn looking_often_or_seldom_is_the_same() {
    let run = |step_ms: u64| {
        let script = [
            CallerStep::AwaitAgentSpeech { for_at_least: ms(33) },
            CallerStep::Press('1'),
            CallerStep::Pause(ms(7)),
            CallerStep::HangUp,
        ];
        let options = StreamOptions { frame_jitter: vec![ms(3), ms(11)], marks_delay: ms(13), ..Default::default() };
        let mut twilio = Twilio::new(script, options);
        twilio.media(&[1; 400]);
        twilio.mark("0.0");
        for now in (step_ms..=600).step_by(usize::try_from(step_ms).unwrap()) {
            twilio.now = ms(now);
            while twilio.stream.poll(ms(now)).is_some() {}
        }
        twilio.stream.into_report()
    };
    assert_eq!(run(1), run(600));
}

// Helpers.

/// The fake, driven from one due moment to the next.
struct Twilio {
    stream: FakeStream,
    now: Duration,
    sequences: Vec<u64>,
    shows_silence: bool,
}

impl Twilio {
    fn new(script: impl Into<Vec<CallerStep>>, options: StreamOptions) -> Self {
        let facts = StreamFacts {
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            custom_parameters: vec![("token".into(), "t".into())],
        };
        let stream = FakeStream::new(facts, script.into(), options, Duration::ZERO);
        Self { stream, now: Duration::ZERO, sequences: Vec::new(), shows_silence: true }
    }

    /// Past the opening, and without showing the caller's frames.
    fn quiet(script: impl Into<Vec<CallerStep>>, options: StreamOptions) -> Self {
        let mut twilio = Self::new(script, options);
        for _ in 0..2 {
            twilio.stream.poll(Duration::ZERO).unwrap();
        }
        twilio.shows_silence = false;
        twilio
    }

    /// Lets time pass; what came by then, with the ms at which it was due.
    fn until(&mut self, end_ms: u64) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(due) = self.stream.poll_timeout().filter(|&due| due <= ms(end_ms)) {
            assert!(due >= self.now, "time goes on");
            self.now = due;
            while let Some(sent) = self.stream.poll(due) {
                seen.extend(self.show(&sent).map(|line| format!("{} {line}", due.as_millis())));
            }
            assert!(self.stream.poll_timeout().is_none_or(|next| next > due), "a timeout stayed due");
        }
        self.now = ms(end_ms);
        assert_eq!(self.stream.poll(self.now), None, "what is due has a timeout");
        seen
    }

    fn show(&mut self, sent: &Sent) -> Option<String> {
        let Sent::Text(text) = sent else { return Some("close".into()) };
        let fields: serde_json::Value = serde_json::from_str(text).unwrap();
        if let Some(sequence) = fields["sequenceNumber"].as_str() {
            self.sequences.push(sequence.parse().unwrap());
        }
        Some(match wire::read(text).unwrap() {
            FromCarrier::Connected => "connected".into(),
            FromCarrier::Start(start) => format!(
                "start {} {} inbound {} {} {} {}={}",
                start.call_sid,
                start.stream_sid,
                start.encoding.unwrap(),
                start.sample_rate.unwrap(),
                start.channels.unwrap(),
                start.custom_parameters[0].0,
                start.custom_parameters[0].1
            ),
            FromCarrier::Media { .. } if !self.shows_silence => return None,
            FromCarrier::Media { chunk, timestamp_ms, payload, .. } => {
                let mut audio = Vec::new();
                payload::decode_into(&payload, &mut audio).unwrap();
                assert_eq!(audio.len(), 160);
                let said = audio.iter().take_while(|&&byte| byte != 0xFF).count();
                let what = if said == 0 { "silence".into() } else { format!("{said} of {}", audio[0]) };
                format!("media {} @{timestamp_ms} {what}", chunk.unwrap())
            }
            FromCarrier::Mark { name, .. } => format!("mark {name}"),
            FromCarrier::Dtmf { digit, .. } => format!("dtmf {digit}"),
            FromCarrier::Stop { .. } => "stop".into(),
            FromCarrier::Unknown => "unknown".into(),
        })
    }

    fn media(&mut self, audio: &[u8]) {
        let mut text = String::new();
        wire::write_media(&mut text, "MZ1", audio);
        self.stream.receive(&text, self.now);
    }

    fn mark(&mut self, name: &str) {
        let mut text = String::new();
        wire::write_mark(&mut text, "MZ1", wire::mark_id(name).unwrap());
        self.stream.receive(&text, self.now);
    }

    fn clear(&mut self) {
        let mut text = String::new();
        wire::write_clear(&mut text, "MZ1");
        self.stream.receive(&text, self.now);
    }

    fn close(&mut self) {
        self.stream.receive_close(self.now);
    }

    fn report(&self) -> &StreamReport {
        self.stream.report()
    }

    /// When each step began and ended, in ms.
    fn steps(&self) -> Vec<(u128, Option<u128>)> {
        let steps = &self.report().steps;
        steps.iter().map(|step| (step.began_at.as_millis(), step.ended_at.map(|at| at.as_millis()))).collect()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
