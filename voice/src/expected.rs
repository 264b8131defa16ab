//! Words that a caller may be expected to say. A recogniser writes what is likely in any talk: "medium rose", since few people
//! ever say "medium roast". Whoever knows what may be said can help it: a text counts as likelier, letter by letter, while it
//! spells one of these words; if the word does not come, all that it was ahead by is taken back.
//!
//! That decides only where what was heard is nearly as much like the expected word as like the one that would be written.

use std::collections::BTreeMap;

/// By how much each letter of a word makes a text likelier (natural logarithm): of an answer, which has to be one of a few (a slot's
/// choices, or the words of a number, a day or a time that was asked for), and of a word in an example, which only may be said. By
/// orders at a coffee shop, strangers' sentences over noise and strangers' answers of one word (`coffee_orders`,
/// `strangers_in_noise` and `short_answers` in `tests/measure`): with more, fewer are asked again, and more taken for something
/// else.
pub(crate) const OF_AN_ANSWER: f32 = 0.6;
pub(crate) const OF_AN_EXAMPLE: f32 = 0.3;

/// The words, as a tree of their letters.
#[derive(Clone, PartialEq, Debug)]
pub struct Expected {
    nodes: Vec<Node>,
}

#[derive(Clone, PartialEq, Default, Debug)]
struct Node {
    next: BTreeMap<char, usize>,
    is_word: bool,
    /// By how much the letter that leads here makes a text likelier.
    letter: f32,
}

/// Where in a word a text ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// `None`: in a word that is not expected.
    node: Option<usize>,
    /// What the word so far makes the text likelier by.
    ahead: f32,
}

impl Place {
    /// Before the first word.
    pub const BEGIN: Place = Place { node: Some(ROOT), ahead: 0.0 };
}

const ROOT: usize = 0;

impl Expected {
    /// Words, each with what its letters count; the letters that two begin with count what they do in the one that counts more.
    pub fn new<'a>(words: impl IntoIterator<Item = (&'a str, f32)>) -> Self {
        Expected { nodes: vec![Node::default()] }.with(words)
    }

    /// The same and these words.
    pub fn with<'a>(self, words: impl IntoIterator<Item = (&'a str, f32)>) -> Self {
        let Expected { mut nodes } = self;
        for (word, counts) in words {
            let mut node = ROOT;
            for letter in word.chars().flat_map(char::to_lowercase) {
                let new = nodes.len();
                node = *nodes[node].next.entry(letter).or_insert(new);
                if node == new {
                    nodes.push(Node::default());
                }
                nodes[node].letter = nodes[node].letter.max(counts);
            }
            nodes[node].is_word = true;
        }
        Expected { nodes }
    }

    /// Where a text ends that goes on with this piece, and how much likelier the piece makes it, or less likely.
    pub fn after(&self, place: Place, piece: &str) -> (Place, f32) {
        let (mut place, mut likelier) = (place, 0.0);
        for letter in piece.chars() {
            if !(letter.is_alphanumeric() || letter == '\'') {
                likelier += self.end(place);
                place = Place::BEGIN;
                continue;
            }
            let next = |node: usize, letter| self.nodes[node].next.get(&letter).copied();
            let node = place.node.and_then(|node| letter.to_lowercase().try_fold(node, next));
            let ahead = node.map_or(0.0, |node| place.ahead + self.nodes[node].letter);
            likelier += ahead - place.ahead;
            place = Place { node, ahead };
        }
        (place, likelier)
    }

    /// What is taken back if the text ends here.
    pub fn end(&self, place: Place) -> f32 {
        let is_word = place.node.is_some_and(|node| self.nodes[node].is_word);
        if is_word { 0.0 } else { -place.ahead }
    }
}

/// Nothing is expected.
impl Default for Expected {
    fn default() -> Self {
        Expected::new([])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much likelier a text of these pieces is, where `mocha` counts 2 a letter and the others 1.
    fn likelier(pieces: &[&str]) -> f32 {
        let expected = Expected::new([("Mocha", 2.0), ("roast", 1.0), ("roasted", 1.0), ("month", 1.0)]);
        let (mut place, mut sum) = (Place::BEGIN, 0.0);
        for piece in pieces {
            let (after, by) = expected.after(place, piece);
            (place, sum) = (after, sum + by);
        }
        sum + expected.end(place)
    }

    #[test]
    fn an_expected_word_makes_a_text_likelier_by_each_letter() {
        for (pieces, by) in [
            (&["\u{2581}a", "\u{2581}mocha", "\u{2581}please"][..], 10.0),
            (&["\u{2581}A", "\u{2581}Mo", "cha", "."], 10.0),
            (&["\u{2581}roast", "ed"], 7.0),
            (&["\u{2581}mocha", "\u{2581}roast", ",", "\u{2581}mocha"], 25.0),
        ] {
            assert_eq!(likelier(pieces), by, "{pieces:?}");
        }
        let (_, by) = Expected::default().after(Place::BEGIN, "\u{2581}mocha");
        assert_eq!(by, 0.0);
    }

    /// Breaks when what the beginning of a word was ahead by is kept.
    #[test]
    fn what_turns_out_to_be_another_word_is_no_likelier() {
        for pieces in [
            &["\u{2581}mo", "c", "ker"][..],
            &["\u{2581}mo", "\u{2581}please"],
            &["\u{2581}mochas"],
            &["\u{2581}s", "mocha"],
            &["\u{2581}roas"],
        ] {
            assert_eq!(likelier(pieces), 0.0, "{pieces:?}");
        }
    }

    #[test]
    fn a_word_under_way_is_ahead_until_it_is_another() {
        let expected = Expected::new([("mocha", 2.0)]);
        let (place, by) = expected.after(Place::BEGIN, "\u{2581}mo");
        assert_eq!((by, expected.end(place)), (4.0, -4.0));
        let (place, by) = expected.after(place, "ther");
        assert_eq!((by, expected.end(place)), (-4.0, 0.0));
    }
}
