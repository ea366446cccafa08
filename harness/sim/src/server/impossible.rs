//! Settings that no server, broker or client can have.

use std::fmt;

/// A setting whose value makes no sense, with what would.
///
/// ```
/// use windtunnel_sim::server::Draw;
/// let refused = Draw::exponential(-1.0).unwrap_err();
/// assert_eq!(refused.to_string(), "mean of an exponential distribution is -1 ns: take a finite number of 0 or more");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// What was set.
    pub setting: &'static str,
    /// The value that it cannot have, with its unit.
    pub value: String,
    /// What it could be instead.
    pub remedy: &'static str,
}

impl Impossible {
    pub(crate) fn new(setting: &'static str, value: impl fmt::Display, remedy: &'static str) -> Self {
        Self { setting, value: value.to_string(), remedy }
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}: {}", self.setting, self.value, self.remedy)
    }
}

impl std::error::Error for Impossible {}

/// `value` if it is a finite number above zero.
pub(crate) fn positive(setting: &'static str, value: f64, remedy: &'static str) -> Result<f64, Impossible> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(Impossible::new(setting, value, remedy)) }
}

/// `value` if it is a finite number of zero or more.
pub(crate) fn not_negative(
    setting: &'static str,
    value: f64,
    remedy: &'static str,
) -> Result<f64, Impossible> {
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(Impossible::new(setting, value, remedy)) }
}
