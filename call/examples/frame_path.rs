//! `frame_path WHAT COUNT`: does one thing on the path of a frame so many times, for `scripts/instructions` to count
//! instructions. The difference between two counts is free of everything that is done once.

#[path = "../tests/frame_path/line.rs"]
mod line;

use std::hint::black_box;

use call::bridge::Wants;
use call::id::MarkId;
use call::wire::{openai, payload, twilio};
use line::{FRAME_BYTES, Line};

const QUIET: Wants = Wants { samples: false, trace: None };
const RECORDED: Wants = Wants { samples: true, trace: None };

const MEDIA: &str = r#"{"event":"media","sequenceNumber":"4711","media":{"track":"inbound","chunk":"4710","timestamp":"94200","payload":"PAYLOAD"},"streamSid":"MZ00000000000000000000000000000001"}"#;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(what), Some(count)) = (arguments.next(), arguments.next().and_then(|count| count.parse().ok())) else {
        eprintln!("usage: frame_path WHAT COUNT");
        std::process::exit(2);
    };
    let frame = [0x55; FRAME_BYTES];
    let mut base64 = String::new();
    payload::encode_into(&frame, &mut base64);
    let media = MEDIA.replace("PAYLOAD", &base64);
    let mut text = String::with_capacity(8_192);
    match what.as_str() {
        // A frame of the caller through the whole bridge: read, told, settled, written for the model.
        "uplink" => repeat(count, &mut Line::answering(QUIET), Line::caller_frame),
        "uplink-recorded" => repeat(count, &mut Line::answering(RECORDED), Line::caller_frame),
        // 20 ms of a call in which both are heard: a frame each way, a tenth of a delta, a fifth of a mark and its return.
        "tick" => Line::answering(QUIET).ticks(count),
        "tick-grouped" => Line::answering_in_groups(QUIET, 3).ticks(count),
        "tick-recorded" => Line::answering(RECORDED).ticks(count),
        "read-media" => repeat(count, &mut text, |_| {
            let _ = black_box(twilio::read(black_box(&media)));
        }),
        "write-media" => repeat(count, &mut text, |text| {
            text.clear();
            twilio::write_media(text, "MZ00000000000000000000000000000001", black_box(&frame));
        }),
        "write-mark" => repeat(count, &mut text, |text| {
            text.clear();
            twilio::write_mark(text, "MZ00000000000000000000000000000001", black_box(MarkId { epoch: 3, seq: 411 }));
        }),
        "check-payload" => repeat(count, &mut text, |_| {
            let _ = black_box(payload::payload_len(black_box(&base64)));
        }),
        "write-append" => repeat(count, &mut text, |text| {
            text.clear();
            openai::write_append(text, black_box(&base64));
        }),
        other => {
            eprintln!("frame_path knows no {other}");
            std::process::exit(2);
        }
    }
}

fn repeat<T>(count: u64, on: &mut T, mut act: impl FnMut(&mut T)) {
    for _ in 0..count {
        act(black_box(on));
    }
}
