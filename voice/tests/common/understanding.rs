//! What flows are asked in `data/`, and how often they understand it.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use voice::dialogue::{Dialogue, Flow, Reply};
use voice::sentences::Sentences;

/// What is said to a flow, and the intent that is meant by it, if one is.
#[derive(Clone, Debug)]
pub struct Asked {
    pub intent: Option<String>,
    pub text: String,
}

impl Asked {
    pub fn of(intent: &str, text: &str) -> Self {
        Asked { intent: Some(intent.to_owned()).filter(|intent| intent != "none"), text: text.to_owned() }
    }
}

/// A flow with what it is asked.
pub struct Set {
    pub name: &'static str,
    pub flow: &'static str,
    pub asked: Vec<Asked>,
}

const PARAPHRASES: &str = include_str!("../data/paraphrases.toml");

/// Five flows: name, itself, other words for its intents.
const FLOWS: [(&str, &str, &str); 5] = [
    (
        "tuning_clinic",
        include_str!("../data/understanding/tuning_clinic.toml"),
        include_str!("../data/understanding/tuning_clinic.txt"),
    ),
    (
        "tuning_garage",
        include_str!("../data/understanding/tuning_garage.toml"),
        include_str!("../data/understanding/tuning_garage.txt"),
    ),
    (
        "tuning_hotel",
        include_str!("../data/understanding/tuning_hotel.toml"),
        include_str!("../data/understanding/tuning_hotel.txt"),
    ),
    (
        "tuning_bank",
        include_str!("../data/understanding/tuning_bank.toml"),
        include_str!("../data/understanding/tuning_bank.txt"),
    ),
    (
        "tuning_library",
        include_str!("../data/understanding/tuning_library.toml"),
        include_str!("../data/understanding/tuning_library.txt"),
    ),
];

/// Three more, by which alone it is tuned.
const MORE: [(&str, &str, &str); 3] = [
    (
        "tuning_gym",
        include_str!("../data/understanding/tuning_gym.toml"),
        include_str!("../data/understanding/tuning_gym.txt"),
    ),
    (
        "tuning_town",
        include_str!("../data/understanding/tuning_town.toml"),
        include_str!("../data/understanding/tuning_town.txt"),
    ),
    (
        "tuning_parcel",
        include_str!("../data/understanding/tuning_parcel.toml"),
        include_str!("../data/understanding/tuning_parcel.txt"),
    ),
];

/// Lines of `intent: text`.
fn meant(lines: &str) -> Vec<Asked> {
    lines.lines().map(|line| line.split_once(": ").unwrap()).map(|(intent, text)| Asked::of(intent, text)).collect()
}

/// The flows that are there with twelve examples an intent too.
const TWELVE: [(&str, &str); 6] = [
    ("tuning_bank", include_str!("../data/understanding/tuning_bank_more.toml")),
    ("tuning_library", include_str!("../data/understanding/tuning_library_more.toml")),
    ("paraphrases", PARAPHRASES_TWELVE),
    ("recorded_paraphrases", RECORDED_TWELVE),
    ("heldout_airline", include_str!("../data/understanding/heldout_airline_more.toml")),
    ("heldout_theatre", include_str!("../data/understanding/heldout_theatre_more.toml")),
];

pub const PARAPHRASES_TWELVE: &str = include_str!("../data/paraphrases_more.toml");
pub const RECORDED_TWELVE: &str = include_str!("../data/recorded_paraphrases_more.toml");

/// Of these sets what is there with twelve examples an intent too: as it is, and so.
pub fn three_and_twelve(sets: Vec<Set>) -> Vec<[Set; 2]> {
    let twelve = |set: &Set| TWELVE.iter().find(|(name, _)| *name == set.name).map(|(_, flow)| *flow);
    let both = |set: Set| twelve(&set).map(|flow| [Set { flow, asked: set.asked.clone(), ..set }, set]);
    sets.into_iter().filter_map(both).map(|[twelve, three]| [three, twelve]).collect()
}

/// What the matching may be tuned by.
pub fn tuning() -> Vec<Set> {
    let none = || include_str!("../data/understanding/tuning_none.txt").lines().map(|line| Asked::of("none", line));
    let set = |(name, flow, lines)| Set { name, flow, asked: meant(lines).into_iter().chain(none()).collect() };
    let flows = FLOWS.into_iter().chain(MORE).map(set);
    let paraphrases = meant(include_str!("../data/paraphrases_tuning.txt"));
    flows.chain([Set { name: "paraphrases", flow: PARAPHRASES, asked: paraphrases }]).collect()
}

/// What it may not be tuned by. Of the recorded paraphrases only what is none of their flow's intents: the rest is recordings.
pub fn held_out() -> Vec<Set> {
    // What is none of the other flows' intents may be one of an airline's or a theatre's.
    let is_meant = |name: &str, text: &str| match name {
        "heldout_airline" => text.contains("suitcase"),
        "heldout_theatre" => text.contains("opera") || text.contains("glasses"),
        _ => false,
    };
    let none = |name: &'static str| {
        let lines = include_str!("../data/understanding/heldout_none.txt").lines();
        lines.filter(move |line| !is_meant(name, line)).map(|line| Asked::of("none", line))
    };
    let near = |name: &str| {
        let lines = include_str!("../data/understanding/heldout_near_misses.txt").lines();
        let named = lines.map(|line| line.split_once(": ").unwrap()).filter(|(flow, _)| *flow == name);
        named.map(|(_, text)| Asked::of("none", text)).collect::<Vec<_>>()
    };
    let set = |name: &'static str, flow, asked: Vec<Asked>| Set {
        name,
        flow,
        asked: asked.into_iter().chain(none(name)).chain(near(name)).collect(),
    };
    let flows = FLOWS.map(|(name, flow, _)| set(name, flow, Vec::new()));
    let others = [
        set("paraphrases", PARAPHRASES, meant(include_str!("../data/paraphrases_heldout.txt"))),
        set("recorded_paraphrases", include_str!("../data/recorded_paraphrases.toml"), Vec::new()),
        set(
            "heldout_airline",
            include_str!("../data/understanding/heldout_airline.toml"),
            meant(include_str!("../data/understanding/heldout_airline.txt")),
        ),
        set(
            "heldout_theatre",
            include_str!("../data/understanding/heldout_theatre.toml"),
            meant(include_str!("../data/understanding/heldout_theatre.txt")),
        ),
    ];
    flows.into_iter().chain(others).collect()
}

/// A flow whose intents are about what they are named: the caller is asked whether what is near is meant.
pub fn flow(text: &str) -> Flow {
    let about = |line: &str| match line.strip_prefix("name").map(|rest| rest.trim_start_matches([' ', '='])) {
        Some(name) => format!("{line}\nabout = {name}\n"),
        None => format!("{line}\n"),
    };
    Flow::read(&text.lines().map(about).collect::<String>()).unwrap()
}

/// What became of what was said. An intent was meant: understood, asked whether it is that, asked whether it is something else,
/// asked again, taken for something else. None was meant: asked again, asked whether it is one, answered.
pub type Counts = [usize; 8];

/// How often a flow understands: what was said, and what was taken for it.
pub struct Understanding {
    flow: Arc<Flow>,
    sentences: Option<Arc<Mutex<Sentences>>>,
    counts: Counts,
}

impl Understanding {
    pub fn by(flow: &Arc<Flow>) -> Self {
        Understanding { flow: flow.clone(), sentences: None, counts: Counts::default() }
    }

    /// By this reader, if the flow asks for one.
    pub fn reading(self, sentences: &Arc<Mutex<Sentences>>) -> Self {
        Understanding { sentences: Some(sentences.clone()), ..self }
    }

    /// What the flow answers, if it is not what it should.
    pub fn misses(&mut self, asked: &Asked) -> Option<String> {
        let sentences = self.sentences.clone();
        self.misses_by(asked, |words| vector(sentences.as_deref(), words))
    }

    /// The same, with whatever knows what words are about.
    pub fn misses_by(&mut self, asked: &Asked, mut vector: impl FnMut(&[String]) -> Vec<f32>) -> Option<String> {
        let mut answer = |dialogue: &mut Dialogue, text: &str| {
            if let Some(words) = dialogue.asks_about(text) {
                let vector = vector(&words);
                dialogue.told_about(words, Some(vector));
            }
            match dialogue.reply(text, &[]) {
                Reply::Say(answer) => answer,
                Reply::Call { name, .. } => name,
            }
        };
        let begun = Dialogue::new(self.flow.clone(), Timestamp::UNIX_EPOCH);
        let mut dialogue = begun.clone();
        let answered = answer(&mut dialogue, &asked.text);
        let again = answered == answer(&mut begun.clone(), "");
        let whether = answered.strip_prefix("Do you mean ").and_then(|rest| rest.strip_suffix('?')).map(str::to_owned);
        if let Some(about) = &whether {
            // The flow answers what it is named, so that this is what comes of a yes.
            assert_eq!(answer(&mut dialogue.clone(), "Yes."), *about);
            assert_eq!(answer(&mut dialogue, "No."), "Could you say it in other words, please?");
        }
        let column = match (&asked.intent, whether) {
            (Some(intent), None) if answered == *intent => 0,
            (Some(intent), Some(about)) => 1 + usize::from(about != *intent),
            (Some(_), None) => 3 + usize::from(!again),
            (None, Some(_)) => 6,
            (None, None) => 5 + 2 * usize::from(!again),
        };
        self.counts[column] += 1;
        (!matches!(column, 0 | 5)).then_some(answered)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn print(&self, name: &str) {
        println!("{name}: {}", told(&self.counts));
    }
}

pub fn told([right, whether, another, again, wrong, quiet, asked, invented]: &Counts) -> String {
    format!(
        "{right} understood, {whether} asked whether, {another} asked whether something else, {again} asked again, {wrong} taken \
         for something else; no intent meant: {quiet} asked again, {asked} asked whether, {invented} answered"
    )
}

/// Tells a dialogue what it asks about.
pub fn read(dialogue: &mut Dialogue, text: &str, sentences: Option<&Mutex<Sentences>>) {
    if let Some(words) = dialogue.asks_about(text) {
        let vector = vector(sentences, &words);
        dialogue.told_about(words, Some(vector));
    }
}

fn vector(sentences: Option<&Mutex<Sentences>>, words: &[String]) -> Vec<f32> {
    sentences.expect("a reader").lock().unwrap().vector(words).unwrap()
}
