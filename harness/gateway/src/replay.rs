//! A request body that can be sent a second time.
//!
//! Frames stream through; the first [`LIMIT_BYTES`] of them are kept, so that a request whose connection turned
//! out to be dead goes to another pod without the client noticing. A longer body streams through unkept.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Bytes of a request body that are kept for a second attempt.
pub(crate) const LIMIT_BYTES: usize = 256 * 1024;

/// The client's body, owned by the request and lent to one attempt at a time.
pub(crate) struct Replay {
    shared: Arc<Mutex<Shared>>,
}

/// The body of one attempt: what was kept so far, then the rest from the client.
pub(crate) struct AttemptBody {
    shared: Arc<Mutex<Shared>>,
    next: usize,
}

struct Shared {
    incoming: Incoming,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    overflowed: bool,
    ended: bool,
    client_failed: bool,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(data) => Frame::data(data),
            Kept::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    pub(crate) fn new(incoming: Incoming) -> Self {
        let ended = incoming.is_end_stream();
        Self {
            shared: Arc::new(Mutex::new(Shared {
                incoming,
                kept: VecDeque::new(),
                kept_bytes: 0,
                overflowed: false,
                ended,
                client_failed: false,
            })),
        }
    }

    /// The body for the next attempt; `None` if more was sent already than is kept.
    pub(crate) fn attempt(&self) -> Option<AttemptBody> {
        (!lock(&self.shared).overflowed).then(|| AttemptBody { shared: Arc::clone(&self.shared), next: 0 })
    }

    /// True when the client itself broke its body off: nobody is left to answer.
    pub(crate) fn client_failed(&self) -> bool {
        lock(&self.shared).client_failed
    }
}

impl Body for AttemptBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut shared = lock(&this.shared);
        if !shared.overflowed
            && let Some(kept) = shared.kept.get(this.next)
        {
            this.next += 1;
            return Poll::Ready(Some(Ok(kept.clone().into())));
        }
        if shared.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut shared.incoming).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                shared.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                shared.client_failed = true;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = shared.keep(frame);
                this.next += 1;
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        shared.ended && (shared.overflowed || self.next >= shared.kept.len())
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        let rest = if shared.ended { SizeHint::with_exact(0) } else { shared.incoming.size_hint() };
        let kept: usize = if shared.overflowed {
            0
        } else {
            shared
                .kept
                .iter()
                .skip(self.next)
                .map(|kept| match kept {
                    Kept::Data(data) => data.len(),
                    Kept::Trailers(_) => 0,
                })
                .sum()
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + kept as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + kept as u64);
        }
        hint
    }
}

impl Shared {
    /// Remembers a frame while there is room, and hands it back.
    fn keep(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if self.overflowed {
            return frame;
        }
        match frame.into_data() {
            Ok(data) => {
                self.kept_bytes += data.len();
                if self.kept_bytes > LIMIT_BYTES {
                    self.overflowed = true;
                    self.kept.clear();
                } else {
                    self.kept.push_back(Kept::Data(data.clone()));
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.kept.push_back(Kept::Trailers(trailers.clone()));
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        }
    }
}
