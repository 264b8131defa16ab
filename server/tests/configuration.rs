//! Mistakes in the configuration: all of them, each with its place and what to do.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::time::Duration;

use patchcord::agent::Provider;
use patchcord::config::{Config, Mistakes, Verify};

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
fn unknown_keys_and_wrong_types_are_reported_together() {
    let text = r#"
        max_cals = 3
        [twilio]
        verify = "sometimes"
        [agents.a]
        default = true
        instrutcions = "x"
        hold = "yes"
        model = { voise = "marin" }
        [agents.b]
        numbers = [5]
    "#;
    let expected = [
        "max_cals: no such setting; did you mean `max_calls`?",
        "twilio.verify: unknown variant `sometimes`",
        "agents.a.instrutcions: no such setting; did you mean `instructions`?",
        "agents.a.hold: invalid type",
        "agents.a.model.voise: no such setting; did you mean `voice`?",
        "agents.b.numbers[0]: invalid type",
        "agents.b: answers nothing",
    ];
    assert_mistakes(text, &ENVIRONMENT, &expected);
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
        model = { provider = "local" }
        tools = [{ name = "book", url = "ftp://x" }]
    "#;
    let expected = [
        "max_calls: 0 would refuse",
        "`5550006` is not like",
        "`tlh` is not known",
        "+15005550006 is answered by `a` already",
        "more than one has `default = true`",
        "\"local\" is not in this build",
        "agents.b.tools[0]: `description` is missing",
        "agents.b.tools[0].url: `ftp://x` is not a URL",
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
    let expected = ["public_url is missing", "TWILIO_AUTH_TOKEN is not set", "OPENAI_API_KEY is not set"];
    assert_mistakes("listen = \"0.0.0.0:80\"", &[], &expected);
    let local = [("OPENAI_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")];
    assert!(read("twilio = { verify = \"unless-loopback\" }", &local).is_ok());
}

#[test]
fn urls_are_checked() {
    let environment = [
        ("PATCHCORD_PUBLIC_URL", "https://calls.example.org/path"),
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_REALTIME_URL", "https://api.example.org"),
        ("TWILIO_API_URL", "nowhere"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("TWILIO_AUTH_TOKEN", "secret-token"),
        ("PATCHCORD_LISTEN", "8080"),
    ];
    let expected =
        ["only scheme, host and port", "begins with ws:// or wss://", "`nowhere`", "`8080` is not an address"];
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
fn what_is_not_toml_is_shown_where() {
    let found = mistakes("max_calls = \n", &ENVIRONMENT);
    assert!(found[0].contains("line 1"), "{found:#?}");
}

#[test]
fn the_carriers_keys_come_from_the_environment() {
    let keys = [("TWILIO_SHARED_KEYS", "webhooks_sharedkey_a=s3cret=, webhooks_sharedkey_b=other")];
    let api = [("TWILIO_API_KEY_SID", "SK1"), ("TWILIO_API_KEY_SECRET", "revocable")];
    let config = read("", &[&ENVIRONMENT[..3], &keys, &api].concat()).unwrap();
    let ids: Vec<_> = config.twilio.shared_keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["webhooks_sharedkey_a", "webhooks_sharedkey_b"]);
    assert_eq!(config.twilio.api_key.as_ref().map(|key| key.sid.as_str()), Some("SK1"));
    let shown = format!("{config:?}");
    assert!(["s3cret", "other", "revocable"].iter().all(|secret| !shown.contains(secret)), "{shown}");

    let wrong = [("TWILIO_SHARED_KEYS", "a=b,hunter2,a=c"), ("TWILIO_API_KEY_SID", "SK1")];
    let environment = [&ENVIRONMENT[..], &wrong].concat();
    let expected =
        ["entry 2 is not like", "entry 3: this id was there before", "TWILIO_API_KEY_SECRET belong together"];
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
        max_calls = 0
        busy = { dial = "you" }
    "#;
    let expected = [
        "twilio.busy: not an answer; use \"reject\"",
        "twilio.unknown_number.dial: `555` is not like",
        "agents.a.busy.dial: `you` is not like",
        "agents.a.max_calls: 0 would refuse",
        "connections_max: at least 16",
        "request_head_max_ms: at least 1000",
    ];
    assert_mistakes(text, &ENVIRONMENT, &expected);
}
