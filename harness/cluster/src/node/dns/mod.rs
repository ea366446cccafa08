//! The cluster's name server, and which one pods ask.
//!
//! It listens on the node's own loopback address, so that host and pods reach it alike. Port 53 needs a privilege: where it
//! can be had, pods with a root folder of their own ask the server through their `resolv.conf`, and names that come into
//! being while they run are known at once. Elsewhere pods have their hosts files only, and who wants to ask does so on
//! another port. Names of others are asked of the machine's own name servers.

mod message;
mod zone;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

use self::{
    message::{Answer, Code, Data, Query, Record},
    zone::{Reply, ZONE},
};
use super::Context;

/// The port of name servers, and that where it can't be had.
const PORT: u16 = 53;
const OTHER_PORT: u16 = 10_053;
/// Questions that are being passed on, and connections, at a time.
const BUSY: usize = 256;
/// How long another server may take, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest message by UDP that is read.
const LARGEST: usize = 4096;
/// Which name servers the machine asks.
const MACHINE: &str = "/etc/resolv.conf";
/// Pause after a socket that failed.
const RETRY: Duration = Duration::from_millis(50);
/// Entries that resolvers take.
const NAME_SERVERS: usize = 3;

/// Sockets of the name server.
#[derive(Debug)]
pub(crate) struct NameServer {
    datagrams: UdpSocket,
    connections: TcpListener,
    address: SocketAddr,
}

impl NameServer {
    /// Listens on an address, on port 53 if that is allowed.
    ///
    /// # Errors
    /// If no port is left.
    pub(crate) fn bind(address: Ipv4Addr) -> io::Result<Self> {
        let on = |port| Self::bind_to(SocketAddr::from((address, port)));
        on(PORT).or_else(|_| on(OTHER_PORT)).or_else(|_| on(0))
    }

    fn bind_to(address: SocketAddr) -> io::Result<Self> {
        let connections = std::net::TcpListener::bind(address)?;
        let address = connections.local_addr()?;
        let datagrams = std::net::UdpSocket::bind(address)?;
        connections.set_nonblocking(true)?;
        datagrams.set_nonblocking(true)?;
        let datagrams = UdpSocket::from_std(datagrams)?;
        Ok(Self { datagrams, connections: TcpListener::from_std(connections)?, address })
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the node stops.
    pub(crate) async fn run(self, node: Arc<Context>) {
        let machine = std::fs::read_to_string(MACHINE).unwrap_or_default();
        let own = self.address.ip();
        let others = Resolver::read(&machine).servers;
        let others = others.into_iter().filter(|server| *server != own).map(|server| (server, PORT).into());
        let desk =
            Arc::new(Desk { node: node.clone(), others: others.collect(), busy: Semaphore::new(BUSY) });
        let datagrams = Arc::new(self.datagrams);
        tokio::select! {
            () = node.stop.cancelled() => {}
            () = serve_datagrams(datagrams, desk.clone()) => {}
            () = serve_connections(self.connections, desk) => {}
        }
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>, desk: Arc<Desk>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let query = match Query::read(&buffer[..length]) {
            Ok(query) => query,
            Err(refusal) => {
                if let Some(refusal) = refusal {
                    // Who asked so may be gone.
                    let _ = socket.try_send_to(&refusal, client);
                }
                continue;
            }
        };
        let limit = query.udp_limit;
        if let Some(answer) = desk.at_once(&query) {
            let _ = socket.send_to(&query.answer(&answer, limit), client).await;
            continue;
        }
        let (socket, desk, question) = (socket.clone(), desk.clone(), buffer[..length].to_vec());
        tokio::spawn(async move {
            let answer = desk.ask_others(&query, &question, limit).await;
            let _ = socket.send_to(&answer, client).await;
        });
    }
}

async fn serve_connections(listener: TcpListener, desk: Arc<Desk>) {
    let room = Arc::new(Semaphore::new(BUSY));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let desk = desk.clone();
        tokio::spawn(async move {
            let stop = desk.node.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                // The client has gone, or is idle.
                _ = converse(stream, &desk) => {}
            }
            drop(place);
        });
    }
}

async fn converse(mut stream: TcpStream, desk: &Desk) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(PATIENCE, stream.read_u16()).await??;
        let mut question = vec![0; usize::from(length)];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut question)).await??;
        let limit = usize::from(u16::MAX);
        let answer = match Query::read(&question) {
            Ok(query) => match desk.at_once(&query) {
                Some(answer) => query.answer(&answer, limit),
                None => desk.ask_others(&query, &question, limit).await,
            },
            Err(Some(refusal)) => refusal,
            Err(None) => return Ok(()),
        };
        let mut framed = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        tokio::time::timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
}

/// Who answers.
struct Desk {
    node: Arc<Context>,
    /// The machine's own name servers.
    others: Vec<SocketAddr>,
    busy: Semaphore,
}

impl Desk {
    fn reply(&self, name: &[String], kind: u16) -> Reply {
        let network = &self.node.network;
        self.node.store.read(|world| zone::reply(world, name, kind, |address| network.contains(address)))
    }

    /// What is known here.
    fn at_once(&self, query: &Query) -> Option<Answer> {
        match self.reply(&query.name, query.kind) {
            Reply::Whole(answer) => Some(answer),
            Reply::Alias { answer, .. } if query.kind == message::CNAME => Some(answer),
            Reply::Alias { .. } | Reply::Foreign => None,
        }
    }

    /// What others know.
    async fn ask_others(&self, query: &Query, question: &[u8], limit: usize) -> Vec<u8> {
        let failure = || query.answer(&Answer::empty(Code::ServerFailure), limit);
        let Ok(_place) = self.busy.acquire().await else { return failure() };
        if let Reply::Alias { mut answer, target } = self.reply(&query.name, query.kind) {
            answer.records.extend(self.behind(&target, query.kind).await);
            return query.answer(&answer, limit);
        }
        let by_tcp = limit > LARGEST;
        for server in &self.others {
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, ask(*server, question, by_tcp)).await {
                return answer;
            }
        }
        failure()
    }

    /// The addresses of a name that an alias leads to.
    async fn behind(&self, target: &str, kind: u16) -> Vec<Record> {
        let labels: Vec<String> = target.split('.').map(str::to_ascii_lowercase).collect();
        if let Reply::Whole(answer) = self.reply(&labels, kind) {
            return answer.records;
        }
        let question = Query::for_addresses(1, target);
        for server in self.others.iter().filter(|_| kind == message::A) {
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, ask(*server, &question, false)).await {
                let addresses = message::addresses(&answer).into_iter();
                let record = |address| Record { name: target.to_owned(), data: Data::Address(address) };
                return addresses.map(record).collect();
            }
        }
        Vec::new()
    }
}

/// Another server's answer.
async fn ask(server: SocketAddr, question: &[u8], by_tcp: bool) -> io::Result<Vec<u8>> {
    if by_tcp {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        return Ok(answer);
    }
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        // The answer to this question has its number.
        if answer[..length].get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// What a `resolv.conf` says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Resolver {
    servers: Vec<IpAddr>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    found.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last line counts.
                Some("search") => found.searches = words.map(str::to_owned).collect(),
                Some("options") => found.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        found
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend((!self.searches.is_empty()).then(|| format!("search {}", self.searches.join(" "))));
        lines.extend(self.servers.iter().map(|server| format!("nameserver {server}")));
        lines.extend((!self.options.is_empty()).then(|| format!("options {}", self.options.join(" "))));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// The `resolv.conf` of a pod on a node with the name server at `server` (`None` where pods can't ask it); `None` where the
/// pod has that of the machine.
pub(crate) fn resolver_file(pod: &Pod, server: Option<SocketAddr>) -> Option<String> {
    let machine = std::fs::read_to_string(MACHINE).unwrap_or_default();
    resolver_text(pod, server.filter(|server| server.port() == PORT).map(|server| server.ip()), &machine)
}

fn resolver_text(pod: &Pod, server: Option<IpAddr>, machine: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let is_on_host = spec.host_network == Some(true);
    let mut found = match (policy, server) {
        ("None", _) => Resolver::default(),
        ("ClusterFirst", Some(server)) if !is_on_host => cluster_first(pod, server, machine),
        ("ClusterFirstWithHostNet", Some(server)) => cluster_first(pod, server, machine),
        _ if spec.dns_config.is_none() => return None,
        _ => Resolver::read(machine),
    };
    let own = spec.dns_config.clone().unwrap_or_default();
    let add = |list: &mut Vec<String>, text: String| {
        if !list.contains(&text) {
            list.push(text);
        }
    };
    for server in own.nameservers.iter().flatten().filter_map(|server| server.parse().ok()) {
        if !found.servers.contains(&server) {
            found.servers.push(server);
        }
    }
    found.servers.truncate(NAME_SERVERS);
    for search in own.searches.into_iter().flatten() {
        add(&mut found.searches, search);
    }
    for option in own.options.into_iter().flatten() {
        let name = option.name.unwrap_or_default();
        found.options.retain(|other| other.split(':').next() != Some(&name));
        found.options.push(match option.value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
    }
    Some(found.text())
}

fn cluster_first(pod: &Pod, server: IpAddr, machine: &str) -> Resolver {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut searches = vec![format!("{namespace}.svc.{ZONE}"), format!("svc.{ZONE}"), ZONE.to_owned()];
    searches.extend(Resolver::read(machine).searches);
    Resolver { servers: vec![server], searches, options: vec!["ndots:5".to_owned()] }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// If this fails short names of Services do not resolve, or a pod's own settings are lost. Expectations are those of
    /// Kubernetes' page on DNS for Services and Pods.
    #[test]
    fn pods_have_the_resolver_that_they_ask_for() {
        let of = |spec: Value, server: bool| {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            let server = server.then_some(IpAddr::from([127, 64, 0, 1]));
            resolver_text(&pod, server, "nameserver 10.0.0.2\nsearch corp.example\noptions rotate\n")
        };
        let first = "search n.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
                     nameserver 127.64.0.1\noptions ndots:5\n";
        assert_eq!(of(json!({}), true).as_deref(), Some(first));
        assert_eq!(of(json!({}), false), None);
        assert_eq!(of(json!({"dnsPolicy": "Default"}), true), None);
        assert_eq!(of(json!({"hostNetwork": true}), true), None);
        let with_host = json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"});
        assert_eq!(of(with_host, true).as_deref(), Some(first));
        let own = json!({"nameservers": ["192.0.2.1"], "searches": ["my.dns"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        assert_eq!(
            of(json!({"dnsPolicy": "None", "dnsConfig": own}), true).as_deref(),
            Some("search my.dns\nnameserver 192.0.2.1\noptions ndots:2 edns0\n")
        );
        assert_eq!(
            of(json!({"dnsPolicy": "Default", "dnsConfig": own}), true).as_deref(),
            Some(
                "search corp.example my.dns\nnameserver 10.0.0.2\nnameserver 192.0.2.1\noptions rotate ndots:2 edns0\n"
            )
        );
    }
}
