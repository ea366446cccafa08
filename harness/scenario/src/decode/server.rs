//! `environment.server` and `environment.models`: how servers work, and what versions do differently.

use super::distribution::distribution;
use crate::quantity::{Bytes, Duration, Rate};
use crate::reader::{Fields, Reader};
use crate::scenario::{Batching, Cores, Llm, MemoryUse, ModelProfile, Server, WarmUp};
use crate::yaml::{Node, Value};

/// More cores than any machine has.
const MAX_CORES: f64 = 10_000.0;

/// The most requests at once in a pod.
const MAX_SLOTS: u32 = 1_000_000;

/// The longest text of a request, in tokens.
const MAX_TOKENS: u32 = 100_000_000;

/// How much slower the first requests may be.
const MAX_WARM_UP: f64 = 10_000.0;

/// A server; keys that are left out are those of `base`.
pub(super) fn server(reader: &mut Reader<'_>, node: &Node, path: &str, base: &Server) -> Option<Server> {
    let mut fields = reader.fields(node, path)?;
    let cores = fields.or(reader, "cores", base.cores, cores);
    let workers =
        fields.maybe(reader, "workers", |reader, node, path| reader.count(node, path, 1..=MAX_SLOTS));
    let batching_node = fields.optional("batching");
    let batching = fields.maybe(reader, "batching", batching);
    let llm_node = fields.optional("llm");
    let llm = fields.maybe(reader, "llm", llm);
    let warm_up = fields.maybe(reader, "warm-up", warm_up);
    fields.finish(reader);
    if let (Some(_), Some(node)) = (llm_node, batching_node) {
        reader.fault(
            node.place,
            format!("{path} has both batching and llm"),
            "keep one of them: an llm batches its sequences itself, see slots and slowdown",
        );
        return None;
    }
    let (batching, llm) = (batching?, llm?);
    // One kind of server replaces the other.
    let (batching, llm) = match (batching, llm) {
        (None, None) => (base.batching, base.llm),
        given => given,
    };
    Some(Server {
        cores: cores?,
        workers: workers?.or(base.workers),
        batching,
        llm,
        warm_up: warm_up?.or(base.warm_up),
    })
}

fn cores(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Cores> {
    let cores = match &node.value {
        Value::Text(text) if text == "manifest" => return Some(Cores::Manifest),
        Value::Whole(cores) => Some(*cores as f64),
        Value::Float(cores) => Some(*cores),
        _ => None,
    };
    match cores {
        Some(cores) if cores > 0.0 && cores <= MAX_CORES => Some(Cores::Number(cores)),
        _ => {
            reader.fault(
                node.place,
                format!("{path} cannot be {}", node.describe()),
                "write how many cores the requests of a pod share, such as 2 or 0.5, or manifest for its CPU \
                 limit",
            );
            None
        }
    }
}

fn batching(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Batching> {
    let mut fields = reader.fields(node, path)?;
    let size =
        fields.need(reader, "size", "size: 8", |reader, node, path| reader.count(node, path, 1..=65_536));
    let delay = fields.or(reader, "delay", Duration::ZERO, Reader::duration);
    let base = fields.or(reader, "base", Duration::ZERO, Reader::duration);
    let per_item = fields.or(reader, "per-item", Duration::ZERO, Reader::duration);
    fields.finish(reader);
    let (base, per_item) = (base?, per_item?);
    if base == Duration::ZERO && per_item == Duration::ZERO {
        reader.fault(
            node.place,
            format!("{path}: a batch takes no time"),
            "add base: 4ms for each batch, per-item: 1ms for each request in it, or both",
        );
        return None;
    }
    Some(Batching { size: size?, delay: delay?, base, per_item })
}

fn llm(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Llm> {
    let default = Llm::default();
    let mut fields = reader.fields(node, path)?;
    let prefill = fields.need(reader, "prefill", "prefill: 8000/s", Reader::positive_rate);
    let decode = fields.need(reader, "decode", "decode: 60/s", Reader::positive_rate);
    let slots = fields
        .or(reader, "slots", default.slots, |reader, node, path| reader.count(node, path, 1..=MAX_SLOTS));
    let slowdown = fields.or(reader, "slowdown", default.slowdown, Reader::percent);
    let kv_node = fields.optional("kv-tokens");
    let kv_tokens =
        fields.maybe(reader, "kv-tokens", |reader, node, path| match reader.whole(node, path)? {
            0 => {
                reader.fault(node.place, format!("{path} is zero"), "write how many tokens the cache holds");
                None
            }
            tokens => Some(tokens),
        });
    let context = fields.or(reader, "context", default.context, |reader, node, path| {
        reader.count(node, path, 0..=MAX_TOKENS)
    });
    let generated = fields.or(reader, "generated", default.generated, |reader, node, path| {
        reader.count(node, path, 1..=MAX_TOKENS)
    });
    fields.finish(reader);
    let (kv_tokens, context, generated) = (kv_tokens?, context?, generated?);
    let one = u64::from(context) + u64::from(generated);
    if let (Some(tokens), Some(node)) = (kv_tokens, kv_node)
        && tokens < one
    {
        reader.fault(
            node.place,
            format!("{path}.kv-tokens ({tokens}) cannot hold one request of {context} + {generated} tokens"),
            format!("write at least {one}, or smaller context and generated"),
        );
        return None;
    }
    let (prefill, decode): (Rate, Rate) = (prefill?, decode?);
    Some(Llm { prefill, decode, slots: slots?, slowdown: slowdown?, kv_tokens, context, generated })
}

fn warm_up(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<WarmUp> {
    let mut fields = reader.fields(node, path)?;
    let requests = fields.need(reader, "requests", "requests: 3", |reader, node, path| {
        reader.count(node, path, 1..=MAX_SLOTS)
    });
    let factor = fields.need(reader, "factor", "factor: 4", |reader, node, path| {
        reader.number_in(node, path, 1.0..=MAX_WARM_UP)
    });
    fields.finish(reader);
    Some(WarmUp { requests: requests?, factor: factor? })
}

pub(super) fn models(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    base: &Server,
) -> Option<Vec<ModelProfile>> {
    let mut seen: Vec<(String, u32)> = Vec::new();
    reader.items(node, path, "{match: \"s3://models/digits/v2\", error-rate: 2%}", |reader, node, path| {
        let model = model(reader, node, path, base)?;
        if let Some((prefix, line)) =
            seen.iter().find(|(prefix, _)| model.prefix.starts_with(prefix.as_str()))
        {
            reader.fault(
                node.get("match").map_or(node.place, |node| node.place),
                format!("{path} is never used: \"{}\" on line {line} matches first", prefix.escape_debug()),
                "write the longer prefix first",
            );
            return None;
        }
        seen.push((model.prefix.clone(), node.place.line));
        Some(model)
    })
}

fn model(reader: &mut Reader<'_>, node: &Node, path: &str, base: &Server) -> Option<ModelProfile> {
    let mut fields = reader.fields(node, path)?;
    let prefix = fields.need(reader, "match", "match: \"s3://models/digits/v2\"", Reader::storage_prefix);
    let service_time = fields.maybe(reader, "service-time", distribution);
    let error_rate = fields.or(reader, "error-rate", 0.0, Reader::percent);
    let different = fields.or(reader, "different", 0.0, Reader::percent);
    let size = fields.maybe(reader, "size", positive_bytes);
    let memory = fields.maybe(reader, "memory", memory_use);
    let gpu_memory = fields.maybe(reader, "gpu-memory", memory_use);
    let server = fields.maybe(reader, "server", |reader, node, path| server(reader, node, path, base));
    fields.finish(reader);
    Some(ModelProfile {
        prefix: prefix?,
        service_time: service_time?,
        error_rate: error_rate?,
        different: different?,
        size: size?,
        memory: memory?,
        gpu_memory: gpu_memory?,
        server: server?,
    })
}

fn memory_use(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<MemoryUse> {
    let mut fields: Fields<'_> = reader.fields(node, path)?;
    let base = fields.need(reader, "base", "base: 2GiB", bytes);
    let per_request = fields.or(reader, "per-request", Bytes::ZERO, bytes);
    fields.finish(reader);
    Some(MemoryUse { base: base?, per_request: per_request? })
}

pub(super) fn bytes(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Bytes> {
    reader.quantity(node, path, "7GiB or 500MB")
}

pub(super) fn positive_bytes(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Bytes> {
    let bytes = bytes(reader, node, path)?;
    if bytes == Bytes::ZERO {
        reader.fault(node.place, format!("{path} is zero"), "write a size above zero, such as 7GiB");
        return None;
    }
    Some(bytes)
}
