//! Data plane: host routing, exact traffic split, activator and concurrency metering; and the InferenceGraph router, a server
//! of its own ([`graph`]).
//!
//! A [`Gateway`] listens for HTTP/1.1 and HTTP/2 (prior knowledge) and forwards to pods over HTTP/1.1. Its
//! [`GatewayHandle`] is how a control plane drives it: [`GatewayHandle::apply`] replaces the [`RouteTable`],
//! [`GatewayHandle::stats`] is the stream of concurrency reports that an autoscaler needs.
//!
//! On its way a request meets, in this order: `router` (host to [`Route`], `matching` to one of its [`Rule`]s, then the
//! split of `kernel::routing::split` picks a [`Backend`]), `filters` (changes of the request and its answer), `meter` (the activator's reporter of `kernel::autoscale::kpa`),
//! `activator` (the breaker and the queue of those who wait for a pod), `endpoint` (a kept-alive connection to the
//! pod), and `proxy`, which ties them together and decides what may be sent a second time.
//!
//! No request is lost when pods come and go: one that finds no pod waits for one, up to the route's timeout; one
//! whose pod refuses the connection goes to another; one whose kept-alive connection died before a byte of the
//! answer came is sent again from its kept body. A request that may have been processed is never repeated: the
//! client gets a 502 that says so.
//!
//! ```
//! use windtunnel_gateway::{Backend, Gateway, Options, RevisionBackend, RevisionKey, Route, RouteTable};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), Options::default()).await?;
//! let stable = RevisionKey::new("default", "digits-predictor-00001");
//! let canary = RevisionKey::new("default", "digits-predictor-00002");
//! gateway.handle().apply(RouteTable {
//!     routes: vec![Route::split(
//!         vec!["digits-default.example.com".to_owned()],
//!         vec![
//!             Backend { revision: stable.clone(), percent: 90 },
//!             Backend { revision: canary.clone(), percent: 10 },
//!         ],
//!         60_000,
//!     )],
//!     revisions: vec![
//!         RevisionBackend {
//!             key: stable,
//!             container_concurrency: 0,
//!             activated: true,
//!             endpoints: vec!["127.0.0.1:8080".parse().unwrap()],
//!         },
//!         // No pod yet: requests for it wait.
//!         RevisionBackend { key: canary.clone(), container_concurrency: 1, activated: true, endpoints: vec![] },
//!     ],
//! });
//! assert_eq!(gateway.handle().in_flight(&canary), 0);
//! gateway.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod activator;
mod body;
mod endpoint;
mod error;
mod filters;
pub mod graph;
mod headers;
mod matching;
mod meter;
mod proxy;
mod replay;
mod router;
mod server;
mod table;

pub use headers::{HELD_US, REVISION, WEIGHT};
pub use meter::RevisionStat;
pub use server::{Gateway, GatewayHandle, Options};
pub use table::{
    Backend, DEFAULT_TIMEOUT_MS, Filter, HeaderChanges, PathChange, PathMatch, RequestMatch, RevisionBackend,
    RevisionKey, Route, RouteTable, Rule, TextMatch,
};
