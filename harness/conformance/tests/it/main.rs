//! Integration tests of the conformance crate.

mod hpa_keda;
mod vectors;
