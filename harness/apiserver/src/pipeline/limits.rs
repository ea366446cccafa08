//! Limit ranges: what a namespace gives to containers that ask for nothing, and what it allows them to ask for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::write::Write;
use crate::{
    kinds::quantity,
    object::{as_map, list, map_at, meta, metadata_mut, text},
    status::ApiError,
};

const LIMIT_RANGES: &str = "/limitranges";
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in the defaults of a new pod's containers and refuses what the ranges of its namespace do not allow.
pub(super) fn apply(write: &Write<'_, '_>, pod: &mut Value) -> Result<(), ApiError> {
    let ranges = items(write);
    if ranges.is_empty() {
        return Ok(());
    }
    let mut notes: Vec<String> = Vec::new();
    for range in ranges.iter().filter(|range| text(range, &["type"]) == "Container") {
        for part in ["initContainers", "containers"] {
            let containers = map_at(as_map(pod), "spec").get_mut(part).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                fill(container, range, &mut notes);
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        map_at(metadata_mut(pod), "annotations").insert(ANNOTATION.into(), note.into());
        // The class follows from the requests.
        map_at(as_map(pod), "status").shift_remove("qosClass");
        write.complete(pod);
    }
    let mut faults = Vec::new();
    for range in &ranges {
        match text(range, &["type"]) {
            "Container" => {
                for container in
                    ["initContainers", "containers"].iter().flat_map(|part| list(pod, &["spec", part]))
                {
                    let (requests, limits) = (amounts(container, "requests"), amounts(container, "limits"));
                    check(range, "Container", &requests, &limits, &mut faults);
                }
            }
            "Pod" => check(range, "Pod", &of_pod(pod, "requests"), &of_pod(pod, "limits"), &mut faults),
            _ => {}
        }
    }
    refuse("pods", meta(pod, "name"), &faults)
}

/// Refuses a new claim that is smaller or larger than its namespace allows.
pub(super) fn check_claim(write: &Write<'_, '_>, claim: &Value) -> Result<(), ApiError> {
    let requests = amounts(&claim["spec"], "requests");
    let mut faults = Vec::new();
    for range in items(write).iter().filter(|range| text(range, &["type"]) == "PersistentVolumeClaim") {
        for resource in ["storage"] {
            let wanted = requests.get(resource).copied();
            for (bound, word) in [("min", "minimum"), ("max", "maximum")] {
                let Some((limit, shown)) = bound_of(range, bound, resource) else { continue };
                let Some(wanted) = wanted else { continue };
                if if bound == "min" { wanted < limit } else { wanted > limit } {
                    faults.push(format!(
                        "{word} {resource} usage per PersistentVolumeClaim is {shown}, but request is {}",
                        text(claim, &["spec", "resources", "requests", resource])
                    ));
                }
            }
        }
    }
    refuse("persistentvolumeclaims", meta(claim, "name"), &faults)
}

fn items(write: &Write<'_, '_>) -> Vec<Value> {
    let namespace = write.target.namespace.as_deref();
    let ranges = write.state.store.list(LIMIT_RANGES, namespace);
    ranges.flat_map(|(_, range)| list(&range.value, &["spec", "limits"]).to_vec()).collect()
}

fn refuse(resource: &str, name: &str, faults: &[String]) -> Result<(), ApiError> {
    match faults {
        [] => Ok(()),
        [fault] => Err(ApiError::forbidden("", resource, name, fault)),
        several => Err(ApiError::forbidden("", resource, name, &format!("[{}]", several.join(", ")))),
    }
}

fn fill(container: &mut Value, range: &Value, notes: &mut Vec<String>) {
    let name = text(container, &["name"]).to_owned();
    for (from, to, word) in [("defaultRequest", "requests", "request"), ("default", "limits", "limit")] {
        let Some(defaults) =
            range.get(from).and_then(Value::as_object).filter(|defaults| !defaults.is_empty())
        else {
            continue;
        };
        let amounts = map_at(map_at(as_map(container), "resources"), to);
        let mut set: Vec<&str> = Vec::new();
        for (resource, amount) in defaults {
            if !amounts.contains_key(resource) {
                amounts.insert(resource.clone(), amount.clone());
                set.push(resource);
            }
        }
        if amounts.is_empty() {
            map_at(as_map(container), "resources").shift_remove(to);
        }
        set.sort_unstable();
        if !set.is_empty() {
            notes.push(format!("{} {word} for container {name}", set.join(", ")));
        }
    }
}

/// Amounts by resource, in units of 10^-9.
type Amounts = BTreeMap<String, i128>;

fn amounts(holder: &Value, part: &str) -> Amounts {
    let map = holder["resources"][part].as_object();
    let known = |(resource, amount): (&String, &Value)| {
        Some((resource.clone(), amount.as_str().and_then(quantity::nanos)?))
    };
    map.into_iter().flatten().filter_map(known).collect()
}

/// All containers together or, where that is more, the largest init container.
fn of_pod(pod: &Value, part: &str) -> Amounts {
    let mut sum = Amounts::new();
    for container in list(pod, &["spec", "containers"]) {
        for (resource, amount) in amounts(container, part) {
            *sum.entry(resource).or_default() += amount;
        }
    }
    for container in list(pod, &["spec", "initContainers"]) {
        for (resource, amount) in amounts(container, part) {
            let most = sum.entry(resource).or_default();
            *most = amount.max(*most);
        }
    }
    sum
}

fn bound_of(range: &Value, bound: &str, resource: &str) -> Option<(i128, String)> {
    let shown = range[bound][resource].as_str()?;
    Some((quantity::nanos(shown)?, shown.to_owned()))
}

fn check(range: &Value, what: &str, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    let written = |nanos: i128| {
        let plain = if nanos % 1_000_000_000 == 0 {
            (nanos / 1_000_000_000).to_string()
        } else {
            format!("{nanos}n")
        };
        quantity::canonical(&plain).unwrap_or(plain)
    };
    let resources = |bound: &str| -> Vec<String> {
        let map: Option<&Map<String, Value>> = range[bound].as_object();
        let mut names: Vec<String> =
            map.into_iter().flatten().map(|(resource, _)| resource.clone()).collect();
        names.sort();
        names
    };
    for resource in resources("min") {
        let Some((least, shown)) = bound_of(range, "min", &resource) else { continue };
        let head = format!("minimum {resource} usage per {what} is {shown}");
        // The first thing that is wrong is told.
        match (requests.get(&resource), limits.get(&resource)) {
            (None, _) => faults.push(format!("{head}.  No request is specified")),
            (Some(request), _) if *request < least => {
                faults.push(format!("{head}, but request is {}", written(*request)));
            }
            (_, Some(limit)) if *limit < least => {
                faults.push(format!("{head}, but limit is {}", written(*limit)));
            }
            _ => {}
        }
    }
    for resource in resources("max") {
        let Some((most, shown)) = bound_of(range, "max", &resource) else { continue };
        let head = format!("maximum {resource} usage per {what} is {shown}");
        match (limits.get(&resource), requests.get(&resource)) {
            (None, _) => faults.push(format!("{head}.  No limit is specified")),
            (Some(limit), _) if *limit > most => {
                faults.push(format!("{head}, but limit is {}", written(*limit)));
            }
            (_, Some(request)) if *request > most => {
                faults.push(format!("{head}, but request is {}", written(*request)));
            }
            _ => {}
        }
    }
}
