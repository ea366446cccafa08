//! The gate before the pipeline: who asks, as whom, and may they.

use std::sync::Arc;

use http::{header, request::Parts};

use super::{User, attributes::Attributes, authentication::check_token, impersonation};
use crate::{server::ApiServer, status::ApiError};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// In this process, as a user who needs to show nothing.
    Trusted(Arc<User>),
    /// Over a socket, with the user of its client certificate.
    Connection(Option<Arc<User>>),
}

/// The user that a request is carried out as.
///
/// # Errors
/// 401 for a token that is not valid, 403 for what the roles do not allow.
pub(crate) fn gate(server: &ApiServer, peer: &Peer, head: &Parts) -> Result<Arc<User>, ApiError> {
    let mut user = authenticate(server, peer, head)?;
    if impersonation::is_asked(&head.headers) {
        let state = server.read();
        let allowed = |attributes: &Attributes| state.rbac.authorize(&user, attributes);
        user = Arc::new(impersonation::follow(&head.headers, &user, allowed)?);
    }
    if user.is_master() {
        return Ok(user);
    }
    let query = head.uri.query().unwrap_or_default();
    let attributes = Attributes::of(head.method.as_str(), head.uri.path(), query);
    let decision = server.read().rbac.authorize_request(&user, &attributes);
    if decision.allowed { Ok(user) } else { Err(impersonation::refusal(&user, &attributes, &decision)) }
}

fn authenticate(server: &ApiServer, peer: &Peer, head: &Parts) -> Result<Arc<User>, ApiError> {
    let certificate = match peer {
        Peer::Trusted(user) => return Ok(Arc::clone(user)),
        Peer::Connection(certificate) => certificate,
    };
    if let Some(user) = certificate {
        return Ok(Arc::clone(user));
    }
    let Some(authorization) = head.headers.get(header::AUTHORIZATION) else {
        return Ok(Arc::new(User::anonymous()));
    };
    let bearer = authorization.to_str().ok().and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    // Other schemes belong to nobody here: such a request is anonymous, as upstream has it.
    let Some(token) = bearer.filter(|token| !token.is_empty()) else {
        return Ok(Arc::new(User::anonymous()));
    };
    let found = check_token(server.tokens(), &server.read(), token, &[], jiff::Timestamp::now());
    let (user, _) = found.map_err(|why| {
        tracing::debug!(%why, "a request was not authenticated");
        ApiError::new(401, "Unauthorized", "Unauthorized")
    })?;
    Ok(Arc::new(user))
}
