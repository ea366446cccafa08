//! Tokens of service accounts: JSON Web Tokens signed with ES256.
//!
//! A signature is checked once and then remembered by the token's text; expiry and the objects that a token is
//! bound to are looked at every time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::object::{list, text};

/// Who issues the tokens, and the audience that the API server itself takes.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The issuer in tokens that live in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// Verified tokens that are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 4_096;
/// Longer texts are no tokens.
const LIMIT_BYTES: usize = 16 * 1024;

/// An object that a token lives and dies with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What a token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) account: Bound,
    pub(crate) pod: Option<Bound>,
    pub(crate) node: Option<Bound>,
    pub(crate) secret: Option<Bound>,
    /// Empty in tokens that live in Secrets: they are for the API server.
    pub(crate) audiences: Vec<String>,
    /// Seconds since the epoch.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: Option<i64>,
    /// Second after which a holder should have fetched a new token.
    pub(crate) warn_after: Option<i64>,
    /// The token lives in a Secret.
    pub(crate) legacy: bool,
}

/// The signing key and the tokens seen so far.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
    verified: RwLock<HashMap<Box<str>, Arc<Claims>>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Tokens {
    /// A key of its own.
    pub(crate) fn generate() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("a P-256 key can be made where there is randomness");
        let public = key.public_key().as_ref();
        let key_id = URL_SAFE_NO_PAD.encode(digest(&SHA256, public));
        Self { key, key_id, verified: RwLock::default() }
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let payload = if claims.legacy { claims.legacy_payload() } else { claims.payload() };
        let mut token = encode(&header);
        token.push('.');
        token.push_str(&encode(&payload));
        let signature =
            self.key.sign(&SystemRandom::new(), token.as_bytes()).expect("P-256 signing has no failure");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }

    /// The claims of a token that this key has signed and that has not expired.
    pub(crate) fn verify(&self, token: &str, now: jiff::Timestamp) -> Option<Arc<Claims>> {
        if token.len() > LIMIT_BYTES {
            return None;
        }
        let known = self.verified.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.read(token)?);
                let mut verified = self.verified.write().unwrap_or_else(PoisonError::into_inner);
                if verified.len() >= REMEMBERED {
                    verified.clear();
                }
                verified.insert(token.into(), Arc::clone(&claims));
                claims
            }
        };
        claims.expires_at.is_none_or(|end| now.as_second() < end).then_some(claims)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = decode(header)?;
        if header["alg"] != "ES256" || header["kid"] != self.key_id.as_str() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        Claims::read(&decode(payload)?)
    }

    /// The public key as a JSON Web Key Set.
    pub(crate) fn key_set(&self) -> Value {
        // The uncompressed point: a tag, then both coordinates.
        let point = self.key.public_key().as_ref();
        let coordinate =
            |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65)}]})
    }

    /// The public key as DER (SubjectPublicKeyInfo).
    #[cfg(test)]
    fn public_der(&self) -> Vec<u8> {
        aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(self.key.public_key())
            .expect("a public key has a DER form")
            .as_ref()
            .to_vec()
    }
}

impl Claims {
    /// The user that the token speaks for.
    pub(crate) fn user(&self) -> super::User {
        let mut groups = super::service_account_groups(&self.namespace);
        groups.push(super::AUTHENTICATED.to_owned());
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        if !self.id.is_empty() {
            add("credential-id", &format!("JTI={}", self.id));
        }
        if let Some(pod) = &self.pod {
            add("pod-name", &pod.name);
            add("pod-uid", &pod.uid);
        }
        if let Some(node) = &self.node {
            add("node-name", &node.name);
            add("node-uid", &node.uid);
        }
        super::User {
            name: format!("system:serviceaccount:{}:{}", self.namespace, self.account.name),
            uid: self.account.uid.clone(),
            groups,
            extra,
        }
    }

    fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account.name)
    }

    fn payload(&self) -> Value {
        let bound = |bound: &Bound| json!({"name": bound.name, "uid": bound.uid});
        let mut private = json!({"namespace": self.namespace});
        for (key, object) in [("node", &self.node), ("pod", &self.pod), ("secret", &self.secret)] {
            if let Some(object) = object {
                private[key] = bound(object);
            }
        }
        private["serviceaccount"] = bound(&self.account);
        if let Some(warn_after) = self.warn_after {
            private["warnafter"] = warn_after.into();
        }
        json!({"aud": self.audiences, "exp": self.expires_at, "iat": self.issued_at, "iss": ISSUER, "jti": self.id,
            "kubernetes.io": private, "nbf": self.issued_at, "sub": self.subject()})
    }

    fn legacy_payload(&self) -> Value {
        let secret = self.secret.as_ref().map(|secret| secret.name.as_str()).unwrap_or_default();
        json!({"iss": LEGACY_ISSUER, "kubernetes.io/serviceaccount/namespace": self.namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": self.account.name,
            "kubernetes.io/serviceaccount/service-account.uid": self.account.uid, "sub": self.subject()})
    }

    fn read(payload: &Value) -> Option<Self> {
        if payload["iss"] == LEGACY_ISSUER {
            let field =
                |name: &str| text(payload, &[&format!("kubernetes.io/serviceaccount/{name}")]).to_owned();
            return Some(Self {
                namespace: field("namespace"),
                account: Bound { name: field("service-account.name"), uid: field("service-account.uid") },
                secret: Some(Bound { name: field("secret.name"), uid: String::new() }),
                legacy: true,
                ..Self::default()
            });
        }
        if payload["iss"] != ISSUER {
            return None;
        }
        let private = &payload["kubernetes.io"];
        let bound = |key: &str| {
            let object = private.get(key)?;
            Some(Bound { name: text(object, &["name"]).to_owned(), uid: text(object, &["uid"]).to_owned() })
        };
        Some(Self {
            id: text(payload, &["jti"]).to_owned(),
            namespace: text(private, &["namespace"]).to_owned(),
            account: bound("serviceaccount")?,
            pod: bound("pod"),
            node: bound("node"),
            secret: bound("secret"),
            audiences: list(payload, &["aud"])
                .iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect(),
            issued_at: payload["iat"].as_i64()?,
            expires_at: Some(payload["exp"].as_i64()?),
            warn_after: private["warnafter"].as_i64(),
            legacy: false,
        })
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            id: "1".into(),
            namespace: "n".into(),
            account: Bound { name: "a".into(), uid: "u".into() },
            audiences: vec!["x".into()],
            issued_at: 1_000,
            expires_at: Some(2_000),
            ..Claims::default()
        }
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    /// If this fails anybody can be anybody.
    #[test]
    fn only_untouched_tokens_of_this_key_are_taken() {
        let tokens = Tokens::generate();
        let token = tokens.sign(&claims());
        assert_eq!(tokens.verify(&token, at(1_500)).as_deref(), Some(&claims()));
        assert_eq!(tokens.verify(&token, at(2_000)), None, "expired, although remembered");
        assert_eq!(Tokens::generate().verify(&token, at(1_500)), None, "another key");
        let parts: Vec<&str> = token.split('.').collect();
        let forged = encode(&Claims { namespace: "other".into(), ..claims() }.payload());
        assert_eq!(tokens.verify(&format!("{}.{forged}.{}", parts[0], parts[2]), at(1_500)), None);
        let unsigned = encode(&json!({"alg": "none", "kid": tokens.key_id}));
        assert_eq!(tokens.verify(&format!("{unsigned}.{}.", parts[1]), at(1_500)), None);
        for nonsense in ["", ".", "..", "a.b.c", &"x".repeat(LIMIT_BYTES + 1)] {
            assert_eq!(tokens.verify(nonsense, at(1_500)), None);
        }
    }

    /// If this fails other programs cannot check our tokens against the published key.
    #[test]
    fn the_key_set_holds_the_coordinates_of_the_public_key() {
        let tokens = Tokens::generate();
        let set = tokens.key_set();
        let der = tokens.public_der();
        let x = URL_SAFE_NO_PAD.decode(text(&set["keys"][0], &["x"])).unwrap();
        let y = URL_SAFE_NO_PAD.decode(text(&set["keys"][0], &["y"])).unwrap();
        assert_eq!((x.len(), y.len()), (32, 32));
        assert!(der.ends_with(&[x, y].concat()));
    }
}
