//! Canaries that Flagger and Argo Rollouts drive: every time is computed by hand from the rules of their controllers.

use windtunnel_record::Recording;
use windtunnel_sim::{Plan, Snapshot, resume, simulate_until};

use crate::setting::{MS, S, Setting, bytes, fly};

pub(crate) const V2: &str = "{at: 12s, name: v2, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                  {model: {storageUri: 's3://models/digits/v2'}}}}}}";

/// Two pods that start within a second; a new version at 12 s; Flagger looks at 10 s, 20 s, 30 s, …
pub(crate) fn standard(objects: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 2".to_owned(),
        annotations: "serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: none"
            .to_owned(),
        duration: "90s".to_owned(),
        load: "process: constant, phases: [{for: 90s, rate: 50/s}]".to_owned(),
        events: format!("[{V2}]"),
        environment_keys: "control: {phases: {canary: 0s}}".to_owned(),
        objects: objects.to_owned(),
        ..Setting::default()
    }
}

/// A Canary of the service itself with steps of 10 up to 20, and these metrics.
pub(crate) fn canary(metrics: &str) -> String {
    format!(
        "---\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: digits}}\nspec:\n  targetRef: \
         {{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, name: digits}}\n  analysis: {{interval: 10s, \
         threshold: 2, stepWeight: 10, maxWeight: 20, metrics: {metrics}}}\n"
    )
}

pub(crate) const BUILT_IN: &str = "[{name: request-success-rate, interval: 10s, thresholdRange: {min: 99}}, {name: \
                        request-duration, interval: 10s, thresholdRange: {max: 10}}]";

pub(crate) fn rollout(steps: &str) -> String {
    format!(
        "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: digits}}\nspec:\n  replicas: 2\n  \
         workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: digits-predictor}}\n  strategy: {{canary: \
         {{trafficRouting: {{nginx: {{}}}}, steps: {steps}}}}}\n---\napiVersion: argoproj.io/v1alpha1\nkind: \
         AnalysisTemplate\nmetadata: {{name: errors}}\nspec:\n  args: [{{name: most, value: '0.05'}}]\n  metrics: [{{name: \
         errors, interval: 5s, count: 3, successCondition: 'result[0] <= {{{{args.most}}}}', provider: {{prometheus: \
         {{query: 'error-rate[10s]'}}}}}}]\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: \
         {{name: unsure}}\nspec:\n  metrics: [{{name: errors, successCondition: 'result[0] <= 0.01', failureCondition: \
         'result[0] >= 0.99', provider: {{prometheus: {{query: 'error-rate[10s]'}}}}}}]\n"
    )
}

pub(crate) const ARGO_STEPS: &str = "[{setWeight: 20}, {pause: {duration: 10s}}, {analysis: {templates: [{templateName: errors}]}}, \
                          {setWeight: 50}, {pause: {duration: 20s}}]";

pub(crate) fn texts<'a>(recording: &'a Recording, kind: &str) -> Vec<(u64, &'a str)> {
    let events = recording.events.iter().filter(|event| event.kind == kind);
    events.map(|event| (event.t_ns / MS, event.text.as_str())).collect()
}

pub(crate) fn phases(recording: &Recording, kind: &str) -> Vec<(u64, String)> {
    let changes = texts(recording, kind).into_iter().filter(|(_, text)| text.contains(" -> "));
    changes.map(|(t_ms, text)| (t_ms, text.split(':').next().unwrap_or("").to_owned())).collect()
}

pub(crate) fn owned(changes: &[(u64, &str)]) -> Vec<(u64, String)> {
    changes.iter().map(|(t_ms, text)| (*t_ms, (*text).to_owned())).collect()
}

/// Requests between two seconds that revisions with this in their names answered.
pub(crate) fn answered(recording: &Recording, name: &str, from_s: u64, to_s: u64) -> usize {
    let is_it = |revision: u16| recording.revisions[usize::from(revision)].name.contains(name);
    let sent = recording.requests.iter().filter(|request| {
        (from_s * S..to_s * S).contains(&request.intended_ns) && request.revision.is_some_and(is_it)
    });
    sent.count()
}

/// A good version must arrive, at the times that the steps say: seen at the tick at 20 s, 10 % at 30 s, 20 % at 40 s,
/// copied at 50 s, all traffic back at 60 s, the canary's pods away at 70 s.
#[test]
fn flagger_walks_a_good_canary_to_promotion() {
    let (recording, summary) = fly(&standard(&canary(BUILT_IN)).plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(
        phases(&recording, "canary"),
        owned(&[
            (20_000, "Initialized -> Progressing"),
            (50_000, "Progressing -> Promoting"),
            (60_000, "Promoting -> Finalising"),
            (70_000, "Finalising -> Succeeded"),
        ])
    );
    assert_eq!(
        texts(&recording, "traffic"),
        [
            (30_000, "digits-predictor-primary 90 %, digits-predictor 10 %"),
            (40_000, "digits-predictor-primary 80 %, digits-predictor 20 %"),
            (60_000, "digits-predictor-primary 100 %"),
        ]
    );
    assert_eq!(answered(&recording, "digits-predictor-0", 0, 30), 0);
    assert_eq!(answered(&recording, "digits-predictor-0", 30, 40), 50, "a tenth of 500");
    assert_eq!(answered(&recording, "digits-predictor-0", 40, 60), 200, "a fifth of 1000");
    assert_eq!(answered(&recording, "digits-predictor-0", 60, 90), 0);
    // The primary has the new template.
    let last =
        recording.requests.iter().max_by_key(|request| request.intended_ns).and_then(|last| last.revision);
    assert_eq!(
        last.map(|revision| recording.revisions[usize::from(revision)].storage_uri.as_str()),
        Some("s3://models/digits/v2")
    );
    let ready = recording.points("replicas.ready", &[("revision", "digits-predictor-00002")]);
    let at = |t_ns: u64| ready.iter().find(|point| point.t_ns == t_ns).map(|point| point.value);
    assert_eq!((at(30 * S), at(69 * S), at(72 * S)), (Some(2.0), Some(2.0), Some(0.0)));
    let told: Vec<_> = recording
        .decisions
        .iter()
        .filter(|decision| decision.actor == "flagger" && decision.target == "digits")
        .map(|decision| (decision.t_ns / S, decision.from, decision.to))
        .collect();
    assert_eq!(told, [(20, 0, 0), (30, 0, 10), (40, 10, 20), (50, 20, 20), (60, 20, 0), (70, 0, 0)]);
}

/// A canary that is three times slower must be taken back: 15 ms where 10 are allowed, failed checks at 40 s and 50 s,
/// rolled back at the tick after the second, 60 s.
#[test]
fn flagger_rolls_a_slow_canary_back() {
    let slow = "control: {phases: {canary: 0s}}\nmodels: [{match: 's3://models/digits/v2', service-time: {distribution: \
                constant, mean: 15ms}}]";
    let setting = Setting { environment_keys: slow.to_owned(), ..standard(&canary(BUILT_IN)) };
    let (recording, _) = fly(&setting.plan(), 3);
    assert_eq!(
        phases(&recording, "canary"),
        owned(&[(20_000, "Initialized -> Progressing"), (60_000, "Progressing -> Failed")])
    );
    let halts: Vec<_> =
        texts(&recording, "canary").into_iter().filter(|(_, text)| text.contains("Halt")).collect();
    assert_eq!(
        halts,
        [
            (40_000, "warning: Halt digits.default advancement request duration 15ms > 10ms"),
            (50_000, "warning: Halt digits.default advancement request duration 15ms > 10ms"),
        ]
    );
    assert_eq!(texts(&recording, "traffic").last(), Some(&(60_000, "digits-predictor-primary 100 %")));
    assert_eq!(answered(&recording, "digits-predictor-0", 60, 90), 0);
    assert!(recording.decisions.iter().any(|decision| {
        decision.actor == "flagger" && decision.t_ns == 60 * S && decision.text.contains("failed checks")
    }));
}

/// Without requests there is nothing to judge by, and Flagger counts that against the canary (flagger #1252).
#[test]
fn a_canary_without_traffic_is_rolled_back() {
    let load = "process: constant, phases: [{for: 80s, rate: 0/s}, {for: 10s, rate: 1/s}]".to_owned();
    let setting = Setting { load, ..standard(&canary(BUILT_IN)) };
    let (recording, _) = fly(&setting.plan(), 3);
    assert_eq!(
        phases(&recording, "canary"),
        owned(&[(20_000, "Initialized -> Progressing"), (60_000, "Progressing -> Failed")])
    );
    let silent =
        "no values found for metric request-success-rate probably digits-predictor.default is not receiving";
    let halts = texts(&recording, "canary").into_iter().filter(|(_, text)| text.contains(silent));
    assert_eq!(halts.map(|(t_ms, _)| t_ms).collect::<Vec<_>>(), [40_000, 50_000]);
}

/// A prediction that changes is what a model's canary is for; templates ask for it by name, next to the stable version.
#[test]
fn templates_compare_versions() {
    let objects = canary(
        "[{name: other answers, interval: 10s, templateRef: {name: difference}, thresholdRange: {max: 0.1}}]",
    ) + "---\napiVersion: flagger.app/v1beta1\nkind: MetricTemplate\nmetadata: {name: difference}\nspec: {provider: {type: \
         prometheus}, query: 'prediction-difference - prediction-difference{version=\"stable\"}'}\n";
    let models = |share: &str| {
        format!(
            "control: {{phases: {{canary: 0s}}}}\nmodels: [{{match: 's3://models/digits/v2', different: {share}}}, {{match: \
             's3://models/digits/v1', different: 0%}}]"
        )
    };
    let last = |share: &str| {
        let setting = Setting { environment_keys: models(share), ..standard(&objects) };
        let (recording, _) = fly(&setting.plan(), 3);
        phases(&recording, "canary").pop()
    };
    assert_eq!(last("30%"), Some((60_000, "Progressing -> Failed".to_owned())));
    assert_eq!(last("1%"), Some((70_000, "Finalising -> Succeeded".to_owned())));
}

/// The primary keeps an autoscaler of its own, and the target's rests at zero between releases.
#[test]
fn flagger_copies_the_autoscaler() {
    let objects = canary(BUILT_IN).replace(
        "  analysis:",
        "  autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: digits-predictor}\n  analysis:",
    );
    let setting = Setting {
        predictor: "minReplicas: 2, maxReplicas: 4".to_owned(),
        annotations: "serving.kserve.io/deploymentMode: Standard".to_owned(),
        ..standard(&objects)
    };
    let (recording, summary) = fly(&setting.plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(phases(&recording, "canary").last(), Some(&(70_000, "Finalising -> Succeeded".to_owned())));
    let last = |name: &str| {
        recording.points("replicas.ready", &[("revision", name)]).last().map(|point| point.value)
    };
    assert_eq!(last("digits-predictor-00002"), Some(0.0));
    // 50 requests of 5 ms a second are 250m of CPU: 125 % of what two pods of 100m ask for, 80 % with four.
    assert_eq!(last("digits-predictor-primary-00002"), Some(4.0));
    let scaled: Vec<_> = recording
        .decisions
        .iter()
        .filter(|decision| decision.actor == "hpa")
        .map(|decision| (decision.target.as_str(), decision.from, decision.to))
        .collect();
    assert_eq!(scaled, [("digits-predictor-primary", 2, 4)]);
}

/// A gate that stays closed must keep the canary where it is.
#[test]
fn a_closed_gate_holds_the_promotion() {
    let objects = canary(BUILT_IN).replace(
        "maxWeight: 20,",
        "maxWeight: 20, webhooks: [{name: gate, type: confirm-promotion, url: 'http://flagger-loadtester.test/gate/halt'}],",
    );
    let (recording, _) = fly(&standard(&objects).plan(), 3);
    assert_eq!(
        phases(&recording, "canary").last(),
        Some(&(50_000, "Progressing -> WaitingPromotion".to_owned()))
    );
    assert_eq!(answered(&recording, "digits-predictor-0", 50, 90), 400, "a fifth of 2000");
}

/// Pods that are all replaced at once leave nobody: Kubernetes says so from the first missing one on, and Flagger gives
/// the primary up when that has lasted for the canary's deadline. Promoted at 50 s, the primary loses both pods and
/// cannot load the new model; 15 s later no tick has come, at 70 s one has. What then becomes of the requests changed
/// with Flagger 1.44.
#[test]
fn a_primary_that_is_stuck_in_its_promotion_is_given_up() {
    let objects = canary(BUILT_IN).replace("  analysis:", "  progressDeadlineSeconds: 15\n  analysis:");
    let setting = |version: &str| Setting {
        predictor: "minReplicas: 2, deploymentStrategy: {type: Recreate}".to_owned(),
        environment_keys: format!(
            "control: {{phases: {{canary: 0s}}{version}}}\nbandwidth: {{storage: {{'s3://': 20Gbit/s}}}}"
        ),
        pod_start: Setting::default().pod_start.replace("download: 300ms", "download: {size: 1GiB}"),
        faults: "{at: 45s, fault: storage-failure, prefix: 's3://models', for: 45s}".to_owned(),
        ..standard(&objects)
    };
    let (recording, _) = fly(&setting("").plan(), 3);
    let changes = phases(&recording, "canary");
    assert_eq!(
        changes[1..],
        owned(&[(50_000, "Progressing -> Promoting"), (70_000, "Promoting -> Failed")]),
        "{:?}",
        texts(&recording, "canary")
    );
    assert_eq!(texts(&recording, "traffic").last(), Some(&(70_000, "digits-predictor 100 %")));
    assert_eq!(answered(&recording, "digits-predictor-0", 70, 90), 1_000, "the canary has all of them");

    let (recording, _) = fly(&setting(", flagger: {version: 1.0}").plan(), 3);
    assert_eq!(phases(&recording, "canary"), changes);
    assert_eq!(texts(&recording, "traffic").last(), Some(&(70_000, "digits-predictor-primary 100 %")));
    assert_eq!(answered(&recording, "digits-predictor-0", 70, 90), 0, "all go to nobody");
}

/// A canary must not be promoted on numbers that nobody has: to Flagger a query that fails is a failed check, which it
/// forgives as often as the threshold says; to Argo it is an error, after which it measures again ten seconds later,
/// four times in a row.
#[test]
fn nobody_is_promoted_in_a_metrics_gap() {
    let with = |objects: &str, gap: &str| Setting { faults: gap.to_owned(), ..standard(objects) };
    let (recording, _) = fly(&with(&canary(BUILT_IN), "{at: 35s, fault: metrics-gap, for: 10s}").plan(), 3);
    let halts = |recording: &Recording| -> Vec<u64> {
        let failed = "warning: Prometheus query failed: the metrics are out";
        texts(recording, "canary").into_iter().filter(|(_, text)| *text == failed).map(|(at, _)| at).collect()
    };
    assert_eq!(halts(&recording), [40_000]);
    assert_eq!(
        texts(&recording, "traffic"),
        [
            (30_000, "digits-predictor-primary 90 %, digits-predictor 10 %"),
            (50_000, "digits-predictor-primary 80 %, digits-predictor 20 %"),
            (70_000, "digits-predictor-primary 100 %"),
        ],
        "a step later than without the gap"
    );
    assert_eq!(phases(&recording, "canary").last(), Some(&(80_000, "Finalising -> Succeeded".to_owned())));

    let (recording, _) = fly(&with(&canary(BUILT_IN), "{at: 35s, fault: metrics-gap, for: 20s}").plan(), 3);
    assert_eq!(halts(&recording), [40_000, 50_000]);
    assert_eq!(phases(&recording, "canary").last(), Some(&(60_000, "Progressing -> Failed".to_owned())));

    let (recording, _) =
        fly(&with(&rollout(ARGO_STEPS), "{at: 20s, fault: metrics-gap, for: 15s}").plan(), 3);
    assert_eq!(
        texts(&recording, "analysis"),
        [(53_000, "Successful")],
        "errors at 23 s and 33 s, then three measurements at 43 s, 48 s and 53 s"
    );

    let (recording, _) =
        fly(&with(&rollout(ARGO_STEPS), "{at: 20s, fault: metrics-gap, for: 60s}").plan(), 3);
    let analysis = texts(&recording, "analysis");
    assert!(
        analysis.len() == 1 && analysis[0].0 == 63_000 && analysis[0].1.starts_with("Error"),
        "the fifth error in a row: {analysis:?}"
    );
    assert_eq!(texts(&recording, "traffic").last(), Some(&(63_000, "digits-predictor-00001 100 %")));
    let changes = phases(&recording, "rollout");
    assert_eq!(changes.last(), Some(&(63_000, "Progressing -> Degraded".to_owned())), "{changes:?}");
}

/// In Knative mode the newest revision is the canary and the promoted one serves the rest.
#[test]
fn flagger_splits_between_revisions() {
    let setting = |keys: &str| Setting {
        annotations: String::new(),
        predictor: "minReplicas: 1".to_owned(),
        environment_keys: keys.to_owned(),
        ..standard(&canary(BUILT_IN))
    };
    let (recording, summary) = fly(&setting("control: {phases: {canary: 0s}}").plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(
        phases(&recording, "canary").last(),
        Some(&(70_000, "Finalising -> Succeeded".to_owned())),
        "{:?}",
        texts(&recording, "canary")
    );
    assert_eq!(answered(&recording, "00002", 0, 30), 0, "ready at 13 s, and without traffic until 30 s");
    assert_eq!(answered(&recording, "00002", 30, 40), 50);
    assert_eq!(answered(&recording, "00002", 40, 50), 100);
    assert_eq!(answered(&recording, "00001", 50, 90), 0, "promoted at 50 s");
    let slow =
        "control: {phases: {canary: 0s}}\nmodels: [{match: 's3://models/digits/v2', error-rate: 100%}]";
    let (recording, _) = fly(&setting(slow).plan(), 3);
    assert_eq!(phases(&recording, "canary").last(), Some(&(60_000, "Progressing -> Failed".to_owned())));
    assert_eq!(answered(&recording, "00002", 60, 90), 0);
    assert_eq!(answered(&recording, "00001", 60, 90), 1_500);
}

/// Argo's steps at their times: one of two pods starts at 12 s and serves at 13 s with 20 %; the pause ends at 23 s; three
/// measurements at 23 s, 28 s and 33 s; then 50 % and 20 s of pause; promoted at 53 s, when the second pod serves.
#[test]
fn argo_pauses_and_analyses() {
    let (recording, summary) = fly(&standard(&rollout(ARGO_STEPS)).plan(), 3);
    assert_eq!(summary.failed, 0);
    let traffic: Vec<_> = texts(&recording, "traffic");
    assert_eq!(
        traffic[0],
        (13_000, "digits-predictor-00002 20 %, digits-predictor-00001 80 %"),
        "{traffic:?}"
    );
    assert_eq!(
        traffic[1],
        (33_000, "digits-predictor-00002 50 %, digits-predictor-00001 50 %"),
        "{traffic:?}"
    );
    assert_eq!(traffic[2].1, "digits-predictor-00002 100 %", "{traffic:?}");
    assert!((53_000..55_000).contains(&traffic[2].0), "{traffic:?}");
    assert_eq!(texts(&recording, "analysis"), [(33_000, "Successful")]);
    assert_eq!(answered(&recording, "00002", 14, 33), 190, "a fifth of 950");
    assert_eq!(
        phases(&recording, "rollout").last().map(|(_, text)| text.as_str()),
        Some("Progressing -> Healthy")
    );
    assert_eq!(answered(&recording, "00001", 60, 90), 0);
}

/// A canary that fails half of its requests is aborted at the first measurement, and one that is neither good nor bad
/// waits for somebody.
#[test]
fn argo_aborts_or_waits() {
    let keys = "control: {phases: {canary: 0s}}\nmodels: [{match: 's3://models/digits/v2', error-rate: 50%}]"
        .to_owned();
    let setting = Setting { environment_keys: keys, ..standard(&rollout(ARGO_STEPS)) };
    let (recording, _) = fly(&setting.plan(), 3);
    let analysis = texts(&recording, "analysis");
    assert!(analysis[0].0 == 23_000 && analysis[0].1.starts_with("Failed"), "{analysis:?}");
    assert_eq!(texts(&recording, "traffic").last(), Some(&(23_000, "digits-predictor-00001 100 %")));
    assert!(
        phases(&recording, "rollout")
            .iter()
            .any(|(t_ms, text)| *t_ms == 23_000 && text.ends_with("Degraded"))
    );
    // Its pods stay for 30 s.
    let ready = recording.points("replicas.ready", &[("revision", "digits-predictor-00002")]);
    let at = |t_ns: u64| ready.iter().find(|point| point.t_ns == t_ns).map(|point| point.value);
    assert_eq!((at(52 * S), at(55 * S)), (Some(1.0), Some(0.0)));

    let steps = ARGO_STEPS.replace("templateName: errors", "templateName: unsure");
    let setting = Setting { objects: rollout(&steps), ..setting };
    let (recording, _) = fly(&setting.plan(), 3);
    let analysis = texts(&recording, "analysis");
    assert!(analysis[0].0 == 23_000 && analysis[0].1.starts_with("Inconclusive"), "{analysis:?}");
    let last = phases(&recording, "rollout");
    assert_eq!(last.last(), Some(&(23_000, "Progressing -> Paused".to_owned())), "{last:?}");
    assert_eq!(answered(&recording, "00002", 30, 90), 600, "a fifth of 3000");
}

/// Blue/green: both pods of the new version serve from 13 s on, and get all requests ten seconds later.
#[test]
fn argo_switches_blue_to_green() {
    let objects = rollout("[]").replace(
        "{canary: {trafficRouting: {nginx: {}}, steps: []}}",
        "{blueGreen: {activeService: digits, previewService: preview, autoPromotionSeconds: 10}}",
    );
    let (recording, summary) = fly(&standard(&objects).plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(texts(&recording, "traffic"), [(23_000, "digits-predictor-00002 100 %")]);
    let ready = recording.points("replicas.ready", &[("revision", "digits-predictor-00001")]);
    let at = |t_ns: u64| ready.iter().find(|point| point.t_ns == t_ns).map(|point| point.value);
    assert_eq!((at(52 * S), at(55 * S)), (Some(2.0), Some(0.0)), "kept for 30 s");
}

/// Without a router the numbers of pods are the split: one of four.
#[test]
fn argo_without_a_router_splits_by_pods() {
    let objects = rollout("[{setWeight: 25}, {pause: {}}]")
        .replace("trafficRouting: {nginx: {}}, ", "maxSurge: 1, maxUnavailable: 0, ")
        .replace("replicas: 2", "replicas: 4");
    let (recording, _) = fly(&standard(&objects).plan(), 3);
    let last = |name: &str| {
        recording.points("replicas.ready", &[("revision", name)]).last().map(|point| point.value)
    };
    assert_eq!((last("digits-predictor-00001"), last("digits-predictor-00002")), (Some(3.0), Some(1.0)));
    assert_eq!(answered(&recording, "00002", 20, 90), 875, "a quarter of 3500");
}

/// A fork in the middle of a walk must go on with it.
#[test]
fn a_walk_goes_on_from_a_snapshot() {
    let objects = [canary(BUILT_IN), rollout(ARGO_STEPS)];
    for (objects, cuts) in objects.iter().zip([[25, 45, 55], [12, 25, 29]]) {
        let plan: Plan = standard(objects).plan();
        let (whole, _) = fly(&plan, 3);
        for cut_s in cuts {
            let mut recording = plan.recording(3);
            let snapshot = simulate_until(&plan, 3, cut_s * S, &mut recording).expect("a sound simulation");
            let read = Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
            resume(&plan, read, &mut recording).expect("a sound simulation");
            assert!(bytes(&recording) == bytes(&whole), "cut at {cut_s} s");
        }
    }
}

/// What an object asks for and the simulation does not do is said, with what can be done.
#[test]
fn objects_that_cannot_be_are_refused() {
    let refused = |objects: &str| standard(objects).read().expect_err("not sound");
    let other = canary(BUILT_IN).replace("InferenceService, name: digits}", "InferenceService, name: digit}");
    assert!(
        refused(&other).contains("there is no InferenceService \"digit\" to roll out; the manifests make")
    );
    let up = canary("[{name: up, query: 'sum(up)'}]");
    assert!(refused(&up).contains("the query \"sum(up)\" is not simulated; write NAME"), "{}", refused(&up));
    let template = canary("[{name: up, templateRef: {name: up}}]");
    assert!(refused(&template).contains("no MetricTemplate \"up\""));
    let both = canary(BUILT_IN) + &rollout(ARGO_STEPS);
    assert!(refused(&both).contains("by another object already"));
    let alone = rollout(ARGO_STEPS).replace("workloadRef", "template");
    assert!(refused(&alone).contains("spec.workloadRef"));
    let knative = Setting {
        annotations: String::new(),
        ..standard(&rollout(ARGO_STEPS).replace(
            "apiVersion: apps/v1, kind: Deployment, name: digits-predictor",
            "kind: InferenceService, name: digits",
        ))
    };
    let refusal = knative.read().expect_err("not simulated");
    assert!(refusal.contains("Knative mode: Argo Rollouts manages the pods of Deployments"), "{refusal}");
    for (step, what) in [
        ("{experiment: {templates: []}}", "an experiment"),
        ("{setHeaderRoute: {name: h}}", "a route by headers"),
        ("{setMirrorRoute: {name: m}}", "a route that mirrors requests"),
        ("{plugin: {name: p}}", "a step of a plugin"),
    ] {
        let steps = format!("[{{setWeight: 20}}, {step}]");
        let said = refused(&rollout(&steps));
        assert!(
            said.contains(&format!(
                "spec.strategy.canary.steps[1]: {what} is not simulated; leave the step out"
            )),
            "{said}"
        );
    }
    let missing = rollout(&ARGO_STEPS.replace("templateName: errors", "templateName: other"));
    assert!(refused(&missing).contains("no AnalysisTemplate \"other\""));
}
