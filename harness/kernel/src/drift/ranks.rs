//! Two ascending samples side by side.

/// The distinct values of two ascending samples, in order: for each, how many of either sample are at most it, and how
/// many equal it.
pub(crate) struct Steps<'a> {
    one: &'a [f64],
    other: &'a [f64],
    passed: (usize, usize),
}

/// One distinct value.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) value: f64,
    /// Values at most this one, in either sample.
    pub(crate) at_most: (usize, usize),
    /// Values equal to it, in either sample.
    pub(crate) equal: (usize, usize),
}

pub(crate) fn steps<'a>(one: &'a [f64], other: &'a [f64]) -> Steps<'a> {
    Steps { one, other, passed: (0, 0) }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (one, other) = (&self.one[self.passed.0..], &self.other[self.passed.1..]);
        let value = match (one.first(), other.first()) {
            (Some(&one), Some(&other)) => one.min(other),
            (Some(&value), None) | (None, Some(&value)) => value,
            (None, None) => return None,
        };
        let count = |sample: &[f64]| sample.iter().take_while(|&&next| next <= value).count();
        let equal = (count(one), count(other));
        self.passed.0 += equal.0;
        self.passed.1 += equal.1;
        Some(Step { value, at_most: self.passed, equal })
    }
}
