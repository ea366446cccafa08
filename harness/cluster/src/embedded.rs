//! An embedded cluster: everything started, and everything stopped.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{
            ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
            ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        scheduling::v1::PriorityClass,
        storage::v1::StorageClass,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use windtunnel_apiserver::{ApiServer, User};

use crate::{
    ClusterError, Options,
    adapter::{self, Executor, Reconcile, Recorder, Store, Watches},
    controllers::{
        deployment, disruption, endpoint_slices, endpoints, job, namespace, replica_set, scheduler,
        stateful_set, volumes,
    },
    directory::Directory,
    kubeconfig,
    node::{self, Isolation, NODE_NAME, NameServer, PodNetwork, Processes, images::Images},
    system::{self, Heart},
    world::{Key, Kind},
};

/// Where in the cluster's folder, or in the one that is kept, volumes lie.
const VOLUMES: &str = "volumes";
/// File of the folder that is kept: which network the cluster's addresses are of.
const NETWORK: &str = "network";
/// How long the controllers' first lists may take, in seconds.
const SYNC_LIMIT_S: u64 = 10;
/// How long stopping waits for processes to end by themselves; after that they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// A Kubernetes cluster in this process.
///
/// Dropping it kills every process that it started, at once; [`EmbeddedCluster::stop`] lets them end in good order.
pub struct EmbeddedCluster {
    client: Client,
    /// What controllers write is recorded under their usual name.
    controller_client: Client,
    node_client: Client,
    api: ApiServer,
    server_url: String,
    server_address: SocketAddr,
    kubeconfig: PathBuf,
    directory: Arc<Directory>,
    /// Where the folders of volumes lie.
    volumes: PathBuf,
    processes: Arc<Processes>,
    /// Ends the controllers, then the pods, then the API server.
    stop_controllers: CancellationToken,
    stop_node: CancellationToken,
    stop_server: CancellationToken,
    controllers: TaskTracker,
    node: TaskTracker,
    server: TaskTracker,
    isolation: Isolation,
    name_server: SocketAddr,
}

impl EmbeddedCluster {
    /// Starts a cluster and returns when it takes pods. Needs a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// A [`ClusterError`] that says what is missing; nothing is left running then.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        let directory = Arc::new(Directory::claim(&options.directory)?);
        let earlier = options.data_directory.as_deref().and_then(read_network);
        let network = PodNetwork::claim(earlier).map_err(|source| ClusterError::PodNetwork { source })?;
        let server_options = windtunnel_apiserver::Options {
            mount_service_account_tokens: true,
            service_network: network.services(),
            server_names: vec![network.api_service().to_string()],
            ..windtunnel_apiserver::Options::default()
        };
        // Before a port is bound and a process started: a folder that another cluster holds is a likely refusal.
        let server = match &options.data_directory {
            None => ApiServer::new(server_options),
            Some(folder) => ApiServer::open(server_options, folder)?,
        };
        if let Some(folder) = &options.data_directory {
            let file = folder.join(NETWORK);
            std::fs::write(&file, network.number().to_string())
                .map_err(|source| ClusterError::Directory { path: file, source })?;
        }
        let name_server =
            NameServer::bind(network.node_address()).map_err(|source| ClusterError::PodNetwork { source })?;
        let at_fault = |source| ClusterError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(at_fault)?;
        let address = listener.local_addr().map_err(at_fault)?;
        let processes = Processes::start().map_err(|source| ClusterError::Warden { source })?;

        for admission in &options.admission {
            server.add_admission(admission.clone());
        }
        if let Some(source) = &options.external_metrics {
            server.serve_external_metrics(source.clone());
        }
        let isolation = if options.namespaces {
            let scratch = directory.path().join("isolation");
            let found = Isolation::detect(&scratch);
            // The attempt's own folders; a leftover goes with the cluster's folder.
            let _ = std::fs::remove_dir_all(scratch);
            found
        } else {
            Isolation::Folders { why: "namespaces are switched off".into() }
        };
        tracing::info!(%isolation, "isolation of pods");
        let client = server.client();
        let server_url = format!("https://{}", reachable(address));
        let kubeconfig = directory.path().join("kubeconfig");
        let text =
            server.admin_kubeconfig(&server_url).map_err(|source| at_fault(io::Error::other(source)))?;
        kubeconfig::write(&kubeconfig, &text)
            .map_err(|source| ClusterError::Directory { path: kubeconfig.clone(), source })?;

        let stop_server = CancellationToken::new();
        let serving = server.serve(listener, stop_server.clone()).map_err(at_fault)?;
        let volumes = match &options.data_directory {
            None => directory.path().join(VOLUMES),
            Some(folder) => std::path::absolute(folder)
                .map_err(|source| ClusterError::Directory { path: folder.clone(), source })?
                .join(VOLUMES),
        };
        // From here on dropping the cluster stops what has been started.
        let cluster = Self {
            volumes,
            client,
            controller_client: server.client_named("kube-controller-manager"),
            node_client: server.client_named("kubelet"),
            api: server,
            server_url,
            server_address: reachable(address),
            kubeconfig,
            directory,
            processes,
            stop_controllers: CancellationToken::new(),
            stop_node: CancellationToken::new(),
            stop_server,
            controllers: TaskTracker::new(),
            node: TaskTracker::new(),
            server: TaskTracker::new(),
            isolation,
            name_server: name_server.address(),
        };
        cluster.server.spawn(serving);
        let mut nodes = Vec::new();
        for name in node::node_names(options.nodes) {
            nodes.push(cluster.register_node(&name, &network).await?);
        }
        cluster.start_heart(nodes, &network).await?;
        cluster.create_storage_class().await?;
        let store = cluster.start_watches().await?;
        cluster.start_controllers(store, network, name_server, &options);
        Ok(cluster)
    }

    /// A client of the cluster, in process, without a socket.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of the cluster, in process, as a service account: its roles say what it may do.
    #[must_use]
    pub fn service_account_client(&self, namespace: &str, name: &str) -> Client {
        self.api.client_as(User::service_account(namespace, name), "windtunnel")
    }

    /// The API server itself.
    #[must_use]
    pub fn api_server(&self) -> &ApiServer {
        &self.api
    }

    /// What keeps containers apart from the machine and from each other.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Where the cluster's name server is asked, by UDP and TCP: on port 53 where that is allowed, and then pods with root
    /// folders of their own ask it, too. It knows Services, the pods behind them, and named ports, below `cluster.local`.
    #[must_use]
    pub fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Where other programs reach the API server, with the certificates of [`EmbeddedCluster::kubeconfig`].
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// A kubeconfig file (mode 0600) whose context is `windtunnel`.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Ends every pod (SIGTERM, and SIGKILL after at most 2 seconds), waits for the processes, and removes the
    /// cluster's folder.
    pub async fn stop(self) {
        self.stop_controllers.cancel();
        self.stop_node.cancel();
        self.node.close();
        if tokio::time::timeout(STOP_LIMIT, self.node.wait()).await.is_err() {
            tracing::warn!("some processes did not end in time; killing them");
        }
        self.processes.kill_all();
        self.stop_server.cancel();
        for tasks in [&self.controllers, &self.server] {
            tasks.close();
            if tokio::time::timeout(STOP_LIMIT, tasks.wait()).await.is_err() {
                tracing::warn!("some tasks of the cluster did not end in time");
            }
        }
        // The rest, as for a cluster that is dropped.
    }

    /// Writes a Node object.
    async fn register_node(&self, name: &str, network: &PodNetwork) -> Result<Node, ClusterError> {
        let at_fault = |source: kube::Error| ClusterError::Api {
            action: format!("registering node {name}"),
            source: Box::new(source),
        };
        let node = node::node(name, network.node_address(), Timestamp::now());
        let api = Api::<Node>::all(self.node_client.clone());
        match api.create(&PostParams::default(), &node).await {
            Ok(_) => {}
            // A durable store has it from before; what it says of itself is new.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => return Err(at_fault(source)),
        }
        let status = json!({"status": node.status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map_err(at_fault)
    }

    /// Writes the API server's Service and the nodes' leases, and keeps them.
    async fn start_heart(&self, nodes: Vec<Node>, network: &PodNetwork) -> Result<(), ClusterError> {
        let server = match self.server_address {
            SocketAddr::V4(server) => Some(server),
            SocketAddr::V6(_) => None,
        };
        let client = self.node_client.clone();
        let heart = Heart { client, nodes, service: network.api_service(), server };
        heart.begin().await.map_err(|source| ClusterError::Api {
            action: "writing the API server's Service and the nodes' leases".to_owned(),
            source: Box::new(source),
        })?;
        self.controllers.spawn(heart.run(self.stop_controllers.clone()));
        Ok(())
    }

    /// Writes the storage class of claims that name none.
    async fn create_storage_class(&self) -> Result<(), ClusterError> {
        let class = volumes::default_class(&self.volumes.to_string_lossy());
        let api = Api::<StorageClass>::all(self.client.clone());
        match api.create(&PostParams::default(), &class).await {
            Ok(_) => Ok(()),
            // A durable store has it from before.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(source) => Err(ClusterError::Api {
                action: format!("creating storage class {}", volumes::DEFAULT_CLASS),
                source: Box::new(source),
            }),
        }
    }

    /// Starts the watches and waits for their first lists.
    async fn start_watches(&self) -> Result<Arc<Store>, ClusterError> {
        let store = Arc::new(Store::default());
        let watches = Watches {
            client: self.controller_client.clone(),
            store: store.clone(),
            stop: self.stop_controllers.clone(),
            tasks: self.controllers.clone(),
            synced: watch::Sender::new(0),
        };
        let mut synced = watches.synced.subscribe();
        watches.start::<Namespace>();
        watches.start::<Node>();
        watches.start::<PersistentVolume>();
        watches.start::<StorageClass>();
        watches.start::<PriorityClass>();
        watches.start_named::<ConfigMap>(namespace::ROOT_CERTIFICATE);
        watches.start::<ServiceAccount>();
        watches.start::<Pod>();
        watches.start::<Service>();
        watches.start::<Endpoints>();
        watches.start::<PersistentVolumeClaim>();
        watches.start::<EndpointSlice>();
        watches.start::<Deployment>();
        watches.start::<ReplicaSet>();
        watches.start::<StatefulSet>();
        watches.start::<ControllerRevision>();
        watches.start::<Job>();
        watches.start::<PodDisruptionBudget>();
        watches.start::<HorizontalPodAutoscaler>();
        let all = synced.wait_for(|count| *count == Kind::COUNT);
        match tokio::time::timeout(Duration::from_secs(SYNC_LIMIT_S), all).await {
            Ok(Ok(_)) => {
                let certificate = store.read(|world| {
                    let place = Key::new("kube-system", namespace::ROOT_CERTIFICATE);
                    world.config_maps.get(&place)?.data.as_ref()?.get("ca.crt").cloned()
                });
                store.set_certificate_authority(certificate);
                Ok(store)
            }
            _ => Err(ClusterError::NotSynced { limit_s: SYNC_LIMIT_S }),
        }
    }

    fn start_controllers(
        &self,
        store: Arc<Store>,
        network: PodNetwork,
        name_server: NameServer,
        options: &Options,
    ) {
        let (recorder, notes) = Recorder::new();
        let stop = &self.stop_controllers;
        self.controllers.spawn(adapter::record(
            self.controller_client.clone(),
            NODE_NAME,
            notes,
            stop.clone(),
        ));
        let volumes = self.volumes.clone();
        let executor =
            Executor::new(self.controller_client.clone(), store.clone(), recorder.clone(), volumes);
        let controllers: [(&str, Reconcile, _); 11] = [
            ("deployment", deployment::reconcile, &store.deployments),
            ("replicaset", replica_set::reconcile, &store.replica_sets),
            ("statefulset", stateful_set::reconcile, &store.stateful_sets),
            ("job", job::reconcile, &store.jobs),
            ("endpoints", endpoints::reconcile, &store.endpoints),
            ("endpointslice", endpoint_slices::reconcile, &store.endpoint_slices),
            ("scheduler", scheduler::reconcile, &store.scheduler),
            ("namespace", namespace::reconcile, &store.namespaces),
            ("persistentvolumeclaim", volumes::claim, &store.claims),
            ("persistentvolume", volumes::volume, &store.volumes),
            ("disruption", disruption::reconcile, &store.budgets),
        ];
        for (name, reconcile, queue) in controllers {
            self.controllers.spawn(adapter::control(
                name,
                reconcile,
                queue.clone(),
                store.clone(),
                executor.clone(),
                stop.clone(),
            ));
        }
        let usage = Arc::new(node::Meter::default());
        let (meter, resolution, stopped) = (usage.clone(), options.metrics_resolution, stop.clone());
        self.controllers.spawn(async move { meter.run(resolution, stopped).await });
        self.controllers.spawn(adapter::publish_metrics(
            options.metrics_resolution,
            self.api.clone(),
            store.clone(),
            usage.clone(),
            stop.clone(),
        ));
        self.controllers.spawn(adapter::autoscale(
            options.autoscaler_sync_period,
            store.clone(),
            executor.clone(),
            usage.clone(),
            stop.clone(),
        ));
        let server_address = system::api_address(network.api_service(), self.server_address);
        let context = Arc::new(node::Context {
            usage,
            client: self.node_client.clone(),
            store,
            executor,
            recorder,
            images: Images::new(&options.images),
            network,
            processes: self.processes.clone(),
            directory: self.directory.clone(),
            inherited: node::inherited(),
            capacity: node::capacity(),
            server_address,
            name_server: Some(name_server.address()),
            isolation: self.isolation.clone(),
            registry: node::Registry::default(),
            hosts: node::HostsFiles::default(),
            stop: self.stop_node.clone(),
            retired_logs: Mutex::new(VecDeque::new()),
        });
        self.api.set_kubelet(Arc::new(node::NodeKubelet(Arc::downgrade(&context))));
        self.node.spawn(node::run_services(context.clone()));
        self.node.spawn(node::run_names(context.clone(), name_server));
        self.node.spawn(node::run(context));
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        self.stop_controllers.cancel();
        self.stop_node.cancel();
        self.stop_server.cancel();
        self.processes.close();
        self.directory.remove();
    }
}

impl std::fmt::Debug for EmbeddedCluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EmbeddedCluster")
            .field("server_url", &self.server_url)
            .field("directory", &self.directory.path())
            .finish_non_exhaustive()
    }
}

/// The address under which a listener is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
    }
}

/// Which network a cluster that is started again had.
fn read_network(folder: &Path) -> Option<u8> {
    std::fs::read_to_string(folder.join(NETWORK)).ok()?.trim().parse().ok()
}
