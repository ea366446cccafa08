//! Model files on nodes.

use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, Wanted};
use super::demand::PodId;
use super::error::FleetError;
use super::node::NodeId;
use super::transfers::{Link, TransferKey, Transfers};

/// How a model comes to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelSource {
    /// It is there: a mounted volume (`pvc://`), or KServe's local model cache, which loads nodes beforehand.
    Mounted,
    /// The first pod of a node downloads it, the next ones find it.
    Node,
    /// KServe's storage initializer downloads it into the pod's own `emptyDir`, each pod anew.
    Pod,
}

/// Which node has which model.
///
/// ```
/// use windtunnel_sim::fleet::{ModelCache, ModelSource, NodeId, PodId, Transfers};
/// let mut models = ModelCache::new(vec!["s3://models/llama".into()], vec![]);
/// assert_eq!(models.source("pvc://claim/digits"), ModelSource::Mounted);
/// assert_eq!(models.source("s3://models/llama/7b"), ModelSource::Mounted);
/// assert_eq!(models.source("s3://models/digits"), ModelSource::Pod);
/// let mut transfers = Transfers::default();
/// let storage = transfers.add_link(1_000_000_000)?;
/// let (node, links) = (NodeId(0), [storage]);
/// assert!(models.download(0, node, PodId(1), "pvc://claim/digits", 1 << 30, &links, &mut transfers)?);
/// assert!(!models.download(0, node, PodId(2), "s3://models/digits", 1 << 30, &links, &mut transfers)?);
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCache {
    mounted: Vec<String>,
    on_nodes: Vec<String>,
    blobs: Blobs,
}

impl ModelCache {
    /// `mounted` are prefixes of storage URIs that the local model cache holds on every node; `on_nodes` those
    /// that stay on a node once a pod has downloaded them. The first list goes before the second.
    pub fn new(mounted: Vec<String>, on_nodes: Vec<String>) -> Self {
        Self { mounted, on_nodes, blobs: Blobs::default() }
    }

    /// How a model comes to a pod.
    pub fn source(&self, uri: &str) -> ModelSource {
        let listed = |prefixes: &[String]| prefixes.iter().any(|prefix| uri.starts_with(prefix.as_str()));
        if uri.starts_with("pvc://") || listed(&self.mounted) {
            ModelSource::Mounted
        } else if listed(&self.on_nodes) {
            ModelSource::Node
        } else {
            ModelSource::Pod
        }
    }

    /// The pod, on its node, needs the model. True when it has it; otherwise it is on its way over `links`, and
    /// [`ModelCache::arrived`] will name the pod.
    ///
    /// # Errors
    /// A pod that waits already, a link that is not there, or too many transfers. Nothing is begun then.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing, and none has a sensible default"
    )]
    pub fn download(
        &mut self,
        now_ns: u64,
        node: NodeId,
        pod: PodId,
        uri: &str,
        bytes: u64,
        links: &[Link],
        transfers: &mut Transfers,
    ) -> Result<bool, FleetError> {
        let of_the_pod;
        let (name, keep) = match self.source(uri) {
            ModelSource::Mounted => return Ok(true),
            ModelSource::Node => (uri, true),
            ModelSource::Pod if self.blobs.has(node, uri) => return Ok(true),
            ModelSource::Pod => {
                of_the_pod = format!("{uri} of pod {}", pod.0);
                (of_the_pod.as_str(), false)
            }
        };
        self.blobs.fetch(now_ns, (node, pod), &[Wanted { name, bytes, keep }], links, transfers)
    }

    /// A transfer has ended: appends the pods that have their model now. False when it was no model.
    pub fn arrived(&mut self, key: TransferKey, ready: &mut Vec<PodId>) -> bool {
        self.blobs.arrived(key, ready)
    }

    /// The pod is gone, and with it a download that no other pod waits for. False when it did not wait.
    pub fn leave(&mut self, now_ns: u64, pod: PodId, transfers: &mut Transfers) -> bool {
        self.blobs.leave(now_ns, pod, true, transfers)
    }

    /// The node is gone, with all that was on it or on its way there.
    pub fn forget(&mut self, now_ns: u64, node: NodeId, transfers: &mut Transfers) {
        self.blobs.forget(now_ns, node, transfers);
    }

    /// The model of exactly this URI was put on the node beforehand.
    pub fn stage(&mut self, node: NodeId, uri: &str) {
        self.blobs.put(node, uri);
    }

    /// Bytes that a pod on the node has to download for a model of this size.
    pub fn missing(&self, node: NodeId, uri: &str, bytes: u64) -> u64 {
        if self.source(uri) == ModelSource::Mounted || self.blobs.has(node, uri) { 0 } else { bytes }
    }

    /// Whether the pod waits for its model.
    pub fn is_waiting(&self, pod: PodId) -> bool {
        self.blobs.is_waiting(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KServe downloads once a pod, which is what makes scaling out slow; a node cache once a node. Counting
    /// either wrongly makes cold starts of the wrong length.
    #[test]
    fn pods_download_each_and_nodes_once() {
        let mut transfers = Transfers::default();
        let link = transfers.add_link(80).unwrap();
        let mut models = ModelCache::new(vec![], vec!["gs://shared/".into()]);
        let node = NodeId(0);
        for (pod, uri) in [(1, "s3://own"), (2, "s3://own"), (3, "gs://shared/m"), (4, "gs://shared/m")] {
            assert!(!models.download(0, node, PodId(pod), uri, 10, &[link], &mut transfers).unwrap());
        }
        assert_eq!(transfers.len(), 3);
        assert!(models.leave(0, PodId(2), &mut transfers));
        assert_eq!(transfers.len(), 2);
        // Of two that wait, one goes: the other still gets it.
        assert!(models.leave(0, PodId(3), &mut transfers));
        let (mut ended, mut ready) = (Vec::new(), Vec::new());
        transfers.take_finished(2_000_000_000, &mut ended);
        for key in ended.drain(..) {
            assert!(models.arrived(key, &mut ready));
        }
        assert_eq!(ready, [PodId(1), PodId(4)]);
        assert_eq!(models.missing(node, "s3://own", 10), 10);
        assert_eq!(models.missing(node, "gs://shared/m", 10), 0);
        models.stage(node, "s3://own");
        assert!(models.download(0, node, PodId(5), "s3://own", 10, &[link], &mut transfers).unwrap());
        assert!(transfers.is_empty());
        let text = serde_json::to_string(&models).unwrap();
        assert_eq!(serde_json::from_str::<ModelCache>(&text).unwrap(), models);
    }
}
