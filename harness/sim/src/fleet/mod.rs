//! The machines under the pods: nodes and their scheduler, the autoscaler that adds and removes them, the
//! network over which images and models come, what lies on their disks, and what they cost.
//!
//! Each type is a state machine of values: it is told what happens and when, says what follows and when to ask
//! again, and can be cloned, compared, written and read at any instant. None knows the simulator.
//!
//! | role | types |
//! | --- | --- |
//! | nodes, what pods ask of them, who goes where | [`Fleet`], [`Pool`], [`Node`], [`Demand`], [`Scheduling`], [`Unschedulable`] |
//! | more and fewer nodes | [`Autoscaler`], [`AutoscalerSettings`], [`Expander`], [`Action`] |
//! | shared bandwidth | [`Network`], [`Transfers`], [`Link`] |
//! | what nodes have already | [`ImageCache`], [`ModelCache`], [`ModelSource`] |
//! | the bill | [`Cost`] |
//! | what can be wrong | [`FleetError`] |
//!
//! The start of a pod, as far as its node is concerned:
//!
//! ```
//! use windtunnel_sim::fleet::*;
//! let pool = Pool { bandwidth_bits: Some(10_000_000_000), ..Pool::new("cpu", 1, 8_000, 32 << 30) };
//! let mut fleet = Fleet::new(vec![pool], Scheduling::Spread)?;
//! let mut network = Network::new(Some(10_000_000_000), &[("s3://".into(), 20_000_000_000)])?;
//! let (mut images, mut models) = (ImageCache::default(), ModelCache::default());
//! for (id, node) in fleet.nodes() {
//!     network.add_node(id, fleet.pools()[node.pool].bandwidth_bits)?;
//! }
//! let server = Image::single("registry/server:1", 2_500_000_000);
//! let (pod, uri) = (PodId(7), "s3://models/digits");
//!
//! // It is created: the scheduler finds a node, or it is pending.
//! fleet.submit(0, pod, Workload(0), Demand { cpu_m: 1_000, memory: 1 << 30, ..Demand::default() })?;
//! let mut bound = Vec::new();
//! fleet.schedule(&mut bound);
//! let node = bound[0].node;
//! // Its image is pulled, unless the node has it.
//! let mut now_ns = 5_000_000;
//! let links = network.to_registry(node);
//! assert!(!images.pull(now_ns, node, pod, &server, &links, &mut network.transfers)?);
//! // Its model is downloaded, unless it is there.
//! let (mut ended, mut pulled, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
//! while let Some(end_ns) = network.transfers.next_end_ns() {
//!     now_ns = end_ns;
//!     network.transfers.take_finished(now_ns, &mut ended);
//!     for key in ended.drain(..) {
//!         let _ = images.arrived(key, &mut pulled) || models.arrived(key, &mut loaded);
//!     }
//!     for pod in pulled.drain(..) {
//!         let links = network.to_storage(node, uri);
//!         let there = models.download(now_ns, node, pod, uri, 1_250_000_000, &links, &mut network.transfers)?;
//!         assert!(!there);
//!     }
//! }
//! // 20 Gbit and 10 Gbit over a card of 10 Gbit/s.
//! assert_eq!((now_ns, loaded), (3_005_000_000, vec![pod]));
//! # Ok::<(), FleetError>(())
//! ```

mod autoscaler;
mod blobs;
mod cost;
mod demand;
mod error;
mod fair_share;
mod image_cache;
mod model_cache;
mod network;
mod node;
mod nodes;
mod pool;
mod room;
mod score;
mod transfers;
mod unschedulable;
mod wide;

pub use autoscaler::{Action, Autoscaler, AutoscalerSettings, Expander};
pub use cost::Cost;
pub use demand::{Demand, PodId, Workload};
pub use error::FleetError;
pub use image_cache::{Image, ImageCache, Layer};
pub use model_cache::{ModelCache, ModelSource};
pub use network::Network;
pub use node::{Node, NodeId, NodeState};
pub use nodes::{Allocation, Bound, Fleet, MOST_PODS, Pending};
pub use pool::{
    MOST_GPUS_OF_A_NODE, MOST_NODES_OF_A_POOL, MOST_PODS_OF_A_NODE, MOST_PRICE_MICRO_PER_HOUR, POOL_LABELS,
    Pool, ZONE_LABEL,
};
pub use score::Scheduling;
pub use transfers::{Link, MOST_BITS_PER_S, MOST_TRANSFERS, TransferKey, Transfers};
pub use unschedulable::Unschedulable;
