//! Which pod and which container a request is about.

use serde_json::Value;

use super::ContainerRef;
use crate::{
    object::{list, meta, text},
    pipeline::route::ResourcePath,
    server::ApiServer,
    status::ApiError,
    store::Key,
};

/// A pod as it is stored.
pub(super) struct PodTarget {
    value: Value,
    namespace: String,
    name: String,
}

impl PodTarget {
    /// # Errors
    /// 404 if there is no such pod.
    pub(super) fn find(server: &ApiServer, path: &ResourcePath, name: &str) -> Result<Self, ApiError> {
        let namespace = path.namespace.clone().ok_or_else(ApiError::no_such_resource)?;
        let state = server.read();
        let found = state.store.get("/pods", &Key::new(&namespace, name));
        let found = found.ok_or_else(|| ApiError::not_found("", "pods", name))?;
        Ok(Self { value: found.value.clone(), namespace, name: name.to_owned() })
    }

    pub(super) fn is_scheduled(&self) -> bool {
        !text(&self.value, &["spec", "nodeName"]).is_empty()
    }

    pub(super) fn phase(&self) -> &str {
        text(&self.value, &["status", "phase"])
    }

    /// Address of the pod and the first port that its containers name.
    pub(super) fn first_port(&self) -> Option<u16> {
        let containers = list(&self.value, &["spec", "containers"]).iter();
        let mut ports = containers.flat_map(|container| list(container, &["ports"]));
        ports.find_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok())
    }

    /// The number of a port by number or by the name that a container gave it.
    pub(super) fn port(&self, port: &str) -> Option<u16> {
        if let Ok(number) = port.parse() {
            return Some(number);
        }
        let containers = list(&self.value, &["spec", "containers"]).iter();
        let mut ports = containers.flat_map(|container| list(container, &["ports"]));
        let named = ports.find(|found| text(found, &["name"]) == port)?;
        u16::try_from(named["containerPort"].as_u64()?).ok()
    }

    pub(super) fn reference(&self, container: &str) -> ContainerRef {
        ContainerRef {
            namespace: self.namespace.clone(),
            pod: self.name.clone(),
            uid: meta(&self.value, "uid").to_owned(),
            container: container.to_owned(),
        }
    }

    /// The container that is meant: the one that is named, or the only one.
    ///
    /// # Errors
    /// 400 if there are several and none is named, or none has that name.
    pub(super) fn container(&self, wanted: &str) -> Result<ContainerRef, ApiError> {
        let names = |field: &str| -> Vec<&str> {
            list(&self.value, &["spec", field]).iter().map(|container| text(container, &["name"])).collect()
        };
        let (containers, inits, debugging) =
            (names("containers"), names("initContainers"), names("ephemeralContainers"));
        if wanted.is_empty() {
            if let [only] = containers[..] {
                return Ok(self.reference(only));
            }
            let mut message = format!("a container name must be specified for pod {}", self.name);
            if !containers.is_empty() {
                message += &format!(", choose one of: [{}]", containers.join(" "));
            }
            if !inits.is_empty() {
                message += &format!(" or one of the init containers: [{}]", inits.join(" "));
            }
            return Err(ApiError::bad_request(message));
        }
        if [containers, inits, debugging].iter().flatten().any(|name| *name == wanted) {
            return Ok(self.reference(wanted));
        }
        Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {}", self.name)))
    }
}
