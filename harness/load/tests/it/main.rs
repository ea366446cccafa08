//! Load tests of a small server in this process: what they count, and above all when they do not pass.

mod refusals;
mod server;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use server::{Behaviour, Server};
use windtunnel_load::{Attack, LoadResult, attack};
use windtunnel_record::judge::Verdict;
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::requests::{RequestRow, RequestSet};

/// The version that the reference answers are of.
const VERSION: &str = "s3://models/m/v1";

/// The numbers 1 to 4, each with its double as the reference answer.
fn requests() -> RequestSet {
    let row = |number: i64| {
        let body = json!({"instances": [number]});
        let expect = BTreeMap::from([(VERSION.to_owned(), json!({"predictions": [2 * number]}))]);
        RequestRow { payload: body.to_string(), body, expect }
    };
    RequestSet::from_rows((1..=4).map(row).collect()).unwrap()
}

/// Four users for a second.
fn short(url: String, rules: &[&str]) -> Attack {
    let rules = rules.iter().map(|rule| Objective::parse(rule).unwrap()).collect();
    Attack { users: 4, run_time: Duration::from_secs(1), rules, ..Attack::new(url, requests()) }
}

async fn load(behaviour: Behaviour, rules: &[&str]) -> LoadResult {
    let server = Server::start(behaviour).await;
    attack(short(server.url(), rules)).await.unwrap()
}

/// A gate that a good service can't pass is switched off within a week.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_service_passes_and_is_counted_right() {
    let server = Server::start(Behaviour::Doubles).await;
    let mut load = short(server.url(), &["p50<5s", "error-rate<=0%", "rps>1", "mismatches=0"]);
    load.expect = Some(VERSION.to_owned());
    let result = attack(load).await.unwrap();
    let outcome = &result.outcome;
    assert_eq!((outcome.verdict, outcome.exit_code), (Verdict::Pass, 0), "{:?}\n{result}", outcome.reasons);
    assert_eq!(outcome.count(Verdict::Pass), 4);
    assert_eq!(
        result.requests,
        server.answered(),
        "every request of the server is in the result, and no other"
    );
    assert_eq!(result.requests, result.succeeded);
    assert_eq!((result.checked, result.mismatches), (result.requests, 0));
    assert!(result.failures.is_empty());
    assert!(result.duration_s > 0.9, "{result}");
    let latency = result.latency.unwrap();
    assert!(latency.p50_ns <= latency.p99_ns && latency.p99_ns <= latency.max_ns, "{latency:?}");
    let rows = |row| result.recording.requests.iter().filter(|request| request.row == row).count();
    assert!(rows(0).abs_diff(rows(3)) <= 4, "rows are sent in turn");
}

/// A broken promise must fail the pipeline, with the figure that broke it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_does_not_hold_fails() {
    let result = load(Behaviour::Doubles, &["error-rate<=0%", "p50<1us"]).await;
    assert_eq!((result.outcome.verdict, result.outcome.exit_code), (Verdict::Fail, 1));
    let failed: Vec<_> = result.outcome.gates.iter().filter(|gate| gate.verdict == Verdict::Fail).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].objective.as_str(), failed[0].limit_text.as_str()), ("p50<1us", "< 1us"));
    assert_eq!(failed[0].samples, result.requests);
}

/// Goose on its own exits with 0 when every request failed and nobody set a threshold.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_always_fails_has_failed_whatever_the_rules_say() {
    for rules in [&[][..], &["error-rate<=100%"], &["p99<10s"]] {
        let result = load(Behaviour::Fails, rules).await;
        assert_eq!((result.outcome.verdict, result.outcome.exit_code), (Verdict::Fail, 1), "{rules:?}");
        assert_eq!(result.succeeded, 0);
        assert!(result.latency.is_none(), "the latency of a failure is no latency");
        let [failed] = &result.failures[..] else { panic!("{:?}", result.failures) };
        assert_eq!((failed.status, failed.count), (500, result.requests));
        assert_eq!(failed.example, "HTTP 500: no such tensor");
        assert!(
            result.outcome.reasons[0].contains("got a successful answer"),
            "{:?}",
            result.outcome.reasons
        );
    }
}

/// Without rules nothing was promised, so nothing was kept either.
#[tokio::test(flavor = "multi_thread")]
async fn without_rules_or_with_too_few_samples_it_is_inconclusive() {
    let result = load(Behaviour::Doubles, &[]).await;
    assert_eq!((result.outcome.verdict, result.outcome.exit_code), (Verdict::Inconclusive, 3));
    let result = load(Behaviour::Doubles, &["p99.9999<10s"]).await;
    assert_eq!(result.outcome.verdict, Verdict::Inconclusive, "{:?}", result.outcome.reasons);
    let result = load(Behaviour::Doubles, &["mismatches=0"]).await;
    assert_eq!(result.outcome.verdict, Verdict::Inconclusive, "nobody named a version to compare with");
}

/// A fast wrong answer is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_predictions_are_counted() {
    let server = Server::start(Behaviour::DoublesAllButThree).await;
    let mut load = short(server.url(), &["error-rate<=0%", "mismatches=0"]);
    load.expect = Some(VERSION.to_owned());
    let result = attack(load).await.unwrap();
    assert_eq!(result.outcome.verdict, Verdict::Fail);
    assert_eq!(result.checked, result.requests);
    let of_three = result.recording.requests.iter().filter(|request| request.row == 2).count() as u64;
    assert_eq!(result.mismatches, of_three);
    assert!(of_three > 0);
}

/// A service that takes requests and never answers must neither hang the pipeline nor look fast.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_fails_in_time() {
    let server = Server::start(Behaviour::Hangs).await;
    let mut load = short(server.url(), &["p50<10s"]);
    load.timeout = Duration::from_millis(300);
    let began = Instant::now();
    let result = attack(load).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(result.outcome.verdict, Verdict::Fail);
    assert_eq!(result.failures[0].status, 0);
    assert!(result.requests >= 4, "{result}");
}

/// What is sent must be what was asked for: a gateway routes by host, and a redirect would measure another service.
#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent_and_redirects_are_failures() {
    let server = Server::start(Behaviour::KnowsItsHost).await;
    let mut load = short(server.url(), &["error-rate<=0%", "p50<5s for digits-00001"]);
    load.headers = vec![("Host".to_owned(), "digits.example.com".to_owned())];
    let result = attack(load).await.unwrap();
    assert_eq!(result.outcome.verdict, Verdict::Pass, "{:?}", result.outcome.reasons);
    let result = self::load(Behaviour::Redirects, &["error-rate<=0%"]).await;
    assert_eq!(result.outcome.verdict, Verdict::Fail);
    assert_eq!(result.failures[0].status, 302);
}

/// An interrupted load must end soon and must not pass on what it happened to see.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_is_never_a_pass() {
    let server = Server::start(Behaviour::Doubles).await;
    let mut load = short(server.url(), &["error-rate<=0%"]);
    load.run_time = Duration::from_secs(600);
    let cancel = load.cancel.clone();
    let counter = server.counter();
    let interrupt = tokio::spawn(async move {
        Server::until_answered(counter, 100).await;
        cancel.cancel();
    });
    let ended = tokio::time::timeout(Duration::from_secs(60), attack(load)).await;
    let result = ended.expect("a load of ten minutes ends when it is interrupted").unwrap();
    interrupt.await.unwrap();
    assert!(result.interrupted && result.succeeded > 0, "{result}");
    assert_eq!(result.outcome.verdict, Verdict::Inconclusive);
}
