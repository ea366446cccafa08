//! Scaling of versions: the new one, the stable one, and old ones that are kept for a while. Upstream:
//! `rollout/replicaset.go`, `rollout/canary.go`, `rollout/bluegreen.go`.

use super::reconcile::Reconcile;
use super::replicas::{ReplicaSet, size};
use super::status::PauseReason;

impl Reconcile<'_> {
    /// Scales the versions of a canary, one at a time; whether one was.
    pub(super) fn scale_canary(&mut self) -> bool {
        if let Some(reason) = self.halted() {
            self.rule(reason);
            return false;
        }
        self.remove_scale_down_deadlines();
        if self.versions().has_other_stable()
            && let Some(stable) = self.stable
        {
            // By the weights before this reconcile: the stable version follows the traffic, it does not lead it.
            let weights = self.old.weights.as_ref();
            let wanted = size(self.spec, self.old, &self.versions(), weights).counts.stable;
            if self.scale(stable, wanted) {
                self.rule("scale the stable version");
                return true;
            }
        }
        let wanted = size(self.spec, self.old, &self.versions(), self.next.weights.as_ref()).counts.canary;
        if self.scale_new(wanted) {
            self.rule("scale the canary");
            return true;
        }
        if self.scale_down_old_of_canary() {
            self.rule("scale old versions down");
            return true;
        }
        false
    }

    /// Scales the versions of a blue/green rollout.
    pub(super) fn scale_blue_green(&mut self) {
        self.remove_scale_down_deadlines();
        if let Some(stable) = self.stable {
            self.scale(stable, self.spec.replicas());
        }
        let wanted = self.wanted_of_preview();
        self.scale_new(wanted);
        self.scale_down_old_of_blue_green();
    }

    /// The new version's replicas: `previewReplicaCount` until it may become active, then all.
    pub(super) fn wanted_of_preview(&self) -> i32 {
        let replicas = self.spec.replicas();
        let preview =
            self.spec.strategy.blue_green.as_ref().and_then(|strategy| strategy.preview_replica_count);
        let (Some(preview), Some(canary)) = (preview, self.canary) else { return replicas };
        let active = self.seen.replica_sets.iter().find(|version| version.hash == self.old.active_selector);
        if active.is_none_or(|active| active.hash == canary.hash) || self.old.promote_full {
            return replicas;
        }
        let is_new = canary.hash != self.old.current_pod_hash;
        let is_paused = self.spec.paused || !self.old.pause_conditions.is_empty();
        if !is_new && !is_paused && self.old.scale_up_preview_check_point {
            return replicas;
        }
        preview.max(0)
    }

    /// The new and the stable version are kept: they have come back before they were gone.
    fn remove_scale_down_deadlines(&mut self) {
        let canary = self.canary.filter(|_| !self.delays_scale_down_on_abort());
        for version in [canary, self.stable].into_iter().flatten() {
            self.next.scale_down_deadlines.remove(&version.hash);
        }
    }

    /// Whether an aborted version is kept for a while.
    pub(super) fn delays_scale_down_on_abort(&self) -> bool {
        let is_basic = self.spec.canary().is_some() && !self.spec.is_traffic_routed();
        let delay = self.spec.abort_delay();
        self.pauses.is_aborted(self.old)
            && self.stable.is_some()
            && !is_basic
            && delay.delay_ns.is_some()
            && (!self.spec.is_dynamic() || delay.is_explicit)
    }

    fn scale_new(&mut self, wanted: i32) -> bool {
        let Some(canary) = self.canary else { return false };
        let mut wanted = wanted;
        if self.delays_scale_down_on_abort() {
            let now_ns = self.seen.now_ns;
            match self.next.scale_down_deadlines.get(&canary.hash).copied() {
                Some(deadline_ns) if deadline_ns > now_ns => {
                    self.next.desired_replicas.insert(canary.hash.clone(), self.spec.replicas());
                    self.wake(deadline_ns);
                    self.rule("an aborted version is kept for a while");
                    return false;
                }
                Some(_) => wanted = 0,
                None => {
                    self.next.desired_replicas.insert(canary.hash.clone(), self.spec.replicas());
                    let is_full = self.stable.is_some_and(|stable| stable.available >= self.spec.replicas());
                    if let Some(delay_ns) = self.spec.abort_delay().delay_ns.filter(|_| is_full) {
                        let deadline_ns = whole_second(now_ns.saturating_add(delay_ns));
                        self.next.scale_down_deadlines.insert(canary.hash.clone(), deadline_ns);
                        self.wake(deadline_ns);
                    }
                    self.rule("an aborted version waits for the stable one");
                    return false;
                }
            }
        }
        self.scale(canary, wanted)
    }

    fn scale_down_old_of_canary(&mut self) -> bool {
        let mut old: Vec<ReplicaSet> =
            self.others.iter().filter(|version| version.spec_replicas > 0).cloned().collect();
        if old.is_empty() {
            return false;
        }
        let mut scaled = false;
        // Pods that do not serve go first: they would only hold up the rest.
        old.sort_by_key(|version| version.created_ns);
        for version in &mut old {
            if version.available < version.spec_replicas {
                let healthy = version.available.max(0);
                scaled |= self.scale(version, healthy);
                version.spec_replicas = healthy;
            }
        }
        let available: i64 = self.seen.replica_sets.iter().map(|version| i64::from(version.available)).sum();
        let (_, max_unavailable) = self.spec.fence_posts();
        let mut spare = available - i64::from(self.spec.replicas() - max_unavailable);
        old.sort_by_key(|version| std::cmp::Reverse((version.revision, version.created_ns)));
        let mut kept = 0;
        let is_routed = self.spec.is_traffic_routed();
        for version in &old {
            if spare <= 0 {
                break;
            }
            if version.spec_replicas == 0 || (is_routed && self.is_referenced(&version.hash)) {
                continue;
            }
            let now = i64::from(version.spec_replicas);
            let wanted = if !is_routed {
                i32::try_from((now - spare).max(0)).unwrap_or(0)
            } else if !self.old.is_fully_promoted()
                && !self.next.scale_down_deadlines.contains_key(&version.hash)
            {
                // Neither stable nor new: a version in between, without traffic.
                0
            } else if self.spec.is_dynamic() {
                0
            } else {
                self.kept_replicas(version, &mut kept, version.spec_replicas)
            };
            if wanted != version.spec_replicas {
                scaled |= self.scale(version, wanted);
                spare -= now - i64::from(wanted);
            }
        }
        scaled
    }

    fn scale_down_old_of_blue_green(&mut self) {
        let Some(strategy) = &self.spec.strategy.blue_green else { return };
        if self.old.pause(PauseReason::InconclusiveAnalysisRun).is_some() {
            return;
        }
        if strategy.post_promotion_analysis.is_some()
            && strategy.scale_down_delay_seconds.is_none()
            && !self.skips_post_promotion()
            && !self.has_passed(self.next.runs.post_promotion.as_ref())
        {
            return self.rule("old versions stay until the analysis has passed");
        }
        let mut old: Vec<ReplicaSet> =
            self.others.iter().filter(|version| version.spec_replicas > 0).cloned().collect();
        old.sort_by_key(|version| std::cmp::Reverse((version.revision, version.created_ns)));
        let mut kept = 0;
        for version in &old {
            if self.is_referenced(&version.hash) {
                continue;
            }
            let wanted = self.kept_replicas(version, &mut kept, self.spec.replicas());
            self.scale(version, wanted);
        }
    }

    /// An old version's replicas: as many as it has until its time is up, and none from then on. Only so many
    /// versions are kept, newest first.
    fn kept_replicas(&mut self, version: &ReplicaSet, kept: &mut i32, replicas: i32) -> i32 {
        let (limit, now_ns) = (self.spec.scale_down_limit(), self.seen.now_ns);
        match self.next.scale_down_deadlines.get(&version.hash).copied() {
            None if *kept >= limit => 0,
            None => {
                *kept += 1;
                let delay_ns = self.spec.scale_down_delay_ns();
                if delay_ns > 0 {
                    let deadline_ns = whole_second(now_ns.saturating_add(delay_ns));
                    self.next.scale_down_deadlines.insert(version.hash.clone(), deadline_ns);
                    self.wake(deadline_ns);
                    return version.spec_replicas;
                }
                // Upstream sets no deadline of 0 and keeps the version; here its time is up at once.
                0
            }
            Some(deadline_ns) => {
                *kept += 1;
                if *kept > limit || deadline_ns <= now_ns {
                    return 0;
                }
                self.wake(deadline_ns);
                replicas
            }
        }
    }

    /// Whether something still leads to a version.
    fn is_referenced(&self, hash: &str) -> bool {
        let (old, next) = (self.old, &self.next);
        let weighted = old.weights.as_ref().is_some_and(|weights| {
            weights.canary.pod_template_hash == hash || weights.stable.pod_template_hash == hash
        });
        weighted
            || [
                &old.stable_hash,
                &old.current_pod_hash,
                &old.active_selector,
                &old.preview_selector,
                &next.active_selector,
                &next.preview_selector,
            ]
            .into_iter()
            .any(|reference| reference == hash)
    }
}

/// As Kubernetes keeps instants: without fractions of a second.
fn whole_second(at_ns: u64) -> u64 {
    at_ns - at_ns % 1_000_000_000
}
