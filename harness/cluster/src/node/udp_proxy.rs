//! Datagrams to a Service: those of one client go to one ready pod, and what that sends goes back, until both are quiet.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::net::UdpSocket;

use super::Context;
use crate::world::Key;

/// How long a client that is quiet keeps its pod: as the kernel's table of connections does for streams of datagrams.
const QUIET: Duration = Duration::from_secs(120);
/// Clients of one port at a time.
const CLIENTS: usize = 4096;
/// Largest datagram.
const LARGEST: usize = 65_536;
/// Pause after a datagram that could not be received.
const RETRY: Duration = Duration::from_millis(50);

type Sessions = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

/// Carries datagrams until it is dropped.
pub(super) async fn serve(front: UdpSocket, node: Arc<Context>, service: Key, port: String) {
    let front = Arc::new(front);
    let sessions = Sessions::default();
    let mut turn = 0_usize;
    let mut buffer = vec![0; LARGEST];
    // Ends all of them with this one.
    let mut answers = tokio::task::JoinSet::new();
    loop {
        while answers.try_join_next().is_some() {}
        let Ok((length, client)) = front.recv_from(&mut buffer).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let present = lock(&sessions).get(&client).cloned();
        let backends = node.store.read(|world| super::service_proxy::backends(world, &service, &port));
        // A pod that has gone is not sent to any more.
        let present = present.filter(|socket| {
            socket
                .peer_addr()
                .is_ok_and(|peer| backends.iter().any(|backend| SocketAddr::V4(*backend) == peer))
        });
        let socket = if let Some(socket) = present {
            socket
        } else {
            let Some(backend) = backends.get(turn % backends.len().max(1)) else { continue };
            turn = turn.wrapping_add(1);
            let Ok(socket) = open(*backend).await else { continue };
            let socket = Arc::new(socket);
            {
                let mut sessions = lock(&sessions);
                if sessions.len() >= CLIENTS {
                    continue;
                }
                sessions.insert(client, socket.clone());
            }
            answers.spawn(answer(front.clone(), socket.clone(), client, sessions.clone()));
            socket
        };
        // Datagrams may be lost.
        let _ = socket.send(&buffer[..length]).await;
    }
}

async fn open(backend: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(backend).await?;
    Ok(socket)
}

/// Sends back what the pod sends, until it is quiet or the client has another one.
async fn answer(front: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, sessions: Sessions) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match tokio::time::timeout(QUIET, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let _ = front.send_to(&buffer[..length], client).await;
            }
            // Nobody listens at the moment; the client may try again.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(Err(_)) | Err(_) => break,
        }
        if !is_present(&sessions, client, &socket) {
            return;
        }
    }
    let mut sessions = lock(&sessions);
    if sessions.get(&client).is_some_and(|present| Arc::ptr_eq(present, &socket)) {
        sessions.remove(&client);
    }
}

fn is_present(sessions: &Sessions, client: SocketAddr, socket: &Arc<UdpSocket>) -> bool {
    lock(sessions).get(&client).is_some_and(|present| Arc::ptr_eq(present, socket))
}

fn lock(sessions: &Sessions) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}
