//! What graphs answer: upstream's unit tests and end-to-end scenarios, and the rules between them.

use http::StatusCode;
use serde_json::{Value, json};
use windtunnel_gateway::graph::{Options, Profile};

use super::{Rig, one_node, refusal};

const NO_MATCH: &str = "None of the routes matched with the switch condition";

fn picker(choice: &str) -> Value {
    json!({"decision_picker": choice, "key1": {"name": "abc"}})
}

fn success() -> Value {
    json!({"predictions": [{"message": "SUCCESS"}]})
}

fn failure() -> Value {
    json!({"detail": "Intentional 404 code"})
}

fn no_match(status: u16) -> (u16, Value) {
    (status, json!({"error": "Failed to process request", "cause": NO_MATCH}))
}

/// A sequence of one node and a successful service, as in the scenarios 5, 6, 9 and 10.
fn nested(routing: &str, dependency: &str) -> Value {
    json!({"nodes": {
        "root": {"routerType": "Sequence", "steps": [
            {"name": "rootStep1", "nodeName": "node1", "dependency": dependency},
            {"name": "rootStep2", "serviceUrl": "{ok}"}]},
        "node1": {"routerType": routing, "steps": [
            {"name": "node1Step1", "serviceUrl": "{error}", "weight": 100,
             "condition": "[@this].#(decision_picker==ERROR)", "dependency": dependency}]}}})
}

async fn check(cases: Vec<(&str, Value, Value, (u16, Value))>) {
    for (name, graph, request, (status, body)) in cases {
        let rig = Rig::start(&graph).await;
        let answered = rig.post(request.to_string()).await;
        assert_eq!((answered.status, answered.json()), (status, body), "{name}");
        assert_eq!(answered.content_type.as_deref(), Some("application/json"), "{name}");
    }
}

/// Scenarios 1 to 10 of test/e2e/graph. If this fails graphs that work on KServe answer something else here.
#[tokio::test]
async fn end_to_end_scenarios() {
    let switch = one_node(
        "Switch",
        json!([
            {"name": "rootStep1", "serviceUrl": "{error}", "condition": "[@this].#(decision_picker==ERROR)", "dependency": "Soft"},
            {"name": "rootStep2", "serviceUrl": "{ok}", "condition": "[@this].#(decision_picker==SUCCESS)", "dependency": "Soft"}]),
    );
    let sequence = |first: &str, dependency: &str, second: &str| {
        one_node(
            "Sequence",
            json!([{"name": "rootStep1", "serviceUrl": first, "dependency": dependency},
                   {"name": "rootStep2", "serviceUrl": second, "dependency": "Soft"}]),
        )
    };
    check(vec![
        ("1: the last soft step fails", sequence("{ok}", "Soft", "{error}"), json!({}), (404, failure())),
        ("2: an earlier soft step fails", sequence("{error}", "Soft", "{ok}"), json!({}), (200, success())),
        ("3: an earlier hard step fails", sequence("{error}", "Hard", "{ok}"), json!({}), (404, failure())),
        ("4: the error's condition", switch.clone(), picker("ERROR"), (404, failure())),
        ("4: the other condition", switch.clone(), picker("SUCCESS"), (200, success())),
        ("4: no condition", switch.clone(), picker("NO_MATCH"), no_match(404)),
        ("5: a soft switch in a sequence", nested("Switch", "Soft"), picker("ERROR"), (200, success())),
        ("6: a hard switch in a sequence", nested("Switch", "Hard"), picker("ERROR"), (404, failure())),
        (
            "7: an ensemble of soft steps",
            one_node(
                "Ensemble",
                json!([{"name": "rootStep1", "serviceUrl": "{ok}"}, {"name": "rootStep2", "serviceUrl": "{error}"}]),
            ),
            picker("SUCCESS"),
            (200, json!({"rootStep1": success(), "rootStep2": failure()})),
        ),
        (
            "8: an ensemble whose hard step fails",
            one_node(
                "Ensemble",
                json!([{"name": "rootStep1", "serviceUrl": "{error}", "dependency": "Hard"},
                       {"name": "rootStep2", "serviceUrl": "{ok}"}, {"name": "rootStep3", "serviceUrl": "{ok}"}]),
            ),
            picker("SUCCESS"),
            (404, failure()),
        ),
        ("9: a soft splitter in a sequence", nested("Splitter", "Soft"), json!({"instances": [[1]]}), (200, success())),
        ("10: a hard splitter in a sequence", nested("Splitter", "Hard"), json!({"instances": [[1]]}), (404, failure())),
        ("a switch inside of a node is a 500", nested("Switch", "Soft"), picker("NO_MATCH"), no_match(500)),
    ])
    .await;
}

/// TestSimpleModelChainer, TestSimpleModelEnsemble, TestInferenceGraphWithCondition and
/// TestInferenceGraphSequenceWithUnmetCondition of cmd/router.
#[tokio::test]
async fn unit_tests_of_upstream() {
    let unmet = one_node(
        "Sequence",
        json!([{"name": "step1", "serviceUrl": "{cat82}"},
               {"name": "step2", "serviceUrl": "http://dummy", "condition": "predictions.#(label==\"dog\")"}]),
    );
    let animals = json!({"nodes": {
        "root": {"routerType": "Sequence", "steps": [
            {"name": "step1", "nodeName": "animal-categorize"},
            {"name": "step2", "nodeName": "breed-categorize", "condition": "predictions.#(label==\"dog\")"}]},
        "animal-categorize": {"routerType": "Switch", "steps": [
            {"name": "model1", "serviceUrl": "{cat}", "condition": "instances.#(modelId==\"1\")"},
            {"name": "model2", "serviceUrl": "{dog}", "condition": "instances.#(modelId==\"2\")"}]},
        "breed-categorize": {"routerType": "Ensemble", "steps": [
            {"name": "model3", "serviceUrl": "{beagle}"}, {"name": "model4", "serviceUrl": "{poodle}"}]}}});
    let cat = |scores: [f64; 2]| json!({"predictions": [{"label": "cat", "score": scores}]});
    check(vec![
        (
            "chainer",
            one_node(
                "Sequence",
                json!([{"name": "model1", "serviceUrl": "{one}", "mapPredictionsToInstances": true},
                       {"name": "model2", "serviceUrl": "{two}", "data": "$response"}]),
            ),
            json!({"predictions": ["test", "test2"]}),
            (200, json!({"predictions": "2"})),
        ),
        (
            "ensemble",
            one_node(
                "Ensemble",
                json!([{"name": "model1", "serviceUrl": "{one}"}, {"name": "model2", "serviceUrl": "{two}"}]),
            ),
            json!({"instances": ["test", "test2"]}),
            (200, json!({"model1": {"predictions": "1"}, "model2": {"predictions": "2"}})),
        ),
        (
            "condition that is met",
            animals.clone(),
            json!({"instances": [{"modelId": "2"}]}),
            (
                200,
                json!({
                "model3": {"predictions": [{"label": "beagle", "score": [0.1, 0.9]}]},
                "model4": {"predictions": [{"label": "poodle", "score": [0.8, 0.2]}]}}),
            ),
        ),
        (
            "condition on another answer",
            animals,
            json!({"instances": [{"modelId": "1"}]}),
            (200, cat([0.1, 0.9])),
        ),
        (
            "condition that is not met",
            unmet,
            json!({"instances": [{"modelId": "1"}]}),
            (200, cat([0.8, 0.2])),
        ),
    ])
    .await;
}

/// What a step gets: the request, the last answer, or its predictions as instances.
#[tokio::test]
async fn inputs_of_a_sequence() {
    for (second, expected) in [
        (json!({"serviceUrl": "{echo}"}), r#"{"predictions":[7],"id":1}"#),
        (json!({"serviceUrl": "{echo}", "data": "$request"}), r#"{"predictions":[7],"id":1}"#),
        (json!({"serviceUrl": "{echo}", "data": "$response"}), r#"{"predictions":[{"message":"SUCCESS"}]}"#),
        (json!({"serviceUrl": "{echo}", "mapPredictionsToInstances": true}), r#"{"instances":[7]}"#),
        (
            json!({"serviceUrl": "{echo}", "data": "$response", "mapPredictionsToInstances": true}),
            r#"{"instances":[{"message":"SUCCESS"}]}"#,
        ),
    ] {
        let rig =
            Rig::start(&one_node("Sequence", json!([{"serviceUrl": "{ok}", "data": "$response"}, second])))
                .await;
        let echoed = rig.post(r#"{"predictions":[7],"id":1}"#).await.json();
        assert_eq!((echoed["method"].as_str(), echoed["body"].as_str()), (Some("POST"), Some(expected)));
    }
}

/// If this fails a chain that stopped because its last step failed looks like a success; upstream's looks so.
#[tokio::test]
async fn an_unmet_condition_keeps_the_status_of_the_last_step() {
    let graph = one_node(
        "Sequence",
        json!([{"serviceUrl": "{error}"}, {"serviceUrl": "{ok}", "condition": "predictions"}]),
    );
    for (profile, expected) in [(Profile::Windtunnel, 404), (Profile::Upstream, 200)] {
        let rig = Rig::with(&graph, Options { profile, ..Options::default() }).await;
        let answered = rig.post("{}").await;
        assert_eq!((answered.status, answered.json()), (expected, failure()), "{profile:?}");
    }
}

/// A condition is about the answer before it, so one on the first step, or behind an answer that is not JSON, is a fault.
#[tokio::test]
async fn a_condition_without_json_before_it_is_a_500() {
    for steps in [
        json!([{"serviceUrl": "{ok}", "condition": "a"}]),
        json!([{"serviceUrl": "{text}"}, {"serviceUrl": "{ok}", "condition": "a"}]),
    ] {
        let rig = Rig::start(&one_node("Sequence", steps)).await;
        assert_eq!(rig.post("{}").await.status, 500);
        assert_eq!(rig.post("{}").await.json()["cause"], "invalid response");
    }
}

/// Steps without a name merge under their position; an answer keeps its digits; `null` counts as an object, as in Go.
#[tokio::test]
async fn ensembles_merge_by_name_or_position() {
    let steps =
        json!([{"serviceUrl": "{exact}"}, {"name": "a", "serviceUrl": "{late}"}, {"serviceUrl": "{null}"}]);
    let rig = Rig::start(&one_node("Ensemble", steps)).await;
    let answered = rig.post("{}").await;
    let expected = r#"{"0":{"big":12345678901234567890,"one":1.0,"html":"<"},"2":null,"a":{"late":true}}"#;
    assert_eq!((answered.status, answered.body.as_str()), (200, expected));
    for (step, found) in
        [("{array}", "an array"), ("{empty}", "an empty body"), ("{text}", "what is not JSON")]
    {
        let rig = Rig::start(&one_node(
            "Ensemble",
            json!([{"serviceUrl": "{ok}"}, {"name": "b", "serviceUrl": step}]),
        ))
        .await;
        let answered = rig.post("{}").await;
        assert_eq!(answered.status, 500);
        let cause = answered.json()["cause"].as_str().unwrap().to_owned();
        assert!(cause.contains("step \"b\" of ensemble \"root\"") && cause.contains(found), "{cause}");
    }
}

/// A splitter's choices follow its weights: an exact share is `splitter`'s own test, here the seeded router's is seen. 2,000
/// requests at 20 % are within 5 standard deviations (17.9 each) of 400.
#[tokio::test]
async fn a_splitter_splits() {
    let steps = json!([{"serviceUrl": "{one}", "weight": 20}, {"serviceUrl": "{two}", "weight": 80}]);
    let rig = Rig::with(&one_node("Splitter", steps), Options { seed: Some(3), ..Options::default() }).await;
    let client = crate::pods::client();
    let mut first = 0_u32;
    for _ in 0..2000 {
        let response = client.request(rig.request("{}")).await.unwrap();
        let body = crate::pods::text(response).await;
        first += u32::from(body.contains('1'));
    }
    assert!((310..=490).contains(&first), "{first}");
    let rig = Rig::start(&one_node("Splitter", json!([{"serviceUrl": "{one}", "weight": 0}]))).await;
    assert_eq!(
        rig.post("{}").await,
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "no route was selected by the splitter")
    );
}

/// Any method and path is the graph; what is not JSON is not called JSON; headers of steps stay behind.
#[tokio::test]
async fn the_endpoint() {
    for (step, content_type, body) in [
        ("{ok}", Some("application/json"), success().to_string()),
        ("{text}", Some("text/plain; charset=utf-8"), "héllo <b>".to_owned()),
        ("{empty}", None, String::new()),
    ] {
        let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": step}]))).await;
        for path in ["/", "/v1/models/any:predict?x=1", "/readyz/"] {
            let answered = rig.get(path).await;
            assert_eq!(
                (answered.status, answered.content_type.as_deref(), &answered.body),
                (200, content_type, &body)
            );
        }
    }
    let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": "{text}"}]))).await;
    let response = crate::pods::client().request(rig.request("{}")).await.unwrap();
    assert_eq!(crate::pods::header(&response, "x-step"), None);
}
