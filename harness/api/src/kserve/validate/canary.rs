//! Rules of the named canaries (`spec.canary[]`).

use std::collections::BTreeSet;

use super::super::inference_service::{CanarySpec, InferenceService};
use super::super::names;
use super::super::predictor::PredictorSpec;

/// The stable predictor may take another name only together with another model: the name decides which
/// Deployment serves it. Upstream compares `storageUri` alone; a changed `storageUris` or `storage` is
/// another model too.
pub(super) fn name_changes_with_the_model(
    service: &InferenceService,
    old: &InferenceService,
) -> Result<(), String> {
    let (new, old) = (&service.spec.predictor, &old.spec.predictor);
    let name = |predictor: &PredictorSpec| predictor.name.clone().unwrap_or_default();
    if name(new) != name(old) && place(new) == place(old) {
        return Err("predictor.name change requires a model change (e.g. storageUri)".to_owned());
    }
    Ok(())
}

/// Where the model is.
fn place(predictor: &PredictorSpec) -> impl PartialEq {
    let storage = predictor.model.as_ref().and_then(|model| model.extension.storage.clone());
    (predictor.storage_uri().unwrap_or_default().to_owned(), predictor.storage_uris.clone(), storage)
}

pub(super) fn check(service: &InferenceService) -> Result<(), String> {
    let canaries = service.spec.canary.as_deref().unwrap_or_default();
    if canaries.is_empty() {
        return Ok(());
    }
    if service.annotation(names::DEPLOYMENT_MODE) != Some(names::STANDARD) {
        return Err("canary is only supported in Standard deployment mode".to_owned());
    }
    let stable = &service.spec.predictor;
    if stable.storage_uri().is_none() && stable.model.is_none() {
        return Err(
            "canary requires a stable predictor with a model (multi-model serving is not supported with canary)"
                .to_owned(),
        );
    }
    let mut seen = BTreeSet::new();
    let mut total: i64 = 0;
    for (index, canary) in canaries.iter().enumerate() {
        let name = canary.predictor.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("canary[{index}] predictor.name is required"));
        }
        if !seen.insert(name) {
            return Err(format!("canary predictor.name {name:?} is duplicated"));
        }
        if Some(name) == stable.name.as_deref() {
            return Err(format!("canary predictor.name {name:?} conflicts with stable predictor name"));
        }
        one(canary, name, stable)?;
        total += i64::from(canary.traffic_percent);
    }
    if total > 100 {
        return Err(format!("sum of canary trafficPercent values ({total}) must be <= 100"));
    }
    Ok(())
}

fn one(canary: &CanarySpec, name: &str, stable: &PredictorSpec) -> Result<(), String> {
    let percent = canary.traffic_percent;
    if !(0..=100).contains(&percent) {
        return Err(format!("canary {name:?} trafficPercent must be between 0 and 100, got {percent}"));
    }
    let predictor = &canary.predictor;
    super::implementation(predictor)
        .and_then(|()| super::bounds(&predictor.extension))
        .map_err(|what| format!("canary {name:?} predictor: {what}"))?;
    let extension = &predictor.extension;
    let fixed = "canary uses fixed replicas";
    let forbidden = [
        ("workerSpec", predictor.worker_spec.is_some(), "multi-node is not yet supported for canary"),
        ("maxReplicas", extension.max_replicas.is_some_and(|max| max > 0), fixed),
        ("scaleTarget", extension.scale_target.is_some(), fixed),
        ("scaleMetric", extension.scale_metric.is_some(), fixed),
        ("autoScaling", extension.auto_scaling.is_some(), fixed),
    ];
    if let Some((field, _, why)) = forbidden.into_iter().find(|(_, set, _)| *set) {
        return Err(format!("canary {name:?} must not set {field} ({why})"));
    }
    let stable_min = stable.extension.min_replicas.unwrap_or(1);
    if let Some(min) = extension.min_replicas.filter(|min| *min > stable_min) {
        return Err(format!(
            "canary {name:?} minReplicas ({min}) must not exceed stable predictor minReplicas ({stable_min})"
        ));
    }
    Ok(())
}
