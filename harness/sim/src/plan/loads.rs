//! The loads of a plan.

use windtunnel_scenario::load::{self, Arrival, Flight};
use windtunnel_scenario::{Arrivals, Load, Queue, Retries, RetryOn, Scenario};

use super::model_profile::{check_work, draw_of};
use super::{DeliveryPlan, Plan, ServicePlan};
use crate::broker::{Broker, KafkaSettings, RabbitSettings};
use crate::client::{Failure, Population, RetryPolicy, Stage};
use crate::error::SimError;
use crate::server::{Draw, Impossible};

/// How long a Kafka consumer group gets nothing after a member came or went: the default of
/// `group.initial.rebalance.delay.ms`.
const REBALANCE_NS: u64 = 3_000_000_000;

/// All requests of a load, in the unit of [`LoadPlan::matching`].
pub(crate) const MILLION: u32 = 1_000_000;

/// A load and the service that it calls.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// The service, an index into [`Plan::services`].
    pub service: usize,
    /// Which of the scenario's loads it is.
    pub index: usize,
    /// How long a client waits. What is left in a queue is waited for so long after the end of the run.
    pub timeout_ns: u64,
    /// Whether and how clients try again.
    pub retries: Option<RetryPolicy>,
    /// Its users, when it is a closed loop: then it has no arrivals of its own.
    pub users: Option<UsersPlan>,
    /// The broker that its arrivals go to as messages.
    pub queue: Option<Queue>,
    /// Requests, or users in a closed loop, that meet the conditions of an A/B test, in parts of a million; `None`
    /// where there is no test.
    pub matching: Option<u32>,
}

/// The users of a closed loop.
#[derive(Clone, Debug, PartialEq)]
pub struct UsersPlan {
    stages: Vec<Stage>,
    think_time: Draw,
}

impl UsersPlan {
    fn of(scenario: &Scenario, index: usize, flight: Flight) -> Result<Option<Self>, Impossible> {
        let Some(Arrivals::Users { think_time, .. }) = scenario.loads.get(index).map(|load| &load.arrivals)
        else {
            return Ok(None);
        };
        let Some(counts) = load::users_in(scenario, index, flight) else { return Ok(None) };
        let end_ns = scenario.duration_of(flight).as_ns();
        // One stage a number of users: exactly those of a live flight.
        let mut changes = counts.changes().filter(|change| change.at_ns < end_ns).peekable();
        let mut stages = Vec::new();
        while let Some(change) = changes.next() {
            let until_ns = changes.peek().map_or(end_ns, |next| next.at_ns);
            let length_ns = until_ns.saturating_sub(change.at_ns);
            stages.push(Stage { length_ns, from: change.count, to: change.count });
        }
        let users = Self { stages, think_time: draw_of(think_time)? };
        Population::new(0, users.stages.clone(), users.think_time.clone())?;
        Ok(Some(users))
    }

    /// The users of a run with t=0 at `epoch_ns`, before the first of them comes.
    pub(crate) fn population(&self, epoch_ns: u64) -> Population {
        Population::checked(epoch_ns, self.stages.clone(), self.think_time.clone())
    }
}

impl LoadPlan {
    /// The arrivals of this load, made anew, with `seed` instead of the scenario's.
    pub(crate) fn arrivals(
        &self,
        plan: &Plan,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Arrival>>, SimError> {
        let arrivals = if plan.scenario.seed == seed {
            load::arrivals(&plan.scenario, self.index, plan.flight)?
        } else {
            let mut scenario = plan.scenario.clone();
            scenario.seed = seed;
            load::arrivals(&scenario, self.index, plan.flight)?
        };
        Ok(arrivals)
    }
}

/// The broker of a queue, empty.
///
/// # Errors
/// Settings that no broker can have.
pub(crate) fn broker_of(queue: &Queue) -> Result<Broker, Impossible> {
    let visibility_ns = queue.visibility_timeout.as_ns();
    match queue.broker {
        windtunnel_scenario::Broker::Rabbitmq => Broker::rabbit(RabbitSettings {
            prefetch: queue.prefetch,
            visibility_ns,
            deliveries: queue.deliveries,
        }),
        windtunnel_scenario::Broker::Kafka => Broker::kafka(KafkaSettings {
            partitions: queue.partitions,
            prefetch: queue.prefetch,
            visibility_ns,
            deliveries: queue.deliveries,
            rebalance_ns: REBALANCE_NS,
        }),
    }
}

/// Finds the service of each load. A trace that cannot be read is found too.
pub(super) fn read(
    scenario: &Scenario,
    flight: Flight,
    services: &[ServicePlan],
) -> Result<Vec<LoadPlan>, SimError> {
    let mut loads = Vec::with_capacity(scenario.loads.len());
    for (index, load) in scenario.loads.iter().enumerate() {
        let Some(service) = services.iter().position(|service| service.name == load.target) else {
            let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
            return Err(SimError::UnknownTarget {
                scenario: scenario.path.clone(),
                target: load.target.clone(),
                known: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            });
        };
        let place = format!("{}: load of {:?}", scenario.path.display(), load.target);
        let impossible =
            |error: Impossible| SimError::Environment { place: place.clone(), message: error.to_string() };
        go_together(load, &place)?;
        drop(load::arrivals(scenario, index, flight)?);
        for version in &services[service].versions {
            check_work(scenario, index, &version.storage_uri)?;
        }
        if let Some(queue) = &load.queue {
            broker_of(queue).map_err(impossible)?;
        }
        let matching = matching_of(load, &services[service], &place)?;
        loads.push(LoadPlan {
            service,
            matching,
            index,
            timeout_ns: load.timeout.as_ns(),
            retries: load.retries.as_ref().map(policy_of).transpose().map_err(impossible)?,
            users: UsersPlan::of(scenario, index, flight).map_err(impossible)?,
            queue: load.queue,
        });
    }
    Ok(loads)
}

/// Who meets the conditions of an A/B test, in parts of a million; whoever tests must say so, and nobody else may.
fn matching_of(load: &Load, service: &ServicePlan, place: &str) -> Result<Option<u32>, SimError> {
    let test = match &service.delivery {
        Some(DeliveryPlan::Flagger(canary)) if canary.tests_requests() => Some(&canary.name),
        _ => None,
    };
    match (test, load.matching) {
        (Some(_), Some(share)) => Ok(Some((share.clamp(0.0, 1.0) * f64::from(MILLION)).round() as u32)),
        (None, None) => Ok(None),
        // Messages go past the gateway.
        (Some(_), None) if load.queue.is_some() => Ok(None),
        (Some(name), None) => Err(SimError::Unsupported {
            place: place.to_owned(),
            what: format!("the A/B test of Canary {name:?} without a word on who meets its analysis.match"),
            remedy: "add the share of requests (of users in a closed loop) that do: matching: 10%".to_owned(),
        }),
        (None, Some(_)) => Err(SimError::Environment {
            place: place.to_owned(),
            message:
                "matching says who meets the conditions of an A/B test, and there is none; leave it out, or \
                      give the service a Canary with analysis.match and analysis.iterations"
                    .to_owned(),
        }),
    }
}

/// A broker takes messages from whoever sends them and sees to it that they are done: nobody waits, nobody tries
/// again.
fn go_together(load: &Load, place: &str) -> Result<(), SimError> {
    let wrong = |what: &str| {
        Err(SimError::Unsupported {
            place: place.to_owned(),
            what: format!("a queue together with {what}"),
            remedy: format!("leave the queue or {what} out"),
        })
    };
    match &load.arrivals {
        _ if load.queue.is_none() => Ok(()),
        Arrivals::Users { .. } => wrong("users"),
        _ if load.retries.is_some() => wrong("retries"),
        _ => Ok(()),
    }
}

fn policy_of(retries: &Retries) -> Result<RetryPolicy, Impossible> {
    let on: Vec<Failure> = retries
        .on
        .iter()
        .map(|on| match on {
            RetryOn::Status(status) => Failure::Status(*status),
            RetryOn::Timeout => Failure::Timeout,
        })
        .collect();
    RetryPolicy::new(
        retries.attempts,
        retries.backoff.as_ns(),
        retries.factor,
        retries.most.as_ns(),
        retries.jitter,
        &on,
    )
}
