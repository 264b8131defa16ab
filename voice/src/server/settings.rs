//! A session's settings: what they are at first, what an update may change, and what it may not.

use call::g711;
use call::wire::openai::{AudioFormat, AudioSettings, InputAudio, OutputAudio, Session, TurnDetectionSettings};
use serde_json::Value;

use super::alaw;
use crate::detect::TurnSettings;
use crate::speak::Rate;

/// What is wrong with an update, and where.
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

impl Format {
    pub fn rate(self) -> Rate {
        match self {
            Format::MuLaw | Format::ALaw => Rate::Telephone,
            Format::Pcm => Rate::Wide,
        }
    }

    /// As the protocol names it.
    pub fn name(self) -> &'static str {
        match self {
            Format::MuLaw => "audio/pcmu",
            Format::ALaw => "audio/pcma",
            Format::Pcm => "audio/pcm",
        }
    }

    /// The samples (±1) of a client's bytes.
    pub fn read(self, bytes: &[u8]) -> Vec<f32> {
        let sample = |whole: i16| f32::from(whole) / 32_768.0;
        match self {
            Format::MuLaw => bytes.iter().map(|&byte| sample(g711::decode(byte))).collect(),
            Format::ALaw => bytes.iter().map(|&byte| sample(alaw::decode(byte))).collect(),
            Format::Pcm => bytes.as_chunks().0.iter().map(|&pair| sample(i16::from_le_bytes(pair))).collect(),
        }
    }

    /// Samples (±1) as the client wants them.
    pub fn write(self, samples: &[f32]) -> Vec<u8> {
        let whole = samples.iter().map(|sample| (sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16);
        match self {
            Format::MuLaw => whole.map(g711::encode).collect(),
            Format::ALaw => whole.map(alaw::encode).collect(),
            Format::Pcm => whole.flat_map(i16::to_le_bytes).collect(),
        }
    }
}

/// How a response is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Modality {
    Audio,
    Text,
}

/// The reference's defaults.
pub fn defaults(model: &str) -> Session {
    let pcm = || Some(AudioFormat { kind: "audio/pcm".into(), rate: Some(24_000) });
    Session {
        kind: Some("realtime".into()),
        model: Some(model.into()),
        output_modalities: Some(vec!["audio".into()]),
        instructions: Some(String::new()),
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
            output: Some(OutputAudio { format: pcm(), voice: Some("heart".into()), speed: Some(1.0) }),
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
/// If it names something that there is not. Then nothing was changed.
pub fn update(session: &mut Session, update: Session) -> Result<(), Refused> {
    check(&update)?;
    set(&mut session.output_modalities, update.output_modalities);
    set(&mut session.instructions, update.instructions);
    set(&mut session.prompt, update.prompt);
    set(&mut session.tools, update.tools);
    set(&mut session.tool_choice, update.tool_choice);
    set(&mut session.parallel_tool_calls, update.parallel_tool_calls);
    set(&mut session.reasoning, update.reasoning);
    set(&mut session.max_output_tokens, update.max_output_tokens);
    set(&mut session.truncation, update.truncation);
    set(&mut session.tracing, update.tracing);
    set(&mut session.include, update.include);
    let Some(audio) = update.audio else { return Ok(()) };
    let ours = session.audio.get_or_insert_default();
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

fn set<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

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
        modality_of(modalities, "session.output_modalities")?;
    }
    let Some(audio) = &update.audio else { return Ok(()) };
    if let Some(input) = &audio.input {
        check_format(input.format.as_ref(), "session.audio.input.format")?;
        if let Some(Some(detection)) = &input.turn_detection {
            check_detection(detection)?;
        }
    }
    if let Some(output) = &audio.output {
        check_format(output.format.as_ref(), "session.audio.output.format")?;
        if let Some(speed) = output.speed.filter(|speed| !(0.25..=1.5).contains(speed)) {
            return Err(invalid("session.audio.output.speed", &speed.to_string(), "0.25 to 1.5"));
        }
    }
    Ok(())
}

fn check_format(format: Option<&AudioFormat>, param: &str) -> Result<(), Refused> {
    let Some(format) = format else { return Ok(()) };
    match (format.kind.as_str(), format.rate) {
        ("audio/pcmu" | "audio/pcma", _) | ("audio/pcm", None | Some(24_000)) => Ok(()),
        ("audio/pcm", Some(rate)) => Err(invalid(&format!("{param}.rate"), &rate.to_string(), "24000")),
        (other, _) => Err(invalid(&format!("{param}.type"), other, "'audio/pcm', 'audio/pcmu', 'audio/pcma'")),
    }
}

fn check_detection(detection: &TurnDetectionSettings) -> Result<(), Refused> {
    let at = |field: &str| format!("session.audio.input.turn_detection.{field}");
    if !matches!(detection.kind.as_str(), "server_vad" | "semantic_vad") {
        return Err(invalid(&at("type"), &detection.kind, "'server_vad', 'semantic_vad'"));
    }
    if let Some(threshold) = detection.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
        return Err(invalid(&at("threshold"), &threshold.to_string(), "0 to 1"));
    }
    if let Some(idle_ms) = detection.idle_timeout_ms.flatten() {
        if detection.kind != "server_vad" {
            let param = at("idle_timeout_ms");
            return Err(Refused {
                code: "unknown_parameter",
                message: format!("Unknown parameter: '{param}'."),
                param,
            });
        }
        if idle_ms == 0 {
            return Err(invalid(&at("idle_timeout_ms"), "0", "more than 0"));
        }
    }
    match detection.eagerness.as_deref() {
        None | Some("low" | "medium" | "high" | "auto") => Ok(()),
        Some(other) => Err(invalid(&at("eagerness"), other, "'low', 'medium', 'high', 'auto'")),
    }
}

fn invalid(param: &str, value: &str, expected: &str) -> Refused {
    Refused {
        code: "invalid_value",
        message: format!("Invalid value: '{value}'. Supported values are: {expected}."),
        param: param.into(),
    }
}

fn input(session: &Session) -> Option<&InputAudio> {
    session.audio.as_ref()?.input.as_ref()
}

fn output(session: &Session) -> Option<&OutputAudio> {
    session.audio.as_ref()?.output.as_ref()
}

fn format(format: Option<&AudioFormat>) -> Format {
    match format.map(|format| format.kind.as_str()) {
        Some("audio/pcmu") => Format::MuLaw,
        Some("audio/pcma") => Format::ALaw,
        _ => Format::Pcm,
    }
}

pub fn input_format(session: &Session) -> Format {
    format(input(session).and_then(|input| input.format.as_ref()))
}

pub fn output_format(session: &Session) -> Format {
    format(output(session).and_then(|output| output.format.as_ref()))
}

/// How these modalities want a response given.
///
/// # Errors
/// If they are neither audio alone nor text alone.
pub fn modality_of(modalities: &[String], param: &str) -> Result<Modality, Refused> {
    match modalities {
        [one] if one == "audio" => Ok(Modality::Audio),
        [one] if one == "text" => Ok(Modality::Text),
        _ => Err(invalid(param, &format!("{modalities:?}"), "['audio'], ['text']")),
    }
}

/// How responses are given that say nothing of it.
pub fn modality(session: &Session) -> Modality {
    let modalities = session.output_modalities.as_deref().unwrap_or_default();
    modality_of(modalities, "").unwrap_or(Modality::Audio)
}

/// How turns are detected. `None`: by the client's commit.
pub fn turn_detection(session: &Session) -> Option<&TurnDetectionSettings> {
    input(session)?.turn_detection.as_ref()?.as_ref()
}

pub fn transcribes(session: &Session) -> bool {
    input(session).is_some_and(|input| matches!(input.transcription, Some(Some(_))))
}

pub fn speed(session: &Session) -> f32 {
    output(session).and_then(|output| output.speed).unwrap_or(1.0) as f32
}

pub fn voice(session: &Session) -> Option<&Value> {
    output(session)?.voice.as_ref()
}

pub fn turn_settings(detection: &TurnDetectionSettings) -> TurnSettings {
    let silence_ms = match (detection.kind.as_str(), detection.eagerness.as_deref()) {
        // It would wait for the sense of what is said; here it waits longer or shorter.
        ("semantic_vad", Some("low")) => 1_200,
        ("semantic_vad", Some("high")) => 350,
        ("semantic_vad", _) => 700,
        _ => detection.silence_duration_ms.unwrap_or(500),
    };
    TurnSettings { threshold: detection.threshold.unwrap_or(0.5) as f32, silence: u64::from(silence_ms) * 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(text: &str) -> Result<Session, Refused> {
        let mut session = defaults("any");
        update(&mut session, serde_json::from_str(text).unwrap())?;
        Ok(session)
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let session =
            updated(r#"{"type":"realtime","audio":{"input":{"format":{"type":"audio/pcmu"},"turn_detection":null}}}"#);
        let session = session.unwrap();
        assert_eq!((input_format(&session), output_format(&session)), (Format::MuLaw, Format::Pcm));
        assert!(turn_detection(&session).is_none() && !transcribes(&session));
        assert!(turn_detection(&defaults("any")).is_some());
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let param = |text: &str| updated(text).unwrap_err().param;
        assert_eq!(param("{}"), "session.type");
        assert_eq!(param(r#"{"type":"transcription"}"#), "session.type");
        assert_eq!(param(r#"{"type":"realtime","output_modalities":["text","audio"]}"#), "session.output_modalities");
        let audio = |inner: &str| param(&format!(r#"{{"type":"realtime","audio":{{{inner}}}}}"#));
        assert_eq!(audio(r#""input":{"format":{"type":"audio/opus"}}"#), "session.audio.input.format.type");
        assert_eq!(
            audio(r#""output":{"format":{"type":"audio/pcm","rate":8000}}"#),
            "session.audio.output.format.rate"
        );
        assert_eq!(audio(r#""output":{"speed":9}"#), "session.audio.output.speed");
        assert_eq!(
            audio(r#""input":{"turn_detection":{"type":"server_vad","threshold":2}}"#),
            "session.audio.input.turn_detection.threshold"
        );
    }
}
