//! Acting as somebody else, by headers, for those whose roles allow it.

use http::HeaderMap;

use super::{
    ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, attributes::Attributes, rbac::Decision, service_account,
    service_account_groups,
};
use crate::status::ApiError;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whether any impersonation header is there.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("impersonate-"))
}

/// The user that the headers name.
///
/// # Errors
/// A refusal, when `allowed` denies one of the names to the requesting user.
pub(crate) fn follow(
    headers: &HeaderMap,
    requester: &User,
    allowed: impl Fn(&Attributes) -> Decision,
) -> Result<User, ApiError> {
    let values = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(ToOwned::to_owned).collect()
    };
    let mut user = User {
        name: values(USER).into_iter().next().unwrap_or_default(),
        uid: values(UID).into_iter().next().unwrap_or_default(),
        groups: values(GROUP),
        ..User::default()
    };
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            user.extra.insert(key, values(name.as_str()));
        }
    }
    if user.name.is_empty() {
        let message = "requested groups, uid or extra without impersonating a user".to_owned();
        return Err(ApiError::internal(message));
    }
    for attributes in wanted(&user) {
        let decision = allowed(&attributes);
        if !decision.allowed {
            return Err(refusal(requester, &attributes, &decision));
        }
    }
    complete(&mut user);
    Ok(user)
}

/// What the requester must be allowed to impersonate.
fn wanted(user: &User) -> Vec<Attributes> {
    let resource = |group: &str, resource: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    const GROUP: &str = "authentication.k8s.io";
    let mut wanted = vec![match service_account(&user.name) {
        Some((namespace, name)) => {
            Attributes { namespace: namespace.to_owned(), ..resource("", "serviceaccounts", name) }
        }
        None => resource("", "users", &user.name),
    }];
    wanted.extend(user.groups.iter().map(|group| resource("", "groups", group)));
    for (key, values) in &user.extra {
        wanted.extend(
            values
                .iter()
                .map(|value| Attributes { subresource: key.clone(), ..resource(GROUP, "userextras", value) }),
        );
    }
    if !user.uid.is_empty() {
        wanted.push(resource(GROUP, "uids", &user.uid));
    }
    wanted
}

/// Groups that follow from the name.
fn complete(user: &mut User) {
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account(&user.name)
    {
        user.groups = service_account_groups(namespace);
    }
    let group = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(group.to_owned());
    }
}

/// A refusal in Kubernetes' words.
pub(crate) fn refusal(user: &User, attributes: &Attributes, decision: &Decision) -> ApiError {
    let mut message = attributes.refusal(&user.name);
    if !decision.reason.is_empty() {
        message = format!("{message}: {}", decision.reason);
    }
    let mut details = serde_json::Map::new();
    for (field, value) in
        [("name", &attributes.name), ("group", &attributes.group), ("kind", &attributes.resource)]
    {
        if !value.is_empty() && attributes.path.is_empty() {
            details.insert(field.into(), value.as_str().into());
        }
    }
    ApiError::new(403, "Forbidden", message).with_details(details.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn who_is_meant_and_what_it_takes() {
        let asked = headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "devs"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-scopes%2fa", "view"),
        ]);
        let seen = std::cell::RefCell::new(Vec::new());
        let user = follow(&asked, &User::master("root"), |attributes| {
            seen.borrow_mut().push(format!("{} {}", attributes.rule_resource(), attributes.name));
            Decision { allowed: true, ..Decision::default() }
        })
        .unwrap();
        assert_eq!(user.groups, ["devs", "ops", "system:authenticated"]);
        assert_eq!((user.uid.as_str(), &user.extra["scopes/a"]), ("7", &vec!["view".to_owned()]));
        let seen = seen.into_inner();
        assert_eq!(seen, ["users jane", "groups devs", "groups ops", "userextras/scopes/a view", "uids 7"]);
    }

    /// If this fails everybody can be an administrator.
    #[test]
    fn who_may_not_impersonate_is_refused() {
        let asked = headers(&[("impersonate-user", "jane")]);
        let joe = User { name: "joe".into(), ..User::default() };
        let refused = follow(&asked, &joe, |_| Decision::default()).unwrap_err();
        assert_eq!(
            refused.message,
            "users \"jane\" is forbidden: User \"joe\" cannot impersonate resource \"users\" in API group \"\" at the \
cluster scope"
        );
        let nobody = follow(&headers(&[("impersonate-group", "g")]), &joe, |_| Decision::default());
        assert_eq!(nobody.unwrap_err().code, 500);
    }

    #[test]
    fn a_service_account_brings_its_groups() {
        let asked = headers(&[("impersonate-user", "system:serviceaccount:n:a")]);
        let user =
            follow(&asked, &User::master("root"), |_| Decision { allowed: true, ..Decision::default() })
                .unwrap();
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"]
        );
    }
}
