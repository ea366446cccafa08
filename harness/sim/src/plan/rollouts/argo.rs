//! Argo's Rollout with its AnalysisTemplates.

use std::collections::BTreeMap;

use windtunnel_api::manifest::Manifest;
use windtunnel_kernel::rollout::argo::RolloutSpec;
use windtunnel_kernel::rollout::argo::analysis::spec::AnalysisSpec;
use windtunnel_kernel::rollout::argo::decision::RunKind;
use windtunnel_kernel::rollout::argo::spec::TemplateRef;
use windtunnel_kernel::rollout::value::Value;

use super::measure::{DEFAULT_NS, Measure, duration_ns};
use super::{place_of, query_of, spec_of, target_of};
use crate::error::SimError;
use crate::plan::ServicePlan;

/// A Rollout, bound to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgoPlan {
    /// Its name.
    pub name: String,
    /// Its specification.
    pub spec: RolloutSpec,
    /// Its analyses.
    pub analyses: BTreeMap<RunKind, AnalysisPlan>,
}

/// What an analysis measures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalysisPlan {
    /// Its templates together.
    pub spec: AnalysisSpec,
    /// What its metrics stand for, by name.
    pub measures: BTreeMap<String, Measure>,
}

impl ArgoPlan {
    pub(super) fn window_ns(&self) -> u64 {
        let measures = self.analyses.values().flat_map(|analysis| analysis.measures.values());
        measures.map(Measure::window_ns).max().unwrap_or(0)
    }
}

/// Reads a Rollout; the place of its service comes first.
pub(super) fn read(
    manifest: &Manifest,
    manifests: &[Manifest],
    services: &[ServicePlan],
) -> Result<(usize, ArgoPlan), SimError> {
    let place = place_of(manifest);
    let spec: RolloutSpec = spec_of(manifest, &place)?;
    let reference = &manifest.value["spec"]["workloadRef"];
    let field = |name: &str| reference[name].as_str().unwrap_or_default();
    if reference.is_null() {
        let message = "it has pods of its own (spec.template) and serves no InferenceService; bind it with \
                       spec.workloadRef: {apiVersion: apps/v1, kind: Deployment, name: SERVICE-predictor}";
        return Err(SimError::Environment { place, message: message.to_owned() });
    }
    let target = target_of((field("apiVersion"), field("kind"), field("name")), services, &place)?;
    check(&spec, &services[target], &place)?;
    let mut analyses = BTreeMap::new();
    for (kind, templates, arguments) in wanted(&spec) {
        analyses.insert(kind, analysis_of(templates, arguments, manifests, &place)?);
    }
    Ok((target, ArgoPlan { name: manifest.name.clone(), spec, analyses }))
}

fn check(spec: &RolloutSpec, service: &ServicePlan, place: &str) -> Result<(), SimError> {
    let refused = |what: &str, remedy: &str| {
        Err(SimError::Unsupported {
            place: place.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    if service.versions[0].standard.is_none() {
        return refused(
            "a Rollout of a service in Knative mode: Argo Rollouts manages the pods of Deployments and knows no \
             revisions, so that it",
            "annotate the InferenceService with serving.kserve.io/deploymentMode: Standard",
        );
    }
    if spec.strategy.canary.is_none() && spec.strategy.blue_green.is_none() {
        let message = "spec.strategy is empty; write strategy.canary or strategy.blueGreen".to_owned();
        return Err(SimError::Environment { place: place.to_owned(), message });
    }
    for (index, step) in spec.steps().iter().enumerate() {
        let what = if step.experiment.is_some() {
            "an experiment"
        } else if step.plugin.is_some() {
            "a step of a plugin"
        } else if step.set_header_route.is_some() {
            "a route by headers"
        } else if step.set_mirror_route.is_some() {
            "a route that mirrors requests"
        } else {
            continue;
        };
        return Err(SimError::Unsupported {
            place: format!("{place}: spec.strategy.canary.steps[{index}]"),
            what: what.to_owned(),
            remedy:
                "leave the step out; the steps setWeight, setCanaryScale, pause and analysis are simulated"
                    .to_owned(),
        });
    }
    Ok(())
}

/// The analyses that a Rollout asks for, with their arguments.
fn wanted(spec: &RolloutSpec) -> Vec<(RunKind, &[TemplateRef], &[Value])> {
    let mut found: Vec<(RunKind, &[TemplateRef], &[Value])> = Vec::new();
    if let Some(analysis) = spec.canary().and_then(|canary| canary.analysis.as_ref()) {
        found.push((RunKind::Background, &analysis.templates, &analysis.args));
    }
    for (index, step) in (0..).zip(spec.steps()) {
        if let Some(analysis) = &step.analysis {
            found.push((RunKind::Step(index), &analysis.templates, &analysis.args));
        }
    }
    if let Some(strategy) = &spec.strategy.blue_green {
        let both = [
            (RunKind::PrePromotion, &strategy.pre_promotion_analysis),
            (RunKind::PostPromotion, &strategy.post_promotion_analysis),
        ];
        for (kind, analysis) in both {
            if let Some(analysis) = analysis {
                found.push((kind, &analysis.templates, &analysis.args));
            }
        }
    }
    found
}

fn analysis_of(
    templates: &[TemplateRef],
    arguments: &[Value],
    manifests: &[Manifest],
    place: &str,
) -> Result<AnalysisPlan, SimError> {
    let mut plan = AnalysisPlan::default();
    for reference in templates {
        let kind = if reference.cluster_scope == Some(true) {
            "ClusterAnalysisTemplate"
        } else {
            "AnalysisTemplate"
        };
        let is_it = |known: &&Manifest| known.kind == kind && known.name == reference.template_name;
        let template = manifests.iter().find(is_it).ok_or_else(|| SimError::Environment {
            place: place.to_owned(),
            message: format!("there is no {kind} {:?} in the manifests; add it", reference.template_name),
        })?;
        let own_place = place_of(template);
        let mut spec: AnalysisSpec = spec_of(template, &own_place)?;
        let values = values_of(&spec.args, arguments);
        for metric in &mut spec.metrics {
            metric.success_condition = filled(&metric.success_condition, &values);
            metric.failure_condition = filled(&metric.failure_condition, &values);
            metric.interval = filled(&metric.interval, &values);
            let own = own_query(&metric.provider);
            let query = filled(query_of(template, &metric.name, own), &values);
            let default_ns = duration_ns(&metric.interval).unwrap_or(DEFAULT_NS);
            let measure = Measure::of(query.trim(), default_ns).map_err(|message| SimError::Environment {
                place: format!("{own_place}: metric {:?}", metric.name),
                message,
            })?;
            if plan.measures.insert(metric.name.clone(), measure).is_some() {
                return Err(SimError::Environment {
                    place: own_place,
                    message: format!("there are two metrics {:?} in one analysis; rename one", metric.name),
                });
            }
        }
        plan.spec.metrics.append(&mut spec.metrics);
        plan.spec.dry_run.append(&mut spec.dry_run);
        plan.spec.measurement_retention.append(&mut spec.measurement_retention);
    }
    Ok(plan)
}

/// `provider.prometheus.query`, or that of any other provider with one.
fn own_query(provider: &Value) -> &str {
    let Value::Map(providers) = provider else { return "" };
    providers
        .values()
        .find_map(|provider| match provider {
            Value::Map(fields) => match fields.get("query") {
                Some(Value::Text(query)) => Some(query.as_str()),
                _ => None,
            },
            _ => None,
        })
        .unwrap_or("")
}

/// Arguments by name: a template's own values, and those of the reference instead. A pod template's hash stands for
/// its version.
fn values_of(own: &[Value], given: &[Value]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for argument in own.iter().chain(given) {
        let Value::Map(fields) = argument else { continue };
        let Some(Value::Text(name)) = fields.get("name") else { continue };
        let value = match (fields.get("value"), fields.get("valueFrom")) {
            (Some(value), _) => value.to_string(),
            (None, Some(Value::Map(from))) => match from.get("podTemplateHashValue") {
                Some(Value::Text(version)) => version.clone(),
                _ => continue,
            },
            _ => continue,
        };
        values.insert(name.clone(), value);
    }
    values
}

/// A text with its arguments, `{{args.NAME}}`, filled in.
fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        for form in [format!("{{{{args.{name}}}}}"), format!("{{{{ args.{name} }}}}")] {
            text = text.replace(&form, value);
        }
    }
    text
}
