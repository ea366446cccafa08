//! `spec.load`: the target, what is sent and when.

use super::files;
use super::reader::{Fields, Reader};
use crate::fault::Fault;
use crate::manifests::Manifests;
use crate::quantity::{Duration, Rate};
use crate::scenario::{Arrivals, Load, Phase, Process, Protocol, Trace, TraceFormat};
use crate::suggest;
use crate::trace;
use crate::yaml::{Node, Place};

const DEFAULT_TIMEOUT: Duration = Duration::from_s(30);

pub(super) fn load(
    reader: &mut Reader<'_>,
    node: &Node,
    duration: Option<Duration>,
    manifests: &Manifests,
) -> Option<Load> {
    let mut fields = reader.fields(node, "spec.load")?;
    let target_node = fields.optional("target");
    let protocol = match fields.optional("protocol") {
        Some(node) => {
            reader.choice(node, "spec.load.protocol", &[("v1", Protocol::V1), ("v2", Protocol::V2)])
        }
        None => Some(Protocol::V1),
    };
    let requests = fields
        .required("requests", "requests: requests.jsonl")
        .and_then(|node| files::file(reader, node, "spec.load.requests", "requests.jsonl"));
    let timeout = match fields.optional("timeout") {
        Some(node) => reader.positive_duration(node, "spec.load.timeout"),
        None => Some(DEFAULT_TIMEOUT),
    };
    let arrivals = fields
        .required("arrivals", "arrivals with phases or a trace")
        .and_then(|node| arrivals(reader, node, duration));
    let target = if target_node.is_none() && fields.mistyped(&["target"]) {
        None // reported as an unknown key
    } else {
        target(reader, target_node, fields.place(), manifests)
    };
    fields.finish(reader);
    Some(Load {
        target: target?,
        protocol: protocol?,
        requests: requests?,
        timeout: timeout?,
        arrivals: arrivals?,
    })
}

fn target(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    load: Place,
    manifests: &Manifests,
) -> Option<String> {
    let services = manifests.names_of("InferenceService");
    if let Some(node) = node {
        let name = reader.text(node, "spec.load.target", "digits")?;
        if manifests.complete() && !services.contains(&name) {
            let message =
                format!("spec.load.target: no InferenceService is called \"{}\"", name.escape_debug());
            let hint = if services.is_empty() {
                "the manifests hold no InferenceService; add one".to_owned()
            } else {
                suggest::hint(name, "InferenceServices", services.iter().copied())
            };
            reader.fault(node.place, message, hint);
            return None;
        }
        return Some(name.to_owned());
    }
    match services.as_slice() {
        [only] if manifests.complete() => Some((*only).to_owned()),
        _ if !manifests.complete() => None, // the manifests' own faults come first
        [] => {
            reader.fault(load, "the manifests hold no InferenceService", "add one to spec.manifests");
            None
        }
        several => {
            let hint = format!("write target: and one of {}", several.join(", "));
            reader.fault(load, "spec.load.target is missing: there are several InferenceServices", hint);
            None
        }
    }
}

fn arrivals(reader: &mut Reader<'_>, node: &Node, duration: Option<Duration>) -> Option<Arrivals> {
    let mut fields = reader.fields(node, "spec.load.arrivals")?;
    let process = fields.optional("process");
    let phases = fields.optional("phases");
    let trace = fields.optional("trace");
    let arrivals = match (phases, trace) {
        (Some(_), Some(trace)) => {
            reader.fault(
                trace.place,
                "spec.load.arrivals has both phases and a trace",
                "keep one of them: phases make up a load, a trace replays a recorded one",
            );
            None
        }
        (None, None) if fields.mistyped(&["phases", "trace"]) => None,
        (None, None) => {
            reader.fault(
                node.place,
                "spec.load.arrivals has neither phases nor a trace",
                "add phases: [{for: 60s, rate: 20/s}] or trace: {file: arrivals.csv, format: timestamps}",
            );
            None
        }
        (Some(node), None) => phased(reader, process, node, duration),
        (None, Some(node)) => {
            if let Some(process) = process {
                reader.fault(
                    process.place,
                    "spec.load.arrivals.process does not go with a trace",
                    "leave it out: a trace says itself when requests arrive",
                );
            }
            self::trace(reader, node, duration).map(Arrivals::Trace)
        }
    };
    fields.finish(reader);
    arrivals
}

fn phased(
    reader: &mut Reader<'_>,
    process: Option<&Node>,
    node: &Node,
    duration: Option<Duration>,
) -> Option<Arrivals> {
    const PATH: &str = "spec.load.arrivals.phases";
    let process = match process {
        Some(node) => reader.choice(
            node,
            "spec.load.arrivals.process",
            &[("constant", Process::Constant), ("poisson", Process::Poisson)],
        ),
        None => Some(Process::Poisson),
    };
    let items = reader.list(node, PATH)?;
    if items.is_empty() {
        reader.fault(node.place, format!("{PATH} is empty"), "add one such as {for: 60s, rate: 20/s}");
        return None;
    }
    let read: Vec<Option<Phase>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| phase(reader, item, &format!("{PATH}[{index}]")))
        .collect();
    let phases: Vec<Phase> = read.into_iter().collect::<Option<_>>()?;
    // Each is below 100 years; the file's size bounds how many there are.
    let total =
        Duration::from_ns(phases.iter().fold(0, |sum: u64, phase| sum.saturating_add(phase.length.as_ns())));
    if let Some(duration) = duration
        && total > duration
    {
        reader.fault(
            node.place,
            format!("the phases last {total}, longer than the scenario"),
            format!("the scenario lasts {duration}; shorten the phases or write duration: {total}"),
        );
        return None;
    }
    let expected: f64 = phases
        .iter()
        .map(|phase| {
            let to = phase.to.unwrap_or(phase.rate);
            (phase.rate.as_per_second() + to.as_per_second()) / 2.0 * phase.length.as_s()
        })
        .sum();
    if expected <= 0.0 {
        reader.fault(
            node.place,
            "the load never sends a request",
            "give at least one phase a rate above zero",
        );
        return None;
    }
    if expected > f64::from(u32::MAX) {
        reader.fault(
            node.place,
            format!("the phases ask for {expected:.3e} requests"),
            "a load has at most 4 294 967 295; lower a rate or shorten a phase",
        );
        return None;
    }
    Some(Arrivals::Phases { process: process?, phases })
}

fn phase(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Phase> {
    let mut fields = reader.fields(node, path)?;
    let length_path = fields.path("for");
    let length =
        fields.required("for", "for: 60s").and_then(|node| reader.positive_duration(node, &length_path));
    let rate_path = fields.path("rate");
    let rate = fields.required("rate", "rate: 20/s").and_then(|node| rate(reader, node, &rate_path));
    let to_path = fields.path("to");
    let to = match fields.optional("to") {
        Some(node) => rate_to(reader, node, &to_path),
        None => Some(None),
    };
    fields.finish(reader);
    Some(Phase { length: length?, rate: rate?, to: to? })
}

fn rate(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Rate> {
    reader.quantity(node, path, "20/s or 90/min")
}

fn rate_to(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Option<Rate>> {
    rate(reader, node, path).map(Some)
}

fn trace(reader: &mut Reader<'_>, node: &Node, duration: Option<Duration>) -> Option<Trace> {
    const PATH: &str = "spec.load.arrivals.trace";
    let mut fields = reader.fields(node, PATH)?;
    let file_node = fields.required("file", "file: arrivals.csv");
    let format = fields.required("format", "format: azure-llm-2023 or format: timestamps").and_then(|node| {
        reader.choice(
            node,
            &format!("{PATH}.format"),
            &[("azure-llm-2023", TraceFormat::AzureLlm2023), ("timestamps", TraceFormat::Timestamps)],
        )
    });
    let slice = trace_slice(reader, &mut fields, duration);
    let optional = match fields.optional("optional") {
        Some(node) => reader.boolean(node, &format!("{PATH}.optional")),
        None => Some(false),
    };
    let file = file_node.and_then(|node| {
        let named = files::resolve(reader.file, reader.text(node, &format!("{PATH}.file"), "arrivals.csv")?);
        if optional == Some(true) && !named.exists() {
            return Some(named);
        }
        files::file(reader, node, &format!("{PATH}.file"), "arrivals.csv")
    });
    fields.finish(reader);
    let (from, to) = slice?;
    let trace = Trace { file: file?, format: format?, from, to, optional: optional? };
    if let Some(duration) = duration
        && trace.file.exists()
        && let Err(error) = trace::check(&trace, duration)
    {
        reader.faults.push(Fault {
            file: error.file,
            line: u32::try_from(error.line).unwrap_or(u32::MAX),
            column: 1,
            message: error.message,
            hint: error.hint,
        });
        return None;
    }
    Some(trace)
}

/// The slice of the trace: it counts from the trace's start and lasts no longer than the scenario.
fn trace_slice(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    duration: Option<Duration>,
) -> Option<(Duration, Option<Duration>)> {
    let from_path = fields.path("from");
    let from = match fields.optional("from") {
        Some(node) => reader.duration(node, &from_path),
        None => Some(Duration::ZERO),
    };
    let to_path = fields.path("to");
    let Some(node) = fields.optional("to") else { return Some((from?, None)) };
    let (from, to) = (from?, reader.positive_duration(node, &to_path)?);
    if to <= from {
        reader.fault(
            node.place,
            format!("{to_path} ({to}) is not after from ({from})"),
            "write a slice that lasts, from before to",
        );
        return None;
    }
    let length = Duration::from_ns(to.as_ns() - from.as_ns());
    if let Some(duration) = duration
        && length > duration
    {
        reader.fault(
            node.place,
            format!("the slice of the trace lasts {length}, longer than the scenario"),
            format!("the scenario lasts {duration}; shorten the slice or write duration: {length}"),
        );
        return None;
    }
    Some((from, Some(to)))
}
