//! Cases that a serving platform must pass.
//!
//! [`vectors`] runs decision vectors: numbers in, numbers out, taken from the unit tests of the systems whose
//! decisions the kernels reproduce.
//!
//! ```
//! let file = "
//! schema: 1
//! vectors:
//! - id: ten-pods
//!   kernel: knative.metrics.sample_size
//!   source: {repo: knative/serving, commit: 98e5ef9, file: sample_size_test.go, test: TestSampleSize}
//!   inputs: {population: [10]}
//!   expect: {sample: [7]}
//! ";
//! let report = windtunnel_conformance::vectors::run(file, "vectors.yaml")?;
//! assert_eq!((report.passed(), report.failed()), (1, 0));
//! # Ok::<(), windtunnel_conformance::vectors::VectorFileError>(())
//! ```

pub mod vectors;
