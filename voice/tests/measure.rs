//! Measurements whose results are in docs/voice.md. They judge nothing, so they are run by hand:
//!
//! ```sh
//! cargo test -p patchcord-voice --test measure -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::EarInput;
use common::sounds::{hold_music, long_speech, shifted, telephone};
use common::understanding::{self, Asked, Counts, Understanding};
use jiff::Timestamp;
use voice::detect::{Hearing, Turn, TurnSettings, Turns};
use voice::dialogue::{Dialogue, Flow, Reply};
use voice::ears::{EarSettings, Ears, Listener};
use voice::expected::Expected;
use voice::level::loudness;
use voice::recognise::Size;
use voice::resample::Resampler;
use voice::sentences::Sentences;
use voice::server::engine::Engine;
use voice::server::session::{Answers, Out, Session};
use voice::speak::{Rate, Said, sentences};
use voice::turn_end::{self, silence_ms};
use voice::word_vectors::WordVectors;
use voice::{Weights, g2p};

/// Words wanted and edits needed, of one text.
#[derive(Clone, Copy)]
struct Count {
    words: usize,
    edits: usize,
}

/// What a server does with a caller's audio, without the server: turns, each recognised.
struct Ear {
    detector: voice::detect::Detector,
    recogniser: voice::recognise::Recogniser,
    /// How long each recognition took, and how long its audio was.
    took: Vec<(Duration, f32)>,
    /// Turns with less than a quarter of a second of speech.
    short: usize,
    /// What is not understood is not asked again.
    once: bool,
}

impl Ear {
    fn new(weights: &Weights) -> Self {
        Ear {
            detector: weights.detector().unwrap(),
            recogniser: weights.recogniser().unwrap(),
            took: Vec::new(),
            short: 0,
            once: false,
        }
    }

    /// One with each recogniser that is there.
    fn each() -> Vec<(Size, Ear)> {
        let all = common::recognisers("a measurement");
        all.iter().map(|weights| (weights.recogniser_size(), Ear::new(weights))).collect()
    }

    fn hear(&mut self, line: &[f32], expected: &Expected) -> String {
        let mut samples = vec![0.0; 4_000];
        samples
            .extend(line.iter().map(|sample| {
                f32::from(call::g711::decode(call::g711::encode((sample * 32_767.0) as i16))) / 32_768.0
            }));
        samples.resize(samples.len() + 8_000, 0.0);
        let mut probabilities = Vec::new();
        self.detector.hear(&mut Hearing::default(), &samples, &mut probabilities).unwrap();
        let mut turns = Turns::default();
        let mut from = 0;
        let mut texts = Vec::new();
        for probability in probabilities {
            match turns.step(probability, TurnSettings { threshold: 0.5, silence: 4_000 }) {
                Some(Turn::Started { at }) => from = (at as usize).saturating_sub(2_400),
                Some(Turn::Stopped { .. }) => {
                    let until = (turns.last_speech() as usize + 1_600).min(samples.len());
                    let spoken = Duration::from_micros(125 * turns.spoken());
                    self.short += usize::from(spoken < Duration::from_millis(250));
                    let spoken = if self.once { Duration::ZERO } else { spoken };
                    let began = Instant::now();
                    let wide = Resampler::convert(8_000, 16_000, &samples[from..until]);
                    texts.push(self.recogniser.recognise(&wide, spoken, expected).unwrap());
                    self.took.push((began.elapsed(), (until - from) as f32 / 8_000.0));
                }
                _ => {}
            }
        }
        texts.join(" ")
    }

    fn print_times(&mut self) {
        self.took.sort_by_key(|(took, _)| *took);
        let audio: f32 = self.took.iter().map(|(_, seconds)| seconds).sum();
        let all: Duration = self.took.iter().map(|(took, _)| took).sum();
        println!(
            "recognition: {} turns, {audio:.0} s of audio, {:.3} of real time, median {} ms, slowest {} ms",
            self.took.len(),
            all.as_secs_f32() / audio,
            self.took[self.took.len() / 2].0.as_millis(),
            self.took[self.took.len() - 1].0.as_millis()
        );
    }
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
    for line in include_str!("data/lines.txt").lines() {
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
    let coffee = Flow::read(include_str!("data/coffee_one_intent.toml")).unwrap().expected();
    let bank = Flow::read(include_str!("data/understanding/tuning_bank.toml")).unwrap().expected();
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

/// Between white and what rooms and streets have: falls by half from 1 kHz to 3 kHz.
struct Noise {
    dice: u32,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { dice: 0x9E37_79B9 }
    }
}

impl Noise {
    /// Of this part of the speech's power.
    fn add_to(&mut self, samples: &mut [f32], part: f32) {
        let mut low = 0.0;
        let noise: Vec<f32> = samples
            .iter()
            .map(|_| {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 17;
                self.dice ^= self.dice << 5;
                low += 0.5 * (self.dice as f32 / u32::MAX as f32 - 0.5 - low);
                low
            })
            .collect();
        let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        let gain = (part * power(samples) / power(&noise)).sqrt();
        samples.iter_mut().zip(noise).for_each(|(sample, noise)| *sample += gain * noise);
    }
}

fn prompts() -> Vec<(String, Vec<f32>)> {
    listed(include_str!("data/prompts.txt"))
}

/// The prompts of a list with their texts, at 8 kHz.
fn listed(names: &str) -> Vec<(String, Vec<f32>)> {
    let folder = PathBuf::from(std::env::var("PATCHCORD_PROMPTS").expect("PATCHCORD_PROMPTS names no folder"));
    let packed = std::fs::read(folder.join("usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")).unwrap();
    let mut texts = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut texts).unwrap();
    let texts: BTreeMap<&str, &str> = texts.lines().filter_map(|line| line.split_once(": ")).collect();
    let names = names.lines().filter(|line| !line.starts_with('#'));
    names
        .map(|name| {
            let path = folder.join(format!("usr/share/asterisk/sounds/en_US_f_Allison/{name}.wav"));
            (texts[name].to_owned(), samples_of(&path))
        })
        .collect()
}

/// What this process has of the machine's memory, in MB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// What each recogniser takes of the machine's memory, after a turn of 30 s, the longest there is.
#[test]
#[ignore = "a measurement"]
fn memory() {
    for weights in common::recognisers("a measurement") {
        let (before, began) = (resident(), Instant::now());
        let mut recogniser = weights.recogniser().unwrap();
        let (loaded, took) = (resident(), began.elapsed());
        let turn: Vec<f32> = (0..3 * 16_000).map(|at| 0.1 * (at as f32 * 0.05).sin()).collect();
        recogniser.recognise(&turn, Duration::from_secs(3), &Expected::default()).unwrap();
        let turned = resident();
        recogniser.recognise(&turn.repeat(10), Duration::from_secs(30), &Expected::default()).unwrap();
        println!(
            "{:?}: loaded in {} ms, {} MB; {} MB after a turn of 3 s, {} MB after one of 30 s",
            weights.recogniser_size(),
            took.as_millis(),
            loaded - before,
            turned - before,
            resident() - before
        );
    }
}

/// The same of what judges turns, by itself: what others gave back would be used again.
#[test]
#[ignore = "a measurement"]
fn memory_of_the_end_of_turn() {
    let weights = Weights::open(&common::folder()).unwrap();
    let (before, began) = (resident(), Instant::now());
    let mut judge = weights.turn_end().unwrap().expect("scripts/voice-models fetches its weights");
    let (loaded, took) = (resident(), began.elapsed());
    for _ in 0..10 {
        judge.judge(&vec![0.0; turn_end::SECONDS_MAX * turn_end::RATE as usize]).unwrap();
    }
    println!(
        "end of turn: loaded in {} ms, {} MB; {} MB after ten judgements",
        took.as_millis(),
        loaded - before,
        resident() - before
    );
}

/// A flow with each way to understand it, and the reader of the first.
fn flows(text: &str) -> (Ways, Arc<Mutex<Sentences>>) {
    let mut sentences = Weights::open(&common::folder()).unwrap().sentences().unwrap().expect(FETCH);
    let vectors = WordVectors::open(&common::folder()).unwrap().expect(FETCH);
    let flow = understanding::flow(text);
    let by_sentences = flow.clone().with_sentences(|words| sentences.vector(words)).unwrap();
    let by_words = flow.clone().with_word_vectors(vectors);
    let ways = [("by sentences", by_sentences), ("by word vectors", by_words), ("without", flow)];
    (ways.map(|(way, flow)| (way, Arc::new(flow))), Arc::new(Mutex::new(sentences)))
}

type Ways = [(&'static str, Arc<Flow>); 3];

const FETCH: &str = "scripts/voice-models fetches it";

/// Other words for the same, as text, over the flows by which the matching is tuned, and over what is held out.
#[test]
#[ignore = "a measurement"]
fn understanding() {
    for (half, sets) in [("tuning", understanding::tuning()), ("held out", understanding::held_out())] {
        for (name, set) in sets.iter().map(|set| (set.name, set)) {
            let (flows, sentences) = flows(set.flow);
            for (way, flow) in flows {
                let mut understanding = Understanding::by(&flow).reading(&sentences);
                for asked in &set.asked {
                    if let Some(answer) = understanding.misses(asked)
                        && half == "tuning"
                        && way == "by sentences"
                    {
                        println!("{asked:?} -> {answer}");
                    }
                }
                understanding.print(&format!("{name}, {half}, {way}"));
            }
        }
    }
}

/// The same where a flow is there with three examples an intent and with twelve.
#[test]
#[ignore = "a measurement"]
fn understanding_with_twelve_examples() {
    for (half, sets) in [("tuning", understanding::tuning()), ("held out", understanding::held_out())] {
        for both in understanding::three_and_twelve(sets) {
            for (count, set) in ["three", "twelve"].into_iter().zip(both) {
                let (flows, sentences) = flows(set.flow);
                for (way, flow) in flows {
                    let mut understanding = Understanding::by(&flow).reading(&sentences);
                    set.asked.iter().for_each(|asked| _ = understanding.misses(asked));
                    understanding.print(&format!("{}, {half}, {count} examples, {way}", set.name));
                }
            }
        }
    }
}

/// How many examples does an intent need? By strangers' sentences, from the folder that `PATCHCORD_CLINC` names
/// (`data/data_full.json` of <https://github.com/clinc/oos-eval>): flows of 12 intents drawn from half of its 150, so many
/// examples and ten other sentences of each, and 50 sentences that none of the 150 intents means. Only the first half, and what
/// is beside all intents in its training and validation, may be tuned by.
#[test]
#[ignore = "a measurement"]
fn examples_that_an_intent_needs() {
    let draws = 60;
    let mut sentences = Weights::open(&common::folder()).unwrap().sentences().unwrap().expect(FETCH);
    let vectors = WordVectors::open(&common::folder()).unwrap().expect(FETCH);
    // Each sentence is in many draws.
    let mut known = HashMap::<Vec<String>, Vec<f32>>::new();
    let mut vector =
        |words: &[String]| known.entry(words.to_vec()).or_insert_with(|| sentences.vector(words).unwrap()).clone();
    for Strangers { half, intents, beside } in strangers() {
        for count in [1, 3, 5, 10, 15] {
            let mut counts = ["word vectors", "sentences"].map(|way| (way, Vec::new()));
            for draw in 0..draws {
                let (flow, asked) = drawn(&mut Dice(0x9E37_79B9_7F4A_7C15 ^ (draw + 1)), &intents, &beside, count);
                let flow = understanding::flow(&flow);
                let by_sentences = flow.clone().with_sentences(|words| Ok::<_, Infallible>(vector(words)));
                let Ok(by_sentences) = by_sentences;
                for (flow, (_, counts)) in
                    [flow.with_word_vectors(vectors.clone()), by_sentences].into_iter().zip(&mut counts)
                {
                    let mut understanding = Understanding::by(&Arc::new(flow));
                    asked.iter().for_each(|asked| _ = understanding.misses_by(asked, &mut vector));
                    counts.push(understanding.counts());
                }
            }
            for (way, counts) in &counts {
                print_spread(&format!("{half}, {count} examples, by {way}"), counts);
            }
        }
    }
}

/// The same by ear: sentences of 4 draws of each half, with 3 and with 10 examples, spoken by the synthesis over noise of a fifth
/// of their power, and recognised with and without what the flow expects.
#[test]
#[ignore = "a measurement"]
fn strangers_in_noise() {
    let weights = Weights::open(&common::folder()).unwrap().recognising_with(Size::Tiny).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let (mut ear, mut noise) = (Ear::new(&weights), Noise::default());
    for Strangers { half, intents, beside } in strangers() {
        for count in [3, 10] {
            let mut sums = BTreeMap::<(&str, &str), Counts>::new();
            for draw in 0..4 {
                let (flow, asked) = drawn(&mut Dice(0x9E37_79B9_7F4A_7C15 ^ (draw + 1)), &intents, &beside, count);
                let (flows, sentences) = flows(&flow);
                let expected = [("not expected", Arc::default()), ("expected", flows[0].1.expected())];
                for asked in &asked {
                    let mut samples = speaker.say(&asked.text, Rate::Telephone, 1.0).unwrap().to_vec();
                    noise.add_to(&mut samples, 0.2);
                    for (whether, expected) in &expected {
                        let heard = Asked { text: ear.hear(&samples, expected), ..asked.clone() };
                        for (way, flow) in &flows {
                            let mut understanding = Understanding::by(flow).reading(&sentences);
                            understanding.misses(&heard);
                            let sum = sums.entry((way, whether)).or_default();
                            sum.iter_mut().zip(understanding.counts()).for_each(|(sum, count)| *sum += count);
                        }
                    }
                }
            }
            for ((way, whether), sum) in sums {
                println!("strangers in noise, {half}, {count} examples, {way}, {whether}: {sum:?}");
            }
        }
    }
}

/// A flow of 12 of these intents with so many examples each, ten other sentences of each, and 50 that none means.
fn drawn(dice: &mut Dice, intents: &[(String, Vec<String>)], beside: &[String], count: usize) -> (String, Vec<Asked>) {
    let (mut flow, mut asked) = (String::new(), Vec::new());
    for (name, all) in dice.some(intents, 12) {
        let all = dice.some(all, 25);
        let examples = &all[..count];
        flow += &format!("[[intent]]\nname = {name:?}\nanswer = {name:?}\nexamples = {examples:?}\n");
        asked.extend(all[15..].iter().map(|text| Asked::of(name, text)));
    }
    asked.extend(dice.some(beside, 50).into_iter().map(|text| Asked::of("none", text)));
    (flow, asked)
}

/// Sentences of strangers by what they mean, and those that mean none of it.
struct Strangers {
    half: &'static str,
    intents: Vec<(String, Vec<String>)>,
    beside: Vec<String>,
}

/// A half to tune by, and a half that is held out.
fn strangers() -> [Strangers; 2] {
    let folder = PathBuf::from(std::env::var("PATCHCORD_CLINC").expect("PATCHCORD_CLINC names no folder"));
    let file = std::fs::read(folder.join("data_full.json")).unwrap();
    let lists: BTreeMap<String, Vec<(String, String)>> = serde_json::from_slice(&file).unwrap();
    let texts = |list: &str| lists[list].iter().map(|(text, _)| text.clone());
    let mut intents = BTreeMap::<&str, Vec<String>>::new();
    for (text, intent) in ["train", "val", "test"].iter().flat_map(|list| &lists[*list]) {
        intents.entry(intent).or_default().push(text.clone());
    }
    // A goodbye is understood without a flow's help.
    intents.remove("goodbye");
    let half = |odd: usize| {
        let every_second = intents.iter().enumerate().filter(|(at, _)| at % 2 == odd);
        every_second.map(|(_, (name, texts))| ((*name).to_owned(), texts.clone())).collect()
    };
    [
        Strangers { half: "tuning", intents: half(0), beside: texts("oos_train").chain(texts("oos_val")).collect() },
        Strangers { half: "held out", intents: half(1), beside: texts("oos_test").collect() },
    ]
}

/// Percentages of all draws together, and where nine of ten draws are.
fn print_spread(name: &str, draws: &[Counts]) {
    let told = |columns: std::ops::Range<usize>, column: usize| {
        let part = |draw: &Counts| 100.0 * draw[column] as f64 / draw[columns.clone()].iter().sum::<usize>() as f64;
        let mut parts: Vec<f64> = draws.iter().map(part).collect();
        parts.sort_by(f64::total_cmp);
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        format!("{mean:.1} % ({:.0} to {:.0})", parts[parts.len() / 20], parts[parts.len() - 1 - parts.len() / 20])
    };
    let [right, whether, another, again, wrong] = [0, 1, 2, 3, 4].map(|column| told(0..5, column));
    let [asked, invented] = [6, 7].map(|column| told(5..8, column));
    println!(
        "{name}: {right} understood, {whether} asked whether, {another} asked whether something else, {again} asked again, {wrong} \
         taken for something else; no intent meant: {asked} asked whether, {invented} answered"
    );
}

/// Draws that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So many, none twice, in any order.
    fn some<'a, T>(&mut self, of: &'a [T], count: usize) -> Vec<&'a T> {
        let mut left: Vec<&T> = of.iter().collect();
        (0..count).map(|_| left.swap_remove((self.roll() % left.len() as u64) as usize)).collect()
    }
}

/// What it takes to load what understands, to find out what the examples of a flow of 12 intents are about, and to understand a
/// turn by it.
#[test]
#[ignore = "a measurement"]
fn cost_of_understanding() {
    let flow = Flow::read(include_str!("data/paraphrases.toml")).unwrap();
    let weights = Weights::open(&common::folder()).unwrap();
    let (before, began) = (resident(), Instant::now());
    let mut sentences = weights.sentences().unwrap().expect(FETCH);
    let (loaded, began) = (began.elapsed(), Instant::now());
    let by_sentences = flow.clone().with_sentences(|words| sentences.vector(words)).unwrap();
    println!(
        "sentences: loaded in {} ms, 36 examples in {} ms, {} MB",
        loaded.as_millis(),
        began.elapsed().as_millis(),
        resident() - before
    );
    let sentences = Mutex::new(sentences);
    let began = Instant::now();
    let vectors = WordVectors::open(&common::folder()).unwrap().expect(FETCH);
    let (loaded, began) = (began.elapsed(), Instant::now());
    let by_words = flow.clone().with_word_vectors(vectors);
    println!("word vectors: loaded in {} ms, 36 examples in {} µs", loaded.as_millis(), began.elapsed().as_micros());
    for (way, flow) in [("by sentences", by_sentences), ("by word vectors", by_words), ("without", flow)] {
        let flow = Arc::new(flow);
        let mut took = Vec::new();
        for line in include_str!("data/paraphrases_tuning.txt").lines().cycle().take(720) {
            let (_, text) = line.split_once(": ").unwrap();
            let mut dialogue = Dialogue::new(flow.clone(), Timestamp::UNIX_EPOCH);
            let began = Instant::now();
            understanding::read(&mut dialogue, text, Some(&sentences));
            dialogue.reply(text, &[]);
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!("a turn, {way}: median {} µs, slowest {} µs", took[360].as_micros(), took[719].as_micros());
    }
}

/// The same by ear: a flow of 12 intents, 72 paraphrases that it was not given, spoken by the synthesis.
#[test]
#[ignore = "a measurement"]
fn paraphrases() {
    paraphrases_over(include_str!("data/paraphrases.toml"));
}

#[test]
#[ignore = "a measurement"]
fn paraphrases_with_twelve_examples() {
    paraphrases_over(understanding::PARAPHRASES_TWELVE);
}

fn paraphrases_over(flow: &str) {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut ear = Ear::new(&weights);
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let (flows, sentences) = flows(flow);
    let expected = flows[0].1.expected();
    for (half, lines) in [
        ("tuning", include_str!("data/paraphrases_tuning.txt")),
        ("held out", include_str!("data/paraphrases_heldout.txt")),
    ] {
        let mut heard = flows.each_ref().map(|(_, flow)| Understanding::by(flow).reading(&sentences));
        for line in lines.lines() {
            let (intent, text) = line.split_once(": ").unwrap();
            let asked = Asked::of(intent, &ear.hear(&speaker.say(text, Rate::Telephone, 1.0).unwrap(), &expected));
            for ((way, _), understanding) in flows.iter().zip(&mut heard) {
                if let Some(answer) = understanding.misses(&asked)
                    && half == "tuning"
                {
                    println!("{way}: {asked:?} -> {answer}");
                }
            }
        }
        for ((way, _), understanding) in flows.iter().zip(&heard) {
            understanding.print(&format!("paraphrases, {half}, as heard, {way}"));
        }
    }
}

/// The same with a person's voice: another flow of 12 intents, three recorded prompts for each that are in none of its
/// examples. Which are missed is not told: nothing may be tuned by them.
#[test]
#[ignore = "a measurement"]
fn recorded_paraphrases() {
    recorded_paraphrases_over(include_str!("data/recorded_paraphrases.toml"));
}

#[test]
#[ignore = "a measurement"]
fn recorded_paraphrases_with_twelve_examples() {
    recorded_paraphrases_over(understanding::RECORDED_TWELVE);
}

fn recorded_paraphrases_over(flow: &str) {
    let (flows, sentences) = flows(flow);
    let expected = flows[0].1.expected();
    let lines = include_str!("data/recorded_paraphrases.txt").lines();
    let (intents, names): (Vec<&str>, Vec<&str>) = lines.map(|line| line.split_once(": ").unwrap()).unzip();
    let prompts = listed(&names.join("\n"));
    let mut texts = vec![("as written".to_owned(), prompts.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>())];
    for (size, mut ear) in Ear::each() {
        let heard = prompts.iter().map(|(_, samples)| ear.hear(samples, &expected)).collect();
        texts.push((format!("as heard, {size:?}"), heard));
    }
    for (way, flow) in &flows {
        for (how, texts) in &texts {
            let mut understanding = Understanding::by(flow).reading(&sentences);
            for (intent, text) in intents.iter().zip(texts) {
                understanding.misses(&Asked::of(intent, text));
            }
            understanding.print(&format!("recorded paraphrases, {how}, {way}"));
        }
    }
}

/// Many people's voices: orders at a coffee shop, from the folder that `PATCHCORD_COFFEE` names (`data/label/label.json` and
/// `data/speech/clean` of <https://github.com/Picovoice/speech-to-intent-benchmark>), over a telephone line. Where the drink is
/// an intent, and where it is a slot. What was not said is asked for, and does not matter. Every second file, by name, may be
/// looked at; of the others only counts are told.
#[test]
#[ignore = "a measurement"]
fn coffee_orders() {
    let folder = PathBuf::from(std::env::var("PATCHCORD_COFFEE").expect("PATCHCORD_COFFEE names no folder"));
    let labels = std::fs::read(folder.join("label/label.json")).unwrap();
    let labels: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&labels).unwrap();
    let orders = labels.iter().filter(|(name, _)| folder.join("speech/clean").join(name).exists());
    let orders: Vec<(&String, &serde_json::Value)> = orders.collect();
    let shops = [
        ("drinks are intents", include_str!("data/coffee.toml")),
        ("the drink is a slot", include_str!("data/coffee_one_intent.toml")),
    ];
    let shops = shops.map(|(name, flow)| (name, flows(flow)));
    for (size, mut ear) in Ear::each() {
        let mut sums = BTreeMap::<(&str, &str), [Ordered; 2]>::new();
        for (at, (name, label)) in orders.iter().enumerate() {
            let samples = Resampler::convert(16_000, 8_000, &samples_of(&folder.join("speech/clean").join(name)));
            for (shop, (flows, sentences)) in &shops {
                let heard = ear.hear(&samples, &flows[0].1.expected());
                for (way, flow) in flows {
                    let order = order(flow, sentences, &heard);
                    let misses = sums.entry((shop, way)).or_default()[at % 2].count(&label["slots"], order.as_ref());
                    if at % 2 == 0 && misses {
                        println!("{size:?}, {shop}, {way}: {} {heard:?} -> {order:?}", label["slots"]);
                    }
                }
            }
        }
        for ((shop, way), sums) in &sums {
            for (half, sum) in ["tuning", "held out"].into_iter().zip(sums) {
                println!("coffee orders, {half}, {size:?}, {shop}, {way}: {sum:?}");
            }
        }
        ear.print_times();
    }
}

/// What became of orders.
#[derive(Clone, Copy, Default, Debug)]
struct Ordered {
    right_drink: usize,
    asked_again: usize,
    other_drink: usize,
    /// Of orders with the right drink: values that were said.
    right_values: usize,
    asked_for: usize,
    other_values: usize,
    /// And values that nobody said.
    invented: usize,
    /// Orders of which all is right.
    all_right: usize,
}

impl Ordered {
    /// Counts an order by what was said; whether something is not right.
    fn count(&mut self, said: &serde_json::Value, order: Option<&(String, serde_json::Value)>) -> bool {
        let Some((drink, values)) = order else {
            self.asked_again += 1;
            return true;
        };
        if said["coffeeDrink"] != **drink {
            self.other_drink += 1;
            return true;
        }
        self.right_drink += 1;
        let mut all_right = true;
        for (name, label) in [("size", "size"), ("roast", "roast"), ("shots", "numberOfShots")] {
            let nobody_said = values[name].as_str().is_some_and(|value| value.starts_with("any "));
            let column = match said.get(label) {
                Some(said) if *said == values[name] => &mut self.right_values,
                None if nobody_said => continue,
                None => &mut self.invented,
                Some(_) if nobody_said => &mut self.asked_for,
                Some(_) => &mut self.other_values,
            };
            *column += 1;
            all_right &= said.get(label) == Some(&values[name]);
        }
        self.all_right += usize::from(all_right);
        !all_right
    }
}

/// The drink that was understood and what else was, if anything was understood.
fn order(flow: &Arc<Flow>, sentences: &Mutex<Sentences>, heard: &str) -> Option<(String, serde_json::Value)> {
    const DRINKS: [&str; 11] = [
        "coffee",
        "drip coffee",
        "house coffee",
        "iced coffee",
        "mocha",
        "iced mocha",
        "americano",
        "cappuccino",
        "latte",
        "espresso",
        "order",
    ];
    let mut dialogue = Dialogue::new(flow.clone(), Timestamp::UNIX_EPOCH);
    understanding::read(&mut dialogue, heard, Some(sentences));
    let mut reply = dialogue.reply(heard, &DRINKS);
    loop {
        let question = match reply {
            Reply::Call { name, arguments } => {
                let values: serde_json::Value = serde_json::from_str(&arguments).unwrap();
                let drink = values["drink"].as_str().map_or(name, str::to_owned);
                return Some((drink, values));
            }
            Reply::Say(question) => question,
        };
        reply = match question.as_str() {
            "size" => dialogue.reply("any size", &DRINKS),
            "roast" => dialogue.reply("any roast", &DRINKS),
            "shots" => dialogue.reply("any number", &DRINKS),
            _ => return None,
        };
    }
}

/// Those of a WAV file of 16 bits.
fn samples_of(path: &Path) -> Vec<f32> {
    let file = std::fs::read(path).unwrap();
    let data = file.windows(4).position(|window| window == b"data").unwrap() + 8;
    let samples = file[data..].as_chunks().0.iter();
    samples.map(|&pair| f32::from(i16::from_le_bytes(pair)) / 32_768.0).collect()
}

/// Turns of one recorded word, and "yes", which was recorded nowhere, by the synthesis.
#[test]
#[ignore = "a measurement"]
fn very_short_turns() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut words = listed(include_str!("data/short_turns.txt"));
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

/// Strangers' answers of one word to a question, from the folder that `PATCHCORD_WORDS` names (`speech_commands_v0.01` of
/// <https://github.com/vinsis/speech-commands-recognition>: 30 words, ten people each): to one for yes or no, and to one for a
/// number. As they are, and over noise of a tenth of their power; with and without the words that are expected once it was asked.
/// Every second file of a word, by name, may be looked at.
#[test]
#[ignore = "a measurement"]
fn short_answers() {
    let folder = PathBuf::from(std::env::var("PATCHCORD_WORDS").expect("PATCHCORD_WORDS names no folder"));
    let files = |path: &Path| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let words: Vec<PathBuf> = files(&folder).into_iter().filter(|path| path.is_dir()).collect();
    for (size, mut ear) in Ear::each() {
        for (over, part) in [("silence", 0.0), ("noise", 0.1)] {
            let (mut noise, mut sums) = (Noise::default(), BTreeMap::<_, [usize; 3]>::new());
            for folder in &words {
                let word = folder.file_name().unwrap().to_str().unwrap();
                for (at, path) in files(folder).iter().enumerate() {
                    let mut samples = Resampler::convert(16_000, 8_000, &samples_of(path));
                    noise.add_to(&mut samples, part);
                    for (asked, question) in [("yes or no", "yes_no"), ("a number", "number")] {
                        let value = match (word, asked) {
                            ("yes" | "no", "yes or no") => Some((word == "yes").to_string()),
                            (_, "a number") => {
                                FIGURES.iter().position(|figure| *figure == word).map(|at| at.to_string())
                            }
                            _ => None,
                        };
                        let asking = asking_for(question);
                        for (how, expected) in [("", Arc::default()), ("expected", asking.expected())] {
                            let heard = ear.hear(&samples, &expected);
                            let found = answer_to(&asking, &heard);
                            let column = usize::from(found != value) + usize::from(found.is_some() && found != value);
                            let (half, said) = (
                                ["tuning", "held out"][at % 2],
                                if value.is_some() { "said" } else { "something else" },
                            );
                            sums.entry((half, asked, said, how)).or_default()[column] += 1;
                            if column > 0 && half == "tuning" && value.is_some() {
                                println!("{size:?}, {over}, {asked}, {how}: {word} {heard:?} -> {found:?}");
                            }
                        }
                    }
                }
            }
            for ((half, asked, said, how), [right, again, wrong]) in sums {
                println!(
                    "short answers over {over}, {size:?}, {half}, asked for {asked}, {said}, {how}: {right} right, {again} asked again, {wrong} wrong"
                );
            }
        }
    }
}

const FIGURES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Answers to questions for days, times and numbers, spoken by the synthesis over noise of a fifth of their power, with and
/// without the words that are expected once it was asked.
#[test]
#[ignore = "a measurement"]
fn answers_in_noise() {
    let weights = Weights::open(&common::folder()).unwrap().recognising_with(Size::Tiny).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let (mut ear, mut noise) = (Ear::new(&weights), Noise::default());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for kind in ["date", "time", "number", "digits", "phone"] {
        let mut sums = [[0; 3]; 2];
        for _ in 0..100 {
            let text = spoken_answer(kind, &mut dice);
            let asking = asking_for(kind);
            let wanted = answer_to(&asking, &text);
            assert!(wanted.is_some(), "{text}");
            let mut samples = speaker.say(&text, Rate::Telephone, 1.0).unwrap().to_vec();
            noise.add_to(&mut samples, 0.2);
            for (expected, sum) in [Arc::default(), asking.expected()].iter().zip(&mut sums) {
                let found = answer_to(&asking, &ear.hear(&samples, expected));
                sum[usize::from(found != wanted) + usize::from(found.is_some() && found != wanted)] += 1;
            }
        }
        println!("answers in noise, {kind}: right, asked again, wrong: {:?}; expected {:?}", sums[0], sums[1]);
    }
}

/// What a caller may say who is asked for one of these.
fn spoken_answer(kind: &str, dice: &mut Dice) -> String {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let mut roll = |sides: u64| (dice.roll() >> 8) % sides;
    let digits = |count: u64, roll: &mut dyn FnMut(u64) -> u64| {
        (0..count).map(|_| FIGURES[roll(10) as usize]).collect::<Vec<_>>().join(" ")
    };
    match (kind, roll(3)) {
        ("date", 0) => format!("{}.", DAYS[roll(7) as usize]),
        ("date", 1) => format!("Next {}.", DAYS[roll(7) as usize]),
        ("date", _) => format!("{} {}.", MONTHS[roll(12) as usize], 1 + roll(28)),
        ("time", 0) => format!("At {}.", FIGURES[1 + roll(9) as usize]),
        ("time", 1) => format!("Half past {}.", FIGURES[1 + roll(9) as usize]),
        ("time", _) => format!("{} o'clock.", FIGURES[1 + roll(9) as usize]),
        ("number", _) => format!("{}.", 1 + roll(40)),
        ("digits", _) => format!("{}.", digits(4, &mut roll)),
        (_, _) => format!("{}.", digits(7, &mut roll)),
    }
}

/// A conversation that has just asked for a value of this kind.
fn asking_for(kind: &str) -> Dialogue {
    let flow = format!(
        "timezone = \"UTC\"\n[[intent]]\nname = \"asks\"\nphrases = [\"ask\"]\ntool = \"tell\"\nanswer = \"told\"\n\
         slots = {{ value = {{ type = \"{kind}\", ask = \"Which?\" }} }}"
    );
    let mut dialogue = Dialogue::new(Arc::new(Flow::read(&flow).unwrap()), Timestamp::UNIX_EPOCH);
    assert_eq!(dialogue.reply("ask", &["tell"]), Reply::Say("Which?".to_owned()));
    dialogue
}

/// What it takes an answer for.
fn answer_to(asking: &Dialogue, heard: &str) -> Option<String> {
    match asking.clone().reply(heard, &["tell"]) {
        Reply::Call { arguments, .. } => {
            Some(serde_json::from_str::<serde_json::Value>(&arguments).unwrap()["value"].to_string())
        }
        Reply::Say(_) => None,
    }
}

/// What listening to one call costs, without the queue: time of the processor, whatever else the machine does.
#[test]
#[ignore = "a measurement"]
fn cost_of_one_ear() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut detector = weights.detector().unwrap();
    let speech = long_speech();
    let silence = vec![0xFF; speech.len()];
    let spoken = telephone(&speech);
    let echo = telephone(&shifted(&speech, 2_000, 0.1, speech.len()));
    // Of nothing that is played, as loud: the gate looks for it everywhere, until the ear tells of it.
    let music = telephone(&shifted(&hold_music(), 0, 0.3, speech.len()));
    for (name, caller, agent) in [
        ("silence", &silence, &silence),
        ("the caller speaks", &spoken, &silence),
        ("the agent speaks, and its echo comes back", &echo, &spoken),
        ("the agent speaks over music", &music, &spoken),
    ] {
        let mut listener = Listener::new(EarSettings { threshold: 0.5, echo_gate: true, music: false });
        let mut frames = Vec::new();
        for (index, (caller, agent)) in caller.chunks(160).zip(agent.chunks(160)).enumerate() {
            let before = thread_time();
            listener.agent(frame_time(index), agent);
            listener.caller(&mut detector, frame_time(index), caller).unwrap();
            frames.push(thread_time() - before);
        }
        // The first steps load what is needed later.
        let mut frames = frames.split_off(50);
        let all: Duration = frames.iter().sum();
        frames.sort();
        println!(
            "an ear, {name}: {:.2} ms of a core for a second of a call; a frame {} µs at most, 99 of 100 at most {} µs",
            1_000.0 * all.as_secs_f64() / frame_time(frames.len()).as_secs_f64(),
            frames[frames.len() - 1].as_micros(),
            frames[frames.len() * 99 / 100].as_micros()
        );
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Whether one thread follows, and how late it gets: calls at once, all their frames at the same moment, in real time. In
/// half of the calls the caller speaks; in the others the line carries our own echo, which is looked for all the time.
#[test]
#[ignore = "a measurement"]
fn cost_of_ears() {
    let weights = Weights::open(&common::folder()).unwrap();
    let speech = long_speech();
    let spoken = telephone(&speech);
    let echo = telephone(&shifted(&speech, 2_000, 0.1, speech.len()));
    let settings = EarSettings { threshold: 0.5, echo_gate: true, music: false };
    // Which frames are told of, of a call whose caller speaks.
    let (mut detector, mut listener) = (weights.detector().unwrap(), Listener::new(settings));
    let mut told_of = vec![0];
    for (index, frame) in spoken.chunks(160).enumerate() {
        let told = listener.caller(&mut detector, frame_time(index), frame).unwrap();
        told_of.extend(told.iter().map(|_| index));
    }
    for calls in [1, 4, 16, 32, 64, 96, 128, 192, 256] {
        let ears = Ears::start(&weights, calls, 10).unwrap();
        let (mut listening, mut facts): (Vec<_>, Vec<_>) = (0..calls).map(|_| ears.ear(settings).unwrap()).unzip();
        // The last call's frames wait for those of all others.
        let mut last = facts.pop().unwrap();
        let told = std::thread::spawn(move || {
            std::iter::from_fn(|| last.blocking_recv()).map(|fact| (fact, Instant::now())).collect::<Vec<_>>()
        });
        let thread = std::iter::repeat_with(|| task_of("ears")).find_map(|task| task).unwrap();
        let (before, began) = (cpu_of(&thread), Instant::now());
        for (index, (spoken, echo)) in spoken.chunks(160).zip(echo.chunks(160)).enumerate() {
            std::thread::sleep((began + frame_time(index)).saturating_duration_since(Instant::now()));
            for (call, ear) in listening.iter_mut().enumerate() {
                if call % 2 == 0 || call + 1 == calls {
                    ear.caller(frame_time(index), spoken);
                } else {
                    ear.agent(frame_time(index), spoken);
                    ear.caller(frame_time(index), echo);
                }
            }
        }
        let audio = frame_time(spoken.len() / 160).as_secs_f64();
        let took = (cpu_of(&thread) - before).as_secs_f64();
        let missed = ears.missed();
        drop((listening, ears));
        let told = told.join().unwrap();
        while task_of("ears").is_some() {
            std::thread::yield_now();
        }
        let late = told_of.iter().zip(&told).map(|(frame, (_, at))| at.duration_since(began + frame_time(*frame)));
        let followed = told.iter().all(|(fact, _)| *fact != EarInput::Deaf);
        println!(
            "ears, {calls} at once: {:.2} ms of a core for a second of a call, {:.3} of a core; {missed} missed, {}",
            1_000.0 * took / audio / calls as f64,
            took / audio,
            if followed { format!("told {} ms late at most", late.max().unwrap().as_millis()) } else { "deaf".into() }
        );
    }
}

fn frame_time(index: usize) -> Duration {
    Duration::from_millis(20 * index as u64)
}

/// The thread of this name, once it has it.
fn task_of(name: &str) -> Option<PathBuf> {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
}

/// What a thread has taken of a processor.
fn cpu_of(task: &Path) -> Duration {
    let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(schedule.split_whitespace().next().unwrap().parse().unwrap())
}

/// How long callers wait: sessions at once, without their sockets, each hearing a line in real time, from the line's last
/// audible sample to the first of the answer's audio. What ends a turn is in it: 500 ms of silence, or the judgement that
/// it is over, where the weights for that are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn waiting() {
    let weights = Weights::open(&common::folder()).unwrap();
    let engine = Engine::start(&weights, 2, 8).unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let line = speaker.say("What are your opening hours?", Rate::Telephone, 1.0).unwrap();
    // Until the last sample that is heard: a breath of silence follows it.
    let audible = line.iter().rposition(|sample| sample.abs() > 0.01).unwrap() + 1;
    let coded: Vec<u8> = line[..audible].iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect();
    let mut spoken = 1;
    let mut ways = vec!["server_vad"];
    ways.extend(weights.turn_end().unwrap().map(|_| "semantic_vad"));
    for (vad, sessions) in ways.into_iter().flat_map(|vad| [1, 2, 4, 8].map(|sessions| (vad, sessions))) {
        let mut callers = Vec::new();
        for number in 0..sessions {
            // Another answer for each, so that nothing was said before.
            let answer = format!("We are open from nine to five, and this is answer {spoken} of this day.");
            spoken += 1;
            let flow =
                format!("[[intent]]\nname = 'a'\nexamples = ['what are your opening hours']\nanswer = '{answer}'\n");
            let answers = Answers::by_flow(Arc::new(Flow::read(&flow).unwrap()), Timestamp::UNIX_EPOCH);
            let mut session = Session::new("m", "any", Timestamp::UNIX_EPOCH, answers);
            let format = serde_json::json!({"type": "audio/pcmu"});
            let input = serde_json::json!({"format": format, "turn_detection": {"type": vad}});
            let audio = serde_json::json!({"input": input, "output": {"format": format}});
            let settings = serde_json::json!({"type": "realtime", "audio": audio});
            session.receive(&serde_json::json!({"type": "session.update", "session": settings}).to_string());
            callers.push(tokio::spawn(caller(session, engine.clone(), coded.clone(), 97 * number)));
        }
        let mut waits = Vec::new();
        for caller in callers {
            waits.push(caller.await.unwrap().as_millis());
        }
        waits.sort_unstable();
        println!(
            "waiting, {vad}, {sessions} at once: median {} ms, longest {} ms",
            waits[waits.len() / 2],
            waits[waits.len() - 1]
        );
    }
}

/// One caller in real time, who begins a little later than the one before.
async fn caller(mut session: Session, engine: Engine, line: Vec<u8>, later_ms: u64) -> Duration {
    let (results, mut found) = tokio::sync::mpsc::channel(16);
    let lead = [0xFF; 4_000];
    let audio: Vec<u8> = lead.into_iter().chain(line).collect();
    let mut frames = audio.chunks(160);
    let begin = tokio::time::Instant::now() + Duration::from_millis(later_ms);
    let mut clock = tokio::time::interval_at(begin, Duration::from_millis(20));
    let mut last_sample = None;
    let patience = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(patience);
    loop {
        while let Some(out) = session.poll() {
            match out {
                Out::Work(work) => engine.ask(work, &results),
                Out::Text(text) if text.contains("output_audio.delta") => {
                    let last_sample: Instant = last_sample.expect("it was answered before it had spoken");
                    return last_sample.elapsed();
                }
                Out::Text(_) | Out::Ask(_) | Out::StopAsking => {}
            }
        }
        tokio::select! {
            _ = clock.tick() => {
                let silence = [0xFF; 160];
                let frame = frames.next();
                if frame.is_none() && last_sample.is_none() {
                    last_sample = Some(Instant::now());
                }
                let payload = STANDARD.encode(frame.unwrap_or(&silence));
                session.receive(&format!(r#"{{"type":"input_audio_buffer.append","audio":"{payload}"}}"#));
            }
            Some(done) = found.recv() => session.found(done),
            () = &mut patience => panic!("it was never answered"),
        }
    }
}

/// Turns that are complete, and turns that break off: how many are taken for which, and how long each then waits.
/// Recorded prompts of one whole sentence of at least five words (`PATCHCORD_PROMPTS` as above; left out without it), and
/// lines that the synthesis speaks. The prompts by halves: [`turn_end::TAIL_MS`] was chosen by the first.
#[test]
#[ignore = "a measurement"]
fn turn_ends() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut judge = weights.turn_end().unwrap().expect("scripts/voice-models fetches its weights");
    let mut detector = weights.detector().unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut sets = Vec::new();
    if std::env::var_os("PATCHCORD_PROMPTS").is_some() {
        let whole = |text: &str| {
            let inside = &text[..text.len() - 1];
            text.starts_with(|first: char| first.is_ascii_uppercase())
                && text.ends_with(['.', '?', '!'])
                && !inside.contains(['.', '?', '!', ':'])
                && text.split_whitespace().count() >= 5
        };
        let prompts = prompts().into_iter().filter(|(text, _)| whole(text.trim()));
        let (first, second): (Vec<_>, Vec<_>) = prompts.enumerate().partition(|(at, _)| at % 2 == 0);
        for (name, half) in [("prompts, first half", first), ("prompts, second half", second)] {
            sets.push((name, half.into_iter().map(|(_, (_, samples))| samples).collect::<Vec<_>>()));
        }
    }
    let mut say = |line: &str| {
        sentences(line).iter().flat_map(|one| speaker.say(one, Rate::Telephone, 1.0).unwrap().to_vec()).collect()
    };
    sets.push(("spoken lines", include_str!("data/lines.txt").lines().map(&mut say).collect()));
    let mut took = Vec::new();
    for (name, turns) in sets {
        for whole in [true, false] {
            // By the silence that the judge is given.
            for tail_ms in [turn_end::TAIL_MS, 200, 400, 800, 1_600] {
                let mut found = Vec::new();
                for turn in &turns {
                    let turn = common::audible(turn);
                    let turn = if whole { turn } else { common::broken_off(turn) };
                    let heard = heard_until_pause(&mut detector, turn, tail_ms);
                    let began = Instant::now();
                    found.push(judge.judge(&Resampler::convert(8_000, turn_end::RATE, &heard)).unwrap());
                    took.push(began.elapsed());
                }
                let likely = found.iter().filter(|over| **over > 0.5).count();
                // Of medium eagerness, and never before the pause is noticed.
                let mut waits: Vec<u32> = found.iter().map(|over| silence_ms(*over, 4_000).max(192)).collect();
                waits.sort_unstable();
                let within = |ms: u32| waits.iter().filter(|wait| **wait <= ms).count();
                println!(
                    "{name}, {}, {tail_ms} ms of silence: {likely} of {} likely over; ended within 250 ms {}, within \
                     700 ms {}, median {} ms, mean {} ms",
                    if whole { "whole" } else { "broken off" },
                    found.len(),
                    within(250),
                    within(700),
                    waits[waits.len() / 2],
                    waits.iter().sum::<u32>() / waits.len() as u32
                );
            }
        }
    }
    took.sort_unstable();
    println!(
        "{} judgements: median {} ms, slowest {} ms",
        took.len(),
        took[took.len() / 2].as_millis(),
        took[took.len() - 1].as_millis()
    );
}

/// What a session gives to the judge in the last pause of this turn, with so much silence.
fn heard_until_pause(detector: &mut voice::detect::Detector, turn: &[f32], tail_ms: u64) -> Vec<f32> {
    let mut samples = vec![0.0; 4_000];
    samples.extend(
        turn.iter()
            .map(|sample| f32::from(call::g711::decode(call::g711::encode((sample * 32_767.0) as i16))) / 32_768.0),
    );
    samples.resize(samples.len() + 16_000, 0.0);
    let mut probabilities = Vec::new();
    detector.hear(&mut Hearing::default(), &samples, &mut probabilities).unwrap();
    let mut turns = Turns::default();
    let (mut from, mut until) = (0, 0);
    for probability in probabilities {
        match turns.step(probability, TurnSettings { threshold: 0.5, silence: 64_000 }) {
            Some(Turn::Started { at }) => from = (at as usize).saturating_sub(2_400),
            Some(Turn::Paused { at }) => until = at as usize + tail_ms as usize * 8,
            _ => {}
        }
    }
    let until = until.min(samples.len());
    samples[from.max(until.saturating_sub(64_000))..until].to_vec()
}
