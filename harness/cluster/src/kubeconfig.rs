//! The kubeconfig file of a cluster.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes a kubeconfig that only its owner can read (mode 0600).
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use windtunnel_apiserver::{ApiServer, Options};

    use super::*;

    /// If this fails kubectl cannot use the file, or other users of the machine can read it.
    #[test]
    fn the_file_is_readable_by_kube_clients_and_only_by_its_owner() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kubeconfig");
        let server = ApiServer::new(Options::default());
        let text = server.admin_kubeconfig("https://127.0.0.1:1234").expect("certificates");
        write(&path, &text).expect("written");
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = kube::config::Kubeconfig::read_from(&path).expect("a kubeconfig");
        assert_eq!(config.current_context.as_deref(), Some("windtunnel"));
        assert_eq!(
            config.clusters[0].cluster.as_ref().and_then(|c| c.server.as_deref()),
            Some("https://127.0.0.1:1234")
        );
    }
}
