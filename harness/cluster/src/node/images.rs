//! Image names: which process stands for an image.

use std::collections::BTreeMap;

use crate::Image;

/// The images that a node can run, by normal name.
#[derive(Debug, Clone, Default)]
pub struct Images {
    by_repository: BTreeMap<String, Image>,
}

/// Why an image can't be run, in the words of a container's waiting status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRefusal {
    /// `ErrImagePull`, `ErrImageNeverPull` or `InvalidImageName`.
    pub reason: &'static str,
    /// A sentence with a remedy.
    pub message: String,
}

impl Images {
    /// The images given; of two with the same name the last wins.
    #[must_use]
    pub fn new(images: &[Image]) -> Self {
        let by_repository =
            images.iter().map(|image| (repository(&image.reference), image.clone())).collect();
        Self { by_repository }
    }

    /// The image for a reference as a container has it, with or without registry, tag and digest.
    ///
    /// # Errors
    /// The waiting status of a container whose image is unknown or whose name is not one.
    pub fn find(&self, reference: &str, pull_policy: Option<&str>) -> Result<&Image, ImageRefusal> {
        if !is_reference(reference) {
            let message = format!(
                "Failed to apply default image tag \"{reference}\": couldn't parse image name \"{reference}\": \
                 invalid reference format"
            );
            return Err(ImageRefusal { reason: "InvalidImageName", message });
        }
        if let Some(image) = self.by_repository.get(&repository(reference)) {
            return Ok(image);
        }
        if pull_policy == Some("Never") {
            let message = format!("Container image \"{reference}\" is not present with pull policy of Never");
            return Err(ImageRefusal { reason: "ErrImageNeverPull", message });
        }
        let known: Vec<&str> = self.by_repository.values().map(|image| image.reference.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!(
            "failed to pull image \"{reference}\": this cluster runs containers as processes and knows no command for \
             this image (known images: {known}); map the image to a command (`windtunnel up --images FILE`), or run on a \
             cluster with containers"
        );
        Err(ImageRefusal { reason: "ErrImagePull", message })
    }
}

/// The repository of a reference: without digest, tag and the registry that is meant where none is written.
#[must_use]
pub fn repository(reference: &str) -> String {
    let reference = reference.split_once('@').map_or(reference, |(name, _)| name);
    let name_at = reference.rfind('/').map_or(0, |slash| slash + 1);
    let reference = match reference[name_at..].find(':') {
        Some(colon) => &reference[..name_at + colon],
        None => reference,
    };
    let reference = ["index.docker.io/", "docker.io/"]
        .iter()
        .find_map(|r| reference.strip_prefix(r))
        .unwrap_or(reference);
    reference.strip_prefix("library/").unwrap_or(reference).to_owned()
}

/// The reference with the tag that is meant where none is written.
#[must_use]
pub fn with_default_tag(reference: &str) -> String {
    let name_at = reference.rfind('/').map_or(0, |slash| slash + 1);
    if reference.contains('@') || reference[name_at..].contains(':') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

/// Whether the text has the form of an image reference.
fn is_reference(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|digest| {
        !digest.split_once(':').is_some_and(|(kind, hex)| !kind.is_empty() && hex.len() >= 32)
    }) {
        return false;
    }
    let parts: Vec<&str> = name.split('/').collect();
    let last = parts.len() - 1;
    parts.iter().enumerate().all(|(at, part)| {
        // The first part may be a registry host with a port, the last may have a tag.
        let is_host = at == 0 && last > 0 && (part.contains(['.', ':']) || *part == "localhost");
        let (body, tag) = if at == last || is_host {
            part.split_once(':').map_or((*part, None), |(body, tag)| (body, Some(tag)))
        } else {
            (*part, None)
        };
        let tag_is_good = tag.is_none_or(|tag| {
            !tag.is_empty()
                && tag.len() <= 128
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        });
        let body_is_good = !body.is_empty()
            && body.starts_with(|c: char| c.is_ascii_alphanumeric())
            && body.chars().all(|c| {
                c.is_ascii_lowercase()
                    || c.is_ascii_digit()
                    || "._-".contains(c)
                    || (is_host && c.is_ascii_uppercase())
            });
        tag_is_good && body_is_good
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a manifest with a registry, tag or digest in its image does not find the mapped command.
    #[test]
    fn an_image_is_found_whatever_its_tag() {
        let images =
            Images::new(&[Image::new("windtunnel/predictor", ["serve"]), Image::new("busybox", ["sh"])]);
        for reference in [
            "windtunnel/predictor",
            "windtunnel/predictor:latest",
            "docker.io/windtunnel/predictor:v1",
            "windtunnel/predictor@sha256:0123456789abcdef0123456789abcdef",
            "busybox:1.36",
            "docker.io/library/busybox",
        ] {
            assert!(images.find(reference, None).is_ok(), "{reference}");
        }
        let refusal = images.find("other/predictor:v1", None).expect_err("unknown");
        assert_eq!(refusal.reason, "ErrImagePull");
        assert!(
            refusal.message.contains("windtunnel/predictor"),
            "the hint names what is known: {}",
            refusal.message
        );
    }

    /// If this fails a user with a typing error in an image waits for a pull that can't come.
    #[test]
    fn refusals_are_worded_as_kubernetes_does() {
        let images = Images::default();
        let refusal = images.find("rig.local/none:1", Some("Never")).expect_err("unknown");
        assert_eq!(refusal.reason, "ErrImageNeverPull");
        assert_eq!(
            refusal.message,
            "Container image \"rig.local/none:1\" is not present with pull policy of Never"
        );
        for bad in ["BAD//name", "", "a b", "x:", "Upper/case", "a@sha256"] {
            assert_eq!(images.find(bad, None).expect_err(bad).reason, "InvalidImageName", "{bad}");
        }
        for good in ["localhost:5000/a/b:V1", "gcr.io/x/y_z", "a.b-c/d"] {
            assert_eq!(images.find(good, None).expect_err(good).reason, "ErrImagePull", "{good}");
        }
    }

    /// If this fails `kubectl get pod -o yaml` shows a reference that no registry would resolve.
    #[test]
    fn the_latest_tag_is_meant_where_none_is_written() {
        assert_eq!(with_default_tag("a/b"), "a/b:latest");
        assert_eq!(with_default_tag("localhost:5000/b"), "localhost:5000/b:latest");
        assert_eq!(with_default_tag("a:1"), "a:1");
        assert_eq!(with_default_tag("a@sha256:00"), "a@sha256:00");
    }
}
