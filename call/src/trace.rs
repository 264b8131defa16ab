//! A call's trace: every input with its time, and every output, one line each (N11). The inputs alone, played into a new
//! [`Call`] with the same settings, give the same outputs; so a trace from production is a test on a desk.
//!
//! ```text
//! patchcord trace 1
//! {"config":{…},"facts":{…}}
//! 0.000000 < "announced"
//! 0.000000 > do c1 connect model e1
//! 1.020000 ~ c f t137 a m c19863 f
//! ```
//! `<` is an input, `>` an output. `~` is a run of frames, which would otherwise be a hundred lines a second: each word
//! is one input, with the µs since the one before it, or one output. What a run cannot say exactly gets a line.
//!
//! | word | input | word | output |
//! |---|---|---|---|
//! | `c` | 160 bytes of the caller, 20 ms after those before | `f` | forward them |
//! | `d:n` | `n` bytes of the same item of the agent | `k` | keep them |
//! | `r:e.s` | this mark returned | `a` | the next 160 bytes to the carrier |
//! | `t` | time passed | `m` | the next mark |

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a run abbreviates a few kinds of inputs and outputs; everything else gets a line of its own"
)]

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::config::{CallConfig, CallFacts, Keys};
use crate::farewell::{self, Language};
use crate::id::{Epoch, ItemId, MarkId, ResponseId};
use crate::input::{CarrierInput, Input, ModelInput, OperatorInput, Outcome};
use crate::output::Output;
use crate::playback::FRAME_BYTES;
use crate::time::CallTime;

const FIRST_LINE: &str = "patchcord trace 1";

/// A run is written out when it has lasted this long, so that a trace on disk is never far behind its call.
const RUN_MAX: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Header {
    config: CallConfig,
    facts: CallFacts,
}

/// What both sides of a run know of the frames before: what is next in line need not be spelled.
#[derive(Clone, Debug, Default)]
struct Frames {
    caller_ms: Option<u64>,
    agent: Option<(Epoch, ResponseId, ItemId)>,
    sent_to: u64,
    mark: Option<MarkId>,
}

impl Frames {
    fn note_input(&mut self, input: &Input) {
        match input {
            Input::Carrier(CarrierInput::Audio { timestamp_ms, .. }) => self.caller_ms = Some(*timestamp_ms),
            Input::Model(epoch, ModelInput::Audio { response, item, .. }) => {
                self.agent = Some((*epoch, *response, *item));
            }
            _ => {}
        }
    }

    fn note_output(&mut self, output: &Output) {
        match output {
            Output::SendAudio { span, .. } => self.sent_to = span.start + u64::from(span.len),
            Output::SendMark(mark) => self.mark = Some(*mark),
            _ => {}
        }
    }

    fn next_caller(&self) -> Option<Input> {
        // A peer may claim any time.
        let timestamp_ms = self.caller_ms?.checked_add(20)?;
        Some(Input::Carrier(CarrierInput::Audio { bytes: FRAME_BYTES, timestamp_ms }))
    }

    fn next_agent(&self, bytes: u32) -> Option<Input> {
        let (epoch, response, item) = self.agent?;
        Some(Input::Model(epoch, ModelInput::Audio { response, item, bytes }))
    }

    fn next_mark(&self) -> Option<MarkId> {
        self.mark.and_then(|mark| Some(MarkId { seq: mark.seq.checked_add(1)?, ..mark }))
    }
}

/// What a trace keeps of what people said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// No word but those that decisions are made by, farewells and back-channels; of the others, and of digits, the
    /// length ([`farewell::mask`]). Enough to replay the call to the same decisions.
    #[default]
    Masked,
    Full,
}

/// Writes a trace as the call goes.
#[derive(Clone, Debug, Default)]
pub struct TraceWriter {
    words: Words,
    languages: Vec<Language>,
    /// The key that ends what a caller presses; it decides, so it is kept.
    terminator: Option<char>,
    lines: String,
    run: String,
    run_began: CallTime,
    last: CallTime,
    frames: Frames,
}

impl TraceWriter {
    pub fn new(config: &CallConfig, facts: &CallFacts, words: Words) -> Self {
        let languages = config.languages.clone();
        let terminator = match config.keys {
            Keys::Collect { terminator, .. } => terminator,
            Keys::Single => None,
        };
        let mut writer = TraceWriter { words, languages, terminator, ..TraceWriter::default() };
        let mut config = config.clone();
        config.greeting = config.greeting.map(|text| writer.kept(text));
        let header = serde_json::to_string(&Header { config, facts: *facts }).unwrap_or_default();
        writer.lines = format!("{FIRST_LINE}\n{header}\n");
        writer
    }

    pub fn input(&mut self, input: &Input, now: CallTime) {
        let word = match input {
            Input::TimePassed => Some(Word::Time),
            Input::Carrier(CarrierInput::MarkReturned(mark)) => Some(Word::Mark(*mark)),
            Input::Carrier(CarrierInput::Audio { .. }) if self.frames.next_caller().as_ref() == Some(input) => {
                Some(Word::Caller)
            }
            Input::Model(_, ModelInput::Audio { bytes, .. })
                if self.frames.next_agent(*bytes).as_ref() == Some(input) =>
            {
                Some(Word::Agent(*bytes))
            }
            _ => None,
        };
        self.frames.note_input(input);
        match word {
            Some(word) => {
                if self.run.is_empty() {
                    self.run_began = now;
                    self.last = now;
                } else if now.since(self.run_began) >= RUN_MAX {
                    self.flush();
                    self.run_began = now;
                    self.last = now;
                }
                let since = now.since(self.last).as_micros();
                self.last = now;
                // Writing to a String does not fail.
                let _ = match word {
                    Word::Caller => write!(self.run, " c{since}"),
                    Word::Time => write!(self.run, " t{since}"),
                    Word::Agent(bytes) => write!(self.run, " d{since}:{bytes}"),
                    Word::Mark(mark) => write!(self.run, " r{since}:{mark}"),
                };
            }
            None => {
                self.flush();
                let json = match self.words {
                    Words::Full => serde_json::to_string(input),
                    Words::Masked => serde_json::to_string(&self.masked(input.clone())),
                }
                .unwrap_or_default();
                let _ = writeln!(self.lines, "{now} < {json}");
            }
        }
    }

    pub fn output(&mut self, output: &Output, now: CallTime) {
        let word = match output {
            Output::ForwardAudio => Some(" f"),
            Output::KeepAudio => Some(" k"),
            Output::SendAudio { span, pad: 0, .. } if span.start == self.frames.sent_to && span.len == FRAME_BYTES => {
                Some(" a")
            }
            Output::SendMark(mark) if self.frames.next_mark() == Some(*mark) => Some(" m"),
            _ => None,
        };
        self.frames.note_output(output);
        match word.filter(|_| !self.run.is_empty()) {
            Some(word) => self.run.push_str(word),
            None => {
                self.flush();
                let _ = writeln!(self.lines, "{now} > {output}");
            }
        }
    }

    /// The same input, in words that may be kept.
    fn masked(&self, input: Input) -> Input {
        match input {
            Input::Carrier(CarrierInput::Dtmf(key @ '0'..='9')) if self.terminator != Some(key) => {
                let any = if self.terminator == Some('0') { '1' } else { '0' };
                Input::Carrier(CarrierInput::Dtmf(any))
            }
            Input::Model(epoch, ModelInput::CallerTranscript { item, text: Some(text) }) => {
                Input::Model(epoch, ModelInput::CallerTranscript { item, text: Some(self.kept(text)) })
            }
            Input::Model(epoch, ModelInput::TranscriptDelta { response, item, text }) => {
                Input::Model(epoch, ModelInput::TranscriptDelta { response, item, text: self.kept(text) })
            }
            Input::Model(epoch, ModelInput::TranscriptDone { response, item, text }) => {
                Input::Model(epoch, ModelInput::TranscriptDone { response, item, text: self.kept(text) })
            }
            Input::Model(epoch, ModelInput::ToolCall { response, item, call, name, arguments }) => {
                let arguments = self.kept(arguments);
                Input::Model(epoch, ModelInput::ToolCall { response, item, call, name, arguments })
            }
            Input::Done(command, Outcome::ToolAnswered(text)) => {
                Input::Done(command, Outcome::ToolAnswered(self.kept(text)))
            }
            Input::Done(command, Outcome::ToolFailed(text)) => {
                Input::Done(command, Outcome::ToolFailed(self.kept(text)))
            }
            Input::Operator(OperatorInput::Say { text, force }) => {
                Input::Operator(OperatorInput::Say { text: self.kept(text), force })
            }
            Input::Operator(OperatorInput::Press(keys)) => Input::Operator(OperatorInput::Press(self.kept(keys))),
            other => other,
        }
    }

    fn kept(&self, text: String) -> String {
        match self.words {
            Words::Full => text,
            Words::Masked => farewell::mask(&text, &self.languages),
        }
    }

    /// Ends the run, so that `take` gives everything.
    pub fn flush(&mut self) {
        if !self.run.is_empty() {
            let _ = writeln!(self.lines, "{} ~{}", self.run_began, self.run);
            self.run.clear();
        }
    }

    /// The lines written since the last time, into a buffer that is emptied first. False if there are none.
    pub fn take(&mut self, into: &mut String) -> bool {
        into.clone_from(&self.lines);
        self.lines.clear();
        !into.is_empty()
    }
}

enum Word {
    Caller,
    Time,
    Agent(u32),
    Mark(MarkId),
}

/// A trace, read back.
pub struct Trace {
    pub config: CallConfig,
    pub facts: CallFacts,
    pub events: Vec<(CallTime, Event)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Input(Input),
    /// In the words of [`Output`]'s `Display`.
    Output(String),
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("this is not a call trace: its first line should be \"{FIRST_LINE}\"")]
    NotATrace,
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
}

impl Trace {
    pub fn read(text: &str) -> Result<Trace, TraceError> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(TraceError::NotATrace);
        }
        let (_, header) = lines.next().ok_or(TraceError::NotATrace)?;
        let header: Header =
            serde_json::from_str(header).map_err(|error| TraceError::Line { line: 2, what: error.to_string() })?;
        let mut reader = Reader { frames: Frames::default(), events: Vec::new() };
        for (index, line) in lines {
            reader.line(line).map_err(|what| TraceError::Line { line: index + 1, what })?;
        }
        Ok(Trace { config: header.config, facts: header.facts, events: reader.events })
    }

    /// Plays the inputs into a new call and writes its trace: the same text as was read, if nothing has changed.
    pub fn replay(&self) -> String {
        // What is masked stays masked, and what is not is not to be.
        self.replay_in(Words::Full)
    }

    /// The same, told in these words.
    pub fn replay_in(&self, words: Words) -> String {
        let mut call = Call::new(self.config.clone(), self.facts);
        let mut trace = TraceWriter::new(&self.config, &self.facts, words);
        for (now, event) in &self.events {
            let Event::Input(input) = event else { continue };
            trace.input(input, *now);
            call.handle_input(input.clone(), *now);
            while let Some(output) = call.poll_output() {
                trace.output(&output, *now);
            }
        }
        trace.flush();
        trace.lines
    }
}

struct Reader {
    frames: Frames,
    events: Vec<(CallTime, Event)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (time, rest) = line.split_once(' ').ok_or("no time")?;
        let now = parse_time(time).ok_or_else(|| format!("not a time: {time}"))?;
        let (kind, rest) = rest.split_at_checked(2).unwrap_or((rest, ""));
        match kind.trim_end() {
            "<" => {
                let input = serde_json::from_str(rest).map_err(|error| error.to_string())?;
                self.input(now, input);
            }
            ">" => self.output_line(now, rest),
            "~" => self.run(now, rest)?,
            other => return Err(format!("neither <, > nor ~: {other}")),
        }
        Ok(())
    }

    fn run(&mut self, mut now: CallTime, words: &str) -> Result<(), String> {
        for word in words.split(' ') {
            let unknown = || format!("a run has no word {word:?} here");
            let (kind, rest) = word.split_at_checked(1).ok_or_else(unknown)?;
            let (since, value) = rest.split_once(':').unwrap_or((rest, ""));
            if let "c" | "t" | "d" | "r" = kind {
                now = now + Duration::from_micros(since.parse().map_err(|_| unknown())?);
            }
            match kind {
                "c" => self.input(now, self.frames.next_caller().ok_or_else(unknown)?),
                "t" => self.input(now, Input::TimePassed),
                "d" => {
                    let bytes = value.parse().map_err(|_| unknown())?;
                    self.input(now, self.frames.next_agent(bytes).ok_or_else(unknown)?);
                }
                "r" => {
                    let mark = parse_mark(value).ok_or_else(unknown)?;
                    self.input(now, Input::Carrier(CarrierInput::MarkReturned(mark)));
                }
                "f" => self.output(now, Output::ForwardAudio.to_string()),
                "k" => self.output(now, Output::KeepAudio.to_string()),
                "a" => {
                    let words = format!("audio {}+{FRAME_BYTES}", self.frames.sent_to);
                    self.frames.sent_to += u64::from(FRAME_BYTES);
                    self.output(now, words);
                }
                "m" => {
                    let mark = self.frames.next_mark().ok_or_else(unknown)?;
                    self.frames.mark = Some(mark);
                    self.output(now, format!("mark {mark}"));
                }
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }

    fn input(&mut self, now: CallTime, input: Input) {
        self.frames.note_input(&input);
        self.events.push((now, Event::Input(input)));
    }

    fn output_line(&mut self, now: CallTime, words: &str) {
        if let Some(mark) = words.strip_prefix("mark ").and_then(parse_mark) {
            self.frames.mark = Some(mark);
        }
        let span = words.strip_prefix("audio ").and_then(|words| words.split(' ').next()?.split_once('+'));
        if let Some((start, len)) = span
            && let (Ok(start), Ok(len)) = (start.parse::<u64>(), len.parse::<u64>())
        {
            self.frames.sent_to = start + len;
        }
        self.output(now, words.to_owned());
    }

    fn output(&mut self, now: CallTime, words: String) {
        self.events.push((now, Event::Output(words)));
    }
}

fn parse_time(text: &str) -> Option<CallTime> {
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let micros: u64 = micros.parse().ok()?;
    Some(CallTime::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

fn parse_mark(text: &str) -> Option<MarkId> {
    let (epoch, seq) = text.split_once('.')?;
    Some(MarkId { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
}
