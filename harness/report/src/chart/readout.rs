//! The values behind the charts, for the page's crosshair.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::panel::{Layer, Origin, Shape};
use super::path::Join;
use super::timeline::Timeline;

/// Instants read out, at most.
const MOST_INSTANTS: usize = 320;

/// `{step_ns, end_ns, rows: [{name, live: [..], simulated: [..]}]}`: one text an instant, `""` for none. Texts
/// repeat a lot, so they are indices into `words`.
pub(crate) fn data(timeline: &Timeline) -> Value {
    let step_ns = timeline.grid.width_ns.max(timeline.end_ns.div_ceil(MOST_INSTANTS as u64));
    let instants = timeline.end_ns.div_ceil(step_ns).max(1);
    let mut words = Words::default();
    words.index_of(String::new());
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
                let line = Line::of(found);
                Some(
                    (0..instants)
                        .map(|instant| {
                            let text = line
                                .at(instant * step_ns, step_ns)
                                .map(|value| panel.unit.text(value))
                                .unwrap_or_default();
                            words.index_of(text)
                        })
                        .collect(),
                )
            };
            rows.push(json!({
                "name": format!("{}{}", panel.readout_prefix, layer.name),
                "live": column(Origin::Live),
                "simulated": column(Origin::Simulated),
            }));
        }
    }
    json!({ "step_ns": step_ns, "end_ns": timeline.end_ns, "rows": rows, "words": words.texts })
}

/// The values of a line in the order of time, and whether each holds until the next.
struct Line {
    values: Vec<(u64, f64)>,
    held: bool,
}

impl Line {
    fn of(layer: &Layer) -> Self {
        let held = matches!(
            layer.shape,
            Shape::Line(Join::Steps) | Shape::Area(Join::Steps) | Shape::Backdrop(Join::Steps)
        );
        Self { values: layer.points.iter().flatten().copied().collect(), held }
    }

    /// The value shown at `t_ns`: of a stepped line the one that holds at the end of the instant, of others the
    /// one that falls into it.
    fn at(&self, t_ns: u64, step_ns: u64) -> Option<f64> {
        let before = self.values.partition_point(|(at_ns, _)| *at_ns < t_ns + step_ns);
        let (at_ns, value) = *self.values[..before].last()?;
        (self.held || at_ns >= t_ns).then_some(value)
    }
}

/// Distinct texts in the order of their first use.
#[derive(Default)]
struct Words {
    texts: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl Words {
    fn index_of(&mut self, text: String) -> usize {
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        self.texts.push(text.clone());
        self.places.insert(text, self.texts.len() - 1);
        self.texts.len() - 1
    }
}
