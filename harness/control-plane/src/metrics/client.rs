//! A client whose requests are counted.

use kube::Client;
use kube::client::Body;

use super::Metrics;

/// The same client, counting its requests as client-go's does.
pub(crate) fn counted(client: Client, metrics: &Metrics) -> Client {
    let metrics = metrics.clone();
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, metrics) = (client.clone(), metrics.clone());
        let method = request.method().as_str().to_owned();
        let host = request.uri().authority().map(|host| host.as_str().to_owned()).unwrap_or_default();
        async move {
            let answer = client.send(request).await;
            let code = match &answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => "<error>".to_owned(),
            };
            metrics.requested(code, method, host);
            answer
        }
    });
    Client::new(service, namespace)
}
