//! How the run was made, and the line that makes it again.

use crate::Input;
use crate::chart::bins::View;
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
            item("Service", &input.scenario.load().target);
            item("Seed", &result.seed.to_string());
            item("Exit code", &result.exit_code.to_string());
            for reason in result.reasons.iter().filter(|reason| !reason.is_empty()).take(MOST_REASONS) {
                item("Reason", reason);
            }
            for (name, view) in [
                ("Live", input.live.map(View::from)),
                ("Simulated", input.simulated.map(View::from)),
                ("Simulated as a whole", input.whole.map(View::from)),
                ("Simulated and counted", input.counted.map(View::from)),
            ] {
                if let Some(view) = view {
                    item(name, &describe(view));
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

fn describe(view: View<'_>) -> String {
    let (decisions, more_decisions) = view.decisions();
    format!(
        "{} over {}, {}, {}, {}",
        figures::plural(view.requests(), "request"),
        figures::duration(view.meta().duration_ns as f64),
        figures::plural(view.revisions().len() as u64, "revision"),
        figures::plural(decisions.len() as u64 + more_decisions, "decision"),
        figures::plural(view.starts().1, "cold start"),
    )
}
