//! Who may do what, seen through clients: tokens, impersonation, roles.

use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use windtunnel_apiserver::ApiServer;

use crate::{call, served::Served, server};

/// One request in process with headers: status and body.
async fn call_with(
    server: &ApiServer,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let response = server.client().send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.unwrap();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

async fn bind(server: &ApiServer, name: &str, kind: &str, role: &str, subject: Value) {
    let body = json!({"metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}});
    assert_eq!(call(server, "POST", BINDINGS, Some(body)).await.0, 201);
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

async fn token(server: &ApiServer, spec: Value) -> String {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, answer) = call(server, "POST", path, Some(json!({"spec": spec}))).await;
    assert_eq!(code, 201, "{answer}");
    answer["status"]["token"].as_str().unwrap().to_owned()
}

async fn reviewed(server: &ApiServer, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, review) = call(server, "POST", path, Some(body)).await;
    assert_eq!(code, 201, "{review}");
    review["status"].clone()
}

/// If this fails pods cannot talk to the API server, or go on talking after their account is gone.
#[tokio::test]
async fn a_token_opens_what_its_account_may_until_the_account_is_gone() {
    let served = Served::start().await;
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    bind(&served.server, "b", "ClusterRole", "view", account).await;
    let token = token(&served.server, json!({})).await;
    let client = served.client_with_token(&token).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    assert!(maps.list(&ListParams::default()).await.is_ok());
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let refused = elsewhere.list(&ListParams::default()).await.unwrap_err().to_string();
    assert!(refused.contains("system:serviceaccount:default:default"), "{refused}");
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(call(&served.server, "DELETE", account, None).await.0, 200);
    let gone = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&gone, kube::Error::Api(status) if status.code == 401), "{gone}");
    drop((maps, elsewhere));
    served.stop().await;
}

#[tokio::test]
async fn tokens_are_for_their_audience_and_their_pod() {
    let server = server();
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (_, pod) = call(&server, "POST", pods, Some(pod)).await;
    let uid = pod["metadata"]["uid"].clone();
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid});
    let bound = token(&server, json!({"audiences": ["vault"], "boundObjectRef": reference})).await;
    let status = reviewed(&server, &bound, &["vault", "other"]).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(
        status["user"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    let other = reviewed(&server, &bound, &[]).await;
    assert!(other.get("authenticated").is_none() && !other["error"].as_str().unwrap().is_empty(), "{other}");
    assert_eq!(call(&server, "DELETE", &format!("{pods}/p"), None).await.0, 200);
    assert!(reviewed(&server, &bound, &["vault"]).await.get("authenticated").is_none(), "the pod is gone");
    let stranger = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "x"});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let body = json!({"spec": {"boundObjectRef": stranger}});
    assert_eq!(call(&server, "POST", path, Some(body)).await.0, 404);
}

#[tokio::test]
async fn a_secret_of_the_token_type_holds_a_token_and_dies_with_its_account() {
    let server = server();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    call(&server, "POST", accounts, Some(json!({"metadata": {"name": "robot"}}))).await;
    let secret = json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token"});
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(call(&server, "POST", secrets, Some(secret)).await.0, 201);
    let (_, stored) = call(&server, "GET", &format!("{secrets}/t"), None).await;
    let decode = |key: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        String::from_utf8(STANDARD.decode(stored["data"][key].as_str().unwrap()).unwrap()).unwrap()
    };
    assert_eq!(decode("namespace"), "default");
    assert_eq!(decode("ca.crt"), server.pki().certificate_pem());
    let token = decode("token");
    assert_eq!(
        reviewed(&server, &token, &[]).await["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    assert_eq!(call(&server, "DELETE", &format!("{accounts}/robot"), None).await.0, 200);
    assert_eq!(call(&server, "GET", &format!("{secrets}/t"), None).await.0, 404);
    assert!(reviewed(&server, &token, &[]).await.get("authenticated").is_none());
}

/// If this fails a user who may write roles can make themselves an administrator.
#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let server = server();
    bind(&server, "b", "ClusterRole", "admin", user("jane")).await;
    let jane = [("impersonate-user", "jane")];
    let rules = |verbs: Value| json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": verbs}]});
    let (code, refused) = call_with(&server, &jane, "POST", ROLES, rules(json!(["get"]))).await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is \
attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"
    );
    let fine = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    assert_eq!(call_with(&server, &jane, "POST", ROLES, fine).await.0, 201);
    let binding = |role: &str| {
        json!({"metadata": {"name": "own"}, "subjects": [user("jane")],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    assert_eq!(call_with(&server, &jane, "POST", BINDINGS, binding("cluster-admin")).await.0, 403);
    assert_eq!(call_with(&server, &jane, "POST", BINDINGS, binding("nope")).await.0, 404);
    assert_eq!(call_with(&server, &jane, "POST", BINDINGS, binding("view")).await.0, 201);
}

#[tokio::test]
async fn aggregated_roles_follow_the_roles_that_they_select() {
    let server = server();
    bind(&server, "b", "ClusterRole", "view", user("jane")).await;
    let jane = [("impersonate-user", "jane")];
    let nodes = "/apis/policy/v1/namespaces/default/widgets";
    assert_eq!(call_with(&server, &jane, "GET", nodes, Value::Null).await.0, 403);
    let role = json!({"metadata": {"name": "w", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["policy"], "resources": ["widgets"], "verbs": ["list"]}]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    assert_eq!(call(&server, "POST", roles, Some(role)).await.0, 201);
    assert_eq!(call_with(&server, &jane, "GET", nodes, Value::Null).await.0, 404, "allowed, and not there");
    let (_, admin) = call(&server, "GET", &format!("{roles}/admin"), None).await;
    let rules = admin["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["resources"] == json!(["widgets"])), "view, edit, admin");
    assert_eq!(call(&server, "DELETE", &format!("{roles}/w"), None).await.0, 200);
    assert_eq!(call_with(&server, &jane, "GET", nodes, Value::Null).await.0, 403);
}

#[tokio::test]
async fn impersonation_needs_a_permission_of_its_own() {
    let server = server();
    bind(&server, "b", "ClusterRole", "edit", user("jane")).await;
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let as_group = [("impersonate-user", "jane"), ("impersonate-group", "devs")];
    let (code, review) = call_with(&server, &as_group, "POST", who, json!({})).await;
    assert_eq!(code, 201);
    let expected = json!({"username": "jane", "groups": ["devs", "system:authenticated"]});
    assert_eq!(review["status"]["userInfo"], expected);
    let served = Served::start().await;
    let jane = served.client_with(served.server.pki(), "jane", "devs").await;
    let request = Request::get("/api/v1/pods").header("impersonate-user", "root").body(Vec::new()).unwrap();
    let refused = jane.request::<Value>(request).await.unwrap_err().to_string();
    assert!(refused.contains("cannot impersonate resource \"users\""), "{refused}");
    drop(jane);
    served.stop().await;
}

/// If this fails a permission to change is one to create.
/// If this fails somebody who may only look opens a shell: a WebSocket begins with GET.
#[tokio::test]
async fn a_session_over_a_websocket_needs_the_permission_to_create_it() {
    let server = server();
    let role = |name: &str, verbs: &[&str]| {
        json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "verbs": verbs,
            "resources": ["pods/exec", "pods/attach", "pods/portforward", "pods/log"]}]})
    };
    for (name, verbs) in [("looks", &["get"][..]), ("works", &["get", "create"])] {
        assert_eq!(call(&server, "POST", ROLES, Some(role(name, verbs))).await.0, 201);
        bind(&server, name, "Role", name, user(name)).await;
    }
    for session in ["exec?command=sh&stdout=true", "attach?stdout=true", "portforward?ports=80"] {
        let path = format!("/api/v1/namespaces/default/pods/p/{session}");
        let looks = [("impersonate-user", "looks")];
        let (code, refusal) = call_with(&server, &looks, "GET", &path, Value::Null).await;
        assert_eq!(
            (code, refusal["message"].as_str()),
            (403, Some("pods \"p\" is forbidden: ")),
            "{session}"
        );
        let works = [("impersonate-user", "works")];
        let (code, missing) = call_with(&server, &works, "GET", &path, Value::Null).await;
        assert_eq!((code, missing["reason"].as_str()), (404, Some("NotFound")), "{session}: there is no pod");
    }
    let path = "/api/v1/namespaces/default/pods/p/log";
    let (code, _) = call_with(&server, &[("impersonate-user", "looks")], "GET", path, Value::Null).await;
    assert_eq!(code, 404, "reading needs no more than get");
}

#[tokio::test]
async fn an_apply_that_creates_needs_the_permission_to_create() {
    let server = server();
    let role = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]});
    assert_eq!(call(&server, "POST", ROLES, Some(role)).await.0, 201);
    bind(&server, "b", "Role", "r", user("jane")).await;
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=f";
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let apply = async |headers: &[(&str, &str)]| {
        let mut request = Request::patch(path).header("content-type", "application/apply-patch+yaml");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(kube::client::Body::from(body.to_string().into_bytes())).unwrap();
        server.client().send(request).await.unwrap().status().as_u16()
    };
    let jane = [("impersonate-user", "jane")];
    assert_eq!(apply(&jane).await, 403);
    assert_eq!(apply(&[]).await, 201);
    assert_eq!(apply(&jane).await, 200);
}

#[tokio::test]
async fn a_new_pod_takes_the_pull_secrets_of_its_account() {
    let server = server();
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    call(&server, "PATCH", account, Some(json!({"imagePullSecrets": [{"name": "s"}]}))).await;
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let pod = serde_json::from_value(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    let made = pods.create(&Default::default(), &pod.unwrap()).await.unwrap();
    assert_eq!(made.spec.unwrap().image_pull_secrets.unwrap()[0].name, "s");
}

/// Whoever wants to know whether a role grants too much reads it here.
#[tokio::test]
async fn decisions_are_logged_with_the_role_that_allows_them() {
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
    use kube::api::{Patch, PatchParams, PostParams};

    let server = ApiServer::new(windtunnel_apiserver::Options::default());
    let admin = server.client();
    let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": "patcher"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}]}))
    .unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({"metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "patcher"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "a"}]}))
    .unwrap();
    Api::all(admin.clone()).create(&PostParams::default(), &role).await.unwrap();
    Api::all(admin).create(&PostParams::default(), &binding).await.unwrap();
    server.log_authorizations();

    let account = server.client_as(windtunnel_apiserver::User::service_account("n", "a"), "test");
    let maps = Api::<ConfigMap>::namespaced(account, "default");
    assert!(maps.get("other").await.is_err());
    assert!(maps.get_opt("mine").await.unwrap().is_none());
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}));
    let refused = maps.patch("new", &PatchParams::apply("test"), &apply).await.unwrap_err();
    assert!(refused.to_string().contains("cannot create resource \"configmaps\""), "{refused}");

    let seen: Vec<(String, String, Option<String>)> =
        server.authorizations().into_iter().map(|entry| (entry.verb, entry.name, entry.role)).collect();
    let by = |verb: &str, name: &str, role: Option<&str>| {
        (verb.to_owned(), name.to_owned(), role.map(str::to_owned))
    };
    assert_eq!(
        seen,
        [
            by("create", "new", None),
            by("get", "mine", Some("patcher")),
            by("get", "other", None),
            by("patch", "", Some("patcher")),
        ]
    );
}
