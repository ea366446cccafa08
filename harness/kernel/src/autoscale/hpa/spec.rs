//! `spec` of an `autoscaling/v2` HorizontalPodAutoscaler.
//!
//! The types read and write the manifest's own fields. What a manifest leaves out stays out; [`HpaSpec::defaulted`]
//! fills it in as the API server does (source: `pkg/apis/autoscaling/v2/defaults.go`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Quantity;

/// The `spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HpaSpec {
    /// What is scaled.
    pub scale_target_ref: ObjectReference,
    /// Least replicas; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Most replicas.
    pub max_replicas: i32,
    /// What is scaled on; 80 % of the requested CPU if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// How fast; absent = the rules of the controller from before `behavior` existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// How pods are selected (`LabelSelector` or `OwnerReferences`); it says which pods to observe and decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_strategy: Option<String>,
}

/// A reference to an object in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectReference {
    /// Such as `apps/v1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Such as `Deployment`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// One metric with its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MetricForm", into = "MetricForm")]
pub enum MetricSpec {
    /// A resource of whole pods.
    Resource {
        /// `cpu`, `memory`, ….
        name: String,
        /// Utilization or AverageValue.
        target: Target,
    },
    /// A resource of one container in each pod.
    ContainerResource {
        /// `cpu`, `memory`, ….
        name: String,
        /// The container.
        container: String,
        /// Utilization or AverageValue.
        target: Target,
    },
    /// A custom metric of each pod.
    Pods {
        /// Which.
        metric: MetricIdentifier,
        /// AverageValue.
        target: Target,
    },
    /// A custom metric of one object.
    Object {
        /// The object.
        described_object: ObjectReference,
        /// Which.
        metric: MetricIdentifier,
        /// Value or AverageValue.
        target: Target,
    },
    /// A metric from outside of the cluster.
    External {
        /// Which.
        metric: MetricIdentifier,
        /// Value or AverageValue.
        target: Target,
    },
}

/// Name and selector of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricIdentifier {
    /// Its name.
    pub name: String,
    /// Which of its series; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What a metric should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TargetForm", into = "TargetForm")]
pub enum Target {
    /// Average usage in percent of the requests.
    Utilization(i32),
    /// Average a pod.
    AverageValue(Quantity),
    /// The value itself.
    Value(Quantity),
}

/// How fast to scale, by direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Upwards; at most 4 pods or 100 % in 15 s, whichever is more, without stabilisation, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Downwards; any step after the controller's stabilisation window if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// The rules of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingRules {
    /// Seconds over which recommendations are kept: the lowest of them going up, the highest going down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i32>,
    /// Which policy counts; the one that allows most if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// Limits of the rate. A list, even an empty one, replaces the default list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<ScalingPolicy>>,
    /// How far the ratio may be from 1 in this direction without a change; the controller's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the greatest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: this direction is off.
    Disabled,
}

/// A limit of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingPolicy {
    /// Unit of `value`.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// Pods, or percent of the pods at the start of the period.
    pub value: i32,
    /// Length of the period, seconds.
    pub period_seconds: i32,
}

/// Unit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent.
    Percent,
}

/// A `spec` that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {found} is not allowed, expected {expected}")]
pub struct SpecError {
    /// The field, such as `behavior.scaleUp.policies[0].periodSeconds`.
    pub field: String,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl HpaSpec {
    /// Least replicas.
    #[must_use]
    pub fn minimum(&self) -> i32 {
        self.min_replicas.unwrap_or(1)
    }

    /// With everything that the API server fills in.
    #[must_use]
    pub fn defaulted(mut self) -> Self {
        self.min_replicas = Some(self.minimum());
        if self.metrics.is_empty() {
            self.metrics =
                vec![MetricSpec::Resource { name: "cpu".to_string(), target: Target::Utilization(80) }];
        }
        if let Some(behavior) = &mut self.behavior {
            behavior.scale_up = Some(ScalingRules::up(behavior.scale_up.take()));
            behavior.scale_down = Some(ScalingRules::down(behavior.scale_down.take()));
        }
        self
    }

    /// Refuses what the API server refuses, as far as it decides something.
    ///
    /// # Errors
    /// The first field that is outside of its range.
    pub fn check(&self) -> Result<(), SpecError> {
        refuse("maxReplicas", self.max_replicas, self.max_replicas >= 1, "at least 1")?;
        let minimum = self.minimum();
        let fits = (0..=self.max_replicas).contains(&minimum);
        refuse("minReplicas", minimum, fits, "0 to maxReplicas")?;
        for (index, metric) in self.metrics.iter().enumerate() {
            let place = |field: &str| format!("metrics[{index}].{field}");
            let name = metric.name();
            refuse(&place("name"), format!("{name:?}"), !name.is_empty(), "a name")?;
            let (is_positive, is_fitting) = match (metric.target(), metric) {
                (Target::Utilization(percent), MetricSpec::Resource { .. }) => (percent > 0, true),
                (Target::Utilization(percent), MetricSpec::ContainerResource { .. }) => (percent > 0, true),
                (Target::Utilization(percent), _) => (percent > 0, false),
                (Target::AverageValue(value), _) => (value > Quantity::default(), true),
                (Target::Value(value), metric) => {
                    let is_fitting =
                        matches!(metric, MetricSpec::Object { .. } | MetricSpec::External { .. });
                    (value > Quantity::default(), is_fitting)
                }
            };
            let target = metric.target();
            refuse(&place("target"), target, is_positive, "more than 0")?;
            refuse(&place("target.type"), target, is_fitting, metric.targets())?;
        }
        let Some(behavior) = &self.behavior else { return Ok(()) };
        for (name, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            if let Some(rules) = rules {
                rules.check(name)?;
            }
        }
        Ok(())
    }
}

impl ScalingRules {
    /// The rules upwards with everything that the API server fills in.
    #[must_use]
    pub fn up(rules: Option<Self>) -> Self {
        let rules = rules.unwrap_or_default();
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds.or(Some(0)),
            select_policy: rules.select_policy.or(Some(SelectPolicy::Max)),
            policies: rules.policies.or_else(|| {
                Some(vec![
                    ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_seconds: 15 },
                    ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 },
                ])
            }),
            tolerance: rules.tolerance,
        }
    }

    /// The rules downwards with everything that the API server fills in. The window stays out where it was left out:
    /// it is the controller's.
    #[must_use]
    pub fn down(rules: Option<Self>) -> Self {
        let rules = rules.unwrap_or_default();
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy.or(Some(SelectPolicy::Max)),
            policies: rules.policies.or_else(|| {
                Some(vec![ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 }])
            }),
            tolerance: rules.tolerance,
        }
    }

    fn check(&self, direction: &str) -> Result<(), SpecError> {
        let place = |field: &str| format!("behavior.{direction}.{field}");
        if let Some(seconds) = self.stabilization_window_seconds {
            let field = place("stabilizationWindowSeconds");
            refuse(&field, seconds, (0..=3600).contains(&seconds), "0 to 3600")?;
        }
        if let Some(tolerance) = self.tolerance {
            refuse(&place("tolerance"), tolerance, tolerance >= Quantity::default(), "at least 0")?;
        }
        let Some(policies) = &self.policies else { return Ok(()) };
        refuse(&place("policies"), "an empty list", !policies.is_empty(), "at least one policy")?;
        for (index, policy) in policies.iter().enumerate() {
            let place = |field: &str| place(&format!("policies[{index}].{field}"));
            refuse(&place("value"), policy.value, policy.value > 0, "more than 0")?;
            let seconds = policy.period_seconds;
            refuse(&place("periodSeconds"), seconds, (1..=1800).contains(&seconds), "1 to 1800")?;
        }
        Ok(())
    }
}

fn refuse(field: &str, found: impl fmt::Display, is_allowed: bool, expected: &str) -> Result<(), SpecError> {
    if is_allowed {
        return Ok(());
    }
    Err(SpecError { field: field.to_string(), found: found.to_string(), expected: expected.to_string() })
}

impl MetricSpec {
    /// Name of the metric or resource.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Resource { name, .. } | Self::ContainerResource { name, .. } => name,
            Self::Pods { metric, .. } | Self::Object { metric, .. } | Self::External { metric, .. } => {
                &metric.name
            }
        }
    }

    /// Its target.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Resource { target, .. }
            | Self::ContainerResource { target, .. }
            | Self::Pods { target, .. }
            | Self::Object { target, .. }
            | Self::External { target, .. } => *target,
        }
    }

    /// The `type` in a manifest.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resource { .. } => "Resource",
            Self::ContainerResource { .. } => "ContainerResource",
            Self::Pods { .. } => "Pods",
            Self::Object { .. } => "Object",
            Self::External { .. } => "External",
        }
    }

    /// What upstream calls it in conditions and events.
    #[must_use]
    pub fn label(&self) -> String {
        match (self, self.target()) {
            (Self::Resource { name, .. }, Target::Utilization(_)) => {
                format!("{name} resource utilization (percentage of request)")
            }
            (Self::ContainerResource { name, .. }, Target::Utilization(_)) => {
                format!("{name} container resource utilization (percentage of request)")
            }
            (Self::Resource { name, .. } | Self::ContainerResource { name, .. }, _) => {
                format!("{name} resource")
            }
            (Self::Pods { metric, .. }, _) => format!("pods metric {}", metric.name),
            (Self::Object { described_object, metric, .. }, _) => {
                format!("{} metric {}", described_object.kind, metric.name)
            }
            (Self::External { metric, .. }, _) => format!("external metric {}", metric.name),
        }
    }

    /// The kinds of target that it can have.
    fn targets(&self) -> &'static str {
        match self {
            Self::Resource { .. } | Self::ContainerResource { .. } => "Utilization or AverageValue",
            Self::Pods { .. } => "AverageValue",
            Self::Object { .. } | Self::External { .. } => "Value or AverageValue",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utilization(percent) => write!(f, "{percent} %"),
            Self::AverageValue(value) => write!(f, "{value} a pod"),
            Self::Value(value) => write!(f, "{value}"),
        }
    }
}

/// A target as manifests have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TargetForm {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_utilization: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Quantity>,
}

impl TryFrom<TargetForm> for Target {
    type Error = String;

    fn try_from(form: TargetForm) -> Result<Self, Self::Error> {
        let target = match (form.kind.as_str(), form.average_utilization, form.average_value, form.value) {
            ("Utilization", Some(percent), None, None) => Self::Utilization(percent),
            ("AverageValue", None, Some(value), None) => Self::AverageValue(value),
            ("Value", None, None, Some(value)) => Self::Value(value),
            ("Utilization", ..) => {
                return Err(
                    "a target of type Utilization has averageUtilization and nothing else".to_string()
                );
            }
            ("AverageValue", ..) => {
                return Err("a target of type AverageValue has averageValue and nothing else".to_string());
            }
            ("Value", ..) => return Err("a target of type Value has value and nothing else".to_string()),
            (other, ..) => {
                return Err(format!(
                    "target type {other:?} is not known, expected Utilization, AverageValue or Value"
                ));
            }
        };
        Ok(target)
    }
}

impl From<Target> for TargetForm {
    fn from(target: Target) -> Self {
        match target {
            Target::Utilization(percent) => Self {
                kind: "Utilization".to_string(),
                average_utilization: Some(percent),
                ..Self::default()
            },
            Target::AverageValue(value) => {
                Self { kind: "AverageValue".to_string(), average_value: Some(value), ..Self::default() }
            }
            Target::Value(value) => Self { kind: "Value".to_string(), value: Some(value), ..Self::default() },
        }
    }
}

/// A metric as manifests have it: a type, and a mapping under the name of that type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricForm {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container_resource: Option<ContainerResourceForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pods: Option<MetricSourceForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<ObjectForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external: Option<MetricSourceForm>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceForm {
    name: String,
    target: Target,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContainerResourceForm {
    name: String,
    container: String,
    target: Target,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricSourceForm {
    metric: MetricIdentifier,
    target: Target,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObjectForm {
    described_object: ObjectReference,
    metric: MetricIdentifier,
    target: Target,
}

impl TryFrom<MetricForm> for MetricSpec {
    type Error = String;

    fn try_from(form: MetricForm) -> Result<Self, Self::Error> {
        let sources = [
            form.resource.is_some(),
            form.container_resource.is_some(),
            form.pods.is_some(),
            form.object.is_some(),
            form.external.is_some(),
        ];
        let is_single = sources.iter().filter(|&&is_set| is_set).count() == 1;
        match (
            form.kind.as_str(),
            form.resource,
            form.container_resource,
            form.pods,
            form.object,
            form.external,
        ) {
            ("Resource", Some(ResourceForm { name, target }), ..) if is_single => {
                Ok(Self::Resource { name, target })
            }
            ("ContainerResource", _, Some(ContainerResourceForm { name, container, target }), ..)
                if is_single =>
            {
                Ok(Self::ContainerResource { name, container, target })
            }
            ("Pods", _, _, Some(MetricSourceForm { metric, target }), ..) if is_single => {
                Ok(Self::Pods { metric, target })
            }
            ("Object", _, _, _, Some(ObjectForm { described_object, metric, target }), _) if is_single => {
                Ok(Self::Object { described_object, metric, target })
            }
            ("External", .., Some(MetricSourceForm { metric, target })) if is_single => {
                Ok(Self::External { metric, target })
            }
            (kind @ ("Resource" | "ContainerResource" | "Pods" | "Object" | "External"), ..) => {
                Err(format!("a metric of type {kind} has one mapping, under the name of its type"))
            }
            (other, ..) => Err(format!(
                "metric type {other:?} is not known, expected Resource, ContainerResource, Pods, Object or External"
            )),
        }
    }
}

impl From<MetricSpec> for MetricForm {
    fn from(spec: MetricSpec) -> Self {
        let form = Self { kind: spec.kind().to_string(), ..Self::default() };
        match spec {
            MetricSpec::Resource { name, target } => {
                Self { resource: Some(ResourceForm { name, target }), ..form }
            }
            MetricSpec::ContainerResource { name, container, target } => {
                Self { container_resource: Some(ContainerResourceForm { name, container, target }), ..form }
            }
            MetricSpec::Pods { metric, target } => {
                Self { pods: Some(MetricSourceForm { metric, target }), ..form }
            }
            MetricSpec::Object { described_object, metric, target } => {
                Self { object: Some(ObjectForm { described_object, metric, target }), ..form }
            }
            MetricSpec::External { metric, target } => {
                Self { external: Some(MetricSourceForm { metric, target }), ..form }
            }
        }
    }
}
