//! What cannot be: parameters, combinations and references that no run could honour.

use crate::room::Room;

/// A scenario with parts of its load, its environment and its spec.
fn text(load: &str, arrivals: &str, rest: &str) -> String {
    format!(
        "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  duration: 60s\n  \
         manifests: [isvc.yaml]\n  load:\n    requests: requests.jsonl\n{load}    arrivals: {{{arrivals}}}\n{rest}"
    )
}

const PHASES: &str = "phases: [{for: 10s, rate: 1/s}]";

fn report(cases: &[(&str, String)]) -> String {
    let room = Room::new();
    room.write("words.txt", "1.5\nsoon\n");
    room.write("zero.txt", "0\n0\n");
    room.write("empty.txt", "# nothing\n\n");
    room.write("negative.txt", "-1\n");
    room.write("recording.jsonl", "{\"meta\": {}}\n{\"request\": {\"status\": \"fine\"}}\n");
    let said: Vec<String> =
        cases.iter().map(|(name, text)| format!("# {name}\n{}\n", room.faults(text))).collect();
    said.join("\n")
}

/// An impossible load would be simulated as another one.
#[test]
fn loads() {
    let arrivals = |inner: &str| text("", inner, "");
    let load = |key: &str| text(&format!("    {key}\n"), PHASES, "");
    let phase = |inner: &str| arrivals(&format!("phases: [{{for: 10s, rate: 10/s, {inner}}}]"));
    let burst = |inner: &str| arrivals(&format!("process: bursty, burst: {{{inner}}}, {PHASES}"));
    let users = |inner: &str| arrivals(&format!("users: {inner}"));
    let trace =
        |inner: &str| arrivals(&format!("trace: {{file: arrivals.csv, format: timestamps, {inner}}}"));
    insta::assert_snapshot!(report(&[
        ("bursty without a burst", arrivals(&format!("process: bursty, {PHASES}"))),
        ("a burst without bursty", arrivals(&format!("burst: {{factor: 5, on: 1s, off: 9s}}, {PHASES}"))),
        ("a burst that cannot keep the mean", burst("factor: 5, on: 2s, off: 2s")),
        ("a burst that is none", burst("factor: 1, on: 2s, off: 18s")),
        ("a burst of no time", burst("factor: 2, on: 0s, off: 1us")),
        ("a negative burst", burst("factor: -2, on: -1s, off: 1s")),
        ("a spike outside of its phase", phase("spike: {to: 20/s, at: 5s, rise: 2s, hold: 2s, fall: 2s}")),
        ("a spike of no time", phase("spike: {to: 20/s, at: 5s}")),
        ("a spike without a rate", phase("spike: {at: 5s, hold: 1s}")),
        ("two shapes", phase("to: 20/s, spike: {to: 20/s, at: 5s, hold: 1s}")),
        (
            "three shapes",
            phase("to: 20/s, spike: {to: 20/s, at: 5s, hold: 1s}, diurnal: {amplitude: 5%, peak-at: 1h}")
        ),
        ("a day with a negative rate", phase("diurnal: {amplitude: 120%, peak-at: 14h}")),
        ("a day without a wave", phase("diurnal: {amplitude: 0%, period: 0s, peak-at: 14h}")),
        ("a peak on another day", phase("diurnal: {amplitude: 50%, period: 1h, peak-at: 90m}")),
        ("users without thinking", users("[{for: 10s, count: 5}]")),
        (
            "users who think for no time",
            users("[{for: 10s, count: 5}], think-time: {distribution: constant, mean: 0s}")
        ),
        ("no users", users("[{for: 10s, count: 0}], think-time: {distribution: constant, mean: 1s}")),
        (
            "too many users",
            users("[{for: 10s, count: 2000000}], think-time: {distribution: constant, mean: 1s}")
        ),
        (
            "users for too long",
            users("[{for: 10m, count: 5}], think-time: {distribution: constant, mean: 1s}")
        ),
        (
            "users with a process",
            arrivals("process: constant, users: [], think-time: {distribution: constant, mean: 1s}")
        ),
        (
            "thinking without users",
            arrivals(&format!("think-time: {{distribution: constant, mean: 1s}}, {PHASES}"))
        ),
        ("phases and users", arrivals(&format!("users: [{{for: 1s, count: 1}}], {PHASES}"))),
        ("a scale of nothing", trace("scale: 0, stretch: -1")),
        ("a scale beyond measure", trace("scale: 1e9, stretch: .inf")),
        ("a filter without names", trace("app: a1, func: 5")),
        ("a stretch beyond the end", trace("from: 0s, to: 9s, stretch: 10")),
        ("no traces", arrivals("trace: []")),
        (
            "too many traces",
            arrivals(&format!("trace: [{0}, {0}]", "{file: arrivals.csv, format: timestamps, to: 40s}")),
        ),
        (
            "retries that never wait less",
            load("retries: {backoff: 1s, most: 10ms, factor: 0.5, jitter: 150%}")
        ),
        ("retries of successes", load("retries: {attempts: 0, on: [200, never, 503]}")),
        ("retries of nothing", load("retries: {on: []}")),
        ("partitions of a queue", load("queue: {broker: rabbitmq, partitions: 3}")),
        ("a queue without a broker", load("queue: {prefetch: 0, deliveries: 0, visibility-timeout: 0s}")),
        ("an unknown broker", load("queue: {broker: kafak}")),
        ("retries of messages", load("queue: {broker: kafka}\n    retries: {}")),
        ("a test of messages", load("queue: {broker: kafka}\n    matching: 10%")),
        ("more than all match", load("matching: 110%")),
        (
            "users with a queue",
            text(
                "    queue: {broker: kafka}\n",
                "users: [{for: 1s, count: 1}], think-time: {distribution: constant, mean: 1s}",
                "",
            ),
        ),
        ("no load", text("", PHASES, "").replace("  load:\n", "  load: []\n  was:\n")),
        (
            "two loads of one service",
            format!(
                "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  duration: 60s\n  \
                 manifests: [isvc.yaml]\n  load:\n    - {{requests: requests.jsonl, arrivals: {{{PHASES}}}}}\n    \
                 - {{requests: requests.jsonl, arrivals: {{{PHASES}}}}}\n"
            ),
        ),
    ]));
}

/// An impossible environment would be simulated as another one.
#[test]
fn environments() {
    let environment = |inner: &str| text("", PHASES, &format!("  environment:\n    {inner}\n"));
    let time = |inner: &str| environment(&format!("service-time: {{{inner}}}"));
    let server = |inner: &str| environment(&format!("server: {{{inner}}}"));
    let pool = |inner: &str| {
        environment(&format!("nodes: {{pools: [{{name: cpu, count: 2, cpu: 8, memory: 32GiB, {inner}}}]}}"))
    };
    insta::assert_snapshot!(report(&[
        ("an unknown distribution", time("distribution: lognormall, mean: 1ms")),
        ("a gamma without spread", time("distribution: gamma, mean: 1ms")),
        ("a gamma with a negative spread", time("distribution: gamma, mean: 0ms, cv: -1")),
        ("a pareto without a mean", time("distribution: pareto, minimum: 1ms, shape: 1")),
        ("a pareto of nothing", time("distribution: pareto, minimum: 0ms, shape: -2")),
        ("a pareto with a mean", time("distribution: pareto, mean: 1ms")),
        ("an exponential with a shape", time("distribution: exponential, mean: 1ms, shape: 2, recording: x")),
        ("an absent recording", time("distribution: empirical, recording: latency.txt")),
        ("a recording of words", time("distribution: empirical, recording: words.txt")),
        ("a recording of nothing", time("distribution: empirical, recording: empty.txt")),
        ("a recording of zeros", time("distribution: empirical, recording: zero.txt")),
        ("a recording of negative times", time("distribution: empirical, recording: negative.txt")),
        ("a damaged recording", time("distribution: empirical, recording: recording.jsonl")),
        ("no cores", server("cores: 0, workers: 0")),
        ("cores of something else", server("cores: manifests")),
        ("batches of no time", server("batching: {size: 8}")),
        ("batches of nothing", server("batching: {size: 0, base: 1ms}")),
        ("batching and llm", server("batching: {size: 8, base: 1ms}, llm: {prefill: 1/s, decode: 1/s}")),
        ("an llm that stands still", server("llm: {prefill: 0/s, decode: 0/s, slots: 0, slowdown: 200%}")),
        (
            "a cache for less than a request",
            server("llm: {prefill: 1/s, decode: 1/s, kv-tokens: 100, context: 90, generated: 11}"),
        ),
        ("a cache for nothing", server("llm: {prefill: 1/s, decode: 1/s, kv-tokens: 0, generated: 0}")),
        ("a warm-up that is none", server("warm-up: {requests: 0, factor: 0.5}")),
        ("no models", environment("models: []")),
        ("a model of no size", environment("models: [{match: \"s3://a\", size: 0GiB, error-rate: 5}]")),
        ("a model that is nowhere", environment("models: [{match: digits, memory: {per-request: 1Gi}}]")),
        (
            "a model that never matches",
            environment("models: [{match: \"s3://a\"}, {match: \"s3://a/b\", different: 5%}]"),
        ),
        (
            "an image that never matches",
            environment(
                "images: [{match: vllm/, size: 1GiB}, {match: vllm/openai, size: 2GiB}, {match: a, size: 0GiB}]"
            ),
        ),
        (
            "nodes that nobody watches",
            environment(
                "nodes: {pools: [{name: a, count: 1, cpu: 1, memory: 1GiB}], monitor-grace-period: 0s}"
            ),
        ),
        ("an image without a network", environment("pod-start: {image-pull: {size: 4GiB}}")),
        ("a model without a network", environment("pod-start: {download: {size: 4GiB}}")),
        ("a rate without a size", environment("pod-start: {load: {rate: 1GiB/s}}")),
        (
            "no bandwidth",
            environment("bandwidth: {registry: 0Gbit/s, storage: {s3: 1Gbit/s, \"s3://\": 10Gb/s}}")
        ),
        ("an odd probe", environment("pod-start: {probe: perod, image-pull: {}, download: {sise: 1GiB}}")),
        ("too few nodes", pool("least: 3")),
        ("too many nodes", pool("most: 1")),
        ("nodes that nobody adds", pool("most: 5")),
        ("gpus without memory", pool("gpus: 1")),
        ("memory without gpus", pool("gpu-memory: 24GiB")),
        ("free machines for money", pool("price: -1/h, bandwidth: 0Gbit/s")),
        ("no machines", environment("nodes: {pools: [{name: a, count: 0, cpu: 0, memory: 0GiB}]}")),
        ("empty pools", environment("nodes: {pools: [{name: a, count: 0, cpu: 1, memory: 1GiB}]}")),
        ("no pools", environment("nodes: {pools: [], scheduling: packed}")),
        (
            "pools of one name",
            environment(&format!(
                "nodes: {{pools: [{0}, {0}]}}",
                "{name: a, count: 1, cpu: 1, memory: 1GiB}"
            )),
        ),
        (
            "a scaler that never looks",
            environment(
                "nodes: {pools: [{name: a, count: 1, cpu: 1, memory: 1GiB}], autoscaler: {scan: 0s}}"
            )
        ),
        ("a cache of nowhere", environment("local-model-cache: [llama]")),
        ("loops that never run", environment("control: {hpa: {sync: 0s, scrape: 0s}, keda: {polling: 0s}}")),
        ("a way back in time", environment("network: {round-trip: -40ms, roundtrip: 40ms}")),
        (
            "probes without time",
            environment(
                "control: {activator: {probe-timeout: 0s, late-connections: lost}, kpa: {scrape-time: 20ms}}"
            ),
        ),
        ("a profile of nobody", environment("profile: upsteam")),
        ("no drift", environment("drift: {detector: {test: ks}}")),
        ("drift after the end", environment("drift: {feature: {at: 10m, shift: 0}}")),
        (
            "a detector that sees nothing",
            environment("drift: {feature: {at: 1s, shift: 1}, detector: {window: 1, threshold: 1}}"),
        ),
        (
            "a detector of indices",
            environment("drift: {feature: {at: 1s, shift: 1}, detector: {test: psi, threshold: -1}}"),
        ),
    ]));
}

/// A fault or an objective would be about nothing.
#[test]
fn references() {
    let faults = |inner: &str| text("", PHASES, &format!("  faults:\n    - {{{inner}}}\n"));
    let nodes = "  environment: {nodes: {pools: [{name: cpu, count: 1, cpu: 1, memory: 1GiB}, \
                 {name: gpu, count: 1, cpu: 1, memory: 1GiB}]}}\n";
    let on_nodes = |inner: &str| text("", PHASES, &format!("{nodes}  faults:\n    - {{{inner}}}\n"));
    let objectives = |rule: &str| text("", PHASES, &format!("  objectives: [{rule}]\n"));
    insta::assert_snapshot!(report(&[
        ("no faults", text("", PHASES, "  faults: []\n")),
        ("an unknown fault", faults("at: 5s, fault: pod-crsh")),
        ("a fault without a time", faults("fault: pod-crash")),
        ("a fault at two times", faults("at: 5s, every: 10s, fault: pod-crash")),
        ("a fault after the end", faults("at: 5m, fault: pod-crash")),
        ("a fault all the time", faults("every: 0s, fault: pod-crash, count: 0")),
        ("a crash of a stranger", faults("at: 5s, fault: pod-crash, target: digit")),
        ("a crash that lasts", faults("at: 5s, fault: pod-crash, for: 5s, prefix: \"s3://\"")),
        ("a loop that does not last", faults("at: 5s, fault: crash-loop")),
        ("a node of no pool", faults("at: 5s, fault: node-loss")),
        ("a node of some pool", on_nodes("at: 5s, fault: node-loss")),
        ("a node of another pool", on_nodes("at: 5s, fault: node-loss, pool: gup")),
        ("storage that is fast", faults("at: 5s, fault: slow-storage, prefix: s3, factor: 0.5, for: 0s")),
        ("clocks that stay", faults("at: 5s, fault: clock-phase, shift: 0s")),
        ("an objective about a stranger", objectives("p99<1s for digit, p99<1s for digits-predictor-00001")),
    ]));
}

/// A good scenario would be refused for what it leaves out.
#[test]
fn what_is_clear_may_be_left_out() {
    let room = Room::new();
    for text in [
        text("", PHASES, "  faults: [{at: 5s, fault: pod-crash}, {every: 1m, fault: api-outage, for: 1s}]\n"),
        text(
            "    retries: {}\n",
            PHASES,
            "  environment: {server: {}, control: {hpa: {}, keda: {}, phases: {}}}\n",
        ),
        text("", PHASES, "  environment: {nodes: {pools: [{name: a, count: 1, cpu: 500m, memory: 1GiB}]}}\n"),
        text(
            "    queue: {broker: rabbitmq}\n",
            PHASES,
            "  objectives: [stable, queued<100, p99<1s for digits]\n",
        ),
        text(
            "",
            "process: bursty, burst: {factor: 3.3333333333333335, on: 3s, off: 7s}, phases: [{for: 1s, rate: 1/s}]",
            "",
        ),
    ] {
        room.parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
    }
}
