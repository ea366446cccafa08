//! From a timeline to SVG.

use std::fmt::Write as _;

use super::labels::{self, CHARACTER_WIDTH};
use super::panel::{Layer, Limit, Origin, Panel, Shape};
use super::path::{self, Join, Pixels};
use super::timeline::Timeline;
use crate::markup::Markup;

/// Levels of event labels above the plots; what does not fit is only a line.
const EVENT_LEVELS: usize = 8;
/// Height of one level of event labels, pixels.
const EVENT_LEVEL: f64 = 15.0;
/// Height of a panel's title line, pixels.
const HEADER: f64 = 22.0;
/// Height of a second header line, for a legend that does not fit beside the title.
const LEGEND_LINE: f64 = 17.0;
/// Space under a panel, pixels.
const BELOW: f64 = 14.0;
/// Distance of two labels at line ends, pixels.
const END_DISTANCE: f64 = 12.0;

/// For how wide a page a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Desktop windows, and pictures for documents.
    Wide,
    /// Half windows, phones and paper.
    Narrow,
}

impl Width {
    /// The whole picture, pixels.
    pub(crate) fn pixels(self) -> f64 {
        match self {
            Self::Wide => 1120.0,
            Self::Narrow => 660.0,
        }
    }

    fn left(self) -> f64 {
        match self {
            Self::Wide => 64.0,
            Self::Narrow => 56.0,
        }
    }

    fn right(self) -> f64 {
        match self {
            Self::Wide => 76.0,
            Self::Narrow => 62.0,
        }
    }

    fn time_ticks(self) -> u64 {
        match self {
            Self::Wide => 15,
            Self::Narrow => 9,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Wide => "chart wide",
            Self::Narrow => "chart narrow",
        }
    }
}

/// Where things lie horizontally.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    right: f64,
    end_ns: u64,
}

impl Frame {
    fn x(self, t_ns: u64) -> f64 {
        self.left + (self.right - self.left) * (t_ns.min(self.end_ns) as f64 / self.end_ns as f64)
    }
}

/// The picture for a page: it takes its looks from the page's style sheet.
pub(crate) fn inline(timeline: &Timeline, width: Width) -> Markup {
    picture(timeline, width, false)
}

/// The picture on its own, with its looks, for a README or a slide.
pub(crate) fn standalone(timeline: &Timeline, width: Width) -> Markup {
    picture(timeline, width, true)
}

fn picture(timeline: &Timeline, width: Width, standalone: bool) -> Markup {
    let frame =
        Frame { left: width.left(), right: width.pixels() - width.right(), end_ns: timeline.end_ns.max(1) };
    let axis = super::axis::TimeAxis::new(timeline.end_ns, width.time_ticks());
    let ticks: Vec<(f64, String)> = axis.ticks().into_iter().map(|(t, label)| (frame.x(t), label)).collect();

    let mut body = Markup::new();
    let mut y = key(&mut body, timeline, frame);
    let events = place_events(timeline, frame, width);
    let levels = events.iter().filter_map(|event| event.level).max().map_or(0, |level| level + 1);
    let events_bottom = y + levels as f64 * EVENT_LEVEL + 4.0;
    y = events_bottom;

    let top = events_bottom;
    let mut panels = Markup::new();
    let mut leader_bottom = y;
    for panel in &timeline.panels {
        y = header(&mut panels, panel, frame, y);
        leader_bottom = y + panel.height;
        plot(&mut panels, panel, frame, y, &ticks, &events);
        y = leader_bottom + BELOW;
    }
    // Ticks and their numbers under the last panel.
    let mut feet = Markup::new();
    for (x, label) in &ticks {
        feet.leaf(
            "text",
            &[("x", &path::pixel(*x)), ("y", &path::pixel(y + 1.0)), ("text-anchor", &"middle")],
            label,
        );
    }
    let middle = (frame.left + frame.right) / 2.0;
    feet.leaf(
        "text",
        &[("x", &path::pixel(middle)), ("y", &path::pixel(y + 19.0)), ("text-anchor", &"middle")],
        axis.title(),
    );
    let height = y + 28.0;

    draw_events(&mut body, &events, events_bottom, leader_bottom);
    body.append(&panels);
    body.append(&feet);

    let mut svg = Markup::new();
    let view_box = format!("0 0 {} {}", path::pixel(width.pixels()), path::pixel(height));
    let (wide, high) = (path::pixel(width.pixels()), path::pixel(height));
    let (left, right) = (path::pixel(frame.left), path::pixel(frame.right));
    let (plots_top, plots_bottom) = (path::pixel(top), path::pixel(leader_bottom));
    svg.element(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &width.class()),
            ("viewBox", &view_box),
            ("width", &wide),
            ("height", &high),
            ("role", &"img"),
            ("aria-label", &timeline.summary),
            ("data-left", &left),
            ("data-right", &right),
            ("data-top", &plots_top),
            ("data-bottom", &plots_bottom),
        ],
        |svg| {
            svg.leaf("title", &[], &timeline.title);
            if standalone {
                svg.element("style", &[], |style| style.verbatim(super::STYLE));
                svg.empty("rect", &[("class", &"paper"), ("width", &"100%"), ("height", &"100%")]);
            }
            svg.append(&body);
        },
    );
    svg
}

/// The line that says what solid and dashed mean. Returns the y below it.
fn key(out: &mut Markup, timeline: &Timeline, frame: Frame) -> f64 {
    let entries: &[(&str, bool)] = match timeline.origins.as_slice() {
        [Origin::Live, Origin::Simulated] => &[("live", false), ("simulated", true)],
        [Origin::Simulated] => &[("simulated", false)],
        [Origin::Original, Origin::Changed] => &[("original", false), ("changed", true)],
        _ => &[("live", false)],
    };
    let mut x = frame.left;
    for (name, dashed) in entries {
        sample(out, x, 10.0, if *dashed { "line w2 dash ink" } else { "line w2 ink" });
        out.leaf("text", &[("class", &"name"), ("x", &path::pixel(x + 28.0)), ("y", &"14")], name);
        x += 28.0 + labels::width_of(name) + 18.0;
    }
    if !timeline.events.is_empty() {
        let line = format!("M{} 3V17", path::pixel(x + 4.0));
        out.empty("path", &[("class", &"event"), ("d", &line)]);
        out.leaf("text", &[("class", &"name"), ("x", &path::pixel(x + 12.0)), ("y", &"14")], "event");
    }
    22.0
}

struct PlacedEvent {
    x: f64,
    level: Option<usize>,
    text: String,
    full: String,
}

fn place_events(timeline: &Timeline, frame: Frame, width: Width) -> Vec<PlacedEvent> {
    let room_to = width.pixels() - 4.0;
    let mut events: Vec<PlacedEvent> = timeline
        .events
        .iter()
        .map(|event| {
            let x = frame.x(event.t_ns);
            let text = labels::fit(&event.label, (room_to - x - 5.0).min(56.0 * CHARACTER_WIDTH));
            let full = format!("{}: {}", crate::figures::instant(event.t_ns), event.label);
            PlacedEvent { x, level: None, text, full }
        })
        .collect();
    events.sort_by(|a, b| a.x.total_cmp(&b.x));
    let spans: Vec<(f64, f64)> =
        events.iter().map(|event| (event.x, labels::width_of(&event.text) + 4.0)).collect();
    for (event, level) in events.iter_mut().zip(labels::stairs(&spans, EVENT_LEVELS)) {
        event.level = level.filter(|_| !event.text.is_empty());
    }
    events
}

fn draw_events(out: &mut Markup, events: &[PlacedEvent], base: f64, bottom: f64) {
    for event in events {
        let top = event.level.map_or(base, |level| base - 4.0 - level as f64 * EVENT_LEVEL - 11.0);
        out.element("g", &[], |group| {
            group.leaf("title", &[], &event.full);
            let line = format!("M{0} {1}V{2}", path::pixel(event.x), path::pixel(top), path::pixel(bottom));
            group.empty("path", &[("class", &"event"), ("d", &line)]);
            if event.level.is_some() {
                let (x, y) = (path::pixel(event.x + 4.0), path::pixel(top + 9.0));
                group.leaf("text", &[("class", &"mark"), ("x", &x), ("y", &y)], &event.text);
            }
        });
    }
}

/// Title, subtitle and legend. Returns the y at which the plot starts.
fn header(out: &mut Markup, panel: &Panel, frame: Frame, y: f64) -> f64 {
    let title_y = y + 15.0;
    let (x, title_baseline) = (path::pixel(frame.left), path::pixel(title_y));
    out.element("text", &[("class", &"header"), ("x", &x), ("y", &title_baseline)], |text| {
        text.leaf("tspan", &[("class", &"title")], &panel.title);
        text.leaf("tspan", &[("dx", &"7")], &panel.subtitle);
    });
    // The legend: one entry a quantity.
    let mut entries: Vec<&Layer> = Vec::new();
    for layer in panel.layers.iter().filter(|layer| !layer.is_empty()) {
        if !entries.iter().any(|entry| entry.name == layer.name) {
            entries.push(layer);
        }
    }
    let width_of_legend: f64 = entries.iter().map(|layer| 26.0 + labels::width_of(&layer.name) + 14.0).sum();
    let title_width = panel.title.chars().count() as f64 * 7.6 + labels::width_of(&panel.subtitle) + 30.0;
    let beside = title_width + width_of_legend <= frame.right - frame.left;
    let (mut x, legend_y, plot_y) = if beside {
        (frame.right - width_of_legend + 14.0, title_y, y + HEADER)
    } else {
        (frame.left, title_y + LEGEND_LINE, y + HEADER + LEGEND_LINE)
    };
    for layer in entries {
        let class = format!("{} {}", swatch_class(layer), layer.tone.class());
        match layer.shape {
            Shape::Backdrop(_) | Shape::Bars(_) => {
                let (x, y) = (path::pixel(x), path::pixel(legend_y - 9.0));
                out.empty(
                    "rect",
                    &[("class", &class), ("x", &x), ("y", &y), ("width", &"20"), ("height", &"10")],
                );
            }
            Shape::Line(_) | Shape::Area(_) => sample(out, x, legend_y - 4.0, &class),
        }
        let (text_x, text_y) = (path::pixel(x + 26.0), path::pixel(legend_y));
        out.leaf("text", &[("class", &"name header"), ("x", &text_x), ("y", &text_y)], &layer.name);
        x += 26.0 + labels::width_of(&layer.name) + 14.0;
    }
    plot_y
}

fn swatch_class(layer: &Layer) -> String {
    match layer.shape {
        Shape::Backdrop(_) => "area".to_owned(),
        Shape::Bars(_) => "bar".to_owned(),
        Shape::Line(_) | Shape::Area(_) => format!("line {}", layer.weight.class()),
    }
}

fn sample(out: &mut Markup, x: f64, y: f64, class: &str) {
    let line = format!("M{} {}h20", path::pixel(x), path::pixel(y));
    out.empty("path", &[("class", &class), ("d", &line)]);
}

/// Backdrop, grid, axis, layers, limits and line-end labels of one panel whose plot starts at `top`.
fn plot(
    out: &mut Markup,
    panel: &Panel,
    frame: Frame,
    top: f64,
    ticks: &[(f64, String)],
    events: &[PlacedEvent],
) {
    let bottom = top + panel.height;
    let y_of = |value: f64| bottom - panel.height * panel.scale.fraction(value);
    grid(out, panel, frame, (top, bottom), ticks);
    let mut lines = String::new();
    for event in events {
        let _ = write!(lines, "M{0} {1}V{2}", path::pixel(event.x), path::pixel(top), path::pixel(bottom));
    }
    if !lines.is_empty() {
        out.empty("path", &[("class", &"event"), ("d", &lines)]);
    }
    if panel.is_empty() {
        let (x, y) =
            (path::pixel((frame.left + frame.right) / 2.0), path::pixel(top + panel.height / 2.0 + 4.0));
        out.leaf("text", &[("x", &x), ("y", &y), ("text-anchor", &"middle")], "nothing recorded");
        return;
    }
    for layer in &panel.layers {
        draw_layer(out, layer, frame, bottom, y_of);
    }
    draw_limits(out, &panel.limits, frame, top, y_of);
    end_labels(out, panel, frame, (top, bottom), y_of);
}

fn grid(out: &mut Markup, panel: &Panel, frame: Frame, (top, bottom): (f64, f64), ticks: &[(f64, String)]) {
    let (left, right) = (path::pixel(frame.left), path::pixel(frame.right));
    let (wide, high) = (path::pixel(frame.right - frame.left), path::pixel(panel.height));
    out.empty(
        "rect",
        &[("class", &"plot"), ("x", &left), ("y", &path::pixel(top)), ("width", &wide), ("height", &high)],
    );
    let y_of = |value: f64| path::pixel(bottom - panel.height * panel.scale.fraction(value));
    let mut minor = String::new();
    for value in panel.scale.minor_ticks() {
        let _ = write!(minor, "M{left} {}H{right}", y_of(value));
    }
    if !minor.is_empty() {
        out.empty("path", &[("class", &"minor"), ("d", &minor)]);
    }
    let mut major = String::new();
    for value in panel.scale.ticks() {
        let _ = write!(major, "M{left} {}H{right}", y_of(value));
    }
    for (x, _) in ticks {
        let _ = write!(major, "M{0} {1}V{2}", path::pixel(*x), path::pixel(top), path::pixel(bottom));
    }
    out.empty("path", &[("class", &"grid"), ("d", &major)]);
    let mut base = format!("M{left} {0}H{right}", path::pixel(bottom));
    for (x, _) in ticks {
        let _ = write!(base, "M{0} {1}v4", path::pixel(*x), path::pixel(bottom));
    }
    out.empty("path", &[("class", &"base"), ("d", &base)]);
    // At most one label every 13 px.
    let values = panel.scale.ticks();
    let every = (13.0 * values.len() as f64 / panel.height).ceil().max(1.0) as usize;
    for value in values.into_iter().step_by(every) {
        let y = bottom - panel.height * panel.scale.fraction(value) + 4.0;
        let (x, y) = (path::pixel(frame.left - 7.0), path::pixel(y));
        out.leaf("text", &[("x", &x), ("y", &y), ("text-anchor", &"end")], panel.unit.text(value));
    }
}

fn draw_layer(out: &mut Markup, layer: &Layer, frame: Frame, bottom: f64, y_of: impl Fn(f64) -> f64) {
    let tone = layer.tone.class();
    let dash = if layer.dashed { " dash" } else { "" };
    if let Shape::Bars(width_ns) = layer.shape {
        let mut bars = String::new();
        let half = (frame.x(width_ns) - frame.left).max(2.0) / 2.0 - 0.4;
        for (t_ns, value) in layer.points.iter().flatten().filter(|(_, value)| *value > 0.0) {
            let (x, y) = (frame.x(*t_ns), y_of(*value).min(bottom - 1.5));
            let (left, right) = (path::pixel(x - half), path::pixel(x + half));
            let _ = write!(bars, "M{left} {0}V{1}H{right}V{0}Z", path::pixel(bottom), path::pixel(y));
        }
        if !bars.is_empty() {
            let class = format!("bar {tone}{dash}");
            out.empty("path", &[("class", &class), ("d", &bars)]);
        }
        return;
    }
    let pixels: Pixels = path::thin(
        layer.points.iter().map(|point| point.map(|(t_ns, value)| (frame.x(t_ns), y_of(value)))).collect(),
    );
    let (join, with_area, with_line) = match layer.shape {
        Shape::Line(join) => (join, false, true),
        Shape::Area(join) => (join, true, true),
        Shape::Backdrop(join) => (join, true, false),
        Shape::Bars(_) => (Join::Straight, false, false),
    };
    if with_area {
        let class = format!("area {tone}");
        out.empty("path", &[("class", &class), ("d", &path::area(&pixels, join, bottom))]);
    }
    if with_line {
        let class = format!("line {} {tone}{dash}", layer.weight.class());
        out.empty("path", &[("class", &class), ("d", &path::line(&pixels, join))]);
    }
}

fn draw_limits(out: &mut Markup, limits: &[Limit], frame: Frame, top: f64, y_of: impl Fn(f64) -> f64) {
    // The label stands on its line, at the left, where runs are usually quiet; below it when there is no room.
    let wanted: Vec<f64> = limits
        .iter()
        .map(|limit| {
            let y = y_of(limit.value);
            if y - 5.0 < top + 9.0 { y + 12.0 } else { y - 5.0 }
        })
        .collect();
    let placed = labels::spread(&wanted, END_DISTANCE, top + 9.0, f64::MAX);
    for (limit, label_y) in limits.iter().zip(placed) {
        let y = y_of(limit.value);
        let (from, to) = (frame.x(limit.from_ns), frame.x(limit.to_ns));
        let line = format!("M{0} {1}H{2}", path::pixel(from), path::pixel(y), path::pixel(to));
        out.empty("path", &[("class", &"limit alarm"), ("d", &line)]);
        let (x, y) = (path::pixel(from + 6.0), path::pixel(label_y));
        out.leaf("text", &[("class", &"halo alarm"), ("x", &x), ("y", &y)], &limit.label);
    }
}

fn end_labels(
    out: &mut Markup,
    panel: &Panel,
    frame: Frame,
    (top, bottom): (f64, f64),
    y_of: impl Fn(f64) -> f64,
) {
    // One column of labels, right of the last line end, so that their order is that of the lines.
    let labelled: Vec<(&Layer, &str, (u64, f64))> = panel
        .layers
        .iter()
        .filter_map(|layer| Some((layer, layer.end_label.as_deref()?, layer.last()?)))
        .collect();
    let x = labelled.iter().map(|(_, _, (t_ns, _))| frame.x(*t_ns)).fold(frame.left, f64::max) + 6.0;
    let wanted: Vec<f64> = labelled.iter().map(|(_, _, (_, value))| y_of(*value)).collect();
    let placed = labels::spread(&wanted, END_DISTANCE, top + 4.0, bottom);
    for ((layer, label, _), y) in labelled.into_iter().zip(placed) {
        let class = format!("end {}", layer.tone.class());
        let (x, y) = (path::pixel(x), path::pixel(y + 4.0));
        out.leaf("text", &[("class", &class), ("x", &x), ("y", &y)], label);
    }
}
