//! From a condition's text to its expression.

use super::super::super::value::Value;
use super::condition::{ConditionError, MOST_BYTES};

/// Deepest nesting.
const MOST_DEPTH: u32 = 48;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Literal(Value),
    List(Vec<Expression>),
    Result,
    /// `#`: the element that a predicate looks at.
    Element,
    Member(Box<Expression>, String, /* optional */ bool),
    Index(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, Option<Box<Expression>>, Option<Box<Expression>>),
    Call(&'static str, Vec<Expression>),
    Each(&'static str, Box<Expression>, Box<Expression>),
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    OrElse,
}

/// Operators with their binding power, as expr-lang has them.
const OPERATORS: &[(&str, Binary, u8)] = &[
    ("||", Binary::Or, 10),
    ("or", Binary::Or, 10),
    ("&&", Binary::And, 15),
    ("and", Binary::And, 15),
    ("==", Binary::Equal, 20),
    ("!=", Binary::NotEqual, 20),
    ("<", Binary::Less, 20),
    ("<=", Binary::LessEqual, 20),
    (">", Binary::Greater, 20),
    (">=", Binary::GreaterEqual, 20),
    ("in", Binary::In, 20),
    ("contains", Binary::Contains, 20),
    ("startsWith", Binary::StartsWith, 20),
    ("endsWith", Binary::EndsWith, 20),
    ("matches", Binary::Matches, 20),
    ("+", Binary::Add, 30),
    ("-", Binary::Subtract, 30),
    ("*", Binary::Multiply, 60),
    ("/", Binary::Divide, 60),
    ("%", Binary::Remainder, 60),
    ("**", Binary::Power, 100),
    ("^", Binary::Power, 100),
    ("??", Binary::OrElse, 120),
];

/// Functions of values.
const FUNCTIONS: &[&str] = &[
    "len", "abs", "ceil", "floor", "round", "int", "float", "string", "min", "max", "sum", "mean", "median",
    "first", "last", "upper", "lower", "trim", "isNaN", "isInf", "isNil", "default", "asInt", "asFloat",
];

/// Functions with a predicate.
const EACH: &[&str] = &["all", "any", "none", "one", "filter", "map", "count"];

const SYMBOLS: &[&str] = &[
    "||", "&&", "==", "!=", "<=", ">=", "**", "??", "?.", "<", ">", "+", "-", "*", "/", "%", "^", "!", "(",
    ")", "[", "]", "{", "}", ",", ".", "?", ":", "#",
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Value(Value),
    Name(String),
    Symbol(&'static str),
}

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Expression, ConditionError> {
    if text.len() > MOST_BYTES {
        return Err(ConditionError::TooLarge("more than 4096 bytes"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, length: text.len(), depth: 0, predicates: 0 };
    let expression = parser.expression(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(expression),
        Some(_) => Err(parser.unexpected()),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = if c.is_ascii_digit() {
            number(rest).map_err(|message| ConditionError::Syntax { at, message })?
        } else if c == '"' || c == '\'' {
            quoted(rest, c).map_err(|message| ConditionError::Syntax { at, message })?
        } else if c.is_alphabetic() || c == '_' || c == '$' {
            let length =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            (Token::Name(rest[..length].to_string()), length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(ConditionError::Syntax { at, message: format!("unrecognized character {c:?}") });
        };
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let mut length = digits(text);
    let mut is_float = false;
    if text[length..].starts_with('.') && text[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        length += 1 + digits(&text[length + 1..]);
        is_float = true;
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[length + 1 + sign..]);
        if exponent > 0 {
            length += 1 + sign + exponent;
            is_float = true;
        }
    }
    let plain = text[..length].replace('_', "");
    let value = if is_float {
        plain.parse().map(Value::Float).map_err(|_| ())
    } else {
        plain.parse().map(Value::Int).map_err(|_| ())
    };
    value.map(|value| (Token::Value(value), length)).map_err(|()| format!("bad number syntax: {plain:?}"))
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut read = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Value(Value::Text(read)), at + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => read.push('\n'),
                Some('t') => read.push('\t'),
                Some('r') => read.push('\r'),
                Some(c @ ('\\' | '"' | '\'' | '/' | '`')) => read.push(c),
                _ => return Err("invalid char escape".to_string()),
            },
            c => read.push(c),
        }
    }
    Err("literal not terminated".to_string())
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    length: usize,
    depth: u32,
    /// How many predicates this is in.
    predicates: u32,
}

impl Parser {
    fn expression(&mut self, least: u8) -> Result<Expression, ConditionError> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(ConditionError::TooLarge("nested too deeply"));
        }
        let mut left = self.prefixed()?;
        while let Some((operator, power, negated, length)) = self.operator() {
            if power < least {
                break;
            }
            self.at += length;
            // Powers bind to the right.
            let right = self.expression(if operator == Binary::Power { power } else { power + 1 })?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
            if negated {
                left = Expression::Unary(Unary::Not, Box::new(left));
            }
        }
        if least == 0 && self.takes("?") {
            let yes = self.expression(0)?;
            self.expect(":")?;
            let no = self.expression(0)?;
            left = Expression::Choice(Box::new(left), Box::new(yes), Box::new(no));
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator that comes next: its power, whether `not` stands before it, and how many tokens it has.
    fn operator(&self) -> Option<(Binary, u8, bool, usize)> {
        let named = |at: usize| match self.tokens.get(at)? {
            (_, Token::Name(name)) => Some(name.as_str()),
            (_, Token::Symbol(symbol)) => Some(*symbol),
            (_, Token::Value(_)) => None,
        };
        let negated = named(self.at) == Some("not");
        let name = named(self.at + usize::from(negated))?;
        let (_, operator, power) = OPERATORS.iter().find(|(known, ..)| *known == name)?;
        let can_negate = matches!(
            operator,
            Binary::In | Binary::Contains | Binary::StartsWith | Binary::EndsWith | Binary::Matches
        );
        (!negated || can_negate).then_some((*operator, *power, negated, 1 + usize::from(negated)))
    }

    fn prefixed(&mut self) -> Result<Expression, ConditionError> {
        let prefix = match self.tokens.get(self.at) {
            Some((_, Token::Symbol("!"))) => Some((Unary::Not, 50)),
            Some((_, Token::Name(name))) if name == "not" => Some((Unary::Not, 50)),
            Some((_, Token::Symbol("-"))) => Some((Unary::Minus, 90)),
            Some((_, Token::Symbol("+"))) => Some((Unary::Plus, 90)),
            _ => None,
        };
        let Some((operator, power)) = prefix else {
            let primary = self.primary()?;
            return self.postfixed(primary);
        };
        self.at += 1;
        Ok(Expression::Unary(operator, Box::new(self.expression(power)?)))
    }

    fn primary(&mut self) -> Result<Expression, ConditionError> {
        let Some((_, token)) = self.tokens.get(self.at).cloned() else { return Err(self.unexpected()) };
        match token {
            Token::Value(value) => {
                self.at += 1;
                Ok(Expression::Literal(value))
            }
            Token::Name(name) => {
                self.at += 1;
                self.named(name)
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                self.at += 1;
                Ok(Expression::List(self.list("]")?))
            }
            Token::Symbol("#") if self.predicates > 0 => {
                self.at += 1;
                Ok(Expression::Element)
            }
            // Short for a field of the element.
            Token::Symbol(".") if self.predicates > 0 => Ok(Expression::Element),
            Token::Symbol(_) => Err(self.unexpected()),
        }
    }

    fn named(&mut self, name: String) -> Result<Expression, ConditionError> {
        let literal = |value: Value| Ok(Expression::Literal(value));
        match name.as_str() {
            "true" => return literal(Value::Bool(true)),
            "false" => return literal(Value::Bool(false)),
            "nil" => return literal(Value::Nil),
            "result" => return Ok(Expression::Result),
            _ => {}
        }
        let is_call = matches!(self.tokens.get(self.at), Some((_, Token::Symbol("("))));
        if let Some(each) = EACH.iter().find(|each| is_call && **each == name) {
            self.at += 1;
            let list = self.expression(0)?;
            let predicate = if *each == "count" && self.takes(")") {
                return Ok(Expression::Each(each, Box::new(list), Box::new(Expression::Element)));
            } else {
                self.expect(",")?;
                self.predicate()?
            };
            self.expect(")")?;
            return Ok(Expression::Each(each, Box::new(list), Box::new(predicate)));
        }
        if let Some(function) = FUNCTIONS.iter().find(|function| is_call && **function == name) {
            self.at += 1;
            return Ok(Expression::Call(function, self.list(")")?));
        }
        Err(ConditionError::UnknownName(name))
    }

    fn predicate(&mut self) -> Result<Expression, ConditionError> {
        self.predicates += 1;
        let in_braces = self.takes("{");
        let predicate = self.expression(0)?;
        if in_braces {
            self.expect("}")?;
        }
        self.predicates -= 1;
        Ok(predicate)
    }

    fn postfixed(&mut self, mut base: Expression) -> Result<Expression, ConditionError> {
        let mut links = 0_u32;
        loop {
            links += 1;
            if links > MOST_DEPTH {
                return Err(ConditionError::TooLarge("nested too deeply"));
            }
            let is_optional = self.takes("?.");
            if is_optional || self.takes(".") {
                let Some((_, Token::Name(name))) = self.tokens.get(self.at).cloned() else {
                    return Err(self.unexpected());
                };
                self.at += 1;
                if matches!(self.tokens.get(self.at), Some((_, Token::Symbol("(")))) {
                    return Err(ConditionError::UnknownName(format!("{name} (results have no methods)")));
                }
                base = Expression::Member(Box::new(base), name, is_optional);
            } else if self.takes("[") {
                base = self.bracketed(base)?;
            } else {
                return Ok(base);
            }
        }
    }

    fn bracketed(&mut self, base: Expression) -> Result<Expression, ConditionError> {
        let base = Box::new(base);
        let from = if self.takes(":") { None } else { Some(Box::new(self.expression(1)?)) };
        if let Some(index) = &from
            && self.takes("]")
        {
            return Ok(Expression::Index(base, index.clone()));
        }
        if from.is_some() {
            self.expect(":")?;
        }
        if self.takes("]") {
            return Ok(Expression::Slice(base, from, None));
        }
        let to = Box::new(self.expression(1)?);
        self.expect("]")?;
        Ok(Expression::Slice(base, from, Some(to)))
    }

    /// Expressions up to `end`, which is taken.
    fn list(&mut self, end: &'static str) -> Result<Vec<Expression>, ConditionError> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.expression(0)?);
        }
        Ok(items)
    }

    fn takes(&mut self, symbol: &'static str) -> bool {
        let is_next = matches!(self.tokens.get(self.at), Some((_, Token::Symbol(next))) if *next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), ConditionError> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ConditionError {
        let (at, message) = match self.tokens.get(self.at) {
            None => (self.length, "unexpected end".to_string()),
            Some((at, Token::Value(value))) => (*at, format!("unexpected {value}")),
            Some((at, Token::Name(name))) => (*at, format!("unexpected {name}")),
            Some((at, Token::Symbol(symbol))) => (*at, format!("unexpected {symbol}")),
        };
        ConditionError::Syntax { at, message }
    }
}
