//! Addresses of Services: whoever connects to one is connected to a ready pod behind it.
//!
//! A Service's address is one of the loopback network, so that host and pods reach it alike. It is listened on as long
//! as there is a ready pod: without one a connection is refused, as in a real cluster.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::AbortHandle,
};

use super::{Context, names::cluster_address, udp_proxy};
use crate::world::{Key, World};

/// Where a Service is listened on, and which of its ports that is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Front {
    address: SocketAddrV4,
    /// Whether it takes datagrams, not connections.
    is_udp: bool,
    service: Key,
    port: String,
}

/// How long a Service that does not say keeps clients at their pods, in seconds; and how many clients it knows.
const AFFINITY_S: i32 = 10_800;
const KEPT: usize = 65_536;
/// Services are looked at again after so many times of what the last look took, so that a thousand that come at once don't
/// cost the square of a thousand.
const PAUSE: u32 = 4;
/// Pause after a connection that could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Ends a listener when dropped.
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens for all Services and keeps the pods' hosts files, until the node stops.
pub(crate) async fn run(node: Arc<Context>) {
    let mut changes = node.store.endpoints_changes.subscribe();
    let mut open: BTreeMap<Front, Listening> = BTreeMap::new();
    let mut refused: BTreeSet<(SocketAddrV4, bool)> = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        let began = Instant::now();
        let wanted = node.store.read(|world| {
            node.hosts.refresh(world);
            fronts(world, &node)
        });
        open.retain(|front, _| wanted.contains(front));
        for front in wanted {
            if open.contains_key(&front) {
                continue;
            }
            match start(&front, &node) {
                Ok(listening) => {
                    open.insert(front, listening);
                }
                Err(error) => {
                    if refused.insert((front.address, front.is_udp)) {
                        tracing::warn!(
                            service = %front.service, address = %front.address, %error,
                            "a Service's address can't be listened on; ports below 1024 need root, or the kernel \
                             setting net.ipv4.ip_unprivileged_port_start"
                        );
                    }
                }
            }
        }
        let pause = began.elapsed() * PAUSE;
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn start(front: &Front, node: &Arc<Context>) -> io::Result<Listening> {
    let (node, service, port) = (node.clone(), front.service.clone(), front.port.clone());
    let task = if front.is_udp {
        let socket = std::net::UdpSocket::bind(front.address)?;
        socket.set_nonblocking(true)?;
        tokio::spawn(udp_proxy::serve(UdpSocket::from_std(socket)?, node, service, port))
    } else {
        let listener = std::net::TcpListener::bind(front.address)?;
        listener.set_nonblocking(true)?;
        tokio::spawn(serve(TcpListener::from_std(listener)?, node, service, port))
    };
    Ok(Listening(task.abort_handle()))
}

/// What is to be listened on: TCP and UDP ports of Services with an address of ours and a ready pod.
fn fronts(world: &World, node: &Context) -> BTreeSet<Front> {
    let mut found = BTreeSet::new();
    for (key, service) in world.services.iter() {
        let Some(spec) = &service.spec else { continue };
        let address = cluster_address(service).filter(|address| node.network.contains(*address));
        for port in spec.ports.iter().flatten() {
            let name = port.name.clone().unwrap_or_default();
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let is_udp = protocol == "UDP";
            if !(is_udp || protocol == "TCP") || backends(world, key, &name).is_empty() {
                continue;
            }
            let mut add = |address: Option<Ipv4Addr>, port: Option<i32>| {
                let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                if let (Some(address), Some(port)) = (address, port) {
                    let address = SocketAddrV4::new(address, port);
                    found.insert(Front { address, is_udp, service: key.clone(), port: name.clone() });
                }
            };
            add(address, Some(port.port));
            add(Some(node.network.node_address()), port.node_port);
        }
    }
    found
}

/// Ready pods behind one port of a Service.
pub(super) fn backends(world: &World, key: &Key, port: &str) -> Vec<SocketAddrV4> {
    let subsets = world.endpoints.get(key).and_then(|endpoints| endpoints.subsets.as_deref());
    let mut found = Vec::new();
    for subset in subsets.unwrap_or_default() {
        let ports = subset.ports.iter().flatten();
        let mut ports = ports.filter(|candidate| candidate.name.as_deref().unwrap_or_default() == port);
        let Some(number) = ports.next().and_then(|port| u16::try_from(port.port).ok()) else { continue };
        let addresses = subset.addresses.iter().flatten();
        found.extend(
            addresses.filter_map(|address| Some(SocketAddrV4::new(address.ip.parse().ok()?, number))),
        );
    }
    found
}

/// Connects each client to the next ready pod.
async fn serve(listener: TcpListener, node: Arc<Context>, service: Key, port: String) {
    let turns = Arc::new(Turns::default());
    loop {
        let Ok((client, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let (node, service, port, turns) = (node.clone(), service.clone(), port.clone(), turns.clone());
        tokio::spawn(async move {
            let stop = node.stop.clone();
            let carried = carry((client, from.ip()), &node, &service, &port, &turns);
            tokio::select! {
                () = stop.cancelled() => {}
                result = carried => if let Err(error) = result {
                    tracing::trace!(%service, %error, "a connection through a Service ended");
                }
            }
        });
    }
}

/// Which pod is next, and which one a client had if the Service keeps clients at their pods.
#[derive(Default)]
struct Turns {
    next: AtomicUsize,
    kept: Mutex<HashMap<IpAddr, (SocketAddrV4, Instant)>>,
}

impl Turns {
    /// The pods in the order in which they are tried.
    fn order(
        &self,
        mut backends: Vec<SocketAddrV4>,
        client: IpAddr,
        affinity: Option<Duration>,
    ) -> Vec<SocketAddrV4> {
        let kept = affinity.and_then(|affinity| {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (backend, at) = kept.get(&client)?;
            (at.elapsed() < affinity).then_some(*backend)
        });
        match kept.and_then(|kept| backends.iter().position(|backend| *backend == kept)) {
            Some(at) => backends.swap(0, at),
            None if backends.is_empty() => {}
            None => {
                let first = self.next.fetch_add(1, Ordering::Relaxed) % backends.len();
                backends.rotate_left(first);
            }
        }
        backends
    }

    fn keep(&self, client: IpAddr, backend: SocketAddrV4, affinity: Duration) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.retain(|_, (_, at)| at.elapsed() < affinity);
        }
        if kept.len() < KEPT || kept.contains_key(&client) {
            kept.insert(client, (backend, Instant::now()));
        }
    }
}

/// How long a Service keeps a client at its pod.
fn affinity(world: &World, service: &Key) -> Option<Duration> {
    let spec = world.services.get(service)?.spec.as_ref()?;
    spec.session_affinity.as_deref().filter(|affinity| *affinity == "ClientIP")?;
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_S);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

async fn carry(
    (mut client, from): (TcpStream, IpAddr),
    node: &Context,
    service: &Key,
    port: &str,
    turns: &Turns,
) -> io::Result<()> {
    let (backends, affinity) =
        node.store.read(|world| (backends(world, service, port), affinity(world, service)));
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in turns.order(backends, from, affinity) {
        match TcpStream::connect(address).await {
            Ok(mut backend) => {
                if let Some(affinity) = affinity {
                    turns.keep(from, address, affinity);
                }
                client.set_nodelay(true)?;
                backend.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut backend).await?;
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails clients of a Service with `sessionAffinity: ClientIP` lose their sessions, or all clients of other
    /// Services end at one pod.
    #[test]
    fn clients_stay_at_their_pods_only_where_asked() {
        let pod = |number| SocketAddrV4::new(Ipv4Addr::new(127, 64, 0, number), 80);
        let all = || vec![pod(1), pod(2), pod(3)];
        let client = IpAddr::from([127, 0, 0, 1]);
        let turns = Turns::default();
        let firsts: Vec<_> = (0..4).map(|_| turns.order(all(), client, None)[0]).collect();
        assert_eq!(firsts, [pod(1), pod(2), pod(3), pod(1)]);
        let long = Some(Duration::from_secs(60));
        turns.keep(client, pod(2), Duration::from_secs(60));
        assert!((0..3).all(|_| turns.order(all(), client, long)[0] == pod(2)));
        let others = turns.order(vec![pod(1), pod(3)], client, long);
        assert_eq!(others.len(), 2, "its pod has gone");
        assert!(turns.order(all(), client, Some(Duration::ZERO)).len() == 3, "it has been forgotten");
        assert!(turns.order(Vec::new(), client, None).is_empty());
    }
}
