//! The model server over HTTP, with real models and ONNX Runtime.

mod errors;
mod installing;
mod lifecycle;
mod metrics;
mod references;
mod serving;
mod transcripts;
