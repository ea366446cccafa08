//! Tokens of service accounts: asked for, kept in Secrets, and the documents by which others check them.

use std::sync::Arc;

use jiff::ToSpan as _;
use serde_json::{Value, json};

use super::{
    Answer, Context, Request, body,
    write::{Write, seconds},
};
use crate::{
    object::{as_map, list, map_at, meta, metadata_mut, text},
    schema::decode::Findings,
    security::tokens::{Bound, Claims, ISSUER},
    status::{ApiError, FieldError},
    store::{Key, Object},
};

const GROUP: &str = "authentication.k8s.io";
/// Seconds that a token is valid for unless the request says otherwise.
const DEFAULT_S: i64 = 3_600;
const LEAST_S: i64 = 600;
const MOST_S: i64 = 1 << 32;
/// What nodes ask for; such tokens are in truth valid for a year, so that old clients that never read them again
/// go on, and a holder is warned after this many seconds.
const NODE_S: i64 = 3_607;
const YEAR_S: i64 = 365 * 24 * 3_600;
/// Annotations of Secrets that hold a token.
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// `POST serviceaccounts/NAME/token`.
pub(crate) fn create(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let given = body::object(request, "TokenRequest", &mut Findings::default())?;
    let account = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let spec = &given["spec"];
    let duration_s = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_S);
    let field = "spec.expirationSeconds";
    let refuse = |why: &str| {
        let error = FieldError::invalid(field, &duration_s.into(), why);
        Err(ApiError::invalid(GROUP, "TokenRequest", "", &[error]))
    };
    if duration_s < LEAST_S {
        return refuse("may not specify a duration less than 10 minutes");
    }
    if duration_s > MOST_S {
        return refuse("may not specify a duration larger than 2^32 seconds");
    }
    let mut audiences: Vec<String> =
        list(spec, &["audiences"]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let now = write.context.now;
    let issued_at = now.as_second();
    let mut claims = Claims {
        id: write.uid(),
        namespace: meta(&account.value, "namespace").to_owned(),
        account: bound(&account),
        audiences: audiences.clone(),
        issued_at,
        expires_at: Some(issued_at + duration_s),
        ..Claims::default()
    };
    bind(write, &spec["boundObjectRef"], name, &mut claims)?;
    if duration_s == NODE_S && claims.pod.is_some() {
        claims.warn_after = claims.expires_at;
        claims.expires_at = Some(issued_at + YEAR_S);
    }
    let end = now.checked_add(duration_s.seconds()).unwrap_or(now);
    let reference = spec.get("boundObjectRef").cloned().unwrap_or_default();
    let uid = write.uid();
    Ok(Answer::json(
        201,
        json!({"kind": "TokenRequest", "apiVersion": format!("{GROUP}/v1"),
            "metadata": {"name": name, "namespace": claims.namespace, "uid": uid, "creationTimestamp": write.now_text()},
            "spec": {"audiences": audiences, "expirationSeconds": duration_s, "boundObjectRef": reference},
            "status": {"token": write.context.tokens.sign(&claims), "expirationTimestamp": seconds(end)}}),
    ))
}

/// Binds a token to the object that the request names.
fn bind(
    write: &Write<'_, '_>,
    reference: &Value,
    account: &str,
    claims: &mut Claims,
) -> Result<(), ApiError> {
    if reference.is_null() {
        return Ok(());
    }
    let (kind, name, uid) =
        (text(reference, &["kind"]), text(reference, &["name"]), text(reference, &["uid"]));
    let find = |shelf: &str, plural: &str, namespace: &str, name: &str| {
        let found = write.state.store.get(shelf, &Key::new(namespace, name));
        found.cloned().ok_or_else(|| ApiError::not_found("", plural, name))
    };
    let object = match (text(reference, &["apiVersion"]), kind) {
        ("v1", "Pod") => find("/pods", "pods", &claims.namespace, name)?,
        ("v1", "Secret") => find("/secrets", "secrets", &claims.namespace, name)?,
        ("v1", "Node") => find("/nodes", "nodes", "", name)?,
        (version, kind) => {
            let why = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(ApiError::bad_request(why));
        }
    };
    if !uid.is_empty() && uid != meta(&object.value, "uid") {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
deleted and then recreated"
        );
        return Err(ApiError::conflict("", &format!("{}s", kind.to_lowercase()), name, &why));
    }
    match kind {
        "Pod" => {
            if text(&object.value, &["spec", "serviceAccountName"]) != account {
                let why = format!(
                    "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
                );
                return Err(ApiError::bad_request(why));
            }
            let node = text(&object.value, &["spec", "nodeName"]);
            if !node.is_empty() {
                let found = write.state.store.get("/nodes", &Key::new("", node));
                let uid = found.map(|node| meta(&node.value, "uid").to_owned()).unwrap_or_default();
                claims.node = Some(Bound { name: node.to_owned(), uid });
            }
            claims.pod = Some(bound(&object));
        }
        "Secret" => claims.secret = Some(bound(&object)),
        _ => claims.node = Some(bound(&object)),
    }
    Ok(())
}

fn bound(object: &Arc<Object>) -> Bound {
    Bound { name: meta(&object.value, "name").to_owned(), uid: meta(&object.value, "uid").to_owned() }
}

/// A new Secret of the type for tokens gets its token, or goes when its account is not there.
pub(crate) fn fill_secret(write: &mut Write<'_, '_>, secret: &Value) {
    if text(secret, &["type"]) != "kubernetes.io/service-account-token" {
        return;
    }
    let (namespace, name) = (meta(secret, "namespace").to_owned(), meta(secret, "name").to_owned());
    let account = text(secret, &["metadata", "annotations", ACCOUNT_NAME]);
    let Some(account) = write.state.store.get("/serviceaccounts", &Key::new(&namespace, account)).cloned()
    else {
        super::delete::remove(
            write.state,
            write.context.now,
            &write.target.kind.shelf,
            &Key::new(&namespace, &name),
        );
        return;
    };
    let claims = Claims {
        namespace: namespace.clone(),
        account: bound(&account),
        secret: Some(Bound { name: name.clone(), uid: String::new() }),
        legacy: true,
        ..Claims::default()
    };
    let token = write.context.tokens.sign(&claims);
    let mut object = secret.clone();
    let annotations = map_at(metadata_mut(&mut object), "annotations");
    annotations.insert(ACCOUNT_UID.into(), meta(&account.value, "uid").into());
    let data = map_at(as_map(&mut object), "data");
    for (key, content) in [
        ("token", token.as_str()),
        ("ca.crt", write.context.pki.certificate_pem()),
        ("namespace", &namespace),
    ] {
        data.entry(key).or_insert_with(|| encode(content).into());
    }
    let kind = Arc::clone(&write.target.kind);
    write.state.put(&kind, &Key::new(&namespace, &name), object);
}

fn encode(content: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(content)
}

/// The documents by which other programs check tokens: the issuer and its keys.
pub(crate) fn documents(context: &Context<'_>, path: &str) -> Option<Answer> {
    match path {
        "/.well-known/openid-configuration" => Some(Answer::json(
            200,
            json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]}),
        )),
        "/openid/v1/jwks" => Some(Answer::json(200, context.tokens.key_set())),
        _ => None,
    }
}
