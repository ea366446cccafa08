//! Who may do what: certificates, tokens, impersonation and role-based access control.
//!
//! [`gate`] stands before the pipeline. It turns a connection's certificate or a request's token into a [`User`],
//! follows impersonation headers, and asks the roles whether the request may go on. Signatures are checked once and
//! remembered; whether a token's account and pod still exist is looked up each time.

mod any_certificate;
pub(crate) mod attributes;
mod authentication;
mod authorization_log;
mod gate;
mod impersonation;
pub(crate) mod pki;
pub(crate) mod rbac;
pub(crate) mod tokens;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use any_certificate::AnyCertificate;
pub(crate) use authentication::check_token;
pub use authorization_log::Authorization;
pub(crate) use authorization_log::AuthorizationLog;
pub(crate) use gate::{Peer, gate};
pub(crate) use impersonation::refusal;
pub use pki::{Identity, Pki, PkiError};

/// Members may do anything; no role is asked.
pub(crate) const MASTERS: &str = "system:masters";
/// Every user but the anonymous one is in this group.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The anonymous user's group.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Who brings neither a certificate nor a token.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// Who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User name, e.g. `system:serviceaccount:default:builder`.
    pub name: String,
    /// Unique id, empty where there is none.
    pub uid: String,
    /// Groups in the order in which they were given.
    pub groups: Vec<String>,
    /// What the authenticator knows besides, e.g. the pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A member of `system:masters` with this name.
    pub(crate) fn master(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// A service account, as its tokens and certificates would have it.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let mut groups = service_account_groups(namespace);
        groups.push(AUTHENTICATED.to_owned());
        Self { name: format!("system:serviceaccount:{namespace}:{name}"), groups, ..Self::default() }
    }

    pub(crate) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The `UserInfo` of reviews; empty fields are absent.
    pub(crate) fn info(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".into(), self.name.as_str().into());
        if !self.uid.is_empty() {
            info.insert("uid".into(), self.uid.as_str().into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".into(), json!(self.extra));
        }
        Value::Object(info)
    }
}

/// The account that a user name stands for: namespace and name.
pub(crate) fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// The groups of a service account.
pub(crate) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
