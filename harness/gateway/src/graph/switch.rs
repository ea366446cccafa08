//! Switch: the first step whose condition the request meets.

use super::{error::Cause, gjson, plan::Step};

/// The step for a request; a request that is not JSON meets no condition.
pub(super) fn choose<'a>(steps: &'a [Step], request: &[u8]) -> Result<&'a Step, Cause> {
    steps
        .iter()
        .find(|step| holds(step.condition.as_deref().unwrap_or_default(), request) == Some(true))
        .ok_or(Cause::NoMatch)
}

/// Whether a condition finds something in a body; `None` where the body is not JSON. Being found is enough: a comparison
/// has to be a query, such as `[@this].#(kind=="a")`.
pub(super) fn holds(condition: &str, body: &[u8]) -> Option<bool> {
    gjson::is_valid(body).then(|| gjson::exists(&String::from_utf8_lossy(body), condition))
}
