//! `windtunnel plan`: which configuration meets the objectives, and what does it cost?

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use windtunnel_record::judge::Verdict;
use windtunnel_record::replications::{Interval, Stopping};
use windtunnel_report::plan::{self as report, PlanOption, PlanReport};
use windtunnel_scenario::Scenario;
use windtunnel_scenario::objective::{Metric, Objective};
use windtunnel_sim::study::{self, Axis, Candidate, Question, Setting, Source};

use super::run::quoted;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::{self, Line};

/// Simulates a scenario with other settings and names the cheapest ones that meet the objectives.
#[derive(Args)]
pub(crate) struct Plan {
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// What must hold, such as 'p99<300ms'; repeatable. The scenario's own objectives by default.
    #[arg(long = "slo", value_name = "RULE")]
    slos: Vec<String>,
    /// What to try: PATH=V1,V2,… tries each value, PATH=LOW..HIGH searches for the least that is enough. PATH leads into the
    /// scenario (spec.environment.network.gateway) or into an object (InferenceService/digits:spec.predictor.maxReplicas);
    /// repeatable.
    #[arg(long = "vary", value_name = "PATH=VALUES", required = true)]
    axes: Vec<Axis>,
    /// Settings for all of them.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
    /// Simulations of each candidate, each with a seed of its own; more are made, up to --most, until p99 and cost are known to
    /// 5 %.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    replications: u64,
    /// Simulations of each candidate at most.
    #[arg(long, value_name = "N", default_value_t = 30)]
    most: u64,
    /// Simulations at once; as many as there are cores by default. It changes nothing in the result.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Seed of the first simulation of each candidate; the scenario's own by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the report.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The answer, the options, the patch.
    Table,
    /// The same as data.
    Json,
    /// The same for a job summary.
    Markdown,
}

impl Plan {
    pub(crate) fn execute(self) -> Outcome {
        let mut source = Source::open(&self.scenario).or_usage()?.with_seed(self.seed);
        let objectives = self
            .slos
            .iter()
            .map(|slo| Objective::parse(slo).map_err(|error| anyhow!("--slo {slo}: {error}")))
            .collect::<Result<Vec<_>, _>>()
            .or_usage()?;
        if !objectives.is_empty() {
            source = source.with_objectives(objectives);
        }
        let source = source.with_settings(self.settings.clone());
        let (scenario, _) = source.read_with(&[]).or_usage()?;
        if let Some(reason) = scenario.skip_reason() {
            eprintln!("{reason}");
            return Ok(Exit::Inconclusive);
        }
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        let line = Line::new();
        line.say(format!("{}: simulating the candidates", scenario.name));
        let (axes, threads) = (self.axes.clone(), self.threads);
        let stopping = Stopping {
            least: self.replications,
            most: self.most.max(self.replications),
            ..Stopping::default()
        };
        let candidates = runtime.block_on(async {
            let interrupt = Interrupt::listen().or_environment()?;
            let asked = source.clone();
            let work = tokio::task::spawn_blocking(move || {
                study::plan(&Question { source: &asked, axes, stopping, threads, most_candidates: 10_000 })
            });
            tokio::select! {
                candidates = work => candidates.or_environment()?.or_usage(),
                () = interrupt.token().cancelled() => Err(Failure {
                    exit: interrupt.exit(),
                    error: anyhow!("interrupted before there was anything to report"),
                }),
            }
        });
        runtime.shutdown_background();
        line.clear();
        let report = self.report(&scenario, &candidates?)?;
        let written = report::write(&self.out.join(&scenario.name), &report).or_environment()?;
        match self.output {
            Output::Table => {
                print!("{}", report::table(&report, progress::stdout_takes_color()));
                println!("\nreport: {}", written.html.display());
                println!("next:   {}", report.reproduce);
            }
            Output::Json => print!("{}", report::json(&report).or_environment()?),
            Output::Markdown => print!("{}", report::markdown(&report)),
        }
        Ok(match report.verdict() {
            Verdict::Pass => Exit::Passed,
            Verdict::Fail => Exit::Failed,
            Verdict::Inconclusive | Verdict::NotJudged => Exit::Inconclusive,
        })
    }

    fn report(&self, scenario: &Scenario, candidates: &[Candidate]) -> Result<PlanReport, Failure> {
        let is_priced = candidates.iter().any(|candidate| candidate.figure("cost.per-hour").is_some());
        let cost = if is_priced { "cost.per-hour" } else { "replicas" };
        let options = candidates.iter().map(|candidate| option(candidate, cost)).collect();
        let mut report = PlanReport::new(&scenario.name, options);
        if !is_priced {
            report.notes.push(
                "The scenario has no prices: cost is the mean number of ready replicas. Give spec.environment.nodes a price \
                 to see money."
                    .to_owned(),
            );
        }
        let strained = candidates.iter().filter(|candidate| is_near_saturation(candidate)).count();
        if strained > 0 {
            report.notes.push(format!(
                "{strained} of the candidates run near saturation: a small error in the service time is a large one in their \
                 latencies."
            ));
        }
        report.limits_ms = scenario
            .objectives
            .iter()
            .filter(|objective| objective.metric == Metric::Percentile(99.0))
            .map(|objective| (objective.text.clone(), objective.limit / 1e6))
            .collect();
        if let Some(cheapest) = report.cheapest {
            report.patch_yaml = study::patches(&candidates[cheapest].settings).or_usage()?;
        }
        report.seed = scenario.seed;
        report.reproduce = self.reproduce();
        Ok(report)
    }

    /// The command that gives the same result again.
    fn reproduce(&self) -> String {
        let mut command = format!("windtunnel plan {}", self.scenario.display());
        for slo in &self.slos {
            command.push_str(&format!(" --slo {}", quoted(slo)));
        }
        for axis in &self.axes {
            command.push_str(&format!(" --vary {}", quoted(&axis.to_string())));
        }
        for setting in &self.settings {
            command.push_str(&format!(" --set {}", quoted(&setting.to_string())));
        }
        if let Some(seed) = self.seed {
            command.push_str(&format!(" --seed {seed}"));
        }
        format!("{command} --replications {} --most {}", self.replications, self.most)
    }
}

fn option(candidate: &Candidate, cost: &str) -> PlanOption {
    let in_ms = |interval: Interval| Interval {
        mean: interval.mean / 1e6,
        low: interval.low / 1e6,
        high: interval.high / 1e6,
        ..interval
    };
    PlanOption {
        settings: candidate
            .settings
            .iter()
            .map(|setting| (setting.path.clone(), setting.value.clone()))
            .collect(),
        cost_per_hour: candidate.figure(cost),
        p99_ms: candidate.figure("latency.p99").map(in_ms),
        verdict: candidate.verdict,
        reason: candidate.reason.clone(),
        figures: ["error-rate", "replicas", "throughput"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), candidate.figure(name)?)))
            .collect(),
    }
}

fn is_near_saturation(candidate: &Candidate) -> bool {
    candidate
        .replications
        .iter()
        .filter_map(|one| one.summary.stability.as_ref())
        .any(|stability| stability.near_saturation)
}
