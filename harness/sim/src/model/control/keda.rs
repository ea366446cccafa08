//! KEDA: its executor, which polls triggers, and the HorizontalPodAutoscaler that it makes.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::hpa::Options;
use windtunnel_kernel::autoscale::hpa::spec::MetricSpec;
use windtunnel_kernel::autoscale::keda::triggers::kafka::{Offsets, Partition};
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::Queue;
use windtunnel_kernel::autoscale::keda::triggers::{Scaler as Kind, kafka};
use windtunnel_kernel::autoscale::keda::{
    Annotations, Answer, Executor, Formula, Measured, Observation, Reading, hpa,
};

use super::hpa::{Hpa, Target};
use super::{Verdict, Why};
use crate::broker::Broker;
use crate::plan::KedaPlan;
use crate::plan::query::Query;
use crate::time_zone::utc_offset_s;

/// A ScaledObject with what it scales by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Keda {
    executor: Executor,
    annotations: std::collections::BTreeMap<String, String>,
    hpa: Hpa,
    options: Options,
    /// The trigger of each metric of the HorizontalPodAutoscaler that is not of pods: its name and place.
    metrics: Vec<(String, usize)>,
    /// What each Kafka trigger saw last.
    offsets: Vec<Offsets>,
}

impl Keda {
    /// A ScaledObject that is created now.
    ///
    /// # Errors
    /// What KEDA or the API server would refuse.
    pub(in crate::model) fn new(plan: &KedaPlan, options: Options, now_ns: u64) -> Result<Self, String> {
        let spec = plan.simulated();
        let executor = Executor::new(spec, &plan.annotations, now_ns).map_err(|error| error.to_string())?;
        let annotations = Annotations::read(&plan.annotations).map_err(|error| error.to_string())?;
        let rendered =
            hpa::render(executor.spec(), &plan.name, &annotations).map_err(|error| error.to_string())?;
        let names = rendered.metrics.iter().filter_map(|metric| match metric {
            MetricSpec::External { metric, .. } => Some(metric.name.clone()),
            _ => None,
        });
        // The metrics of triggers are in the order of the triggers.
        let triggers = executor.triggers();
        let asked = (0..triggers.len()).filter(|index| !triggers[*index].is_resource());
        let metrics = names.zip(asked).collect();
        let offsets = vec![Offsets::default(); triggers.len()];
        let hpa = Hpa::new(rendered, options.clone()).map_err(|error| error.to_string())?;
        Ok(Self { executor, annotations: plan.annotations.clone(), hpa, options, metrics, offsets })
    }

    /// Takes a changed ScaledObject: its HorizontalPodAutoscaler keeps its history, its cool-down begins anew.
    ///
    /// # Errors
    /// What KEDA or the API server would refuse.
    pub(in crate::model) fn reconfigure(&mut self, plan: &KedaPlan, now_ns: u64) -> Result<(), String> {
        if *self.executor.spec() == plan.simulated() && self.annotations == plan.annotations {
            return Ok(());
        }
        let mut changed = Self::new(plan, self.options.clone(), now_ns)?;
        let spec = changed.hpa.spec().clone();
        std::mem::swap(&mut changed.hpa, &mut self.hpa);
        changed.hpa.reconfigure(spec).map_err(|error| error.to_string())?;
        *self = changed;
        Ok(())
    }

    /// How long from one poll to the next, where the ScaledObject says it.
    pub(in crate::model) fn polling_ns(&self) -> Option<u64> {
        self.executor.spec().polling_interval.map(|_| self.executor.spec().polling_interval_ns())
    }

    /// How far back the queries look.
    pub(in crate::model) fn window_ns(&self) -> u64 {
        let windows = self.executor.triggers().iter().filter_map(|trigger| match &trigger.scaler {
            Kind::Prometheus(prometheus) => Query::of(&prometheus.query).ok().map(|query| query.window_ns()),
            _ => None,
        });
        windows.max().unwrap_or(0)
    }

    /// Decides at a poll: to and from zero.
    pub(in crate::model) fn poll(&mut self, target: &Target<'_>, broker: Option<&Broker>) -> Verdict {
        let observation = self.observation(target, broker);
        let decision = self.executor.step(&observation);
        Verdict {
            replicas: decision.replicas.map(|replicas| u32::try_from(replicas).unwrap_or(0)),
            look_after_ns: None,
            why: Why::Keda(Box::new(decision.explanation)),
        }
    }

    /// The HorizontalPodAutoscaler's sync, which asks for the triggers' values.
    pub(in crate::model) fn decide(&mut self, target: &Target<'_>, broker: Option<&Broker>) -> Verdict {
        let observation = self.observation(target, broker);
        let Self { executor, hpa, metrics, .. } = self;
        hpa.decide_with(target, |name| {
            if name == hpa::COMPOSITE_METRIC {
                let triggers = 0..executor.triggers().len();
                let answers: Vec<Answer> =
                    triggers.map(|trigger| executor.answer(trigger, &observation)).collect();
                let composite = executor.composite(&answers, observation.composite);
                let value = composite.ok_or("the formula of scalingModifiers has no value")?;
                return Ok(vec![(value * 1000.0) as i64]);
            }
            let found = metrics.iter().find(|(known, _)| known == name);
            let Some((_, trigger)) = found else { return Err(format!("there is no trigger for {name}")) };
            match executor.answer(*trigger, &observation) {
                Answer::Measured { value_milli, .. } | Answer::Fallback { value_milli } => {
                    Ok(vec![value_milli])
                }
                Answer::Nil => Err(format!("{name} is not asked")),
                Answer::Failed { message } => Err(message),
            }
        })
    }

    fn observation(&mut self, target: &Target<'_>, broker: Option<&Broker>) -> Observation {
        let triggers = self.executor.triggers().iter().zip(&mut self.offsets);
        let readings = triggers
            .map(|(trigger, offsets)| match &trigger.scaler {
                Kind::RabbitMq(_) | Kind::Kafka(_) | Kind::Prometheus(_) if target.is_blind => {
                    Reading::Failed { message: "the source of the metric does not answer".to_owned() }
                }
                Kind::RabbitMq(rabbitmq) => match broker {
                    Some(broker) => Reading::Measured(rabbitmq.measure(&[queue_of(broker, target.now_ns)])),
                    None => no_broker(),
                },
                Kind::Kafka(kafka) => match broker {
                    Some(broker) => Reading::Measured(lag_of(kafka, broker, offsets)),
                    None => no_broker(),
                },
                Kind::Prometheus(prometheus) => {
                    let series = Query::of(&prometheus.query).map(|query| {
                        target.metrics.answer(&query, target.index, target.now_ns, target.query_delay_ns)
                    });
                    match series.and_then(|series| prometheus.measure(&series)) {
                        Ok(measured) => Reading::Measured(measured),
                        Err(message) => Reading::Failed { message },
                    }
                }
                Kind::Cron(cron) => match utc_offset_s(&cron.timezone, target.now_ns) {
                    Some(offset_s) => Reading::Measured(cron.measure(target.now_ns, offset_s)),
                    None => {
                        Reading::Failed { message: format!("nobody knows the time zone {}", cron.timezone) }
                    }
                },
                Kind::Resource(_) => Reading::Resource,
                // The plan has refused it.
                Kind::External(_) => {
                    Reading::Failed { message: "external scalers are not simulated".to_owned() }
                }
            })
            .collect::<Vec<_>>();
        let spec = self.executor.spec();
        // Sound: the plan has read it.
        let formula = Formula::of(spec).ok().flatten();
        let composite = formula.and_then(|formula| formula.of_readings(self.executor.triggers(), &readings));
        Observation {
            now_ns: target.now_ns,
            current_replicas: target.wanted(),
            ready_replicas: target.ready(),
            readings,
            composite,
        }
    }
}

fn no_broker() -> Reading {
    Reading::Failed { message: "there is no broker".to_owned() }
}

fn queue_of(broker: &Broker, now_ns: u64) -> Queue {
    let counts = broker.counts();
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Queue {
        messages: whole(counts.depth()),
        ready: whole(counts.ready),
        publish_rate: broker.publish_rate(now_ns),
        deliver_get_rate: broker.deliver_rate(now_ns),
    }
}

fn lag_of(kafka: &kafka::Kafka, broker: &Broker, offsets: &mut Offsets) -> Measured {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let partitions: Vec<Partition> = (0..)
        .zip(broker.offsets())
        .map(|(id, partition)| Partition {
            topic: kafka.topic.clone(),
            id,
            committed: partition.committed.map(whole),
            latest: Some(whole(partition.latest)),
        })
        .collect();
    kafka.measure(&partitions, offsets)
}
