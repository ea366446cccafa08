//! `windtunnel serve controller`: the control plane as a process that an operator runs, alone or among several.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use windtunnel_control_plane::admission::rotate::{ClusterWebhooks, WebhookOptions};
use windtunnel_control_plane::install::manifests::{self, Deployed};
use windtunnel_control_plane::install::webhooks::WebhookAddress;
use windtunnel_control_plane::{ControlPlane, Endpoint, LeaderElection, Options, Pages, Profile};
use windtunnel_gateway::Gateway;
use windtunnel_gateway::graph::pod_address;

use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::interrupt::Interrupt;
use crate::log;

/// The control plane.
#[derive(Args)]
pub(crate) struct Controller {
    /// Kubeconfig file; without one that of the environment, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one unless given.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the Lease, the webhooks' Service and their certificates.
    #[arg(long, default_value = "kserve")]
    namespace: String,
    /// Be one of several: only the one that holds the Lease writes, the others stand by.
    #[arg(long)]
    leader_elect: bool,
    /// Where metrics are served, at /metrics; not at all unless given.
    #[arg(long, value_name = "HOST:PORT")]
    metrics_address: Option<SocketAddr>,
    /// Where probes are answered, at /healthz and /readyz; not at all unless given.
    #[arg(long, value_name = "HOST:PORT")]
    health_address: Option<SocketAddr>,
    /// Where the webhooks listen; without it they are not served, and not registered.
    #[arg(long, value_name = "HOST:PORT")]
    webhook_address: Option<SocketAddr>,
    /// Where the API server finds the webhooks, for example https://10.0.0.5:9443; through the Service
    /// kserve-webhook-server-service of --namespace unless given.
    #[arg(long, value_name = "URL", requires = "webhook_address", value_parser = webhook_url)]
    webhook_url: Option<String>,
    /// Where the gateway listens. Requests through it scale Knative services; it counts only what it serves itself, so
    /// there can be one replica.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    gateway_address: SocketAddr,
    /// Whose rules apply: upstream's as they are, or with our extensions.
    #[arg(long, value_enum, default_value = "windtunnel")]
    profile: ProfileName,
    /// Make definitions, namespaces, configuration and runtimes where they are absent; needs an administrator.
    #[arg(long)]
    install: bool,
    /// End of every host name, for a configuration that is made.
    #[arg(long, value_name = "DOMAIN", default_value = "example.com")]
    domain: String,
    /// What is logged: error, warn, info, debug, or by module; WINDTUNNEL_LOG wins.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value = "json")]
    log_format: log::Format,
    /// Print manifests for kubectl instead, in the order in which they are applied.
    #[arg(long, value_enum, value_name = "PART", num_args = 0..=1, default_missing_value = "controllers")]
    print_manifests: Option<Part>,
    /// With --print-manifests: the image of this binary.
    #[arg(long, value_name = "IMAGE", requires = "print_manifests", default_value = concat!("windtunnel/windtunnel:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// With --print-manifests: how many controllers there are; one leads.
    #[arg(long, value_name = "N", requires = "print_manifests", default_value_t = 2)]
    replicas: u16,
    /// With --print-manifests: a Deployment with the gateway, behind the Service windtunnel-gateway.
    #[arg(long, requires = "print_manifests")]
    with_gateway: bool,
    /// With --print-manifests: also the kinds of Knative, KEDA and the Gateway API, for clusters without them.
    #[arg(long, requires = "print_manifests")]
    all_kinds: bool,
    /// With --print-manifests=local-model-agent: the folder of models on the nodes, as the node group's volume has it.
    #[arg(long, requires = "print_manifests", value_name = "DIR", default_value = "/models")]
    models_dir: String,
}

/// What is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// The CustomResourceDefinitions.
    Definitions,
    /// Permissions, configuration, the Deployment and webhooks.
    Controllers,
    /// Runtimes and storage containers, once the controllers run.
    Resources,
    /// The agent of nodes that keep models of LocalModelCaches.
    LocalModelAgent,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Windtunnel,
    Upstream,
}

fn webhook_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("API servers call webhooks by https://HOST:PORT only".to_owned()),
    }
}

impl Controller {
    /// Begins the log. A panic is logged and nothing more: one object that is too much for us must not end the work on
    /// all others.
    pub(crate) fn begin_log(&self) {
        log::begin(self.log_format, Some(&self.log_level));
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(%panic, backtrace = %std::backtrace::Backtrace::capture(), "internal error");
        }));
    }

    pub(crate) fn execute(self) -> Outcome {
        if let Some(part) = self.print_manifests {
            return self.print(part);
        }
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        runtime.block_on(Box::pin(self.serve()))
    }

    fn print(&self, part: Part) -> Outcome {
        if self.with_gateway && self.replicas > 1 {
            let error = anyhow!(
                "--with-gateway: the gateway counts only what it serves itself, so there can be one replica; add --replicas 1"
            );
            return Err(Failure { exit: Exit::Usage, error });
        }
        let objects = match part {
            Part::Definitions => manifests::definitions(self.all_kinds),
            Part::Resources => manifests::resources(self.all_kinds, &self.namespace),
            Part::Controllers => manifests::controllers(&self.deployed()),
            Part::LocalModelAgent => manifests::local_model_agent(&self.deployed(), &self.models_dir),
        };
        let texts: Result<Vec<String>, _> = objects.iter().map(serde_saphyr::to_string).collect();
        print!("{}", texts.or_environment()?.join("---\n"));
        Ok(Exit::Passed)
    }

    fn deployed(&self) -> Deployed {
        let profile = match self.profile {
            ProfileName::Windtunnel => Vec::new(),
            ProfileName::Upstream => vec!["--profile=upstream".to_owned()],
        };
        Deployed {
            namespace: self.namespace.clone(),
            image: self.image.clone(),
            replicas: self.replicas,
            domain: self.domain.clone(),
            gateway: self.with_gateway,
            arguments: profile,
        }
    }

    async fn client(&self) -> Result<Client, Failure> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("--kubeconfig: {} can't be used", path.display()))
                    .or_usage()?;
                kube::Config::from_custom_kubeconfig(file, &options)
                    .await
                    .with_context(|| format!("{} has no usable context", path.display()))
                    .or_usage()?
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options)
                .await
                .context("the kubeconfig has no such context")
                .or_usage()?,
            None => kube::Config::infer()
                .await
                .context("there is neither a kubeconfig nor a pod's service account; give --kubeconfig")
                .or_usage()?,
        };
        Client::try_from(config).or_environment()
    }

    async fn serve(self) -> Outcome {
        let told = || tracing::info!("asked to stop; a second signal ends at once");
        let interrupt = Interrupt::listen_and(told).or_environment()?;
        let client = self.client().await?;
        let server = client.apiserver_version().await.context("the API server does not answer");
        let server = server.or_environment()?;
        tracing::info!(kubernetes = server.git_version, namespace = self.namespace, "starting");
        let options = Options {
            domain: self.domain.clone(),
            install: self.install,
            profile: match self.profile {
                ProfileName::Windtunnel => Profile::Windtunnel,
                ProfileName::Upstream => Profile::Upstream,
            },
            leader_election: self.leader_elect.then(|| LeaderElection {
                namespace: self.namespace.clone(),
                ..LeaderElection::new(identity())
            }),
            ..Options::default()
        };
        let (metrics, live) = (options.metrics.clone(), options.live_config.clone());
        let gateway = Gateway::bind(listen(self.gateway_address)?, windtunnel_gateway::Options::default())
            .await
            .with_context(|| format!("--gateway-address: cannot listen on {}", self.gateway_address))
            .or_environment()?;
        let control_plane =
            ControlPlane::start(client.clone(), gateway.handle(), options).await.or_environment()?;
        let webhooks = match self.webhook_address {
            None => None,
            Some(webhook_address) => {
                let address = match &self.webhook_url {
                    Some(url) => WebhookAddress::Url(url.clone()),
                    None => WebhookAddress::Service { namespace: self.namespace.clone() },
                };
                let listen = listen(webhook_address)?;
                let options = WebhookOptions { namespace: self.namespace.clone(), address, listen };
                let started = ClusterWebhooks::start(client, options, &live, &metrics).await;
                Some(started.or_environment()?)
            }
        };
        // Only now, so that nobody is sent here before the webhooks answer.
        let endpoints = self.endpoints(&control_plane).await?;
        tracing::info!(gateway = %gateway.address(), webhooks = ?webhooks.as_ref().map(ClusterWebhooks::address), "running");
        interrupt.token().cancelled().await;

        tracing::info!("stopping: writes on their way are finished, then the Lease is given back");
        control_plane.stop().await;
        if let Some(webhooks) = webhooks {
            webhooks.stop().await;
        }
        gateway.shutdown().await;
        for endpoint in endpoints {
            endpoint.stop().await;
        }
        tracing::info!("stopped");
        Ok(Exit::Passed)
    }

    async fn endpoints(&self, control_plane: &ControlPlane) -> Result<Vec<Endpoint>, Failure> {
        let (metrics, health) = (Some(control_plane.metrics().clone()), Some(control_plane.health()));
        let mut pages = Vec::new();
        match (self.metrics_address, self.health_address) {
            (Some(one), Some(other)) if one == other => pages.push((one, Pages { metrics, health })),
            (metrics_address, health_address) => {
                pages.extend(metrics_address.map(|address| (address, Pages { metrics, health: None })));
                pages.extend(health_address.map(|address| (address, Pages { metrics: None, health })));
            }
        }
        let mut endpoints = Vec::new();
        for (address, pages) in pages {
            endpoints.push(Endpoint::start(listen(address)?, pages).await.or_environment()?);
        }
        Ok(endpoints)
    }
}

/// Where to listen: pods of the embedded cluster share a machine, so that "all addresses" stands for the pod's own.
fn listen(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.ip().is_unspecified() { pod_address(address.port()).or_usage() } else { Ok(address) }
}

/// A name that no other replica has, and that says who it is.
fn identity() -> String {
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).ok();
    let host = host.or_else(|| Some(std::fs::read_to_string("/etc/hostname").ok()?.trim().to_owned()));
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}_{}-{:x}", host.unwrap_or_default(), std::process::id(), since.as_nanos())
}
