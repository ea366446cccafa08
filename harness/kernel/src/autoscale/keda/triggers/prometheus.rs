//! Prometheus: the one number that a query gives.
//!
//! Source: `pkg/scalers/prometheus_scaler.go`.

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::Measured;
use super::metadata::Metadata;

/// The trigger's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prometheus {
    /// The query.
    pub query: String,
    /// Target.
    pub threshold: f64,
    /// Active above this.
    pub activation_threshold: f64,
    /// Whether no answer, or one that is not finite, is 0 instead of an error.
    pub ignore_null_values: bool,
}

impl Prometheus {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that KEDA would refuse.
    pub fn read(metadata: &Metadata<'_>) -> Result<Self, KedaError> {
        Ok(Self {
            query: metadata.needed("query")?,
            threshold: metadata
                .number("threshold")?
                .ok_or_else(|| metadata.refuse("threshold", "a number"))?,
            activation_threshold: metadata.number("activationThreshold")?.unwrap_or(0.0),
            ignore_null_values: metadata.truth("ignoreNullValues", true)?,
        })
    }

    /// What the query gives: a number a series.
    ///
    /// # Errors
    /// What the scaler would say: several series, or nothing where that is no answer.
    pub fn measure(&self, series: &[f64]) -> Result<Measured, String> {
        let value = match series {
            [] if self.ignore_null_values => 0.0,
            [] => return Err("target may be lost, the result is empty".to_string()),
            [value] if value.is_finite() => *value,
            [_] if self.ignore_null_values => 0.0,
            [value] => return Err(format!("query returns {value}")),
            _ => return Err("query returned multiple elements".to_string()),
        };
        Ok(Measured { value, active: value > self.activation_threshold })
    }
}
