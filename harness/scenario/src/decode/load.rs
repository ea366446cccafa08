//! `spec.load`: one load or several, each with its target, what is sent and when.

use super::arrivals::arrivals;
use super::files;
use crate::manifests::Manifests;
use crate::quantity::Duration;
use crate::reader::Reader;
use crate::scenario::{Arrivals, Broker, DEFAULT_TIMEOUT, Load, Protocol, Queue, Retries, RetryOn};
use crate::suggest;
use crate::yaml::{Node, Place, Value};

pub(super) fn loads(
    reader: &mut Reader<'_>,
    node: &Node,
    duration: Option<Duration>,
    manifests: &Manifests,
) -> Option<Vec<Load>> {
    if !matches!(node.value, Value::List(_)) {
        return load(reader, node, "spec.load", duration, manifests).map(|load| vec![load]);
    }
    let example = "{target: digits, requests: requests.jsonl, arrivals: …}";
    let mut seen: Vec<(String, u32)> = Vec::new();
    reader.items(node, "spec.load", example, |reader, node, path| {
        let load = load(reader, node, path, duration, manifests)?;
        if let Some((_, line)) = seen.iter().find(|(target, _)| *target == load.target) {
            reader.fault(
                node.place,
                format!("{path} has the target \"{}\" of another load", load.target),
                format!("the load on line {line} has it already; keep one of them"),
            );
            return None;
        }
        seen.push((load.target.clone(), node.place.line));
        Some(load)
    })
}

fn load(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
    manifests: &Manifests,
) -> Option<Load> {
    let mut fields = reader.fields(node, path)?;
    let target_node = fields.optional("target");
    let protocol = fields.or(reader, "protocol", Protocol::V1, |reader, node, path| {
        reader.choice(node, path, &[("v1", Protocol::V1), ("v2", Protocol::V2)])
    });
    let requests = fields.need(reader, "requests", "requests: requests.jsonl", |reader, node, path| {
        files::file(reader, node, path, "requests.jsonl")
    });
    let timeout = fields.or(reader, "timeout", DEFAULT_TIMEOUT, Reader::positive_duration);
    let retries = fields.maybe(reader, "retries", retries);
    let queue_node = fields.optional("queue");
    let queue = fields.maybe(reader, "queue", queue);
    let matching_node = fields.optional("matching");
    let matching = fields.maybe(reader, "matching", Reader::percent);
    let arrivals =
        fields.need(reader, "arrivals", "arrivals with phases, users or a trace", |reader, node, path| {
            arrivals(reader, node, path, duration)
        });
    let target = if target_node.is_none() && fields.mistyped(&["target"]) {
        None // reported as an unknown key
    } else {
        target(reader, target_node, path, fields.place(), manifests)
    };
    fields.finish(reader);
    let (retries, queue, matching, arrivals) = (retries?, queue?, matching?, arrivals?);
    if let (Some(node), Some(_)) = (matching_node, &queue) {
        reader.fault(
            node.place,
            format!("{path}: matching does not go with a queue"),
            "leave it out: a broker's messages have no headers that a gateway could match",
        );
        return None;
    }
    if let Some(node) = queue_node {
        let problem = match (&retries, &arrivals) {
            (Some(_), _) => Some((
                "retries do not go with a queue",
                "leave them out: the broker delivers a message again, see queue.deliveries",
            )),
            (None, Arrivals::Users { .. }) => Some((
                "users do not go with a queue",
                "write phases or a trace: whoever sends a message does not wait for its answer",
            )),
            (None, _) => None,
        };
        if let Some((message, hint)) = problem {
            reader.fault(node.place, format!("{path}: {message}"), hint);
            return None;
        }
    }
    Some(Load {
        target: target?,
        protocol: protocol?,
        requests: requests?,
        timeout: timeout?,
        retries,
        queue,
        matching,
        arrivals,
    })
}

fn target(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    path: &str,
    load: Place,
    manifests: &Manifests,
) -> Option<String> {
    if let Some(node) = node {
        return service(reader, node, &format!("{path}.target"), manifests).map(str::to_owned);
    }
    match manifests.names_of("InferenceService").as_slice() {
        [only] if manifests.complete() => Some((*only).to_owned()),
        _ if !manifests.complete() => None, // the manifests' own faults come first
        [] => {
            reader.fault(load, "the manifests hold no InferenceService", "add one to spec.manifests");
            None
        }
        several => {
            let hint = format!("write target: and one of {}", several.join(", "));
            reader.fault(
                load,
                format!("{path}.target is missing: there are several InferenceServices"),
                hint,
            );
            None
        }
    }
}

/// The name of an InferenceService that the manifests hold.
pub(super) fn service<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    path: &str,
    manifests: &Manifests,
) -> Option<&'n str> {
    let name = reader.text(node, path, "digits")?;
    let services = manifests.names_of("InferenceService");
    if !manifests.complete() || services.contains(&name) {
        return Some(name);
    }
    let message = format!("{path}: no InferenceService is called \"{}\"", name.escape_debug());
    let hint = if services.is_empty() {
        "the manifests hold no InferenceService; add one".to_owned()
    } else {
        suggest::hint(name, "InferenceServices", services.iter().copied())
    };
    reader.fault(node.place, message, hint);
    None
}

fn retries(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Retries> {
    let default = Retries::default();
    let mut fields = reader.fields(node, path)?;
    let attempts = fields
        .or(reader, "attempts", default.attempts, |reader, node, path| reader.count(node, path, 1..=100));
    let backoff = fields.or(reader, "backoff", default.backoff, Reader::duration);
    let factor = fields
        .or(reader, "factor", default.factor, |reader, node, path| reader.number_in(node, path, 1.0..=100.0));
    let most_node = fields.optional("most");
    let most = fields.maybe(reader, "most", Reader::positive_duration);
    let jitter = fields.or(reader, "jitter", default.jitter, Reader::percent);
    let on = fields.or(reader, "on", default.on, retry_on);
    fields.finish(reader);
    let (backoff, most) = (backoff?, most?);
    if let (Some(most), Some(node)) = (most, most_node)
        && most < backoff
    {
        reader.fault(
            node.place,
            format!("{path}.most ({most}) is shorter than the first wait ({backoff})"),
            "write the longest wait between two tries, at least the backoff",
        );
        return None;
    }
    let most = most.unwrap_or(default.most.max(backoff));
    Some(Retries { attempts: attempts?, backoff, factor: factor?, most, jitter: jitter?, on: on? })
}

fn retry_on(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Vec<RetryOn>> {
    let mut on = reader.items(node, path, "503", |reader, node, path| {
        let failure = match &node.value {
            Value::Whole(status) => {
                u16::try_from(*status).ok().filter(|status| (400..600).contains(status)).map(RetryOn::Status)
            }
            Value::Text(text) if text == "timeout" => Some(RetryOn::Timeout),
            _ => None,
        };
        if failure.is_none() {
            reader.fault(
                node.place,
                format!("{path} is {}, not a failure that can be tried again", node.describe()),
                "write an HTTP status from 400 to 599, such as 503, or timeout",
            );
        }
        failure
    })?;
    on.sort_unstable();
    on.dedup();
    Some(on)
}

fn queue(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Queue> {
    let default = Queue::default();
    let mut fields = reader.fields(node, path)?;
    let broker = fields.need(reader, "broker", "broker: rabbitmq", |reader, node, path| {
        reader.choice(node, path, &[("rabbitmq", Broker::Rabbitmq), ("kafka", Broker::Kafka)])
    });
    let partitions_node = fields.optional("partitions");
    let partitions = fields.or(reader, "partitions", default.partitions, |reader, node, path| {
        reader.count(node, path, 1..=100_000)
    });
    let prefetch = fields
        .or(reader, "prefetch", default.prefetch, |reader, node, path| reader.count(node, path, 1..=65_535));
    let visibility_timeout =
        fields.or(reader, "visibility-timeout", default.visibility_timeout, Reader::positive_duration);
    let deliveries = fields.or(reader, "deliveries", default.deliveries, |reader, node, path| {
        reader.count(node, path, 1..=1_000)
    });
    fields.finish(reader);
    let (broker, partitions) = (broker?, partitions?);
    if let Some(node) = partitions_node
        && broker == Broker::Rabbitmq
        && partitions != 1
    {
        reader.fault(
            node.place,
            format!("{path}.partitions goes with kafka only"),
            "leave it out: a RabbitMQ queue has no partitions",
        );
        return None;
    }
    Some(Queue {
        broker,
        partitions,
        prefetch: prefetch?,
        visibility_timeout: visibility_timeout?,
        deliveries: deliveries?,
    })
}
