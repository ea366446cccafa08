//! Names of Services, for pods: a hosts file for each pod, kept up to date.
//!
//! The cluster's name server needs a privilege for its port, and the file is what every resolver reads first: it serves
//! where the privilege is missing, and saves questions elsewhere. It has the machine's own entries, the pod's name, and each
//! Service under the names that its search path would give it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};

use crate::world::World;

/// The hosts files of all pods.
#[derive(Debug, Default)]
pub(crate) struct HostsFiles {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<String, PodFile>,
    /// What was written last, by namespace.
    written: BTreeMap<String, String>,
}

#[derive(Debug)]
struct PodFile {
    namespace: String,
    path: PathBuf,
    head: String,
}

impl HostsFiles {
    /// Writes the file of a pod and keeps it up to date from now on.
    pub(crate) fn add(&self, world: &World, pod: &Pod, address: Ipv4Addr, path: &Path) -> io::Result<()> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let head = head(pod, address, &std::fs::read_to_string("/etc/hosts").unwrap_or_default());
        let names = names(world, &namespace);
        write(path, &head, &names)?;
        let file = PodFile { namespace, path: path.to_owned(), head };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.pods.insert(pod.metadata.uid.clone().unwrap_or_default(), file);
        Ok(())
    }

    /// The pod is gone.
    pub(crate) fn remove(&self, uid: &str) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).pods.remove(uid);
    }

    /// Services or their endpoints have changed.
    pub(crate) fn refresh(&self, world: &World) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { pods, written } = &mut *inner;
        let mut fresh: BTreeMap<&str, String> = BTreeMap::new();
        for file in pods.values() {
            let text = fresh.entry(&file.namespace).or_insert_with(|| names(world, &file.namespace));
            if written.get(&file.namespace) != Some(text)
                && let Err(error) = write(&file.path, &file.head, text)
            {
                tracing::debug!(%error, path = %file.path.display(), "a hosts file was not written");
            }
        }
        for (namespace, text) in fresh {
            written.insert(namespace.to_owned(), text);
        }
    }
}

/// In place: the file is mounted into containers, so that a new one would not be seen.
fn write(path: &Path, head: &str, names: &str) -> io::Result<()> {
    let text = format!("{head}{names}");
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// The part that does not change: this machine's entries, the pod's own and its aliases.
fn head(pod: &Pod, address: Ipv4Addr, machine: &str) -> String {
    let mut text = machine.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.hostname.clone()).or_else(|| pod.metadata.name.clone());
    let _ = writeln!(text, "{address}\t{}", name.unwrap_or_default());
    for alias in spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
        );
    }
    text
}

/// The names of all Services as pods of a namespace know them.
fn names(world: &World, namespace: &str) -> String {
    let mut text = String::new();
    for (key, service) in world.services.iter() {
        let Some(address) = cluster_address(service) else {
            continue_headless(world, key, namespace, &mut text);
            continue;
        };
        let _ = writeln!(text, "{address}\t{}", forms(&key.name, &key.namespace, namespace));
    }
    text
}

/// A headless Service has the addresses of its pods, and each pod with a host name has a name of its own.
fn continue_headless(world: &World, key: &crate::world::Key, namespace: &str, text: &mut String) {
    let Some(endpoints) = world.endpoints.get(key) else { return };
    for address in ready(endpoints) {
        if let Some(host) = &address.hostname {
            let below = format!("{host}.{}", key.name);
            let _ = writeln!(text, "{}\t{}", address.ip, forms(&below, &key.namespace, namespace));
        }
        let _ = writeln!(text, "{}\t{}", address.ip, forms(&key.name, &key.namespace, namespace));
    }
}

fn ready(endpoints: &Endpoints) -> impl Iterator<Item = &k8s_openapi::api::core::v1::EndpointAddress> {
    endpoints.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten())
}

fn forms(name: &str, namespace: &str, own: &str) -> String {
    let long = format!("{name}.{namespace}.svc.cluster.local\t{name}.{namespace}.svc\t{name}.{namespace}");
    if namespace == own { format!("{long}\t{name}") } else { long }
}

/// The address of a Service, if it has one.
pub(crate) fn cluster_address(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// If this fails a pod does not find a Service by the name that its manifest has.
    #[test]
    fn services_have_the_names_that_a_search_path_would_give() {
        let mut world = World::default();
        let service = json!({
            "metadata": {"name": "web", "namespace": "a", "resourceVersion": "1", "uid": "u"},
            "spec": {"clusterIP": "127.64.128.1"},
        });
        let service: Service = serde_json::from_value(service).expect("a service");
        world.services.apply(std::sync::Arc::new(service));
        let own = "127.64.128.1\tweb.a.svc.cluster.local\tweb.a.svc\tweb.a\tweb\n";
        assert_eq!(names(&world, "a"), own);
        assert_eq!(names(&world, "b"), own.replace("\tweb\n", "\n"));
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let text = head(&pod, Ipv4Addr::new(127, 64, 0, 2), "127.0.0.1 localhost");
        assert_eq!(text, "127.0.0.1 localhost\n127.64.0.2\tp\n1.2.3.4\tx\ty\n");
    }
}
