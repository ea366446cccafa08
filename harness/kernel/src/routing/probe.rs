//! The activator's probes of a new pod: whether it can be reached in time over a slow network.
//!
//! Knative's activator sends no request to a pod that it has not probed itself (`pkg/activator/net`). A probe is an HTTP
//! request with a deadline of 300 ms that includes the connection, and connecting is what takes long: the dialler gives its
//! tries 50, 50, 70, 98, … ms (from the second on up to a tenth more) and sleeps 30 to 60 ms between two of them. On a
//! network whose round trip `R` is longer than that of the first two, the third try connects after
//! `50 + 30 + 50 + 30 + R` ms at best, and the answer is there another `R` later: in time only for `R` under 70 ms. That is
//! the cliff of knative/serving#14202. Probes of the pod's address and of its service's take turns; each begins when the
//! one before has failed, because the next of the 200 ms ticks has passed by then.
//!
//! What becomes of a connection that comes too late depends on the activator's build: see [`LateConnections`].

use serde::{Deserialize, Serialize};

/// The deadline of a probe, unless the activator's `PROBE_TIMEOUT` says otherwise: 300 ms.
pub const PROBE_TIMEOUT_NS: u64 = 300 * MS;

const MS: u64 = 1_000_000;

/// How long the first try to connect may take, and the second one without its chance.
const FIRST_TRY_NS: u64 = 50 * MS;

/// How many times as long each try after the second may take as the one before.
const GROWTH: f64 = 1.4;

/// Chance makes a try up to so much longer.
const TRY_JITTER: f64 = 0.1;

/// The shortest sleep between two tries; chance makes it up to twice as long.
const SLEEP_NS: u64 = 30 * MS;

/// Tries of one dialler.
const TRIES: u32 = 16;

/// What becomes of a connection that is made when its probe has been given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LateConnections {
    /// The dialler goes on without its probe, and a later probe of the same address finds the connection (builds with Go
    /// 1.23 or later).
    #[default]
    Kept,
    /// The dialler is stopped with its probe, and each probe begins anew (builds before that, such as release 1.10).
    Dropped,
}

/// The probes of one pod, one after the other.
///
/// ```
/// use windtunnel_kernel::routing::probe::{LateConnections, PROBE_TIMEOUT_NS, Prober};
///
/// let mut prober = Prober::new(PROBE_TIMEOUT_NS, LateConnections::Dropped);
/// // The first try connects after 50 ms, and the answer is there 50 ms later.
/// assert_eq!(prober.probe(50_000_000, &mut || 0.5), Some(100_000_000));
/// assert!(!prober.can_reach(70_000_000));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prober {
    timeout_ns: u64,
    late: LateConnections,
    /// Probes sent so far: the first, third, … go to the pod, the others to its service.
    sent: u64,
    /// When a kept connection to either address is there, from the beginning of the next probe.
    connected_ns: [Option<u64>; 2],
}

impl Prober {
    /// No probe has been sent yet.
    #[must_use]
    pub fn new(timeout_ns: u64, late: LateConnections) -> Self {
        Self { timeout_ns, late, sent: 0, connected_ns: [None; 2] }
    }

    /// Sends a probe over a network with this round trip: after how long its answer is there, or `None` when it is given
    /// up after the timeout. `rng` gives uniform numbers in [0, 1).
    pub fn probe(&mut self, round_trip_ns: u64, rng: &mut impl FnMut() -> f64) -> Option<u64> {
        let address = (self.sent % 2) as usize;
        self.sent = self.sent.wrapping_add(1);
        let kept_ns = self.connected_ns[address].take();
        // Who finds a connection does not dial.
        let own_ns = if kept_ns == Some(0) { None } else { connected_after_ns(round_trip_ns, rng) };
        let (first_ns, second_ns) = match (kept_ns, own_ns) {
            (Some(kept_ns), Some(own_ns)) => (Some(kept_ns.min(own_ns)), Some(kept_ns.max(own_ns))),
            (one, other) => (one.or(other), None),
        };
        let answered_ns = first_ns.map(|first_ns| first_ns.saturating_add(round_trip_ns));
        if let Some(answered_ns) = answered_ns.filter(|answered_ns| *answered_ns < self.timeout_ns) {
            return Some(answered_ns);
        }
        if self.late == LateConnections::Kept {
            // The connection that has a request on it is closed with its probe.
            self.connected_ns[address] =
                first_ns.filter(|first_ns| *first_ns >= self.timeout_ns).or(second_ns);
            for connected_ns in self.connected_ns.iter_mut().flatten() {
                *connected_ns = connected_ns.saturating_sub(self.timeout_ns);
            }
        }
        None
    }

    /// Whether a probe over a network with this round trip may ever be answered in time, if chance is kind.
    #[must_use]
    pub fn can_reach(&self, round_trip_ns: u64) -> bool {
        let connected_ns = match self.late {
            LateConnections::Kept => 0,
            LateConnections::Dropped => soonest_connected_ns(round_trip_ns),
        };
        connected_ns.saturating_add(round_trip_ns) < self.timeout_ns
    }
}

/// After how long a dialler has a connection; `None` when none of its tries is long enough.
fn connected_after_ns(round_trip_ns: u64, rng: &mut impl FnMut() -> f64) -> Option<u64> {
    let (mut begun_ns, mut try_ns, mut next_ns) = (0, FIRST_TRY_NS, FIRST_TRY_NS as f64);
    for _ in 0..TRIES {
        if round_trip_ns <= try_ns {
            return Some(round_trip_ns.saturating_add(begun_ns));
        }
        begun_ns += try_ns;
        try_ns = (next_ns * (1.0 + TRY_JITTER * rng())).round() as u64;
        next_ns *= GROWTH;
        begun_ns += SLEEP_NS + (SLEEP_NS as f64 * rng()).round() as u64;
    }
    None
}

/// The same when chance makes every try that is lost short, the first one that can do it long, and every sleep short.
fn soonest_connected_ns(round_trip_ns: u64) -> u64 {
    let (mut begun_ns, mut shortest_ns, mut longest_ns) = (0.0, FIRST_TRY_NS as f64, FIRST_TRY_NS as f64);
    let mut next_ns = FIRST_TRY_NS as f64;
    for _ in 0..TRIES {
        if round_trip_ns as f64 <= longest_ns {
            return round_trip_ns.saturating_add(begun_ns as u64);
        }
        begun_ns += shortest_ns + SLEEP_NS as f64;
        (shortest_ns, longest_ns) = (next_ns, next_ns * (1.0 + TRY_JITTER));
        next_ns *= GROWTH;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped() -> Prober {
        Prober::new(PROBE_TIMEOUT_NS, LateConnections::Dropped)
    }

    fn kept() -> Prober {
        Prober::new(PROBE_TIMEOUT_NS, LateConnections::Kept)
    }

    /// A stream of uniform numbers that is the same in each run.
    fn uniform(mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// The first try lasts 50 ms. A try that connects makes it two round trips, whatever chance says; one that does not
    /// costs 50 ms and a sleep: 50 + 30 x 1.25 = 87.5 ms, and the second try may take 50 x 1.025 = 51.25 ms.
    #[test]
    fn a_probe_is_the_tries_that_were_lost_and_two_round_trips() {
        for round_trip_ms in [0, 1, 37, 50] {
            assert_eq!(dropped().probe(round_trip_ms * MS, &mut || 0.25), Some(2 * round_trip_ms * MS));
        }
        assert_eq!(dropped().probe(51 * MS, &mut || 0.25), Some(87_500_000 + 2 * 51 * MS));
        // 87.5 + 51.25 + 37.5 = 176.25 ms, and 2 x 61 = 122 ms: 298.25 ms. With 62 ms it would be 300.25 ms.
        assert_eq!(dropped().probe(61 * MS, &mut || 0.25), Some(298_250_000));
        assert_eq!(dropped().probe(62 * MS, &mut || 0.25), None);
    }

    /// 50 + 30 + 50 + 30 + 2 R is 300 ms for R = 70 ms: nobody who is that far away is ever reached, and those who are a
    /// little nearer sometimes.
    #[test]
    fn the_cliff_is_at_seventy_milliseconds() {
        let mut kind = || 0.0;
        assert_eq!(dropped().probe(69 * MS, &mut kind), Some(298 * MS));
        assert_eq!(dropped().probe(70 * MS, &mut kind), None);
        assert!(dropped().can_reach(70 * MS - 1));
        assert!(!dropped().can_reach(70 * MS));
        // Even 76 ms, which the third try may just last, and what the fourth one needs.
        assert!(
            [71, 76, 78, 98, 120, 299].iter().all(|round_trip_ms| !dropped().can_reach(round_trip_ms * MS))
        );
        assert!(!Prober::new(100 * MS, LateConnections::Dropped).can_reach(50 * MS));
        assert!(Prober::new(100 * MS + 1, LateConnections::Dropped).can_reach(50 * MS));
    }

    /// Between 55 and 70 ms two sleeps S and the second try's jitter J decide: S + J <= 200 - 2 R - 60 with S the sum of two
    /// uniform numbers up to 30 ms and J up to 5 ms, so P = E[(140 - 2 R - J)^2] / 1800 while that is under 30 ms.
    /// 60 ms: (20^2 - 20 x 5 + 25 / 3) / 1800 = 17.13 %; 64 ms: (144 - 60 + 8.33) / 1800 = 5.13 %; 66 ms: (64 - 40 + 8.33)
    /// / 1800 = 1.80 %; 68 ms: the integral over J up to 4 only, (4^3 / 3) / 5 / 1800 = 0.237 %.
    #[test]
    fn near_the_cliff_chance_decides() {
        const PROBES: u32 = 200_000;
        let mut rng = uniform(7);
        for (round_trip_ms, expected) in [(60, 0.171_30), (64, 0.051_30), (66, 0.017_96), (68, 0.002_370)] {
            let answered = (0..PROBES).filter(|_| dropped().probe(round_trip_ms * MS, &mut rng).is_some());
            let share = answered.count() as f64 / f64::from(PROBES);
            let deviation = (expected * (1.0 - expected) / f64::from(PROBES)).sqrt();
            assert!(
                (share - expected).abs() < 4.0 * deviation,
                "{round_trip_ms} ms: {share} and not {expected}"
            );
        }
    }

    /// A network of 80 ms is reached by the fourth try: 50 + 50 + 70 ms and three sleeps of 30 to 60 ms and 80 ms later,
    /// between 340 and 442 ms, which is too late for the first probe (until 300 ms) and no matter for the one of the service
    /// (until 600 ms). The third one finds the connection.
    #[test]
    fn a_kept_connection_is_found_by_the_next_probe_of_its_address() {
        for seed in 0..50 {
            let (mut prober, mut rng) = (kept(), uniform(seed));
            let probes: Vec<Option<u64>> = (0..3).map(|_| prober.probe(80 * MS, &mut rng)).collect();
            assert_eq!(probes, [None, None, Some(80 * MS)]);
        }
    }

    /// A connection that is there in time but without time for the answer goes with its probe, even where others are kept:
    /// with 70 ms that is every one (the third try always lasts that long).
    #[test]
    fn a_connection_in_use_goes_with_its_probe() {
        let (mut prober, mut rng) = (kept(), uniform(1));
        assert!((0..1_000).all(|_| prober.probe(70 * MS, &mut rng).is_none()));
    }

    /// Who takes 300 ms for one round trip answers no probe at all (knative/serving#16249).
    #[test]
    fn no_probe_outlives_its_timeout() {
        assert!(kept().can_reach(300 * MS - 1));
        assert!(!kept().can_reach(300 * MS));
        let (mut prober, mut rng) = (kept(), uniform(3));
        assert!((0..1_000).all(|_| prober.probe(300 * MS, &mut rng).is_none()));
        let first = (0..20).find_map(|_| prober.probe(299 * MS, &mut rng));
        assert_eq!(first, Some(299 * MS), "a connection was kept meanwhile");
        assert_eq!(kept().probe(u64::MAX, &mut rng), None);
    }
}
