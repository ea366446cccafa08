//! Names and addresses of Services, as pods and the host see them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::LogParams;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::flight::{Flight, phase, shell, web, within};

/// A question for a name of the Internet, with number 7, recursion desired.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, kind, 0, 1]);
    bytes
}

/// The cluster's answer by UDP.
async fn ask(flight: &Flight, name: &str, kind: u8) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(flight.cluster.name_server()).await.expect("connected");
    socket.send(&question(name, kind)).await.expect("sent");
    let mut answer = vec![0; 4096];
    let length = within(socket.recv(&mut answer), "the name server").await.expect("an answer");
    answer.truncate(length);
    answer
}

/// The output of a pod that runs a Python script to its end.
async fn output_of(flight: &Flight, name: &str, script: &str) -> String {
    let container = json!({"name": "c", "image": "shell", "command": ["python3", "-c", script]});
    flight.pod(name, json!({"restartPolicy": "Never", "containers": [container]})).await;
    flight.until(name, |pod: &Pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    flight.api::<Pod>().logs(name, &LogParams::default()).await.expect("its log")
}

/// If this fails the host does not find a Service by name, or is told names that are gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_asks_for_names() {
    let flight = Flight::start().await;
    assert_eq!(ask(&flight, "web.default.svc.cluster.local", 1).await[3] & 15, 3, "there is none yet");
    let service: Value =
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "w"}, "ports": [{"port": 80}]}});
    let service: Service = flight.create(service).await;
    let address: std::net::Ipv4Addr =
        service.spec.and_then(|spec| spec.cluster_ip).and_then(|ip| ip.parse().ok()).expect("an address");
    let answer = async {
        loop {
            let answer = ask(&flight, "web.default.svc.cluster.local", 1).await;
            if answer[3] & 15 == 0 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = within(answer, "the name").await;
    assert_eq!(&answer[..8], b"\x00\x07\x85\x80\x00\x01\x00\x01");
    assert_eq!(answer[answer.len() - 4..], address.octets());
    // The same by TCP.
    let mut stream = TcpStream::connect(flight.cluster.name_server()).await.expect("connected");
    let question = question("web.default.svc.cluster.local", 1);
    stream.write_u16(u16::try_from(question.len()).expect("short")).await.expect("sent");
    stream.write_all(&question).await.expect("sent");
    let length = within(stream.read_u16(), "the name server").await.expect("an answer");
    let mut by_tcp = vec![0; usize::from(length)];
    within(stream.read_exact(&mut by_tcp), "the rest").await.expect("an answer");
    assert_eq!(by_tcp, answer);
    flight.cluster.stop().await;
}

/// If this fails programs in pods do not find Services that came after them, or the API server by its usual name.
#[tokio::test(flavor = "multi_thread")]
async fn pods_ask_for_names() {
    let flight = Flight::start().await;
    if !flight.cluster.isolation().has_mounts() || flight.cluster.name_server().port() != 53 {
        eprintln!("skipped: {} at {}", flight.cluster.isolation(), flight.cluster.name_server());
        return flight.cluster.stop().await;
    }
    // The first name is in no hosts file, so the name server has said it.
    let script = "import socket, ssl, urllib.request\n\
        print(socket.gethostbyname('192-0-2-7.default.pod.cluster.local'))\n\
        ca = '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'\n\
        context = ssl.create_default_context(cafile=ca)\n\
        import os\n\
        where = [os.environ['KUBERNETES_SERVICE_HOST'], 'kubernetes.default.svc', 'kubernetes']\n\
        for host in where:\n\
        \x20   try: urllib.request.urlopen(f'https://{host}/api', context=context)\n\
        \x20   except urllib.error.HTTPError as error: print(error.code)\n\
        print(open('/etc/resolv.conf').read().splitlines()[0][:60])";
    let said = output_of(&flight, "client", script).await;
    // Who shows no token is anonymous and may not look around.
    assert_eq!(
        said,
        "192.0.2.7\n403\n403\n403\nsearch default.svc.cluster.local svc.cluster.local cluster.l\n"
    );
    flight.cluster.stop().await;
}

/// If this fails a Service of datagrams does not answer, from the host or from pods.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_carries_datagrams() {
    let flight = Flight::start().await;
    let script = "exec python3 -c 'import os, socket\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.bind((os.environ[\"WINDTUNNEL_BIND\"], 5300))\n\
        while True:\n\
        \x20   data, peer = s.recvfrom(2048)\n\
        \x20   s.sendto(data.upper(), peer)'";
    let mut echo = shell("c", script);
    echo["ports"] = json!([{"containerPort": 5300, "protocol": "UDP"}]);
    flight.pod("echo", json!({"terminationGracePeriodSeconds": 1, "containers": [echo]})).await;
    let service = json!({
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"port": 15300, "targetPort": 5300, "protocol": "UDP"}]},
    });
    let service: Service = flight.create(service).await;
    flight.until_ready("echo", 1).await;
    let address = service.spec.and_then(|spec| spec.cluster_ip).expect("an address");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let answered = async {
        let mut buffer = [0; 64];
        // Datagrams before the program listens are lost.
        loop {
            let _ = socket.send_to(b"hello", format!("{address}:15300")).await;
            let received = socket.recv_from(&mut buffer);
            if let Ok(Ok((length, _))) = tokio::time::timeout(Duration::from_millis(100), received).await {
                return String::from_utf8_lossy(&buffer[..length]).into_owned();
            }
        }
    };
    assert_eq!(within(answered, "an echo").await, "HELLO");
    flight.cluster.stop().await;
}

/// If this fails clients that must come back to the pod that knows them do not.
#[tokio::test(flavor = "multi_thread")]
async fn clients_come_back_to_their_pod() {
    let flight = Flight::start().await;
    for name in ["a", "b", "c"] {
        let mut pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}});
        pod["spec"] = json!({"terminationGracePeriodSeconds": 1, "containers": [web(8080)]});
        flight.create::<Pod>(pod).await;
    }
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "sessionAffinity": "ClientIP", "ports": [{"port": 18080, "targetPort": "http"}]},
    });
    let service: Service = flight.create(service).await;
    flight.until_ready("web", 3).await;
    let address = format!("{}:18080", service.spec.and_then(|spec| spec.cluster_ip).expect("an address"));
    let answered = async {
        // Endpoints come first, the listener a moment later.
        while crate::flight::get(&address, "/").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(answered, "the Service").await;
    for _ in 0..8 {
        crate::flight::get(&address, "/").await.expect("an answer");
    }
    let mut counts = Vec::new();
    for name in ["a", "b", "c"] {
        let log = flight.api::<Pod>().logs(name, &LogParams::default()).await.expect("its log");
        // The probe comes from the node's own address range, the requests through the Service.
        counts.push(log.lines().filter(|line| line.contains("GET / HTTP/1.1")).count());
    }
    counts.sort_unstable();
    assert!(counts[2] >= counts[0] + 9, "one pod has them all, the others only their probes: {counts:?}");
    assert!(counts[1] <= counts[2] - 9 + 3, "{counts:?}");
    flight.cluster.stop().await;
}
