//! Debian's RabbitMQ and Prometheus, librdkafka's Kafka and a scaler on gRPC's own server, each in a folder of its own, on
//! free ports of this machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use windtunnel_testkit::{Background, debian, until};

/// A cold start of either on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A broker with its management API. It ends when it is dropped.
pub(crate) struct RabbitMq {
    // In this order they end.
    _server: Background,
    _names: Background,
    _folder: tempfile::TempDir,
    /// Port of the management API; user and password are `guest`.
    pub(crate) port: u16,
    /// Port of AMQP.
    pub(crate) amqp: u16,
}

impl RabbitMq {
    /// Starts it; `None` where it is not there.
    pub(crate) fn start() -> Option<Self> {
        let root = debian()?;
        let erlang = root.join("usr/lib/erlang");
        let scripts = only(&root.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-")?.join("sbin");
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let [port, amqp, distribution, names_port] = ports();
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n"
        );
        fs::write(at("rabbitmq.conf"), settings).expect("settings");
        fs::write(at("plugins"), "[rabbitmq_management].\n").expect("plugins");
        // Erlang's name server would stay behind if the broker started it.
        let names = only(&erlang, "erts-")?.join("bin/epmd");
        let names = Background::start(
            Command::new(names)
                .args(["-address", "127.0.0.1", "-port", &names_port.to_string()])
                .stdout(Stdio::null()),
        )
        .expect("epmd");
        // Before the broker looks for it.
        let is_up = || TcpStream::connect(("127.0.0.1", names_port)).is_ok();
        until("epmd", START_WITHIN, is_up, |is_up| *is_up);
        let path = std::env::var("PATH").unwrap_or_default();
        // As under systemd the shell is replaced by the broker, so that the child is the broker itself.
        let server = Command::new(scripts.join("rabbitmq-server"))
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env("PATH", format!("{}:{path}", erlang.join("bin").display()))
            .env("HOME", folder.path())
            .env("ERL_EPMD_PORT", names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_BASE", folder.path())
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", at("none"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_NODENAME", format!("t{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .stdout(fs::File::create(at("output")).expect("a file"))
            .stderr(Stdio::null())
            .spawn_in_background();
        let broker = Self { _server: server, _names: names, _folder: folder, port, amqp };
        let output = broker._folder.path().join("output");
        until(
            "RabbitMQ's management API",
            START_WITHIN,
            || (http(port, "GET", "/api/overview", ""), fs::read_to_string(&output).unwrap_or_default()),
            |(answer, _)| answer.0 == 200,
        );
        Some(broker)
    }

    /// Declares a queue.
    pub(crate) fn declare(&self, queue: &str) {
        let (status, text) =
            http(self.port, "PUT", &format!("/api/queues/%2F/{queue}"), r#"{"durable":true}"#);
        assert_eq!(status, 201, "{text}");
    }

    /// Puts messages into a queue.
    pub(crate) fn publish(&self, queue: &str, count: usize) {
        let body = format!(
            r#"{{"properties":{{}},"routing_key":"{queue}","payload":"m","payload_encoding":"string"}}"#
        );
        for _ in 0..count {
            let (status, text) = http(self.port, "POST", "/api/exchanges/%2F/amq.default/publish", &body);
            assert!(status == 200 && text.contains("true"), "{status} {text}");
        }
    }

    /// Takes all messages away.
    pub(crate) fn purge(&self, queue: &str) {
        let (status, text) = http(self.port, "DELETE", &format!("/api/queues/%2F/{queue}/contents"), "");
        assert_eq!(status, 204, "{text}");
    }
}

/// A Prometheus that scrapes itself. It ends when it is dropped.
pub(crate) struct Prometheus {
    _server: Background,
    _folder: tempfile::TempDir,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Prometheus {
    /// Starts it; `None` where it is not there.
    pub(crate) fn start() -> Option<Self> {
        let program = debian()?.join("usr/bin/prometheus");
        let folder = tempfile::tempdir().expect("a folder");
        let [port] = ports();
        let settings = format!(
            "global: {{scrape_interval: 200ms}}\nscrape_configs:\n  - job_name: self\n    static_configs: [{{targets: \
             ['127.0.0.1:{port}']}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), settings).expect("settings");
        let server = Command::new(program)
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("output")).expect("a file"))
            .spawn_in_background();
        let output = folder.path().join("output");
        let up = "/api/v1/query?query=sum(up)";
        until(
            "a first scrape of Prometheus",
            START_WITHIN,
            || (http(port, "GET", up, ""), fs::read_to_string(&output).unwrap_or_default()),
            |(answer, _)| answer.1.contains("\"1\"]"),
        );
        Some(Self { _server: server, _folder: folder, port })
    }
}

/// A program that answers one line of text with another. It ends when it is dropped.
struct Program {
    background: Background,
    answers: mpsc::Receiver<String>,
    name: &'static str,
}

impl Program {
    /// Starts a Python program of `tests/scripts`, whose first line says that it is up; `None` where the wheel is not there.
    fn start(name: &'static str, wheel: &str, arguments: &[&Path]) -> Option<(Self, String)> {
        let tools = windtunnel_testkit::tools().filter(|tools| tools.join(wheel).is_dir())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
        let mut background = Command::new("python3")
            .arg(script)
            .args(arguments)
            .env("PYTHONPATH", tools)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn_in_background();
        let output = BufReader::new(background.child().stdout.take().expect("its output"));
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let program = Self { background, answers, name };
        let first = program.answer("its start");
        Some((program, first))
    }

    fn ask(&mut self, line: &str) -> String {
        let input = self.background.child().stdin.as_mut().expect("its input");
        writeln!(input, "{line}").expect("a line");
        self.answer(line)
    }

    fn tell(&mut self, line: &str) {
        assert_eq!(self.ask(line), "done", "{line}");
    }

    fn answer(&self, to: &str) -> String {
        let answer = self.answers.recv_timeout(START_WITHIN);
        answer.unwrap_or_else(|error| panic!("{} does not answer to {to:?}: {error}", self.name))
    }
}

/// A Kafka cluster of two brokers. It ends when it is dropped.
pub(crate) struct Kafka {
    program: Program,
    /// `HOST:PORT,HOST:PORT`.
    pub(crate) servers: String,
}

impl Kafka {
    /// Starts it; `None` where librdkafka is not there.
    pub(crate) fn start() -> Option<Self> {
        let (program, servers) = Program::start("kafka_broker.py", "confluent_kafka", &[])?;
        Some(Self { program, servers })
    }

    /// Puts messages into a partition of a topic; topics have four.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, count: usize) {
        self.program.tell(&format!("produce {topic} {partition} {count}"));
    }

    /// Says that a consumer group has read everything before an offset.
    pub(crate) fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.program.tell(&format!("commit {group} {topic} {partition} {offset}"));
    }
}

/// An external scaler of one metric. It ends when it is dropped.
pub(crate) struct Scaler {
    program: Program,
    _folder: tempfile::TempDir,
    /// Where it listens.
    pub(crate) port: u16,
    /// Its certificate, with TLS.
    pub(crate) certificate: String,
}

impl Scaler {
    /// Starts it, with TLS for `localhost` or without; `None` where grpcio is not there.
    pub(crate) fn start(has_tls: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let interface = windtunnel_testkit::workspace(
            "harness/control-plane/src/keda/sources/external/externalscaler.proto",
        );
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
        let mut arguments = vec![interface.as_path(), folder.path()];
        let mut text = String::new();
        if has_tls {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            text = made.cert.pem();
            fs::write(&certificate, &text).expect("a file");
            fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
            arguments.extend([certificate.as_path(), key.as_path()]);
        }
        let (program, port) = Program::start("external_scaler.py", "grpc_tools", &arguments)?;
        let port = port.parse().expect("a port");
        Some(Self { program, _folder: folder, port, certificate: text })
    }

    /// What it answers from now on.
    pub(crate) fn set(&mut self, metric: &str, target: &str, value: &str, is_active: bool) {
        self.program.tell(&format!("set {metric} {target} {value} {}", u8::from(is_active)));
    }

    /// Metadata of the objects that it was asked about, by namespace and name.
    pub(crate) fn seen(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.program.ask("seen")).expect("an object")
    }

    /// Waits until somebody listens to it.
    pub(crate) fn wait_for_a_stream(&mut self) {
        until("a stream", START_WITHIN, || self.program.ask("streams"), |count| count != "0");
    }
}

trait SpawnInBackground {
    fn spawn_in_background(&mut self) -> Background;
}

impl SpawnInBackground for Command {
    fn spawn_in_background(&mut self) -> Background {
        Background::start(self).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// The one thing in a folder whose name begins so.
fn only(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let mut found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found.next().map(|entry| entry.path())
}

/// Ports that are free now.
fn ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// Status and text of one request as `guest`; status 0 where nobody answers.
fn http(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut text = String::new();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        stream.read_to_string(&mut text)
    });
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (asked, status) {
        (Ok(_), Some(status)) => (status, text),
        (asked, _) => (0, format!("{asked:?} {text}")),
    }
}
