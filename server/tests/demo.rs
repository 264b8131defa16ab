//! The demo as a user runs it: the shipped binary, its exit code, what it prints, and the files it leaves, read with
//! programs that others wrote.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a demo prints, that went well, and what it logs.
fn demo(model: &str, weights: &Path, out: &Path, log: Option<&str>) -> (Value, String) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_patchcord"));
    demo.args(["demo", "--json", "--model", model, "--out"]).arg(out).env("PATCHCORD_VOICE_MODELS", weights);
    match log {
        Some(mode) => demo.env("PATCHCORD_LOG", mode),
        None => demo.env_remove("PATCHCORD_LOG"),
    };
    let demo = demo.output().unwrap();
    let (printed, logged) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8(demo.stderr).unwrap());
    assert!(demo.status.success(), "{printed}\n{logged}");
    assert!(!logged.contains("WARN") && !logged.contains("ERROR"), "a good call has nothing to warn about: {logged}");
    (serde_json::from_str(&printed).unwrap(), logged)
}

/// What it says follows from what it hears: nobody tells it the caller's lines. It rings when it can be answered.
#[test]
#[cfg(feature = "voice")]
fn the_embedded_model_holds_the_call_too() {
    let named = std::env::var_os("PATCHCORD_VOICE_MODELS").map(std::path::PathBuf::from);
    let weights = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.voice-models"));
    if !voice::models::are_here(&weights) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "there are no weights in {}", weights.display());
        return println!("SKIPPED: no weights in {} (scripts/voice-models fetches them)", weights.display());
    }
    let out = tempfile::tempdir().unwrap();
    let (told, logged) = demo("local", &weights, out.path(), Some("minimal"));
    let place = |line: &str| logged.find(line).unwrap_or_else(|| panic!("{line:?} is not in {logged}"));
    assert!(place("the embedded model is loaded") < place("call announced"), "{logged}");
    let checks = told["checks"].as_array().unwrap();
    assert!(checks.len() == 6 && checks.iter().all(|check| check["ok"] == true), "{checks:#?}");
    let transcript = std::fs::read_to_string(out.path().join("transcript.txt")).unwrap().to_lowercase();
    assert!(transcript.contains("caller: go somewhere and do something"), "{transcript}");
    assert!(transcript.contains("agent: 10 meters forward"), "{transcript}");
}

#[test]
fn the_demo_holds_a_call_and_leaves_it_behind() {
    let out = tempfile::tempdir().unwrap();
    let (told, logged) = demo("fake", Path::new("none"), out.path(), None);
    assert_eq!(logged, "", "nobody asked for a log");
    let checks = told["checks"].as_array().unwrap();
    assert!(checks.len() >= 6 && checks.iter().all(|check| check["ok"] == true), "{checks:#?}");
    assert_eq!(told["call"]["ended_reason"], "goodbye");

    let left = |name: &str| out.path().join(name);
    let record: Value = serde_json::from_slice(&std::fs::read(left("call.json")).unwrap()).unwrap();
    assert_eq!(record, told["call"]);
    assert!(std::fs::read_to_string(left("transcript.txt")).unwrap().contains("Caller: go forward ten meters"));
    assert!(std::fs::read_to_string(left("call.svg")).unwrap().starts_with("<svg"));
    assert_eq!(std::fs::read(left("call.png")).unwrap()[..8], *b"\x89PNG\r\n\x1a\n");
    let names: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    others_can_read(&left("recording.wav"), record["recording"]["duration_ms"].as_u64().unwrap());
}

/// The programs that people open recordings with: `soxi` and `ffprobe`.
fn others_can_read(recording: &Path, duration_ms: u64) {
    let asked = |program: &str, args: &[&str]| match Command::new(program).args(args).arg(recording).output() {
        Ok(answer) => {
            assert!(answer.status.success(), "{program}: {}", String::from_utf8_lossy(&answer.stderr));
            Some(String::from_utf8(answer.stdout).unwrap().trim().to_owned())
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}");
            println!("SKIPPED: {program} is not installed");
            None
        }
    };
    for (option, expected) in [("-c", "2"), ("-r", "8000"), ("-e", "u-law")] {
        assert!(asked("soxi", &[option]).is_none_or(|said| said == expected), "soxi {option}");
    }
    if let Some(seconds) = asked("soxi", &["-D"]) {
        let millis = seconds.parse::<f64>().unwrap() * 1_000.0;
        assert!((millis - duration_ms as f64).abs() < 1.0, "soxi: {millis} ms, the record: {duration_ms} ms");
    }
    let stream = ["-v", "error", "-show_entries", "stream=codec_name,channels", "-of", "csv=p=0"];
    assert!(asked("ffprobe", &stream).is_none_or(|said| said == "pcm_mulaw,2"), "ffprobe");
}
