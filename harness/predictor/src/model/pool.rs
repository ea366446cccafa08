//! The threads that run models: a fixed number, behind a bounded queue.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::sync::{oneshot, watch};

use super::Model;
use crate::{
    error::RequestError,
    tensor::{Output, Tensor},
};

/// Runs models away from the threads that serve connections. Its threads end when it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    jobs: SyncSender<Job>,
    queue_depth: usize,
    /// Models that are running now.
    running: watch::Receiver<usize>,
}

struct Job {
    model: Arc<Model>,
    tensors: Vec<Tensor>,
    reply: oneshot::Sender<Result<Vec<Output>, RequestError>>,
}

impl Pool {
    /// Starts `workers` threads; `queue_depth` requests may wait for them.
    pub(crate) fn start(workers: usize, queue_depth: usize) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(queue_depth);
        let queue = Arc::new(Mutex::new(queue));
        let (count, running) = watch::channel(0);
        for worker in 0..workers {
            let (queue, count) = (Arc::clone(&queue), count.clone());
            thread::Builder::new()
                .name(format!("model-{worker}"))
                .spawn(move || work(worker, &queue, &count))?;
        }
        Ok(Self { jobs, queue_depth, running })
    }

    /// Returns when no model is running.
    pub(crate) async fn rest(&self) {
        // The senders live in the workers: without workers nothing runs either.
        let _ = self.running.clone().wait_for(|running| *running == 0).await;
    }

    /// Runs a model. A caller that goes away before its turn is not served.
    pub(crate) async fn run(
        &self,
        model: &Arc<Model>,
        tensors: Vec<Tensor>,
    ) -> Result<Vec<Output>, RequestError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { model: Arc::clone(model), tensors, reply };
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                RequestError::Overloaded { model: model.name.clone(), waiting: self.queue_depth }
            }
            TrySendError::Disconnected(_) => RequestError::Internal("the server is stopping".to_owned()),
        })?;
        answer.await.unwrap_or_else(|_dropped| {
            Err(RequestError::Internal(format!(
                "model \"{}\" crashed while it ran; see the server's log",
                model.name
            )))
        })
    }
}

fn work(worker: usize, queue: &Mutex<Receiver<Job>>, running: &watch::Sender<usize>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { model, tensors, reply }) = next else { return };
        if !reply.is_closed() {
            // A panic inside the binding must cost one request, not this thread: dropping `reply` reports it.
            running.send_modify(|running| *running += 1);
            let ran = catch_unwind(AssertUnwindSafe(|| model.run(worker, tensors)));
            running.send_modify(|running| *running -= 1);
            if let Ok(ran) = ran {
                // The caller may have gone meanwhile.
                let _ = reply.send(ran);
            }
        }
    }
}
