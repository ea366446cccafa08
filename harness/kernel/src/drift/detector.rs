//! Drift of a stream: windows of values, one after the other.

use serde::{Deserialize, Serialize};

use super::{DriftError, Outcome, Reference, Test};

/// Compares every `window` values of a stream with a reference. Windows do not overlap, so their tests are independent
/// and a p-value threshold is the rate of false alarms a window.
///
/// ```
/// use windtunnel_kernel::drift::{Detector, Test};
///
/// let reference: Vec<f64> = (0..500).map(|i| f64::from(i % 50)).collect();
/// let mut detector = Detector::new(&reference, Test::Ks, 100, 0.001)?;
/// let calm = (0..100_u32).filter_map(|i| detector.observe(f64::from(i % 50), i.into())).count();
/// let shifted = (100..200_u32).filter_map(|i| detector.observe(f64::from(i % 50 + 20), i.into())).count();
/// assert_eq!((calm, shifted), (0, 1));
/// # Ok::<(), windtunnel_kernel::drift::DriftError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    reference: Reference,
    test: Test,
    window: usize,
    threshold: f64,
    values: Vec<f64>,
    dropped: u64,
    since_ns: u64,
    latest: Option<Outcome>,
    windows: u64,
    drifted: u64,
}

/// A window that no longer looks like the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// When its last value came, nanoseconds.
    pub at_ns: u64,
    /// When its first value came, nanoseconds.
    pub since_ns: u64,
    /// How it compares.
    pub outcome: Outcome,
}

/// Windows hold at most this many values; longer ones are cut.
pub const WINDOW_MAXIMUM: usize = 1_000_000;

impl Detector {
    /// A detector of numbers.
    ///
    /// # Errors
    /// Fewer than two finite values in the reference.
    pub fn new(reference: &[f64], test: Test, window: usize, threshold: f64) -> Result<Self, DriftError> {
        Self::with_reference(Reference::numbers(reference)?, test, window, threshold)
    }

    /// A detector with a reference of numbers or of categories. Windows of fewer than two values are taken for two.
    ///
    /// # Errors
    /// The test orders values, and the reference is of categories.
    pub fn with_reference(
        reference: Reference,
        test: Test,
        window: usize,
        threshold: f64,
    ) -> Result<Self, DriftError> {
        // Tells a test that does not fit before the first window is full.
        reference.compare(test, &[0.0, 0.0], threshold)?;
        Ok(Self {
            reference,
            test,
            window: window.clamp(2, WINDOW_MAXIMUM),
            threshold,
            values: Vec::new(),
            dropped: 0,
            since_ns: 0,
            latest: None,
            windows: 0,
            drifted: 0,
        })
    }

    /// Takes a value that came at `now_ns`. The alarm is that of the window that it fills. A window of values of which
    /// fewer than two are finite says nothing.
    pub fn observe(&mut self, value: f64, now_ns: u64) -> Option<Alarm> {
        if self.values.is_empty() && self.dropped == 0 {
            self.since_ns = now_ns;
        }
        if value.is_finite() {
            self.values.push(value);
        } else {
            self.dropped += 1;
        }
        if self.values.len() as u64 + self.dropped < self.window as u64 {
            return None;
        }
        let (window, dropped) = (std::mem::take(&mut self.values), std::mem::take(&mut self.dropped));
        let outcome = self.reference.compare(self.test, &window, self.threshold).ok()?;
        let outcome = Outcome { dropped, ..outcome };
        self.windows += 1;
        self.drifted += u64::from(outcome.drift);
        self.latest = Some(outcome);
        outcome.drift.then_some(Alarm { at_ns: now_ns, since_ns: self.since_ns, outcome })
    }

    /// How the latest full window compares.
    #[must_use]
    pub fn latest(&self) -> Option<&Outcome> {
        self.latest.as_ref()
    }

    /// Full windows so far, and how many of them had drifted.
    #[must_use]
    pub fn windows(&self) -> (u64, u64) {
        (self.windows, self.drifted)
    }
}
