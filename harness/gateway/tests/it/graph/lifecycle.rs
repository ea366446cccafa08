//! Readiness, the end, and what is broken off when an answer is decided.

use std::time::Duration;

use serde_json::json;
use windtunnel_gateway::graph::Options;

use super::{Answered, Rig, one_node};
use crate::pods::{client, eventually, in_time};

/// If this fails a rollout of a graph loses requests: readiness goes first, then requests end, then connections.
#[tokio::test]
async fn a_router_that_ends_answers_what_has_come() {
    let options = Options { quiet: Duration::from_millis(50), ..Options::default() };
    let rig = Rig::with(&one_node("Sequence", json!([{"serviceUrl": "{late}"}])), options).await;
    assert_eq!(rig.get("/readyz").await.status, 200);
    rig.router.begin_shutdown();
    let ready = rig.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "shutting down\n"));
    assert_eq!(rig.post("{}").await.status, 200, "who has not heard yet is served");

    let pending = tokio::spawn(client().request(rig.request("{}")));
    eventually("the request has come", || rig.router.in_flight() == 1).await;
    let address = rig.router.address();
    in_time("shutdown", rig.router.shutdown()).await;
    let answered = Answered::read(pending.await.unwrap().unwrap()).await;
    assert_eq!(answered.status, 200);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// If this fails a graph with an early answer leaks a call for each request, as upstream's does.
#[tokio::test]
async fn steps_end_when_the_answer_is_decided() {
    for (first, expected) in [
        (json!({"serviceUrl": "{error}", "dependency": "Hard"}), 404),
        (json!({"serviceUrl": "http://127.0.0.1:1/"}), 500),
        (json!({"serviceUrl": "{array}"}), 500),
    ] {
        let rig = Rig::start(&one_node(
            "Ensemble",
            json!([first, {"serviceUrl": "{never}"}, {"serviceUrl": "{never}"}]),
        ))
        .await;
        assert_eq!(rig.post("{}").await.status, expected);
        eventually("the other calls end", || rig.steps.waiting() == 0 && rig.router.in_flight() == 0).await;
    }
}

/// A client that hangs up ends its calls.
#[tokio::test]
async fn steps_end_when_the_client_goes() {
    let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": "{never}"}]))).await;
    let pending = tokio::spawn(client().request(rig.request("{}")));
    eventually("the step is called", || rig.steps.waiting() == 1).await;
    pending.abort();
    let _ = pending.await;
    eventually("the call ends", || rig.steps.waiting() == 0 && rig.router.in_flight() == 0).await;
}
