//! Measures the API server with a plain HTTP/1.1 client over TLS on loopback, and prints one JSON object.
//!
//! The server is the example `serve` in a process of its own, found beside this program. Processor time is the server's
//! and the client's apart, because wall time on a busy machine says little.
//!
//! ```text
//! cargo run --release -p windtunnel-apiserver --example bench -- [DATA_DIR]
//! ```

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Requests of each kind whose latency is measured, one after the other.
const REQUESTS: usize = 3_000;
/// Connections that create at once, and what they create together.
const CONNECTIONS: usize = 8;
const OBJECTS: usize = 10_000;
/// Lists of all those objects.
const LISTS: usize = 15;
/// Writes whose event is waited for.
const EVENTS: usize = 1_000;

/// The server under test, killed when it is dropped.
struct Served {
    child: Child,
    address: String,
    ready: Duration,
    tls: TlsConnector,
}

impl Served {
    fn start(data_folder: Option<String>) -> Result<Self, Failure> {
        let beside = std::env::current_exe()?.with_file_name("serve");
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let start = Instant::now();
        let mut child = Command::new(beside)
            .arg("0")
            .arg(&kubeconfig)
            .args(data_folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let url = BufReader::new(output).lines().next().ok_or("the server did not start")??;
        let ready = start.elapsed();
        let config: Value = serde_saphyr::from_str(&fs::read_to_string(&kubeconfig)?)?;
        let decoded = |path: &str| -> Result<Vec<u8>, Failure> {
            let text = config.pointer(path).and_then(Value::as_str).ok_or("a strange kubeconfig")?;
            Ok(STANDARD.decode(text)?)
        };
        let authority = decoded("/clusters/0/cluster/certificate-authority-data")?;
        let certificate = decoded("/users/0/user/client-certificate-data")?;
        let key = decoded("/users/0/user/client-key-data")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority)?)?;
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(&certificate)?],
                PrivateKeyDer::from_pem_slice(&key)?,
            )?;
        let address = url.trim_start_matches("https://").to_owned();
        Ok(Self { child, address, ready, tls: TlsConnector::from(Arc::new(tls)) })
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    /// Processor seconds that the server has used.
    fn cpu_s(&self) -> Result<f64, Failure> {
        cpu_s(&format!("/proc/{}/stat", self.child.id()))
    }

    fn resident_mib(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor seconds of a process, from its `stat`: user and system ticks of 10 ms.
fn cpu_s(path: &str) -> Result<f64, Failure> {
    let stat = fs::read_to_string(path)?;
    let after_name = stat.rsplit_once(')').ok_or("a strange stat")?.1;
    let ticks =
        after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("user-agent", "bench/1")
            .header("content-type", kind)
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
        let response = self.send(method, path, body).await?;
        let code = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if !code.is_success() {
            return Err(format!("{method} {path}: {code}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        Ok(bytes)
    }
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"key": "value", "text": "a few words, as settings have them"}})
}

/// Median and 99th percentile in milliseconds.
fn quantiles(mut walls: Vec<Duration>) -> Value {
    walls.sort_unstable();
    let at = |share: f64| walls[((walls.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    json!({"n": walls.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "min_ms": at(0.0)})
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let served = Arc::new(Served::start(std::env::args().nth(1))?);
    let mut results = BTreeMap::new();
    results.insert("ready_ms", json!(served.ready.as_secs_f64() * 1e3));
    results.insert("resident_empty_mib", json!(served.resident_mib()?));
    let mut connection = served.connect().await?;
    let maps = "/api/v1/namespaces/default/configmaps";
    for _ in 0..200 {
        connection.call("GET", "/api/v1/namespaces/default", None).await?;
    }
    for (name, method) in [("create", "POST"), ("get", "GET"), ("patch", "PATCH")] {
        let mut walls = Vec::new();
        let (server_before, client_before) = (served.cpu_s()?, cpu_s("/proc/self/stat")?);
        for number in 0..REQUESTS {
            let path = if method == "POST" { maps.to_owned() } else { format!("{maps}/m{number}") };
            let body = match method {
                "POST" => Some(map(&format!("m{number}"))),
                "PATCH" => Some(json!({"data": {"key": number.to_string()}})),
                _ => None,
            };
            let start = Instant::now();
            connection.call(method, &path, body.as_ref()).await?;
            walls.push(start.elapsed());
        }
        let mut result = quantiles(walls);
        result["server_cpu_ms"] = json!((served.cpu_s()? - server_before) * 1e3 / REQUESTS as f64);
        result["client_cpu_ms"] = json!((cpu_s("/proc/self/stat")? - client_before) * 1e3 / REQUESTS as f64);
        results.insert(name, result);
    }
    results.insert("creates", creates(&served, &mut connection).await?);
    results.insert("list", lists(&served, &mut connection).await?);
    results.insert("watch", watch(&served, &mut connection).await?);
    results.insert("resident_full_mib", json!(served.resident_mib()?));
    println!("{}", json!(results));
    Ok(())
}

/// Creates over several connections at once.
async fn creates(served: &Arc<Served>, connection: &mut Connection) -> Result<Value, Failure> {
    connection.call("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": "many"}}))).await?;
    let (start, before) = (Instant::now(), served.cpu_s()?);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        let served = Arc::clone(served);
        tasks.spawn(async move {
            let mut connection = served.connect().await?;
            for object in (number..OBJECTS).step_by(CONNECTIONS) {
                let body = map(&format!("m{object}"));
                connection.call("POST", "/api/v1/namespaces/many/configmaps", Some(&body)).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let wall_s = start.elapsed().as_secs_f64();
    Ok(json!({"per_s": OBJECTS as f64 / wall_s, "wall_s": wall_s, "server_cpu_s": served.cpu_s()? - before}))
}

async fn lists(served: &Served, connection: &mut Connection) -> Result<Value, Failure> {
    let (mut walls, mut bytes, before) = (Vec::new(), 0, served.cpu_s()?);
    for _ in 0..LISTS {
        let start = Instant::now();
        bytes = connection.call("GET", "/api/v1/namespaces/many/configmaps", None).await?.len();
        walls.push(start.elapsed());
    }
    let mut result = quantiles(walls);
    result["bytes"] = json!(bytes);
    result["server_cpu_ms"] = json!((served.cpu_s()? - before) * 1e3 / LISTS as f64);
    Ok(result)
}

/// From the answer to a write, and from its sending, to the event on another connection.
async fn watch(served: &Served, connection: &mut Connection) -> Result<Value, Failure> {
    let mut watching = served.connect().await?;
    let path =
        "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name=m0&resourceVersion=0";
    let mut events = watching.send("GET", path, None).await?.into_body();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(_)) = events.frame().await {
            let _ = tell.send(Instant::now());
        }
    });
    told.recv().await.ok_or("no first event")?;
    let (mut after_answer, mut after_sending) = (Vec::new(), Vec::new());
    for number in 0..EVENTS {
        let body = json!({"data": {"event": number.to_string()}});
        let sent = Instant::now();
        connection.call("PATCH", "/api/v1/namespaces/default/configmaps/m0", Some(&body)).await?;
        let answered = Instant::now();
        let heard = told.recv().await.ok_or("the watch has ended")?;
        after_answer.push(heard.saturating_duration_since(answered));
        after_sending.push(heard - sent);
    }
    Ok(json!({"after_answer": quantiles(after_answer), "after_sending": quantiles(after_sending)}))
}
