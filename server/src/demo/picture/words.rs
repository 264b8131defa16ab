//! Words on a page: how wide they are, where lines break, and how XML spells them.

use super::TurnLabel;

/// The size that turns are set in.
pub const WORDS_SIZE: f64 = 12.5;

/// A line of words: what was heard, then what was not.
#[derive(Default)]
pub struct Words {
    pub heard: String,
    pub unheard: String,
}

impl Words {
    /// Ends the line in an ellipsis, in place of as many words as that takes.
    fn end_early(&mut self, room: f64) {
        let (part, other) = match self.unheard.is_empty() {
            true => (&mut self.heard, &self.unheard),
            false => (&mut self.unheard, &self.heard),
        };
        let room = room - width(other, WORDS_SIZE) - width(" ", WORDS_SIZE);
        while width(part, WORDS_SIZE) + width(" …", WORDS_SIZE) > room {
            let Some(last) = part.rfind(' ') else { break };
            part.truncate(last);
        }
        part.push_str(" …");
    }
}

/// A turn's words, in lines no wider than `room`; what does not fit in so many lines ends in an ellipsis.
pub fn wrapped(turn: &TurnLabel, room: f64, most_lines: usize) -> Vec<Words> {
    let space = width(" ", WORDS_SIZE);
    let ellipsis = width("…", WORDS_SIZE);
    if room < 3.0 * ellipsis {
        return Vec::new();
    }
    let cut = if turn.interrupted && turn.unheard.is_empty() { "—" } else { "" };
    let heard = turn.text.split_whitespace().chain(cut.split_terminator(' ')).map(|word| (word, true));
    let unheard = turn.unheard.split_whitespace().map(|word| (word, false));
    let mut lines: Vec<Words> = Vec::new();
    let mut used = f64::INFINITY;
    for (word, was_heard) in heard.chain(unheard) {
        let word_px = width(word, WORDS_SIZE);
        if used + space + word_px > room {
            if lines.len() == most_lines {
                if let Some(last) = lines.last_mut() {
                    last.end_early(room);
                }
                break;
            }
            lines.push(Words::default());
            used = -space;
        }
        let word = shortened(word, room, WORDS_SIZE);
        used += space + width(&word, WORDS_SIZE);
        if let Some(line) = lines.last_mut() {
            let part = if was_heard { &mut line.heard } else { &mut line.unheard };
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(&word);
        }
    }
    lines
}

/// The text, or as much of it as fits with an ellipsis.
pub fn shortened(text: &str, room: f64, size: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept = text.trim_end_matches('…').to_owned();
    while !kept.is_empty() && width(&kept, size) + width("…", size) > room {
        kept.pop();
    }
    format!("{}…", kept.trim_end())
}

/// The width of a text in units, set in Inter Regular at this size. Multiply the size with [`BOLD`] for SemiBold.
pub fn width(text: &str, size: f64) -> f64 {
    /// Of the characters from space to tilde, in thousandths of the size.
    const ADVANCES: [u16; 95] = [
        281, 278, 403, 631, 638, 812, 639, 222, 362, 362, 500, 659, 280, 460, 276, 357, 625, 464, 605, 636, 642, 608,
        624, 571, 616, 624, 276, 280, 659, 659, 659, 507, 936, 676, 651, 727, 719, 598, 587, 743, 740, 264, 543, 652,
        562, 889, 753, 761, 635, 761, 639, 638, 642, 741, 676, 949, 642, 665, 625, 362, 357, 362, 469, 452, 497, 564,
        621, 558, 621, 582, 361, 609, 591, 237, 237, 544, 237, 869, 585, 597, 609, 609, 372, 523, 364, 581, 557, 812,
        540, 557, 541, 362, 327, 362, 659,
    ];
    const OTHERS: u16 = 700;
    let advance =
        |c: char| (c as usize).checked_sub(32).and_then(|index| ADVANCES.get(index)).copied().unwrap_or(OTHERS);
    text.chars().map(|c| f64::from(advance(c))).sum::<f64>() / 1000.0 * size
}

/// Inter SemiBold is this much wider than Inter Regular, at most.
pub const BOLD: f64 = 1.05;

/// For text and attributes. Characters that XML cannot hold at all are left out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
