//! Rules of the kinds beside the InferenceService, and of the rarer parts of it, with upstream's words.

use serde_json::{Value, json};
use windtunnel_api::kserve::validate::{self, Rules, RuntimeScope};
use windtunnel_api::kserve::{
    InferenceGraph, InferenceService, KserveConfig, LocalModel, LocalModelCache, LocalModelNamespaceCache,
    ServingRuntimeSpec, TrainedModel, defaults,
};
use windtunnel_kernel::profile::Profile;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn refused(message: &str) -> Result<(), String> {
    Err(message.to_owned())
}

/// Requests would be lost in a graph that leads nowhere.
#[test]
fn inference_graphs() {
    let check = |name: &str, nodes: Value, profile| {
        let graph: InferenceGraph = from(json!({"metadata": {"name": name}, "spec": {"nodes": nodes}}));
        validate::inference_graph(&graph, profile)
    };
    let upstream = |nodes: Value| check("my-graph", nodes, Profile::Upstream);
    let node = |kind: &str, steps: Value| json!({"root": {"routerType": kind, "steps": steps}});
    assert_eq!(upstream(node("Sequence", json!([{"serviceName": "a"}, {"serviceUrl": "http://b"}]))), Ok(()));
    assert_eq!(
        upstream(node(
            "Splitter",
            json!([{"serviceName": "a", "weight": 30}, {"serviceName": "b", "weight": 70}])
        )),
        Ok(())
    );
    assert_eq!(
        check("1a", node("Sequence", json!([])), Profile::Upstream),
        refused(
            "The InferenceGraph \"1a\" is invalid: a InferenceGraph name must consist of lower case alphanumeric characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \"abc-123\", regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    );
    for (nodes, message) in [
        (
            json!({"other": {"routerType": "Sequence"}}),
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph",
        ),
        (
            node("Sequence", json!([{"name": "s", "serviceName": "a"}, {"name": "s", "serviceName": "b"}])),
            "Node \"root\" of InferenceGraph \"my-graph\" contains more than one step with name \"s\"",
        ),
        (
            node("Sequence", json!([{"name": "s"}])),
            "Step 0 (\"s\") in node \"root\" of InferenceGraph \"my-graph\" does not specify an inference target",
        ),
        (
            node("Sequence", json!([{"serviceName": "a"}, {"serviceName": "a", "serviceUrl": "b"}])),
            "Step 1 (\"\") in node \"root\" of InferenceGraph \"my-graph\" specifies more than one of nodeName, serviceName, serviceUrl",
        ),
        (
            node("Splitter", json!([{"serviceName": "a", "weight": 80}, {"serviceName": "b"}])),
            "InferenceGraph[my-graph] Node[root] Route[b] missing the 'Weight'",
        ),
        (
            node("Splitter", json!([{"serviceName": "a", "weight": 80}, {"serviceName": "b", "weight": 30}])),
            "InferenceGraph[my-graph] Node[root] splitter node: the sum of traffic weights for all routing targets should be 100",
        ),
    ] {
        assert_eq!(upstream(nodes), refused(message));
    }
    let nowhere = node("Sequence", json!([{"nodeName": "gone"}]));
    assert_eq!(upstream(nowhere.clone()), Ok(()));
    assert_eq!(
        check("g", nowhere, Profile::Windtunnel),
        refused(
            "Step 0 (\"\") in node \"root\" of InferenceGraph \"g\" leads to node \"gone\", which the graph does not have"
        )
    );
    let step = |to: &str| json!({"routerType": "Sequence", "steps": [{"nodeName": to}]});
    let circle = json!({"root": step("a"), "a": step("b"), "b": step("a")});
    assert_eq!(upstream(circle.clone()), Ok(()));
    let found = check("g", circle, Profile::Windtunnel).unwrap_err();
    assert_eq!(
        found,
        "InferenceGraph \"g\" has a circle of nodes: a -> b -> a. A request that enters it would never leave"
    );
    let twice = json!({"root": {"routerType": "Ensemble", "steps": [{"nodeName": "a"}, {"nodeName": "a"}]},
        "a": {"routerType": "Sequence", "steps": [{"serviceName": "x"}]}});
    assert_eq!(check("g", twice, Profile::Windtunnel), Ok(()), "two ways to one node are no circle");
    let mut long = serde_json::Map::new();
    for index in 0..20_000 {
        let to = format!("n{}", index + 1);
        long.insert(if index == 0 { "root".to_owned() } else { format!("n{index}") }, step(&to));
    }
    long.insert("n20000".to_owned(), json!({"routerType": "Sequence"}));
    assert_eq!(check("g", Value::Object(long), Profile::Windtunnel), Ok(()), "depth is no fault");
}

/// A model that is loaded can't grow.
#[test]
fn trained_models() {
    let model = |name: &str, uri: &str, memory: Value| -> TrainedModel {
        from(json!({"metadata": {"name": name}, "spec": {"inferenceService": "i",
            "model": {"storageUri": uri, "framework": "sklearn", "memory": memory}}}))
    };
    let good = model("my_Model-1", "gs://b/m", json!("1Gi"));
    assert_eq!(validate::trained_model(&good, None), Ok(()));
    assert_eq!(
        validate::trained_model(&model("m", "gs://b/m", json!(1_073_741_824)), Some(&good)),
        Ok(()),
        "the same amount"
    );
    assert_eq!(
        validate::trained_model(&model("m", "gs://b/m", json!("2Gi")), Some(&good)),
        refused(
            "the Trained Model \"m\" memory field is immutable. The memory was \"1Gi\" but it is updated to \"2Gi\""
        )
    );
    assert_eq!(
        validate::trained_model(&model("m.1", "gs://b/m", json!("1Gi")), None),
        refused(
            "the Trained Model \"m.1\" is invalid: a Trained Model name must consist of alphanumeric characters, '_', or '-'. (e.g. \"my-Name\" or \"abc_123\", regex used for validation is '^[a-zA-Z0-9_-]+$')"
        )
    );
    assert_eq!(
        validate::trained_model(&model("m", "pvc://b/m", json!("1Gi")), None),
        refused(
            "the Trained Model \"m\" storageUri field is invalid. The storage uri must start with one of the prefixes: s3://, gs://, https://, http://. (the storage uri given is \"pvc://b/m\")"
        )
    );
}

/// Two runtimes with one priority would be chosen by chance.
#[test]
fn priorities_of_runtimes() {
    let runtime = |formats: Value, more: Value| -> ServingRuntimeSpec {
        let mut spec = json!({"supportedModelFormats": formats, "protocolVersions": ["v1"],
            "containers": [{"name": "kserve-container", "image": "x"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        from(spec)
    };
    let format = |name: &str, version: &str, priority: i32| json!({"name": name, "version": version, "autoSelect": true, "priority": priority});
    let check = |spec: &ServingRuntimeSpec, existing: &[(&str, &ServingRuntimeSpec)]| {
        validate::serving_runtime(RuntimeScope::Namespace("test"), "new", spec, existing, &[])
    };
    let new = runtime(json!([format("sklearn", "1", 1)]), json!({}));
    assert_eq!(
        check(&new, &[("old", &new)]),
        refused(
            "same priority assigned for the model format sklearn in the servingruntimes old and new in namespace test"
        )
    );
    assert_eq!(
        validate::serving_runtime(RuntimeScope::Cluster, "new", &new, &[("old", &new)], &[]),
        refused(
            "same priority assigned for the model format sklearn in the clusterservingruntimes old and new"
        )
    );
    assert_eq!(check(&new, &[("new", &new)]), Ok(()), "itself is no other");
    for other in [
        runtime(json!([format("sklearn", "1", 2)]), json!({})),
        runtime(json!([format("sklearn", "2", 1)]), json!({})),
        runtime(json!([format("sklearn", "1", 1)]), json!({"disabled": true})),
        runtime(json!([format("sklearn", "1", 1)]), json!({"multiModel": true})),
        runtime(json!([format("sklearn", "1", 1)]), json!({"protocolVersions": ["v2"]})),
        runtime(json!([{"name": "sklearn", "version": "1", "priority": 1}]), json!({})),
        runtime(json!([{"name": "sklearn", "version": "1", "autoSelect": true}]), json!({})),
    ] {
        assert_eq!(check(&new, &[("old", &other)]), Ok(()), "{other:?}");
    }
    let two = runtime(json!([format("sklearn", "1", 1), format("sklearn", "2", 3)]), json!({}));
    let different = "different priorities assigned for the model format sklearn under the servingruntime new";
    assert_eq!(check(&two, &[]), refused(different));
    let off =
        runtime(json!([format("sklearn", "1", 1), format("sklearn", "2", 3)]), json!({"disabled": true}));
    assert_eq!(check(&off, &[("old", &new)]), Ok(()));
    let path = runtime(
        json!([]),
        json!({"containers": [{"name": "c", "env": [{"name": "PYTHONPATH", "value": "/x"}]}]}),
    );
    assert_eq!(
        check(&path, &[]),
        refused(
            "the ServingRuntime \"new\" is invalid: setting PYTHONPATH in container \"c\" is not allowed for security reasons"
        )
    );
}

/// A group of nodes that can't start together never starts.
#[test]
fn runtimes_over_several_nodes() {
    let runtime = |workers: Value, container: Value| -> ServingRuntimeSpec {
        let mut head = json!({"name": "kserve-container"});
        head.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        from(json!({"supportedModelFormats": [], "containers": [head], "workerSpec": workers}))
    };
    let check = |spec: &ServingRuntimeSpec, before: Option<&ServingRuntimeSpec>| {
        let existing: Vec<_> = before.map(|before| ("r", before)).into_iter().collect();
        validate::serving_runtime(
            RuntimeScope::Namespace("test"),
            "r",
            spec,
            &existing,
            &["x.com/gpu".to_owned()],
        )
    };
    let worker = json!({"name": "worker-container", "resources": {"limits": {"nvidia.com/gpu": "1"}}});
    let good = runtime(json!({"containers": [worker]}), json!({}));
    assert_eq!(check(&good, None), Ok(()));
    let gpu = |name: &str| json!({"resources": {"requests": {name: "1"}}});
    assert_eq!(
        check(&runtime(json!({"containers": [worker]}), gpu("x.com/gpu")), None),
        Ok(()),
        "a configured one"
    );
    for (spec, before, message) in [
        (
            runtime(Value::Null, json!({})),
            Some(&good),
            "removing workerSpec where it already exists is not allowed",
        ),
        (runtime(json!({"containers": []}), json!({})), None, "spec.workerSpec.containers: Required value"),
        (
            runtime(json!({"containers": [worker, worker]}), json!({})),
            None,
            "setting multiple containers in workerSpec is not allowed",
        ),
        (
            runtime(
                json!({"containers": [worker]}),
                json!({"env": [{"name": "PIPELINE_PARALLEL_SIZE", "value": "1"}]}),
            ),
            None,
            "setting PIPELINE_PARALLEL_SIZE in environment variables is not allowed",
        ),
        (
            runtime(
                json!({"containers": [worker]}),
                json!({"env": [{"name": "TENSOR_PARALLEL_SIZE", "value": "1"}]}),
            ),
            None,
            "setting TENSOR_PARALLEL_SIZE in environment variables is not allowed",
        ),
        (
            runtime(json!({"containers": [worker]}), gpu("odd.com/gpu")),
            None,
            "unknown GPU resource type in a container(kserve-container)",
        ),
        (
            runtime(
                json!({"containers": [{"name": "worker-container", "resources": {"limits": {"odd.com/gpu": "1"}}}]}),
                json!({}),
            ),
            None,
            "unknown GPU resource type in a container(worker-container)",
        ),
        (
            runtime(json!({"containers": [worker], "pipelineParallelSize": 0}), json!({})),
            None,
            "the WorkerSpec.PipelineParallelSize cannot be less than 1(0)",
        ),
        (
            runtime(json!({"containers": [worker], "tensorParallelSize": -1}), json!({})),
            None,
            "the WorkerSpec.TensorParallelSize cannot be less than 1(-1)",
        ),
    ] {
        assert_eq!(check(&spec, before), Err(format!("the ServingRuntime r is invalid: {message}")));
    }
}

/// The same for a service that asks for such a runtime.
#[test]
fn services_over_several_nodes() {
    let check = |model: Value, workers: Value, annotations: Value| {
        let service: InferenceService = from(json!({"metadata": {"name": "foo", "annotations": annotations},
            "spec": {"predictor": {"model": model, "workerSpec": workers}}}));
        validate::validate(&service, None)
    };
    let none = json!({"serving.kserve.io/autoscalerClass": "none"});
    let model = |more: Value| {
        let mut model = json!({"modelFormat": {"name": "huggingface"}, "storageUri": "pvc://llama/x"});
        model.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        model
    };
    assert_eq!(
        check(model(json!({})), json!({"pipelineParallelSize": 2, "tensorParallelSize": 1}), none.clone()),
        Ok(())
    );
    let custom = json!({"serving.kserve.io/autoscalerClass": "none", "serving.kserve.io/gpu-resource-types": "[\"odd.com/gpu\"]"});
    let odd = json!({"resources": {"limits": {"odd.com/gpu": "1"}}});
    assert_eq!(check(model(odd.clone()), json!({}), custom), Ok(()));
    let unknown = "Unknown GPU resource type. Set 'serving.kserve.io/gpu-resource-types' annotation to use custom gpu resource type";
    for (model, workers, annotations, message) in [
        (
            model(json!({})),
            json!({"containers": [{}, {}]}),
            none.clone(),
            "setting multiple containers in workerSpec is not allowed",
        ),
        (
            model(json!({"env": [{"name": "PIPELINE_PARALLEL_SIZE", "value": "2"}]})),
            json!({}),
            none.clone(),
            "setting PIPELINE_PARALLEL_SIZE in environment variables is not allowed",
        ),
        (
            model(json!({"env": [{"name": "TENSOR_PARALLEL_SIZE", "value": "2"}]})),
            json!({}),
            none.clone(),
            "setting TENSOR_PARALLEL_SIZE in environment variables is not allowed",
        ),
        (model(odd.clone()), json!({}), none.clone(), unknown),
        (model(json!({})), json!({"containers": [odd]}), none.clone(), unknown),
        (
            json!({"modelFormat": {"name": "huggingface"}}),
            json!({}),
            none.clone(),
            "StorageURI must be set for multinode enabled",
        ),
        (
            model(json!({"storageUri": "s3://x"})),
            json!({}),
            none.clone(),
            "Multinode only supports 'pvc' and 'oci' Storage Protocol(s3)",
        ),
        (model(json!({})), json!({}), json!({}), "Multinode only supports 'none' autoscaler()"),
        (
            model(json!({})),
            json!({}),
            json!({"serving.kserve.io/autoscalerClass": "hpa"}),
            "Multinode only supports 'none' autoscaler(hpa)",
        ),
        (
            model(json!({})),
            json!({"pipelineParallelSize": 0}),
            none.clone(),
            "WorkerSpec.PipelineParallelSize cannot be less than 1(0)",
        ),
        (
            model(json!({})),
            json!({"tensorParallelSize": 0}),
            none,
            "WorkerSpec.TensorParallelSize cannot be less than 1(0)",
        ),
    ] {
        assert_eq!(
            check(model, workers, annotations),
            Err(format!("the InferenceService \"foo\" is invalid: {message}"))
        );
    }
    let bad =
        json!({"serving.kserve.io/autoscalerClass": "none", "serving.kserve.io/gpu-resource-types": "[]"});
    assert_eq!(
        check(model(json!({})), json!({}), bad),
        refused(
            "invalid GPU format([]) for serving.kserve.io/gpu-resource-types annotation: must be a valid JSON array"
        )
    );
}

/// Somebody who encrypts a model must hear where it has no effect.
#[test]
fn confidential_models_warn() {
    let review = |uri: &str, id: Value| {
        let service: InferenceService = from(
            json!({"metadata": {"name": "foo"}, "spec": {"predictor": {"model": {
            "modelFormat": {"name": "onnx"}, "storageUri": uri, "confidential": {"enabled": true, "resourceId": id}}}}}),
        );
        validate::review(&service, None, &Rules::default())
    };
    let fine = review("s3://m", json!("kbs:///repo/type/tag"));
    assert_eq!((fine.warnings.len(), fine.fault), (0, None));
    assert_eq!(
        review("oci://m", Value::Null).warnings,
        [
            "confidential has no effect with OCI URIs; OCI image decryption is handled by the container runtime via runtimeClassName"
        ]
    );
    let both = review("pvc://m", json!("kbs://repo"));
    assert_eq!(
        both.warnings,
        ["confidential has no effect with PVC URIs; the storage-initializer is not injected for PVC volumes"]
    );
    assert_eq!(
        both.fault.unwrap(),
        "spec.predictor.confidential.resourceId: Invalid value: \"kbs://repo\": must be in the format kbs:///<repo>/<type>/<tag>"
    );
}

/// Rules that only apply to one of the two, and who may do what in the profiles.
#[test]
fn updates_components_and_profiles() {
    let service = |predictor: Value, annotations: Value| -> InferenceService {
        from(
            json!({"metadata": {"name": "foo", "annotations": annotations}, "spec": {"predictor": predictor}}),
        )
    };
    let model = |name: Option<&str>, uri: &str| json!({"name": name, "model": {"modelFormat": {"name": "onnx"}, "storageUri": uri}});
    let old = service(model(Some("a"), "s3://v1"), json!({}));
    let renamed = service(model(Some("b"), "s3://v1"), json!({}));
    assert_eq!(
        validate::validate(&renamed, Some(&old)),
        refused("predictor.name change requires a model change (e.g. storageUri)")
    );
    assert_eq!(validate::validate(&service(model(Some("b"), "s3://v2"), json!({})), Some(&old)), Ok(()));
    let mut going = renamed;
    going.metadata.deletion_timestamp = Some(from(json!("2026-01-01T00:00:00Z")));
    assert_eq!(validate::validate(&going, Some(&old)), Ok(()), "what is being deleted must not get stuck");

    let kpa =
        json!({"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "kpa"});
    let scaled = service(
        json!({"scaleMetric": "rps", "deploymentStrategy": {"type": "Recreate"},
        "model": {"modelFormat": {"name": "onnx"}}}),
        kpa,
    );
    let ours = Rules { profile: Profile::Windtunnel, ..Rules::default() };
    assert_eq!(validate::review(&scaled, None, &ours).fault, None);
    assert_eq!(validate::validate(&scaled, None), refused("[kpa] is not a supported autoscaler class type"));

    let with = |component: &str, spec: Value| {
        let mut service = json!({"metadata": {"name": "foo"}, "spec": {"predictor": model(None, "s3://v1")}});
        service["spec"][component] = spec;
        validate::validate(&from(service), None)
    };
    assert_eq!(
        with("transformer", json!({})),
        refused("exactly one of [PodSpec, ComponentExtensionSpec] must be specified in TransformerSpec")
    );
    assert_eq!(
        with("explainer", json!({})),
        refused("exactly one of [ART, PodSpec, ComponentExtensionSpec] must be specified in ExplainerSpec")
    );
    let container = json!([{"name": "c", "env": [{"name": "PROTOCOL", "value": "odd"}]}]);
    assert_eq!(
        with("transformer", json!({"containers": container})),
        Ok(()),
        "only predictors have a protocol to check"
    );
    let blocked = json!([{"name": "i", "env": [{"name": "PYTHONPATH", "value": "/x"}]}]);
    let message = "the InferenceService \"foo\" is invalid: setting PYTHONPATH in container \"i\" is not allowed for security reasons";
    for component in ["transformer", "explainer", "predictor"] {
        let spec = json!({"containers": [{"name": "c"}], "initContainers": blocked});
        assert_eq!(with(component, spec), refused(message), "{component}");
    }
    let logger = |storage: Value| json!({"containers": [{"name": "c"}], "logger": {"mode": "all", "storage": storage}});
    assert_eq!(with("predictor", logger(json!({"path": "/", "parameters": {}, "key": "k"}))), Ok(()));
    assert_eq!(
        with("predictor", logger(json!({"path": "/", "key": "k"}))),
        refused("invalid logger storage configuration")
    );
}

/// Two owners of one folder, or a folder that goes while a service uses it.
#[test]
fn local_model_caches() {
    let cache = |name: &str, uri: &str| -> LocalModelCache {
        from(
            json!({"metadata": {"name": name}, "spec": {"sourceModelUri": uri, "modelSize": "1Gi", "nodeGroups": ["gpu"]},
            "status": {"inferenceServices": [{"namespace": "default", "name": "user"}]}}),
        )
    };
    let (mine, other) = (cache("mine", "s3://m"), cache("other", "s3://m"));
    assert_eq!(validate::local_model_cache(&mine, [&mine]), Ok(()));
    assert_eq!(
        validate::local_model_cache(&mine, [&mine, &other]),
        refused("LocalModelCache other has the same StorageURI s3://m")
    );
    let user = |labels: Value| -> InferenceService {
        from(json!({"metadata": {"name": "user", "labels": labels}, "spec": {"predictor": {}}}))
    };
    let uses = user(json!({"internal.serving.kserve.io/localmodel": "mine"}));
    assert_eq!(
        validate::local_model_cache_deletion(&mine, |_| Some(&uses)),
        refused("LocalModelCache mine is being used by InferenceService user")
    );
    assert_eq!(validate::local_model_cache_deletion(&other, |_| Some(&uses)), Ok(()));
    assert_eq!(validate::local_model_cache_deletion(&mine, |_| None), Ok(()));
    let near: LocalModelNamespaceCache = from(json!({"metadata": {"name": "mine", "namespace": "default"},
        "spec": {"sourceModelUri": "s3://m", "modelSize": 1, "nodeGroups": ["gpu"]},
        "status": {"inferenceServices": [{"namespace": "default", "name": "user"}]}}));
    assert_eq!(validate::local_model_namespace_cache(&near, |group| group == "gpu"), Ok(()));
    assert!(
        validate::local_model_namespace_cache(&near, |_| false)
            .unwrap_err()
            .starts_with("NodeGroup gpu not found: ")
    );
    assert_eq!(
        validate::local_model_namespace_cache_deletion(&near, |_| Some(&uses)),
        Ok(()),
        "it uses the cluster's"
    );
    let uses = user(
        json!({"internal.serving.kserve.io/localmodel": "mine", "internal.serving.kserve.io/localmodel-namespace": "default"}),
    );
    assert_eq!(
        validate::local_model_namespace_cache_deletion(&near, |_| Some(&uses)),
        refused("LocalModelNamespaceCache default/mine is being used by InferenceService default/user")
    );
}

/// A service must find the cache that has its model, and forget it when there is none.
#[test]
fn services_find_their_cache() {
    let mut config = KserveConfig::default();
    config.local_model.enabled = true;
    let groups = ["gpu1".to_owned(), "gpu2".to_owned()];
    let cluster = LocalModel {
        name: "iris",
        namespace: None,
        source_model_uri: "gs://testbucket/testmodel",
        node_groups: &groups,
    };
    let near = LocalModel { name: "near", namespace: Some("default"), ..cluster };
    let far = LocalModel { name: "far", namespace: Some("elsewhere"), ..cluster };
    let look = |uri: &str, annotations: Value, models: &[LocalModel<'_>], config: &KserveConfig| {
        let labels = json!({"internal.serving.kserve.io/localmodel": "stale", "internal.serving.kserve.io/localmodel-namespace": "stale"});
        let mut service: InferenceService =
            from(json!({"metadata": {"name": "foo", "namespace": "default", "annotations": annotations,
            "labels": labels}, "spec": {"predictor": {"tensorflow": {"storageUri": uri}}}}));
        defaults::default_with(&mut service, config, models);
        let label = |key: &str| service.metadata.labels.as_ref().unwrap().get(key).cloned();
        let claim = service.annotation("internal.serving.kserve.io/localmodel-pvc-name").map(str::to_owned);
        let source = service.annotation("internal.serving.kserve.io/localmodel-sourceuri").is_some();
        assert_eq!(source, claim.is_some());
        (
            label("internal.serving.kserve.io/localmodel"),
            label("internal.serving.kserve.io/localmodel-namespace"),
            claim,
        )
    };
    let some =
        |a: &str, b: Option<&str>, c: &str| (Some(a.to_owned()), b.map(str::to_owned), Some(c.to_owned()));
    let uri = "gs://testbucket/testmodel";
    let none = (None, None, None);
    assert_eq!(look(uri, json!({}), &[cluster], &config), some("iris", None, "iris-gpu1"));
    assert_eq!(
        look("gs://testbucket/testmodel/sub/", json!({}), &[cluster], &config),
        some("iris", None, "iris-gpu1")
    );
    assert_eq!(look("gs://testbucket/testmodel2", json!({}), &[cluster], &config), none);
    assert_eq!(
        look(uri, json!({}), &[far, cluster, near], &config),
        some("near", Some("default"), "near-gpu1")
    );
    assert_eq!(look(uri, json!({}), &[far], &config), none);
    assert_eq!(
        look(uri, json!({"serving.kserve.io/nodegroup": "gpu2"}), &[cluster], &config),
        some("iris", None, "iris-gpu2")
    );
    assert_eq!(look(uri, json!({"serving.kserve.io/nodegroup": "gpu3"}), &[cluster], &config), none);
    assert_eq!(look(uri, json!({"serving.kserve.io/disable-localmodel": "true"}), &[cluster], &config), none);
    assert_eq!(look(uri, json!({}), &[cluster], &KserveConfig::default()), none);
}
