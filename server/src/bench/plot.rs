//! The figures of a run as a picture: cost and latency over the number of calls.

use std::fmt::Write as _;

use super::report::{Report, Step, Target};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;

/// Of one panel: where its axes begin, and how long they are.
const LEFT: [f64; 2] = [70.0, 560.0];
const TOP: f64 = 70.0;
const PANEL_WIDTH: f64 = 360.0;
const PANEL_HEIGHT: f64 = 270.0;

const TICKS: usize = 4;

struct Line<'a> {
    name: &'a str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// Valid XML whatever the figures are.
pub(crate) fn svg(report: &Report) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let targets: Vec<Target> = report.steps.iter().map(|step| step.target).fold(Vec::new(), |mut known, target| {
        if !known.contains(&target) {
            known.push(target);
        }
        known
    });
    let colour = |target: Target| match target {
        Target::Patchcord => "#1f6feb",
        Target::Relay { sends: super::relay::Sends::Frames } => "#8b949e",
        Target::Relay { sends: super::relay::Sends::Deltas } => "#c69026",
    };
    let of = |target: Target, value: &dyn Fn(&Step) -> Option<f64>| {
        let steps = report.steps.iter().filter(|step| step.target == target);
        steps.filter_map(|step| Some((step.calls as f64, value(step)?))).collect()
    };
    let cost = targets.iter().map(|target| Line {
        name: target.name(),
        colour: colour(*target),
        points: of(*target, &|step| Some(step.cpu_ms_per_call_second.total)),
    });
    panel(&mut out, LEFT[0], "CPU ms per call-second", &cost.collect::<Vec<_>>());
    let mut latency = Vec::new();
    let ours = Target::Patchcord;
    latency.push(Line {
        name: "uplink p99",
        colour: "#1f6feb",
        points: of(ours, &|step| step.uplink.map(|spread| spread.p99_ms)),
    });
    latency.push(Line {
        name: "first frame p99",
        colour: "#8250df",
        points: of(ours, &|step| step.first_frame.map(|spread| spread.p99_ms)),
    });
    latency.push(Line {
        name: "barge-in to clear p99",
        colour: "#cf222e",
        points: of(ours, &|step| step.clear.map(|spread| spread.p99_ms)),
    });
    latency.retain(|line| !line.points.is_empty());
    panel(&mut out, LEFT[1], "patchcord: ms added", &latency);
    let cpu: String = report.machine.cpu.chars().filter(|c| !matches!(c, '<' | '>' | '&')).collect();
    let build = if report.build.optimised { "" } else { ", not an optimised build" };
    text(
        &mut out,
        LEFT[0],
        HEIGHT - 18.0,
        "start",
        "#57606a",
        &format!("{cpu}, one core; patchcord {}{build}", report.build.version),
    );
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, left: f64, title: &str, lines: &[Line<'_>]) {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let most_x = points().map(|point| point.0).fold(1.0, f64::max);
    let most_y = nice(points().map(|point| point.1).fold(0.0, f64::max));
    let x = |value: f64| left + value / most_x * PANEL_WIDTH;
    let y = |value: f64| TOP + PANEL_HEIGHT - value / most_y * PANEL_HEIGHT;
    text(out, left, TOP - 40.0, "start", "#1f2328", title);
    for tick in 0..=TICKS {
        let share = tick as f64 / TICKS as f64;
        let (at, value) = (y(most_y * share), most_y * share);
        rule(out, (left, at), (left + PANEL_WIDTH, at));
        text(out, left - 8.0, at + 4.0, "end", "#57606a", &short(value));
    }
    let mut marked: Vec<f64> = points().map(|point| point.0).collect();
    marked.sort_by(f64::total_cmp);
    marked.dedup();
    for value in marked {
        text(out, x(value), TOP + PANEL_HEIGHT + 18.0, "middle", "#57606a", &short(value));
    }
    text(out, left + PANEL_WIDTH, TOP + PANEL_HEIGHT + 36.0, "end", "#57606a", "calls at once");
    for (row, line) in lines.iter().enumerate() {
        let path: Vec<String> =
            line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let Line { colour, name, .. } = line;
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for point in &line.points {
            let _ =
                writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(point.0), y(point.1));
        }
        text(out, left + 130.0 * row as f64, TOP - 20.0, "start", colour, name);
    }
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#d0d7de\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}

/// The next value that an axis may end with.
fn nice(most: f64) -> f64 {
    let most = most.max(0.01);
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= most).unwrap_or(most)
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_with_a_round_number_that_holds_the_figures() {
        for (most, end) in [(0.0, 0.01), (0.9, 1.0), (1.3, 2.0), (43.0, 50.0), (100.0, 100.0), (810.0, 1_000.0)] {
            assert!((nice(most) - end).abs() < 1e-9, "{most}: {}", nice(most));
        }
        assert_eq!((short(1.5), short(100.0), short(0.0)), ("1.5".into(), "100".into(), "0".into()));
    }
}
