//! Key `ingress`: how services are reached.

use serde::{Deserialize, Serialize};

/// The fields beside domain and scheme, which stand in the configuration itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// HTTPRoutes instead of an Ingress in Standard mode.
    pub enable_gateway_api: bool,
    /// The Gateway of these routes, `namespace/name`.
    pub kserve_ingress_gateway: String,
    /// Istio's gateway for Knative mode.
    pub ingress_gateway: String,
    /// Istio's gateway inside the cluster.
    pub local_gateway: String,
    /// Service in front of the local gateway.
    pub local_gateway_service: String,
    /// Service in front of Knative's local gateway; absent means the one above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub knative_local_gateway_service: String,
    /// Further domains of every host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_ingress_domains: Vec<String>,
    /// Class of the Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Go template of a host, over `.Name`, `.Namespace`, `.IngressDomain`, `.Annotations`, `.Labels`.
    pub domain_template: String,
    /// Whether Istio's VirtualService is left out in Knative mode.
    pub disable_istio_virtual_host: bool,
    /// Whether services get no Ingress and no HTTPRoute.
    pub disable_ingress_creation: bool,
    /// Whether HTTPRoutes have no timeout.
    #[serde(rename = "disableHTTPRouteTimeout")]
    pub disable_http_route_timeout: bool,
    /// Go template of a path under the ingress domain, over `.Name` and `.Namespace`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path_template: String,
}

/// Host names where the configuration has no template.
pub const DEFAULT_DOMAIN_TEMPLATE: &str = "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}";

impl Default for Ingress {
    fn default() -> Self {
        let gateway_service = "knative-local-gateway.istio-system.svc.cluster.local";
        Self {
            enable_gateway_api: false,
            kserve_ingress_gateway: "kserve/kserve-ingress-gateway".to_owned(),
            ingress_gateway: "knative-serving/knative-ingress-gateway".to_owned(),
            local_gateway: "knative-serving/knative-local-gateway".to_owned(),
            local_gateway_service: gateway_service.to_owned(),
            knative_local_gateway_service: gateway_service.to_owned(),
            additional_ingress_domains: Vec::new(),
            ingress_class_name: Some("istio".to_owned()),
            domain_template: DEFAULT_DOMAIN_TEMPLATE.to_owned(),
            disable_istio_virtual_host: false,
            disable_ingress_creation: false,
            disable_http_route_timeout: false,
            path_template: String::new(),
        }
    }
}

/// The key as it is written: everything optional, so that upstream's rules can tell absent from empty.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(rename = "enableGatewayApi")]
    enable_gateway_api: bool,
    kserve_ingress_gateway: String,
    ingress_gateway: String,
    local_gateway: String,
    local_gateway_service: String,
    knative_local_gateway_service: String,
    ingress_domain: String,
    additional_ingress_domains: Option<Vec<String>>,
    ingress_class_name: Option<String>,
    domain_template: String,
    url_scheme: String,
    disable_istio_virtual_host: bool,
    disable_ingress_creation: bool,
    #[serde(rename = "disableHTTPRouteTimeout")]
    disable_http_route_timeout: bool,
    path_template: String,
}

/// Reads the key: the fields, the domain and the scheme.
///
/// # Errors
/// Upstream's words for the first rule that is broken.
pub(super) fn read(text: &str) -> Result<(Ingress, String, String), String> {
    let written: Written = serde_json::from_str(text)
        .map_err(|error| format!("unable to parse ingress config json: {error}"))?;
    if written.enable_gateway_api {
        gateway(&written.kserve_ingress_gateway)?;
    }
    if written.ingress_gateway.is_empty() {
        return Err("invalid ingress config - ingressGateway is required".to_owned());
    }
    if !written.path_template.is_empty() {
        if let Some(fault) = template_fault(&written.path_template) {
            return Err(format!("invalid ingress config, unable to parse pathTemplate: {fault}"));
        }
        if written.ingress_domain.is_empty() {
            return Err(
                "invalid ingress config - ingressDomain is required if pathTemplate is given".to_owned()
            );
        }
    }
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let ingress = Ingress {
        enable_gateway_api: written.enable_gateway_api,
        kserve_ingress_gateway: written.kserve_ingress_gateway,
        ingress_gateway: written.ingress_gateway,
        local_gateway: written.local_gateway,
        knative_local_gateway_service: or(
            written.knative_local_gateway_service,
            &written.local_gateway_service,
        ),
        local_gateway_service: written.local_gateway_service,
        additional_ingress_domains: written.additional_ingress_domains.unwrap_or_default(),
        ingress_class_name: written.ingress_class_name,
        domain_template: or(written.domain_template, DEFAULT_DOMAIN_TEMPLATE),
        disable_istio_virtual_host: written.disable_istio_virtual_host,
        disable_ingress_creation: written.disable_ingress_creation,
        disable_http_route_timeout: written.disable_http_route_timeout,
        path_template: written.path_template,
    };
    Ok((ingress, or(written.ingress_domain, "example.com"), or(written.url_scheme, "http")))
}

fn gateway(name: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("invalid ingress config - kserveIngressGateway {what}"));
    if name.is_empty() {
        return wrong("is required");
    }
    match name.split('/').collect::<Vec<_>>()[..] {
        [namespace, _] if !is_label(namespace) => wrong("gateway namespace is invalid"),
        [_, gateway] if !is_label(gateway) => wrong("gateway name is invalid"),
        [_, _] => Ok(()),
        _ => wrong("should be in the format <namespace>/<name>"),
    }
}

/// Whether the text is a DNS-1123 label.
fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
        && plain(bytes[0])
        && plain(bytes[bytes.len() - 1])
}

/// What is wrong with the braces of a Go template; its expressions are looked at when it is rendered.
fn template_fault(template: &str) -> Option<String> {
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let after = &rest[at + 2..];
        let Some(end) = after.find("}}") else { return Some("unclosed action".to_owned()) };
        if after[..end].contains("{{") {
            return Some("unexpected \"{\" in command".to_owned());
        }
        if after[..end].trim().is_empty() {
            return Some("missing value for command".to_owned());
        }
        rest = &after[end + 2..];
    }
    None
}
