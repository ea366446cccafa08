//! A service as a queue: Poisson arrivals, a fixed number of pods, servers of a known kind.

use windtunnel_record::{ColdStart, Decision, Event, Recorder, Request, Revision};
use windtunnel_scenario::Cores;
use windtunnel_scenario::load::{self, Arrival, Work};
use windtunnel_sim::engine::Stream;
use windtunnel_sim::{Plan, Summary, simulate, simulate_arrivals};

use crate::setting::Setting;

/// Mean service time of one request, in seconds.
pub(crate) const SERVICE_S: f64 = 0.010;
const SERVICE_NS: f64 = SERVICE_S * 1e9;

/// The part of a run that is not looked at, because it started empty.
const WARM_UP: f64 = 0.05;

/// A service of `pods` that never scales.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) pods: u32,
    /// `containerConcurrency`; 0 is no limit.
    pub(crate) concurrency: u32,
    /// Cores that a pod's requests share; `None` gives each a core of its own.
    pub(crate) cores: Option<f64>,
    /// Requests for which there is room in the whole system.
    pub(crate) places: Option<u32>,
    /// The distribution, as a scenario writes it; its mean must be [`SERVICE_S`].
    pub(crate) service: String,
    /// Mean arrivals a mean service time.
    pub(crate) offered: f64,
    /// Users in a closed loop instead of those arrivals: their number, and their think time as a scenario writes it.
    pub(crate) users: Option<(u32, String)>,
    /// Mean number of arrivals in a run.
    pub(crate) requests: u32,
}

impl Station {
    /// One pod with one server and exponential service times.
    pub(crate) fn single(offered: f64) -> Self {
        Self {
            pods: 1,
            concurrency: 1,
            cores: None,
            places: None,
            service: "distribution: exponential, mean: 10ms".to_owned(),
            offered,
            users: None,
            requests: 60_000,
        }
    }

    /// The same with another service time.
    pub(crate) fn serving(self, service: &str) -> Self {
        Self { service: service.to_owned(), ..self }
    }

    pub(crate) fn plan(&self) -> Plan {
        let rate = self.offered / SERVICE_S;
        let seconds = (f64::from(self.requests) / rate).ceil();
        let load = match &self.users {
            None => format!("process: poisson, phases: [{{for: {seconds}s, rate: {rate}/s}}]"),
            Some((count, think)) => {
                format!("users: [{{for: {seconds}s, count: {count}}}], think-time: {{{think}}}")
            }
        };
        let setting = Setting {
            predictor: format!(
                "minReplicas: {0}, maxReplicas: {0}, containerConcurrency: {1}",
                self.pods, self.concurrency
            ),
            load,
            duration: format!("{seconds}s"),
            timeout: "10m".to_owned(),
            service_time: self.service.clone(),
            ..Setting::default()
        };
        let mut plan = setting.plan();
        plan.environment.server.cores = self.cores.map_or(Cores::Unlimited, Cores::Number);
        if let Some(places) = self.places {
            plan.most_in_flight = u64::from(places);
        }
        plan
    }

    /// Simulates with the service times that the simulator draws.
    pub(crate) fn run(&self, plan: &Plan, seed: u64) -> Seen {
        let mut seen = Seen::of(plan);
        seen.summary = Some(simulate(plan, seed, &mut seen).expect("a sound simulation"));
        seen.sorted()
    }

    /// Simulates with the same arrivals and these service times in nanoseconds, so that what is left of a latency is
    /// waiting.
    pub(crate) fn run_with(&self, plan: &Plan, seed: u64, demands: impl Fn(&mut Stream) -> u64) -> Seen {
        let mut scenario = plan.scenario.clone();
        scenario.seed = seed;
        let mut stream = Stream::named(seed, "demands of a test");
        let arrivals: Vec<Arrival> = load::arrivals(&scenario, 0, plan.flight)
            .expect("a load")
            .map(|arrival| Arrival { work: Work::Duration(demands(&mut stream)), ..arrival })
            .collect();
        let mut seen = Seen::of(plan);
        let summary =
            simulate_arrivals(plan, seed, arrivals.iter().copied(), &mut seen).expect("a sound simulation");
        seen.summary = Some(summary);
        seen.demands_ns = arrivals.iter().map(|arrival| demand_ns(*arrival)).collect();
        seen.sorted()
    }
}

/// An exponential service time of the usual mean.
pub(crate) fn exponential(stream: &mut Stream) -> u64 {
    (stream.exponential() * SERVICE_NS).round() as u64
}

fn demand_ns(arrival: Arrival) -> u64 {
    match arrival.work {
        Work::Duration(time_ns) => time_ns,
        Work::Drawn | Work::Tokens { .. } => 0,
    }
}

/// Statistics of the requests after the warm-up.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    from_ns: u64,
    until_ns: u64,
    /// Row and latency of those that were answered.
    answered: Vec<(u32, u64)>,
    refused: u64,
    demands_ns: Vec<u64>,
    pub(crate) summary: Option<Summary>,
}

impl Seen {
    fn of(plan: &Plan) -> Self {
        let from_ns = (plan.duration_ns as f64 * WARM_UP) as u64;
        Self { from_ns, until_ns: plan.duration_ns, ..Self::default() }
    }

    fn sorted(mut self) -> Self {
        self.answered.sort_unstable();
        self
    }

    /// Mean latency of the answered ones, in seconds.
    pub(crate) fn mean_s(&self) -> f64 {
        self.answered.iter().map(|(_, latency_ns)| *latency_ns as f64).sum::<f64>() / self.count() / 1e9
    }

    /// The latency that a share `quantile` does not exceed, in seconds.
    pub(crate) fn quantile_s(&self, quantile: f64) -> f64 {
        let latencies = self.answered.iter().map(|(_, latency_ns)| *latency_ns as f64 / 1e9);
        quantile_of(latencies.collect(), quantile)
    }

    /// The share of the answered ones that took longer than so many seconds.
    pub(crate) fn longer_than(&self, time_s: f64) -> f64 {
        let longer = self.answered.iter().filter(|(_, latency_ns)| *latency_ns as f64 / 1e9 > time_s);
        longer.count() as f64 / self.count()
    }

    /// Time before service of each, in seconds; for runs whose service times are known.
    pub(crate) fn waits_s(&self) -> Vec<f64> {
        let wait =
            |(row, latency_ns): &(u32, u64)| (latency_ns - self.demands_ns[*row as usize]) as f64 / 1e9;
        self.answered.iter().map(wait).collect()
    }

    /// Mean of latency / service time over those that `choose` takes by their service time in nanoseconds.
    pub(crate) fn slowdown(&self, choose: impl Fn(u64) -> bool) -> f64 {
        let chosen: Vec<f64> = self
            .answered
            .iter()
            .map(|(row, latency_ns)| (self.demands_ns[*row as usize], *latency_ns))
            .filter(|(demand_ns, _)| choose(*demand_ns))
            .map(|(demand_ns, latency_ns)| latency_ns as f64 / demand_ns as f64)
            .collect();
        mean_of(&chosen)
    }

    /// The share that was turned away.
    pub(crate) fn loss(&self) -> f64 {
        self.refused as f64 / (self.refused as f64 + self.count())
    }

    /// Answers a second.
    pub(crate) fn throughput_per_s(&self) -> f64 {
        self.count() / (self.until_ns - self.from_ns) as f64 * 1e9
    }

    fn count(&self) -> f64 {
        self.answered.len() as f64
    }
}

pub(crate) fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn quantile_of(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (quantile * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

impl Recorder for Seen {
    fn revision(&mut self, _: Revision) -> u16 {
        0
    }

    fn request(&mut self, request: Request) {
        if request.intended_ns < self.from_ns {
            return;
        }
        match request.status {
            200 => self.answered.push((request.row, request.latency_ns)),
            503 => self.refused += 1,
            other => panic!("a queue without time-outs answers 200 or 503, and this is {other}"),
        }
    }

    fn sample(&mut self, _: &str, _: &[(&str, &str)], _: u64, _: f64) {}
    fn decision(&mut self, _: Decision) {}
    fn event(&mut self, _: Event) {}
    fn cold_start(&mut self, _: ColdStart) {}
}
