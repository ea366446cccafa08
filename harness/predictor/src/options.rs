//! How the server runs: what the command line gives, and what a pod's environment adds.

use std::{env, net::IpAddr, path::PathBuf, time::Duration};

use crate::error::PredictorError;
pub use crate::model::files::ModelSource;

/// Address that a node gives a pod to listen on.
const BIND: &str = "WINDTUNNEL_BIND";
/// Ports that a node gives a pod in the place of those that its containers name: `8080=41234,…`.
const PORTS: &str = "WINDTUNNEL_PORTS";

/// How a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// What it serves.
    pub source: ModelSource,
    /// The REST port; 0 lets the system choose.
    pub http_port: u16,
    /// The address to listen on.
    pub bind: IpAddr,
    /// Threads that run models, each with a session of its own.
    pub workers: usize,
    /// Requests that may wait for a thread; more are answered with 503.
    pub queue_depth: usize,
    /// Longest request body in bytes.
    pub max_body_bytes: usize,
    /// ONNX Runtime's library; `None` looks for it.
    pub library: Option<PathBuf>,
    /// After being told to stop, it goes on serving until no request came for this long.
    pub quiet: Duration,
    /// It stops accepting requests at the latest so long after being told to stop, and ends at the latest 4 s later:
    /// together just below a pod's usual grace period of 30 s.
    pub grace: Duration,
}

impl ServerOptions {
    /// The defaults of KServe's own server: port 8080 on all addresses, one worker.
    #[must_use]
    pub fn new(source: ModelSource) -> Self {
        Self {
            source,
            http_port: 8080,
            bind: IpAddr::from([0, 0, 0, 0]),
            workers: 1,
            queue_depth: 1024,
            max_body_bytes: 64 * 1024 * 1024,
            library: None,
            quiet: Duration::from_millis(300),
            grace: Duration::from_secs(25),
        }
    }

    /// Follows `WINDTUNNEL_BIND` and `WINDTUNNEL_PORTS`, which a node sets for pods that share its network.
    ///
    /// # Errors
    /// [`PredictorError::Environment`] if one of them is malformed.
    pub fn with_pod_environment(self) -> Result<Self, PredictorError> {
        self.with_pod_variables(env::var(BIND).ok(), env::var(PORTS).ok())
    }

    fn with_pod_variables(
        mut self,
        bind: Option<String>,
        ports: Option<String>,
    ) -> Result<Self, PredictorError> {
        if let Some(value) = bind {
            self.bind = value.parse().map_err(|_not_an_address| PredictorError::Environment {
                name: BIND,
                value,
                expected: "an IP address",
            })?;
        }
        if let Some(value) = ports {
            let malformed = || PredictorError::Environment {
                name: PORTS,
                value: value.clone(),
                expected: "container ports and host ports, such as 8080=41234,9000=41235",
            };
            for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
                let (container, host) = pair.split_once('=').ok_or_else(malformed)?;
                let container: u16 = container.trim().parse().map_err(|_not_a_port| malformed())?;
                let host: u16 = host.trim().parse().map_err(|_not_a_port| malformed())?;
                if container == self.http_port {
                    self.http_port = host;
                    break;
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bind: Option<&str>, ports: Option<&str>) -> Result<(String, u16), String> {
        let source = ModelSource::Repository { path: PathBuf::new() };
        ServerOptions::new(source)
            .with_pod_variables(bind.map(str::to_owned), ports.map(str::to_owned))
            .map(|options| (options.bind.to_string(), options.http_port))
            .map_err(|error| error.to_string())
    }

    /// A pod on a shared network that listens elsewhere than its node thinks never becomes ready.
    #[test]
    fn pods_listen_where_the_node_says() {
        assert_eq!(with(None, None), Ok(("0.0.0.0".to_owned(), 8080)));
        assert_eq!(with(Some("127.64.0.2"), Some("9000=9,8080=41234")), Ok(("127.64.0.2".to_owned(), 41234)));
        assert_eq!(with(None, Some("9000=9")), Ok(("0.0.0.0".to_owned(), 8080)));
        let error = with(Some("here"), None).unwrap_err();
        assert_eq!(error, "environment variable WINDTUNNEL_BIND=here: expected an IP address");
        for malformed in ["8080", "8080=x", "x=1", "8080=99999"] {
            assert!(
                with(None, Some(malformed)).unwrap_err().contains("8080=41234,9000=41235"),
                "{malformed}"
            );
        }
    }
}
