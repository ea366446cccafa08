//! Why a load test could not be run.

use std::time::Duration;

/// Why a load test could not be run. A request that fails is an observation, not an error.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address is no HTTP address.
    #[error(
        "`{url}` is no address to load: {message}; write one such as http://localhost:8080/v1/models/NAME:predict"
    )]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        message: String,
    },

    /// A setting is out of its range.
    #[error("{setting} can't be {value}; {hint}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// As it was given.
        value: String,
        /// What it may be.
        hint: String,
    },

    /// A header is malformed.
    #[error("`{name}: {value}` is no HTTP header; write one such as Host: digits.default.example.com")]
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },

    /// A rule about something that can't be seen from outside the service.
    #[error("`{rule}` can't be judged on a load test: {reason}; judge it with `windtunnel run`")]
    Rule {
        /// As it was written.
        rule: String,
        /// Why not.
        reason: &'static str,
    },

    /// No row of the request set has a reference answer of the version.
    #[error("no request has a reference answer of `{version}`; {hint}")]
    UnknownVersion {
        /// As it was given.
        version: String,
        /// What there is instead.
        hint: String,
    },

    /// Nobody listens at the address.
    #[error("{authority} can't be reached: {message}; is the service up, and the address right?")]
    Unreachable {
        /// Host and port.
        authority: String,
        /// The system's reason.
        message: String,
    },

    /// The HTTP client could not be set up.
    #[error("the HTTP client can't be set up: {0}")]
    Client(#[source] reqwest::Error),

    /// Goose did not run.
    #[error("goose did not run: {0}")]
    Goose(#[source] Box<goose::GooseError>),
}

impl LoadError {
    /// Whether another command would do, on the same machine and the same service.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Client(_) | Self::Goose(_))
    }

    pub(crate) fn setting(setting: &'static str, value: &impl ToString, hint: impl Into<String>) -> Self {
        Self::Setting { setting, value: value.to_string(), hint: hint.into() }
    }

    pub(crate) fn time(setting: &'static str, value: Duration, hint: &str) -> Self {
        Self::setting(setting, &format!("{value:?}"), hint)
    }
}
