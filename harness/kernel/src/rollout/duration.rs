//! Durations as Go writes them in manifests: `90s`, `1m30s`, `1.5h`, `0`.

/// Nanoseconds of a unit.
fn unit_ns(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Reads a duration; `None` when it is not one, or does not fit. May be negative.
pub(super) fn parse_ns(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits == "0" {
        return Some(0);
    }
    if digits.is_empty() {
        return None;
    }
    let mut rest = digits;
    let mut total_ns: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let unit_ns = unit_ns(unit)?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // More digits than an hour has nanoseconds say nothing.
        let fraction = &fraction[..fraction.len().min(15)];
        let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let scale = (0..fraction.len()).fold(1_i128, |scale, _| scale * 10);
        total_ns = total_ns.checked_add(whole.checked_mul(unit_ns)?)?.checked_add(part * unit_ns / scale)?;
        rest = tail;
    }
    i64::try_from(sign * total_ns).ok()
}

#[cfg(test)]
mod tests {
    use super::parse_ns;

    /// An analysis interval that a team wrote must be the one that is kept.
    #[test]
    fn reads_what_go_reads() {
        for (text, expected) in [
            ("1m", Some(60_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("-5s", Some(-5_000_000_000)),
            ("+1ms", Some(1_000_000)),
            ("", None),
            ("60", None),
            ("s", None),
            (".s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("9999999999999h", None),
            ("é", None),
        ] {
            assert_eq!(parse_ns(text), expected, "{text:?}");
        }
    }
}
