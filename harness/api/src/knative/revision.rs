//! What a revision's specification says to its gateway and its autoscaler.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::kpa::{Config, ConfigError, GlobalConfig};

use super::deployment::progress_deadline_s;
use super::{DEFAULT_TIMEOUT_S, Revision, RouteStatus};

impl Revision {
    /// Requests that a pod takes at a time; 0 is no limit.
    #[must_use]
    pub fn container_concurrency(&self) -> u32 {
        self.spec.container_concurrency.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0)
    }

    /// Longest time for one request, in seconds: until its answer begins where that is shorter than the whole.
    #[must_use]
    pub fn timeout_s(&self) -> u64 {
        let given = |seconds: Option<i64>| seconds.filter(|seconds| *seconds > 0);
        let whole = given(self.spec.timeout_seconds).unwrap_or(DEFAULT_TIMEOUT_S);
        let first = given(self.spec.response_start_timeout_seconds);
        u64::try_from(first.map_or(whole, |first| first.min(whole))).unwrap_or(0)
    }

    /// The settings of its autoscaler: its annotations over the cluster's ConfigMap.
    ///
    /// # Errors
    /// The first annotation whose value cannot be used.
    pub fn autoscaling(&self, global: &GlobalConfig) -> Result<Config, ConfigError> {
        let none = BTreeMap::new();
        let annotations = self.metadata.annotations.as_ref().unwrap_or(&none);
        let deadline_s = u64::try_from(progress_deadline_s(self)).unwrap_or(0);
        Config::resolve(global, annotations, self.container_concurrency(), deadline_s)
    }
}

impl RouteStatus {
    /// Who gets how many percent of the requests: each revision once, also where several targets lead to it, in the
    /// order of the targets.
    #[must_use]
    pub fn shares(&self) -> Vec<(&str, u32)> {
        let mut shares: Vec<(&str, u32)> = Vec::new();
        for target in &self.traffic {
            let Some(revision) = target.revision_name.as_deref() else { continue };
            let percent = target.percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(0);
            match shares.iter_mut().find(|(known, _)| *known == revision) {
                Some((_, sum)) => *sum = sum.saturating_add(percent),
                None => shares.push((revision, percent)),
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knative::TrafficTarget;

    fn revision(annotation: Option<(&str, &str)>) -> Revision {
        let mut revision = Revision::new("r", Default::default());
        revision.metadata.annotations =
            annotation.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        revision
    }

    /// A start that is given up too early never serves, and one that is given up too late holds requests in vain.
    #[test]
    fn the_progress_deadline_is_the_deployments() {
        let deadline_s = |annotation| {
            let config = revision(annotation).autoscaling(&GlobalConfig::default()).expect("sound");
            config.progress_deadline_ns / 1_000_000_000
        };
        assert_eq!(deadline_s(None), 600);
        assert_eq!(deadline_s(Some(("serving.knative.dev/progress-deadline", "20m"))), 1200);
        assert_eq!(deadline_s(Some(("serving.knative.dev/progress-deadline", "90s"))), 90);
        let wrong =
            revision(Some(("autoscaling.knative.dev/window", "1h1h"))).autoscaling(&GlobalConfig::default());
        assert!(wrong.is_err());
    }

    /// A request must not be cut off before the time that its manifest gives it.
    #[test]
    fn timeouts() {
        let mut revision = revision(None);
        assert_eq!(revision.timeout_s(), 300);
        (revision.spec.timeout_seconds, revision.spec.response_start_timeout_seconds) = (Some(30), Some(0));
        assert_eq!(revision.timeout_s(), 30);
        revision.spec.response_start_timeout_seconds = Some(10);
        assert_eq!(revision.timeout_s(), 10);
        revision.spec.response_start_timeout_seconds = Some(60);
        assert_eq!(revision.timeout_s(), 30);
    }

    /// After a rollback a revision is split against itself: it is one backend with all requests.
    #[test]
    fn a_revision_has_one_share() {
        let target = |name: &str, percent| TrafficTarget {
            revision_name: Some(name.to_owned()),
            percent: Some(percent),
            ..TrafficTarget::default()
        };
        let status = |traffic| RouteStatus { traffic, ..RouteStatus::default() };
        let split = status(vec![target("v2", 10), target("v1", 90)]);
        assert_eq!(split.shares(), [("v2", 10), ("v1", 90)]);
        let itself =
            status(vec![target("v2", 0), target("v1", 60), target("v2", 40), TrafficTarget::default()]);
        assert_eq!(itself.shares(), [("v2", 40), ("v1", 60)]);
    }
}
