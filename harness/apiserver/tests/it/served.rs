//! A server on a socket, and clients of it.

use std::{net::SocketAddr, sync::Arc};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::{ApiServer, Identity, Options, Pki};

use crate::{DEADLINE, server};

pub(crate) struct Served {
    pub(crate) server: ApiServer,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::with(server()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        Self::with(ApiServer::new(options)).await
    }

    async fn with(server: ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(listener, shutdown.clone()).unwrap());
        Self { server, address, shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task).await.expect("the server hangs at shutdown").unwrap();
    }

    /// A client with the administrator's kubeconfig.
    pub(crate) async fn admin(&self) -> Client {
        let text = self.server.admin_kubeconfig(&format!("https://{}", self.address)).unwrap();
        self.client(&Kubeconfig::from_yaml(&text).unwrap()).await
    }

    /// A client with a certificate of any authority.
    pub(crate) async fn client_with(&self, pki: &Pki, user: &str, group: &str) -> Client {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = self.server.admin_kubeconfig(&format!("https://{}", self.address)).unwrap();
        let mut config = Kubeconfig::from_yaml(&text).unwrap();
        let identity = pki.client(user, group).unwrap();
        let info = config.auth_infos[0].auth_info.as_mut().unwrap();
        info.client_certificate_data = Some(STANDARD.encode(identity.certificate_pem));
        info.client_key_data = Some(STANDARD.encode(identity.key_pem).into());
        self.client(&config).await
    }

    /// A client that shows a token.
    pub(crate) async fn client_with_token(&self, token: &str) -> Client {
        let text = self.server.admin_kubeconfig(&format!("https://{}", self.address)).unwrap();
        let mut config = Kubeconfig::from_yaml(&text).unwrap();
        let info = config.auth_infos[0].auth_info.as_mut().unwrap();
        info.client_certificate_data = None;
        info.client_key_data = None;
        info.token = Some(token.to_owned().into());
        self.client(&config).await
    }

    async fn client(&self, config: &Kubeconfig) -> Client {
        let options = KubeConfigOptions::default();
        Client::try_from(Config::from_custom_kubeconfig(config.clone(), &options).await.unwrap()).unwrap()
    }

    /// A connection without a client certificate that offers these protocols.
    pub(crate) async fn connect(&self, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_with(protocols, None).await
    }

    /// An HTTP/1.1 connection of the administrator.
    pub(crate) async fn connect_as_admin(&self) -> TlsStream<TcpStream> {
        let identity = self.server.pki().client("admin", "system:masters").unwrap();
        self.connect_with(&[b"http/1.1"], Some(identity)).await.unwrap()
    }

    async fn connect_with(
        &self,
        protocols: &[&[u8]],
        identity: Option<Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_slice(self.server.pki().certificate_pem().as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let certificate =
                    CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}
