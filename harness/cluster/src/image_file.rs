//! The file that maps image names to commands.
//!
//! ```
//! let text = "
//! images:
//! - image: registry.example/server
//!   command: [python3, -m, http.server]
//!   env: {PYTHONUNBUFFERED: '1'}
//! ";
//! let images = windtunnel_cluster::read_images(text, "images.yaml")?;
//! assert_eq!(images[0].argv, ["python3", "-m", "http.server"]);
//! # Ok::<_, windtunnel_cluster::ClusterError>(())
//! ```

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::{ClusterError, Image};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    images: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Repository; tag and digest do not matter.
    image: String,
    /// The image's entrypoint.
    #[serde(default)]
    command: Vec<String>,
    /// The image's environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Folder with the image's own files, an absolute path.
    root: Option<PathBuf>,
}

/// Reads such a file, YAML or JSON; `place` is its name in messages.
///
/// # Errors
/// [`ClusterError::Images`] for what is not such a file: unknown keys, an image twice, a folder that is none.
pub fn read_images(text: &str, place: &str) -> Result<Vec<Image>, ClusterError> {
    let at_fault = |cause: String| ClusterError::Images { place: place.to_owned(), cause };
    let file: File = serde_saphyr::from_str(text).map_err(|error| at_fault(error.to_string()))?;
    let mut images: Vec<Image> = Vec::new();
    for (number, entry) in file.images.into_iter().enumerate() {
        let name = crate::node::images::repository(&entry.image);
        if name.is_empty() {
            return Err(at_fault(format!("images[{number}].image is empty")));
        }
        if images.iter().any(|image| crate::node::images::repository(&image.reference) == name) {
            return Err(at_fault(format!("images[{number}]: {name} is there twice; keep one of them")));
        }
        if let Some(root) = entry.root.as_ref().filter(|root| !(root.is_absolute() && root.is_dir())) {
            let cause =
                format!("images[{number}].root: {} is not the absolute path of a folder", root.display());
            return Err(at_fault(cause));
        }
        images.push(Image { reference: entry.image, argv: entry.command, env: entry.env, root: entry.root });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a typing error in the file leads to pods that wait for an image without a hint where to look.
    #[test]
    fn mistakes_are_told_with_place_and_cause() {
        let good =
            read_images("images: [{image: a/b, command: [x], root: /}, {image: c}]", "f").expect("good");
        assert_eq!((good.len(), good[0].root.as_deref()), (2, Some(std::path::Path::new("/"))));
        for (text, words) in [
            ("images: [{image: a, comand: [x]}]", "comand"),
            ("images: [{image: a:1}, {image: docker.io/a}]", "twice"),
            ("images: [{image: ''}]", "images[0].image is empty"),
            ("images: [{image: a, root: none}]", "images[0].root"),
            ("nothing", "f"),
        ] {
            let refusal = read_images(text, "f").expect_err(text).to_string();
            assert!(refusal.contains(words) && refusal.contains("f: "), "{refusal}");
        }
    }
}
