//! Values in what is said: orders, answers to a question.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use voice::Weights;
use voice::dialogue::{Dialogue, Flow, Reply};
use voice::recognise::Size;
use voice::resample::Resampler;
use voice::sentences::Sentences;
use voice::speak::{Rate, Said};

use crate::common::{self, understanding};
use crate::{Dice, Ear, Noise, flows, samples_of};

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
        ("drinks are intents", include_str!("../data/coffee.toml")),
        ("the drink is a slot", include_str!("../data/coffee_one_intent.toml")),
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
