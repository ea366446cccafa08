//! The schema of `spec.environment`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::load::DistributionFile;
use super::nodes::{NodesFile, SharedBandwidthFile};
use super::quantities::{BandwidthText, BytesText, DurationText, PercentText, RateText, StoragePrefix};
use crate::scenario::{DriftTest, FlaggerVersion, LateConnections, Profile};

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct EnvironmentFile {
    /// ConfigMaps of Knative Serving.
    knative: Option<KnativeFile>,
    /// Latency on the way.
    network: Option<NetworkFile>,
    /// How long the model computes.
    service_time: Option<DistributionFile>,
    /// How the model server works.
    server: Option<ServerFile>,
    /// What versions of the model do differently; the first that matches counts.
    #[schemars(length(min = 1))]
    models: Option<Vec<ModelFile>>,
    /// Sizes of container images; the first that matches counts, and pod-start.image-pull where none does.
    #[schemars(length(min = 1))]
    images: Option<Vec<ImageFile>>,
    /// What a starting pod waits for.
    pod_start: Option<PodStartFile>,
    /// What a stopping pod waits for.
    pod_stop: Option<PodStopFile>,
    /// The machines; one without limits unless given.
    nodes: Option<NodesFile>,
    /// How fast images and models come.
    bandwidth: Option<SharedBandwidthFile>,
    /// Models that every node already holds.
    #[schemars(length(min = 1))]
    local_model_cache: Option<Vec<StoragePrefix>>,
    /// Cycles and delays of the control plane where they are not upstream's.
    control: Option<ControlFile>,
    /// Whose decision rules hold where upstream is likely to be wrong; windtunnel unless given.
    profile: Option<Profile>,
    /// Features or predictions that change.
    drift: Option<DriftFile>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct KnativeFile {
    /// The ConfigMap config-autoscaler: stable-window, scale-to-zero-grace-period and so on.
    config_autoscaler: Option<BTreeMap<String, Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct NetworkFile {
    /// Added to every request on its way to the gateway; 300us unless given.
    gateway: Option<DurationText>,
    /// How long the gateway tries to connect to a pod whose machine does not answer, before it answers 503; 10s unless
    /// given, as in Envoy.
    connect_timeout: Option<DurationText>,
    /// There and back between the gateway (Knative's activator) and a pod; 0s unless given. Added to every request that the
    /// gateway sends to a pod, but not to messages of a queue. The activator also probes each new pod over it before it
    /// sends requests there: see control.activator.
    round_trip: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ServerFile {
    /// Cores that the requests of a pod share, or manifest for its CPU limit; each has its own unless given.
    cores: Option<ServerCores>,
    /// Requests computed at once in a pod; all unless given.
    #[schemars(range(min = 1, max = 1_000_000))]
    workers: Option<u32>,
    /// Dynamic batching.
    batching: Option<BatchingFile>,
    /// A server of a large language model with continuous batching.
    llm: Option<LlmFile>,
    /// The slow first requests of a pod.
    warm_up: Option<WarmUpFile>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ServerCores {
    Number(f64),
    Word(ManifestWord),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum ManifestWord {
    Manifest,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct BatchingFile {
    /// The largest batch.
    #[schemars(range(min = 1, max = 65_536))]
    size: u32,
    /// How long the first request of a batch waits for others; 0s unless given.
    delay: Option<DurationText>,
    /// Time of a batch whatever its size; 0s unless given.
    base: Option<DurationText>,
    /// Time that each request adds; 0s unless given.
    per_item: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct LlmFile {
    /// Context tokens a second of one sequence.
    prefill: RateText,
    /// Generated tokens a second of one sequence alone.
    decode: RateText,
    /// Sequences at once; 32 unless given.
    #[schemars(range(min = 1, max = 1_000_000))]
    slots: Option<u32>,
    /// What each further sequence adds to the time of a step; 2% unless given.
    slowdown: Option<PercentText>,
    /// Tokens that the key-value cache holds; without a limit unless given.
    #[schemars(range(min = 1))]
    kv_tokens: Option<u64>,
    /// Context tokens of a request when the load names none; 1000 unless given.
    #[schemars(range(min = 0, max = 100_000_000))]
    context: Option<u32>,
    /// Generated tokens of a request when the load names none; 200 unless given.
    #[schemars(range(min = 1, max = 100_000_000))]
    generated: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WarmUpFile {
    /// How many requests of a pod are slow.
    #[schemars(range(min = 1, max = 1_000_000))]
    requests: u32,
    /// How many times as long they take.
    #[schemars(range(min = 1, max = 10_000))]
    factor: f64,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ModelFile {
    /// The beginning of the version's storage URI.
    r#match: StoragePrefix,
    /// How long it computes.
    service_time: Option<DistributionFile>,
    /// Share of requests that it answers with 500; 0% unless given.
    error_rate: Option<PercentText>,
    /// Share of predictions that differ from the reference; 0% unless given.
    different: Option<PercentText>,
    /// Size of its files.
    size: Option<BytesText>,
    /// Memory of the server with it.
    memory: Option<MemoryUseFile>,
    /// Memory on the GPU of the server with it.
    gpu_memory: Option<MemoryUseFile>,
    /// How its server works; what is left out is that of the environment's server.
    server: Option<ServerFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ImageFile {
    /// The beginning of the image's name, as it stands in the rendered container: a repository, or one with a tag.
    #[schemars(length(min = 1))]
    r#match: String,
    /// What a node pulls that has it not; other containers of a pod are pulled too where an entry matches theirs.
    size: BytesText,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct MemoryUseFile {
    /// Whether or not there are requests.
    base: BytesText,
    /// For each request that it holds; 0B unless given.
    per_request: Option<BytesText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PodStartFile {
    /// Until a node is chosen and told.
    schedule: Option<DurationText>,
    /// Until the image is on the node: a time, or the size of the image.
    image_pull: Option<TransferFile>,
    /// Until the model's files are there: a time, or their size.
    download: Option<TransferFile>,
    /// Until the server has loaded the model: a time, or a rate.
    load: Option<ModelLoadFile>,
    /// Until the readiness probe has noticed: a time, or period for that of the manifest.
    probe: Option<ProbeFile>,
    /// Until the gateway knows the address.
    propagate: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum TransferFile {
    /// Always the same time.
    Takes(DurationText),
    /// As long as the bandwidth makes it.
    Sized(SizeFile),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SizeFile {
    /// How much has to come.
    size: BytesText,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ModelLoadFile {
    /// Always the same time.
    Takes(DurationText),
    /// The model's size at a rate.
    Rate(LoadRateFile),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct LoadRateFile {
    /// How fast the server reads the model.
    rate: BandwidthText,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ProbeFile {
    /// Always the same time.
    Takes(DurationText),
    /// Until the manifest's next probe.
    Word(PeriodWord),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum PeriodWord {
    Period,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PodStopFile {
    /// How long it stays up after it was told to stop.
    grace: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ControlFile {
    /// The Knative autoscaler's metrics.
    kpa: Option<KpaTimingFile>,
    /// How Knative's activator finds out that it can reach a pod, on a network with a round trip.
    activator: Option<ActivatorFile>,
    /// The HorizontalPodAutoscaler and its metrics.
    hpa: Option<HpaTimingFile>,
    /// KEDA where a ScaledObject says nothing.
    keda: Option<KedaTimingFile>,
    /// Flagger.
    flagger: Option<FlaggerControlFile>,
    /// When each loop's first cycle is; the seed says so unless given.
    phases: Option<ControlPhasesFile>,
}

/// Releases of Kubernetes between which the HorizontalPodAutoscaler decides differently; each one stands for those up
/// to the next.
#[derive(JsonSchema)]
enum HpaVersionFile {
    #[schemars(rename = "1.18")]
    V1_18,
    #[schemars(rename = "1.21")]
    V1_21,
    #[schemars(rename = "1.26")]
    V1_26,
    #[schemars(rename = "1.27")]
    V1_27,
    #[schemars(rename = "1.33")]
    V1_33,
    #[schemars(rename = "1.37")]
    V1_37,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct KpaTimingFile {
    /// How long a scrape of a revision's pods takes while the activator is not in their path (target-burst-capacity 0, or
    /// capacity to spare); no time unless given. What it read counts for the second in which it ends, so two scrapes may
    /// count for one second: the later one alone, or their sum with profile upstream (knative/serving#6743).
    scrape_time: Option<DistributionFile>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ActivatorFile {
    /// The deadline of a probe (PROBE_TIMEOUT of the activator); 300ms unless given.
    probe_timeout: Option<DurationText>,
    /// What becomes of a connection that is made after it; kept unless given (knative/serving#14202).
    late_connections: Option<LateConnections>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HpaTimingFile {
    /// How often it decides; 15s unless given.
    sync: Option<DurationText>,
    /// How often the metrics server reads the pods; 15s unless given.
    scrape: Option<DurationText>,
    /// From the reading until the metric can be seen; 0s unless given.
    delay: Option<DurationText>,
    /// The release of Kubernetes whose rules hold; 1.33 unless given.
    version: Option<HpaVersionFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FlaggerControlFile {
    /// The release of Flagger whose rules hold; 1.44 unless given. They differ where a primary gets stuck while it is
    /// promoted (https://github.com/fluxcd/flagger/pull/1931).
    version: Option<FlaggerVersion>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct KedaTimingFile {
    /// How often triggers are read; 30s unless given.
    polling: Option<DurationText>,
    /// From the reading until the metric can be seen; 0s unless given.
    delay: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ControlPhasesFile {
    /// The Knative autoscaler's ticks.
    kpa: Option<DurationText>,
    /// The readings of metrics: the Knative autoscaler's (each second; on whole seconds unless given) and the metrics
    /// server's.
    scrape: Option<DurationText>,
    /// The HorizontalPodAutoscaler's decisions.
    hpa: Option<DurationText>,
    /// KEDA's polling.
    keda: Option<DurationText>,
    /// The ticks of a canary's controller.
    canary: Option<DurationText>,
    /// The cluster autoscaler's looks.
    nodes: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DriftFile {
    /// How the features change.
    feature: Option<DriftShiftFile>,
    /// How the predictions change.
    predictions: Option<DriftShiftFile>,
    /// What watches.
    detector: Option<DriftDetectorFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DriftShiftFile {
    /// When it begins.
    at: DurationText,
    /// How far the mean moves, in standard deviations.
    #[schemars(range(min = -1_000, max = 1_000))]
    shift: f64,
    /// How long it takes; a step unless given.
    over: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DriftDetectorFile {
    /// What it computes; ks unless given.
    test: Option<DriftTest>,
    /// How many of the latest requests it compares; 500 unless given.
    #[schemars(range(min = 2, max = 1_000_000))]
    window: Option<u32>,
    /// A p-value for ks (0.01 unless given), an index for psi (0.2 unless given).
    threshold: Option<f64>,
}
