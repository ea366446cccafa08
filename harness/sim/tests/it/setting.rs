//! Scenarios for tests, made of the parts that a test cares about.

use std::fmt::Write as _;

use windtunnel_api::manifest;
use windtunnel_record::Recording;
use windtunnel_scenario::Scenario;
use windtunnel_scenario::load::{Arrival, Flight, Work};
use windtunnel_sim::{Phase, Phases, Plan, Summary, simulate, simulate_arrivals};

/// Milliseconds in nanoseconds.
pub(crate) const MS: u64 = 1_000_000;
/// A second in nanoseconds.
pub(crate) const S: u64 = 1_000_000_000;

/// A scenario with one service called `digits`. Without changes: no latency on the way, one second from pod to
/// ready, 5 ms a request, one request a second.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) predictor: String,
    pub(crate) annotations: String,
    pub(crate) duration: String,
    pub(crate) load: String,
    pub(crate) timeout: String,
    pub(crate) events: String,
    pub(crate) objectives: String,
    pub(crate) service_time: String,
    pub(crate) gateway: String,
    pub(crate) pod_start: String,
    pub(crate) autoscaler: String,
    /// Further keys of the load, such as `retries: {…}`.
    pub(crate) load_keys: String,
    /// Further keys of the environment, such as `server: {…}`, separated by line feeds.
    pub(crate) environment_keys: String,
    /// Further manifests, each beginning with `---`.
    pub(crate) objects: String,
    /// What goes wrong, as `spec.faults` lists it.
    pub(crate) faults: String,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            predictor: "minReplicas: 0, maxReplicas: 10".to_owned(),
            annotations: String::new(),
            duration: "60s".to_owned(),
            load: "process: constant, phases: [{for: 60s, rate: 1/s}]".to_owned(),
            timeout: "30s".to_owned(),
            events: "[]".to_owned(),
            objectives: "[error-rate<1%]".to_owned(),
            service_time: "distribution: constant, mean: 5ms".to_owned(),
            gateway: "0s".to_owned(),
            pod_start: "schedule: 100ms, image-pull: 200ms, download: 300ms, load: 300ms, probe: 60ms, propagate: 40ms"
                .to_owned(),
            autoscaler: String::new(),
            load_keys: String::new(),
            environment_keys: String::new(),
            objects: String::new(),
            faults: String::new(),
        }
    }
}

impl Setting {
    /// The plan, with the autoscaler's ticks at even seconds of the run and the gateway's reports on whole ones.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = self.read().expect("a sound scenario");
        plan.phases = Phases { ticks: Phase::Run(0), reports: Phase::Run(0) };
        plan
    }

    /// The plan as a user gets it, or what a user reads instead.
    pub(crate) fn read(&self) -> Result<Plan, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = format!(
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: digits\n  \
             annotations: {{{}}}\nspec:\n  predictor: {{model: {{modelFormat: {{name: onnx}}, storageUri: \
             's3://models/digits/v1'}}, {}}}\n{}",
            self.annotations, self.predictor, self.objects
        );
        let rows = "{\"body\": {\"instances\": [[1]]}}\n";
        std::fs::write(folder.path().join("isvc.yaml"), &manifest).expect("written");
        std::fs::write(folder.path().join("rows.jsonl"), rows).expect("written");
        let mut text = String::new();
        let knative = if self.autoscaler.is_empty() {
            String::new()
        } else {
            format!("    knative: {{config-autoscaler: {{{}}}}}\n", self.autoscaler)
        };
        let load_keys =
            if self.load_keys.is_empty() { String::new() } else { format!("    {}\n", self.load_keys) };
        let environment: String =
            self.environment_keys.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let faults =
            if self.faults.is_empty() { String::new() } else { format!("  faults: [{}]\n", self.faults) };
        write!(
            text,
            "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: test}}\nspec:\n  duration: {}\n  \
             manifests: [isvc.yaml]\n  load:\n    target: digits\n    protocol: v1\n    requests: rows.jsonl\n    \
             timeout: {}\n    arrivals: {{{}}}\n{load_keys}  events: {}\n  objectives: {}\n{faults}  environment:\n{knative}{environment}    \
             network: {{gateway: {}}}\n    service-time: {{{}}}\n    pod-start: {{{}}}\n    \
             pod-stop: {{grace: 500ms}}\n",
            self.duration,
            self.timeout,
            self.load,
            self.events,
            self.objectives,
            self.gateway,
            self.service_time,
            self.pod_start
        )
        .expect("a string");
        let path = folder.path().join("scenario.yaml");
        let scenario = Scenario::parse(&text, &path).map_err(|faults| faults.to_string())?;
        let manifests =
            manifest::parse(&manifest, "isvc.yaml").unwrap_or_else(|faults| panic!("{faults:?}\n{manifest}"));
        Plan::new(&scenario, &manifests, Flight::Whole).map_err(|error| error.to_string())
    }
}

/// Simulates with the scenario's own load.
pub(crate) fn fly(plan: &Plan, seed: u64) -> (Recording, Summary) {
    let mut recording = plan.recording(seed);
    let summary = simulate(plan, seed, &mut recording).expect("a sound simulation");
    (recording, summary)
}

/// Simulates with requests at these instants.
pub(crate) fn fly_at(plan: &Plan, at_ns: &[u64]) -> Recording {
    let mut recording = plan.recording(1);
    let arrivals =
        at_ns.iter().zip(0_u32..).map(|(at_ns, row)| Arrival { at_ns: *at_ns, row, work: Work::Drawn });
    simulate_arrivals(plan, 1, arrivals, &mut recording).expect("a sound simulation");
    recording
}

/// The decisions of a recording as (milliseconds, from, to).
pub(crate) fn decisions(recording: &Recording) -> Vec<(u64, i64, i64)> {
    recording.decisions.iter().map(|decision| (decision.t_ns / MS, decision.from, decision.to)).collect()
}

/// The latencies of a recording's requests in the order in which they were sent.
pub(crate) fn latencies(recording: &Recording) -> Vec<u64> {
    let mut requests: Vec<_> = recording.requests.iter().collect();
    requests.sort_by_key(|request| request.row);
    requests.iter().map(|request| request.latency_ns).collect()
}

/// What a recording's file holds.
pub(crate) fn bytes(recording: &Recording) -> Vec<u8> {
    let mut text = Vec::new();
    recording.write_jsonl(&mut text).expect("written to memory");
    text
}
