//! A language model with continuous batching and a KV cache of limited size.
//!
//! The engine works in iterations and admits requests between them, first come first served, while a slot and
//! room in the KV cache are free (G.-I. Yu et al., "Orca", OSDI 2022). An iteration is either the prefill of one
//! request, which ends with its first token, or a decode step, which gives every running request one token.
//! Prefills go first and the others stand still meanwhile, as in vLLM without chunked prefill; chunks would
//! spread that pause over several steps and take the same time in total. A step of n requests takes
//! `(1 + slowdown × (n - 1)) / decode rate`, a prefill `tokens / prefill rate`.
//!
//! A request holds one token of KV cache for each token of its prompt and answer. A head of line that does not
//! fit blocks those behind it. Under [`KvAdmission::Preempt`] it fits if afterwards every running request still
//! has room for one more token and a hundredth of the cache stays free; when a step finds no room for one more
//! token of each, the request that was admitted last is put out, goes back to the front of the line and has its
//! prompt and its tokens so far computed again (W. Kwon et al., "Efficient memory management for large language
//! model serving with PagedAttention", SOSP 2023, section 4.5; vLLM's only mode today).
//!
//! Between two admissions, ends or preemptions all steps are alike, so their boundaries are computed, not stepped
//! through: the cost is a few set operations a request, however long its answer is.

mod sequence;
mod settings;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::sequence::{Prefill, Running, Sequence};
pub use self::settings::{KvAdmission, LlmSettings};
use super::busy::Busy;
use super::impossible::Impossible;
use super::job::{Finished, Job, MOST_JOBS, Refusal, Started};
use crate::engine::Key;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Llm {
    settings: LlmSettings,
    waiting: VecDeque<Sequence>,
    prefill: Option<Prefill>,
    running: BTreeSet<Running>,
    /// Decode steps that were done until `anchor_ns`.
    steps: u64,
    /// A boundary between iterations: where the present row of equal steps began, or was counted up to.
    anchor_ns: u64,
    /// The boundary at which the head of the line is to be looked at although nobody ends there.
    look_ns: Option<u64>,
    /// Tokens that running requests and the prefill held at `anchor_ns`, or had reserved.
    kv_used: u64,
    /// Admissions so far.
    number: u64,
    /// Requests that run or are in prefill although their clients went away.
    abandoned: usize,
    busy: Busy,
}

impl Llm {
    pub(super) fn new(settings: LlmSettings) -> Result<Self, Impossible> {
        Ok(Self {
            settings: settings.checked()?,
            waiting: VecDeque::new(),
            prefill: None,
            running: BTreeSet::new(),
            steps: 0,
            anchor_ns: 0,
            look_ns: None,
            kv_used: 0,
            number: 0,
            abandoned: 0,
            busy: Busy::default(),
        })
    }

    pub(super) fn start(&mut self, now_ns: u64, job: &Job) -> Started {
        let sequence = Sequence::new(job);
        if sequence.total_tokens() > self.settings.kv_tokens {
            return Started::Refused(Refusal::TooLong);
        }
        if self.waiting.len() >= MOST_JOBS {
            return Started::Refused(Refusal::Full);
        }
        let was_first = self.waiting.is_empty();
        self.waiting.push_back(sequence);
        if self.is_idle() {
            self.decide(now_ns);
        } else if was_first {
            self.look_at_next_boundary(now_ns);
        }
        Started::Within
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        if let Some(prefill) = &self.prefill {
            return Some(prefill.end_ns);
        }
        let first = self.running.first()?;
        let to_end = first.end_step.saturating_sub(self.steps);
        let steps = to_end.min(self.steps_with_room());
        let boundary_ns = self.anchor_ns.saturating_add(steps.saturating_mul(self.step_ns()));
        Some(self.look_ns.map_or(boundary_ns, |look_ns| look_ns.min(boundary_ns)))
    }

    pub(super) fn advance(&mut self, now_ns: u64, done: &mut Vec<Finished>) {
        while let Some(boundary_ns) = self.next_ns().filter(|next_ns| *next_ns <= now_ns) {
            self.count_steps(boundary_ns);
            if let Some(prefill) = self.prefill.take() {
                self.end_prefill(prefill, boundary_ns, done);
            }
            while self.running.first().is_some_and(|first| first.end_step <= self.steps) {
                let Some(running) = self.running.pop_first() else { break };
                self.leave(&running.at(self.steps), boundary_ns, done);
            }
            self.decide(boundary_ns);
        }
    }

    pub(super) fn abandon(&mut self, now_ns: u64, key: Key) -> bool {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.key == key) {
            self.waiting.remove(place);
            if place == 0 {
                self.look_at_next_boundary(now_ns);
            }
            return true;
        }
        if let Some(prefill) = &mut self.prefill
            && prefill.sequence.key == key
            && !prefill.sequence.is_abandoned
        {
            prefill.sequence.is_abandoned = true;
            self.abandoned += 1;
            return true;
        }
        let is_it = |running: &&Running| running.sequence.key == key && !running.sequence.is_abandoned;
        let Some(mut gone) = self.running.iter().find(is_it).copied() else { return false };
        self.count_steps(now_ns);
        self.running.remove(&gone);
        // In the middle of a step it leaves at the step's end, in the middle of a prefill after that.
        let is_in_step = self.prefill.is_none() && now_ns > self.anchor_ns;
        gone.end_step = self.steps + u64::from(is_in_step);
        gone.sequence.is_abandoned = true;
        self.running.insert(gone);
        self.abandoned += 1;
        true
    }

    pub(super) fn drain(&mut self, now_ns: u64) -> Vec<Key> {
        let mut admitted: Vec<(u64, Sequence)> =
            self.running.iter().map(|running| (running.number, running.sequence)).collect();
        admitted.extend(self.prefill.iter().map(|prefill| (prefill.number, prefill.sequence)));
        admitted.sort_unstable();
        let admitted = admitted.into_iter().map(|(_, sequence)| sequence);
        let keys = admitted
            .chain(self.waiting.drain(..))
            .filter(|sequence| !sequence.is_abandoned)
            .map(|sequence| sequence.key)
            .collect();
        self.running.clear();
        (self.prefill, self.look_ns, self.kv_used, self.abandoned) = (None, None, 0, 0);
        self.busy.set(now_ns, 0.0);
        keys
    }

    pub(super) fn settings(&self) -> &LlmSettings {
        &self.settings
    }

    /// Prefills that begin from now on and steps have the rates of `other`; of the step under way the rest has. True
    /// when that is all in which they differ.
    pub(super) fn adopt_speed(&mut self, now_ns: u64, other: &LlmSettings) -> bool {
        let &LlmSettings { prefill_per_s, decode_per_s, slowdown, .. } = other;
        let settings = LlmSettings { prefill_per_s, decode_per_s, slowdown, ..self.settings };
        if settings != self.settings {
            self.count_steps(now_ns);
            let old_ns = self.step_ns();
            self.settings = settings;
            if self.prefill.is_none() && now_ns > self.anchor_ns {
                let done = (now_ns - self.anchor_ns) as f64 / old_ns as f64;
                // As if the step had been as fast from its beginning.
                let begun_ns = (done.min(1.0) * self.step_ns() as f64) as u64;
                self.anchor_ns = now_ns.saturating_sub(begun_ns);
            }
            if self.look_ns.take().is_some() {
                self.look_at_next_boundary(now_ns);
            }
        }
        self.settings == *other
    }

    /// Requests in the batch or in prefill.
    pub(super) fn running(&self) -> usize {
        self.running.len() + usize::from(self.prefill.is_some()) - self.abandoned
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.busy.area_ns(now_ns)
    }

    /// The share of the KV cache that is held or reserved at `now_ns`.
    pub(super) fn kv_share(&self, now_ns: u64) -> f64 {
        let grown = match self.settings.admission {
            KvAdmission::Preempt => self.steps_until(now_ns).saturating_mul(self.running.len() as u64),
            KvAdmission::Reserve => 0,
        };
        (self.kv_used + grown) as f64 / self.settings.kv_tokens as f64
    }

    fn is_idle(&self) -> bool {
        self.prefill.is_none() && self.running.is_empty()
    }

    fn step_ns(&self) -> u64 {
        self.settings.step_ns(self.running.len())
    }

    /// Steps for which every running request has room.
    fn steps_with_room(&self) -> u64 {
        match self.settings.admission {
            KvAdmission::Preempt => {
                (self.settings.kv_tokens.saturating_sub(self.kv_used)) / (self.running.len().max(1) as u64)
            }
            KvAdmission::Reserve => u64::MAX,
        }
    }

    /// Whole steps between the anchor and `now_ns`, not beyond the next end or preemption.
    fn steps_until(&self, now_ns: u64) -> u64 {
        let Some(first) = self.running.first().filter(|_| self.prefill.is_none()) else { return 0 };
        let whole = now_ns.saturating_sub(self.anchor_ns) / self.step_ns();
        whole.min(first.end_step.saturating_sub(self.steps)).min(self.steps_with_room())
    }

    /// Moves the anchor to the last boundary up to `now_ns`.
    fn count_steps(&mut self, now_ns: u64) {
        let steps = self.steps_until(now_ns);
        self.anchor_ns = self.anchor_ns.saturating_add(steps.saturating_mul(self.step_ns()));
        self.steps += steps;
        if self.settings.admission == KvAdmission::Preempt {
            self.kv_used += steps * self.running.len() as u64;
        }
    }

    /// The head of the line changed: it may be let in at the end of the present step. After a prefill, and after
    /// an end, it is looked at anyhow.
    fn look_at_next_boundary(&mut self, now_ns: u64) {
        let is_full = self.running.len() >= self.settings.slots as usize;
        if is_full || self.prefill.is_some() || self.waiting.is_empty() {
            return;
        }
        self.count_steps(now_ns);
        let rest = u64::from(now_ns > self.anchor_ns);
        self.look_ns = Some(self.anchor_ns.saturating_add(rest * self.step_ns()));
    }

    fn end_prefill(&mut self, prefill: Prefill, now_ns: u64, done: &mut Vec<Finished>) {
        let Prefill { number, mut sequence, .. } = prefill;
        sequence.done = sequence.done.saturating_add(1);
        sequence.first_token_ns = sequence.first_token_ns.or(Some(now_ns));
        if sequence.is_abandoned || sequence.steps() == 0 {
            self.leave(&sequence, now_ns, done);
        } else {
            let end_step = self.steps + sequence.steps();
            self.running.insert(Running { end_step, number, since_step: self.steps, sequence });
        }
    }

    fn leave(&mut self, sequence: &Sequence, now_ns: u64, done: &mut Vec<Finished>) {
        if sequence.is_abandoned {
            self.abandoned -= 1;
        } else {
            done.push(sequence.finished(now_ns));
        }
        self.free(sequence);
    }

    fn free(&mut self, sequence: &Sequence) {
        let held = match self.settings.admission {
            KvAdmission::Preempt => sequence.present_tokens(),
            KvAdmission::Reserve => sequence.total_tokens(),
        };
        self.kv_used = self.kv_used.saturating_sub(held);
    }

    /// What the engine does from the boundary `now_ns` on.
    fn decide(&mut self, now_ns: u64) {
        self.look_ns = None;
        self.anchor_ns = now_ns;
        if self.running.is_empty() {
            self.steps = 0;
        }
        if !self.admit(now_ns) {
            self.preempt();
        }
        self.busy.set(now_ns, if self.is_idle() { 0.0 } else { 1.0 });
    }

    /// Begins the prefill of the head of the line if it fits.
    fn admit(&mut self, now_ns: u64) -> bool {
        let Some(head) = self.waiting.front() else { return false };
        let running = self.running.len() as u64;
        let (held, margin) = match self.settings.admission {
            KvAdmission::Preempt => (head.present_tokens() + 1, running + 1 + self.settings.watermark()),
            KvAdmission::Reserve => (head.total_tokens(), 0),
        };
        // Alone it always fits: that was checked when it came.
        let is_room = running == 0 || self.kv_used + held + margin <= self.settings.kv_tokens;
        if !is_room || running >= u64::from(self.settings.slots) {
            return false;
        }
        let Some(mut sequence) = self.waiting.pop_front() else { return false };
        let prefill_ns = self.settings.prefill_ns(sequence.present_tokens());
        let end_ns = now_ns.saturating_add(prefill_ns).saturating_add(std::mem::take(&mut sequence.extra_ns));
        sequence.begin_ns = sequence.begin_ns.or(Some(now_ns));
        self.prefill = Some(Prefill { end_ns, number: self.number, sequence });
        self.number += 1;
        self.kv_used += held;
        true
    }

    /// Puts those out that were admitted last until every other has room for one more token.
    fn preempt(&mut self) {
        while self.running.len() > 1 && self.steps_with_room() == 0 {
            let Some(last) = self.running.iter().max_by_key(|running| running.number).copied() else { break };
            self.running.remove(&last);
            let mut sequence = last.at(self.steps);
            self.free(&sequence);
            sequence.preemptions = sequence.preemptions.saturating_add(1);
            self.waiting.push_front(sequence);
        }
    }
}

#[cfg(test)]
mod tests;
