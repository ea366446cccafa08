//! The HorizontalPodAutoscaler in the loop, by hand. A pod of the runtime requests a tenth of a core.

use windtunnel_sim::{resume, simulate_until};

use super::{assert_resumable, decided, standard};
use crate::setting::{MS, S, Setting, fly};

/// 40 requests a second of 10 ms (400 thousandths of a core) for a minute, a quarter of that afterwards.
fn up_and_down(seconds: u32) -> Setting {
    Setting {
        duration: format!("{seconds}s"),
        load: format!(
            "process: constant, phases: [{{for: 60s, rate: 40/s}}, {{for: {}s, rate: 10/s}}]",
            seconds - 60
        ),
        ..standard("hpa", "minReplicas: 1, maxReplicas: 10")
    }
}

/// A replica too many for five minutes is the price of stabilisation, and one too few at 15 s is an overload: both must
/// be upstream's.
///
/// - 15 s: the reading of 14 s has 560 requests in 15 s: 374 thousandths, 374 % of the request; at a target of 80 %
///   ceil(4.675) = 5, which 4 pods in 15 s allow.
/// - 30 s: the new pods are younger than their metric's window and count as unready: 5 stay. 45 s, 60 s: 80 %: 5 stay.
/// - 75 s on: 100 thousandths of five pods are 20 %: 2, but the highest recommendation of 300 s is 5; the last one is
///   of 60 s and falls out at 360 s exactly.
/// - 375 s on: 50 % of two pods is 1.25: 2 stay.
#[test]
fn replicas_go_up_at_once_and_down_after_five_minutes() {
    let plan = up_and_down(600).plan();
    let (recording, summary) = fly(&plan, 1);
    assert_eq!(decided(&recording), [(15_000, "hpa", 1, 5), (360_000, "hpa", 5, 2)]);
    assert_eq!(summary.failed, 0);
    let first = &recording.decisions[0];
    assert_eq!(first.target, "digits-predictor");
    assert!(first.text.contains("374 %"), "{}", first.text);
    assert_eq!(first.explanation["proposal"], 5);
    assert_resumable(&plan, &[0, 15 * S, 15 * S + 700 * MS, 29 * S, 359 * S, 360 * S]);
}

/// What a user writes into `behavior` decides how long an overload lasts.
///
/// A pod a minute up: the event of 15 s is no longer newer than a minute at 75 s. A pod in 30 s down without
/// stabilisation: 255 s (24 % of five pods since the load fell at 240 s), 285 s, 315 s.
#[test]
fn policies_limit_the_rate_in_both_directions() {
    let object = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: digits}\nspec:\n  \
                  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: digits-predictor}\n  minReplicas: 1\n  \
                  maxReplicas: 10\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, \
                  averageUtilization: 80}}}]\n  behavior:\n    scaleUp: {policies: [{type: Pods, value: 1, \
                  periodSeconds: 60}]}\n    scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, \
                  periodSeconds: 30}]}\n";
    let setting = Setting {
        duration: "400s".to_owned(),
        load: "process: constant, phases: [{for: 240s, rate: 40/s}, {for: 160s, rate: 10/s}]".to_owned(),
        objects: object.to_owned(),
        ..standard("external", "minReplicas: 1")
    };
    let (recording, _) = fly(&setting.plan(), 1);
    let steps: Vec<(u64, i64)> =
        decided(&recording).iter().map(|(at_ms, _, _, to)| (at_ms / 1_000, *to)).collect();
    assert_eq!(steps, [(15, 2), (75, 3), (135, 4), (195, 5), (255, 4), (285, 3), (315, 2)]);
}

/// The same policies in the service's own `autoScaling.behavior`, which KServe's controller reads here and upstream's
/// drops: there the first step is as high as the API server's rules allow.
#[test]
fn the_services_own_behaviour_counts_unless_upstream_drops_it() {
    let mut setting = Setting {
        duration: "100s".to_owned(),
        load: "process: constant, phases: [{for: 100s, rate: 40/s}]".to_owned(),
        ..standard(
            "hpa",
            "minReplicas: 1, maxReplicas: 10, autoScaling: {metrics: [{type: Resource, resource: {name: cpu, target: {type: \
             Utilization, averageUtilization: 80}}}], behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: \
             60}]}}}",
        )
    };
    assert_eq!(decided(&fly(&setting.plan(), 1).0), [(15_000, "hpa", 1, 2), (75_000, "hpa", 2, 3)]);
    setting.environment_keys.push_str("\nprofile: upstream");
    assert_eq!(decided(&fly(&setting.plan(), 1).0)[0], (15_000, "hpa", 1, 5));
}

/// A pods metric and a metric of the whole service count requests instead of cores.
///
/// - 15 s: 560 requests in the 15 s before 14 s: 37.4 a second and pod at a target of 10: 4.
/// - The adapter's value for all together, 37.3 a second at a target of 20 in total: a ratio of 1.87 for one ready pod: 2.
#[test]
fn requests_can_be_what_is_scaled_on() {
    let of = |metric: &str| Setting {
        duration: "25s".to_owned(),
        load: "process: constant, phases: [{for: 25s, rate: 40/s}]".to_owned(),
        objects: format!(
            "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: digits}}\nspec:\n  \
             scaleTargetRef: {{kind: Deployment, name: digits-predictor}}\n  maxReplicas: 10\n  metrics: [{metric}]\n"
        ),
        ..standard("external", "minReplicas: 1")
    };
    let pods =
        of("{type: Pods, pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, \
                   averageValue: \"10\"}}}");
    assert_eq!(decided(&fly(&pods.plan(), 1).0), [(15_000, "hpa", 1, 4)]);
    let object =
        of("{type: Object, object: {describedObject: {kind: Service, name: digits}, metric: {name: rps}, \
                     target: {type: Value, value: \"20\"}}}");
    assert_eq!(decided(&fly(&object.plan(), 1).0), [(15_000, "hpa", 1, 2)]);
}

/// What users report again and again: an update with surge scales out although nothing happens. Memory does not care
/// whether a pod is ready, and old and new pods are counted together.
///
/// 100 of 128 MiB are 78 %, at a target of 95 % a ratio of 0.82: four of four pods. The update of 100 s adds four
/// pods that load for 40 s. At 105 s they have no metrics and count as full: 0.93, nothing happens. At 120 s there
/// are eight with 78 %: ceil(6.6) = 7. That adds three to each side: 14 pods at 135 s, ceil(11.5) = 12, the most.
#[test]
fn an_update_with_surge_scales_out_for_nothing() {
    let setting = Setting {
        duration: "150s".to_owned(),
        load: "process: constant, phases: [{for: 150s, rate: 1/s}]".to_owned(),
        events: "[{at: 100s, name: update, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {model: {storageUri: 's3://models/digits/v2'}}}}}}]"
            .to_owned(),
        pod_start:
            "schedule: 100ms, image-pull: 200ms, download: 300ms, load: 40s, probe: 60ms, propagate: 40ms"
                .to_owned(),
        environment_keys: "control: {phases: {hpa: 0s, scrape: 14s}}\n\
                           models: [{match: 's3://models/digits', memory: {base: 100MiB}}]"
            .to_owned(),
        ..standard(
            "hpa",
            "minReplicas: 4, maxReplicas: 12, deploymentStrategy: {rollingUpdate: {maxSurge: '100%', maxUnavailable: 0}}, \
             autoScaling: {metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, \
             averageUtilization: 95}}}]}",
        )
    };
    let plan = setting.plan();
    let (recording, _) = fly(&plan, 1);
    assert_eq!(decided(&recording), [(120_000, "hpa", 4, 7), (135_000, "hpa", 7, 12)]);
    assert_resumable(&plan, &[110 * S, 120 * S, 121 * S, 141 * S]);
}

/// Whether a scenario was flown with the rules of before or after 1.27 is the user's choice: a cluster that is older
/// decides otherwise, and the explanation must say which rules held.
#[test]
fn the_release_is_an_option_of_the_scenario() {
    let of = |version: &str| {
        let mut setting = up_and_down(120);
        setting.environment_keys =
            format!("control: {{phases: {{hpa: 0s, scrape: 14s}}, hpa: {{version: {version}}}}}");
        setting.read().map(|plan| fly(&plan, 1).0.decisions[0].explanation["version"].clone())
    };
    assert_eq!(of("1.26"), Ok("1.26".into()));
    assert_eq!(of("'1.37'"), Ok("1.37".into()));
    assert!(of("1.25").is_err_and(|message| message.contains("1.21")), "a release that stands for itself");
}

/// Without a phase in the scenario the first look is where chance has it: within a period, and the same for a seed.
#[test]
fn phases_are_the_seeds_unless_they_are_given() {
    let setting = Setting { environment_keys: String::new(), ..up_and_down(120) };
    let plan = setting.plan();
    let first = |seed| fly(&plan, seed).0.decisions[0].t_ns;
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
    assert!([1, 2, 3].into_iter().all(|seed| first(seed) < 60 * S));
}

/// "What if maxReplicas had been 3?" must be answered by the autoscaler that runs, with its history.
///
/// Up to 20 s it is the same run. Then the five replicas are above the most, which counts without metrics at 30 s.
#[test]
fn other_bounds_are_taken_in_place() {
    let plan = up_and_down(120).plan();
    let mut recording = plan.recording(1);
    let snapshot = simulate_until(&plan, 1, 20 * S, &mut recording).expect("a sound simulation");
    let other = Setting { predictor: "minReplicas: 1, maxReplicas: 3".to_owned(), ..up_and_down(120) }.plan();
    resume(&other, snapshot, &mut recording).expect("a sound simulation");
    assert_eq!(decided(&recording), [(15_000, "hpa", 1, 5), (30_000, "hpa", 5, 3)]);
    assert_eq!(recording.revisions.len(), 1, "the pods' template is the same");
}
