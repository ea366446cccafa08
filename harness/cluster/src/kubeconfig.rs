//! The kubeconfig file of a cluster.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Name of the cluster, its user and its context.
const NAME: &str = "windtunnel";

/// Writes a kubeconfig that only its owner can read (mode 0600).
pub(crate) fn write(path: &Path, server_url: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text(server_url).as_bytes())
}

fn text(server_url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {NAME}\n  cluster:\n    server: {server_url}\nusers:\n\
         - name: {NAME}\n  user: {{}}\ncontexts:\n- name: {NAME}\n  context:\n    cluster: {NAME}\n    user: {NAME}\n    \
         namespace: default\ncurrent-context: {NAME}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// If this fails kubectl cannot use the file, or other users of the machine can read it.
    #[test]
    fn the_file_is_readable_by_kube_clients_and_only_by_its_owner() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kubeconfig");
        write(&path, "http://127.0.0.1:1234").expect("written");
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = kube::config::Kubeconfig::read_from(&path).expect("a kubeconfig");
        assert_eq!(config.current_context.as_deref(), Some("windtunnel"));
        assert_eq!(
            config.clusters[0].cluster.as_ref().and_then(|c| c.server.as_deref()),
            Some("http://127.0.0.1:1234")
        );
    }
}
