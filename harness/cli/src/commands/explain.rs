//! `windtunnel explain`: why a decision fell so.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use windtunnel_api::manifest;
use windtunnel_kernel::autoscale::hpa;
use windtunnel_record::Recording;
use windtunnel_record::recording::Decision;
use windtunnel_scenario::Duration;

use crate::exit::{Exit, Failure, OrExit, Outcome};

/// Explains decisions: those of a recording, or the one that a HorizontalPodAutoscaler would take on metrics that you write down.
#[derive(Args)]
pub(crate) struct Explain {
    /// `hpa` for a dry run of a HorizontalPodAutoscaler, or a recording (reports/NAME/simulated.jsonl or live.jsonl).
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// With `hpa`: a HorizontalPodAutoscaler (autoscaling/v2), as a file.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// With `hpa`: what it would see: replicas, pods with their usage, object and external values.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// With a recording: decisions from this instant on.
    #[arg(long, value_name = "TIME")]
    from: Option<Duration>,
    /// With a recording: decisions before this instant.
    #[arg(long, value_name = "TIME")]
    to: Option<Duration>,
    /// With a recording: decisions of one actor, such as kpa, hpa or keda.
    #[arg(long)]
    actor: Option<String>,
    /// With a recording: decisions about one revision or deployment.
    #[arg(long = "about", value_name = "NAME")]
    about: Option<String>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// The explanation as data.
    Json,
}

impl Explain {
    pub(crate) fn execute(self) -> Outcome {
        if self.target == Path::new("hpa") { self.hpa() } else { self.recording() }
    }

    fn hpa(&self) -> Outcome {
        let (Some(manifest), Some(metrics)) = (&self.manifest, &self.metrics) else {
            return Err(usage("a dry run needs --manifest hpa.yaml and --metrics metrics.yaml"));
        };
        let (spec, status) = read_hpa(manifest)?;
        let text = read(metrics)?;
        let seen: hpa::MetricsFile =
            serde_saphyr::from_str(&text).with_context(|| metrics.display().to_string()).or_usage()?;
        let run = hpa::dry_run(&spec, status.as_ref(), &hpa::Options::default(), &seen)
            .with_context(|| format!("{} with {}", manifest.display(), metrics.display()))
            .or_usage()?;
        match self.output {
            Output::Text => println!("{run}"),
            Output::Json => println!("{}", serde_json::to_string_pretty(&run).or_environment()?),
        }
        Ok(Exit::Passed)
    }

    fn recording(&self) -> Outcome {
        if self.manifest.is_some() || self.metrics.is_some() {
            return Err(usage("--manifest and --metrics belong to `windtunnel explain hpa`"));
        }
        let path = &self.target;
        let file = std::fs::File::open(path)
            .with_context(|| {
                format!(
                    "{}: name `hpa`, or a recording that `windtunnel run` wrote, such as \
                     reports/quickstart/simulated.jsonl",
                    path.display()
                )
            })
            .or_usage()?;
        let recording = Recording::read_jsonl(BufReader::new(file))
            .with_context(|| path.display().to_string())
            .or_usage()?;
        let chosen: Vec<&Decision> =
            recording.decisions.iter().filter(|decision| self.is_asked(decision)).collect();
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&chosen).or_environment()?),
            Output::Text => {
                for decision in &chosen {
                    println!(
                        "{:>10.3}s {:<5} {} {} -> {}: {}",
                        decision.t_ns as f64 / 1e9,
                        decision.actor,
                        decision.target,
                        decision.from,
                        decision.to,
                        decision.text
                    );
                }
                println!(
                    "{} of {} decisions; --output json has every input and intermediate value",
                    chosen.len(),
                    recording.decisions.len()
                );
            }
        }
        Ok(if chosen.is_empty() { Exit::Inconclusive } else { Exit::Passed })
    }

    fn is_asked(&self, decision: &Decision) -> bool {
        self.from.is_none_or(|from| decision.t_ns >= from.as_ns())
            && self.to.is_none_or(|to| decision.t_ns < to.as_ns())
            && self.actor.as_ref().is_none_or(|actor| *actor == decision.actor)
            && self.about.as_ref().is_none_or(|about| *about == decision.target)
    }
}

/// The specification, and the status where there is one, of the HorizontalPodAutoscaler in a file.
fn read_hpa(path: &Path) -> Result<(hpa::HpaSpec, Option<hpa::HpaStatus>), Failure> {
    let text = read(path)?;
    let name = path.display().to_string();
    let manifests = manifest::parse(&text, &name)
        .map_err(|faults| anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        .or_usage()?;
    let found: Vec<_> = manifests.iter().filter(|object| object.kind == "HorizontalPodAutoscaler").collect();
    let [object] = found.as_slice() else {
        return Err(usage(&format!(
            "{name}: holds {} HorizontalPodAutoscalers; a dry run takes a file with one",
            found.len()
        )));
    };
    if object.api_version != "autoscaling/v2" {
        return Err(usage(&format!(
            "{name}:{}: apiVersion {} is not supported; write it as autoscaling/v2 (kubectl get hpa -o yaml does)",
            object.line, object.api_version
        )));
    }
    let part = |key: &str| object.value.get(key).cloned().unwrap_or_default();
    let spec = serde_json::from_value(part("spec"))
        .with_context(|| format!("{name}:{}: spec of HorizontalPodAutoscaler {}", object.line, object.name))
        .or_usage()?;
    let status = match part("status") {
        serde_json::Value::Null => None,
        status => Some(
            serde_json::from_value(status)
                .with_context(|| {
                    format!("{name}:{}: status of HorizontalPodAutoscaler {}", object.line, object.name)
                })
                .or_usage()?,
        ),
    };
    Ok((spec, status))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display())).or_usage()
}

fn usage(message: &str) -> Failure {
    Failure { exit: Exit::Usage, error: anyhow!(message.to_owned()) }
}
