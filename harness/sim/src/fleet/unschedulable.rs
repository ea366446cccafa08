//! Why a pod is pending, in Kubernetes' words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why no node takes a pod: what `kubectl describe pod` shows as `FailedScheduling`.
///
/// ```
/// use windtunnel_sim::fleet::Unschedulable;
/// let mut why = Unschedulable::default();
/// why.nodes = 3;
/// why.reasons.insert("Insufficient cpu".into(), 2);
/// why.reasons.insert("Insufficient nvidia.com/gpu".into(), 1);
/// assert_eq!(
///     why.to_string(),
///     "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 Insufficient cpu."
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unschedulable {
    /// Nodes that the cluster knows.
    pub nodes: usize,
    /// On how many of them each reason holds. One node can have several.
    pub reasons: BTreeMap<String, usize>,
}

impl Unschedulable {
    /// The reason that holds on the most nodes, the first by name among equals: the label of a time series.
    pub fn main_reason(&self) -> &str {
        let most = self.reasons.values().max();
        let reason = self.reasons.iter().find(|(_, count)| Some(*count) == most);
        reason.map_or("no nodes available", |(reason, _)| reason)
    }
}

impl fmt::Display for Unschedulable {
    /// As `FitError.Error()` in kubernetes `pkg/scheduler/framework/types.go`: counted reasons, sorted as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available", self.nodes)?;
        let mut reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort_unstable();
        for (index, reason) in reasons.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { ", " })?;
            f.write_str(reason)?;
        }
        f.write_str(".")
    }
}
