//! The types that settings have: how each is read, and how it is shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use call::config::{Keys, ProtectGreeting, Turns};
use call::farewell::Language;
use call::trace::Words;
use call::wire::openai::{Eagerness, NoiseReduction};
use reqwest::Url;
use toml::de::DeValue;

use super::audio::Vad;
use super::read::Reader;
use super::setting::{Given, Limits, Setting, Value};
use super::together::{not_a_number, plausible_number};
use super::{Database, NamedSecret, Recogniser, Secret, SharedKey, SharedKeys, Verify};
use crate::agent::{Provider, Tool};
use crate::answer::Answer;

/// Longest clip: it is played to somebody who waits.
const CLIP_MAX: Duration = Duration::from_secs(30);

/// Largest file of one: that long, in stereo at 48 kHz, and a little.
const CLIP_FILE_MAX: u64 = 8 << 20;

impl Value for bool {
    fn form(&self, _: Limits) -> String {
        "true or false".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        match given.value {
            DeValue::Boolean(value) => *self = *value,
            _ => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Whole numbers of whatever unit; the only difference between them is how they are kept.
trait Whole {
    const UNIT: &'static str;
    /// What 0 means, beside what the limits allow.
    const ZERO: Option<&'static str> = None;
    /// `None`: it is too large to be kept.
    fn keep(number: u64) -> Option<Self>
    where
        Self: Sized;
    fn number(&self) -> Option<u64>;
}

impl Whole for u32 {
    const UNIT: &'static str = "";
    fn keep(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
    fn number(&self) -> Option<u64> {
        Some((*self).into())
    }
}

impl Whole for usize {
    const UNIT: &'static str = "";
    fn keep(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
    fn number(&self) -> Option<u64> {
        (*self).try_into().ok()
    }
}

impl Whole for u64 {
    const UNIT: &'static str = "";
    fn keep(number: u64) -> Option<Self> {
        Some(number)
    }
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Whole for Option<usize> {
    const UNIT: &'static str = "";
    const ZERO: Option<&'static str> = Some("no limit");
    fn keep(number: u64) -> Option<Self> {
        let number = number.try_into().ok()?;
        Some((number > 0).then_some(number))
    }
    fn number(&self) -> Option<u64> {
        self.map_or(Some(0), |number| number.try_into().ok())
    }
}

impl Whole for Option<u32> {
    const UNIT: &'static str = "";
    fn keep(number: u64) -> Option<Self> {
        number.try_into().ok().map(Some)
    }
    fn number(&self) -> Option<u64> {
        self.map(Into::into)
    }
}

impl Whole for Duration {
    const UNIT: &'static str = " ms";
    fn keep(number: u64) -> Option<Self> {
        Some(Duration::from_millis(number))
    }
    fn number(&self) -> Option<u64> {
        self.as_millis().try_into().ok()
    }
}

/// TOML has no null, so 0 is "never".
impl Whole for Option<Duration> {
    const UNIT: &'static str = " ms";
    const ZERO: Option<&'static str> = Some("never");
    fn keep(number: u64) -> Option<Self> {
        Some((number > 0).then(|| Duration::from_millis(number)))
    }
    fn number(&self) -> Option<u64> {
        self.map_or(Some(0), |duration| duration.number())
    }
}

impl<T: Whole> Value for T {
    fn form(&self, limits: Limits) -> String {
        let zero = T::ZERO.map(|meaning| format!(", or 0 for {meaning}")).unwrap_or_default();
        match limits {
            Limits::Whole(least, most) => format!("a whole number from {least} to {most}{}{zero}", T::UNIT),
            _ => format!("a whole number{}{zero}", if T::UNIT.is_empty() { "" } else { " of milliseconds" }),
        }
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let allowed = |number: u64| match given.limits {
            Limits::Whole(least, most) => (least..=most).contains(&number) || (number == 0 && T::ZERO.is_some()),
            _ => true,
        };
        match whole(given.value).filter(|number| allowed(*number)).and_then(T::keep) {
            Some(value) => *self = value,
            None => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        self.number().map(|number| number.to_string())
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn real(value: &DeValue<'_>) -> Option<f64> {
    let text = value.as_float().map(|float| float.as_str()).or(value.as_integer().map(|integer| integer.as_str()))?;
    text.parse().ok()
}

impl Value for f64 {
    fn form(&self, limits: Limits) -> String {
        match limits {
            Limits::Real(least, most) => format!("a number from {least} to {most}"),
            _ => "a number".to_owned(),
        }
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let allowed = |number: &f64| match given.limits {
            Limits::Real(least, most) => (least..=most).contains(number),
            _ => true,
        };
        match real(given.value).filter(allowed) {
            Some(value) => *self = value,
            None => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Value for Option<f64> {
    fn form(&self, limits: Limits) -> String {
        0.0.form(limits)
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let mut number = f64::NAN;
        number.read(given, reader);
        if !number.is_nan() {
            *self = Some(number);
        }
    }

    fn show(&self) -> Option<String> {
        self.and_then(|number| number.show())
    }
}

/// Whatever is written as text, and read from it.
trait Text: Sized {
    const FORM: &'static str;
    fn of(text: &str) -> Option<Self>;
    fn text(&self) -> Option<String>;
}

macro_rules! text_values {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn form(&self, _: Limits) -> String {
                <$type>::FORM.to_owned()
            }

            fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
                match given.value.as_str().and_then(<$type>::of) {
                    Some(value) => *self = value,
                    None => reader.unfit(given, self),
                }
            }

            fn show(&self) -> Option<String> {
                self.text().map(|text| quoted(&text))
            }
        }
    )*};
}

text_values!(String Option<String> PathBuf Option<PathBuf> SocketAddr Option<NoiseReduction>);

impl Text for String {
    const FORM: &'static str = "text in quotes";
    fn of(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn text(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Text for Option<String> {
    const FORM: &'static str = String::FORM;
    fn of(text: &str) -> Option<Self> {
        Some(Some(text.to_owned()))
    }
    fn text(&self) -> Option<String> {
        self.clone()
    }
}

impl Text for PathBuf {
    const FORM: &'static str = "a path in quotes";
    fn of(text: &str) -> Option<Self> {
        Some(text.into()).filter(|_| !text.is_empty())
    }
    fn text(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Text for Option<PathBuf> {
    const FORM: &'static str = PathBuf::FORM;
    fn of(text: &str) -> Option<Self> {
        PathBuf::of(text).map(Some)
    }
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(Text::text)
    }
}

impl Text for SocketAddr {
    const FORM: &'static str = "an address such as \"127.0.0.1:8080\"";
    fn of(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Text for Option<NoiseReduction> {
    const FORM: &'static str = "\"near_field\", \"far_field\" or \"off\"";
    fn of(text: &str) -> Option<Self> {
        match text {
            "near_field" => Some(Some(NoiseReduction::NearField)),
            "far_field" => Some(Some(NoiseReduction::FarField)),
            "off" => Some(None),
            _ => None,
        }
    }
    fn text(&self) -> Option<String> {
        let text = match self {
            Some(NoiseReduction::NearField) => "near_field",
            Some(NoiseReduction::FarField) => "far_field",
            None => "off",
        };
        Some(text.to_owned())
    }
}

/// One of a few words.
macro_rules! choices {
    ($type:ty: $($word:literal => $value:pat => $make:expr),+) => {
        impl Value for $type {
            fn form(&self, _: Limits) -> String {
                either(&[$($word),+])
            }

            fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
                match given.value.as_str() {
                    $(Some($word) => *self = $make,)+
                    _ => reader.unfit(given, self),
                }
            }

            fn show(&self) -> Option<String> {
                Some(quoted(match self { $($value => $word),+ }))
            }
        }
    };
}

choices!(Verify: "always" => Verify::Always => Verify::Always,
    "unless-loopback" => Verify::UnlessLoopback => Verify::UnlessLoopback);
choices!(Provider: "openai" => Provider::OpenAi => Provider::OpenAi, "local" => Provider::Local => Provider::Local);
choices!(Recogniser: "best" => Recogniser::Best => Recogniser::Best, "tiny" => Recogniser::Tiny => Recogniser::Tiny,
    "base" => Recogniser::Base => Recogniser::Base);
choices!(Turns: "client" => Turns::Client => Turns::Client, "model" => Turns::Model => Turns::Model);
choices!(Vad: "server" => Vad::Server => Vad::Server, "semantic" => Vad::Semantic => Vad::Semantic);
choices!(Eagerness: "low" => Eagerness::Low => Eagerness::Low, "medium" => Eagerness::Medium => Eagerness::Medium,
    "high" => Eagerness::High => Eagerness::High);
choices!(Option<Words>: "masked" => Some(Words::Masked) => Some(Words::Masked),
    "full" => Some(Words::Full) => Some(Words::Full), "off" => None => None);

impl Value for Url {
    fn form(&self, limits: Limits) -> String {
        let Limits::Schemes(schemes) = limits else { return "a URL".to_owned() };
        format!("a URL that begins with {}://", schemes.join(":// or "))
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let allowed = |url: &Url| match given.limits {
            Limits::Schemes(schemes) => schemes.contains(&url.scheme()) && url.has_host(),
            _ => true,
        };
        match given.value.as_str().and_then(|text| Url::parse(text).ok()).filter(allowed) {
            Some(url) => *self = url,
            None => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        // An origin is written without the slash that it is kept with.
        let text = if self.path() == "/" { self.as_str().trim_end_matches('/') } else { self.as_str() };
        Some(quoted(text))
    }
}

impl Value for Option<Url> {
    fn form(&self, limits: Limits) -> String {
        super::known_url("http://localhost").form(limits)
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let mut url = super::known_url("unread:");
        url.read(given, reader);
        if url.scheme() != "unread" {
            *self = Some(url);
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
}

/// A URL that is not for SQLite may have a password in it, so it is not repeated.
impl Value for Option<Database> {
    fn form(&self, _: Limits) -> String {
        "`sqlite:FILE`".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let mistake = match given.value.as_str().and_then(|url| url.split_once(':')) {
            Some(("postgres" | "postgresql", _)) => "PostgreSQL is not in this build; use sqlite:FILE, or unset it",
            Some(("sqlite", rest)) => match rest.strip_prefix("//").unwrap_or(rest) {
                "" | ":memory:" => "names no file; use sqlite:FILE, or unset it",
                file if file.contains('?') => "options after `?` are not understood; use sqlite:FILE",
                file => return *self = Some(Database(PathBuf::from(file))),
            },
            _ => "is not a database's URL; use sqlite:FILE, or unset it",
        };
        reader.wrong(given.place, mistake);
    }

    fn show(&self) -> Option<String> {
        self.as_ref().map(|Database(file)| quoted(&format!("sqlite:{}", file.display())))
    }
}

/// Never shown, and never part of a mistake.
impl Value for Option<Secret> {
    fn form(&self, _: Limits) -> String {
        "a secret".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, _: &mut Reader<'_>) {
        *self = given.value.as_str().map(Secret::new);
    }

    fn show(&self) -> Option<String> {
        None
    }
}

/// The name alone: the key has no place in the file, and no mistake repeats what was given.
impl Value for Option<NamedSecret> {
    fn form(&self, _: Limits) -> String {
        "the name of an environment variable, \"CHAT_KEY\"".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let is_name = |text: &&str| {
            let bytes = || text.bytes();
            bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
                && bytes().any(|byte| byte.is_ascii_uppercase())
        };
        let Some(variable) = given.value.as_str().filter(is_name) else {
            let what = "is not the name of an environment variable, as in \"CHAT_KEY\", which has the key";
            return reader.wrong(given.place, what);
        };
        match reader.secret(variable) {
            Some(secret) => *self = Some(NamedSecret { variable: variable.to_owned(), secret: Secret::new(secret) }),
            None => {
                let what = format!("{variable} is not set; set it, or {variable}_FILE, or leave this out");
                reader.wrong(given.place, &what);
            }
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().map(|named| quoted(&named.variable))
    }
}

impl Value for Vec<String> {
    fn form(&self, _: Limits) -> String {
        "a list of texts, [\"…\", \"…\"]".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let Some(list) = given.value.as_array() else { return reader.unfit(given, self) };
        self.clear();
        for (index, each) in list.iter().enumerate() {
            let place = format!("{}[{index}]", given.place);
            reader.seen(&place, each.span());
            let mut text = String::new();
            text.read(&Given { place: &place, value: each.get_ref(), limits: Limits::None }, reader);
            self.extend(Some(text).filter(|text| !text.is_empty()));
        }
    }

    fn show(&self) -> Option<String> {
        Some(format!("[{}]", self.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")))
    }
}

impl Value for Vec<Language> {
    fn form(&self, _: Limits) -> String {
        let codes: Vec<_> = Language::ALL.iter().map(|language| quoted(language.code())).collect();
        format!("a list of {}", codes.join(", "))
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let language = |each: &toml::Spanned<DeValue<'_>>| each.get_ref().as_str().and_then(Language::from_code);
        match given.value.as_array().and_then(|list| list.iter().map(language).collect()) {
            Some(languages) => *self = languages,
            None => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        let codes: Vec<_> = self.iter().map(|language| quoted(language.code())).collect();
        Some(format!("[{}]", codes.join(", ")))
    }
}

impl Value for ProtectGreeting {
    fn form(&self, _: Limits) -> String {
        "\"none\", \"all\" or { first_ms = 1500 }".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        const FIRST: &[Setting<Duration>] =
            &[Setting::<Duration>::new("first_ms", |first| first, "How much of it.").within(20, 60_000)];
        match given.value {
            DeValue::String(word) if word == "none" => *self = ProtectGreeting::None,
            DeValue::String(word) if word == "all" => *self = ProtectGreeting::All,
            DeValue::Table(table) if !table.is_empty() => {
                let mut first = Duration::ZERO;
                reader.table(given.place, table, &[FIRST], &[], &mut first);
                *self = ProtectGreeting::First(first);
            }
            _ => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            ProtectGreeting::None => quoted("none"),
            ProtectGreeting::All => quoted("all"),
            ProtectGreeting::First(first) => format!("{{ first_ms = {} }}", first.as_millis()),
        })
    }
}

/// What a caller gets in place of an agent, before it is known what.
#[derive(Default)]
struct Instead {
    say: Option<String>,
    voice: Option<String>,
    language: Option<String>,
    dial: Option<String>,
}

impl Value for Answer {
    fn form(&self, _: Limits) -> String {
        "\"reject\", \"busy\", { say = \"…\" } (with `voice` and `language` if need be) or { dial = \"+…\" }".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        const INSTEAD: &[Setting<Instead>] = &[
            Setting::<Instead>::new("say", |answer| &mut answer.say, "Read out by the carrier, which then hangs up."),
            Setting::<Instead>::new("voice", |answer| &mut answer.voice, "The carrier's name of a voice."),
            Setting::<Instead>::new("language", |answer| &mut answer.language, "Its language tag."),
            Setting::<Instead>::new("dial", |answer| &mut answer.dial, "Where the caller is put through to."),
        ];
        let instead = match given.value {
            DeValue::String(word) if word == "reject" => return *self = Answer::Reject,
            DeValue::String(word) if word == "busy" => return *self = Answer::Busy,
            DeValue::Table(table) => {
                let mut instead = Instead::default();
                reader.table(given.place, table, &[INSTEAD], &[], &mut instead);
                instead
            }
            _ => return reader.unfit(given, self),
        };
        match instead {
            Instead { say: Some(text), voice, language, dial: None } if !text.trim().is_empty() => {
                *self = Answer::Say { text, voice, language };
            }
            Instead { say: None, voice: None, language: None, dial: Some(number) } => {
                if !plausible_number(&number) {
                    reader.wrong(&format!("{}.dial", given.place), &not_a_number(&number));
                }
                *self = Answer::Dial(number);
            }
            _ => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Answer::Reject => quoted("reject"),
            Answer::Busy => quoted("busy"),
            Answer::Say { text, .. } => format!("{{ say = {} }}", quoted(text)),
            Answer::Dial(number) => format!("{{ dial = {} }}", quoted(number)),
        })
    }
}

/// Unset: as the server has it.
impl Value for Option<Answer> {
    fn form(&self, limits: Limits) -> String {
        Answer::Busy.form(limits)
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        self.get_or_insert(Answer::Busy).read(given, reader);
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
}

/// `id=secret`, separated by commas or lines: the ids are Twilio's. Never shown.
impl Value for SharedKeys {
    fn form(&self, _: Limits) -> String {
        "`id=secret,id=secret`".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let Some(list) = given.value.as_str() else { return };
        for (index, entry) in list.split([',', '\n']).map(str::trim).enumerate() {
            let entry_is = |what: &str| format!("entry {} {what}", index + 1);
            match entry.split_once('=') {
                Some((id, _)) if self.0.iter().any(|key| key.id == id) => {
                    reader.wrong(given.place, &entry_is("has an id that was there before; remove one"));
                }
                Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
                    self.0.push(SharedKey { id: id.to_owned(), secret: Secret::new(secret) });
                }
                // What it is instead is not shown: it may be a secret.
                Some(_) | None => reader.wrong(given.place, &entry_is("is not like webhooks_sharedkey_…=secret")),
            }
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}

/// How keys are collected, before it is known that they are.
struct Collect {
    terminator: Option<String>,
    length: Option<u32>,
    pause: Duration,
}

impl Value for Keys {
    fn form(&self, _: Limits) -> String {
        "\"single\" or { terminator = \"#\", length = 4, pause_ms = 3000 }".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        const COLLECT: &[Setting<Collect>] = &[
            Setting::<Collect>::new(
                "terminator",
                |keys| &mut keys.terminator,
                "The key that ends them, not part of them.",
            ),
            Setting::<Collect>::new("length", |keys| &mut keys.length, "So many are all.").within(1, 64),
            Setting::<Collect>::new("pause_ms", |keys| &mut keys.pause, "So long without a key ends them.")
                .within(200, 60_000),
        ];
        match given.value {
            DeValue::String(word) if word == "single" => *self = Keys::Single,
            DeValue::Table(table) if !table.is_empty() => {
                let mut collect = Collect { terminator: None, length: None, pause: Duration::from_secs(3) };
                reader.table(given.place, table, &[COLLECT], &[], &mut collect);
                let terminator =
                    collect.terminator.as_deref().map(str::chars).map(|mut keys| (keys.next(), keys.next()));
                match terminator {
                    None | Some((Some('0'..='9' | '*' | '#' | 'A'..='D'), None)) => {}
                    Some(_) => reader.wrong(
                        &format!("{}.terminator", given.place),
                        "has to be one key of a telephone, such as \"#\"",
                    ),
                }
                let terminator = terminator.and_then(|(key, _)| key);
                *self = Keys::Collect { terminator, length: collect.length, pause: collect.pause };
            }
            _ => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Keys::Single => quoted("single"),
            Keys::Collect { terminator, length, pause } => {
                let terminator = terminator.map(|key| format!("terminator = \"{key}\", ")).unwrap_or_default();
                let length = length.map(|length| format!("length = {length}, ")).unwrap_or_default();
                format!("{{ {terminator}{length}pause_ms = {} }}", pause.as_millis())
            }
        })
    }
}

/// A sound of our own: µ-law, read from a WAV file.
impl Value for Arc<[u8]> {
    fn form(&self, _: Limits) -> String {
        "the path of a WAV file in quotes".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        let Some(path) = given.value.as_str() else { return reader.unfit(given, self) };
        match clip(path) {
            Ok(samples) => *self = samples.into(),
            Err(why) => reader.wrong(given.place, &format!("{path}: {why}")),
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}

/// A recording of our own, as µ-law at 8 kHz; or what is wrong with it.
pub(crate) fn clip(path: &str) -> Result<Vec<u8>, String> {
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if file.len() > CLIP_FILE_MAX {
        return Err(format!("larger than {} MB; shorten it", CLIP_FILE_MAX >> 20));
    }
    let file = std::fs::read(path).map_err(|error| error.to_string())?;
    let samples = crate::demo::wav::read(&file).map_err(|error| {
        format!("{error:#}; needed is a WAV file of 16-bit PCM or µ-law, best at 8 kHz, one channel")
    })?;
    if samples.is_empty() {
        return Err("has no sound in it".to_owned());
    }
    if samples.len() as u128 > CLIP_MAX.as_millis() * 8 {
        return Err(format!("longer than {} s; shorten it", CLIP_MAX.as_secs()));
    }
    Ok(samples)
}

/// A tool before it is known to be complete.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    description: Option<String>,
    url: Option<Url>,
    parameters: Parameters,
}

#[derive(Default)]
struct Parameters(Option<serde_json::Value>);

impl Value for Parameters {
    fn form(&self, _: Limits) -> String {
        "a JSON Schema, as a table".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        match given.value {
            DeValue::Table(_) => self.0 = Some(json(given.value)),
            _ => reader.unfit(given, self),
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}

fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(_) => {
            let integer = value.as_integer().and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok());
            integer.map_or_else(|| real(value).into(), Into::into)
        }
        DeValue::Float(_) => real(value).into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(list) => list.iter().map(|each| json(each.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, each)| (key.get_ref().clone().into_owned(), json(each.get_ref()))).collect()
        }
    }
}

impl Value for Vec<Tool> {
    fn form(&self, _: Limits) -> String {
        "a list of tables, [[agents.NAME.tools]]".to_owned()
    }

    fn read(&mut self, given: &Given<'_>, reader: &mut Reader<'_>) {
        const DRAFT: &[Setting<Draft>] = &[
            Setting::<Draft>::new("name", |tool| &mut tool.name, "What the model calls it by."),
            Setting::<Draft>::new("description", |tool| &mut tool.description, "When the model should."),
            Setting::<Draft>::new("url", |tool| &mut tool.url, "Where the call is posted.").schemes(&["http", "https"]),
            Setting::<Draft>::new("parameters", |tool| &mut tool.parameters, "What it has to give."),
        ];
        let Some(list) = given.value.as_array() else { return reader.unfit(given, self) };
        self.clear();
        for (index, each) in list.iter().enumerate() {
            let place = format!("{}[{index}]", given.place);
            reader.seen(&place, each.span());
            let Some(table) = each.get_ref().as_table() else {
                reader.wrong(&place, "is not a table");
                continue;
            };
            let mut draft = Draft::default();
            reader.table(&place, table, &[DRAFT], &[], &mut draft);
            for key in ["name", "description", "url"].into_iter().filter(|key| !table.contains_key(*key)) {
                reader.wrong(&place, &format!("`{key}` is missing"));
            }
            if let Draft { name: Some(name), description: Some(description), url: Some(url), parameters } = draft {
                let empty = || serde_json::json!({ "type": "object", "properties": {} });
                let parameters = parameters.0.unwrap_or_else(empty);
                self.push(Tool { name, description, parameters, url });
            }
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn either(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}
