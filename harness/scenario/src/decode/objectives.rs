//! `spec.objectives`: rules, each alone or with a window and the runs that it is judged on.

use super::window;
use crate::objective::{Objective, ObjectiveError, Scope};
use crate::quantity::Duration;
use crate::reader::Reader;
use crate::suggest;
use crate::yaml::{Node, Value};

pub(super) fn objectives(
    reader: &mut Reader<'_>,
    node: &Node,
    duration: Option<Duration>,
    services: Option<&[&str]>,
) -> Option<Vec<Objective>> {
    let items = reader.list(node, "spec.objectives")?;
    let read: Vec<Option<Objective>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            objective(reader, item, &format!("spec.objectives[{index}]"), duration, services)
        })
        .collect();
    read.into_iter().collect()
}

fn objective(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
    services: Option<&[&str]>,
) -> Option<Objective> {
    if !matches!(node.value, Value::Map(_)) {
        return rule(reader, node, path, services);
    }
    let mut fields = reader.fields(node, path)?;
    let objective = fields
        .required("rule", "rule: p99<300ms")
        .and_then(|node| rule(reader, node, &format!("{path}.rule"), services));
    let window = window(reader, &mut fields, duration);
    let on = match fields.optional("on") {
        Some(node) => runs(reader, node, &format!("{path}.on")),
        None => Some((true, true)),
    };
    fields.finish(reader);
    let ((from, to), (on_simulated, on_live)) = (window?, on?);
    Some(Objective { from, to, on_simulated, on_live, ..objective? })
}

fn rule(reader: &mut Reader<'_>, node: &Node, path: &str, services: Option<&[&str]>) -> Option<Objective> {
    let text = reader.text(node, path, "p99<300ms")?;
    match Objective::parse(text) {
        Ok(objective) => {
            if let Scope::Revision(name) = &objective.scope {
                known(reader, node, path, name, services)?;
            }
            let position = reader.position(node.place);
            Some(Objective { position: Some(position), ..objective })
        }
        Err(ObjectiveError { column, message, hint }) => {
            let column = node.place.column_within(reader.source, text, column - 1);
            reader.fault(node.place.at_column(column), format!("{path}: {message}"), hint);
            None
        }
    }
}

/// Whether a name after `for` is a service of the manifests, or can be a revision of one: those begin with the
/// service's name and a dash.
fn known(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    name: &str,
    services: Option<&[&str]>,
) -> Option<()> {
    let Some(services) = services else { return Some(()) };
    let is_of = |service: &str| {
        name.strip_prefix(service).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if services.iter().any(|service| is_of(service)) {
        return Some(());
    }
    let candidates = services.iter().copied().chain(["canary", "stable"]);
    reader.fault(
        node.place,
        format!("{path}: \"{name}\" is neither a service nor a revision of one"),
        suggest::hint(name, "names", candidates),
    );
    None
}

/// Whether an objective is judged on the simulation and on the live flight.
fn runs(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<(bool, bool)> {
    let items = reader.list(node, path)?;
    if items.is_empty() {
        reader.fault(
            node.place,
            format!("{path} is empty, so the objective would never be judged"),
            "write [simulated, live] or leave it out",
        );
        return None;
    }
    let mut on = (false, false);
    let mut sound = true;
    for item in items {
        match reader.choice(item, path, &[("simulated", false), ("live", true)]) {
            Some(false) => on.0 = true,
            Some(true) => on.1 = true,
            None => sound = false,
        }
    }
    sound.then_some(on)
}
