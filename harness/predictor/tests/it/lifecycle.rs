//! How a server starts and ends.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use http::StatusCode;
use windtunnel_predictor::{Server, ServerOptions, Shutdown};

use crate::serving::{Running, in_time, single};

/// Set for the child process of [`a_server_ends_with_its_parent`].
const CHILD: &str = "WINDTUNNEL_TEST_CHILD";

/// A pod that is told to stop is still in somebody's table for a moment: what arrives then must be answered.
#[tokio::test]
async fn requests_after_the_signal_are_answered_until_nobody_asks() {
    let quiet = Duration::from_millis(500);
    let server = Running::start(ServerOptions { quiet, ..single("digits", "sum.onnx") }).await;
    server.trigger.drain();
    for _ in 0..5 {
        tokio::time::sleep(quiet / 10).await;
        let answer = server.post("/v1/models/digits:predict", r#"{"instances":[[1,2,3,4]]}"#).await;
        assert_eq!(answer.status, StatusCode::OK);
        // New connections too.
        let address = server.address;
        let text = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let text = in_time("answer", text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
    in_time("the server ends by itself", server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
}

/// A client that never stops asking must not keep a pod alive for ever.
#[tokio::test]
async fn the_grace_time_ends_the_server() {
    let grace = Duration::from_millis(300);
    let server = Running::start(ServerOptions { grace, ..single("digits", "sum.onnx") }).await;
    server.trigger.drain();
    in_time("the server ends under load", async {
        while !server.task.is_finished() {
            let _ = TcpStream::connect(server.address);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.task.await.unwrap().unwrap();
}

/// What a node sends is a signal.
#[tokio::test]
async fn a_termination_signal_drains() {
    let server =
        Server::bind(ServerOptions { quiet: Duration::from_millis(50), ..single("digits", "sum.onnx") })
            .await
            .unwrap();
    let task = tokio::spawn(server.run(Shutdown::on_termination().unwrap()));
    let killed = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(killed.success());
    in_time("the server ends", task).await.unwrap().unwrap();
}

/// Nothing may survive the death of the program that started it, even by SIGKILL.
#[tokio::test]
async fn a_server_ends_with_its_parent() {
    if std::env::var_os(CHILD).is_some() {
        let server = Server::bind(single("digits", "sum.onnx")).await.unwrap();
        println!("\nlistening on {}", server.address());
        server.run(Shutdown::on_termination().unwrap()).await.unwrap();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_server_ends_with_its_parent", "--nocapture"])
        .env(CHILD, "1")
        .env("WINDTUNNEL_EXIT_WITH_PARENT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Held until the end: the child also writes when it is done.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| Some(line.unwrap().strip_prefix("listening on ")?.to_owned()))
        .expect("the child says where it listens");
    assert!(TcpStream::connect(&address).is_ok());
    // What the system does when the parent dies.
    drop(child.stdin.take());
    let status = in_time("the child ends", tokio::task::spawn_blocking(move || child.wait())).await;
    assert!(status.unwrap().unwrap().success());
    assert!(TcpStream::connect(&address).is_err());
}

/// Until its model is loaded a pod is alive but not ready: traffic must not come early.
#[tokio::test]
async fn readiness_follows_the_model() {
    let server = Running::start(single("digits", "sum.onnx")).await;
    assert_eq!(server.get("/v2/models/digits/ready").await.status, StatusCode::OK);
    assert_eq!(
        server.get("/v2/models/sum/ready").await.status,
        StatusCode::NOT_FOUND,
        "the file's name is not the model's"
    );
    server.stop().await;
}
