//! Models: the files they come from, their sessions, and the threads that run them.

pub(crate) mod files;
pub(crate) mod pool;
pub(crate) mod session;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use ort::environment::Environment;

use crate::{
    error::{PredictorError, RequestError},
    tensor::{Output, Tensor, TensorSpec},
};
use session::ModelSession;

/// A model that is ready to run.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// One session a worker: ONNX Runtime's are not run by two threads at once.
    sessions: Vec<Mutex<ModelSession>>,
}

impl Model {
    /// Loads a model, once for each worker.
    pub(crate) fn load(
        environment: &Environment,
        name: &str,
        path: &Path,
        workers: usize,
    ) -> Result<Self, PredictorError> {
        let first = ModelSession::load(environment, name, path)?;
        let (inputs, outputs) = (first.inputs()?, first.outputs());
        let mut sessions = vec![Mutex::new(first)];
        for _ in 1..workers {
            sessions.push(Mutex::new(ModelSession::load(environment, name, path)?));
        }
        Ok(Self { name: name.to_owned(), inputs, outputs, sessions })
    }

    /// Runs it on this thread, as worker number `worker`. Tensors are in the order of the inputs.
    pub(crate) fn run(&self, worker: usize, tensors: Vec<Tensor>) -> Result<Vec<Output>, RequestError> {
        let session = &self.sessions[worker % self.sessions.len()];
        session.lock().unwrap_or_else(PoisonError::into_inner).run(tensors)
    }
}
