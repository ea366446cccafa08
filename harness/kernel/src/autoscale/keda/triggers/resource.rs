//! cpu and memory: metrics that the HorizontalPodAutoscaler looks at itself.
//!
//! Source: `pkg/scalers/cpu_memory_scaler.go`.

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::super::spec::MetricType;
use super::metadata::Metadata;
use crate::autoscale::hpa::Quantity;
use crate::autoscale::hpa::spec::{MetricSpec, Target};

/// The trigger's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `cpu` or `memory`.
    pub name: String,
    /// Only of this container.
    pub container: Option<String>,
    /// Target.
    pub target: Target,
}

impl Resource {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that KEDA would refuse.
    pub fn read(
        name: &str,
        metric_type: Option<MetricType>,
        metadata: &Metadata<'_>,
    ) -> Result<Self, KedaError> {
        let text = metadata.needed("value")?;
        let target = match metric_type {
            Some(MetricType::Utilization) => Target::Utilization(
                text.parse().map_err(|_| metadata.refuse("value", "a whole number of percent"))?,
            ),
            Some(MetricType::AverageValue) => Target::AverageValue(
                text.parse::<Quantity>().map_err(|error| metadata.refuse("value", &error.to_string()))?,
            ),
            Some(MetricType::Value) | None => {
                return Err(metadata.refuse("value", "a metricType of Utilization or AverageValue for it"));
            }
        };
        let container = metadata.text("containerName").map(str::to_string);
        Ok(Self { name: name.to_string(), container, target })
    }

    /// The metric of the HorizontalPodAutoscaler.
    pub(crate) fn metric_spec(&self) -> MetricSpec {
        let (name, target) = (self.name.clone(), self.target);
        match self.container.clone() {
            Some(container) => MetricSpec::ContainerResource { name, container, target },
            None => MetricSpec::Resource { name, target },
        }
    }
}
