//! Points in a plane of two measures, with their intervals, the Pareto line and one point marked.

use std::fmt::Write as _;

use super::axis::Scale;
use super::labels;
use super::panel::Unit;
use super::path;
use crate::markup::Markup;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 836.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 372.0;

/// How a point is drawn; every mark has a form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A filled disc: it passed.
    Disc,
    /// A cross: it failed.
    Cross,
    /// A ring: nobody can tell.
    Ring,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dot {
    /// Horizontal value with the ends of its interval.
    pub(crate) x: (f64, f64, f64),
    /// Vertical value with the ends of its interval.
    pub(crate) y: (f64, f64, f64),
    /// How it is drawn.
    pub(crate) mark: Mark,
    /// What it is, shown on hovering.
    pub(crate) title: String,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scatter {
    /// What it shows.
    pub(crate) title: String,
    /// The same for readers who do not see the picture.
    pub(crate) summary: String,
    /// Name of the horizontal axis.
    pub(crate) x_title: String,
    /// Name of the vertical axis; its values are nanoseconds, on a log scale.
    pub(crate) y_title: String,
    /// The points.
    pub(crate) dots: Vec<Dot>,
    /// Places of the points on the Pareto line, in order of their horizontal value.
    pub(crate) pareto: Vec<usize>,
    /// The place of the point that is the answer, and its label.
    pub(crate) chosen: Option<(usize, String)>,
    /// Horizontal lines: value and label.
    pub(crate) limits: Vec<(f64, String)>,
}

struct Plane {
    x: Scale,
    y: Scale,
}

impl Plane {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + (RIGHT - LEFT) * self.x.fraction(x), BOTTOM - (BOTTOM - TOP) * self.y.fraction(y))
    }
}

/// The picture; `standalone` gives it its looks.
pub(crate) fn picture(scatter: &Scatter, standalone: bool) -> Markup {
    let highest = scatter.dots.iter().map(|dot| dot.x.2).fold(0.0, f64::max);
    let values = scatter.dots.iter().map(|dot| dot.y.0).chain(scatter.limits.iter().map(|(value, _)| *value));
    let (low, high) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    let plane = Plane { x: Scale::linear(highest, 6), y: Scale::logarithmic(low, high) };
    let mut svg = Markup::new();
    let view_box = format!("0 0 {WIDTH} {HEIGHT}");
    svg.element(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &"chart"),
            ("viewBox", &view_box),
            ("width", &WIDTH),
            ("height", &HEIGHT),
            ("role", &"img"),
            ("aria-label", &scatter.summary),
        ],
        |svg| {
            svg.leaf("title", &[], &scatter.title);
            if standalone {
                svg.element("style", &[], |style| style.verbatim(super::STYLE));
                svg.empty("rect", &[("class", &"paper"), ("width", &"100%"), ("height", &"100%")]);
            }
            key(svg, scatter);
            axes(svg, scatter, &plane);
            limits(svg, scatter, &plane);
            pareto(svg, scatter, &plane);
            scatter.dots.iter().for_each(|dot| draw(svg, dot, &plane));
            chosen(svg, scatter, &plane);
        },
    );
    svg
}

/// What the marks mean.
fn key(out: &mut Markup, scatter: &Scatter) {
    let mut x = LEFT;
    let mut entry = |out: &mut Markup, mark: Mark, name: &str| {
        if !scatter.dots.iter().any(|dot| dot.mark == mark) {
            return;
        }
        symbol(out, mark, (x + 5.0, 16.0));
        out.leaf("text", &[("class", &"name"), ("x", &path::pixel(x + 15.0)), ("y", &"20")], name);
        x += 15.0 + labels::width_of(name) + 18.0;
    };
    entry(out, Mark::Disc, "passes");
    entry(out, Mark::Cross, "fails");
    entry(out, Mark::Ring, "undecided");
    if scatter.pareto.len() > 1 {
        let line = format!("M{} 16h22", path::pixel(x));
        out.empty("path", &[("class", &"line w2 dash ink"), ("d", &line)]);
        let text = "nothing is both cheaper and faster";
        out.leaf("text", &[("class", &"name"), ("x", &path::pixel(x + 28.0)), ("y", &"20")], text);
    }
}

fn axes(out: &mut Markup, scatter: &Scatter, plane: &Plane) {
    let (wide, high) = (path::pixel(RIGHT - LEFT), path::pixel(BOTTOM - TOP));
    let (left, top) = (path::pixel(LEFT), path::pixel(TOP));
    out.empty("rect", &[("class", &"plot"), ("x", &left), ("y", &top), ("width", &wide), ("height", &high)]);
    let mut minor = String::new();
    for value in plane.y.minor_ticks() {
        let _ = write!(
            minor,
            "M{} {}H{}",
            path::pixel(LEFT),
            path::pixel(plane.at(0.0, value).1),
            path::pixel(RIGHT)
        );
    }
    if !minor.is_empty() {
        out.empty("path", &[("class", &"minor"), ("d", &minor)]);
    }
    let mut grid = String::new();
    for value in plane.y.ticks() {
        let y = plane.at(0.0, value).1;
        let _ = write!(grid, "M{} {}H{}", path::pixel(LEFT), path::pixel(y), path::pixel(RIGHT));
        let (x, y) = (path::pixel(LEFT - 7.0), path::pixel(y + 4.0));
        out.leaf("text", &[("x", &x), ("y", &y), ("text-anchor", &"end")], Unit::Duration.text(value));
    }
    for value in plane.x.ticks() {
        let x = plane.at(value, 0.0).0;
        let _ = write!(grid, "M{0} {1}V{2}", path::pixel(x), path::pixel(TOP), path::pixel(BOTTOM));
        let (x, y) = (path::pixel(x), path::pixel(BOTTOM + 16.0));
        out.leaf("text", &[("x", &x), ("y", &y), ("text-anchor", &"middle")], Unit::Number.text(value));
    }
    out.empty("path", &[("class", &"grid"), ("d", &grid)]);
    let (middle, foot) = (path::pixel((LEFT + RIGHT) / 2.0), path::pixel(BOTTOM + 36.0));
    out.leaf("text", &[("x", &middle), ("y", &foot), ("text-anchor", &"middle")], &scatter.x_title);
    out.leaf(
        "text",
        &[("class", &"name"), ("x", &path::pixel(8.0)), ("y", &path::pixel(TOP - 12.0))],
        &scatter.y_title,
    );
}

fn limits(out: &mut Markup, scatter: &Scatter, plane: &Plane) {
    for (value, label) in &scatter.limits {
        let y = plane.at(0.0, *value).1;
        let line = format!("M{} {}H{}", path::pixel(LEFT), path::pixel(y), path::pixel(RIGHT));
        out.empty("path", &[("class", &"limit alarm"), ("d", &line)]);
        let (x, y) = (path::pixel(RIGHT - 6.0), path::pixel(y - 5.0));
        out.leaf("text", &[("class", &"halo alarm"), ("x", &x), ("y", &y), ("text-anchor", &"end")], label);
    }
}

fn pareto(out: &mut Markup, scatter: &Scatter, plane: &Plane) {
    let mut line = String::new();
    let points = scatter.pareto.iter().filter_map(|place| scatter.dots.get(*place));
    for (index, dot) in points.enumerate() {
        let (x, y) = plane.at(dot.x.0, dot.y.0);
        let (x, y) = (path::pixel(x), path::pixel(y));
        // Until something faster can be had, the slower one is the best for the money.
        let _ = if index == 0 { write!(line, "M{x} {y}") } else { write!(line, "H{x}V{y}") };
    }
    if scatter.pareto.len() > 1 {
        out.empty("path", &[("class", &"line w2 dash ink"), ("d", &line)]);
    }
}

fn draw(out: &mut Markup, dot: &Dot, plane: &Plane) {
    out.element("g", &[("class", &tone(dot.mark))], |group| {
        group.leaf("title", &[], &dot.title);
        let (x, y) = plane.at(dot.x.0, dot.y.0);
        let ((left, top), (right, bottom)) = (plane.at(dot.x.1, dot.y.2), plane.at(dot.x.2, dot.y.1));
        let mut bars = String::new();
        if right - left > 2.0 {
            let _ = write!(bars, "M{} {}H{}", path::pixel(left), path::pixel(y), path::pixel(right));
        }
        if bottom - top > 2.0 {
            let _ = write!(bars, "M{} {}V{}", path::pixel(x), path::pixel(top), path::pixel(bottom));
        }
        if !bars.is_empty() {
            group.empty("path", &[("class", &"line w1"), ("d", &bars)]);
        }
        symbol(group, dot.mark, (x, y));
    });
}

fn symbol(out: &mut Markup, mark: Mark, (x, y): (f64, f64)) {
    let (cx, cy) = (path::pixel(x), path::pixel(y));
    let class = tone(mark);
    match mark {
        Mark::Disc => {
            let class = format!("bar {class}");
            out.empty("circle", &[("class", &class), ("cx", &cx), ("cy", &cy), ("r", &"4.5")]);
        }
        Mark::Ring => {
            let class = format!("line w2 {class}");
            out.empty("circle", &[("class", &class), ("cx", &cx), ("cy", &cy), ("r", &"4")]);
        }
        Mark::Cross => {
            let (left, top) = (path::pixel(x - 4.0), path::pixel(y - 4.0));
            let (right, bottom) = (path::pixel(x + 4.0), path::pixel(y + 4.0));
            let cross = format!("M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}");
            let class = format!("line w2 {class}");
            out.empty("path", &[("class", &class), ("d", &cross)]);
        }
    }
}

fn tone(mark: Mark) -> &'static str {
    match mark {
        Mark::Disc => "h2",
        Mark::Cross => "alarm",
        Mark::Ring => "h1",
    }
}

fn chosen(out: &mut Markup, scatter: &Scatter, plane: &Plane) {
    let Some((place, label)) = &scatter.chosen else { return };
    let Some(dot) = scatter.dots.get(*place) else { return };
    let (x, y) = plane.at(dot.x.0, dot.y.0);
    let (cx, cy) = (path::pixel(x), path::pixel(y));
    out.empty("circle", &[("class", &"line w3 ink"), ("cx", &cx), ("cy", &cy), ("r", &"9.5")]);
    // Towards the side that has room.
    let is_right = x > (LEFT + RIGHT) / 2.0;
    let room = if is_right { x - LEFT } else { RIGHT - x } - 20.0;
    let (label_x, anchor) = if is_right { (x - 15.0, "end") } else { (x + 15.0, "start") };
    let (label_x, label_y) = (path::pixel(label_x), path::pixel(y - 8.0));
    let text = labels::fit(label, room);
    out.leaf(
        "text",
        &[("class", &"halo ink"), ("x", &label_x), ("y", &label_y), ("text-anchor", &anchor)],
        text,
    );
}
