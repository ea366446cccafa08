//! `windtunnel down`: ends the local KServe and removes its state.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::commands::status::{State, alive};
use crate::exit::{Exit, OrExit, Outcome};

/// Longest orderly end; pods get their grace period in it.
const END_DEADLINE: Duration = Duration::from_secs(40);

/// Ends the local KServe and removes its state.
#[derive(Args)]
pub(crate) struct Down {}

impl Down {
    #[expect(clippy::unused_self, reason = "every verb has the same shape")]
    pub(crate) fn execute(self) -> Outcome {
        let state = State::here().or_environment()?;
        let Some(running) = state.running() else {
            state.remove().or_environment()?;
            println!("nothing runs here");
            return Ok(Exit::Passed);
        };
        let pid = i32::try_from(running.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| anyhow!("bad process number"))
            .or_environment()?;
        kill_process(pid, Signal::TERM).or_environment()?;
        let deadline = Instant::now() + END_DEADLINE;
        while alive(running.pid) {
            if Instant::now() > deadline {
                kill_process(pid, Signal::KILL).or_environment()?; // its pods see their pipe close and end too
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        state.remove().or_environment()?;
        println!("ended process {} and removed {}", running.pid, state.folder().display());
        Ok(Exit::Passed)
    }
}
