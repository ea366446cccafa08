//! Rules for the CronJob: its schedule is one that a clock can follow.

use serde_json::{Value, json};

use super::job;
use crate::{
    object::{integer, meta, text},
    status::FieldError,
};

/// Eleven characters of a Job's name are the time of its run.
const LONGEST_NAME: usize = 52;
const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];

pub(crate) fn cron_job(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let schedule = text(new, &["spec", "schedule"]);
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else {
        if let Err(why) = check(schedule) {
            errors.push(FieldError::invalid("spec.schedule", &schedule.into(), &why));
        }
        let is_kept = old.is_some_and(|old| text(old, &["spec", "schedule"]) == schedule);
        if schedule.contains("TZ") && !is_kept {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid("spec.schedule", &schedule.into(), why));
        }
    }
    not_negative(new, "startingDeadlineSeconds", errors);
    time_zone(new, old, errors);
    match text(new, &["spec", "concurrencyPolicy"]) {
        "" => errors.push(FieldError::required("spec.concurrencyPolicy", "")),
        policy if !POLICIES.contains(&policy) => {
            errors.push(FieldError::not_supported("spec.concurrencyPolicy", &policy.into(), &POLICIES));
        }
        _ => {}
    }
    let mut of_job = Vec::new();
    job::job_spec(&json!({"spec": new["spec"]["jobTemplate"]["spec"]}), &mut of_job);
    errors.extend(of_job.into_iter().map(|error| FieldError {
        field: error.field.replacen("spec.", "spec.jobTemplate.spec.", 1),
        ..error
    }));
    not_negative(new, "successfulJobsHistoryLimit", errors);
    not_negative(new, "failedJobsHistoryLimit", errors);
    let name = meta(new, "name");
    if old.is_none() && name.len() > LONGEST_NAME {
        let why = format!("must be no more than {LONGEST_NAME} characters");
        errors.push(FieldError::invalid("metadata.name", &name.into(), &why));
    }
}

fn not_negative(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = integer(object, &["spec", field]).filter(|number| *number < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(format!("spec.{field}"), &number.into(), why));
    }
}

fn time_zone(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(zone) = new["spec"]["timeZone"].as_str() else { return };
    if old.is_some_and(|old| text(old, &["spec", "timeZone"]) == zone) {
        return;
    }
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if zone == "UTC" || jiff::tz::TimeZone::get(zone).is_ok() {
        return;
    } else {
        format!("unknown time zone {zone}")
    };
    errors.push(FieldError::invalid("spec.timeZone", &zone.into(), &why));
}

/// A field of a schedule: its least and greatest number, and the words that stand for numbers, the first for the least.
type Bounds = (u32, u32, &'static [&'static str]);

const FIELDS: [Bounds; 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// # Errors
/// Why a clock can't follow the schedule, in the words of the parser that Kubernetes uses.
fn check(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if rest.starts_with("TZ=") || rest.starts_with("CRON_TZ=") {
        let (zone, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        if jiff::tz::TimeZone::get(zone).is_err() {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.into_iter().zip(FIELDS) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            range(part, bounds)?;
        }
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&text) {
        return Ok(());
    }
    let Some(every) = text.strip_prefix("@every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    // As Go writes durations: numbers with units, one after the other.
    let mut rest = every;
    let mut is_duration = !rest.is_empty();
    while is_duration && !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"].iter().find_map(|unit| number.strip_prefix(unit));
        is_duration = number.len() < rest.len() && unit.is_some();
        rest = unit.unwrap_or_default();
    }
    if is_duration {
        return Ok(());
    }
    Err(format!("failed to parse duration {text}: time: invalid duration {every:?}"))
}

/// `N`, `N-M`, `*`, each with `/STEP` or without.
fn range(text: &str, (least, greatest, words): Bounds) -> Result<(), String> {
    let steps: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = steps[0].split('-').collect();
    let number = |text: &str| -> Result<u32, String> {
        let word = words.iter().position(|word| word.eq_ignore_ascii_case(text));
        if let Some(index) = word.and_then(|index| u32::try_from(index).ok()) {
            return Ok(least + index);
        }
        plain_number(text)
    };
    let (start, mut end) = match ends[..] {
        ["*" | "?"] => (least, greatest),
        [only] => {
            let only = number(only)?;
            (only, only)
        }
        [start, end] => (number(start)?, number(end)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match steps[..] {
        [_] => 1,
        [_, step] => {
            let step = plain_number(step)?;
            if ends.len() == 1 {
                end = greatest;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < least {
        Err(format!("beginning of range ({start}) below minimum ({least}): {text}"))
    } else if end > greatest {
        Err(format!("end of range ({end}) above maximum ({greatest}): {text}"))
    } else if start > end {
        Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"))
    } else if step == 0 {
        Err(format!("step of range should be a positive number: {text}"))
    } else {
        Ok(())
    }
}

fn plain_number(text: &str) -> Result<u32, String> {
    let found: i64 = text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })?;
    u32::try_from(found).map_err(|_| format!("negative number ({found}) not allowed: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a schedule is refused that runs everywhere else, or accepted and never runs.
    #[test]
    fn schedules_are_read_as_everywhere() {
        for good in [
            "* * * * *",
            "*/15 0 1,15 * 1-5",
            "0 22 * * mon-FRI",
            "5/10 4 ? JAN 0",
            "@daily",
            "@every 1h30m",
            "TZ=UTC 0 0 * * *",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("x", "expected exactly 5 fields, found 1: [x]"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/2/3 * * * *", "too many slashes: */2/3"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()), "{bad}");
        }
    }
}
