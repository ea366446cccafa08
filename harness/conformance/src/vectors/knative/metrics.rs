//! The metric path: reporter, collector, scrape sampling.

use windtunnel_kernel::autoscale::kpa::metrics::{Collector, sample_size as sample_size_of};
use windtunnel_kernel::autoscale::kpa::{Aggregation, ConcurrencyReporter, ScalingMetric, Stat};

use super::super::check::Checks;
use super::super::fields::{Fields, Length, Operation};
use super::instant_ns;

pub(super) fn concurrency_reporter(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut reporter = ConcurrencyReporter::new();
    let mut found: Vec<Stat> = Vec::new();
    for operation in inputs.get::<Vec<Operation>>("ops_ms")? {
        let [at_ms] = operation.take()?;
        let now_ns = instant_ns(at_ms / 1e3);
        match operation.name.as_str() {
            "start" => found.extend(reporter.request_in(now_ns)),
            "end" => reporter.request_out(now_ns),
            "tick" => found.extend(reporter.report(now_ns)),
            _ => return Err(operation.unknown("start, end, tick")),
        }
    }
    let expected: Vec<Fields<'_>> = expect.get("stats")?;
    if checks.count("expect.stats", expected.len(), found.len()) {
        for (expected, found) in expected.iter().zip(&found) {
            checks.near(expected, "avg_concurrency", found.average_concurrency, None)?;
            checks.near(expected, "request_count", found.request_count, None)?;
        }
    }
    expected.iter().try_for_each(Fields::finish_filled)
}

pub(super) fn collector(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let stable_ns = inputs.or("stable_window_s", Length::seconds(60))?.ns;
    let panic_ns = inputs.or("panic_window_s", Length::seconds(6))?.ns;
    let mut collector = Collector::new(Aggregation::Linear, stable_ns, panic_ns);
    for (number, record) in inputs.get::<Vec<Vec<f64>>>("records")?.into_iter().enumerate() {
        let [at_s, average_concurrency, request_count] = record[..] else {
            return Err(format!("inputs.records[{number}]: a record is [t, concurrency, rps]"));
        };
        collector.record(&Stat {
            at_ns: instant_ns(at_s),
            average_concurrency,
            request_count,
            ..Stat::default()
        });
    }
    let now_ns = instant_ns(inputs.get("now_s")?);
    let concurrency = collector.averages(ScalingMetric::Concurrency, now_ns, true);
    let rps = collector.averages(ScalingMetric::Rps, now_ns, true);
    let (Some(concurrency), Some(rps)) = (concurrency, rps) else {
        checks.fault("expect: got no data".to_string());
        return Ok(());
    };
    checks.near(expect, "stable_concurrency", concurrency.stable, None)?;
    checks.near(expect, "panic_concurrency", concurrency.panic, None)?;
    checks.near(expect, "stable_rps", rps.stable, None)?;
    checks.near(expect, "panic_rps", rps.panic, None)
}

pub(super) fn sample_size(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let population: Vec<u32> = inputs.get("population")?;
    let found: Vec<u32> = population.into_iter().map(sample_size_of).collect();
    expect.get::<Vec<u32>>("sample")?;
    checks.equal(expect, "sample", &found)
}
