//! The webhooks of a cluster that is not embedded, as a whole: certificates from their Secret, the HTTPS server, the
//! configurations in the API server, and all of it kept fresh.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::LiveConfig;
use super::certificates::{CertificateError, Issued, SECRET, ensure};
use super::serve::{ServeError, WebhookServer};
use crate::install::webhooks::{self, WebhookAddress};

/// Who writes the configurations.
const FIELD_MANAGER: &str = "kserve-controller-manager";
/// How often the Secret is looked at when nothing is due: another replica may have renewed it. Until then callers
/// trust both authorities.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// After a failure.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Replicas that make certificates at the same time: how often one tries to get its own in.
const ATTEMPTS: usize = 5;

/// Where the webhooks listen and how they are found.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Namespace of the Secret.
    pub namespace: String,
    /// How the API server finds them.
    pub address: WebhookAddress,
    /// Where they listen; port 0 with [`WebhookAddress::Url`] needs the port in the URL, so choose one.
    pub listen: SocketAddr,
}

/// Why the webhooks could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookSetupError {
    /// The API server refused something.
    #[error("{what}: {source}; check that the API server is reachable and the client may write it")]
    Api {
        /// What was done.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Others changed the Secret each time.
    #[error(
        "Secret {0} was changed by others {ATTEMPTS} times in a row; is its namespace shared by two set-ups?"
    )]
    Contended(String),
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The server could not be started.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

fn api_fault(what: impl Into<String>) -> impl FnOnce(kube::Error) -> WebhookSetupError {
    move |source| WebhookSetupError::Api { what: what.into(), source: Box::new(source) }
}

/// The webhooks of a cluster, running.
#[derive(Debug)]
pub struct ClusterWebhooks {
    server: Arc<WebhookServer>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ClusterWebhooks {
    /// Makes or reads the certificates, starts the server, and then tells the API server about it.
    ///
    /// # Errors
    /// What could not be set up, and why.
    pub async fn start(
        client: Client,
        options: WebhookOptions,
        live: &LiveConfig,
    ) -> Result<Self, WebhookSetupError> {
        let issued = certificates(&client, &options, Timestamp::now()).await?;
        let server = Arc::new(WebhookServer::start(options.listen, &issued.identity, live).await?);
        register(&client, &options.address, &issued.ca_bundle_pem).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(client, options, issued, Arc::clone(&server), stop.clone()));
        Ok(Self { server, stop, task })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops the server. The configurations stay: without webhooks the API server must refuse, not let through.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the webhooks' task failed");
        }
        if let Some(server) = Arc::into_inner(self.server) {
            server.stop().await;
        }
    }
}

/// The certificates of the Secret, renewed and stored if that is due.
///
/// # Errors
/// An API server that refuses, or no certificate.
pub async fn certificates(
    client: &Client,
    options: &WebhookOptions,
    now: Timestamp,
) -> Result<Issued, WebhookSetupError> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &options.namespace);
    let name = format!("{}/{SECRET}", options.namespace);
    for _ in 0..ATTEMPTS {
        let stored = secrets.get_opt(SECRET).await.map_err(api_fault(format!("reading Secret {name}")))?;
        let issued = ensure(stored.as_ref(), &options.namespace, &options.address.names(), now)?;
        let Some(secret) = &issued.secret else { return Ok(issued) };
        let params = PostParams::default();
        let written = match stored {
            Some(_) => secrets.replace(SECRET, &params, secret).await,
            None => secrets.create(&params, secret).await,
        };
        match written {
            Ok(_) => return Ok(issued),
            // Another replica was faster: its certificates are as good.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(api_fault(format!("storing Secret {name}"))(error)),
        }
    }
    Err(WebhookSetupError::Contended(name))
}

/// Writes the webhook configurations with the authorities, and the Service in front of the webhooks.
///
/// # Errors
/// An API server that refuses.
pub async fn register(
    client: &Client,
    address: &WebhookAddress,
    ca_bundle_pem: &str,
) -> Result<(), WebhookSetupError> {
    if let WebhookAddress::Service { namespace } = address {
        apply_in(client, namespace, &webhooks::service(namespace)).await?;
    }
    for configuration in webhooks::validating(address, ca_bundle_pem) {
        apply(Api::all(client.clone()), &configuration).await?;
    }
    apply(Api::all(client.clone()), &webhooks::mutating(address, ca_bundle_pem)).await
}

async fn apply_in<K>(client: &Client, namespace: &str, object: &K) -> Result<(), WebhookSetupError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    apply(Api::namespaced(client.clone(), namespace), object).await
}

async fn apply<K>(api: Api<K>, object: &K) -> Result<(), WebhookSetupError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let name = object.name_any();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api.patch(&name, &params, &Patch::Apply(object)).await;
    written.map(|_| ()).map_err(api_fault(format!("applying {} {name}", K::kind(&()))))
}

/// Looks at the certificates in time, and hands new ones to the server and their authorities to the API server.
async fn keep(
    client: Client,
    options: WebhookOptions,
    mut issued: Issued,
    server: Arc<WebhookServer>,
    stop: CancellationToken,
) {
    let mut wait = until(issued.renew_at);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        match renew(&client, &options, &issued, &server).await {
            Ok(next) => {
                wait = until(next.renew_at);
                issued = next;
            }
            Err(error) => {
                tracing::warn!(%error, "the webhooks' certificates were not renewed, and are tried again");
                wait = LOOK_AGAIN;
            }
        }
    }
}

fn until(time: Timestamp) -> Duration {
    let left = time.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default().clamp(Duration::from_secs(1), LOOK_EVERY)
}

async fn renew(
    client: &Client,
    options: &WebhookOptions,
    before: &Issued,
    server: &WebhookServer,
) -> Result<Issued, WebhookSetupError> {
    let next = certificates(client, options, Timestamp::now()).await?;
    // Callers must trust the new authority before the server shows a certificate of it.
    if next.ca_bundle_pem != before.ca_bundle_pem {
        register(client, &options.address, &next.ca_bundle_pem).await?;
    }
    if next.identity != before.identity {
        server.replace(&next.identity)?;
        tracing::info!(renew_at = %next.renew_at, "the webhooks have a new certificate");
    }
    Ok(next)
}
