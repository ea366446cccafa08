//! Errors: what stops the server, and what a request is answered with.

use std::{io, net::SocketAddr, path::PathBuf};

use http::StatusCode;
use thiserror::Error;

use crate::runtime::RuntimeError;

/// Why the server could not start or had to stop.
#[derive(Debug, Error)]
pub enum PredictorError {
    /// ONNX Runtime could not be had.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model folder or repository cannot be used.
    #[error("{path}: {cause}; {remedy}", path = path.display())]
    ModelFiles {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// ONNX Runtime refused the model.
    #[error(
        "{path}: model \"{model}\" cannot be loaded: {cause}; export it again (opset 24 or lower), or check that the file is complete",
        path = path.display()
    )]
    Load {
        /// Name that the model was to be served under.
        model: String,
        /// The file.
        path: PathBuf,
        /// ONNX Runtime's words.
        cause: String,
    },
    /// The model has an input or output that the protocols cannot carry.
    #[error("{path}: {what} of model \"{model}\" has the type {found}; only tensors of booleans, numbers and strings can be served", path = path.display())]
    UnsupportedType {
        /// Name that the model was to be served under.
        model: String,
        /// The file.
        path: PathBuf,
        /// Which input.
        what: String,
        /// Its type.
        found: String,
    },
    /// An environment variable is malformed.
    #[error("environment variable {name}={value}: expected {expected}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another --http_port, or 0 for any free one")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// A thread or a signal handler could not be set up, or the listener failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

/// Why a request is not answered with a prediction. The text is the `error` member of the JSON body.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The body is not JSON, or not the JSON of the protocol.
    #[error("Unrecognized request format: {0}")]
    Format(String),
    /// The body is JSON of the protocol, but does not fit the model.
    #[error("{0}")]
    Invalid(String),
    /// The model refused the values.
    #[error("{0}")]
    Inference(String),
    /// There is no such model.
    #[error("Model with name {0} does not exist.")]
    UnknownModel(String),
    /// The model is being loaded.
    #[error("Model with name {0} is not ready.")]
    NotReady(String),
    /// The server does not do that.
    #[error("{0}")]
    NotImplemented(String),
    /// There is nothing under this path.
    #[error("Not Found: {0}; see /v2 and /v1/models for what is served")]
    NotFound(String),
    /// The path exists, for another method.
    #[error("Method Not Allowed: {0}")]
    MethodNotAllowed(String),
    /// The body is too long.
    #[error("the request body is longer than {limit_bytes} bytes; send fewer rows at a time")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// Too many requests wait already.
    #[error(
        "{waiting} requests wait for model {model} already; send less at a time, or add replicas or --workers"
    )]
    Overloaded {
        /// The model.
        model: String,
        /// How many wait.
        waiting: usize,
    },
    /// The server is at fault.
    #[error("{0}")]
    Internal(String),
}

impl RequestError {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Format(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::UnknownModel(_) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::NotReady(_) | Self::Overloaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Inference(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
