//! `windtunnel run`: simulate, fly, compare, judge and report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use windtunnel_api::manifest::Manifest;
use windtunnel_record::compare::{Comparison, compare};
use windtunnel_record::futures::{self, Futures};
use windtunnel_record::judge::{Verdict, judge};
use windtunnel_record::replications::Interval;
use windtunnel_record::result::RunResult;
use windtunnel_record::summary::Summary;
use windtunnel_record::{Digest, Recording, RecordingError};
use windtunnel_replay::{EmbeddedStack, FlightError, Progress, StackOptions, fly};
use windtunnel_report as report;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Duration, Scenario};
use windtunnel_sim::study::{Setting, Source};

use super::setup::ensure_runtime;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::Line;

mod reporter;
mod simulation;

use reporter::Reporter;
use simulation::Simulated;

/// Simulates scenarios, flies them on the cluster, compares, judges and reports.
#[derive(Args)]
pub(crate) struct Run {
    /// Scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// What to run.
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    mode: Mode,
    /// Where to fly: `embedded` starts a cluster of its own in this process.
    #[arg(long, value_name = "CLUSTER", default_value = "embedded", value_parser = ["embedded"])]
    cluster: String,
    /// Seed of every random number; the scenario's own by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for reports.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// What to print or write besides the report: list, dot, json, junit, html, markdown or github, each with an optional
    /// =PATH; repeatable.
    #[arg(long = "reporter", value_name = "NAME[=PATH]")]
    reporters: Vec<Reporter>,
    /// Print every decision of the control plane with its inputs and the limit that won.
    #[arg(long)]
    explain: bool,
    /// A field with another value: PATH leads into the scenario (spec.environment.network.gateway) or into an object of its
    /// manifests (InferenceService/digits:spec.predictor.maxReplicas); repeatable.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
    /// What if --set had been so from this instant on? Simulates both futures with the same random numbers and lays them side by
    /// side.
    #[arg(long, value_name = "TIME", requires = "settings")]
    fork_at: Option<Duration>,
    /// Simulate with so many seeds and give every figure its confidence interval.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    replications: Option<u64>,
}

/// Which of the two runs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Simulate only.
    Sim,
    /// Fly only.
    Live,
    /// Simulate, fly and compare.
    Both,
}

/// A scenario, read.
struct Loaded {
    source: Source,
    scenario: Scenario,
    manifests: Vec<Manifest>,
}

/// What one scenario's runs have recorded.
#[derive(Default)]
struct Recordings {
    /// The simulation of the whole load; it is judged.
    whole: Option<Recording>,
    /// The same where it is too long to keep every request.
    counted: Option<Digest>,
    /// The other future of the whole load.
    changed: Option<Recording>,
    /// Both futures, compared.
    futures: Option<Futures>,
    /// Figures over replications.
    intervals: BTreeMap<String, Interval>,
    /// The simulation of what is flown, where that is a slice; else the whole.
    slice: Option<Recording>,
    live: Option<Recording>,
    /// Wall time in seconds by stage.
    wall_s: BTreeMap<String, f64>,
}

impl Recordings {
    /// The simulation that the flight is compared with.
    fn simulated(&self) -> Option<&Recording> {
        self.slice.as_ref().or(self.whole.as_ref())
    }
}

impl Run {
    pub(crate) fn execute(self) -> Outcome {
        if self.mode != Mode::Sim && (self.fork_at.is_some() || self.replications.is_some()) {
            let error = anyhow!("--fork-at and --replications are about simulations; add --mode sim");
            return Err(Failure { exit: Exit::Usage, error });
        }
        let Some(loaded) = self.load() else { return Ok(Exit::Usage) };
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        let line = Line::new();
        let outcome = runtime.block_on(self.run_all(&loaded, &line));
        line.clear();
        runtime.shutdown_background();
        outcome
    }

    /// Every scenario with its manifests; `None` when any file of any of them has a fault, each of which is printed.
    fn load(&self) -> Option<Vec<Loaded>> {
        let (mut loaded, mut faults) = (Vec::new(), 0);
        // The settings of a fork are those of its other future only.
        let settings = if self.fork_at.is_some() { Vec::new() } else { self.settings.clone() };
        for path in &self.scenarios {
            let read = Source::open(path).and_then(|source| {
                let source = source.with_seed(self.seed).with_settings(settings.clone());
                let (scenario, manifests) = source.read_with(&[])?;
                Ok(Loaded { source, scenario, manifests })
            });
            match read {
                Ok(read) => loaded.push(read),
                Err(fault) => {
                    eprintln!("{fault}");
                    faults += fault.to_string().lines().count();
                }
            }
        }
        if faults > 0 {
            eprintln!("{faults} fault{}; nothing was started", if faults == 1 { "" } else { "s" });
        }
        (faults == 0).then_some(loaded)
    }

    async fn run_all(&self, loaded: &[Loaded], line: &Line) -> Outcome {
        let interrupt = Interrupt::listen().or_environment()?;
        let mut exit = None;
        let mut reported = Vec::new();
        for one in loaded {
            if let Some(reason) = one.scenario.skip_reason() {
                line.keep(&reason);
                continue;
            }
            let one = self.run_one(one, &interrupt, line, &mut reported).await?;
            exit = exit.max(Some(one));
            if interrupt.came() {
                return Ok(interrupt.exit());
            }
        }
        line.clear();
        if reported.len() > 1 {
            let entries: Vec<_> =
                reported.iter().map(|(result, page)| report::IndexEntry { result, page }).collect();
            println!("all reports: {}", report::write_index(&self.out, &entries).or_environment()?.display());
        }
        // Nothing measured is never a pass.
        Ok(exit.unwrap_or_else(|| {
            eprintln!("no scenario ran");
            Exit::Inconclusive
        }))
    }

    async fn run_one(
        &self,
        loaded: &Loaded,
        interrupt: &Interrupt,
        line: &Line,
        reported: &mut Vec<(RunResult, PathBuf)>,
    ) -> Outcome {
        let Loaded { scenario, manifests, .. } = loaded;
        let folder = self.out.join(&scenario.name);
        std::fs::create_dir_all(&folder).or_environment()?;
        let mut recordings = Recordings::default();
        let began = Instant::now();
        if self.mode != Mode::Live {
            line.say(format!("{}: simulating", scenario.name));
            self.simulate(loaded, &mut recordings, interrupt).await?;
        }
        recordings.wall_s.insert("simulate".to_owned(), began.elapsed().as_secs_f64());
        if self.mode != Mode::Sim {
            let began = Instant::now();
            match self.fly(scenario, manifests, &folder, interrupt, line).await {
                // Before the load: the simulation is still reported.
                Err(Failure { exit: Exit::Interrupted | Exit::Terminated, .. })
                    if recordings.whole.is_some() || recordings.counted.is_some() => {}
                other => recordings.live = Some(other?),
            }
            recordings.wall_s.insert("fly".to_owned(), began.elapsed().as_secs_f64());
        }
        let (result, page) = self.report(scenario, &folder, &recordings, interrupt, line)?;
        let exit = match result.verdict {
            _ if interrupt.came() => interrupt.exit(),
            Verdict::Pass => Exit::Passed,
            Verdict::Fail => Exit::Failed,
            Verdict::Inconclusive | Verdict::NotJudged => Exit::Inconclusive,
        };
        reported.push((result, page));
        Ok(exit)
    }

    async fn fly(
        &self,
        scenario: &Scenario,
        manifests: &[Manifest],
        folder: &Path,
        interrupt: &Interrupt,
        line: &Line,
    ) -> Result<Recording, Failure> {
        let said = line.clone();
        let found = tokio::task::spawn_blocking(move || ensure_runtime(|text| said.keep(text)))
            .await
            .or_environment()?;
        if interrupt.came() {
            return Err(interrupted(interrupt));
        }
        let library = found?;
        line.say(format!("{}: starting the embedded cluster", scenario.name));
        let executable = std::env::current_exe().or_environment()?;
        let directory = std::path::absolute(folder.join(".flight")).or_environment()?;
        let mut options = StackOptions::new(directory, executable);
        options.runtime = Some(library);
        options.storage.clone_from(&scenario.storage);
        options.knative.clone_from(&scenario.environment.knative);
        let stack = EmbeddedStack::start(options).await.or_environment()?;
        let flight = if scenario.flight.is_some() { Flight::Slice } else { Flight::Whole };
        let flown = fly(&stack, scenario, manifests, flight, interrupt.token(), &|progress| {
            line.say(format!("{}: {}", scenario.name, describe(progress)));
        })
        .await;
        line.say(format!("{}: ending the cluster", scenario.name));
        stack.stop().await;
        flown.map_err(|error| Failure {
            exit: match error {
                FlightError::Interrupted => interrupt.exit(),
                FlightError::Refused { .. } | FlightError::UnknownKind { .. } | FlightError::Load(_) => {
                    Exit::Usage
                }
                _ => Exit::Environment,
            },
            error: error.into(),
        })
    }

    fn report(
        &self,
        scenario: &Scenario,
        folder: &Path,
        recordings: &Recordings,
        interrupt: &Interrupt,
        line: &Line,
    ) -> Result<(RunResult, PathBuf), Failure> {
        line.say(format!("{}: judging and reporting", scenario.name));
        let kept = [&recordings.whole, &recordings.live];
        let gates: Vec<_> = recordings
            .counted
            .iter()
            .flat_map(Digest::judge)
            .chain(kept.into_iter().flatten().flat_map(|recording| judge(scenario, recording)))
            .collect();
        let comparison: Option<Comparison> = recordings
            .simulated()
            .zip(recordings.live.as_ref())
            .map(|(simulated, live)| compare(simulated, live));
        let mut result =
            RunResult::new(&scenario.name, scenario.seed, gates, comparison, self.reproduce(scenario));
        recordings.counted.iter().for_each(|digest| result.describe(Summary::of(digest)));
        kept.into_iter().flatten().for_each(|recording| result.describe(Summary::of_recording(recording)));
        result.intervals.clone_from(&recordings.intervals);
        result.futures.clone_from(&recordings.futures);
        if interrupt.came() {
            result.doubt("interrupted: the flight is only as long as it got".to_owned());
            result.exit_code = interrupt.exit().code() as u8;
        }
        result.wall.clone_from(&recordings.wall_s);
        result.versions.insert("windtunnel".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let input = report::Input {
            scenario,
            result: &result,
            simulated: recordings.simulated(),
            live: recordings.live.as_ref(),
            whole: recordings.slice.as_ref().and(recordings.whole.as_ref()),
            counted: recordings.counted.as_ref(),
        };
        let written = report::write(folder, &input).or_environment()?;
        write_recordings(folder, recordings).or_environment()?;
        if self.explain {
            for recording in [&recordings.whole, &recordings.live].into_iter().flatten() {
                for decision in &recording.decisions {
                    println!(
                        "{:>9.3}s {:?} {}",
                        decision.t_ns as f64 / 1e9,
                        recording.meta.source,
                        decision.text
                    );
                }
            }
        }
        line.say("");
        reporter::print(&self.reporters, &result, &input, &written).or_environment()?;
        Ok((result, written.html))
    }

    /// The command that gives the same result again.
    fn reproduce(&self, scenario: &Scenario) -> String {
        let mode = match self.mode {
            Mode::Sim => " --mode sim",
            Mode::Live => " --mode live",
            Mode::Both => "",
        };
        let mut command =
            format!("windtunnel run {}{mode} --seed {}", scenario.path.display(), scenario.seed);
        if let Some(at) = self.fork_at {
            command.push_str(&format!(" --fork-at {at}"));
        }
        for setting in &self.settings {
            command.push_str(&format!(" --set {}", quoted(&setting.to_string())));
        }
        if let Some(replications) = self.replications {
            command.push_str(&format!(" --replications {replications}"));
        }
        command
    }

    /// Simulates what was asked for, on a thread of its own, so that Ctrl-C is heard meanwhile.
    async fn simulate(
        &self,
        loaded: &Loaded,
        recordings: &mut Recordings,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let source = loaded.source.clone();
        let fork = self.fork_at.map(|at| (at.as_ns(), self.settings.clone()));
        let replications = self.replications;
        let slice = self.mode == Mode::Both && loaded.scenario.flight.is_some();
        let work = tokio::task::spawn_blocking(move || {
            Ok::<_, windtunnel_sim::SimError>((
                match fork {
                    Some((at_ns, settings)) => Simulated::fork(&source, at_ns, &settings)?,
                    None => Simulated::flight(&source, Flight::Whole)?,
                },
                slice.then(|| Simulated::flight(&source, Flight::Slice)).transpose()?,
                replications.map(|count| simulation::intervals(&source, count)).transpose()?,
            ))
        });
        let (whole, slice, intervals) = tokio::select! {
            done = work => done.or_environment()?.or_usage()?,
            () = interrupt.token().cancelled() => return Err(interrupted(interrupt)),
        };
        match whole {
            Simulated::Recorded(recording) => recordings.whole = Some(*recording),
            Simulated::Counted(digest) => recordings.counted = Some(*digest),
            Simulated::Forked(fork) => {
                let futures =
                    futures::compare_recordings(&fork.original, &fork.changed, fork.at_ns, &fork.change);
                recordings.futures = Some(futures);
                recordings.whole = Some(fork.original);
                recordings.changed = Some(fork.changed);
            }
        }
        if let Some(Simulated::Recorded(recording)) = slice {
            recordings.slice = Some(*recording);
        }
        recordings.intervals = intervals.unwrap_or_default();
        Ok(())
    }
}

/// A word for a POSIX shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The failure of a run that was interrupted before there was anything to report.
fn interrupted(interrupt: &Interrupt) -> Failure {
    Failure { exit: interrupt.exit(), error: anyhow!("interrupted before there was anything to report") }
}

fn write_recordings(folder: &Path, recordings: &Recordings) -> Result<(), RecordingError> {
    let named = [
        ("simulated.jsonl", &recordings.whole),
        ("simulated-fork.jsonl", &recordings.changed),
        ("simulated-slice.jsonl", &recordings.slice),
        ("live.jsonl", &recordings.live),
    ];
    for (name, recording) in named {
        let path = folder.join(name);
        match recording {
            Some(recording) => {
                recording.write_jsonl(std::io::BufWriter::new(std::fs::File::create(path)?))?
            }
            None if path.exists() => std::fs::remove_file(path)?, // an earlier run's recording would mislead
            None => {}
        }
    }
    Ok(())
}

fn describe(progress: Progress<'_>) -> String {
    match progress {
        Progress::Preparing(what) => what.to_owned(),
        Progress::Ready(took) => format!("the service is Ready after {:.2} s", took.as_secs_f64()),
        Progress::Flying { elapsed, of, answered, failed } => {
            format!("flying {}/{} s, {answered} answers, {failed} failed", elapsed.as_secs(), of.as_secs())
        }
    }
}
