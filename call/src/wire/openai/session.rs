//! A session as its server keeps it: the reference's defaults, what an update may change, and what it may not. For whoever
//! plays the model.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/realtime-sessions>.

use serde_json::Value;

use super::client::{AudioFormat, AudioSettings, InputAudio, OutputAudio, Session, TurnDetectionSettings};

/// What is wrong with an update, and where, as the server says it in its `error` event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub code: &'static str,
    pub message: String,
    pub param: String,
}

/// How samples are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// G.711 µ-law, 8 kHz.
    MuLaw,
    /// G.711 A-law, 8 kHz.
    ALaw,
    /// 16 bits, little-endian, 24 kHz.
    Pcm,
}

/// How a response is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Modality {
    Audio,
    Text,
}

impl Session {
    /// A new session, with all defaults.
    pub fn of_model(model: &str) -> Session {
        let pcm = || Some(AudioFormat { kind: "audio/pcm".into(), rate: Some(24_000) });
        Session {
            kind: Some("realtime".into()),
            model: Some(model.into()),
            output_modalities: Some(vec!["audio".into()]),
            instructions: Some("You are a helpful, witty, and friendly AI.".into()),
            audio: Some(AudioSettings {
                input: Some(InputAudio {
                    format: pcm(),
                    noise_reduction: Some(None),
                    transcription: Some(None),
                    turn_detection: Some(Some(TurnDetectionSettings {
                        kind: "server_vad".into(),
                        threshold: Some(0.5),
                        prefix_padding_ms: Some(300),
                        silence_duration_ms: Some(500),
                        create_response: Some(true),
                        interrupt_response: Some(true),
                        ..Default::default()
                    })),
                }),
                output: Some(OutputAudio { format: pcm(), voice: Some("alloy".into()), speed: Some(1.0) }),
            }),
            tools: Some(Vec::new()),
            tool_choice: Some("auto".into()),
            max_output_tokens: Some("inf".into()),
            truncation: Some("auto".into()),
            tracing: Some(None),
            include: Some(None),
            ..Default::default()
        }
    }

    /// Changes what `update` names; the rest stays.
    ///
    /// # Errors
    /// One wrong value refuses it all: then nothing was changed.
    pub fn update(&mut self, update: Session) -> Result<(), Refused> {
        check(&update)?;
        set(&mut self.output_modalities, update.output_modalities);
        set(&mut self.instructions, update.instructions);
        set(&mut self.prompt, update.prompt);
        set(&mut self.tools, update.tools);
        set(&mut self.tool_choice, update.tool_choice);
        set(&mut self.parallel_tool_calls, update.parallel_tool_calls);
        set(&mut self.reasoning, update.reasoning);
        set(&mut self.max_output_tokens, update.max_output_tokens);
        set(&mut self.truncation, update.truncation);
        set(&mut self.tracing, update.tracing);
        set(&mut self.include, update.include);
        let Some(audio) = update.audio else { return Ok(()) };
        let ours = self.audio.get_or_insert_default();
        if let Some(input) = audio.input {
            let ours = ours.input.get_or_insert_default();
            set(&mut ours.format, input.format);
            set(&mut ours.noise_reduction, input.noise_reduction);
            set(&mut ours.transcription, input.transcription);
            set(&mut ours.turn_detection, input.turn_detection);
        }
        if let Some(output) = audio.output {
            let ours = ours.output.get_or_insert_default();
            set(&mut ours.format, output.format);
            set(&mut ours.voice, output.voice);
            set(&mut ours.speed, output.speed);
        }
        Ok(())
    }

    pub fn input_format(&self) -> Format {
        Format::of(self.input().and_then(|input| input.format.as_ref()))
    }

    pub fn output_format(&self) -> Format {
        Format::of(self.output().and_then(|output| output.format.as_ref()))
    }

    /// How turns are detected. `None`: by the client's commit.
    pub fn turn_detection(&self) -> Option<&TurnDetectionSettings> {
        self.input()?.turn_detection.as_ref()?.as_ref()
    }

    pub fn transcribes(&self) -> bool {
        self.input().is_some_and(|input| matches!(input.transcription, Some(Some(_))))
    }

    pub fn voice(&self) -> Option<&Value> {
        self.output()?.voice.as_ref()
    }

    pub fn speed(&self) -> f64 {
        self.output().and_then(|output| output.speed).unwrap_or(1.0)
    }

    /// How responses are given that say nothing of it.
    pub fn modality(&self) -> Modality {
        let modalities = self.output_modalities.as_deref().unwrap_or_default();
        Modality::of(modalities, "").unwrap_or(Modality::Audio)
    }

    fn input(&self) -> Option<&InputAudio> {
        self.audio.as_ref()?.input.as_ref()
    }

    fn output(&self) -> Option<&OutputAudio> {
        self.audio.as_ref()?.output.as_ref()
    }
}

impl Format {
    /// As the protocol names it.
    pub fn name(self) -> &'static str {
        match self {
            Format::MuLaw => "audio/pcmu",
            Format::ALaw => "audio/pcma",
            Format::Pcm => "audio/pcm",
        }
    }

    fn of(format: Option<&AudioFormat>) -> Format {
        match format.map(|format| format.kind.as_str()) {
            Some("audio/pcmu") => Format::MuLaw,
            Some("audio/pcma") => Format::ALaw,
            _ => Format::Pcm,
        }
    }
}

impl Modality {
    /// How these modalities, which stand at `param`, want a response given.
    ///
    /// # Errors
    /// If they are neither audio alone nor text alone.
    pub fn of(modalities: &[String], param: &str) -> Result<Modality, Refused> {
        match modalities {
            [one] if one == "audio" => Ok(Modality::Audio),
            [one] if one == "text" => Ok(Modality::Text),
            _ => Err(invalid(param, &format!("{modalities:?}"), "['audio'], ['text']")),
        }
    }
}

fn set<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// Checks the values of an update as far as the reference states their range.
fn check(update: &Session) -> Result<(), Refused> {
    match update.kind.as_deref() {
        Some("realtime") => {}
        Some(other) => return Err(invalid("session.type", other, "'realtime'")),
        None => {
            return Err(Refused {
                code: "missing_required_parameter",
                message: "Missing required parameter: 'session.type'.".into(),
                param: "session.type".into(),
            });
        }
    }
    if let Some(modalities) = &update.output_modalities {
        Modality::of(modalities, "session.output_modalities")?;
    }
    if let Some(tokens) = &update.max_output_tokens {
        let allowed = tokens == "inf" || tokens.as_u64().is_some_and(|tokens| (1..=4_096).contains(&tokens));
        ensure(allowed, "session.max_output_tokens", &tokens.to_string(), "1 to 4096, 'inf'")?;
    }
    if let Some(effort) = update.reasoning.iter().flatten().find_map(|reasoning| reasoning.effort.as_deref()) {
        one_of(effort, "session.reasoning.effort", &["minimal", "low", "medium", "high", "xhigh"])?;
    }
    if let Some(Value::String(choice)) = &update.tool_choice {
        one_of(choice, "session.tool_choice", &["none", "auto", "required"])?;
    }
    let Some(audio) = &update.audio else { return Ok(()) };
    if let Some(input) = &audio.input {
        check_input(input)?;
    }
    if let Some(output) = &audio.output {
        check_format(output.format.as_ref(), "session.audio.output.format")?;
        if let Some(speed) = output.speed {
            let allowed = (0.25..=1.5).contains(&speed);
            ensure(allowed, "session.audio.output.speed", &speed.to_string(), "0.25 to 1.5")?;
        }
    }
    Ok(())
}

fn check_input(input: &InputAudio) -> Result<(), Refused> {
    check_format(input.format.as_ref(), "session.audio.input.format")?;
    if let Some(reduction) = input.noise_reduction.iter().flatten().next() {
        one_of(&reduction.kind, "session.audio.input.noise_reduction.type", &["near_field", "far_field"])?;
    }
    let Some(detection) = input.turn_detection.iter().flatten().next() else { return Ok(()) };
    let at = |field: &str| format!("session.audio.input.turn_detection.{field}");
    one_of(&detection.kind, &at("type"), &["server_vad", "semantic_vad"])?;
    let semantic = detection.kind == "semantic_vad";
    for (field, there, belongs) in [
        ("threshold", detection.threshold.is_some(), !semantic),
        ("prefix_padding_ms", detection.prefix_padding_ms.is_some(), !semantic),
        ("silence_duration_ms", detection.silence_duration_ms.is_some(), !semantic),
        ("idle_timeout_ms", detection.idle_timeout_ms.flatten().is_some(), !semantic),
        ("eagerness", detection.eagerness.is_some(), semantic),
    ] {
        if there && !belongs {
            let param = at(field);
            let message = format!("Unknown parameter: '{param}'.");
            return Err(Refused { code: "unknown_parameter", message, param });
        }
    }
    if let Some(threshold) = detection.threshold {
        ensure((0.0..=1.0).contains(&threshold), &at("threshold"), &threshold.to_string(), "0 to 1")?;
    }
    if let Some(idle_ms) = detection.idle_timeout_ms.flatten() {
        ensure(idle_ms > 0, &at("idle_timeout_ms"), &idle_ms.to_string(), "more than 0")?;
    }
    if let Some(eagerness) = &detection.eagerness {
        one_of(eagerness, &at("eagerness"), &["low", "medium", "high", "auto"])?;
    }
    Ok(())
}

fn check_format(format: Option<&AudioFormat>, param: &str) -> Result<(), Refused> {
    let Some(format) = format else { return Ok(()) };
    one_of(&format.kind, &format!("{param}.type"), &["audio/pcm", "audio/pcmu", "audio/pcma"])?;
    let rate = format.rate.unwrap_or(24_000);
    ensure(format.kind != "audio/pcm" || rate == 24_000, &format!("{param}.rate"), &rate.to_string(), "24000")
}

fn one_of(value: &str, param: &str, allowed: &[&str]) -> Result<(), Refused> {
    let names: Vec<String> = allowed.iter().map(|name| format!("'{name}'")).collect();
    ensure(allowed.contains(&value), param, value, &names.join(", "))
}

fn ensure(allowed: bool, param: &str, value: &str, expected: &str) -> Result<(), Refused> {
    if allowed { Ok(()) } else { Err(invalid(param, value, expected)) }
}

fn invalid(param: &str, value: &str, expected: &str) -> Refused {
    Refused {
        code: "invalid_value",
        message: format!("Invalid value: '{value}'. Supported values are: {expected}."),
        param: param.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(text: &str) -> Result<Session, Refused> {
        let mut session = Session::of_model("any");
        session.update(serde_json::from_str(text).unwrap())?;
        Ok(session)
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let session =
            updated(r#"{"type":"realtime","audio":{"input":{"format":{"type":"audio/pcmu"},"turn_detection":null}}}"#);
        let session = session.unwrap();
        assert_eq!((session.input_format(), session.output_format()), (Format::MuLaw, Format::Pcm));
        assert!(session.turn_detection().is_none() && !session.transcribes());
        assert!(Session::of_model("any").turn_detection().is_some());
        assert_eq!((session.voice(), session.speed()), (Some(&"alloy".into()), 1.0));
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let param = |text: &str| updated(text).unwrap_err().param;
        assert_eq!(param("{}"), "session.type");
        assert_eq!(param(r#"{"type":"transcription"}"#), "session.type");
        let session = |inner: &str| param(&format!(r#"{{"type":"realtime",{inner}}}"#));
        assert_eq!(session(r#""output_modalities":["text","audio"]"#), "session.output_modalities");
        assert_eq!(session(r#""max_output_tokens":0"#), "session.max_output_tokens");
        assert_eq!(session(r#""reasoning":{"effort":"none"}"#), "session.reasoning.effort");
        assert_eq!(session(r#""tool_choice":"perhaps""#), "session.tool_choice");
        let audio = |inner: &str| session(&format!(r#""audio":{{{inner}}}"#));
        assert_eq!(audio(r#""input":{"format":{"type":"audio/opus"}}"#), "session.audio.input.format.type");
        assert_eq!(
            audio(r#""output":{"format":{"type":"audio/pcm","rate":8000}}"#),
            "session.audio.output.format.rate"
        );
        assert_eq!(audio(r#""output":{"speed":9}"#), "session.audio.output.speed");
        assert_eq!(audio(r#""input":{"noise_reduction":{"type":"loud"}}"#), "session.audio.input.noise_reduction.type");
        for (detection, field) in [
            (r#""type":"server_vad","threshold":2"#, "threshold"),
            (r#""type":"server_vad","idle_timeout_ms":0"#, "idle_timeout_ms"),
            (r#""type":"server_vad","eagerness":"low""#, "eagerness"),
            (r#""type":"semantic_vad","eagerness":"soon""#, "eagerness"),
            (r#""type":"semantic_vad","silence_duration_ms":500"#, "silence_duration_ms"),
            (r#""type":"by_ear""#, "type"),
        ] {
            let at = audio(&format!(r#""input":{{"turn_detection":{{{detection}}}}}"#));
            assert_eq!(at, format!("session.audio.input.turn_detection.{field}"));
        }
    }
}
