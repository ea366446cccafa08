//! Leader election by a Lease, so that of several control planes one works and another takes over when it is gone.
//!
//! The rules are those of Kubernetes' own clients: whoever holds the Lease renews it; another takes it when it has not
//! changed for its duration by the other's own clock, so clocks need not agree; every write carries the version that
//! was read, so two cannot both take it; a holder that cannot renew in time stops working before anyone may take over.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::time::Instant;

/// How a control plane takes part in the election.
#[derive(Clone, Debug)]
pub struct LeaderElection {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease; upstream's is [`LeaderElection::LEASE`].
    pub name: String,
    /// Name of this control plane, different from all others'.
    pub identity: String,
    /// Without a change for so long the Lease may be taken.
    pub duration: Duration,
    /// A holder that has not renewed for so long stops working; less than the duration.
    pub renew_within: Duration,
    /// Time between two tries.
    pub retry: Duration,
}

impl LeaderElection {
    /// Once the Lease cannot be renewed, how long writes have to end before another may begin.
    pub(crate) fn grace(&self) -> Duration {
        self.duration.saturating_sub(self.renew_within)
    }
}

impl LeaderElection {
    /// Name of the Lease that upstream's controller holds.
    pub const LEASE: &str = "kserve-controller-manager-leader-lock";

    /// The election of KServe's controllers, with a fail-over of at most 12 seconds.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            namespace: windtunnel_api::kserve::config::CONFIG_NAMESPACE.to_owned(),
            name: Self::LEASE.to_owned(),
            identity: identity.into(),
            duration: Duration::from_secs(10),
            renew_within: Duration::from_secs(7),
            retry: Duration::from_millis(1500),
        }
    }
}

/// A candidate, and what it has seen of the Lease.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    election: LeaderElection,
    /// Holder and time of renewal as last seen, and when that was new.
    seen: Option<(Option<String>, Option<MicroTime>, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, election: LeaderElection) -> Self {
        Self { leases: Api::namespaced(client, &election.namespace), election, seen: None }
    }

    /// Waits until this candidate holds the Lease. It looks again with each try's time, and at once when the Lease is
    /// given back.
    pub(crate) async fn acquire(&mut self) {
        let mut watch = pin!(watch_object(self.leases.clone(), &self.election.name).default_backoff());
        loop {
            match self.attempt().await {
                Ok(true) => {
                    tracing::info!(identity = %self.election.identity, "this control plane leads");
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the Lease of the leader election cannot be read or written")
                }
            }
            let again = Instant::now() + self.election.retry;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(again) => break,
                    event = watch.next() => match event {
                        Some(Ok(lease)) if lease.as_ref().is_none_or(is_free) => break,
                        Some(_) => {}
                        None => tokio::time::sleep_until(again).await,
                    },
                }
            }
        }
    }

    /// Renews the Lease until that fails for too long; returns when this candidate no longer leads.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.election.retry).await;
            let left = self.election.renew_within.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::warn!(identity = %self.election.identity, "another control plane leads");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be renewed"),
                Err(_) => {}
            }
            if renewed.elapsed() >= self.election.renew_within {
                tracing::error!(
                    within_s = self.election.renew_within.as_secs_f64(),
                    "the Lease was not renewed in time; this control plane stops working"
                );
                return;
            }
        }
    }

    /// Gives the Lease back, so that another need not wait for its end.
    pub(crate) async fn release(&mut self) {
        let released = async {
            let mut lease = self.leases.get(&self.election.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&*self.election.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(now());
            self.leases.replace(&self.election.name, &PostParams::default(), &lease).await.map(|_| ())
        };
        match tokio::time::timeout(self.election.retry, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not given back"),
            Err(_) => tracing::warn!("the Lease was not given back in time"),
        }
    }

    /// Takes or renews the Lease if that is allowed; true if it is held now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.election.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(LeaseSpec::default(), true)),
            };
            return held(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let current = (spec.holder_identity.clone(), spec.renew_time.clone());
        let unchanged_for = match &self.seen {
            Some((holder, renewed, since)) if (holder, renewed) == (&current.0, &current.1) => {
                since.elapsed()
            }
            _ => {
                self.seen = Some((current.0.clone(), current.1, Instant::now()));
                Duration::ZERO
            }
        };
        let ours = current.0.as_deref() == Some(&*self.election.identity);
        let free = current.0.as_deref().is_none_or(str::is_empty);
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = duration.map_or(self.election.duration, Duration::from_secs);
        if !ours && !free && unchanged_for < duration {
            return Ok(false);
        }
        lease.spec = Some(self.spec(spec, !ours));
        held(self.leases.replace(&self.election.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: LeaseSpec, taken: bool) -> LeaseSpec {
        let now = now();
        let seconds = i32::try_from(self.election.duration.as_secs()).unwrap_or(i32::MAX);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(seconds.max(1)),
            acquire_time: if taken { Some(now.clone()) } else { before.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(
                before.lease_transitions.unwrap_or(0) + i32::from(taken && before.holder_identity.is_some()),
            ),
            ..before
        }
    }
}

/// Whether nobody holds the Lease.
fn is_free(lease: &Lease) -> bool {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    holder.is_none_or(str::is_empty)
}

/// Somebody else's write in between means that somebody else holds it.
fn held(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}
