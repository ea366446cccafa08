//! Distributions of times: `{distribution: lognormal, mean: 20ms, cv: 0.4}`.

use super::files;
use crate::reader::{Fields, Reader};
use crate::recorded;
use crate::scenario::Distribution;
use crate::yaml::Node;

/// The widest spread that is accepted.
const MAX_CV: f64 = 10.0;

/// The lightest tail of a Pareto distribution that is accepted; beyond it there is hardly any spread.
const MAX_SHAPE: f64 = 1_000.0;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Constant,
    Exponential,
    Lognormal,
    Gamma,
    Pareto,
    Empirical,
}

const KINDS: [(&str, Kind); 6] = [
    ("constant", Kind::Constant),
    ("exponential", Kind::Exponential),
    ("lognormal", Kind::Lognormal),
    ("gamma", Kind::Gamma),
    ("pareto", Kind::Pareto),
    ("empirical", Kind::Empirical),
];

/// The parameters of each kind.
const PARAMETERS: [(&str, &[Kind]); 5] = [
    ("mean", &[Kind::Constant, Kind::Exponential, Kind::Lognormal, Kind::Gamma]),
    ("cv", &[Kind::Lognormal, Kind::Gamma]),
    ("shape", &[Kind::Pareto]),
    ("minimum", &[Kind::Pareto]),
    ("recording", &[Kind::Empirical]),
];

pub(super) fn distribution(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Distribution> {
    let mut fields = reader.fields(node, path)?;
    let kind = fields.need(reader, "distribution", "distribution: lognormal", |reader, node, path| {
        reader.choice(node, path, &KINDS)
    });
    let distribution = match kind {
        Some(kind) => {
            let fits = no_strangers(reader, &mut fields, kind);
            read(reader, &mut fields, kind).filter(|_| fits)
        }
        None => {
            for (key, _) in PARAMETERS {
                fields.optional(key);
            }
            None
        }
    };
    fields.finish(reader);
    distribution
}

/// Whether there is no parameter of another kind.
fn no_strangers(reader: &mut Reader<'_>, fields: &mut Fields<'_>, kind: Kind) -> bool {
    let mut sound = true;
    for (key, kinds) in PARAMETERS {
        let Some(node) = fields.optional(key) else { continue };
        if kinds.contains(&kind) {
            continue;
        }
        let names: Vec<&str> =
            KINDS.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(name, _)| *name).collect();
        reader.fault(
            node.place,
            format!("{} goes with {} only", fields.path(key), listed(&names)),
            format!("leave it out or write distribution: {}", names[0]),
        );
        sound = false;
    }
    sound
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, kind: Kind) -> Option<Distribution> {
    match kind {
        Kind::Constant => mean(reader, fields).map(|mean| Distribution::Constant { mean }),
        Kind::Exponential => mean(reader, fields).map(|mean| Distribution::Exponential { mean }),
        Kind::Lognormal => {
            let (mean, cv) = (mean(reader, fields), cv(reader, fields));
            Some(Distribution::Lognormal { mean: mean?, cv: cv? })
        }
        Kind::Gamma => {
            let (mean, cv) = (mean(reader, fields), cv(reader, fields));
            Some(Distribution::Gamma { mean: mean?, cv: cv? })
        }
        Kind::Pareto => {
            let minimum = fields.need(reader, "minimum", "minimum: 1ms", Reader::positive_duration);
            let shape = fields.need(reader, "shape", "shape: 2.5", shape);
            Some(Distribution::Pareto { minimum: minimum?, shape: shape? })
        }
        Kind::Empirical => {
            let values =
                fields.need(reader, "recording", "recording: latencies.txt", |reader, node, path| {
                    let file = files::file(reader, node, path, "latencies.txt")?;
                    match recorded::times(&file) {
                        Ok(values) => Some(values),
                        Err(fault) => {
                            reader.faults.push(fault);
                            None
                        }
                    }
                });
            Some(Distribution::Empirical { values: values? })
        }
    }
}

fn mean(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<crate::quantity::Duration> {
    fields.need(reader, "mean", "mean: 1ms", Reader::positive_duration)
}

fn cv(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<f64> {
    fields.need(reader, "cv", "cv: 0.2", |reader, node, path| {
        let cv = reader.number(node, path)?;
        if cv > 0.0 && cv <= MAX_CV {
            return Some(cv);
        }
        reader.fault(
            node.place,
            format!("{path} cannot be {cv}"),
            "write the standard deviation divided by the mean, above 0 and up to 10, such as 0.2",
        );
        None
    })
}

fn shape(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<f64> {
    let shape = reader.number(node, path)?;
    if shape > 1.0 && shape <= MAX_SHAPE {
        return Some(shape);
    }
    let message = if shape > 0.0 && shape <= 1.0 {
        format!("{path} cannot be {shape}: the distribution would have no mean")
    } else {
        format!("{path} cannot be {shape}")
    };
    reader.fault(
        node.place,
        message,
        "write the exponent of the tail, above 1 and up to 1000, such as 2.5 (above 2 it has a variance too)",
    );
    None
}
