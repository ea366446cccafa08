//! Conditions in the shape that Knative and KServe share ("duck" conditions), kept sorted by type.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Fields;

/// `True`: holds.
pub const TRUE: &str = "True";
/// `False`: does not hold.
pub const FALSE: &str = "False";
/// `Unknown`: not decided yet.
pub const UNKNOWN: &str = "Unknown";

/// One condition of a status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Condition type, unique in its list.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Empty for conditions that readiness depends on, `Info` for those it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// When `status` last changed; `None` until [`stamp`] fills it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::string")]
    pub last_transition_time: Option<Time>,
    /// One word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Anything else that the object carried.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl Condition {
    /// A condition that readiness depends on.
    #[must_use]
    pub fn new(type_: &str, status: &str, reason: &str, message: &str) -> Self {
        let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        Self {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: text(reason),
            message: text(message),
            ..Self::default()
        }
    }

    /// The same condition as mere information (`severity: Info`).
    #[must_use]
    pub fn informational(mut self) -> Self {
        self.severity = Some("Info".to_owned());
        self
    }

    /// Whether the status is `True`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == TRUE
    }

    /// Whether the status is `False`.
    #[must_use]
    pub fn is_false(&self) -> bool {
        self.status == FALSE
    }

    /// The reason, or the empty string.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    /// The message, or the empty string.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

/// The condition of the given type, if it is there.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of the given type is there and `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(Condition::is_true)
}

/// Puts a condition into the list, sorted by type. The transition time of the condition it replaces is
/// kept while the status stays the same and is cleared (for [`stamp`] to fill) when the status changes.
pub fn set(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter().position(|old| old.type_ == condition.type_) {
        Some(index) => {
            let old = &conditions[index];
            if old.status == condition.status {
                condition.last_transition_time.clone_from(&old.last_transition_time);
            }
            conditions[index] = condition;
        }
        None => {
            conditions.push(condition);
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
    }
}

/// Removes the condition of the given type.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// Sets the happy condition from the ones it depends on: `False` with the first false one's words, else
/// `Unknown` with the first unknown (or missing) one's, else `True`.
pub fn summarise(conditions: &mut Vec<Condition>, happy: &str, dependents: &[&str]) {
    let find_status = |status: &str| {
        dependents.iter().find_map(|type_| match find(conditions, type_) {
            Some(found) if found.status == status => Some((found.reason.clone(), found.message.clone())),
            None if status == UNKNOWN => Some((None, None)),
            _ => None,
        })
    };
    let (status, (reason, message)) = if let Some(words) = find_status(FALSE) {
        (FALSE, words)
    } else if let Some(words) = find_status(UNKNOWN) {
        (UNKNOWN, words)
    } else {
        (TRUE, (None, None))
    };
    let summary = Condition {
        type_: happy.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        ..Condition::default()
    };
    set(conditions, summary);
}

/// Fills in the transition time of every condition that has just changed.
pub fn stamp(conditions: &mut [Condition], now: &Time) {
    for condition in conditions {
        if condition.last_transition_time.is_none() {
            condition.last_transition_time = Some(now.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users lose the meaning of `lastTransitionTime` (and controllers write for ever) if an unchanged
    /// status gets a new time.
    #[test]
    fn transition_time_moves_only_with_the_status() {
        let now = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        let mut list = Vec::new();
        set(&mut list, Condition::new("Ready", UNKNOWN, "", ""));
        stamp(&mut list, &now);
        set(&mut list, Condition::new("Ready", UNKNOWN, "Deploying", "soon"));
        assert_eq!(find(&list, "Ready").unwrap().last_transition_time, Some(now));
        set(&mut list, Condition::new("Ready", TRUE, "", ""));
        assert_eq!(find(&list, "Ready").unwrap().last_transition_time, None);
    }

    /// A service would be called Ready too early if a missing part counted as fine.
    #[test]
    fn summary_is_as_bad_as_its_worst_part() {
        let mut list = vec![Condition::new("A", TRUE, "", "")];
        summarise(&mut list, "Ready", &["A", "B"]);
        assert_eq!(find(&list, "Ready").unwrap().status, UNKNOWN);
        set(&mut list, Condition::new("B", FALSE, "Broken", "b broke"));
        summarise(&mut list, "Ready", &["A", "B"]);
        let ready = find(&list, "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.message()), (FALSE, "b broke"));
        set(&mut list, Condition::new("B", TRUE, "", ""));
        summarise(&mut list, "Ready", &["A", "B"]);
        assert!(is_true(&list, "Ready"));
    }
}
