//! The three patch formats that do not track owners, as pure functions from object and patch to object.

pub(crate) mod json;
pub(crate) mod merge;
pub(crate) mod strategic;

/// Why a patch can't be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatchError {
    /// The document is no patch of its format.
    Malformed(String),
    /// It does not fit the object; the real server says no more.
    Unfit,
    /// It does or makes too much.
    TooLarge(String),
    /// What the real server answers with 500.
    Internal(String),
}
