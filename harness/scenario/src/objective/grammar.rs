//! The parser of rules. Every fault knows the column at which it begins.

use super::{Metric, Objective, ObjectiveError, Operator, Scope, Unit};
use crate::quantity::{self, Duration, Price, Rate};
use crate::suggest;

const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

pub(super) fn parse(text: &str) -> Result<Objective, ObjectiveError> {
    let rule = Rule { text };
    let Some(at) = text.find(['<', '>', '=']) else {
        return Err(match text.trim() {
            "" => rule.fault(0, "the objective is empty", "write one such as p99<300ms or error-rate<1%"),
            // Nothing to compare with: if the metric is wrong as well, that comes first.
            _ => match metric(&rule, split_scope(text).0, 0) {
                Err(error) => error,
                Ok(Metric::Stable) => return stable(&rule),
                Ok(_) => rule.fault(
                    text.trim_end().len(),
                    "a comparison is missing",
                    "write <, <=, >, >= or = and a limit, such as p99<300ms",
                ),
            },
        });
    };
    let metric = metric(&rule, &text[..at], 0)?;
    let (symbol, operator) = OPERATORS
        .into_iter()
        .find(|(symbol, _)| text[at..].starts_with(symbol))
        .unwrap_or(("<", Operator::Less));
    let value_at = at + symbol.len();
    let (value, name) = split_scope(&text[value_at..]);
    check_operator(&rule, metric, operator, at)?;
    let limit = limit(&rule, metric, operator, value, value_at)?;
    let scope = match name {
        None => Scope::All,
        Some((name, offset)) => scope(&rule, metric, name, value_at + offset)?,
    };
    Ok(objective(text, metric, operator, limit, scope))
}

/// The one metric without a limit.
fn stable(rule: &Rule<'_>) -> Result<Objective, ObjectiveError> {
    let scope = match split_scope(rule.text).1 {
        None => Scope::All,
        Some((name, at)) => scope(rule, Metric::Stable, name, at)?,
    };
    Ok(objective(rule.text, Metric::Stable, Operator::Equal, 1.0, scope))
}

fn objective(text: &str, metric: Metric, operator: Operator, limit: f64, scope: Scope) -> Objective {
    Objective {
        metric,
        operator,
        limit,
        scope,
        from: None,
        to: None,
        on_simulated: true,
        on_live: true,
        text: text.trim().to_owned(),
        position: None,
    }
}

struct Rule<'a> {
    text: &'a str,
}

impl Rule<'_> {
    fn fault(&self, byte: usize, message: impl Into<String>, hint: impl Into<String>) -> ObjectiveError {
        let column = self.text[..byte].chars().count() as u32 + 1;
        ObjectiveError { column, message: message.into(), hint: hint.into() }
    }
}

/// Bytes of white space before the first other character.
fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn metric(rule: &Rule<'_>, text: &str, at: usize) -> Result<Metric, ObjectiveError> {
    let at = at + indent(text);
    let name = text.trim();
    if name.is_empty() {
        return Err(rule.fault(at, "a metric is missing", "write one such as p99, error-rate or rps"));
    }
    if let Some(metric) = Metric::named(name) {
        return Ok(metric);
    }
    let (of, plain): (fn(f64) -> Metric, &str) =
        match (name.strip_prefix("ttft-"), name.strip_prefix("tpot-")) {
            (Some(rest), _) => (Metric::FirstToken, rest),
            (_, Some(rest)) => (Metric::PerToken, rest),
            _ => (Metric::Percentile, name),
        };
    let number = plain.strip_prefix('p').map(|rest| match rest.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')').unwrap_or("").trim(),
        None => rest,
    });
    match number.and_then(quantity::plain_number) {
        Some(percentile) if percentile > 0.0 && percentile < 100.0 => Ok(of(percentile)),
        Some(_) => Err(rule.fault(
            at,
            format!("{name} is not a percentile"),
            "write one between p0 and p100, such as p50, p99 or p99.9; the slowest request is max",
        )),
        None => {
            let known = ["p50", "p90", "p95", "p99", "p99.9", "ttft-p99", "tpot-p99"]
                .into_iter()
                .chain(Metric::NAMES);
            Err(rule.fault(at, format!("unknown metric \"{name}\""), suggest::hint(name, "metrics", known)))
        }
    }
}

fn check_operator(
    rule: &Rule<'_>,
    metric: Metric,
    operator: Operator,
    at: usize,
) -> Result<(), ObjectiveError> {
    let upper = matches!(operator, Operator::Less | Operator::AtMost);
    let problem = match metric {
        Metric::Percentile(_)
        | Metric::FirstToken(_)
        | Metric::PerToken(_)
        | Metric::Average
        | Metric::Maximum
            if !upper =>
        {
            Some("a latency has an upper limit: write < or <=")
        }
        Metric::ErrorRate if !upper => Some("an error rate has an upper limit: write < or <="),
        Metric::CanaryShare if operator != Operator::Equal => {
            Some("the share of the canary is judged against the share that was asked for: write =")
        }
        Metric::Throughput if operator == Operator::Equal => {
            Some("a measured rate is never exact: write >= for the least that must be served")
        }
        Metric::Stable => Some("it has no limit: write stable alone"),
        Metric::Queued if !upper => Some("a queue has an upper limit: write < or <="),
        Metric::Cost | Metric::CostPerMillion if !upper => Some("a cost has an upper limit: write < or <="),
        Metric::DriftDetected | Metric::Recovery if !upper => {
            Some("a time has an upper limit: write < or <=")
        }
        _ => None,
    };
    match problem {
        Some(hint) => Err(rule.fault(at, format!("\"{operator}\" does not go with {metric}"), hint)),
        None => Ok(()),
    }
}

/// The value's text, and the name after `for` with its offset.
fn split_scope(text: &str) -> (&str, Option<(&str, usize)>) {
    let mut from = 0;
    while let Some(found) = text[from..].find("for") {
        let at = from + found;
        let before_ok = text[..at].ends_with(char::is_whitespace);
        let after = &text[at + 3..];
        if before_ok && (after.is_empty() || after.starts_with(char::is_whitespace)) {
            return (&text[..at], Some((after, at + 3)));
        }
        from = at + 3;
    }
    (text, None)
}

fn scope(rule: &Rule<'_>, metric: Metric, text: &str, at: usize) -> Result<Scope, ObjectiveError> {
    let at = at + indent(text);
    let name = text.trim();
    if name.is_empty() {
        return Err(rule.fault(
            at,
            "a name is missing after \"for\"",
            "write canary, stable, a service or a revision",
        ));
    }
    if metric == Metric::CanaryShare {
        return Err(rule.fault(at, "canary-share is already about the canary", "leave out \"for …\""));
    }
    if matches!(name, "canary" | "stable") && !metric.of_requests() && metric != Metric::Replicas {
        return Err(rule.fault(
            at,
            format!("{metric} cannot be told apart for {name}"),
            "leave out \"for …\" or name a service",
        ));
    }
    if let Some(bad) = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')) {
        return Err(rule.fault(
            at + bad,
            format!("\"{name}\" is not the name of a service or a revision"),
            "write canary, stable, a service such as digits or a revision such as digits-predictor-00001",
        ));
    }
    Ok(match name {
        "canary" => Scope::Canary,
        "stable" => Scope::Stable,
        _ => Scope::Revision(name.to_owned()),
    })
}

fn limit(
    rule: &Rule<'_>,
    metric: Metric,
    operator: Operator,
    text: &str,
    at: usize,
) -> Result<f64, ObjectiveError> {
    let at = at + indent(text);
    let value = text.trim();
    if value.is_empty() {
        let example = match metric.unit() {
            Unit::Latency => "300ms",
            Unit::Share => "1%",
            Unit::Rate => "200",
            Unit::Count => "3",
            Unit::Time => "5m",
            Unit::Price => "2.5/h",
            Unit::Money => "3",
            Unit::Verdict => "",
        };
        return Err(rule.fault(
            at,
            "a limit is missing",
            format!("write one, such as {metric}{operator}{example}"),
        ));
    }
    let wrong = |error: quantity::QuantityError| rule.fault(at, error.message, error.hint);
    let limit = match metric.unit() {
        Unit::Latency => match quantity::plain_number(value) {
            // Load-testers' tools read a bare number as milliseconds.
            Some(_) => format!("{value}ms").parse::<Duration>().map_err(wrong)?.as_ns() as f64,
            None => value.parse::<Duration>().map_err(wrong)?.as_ns() as f64,
        },
        Unit::Share => quantity::parse_percent(value).map_err(wrong)?,
        Unit::Rate => match quantity::plain_number(value) {
            Some(number) if number <= quantity::MAX_RATE_PER_S => number,
            _ => value.parse::<Rate>().map_err(wrong)?.as_per_second(),
        },
        Unit::Time => value.parse::<Duration>().map_err(wrong)?.as_ns() as f64,
        Unit::Price => value.parse::<Price>().map_err(wrong)?.as_per_hour(),
        Unit::Money => match quantity::plain_number(value) {
            Some(number) if number <= quantity::MAX_PRICE_PER_H => number,
            _ => {
                return Err(rule.fault(
                    at,
                    format!("\"{value}\" is not an amount of money"),
                    format!("write a number alone, such as {metric}{operator}3"),
                ));
            }
        },
        // An operator has been refused before.
        Unit::Verdict => 1.0,
        Unit::Count => match value.parse::<u32>() {
            Ok(count) => f64::from(count),
            Err(_) => {
                return Err(rule.fault(
                    at,
                    format!("\"{value}\" is not a count"),
                    format!("write a whole number, such as {metric}{operator}3"),
                ));
            }
        },
    };
    if operator == Operator::Less && limit <= 0.0 {
        return Err(rule.fault(
            at,
            format!("{metric} can never be below {value}"),
            format!("write {metric}<={value} if none is allowed"),
        ));
    }
    if operator == Operator::AtMost && limit <= 0.0 && matches!(metric.unit(), Unit::Latency | Unit::Time) {
        return Err(rule.fault(at, format!("{metric} can never be {value}"), "write a time above zero"));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user's rule would be judged against another limit than the one that was written.
    #[test]
    fn reads_the_rules_that_load_testers_write() {
        use Metric::*;
        use Operator::*;
        for (text, metric, operator, limit, scope) in [
            ("p95<500ms", Percentile(95.0), Less, 500e6, Scope::All),
            ("p(95)<500", Percentile(95.0), Less, 500e6, Scope::All),
            ("p99.9 <= 1.5s", Percentile(99.9), AtMost, 1.5e9, Scope::All),
            ("ttft-p95<2s", FirstToken(95.0), Less, 2e9, Scope::All),
            ("tpot-p(99) <= 40", PerToken(99.0), AtMost, 40e6, Scope::All),
            ("avg<2", Average, Less, 2e6, Scope::All),
            ("max<=1m", Maximum, AtMost, 60e9, Scope::All),
            ("error-rate<1%", ErrorRate, Less, 0.01, Scope::All),
            ("error-rate<=0%", ErrorRate, AtMost, 0.0, Scope::All),
            ("rps>=200", Throughput, AtLeast, 200.0, Scope::All),
            ("rps > 90/min", Throughput, Greater, 1.5, Scope::All),
            ("cold-starts<=3", ColdStarts, AtMost, 3.0, Scope::All),
            ("cold-requests=0", ColdRequests, Equal, 0.0, Scope::All),
            ("canary-share=10%", CanaryShare, Equal, 0.1, Scope::All),
            ("mismatches==0", Mismatches, Equal, 0.0, Scope::All),
            ("queued<100", Queued, Less, 100.0, Scope::All),
            ("cost<2.5/h", Cost, Less, 2.5, Scope::All),
            ("cost<=24/d", Cost, AtMost, 1.0, Scope::All),
            ("cost-per-million<3", CostPerMillion, Less, 3.0, Scope::All),
            ("stable", Stable, Equal, 1.0, Scope::All),
            (" stable  for digits ", Stable, Equal, 1.0, Scope::Revision("digits".into())),
            ("drift-detected<5m", DriftDetected, Less, 300e9, Scope::All),
            ("recovery<60s", Recovery, Less, 60e9, Scope::All),
            ("replicas<=3", Replicas, AtMost, 3.0, Scope::All),
            ("replicas<=3 for canary", Replicas, AtMost, 3.0, Scope::Canary),
            ("replicas>=2 for digits", Replicas, AtLeast, 2.0, Scope::Revision("digits".into())),
            ("p99<300ms for digits", Percentile(99.0), Less, 300e6, Scope::Revision("digits".into())),
            ("p95<500ms for canary", Percentile(95.0), Less, 500e6, Scope::Canary),
            ("  error-rate < 1 %  for  stable ", ErrorRate, Less, 0.01, Scope::Stable),
            (
                "p50<5ms for digits-predictor-00002",
                Percentile(50.0),
                Less,
                5e6,
                Scope::Revision("digits-predictor-00002".into()),
            ),
        ] {
            let objective = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(objective.metric, metric, "{text}");
            assert_eq!(objective.operator, operator, "{text}");
            assert!((objective.limit - limit).abs() < 1e-9, "{text}: {}", objective.limit);
            assert_eq!(objective.scope, scope, "{text}");
            assert_eq!(objective.text, text.trim());
        }
    }

    /// A user would look for a typing error in the wrong place, or would not be told of it at all.
    #[test]
    fn names_the_column_and_the_remedy() {
        for (text, column, message, hint) in [
            ("", 1, "the objective is empty", "write one such as p99<300ms or error-rate<1%"),
            ("p99", 4, "a comparison is missing", "write <, <=, >, >= or = and a limit, such as p99<300ms"),
            ("eror-rate<1%", 1, "unknown metric \"eror-rate\"", "did you mean \"error-rate\"?"),
            ("cold_starts<3", 1, "unknown metric \"cold_starts\"", "did you mean \"cold-starts\"?"),
            ("p99<", 5, "a limit is missing", "write one, such as p99<300ms"),
            ("<300ms", 1, "a metric is missing", "write one such as p99, error-rate or rps"),
            ("p99<300msec", 5, "\"msec\" in \"300msec\" is not a unit of time", "write ms for milliseconds"),
            ("p99>300ms", 4, "\">\" does not go with p99", "a latency has an upper limit: write < or <="),
            ("error-rate<1", 12, "\"1\" is not a percentage", "write 1%"),
            ("error-rate<101%", 12, "101% is over 100%", "a share is between 0% and 100%"),
            (
                "error-rate<0%",
                12,
                "error-rate can never be below 0%",
                "write error-rate<=0% if none is allowed",
            ),
            (
                "cold-starts<=1.5",
                14,
                "\"1.5\" is not a count",
                "write a whole number, such as cold-starts<=3",
            ),
            ("p99<-3ms", 5, "-3ms is negative", "time only runs forward; did you mean 3ms?"),
            (
                "p99 < 3ms for",
                14,
                "a name is missing after \"for\"",
                "write canary, stable, a service or a revision",
            ),
            ("stable<3", 7, "\"<\" does not go with stable", "it has no limit: write stable alone"),
            ("stabel", 1, "unknown metric \"stabel\"", "did you mean \"stable\"?"),
            ("cost<2.5", 6, "\"2.5\" is not a price", "write 2.5/h for that much an hour"),
            ("cost>2/h", 5, "\">\" does not go with cost", "a cost has an upper limit: write < or <="),
            (
                "cost-per-million<3/h",
                18,
                "\"3/h\" is not an amount of money",
                "write a number alone, such as cost-per-million<3",
            ),
            ("recovery<60", 10, "60 has no unit", "write 60s for seconds or 60ms for milliseconds"),
            (
                "drift-detected>5m",
                15,
                "\">\" does not go with drift-detected",
                "a time has an upper limit: write < or <=",
            ),
            ("queued<0", 8, "queued can never be below 0", "write queued<=0 if none is allowed"),
            (
                "queued<3 for canary",
                14,
                "queued cannot be told apart for canary",
                "leave out \"for …\" or name a service",
            ),
            (
                "canary-share=10% for canary",
                22,
                "canary-share is already about the canary",
                "leave out \"for …\"",
            ),
            (
                "p100<1s",
                1,
                "p100 is not a percentile",
                "write one between p0 and p100, such as p50, p99 or p99.9; the slowest request is max",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(
                (error.column, error.message.as_str(), error.hint.as_str()),
                (column, message, hint),
                "{text}"
            );
        }
    }
}
