//! Whether the controllers' role is exactly what they need: what they asked for while the suite ran, against the rules.

use std::collections::BTreeSet;

use windtunnel_apiserver::Authorization;
use windtunnel_control_plane::install::rbac::{CLUSTER, CONFIGURATION, Grant, SERVICE_ACCOUNT};

/// What is granted and needed, but not by the suite on the embedded cluster, or not each time, with the reason.
const ELSEWHERE: &[(&str, &str, &str, &str)] = &[
    ("create", "networking.istio.io", "virtualservices", ISTIO),
    ("delete", "networking.istio.io", "virtualservices", ISTIO),
    ("patch", "networking.istio.io", "virtualservices", ISTIO),
    ("watch", "networking.istio.io", "virtualservices", ISTIO),
    (
        "delete",
        "opentelemetry.io",
        "opentelemetrycollectors",
        "a service that no longer scales by its metrics",
    ),
    ("delete", "serving.kserve.io", "trainedmodels", CONTROL_PLANE),
    ("patch", "serving.kserve.io", "trainedmodels", CONTROL_PLANE),
    ("patch", "serving.kserve.io", "trainedmodels/status", CONTROL_PLANE),
    ("create", "serving.kserve.io", "localmodelnodes", CONTROL_PLANE),
    ("patch", "serving.kserve.io", "localmodelnodes", CONTROL_PLANE),
    ("delete", "serving.knative.dev", "revisions", CONTROL_PLANE),
    ("create", "", "serviceaccounts/token", CONTROL_PLANE),
    ("create", "", "configmaps", CONTROL_PLANE),
    ("patch", "", "configmaps", CONTROL_PLANE),
    ("get", "keda.sh", "triggerauthentications", CONTROL_PLANE),
    ("get", "keda.sh", "clustertriggerauthentications", CONTROL_PLANE),
    ("patch", "keda.sh", "scaledobjects/status", CONTROL_PLANE),
    ("get", "", "secrets", CONTROL_PLANE),
    ("get", "", "configmaps", CONTROL_PLANE),
    ("get", "apps", "statefulsets", CONTROL_PLANE),
    ("get", "apps", "deployments/scale", CONTROL_PLANE),
    ("patch", "apps", "deployments/scale", CONTROL_PLANE),
    ("get", "apps", "statefulsets/scale", CONTROL_PLANE),
    ("patch", "apps", "statefulsets/scale", CONTROL_PLANE),
];
const ISTIO: &str = "Istio's kinds are not on the embedded cluster";
const CONTROL_PLANE: &str =
    "a test of the control plane needs it: what_the_suite_does_not_ask_for_is_needed_too";

/// One thing that is granted: role, verb, group and resource.
type Part = (String, String, String, String);

/// Rules that nothing has used, and requests that were refused.
pub(crate) fn faults(authorizations: &BTreeSet<Authorization>) -> Vec<String> {
    let ours = authorizations.iter().filter(|entry| entry.user.ends_with(&format!(":{SERVICE_ACCOUNT}")));
    let (allowed, refused): (Vec<_>, Vec<_>) = ours.partition(|entry| entry.role.is_some());
    let mut faults: Vec<String> = refused
        .into_iter()
        .map(|entry| {
            let Authorization { verb, group, resource, name, .. } = entry;
            format!("the controllers were refused to {verb} {resource} ({group}) {name}: grant it in install/rbac.rs")
        })
        .collect();
    let used: BTreeSet<Part> = allowed
        .into_iter()
        .filter_map(|entry| {
            let role = entry.role.clone()?;
            // Of the roles in single namespaces every one has the same rules.
            let role = role.rsplit('/').next().unwrap_or_default().to_owned();
            Some((role, entry.verb.clone(), entry.group.clone(), entry.resource.clone()))
        })
        .collect();
    let role_of_configuration = format!("{SERVICE_ACCOUNT}-configuration");
    let everywhere = CLUSTER.iter().flat_map(|(_, grants)| *grants).map(|grant| (SERVICE_ACCOUNT, grant));
    let granted = everywhere.chain(CONFIGURATION.iter().map(|grant| (&*role_of_configuration, grant)));
    let mut count = 0;
    for (role, verb, group, resource) in granted.flat_map(|(role, grant): (&str, &Grant)| {
        grant.parts().map(move |(verb, group, resource, _)| (role, verb, group, resource))
    }) {
        count += 1;
        let part = (role.to_owned(), verb.to_owned(), group.to_owned(), resource.to_owned());
        let is_needed_elsewhere =
            ELSEWHERE.iter().any(|known| (known.0, known.1, known.2) == (verb, group, resource));
        if !used.contains(&part) && !is_needed_elsewhere {
            faults.push(format!("no case needs that {role} may {verb} {resource} ({group}): take it away"));
        }
    }
    println!("{count} permissions, {} used in the suite", used.len());
    faults
}
