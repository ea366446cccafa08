//! What a cluster is started with.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use windtunnel_apiserver::{Admission, ExternalMetrics};

/// What a cluster is started with.
#[derive(Clone)]
pub struct Options {
    /// Folder for pods, logs and the kubeconfig. It is created, and removed by [`crate::EmbeddedCluster::stop`];
    /// a folder with other files in it is refused.
    pub directory: PathBuf,
    /// Folder that keeps the API server's objects and the volumes over a restart; `None` keeps them in memory and in
    /// [`Options::directory`].
    pub data_directory: Option<PathBuf>,
    /// Images that the node can run.
    pub images: Vec<Image>,
    /// Reviewers of writes, in the order in which they are asked.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Who knows the metrics of `external.metrics.k8s.io`; with `None` the group is not served.
    pub external_metrics: Option<Arc<dyn ExternalMetrics>>,
    /// Address of the API server; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether containers may have root folders of their own where the machine allows it.
    pub namespaces: bool,
    /// How many nodes there are; all of them run their pods on this machine.
    pub nodes: u16,
    /// How often autoscalers look at their targets; upstream's default is 15 s.
    pub autoscaler_sync_period: Duration,
    /// How often the usage of containers is sampled; upstream's default is 15 s.
    pub metrics_resolution: Duration,
}

impl Options {
    /// Options with no images, no admission, and the API server on a loopback port that the system chooses.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            directory: PathBuf::from(".windtunnel/cluster"),
            data_directory: None,
            images: Vec::new(),
            admission: Vec::new(),
            external_metrics: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            namespaces: true,
            nodes: 1,
            autoscaler_sync_period: Duration::from_secs(15),
            metrics_resolution: Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admission: Vec<&str> = self.admission.iter().map(|reviewer| reviewer.name()).collect();
        formatter
            .debug_struct("Options")
            .field("directory", &self.directory)
            .field("data_directory", &self.data_directory)
            .field("images", &self.images)
            .field("admission", &admission)
            .field("external_metrics", &self.external_metrics.is_some())
            .field("listen", &self.listen)
            .field("namespaces", &self.namespaces)
            .field("nodes", &self.nodes)
            .field("autoscaler_sync_period", &self.autoscaler_sync_period)
            .field("metrics_resolution", &self.metrics_resolution)
            .finish()
    }
}

/// An image name and the process that stands for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Repository without tag or digest, e.g. `windtunnel/predictor`; `docker.io/` and `docker.io/library/` may be
    /// left out.
    pub reference: String,
    /// The image's entrypoint; a container's `command` replaces it and `args` are appended. May be empty for images
    /// whose containers always say their command.
    pub argv: Vec<String>,
    /// The image's environment; a container's own `env` wins.
    pub env: BTreeMap<String, String>,
    /// Folder with the image's own files, used where mount namespaces can be made; without one a container sees the
    /// files of this machine.
    pub root: Option<PathBuf>,
}

impl Image {
    /// An image without environment of its own.
    pub fn new<A: Into<String>>(reference: impl Into<String>, argv: impl IntoIterator<Item = A>) -> Self {
        Self {
            reference: reference.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            root: None,
        }
    }

    /// An image of a static busybox: its commands, and a web server on port 8080 as its entrypoint. `root` is a new
    /// folder for its files.
    ///
    /// # Errors
    /// If the busybox can't be run or the files can't be written.
    pub fn busybox(reference: impl Into<String>, busybox: &Path, root: &Path) -> io::Result<Self> {
        let listed = Command::new(busybox).arg("--list").output()?;
        let commands = String::from_utf8_lossy(&listed.stdout).into_owned();
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("www"))?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        for command in commands.lines().filter(|command| *command != "busybox") {
            symlink("busybox", root.join("bin").join(command))?;
        }
        fs::write(root.join("www/index.html"), "<!doctype html><title>busybox</title>ok\n")?;
        // Without a network of its own a server must not take all addresses of the machine.
        let serve = "exec busybox httpd -f -p \"$WINDTUNNEL_BIND:8080\" -h /www";
        let mut image = Self::new(reference, ["sh", "-c", serve]);
        image.root = Some(root.to_owned());
        Ok(image)
    }
}
