//! Intents: how often what is said is taken for what is meant.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use voice::Weights;
use voice::recognise::Size;
use voice::speak::{Rate, Said};
use voice::word_vectors::WordVectors;

use crate::common;
use crate::common::understanding::{self, Asked, Counts, Understanding};
use crate::{Dice, Ear, FETCH, Noise, flows, listed};

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

/// The same by ear: a flow of 12 intents, 72 paraphrases that it was not given, spoken by the synthesis.
#[test]
#[ignore = "a measurement"]
fn paraphrases() {
    paraphrases_over(include_str!("../data/paraphrases.toml"));
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
        ("tuning", include_str!("../data/paraphrases_tuning.txt")),
        ("held out", include_str!("../data/paraphrases_heldout.txt")),
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
    recorded_paraphrases_over(include_str!("../data/recorded_paraphrases.toml"));
}

#[test]
#[ignore = "a measurement"]
fn recorded_paraphrases_with_twelve_examples() {
    recorded_paraphrases_over(understanding::RECORDED_TWELVE);
}

fn recorded_paraphrases_over(flow: &str) {
    let (flows, sentences) = flows(flow);
    let expected = flows[0].1.expected();
    let lines = include_str!("../data/recorded_paraphrases.txt").lines();
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
