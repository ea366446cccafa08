//! Which upstream is reproduced: as it is meant, or as it is, likely bugs included.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether the likely bugs of the systems that are reproduced are reproduced too.
///
/// Every such bug is a named option of its kernel; a profile switches all of them at once. Behaviour that upstream's
/// own tests pin down is no bug here and is the same in both profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Upstream's decisions without its likely bugs.
    #[default]
    Windtunnel,
    /// Upstream's decisions, bug for bug.
    Upstream,
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no profile, expected windtunnel or upstream")]
pub struct UnknownProfile(pub String);

impl Profile {
    /// Whether upstream's likely bugs are on.
    #[must_use]
    pub fn has_upstream_bugs(self) -> bool {
        self == Self::Upstream
    }

    /// The word for it: `windtunnel` or `upstream`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Windtunnel => "windtunnel",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "windtunnel" => Ok(Self::Windtunnel),
            "upstream" => Ok(Self::Upstream),
            other => Err(UnknownProfile(other.to_string())),
        }
    }
}
