//! `docs/proof.md` says for each rule where it is shown to hold; this sees to it that what it says is so.
//!
//! The table is made from the sources. `RENEW=1 cargo test -p patchcord-sim --test proof` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use call::planted::Fault;

const BEGIN: &str = "<!-- rules: made by sim/tests/proof.rs -->\n";
const END: &str = "<!-- end of rules -->\n";

/// Rules that nothing shows yet, and why. Not a place to put a rule to rest: each is a debt.
const UNPROVEN: &[(&str, &str)] =
    &[("N5", "not built: a session that reaches its maximum age is mended like any lost one (N4)")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The ids of `docs/rules.md`, in its order.
fn rules() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/rules.md")).expect("docs/rules.md");
    let first_cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    first_cells.filter(|cell| is_id(cell)).map(str::to_owned).collect()
}

fn is_id(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|first| "LARTBGHCON".contains(first))
        && word.len() > 1
        && chars.all(|digit| digit.is_ascii_digit())
}

/// The Rust files in and below this folder, by their path in the repository.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
                // `bad_input/main.rs` is the test `bad_input`.
                let parent = path.parent().and_then(|parent| parent.file_name()?.to_str()).expect("a folder");
                let name = if name == "main" || name == "mod" { parent } else { name };
                files.push((name.to_owned(), fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    files.sort();
    files
}

/// The ids that words such as `"H1, H3: a hang-up while another is in progress"` begin with.
fn ids_said(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for literal in text.split('"').skip(1).step_by(2) {
        let Some((head, _)) = literal.split_once(": ") else { continue };
        if head.split(", ").all(is_id) {
            ids.extend(head.split(", ").map(str::to_owned));
        }
    }
    ids
}

/// The ids that stand alone in a string: how a judge names the rule that was broken.
fn ids_named(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).filter(|literal| is_id(literal)).map(str::to_owned).collect()
}

/// The ids that the names of functions begin with, as in `fn b4_n6_a_hold_is_decided()`.
fn ids_of_tests(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for after in text.split("fn ").skip(1) {
        let name = after.split('(').next().unwrap_or_default();
        let words: Vec<String> = name.split('_').map(str::to_uppercase).collect();
        let leading = words.iter().take_while(|word| is_id(word)).count();
        if leading < words.len() {
            ids.extend(words.into_iter().take(leading));
        }
    }
    ids
}

fn ids_mentioned(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| is_id(word)).map(str::to_owned).collect()
}

#[derive(Default)]
struct Shown {
    asserted: usize,
    explored: usize,
    simulated: usize,
    scenes: BTreeMap<String, usize>,
    tests: BTreeSet<String>,
    planted: Vec<Fault>,
}

fn shown() -> BTreeMap<String, Shown> {
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    for (_, text) in sources("call/src") {
        for id in ids_said(&text) {
            shown.entry(id).or_default().asserted += 1;
        }
    }
    for (_, text) in sources("sim/src/worlds") {
        for id in ids_said(&text) {
            shown.entry(id).or_default().explored += 1;
        }
    }
    for (_, text) in sources("sim/src/verdict") {
        for id in ids_named(&text) {
            shown.entry(id).or_default().simulated += 1;
        }
    }
    for (name, text) in sources("call/tests").into_iter().chain(sources("call/src")) {
        for id in ids_of_tests(&text) {
            *shown.entry(id).or_default().scenes.entry(name.clone()).or_default() += 1;
        }
    }
    for (folder, prefix) in [("sim/tests", "sim"), ("server/tests", "server"), ("voice/tests", "voice")] {
        for (name, text) in sources(folder).into_iter().filter(|(name, _)| name != "proof" && name != "common") {
            for id in ids_mentioned(&text).into_iter().chain(ids_of_tests(&text)) {
                shown.entry(id).or_default().tests.insert(format!("{prefix} {name}"));
            }
        }
    }
    for &fault in Fault::ALL {
        shown.entry(fault.rule().to_owned()).or_default().planted.push(fault);
    }
    shown
}

fn table() -> String {
    let mut table = String::from(
        "| rule | asserted | explored | simulated | scenes | whole calls, over sockets too | planted |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let shown = shown();
    let nothing = Shown::default();
    let count = |number: usize| if number == 0 { String::new() } else { number.to_string() };
    for id in rules() {
        let Shown { asserted, explored, simulated, scenes, tests, planted } = shown.get(&id).unwrap_or(&nothing);
        let scenes: Vec<String> = scenes.iter().map(|(file, number)| format!("{file} {number}")).collect();
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        let planted: Vec<String> = planted.iter().map(|fault| format!("{fault:?}")).collect();
        let debt = UNPROVEN.iter().find(|(unproven, _)| *unproven == id).map_or("", |(_, why)| why);
        table += &format!(
            "| {id} | {} | {} | {} | {} | {} | {}{debt} |\n",
            count(*asserted),
            count(*explored),
            count(*simulated),
            scenes.join(", "),
            tests.join(", "),
            planted.join(", "),
        );
    }
    table
}

#[test]
fn the_page_says_what_the_sources_say() {
    let path = root().join("docs/proof.md");
    let page = fs::read_to_string(&path).expect("docs/proof.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table's beginning");
    let (known, after) = rest.split_once(END).expect("the table's end");
    let table = table();
    if std::env::var_os("RENEW").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    assert!(known == table, "docs/proof.md is stale: RENEW=1 cargo test -p patchcord-sim --test proof");
}

#[test]
fn every_rule_is_shown_somewhere() {
    let shown = shown();
    let unproven: Vec<&str> = UNPROVEN.iter().map(|(id, _)| *id).collect();
    for id in rules() {
        let somewhere = shown.get(&id).is_some_and(|shown| {
            shown.explored + shown.simulated > 0 || !shown.scenes.is_empty() || !shown.tests.is_empty()
        });
        assert!(somewhere || unproven.contains(&id.as_str()), "nothing shows {id}");
        let settled = unproven.contains(&id.as_str()) && somewhere;
        assert!(!settled, "{id} is shown now: take it from the list of what is not");
    }
}

/// A defect of every race and of every condition of a goodbye is planted.
#[test]
fn the_planted_defects_are_where_they_have_to_be() {
    let rules: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.rule()).collect();
    for id in (1..=11).map(|number| format!("H{number}")) {
        assert!(rules.contains(id.as_str()), "nothing is planted for {id}");
    }
    let known = self::rules();
    assert!(rules.iter().all(|id| known.iter().any(|rule| rule == id)));
}
