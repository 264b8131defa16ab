//! What is written from the tables of settings: the reference (`docs/configuration.md`), and the file to start from.

use std::fmt::Write;

use super::Config;
use super::setting::{Group, Limits, Setting, What};
use super::settings::{AGENT, ELSEWHERE, OWN, SERVER};
use crate::agent::Agent;

/// What the starter file sets and does not merely mention.
const STARTS_WITH: &[(&str, &str)] = &[
    ("default", "true"),
    ("instructions", r#""You answer the phone for a bike shop. Be friendly and brief.""#),
    ("greeting", r#""Hello, Spokes and Chain, how can I help?""#),
    ("language", r#""en""#),
];

/// Examples of what has no default.
const EXAMPLES: &[(&str, &str)] =
    &[("public_url", r#""https://calls.example.org""#), ("numbers", r#"["+15005550006"]"#)];

/// Width of the starter file's comments.
const WIDTH: usize = 96;

/// The reference, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut config = Config::default();
    let mut agent = Agent { default: false, ..Agent::default() };

    text.push_str("\n## Environment\n\n| variable | in the file | default | what it is |\n|---|---|---|---|\n");
    environment(&mut text, "", SERVER, &mut config);
    for (name, meaning, default) in ELSEWHERE {
        row(&mut text, &[&code(name), "–", default, meaning]);
    }
    text.push_str(
        "\nWhat is not in the file too may also be given as `NAME_FILE`, the path of a file that has it: for secrets \
         that are mounted.\n",
    );

    text.push_str("\n## The server\n\nAt the top of the file, before the first table.\n\n");
    keys(&mut text, "", SERVER, &mut config);
    for setting in SERVER {
        if let (Some(key), What::Table(settings)) = (setting.key, &setting.what) {
            let _ = write!(text, "\n### `[{key}]`\n\n{}\n\n", setting.why);
            keys(&mut text, "", settings, &mut config);
        }
    }

    text.push_str(
        "\n## Agents\n\n`[agents.NAME]` is an agent. All of the settings from here on may stand there, and in \
         `[defaults]` for all agents; what an agent says itself counts. Without any agent there is one, `default`, that \
         answers every number.\n",
    );
    for Group { title, settings } in AGENT {
        let _ = write!(text, "\n### {title}\n\n");
        keys(&mut text, "", settings, &mut agent);
        tables(&mut text, "", settings, &mut agent);
    }
    text.push_str("\n### Only in `[agents.NAME]`\n\n");
    keys(&mut text, "", OWN, &mut agent);
    text
}

const INTRODUCTION: &str = "\
<!-- Written by `patchcord init --reference`, from the tables that the file is read by. Do not edit it. -->

# Configuration

Patchcord reads `patchcord.toml`, if there is one, and the environment, which wins. `patchcord init` writes a file to
start from, `patchcord check` says all that is wrong with it. Keys that are not known are mistakes. Durations are whole
milliseconds, and their names end in `_ms`. Paths are from where Patchcord was started. Ids such as B4 are rules of
[rules.md](rules.md).
";

fn environment<T>(text: &mut String, table: &str, settings: &'static [Setting<T>], target: &mut T) {
    for setting in settings {
        match &setting.what {
            What::Table(settings) => environment(text, setting.key.unwrap_or_default(), settings, target),
            What::Value { .. } => {
                let Some(name) = setting.env else { continue };
                let dot = if table.is_empty() { "" } else { "." };
                let key = setting.key.map_or("–".to_owned(), |key| code(&format!("{table}{dot}{key}")));
                row(text, &[&code(name), &key, &default(setting, target), setting.why]);
            }
        }
    }
}

/// The table of what the file may have, without its tables.
fn keys<T>(text: &mut String, prefix: &str, settings: &'static [Setting<T>], target: &mut T) {
    text.push_str("| key | default | may be | what it does, and why |\n|---|---|---|---|\n");
    for setting in settings {
        let (Some(key), What::Value { at, limits }) = (setting.key, &setting.what) else { continue };
        let form = at(target).form(*limits).replace('|', "\\|");
        row(text, &[&code(&format!("{prefix}{key}")), &default(setting, target), &form, setting.why]);
    }
}

fn tables<T>(text: &mut String, prefix: &str, settings: &'static [Setting<T>], target: &mut T) {
    for setting in settings {
        if let (Some(key), What::Table(settings)) = (setting.key, &setting.what) {
            let name = format!("{prefix}{key}");
            let _ = write!(text, "\n`{name} = {{ … }}`: {}\n\n", setting.why);
            let prefix = format!("{name}.");
            keys(text, &prefix, settings, target);
            tables(text, &prefix, settings, target);
        }
    }
}

fn default<T>(setting: &Setting<T>, target: &mut T) -> String {
    let What::Value { at, .. } = &setting.what else { return String::new() };
    at(target).show().map_or("–".to_owned(), |value| code(&value))
}

fn row(text: &mut String, cells: &[&str]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A file to start from: what most people set, and what they would be asked about.
pub fn starter() -> String {
    let mut text = String::from(
        "# Patchcord's configuration.\n#\n# What is commented out is the default, or an example. docs/configuration.md \
         has all settings, with their\n# reasons; `patchcord check` says what is wrong.\n#\n# Accounts and secrets are \
         taken from the environment:\n",
    );
    let mut config = Config::default();
    let mut agent = Agent { default: false, ..Agent::default() };
    secrets(&mut text, SERVER);
    entries(&mut text, "", SERVER, &mut config);
    for setting in SERVER {
        if let (Some(key), What::Table(settings)) = (setting.key, &setting.what)
            && settings.iter().any(|setting| setting.starter && setting.key.is_some())
        {
            let _ = write!(text, "\n[{key}]");
            entries(&mut text, "", settings, &mut config);
        }
    }
    text.push_str(
        "\n# An agent. There may be more of them, under other names; what they have in common can stand in \
         [defaults].\n[agents.front-desk]",
    );
    entries(&mut text, "", OWN, &mut agent);
    for Group { settings, .. } in AGENT {
        entries(&mut text, "", settings, &mut agent);
    }
    text
}

fn secrets<T>(text: &mut String, settings: &'static [Setting<T>]) {
    for setting in settings {
        match (&setting.what, setting.env) {
            (What::Table(settings), _) => secrets(text, settings),
            (What::Value { .. }, Some(name)) if setting.starter && setting.key.is_none() => {
                let _ = writeln!(text, "#   {name:<20} {}", setting.why);
            }
            (What::Value { .. }, _) => {}
        }
    }
}

fn entries<T>(text: &mut String, prefix: &str, settings: &'static [Setting<T>], target: &mut T) {
    for setting in settings {
        let Some(key) = setting.key else { continue };
        match &setting.what {
            // Tables of agents are few keys each; those of the server have a heading.
            What::Table(settings) if prefix.is_empty() && SERVER.iter().all(|server| server.key != Some(key)) => {
                entries(text, &format!("{key}."), settings, target);
            }
            What::Table(_) => {}
            What::Value { .. } if !setting.starter => {}
            What::Value { at, limits } => {
                text.push('\n');
                let form = match limits {
                    Limits::Whole(..) => format!(" {}.", capital(&at(target).form(*limits))),
                    _ => String::new(),
                };
                comment(text, &format!("{}{form}", setting.why));
                let given =
                    |list: &[(&str, &'static str)]| list.iter().find(|it| it.0 == key).map(|it| it.1.to_owned());
                let _ = match (given(STARTS_WITH), given(EXAMPLES).or_else(|| at(target).show())) {
                    (Some(value), _) => writeln!(text, "{prefix}{key} = {value}"),
                    (None, Some(value)) => writeln!(text, "# {prefix}{key} = {value}"),
                    (None, None) => Ok(()),
                };
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push_str("\n#");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
