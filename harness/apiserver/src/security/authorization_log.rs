//! What users were allowed and refused, kept for those who want to know whether a role grants too much or too little.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::{User, attributes::Attributes, rbac::Decision};

/// More different decisions than a set of roles can lead to; further ones are not kept.
const LIMIT: usize = 16_384;

/// One kind of request that a user made, and what the roles said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authorization {
    /// User name, e.g. `system:serviceaccount:default:builder`.
    pub user: String,
    /// `get`, `patch` and so on.
    pub verb: String,
    /// API group, empty for the core and for paths.
    pub group: String,
    /// `pods`, `deployments/scale`; a path such as `/metrics` for a request that is about no resource.
    pub resource: String,
    /// The object's name where the decision was about it: refusals, and rules with `resourceNames`.
    pub name: String,
    /// The role that allows it, `NAMESPACE/NAME` or, of the whole cluster, `NAME`; `None` for a refusal.
    pub role: Option<String>,
}

/// The different decisions so far.
#[derive(Debug, Default)]
pub(crate) struct AuthorizationLog(Mutex<BTreeSet<Authorization>>);

impl AuthorizationLog {
    pub(crate) fn note(&self, user: &User, attributes: &Attributes, decision: &Decision) {
        let is_named = decision.granted.as_ref().is_none_or(|(_, is_named)| *is_named);
        let role = decision.granted.as_ref().map(|(role, _)| {
            if role.namespace.is_empty() {
                role.name.to_string()
            } else {
                format!("{}/{}", role.namespace, role.name)
            }
        });
        let path = &attributes.path;
        let entry = Authorization {
            user: user.name.clone(),
            verb: attributes.verb.clone(),
            group: attributes.group.clone(),
            resource: if path.is_empty() { attributes.rule_resource() } else { path.clone() },
            name: if is_named { attributes.name.clone() } else { String::new() },
            role,
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() < LIMIT {
            entries.insert(entry);
        }
    }

    pub(crate) fn entries(&self) -> BTreeSet<Authorization> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
