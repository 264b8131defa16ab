//! What was found, and how it is told: a line each, or JSON.

use std::io::IsTerminal;

use serde::Serialize;

/// Width of a terminal nobody complains about; wider lines go on below, indented.
const WIDTH: usize = 80;

/// Where the words of a line begin.
const INDENT: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Nothing that keeps calls from being answered.
    Warn,
    Fail,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: one word.
    pub about: &'static str,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Finding { level: Level::Ok, about, found: found.into(), advice: None }
    }

    pub fn warn(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { level: Level::Warn, about, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn fail(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { level: Level::Fail, advice: Some(advice.into()), ..Finding::ok(about, found) }
    }

    /// Without its line end.
    fn line(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        let advice = self.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{level:<5} {:<11} {}{advice}", self.about, self.found)
    }
}

/// Where findings go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// Each as it is found.
    Lines,
    /// All at the end.
    Json,
    Nothing,
}

/// All that was found.
#[derive(Debug)]
pub struct Report {
    pub findings: Vec<Finding>,
    telling: Telling,
}

impl Report {
    pub fn new(telling: Telling) -> Self {
        Report { findings: Vec::new(), telling }
    }

    pub fn add(&mut self, finding: Finding) {
        if self.telling == Telling::Lines {
            let line = finding.line();
            if std::io::stdout().is_terminal() { println!("{}", wrapped(&line)) } else { println!("{line}") }
        }
        self.findings.push(finding);
    }

    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.count(Level::Fail) == 0
    }

    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// What comes after the last finding.
    pub fn close(&self) {
        match self.telling {
            Telling::Lines => println!(
                "\n{} ok, {} to think about, {} failed",
                self.count(Level::Ok),
                self.count(Level::Warn),
                self.count(Level::Fail)
            ),
            Telling::Json => println!("{}", self.json()),
            Telling::Nothing => {}
        }
    }

    /// `{"ok": …, "findings": [{"level", "about", "found", "advice"}]}`
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "ok": self.is_good(), "findings": self.findings })
    }
}

fn wrapped(line: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in line.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if column > INDENT && column + length > WIDTH {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_within_eighty_columns() {
        let advice = "raise what has to be raised and lower what has to be lowered, until it fits; then check again";
        let line = Finding::warn("disk", "12 MB free in /var/lib/patchcord", advice).line();
        let wrapped = wrapped(&line);
        assert!(wrapped.lines().count() > 1 && wrapped.lines().all(|line| line.chars().count() <= WIDTH), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with(&" ".repeat(INDENT)) && !line.ends_with(' ')));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&wrapped), words(&line));
    }
}
