//! `successCondition` and `failureCondition`: the part of the expression language expr-lang that manifests use.
//!
//! Numbers, texts, `true`, `false`, `nil`, lists; `result` with `.field`, `?.field`, `["field"]`, `[0]`, `[-1]` and
//! `[1:3]`; `or and not || && !`, `== != < <= > >=`, `in`, `contains`, `startsWith`, `endsWith`, `matches`,
//! `+ - * / % ** ^`, `??`, `a ? b : c`; `len abs ceil floor round int float string min max sum mean median first last
//! upper lower trim`; `all any none one filter map count` with `{# > 1}`; and what Argo adds: `isNaN`, `isInf`,
//! `isNil`, `default`, `asInt`, `asFloat`.
//!
//! As in expr-lang, `/` divides to a fraction, a name that is not known is an error wherever it stands, numbers
//! compare across int and float, and texts and numbers do not compare at all unless they come out of data of any
//! form.
//!
//! ```
//! use windtunnel_kernel::rollout::argo::analysis::condition::evaluate;
//! use windtunnel_kernel::rollout::value::Value;
//!
//! let result = Value::numbers(&[0.97]);
//! assert_eq!(evaluate("len(result) > 0 && result[0] >= 0.95", &result), Ok(true));
//! assert_eq!(evaluate("default(result, 0) == 0", &Value::Nil), Ok(true));
//! assert!(evaluate("result[0] >= 0.95", &Value::numbers(&[])).is_err());
//! ```

use super::super::super::value::Value;
use super::evaluator::Evaluator;
use super::parser::parse;

/// Longest condition, bytes.
pub const MOST_BYTES: usize = 4096;

/// Most steps of an evaluation.
pub const MOST_STEPS: u32 = 1_000_000;

/// Why a condition has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It is no expression of the supported part of the language.
    #[error("{message} (at byte {at})")]
    Syntax {
        /// Where, from 0.
        at: usize,
        /// What is wrong.
        message: String,
    },
    /// A name that means nothing.
    #[error("unknown name {0}")]
    UnknownName(String),
    /// It is something else than true or false.
    #[error("expected bool, but got {0}")]
    NotBool(&'static str),
    /// An operator on things it is not for.
    #[error("invalid operation: {operator} (mismatched types {left} and {right})")]
    Mismatch {
        /// The operator.
        operator: String,
        /// Kind of what stands on the left.
        left: &'static str,
        /// Kind of what stands on the right.
        right: &'static str,
    },
    /// An operator or a function on something it is not for.
    #[error("{what} is not defined on {kind}")]
    Undefined {
        /// The operator or function.
        what: String,
        /// Kind of the thing.
        kind: &'static str,
    },
    /// An element that is not there.
    #[error("index out of range: {index} (of {length})")]
    OutOfRange {
        /// Which.
        index: i64,
        /// How many there are.
        length: usize,
    },
    /// A text that is no number.
    #[error("{0:?} is no number")]
    NoNumber(String),
    /// A remainder of a division by 0.
    #[error("integer divide by zero")]
    DivideByZero,
    /// It is longer or takes longer than can be.
    #[error("condition is too large: {0}")]
    TooLarge(&'static str),
}

/// Whether `condition` holds for `result`.
///
/// # Errors
/// It is no expression, or has no truth value for this result.
pub fn evaluate(condition: &str, result: &Value) -> Result<bool, ConditionError> {
    let expression = parse(condition)?;
    match Evaluator::new(result).value_of(&expression)?.value {
        Value::Bool(truth) => Ok(truth),
        other => Err(ConditionError::NotBool(other.kind())),
    }
}
