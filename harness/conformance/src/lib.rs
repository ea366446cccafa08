//! Cases that a serving platform must pass.
//!
//! | module | what it runs | against |
//! | --- | --- | --- |
//! | [`case`], [`runner`] | declarative cases: objects in, objects, conditions and answers out | any cluster |
//! | [`vectors`] | decision vectors: numbers in, numbers out | the kernels |
//!
//! A case is data: it says what it needs, what it does and what must come of it. The runner gives each a namespace of its
//! own, waits on the API server's events with a deadline, explains what differs, and cleans up whatever happens.
//! [`assertion`] is what a case says about objects, [`report`] the shape in which results are published.
//!
//! ```
//! use std::path::Path;
//!
//! let file = r#"
//! apiVersion: windtunnel.dev/v1alpha1
//! kind: ConformanceCases
//! cases:
//! - id: ADM-05
//!   title: A minimum above the maximum is refused
//!   tier: T0
//!   tags: [must]
//!   steps:
//!   - create:
//!       kind: InferenceService
//!       metadata: {name: m}
//!       spec: {predictor: {minReplicas: 3, maxReplicas: 1, model: {modelFormat: {name: onnx}}}}
//!     dryRun: true
//!     refused: "'MinReplicas' cannot be greater than MaxReplicas"
//! "#;
//! let cases = windtunnel_conformance::case::read(file, Path::new("admission.yaml"))?;
//! assert_eq!(cases[0].id, "ADM-05");
//!
//! let mistyped = file.replace("refused", "refuse");
//! let faults = windtunnel_conformance::case::read(&mistyped, Path::new("admission.yaml")).unwrap_err();
//! assert!(faults.to_string().contains("did you mean \"refused\"?"));
//! # Ok::<(), windtunnel_scenario::Faults>(())
//! ```

pub mod assertion;
pub mod case;
pub mod report;
pub mod runner;
pub mod vectors;

mod expression;
mod glob;
mod selection;

pub use selection::Selection;
