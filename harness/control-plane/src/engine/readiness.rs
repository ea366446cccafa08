//! How long InferenceServices take to become ready, for the metrics.

use std::collections::HashMap;

use tokio::time::Instant;
use windtunnel_api::kserve::InferenceServiceStatus;

use crate::metrics::Metrics;
use crate::world::{Object, ObjectKey};

/// The services that are not ready, since when.
#[derive(Debug, Default)]
pub(super) struct Readiness(HashMap<ObjectKey, Instant>);

impl Readiness {
    /// Looks at an object that is there or has changed.
    pub(super) fn note(&mut self, object: &Object, metrics: &Metrics) {
        let Object::InferenceService(service) = object else { return };
        let key = object.key();
        if !service.status.as_ref().is_some_and(InferenceServiceStatus::is_ready) {
            self.0.entry(key).or_insert_with(Instant::now);
        } else if let Some(since) = self.0.remove(&key) {
            metrics.ready("InferenceService", since.elapsed());
        }
    }

    /// Forgets a service that is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }
}
