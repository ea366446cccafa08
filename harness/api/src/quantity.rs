//! Kubernetes quantities (`100m`, `2Gi`, `1e3`): exact values, to compare and to check.

use serde::{Deserialize, Deserializer};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What the API server says of text that is no quantity.
pub const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Units in one: the smallest unit that Kubernetes keeps is `n`.
const NANOS: i128 = 1_000_000_000;
/// More digits than this are more than any quantity has.
const LONGEST: usize = 64;

/// The value in billionths, rounded up as Kubernetes rounds; what is too large is the largest value.
///
/// # Errors
/// [`MALFORMED`] for text that is no quantity.
pub fn nanos(text: &str) -> Result<i128, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || text.len() > LONGEST {
        return Err(MALFORMED);
    }
    let (binary_shift, mut exponent) = scale(suffix).ok_or(MALFORMED)?;
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    value = value.saturating_mul(1_i128 << binary_shift);
    exponent = exponent.saturating_add(9).saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    while exponent > 0 && value != 0 && value != i128::MAX {
        value = value.saturating_mul(10);
        exponent -= 1;
    }
    while exponent < 0 && value > 0 {
        // Rounding up once and again is rounding up.
        value = value / 10 + i128::from(value % 10 != 0);
        if value == 1 {
            break;
        }
        exponent += 1;
    }
    Ok(if negative { -value } else { value })
}

/// Whether the text is a quantity.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    nanos(text).is_ok()
}

/// Whether two quantities are the same amount, whatever their units.
#[must_use]
pub fn equal(a: &Quantity, b: &Quantity) -> bool {
    a == b || matches!((nanos(&a.0), nanos(&b.0)), (Ok(a), Ok(b)) if a == b)
}

/// The amount as a whole number (bytes, for memory), rounded up.
///
/// # Errors
/// [`MALFORMED`] for text that is no quantity.
pub fn whole(quantity: &Quantity) -> Result<i128, &'static str> {
    let nanos = nanos(&quantity.0)?;
    Ok(nanos / NANOS + i128::from(nanos % NANOS > 0))
}

/// Reads a quantity that may be written as a number.
///
/// # Errors
/// Anything that is neither text nor number.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(Quantity(text)),
        serde_json::Value::Number(number) => Ok(Quantity(number.to_string())),
        other => Err(serde::de::Error::custom(format!("{other} is not a quantity"))),
    }
}

/// Powers of two and of ten of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        exponent => (0, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1024Mi` and `1Gi` are one amount: a changed spelling must not be refused as a changed value.
    #[test]
    fn values_by_hand() {
        for (text, expected) in [
            ("1", NANOS),
            ("100m", NANOS / 10),
            ("1.5", NANOS * 3 / 2),
            (".5", NANOS / 2),
            ("1Ki", 1024 * NANOS),
            ("1Mi", 1_048_576 * NANOS),
            ("1e3", 1000 * NANOS),
            ("1E-2", NANOS / 100),
            ("2E", 2_000_000_000_000_000_000 * NANOS),
            ("-3k", -3000 * NANOS),
            ("0.1n", 1),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
        assert!(equal(&Quantity("1Gi".into()), &Quantity("1024Mi".into())));
        assert_eq!(whole(&Quantity("1500m".into())), Ok(2));
        assert_eq!(nanos("9e999999999"), Ok(i128::MAX));
        assert_eq!(nanos("1e-999999999"), Ok(1));
        for text in ["", "Mi", "1.2.3", "1mi", "1 Mi", "e3", "--1", "1e", "1x", &"1".repeat(65)] {
            assert_eq!(nanos(text), Err(MALFORMED), "{text}");
        }
    }
}
