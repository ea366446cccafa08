//! From the text of a scenario file to a [`Scenario`], or to everything that is wrong with it.

mod arrivals;
mod control;
mod distribution;
mod disturbances;
mod environment;
mod events;
mod files;
mod load;
mod nodes;
mod objectives;
mod pod_start;
mod server;
mod traces;

use std::path::Path;

use crate::fault::{Fault, Faults};
use crate::manifests::Manifests;
use crate::quantity::Duration;
use crate::reader::{Fields, Reader};
use crate::scenario::{API_VERSION, DEFAULT_SEED, FlightPlan, Scenario};
use crate::yaml::{self, Node};
use disturbances::Surroundings;

/// Files larger than this are not scenarios.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The strongest compression that is accepted.
const MAX_COMPRESSION: f64 = 1_000.0;

pub(crate) fn read(path: &Path) -> Result<Scenario, Faults> {
    let unreadable = |message: String, hint: &str| {
        let file = path.to_owned();
        Faults::one(Fault { file, line: 1, column: 1, message, hint: hint.to_owned() })
    };
    let length = std::fs::metadata(path)
        .map_err(|error| unreadable(format!("the scenario cannot be read: {error}"), "check the path"))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(unreadable(format!("the file has {length} bytes"), "a scenario has at most 16 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        unreadable(format!("the scenario cannot be read: {error}"), "give a text file in UTF-8")
    })?;
    parse(&text, path)
}

pub(crate) fn parse(text: &str, path: &Path) -> Result<Scenario, Faults> {
    scenario(&tree(text, path)?, text, path, &[])
}

/// The tree of a file, not yet looked at.
pub(crate) fn tree(text: &str, path: &Path) -> Result<Node, Faults> {
    yaml::parse(text).map_err(|error| {
        Faults::one(Fault {
            file: path.to_owned(),
            line: error.place.line,
            column: error.place.column,
            message: format!("not readable as YAML: {}", error.message),
            hint: "check the indentation, quotes and brackets here and on the line above".to_owned(),
        })
    })
}

/// Reads a tree; `overrides` says what the parts are called that do not stand in the file.
pub(crate) fn scenario(
    root: &Node,
    text: &str,
    path: &Path,
    overrides: &[String],
) -> Result<Scenario, Faults> {
    let mut reader = Reader::new(path, text, overrides);
    let scenario = document(&mut reader, root);
    match (scenario, reader.faults.is_empty()) {
        (Some(scenario), true) => Ok(scenario),
        _ => Err(Faults(reader.faults).sorted()),
    }
}

fn document(reader: &mut Reader<'_>, root: &Node) -> Option<Scenario> {
    let mut fields = reader.fields(root, "the scenario")?;
    // The top level needs no path in front of its keys.
    fields.at_top();
    if let Some(node) = fields.required("apiVersion", &format!("apiVersion: {API_VERSION}")) {
        reader.choice(node, "apiVersion", &[(API_VERSION, ())]);
    }
    if let Some(node) = fields.required("kind", "kind: Scenario") {
        reader.choice(node, "kind", &[("Scenario", ())]);
    }
    let metadata = fields.required("metadata", "metadata: {name: NAME}");
    let metadata = metadata.and_then(|node| self::metadata(reader, node));
    let spec = fields.required("spec", "spec with at least duration, manifests and load");
    let scenario = spec.and_then(|node| self::spec(reader, node));
    fields.finish(reader);
    let (name, description) = metadata?;
    Some(Scenario { name, description, ..scenario? })
}

fn metadata(reader: &mut Reader<'_>, node: &Node) -> Option<(String, String)> {
    let mut fields = reader.fields(node, "metadata")?;
    let name = fields.required("name", "name, such as quickstart").and_then(|node| {
        let name = reader.text(node, "metadata.name", "quickstart")?;
        // Reports are filed under this name.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.len() > 63 || !name.chars().all(plain) || name.starts_with('-') || name.ends_with('-') {
            reader.fault(
                node.place,
                format!("metadata.name cannot be \"{}\"", name.escape_debug()),
                "write at most 63 lower-case letters, digits and dashes, such as scale-to-zero",
            );
            return None;
        }
        Some(name.to_owned())
    });
    let description = fields
        .optional("description")
        .and_then(|node| reader.text(node, "metadata.description", "\"What this shows.\""));
    fields.finish(reader);
    Some((name?, description.unwrap_or_default().to_owned()))
}

/// The scenario without its metadata.
fn spec(reader: &mut Reader<'_>, node: &Node) -> Option<Scenario> {
    let mut fields = reader.fields(node, "spec")?;
    let duration = fields
        .required("duration", "duration: 75s")
        .and_then(|node| reader.positive_duration(node, "spec.duration"));
    let seed = match fields.optional("seed") {
        Some(node) => reader.whole(node, "spec.seed"),
        None => Some(DEFAULT_SEED),
    };
    let manifests = fields
        .required("manifests", "manifests: [inferenceservice.yaml]")
        .and_then(|node| files::manifests(reader, node));
    let objects = match &manifests {
        Some(paths) => Manifests::read(paths, &mut reader.faults),
        None => Manifests::unknown(),
    };
    let storage = match fields.optional("storage") {
        Some(node) => files::storage(reader, node),
        None => Some(Default::default()),
    };
    let loads = fields
        .required("load", "load with requests and arrivals")
        .and_then(|node| load::loads(reader, node, duration, &objects));
    let flight = match fields.optional("flight") {
        Some(node) => flight(reader, node, duration).map(Some),
        None => Some(None),
    };
    let events = match fields.optional("events") {
        Some(node) => events::events(reader, node, duration, &objects),
        None => Some(Vec::new()),
    };
    let faults_node = fields.optional("faults");
    let objectives = match fields.optional("objectives") {
        Some(node) => {
            let services = objects.complete().then(|| objects.names_of("InferenceService"));
            objectives::objectives(reader, node, duration, services.as_deref())
        }
        None => Some(Vec::new()),
    };
    let environment = match fields.optional("environment") {
        Some(node) => environment::environment(reader, node, "spec.environment", duration),
        None => Some(Default::default()),
    };
    let faults = match faults_node {
        Some(node) => {
            let around = Surroundings { duration, manifests: &objects, environment: environment.as_ref() };
            disturbances::disturbances(reader, node, &around)
        }
        None => Some(Vec::new()),
    };
    fields.finish(reader);
    Some(Scenario {
        path: reader.file.to_owned(),
        name: String::new(),
        description: String::new(),
        duration: duration?,
        seed: seed?,
        manifests: manifests?,
        storage: storage?,
        loads: loads?,
        flight: flight?,
        events: events?,
        faults: faults?,
        objectives: objectives?,
        environment: environment?,
    })
}

fn flight(reader: &mut Reader<'_>, node: &Node, duration: Option<Duration>) -> Option<FlightPlan> {
    let mut fields = reader.fields(node, "spec.flight")?;
    let window = window(reader, &mut fields, duration);
    let compress = match fields.optional("compress") {
        None => Some(1.0),
        Some(node) => reader.number(node, "spec.flight.compress").and_then(|factor| {
            if (1.0..=MAX_COMPRESSION).contains(&factor) {
                return Some(factor);
            }
            reader.fault(
                node.place,
                format!("spec.flight.compress cannot be {factor}"),
                "write a factor from 1 (real time) to 1000, such as 4 to fly four times as fast",
            );
            None
        }),
    };
    fields.finish(reader);
    let (from, to) = window?;
    Some(FlightPlan { from: from.unwrap_or(Duration::ZERO), to: to.or(duration)?, compress: compress? })
}

/// `from` and `to` of a part of the scenario: in order, and within it.
fn window(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    duration: Option<Duration>,
) -> Option<(Option<Duration>, Option<Duration>)> {
    let mut bounds = [None, None];
    let mut sound = true;
    for (bound, key) in bounds.iter_mut().zip(["from", "to"]) {
        let Some(node) = fields.optional(key) else { continue };
        let path = fields.path(key);
        let read =
            if key == "to" { reader.positive_duration(node, &path) } else { reader.duration(node, &path) };
        match (read, duration) {
            (Some(at), Some(duration)) if at > duration || (key == "from" && at == duration) => {
                reader.fault(
                    node.place,
                    format!("{path} ({at}) is after the end of the scenario"),
                    format!(
                        "the scenario lasts {duration}; choose an earlier time or a longer spec.duration"
                    ),
                );
                sound = false;
            }
            (Some(at), _) => *bound = Some((at, node.place)),
            (None, _) => sound = false,
        }
    }
    if let [Some((from, _)), Some((to, place))] = bounds
        && from >= to
    {
        reader.fault(
            place,
            format!("{} ({to}) is not after from ({from})", fields.path("to")),
            "write a window that lasts, from before to",
        );
        sound = false;
    }
    sound.then(|| (bounds[0].map(|(at, _)| at), bounds[1].map(|(at, _)| at)))
}
