//! The body of an answer: a pod's, streamed through, or the gateway's own.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{activator::Lease, endpoint::Connection, meter::Metered};

/// What the gateway answers with.
pub(crate) enum AnswerBody {
    /// The gateway's own words.
    Own(Option<Bytes>),
    /// A pod's.
    Pod(PodBody),
}

/// A pod's answer together with what ends when the answer does.
pub(crate) struct PodBody {
    incoming: Incoming,
    finished: bool,
    exchange: Option<Exchange>,
}

/// What a request occupies until the last byte of its answer. Dropping it unfinished closes the connection, which
/// tells the pod that its client went away.
pub(crate) struct Exchange {
    pub(crate) connection: Connection,
    pub(crate) lease: Lease,
    pub(crate) metered: Metered,
}

impl Exchange {
    fn finish(self) {
        let Self { connection, lease, metered } = self;
        lease.endpoint.give_back(connection);
        drop(lease);
        drop(metered);
    }
}

impl PodBody {
    pub(crate) fn new(incoming: Incoming, exchange: Exchange) -> Self {
        Self { incoming, finished: false, exchange: Some(exchange) }
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }
}

impl Drop for PodBody {
    fn drop(&mut self) {
        // A body with a length is over without being polled once more.
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pod(body) => {
                let polled = Pin::new(&mut body.incoming).poll_frame(cx);
                match &polled {
                    Poll::Ready(None) => body.finish(),
                    Poll::Ready(Some(Err(_))) => body.exchange = None,
                    Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Pod(body) => body.finished || body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pod(body) => body.incoming.size_hint(),
        }
    }
}
