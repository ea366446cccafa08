//! The agent's command line.

use k8s_openapi::api::core::v1::Pod;

use super::super::component::{Logger, LoggerStorage};
use super::super::config::LoggerConfig;
use super::super::inference_service::InferenceService;
use super::super::names;
use super::super::names::{
    AGENT_CONFIG_MOUNT, AGENT_MODEL_DIR, BATCHER_MAX_BATCH_SIZE, BATCHER_MAX_LATENCY,
    LOGGER_METADATA_ANNOTATIONS, LOGGER_METADATA_HEADERS, LOGGER_MODE, LOGGER_SINK_URL,
};
use super::{annotation, label, namespace};

/// Arguments for pulling models.
pub(super) fn puller(pod: &Pod) -> Vec<String> {
    let mut arguments = vec!["--enable-puller".to_owned()];
    optional(&mut arguments, "--config-dir", annotation(pod, AGENT_CONFIG_MOUNT));
    optional(&mut arguments, "--model-dir", annotation(pod, AGENT_MODEL_DIR));
    arguments
}

/// Arguments for batching. The configuration's defaults are the agent's own and are not repeated.
pub(super) fn batcher(pod: &Pod) -> Vec<String> {
    let mut arguments = vec!["--enable-batcher".to_owned()];
    optional(&mut arguments, "--max-batchsize", annotation(pod, BATCHER_MAX_BATCH_SIZE));
    optional(&mut arguments, "--max-latency", annotation(pod, BATCHER_MAX_LATENCY));
    arguments
}

fn optional(arguments: &mut Vec<String>, flag: &str, value: Option<&str>) {
    if let Some(value) = value {
        arguments.extend([flag.to_owned(), value.to_owned()]);
    }
}

/// Where payloads go beside the receiver: the predictor's own logger decides if it has one, else the
/// configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sink {
    pub(super) storage: Option<LoggerStorage>,
    marshaller_url: String,
    batch_size: i64,
    batch_interval: String,
}

impl Sink {
    pub(super) fn of(config: &LoggerConfig, service: Option<&InferenceService>) -> Self {
        let mut sink = Self {
            storage: config.storage.clone(),
            marshaller_url: config.marshaller_url.clone(),
            batch_size: config.batch_size,
            batch_interval: config.batch_interval.clone(),
        };
        let own: Option<&Logger> =
            service.and_then(|service| service.spec.predictor.extension.logger.as_ref());
        if let Some(logger) = own {
            sink.storage.clone_from(&logger.storage);
            sink.marshaller_url = logger.marshaller_url.clone().unwrap_or(sink.marshaller_url);
            sink.batch_size = logger.batch_size.unwrap_or(sink.batch_size);
            sink.batch_interval = logger.batch_interval.clone().unwrap_or(sink.batch_interval);
        }
        sink
    }
}

/// Arguments for logging.
pub(super) fn logger(pod: &Pod, config: &LoggerConfig, sink: &Sink) -> Vec<String> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let required = [
        ("--log-url", text(annotation(pod, LOGGER_SINK_URL).or(Some(&config.default_url)))),
        ("--source-uri", text(pod.metadata.name.as_deref())),
        ("--log-mode", text(annotation(pod, LOGGER_MODE).or(Some("all")))),
        ("--inference-service", text(label(pod, names::INFERENCE_SERVICE_LABEL))),
        ("--namespace", namespace(pod).to_owned()),
        ("--endpoint", text(label(pod, "endpoint"))),
        ("--component", text(label(pod, names::COMPONENT_LABEL))),
    ];
    let mut arguments: Vec<String> =
        required.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    let given = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let storage = sink.storage.as_ref();
    let size = (sink.batch_size > 0).then(|| sink.batch_size.to_string());
    for (flag, value) in [
        ("--log-store-path", given(storage.and_then(|storage| storage.path.as_ref()))),
        ("--log-store-format", given(storage.and_then(|storage| storage.parameters.as_ref()?.get("format")))),
        ("--log-marshaller-url", given(Some(&sink.marshaller_url))),
        ("--log-batch-size", size),
        ("--log-batch-interval", given(Some(&sink.batch_interval))),
        ("--metadata-headers", annotation(pod, LOGGER_METADATA_HEADERS).map(str::to_owned)),
        ("--metadata-annotations", annotation(pod, LOGGER_METADATA_ANNOTATIONS).map(|keys| pairs(pod, keys))),
        ("--logger-ca-cert-file", given(Some(&config.ca_cert_file))),
    ] {
        optional(&mut arguments, flag, value.as_deref());
    }
    arguments.extend(["--logger-tls-skip-verify".to_owned(), config.tls_skip_verify.to_string()]);
    arguments
}

/// The annotations that the pod has, as `key=value` with commas between.
fn pairs(pod: &Pod, keys: &str) -> String {
    let found = keys.split(',').filter_map(|key| Some(format!("{key}={}", annotation(pod, key)?)));
    found.collect::<Vec<_>>().join(",")
}
