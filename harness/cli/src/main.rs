//! The `windtunnel` binary: one subcommand a verb. Everything that decides or computes lives in the rooms below.

mod commands;
mod exit;
mod interrupt;
mod log;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use exit::Exit;

/// A wind tunnel for KServe: simulate what you are about to deploy, fly it for real, compare the two and judge both.
#[derive(Parser)]
#[command(name = "windtunnel", version, max_term_width = 110, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Simulate a scenario, fly it on the cluster, compare, judge and report.
    Run(commands::run::Run),
    /// Try other settings in simulation and name the cheapest that meet the objectives.
    Plan(commands::plan::Plan),
    /// Say why a decision fell so: of a recording, or of an HPA on metrics that you write down.
    Explain(commands::explain::Explain),
    /// Load-test an inference endpoint with closed-loop users.
    #[cfg(feature = "load")]
    Load(commands::load::Load),
    /// Start a local KServe on the embedded cluster.
    Up(commands::up::Up),
    /// End the local KServe and remove its state.
    Down(commands::down::Down),
    /// Say whether the local KServe runs, and where.
    Status(commands::status::Status),
    /// Check scenario files, conformance cases and manifests; nothing is started.
    Validate(commands::validate::Validate),
    /// Print the JSON Schema of scenario files or conformance cases, for editors.
    Schema(commands::schema::Schema),
    /// Run conformance cases against the embedded cluster or any other.
    Conform(Box<commands::conform::Conform>),
    /// Run decision vectors against the kernels.
    Vectors(commands::vectors::Vectors),
    /// Get ONNX Runtime where none is found.
    Setup(commands::setup::Setup),
    /// Entrypoints of the containers.
    #[command(subcommand)]
    Serve(commands::serve::Serve),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Passed.into() };
        }
    };
    match &arguments.verb {
        Verb::Serve(commands::serve::Serve::Controller(controller)) => {
            controller.begin_log();
        }
        _ => {
            install_panic_report();
            log::begin(log::Format::Text, None);
        }
    }

    let outcome = match arguments.verb {
        Verb::Run(run) => run.execute(),
        Verb::Plan(plan) => plan.execute(),
        Verb::Explain(explain) => explain.execute(),
        #[cfg(feature = "load")]
        Verb::Load(load) => load.execute(),
        Verb::Up(up) => up.execute(),
        Verb::Down(down) => down.execute(),
        Verb::Status(status) => status.execute(),
        Verb::Validate(validate) => validate.execute(),
        Verb::Schema(schema) => schema.execute(),
        Verb::Conform(conform) => conform.execute(),
        Verb::Vectors(vectors) => vectors.execute(),
        Verb::Setup(setup) => setup.execute(),
        Verb::Serve(serve) => serve.execute(),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit.into()
        }
    }
}

/// A panic is a defect of ours: it says so, and ends with the code for it whichever thread it was on.
fn install_panic_report() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        eprintln!(
            "windtunnel: internal error; please report it with the lines above and the command that led here"
        );
        std::process::exit(Exit::Internal.code());
    }));
}
