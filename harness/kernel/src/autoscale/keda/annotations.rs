//! A ScaledObject's annotations `autoscaling.keda.sh/…`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::KedaError;

/// What the annotations ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotations {
    /// `paused`: nothing is scaled and there is no HorizontalPodAutoscaler.
    pub paused: bool,
    /// `paused-replicas`: paused, at this many replicas.
    pub paused_replicas: Option<i32>,
    /// `paused-scale-in`: never down.
    pub paused_scale_in: bool,
    /// `paused-scale-out`: never up.
    pub paused_scale_out: bool,
    /// `force-activation`: active whatever triggers say.
    pub force_activation: bool,
}

impl Annotations {
    /// Reads them; others are left alone. A value that is no truth value counts as true, as upstream has it.
    ///
    /// # Errors
    /// `paused-replicas` is no number.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Self, KedaError> {
        let text = |name: &str| annotations.get(&format!("autoscaling.keda.sh/{name}"));
        let is_set = |name: &str| {
            text(name)
                .is_some_and(|text| !matches!(text.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False"))
        };
        let paused_replicas = match text("paused-replicas") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                KedaError::new("autoscaling.keda.sh/paused-replicas", format!("{text:?}"), "a whole number")
            })?),
        };
        Ok(Self {
            paused: is_set("paused"),
            paused_replicas,
            paused_scale_in: is_set("paused-scale-in"),
            paused_scale_out: is_set("paused-scale-out"),
            force_activation: is_set("force-activation"),
        })
    }

    /// Whether scaling is off altogether.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused || self.paused_replicas.is_some()
    }
}
