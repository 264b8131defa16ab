//! Conversations over flows, as texts: `scenes/*.txt`. A scene begins with `# what it shows`; then `caller:` says something,
//! `agent:` is what has to be answered, `calls:` is a tool with its arguments, `tool:` is what it gives. Each scene begins a
//! conversation over the flow beside it (the same name, `.toml`), on Wednesday, the 18th of November 2026. They go the same
//! with a reader of sentences, with word vectors and with neither.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};

use voice::dialogue::{Dialogue, Flow, HAND_OVER, Reply};
use voice::sentences::Sentences;
use voice::word_vectors::WordVectors;

fn play(flow: Flow, sentences: Option<&Mutex<Sentences>>, scenes: &str) {
    let flow = Arc::new(flow);
    let begin = || Dialogue::new(flow.clone(), "2026-11-18T10:00:00Z".parse().unwrap());
    let (mut dialogue, mut scene, mut answered) = (begin(), "", None);
    for line in scenes.lines().filter(|line| !line.trim().is_empty()) {
        let (who, text) = line.split_once(' ').unwrap();
        match who {
            "#" => {
                assert_eq!(answered, None, "{scene}: nobody expected that answer");
                (dialogue, scene) = (begin(), text);
            }
            "caller:" => {
                assert_eq!(answered, None, "{scene}: nobody expected that answer");
                let tools: &[&str] = if scene.starts_with("without tools") { &[] } else { &["book", HAND_OVER] };
                common::understanding::read(&mut dialogue, text, sentences);
                answered = Some(dialogue.reply(text, tools));
            }
            "tool:" => answered = Some(dialogue.tool_answered(text)),
            "agent:" => assert_eq!(answered.take(), Some(Reply::Say(text.to_owned())), "{scene}"),
            "calls:" => {
                let (name, arguments) = text.split_once(' ').unwrap();
                let call = Reply::Call { name: name.to_owned(), arguments: arguments.to_owned() };
                assert_eq!(answered.take(), Some(call), "{scene}");
            }
            other => panic!("{scene}: {other}"),
        }
    }
    assert_eq!(answered, None, "{scene}: nobody expected that answer");
}

#[test]
fn all_scenes_go_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let vectors = WordVectors::open(&common::folder()).unwrap();
    if vectors.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "scenes need the word vectors");
        println!("SKIPPED scenes with word vectors: they are not here (scripts/voice-models fetches them)");
    }
    let test = "all_scenes_go_as_they_are_written";
    let sentences = common::weights(test).and_then(|weights| common::sentences(&weights, test)).map(Mutex::new);
    let mut played = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let flow = std::fs::read_to_string(path.with_extension("toml")).unwrap();
            let flow = Flow::read(&flow).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            let scenes = std::fs::read_to_string(&path).unwrap();
            if let Some(vectors) = &vectors {
                play(flow.clone().with_word_vectors(vectors.clone()), None, &scenes);
            }
            if let Some(sentences) = &sentences {
                let read = flow.clone().with_sentences(|words| sentences.lock().unwrap().vector(words)).unwrap();
                play(read, Some(sentences), &scenes);
            }
            play(flow, None, &scenes);
            played += 1;
        }
    }
    assert!(played > 0);
}
