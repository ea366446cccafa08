//! What every cluster has of itself: the Service `default/kubernetes` in front of the API server, and its nodes' signs of life.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    time::Duration,
};

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Endpoints, Node, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The Service's name, and its port.
const NAME: &str = "kubernetes";
const PORT: u16 = 443;
/// Where the leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// How often a kubelet renews its lease, how long that lasts, and after how many times it tells its conditions again.
const RENEWAL: Duration = Duration::from_secs(10);
const LEASE_S: u32 = 40;
const RENEWALS_A_REPORT: u32 = 30;

/// Where pods reach the API server: at its Service, if that can be listened on.
pub(crate) fn api_address(service: Ipv4Addr, server: SocketAddr) -> SocketAddr {
    let front = SocketAddr::from((service, PORT));
    if server.is_ipv4() && TcpListener::bind(front).is_ok() { front } else { server }
}

/// Writes the Service in front of the API server, and where that is.
///
/// # Errors
/// What the API server refused.
pub(crate) async fn publish_api_server(
    client: &Client,
    service: Ipv4Addr,
    server: SocketAddrV4,
) -> Result<(), kube::Error> {
    let ports = json!([{"name": "https", "port": server.port(), "protocol": "TCP"}]);
    let front = json!({
        "metadata": {"name": NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": service.to_string(),
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": server.port()}],
        },
    });
    let services = Api::<Service>::namespaced(client.clone(), "default");
    let present = services.get_opt(NAME).await?;
    let address = present.and_then(|present| present.spec).and_then(|spec| spec.cluster_ip);
    if address.as_ref().is_some_and(|address| *address == service.to_string()) {
        services.patch(NAME, &PatchParams::default(), &Patch::Merge(&front)).await?;
    } else {
        if address.is_some() {
            // The cluster's network is another one than when this was written.
            services.delete(NAME, &DeleteParams::default()).await?;
        }
        let front: Service = serde_json::from_value(front).map_err(kube::Error::SerdeError)?;
        match services.create(&PostParams::default(), &front).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 422 => {
                tracing::warn!(%service, why = status.message, "the API server's Service has another address than usual");
                let mut front = front;
                front.spec.get_or_insert_default().cluster_ip = None;
                services.create(&PostParams::default(), &front).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let endpoints = json!({
        "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": server.ip().to_string()}], "ports": ports}],
    });
    put(&Api::<Endpoints>::namespaced(client.clone(), "default"), endpoints).await?;
    let slice = json!({
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [server.ip().to_string()], "conditions": {"ready": true}}],
        "ports": ports,
    });
    put(&Api::<EndpointSlice>::namespaced(client.clone(), "default"), slice).await
}

/// Creates an object, or brings the one that is there to it.
async fn put<K>(api: &Api<K>, object: Value) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let wanted: K = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &wanted).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&object)).await.map(|_| ())
        }
        Err(error) => Err(error),
    }
}

/// Renews a node's lease and, less often, the time of its conditions, as its kubelet does; and has the API server's Service
/// written again where somebody removed it.
pub(crate) struct Heart {
    pub(crate) client: Client,
    pub(crate) nodes: Vec<Node>,
    pub(crate) service: Ipv4Addr,
    pub(crate) server: Option<SocketAddrV4>,
}

impl Heart {
    /// The first beat.
    ///
    /// # Errors
    /// What the API server refused.
    pub(crate) async fn begin(&self) -> Result<(), kube::Error> {
        if let Some(server) = self.server {
            publish_api_server(&self.client, self.service, server).await?;
        }
        for node in &self.nodes {
            self.renew(node).await?;
        }
        Ok(())
    }

    /// Beats until the cluster stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut count = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RENEWAL) => {}
            }
            count = count.wrapping_add(1);
            for node in &self.nodes {
                let mut beat = self.renew(node).await;
                if count.is_multiple_of(RENEWALS_A_REPORT) {
                    beat = beat.and(self.report(node).await);
                }
                if let Err(error) = beat {
                    tracing::debug!(%error, node = node.metadata.name, "a node's lease was not renewed; trying again");
                }
            }
            let services = Api::<Service>::namespaced(self.client.clone(), "default");
            if let (Some(server), Ok(None)) = (self.server, services.get_opt(NAME).await)
                && let Err(error) = publish_api_server(&self.client, self.service, server).await
            {
                tracing::debug!(%error, "the API server's Service was not written; trying again");
            }
        }
    }

    async fn renew(&self, node: &Node) -> Result<(), kube::Error> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let owner = json!({
            "apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid,
        });
        let now = MicroTime(Timestamp::now());
        let lease = json!({
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": now},
        });
        put(&Api::<Lease>::namespaced(self.client.clone(), LEASES), lease).await
    }

    /// Says that the conditions still hold.
    async fn report(&self, node: &Node) -> Result<(), kube::Error> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let now = json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let conditions: Vec<Value> =
            conditions.map(|condition| json!({"type": condition.type_, "lastHeartbeatTime": now})).collect();
        let patch = json!({"status": {"conditions": conditions}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await.map(|_| ())
    }
}
