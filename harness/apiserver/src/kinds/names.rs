//! Names, labels and annotations: what they may look like, in the words of the real server.

use serde_json::Value;

use crate::status::FieldError;

const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_WORDS: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start \
and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_WORDS: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', \
'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Which names a kind accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// Dotted lower-case labels, up to 253 characters: most kinds.
    Subdomain,
    /// One lower-case label, up to 63 characters: namespaces and services.
    Label,
    /// Any path segment: RBAC kinds.
    PathSegment,
}

/// Faults of a name, as detail texts.
pub(crate) fn check_name(rule: NameRule, name: &str) -> Vec<&'static str> {
    match rule {
        NameRule::Subdomain => check_subdomain(name),
        NameRule::Label => {
            let mut faults = Vec::new();
            if name.contains('.') {
                return vec!["must not contain dots"];
            }
            faults.extend(check_label(name));
            faults
        }
        NameRule::PathSegment => {
            let mut faults = Vec::new();
            if name == "." || name == ".." {
                faults.push(if name == "." { "may not be '.'" } else { "may not be '..'" });
            }
            if name.contains('/') {
                faults.push("may not contain '/'");
            }
            if name.contains('%') {
                faults.push("may not contain '%'");
            }
            faults
        }
    }
}

/// Faults of an RFC 1123 label.
pub(crate) fn check_label(name: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if name.len() > 63 {
        faults.push("must be no more than 63 characters");
    }
    if !is_label(name) {
        faults.push(LABEL_WORDS);
    }
    faults
}

/// Faults of an RFC 1123 subdomain.
pub(crate) fn check_subdomain(name: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if name.len() > 253 {
        faults.push("must be no more than 253 characters");
    }
    if !name.split('.').all(is_label) {
        faults.push(SUBDOMAIN_WORDS);
    }
    faults
}

/// # Errors
/// Why a label or annotation key is not one.
pub(crate) fn check_label_key(key: &str) -> Result<(), String> {
    qualified_name_fault(key).map_or(Ok(()), |why| Err(format!("<nil>: Invalid value: \"{key}\": {why}")))
}

/// # Errors
/// Why a label value is not one.
pub(crate) fn check_label_value(value: &str) -> Result<(), &'static str> {
    if value.len() > 63 {
        return Err("must be no more than 63 characters");
    }
    if value.is_empty() || is_word(value) { Ok(()) } else { Err(LABEL_VALUE_WORDS) }
}

/// Faults of a map of labels at `field`.
pub(crate) fn check_labels(labels: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        if let Some(why) = qualified_name_fault(key) {
            errors.push(FieldError::invalid(field, &key.as_str().into(), &why));
        }
        if let Err(why) = value.as_str().map_or(Ok(()), check_label_value) {
            errors.push(FieldError::invalid(field, value, why));
        }
    }
}

/// A name at `field` with a domain before it, as in `example.com/controller`.
pub(crate) fn domain_prefixed_path(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |why: &str| errors.push(FieldError::invalid(field, &name.into(), why));
    let Some((domain, path)) =
        name.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else {
            refuse("must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
        return;
    };
    for why in check_subdomain(domain) {
        refuse(&format!("domain part {why}"));
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !path.chars().all(is_path) {
        refuse(
            "a valid path must consist of valid characters (regex used for validation is \
'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
        );
    }
}

/// Faults of the annotations at `field`: keys, and the size of all together.
pub(crate) fn check_annotations(annotations: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    const LIMIT_BYTES: usize = 256 * 1024;
    let mut size = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        // Upstream allows upper case in the prefix of an annotation key.
        if let Some(why) = qualified_name_fault(&key.to_lowercase()) {
            errors.push(FieldError::invalid(field, &key.as_str().into(), &why));
        }
    }
    if size > LIMIT_BYTES {
        errors.push(FieldError::too_long(field, LIMIT_BYTES));
    }
}

/// Why a text is not `[prefix/]name`: its first fault.
pub(crate) fn qualified_name_fault(key: &str) -> Option<String> {
    qualified_name_faults(key).into_iter().next()
}

/// Every fault of a `[prefix/]name`.
pub(crate) fn qualified_name_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut parts = key.splitn(3, '/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            return vec![
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                    .to_owned(),
            ];
        }
    };
    match prefix {
        Some("") => faults.push("prefix part must be non-empty".into()),
        Some(prefix) => {
            faults.extend(check_subdomain(prefix).iter().map(|fault| format!("prefix part {fault}")))
        }
        None => {}
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".into());
    }
    if name.len() > 63 {
        faults.push("name part must be no more than 63 characters".into());
    }
    if !is_word(name) {
        faults.push(QUALIFIED_WORDS.to_owned());
    }
    faults
}

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && edge(text.bytes().next())
        && edge(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_real_server_refuses_are_refused() {
        for bad in ["a..b", "a/b", ".", "a%20b", "A", "", "-a", "a-"] {
            assert!(!check_name(NameRule::Subdomain, bad).is_empty(), "{bad}");
        }
        assert!(check_name(NameRule::Subdomain, "a.b-c.9").is_empty());
        assert_eq!(check_name(NameRule::Label, "a.b"), ["must not contain dots"]);
        assert!(check_name(NameRule::PathSegment, "system:node").is_empty());
        assert!(qualified_name_fault("a.b/c_D.e").is_none());
        assert!(qualified_name_fault("a/b/c").is_some());
    }
}
