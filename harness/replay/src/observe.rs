//! What the cluster shows during a flight: revisions, replicas, traffic and pods, watched and turned into observations.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use windtunnel_api::knative::names::REVISION;
use windtunnel_api::knative::{Revision, Route};
use windtunnel_api::kserve::names::STORAGE_SOURCE_URI;
use windtunnel_record as record;
use windtunnel_record::Recorder;

/// One change of the cluster, at the moment it was seen.
pub(crate) enum Sighting {
    Revision(Box<Revision>),
    Route(Box<Route>),
    Deployment(Box<Deployment>),
    Pod(Box<Pod>),
    PodGone(String),
}

/// Watches everything that a recording tells of one namespace.
pub(crate) fn sightings(client: &Client, namespace: &str) -> SelectAll<BoxStream<'static, Sighting>> {
    futures::stream::select_all([
        watch(
            Api::<Revision>::namespaced(client.clone(), namespace),
            |revision| Sighting::Revision(Box::new(revision)),
            |_| None,
        ),
        watch(
            Api::<Route>::namespaced(client.clone(), namespace),
            |route| Sighting::Route(Box::new(route)),
            |_| None,
        ),
        watch(
            Api::<Deployment>::namespaced(client.clone(), namespace),
            |deployment| Sighting::Deployment(Box::new(deployment)),
            |_| None,
        ),
        watch(
            Api::<Pod>::namespaced(client.clone(), namespace),
            |pod| Sighting::Pod(Box::new(pod)),
            |pod: Pod| Some(Sighting::PodGone(pod.name_any())),
        ),
    ])
}

fn watch<K>(
    api: Api<K>,
    seen: impl Fn(K) -> Sighting + Send + Sync + Copy + 'static,
    gone: impl Fn(K) -> Option<Sighting> + Send + Sync + Copy + 'static,
) -> BoxStream<'static, Sighting>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher::watcher(api, watcher::Config::default())
        .filter_map(move |event| async move {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => Some(seen(object)),
                Ok(Event::Delete(object)) => gone(object),
                // The watcher starts over by itself; what it missed comes with the new list.
                Ok(Event::Init | Event::InitDone) | Err(_) => None,
            }
        })
        .boxed()
}

/// What is known of the cluster so far, and how it enters the recording.
pub(crate) struct Observer {
    epoch: Instant,
    revisions: BTreeMap<String, RevisionView>,
    pods: BTreeMap<String, PodView>,
    /// Percent by revision name, as the route last said.
    traffic: BTreeMap<String, i64>,
}

struct RevisionView {
    index: u16,
    storage_uri: String,
    wanted: i64,
    ready: i64,
    /// The next pod wakes the revision up.
    asleep: bool,
}

struct PodView {
    revision: String,
    wakes_up: bool,
    added: Instant,
    scheduled: Option<Instant>,
    initialized: Option<Instant>,
    ready: bool,
}

impl Observer {
    /// An observer whose recording starts at `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, revisions: BTreeMap::new(), pods: BTreeMap::new(), traffic: BTreeMap::new() }
    }

    /// Nanoseconds since the load's start, 0 for anything before it.
    pub(crate) fn time_ns(&self, moment: Instant) -> u64 {
        since(self.epoch, moment)
    }

    /// The index of a revision in the recording, and the model that it serves.
    pub(crate) fn revision(&self, name: &str) -> Option<(u16, &str)> {
        self.revisions.get(name).map(|view| (view.index, view.storage_uri.as_str()))
    }

    /// Takes one sighting into account.
    pub(crate) fn see(&mut self, sighting: Sighting, recorder: &mut dyn Recorder) {
        let now = Instant::now();
        match sighting {
            Sighting::Revision(revision) => self.see_revision(&revision, now, recorder),
            Sighting::Route(route) => self.see_route(&route, now, recorder),
            Sighting::Deployment(deployment) => self.see_deployment(&deployment),
            Sighting::Pod(pod) => self.see_pod(&pod, now, recorder),
            Sighting::PodGone(name) => {
                if let Some(pod) = self.pods.remove(&name) {
                    event(recorder, self.time_ns(now), "pod", &pod.revision, format!("{name} ended"));
                }
            }
        }
    }

    /// Samples the series that the simulator samples too, for whole second `t_ns`.
    pub(crate) fn sample(&self, t_ns: u64, in_flight: usize, recorder: &mut dyn Recorder) {
        for (name, view) in &self.revisions {
            let labels = [("revision", name.as_str())];
            recorder.sample("replicas.wanted", &labels, t_ns, view.wanted as f64);
            recorder.sample("replicas.ready", &labels, t_ns, view.ready as f64);
            let percent = self.traffic.get(name).copied().unwrap_or(0);
            recorder.sample("traffic.percent", &labels, t_ns, percent as f64);
        }
        recorder.sample("requests.in_flight", &[], t_ns, in_flight as f64);
    }

    fn see_revision(&mut self, revision: &Revision, now: Instant, recorder: &mut dyn Recorder) {
        let name = revision.name_any();
        if self.revisions.contains_key(&name) {
            return;
        }
        let storage_uri = revision.annotations().get(STORAGE_SOURCE_URI).cloned().unwrap_or_default();
        let created_ns = self.time_ns(now);
        let index = recorder.revision(record::Revision {
            name: name.clone(),
            storage_uri: storage_uri.clone(),
            created_ns,
        });
        event(recorder, created_ns, "revision", &name, format!("created for {storage_uri}"));
        self.revisions.insert(name, RevisionView { index, storage_uri, wanted: 0, ready: 0, asleep: false });
    }

    fn see_route(&mut self, route: &Route, now: Instant, recorder: &mut dyn Recorder) {
        let mut traffic = BTreeMap::new();
        for share in route.status.iter().flat_map(|status| status.traffic.iter()) {
            if let Some(revision) = &share.revision_name {
                *traffic.entry(revision.clone()).or_insert(0) += share.percent.unwrap_or(0);
            }
        }
        if traffic != self.traffic && !traffic.is_empty() {
            let text: Vec<String> =
                traffic.iter().map(|(revision, percent)| format!("{revision} {percent} %")).collect();
            event(recorder, self.time_ns(now), "traffic", &route.name_any(), text.join(", "));
            self.traffic = traffic;
        }
    }

    fn see_deployment(&mut self, deployment: &Deployment) {
        let Some(view) = deployment.labels().get(REVISION).and_then(|name| self.revisions.get_mut(name))
        else {
            return;
        };
        view.wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).into();
        view.ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0).into();
        view.asleep |= view.wanted == 0;
    }

    fn see_pod(&mut self, pod: &Pod, now: Instant, recorder: &mut dyn Recorder) {
        let Some(revision) = pod.labels().get(REVISION) else { return };
        let name = pod.name_any();
        if !self.pods.contains_key(&name) {
            let wakes_up =
                self.revisions.get_mut(revision).is_some_and(|view| std::mem::take(&mut view.asleep));
            if wakes_up {
                event(
                    recorder,
                    self.time_ns(now),
                    "activation",
                    revision,
                    "woken up by a request".to_owned(),
                );
            }
            let view = PodView {
                revision: revision.clone(),
                wakes_up,
                added: now,
                scheduled: None,
                initialized: None,
                ready: false,
            };
            self.pods.insert(name.clone(), view);
        }
        let epoch = self.epoch;
        let Some(view) = self.pods.get_mut(&name) else { return };
        let is = |condition: &str| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|found| found.type_ == condition && found.status == "True")
        };
        if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
            view.scheduled.get_or_insert(now);
        }
        if is("Initialized") {
            view.initialized.get_or_insert(now);
        }
        if is("Ready") && !view.ready {
            view.ready = true;
            if now < epoch {
                return; // a pod of the time before the load, in which nothing was measured
            }
            let scheduled = view.scheduled.unwrap_or(now);
            let initialized = view.initialized.unwrap_or(now);
            let phases = [
                ("schedule", scheduled.saturating_duration_since(view.added)),
                ("download", initialized.saturating_duration_since(scheduled)),
                ("load", now.saturating_duration_since(initialized)),
            ];
            recorder.cold_start(record::ColdStart {
                t_ns: since(epoch, view.added),
                revision: view.revision.clone(),
                pod: name,
                phases: phases.map(|(phase, took)| (phase.to_owned(), took.as_nanos() as u64)).to_vec(),
                activated: view.wakes_up,
            });
        }
    }
}

fn since(epoch: Instant, moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

/// Records one event.
pub(crate) fn event(recorder: &mut dyn Recorder, t_ns: u64, kind: &str, target: &str, text: String) {
    recorder.event(record::Event { t_ns, kind: kind.to_owned(), target: target.to_owned(), text });
}
