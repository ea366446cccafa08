//! Custom resources.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    discovery,
};
use serde_json::{Value, json};

use crate::{call, server};

fn widgets() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.test"}, "spec": {"group": "example.test", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Ready", "type": "string",
                "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "red"},
                    "port": {"x-kubernetes-int-or-string": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}})
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.test/v1/namespaces/default/widgets";

fn widget(spec: &Value) -> Option<Value> {
    Some(json!({"apiVersion": "example.test/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}))
}

#[tokio::test]
async fn a_definition_is_served_at_once_and_rules_its_objects() {
    let server = server();
    assert_eq!(call(&server, "GET", WIDGETS, None).await.0, 404);
    assert_eq!(call(&server, "POST", DEFINITIONS, Some(widgets())).await.0, 201);
    let (_, definition) = call(&server, "GET", &format!("{DEFINITIONS}/widgets.example.test"), None).await;
    assert_eq!(definition["status"]["conditions"][1]["type"], "Established");
    let (code, created) = call(
        &server,
        "POST",
        WIDGETS,
        widget(&json!({"size": 1, "bogus": 1, "port": "http", "free": {"any": [1]}})),
    )
    .await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["spec"], json!({"size": 1, "port": "http", "free": {"any": [1]}, "colour": "red"}));
    let (code, refused) = call(&server, "POST", WIDGETS, widget(&json!({"size": 0}))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("spec.size in body should be greater than or equal to 1"), "{message}");
    let status =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "spec": {"size": 7}});
    let (_, after) = call(&server, "PATCH", &format!("{WIDGETS}/w/status"), Some(status)).await;
    assert_eq!(
        (after["spec"]["size"].as_i64(), after["metadata"]["generation"].as_i64()),
        (Some(1), Some(1))
    );
}

#[tokio::test]
async fn deleting_a_definition_takes_its_objects_along() {
    let server = server();
    call(&server, "POST", DEFINITIONS, Some(widgets())).await;
    call(&server, "POST", WIDGETS, widget(&json!({"size": 1}))).await;
    let (code, _) = call(&server, "DELETE", &format!("{DEFINITIONS}/widgets.example.test"), None).await;
    assert_eq!(code, 200);
    assert_eq!(call(&server, "GET", WIDGETS, None).await.0, 404);
    call(&server, "POST", DEFINITIONS, Some(widgets())).await;
    let (_, list) = call(&server, "GET", WIDGETS, None).await;
    assert_eq!(list["items"], json!([]), "objects of a deleted kind came back");
}

#[tokio::test]
async fn discovery_finds_a_new_kind_in_both_forms() {
    let server = server();
    call(&server, "POST", DEFINITIONS, Some(widgets())).await;
    let client: Client = server.client();
    let kind = GroupVersionKind::gvk("example.test", "v1", "Widget");
    let (resource, capabilities) = discovery::pinned_kind(&client, &kind).await.unwrap();
    assert_eq!(resource.plural, "widgets");
    assert_eq!(capabilities.subresources.len(), 1);
    let aggregated = discovery::Discovery::new(client).run_aggregated().await.unwrap();
    assert!(aggregated.resolve_gvk(&kind).is_some());
    assert!(aggregated.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).is_some());
}

/// The definitions of the real KServe, from the folder that the environment names.
#[tokio::test]
async fn the_definitions_of_upstream_kserve_load() {
    let Some(folder) = std::env::var_os("WINDTUNNEL_UPSTREAM_CRDS") else {
        eprintln!(
            "skipped the_definitions_of_upstream_kserve_load: WINDTUNNEL_UPSTREAM_CRDS names no folder"
        );
        return;
    };
    let server = server();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let definition: Value = serde_saphyr::from_str(&text).unwrap();
        let (code, body) = call(&server, "POST", DEFINITIONS, Some(definition)).await;
        assert_eq!(code, 201, "{}: {}", path.display(), body["message"]);
        count += 1;
    }
    assert!(count >= 10, "only {count} definitions");
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("serving.kserve.io", "v1beta1", "InferenceService"));
    let services: Api<DynamicObject> = Api::namespaced_with(server.client(), "default", &resource);
    let service =
        serde_json::from_value(json!({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "digits"}, "spec": {"predictor": {"minReplicas": 0, "nope": 1,
            "model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits",
                "resources": {"requests": {"cpu": 1}}}}}}))
        .unwrap();
    let created = services.create(&PostParams::default(), &service).await.unwrap();
    assert_eq!(created.data["spec"]["predictor"].get("nope"), None, "unknown fields are pruned");
    assert_eq!(created.data["spec"]["predictor"]["model"]["resources"]["requests"]["cpu"], 1);
    let apply = json!({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "spec": {"predictor": {"minReplicas": 1}}});
    let params = PatchParams::apply("test").force();
    let applied = services.patch("digits", &params, &Patch::Apply(apply)).await.unwrap();
    assert_eq!(applied.data["spec"]["predictor"]["minReplicas"], 1);
    assert_eq!(applied.data["spec"]["predictor"]["model"]["storageUri"], "s3://models/digits");
}

/// The definition of a widget whose `spec` has this schema.
fn of_spec(spec: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.branches.test"},
        "spec": {"group": "branches.test", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]}})
}

/// If this fails an object that fits no branch of its schema is refused without what the branches miss.
#[tokio::test]
async fn branches_of_a_schema_say_what_they_miss() {
    let server = server();
    let either = json!([{"required": ["a"]}, {"required": ["c"]}]);
    let pair = json!({"a": {"type": "integer"}, "c": {"type": "integer"}});
    let spec = json!({"type": "object", "properties": {
        "one": {"type": "object", "properties": pair, "oneOf": either},
        "any": {"type": "object", "properties": pair, "anyOf": either},
        "all": {"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 1}]},
        "not": {"type": "object", "properties": pair, "not": {"required": ["a"]}}}});
    assert_eq!(call(&server, "POST", DEFINITIONS, Some(of_spec(&spec))).await.0, 201);
    for (spec, faults) in [
        (
            json!({"one": {}}),
            vec![
                r#"spec.one: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.one.a: Required value",
            ],
        ),
        (
            json!({"one": {"a": 1, "c": 1}}),
            vec![
                r#"spec.one: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            json!({"any": {}}),
            vec![
                r#"spec.any: Invalid value: "": "spec.any" must validate at least one schema (anyOf)"#,
                "spec.any.a: Required value",
            ],
        ),
        (
            json!({"all": 2}),
            vec![
                "spec.all: Invalid value: 2: spec.all in body should be greater than or equal to 3",
                "spec.all: Invalid value: 2: spec.all in body should be less than or equal to 1",
                r#"spec.all: Invalid value: "": "spec.all" must validate all the schemas (allOf). None validated"#,
            ],
        ),
        (
            json!({"all": 4}),
            vec![
                "spec.all: Invalid value: 4: spec.all in body should be less than or equal to 1",
                r#"spec.all: Invalid value: "": "spec.all" must validate all the schemas (allOf)"#,
            ],
        ),
        (
            json!({"not": {"a": 1}}),
            vec![r#"spec.not: Invalid value: "": "spec.not" must not validate the schema (not)"#],
        ),
    ] {
        let widget = json!({"apiVersion": "branches.test/v1", "kind": "Widget", "metadata": {"name": "w"},
            "spec": spec});
        let path = "/apis/branches.test/v1/namespaces/default/widgets";
        let (code, answer) = call(&server, "POST", path, Some(widget)).await;
        let causes = answer["details"]["causes"].as_array().unwrap();
        let text = |cause: &Value, field: &str| cause[field].as_str().unwrap().to_owned();
        let found: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message")))
            .collect();
        assert_eq!((code, found), (422, faults.into_iter().map(ToOwned::to_owned).collect()), "{spec}");
    }
}

/// If this fails a definition is accepted here that a cluster refuses, or refused in other words
/// (apiextensions-apiserver, `ValidateStructural` and the validation of definitions).
#[tokio::test]
async fn schemas_that_are_not_structural_are_refused() {
    let at = "spec.validation.openAPIV3Schema.properties[spec]";
    let list = |keys: Value, items: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items});
    let item = json!({"type": "object", "properties": {"a": {"type": "string"}, "m": {"type": "object"}}, "required": ["m"]});
    for (spec, why) in [
        (json!({}), ".type: Required value: must not be empty for specified object fields"),
        (
            json!({"type": "text"}),
            ".type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \
\"object\", \"string\"",
        ),
        (json!({"type": "array"}), ".items: Required value: must be specified"),
        (
            json!({"type": "array", "items": {}}),
            ".items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
            ".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            ".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({"type": "string", "anyOf": [{"type": "string"}]}),
            ".anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "not": {"properties": {"a": {"description": "x"}}}}),
            ".not.properties[a].description: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "string", "pattern": "[a"}),
            ".pattern: Invalid value: \"[a\": must be a valid regular expression, but isn't: error parsing regexp: missing \
closing ]: `[a`",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true}),
            ".properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without \
x-kubernetes-preserve-unknown-fields",
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}),
            ".x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",
        ),
        (
            json!({"type": "object", "x-kubernetes-list-type": "set"}),
            ".type: Invalid value: \"object\": must be array if x-kubernetes-list-type is specified",
        ),
        (
            list(json!([]), item.clone()),
            ".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            list(json!(["a"]), item.clone()),
            ".items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a \
default or be a required property",
        ),
        (
            list(json!(["z"]), item.clone()),
            ".x-kubernetes-list-map-keys[0]: Invalid value: \"z\": entries must all be names of item properties",
        ),
        (
            list(json!(["m"]), item.clone()),
            ".items.properties[m].type: Invalid value: \"object\": must be a scalar type if parent array's \
x-kubernetes-list-type is map",
        ),
    ] {
        let definition = of_spec(&spec);
        let (code, answer) = call(&server(), "POST", DEFINITIONS, Some(definition)).await;
        assert_eq!(code, 422, "{spec}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert_eq!(message.split_once(" is invalid: ").unwrap().1, format!("{at}{why}"), "{spec}");
    }
    // What is neither but looks like it.
    for spec in [
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!({"x-kubernetes-int-or-string": true,
            "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^[0-9]+%?$"}]}),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
        json!({"type": "object", "additionalProperties": {"type": "string"}, "nullable": true}),
    ] {
        let (code, answer) = call(&server(), "POST", DEFINITIONS, Some(of_spec(&spec))).await;
        assert_eq!(code, 201, "{spec}: {answer}");
    }
}
