//! Rules of the named canaries (`spec.canary[]`).

use std::collections::BTreeSet;

use super::super::inference_service::{CanarySpec, InferenceService};
use super::super::names;
use super::super::predictor::PredictorSpec;
use super::{PREDICTOR_IMPLEMENTATIONS, exactly_one, predictor_implementations};

/// The stable predictor may take another name only together with another model: the name decides which
/// Deployment serves it.
pub(super) fn name_changes_with_the_model(
    service: &InferenceService,
    old: &InferenceService,
) -> Result<(), String> {
    let (new, old) = (&service.spec.predictor, &old.spec.predictor);
    if new.name != old.name && same_model(new, old) {
        return Err("predictor.name change requires a model change (e.g. storageUri)".to_owned());
    }
    Ok(())
}

fn same_model(new: &PredictorSpec, old: &PredictorSpec) -> bool {
    new.model == old.model && new.storage_uris == old.storage_uris && new.pod == old.pod
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
    let has_model = stable.storage_uri().is_some()
        || stable.storage_uris.is_some()
        || stable.model.as_ref().is_some_and(|model| model.extension.storage.is_some());
    if !has_model {
        return Err(
            "canary requires a stable predictor with a model (multi-model serving is not supported with canary)"
                .to_owned(),
        );
    }
    let mut seen = BTreeSet::new();
    let mut total = 0;
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
        total += canary.traffic_percent;
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
    exactly_one(predictor_implementations(predictor), PREDICTOR_IMPLEMENTATIONS, "PredictorSpec")?;
    let extension = &predictor.extension;
    let forbidden = [
        ("workerSpec", predictor.worker_spec.is_some()),
        ("maxReplicas", extension.max_replicas.is_some()),
        ("scaleTarget", extension.scale_target.is_some()),
        ("scaleMetric", extension.scale_metric.is_some()),
        ("autoScaling", extension.auto_scaling.is_some()),
    ];
    if let Some((field, _)) = forbidden.into_iter().find(|(_, set)| *set) {
        return Err(format!("canary {name:?} must not set {field}"));
    }
    let stable_min = stable.extension.min_replicas.unwrap_or(1);
    if let Some(min) = extension.min_replicas.filter(|min| *min > stable_min) {
        return Err(format!(
            "canary {name:?} minReplicas ({min}) must not exceed stable predictor minReplicas ({stable_min})"
        ));
    }
    Ok(())
}
