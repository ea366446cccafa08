//! How a run is written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::recording::{ColdStart, Decision, Event, Point, Recording, Request, Revision, SeriesKey};

/// A series that is written often: its name and labels are looked at once.
///
/// It is data, so that a snapshot can hold it; a recorder that did not make it finds the series by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesId {
    /// Where the recorder that made it keeps the series; other recorders look for the key.
    pub place: Option<u32>,
    /// Name and labels.
    pub key: Arc<SeriesKey>,
}

/// Takes observations as they are made. The simulator and the live client write through it.
pub trait Recorder {
    /// A new revision; returns the index by which requests name it. A name that is already there keeps its
    /// index.
    fn revision(&mut self, revision: Revision) -> u16;

    /// A request and its answer.
    fn request(&mut self, request: Request);

    /// A value of a series. A value that is not a finite number is not recorded.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], t_ns: u64, value: f64);

    /// Makes a series known before its first value, for [`Recorder::point`].
    fn open_series(&mut self, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        SeriesId { place: None, key: Arc::new(SeriesKey::new(name, labels)) }
    }

    /// A value of a series that is known already; otherwise as [`Recorder::sample`].
    fn point(&mut self, series: &SeriesId, t_ns: u64, value: f64) {
        let labels: Vec<(&str, &str)> =
            series.key.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        self.sample(&series.key.name, &labels, t_ns, value);
    }

    /// A decision of the control plane.
    fn decision(&mut self, decision: Decision);

    /// Something that happened.
    fn event(&mut self, event: Event);

    /// The start of a pod.
    fn cold_start(&mut self, start: ColdStart);
}

impl Recorder for Recording {
    fn revision(&mut self, revision: Revision) -> u16 {
        let known = self.revisions.iter().position(|held| held.name == revision.name);
        let index = known.unwrap_or_else(|| {
            self.revisions.push(revision);
            self.revisions.len() - 1
        });
        // Nobody makes 65 536 revisions in a run; if somebody does, the last index stands for the rest.
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    fn request(&mut self, request: Request) {
        self.requests.push(request);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], t_ns: u64, value: f64) {
        if value.is_finite() {
            self.series.entry(SeriesKey::new(name, labels)).or_default().push(Point { t_ns, value });
        }
    }

    fn point(&mut self, series: &SeriesId, t_ns: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let point = Point { t_ns, value };
        match self.series.get_mut(series.key.as_ref()) {
            Some(points) => points.push(point),
            None => drop(self.series.insert(series.key.as_ref().clone(), vec![point])),
        }
    }

    fn decision(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn cold_start(&mut self, start: ColdStart) {
        self.cold_starts.push(start);
    }
}
