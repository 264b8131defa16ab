//! Mistakes in the configuration: all of them, each with its place and what to do.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use call::config::Keys;
use call::farewell::Language;
use call::wire::openai::{Eagerness, NoiseReduction, TurnDetection};
use patchcord::agent::Provider;
use patchcord::config::{Config, Mistakes, Verify};
use patchcord::init;

const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATCHCORD_PUBLIC_URL", "https://calls.example.org"),
    ("OPENAI_API_KEY", "sk-test"),
    ("TWILIO_ACCOUNT_SID", "AC1"),
    ("TWILIO_AUTH_TOKEN", "secret-token"),
];

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let find = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::parse(text, &find)
}

fn mistakes(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    read(text, environment).expect_err("there are mistakes").0
}

#[track_caller]
fn assert_mistakes(text: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let found = mistakes(text, environment);
    for part in expected {
        assert!(found.iter().any(|mistake| mistake.contains(part)), "no `{part}` in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn an_empty_file_has_one_agent_that_answers_everything() {
    let config = read("", &ENVIRONMENT).unwrap();
    assert_eq!(config.agents.len(), 1);
    assert_eq!(config.agent_for("+15005550006").map(|agent| agent.name.as_str()), Some("default"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.max_calls, config.twilio.verify), (100, Verify::Always));
}

#[test]
fn a_whole_agent_is_read() {
    let text = r#"
        max_calls = 7
        [twilio]
        verify = "unless-loopback"
        [agents.front-desk]
        numbers      = ["+15005550006"]
        instructions = "You answer the phone for a bike shop."
        greeting     = "Hello, Spokes and Chain, how can I help?"
        language     = "en"
        model        = { provider = "openai", name = "gpt-realtime-2.1", voice = "cedar" }
        hold         = false
        silence_max_ms = 0
        call_max_ms  = 60000
        carrier_recording = true
        [[agents.front-desk.tools]]
        name = "book"
        description = "Books a repair"
        url = "http://127.0.0.1:9/book"
        parameters = { type = "object", properties = { day = { type = "string" } }, required = ["day"] }
    "#;
    let config = read(text, &ENVIRONMENT).unwrap();
    let agent = config.agent_for("+15005550006").unwrap();
    assert_eq!((agent.model.provider, agent.model.voice.as_str()), (Provider::OpenAi, "cedar"));
    assert_eq!(agent.tools[0].parameters["properties"]["day"]["type"], "string");
    assert!(config.agent_for("+15005550007").is_none());
    let call = agent.call_config();
    assert_eq!(call.greeting.as_deref(), Some("Hello, Spokes and Chain, how can I help?"));
    assert_eq!((call.hold, call.silence_max, call.carrier_recording), (false, None, true));
    assert_eq!(call.call_max, Duration::from_secs(60));
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = [&ENVIRONMENT[..], &[("PATCHCORD_LISTEN", "127.0.0.1:1"), ("PATCHCORD_DATA", "/d")]].concat();
    let config = read("listen = \"127.0.0.1:2\"\ndata = \"/e\"", &environment).unwrap();
    assert_eq!((config.listen.port(), config.data.to_str()), (1, Some("/d")));
}

#[test]
fn unknown_keys_and_wrong_values_are_reported_together_each_with_its_line() {
    let text = r#"max_cals = 3
hold_max_ms = 900
[twilio]
verify = "sometimes"
auth_token = "0123"
[defaults]
numbers = ["+15005550006"]
[agents.a]
default = true
instrutcions = "x"
hold = "yes"
hold_max = 7
hold_max_ms = 99
model = { voise = "marin" }
[agents.b]
numbers = [5]
shutdown_max_ms = 3
vad_threshold = 2
"#;
    let expected = [
        "patchcord.toml:1: max_cals: no such key; did you mean `max_calls`?",
        "patchcord.toml:2: hold_max_ms: belongs in [defaults], for all agents, or in the table of one, [agents.NAME]",
        "patchcord.toml:4: twilio.verify: `sometimes` is not \"always\" or \"unless-loopback\"",
        "patchcord.toml:5: twilio.auth_token: no such key; secrets are only taken from the environment",
        "patchcord.toml:7: defaults.numbers: belongs in the table of an agent",
        "patchcord.toml:10: agents.a.instrutcions: no such key; did you mean `instructions`?",
        "patchcord.toml:11: agents.a.hold: `yes` is not true or false",
        "patchcord.toml:12: agents.a.hold_max: no such key; did you mean `hold_max_ms`?",
        "patchcord.toml:13: agents.a.hold_max_ms: `99` is not a whole number from 100 to 10000 ms",
        "patchcord.toml:14: agents.a.model.voise: no such key; did you mean `voice`?",
        "patchcord.toml:15: agents.b: answers nothing",
        "patchcord.toml:16: agents.b.numbers[0]: `5` is not text in quotes",
        "patchcord.toml:17: agents.b.shutdown_max_ms: belongs at the top of the file",
        "patchcord.toml:18: agents.b.vad_threshold: `2` is not a number from 0 to 1",
    ];
    let found = mistakes(text, &ENVIRONMENT);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_only_shows_together_is_reported_too() {
    let text = r#"
        max_calls = 0
        [agents.a]
        default = true
        numbers = ["+15005550006", "5550006"]
        language = "tlh"
        [agents.b]
        default = true
        numbers = ["+15005550006"]
        model = { flow = "f.toml" }
        tools = [{ name = "book", url = "ftp://x" }]
    "#;
    let expected = [
        ":2: max_calls: `0` is not a whole number from 1",
        ":5: agents.a.numbers[1]: `5550006` is not like",
        ":6: agents.a.language: `tlh` is not known",
        ":8: agents.b.default: `a` has it already",
        ":9: agents.b.numbers[0]: +15005550006 is answered by `a` already",
        ":10: agents.b.model.flow: is for the embedded model only",
        ":11: agents.b.tools[0]: `description` is missing",
        ":11: agents.b.tools[0].url: `ftp://x` is not a URL",
    ];
    assert_mistakes(text, &ENVIRONMENT, &expected);
}

#[test]
fn t1_a_model_that_owns_its_turns_goes_with_neither_holds_nor_a_protected_greeting() {
    let text = "[agents.a]\ndefault = true\nturns = \"model\"\nprotect_greeting = \"all\"";
    assert_mistakes(
        text,
        &ENVIRONMENT,
        &[":1: agents.a.hold: with turns", ":4: agents.a.protect_greeting: with turns"],
    );
    let text = "[agents.a]\ndefault = true\nturns = \"model\"\nhold = false";
    assert!(read(text, &ENVIRONMENT).is_ok());
}

#[test]
fn a_message_is_not_longer_than_what_may_lie_at_the_carrier() {
    assert_mistakes(
        "[defaults]\nlead_ms = 40\ngroup_frames = 3",
        &ENVIRONMENT,
        &[":3: defaults.group_frames: messages of 60ms do not fit"],
    );
    assert!(read("[defaults]\nlead_ms = 60\ngroup_frames = 3", &ENVIRONMENT).is_ok());
    // A lead of nothing is allowed (A3).
    assert!(read("[defaults]\nlead_ms = 0", &ENVIRONMENT).is_ok());
}

#[test]
fn a_response_outlasts_its_audio() {
    let text = "[defaults]\nresponse_audio_max_ms = 400000";
    assert_mistakes(text, &ENVIRONMENT, &["defaults.response_max_ms: 330s is shorter than response_audio_max"]);
}

#[test]
fn what_all_agents_have_is_said_once_and_one_of_them_may_say_otherwise() {
    let text = r#"
        [defaults]
        hold_max_ms = 900
        silence_max_ms = 0
        clips = { filler = "no-such-file.wav" }
        turns = "model"
        [agents.a]
        numbers = ["+15005550001"]
        hold = false
        [agents.b]
        numbers = ["+15005550002"]
        hold_max_ms = 800
    "#;
    // Neither the file that is missing nor the combination is told again for each agent.
    assert_mistakes(
        text,
        &ENVIRONMENT,
        &[":5: defaults.clips.filler: no-such-file.wav: ", ":2: defaults.hold: with turns"],
    );

    let text = "[defaults]\nhold_max_ms = 900\n[agents.a]\ndefault = true\n[agents.b]\nnumbers = [\"sip:b\"]\nhold_max_ms = 800";
    let config = read(text, &ENVIRONMENT).unwrap();
    let hold_max: Vec<_> = config.agents.iter().map(|agent| agent.call_config().hold_max.as_millis()).collect();
    assert_eq!(hold_max, [900, 800]);
    // Without any agent, the one that there is has them.
    let config = read("[defaults]\nhold_max_ms = 900", &ENVIRONMENT).unwrap();
    assert_eq!(config.agents[0].call_config().hold_max.as_millis(), 900);
}

/// Breaks when a filter that does nothing is taken without a word, or one that is set reaches no call.
#[test]
fn o3_filters_are_off_in_simple_mode_and_say_so() {
    let text = "[defaults]\nlocal_ears = true\naudio_guard = true\nmusic_mode = true\nnoise_gate_min_frames = 3";
    let expected = ["local_ears: does nothing", "audio_guard: does", "music_mode: does", "noise_gate_min_frames: does"];
    assert_mistakes(text, &ENVIRONMENT, &expected);
    assert!(read("[defaults]\nsimple_mode = true\nnoise_gate_min_frames = 0", &ENVIRONMENT).is_ok());
    let agent = &read(&text.replace("]", "]\nsimple_mode = false"), &ENVIRONMENT).unwrap().agents[0];
    let call = agent.call_config();
    assert!(call.ears_hold && call.audio_guard);
    let audio = agent.audio.to_string();
    assert!(audio.contains("noise_gate_min_frames=3 local_ears=true echo_gate=true ears_threshold=0.5"), "{audio}");
    // What our own ears have nothing to do with.
    let text = "[defaults]\nsimple_mode = false\nmusic_mode = true";
    assert_mistakes(text, &ENVIRONMENT, &["music_mode: tells our own ears what to expect"]);
    let text = "[defaults]\nsimple_mode = false\nlocal_ears = true\nhold = false";
    assert_mistakes(text, &ENVIRONMENT, &["local_ears: opens holds"]);
}

#[test]
fn n10_keys_are_single_or_collected() {
    let read =
        |keys: &str| read(&format!("[defaults]\nkeys = {keys}"), &ENVIRONMENT).unwrap().agents[0].call_config().keys;
    assert_eq!(read("\"single\""), Keys::Single);
    let collected =
        |terminator, length, pause| Keys::Collect { terminator, length, pause: Duration::from_millis(pause) };
    assert_eq!(read("{ terminator = \"#\", pause_ms = 500 }"), collected(Some('#'), None, 500));
    assert_eq!(read("{ length = 4 }"), collected(None, Some(4), 3_000));
    assert_mistakes(
        "[defaults]\nkeys = { terminator = \"##\" }",
        &ENVIRONMENT,
        &["keys.terminator: has to be one key"],
    );
    assert_mistakes("[defaults]\nkeys = \"many\"", &ENVIRONMENT, &["`many` is not \"single\" or { terminator"]);
}

#[test]
fn the_model_is_configured_as_the_agent_is() {
    let text = r#"
        [defaults]
        vad = "semantic"
        vad_eagerness = "high"
        model = { speed = 1, noise_reduction = "far_field", reasoning_effort = "low", max_output_tokens = 100 }
        language = "he"
        farewell_languages = ["he", "en"]
    "#;
    let agent = &read(text, &ENVIRONMENT).unwrap().agents[0];
    let session = agent.session();
    assert_eq!(session.turn_detection, TurnDetection::SemanticVad { eagerness: Eagerness::High });
    assert_eq!((session.speed, session.noise_reduction), (Some(1.0), Some(NoiseReduction::FarField)));
    assert_eq!((session.reasoning_effort.as_deref(), session.max_output_tokens), (Some("low"), Some(100)));
    assert_eq!(agent.call_config().languages, [Language::HEBREW, Language::ENGLISH]);

    // What the detector adds to speech is known to the model and to the call as the same (B4).
    let agent = &read("[defaults]\nvad_prefix_ms = 200\nvad_silence_ms = 700", &ENVIRONMENT).unwrap().agents[0];
    let expected = TurnDetection::ServerVad { threshold: 0.5, prefix_padding_ms: 200, silence_duration_ms: 700 };
    assert_eq!(agent.session().turn_detection, expected);
    let call = agent.call_config();
    assert_eq!((call.vad_prefix.as_millis(), call.vad_silence.as_millis()), (200, 700));
}

#[test]
fn n4_clips_are_files_of_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, coding: u16, rate: u32, data: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, wav(coding, rate, data)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wait = file("wait.wav", 7, 8_000, &[0x11; 800]);
    let text = format!("[defaults]\nclips.filler = '{wait}'");
    let agent = &read(&text, &ENVIRONMENT).unwrap().agents[0];
    assert_eq!(agent.clips.filler[..], [0x11; 800]);
    // The other is a sound all the same.
    assert!(!agent.clips.apology.is_empty());

    let float = file("float.wav", 3, 8_000, &[0; 800]);
    let long = file("long.wav", 7, 8_000, &[0x11; 240_001]);
    let text = format!("[defaults]\nclips = {{ filler = '{float}', apology = '{long}' }}");
    assert_mistakes(
        &text,
        &ENVIRONMENT,
        &["needed is a WAV file of 16-bit PCM or µ-law", "longer than 30 s; shorten it"],
    );
}

fn wav(coding: u16, rate: u32, data: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut format = Vec::new();
    format.extend([coding.to_le_bytes(), 1u16.to_le_bytes()].concat());
    format.extend([rate.to_le_bytes(), rate.to_le_bytes()].concat());
    format.extend([1u16.to_le_bytes(), 8u16.to_le_bytes()].concat());
    [&b"RIFF\0\0\0\0WAVEfmt "[..], &length(format.len()), &format, b"data", &length(data.len()), data].concat()
}

#[test]
fn n12_every_setting_of_an_agent_does_something_and_every_limit_of_a_call_is_one() {
    /// What is no number, and something other than its default.
    const OTHERS: [(&str, &str); 36] = [
        ("instructions", "\"Be brief.\""),
        ("greeting", "\"Hello.\""),
        ("protect_greeting", "{ first_ms = 700 }"),
        ("language", "\"de-AT\""),
        ("farewell_languages", "[\"fr\"]"),
        ("model.provider", "\"local\""),
        ("model.flow", "\"f.toml\"\nmodel.provider = \"local\""),
        ("model.chat.url", "\"http://127.0.0.1:9/\"\nmodel.chat.model = \"m\"\nmodel.provider = \"local\""),
        ("model.chat.model", "\"m\"\nmodel.chat.url = \"http://127.0.0.1:9/\"\nmodel.provider = \"local\""),
        (
            "model.chat.key_env",
            "\"TWILIO_AUTH_TOKEN\"\nmodel.chat.model = \"m\"\nmodel.chat.url = \"http://127.0.0.1:9/\"\nmodel.provider = \"local\"",
        ),
        ("model.name", "\"m\""),
        ("model.voice", "\"v\""),
        ("model.transcription", "\"t\""),
        ("model.speed", "0.5"),
        ("model.reasoning_effort", "\"low\""),
        ("model.noise_reduction", "\"near_field\""),
        ("recording", "false"),
        ("carrier_recording", "true"),
        ("trace", "\"off\""),
        ("turns", "\"model\"\nhold = false"),
        ("hold", "false"),
        ("keys", "{ length = 4 }"),
        ("vad", "\"semantic\""),
        ("vad_threshold", "0.75"),
        ("vad_eagerness", "\"high\"\nvad = \"semantic\""),
        ("simple_mode", "false"),
        ("local_ears", "true\nsimple_mode = false"),
        ("echo_gate", "false"),
        ("ears_threshold", "0.25"),
        ("audio_guard", "true\nsimple_mode = false"),
        ("music_mode", "true\nlocal_ears = true\nsimple_mode = false"),
        ("noise_gate_min_frames", "3\nsimple_mode = false"),
        ("noise_gate_dbfs", "-60"),
        ("clips.filler", ""),
        ("clips.apology", ""),
        ("default", ""),
    ];
    let config = |text: &str| {
        let agent = read(&format!("[defaults]\n{text}"), &ENVIRONMENT).ok()?.agents.remove(0);
        let call = serde_json::to_value(agent.call_config()).unwrap();
        Some((format!("{agent:?} {:?}", agent.session()), call))
    };
    let (as_is, call) = config("").unwrap();
    let mut changed = BTreeSet::new();
    let reference = patchcord::config::reference();
    let agents = reference.split("\n## Agents\n").nth(1).unwrap().split("\n### Only in").next().unwrap();
    let mut count = 0;
    for row in agents.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (key, form) = (cells[0].trim_matches(['|', ' ', '`']), cells[2]);
        if form == "nothing else" {
            continue;
        }
        count += 1;
        let numbers: Vec<&str> = form.split(' ').filter(|word| word.parse::<u64>().is_ok()).collect();
        let values = match OTHERS.iter().find(|(other, _)| *other == key) {
            Some((_, "")) => continue,
            Some((_, value)) => vec![*value],
            None => numbers,
        };
        let mut different = values.iter().filter_map(|value| config(&format!("{key} = {value}")));
        let (_, now) = different.find(|(agent, _)| *agent != as_is).unwrap_or_else(|| panic!("{key} does nothing"));
        let fields = call.as_object().unwrap().iter().filter(|(field, value)| now[field] != **value);
        changed.extend(fields.map(|(field, _)| field.clone()));
    }
    assert!(count > 60, "{count}");
    let all: BTreeSet<String> = call.as_object().unwrap().keys().cloned().collect();
    let not: Vec<&str> = all.difference(&changed).map(String::as_str).collect();
    // Abilities are the model's, the clips' lengths come of the clips, and what is done about a machine is said with each
    // call that is placed.
    assert_eq!(not, ["abilities", "clips", "on_machine"]);
}

#[test]
#[cfg(feature = "voice")]
fn a_chat_server_is_named_whole_and_its_key_is_taken_from_the_environment() {
    let chat = r#"
        [agents.a]
        default = true
        model = { provider = "local", chat.url = "https://chat.example.org/v1/chat/completions", chat.model = "m", chat.key_env = "MY_KEY" }
    "#;
    let with_key = [&ENVIRONMENT[..], &[("MY_KEY", "sk-chat")]].concat();
    let model = read(chat, &with_key).unwrap().agents.remove(0).model;
    assert_eq!(
        (model.chat.model.as_deref(), model.chat.key.as_ref().unwrap().variable.as_str()),
        (Some("m"), "MY_KEY")
    );
    assert!(!format!("{model:?}").contains("sk-chat"));
    let expected = ["MY_KEY is not set; set it, or MY_KEY_FILE"];
    assert_mistakes(chat, &ENVIRONMENT, &expected);
    // A key that was put there itself is not repeated.
    let found = mistakes(&chat.replace("MY_KEY", "sk-0123"), &ENVIRONMENT);
    assert!(found[0].contains("is not the name of an environment variable") && !found[0].contains("0123"), "{found:?}");
    let text = r#"
        [agents.a]
        default = true
        model = { chat.url = "http://127.0.0.1:9/", flow = "f.toml", chat.silence_max_ms = 8000 }

        [agents.b]
        numbers = ["+15005550006"]
        model = { provider = "local", chat.model = "m" }

        [agents.c]
        numbers = ["+15005550007"]
        model = { provider = "local", chat.url = "ftp://127.0.0.1/", chat.model = "m" }
    "#;
    let expected = [
        "model.flow: is for the embedded model only",
        "model.chat.url: is heard and spoken by the embedded model; set provider",
        "model.flow: and model.chat would both decide",
        "model.chat.model: missing",
        "model.chat.silence_max_ms: has to be less than first_audio_timeout_ms",
        "agents.b.model.chat.url: missing",
        "agents.c.model.chat.url: `ftp://127.0.0.1/` is not a URL that begins with http:// or https://",
        "agents.c.model.chat.url: missing",
    ];
    assert_mistakes(text, &ENVIRONMENT, &expected);
}

#[test]
fn two_tools_of_one_name_are_one_too_many() {
    let text = r#"
        [agents.a]
        default = true
        tools = [
            { name = "end_call", description = "Ours", url = "http://127.0.0.1:9/" },
            { name = "book", description = "Books", url = "http://127.0.0.1:9/" },
            { name = "book", description = "Books", url = "http://127.0.0.1:9/" },
        ]
    "#;
    assert_mistakes(text, &ENVIRONMENT, &["there is a `end_call` already", "there is a `book` already"]);
}

#[test]
fn missing_accounts_say_what_to_set() {
    let expected = ["public_url: missing", "TWILIO_AUTH_TOKEN: not set", "OPENAI_API_KEY: not set"];
    let vendors = "listen = \"0.0.0.0:80\"\ndefaults.model.provider = \"openai\"";
    assert_mistakes(vendors, &[], &expected);
    let local = [("OPENAI_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")];
    assert!(read("twilio = { verify = \"unless-loopback\" }", &local).is_ok());
}

#[test]
#[cfg(feature = "voice")]
fn without_a_key_agents_use_the_embedded_model() {
    let provider = |environment: &[(&str, &str)]| {
        let config = read("twilio = { verify = \"unless-loopback\" }", environment).unwrap();
        config.agents[0].model.provider
    };
    assert_eq!(provider(&[]), Provider::Local);
    assert_eq!(provider(&[("OPENAI_API_KEY", "sk-test")]), Provider::OpenAi);
    // A server of one's own may want none.
    assert_eq!(provider(&[("OPENAI_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")]), Provider::OpenAi);
}

#[test]
fn urls_are_checked() {
    let environment = [
        ("PATCHCORD_PUBLIC_URL", "https://calls.example.org/path"),
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_REALTIME_URL", "https://api.example.org"),
        ("TWILIO_API_URL", "user:hunter2@nowhere"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("TWILIO_AUTH_TOKEN", "secret-token"),
        ("PATCHCORD_LISTEN", "8080"),
    ];
    let expected = [
        "public_url: only scheme, host and port",
        "OPENAI_REALTIME_URL: `https://api.example.org` is not a URL that begins with ws:// or wss://",
        // There may be a password in it.
        "TWILIO_API_URL: what is given is not a URL",
        "PATCHCORD_LISTEN: `8080` is not an address",
    ];
    assert_mistakes("", &environment, &expected);
}

#[test]
fn secrets_come_from_files_too_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-from-file\n").unwrap();
    let file = file.to_str().unwrap();
    let others = [ENVIRONMENT[0], ENVIRONMENT[2], ENVIRONMENT[3]];

    let config = read("", &[&others[..], &[("OPENAI_API_KEY_FILE", file)]].concat()).unwrap();
    assert!(config.openai.key.is_some());
    let shown = format!("{config:?}");
    assert!(!shown.contains("sk-from-file") && !shown.contains("secret-token"), "{shown}");

    let both = [&ENVIRONMENT[..], &[("OPENAI_API_KEY_FILE", file)]].concat();
    assert_mistakes("", &both, &["OPENAI_API_KEY and OPENAI_API_KEY_FILE are both set"]);
}

#[test]
fn what_is_not_toml_is_shown_where_and_hides_nothing_else() {
    let found = mistakes("listen = \n[twilio]\nverify = \"never\"\nverify = sk-secret\n", &ENVIRONMENT);
    assert!(found[0].starts_with("patchcord.toml:1: not TOML: "), "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.starts_with("patchcord.toml:3: twilio.verify: ")), "{found:#?}");
    assert!(!found.iter().any(|mistake| mistake.contains("sk-secret")), "{found:#?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let found = Config::load(Some(Path::new("no/such.toml")), &|_| None).unwrap_err().0;
    assert!(
        found[0].starts_with("no/such.toml: ") && found[0].ends_with("give another with --config FILE"),
        "{found:?}"
    );
}

#[test]
fn the_file_that_init_writes_is_one_agent_that_answers_everything() {
    let folder = tempfile::tempdir().unwrap();
    let args = init::Args { out: folder.path().join("patchcord.toml"), reference: false };
    init::run(&args).unwrap();
    let find = |name: &str| ENVIRONMENT.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let config = Config::load(Some(&args.out), &find).unwrap();
    let agent = config.agent_for("+15005550006").unwrap();
    assert_eq!((agent.name.as_str(), agent.greeting.is_some()), ("front-desk", true));

    // Another time it is left alone.
    std::fs::write(&args.out, "mine").unwrap();
    let refused = init::run(&args).unwrap_err().to_string();
    assert!(refused.contains("is there already"), "{refused}");
    assert_eq!(std::fs::read_to_string(&args.out).unwrap(), "mine");
}

#[test]
fn what_the_file_that_init_writes_has_commented_out_is_right_too() {
    let starter = patchcord::config::starter();
    let uncommented: String = starter
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ") && !line.contains(". ")).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(starter, uncommented);
    let config = read(&uncommented, &ENVIRONMENT[1..]).unwrap();
    assert_eq!(config.agents[0].numbers, ["+15005550006"]);
    assert_eq!(config.public_url.unwrap().as_str(), "https://calls.example.org/");
}

#[test]
fn the_reference_in_the_repository_is_the_one_of_this_build() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let there = std::fs::read_to_string(path).unwrap();
    assert!(
        there == patchcord::config::reference(),
        "docs/configuration.md is stale; renew it: cargo run -- init --reference > docs/configuration.md"
    );
}

#[test]
fn the_carriers_keys_come_from_the_environment() {
    let keys = [("TWILIO_SHARED_KEYS", "webhooks_sharedkey_a=s3cret=, webhooks_sharedkey_b=other")];
    let api = [("TWILIO_API_KEY_SID", "SK1"), ("TWILIO_API_KEY_SECRET", "revocable")];
    let config = read("", &[&ENVIRONMENT[..3], &keys, &api].concat()).unwrap();
    let ids: Vec<_> = config.twilio.shared_keys.0.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["webhooks_sharedkey_a", "webhooks_sharedkey_b"]);
    assert_eq!(config.twilio.api_key_sid.as_deref(), Some("SK1"));
    let shown = format!("{config:?}");
    assert!(["s3cret", "other", "revocable"].iter().all(|secret| !shown.contains(secret)), "{shown}");

    let wrong = [("TWILIO_SHARED_KEYS", "a=b,hunter2,a=c"), ("TWILIO_API_KEY_SID", "SK1")];
    let environment = [&ENVIRONMENT[..], &wrong].concat();
    let expected =
        ["entry 2 is not like", "entry 3 has an id that was there before", "together with TWILIO_API_KEY_SECRET"];
    assert_mistakes("", &environment, &expected);
    assert!(!format!("{:?}", mistakes("", &environment)).contains("hunter2"));
}

#[test]
fn a_regional_host_that_stopped_is_a_mistake() {
    for (host, stopped) in
        [("api.ie1.twilio.com", true), ("api.us1.twilio.com", false), ("api.dublin.ie1.twilio.com", false)]
    {
        let url = format!("https://{host}");
        let environment = [&ENVIRONMENT[..], &[("TWILIO_API_URL", url.as_str())]].concat();
        match stopped {
            true => assert_mistakes("", &environment, &["name an edge too, as in https://api.dublin.ie1.twilio.com"]),
            false => assert!(read("", &environment).is_ok(), "{host}"),
        }
    }
}

#[test]
fn answers_in_place_of_an_agent_are_read_and_checked() {
    use patchcord::answer::Answer;
    let text = r#"
        connections_max = 100
        request_head_max_ms = 5000
        [twilio]
        unknown_number = { say = "This number is not in use." }
        busy = { dial = "+15005550009" }
        fetch_recordings = true
        [agents.a]
        default = true
        max_calls = 3
        busy = "reject"
    "#;
    let config = read(text, &ENVIRONMENT).unwrap();
    assert!(matches!(&config.twilio.unknown_number, Answer::Say { text, .. } if text == "This number is not in use."));
    assert_eq!(config.twilio.busy, Answer::Dial("+15005550009".to_owned()));
    assert_eq!((config.agents[0].max_calls, &config.agents[0].busy), (Some(3), &Some(Answer::Reject)));
    assert_eq!((config.connections_max, config.request_head_max), (100, Duration::from_secs(5)));
    assert!(config.twilio.fetch_recordings);

    let text = r#"
        connections_max = 1
        request_head_max_ms = 1
        [twilio]
        busy = "bussy"
        unknown_number = { dial = "555" }
        [agents.a]
        default = true
        max_calls = 100001
        busy = { dial = "you" }
        [agents.b]
        numbers = ["+15005550006"]
        busy = { say = "a", dial = "+15005550009" }
        [agents.c]
        numbers = ["+15005550007"]
        busy = { say = " " }
    "#;
    let expected = [
        "twilio.busy: `bussy` is not \"reject\", \"busy\"",
        "twilio.unknown_number.dial: `555` is not like",
        "agents.a.busy.dial: `you` is not like",
        "agents.a.max_calls: `100001` is not",
        "agents.b.busy",
        "agents.c.busy",
        "connections_max: `1` is not a whole number from 16",
        "request_head_max_ms: `1` is not a whole number from 1000",
    ];
    assert_mistakes(text, &ENVIRONMENT, &expected);
}
