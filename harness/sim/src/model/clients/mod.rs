//! Clients: what they send, how long they wait, whether they try again, and the record of every request.
//!
//! [`open`] sends what a load's arrivals say, [`users`] what users do who wait for answers and think; [`patience`]
//! ends what takes too long; [`answers`] closes a try once, whatever its end is; [`retries`] decides whether that
//! was the last one. A load with a broker sends messages instead, see [`super::queue`].
//!
//! A try is a request of its own at the gateway. What is recorded is the intended request, once: from the first
//! try to the end of the last.

mod answers;
mod chance;
mod open;
mod patience;
mod retries;
mod users;

use serde::{Deserialize, Serialize};

use windtunnel_scenario::load::Arrival;

pub(super) use open::Load;
pub(crate) use open::Sources;
pub(super) use retries::Call;

use super::{Event as Any, World};
use crate::client::User;
use crate::engine::{Key, Schedule};

/// What happens to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The oldest request of a load may have run out of its client's patience.
    Deadline(u16),
    /// The try of a call reaches the gateway.
    Arrive(Key),
    /// The number of a load's users changes.
    Users(u16),
    /// A user of a load has thought.
    Thought(u16, User),
}

/// A request between its arrival at the gateway and its last trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) arrival: Arrival,
    /// The load that it is of.
    pub(super) load: u16,
    /// When it reached the gateway.
    pub(super) entered_ns: u64,
    /// How long the model computes for it.
    pub(super) demand_ns: u64,
    pub(super) workload: u16,
    pub(super) weight_percent: u8,
    pub(super) caller: Caller,
    pub(super) stage: Stage,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Caller {
    /// The first try of a request of an open load, of which nothing else is kept.
    Once,
    /// A try of a [`Call`].
    Call(Key),
    /// The delivery of a message with this number.
    Message(u64),
    /// A copy of the request that has this number in its load; nobody waits for its answer.
    Mirror(u64),
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// In the activator.
    Waiting {
        /// There was no ready pod when it came.
        held: bool,
    },
    /// On a pod.
    Running { pod: Key, held_ns: u64 },
    /// Its pod is through with it, and the answer is on its way to the gateway.
    Returning { held_ns: u64, failure: Option<Failure> },
    /// Its client was told that it failed, but a pod still computes.
    Abandoned { pod: Key },
}

impl Request {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting { .. })
    }

    /// Whether somebody still waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        !matches!(self.stage, Stage::Abandoned { .. })
    }

    /// Whether it has a place in its workload's line; messages come past it.
    pub(super) fn is_in_line(&self) -> bool {
        !matches!(self.caller, Caller::Message(_))
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The service has no workload to route to.
    NoRoute,
    /// The activator's queue is full.
    QueueFull,
    /// No pod is ready, and there is no activator to wait in.
    NoEndpoint,
    /// The gateway gave up after the route's timeout.
    RouteTimeout,
    /// The client gave up.
    ClientTimeout,
    /// Its pod stopped before the answer was computed.
    PodStopped,
    /// Its pod's node was lost before the answer was computed.
    NodeLost,
    /// Its pod's node does not answer.
    Unreachable,
    /// Its pod's container died before the answer was computed.
    ContainerDied,
    /// The model answers with an error.
    Model,
    /// The server has no room for one more that waits.
    ServerFull,
    /// Its tokens are more than the key-value cache holds.
    TooLong,
    /// There is no GPU memory for it.
    GpuMemory,
    /// The broker holds as many messages as it can.
    BrokerFull,
    /// A message was delivered as often as it may be.
    DeadLetter,
    /// A message was still there when the run was over.
    LeftOver,
}

impl Failure {
    /// The HTTP status; 0 when the client got none.
    fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::TooLong => 400,
            Self::Model | Self::GpuMemory => 500,
            Self::PodStopped | Self::ContainerDied | Self::NodeLost => 502,
            Self::QueueFull | Self::NoEndpoint | Self::ServerFull | Self::BrokerFull | Self::Unreachable => {
                503
            }
            Self::RouteTimeout => 504,
            Self::ClientTimeout | Self::DeadLetter | Self::LeftOver => 0,
        }
    }

    /// Whether the pod went with everything that it had.
    pub(super) fn is_loss_of_pod(self) -> bool {
        matches!(self, Self::PodStopped | Self::ContainerDied | Self::NodeLost)
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoRoute => "the service routes to no revision",
            Self::NoEndpoint => "no pod is ready, and nothing holds requests until one is",
            Self::QueueFull => "the activator's queue is full",
            Self::RouteTimeout => "the route's timeout passed before a pod answered",
            Self::ClientTimeout => "the client's timeout passed before an answer came",
            Self::PodStopped => "the pod's termination grace passed before it answered",
            Self::NodeLost => "the pod's node was lost before it answered",
            Self::Unreachable => "the connection to the pod timed out",
            Self::ContainerDied => "the pod's container died before it answered",
            Self::Model => "the model answered with an error",
            Self::ServerFull => "the server's queue is full",
            Self::TooLong => "the request has more tokens than the key-value cache holds",
            Self::GpuMemory => "out of GPU memory",
            Self::BrokerFull => "the broker is full",
            Self::DeadLetter => "delivered as often as it may be: a dead letter",
            Self::LeftOver => "still in the queue when the run was over",
        }
    }
}

impl World<'_> {
    /// Something that clients waited for.
    pub(super) fn client_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Deadline(load) => self.client_deadline(now_ns, load, schedule),
            Event::Arrive(call) => self.call_arrives(now_ns, call, schedule),
            Event::Users(load) => self.users_change(now_ns, load, schedule),
            Event::Thought(load, user) => self.user_sends(now_ns, load, user, schedule),
        }
    }

    /// Writes down how many users there are, and how often clients tried again since the last sample.
    pub(super) fn sample_clients(&mut self, t_ns: u64) {
        for (load, plan) in self.state.loads.iter_mut().zip(&self.plan.loads) {
            let labels = [("service", self.plan.services[plan.service].name.as_str())];
            if let Some(users) = &load.users {
                self.recorder.sample("users.active", &labels, t_ns, f64::from(users.active()));
            }
            if plan.retries.is_some() {
                let retries = load.retries - std::mem::replace(&mut load.retries_sampled, load.retries);
                self.recorder.sample("client.retries", &labels, t_ns, retries as f64);
            }
        }
    }
}
