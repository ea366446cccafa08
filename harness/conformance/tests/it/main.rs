//! Integration tests of the conformance crate.

mod cases;
mod hpa_keda;
mod reports;
mod rollout_vectors;
mod suite;
mod vectors;
