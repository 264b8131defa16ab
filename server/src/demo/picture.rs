//! A call as one picture: what was said, who had the floor, and where the agent's audio was at every moment.
//!
//! Everything shares one time axis, left to right. The middle lane carries the argument of the whole product: a model makes
//! speech many times faster than it is heard, so there is always a stretch that exists and was not heard yet. It is held here
//! (the queue) but for a fraction of a second that is held by the carrier; that is why an interruption takes effect at once,
//! and why what the model believes to have said has to be corrected.
//!
//! [`svg`] writes SVG by hand, a fixed page of 1600 × 900; [`png`] rasterises it with fonts that the binary carries.

mod layout;
mod steps;
mod words;

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::{tiny_skia, usvg};

use call::g711;
use steps::Steps;
use words::{BOLD, WORDS_SIZE, Words, escaped, shortened, width, wrapped};

pub use layout::{HEIGHT, WIDTH};

/// What is to be drawn. Times are ms since the call's media stream began, as are those of the recording.
pub struct Picture<'a> {
    pub title: String,
    pub subtitle: String,
    pub duration_ms: u64,
    /// µ-law, 8 kHz, from the stream's beginning: the recording's left channel.
    pub caller: &'a [u8],
    /// The same of the right channel: what was played, so nothing that was interrupted.
    pub agent: &'a [u8],
    /// Who had the floor.
    pub floor: Vec<Span>,
    /// What was said, in order.
    pub turns: Vec<TurnLabel>,
    /// Steps of `(at_ms, ms of the agent's audio so far)`, counted from the call's beginning and never taken back. What an
    /// interruption or a `clear` discarded is found by comparing these three at the moment of the event, see [`EventKind`].
    pub generated: Vec<(f64, f64)>,
    /// As above. What is sent again after a hold counts again.
    pub sent: Vec<(f64, f64)>,
    pub heard: Vec<(f64, f64)>,
    /// Steps of `(at_ms, ms of audio that waits here)`.
    pub queue: Vec<(f64, f64)>,
    pub marks: Vec<Mark>,
    /// In order of time.
    pub events: Vec<Event>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Caller,
    Agent,
}

#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start_ms: f64,
    pub end_ms: f64,
    pub who: Who,
}

#[derive(Clone, Debug)]
pub struct TurnLabel {
    pub start_ms: f64,
    pub end_ms: f64,
    pub who: Who,
    /// What was said and heard.
    pub text: String,
    /// The rest of what the agent would have said, had it not been interrupted; struck out. May be empty.
    pub unheard: String,
    pub interrupted: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub sent_ms: f64,
    pub returned_ms: Option<f64>,
    /// It came back because of a `clear`, not because it was reached.
    pub flushed: bool,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at_ms: f64,
    pub kind: EventKind,
    /// What to write at it; the kind's name if empty.
    pub label: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// The agent was interrupted: what was generated and not heard is discarded.
    Interruption,
    /// Playing stopped until it is known whether the caller meant to interrupt.
    Hold,
    /// The caller did not: playing goes on.
    Resume,
    /// The carrier's buffer was emptied: what was sent and not heard is discarded there.
    Clear,
    Tool,
    Goodbye,
    HangUp,
}

/// Draws the call. Valid XML whatever the texts are.
pub fn svg(picture: &Picture) -> String {
    let mut page = Page::new(picture);
    page.headline();
    page.time_axis();
    page.holds();
    page.events();
    page.voice(Who::Caller);
    page.floor();
    page.voice(Who::Agent);
    page.progress();
    page.queue();
    page.at_carrier();
    page.marks();
    page.finish()
}

/// Rasterises a picture of [`svg`], two pixels a unit.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    const SCALE: f32 = 2.0;
    let mut options = usvg::Options { font_family: "Inter".to_owned(), ..Default::default() };
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(include_bytes!("../../assets/fonts/Inter-Regular-subset.otf").to_vec());
    fonts.load_font_data(include_bytes!("../../assets/fonts/Inter-SemiBold-subset.otf").to_vec());
    let tree = usvg::Tree::from_str(svg, &options).context("the picture is not valid SVG")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("the picture has no size")?;
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).context("the picture is too large")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("cannot encode the picture")
}

/// Okabe and Ito's palette, told apart by the colour-blind; black and greys for what is not speech.
mod colour {
    pub const CALLER: &str = "#0072b2";
    pub const AGENT: &str = "#d55e00";
    /// Agent's audio on its way: pale where it only exists, green where it is sent, the agent's own colour where heard.
    pub const GENERATED: &str = "#d99a6c";
    /// As dark as letters have to be.
    pub const GENERATED_NAME: &str = "#a8622c";
    pub const UNHEARD: &str = "#fbe9dc";
    pub const SENT: &str = "#009e73";
    pub const TOOL: &str = "#7a4a9e";
    pub const INK: &str = "#1a1a1a";
    pub const QUIET: &str = "#666666";
    pub const STRUCK: &str = "#999999";
    pub const GRID: &str = "#ececec";
    pub const HOLD: &str = "#e6e9ee";
}

/// A picture being drawn: later things lie on top of earlier ones.
struct Page<'a> {
    picture: &'a Picture<'a>,
    out: String,
    duration_ms: f64,
    lanes: layout::Lanes,
    lines: Vec<EventLine>,
    caller_words: Vec<Said>,
    agent_words: Vec<Said>,
    /// The three steps of the picture, what was discarded taken off at the moment it was.
    generated: Steps,
    sent: Steps,
    heard: Steps,
}

impl<'a> Page<'a> {
    fn new(picture: &'a Picture<'a>) -> Page<'a> {
        let heard = Steps::new(&picture.heard);
        let interruptions = times(&picture.events, |kind| kind == EventKind::Interruption);
        let clears = times(&picture.events, |kind| matches!(kind, EventKind::Interruption | EventKind::Clear));
        let out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        let duration_ms = (picture.duration_ms as f64).max(1.0);
        let lines = event_lines(&picture.events, duration_ms);
        let caller_words = said(&picture.turns, Who::Caller, layout::MOST_CALLER_LINES, duration_ms);
        let agent_words = said(&picture.turns, Who::Agent, layout::MOST_AGENT_LINES, duration_ms);
        let rows = lines.iter().filter_map(|line| line.row).map(|row| row + 1).max().unwrap_or(0);
        let most = |said: &[Said]| said.iter().map(|said| said.lines.len()).max().unwrap_or(0);
        Page {
            picture,
            out,
            duration_ms,
            lanes: layout::Lanes::new(rows, most(&caller_words), most(&agent_words)),
            lines,
            caller_words,
            agent_words,
            generated: Steps::new(&picture.generated).dropping_to(&heard, &interruptions),
            sent: Steps::new(&picture.sent).dropping_to(&heard, &clears),
            heard,
        }
    }

    fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    fn headline(&mut self) {
        let Picture { title, subtitle, .. } = self.picture;
        let room = layout::EDGE - layout::MARGIN;
        self.text(Text { size: 22.0, bold: true, ..Text::at(layout::MARGIN, 40.0) }, &shortened(title, room, 22.0));
        self.text(
            Text { size: 14.0, colour: colour::QUIET, ..Text::at(layout::MARGIN, 62.0) },
            &shortened(subtitle, room, 14.0),
        );
    }

    fn time_axis(&mut self) {
        const LABEL_PX: f64 = 80.0;
        let (top, bottom) = (self.lanes.caller.top, self.lanes.axis.top);
        let step_s = round_step(self.duration_ms / 1000.0 * LABEL_PX / (layout::RIGHT - layout::LEFT));
        self.open("axis");
        for tick in 0..=(self.duration_ms / 1000.0 / step_s + 1e-6) as u32 {
            let seconds = f64::from(tick) * step_s;
            let x = self.x(seconds * 1000.0);
            self.line(x, top, x, bottom, colour::GRID, "");
            let label = Text { anchor: "middle", colour: colour::QUIET, ..Text::at(x, bottom + 16.0) };
            self.text(label, &number(seconds));
        }
        self.line(layout::LEFT, bottom, layout::RIGHT, bottom, colour::QUIET, "");
        self.text(Text { colour: colour::QUIET, ..Text::at(layout::RIGHT + 14.0, bottom + 16.0) }, "seconds");
        self.close();
    }

    /// From a hold to what it led to.
    fn holds(&mut self) {
        self.open("holds");
        for (index, hold) in self.picture.events.iter().enumerate().filter(|(_, event)| event.kind == EventKind::Hold) {
            let end_ms = after_hold(&self.picture.events, index).map_or(self.duration_ms, |event| event.at_ms);
            let (x, end) = (self.x(hold.at_ms), self.x(end_ms));
            let (top, bottom) = (self.lanes.caller.top, self.lanes.marks.bottom());
            self.rect(x, top, (end - x).max(1.0), bottom - top, colour::HOLD);
        }
        self.close();
    }

    fn events(&mut self) {
        self.open("events");
        for line in std::mem::take(&mut self.lines) {
            let top = self.lanes.events.top + line.row.unwrap_or(layout::MOST_EVENT_ROWS) as f64 * layout::LINE;
            let (x, ink) = (line.x, line.ink);
            self.line(x, top.min(self.lanes.caller.top), x, self.lanes.axis.top, ink, line.dashes);
            if line.row.is_some() {
                let place =
                    Text { size: EVENT_SIZE, bold: true, colour: ink, ..Text::at(x + EventLine::GAP, top + 11.0) };
                self.text(place, &line.label);
            }
        }
        self.close();
    }

    fn voice(&mut self, who: Who) {
        let (id, title, audio, ink) = match who {
            Who::Caller => ("caller", "Caller", self.picture.caller, colour::CALLER),
            Who::Agent => ("agent", "Agent", self.picture.agent, colour::AGENT),
        };
        let (lane, said) = match who {
            Who::Caller => (self.lanes.caller, std::mem::take(&mut self.caller_words)),
            Who::Agent => (self.lanes.agent, std::mem::take(&mut self.agent_words)),
        };
        self.open(id);
        self.title(lane.middle() + 5.0, title, "", ink);
        self.waveform(audio, lane, ink);
        for Said { x, lines } in said {
            // The caller's words stand on their waveform, the agent's hang below theirs.
            let first = match who {
                Who::Caller => self.lanes.caller_words.bottom() - (lines.len() as f64 - 1.0) * layout::LINE - 4.0,
                Who::Agent => self.lanes.agent_words.top + 12.0,
            };
            for (row, line) in lines.iter().enumerate() {
                self.words(x, first + row as f64 * layout::LINE, line, ink);
            }
        }
        self.close();
    }

    /// The range of the samples in each column, one column a pixel.
    fn waveform(&mut self, audio: &[u8], lane: layout::Lane, ink: &str) {
        /// What fills the lane. Speech on a telephone line peaks at some −6 dBFS.
        const FULL: f64 = 20_000.0;
        let columns = (layout::RIGHT - layout::LEFT) as usize;
        let samples = self.duration_ms * 8.0;
        let (mut above, mut below) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
        for column in 0..columns {
            let from = (column as f64 / columns as f64 * samples) as usize;
            let to = ((column + 1) as f64 / columns as f64 * samples) as usize;
            let heard = audio.get(from..to.clamp(from + 1, audio.len().max(from + 1))).unwrap_or_default();
            let (mut lowest, mut highest) = (0.0_f64, 0.0_f64);
            for &byte in heard {
                let level = (f64::from(g711::decode(byte)) / FULL).clamp(-1.0, 1.0);
                (lowest, highest) = (lowest.min(level), highest.max(level));
            }
            // Silence is a hairline, not nothing.
            let x = layout::LEFT + column as f64 + 0.5;
            above.push((x, lane.middle() - (highest * lane.height / 2.0).max(0.4)));
            below.push((x, lane.middle() - (lowest * lane.height / 2.0).min(-0.4)));
        }
        above.extend(below.into_iter().rev());
        self.area(&above, ink);
    }

    fn floor(&mut self) {
        let lane = self.lanes.floor;
        self.open("floor");
        self.title(lane.middle() + 4.0, "Floor", "", colour::INK);
        for span in &self.picture.floor {
            let (x, end) = (self.x(span.start_ms), self.x(span.end_ms));
            let (name, ink) = match span.who {
                Who::Caller => ("caller", colour::CALLER),
                Who::Agent => ("agent", colour::AGENT),
            };
            self.rect(x, lane.top, (end - x).max(1.0), lane.height, ink);
            if end - x > width(name, 11.0) + 12.0 {
                let label = Text {
                    size: 11.0,
                    bold: true,
                    colour: "#ffffff",
                    halo: false,
                    ..Text::at(x + 6.0, lane.top + 12.0)
                };
                self.text(label, name);
            }
        }
        self.close();
    }

    /// Where the agent's audio was: generated, sent, heard, each a line that rises while it goes on.
    fn progress(&mut self) {
        let lane = self.lanes.progress;
        self.open("progress");
        self.title(lane.top + 14.0, "Agent’s speech", "seconds of it so far", colour::INK);
        let most_s = self.generated.most().max(self.sent.most()).max(self.heard.most()).max(1.0) / 1000.0;
        let step_s = round_step(most_s / 4.0);
        let scale_ms = (most_s / step_s).ceil() * step_s * 1000.0;
        let y = |value_ms: f64| lane.bottom() - value_ms / scale_ms * lane.height;
        for tick in 0..=(scale_ms / 1000.0 / step_s).round() as u32 {
            let seconds = f64::from(tick) * step_s;
            self.scale_tick(y(seconds * 1000.0), &number(seconds));
        }

        let [generated, sent, heard] = [&self.generated, &self.sent, &self.heard].map(|steps| self.stairs(steps, y));
        let mut unheard = generated.clone();
        unheard.extend(heard.iter().rev());
        self.area(&unheard, colour::UNHEARD);
        self.path(&generated, colour::GENERATED, 1.5);
        self.path(&sent, colour::SENT, 1.4);
        self.path(&heard, colour::AGENT, 1.7);
        self.discards(y);
        self.progress_labels(y);
        self.close();
    }

    /// At each interruption, what had been generated and was never heard.
    fn discards(&mut self, y: impl Fn(f64) -> f64) {
        for at_ms in times(&self.picture.events, |kind| kind == EventKind::Interruption) {
            let Some(&(_, from)) = self.generated.0.iter().rev().find(|(t, _)| *t < at_ms) else { continue };
            let lost_ms = from - self.heard.at(at_ms);
            if lost_ms < 100.0 {
                continue;
            }
            let (x, top, bottom) = (self.x(at_ms), y(from), y(from - lost_ms));
            self.line(x, top, x, bottom, colour::INK, "");
            self.line(x - 5.0, top, x + 5.0, top, colour::INK, "");
            let label = format!("{} s never heard", number((lost_ms / 100.0).round() / 10.0));
            // Right of a drop the lane is empty above the lines.
            if x + 8.0 + width(&label, 12.0 * BOLD) < layout::EDGE {
                let place = Text { bold: true, ..Text::at(x + 9.0, (top + 10.0).min(bottom - 4.0)) };
                self.text(place, &label);
            }
        }
    }

    /// Each line's name, beside it: on its way up, where nothing else is.
    fn progress_labels(&mut self, y: impl Fn(f64) -> f64) {
        let last_ms = self.duration_ms;
        // Generation is furthest ahead at the end of a burst; left of there and above, no line can be.
        let ahead = |t: f64| self.generated.at(t) - self.heard.at(t);
        let furthest = self
            .generated
            .0
            .iter()
            .map(|&(t, _)| t)
            .fold(0.0, |best, t| if ahead(t) > ahead(best) + 1.0 { t } else { best });
        if ahead(furthest) <= 0.0 {
            return;
        }
        let (x, top) = (self.x(furthest), y(self.generated.at(furthest)));
        let anchor = if x - width("generated", 12.0 * BOLD) > layout::LEFT { "end" } else { "start" };
        self.text(Text { bold: true, colour: colour::GENERATED_NAME, anchor, ..Text::at(x, top - 6.0) }, "generated");

        // Sent and heard run side by side: their names on either side, where that goes on longest.
        let rising = self.heard.longest_rise(last_ms);
        let at = rising.0 + (rising.1 - rising.0) * 0.62;
        let (x, above, below) = (self.x(at), y(self.sent.at(at)), y(self.heard.at(at)));
        self.text(Text { bold: true, colour: colour::SENT, anchor: "end", ..Text::at(x - 6.0, above - 6.0) }, "sent");
        self.text(Text { bold: true, colour: colour::AGENT, ..Text::at(x + 8.0, below + 14.0) }, "heard");
    }

    fn queue(&mut self) {
        let queue = Steps::new(&self.picture.queue);
        self.open("queue");
        self.level(self.lanes.queue, "Waiting here", "generated, not sent", colour::GENERATED, |t| queue.at(t));
        self.close();
    }

    fn at_carrier(&mut self) {
        let (sent, heard) = (self.sent.clone(), self.heard.clone());
        self.open("carrier");
        self.level(self.lanes.at_carrier, "At the carrier", "sent, not heard", colour::SENT, |t| {
            sent.at(t) - heard.at(t)
        });
        self.close();
    }

    /// A quantity of audio in ms, as an area that stands on the lane's bottom.
    fn level(&mut self, lane: layout::Lane, title: &str, note: &str, ink: &str, at: impl Fn(f64) -> f64) {
        let columns = (layout::RIGHT - layout::LEFT) as usize;
        let moment = |column: usize| column as f64 / columns as f64 * self.duration_ms;
        let levels: Vec<f64> = (0..=columns).map(|column| at(moment(column)).max(0.0)).collect();
        let scale_ms = round_step(levels.iter().copied().fold(100.0, f64::max) / 1000.0) * 1000.0;
        let mut outline = vec![(layout::LEFT, lane.bottom())];
        outline.extend(levels.iter().enumerate().map(|(column, level)| {
            (layout::LEFT + column as f64, lane.bottom() - (level / scale_ms).min(1.0) * lane.height)
        }));
        outline.push((layout::RIGHT, lane.bottom()));
        self.title(lane.top + 12.0, title, note, colour::INK);
        self.scale_tick(lane.top, &format!("{} s", number(scale_ms / 1000.0)));
        self.scale_tick(lane.bottom(), "0");
        self.area(&outline, ink);
    }

    /// Each mark from the moment it was sent (above) to the moment it came back (below).
    fn marks(&mut self) {
        let lane = self.lanes.marks;
        let (mut reached, mut flushed, mut lost) = (String::new(), String::new(), String::new());
        let mut flushed_ends = Vec::new();
        for mark in &self.picture.marks {
            let x = self.x(mark.sent_ms);
            let Some(returned_ms) = mark.returned_ms else {
                lost.push_str(&format!("M{} {}v6", tenth(x), tenth(lane.top)));
                continue;
            };
            let end = self.x(returned_ms);
            let path = if mark.flushed { &mut flushed } else { &mut reached };
            path.push_str(&format!("M{} {}L{} {}", tenth(x), tenth(lane.top), tenth(end), tenth(lane.bottom())));
            if mark.flushed {
                flushed_ends.push(end);
            }
        }
        self.open("marks");
        self.title(lane.top + 6.0, "Marks", "sent above, back below", colour::INK);
        // Where many share a pixel, thin lines keep them apart.
        let per_px = self.picture.marks.len() as f64 / (layout::RIGHT - layout::LEFT);
        let stroke = (0.15 / per_px.max(1e-9)).clamp(0.4, 1.2);
        for (path, ink, stroke) in
            [(lost, colour::INK, 1.2), (reached, colour::QUIET, stroke), (flushed, colour::CALLER, stroke.max(0.8))]
        {
            if !path.is_empty() {
                self.out.push_str(&format!(
                    "<path d=\"{path}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{}\"/>\n",
                    tenth(stroke)
                ));
            }
        }
        // After a `clear` nothing is sent for a while, so somewhere there is room to say what these are.
        let room = |from: f64| {
            !self.picture.marks.iter().any(|mark| (from + 1.0..from + 54.0).contains(&self.x(mark.sent_ms)))
        };
        if let Some(end) = flushed_ends.into_iter().find(|end| room(*end)) {
            let place = Text { size: 11.0, colour: colour::CALLER, ..Text::at(end + 6.0, lane.bottom() - 7.0) };
            self.text(place, "flushed");
        }
        self.close();
    }

    fn x(&self, at_ms: f64) -> f64 {
        place(at_ms, self.duration_ms)
    }

    /// The corners of a line that steps, to the end of the call.
    fn stairs(&self, steps: &Steps, y: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut corners = vec![(layout::LEFT, y(0.0))];
        let mut level = y(0.0);
        for &(at_ms, value) in &steps.0 {
            let x = self.x(at_ms);
            corners.push((x, level));
            level = y(value);
            corners.push((x, level));
        }
        corners.push((layout::RIGHT, level));
        corners
    }

    fn title(&mut self, y: f64, title: &str, note: &str, ink: &'static str) {
        self.text(Text { size: 14.0, bold: true, colour: ink, ..Text::at(layout::MARGIN, y) }, title);
        self.text(Text { size: 11.0, colour: colour::QUIET, ..Text::at(layout::MARGIN, y + 15.0) }, note);
    }

    fn scale_tick(&mut self, y: f64, label: &str) {
        self.line(layout::LEFT, y, layout::RIGHT, y, colour::GRID, "");
        let place = Text { size: 11.0, anchor: "end", colour: colour::QUIET, ..Text::at(layout::LEFT - 6.0, y + 4.0) };
        self.text(place, label);
    }

    /// A lane begins: a group that style sheets and tests find by its name.
    fn open(&mut self, id: &str) {
        self.out.push_str(&format!("<g id=\"{id}\">\n"));
    }

    fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, ink: &str, dashes: &str) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(tenth);
        let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        self.out
            .push_str(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{ink}\"{dashes}/>\n"));
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, ink: &str) {
        let [x, y, width, height] = [x, y, width, height].map(tenth);
        self.out
            .push_str(&format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{ink}\"/>\n"));
    }

    fn area(&mut self, outline: &[(f64, f64)], ink: &str) {
        self.out.push_str(&format!("<path d=\"{}Z\" fill=\"{ink}\"/>\n", joined(outline)));
    }

    fn path(&mut self, corners: &[(f64, f64)], ink: &str, stroke: f64) {
        let path = joined(corners);
        self.out.push_str(&format!("<path d=\"{path}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{stroke}\"/>\n"));
    }

    fn text(&mut self, place: Text, text: &str) {
        if !text.is_empty() {
            self.out.push_str(&format!("<text {}>{}</text>\n", place.attributes(), escaped(text)));
        }
    }

    /// A line of somebody's words, what was not heard struck out.
    fn words(&mut self, x: f64, y: f64, words: &Words, ink: &'static str) {
        let struck = match words.unheard.is_empty() {
            true => String::new(),
            false => format!(
                "<tspan fill=\"{}\" stroke=\"none\" text-decoration=\"line-through\">{}</tspan>",
                colour::STRUCK,
                escaped(&words.unheard)
            ),
        };
        let gap = if words.heard.is_empty() || words.unheard.is_empty() { "" } else { " " };
        let place = Text { size: WORDS_SIZE, colour: ink, ..Text::at(x, y) };
        self.out.push_str(&format!("<text {}>{}{gap}{struck}</text>\n", place.attributes(), escaped(&words.heard)));
    }
}

/// The size that events are named in.
const EVENT_SIZE: f64 = 12.5;

/// A line through all lanes, and its name.
struct EventLine {
    x: f64,
    label: String,
    /// Which row of labels its name is in, from the top; none if all are taken.
    row: Option<usize>,
    ink: &'static str,
    dashes: &'static str,
}

impl EventLine {
    /// From the line to its name.
    const GAP: f64 = 5.0;
}

/// The events worth a line. Names stand right of their line, stacked downwards where they would meet, so that no line runs
/// through a name: the line of a later event begins below the names that it would cross.
fn event_lines(events: &[Event], duration_ms: f64) -> Vec<EventLine> {
    const ROOM: f64 = 230.0;
    let mut lines: Vec<EventLine> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let (name, ink, dashes) = match event.kind {
            EventKind::Interruption => ("interruption", colour::INK, ""),
            EventKind::Tool => ("tool", colour::TOOL, "5 3"),
            EventKind::Goodbye => ("goodbye", colour::QUIET, "5 3"),
            EventKind::HangUp => ("hang-up", colour::INK, ""),
            // A hold is a band. It has a name only where it ended well; else the interruption speaks for both.
            EventKind::Hold if after_hold(events, index).is_some_and(|next| next.kind == EventKind::Resume) => {
                ("hold", colour::QUIET, "1 3")
            }
            EventKind::Hold | EventKind::Resume | EventKind::Clear => continue,
        };
        let x = place(event.at_ms, duration_ms);
        let label = if event.label.is_empty() { name } else { &event.label };
        let label = shortened(label, ROOM.min(layout::EDGE - x - EventLine::GAP), EVENT_SIZE * BOLD);
        let in_the_way =
            lines.iter().filter(|line| line.x + EventLine::GAP + width(&line.label, EVENT_SIZE * BOLD) + 2.0 > x);
        let row = in_the_way.filter_map(|line| line.row).map(|row| row + 1).max().unwrap_or(0);
        let row = (row < layout::MOST_EVENT_ROWS).then_some(row);
        lines.push(EventLine { x, label, row, ink, dashes });
    }
    lines
}

/// What a hold led to.
fn after_hold(events: &[Event], index: usize) -> Option<&Event> {
    let ends = |event: &&Event| matches!(event.kind, EventKind::Resume | EventKind::Interruption | EventKind::HangUp);
    events[index + 1..].iter().find(ends)
}

/// A turn's words, from where it begins.
struct Said {
    x: f64,
    lines: Vec<Words>,
}

/// What one of both said, each turn in the room until their next.
fn said(turns: &[TurnLabel], who: Who, most_lines: usize, duration_ms: f64) -> Vec<Said> {
    let turns: Vec<&TurnLabel> = turns.iter().filter(|turn| turn.who == who).collect();
    let next = turns.iter().skip(1).map(|turn| place(turn.start_ms, duration_ms) - 12.0).chain([layout::EDGE]);
    let room = turns.iter().zip(next);
    room.map(|(turn, end)| {
        let x = place(turn.start_ms, duration_ms);
        Said { x, lines: wrapped(turn, end - x, most_lines) }
    })
    .collect()
}

/// The place of a moment on the time axis.
fn place(at_ms: f64, duration_ms: f64) -> f64 {
    layout::LEFT + (at_ms / duration_ms).clamp(0.0, 1.0) * (layout::RIGHT - layout::LEFT)
}

/// How a text is set.
struct Text {
    x: f64,
    y: f64,
    size: f64,
    bold: bool,
    colour: &'static str,
    anchor: &'static str,
    /// A white edge, so that lines behind do not run into the letters.
    halo: bool,
}

impl Text {
    fn at(x: f64, y: f64) -> Text {
        Text { x, y, size: 12.0, bold: false, colour: colour::INK, anchor: "start", halo: true }
    }

    fn attributes(&self) -> String {
        let mut attributes = format!(
            "x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"",
            tenth(self.x),
            tenth(self.y),
            self.size,
            self.colour
        );
        if self.bold {
            attributes.push_str(" font-weight=\"600\"");
        }
        if self.anchor != "start" {
            attributes.push_str(&format!(" text-anchor=\"{}\"", self.anchor));
        }
        if self.halo {
            attributes
                .push_str(" stroke=\"#ffffff\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
        }
        attributes
    }
}

fn times(events: &[Event], wanted: impl Fn(EventKind) -> bool) -> Vec<f64> {
    let mut times: Vec<f64> = events.iter().filter(|event| wanted(event.kind)).map(|event| event.at_ms).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The least of 1, 2, 5 times a power of ten that is not less than this.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

/// Without needless digits.
fn number(value: f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn joined(corners: &[(f64, f64)]) -> String {
    let mut path = String::with_capacity(corners.len() * 12);
    let mut last = None;
    for &(x, y) in corners {
        let corner = (tenth(x), tenth(y));
        if last != Some(corner) {
            path.push_str(&format!("{}{} {}", if last.is_none() { 'M' } else { 'L' }, corner.0, corner.1));
            last = Some(corner);
        }
    }
    path
}
