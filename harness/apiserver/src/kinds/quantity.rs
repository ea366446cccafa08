//! Kubernetes quantities: `100m`, `1.5Gi`, `2e3`.

/// The decoder's message for text that is not a quantity.
pub(crate) const BAD_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Suffixes by power of a thousand, from 10^-9.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Everything is counted in units of 10^-9.
const NANO: i128 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// The canonical text: the largest suffix that needs no fraction. `None` when it is not a quantity.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let (nanos, format) = parse(text)?;
    Some(match format {
        Format::Binary if nanos.abs() >= 1024 * NANO && nanos % NANO == 0 => {
            let mut value = nanos / NANO;
            let mut power = 0;
            while value % 1024 == 0 && value != 0 && power + 1 < BINARY.len() {
                value /= 1024;
                power += 1;
            }
            format!("{value}{}", BINARY[power])
        }
        Format::Exponent => {
            let (value, power) = scale(nanos);
            let exponent = power as i32 * 3 - 9;
            if exponent == 0 { value.to_string() } else { format!("{value}e{exponent}") }
        }
        _ => {
            let (value, power) = scale(nanos);
            format!("{value}{}", DECIMAL[power])
        }
    })
}

/// The value in units of 10^-9, for comparing.
pub(crate) fn nanos(text: &str) -> Option<i128> {
    parse(text).map(|(nanos, _)| nanos)
}

fn scale(nanos: i128) -> (i128, usize) {
    if nanos == 0 {
        return (0, 3);
    }
    let (mut value, mut power) = (nanos, 0);
    while value % 1000 == 0 && power + 1 < DECIMAL.len() {
        value /= 1000;
        power += 1;
    }
    (value, power)
}

fn parse(text: &str) -> Option<(i128, Format)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || whole.len() > 19
        || fraction.len() > 30
    {
        return None;
    }
    let (multiplier, power, format) = suffix_value(suffix)?;
    // value = digits * multiplier * 10^power, rounded up to a nano.
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).take(30) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let exponent = power + 9 - i32::try_from(fraction.len().min(30 - whole.len().min(30))).ok()?;
    value = value.checked_mul(multiplier)?;
    if exponent >= 0 {
        value = value.checked_mul(10_i128.checked_pow(exponent.unsigned_abs())?)?;
    } else {
        let divisor = 10_i128.checked_pow(exponent.unsigned_abs())?;
        value = value / divisor + i128::from(value % divisor != 0);
    }
    Some((if text.starts_with('-') { -value } else { value }, format))
}

fn suffix_value(suffix: &str) -> Option<(i128, i32, Format)> {
    if let Some(power) = BINARY.iter().skip(1).position(|known| *known == suffix) {
        return Some((1024_i128.pow(u32::try_from(power).ok()? + 1), 0, Format::Binary));
    }
    if let Some(power) = DECIMAL.iter().position(|known| *known == suffix) {
        return Some((1, i32::try_from(power).ok()? * 3 - 9, Format::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    (-18..=18).contains(&exponent).then_some((1, exponent, Format::Exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_the_real_server_writes_them() {
        for (text, expected) in [
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("2048Ki", "2Mi"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("2e3", "2e3"),
            ("0", "0"),
            ("-1", "-1"),
            ("100Mi", "100Mi"),
            ("1000Mi", "1000Mi"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        for bad in ["abc", "", "1x", "1.2.3", "Gi"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert!(nanos("1Gi") > nanos("1G"));
    }
}
