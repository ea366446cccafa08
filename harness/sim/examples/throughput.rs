//! How fast and how large the simulator is: `throughput KIND REQUESTS [REPLICATIONS THREADS]`, one JSON object on
//! stdout. `ci/bench simulator` runs it beside other simulators.
//!
//! | kind | what is simulated |
//! | --- | --- |
//! | `queue` | M/M/100 through the gateway: one pod with 100 slots of rate 1/s, 90 requests a second |
//! | `fleet` | 100 pods of one slot behind activator and pod autoscaler (stat reports each second, a decision each 2 s), 300 requests a second of 0.2 s |
//! | `idle` | a service that sleeps for REQUESTS simulated days |

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use windtunnel_api::manifest;
use windtunnel_record::replications::Stopping;
use windtunnel_scenario::Scenario;
use windtunnel_scenario::load::Flight;
use windtunnel_sim::study::{Replication, replicate};
use windtunnel_sim::{Plan, SimError};

/// What a kind simulates: rate a second, mean service time in seconds, the predictor's own fields, its annotations.
struct Kind {
    rate: f64,
    service_s: f64,
    predictor: &'static str,
    annotations: &'static str,
}

const QUEUE: Kind = Kind {
    rate: 90.0,
    service_s: 1.0,
    predictor: "containerConcurrency: 100, minReplicas: 1, maxReplicas: 1",
    annotations: "autoscaling.knative.dev/target-burst-capacity: '0'",
};
const FLEET: Kind = Kind {
    rate: 300.0,
    service_s: 0.2,
    predictor: "containerConcurrency: 1, minReplicas: 100, maxReplicas: 100",
    annotations: "autoscaling.knative.dev/target-burst-capacity: '-1'",
};
const IDLE: Kind = Kind { rate: 0.0, service_s: 1.0, predictor: "minReplicas: 0", annotations: "unused: ''" };

fn plan(kind: &Kind, duration_s: f64) -> Result<Plan, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let service = format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: model, annotations: \
         {{{}}}}}\nspec: {{predictor: {{{}, model: {{modelFormat: {{name: onnx}}, storageUri: 's3://models/m'}}}}}}\n",
        kind.annotations, kind.predictor
    );
    std::fs::write(folder.path().join("isvc.yaml"), &service)?;
    std::fs::write(folder.path().join("rows.jsonl"), "{\"body\": {}}\n")?;
    let phases = match kind.rate {
        // One request, then sleep.
        0.0 => format!("{{for: 1s, rate: 1/s}}, {{for: {}s, rate: 0/s}}", duration_s - 1.0),
        rate => format!("{{for: {duration_s}s, rate: {rate}/s}}"),
    };
    let scenario = format!(
        "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: throughput}}\nspec:\n  duration: \
         {duration_s}s\n  manifests: [isvc.yaml]\n  load:\n    target: model\n    protocol: v1\n    requests: \
         rows.jsonl\n    timeout: 300s\n    arrivals: {{process: poisson, phases: [{}]}}\n  environment: {{network: {{gateway: 0ms}}, service-time: {{distribution: exponential, mean: \
         {}s}}}}\n  objectives: [error-rate<1%]\n",
        phases, kind.service_s
    );
    let scenario = Scenario::parse(&scenario, &folder.path().join("scenario.yaml"))?;
    let manifests = manifest::parse(&service, "isvc.yaml").map_err(|faults| format!("{faults:?}"))?;
    Ok(Plan::new(&scenario, &manifests, Flight::Whole)?)
}

fn simulate(plan: &Plan, replications: u64, threads: usize) -> Result<Vec<Replication>, SimError> {
    let stopping = Stopping { least: replications, most: replications, ..Stopping::default() };
    replicate(plan, 42, &stopping, &[], NonZeroUsize::new(threads))
}

/// A field of `/proc/self/status` in MiB; 0 where there is none.
fn status_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Processor time of this process in seconds; 0 where it cannot be read.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in ticks of a hundredth; the name in field 2 may hold spaces.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: throughput queue|fleet|idle REQUESTS [REPLICATIONS THREADS]";
    let number = |at: usize, default: Option<f64>| -> Result<f64, String> {
        match (arguments.get(at), default) {
            (Some(text), _) => text.parse().map_err(|_| format!("{text:?} is no number; {usage}")),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(usage.to_owned()),
        }
    };
    let requests = number(1, None)?;
    let (kind, duration_s) = match arguments[0].as_str() {
        "queue" => (QUEUE, requests / QUEUE.rate),
        "fleet" => (FLEET, requests / FLEET.rate),
        "idle" => (IDLE, requests * 86_400.0),
        other => return Err(format!("{other:?} is no kind; {usage}").into()),
    };
    let plan = plan(&kind, duration_s.ceil())?;
    let (replications, threads) = (number(2, Some(1.0))? as u64, number(3, Some(1.0))? as usize);
    let (began, cpu) = (Instant::now(), cpu_s());
    let done = simulate(&plan, replications, threads)?;
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu_s() - cpu);
    let figures = done[0].figures();
    let of = |name: &str| figures.get(name).copied().unwrap_or(0.0) / 1e9;
    let requests: u64 = done.iter().map(|one| one.summary.requests).sum();
    let answered: u64 = done.iter().map(|one| one.summary.answered).sum();
    println!(
        "{{\"requests\": {requests}, \"answered\": {answered}, \"simulated_s\": {}, \"mean_s\": {}, \"p99_s\": {}, \
         \"wall_s\": {wall_s}, \"cpu_s\": {cpu_s}, \"resident_mib\": {}}}",
        duration_s * replications as f64,
        of("latency.mean"),
        of("latency.p99"),
        status_mib("VmHWM:"),
    );
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
