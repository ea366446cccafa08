//! HTTP requests to sources: addresses, basic authentication, limits.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;

use super::tls::{Tls, config};

/// Larger answers are failures.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

type Requests = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Makes requests; connections with the system's authorities are kept for the next poll.
#[derive(Clone, Debug, Default)]
pub(super) struct Http {
    usual: Arc<OnceLock<Requests>>,
}

/// An address without its user, who is sent as basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `http` or `https`.
    pub(super) scheme: String,
    /// Host and port.
    pub(super) authority: String,
    /// Path as it was written, without a query.
    pub(super) path: String,
    /// User and password, decoded.
    pub(super) user: Option<(String, String)>,
}

impl Address {
    /// Reads `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`. The text is not shown in the error: it may hold a password.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("the address has no scheme such as http://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = rest.split(['?', '#']).next().unwrap_or_default().to_owned();
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, authority) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((user, authority)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((decode(name), decode(password))), authority)
            }
        };
        if authority.is_empty() {
            return Err("the address has no host".to_owned());
        }
        let scheme = scheme.to_ascii_lowercase();
        Ok(Self { scheme, authority: authority.to_owned(), path, user })
    }

    /// Scheme and host, to show.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// The value of an `Authorization` header.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

impl Http {
    /// Gets a document: its status and body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn get(
        &self,
        uri: &str,
        headers: &[(String, String)],
        tls: &Tls,
    ) -> Result<(u16, Bytes), String> {
        let mut request = http::Request::get(uri).header(http::header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.client(tls)?.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }

    fn client(&self, tls: &Tls) -> Result<Requests, String> {
        if *tls != Tls::default() {
            return make(tls);
        }
        if let Some(client) = self.usual.get() {
            return Ok(client.clone());
        }
        let client = make(tls)?;
        Ok(self.usual.get_or_init(|| client).clone())
    }
}

fn make(tls: &Tls) -> Result<Requests, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config(tls)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password with a sign in it that addresses encode would be refused by the broker.
    #[test]
    fn addresses_with_users() {
        let address =
            Address::parse("https://user:p%40ss@rabbit:15672/prefix/v%2Fhost?x=1").expect("an address");
        assert_eq!(address.origin(), "https://rabbit:15672");
        assert_eq!(address.path, "/prefix/v%2Fhost");
        assert_eq!(address.user, Some(("user".to_owned(), "p@ss".to_owned())));
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "RFC 7617");
        for wrong in ["rabbit:15672", "http://", "http://user:secret@/x"] {
            let error = Address::parse(wrong).expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
