//! What a client asks for beside the object: its form, and the options of a write.

use serde_json::json;

use crate::{call, get_as, server};

/// If this fails a client that asks for the metadata alone, or for an older table, gets something that it can't read.
#[tokio::test]
async fn forms() {
    let server = server();
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    assert_eq!(call(&server, "POST", maps, Some(map)).await.0, 201);
    let one = format!("{maps}/m");
    let partial = |form: &str, version: &str| format!("application/json;as={form};g=meta.k8s.io;v={version}");
    for (path, form, version) in [
        (one.as_str(), "PartialObjectMetadata", "v1"),
        (maps, "PartialObjectMetadataList", "v1beta1"),
        (maps, "Table", "v1beta1"),
    ] {
        let (code, shown) = get_as(&server, path, &partial(form, version)).await;
        let found = (code, shown["kind"].as_str(), shown["apiVersion"].as_str());
        assert_eq!(found, (200, Some(form), Some(&*format!("meta.k8s.io/{version}"))), "{shown}");
        assert!(shown.get("data").is_none() && shown["items"][0].get("data").is_none(), "{shown}");
    }
    for (path, accept, code, why) in [
        (
            one.as_str(),
            partial("PartialObjectMetadataList", "v1"),
            406,
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
        ),
        (
            maps,
            partial("PartialObjectMetadata", "v1"),
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
        ),
        (
            "/api/v1/namespaces/default/configmaps?includeObject=All",
            partial("Table", "v1"),
            400,
            "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', \
'None', or empty",
        ),
    ] {
        let (found, answer) = get_as(&server, path, &accept).await;
        assert_eq!((found, answer["message"].as_str()), (code, Some(why)), "{path} {accept}");
    }
    // What the client likes best is not always what it names first.
    let table = partial("Table", "v1");
    for (accept, kind) in [
        (format!("application/json;q=0.5,{table}"), "Table"),
        (format!("{table};q=0.2,application/json"), "ConfigMapList"),
        (format!("application/xml,{table},application/json"), "Table"),
    ] {
        assert_eq!(get_as(&server, maps, &accept).await.1["kind"], kind, "{accept}");
    }
}

/// If this fails a client's mistake in its options goes unnoticed until it meets another server.
#[tokio::test]
async fn options_of_writes() {
    let server = server();
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    assert_eq!(call(&server, "POST", maps, Some(map)).await.0, 201);
    for (options, why) in [
        ("force=true", "force: Forbidden: may not be specified for non-apply patch"),
        (
            "fieldManager=a%0Ab",
            "fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)",
        ),
    ] {
        let patch = Some(json!({"data": {"a": "c"}}));
        let (code, answer) = call(&server, "PATCH", &format!("{maps}/m?{options}"), patch).await;
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: {why}");
        assert_eq!((code, answer["message"].as_str()), (422, Some(&*message)), "{options}");
    }
}
