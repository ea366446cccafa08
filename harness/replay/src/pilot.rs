//! The load's hands: sends each request when it is due and takes its answer in.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windtunnel_record::{Prediction, Recorder, Request, predictions_equal};
use windtunnel_scenario::load::Arrival;
use windtunnel_scenario::requests::RequestSet;

use crate::client::{Answer, ServiceClient};
use crate::observe::Observer;

/// Requests that may be under way at a time. More would measure this machine's memory, not the service.
const MOST_UNDER_WAY: usize = 20_000;

/// Sends requests and takes their answers in.
pub(crate) struct Pilot {
    client: ServiceClient,
    requests: RequestSet,
    bodies: Vec<Bytes>,
    answers: mpsc::Sender<Sent>,
    under_way: BTreeMap<u32, Arrival>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Requests that have come to an end.
    pub(crate) answered: usize,
    /// Of them those without a good answer.
    pub(crate) failed: usize,
}

/// A request that has come to an end, on its way into the recording.
pub(crate) struct Sent {
    arrival: Arrival,
    sent: Instant,
    answered: Instant,
    answer: Answer,
}

impl Pilot {
    /// A pilot, and where the requests that have come to an end come out.
    pub(crate) fn new(client: ServiceClient, requests: RequestSet) -> (Self, mpsc::Receiver<Sent>) {
        let (answers, receiver) = mpsc::channel(MOST_UNDER_WAY);
        let rows = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let bodies = (0..rows).map(|row| Bytes::from(requests.get(row).payload.clone())).collect();
        let pilot = Self {
            client,
            requests,
            bodies,
            answers,
            under_way: BTreeMap::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            answered: 0,
            failed: 0,
        };
        (pilot, receiver)
    }

    /// Requests that were sent and have not come to an end.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Sends the request of an arrival.
    pub(crate) fn send(&mut self, arrival: Arrival, observer: &Observer, recorder: &mut dyn Recorder) {
        if self.under_way.len() >= MOST_UNDER_WAY {
            let reason = format!("not sent: {MOST_UNDER_WAY} requests were under way");
            return self.give_up(arrival, reason, observer, recorder);
        }
        self.under_way.insert(arrival.row, arrival);
        let client = self.client.clone();
        let body = self.bodies[arrival.row as usize % self.bodies.len()].clone();
        let answers = self.answers.clone();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let sent = Instant::now();
            if let Some(answer) = stop.run_until_cancelled(client.infer(body)).await {
                // The receiver is gone only when the flight is over.
                let _ = answers.send(Sent { arrival, sent, answered: Instant::now(), answer }).await;
            }
        });
    }

    /// Takes in a request that has come to an end.
    pub(crate) fn land(&mut self, sent: Sent, observer: &Observer, recorder: &mut dyn Recorder) {
        self.under_way.remove(&sent.arrival.row);
        self.answered += 1;
        self.failed += usize::from(sent.answer.error.is_some());
        let intended_ns = sent.arrival.at_ns;
        let view = sent.answer.revision.as_deref().and_then(|name| observer.revision(name));
        recorder.request(Request {
            intended_ns,
            sent_ns: observer.time_ns(sent.sent),
            latency_ns: observer.time_ns(sent.answered).saturating_sub(intended_ns),
            status: sent.answer.status,
            revision: view.map(|(index, _)| index),
            weight_percent: sent.answer.weight_percent,
            held_ns: sent.answer.held_ns,
            first_token_ns: None,
            token_ns: None,
            row: sent.arrival.row,
            prediction: self.check(&sent, view.map(|(_, storage_uri)| storage_uri)),
            error: sent.answer.error,
        });
    }

    /// Writes down what is still under way when the flight is over: no answer is a failure too.
    pub(crate) fn land_the_rest(&mut self, observer: &Observer, recorder: &mut dyn Recorder) {
        for arrival in std::mem::take(&mut self.under_way).into_values() {
            self.give_up(arrival, "no answer when the flight ended".to_owned(), observer, recorder);
        }
    }

    /// Breaks off what is under way and waits until it has ended, so that nothing keeps the gateway busy.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn give_up(
        &mut self,
        arrival: Arrival,
        reason: String,
        observer: &Observer,
        recorder: &mut dyn Recorder,
    ) {
        self.answered += 1;
        self.failed += 1;
        let now_ns = observer.time_ns(Instant::now());
        recorder.request(Request {
            intended_ns: arrival.at_ns,
            sent_ns: now_ns,
            latency_ns: now_ns.saturating_sub(arrival.at_ns),
            status: 0,
            revision: None,
            weight_percent: 100,
            held_ns: 0,
            first_token_ns: None,
            token_ns: None,
            row: arrival.row,
            prediction: Prediction::Unchecked,
            error: Some(reason),
        });
    }

    /// Compares an answer with the reference prediction of the model that gave it.
    fn check(&self, sent: &Sent, storage_uri: Option<&str>) -> Prediction {
        if sent.answer.error.is_some() {
            return Prediction::Unchecked;
        }
        let expected = storage_uri.and_then(|uri| self.requests.get(sent.arrival.row).expect.get(uri));
        let Some(expected) = expected else { return Prediction::Unchecked };
        match serde_json::from_slice(&sent.answer.body) {
            Ok(actual) if predictions_equal(expected, &actual) => Prediction::Equal,
            Ok(_) | Err(_) => Prediction::Different,
        }
    }
}
