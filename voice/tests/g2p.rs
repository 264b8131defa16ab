//! Pronunciation against the golden file, by halves: `tests/data/README.md`.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use voice::g2p::Pronouncer;

struct Score {
    texts: usize,
    exact: usize,
    /// Phonemes, marks and spaces wanted, and how many edits lead from what came to them.
    wanted: usize,
    edits: usize,
}

impl Score {
    fn right(&self) -> f64 {
        1.0 - self.edits as f64 / self.wanted as f64
    }
}

fn score(pronouncer: &mut Pronouncer, half: &str, show: bool) -> Score {
    let mut score = Score { texts: 0, exact: 0, wanted: 0, edits: 0 };
    for line in half.lines() {
        let golden: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = golden["text"].as_str().unwrap();
        let sentences: Vec<&str> =
            golden["phonemes"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let (wanted, found) = (sentences.join(" "), pronouncer.phonemes(text).unwrap());
        let edits = common::edits(&wanted.chars().collect::<Vec<_>>(), &found.chars().collect::<Vec<_>>());
        if show && edits > 0 {
            println!("{text}\n  wanted {wanted}\n  found  {found}");
        }
        score.texts += 1;
        score.exact += usize::from(edits == 0);
        score.wanted += wanted.chars().count();
        score.edits += edits;
    }
    score
}

#[test]
fn words_are_pronounced_as_the_voice_was_trained() {
    let Some(weights) = common::weights("words_are_pronounced_as_the_voice_was_trained") else { return };
    let mut pronouncer = weights.pronouncer().unwrap();
    for (name, half) in [
        ("tuning", include_str!("data/g2p_golden_tuning.jsonl")),
        ("held out", include_str!("data/g2p_golden_heldout.jsonl")),
    ] {
        // Only the first half may be looked at.
        let score = score(&mut pronouncer, half, name == "tuning");
        println!(
            "{name}: {} of {} texts exact; {} edits in {} phonemes, {:.2} % right",
            score.exact,
            score.texts,
            score.edits,
            score.wanted,
            100.0 * score.right()
        );
        assert!(score.right() >= 0.985, "{name}: {:.2} %", 100.0 * score.right());
    }
}
