//! Starts a cluster whose image `rig.local/web` is Debian's static busybox, as the recorded cases of a real cluster want
//! it, and prints the path of its kubeconfig.
//!
//! ```text
//! cargo run -p windtunnel-cluster --example busybox -- /tmp/cluster
//! ```
//!
//! The folder must be new or empty; what the image shows lies beside it, in `FOLDER-image`. Ctrl-C ends it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use windtunnel_cluster::{EmbeddedCluster, Image, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("say the cluster's folder: busybox FOLDER")?;
    let mut options = Options::new(&folder);
    options.images.push(Image::busybox(
        "rig.local/web",
        Path::new("/bin/busybox"),
        &PathBuf::from(format!("{folder}-image")),
    )?);
    let cluster = EmbeddedCluster::start(options).await?;
    eprintln!("isolation: {}", cluster.isolation());
    writeln!(std::io::stdout(), "{}", cluster.kubeconfig().display())?;
    tokio::signal::ctrl_c().await?;
    cluster.stop().await;
    fs::remove_dir_all(format!("{folder}-image"))?;
    Ok(())
}
