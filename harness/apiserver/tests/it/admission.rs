//! Reviewers of writes.

use std::sync::Arc;

use serde_json::{Value, json};
use windtunnel_apiserver::{Admission, Attributes, Denial, Operation};

use crate::{call, server};

/// Labels new ConfigMaps, refuses the data `bad`, and protects those named `keep`.
struct Guard;

impl Admission for Guard {
    fn name(&self) -> &str {
        "guard.example.test"
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        attributes.resource == "configmaps" && attributes.namespace == "default"
    }

    fn review(&self, attributes: &Attributes, object: &mut Value, old: Option<&Value>) -> Result<(), Denial> {
        assert_eq!(old.is_some(), attributes.operation != Operation::Create);
        if object["data"]["k"] == "bad"
            || (attributes.operation == Operation::Delete && attributes.name == "keep")
        {
            return Err(Denial::new("not that"));
        }
        if attributes.operation == Operation::Create {
            object["metadata"]["labels"] = json!({"guarded": "yes"});
        }
        Ok(())
    }
}

#[tokio::test]
async fn reviewers_change_and_refuse_writes_as_webhooks_do() {
    let server = server();
    server.add_admission(Arc::new(Guard));
    let maps = "/api/v1/namespaces/default/configmaps";
    let (_, created) = call(&server, "POST", maps, Some(json!({"metadata": {"name": "keep"}}))).await;
    assert_eq!(created["metadata"]["labels"], json!({"guarded": "yes"}));
    let (code, refused) =
        call(&server, "PATCH", &format!("{maps}/keep"), Some(json!({"data": {"k": "bad"}}))).await;
    assert_eq!(code, 400);
    assert_eq!(refused["message"], "admission webhook \"guard.example.test\" denied the request: not that");
    assert_eq!(call(&server, "DELETE", &format!("{maps}/keep"), None).await.0, 400);
    let elsewhere = "/api/v1/namespaces/kube-public/configmaps";
    let (_, free) =
        call(&server, "POST", elsewhere, Some(json!({"metadata": {"name": "a"}, "data": {"k": "bad"}})))
            .await;
    assert_eq!(free["metadata"].get("labels"), None);
}

#[tokio::test]
async fn a_refused_write_leaves_nothing_behind() {
    let server = server();
    server.add_admission(Arc::new(Guard));
    let maps = "/api/v1/namespaces/default/configmaps";
    let bad = json!({"metadata": {"name": "a"}, "data": {"k": "bad"}});
    assert_eq!(call(&server, "POST", maps, Some(bad)).await.0, 400);
    assert_eq!(call(&server, "GET", &format!("{maps}/a"), None).await.0, 404);
}
