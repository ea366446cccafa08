//! What the failure of a pod means: the Job's `podFailurePolicy`.

use k8s_openapi::api::{
    batch::v1::{JobSpec, PodFailurePolicyRule},
    core::v1::{ContainerStatus, Pod},
};

/// What to do about a failed pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts against the back-off limit.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The Job has failed; the message says why.
    FailJob(String),
}

/// The verdict of the first rule that matches.
pub(super) fn verdict(spec: &JobSpec, pod: &Pod) -> Verdict {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (index, rule) in rules.enumerate() {
        let Some(cause) = cause(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{cause} matching FailJob rule at index {index}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn cause(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let matches = |container: &&ContainerStatus| {
            let is_meant = codes.container_name.as_ref().is_none_or(|wanted| *wanted == container.name);
            let terminated = container.state.as_ref().and_then(|state| state.terminated.as_ref());
            is_meant
                && terminated.is_some_and(|end| {
                    let is_listed = codes.values.contains(&end.exit_code);
                    // Success is never a failure, whatever the values are.
                    end.exit_code != 0 && if codes.operator == "In" { is_listed } else { !is_listed }
                })
        };
        let statuses = || {
            let initial = status.init_container_statuses.iter().flatten();
            status.container_statuses.iter().flatten().chain(initial)
        };
        let container = statuses().find(matches)?;
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        return Some(format!(
            "Container {} for pod {namespace}/{name} failed with exit code {code}",
            container.name
        ));
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let pattern = rule.on_pod_conditions.iter().flatten().find(|pattern| {
        conditions.iter().any(|condition| {
            condition.type_ == pattern.type_
                && condition.status == pattern.status.as_deref().unwrap_or("True")
        })
    })?;
    Some(format!("Pod {namespace}/{name} has condition {}", pattern.type_))
}
