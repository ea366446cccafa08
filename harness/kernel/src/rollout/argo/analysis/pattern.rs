//! Names of metrics as patterns: the part of Go's regular expressions that manifests use.

/// Most states of a pattern; a longer one matches nothing.
const MOST_ATOMS: usize = 1024;

/// A pattern: alternatives of characters, `.`, `[a-z]` and `\d`, each with `*`, `+` or `?`, anchored by `^` and `$`.
/// There are no groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Alternative {
    from_start: bool,
    to_end: bool,
    atoms: Vec<Atom>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Atom {
    /// Ranges of characters; none = any.
    ranges: Vec<(char, char)>,
    is_negated: bool,
    is_optional: bool,
    repeats: bool,
}

impl Atom {
    fn takes(&self, c: char) -> bool {
        self.ranges.is_empty()
            || self.ranges.iter().any(|&(from, to)| from <= c && c <= to) != self.is_negated
    }
}

impl Pattern {
    /// Reads a pattern; `None` = it is none, or uses what is not supported here (groups, counts, look-around).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut alternatives = vec![Alternative::default()];
        let mut rest = text.chars().peekable();
        let mut atoms = 0;
        while let Some(c) = rest.next() {
            atoms += 1;
            let current = alternatives.last_mut()?;
            if atoms > MOST_ATOMS || (current.to_end && c != '|') {
                return None;
            }
            let ranges = match c {
                '|' => {
                    alternatives.push(Alternative::default());
                    continue;
                }
                '^' if current.atoms.is_empty() => {
                    current.from_start = true;
                    continue;
                }
                '$' => {
                    current.to_end = true;
                    continue;
                }
                '.' => (Vec::new(), false),
                '[' => class(&mut rest)?,
                '\\' => (escaped(rest.next()?)?, false),
                '*' | '+' | '?' | '(' | ')' | '{' | '^' => return None,
                literal => (vec![(literal, literal)], false),
            };
            let quantifier = rest.next_if(|c| matches!(c, '*' | '+' | '?'));
            current.atoms.push(Atom {
                ranges: ranges.0,
                is_negated: ranges.1,
                is_optional: matches!(quantifier, Some('*' | '?')),
                repeats: matches!(quantifier, Some('*' | '+')),
            });
        }
        Some(Self { alternatives })
    }

    /// Whether it matches a part of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(text))
    }
}

impl Alternative {
    /// Follows all ways through the atoms at once.
    fn matches(&self, text: &str) -> bool {
        let end = self.atoms.len();
        let mut at = vec![false; end + 1];
        let enter = |at: &mut [bool], mut state: usize| {
            at[state] = true;
            while state < end && self.atoms[state].is_optional {
                state += 1;
                at[state] = true;
            }
        };
        enter(&mut at, 0);
        for c in text.chars() {
            if at[end] && !self.to_end {
                return true;
            }
            let mut next = vec![false; end + 1];
            for (state, atom) in self.atoms.iter().enumerate() {
                if at[state] && atom.takes(c) {
                    enter(&mut next, state + 1);
                    if atom.repeats {
                        enter(&mut next, state);
                    }
                }
            }
            if !self.from_start {
                enter(&mut next, 0);
            }
            at = next;
        }
        at[end]
    }
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(Vec<(char, char)>, bool)> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let from = match rest.next()? {
            ']' if !ranges.is_empty() => return Some((ranges, is_negated)),
            '\\' => {
                ranges.extend(escaped(rest.next()?)?);
                continue;
            }
            c => c,
        };
        if rest.next_if_eq(&'-').is_none() {
            ranges.push((from, from));
        } else if rest.peek() == Some(&']') {
            ranges.extend([(from, from), ('-', '-')]);
        } else {
            ranges.push((from, rest.next()?));
        }
    }
}

fn escaped(c: char) -> Option<Vec<(char, char)>> {
    match c {
        'd' => Some(vec![('0', '9')]),
        'w' => Some(vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')]),
        's' => Some(vec![(' ', ' '), ('\t', '\r')]),
        c if c.is_alphanumeric() => None,
        c => Some(vec![(c, c)]),
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// A metric that was meant to be tried out only would abort a release.
    #[test]
    fn matches_what_go_matches() {
        for (pattern, text, expected) in [
            (".*", "success-rate", true),
            ("success", "my-success-rate", true),
            ("^success$", "my-success-rate", false),
            ("test.*", "test-1", true),
            ("^a.*z$", "abcz", true),
            ("^a.*z$", "abcy", false),
            ("latency|errors", "5xx-errors", true),
            ("p9[059]", "p95", true),
            ("p9[^059]", "p95", false),
            ("^m\\d+$", "m12", true),
            ("^m\\d+$", "m", false),
            ("^x?y$", "y", true),
            ("a\\.b", "a.b", true),
            ("a\\.b", "axb", false),
            ("", "anything", true),
            ("^$", "", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).map(|read| read.matches(text)),
                Some(expected),
                "{pattern} {text}"
            );
        }
        for pattern in ["(a)", "a{2}", "*", "[a", "\\", "a$b"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern}");
        }
    }
}
