//! Quantities as people write them: `300ms`, `1m30s`, `20/s`, `90/min`, `7GiB`, `10Gbit/s`, `0.40/h`, `5%`.
//!
//! Parsing is exact decimal arithmetic on integers, so `0.1s` is 100 000 000 ns on every machine.

mod price;
mod size;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use price::{MAX_PRICE_PER_H, Price};
pub use size::{Bandwidth, Bytes, MAX_BANDWIDTH, MAX_BYTES};

/// The longest duration that a file may ask for: 100 years. It keeps every sum of durations within `u64`.
pub const MAX_DURATION: Duration = Duration::from_s(100 * 365 * 86_400);

/// The highest rate that a file may ask for, in events a second.
pub const MAX_RATE_PER_S: f64 = 1e9;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A length of time, or an instant counted from the start of a run, in nanoseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// From milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// From whole seconds.
    pub const fn from_s(s: u64) -> Self {
        Self(s * 1_000_000_000)
    }

    /// In nanoseconds.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// In seconds.
    pub fn as_s(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// As the standard library's type, for timers.
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }

    /// This duration divided by `factor`, rounded down to whole nanoseconds.
    pub fn compressed(self, factor: f64) -> Self {
        if factor == 1.0 { self } else { Self((self.0 as f64 / factor) as u64) }
    }
}

impl fmt::Display for Duration {
    /// The shortest text that [`Duration::from_str`] reads back as the same duration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        match ns {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{ns}ns"),
            1_000..1_000_000 => write!(f, "{}us", Decimal { value: ns, scale: 1_000 }),
            1_000_000..1_000_000_000 => write!(f, "{}ms", Decimal { value: ns, scale: 1_000_000 }),
            _ => {
                let mut rest = ns;
                for (unit, scale) in [("h", 3_600_000_000_000), ("m", 60_000_000_000)] {
                    if rest >= scale {
                        write!(f, "{}{unit}", rest / scale)?;
                        rest %= scale;
                    }
                }
                if rest > 0 {
                    write!(f, "{}s", Decimal { value: rest, scale: 1_000_000_000 })
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// `value / scale` without an exponent and without trailing zeros; `scale` is a power of ten.
struct Decimal {
    value: u64,
    scale: u64,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.value / self.scale, self.value % self.scale);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = self.scale.ilog10() as usize;
        let fraction = format!("{fraction:0digits$}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl FromStr for Duration {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(QuantityError::new("a duration is missing", "write one such as 300ms, 75s or 1m30s"));
        }
        if trimmed.starts_with('-') {
            return Err(QuantityError::new(
                format!("{trimmed} is negative"),
                format!("time only runs forward; did you mean {}?", trimmed.trim_start_matches('-')),
            ));
        }
        let mut rest = trimmed;
        let mut total: u128 = 0;
        let mut previous_unit_ns = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number = Fixed::parse(number).ok_or_else(|| not_a_duration(trimmed))?;
            let Some(&(_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(unknown_unit(trimmed, unit));
            };
            if unit_ns >= previous_unit_ns {
                return Err(QuantityError::new(
                    format!("{trimmed} mixes up its units"),
                    "write the larger unit first, each once: 1h2m3s",
                ));
            }
            previous_unit_ns = unit_ns;
            total = total.saturating_add(number.times(unit_ns));
            rest = tail;
        }
        match u64::try_from(total) {
            Ok(ns) if ns <= MAX_DURATION.0 => Ok(Self(ns)),
            _ => Err(QuantityError::new(
                format!("{trimmed} is longer than 100 years"),
                "write a duration that a run can reach",
            )),
        }
    }
}

fn not_a_duration(text: &str) -> QuantityError {
    QuantityError::new(
        format!("\"{text}\" is not a duration"),
        "write a number and a unit (ns, us, ms, s, m, h, d), such as 300ms, 75s or 1m30s",
    )
}

fn unknown_unit(text: &str, unit: &str) -> QuantityError {
    if unit.is_empty() {
        return QuantityError::new(
            format!("{text} has no unit"),
            format!("write {text}s for seconds or {text}ms for milliseconds"),
        );
    }
    let hint = match unit.to_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" => "write s for seconds".to_owned(),
        "min" | "mins" | "minute" | "minutes" => "write m for minutes".to_owned(),
        "hour" | "hours" | "hr" => "write h for hours".to_owned(),
        "day" | "days" => "write d for days".to_owned(),
        "msec" | "millis" | "milliseconds" => "write ms for milliseconds".to_owned(),
        _ => "known units: ns, us, ms, s, m, h, d".to_owned(),
    };
    QuantityError::new(format!("\"{unit}\" in \"{text}\" is not a unit of time"), hint)
}

/// How often something happens, in events a second; finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// From events a second. Negative and non-finite values become zero.
    pub fn per_second(value: f64) -> Self {
        if value.is_finite() && value > 0.0 { Self(value) } else { Self(0.0) }
    }

    /// In events a second.
    pub const fn as_per_second(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for Rate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        let wanted = "write a number and a period, such as 20/s, 90/min or 1.5/h";
        let Some((number, period)) = trimmed.split_once('/') else {
            let hint = if trimmed.parse::<f64>().is_ok() {
                format!("write {trimmed}/s for that many a second")
            } else {
                wanted.to_owned()
            };
            return Err(QuantityError::new(format!("\"{trimmed}\" is not a rate"), hint));
        };
        let (number, period) = (number.trim(), period.trim());
        if number.starts_with('-') {
            return Err(QuantityError::new(
                format!("{trimmed} is negative"),
                "a rate is zero (silence) or more",
            ));
        }
        let per_period = plain_number(number)
            .ok_or_else(|| QuantityError::new(format!("\"{trimmed}\" is not a rate"), wanted))?;
        let period_s = match period {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3_600.0,
            "d" | "day" => 86_400.0,
            other => {
                return Err(QuantityError::new(
                    format!("\"{other}\" in \"{trimmed}\" is not a period"),
                    "known periods: s, min, h, d",
                ));
            }
        };
        let per_second = per_period / period_s;
        if per_second > MAX_RATE_PER_S {
            return Err(QuantityError::new(
                format!("{trimmed} is more than a thousand million a second"),
                "write a rate that a client can send",
            ));
        }
        Ok(Self(per_second))
    }
}

/// A share as people write it, `10%`, as a fraction between 0 and 1.
///
/// # Errors
/// When the text is not a number with a percent sign, or not between 0 % and 100 %.
pub fn parse_percent(text: &str) -> Result<f64, QuantityError> {
    let trimmed = text.trim();
    let number = trimmed.strip_suffix('%').map(str::trim_end);
    let Some(percent) = number.and_then(|number| plain_number(number.strip_prefix('-').unwrap_or(number)))
    else {
        let hint = if plain_number(trimmed).is_some() {
            format!("write {trimmed}%")
        } else {
            "write a percentage such as 1% or 0.5%".to_owned()
        };
        return Err(QuantityError::new(format!("\"{trimmed}\" is not a percentage"), hint));
    };
    if trimmed.starts_with('-') && percent != 0.0 {
        return Err(QuantityError::new(format!("{trimmed} is negative"), "a share is between 0% and 100%"));
    }
    if percent > 100.0 {
        return Err(QuantityError::new(format!("{trimmed} is over 100%"), "a share is between 0% and 100%"));
    }
    Ok(percent / 100.0)
}

/// A decimal number of digits and at most one point: no sign, no exponent, no `inf`.
pub(crate) fn plain_number(text: &str) -> Option<f64> {
    let ok = text.chars().all(|c| c.is_ascii_digit() || c == '.') && text.chars().any(|c| c.is_ascii_digit());
    if ok && text.len() <= 40 { text.parse().ok() } else { None }
}

/// A decimal number kept as an integer and a power of ten.
struct Fixed {
    mantissa: u128,
    scale: u128,
}

impl Fixed {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 20 {
            return None;
        }
        // Beyond 15 decimals even a day's unit is below a nanosecond.
        let fraction = &fraction[..fraction.len().min(15)];
        let digits = format!("{whole}{fraction}");
        Some(Self { mantissa: digits.parse().ok()?, scale: 10u128.pow(fraction.len() as u32) })
    }

    fn times(&self, unit_ns: u64) -> u128 {
        self.mantissa.saturating_mul(u128::from(unit_ns)) / self.scale
    }
}

/// Why a text is not the quantity that was expected, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuantityError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl QuantityError {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Written and read as its text.
macro_rules! serde_as_text {
    ($($quantity:ty),+) => {$(
        impl Serialize for $quantity {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_as_text!(Duration, Rate, Bytes, Bandwidth, Price);
