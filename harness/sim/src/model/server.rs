//! The model server in a pod: what it computes for a request and when it is through.
//!
//! Adapter of [`crate::server`]: it says when a server is to be called again, warms it up, counts its memory and
//! closes what it is through with.

use serde::{Deserialize, Serialize};
use windtunnel_record::Recorder;
use windtunnel_scenario::load::Work;

use super::clients::{Failure, Request, Stage};
use super::{Event as Any, World};
use crate::engine::{Key, Schedule};
use crate::plan::ModelProfile;
use crate::server::{self, Finished, Fit, Job, Memory, Refusal, Started, WarmUp};

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A pod's server is to be called, if this is still the latest of its turns.
    Turn(Key, u32),
    /// A request that its pod has taken fails there at once.
    Fails(Key, Failure),
    /// A pod has no memory for a request that it has taken.
    OutOfMemory(Key),
}

/// The server of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Server {
    engine: server::Server,
    /// When it is to be called, and the number of that turn: an event of another one is void.
    due_ns: Option<u64>,
    turn: u32,
    /// What is not for every server.
    care: Option<Box<Care>>,
    /// A what-if has other settings of which it was said that this container keeps its own.
    keeps_settings: bool,
    /// Up to when its utilisation was written down, and how long it had been busy then.
    sampled_ns: u64,
    sampled_busy_ns: f64,
}

/// Warm-up and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Care {
    warm_up: Option<WarmUp>,
    memory: Option<Memory>,
    gpu_memory: Option<Memory>,
}

/// What becomes of a request that a server gets.
enum Begun {
    Ends(u64),
    Within,
    Fails(Failure),
    Kills,
}

impl Server {
    /// The server of a fresh container.
    pub(super) fn new(profile: &ModelProfile) -> Self {
        let care = Care { warm_up: profile.warm_up, memory: profile.memory, gpu_memory: profile.gpu_memory };
        let is_needed = care.warm_up.is_some() || care.memory.is_some() || care.gpu_memory.is_some();
        Self {
            engine: profile.server.clone(),
            due_ns: None,
            turn: 0,
            care: is_needed.then(|| Box::new(care)),
            keeps_settings: false,
            sampled_ns: 0,
            sampled_busy_ns: 0.0,
        }
    }

    /// Why the model cannot even be loaded, if it cannot.
    pub(super) fn unloadable(&self) -> Option<&'static str> {
        let care = self.care.as_deref()?;
        let fits = |memory: &Option<Memory>| memory.as_ref().is_none_or(Memory::is_loadable);
        if !fits(&care.memory) {
            return Some("OOMKilled while it loaded the model");
        }
        (!fits(&care.gpu_memory)).then_some("out of GPU memory while it loaded the model")
    }

    /// Its pod is ready from now on.
    pub(super) fn open(&mut self, now_ns: u64) {
        self.sampled_ns = now_ns;
    }

    /// A what-if has other settings: what is only speed holds from now on. True when others differ, the first time.
    pub(super) fn adopt_speed(&mut self, now_ns: u64, profile: &ModelProfile) -> bool {
        let is_same = self.engine.adopt_speed(now_ns, &profile.server);
        !is_same && !std::mem::replace(&mut self.keeps_settings, true)
    }

    /// It is called no more: its machine does not answer.
    pub(super) fn halt(&mut self) {
        self.due_ns = None;
        self.turn = self.turn.wrapping_add(1);
    }

    /// Requests that wait in the server.
    pub(super) fn waiting(&self) -> usize {
        self.engine.waiting()
    }

    /// Unit-nanoseconds that were busy so far: of cores, workers, instances or the engine; of requests where each
    /// has a core of its own.
    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.engine.busy_ns(now_ns)
    }

    /// Memory that the container uses; `None` where the environment does not say what its model needs.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.care.as_deref()?.memory.as_ref().map(Memory::used_bytes)
    }

    #[inline]
    fn begin(&mut self, now_ns: u64, mut job: Job, profile: &ModelProfile) -> Begun {
        if let Some(care) = self.care.as_deref_mut() {
            match care.take() {
                Fit::Fits => {}
                Fit::RequestFails => return Begun::Fails(Failure::GpuMemory),
                Fit::PodKilled => return Begun::Kills,
            }
            care.warm(&mut job, profile);
        }
        match self.engine.start(now_ns, job) {
            Started::Ends(end_ns) => Begun::Ends(end_ns),
            Started::Within => Begun::Within,
            Started::Refused(refusal) => {
                self.release();
                Begun::Fails(match refusal {
                    Refusal::Full => Failure::ServerFull,
                    Refusal::TooLong => Failure::TooLong,
                })
            }
        }
    }

    /// A request is no longer in memory.
    fn release(&mut self) {
        if let Some(care) = self.care.as_deref_mut() {
            for memory in care.memory.iter_mut().chain(&mut care.gpu_memory) {
                memory.release();
            }
        }
    }

    /// A request of a server that ends its requests by itself is over, or one that ends where it was scheduled.
    #[inline]
    pub(super) fn leave(&mut self, now_ns: u64) {
        self.engine.finish(now_ns);
        if self.care.is_some() {
            self.release();
        }
    }

    /// The next turn, if it is at another instant than the one that was scheduled last.
    fn next_turn(&mut self) -> Option<(u64, u32)> {
        let next_ns = self.engine.next_ns();
        if next_ns == self.due_ns {
            return None;
        }
        self.due_ns = next_ns;
        self.turn = self.turn.wrapping_add(1);
        next_ns.map(|next_ns| (next_ns, self.turn))
    }
}

impl Care {
    fn take(&mut self) -> Fit {
        let fit = self.memory.as_mut().map_or(Fit::Fits, Memory::take);
        if fit != Fit::Fits {
            return fit;
        }
        let fit = self.gpu_memory.as_mut().map_or(Fit::Fits, Memory::take);
        if fit != Fit::Fits
            && let Some(memory) = &mut self.memory
        {
            memory.release();
        }
        fit
    }

    /// The first requests of a container take longer. What a language model adds comes on top of its prefill.
    fn warm(&mut self, job: &mut Job, profile: &ModelProfile) {
        let Some(warm_up) = self.warm_up.as_mut().filter(|warm_up| !warm_up.is_warm()) else { return };
        let alone_ns = profile
            .tokens
            .map_or(0, |tokens| tokens.settings.alone_ns(job.context_tokens, job.generated_tokens));
        let warm_ns = job.demand_ns.saturating_add(alone_ns);
        job.demand_ns = warm_up.scale(warm_ns).saturating_sub(alone_ns);
    }
}

/// Times of tokens since they were written down last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenTimes {
    first: Times,
    each: Times,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    count: u64,
    sum_ns: u64,
    most_ns: u64,
}

impl Times {
    fn add(&mut self, time_ns: u64) {
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(time_ns);
        self.most_ns = self.most_ns.max(time_ns);
    }

    /// Mean and most in milliseconds.
    fn sample(&self, recorder: &mut dyn Recorder, name: &str, revision: &str, t_ns: u64) {
        if self.count > 0 {
            let mean_ms = self.sum_ns as f64 / self.count as f64 / 1e6;
            let most_ms = self.most_ns as f64 / 1e6;
            for (statistic, value) in [("mean", mean_ms), ("most", most_ms)] {
                recorder.sample(name, &[("revision", revision), ("statistic", statistic)], t_ns, value);
            }
        }
    }
}

impl World<'_> {
    /// A pod starts to compute for a request.
    pub(super) fn start_on(&mut self, now_ns: u64, key: Key, position: usize, schedule: &mut Schedule<Any>) {
        let Some(request) = self.state.requests.get_mut(key) else { return };
        let index = usize::from(request.workload);
        let workload = &mut self.state.workloads[index];
        let pod_key = workload.endpoints[position];
        let held_ns = match request.stage {
            Stage::Waiting { held: true } => now_ns - request.entered_ns,
            _ => 0,
        };
        request.stage = Stage::Running { pod: pod_key, held_ns };
        workload.waiting_live -= 1;
        workload.running += 1;
        workload.loads[position] += 1;
        let Some(pod) = self.state.pods.get_mut(pod_key) else { return };
        pod.in_flight += 1;
        if pod.is_cut_off {
            let due_ns = now_ns.saturating_add(self.connect_timeout().as_ns());
            return schedule.at(due_ns, Any::Server(Event::Fails(key, Failure::Unreachable)));
        }
        let profile = &self.profiles[index];
        let (context_tokens, generated_tokens) = tokens_of(profile, request);
        let job = Job { key, demand_ns: request.demand_ns, context_tokens, generated_tokens };
        match pod.server.begin(now_ns, job, profile) {
            Begun::Ends(end_ns) => schedule.at(end_ns, Any::Answer(key)),
            Begun::Within => {
                if let Some((due_ns, turn)) = pod.server.next_turn() {
                    schedule.at(due_ns, Any::Server(Event::Turn(pod_key, turn)));
                }
            }
            // Not from here: whoever starts requests is not to find that its pods have changed meanwhile.
            Begun::Fails(failure) => schedule.at(now_ns, Any::Server(Event::Fails(key, failure))),
            Begun::Kills => schedule.at(now_ns, Any::Server(Event::OutOfMemory(pod_key))),
        }
    }

    /// Something that a server waited for.
    pub(super) fn server_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Turn(pod, turn) => self.server_turn(now_ns, pod, turn, schedule),
            Event::Fails(request, failure) => self.fails_on_pod(now_ns, request, failure, schedule),
            Event::OutOfMemory(pod) => {
                self.crash(now_ns, pod, "OOMKilled", Failure::ContainerDied, schedule);
            }
        }
    }

    fn server_turn(&mut self, now_ns: u64, pod_key: Key, turn: u32, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get_mut(pod_key) else { return };
        if pod.server.turn != turn {
            return;
        }
        pod.server.due_ns = None;
        let mut finished = std::mem::take(&mut self.finished);
        pod.server.engine.advance(now_ns, &mut finished);
        for done in &finished {
            self.tokens = self.count_tokens(done);
            self.answer(now_ns, done.key, schedule);
            self.tokens = None;
        }
        finished.clear();
        self.finished = finished;
        self.expect_turn(pod_key, schedule);
    }

    /// Schedules the next turn of a pod's server, if it has changed.
    fn expect_turn(&mut self, pod_key: Key, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get_mut(pod_key) else { return };
        if let Some((due_ns, turn)) = pod.server.next_turn() {
            schedule.at(due_ns, Any::Server(Event::Turn(pod_key, turn)));
        }
    }

    /// A pod has computed an answer.
    pub(super) fn answer(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        if self.hangs(key) {
            return;
        }
        if self.round_trip_ns > 0 && self.sends_back(now_ns, key, None, schedule) {
            return;
        }
        let Some(request) = self.state.requests.remove(key) else { return };
        self.state.touched = Some(request.workload);
        let pod_key = match request.stage {
            Stage::Running { pod, held_ns } => {
                match self.model_failure(&request) {
                    None => self.close_answered(now_ns, &request, held_ns, schedule),
                    Some(failure) => self.close_failed(now_ns, &request, failure, schedule),
                }
                pod
            }
            Stage::Abandoned { pod } => {
                self.forget_abandoned(request.workload);
                pod
            }
            Stage::Waiting { .. } | Stage::Returning { .. } => return,
        };
        self.left_server(now_ns, &request, pod_key, schedule);
    }

    /// Whether a request was sent to a pod whose machine answers no more.
    fn hangs(&self, key: Key) -> bool {
        if self.state.cluster.is_none() {
            return false;
        }
        let stage = self.state.requests.get(key).map(|request| request.stage);
        matches!(stage, Some(Stage::Running { pod, .. } | Stage::Abandoned { pod }) if self.is_cut_off(pod))
    }

    /// The client of a request has gone that hangs on a machine that does not answer. True when it did so.
    pub(super) fn hangs_up(&mut self, now_ns: u64, key: Key, pod: Key, schedule: &mut Schedule<Any>) -> bool {
        if !self.is_cut_off(pod) {
            return false;
        }
        if let Some(request) = self.state.requests.remove(key) {
            self.leave_pod(now_ns, pod, false, schedule);
            self.make_room(now_ns, &request, schedule);
        }
        true
    }

    /// A request is no longer in its pod's server.
    #[inline]
    fn left_server(&mut self, now_ns: u64, request: &Request, pod_key: Key, schedule: &mut Schedule<Any>) {
        self.leave_pod(now_ns, pod_key, true, schedule);
        self.make_room(now_ns, request, schedule);
    }

    /// A request has left its pod: the next one may come.
    #[inline]
    fn make_room(&mut self, now_ns: u64, request: &Request, schedule: &mut Schedule<Any>) {
        if request.is_in_line() {
            self.slot_freed(now_ns, request.workload, schedule);
        } else {
            self.consumer_has_room(now_ns, request.load, schedule);
        }
    }

    /// A pod refuses a request that it was given.
    fn fails_on_pod(&mut self, now_ns: u64, key: Key, failure: Failure, schedule: &mut Schedule<Any>) {
        if self.round_trip_ns > 0 && self.sends_back(now_ns, key, Some(failure), schedule) {
            return;
        }
        let Some(request) = self.state.requests.remove(key) else { return };
        self.state.touched = Some(request.workload);
        let pod_key = match request.stage {
            Stage::Running { pod, .. } => {
                self.close_failed(now_ns, &request, failure, schedule);
                pod
            }
            Stage::Abandoned { pod } => {
                self.forget_abandoned(request.workload);
                pod
            }
            Stage::Waiting { .. } | Stage::Returning { .. } => return,
        };
        self.leave_pod(now_ns, pod_key, false, schedule);
        self.make_room(now_ns, &request, schedule);
    }

    /// The client of a request that a pod computes for has gone. The engine of a language model is told and drops
    /// it; other servers compute to the end. True when it was dropped.
    pub(super) fn drop_generation(
        &mut self,
        now_ns: u64,
        key: Key,
        request: &Request,
        pod_key: Key,
        schedule: &mut Schedule<Any>,
    ) -> bool {
        if self.profiles[usize::from(request.workload)].tokens.is_none() {
            return false;
        }
        let Some(pod) = self.state.pods.get_mut(pod_key) else { return false };
        if !pod.server.engine.abandon(now_ns, key) {
            return false;
        }
        self.state.requests.remove(key);
        self.left_server(now_ns, request, pod_key, schedule);
        self.expect_turn(pod_key, schedule);
        true
    }

    /// What the model of each workload does, for those of which it is not known yet.
    pub(super) fn resolve_profiles(&mut self) {
        for workload in &self.state.workloads[self.profiles.len()..] {
            let (environment, limits) = (&self.plan.environment, &workload.template.limits);
            let profile = ModelProfile::of(environment, &workload.storage_uri, limits);
            self.profiles.push(profile.unwrap_or_else(|error| {
                self.fault = Some(error);
                ModelProfile::default()
            }));
        }
    }

    /// What a what-if says of servers comes to the pods that are there, as far as it can without a restart.
    pub(super) fn replan_servers(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        for index in 0..self.state.workloads.len() {
            let mut kept = 0_usize;
            let keys: Vec<Key> = self
                .state
                .pods
                .iter()
                .filter(|(_, pod)| usize::from(pod.workload) == index)
                .map(|(key, _)| key)
                .collect();
            for key in keys {
                let Some(pod) = self.state.pods.get_mut(key) else { continue };
                kept += usize::from(pod.server.adopt_speed(now_ns, &self.profiles[index]));
                if !pod.is_cut_off {
                    self.expect_turn(key, schedule);
                }
            }
            if kept > 0 {
                let name = self.state.workloads[index].name.clone();
                let text = format!(
                    "{kept} running pods keep the workers, batch sizes, slots, cache or kind of server that they were \
                     started with; the new settings hold for pods that start from now on"
                );
                self.note(now_ns, "fork", &name, &text);
            }
        }
    }

    /// How long the first token of an answer took and a further one, if somebody still waits for it.
    fn count_tokens(&mut self, done: &Finished) -> Option<(u64, Option<u64>)> {
        let first_ns = done.first_token_ns?;
        let request = self.state.requests.get(done.key)?;
        if !matches!(request.stage, Stage::Running { .. }) {
            return None;
        }
        let sent_ns = self.plan.epoch_ns + request.arrival.at_ns;
        let times = &mut self.state.workloads[usize::from(request.workload)].token_times;
        let (first_ns, each_ns) = (first_ns.saturating_sub(sent_ns), done.per_token_ns());
        times.first.add(first_ns);
        if let Some(each_ns) = each_ns {
            times.each.add(each_ns);
        }
        Some((first_ns, each_ns))
    }

    /// Writes down how busy servers were and how quick language models.
    pub(super) fn sample_servers(&mut self, now_ns: u64) {
        let t_ns = self.run_ns(now_ns);
        for index in 0..self.state.workloads.len() {
            let busy = self.utilisation(now_ns, index);
            let workload = &mut self.state.workloads[index];
            let times = std::mem::take(&mut workload.token_times);
            let name = workload.name.as_str();
            if let Some(busy) = busy {
                self.recorder.sample("server.utilisation", &[("revision", name)], t_ns, busy);
            }
            times.first.sample(self.recorder, "llm.first_token_ms", name, t_ns);
            times.each.sample(self.recorder, "llm.token_ms", name, t_ns);
            if self.profiles[index].tokens.is_some() {
                let pods = workload.endpoints.iter().filter_map(|key| self.state.pods.get(*key));
                let shares = pods.filter_map(|pod| pod.server.engine.kv_share(now_ns));
                let most = shares.fold(0.0, f64::max);
                self.recorder.sample("llm.kv_used", &[("revision", name)], t_ns, most);
            }
        }
    }

    /// The share of a workload's servers that was busy since the last sample, over the pods that are there; `None`
    /// when there is nothing that could be fully busy.
    fn utilisation(&mut self, now_ns: u64, index: usize) -> Option<f64> {
        let workload = &self.state.workloads[index];
        let slots = Some(f64::from(workload.line.container_concurrency())).filter(|slots| *slots > 0.0);
        let (mut busy, mut whole) = (0.0, 0.0);
        for key in &workload.endpoints {
            let Some(pod) = self.state.pods.get_mut(*key).filter(|pod| !pod.is_cut_off) else { continue };
            let Some(units) = pod.server.engine.units().or(slots) else { continue };
            let busy_ns = pod.server.engine.busy_ns(now_ns);
            let since_ns = pod.server.sampled_ns;
            busy += busy_ns - pod.server.sampled_busy_ns;
            whole += units * now_ns.saturating_sub(since_ns) as f64;
            (pod.server.sampled_ns, pod.server.sampled_busy_ns) = (now_ns, busy_ns);
        }
        (whole > 0.0).then(|| (busy / whole).clamp(0.0, 1.0))
    }
}

/// The tokens of a request on the server of a language model.
fn tokens_of(profile: &ModelProfile, request: &Request) -> (u32, u32) {
    let Some(tokens) = &profile.tokens else { return (0, 0) };
    match request.arrival.work {
        Work::Tokens { context, generated } => (context, generated.max(1)),
        Work::Drawn | Work::Duration(_) => (tokens.context, tokens.generated),
    }
}
