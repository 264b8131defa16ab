//! What one setting is: its names in the file and in the environment, where its value lies, what may be given, and why
//! it is as it is. Tables of these (`settings.rs`) are all that is known of the settings: the file is read by them
//! (`read.rs`), the reference and the starter file are written from them (`reference.rs`).

use toml::de::DeValue;

use super::read::Reader;

/// One setting of a `T`.
pub(super) struct Setting<T: 'static> {
    /// In the file. `None`: only the environment has it.
    pub key: Option<&'static str>,
    /// In the environment, which wins over the file.
    pub env: Option<&'static str>,
    pub what: What<T>,
    /// What it does, and why its default is what it is.
    pub why: &'static str,
    /// Whether the file that `init` writes has it; the reference has them all.
    pub starter: bool,
}

pub(super) enum What<T: 'static> {
    Value {
        at: At<T>,
        limits: Limits,
    },
    /// A table within the table.
    Table(&'static [Setting<T>]),
}

/// Where the value lies.
pub(super) type At<T> = fn(&mut T) -> &mut dyn Value;

/// Settings that belong together, in the reference.
pub(super) struct Group<T: 'static> {
    pub title: &'static str,
    pub settings: &'static [Setting<T>],
}

/// What a value's type does not say.
#[derive(Clone, Copy)]
pub(super) enum Limits {
    None,
    Whole(u64, u64),
    Real(f64, f64),
    /// Of a URL.
    Schemes(&'static [&'static str]),
}

/// A type that settings have. The implementations are in `values.rs`.
pub(super) trait Value {
    /// What may be given, in a few words that complete "is not …".
    fn form(&self, limits: Limits) -> String;

    /// Takes what was given, or notes what is wrong with it.
    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>);

    /// As the file would have it. `None`: nothing is set.
    fn show(&self) -> Option<String>;
}

/// What was given for one setting, and where.
pub(super) struct Given<'a> {
    /// `agents.front-desk.hold_max_ms`, or the name of an environment variable.
    pub place: &'a str,
    pub value: &'a DeValue<'a>,
    pub limits: Limits,
}

impl<T> Setting<T> {
    /// One that the file may have.
    pub(super) const fn new(key: &'static str, at: At<T>, why: &'static str) -> Self {
        let what = What::Value { at, limits: Limits::None };
        Setting { key: Some(key), env: None, what, why, starter: false }
    }

    /// One that only the environment has: `NAME`, or a file that `NAME_FILE` names.
    pub(super) const fn variable(env: &'static str, at: At<T>, why: &'static str) -> Self {
        let what = What::Value { at, limits: Limits::None };
        Setting { key: None, env: Some(env), what, why, starter: false }
    }

    pub(super) const fn table(key: &'static str, settings: &'static [Setting<T>], why: &'static str) -> Self {
        Setting { key: Some(key), env: None, what: What::Table(settings), why, starter: false }
    }

    /// The least and the most that may be given, in the setting's unit.
    pub(super) const fn within(self, least: u64, most: u64) -> Self {
        self.limited(Limits::Whole(least, most))
    }

    pub(super) const fn between(self, least: f64, most: f64) -> Self {
        self.limited(Limits::Real(least, most))
    }

    pub(super) const fn schemes(self, schemes: &'static [&'static str]) -> Self {
        self.limited(Limits::Schemes(schemes))
    }

    const fn limited(self, limits: Limits) -> Self {
        match self.what {
            What::Value { at, .. } => Setting { what: What::Value { at, limits }, ..self },
            What::Table(_) => self,
        }
    }

    pub(super) const fn env(self, name: &'static str) -> Self {
        Setting { env: Some(name), ..self }
    }

    pub(super) const fn starter(self) -> Self {
        Setting { starter: true, ..self }
    }
}
