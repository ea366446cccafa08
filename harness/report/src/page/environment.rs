//! How the run was made, and the line that makes it again.

use windtunnel_record::Recording;

use crate::Input;
use crate::figures;
use crate::markup::Markup;

/// Reasons listed, at most; the gates have their own.
const MOST_REASONS: usize = 20;

/// The section.
pub(crate) fn section(out: &mut Markup, input: &Input<'_>) {
    let result = input.result;
    out.element("section", &[("id", &"environment"), ("aria-labelledby", &"environment-title")], |section| {
        section.leaf("h2", &[("id", &"environment-title")], "Reproduce");
        section.leaf("pre", &[("class", &"command"), ("tabindex", &"0")], &result.reproduce);
        section.leaf(
            "p",
            &[("class", &"soft small")],
            "The same seed gives the same simulation, byte for byte. A live flight gets the same arrivals; its \
             latencies are those of the machine that it runs on.",
        );
        section.element("dl", &[], |list| {
            let mut item = |name: &str, text: &str| {
                list.leaf("dt", &[], name);
                list.leaf("dd", &[], text);
            };
            item("Scenario", &input.scenario.path.display().to_string());
            item("Service", &input.scenario.load.target);
            item("Seed", &result.seed.to_string());
            item("Exit code", &result.exit_code.to_string());
            for reason in result.reasons.iter().filter(|reason| !reason.is_empty()).take(MOST_REASONS) {
                item("Reason", reason);
            }
            for (name, recording) in
                [("Live", input.live), ("Simulated", input.simulated), ("Simulated as a whole", input.whole)]
            {
                if let Some(recording) = recording {
                    item(name, &describe(recording));
                }
            }
            for (stage, seconds) in &result.wall {
                item(&format!("Wall time, {stage}"), &figures::duration(seconds * 1e9));
            }
            for (name, version) in &result.versions {
                item(&format!("Version of {name}"), version);
            }
        });
    });
    out.line();
}

fn describe(recording: &Recording) -> String {
    format!(
        "{} over {}, {}, {}, {}",
        figures::plural(recording.requests.len() as u64, "request"),
        figures::duration(recording.meta.duration_ns as f64),
        figures::plural(recording.revisions.len() as u64, "revision"),
        figures::plural(recording.decisions.len() as u64, "decision"),
        figures::plural(recording.cold_starts.len() as u64, "cold start"),
    )
}
