//! Kubernetes quantities: `250m`, `1.5`, `512Mi`, `2e3`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANO: i128 = 1_000_000_000;
const LIMIT: i128 = i64::MAX as i128 * NANO;

/// An amount as Kubernetes writes it, exact to nano; greater amounts than 2^63-1 are cut there, as upstream does.
///
/// It is read from a text or a number and written as the shortest text that means the same.
/// Source: `k8s.io/apimachinery/pkg/api/resource`.
///
/// ```
/// use windtunnel_kernel::autoscale::hpa::Quantity;
///
/// let request: Quantity = "0.25".parse()?;
/// assert_eq!(request.milli(), 250);
/// assert_eq!(request.to_string(), "250m");
/// assert_eq!("1Gi".parse::<Quantity>()?.milli(), 1_073_741_824_000);
/// # Ok::<(), windtunnel_kernel::autoscale::hpa::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: i128,
}

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no quantity, expected a number with or without a suffix, such as 250m, 1.5 or 512Mi")]
pub struct QuantityError {
    /// The text.
    pub text: String,
}

impl Quantity {
    /// A quantity of thousandths.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: (i128::from(milli) * 1_000_000).clamp(-LIMIT, LIMIT) }
    }

    /// The nearest quantity; no number is 0, an infinite one the greatest or least.
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        // A cast of a float saturates, and of no number gives 0.
        Self { nanos: ((value * NANO as f64).round() as i128).clamp(-LIMIT, LIMIT) }
    }

    /// Thousandths, rounded up (away from zero) and cut at the ends of 64 bits.
    #[must_use]
    pub fn milli(self) -> i64 {
        let milli = divide_away_from_zero(self.nanos, 1_000_000);
        i64::try_from(milli).unwrap_or(if milli < 0 { i64::MIN } else { i64::MAX })
    }

    /// The nearest float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }
}

/// Thousandths of a float, cut at the ends of 64 bits: how an observed number is handed to the kernels. No number is 0.
///
/// ```
/// use windtunnel_kernel::autoscale::hpa::milli_of;
///
/// assert_eq!(milli_of(1.2345), 1235);
/// assert_eq!(milli_of(f64::INFINITY), i64::MAX);
/// assert_eq!(milli_of(f64::NAN), 0);
/// ```
#[must_use]
pub fn milli_of(value: f64) -> i64 {
    let milli = (value * 1e3).round();
    // A cast of a float saturates, and of no number gives 0.
    milli as i64
}

fn divide_away_from_zero(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

/// Name, power of 1024, power of ten.
const SUFFIXES: [(&str, u32, i32); 16] = [
    ("Ki", 1, 0),
    ("Mi", 2, 0),
    ("Gi", 3, 0),
    ("Ti", 4, 0),
    ("Pi", 5, 0),
    ("Ei", 6, 0),
    ("n", 0, -9),
    ("u", 0, -6),
    ("m", 0, -3),
    ("k", 0, 3),
    ("M", 0, 6),
    ("G", 0, 9),
    ("T", 0, 12),
    ("P", 0, 15),
    ("E", 0, 18),
    ("", 0, 0),
];

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| QuantityError { text: text.to_string() })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let length = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(length);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (binary, decimal) = match SUFFIXES.iter().find(|(name, _, _)| *name == suffix) {
        Some(&(_, binary, decimal)) => (binary, decimal),
        None => (0, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?),
    };
    let mut mantissa: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let fraction_digits = i32::try_from(fraction.len()).ok()?;
    let power = decimal.checked_add(9)?.checked_sub(fraction_digits)?;
    let scaled = 1024_i128.checked_pow(binary).and_then(|factor| mantissa.checked_mul(factor));
    let nanos = match (mantissa, power) {
        (0, _) => 0,
        (_, 0..) => scaled
            .and_then(|scaled| scaled.checked_mul(10_i128.checked_pow(power.unsigned_abs())?))
            .unwrap_or(LIMIT),
        (_, power) => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => divide_away_from_zero(scaled.unwrap_or(LIMIT), divisor),
            None => 1,
        },
    }
    .min(LIMIT);
    Some(Quantity { nanos: if negative { -nanos } else { nanos } })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBI: i128 = 1 << 20;
        let (mut value, mut suffix) = (self.nanos, "n");
        for name in ["u", "m", ""] {
            if value % 1000 != 0 || value == 0 {
                break;
            }
            (value, suffix) = (value / 1000, name);
        }
        if value == 0 {
            return f.write_str("0");
        }
        if suffix.is_empty() {
            if value % MEBI == 0 {
                (value, suffix) = (value / MEBI, "Mi");
                for name in ["Gi", "Ti", "Pi", "Ei"] {
                    if value % 1024 != 0 {
                        break;
                    }
                    (value, suffix) = (value / 1024, name);
                }
            } else {
                for name in ["k", "M", "G", "T", "P", "E"] {
                    if value % 1000 != 0 {
                        break;
                    }
                    (value, suffix) = (value / 1000, name);
                }
            }
        }
        write!(f, "{value}{suffix}")
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 250m, 1.5 or 512Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
                Ok(Quantity { nanos: (i128::from(value) * NANO).clamp(-LIMIT, LIMIT) })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
                Ok(Quantity { nanos: (i128::from(value) * NANO).min(LIMIT) })
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Quantity, E> {
                // The digits as they were written, not the float's.
                value.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    /// A target that a user wrote in another unit would be another target.
    #[test]
    fn reads_and_writes_as_kubernetes_does() {
        for (text, milli, written) in [
            ("1", 1000, "1"),
            ("0.1", 100, "100m"),
            (".5", 500, "500m"),
            ("1.", 1000, "1"),
            ("100m", 100, "100m"),
            ("1500m", 1500, "1500m"),
            ("2k", 2_000_000, "2k"),
            ("1e3", 1_000_000, "1k"),
            ("1E3", 1_000_000, "1k"),
            ("12e-1", 1200, "1200m"),
            ("1u", 1, "1u"),
            ("1n", 1, "1n"),
            ("0.0001m", 1, "100n"),
            ("-250m", -250, "-250m"),
            ("512Mi", 536_870_912_000, "512Mi"),
            ("1048576", 1_048_576_000, "1Mi"),
            ("1.5Gi", 1_610_612_736_000, "1536Mi"),
            ("10E", i64::MAX, "9223372036854775807"),
            ("1e400", i64::MAX, "9223372036854775807"),
            ("1e-400", 1, "1n"),
            ("0", 0, "0"),
            ("0e999", 0, "0"),
        ] {
            let read: Quantity = text.parse().expect(text);
            assert_eq!((read.milli(), read.to_string().as_str()), (milli, written), "{text}");
        }
        for text in ["", "m", ".", "1x", "1 m", "1.2.3", "--1", "1ki", "1e", "µ", "1µ", "NaN", "inf"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    /// A target that went through JSON would be another one.
    #[test]
    fn numbers_are_quantities_too() {
        for (json, written) in [("15", "15"), ("0.3", "300m"), ("\"20.5\"", "20500m"), ("-2", "-2")] {
            let read: Quantity = serde_json::from_str(json).expect(json);
            assert_eq!(read.to_string(), written);
            let again = serde_json::to_string(&read).expect("a text");
            assert_eq!(serde_json::from_str::<Quantity>(&again).expect("the same"), read);
        }
        assert_eq!(Quantity::from_f64(f64::NAN), Quantity::default());
        assert_eq!(Quantity::from_f64(f64::NEG_INFINITY).milli(), i64::MIN);
    }
}
