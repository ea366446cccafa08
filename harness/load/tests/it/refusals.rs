//! What is told before anything is sent.

use std::time::Duration;

use windtunnel_load::{Attack, Increase, LoadError, attack};
use windtunnel_scenario::objective::Objective;

use super::short;

/// Nobody listens there: the port was free a moment ago.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1/models/m:predict", listener.local_addr().unwrap())
}

/// A typing error in an address must not look like a slow service.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_reached_is_an_error() {
    let error = attack(short(nobody().await, &["p50<5s"])).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }) && !error.is_usage(), "{error}");
    let error = attack(short("http://no.such.host.invalid/v1".to_owned(), &[])).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
}

/// A rule about what can't be seen would be judged on nothing, and `cold-starts<=3` would pass.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_a_remedy() {
    let good = short(nobody().await, &[]);
    let with = |change: &dyn Fn(&mut Attack)| {
        let mut load = good.clone();
        change(&mut load);
        load
    };
    let rule = |text: &str| {
        let rules = vec![Objective::parse(text).unwrap()];
        with(&|load| load.rules.clone_from(&rules))
    };
    for (load, told) in [
        (rule("cold-starts<=3"), "starts of pods can't be seen"),
        (rule("cold-requests=0"), "starts of pods can't be seen"),
        (rule("canary-share=10%"), "which revision is the canary"),
        (rule("p50<5s for canary"), "which revision is the canary"),
        (with(&|load| load.users = 0), "at least one user"),
        (with(&|load| load.run_time = Duration::from_millis(1_500)), "the run time can't be 1.5s"),
        (with(&|load| load.timeout = Duration::ZERO), "the time-out"),
        (with(&|load| load.increase = Increase::Rate(0.0)), "the increase rate can't be 0"),
        (with(&|load| load.increase = Increase::Over(Duration::from_millis(10))), "the increase time"),
        (with(&|load| load.url = "ftp://host/x".to_owned()), "its scheme is ftp"),
        (with(&|load| load.url = "digits".to_owned()), "`digits` is no address to load"),
        (with(&|load| load.expect = Some("s3://models/m/v2".to_owned())), "it has those of s3://models/m/v1"),
        (with(&|load| load.headers = vec![("a b".into(), "c".into())]), "`a b: c` is no HTTP header"),
    ] {
        let error = attack(load).await.unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert!(error.to_string().contains(told), "`{told}` is missing in: {error}");
    }
}
