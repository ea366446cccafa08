//! JUnit XML: a suite a scenario, a case a gate.
//!
//! A failed gate is a `failure`, one that could not be decided an `error` of type `inconclusive`, one that was not
//! judged is `skipped`. A run without any gate has one case that says so: an empty suite would read as a pass.

use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::result::RunResult;

use crate::markup::Markup;
use crate::tables;
use crate::words::{self, Counts};

/// The JUnit document of one run.
pub fn junit(result: &RunResult) -> String {
    junit_of(&[result])
}

/// The JUnit document of several runs, a `testsuite` each.
pub fn junit_of(results: &[&RunResult]) -> String {
    let tallies: Vec<Tally> = results.iter().map(|result| Tally::of(result)).collect();
    let total = tallies.iter().fold(Tally::default(), |sum, tally| sum.plus(tally));
    let mut document = Markup::new();
    document.verbatim("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    document.element(
        "testsuites",
        &[
            ("name", &"windtunnel"),
            ("tests", &total.tests),
            ("failures", &total.failures),
            ("errors", &total.errors),
            ("skipped", &total.skipped),
            ("time", &Seconds(total.wall_s)),
        ],
        |suites| {
            suites.line();
            for (result, tally) in results.iter().zip(&tallies) {
                suite(suites, result, tally);
            }
        },
    );
    document.line();
    document.into_string()
}

fn suite(out: &mut Markup, result: &RunResult, tally: &Tally) {
    out.element(
        "testsuite",
        &[
            ("name", &result.scenario),
            ("tests", &tally.tests),
            ("failures", &tally.failures),
            ("errors", &tally.errors),
            ("skipped", &tally.skipped),
            ("time", &Seconds(tally.wall_s)),
        ],
        |suite| {
            suite.line();
            properties(suite, result);
            if result.gates.is_empty() {
                empty_run(suite, result);
            }
            for gate in &result.gates {
                case(suite, result, gate);
            }
        },
    );
    out.line();
}

fn properties(out: &mut Markup, result: &RunResult) {
    out.element("properties", &[], |properties| {
        let mut property = |name: &str, value: &str| {
            properties.empty("property", &[("name", &name), ("value", &value)]);
        };
        property("verdict", words::word(result.verdict));
        property("exit-code", &result.exit_code.to_string());
        property("seed", &result.seed.to_string());
        property("reproduce", &result.reproduce);
        if let Some((word, sentences)) = tables::stability(result) {
            property("stability", word);
            property("stability.reason", &sentences.join(" "));
        }
        if let Some(cost) = &result.cost {
            property("cost", &cost.total.to_string());
            property("cost.per-hour", &cost.per_hour.to_string());
        }
        for row in &result.errors {
            let name = format!("errors.{}.{}", words::source(row.source), row.cause);
            property(&name, &row.count.to_string());
        }
        for (name, version) in &result.versions {
            property(&format!("version.{name}"), version);
        }
    });
    out.line();
}

fn case(out: &mut Markup, result: &RunResult, gate: &Gate) {
    let classname = format!("{}.{}", result.scenario, words::source(gate.source));
    let place = gate.position.as_deref().map(place_of);
    let mut attributes: Vec<crate::markup::Attribute<'_>> =
        vec![("name", &gate.objective), ("classname", &classname), ("time", &"0")];
    if let Some((file, line)) = &place {
        attributes.push(("file", file));
        if let Some(line) = line {
            attributes.push(("line", line));
        }
    }
    let message = words::observation(gate);
    let details = format!(
        "{}\nobserved: {}\nlimit:    {}\nsamples:  {}\nrerun:    {}",
        gate.reason, gate.observed_text, gate.limit_text, gate.samples, result.reproduce
    );
    out.element("testcase", &attributes, |case| {
        case.element("properties", &[], |properties| {
            for (name, value) in [
                ("metric", gate.metric.clone()),
                ("observed", gate.observed_text.clone()),
                ("limit", gate.limit_text.clone()),
                ("samples", gate.samples.to_string()),
            ] {
                properties.empty("property", &[("name", &name), ("value", &value)]);
            }
        });
        match gate.verdict {
            Verdict::Pass => case.leaf("system-out", &[], &gate.reason),
            Verdict::Fail => case.leaf("failure", &[("type", &"objective"), ("message", &message)], &details),
            Verdict::Inconclusive => {
                case.leaf("error", &[("type", &"inconclusive"), ("message", &gate.reason)], &details);
            }
            Verdict::NotJudged => case.empty("skipped", &[("message", &gate.reason)]),
        }
    });
    out.line();
}

fn empty_run(out: &mut Markup, result: &RunResult) {
    let classname = format!("{}.run", result.scenario);
    out.element(
        "testcase",
        &[("name", &"at least one gate is judged"), ("classname", &classname), ("time", &"0")],
        |case| {
            let message = words::sentence(result);
            let details = format!("{}\nrerun: {}", result.reasons.join("\n"), result.reproduce);
            if result.verdict == Verdict::Fail {
                case.leaf("failure", &[("type", &"run"), ("message", &message)], &details);
            } else {
                case.leaf("error", &[("type", &"inconclusive"), ("message", &message)], &details);
            }
        },
    );
    out.line();
}

/// `FILE:LINE` taken apart, columns and all.
fn place_of(position: &str) -> (&str, Option<u64>) {
    let mut file = position;
    let mut line = None;
    while let Some((head, tail)) = file.rsplit_once(':') {
        let Ok(number) = tail.parse::<u64>() else { break };
        (file, line) = (head, Some(number));
    }
    (file, line)
}

/// What the attributes of a suite count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    wall_s: f64,
}

impl Tally {
    fn of(result: &RunResult) -> Self {
        let counts = Counts::of(&result.gates);
        let mut tally = Self {
            tests: result.gates.len() as u64,
            failures: counts.failed,
            errors: counts.inconclusive,
            skipped: counts.not_judged,
            wall_s: words::wall_s(result),
        };
        if result.gates.is_empty() {
            tally.tests = 1;
            *if result.verdict == Verdict::Fail { &mut tally.failures } else { &mut tally.errors } = 1;
        }
        tally
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            tests: self.tests + other.tests,
            failures: self.failures + other.failures,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
            wall_s: self.wall_s + other.wall_s,
        }
    }
}

struct Seconds(f64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::place_of;

    /// Without it CI annotations point at a file called `quickstart.yaml:31`.
    #[test]
    fn positions_come_apart() {
        assert_eq!(place_of("scenarios/a.yaml:31:7"), ("scenarios/a.yaml", Some(31)));
        assert_eq!(place_of("scenarios/a.yaml:31"), ("scenarios/a.yaml", Some(31)));
        assert_eq!(place_of("a.yaml"), ("a.yaml", None));
    }
}
