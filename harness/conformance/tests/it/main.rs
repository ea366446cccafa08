//! Integration tests of the conformance crate.

mod vectors;
