//! The formula of scaling modifiers: one number out of the values of named triggers.
//!
//! Source: `pkg/scaling/modifiers/formula.go`, which compiles the formula with github.com/expr-lang/expr for an
//! environment of one `float64` a trigger and asks for a `float64`. Of that language there is what makes numbers of
//! numbers:
//!
//! | what | binds |
//! | --- | --- |
//! | `a ? b : c` | loosest, to the right |
//! | `or` `\|\|`, then `and` `&&` | only the side that is needed is computed |
//! | `== != < <= > >=`, `in` a list | |
//! | `+ -`, then `* / %` | `/` gives a fraction also of whole numbers; `%` is of whole numbers only |
//! | `- + ! not` | before a value |
//! | `** ^` | tightest, to the right |
//! | `[a, b]`, `min max sum mean median` of numbers and lists, `abs ceil floor round int float len`, `count any all none` with `{# > 1}` | |

mod reader;

use std::collections::BTreeMap;
use std::fmt;

use self::reader::Reader;
use super::fallback::Reading;
use super::{KedaError, ScaledObjectSpec, Trigger};

/// A formula, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula(Part);

/// Why a text is no formula, or a formula has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormulaError {
    /// Where, a character counted from 1; 0 when it is about the value.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => f.write_str(&self.message),
            column => write!(f, "column {column}: {}", self.message),
        }
    }
}

impl std::error::Error for FormulaError {}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Value(Value),
    Name(String),
    /// The element of the list that a predicate looks at.
    Element,
    List(Vec<Part>),
    Unary(&'static str, Box<Part>),
    Binary(&'static str, Box<(Part, Part)>),
    Choice(Box<(Part, Part, Part)>),
    Call(&'static str, Vec<Part>),
    Predicate(&'static str, Box<(Part, Part)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Whole(i64),
    Fraction(f64),
    Truth(bool),
    List(Vec<Value>),
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// The first fault with its column.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let mut reader = Reader::new(text);
        let part = reader.choice()?;
        match reader.peek() {
            None => Ok(Self(part)),
            Some(_) => Err(reader.fault("an operator is missing here, or this is too much")),
        }
    }

    /// The formula of a ScaledObject with modifiers, checked as KEDA checks it; `None` without them.
    ///
    /// # Errors
    /// Modifiers that KEDA would refuse, and a formula in more of its language than there is here.
    pub fn of(spec: &ScaledObjectSpec) -> Result<Option<Self>, KedaError> {
        let Some(modifiers) = spec.modifiers() else { return Ok(None) };
        let place = |key: &str| format!("advanced.scalingModifiers.{key}");
        let found = |text: &str| format!("{text:?}");
        let mut names: Vec<&str> = Vec::new();
        for (index, trigger) in spec.triggers.iter().enumerate().filter(|(_, trigger)| !trigger.is_resource())
        {
            match trigger.name.as_deref().filter(|name| !name.is_empty()) {
                Some(name) if !names.contains(&name) => names.push(name),
                other => {
                    let found = other.map_or_else(|| "no name".to_owned(), found);
                    let expected = "a name of its own, by which the formula asks for it";
                    return Err(KedaError::new(format!("triggers[{index}].name"), found, expected));
                }
            }
        }
        let formula = Self::parse(&modifiers.formula).map_err(|error| {
            KedaError::new(place("formula"), found(&modifiers.formula), error.to_string())
        })?;
        if let Some(unknown) = formula.names().into_iter().find(|name| !names.contains(name)) {
            let expected = format!("names of triggers, which are {}", names.join(", "));
            return Err(KedaError::new(place("formula"), found(unknown), expected));
        }
        let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        if !modifiers.target.parse::<f64>().is_ok_and(|target| target.is_finite() && target > 0.0) {
            return Err(KedaError::new(place("target"), found(&modifiers.target), "a number above 0"));
        }
        if !modifiers.activation_target.is_empty() && !is_number(&modifiers.activation_target) {
            let found = found(&modifiers.activation_target);
            return Err(KedaError::new(place("activationTarget"), found, "a number"));
        }
        Ok(Some(formula))
    }

    /// Its value for what the triggers gave, cut at thousandths as their metrics are; `None` where it asks for
    /// one that failed, or has no value.
    #[must_use]
    pub fn of_readings(&self, triggers: &[Trigger], readings: &[Reading]) -> Option<f64> {
        let named = triggers.iter().zip(readings).filter_map(|(trigger, reading)| match reading {
            Reading::Measured(measured) => {
                Some((trigger.name.clone()?, (measured.value * 1000.0).trunc() / 1000.0))
            }
            Reading::Failed { .. } | Reading::Resource => None,
        });
        self.value(&named.collect()).ok()
    }

    /// The names that it asks for, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.names(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Its value.
    ///
    /// # Errors
    /// A name without a value, an operation on what is no number, a result that is no finite number.
    pub fn value(&self, values: &BTreeMap<String, f64>) -> Result<f64, FormulaError> {
        match self.0.value(values, None)?.number()? {
            value if value.is_finite() => Ok(value),
            value => Err(wrong(format!("the result is {value}, not a number to scale by"))),
        }
    }
}

fn wrong(message: impl Into<String>) -> FormulaError {
    FormulaError { column: 0, message: message.into() }
}

impl Value {
    fn number(&self) -> Result<f64, FormulaError> {
        match self {
            Self::Whole(whole) => Ok(*whole as f64),
            Self::Fraction(fraction) => Ok(*fraction),
            Self::Truth(_) => Err(wrong("a number is needed where there is true or false")),
            Self::List(_) => Err(wrong("a number is needed where there is a list")),
        }
    }

    fn truth(&self) -> Result<bool, FormulaError> {
        match self {
            Self::Truth(truth) => Ok(*truth),
            _ => Err(wrong("true or false is needed: compare the number, as in a > 2")),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Ok(one), Ok(other)) => one == other,
            _ => self == other,
        }
    }

    /// Numbers of a list, and of lists in it.
    fn flatten(self, into: &mut Vec<Value>) {
        match self {
            Self::List(values) => values.into_iter().for_each(|value| value.flatten(into)),
            value => into.push(value),
        }
    }
}

impl Part {
    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Value(_) | Self::Element => {}
            Self::Name(name) => names.push(name),
            Self::List(parts) | Self::Call(_, parts) => parts.iter().for_each(|part| part.names(names)),
            Self::Unary(_, part) => part.names(names),
            Self::Binary(_, sides) | Self::Predicate(_, sides) => {
                sides.0.names(names);
                sides.1.names(names);
            }
            Self::Choice(parts) => {
                parts.0.names(names);
                parts.1.names(names);
                parts.2.names(names);
            }
        }
    }

    fn value(&self, names: &BTreeMap<String, f64>, element: Option<&Value>) -> Result<Value, FormulaError> {
        let of = |part: &Self| part.value(names, element);
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Element => element.cloned().ok_or_else(|| wrong("# is only for predicates, as in {# > 1}")),
            Self::Name(name) => match names.get(name) {
                Some(value) => Ok(Value::Fraction(*value)),
                None => Err(wrong(format!("there is no value of a trigger {name}"))),
            },
            Self::List(parts) => parts.iter().map(of).collect::<Result<_, _>>().map(Value::List),
            Self::Choice(parts) => of(if of(&parts.0)?.truth()? { &parts.1 } else { &parts.2 }),
            Self::Unary(sign, part) => unary(sign, of(part)?),
            Self::Binary("&&", sides) => Ok(Value::Truth(of(&sides.0)?.truth()? && of(&sides.1)?.truth()?)),
            Self::Binary("||", sides) => Ok(Value::Truth(of(&sides.0)?.truth()? || of(&sides.1)?.truth()?)),
            Self::Binary(sign, sides) => binary(sign, &of(&sides.0)?, &of(&sides.1)?),
            Self::Call(name, parts) => call(name, parts.iter().map(of).collect::<Result<Vec<_>, _>>()?),
            Self::Predicate(name, parts) => {
                let Value::List(list) = of(&parts.0)? else {
                    return Err(wrong(format!("{name} needs a list")));
                };
                let holds = |element: &Value| parts.1.value(names, Some(element))?.truth();
                let held: Vec<bool> = list.iter().map(holds).collect::<Result<_, _>>()?;
                let count = held.iter().filter(|holds| **holds).count();
                Ok(match *name {
                    "count" => Value::Whole(i64::try_from(count).unwrap_or(i64::MAX)),
                    "any" => Value::Truth(count > 0),
                    "none" => Value::Truth(count == 0),
                    _ => Value::Truth(count == held.len()),
                })
            }
        }
    }
}

fn unary(sign: &str, value: Value) -> Result<Value, FormulaError> {
    match (sign, value) {
        ("!", value) => Ok(Value::Truth(!value.truth()?)),
        ("-", Value::Whole(whole)) => Ok(Value::Whole(whole.wrapping_neg())),
        ("-", value) => Ok(Value::Fraction(-value.number()?)),
        (_, value) => value.number().map(|_| value),
    }
}

fn binary(sign: &str, one: &Value, other: &Value) -> Result<Value, FormulaError> {
    match sign {
        "==" => return Ok(Value::Truth(one.equals(other))),
        "!=" => return Ok(Value::Truth(!one.equals(other))),
        "in" => {
            let Value::List(list) = other else { return Err(wrong("in needs a list on its right")) };
            return Ok(Value::Truth(list.iter().any(|value| value.equals(one))));
        }
        _ => {}
    }
    if let (Value::Whole(one), Value::Whole(other)) = (one, other) {
        match sign {
            "+" => return Ok(Value::Whole(one.wrapping_add(*other))),
            "-" => return Ok(Value::Whole(one.wrapping_sub(*other))),
            "*" => return Ok(Value::Whole(one.wrapping_mul(*other))),
            "%" if *other == 0 => return Err(wrong("a remainder of a division by 0")),
            "%" => return Ok(Value::Whole(one.wrapping_rem(*other))),
            _ => {}
        }
    }
    let (one, other) = (one.number()?, other.number()?);
    Ok(match sign {
        "+" => Value::Fraction(one + other),
        "-" => Value::Fraction(one - other),
        "*" => Value::Fraction(one * other),
        "/" => Value::Fraction(one / other),
        "**" => Value::Fraction(libm::pow(one, other)),
        "<" => Value::Truth(one < other),
        "<=" => Value::Truth(one <= other),
        ">" => Value::Truth(one > other),
        ">=" => Value::Truth(one >= other),
        _ => return Err(wrong("% is of whole numbers: write int(a) % 2")),
    })
}

fn call(name: &str, values: Vec<Value>) -> Result<Value, FormulaError> {
    if let "abs" | "ceil" | "floor" | "round" | "int" | "float" = name {
        let [value] = &values[..] else { return Err(wrong(format!("{name} is of one number"))) };
        let number = value.number()?;
        return Ok(match name {
            "abs" if matches!(value, Value::Whole(_)) => Value::Whole(number.abs() as i64),
            "abs" => Value::Fraction(number.abs()),
            "ceil" => Value::Fraction(number.ceil()),
            "floor" => Value::Fraction(number.floor()),
            "round" => Value::Fraction(number.round()),
            "int" => Value::Whole(number as i64),
            _ => Value::Fraction(number),
        });
    }
    if name == "len" {
        let [Value::List(list)] = &values[..] else { return Err(wrong("len is of one list")) };
        return Ok(Value::Whole(i64::try_from(list.len()).unwrap_or(i64::MAX)));
    }
    let mut flat = Vec::new();
    Value::List(values).flatten(&mut flat);
    let mut numbers: Vec<f64> = flat.iter().map(Value::number).collect::<Result<_, _>>()?;
    let none = || wrong(format!("{name} of nothing"));
    let sum = numbers.iter().sum::<f64>();
    let value = match name {
        "sum" => sum,
        "min" => numbers.into_iter().reduce(f64::min).ok_or_else(none)?,
        "max" => numbers.into_iter().reduce(f64::max).ok_or_else(none)?,
        "mean" if numbers.is_empty() => return Err(none()),
        "mean" => sum / numbers.len() as f64,
        _ => {
            numbers.sort_by(f64::total_cmp);
            let (low, high) = (numbers.len().saturating_sub(1) / 2, numbers.len() / 2);
            let at = |place: usize| numbers.get(place).copied().ok_or_else(none);
            (at(low)? + at(high)?) / 2.0
        }
    };
    // Whole numbers stay whole where they can, so that % goes on.
    let is_whole =
        name != "mean" && name != "median" && flat.iter().all(|value| matches!(value, Value::Whole(_)));
    Ok(if is_whole { Value::Whole(value as i64) } else { Value::Fraction(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<f64, String> {
        let values =
            BTreeMap::from([("one".to_string(), 2.5), ("two".to_string(), 6.0), ("rate".to_string(), 0.0)]);
        Formula::parse(text).and_then(|formula| formula.value(&values)).map_err(|error| error.to_string())
    }

    /// A formula that is read in another order than KEDA's scales to another number of replicas.
    #[test]
    fn operators_bind_as_in_the_language() {
        for (text, expected) in [
            ("one + two", 8.5),
            ("one + two * 2", 14.5),
            ("(one + two) * 2", 17.0),
            ("two - 1 - 2", 3.0),
            ("two / 4", 1.5),
            ("7 / 2", 3.5),
            ("7 % 4 * 2", 6.0),
            ("2 ** 3 ** 2", 512.0),
            ("2 ^ 3", 8.0),
            ("-2 ** 2", -4.0),
            ("2 ** -1", 0.5),
            ("- one + two", 3.5),
            ("one > 2 ? one + 1 : 1", 3.5),
            ("one > 3 ? 10 : two > 5 ? 20 : 30", 20.0),
            ("one > 2 && not (two < 6) || rate > 0 ? 1 : 0", 1.0),
            ("one > 2 and two < 6 or rate == 0 ? 1 : 0", 1.0),
            ("rate == 0 || two / rate > 1 ? 1 : 2", 1.0),
            ("two in [1, 6] ? 4 : 5", 4.0),
            ("1_000 + 1.5e2 + .5", 1150.5),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    /// The examples of KEDA's documentation.
    #[test]
    fn functions_are_those_of_the_language() {
        for (text, expected) in [
            ("max(one, two)", 6.0),
            ("min([one, two], 1)", 1.0),
            ("sum([one, two])", 8.5),
            ("mean([one, two])", 4.25),
            ("median([one, two, 100])", 6.0),
            ("median([1, 2])", 1.5),
            ("abs(one - two) + ceil(one) + floor(one) + round(one)", 11.5),
            ("int(one) % 2", 0.0),
            ("count([one, two, rate], {# > 1}) > 1 ? 5 : 0", 5.0),
            ("any([one, two], # > 5) ? 1 : 0", 1.0),
            ("all([one, two], {# > 5}) ? 1 : 0", 0.0),
            ("len([one, two])", 2.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert_eq!(
            Formula::parse("two + max(one, two)").map(|formula| formula.names().join(" ")),
            Ok("one two".into())
        );
    }

    /// A formula without a value must say why: its target stays where it is.
    #[test]
    fn what_has_no_value_says_why() {
        for (text, expected) in [
            ("", "column 1: a value is missing"),
            ("one +", "column 6: a value is missing"),
            ("one two", "column 5: an operator is missing here, or this is too much"),
            ("one ? 1 : 2", "true or false is needed: compare the number, as in a > 2"),
            ("one > 2", "a number is needed where there is true or false"),
            ("one > 2 ? 1", "column 12: : is missing"),
            ("three + 1", "there is no value of a trigger three"),
            ("two / rate", "the result is inf, not a number to scale by"),
            ("rate / rate", "the result is NaN, not a number to scale by"),
            ("one % 2", "% is of whole numbers: write int(a) % 2"),
            ("1 % 0", "a remainder of a division by 0"),
            ("max()", "max of nothing"),
            ("1.2.3", "column 1: \"1.2.3\" is not a number"),
            ("# + 1", "# is only for predicates, as in {# > 1}"),
            ("one & two", "column 5: an operator is missing here, or this is too much"),
        ] {
            assert_eq!(value(text), Err(expected.to_string()), "{text}");
        }
        assert!(
            value("avg(one)")
                .is_err_and(|error| error.starts_with("column 1: there is no function avg here"))
        );
        assert!(value(&"(".repeat(10_000)).is_err_and(|error| error.contains("64 parts")));
        assert!(value(&"-".repeat(10_000)).is_err_and(|error| error.contains("64 parts")));
        assert!(value(&format!("1{}", "**1".repeat(10_000))).is_err_and(|error| error.contains("64 parts")));
    }
}
