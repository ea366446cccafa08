//! Model server: V1 and V2 inference protocols over ONNX Runtime.
//!
//! [`serve`] is the whole server; [`Server`] is the same in two steps for who needs the address in between. What it
//! serves is a [`ModelSource`]; how it ends is a [`Shutdown`]. [`runtime`] finds or installs ONNX Runtime's library.
//!
//! Requests become [`tensor::Tensor`]s in pure functions (one module a protocol), run on a fixed number of threads
//! with one session each, and come back as [`tensor::Output`]s. What is sent must fit the model's declaration and is
//! refused with 400 otherwise; what the model returns is trusted over what it declares.
//!
//! ```no_run
//! use windtunnel_predictor::{ModelSource, ServerOptions, Shutdown, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = ModelSource::Directory { name: "digits".to_owned(), path: "/mnt/models".into() };
//! serve(ServerOptions::new(source).with_pod_environment()?, Shutdown::on_termination()?).await?;
//! # Ok(())
//! # }
//! ```

mod decode;
mod encode;
mod error;
mod model;
mod options;
mod protocol;
pub mod runtime;
mod server;
pub mod tensor;

pub use error::{PredictorError, RequestError};
pub use options::{ModelSource, ServerOptions};
pub use server::{Server, Shutdown, Trigger, serve};
