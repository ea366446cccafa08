//! Which cases run: by id, group, tag or tier, with `*` and `?`.

use crate::case::Case;
use crate::glob;

/// Patterns that a case must match, and patterns that it must not.
///
/// A pattern is matched against the id (`ADM-05`, `ADM-20/worker`; a case's id stands for all of its rows), the group
/// (`ADM`), each tag (`must`) and the tier (`T0`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One of them must match; empty takes every case.
    pub include: Vec<String>,
    /// None of them may match.
    pub exclude: Vec<String>,
}

impl Selection {
    /// Whether the case is one of those.
    #[must_use]
    pub fn takes(&self, case: &Case) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, case));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    /// The patterns that match none of the cases: a mistyped one would leave out what it names.
    #[must_use]
    pub fn idle<'s>(&'s self, cases: &[Case]) -> Vec<&'s str> {
        let patterns = self.include.iter().chain(&self.exclude);
        let idle = patterns.filter(|pattern| !cases.iter().any(|case| matches(pattern, case)));
        idle.map(String::as_str).collect()
    }
}

fn matches(pattern: &str, case: &Case) -> bool {
    let whole = case.id.split('/').next().unwrap_or_default();
    let tier = format!("{:?}", case.tier);
    let names = [case.id.as_str(), whole, case.group(), tier.as_str()];
    names.iter().any(|name| glob::matches(pattern, name))
        || case.tags.iter().any(|tag| glob::matches(pattern, &tag.to_string()))
}
