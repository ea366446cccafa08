//! What every namespace gets: the service account `default` and the config map `kube-root-ca.crt`.

use k8s_openapi::{
    api::core::v1::{ConfigMap, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use serde_json::json;

use crate::{
    effect::{Effect, Outcome},
    world::{Key, Kind, World},
};

/// Name of the config map with the certificate of the cluster's authority.
pub const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";
/// Annotation that tells what the config map is for, in upstream's words.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
clusters.",
);

/// Decides for one namespace; `key` is cluster-scoped.
#[must_use]
pub fn reconcile(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let active =
        world.namespaces.get(key).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
    if !active {
        return outcome;
    }
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(key.name.clone()),
        ..ObjectMeta::default()
    };
    if world.service_accounts.get(&Key::new(key.name.as_str(), "default")).is_none() {
        outcome.push(Effect::create(&ServiceAccount {
            metadata: metadata("default"),
            ..ServiceAccount::default()
        }));
    }
    let Some(certificate) = &world.certificate_authority else { return outcome };
    let data = [("ca.crt".to_owned(), certificate.clone())].into();
    let place = Key::new(key.name.as_str(), ROOT_CERTIFICATE);
    match world.config_maps.get(&place) {
        None => {
            let (name, text) = DESCRIPTION;
            outcome.push(Effect::create(&ConfigMap {
                metadata: ObjectMeta {
                    annotations: Some([(name.to_owned(), text.to_owned())].into()),
                    ..metadata(ROOT_CERTIFICATE)
                },
                data: Some(data),
                ..ConfigMap::default()
            }));
        }
        Some(present) if present.data.as_ref() != Some(&data) => outcome.push(Effect::Patch {
            kind: Kind::ConfigMap,
            key: place,
            status: false,
            // Members that are not its own go.
            patch: json!({"data": data_patch(present, certificate)}),
        }),
        Some(_) => {}
    }
    outcome
}

fn data_patch(present: &ConfigMap, certificate: &str) -> serde_json::Value {
    let mut patch = serde_json::Map::new();
    for name in present.data.iter().flat_map(|data| data.keys()) {
        patch.insert(name.clone(), serde_json::Value::Null);
    }
    patch.insert("ca.crt".to_owned(), certificate.into());
    patch.into()
}
