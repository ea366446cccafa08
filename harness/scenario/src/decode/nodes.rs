//! `environment.nodes` and `environment.bandwidth`: machines, and what moves to them.

use std::collections::BTreeMap;

use super::server::{bytes, positive_bytes};
use crate::quantity::{Bandwidth, Bytes, Price};
use crate::reader::Reader;
use crate::scenario::{NodeAutoscaler, Nodes, Pool, Scheduling, SharedBandwidth};
use crate::yaml::{Node, Value};

/// The most nodes of a pool; Kubernetes supports half as many in a cluster.
const MAX_NODES: u32 = 10_000;

/// The most GPUs of a node.
const MAX_GPUS: u32 = 1_024;

/// More thousandths of a core than any machine has.
const MAX_CPU_MILLI: f64 = 1e7;

pub(super) fn nodes(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Nodes> {
    let mut fields = reader.fields(node, path)?;
    let autoscaler_given = fields.optional("autoscaler").is_some();
    let example = "{name: cpu, count: 2, cpu: 8, memory: 32GiB}";
    let mut seen: Vec<String> = Vec::new();
    let pools = fields.need(reader, "pools", &format!("pools: [{example}]"), |reader, node, path| {
        reader.items(node, path, example, |reader, node, path| {
            let pool = pool(reader, node, path, autoscaler_given)?;
            if seen.contains(&pool.name) {
                reader.fault(
                    node.place,
                    format!("{path} is called \"{}\" like another pool", pool.name.escape_debug()),
                    "give each pool a name of its own",
                );
                return None;
            }
            seen.push(pool.name.clone());
            Some(pool)
        })
    });
    let scheduling = fields.or(reader, "scheduling", Scheduling::default(), |reader, node, path| {
        reader.choice(node, path, &[("spread", Scheduling::Spread), ("pack", Scheduling::Pack)])
    });
    let autoscaler = fields.maybe(reader, "autoscaler", autoscaler);
    let grace =
        fields.or(reader, "monitor-grace-period", Nodes::MONITOR_GRACE_PERIOD, Reader::positive_duration);
    let toleration =
        fields.or(reader, "unreachable-toleration", Nodes::UNREACHABLE_TOLERATION, Reader::duration);
    fields.finish(reader);
    let pools = pools?;
    if pools.iter().all(|pool| pool.most == 0) {
        reader.fault(
            node.place,
            format!("{path} has no node and never gets one"),
            "give a pool a count above 0, or an autoscaler and a most above 0",
        );
        return None;
    }
    Some(Nodes {
        pools,
        scheduling: scheduling?,
        autoscaler: autoscaler?,
        monitor_grace_period: grace?,
        unreachable_toleration: toleration?,
    })
}

fn pool(reader: &mut Reader<'_>, node: &Node, path: &str, autoscaler: bool) -> Option<Pool> {
    let mut fields = reader.fields(node, path)?;
    let how_many = |reader: &mut Reader<'_>, node: &Node, path: &str| reader.count(node, path, 0..=MAX_NODES);
    let name = fields.need(reader, "name", "name: cpu", |reader, node, path| {
        reader.text(node, path, "cpu").map(str::to_owned)
    });
    let count_node = fields.optional("count");
    let count = fields.need(reader, "count", "count: 2", how_many);
    let least_node = fields.optional("least");
    let least = fields.maybe(reader, "least", how_many);
    let most_node = fields.optional("most");
    let most = fields.maybe(reader, "most", how_many);
    let cpu = fields.need(reader, "cpu", "cpu: 8", cpu_milli);
    let memory = fields.need(reader, "memory", "memory: 32GiB", positive_bytes);
    let gpus = fields.or(reader, "gpus", 0, |reader, node, path| reader.count(node, path, 0..=MAX_GPUS));
    let gpu_memory_node = fields.optional("gpu-memory");
    let gpu_memory = fields.or(reader, "gpu-memory", Bytes::ZERO, bytes);
    let price =
        fields.or(reader, "price", Price::ZERO, |reader, node, path| reader.quantity(node, path, "0.40/h"));
    let bandwidth = fields.maybe(reader, "bandwidth", speed);
    let zone = fields.or(reader, "zone", String::new(), |reader, node, path| {
        reader.text(node, path, "a").map(str::to_owned)
    });
    fields.finish(reader);

    let (count, least, most) = (count?, least?, most?);
    let mut sound = true;
    let (low, high) = (least.unwrap_or(count), most.unwrap_or(count));
    if low > count || count > high {
        let wrong = if low > count { least_node } else { most_node };
        reader.fault(
            wrong.or(count_node).map_or(node.place, |node| node.place),
            format!("{path}: least ({low}) <= count ({count}) <= most ({high}) does not hold"),
            "write the count at the start between the fewest and the most nodes",
        );
        sound = false;
    } else if !autoscaler && (low != count || high != count) {
        reader.fault(
            most_node.or(least_node).map_or(node.place, |node| node.place),
            format!("{path} has room to scale, but no autoscaler"),
            "add autoscaler: {} to the nodes, or leave least and most out",
        );
        sound = false;
    }
    let (gpus, gpu_memory) = (gpus?, gpu_memory?);
    if (gpus == 0) != (gpu_memory == Bytes::ZERO) {
        reader.fault(
            gpu_memory_node.map_or(node.place, |node| node.place),
            format!("{path} has {gpus} GPUs with {gpu_memory} of memory each"),
            "write both gpus and gpu-memory (of each GPU), or none of them",
        );
        sound = false;
    }
    let pool = Pool {
        name: name?,
        count,
        least: low,
        most: high,
        cpu_milli: cpu?,
        memory: memory?,
        gpus,
        gpu_memory,
        price: price?,
        bandwidth: bandwidth?,
        zone: zone?,
    };
    sound.then_some(pool)
}

/// Cores as a number, or as Kubernetes writes thousandths of them.
fn cpu_milli(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<u64> {
    let milli = match &node.value {
        Value::Whole(cores) => Some(*cores as f64 * 1_000.0),
        Value::Float(cores) => Some((cores * 1_000.0).round()),
        Value::Text(text) => {
            text.strip_suffix('m').and_then(|milli| milli.parse::<u32>().ok()).map(f64::from)
        }
        _ => None,
    };
    match milli {
        Some(milli) if (1.0..=MAX_CPU_MILLI).contains(&milli) => Some(milli as u64),
        _ => {
            reader.fault(
                node.place,
                format!("{path} cannot be {}", node.describe()),
                "write a number of cores above zero, such as 8, 7.5 or 7500m",
            );
            None
        }
    }
}

fn autoscaler(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<NodeAutoscaler> {
    let default = NodeAutoscaler::default();
    let mut fields = reader.fields(node, path)?;
    let provisioning = fields.or(reader, "provisioning", default.provisioning, Reader::duration);
    let scan = fields.or(reader, "scan", default.scan, Reader::positive_duration);
    let idle = fields.or(reader, "idle", default.idle, Reader::duration);
    fields.finish(reader);
    Some(NodeAutoscaler { provisioning: provisioning?, scan: scan?, idle: idle? })
}

fn speed(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Bandwidth> {
    reader.quantity(node, path, "10Gbit/s")
}

pub(super) fn bandwidth(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<SharedBandwidth> {
    let mut fields = reader.fields(node, path)?;
    let registry = fields.maybe(reader, "registry", speed);
    let storage = fields.or(reader, "storage", BTreeMap::new(), |reader, node, path| {
        let Value::Map(entries) = &node.value else {
            reader.fault(
                node.place,
                format!("{path} is {}, not a mapping", node.describe()),
                "write a storage URI prefix and a bandwidth, such as {\"s3://\": 20Gbit/s}",
            );
            return None;
        };
        // The keys are the user's own; this finds repeated ones.
        reader.fields(node, path)?;
        let mut storage = BTreeMap::new();
        let mut sound = true;
        for entry in entries {
            let known = entry.key.contains("://");
            if !known {
                reader.fault(
                    entry.place,
                    format!("\"{}\" is not the beginning of a storage URI", entry.key.escape_debug()),
                    "write a prefix such as s3://",
                );
            }
            let path = format!("{path}[\"{}\"]", entry.key.escape_debug());
            match speed(reader, &entry.node, &path) {
                Some(speed) if known => drop(storage.insert(entry.key.clone(), speed)),
                _ => sound = false,
            }
        }
        sound.then_some(storage)
    });
    fields.finish(reader);
    Some(SharedBandwidth { registry: registry?, storage: storage? })
}
