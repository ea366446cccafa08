//! Amounts of data and how fast they move: `7GiB`, `10Gbit/s`.

use std::fmt;
use std::str::FromStr;

use super::{Fixed, QuantityError};

/// The largest amount that a file may name: 1 EiB. It keeps every sum of amounts within `u64`.
pub const MAX_BYTES: Bytes = Bytes(1 << 60);

/// The highest bandwidth that a file may name: 1 Pbit/s.
pub const MAX_BANDWIDTH: Bandwidth = Bandwidth(1_000_000_000_000_000);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

const BIT_UNITS: [(&str, u64); 5] =
    [("Tbit", 1_000_000_000_000), ("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// An amount of data.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From units of 2³⁰ bytes.
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = exact(&BYTE_UNITS, self.0);
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let (number, unit) = split(text).ok_or_else(|| {
            QuantityError::new(
                format!("\"{text}\" is not an amount of data"),
                "write a number and a unit, such as 7GiB or 500MB",
            )
        })?;
        let Some((_, bytes)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(unknown_size_unit(text, unit));
        };
        match u64::try_from(number.times(*bytes)) {
            Ok(bytes) if bytes <= MAX_BYTES.0 => Ok(Self(bytes)),
            _ => {
                Err(QuantityError::new(format!("{text} is more than 1 EiB"), "write what a machine can hold"))
            }
        }
    }
}

/// How fast data moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// From bits a second; zero becomes one, because nothing would ever arrive.
    pub const fn bits_per_s(bits: u64) -> Self {
        if bits == 0 { Self(1) } else { Self(bits) }
    }

    /// In bits a second; above zero.
    pub const fn as_bits_per_s(self) -> u64 {
        self.0
    }

    /// In bytes a second; above zero.
    pub fn as_bytes_per_s(self) -> f64 {
        self.0 as f64 / 8.0
    }
}

impl fmt::Debug for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Bandwidth {
    /// In the largest unit of bits that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bits) = exact(&BIT_UNITS, self.0);
        write!(f, "{}{unit}/s", self.0 / bits)
    }
}

impl FromStr for Bandwidth {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const WANTED: &str = "write an amount a second, such as 10Gbit/s or 500MB/s";
        let text = text.trim();
        let wrong = || QuantityError::new(format!("\"{text}\" is not a bandwidth"), WANTED);
        let (amount, period) = text.split_once('/').ok_or_else(wrong)?;
        if period.trim() != "s" {
            return Err(wrong());
        }
        let (number, unit) = split(amount.trim()).ok_or_else(wrong)?;
        let bits = BIT_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bits)| *bits);
        let bytes = BYTE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| bytes * 8);
        let Some(bits) = bits.or(bytes) else {
            let hint = match unit.to_lowercase().as_str() {
                "gb" | "gbps" | "gbits" => "write Gbit for bits or GB for bytes".to_owned(),
                "mb" | "mbps" | "mbits" => "write Mbit for bits or MB for bytes".to_owned(),
                _ => "known units: bit, kbit, Mbit, Gbit, Tbit, B, kB, KiB, MB, MiB, GB, GiB, TB, TiB"
                    .to_owned(),
            };
            return Err(QuantityError::new(format!("\"{unit}\" in \"{text}\" is not a unit of data"), hint));
        };
        match u64::try_from(number.times(bits)) {
            Ok(0) => Err(QuantityError::new(
                format!("{text} is zero: nothing would ever arrive"),
                "write a bandwidth above zero; to make it fail, use a fault such as storage-failure",
            )),
            Ok(bits) if bits <= MAX_BANDWIDTH.0 => Ok(Self(bits)),
            _ => Err(QuantityError::new(
                format!("{text} is more than 1 Pbit/s"),
                "write what a network can carry, or leave it out to have no limit",
            )),
        }
    }
}

/// The number and the unit after it.
fn split(text: &str) -> Option<(Fixed, &str)> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(digits);
    Some((Fixed::parse(number)?, unit.trim_start()))
}

fn unknown_size_unit(text: &str, unit: &str) -> QuantityError {
    let hint = match unit.to_lowercase().as_str() {
        "k" | "ki" => "write KiB for 1024 bytes or kB for 1000".to_owned(),
        "m" | "mi" => "write MiB for 1024² bytes or MB for 1000²".to_owned(),
        "g" | "gi" => "write GiB for 1024³ bytes or GB for 1000³".to_owned(),
        "t" | "ti" => "write TiB for 1024⁴ bytes or TB for 1000⁴".to_owned(),
        _ => "known units: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB".to_owned(),
    };
    QuantityError::new(format!("\"{unit}\" in \"{text}\" is not a unit of data"), hint)
}

/// The largest unit of which `value` is a whole number.
fn exact(units: &[(&'static str, u64)], value: u64) -> (&'static str, u64) {
    let last = units[units.len() - 1];
    units.iter().copied().find(|(_, size)| value > 0 && value.is_multiple_of(*size)).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model would be downloaded at another speed than the file says.
    #[test]
    fn sizes_and_speeds_are_exact() {
        for (text, bytes) in
            [("7GiB", 7 << 30), ("0.5 MiB", 1 << 19), ("1.5kB", 1_500), ("0B", 0), ("2TB", 2_000_000_000_000)]
        {
            assert_eq!(text.parse::<Bytes>().map(Bytes::get), Ok(bytes), "{text}");
        }
        for (text, bits) in [
            ("10Gbit/s", 10_000_000_000),
            ("1GiB/s", 8 << 30),
            ("125MB/s", 1_000_000_000),
            ("1.5 Mbit / s", 1_500_000),
        ] {
            assert_eq!(text.parse::<Bandwidth>().map(Bandwidth::as_bits_per_s), Ok(bits), "{text}");
        }
        assert_eq!(Bytes::from_gib(7).to_string(), "7GiB");
        assert_eq!(Bytes::new(1_500).to_string(), "1500B");
        assert_eq!(Bytes::ZERO.to_string(), "0B");
        assert_eq!(Bandwidth::bits_per_s(8 << 30).to_string(), "8589934592bit/s");
    }

    /// A user who writes Kubernetes' units, or none, would be left to guess.
    #[test]
    fn other_units_are_refused_with_the_right_one() {
        for (text, hint) in [
            ("7Gi", "write GiB for 1024³ bytes or GB for 1000³"),
            ("7", "write a number and a unit, such as 7GiB or 500MB"),
            ("-7GiB", "write a number and a unit, such as 7GiB or 500MB"),
            ("2000000TiB", "write what a machine can hold"),
        ] {
            assert_eq!(text.parse::<Bytes>().expect_err(text).hint, hint, "{text}");
        }
        for (text, hint) in [
            ("0Gbit/s", "write a bandwidth above zero; to make it fail, use a fault such as storage-failure"),
            ("10Gb/s", "write Gbit for bits or GB for bytes"),
            ("10Gbit", "write an amount a second, such as 10Gbit/s or 500MB/s"),
            ("10Gbit/min", "write an amount a second, such as 10Gbit/s or 500MB/s"),
        ] {
            assert_eq!(text.parse::<Bandwidth>().expect_err(text).hint, hint, "{text}");
        }
    }
}
