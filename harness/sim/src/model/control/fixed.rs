//! Nobody scales: the Deployment has the replicas that its manifest says.

use serde::{Deserialize, Serialize};

/// A number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Fixed {
    /// `spec.replicas` as it was applied last; `None` leaves the Deployment as it is.
    pub(in crate::model) replicas: Option<u32>,
}

impl Fixed {
    /// The replicas to set when the manifest is applied again, if it says another number than before.
    pub(in crate::model) fn apply(&mut self, replicas: Option<u32>) -> Option<u32> {
        let before = std::mem::replace(&mut self.replicas, replicas);
        replicas.filter(|_| before != replicas)
    }
}
