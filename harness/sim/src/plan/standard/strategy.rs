//! How a Deployment replaces its pods.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `spec.strategy` of a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// All old pods go before the first new one comes.
    Recreate,
    /// A few at a time.
    RollingUpdate {
        /// Pods above the wanted number; a share is rounded up.
        max_surge: Amount,
        /// Pods below the wanted number that may be missing; a share is rounded down.
        max_unavailable: Amount,
    },
}

/// A number of pods, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount {
    /// Pods.
    Pods(u32),
    /// Percent of the wanted number.
    Percent(u32),
}

/// What a rolling update may do at a wanted number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leeway {
    pub(crate) surge: u32,
    pub(crate) unavailable: u32,
}

impl Default for Strategy {
    fn default() -> Self {
        Self::RollingUpdate { max_surge: Amount::Percent(25), max_unavailable: Amount::Percent(25) }
    }
}

impl Strategy {
    /// Reads `spec.strategy`; what it leaves out is the API server's 25 %.
    ///
    /// # Errors
    /// The first field that the API server would refuse.
    pub fn of(value: Option<&Value>) -> Result<Self, String> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Self::default()) };
        match value["type"].as_str().unwrap_or("RollingUpdate") {
            "Recreate" if value["rollingUpdate"].is_null() => Ok(Self::Recreate),
            "Recreate" => {
                Err("deploymentStrategy.rollingUpdate may not be given with type Recreate".to_owned())
            }
            "RollingUpdate" => {
                let amount = |field: &str| {
                    match &value["rollingUpdate"][field] {
                    Value::Null => Ok(Amount::Percent(25)),
                    given => Amount::of(given).ok_or_else(|| {
                        format!("deploymentStrategy.rollingUpdate.{field} is {given}; write pods such as 1, or a share such as 25%")
                    }),
                }
                };
                let (max_surge, max_unavailable) = (amount("maxSurge")?, amount("maxUnavailable")?);
                if max_surge.is_nothing() && max_unavailable.is_nothing() {
                    return Err(
                        "deploymentStrategy.rollingUpdate.maxUnavailable may not be 0 when maxSurge is 0"
                            .to_owned(),
                    );
                }
                Ok(Self::RollingUpdate { max_surge, max_unavailable })
            }
            other => {
                Err(format!("deploymentStrategy.type is {other:?}; it may be Recreate or RollingUpdate"))
            }
        }
    }

    /// The numbers at `replicas`. Where both round to nothing one pod may be missing.
    pub(crate) fn leeway(self, replicas: u32) -> Leeway {
        let Self::RollingUpdate { max_surge, max_unavailable } = self else {
            return Leeway { surge: 0, unavailable: replicas };
        };
        let surge = max_surge.up(replicas);
        let unavailable = max_unavailable.down(replicas);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Leeway { surge, unavailable: unavailable.min(replicas) }
    }
}

impl Amount {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self::Pods(u32::try_from(number.as_u64()?).ok()?)),
            Value::String(text) => Some(Self::Percent(text.strip_suffix('%')?.parse().ok()?)),
            _ => None,
        }
    }

    fn is_nothing(self) -> bool {
        matches!(self, Self::Pods(0) | Self::Percent(0))
    }

    fn up(self, replicas: u32) -> u32 {
        self.of_replicas(replicas, u64::div_ceil)
    }

    fn down(self, replicas: u32) -> u32 {
        self.of_replicas(replicas, |share, whole| share / whole)
    }

    fn of_replicas(self, replicas: u32, divide: fn(u64, u64) -> u64) -> u32 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => {
                u32::try_from(divide(u64::from(replicas) * u64::from(percent), 100)).unwrap_or(u32::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A share that is rounded the wrong way loses capacity in every update.
    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        let at = |replicas| {
            let leeway = Strategy::default().leeway(replicas);
            (leeway.surge, leeway.unavailable)
        };
        assert_eq!([at(1), at(2), at(4), at(10)], [(1, 0), (1, 0), (1, 1), (3, 2)]);
        let of = |text: &str| Strategy::of(Some(&serde_json::from_str(text).expect("JSON")));
        let none = of("{\"rollingUpdate\": {\"maxSurge\": 0, \"maxUnavailable\": \"10%\"}}").expect("sound");
        assert_eq!(none.leeway(4).unavailable, 1, "one pod, or nothing would ever happen");
        assert!(of("{\"rollingUpdate\": {\"maxSurge\": 0, \"maxUnavailable\": 0}}").is_err());
        assert!(of("{\"rollingUpdate\": {\"maxSurge\": \"many\"}}").is_err());
        assert!(of("{\"type\": \"Blue\"}").is_err());
        assert_eq!(of("{\"type\": \"Recreate\"}").expect("sound").leeway(3).unavailable, 3);
    }
}
