//! KServe's controllers: what there is of an object goes to its plan in `api`, and the plan's children and status are
//! written.

mod children;
mod failure;
mod inference_graph;
mod inference_service;
mod local_models;
mod trained_models;

use windtunnel_api::kserve::runtime::Runtime;

use crate::world::{ObjectKey, World};

pub(crate) use failure::failure_event;
pub use inference_graph::reconcile as reconcile_graph;
pub use inference_service::reconcile;
pub(crate) use local_models::{
    affected_by as local_models_of, all_keys as local_model_keys, is_looked_after as is_cache_looked_after,
};
pub use local_models::{reconcile as reconcile_local_model, reconcile_node as reconcile_local_model_node};
pub use trained_models::reconcile as reconcile_trained_model;

/// The namespace's runtimes and the cluster's.
fn runtimes(world: &World, namespace: &str) -> Vec<Runtime> {
    let own = world.serving_runtimes.range(ObjectKey::new(namespace, "")..);
    own.take_while(|(key, _)| key.namespace == namespace)
        .map(|(_, runtime)| Runtime::from(&**runtime))
        .chain(world.cluster_serving_runtimes.values().map(|runtime| Runtime::from(&**runtime)))
        .collect()
}
