//! Serves an empty API server over TLS on a loopback port, and prints its address on the first line of stdout.
//!
//! ```text
//! cargo run -p windtunnel-apiserver --example serve -- 8001 /tmp/kubeconfig
//! kubectl --kubeconfig /tmp/kubeconfig get namespaces
//! ```
//!
//! The port is optional, 0 lets the system choose; so is the kubeconfig, which only its owner can read (0600), and a
//! third argument: a folder that keeps the objects. Ctrl-C ends it.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::{ApiServer, Options};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let kubeconfig = arguments.next();
    let options = Options { mount_service_account_tokens: true, ..Options::default() };
    let server = match arguments.next() {
        None => ApiServer::new(options),
        Some(folder) => ApiServer::open(options, folder.as_ref()).map_err(std::io::Error::other)?,
    };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.serve(listener, shutdown.clone())?);
    if let Some(path) = kubeconfig {
        let text = server.admin_kubeconfig(&url).map_err(std::io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    writeln!(std::io::stdout(), "{url}")?;
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    serving.await?;
    Ok(())
}
