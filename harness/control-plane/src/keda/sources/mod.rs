//! Asks brokers and databases: the only part of the KEDA reference that waits for a network.

mod authentication;
mod http;
mod prometheus;
mod rabbitmq;
mod target;

pub(in crate::keda) use self::target::path;

use std::time::Duration;

use kube::Client;
use windtunnel_kernel::autoscale::keda::triggers::Scaler;

use self::authentication::Parameters;
use self::http::Http;
use super::{Polled, Question, Sample};

/// Longest time for one source; upstream's default is 3 s.
const SOURCE_WITHIN: Duration = Duration::from_secs(3);

/// The connections to all sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    http: Http,
}

impl Sources {
    /// Looks at the target and asks what the question asks, everything at the same time.
    pub(crate) async fn ask(&self, client: &Client, question: &Question) -> Polled {
        let found = target::find(client, question).await;
        let (target, pod_spec) = match found {
            Ok((target, pod_spec)) => (Ok(target), pod_spec),
            Err(why) => {
                return Polled { stamp: question.stamp.clone(), target: Err(why), samples: Vec::new() };
            }
        };
        let samples =
            (0..question.triggers.len()).map(|index| self.sample(client, question, index, &pod_spec));
        let samples = futures::future::join_all(samples).await;
        Polled { stamp: question.stamp.clone(), target, samples }
    }

    async fn sample(
        &self,
        client: &Client,
        question: &Question,
        index: usize,
        pod_spec: &serde_json::Value,
    ) -> Sample {
        let trigger = &question.triggers[index];
        if !question.asked.get(index).copied().unwrap_or(false) {
            return Sample::NotAsked;
        }
        if matches!(trigger.scaler, Scaler::Cron(_) | Scaler::Resource(_)) {
            return Sample::NotAsked;
        }
        let asking = async {
            let parameters = Parameters::resolve(client, question, index, pod_spec).await?;
            match &trigger.scaler {
                Scaler::Prometheus(settings) => {
                    prometheus::ask(&self.http, settings, &parameters).await.map(Sample::Series)
                }
                Scaler::RabbitMq(settings) => {
                    rabbitmq::ask(&self.http, settings, &parameters).await.map(Sample::Queues)
                }
                Scaler::Kafka(_) => Err(super::KAFKA_REFUSAL.to_owned()),
                Scaler::Cron(_) | Scaler::Resource(_) => Ok(Sample::NotAsked),
            }
        };
        let limit = question.timeout(index).unwrap_or(SOURCE_WITHIN);
        match tokio::time::timeout(limit, asking).await {
            Ok(Ok(sample)) => sample,
            Ok(Err(why)) => Sample::Failed(why),
            Err(_) => {
                Sample::Failed(format!("{}: no answer within {} ms", trigger.label(), limit.as_millis()))
            }
        }
    }
}
