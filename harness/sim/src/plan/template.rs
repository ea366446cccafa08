//! What a pod of a workload asks of the place where it runs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use serde::{Deserialize, Serialize};
use windtunnel_api::knative::AGGRESSIVE_PROBE_MS;
use windtunnel_api::kserve::pod::STORAGE_INITIALIZER;
use windtunnel_api::kserve::{InferenceService, names};
use windtunnel_api::pod_fields::SERVING_CONTAINER;
use windtunnel_kernel::autoscale::hpa::Quantity;

use super::Kserve;
use super::toleration::Toleration;

/// Seconds between two probes where a probe does not say: the API server's default.
const PROBE_PERIOD_S: i32 = 10;

/// Seconds that a pod may take to stop where it does not say: the API server's default.
const GRACE_S: i64 = 30;

const SECOND_NS: u64 = 1_000_000_000;

/// The rendered pod of a workload, as far as it matters to the simulator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// What all containers request together: what the HorizontalPodAutoscaler holds usage against.
    pub requests: Resources,
    /// What the scheduler keeps free for the pod: the requests, or those of an init container where they are more.
    pub reserved: Resources,
    /// What the serving container may use at most; 0 is no limit.
    pub limits: Resources,
    /// Whether every container has a CPU request. Without, CPU utilisation cannot be computed.
    pub has_cpu_requests: bool,
    /// Whether every container has a memory request.
    pub has_memory_requests: bool,
    /// From the start of the serving container to its first readiness probe.
    pub probe_delay_ns: u64,
    /// From one readiness probe to the next, until the pod is ready.
    pub probe_period_ns: u64,
    /// Readiness probes in a row that must succeed, at least 1.
    pub probe_successes: u32,
    /// How long a pod may take to stop.
    pub grace_ns: u64,
    /// The image of the serving container: pods with the same one share what is on their node.
    pub image: String,
    /// The images of its other containers, init containers included.
    pub other_images: Vec<String>,
    /// `nodeSelector`.
    pub selector: BTreeMap<String, String>,
    /// How long it stays on a node that is out of reach.
    pub toleration: Toleration,
}

/// Resources of a pod or a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Whole GPUs, of any vendor.
    pub gpus: u32,
}

impl Resources {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            gpus: self.gpus.max(other.gpus),
        }
    }
}

impl Template {
    /// Reads the pod template of a Deployment of `service`, and where its model comes from (empty when it is inside of
    /// the image); what the pod webhook adds is added here.
    ///
    /// # Errors
    /// The pod webhook's refusal, or a quantity that is none.
    pub(super) fn read(
        template: &PodTemplateSpec,
        service: &InferenceService,
        kserve: &Kserve,
    ) -> Result<(Self, String), String> {
        let mut admitted = Pod {
            metadata: template.metadata.clone().unwrap_or_default(),
            spec: template.spec.clone(),
            ..Pod::default()
        };
        kserve.admit(&mut admitted, service)?;
        let annotations = admitted.metadata.annotations.unwrap_or_default();
        let spec = admitted.spec.unwrap_or_default();
        let storage_uri = storage_uri(&annotations, &spec);
        let mut read = Self { has_cpu_requests: true, has_memory_requests: true, ..Self::default() };
        let mut first = Resources::default();
        let inits = spec.init_containers.iter().flatten();
        let (sidecars, inits): (Vec<&Container>, Vec<&Container>) =
            inits.partition(|container| container.restart_policy.as_deref() == Some("Always"));
        for container in inits {
            first = first.max(requests_of(container)?);
        }
        for container in spec.containers.iter().chain(sidecars) {
            read.requests = read.requests.plus(requests_of(container)?);
            read.has_cpu_requests &= quantity(container, "cpu")?.is_some();
            read.has_memory_requests &= quantity(container, "memory")?.is_some();
        }
        read.reserved = read.requests.max(first);
        let serving = serving_container(&spec);
        if let Some(container) = serving {
            read.limits = limits_of(container)?;
            read.image = container.image.clone().unwrap_or_default();
        }
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        read.other_images = all.filter_map(|container| container.image.clone()).collect();
        read.other_images.retain(|image| *image != read.image);
        read.other_images.sort_unstable();
        read.other_images.dedup();
        read.selector = spec.node_selector.clone().unwrap_or_default();
        read.toleration = Toleration::of(spec.tolerations.as_deref().unwrap_or_default());
        let probe = serving.and_then(|container| container.readiness_probe.as_ref());
        let seconds = |given: Option<i32>| given.and_then(|seconds| u64::try_from(seconds).ok());
        let aggressive = annotations.get(AGGRESSIVE_PROBE_MS).and_then(|text| text.parse::<u64>().ok());
        if let Some(period_ms) = aggressive {
            // As the node does it: at once, often, and the first good answer will do.
            read.probe_delay_ns = 0;
            read.probe_period_ns = period_ms.max(1).saturating_mul(1_000_000);
            read.probe_successes = 1;
        } else {
            let given = probe.and_then(|probe| probe.period_seconds).filter(|seconds| *seconds > 0);
            let delay = seconds(probe.and_then(|probe| probe.initial_delay_seconds));
            read.probe_delay_ns = delay.unwrap_or(0) * SECOND_NS;
            read.probe_period_ns = seconds(given.or(Some(PROBE_PERIOD_S))).unwrap_or(1) * SECOND_NS;
            let successes = probe.and_then(|probe| probe.success_threshold).unwrap_or(1);
            read.probe_successes = u32::try_from(successes).unwrap_or(1).max(1);
        }
        let grace_s = spec.termination_grace_period_seconds.unwrap_or(GRACE_S);
        read.grace_ns = u64::try_from(grace_s).unwrap_or(0).saturating_mul(SECOND_NS);
        Ok((read, storage_uri))
    }
}

/// Where an admitted pod's model comes from: what its annotation says, or the first that its storage initializer brings
/// (of several, or of one that the storage secret completes).
fn storage_uri(annotations: &BTreeMap<String, String>, spec: &PodSpec) -> String {
    let said = annotations.get(names::STORAGE_SOURCE_URI).filter(|uri| !uri.starts_with('<'));
    let mut inits = spec.init_containers.iter().flatten();
    let brought = inits.find(|container| container.name == STORAGE_INITIALIZER);
    let brought = brought.and_then(|container| container.args.as_ref()?.first());
    said.or(brought).cloned().unwrap_or_default()
}

/// The container that answers requests.
fn serving_container(spec: &PodSpec) -> Option<&Container> {
    let named = spec.containers.iter().find(|container| container.name == SERVING_CONTAINER);
    named.or_else(|| spec.containers.first())
}

/// A container's request of a resource; a limit alone is the request too, as the API server has it.
fn quantity(container: &Container, resource: &str) -> Result<Option<u64>, String> {
    let Some(resources) = &container.resources else { return Ok(None) };
    let of = |quantities: &Option<std::collections::BTreeMap<String, _>>| {
        quantities.as_ref().and_then(|quantities| quantities.get(resource)).cloned()
    };
    of(&resources.requests)
        .or_else(|| of(&resources.limits))
        .map(|given| milli(&container.name, &given.0))
        .transpose()
}

fn milli(container: &str, text: &str) -> Result<u64, String> {
    let read: Quantity =
        text.parse().map_err(|error| format!("resources of container {container}: {error}"))?;
    u64::try_from(read.milli()).map_err(|_| format!("resources of container {container}: {text} is negative"))
}

fn requests_of(container: &Container) -> Result<Resources, String> {
    Ok(Resources {
        cpu_milli: quantity(container, "cpu")?.unwrap_or(0),
        memory_bytes: quantity(container, "memory")?.unwrap_or(0) / 1000,
        gpus: gpus_of(container)?,
    })
}

fn limits_of(container: &Container) -> Result<Resources, String> {
    let limit = |resource: &str| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let given = limits.and_then(|limits| limits.get(resource));
        given.map_or(Ok(0), |given| milli(&container.name, &given.0))
    };
    Ok(Resources {
        cpu_milli: limit("cpu")?,
        memory_bytes: limit("memory")? / 1000,
        gpus: gpus_of(container)?,
    })
}

/// GPUs are limits of extended resources: `nvidia.com/gpu`, `amd.com/gpu`, `nvidia.com/mig-1g.5gb`, ….
fn gpus_of(container: &Container) -> Result<u32, String> {
    let Some(resources) = &container.resources else { return Ok(0) };
    let listed = resources.limits.as_ref().or(resources.requests.as_ref());
    let mut count = 0_u64;
    for (name, given) in listed.into_iter().flatten() {
        let device = name.split_once('/').map_or("", |(_, device)| device);
        if matches!(device, "gpu" | "gaudi") || device.starts_with("mig-") {
            count = count.saturating_add(milli(&container.name, &given.0)?.div_ceil(1000));
        }
    }
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
