//! `environment.pod-start`: each part a time, or what the time comes from.

use super::server::positive_bytes;
use crate::reader::Reader;
use crate::scenario::{ModelLoad, PodStart, Probe, Transfer};
use crate::yaml::{Node, Value};

pub(super) fn pod_start(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<PodStart> {
    let default = PodStart::default();
    let mut fields = reader.fields(node, path)?;
    let schedule = fields.or(reader, "schedule", default.schedule, Reader::duration);
    let image_pull = fields.or(reader, "image-pull", default.image_pull, transfer);
    let download = fields.or(reader, "download", default.download, transfer);
    let load = fields.or(reader, "load", default.load, load);
    let probe = fields.or(reader, "probe", default.probe, probe);
    let propagate = fields.or(reader, "propagate", default.propagate, Reader::duration);
    fields.finish(reader);
    Some(PodStart {
        schedule: schedule?,
        image_pull: image_pull?,
        download: download?,
        load: load?,
        probe: probe?,
        propagate: propagate?,
    })
}

fn transfer(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Transfer> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.duration(node, path).map(Transfer::Takes);
    }
    let mut fields = reader.fields(node, path)?;
    let size = fields.need(reader, "size", "size: 7GiB", positive_bytes);
    fields.finish(reader);
    size.map(Transfer::Size)
}

fn load(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<ModelLoad> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.duration(node, path).map(ModelLoad::Takes);
    }
    let mut fields = reader.fields(node, path)?;
    let rate = fields
        .need(reader, "rate", "rate: 1GiB/s", |reader, node, path| reader.quantity(node, path, "1GiB/s"));
    fields.finish(reader);
    rate.map(ModelLoad::Rate)
}

fn probe(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Probe> {
    match &node.value {
        Value::Text(text) if text == "period" => Some(Probe::Period),
        // A word is hardly a mistyped duration.
        Value::Text(text) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            reader.choice(node, path, &[("period", Probe::Period)])
        }
        _ => reader.duration(node, path).map(Probe::Takes),
    }
}
