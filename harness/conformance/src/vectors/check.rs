//! Comparing what a kernel decided with what is expected.

use std::fmt::Debug;

use super::fields::{Fields, FromValue};

/// Differences found so far.
#[derive(Default)]
pub(crate) struct Checks {
    compared: usize,
    differences: Vec<String>,
}

/// How near a computed fraction must come, relative or absolute, where the vector gives no tolerance.
const TOLERANCE: f64 = 1e-9;

impl Checks {
    /// Checks `key` of `expect`, if it is there, for equality.
    pub(crate) fn equal<'a, T>(
        &mut self,
        expect: &Fields<'a>,
        key: &'static str,
        found: &T,
    ) -> Result<(), String>
    where
        T: FromValue<'a> + PartialEq + Debug,
    {
        if let Some(expected) = expect.opt::<T>(key)? {
            self.compared += 1;
            if expected != *found {
                self.differ(&expect.at(key), &expected, found);
            }
        }
        Ok(())
    }

    /// Checks `key` of `expect`, if it is there, for equality up to `tolerance`.
    pub(crate) fn near(
        &mut self,
        expect: &Fields<'_>,
        key: &'static str,
        found: f64,
        tolerance: Option<f64>,
    ) -> Result<(), String> {
        if let Some(expected) = expect.opt::<f64>(key)? {
            self.compare(&expect.at(key), expected, found, tolerance);
        }
        Ok(())
    }

    /// Checks an instant, of which there may be none.
    pub(crate) fn equal_instant(&mut self, place: &str, expected_ns: u64, found_ns: Option<u64>) {
        self.compared += 1;
        if found_ns != Some(expected_ns) {
            self.differ(place, &Some(expected_ns), &found_ns);
        }
    }

    /// Checks a list of numbers that must be there.
    pub(crate) fn all_near(
        &mut self,
        expect: &Fields<'_>,
        key: &'static str,
        found: &[f64],
        tolerance: Option<f64>,
    ) -> Result<(), String> {
        let expected: Vec<f64> = expect.get(key)?;
        let place = expect.at(key);
        if self.count(&place, expected.len(), found.len()) {
            for (index, (&expected, &found)) in expected.iter().zip(found).enumerate() {
                self.compare(&format!("{place}[{index}]"), expected, found, tolerance);
            }
        }
        Ok(())
    }

    /// Checks that as many results were expected as there are.
    pub(crate) fn count(&mut self, place: &str, expected: usize, found: usize) -> bool {
        if expected != found {
            self.differences.push(format!("{place}: expected {expected} results, got {found}"));
        }
        expected == found
    }

    /// Notes a difference in words.
    pub(crate) fn fault(&mut self, message: String) {
        self.differences.push(message);
    }

    /// Whether nothing has been compared or noted: a vector that tests nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.compared == 0 && self.differences.is_empty()
    }

    /// All differences in one line.
    pub(crate) fn finish(self) -> Result<(), String> {
        if self.differences.is_empty() { Ok(()) } else { Err(self.differences.join("; ")) }
    }

    fn compare(&mut self, place: &str, expected: f64, found: f64, tolerance: Option<f64>) {
        self.compared += 1;
        let allowed = tolerance.unwrap_or(TOLERANCE * expected.abs().max(1.0));
        let difference = (expected - found).abs();
        if difference.is_nan() || difference > allowed {
            self.differ(place, &expected, &found);
        }
    }

    fn differ(&mut self, place: &str, expected: &impl Debug, found: &impl Debug) {
        self.differences.push(format!("{place}: expected {expected:?}, got {found:?}"));
    }
}
