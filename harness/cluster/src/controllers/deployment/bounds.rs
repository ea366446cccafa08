//! `maxSurge` and `maxUnavailable` as numbers of pods.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// How far a rolling update may go beside the wanted number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pods above the wanted number.
    pub surge: i32,
    /// Pods below the wanted number.
    pub unavailable: i32,
}

impl Bounds {
    /// The bounds of a Deployment: surge is rounded up, unavailable down, and if both came out as 0 one pod may be
    /// unavailable, else the update could never move. `Recreate` has no surge.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let Some(spec) = &deployment.spec else { return Self { surge: 0, unavailable: 0 } };
        let wanted = replicas(spec);
        let strategy = spec.strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Self { surge: 0, unavailable: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&quarter), wanted, true);
        let unavailable =
            resolve(rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&quarter), wanted, false);
        if wanted == 0 {
            return Self { surge, unavailable: 0 };
        }
        if surge == 0 && unavailable == 0 {
            return Self { surge: 0, unavailable: 1 };
        }
        Self { surge, unavailable: unavailable.min(wanted) }
    }
}

/// A number, or a percentage of `total` rounded up or down. Text that is neither counts as 0; the API server
/// refuses it.
#[must_use]
pub fn resolve(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let hundredths = percent.max(0).saturating_mul(i64::from(total));
            let whole = if round_up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// The wanted number of replicas; 1 where the manifest says nothing.
pub(super) fn replicas(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1)
}
