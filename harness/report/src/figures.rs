//! How numbers are written: three significant digits, a unit on every one.

/// A latency or length of time, from nanoseconds: `850 ns`, `1.24 ms`, `85.3 ms`, `1.2 s`, `12 min 5 s`.
pub(crate) fn duration(nanoseconds: f64) -> String {
    let magnitude = nanoseconds.abs();
    if !magnitude.is_finite() {
        "n/a".to_owned()
    } else if magnitude < 999.5 {
        format!("{nanoseconds:.0} ns")
    } else if magnitude < 999.5e3 {
        format!("{} µs", significant(nanoseconds / 1e3))
    } else if magnitude < 999.5e6 {
        format!("{} ms", significant(nanoseconds / 1e6))
    } else if magnitude < 119.5e9 {
        format!("{} s", significant(nanoseconds / 1e9))
    } else if magnitude < 7200e9 {
        let seconds = whole_seconds(nanoseconds);
        with_rest(seconds / 60, "min", seconds % 60, "s")
    } else {
        let minutes = whole_seconds(nanoseconds) / 60;
        with_rest(minutes / 60, "h", minutes % 60, "min")
    }
}

/// An instant of a run, from nanoseconds since the load started: `20.05 s`, or `1:02:03` from ten minutes on.
pub(crate) fn instant(nanoseconds: u64) -> String {
    if nanoseconds < 600_000_000_000 {
        format!("{:.2} s", nanoseconds as f64 / 1e9)
    } else {
        clock(nanoseconds / 1_000_000_000)
    }
}

/// Whole seconds as `m:ss` or `h:mm:ss`.
pub(crate) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Three significant digits without trailing zeros after the point; whole numbers as they are.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    let magnitude = value.abs();
    let decimals = if magnitude >= 99.95 {
        0
    } else if magnitude >= 9.995 {
        1
    } else if magnitude >= 0.9995 || magnitude == 0.0 {
        2
    } else {
        // 0.00123 keeps three digits after its leading zeros; below 1e-6 it is nothing a chart can show.
        (2 - magnitude.log10().floor() as i32).clamp(2, 8) as usize
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A count with groups of three from 10 000 on, split by narrow no-break spaces.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 gate`, `2 gates`.
pub(crate) fn plural(value: u64, singular: &str) -> String {
    if value == 1 { format!("1 {singular}") } else { format!("{} {singular}s", count(value)) }
}

fn whole_seconds(nanoseconds: f64) -> u64 {
    (nanoseconds / 1e9).round() as u64
}

fn with_rest(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a table shows `0.0003 s` where a reader looks for `300 µs`.
    #[test]
    fn durations_pick_their_unit() {
        let cases = [
            (0.0, "0 ns"),
            (850.0, "850 ns"),
            (300_000.0, "300 µs"),
            (1_240_000.0, "1.24 ms"),
            (999_900_000.0, "1 s"),
            (85_320_000.0, "85.3 ms"),
            (1_200_000_000.0, "1.2 s"),
            (725e9, "12 min 5 s"),
            (7200e9, "2 h"),
            (f64::INFINITY, "n/a"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(duration(nanoseconds), expected);
        }
    }

    /// Without it 9.999 reads as `10.00` and 0 as `-0`.
    #[test]
    fn three_significant_digits() {
        let cases =
            [(0.0, "0"), (9.999, "10"), (1234.0, "1234"), (0.001_234, "0.00123"), (-0.000_000_001, "0")];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
        assert_eq!(count(9999), "9999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((plural(1, "gate"), plural(0, "gate")), ("1 gate".to_owned(), "0 gates".to_owned()));
        assert_eq!(
            (instant(20_050_000_000), instant(3_723_000_000_000)),
            ("20.05 s".into(), "1:02:03".into())
        );
    }
}
