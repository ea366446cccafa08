//! Container images on nodes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, Wanted};
use super::demand::PodId;
use super::error::FleetError;
use super::node::NodeId;
use super::transfers::{Link, TransferKey, Transfers};

/// A layer of an image, as it is transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What it is known by; images share layers of one digest.
    pub digest: String,
    /// Its compressed size.
    pub bytes: u64,
}

/// A container image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// From the base up.
    pub layers: Vec<Layer>,
}

impl Image {
    /// An image that shares nothing with others.
    pub fn single(name: &str, bytes: u64) -> Self {
        Self { layers: vec![Layer { digest: name.to_owned(), bytes }] }
    }
}

/// Which layers each node has. A layer stays on its node; two pods that need one at once share its transfer;
/// all layers of an image are transferred at once. Images are never removed for want of disk.
///
/// ```
/// use windtunnel_sim::fleet::{Image, ImageCache, Layer, NodeId, PodId, Transfers};
/// let layer = |digest: &str, bytes| Layer { digest: digest.into(), bytes };
/// let server = Image { layers: vec![layer("cuda", 3_000), layer("server", 1_000)] };
/// let mut transfers = Transfers::default();
/// let registry = transfers.add_link(8_000)?;
/// let mut images = ImageCache::default();
/// assert!(!images.pull(0, NodeId(0), PodId(1), &server, &[registry], &mut transfers)?);
/// // Another pod on the node waits for the same transfers.
/// assert!(!images.pull(0, NodeId(0), PodId(2), &server, &[registry], &mut transfers)?);
/// let (mut ended, mut ready) = (Vec::new(), Vec::new());
/// while let Some(end_ns) = transfers.next_end_ns() {
///     transfers.take_finished(end_ns, &mut ended);
///     for key in ended.drain(..) {
///         images.arrived(key, &mut ready);
///     }
/// }
/// assert_eq!(ready, [PodId(1), PodId(2)]);
/// // The next one starts at once.
/// assert!(images.pull(9, NodeId(0), PodId(3), &server, &[registry], &mut transfers)?);
/// assert_eq!(images.missing(NodeId(1), &server), 4_000);
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCache {
    blobs: Blobs,
}

impl ImageCache {
    /// The pod, on its node, needs the image. True when the node has it; otherwise the missing layers are on
    /// their way over `links`, and [`ImageCache::arrived`] will name the pod.
    ///
    /// # Errors
    /// A pod that waits already, a link that is not there, or too many transfers. Nothing is begun then.
    pub fn pull(
        &mut self,
        now_ns: u64,
        node: NodeId,
        pod: PodId,
        image: &Image,
        links: &[Link],
        transfers: &mut Transfers,
    ) -> Result<bool, FleetError> {
        let wanted: Vec<Wanted<'_>> = image
            .layers
            .iter()
            .map(|layer| Wanted { name: &layer.digest, bytes: layer.bytes, keep: true })
            .collect();
        self.blobs.fetch(now_ns, (node, pod), &wanted, links, transfers)
    }

    /// A transfer has ended: appends the pods whose image is complete now. False when it was no layer.
    pub fn arrived(&mut self, key: TransferKey, ready: &mut Vec<PodId>) -> bool {
        self.blobs.arrived(key, ready)
    }

    /// The pod is gone. Its layers keep coming, as they do with a container runtime, for the next one. False
    /// when it did not wait.
    pub fn leave(&mut self, now_ns: u64, pod: PodId, transfers: &mut Transfers) -> bool {
        self.blobs.leave(now_ns, pod, false, transfers)
    }

    /// The node is gone, with all that was on it or on its way there.
    pub fn forget(&mut self, now_ns: u64, node: NodeId, transfers: &mut Transfers) {
        self.blobs.forget(now_ns, node, transfers);
    }

    /// The node has the image from the start: baked into the machine image, or pulled by a `DaemonSet`.
    pub fn preload(&mut self, node: NodeId, image: &Image) {
        for layer in &image.layers {
            self.blobs.put(node, &layer.digest);
        }
    }

    /// Bytes of the image that the node does not have yet.
    pub fn missing(&self, node: NodeId, image: &Image) -> u64 {
        let mut seen = BTreeSet::new();
        let missing = image
            .layers
            .iter()
            .filter(|layer| !self.blobs.has(node, &layer.digest) && seen.insert(layer.digest.as_str()));
        missing.fold(0, |sum, layer| sum.saturating_add(layer.bytes))
    }

    /// Whether the pod waits for a layer.
    pub fn is_waiting(&self, pod: PodId) -> bool {
        self.blobs.is_waiting(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(transfers: &mut Transfers, images: &mut ImageCache) -> Vec<(u64, PodId)> {
        let (mut ended, mut all) = (Vec::new(), Vec::new());
        while let Some(end_ns) = transfers.next_end_ns() {
            transfers.take_finished(end_ns, &mut ended);
            for key in ended.drain(..) {
                let mut ready = Vec::new();
                assert!(images.arrived(key, &mut ready));
                all.extend(ready.into_iter().map(|pod| (end_ns, pod)));
            }
        }
        all
    }

    fn image(layers: &[(&str, u64)]) -> Image {
        let layer = |(digest, bytes): &(&str, u64)| Layer { digest: (*digest).to_owned(), bytes: *bytes };
        Image { layers: layers.iter().map(layer).collect() }
    }

    /// Every replica on a node would pull the image again, or a second image its shared base. By hand: 8 bytes a
    /// second; base 80 and server 40 bytes share it, so that server ends at 10 s and base at 15 s; then the
    /// other server alone takes 5 s.
    #[test]
    fn layers_are_transferred_once_a_node() {
        let mut transfers = Transfers::default();
        let link = transfers.add_link(64).unwrap();
        let mut images = ImageCache::default();
        let first = image(&[("base", 80), ("server", 40), ("base", 80)]);
        let second = image(&[("base", 80), ("other", 40)]);
        let node = NodeId(0);
        assert!(!images.pull(0, node, PodId(1), &first, &[link], &mut transfers).unwrap());
        assert!(!images.pull(0, node, PodId(2), &first, &[link], &mut transfers).unwrap());
        assert!(images.pull(0, node, PodId(2), &first, &[link], &mut transfers).is_err());
        assert_eq!((transfers.len(), images.missing(node, &first)), (2, 120));
        let ended = end(&mut transfers, &mut images);
        assert_eq!(ended, [(15_000_000_000, PodId(1)), (15_000_000_000, PodId(2))]);
        assert_eq!(images.missing(node, &second), 40);
        assert!(!images.pull(15_000_000_000, node, PodId(3), &second, &[link], &mut transfers).unwrap());
        assert_eq!(end(&mut transfers, &mut images), [(20_000_000_000, PodId(3))]);
        assert_eq!(transfers.carried(link), 160);
    }

    /// A replica that is deleted while it pulls would make the next one begin anew; a node that is gone would go
    /// on pulling.
    #[test]
    fn layers_outlive_pods_but_not_nodes() {
        let mut transfers = Transfers::default();
        let link = transfers.add_link(64).unwrap();
        let mut images = ImageCache::default();
        let server = Image::single("server", 80);
        for node in [0, 1] {
            assert!(
                !images.pull(0, NodeId(node), PodId(node.into()), &server, &[link], &mut transfers).unwrap()
            );
        }
        assert!(images.leave(0, PodId(0), &mut transfers) && !images.leave(0, PodId(0), &mut transfers));
        images.forget(0, NodeId(1), &mut transfers);
        assert!(!images.is_waiting(PodId(1)));
        assert_eq!(transfers.len(), 1);
        assert_eq!(end(&mut transfers, &mut images), []);
        assert_eq!(images.missing(NodeId(0), &server), 0);
        images.preload(NodeId(2), &server);
        assert!(images.pull(0, NodeId(2), PodId(9), &server, &[link], &mut transfers).unwrap());
        // A link that is gone leaves no half-begun pull.
        transfers.remove_link(0, link);
        assert!(images.pull(0, NodeId(3), PodId(8), &server, &[link], &mut transfers).is_err());
        assert!(!images.is_waiting(PodId(8)) && transfers.is_empty());
    }
}
