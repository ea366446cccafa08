//! `windtunnel serve graph-router` as a container runs it: a process with a flag, variables and signals.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{stderr, windtunnel};

/// A router that ends with the test.
struct Router {
    process: Child,
    address: String,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Router {
    fn start(graph: &str, patterns: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = windtunnel(folder.path())
            .args(["serve", "graph-router", "--port", "0", "--graph-json", graph])
            .env("WINDTUNNEL_BIND", "127.0.0.1")
            .env("PROPAGATE_HEADERS", patterns)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let address = loop {
            let from = told.len();
            assert_ne!(lines.read_line(&mut told).unwrap(), 0, "no address in:\n{told}");
            if let Some(address) = told[from..].trim().strip_prefix("graph router listens on ") {
                break address.to_owned();
            }
        };
        Self { process, address }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ready(&self) -> String {
        self.ask("GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    }
}

/// A step that answers one request with 418 and hands its text over.
fn step() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = Vec::new();
        let mut part = [0; 1024];
        while !text.ends_with(b"{}") {
            let read = stream.read(&mut part).unwrap();
            assert_ne!(read, 0, "the request broke off");
            text.extend_from_slice(&part[..read]);
        }
        stream.write_all(b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 2\r\n\r\n[]").unwrap();
        String::from_utf8(text).unwrap()
    });
    (url, served)
}

/// If this fails the router's image does not work: it must take KServe's flag and variable, and end as Kubernetes expects.
#[test]
fn a_router_serves_its_graph_and_ends_on_sigterm() {
    let (url, served) = step();
    let graph =
        format!(r#"{{"nodes":{{"root":{{"routerType":"Sequence","steps":[{{"serviceUrl":"{url}"}}]}}}}}}"#);
    let mut router = Router::start(&graph, "X-Request-Id,bad[");
    assert!(router.ready().starts_with("HTTP/1.1 200"), "{}", router.ready());
    let answer = router.ask(
        "POST /any HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: 7\r\nx-secret: 8\r\ncontent-length: 2\r\n\r\n{}",
    );
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("\r\n\r\n[]"), "{answer}");
    let asked = served.join().unwrap();
    assert!(asked.contains("x-request-id: 7") && !asked.contains("x-secret"), "{asked}");

    kill_process(Pid::from_child(&router.process), Signal::TERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let code = loop {
        if let Some(status) = router.process.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < deadline, "the router does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(code, Some(0));
}

/// A graph that can't work ends the container at once with the reason, instead of failing every request.
#[test]
fn a_graph_that_cannot_work_is_bad_usage() {
    let folder = tempfile::tempdir().unwrap();
    let circle = r#"{"nodes":{"root":{"routerType":"Ensemble","steps":[{"nodeName":"root"}]}}}"#;
    let output =
        windtunnel(folder.path()).args(["serve", "graph-router", "--graph-json", circle]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("nodes: root -> root is a circle"), "{}", stderr(&output));
}
