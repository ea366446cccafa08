//! How long a pod stays bound to a node that is out of reach.

use k8s_openapi::api::core::v1::Toleration as Listed;
use serde::{Deserialize, Serialize};

/// The taint of a node that is out of reach; its value is empty.
const KEY: &str = "node.kubernetes.io/unreachable";
const EFFECT: &str = "NoExecute";

/// What a pod's `tolerations` say about that taint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Toleration {
    /// Nothing: the API server adds its default.
    #[default]
    Default,
    /// So long; 0 when the pod tolerates it not at all.
    For {
        /// Nanoseconds from the taint to the eviction.
        length_ns: u64,
    },
    /// Without an end.
    Forever,
}

impl Toleration {
    /// Reads a pod's tolerations: the first that matches the taint counts, as in upstream's taint eviction; the API
    /// server (`DefaultTolerationSeconds`) adds its default only where none names the key, whatever its operator.
    pub(super) fn of(listed: &[Listed]) -> Self {
        let is_unset_or = |field: &Option<String>, value: &str| {
            field.as_deref().is_none_or(|field| field.is_empty() || field == value)
        };
        let mut named = listed.iter().filter(|toleration| {
            is_unset_or(&toleration.key, KEY) && is_unset_or(&toleration.effect, EFFECT)
        });
        if named.clone().next().is_none() {
            return Self::Default;
        }
        let matches = |toleration: &&Listed| {
            let exists = toleration.operator.as_deref() == Some("Exists");
            exists || toleration.value.as_deref().unwrap_or_default().is_empty()
        };
        match named.find(matches).map(|toleration| toleration.toleration_seconds) {
            None => Self::For { length_ns: 0 },
            Some(None) => Self::Forever,
            Some(Some(seconds)) => {
                Self::For { length_ns: u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000) }
            }
        }
    }

    /// How long after the taint the pod is evicted, nanoseconds, where the default is `default_ns`; `None` is never.
    pub fn length_ns(self, default_ns: u64) -> Option<u64> {
        match self {
            Self::Default => Some(default_ns),
            Self::For { length_ns } => Some(length_ns),
            Self::Forever => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, operator: &str, value: &str, effect: &str, seconds: Option<i64>) -> Listed {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Listed {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            toleration_seconds: seconds,
        }
    }

    /// A pod that should move after ten seconds would stay for five minutes, or the other way round.
    #[test]
    fn a_pods_own_tolerations_win_over_the_default() {
        let s = 1_000_000_000;
        let length = |list: &[Listed]| Toleration::of(list).length_ns(300 * s);
        assert_eq!(length(&[]), Some(300 * s));
        assert_eq!(length(&[listed("nvidia.com/gpu", "Exists", "", "NoSchedule", None)]), Some(300 * s));
        assert_eq!(length(&[listed(KEY, "Exists", "", "NoSchedule", None)]), Some(300 * s));
        assert_eq!(length(&[listed(KEY, "Exists", "", "NoExecute", Some(10))]), Some(10 * s));
        assert_eq!(length(&[listed(KEY, "Exists", "", "", Some(-1))]), Some(0));
        assert_eq!(length(&[listed(KEY, "", "", "NoExecute", Some(20))]), Some(20 * s));
        assert_eq!(length(&[listed("", "Exists", "", "", None)]), None, "tolerates everything for ever");
        assert_eq!(length(&[listed(KEY, "Equal", "yes", "NoExecute", Some(20))]), Some(0), "another value");
        let two = [listed(KEY, "Exists", "", "", Some(7)), listed("", "Exists", "", "", Some(5))];
        assert_eq!(length(&two), Some(7 * s), "the first that matches");
    }
}
