//! Names with `*` (any characters) and `?` (one).

/// Whether all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The latest star, and where in the text it stopped taking.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// A selection that picks the wrong kernels reports a pass for what was never run.
    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("knative.*", "knative.kpa.scale", true),
            ("knative.*", "hpa.knative.x", false),
            ("*.scale*", "knative.kpa.scaler", true),
            ("*.scale", "knative.kpa.scaler", false),
            ("k?a", "kpa", true),
            ("k?a", "ka", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "aXbXbc", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
