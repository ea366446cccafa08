//! JSON as text: whether it is valid, and its values, members and elements in order. Everything here holds on text that is
//! not JSON too: it ends, and it does not panic.

use std::borrow::Cow;

/// What JSON allows between tokens.
pub(super) const WHITESPACE: &[char] = &[' ', '\t', '\n', '\r'];

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// The kind of a value's text.
pub(in crate::graph) fn kind(raw: &str) -> Kind {
    match raw.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        // `nan`, which a literal may be, is a number.
        Some(b'n') if raw.as_bytes().get(1) == Some(&b'u') => Kind::Null,
        None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip(text: &[u8], mut at: usize, skipped: impl Fn(u8) -> bool) -> usize {
    while text.get(at).copied().is_some_and(&skipped) {
        at += 1;
    }
    at
}

/// The position behind the string that begins at `at` with its quote.
pub(super) fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The position behind what is in brackets from `at` on, strings and inner brackets included.
pub(super) fn bracket_end(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn value_end(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => string_end(text, at),
        Some(b'{' | b'[') => bracket_end(text, at),
        _ => skip(text, at, |byte| !is_space(byte) && !matches!(byte, b',' | b']' | b'}' | b':')),
    }
}

/// The elements of an array, from behind its bracket on.
pub(in crate::graph) struct Elements<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Elements<'a> {
    /// Of the text behind the opening bracket.
    pub(in crate::graph) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Of an array's text.
    pub(in crate::graph) fn of(raw: &'a str) -> Self {
        Self::new(raw.get(1..).unwrap_or_default())
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let from = skip(bytes, self.at, |byte| is_space(byte) || byte == b',');
        if matches!(bytes.get(from), None | Some(b']')) {
            return None;
        }
        self.at = value_end(bytes, from).max(from + 1);
        self.text.get(from..self.at)
    }
}

/// What is in an array and the arrays in it, to any depth, in one pass.
pub(super) struct Leaves<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Leaves<'a> {
    /// Of an array's text.
    pub(super) fn new(raw: &'a str) -> Self {
        Self { text: raw, at: 0 }
    }
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let from = skip(bytes, self.at, |byte| is_space(byte) || matches!(byte, b',' | b'[' | b']'));
        bytes.get(from)?;
        self.at = value_end(bytes, from).max(from + 1);
        self.text.get(from..self.at)
    }
}

/// The members of an object, from behind its brace on: the key with its quotes, and the value.
pub(in crate::graph) struct Members<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Members<'a> {
    /// Of an object's text.
    pub(in crate::graph) fn of(raw: &'a str) -> Self {
        Self { text: raw.get(1..).unwrap_or_default(), at: 0 }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = self.text.as_bytes();
        let from = skip(bytes, self.at, |byte| is_space(byte) || byte == b',');
        if bytes.get(from) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(bytes, from);
        let value = skip(bytes, key_end, |byte| is_space(byte) || byte == b':');
        self.at = value_end(bytes, value).max(value + 1);
        Some((self.text.get(from..key_end)?, self.text.get(value..self.at)?))
    }
}

/// What a string's text with its quotes says. A half of a surrogate pair alone becomes U+FFFD.
pub(in crate::graph) fn unescape(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').unwrap_or(raw);
    unescape_inner(inner.strip_suffix('"').unwrap_or(inner))
}

pub(super) fn unescape_inner(inner: &str) -> Cow<'_, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut said = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            said.push(character);
            continue;
        }
        match rest.next() {
            Some('b') => said.push('\u{8}'),
            Some('f') => said.push('\u{c}'),
            Some('n') => said.push('\n'),
            Some('r') => said.push('\r'),
            Some('t') => said.push('\t'),
            Some('u') => said.push(code_point(&mut rest)),
            Some(other) => said.push(other),
            None => {}
        }
    }
    Cow::Owned(said)
}

fn code_point(rest: &mut std::str::Chars<'_>) -> char {
    let Some(unit) = hex_unit(rest) else { return char::REPLACEMENT_CHARACTER };
    if !(0xd800..0xdc00).contains(&unit) {
        return char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = rest.clone();
    if ahead.next() == Some('\\')
        && ahead.next() == Some('u')
        && let Some(low) = hex_unit(&mut ahead)
        && (0xdc00..0xe000).contains(&low)
    {
        *rest = ahead;
        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    char::REPLACEMENT_CHARACTER
}

fn hex_unit(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + rest.next()?.to_digit(16)?;
    }
    Some(unit)
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    CommaOrEnd,
}

/// Whether the text is one JSON value (RFC 8259), however deep. Bytes above ASCII in strings are not looked at.
pub(in crate::graph) fn is_valid(text: &[u8]) -> bool {
    let mut open = Vec::new();
    let mut expect = Expect::Value;
    let mut at = 0;
    loop {
        at = skip(text, at, is_space);
        let Some(&byte) = text.get(at) else { return expect == Expect::CommaOrEnd && open.is_empty() };
        match (expect, byte) {
            (Expect::CommaOrEnd, b',') => {
                at += 1;
                expect = match open.last() {
                    Some(b'{') => Expect::Key,
                    Some(_) => Expect::Value,
                    None => return false,
                };
            }
            (Expect::CommaOrEnd | Expect::KeyOrEnd, b'}') if open.last() == Some(&b'{') => {
                open.pop();
                at += 1;
                expect = Expect::CommaOrEnd;
            }
            (Expect::CommaOrEnd | Expect::ValueOrEnd, b']') if open.last() == Some(&b'[') => {
                open.pop();
                at += 1;
                expect = Expect::CommaOrEnd;
            }
            (Expect::Key | Expect::KeyOrEnd, b'"') => {
                let Some(end) = valid_string(text, at) else { return false };
                at = skip(text, end, is_space);
                if text.get(at) != Some(&b':') {
                    return false;
                }
                at += 1;
                expect = Expect::Value;
            }
            (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => {
                open.push(byte);
                at += 1;
                expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
            }
            (Expect::Value | Expect::ValueOrEnd, _) => {
                let Some(end) = valid_scalar(text, at) else { return false };
                at = end;
                expect = Expect::CommaOrEnd;
            }
            _ => return false,
        }
    }
}

fn valid_scalar(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => valid_string(text, at),
        b't' => text[at..].starts_with(b"true").then_some(at + 4),
        b'f' => text[at..].starts_with(b"false").then_some(at + 5),
        b'n' => text[at..].starts_with(b"null").then_some(at + 4),
        _ => valid_number(text, at),
    }
}

fn valid_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let digits = text.get(at + 2..at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    at += 6;
                }
                _ => return None,
            },
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
}

fn valid_number(text: &[u8], mut at: usize) -> Option<usize> {
    let digits = |from: usize| {
        let end = skip(text, from, |byte| byte.is_ascii_digit());
        (end > from).then_some(end)
    };
    if text.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if text.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(text.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}
