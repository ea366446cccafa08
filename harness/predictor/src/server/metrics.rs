//! What `/metrics` shows: KServe's histograms under KServe's names, and the request counter and in-flight gauge that
//! its servers lack.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The default buckets of Python's Prometheus client, which KServe uses.
const BUCKETS_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model_name: String,
    protocol: &'static str,
    code: u16,
}

type Histograms = Family<ModelLabel, Histogram, fn() -> Histogram>;

/// The metrics of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    preprocess: Histograms,
    predict: Histograms,
    postprocess: Histograms,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    in_flight: Family<ModelLabel, Gauge>,
}

/// The phases of a prediction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// Decoding the request.
    Preprocess,
    /// Waiting for a worker and running the model.
    Predict,
    /// Encoding the response.
    Postprocess,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histograms = || -> Histograms { Family::new_with_constructor(|| Histogram::new(BUCKETS_S)) };
        let mut metrics = Self {
            registry: Registry::default(),
            preprocess: histograms(),
            predict: histograms(),
            postprocess: histograms(),
            requests: Family::default(),
            in_flight: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "request_preprocess_seconds",
            "pre-process request latency",
            metrics.preprocess.clone(),
        );
        registry.register("request_predict_seconds", "predict request latency", metrics.predict.clone());
        registry.register(
            "request_postprocess_seconds",
            "post-process request latency",
            metrics.postprocess.clone(),
        );
        registry.register(
            "inference_requests",
            "requests by model, protocol and HTTP status",
            metrics.requests.clone(),
        );
        registry.register(
            "inference_requests_in_flight",
            "requests that are being served",
            metrics.in_flight.clone(),
        );
        metrics
    }

    pub(crate) fn observe(&self, model: &str, phase: Phase, took: Duration) {
        let histograms = match phase {
            Phase::Preprocess => &self.preprocess,
            Phase::Predict => &self.predict,
            Phase::Postprocess => &self.postprocess,
        };
        histograms.get_or_create(&label(model)).observe(took.as_secs_f64());
    }

    pub(crate) fn answered(&self, model: &str, protocol: &'static str, code: u16) {
        self.requests.get_or_create(&RequestLabels { model_name: model.to_owned(), protocol, code }).inc();
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn in_flight(&self, model: &str) -> InFlight {
        let gauge = self.in_flight.get_or_create_owned(&label(model));
        gauge.inc();
        InFlight(gauge)
    }

    /// The exposition: OpenMetrics where the client accepts it, else Prometheus' text format.
    pub(crate) fn text(&self, open_metrics: bool) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(if open_metrics { text } else { prometheus_text(&text) })
    }
}

/// In the older format a counter's type is declared under the name of its samples, and nothing marks the end.
fn prometheus_text(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let described = line
            .strip_prefix("# TYPE ")
            .or_else(|| line.strip_prefix("# HELP "))
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| counters.contains(name));
        match described {
            Some((name, rest)) => {
                text.push_str(&line[..7]);
                text.push_str(name);
                text.push_str("_total ");
                text.push_str(rest);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// A request that is being served.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn label(model: &str) -> ModelLabel {
    ModelLabel { model_name: model.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scraper of either age must find the counter under the name that its queries use.
    #[test]
    fn both_formats_name_the_counter_alike() {
        let metrics = Metrics::new();
        metrics.answered("m", "v1", 200);
        metrics.observe("m", Phase::Predict, Duration::from_millis(7));
        let new = metrics.text(true).unwrap();
        assert!(new.contains("# TYPE inference_requests counter\n") && new.ends_with("# EOF\n"), "{new}");
        let old = metrics.text(false).unwrap();
        assert!(old.contains("# TYPE inference_requests_total counter\n") && !old.contains("# EOF"), "{old}");
        for text in [new, old] {
            assert!(
                text.contains("inference_requests_total{model_name=\"m\",protocol=\"v1\",code=\"200\"} 1\n"),
                "{text}"
            );
            assert!(
                text.contains("request_predict_seconds_bucket{le=\"0.01\",model_name=\"m\"} 1\n"),
                "{text}"
            );
        }
    }
}
