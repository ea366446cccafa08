//! Image volumes and the cluster's version (`imagevolume_test.go`, `controller_oci_warn_test.go`).

use serde_json::json;
use windtunnel_api::kserve::plan::{Inputs, KubernetesVersion, plan};
use windtunnel_api::kserve::{InferenceService, InferenceServiceStatus, KserveConfig};

use super::{runtimes, tensorflow};

/// The reason of the condition, with the text of the mode.
fn reason(mode: &str, minor: Option<&str>, annotations: &serde_json::Value) -> Option<(String, String)> {
    let service = tensorflow(&json!({}), annotations);
    let mut config = KserveConfig::default();
    mode.clone_into(&mut config.storage_initializer.oci_model_mode);
    let version = minor.map(|minor| KubernetesVersion { major: "1".to_owned(), minor: minor.to_owned() });
    let runtimes = runtimes();
    let plan = plan(&Inputs { kubernetes: version.as_ref(), ..Inputs::new(&service, &config, &runtimes) });
    let found =
        plan.status.conditions.iter().find(|condition| condition.type_ == "OciImageVolumeCompatible")?;
    assert_eq!(
        (found.status.as_str(), found.severity.as_deref()),
        ("False", Some("Info")),
        "never decides on Ready"
    );
    Some((found.reason().to_owned(), found.message().to_owned()))
}

/// A pod whose model can't be mounted would wait without a word why.
#[test]
fn old_clusters_are_told_of() {
    let none = json!({});
    for (minor, expected) in [
        ("30", Some("ImageVolumeUnsupported")),
        ("31", Some("ImageVolumeSubPathUnsupported")),
        ("32+", Some("ImageVolumeSubPathUnsupported")),
        ("33", Some("ImageVolumeAlpha")),
        ("34", Some("ImageVolumeAlpha")),
        ("35", None),
        ("36+", None),
        ("", None),
        ("new", None),
    ] {
        let found = reason("native", Some(minor), &none).map(|(reason, _)| reason);
        assert_eq!(found.as_deref(), expected, "{minor}");
    }
    assert_eq!(reason("native", None, &none), None);
    for mode in ["", "modelcar", "fetch"] {
        assert_eq!(reason(mode, Some("30"), &none), None, "{mode}");
    }
    let stopped = json!({"serving.kserve.io/stop": "true"});
    let (reason, message) = reason("native", Some("34"), &stopped).unwrap();
    assert_eq!(reason, "ImageVolumeAlpha");
    assert_eq!(
        message,
        "Cluster K8s 1.34 has ImageVolume feature-gated (K8s 1.33–1.34 beta). Ensure --feature-gates=ImageVolume=true \
         is set on kube-apiserver and kubelet."
    );
}

/// A warning that stays after the upgrade, or after the mode was changed, is wrong.
#[test]
fn the_warning_goes() {
    let mut service = tensorflow(&json!({}), &json!({}));
    let at = |service: &InferenceService, minor: &str| {
        let mut config = KserveConfig::default();
        "native".clone_into(&mut config.storage_initializer.oci_model_mode);
        let version = KubernetesVersion { major: "1".to_owned(), minor: minor.to_owned() };
        let runtimes = runtimes();
        plan(&Inputs { kubernetes: Some(&version), ..Inputs::new(service, &config, &runtimes) }).status
    };
    let has = |status: &InferenceServiceStatus| {
        status.conditions.iter().any(|condition| condition.type_ == "OciImageVolumeCompatible")
    };
    let before = at(&service, "30");
    assert!(has(&before));
    service.status = Some(before);
    assert!(!has(&at(&service, "36")));
}
