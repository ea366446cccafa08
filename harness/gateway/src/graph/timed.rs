//! A connection that ends itself when its client is too slow: in sending a request, in taking an answer, or in coming back.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::plan::Timeouts;

/// What the connection is at.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No request; since when.
    Idle(Instant),
    /// A request is coming in; since when.
    Reading(Instant),
    /// The whole request is here.
    Answering,
}

/// Told by the service what the connection is at.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<Phase>>);

impl Progress {
    fn get(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// The request is here to its last byte.
    pub(super) fn request_read(&self) {
        self.set(Phase::Answering);
    }

    /// The answer is ready to be sent.
    pub(super) fn answered(&self) {
        self.set(Phase::Idle(Instant::now()));
    }
}

/// A stream with time limits.
pub(super) struct Timed {
    stream: TcpStream,
    progress: Progress,
    read: Option<Duration>,
    write: Option<Duration>,
    idle: Option<Duration>,
    read_alarm: Option<Pin<Box<Sleep>>>,
    write_alarm: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, timeouts: &Timeouts) -> (Self, Progress) {
        let progress = Progress(Arc::new(Mutex::new(Phase::Idle(Instant::now()))));
        let Timeouts { read, write, idle, call: _ } = *timeouts;
        let timed = Self {
            stream,
            progress: progress.clone(),
            read,
            write,
            idle,
            read_alarm: None,
            write_alarm: None,
        };
        (timed, progress)
    }

    /// An error when nothing may be waited for any longer.
    fn check_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(limit) = self.write else { return Poll::Pending };
        let alarm = self.write_alarm.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        alarm.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if buf.filled().len() > before && matches!(self.progress.get(), Phase::Idle(_)) {
                self.progress.set(Phase::Reading(Instant::now()));
            }
            return Poll::Ready(read);
        }
        let deadline = match self.progress.get() {
            Phase::Idle(since) => self.idle.map(|limit| since + limit),
            Phase::Reading(since) => self.read.map(|limit| since + limit),
            Phase::Answering => None,
        };
        let Some(deadline) = deadline else { return Poll::Pending };
        let alarm = self.read_alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.check_write(cx).map(Err),
            Poll::Ready(written) => {
                self.write_alarm = None;
                Poll::Ready(written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Pending => self.check_write(cx).map(Err),
            Poll::Ready(written) => {
                self.write_alarm = None;
                Poll::Ready(written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
