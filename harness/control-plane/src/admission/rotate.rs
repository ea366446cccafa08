//! The webhooks of a cluster that is not embedded, as a whole: certificates from their Secret, the HTTPS server, the
//! configurations in the API server, and all of it kept fresh.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event, watch_object, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::LiveConfig;
use super::certificates::{CertificateError, Issued, SECRET, ensure};
use super::serve::{ServeError, WebhookServer};
use crate::install::webhooks::{self, WebhookAddress};
use crate::metrics::Metrics;

/// Who writes the configurations.
const FIELD_MANAGER: &str = "kserve-controller-manager";
/// How often the Secret is looked at when nothing is due: another replica may have renewed it. Until then callers
/// trust both authorities.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// After a failure.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// API servers learn of a new authority within this time: they watch their configurations.
const TRUSTED_WITHIN: Duration = Duration::from_secs(2);
/// Wait after a configuration had to be written because somebody else had changed it.
const REGISTER_PAUSE: Duration = Duration::from_secs(1);
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
        metrics: &Metrics,
    ) -> Result<Self, WebhookSetupError> {
        let issued = certificates(&client, &options, Timestamp::now()).await?;
        let server = Arc::new(WebhookServer::start(options.listen, &issued.identity, live, metrics).await?);
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

/// Looks at the certificates in time and whenever their Secret or a configuration changes, and hands new ones to the
/// server and their authorities to the API server.
async fn keep(
    client: Client,
    options: WebhookOptions,
    mut issued: Issued,
    server: Arc<WebhookServer>,
    stop: CancellationToken,
) {
    let secrets = Api::<Secret>::namespaced(client.clone(), &options.namespace);
    let mut secret = pin!(watch_object(secrets, SECRET).default_backoff());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let mut validating = pin!(watcher(validating, Config::default()).default_backoff());
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let mut mutating = pin!(watcher(mutating, Config::default()).default_backoff());
    let mut wait = until(issued.renew_at);
    loop {
        let mut registered = true;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            Some(event) = secret.next() => if event.is_err() { continue },
            Some(event) = validating.next() => {
                registered = is_registered(event, &options.address, &issued.ca_bundle_pem);
                if registered { continue }
            }
            Some(event) = mutating.next() => {
                registered = is_registered(event, &options.address, &issued.ca_bundle_pem);
                if registered { continue }
            }
        }
        match renew(&client, &options, &issued, &server, registered).await {
            Ok(next) => {
                wait = until(next.renew_at);
                issued = next;
            }
            Err(error) => {
                tracing::warn!(%error, "the webhooks' certificates were not renewed, and are tried again");
                wait = LOOK_AGAIN;
            }
        }
        if !registered {
            // Whoever writes something else there must not keep the API server busy with us.
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    }
}

/// A webhook configuration of either sort.
trait Registered: Resource<DynamicType = ()> + Sized {
    /// Where its webhooks are.
    fn clients(&self) -> Vec<&WebhookClientConfig>;
    /// The names of ours.
    fn ours(address: &WebhookAddress) -> Vec<String>;
}

impl Registered for ValidatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        self.webhooks.iter().flatten().map(|webhook| &webhook.client_config).collect()
    }

    fn ours(address: &WebhookAddress) -> Vec<String> {
        webhooks::validating(address, "").iter().map(ResourceExt::name_any).collect()
    }
}

impl Registered for MutatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        self.webhooks.iter().flatten().map(|webhook| &webhook.client_config).collect()
    }

    fn ours(address: &WebhookAddress) -> Vec<String> {
        vec![webhooks::mutating(address, "").name_any()]
    }
}

/// Whether what has happened leaves our webhooks registered with our authorities.
fn is_registered<K: Registered>(
    event: Result<Event<K>, watcher::Error>,
    address: &WebhookAddress,
    ca_bundle_pem: &str,
) -> bool {
    let (object, gone) = match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
        Ok(Event::Delete(object)) => (object, true),
        Ok(Event::Init | Event::InitDone) | Err(_) => return true,
    };
    if !K::ours(address).contains(&object.name_any()) {
        return true;
    }
    let is_trusted = |client: &&WebhookClientConfig| {
        client.ca_bundle.as_ref().is_some_and(|bundle| bundle.0 == ca_bundle_pem.as_bytes())
    };
    !gone && object.clients().iter().all(is_trusted)
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
    registered: bool,
) -> Result<Issued, WebhookSetupError> {
    let next = certificates(client, options, Timestamp::now()).await?;
    // Callers must trust the new authority before the server shows a certificate of it.
    let trusted_before = next.ca_bundle_pem.contains(first(&before.ca_bundle_pem));
    if next.ca_bundle_pem != before.ca_bundle_pem {
        register(client, &options.address, &next.ca_bundle_pem).await?;
        tracing::info!("callers are told to trust the webhooks' new authority");
        if trusted_before && next.identity != before.identity {
            tokio::time::sleep(TRUSTED_WITHIN).await;
        }
    } else if !registered {
        register(client, &options.address, &next.ca_bundle_pem).await?;
        tracing::info!("somebody had changed the webhook configurations; they are ours again");
    }
    if next.identity != before.identity {
        server.replace(&next.identity)?;
        tracing::info!(renew_at = %next.renew_at, "the webhooks have a new certificate");
    }
    Ok(next)
}

/// The authority in use, of a bundle.
fn first(bundle_pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    bundle_pem.find(END).map_or(bundle_pem, |end| &bundle_pem[..end])
}
