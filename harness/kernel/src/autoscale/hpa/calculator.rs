//! From readings to a replica count: upstream's replica calculator.
//!
//! Source: `pkg/controller/podautoscaler/replica_calculator.go` and `metrics/utilization.go`. Every function takes one
//! pass over the pods and allocates nothing.

use serde::{Deserialize, Serialize};

use super::observation::{Phase, Pod, ReadyStatus, Sample};
use super::{Options, Version};

/// How far the ratio of usage to target may be from 1 without a change; both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerances {
    /// Below 1.
    pub down: f64,
    /// Above 1.
    pub up: f64,
}

impl Tolerances {
    /// The same in both directions.
    #[must_use]
    pub fn both(tolerance: f64) -> Self {
        Self { down: tolerance, up: tolerance }
    }

    /// Whether a ratio changes nothing.
    #[must_use]
    pub fn contain(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What a pod counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Its metrics count.
    Ready,
    /// It is starting: its metrics do not count; going up it counts as using nothing.
    Unready,
    /// It has no metrics: going up it counts as using nothing, going down as using what it may.
    Missing,
    /// It is going away or has ended.
    Ignored,
}

/// When a pod's CPU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Now, nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// Within this time of its start a pod's CPU counts only with a window measured while it was ready, nanoseconds.
    pub cpu_initialization_period_ns: u64,
    /// A pod that is not ready and became so within this time of its start has never been ready, nanoseconds.
    pub initial_readiness_delay_ns: u64,
}

impl Timing {
    /// The flags, at a time.
    #[must_use]
    pub fn of(options: &Options, now_ns: u64) -> Self {
        Self {
            now_ns,
            cpu_initialization_period_ns: options.cpu_initialization_period_ns,
            initial_readiness_delay_ns: options.initial_readiness_delay_ns,
        }
    }
}

/// What a pod counts as.
#[must_use]
pub fn classify(pod: &Pod, sample: Option<&Sample>, is_cpu: bool, timing: Timing) -> Class {
    if pod.deleting || matches!(pod.phase, Phase::Failed | Phase::Succeeded) {
        return Class::Ignored;
    }
    if pod.phase == Phase::Pending {
        return Class::Unready;
    }
    let Some(sample) = sample else { return Class::Missing };
    if !is_cpu {
        return Class::Ready;
    }
    let (Some(ready), Some(started_ns)) = (pod.ready, pod.started_ns) else { return Class::Unready };
    let is_unready = if started_ns.saturating_add(timing.cpu_initialization_period_ns) > timing.now_ns {
        ready.status == ReadyStatus::False || sample.at_ns < ready.since_ns.saturating_add(sample.window_ns)
    } else {
        ready.status == ReadyStatus::False
            && started_ns.saturating_add(timing.initial_readiness_delay_ns) > ready.since_ns
    };
    if is_unready { Class::Unready } else { Class::Ready }
}

/// How many pods are in each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCounts {
    /// See [`Class::Ready`].
    pub ready: i64,
    /// See [`Class::Unready`].
    pub unready: i64,
    /// See [`Class::Missing`].
    pub missing: i64,
    /// See [`Class::Ignored`].
    pub ignored: i64,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MetricFault {
    /// The metrics API answered with an error.
    #[error("unable to get metrics: {0}")]
    Failed(String),
    /// It answered with nothing.
    #[error("no metrics returned from the metrics API")]
    Empty,
    /// The target has no pods.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// All pods with metrics are unready or ignored.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoReadyPods,
    /// A container of a pod in the list has no request for the resource.
    #[error("missing request for the resource in a container of pod {pod} of the list")]
    MissingRequest {
        /// Index of the pod.
        pod: usize,
    },
    /// No pod with metrics is in the list, or their requests are zero.
    #[error("no metrics returned matched known pods")]
    NoMatch,
    /// The reading is of another form than the metric.
    #[error("the reading is not of the form that this metric has")]
    WrongForm,
}

/// How the replica count came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Ratio times pods, rounded up.
    Ratio,
    /// The ratio is within the tolerance: the present count.
    WithinTolerance,
    /// With unready and missing pods counted, the ratio is within the tolerance, on the other side of 1, or leads to a
    /// count on the other side of the present one: the present count.
    Dampened,
    /// Ratio with unready and missing pods counted, times the pods with metrics or counted, rounded up.
    DampenedRatio,
    /// Value divided by the target a pod, rounded up.
    Quotient,
    /// From zero: the ratio rounded up, without tolerance.
    FromZero,
}

/// What one metric proposes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Replicas.
    pub replicas: i32,
    /// Average usage in percent of the requests, truncated; of utilization targets only.
    pub utilization: Option<i32>,
    /// Average a pod (rounded down of pods' metrics, up of a value shared out), or the value; thousandths.
    pub value_milli: i64,
    /// Usage divided by target. Not finite where nothing can be divided by.
    pub ratio: f64,
    /// The ratio with unready and missing pods counted.
    pub dampened_ratio: Option<f64>,
    /// What the ratio was multiplied with.
    pub multiplier: i64,
    /// How it came about.
    pub rule: Rule,
    /// Pods by class; zero for Object and External metrics.
    pub pods: PodCounts,
}

/// The pods' side of a metric.
#[derive(Clone, Copy, Debug)]
pub struct PodSamples<'a> {
    /// The pods.
    pub pods: &'a [Pod],
    /// A sample a pod; short lists are padded with nothing.
    pub samples: &'a [Option<Sample>],
    /// Values of pods that are not among them, thousandths.
    pub others_milli: &'a [i64],
    /// Whether this is about CPU, for which starting pods do not count.
    pub is_cpu: bool,
    /// When a pod's CPU counts.
    pub timing: Timing,
}

/// The rules of a calculation.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Present replicas: `spec.replicas` of the target.
    pub current: i32,
    /// How far a ratio may be from 1.
    pub tolerances: Tolerances,
    /// Release, and upstream's likely bugs.
    pub options: &'a Options,
}

impl Rules<'_> {
    fn to_replicas(self, value: f64) -> i32 {
        let rounded = value.ceil();
        if self.options.wrap_replica_counts {
            // A float becomes 64 bits, of which the lower half is taken.
            rounded as i64 as i32
        } else {
            // A cast of a float saturates, and of no number gives 0.
            rounded as i32
        }
    }

    fn clamped_to_replicas(value: f64) -> i32 {
        value.ceil() as i32
    }
}

/// Usage of pods by class, added up.
#[derive(Default)]
struct Sums {
    counts: PodCounts,
    usage: i128,
    requests: i128,
    unready_requests: i128,
    missing_requests: i128,
    missing_usage: i128,
}

/// Adds a pod to the class that it has.
fn add(sums: &mut Sums, class: Class, value_milli: i64, request_milli: i64, fallback_percent: i64) {
    let request = i128::from(request_milli);
    match class {
        Class::Ready => {
            sums.counts.ready += 1;
            sums.usage += i128::from(value_milli);
            sums.requests += request;
        }
        Class::Unready => {
            sums.counts.unready += 1;
            sums.unready_requests += request;
        }
        Class::Missing => {
            sums.counts.missing += 1;
            sums.missing_requests += request;
            sums.missing_usage += request * i128::from(fallback_percent) / 100;
        }
        Class::Ignored => sums.counts.ignored += 1,
    }
}

/// Replicas for a target utilization of a resource, in percent of the requests.
///
/// # Errors
/// See [`MetricFault`].
pub fn utilization(
    samples: PodSamples<'_>,
    requests_milli: &[Option<i64>],
    target_percent: i32,
    rules: Rules<'_>,
) -> Result<Proposal, MetricFault> {
    let fallback_percent =
        if rules.options.version >= Version::V1_26 { target_percent.max(100) } else { 100 };
    let mut sums = Sums::default();
    let mut missing_request = None;
    check_answer(samples)?;
    for (index, pod) in samples.pods.iter().enumerate() {
        let sample = samples.samples.get(index).and_then(Option::as_ref);
        let class = classify(pod, sample, samples.is_cpu, samples.timing);
        let request_milli = requests_milli.get(index).copied().flatten();
        if request_milli.is_none() && missing_request.is_none() {
            missing_request = Some(index);
        }
        let value_milli = sample.map_or(0, |sample| sample.value_milli);
        add(&mut sums, class, value_milli, request_milli.unwrap_or(0), i64::from(fallback_percent));
    }
    if sums.counts.ready == 0 && samples.others_milli.is_empty() {
        return Err(MetricFault::NoReadyPods);
    }
    if let Some(pod) = missing_request {
        return Err(MetricFault::MissingRequest { pod });
    }
    if sums.requests == 0 || sums.counts.ready == 0 {
        return Err(MetricFault::NoMatch);
    }
    let percent = percent_of(sums.usage, sums.requests, rules);
    let value_milli = to_i64(sums.usage / i128::from(sums.counts.ready));
    let ratio = f64::from(percent) / f64::from(target_percent);
    let first = First { ratio, utilization: Some(percent), value_milli, counts: sums.counts };
    Ok(first.finish(rules, samples.others_milli.len(), |with_missing, with_unready| {
        let (mut usage, mut requests) = (sums.usage, sums.requests);
        match with_missing {
            Some(Missing::AsTarget) => {
                usage += sums.missing_usage;
                requests += sums.missing_requests;
            }
            Some(Missing::AsNothing) => requests += sums.missing_requests,
            None => {}
        }
        if with_unready {
            requests += sums.unready_requests;
        }
        f64::from(percent_of(usage, requests, rules)) / f64::from(target_percent)
    }))
}

/// Replicas for a target average of pods: a resource's AverageValue, or a Pods metric.
///
/// # Errors
/// See [`MetricFault`].
pub fn average(
    samples: PodSamples<'_>,
    target_milli: i64,
    rules: Rules<'_>,
) -> Result<Proposal, MetricFault> {
    let mut sums = Sums::default();
    check_answer(samples)?;
    for (index, pod) in samples.pods.iter().enumerate() {
        let sample = samples.samples.get(index).and_then(Option::as_ref);
        let class = classify(pod, sample, samples.is_cpu, samples.timing);
        add(&mut sums, class, sample.map_or(0, |sample| sample.value_milli), 0, 0);
    }
    if sums.counts.ready == 0 && samples.others_milli.is_empty() {
        return Err(MetricFault::NoReadyPods);
    }
    let mut count = i128::from(sums.counts.ready);
    if rules.options.count_unknown_pods {
        count += samples.others_milli.len() as i128;
        sums.usage += samples.others_milli.iter().map(|&value| i128::from(value)).sum::<i128>();
    }
    if count == 0 {
        return Err(MetricFault::NoMatch);
    }
    let value_milli = to_i64(sums.usage / count);
    let ratio = value_milli as f64 / target_milli as f64;
    let first = First { ratio, utilization: None, value_milli, counts: sums.counts };
    Ok(first.finish(rules, samples.others_milli.len(), |with_missing, with_unready| {
        let (mut usage, mut count) = (sums.usage, count);
        if let Some(missing) = with_missing {
            count += i128::from(sums.counts.missing);
            if missing == Missing::AsTarget {
                usage += i128::from(sums.counts.missing) * i128::from(target_milli);
            }
        }
        if with_unready {
            count += i128::from(sums.counts.unready);
        }
        to_i64(usage / count) as f64 / target_milli as f64
    }))
}

/// Upstream's checks before it looks at pods: a metrics API that answers with nothing, and a target without pods.
fn check_answer(samples: PodSamples<'_>) -> Result<(), MetricFault> {
    let is_empty = samples.others_milli.is_empty() && samples.samples.iter().all(Option::is_none);
    match (is_empty, samples.pods.is_empty()) {
        (true, _) => Err(MetricFault::Empty),
        (false, true) => Err(MetricFault::NoPods),
        (false, false) => Ok(()),
    }
}

fn percent_of(usage: i128, requests: i128, rules: Rules<'_>) -> i32 {
    let percent = usage * 100 / if requests == 0 { 1 } else { requests };
    if rules.options.wrap_replica_counts {
        percent as i32
    } else {
        percent.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as i32
    }
}

fn to_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// How pods without metrics count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    AsTarget,
    AsNothing,
}

/// The calculation with ready pods only.
struct First {
    ratio: f64,
    utilization: Option<i32>,
    value_milli: i64,
    counts: PodCounts,
}

impl First {
    /// Counts unready and missing pods conservatively, with `again` for the ratio of the new numbers.
    fn finish(
        self,
        rules: Rules<'_>,
        others: usize,
        again: impl Fn(Option<Missing>, bool) -> f64,
    ) -> Proposal {
        let counts = self.counts;
        let proposal = |rule, replicas, dampened_ratio, multiplier| Proposal {
            replicas,
            utilization: self.utilization,
            value_milli: self.value_milli,
            ratio: self.ratio,
            dampened_ratio,
            multiplier,
            rule,
            pods: counts,
        };
        let with_unready = counts.unready > 0 && self.ratio > 1.0;
        if !with_unready && counts.missing == 0 {
            return if rules.tolerances.contain(self.ratio) {
                proposal(Rule::WithinTolerance, rules.current, None, counts.ready)
            } else {
                let replicas = rules.to_replicas(self.ratio * counts.ready as f64);
                proposal(Rule::Ratio, replicas, None, counts.ready)
            };
        }
        let with_missing = match () {
            () if counts.missing > 0 && self.ratio < 1.0 => Some(Missing::AsTarget),
            () if counts.missing > 0 && self.ratio > 1.0 => Some(Missing::AsNothing),
            () => None,
        };
        let ratio = again(with_missing, with_unready);
        let mut multiplier = counts.ready;
        if with_missing.is_some() {
            multiplier += counts.missing;
        }
        if with_unready {
            multiplier += counts.unready;
        }
        if rules.options.count_unknown_pods {
            multiplier += i64::try_from(others).unwrap_or(i64::MAX / 2);
        }
        let turned = (self.ratio < 1.0 && ratio > 1.0) || (self.ratio > 1.0 && ratio < 1.0);
        if rules.tolerances.contain(ratio) || turned {
            return proposal(Rule::Dampened, rules.current, Some(ratio), multiplier);
        }
        let replicas = rules.to_replicas(ratio * multiplier as f64);
        let is_wrong_way =
            (ratio < 1.0 && replicas > rules.current) || (ratio > 1.0 && replicas < rules.current);
        if is_wrong_way {
            return proposal(Rule::Dampened, rules.current, Some(ratio), multiplier);
        }
        proposal(Rule::DampenedRatio, replicas, Some(ratio), multiplier)
    }
}

/// Replicas for a target value of an object or external metric.
///
/// # Errors
/// [`MetricFault::NoPods`] where there are replicas but no pods.
pub fn value(
    value_milli: i64,
    target_milli: i64,
    pods: &[Pod],
    ready_pods: i64,
    rules: Rules<'_>,
) -> Result<Proposal, MetricFault> {
    let ratio = value_milli as f64 / target_milli as f64;
    let proposal = |rule, replicas, multiplier| Proposal {
        replicas,
        utilization: None,
        value_milli,
        ratio,
        dampened_ratio: None,
        multiplier,
        rule,
        pods: PodCounts::default(),
    };
    if rules.current == 0 {
        return Ok(proposal(Rule::FromZero, rules.to_replicas(ratio), 1));
    }
    if rules.tolerances.contain(ratio) {
        return Ok(proposal(Rule::WithinTolerance, rules.current, ready_pods));
    }
    if pods.is_empty() {
        return Err(MetricFault::NoPods);
    }
    let replicas = Rules::clamped_to_replicas(ratio * ready_pods as f64);
    Ok(proposal(Rule::Ratio, replicas, ready_pods))
}

/// Replicas for a target of a value shared out over pods; `rules.current` is ignored in favour of what the target's
/// status says.
#[must_use]
pub fn shared_value(
    value_milli: i64,
    target_milli: i64,
    status_replicas: i32,
    is_external: bool,
    rules: Rules<'_>,
) -> Proposal {
    let ratio = value_milli as f64 / (target_milli as f64 * f64::from(status_replicas));
    let (rule, replicas) = if rules.tolerances.contain(ratio) {
        (Rule::WithinTolerance, status_replicas)
    } else {
        let quotient = value_milli as f64 / target_milli as f64;
        let replicas =
            if is_external { Rules::clamped_to_replicas(quotient) } else { rules.to_replicas(quotient) };
        (Rule::Quotient, replicas)
    };
    // 0 where there is nothing to share out to; the cast saturates.
    let share = if status_replicas == 0 { 0.0 } else { value_milli as f64 / f64::from(status_replicas) };
    Proposal {
        replicas,
        utilization: None,
        value_milli: share.ceil() as i64,
        ratio,
        dampened_ratio: None,
        multiplier: i64::from(status_replicas),
        rule,
        pods: PodCounts::default(),
    }
}

/// Values of an external metric added up, cut at the ends of 64 bits.
#[must_use]
pub fn total_milli(values_milli: &[i64]) -> i64 {
    to_i64(values_milli.iter().map(|&value| i128::from(value)).sum())
}
