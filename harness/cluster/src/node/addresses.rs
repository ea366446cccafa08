//! Pod addresses and ports on the loopback network.
//!
//! Linux gives the whole of 127.0.0.0/8 to the loopback device, so every pod can have an address of its own. A
//! cluster takes one /16 of it, 127.64.0.0/16 to 127.250.0.0/16, and holds a UDP socket in it as a sign for other
//! clusters on the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
};

/// Second byte of the first and last network.
const FIRST: u8 = 64;
const LAST: u8 = 250;
/// First of the addresses that Services have.
const FIRST_SERVICE: u16 = 0x8000;
/// Port of the socket that marks a network as taken; the port that kubelets use.
const CLAIM_PORT: u16 = 10_250;

/// The pod addresses of one cluster.
#[derive(Debug)]
pub(crate) struct PodNetwork {
    network: u8,
    /// Held for as long as the network is ours.
    _claim: UdpSocket,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    last: u16,
    hosts: BTreeSet<u16>,
}

impl PodNetwork {
    /// Takes a network that no other cluster has: `earlier` if it is free, the number of one that this cluster had. Else it
    /// starts looking at one that depends on the process, so that clusters that start together seldom meet.
    pub(crate) fn claim(earlier: Option<u8>) -> io::Result<Self> {
        let count = u32::from(LAST - FIRST) + 1;
        let mut refusal = io::Error::other("none tried");
        let others = (0..count).map(|step| {
            let offset = (std::process::id().wrapping_mul(31) + step) % count;
            FIRST + u8::try_from(offset).unwrap_or(0)
        });
        for network in earlier.filter(|network| (FIRST..=LAST).contains(network)).into_iter().chain(others) {
            match UdpSocket::bind((Ipv4Addr::new(127, network, 0, 1), CLAIM_PORT)) {
                Ok(claim) => {
                    let used = Mutex::new(Used { last: 1, hosts: BTreeSet::new() });
                    return Ok(Self { network, _claim: claim, used });
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// The network's number, by which it can be claimed again.
    pub(crate) fn number(&self) -> u8 {
        self.network
    }

    /// Address of the API server's Service.
    pub(crate) fn api_service(&self) -> Ipv4Addr {
        self.address(FIRST_SERVICE + 1)
    }

    /// Address of the node.
    pub(crate) fn node_address(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// Whether an address is of this network.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        let [first, second, ..] = address.octets();
        (first, second) == (127, self.network)
    }

    /// The half of the network that Services have, as address and length of the prefix.
    pub(crate) fn services(&self) -> (Ipv4Addr, u8) {
        (self.address(FIRST_SERVICE), 17)
    }

    /// An address that no pod has; the one that has been free longest. `None` when all 32,000 are taken.
    pub(crate) fn allocate(&self) -> Option<Ipv4Addr> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..=u16::MAX {
            used.last = used.last.wrapping_add(1);
            let last = used.last;
            // Not the network's and the node's address.
            if last > 1 && last < FIRST_SERVICE && used.hosts.insert(last) {
                return Some(self.address(last));
            }
        }
        None
    }

    /// Gives an address back.
    pub(crate) fn release(&self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.hosts.remove(&u16::from_be_bytes([high, low]));
    }

    fn address(&self, host: u16) -> Ipv4Addr {
        let [high, low] = host.to_be_bytes();
        Ipv4Addr::new(127, self.network, high, low)
    }
}

/// Those of the container ports that can't be bound on the pod's address (somebody listens on all addresses, or the
/// port needs a privilege), each with a port that can.
///
/// # Errors
/// If the system has no port at all on that address.
pub(crate) fn replaced_ports(address: Ipv4Addr, ports: &[u16]) -> io::Result<BTreeMap<u16, u16>> {
    let mut replaced = BTreeMap::new();
    // Held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    for port in ports {
        if let Ok(listener) = TcpListener::bind((address, *port)) {
            held.push(listener);
        } else if !replaced.contains_key(port) && !ports_hold(&held, *port) {
            let listener = TcpListener::bind((address, 0))?;
            replaced.insert(*port, listener.local_addr()?.port());
            held.push(listener);
        }
    }
    Ok(replaced)
}

/// Whether the port could be bound before: containers of a pod may name it twice.
fn ports_hold(held: &[TcpListener], port: u16) -> bool {
    held.iter().any(|listener| listener.local_addr().is_ok_and(|address| address.port() == port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails two pods or two clusters get the same address and answer for each other.
    #[test]
    fn addresses_and_networks_are_given_once() {
        let (one, two) =
            (PodNetwork::claim(None).expect("a network"), PodNetwork::claim(None).expect("another"));
        assert_ne!(one.node_address(), two.node_address());
        let addresses: BTreeSet<_> = (0..1000).filter_map(|_| one.allocate()).collect();
        assert_eq!(addresses.len(), 1000);
        assert!(!addresses.contains(&one.node_address()));
        let first = *addresses.first().expect("an address");
        one.release(first);
        assert_ne!(one.allocate(), Some(first), "an address rests before it is used again");
    }

    /// If this fails the addresses of Services that a restarted cluster has stored lead nowhere.
    #[test]
    fn a_network_is_had_again() {
        let number = PodNetwork::claim(None).expect("a network").number();
        // Other tests of this machine may take it in between, so several are tried.
        let again = (0..50).any(|_| {
            let first = PodNetwork::claim(Some(number)).expect("a network").number();
            PodNetwork::claim(Some(first)).expect("the network").number() == first
        });
        assert!(again);
        let held = PodNetwork::claim(None).expect("a network");
        assert_ne!(PodNetwork::claim(Some(held.number())).expect("another").number(), held.number());
        assert!(PodNetwork::claim(Some(1)).expect("one of ours").number() >= FIRST);
    }

    /// If this fails a pod's server can't start when a developer runs something on the same port.
    #[test]
    fn a_port_that_is_taken_on_all_addresses_is_replaced() {
        let network = PodNetwork::claim(None).expect("a network");
        let address = network.allocate().expect("an address");
        let everywhere = TcpListener::bind("0.0.0.0:0").expect("a listener");
        let taken = everywhere.local_addr().expect("its address").port();
        let free = TcpListener::bind((address, 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let replaced = replaced_ports(address, &[taken, free, free, taken]).expect("ports");
        assert_eq!(replaced.keys().collect::<Vec<_>>(), [&taken]);
        TcpListener::bind((address, replaced[&taken])).expect("the replacement can be bound");
    }
}
