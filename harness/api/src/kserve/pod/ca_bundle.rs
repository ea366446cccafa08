//! Further certificate authorities for downloads, from a ConfigMap.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, PodSpec, Volume};

use super::super::config::{CONFIG_NAMESPACE, StorageInitializer};
use super::super::plan::ca_bundle::GLOBAL_CA_BUNDLE;
use super::containers::{add_if_absent, add_mount, add_volume, mount, parent, value_of, variable};
use super::s3;

/// Name of the volume.
const VOLUME: &str = "cabundle-cert";
/// Where it is mounted when nobody says.
const DEFAULT_PATH: &str = "/etc/ssl/custom-certs";

/// A ConfigMap and the folder that it is mounted at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CaBundle {
    config_map: String,
    path: String,
}

/// The bundle that a container needs: the operator's, or the one that its S3 credentials name.
pub(super) fn of(container: &Container, namespace: &str, config: &StorageInitializer) -> Option<CaBundle> {
    let own = value_of(container, s3::CA_BUNDLE_CONFIG_MAP);
    if config.ca_bundle_config_map_name.is_empty() && own.is_none() {
        return None;
    }
    let configured = if namespace == CONFIG_NAMESPACE {
        config.ca_bundle_config_map_name.as_str()
    } else {
        GLOBAL_CA_BUNDLE
    };
    let path = match value_of(container, s3::CA_BUNDLE) {
        Some(file) => parent(file).to_owned(),
        None if config.ca_bundle_volume_mount_path.is_empty() => DEFAULT_PATH.to_owned(),
        None => config.ca_bundle_volume_mount_path.clone(),
    };
    Some(CaBundle { config_map: own.unwrap_or(configured).to_owned(), path })
}

impl CaBundle {
    /// Mounts the bundle and says where it is. What the container says itself stays.
    pub(super) fn mount(&self, container: &mut Container, spec: &mut PodSpec) {
        add_if_absent(container, variable("CA_BUNDLE_CONFIGMAP_NAME", self.config_map.clone()));
        add_if_absent(container, variable("CA_BUNDLE_VOLUME_MOUNT_POINT", self.path.clone()));
        add_volume(
            spec,
            Volume {
                name: VOLUME.to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: self.config_map.clone(),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
        );
        add_mount(container, mount(VOLUME, &self.path, true));
    }
}
