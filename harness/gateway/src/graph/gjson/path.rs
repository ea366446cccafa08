//! The parts of a path: what the first component is, and what is left.

use std::borrow::Cow;

use super::{modifiers, query::Query};

/// What follows a component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rest<'p> {
    /// Nothing: the component is what is looked for.
    End,
    /// Behind a dot: looked for inside of what the component finds.
    Inside(&'p str),
    /// Behind a pipe: looked for in the result.
    Pipe(&'p str),
}

/// A component for the members of an object.
pub(super) struct ObjectPart<'p> {
    pub(super) name: Cow<'p, str>,
    /// `*` and `?` stand for other characters.
    pub(super) is_pattern: bool,
    pub(super) rest: Rest<'p>,
}

/// A component for the elements of an array.
pub(super) enum ArrayPart<'p> {
    /// A number; `None` for what is none, which finds nothing.
    Index(Option<usize>),
    /// `#`: how many.
    Count,
    /// `#.path`: the path in each.
    Each(&'p str),
    /// `#(…)` or `#(…)#`.
    Query(Query<'p>),
    /// A number sign in other company: finds nothing.
    Nothing,
}

/// The first component of a path into an object. A backslash takes the meaning from the character behind it.
pub(super) fn object_part(path: &str) -> ObjectPart<'_> {
    let bytes = path.as_bytes();
    let mut is_pattern = false;
    let mut kept: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'|' | b'.' => break,
            b'\\' => {
                let kept = kept.get_or_insert_with(|| bytes[..at].to_vec());
                at += 1;
                kept.extend(bytes.get(at));
            }
            _ => {
                is_pattern |= matches!(byte, b'*' | b'?');
                if let Some(kept) = &mut kept {
                    kept.push(byte);
                }
            }
        }
        at += 1;
    }
    let at = at.min(path.len());
    let name = match kept {
        None => Cow::Borrowed(&path[..at]),
        Some(kept) => Cow::Owned(String::from_utf8_lossy(&kept).into_owned()),
    };
    ObjectPart { name, is_pattern, rest: rest_at(path, at, true) }
}

/// The first component of a path into an array, and what follows it.
pub(super) fn array_part(path: &str) -> (ArrayPart<'_>, Rest<'_>) {
    let bytes = path.as_bytes();
    let mut has_sign = false;
    let mut query = None;
    let mut each = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'|' | b'.' => break,
            b'#' => {
                has_sign = true;
                if at == 0 {
                    match bytes.get(1) {
                        Some(b'.') => each = path.get(2..),
                        Some(b'(' | b'[') => match Query::parse(path) {
                            Some((parsed, end)) => {
                                at = end - 1;
                                query = Some(Query { all: bytes.get(end) == Some(&b'#'), ..parsed });
                            }
                            // Not closed: upstream takes the whole path for a query without a condition.
                            None => return (ArrayPart::Query(Query::default()), Rest::End),
                        },
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    let at = at.min(path.len());
    let rest = rest_at(path, at, !has_sign);
    let part = match (query, each, &path[..at]) {
        (Some(query), ..) => ArrayPart::Query(query),
        (None, Some(each), _) => ArrayPart::Each(each),
        (None, None, "#") => ArrayPart::Count,
        (None, None, _) if has_sign => ArrayPart::Nothing,
        (None, None, digits) => ArrayPart::Index(
            digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten(),
        ),
    };
    (part, rest)
}

fn rest_at(path: &str, at: usize, may_pipe: bool) -> Rest<'_> {
    let behind = path.get(at + 1..).unwrap_or_default();
    match path.as_bytes().get(at) {
        Some(b'|') => Rest::Pipe(behind),
        Some(b'.') if may_pipe && begins_anew(behind) => Rest::Pipe(behind),
        Some(b'.') => Rest::Inside(behind),
        _ => Rest::End,
    }
}

/// A dot before a modifier or a selector means the same as a pipe.
fn begins_anew(path: &str) -> bool {
    match path.as_bytes().first() {
        Some(b'@') => {
            let end = path.find(['.', '|', ':']).unwrap_or(path.len());
            modifiers::is_known(&path[1..end])
        }
        Some(b'[' | b'{') => true,
        _ => false,
    }
}

/// Splits a path at its first pipe that is not inside of a query or a selector.
pub(super) fn split_pipe(path: &str) -> Option<(&str, &str)> {
    if !path.contains('|') {
        return None;
    }
    let bytes = path.as_bytes();
    if bytes[0] == b'{' {
        let end = super::document::bracket_end(bytes, 0);
        return (bytes.get(end) == Some(&b'|')).then(|| (&path[..end], &path[end + 1..]));
    }
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'.' if bytes.get(at + 1) == Some(&b'#') && matches!(bytes.get(at + 2), Some(b'(' | b'[')) => {
                at = super::document::bracket_end(bytes, at + 2);
                continue;
            }
            b'|' => return Some((&path[..at], &path[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    None
}
