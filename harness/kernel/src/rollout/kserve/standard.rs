//! `spec.canary[]`: canaries of a Standard-mode `InferenceService`, each a predictor with a percentage.
//!
//! Upstream: `components/predictor.go` (`reconcileCanaryDeployments`, `adjustStableMinReplicasForCanaries`) and
//! `reconcilers/ingress/httproute_reconciler.go` (`applyCanaryWeights`).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Profile;
use crate::rollout::value::saturate;

/// A canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Canary {
    /// `predictor.name`.
    pub name: String,
    /// Its percentage of the requests.
    pub traffic_percent: i32,
    /// `predictor.minReplicas`; `None` = follows from the percentage.
    pub min_replicas: Option<i32>,
    /// Replicas of its Deployment that serve.
    pub available_replicas: i32,
}

impl Canary {
    /// Whether it gets requests: at least one of its replicas serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.available_replicas > 0
    }
}

/// A stable predictor with its canaries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Predictor {
    /// The `InferenceService`'s name.
    pub service: String,
    /// `spec.predictor.name`; empty = it has none.
    pub name: String,
    /// `spec.predictor.minReplicas`.
    pub min_replicas: Option<i32>,
    /// `spec.canary`.
    pub canaries: Vec<Canary>,
    /// Whether the `InferenceService` is stopped.
    pub stopped: bool,
}

/// A backend of a route's rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Name of the Kubernetes service.
    pub service: String,
    /// Its share of 100.
    pub weight: i32,
}

/// The condition `CanaryPredictorReady`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CanaryCondition {
    /// True: `AllCanariesReady`.
    AllCanariesReady,
    /// False: `CanariesNotReady`.
    CanariesNotReady,
    /// False: `Stopped`.
    Stopped,
}

/// What a reconcile has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Replicas of each canary, in the order of the manifest.
    pub canary_replicas: Vec<i32>,
    /// The stable predictor's least replicas; `None` = the manifest does not say.
    pub stable_min_replicas: Option<i32>,
    /// Backends of the predictor's route.
    pub backends: Vec<Backend>,
    /// The condition; `None` = there are no canaries.
    pub condition: Option<CanaryCondition>,
    /// Why.
    pub explanation: Explanation,
}

/// Why a reconcile has come to that. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Least replicas that the manifest gives the stable predictor.
    pub min_replicas: Option<i32>,
    /// What is left of them.
    pub stable_min_replicas: Option<i32>,
    /// Canaries: name, percentage, replicas, whether it is ready.
    pub canaries: Vec<(String, i32, i32, bool)>,
    /// The stable predictor's weight.
    pub stable_weight: i32,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stable gets {}", self.stable_weight)?;
        match (self.min_replicas, self.stable_min_replicas) {
            (Some(wanted), Some(left)) if wanted != left => write!(f, ", replicas {wanted} -> {left}")?,
            (Some(wanted), _) => write!(f, ", replicas {wanted}")?,
            _ => {}
        }
        for (name, percent, replicas, is_ready) in &self.canaries {
            let ready = if *is_ready { "" } else { ", not ready: no requests yet" };
            write!(f, "; {name} {percent}% with {replicas} replicas{ready}")?;
        }
        Ok(())
    }
}

/// What is wrong with canaries, in the order and the words of upstream's webhook, as far as it is about names and
/// numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanaryError {
    /// A canary without a name.
    #[error("canary[{0}] predictor.name is required")]
    NameRequired(usize),
    /// Two canaries of a name.
    #[error("canary predictor.name {0:?} is duplicated")]
    Duplicated(String),
    /// A canary with the stable predictor's name.
    #[error("canary predictor.name {0:?} conflicts with stable predictor name")]
    Conflicts(String),
    /// A percentage that is none.
    #[error("canary {name:?} trafficPercent must be between 0 and 100, got {percent}")]
    Percent {
        /// The canary.
        name: String,
        /// What it says.
        percent: i32,
    },
    /// More replicas than the stable predictor.
    #[error("minReplicas ({canary}) must not exceed stable predictor minReplicas ({stable})")]
    TooManyReplicas {
        /// The canary's.
        canary: i32,
        /// The stable predictor's.
        stable: i32,
    },
    /// More than everything.
    #[error("sum of canary trafficPercent values ({0}) must be <= 100")]
    Sum(i64),
}

/// Checks names, percentages and replicas.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(predictor: &Predictor) -> Result<(), CanaryError> {
    let mut names = BTreeSet::new();
    let mut sum = 0_i64;
    for (index, canary) in predictor.canaries.iter().enumerate() {
        let name = canary.name.clone();
        if name.is_empty() {
            return Err(CanaryError::NameRequired(index));
        }
        if !names.insert(name.clone()) {
            return Err(CanaryError::Duplicated(name));
        }
        if name == predictor.name {
            return Err(CanaryError::Conflicts(name));
        }
        if !(0..=100).contains(&canary.traffic_percent) {
            return Err(CanaryError::Percent { name, percent: canary.traffic_percent });
        }
        if let (Some(canary), Some(stable)) = (canary.min_replicas, predictor.min_replicas)
            && canary > stable
        {
            return Err(CanaryError::TooManyReplicas { canary, stable });
        }
        sum += i64::from(canary.traffic_percent);
    }
    if sum > 100 { Err(CanaryError::Sum(sum)) } else { Ok(()) }
}

/// A canary's replicas: its own number, else its share of the stable predictor's, rounded up.
#[must_use]
pub fn canary_replicas(predictor: &Predictor, canary: &Canary) -> i32 {
    canary.min_replicas.unwrap_or_else(|| {
        let share = i128::from(predictor.min_replicas.unwrap_or(1)) * i128::from(canary.traffic_percent);
        saturate(share.div_euclid(100) + i128::from(share.rem_euclid(100) != 0))
    })
}

/// The stable predictor's least replicas: less those of canaries that are ready, but at least one. Canaries that are
/// not ready take nothing away, so that no capacity is missing until they are.
#[must_use]
pub fn stable_min_replicas(predictor: &Predictor) -> Option<i32> {
    let wanted = predictor.min_replicas?;
    let ready = predictor.canaries.iter().filter(|canary| canary.is_ready());
    let taken: i128 = ready.map(|canary| i128::from(canary_replicas(predictor, canary))).sum();
    Some(if taken > 0 { saturate((i128::from(wanted) - taken).max(1)) } else { wanted })
}

/// Weighted backends of a rule that now leads to `first` only: the rest there, and its percentage to each canary
/// that is ready.
///
/// Upstream does so with every rule of the service's own route, also one that leads to a transformer or an
/// explainer, so that some requests go past it to a canary predictor: a likely bug, which the Windtunnel profile
/// leaves out.
#[must_use]
pub fn backends(predictor: &Predictor, first: &str, profile: Profile) -> Vec<Backend> {
    let leads_to_predictor = first == service_name(&predictor.service, &predictor.name);
    if !leads_to_predictor && !profile.has_upstream_bugs() {
        return vec![Backend { service: first.to_string(), weight: 100 }];
    }
    let mut rest = 100;
    let mut canaries = Vec::new();
    for canary in predictor.canaries.iter().filter(|canary| canary.is_ready()) {
        // The webhook lets no more than 100 through; without it nothing gets less than nothing.
        let weight = canary.traffic_percent.clamp(0, rest);
        rest -= weight;
        canaries.push(Backend { service: service_name(&predictor.service, &canary.name), weight });
    }
    let mut backends = vec![Backend { service: first.to_string(), weight: rest }];
    backends.append(&mut canaries);
    backends
}

/// Name of a predictor's Deployment and service.
#[must_use]
pub fn service_name(service: &str, predictor: &str) -> String {
    if predictor.is_empty() {
        format!("{service}-predictor")
    } else {
        format!("{service}-{predictor}-predictor")
    }
}

/// One reconcile.
///
/// ```
/// use windtunnel_kernel::Profile;
/// use windtunnel_kernel::rollout::kserve::standard::{Canary, Predictor, reconcile};
///
/// let decision = reconcile(
///     &Predictor {
///         service: "digits".to_string(),
///         min_replicas: Some(4),
///         canaries: vec![Canary {
///             name: "v2".to_string(),
///             traffic_percent: 25,
///             available_replicas: 1,
///             ..Canary::default()
///         }],
///         ..Predictor::default()
///     },
///     Profile::Windtunnel,
/// );
/// assert_eq!((decision.stable_min_replicas, decision.canary_replicas), (Some(3), vec![1]));
/// assert_eq!(
///     decision.explanation.to_string(),
///     "stable gets 75, replicas 4 -> 3; v2 25% with 1 replicas"
/// );
/// ```
#[must_use]
pub fn reconcile(predictor: &Predictor, profile: Profile) -> Decision {
    let stable = service_name(&predictor.service, &predictor.name);
    let backends = backends(predictor, &stable, profile);
    let canary_replicas: Vec<i32> =
        predictor.canaries.iter().map(|canary| canary_replicas(predictor, canary)).collect();
    let stable_min_replicas = stable_min_replicas(predictor);
    let all_ready = predictor.canaries.iter().all(Canary::is_ready);
    let condition = if predictor.canaries.is_empty() {
        None
    } else if predictor.stopped {
        Some(CanaryCondition::Stopped)
    } else if all_ready {
        Some(CanaryCondition::AllCanariesReady)
    } else {
        Some(CanaryCondition::CanariesNotReady)
    };
    let canaries = predictor.canaries.iter().zip(&canary_replicas).map(|(canary, &replicas)| {
        (canary.name.clone(), canary.traffic_percent, replicas, canary.is_ready())
    });
    let explanation = Explanation {
        min_replicas: predictor.min_replicas,
        stable_min_replicas,
        canaries: canaries.collect(),
        stable_weight: backends.first().map_or(100, |backend| backend.weight),
    };
    Decision { canary_replicas, stable_min_replicas, backends, condition, explanation }
}
