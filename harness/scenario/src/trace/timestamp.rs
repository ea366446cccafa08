//! Times as traces write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// An instant in nanoseconds since the Unix epoch: RFC 3339, or a date and time without an offset, which is UTC.
pub(super) fn instant_ns(text: &str) -> Option<i128> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_nanosecond());
    }
    let civil = text.parse::<DateTime>().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_nanosecond())
}

/// Decimal seconds in nanoseconds, exactly; digits below a nanosecond are cut off.
pub(super) fn seconds_ns(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() > 20 || (whole.is_empty() && fraction.is_empty()) || !numeric(whole) || !numeric(fraction)
    {
        return exponent_ns(text);
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut fraction_ns: i128 = 0;
    for index in 0..9 {
        let digit = fraction.as_bytes().get(index).map_or(0, |byte| i128::from(byte - b'0'));
        fraction_ns = fraction_ns * 10 + digit;
    }
    let ns = whole * 1_000_000_000 + fraction_ns;
    Some(if negative { -ns } else { ns })
}

/// The rare `1.5e3` of data-frame exports.
fn exponent_ns(text: &str) -> Option<i128> {
    if !text.contains(['e', 'E']) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    (seconds.is_finite() && seconds.abs() < 1e20).then_some((seconds * 1e9) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals would be replayed at other moments than they were recorded.
    #[test]
    fn reads_times_exactly() {
        assert_eq!(seconds_ns("0"), Some(0));
        assert_eq!(seconds_ns("12.5"), Some(12_500_000_000));
        assert_eq!(seconds_ns("0.123456789123"), Some(123_456_789));
        assert_eq!(seconds_ns(".5"), Some(500_000_000));
        assert_eq!(seconds_ns("-1"), Some(-1_000_000_000));
        assert_eq!(seconds_ns("1.5e3"), Some(1_500_000_000_000));
        for bad in ["", "abc", "1,5", "nan", "inf", "1.2.3", "-", "0x10"] {
            assert_eq!(seconds_ns(bad), None, "{bad}");
        }
        let first = instant_ns("2023-11-16 18:17:03.9799600").expect("an instant");
        let second = instant_ns("2023-11-16 18:17:04.0319600").expect("an instant");
        assert_eq!(second - first, 52_000_000);
        assert_eq!(instant_ns("2023-11-16T18:17:04.03196Z"), Some(second));
        assert_eq!(instant_ns("2023-11-16T19:17:04.03196+01:00"), Some(second));
        assert_eq!(instant_ns("yesterday"), None);
    }
}
