//! external and external-push: whatever a scaler of somebody else's says over gRPC.
//!
//! The names and targets of its metrics are known only after it has been asked, so a trigger that has just been read has
//! none yet, and one that names several becomes several ([`External::with`]).
//!
//! Source: `pkg/scalers/external_scaler.go`, `pkg/scalers/externalscaler/externalscaler.proto`.

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::metadata::Metadata;
use super::{Measured, thousandths};

/// The trigger's settings, and one of its metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct External {
    /// Whether the scaler tells of activity by itself as well (`external-push`).
    pub is_push: bool,
    /// The metric; `None` = the scaler has not been asked yet.
    pub metric: Option<ExternalMetric>,
}

/// A metric as the scaler names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalMetric {
    /// Its name, without the trigger's index.
    pub name: String,
    /// Target.
    pub target: f64,
}

impl External {
    /// Reads the settings.
    ///
    /// # Errors
    /// There is no address.
    pub fn read(is_push: bool, metadata: &Metadata<'_>) -> Result<Self, KedaError> {
        if metadata.text("scalerAddress").is_none() {
            return Err(metadata.refuse("scalerAddress", "the address of a gRPC server, HOST:PORT"));
        }
        metadata.truth("enableTLS", false)?;
        metadata.truth("unsafeSsl", false)?;
        Ok(Self { is_push, metric: None })
    }

    /// The trigger with a metric that the scaler named.
    #[must_use]
    pub fn with(&self, metric: ExternalMetric) -> Self {
        Self { is_push: self.is_push, metric: Some(metric) }
    }

    /// What the scaler says: values of the metric, which the HorizontalPodAutoscaler adds up, and its own word on whether it
    /// is active.
    #[must_use]
    pub fn measure(values: &[f64], is_active: bool) -> Measured {
        let total = values.iter().fold(0_i64, |total, value| total.saturating_add(thousandths(*value)));
        Measured { value: total as f64 / 1000.0, active: is_active }
    }
}
