//! Embedded Kubernetes API server: a pure store and request pipeline under a thin HTTP layer.

mod admission;
mod server;

pub use admission::{Admission, Attributes, Denial, Operation};
pub use server::{ApiServer, Options};
