//! Annotations and labels of Knative Serving.

/// Label with the name of the Knative Service.
pub const SERVICE: &str = "serving.knative.dev/service";
/// Label with the UID of the Knative Service.
pub const SERVICE_UID: &str = "serving.knative.dev/serviceUID";
/// Label with the name of the Configuration.
pub const CONFIGURATION: &str = "serving.knative.dev/configuration";
/// Label with the UID of the Configuration.
pub const CONFIGURATION_UID: &str = "serving.knative.dev/configurationUID";
/// Label with the generation of the Configuration that a Revision was made from.
pub const CONFIGURATION_GENERATION: &str = "serving.knative.dev/configurationGeneration";
/// Label with the name of the Revision.
pub const REVISION: &str = "serving.knative.dev/revision";
/// Label with the UID of the Revision.
pub const REVISION_UID: &str = "serving.knative.dev/revisionUID";
/// Label of a Revision: `pending`, `active` (a Route points at it) or `reserve` (none does any more).
pub const ROUTING_STATE: &str = "serving.knative.dev/routingState";
/// Label with the name of the Route.
pub const ROUTE: &str = "serving.knative.dev/route";
/// Annotation of a Revision with the Routes that point at it.
pub const ROUTES: &str = "serving.knative.dev/routes";
/// Annotation of a Revision: when its routing state changed last, as in RFC 3339.
pub const ROUTING_STATE_MODIFIED: &str = "serving.knative.dev/routingStateModified";
/// Annotation of a Revision that is never deleted for its age: `true`.
pub const NO_GC: &str = "serving.knative.dev/no-gc";
/// Annotation with the state of gradual rollouts.
pub const ROLLOUT_STATE: &str = "networking.internal.knative.dev/rollout";
/// Annotation: how long a new share of traffic takes to arrive.
pub const ROLLOUT_DURATION: &str = "serving.knative.dev/rollout-duration";
/// Prefix of the autoscaler's annotations.
pub const AUTOSCALING: &str = "autoscaling.knative.dev/";
/// Annotation: which autoscaler.
pub const CLASS: &str = "autoscaling.knative.dev/class";
/// The class of the concurrency and rate based autoscaler.
pub const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";
/// The class of the CPU and memory based autoscaler.
pub const HPA_CLASS: &str = "hpa.autoscaling.knative.dev";
/// Annotation: fewest replicas.
pub const MIN_SCALE: &str = "autoscaling.knative.dev/min-scale";
/// Annotation: most replicas.
pub const MAX_SCALE: &str = "autoscaling.knative.dev/max-scale";
/// Annotation: replicas of a new Revision.
pub const INITIAL_SCALE: &str = "autoscaling.knative.dev/initial-scale";
/// Annotation: metric value that a replica should have.
pub const TARGET: &str = "autoscaling.knative.dev/target";
/// Annotation: `concurrency` or `rps`.
pub const METRIC: &str = "autoscaling.knative.dev/metric";

/// A Revision whose routing is not decided yet.
pub const PENDING: &str = "pending";
/// A Revision that a Route points at.
pub const ACTIVE: &str = "active";
/// A Revision that no Route points at any more.
pub const RESERVE: &str = "reserve";
