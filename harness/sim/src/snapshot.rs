//! The whole state of a simulation at one instant, to be stored and gone on with.

use serde::{Deserialize, Serialize};

use crate::engine::Schedule;
use crate::error::SimError;
use crate::model::{Event, State};
use crate::plan::Plan;

/// The form of stored snapshots. A state means nothing to a simulator of another version.
const VERSION: u32 = 1;

const FORMAT: &str = "windtunnel.dev/snapshot";

/// Everything that a simulation is at one instant: what has happened before it, and what is due.
///
/// Arrivals are not in it: they are made again from the scenario and the seed. Made by
/// [`simulate_until`](crate::simulate_until), used by [`resume`](crate::resume).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) at_ns: u64,
    /// Events that happened.
    pub(crate) events: u64,
    /// Unix time of t=0.
    epoch_ns: u64,
    /// Latency of the way to the gateway.
    pub(crate) way_ns: u64,
    /// Names of the services, in the order of the state's.
    services: Vec<String>,
    pub(crate) state: State,
    pub(crate) schedule: Schedule<Event>,
}

/// A stored snapshot: what is in the file.
#[derive(Serialize, Deserialize)]
struct Stored<S> {
    format: String,
    version: u32,
    /// Of the snapshot's text, in hexadecimal.
    checksum: String,
    snapshot: S,
}

/// What is read first.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

impl Snapshot {
    pub(crate) fn new(plan: &Plan, at_ns: u64, events: u64, state: State, schedule: Schedule<Event>) -> Self {
        Self {
            at_ns,
            events,
            epoch_ns: plan.epoch_ns,
            way_ns: plan.environment.network.gateway.as_ns(),
            services: plan.services.iter().map(|service| service.name.clone()).collect(),
            state,
            schedule,
        }
    }

    /// The instant, from the start of the run: what is due at it, or later, has not happened.
    pub fn at_ns(&self) -> u64 {
        self.at_ns
    }

    /// The seed of the simulation.
    pub fn seed(&self) -> u64 {
        self.state.seed
    }

    /// The snapshot as text; equal snapshots give equal texts.
    ///
    /// # Errors
    /// Never for a snapshot that a simulation made.
    pub fn to_json(&self) -> Result<String, SimError> {
        let stored = Stored {
            format: FORMAT.to_owned(),
            version: VERSION,
            checksum: checksum(&text_of(self)?),
            snapshot: self,
        };
        text_of(&stored)
    }

    /// Reads what [`Snapshot::to_json`] wrote.
    ///
    /// # Errors
    /// When it is no snapshot, one of another version, or one that was changed.
    pub fn from_json(text: &str) -> Result<Self, SimError> {
        let again = "take the snapshot again with this version";
        let header: Header = serde_json::from_str(text).map_err(|error| {
            fault(&format!("this is no stored snapshot ({error})"), "name the file of one")
        })?;
        if header.format != FORMAT {
            return Err(fault(
                &format!("this is a {:?} and no {FORMAT:?}", header.format),
                "name the file of a snapshot",
            ));
        }
        if header.version != VERSION {
            let message =
                format!("it has version {}, and this simulator reads version {VERSION}", header.version);
            return Err(fault(&message, again));
        }
        let stored: Stored<Self> = serde_json::from_str(text)
            .map_err(|error| fault(&format!("its content cannot be read ({error})"), again))?;
        if checksum(&text_of(&stored.snapshot)?) != stored.checksum {
            let message = "its content is not what was stored: the checksum differs";
            return Err(fault(message, "change the scenario instead of the snapshot"));
        }
        Ok(stored.snapshot)
    }

    /// Whether a plan can go on from here.
    ///
    /// # Errors
    /// What is too different.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), SimError> {
        let given: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
        if given != self.services {
            let message = format!(
                "it holds the services [{}], and the plan has [{}]",
                self.services.join(", "),
                given.join(", ")
            );
            return Err(fault(
                &message,
                "keep the services; change their fields, the load or the environment",
            ));
        }
        if plan.loads.len() != self.state.load_count() {
            let message =
                format!("it has {} loads, and the plan has {}", self.state.load_count(), plan.loads.len());
            return Err(fault(&message, "keep the number of loads; a load of rate 0 is none"));
        }
        for (load, planned) in plan.loads.iter().enumerate() {
            let service = &plan.services[planned.service].name;
            if planned.users.is_some() != self.state.has_users(load) {
                let message = format!("the load of {service} has users on one side only");
                return Err(fault(
                    &message,
                    "keep spec.load.arrivals.users, or its absence; change the counts",
                ));
            }
            if planned.queue.as_ref() != self.state.queue_settings(load) {
                let message = format!("the load of {service} has another spec.load.queue");
                return Err(fault(&message, "keep the queue: what is in it goes on by its rules"));
            }
        }
        if plan.epoch_ns != self.epoch_ns {
            let message = format!("its t=0 is {} ns, and the plan's is {} ns", self.epoch_ns, plan.epoch_ns);
            return Err(fault(&message, "keep the plan's epoch_ns"));
        }
        Ok(())
    }
}

fn fault(message: &str, remedy: &str) -> SimError {
    SimError::Snapshot { message: message.to_owned(), remedy: remedy.to_owned() }
}

fn text_of(value: &impl Serialize) -> Result<String, SimError> {
    serde_json::to_string(value)
        .map_err(|error| fault(&format!("it cannot be stored ({error})"), "report this as a defect"))
}

/// FNV-1a with 64 bits: against mistakes, not against malice.
fn checksum(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
