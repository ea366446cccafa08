//! `spec.environment`: what manifests cannot say.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::kpa::{ConfigError, GlobalConfig};

use super::reader::Reader;
use crate::quantity::Duration;
use crate::scenario::{Environment, Network, PodStart, PodStop, ServiceTime};
use crate::yaml::Node;

/// The keys of Knative Serving's ConfigMap `config-autoscaler`.
const AUTOSCALER_KEYS: [&str; 20] = [
    "activator-capacity",
    "allow-zero-initial-scale",
    "container-concurrency-target-default",
    "container-concurrency-target-percentage",
    "enable-scale-to-zero",
    "initial-scale",
    "max-scale",
    "max-scale-down-rate",
    "max-scale-limit",
    "max-scale-up-rate",
    "min-scale",
    "panic-threshold-percentage",
    "panic-window-percentage",
    "pod-autoscaler-class",
    "requests-per-second-target-default",
    "scale-down-delay",
    "scale-to-zero-grace-period",
    "scale-to-zero-pod-retention-period",
    "stable-window",
    "target-burst-capacity",
];

pub(super) fn environment(reader: &mut Reader<'_>, node: &Node) -> Option<Environment> {
    let mut fields = reader.fields(node, "spec.environment")?;
    let knative = match fields.optional("knative") {
        Some(node) => knative(reader, node),
        None => Some(BTreeMap::new()),
    };
    let network = match fields.optional("network") {
        Some(node) => network(reader, node),
        None => Some(Network::default()),
    };
    let service_time = match fields.optional("service-time") {
        Some(node) => service_time(reader, node),
        None => Some(ServiceTime::default()),
    };
    let pod_start = match fields.optional("pod-start") {
        Some(node) => pod_start(reader, node),
        None => Some(PodStart::default()),
    };
    let pod_stop = match fields.optional("pod-stop") {
        Some(node) => pod_stop(reader, node),
        None => Some(PodStop::default()),
    };
    fields.finish(reader);
    Some(Environment {
        knative: knative?,
        network: network?,
        service_time: service_time?,
        pod_start: pod_start?,
        pod_stop: pod_stop?,
    })
}

fn knative(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let mut fields = reader.fields(node, "spec.environment.knative")?;
    let autoscaler = fields
        .optional("config-autoscaler")
        .map(|node| config_autoscaler(reader, node, "spec.environment.knative.config-autoscaler"));
    fields.finish(reader);
    let mut maps = BTreeMap::new();
    if let Some(data) = autoscaler {
        maps.insert("config-autoscaler".to_owned(), data?);
    }
    Some(maps)
}

fn config_autoscaler(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = reader.fields(node, path)?;
    let mut data = BTreeMap::new();
    let mut sound = true;
    for key in AUTOSCALER_KEYS {
        let Some(node) = fields.optional(key) else { continue };
        match node.scalar_text() {
            Some(text) => drop(data.insert(key.to_owned(), text)),
            None => {
                reader.fault(
                    node.place,
                    format!("{path}.{key} is {}, not a value", node.describe()),
                    "a ConfigMap holds texts and numbers only, such as 6s or 0.7",
                );
                sound = false;
            }
        }
    }
    fields.finish(reader);
    // The autoscaler stops at its first complaint; without that key it comes to the next.
    let mut usable = data.clone();
    while let Err(ConfigError { key, value, expected }) = GlobalConfig::from_config_map(&usable) {
        let place = node.get(&key).map_or(node.place, |value| value.place);
        reader.fault(
            place,
            format!("{path}.{key} cannot be \"{}\"", value.escape_debug()),
            format!("write {expected}"),
        );
        sound = false;
        if usable.remove(&key).is_none() {
            break;
        }
    }
    sound.then_some(data)
}

fn network(reader: &mut Reader<'_>, node: &Node) -> Option<Network> {
    let mut fields = reader.fields(node, "spec.environment.network")?;
    let gateway = match fields.optional("gateway") {
        Some(node) => reader.duration(node, "spec.environment.network.gateway"),
        None => Some(Network::default().gateway),
    };
    fields.finish(reader);
    Some(Network { gateway: gateway? })
}

#[derive(Clone, Copy, PartialEq)]
enum Distribution {
    Constant,
    Exponential,
    Lognormal,
}

fn service_time(reader: &mut Reader<'_>, node: &Node) -> Option<ServiceTime> {
    const PATH: &str = "spec.environment.service-time";
    let mut fields = reader.fields(node, PATH)?;
    let distribution = fields.required("distribution", "distribution: lognormal").and_then(|node| {
        reader.choice(
            node,
            &format!("{PATH}.distribution"),
            &[
                ("constant", Distribution::Constant),
                ("exponential", Distribution::Exponential),
                ("lognormal", Distribution::Lognormal),
            ],
        )
    });
    let mean = fields
        .required("mean", "mean: 1ms")
        .and_then(|node| reader.positive_duration(node, &format!("{PATH}.mean")));
    let cv_node = fields.optional("cv");
    let cv = match (cv_node, distribution) {
        (Some(node), Some(Distribution::Constant | Distribution::Exponential)) => {
            reader.fault(
                node.place,
                format!("{PATH}.cv goes with lognormal only"),
                "leave it out (constant varies by 0, exponential by 1) or write distribution: lognormal",
            );
            None
        }
        (Some(node), _) => reader.number(node, &format!("{PATH}.cv")).and_then(|cv| {
            if cv > 0.0 && cv <= 10.0 {
                return Some(cv);
            }
            reader.fault(
                node.place,
                format!("{PATH}.cv cannot be {cv}"),
                "write the standard deviation divided by the mean, above 0 and up to 10, such as 0.2",
            );
            None
        }),
        (None, Some(Distribution::Lognormal)) => {
            fields.missing("cv", "cv: 0.2");
            None
        }
        (None, _) => Some(0.0),
    };
    fields.finish(reader);
    let mean = mean?;
    let cv = cv?;
    Some(match distribution? {
        Distribution::Constant => ServiceTime::Constant { mean },
        Distribution::Exponential => ServiceTime::Exponential { mean },
        Distribution::Lognormal => ServiceTime::Lognormal { mean, cv },
    })
}

fn pod_start(reader: &mut Reader<'_>, node: &Node) -> Option<PodStart> {
    const PATH: &str = "spec.environment.pod-start";
    let mut fields = reader.fields(node, PATH)?;
    let names = ["schedule", "image-pull", "download", "load", "probe", "propagate"];
    let defaults = PodStart::default().phases();
    let mut lengths = [Some(Duration::ZERO); 6];
    for ((name, length), (_, default)) in names.into_iter().zip(&mut lengths).zip(defaults) {
        *length = match fields.optional(name) {
            Some(node) => reader.duration(node, &format!("{PATH}.{name}")),
            None => Some(default),
        };
    }
    fields.finish(reader);
    let [schedule, image_pull, download, load, probe, propagate] = lengths;
    Some(PodStart {
        schedule: schedule?,
        image_pull: image_pull?,
        download: download?,
        load: load?,
        probe: probe?,
        propagate: propagate?,
    })
}

fn pod_stop(reader: &mut Reader<'_>, node: &Node) -> Option<PodStop> {
    let mut fields = reader.fields(node, "spec.environment.pod-stop")?;
    let grace = match fields.optional("grace") {
        Some(node) => reader.duration(node, "spec.environment.pod-stop.grace"),
        None => Some(PodStop::default().grace),
    };
    fields.finish(reader);
    Some(PodStop { grace: grace? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that the autoscaler does not read would be accepted and have no effect.
    #[test]
    fn the_autoscaler_reads_every_key() {
        for key in AUTOSCALER_KEYS.into_iter().filter(|key| *key != "pod-autoscaler-class") {
            let data = BTreeMap::from([(key.to_owned(), "@@".to_owned())]);
            let error = GlobalConfig::from_config_map(&data).expect_err(key);
            assert_eq!(error.key, key);
        }
        let class = BTreeMap::from([("pod-autoscaler-class".to_owned(), "other".to_owned())]);
        assert_ne!(GlobalConfig::from_config_map(&class), Ok(GlobalConfig::default()));
    }
}
