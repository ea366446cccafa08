//! Where a flight happens: an embedded Kubernetes cluster in one process.
//!
//! An [`EmbeddedCluster`] is the API server of `windtunnel-apiserver` plus what makes objects come alive: the
//! controllers of Deployments, ReplicaSets, StatefulSets, Jobs, Endpoints and their slices, namespaces, volume claims,
//! disruption budgets and autoscalers, a scheduler, and nodes that run pods as processes of this machine. It knows
//! nothing of KServe.
//!
//! ```no_run
//! # async fn example() -> Result<(), windtunnel_cluster::ClusterError> {
//! use windtunnel_cluster::{EmbeddedCluster, Image, Options};
//!
//! let mut options = Options::new("/tmp/flight/cluster");
//! options.images.push(Image::new("example/server", ["python3", "-m", "http.server", "8080"]));
//! let cluster = EmbeddedCluster::start(options).await?;
//! println!("kubectl --kubeconfig {} get pods", cluster.kubeconfig().display());
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Types by role
//! - [`EmbeddedCluster`], [`Options`], [`Image`], [`ClusterError`]: starting and stopping a cluster.
//! - [`world`]: what controllers see, a value; [`effect`]: what they want done, a value.
//! - [`controllers`]: one pure `reconcile(world, key, now) -> Outcome` a kind. The autoscaler's has a history besides:
//!   it is called once a period with what was seen, and the HPA kernel decides.
//! - [`node`]: pods as processes, with the pure parts (statuses, back-off, expansion, path rewriting) public.
//! - `adapter` (private): watches that feed the world, queues that call `reconcile`, the executor of effects.
//!
//! # How it stays quick
//! Nothing polls. A watch event changes the [`world::World`] and puts the keys that depend on it into their
//! controllers' queues; the answer of each write goes into the world at once, so a controller reads its own
//! writes and the next controller starts without waiting for the watch.
//!
//! # What a pod is here
//! Each container is a process group of its own. A pod has a loopback address of its own (127.x.y.z), so two pods
//! may use the same port, as long as their servers bind `WINDTUNNEL_BIND`. Where mount namespaces can be made a container
//! has a root folder of its own with its volumes at their mount paths; elsewhere, where a volume's mountPath stands in the
//! command, the arguments, an environment value or the working directory, the node puts the host folder of the volume, and
//! a path that is written inside a program is not seen by that. [`EmbeddedCluster::isolation`] tells which.

mod adapter;
pub mod controllers;
mod directory;
pub mod effect;
mod embedded;
mod error;
mod image_file;
mod kubeconfig;
pub mod node;
mod options;
pub mod quantity;
mod system;
pub mod world;

pub use embedded::EmbeddedCluster;
pub use error::ClusterError;
pub use image_file::read_images;
pub use options::{Image, Options};
