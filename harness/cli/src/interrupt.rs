//! Ctrl-C and SIGTERM: the first one asks for an orderly end, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Listens for both signals.
#[derive(Clone)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for both signals, and says so when the first one comes; call it inside the runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Self::listen_and(|| {
            eprintln!("windtunnel: interrupted; ending what was started (again to end at once)");
        })
    }

    /// Listens for both signals, and calls this at the first one; call it inside the runtime.
    pub(crate) fn listen_and(told_first: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let listener = Self { token: CancellationToken::new(), terminated: Arc::new(AtomicBool::new(false)) };
        let told = listener.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => told.terminated.store(true, Ordering::Relaxed),
                }
                if told.token.is_cancelled() {
                    std::process::exit(told.exit().code()); // pods end with us: they hold the other end of a pipe
                }
                told_first();
                told.token.cancel();
            }
        });
        Ok(listener)
    }

    /// Fires at the first signal.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether a signal has come.
    pub(crate) fn came(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The exit code for the signal that came.
    pub(crate) fn exit(&self) -> Exit {
        if self.terminated.load(Ordering::Relaxed) { Exit::Terminated } else { Exit::Interrupted }
    }
}
