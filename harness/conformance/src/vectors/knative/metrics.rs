//! The metric path: reporter, collector, scrape sampling.

use std::collections::BTreeMap;

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
    // One reporter a revision; upstream compares in the order of the revisions.
    let mut revisions: BTreeMap<String, (ConcurrencyReporter, Vec<Stat>)> = BTreeMap::new();
    for operation in inputs.get::<Vec<Operation>>("ops_ms")? {
        let [at_ms] = operation.take_labelled()?;
        let now_ns = instant_ns(at_ms / 1e3);
        if operation.name == "tick" {
            for (reporter, stats) in revisions.values_mut() {
                stats.extend(reporter.report(now_ns));
            }
            continue;
        }
        let (reporter, stats) = revisions.entry(operation.label.clone().unwrap_or_default()).or_default();
        match operation.name.as_str() {
            "start" => stats.extend(reporter.request_in(now_ns)),
            "end" => reporter.request_out(now_ns),
            _ => return Err(operation.unknown("start, end, tick")),
        }
    }
    let found: Vec<(String, Stat)> = revisions
        .into_iter()
        .flat_map(|(name, (_, stats))| stats.into_iter().map(move |stat| (name.clone(), stat)))
        .collect();
    let expected: Vec<Fields<'_>> = expect.get("stats")?;
    if checks.count("expect.stats", expected.len(), found.len()) {
        for (expected, (revision, found)) in expected.iter().zip(&found) {
            checks.equal(expected, "revision", revision)?;
            checks.near(expected, "avg_concurrency", found.average_concurrency, None)?;
            checks.near(expected, "request_count", found.request_count, None)?;
        }
    }
    expected.iter().try_for_each(Fields::finish_filled)
}

pub(super) fn collector(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let stable_ns = inputs.get::<Length>("stable_window_s")?.ns;
    let panic_ns = inputs.get::<Length>("panic_window_s")?.ns;
    let mut collector = Collector::new(Aggregation::Linear, stable_ns, panic_ns);
    for (number, record) in inputs.get::<Vec<Vec<f64>>>("records")?.into_iter().enumerate() {
        let (at_s, average_concurrency, request_count, proxied) = match record[..] {
            [at_s, concurrency, rps] => (at_s, concurrency, rps, (0.0, 0.0)),
            [at_s, concurrency, rps, proxied_concurrency, proxied_rps] => {
                (at_s, concurrency, rps, (proxied_concurrency, proxied_rps))
            }
            _ => {
                let form = "[t, concurrency, rps], with proxied concurrency and rps behind or without";
                return Err(format!("inputs.records[{number}]: a record is {form}"));
            }
        };
        // Whoever sent them, upstream adds them up.
        collector.record(&Stat {
            at_ns: instant_ns(at_s),
            average_concurrency,
            average_proxied_concurrency: proxied.0,
            request_count,
            proxied_request_count: proxied.1,
        });
    }
    let now_ns = instant_ns(inputs.get("now_s")?);
    let has_scrape_target = inputs.or("scrape_target", true)?;
    let concurrency = collector.averages(ScalingMetric::Concurrency, now_ns, has_scrape_target);
    let rps = collector.averages(ScalingMetric::Rps, now_ns, has_scrape_target);
    let is_expected_empty = expect.opt("no_data")? == Some(true);
    checks.equal(expect, "no_data", &(concurrency.is_none() && rps.is_none()))?;
    if is_expected_empty {
        return Ok(());
    }
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
