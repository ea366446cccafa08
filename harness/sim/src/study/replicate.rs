//! Replications: the same plan with other seeds.

use std::num::NonZeroUsize;

use windtunnel_record::judge::{Gate, Verdict, overall};
use windtunnel_record::replications::{Figures, Stop, Stopping};
use windtunnel_record::summary::Summary;
use windtunnel_record::{Digest, Meta, Source};

use super::jobs;
use crate::error::SimError;
use crate::plan::Plan;
use crate::simulate::simulate;

/// What one simulation of a plan came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Replication {
    /// Its seed.
    pub seed: u64,
    /// The verdicts of the plan's objectives.
    pub gates: Vec<Gate>,
    /// Its figures.
    pub summary: Summary,
}

impl Replication {
    /// Simulates `plan` with `seed`, in memory that does not grow with the number of requests.
    pub(super) fn of(plan: &Plan, seed: u64) -> Result<Self, SimError> {
        let mut meta = Meta::new(&plan.scenario.name, Source::Simulated, seed, plan.duration_ns);
        meta.flight = plan.flight;
        let mut digest = Digest::judging(meta, &plan.scenario);
        simulate(plan, seed, &mut digest)?;
        Ok(Self { seed, gates: digest.judge(), summary: Summary::of(&digest) })
    }

    /// The verdict over all its gates.
    pub fn verdict(&self) -> Verdict {
        overall(&self.gates)
    }

    /// Its figures by name.
    pub fn figures(&self) -> Figures {
        self.summary.figures()
    }
}

/// The seed of the n-th replication, from 0, of a study with `seed`: the first one is the seed itself, so that a
/// single replication is the run that everybody knows.
pub fn seed_of(seed: u64, replication: usize) -> u64 {
    // The step is odd, so that no two replications of one study share a seed.
    seed.wrapping_add((replication as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Simulates a plan with as many seeds as `stopping` wants for the figures named in `about` (with none, as many as it
/// wants in any case), on all cores unless `threads` says otherwise. The result is the same on any number of threads.
///
/// # Errors
/// The first simulation that fails.
pub fn replicate(
    plan: &Plan,
    seed: u64,
    stopping: &Stopping,
    about: &[&str],
    threads: Option<NonZeroUsize>,
) -> Result<Vec<Replication>, SimError> {
    let threads = threads.unwrap_or_else(jobs::all_cores);
    let mut done: Vec<Replication> = Vec::new();
    let mut wanted = usize::try_from(stopping.least.max(1)).unwrap_or(usize::MAX);
    loop {
        let from = done.len();
        let more = jobs::in_order(wanted, threads, |job| Replication::of(plan, seed_of(seed, from + job)));
        done.extend(more.into_iter().collect::<Result<Vec<_>, _>>()?);
        if about.is_empty() || done.len() as u64 >= stopping.most {
            return Ok(done);
        }
        match stopping.decide(&samples(&done, about).iter().map(Vec::as_slice).collect::<Vec<_>>()) {
            Stop::Continue(count) => wanted = usize::try_from(count.max(1)).unwrap_or(usize::MAX),
            Stop::Narrow | Stop::Exhausted => return Ok(done),
        }
    }
}

/// The values of some figures, one list a figure with a value a replication; one that was not measured is NaN.
pub(super) fn samples(replications: &[Replication], about: &[&str]) -> Vec<Vec<f64>> {
    let figures: Vec<Figures> = replications.iter().map(Replication::figures).collect();
    about
        .iter()
        .map(|name| figures.iter().map(|one| one.get(*name).copied().unwrap_or(f64::NAN)).collect())
        .collect()
}
