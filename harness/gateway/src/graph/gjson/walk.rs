//! A path over objects and arrays, until it finds something.

use std::borrow::Cow;

use super::{
    Found, MAX_DEPTH,
    document::{Elements, Kind, Members, kind, unescape},
    evaluate,
    path::{ArrayPart, Rest, array_part, object_part, split_pipe},
    query::{Query, is_like},
};

/// What a walk has found so far. A pipe applies to what is found in the end.
pub(super) struct Walk<'a, 'p> {
    pub(super) value: Found<'a>,
    pub(super) pipe: Option<&'p str>,
    /// How deep the evaluation was when the walk began.
    began: usize,
}

impl<'a, 'p> Walk<'a, 'p> {
    pub(super) fn new(began: usize) -> Self {
        Self { value: None, pipe: None, began }
    }

    /// Follows `path` in an object or an array; true when it is found and the search over.
    pub(super) fn value(&mut self, raw: &'a str, path: &'p str, depth: usize) -> bool {
        if depth > MAX_DEPTH + self.began {
            return false;
        }
        match kind(raw) {
            Kind::Object => self.object(raw, path, depth),
            Kind::Array => self.array(&raw[1..], path, depth),
            _ => false,
        }
    }

    fn object(&mut self, raw: &'a str, path: &'p str, depth: usize) -> bool {
        let part = object_part(path);
        if let Rest::Pipe(pipe) = part.rest {
            self.pipe = Some(pipe);
        }
        for (key, value) in Members::of(raw) {
            let key = unescape(key);
            let fits = if part.is_pattern { is_like(&key, &part.name) } else { key == part.name };
            if !fits {
                continue;
            }
            match part.rest {
                Rest::Inside(rest) => {
                    // Of several members that fit, the first in which the rest is found.
                    if self.value(value, rest, depth + 1) {
                        return true;
                    }
                }
                Rest::End | Rest::Pipe(_) => {
                    self.value = Some(Cow::Borrowed(value));
                    return true;
                }
            }
        }
        false
    }

    /// Follows `path` in the elements of an array whose text begins behind the bracket.
    pub(super) fn array(&mut self, text: &'a str, path: &'p str, depth: usize) -> bool {
        let (part, rest) = array_part(path);
        if let Rest::Pipe(pipe) = rest {
            self.pipe = Some(pipe);
        }
        match part {
            ArrayPart::Nothing | ArrayPart::Index(None) => false,
            ArrayPart::Index(Some(index)) => {
                let Some(element) = Elements::new(text).nth(index) else { return false };
                match rest {
                    Rest::Inside(rest) => self.value(element, rest, depth + 1),
                    Rest::End | Rest::Pipe(_) => {
                        self.value = Some(Cow::Borrowed(element));
                        true
                    }
                }
            }
            ArrayPart::Count => {
                self.value = Some(Cow::Owned(Elements::new(text).count().to_string()));
                true
            }
            ArrayPart::Each(path) => {
                let path = self.split(path);
                let found = Elements::new(text).filter_map(|element| evaluate(element, path, depth + 1));
                self.value = Some(Cow::Owned(array_of(found)));
                true
            }
            ArrayPart::Query(query) => self.query(text, &query, rest, depth),
        }
    }

    fn query(&mut self, text: &'a str, query: &Query<'p>, rest: Rest<'p>, depth: usize) -> bool {
        let mut rest = match rest {
            Rest::Inside(rest) => Some(rest),
            Rest::End | Rest::Pipe(_) => None,
        };
        let mut matching = Vec::new();
        for element in Elements::new(text) {
            let is_container = matches!(kind(element), Kind::Object | Kind::Array);
            let is_match = if is_container {
                query.matches(evaluate(element, query.path, depth + 1).as_deref())
            } else {
                query.path.is_empty() && query.matches(Some(element))
            };
            if !is_match {
                continue;
            }
            // A pipe behind the query counts only once something matches, as upstream has it.
            rest = rest.map(|rest| self.split(rest));
            let found = match rest {
                Some(rest) => evaluate(element, rest, depth + 1),
                None => Some(Cow::Borrowed(element)),
            };
            if !query.all {
                self.value = found;
                return true;
            }
            matching.extend(found);
        }
        if query.all && self.value.is_none() {
            self.value = Some(Cow::Owned(array_of(matching.into_iter())));
        }
        false
    }

    /// Takes a pipe off a path's end and keeps it for the result.
    fn split(&mut self, path: &'p str) -> &'p str {
        match split_pipe(path) {
            Some((left, pipe)) => {
                self.pipe = Some(pipe);
                left
            }
            None => path,
        }
    }
}

fn array_of<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut text = String::from("[");
    for value in values {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&value);
    }
    text.push(']');
    text
}
