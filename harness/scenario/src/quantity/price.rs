//! Prices: `0.40/h`, in whatever currency the user has in mind.

use std::fmt;
use std::str::FromStr;

use super::{QuantityError, plain_number};

/// The highest price that a file may name, an hour.
pub const MAX_PRICE_PER_H: f64 = 1e9;

/// What something costs while it is there; finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Price(f64);

impl Price {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);

    /// From a price an hour. Negative and non-finite values become zero.
    pub fn per_hour(value: f64) -> Self {
        if value.is_finite() && value > 0.0 { Self(value) } else { Self(0.0) }
    }

    /// An hour.
    pub const fn as_per_hour(self) -> f64 {
        self.0
    }

    /// What `seconds` of it cost.
    pub fn of_seconds(self, seconds: f64) -> f64 {
        self.0 / 3_600.0 * seconds
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/h", self.0)
    }
}

impl FromStr for Price {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const WANTED: &str = "write what an hour costs, such as 0.40/h";
        let text = text.trim();
        let Some((number, period)) = text.split_once('/') else {
            let hint = match plain_number(text) {
                Some(_) => format!("write {text}/h for that much an hour"),
                None => WANTED.to_owned(),
            };
            return Err(QuantityError::new(format!("\"{text}\" is not a price"), hint));
        };
        let (number, period) = (number.trim(), period.trim());
        if number.starts_with('-') {
            return Err(QuantityError::new(format!("{text} is negative"), "a price is zero or more"));
        }
        let number = plain_number(number)
            .ok_or_else(|| QuantityError::new(format!("\"{text}\" is not a price"), WANTED))?;
        let hours = match period {
            "s" => 1.0 / 3_600.0,
            "min" | "m" => 1.0 / 60.0,
            "h" | "hour" => 1.0,
            "d" | "day" => 24.0,
            other => {
                return Err(QuantityError::new(
                    format!("\"{other}\" in \"{text}\" is not a period"),
                    "known periods: s, min, h, d",
                ));
            }
        };
        let per_hour = number / hours;
        if per_hour > MAX_PRICE_PER_H {
            return Err(QuantityError::new(
                format!("{text} is more than a thousand million an hour"),
                "write a price that somebody could pay",
            ));
        }
        Ok(Self(per_hour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan would name the wrong configuration as the cheapest.
    #[test]
    fn prices_are_read_as_they_are_written() {
        for (text, per_hour) in
            [("0.40/h", 0.4), ("2.4/d", 0.1), ("0/h", 0.0), ("1/min", 60.0), ("3 / hour", 3.0)]
        {
            let price = text.parse::<Price>().expect(text);
            assert!((price.as_per_hour() - per_hour).abs() < 1e-12, "{text}: {price}");
        }
        assert_eq!(
            "0.40".parse::<Price>().expect_err("no period").hint,
            "write 0.40/h for that much an hour"
        );
        assert_eq!("-1/h".parse::<Price>().expect_err("negative").message, "-1/h is negative");
        assert_eq!("$1/h".parse::<Price>().expect_err("a currency").message, "\"$1/h\" is not a price");
        assert_eq!("1/year".parse::<Price>().expect_err("a year").hint, "known periods: s, min, h, d");
        assert!("10000000000/h".parse::<Price>().is_err());
    }
}
