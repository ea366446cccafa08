//! Completion indexes, as text (`0,2-4`) and on pods.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// Label and annotation of a pod: which index it works on.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation of a pod: how often its index has failed before.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// The index that a pod works on.
pub(super) fn of_pod(pod: &Pod) -> Option<i32> {
    let metadata = &pod.metadata;
    let text = metadata.annotations.as_ref().and_then(|all| all.get(INDEX));
    let text = text.or_else(|| metadata.labels.as_ref().and_then(|all| all.get(INDEX)))?;
    text.parse().ok().filter(|index| *index >= 0)
}

/// How often the index of a pod had failed before it.
pub(super) fn failures(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(FAILURES)?.parse().ok()).unwrap_or(0)
}

/// Reads `0,2-4`; parts that are no numbers, and indexes from `limit` on, are left out.
pub(super) fn parse(text: &str, limit: i32) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
        indexes.extend(first.max(0)..=last.min(limit - 1));
    }
    indexes
}

/// Writes `0,2-4`: runs of three or more as a range.
pub(super) fn format(indexes: &BTreeSet<i32>) -> Option<String> {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    let text = words.collect::<Vec<_>>().join(",");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails an Indexed Job runs an index twice, or never.
    #[test]
    fn indexes_are_written_as_upstream_writes_them() {
        for (indexes, text) in [
            (vec![], None),
            (vec![0], Some("0")),
            (vec![0, 1], Some("0,1")),
            (vec![0, 2, 3, 4], Some("0,2-4")),
            (vec![1, 2, 3, 5, 7, 8], Some("1-3,5,7,8")),
        ] {
            let indexes: BTreeSet<i32> = indexes.into_iter().collect();
            assert_eq!(format(&indexes).as_deref(), text);
            assert_eq!(parse(text.unwrap_or_default(), 100), indexes);
        }
        assert_eq!(
            parse("0-4,x,7", 3),
            BTreeSet::from([0, 1, 2]),
            "beyond the completions they do not count"
        );
    }
}
