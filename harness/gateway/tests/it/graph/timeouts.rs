//! Time limits: of the server towards its clients, and of calls.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Rig, one_node};
use crate::pods::{client, eventually, in_time};

fn with_timeouts(step: &str, timeouts: &Value) -> Value {
    let mut graph =
        one_node("Sequence", json!([{"serviceUrl": step}, {"serviceUrl": step, "data": "$response"}]));
    graph["routerTimeouts"] = timeouts.clone();
    graph
}

/// TestServerTimeout. A client of a graph that is too slow sees its connection closed, and nothing goes on behind it.
#[tokio::test]
async fn an_answer_in_time_or_none() {
    for timeouts in
        [json!({}), json!({"serverRead": 2, "serverWrite": 2, "serverIdle": 2}), json!({"serverWrite": 0})]
    {
        let rig = Rig::start(&with_timeouts("{late}", &timeouts)).await;
        assert_eq!(rig.post("").await.status, 200, "{timeouts}");
    }
    let rig = Rig::start(&with_timeouts("{never}", &json!({"serverWrite": 1}))).await;
    let began = Instant::now();
    let refused = in_time("end", client().request(rig.request("{}"))).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    eventually("the call ends", || rig.steps.waiting() == 0).await;
}

/// If this fails a step that hangs holds its clients for ever.
#[tokio::test]
async fn a_call_ends_with_the_service_client_timeout() {
    let rig = Rig::start(&with_timeouts("{never}", &json!({"serviceClient": 1}))).await;
    let answered = rig.post("{}").await;
    assert_eq!(answered.status, 500);
    let expected = format!(
        "Post \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        rig.steps.url("never")
    );
    assert_eq!(answered.json()["cause"], expected.as_str());
    eventually("the call ends", || rig.steps.waiting() == 0).await;
}

/// If this fails clients that dribble, or never come back, use up the router's connections.
#[tokio::test]
async fn slow_and_idle_clients_are_disconnected() {
    let rig = Rig::start(&with_timeouts("{ok}", &json!({"serverRead": 1, "serverIdle": 1}))).await;
    for begun in ["", "POST / HTTP/1.1\r\nhost:", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"]
    {
        let mut stream = TcpStream::connect(rig.router.address()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time("disconnected", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{begun:?}: {}", String::from_utf8_lossy(&answer));
    }
    // One that was served is kept for the idle time, and only that.
    let mut stream = TcpStream::connect(rig.router.address()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    let mut answer = Vec::new();
    in_time("disconnected", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}
