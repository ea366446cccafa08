//! Writes a made-up report to look at: `cargo run -p windtunnel-report --example sample -- DIR`.

#[path = "../tests/it/flight.rs"]
mod flight;

use std::path::PathBuf;

use windtunnel_record::judge::Verdict;
use windtunnel_record::replications::Interval;
use windtunnel_report::plan::{self, PlanOption, PlanReport};
use windtunnel_report::{IndexEntry, Input, table, write, write_index};

fn main() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "reports/sample".to_owned()));
    let runs = [("passed", flight::passed()), ("failed", flight::failed()), ("sliced", flight::passed())];
    let whole = flight::stretched(&runs[0].1.simulated, 48);
    let mut pages = Vec::new();
    for (name, run) in &runs {
        let input = Input {
            scenario: &run.scenario,
            result: &run.result,
            simulated: Some(&run.simulated),
            live: Some(&run.live),
            whole: (*name == "sliced").then_some(&whole),
            counted: None,
        };
        let written = write(&dir.join(name), &input)?;
        print!("{}", table(&run.result, false));
        println!("{}", written.html.display());
        pages.push((&run.result, written.html));
    }
    let entries: Vec<IndexEntry<'_>> =
        pages.iter().map(|(result, page)| IndexEntry { result, page }).collect();
    println!("{}", write_index(&dir, &entries)?.display());
    println!("{}", plan::write(&dir.join("plan"), &sample_plan())?.html.display());
    Ok(())
}

/// Twelve made-up options of which half pass.
fn sample_plan() -> PlanReport {
    let options = (1..=12_u32)
        .map(|replicas| {
            let p99 = 90.0 + 4_000.0 / f64::from(replicas * replicas);
            let verdict = match p99 {
                p99 if p99 < 220.0 => Verdict::Pass,
                p99 if p99 < 300.0 => Verdict::Inconclusive,
                _ => Verdict::Fail,
            };
            let cost = 0.4 * f64::from(replicas) + if replicas % 4 == 0 { 0.3 } else { 0.0 };
            PlanOption {
                settings: vec![("spec.predictor.maxReplicas".to_owned(), replicas.to_string())],
                cost_per_hour: Interval::of(&[cost, cost * 1.04, cost * 0.97], 0.95),
                p99_ms: Interval::of(&[p99, p99 * 1.05, p99 * 0.94, p99 * 0.99], 0.95),
                verdict,
                reason: format!("p99<300ms observed {p99:.0} ms."),
                figures: std::collections::BTreeMap::new(),
            }
        })
        .collect();
    let mut report = PlanReport::new("quickstart", options);
    report.limits_ms = vec![("p99<300ms".to_owned(), 300.0)];
    report.patch_yaml = Some("spec:\n  predictor:\n    maxReplicas: 6\n".to_owned());
    report
}
