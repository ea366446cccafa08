//! Measures the graph router: requests a second through a sequence of two steps, beside the same two calls made directly,
//! taken in turns. Prints one JSON object. Usage: graph [REQUESTS [CONNECTIONS]]

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::json;
use tokio::net::TcpListener;
use windtunnel_gateway::graph::{Graph, GraphRouter, Options};

const ROUNDS: usize = 5;
const INPUT: &[u8] = br#"{"instances":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}"#;
const ANSWER: &[u8] = br#"{"predictions":[1,1]}"#;

type Requests = Client<HttpConnector, Full<Bytes>>;

/// A model server that answers at once.
async fn model() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: Request<Incoming>| async {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn post(client: &Requests, address: SocketAddr, body: Bytes) -> anyhow::Result<Bytes> {
    let request = Request::post(format!("http://{address}/")).body(Full::new(body))?;
    let response = client.request(request).await?;
    anyhow::ensure!(response.status().is_success(), "{}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}

/// The time of `requests` chains of calls over as many connections as clients.
async fn timed(path: Vec<SocketAddr>, requests: usize, clients: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                let client: Requests = Client::builder(TokioExecutor::new()).build(connector);
                for _ in 0..requests / clients {
                    let mut body = Bytes::from_static(INPUT);
                    for address in &path {
                        body = post(&client, *address, body).await?;
                    }
                    anyhow::ensure!(body == ANSWER, "{body:?}");
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(start.elapsed())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let requests = arguments.next().transpose()?.unwrap_or(20_000);
    let clients = arguments.next().transpose()?.unwrap_or(8).max(1);
    let (first, second) = (model().await?, model().await?);
    let graph = json!({"nodes": {"root": {"routerType": "Sequence", "steps": [
        {"name": "first", "serviceUrl": format!("http://{first}/")},
        {"name": "second", "serviceUrl": format!("http://{second}/"), "data": "$response"}]}}});
    let graph = Graph::from_json(&graph.to_string())?;
    let router = GraphRouter::bind(SocketAddr::from(([127, 0, 0, 1], 0)), graph, Options::default()).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let graph = timed(vec![router.address()], requests, clients).await?.as_secs_f64();
        let direct = timed(vec![first, second], requests, clients).await?.as_secs_f64();
        rounds.push((direct / graph, graph, direct));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, graph, direct) = rounds[ROUNDS / 2];
    let made = (requests / clients * clients) as f64;
    let result = json!({
        "requests": made, "connections": clients, "graph_per_s": made / graph, "direct_per_s": made / direct,
        "ratio": ratio, "ratio_lowest": rounds[0].0, "ratio_highest": rounds[ROUNDS - 1].0});
    println!("{result}");
    Ok(())
}
