//! One flight from the first manifest to the last answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use windtunnel_api::manifest::Manifest;
use windtunnel_control_plane::AutoscaleDecision;
use windtunnel_kernel::autoscale::kpa;
use windtunnel_record as record;
use windtunnel_record::{Recorder, Recording};
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::requests::RequestSet;
use windtunnel_scenario::{Action, Load, Protocol, Scenario, load};

use crate::client::ServiceClient;
use crate::manifests::{DEFAULT_NAMESPACE, Kinds};
use crate::observe::{self, Observer};
use crate::pilot::Pilot;
use crate::{EmbeddedStack, FlightError, arrivals, flyable, readiness};

/// Least time between Ready and the start of the load.
const SETTLE: Duration = Duration::from_secs(1);
/// The load starts with a period of the autoscaler's clock, as in the simulator: two runs then differ in what happens, not
/// in where the seconds lie.
const START_GRID_NS: u64 = kpa::TICK_NS;
/// Time that is left to answers after the time-out of the last request has passed.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How far a flight is.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'p> {
    /// Something before the load.
    Preparing(&'p str),
    /// The service became Ready this long after its manifest was applied.
    Ready(Duration),
    /// The load runs.
    Flying {
        /// Time since the load's start.
        elapsed: Duration,
        /// How long the load lasts.
        of: Duration,
        /// Requests answered so far.
        answered: usize,
        /// Of them failed.
        failed: usize,
    },
}

/// Flies one scenario: applies its manifests, waits for Ready, runs its load and events for their duration, and collects the
/// last answers. When `cancel` fires after the load has started, the recording so far is returned and says so in its events.
///
/// # Errors
/// Whatever keeps the load from starting. From then on everything is an observation.
pub async fn fly(
    stack: &EmbeddedStack,
    scenario: &Scenario,
    manifests: &[Manifest],
    flight: Flight,
    cancel: &CancellationToken,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Recording, FlightError> {
    flyable::check(scenario, flight)?;
    let client = stack.client();
    let namespace = namespace_of(manifests, &scenario.load().target);
    let requests =
        RequestSet::load(&scenario.load().requests).map_err(|error| FlightError::Load(error.to_string()))?;
    let plan = load::arrivals(scenario, 0, flight).map_err(|error| FlightError::Load(error.to_string()))?;
    let duration = scenario.duration_of(flight).as_std();
    let timeout = scenario.load().timeout.as_std();

    let mut sightings = observe::sightings(&client, &namespace);
    let mut decisions = stack.control_plane().decisions();
    progress(Progress::Preparing("applying the manifests"));
    let kinds = Kinds::discover(client.clone()).await?;
    let applied = Instant::now();
    for manifest in manifests {
        kinds.apply(&scenario.path, manifest).await?;
    }
    let ready = readiness::wait(&client, &namespace, &scenario.load().target, cancel).await?;
    progress(Progress::Ready(applied.elapsed()));

    let (epoch, epoch_unix_ns) = start_of_load();
    let mut recording = Recording::new(record::Meta {
        flight,
        versions: BTreeMap::from([("windtunnel".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        ..record::Meta::new(&scenario.name, record::Source::Live, scenario.seed, duration.as_nanos() as u64)
    });
    let mut observer = Observer::new(epoch);
    let service = ServiceClient::new(stack.gateway_address(), ready.host, endpoint(scenario.load()), timeout);
    let (mut pilot, mut answered) = Pilot::new(service, requests);

    let stop = cancel.child_token();
    let mut due = arrivals::start(plan, epoch, stop.clone());
    let mut events = scenario.events_in(flight).into_iter().peekable();
    let mut second = 0_u64;
    let mut load_ended = false;
    let end = epoch + duration + timeout + LAST_ANSWERS;

    let flown: Result<(), FlightError> = async {
        loop {
            let next_second = epoch + Duration::from_secs(second);
            let next_event = events.peek().map_or(end, |event| epoch + event.at.as_std());
            let sampling = next_second <= epoch + duration;
            if load_ended && pilot.under_way() == 0 && !sampling && events.peek().is_none() {
                break;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    observe::event(&mut recording, observer.time_ns(Instant::now()), "scenario", &scenario.name, "interrupted".into());
                    break;
                }
                () = tokio::time::sleep_until(end.into()) => {
                    pilot.land_the_rest(&observer, &mut recording);
                    break;
                }
                arrival = due.recv(), if !load_ended => match arrival {
                    Some(arrival) => pilot.send(arrival, &observer, &mut recording),
                    None => load_ended = true,
                },
                Some(sent) = answered.recv() => pilot.land(sent, &observer, &mut recording),
                () = tokio::time::sleep_until(next_second.into()), if sampling => {
                    observer.sample(second * 1_000_000_000, pilot.under_way(), &mut recording);
                    progress(Progress::Flying {
                        elapsed: Duration::from_secs(second), of: duration, answered: pilot.answered, failed: pilot.failed,
                    });
                    second += 1;
                }
                () = tokio::time::sleep_until(next_event.into()), if events.peek().is_some() => {
                    if let Some(event) = events.next() {
                        // Commands were refused before the flight.
                        let Action::Patch(patch) = &event.action else { continue };
                        kinds.merge(&scenario.path, &patch.kind, &namespace, &patch.name, &patch.merge).await?;
                        observe::event(&mut recording, observer.time_ns(Instant::now()), "scenario", &patch.name, event.name.clone());
                    }
                }
                Some(sighting) = sightings.next() => observer.see(sighting, &mut recording),
                Ok(decision) = decisions.recv() => decide(decision, epoch_unix_ns, &mut recording),
            }
        }
        Ok(())
    }
    .await;
    stop.cancel();
    pilot.stop().await;
    flown?;
    recording.sort();
    Ok(recording)
}

fn decide(decision: AutoscaleDecision, epoch_unix_ns: u64, recorder: &mut dyn Recorder) {
    recorder.decision(record::Decision {
        t_ns: decision.at_unix_ns.saturating_sub(epoch_unix_ns),
        actor: "kpa".into(),
        target: decision.revision,
        from: decision.from,
        to: decision.to,
        text: decision.text,
        explanation: decision.explanation,
    });
}

/// The path of the load's inference protocol.
fn endpoint(load: &Load) -> String {
    match load.protocol {
        Protocol::V1 => format!("/v1/models/{}:predict", load.target),
        Protocol::V2 => format!("/v2/models/{}/infer", load.target),
    }
}

/// The namespace in which the manifests put the service under test.
fn namespace_of(manifests: &[Manifest], target: &str) -> String {
    manifests
        .iter()
        .filter(|manifest| manifest.kind == "InferenceService" && manifest.name == target)
        .find_map(|manifest| manifest.namespace.as_deref())
        .unwrap_or(DEFAULT_NAMESPACE)
        .to_owned()
}

/// When the load starts: on this process's clock, and in nanoseconds since the Unix epoch.
fn start_of_load() -> (Instant, u64) {
    let now = Instant::now();
    let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let start_ns = kpa::next_on_grid(unix_ns + SETTLE.as_nanos() as u64, 0, START_GRID_NS);
    (now + Duration::from_nanos(start_ns - unix_ns), start_ns)
}
