//! Integration tests of the conformance crate.

mod hpa_keda;
mod rollout_vectors;
mod vectors;
