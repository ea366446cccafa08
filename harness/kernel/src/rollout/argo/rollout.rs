//! One `Rollout`.

use serde::{Deserialize, Serialize};

use super::AnalysisPhase;
use super::decision::{Decision, Observation};
use super::reconcile::Reconcile;
use super::spec::RolloutSpec;
use super::status::Status;

/// One `Rollout` object. It can be stored after any step and goes on with the same decisions.
///
/// Call [`step`](Self::step) when a ReplicaSet, an analysis or the `spec` changes, after each
/// [`requeue_after_ns`](Decision::requeue_after_ns), and after a user's word ([`abort`](Self::abort),
/// [`retry`](Self::retry), [`promote`](Self::promote), [`promote_full`](Self::promote_full)); and do what the
/// decision says. As upstream, a step changes little and asks to be called again at once.
///
/// ```
/// use windtunnel_kernel::rollout::argo::{Effect, Observation, ReplicaSet, Rollout, RolloutSpec, Status};
///
/// let spec: RolloutSpec = serde_json::from_str(
///     r#"{"replicas": 4, "strategy": {"canary": {"maxSurge": 1, "maxUnavailable": 0,
///         "steps": [{"setWeight": 25}, {"pause": {}}]}}}"#,
/// )?;
/// let status = Status {
///     stable_hash: "v1".to_string(),
///     current_pod_hash: "v2".to_string(),
///     current_steps: Some(spec.steps().to_vec()),
///     current_step_index: Some(0),
///     ..Status::default()
/// };
/// let mut rollout = Rollout::new(spec).resumed(status);
/// let decision = rollout.step(&Observation {
///     template_hash: "v2".to_string(),
///     replica_sets: vec![ReplicaSet::new("v1", 4, 4), ReplicaSet::new("v2", 0, 0)],
///     ..Observation::default()
/// });
/// assert_eq!(decision.effects, [Effect::Scale { hash: "v2".to_string(), from: 0, to: 1 }]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    pub(super) spec: RolloutSpec,
    pub(super) status: Status,
}

impl Rollout {
    /// A rollout that nobody has looked at yet.
    #[must_use]
    pub fn new(spec: RolloutSpec) -> Self {
        Self { spec, status: Status::default() }
    }

    /// The same rollout, as if it had come to `status`.
    #[must_use]
    pub fn resumed(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Takes a changed `spec`. Changed steps begin again.
    pub fn reconfigure(&mut self, spec: RolloutSpec) {
        self.spec = spec;
    }

    /// Takes another number of replicas, as an autoscaler sets it.
    pub fn scale(&mut self, replicas: i32) {
        self.spec.replicas = Some(replicas);
    }

    /// The `spec` in force.
    #[must_use]
    pub fn spec(&self) -> &RolloutSpec {
        &self.spec
    }

    /// The `status` as of the latest step.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// A user's word: back to the stable version.
    pub fn abort(&mut self) {
        self.status.abort = true;
    }

    /// A user's word: an aborted rollout begins again.
    pub fn retry(&mut self) {
        self.status.abort = false;
        self.status.abort_message.clear();
    }

    /// A user's word: a paused rollout goes on; one that is not paused, or whose analysis could not say, leaves out
    /// its step. Upstream: `kubectl argo rollouts promote`.
    pub fn promote(&mut self) {
        self.spec.paused = false;
        let status = &mut self.status;
        let was_paused = !status.pause_conditions.is_empty();
        let could_not_say = was_paused
            && status.controller_pause
            && self.spec.canary().is_some()
            && status.runs.step.as_ref().is_some_and(|run| run.phase == AnalysisPhase::Inconclusive);
        status.pause_conditions.clear();
        if could_not_say {
            status.controller_pause = false;
        } else if was_paused {
            return;
        }
        if let Some(index) = status.current_step_index {
            status.current_step_index = Some(index.saturating_add(1).min(self.spec.step_count()));
        }
    }

    /// A user's word: the new version is promoted without further steps, pauses and analyses.
    pub fn promote_full(&mut self) {
        self.spec.paused = false;
        self.status.promote_full = !self.status.is_fully_promoted();
    }

    /// A user's word: everything stays as it is.
    pub fn pause(&mut self) {
        self.spec.paused = true;
    }

    /// A user's word: what [`pause`](Self::pause) held goes on. Pauses of steps stay.
    pub fn resume(&mut self) {
        self.spec.paused = false;
    }

    /// Decides.
    pub fn step(&mut self, observation: &Observation) -> Decision {
        let (status, decision) = Reconcile::new(&self.spec, &self.status, observation).decide();
        self.status = status;
        decision
    }
}
