//! `spec.environment`: what manifests cannot say.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::kpa::{ConfigError, GlobalConfig};

use super::control::{control, drift};
use super::distribution::distribution;
use super::nodes::{bandwidth, nodes};
use super::pod_start::pod_start;
use super::server::{models, positive_bytes, server};
use crate::quantity::Duration;
use crate::reader::Reader;
use crate::scenario::{
    Distribution, Environment, ImageSize, ModelLoad, Network, PodStart, PodStop, Profile, Server,
    SharedBandwidth, Transfer,
};
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

pub(super) fn environment(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
) -> Option<Environment> {
    let mut fields = reader.fields(node, path)?;
    let knative = fields.or(reader, "knative", BTreeMap::new(), knative);
    let network = fields.or(reader, "network", Network::default(), |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let gateway = fields.or(reader, "gateway", Network::default().gateway, Reader::duration);
        let connect_timeout = fields.or(
            reader,
            "connect-timeout",
            Network::default().connect_timeout,
            Reader::positive_duration,
        );
        let round_trip = fields.or(reader, "round-trip", Network::default().round_trip, Reader::duration);
        fields.finish(reader);
        Some(Network { gateway: gateway?, round_trip: round_trip?, connect_timeout: connect_timeout? })
    });
    let service_time = fields.or(reader, "service-time", Distribution::default(), distribution);
    let server = fields.or(reader, "server", Server::default(), |reader, node, path| {
        server(reader, node, path, &Server::default())
    });
    // Versions build on the server; what is wrong with that is said once.
    let base = server.unwrap_or_default();
    let models =
        fields.or(reader, "models", Vec::new(), |reader, node, path| models(reader, node, path, &base));
    let images = fields.or(reader, "images", Vec::new(), images);
    let pod_start_node = fields.optional("pod-start");
    let pod_start = fields.or(reader, "pod-start", PodStart::default(), pod_start);
    let pod_stop = fields.or(reader, "pod-stop", PodStop::default(), |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let grace = fields.or(reader, "grace", PodStop::default().grace, Reader::duration);
        fields.finish(reader);
        Some(PodStop { grace: grace? })
    });
    let nodes = fields.maybe(reader, "nodes", nodes);
    let bandwidth = fields.or(reader, "bandwidth", SharedBandwidth::default(), bandwidth);
    let local_model_cache = fields.or(reader, "local-model-cache", Vec::new(), |reader, node, path| {
        reader.items(node, path, "s3://models/llama", Reader::storage_prefix)
    });
    let control = fields.or(reader, "control", Default::default(), control);
    let profile = fields.or(reader, "profile", Profile::default(), |reader, node, path| {
        reader.choice(node, path, &[("windtunnel", Profile::Windtunnel), ("upstream", Profile::Upstream)])
    });
    let drift = fields.maybe(reader, "drift", |reader, node, path| drift(reader, node, path, duration));
    // What is missing may be what is mistyped; that is said once.
    let strangers = fields.has_strangers();
    fields.finish(reader);
    let environment = Environment {
        knative: knative?,
        network: network?,
        service_time: service_time?,
        models: models?,
        images: images?,
        server: server?,
        pod_start: pod_start?,
        pod_stop: pod_stop?,
        nodes: nodes?,
        bandwidth: bandwidth?,
        local_model_cache: local_model_cache?,
        control: control?,
        profile: profile?,
        drift: drift?,
    };
    (!strangers && sizes_have_speeds(reader, pod_start_node.unwrap_or(node), &environment))
        .then_some(environment)
}

/// Whether everything that is given by its size takes a time: bandwidth for downloads, a size for rates.
fn sizes_have_speeds(reader: &mut Reader<'_>, node: &Node, environment: &Environment) -> bool {
    let start = &environment.pod_start;
    let of_nodes = environment
        .nodes
        .as_ref()
        .is_some_and(|nodes| nodes.pools.iter().all(|pool| pool.bandwidth.is_some()));
    let sized_models = environment.models.iter().any(|model| model.size.is_some());
    let mut sound = true;
    let mut complain = |key: &str, message: &str, hint: &str| {
        let place = node.get(key).map_or(node.place, |node| node.place);
        reader.fault(place, message, hint);
        sound = false;
    };
    let pulls = matches!(start.image_pull, Transfer::Size(_)) || !environment.images.is_empty();
    if pulls && environment.bandwidth.registry.is_none() && !of_nodes {
        complain(
            "image-pull",
            "the image has a size, but nothing says how fast it comes",
            "add spec.environment.bandwidth.registry: 10Gbit/s, or a bandwidth to every pool of nodes",
        );
    }
    let downloads = matches!(start.download, Transfer::Size(_)) || sized_models;
    if downloads && environment.bandwidth.storage.is_empty() && !of_nodes {
        complain(
            "download",
            "the model has a size, but nothing says how fast it comes",
            "add spec.environment.bandwidth.storage: {\"s3://\": 10Gbit/s}, or a bandwidth to every pool of nodes",
        );
    }
    if matches!(start.load, ModelLoad::Rate(_))
        && matches!(start.download, Transfer::Takes(_))
        && !sized_models
    {
        complain(
            "load",
            "the model is loaded at a rate, but nothing says how large it is",
            "write pod-start.download: {size: 7GiB}, or a size for the models",
        );
    }
    sound
}

fn images(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Vec<ImageSize>> {
    let mut seen: Vec<(String, u32)> = Vec::new();
    reader.items(node, path, "{match: vllm/vllm-openai, size: 12GiB}", |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let prefix = fields.need(reader, "match", "match: vllm/vllm-openai", |reader, node, path| {
            reader.text(node, path, "vllm/vllm-openai").map(str::to_owned)
        });
        let size = fields.need(reader, "size", "size: 12GiB", positive_bytes);
        fields.finish(reader);
        let image = ImageSize { prefix: prefix?, size: size? };
        if let Some((prefix, line)) =
            seen.iter().find(|(prefix, _)| image.prefix.starts_with(prefix.as_str()))
        {
            reader.fault(
                node.get("match").map_or(node.place, |node| node.place),
                format!("{path} is never used: \"{}\" on line {line} matches first", prefix.escape_debug()),
                "write the longer prefix first",
            );
            return None;
        }
        seen.push((image.prefix.clone(), node.place.line));
        Some(image)
    })
}

fn knative(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let mut fields = reader.fields(node, path)?;
    let autoscaler = fields.maybe(reader, "config-autoscaler", config_autoscaler);
    fields.finish(reader);
    Some(autoscaler?.map(|data| ("config-autoscaler".to_owned(), data)).into_iter().collect())
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
