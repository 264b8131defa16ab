//! Pictures of made-up calls: 3, 30 and 90 seconds. They are left in cargo's directory for tests' files, to be looked at.

use std::f64::consts::TAU;
use std::path::Path;

use call::g711;
use patchcord::demo::picture::{Event, EventKind, HEIGHT, Mark, Picture, Span, TurnLabel, WIDTH, Who, png, svg};
use patchcord::demo::story::STORY;
use resvg::usvg;

#[test]
fn every_lane_is_there() {
    let call = three_turns();
    let text = svg(&call.picture("A call"));
    let document = roxmltree::Document::parse(&text).unwrap();
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    assert_eq!(ids, ["axis", "holds", "events", "caller", "floor", "agent", "progress", "queue", "carrier", "marks"]);
    for lane in document.descendants().filter(|node| node.has_attribute("id") && node.attribute("id") != Some("holds"))
    {
        assert!(
            lane.descendants().any(|node| ["path", "line", "rect"].contains(&node.tag_name().name())),
            "{:?}",
            lane.attribute("id")
        );
    }
}

#[test]
fn any_text_makes_valid_xml() {
    let nasty = "<script>&\"'\u{0}\u{1b}]]> שלום 😀\n";
    let mut call = three_turns();
    call.turns.iter_mut().for_each(|turn| turn.text = nasty.to_owned());
    call.events.iter_mut().for_each(|event| event.label = nasty.to_owned());
    let text = svg(&call.picture(nasty));
    let document = roxmltree::Document::parse(&text).unwrap();
    let shown: String = document.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect();
    assert!(shown.contains("<script>&\"'"), "{shown}");
    assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
    png(&text).unwrap();
}

#[test]
fn what_was_not_heard_is_struck_out_and_counted() {
    let text = svg(&three_turns().picture("A call"));
    assert!(text.contains("text-decoration=\"line-through\">bay, switches"));
    assert!(text.contains("7.9 s never heard"));
}

#[test]
fn an_empty_call_is_a_picture_too() {
    let call = Made::default();
    png(&svg(&call.picture(""))).unwrap();
}

#[test]
fn the_png_has_two_pixels_a_unit() {
    let png = png(&svg(&three_turns().picture("A call"))).unwrap();
    let number_at = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!(&png[1..4], b"PNG");
    assert_eq!((number_at(16), number_at(20)), (2 * WIDTH, 2 * HEIGHT));
}

#[test]
fn no_text_meets_another_or_leaves_the_page() {
    for (name, call) in [("short", short()), ("call", three_turns()), ("long", long())] {
        let text = svg(&call.picture("Rover dispatch: one call, seen from the server"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(folder.join(format!("picture-{name}.svg")), &text).unwrap();
        std::fs::write(folder.join(format!("picture-{name}.png")), png(&text).unwrap()).unwrap();

        let boxes = text_boxes(&text);
        assert!(boxes.len() > 20);
        for (index, (words, place)) in boxes.iter().enumerate() {
            let page = usvg::Rect::from_xywh(8.0, 0.0, WIDTH as f32 - 16.0, HEIGHT as f32).unwrap();
            assert!(
                page.left() <= place.left() && place.right() <= page.right(),
                "{name}: {words:?} leaves the page: {place:?}"
            );
            for (other, elsewhere) in &boxes[index + 1..] {
                let apart = place.right() <= elsewhere.left()
                    || elsewhere.right() <= place.left()
                    || place.bottom() <= elsewhere.top()
                    || elsewhere.bottom() <= place.top();
                assert!(apart, "{name}: {words:?} meets {other:?}");
            }
        }
    }
}

/// Where each text's letters are, as the rasteriser sees it.
fn text_boxes(svg: &str) -> Vec<(String, usvg::Rect)> {
    fn collect(group: &usvg::Group, boxes: &mut Vec<(String, usvg::Rect)>) {
        for node in group.children() {
            match node {
                usvg::Node::Group(group) => collect(group, boxes),
                usvg::Node::Text(text) => {
                    let words = text.chunks().iter().map(|chunk| chunk.text()).collect();
                    boxes.push((words, text.abs_bounding_box()));
                }
                _ => {}
            }
        }
    }
    let mut options = usvg::Options::default();
    let fonts = std::sync::Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(include_bytes!("../assets/fonts/Inter-Regular-subset.otf").to_vec());
    fonts.load_font_data(include_bytes!("../assets/fonts/Inter-SemiBold-subset.otf").to_vec());
    let tree = usvg::Tree::from_str(svg, &options).expect("what `svg` writes is SVG");
    let mut boxes = Vec::new();
    collect(tree.root(), &mut boxes);
    boxes
}

/// A call as a server would have recorded it.
#[derive(Default)]
struct Made {
    duration_ms: f64,
    caller: Vec<u8>,
    agent: Vec<u8>,
    floor: Vec<Span>,
    turns: Vec<TurnLabel>,
    generated: Vec<(f64, f64)>,
    sent: Vec<(f64, f64)>,
    heard: Vec<(f64, f64)>,
    queue: Vec<(f64, f64)>,
    marks: Vec<Mark>,
    events: Vec<Event>,
}

impl Made {
    fn lasting(duration_ms: f64) -> Made {
        let silence = vec![g711::SILENCE; duration_ms as usize * 8];
        Made { duration_ms, caller: silence.clone(), agent: silence, ..Made::default() }
    }

    fn picture(&self, title: &str) -> Picture<'_> {
        Picture {
            title: title.to_owned(),
            subtitle: "greeting, request, tool call, interruption, farewell".to_owned(),
            duration_ms: self.duration_ms as u64,
            caller: &self.caller,
            agent: &self.agent,
            floor: self.floor.clone(),
            turns: self.turns.clone(),
            generated: self.generated.clone(),
            sent: self.sent.clone(),
            heard: self.heard.clone(),
            queue: self.queue.clone(),
            marks: self.marks.clone(),
            events: self.events.clone(),
        }
    }

    fn caller_says(mut self, start_ms: f64, length_ms: f64, text: &str) -> Made {
        match STORY.exchanges.iter().find(|exchange| exchange.line.words == text) {
            Some(exchange) => {
                let from = start_ms as usize * 8;
                let speech = exchange.line.audio().expect("the clips are WAV files");
                self.caller[from..from + speech.len()].copy_from_slice(&speech);
            }
            None => murmur(&mut self.caller, start_ms, length_ms, 118.0),
        }
        self.turn(Who::Caller, start_ms, length_ms, text, "");
        self
    }

    /// `text` takes `length_ms` to say, `unheard` would take `lost_ms` more. Made five times faster, sent 200 ms ahead.
    fn agent_says(mut self, start_ms: f64, length_ms: f64, text: &str, lost_ms: f64, unheard: &str) -> Made {
        const LEAD_MS: f64 = 200.0;
        const LINE_MS: f64 = 35.0;
        murmur(&mut self.agent, start_ms, length_ms, 205.0);
        self.turn(Who::Agent, start_ms, length_ms, text, unheard);
        let begin = start_ms - 60.0;
        let total = length_ms + lost_ms;
        let (made, gone, ear) = (last(&self.generated), last(&self.sent), last(&self.heard));
        let end = start_ms + length_ms;
        for delta in 1..=(total / 250.0).ceil() as u32 {
            let at = begin + f64::from(delta - 1) * 50.0;
            self.generated.push((at, made + (f64::from(delta) * 250.0).min(total)));
        }
        let mut frames = 0.0;
        let mut at: f64 = begin;
        while at < end && frames * 20.0 < total {
            let allowed = (at - start_ms + LEAD_MS).max(20.0).min(total);
            while (frames + 1.0) * 20.0 <= allowed {
                frames += 1.0;
                self.sent.push((at, gone + frames * 20.0));
                if frames as u32 % 5 == 1 {
                    let reached = start_ms + frames * 20.0 + LINE_MS;
                    let flushed = reached > end + LINE_MS + 20.0;
                    let returned_ms = Some(if flushed { end + 2.0 * LINE_MS } else { reached });
                    self.marks.push(Mark { sent_ms: at, returned_ms, flushed });
                }
            }
            let generated = self.generated.iter().rev().find(|(t, _)| *t <= at).map_or(0.0, |point| point.1);
            self.queue.push((at, (generated - made - frames * 20.0).max(0.0)));
            at += 20.0;
        }
        for step in 1..=(length_ms / 20.0) as u32 {
            self.heard.push((start_ms + f64::from(step) * 20.0, ear + f64::from(step) * 20.0));
        }
        self.queue.push((end, 0.0));
        if lost_ms > 0.0 {
            self = self.event(end - 250.0, EventKind::Hold, "").event(end, EventKind::Clear, "").event(
                end,
                EventKind::Interruption,
                "",
            );
        }
        self
    }

    fn turn(&mut self, who: Who, start_ms: f64, length_ms: f64, text: &str, unheard: &str) {
        let end_ms = start_ms + length_ms;
        if let Some(before) = self.floor.last_mut() {
            before.end_ms = before.end_ms.min(start_ms);
        }
        self.floor.push(Span { start_ms, end_ms, who });
        let (text, unheard, interrupted) = (text.to_owned(), unheard.to_owned(), !unheard.is_empty());
        self.turns.push(TurnLabel { start_ms, end_ms, who, text, unheard, interrupted });
    }

    fn event(mut self, at_ms: f64, kind: EventKind, label: &str) -> Made {
        self.events.push(Event { at_ms, kind, label: label.to_owned() });
        self.events.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        self
    }
}

fn last(steps: &[(f64, f64)]) -> f64 {
    steps.last().map_or(0.0, |step| step.1)
}

/// Something of the outline of speech: syllables, words, breath.
fn murmur(audio: &mut [u8], start_ms: f64, length_ms: f64, pitch_hz: f64) {
    let from = (start_ms * 8.0) as usize;
    for n in 0..(length_ms * 8.0) as usize {
        let t = n as f64 / 8_000.0;
        let syllable = (0.5 - 0.5 * (TAU * 4.1 * t).cos()) * (0.7 + 0.3 * (TAU * 1.3 * t).sin());
        let phrase =
            (1.0 - (t * 1000.0 / length_ms * 2.0 - 1.0).powi(8)) * if (t * 0.55).fract() > 0.9 { 0.05 } else { 1.0 };
        let voice: f64 = (1..12).map(|k| (TAU * pitch_hz * f64::from(k) * t).sin() / f64::from(k)).sum();
        if let Some(byte) = audio.get_mut(from + n) {
            *byte = g711::encode((voice * syllable * phrase * 9_000.0) as i16);
        }
    }
}

/// The story of the demo.
fn three_turns() -> Made {
    Made::lasting(29_000.0)
        .agent_says(700.0, 3_100.0, "Rover dispatch, this is Ada. Where should it go?", 0.0, "")
        .caller_says(4_400.0, 1_740.0, "go forward ten meters")
        .event(6_900.0, EventKind::Tool, "drive(forward, 10) → accepted")
        .agent_says(
            7_500.0,
            4_700.0,
            "Ten meters forward, about twenty seconds. On the way it passes the charging",
            7_900.0,
            "bay, switches its lamp on, and takes a picture of every door, so that tonight you can see which of them were left open.",
        )
        .caller_says(11_800.0, 1_780.0, "go somewhere and do something")
        .agent_says(14_300.0, 4_000.0, "All right, it may explore by itself. Under which mission code?", 0.0, "")
        .caller_says(18_800.0, 2_970.0, "thirty-three four six ninety-two")
        .event(22_300.0, EventKind::Tool, "explore(334692) → accepted")
        .agent_says(22_900.0, 5_200.0, "Thirty-three, four, six, ninety-two. It is on its way. Thank you for calling, goodbye!", 0.0, "")
        .event(23_300.0, EventKind::Goodbye, "")
        .event(28_300.0, EventKind::HangUp, "hang-up, goodbye heard")
}

fn short() -> Made {
    Made::lasting(3_000.0)
        .agent_says(500.0, 1_900.0, "Hello! We are closed, goodbye.", 0.0, "")
        .event(700.0, EventKind::Goodbye, "")
        .event(2_500.0, EventKind::HangUp, "")
}

fn long() -> Made {
    let mut call =
        Made::lasting(90_000.0).agent_says(700.0, 3_100.0, "Rover dispatch, this is Ada. Where should it go?", 0.0, "");
    for round in 0..6 {
        let at = 4_500.0 + f64::from(round) * 13_500.0;
        call = call
            .caller_says(at, 1_740.0, "go forward ten meters")
            .event(at + 2_300.0, EventKind::Tool, "drive(forward, 10) → accepted")
            .event(at + 2_700.0, EventKind::Tool, "report(position)");
        call = match round % 3 {
            0 => call.agent_says(at + 3_000.0, 9_500.0, "Ten meters forward, about twenty seconds. On the way it passes the charging bay, switches its lamp on, and takes a picture of every door it can find there.", 0.0, ""),
            1 => call.agent_says(at + 3_000.0, 3_500.0, "Ten meters forward, about twenty", 9_000.0, "seconds. On the way it passes the charging bay, switches its lamp on, and takes a picture of every door.")
                .caller_says(at + 6_200.0, 1_780.0, "go somewhere and do something")
                .agent_says(at + 9_000.0, 3_000.0, "All right, it may explore by itself.", 0.0, ""),
            _ => call.agent_says(at + 3_000.0, 8_000.0, "Ten meters forward, about twenty seconds.", 0.0, "")
                .event(at + 5_000.0, EventKind::Hold, "hold: mhm").event(at + 5_600.0, EventKind::Resume, ""),
        };
    }
    call.agent_says(85_500.0, 2_500.0, "Thank you for calling, goodbye!", 0.0, "")
        .event(85_600.0, EventKind::Goodbye, "")
        .event(88_400.0, EventKind::HangUp, "hang-up, goodbye heard")
}
