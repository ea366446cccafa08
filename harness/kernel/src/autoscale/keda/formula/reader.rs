//! The reader of formulas: recursive descent, an operator by how tight it binds.

use super::{FormulaError, Part, Value};

/// The most parts that may lie in each other: a formula is read by recursion.
const MOST_DEPTH: u32 = 64;

/// Operators of two sides from the loosest to the tightest: words, how tight, whether they take from the right.
const BINARY: [(&str, &str, u8); 17] = [
    ("||", "||", 1),
    ("or", "||", 1),
    ("&&", "&&", 2),
    ("and", "&&", 2),
    ("==", "==", 3),
    ("!=", "!=", 3),
    ("<=", "<=", 3),
    (">=", ">=", 3),
    ("<", "<", 3),
    (">", ">", 3),
    ("in", "in", 3),
    ("+", "+", 4),
    ("-", "-", 4),
    ("**", "**", 7),
    ("*", "*", 6),
    ("/", "/", 6),
    ("%", "%", 6),
];
/// How tight `**` is.
const POWER: u8 = 7;
const NUMBERS: [&str; 12] =
    ["min", "max", "sum", "mean", "median", "abs", "ceil", "floor", "round", "int", "float", "len"];
const PREDICATES: [&str; 4] = ["count", "any", "all", "none"];

/// Reads a formula from left to right.
pub(super) struct Reader {
    characters: Vec<char>,
    at: usize,
    depth: u32,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        Self { characters: text.chars().collect(), at: 0, depth: 0 }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> FormulaError {
        FormulaError { column: self.at + 1, message: message.into() }
    }

    pub(super) fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|character| character.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    /// Takes a sign or a whole word, if it is next.
    fn takes(&mut self, text: &str) -> bool {
        self.peek();
        let length = text.chars().count();
        let rest = &self.characters[self.at..];
        let is_word = text.starts_with(|first: char| first.is_alphabetic());
        let is_next = rest.len() >= length
            && rest.iter().zip(text.chars()).all(|(one, other)| *one == other)
            && !(is_word && rest.get(length).is_some_and(|next| is_of_name(*next)));
        if is_next {
            self.at += length;
        }
        is_next
    }

    fn needs(&mut self, text: &str) -> Result<(), FormulaError> {
        if self.takes(text) { Ok(()) } else { Err(self.fault(format!("{text} is missing"))) }
    }

    pub(super) fn choice(&mut self) -> Result<Part, FormulaError> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.fault(format!("more than {MOST_DEPTH} parts lie in each other")));
        }
        let condition = self.binary(1)?;
        let part = if self.takes("?") {
            let yes = self.choice()?;
            self.needs(":")?;
            Part::Choice(Box::new((condition, yes, self.choice()?)))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(part)
    }

    fn binary(&mut self, least: u8) -> Result<Part, FormulaError> {
        let mut left = self.unary()?;
        loop {
            let before = self.at;
            let found =
                BINARY.iter().find(|(text, ..)| self.takes(text)).map(|(_, sign, tight)| (*sign, *tight));
            let Some((sign, tight)) = found.or_else(|| self.takes("^").then_some(("**", POWER))) else {
                break;
            };
            if tight < least {
                self.at = before;
                break;
            }
            let right = if tight == POWER { self.operand(POWER)? } else { self.binary(tight + 1)? };
            left = Part::Binary(sign, Box::new((left, right)));
        }
        Ok(left)
    }

    /// What stands right of `**`, which takes from the right.
    fn operand(&mut self, least: u8) -> Result<Part, FormulaError> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.fault(format!("more than {MOST_DEPTH} parts lie in each other")));
        }
        let part = self.binary(least);
        self.depth -= 1;
        part
    }

    fn unary(&mut self) -> Result<Part, FormulaError> {
        let signs = [("!", "!", 5), ("not", "!", 5), ("-", "-", POWER), ("+", "+", POWER)];
        match signs.iter().find(|(text, ..)| self.takes(text)) {
            // -2 ** 2 is -4: the power is tighter than the sign.
            Some((_, sign, tight)) => Ok(Part::Unary(sign, Box::new(self.operand(*tight)?))),
            None => self.single(),
        }
    }

    fn single(&mut self) -> Result<Part, FormulaError> {
        match self.peek() {
            None => Err(self.fault("a value is missing")),
            Some('(') => {
                self.at += 1;
                let part = self.choice()?;
                self.needs(")")?;
                Ok(part)
            }
            Some('[') => {
                self.at += 1;
                self.parts("]").map(Part::List)
            }
            Some('#') => {
                self.at += 1;
                Ok(Part::Element)
            }
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some(first) if is_of_name(first) => self.word(),
            Some(other) => Err(self.fault(format!("{other:?} begins no value"))),
        }
    }

    fn parts(&mut self, end: &str) -> Result<Vec<Part>, FormulaError> {
        let mut parts = Vec::new();
        while !self.takes(end) {
            if !parts.is_empty() {
                self.needs(",")?;
            }
            parts.push(self.choice()?);
        }
        Ok(parts)
    }

    fn number(&mut self) -> Result<Part, FormulaError> {
        let begin = self.at;
        while let Some(next) = self.characters.get(self.at) {
            let after_e = self.at > begin && matches!(self.characters[self.at - 1], 'e' | 'E');
            let goes_on = next.is_ascii_digit()
                || matches!(next, '.' | '_' | 'e' | 'E')
                || (after_e && matches!(next, '+' | '-'));
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        let text: String =
            self.characters[begin..self.at].iter().filter(|character| **character != '_').collect();
        if let Ok(whole) = text.parse::<i64>() {
            return Ok(Part::Value(Value::Whole(whole)));
        }
        match text.parse::<f64>() {
            Ok(fraction) if fraction.is_finite() => Ok(Part::Value(Value::Fraction(fraction))),
            _ => Err(FormulaError { column: begin + 1, message: format!("{text:?} is not a number") }),
        }
    }

    fn word(&mut self) -> Result<Part, FormulaError> {
        let begin = self.at;
        while self.characters.get(self.at).is_some_and(|next| is_of_name(*next)) {
            self.at += 1;
        }
        let word: String = self.characters[begin..self.at].iter().collect();
        match word.as_str() {
            "true" => return Ok(Part::Value(Value::Truth(true))),
            "false" => return Ok(Part::Value(Value::Truth(false))),
            _ if self.peek() != Some('(') => return Ok(Part::Name(word)),
            _ => self.at += 1,
        }
        if let Some(name) = NUMBERS.iter().find(|name| **name == word) {
            return self.parts(")").map(|parts| Part::Call(name, parts));
        }
        let Some(name) = PREDICATES.iter().find(|name| **name == word) else {
            let known = NUMBERS.join(", ");
            let message =
                format!("there is no function {word} here; there are {known}, count, any, all and none");
            return Err(FormulaError { column: begin + 1, message });
        };
        let list = self.choice()?;
        self.needs(",")?;
        let has_braces = self.takes("{");
        let holds = self.choice()?;
        if has_braces {
            self.needs("}")?;
        }
        self.needs(")")?;
        Ok(Part::Predicate(name, Box::new((list, holds))))
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
