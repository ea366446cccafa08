//! Whole decisions of the HorizontalPodAutoscaler with the numbers of upstream's controller tests.
//!
//! Source: kubernetes/kubernetes 003e8629 `pkg/controller/podautoscaler/horizontal_test.go`; each row names its test.
//! There, pods have two containers that share a pod's request; usage is a pod's here.

use windtunnel_kernel::autoscale::hpa::{
    Autoscaler, Decision, History, HpaSpec, Observation, Options, Phase, Pod, Readiness, Reading,
    ReadyStatus, Recommendation, Sample, Scale, Selector, Version,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: u64 = 1_700_000_000 * SECOND;

/// A pod of upstream's tests: it has always been as it is.
#[derive(Clone, Copy)]
enum Kind {
    Ready,
    Unready,
    /// Started a moment ago: its CPU does not count.
    Hot,
    Failed,
    Deleted,
}

/// A controller test.
#[derive(Clone)]
struct Case {
    test: &'static str,
    bounds: (i32, i32),
    scale: (i32, i32),
    /// JSON of the metrics.
    metrics: String,
    /// JSON of `behavior`; empty = none.
    behavior: &'static str,
    pods: Vec<Kind>,
    readings: Vec<Reading>,
    /// `None` = the autoscaler has never seen the target.
    recommendations: Option<Vec<Recommendation>>,
    selector: Selector,
    version: Version,
    desired: i32,
    /// Reasons of AbleToScale, ScalingActive and ScalingLimited, with their status.
    conditions: &'static [(&'static str, &'static str, bool)],
}

fn case(test: &'static str, bounds: (i32, i32), replicas: i32, desired: i32) -> Case {
    Case {
        test,
        bounds,
        scale: (replicas, replicas),
        metrics: cpu(30),
        behavior: "",
        pods: Vec::new(),
        readings: Vec::new(),
        recommendations: None,
        selector: Selector::Valid,
        version: Version::default(),
        desired,
        conditions: &[],
    }
}

impl Case {
    fn cpu(self, percent: i32) -> Self {
        Self { metrics: cpu(percent), ..self }
    }

    fn metric(self, metrics: &str) -> Self {
        Self { metrics: metrics.to_string(), ..self }
    }

    /// Usage of pods in milli; requests of 1 each.
    fn usage(self, usage_milli: &[i64]) -> Self {
        let requests = vec![1000; usage_milli.len().max(self.pods.len())];
        self.usage_of(usage_milli, &requests)
    }

    /// Usage and requests of pods in milli; pods without usage have no metrics, usage without a pod is of others.
    fn usage_of(mut self, usage_milli: &[i64], requests_milli: &[i64]) -> Self {
        let kinds = requests_milli.len().max(self.pods.len());
        self.pods.resize(kinds, Kind::Ready);
        let sample = |value_milli| Sample { value_milli, at_ns: NOW, window_ns: 60 * SECOND };
        self.readings.push(Reading::Pods {
            samples: (0..kinds).map(|index| usage_milli.get(index).copied().map(sample)).collect(),
            requests_milli: requests_milli.iter().copied().map(Some).collect(),
            others_milli: usage_milli.iter().skip(kinds).copied().collect(),
        });
        self
    }

    fn values(mut self, values_milli: &[i64]) -> Self {
        self.readings.push(Reading::Values { values_milli: values_milli.to_vec() });
        let count = usize::try_from(self.scale.1).expect("replicas");
        self.pods.resize(count.max(self.pods.len()), Kind::Ready);
        self
    }

    fn fails(mut self) -> Self {
        self.readings.push(Reading::Failed { message: "something went wrong".to_string() });
        let count = usize::try_from(self.scale.1).expect("replicas");
        self.pods.resize(count.max(self.pods.len()), Kind::Ready);
        self
    }

    fn pods(self, pods: &[Kind]) -> Self {
        Self { pods: pods.to_vec(), ..self }
    }

    /// Has seen the target before and recommended nothing.
    fn seen(self) -> Self {
        Self { recommendations: Some(Vec::new()), ..self }
    }

    fn conditions(self, conditions: &'static [(&'static str, &'static str, bool)]) -> Self {
        Self { conditions, ..self }
    }

    fn decide(&self) -> Decision {
        let behavior = if self.behavior.is_empty() { "" } else { ", \"behavior\": " };
        let text = format!(
            r#"{{"scaleTargetRef": {{"name": "web"}}, "minReplicas": {}, "maxReplicas": {}, "metrics": [{}]{behavior}{}}}"#,
            self.bounds.0, self.bounds.1, self.metrics, self.behavior
        );
        let spec: HpaSpec = serde_json::from_str(&text).expect(self.test);
        let options = Options {
            version: self.version,
            cpu_initialization_period_ns: 120 * SECOND,
            initial_readiness_delay_ns: 10 * SECOND,
            ..Options::default()
        };
        let mut autoscaler = match self.recommendations.clone() {
            None => Autoscaler::new(spec, options),
            Some(recommendations) => {
                let history = History { recommendations, ..History::default() };
                Autoscaler::resume(spec, options, history, NOW)
            }
        }
        .expect(self.test);
        let (spec_replicas, status_replicas) = self.scale;
        autoscaler.step(&Observation {
            now_ns: NOW,
            scale: Some(Scale { spec_replicas, status_replicas }),
            selector: self.selector,
            pods: self.pods.iter().map(|&kind| pod(kind)).collect(),
            readings: self.readings.clone(),
        })
    }
}

fn pod(kind: Kind) -> Pod {
    let started_ns = if matches!(kind, Kind::Hot) { NOW } else { NOW - 600 * SECOND };
    let status = if matches!(kind, Kind::Unready) { ReadyStatus::False } else { ReadyStatus::True };
    Pod {
        phase: if matches!(kind, Kind::Failed) { Phase::Failed } else { Phase::Running },
        deleting: matches!(kind, Kind::Deleted),
        ready: Some(Readiness { status, since_ns: started_ns }),
        started_ns: Some(started_ns),
    }
}

fn cpu(percent: i32) -> String {
    format!(
        r#"{{"type": "Resource", "resource": {{"name": "cpu", "target": {{"type": "Utilization", "averageUtilization": {percent}}}}}}}"#
    )
}

fn pods_metric(average: &str) -> String {
    format!(
        r#"{{"type": "Pods", "pods": {{"metric": {{"name": "qps"}}, "target": {{"type": "AverageValue", "averageValue": "{average}"}}}}}}"#
    )
}

fn object(kind: &str, field: &str, value: &str) -> String {
    format!(
        r#"{{"type": "Object", "object": {{"describedObject": {{"apiVersion": "apps/v1", "kind": "Deployment", "name": "some-deployment"}}, "metric": {{"name": "qps"}}, "target": {{"type": "{kind}", "{field}": "{value}"}}}}}}"#
    )
}

fn external(kind: &str, field: &str, value: &str) -> String {
    format!(
        r#"{{"type": "External", "external": {{"metric": {{"name": "qps", "selector": {{}}}}, "target": {{"type": "{kind}", "{field}": "{value}"}}}}}}"#
    )
}

const UP: &[(&str, &str, bool)] = &[
    ("able", "SucceededRescale", true),
    ("active", "ValidMetricFound", true),
    ("limited", "DesiredWithinRange", false),
];
const STAYS: &[(&str, &str, bool)] = &[
    ("able", "ReadyForNewScale", true),
    ("active", "ValidMetricFound", true),
    ("limited", "DesiredWithinRange", false),
];
const STABILIZED: &[(&str, &str, bool)] = &[
    ("able", "ScaleDownStabilized", true),
    ("active", "ValidMetricFound", true),
    ("limited", "DesiredWithinRange", false),
];
const TOO_MANY: &[(&str, &str, bool)] = &[
    ("able", "SucceededRescale", true),
    ("active", "ValidMetricFound", true),
    ("limited", "TooManyReplicas", true),
];
const TOO_FEW: &[(&str, &str, bool)] = &[
    ("able", "SucceededRescale", true),
    ("active", "ValidMetricFound", true),
    ("limited", "TooFewReplicas", true),
];
const OUT_OF_BOUNDS: &[(&str, &str, bool)] =
    &[("able", "SucceededRescale", true), ("active", "", false), ("limited", "", false)];

fn cases() -> Vec<Case> {
    use Kind::{Deleted, Failed, Hot, Ready, Unready};
    let upscale = r#"{"scaleUp": {"policies": [{"type": "Percent", "value": 700, "periodSeconds": 60}]}}"#;
    vec![
        case("TestScaleUp", (2, 6), 3, 5).usage(&[300, 500, 700]).conditions(UP),
        case("TestScaleUpUnreadyLessScale", (2, 6), 3, 4)
            .pods(&[Unready, Ready, Ready])
            .usage(&[300, 500, 700])
            .conditions(UP),
        case("TestScaleUpHotCpuLessScale", (2, 6), 3, 4)
            .pods(&[Hot, Ready, Ready])
            .usage(&[300, 500, 700])
            .conditions(UP),
        case("TestScaleUpUnreadyNoScale", (2, 6), 3, 3)
            .pods(&[Ready, Unready, Unready])
            .usage(&[400, 500, 700])
            .conditions(STAYS),
        case("TestScaleUpHotCpuNoScale", (2, 6), 3, 3)
            .pods(&[Ready, Hot, Hot])
            .usage(&[400, 500, 700])
            .conditions(STAYS),
        case("TestScaleUpIgnoresFailedPods", (2, 6), 2, 4)
            .pods(&[Ready, Ready, Failed, Failed])
            .usage(&[500, 700])
            .conditions(UP),
        case("TestScaleUpIgnoresDeletionPods", (2, 6), 2, 4)
            .pods(&[Ready, Ready, Deleted, Deleted])
            .usage(&[500, 700])
            .conditions(UP),
        case("TestScaleUpCM", (2, 6), 3, 4).metric(&pods_metric("15.0")).usage(&[20_000, 10_000, 30_000]),
        case("TestScaleUpCMUnreadyAndHotCpuNoLessScale", (2, 6), 3, 6)
            .metric(&pods_metric("15.0"))
            .pods(&[Ready, Ready, Unready])
            .usage(&[50_000, 10_000, 30_000]),
        case("TestScaleUpCMUnreadyandCpuHot", (2, 6), 3, 6)
            .metric(&pods_metric("15.0"))
            .pods(&[Unready, Ready, Unready])
            .usage(&[50_000, 15_000, 30_000])
            .conditions(TOO_MANY),
        case("TestScaleUpHotCpuNoScaleWouldScaleDown", (2, 6), 3, 6)
            .metric(&pods_metric("15.0"))
            .pods(&[Hot, Ready, Hot])
            .usage(&[50_000, 15_000, 30_000])
            .conditions(TOO_MANY),
        case("TestScaleUpCMObject", (2, 6), 3, 4).metric(&object("Value", "value", "15.0")).values(&[20_000]),
        case("TestScaleUpFromZeroCMObject", (0, 6), 0, 2)
            .metric(&object("Value", "value", "15.0"))
            .values(&[20_000]),
        case("TestScaleUpFromZeroIgnoresToleranceCMObject", (0, 6), 0, 1)
            .metric(&object("Value", "value", "1.0"))
            .values(&[1000]),
        case("TestScaleUpPerPodCMObject", (2, 6), 3, 4)
            .metric(&object("AverageValue", "averageValue", "10.0"))
            .values(&[40_000]),
        case("TestScaleUpCMExternal", (2, 6), 3, 4)
            .metric(&external("Value", "value", "6666m"))
            .values(&[8600]),
        case("TestScaleUpPerPodCMExternal", (2, 6), 3, 4)
            .metric(&external("AverageValue", "averageValue", "2222m"))
            .values(&[8600]),
        case("TestScaleDown", (2, 6), 5, 3).cpu(50).usage(&[100, 300, 500, 250, 250]).seen(),
        Case {
            behavior: r#"{"scaleUp": {"stabilizationWindowSeconds": 30, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}"#,
            ..case("TestScaleDownWithScalingRules", (2, 6), 5, 3)
                .cpu(50)
                .usage(&[100, 300, 500, 250, 250])
                .seen()
        },
        case("TestScaleUpOneMetricEmpty", (2, 6), 3, 4)
            .metric(&format!("{},{}", external("Value", "value", "100m"), cpu(30)))
            .fails()
            .usage(&[300, 400, 500])
            .conditions(UP),
        case("TestNoScaleDownOneMetricEmpty", (2, 6), 5, 5)
            .metric(&format!("{},{}", external("Value", "value", "1"), cpu(50)))
            .fails()
            .usage(&[100, 300, 500, 250, 250])
            .seen()
            .conditions(&[("able", "SucceededGetScale", true), ("active", "FailedGetExternalMetric", false)]),
        case("TestScaleDownStabilizeInitialSize", (2, 6), 5, 5)
            .cpu(50)
            .usage(&[100, 300, 500, 250, 250])
            .conditions(STABILIZED),
        case("TestScaleDownCM", (2, 6), 5, 3).metric(&pods_metric("20.0")).usage(&[12_000; 5]).seen(),
        case("TestScaleDownCMObject", (2, 6), 5, 3)
            .metric(&object("Value", "value", "20.0"))
            .values(&[12_000])
            .seen(),
        case("TestScaleDownToZeroCMObject", (0, 6), 5, 0)
            .metric(&object("Value", "value", "20.0"))
            .values(&[0])
            .seen(),
        case("TestScaleDownPerPodCMObject", (2, 6), 5, 3)
            .metric(&object("AverageValue", "averageValue", "20.0"))
            .values(&[60_000])
            .seen(),
        case("TestScaleDownCMExternal", (2, 6), 5, 3)
            .metric(&external("Value", "value", "14400m"))
            .values(&[8600])
            .seen(),
        case("TestScaleDownToZeroCMExternal", (0, 6), 5, 0)
            .metric(&external("Value", "value", "14400m"))
            .values(&[0])
            .seen(),
        case("TestScaleDownPerPodCMExternal", (2, 6), 5, 3)
            .metric(&external("AverageValue", "averageValue", "3000m"))
            .values(&[8600])
            .seen(),
        case("TestScaleDownIncludeUnreadyPods", (2, 6), 5, 2)
            .cpu(50)
            .pods(&[Ready, Ready, Ready, Unready, Unready])
            .usage(&[100, 300, 500, 250, 250])
            .seen(),
        case("TestScaleDownIgnoreHotCpuPods", (2, 6), 5, 2)
            .cpu(50)
            .pods(&[Ready, Ready, Ready, Hot, Hot])
            .usage(&[100, 300, 500, 250, 250])
            .seen(),
        case("TestScaleDownIgnoresFailedPods", (2, 6), 5, 3)
            .cpu(50)
            .pods(&[Ready, Ready, Ready, Ready, Ready, Failed, Failed])
            .usage(&[100, 300, 500, 250, 250])
            .seen(),
        case("TestScaleDownIgnoresDeletionPods", (2, 6), 5, 3)
            .cpu(50)
            .pods(&[Ready, Ready, Ready, Ready, Ready, Deleted, Deleted])
            .usage(&[100, 300, 500, 250, 250])
            .seen(),
        case("TestTolerance", (1, 5), 3, 3)
            .cpu(100)
            .usage_of(&[1010, 1030, 1020], &[900, 1000, 1100])
            .conditions(STAYS),
        case("TestToleranceCM", (1, 5), 3, 3)
            .metric(&pods_metric("20.0"))
            .usage(&[20_000, 20_001, 21_000])
            .conditions(STAYS),
        case("TestToleranceCMObject", (1, 5), 3, 3)
            .metric(&object("Value", "value", "20.0"))
            .values(&[20_050])
            .conditions(STAYS),
        case("TestToleranceCMExternal", (2, 6), 4, 4)
            .metric(&external("Value", "value", "8666m"))
            .values(&[8600])
            .conditions(STAYS),
        case("TestTolerancePerPodCMObject", (2, 6), 4, 4)
            .metric(&object("AverageValue", "averageValue", "2200m"))
            .values(&[8600])
            .conditions(STAYS),
        case("TestTolerancePerPodCMExternal", (2, 6), 4, 4)
            .metric(&external("AverageValue", "averageValue", "2200m"))
            .values(&[8600])
            .conditions(STAYS),
        case("TestZeroMinReplicasDesiredZero", (0, 5), 3, 0)
            .cpu(90)
            .usage_of(&[0, 0, 0], &[900, 1000, 1100])
            .seen()
            .conditions(UP),
        case("TestMinReplicasDesiredZero", (2, 5), 3, 2)
            .cpu(90)
            .usage_of(&[0, 0, 0], &[900, 1000, 1100])
            .seen()
            .conditions(TOO_FEW),
        case("TestZeroReplicas", (3, 5), 0, 0)
            .cpu(90)
            .conditions(&[("able", "SucceededGetScale", true), ("active", "ScalingDisabled", false)]),
        case("TestTooFewReplicas", (3, 5), 2, 3).cpu(90).conditions(OUT_OF_BOUNDS),
        case("TestTooManyReplicas", (3, 5), 10, 5).cpu(90).conditions(OUT_OF_BOUNDS),
        case("TestMaxReplicas", (2, 5), 3, 5)
            .cpu(90)
            .usage_of(&[8000, 9500, 1000], &[900, 1000, 1100])
            .conditions(TOO_MANY),
        case("TestSuperfluousMetrics", (2, 6), 4, 6)
            .cpu(100)
            .usage_of(&[4000, 9500, 3000, 7000, 3200, 2000], &[1000; 4])
            .conditions(TOO_MANY),
        case("TestMissingMetrics", (2, 6), 4, 3).cpu(100).usage_of(&[400, 95], &[1000; 4]).seen(),
        case("TestEmptyMetrics", (2, 6), 4, 4)
            .cpu(100)
            .usage_of(&[], &[1000; 4])
            .conditions(&[("able", "SucceededGetScale", true), ("active", "FailedGetResourceMetric", false)]),
        case("TestEventCreated", (1, 5), 1, 2).cpu(50).usage_of(&[200], &[200]),
        case("TestEventNotCreated", (1, 5), 2, 2)
            .cpu(50)
            .usage_of(&[200, 200], &[400, 400])
            .conditions(STAYS),
        case("TestMissingReports", (1, 5), 4, 2).cpu(50).usage_of(&[200], &[200]).seen(),
        Case {
            behavior: upscale,
            ..case("TestUpscaleCap", (1, 100), 3, 24)
                .cpu(10)
                .usage_of(&[100, 200, 300], &[100; 3])
                .conditions(&[("able", "SucceededRescale", true), ("limited", "ScaleUpLimit", true)])
        },
        Case {
            behavior: upscale,
            ..case("TestUpscaleCapGreaterThanMaxReplicas", (1, 20), 3, 20)
                .cpu(10)
                .usage_of(&[100, 200, 300], &[100; 3])
                .conditions(TOO_MANY)
        },
        Case {
            scale: (4, 5),
            ..case("TestMoreReplicasThanSpecNoScale", (1, 8), 4, 4).cpu(50).usage(&[500; 5]).conditions(STAYS)
        },
        Case {
            selector: Selector::Invalid,
            ..case("TestConditionInvalidSelectorMissing", (1, 100), 3, 3)
                .cpu(10)
                .usage_of(&[100, 200, 300], &[100; 3])
                .conditions(&[("able", "SucceededGetScale", true), ("active", "InvalidSelector", false)])
        },
        Case {
            selector: Selector::Ambiguous,
            ..case("TestConditionAmbiguousSelectorWhenFullSelectorOverlapBetweenHPAs", (2, 6), 3, 3)
                .usage(&[300, 500, 700])
                .conditions(&[("able", "SucceededGetScale", true), ("active", "AmbiguousSelector", false)])
        },
        case("TestConditionFailedGetMetrics, resource", (1, 100), 3, 3)
            .fails()
            .conditions(&[("able", "SucceededGetScale", true), ("active", "FailedGetResourceMetric", false)]),
        case("TestConditionFailedGetMetrics, pods", (1, 100), 3, 3)
            .metric(&pods_metric("15.0"))
            .fails()
            .conditions(&[("active", "FailedGetPodsMetric", false)]),
        case("TestConditionFailedGetMetrics, object", (1, 100), 3, 3)
            .metric(&object("Value", "value", "15.0"))
            .fails()
            .conditions(&[("active", "FailedGetObjectMetric", false)]),
        case("TestNoBackoffUpscaleCMNoBackoffCpu", (1, 5), 3, 5)
            .metric(&format!("{},{}", cpu(10), pods_metric("15.0")))
            .usage(&[20_000, 10_000, 30_000])
            .usage(&[20_000, 10_000, 30_000])
            .conditions(TOO_MANY),
        Case {
            recommendations: Some(vec![
                Recommendation { replicas: 10, at_ns: NOW - 600 * SECOND },
                Recommendation { replicas: 4, at_ns: NOW - 60 * SECOND },
            ]),
            ..case("TestStabilizeDownscale", (1, 5), 4, 4)
                .cpu(100)
                .usage_of(&[50, 50, 50], &[100; 3])
                .conditions(STABILIZED)
        },
        case("TestScaleUpRCImmediately", (2, 6), 1, 2).usage(&[0, 0, 0, 0]).conditions(OUT_OF_BOUNDS),
        case("TestScaleDownRCImmediately", (2, 5), 6, 5)
            .cpu(50)
            .usage_of(&[8000, 9500, 1000], &[900, 1000, 1100])
            .conditions(OUT_OF_BOUNDS),
        case("TestScaleUpContainer", (2, 6), 3, 5)
            .metric(&cpu(30).replace(
                r#""Resource", "resource": {"#,
                r#""ContainerResource", "containerResource": {"container": "container1", "#,
            ))
            .usage_of(&[150, 250, 350], &[500; 3]),
    ]
}

/// If it fails, a simulated or flown HorizontalPodAutoscaler scales otherwise than a team's own, or says something else
/// about it in its conditions.
#[test]
fn controller_tests_of_upstream_hold() {
    for case in cases() {
        let decision = case.decide();
        assert_eq!(decision.desired, case.desired, "{}: {}", case.test, decision.explanation);
        let changes = (case.desired != case.scale.0).then_some(case.desired);
        assert_eq!(decision.replicas, changes, "{}", case.test);
        assert_eq!(decision.requeue_after_ns, 15 * SECOND);
        for &(name, reason, status) in case.conditions {
            let condition = match name {
                "able" => &decision.conditions.able_to_scale,
                "active" => &decision.conditions.scaling_active,
                _ => &decision.conditions.scaling_limited,
            };
            let found = condition.as_ref().map(|condition| (condition.reason.as_str(), condition.status));
            let expected = (!reason.is_empty()).then_some((reason, status));
            assert_eq!(found, expected, "{}: {name}", case.test);
        }
    }
}

/// If it fails, a pod that has only just asked for a resource without a request goes unnoticed, and the HPA of a team
/// does nothing without saying why.
#[test]
fn a_missing_request_stops_the_metric() {
    let mut case = case("TestEmptyCPURequest", (1, 5), 1, 1).cpu(100).usage(&[200]);
    let Some(Reading::Pods { requests_milli, .. }) = case.readings.first_mut() else {
        panic!("a reading of pods")
    };
    *requests_milli = vec![None];
    let decision = case.decide();
    assert_eq!(decision.replicas, None);
    let active = decision.conditions.scaling_active.expect("a condition");
    assert_eq!(active.short(), (false, "FailedGetResourceMetric"));
    assert!(active.message.contains("missing request for"), "{}", active.message);
}

/// If it fails, a scale that cannot be read or written leads to a decision on nothing, or to rate limits that count a
/// change that never was.
///
/// Sources: `TestConditionFailedGetScale`, `TestConditionFailedUpdateScale`.
#[test]
fn a_failing_scale_changes_nothing() {
    let spec: HpaSpec = serde_json::from_str(&format!(
        r#"{{"scaleTargetRef": {{"name": "web"}}, "minReplicas": 1, "maxReplicas": 5, "metrics": [{}], "behavior": {{}}}}"#,
        cpu(100)
    ))
    .expect("a spec");
    let mut autoscaler = Autoscaler::new(spec, Options::default()).expect("allowed");
    let blind = autoscaler.step(&Observation { now_ns: NOW, ..Observation::default() });
    assert_eq!(blind.replicas, None);
    assert_eq!(blind.conditions.able_to_scale.expect("a condition").short(), (false, "FailedGetScale"));

    let before = autoscaler.clone();
    let sample = Some(Sample { value_milli: 150, at_ns: NOW, window_ns: 60 * SECOND });
    let seen = Observation {
        now_ns: NOW,
        scale: Some(Scale { spec_replicas: 3, status_replicas: 3 }),
        pods: vec![pod(Kind::Ready); 3],
        readings: vec![Reading::Pods {
            samples: vec![sample; 3],
            requests_milli: vec![Some(100); 3],
            others_milli: Vec::new(),
        }],
        ..Observation::default()
    };
    let decision = autoscaler.step(&seen);
    assert_eq!(decision.replicas, Some(5));
    assert_eq!(decision.reason, "cpu resource utilization (percentage of request) above target");
    assert_eq!(autoscaler.events().up.len(), 1);
    autoscaler.rescale_failed("conflict", NOW);
    assert!(autoscaler.events().up.is_empty(), "a change that was not made counts for no rate");
    assert_eq!(autoscaler.last_scale_ns(), before.last_scale_ns());
    let again = autoscaler.step(&seen);
    assert_eq!(again.replicas, Some(5), "and is asked for again");
}

/// If it fails, `minReplicas: 0` of Kubernetes 1.37 wakes targets that somebody has switched off, or leaves its own at zero.
///
/// Source: `shouldComputeMetricsForZeroReplicas` of the controller of Kubernetes 1.37.
#[test]
fn since_1_37_only_its_own_zero_is_left() {
    let from_zero = case("zero", (0, 6), 0, 0).metric(&object("Value", "value", "15.0")).values(&[20_000]);
    let switched_off = Case { version: Version::V1_37, ..from_zero };
    let decision = switched_off.decide();
    assert_eq!(decision.replicas, None);
    assert_eq!(decision.conditions.scaling_active.expect("a condition").short(), (false, "ScalingDisabled"));

    let to_zero = case("zero", (0, 6), 5, 0).metric(&object("Value", "value", "15.0")).values(&[0]).seen();
    let spec: HpaSpec = serde_json::from_str(&format!(
        r#"{{"scaleTargetRef": {{"name": "web"}}, "minReplicas": 0, "maxReplicas": 6, "metrics": [{}]}}"#,
        to_zero.metrics
    ))
    .expect("a spec");
    let options = Options { version: Version::V1_37, downscale_stabilization_ns: 0, ..Options::default() };
    let mut autoscaler = Autoscaler::new(spec, options).expect("allowed");
    let mut seen = Observation {
        now_ns: NOW,
        scale: Some(Scale { spec_replicas: 5, status_replicas: 5 }),
        pods: vec![pod(Kind::Ready); 5],
        readings: vec![Reading::Values { values_milli: vec![0] }],
        ..Observation::default()
    };
    // The first sight keeps what it finds for the window, which is none here.
    seen.now_ns += SECOND;
    let _first = autoscaler.step(&seen);
    seen.now_ns += SECOND;
    assert_eq!(autoscaler.step(&seen).desired, 0);
    seen.scale = Some(Scale::default());
    seen.pods.clear();
    seen.readings = vec![Reading::Values { values_milli: vec![20_000] }];
    seen.now_ns += SECOND;
    let woken = autoscaler.step(&seen);
    assert_eq!(woken.replicas, Some(2), "{}", woken.explanation);
    assert!(!woken.conditions.scaled_to_zero.expect("a condition").status);
}
