//! The part of Kubernetes' JSONPath that printer columns use: keys, indexes, wildcards, `..` is refused, and
//! filters such as `.status.conditions[?(@.type=='Ready')].status`.

use serde_json::Value;

/// A parsed path; one that cannot be parsed finds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
    Every,
    /// Items whose value at the keys compares so with the text.
    Filter {
        keys: Vec<String>,
        operator: Operator,
        value: Option<Value>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
}

impl JsonPath {
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
        parse_steps(text).map_or_else(
            // A path that finds nothing, whatever the object.
            || Self {
                steps: vec![Step::Filter { keys: Vec::new(), operator: Operator::Exists, value: None }],
            },
            |steps| Self { steps },
        )
    }

    /// Everything that the path finds.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.apply(value)).collect();
        }
        found
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Key(key) => value.get(key).into_iter().collect(),
            Self::Index(index) => {
                let Some(items) = value.as_array() else { return Vec::new() };
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { length + index } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
            }
            Self::Every => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter { keys, operator, value: wanted } => {
                let holds = |item: &&Value| {
                    let found = keys.iter().try_fold(*item, |value, key| value.get(key));
                    match operator {
                        Operator::Exists => found.is_some() && !keys.is_empty(),
                        Operator::Equal => found.is_some() && found == wanted.as_ref(),
                        Operator::NotEqual => found.is_some() && found != wanted.as_ref(),
                    }
                };
                value.as_array().into_iter().flatten().filter(holds).collect()
            }
        }
    }
}

fn parse_steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                return Some(steps);
            }
            if let Some(after) = after.strip_prefix('*') {
                steps.push(Step::Every);
                rest = after;
                continue;
            }
            if after.starts_with('[') {
                rest = after;
                continue;
            }
            let (key, after) = key(after)?;
            steps.push(Step::Key(key));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing_bracket(after)?;
            steps.push(bracket(&after[..end])?);
            rest = &after[end + 1..];
        } else if steps.is_empty() {
            let (key, after) = key(rest)?;
            steps.push(Step::Key(key));
            rest = after;
        } else {
            return None;
        }
    }
    Some(steps)
}

/// A key up to the next `.` or `[`; `\.` is a dot inside of it.
fn key(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => key.push(characters.next()?.1),
            '.' | '[' => return (!key.is_empty()).then_some((key, &text[at..])),
            _ => key.push(character),
        }
    }
    (!key.is_empty()).then_some((key, ""))
}

fn closing_bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, ']') => return Some(at),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::Every);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (path, operator, value) = if let Some((path, value)) = filter.split_once("==") {
            (path, Operator::Equal, Some(literal(value)?))
        } else if let Some((path, value)) = filter.split_once("!=") {
            (path, Operator::NotEqual, Some(literal(value)?))
        } else {
            (filter, Operator::Exists, None)
        };
        let mut keys = Vec::new();
        for step in parse_steps(path.trim().strip_prefix('@')?)? {
            let Step::Key(key) = step else { return None };
            keys.push(key);
        }
        return Some(Step::Filter { keys, operator, value });
    }
    if let Some(key) = unquote(text) {
        return Some(Step::Key(key));
    }
    text.parse().ok().map(Step::Index)
}

fn literal(text: &str) -> Option<Value> {
    let text = text.trim();
    unquote(text).map(Value::from).or_else(|| serde_json::from_str(text).ok())
}

fn unquote(text: &str) -> Option<String> {
    ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote).map(ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn printer_columns_of_real_definitions_find_their_values() {
        let object = json!({"metadata": {"annotations": {"a.b/c": "v"}}, "status": {"url": "u", "conditions": [
            {"type": "Other", "status": "False"}, {"type": "Ready", "status": "True", "reason": "R"}]}});
        let find =
            |path: &str| -> Vec<Value> { JsonPath::parse(path).find(&object).into_iter().cloned().collect() };
        assert_eq!(find(".status.conditions[?(@.type=='Ready')].status"), [json!("True")]);
        assert_eq!(find(".status.conditions[?(@.type==\"Ready\")].reason"), [json!("R")]);
        assert_eq!(find(".status.url"), [json!("u")]);
        assert_eq!(find("status.conditions[*].type"), [json!("Other"), json!("Ready")]);
        assert_eq!(find(".status.conditions[-1].type"), [json!("Ready")]);
        assert_eq!(find(".metadata.annotations['a.b/c']"), [json!("v")]);
        assert_eq!(find(".metadata.annotations.a\\.b/c"), [json!("v")]);
        for nothing in [".status.nope", ".status[", ".status.conditions[?(@.type=='x')]", "..", "[?(", ""] {
            let found = find(nothing);
            assert!(found.is_empty() || nothing.is_empty(), "{nothing}: {found:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_is_a_crash(text in "[a-z.@?()'=\\[\\]*\\\\0-9-]{0,30}") {
            let _ = JsonPath::parse(&text).find(&json!({"a": [{"b": 1}]}));
        }
    }
}
