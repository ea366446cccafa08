//! Whether the cluster can mount images as volumes, where the configuration wants models that way: a condition that tells,
//! and that `Ready` does not depend on (`pkg/utils/imagevolume.go`).

use super::super::config::OciMode;
use super::super::status_types::InferenceServiceStatus;
use super::{Inputs, conditions};
use crate::condition::{self, Condition, FALSE};

/// The condition.
const COMPATIBLE: &str = "OciImageVolumeCompatible";

/// What the API server says of itself at `/version`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// `1`.
    pub major: String,
    /// Such as `34`; some distributions add a `+`.
    pub minor: String,
}

/// Sets the condition where image volumes are wanted and may not work, else removes it. A version that is not known is no
/// reason to warn.
pub(super) fn advise(inputs: &Inputs<'_>, status: &mut InferenceServiceStatus) {
    let is_wanted = inputs.config.storage_initializer.oci_mode() == Some(OciMode::Native);
    match inputs.kubernetes.filter(|_| is_wanted).and_then(warning) {
        Some((reason, message)) => {
            conditions::set(status, Condition::new(COMPATIBLE, FALSE, reason, &message));
        }
        None => condition::remove(&mut status.conditions, COMPATIBLE),
    }
}

fn warning(version: &KubernetesVersion) -> Option<(&'static str, String)> {
    let KubernetesVersion { major, minor } = version;
    let number: u32 = minor.strip_suffix('+').unwrap_or(minor).parse().ok()?;
    let cluster = format!("Cluster K8s {major}.{minor}");
    match number {
        0..31 => Some((
            "ImageVolumeUnsupported",
            format!(
                "{cluster} does not support ImageVolume (introduced in 1.31 as alpha). Falling back to modelcar may be \
                 required."
            ),
        )),
        31..33 => Some((
            "ImageVolumeSubPathUnsupported",
            format!(
                "{cluster} (alpha) does not support subPath on ImageVolume VolumeMounts. Upgrade to K8s 1.33+ (beta) \
                 for full oci+native:// support."
            ),
        )),
        33..35 => Some((
            "ImageVolumeAlpha",
            format!(
                "{cluster} has ImageVolume feature-gated (K8s 1.33–1.34 beta). Ensure --feature-gates=ImageVolume=true \
                 is set on kube-apiserver and kubelet."
            ),
        )),
        _ => None,
    }
}
