//! What a patch answers that is no patch, or that does not fit, in Kubernetes' words.

use serde_json::{Value, json};

use crate::{call, call_as, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const UNPROCESSABLE: &str = "the server rejected our request due to an error in our request";
const NAMELESS: &str = "the name of the object (a based on URL) was undeterminable: name must be provided";
const ELSEWHERE: &str =
    "the namespace of the provided object does not match the namespace sent on the request";

/// If this fails a client that sends a wrong patch reads another reason than from Kubernetes, or the patch is taken.
#[tokio::test]
async fn refusals() {
    let server = server();
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(call(&server, "POST", MAPS, Some(map)).await.0, 201);
    let cannot = "error decoding patch: json: cannot unmarshal";
    for (kind, patch, code, why) in [
        (JSON, r#"[1]"#, 400, format!("{cannot} number into Go value of type handlers.jsonPatchOp")),
        (
            JSON,
            r#"[{"op":1}]"#,
            400,
            format!("{cannot} number into Go struct field jsonPatchOp.op of type string"),
        ),
        (JSON, r#"[{"op":"test","path":"/data/k","value":null}]"#, 422, UNPROCESSABLE.into()),
        (JSON, r#"[{"op":"test","path":"/none/k","value":null}]"#, 422, UNPROCESSABLE.into()),
        (JSON, r#"[{"op":"replace","path":"/metadata/namespace","value":"b"}]"#, 400, ELSEWHERE.into()),
        (MERGE, "null", 400, "Invalid JSON Patch".into()),
        (MERGE, r#"{"metadata":null}"#, 400, NAMELESS.into()),
        (MERGE, r#"{"metadata":{"namespace":"b"}}"#, 400, ELSEWHERE.into()),
        (STRATEGIC, "[", 400, "unexpected end of JSON input".into()),
        (
            STRATEGIC,
            "[]",
            400,
            "json: cannot unmarshal array into Go value of type map[string]interface {}".into(),
        ),
        (STRATEGIC, r#"{"$patch":"delete"}"#, 400, NAMELESS.into()),
        (
            STRATEGIC,
            r#"{"data":{"$patch":"merge"}}"#,
            500,
            "unknown patch type: merge in map: map[$patch:merge]".into(),
        ),
        (
            STRATEGIC,
            r#"{"data":{"$patch":5}}"#,
            500,
            "unknown patch type: %!s(int64=5) in map: map[$patch:5]".into(),
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":"x"}}"#,
            400,
            "invalid patch format of primitive list".into(),
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"$setElementOrder/finalizers":"x"}}"#,
            400,
            "invalid patch format of setElementOrder list".into(),
        ),
        (
            STRATEGIC,
            r#"{"data":{"$retainKeys":["k"],"l":"w"}}"#,
            400,
            "invalid patch format of retainKeys".into(),
        ),
        (
            STRATEGIC,
            r#"{"data":"x"}"#,
            422,
            " \"\" is invalid: patch: Invalid value: \"map[data:x]\": cannot restore map from string".into(),
        ),
        (
            STRATEGIC,
            r#"{"data":{"k":5}}"#,
            422,
            " \"\" is invalid: patch: Invalid value: \"map[data:map[k:5]]\": cannot convert int64 to string"
                .into(),
        ),
        (
            STRATEGIC,
            r#"{"data":{"k":true}}"#,
            422,
            " \"\" is invalid: patch: Invalid value: \"map[data:map[k:true]]\": unrecognized type: string"
                .into(),
        ),
    ] {
        let (found, answer) = call_as(&server, "PATCH", &format!("{MAPS}/a"), kind, patch.into()).await;
        assert_eq!((found, answer["message"].as_str()), (code, Some(&*why)), "{kind} {patch}");
    }
    for (kind, patch, why) in [
        (
            JSON,
            r#"[{"op":"replace","path":"/kind","value":"Secret"}]"#,
            "converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (MERGE, r#"{"apiVersion":"x/y"}"#, "no kind \"ConfigMap\" is registered for version \"x/y\""),
    ] {
        let (found, answer) = call_as(&server, "PATCH", &format!("{MAPS}/a"), kind, patch.into()).await;
        let message = answer["message"].as_str().unwrap();
        assert!(found == 422 && message.contains(why), "{patch} {message}");
    }
}

/// If this fails a patch that Kubernetes takes is refused.
#[tokio::test]
async fn lenience() {
    let server = server();
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(call(&server, "POST", MAPS, Some(map)).await.0, 201);
    for (kind, patch, data) in [
        (JSON, "null", json!({"k": "v"})),
        (JSON, r#"[{"op":"test","path":"/data/none","value":null}]"#, json!({"k": "v"})),
        (JSON, r#"[{"op":"add","path":"/data/n"}]"#, json!({"k": "v", "n": ""})),
        (MERGE, r#"{"kind":null,"data":{"n":null}}"#, json!({"k": "v"})),
        (STRATEGIC, "null", json!({"k": "v"})),
        (STRATEGIC, r#"{"kind":"Secret","data":{"k":"w"}}"#, json!({"k": "w"})),
        (STRATEGIC, r#"{"$patch":"replace","metadata":{"name":"a"},"data":{"q":"1"}}"#, json!({"q": "1"})),
    ] {
        let (code, answer) = call_as(&server, "PATCH", &format!("{MAPS}/a"), kind, patch.into()).await;
        assert_eq!((code, &answer["kind"], &answer["data"]), (200, &json!("ConfigMap"), &data), "{patch}");
    }
}

/// If this fails an apply of another type or for an object that is gone is taken, or refused in other words.
#[tokio::test]
async fn an_apply_names_what_it_is_for() {
    let server = server();
    let apply = |config: Value| {
        let server = &server;
        async move {
            let path = format!("{MAPS}/a?fieldManager=m");
            call_as(server, "PATCH", &path, APPLY, config.to_string()).await
        }
    };
    for (config, code, why) in [
        (json!({"apiVersion": "v1"}), 400, "invalid object type: /v1, Kind="),
        (json!({}), 400, "invalid object type: /, Kind="),
        (json!({"apiVersion": "v1", "kind": "Secret"}), 400, "invalid object type: /v1, Kind=Secret"),
        (
            json!({"apiVersion": "apps/v1", "kind": "ConfigMap"}),
            400,
            "invalid object type: apps/v1, Kind=ConfigMap",
        ),
        (
            json!([]),
            400,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go \
value of type map[string]interface {}",
        ),
        (json!({"apiVersion": "v1", "kind": "ConfigMap"}), 400, NAMELESS),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "x"}}),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid x, and no \
existing object was found",
        ),
    ] {
        let (found, answer) = apply(config.clone()).await;
        assert_eq!((found, answer["message"].as_str()), (code, Some(why)), "{config}");
    }
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    assert_eq!(apply(config).await.0, 201);
    // What is there already needs no second name.
    let (code, answer) = apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}})).await;
    assert_eq!((code, &answer["data"]), (200, &json!({"k": "v"})), "{answer}");
}
