//! What theory says. Times are in any unit, the same for arguments and result; `offered` is the offered load in erlangs
//! (arrival rate times mean service time), `utilisation` is that divided by the number of servers.
//!
//! Sources: L. Kleinrock, Queueing Systems, volume 1 (1975), chapters 3 to 6, for M/M/c, M/M/c/K, finite populations,
//! G/M/1 and M/G/1; A. K. Erlang, Solution of some problems in the theory of probabilities of significance in automatic
//! telephone exchanges (1917), for B and C; his paper of 1909 for the waiting time with constant service; F. P. Kelly,
//! Reversibility and Stochastic Networks (1979), section 3.3, for processor sharing (symmetric queues);
//! M. Mitzenmacher, The power of two choices in randomized load balancing (2001), for the better of two.

/// Erlang's B: the share of requests that a system with `servers` and no room to wait turns away.
pub(crate) fn erlang_b(servers: u32, offered: f64) -> f64 {
    (1..=servers).fold(1.0, |blocking, server| {
        let carried = offered * blocking;
        carried / (f64::from(server) + carried)
    })
}

/// Erlang's C: the share of requests that wait in M/M/c.
pub(crate) fn erlang_c(servers: u32, offered: f64) -> f64 {
    let utilisation = offered / f64::from(servers);
    let blocking = erlang_b(servers, offered);
    blocking / (1.0 - utilisation * (1.0 - blocking))
}

/// Mean time before service in M/M/c.
pub(crate) fn mmc_wait(servers: u32, offered: f64, service: f64) -> f64 {
    erlang_c(servers, offered) * service / (f64::from(servers) - offered)
}

/// The waiting time in M/M/c that a share `quantile` of all requests does not exceed.
pub(crate) fn mmc_wait_quantile(servers: u32, offered: f64, service: f64, quantile: f64) -> f64 {
    let tail = (1.0 - quantile) / erlang_c(servers, offered);
    (-tail.ln()).max(0.0) * service / (f64::from(servers) - offered)
}

/// The share of requests in M/M/c that take longer than `time` in all.
pub(crate) fn mmc_sojourn_tail(servers: u32, offered: f64, service: f64, time: f64) -> f64 {
    let spare = f64::from(servers) - offered - 1.0;
    let waits = erlang_c(servers, offered);
    (-time / service).exp() * (1.0 + waits * (1.0 - (-spare * time / service).exp()) / spare)
}

/// The time in M/M/1 that a share `quantile` of all requests does not exceed: the sojourn is exponential.
pub(crate) fn mm1_sojourn_quantile(utilisation: f64, service: f64, quantile: f64) -> f64 {
    -(1.0 - quantile).ln() * service / (1.0 - utilisation)
}

/// M/M/c/K: losses, and the mean time in the system of those that were let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finite {
    pub(crate) loss: f64,
    pub(crate) sojourn: f64,
}

/// M/M/c/K with room for `places` requests, those in service included.
pub(crate) fn mmck(servers: u32, places: u32, offered: f64, service: f64) -> Finite {
    let mut weights = vec![1.0];
    for number in 1..=places {
        let last = weights[weights.len() - 1];
        weights.push(last * offered / f64::from(number.min(servers)));
    }
    let total: f64 = weights.iter().sum();
    let inside: f64 =
        (0_u32..).zip(&weights).map(|(number, weight)| f64::from(number) * weight / total).sum();
    let loss = weights[weights.len() - 1] / total;
    Finite { loss, sojourn: inside * service / (offered * (1.0 - loss)) }
}

/// Users who think and send in a closed loop, with exponential service at `servers` (machine repair): requests a unit of
/// time, and the mean time of each in the system. Of the time to think only the mean matters (Baskett, Chandy, Muntz and
/// Palacios, Journal of the ACM 22, 1975).
pub(crate) fn closed_loop(users: u32, servers: u32, think: f64, service: f64) -> (f64, f64) {
    let mut weights = vec![1.0];
    for number in 1..=users {
        let last = weights[weights.len() - 1];
        let rate = f64::from(users - number + 1) / think;
        weights.push(last * rate * service / f64::from(number.min(servers)));
    }
    let total: f64 = weights.iter().sum();
    let busy: f64 =
        (0_u32..).zip(&weights).map(|(number, weight)| f64::from(number.min(servers)) * weight / total).sum();
    let throughput = busy / service;
    (throughput, f64::from(users) / throughput - think)
}

/// Mean time before service in M/G/1 (Pollaczek and Khinchine); `cv` = standard deviation / mean of the service time.
pub(crate) fn mg1_wait(utilisation: f64, service: f64, cv: f64) -> f64 {
    utilisation * service * (1.0 + cv * cv) / (2.0 * (1.0 - utilisation))
}

/// The share of requests in M/D/1 that wait no longer than `time` (Erlang 1909).
pub(crate) fn md1_wait_within(utilisation: f64, service: f64, time: f64) -> f64 {
    let rate = utilisation / service;
    let mut sum = 0.0;
    let mut number = 0_u32;
    while f64::from(number) * service <= time {
        let lag = rate * (time - f64::from(number) * service);
        let factorial: f64 = (1..=number).map(f64::from).product();
        sum += (-lag).powi(number.cast_signed()) / factorial * lag.exp();
        number += 1;
    }
    (1.0 - utilisation) * sum
}

/// Standard deviation / mean of a Pareto distribution with a tail of `shape` > 2.
pub(crate) fn pareto_cv(shape: f64) -> f64 {
    1.0 / (shape * (shape - 2.0)).sqrt()
}

/// Mean time at a server when each request takes the less loaded of two out of very many servers.
pub(crate) fn supermarket_sojourn(utilisation: f64, service: f64) -> f64 {
    (1..=30).map(|level| utilisation.powf(2_f64.powi(level) - 2.0)).sum::<f64>() * service
}

/// Mean time in E_k/M/1: the arrivals at one of `stages` servers that take turns with a Poisson stream.
pub(crate) fn erlang_arrivals_sojourn(stages: u32, utilisation: f64, service: f64) -> f64 {
    // The chance that an arrival finds the server busy is the root below 1 of x = A(1 - x), A the transform of the gaps.
    let stages_f = f64::from(stages);
    let next = |busy: f64| {
        let ratio = stages_f * utilisation / (stages_f * utilisation + 1.0 - busy);
        ratio.powi(stages.cast_signed())
    };
    let busy = (0..10_000).fold(0.0, |busy, _| next(busy));
    service / (1.0 - busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value} instead of {expected}");
    }

    /// A wrong formula would bless a wrong simulator: the loads that give 1 % of losses are those of every printed
    /// table (ITU-D, Teletraffic Engineering Handbook; 15 lines also in erlang.com's calculator manual), and small cases
    /// are fractions that can be had by hand from the states' weights 1, a, a²/2, …
    #[test]
    fn losses_are_those_of_the_tables() {
        for (servers, offered, digits) in [
            (5, 1.361, 0.001),
            (10, 4.461, 0.001),
            (15, 8.108, 0.001),
            (20, 12.03, 0.01),
            (50, 37.90, 0.01),
            (100, 84.06, 0.01),
        ] {
            // Half a unit in the last printed digit of the load, each way.
            let (less, more) =
                (erlang_b(servers, offered - digits / 2.0), erlang_b(servers, offered + digits / 2.0));
            assert!(less <= 0.01 && 0.01 <= more, "{servers} servers: {less} to {more}");
        }
        assert_near(erlang_b(2, 1.0), 0.5 / 2.5, 1e-12);
        assert_near(erlang_b(3, 2.0), (8.0 / 6.0) / (1.0 + 2.0 + 2.0 + 8.0 / 6.0), 1e-12);
    }

    /// See above. With two servers C is a²/(2 + a); ten servers at 6 erlangs make about one in ten wait.
    #[test]
    fn waiting_is_that_of_the_definition() {
        assert_near(erlang_c(1, 0.7), 0.7, 1e-12);
        assert_near(erlang_c(2, 1.0), 1.0 / 3.0, 1e-12);
        assert_near(erlang_c(3, 2.0), 4.0 / 9.0, 1e-12);
        assert_near(erlang_c(10, 6.0), 0.10, 0.005);
        // The definition itself, with powers and factorials.
        let (servers, offered) = (10_u32, 8.0_f64);
        let term =
            |number: u32| offered.powi(number.cast_signed()) / (1..=number).map(f64::from).product::<f64>();
        let queued = term(servers) / (1.0 - offered / f64::from(servers));
        assert_near(
            erlang_c(servers, offered),
            queued / ((0..servers).map(term).sum::<f64>() + queued),
            1e-12,
        );
        assert_near(erlang_c(servers, offered), 0.4092, 5e-5);
        // M/M/1 at 80 %: four mean service times of waiting, five in all.
        assert_near(mmc_wait(1, 0.8, 1.0), 4.0, 1e-12);
        assert_near(mm1_sojourn_quantile(0.8, 1.0, 1.0 - (-1.0_f64).exp()), 5.0, 1e-9);
    }

    /// See above: tails and means of one distribution must fit together.
    #[test]
    fn tails_and_means_agree() {
        let step = 0.001;
        let sojourn: f64 =
            (0..80_000).map(|at| mmc_sojourn_tail(3, 2.4, 1.0, (f64::from(at) + 0.5) * step) * step).sum();
        assert_near(sojourn, 1.0 + mmc_wait(3, 2.4, 1.0), 1e-3);
        let median = mmc_wait_quantile(3, 2.4, 1.0, 0.5);
        assert_near(erlang_c(3, 2.4) * (-0.6 * median).exp(), 0.5, 1e-12);
        assert_near(mmc_wait_quantile(3, 2.4, 1.0, 0.1), 0.0, 1e-12);
        let wait: f64 = (0..40_000)
            .map(|at| (1.0 - md1_wait_within(0.6, 1.0, (f64::from(at) + 0.5) * step)) * step)
            .sum::<f64>();
        assert_near(wait, mg1_wait(0.6, 1.0, 0.0), 1e-3);
        assert_near(md1_wait_within(0.6, 1.0, 0.0), 0.4, 1e-12);
    }

    /// See above: the general formulas give the special ones.
    #[test]
    fn special_cases_agree() {
        assert_near(mmck(4, 4, 3.0, 1.0).loss, erlang_b(4, 3.0), 1e-12);
        assert_near(mmck(4, 4, 3.0, 1.0).sojourn, 1.0, 1e-12);
        assert_near(mmck(3, 400, 2.4, 1.0).sojourn, 1.0 + mmc_wait(3, 2.4, 1.0), 1e-9);
        // M/M/1/2 at load 1: the three states are equally likely.
        assert_near(mmck(1, 2, 1.0, 1.0).loss, 1.0 / 3.0, 1e-12);
        assert_near(mg1_wait(0.7, 1.0, 1.0), mmc_wait(1, 0.7, 1.0), 1e-12);
        assert_near(erlang_arrivals_sojourn(1, 0.7, 1.0), 1.0 / 0.3, 1e-9);
        // Two stages at one half: x (2 - x)² = 1, whose root below 1 is (3 - √5)/2.
        let busy = (3.0 - 5.0_f64.sqrt()) / 2.0;
        assert_near(erlang_arrivals_sojourn(2, 0.5, 1.0), 1.0 / (1.0 - busy), 1e-9);
        assert_near(pareto_cv(3.0), 1.0 / 3.0_f64.sqrt(), 1e-12);
    }

    /// See above. Two users who think as long as they are served: the states weigh 1, 2 and 2, so the server is busy 4/5 of the
    /// time. Larger ones by mean value analysis (Reiser and Lavenberg, Journal of the ACM 27, 1980): who arrives sees the system
    /// of one user less.
    #[test]
    fn closed_loops_are_those_of_mean_value_analysis() {
        let (throughput, response) = closed_loop(2, 1, 1.0, 1.0);
        assert_near(throughput, 0.8, 1e-12);
        assert_near(response, 1.5, 1e-12);
        let mut inside = 0.0;
        for users in 1..=30 {
            let response = 0.01 * (1.0 + inside);
            let throughput = f64::from(users) / (0.1 + response);
            inside = throughput * response;
            let (exact, time) = closed_loop(users, 1, 0.1, 0.01);
            assert_near(exact, throughput, 1e-9);
            assert_near(time, response, 1e-12);
        }
        // Servers for everybody: nobody waits.
        assert_near(closed_loop(5, 5, 3.0, 2.0).1, 2.0, 1e-12);
    }

    /// See above: in equilibrium the share s(k) of servers with at least k requests gains rate x (s(k-1)² - s(k)²), the
    /// arrivals whose two choices both have k - 1 or more, and loses s(k) - s(k+1), the services; and the time in the system
    /// is by Little's law the sum of all s(k), divided by the rate.
    #[test]
    fn two_choices_are_an_equilibrium() {
        for utilisation in [0.5, 0.7, 0.9] {
            let share = |level: i32| f64::powf(utilisation, 2_f64.powi(level) - 1.0);
            for level in 1..6 {
                let gain = utilisation * (share(level - 1).powi(2) - share(level).powi(2));
                assert_near(gain, share(level) - share(level + 1), 1e-12);
            }
            let inside: f64 = (1..30).map(share).sum();
            assert_near(supermarket_sojourn(utilisation, 1.0), inside / utilisation, 1e-9);
        }
        assert_near(supermarket_sojourn(0.7, 1.0), 1.6145, 5e-5);
    }
}
