//! ValidatingAdmissionPolicies: what they refuse, of whom, and in which words.

use serde_json::{Value, json};
use windtunnel_apiserver::ApiServer;

use crate::{call, server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn accepted(server: &ApiServer, method: &str, path: &str, body: Value) -> Value {
    let (code, answer) = call(server, method, path, Some(body)).await;
    assert!(code < 300, "{method} {path}: {answer}");
    answer
}

async fn put_in_force(server: &ApiServer, policy: Value, binding: Value) {
    let mut spec = json!({"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["configmaps"]}]}});
    json_patch::merge(&mut spec, &policy);
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    accepted(server, "POST", &format!("{GROUP}/validatingadmissionpolicies"), policy).await;
    let mut spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    json_patch::merge(&mut spec, &binding);
    let binding = json!({"metadata": {"name": "b"}, "spec": spec});
    accepted(server, "POST", &format!("{GROUP}/validatingadmissionpolicybindings"), binding).await;
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": value}})
}

/// If this fails what a policy forbids is done all the same.
#[tokio::test]
async fn a_policy_refuses_from_the_moment_it_is_bound_until_it_goes() {
    let server = server();
    accepted(&server, "POST", MAPS, map("before", "bad")).await;
    let policy = json!({
    "variables": [{"name": "value", "expression": "has(object.data) ? object.data.k : ''"}],
    "validations": [
        {"expression": "request.operation == 'DELETE' || variables.value != 'bad'"},
        {"expression": "request.operation != 'UPDATE' || object.data.k == oldObject.data.k", "message": "no changes",
            "reason": "Forbidden"},
        {"expression": "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'",
            "messageExpression": "oldObject.metadata.name + ' stays in ' + namespaceObject.metadata.name"},
    ]});
    put_in_force(&server, policy, json!({})).await;
    let (code, refusal) = call(&server, "POST", MAPS, Some(map("a", "bad"))).await;
    assert_eq!((code, refusal["reason"].as_str()), (422, Some("Invalid")));
    let why = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: request.operation == \
'DELETE' || variables.value != 'bad'";
    assert_eq!(refusal["message"], format!("configmaps \"a\" is forbidden: {why}"));
    assert_eq!(refusal["details"]["causes"], json!([{"message": why}]));
    accepted(&server, "POST", MAPS, map("kept", "good")).await;
    let (code, refusal) =
        call(&server, "PATCH", &format!("{MAPS}/kept"), Some(json!({"data": {"k": "x"}}))).await;
    assert_eq!((code, refusal["reason"].as_str()), (403, Some("Forbidden")));
    assert!(refusal["message"].as_str().unwrap().ends_with("denied request: no changes"), "{refusal}");
    let (code, refusal) = call(&server, "DELETE", &format!("{MAPS}/kept"), None).await;
    assert!(refusal["message"].as_str().unwrap().ends_with(": kept stays in default"), "{code} {refusal}");
    // What nobody asked about is nobody's matter: other kinds, and requests once the binding is gone.
    accepted(&server, "POST", "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await;
    let (code, _) =
        call(&server, "DELETE", &format!("{GROUP}/validatingadmissionpolicybindings/b"), None).await;
    assert_eq!(code, 200);
    accepted(&server, "POST", MAPS, map("a", "bad")).await;
}

#[tokio::test]
async fn parameters_and_selectors_say_where_a_policy_holds() {
    let server = server();
    let policy = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-settings", "expression": "object.metadata.name != 'settings'"}],
        "validations": [{"expression": "object.data.k.size() <= int(params.data.longest)",
            "messageExpression": "'longer than ' + params.data.longest"}]});
    let binding = json!({"paramRef": {"name": "settings", "parameterNotFoundAction": "Deny"},
        "matchResources": {"objectSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["free"]}]}}});
    put_in_force(&server, policy, binding).await;
    let (code, refusal) = call(&server, "POST", MAPS, Some(map("a", "1"))).await;
    assert_eq!(code, 422);
    assert!(
        refusal["message"].as_str().unwrap().ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{refusal}"
    );
    // The settings themselves are no exception: they are made where the policy does not hold.
    let settings =
        json!({"metadata": {"name": "settings", "labels": {"app": "free"}}, "data": {"longest": "3"}});
    accepted(&server, "POST", MAPS, settings).await;
    accepted(&server, "POST", MAPS, map("a", "123")).await;
    accepted(&server, "POST", MAPS, map("free", "12345")).await;
    let (_, refusal) = call(&server, "POST", MAPS, Some(map("b", "1234"))).await;
    assert!(refusal["message"].as_str().unwrap().ends_with("denied request: longer than 3"), "{refusal}");
}

/// If this fails an expression that breaks locks everybody out, or lets everybody in, against the policy's own word.
#[tokio::test]
async fn what_cannot_be_evaluated_counts_as_the_policy_says() {
    for (failure, code) in [("Fail", 422), ("Ignore", 201)] {
        let server = server();
        let policy =
            json!({"failurePolicy": failure, "validations": [{"expression": "object.data.none == '1'"}]});
        put_in_force(&server, policy, json!({})).await;
        let (found, answer) = call(&server, "POST", MAPS, Some(map("a", "1"))).await;
        assert_eq!(found, code, "{failure}: {answer}");
        if code == 422 {
            let why =
                "denied request: expression 'object.data.none == '1'' resulted in error: no such key: none";
            assert!(answer["message"].as_str().unwrap().ends_with(why), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_warning_lets_the_request_pass() {
    let server = server();
    let policy = json!({"validations": [{"expression": "false", "message": "old habits"}]});
    put_in_force(&server, policy, json!({"validationActions": ["Warn", "Audit"]})).await;
    let request = http::Request::post(MAPS)
        .header("content-type", "application/json")
        .body(kube::client::Body::from(map("a", "1").to_string().into_bytes()))
        .unwrap();
    let response = server.client().send(request).await.unwrap();
    assert_eq!(response.status(), 201);
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    let expected =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': old habits\"";
    assert_eq!(warnings, [expected]);
}

#[tokio::test]
async fn policies_that_make_no_sense_are_refused() {
    let server = server();
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let path = format!("{GROUP}/validatingadmissionpolicies");
    for (spec, why) in [
        (json!({"validations": [{"expression": "true"}]}), "spec.matchConstraints: Required value"),
        (
            json!({"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "1 +"}]}),
            "spec.validations[0].expression: Invalid value: \"1 +\": compilation failed: ERROR",
        ),
    ] {
        let (code, refusal) =
            call(&server, "POST", &path, Some(json!({"metadata": {"name": "p"}, "spec": spec}))).await;
        assert_eq!(code, 422, "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(why), "{refusal}");
    }
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}});
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    let (code, refusal) = call(&server, "POST", &path, Some(binding)).await;
    assert!(
        code == 422 && refusal["message"].as_str().unwrap().contains("must not contain both"),
        "{refusal}"
    );
}
