//! Words: how many are heard wrong, of people and of the synthesis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use voice::dialogue::Flow;
use voice::expected::Expected;
use voice::level::loudness;
use voice::speak::{Rate, Said, sentences};
use voice::{Weights, g2p};

use crate::{Ear, Noise, common, listed, prompts};

/// Words wanted and edits needed, of one text.
#[derive(Clone, Copy)]
struct Count {
    words: usize,
    edits: usize,
}

fn compare(wanted: &str, found: &str) -> Count {
    let words = |text: &str| g2p::spoken(text).iter().flat_map(|word| common::words(word)).collect::<Vec<_>>();
    let (wanted, found) = (words(wanted), words(found));
    Count { words: wanted.len(), edits: common::edits(&wanted, &found) }
}

/// Writes what was said and what was heard into the file that `PATCHCORD_PAIRS` names, for a scorer of others:
/// `scripts/word-errors`.
fn keep_pair(name: &str, said: &str, heard: &str) {
    let Some(path) = std::env::var_os("PATCHCORD_PAIRS") else { return };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, format!("{name}\t{}\t{heard}\n", said.trim()).as_bytes()).unwrap();
}

/// The word error rate, and where 95 of 100 draws with replacement put it.
fn print_rate(name: &str, counts: &[Count]) {
    let rate = |counts: &mut dyn Iterator<Item = Count>| {
        let (edits, words) = counts.fold((0, 0), |(edits, words), count| (edits + count.edits, words + count.words));
        100.0 * edits as f64 / words as f64
    };
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draws: Vec<f64> = (0..2_000)
        .map(|_| {
            rate(&mut (0..counts.len()).map(|_| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                counts[(dice % counts.len() as u64) as usize]
            }))
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let (edits, words) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.edits, sum.1 + count.words));
    let exact = counts.iter().filter(|count| count.edits == 0).count();
    println!(
        "{name}: {} texts, {exact} exact, {edits} errors in {words} words, {:.1} % ({:.1} to {:.1})",
        counts.len(),
        rate(&mut counts.iter().copied()),
        draws[50],
        draws[1_949]
    );
}

/// The synthesis is understood by the recogniser: 50 lines, each spoken and recognised.
#[test]
#[ignore = "a measurement"]
fn round_trip() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut ears = Ear::each();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut counts = vec![Vec::new(); ears.len()];
    let (mut quietest, mut loudest, mut peak) = (f32::INFINITY, 0.0_f32, 0.0_f32);
    let mut spoke = Vec::new();
    for line in include_str!("../data/lines.txt").lines() {
        let mut samples = Vec::new();
        for sentence in sentences(line) {
            let began = Instant::now();
            let said = speaker.say(&sentence, Rate::Telephone, 1.0).unwrap();
            spoke.push((began.elapsed(), said.len() as f32 / 8_000.0));
            samples.extend_from_slice(&said);
        }
        let level = loudness(&samples, 8_000).unwrap();
        (quietest, loudest) = (quietest.min(level), loudest.max(level));
        peak = samples.iter().fold(peak, |peak, sample| peak.max(sample.abs()));
        for ((size, ear), counts) in ears.iter_mut().zip(&mut counts) {
            let heard = ear.hear(&samples, &Expected::default());
            let count = compare(line, &heard);
            if count.edits > 0 {
                println!("{line}\n  {size:?}: {heard}");
            }
            counts.push(count);
        }
    }
    for ((size, ear), counts) in ears.iter_mut().zip(&counts) {
        print_rate(&format!("round trip, {size:?}"), counts);
        ear.print_times();
    }
    println!(
        "loudness: {:.2} dB between the quietest and the loudest line; peak {peak:.3}",
        20.0 * (loudest / quietest).log10()
    );
    spoke.sort_by_key(|(took, _)| *took);
    let audio: f32 = spoke.iter().map(|(_, seconds)| seconds).sum();
    let all: Duration = spoke.iter().map(|(took, _)| took).sum();
    println!(
        "synthesis: {} sentences, {audio:.0} s of audio, {:.3} of real time, median {} ms, slowest {} ms",
        spoke.len(),
        all.as_secs_f32() / audio,
        spoke[spoke.len() / 2].0.as_millis(),
        spoke[spoke.len() - 1].0.as_millis()
    );
}

/// Recorded people are understood: `data/prompts.txt`, from the folder that `PATCHCORD_PROMPTS` names, into which both
/// packages were unpacked (`apt-get download asterisk-core-sounds-en asterisk-core-sounds-en-wav`, `dpkg-deb -x`).
#[test]
#[ignore = "a measurement"]
fn recorded_prompts() {
    let prompts = prompts();
    let coffee = Flow::read(include_str!("../data/coffee_one_intent.toml")).unwrap().expected();
    let bank = Flow::read(include_str!("../data/understanding/tuning_bank.toml")).unwrap().expected();
    for (size, mut ear) in Ear::each() {
        for (what, expected) in [
            ("", Arc::default()),
            (" where orders of coffee are expected", coffee.clone()),
            (" where a bank's words are expected", bank.clone()),
        ] {
            let mut counts = Vec::new();
            for (text, samples) in &prompts {
                let heard = ear.hear(samples, &expected);
                keep_pair(&format!("recorded prompts{what}, {size:?}"), text, &heard);
                let count = compare(text, &heard);
                if count.edits > 0 {
                    println!("{text}\n  {heard}");
                }
                counts.push(count);
            }
            print_rate(&format!("recorded prompts{what}, {size:?}"), &counts);
        }
        ear.print_times();
    }
}

/// The same over noise whose power is a tenth of the speech's.
#[test]
#[ignore = "a measurement"]
fn recorded_prompts_in_noise() {
    let mut prompts = prompts();
    let mut noise = Noise::default();
    prompts.iter_mut().for_each(|(_, samples)| noise.add_to(samples, 0.1));
    for (size, mut ear) in Ear::each() {
        let name = format!("recorded prompts in noise, {size:?}");
        let heard = |(text, samples): &(String, Vec<f32>)| {
            let heard = ear.hear(samples, &Expected::default());
            keep_pair(&name, text, &heard);
            compare(text, &heard)
        };
        let counts: Vec<Count> = prompts.iter().map(heard).collect();
        print_rate(&name, &counts);
    }
}

/// Turns of one recorded word, and "yes", which was recorded nowhere, by the synthesis.
#[test]
#[ignore = "a measurement"]
fn very_short_turns() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut words = listed(include_str!("../data/short_turns.txt"));
    let recorded = words.len();
    for text in ["Yes.", "No.", "Yeah.", "Four."] {
        words.push((text.to_owned(), speaker.say(text, Rate::Telephone, 1.0).unwrap().to_vec()));
    }
    for (size, mut ear) in Ear::each() {
        for (name, words, once) in [
            ("recorded", &words[..recorded], false),
            ("recorded, what is empty not asked again", &words[..recorded], true),
            ("spoken by the synthesis", &words[recorded..], false),
        ] {
            ear.once = once;
            let (mut right, mut unnoticed, mut empty, short) = (0, 0, 0, ear.short);
            for (text, samples) in words {
                let turns = ear.took.len();
                let heard = ear.hear(samples, &Expected::default());
                let missed = compare(text, &heard).edits > 0;
                right += usize::from(!missed);
                unnoticed += usize::from(ear.took.len() == turns);
                empty += usize::from(ear.took.len() > turns && heard.trim().is_empty());
                if missed {
                    println!("{size:?}: {text} -> {heard:?}");
                }
            }
            let (all, short) = (words.len(), ear.short - short);
            println!(
                "very short turns, {name}, {size:?}: of {all} {right} exact, {empty} empty, {unnoticed} not noticed, \
                 {short} with less than 250 ms of speech"
            );
        }
    }
}
