//! KEDA in the loop, by hand: polls at 5 s, 35 s, …, its HorizontalPodAutoscaler at 0 s, 15 s, ….

use super::{assert_resumable, decided, standard};
use crate::setting::{MS, S, Setting, fly};

/// 40 requests a second from 20 s to 120 s; scale-down of the HorizontalPodAutoscaler takes ten minutes.
fn busy_for_a_while() -> Setting {
    Setting {
        duration: "600s".to_owned(),
        load: "process: constant, phases: [{for: 20s, rate: 0/s}, {for: 100s, rate: 40/s}, {for: 480s, rate: 0/s}]"
            .to_owned(),
        ..standard(
            "keda",
            "minReplicas: 0, maxReplicas: 5, autoScaling: {metrics: [{type: External, external: {metric: {backend: \
             prometheus, serverAddress: 'http://p', query: 'sum(rate(istio_requests_total[30s]))'}, target: {type: \
             Value, value: '10'}}}], behavior: {scaleDown: {stabilizationWindowSeconds: 600}}}",
        )
    }
}

/// Who believes that cooldownPeriod slows the way down from N to 1, or that policies soften the way to zero, plans
/// with pods that are not there.
///
/// - 35 s: the readings of 14 s and 29 s have 360 requests between them: active, one replica. Until it is ready at 36 s
///   requests are refused: nothing holds them in this mode.
/// - 45 s: 40 a second at 10 a replica: 4.
/// - 125 s: the last poll that sees requests. 300 s later is 425 s, and that is strict: it takes the poll of 455 s,
///   which goes from 4 to 0 in one step.
#[test]
fn to_zero_in_one_step_after_the_cooldown() {
    let plan = busy_for_a_while().plan();
    let (recording, summary) = fly(&plan, 1);
    let steps = decided(&recording);
    assert_eq!(steps, [(35_000, "keda", 0, 1), (45_000, "hpa", 1, 4), (455_000, "keda", 4, 0)]);
    let refused: Vec<u64> = recording
        .requests
        .iter()
        .filter(|request| request.status != 200)
        .map(|request| request.intended_ns)
        .collect();
    assert_eq!(refused.len() as u64, summary.failed);
    assert!(refused.iter().all(|at_ns| *at_ns < 36 * S), "ready from then on");
    assert_eq!(refused.len(), 640, "16 s at 40 a second");
    assert!(recording.requests.iter().all(|request| matches!(request.status, 200 | 503)));
    assert!(recording.decisions[2].text.contains("not active"), "{}", recording.decisions[2].text);
    assert_resumable(&plan, &[34 * S, 35 * S + 500 * MS, 45 * S, 300 * S, 455 * S]);
}

/// With the defaults the HorizontalPodAutoscaler is there first: 300 s after its last recommendation of 4 (at 120 s, the
/// reading of 119 s) it goes to 1 at 420 s, and KEDA takes the rest.
#[test]
fn the_way_down_to_one_is_the_hpas() {
    let mut setting = busy_for_a_while();
    setting.predictor =
        setting.predictor.replace(", behavior: {scaleDown: {stabilizationWindowSeconds: 600}}", "");
    let (recording, _) = fly(&setting.plan(), 1);
    let steps = decided(&recording);
    assert_eq!(steps[2..], [(420_000, "hpa", 4, 1), (455_000, "keda", 1, 0)]);
}

/// A ScaledObject of one's own with a calendar: two replicas from 00:02 to 00:05, none before and after.
///
/// Polls of every 10 s: active at 125 s; inactive from 305 s on, cool-down of 20 s since 295 s: gone at 325 s.
/// The runs begin at midnight in Greenwich, which is one o'clock in Berlin and half past five in Kolkata.
#[test]
fn a_calendar_scales_ahead() {
    for (zone, hour, minutes) in [("UTC", 0, 0), ("Europe/Berlin", 1, 0), ("Asia/Kolkata", 5, 30)] {
        let times = format!("start: {} {hour} * * *, end: {} {hour} * * *", minutes + 2, minutes + 5);
        let recording = calendar(zone, &times);
        assert_eq!(
            decided(&recording),
            [(125_000, "keda", 0, 1), (135_000, "hpa", 1, 2), (325_000, "keda", 2, 0)]
        );
    }
}

/// What happens under a calendar of two replicas.
fn calendar(zone: &str, times: &str) -> windtunnel_record::Recording {
    let setting = Setting {
        duration: "400s".to_owned(),
        load: "process: constant, phases: [{for: 400s, rate: 1/s}]".to_owned(),
        objects: format!(
            "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: digits}}\nspec:\n  scaleTargetRef: \
             {{name: digits-predictor}}\n  pollingInterval: 10\n  cooldownPeriod: 20\n  triggers: [{{type: cron, metadata: \
             {{timezone: {zone}, {times}, desiredReplicas: '2'}}}}]\n"
        ),
        ..standard("external", "minReplicas: 1")
    };
    fly(&setting.plan(), 1).0
}

/// One value out of all triggers decides: twice the calendar's two from 00:02 on, at one a replica, and nothing of a
/// trigger that is not asked for. The polls are those of the calendar alone. The way from one to four is the old limit of 4.
#[test]
fn a_formula_makes_one_value_of_all_triggers() {
    let with = |formula: &str, target: &str| Setting {
        duration: "400s".to_owned(),
        load: "process: constant, phases: [{for: 400s, rate: 1/s}]".to_owned(),
        objects: format!(
            "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: digits}}\nspec:\n  scaleTargetRef: \
             {{name: digits-predictor}}\n  pollingInterval: 10\n  cooldownPeriod: 20\n  advanced: {{scalingModifiers: \
             {{formula: '{formula}', target: '{target}', activationTarget: '3.5'}}}}\n  triggers:\n    - {{type: cron, name: \
             base, metadata: {{timezone: UTC, start: 2 0 * * *, end: 5 0 * * *, desiredReplicas: '2'}}}}\n    - {{type: cron, \
             name: other, metadata: {{timezone: UTC, start: 1 0 * * *, end: 6 0 * * *, desiredReplicas: '9'}}}}\n"
        ),
        ..standard("external", "minReplicas: 1")
    };
    let plan = with("base > 0 ? base * 2 : 0", "1").plan();
    let steps = [(125_000, "keda", 0, 1), (135_000, "hpa", 1, 4), (325_000, "keda", 4, 0)];
    assert_eq!(decided(&fly(&plan, 1).0), steps);
    // Below its activation it is never active.
    assert_eq!(decided(&fly(&with("base", "1").plan(), 1).0), []);
    for (formula, target, words) in [
        ("base + third", "1", ["third", "base, other"]),
        ("base +", "1", ["formula", "column 7"]),
        ("base", "0", ["target", "above 0"]),
    ] {
        let message = with(formula, target).read().expect_err("wrong on purpose");
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    }
}

/// A worker that takes messages from a queue: none while it is empty, one a poll after the first message, and as many as
/// the backlog asks for a moment later.
///
/// 2 messages a second of 5 s each from 20 s to 60 s. The poll of 35 s finds 30: one replica, ready at 36 s. At
/// 45 s 50 have come and one is done: 49 at 10 a replica are 5, but a ScaledObject without `behavior` has the old limit of
/// 4 (or twice the present). At 60 s 80 have come, less what was done.
#[test]
fn a_queue_scales_its_consumers() {
    let setting = Setting {
        duration: "300s".to_owned(),
        load: "process: constant, phases: [{for: 20s, rate: 0/s}, {for: 40s, rate: 2/s}, {for: 240s, rate: 0/s}]"
            .to_owned(),
        load_keys: "queue: {broker: rabbitmq}".to_owned(),
        timeout: "10m".to_owned(),
        service_time: "distribution: constant, mean: 5s".to_owned(),
        objects: "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: digits}\nspec:\n  scaleTargetRef: \
                  {name: digits-predictor}\n  cooldownPeriod: 60\n  triggers: [{type: rabbitmq, metadata: {queueName: jobs, \
                  mode: QueueLength, value: '10', host: 'http://rabbit'}}]\n"
            .to_owned(),
        ..standard("external", "minReplicas: 1")
    };
    let (recording, summary) = fly(&setting.plan(), 1);
    let steps = decided(&recording);
    assert_eq!(steps[..2], [(35_000, "keda", 0, 1), (45_000, "hpa", 1, 4)], "{steps:?}");
    assert_eq!(steps.last().map(|step| (step.1, step.3)), Some(("keda", 0)), "{steps:?}");
    assert_eq!(summary.failed, 0);
}
