//! What can go wrong when a cluster starts.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The folder can't be created, read or locked.
    #[error("cluster directory {path}: {source}; choose a folder that you may write to")]
    Directory {
        /// The folder or file at fault.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another cluster lives in the folder.
    #[error(
        "cluster directory {path} is in use by a running cluster; stop that one or choose another directory"
    )]
    DirectoryInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds files that no cluster wrote; stopping would remove them.
    #[error("cluster directory {path} holds other files (first: {first}); choose an empty or new folder")]
    DirectoryNotOurs {
        /// The folder.
        path: PathBuf,
        /// Name of one of those files.
        first: String,
    },
    /// The folder that keeps the objects can't be used.
    #[error(transparent)]
    Storage(#[from] windtunnel_apiserver::StorageError),
    /// The file that maps images to commands has a mistake.
    #[error("images file {place}: {cause}")]
    Images {
        /// Name of the file.
        place: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// The API server's address can't be bound.
    #[error("API server cannot listen on {address}: {source}; use port 0 to let the system choose")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No loopback network is left for pod addresses.
    #[error(
        "no free loopback network for pods among 127.64.0.0/16 to 127.250.0.0/16: {source}; stop other clusters"
    )]
    PodNetwork {
        /// What the system said for the last one tried.
        source: io::Error,
    },
    /// The supervision that ends processes when this program is killed could not be started.
    #[error("cannot start the supervising shell /bin/sh: {source}; install a POSIX shell")]
    Warden {
        /// What the system said.
        source: io::Error,
    },
    /// A call to the cluster's own API server failed while starting.
    #[error("starting the cluster, {action}: {source}")]
    Api {
        /// What was being done.
        action: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// The controllers' first lists did not arrive.
    #[error(
        "the cluster's controllers did not get their first lists within {limit_s} s; is the machine overloaded?"
    )]
    NotSynced {
        /// How long was waited.
        limit_s: u64,
    },
}
