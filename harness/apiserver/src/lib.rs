//! Embedded Kubernetes API server: a pure store and request pipeline under a thin HTTP layer.
//!
//! [`ApiServer`] is the handle. Its [`client`](ApiServer::client) calls it in process, without a socket;
//! [`serve`](ApiServer::serve) binds it to one, with TLS, for kubectl and other programs. [`Admission`] reviewers stand
//! where a real cluster has webhooks.
//!
//! Inside, from the bottom: `store` holds objects, revisions and a bounded log of changes; `schema` knows the
//! shape of every kind; `kinds` is the table of built-in kinds with their defaults, rules and columns, and reads
//! custom ones from their definitions; `patch` and `apply` are the four patch formats; `pipeline` turns a request
//! and the state into an answer. None of these does I/O or reads a clock. `security` stands before it: certificates,
//! tokens, impersonation, roles. `webhook` knows the configured admission webhooks. `durable` writes the
//! store to a folder where one is given. `metrics` counts for `/metrics`. `http_layer` and `server` are the edge.
//!
//! ```
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::api::{Api, PostParams};
//! use windtunnel_apiserver::{ApiServer, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), kube::Error> {
//! let server = ApiServer::new(Options::default());
//! let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
//! let map: ConfigMap = serde_json::from_value(serde_json::json!({"metadata": {"name": "a"}})).unwrap();
//! let created = maps.create(&PostParams::default(), &map).await?;
//! assert!(created.metadata.resource_version.is_some());
//! # Ok(())
//! # }
//! ```

mod admission;
mod apply;
mod cel;
mod connect;
mod durable;
mod external_metrics;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http_layer;
mod jsonpath;
mod kinds;
mod kubeconfig;
mod metrics;
mod object;
mod patch;
mod pipeline;
mod schema;
mod security;
mod selector;
mod server;
mod status;
mod store;
mod webhook;

pub use admission::{Admission, Attributes, Denial, Operation};
pub use connect::{
    ContainerRef, Duplex, ExitOutcome, Kubelet, LogOptions, LogStream, Refusal, Session, Streams,
    TerminalSize,
};
pub use durable::StorageError;
pub use external_metrics::{ExternalMetricQuery, ExternalMetricValue, ExternalMetrics};
pub use security::{AnyCertificate, Authorization, Identity, Pki, PkiError, User};
pub use server::{ApiServer, Options};
