//! Addresses of Services: whoever connects to one is connected to a ready pod behind it.
//!
//! A Service's address is one of the loopback network, so that host and pods reach it alike. It is listened on as long
//! as there is a ready pod: without one a connection is refused, as in a real cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::{Context, names::cluster_address};
use crate::world::{Key, World};

/// Where a Service is listened on, and which of its ports that is.
type Front = (SocketAddrV4, Key, String);

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
    let mut refused: BTreeSet<SocketAddrV4> = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        let wanted = node.store.read(|world| {
            node.hosts.refresh(world);
            fronts(world, &node)
        });
        open.retain(|front, _| wanted.contains(front));
        for front in wanted {
            if open.contains_key(&front) {
                continue;
            }
            match listen(front.0) {
                Ok(listener) => {
                    let task = tokio::spawn(serve(listener, node.clone(), front.1.clone(), front.2.clone()));
                    open.insert(front, Listening(task.abort_handle()));
                }
                Err(error) => {
                    if refused.insert(front.0) {
                        tracing::warn!(
                            service = %front.1, address = %front.0, %error,
                            "a Service's address can't be listened on; ports below 1024 need root, or the kernel \
                             setting net.ipv4.ip_unprivileged_port_start"
                        );
                    }
                }
            }
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What is to be listened on: TCP ports of Services with an address of ours and a ready pod.
fn fronts(world: &World, node: &Context) -> BTreeSet<Front> {
    let mut found = BTreeSet::new();
    for (key, service) in world.services.iter() {
        let Some(spec) = &service.spec else { continue };
        let address = cluster_address(service).filter(|address| node.network.contains(*address));
        for port in spec.ports.iter().flatten() {
            let name = port.name.clone().unwrap_or_default();
            let is_tcp = port.protocol.as_deref().unwrap_or("TCP") == "TCP";
            if !is_tcp || backends(world, key, &name).is_empty() {
                continue;
            }
            let mut add = |address: Option<Ipv4Addr>, port: Option<i32>| {
                let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                if let (Some(address), Some(port)) = (address, port) {
                    found.insert((SocketAddrV4::new(address, port), key.clone(), name.clone()));
                }
            };
            add(address, Some(port.port));
            add(Some(node.network.node_address()), port.node_port);
        }
    }
    found
}

/// Ready pods behind one port of a Service.
fn backends(world: &World, key: &Key, port: &str) -> Vec<SocketAddrV4> {
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
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let (node, service, port, turn) = (node.clone(), service.clone(), port.clone(), turn.clone());
        tokio::spawn(async move {
            let stop = node.stop.clone();
            let carried = carry(client, &node, &service, &port, &turn);
            tokio::select! {
                () = stop.cancelled() => {}
                result = carried => if let Err(error) = result {
                    tracing::trace!(%service, %error, "a connection through a Service ended");
                }
            }
        });
    }
}

async fn carry(
    mut client: TcpStream,
    node: &Context,
    service: &Key,
    port: &str,
    turn: &AtomicUsize,
) -> io::Result<()> {
    let backends = node.store.read(|world| backends(world, service, port));
    let first = turn.fetch_add(1, Ordering::Relaxed);
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for step in 0..backends.len() {
        match TcpStream::connect(backends[first.wrapping_add(step) % backends.len()]).await {
            Ok(mut backend) => {
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
