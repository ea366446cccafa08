//! Writes a made-up report to look at: `cargo run -p windtunnel-report --example sample -- DIR`.

#[path = "../tests/it/flight.rs"]
mod flight;

use std::path::PathBuf;

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
        };
        let written = write(&dir.join(name), &input)?;
        print!("{}", table(&run.result, false));
        println!("{}", written.html.display());
        pages.push((&run.result, written.html));
    }
    let entries: Vec<IndexEntry<'_>> =
        pages.iter().map(|(result, page)| IndexEntry { result, page }).collect();
    println!("{}", write_index(&dir, &entries)?.display());
    Ok(())
}
