//! Label and field selectors.

use serde_json::Value;

use crate::{
    object::{at, list, text},
    status::ApiError,
};

/// A parsed `labelSelector`: every requirement must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// A parsed `fieldSelector`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FieldSelector {
    terms: Vec<FieldTerm>,
}

#[derive(Debug, Clone, PartialEq)]
struct FieldTerm {
    path: String,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

impl LabelSelector {
    /// # Errors
    /// `BadRequest` in the words of the real parser.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        Parser { tokens: tokens(text), position: 0 }.selector().map_err(ApiError::bad_request)
    }

    /// Reads a `LabelSelector` object; an absent or empty one selects everything, an unknown operator nothing.
    pub(crate) fn of_object(selector: &Value) -> Self {
        let equal = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let mut requirements: Vec<Requirement> = equal
            .map(|(key, value)| {
                Requirement::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()])
            })
            .collect();
        for expression in list(selector, &["matchExpressions"]) {
            let key = text(expression, &["key"]).to_owned();
            let values = list(expression, &["values"]).iter().filter_map(Value::as_str);
            let values = values.map(ToOwned::to_owned).collect();
            requirements.push(match text(expression, &["operator"]) {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                _ => Requirement::In(key, Vec::new()),
            });
        }
        Self { requirements }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(at(object, &["metadata", "labels"]))
    }

    /// Whether a map of labels is selected; `None` is an empty one.
    pub(crate) fn matches_labels(&self, labels: Option<&Value>) -> bool {
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|v| v != value))
            }
            Requirement::Greater(key, bound) => {
                label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value > *bound)
            }
            Requirement::Less(key, bound) => {
                label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value < *bound)
            }
        })
    }
}

impl FieldSelector {
    /// # Errors
    /// `BadRequest` when a term has no operator, or in the words of `refusal` for a field that the kind cannot be
    /// selected by.
    pub(crate) fn parse(text: &str, refusal: impl Fn(&str) -> Option<String>) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for term in split_unescaped(text) {
            let Some((path, equal, value)) = split_term(&term) else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            let value = unescaped(value).map_err(ApiError::bad_request)?;
            terms.push(FieldTerm { path: path.to_owned(), equal, value });
        }
        match terms.iter().find_map(|term| refusal(&term.path)) {
            Some(why) => Err(ApiError::bad_request(why)),
            None => Ok(Self { terms }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The name that the selector pins, if any: a list of one object needs no scan.
    pub(crate) fn pinned_name(&self) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.path == "metadata.name")
            .map(|term| term.value.as_str())
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let path: Vec<&str> = term.path.split('.').collect();
            let found = match at(object, &path) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            (found == term.value) == term.equal
        })
    }
}

/// Field, whether it must be equal, and value, split at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = (0..term.len()).filter(|at| term.is_char_boundary(*at)).find(|at| {
        let rest = &term[*at..];
        rest.starts_with('=') || rest.starts_with("!=")
    })?;
    let (path, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((path, false, value));
    }
    rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).map(|value| (path, true, value))
}

/// A value of a field selector without its backslashes, which only stand before `\`, `,` and `=`.
fn unescaped(value: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(kept @ ('\\' | ',' | '=')) => plain.push(kept),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
            },
            ',' | '=' => {
                let code = u32::from(character);
                return Err(format!("invalid field selector: unescaped character in value: {code}"));
            }
            _ => plain.push(character),
        }
    }
    Ok(plain)
}

fn split_unescaped(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        match character {
            ',' if !escaped => terms.push(String::new()),
            _ => terms.last_mut().expect("never empty").push(character),
        }
        escaped = character == '\\' && !escaped;
    }
    terms.retain(|term| !term.is_empty());
    terms
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Symbol(&'static str),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    'next: while !rest.is_empty() {
        for symbol in ["==", "!=", "=", "!", "(", ")", ",", ">", "<"] {
            if let Some(after) = rest.strip_prefix(symbol) {
                tokens.push(Token::Symbol(symbol));
                rest = after.trim_start();
                continue 'next;
            }
        }
        let end = rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(rest.len());
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn selector(mut self) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                None => return Ok(LabelSelector { requirements }),
                Some(Token::Word(_)) | Some(Token::Symbol("!")) => requirements
                    .push(self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?),
                Some(other) => {
                    let found = other.text();
                    return Err(format!("found '{found}', expected: !, identifier, or 'end of string'"));
                }
            }
            match self.take() {
                None => return Ok(LabelSelector { requirements }),
                Some(Token::Symbol(",")) => match self.peek() {
                    Some(Token::Word(_)) | Some(Token::Symbol("!")) => {}
                    found => {
                        let found = found.map_or("", Token::text);
                        return Err(format!("found '{found}', expected: identifier after ','"));
                    }
                },
                Some(other) => {
                    return Err(format!("found '{}', expected: ',' or 'end of string'", other.text()));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == Some(&Token::Symbol("!"));
        if absent {
            self.position += 1;
        }
        let Some(Token::Word(key)) = self.take() else {
            return Err(format!("found '{}', expected: identifier", self.previous()));
        };
        crate::kinds::names::check_label_key(&key)?;
        if absent {
            return Ok(Requirement::Absent(key));
        }
        let operator = match self.peek() {
            None | Some(Token::Symbol(",")) => return Ok(Requirement::Exists(key)),
            Some(token) => token.text().to_owned(),
        };
        self.position += 1;
        match operator.as_str() {
            "=" | "==" | "!=" => {
                let values = vec![self.value()?];
                aggregate(&value_faults(&key, &values))?;
                let equal = operator != "!=";
                Ok(if equal { Requirement::In(key, values) } else { Requirement::NotIn(key, values) })
            }
            "in" | "notin" => {
                let values = self.values()?;
                aggregate(&value_faults(&key, &values))?;
                let within = operator == "in";
                Ok(if within { Requirement::In(key, values) } else { Requirement::NotIn(key, values) })
            }
            ">" | "<" => {
                let value = self.value()?;
                let bound = value.parse::<i64>().map_err(|_| {
                    format!(
                        "values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
                    )
                });
                let mut faults: Vec<String> = bound.as_ref().err().cloned().into_iter().collect();
                faults.extend(value_faults(&key, &[value]));
                aggregate(&faults)?;
                let bound = bound?;
                Ok(if operator == ">" {
                    Requirement::Greater(key, bound)
                } else {
                    Requirement::Less(key, bound)
                })
            }
            found => Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// A value may be empty: `app=` selects the empty string.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            None | Some(Token::Symbol(",")) => Ok(String::new()),
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.position += 1;
                Ok(word)
            }
            Some(other) => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// The values of a set, sorted and each once.
    fn values(&mut self) -> Result<Vec<String>, String> {
        if self.take() != Some(Token::Symbol("(")) {
            return Err(format!("found '{}' expected: '('", self.previous()));
        }
        let mut values = std::collections::BTreeSet::new();
        match self.peek() {
            Some(Token::Word(_) | Token::Symbol("," | ")")) => {}
            other => {
                let found = other.map_or("", Token::text);
                return Err(format!("found '{found}', expected: ',', ')' or identifier"));
            }
        }
        let mut after_comma = true;
        loop {
            match self.take() {
                Some(Token::Word(word)) if after_comma => {
                    values.insert(word);
                    after_comma = false;
                }
                Some(Token::Symbol(",")) => {
                    // `(,a)` and `(a,,b)` name the empty string too.
                    if after_comma {
                        values.insert(String::new());
                    }
                    after_comma = true;
                }
                Some(Token::Symbol(")")) => {
                    if after_comma {
                        values.insert(String::new());
                    }
                    return Ok(values.into_iter().collect());
                }
                other => {
                    let found = other.as_ref().map_or("", Token::text);
                    let wanted = if after_comma { "',', or identifier" } else { "',' or ')'" };
                    return Err(format!("found '{found}', expected: {wanted}"));
                }
            }
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).cloned();
        self.position += 1;
        token
    }

    fn previous(&self) -> &str {
        self.tokens.get(self.position.wrapping_sub(1)).map_or("", Token::text)
    }
}

/// What is wrong with the values of a requirement.
fn value_faults(key: &str, values: &[String]) -> Vec<String> {
    let faults = values.iter().enumerate().filter_map(|(index, value)| {
        let why = crate::kinds::names::check_label_value(value).err()?;
        Some(format!("values[{index}][{key}]: Invalid value: \"{value}\": {why}"))
    });
    faults.collect()
}

/// One error of several.
fn aggregate(faults: &[String]) -> Result<(), String> {
    match faults {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str) -> bool {
        let object = json!({"metadata": {"labels": {"app": "x", "tier": "2", "empty": ""}}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn every_operator_selects_as_kubectl_users_expect() {
        for yes in
            ["", "app", "app=x", "app==x", "app!=y", "!none", "app in (x, y)", "app notin (y)", "tier>1"]
        {
            assert!(selects(yes), "{yes}");
        }
        for no in ["none", "app=y", "app!=x", "!app", "app in ()", "app notin (x,z)", "tier<2", "app=x,none"]
        {
            assert!(!selects(no), "{no}");
        }
        assert!(selects("none notin (x)"), "notin holds for an absent label");
        assert!(selects("empty="));
    }

    #[test]
    fn a_bad_selector_is_a_bad_request_not_an_empty_list() {
        for bad in ["=x", "app>x", "app in x", "a,,b", "app=x y", "(", ","] {
            assert_eq!(LabelSelector::parse(bad).unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn field_selectors_compare_text_and_absence() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}});
        let parse = |text: &str| FieldSelector::parse(text, |_| None).unwrap();
        assert!(parse("metadata.name=a,spec.nodeName!=m,status.phase=").matches(&object));
        assert!(!parse("spec.nodeName!=n").matches(&object));
        assert_eq!(parse("metadata.name=a").pinned_name(), Some("a"));
        assert_eq!(
            FieldSelector::parse("x=y", |_| Some("field label not supported: x".into())).unwrap_err().message,
            "field label not supported: x"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_selector_is_a_crash(text in "[a-z=!<>(), .notin/-]{0,30}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text, |_| None);
        }
    }
}
