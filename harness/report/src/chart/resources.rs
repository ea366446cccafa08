//! Charts of what a run used: waiting requests, utilisation, nodes, pods without a node, storage, cost. Each is drawn
//! only when it was recorded.

use std::collections::BTreeSet;

use super::axis::Scale;
use super::panel::{Panel, Shape, Tone, Unit, Weight};
use super::path::Join;
use super::timeline::{Sources, highest, layers};

/// Lines of one chart, at most; the sum of the others has a line of its own where a sum means something.
const MOST_LINES: usize = 4;

/// What a chart shows.
struct Plan {
    title: &'static str,
    subtitle: &'static str,
    /// Series and how its lines are called before their label.
    series: &'static [(&'static str, &'static str)],
    unit: Unit,
    /// What values are multiplied by.
    factor: f64,
    height: f64,
}

const PLANS: [Plan; 7] = [
    Plan {
        title: "Waiting",
        subtitle: "requests in queues, messages in brokers",
        series: &[("requests.queued", ""), ("queue.depth", "queue ")],
        unit: Unit::Number,
        factor: 1.0,
        height: 64.0,
    },
    Plan {
        title: "Utilisation",
        subtitle: "busy share of the servers",
        series: &[("server.utilisation", "")],
        unit: Unit::Percent,
        factor: 100.0,
        height: 64.0,
    },
    Plan {
        title: "Nodes",
        subtitle: "by pool",
        series: &[("nodes.ready", "ready "), ("nodes.wanted", "wanted ")],
        unit: Unit::Number,
        factor: 1.0,
        height: 56.0,
    },
    Plan {
        title: "Given away",
        subtitle: "share of the nodes' CPU, memory and GPUs that pods have",
        series: &[
            ("nodes.cpu_allocated", "CPU "),
            ("nodes.memory_allocated", "memory "),
            ("nodes.gpu_allocated", "GPU "),
        ],
        unit: Unit::Percent,
        factor: 100.0,
        height: 64.0,
    },
    Plan {
        title: "Pods without a node",
        subtitle: "by what they wait for",
        series: &[("pods.pending", "")],
        unit: Unit::Number,
        factor: 1.0,
        height: 56.0,
    },
    Plan {
        title: "Storage",
        subtitle: "used share of the bandwidth",
        series: &[("storage.utilisation", "")],
        unit: Unit::Percent,
        factor: 100.0,
        height: 56.0,
    },
    Plan {
        title: "Cost",
        subtitle: "an hour",
        series: &[("cost.per_hour", "")],
        unit: Unit::Number,
        factor: 1.0,
        height: 56.0,
    },
];

/// The charts of what was recorded.
pub(super) fn panels(sources: &Sources<'_>) -> Vec<Panel> {
    PLANS.iter().filter_map(|plan| panel(sources, plan)).collect()
}

fn panel(sources: &Sources<'_>, plan: &Plan) -> Option<Panel> {
    let mut lines: Vec<(&str, String, String)> = Vec::new();
    for (name, prefix) in plan.series {
        let labels: BTreeSet<String> = sources
            .recordings
            .iter()
            .flat_map(|(_, view)| view.series(name))
            .filter(|(_, points)| points.iter().any(|point| point.value != 0.0))
            .map(|(key, _)| key.labels.values().next().cloned().unwrap_or_default())
            .collect();
        lines.extend(labels.into_iter().map(|label| {
            let text = format!("{prefix}{label}");
            let text =
                if text.trim().is_empty() { plan.title.to_lowercase() } else { text.trim().to_owned() };
            (*name, label, text)
        }));
    }
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    let mut all = Vec::new();
    for (index, (series, label, text)) in lines.iter().enumerate() {
        let tone = Tone::Hue(index);
        all.extend(layers(sources, (text, tone, Weight::Medium), None, |_, view| {
            let points = view
                .series(series)
                .into_iter()
                .filter(|(key, _)| key.labels.values().next().map_or("", String::as_str) == label)
                .flat_map(|(_, points)| {
                    points.iter().map(|point| Some((point.t_ns, point.value * plan.factor)))
                })
                .collect();
            let shape = if lines.len() == 1 { Shape::Area(Join::Steps) } else { Shape::Line(Join::Steps) };
            (shape, points)
        }));
    }
    let most = highest(&all);
    let scale = match plan.unit {
        Unit::Percent if most <= 100.0 => Scale::Linear { max: 100.0, step: 25.0 },
        Unit::Percent => Scale::linear(most, 3),
        _ if plan.title == "Cost" => Scale::linear(most, 3),
        _ => Scale::whole(most, 3),
    };
    let subtitle =
        if more > 0 { format!("{}, {more} more not drawn", plan.subtitle) } else { plan.subtitle.to_owned() };
    Some(Panel {
        title: plan.title.to_owned(),
        subtitle,
        readout_prefix: format!("{} ", plan.title.to_lowercase()),
        height: plan.height,
        scale,
        unit: plan.unit,
        layers: all,
        limits: Vec::new(),
    })
}
