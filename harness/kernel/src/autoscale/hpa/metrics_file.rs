//! Metrics written down: the file of a dry run.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::dry_run::DryRunError;
use super::history::{Recommendation, ScaleEvent, ScaleEvents};
use super::observation::{Observation, Phase, Pod, Readiness, Reading, ReadyStatus, Sample, Scale};
use super::spec::{LabelSelector, MetricSpec, ObjectReference};
use super::{HpaSpec, Quantity};
use crate::duration;

/// The time of a dry run: any time that leaves room for the past.
pub(crate) const NOW_NS: u64 = 1_700_000_000 * 1_000_000_000;

/// Most pods of a file.
const POD_LIMIT: usize = 100_000;

/// What an autoscaler would see, written down.
///
/// ```yaml
/// replicas: 4                       # spec.replicas of the target
/// status-replicas: 5                # status.replicas, where it is another number (a rolling update)
/// pods:
///   - {name: web-1, usage: {cpu: 400m}, requests: {cpu: 500m}}
///   - {count: 2, usage: {cpu: 350m, memory: 512Mi}, requests: {cpu: 500m, memory: 1Gi}}
///   - {name: web-4, ready: false, started: 20s, requests: {cpu: 500m}}   # no usage = no metrics yet
///   - name: web-5                   # by container, for ContainerResource metrics
///     containers: {app: {usage: {cpu: 300m}, requests: {cpu: 400m}}, proxy: {usage: {cpu: 20m}, requests: {cpu: 100m}}}
///     metrics: {requests_per_second: 42}        # Pods metrics, by name
/// objects: [{metric: queue_depth, object: {kind: Service, name: web}, value: 30}]
/// external: [{metric: messages_ready, selector: {matchLabels: {queue: jobs}}, values: [12, 30]}]
/// failing: {messages_ready: "timed out"}        # metrics whose API answers with an error
/// recommendations: [{replicas: 6, ago: 2m}]     # of the last minutes, for stabilisation
/// scale-events: [{change: 2, ago: 30s}, {change: -1, ago: 3m}]
/// ```
///
/// Everything but `replicas` may be left out, and that too where the autoscaler's status says it. Keys that are not known
/// are refused. Without `recommendations` the autoscaler remembers none: nothing is stabilised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MetricsFile {
    /// `spec.replicas` of the target; the status's `currentReplicas` if left out.
    pub replicas: Option<i32>,
    /// `status.replicas` of the target; the same as `replicas` if left out.
    pub status_replicas: Option<i32>,
    /// Pods that the target's selector matches.
    pub pods: Vec<PodMetrics>,
    /// Values of Object metrics.
    pub objects: Vec<ObjectValue>,
    /// Values of External metrics.
    pub external: Vec<ExternalValue>,
    /// Metrics whose API fails, by name, with what it says.
    pub failing: BTreeMap<String, String>,
    /// Recommendations before stabilisation, in any order.
    pub recommendations: Vec<PastRecommendation>,
    /// Changes of the replica count, in any order.
    pub scale_events: Vec<PastEvent>,
    /// Whether the autoscaler itself took the target to zero (Kubernetes 1.37).
    pub scaled_to_zero: bool,
}

/// A pod, or several alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PodMetrics {
    /// Its name; it decides nothing.
    pub name: String,
    /// How many pods are like this.
    pub count: usize,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether its `Ready` condition is true; true of a running pod if left out.
    pub ready: Option<bool>,
    /// How long ago it started.
    pub started: Ago,
    /// How long ago its `Ready` condition changed last; when it started, if left out.
    pub ready_since: Option<Ago>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How long ago the window of its usage ended.
    pub measured: Ago,
    /// The window of its usage.
    pub window: Ago,
    /// Usage of the whole pod by resource; the sum over `containers` if left out.
    pub usage: BTreeMap<String, Quantity>,
    /// Requests of the whole pod by resource; the sum over `containers` if left out.
    pub requests: BTreeMap<String, Quantity>,
    /// Usage and requests by container.
    pub containers: BTreeMap<String, ContainerMetrics>,
    /// Pods metrics by name.
    pub metrics: BTreeMap<String, Quantity>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ContainerMetrics {
    /// Usage by resource.
    pub usage: BTreeMap<String, Quantity>,
    /// Requests by resource.
    pub requests: BTreeMap<String, Quantity>,
}

/// The value of an Object metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObjectValue {
    /// Name of the metric.
    pub metric: String,
    /// Which object; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectReference>,
    /// The value.
    pub value: Quantity,
}

/// Values of an External metric. Upstream adds them up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExternalValue {
    /// Name of the metric.
    pub metric: String,
    /// For the metric with this selector; for any of that name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    /// Or several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Quantity>,
}

/// A recommendation of some time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PastRecommendation {
    /// Replicas, before stabilisation.
    pub replicas: i32,
    /// How long ago.
    pub ago: Ago,
}

/// A change of the replica count some time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PastEvent {
    /// Replicas more; fewer if negative.
    pub change: i32,
    /// How long ago.
    pub ago: Ago,
}

/// The parts of a HorizontalPodAutoscaler's `status` that matter; the others are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaStatus {
    /// Replicas that the autoscaler saw last.
    pub current_replicas: Option<i32>,
    /// Its conditions.
    pub conditions: Vec<StatusCondition>,
}

/// A condition in a `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCondition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

impl HpaStatus {
    /// Whether the autoscaler itself took the target to zero.
    #[must_use]
    pub fn is_scaled_to_zero(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == "ScaledToZero" && condition.status == "True")
    }
}

/// A time before now, written as Go writes durations: `90s`, `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ago {
    /// Nanoseconds.
    pub ns: u64,
}

impl Ago {
    const fn seconds(seconds: u64) -> Self {
        Self { ns: seconds * 1_000_000_000 }
    }

    /// The instant.
    fn instant_ns(self) -> u64 {
        NOW_NS.saturating_sub(self.ns)
    }
}

impl Serialize for Ago {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seconds, rest) = (self.ns / 1_000_000_000, self.ns % 1_000_000_000);
        match rest {
            0 => serializer.collect_str(&format_args!("{seconds}s")),
            _ => serializer.collect_str(&format_args!("{}ns", self.ns)),
        }
    }
}

impl<'de> Deserialize<'de> for Ago {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Ago;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 90s or 5m")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ago, E> {
                let ns = duration::parse_ns(text).and_then(|ns| u64::try_from(ns).ok());
                ns.map(|ns| Ago { ns })
                    .ok_or_else(|| E::custom(format!("{text:?} is no duration such as 90s or 5m")))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl Default for PodMetrics {
    fn default() -> Self {
        Self {
            name: String::new(),
            count: 1,
            phase: Phase::Running,
            ready: None,
            started: Ago::seconds(3600),
            ready_since: None,
            deleting: false,
            measured: Ago::default(),
            window: Ago::seconds(30),
            usage: BTreeMap::new(),
            requests: BTreeMap::new(),
            containers: BTreeMap::new(),
            metrics: BTreeMap::new(),
        }
    }
}

impl PodMetrics {
    fn pod(&self) -> Pod {
        let started_ns = self.started.instant_ns();
        let is_ready = self.ready.unwrap_or(self.phase == Phase::Running);
        Pod {
            phase: self.phase,
            deleting: self.deleting,
            ready: Some(Readiness {
                status: if is_ready { ReadyStatus::True } else { ReadyStatus::False },
                since_ns: self.ready_since.map_or(started_ns, Ago::instant_ns),
            }),
            started_ns: Some(started_ns),
        }
    }

    /// Usage (or requests) of a resource: of the pod, or the sum over its containers if each of them has it.
    fn resource(
        &self,
        whole: &BTreeMap<String, Quantity>,
        name: &str,
        of: impl Fn(&ContainerMetrics) -> &BTreeMap<String, Quantity>,
    ) -> Option<i64> {
        if let Some(quantity) = whole.get(name) {
            return Some(quantity.milli());
        }
        if self.containers.is_empty() {
            return None;
        }
        self.containers
            .values()
            .map(|container| of(container).get(name).copied().map(Quantity::milli))
            .try_fold(0_i64, |sum, milli| Some(sum.saturating_add(milli?)))
    }

    fn usage_milli(&self, metric: &MetricSpec) -> Option<i64> {
        match metric {
            MetricSpec::Resource { name, .. } => {
                self.resource(&self.usage, name, |container| &container.usage)
            }
            MetricSpec::ContainerResource { name, container, .. } => {
                Some(self.containers.get(container)?.usage.get(name)?.milli())
            }
            other => Some(self.metrics.get(other.name())?.milli()),
        }
    }

    fn request_milli(&self, metric: &MetricSpec) -> Option<i64> {
        match metric {
            MetricSpec::ContainerResource { name, container, .. } => {
                Some(self.containers.get(container)?.requests.get(name)?.milli())
            }
            other => self.resource(&self.requests, other.name(), |container| &container.requests),
        }
    }
}

impl MetricsFile {
    /// What the autoscaler sees.
    pub(crate) fn observation(
        &self,
        spec: &HpaSpec,
        status: Option<&HpaStatus>,
    ) -> Result<Observation, DryRunError> {
        let replicas = self.replicas.or_else(|| status.and_then(|status| status.current_replicas));
        let Some(spec_replicas) = replicas else {
            return Err(fault("replicas", "is missing: how many replicas does the target have?"));
        };
        let status_replicas = self.status_replicas.unwrap_or(spec_replicas);
        for (place, number) in [("replicas", spec_replicas), ("status-replicas", status_replicas)] {
            if number < 0 {
                return Err(fault(place, &format!("{number} is not allowed, expected at least 0")));
            }
        }
        let total = self.pods.iter().fold(0_usize, |sum, pods| sum.saturating_add(pods.count));
        if total > POD_LIMIT {
            return Err(fault("pods", &format!("{total} pods are too many, expected at most {POD_LIMIT}")));
        }
        for (index, external) in self.external.iter().enumerate() {
            if external.value.is_some() != external.values.is_empty() {
                return Err(fault(&format!("external[{index}]"), "expected either value or values"));
            }
        }
        Ok(Observation {
            now_ns: NOW_NS,
            scale: Some(Scale { spec_replicas, status_replicas }),
            pods: self.each(PodMetrics::pod),
            readings: spec.metrics.iter().map(|metric| self.reading(metric)).collect(),
            ..Observation::default()
        })
    }

    /// One entry a pod.
    fn each<T: Clone>(&self, of: impl Fn(&PodMetrics) -> T) -> Vec<T> {
        self.pods.iter().flat_map(|pods| std::iter::repeat_n(of(pods), pods.count)).collect()
    }

    fn reading(&self, metric: &MetricSpec) -> Reading {
        if let Some(message) = self.failing.get(metric.name()) {
            return Reading::Failed { message: message.clone() };
        }
        match metric {
            MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } | MetricSpec::Pods { .. } => {
                Reading::Pods {
                    samples: self.each(|pod| {
                        let value_milli = pod.usage_milli(metric)?;
                        Some(Sample {
                            value_milli,
                            at_ns: pod.measured.instant_ns(),
                            window_ns: pod.window.ns,
                        })
                    }),
                    requests_milli: self.each(|pod| pod.request_milli(metric)),
                    others_milli: Vec::new(),
                }
            }
            MetricSpec::Object { described_object, metric, .. } => {
                let is_it = |value: &&ObjectValue| {
                    value.metric == metric.name
                        && value.object.as_ref().is_none_or(|object| {
                            object.name == described_object.name && object.kind == described_object.kind
                        })
                };
                let found = self.objects.iter().find(is_it);
                Reading::Values { values_milli: found.map(|found| found.value.milli()).into_iter().collect() }
            }
            MetricSpec::External { metric, .. } => {
                let is_it = |value: &&ExternalValue| {
                    value.metric == metric.name
                        && (value.selector.is_none() || value.selector == metric.selector)
                };
                let found = self.external.iter().filter(is_it);
                let values = found.flat_map(|found| found.value.iter().chain(&found.values));
                Reading::Values { values_milli: values.map(|value| value.milli()).collect() }
            }
        }
    }

    pub(crate) fn recommendations(&self) -> Vec<Recommendation> {
        let past = |past: &PastRecommendation| Recommendation {
            replicas: past.replicas,
            at_ns: past.ago.instant_ns(),
        };
        self.recommendations.iter().map(past).collect()
    }

    pub(crate) fn events(&self) -> Result<ScaleEvents, DryRunError> {
        let mut events = ScaleEvents::default();
        for (index, past) in self.scale_events.iter().enumerate() {
            let change = i32::try_from(past.change.unsigned_abs()).unwrap_or(i32::MAX);
            let event = ScaleEvent { change, at_ns: past.ago.instant_ns(), outdated: false };
            match past.change.signum() {
                1 => events.up.push(event),
                -1 => events.down.push(event),
                _ => return Err(fault(&format!("scale-events[{index}].change"), "0 is no change")),
            }
        }
        Ok(events)
    }

    /// What was written down and is not asked for.
    pub(crate) fn unused(&self, spec: &HpaSpec) -> Vec<String> {
        let is_asked = |kind: &str, name: &str| {
            spec.metrics.iter().any(|metric| metric.kind() == kind && metric.name() == name)
        };
        let objects = self.objects.iter().map(|value| ("Object", &value.metric));
        let external = self.external.iter().map(|value| ("External", &value.metric));
        let pods = self.pods.iter().flat_map(|pod| pod.metrics.keys()).map(|name| ("Pods", name));
        let mut unused: Vec<String> = objects
            .chain(external)
            .chain(pods)
            .filter(|(kind, name)| !is_asked(kind, name))
            .map(|(kind, name)| format!("{kind} metric {name} is not asked for by this autoscaler"))
            .collect();
        unused.sort();
        unused.dedup();
        unused
    }
}

fn fault(place: &str, message: &str) -> DryRunError {
    DryRunError::Metrics { place: place.to_string(), message: message.to_string() }
}
