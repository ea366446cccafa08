//! "Did you mean …": the known words nearest to a mistyped one.

/// The candidates nearest to `word`, at most two typing errors (one for short words) away, nearest first
/// in the order given. Ties are all returned: when `to` and `for` are equally likely the user should see both.
///
/// Letter case and `_` for `-` do not count as errors.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = folded(word);
    let mut best = usize::MAX;
    let mut found = Vec::new();
    for candidate in candidates {
        let folded_candidate = folded(candidate);
        let longest = word.len().max(folded_candidate.len());
        let allowed = if longest <= 4 { 1 } else { 2 };
        let distance = typing_distance(&word, &folded_candidate);
        if distance > allowed || distance > best {
            continue;
        }
        if distance < best {
            best = distance;
            found.clear();
        }
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// A one-line hint: the nearest candidates, or the whole list when nothing is near.
pub fn hint<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = nearest(word, candidates.clone());
    if near.is_empty() {
        let all: Vec<&str> = candidates.into_iter().collect();
        return format!("known {what}: {}", all.join(", "));
    }
    let quoted: Vec<String> = near.iter().map(|candidate| format!("\"{candidate}\"")).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

/// Whether one typing error, or another letter case alone, leads from one word to the other.
pub(crate) fn is_one_error_away(word: &str, other: &str) -> bool {
    typing_distance(&folded(word), &folded(other)) <= 1
}

fn folded(word: &str) -> Vec<char> {
    // Longer words cannot be near anything that we know; the cut bounds the quadratic comparison.
    word.chars().take(80).flat_map(char::to_lowercase).map(|c| if c == '_' { '-' } else { c }).collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other
/// (optimal string alignment).
fn typing_distance(left: &[char], right: &[char]) -> usize {
    let width = right.len() + 1;
    let mut before_previous = vec![0; width];
    let mut previous: Vec<usize> = (0..width).collect();
    let mut current = vec![0; width];
    for i in 1..=left.len() {
        current[0] = i;
        for j in 1..width {
            let substitution = previous[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut cost = substitution.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                cost = cost.min(before_previous[j - 2] + 1);
            }
            current[j] = cost;
        }
        std::mem::swap(&mut before_previous, &mut previous);
        std::mem::swap(&mut previous, &mut current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user who mistypes a key would be sent to the wrong one.
    #[test]
    fn finds_the_word_that_was_meant() {
        let keys = ["duration", "manifests", "for", "to", "rate"];
        for (typed, meant) in [
            ("durations", vec!["duration"]),
            ("duratoin", vec!["duration"]),
            ("Duration", vec!["duration"]),
            ("manifest", vec!["manifests"]),
            ("fo", vec!["for", "to"]),
            ("rates", vec!["rate"]),
            ("replicas", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
    }

    /// Without a near word the user still learns what there is.
    #[test]
    fn lists_everything_when_nothing_is_near() {
        assert_eq!(hint("replicas", "keys", ["for", "to"]), "known keys: for, to");
        assert_eq!(hint("fro", "keys", ["for", "to"]), "did you mean \"for\"?");
    }
}
