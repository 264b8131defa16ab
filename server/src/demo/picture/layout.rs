//! Where things are on the page. One unit is one CSS pixel.

pub const WIDTH: u32 = 1600;
pub const HEIGHT: u32 = 900;
pub const MARGIN: f64 = 28.0;
/// The time axis, from here to there. Right of it is room for labels of what happens last.
pub const LEFT: f64 = 184.0;
pub const RIGHT: f64 = 1436.0;
/// The right edge of everything.
pub const EDGE: f64 = WIDTH as f64 - 14.0;
/// Lines of words, and of event labels, are this far apart.
pub const LINE: f64 = 16.0;
pub const MOST_EVENT_ROWS: usize = 5;
pub const MOST_CALLER_LINES: usize = 3;
pub const MOST_AGENT_LINES: usize = 5;

#[derive(Clone, Copy)]
pub struct Lane {
    pub top: f64,
    pub height: f64,
}

impl Lane {
    pub fn bottom(self) -> f64 {
        self.top + self.height
    }

    pub fn middle(self) -> f64 {
        self.top + self.height / 2.0
    }
}

pub struct Lanes {
    pub events: Lane,
    pub caller_words: Lane,
    pub caller: Lane,
    pub floor: Lane,
    pub agent: Lane,
    pub agent_words: Lane,
    pub progress: Lane,
    pub queue: Lane,
    pub at_carrier: Lane,
    pub marks: Lane,
    pub axis: Lane,
}

impl Lanes {
    /// From top to bottom, as much room for words as they need; the lane in the middle gets the rest.
    pub fn new(event_rows: usize, caller_lines: usize, agent_lines: usize) -> Lanes {
        let below = |lane: Lane, gap: f64, height: f64| Lane { top: lane.bottom() + gap, height };
        let lines = |count: usize| count as f64 * LINE;
        let events = Lane { top: 82.0, height: lines(event_rows) };
        let caller_words = below(events, 6.0, lines(caller_lines));
        let caller = below(caller_words, 2.0, 72.0);
        let floor = below(caller, 6.0, 16.0);
        let agent = below(floor, 6.0, 72.0);
        let agent_words = below(agent, 4.0, lines(agent_lines));
        let queue = Lane { top: 696.0, height: 52.0 };
        let at_carrier = below(queue, 18.0, 34.0);
        let marks = below(at_carrier, 18.0, 22.0);
        let axis = below(marks, 10.0, 30.0);
        let top = agent_words.bottom() + 24.0;
        let progress = Lane { top, height: queue.top - 20.0 - top };
        Lanes { events, caller_words, caller, floor, agent, agent_words, progress, queue, at_carrier, marks, axis }
    }
}
