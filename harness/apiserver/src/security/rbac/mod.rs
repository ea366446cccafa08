//! Role-based access control: the roles and bindings of the store, read once and kept in step with it.

pub(crate) mod bootstrap;
pub(crate) mod rules;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use serde_json::Value;

pub(crate) use rules::{Rule, uncovered};

use super::{AuthorizationLog, User, attributes::Attributes};
use crate::{
    object::{list, meta, text},
    store::Key,
};

/// API group of roles.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
/// Shelf of cluster roles.
pub(crate) const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";

/// Whether a request is allowed, and why or why not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// Empty where the roles have nothing to say.
    pub(crate) reason: String,
    /// The role that allows it, and whether its rule is about certain names only.
    pub(crate) granted: Option<(Key, bool)>,
}

/// Whom a binding names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
    /// By user name; apart from users only for the words of the answer.
    ServiceAccount {
        user: String,
        shown: String,
    },
}

#[derive(Debug)]
struct Binding {
    /// Namespace (empty for a cluster role) and name.
    role: Key,
    subjects: Vec<Subject>,
}

/// Roles and bindings by key; those of the whole cluster have an empty namespace.
#[derive(Debug, Default)]
pub(crate) struct Rbac {
    roles: HashMap<Key, Arc<Vec<Rule>>>,
    bindings: HashMap<Key, Binding>,
    /// The bindings that name a user or a group. Users have the prefix `u:`, groups `g:`.
    by_subject: HashMap<String, BTreeSet<Key>>,
    /// The decisions about requests, once somebody wants them.
    pub(crate) log: OnceLock<AuthorizationLog>,
}

impl Rbac {
    /// Whether objects of this shelf are roles or bindings.
    pub(crate) fn reads(shelf: &str) -> bool {
        shelf.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Takes note of a stored object, or of its removal.
    pub(crate) fn note(&mut self, shelf: &str, key: &Key, object: Option<&Value>) {
        let is_role = shelf.ends_with("roles");
        match (is_role, object) {
            (true, Some(role)) => {
                let rules = list(role, &["rules"]).iter().map(Rule::read).collect();
                self.roles.insert(key.clone(), Arc::new(rules));
            }
            (true, None) => {
                self.roles.remove(key);
            }
            (false, object) => {
                if let Some(old) = self.bindings.remove(key) {
                    for subject in &old.subjects {
                        if let Some(keys) = self.by_subject.get_mut(&subject.index()) {
                            keys.remove(key);
                            if keys.is_empty() {
                                self.by_subject.remove(&subject.index());
                            }
                        }
                    }
                }
                if let Some(object) = object {
                    let binding = Binding::read(object);
                    for subject in &binding.subjects {
                        self.by_subject.entry(subject.index()).or_default().insert(key.clone());
                    }
                    self.bindings.insert(key.clone(), binding);
                }
            }
        }
    }

    /// Whether a user may do what a request asks for; decisions about administrators are not kept.
    pub(crate) fn authorize_request(&self, user: &User, request: &Attributes) -> Decision {
        let decision = self.authorize(user, request);
        if let Some(log) = self.log.get().filter(|_| !user.is_master()) {
            log.note(user, request, &decision);
        }
        decision
    }

    /// Whether a user may do something.
    pub(crate) fn authorize(&self, user: &User, request: &Attributes) -> Decision {
        if user.is_master() {
            return Decision { allowed: true, ..Decision::default() };
        }
        let mut missing: Vec<String> = Vec::new();
        for (key, binding, subject) in self.bindings_of(user, &request.namespace) {
            let Some(rules) = self.roles.get(&binding.role) else {
                let error = binding.role_not_found();
                if !missing.contains(&error) {
                    missing.push(error);
                }
                continue;
            };
            if let Some(rule) = rules.iter().find(|rule| rule.allows(request)) {
                let reason = format!(
                    "RBAC: allowed by {} of {} \"{}\" to {}",
                    binding_text(key),
                    binding.role_kind(),
                    binding.role.name,
                    subject.text()
                );
                let granted = Some((binding.role.clone(), !rule.names.is_empty()));
                return Decision { allowed: true, reason, granted };
            }
        }
        let reason = match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            all => format!("RBAC: [{}]", all.join(", ")),
        };
        Decision { allowed: false, reason, granted: None }
    }

    /// All rules that a user holds in a namespace, and whether every role was found.
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if user.is_master() {
            let all = || vec!["*".to_owned()];
            let everything = Rule { groups: all(), resources: all(), verbs: all(), ..Rule::default() };
            return (vec![everything, Rule { urls: all(), verbs: all(), ..Rule::default() }], Vec::new());
        }
        let (mut rules, mut missing) = (Vec::new(), Vec::new());
        for (_, binding, _) in self.bindings_of(user, namespace) {
            match self.roles.get(&binding.role) {
                Some(found) => rules.extend(found.iter().cloned()),
                None => missing.push(binding.role_not_found()),
            }
        }
        (rules, missing)
    }

    /// The rules of a role.
    pub(crate) fn role(&self, key: &Key) -> Option<&[Rule]> {
        self.roles.get(key).map(|rules| rules.as_slice())
    }

    /// The bindings that name a user, those of the whole cluster first.
    fn bindings_of<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Binding, &'a Subject)> {
        let names = std::iter::once(format!("u:{}", user.name))
            .chain(user.groups.iter().map(|group| format!("g:{group}")));
        let mut keys: BTreeSet<&Key> = BTreeSet::new();
        for name in names {
            let bound = self.by_subject.get(&name).into_iter().flatten();
            keys.extend(bound.filter(|key| key.namespace.is_empty() || &*key.namespace == namespace));
        }
        keys.into_iter().filter_map(move |key| {
            let binding = self.bindings.get(key)?;
            let subject = binding.subjects.iter().find(|subject| subject.is(user))?;
            Some((key, binding, subject))
        })
    }
}

impl Subject {
    fn read(subject: &Value, namespace: &str) -> Self {
        let name = text(subject, &["name"]);
        match text(subject, &["kind"]) {
            "Group" => Self::Group(name.to_owned()),
            "ServiceAccount" => {
                let own = text(subject, &["namespace"]);
                let namespace = if own.is_empty() { namespace } else { own };
                Self::ServiceAccount {
                    user: format!("system:serviceaccount:{namespace}:{name}"),
                    shown: format!("{name}/{namespace}"),
                }
            }
            _ => Self::User(name.to_owned()),
        }
    }

    fn index(&self) -> String {
        match self {
            Self::User(user) | Self::ServiceAccount { user, .. } => format!("u:{user}"),
            Self::Group(group) => format!("g:{group}"),
        }
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) | Self::ServiceAccount { user: name, .. } => *name == user.name,
            Self::Group(group) => user.is_in(group),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::User(name) => format!("User \"{name}\""),
            Self::Group(name) => format!("Group \"{name}\""),
            Self::ServiceAccount { shown, .. } => format!("ServiceAccount \"{shown}\""),
        }
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let namespace = meta(object, "namespace");
        let of_cluster = text(object, &["roleRef", "kind"]) == "ClusterRole";
        Self {
            role: Key::new(if of_cluster { "" } else { namespace }, text(object, &["roleRef", "name"])),
            subjects: list(object, &["subjects"])
                .iter()
                .map(|subject| Subject::read(subject, namespace))
                .collect(),
        }
    }

    fn role_kind(&self) -> &'static str {
        if self.role.namespace.is_empty() { "ClusterRole" } else { "Role" }
    }

    fn role_not_found(&self) -> String {
        format!("{}.{GROUP} \"{}\" not found", self.role_kind().to_lowercase(), self.role.name)
    }
}

fn binding_text(key: &Key) -> String {
    if key.namespace.is_empty() {
        format!("ClusterRoleBinding \"{}\"", key.name)
    } else {
        format!("RoleBinding \"{}/{}\"", key.name, key.namespace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn note(rbac: &mut Rbac, plural: &str, object: &Value) {
        let key = Key::new(meta(object, "namespace"), meta(object, "name"));
        rbac.note(&format!("{GROUP}/{plural}"), &key, Some(object));
    }

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User { name: name.to_owned(), groups, ..User::default() }
    }

    fn asks(path: &str) -> Attributes {
        Attributes::of("GET", path, "")
    }

    #[test]
    fn bindings_of_a_namespace_end_at_its_border() {
        let mut rbac = Rbac::default();
        note(
            &mut rbac,
            "clusterroles",
            &json!({"metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]}),
        );
        note(
            &mut rbac,
            "rolebindings",
            &json!({"metadata": {"name": "b", "namespace": "n"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "devs"}, {"kind": "ServiceAccount", "name": "a"}]}),
        );
        let joe = user("joe", &["devs"]);
        assert_eq!(
            rbac.authorize(&joe, &asks("/api/v1/namespaces/n/pods")).reason,
            "RBAC: allowed by RoleBinding \"b/n\" of ClusterRole \"reader\" to Group \"devs\""
        );
        let robot = user("system:serviceaccount:n:a", &[]);
        assert_eq!(
            rbac.authorize(&robot, &asks("/api/v1/namespaces/n/pods/p")).reason,
            "RBAC: allowed by RoleBinding \"b/n\" of ClusterRole \"reader\" to ServiceAccount \"a/n\""
        );
        for elsewhere in ["/api/v1/namespaces/m/pods", "/api/v1/pods", "/api/v1/namespaces/n/secrets"] {
            assert!(!rbac.authorize(&joe, &asks(elsewhere)).allowed, "{elsewhere}");
        }
        rbac.note("rbac.authorization.k8s.io/rolebindings", &Key::new("n", "b"), None);
        assert_eq!(rbac.authorize(&joe, &asks("/api/v1/namespaces/n/pods")), Decision::default());
        assert!(rbac.by_subject.is_empty(), "nothing of a removed binding stays");
    }

    #[test]
    fn a_binding_of_a_missing_role_says_so() {
        let mut rbac = Rbac::default();
        note(
            &mut rbac,
            "clusterrolebindings",
            &json!({"metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "nope"}, "subjects": [{"kind": "User", "name": "joe"}]}),
        );
        let decision = rbac.authorize(&user("joe", &[]), &asks("/api/v1/pods"));
        assert_eq!(decision.reason, "RBAC: clusterrole.rbac.authorization.k8s.io \"nope\" not found");
        assert!(rbac.authorize(&User::master("root"), &asks("/api/v1/pods")).allowed);
    }
}
