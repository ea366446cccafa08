//! What all users of a load share: what they send, and where they write down what came of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use goose::goose::GooseUser;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use windtunnel_record::{Meta, Prediction, Recorder, Recording, Request, Revision, Source};

use crate::answer::{Answer, exchange};
use crate::check::Target;
use crate::{Attack, LoadError};

/// Most requests of a load: what fits into a gigabyte. The load ends when it has them.
pub(crate) const MOST_REQUESTS: usize = 5_000_000;

/// Pause of a user that has nothing to do but to wait for goose to end it.
const IDLE: Duration = Duration::from_millis(10);

/// What all users share.
pub(crate) struct Users {
    client: Client,
    target: Target,
    timeout: Duration,
    rows: Vec<Row>,
    next: AtomicU32,
    /// When the first request was sent.
    epoch: OnceLock<Instant>,
    recording: Mutex<Recording>,
    stop: CancellationToken,
}

struct Row {
    body: Bytes,
    expected: Option<Value>,
}

impl Users {
    /// Users of an attack, none of whom has begun.
    pub(crate) fn new(attack: &Attack, target: Target) -> Result<Self, LoadError> {
        // A proxy or another host behind a redirect would be what is measured.
        let client = Client::builder()
            .no_proxy()
            .no_gzip()
            .redirect(Policy::none())
            .pool_max_idle_per_host(attack.users)
            .user_agent(concat!("windtunnel/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(LoadError::Client)?;
        let row = |row: usize| {
            let row = attack.requests.get(row as u32);
            let expected = attack.expect.as_ref().and_then(|version| row.expect.get(version)).cloned();
            Row { body: Bytes::from(row.payload.clone()), expected }
        };
        Ok(Self {
            client,
            target,
            timeout: attack.timeout,
            rows: (0..attack.requests.len()).map(row).collect(),
            next: AtomicU32::new(0),
            epoch: OnceLock::new(),
            recording: Mutex::new(Recording::new(Meta::new(&attack.url, Source::Live, 0, 0))),
            stop: attack.cancel.child_token(),
        })
    }

    /// The client of all users; each has a connection of its own from its pool.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Fires when the load is to end early.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Sends the next row and writes down what came of it. What is under way when the load is to end early is left.
    pub(crate) async fn send_next(&self, user: &mut GooseUser) {
        if self.stop.is_cancelled() {
            return tokio::time::sleep(IDLE).await;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.rows.len() as u32;
        let row = &self.rows[number as usize];
        let request = self
            .client
            .post(self.target.url.clone())
            .headers(self.target.headers.clone())
            .timeout(self.timeout)
            .body(row.body.clone());
        let sent = Instant::now();
        let epoch = *self.epoch.get_or_init(|| sent);
        let Some(answer) = self.stop.run_until_cancelled(exchange(user, request)).await else { return };
        let latency_ns = nanoseconds(sent.elapsed());
        self.record(row, number, nanoseconds(sent.saturating_duration_since(epoch)), latency_ns, answer);
    }

    fn record(&self, row: &Row, number: u32, sent_ns: u64, latency_ns: u64, answer: Answer) {
        let prediction = match &row.expected {
            Some(expected) if answer.error.is_none() => match serde_json::from_slice(&answer.body) {
                Ok(actual) if windtunnel_record::predictions_equal(expected, &actual) => Prediction::Equal,
                _ => Prediction::Different,
            },
            _ => Prediction::Unchecked,
        };
        let mut recording = self.lock();
        let revision = answer.revision.map(|name| {
            recording.revision(Revision { name, storage_uri: String::new(), created_ns: sent_ns })
        });
        recording.request(Request {
            intended_ns: sent_ns, // in a closed loop a request is meant to be sent when it is
            sent_ns,
            latency_ns,
            status: answer.status,
            revision,
            weight_percent: 100,
            held_ns: 0,
            first_token_ns: None,
            token_ns: None,
            row: number,
            prediction,
            error: answer.error,
        });
        if recording.requests.len() >= MOST_REQUESTS {
            self.stop.cancel();
        }
    }

    /// Takes out what was recorded, in order of time. The load lasted from its first request to its last answer.
    pub(crate) fn recording(&self, attack: &Attack) -> Recording {
        let empty = Recording::new(self.lock().meta.clone());
        let mut recording = std::mem::replace(&mut *self.lock(), empty);
        recording.sort();
        let last_ns = recording.requests.iter().map(Request::done_ns).max();
        recording.meta.duration_ns = last_ns.unwrap_or_else(|| nanoseconds(attack.run_time)).max(1);
        recording
    }

    /// What one user wrote down is whole even when another one panicked.
    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
