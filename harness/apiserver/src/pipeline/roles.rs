//! What writes of roles and bindings bring with them: nobody grants what they do not hold, and roles that are made
//! of other roles follow them.

use serde_json::Value;

use super::{Request, State, write::Write};
use crate::{
    kinds::Source,
    object::{as_map, list, meta, text},
    security::{
        User,
        attributes::Attributes,
        rbac::{CLUSTER_ROLES, GROUP, Rule, uncovered},
    },
    selector::LabelSelector,
    status::{ApiError, go_quote},
    store::{Key, Object},
};

/// Rounds of aggregation: a chain of roles that is longer stays behind.
const ROUNDS: usize = 8;

/// Refuses a role or binding that grants more than its writer holds.
pub(crate) fn check_escalation(
    write: &Write<'_, '_>,
    request: &Request,
    object: &Value,
    old: Option<&Object>,
) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    if &*kind.group != GROUP || matches!(kind.source, Source::Custom { .. }) || request.user.is_master() {
        return Ok(());
    }
    let unchanged = |field: &str| old.is_some_and(|old| old.value.get(field) == object.get(field));
    let user = &*request.user;
    let namespace = write.target.namespace.as_deref().unwrap_or_default();
    let name = meta(object, "name");
    let may = |verb: &str, resource: &str, name: &str| {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        write.state.rbac.authorize(user, &attributes).allowed
    };
    if kind.plural.ends_with("roles") {
        if (unchanged("rules") && unchanged("aggregationRule")) || may("escalate", &kind.plural, name) {
            return Ok(());
        }
        if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
            let everything = Value::from(vec!["*"]);
            let all = [
                Rule::read(
                    &serde_json::json!({"apiGroups": everything, "resources": everything, "verbs": everything}),
                ),
                Rule::read(&serde_json::json!({"nonResourceURLs": everything, "verbs": everything})),
            ];
            check_held(
                write,
                user,
                namespace,
                &all,
                name,
                "must have cluster-admin privileges to use an aggregationRule",
            )?;
        }
        let rules: Vec<Rule> = list(object, &["rules"]).iter().map(Rule::read).collect();
        return check_held(write, user, namespace, &rules, name, "");
    }
    if unchanged("roleRef") && unchanged("subjects") {
        return Ok(());
    }
    let (role_kind, role) = (text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    let (plural, role_namespace) =
        if role_kind == "ClusterRole" { ("clusterroles", "") } else { ("roles", namespace) };
    if may("bind", plural, role) {
        return Ok(());
    }
    let rules = write.state.rbac.role(&Key::new(role_namespace, role));
    let rules = rules.ok_or_else(|| ApiError::not_found(GROUP, plural, role))?.to_vec();
    check_held(write, user, namespace, &rules, name, "")
}

fn check_held(
    write: &Write<'_, '_>,
    user: &User,
    namespace: &str,
    wanted: &[Rule],
    name: &str,
    instead: &str,
) -> Result<(), ApiError> {
    let (held, unresolved) = write.state.rbac.rules_of(user, namespace);
    let missing = uncovered(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|group| go_quote(group)).collect();
    let mut why = format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        go_quote(&user.name),
        groups.join(" "),
        missing.join("\n")
    );
    if !unresolved.is_empty() {
        why = format!("{why}; resolution errors: [{}]", unresolved.join(", "));
    }
    if !instead.is_empty() {
        why = instead.to_owned();
    }
    let (group, resource) = write.target.error_name();
    Err(ApiError::forbidden(group, resource, name, &why))
}

/// Gives every role with an `aggregationRule` the rules of the roles that it selects.
pub(crate) fn aggregate(state: &mut State) {
    let Some(kind) = state.kind_of_shelf(CLUSTER_ROLES) else { return };
    for _ in 0..ROUNDS {
        let roles: Vec<(Key, std::sync::Arc<Object>)> = state
            .store
            .list(CLUSTER_ROLES, None)
            .map(|(key, role)| (key.clone(), std::sync::Arc::clone(role)))
            .collect();
        let mut changed = false;
        for (key, role) in &roles {
            let selectors = list(&role.value, &["aggregationRule", "clusterRoleSelectors"]);
            if selectors.is_empty() {
                continue;
            }
            let selectors: Vec<LabelSelector> = selectors.iter().map(LabelSelector::of_object).collect();
            let mut rules: Vec<Value> = Vec::new();
            for (other, source) in &roles {
                let selected =
                    other != key && selectors.iter().any(|selector| selector.matches(&source.value));
                for rule in selected.then(|| list(&source.value, &["rules"])).into_iter().flatten() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
            if list(&role.value, &["rules"]) != rules {
                let mut object = role.value.clone();
                as_map(&mut object).insert("rules".into(), rules.into());
                state.put(&kind, key, object);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}
