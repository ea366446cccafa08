//! `windtunnel load`: a load test of any inference endpoint, with closed-loop users.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use windtunnel_load::{Attack, Increase, LoadResult, attack};
use windtunnel_record::judge::Verdict;
use windtunnel_report as report;
use windtunnel_scenario::Duration;
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::requests::RequestSet;

use super::status::Output;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::Line;

/// Load-tests an inference endpoint with users who each wait for their answer before they send again (closed loop).
///
/// Exits with 0 when every rule holds, 1 when one does not or no request succeeded, 3 when the load does not allow to say
/// or there is no rule, 4 when nobody listens at the address.
#[derive(Args)]
pub(crate) struct Load {
    /// The endpoint, such as http://localhost:8080/v1/models/NAME:predict or …/v2/models/NAME/infer.
    #[arg(value_name = "URL")]
    url: String,
    /// What to send: a line {"body": {…}, "expect": {"VERSION": {…}}} a request, in turn; `expect` is optional.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// Users at once.
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    users: usize,
    /// How long all users send, in whole seconds, such as 30s or 5m.
    #[arg(short = 't', long, value_name = "TIME", default_value = "30s")]
    run_time: Duration,
    /// Users that start each second, such as 5 or 0.5; all within a second by default.
    #[arg(short = 'r', long, value_name = "RATE", conflicts_with = "increase_time")]
    increase_rate: Option<f64>,
    /// Start the users evenly over this time, in whole seconds.
    #[arg(short = 's', long, value_name = "TIME")]
    increase_time: Option<Duration>,
    /// What must hold, such as 'p95<500ms', 'error-rate<1%', 'rps>=200' or 'mismatches=0'; repeatable.
    #[arg(long = "threshold", value_name = "RULE", value_parser = rule)]
    thresholds: Vec<Objective>,
    /// The model version that answers: compare answers with its references in the requests.
    #[arg(long, value_name = "VERSION")]
    expect: Option<String>,
    /// A header of every request, such as 'Host: digits.default.example.com'; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How long a user waits for an answer.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Duration,
    /// `json` for scripts.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Load {
    pub(crate) fn execute(self) -> Outcome {
        let reproduce = self.reproduce();
        let requests = match RequestSet::load(&self.requests) {
            Ok(requests) => requests,
            Err(faults) => {
                for fault in faults.iter() {
                    eprintln!("{fault}");
                }
                return Ok(Exit::Usage);
            }
        };
        let output = self.output;
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        runtime.block_on(async {
            let interrupt = Interrupt::listen().or_environment()?;
            keep_ctrl_c(&interrupt)?;
            let load = Attack { cancel: interrupt.token().clone(), ..self.attack(requests) };
            let line = Line::new();
            line.say(format!("{} users, {} s: {}", load.users, load.run_time.as_secs(), load.url));
            let result = attack(load).await.map_err(|error| Failure {
                exit: if error.is_usage() { Exit::Usage } else { Exit::Environment },
                error: error.into(),
            });
            drop(line);
            let mut result = result?;
            result.outcome.reproduce = reproduce;
            result.outcome.versions.insert("windtunnel".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
            let exit = if interrupt.came() { interrupt.exit() } else { exit_of(result.outcome.verdict) };
            result.outcome.exit_code = exit.code() as u8;
            print(&result, output)?;
            Ok(exit)
        })
    }

    fn attack(self, requests: RequestSet) -> Attack {
        let increase = match (self.increase_rate, self.increase_time) {
            (Some(rate), _) => Increase::Rate(rate),
            (None, Some(time)) => Increase::Over(time.as_std()),
            (None, None) => Increase::AtOnce,
        };
        Attack {
            headers: self.headers,
            users: self.users,
            increase,
            run_time: self.run_time.as_std(),
            timeout: self.timeout.as_std(),
            rules: self.thresholds,
            expect: self.expect,
            ..Attack::new(self.url, requests)
        }
    }

    /// The command that does the same again.
    fn reproduce(&self) -> String {
        let mut words = vec!["windtunnel".to_owned()];
        words.extend(std::env::args().skip(1).map(|word| quoted(&word)));
        words.join(" ")
    }
}

/// Ctrl-C as in every other command. Goose would put in place of our handler one of its own, which ends with 1 at the
/// second Ctrl-C, unless there is one of the same library already.
fn keep_ctrl_c(interrupt: &Interrupt) -> Result<(), Failure> {
    let token = interrupt.token().clone();
    ctrlc::set_handler(move || {
        if token.is_cancelled() {
            std::process::exit(Exit::Interrupted.code());
        }
        eprintln!("windtunnel: interrupted; ending the load (again to end at once)");
        token.cancel();
    })
    .context("Ctrl-C can't be listened to")
    .or_environment()
}

fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Pass => Exit::Passed,
        Verdict::Fail => Exit::Failed,
        Verdict::Inconclusive | Verdict::NotJudged => Exit::Inconclusive,
    }
}

fn print(result: &LoadResult, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(result).or_environment()?),
        Output::Text => {
            let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            println!("{result}");
            print!("{}", report::table(&result.outcome, color));
            println!("next: {}", result.outcome.reproduce);
        }
    }
    Ok(())
}

fn rule(text: &str) -> Result<Objective, String> {
    Objective::parse(text).map_err(|error| format!("{error}; {}", error.hint))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("expected NAME: VALUE, for example Host: digits.default.example.com")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A word as a shell takes it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
