//! A session's settings: the server's defaults, what it refuses, and how an update changes them.

use call::wire::openai::{AudioFormat, AudioSettings, InputAudio, OutputAudio, Session, TurnDetectionSettings};
use serde_json::Value;

use super::vad::VadSettings;

/// What is wrong with an update, and where.
pub struct Refused {
    pub code: &'static str,
    pub message: String,
    pub param: String,
}

/// A new session's settings.
pub fn defaults(model: &str) -> Session {
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
pub fn update(session: &mut Session, update: Session) {
    fn set<T>(old: &mut Option<T>, new: Option<T>) {
        if new.is_some() {
            *old = new;
        }
    }
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
    let new = update.audio.unwrap_or_default();
    let audio = session.audio.get_or_insert_default();
    let (input, output) = (audio.input.get_or_insert_default(), audio.output.get_or_insert_default());
    let (new_input, new_output) = (new.input.unwrap_or_default(), new.output.unwrap_or_default());
    set(&mut input.format, new_input.format);
    set(&mut input.noise_reduction, new_input.noise_reduction);
    set(&mut input.transcription, new_input.transcription);
    set(&mut input.turn_detection, new_input.turn_detection);
    set(&mut output.format, new_output.format);
    set(&mut output.voice, new_output.voice);
    set(&mut output.speed, new_output.speed);
}

/// Checks the values of an update as far as the reference states their range. One wrong value refuses it all.
pub fn check(update: &Session) -> Result<(), Refused> {
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
        let allowed = matches!(modalities.as_slice(), [one] if one == "audio" || one == "text");
        ensure(allowed, "session.output_modalities", &format!("{modalities:?}"), "['audio'] or ['text']")?;
    }
    if let Some(tokens) = &update.max_output_tokens {
        let allowed = tokens == "inf" || tokens.as_u64().is_some_and(|tokens| (1..=4_096).contains(&tokens));
        ensure(allowed, "session.max_output_tokens", &tokens.to_string(), "1 to 4096 or 'inf'")?;
    }
    if let Some(effort) = update.reasoning.iter().flatten().find_map(|reasoning| reasoning.effort.as_deref()) {
        one_of(effort, "session.reasoning.effort", &["minimal", "low", "medium", "high", "xhigh"])?;
    }
    if let Some(Value::String(choice)) = &update.tool_choice {
        one_of(choice, "session.tool_choice", &["none", "auto", "required"])?;
    }
    let audio = update.audio.as_ref();
    if let Some(input) = audio.and_then(|audio| audio.input.as_ref()) {
        check_input(input)?;
    }
    if let Some(output) = audio.and_then(|audio| audio.output.as_ref()) {
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
    if let Some(threshold) = detection.threshold {
        ensure((0.0..=1.0).contains(&threshold), &at("threshold"), &threshold.to_string(), "0 to 1")?;
    }
    if let Some(eagerness) = &detection.eagerness {
        one_of(eagerness, &at("eagerness"), &["low", "medium", "high", "auto"])?;
    }
    for (field, there, belongs) in [
        ("threshold", detection.threshold.is_some(), !semantic),
        ("prefix_padding_ms", detection.prefix_padding_ms.is_some(), !semantic),
        ("silence_duration_ms", detection.silence_duration_ms.is_some(), !semantic),
        ("idle_timeout_ms", detection.idle_timeout_ms.is_some(), !semantic),
        ("eagerness", detection.eagerness.is_some(), semantic),
    ] {
        if there && !belongs {
            let param = at(field);
            return Err(Refused {
                code: "unknown_parameter",
                message: format!("Unknown parameter: '{param}'."),
                param,
            });
        }
    }
    Ok(())
}

fn check_format(format: Option<&AudioFormat>, param: &str) -> Result<(), Refused> {
    let Some(format) = format else { return Ok(()) };
    // A-law is documented too; nobody here speaks it.
    one_of(&format.kind, &format!("{param}.type"), &["audio/pcm", "audio/pcmu"])?;
    let rate = format.rate.unwrap_or(24_000);
    ensure(format.kind != "audio/pcm" || rate == 24_000, &format!("{param}.rate"), &rate.to_string(), "24000")
}

fn one_of(value: &str, param: &str, allowed: &[&str]) -> Result<(), Refused> {
    ensure(allowed.contains(&value), param, value, &allowed.join(", "))
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

fn input(session: &Session) -> Option<&InputAudio> {
    session.audio.as_ref()?.input.as_ref()
}

/// How turns are detected. `None`: by the client's commit.
pub fn turn_detection(session: &Session) -> Option<&TurnDetectionSettings> {
    input(session)?.turn_detection.as_ref()?.as_ref()
}

pub fn transcribes(session: &Session) -> bool {
    input(session).is_some_and(|input| matches!(input.transcription, Some(Some(_))))
}

pub fn hears_mulaw(session: &Session) -> bool {
    is_mulaw(input(session).and_then(|input| input.format.as_ref()))
}

pub fn speaks_mulaw(session: &Session) -> bool {
    is_mulaw(session.audio.as_ref().and_then(|audio| audio.output.as_ref()?.format.as_ref()))
}

fn is_mulaw(format: Option<&AudioFormat>) -> bool {
    format.is_some_and(|format| format.kind == "audio/pcmu")
}

pub fn voice(session: &Session) -> Option<&Value> {
    session.audio.as_ref()?.output.as_ref()?.voice.as_ref()
}

pub fn vad(detection: &TurnDetectionSettings) -> VadSettings {
    let silence_ms = match detection.kind.as_str() {
        // It would wait for the sense of what is said; here it waits longer or shorter.
        "semantic_vad" => match detection.eagerness.as_deref() {
            Some("low") => 1_200,
            Some("high") => 300,
            _ => 600,
        },
        _ => detection.silence_duration_ms.unwrap_or(500),
    };
    VadSettings::new(detection.threshold.unwrap_or(0.5), silence_ms)
}
