//! `patchcord bench` on this build: the figures are of no interest here, the report is: that calls were really held, in
//! both directions, through the server and through the relay that it is compared with.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary, in a folder of its own and with nothing of our environment.
fn bench(arguments: &[&str]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchcord"));
    command.arg("bench").args(arguments).current_dir(folder.path()).env_clear().stdin(Stdio::null());
    (command.output().unwrap(), folder)
}

/// The report of a run that went well, and the steps of the relay and of the server.
#[track_caller]
fn report(output: &Output) -> (Value, Value, Value) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}{errors}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = |target: &str| {
        let steps = report["steps"].as_array().unwrap();
        steps.iter().find(|step| step["target"] == target).unwrap_or_else(|| panic!("no {target} in {report}")).clone()
    };
    let (relay, patchcord) = (step("relay"), step("patchcord"));
    (report, relay, patchcord)
}

fn count(step: &Value, name: &str) -> u64 {
    step[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {step}"))
}

#[test]
fn interrupted_calls_are_held_by_the_server_and_by_the_relay() {
    let (output, folder) =
        bench(&["--calls=3", "--seconds=7", "--warm-up=1", "--workload=barge-in", "--json", "--svg=figures.svg"]);
    let (report, relay, patchcord) = report(&output);
    for step in [&relay, &patchcord] {
        assert_eq!((count(step, "calls"), count(step, "streaming"), count(step, "lost")), (3, 3, 0), "{step}");
        assert_eq!(step["problems"], Value::Array(Vec::new()));
        // 50 frames a second of each caller, all of which came to the model.
        assert!(count(step, "frames_up") > 500, "{step}");
        assert!(count(&step["uplink"], "count") > 500, "{step}");
        // Each caller is answered and interrupts: the agent was heard, and fell silent.
        assert!(count(step, "responses") >= 3, "{step}");
        assert!(count(step, "frames_down") > 100, "{step}");
        assert!(count(&step["first_frame"], "count") >= 3, "{step}");
        assert!(count(step, "barge_ins") >= 2, "{step}");
        assert_eq!(count(&step["clear"], "count"), count(step, "barge_ins"));
        assert!(step["cpu_ms_per_call_second"]["total"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["rss_kib_per_call"].as_f64().unwrap() > 0.0, "{step}");
    }
    // What only a call has: marks, and a model that is told how much was heard.
    assert_eq!(count(&relay, "marks"), 0);
    assert!(count(&patchcord, "marks") > 10, "{patchcord}");
    assert!(count(&patchcord["truncation"], "count") >= 1, "{patchcord}");
    assert_eq!(relay["truncation"], Value::Null);
    assert!(patchcord["cost_to_relay"][0]["ratio"].as_f64().unwrap() > 0.0, "{patchcord}");
    assert_eq!(report["build"]["version"], env!("CARGO_PKG_VERSION"));
    let svg = std::fs::read_to_string(folder.path().join("figures.svg")).unwrap();
    let svg = roxmltree::Document::parse(&svg).unwrap();
    assert!(svg.descendants().any(|node| node.has_tag_name("polyline")));
}

#[test]
fn tls_recording_and_grouped_frames_are_measured_too_and_the_table_fits_a_terminal() {
    let (output, _folder) =
        bench(&["--calls=2", "--seconds=4", "--warm-up=3", "--tls", "--recording", "--group-ms=60", "--floor=deltas"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<&str> = shown.lines().filter(|line| line.starts_with("    2 ")).collect();
    assert_eq!(rows.len(), 4, "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("60 ms a message, TLS to the model, recorded and traced"), "{shown}");
}

#[test]
fn calls_beside_one_that_reads_nothing_go_on_and_those_beyond_the_limit_are_refused() {
    let (output, _folder) =
        bench(&["--calls=3", "--seconds=4", "--warm-up=2", "--blocked=1", "--refused=2", "--floor=frames", "--json"]);
    let (_, relay, patchcord) = report(&output);
    for (step, refused) in [(&relay, 0), (&patchcord, 2)] {
        assert_eq!((count(step, "streaming"), count(step, "blocked"), count(step, "lost")), (2, 1, 0), "{step}");
        assert_eq!(count(step, "refused"), refused, "{step}");
        assert_eq!(count(step, "left_for_good"), 0, "{step}");
    }
    // All three were heard, but only two heard anything.
    assert!(count(&patchcord, "frames_up") > 500, "{patchcord}");
}

#[test]
fn a_search_ends_with_the_largest_number_of_calls_within_the_limits() {
    let limits = ["--latency-max-ms=10000", "--underruns-max=100"];
    let (output, _folder) = bench(
        &[&["--search", "--calls=1,2", "--seconds=2", "--warm-up=2", "--floor=none", "--json"][..], &limits].concat(),
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    let tried: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| step["calls"].clone()).collect();
    assert_eq!(tried, [1, 2]);
    assert_eq!((count(&report, "calls_within_limits"), count(&report, "max_calls_recommended")), (2, 1));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (output, _folder) = bench(&["--calls=2", "--blocked=2"]);
    assert_eq!(output.status.code(), Some(1));
    for wrong in ["--calls=0", "--seconds=0", "--group-ms=30", "--workload=idle"] {
        assert_eq!(bench(&[wrong]).0.status.code(), Some(2), "{wrong}");
    }
}
