//! What manifests cannot say about the place where the service runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::control::{Control, Drift, Profile};
use super::distribution::Distribution;
use super::nodes::{Nodes, SharedBandwidth};
use super::server::{ModelProfile, Server};
use crate::quantity::{Bandwidth, Bytes, Duration};

/// What manifests cannot say about the place where the service runs.
///
/// The simulator reads all of it; `knative` is also installed on a live cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// ConfigMaps of Knative Serving by name (`config-autoscaler`), each with the keys to set.
    pub knative: BTreeMap<String, BTreeMap<String, String>>,
    /// The way of a request.
    pub network: Network,
    /// How long the model computes.
    pub service_time: Distribution,
    /// What versions of the model do differently; the first whose prefix matches counts.
    pub models: Vec<ModelProfile>,
    /// Sizes of images; the first whose prefix matches counts.
    pub images: Vec<ImageSize>,
    /// How the model server works.
    pub server: Server,
    /// What a starting pod waits for.
    pub pod_start: PodStart,
    /// What a stopping pod waits for.
    pub pod_stop: PodStop,
    /// The machines; `None` is one node without limits.
    pub nodes: Option<Nodes>,
    /// How fast images and models come.
    pub bandwidth: SharedBandwidth,
    /// Prefixes of storage URIs that every node already holds, so that nothing is downloaded.
    pub local_model_cache: Vec<String>,
    /// Cycles and delays of the control plane.
    pub control: Control,
    /// Whose decision rules hold.
    pub profile: Profile,
    /// Features or predictions that change.
    pub drift: Option<Drift>,
}

impl Environment {
    /// What the version of the model at a storage URI does differently.
    pub fn model(&self, storage_uri: &str) -> Option<&ModelProfile> {
        self.models.iter().find(|model| storage_uri.starts_with(&model.prefix))
    }

    /// How the server of the version at a storage URI works.
    pub fn server_of(&self, storage_uri: &str) -> &Server {
        self.model(storage_uri).and_then(|model| model.server.as_ref()).unwrap_or(&self.server)
    }

    /// How long the version at a storage URI computes.
    pub fn service_time_of(&self, storage_uri: &str) -> &Distribution {
        self.model(storage_uri).and_then(|model| model.service_time.as_ref()).unwrap_or(&self.service_time)
    }

    /// The size of the files at a storage URI, when the environment knows it.
    pub fn model_size(&self, storage_uri: &str) -> Option<Bytes> {
        let of_version = self.model(storage_uri).and_then(|model| model.size);
        of_version.or(match self.pod_start.download {
            Transfer::Size(size) => Some(size),
            Transfer::Takes(_) => None,
        })
    }

    /// The size of a container image, when the environment knows it.
    pub fn image_size(&self, image: &str) -> Option<Bytes> {
        let listed = self.images.iter().find(|listed| image.starts_with(&listed.prefix));
        listed.map(|listed| listed.size).or(match self.pod_start.image_pull {
            Transfer::Size(size) => Some(size),
            Transfer::Takes(_) => None,
        })
    }

    /// How long a node may be silent until the cluster takes it for lost.
    pub fn monitor_grace_period(&self) -> Duration {
        self.nodes.as_ref().map_or(Nodes::MONITOR_GRACE_PERIOD, |nodes| nodes.monitor_grace_period)
    }

    /// How long pods stay on a node that is lost, unless they say otherwise.
    pub fn unreachable_toleration(&self) -> Duration {
        self.nodes.as_ref().map_or(Nodes::UNREACHABLE_TOLERATION, |nodes| nodes.unreachable_toleration)
    }

    /// Whether a model needs no download: it is on a mounted volume or in the node's cache.
    pub fn is_local(&self, storage_uri: &str) -> bool {
        storage_uri.starts_with("pvc://")
            || self.local_model_cache.iter().any(|prefix| storage_uri.starts_with(prefix.as_str()))
    }
}

/// How large images are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSize {
    /// Of images whose name begins so.
    pub prefix: String,
    /// What a node without them pulls.
    pub size: Bytes,
}

/// Latency on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Added to every request, gateway and network together: the way to the gateway.
    pub gateway: Duration,
    /// How long the gateway tries to connect to a pod whose machine does not answer.
    pub connect_timeout: Duration,
    /// There and back between the gateway, which is the activator, and a pod. Every request that the gateway sends to a
    /// pod takes so much longer, and so does each round trip of the activator's probe of a new pod.
    pub round_trip: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            gateway: Duration::from_ns(300_000),
            round_trip: Duration::ZERO,
            connect_timeout: Duration::from_s(10),
        }
    }
}

/// The phases of a pod's start, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodStart {
    /// Until a node is chosen and told.
    pub schedule: Duration,
    /// Until the image is on the node.
    pub image_pull: Transfer,
    /// Until the model's files are there.
    pub download: Transfer,
    /// Until the server has loaded the model.
    pub load: ModelLoad,
    /// Until the readiness probe has noticed.
    pub probe: Probe,
    /// Until the gateway knows the address.
    pub propagate: Duration,
}

impl Default for PodStart {
    fn default() -> Self {
        Self {
            schedule: Duration::from_ms(5),
            image_pull: Transfer::Takes(Duration::ZERO),
            download: Transfer::Takes(Duration::from_ms(40)),
            load: ModelLoad::Takes(Duration::from_ms(250)),
            probe: Probe::Takes(Duration::from_ms(50)),
            propagate: Duration::from_ms(10),
        }
    }
}

/// Something that has to come to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// Always takes the same time.
    Takes(Duration),
    /// Takes as long as the bandwidth makes it.
    Size(Bytes),
}

impl Transfer {
    /// The time when it is given as one, and zero otherwise.
    pub const fn time(self) -> Duration {
        match self {
            Self::Takes(time) => time,
            Self::Size(_) => Duration::ZERO,
        }
    }
}

/// How long a server loads a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelLoad {
    /// Always the same time.
    Takes(Duration),
    /// The model's size at this rate.
    Rate(Bandwidth),
}

impl ModelLoad {
    /// The time when it is given as one, and zero otherwise.
    pub const fn time(self) -> Duration {
        match self {
            Self::Takes(time) => time,
            Self::Rate(_) => Duration::ZERO,
        }
    }
}

/// How long it takes until a readiness probe has noticed that the server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Always the same time.
    Takes(Duration),
    /// Until the next probe, by the period of the manifest's readinessProbe.
    Period,
}

impl Probe {
    /// The time when it is given as one, and zero otherwise.
    pub const fn time(self) -> Duration {
        match self {
            Self::Takes(time) => time,
            Self::Period => Duration::ZERO,
        }
    }
}

impl PodStart {
    /// The phases by name in the order in which they happen. Those that depend on sizes, rates or the manifest
    /// count as zero here.
    pub fn phases(&self) -> [(&'static str, Duration); 6] {
        [
            ("schedule", self.schedule),
            ("image-pull", self.image_pull.time()),
            ("download", self.download.time()),
            ("load", self.load.time()),
            ("probe", self.probe.time()),
            ("propagate", self.propagate),
        ]
    }

    /// All phases together, as [`PodStart::phases`] counts them.
    pub fn total(&self) -> Duration {
        Duration::from_ns(self.phases().iter().fold(0, |sum, (_, length)| sum.saturating_add(length.as_ns())))
    }
}

/// The stop of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStop {
    /// How long it stays up after it was told to stop.
    pub grace: Duration,
}

impl Default for PodStop {
    fn default() -> Self {
        Self { grace: Duration::from_ms(500) }
    }
}
