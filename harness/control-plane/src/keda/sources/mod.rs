//! Asks brokers, databases and scalers of others: the only part of the KEDA reference that waits for a network.

mod authentication;
mod external;
mod http;
mod kafka;
mod prometheus;
mod rabbitmq;
mod target;
mod tls;

pub(in crate::keda) use self::target::path;

use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use windtunnel_kernel::autoscale::keda::triggers::Scaler;
use windtunnel_kernel::autoscale::keda::triggers::external::External;
use windtunnel_kernel::autoscale::keda::{ScaleTrigger, Trigger};

use self::authentication::Parameters;
use self::external::Word;
use self::http::Http;
use super::{Polled, Question, Sample};

/// Longest time for one source; upstream's default is 3 s.
const SOURCE_WITHIN: Duration = Duration::from_secs(3);
/// First wait before an external scaler is listened to again; it doubles each time.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// Longest such wait.
const LISTEN_AGAIN_LONGEST: Duration = Duration::from_secs(60);

/// The connections to all sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    http: Http,
}

impl Sources {
    /// Looks at the target and asks what the question asks, everything at the same time.
    pub(crate) async fn ask(&self, client: &Client, question: &Question) -> Polled {
        let (stamp, pushed) = (question.stamp.clone(), question.pushed);
        let (target, pod_spec) = match target::find(client, question).await {
            Ok((target, pod_spec)) => (target, pod_spec),
            Err(why) => {
                let triggers = question.triggers.clone();
                return Polled { stamp, target: Err(why), triggers, samples: Vec::new(), pushed };
            }
        };
        let indices = 0..question.spec.triggers.len();
        let asked = indices.map(|index| self.trigger(client, question, index, &pod_spec));
        let found = futures::future::join_all(asked).await;
        let (triggers, samples) = found.into_iter().flatten().unzip();
        Polled { stamp, target: Ok(target), triggers, samples, pushed }
    }

    /// Asks for one trigger of the object. A failure counts for all metrics that are known of it.
    async fn trigger(
        &self,
        client: &Client,
        question: &Question,
        index: usize,
        pod_spec: &Value,
    ) -> Vec<(Trigger, Sample)> {
        let known = question.triggers.iter().filter(|trigger| trigger.index == index);
        let all = |sample: Sample| known.clone().map(|trigger| (trigger.clone(), sample.clone())).collect();
        let knows_itself =
            known.clone().all(|trigger| matches!(trigger.scaler, Scaler::Cron(_) | Scaler::Resource(_)));
        if knows_itself || !question.asked.get(index).copied().unwrap_or(false) {
            return all(Sample::NotAsked);
        }
        let limit = question.timeout(index).unwrap_or(SOURCE_WITHIN);
        match tokio::time::timeout(limit, self.answer(client, question, index, pod_spec)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => all(Sample::Failed(why)),
            Err(_) => {
                let kind = &question.spec.triggers[index].kind;
                all(Sample::Failed(format!("{kind}: no answer within {} ms", limit.as_millis())))
            }
        }
    }

    /// The trigger as it is with its environment, or one for each of its metrics, with what its source says.
    async fn answer(
        &self,
        client: &Client,
        question: &Question,
        index: usize,
        pod_spec: &Value,
    ) -> Result<Vec<(Trigger, Sample)>, String> {
        let parameters = Parameters::resolve(client, question, index, pod_spec).await?;
        let written =
            ScaleTrigger { metadata: parameters.settings(), ..question.spec.triggers[index].clone() };
        let trigger = Trigger::read(&written, index).map_err(|error| error.to_string())?;
        let sample = match &trigger.scaler {
            Scaler::Prometheus(settings) => {
                Sample::Series(prometheus::ask(&self.http, settings, &parameters).await?)
            }
            Scaler::RabbitMq(settings) => {
                Sample::Queues(rabbitmq::ask(&self.http, settings, &parameters).await?)
            }
            Scaler::Kafka(settings) => Sample::Partitions(kafka::ask(settings, &parameters).await?),
            Scaler::Cron(_) | Scaler::Resource(_) => Sample::NotAsked,
            Scaler::External(settings) => {
                return external(question, &parameters, settings, &trigger).await;
            }
        };
        Ok(vec![(trigger, sample)])
    }

    /// Listens to the external scaler that the question names and asks the question each time that it says it is active, until
    /// nobody takes questions.
    pub(crate) async fn listen(client: Client, question: Question, questions: mpsc::Sender<Question>) {
        let mut wait = LISTEN_AGAIN;
        loop {
            match hear(&client, &question, &questions).await {
                Ok(()) => wait = LISTEN_AGAIN,
                Err(why) => {
                    tracing::debug!(scaled_object = %question.key, why, "an external scaler is not heard")
                }
            }
            if questions.is_closed() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LISTEN_AGAIN_LONGEST);
        }
    }
}

async fn external(
    question: &Question,
    parameters: &Parameters,
    settings: &External,
    trigger: &Trigger,
) -> Result<Vec<(Trigger, Sample)>, String> {
    let (said, active) = external::ask(&question.key, parameters).await?;
    let metric = |(metric, values)| {
        let sample = match (values, &active) {
            (Ok(values), Ok(is_active)) => Sample::External { values, is_active: *is_active },
            (Err(why), _) => Sample::Failed(why),
            (_, Err(why)) => Sample::Failed(why.clone()),
        };
        (Trigger { scaler: Scaler::External(settings.with(metric)), ..trigger.clone() }, sample)
    };
    Ok(said.into_iter().map(metric).collect())
}

/// Hears an external scaler until it ends the stream. That it is not active, polls find out by themselves.
async fn hear(
    client: &Client,
    question: &Question,
    questions: &mpsc::Sender<Question>,
) -> Result<(), String> {
    let opening = async {
        let index = question.pushed.ok_or("there is nobody to listen to")?;
        let (_, pod_spec) = target::find(client, question).await?;
        let parameters = Parameters::resolve(client, question, index, &pod_spec).await?;
        external::listen(&question.key, &parameters).await
    };
    let opened = tokio::time::timeout(SOURCE_WITHIN, opening).await;
    let mut word: Word = opened.map_err(|_| format!("no stream within {} s", SOURCE_WITHIN.as_secs()))??;
    while let Some(is_active) = word.next().await? {
        if is_active && questions.send(question.clone()).await.is_err() {
            break;
        }
    }
    Ok(())
}
