//! `spec.faults`: what breaks on the way.

use super::load::service;
use crate::manifests::Manifests;
use crate::quantity::Duration;
use crate::reader::{Fields, Reader};
use crate::scenario::{Disturbance, DisturbanceKind, Environment, When};
use crate::suggest;
use crate::yaml::Node;

/// The most pods or nodes that break at once.
const MAX_COUNT: u32 = 10_000;

/// The strongest slow-down of a storage service.
const MAX_FACTOR: f64 = 1e6;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    PodCrash,
    CrashLoop,
    NodeLoss,
    SlowStorage,
    StorageFailure,
    MetricsGap,
    ApiOutage,
    ClockPhase,
}

const KINDS: [(&str, Kind); 8] = [
    ("pod-crash", Kind::PodCrash),
    ("crash-loop", Kind::CrashLoop),
    ("node-loss", Kind::NodeLoss),
    ("slow-storage", Kind::SlowStorage),
    ("storage-failure", Kind::StorageFailure),
    ("metrics-gap", Kind::MetricsGap),
    ("api-outage", Kind::ApiOutage),
    ("clock-phase", Kind::ClockPhase),
];

/// The keys of each kind besides `at`, `every` and `fault`.
const PARAMETERS: [(&str, &[Kind]); 7] = [
    ("target", &[Kind::PodCrash, Kind::CrashLoop]),
    ("count", &[Kind::PodCrash, Kind::NodeLoss]),
    (
        "for",
        &[
            Kind::CrashLoop,
            Kind::NodeLoss,
            Kind::SlowStorage,
            Kind::StorageFailure,
            Kind::MetricsGap,
            Kind::ApiOutage,
        ],
    ),
    ("pool", &[Kind::NodeLoss]),
    ("prefix", &[Kind::SlowStorage, Kind::StorageFailure]),
    ("factor", &[Kind::SlowStorage]),
    ("shift", &[Kind::ClockPhase]),
];

/// What a fault may refer to.
pub(super) struct Surroundings<'a> {
    pub(super) duration: Option<Duration>,
    pub(super) manifests: &'a Manifests,
    /// `None` when it could not be read.
    pub(super) environment: Option<&'a Environment>,
}

pub(super) fn disturbances(
    reader: &mut Reader<'_>,
    node: &Node,
    around: &Surroundings<'_>,
) -> Option<Vec<Disturbance>> {
    let example = "{at: 5m, fault: pod-crash, count: 1}";
    reader.items(node, "spec.faults", example, |reader, node, path| disturbance(reader, node, path, around))
}

fn disturbance(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    around: &Surroundings<'_>,
) -> Option<Disturbance> {
    let mut fields = reader.fields(node, path)?;
    let when = when(reader, &mut fields, node, path, around.duration);
    let kind = fields
        .need(reader, "fault", "fault: pod-crash", |reader, node, path| reader.choice(node, path, &KINDS));
    for (key, _) in PARAMETERS {
        fields.optional(key);
    }
    let kind = kind.and_then(|kind| {
        let fits = no_strangers(reader, &mut fields, kind);
        read(reader, &mut fields, node, kind, around).filter(|_| fits)
    });
    fields.finish(reader);
    Some(Disturbance { when: when?, kind: kind?, line: node.place.line })
}

fn when(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
) -> Option<When> {
    let (at_node, every_node) = (fields.optional("at"), fields.optional("every"));
    let at = fields.maybe(reader, "at", |reader, node, path| reader.before_end(node, path, duration));
    let every = fields.maybe(reader, "every", Reader::positive_duration);
    match (at_node, every_node) {
        (Some(_), Some(every)) => {
            reader.fault(
                every.place,
                format!("{path} has both at and every"),
                "write at for a fault that happens once, every for one that happens again and again",
            );
            None
        }
        (None, None) if fields.mistyped(&["at", "every"]) => None,
        (None, None) => {
            reader.fault(
                node.place,
                format!("{path} does not say when"),
                "add at: 5m for a fault that happens once, or every: 10m (on average) for one that comes again",
            );
            None
        }
        _ => at?.map(When::At).or(every?.map(When::Every)),
    }
}

/// Whether there is no key of another kind.
fn no_strangers(reader: &mut Reader<'_>, fields: &mut Fields<'_>, kind: Kind) -> bool {
    let name_of = |wanted: Kind| KINDS.iter().find(|(_, kind)| *kind == wanted).map_or("", |(name, _)| *name);
    let mut sound = true;
    for (key, kinds) in PARAMETERS {
        let Some(node) = fields.optional(key) else { continue };
        if kinds.contains(&kind) {
            continue;
        }
        let names: Vec<&str> = kinds.iter().map(|kind| name_of(*kind)).collect();
        reader.fault(
            node.place,
            format!("{} does not go with {}", fields.path(key), name_of(kind)),
            format!("leave it out; it goes with {}", names.join(", ")),
        );
        sound = false;
    }
    sound
}

fn read(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    node: &Node,
    kind: Kind,
    around: &Surroundings<'_>,
) -> Option<DisturbanceKind> {
    Some(match kind {
        Kind::PodCrash => {
            let (target, count) = (target(reader, fields, node, around), count(reader, fields));
            DisturbanceKind::PodCrash { target: target?, count: count? }
        }
        Kind::CrashLoop => {
            let (target, length) = (target(reader, fields, node, around), length(reader, fields));
            DisturbanceKind::CrashLoop { target: target?, length: length? }
        }
        Kind::NodeLoss => {
            let (pool, count) = (pool(reader, fields, node, around), count(reader, fields));
            let length = fields.maybe(reader, "for", Reader::positive_duration);
            DisturbanceKind::NodeLoss { pool: pool?, count: count?, length: length? }
        }
        Kind::SlowStorage => {
            let (prefix, length) = (prefix(reader, fields), length(reader, fields));
            let factor = fields.need(reader, "factor", "factor: 10", |reader, node, path| {
                let factor = reader.number(node, path)?;
                if factor > 1.0 && factor <= MAX_FACTOR {
                    return Some(factor);
                }
                reader.fault(
                    node.place,
                    format!("{path} cannot be {factor}"),
                    "write what the bandwidth is divided by, above 1 and up to 1000000, such as 10",
                );
                None
            });
            DisturbanceKind::SlowStorage { prefix: prefix?, factor: factor?, length: length? }
        }
        Kind::StorageFailure => {
            let (prefix, length) = (prefix(reader, fields), length(reader, fields));
            DisturbanceKind::StorageFailure { prefix: prefix?, length: length? }
        }
        Kind::MetricsGap => DisturbanceKind::MetricsGap { length: length(reader, fields)? },
        Kind::ApiOutage => DisturbanceKind::ApiOutage { length: length(reader, fields)? },
        Kind::ClockPhase => {
            let shift = fields.need(reader, "shift", "shift: 7s", Reader::positive_duration);
            DisturbanceKind::ClockPhase { shift: shift? }
        }
    })
}

fn length(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Duration> {
    fields.need(reader, "for", "for: 60s", Reader::positive_duration)
}

fn count(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<u32> {
    fields.or(reader, "count", 1, |reader, node, path| reader.count(node, path, 1..=MAX_COUNT))
}

fn prefix(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<String> {
    fields.need(reader, "prefix", "prefix: \"s3://\"", Reader::storage_prefix)
}

fn target(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    node: &Node,
    around: &Surroundings<'_>,
) -> Option<String> {
    let given = fields.maybe(reader, "target", |reader, node, path| {
        service(reader, node, path, around.manifests).map(str::to_owned)
    })?;
    if given.is_some() || fields.mistyped(&["target"]) {
        return given;
    }
    match around.manifests.names_of("InferenceService").as_slice() {
        [only] => Some((*only).to_owned()),
        [] => None, // the load says so
        several => {
            reader.fault(
                node.place,
                format!("{} is missing: there are several InferenceServices", fields.path("target")),
                format!("write target: and one of {}", several.join(", ")),
            );
            None
        }
    }
}

fn pool(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    node: &Node,
    around: &Surroundings<'_>,
) -> Option<String> {
    let pool_node = fields.optional("pool");
    let path = fields.path("pool");
    let given = match pool_node {
        Some(node) => Some(reader.text(node, &path, "cpu")?),
        None if fields.mistyped(&["pool"]) => return None,
        None => None,
    };
    let place = pool_node.unwrap_or(node).place;
    let Some(nodes) = &around.environment?.nodes else {
        reader.fault(
            place,
            "there is no node to lose: spec.environment.nodes is missing",
            "add it with the pools of the cluster, such as pools: [{name: cpu, count: 2, cpu: 8, memory: 32GiB}]",
        );
        return None;
    };
    let names: Vec<&str> = nodes.pools.iter().map(|pool| pool.name.as_str()).collect();
    match (given, names.as_slice()) {
        (Some(name), _) if names.contains(&name) => Some(name.to_owned()),
        (Some(name), _) => {
            reader.fault(
                place,
                format!("{path}: no pool is called \"{}\"", name.escape_debug()),
                suggest::hint(name, "pools", names),
            );
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, _) => {
            reader.fault(
                place,
                format!("{path} is missing: there are several pools"),
                format!("write pool: and one of {}", names.join(", ")),
            );
            None
        }
    }
}
