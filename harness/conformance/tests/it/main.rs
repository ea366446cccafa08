//! Integration tests of the conformance crate.

mod cases;
mod hpa_keda;
mod permissions;
mod reports;
mod rollout_vectors;
mod suite;
mod vectors;
