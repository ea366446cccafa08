//! Host names and paths from the templates of the `ingress` configuration.

use std::collections::BTreeMap;

use super::super::inference_service::InferenceService;
use super::settings::Settings;

/// What a template may ask for.
struct Values<'a> {
    name: &'a str,
    namespace: &'a str,
    ingress_domain: Option<&'a str>,
    annotations: Option<&'a BTreeMap<String, String>>,
    labels: Option<&'a BTreeMap<String, String>>,
}

/// Host of the object `name` of a service, from `domainTemplate`.
///
/// # Errors
/// What is wrong with the template or with the host that it gives (each label at most 63 characters, at least two of
/// them), in upstream's words.
pub(super) fn host(name: &str, service: &InferenceService, settings: &Settings) -> Result<String, String> {
    let values = Values {
        name,
        namespace: service.namespace(),
        ingress_domain: Some(&settings.ingress_domain),
        annotations: service.metadata.annotations.as_ref(),
        labels: service.metadata.labels.as_ref(),
    };
    let host = render(&settings.domain_template, &values)
        .map_err(|error| format!("error rendering the domain template: {error}"))?;
    fully_qualified(&host).map_err(|error| format!("invalid domain name {host:?}: {error}"))?;
    Ok(host)
}

/// Further hosts of the host of a service, one for each of the `additionalIngressDomains`.
pub(super) fn additional_hosts(host: &str, settings: &Settings) -> Vec<String> {
    let Some(subdomain) = host.strip_suffix(settings.ingress_domain.as_str()).filter(|rest| !rest.is_empty())
    else {
        return Vec::new();
    };
    let mut hosts = Vec::new();
    for domain in &settings.additional_domains {
        let candidate = format!("{subdomain}{domain}");
        if fully_qualified(&candidate).is_ok() && candidate != host && !hosts.contains(&candidate) {
            hosts.push(candidate);
        }
    }
    hosts
}

/// Path of a service under the ingress domain, from `pathTemplate`; `None` where there is no such template.
///
/// # Errors
/// What is wrong with the template or the path.
pub(super) fn path(service: &InferenceService, settings: &Settings) -> Result<Option<String>, String> {
    if settings.path_template.is_empty() {
        return Ok(None);
    }
    let values = Values {
        name: service.name(),
        namespace: service.namespace(),
        ingress_domain: None,
        annotations: None,
        labels: None,
    };
    let path = render(&settings.path_template, &values)
        .map_err(|error| format!("error rendering the url template: {error}"))?;
    if path.contains("://") || path.starts_with("//") {
        return Err(format!("invalid url path {path:?}: contains either a scheme or a host"));
    }
    if !path.starts_with('/') {
        return Err(format!("invalid url {path:?}: it must begin with a slash"));
    }
    Ok(Some(path))
}

/// The subset of Go's templates that is of use here: `{{ .Field }}`, `{{ .Labels.key }}`,
/// `{{ index .Labels "a/key" }}`, and the trim markers `{{-` and `-}}`.
fn render(template: &str, values: &Values<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end =
            inner.find("}}").ok_or_else(|| format!("{template:?} opens an action and never closes it"))?;
        let mut action = &inner[..end];
        rest = &inner[end + 2..];
        if let Some(trimmed) = action.strip_prefix("- ") {
            action = trimmed;
            out.truncate(out.trim_end().len());
        }
        if let Some(trimmed) = action.strip_suffix(" -") {
            action = trimmed;
            rest = rest.trim_start();
        }
        out.push_str(&resolve(action.trim(), values)?);
    }
    out.push_str(rest);
    Ok(out)
}

fn resolve(action: &str, values: &Values<'_>) -> Result<String, String> {
    let unknown = || {
        format!(
            "{{{{ {action} }}}} is not known here; use .Name, .Namespace, .IngressDomain, .Labels.key or .Annotations.key"
        )
    };
    let entry = |map: Option<&BTreeMap<String, String>>, key: &str| {
        map.and_then(|map| map.get(key)).cloned().unwrap_or_else(|| "<no value>".to_owned())
    };
    if let Some(arguments) = action.strip_prefix("index ") {
        let (map, key) = arguments.trim().split_once(' ').ok_or_else(unknown)?;
        let key = key.trim().trim_matches(['"', '`']);
        return match map {
            ".Labels" => Ok(entry(values.labels, key)),
            ".Annotations" => Ok(entry(values.annotations, key)),
            _ => Err(unknown()),
        };
    }
    match action {
        ".Name" => Ok(values.name.to_owned()),
        ".Namespace" => Ok(values.namespace.to_owned()),
        ".IngressDomain" => values.ingress_domain.map(str::to_owned).ok_or_else(unknown),
        _ => {
            if let Some(key) = action.strip_prefix(".Labels.").filter(|_| values.labels.is_some()) {
                Ok(entry(values.labels, key))
            } else if let Some(key) =
                action.strip_prefix(".Annotations.").filter(|_| values.annotations.is_some())
            {
                Ok(entry(values.annotations, key))
            } else if action.starts_with(".Labels.") || action.starts_with(".Annotations.") {
                Ok("<no value>".to_owned())
            } else {
                Err(unknown())
            }
        }
    }
}

/// Kubernetes' rule of a fully qualified domain name.
fn fully_qualified(name: &str) -> Result<(), String> {
    let invalid = |value: &str, text: &str| Err(format!("url: Invalid value: {value:?}: {text}"));
    if name.is_empty() {
        return Err("url: Required value".to_owned());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return invalid(name, "must be no more than 253 bytes");
    }
    if !name.split('.').all(is_label) {
        return invalid(
            name,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        );
    }
    if !name.contains('.') {
        return invalid(name, "should be a domain with at least two segments separated by dots");
    }
    match name.split('.').find(|label| label.len() > 63) {
        Some(label) => invalid(label, "must be no more than 63 bytes"),
        None => Ok(()),
    }
}

/// Whether the text is a label of a domain name, its length aside.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kserve::KserveConfig;

    fn with(template: &str) -> Settings {
        Settings { domain_template: template.to_owned(), ..Settings::of(&KserveConfig::default()) }
    }

    /// A host that nobody can resolve, or one that a certificate does not cover.
    #[test]
    fn templates() {
        let mut service = InferenceService::default();
        service.metadata.name = Some("digits".into());
        service.metadata.namespace = Some("team".into());
        service.metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into());
        service.metadata.annotations = Some([("a.b/zone".to_owned(), "eu".to_owned())].into());
        let host = |template: &str| host("digits-predictor", &service, &with(template));
        // domain_test.go, the default template and one that asks for metadata
        assert_eq!(
            host("{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}").unwrap(),
            "digits-predictor-team.example.com"
        );
        assert_eq!(
            host("{{ .Name }}  {{- \"\" }}").unwrap_err(),
            "error rendering the domain template: {{ \"\" }} is not known here; use .Name, .Namespace, .IngressDomain, .Labels.key or .Annotations.key"
        );
        assert_eq!(
            host("{{ .Name }}. {{- .Namespace -}} .{{.IngressDomain}}").unwrap(),
            "digits-predictor.team.example.com"
        );
        assert_eq!(
            host("{{ .Name }}.{{ .Labels.tier }}.{{.IngressDomain}}").unwrap(),
            "digits-predictor.gold.example.com"
        );
        assert_eq!(
            host("{{ .Name }}.{{ index .Annotations \"a.b/zone\" }}.{{.IngressDomain}}").unwrap(),
            "digits-predictor.eu.example.com"
        );
        let error = host("{{ .Name }}.{{ .Labels.nope }}.{{ .IngressDomain }}").unwrap_err();
        assert!(
            error.starts_with("invalid domain name \"digits-predictor.<no value>.example.com\""),
            "{error}"
        );
        assert!(host("{{ .Nope }}").unwrap_err().contains(".Nope"));
        assert!(host("{{ .Name").unwrap_err().contains("never closes"));
        let long = format!("{{{{ .Name }}}}-{}.{{{{ .IngressDomain }}}}", "x".repeat(60));
        assert!(host(&long).unwrap_err().ends_with("must be no more than 63 bytes"));
        assert!(host("{{ .Name }}").unwrap_err().contains("at least two segments"));
    }

    /// domain_test.go: the subdomain is the host without the domain that it ends with.
    #[test]
    fn further_hosts() {
        let mut settings = with("");
        settings.additional_domains =
            ["additional.example.com", "a_b", "additional.example.com"].map(str::to_owned).to_vec();
        assert_eq!(
            additional_hosts("m-default.example.com", &settings),
            ["m-default.additional.example.com"]
        );
        assert!(additional_hosts("m-default.other.org", &settings).is_empty());
    }
}
