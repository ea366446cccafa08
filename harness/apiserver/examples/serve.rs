//! Serves an empty API server on a loopback port and prints its address on the first line of stdout.
//!
//! ```text
//! cargo run -p windtunnel-apiserver --example serve -- 8001
//! kubectl --server http://127.0.0.1:8001 get namespaces
//! ```
//!
//! The port is optional; 0 lets the system choose. Ctrl-C ends it.

use std::io::Write as _;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::{ApiServer, Options};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let options = Options { mount_service_account_tokens: true, ..Options::default() };
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(ApiServer::new(options).serve(listener, shutdown.clone()));
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    server.await?;
    Ok(())
}
