//! Drift: inputs and predictions that move away from the reference, and the detector that watches the answers.
//!
//! A request's feature is a number from the standard normal distribution, and so is its prediction; each moves by
//! `shift` standard deviations from `at` on, over `over`, by the time at which the request was sent. The detector sees
//! answered requests in the order of their answers, a window after the other, next to a sample of the reference.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::drift::{Alarm, Detector, DriftError, Test};
use windtunnel_record::Event as Record;
use windtunnel_scenario::{Drift as Settings, DriftDetector, DriftShift, DriftTest};

use super::clients::Request;
use super::{Event as Any, World};
use crate::engine::{Schedule, Stream, Streams};
use crate::error::SimError;

/// Values of the reference. More than 10 000: p-values of larger samples are asymptotic, which costs no more than
/// sorting a window.
const REFERENCE: usize = 12_000;

/// What drifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// What requests hold.
    Feature,
    /// What answers hold.
    Predictions,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Feature, Self::Predictions];

    fn name(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Predictions => "predictions",
        }
    }

    fn shift(self, settings: &Settings) -> Option<DriftShift> {
        match self {
            Self::Feature => settings.feature,
            Self::Predictions => settings.predictions,
        }
    }
}

/// What watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drift {
    settings: Settings,
    watches: Vec<Watch>,
}

/// One number of each request, and its detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watch {
    signal: Signal,
    shift: DriftShift,
    values: Streams,
    detector: Detector,
    /// The latest window was an alarm.
    is_alarmed: bool,
    /// It was detected.
    is_detected: bool,
}

impl Drift {
    /// What a scenario asks for.
    ///
    /// # Errors
    /// A detector that cannot be.
    fn new(settings: Settings, seed: u64) -> Result<Self, DriftError> {
        let DriftDetector { test, window, threshold } = settings.detector;
        let test = match test {
            DriftTest::Ks => Test::Ks,
            DriftTest::Psi => Test::Psi,
        };
        let mut watches = Vec::new();
        for signal in Signal::ALL {
            let Some(shift) = signal.shift(&settings) else { continue };
            let mut chance = Stream::named(seed, &format!("drift/{}/reference", signal.name()));
            let reference: Vec<f64> = (0..REFERENCE).map(|_| chance.normal()).collect();
            watches.push(Watch {
                signal,
                shift,
                values: Streams::named(seed, &format!("drift/{}", signal.name())),
                detector: Detector::new(&reference, test, window as usize, threshold)?,
                is_alarmed: false,
                is_detected: false,
            });
        }
        Ok(Self { settings, watches })
    }
}

impl Watch {
    /// How far the mean is from the reference for a request that was sent then.
    fn offset(&self, sent_ns: u64) -> f64 {
        let (at_ns, over_ns) = (self.shift.at.as_ns(), self.shift.over.as_ns());
        let since_ns = match sent_ns.checked_sub(at_ns) {
            None => return 0.0,
            Some(since_ns) => since_ns,
        };
        if since_ns >= over_ns {
            self.shift.shift
        } else {
            self.shift.shift * since_ns as f64 / over_ns as f64
        }
    }
}

impl World<'_> {
    /// What drifts is watched from now on.
    pub(super) fn start_drift(&mut self, from_ns: u64, schedule: &mut Schedule<Any>) {
        let Some(settings) = self.plan.environment.drift else {
            self.state.drift = None;
            return;
        };
        match Drift::new(settings, self.state.seed) {
            Ok(drift) => self.state.drift = Some(Box::new(drift)),
            Err(error) => {
                let (place, message) = ("spec.environment.drift.detector".to_owned(), error.to_string());
                self.fault = Some(SimError::Environment { place, message });
            }
        }
        for signal in Signal::ALL {
            let at_ns = signal.shift(&settings).map(|shift| shift.at.as_ns());
            if let Some(at_ns) = at_ns.filter(|at_ns| (from_ns..self.plan.duration_ns).contains(at_ns)) {
                schedule.at(self.plan.epoch_ns.saturating_add(at_ns), Any::Drift(signal));
            }
        }
    }

    /// A what-if: the plan's drift, where it is another one.
    pub(super) fn replan_drift(&mut self, from_ns: u64, schedule: &mut Schedule<Any>) {
        let held = self.state.drift.as_ref().map(|drift| drift.settings);
        if held != self.plan.environment.drift {
            schedule.retain(|event| !matches!(event, Any::Drift(_)));
            self.start_drift(from_ns, schedule);
        }
    }

    /// Something begins to drift.
    pub(super) fn drift_begins(&mut self, now_ns: u64, signal: Signal) {
        let drift = self.state.drift.as_ref();
        let watch = drift.and_then(|drift| drift.watches.iter().find(|watch| watch.signal == signal));
        let Some(shift) = watch.map(|watch| watch.shift) else { return };
        let text = format!("the mean moves by {} standard deviations over {}", shift.shift, shift.over);
        self.note(now_ns, Record::DRIFT_BEGAN, signal.name(), &text);
    }

    /// A request is answered, for those who watch.
    #[inline]
    pub(super) fn watch_drift(&mut self, now_ns: u64, request: &Request) {
        if self.state.drift.is_some() {
            self.watch_values(now_ns, request);
        }
    }

    fn watch_values(&mut self, now_ns: u64, request: &Request) {
        let (number, sent_ns) = (self.number_of(&request.arrival, request.caller), request.arrival.at_ns);
        let run_ns = self.run_ns(now_ns);
        let Some(mut drift) = self.state.drift.take() else { return };
        for watch in &mut drift.watches {
            // Loads have numbers of their own.
            let number = number.wrapping_add(u64::from(request.load) << 48);
            let value = watch.values.of(number).normal() + watch.offset(sent_ns);
            let (before, _) = watch.detector.windows();
            let alarm = watch.detector.observe(value, run_ns);
            if watch.detector.windows().0 == before {
                continue;
            }
            let was_alarmed = std::mem::replace(&mut watch.is_alarmed, alarm.is_some());
            let Some(alarm) = alarm else { continue };
            let delay_ns = run_ns.checked_sub(watch.shift.at.as_ns());
            let is_found =
                delay_ns.is_some() && !std::mem::replace(&mut watch.is_detected, delay_ns.is_some());
            if !was_alarmed || is_found {
                self.note(now_ns, Record::DRIFT_DETECTED, watch.signal.name(), &text_of(&alarm, delay_ns));
            }
        }
        self.state.drift = Some(drift);
    }

    /// Writes down how the latest windows compare.
    pub(super) fn sample_drift(&mut self, t_ns: u64) {
        let Some(drift) = &self.state.drift else { return };
        for watch in &drift.watches {
            if let Some(outcome) = watch.detector.latest() {
                let labels = [("feature", watch.signal.name())];
                self.recorder.sample("drift.statistic", &labels, t_ns, outcome.statistic);
            }
        }
    }
}

fn text_of(alarm: &Alarm, delay_ns: Option<u64>) -> String {
    let outcome = &alarm.outcome;
    let p_value = outcome.p_value.map_or(String::new(), |p_value| format!(", p {p_value:.2e}"));
    let seconds = |time_ns: u64| time_ns as f64 / 1e9;
    let when = match delay_ns {
        None => "a false alarm, nothing has drifted yet".to_owned(),
        Some(delay_ns) => format!("{:.3} s after it began", seconds(delay_ns)),
    };
    format!(
        "{} {:.4}{p_value} over the answers from {:.3} s to {:.3} s: {when}",
        outcome.test,
        outcome.statistic,
        seconds(alarm.since_ns),
        seconds(alarm.at_ns)
    )
}
