//! The links of a cluster: who shares bandwidth with whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::FleetError;
use super::node::NodeId;
use super::transfers::{Link, TransferKey, Transfers};

/// The links between nodes, the image registry and the storage services, and the transfers over them.
///
/// ```
/// use windtunnel_sim::fleet::{Network, NodeId};
/// let storage = [("s3://".into(), 20_000_000_000), ("s3://slow/".into(), 1_000_000_000)];
/// let mut network = Network::new(Some(10_000_000_000), &storage)?;
/// network.add_node(NodeId(0), Some(10_000_000_000))?;
/// // Over the card of the node and the most specific storage service.
/// assert_eq!(network.to_storage(NodeId(0), "s3://slow/model").len(), 2);
/// assert_eq!(network.to_storage(NodeId(0), "hf://model").len(), 1);
/// // Slower by ten, then gone.
/// network.set_storage(0, "s3://", 2_000_000_000)?;
/// network.set_storage(0, "s3://", 0)?;
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// What is under way.
    pub transfers: Transfers,
    registry: Option<Link>,
    storage: Vec<Storage>,
    nodes: BTreeMap<NodeId, Link>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Storage {
    prefix: String,
    link: Link,
    bits_per_s: u64,
}

impl Network {
    /// `registry` is the bandwidth in bits a second at which it serves all nodes together, `None` without limit;
    /// `storage` that of each storage service, by the prefix of its URIs. What has no entry has no limit and
    /// cannot fail.
    ///
    /// # Errors
    /// A prefix twice, or a bandwidth that no link has.
    pub fn new(registry: Option<u64>, storage: &[(String, u64)]) -> Result<Self, FleetError> {
        let mut transfers = Transfers::default();
        let registry = registry.map(|bits_per_s| transfers.add_link(bits_per_s)).transpose()?;
        let mut services: Vec<Storage> = Vec::new();
        for (prefix, bits_per_s) in storage {
            if services.iter().any(|other| other.prefix == *prefix) {
                let message = "is there twice; keep one";
                return Err(FleetError::setting(format!("storage {prefix:?}"), "bandwidth", message));
            }
            let link = transfers.add_link(*bits_per_s)?;
            services.push(Storage { prefix: prefix.clone(), link, bits_per_s: *bits_per_s });
        }
        Ok(Self { transfers, registry, storage: services, nodes: BTreeMap::new() })
    }

    /// A node has joined, with a card of so many bits a second; `None` is without limit.
    ///
    /// # Errors
    /// A bandwidth that no link has.
    pub fn add_node(&mut self, node: NodeId, bits_per_s: Option<u64>) -> Result<(), FleetError> {
        if let Some(bits_per_s) = bits_per_s
            && !self.nodes.contains_key(&node)
        {
            let link = self.transfers.add_link(bits_per_s)?;
            self.nodes.insert(node, link);
        }
        Ok(())
    }

    /// A node has gone, and the transfers over its card with it, which are returned. Let the caches forget the
    /// node first: they know the transfers of nodes without a limit, too.
    pub fn remove_node(&mut self, now_ns: u64, node: NodeId) -> Vec<TransferKey> {
        match self.nodes.remove(&node) {
            Some(link) => self.transfers.remove_link(now_ns, link),
            None => Vec::new(),
        }
    }

    /// The links from the registry to a node.
    pub fn to_registry(&self, node: NodeId) -> Vec<Link> {
        self.nodes.get(&node).copied().into_iter().chain(self.registry).collect()
    }

    /// The links from the storage of a URI to a node; of several prefixes the longest counts.
    pub fn to_storage(&self, node: NodeId, uri: &str) -> Vec<Link> {
        let service = self
            .storage
            .iter()
            .filter(|service| uri.starts_with(&service.prefix))
            .max_by_key(|service| service.prefix.len());
        self.nodes.get(&node).copied().into_iter().chain(service.map(|service| service.link)).collect()
    }

    /// Changes the bandwidth of the storage service of exactly this prefix: 0 is an outage, in which transfers
    /// stand still.
    ///
    /// # Errors
    /// A prefix that has no entry, or a bandwidth that no link has.
    pub fn set_storage(&mut self, now_ns: u64, prefix: &str, bits_per_s: u64) -> Result<(), FleetError> {
        let link = self.service(prefix)?.link;
        self.transfers.set_capacity(now_ns, link, bits_per_s)
    }

    /// The storage service has another bandwidth from now on.
    ///
    /// # Errors
    /// A prefix that has no entry, or a bandwidth that no link has.
    pub fn rate_storage(&mut self, now_ns: u64, prefix: &str, bits_per_s: u64) -> Result<(), FleetError> {
        let link = self.service(prefix)?.link;
        self.transfers.set_capacity(now_ns, link, bits_per_s)?;
        if let Some(service) = self.storage.iter_mut().find(|service| service.prefix == prefix) {
            service.bits_per_s = bits_per_s;
        }
        Ok(())
    }

    /// Gives the storage service the bandwidth back that it had at the start.
    ///
    /// # Errors
    /// A prefix that has no entry.
    pub fn restore_storage(&mut self, now_ns: u64, prefix: &str) -> Result<(), FleetError> {
        let Storage { link, bits_per_s, .. } = *self.service(prefix)?;
        self.transfers.set_capacity(now_ns, link, bits_per_s)
    }

    /// The bandwidth that the storage service had at the start.
    ///
    /// # Errors
    /// A prefix that has no entry.
    pub fn storage_bits_per_s(&self, prefix: &str) -> Result<u64, FleetError> {
        self.service(prefix).map(|service| service.bits_per_s)
    }

    /// Each storage service and the share of its bandwidth that is in use, 0 to 1.
    pub fn storage_utilisation(&self) -> impl Iterator<Item = (&str, f64)> {
        let of = |service: &Storage| self.transfers.utilisation(service.link);
        self.storage.iter().map(move |service| (service.prefix.as_str(), of(service)))
    }

    /// The prefixes of the storage services, in their order.
    pub fn storage_prefixes(&self) -> impl Iterator<Item = &str> {
        self.storage.iter().map(|service| service.prefix.as_str())
    }

    fn service(&self, prefix: &str) -> Result<&Storage, FleetError> {
        self.storage.iter().find(|service| service.prefix == prefix).ok_or_else(|| {
            let known: Vec<&str> = self.storage.iter().map(|service| service.prefix.as_str()).collect();
            let message = format!("is not limited, so it cannot change; known are {known:?}");
            FleetError::setting(format!("storage {prefix:?}"), "bandwidth", message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes that start the same model would each get the whole bandwidth of the storage; or an outage
    /// would never end.
    #[test]
    fn nodes_share_storage_and_survive_an_outage() {
        let mut network = Network::new(None, &[("s3://".to_owned(), 80)]).unwrap();
        for node in [NodeId(0), NodeId(1)] {
            network.add_node(node, Some(800)).unwrap();
            let links = network.to_storage(node, "s3://m");
            network.transfers.start(0, 50, &links).unwrap();
        }
        assert_eq!(network.to_registry(NodeId(0)).len(), 1);
        assert_eq!(network.transfers.next_end_ns(), Some(10_000_000_000));
        let used: Vec<_> = network.storage_utilisation().collect();
        assert_eq!(used, [("s3://", 1.0)]);
        network.set_storage(4_000_000_000, "s3://", 0).unwrap();
        assert_eq!(network.transfers.next_end_ns(), None);
        network.restore_storage(9_000_000_000, "s3://").unwrap();
        assert_eq!(network.transfers.next_end_ns(), Some(15_000_000_000));
        assert_eq!(network.remove_node(12_000_000_000, NodeId(1)).len(), 1);
        // 15 bytes left, now alone.
        assert_eq!(network.transfers.next_end_ns(), Some(13_500_000_000));
        assert!(network.set_storage(0, "gs://", 1).unwrap_err().to_string().contains("not limited"));
        assert!(Network::new(None, &[("a".into(), 1), ("a".into(), 1)]).is_err());
    }
}
