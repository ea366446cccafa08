//! What the gateway routes by: Knative's Routes, the Gateway API's HTTPRoutes of the Gateways that are ours, and the Ingresses
//! of our class.

mod attachment;
mod http_routes;
mod ingresses;
mod knative;
mod knative_hosts;
mod status;

pub(crate) use attachment::{gateways_of_route, routes_of_gateway, serves_components};
pub(crate) use http_routes::routes_of_service;
pub use ingresses::{INGRESS_CONTROLLER, reconcile_ingress};
pub use knative::addresses;
pub(crate) use knative::service_addresses;
pub use status::{CONTROLLER, reconcile_class, reconcile_gateway, reconcile_route};

use windtunnel_gateway::RouteTable;

use crate::world::World;

/// The whole table.
#[must_use]
pub fn table(world: &World) -> RouteTable {
    let mut table = RouteTable::default();
    knative::add(world, &mut table);
    http_routes::add(world, &mut table);
    ingresses::add(world, &mut table);
    table
}
