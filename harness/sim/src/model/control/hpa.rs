//! The HorizontalPodAutoscaler: its kernel, and what it sees of a Deployment.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::hpa::spec::MetricSpec;
use windtunnel_kernel::autoscale::hpa::{
    Autoscaler, HpaSpec, Observation, Options, Reading, Sample, Scale, SpecError,
};

use super::super::metrics::Metrics;
use super::super::pods::Pod;
use super::super::workloads::Workload;
use super::{Verdict, Why};
use crate::engine::{Key, Slab};
use crate::plan::Template;
use crate::plan::query::Query;

/// The autoscaler of one Deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Hpa {
    autoscaler: Autoscaler,
}

/// What an autoscaler sees of its Deployment.
pub(in crate::model) struct Target<'a> {
    /// Nanoseconds since the Unix epoch.
    pub(in crate::model) now_ns: u64,
    /// The Deployment's place in the world.
    pub(in crate::model) index: u16,
    /// Its `spec.replicas`.
    pub(in crate::model) replicas: u32,
    /// Its ReplicaSets, and the pods of all of them: old ones, new ones, those that start.
    pub(in crate::model) sets: Vec<&'a Workload>,
    pub(in crate::model) pods: &'a Slab<Pod>,
    pub(in crate::model) metrics: &'a Metrics,
    /// From a reading to the moment in which it can be seen.
    pub(in crate::model) delay_ns: u64,
    /// The same for queries.
    pub(in crate::model) query_delay_ns: u64,
    /// No metric can be got.
    pub(in crate::model) is_blind: bool,
}

impl Target<'_> {
    fn each(&self) -> impl Iterator<Item = (Key, &Pod, &Template)> {
        self.sets.iter().flat_map(|set| {
            set.pods.iter().filter_map(|key| Some((*key, self.pods.get(*key)?, &set.template)))
        })
    }

    /// Pods that are ready.
    pub(super) fn ready(&self) -> i32 {
        self.sets.iter().fold(0, |sum, set| sum.saturating_add(count(set.ready())))
    }

    /// Replicas as a kernel counts them.
    pub(super) fn wanted(&self) -> i32 {
        count(self.replicas)
    }

    /// What the kernel sees, with one reading a metric of the spec; `external` answers those that are not of pods.
    pub(super) fn observation(
        &self,
        spec: &HpaSpec,
        mut external: impl FnMut(&str) -> Result<Vec<i64>, String>,
    ) -> Observation {
        let pods: Vec<_> = self.each().map(|(_, pod, _)| pod.condition.as_seen()).collect();
        let readings = spec.metrics.iter().map(|metric| self.reading(metric, &mut external)).collect();
        let existing = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        Observation {
            now_ns: self.now_ns,
            scale: Some(Scale { spec_replicas: self.wanted(), status_replicas: existing }),
            pods,
            readings,
            ..Observation::default()
        }
    }

    fn reading(
        &self,
        metric: &MetricSpec,
        external: &mut impl FnMut(&str) -> Result<Vec<i64>, String>,
    ) -> Reading {
        if self.is_blind {
            return Reading::Failed { message: "the metrics API does not answer".to_owned() };
        }
        match metric {
            MetricSpec::Resource { name, .. } | MetricSpec::ContainerResource { name, .. } => {
                let is_cpu = name == "cpu";
                let (metrics, now_ns, delay_ns) = (self.metrics, self.now_ns, self.delay_ns);
                let request = |template: &Template| {
                    let (given, amount) = if is_cpu {
                        (template.has_cpu_requests, template.requests.cpu_milli)
                    } else {
                        let bytes = template.requests.memory_bytes;
                        (template.has_memory_requests, bytes.saturating_mul(1000))
                    };
                    given.then(|| i64::try_from(amount).unwrap_or(i64::MAX))
                };
                self.of_pods(
                    |key| {
                        if is_cpu {
                            metrics.cpu(key, now_ns, delay_ns)
                        } else {
                            metrics.memory(key, now_ns, delay_ns)
                        }
                    },
                    request,
                )
            }
            MetricSpec::Pods { metric, .. } => match Query::named(&metric.name) {
                Ok(query) => self.of_pods(
                    |key| self.metrics.of_pod(query.signal, key, self.now_ns, self.query_delay_ns),
                    |_| None,
                ),
                Err(message) => Reading::Failed { message },
            },
            MetricSpec::Object { metric, .. } | MetricSpec::External { metric, .. } => {
                match external(&metric.name) {
                    Ok(values_milli) => Reading::Values { values_milli },
                    Err(message) => Reading::Failed { message },
                }
            }
        }
    }

    fn of_pods(
        &self,
        sample: impl Fn(Key) -> Option<Sample>,
        request: impl Fn(&Template) -> Option<i64>,
    ) -> Reading {
        Reading::Pods {
            samples: self.each().map(|(key, ..)| sample(key)).collect(),
            requests_milli: self.each().map(|(_, _, template)| request(template)).collect(),
            others_milli: Vec::new(),
        }
    }

    /// The metric of an adapter for the whole Deployment, thousandths.
    fn adapter(&self, name: &str) -> Result<Vec<i64>, String> {
        let series = self.metrics.answer(&Query::named(name)?, self.index, self.now_ns, self.query_delay_ns);
        match series[..] {
            [] => Err(format!("no value of {name} yet")),
            _ => Ok(series.into_iter().map(|value| (value * 1e3).round() as i64).collect()),
        }
    }
}

impl Hpa {
    /// The autoscaler of a Deployment that it sees for the first time at its first sync.
    ///
    /// # Errors
    /// A spec that the API server would refuse.
    pub(in crate::model) fn new(spec: HpaSpec, options: Options) -> Result<Self, SpecError> {
        Ok(Self { autoscaler: Autoscaler::new(spec, options)? })
    }

    /// Takes a changed spec; history stays.
    ///
    /// # Errors
    /// A spec that the API server would refuse.
    pub(in crate::model) fn reconfigure(&mut self, spec: HpaSpec) -> Result<(), SpecError> {
        if spec.clone().defaulted() == *self.autoscaler.spec() {
            return Ok(());
        }
        self.autoscaler.reconfigure(spec)
    }

    /// Decides at a sync.
    pub(in crate::model) fn decide(&mut self, target: &Target<'_>) -> Verdict {
        self.decide_with(target, |name| target.adapter(name))
    }

    /// Decides at a sync, values from outside of the cluster being somebody else's.
    pub(super) fn decide_with(
        &mut self,
        target: &Target<'_>,
        external: impl FnMut(&str) -> Result<Vec<i64>, String>,
    ) -> Verdict {
        let observation = target.observation(self.autoscaler.spec(), external);
        let decision = self.autoscaler.step(&observation);
        Verdict {
            replicas: decision.replicas.map(|replicas| u32::try_from(replicas).unwrap_or(0)),
            look_after_ns: None,
            why: Why::Hpa(Box::new(decision.explanation)),
        }
    }

    /// The specification in force, with defaults.
    pub(super) fn spec(&self) -> &HpaSpec {
        self.autoscaler.spec()
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
