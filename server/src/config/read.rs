//! Reads the file and the environment by the tables of `settings.rs`. What cannot be used is noted, with its line, and
//! passed over, so that the next mistake is found too.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::setting::{Given, Setting, Value, What};
use super::settings::{AGENT, OWN, SERVER};
use super::{Config, Mistakes, together};
use crate::agent::{Agent, Provider};

/// Tables of the file that are not a setting each.
const AGENTS: &str = "agents";
const DEFAULTS: &str = "defaults";

/// How far a misspelt key may be from the one that was meant, in letters.
const MISSPELT_MAX: usize = 3;

pub(super) struct Reader<'a> {
    /// Of the file, as mistakes name it.
    name: &'a str,
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// On which line of the file a place is; lines count from 1.
    lines: BTreeMap<String, usize>,
    mistakes: Vec<Mistake>,
}

struct Mistake {
    /// `None`: of the environment.
    line: Option<usize>,
    what: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(name: &'a str, text: &'a str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Reader { name, text, env, lines: BTreeMap::new(), mistakes: Vec::new() }
    }

    /// # Errors
    /// All mistakes, in the order of the file; those of the environment last.
    pub(super) fn config(mut self) -> Result<Config, Mistakes> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map(|span| self.line(span.start));
            self.mistakes.push(Mistake { line, what: format!("not TOML: {}", error.message().trim_end()) });
        }
        let document = document.get_ref();
        let mut config = Config { agents: Vec::new(), ..Config::default() };
        self.table("", document, &[SERVER], &[AGENTS, DEFAULTS], &mut config);
        self.environment(SERVER, &mut config);

        let shared: Vec<_> = AGENT.iter().map(|group| group.settings).collect();
        let own: Vec<_> = [&shared[..], &[OWN]].concat();
        let mut defaults = Agent::default();
        if cfg!(feature = "voice") && together::lacks_model(&config) {
            defaults.model.provider = Provider::Local;
        }
        if let Some(table) = self.subtable(document, DEFAULTS) {
            self.table(DEFAULTS, table, &shared, &[], &mut defaults);
        }
        // With all that does not fit together in it, so that each agent is not blamed for it again.
        let inherited = together::agent(&defaults);
        for (key, what) in &inherited {
            self.wrong(&format!("{DEFAULTS}.{key}"), what);
        }
        for (name, value) in self.subtable(document, AGENTS).into_iter().flatten() {
            let place = format!("{AGENTS}.{}", name.get_ref());
            self.seen(&place, name.span());
            let Some(table) = value.get_ref().as_table() else {
                self.wrong(&place, "is not a table, [agents.NAME]");
                continue;
            };
            let name = name.get_ref().clone().into_owned();
            let mut agent = Agent { name, default: false, ..defaults.clone() };
            self.table(&place, table, &own, &[], &mut agent);
            for (key, what) in together::agent(&agent) {
                if !inherited.contains(&(key, what.clone())) {
                    self.wrong(&format!("{place}.{key}"), &what);
                }
            }
            config.agents.push(agent);
        }
        if config.agents.is_empty() {
            config.agents.push(defaults);
        }
        together::server(&config, &mut self);

        if self.mistakes.is_empty() {
            return Ok(config);
        }
        self.mistakes.sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
        let name = self.name;
        let told = self.mistakes.into_iter().map(|Mistake { line, what }| match line {
            Some(line) => format!("{name}:{line}: {what}"),
            None => what,
        });
        Err(Mistakes(told.collect()))
    }

    /// Reads what a table has of these settings; `others` are keys that somebody else reads.
    pub(super) fn table<T>(
        &mut self,
        place: &str,
        table: &DeTable<'_>,
        settings: &[&'static [Setting<T>]],
        others: &[&str],
        target: &mut T,
    ) {
        let known = || settings.iter().copied().flatten();
        for (key, value) in table {
            let dot = if place.is_empty() { "" } else { "." };
            let path = format!("{place}{dot}{}", key.get_ref());
            self.seen(&path, key.span());
            match known().find(|setting| setting.key == Some(key.get_ref())) {
                Some(setting) => self.setting(&path, value.get_ref(), setting, target),
                None if others.contains(&key.get_ref().as_ref()) => {}
                None => {
                    let names: Vec<&str> = known().filter_map(|it| it.key).chain(others.iter().copied()).collect();
                    let advice = unknown(key.get_ref(), place, &names);
                    self.wrong(&path, &advice);
                }
            }
        }
    }

    fn setting<T>(&mut self, path: &str, value: &DeValue<'_>, setting: &'static Setting<T>, target: &mut T) {
        match &setting.what {
            What::Table(settings) => match value.as_table() {
                Some(table) => self.table(path, table, &[*settings], &[], target),
                None => self.wrong(path, "is not a table"),
            },
            What::Value { at, limits } => at(target).read(&Given { place: path, value, limits: *limits }, self),
        }
    }

    /// What the environment has, over what the file had.
    fn environment<T>(&mut self, settings: &'static [Setting<T>], target: &mut T) {
        for setting in settings {
            let (at, limits) = match &setting.what {
                What::Table(settings) => {
                    self.environment(settings, target);
                    continue;
                }
                What::Value { at, limits } => (at, *limits),
            };
            let Some(name) = setting.env else { continue };
            // Only what has no key is secret.
            let text = if setting.key.is_none() { self.secret(name) } else { self.variable(name) };
            if let Some(text) = text {
                let value = DeValue::String(text.into());
                at(target).read(&Given { place: name, value: &value, limits }, self);
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        variable(name, self.env)
    }

    /// [`secret`]. What cannot be read is empty, and not missing as well.
    pub(super) fn secret(&mut self, name: &str) -> Option<String> {
        secret(name, self.env).unwrap_or_else(|what| {
            self.mistakes.push(Mistake { line: None, what });
            Some(self.variable(name).unwrap_or_default())
        })
    }

    fn subtable<'t>(&mut self, document: &'t DeTable<'_>, key: &str) -> Option<&'t DeTable<'t>> {
        let value = document.get(key)?.get_ref();
        if value.as_table().is_none() {
            self.wrong(key, &format!("is not a table, [{key}{}]", if key == AGENTS { ".NAME" } else { "" }));
        }
        value.as_table()
    }

    /// Notes where something stands in the file.
    pub(super) fn seen(&mut self, place: &str, span: Range<usize>) {
        let line = self.line(span.start);
        self.lines.insert(place.to_owned(), line);
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }

    /// Notes a mistake at a place of the file, or in a variable of the environment.
    pub(super) fn wrong(&mut self, place: &str, what: &str) {
        // What was not given stands where its table does.
        let line = std::iter::successors(Some(place), |place| place.rfind(['.', '[']).map(|end| &place[..end]))
            .find_map(|place| self.lines.get(place).copied());
        self.mistakes.push(Mistake { line, what: format!("{place}: {what}") });
    }

    /// Notes that what was given is nothing that the setting can be.
    pub(super) fn unfit(&mut self, given: &Given<'_>, wanted: &dyn Value) {
        let shown = match given.value {
            DeValue::String(text) if may_be_secret(text) => "what is given".to_owned(),
            DeValue::String(text) => format!("`{text}`"),
            DeValue::Integer(number) => format!("`{number}`"),
            DeValue::Float(number) => format!("`{number}`"),
            DeValue::Boolean(flag) => format!("`{flag}`"),
            DeValue::Datetime(time) => format!("`{time}`"),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        let form = wanted.form(given.limits);
        self.wrong(given.place, &format!("{shown} is not {form}"));
    }
}

/// What only the environment has: from `NAME`, or from the file that `NAME_FILE` names. `None`: neither is set.
///
/// # Errors
/// If both are set, or the file cannot be read or has nothing in it. Neither has what was given in it.
pub(crate) fn secret(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let file_name = format!("{name}_FILE");
    let value = variable(name, env);
    let Some(path) = variable(&file_name, env) else { return Ok(value) };
    if value.is_some() {
        return Err(format!("{name} and {file_name} are both set: unset one"));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(format!("{file_name}: {path} is empty")),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => Err(format!("{file_name}: {path}: {error}")),
    }
}

fn variable(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

/// Whether a value is better not shown: a password in a URL, a vendor's key that came to the wrong place.
fn may_be_secret(text: &str) -> bool {
    /// Nothing else that belongs into a configuration has so many letters and digits without a break.
    const RUN_MAX: usize = 20;
    let run = |run: &str| run.len() >= RUN_MAX && run.bytes().any(|byte| byte.is_ascii_digit());
    text.contains('@') || text.starts_with("sk-") || text.split(|c: char| !c.is_ascii_alphanumeric()).any(run)
}

/// What to do about a key that is not known at this place.
fn unknown(key: &str, place: &str, known: &[&str]) -> String {
    let secret = ["key", "token", "secret", "password"].iter().any(|word| key.contains(word));
    let distance = |name: &&&str| strsim::damerau_levenshtein(name, key);
    let unfinished = |name: &&&str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('_'));
    let meant = known.iter().find(unfinished);
    if let Some(name) = meant.or_else(|| known.iter().min_by_key(distance).filter(|it| distance(it) <= MISSPELT_MAX)) {
        return format!("no such key; did you mean `{name}`?");
    }
    let of_agents = |settings: &[Setting<Agent>]| settings.iter().any(|setting| setting.key == Some(key));
    if !place.starts_with(AGENTS) && of_agents(OWN) {
        return "belongs in the table of an agent, [agents.NAME]".to_owned();
    }
    if !place.starts_with(AGENTS) && !place.starts_with(DEFAULTS) && AGENT.iter().any(|group| of_agents(group.settings))
    {
        return "belongs in [defaults], for all agents, or in the table of one, [agents.NAME]".to_owned();
    }
    if !place.is_empty() && SERVER.iter().any(|setting| setting.key == Some(key)) {
        return "belongs at the top of the file, before the first table".to_owned();
    }
    if secret {
        return "no such key; secrets are only taken from the environment, or from files named there".to_owned();
    }
    format!("no such key; there are {}", known.join(", "))
}
