//! `serving.knative.dev/v1`: Service, Configuration, Revision and Route, the children that each makes, and
//! the status that each derives from its children.

pub mod names;

mod children;
mod deployment;
mod revision;
mod rollout;
mod status;
mod types;

pub use children::{
    configuration_of, placeholder_service_of, private_service_name, private_service_of, revision_name,
    revision_of, route_of, route_url,
};
pub use deployment::{
    AGGRESSIVE_PERIOD_MS, AGGRESSIVE_PROBE_MS, DEFAULT_TIMEOUT_S, deployment_name, deployment_of,
    serving_port,
};
pub use rollout::{
    RolledOut, default_rollout_duration_s, own_rollout_duration_s, roll_out, rollout_duration_s,
};
pub use status::{RevisionObservation, configuration_status, revision_status, route_status, service_status};
pub use types::{
    Configuration, ConfigurationSpec, ConfigurationStatus, Revision, RevisionSpec, RevisionStatus,
    RevisionTemplate, Route, RouteSpec, RouteStatus, Service, ServiceSpec, ServiceStatus, TrafficTarget,
};
