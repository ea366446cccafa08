//! When a server stops: told by a signal or by its parent's end, and how it ends without losing a request.

use std::{
    env, io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

use crate::error::PredictorError;

/// A node sets this for the processes of its pods: they end when it does, however it ends.
const EXIT_WITH_PARENT: &str = "WINDTUNNEL_EXIT_WITH_PARENT";

/// Time for the requests that came before the end of the grace time.
const LAST_REQUESTS: Duration = Duration::from_secs(4);

/// How urgently to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Running,
    /// Serve until nobody asks any more.
    Drain,
    /// Stop now.
    Now,
}

/// Tells a server when to stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    urgency: watch::Receiver<Urgency>,
    // Without triggers the server runs until the process ends, which is no error.
    _keep: watch::Sender<Urgency>,
}

/// Stops the servers that hold the [`Shutdown`] it came with.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Urgency>);

impl Trigger {
    /// Stops once nobody asks any more, or at the end of the grace time.
    pub fn drain(&self) {
        self.raise(Urgency::Drain);
    }

    /// Stops now.
    pub fn now(&self) {
        self.raise(Urgency::Now);
    }

    fn raise(&self, to: Urgency) {
        self.0.send_if_modified(|urgency| {
            let raised = *urgency < to;
            *urgency = (*urgency).max(to);
            raised
        });
    }
}

impl Shutdown {
    /// A server that runs until its trigger says otherwise.
    #[must_use]
    pub fn manual() -> (Trigger, Self) {
        let (sender, urgency) = watch::channel(Urgency::Running);
        (Trigger(sender.clone()), Self { urgency, _keep: sender })
    }

    /// What a container's main process does: the first SIGTERM or SIGINT drains, a second one stops at once, and so
    /// does the end of standard input where `WINDTUNNEL_EXIT_WITH_PARENT=1` is set. Must be called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`PredictorError::System`] if signals cannot be caught.
    pub fn on_termination() -> Result<Self, PredictorError> {
        let (trigger, shutdown) = Self::manual();
        let cannot = |what| move |source| PredictorError::System { what, source };
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot("cannot catch SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot("cannot catch SIGINT"))?;
        let on_signal = trigger.clone();
        tokio::spawn(async move {
            for urgency in [Urgency::Drain, Urgency::Now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                on_signal.raise(urgency);
            }
        });
        if env::var(EXIT_WITH_PARENT).is_ok_and(|value| value == "1") {
            thread::Builder::new()
                .name("parent".to_owned())
                .spawn(move || {
                    wait_for_end(&mut io::stdin().lock());
                    trigger.now();
                })
                .map_err(cannot("cannot watch standard input"))?;
        }
        Ok(shutdown)
    }

    async fn reaches(&mut self, urgency: Urgency) {
        // The sender lives in `self`, so waiting only ends with the value.
        let _ = self.urgency.wait_for(|now| *now >= urgency).await;
    }

    /// Returns when the server may stop accepting connections.
    pub(crate) async fn drained(mut self, activity: Arc<Activity>, quiet: Duration, grace: Duration) {
        self.reaches(Urgency::Drain).await;
        let told = Instant::now();
        tracing::info!("told to stop; serving until nobody asks any more");
        tokio::select! {
            () = activity.silence(quiet) => {}
            () = sleep(grace) => tracing::warn!(?grace, "requests still arrive at the end of the grace time"),
            () = self.reaches(Urgency::Now) => {}
        }
        tracing::info!(after = ?told.elapsed(), "stopped accepting requests");
    }

    /// Returns when the server has to end, requests or not: at once if that urgent, else [`LAST_REQUESTS`] after the
    /// grace time.
    pub(crate) async fn expired(mut self, grace: Duration) {
        self.reaches(Urgency::Drain).await;
        tokio::select! {
            () = sleep(grace + LAST_REQUESTS) => {}
            () = self.reaches(Urgency::Now) => {}
        }
    }
}

fn wait_for_end(input: &mut impl io::Read) {
    let mut bytes = [0; 64];
    loop {
        match input.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Notices when somebody asks.
#[derive(Debug)]
pub(crate) struct Activity {
    since: Instant,
    /// When the last connection or request came or a request ended, in nanoseconds after `since`.
    last_ns: AtomicU64,
    in_flight: AtomicUsize,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), last_ns: AtomicU64::new(0), in_flight: AtomicUsize::new(0) }
    }

    /// A connection came.
    pub(crate) fn seen(&self) {
        let now_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last_ns.fetch_max(now_ns, Ordering::AcqRel);
    }

    /// A request came; it ends when the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.seen();
        Busy(Arc::clone(self))
    }

    async fn silence(&self, quiet: Duration) {
        let told = Instant::now();
        loop {
            let last = self.since + Duration::from_nanos(self.last_ns.load(Ordering::Acquire));
            let left = (last.max(told) + quiet).saturating_duration_since(Instant::now());
            let busy = self.in_flight.load(Ordering::Acquire) > 0;
            if left.is_zero() && !busy {
                return;
            }
            sleep(left.max(Duration::from_millis(5))).await;
        }
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.seen();
    }
}
