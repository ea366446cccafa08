//! What the zone of the cluster says: names of Services, of the pods behind them, and of addresses; a pure function.
//!
//! The scheme is Kubernetes' specification of DNS-based service discovery, version 1.1.0.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints, Service};

use super::message::{A, ANY, Answer, Code, Data, PTR, Record, SRV};
use crate::{
    node::names::cluster_address,
    world::{Key, World},
};

/// The zone, without a dot at the end.
pub(super) const ZONE: &str = "cluster.local";

/// What the cluster says to a question: an answer, or that a name is another one that somebody else knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// All of it.
    Whole(Answer),
    /// The name stands for a name that is not the cluster's.
    Alias {
        /// What is known of it.
        answer: Answer,
        /// The other name.
        target: String,
    },
    /// The name is not the cluster's.
    Foreign,
}

/// Answers a question about a name (its labels in small letters). `is_ours` tells whether an address is the cluster's.
pub(super) fn reply(world: &World, name: &[String], kind: u16, is_ours: impl Fn(Ipv4Addr) -> bool) -> Reply {
    let labels: Vec<&str> = name.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [rest @ .., "cluster", "local"] => in_zone(world, rest, kind),
        [d, c, b, a, "in-addr", "arpa"] => {
            let Ok(address) = format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>() else { return Reply::Foreign };
            if is_ours(address) { Reply::Whole(pointer(world, address, kind)) } else { Reply::Foreign }
        }
        _ => Reply::Foreign,
    }
}

fn in_zone(world: &World, labels: &[&str], kind: u16) -> Reply {
    let answer = match labels {
        [] | ["svc" | "pod"] => Answer::empty(Code::NoError),
        [namespace, "svc" | "pod"] => {
            let exists = world.namespaces.get(&Key::cluster(*namespace)).is_some();
            Answer::empty(if exists { Code::NoError } else { Code::NoSuchName })
        }
        [dashed, namespace, "pod"] => {
            let exists = world.namespaces.get(&Key::cluster(*namespace)).is_some();
            match dashed.replace('-', ".").parse() {
                Ok(address) if exists => addresses(&full(labels), [address], kind),
                _ => Answer::empty(Code::NoSuchName),
            }
        }
        [rest @ .., service, namespace, "svc"] => {
            let key = Key::new(*namespace, *service);
            match world.services.get(&key) {
                Some(found) => return of_service(world, &key, found, rest, kind),
                None => Answer::empty(Code::NoSuchName),
            }
        }
        _ => Answer::empty(Code::NoSuchName),
    };
    Reply::Whole(answer)
}

/// A name at or below that of a Service.
fn of_service(world: &World, key: &Key, service: &Service, below: &[&str], kind: u16) -> Reply {
    let name = service_name(key);
    let spec = service.spec.as_ref();
    let external = spec
        .filter(|spec| spec.type_.as_deref() == Some("ExternalName"))
        .and_then(|spec| spec.external_name.as_deref());
    let endpoints = world.endpoints.get(key).map(|endpoints| &**endpoints);
    let answer = match (below, external) {
        ([], Some(target)) => {
            let target = target.trim_end_matches('.').to_owned();
            let alias = Record { name, data: Data::Alias(target.clone()) };
            return Reply::Alias { answer: Answer::of(vec![alias]), target };
        }
        ([], None) => match cluster_address(service) {
            Some(address) => addresses(&name, [address], kind),
            None => addresses(&name, ready(endpoints).filter_map(|(address, _)| parsed(address)), kind),
        },
        ([host], None) => {
            let mut hosts = ready(endpoints).filter(|(address, _)| host_of(address) == *host).peekable();
            match hosts.peek() {
                None => Answer::empty(Code::NoSuchName),
                Some(_) => addresses(
                    &format!("{host}.{name}"),
                    hosts.filter_map(|(address, _)| parsed(address)),
                    kind,
                ),
            }
        }
        ([port, protocol], None) => {
            let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
                return Reply::Whole(Answer::empty(Code::NoSuchName));
            };
            services(key, service, endpoints, (port, protocol), kind)
        }
        _ => Answer::empty(Code::NoSuchName),
    };
    Reply::Whole(answer)
}

/// Where a named port of a Service is.
fn services(
    key: &Key,
    service: &Service,
    endpoints: Option<&Endpoints>,
    (port, protocol): (&str, &str),
    kind: u16,
) -> Answer {
    let name = service_name(key);
    let owner = format!("_{port}._{protocol}.{name}");
    let is_it = |its: Option<&str>, protocol_of_it: Option<&str>| {
        its == Some(port) && protocol_of_it.unwrap_or("TCP").eq_ignore_ascii_case(protocol)
    };
    let mut answer = Answer::empty(Code::NoError);
    let mut add = |number: i32, target: String, address: Option<Ipv4Addr>| {
        let Ok(port) = u16::try_from(number) else { return };
        let data = Data::Service { port, target: target.clone() };
        answer.records.push(Record { name: owner.clone(), data });
        answer
            .additional
            .extend(address.map(|address| Record { name: target, data: Data::Address(address) }));
    };
    match cluster_address(service) {
        Some(address) => {
            for its in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
                if is_it(its.name.as_deref(), its.protocol.as_deref()) {
                    add(its.port, name.clone(), Some(address));
                }
            }
        }
        None => {
            for (address, ports) in ready(endpoints) {
                for its in ports {
                    if is_it(its.name.as_deref(), its.protocol.as_deref()) {
                        add(its.port, format!("{}.{name}", host_of(address)), parsed(address));
                    }
                }
            }
        }
    }
    if answer.records.is_empty() {
        return Answer::empty(Code::NoSuchName);
    }
    if kind != SRV && kind != ANY {
        return Answer::empty(Code::NoError);
    }
    answer
}

/// Whose address this is.
fn pointer(world: &World, address: Ipv4Addr, kind: u16) -> Answer {
    let [a, b, c, d] = address.octets();
    let owner = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
    let of_service = world
        .services
        .iter()
        .find(|(_, service)| cluster_address(service) == Some(address))
        .map(|(key, _)| service_name(key));
    let of_pod = || {
        world.endpoints.iter().find_map(|(key, endpoints)| {
            let (found, _) = ready(Some(endpoints)).find(|(found, _)| parsed(found) == Some(address))?;
            Some(format!("{}.{}", host_of(found), service_name(key)))
        })
    };
    match of_service.or_else(of_pod) {
        None => Answer::empty(Code::NoSuchName),
        Some(_) if kind != PTR && kind != ANY => Answer::empty(Code::NoError),
        Some(name) => Answer::of(vec![Record { name: owner, data: Data::Pointer(name) }]),
    }
}

/// Addresses of a name that exists; none for another type.
fn addresses(name: &str, all: impl IntoIterator<Item = Ipv4Addr>, kind: u16) -> Answer {
    if kind != A && kind != ANY {
        return Answer::empty(Code::NoError);
    }
    let record = |address| Record { name: name.to_owned(), data: Data::Address(address) };
    Answer::of(all.into_iter().map(record).collect())
}

fn ready(endpoints: Option<&Endpoints>) -> impl Iterator<Item = (&EndpointAddress, &[EndpointPort])> {
    endpoints.into_iter().flat_map(|endpoints| endpoints.subsets.iter().flatten()).flat_map(|subset| {
        let ports = subset.ports.as_deref().unwrap_or_default();
        subset.addresses.iter().flatten().map(move |address| (address, ports))
    })
}

/// The name of a pod below its Service: its host name, or its address with dashes.
fn host_of(address: &EndpointAddress) -> String {
    let named = address.hostname.clone().filter(|name| !name.is_empty());
    named.unwrap_or_else(|| address.ip.replace('.', "-"))
}

fn parsed(address: &EndpointAddress) -> Option<Ipv4Addr> {
    address.ip.parse().ok()
}

fn service_name(key: &Key) -> String {
    format!("{}.{}.svc.{ZONE}", key.name, key.namespace)
}

fn full(labels: &[&str]) -> String {
    format!("{}.{ZONE}", labels.join("."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn world() -> World {
        let mut world = World::default();
        let of = |value: Value| value;
        let meta = |name: &str| json!({"name": name, "namespace": "a", "resourceVersion": "1", "uid": name});
        world.namespaces.apply(Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "a", "resourceVersion": "1", "uid": "a"}}))
                .expect("a namespace"),
        ));
        for (name, spec) in [
            ("web", json!({"clusterIP": "127.64.128.1", "ports": [{"name": "http", "port": 80}]})),
            ("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
            ("out", json!({"type": "ExternalName", "externalName": "example.org."})),
        ] {
            let service = of(json!({"metadata": meta(name), "spec": spec}));
            world.services.apply(Arc::new(serde_json::from_value(service).expect("a service")));
        }
        let endpoints = json!({"metadata": meta("db"), "subsets": [{
            "addresses": [{"ip": "127.64.0.2", "hostname": "db-0"}, {"ip": "127.64.0.3"}],
            "notReadyAddresses": [{"ip": "127.64.0.4", "hostname": "db-2"}],
            "ports": [{"name": "sql", "port": 5432}],
        }]});
        world.endpoints.apply(Arc::new(serde_json::from_value(endpoints).expect("endpoints")));
        world
    }

    fn ask(name: &str, kind: u16) -> Reply {
        let labels: Vec<String> = name.split('.').map(str::to_owned).collect();
        reply(&world(), &labels, kind, |address| address.octets()[1] == 64)
    }

    /// The code of the answer, and its records in short.
    fn said(name: &str, kind: u16) -> String {
        let Reply::Whole(answer) = ask(name, kind) else { return "not ours".to_owned() };
        let records = answer.records.iter().chain(&answer.additional).map(|record| match &record.data {
            Data::Address(address) => format!("{} A {address}", record.name),
            Data::Pointer(target) => format!("PTR {target}"),
            Data::Service { port, target } => format!("SRV {port} {target}"),
            Data::Alias(target) => format!("CNAME {target}"),
        });
        let records: Vec<String> = records.collect();
        format!("{:?} {}", answer.code, records.join(", ")).trim_end().to_owned()
    }

    /// If this fails a program does not find a Service, or the pods of a StatefulSet, by name. Expectations are those of
    /// Kubernetes' DNS specification.
    #[test]
    fn names_are_those_of_the_specification() {
        for (name, kind, expected) in [
            ("web.a.svc.cluster.local", A, "NoError web.a.svc.cluster.local A 127.64.128.1"),
            ("web.a.svc.cluster.local", 28, "NoError"),
            ("none.a.svc.cluster.local", A, "NoSuchName"),
            ("web.b.svc.cluster.local", A, "NoSuchName"),
            ("a.svc.cluster.local", A, "NoError"),
            ("b.svc.cluster.local", A, "NoSuchName"),
            (
                "db.a.svc.cluster.local",
                A,
                "NoError db.a.svc.cluster.local A 127.64.0.2, db.a.svc.cluster.local A 127.64.0.3",
            ),
            ("db-0.db.a.svc.cluster.local", A, "NoError db-0.db.a.svc.cluster.local A 127.64.0.2"),
            (
                "127-64-0-3.db.a.svc.cluster.local",
                A,
                "NoError 127-64-0-3.db.a.svc.cluster.local A 127.64.0.3",
            ),
            ("db-2.db.a.svc.cluster.local", A, "NoSuchName"),
            (
                "_http._tcp.web.a.svc.cluster.local",
                SRV,
                "NoError SRV 80 web.a.svc.cluster.local, web.a.svc.cluster.local A 127.64.128.1",
            ),
            (
                "_sql._tcp.db.a.svc.cluster.local",
                SRV,
                "NoError SRV 5432 db-0.db.a.svc.cluster.local, SRV 5432 127-64-0-3.db.a.svc.cluster.local, \
                 db-0.db.a.svc.cluster.local A 127.64.0.2, 127-64-0-3.db.a.svc.cluster.local A 127.64.0.3",
            ),
            ("_sql._udp.db.a.svc.cluster.local", SRV, "NoSuchName"),
            ("127-64-0-9.a.pod.cluster.local", A, "NoError 127-64-0-9.a.pod.cluster.local A 127.64.0.9"),
            ("x.a.pod.cluster.local", A, "NoSuchName"),
            ("1.128.64.127.in-addr.arpa", PTR, "NoError PTR web.a.svc.cluster.local"),
            ("2.0.64.127.in-addr.arpa", PTR, "NoError PTR db-0.db.a.svc.cluster.local"),
            ("9.0.64.127.in-addr.arpa", PTR, "NoSuchName"),
            ("1.0.0.127.in-addr.arpa", PTR, "not ours"),
            ("example.org", A, "not ours"),
        ] {
            assert_eq!(said(name, kind), expected, "{name}");
        }
        let Reply::Alias { answer, target } = ask("out.a.svc.cluster.local", A) else { panic!("an alias") };
        assert_eq!((target.as_str(), answer.records.len()), ("example.org", 1));
    }
}
