//! One chart of the stack: its scale, its lines and its limits.

use super::axis::Scale;
use super::path::Join;

/// Which recording a line was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The live flight.
    Live,
    /// The simulation.
    Simulated,
    /// Of both futures of a fork the one as it was.
    Original,
    /// Of both futures of a fork the one with the change.
    Changed,
}

/// A colour of the palette; every use also has a label or a legend entry, colour is never the only sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The colour of text, for what accompanies the subject of a panel.
    Ink,
    /// Limits and failures.
    Alarm,
    /// One of the five colours for quantities and revisions; higher numbers start over.
    Hue(usize),
}

impl Tone {
    /// The class that gives the colour.
    pub(crate) fn class(self) -> &'static str {
        const HUES: [&str; 5] = ["h0", "h1", "h2", "h3", "h4"];
        match self {
            Self::Ink => "ink",
            Self::Alarm => "alarm",
            Self::Hue(index) => HUES[index % HUES.len()],
        }
    }
}

/// How heavy a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// 1 px.
    Thin,
    /// 1.5 px.
    Medium,
    /// 2.2 px.
    Strong,
}

impl Weight {
    /// The class that gives the width.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Thin => "w1",
            Self::Medium => "w2",
            Self::Strong => "w3",
        }
    }
}

/// How the points of a layer are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A line.
    Line(Join),
    /// A line over a tinted area.
    Area(Join),
    /// A tinted area without a line, as backdrop.
    Backdrop(Join),
    /// A bar from the bottom for every value above 0, as wide as one bin of this many nanoseconds.
    Bars(u64),
}

/// One line (or area, or row of bars) of a panel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    /// The quantity, as the legend names it. Layers of the same name share one legend entry.
    pub(crate) name: String,
    /// Where it was taken from.
    pub(crate) origin: Origin,
    /// Colour.
    pub(crate) tone: Tone,
    /// Line width.
    pub(crate) weight: Weight,
    /// Drawing.
    pub(crate) shape: Shape,
    /// Dashed: the simulated line beside a live one.
    pub(crate) dashed: bool,
    /// (nanoseconds, value); `None` is a gap.
    pub(crate) points: Vec<Option<(u64, f64)>>,
    /// Written at the right end of the line.
    pub(crate) end_label: Option<String>,
}

impl Layer {
    /// The last value of the line.
    pub(crate) fn last(&self) -> Option<(u64, f64)> {
        self.points.iter().rev().find_map(|point| *point)
    }

    /// Whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.points.iter().all(Option::is_none)
    }
}

/// A horizontal line at the limit of an objective.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    /// The limit, in the panel's values.
    pub(crate) value: f64,
    /// The objective, `p99<300ms`.
    pub(crate) label: String,
    /// Start of the objective's window, nanoseconds.
    pub(crate) from_ns: u64,
    /// End of the objective's window, nanoseconds.
    pub(crate) to_ns: u64,
}

/// How the ticks of the value axis are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Plain numbers.
    Number,
    /// Nanoseconds, written as durations.
    Duration,
    /// Percent.
    Percent,
}

impl Unit {
    /// A tick's text.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Number => crate::figures::significant(value),
            Self::Duration => crate::figures::duration(value),
            Self::Percent => format!("{} %", crate::figures::significant(value)),
        }
    }
}

/// One chart of the stack.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Panel {
    /// What is shown.
    pub(crate) title: String,
    /// The unit and how it was counted, beside the title.
    pub(crate) subtitle: String,
    /// Before the names of the lines where they are read without the title.
    pub(crate) readout_prefix: String,
    /// Height of the plot, pixels.
    pub(crate) height: f64,
    /// Value axis.
    pub(crate) scale: Scale,
    /// How ticks and readouts are written.
    pub(crate) unit: Unit,
    /// Drawn in this order.
    pub(crate) layers: Vec<Layer>,
    /// Limits of objectives.
    pub(crate) limits: Vec<Limit>,
}

impl Panel {
    /// Whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.iter().all(Layer::is_empty)
    }
}
