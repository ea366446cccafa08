//! What the stack of charts shows, before anything is drawn.

use std::collections::BTreeMap;

use windtunnel_record::Measure;
use windtunnel_scenario::Scenario;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::objective::{Metric, Scope, Unit as MetricUnit};

use super::axis::Scale;
use super::bins::{self, Grid, View};
use super::panel::{Layer, Limit, Origin, Panel, Shape, Tone, Unit, Weight};
use super::path::Join;
use super::resources;
use crate::figures;

/// Bins over the whole axis, at most: three pixel columns each on a wide page.
const MOST_BINS: usize = 320;
/// Revisions that get a chart of their own; the report says how many more there were.
const MOST_REVISIONS: usize = 4;
/// Events that get a line, at most.
const MOST_EVENTS: usize = 24;
/// The latency quantiles drawn.
const QUANTILES: [(f64, &str, Weight); 3] =
    [(0.50, "p50", Weight::Thin), (0.95, "p95", Weight::Medium), (0.99, "p99", Weight::Strong)];

/// An instant that people ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventMark {
    /// When, nanoseconds since the load started.
    pub(crate) t_ns: u64,
    /// What happened.
    pub(crate) label: String,
}

/// Panels over one time axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    /// What flew.
    pub(crate) title: String,
    /// The same for readers who do not see the picture.
    pub(crate) summary: String,
    /// Length of the axis, nanoseconds.
    pub(crate) end_ns: u64,
    /// The bins of the charts.
    pub(crate) grid: Grid,
    /// The recordings shown, live first.
    pub(crate) origins: Vec<Origin>,
    /// From top to bottom.
    pub(crate) panels: Vec<Panel>,
    /// Vertical lines through all panels, in order of time.
    pub(crate) events: Vec<EventMark>,
    /// Revisions and events that there was no room for.
    pub(crate) omitted: Vec<String>,
}

/// The recordings of one flight: live first, one of them at least.
#[derive(Debug, Clone)]
pub(crate) struct Sources<'a> {
    pub(super) recordings: Vec<(Origin, View<'a>)>,
}

impl<'a> Sources<'a> {
    /// `None` when there is no recording.
    pub(crate) fn new(live: Option<View<'a>>, simulated: Option<View<'a>>) -> Option<Self> {
        let recordings: Vec<(Origin, View<'a>)> = live
            .map(|recording| (Origin::Live, recording))
            .into_iter()
            .chain(simulated.map(|recording| (Origin::Simulated, recording)))
            .collect();
        (!recordings.is_empty()).then_some(Self { recordings })
    }

    /// Names of the revisions of all recordings, in order of creation.
    pub(crate) fn revisions(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for (_, recording) in &self.recordings {
            for revision in recording.revisions() {
                if !names.contains(&revision.name.as_str()) {
                    names.push(&revision.name);
                }
            }
        }
        names
    }

    fn main(&self) -> View<'a> {
        self.recordings[0].1
    }
}

/// Shorter names for revisions: what they do not share, from the last `-` on. `digits-predictor-00002` is `00002`.
pub(crate) fn short_names<'a>(names: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    let tails: Vec<&str> = names.iter().map(|name| name.rsplit('-').next().unwrap_or(name)).collect();
    let distinct =
        (0..tails.len()).all(|index| !tails[index].is_empty() && !tails[..index].contains(&tails[index]));
    names.iter().zip(tails).map(|(name, tail)| (*name, if distinct { tail } else { *name })).collect()
}

/// Builds the timeline of one flight.
pub(crate) fn build(scenario: &Scenario, flight: Flight, sources: &Sources<'_>) -> Timeline {
    let end_ns = sources.recordings.iter().map(|(_, recording)| recording.end_ns()).fold(0, u64::max);
    // Counted runs are in bins already.
    let own = sources.recordings.iter().find_map(|(_, recording)| recording.own_grid(end_ns));
    let grid = own.filter(|grid| grid.bins <= MOST_BINS).unwrap_or_else(|| Grid::new(end_ns, MOST_BINS));
    let origins: Vec<Origin> = sources.recordings.iter().map(|(origin, _)| *origin).collect();
    let names = sources.revisions();
    let mut omitted = Vec::new();
    if names.len() > MOST_REVISIONS {
        let more = figures::plural((names.len() - MOST_REVISIONS) as u64, "more revision");
        omitted.push(format!("{more} in the recordings, not drawn"));
    }
    let drawn = &names[..names.len().min(MOST_REVISIONS)];

    let mut panels = vec![load_panel(sources, grid)];
    for measure in Measure::ALL {
        let panel = time_panel(measure, scenario, flight, sources, grid, end_ns);
        if measure == Measure::Latency || !panel.layers.iter().all(Layer::is_empty) {
            panels.push(panel);
        }
    }
    panels.extend(replica_panels(sources, drawn));
    if names.len() > 1 {
        panels.push(traffic_panel(sources, drawn, grid));
    }
    panels.push(in_flight_panel(sources));
    panels.extend(resources::panels(sources));

    let (events, hidden) = event_marks(sources, &names);
    if hidden > 0 {
        omitted.push(format!("{} without a line, listed below", figures::plural(hidden as u64, "event")));
    }
    let title = format!("{}: {}", scenario.name, describe(&origins));
    let shown: Vec<String> = panels.iter().map(|panel| panel.title.to_lowercase()).collect();
    let summary = format!(
        "Timeline of {title}, {} long, on one time axis: {}. The numbers are in the tables of this report.",
        figures::duration(end_ns as f64),
        shown.join("; "),
    );
    Timeline { title, summary, end_ns, grid, origins, panels, events, omitted }
}

fn describe(origins: &[Origin]) -> &'static str {
    match origins {
        [Origin::Live, Origin::Simulated] => "live flight and simulation",
        [Origin::Simulated] => "simulation",
        _ => "live flight",
    }
}

/// One layer a recording: solid for the first, dashed for the simulation beside a live flight.
pub(super) fn layers(
    sources: &Sources<'_>,
    (name, tone, weight): (&str, Tone, Weight),
    end_label: Option<&str>,
    draw: impl Fn(usize, View<'_>) -> (Shape, Vec<Option<(u64, f64)>>),
) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    // The live line is drawn last, on top.
    for (index, (origin, recording)) in sources.recordings.iter().enumerate().rev() {
        let (shape, points) = draw(index, *recording);
        // An area under two lines says nothing: only the first recording has one.
        let shape = match shape {
            Shape::Area(join) if index > 0 => Shape::Line(join),
            other => other,
        };
        layers.push(Layer {
            name: name.to_owned(),
            origin: *origin,
            tone,
            weight,
            shape,
            dashed: index > 0,
            points,
            end_label: end_label.filter(|_| index == 0).map(str::to_owned),
        });
    }
    // Where the first recording has nothing, the other's line end carries the name.
    if let [second, first] = layers.as_mut_slice()
        && first.is_empty()
    {
        second.end_label = first.end_label.take();
    }
    layers
}

fn load_panel(sources: &Sources<'_>, grid: Grid) -> Panel {
    let hold = |values: &[f64]| steps(grid, &values.iter().copied().map(Some).collect::<Vec<_>>());
    let offered = sources.main().load(grid).offered;
    let mut all = vec![Layer {
        name: "offered".to_owned(),
        origin: sources.recordings[0].0,
        tone: Tone::Ink,
        weight: Weight::Thin,
        shape: Shape::Backdrop(Join::Steps),
        dashed: false,
        points: hold(&offered),
        end_label: None,
    }];
    all.extend(layers(sources, ("served", Tone::Hue(0), Weight::Medium), None, |_, recording| {
        (Shape::Line(Join::Steps), hold(&recording.load(grid).served))
    }));
    all.extend(layers(sources, ("failed", Tone::Alarm, Weight::Medium), None, |_, recording| {
        let failed = recording.load(grid).failed;
        let points =
            if failed.iter().any(|value| *value > 0.0) { centred(grid, &failed) } else { Vec::new() };
        (Shape::Bars(grid.width_ns), points)
    }));
    let failures: u64 = sources.recordings.iter().map(|(_, recording)| recording.failures()).sum();
    let failures = if failures == 0 { "no failures" } else { "failures as bars" };
    Panel {
        title: "Load".to_owned(),
        subtitle: format!("requests/s, {}, {failures}", per_bin(grid)),
        readout_prefix: String::new(),
        height: 104.0,
        scale: Scale::linear(highest(&all), 4),
        unit: Unit::Number,
        layers: all,
        limits: Vec::new(),
    }
}

fn time_panel(
    measure: Measure,
    scenario: &Scenario,
    flight: Flight,
    sources: &Sources<'_>,
    grid: Grid,
    end_ns: u64,
) -> Panel {
    let quantiles: Vec<f64> = QUANTILES.iter().map(|(quantile, _, _)| *quantile).collect();
    let rows: Vec<Vec<Vec<Option<f64>>>> =
        sources.recordings.iter().map(|(_, recording)| recording.times(measure, grid, &quantiles)).collect();
    let mut all: Vec<Layer> = Vec::new();
    for (index, (_, name, weight)) in QUANTILES.iter().enumerate() {
        let tone = Tone::Hue([2, 0, 3][index]);
        all.extend(layers(sources, (name, tone, *weight), Some(name), |recording, _| {
            (Shape::Line(Join::Straight), present(grid, &rows[recording][index]))
        }));
    }
    let limits = time_limits(measure, scenario, flight, end_ns);
    let (title, of) = match measure {
        Measure::Latency => ("Latency", "answered requests"),
        Measure::FirstToken => ("Time to first token", "answers of language models"),
        Measure::PerToken => ("Time per further token", "answers of language models"),
    };
    let (low, high) = extent(&all, &limits);
    Panel {
        title: title.to_owned(),
        subtitle: format!("{of} by intended send time, {}, log scale", per_bin(grid)),
        readout_prefix: String::new(),
        height: 150.0,
        scale: Scale::logarithmic(low, high),
        unit: Unit::Duration,
        layers: all,
        limits,
    }
}

fn replica_panels(sources: &Sources<'_>, revisions: &[&str]) -> Vec<Panel> {
    let names = short_names(revisions);
    let mut panels: Vec<Panel> = revisions
        .iter()
        .enumerate()
        .map(|(index, revision)| {
            let series = |recording: View<'_>, name: &str| {
                recording.sampled(name, Some(revision)).into_iter().map(Some).collect::<Vec<_>>()
            };
            let mut all = layers(
                sources,
                ("ready", Tone::Hue(index), Weight::Strong),
                Some("ready"),
                |_, recording| (Shape::Area(Join::Steps), series(recording, "replicas.ready")),
            );
            all.extend(layers(
                sources,
                ("wanted", Tone::Ink, Weight::Thin),
                Some("wanted"),
                |_, recording| (Shape::Line(Join::Steps), series(recording, "replicas.wanted")),
            ));
            Panel {
                title: "Replicas".to_owned(),
                subtitle: (*revision).to_owned(),
                readout_prefix: format!("{} ", names.get(revision).copied().unwrap_or(revision)),
                height: 64.0,
                scale: Scale::whole(1.0, 4),
                unit: Unit::Number,
                layers: all,
                limits: Vec::new(),
            }
        })
        .collect();
    // One scale for all of them, so that heights can be compared.
    let most = panels.iter().map(|panel| highest(&panel.layers)).fold(0.0, f64::max);
    for panel in &mut panels {
        panel.scale = Scale::whole(most, 4);
    }
    panels
}

fn traffic_panel(sources: &Sources<'_>, revisions: &[&str], grid: Grid) -> Panel {
    // A second holds few requests of a small share; five bins show it without saw teeth.
    let coarse = grid.coarser(5);
    let names = short_names(revisions);
    let mut all = Vec::new();
    for (index, revision) in revisions.iter().enumerate() {
        let short = names.get(revision).copied().unwrap_or(revision);
        let configured = format!("{short} configured");
        if let Some((origin, recording)) = sources.recordings.first() {
            all.push(Layer {
                name: configured,
                origin: *origin,
                tone: Tone::Hue(index),
                weight: Weight::Thin,
                shape: Shape::Backdrop(Join::Steps),
                dashed: false,
                points: recording.sampled("traffic.percent", Some(revision)).into_iter().map(Some).collect(),
                end_label: None,
            });
        }
        let answered = format!("{short} answered");
        all.extend(layers(
            sources,
            (&answered, Tone::Hue(index), Weight::Medium),
            Some(short),
            |_, recording| {
                let place = recording.revisions().iter().position(|candidate| candidate.name == **revision);
                let shares = match place.and_then(|place| u16::try_from(place).ok()) {
                    Some(place) => recording.share(coarse, place),
                    None => Vec::new(),
                };
                (Shape::Line(Join::Steps), steps(coarse, &shares))
            },
        ));
    }
    Panel {
        title: "Traffic split".to_owned(),
        subtitle: format!("share of requests, {}", per_bin(coarse)),
        readout_prefix: String::new(),
        height: 84.0,
        scale: Scale::Linear { max: 100.0, step: 25.0 },
        unit: Unit::Percent,
        layers: all,
        limits: Vec::new(),
    }
}

fn in_flight_panel(sources: &Sources<'_>) -> Panel {
    let all = layers(sources, ("in flight", Tone::Hue(4), Weight::Medium), None, |_, recording| {
        let points = recording.summed("requests.in_flight").into_iter().map(Some).collect();
        (Shape::Area(Join::Steps), points)
    });
    Panel {
        title: "In flight".to_owned(),
        subtitle: "requests sent and not yet answered".to_owned(),
        readout_prefix: String::new(),
        height: 64.0,
        scale: Scale::whole(highest(&all), 3),
        unit: Unit::Number,
        layers: all,
        limits: Vec::new(),
    }
}

/// Objectives that are a height in the latency panel, over their windows.
fn time_limits(measure: Measure, scenario: &Scenario, flight: Flight, end_ns: u64) -> Vec<Limit> {
    scenario
        .objectives
        .iter()
        .filter(|objective| {
            let measured = match objective.metric {
                Metric::FirstToken(_) => Measure::FirstToken,
                Metric::PerToken(_) => Measure::PerToken,
                _ => Measure::Latency,
            };
            objective.metric.unit() == MetricUnit::Latency && measured == measure
        })
        .filter_map(|objective| {
            let whole = objective.from.is_none() && objective.to.is_none();
            let (from_ns, to_ns) =
                if whole { (0, end_ns) } else { scenario.window_in(flight, objective.from, objective.to)? };
            let mut label = objective.text.clone();
            if objective.scope != Scope::All && !label.contains(" for ") {
                label.push_str(&format!(" for {}", objective.scope));
            }
            Some(Limit { value: objective.limit, label, from_ns, to_ns })
        })
        .filter(|limit| limit.from_ns < end_ns)
        .take(4)
        .collect()
}

/// Marks for scenario events, revisions, traffic changes and activations; pods have their own table. Of two
/// recordings the live one is shown.
fn event_marks(sources: &Sources<'_>, names: &[&str]) -> (Vec<EventMark>, usize) {
    let short = short_names(names);
    let mut marks: Vec<EventMark> = Vec::new();
    let (events, more) = sources.main().events();
    let mut hidden = more as usize;
    for event in events {
        let has_line = matches!(event.kind.as_str(), "scenario" | "revision" | "traffic" | "activation");
        if !has_line || marks.len() == MOST_EVENTS {
            hidden += 1;
            continue;
        }
        let label = label_of(&event.target, &event.text, &short);
        // The same words at the same time are one mark.
        if !marks.iter().any(|mark| mark.label == label && mark.t_ns.abs_diff(event.t_ns) < bins::SECOND_NS) {
            marks.push(EventMark { t_ns: event.t_ns, label });
        }
    }
    marks.sort_by_key(|mark| mark.t_ns);
    (marks, hidden)
}

fn label_of(target: &str, text: &str, short: &BTreeMap<&str, &str>) -> String {
    let name = short.get(target).copied().unwrap_or(target);
    let text = if text.is_empty() { "changed" } else { text };
    let mut shortened = text.to_owned();
    for (long, brief) in short {
        if !long.is_empty() {
            shortened = shortened.replace(long, brief);
        }
    }
    if name.is_empty() || shortened.contains(name) { shortened } else { format!("{name}: {shortened}") }
}

fn per_bin(grid: Grid) -> String {
    if grid.width_ns == bins::SECOND_NS {
        "per second".to_owned()
    } else {
        format!("per {}", figures::duration(grid.width_ns as f64))
    }
}

/// Values that hold for their whole bin, for stepped lines; the last one of a run is repeated at its end.
fn steps(grid: Grid, values: &[Option<f64>]) -> Vec<Option<(u64, f64)>> {
    let mut points = Vec::with_capacity(values.len() + 1);
    for (bin, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                points.push(Some((grid.start_ns(bin), *value)));
                if values.get(bin + 1).is_none_or(Option::is_none) {
                    points.push(Some((grid.start_ns(bin + 1), *value)));
                }
            }
            None => points.push(None),
        }
    }
    points
}

/// Values in the middle of their bins.
fn centred(grid: Grid, values: &[f64]) -> Vec<Option<(u64, f64)>> {
    values.iter().enumerate().map(|(bin, value)| Some((grid.centre_ns(bin), *value))).collect()
}

fn present(grid: Grid, values: &[Option<f64>]) -> Vec<Option<(u64, f64)>> {
    values.iter().enumerate().map(|(bin, value)| value.map(|value| (grid.centre_ns(bin), value))).collect()
}

pub(super) fn highest(layers: &[Layer]) -> f64 {
    layers.iter().flat_map(|layer| layer.points.iter().flatten()).map(|(_, value)| *value).fold(0.0, f64::max)
}

fn extent(layers: &[Layer], limits: &[Limit]) -> (f64, f64) {
    layers
        .iter()
        .flat_map(|layer| layer.points.iter().flatten().map(|(_, value)| *value))
        .chain(limits.iter().map(|limit| limit.value))
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it every label repeats `digits-predictor-`, or two revisions get the same short name.
    #[test]
    fn revisions_are_named_by_what_differs() {
        let short = short_names(&["digits-predictor-00001", "digits-predictor-00002"]);
        assert_eq!(short["digits-predictor-00002"], "00002");
        let clash = short_names(&["a-00001", "b-00001"]);
        assert_eq!(clash["a-00001"], "a-00001");
    }

    /// Without it an event reads `digits-predictor-00002: digits-predictor-00002 created`.
    #[test]
    fn event_labels_do_not_repeat_themselves() {
        let names = ["digits-predictor-00001", "digits-predictor-00002"];
        let short = short_names(&names);
        assert_eq!(label_of(names[1], "created", &short), "00002: created");
        assert_eq!(label_of(names[1], "digits-predictor-00002 created", &short), "00002 created");
        assert_eq!(label_of("digits", "canary v2", &short), "digits: canary v2");
    }
}
