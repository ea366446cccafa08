//! A whole serving platform in this process: embedded cluster, gateway and control plane, put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::kserve::config::CONFIG_NAMESPACE;
use windtunnel_cluster::{EmbeddedCluster, Image};
use windtunnel_control_plane::install::{self, rbac};
use windtunnel_control_plane::local_model_agent::{LocalModelAgent, Options as AgentOptions};
use windtunnel_control_plane::{ControlPlane, Endpoint, Pages};
use windtunnel_gateway::Gateway;

use crate::FlightError;

/// Where Knative's configuration lives.
const KNATIVE_NAMESPACE: &str = "knative-serving";

/// What a stack is made of.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Folder for pods, logs and the kubeconfig; made by the stack and removed when it stops.
    pub directory: PathBuf,
    /// Folder that keeps the cluster's objects and volumes over a restart; `None` forgets them.
    pub data_directory: Option<PathBuf>,
    /// The `windtunnel` binary: our container images run its entrypoints.
    pub executable: PathBuf,
    /// ONNX Runtime's library, where it has been found already; pods then need not look for it.
    pub runtime: Option<PathBuf>,
    /// Storage URI prefix to local folder. Relative folders are those of this process; pods run elsewhere.
    pub storage: BTreeMap<String, PathBuf>,
    /// Further images that the node can run, beside our own.
    pub images: Vec<Image>,
    /// How many nodes the cluster has.
    pub nodes: u16,
    /// Knative's ConfigMaps by name (`config-autoscaler`), each with the keys that differ from the defaults.
    pub knative: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the API server keeps what the controllers are allowed and refused, for tests of their permissions.
    pub log_authorizations: bool,
    /// Where the API server listens; port 0 lets the system choose.
    pub api_listen: SocketAddr,
    /// Where the gateway listens; port 0 lets the system choose.
    pub gateway_listen: SocketAddr,
}

impl StackOptions {
    /// Options with everything on loopback, on ports that the system chooses.
    #[must_use]
    pub fn new(directory: PathBuf, executable: PathBuf) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            directory,
            data_directory: None,
            executable,
            runtime: None,
            storage: BTreeMap::new(),
            images: Vec::new(),
            nodes: 1,
            knative: BTreeMap::new(),
            log_authorizations: false,
            api_listen: loopback,
            gateway_listen: loopback,
        }
    }

    /// The images that this binary stands in for, each with the entrypoint that it runs.
    #[must_use]
    pub fn images(&self) -> Vec<Image> {
        let absolute = |folder: &Path| std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let storage: Vec<String> = self
            .storage
            .iter()
            .map(|(prefix, folder)| format!("{prefix}={}", absolute(folder).display()))
            .collect();
        let image = |name: &str| {
            Image::new(
                format!("windtunnel/{name}"),
                [self.executable.display().to_string().as_str(), "serve", name],
            )
        };
        let graph_router = image("graph-router");
        let mut images = vec![
            image("predictor"),
            // A configuration of upstream's names this one.
            Image { reference: "kserve/router".to_owned(), ..graph_router.clone() },
            graph_router,
            Image {
                env: BTreeMap::from([("WINDTUNNEL_STORAGE_MAP".to_owned(), storage.join(";"))]),
                ..image("storage-initializer")
            },
        ];
        // Who maps one of ours to something else wants that.
        images.extend(self.images.iter().cloned());
        images
    }
}

/// A running platform. [`EmbeddedStack::stop`] ends every process that it started and removes its folder; dropping it kills
/// the processes too.
pub struct EmbeddedStack {
    cluster: EmbeddedCluster,
    gateway: Gateway,
    control_plane: ControlPlane,
    local_model_agent: LocalModelAgent,
    endpoint: Endpoint,
}

impl EmbeddedStack {
    /// Starts the three parts, in the order in which they need each other.
    ///
    /// # Errors
    /// A part that does not start, with its reason; what was started before it is ended.
    pub async fn start(options: StackOptions) -> Result<Self, FlightError> {
        let gateway = Gateway::bind(options.gateway_listen, windtunnel_gateway::Options::default())
            .await
            .map_err(|source| FlightError::Gateway { address: options.gateway_listen, source })?;
        let control_plane_options = windtunnel_control_plane::Options {
            install: false,
            ..windtunnel_control_plane::Options::default()
        };
        let cluster = EmbeddedCluster::start(windtunnel_cluster::Options {
            directory: options.directory.clone(),
            data_directory: options.data_directory.clone(),
            images: options.images(),
            nodes: options.nodes,
            admission: ControlPlane::admission_with(&control_plane_options.live_config),
            listen: options.api_listen,
            external_metrics: Some(Arc::new(control_plane_options.external_metrics.clone())),
            ..windtunnel_cluster::Options::default()
        })
        .await?;
        // What a cluster's administrator does; the controllers go on as who they are.
        let not_started = |error: &dyn std::fmt::Display| FlightError::ControlPlane(error.to_string());
        let admin = cluster.client();
        install::install(&admin, &control_plane_options.domain).await.map_err(|error| not_started(&error))?;
        let parts = rbac::Parts { election: false, webhooks: false };
        let agents = rbac::agent(CONFIG_NAMESPACE, &KserveConfig::default().local_model.job_namespace);
        for access in [rbac::controllers(CONFIG_NAMESPACE, parts), agents] {
            install::install_access(&admin, access).await.map_err(|error| not_started(&error))?;
        }
        install::local_gateway(&admin, gateway.handle().address())
            .await
            .map_err(|error| not_started(&error))?;
        if options.log_authorizations {
            cluster.api_server().log_authorizations();
        }
        let controllers = cluster.service_account_client(CONFIG_NAMESPACE, rbac::SERVICE_ACCOUNT);
        let control_plane = ControlPlane::start(controllers, gateway.handle(), control_plane_options)
            .await
            .map_err(|error| not_started(&error))?;
        let pages =
            Pages { metrics: Some(control_plane.metrics().clone()), health: Some(control_plane.health()) };
        let endpoint = Endpoint::start(SocketAddr::from(([127, 0, 0, 1], 0)), pages)
            .await
            .map_err(|error| not_started(&error))?;
        // All nodes are this machine, so one agent is enough for them.
        let agent = cluster.service_account_client(CONFIG_NAMESPACE, rbac::AGENT);
        let local_model_agent = LocalModelAgent::start(agent, AgentOptions::default());
        let stack = Self { cluster, gateway, control_plane, local_model_agent, endpoint };
        stack.configure_knative(&options.knative).await?;
        Ok(stack)
    }

    async fn configure_knative(
        &self,
        maps: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), FlightError> {
        let api = Api::<ConfigMap>::namespaced(self.client(), KNATIVE_NAMESPACE);
        for (name, keys) in maps {
            api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"data": keys})))
                .await
                .map_err(FlightError::api(format!("setting ConfigMap {KNATIVE_NAMESPACE}/{name}")))?;
        }
        Ok(())
    }

    /// A client of the API server, in process.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.cluster.client()
    }

    /// The embedded cluster.
    #[must_use]
    pub fn cluster(&self) -> &EmbeddedCluster {
        &self.cluster
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// The control plane, for its stream of decisions.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Where the control plane's metrics and probes are.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// Ends everything: controllers first, then the gateway when its last request is answered, then the pods.
    pub async fn stop(self) {
        self.local_model_agent.stop().await;
        self.control_plane.stop().await;
        self.endpoint.stop().await;
        self.gateway.shutdown().await;
        self.cluster.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails an InferenceGraph's pod waits for an image that the embedded cluster can't pull.
    #[test]
    fn the_router_images_run_the_graph_router() {
        let options = StackOptions::new(PathBuf::from("/stack"), PathBuf::from("/bin/windtunnel"));
        let images = options.images();
        for reference in ["windtunnel/graph-router", "kserve/router"] {
            let image = images.iter().find(|image| image.reference == reference).expect(reference);
            assert_eq!(image.argv, ["/bin/windtunnel", "serve", "graph-router"]);
        }
    }
}
