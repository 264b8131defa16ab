//! Settings that cannot stand are named, all of them (N12).

use std::time::Duration;

use call::CallConfig;
use call::config::{ClipLengths, Keys, ProtectGreeting, Turns};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn named(config: &CallConfig) -> Vec<&'static str> {
    config.mistakes().iter().map(|mistake| mistake.setting).collect()
}

#[test]
fn the_defaults_have_no_mistakes() {
    assert_eq!(CallConfig::default().mistakes(), []);
}

/// Breaks when more is put into one message than may lie at the carrier.
#[test]
fn a3_a_group_fits_into_the_lead() {
    let config = |lead, group_frames| CallConfig { lead: ms(lead), group_frames, ..CallConfig::default() };
    assert_eq!(named(&config(60, 3)), [""; 0]);
    assert_eq!(named(&config(0, 1)), [""; 0], "a lead of nothing is allowed, frame by frame");
    assert_eq!(named(&config(59, 3)), ["group_frames"]);
    assert_eq!(named(&config(0, 2)), ["group_frames"]);
    assert_eq!(named(&config(200, 0)), ["group_frames"]);
    assert_eq!(named(&config(200, 4)), ["group_frames"]);
}

/// Breaks when a model that owns its turns is promised what it cannot keep.
#[test]
fn t1_a_model_that_owns_its_turns_holds_and_protects_nothing() {
    let config = CallConfig {
        turns: Turns::Model,
        greeting: Some("Hello.".into()),
        protect_greeting: ProtectGreeting::All,
        ..CallConfig::default()
    };
    assert_eq!(named(&config), ["hold", "protect_greeting"]);
    let without = CallConfig { hold: false, protect_greeting: ProtectGreeting::None, ..config };
    assert_eq!(named(&without), [""; 0]);
}

/// Breaks when one of these is not noticed, or hides another.
#[test]
fn n12_every_mistake_is_named_at_once() {
    let default = CallConfig::default;
    let cases: [(&[&str], CallConfig); 16] = [
        (&["protect_greeting"], CallConfig { protect_greeting: ProtectGreeting::All, ..default() }),
        (&["greeting"], CallConfig { greeting: Some(" ".into()), ..default() }),
        (&["languages"], CallConfig { languages: Vec::new(), ..default() }),
        (&["queue_frames"], CallConfig { queue_frames: 0, ..default() }),
        (&["hang_up_attempts"], CallConfig { hang_up_attempts: 0, ..default() }),
        (&["mark_every"], CallConfig { mark_every: ms(0), ..default() }),
        (&["reconnect_max"], CallConfig { reconnect_max: Some(ms(0)), ..default() }),
        (&["silence_max"], CallConfig { silence_max: Some(ms(0)), ..default() }),
        (&["response_audio_max"], CallConfig { response_audio_max: ms(19), ..default() }),
        (&["response_max"], CallConfig { response_max: ms(299_999), ..default() }),
        (&["floor_max"], CallConfig { floor_max: ms(1_000), ..default() }),
        (&["hold_max"], CallConfig { hold_max: ms(200), ..default() }),
        (&["carrier_silence_max"], CallConfig { carrier_silence_max: ms(500), ..default() }),
        (
            &["filler_after"],
            CallConfig { clips: ClipLengths { filler: 1, apology: 1 }, filler_after: ms(15_000), ..default() },
        ),
        (
            &["keys", "keys", "keys"],
            CallConfig { keys: Keys::Collect { terminator: Some('x'), length: Some(0), pause: ms(0) }, ..default() },
        ),
        (&["languages", "queue_frames"], CallConfig { languages: Vec::new(), queue_frames: 0, ..default() }),
    ];
    for (expected, config) in cases {
        assert_eq!(named(&config), expected);
        assert!(config.mistakes().iter().all(|mistake| mistake.what.len() > 10));
    }
}
