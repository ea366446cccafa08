//! Knative's gradual rollout with the numbers of upstream's `rollout_test.go` (knative/serving 98e5ef90).

use windtunnel_kernel::rollout::knative::gradual::{
    ConfigurationRollout, RevisionRollout, Rollout, StepParams,
};

const NOW_NS: u64 = 200_620_092_020;

fn configuration(percent: u32, revisions: &[(&str, u32)], step_params: StepParams) -> ConfigurationRollout {
    ConfigurationRollout {
        configuration_name: "c".to_string(),
        percent,
        revisions: revisions
            .iter()
            .map(|(name, percent)| RevisionRollout { revision_name: (*name).to_string(), percent: *percent })
            .collect(),
        step_params,
        ..ConfigurationRollout::default()
    }
}

fn rollout(percent: u32, revisions: &[(&str, u32)], step_params: StepParams) -> Rollout {
    Rollout { configurations: vec![configuration(percent, revisions, step_params)] }
}

fn idle() -> StepParams {
    StepParams::default()
}

fn begun(start_time: u64) -> StepParams {
    StepParams { start_time, ..idle() }
}

/// Steps from `before` (percents of revisions a, b, …) to a newest revision, and gives the percents.
fn stepped(
    before: &[(&str, u32)],
    params: StepParams,
    newest: &str,
    percent: u32,
) -> (Vec<(String, u32)>, StepParams, Option<u64>) {
    let total = before.iter().map(|(_, percent)| percent).sum();
    let goal = rollout(percent, &[(newest, percent)], idle());
    let (next, next_ns) = goal.step(Some(&rollout(total, before, params)), NOW_NS);
    let found = &next.configurations[0];
    assert_eq!(found.percent, percent);
    assert!(next.is_valid(), "{next:?}");
    let shares = found.revisions.iter().map(|found| (found.revision_name.clone(), found.percent)).collect();
    (shares, found.step_params, next_ns)
}

fn shares(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, percent)| ((*name).to_string(), *percent)).collect()
}

/// A new revision would get everything at once, or a second one would restart what the first has taken.
#[test]
fn a_new_revision_begins_with_one_percent() {
    let old = StepParams { start_time: 1981, next_step_time: 1984, step_duration: 1988, step_size: 11 };
    for (name, before, params, percent, expected) in [
        ("simplest, roll", vec![("a", 100)], old, 100, vec![("a", 99), ("n", 1)]),
        ("down", vec![("a", 11), ("b", 31)], idle(), 33, vec![("a", 2), ("b", 30), ("n", 1)]),
        ("up", vec![("a", 11), ("b", 14)], idle(), 75, vec![("a", 11), ("b", 63), ("n", 1)]),
        ("beside a revision target", vec![("a", 70)], idle(), 70, vec![("a", 69), ("n", 1)]),
        ("two before", vec![("a", 95), ("b", 5)], begun(9), 100, vec![("a", 95), ("b", 4), ("n", 1)]),
        ("two fast ones", vec![("a", 99), ("b", 1)], begun(9), 100, vec![("a", 99), ("n", 1)]),
    ] {
        let (found, params, next_ns) = stepped(&before, params, "n", percent);
        assert_eq!(found, shares(&expected), "{name}");
        assert_eq!((params, next_ns), (begun(NOW_NS), None), "{name}: its steps are not known yet");
    }
    // One percent is not worth it.
    let (found, params, _) = stepped(&[("a", 1)], idle(), "n", 1);
    assert_eq!((found, params), (shares(&[("n", 1)]), idle()));
}

/// Traffic would move too fast, too slowly, or from the wrong revision.
#[test]
fn steps_take_from_the_newest_of_the_old() {
    let params = |start_time, size, duration| StepParams {
        start_time,
        next_step_time: NOW_NS - 4,
        step_duration: duration,
        step_size: size,
    };
    // "simplest, step"
    let (found, after, next_ns) = stepped(&[("a", 95), ("n", 5)], params(2004, 3, 5), "n", 100);
    assert_eq!(found, shares(&[("a", 92), ("n", 8)]));
    assert_eq!((after.next_step_time, next_ns), (NOW_NS + 5, Some(NOW_NS + 5)));
    assert_eq!((after.start_time, after.step_size), (2004, 3));
    // "step last, delete some"
    let four = [("a", 22), ("b", 5), ("c", 3), ("n", 60)];
    let (found, after, _) = stepped(&four, params(1, 10, 55), "n", 90);
    assert_eq!(found, shares(&[("a", 20), ("n", 70)]));
    assert_eq!(after.next_step_time, NOW_NS + 55);
    // "over target now" and "the very last step"
    for size in [10, 8] {
        let last = [("a", 5), ("b", 1), ("c", 1), ("n", 8)];
        let (found, after, next_ns) = stepped(&last, params(1977, size, 77), "n", 15);
        assert_eq!((found, after, next_ns), (shares(&[("n", 15)]), idle(), None));
    }
    // Too soon.
    let early = StepParams { next_step_time: NOW_NS + 1, ..params(1, 10, 55) };
    let (found, after, next_ns) = stepped(&[("a", 50), ("n", 50)], early, "n", 100);
    assert_eq!((found, after, next_ns), (shares(&[("a", 50), ("n", 50)]), early, Some(NOW_NS + 1)));
    // Exactly in time.
    let due = StepParams { next_step_time: NOW_NS, ..params(1, 10, 55) };
    assert_eq!(stepped(&[("a", 50), ("n", 50)], due, "n", 100).0, shares(&[("a", 40), ("n", 60)]));
    // Its gateway has not answered yet.
    let (found, _, next_ns) = stepped(&[("a", 99), ("n", 1)], begun(7), "n", 100);
    assert_eq!((found, next_ns), (shares(&[("a", 99), ("n", 1)]), None));
}

/// A share that shrinks below what old revisions have must not bring back, or lose, any of them.
#[test]
fn another_percentage_during_a_rollout() {
    let still = StepParams { next_step_time: NOW_NS + 9, step_duration: 9, step_size: 5, start_time: 1 };
    for (before, percent, expected) in [
        // TestAdjustPercentage
        (vec![("a", 42), ("n", 33)], 42, vec![("a", 9), ("n", 33)]),
        (vec![("a", 20), ("b", 20), ("n", 35)], 42, vec![("b", 7), ("n", 35)]),
        (vec![("a", 20), ("b", 22)], 75, vec![("a", 20), ("b", 55)]),
    ] {
        let newest = expected.last().unwrap().0;
        assert_eq!(stepped(&before, still, newest, percent).0, shares(&expected));
    }
    // All of the old ones are gone: nothing is left to roll out.
    assert_eq!(stepped(&[("a", 33), ("n", 42)], still, "n", 42).0, shares(&[("n", 42)]));
}

/// The duration would not be kept. TestObserveReady, with a duration of 120 s.
#[test]
fn steps_follow_from_the_duration() {
    let now_ns = NOW_NS + 1982;
    const S: u64 = 1_000_000_000;
    let days = 198_219_841_988;
    for (name, start, percent, duration, size) in [
        ("less than a second", NOW_NS, 100, 1_202_020_202, 1),
        ("2.4 s", days, 100, 3 * S, 3),
        ("rounded up", days, 75, 3 * S, 2),
        ("rounded down", days, 50, 3 * S, 1),
        ("longer than everything", 14_921_812, 13, S, 12),
    ] {
        let mut found = rollout(percent, &[], begun(start));
        found.observe_ready(now_ns, 120);
        let expected = StepParams {
            start_time: start,
            next_step_time: now_ns + duration,
            step_duration: duration,
            step_size: size,
        };
        assert_eq!(found.configurations[0].step_params, expected, "{name}");
    }
    for params in [idle(), StepParams { step_duration: 11, ..idle() }] {
        let mut found = rollout(100, &[], params);
        found.observe_ready(now_ns, 120);
        assert_eq!(found.configurations[0].step_params, params, "nothing has begun");
    }
}

/// 10 s: 1 percent, then nine steps a second apart of 11 percents (99 / 9).
#[test]
fn a_whole_rollout() {
    let goal = rollout(100, &[("n", 100)], idle());
    let mut now_ns = NOW_NS;
    let (mut state, _) = goal.step(Some(&rollout(100, &[("a", 100)], idle())), now_ns);
    state.observe_ready(now_ns, 10);
    let mut percents = Vec::new();
    while !state.is_done() {
        percents.push(state.configurations[0].revisions.last().unwrap().percent);
        now_ns = state.configurations[0].step_params.next_step_time;
        state = goal.step(Some(&state), now_ns).0;
    }
    assert_eq!(percents, [1, 12, 23, 34, 45, 56, 67, 78, 89]);
    assert_eq!(state, goal);
    assert_eq!(now_ns - NOW_NS, 9_000_000_000, "the first second is over when the steps are planned");
}

/// Configurations and tags that come and go have nothing to be rolled out from.
#[test]
fn configurations_come_and_go() {
    let named = |name: &str, tag: &str, revision: &str, percent| ConfigurationRollout {
        configuration_name: name.to_string(),
        tag: tag.to_string(),
        ..configuration(percent, &[(revision, percent)], idle())
    };
    let before = Rollout { configurations: vec![named("b", "", "b1", 60), named("c", "", "c1", 40)] };
    let goal = Rollout {
        configurations: vec![named("a", "", "a1", 30), named("c", "", "c1", 70), named("c", "t", "c1", 100)],
    };
    for before in [Some(before), Some(Rollout::default()), None] {
        let (next, next_ns) = goal.step(before.as_ref(), NOW_NS);
        assert_eq!((&next, next_ns), (&goal, None), "from {before:?}");
    }
}

/// A state that somebody has edited must be thrown away, not followed. TestValidateFailures.
#[test]
fn numbers_that_do_not_fit() {
    let sized = |step_size| StepParams { step_size, ..idle() };
    assert!(rollout(42, &[("a", 40), ("b", 2)], sized(42)).is_valid());
    for bad in [
        rollout(101, &[("a", 101)], idle()),
        rollout(42, &[("a", 42)], sized(43)),
        rollout(42, &[("a", 43)], idle()),
        rollout(42, &[("a", 41)], idle()),
        rollout(42, &[("a", u32::MAX), ("b", 43)], idle()),
    ] {
        assert!(!bad.is_valid(), "{bad:?}");
    }
}

/// Upstream's controllers must be able to go on with what ours have begun.
#[test]
fn the_annotation_is_upstreams() {
    let params = StepParams { start_time: 7, next_step_time: 9, step_duration: 2, step_size: 3 };
    let text = r#"{"configurations":[{"configurationName":"c","percent":100,"revisions":[{"revisionName":"a","percent":97},{"revisionName":"n","percent":3}],"stepParams":{"starttime":7,"nextStepTime":9,"stepDuration":2,"stepSize":3}}]}"#;
    let state = rollout(100, &[("a", 97), ("n", 3)], params);
    assert_eq!(serde_json::to_string(&state).unwrap(), text);
    assert_eq!(serde_json::from_str::<Rollout>(text).unwrap(), state);
}
