//! What a ScaledObject says, what is wrong with it, and the HorizontalPodAutoscaler that it leads to.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::json;
use windtunnel_api::keda::ScaledObject;
use windtunnel_kernel::autoscale::keda::{Annotations, Formula, KedaError, ScaledObjectSpec, Trigger, hpa};

use super::{NAME_LABEL, Target};
use crate::world::{ObjectKey, World};

/// Longest value of a label.
const LABEL_LIMIT: usize = 63;
/// What upstream writes into `app.kubernetes.io/version` when it was built from its main branch.
const VERSION: &str = "main";

const TARGET: &str = "ScaledObject doesn't have correct scaleTargetRef specification";
const COUNTS: &str = "ScaledObject doesn't have correct Idle/Min/Max Replica Counts specification";
const TRIGGERS: &str = "ScaledObject doesn't have correct triggers specification";
const AUTOSCALER: &str = "failed to ensure HPA is correctly created for ScaledObject";

/// Why a ScaledObject cannot work, as its `Ready` condition says it.
pub(super) type Fault = String;

/// A ScaledObject, read.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) spec: ScaledObjectSpec,
    pub(super) annotations: Annotations,
    pub(super) triggers: Vec<Trigger>,
    pub(super) formula: Option<Formula>,
    /// The metric of each trigger that the HorizontalPodAutoscaler asks for; `None` of cpu and memory, and of an external
    /// scaler that has not been asked yet.
    pub(super) metrics: Vec<Option<String>>,
}

/// Reads a ScaledObject.
///
/// # Errors
/// The first thing that KEDA would refuse.
pub(super) fn read(object: &ScaledObject) -> Result<Definition, Fault> {
    let spec = serde_json::to_value(&object.spec).and_then(serde_json::from_value::<ScaledObjectSpec>);
    let spec = spec.map_err(|error| format!("{TRIGGERS}: spec: {error}"))?;
    let annotations = Annotations::read(object.annotations());
    let annotations =
        annotations.map_err(|error| format!("failed to parse paused replica count: {error}"))?;
    if spec.scale_target_ref.name.is_empty() {
        return Err(format!("{TARGET}: ScaledObject.spec.scaleTargetRef.name is missing"));
    }
    let place = |error: KedaError| {
        let is_trigger = error.place.starts_with("spec.triggers") || error.place.starts_with("triggers");
        format!("{}: {error}", if is_trigger { TRIGGERS } else { COUNTS })
    };
    spec.check().map_err(place)?;
    let triggers = Trigger::read_all(&spec.triggers).map_err(place)?;
    if spec.minimum() == 0 && triggers.iter().all(Trigger::is_resource) {
        return Err(format!(
            "{TRIGGERS}: scaledobject has only cpu/memory triggers AND minReplica is 0 (scale to zero doesn't work in \
             this case)"
        ));
    }
    let formula = Formula::of(&spec).map_err(|error| format!("{AUTOSCALER}: {error}"))?;
    for (what, name) in [("ScaledObject", object.name_any()), ("HPA", hpa::name(&spec, &object.name_any()))] {
        if name.len() > LABEL_LIMIT {
            return Err(format!(
                "{AUTOSCALER}: {what} name {name:?} is {} characters long; must be no more than {LABEL_LIMIT} characters",
                name.len()
            ));
        }
    }
    hpa::render(&spec, &object.name_any(), &annotations).map_err(|error| format!("{AUTOSCALER}: {error}"))?;
    let metrics = triggers.iter().map(Trigger::metric_name).collect();
    Ok(Definition { spec, annotations, triggers, formula, metrics })
}

/// Why the target must be left alone: somebody else scales it.
pub(super) fn conflict(
    world: &World,
    key: &ObjectKey,
    object: &ScaledObject,
    definition: &Definition,
    target: &Target,
) -> Option<Fault> {
    let name = &definition.spec.scale_target_ref.name;
    let own_hpa = hpa::name(&definition.spec, &key.name);
    let is_same = |api_version: Option<&str>, kind: Option<&str>, other: &str| {
        let given = |text: Option<&str>, default: &str| {
            text.filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        other == name
            && given(kind, "Deployment") == target.kind
            && given(api_version, "apps/v1") == target.api_version()
    };
    let of_namespace = |other: &&ObjectKey| other.namespace == key.namespace && **other != *key;
    let older = |other: &ScaledObject| {
        let age = |object: &ScaledObject| (object.creation_timestamp().map(|time| time.0), object.name_any());
        age(other) < age(object)
    };
    for (_, other) in world.scaled_objects.iter().filter(|(other, _)| of_namespace(other)) {
        let reference = &other.spec.scale_target_ref;
        let scales_it = is_same(reference.api_version.as_deref(), reference.kind.as_deref(), &reference.name);
        if scales_it && older(other) {
            return Some(format!(
                "{TARGET}: the workload '{name}' of type '{}' is already managed by the ScaledObject '{}'",
                target.kind_text(),
                other.name_any()
            ));
        }
        if has_hpa(other, &own_hpa) && older(other) {
            let other = other.name_any();
            return Some(format!(
                "{TARGET}: the HPA '{own_hpa}' is already managed by the ScaledObject '{other}'"
            ));
        }
    }
    let says = |annotations: &BTreeMap<String, String>, name: &str, value: &str| {
        annotations.get(name).is_some_and(|text| text == value)
    };
    let transfers = says(object.annotations(), "scaledobject.keda.sh/transfer-hpa-ownership", "true");
    let uid = object.uid();
    for (_, other) in world.autoscalers.iter().filter(|(other, _)| other.namespace == key.namespace) {
        let reference = &other.spec.scale_target_ref;
        let is_ours = other.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
        if is_ours
            || says(other.annotations(), "validations.keda.sh/hpa-ownership", "false")
            || !is_same(reference.api_version.as_deref(), Some(&reference.kind), &reference.name)
        {
            continue;
        }
        let (kind, other) = (target.kind_text(), other.name_any());
        if !transfers {
            return Some(format!(
                "{TARGET}: the workload '{name}' of type '{kind}' is already managed by the hpa '{other}'"
            ));
        }
        if other != own_hpa {
            return Some(format!(
                "{TARGET}: the existing hpa '{other}' for workload '{name}' of type '{kind}' must be specified by name in \
                 advanced settings to enable ownership transfer"
            ));
        }
    }
    None
}

/// Whether a ScaledObject's HorizontalPodAutoscaler has this name.
fn has_hpa(object: &ScaledObject, name: &str) -> bool {
    let spec = serde_json::to_value(&object.spec).and_then(serde_json::from_value::<ScaledObjectSpec>);
    spec.is_ok_and(|spec| hpa::name(&spec, &object.name_any()) == name)
}

/// The HorizontalPodAutoscaler; `None` as long as no metric is known, because one without metrics scales by cpu.
///
/// # Errors
/// What could not be written as one.
pub(super) fn autoscaler(
    object: &ScaledObject,
    definition: &Definition,
    target: &Target,
) -> Result<Option<HorizontalPodAutoscaler>, Fault> {
    let name = hpa::name(&definition.spec, &object.name_any());
    let fault = |error: &dyn std::fmt::Display| format!("{AUTOSCALER}: {error}");
    let Definition { spec, triggers, annotations, .. } = definition;
    let spec =
        hpa::render_for(spec, triggers, &object.name_any(), annotations).map_err(|error| fault(&error))?;
    if spec.metrics.is_empty() {
        return Ok(None);
    }
    let mut spec = json!(spec);
    spec["scaleTargetRef"]["apiVersion"] = target.api_version().into();
    spec["scaleTargetRef"]["kind"] = target.kind.clone().into();
    let mut labels = BTreeMap::from(
        [
            ("app.kubernetes.io/name", name.as_str()),
            ("app.kubernetes.io/version", VERSION),
            ("app.kubernetes.io/part-of", &object.name_any()),
            ("app.kubernetes.io/managed-by", "keda-operator"),
        ]
        .map(|(label, value)| (label.to_owned(), value.to_owned())),
    );
    let excluded = object.annotations().get("scaledobject.keda.sh/hpa-excluded-labels");
    let is_excluded = |label: &str| excluded.is_some_and(|list| list.split(',').any(|other| other == label));
    labels.insert(NAME_LABEL.to_owned(), object.name_any());
    labels.extend(object.labels().clone().into_iter().filter(|(label, _)| !is_excluded(label)));
    let annotations = object.annotations().clone();
    Ok(Some(HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: object.namespace(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: object.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: serde_json::from_value(spec).map_err(|error| fault(&error))?,
        status: None,
    }))
}

/// The fault of a target that cannot be scaled.
pub(super) fn target_fault(why: &str) -> Fault {
    format!("{TARGET}: {why}")
}
