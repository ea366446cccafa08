//! Triggers: what a broker, a query or a calendar says becomes a value, an activity and a target.

pub mod cron;
pub mod external;
pub mod kafka;
pub mod metadata;
pub mod prometheus;
pub mod rabbitmq;
pub mod resource;

use serde::{Deserialize, Serialize};

use self::cron::Cron;
use self::external::External;
use self::kafka::Kafka;
use self::metadata::Metadata;
use self::prometheus::Prometheus;
use self::rabbitmq::RabbitMq;
use self::resource::Resource;
use super::KedaError;
use super::spec::{MetricType, ScaleTrigger};
use crate::autoscale::hpa::spec::{LabelSelector, MetricIdentifier, MetricSpec, Target};
use crate::autoscale::hpa::{Quantity, milli_of};

/// What a trigger measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The value that replicas are calculated from.
    pub value: f64,
    /// Whether the target should not be at zero: strictly above the activation value.
    pub active: bool,
}

/// A trigger with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its place among the object's triggers. External ones may stand for several metrics, each with the same place.
    pub index: usize,
    /// What it asks.
    pub scaler: Scaler,
    /// Kind of its target.
    pub metric_type: MetricType,
    /// Its name in formulas.
    pub name: Option<String>,
}

/// What a trigger asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scaler {
    /// `rabbitmq`.
    RabbitMq(RabbitMq),
    /// `kafka`.
    Kafka(Kafka),
    /// `prometheus`.
    Prometheus(Prometheus),
    /// `cron`.
    Cron(Cron),
    /// `cpu` or `memory`.
    Resource(Resource),
    /// `external` or `external-push`.
    External(External),
}

impl Trigger {
    /// Reads all triggers of an object.
    ///
    /// # Errors
    /// The first setting that KEDA would refuse, or a kind of trigger whose formula is not known here.
    pub fn read_all(triggers: &[ScaleTrigger]) -> Result<Vec<Self>, KedaError> {
        triggers.iter().enumerate().map(|(index, trigger)| Self::read(trigger, index)).collect()
    }

    /// Reads one trigger; `index` is its place.
    ///
    /// # Errors
    /// See [`Trigger::read_all`].
    pub fn read(trigger: &ScaleTrigger, index: usize) -> Result<Self, KedaError> {
        let metadata = Metadata::new(index, &trigger.metadata);
        let scaler = match trigger.kind.as_str() {
            "rabbitmq" => Scaler::RabbitMq(RabbitMq::read(&metadata)?),
            "kafka" => Scaler::Kafka(Kafka::read(&metadata)?),
            "prometheus" => Scaler::Prometheus(Prometheus::read(&metadata)?),
            "cron" => Scaler::Cron(Cron::read(&metadata)?),
            "cpu" | "memory" => {
                Scaler::Resource(Resource::read(&trigger.kind, trigger.metric_type, &metadata)?)
            }
            "external" => Scaler::External(External::read(false, &metadata)?),
            "external-push" => Scaler::External(External::read(true, &metadata)?),
            other => {
                return Err(KedaError::new(
                    format!("triggers[{index}].type"),
                    format!("{other:?}"),
                    "rabbitmq, kafka, prometheus, cron, cpu, memory, external or external-push, whose formulas are known here",
                ));
            }
        };
        let metric_type = trigger.metric_type.unwrap_or(MetricType::AverageValue);
        if metric_type == MetricType::Utilization && !matches!(scaler, Scaler::Resource(_)) {
            let place = format!("triggers[{index}].metricType");
            return Err(KedaError::new(place, "Utilization", "AverageValue or Value"));
        }
        Ok(Self { index, scaler, metric_type, name: trigger.name.clone() })
    }

    /// Kind and name.
    #[must_use]
    pub fn label(&self) -> String {
        let kind = match &self.scaler {
            Scaler::RabbitMq(_) => "rabbitmq",
            Scaler::Kafka(_) => "kafka",
            Scaler::Prometheus(_) => "prometheus",
            Scaler::Cron(_) => "cron",
            Scaler::Resource(resource) => &resource.name,
            Scaler::External(External { is_push: false, .. }) => "external",
            Scaler::External(External { is_push: true, .. }) => "external-push",
        };
        match &self.name {
            Some(name) => format!("{kind} {name}"),
            None => kind.to_string(),
        }
    }

    /// Whether the HorizontalPodAutoscaler looks at it itself.
    #[must_use]
    pub fn is_resource(&self) -> bool {
        matches!(self.scaler, Scaler::Resource(_))
    }

    /// Whether its target is for all pods together.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.metric_type == MetricType::Value
    }

    /// Its target; 0 of cpu and memory, and of an external scaler that has not been asked yet.
    #[must_use]
    pub fn target(&self) -> f64 {
        match &self.scaler {
            Scaler::RabbitMq(rabbitmq) => Quantity::from_milli(thousandths(rabbitmq.value)).as_f64(),
            Scaler::Kafka(kafka) => kafka.lag_threshold as f64,
            Scaler::Prometheus(prometheus) => {
                Quantity::from_milli(thousandths(prometheus.threshold)).as_f64()
            }
            Scaler::Cron(_) => 1.0,
            Scaler::Resource(_) => 0.0,
            Scaler::External(external) => external
                .metric
                .as_ref()
                .map_or(0.0, |metric| Quantity::from_milli(thousandths(metric.target)).as_f64()),
        }
    }

    /// Name of its metric: the one that the HorizontalPodAutoscaler asks KEDA for. `None` of cpu and memory, and of an
    /// external scaler that has not been asked yet.
    #[must_use]
    pub fn metric_name(&self) -> Option<String> {
        let own_name = match &self.scaler {
            Scaler::Resource(_) => return None,
            // As the scaler has it, whatever signs there are in it.
            Scaler::External(external) => {
                return external.metric.as_ref().map(|metric| format!("s{}-{}", self.index, metric.name));
            }
            Scaler::RabbitMq(rabbitmq) => {
                format!("rabbitmq-{}", metadata::query_escape(&rabbitmq.queue_name))
            }
            Scaler::Kafka(kafka) => kafka.metric_name(),
            Scaler::Prometheus(_) => "prometheus".to_string(),
            Scaler::Cron(cron) => cron.metric_name(),
        };
        Some(format!("s{}-{}", self.index, own_name.replace(['/', '.', ':', '%', '(', ')'], "-")))
    }

    /// The metric that the HorizontalPodAutoscaler gets for it; `None` of an external scaler that has not been asked yet.
    #[must_use]
    pub fn metric_spec(&self, selector: &LabelSelector) -> Option<MetricSpec> {
        if let Scaler::Resource(resource) = &self.scaler {
            return Some(resource.metric_spec());
        }
        let target = Quantity::from_f64(self.target());
        Some(MetricSpec::External {
            metric: MetricIdentifier { name: self.metric_name()?, selector: Some(selector.clone()) },
            target: if self.is_total() { Target::Value(target) } else { Target::AverageValue(target) },
        })
    }
}

/// Thousandths of a value as KEDA hands it on: rounded to three decimals; negative ones and those that are not finite
/// are 0.
#[must_use]
pub fn thousandths(value: f64) -> i64 {
    if !value.is_finite() || value < 0.0 {
        return 0;
    }
    match format!("{value:.3}").parse::<Quantity>() {
        Ok(quantity) => quantity.milli(),
        Err(_) => milli_of(value),
    }
}
