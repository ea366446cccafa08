//! Every decision of a serving platform as a pure function.
//!
//! A decision takes the state that it kept, the configuration and what is observed now, and returns what to
//! do: `step(state, config, observation) -> (state, decisions, wake-ups)`. Nothing in this crate reads a clock,
//! does I/O, spawns, or draws randomness of its own, so a simulator in virtual time and a live controller that
//! call the same function can only decide differently where they *observe* differently.
//!
//! | area | what is decided |
//! | --- | --- |
//! | [`autoscale::kpa`] | Knative pod autoscaler: how many replicas a revision gets, scale to and from zero, burst capacity |
//! | [`rollout`] | progressive delivery: Flagger canaries, Argo Rollouts with their analyses, KServe's canaries |
//! | [`autoscale::hpa`] | Kubernetes HorizontalPodAutoscaler: replicas by metrics, stabilisation, rate limits; decisions on paper |
//! | [`autoscale::keda`] | KEDA: triggers, scale to and from zero, fallback, jobs, the autoscaler that it makes |
//! | [`duration`] | durations as manifests write them |
//! | [`routing`] | which backend a request goes to: traffic split, breaker, endpoint choice, activator capacity |
//! | [`drift`] | whether a window of values still looks like the reference |
//! | [`statistics`] | what a sample allows to be said: early stopping, exact tests, confidence intervals, sequential tests |
//!
//! Upstream's likely bugs are named options, off unless [`Profile::Upstream`] is asked for.
//!
//! Instants are `u64` nanoseconds since the Unix epoch. The epoch matters: the autoscaler's buckets are aligned
//! to whole seconds and its scale-down delay to even seconds.
//!
//! ```
//! use std::collections::BTreeMap;
//! use windtunnel_kernel::autoscale::kpa::{
//!     Autoscaler, Config, GlobalConfig, Observation, Reachability, Stat, Trigger,
//! };
//!
//! const SECOND: u64 = 1_000_000_000;
//! let annotations =
//!     BTreeMap::from([("autoscaling.knative.dev/target".to_string(), "10".to_string())]);
//! let config = Config::resolve(&GlobalConfig::default(), &annotations, 0, 600)?;
//! let mut autoscaler = Autoscaler::new(config, 1, 0);
//! let _poke = autoscaler.record(&Stat { at_ns: SECOND, average_concurrency: 20.0, ..Stat::default() });
//! let decision = autoscaler.step(
//!     Trigger::Tick,
//!     &Observation {
//!         now_ns: 2 * SECOND,
//!         ready: 1,
//!         current_replicas: 1,
//!         reachability: Reachability::Reachable,
//!         activator_answers: true,
//!     },
//! );
//! // 20 concurrent requests at a target of 10 x 70 % a pod.
//! assert_eq!(decision.desired, 3);
//! assert_eq!(decision.replicas, Some(3));
//! # Ok::<(), windtunnel_kernel::autoscale::kpa::ConfigError>(())
//! ```

pub mod autoscale;
pub mod drift;
pub mod duration;
pub mod profile;
pub mod rollout;
pub mod routing;
pub mod statistics;

pub use profile::Profile;
