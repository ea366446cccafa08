//! Discrete-event simulator of a serving platform in virtual time.
//!
//! It flies a scenario as a live cluster would, days of traffic in seconds: clients, a gateway with activator and
//! exact traffic split, workloads with their controllers, pods with the phases of a cold start, and canary
//! rollouts. Every decision is taken by the kernels, and what a service becomes is decided by the plan of KServe's
//! controller that the live control plane asks ([`Kserve`]); what is simulated is only the world around them.
//!
//! | role | types |
//! | --- | --- |
//! | what to simulate, checked | [`Plan`] with [`ServicePlan`], [`RevisionPlan`], [`LoadPlan`], [`Change`], [`Phases`] |
//! | run it | [`simulate`], [`simulate_arrivals`], [`Summary`] |
//! | stop it, store it, go on, also under another plan | [`simulate_until`], [`Snapshot`], [`resume`] |
//! | what can be wrong | [`SimError`] |
//! | the parts, for models of one's own | [`engine`], [`server`], [`client`], [`broker`], [`fleet`] |
//!
//! # Where things are
//!
//! The model is a `State`, which a snapshot keeps whole, and a `World` around it with what is no state: the plan,
//! the arrivals, the recorder. Each concept is a file (or folder) of `model` with its own part of the state, its
//! own events and its own `impl World`; the ones that stand alone (servers, machines, brokers) are modules of
//! their own without a world, and an adapter in `model`.
//!
//! | concept | place |
//! | --- | --- |
//! | clients: open loop, patience, the end of a request; retries and closed-loop users | `model/clients/{open, patience, answers, …}` |
//! | messages of a broker instead of requests | `model/queue` |
//! | gateway and activator: the way of a request to a workload; who may start, who waits | `model/{gateway, line}` |
//! | what requests are routed to, with its pods and its books | `model/workloads` |
//! | who decides how many replicas there are | `model/control/{knative, hpa, keda, fixed}` |
//! | Deployments with their ReplicaSets and rolling updates | `model/deployments` |
//! | metrics as autoscalers see them: read now and then, seen later | `model/{metrics, condition}`, `plan/query` |
//! | KServe: its settings, what stands around services, and its controller's plan | `plan/kserve` |
//! | what the children of the Standard mode mean here; autoscalers that are manifests | `plan/{standard, objects}` |
//! | from manifests to workloads and shares of the traffic | `model/rollout/{knative, standard, flagger, argo}` |
//! | lives of pods; the phases of a start | `model/{pods, start}` |
//! | what a pod computes and when it is through | `model/server` |
//! | machines, transfers, who is where | `model/nodes` |
//! | what goes wrong on purpose | `model/faults` |
//! | what changes in the data | `model/drift` |
//! | events and series of a recording | `model/outputs` |
//! | going on from a snapshot, under the same plan or another one | `model/fork` |
//! | the laws that hold after every event | `model/laws` |
//!
//! # Chance
//!
//! Each source of chance is a stream of its own, named after what it belongs to. What happens to a request by
//! chance is a function of the seed, its load and its number ([`engine::Streams`]): two futures of one run, and two
//! variants of one scenario, give the same request the same luck.
//!
//! The same plan and seed give the same recording, byte for byte. Time is `u64` nanoseconds since the Unix
//! epoch inside (the autoscaler's buckets depend on it) and since the start of the run in recordings.
//! What happens before t=0, while manifests are applied and services become ready, is simulated but not
//! recorded.
//!
//! ```no_run
//! use windtunnel_scenario::{load::Flight, Scenario};
//! use windtunnel_sim::{simulate, Plan};
//!
//! let scenario = Scenario::read("scenarios/quickstart.yaml".as_ref())?;
//! let mut manifests = Vec::new();
//! for path in &scenario.manifests {
//!     let text = std::fs::read_to_string(path)?;
//!     manifests.extend(windtunnel_api::manifest::parse(&text, &path.display().to_string()).unwrap());
//! }
//! let plan = Plan::new(&scenario, &manifests, Flight::Whole)?;
//! let mut recording = plan.recording(scenario.seed);
//! let summary = simulate(&plan, scenario.seed, &mut recording)?;
//! println!("{} requests, {} failed", summary.requests, summary.failed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod broker;
pub mod client;
pub mod engine;
pub mod fleet;
pub mod server;

mod error;
mod model;
mod plan;
mod simulate;
mod snapshot;
pub mod study;
mod time_zone;

pub use error::SimError;
pub use plan::{
    Amount, AnalysisPlan, ArgoPlan, Change, ChangeKind, ControlPlan, DeliveryPlan, DeploymentPlan, EPOCH_NS,
    FlaggerPlan, HookPlan, KedaPlan, Kserve, LEAD_NS, LoadPlan, Measure, Operator, Phase, Phases, Plan,
    Reading, Resources, RevisionPlan, ScalerPlan, ServicePlan, Side, Signal, StandardPlan, Strategy,
    Template, Toleration, UsersPlan, Version,
};
pub use simulate::{Summary, resume, simulate, simulate_arrivals, simulate_until};
pub use snapshot::Snapshot;
