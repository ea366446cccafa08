//! Any path and query, for any method: an answer that says what is wrong, and nothing changed by reading.

use super::{SERVER, Source, ask};

const METHODS: [&str; 8] = ["GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const SEGMENTS: [&str; 30] = [
    "api",
    "apis",
    "v1",
    "apps",
    "namespaces",
    "default",
    "configmaps",
    "kube-root-ca.crt",
    "status",
    "scale",
    "watch",
    "pods",
    "deployments",
    "..",
    ".",
    "",
    "%2e%2e",
    "%2F",
    "%00",
    "%ff",
    "%",
    "%zz",
    "openapi",
    "v3",
    "version",
    "healthz",
    "metrics",
    "rbac.authorization.k8s.io",
    "clusterroles",
    "log",
];
const KEYS: [&str; 16] = [
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "watch",
    "timeoutSeconds",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "fieldManager",
    "force",
    "fieldValidation",
    "gracePeriodSeconds",
    "propagationPolicy",
    "pretty",
];
const VALUES: [&str; 28] = [
    "",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "true",
    "false",
    "x",
    "a=b",
    "a!=b",
    "a in (b,c)",
    "a notin (",
    "!a",
    "a,,b",
    "metadata.name=a",
    "metadata.name==a,metadata.namespace!=b",
    "spec.x=1",
    "Exact",
    "NotOlderThan",
    "Strict",
    "%",
    "%zz",
    "%F0%9F",
    "a%3Db",
    "Background",
    "eyJydiI6MX0",
    "\u{e9}",
    "=&=",
];

/// Sends one request made of the bytes.
///
/// # Panics
/// When the answer breaks a promise.
pub fn requests(data: &[u8]) {
    let mut source = Source(data);
    let method = source.pick(&METHODS);
    let mut path = String::new();
    for _ in 0..source.byte() % 9 {
        path.push('/');
        match source.byte() % 8 {
            0 => raw(&mut source, &mut path),
            _ => path.push_str(source.pick(&SEGMENTS)),
        }
    }
    let mut query = String::new();
    for _ in 0..source.byte() % 5 {
        query.push_str(source.pick(&KEYS));
        query.push('=');
        match source.byte() % 8 {
            0 => raw(&mut source, &mut query),
            _ => query.push_str(source.pick(&VALUES)),
        }
        query.push('&');
    }
    query.push_str("dryRun=All");
    let kind = source.pick(&["application/json", "application/merge-patch+json", "application/yaml", ""]);
    let body = source.pick(&["", "{}", "[]", "{\"metadata\":{\"name\":\"a\"}}", "{\"kind\":7}", "null", "{"]);
    let what = format!("{method} {path}?{query} {kind} {body}");
    let before = SERVER.read().store.revision();
    let (code, answer) = ask(method, &path, &query, kind, body);
    assert!((200..500).contains(&code) || code == 504, "{what}: {code} {answer}");
    if code >= 400 && !answer.is_string() {
        assert_eq!(answer["kind"], "Status", "{what}: {answer}");
        assert_eq!(answer["code"], code, "{what}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {answer}");
    }
    // Tests run beside each other, on one server.
    let is_alone = !cfg!(test);
    assert!(!is_alone || SERVER.read().store.revision() == before, "{what}: a dry run or a read has written");
}

/// Characters as they may stand in a request line: others never get through the HTTP parser.
fn raw(source: &mut Source<'_>, text: &mut String) {
    for _ in 0..source.byte() % 12 {
        let byte = source.byte();
        match byte {
            b'!'..=b'~' if !matches!(byte, b'?' | b'#') => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
}
