//! The kubeconfig of the cluster's administrator.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    security::{MASTERS, PkiError},
    server::ApiServer,
};

/// Name of the cluster, its user and its context.
const NAME: &str = "windtunnel";
/// User name in the administrator's certificate.
const ADMINISTRATOR: &str = "kubernetes-admin";

impl ApiServer {
    /// A kubeconfig for `server_url` with the authority's certificate and a client certificate of a new
    /// administrator. Whoever can read it can do anything: write it with mode 0600.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn admin_kubeconfig(&self, server_url: &str) -> Result<String, PkiError> {
        let identity = self.pki().client(ADMINISTRATOR, MASTERS)?;
        Ok(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {NAME}\n  cluster:\n    server: {server_url}\n    \
             certificate-authority-data: {}\nusers:\n- name: {NAME}\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\ncontexts:\n- name: {NAME}\n  context:\n    cluster: {NAME}\n    user: {NAME}\n    \
             namespace: default\ncurrent-context: {NAME}\n",
            STANDARD.encode(self.pki().certificate_pem()),
            STANDARD.encode(identity.certificate_pem),
            STANDARD.encode(identity.key_pem),
        ))
    }
}
