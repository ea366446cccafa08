//! Copies of the operator's certificate authorities (`cabundle_configmap_reconciler_test.go`).

use serde_json::{Value, json};
use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::kserve::plan::ca_bundle::copy;

use super::value;

fn copied(name: &str, source: Option<Value>) -> Result<Value, String> {
    let mut config = KserveConfig::default();
    name.clone_into(&mut config.storage_initializer.ca_bundle_config_map_name);
    let source = source.map(|source| serde_json::from_value(source).unwrap());
    copy(&config.storage_initializer, source.as_ref(), "team").map(|copy| value(&copy))
}

/// Pods mount the copy; without it they wait for ever.
#[test]
fn the_copy_of_a_namespace() {
    let source = json!({"metadata": {"name": "own-ca", "namespace": "kserve", "labels": {"a": "b"}},
        "data": {"cabundle.crt": "-----BEGIN", "other": "x"}});
    assert_eq!(
        copied("own-ca", Some(source.clone())),
        Ok(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "global-ca-bundle", "namespace": "team"}, "data": {"cabundle.crt": "-----BEGIN"}}))
    );
    assert_eq!(copied("", Some(source)), Ok(Value::Null));
}

/// Who misspells the name must be told.
#[test]
fn what_is_missing_is_told() {
    let start = "fails to get cabundle configmap for creating to user namespace: ";
    assert_eq!(
        copied("own-ca", None),
        Err(format!(
            "{start}failed to get configmap own-ca from the cluster: configmaps \"own-ca\" not found"
        ))
    );
    for data in [json!({}), json!({"cabundle.crt": ""}), json!({"ca.crt": "x"})] {
        assert_eq!(
            copied("own-ca", Some(json!({"metadata": {"name": "own-ca"}, "data": data}))),
            Err(format!(
                "{start}specified cabundle file cabundle.crt not found in cabundle configmap own-ca"
            ))
        );
    }
}
