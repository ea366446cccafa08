//! No request is lost while pods come and go under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::{Method, StatusCode};
use windtunnel_gateway::{Gateway, GatewayHandle};

use crate::pods::{HOST, Pod, client, eventually, gateway, in_time, post, table, text};

/// Clients that ask without a pause, each with its own connections.
struct Load {
    running: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, clients: usize, method: &Method) -> Self {
        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let at = gateway.address();
        let clients = (0..clients)
            .map(|number| {
                let (running, answered) = (Arc::clone(&running), Arc::clone(&answered));
                let method = method.clone();
                tokio::spawn(async move {
                    let client = client();
                    let mut sent = 0_u64;
                    while running.load(Ordering::SeqCst) {
                        let body = format!("client {number} request {sent}");
                        let mut request = post(at, HOST, body.clone());
                        *request.method_mut() = method.clone();
                        let response = in_time("answer", client.request(request)).await.expect(&body);
                        let status = response.status();
                        let text = text(response).await;
                        assert_eq!(status, StatusCode::OK, "{body}: {text}");
                        assert_eq!(text, body);
                        sent += 1;
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        Self { running, answered, clients }
    }

    /// Waits for so many more answers.
    async fn more(&self, answers: u64) {
        let until = self.answered.load(Ordering::SeqCst) + answers;
        eventually("answers", || {
            assert!(!self.clients.iter().any(|client| client.is_finished()), "a client failed");
            self.answered.load(Ordering::SeqCst) >= until
        })
        .await;
    }

    async fn stop(self) -> u64 {
        self.running.store(false, Ordering::SeqCst);
        for client in self.clients {
            in_time("client ends", client).await.expect("no request failed");
        }
        self.answered.load(Ordering::SeqCst)
    }
}

/// Every answer that is lost at scale-down is a failed request of somebody's customer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_come_and_go_under_load_without_one_lost_request() {
    for limit in [0, 1, 5] {
        let (gateway, handle) = gateway(table(limit, &[])).await;
        let load = Load::start(&gateway, 16, &Method::POST);
        come_and_go(&handle, &load, limit).await;
        let answered = load.stop().await;
        assert!(answered > 300, "{answered} answers");
        gateway.shutdown().await;
    }
}

async fn come_and_go(handle: &GatewayHandle, load: &Load, limit: u32) {
    let apply = |pods: &[Pod]| {
        let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
        handle.apply(table(limit, &addresses));
    };
    let mut pods = vec![Pod::start("first").await];
    apply(&pods);
    for round in 0..4 {
        load.more(20).await;
        // Up.
        for name in ["second", "third"] {
            pods.push(Pod::start(name).await);
            apply(&pods);
            load.more(20).await;
        }
        // Down: the table hears of it first.
        let leaving = pods.remove(0);
        apply(&pods);
        leaving.stop().await;
        load.more(20).await;
        // Down: the pod hears of it first and goes on serving until it is left alone.
        let leaving = tokio::spawn(pods.remove(0).stop());
        load.more(20).await;
        apply(&pods);
        in_time("pod ends", leaving).await.unwrap();
        // To zero while requests arrive, in either order.
        let last = pods.remove(0);
        if round % 2 == 0 {
            apply(&pods);
            last.stop().await;
        } else {
            let leaving = tokio::spawn(last.stop());
            load.more(20).await;
            apply(&pods);
            in_time("pod ends", leaving).await.unwrap();
        }
        // And back.
        pods.push(Pod::start("back").await);
        apply(&pods);
    }
    load.more(50).await;
}

/// Pods that vanish without a word while the table still lists them: requests that may be repeated are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vanishing_pods_cost_no_idempotent_request() {
    for limit in [0, 2] {
        let (gateway, handle) = gateway(table(limit, &[])).await;
        let load = Load::start(&gateway, 8, &Method::PUT);
        let mut pods = vec![Pod::start("first").await, Pod::start("second").await];
        for _ in 0..10 {
            handle.apply(table(limit, &pods.iter().map(|pod| pod.address).collect::<Vec<_>>()));
            load.more(30).await;
            pods.remove(0).vanish().await;
            load.more(30).await;
            pods.push(Pod::start("next").await);
        }
        load.stop().await;
        gateway.shutdown().await;
    }
}
