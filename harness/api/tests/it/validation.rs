//! Every rule of the validating webhook, with upstream's words.

use windtunnel_api::kserve::{InferenceService, KserveConfig, defaults, names, validate};

use crate::{predictor, service};

const ONE_OF: &str = "exactly one of [Name, SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, Paddle, Model, StorageUris, StorageContainerName, WorkerSpec, PodSpec] must be specified in PredictorSpec";

fn verdict(spec: &str, annotations: &[(&str, &str)]) -> Result<(), String> {
    // Straight from YAML: a cluster with upstream's minimal definitions has no schema before the webhook.
    let indented: String = spec.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("metadata: {{name: digits}}\nspec:\n  predictor:\n{indented}");
    let mut service: InferenceService = serde_saphyr::from_str(&text).unwrap();
    let map = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    service.metadata.annotations = Some(map);
    defaults::default(&mut service, &KserveConfig::default());
    validate::validate(&service, None)
}

const MODEL: &str = "model: {modelFormat: {name: onnx}, storageUri: 's3://m/v1'}\n";

/// A good manifest that is refused, or a bad one that is let in, is found only when nothing serves.
#[test]
fn predictors() {
    let standard = (names::DEPLOYMENT_MODE, "Standard");
    let hpa = (names::AUTOSCALER_CLASS, "hpa");
    let keda = (names::AUTOSCALER_CLASS, "keda");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (MODEL, &[], None),
        ("onnx: {storageUri: 's3://m'}", &[], None),
        ("containers: [{name: mine, image: x}]", &[], None),
        ("minReplicas: 0\nmaxReplicas: 3\nmodel: {modelFormat: {name: onnx}}", &[], None),
        ("minReplicas: 2\nmaxReplicas: 0\nmodel: {modelFormat: {name: onnx}}", &[], None),
        ("minReplicas: 1", &[], Some(ONE_OF)),
        ("sklearn: {storageUri: 's3://m'}\nxgboost: {storageUri: 's3://m'}", &[], Some(ONE_OF)),
        (
            "minReplicas: -1\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("'MinReplicas' cannot be less than 0"),
        ),
        (
            "maxReplicas: -1\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("'MaxReplicas' cannot be less than 0"),
        ),
        (
            "minReplicas: 3\nmaxReplicas: 2\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("'MinReplicas' cannot be greater than MaxReplicas"),
        ),
        (
            "containerConcurrency: -1\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("parallelism cannot be less than 0"),
        ),
        ("logger: {url: 'http://x'}\nmodel: {modelFormat: {name: onnx}}", &[], Some("invalid logger type")),
        (
            "logger: {mode: all, storage: {path: x}}\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("invalid logger storage configuration"),
        ),
        (MODEL, &[(names::AUTOSCALER_CLASS, "kpa")], Some("[kpa] is not a supported autoscaler class type")),
        (
            "scaleMetric: cpu\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("[cpu] is not a supported metric"),
        ),
        (
            "scaleMetric: rps\nscaleTarget: 0\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("the target for rps should be greater than 1"),
        ),
        (
            "deploymentStrategy: {type: Recreate}\nmodel: {modelFormat: {name: onnx}}",
            &[],
            Some("customizing deploymentStrategy is only supported for raw deployment mode"),
        ),
        ("deploymentStrategy: {type: Recreate}\nmodel: {modelFormat: {name: onnx}}", &[standard], None),
        ("scaleMetric: rps\nmodel: {modelFormat: {name: onnx}}", &[standard], None),
        (
            "scaleMetric: rps\nmodel: {modelFormat: {name: onnx}}",
            &[standard, hpa],
            Some("[rps] is not a supported metric"),
        ),
        (
            "scaleTarget: 0\nmodel: {modelFormat: {name: onnx}}",
            &[standard, hpa],
            Some("the target utilization percentage should be a [1-100] integer"),
        ),
        (
            "scaleMetric: memory\nscaleTarget: 101\nmodel: {modelFormat: {name: onnx}}",
            &[standard, hpa],
            Some("the target utilization percentage should be a [1-100] integer"),
        ),
        (
            "scaleMetric: memory\nscaleTarget: 0\nmodel: {modelFormat: {name: onnx}}",
            &[standard, hpa],
            Some("the target memory should be greater than 1 MiB"),
        ),
        (
            "autoScaling: {metrics: [{type: External}]}\nmodel: {modelFormat: {name: onnx}}",
            &[standard, hpa],
            Some(
                "invalid HPA metric source type with value [External],valid metric source types are Resource",
            ),
        ),
        (
            "scaleMetric: cpu\nmodel: {modelFormat: {name: onnx}}",
            &[standard, keda],
            Some("ScaleMetric is not supported for KEDA"),
        ),
        (
            "autoScaling: {metrics: [{type: Odd}]}\nmodel: {modelFormat: {name: onnx}}",
            &[standard, keda],
            Some("unknown KEDA metric type with value [Odd].Valid types are Resource,External,PodMetric"),
        ),
        (
            "autoScaling: {metrics: [{type: External, external: {metric: {}, target: {type: Value, value: 1}}}]}\nmodel: {modelFormat: {name: onnx}}",
            &[standard, keda],
            Some("the query should not be empty"),
        ),
        (
            "autoScaling: {metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Ki}}}]}\nmodel: {modelFormat: {name: onnx}}",
            &[standard, keda],
            Some("the memory target value should be greater than 1 MiB"),
        ),
        (
            "model: {modelFormat: {name: onnx}, name: mine}",
            &[],
            Some("the 'name' field is not allowed in standard predictor"),
        ),
        (
            "model: {modelFormat: {name: onnx}, env: [{name: PYTHONPATH, value: /x}]}",
            &[],
            Some(
                "the InferenceService \"digits\" is invalid: setting PYTHONPATH in container \"\" is not allowed for security reasons",
            ),
        ),
        (
            "containers: [{image: x, env: [{name: PROTOCOL, value: v3}]}]",
            &[],
            Some("invalid protocol v1, v2. Must be one of [v3]"),
        ),
        (
            "model: {modelFormat: {name: onnx}}\ncontainers: [{name: transformer-container, env: [{name: STORAGE_URI, value: x}]}]",
            &[],
            Some("storage uri should not be specified in transformer container"),
        ),
        (
            "model: {modelFormat: {name: onnx}, storageUri: 's3://m'}\nstorageUris: [{uri: 's3://n'}]",
            &[],
            Some("Setting both StorageURI and StorageURIs is not supported."),
        ),
        (
            "model: {modelFormat: {name: onnx}}\nstorageUris: [{uri: 's3://n', mountPath: /mnt/../etc}]",
            &[],
            Some("storage path cannot contain '..' for security reasons: /mnt/../etc"),
        ),
        (
            "model: {modelFormat: {name: onnx}}\nstorageUris: [{uri: 's3://n', mountPath: /a/x}, {uri: 's3://n', mountPath: /b/x}]",
            &[],
            Some(
                "storage paths must have a common parent directory. Current paths: [/a/x /b/x] have no common parent beyond root",
            ),
        ),
        (
            "model: {modelFormat: {name: onnx}, confidential: {enabled: true}}",
            &[],
            Some("confidential model serving requires storageUri to be set"),
        ),
    ];
    for (spec, annotations, expected) in cases {
        let expected = expected.map_or(Ok(()), |message| Err(message.to_owned()));
        assert_eq!(verdict(spec, annotations), expected, "{spec} with {annotations:?}");
    }
}

/// A name that cannot be a host name must be refused with the rule that it breaks.
#[test]
fn names_of_services() {
    for (name, fine) in [
        ("digits", true),
        ("a", true),
        ("a-1", true),
        ("1a", false),
        ("a.b", false),
        ("a-", false),
        ("A", false),
    ] {
        let mut service = predictor(MODEL);
        service.metadata.name = Some(name.to_owned());
        let verdict = validate::validate(&service, None);
        assert_eq!(verdict.is_ok(), fine, "{name}");
        if let Err(message) = verdict {
            assert_eq!(
                message,
                format!(
                    "the InferenceService \"{name}\" is invalid: a InferenceService name must consist of lower case alphanumeric characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \"abc-123\", regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                )
            );
        }
    }
}

/// Children of one mode would be left behind if the mode could change.
#[test]
fn deployment_mode_is_fixed_once_recorded() {
    let mut old = predictor(MODEL);
    old.status = Some(Default::default());
    let mut new = old.clone();
    new.metadata.annotations = Some([(names::DEPLOYMENT_MODE.to_owned(), "Standard".to_owned())].into());
    assert_eq!(validate::validate(&new, Some(&old)), Ok(()));
    old.status.as_mut().unwrap().deployment_mode = Some("Serverless".to_owned());
    assert_eq!(
        validate::validate(&new, Some(&old)),
        Err("update rejected: deploymentMode cannot be changed from 'Knative' to 'Standard'".to_owned())
    );
    new.metadata.annotations = Some([(names::DEPLOYMENT_MODE.to_owned(), "Serverless".to_owned())].into());
    assert_eq!(validate::validate(&new, Some(&old)), Ok(()));
}

/// A canary that takes more than there is, or has no name of its own, would take the stable one's place.
#[test]
fn named_canaries() {
    let make = |canaries: &str, mode: &str| {
        let mut service = service(&format!(
            "
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: digits, annotations: {{serving.kserve.io/deploymentMode: {mode}}}}}
spec:
  predictor: {{name: stable, minReplicas: 2, model: {{modelFormat: {{name: onnx}}, storageUri: 's3://m/v1'}}}}
  canary: [{canaries}]
"
        ));
        defaults::default(&mut service, &KserveConfig::default());
        validate::validate(&service, None)
    };
    let one = |name: &str, percent: i32, more: &str| {
        format!(
            "{{trafficPercent: {percent}, predictor: {{name: {name}, {more} model: {{modelFormat: {{name: onnx}}, storageUri: 's3://m/v2'}}}}}}"
        )
    };
    assert_eq!(make(&one("a", 10, ""), "Standard"), Ok(()));
    let refused = |canaries: &str, mode: &str, message: &str| {
        assert_eq!(make(canaries, mode), Err(message.to_owned()), "{canaries}");
    };
    refused(&one("a", 10, ""), "Knative", "canary is only supported in Standard deployment mode");
    refused(&one("''", 10, ""), "Standard", "canary[0] predictor.name is required");
    refused(&one("a", 101, ""), "Standard", "canary \"a\" trafficPercent must be between 0 and 100, got 101");
    refused(
        &one("stable", 1, ""),
        "Standard",
        "canary predictor.name \"stable\" conflicts with stable predictor name",
    );
    let twice = format!("{}, {}", one("a", 1, ""), one("a", 1, ""));
    refused(&twice, "Standard", "canary predictor.name \"a\" is duplicated");
    let much = format!("{}, {}", one("a", 60, ""), one("b", 60, ""));
    refused(&much, "Standard", "sum of canary trafficPercent values (120) must be <= 100");
    refused(
        &one("a", 1, "minReplicas: 3,"),
        "Standard",
        "canary \"a\" minReplicas (3) must not exceed stable predictor minReplicas (2)",
    );
    let fixed = |field: &str, value: &str, why: &str| {
        let message = format!("canary \"a\" must not set {field} ({why})");
        refused(&one("a", 1, &format!("{field}: {value},")), "Standard", &message);
    };
    fixed("maxReplicas", "3", "canary uses fixed replicas");
    fixed("scaleTarget", "3", "canary uses fixed replicas");
    fixed("scaleMetric", "cpu", "canary uses fixed replicas");
    fixed("autoScaling", "{}", "canary uses fixed replicas");
    fixed("workerSpec", "{}", "multi-node is not yet supported for canary");
    refused(&one("a", 1, "sklearn: {},"), "Standard", &format!("canary \"a\" predictor: {ONE_OF}"));
}

/// The defaulter decides what is validated and rendered; twice must be the same as once.
#[test]
fn defaulting() {
    let mut legacy = predictor("onnx: {storageUri: 's3://m', args: [--x]}");
    defaults::default(&mut legacy, &KserveConfig::default());
    let model = legacy.spec.predictor.model.as_ref().unwrap();
    assert_eq!(model.model_format.name, "onnx");
    assert_eq!(model.extension.protocol_version.as_deref(), Some("v2"));
    assert_eq!(model.extension.container["args"][0], "--x");
    assert!(legacy.spec.predictor.onnx.is_none());
    assert_eq!(legacy.annotation("modelFormat"), Some("onnx"));
    assert_eq!(legacy.annotation(names::DEPLOYMENT_MODE), None);

    let mut custom = predictor("containers: [{name: mine, image: x, resources: {limits: {cpu: 2}}}]");
    custom.metadata.annotations =
        Some([(names::DEPLOYMENT_MODE.to_owned(), "RawDeployment".to_owned())].into());
    defaults::default(&mut custom, &KserveConfig::default());
    let container = &custom.spec.predictor.pod["containers"][0];
    assert_eq!(container["name"], "kserve-container");
    assert_eq!(container["resources"]["limits"]["cpu"], 2);
    assert_eq!(container["resources"]["requests"]["memory"], "2Gi");
    assert_eq!(custom.annotation(names::DEPLOYMENT_MODE), Some("Standard"));

    for once in [legacy, custom] {
        let mut twice = once.clone();
        defaults::default(&mut twice, &KserveConfig::default());
        assert_eq!(once, twice);
    }
}
