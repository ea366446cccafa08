//! From a token to the user that it speaks for, as long as what it is bound to lives.

use std::sync::Arc;

use super::{
    User,
    tokens::{Bound, Claims, ISSUER, Tokens},
};
use crate::{
    object::{meta, text},
    pipeline::State,
    store::Key,
};

/// The user and the audiences of a token, for one of the wanted `audiences` (empty: the API server's own).
pub(crate) fn check_token(
    tokens: &Tokens,
    state: &State,
    token: &str,
    audiences: &[String],
    now: jiff::Timestamp,
) -> Result<(User, Vec<String>), String> {
    const INVALID: &str = "[invalid bearer token, service account token is not valid]";
    let claims = tokens.verify(token, now).ok_or_else(|| INVALID.to_owned())?;
    let own = [ISSUER.to_owned()];
    let wanted = if audiences.is_empty() { &own[..] } else { audiences };
    let held = if claims.legacy { &own[..] } else { claims.audiences.as_slice() };
    let shared: Vec<String> = wanted.iter().filter(|audience| held.contains(audience)).cloned().collect();
    if shared.is_empty() {
        return Err(format!(
            "[invalid bearer token, token audiences {held:?} is invalid for the target audiences {wanted:?}]"
        ));
    }
    check_objects(state, &claims, token).map_err(|why| format!("[invalid bearer token, {why}]"))?;
    Ok((claims.user(), shared))
}

/// The account and what else the token is bound to are still there, and are still the same.
fn check_objects(state: &State, claims: &Arc<Claims>, token: &str) -> Result<(), &'static str> {
    let account = find(state, "/serviceaccounts", &claims.namespace, &claims.account.name);
    let account = account.ok_or("service account token has been invalidated")?;
    if meta(&account.value, "uid") != claims.account.uid {
        return Err("service account token has been invalidated");
    }
    if claims.legacy {
        let name = claims.secret.as_ref().map(|secret| secret.name.as_str()).unwrap_or_default();
        let secret = find(state, "/secrets", &claims.namespace, name);
        let secret = secret.ok_or("service account token has been invalidated")?;
        let stored = decoded(text(&secret.value, &["data", "token"]));
        return if stored == token.as_bytes() {
            Ok(())
        } else {
            Err("service account token has been invalidated")
        };
    }
    let lives = |shelf: &str, namespace: &str, bound: &Option<Bound>| {
        bound.as_ref().is_none_or(|bound| {
            find(state, shelf, namespace, &bound.name)
                .is_some_and(|object| meta(&object.value, "uid") == bound.uid)
        })
    };
    let node_counts = claims.pod.is_none();
    if !lives("/pods", &claims.namespace, &claims.pod)
        || !lives("/secrets", &claims.namespace, &claims.secret)
        || (node_counts && !lives("/nodes", "", &claims.node))
    {
        return Err("service account token has been invalidated");
    }
    Ok(())
}

fn find<'a>(
    state: &'a State,
    shelf: &str,
    namespace: &str,
    name: &str,
) -> Option<&'a Arc<crate::store::Object>> {
    state.store.get(shelf, &Key::new(namespace, name))
}

fn decoded(base64: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default()
}
