//! Starts an empty cluster and prints the address of its API server on the first line of stdout, the path of its
//! kubeconfig on the second.
//!
//! ```text
//! cargo run -p windtunnel-cluster --example cluster -- /tmp/cluster 6443
//! ```
//!
//! The folder must be new or empty; the port is optional, 0 lets the system choose. Ctrl-C ends it.

use std::{io::Write as _, net::SocketAddr};

use windtunnel_cluster::{EmbeddedCluster, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say the cluster's folder: cluster FOLDER [PORT]")?;
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], port)), ..Options::new(folder) };
    let cluster = EmbeddedCluster::start(options).await?;
    writeln!(std::io::stdout(), "{}\n{}", cluster.server_url(), cluster.kubeconfig().display())?;
    tokio::signal::ctrl_c().await?;
    cluster.stop().await;
    Ok(())
}
