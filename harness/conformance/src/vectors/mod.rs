//! Decision vectors: one file, many kernels, a verdict a kernel.
//!
//! A file holds `vectors`, each with an `id`, the `kernel` it is for, its `source`, `inputs` and what to `expect`.
//! A vector that says something this runner does not understand (an input key it does not know, an expectation it
//! does not check, a wrong type) fails, with its place: it would otherwise pass without having been tested.

mod argo;
mod check;
mod fields;
mod file;
mod flagger;

mod hpa;
mod keda;
mod knative;

use std::collections::BTreeMap;
use std::fmt;

use self::check::Checks;
use self::fields::Fields;
use crate::glob;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Kernel names to run, with `*` and `?`; empty = all. A kernel that is not known is a failure only inside of
    /// this selection.
    pub only: Vec<String>,
}

/// How each kernel did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VectorReport {
    /// By kernel name.
    pub kernels: BTreeMap<String, KernelOutcome>,
}

/// How one kernel did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelOutcome {
    /// Vectors that passed.
    pub passed: usize,
    /// Vectors that failed.
    pub failed: usize,
    /// What was wrong, one entry a failed vector, with its place.
    pub failures: Vec<String>,
    /// There is no such kernel here; all of its vectors count as failed.
    pub unsupported: bool,
}

/// A file that holds no vectors that could be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorFileError {
    /// It is not YAML, or not in the form of a vector file.
    #[error("{path}:{line}:{column}: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// It is of a version that this runner does not know.
    #[error(
        "{path}: schema {found} is not known, this runner reads schema 1: convert the file, or update windtunnel"
    )]
    Schema {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
    },
    /// It says how many vectors it holds, and holds another number of them: some were lost or added.
    #[error(
        "{path}:{line}: count says {said} vectors, the file holds {found}: restore what is missing, or correct count"
    )]
    Count {
        /// The file.
        path: String,
        /// Line of the count, from 1.
        line: u64,
        /// What it says.
        said: u64,
        /// What it holds.
        found: usize,
    },
    /// It holds no vectors, or the selection leaves none.
    #[error("{path}: no vectors{}", if *.selected { " for the kernels that were asked for" } else { "" })]
    Nothing {
        /// The file.
        path: String,
        /// Whether there was a selection.
        selected: bool,
    },
}

/// Runs every vector of a file. `path` is used in messages only.
///
/// # Errors
/// The file cannot be read as vectors at all. A vector that is malformed is a failure of its kernel instead.
pub fn run(file_text: &str, path: &str) -> Result<VectorReport, VectorFileError> {
    run_selected(file_text, path, &Options::default())
}

/// Runs the vectors of the selected kernels.
///
/// # Errors
/// See [`run`]; also when nothing is selected.
pub fn run_selected(file_text: &str, path: &str, options: &Options) -> Result<VectorReport, VectorFileError> {
    let mut report = VectorReport::default();
    for vector in file::read(file_text, path)? {
        let is_selected =
            options.only.is_empty() || options.only.iter().any(|glob| glob::matches(glob, &vector.kernel));
        if !is_selected {
            continue;
        }
        let outcome = report.kernels.entry(vector.kernel.clone()).or_default();
        match judge(&vector) {
            Ok(()) => outcome.passed += 1,
            Err(failure) => {
                outcome.failed += 1;
                outcome.unsupported |= matches!(failure, Failure::Unsupported { .. });
                outcome
                    .failures
                    .push(format!("{path}:{}: {} ({}): {failure}", vector.line, vector.id, vector.kernel));
            }
        }
    }
    if report.kernels.is_empty() {
        return Err(VectorFileError::Nothing { path: path.to_string(), selected: !options.only.is_empty() });
    }
    Ok(report)
}

/// The kernels that can be run, in order.
pub fn supported_kernels() -> impl Iterator<Item = &'static str> {
    kernels().map(|(name, _)| name)
}

/// Every system's kernels, in the order of their names.
const SYSTEMS: &[&[(&str, Kernel)]] =
    &[argo::KERNELS, flagger::KERNELS, hpa::KERNELS, keda::KERNELS, knative::KERNELS];

fn kernels() -> impl Iterator<Item = (&'static str, Kernel)> {
    SYSTEMS.iter().flat_map(|system| system.iter().copied())
}

/// The kernel whose name begins most like `name`.
fn nearest(name: &str) -> &'static str {
    let common =
        |other: &str| other.chars().zip(name.chars()).take_while(|(one, other)| one == other).count();
    supported_kernels()
        .max_by_key(|&kernel| (common(kernel), std::cmp::Reverse(kernel.len())))
        .unwrap_or_default()
}

impl VectorReport {
    /// Vectors that passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.kernels.values().map(|outcome| outcome.passed).sum()
    }

    /// Vectors that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.kernels.values().map(|outcome| outcome.failed).sum()
    }

    /// Every failure, kernel by kernel.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.kernels.values().flat_map(|outcome| outcome.failures.iter().map(String::as_str))
    }
}

/// Failures that a report shows.
const FAILURES_SHOWN: usize = 100;

impl fmt::Display for VectorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.kernels.keys().map(String::len).max().unwrap_or(0);
        for (kernel, outcome) in &self.kernels {
            let total = outcome.passed + outcome.failed;
            let verdict = match outcome {
                KernelOutcome { unsupported: true, .. } => "FAIL (no such kernel)",
                KernelOutcome { failed: 0, .. } => "ok",
                _ => "FAIL",
            };
            writeln!(f, "{kernel:width$}  {:>3}/{total:<3}  {verdict}", outcome.passed)?;
        }
        for (number, failure) in self.failures().enumerate() {
            if number == FAILURES_SHOWN {
                writeln!(f, "and {} more", self.failed() - FAILURES_SHOWN)?;
                break;
            }
            writeln!(f, "{failure}")?;
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

/// One kernel: reads its inputs, decides, and checks what is expected. The error says what is malformed.
type Kernel = fn(&Fields<'_>, &Fields<'_>, &mut Checks) -> Result<(), String>;

enum Failure {
    Unsupported { nearest: &'static str },
    Malformed(String),
    Different(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { nearest } => write!(
                f,
                "there is no such kernel: correct its name (the nearest is {nearest}), or leave it out with --only"
            ),
            Self::Malformed(message) => write!(f, "malformed: {message}"),
            Self::Different(message) => f.write_str(message),
        }
    }
}

fn judge(vector: &file::Vector) -> Result<(), Failure> {
    if let Some(fault) = &vector.fault {
        return Err(Failure::Malformed(fault.clone()));
    }
    let (_, kernel) = kernels()
        .find(|(name, _)| *name == vector.kernel)
        .ok_or_else(|| Failure::Unsupported { nearest: nearest(&vector.kernel) })?;
    let inputs = Fields::new("inputs", &vector.inputs).map_err(Failure::Malformed)?;
    let expect = Fields::new("expect", &vector.expect).map_err(Failure::Malformed)?;
    let mut checks = Checks::default();
    kernel(&inputs, &expect, &mut checks)
        .and_then(|()| inputs.finish())
        .and_then(|()| expect.finish())
        .map_err(Failure::Malformed)?;
    if checks.is_idle() {
        return Err(Failure::Malformed("expect: nothing is expected, add an expectation".to_string()));
    }
    checks.finish().map_err(Failure::Different)
}
