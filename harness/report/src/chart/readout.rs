//! The values behind the charts, for the page's crosshair.

use serde_json::{Value, json};

use super::panel::{Layer, Origin, Panel, Shape};
use super::path::Join;
use super::timeline::Timeline;

/// Instants read out, at most.
const MOST_INSTANTS: usize = 480;

/// `{step_ns, end_ns, rows: [{name, live: [..], simulated: [..]}]}`: one text an instant, `""` for none. Texts
/// repeat a lot, so they are indices into `words`.
pub(crate) fn data(timeline: &Timeline) -> Value {
    let step_ns = timeline.grid.width_ns.max(timeline.end_ns.div_ceil(MOST_INSTANTS as u64));
    let instants = timeline.end_ns.div_ceil(step_ns).max(1);
    let mut words: Vec<String> = vec![String::new()];
    let mut rows: Vec<Value> = Vec::new();
    for panel in &timeline.panels {
        let mut names: Vec<&str> = Vec::new();
        for layer in panel.layers.iter().filter(|layer| !layer.is_empty()) {
            if names.contains(&layer.name.as_str()) {
                continue;
            }
            names.push(&layer.name);
            let mut column = |origin: Origin| -> Option<Vec<usize>> {
                let found = panel
                    .layers
                    .iter()
                    .find(|candidate| candidate.name == layer.name && candidate.origin == origin)?;
                Some(
                    (0..instants)
                        .map(|instant| {
                            let text = value_at(found, instant * step_ns, step_ns)
                                .map(|value| panel.unit.text(value))
                                .unwrap_or_default();
                            index_of(&mut words, text)
                        })
                        .collect(),
                )
            };
            rows.push(json!({
                "name": row_name(panel, layer),
                "live": column(Origin::Live),
                "simulated": column(Origin::Simulated),
            }));
        }
    }
    json!({ "step_ns": step_ns, "end_ns": timeline.end_ns, "rows": rows, "words": words })
}

fn row_name(panel: &Panel, layer: &Layer) -> String {
    match panel.title.as_str() {
        "Replicas" => format!("{} {}", panel.subtitle, layer.name),
        _ => layer.name.clone(),
    }
}

/// The value shown at `t_ns`: of a stepped line the one that holds at the end of the instant, of others the one
/// that falls into it.
fn value_at(layer: &Layer, t_ns: u64, step_ns: u64) -> Option<f64> {
    let end_ns = t_ns + step_ns;
    let before = layer.points.partition_point(|point| point.is_none_or(|(at_ns, _)| at_ns < end_ns));
    let found = layer.points[..before].iter().rev().find_map(|point| *point)?;
    let held = matches!(
        layer.shape,
        Shape::Line(Join::Steps) | Shape::Area(Join::Steps) | Shape::Backdrop(Join::Steps)
    );
    (held || found.0 >= t_ns).then_some(found.1)
}

fn index_of(words: &mut Vec<String>, text: String) -> usize {
    // Few distinct texts appear in a row one after the other, so the search from the end is short.
    match words.iter().rposition(|word| *word == text) {
        Some(index) => index,
        None => {
            words.push(text);
            words.len() - 1
        }
    }
}
