//! Variables that tell a container where Services are: a pure function.
//!
//! As on a real node: the Services of the pod's namespace that have an address, unless `enableServiceLinks` is false, and
//! always the API server's.

use std::{collections::BTreeMap, net::SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service};

use super::names::cluster_address;
use crate::world::World;

/// The variables of a pod; `server` is where it reaches the API server.
#[must_use]
pub fn of(world: &World, pod: &Pod, server: SocketAddr) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links);
    if links != Some(false) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for (key, service) in world.services.in_namespace(namespace) {
            if key.name == "kubernetes" && namespace == "default" {
                continue;
            }
            add_service(&mut variables, &key.name, service);
        }
    }
    let ports = [Port { name: "https", protocol: "TCP", number: i32::from(server.port()) }];
    add(&mut variables, "kubernetes", &server.ip().to_string(), &ports);
    variables
}

/// One port of a Service.
struct Port<'a> {
    /// Empty where it has none.
    name: &'a str,
    protocol: &'a str,
    number: i32,
}

fn add_service(variables: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(address) = cluster_address(service) else { return };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<Port<'_>> = ports
        .map(|port| Port {
            name: port.name.as_deref().unwrap_or_default(),
            protocol: port.protocol.as_deref().unwrap_or("TCP"),
            number: port.port,
        })
        .collect();
    add(variables, name, &address.to_string(), &ports);
}

fn add(variables: &mut BTreeMap<String, String>, service: &str, host: &str, ports: &[Port<'_>]) {
    let form = |text: &str| text.to_uppercase().replace('-', "_");
    let prefix = form(service);
    let Some(first) = ports.first() else { return };
    let mut set = |name: String, value: String| variables.insert(format!("{prefix}_{name}"), value);
    set("SERVICE_HOST".into(), host.to_owned());
    set("SERVICE_PORT".into(), first.number.to_string());
    let url = |port: &Port<'_>| format!("{}://{host}:{}", port.protocol.to_lowercase(), port.number);
    set("PORT".into(), url(first));
    for port in ports {
        if !port.name.is_empty() {
            set(format!("SERVICE_PORT_{}", form(port.name)), port.number.to_string());
        }
        let link = format!("PORT_{}_{}", port.number, port.protocol.to_uppercase());
        set(link.clone(), url(port));
        set(format!("{link}_PROTO"), port.protocol.to_lowercase());
        set(format!("{link}_PORT"), port.number.to_string());
        set(format!("{link}_ADDR"), host.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// If this fails a program that finds its Services by variables, or its API server, does not.
    #[test]
    fn services_of_the_namespace_and_the_api_server_are_told() {
        let mut world = World::default();
        for (namespace, name, address) in
            [("a", "redis-primary", "10.0.0.11"), ("a", "headless", "None"), ("b", "other", "10.0.0.12")]
        {
            let service = json!({
                "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1", "uid": name},
                "spec": {"clusterIP": address, "ports": [
                    {"name": "db-main", "port": 6379}, {"name": "log", "port": 514, "protocol": "UDP"}]},
            });
            world.services.apply(Arc::new(serde_json::from_value(service).expect("a service")));
        }
        let pod = |links: bool| {
            let pod = json!({"metadata": {"name": "p", "namespace": "a"},
                "spec": {"containers": [], "enableServiceLinks": links}});
            serde_json::from_value::<Pod>(pod).expect("a pod")
        };
        let server = SocketAddr::from(([127, 0, 0, 1], 6443));
        let plain = of(&world, &pod(false), server);
        // The names are those of Kubernetes' documentation of Services.
        let api = [
            ("KUBERNETES_PORT", "tcp://127.0.0.1:6443"),
            ("KUBERNETES_PORT_6443_TCP", "tcp://127.0.0.1:6443"),
            ("KUBERNETES_PORT_6443_TCP_ADDR", "127.0.0.1"),
            ("KUBERNETES_PORT_6443_TCP_PORT", "6443"),
            ("KUBERNETES_PORT_6443_TCP_PROTO", "tcp"),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "6443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "6443"),
        ];
        let pairs = |all: &BTreeMap<String, String>| -> Vec<(String, String)> {
            all.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        assert_eq!(pairs(&plain), api.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut linked = of(&world, &pod(true), server);
        linked.retain(|name, _| !name.starts_with("KUBERNETES_"));
        let redis = [
            ("REDIS_PRIMARY_PORT", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_514_UDP", "udp://10.0.0.11:514"),
            ("REDIS_PRIMARY_PORT_514_UDP_ADDR", "10.0.0.11"),
            ("REDIS_PRIMARY_PORT_514_UDP_PORT", "514"),
            ("REDIS_PRIMARY_PORT_514_UDP_PROTO", "udp"),
            ("REDIS_PRIMARY_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_ADDR", "10.0.0.11"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PORT", "6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PROTO", "tcp"),
            ("REDIS_PRIMARY_SERVICE_HOST", "10.0.0.11"),
            ("REDIS_PRIMARY_SERVICE_PORT", "6379"),
            ("REDIS_PRIMARY_SERVICE_PORT_DB_MAIN", "6379"),
            ("REDIS_PRIMARY_SERVICE_PORT_LOG", "514"),
        ];
        assert_eq!(pairs(&linked), redis.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
