//! Images and models on their way to nodes.

use windtunnel_scenario::{Environment, ModelLoad, Probe};

use super::super::start::Phase;
use super::super::{Event as Any, World, pods};
use super::Cluster;
use crate::engine::{Key, Schedule, Violation};
use crate::error::SimError;
use crate::fleet::{FleetError, Image, Layer, NodeId, PodId};
use crate::plan::Template;

impl World<'_> {
    /// How long a phase of a pod's start takes that begins now; `None` when it ends with a transfer.
    pub(in crate::model) fn phase_length_ns(&mut self, now_ns: u64, key: Key, phase: Phase) -> Option<u64> {
        let plan = self.plan;
        let times = &plan.environment.pod_start;
        match phase {
            Phase::Schedule => Some(times.schedule.as_ns()),
            Phase::ImagePull => {
                let pod = self.state.pods.get(key)?;
                match plan
                    .environment
                    .image_size(&self.state.workloads[usize::from(pod.workload)].template.image)
                {
                    Some(size) => self.fetch(now_ns, key, phase, size.get()),
                    None => Some(times.image_pull.time().as_ns()),
                }
            }
            Phase::Download => {
                let pod = self.state.pods.get(key)?;
                let uri = &self.state.workloads[usize::from(pod.workload)].storage_uri;
                if uri.is_empty() || plan.environment.is_local(uri) {
                    return Some(0);
                }
                match plan.environment.model_size(uri) {
                    Some(size) => self.fetch(now_ns, key, phase, size.get()),
                    None => Some(times.download.time().as_ns()),
                }
            }
            Phase::Load => match times.load {
                ModelLoad::Takes(time) => Some(time.as_ns()),
                ModelLoad::Rate(rate) => {
                    let pod = self.state.pods.get(key)?;
                    let uri = &self.state.workloads[usize::from(pod.workload)].storage_uri;
                    let bytes = plan.environment.model_size(uri).map_or(0, windtunnel_scenario::Bytes::get);
                    let bits = u128::from(bytes) * 8 * 1_000_000_000;
                    let length_ns = bits.div_ceil(u128::from(rate.as_bits_per_s().max(1)));
                    Some(u64::try_from(length_ns).unwrap_or(u64::MAX))
                }
            },
            Phase::Probe => match times.probe {
                Probe::Takes(time) => Some(time.as_ns()),
                Probe::Period => Some(self.until_probed_ns(now_ns, key)),
            },
            Phase::Propagate => Some(times.propagate.as_ns()),
        }
    }

    /// From now, when the server answers, to the readiness probe that makes the pod ready: probes lie on a grid
    /// that begins with the container.
    fn until_probed_ns(&self, now_ns: u64, key: Key) -> u64 {
        let Some(pod) = self.state.pods.get(key) else { return 0 };
        let template = &self.state.workloads[usize::from(pod.workload)].template;
        let period_ns = template.probe_period_ns.max(1);
        let started_ns = pod.condition.container_ns().unwrap_or(now_ns);
        let first_ns = started_ns.saturating_add(template.probe_delay_ns);
        let missed = now_ns.saturating_sub(first_ns).div_ceil(period_ns);
        let further = u64::from(template.probe_successes.saturating_sub(1));
        let ready_ns = first_ns.saturating_add(period_ns.saturating_mul(missed.saturating_add(further)));
        ready_ns.saturating_sub(now_ns)
    }

    /// What a phase needs comes to the pod's node; `Some(0)` when it is there.
    fn fetch(&mut self, now_ns: u64, key: Key, phase: Phase, bytes: u64) -> Option<u64> {
        let cluster = self.state.cluster.as_deref_mut()?;
        let pod = self.state.pods.get(key)?;
        let place = pod.place?;
        let node = cluster.fleet.node_of(place)?;
        let workload = &self.state.workloads[usize::from(pod.workload)];
        let there = match phase {
            Phase::ImagePull => {
                let image = image_of(&self.plan.environment, &workload.template, bytes);
                cluster.pull(now_ns, node, place, &image)
            }
            _ => cluster.download(now_ns, node, place, &workload.storage_uri, bytes),
        };
        match there {
            Ok(true) => Some(0),
            Ok(false) => None,
            Err(error) => {
                self.fault = Some(error.into());
                Some(0)
            }
        }
    }

    /// Transfers have ended: the pods that have all they waited for go on.
    pub(super) fn transfers_end(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let (mut ended, mut served) = (Vec::new(), Vec::new());
        cluster.network.transfers.take_finished(now_ns, &mut ended);
        for transfer in ended {
            let _ = cluster.images.arrived(transfer, &mut served)
                || cluster.models.arrived(transfer, &mut served);
        }
        if !cluster.network.transfers.is_conserved() {
            let (law, detail) =
                ("transfers conserve bytes", format!("{} under way", cluster.network.transfers.len()));
            self.fault = Some(SimError::Violation(Violation { now_ns, law, detail }));
        }
        let keys: Vec<Key> = served.into_iter().filter_map(|pod| cluster.key_of(pod)).collect();
        for key in keys {
            self.phase_is_over(now_ns, key);
            self.pod_event(now_ns, key, pods::Event::PhaseEnd, schedule);
        }
        self.expect_cluster(now_ns, schedule);
    }
}

/// What a pod pulls: the image of its serving container, and those of others that the scenario gives a size of their own.
fn image_of(environment: &Environment, template: &Template, bytes: u64) -> Image {
    let mut image = Image::single(&template.image, bytes);
    for other in &template.other_images {
        if let Some(listed) = environment.images.iter().find(|listed| other.starts_with(&listed.prefix)) {
            image.layers.push(Layer { digest: other.clone(), bytes: listed.size.get() });
        }
    }
    image
}

impl Cluster {
    fn pull(&mut self, now_ns: u64, node: NodeId, pod: PodId, image: &Image) -> Result<bool, FleetError> {
        let links = self.network.to_registry(node);
        self.images.pull(now_ns, node, pod, image, &links, &mut self.network.transfers)
    }

    fn download(
        &mut self,
        now_ns: u64,
        node: NodeId,
        pod: PodId,
        uri: &str,
        bytes: u64,
    ) -> Result<bool, FleetError> {
        let mut links = self.network.to_storage(node, uri);
        links.extend(self.gates.iter().filter(|gate| uri.starts_with(&gate.prefix)).map(|gate| gate.link));
        self.models.download(now_ns, node, pod, uri, bytes, &links, &mut self.network.transfers)
    }

    /// Storage services have `share` of their bandwidth by the prefix of their URIs: 0 is an outage.
    ///
    /// # Errors
    /// Never: each service is there.
    pub(in crate::model) fn rate_storage(
        &mut self,
        now_ns: u64,
        share: impl Fn(&str) -> f64,
    ) -> Result<(), FleetError> {
        let rated = |bits_per_s: u64, share: f64| match share {
            share if share >= 1.0 => bits_per_s,
            share if share <= 0.0 => 0,
            share => ((bits_per_s as f64 * share) as u64).max(1),
        };
        let prefixes: Vec<String> = self.network.storage_prefixes().map(str::to_owned).collect();
        for prefix in prefixes {
            let bits_per_s = rated(self.network.storage_bits_per_s(&prefix)?, share(&prefix));
            self.network.set_storage(now_ns, &prefix, bits_per_s)?;
        }
        for gate in &self.gates {
            let bits_per_s = rated(gate.bits_per_s, share(&gate.prefix));
            self.network.transfers.set_capacity(now_ns, gate.link, bits_per_s)?;
        }
        Ok(())
    }
}
