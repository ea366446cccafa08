//! `inferenceservice.kserve-webhook-server.pod-mutator`.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use windtunnel_api::kserve::names;
use windtunnel_api::kserve::pod::{self, Surroundings};
use windtunnel_apiserver::{Attributes, Denial};

use super::{Cluster, failed, read};
use crate::world::ObjectKey;

pub(super) fn mutate(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    _: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let service = object["metadata"]["labels"].get(names::INFERENCE_SERVICE_LABEL).and_then(Value::as_str);
    let Some(service) = service.map(str::to_owned) else { return Ok(()) };
    let mut pod: Pod = read(object)?;
    // A new pod may have no namespace yet.
    let own = pod.metadata.namespace.clone();
    let namespace = own.clone().unwrap_or_else(|| attributes.namespace.clone());
    pod.metadata.namespace = Some(namespace.clone());
    let around = Surroundings {
        secret: &|namespace, name| {
            cluster.secrets.get(&ObjectKey::new(namespace, name)).map(|secret| (**secret).clone())
        },
        service_account: &|namespace, name| {
            cluster.service_accounts.get(&ObjectKey::new(namespace, name)).map(|account| (**account).clone())
        },
        storage_containers: cluster.storage_containers(),
        service: cluster.services.get(&ObjectKey::new(&namespace, &service)).map(|service| &**service),
    };
    pod::mutate(&mut pod, &cluster.config, &around).map_err(failed)?;
    pod.metadata.namespace = own;
    *object = serde_json::to_value(pod).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
