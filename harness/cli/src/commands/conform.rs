//! `windtunnel conform`: conformance suites against the embedded cluster or any other.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use kube::config::KubeConfigOptions;
use windtunnel_conformance::case::{self, Case, Profile};
use windtunnel_conformance::report::{Implementation, conformance_report};
use windtunnel_conformance::runner::{self, CaseResult, SuiteResult, Target, Verdict};
use windtunnel_conformance::{Selection, runner::Options};
use windtunnel_replay::{EmbeddedStack, StackOptions};
use windtunnel_report::conformance as report;

use crate::commands::status::State;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::Line;

/// Runs conformance cases against a cluster.
#[derive(Args)]
pub(crate) struct Conform {
    /// Files or folders of conformance cases (YAML); those that come with the binary unless given.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where: embedded, current (the kubeconfig's current context) or context:NAME.
    #[arg(long, default_value = "embedded", value_parser = place)]
    cluster: Place,
    /// Model server to test, for example http://localhost:8080.
    #[arg(long, value_name = "URL", conflicts_with = "cluster")]
    target: Option<String>,
    /// Whose rules are expected.
    #[arg(long, value_enum, default_value = "windtunnel")]
    profile: ProfileName,
    /// Only cases whose id, group, tag or tier matches, for example 'ADM-*', must or T0; repeatable.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No cases whose id, group, tag or tier matches; repeatable.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// How many cases run at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Host and port of the gateway, for cases that send requests; the embedded cluster's is known.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// Where to write a report: .xml JUnit, .md Markdown, .json everything, .yaml a ConformanceReport; repeatable.
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    report: Vec<PathBuf>,
    /// List the selected cases; nothing is started.
    #[arg(long)]
    list: bool,
}

#[derive(Clone)]
enum Place {
    Embedded,
    Current,
    Context(String),
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Windtunnel,
    #[value(name = "upstream-0.20")]
    Upstream020,
}

fn place(text: &str) -> Result<Place, String> {
    match text.split_once(':') {
        None if text == "embedded" => Ok(Place::Embedded),
        None if text == "current" => Ok(Place::Current),
        Some(("context", name)) if !name.is_empty() => Ok(Place::Context(name.to_owned())),
        _ => Err("expected embedded, current or context:NAME".to_owned()),
    }
}

fn report_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("xml" | "md" | "json" | "yaml" | "yml") => Ok(path),
        _ => {
            Err("the ending says the form: .xml (JUnit), .md, .json or .yaml (ConformanceReport)".to_owned())
        }
    }
}

impl Conform {
    pub(crate) fn execute(self) -> Outcome {
        if let Some(url) = &self.target {
            let error = anyhow!(
                "--target {url}: cases for model servers are not part of this version; test the cluster that serves the \
                 model with --cluster context:NAME"
            );
            return Err(Failure { exit: Exit::Usage, error });
        }
        let cases = self.cases()?;
        let selection = Selection { include: self.include.clone(), exclude: self.exclude.clone() };
        if let Some(pattern) = selection.idle(&cases).first() {
            let error = anyhow!(
                "\"{pattern}\" matches no case; see `windtunnel conform --list` for ids, tags and tiers"
            );
            return Err(Failure { exit: Exit::Usage, error });
        }
        if self.list {
            list(&cases, &selection);
            return Ok(Exit::Passed);
        }
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        runtime.block_on(Box::pin(self.run(&cases, selection)))
    }

    fn cases(&self) -> Result<Vec<Case>, Failure> {
        if self.paths.is_empty() {
            return case::shipped().or_usage();
        }
        let mut cases = Vec::new();
        for path in &self.paths {
            cases.extend(case::read_folder(path).or_usage()?);
        }
        Ok(cases)
    }

    async fn run(&self, cases: &[Case], selection: Selection) -> Outcome {
        let interrupt = Interrupt::listen().or_environment()?;
        let line = Line::new();
        line.say("starting");
        let (stack, target) = self.target_of(&line).await?;
        let profile = match self.profile {
            ProfileName::Windtunnel => Profile::Windtunnel,
            ProfileName::Upstream020 => Profile::Upstream020,
        };
        let options =
            Options { profile, jobs: usize::from(self.jobs), selection, stop: interrupt.token().clone() };
        let (mut done, total) = (0, cases.len());
        let outcome = runner::run(cases, &target, &options, |case| {
            done += 1;
            line.say(format!("{done}/{total} {}", case.id));
            show(case);
        })
        .await;
        line.clear();
        if let Some(stack) = stack {
            stack.stop().await;
        }
        let result = outcome.or_environment()?;
        self.write_reports(&result)?;
        let exit = if interrupt.came() { interrupt.exit() } else { judge(&result) };
        self.conclude(&result, exit);
        Ok(exit)
    }

    /// The cluster; an embedded one is started for this run alone.
    async fn target_of(&self, line: &Line) -> Result<(Option<EmbeddedStack>, Target), Failure> {
        let client = match &self.cluster {
            Place::Embedded => {
                let folder =
                    State::here().or_environment()?.folder().join(format!("conform-{}", std::process::id()));
                let executable = std::env::current_exe().or_environment()?;
                line.say("starting the embedded cluster");
                let stack =
                    EmbeddedStack::start(StackOptions::new(folder, executable)).await.or_environment()?;
                let target = Target {
                    client: stack.client(),
                    gateway: Some(stack.gateway_address().to_string()),
                    local_pods: true,
                    description: "the embedded cluster".to_owned(),
                };
                return Ok((Some(stack), target));
            }
            Place::Current => {
                kube::Client::try_default().await.context("no current context").or_environment()?
            }
            Place::Context(name) => {
                let options =
                    KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
                let config = kube::Config::from_kubeconfig(&options)
                    .await
                    .with_context(|| format!("the kubeconfig has no usable context `{name}`"))
                    .or_usage()?;
                kube::Client::try_from(config).or_environment()?
            }
        };
        let description = match &self.cluster {
            Place::Context(name) => format!("context {name}"),
            _ => "the current context".to_owned(),
        };
        Ok((None, Target { client, gateway: self.gateway.clone(), local_pods: false, description }))
    }

    fn write_reports(&self, result: &SuiteResult) -> Result<(), Failure> {
        for path in &self.report {
            let text = match path.extension().and_then(|ending| ending.to_str()) {
                Some("xml") => report::junit(result),
                Some("md") => report::markdown(result),
                Some("json") => serde_json::to_string_pretty(result).or_environment()? + "\n",
                _ => serde_saphyr::to_string(&conformance_report(result, implementation(&self.cluster)))
                    .or_environment()?,
            };
            write(path, &text).or_environment()?;
        }
        Ok(())
    }

    /// Ends by naming the reports and the next command.
    fn conclude(&self, result: &SuiteResult, exit: Exit) {
        let counts = result.counts();
        println!(
            "{} passed, {} failed, {} skipped, {} unsupported in {:.1} s",
            counts.passed, counts.failed, counts.skipped, counts.unsupported, result.took_s
        );
        if let Some(time) = result.consistency() {
            println!(
                "time to consistency of {} waits: p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms",
                time.waits, time.p50_ms, time.p95_ms, time.max_ms
            );
        }
        for path in &self.report {
            println!("report: {}", path.display());
        }
        let failed = result.cases.iter().find(|case| case.verdict == Verdict::Failed);
        match failed {
            Some(case) => println!("next: windtunnel conform --include {} --report failure.json", case.id),
            None if exit == Exit::Passed && self.report.is_empty() => {
                println!("next: windtunnel conform --report conformance.yaml");
            }
            None => {}
        }
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}

fn list(cases: &[Case], selection: &Selection) {
    for case in cases.iter().filter(|case| selection.takes(case)) {
        let tags: Vec<String> = case.tags.iter().map(ToString::to_string).collect();
        let needs: Vec<String> = case.needs.iter().map(ToString::to_string).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" needs {}", needs.join(",")) };
        println!("{:<28} {:?} [{}]{needs} {}", case.id, case.tier, tags.join(","), case.title);
    }
}

fn show(case: &CaseResult) {
    if case.verdict == Verdict::Skipped && case.reason.as_deref() == Some("not selected") {
        return;
    }
    println!("{}", report::line(case));
    for text in report::details(case) {
        println!("    {text}");
    }
}

/// Nothing that ran is never a pass; a cluster that failed is no verdict on what runs on it.
fn judge(result: &SuiteResult) -> Exit {
    let counts = result.counts();
    let failures = result.cases.iter().filter_map(|case| case.failure.as_ref());
    if failures.clone().any(|failure| !failure.environment) {
        Exit::Failed
    } else if failures.count() > 0 {
        Exit::Environment
    } else if counts.passed == 0 {
        Exit::Inconclusive
    } else {
        Exit::Passed
    }
}

fn implementation(cluster: &Place) -> Implementation {
    let own = matches!(cluster, Place::Embedded);
    let or_ask = |text: &str| if own { text.to_owned() } else { "to be filled in".to_owned() };
    Implementation {
        organization: or_ask("windtunnel"),
        project: or_ask("windtunnel"),
        url: or_ask("https://windtunnel.dev"),
        version: or_ask(env!("CARGO_PKG_VERSION")),
        contact: vec![or_ask("the repository's issues")],
    }
}
