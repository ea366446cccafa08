//! Errors of starting the control plane.

/// Why the control plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// The API server refused something that must be there first.
    #[error(
        "installing {what}: {source}; check that the API server is reachable and the client may create it"
    )]
    Install {
        /// Kind and name of the object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A CustomResourceDefinition was taken but is not served.
    #[error(
        "CustomResourceDefinition {name} is not established after {waited_s} s; see its status conditions"
    )]
    NotEstablished {
        /// Name of the definition.
        name: String,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
}
