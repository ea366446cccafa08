//! cron: replicas by the calendar.
//!
//! Source: `pkg/scalers/cron_scaler.go`, with schedules as github.com/robfig/cron v3 reads them: minute, hour, day of
//! month, month, day of week.

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::super::SECOND_NS;
use super::Measured;
use super::metadata::Metadata;

/// The trigger's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// When it begins.
    pub start: Schedule,
    /// When it ends.
    pub end: Schedule,
    /// Time zone of both. Its offset is handed in: a decision reads no time zone files.
    pub timezone: String,
    /// Replicas in between.
    pub desired_replicas: i64,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// As it was written.
    pub text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days of the month or of the week are left open; if both are given, one of them is enough.
    any_day: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// How far ahead a schedule is searched, days: five years.
const SEARCH_DAYS: i64 = 5 * 366;

impl Cron {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that KEDA would refuse.
    pub fn read(metadata: &Metadata<'_>) -> Result<Self, KedaError> {
        let schedule = |key: &str| {
            let text = metadata.needed(key)?;
            Schedule::parse(&text).ok_or_else(|| {
                metadata.refuse(key, "five fields: minute, hour, day of month, month, day of week")
            })
        };
        let (start, end) = (schedule("start")?, schedule("end")?);
        if start.text == end.text {
            return Err(metadata.refuse("end", "another time than start"));
        }
        let replicas = metadata.whole("desiredReplicas")?.filter(|&replicas| replicas != 0);
        Ok(Self {
            start,
            end,
            timezone: metadata.needed("timezone")?,
            desired_replicas: replicas
                .ok_or_else(|| metadata.refuse("desiredReplicas", "a whole number other than 0"))?,
        })
    }

    /// Name of its metric, without the trigger's index.
    pub(crate) fn metric_name(&self) -> String {
        let plain = |text: &str| {
            text.replace(' ', "").replace('*', "x").replace('/', "Sl").replace('?', "Qm").replace(',', "Cm")
        };
        format!("cron-{}-{}-{}", self.timezone, plain(&self.start.text), plain(&self.end.text))
    }

    /// Whether now is between start and end: the end comes before the next start. `utc_offset_s` is the time zone's
    /// offset now, seconds east of Greenwich; a change to or from summer time until the next start or end is not seen.
    #[must_use]
    pub fn measure(&self, now_ns: u64, utc_offset_s: i32) -> Measured {
        let (start, end) = (self.start.next(now_ns, utc_offset_s), self.end.next(now_ns, utc_offset_s));
        // A schedule that never comes is the beginning of time upstream.
        let active = match (start, end) {
            (Some(start), Some(end)) => end <= start,
            (None, _) => true,
            (Some(_), None) => false,
        };
        Measured { value: if active { self.desired_replicas as f64 } else { 0.0 }, active }
    }
}

impl Schedule {
    /// Reads a schedule; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return None };
        let (days, any_day_of_month) = field(days, 1, 31, &[])?;
        let (weekdays, any_weekday) = field(weekdays, 0, 6, &WEEKDAYS)?;
        Some(Self {
            text: text.to_string(),
            minutes: field(minutes, 0, 59, &[])?.0,
            hours: field(hours, 0, 23, &[])?.0,
            days,
            months: field(months, 1, 12, &MONTHS)?.0,
            weekdays,
            any_day: any_day_of_month || any_weekday,
        })
    }

    /// The next minute that it names, strictly after now, in minutes of local time since the epoch; `None` = none within
    /// five years.
    #[must_use]
    pub fn next(&self, now_ns: u64, utc_offset_s: i32) -> Option<i64> {
        let now_s = i64::try_from(now_ns / SECOND_NS).ok()? + i64::from(utc_offset_s);
        let earliest = now_s.div_euclid(60) + 1;
        let first_day = earliest.div_euclid(24 * 60);
        (first_day..first_day + SEARCH_DAYS).filter(|&day| self.names_day(day)).find_map(|day| {
            (0..24).filter(|&hour| has(self.hours, hour)).find_map(|hour| {
                let of_hour = (day * 24 + hour) * 60;
                (0..60)
                    .filter(|&minute| has(self.minutes, minute))
                    .map(|minute| of_hour + minute)
                    .find(|&minute| minute >= earliest)
            })
        })
    }

    fn names_day(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // The epoch was a Thursday.
        let by_week = has(self.weekdays, (day + 4).rem_euclid(7));
        let by_month = has(self.days, day_of_month);
        has(self.months, month) && if self.any_day { by_week && by_month } else { by_week || by_month }
    }
}

fn has(set: u64, number: i64) -> bool {
    u32::try_from(number).is_ok_and(|number| set.checked_shr(number).is_some_and(|rest| rest & 1 == 1))
}

/// Month (1 to 12) and day of the month (1 to 31) of a day since the epoch.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn month_and_day(day: i64) -> (i64, i64) {
    let day_of_era = (day + 719_468).rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted + 2) / 5 + 1;
    (if shifted < 10 { shifted + 3 } else { shifted - 9 }, day_of_month)
}

/// The numbers of a field as bits, and whether it leaves everything open.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Option<(u64, bool)> {
    let mut set = 0_u64;
    let mut is_open = false;
    for part in text.split(',') {
        let number = |text: &str| match names.iter().position(|&name| name == text.to_ascii_lowercase()) {
            Some(place) => u32::try_from(place).ok().map(|place| place + least),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u32>().ok(),
            None => None,
        };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|&step| step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (least, most),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            (single, None) => {
                let first = number(single)?;
                (first, if step.is_some() { most } else { first })
            }
        };
        if first < least || last > most || first > last {
            return None;
        }
        is_open |= matches!(range, "*" | "?") && step.is_none_or(|step| step == 1);
        for number in (first..=last).step_by(usize::try_from(step.unwrap_or(1)).ok()?) {
            set |= 1 << number;
        }
    }
    Some((set, is_open))
}
