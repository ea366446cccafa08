//! Scalers of somebody else's, over gRPC (`externalscaler.proto`): asked at every poll, and listened to for their own word
//! (`external-push`).
//!
//! A poll asks for names and targets of the metrics anew, so a scaler that changes them is followed at the next poll.
//!
//! Source: `pkg/scalers/external_scaler.go`, `startPushScalers` of `pkg/scaling/scale_handler.go`.

mod grpc;
mod messages;

use bytes::Bytes;
use windtunnel_kernel::autoscale::keda::triggers::external::ExternalMetric;

use self::grpc::{Channel, Fault, Stream, UNIMPLEMENTED};
use self::messages::Malformed;
use super::authentication::Parameters;
use super::tls::Tls;
use crate::world::ObjectKey;

/// What a scaler said about one of its metrics: values, or why there are none.
pub(super) type Said = (ExternalMetric, Result<Vec<f64>, String>);

/// A scaler that can be asked.
struct Scaler {
    channel: Channel,
    /// Who is scaled, as a message.
    reference: Vec<u8>,
}

/// The metrics with their values, and whether the scaler is active.
///
/// # Errors
/// Why nothing is known about its metrics.
pub(super) async fn ask(
    key: &ObjectKey,
    parameters: &Parameters,
) -> Result<(Vec<Said>, Result<bool, String>), String> {
    let scaler = Scaler::open(key, parameters).await?;
    let metrics = scaler.call("GetMetricSpec", &scaler.reference, messages::read_specs).await?;
    if metrics.is_empty() {
        return Err("got empty metric spec: the external scaler names no metric for this object".to_owned());
    }
    let values = metrics.iter().map(|metric| async {
        let request = messages::metrics_request(&scaler.reference, &metric.name);
        scaler.call("GetMetrics", &request, messages::read_values).await
    });
    let active = scaler.call("IsActive", &scaler.reference, messages::read_active);
    let (values, active) = tokio::join!(futures::future::join_all(values), active);
    Ok((metrics.into_iter().zip(values).collect(), active))
}

/// A scaler's own word on whether it is active.
pub(super) struct Word {
    stream: Stream,
    _channel: Channel,
}

/// Opens a stream of a scaler's own word.
///
/// # Errors
/// Why there is none.
pub(super) async fn listen(key: &ObjectKey, parameters: &Parameters) -> Result<Word, String> {
    let scaler = Scaler::open(key, parameters).await?;
    let stream = scaler.channel.stream("StreamIsActive", &scaler.reference).await.map_err(words)?;
    Ok(Word { stream, _channel: scaler.channel })
}

impl Word {
    /// The next word; `None` when the scaler ends the stream.
    ///
    /// # Errors
    /// How it broke.
    pub(super) async fn next(&mut self) -> Result<Option<bool>, String> {
        let message = self.stream.next().await.map_err(words)?;
        message
            .map(|message| messages::read_active(&message))
            .transpose()
            .map_err(|Malformed| nonsense("StreamIsActive"))
    }
}

impl Scaler {
    async fn open(key: &ObjectKey, parameters: &Parameters) -> Result<Self, String> {
        let address = parameters.written("scalerAddress").ok_or("no scalerAddress given")?;
        let tls = Tls::of(parameters, "caCert", "tlsClientCert", "tlsClientKey")?;
        let uses_tls = parameters.is_true("enableTLS") || tls.client.is_some() || tls.ca.is_some();
        let channel = Channel::open(address, uses_tls.then_some(&tls)).await?;
        let reference = messages::reference(&key.name, &key.namespace, &parameters.for_external());
        Ok(Self { channel, reference })
    }

    async fn call<T>(
        &self,
        method: &str,
        request: &[u8],
        read: impl Fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, String> {
        let answer: Bytes = self.channel.call(method, request).await.map_err(words)?;
        read(&answer).map_err(|Malformed| nonsense(method))
    }
}

fn nonsense(method: &str) -> String {
    format!("{method}: the external scaler's answer is no message of externalscaler.ExternalScaler")
}

fn words(fault: Fault) -> String {
    match fault.code {
        Some(UNIMPLEMENTED) => {
            format!("{}; the server at scalerAddress must have externalscaler.ExternalScaler", fault.message)
        }
        _ => fault.message,
    }
}
