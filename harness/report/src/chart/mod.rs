//! Charts as SVG, drawn here so that they need no script: panels stacked over one shared time axis.
//!
//! [`timeline::Timeline`] holds what is shown, in nanoseconds and values; [`render`] turns it into pixels for one
//! width, with no more points than columns.

pub(crate) mod axis;
pub(crate) mod bins;
pub(crate) mod labels;
pub(crate) mod panel;
pub(crate) mod path;
pub(crate) mod readout;
pub(crate) mod render;
pub(crate) mod resources;
pub(crate) mod scatter;
pub(crate) mod timeline;

/// Looks of the charts, for the page and for the picture on its own.
pub(crate) const STYLE: &str = include_str!("chart.css");
