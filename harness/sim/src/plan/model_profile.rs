//! What a version of a model does: the environment's entry for its storage URI, resolved to what the simulator runs.

use windtunnel_scenario::{Arrivals, Cores, Distribution, Environment, MemoryUse, Scenario, TraceFormat};

use super::Resources;
use crate::error::SimError;
use crate::server::{
    BatchingSettings, Draw, Impossible, KvAdmission, LlmSettings, Memory, Overflow, Server, WarmUp,
};

/// A key-value cache without a limit: more tokens than anybody will ever send.
const ENDLESS_KV_TOKENS: u64 = 1 << 50;

/// How the pods of one version of a model behave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelProfile {
    /// How long it computes for one request.
    pub(crate) service_time: Draw,
    /// The server of a fresh pod.
    pub(crate) server: Server,
    /// What its server does with tokens, when it is that of a language model.
    pub(crate) tokens: Option<Tokens>,
    /// Its slow first requests.
    pub(crate) warm_up: Option<WarmUp>,
    /// The memory of a fresh pod; `None` is not looked at.
    pub(crate) memory: Option<Memory>,
    /// The same on the GPU.
    pub(crate) gpu_memory: Option<Memory>,
    /// Share of requests that it answers with 500.
    pub(crate) error_rate: f64,
    /// Share of its predictions that differ from the reference.
    pub(crate) different: f64,
    /// Whether predictions are held against a reference at all.
    pub(crate) is_checked: bool,
}

/// A server that takes no time. It stands where there is no other, in a simulation that ends with an error.
impl Default for ModelProfile {
    fn default() -> Self {
        Self {
            service_time: Draw::default(),
            server: Server::direct(),
            tokens: None,
            warm_up: None,
            memory: None,
            gpu_memory: None,
            error_rate: 0.0,
            different: 0.0,
            is_checked: false,
        }
    }
}

/// A language model and the tokens of a request whose load names none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tokens {
    pub(crate) settings: LlmSettings,
    pub(crate) context: u32,
    pub(crate) generated: u32,
}

impl ModelProfile {
    /// What the version at a storage URI does in a container with these limits.
    ///
    /// # Errors
    /// Settings that cannot be, or that are not simulated together.
    pub(crate) fn of(
        environment: &Environment,
        storage_uri: &str,
        limits: &Resources,
    ) -> Result<Self, SimError> {
        let model = environment.model(storage_uri);
        let of_model = |key: &str, is_own: bool| match model {
            Some(model) if is_own => format!("spec.environment.models[{:?}].{key}", model.prefix),
            _ => format!("spec.environment.{key}"),
        };
        let time_place = of_model("service-time", model.is_some_and(|model| model.service_time.is_some()));
        let service_time = draw_of(environment.service_time_of(storage_uri))
            .map_err(|error| environment_error(&time_place, &error))?;
        let place = of_model("server", model.is_some_and(|model| model.server.is_some()));
        let settings = environment.server_of(storage_uri);
        let (server, tokens) = server_of(settings, &service_time, limits, &place)?;
        let warm_up = settings
            .warm_up
            .map(|warm_up| WarmUp::new(warm_up.requests, warm_up.factor))
            .transpose()
            .map_err(|error| environment_error(&place, &error))?;
        let memory = |used: Option<MemoryUse>, limit_bytes, overflow| {
            used.map(|used| Memory::new(used.base.get(), used.per_request.get(), limit_bytes, overflow))
                .transpose()
                .map_err(|error| environment_error(&of_model("memory", true), &error))
        };
        let memory_limit = Some(limits.memory_bytes).filter(|bytes| *bytes > 0);
        Ok(Self {
            service_time,
            server,
            tokens,
            warm_up,
            memory: memory(model.and_then(|model| model.memory), memory_limit, Overflow::KillsPod)?,
            gpu_memory: memory(
                model.and_then(|model| model.gpu_memory),
                gpu_bytes(environment, limits),
                Overflow::FailsRequest,
            )?,
            error_rate: model.map_or(0.0, |model| model.error_rate),
            different: model.map_or(0.0, |model| model.different),
            is_checked: environment.models.iter().any(|model| model.different > 0.0),
        })
    }
}

/// The distribution that a scenario names, to draw from.
pub(crate) fn draw_of(distribution: &Distribution) -> Result<Draw, Impossible> {
    match distribution {
        Distribution::Constant { mean } => Draw::constant(mean.as_ns() as f64),
        Distribution::Exponential { mean } => Draw::exponential(mean.as_ns() as f64),
        Distribution::Lognormal { mean, cv } => Draw::lognormal(mean.as_ns() as f64, *cv),
        Distribution::Gamma { mean, cv } => Draw::gamma(mean.as_ns() as f64, *cv),
        Distribution::Pareto { minimum, shape } => Draw::pareto(minimum.as_ns() as f64, *shape),
        Distribution::Empirical { values } => Draw::empirical(values.clone()),
    }
}

/// Whether the server of a version can do what a load brings with it.
///
/// # Errors
/// Recorded durations for a language model.
pub(super) fn check_work(scenario: &Scenario, load: usize, storage_uri: &str) -> Result<(), SimError> {
    let load = &scenario.loads[load];
    let Arrivals::Trace(traces) = &load.arrivals else { return Ok(()) };
    let has_durations = traces.iter().any(|trace| trace.format == TraceFormat::AzureFunctions2021);
    if !has_durations || scenario.environment.server_of(storage_uri).llm.is_none() {
        return Ok(());
    }
    Err(SimError::Unsupported {
        place: format!("{}: load of {:?}", scenario.path.display(), load.target),
        what: "a trace of durations for the server of a language model".to_owned(),
        remedy: "take a trace of tokens, or leave server.llm out".to_owned(),
    })
}

fn server_of(
    settings: &windtunnel_scenario::Server,
    service_time: &Draw,
    limits: &Resources,
    place: &str,
) -> Result<(Server, Option<Tokens>), SimError> {
    let cores = match settings.cores {
        Cores::Unlimited => None,
        Cores::Number(cores) => Some(cores),
        Cores::Manifest => Some(limits.cpu_milli)
            .filter(|milli| *milli > 0)
            .map(|milli| milli as f64 / 1000.0)
            .ok_or_else(|| SimError::Environment {
                place: format!("{place}.cores"),
                message: "the manifest sets no limits.cpu; set it, or write a number of cores here"
                    .to_owned(),
            })
            .map(Some)?,
    };
    let others = [
        ("workers", settings.workers.is_some()),
        ("batching", settings.batching.is_some()),
        ("llm", settings.llm.is_some()),
    ];
    if let Some((other, _)) = others.iter().find(|(_, is_set)| *is_set && cores.is_some()) {
        return Err(together(place, "cores", other));
    }
    if settings.llm.is_some() && settings.workers.is_some() {
        return Err(together(place, "workers", "llm"));
    }
    let mut tokens = None;
    let server = if let Some(llm) = settings.llm {
        let settings = LlmSettings {
            prefill_per_s: llm.prefill.as_per_second(),
            decode_per_s: llm.decode.as_per_second(),
            slowdown: llm.slowdown,
            slots: llm.slots,
            kv_tokens: llm.kv_tokens.unwrap_or(ENDLESS_KV_TOKENS),
            admission: KvAdmission::Preempt,
        };
        tokens = Some(Tokens { settings, context: llm.context, generated: llm.generated });
        Server::llm(settings)
    } else if let Some(batching) = settings.batching {
        Server::batching(BatchingSettings {
            size: batching.size,
            delay_ns: batching.delay.as_ns(),
            base_ns: batching.base.as_ns(),
            per_item_ns: batching.per_item.as_ns(),
            mean_ns: service_time.mean_ns(),
            instances: settings.workers.unwrap_or(1),
        })
    } else if let Some(workers) = settings.workers {
        Server::workers(workers)
    } else if let Some(cores) = cores {
        Server::shared(cores)
    } else {
        Ok(Server::direct())
    };
    server.map(|server| (server, tokens)).map_err(|error| environment_error(place, &error))
}

/// What a pod has on its GPUs, by the pool with the smallest ones: where a pod comes to lie is not known here.
fn gpu_bytes(environment: &Environment, limits: &Resources) -> Option<u64> {
    let pools = environment.nodes.iter().flat_map(|nodes| &nodes.pools);
    let smallest = pools.filter(|pool| pool.gpus > 0).map(|pool| pool.gpu_memory.get()).min()?;
    Some(smallest.saturating_mul(u64::from(limits.gpus.max(1)))).filter(|bytes| *bytes > 0)
}

pub(crate) fn environment_error(place: &str, error: &Impossible) -> SimError {
    SimError::Environment { place: place.to_owned(), message: error.to_string() }
}

fn together(place: &str, one: &str, other: &str) -> SimError {
    SimError::Unsupported {
        place: place.to_owned(),
        what: format!("{one} together with {other}"),
        remedy: format!("leave one of them out, also the {one} of spec.environment.server"),
    }
}

#[cfg(test)]
mod tests {
    use windtunnel_scenario::{Bytes, Duration, Llm, Nodes, Pool, Price, Scheduling};

    use super::*;

    fn environment() -> Environment {
        let pool = |name: &str, gib| Pool {
            name: name.to_owned(),
            count: 1,
            least: 1,
            most: 1,
            cpu_milli: 8_000,
            memory: Bytes::from_gib(32),
            gpus: 2,
            gpu_memory: Bytes::from_gib(gib),
            price: Price::per_hour(1.0),
            bandwidth: None,
            zone: String::new(),
        };
        Environment {
            nodes: Some(Nodes {
                pools: vec![pool("large", 80), pool("small", 24)],
                scheduling: Scheduling::Spread,
                autoscaler: None,
                monitor_grace_period: Nodes::MONITOR_GRACE_PERIOD,
                unreachable_toleration: Nodes::UNREACHABLE_TOLERATION,
            }),
            models: vec![windtunnel_scenario::ModelProfile {
                prefix: "s3://llama".to_owned(),
                service_time: None,
                error_rate: 0.25,
                different: 0.5,
                size: None,
                memory: Some(MemoryUse { base: Bytes::from_gib(2), per_request: Bytes::ZERO }),
                gpu_memory: Some(MemoryUse { base: Bytes::from_gib(40), per_request: Bytes::ZERO }),
                server: Some(windtunnel_scenario::Server { llm: Some(Llm::default()), ..Default::default() }),
            }],
            ..Environment::default()
        }
    }

    /// A version that takes another's speed, memory or errors makes every comparison of the two wrong.
    #[test]
    fn the_first_entry_that_matches_the_uri_counts() {
        let limits = Resources { cpu_milli: 0, memory_bytes: 1 << 30, gpus: 1 };
        let llama = ModelProfile::of(&environment(), "s3://llama/7b", &limits).expect("sound");
        assert_eq!((llama.error_rate, llama.different, llama.is_checked), (0.25, 0.5, true));
        assert_eq!(llama.tokens.map(|tokens| (tokens.context, tokens.generated)), Some((1_000, 200)));
        assert!(!llama.memory.expect("given").is_loadable(), "2 GiB in a container of 1 GiB");
        assert!(!llama.gpu_memory.expect("given").is_loadable(), "40 GiB on a GPU of 24 GiB");
        let two = Resources { gpus: 2, ..limits };
        let llama = ModelProfile::of(&environment(), "s3://llama/7b", &two).expect("sound");
        assert!(llama.gpu_memory.expect("given").is_loadable(), "40 GiB on two GPUs of 24 GiB");
        let other = ModelProfile::of(&environment(), "s3://digits", &limits).expect("sound");
        assert_eq!((other.error_rate, other.tokens, other.memory), (0.0, None, None));
        assert!(other.is_checked, "the versions are compared with each other");
    }

    /// Settings that would be left out silently are said instead.
    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let refused = |server| {
            let environment = Environment { server, ..Environment::default() };
            ModelProfile::of(&environment, "", &Resources::default()).expect_err("wrong").to_string()
        };
        let server = windtunnel_scenario::Server::default();
        let text =
            refused(windtunnel_scenario::Server { cores: Cores::Number(2.0), workers: Some(1), ..server });
        assert!(text.contains("cores together with workers"), "{text}");
        let text = refused(windtunnel_scenario::Server { cores: Cores::Manifest, ..server });
        assert!(text.contains("spec.environment.server.cores") && text.contains("limits.cpu"), "{text}");
        let text =
            refused(windtunnel_scenario::Server { llm: Some(Llm { slots: 0, ..Llm::default() }), ..server });
        assert!(text.contains("number of slots"), "{text}");
        let environment = Environment {
            service_time: Distribution::Pareto { minimum: Duration::from_ms(1), shape: 0.5 },
            ..Environment::default()
        };
        let text = ModelProfile::of(&environment, "", &Resources::default()).expect_err("wrong").to_string();
        assert!(text.contains("spec.environment.service-time"), "{text}");
    }
}
