//! Exit codes, the part of the command line that scripts read.

use std::fmt;
use std::process::ExitCode;

/// How a command ended. The order is that of severity: of several outcomes the worst is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Every gate passed, and at least one ran.
    Passed,
    /// Too few samples, the client was the bottleneck, or nothing was judged.
    Inconclusive,
    /// A gate or case failed.
    Failed,
    /// Bad usage or input; nothing ran.
    Usage,
    /// The environment failed: no cluster, no library.
    Environment,
    /// Ctrl-C; the partial report is written.
    Interrupted,
    /// SIGTERM; the partial report is written.
    Terminated,
    /// A defect of ours.
    Internal,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Environment => 4,
            Self::Internal => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code() as u8)
    }
}

/// An error with the exit code that it means.
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl fmt::Display for Failure {
    /// The error and its causes, each once: libraries differ in whether a message repeats its cause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if !told.contains(&cause) {
                let separator = if told.is_empty() { "" } else { ": " };
                told = format!("{told}{separator}{cause}");
            }
        }
        f.write_str(&told)
    }
}

/// What every command returns.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Gives an error its exit code.
pub(crate) trait OrExit<T> {
    /// Bad usage or input.
    fn or_usage(self) -> Result<T, Failure>;
    /// The environment failed.
    fn or_environment(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_usage(self) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit: Exit::Usage, error: error.into() })
    }

    fn or_environment(self) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit: Exit::Environment, error: error.into() })
    }
}
