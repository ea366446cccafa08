//! A day with kubectl: one cluster, commands in their order, and what the real thing prints and does.
//!
//! What the recorded cases (`oracle`) show has no second test here; expectations are kubectl's and Kubernetes' own words.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::flight::{Flight, within};

/// A Deployment and its Service.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: shell
        command: [/bin/sh, -c, 'echo up; exec sleep 1000']
        env: [{name: STEP, value: "1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#;

/// What a command printed, and its exit status.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

struct Kubectl<'a> {
    flight: &'a Flight,
    environment: BTreeMap<&'static str, String>,
}

impl Kubectl<'_> {
    async fn say(&self, line: &str, input: &str) -> Said {
        let arguments = words(line);
        let program = windtunnel_testkit::tool("kubectl").expect("kubectl is missing; run ci/setup");
        let mut child = Command::new(program)
            .arg("--kubeconfig")
            .arg(self.flight.cluster.kubeconfig())
            .args(&arguments)
            .envs(&self.environment)
            .current_dir(self.flight.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl");
        let mut stdin = child.stdin.take().expect("stdin");
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = within(child.wait_with_output(), line).await.expect("output");
        Said {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    /// Says a line that must go well; gives what it prints.
    async fn ok(&self, line: &str) -> String {
        let said = self.say(line, "").await;
        assert_eq!(said.code, Some(0), "kubectl {line}: {said:?}");
        said.out
    }

    /// Each line, and what it prints.
    async fn table(&self, rows: &[(&str, &str)]) {
        for (line, expected) in rows {
            assert_eq!(self.ok(line).await, format!("{expected}\n"), "kubectl {line}");
        }
    }

    /// Each line, its exit status, and what stands in its output or complaint.
    async fn refused(&self, rows: &[(&str, i32, &str)]) {
        for (line, code, expected) in rows {
            let said = self.say(line, "").await;
            let is_so = said.code == Some(*code) && format!("{}{}", said.out, said.err).contains(expected);
            assert!(is_so, "kubectl {line}: {said:?}");
        }
    }

    /// Each line, and pieces of what it prints, in their order.
    async fn shows(&self, rows: &[(&str, &[&str])]) {
        for (line, pieces) in rows {
            let out = self.ok(line).await;
            let mut rest = out.as_str();
            for piece in *pieces {
                let Some(at) = rest.find(piece) else { panic!("kubectl {line}: no {piece:?} in\n{out}") };
                rest = &rest[at + piece.len()..];
            }
        }
    }
}

/// The words of a line; what stands between apostrophes is one word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (at, part) in line.split('\'').enumerate() {
        let is_quoted = at % 2 == 1;
        let mut pieces = if is_quoted { vec![part] } else { part.split(' ').collect() }.into_iter();
        if let (Some(last), Some(piece)) = (words.last_mut(), pieces.next()) {
            last.push_str(piece);
        }
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// If this fails people who know kubectl find that it does something else here.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_kubectl() {
    let flight = Flight::start_with(|options| options.metrics_resolution = Duration::from_millis(200)).await;
    let write =
        |name: &str, text: &str| std::fs::write(flight.folder.path().join(name), text).expect("a file");
    write("one.yaml", MANIFEST);
    write("two.yaml", &MANIFEST.replace("value: \"1\"", "value: \"2\""));
    let environment = BTreeMap::from([("EDITOR", "sed -i s/replicas:.3/replicas:\\ 2/".to_owned())]);
    let kubectl = Kubectl { flight: &flight, environment };
    declare(&kubectl).await;
    roll(&kubectl).await;
    look(&kubectl).await;
    change(&kubectl).await;
    create(&kubectl).await;
    authorise(&kubectl).await;
    clear(&kubectl).await;
    flight.cluster.stop().await;
}

/// Apply, diff, dry run.
async fn declare(kubectl: &Kubectl<'_>) {
    kubectl.refused(&[("diff -f one.yaml", 1, "+  name: web")]).await;
    kubectl
        .table(&[
            (
                "apply -f one.yaml --dry-run=server",
                "deployment.apps/web created (server dry run)\nservice/web created (server dry run)",
            ),
            ("apply -f one.yaml", "deployment.apps/web created\nservice/web created"),
            ("apply -f one.yaml", "deployment.apps/web unchanged\nservice/web unchanged"),
            ("wait --for=condition=Available deploy/web --timeout=60s", "deployment.apps/web condition met"),
        ])
        .await;
    assert_eq!(kubectl.ok("diff -f one.yaml").await, "");
    kubectl
        .refused(&[
            ("diff -f two.yaml", 1, "-          value: \"1\"\n+          value: \"2\"\n"),
            (
                "apply --server-side -f two.yaml",
                1,
                "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: \
                 .spec.template.spec.containers[name=\"c\"].env[name=\"STEP\"].value",
            ),
        ])
        .await;
    let applied = "deployment.apps/web serverside-applied\nservice/web serverside-applied";
    kubectl.table(&[("apply --server-side --force-conflicts -f two.yaml", applied)]).await;
    kubectl.table(&[("apply --server-side -f two.yaml", applied)]).await;
}

/// Roll-outs.
async fn roll(kubectl: &Kubectl<'_>) {
    let status = "rollout status deploy/web --timeout=60s";
    kubectl.shows(&[(status, &["deployment \"web\" successfully rolled out"])]).await;
    kubectl
        .shows(&[
            ("rollout history deploy/web", &["REVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n"]),
            ("rollout history deploy/web --revision=2", &["with revision #2", "STEP:\t2"]),
            ("rollout undo deploy/web", &["deployment.apps/web rolled back"]),
            (status, &["successfully rolled out"]),
            ("rollout history deploy/web", &["\n2         <none>\n3         <none>\n"]),
            ("rollout restart deploy/web", &["deployment.apps/web restarted"]),
            (status, &["successfully rolled out"]),
            ("rollout pause deploy/web", &["deployment.apps/web paused"]),
            ("set env deploy/web MORE=1", &["deployment.apps/web env updated"]),
        ])
        .await;
    kubectl
        .refused(&[
            ("rollout pause deploy/web", 1, "error: deployments.apps \"web\" is already paused"),
            ("rollout undo deploy/web", 1, "cannot rollback a paused deployment"),
            ("rollout undo deploy/web --to-revision=77", 1, "error"),
            (
                "rollout status deploy/web --timeout=1s",
                1,
                "Waiting for deployment \"web\" rollout to finish: 0 out of 2",
            ),
        ])
        .await;
    kubectl
        .shows(&[
            ("rollout resume deploy/web", &["deployment.apps/web resumed"]),
            (status, &["successfully rolled out"]),
            ("scale deploy/web --replicas=3", &["deployment.apps/web scaled"]),
            (status, &["successfully rolled out"]),
        ])
        .await;
    kubectl
        .refused(&[(
            "scale deploy/web --replicas=1 --current-replicas=9",
            1,
            "error: Expected replicas to be 9, was 3",
        )])
        .await;
}

/// Output in every form.
async fn look(kubectl: &Kubectl<'_>) {
    kubectl
        .table(&[
            ("get deploy web -o name", "deployment.apps/web"),
            ("get deploy web -o 'jsonpath={.spec.replicas}{\"\\n\"}'", "3"),
            ("get deploy web -o 'go-template={{.metadata.name}}{{\"\\n\"}}'", "web"),
            ("get deploy -o custom-columns=N:.metadata.name,R:.spec.replicas", "N     R\nweb   3"),
            ("get svc web --no-headers -o custom-columns=T:.spec.type", "ClusterIP"),
        ])
        .await;
    kubectl
        .shows(&[
            (
                "get deploy -o wide",
                &["NAME", "READY", "CONTAINERS", "IMAGES", "SELECTOR", "web", "3/3", "app=web"],
            ),
            (
                "get pods -l app=web --show-labels --sort-by=.metadata.name",
                &["LABELS", "app=web,pod-template-hash="],
            ),
            ("get pods --field-selector status.phase=Running -o name", &["pod/web-", "pod/web-", "pod/web-"]),
            ("get pods --field-selector status.phase!=Running", &[]),
            (
                "get deploy web -o yaml",
                &["apiVersion: apps/v1\n", "kind: Deployment\n", "availableReplicas: 3"],
            ),
            (
                "explain deployment.spec.strategy.type",
                &["GROUP:      apps", "FIELD: type <string>", "Recreate"],
            ),
            (
                "describe deploy web",
                &[
                    "Replicas:",
                    "3 desired | 3 updated | 3 total | 3 available",
                    "NewReplicaSet:",
                    "ScalingReplicaSet",
                ],
            ),
            (
                "describe svc kubernetes",
                &["component=apiserver", "https  443/TCP", "Endpoints:", "127.0.0.1:"],
            ),
            ("get endpointslices kubernetes", &["ADDRESSTYPE", "kubernetes", "IPv4", "127.0.0.1"]),
            ("describe svc web", &["Selector:", "app=web", "Endpoints:", "127."]),
            (
                "describe node windtunnel",
                &[
                    "Taints:             <none>\n",
                    "HolderIdentity:  windtunnel\n",
                    "RenewTime:       ",
                    "Ready",
                    "Non-terminated Pods:",
                    "(3 in total)",
                    "Allocated resources:",
                ],
            ),
            ("logs deploy/web --prefix", &["] up\n"]),
            ("exec deploy/web -- sh -c 'echo $STEP'", &["1\n"]),
            ("events --for deployment/web", &["ScalingReplicaSet"]),
            ("cluster-info", &["Kubernetes control plane", "is running at", "https://127.0.0.1:"]),
            ("version", &["Server Version: v1.36"]),
            ("api-versions", &["apps/v1\n", "\nv1\n"]),
            ("api-resources --namespaced=false", &["namespaces", "ns", "v1", "false", "Namespace"]),
        ])
        .await;
    let listed: Value = serde_json::from_str(&kubectl.ok("get deploy,svc web -o json").await).expect("JSON");
    let kinds: Vec<&Value> =
        listed["items"].as_array().expect("items").iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, [&json!("Deployment"), &json!("Service")]);
    let watched = kubectl.say("get deploy web -w --request-timeout=1s", "").await;
    assert!(watched.out.contains("web    3/3"), "{watched:?}");
}

/// Labels, patches, edits.
async fn change(kubectl: &Kubectl<'_>) {
    kubectl
        .table(&[
            ("label deploy web tier=a", "deployment.apps/web labeled"),
            ("label deploy web tier=b --overwrite", "deployment.apps/web labeled"),
            ("label deploy web tier-", "deployment.apps/web unlabeled"),
            ("annotate deploy web note=x", "deployment.apps/web annotated"),
            ("patch deploy web --type=merge -p '{\"metadata\":{\"labels\":{\"m\":\"1\"}}}'", "deployment.apps/web patched"),
            ("patch deploy web --type=merge -p '{\"metadata\":{\"labels\":{\"m\":\"1\"}}}'", "deployment.apps/web patched (no change)"),
            ("patch deploy web --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/labels/m\"}]'", "deployment.apps/web patched"),
            ("patch deploy web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"Z\",\"value\":\"9\"}]}]}}}}'", "deployment.apps/web patched"),
            ("get deploy web -o 'jsonpath={.spec.template.spec.containers[0].env[*].name}{\"\\n\"}'", "Z STEP MORE"),
            ("edit deploy web", "deployment.apps/web edited"),
            ("get deploy web -o 'jsonpath={.spec.replicas}{\"\\n\"}'", "2"),
            ("expose deploy web --name=other --port=81", "service/other exposed"),
            ("set image deploy/web c=shell:2", "deployment.apps/web image updated"),
            ("autoscale deploy web --min=1 --max=3 --cpu=50%", "horizontalpodautoscaler.autoscaling/web autoscaled"),
            ("delete hpa web", "horizontalpodautoscaler.autoscaling \"web\" deleted from default namespace"),
        ])
        .await;
    kubectl
        .refused(&[(
            "label deploy web app=z",
            1,
            "'app' already has a value (web), and --overwrite is false",
        )])
        .await;
    kubectl.shows(&[("rollout status deploy/web --timeout=60s", &["successfully rolled out"])]).await;
}

/// Objects made on the command line.
async fn create(kubectl: &Kubectl<'_>) {
    kubectl
        .table(&[
            ("create namespace team", "namespace/team created"),
            ("create configmap cm --from-literal=a=b", "configmap/cm created"),
            ("create secret generic s --from-literal=a=b", "secret/s created"),
            ("create quota q --hard=pods=50", "resourcequota/q created"),
            ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
            ("create serviceaccount sa", "serviceaccount/sa created"),
            (
                "create rolebinding rb --role=r --serviceaccount=default:sa",
                "rolebinding.rbac.authorization.k8s.io/rb created",
            ),
            ("create ingress ing --rule=h.example/*=web:80", "ingress.networking.k8s.io/ing created"),
            ("get ing ing -o 'jsonpath={.spec.rules[0].http.paths[0].backend.service.name}{\"\\n\"}'", "web"),
            ("create job j --image=shell -- true", "job.batch/j created"),
            ("wait --for=condition=complete job/j --timeout=60s", "job.batch/j condition met"),
            (
                "create configmap dry --from-literal=a=b --dry-run=server",
                "configmap/dry created (server dry run)",
            ),
            ("run once --image=shell --restart=Never --command -- sh -c 'echo bye'", "pod/once created"),
            (
                "wait --for=jsonpath={.status.phase}=Succeeded pod/once --timeout=60s",
                "pod/once condition met",
            ),
            ("logs once", "bye"),
        ])
        .await;
    kubectl
        .shows(&[
            ("create token sa --duration=1h", &["."]),
            ("describe job j", &["1 Succeeded", "Completed"]),
        ])
        .await;
    kubectl
        .refused(&[
            ("get configmap dry", 1, "configmaps \"dry\" not found"),
            ("create configmap cm", 1, "error: failed to create configmap: configmaps \"cm\" already exists"),
        ])
        .await;
    kubectl.ok("get configmap cm -o yaml").await;
    let piped = kubectl.ok("create configmap cm --from-literal=a=c --dry-run=client -o yaml").await;
    let replaced = kubectl.say("replace -f -", &piped).await;
    assert_eq!(replaced.out, "configmap/cm replaced\n", "{replaced:?}");
    kubectl.table(&[("get configmap cm -o 'jsonpath={.data.a}{\"\\n\"}'", "c")]).await;
}

/// Who may do what.
async fn authorise(kubectl: &Kubectl<'_>) {
    kubectl
        .table(&[
            ("auth can-i delete pods", "yes"),
            ("auth can-i get pods --as=system:serviceaccount:default:sa", "yes"),
        ])
        .await;
    kubectl
        .refused(&[
            ("auth can-i delete pods --as=system:serviceaccount:default:sa", 1, "no"),
            (
                "delete pod once --as=system:serviceaccount:default:sa",
                1,
                "pods \"once\" is forbidden: User \"system:serviceaccount:default:sa\" cannot delete resource \"pods\" \
                 in API group \"\" in the namespace \"default\"",
            ),
        ])
        .await;
    kubectl
        .shows(&[(
            "auth can-i --list --as=system:serviceaccount:default:sa",
            &["Resources", "\npods ", "[get]"],
        )])
        .await;
}

/// Nodes are emptied, objects go with and without what they own.
async fn clear(kubectl: &Kubectl<'_>) {
    kubectl
        .table(&[
            ("taint nodes windtunnel a=b:NoSchedule", "node/windtunnel tainted"),
            ("taint nodes windtunnel a-", "node/windtunnel untainted"),
            ("cordon windtunnel", "node/windtunnel cordoned"),
        ])
        .await;
    kubectl
        .shows(&[
            ("get nodes", &["Ready,SchedulingDisabled"]),
            (
                "drain windtunnel --ignore-daemonsets --force --timeout=60s",
                &["evicting pod default/", "node/windtunnel drained"],
            ),
            ("get pods -l app=web --field-selector status.phase=Pending -o name", &["pod/web-", "pod/web-"]),
            ("uncordon windtunnel", &["node/windtunnel uncordoned"]),
            ("rollout status deploy/web --timeout=60s", &["successfully rolled out"]),
        ])
        .await;
    let sets = kubectl.ok("get rs -l app=web -o name").await;
    kubectl
        .table(&[
            ("delete deploy web --cascade=orphan", "deployment.apps \"web\" deleted from default namespace"),
            ("get rs -l app=web -o name", sets.trim_end()),
        ])
        .await;
    kubectl.ok("delete rs -l app=web --cascade=foreground").await;
    assert_eq!(kubectl.ok("get pods -l app=web -o name").await, "", "foreground waits for what is owned");
    kubectl.table(&[("delete ns team", "namespace \"team\" deleted")]).await;
}
