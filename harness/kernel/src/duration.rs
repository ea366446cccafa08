//! Durations as Go writes them in manifests: `90s`, `1m30s`, `1.5h`, `0`.

/// Reads a duration in nanoseconds; `None` when it is not one, or does not fit. May be negative.
///
/// ```
/// use windtunnel_kernel::duration::parse_ns;
///
/// assert_eq!(parse_ns("1m30s"), Some(90_000_000_000));
/// assert_eq!(parse_ns("90"), None);
/// ```
#[must_use]
pub fn parse_ns(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits == "0" {
        return Some(0);
    }
    let mut rest = digits;
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_length);
        let unit_length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let unit_ns: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(times(number, unit_ns)?)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `number` (digits with at most one point, at least one digit) times `unit_ns`, truncated.
fn times(number: &str, unit_ns: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond nanoseconds of an hour cannot matter.
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.pow(fraction.len() as u32);
    whole.checked_mul(unit_ns)?.checked_add(part * unit_ns / scale)
}

#[cfg(test)]
mod tests {
    use super::parse_ns;

    /// A window that a user wrote the way Kubernetes tools print it must be read as that time.
    #[test]
    fn reads_durations_as_go_does() {
        for (text, expected) in [
            ("60s", Some(60_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("-5s", Some(-5_000_000_000)),
            ("+1ms", Some(1_000_000)),
            ("100ms", Some(100_000_000)),
            ("", None),
            ("60", None),
            ("s", None),
            (".s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("999999999999999h", None),
            ("é", None),
        ] {
            assert_eq!(parse_ns(text), expected, "{text:?}");
        }
    }
}
