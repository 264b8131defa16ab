//! The weights, fetched as users fetch them.

mod common;

use voice::models::{self, Happening, State};

/// Run by `scripts/voice-models` before the tests that need weights: it downloads what is missing, so it is not among the
/// tests that everybody runs.
#[test]
#[ignore = "downloads 82 MB"]
fn they_are_fetched() {
    let folder = common::folder();
    let mut told = Vec::new();
    models::pull(&folder, |happening| match happening {
        Happening::Fetched(..) => {}
        other => told.push(other),
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert!(models::are_here(&folder));
    for (file, state) in models::verify(&folder) {
        assert_eq!(state, State::Good, "{}", file.path);
    }
    // A second time there is nothing to do.
    let mut again = Vec::new();
    models::pull(&folder, |happening| again.push(happening)).unwrap();
    assert!(again.iter().all(|happening| matches!(happening, Happening::AlreadyHere(_))), "{again:?}");
}
