//! Text of a container's specification as its process sees it: `$(VAR)` references and paths of mounts.

use std::path::{Path, PathBuf};

/// Replaces `$(NAME)` by the value of NAME. `$$` stands for `$` (so `$$(NAME)` is kept as `$(NAME)`), references to
/// unknown names stay as they are.
#[must_use]
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(literal) = after.strip_prefix('$') {
            out.push('$');
            rest = literal;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Paths inside a container and the host paths that stand for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathMap {
    /// Longest inner path first, so that nested mounts win.
    pairs: Vec<(String, PathBuf)>,
}

impl PathMap {
    /// Adds a pair; trailing slashes of `inner` do not matter. The root is not mapped.
    pub fn insert(&mut self, inner: &str, host: impl Into<PathBuf>) {
        let inner = inner.trim_end_matches('/');
        if inner.is_empty() {
            return;
        }
        self.pairs.retain(|(present, _)| present != inner);
        self.pairs.push((inner.to_owned(), host.into()));
        self.pairs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
    }

    /// The host path of a path inside the container, if it is in a mount.
    #[must_use]
    pub fn host_path(&self, inner: &str) -> Option<PathBuf> {
        self.pairs.iter().find_map(|(mount, host)| {
            let rest = inner.strip_prefix(mount.as_str())?;
            match rest.strip_prefix('/') {
                Some(below) => Some(join(host, below)),
                None if rest.is_empty() => Some(host.clone()),
                None => None,
            }
        })
    }

    /// Rewrites every mapped path in a text. A path counts where it stands alone: not as the tail of a longer path
    /// (`/data/w` for `/w`), of a word or of a URL's host, nor as the head of another name (`/w` in `/work`).
    #[must_use]
    pub fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let here = &text[at..];
            let found = here.starts_with('/').then(|| {
                self.pairs.iter().find(|(inner, _)| {
                    here.strip_prefix(inner.as_str()).is_some_and(ends_path) && starts_path(&text[..at])
                })
            });
            if let Some((inner, host)) = found.flatten() {
                out.push_str(&host.to_string_lossy());
                at += inner.len();
            } else {
                let Some(character) = here.chars().next() else { break };
                out.push(character);
                at += character.len_utf8();
            }
        }
        out
    }
}

fn join(host: &Path, below: &str) -> PathBuf {
    if below.is_empty() { host.to_owned() } else { host.join(below) }
}

/// Whether a path may begin after this text.
fn starts_path(before: &str) -> bool {
    before.ends_with("file://")
        || before.chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "/._-~)}".contains(c)))
}

/// Whether a mapped path may end before this text.
fn ends_path(after: &str) -> bool {
    after.chars().next().is_none_or(|c| !(c.is_alphanumeric() || "._-~".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails arguments such as `--port=$(PORT)` reach a server unexpanded.
    #[test]
    fn references_expand_as_kubernetes_expands_them() {
        let value = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)", ""),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A ${A} $(A", "$A ${A} $(A"),
            ("$", "$"),
            ("$$", "$"),
            ("é$(A)", "é1"),
        ] {
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }

    /// If this fails a model server looks for its model in a folder that does not exist, or a neighbour's path is
    /// broken.
    #[test]
    fn mount_paths_are_rewritten_where_they_stand_alone() {
        let mut map = PathMap::default();
        map.insert("/mnt/models", "/pods/p/models");
        map.insert("/mnt/models/cache/", "/pods/p/cache");
        map.insert("/w", "/pods/p/w");
        map.insert("/", "/never");
        for (text, expected) in [
            ("/mnt/models", "/pods/p/models"),
            ("--model_dir=/mnt/models", "--model_dir=/pods/p/models"),
            ("/mnt/models/a.onnx", "/pods/p/models/a.onnx"),
            ("/mnt/models/cache/x", "/pods/p/cache/x"),
            ("/mnt/models2", "/mnt/models2"),
            ("/mnt/models-v2", "/mnt/models-v2"),
            ("/opt/mnt/models", "/opt/mnt/models"),
            ("file:///mnt/models", "file:///pods/p/models"),
            ("http://host/w", "http://host/w"),
            ("cat /w/f > '/w/g'; ls /work", "cat /pods/p/w/f > '/pods/p/w/g'; ls /work"),
            ("a=/w:/mnt/models", "a=/pods/p/w:/pods/p/models"),
            ("$HOME/w ~/w", "$HOME/w ~/w"),
            ("größe /w", "größe /pods/p/w"),
        ] {
            assert_eq!(map.rewrite(text), expected, "{text}");
        }
        assert_eq!(map.host_path("/w/a/b"), Some(PathBuf::from("/pods/p/w/a/b")));
        assert_eq!(map.host_path("/w"), Some(PathBuf::from("/pods/p/w")));
        assert_eq!(map.host_path("/work"), None);
    }
}
