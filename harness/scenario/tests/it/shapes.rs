//! The shapes of load against textbook formulas, with fixed seeds.

use std::f64::consts::TAU;

use windtunnel_scenario::load::{Flight, arrivals};
use windtunnel_scenario::{Arrivals, Burst, Duration, Phase, Process, Rate, Scenario, Shape};

use crate::room::{Room, full_with_phases};

fn scenario(process: Process, phases: Vec<Phase>, seed: u64) -> Scenario {
    let base = Room::new().parse_json(&full_with_phases()).expect("a good scenario");
    let duration = Duration::from_ns(phases.iter().map(|phase| phase.length.as_ns()).sum());
    let mut scenario = Scenario { duration, seed, flight: None, ..base };
    scenario.loads[0].arrivals = Arrivals::Phases { process, phases };
    scenario
}

/// Seconds of all arrivals.
fn times(process: Process, phases: &[Phase], seed: u64) -> Vec<f64> {
    let scenario = scenario(process, phases.to_vec(), seed);
    let all = arrivals(&scenario, 0, Flight::Whole).expect("a load");
    all.map(|arrival| arrival.at_ns as f64 / 1e9).collect()
}

fn flat(length_s: u64, per_s: f64) -> Phase {
    Phase::flat(Duration::from_s(length_s), Rate::per_second(per_s))
}

fn burst(factor: f64, on_ms: u64, off_ms: u64) -> Burst {
    Burst { factor, on: Duration::from_ms(on_ms), off: Duration::from_ms(off_ms) }
}

/// Variance over mean of the counts in windows.
fn dispersion(times: &[f64], length_s: f64, window_s: f64) -> f64 {
    let windows = (length_s / window_s) as usize;
    let mut counts = vec![0.0; windows];
    for time in times {
        if let Some(count) = counts.get_mut((time / window_s) as usize) {
            *count += 1.0;
        }
    }
    let mean = counts.iter().sum::<f64>() / windows as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (windows - 1) as f64;
    variance / mean
}

/// A capacity that holds for Poisson arrivals would be reported for bursts that are none, or for another mean.
#[test]
fn bursts_keep_the_mean_and_have_the_dispersion_of_the_formula() {
    for (burst, per_s) in
        [(burst(5.0, 2_000, 18_000), 20.0), (burst(10.0, 500, 4_500), 5.0), (burst(1.5, 100, 200), 50.0)]
    {
        let length_s = 100_000;
        let times = times(Process::Bursty(burst), &[flat(length_s, per_s)], 1);
        let length_s = length_s as f64;
        let expected = per_s * length_s;
        // The count's own variance is its mean times the dispersion in the long run.
        let deviation = (expected * burst.dispersion(per_s, length_s)).sqrt();
        let off = (times.len() as f64 - expected) / deviation;
        assert!(off.abs() < 4.0, "{burst:?}: {} instead of {expected}, {off} deviations", times.len());
        for window_s in [1.0, 10.0, 60.0] {
            let (seen, exact) = (dispersion(&times, length_s, window_s), burst.dispersion(per_s, window_s));
            assert!(exact > 1.0);
            let tolerance = 12.0 * (2.0 * window_s / length_s).sqrt();
            assert!((seen / exact - 1.0).abs() < tolerance, "{burst:?} {window_s} s: {seen}, {exact}");
        }
    }
    let times = times(Process::Poisson, &[flat(100_000, 20.0)], 1);
    assert!((dispersion(&times, 1e5, 10.0) - 1.0).abs() < 0.1);
}

/// The rate in a burst would be another one than the file says.
#[test]
fn nothing_arrives_between_bursts_of_the_highest_factor() {
    let burst = burst(4.0, 1_000, 3_000);
    assert!((burst.most() - 4.0).abs() < 1e-12 && burst.quiet_factor() == 0.0);
    let times = times(Process::Bursty(burst), &[flat(20_000, 100.0)], 3);
    // 400/s in bursts: gaps are either a few milliseconds or a silence.
    let silences: Vec<f64> =
        times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.1).collect();
    let mean = silences.iter().sum::<f64>() / silences.len() as f64;
    assert!(
        (4_500..5_500).contains(&silences.len()),
        "{} silences in 20 000 s of 4 s cycles",
        silences.len()
    );
    assert!((mean - 3.0).abs() < 0.2, "{mean}");
}

/// A day's peak would come at another hour.
#[test]
fn a_day_peaks_when_the_file_says() {
    let day_s = 86_400.0;
    for (amplitude, peak_h, start_h) in [(0.8, 14, 0), (0.3, 3, 0), (1.0, 14, 9)] {
        let shape = Shape::Diurnal {
            amplitude,
            period: Duration::from_s(86_400),
            peak_at: Duration::from_s(peak_h * 3_600),
        };
        let day = Phase { length: Duration::from_s(10 * 86_400), rate: Rate::per_second(1.0), shape };
        // A phase of silence before it must not move the time of day.
        let phases: Vec<Phase> = [flat(start_h * 3_600, 0.0), day]
            .into_iter()
            .filter(|phase| phase.length > Duration::ZERO)
            .collect();
        let times = times(Process::Poisson, &phases, 5);
        let n = times.len() as f64;
        assert!((n - 864_000.0).abs() < 4.0 * 864_000f64.sqrt(), "whole days have the mean rate: {n}");
        let cos = times.iter().map(|time| (time / day_s * TAU).cos()).sum::<f64>() / n;
        let sin = times.iter().map(|time| (time / day_s * TAU).sin()).sum::<f64>() / n;
        // The first Fourier coefficient of 1 + a·cos(x - p) is a/2 at the angle p.
        let peak = sin.atan2(cos).rem_euclid(TAU) / TAU * 24.0;
        assert!((peak - peak_h as f64).abs() < 0.1, "peak at {peak} h instead of {peak_h} h");
        let height = 2.0 * cos.hypot(sin);
        assert!((height - amplitude).abs() < 0.01, "{height} instead of {amplitude}");
    }
}

/// A load of a known number of requests would send another number.
#[test]
fn constant_counts_are_exact_in_every_shape() {
    let spike = Shape::Spike {
        to: Rate::per_second(200.0),
        at: Duration::from_s(60),
        rise: Duration::from_s(2),
        hold: Duration::from_s(5),
        fall: Duration::from_s(10),
    };
    let day = Shape::Diurnal {
        amplitude: 0.8,
        period: Duration::from_s(86_400),
        peak_at: Duration::from_s(14 * 3_600),
    };
    let of =
        |length_s, shape| Phase { length: Duration::from_s(length_s), rate: Rate::per_second(10.0), shape };
    for (phase, expected) in [
        (of(600, Shape::Flat), 6_000),
        (of(600, Shape::Ramp { to: Rate::per_second(0.0) }), 3_000),
        (of(600, spike), 6_000 + 190 * 11),
        (of(86_400, day), 864_000),
    ] {
        let times = times(Process::Constant, &[phase], 1);
        // The last one may fall on the end.
        assert!(times.len().abs_diff(expected) <= 1, "{phase:?}: {}", times.len());
    }
    let times = times(Process::Constant, &[of(600, spike)], 1);
    let within = |from: f64, to: f64| times.iter().filter(|time| (from..to).contains(*time)).count();
    assert!(within(0.0, 60.0).abs_diff(600) <= 1);
    assert!(within(60.0, 62.0).abs_diff(210) <= 1, "the rise: (10 + 200) / 2 over 2 s");
    assert!(within(62.0, 67.0).abs_diff(1_000) <= 1, "the plateau");
    assert!(within(67.0, 77.0).abs_diff(1_050) <= 1, "the fall");
}

/// A scenario of a year with a minute of load would take as long as a year of load.
#[test]
fn a_long_silence_takes_no_work() {
    // Walking through it would be 10¹² changes of state.
    let year = flat(50 * 365 * 86_400, 0.0);
    let burst = burst(4.0, 1, 3);
    for process in [Process::Constant, Process::Poisson, Process::Bursty(burst)] {
        let times = times(process, &[flat(10, 100.0), year, flat(10, 100.0)], 9);
        let late = times.iter().filter(|time| **time > 1e6).count();
        assert!((700..1_300).contains(&late), "{process:?}: {late}");
    }
}

/// A recording that a user kept would not be reproducible any more, on this machine or on another.
#[test]
fn every_shape_gives_the_same_load_for_ever() {
    let day = Shape::Diurnal { amplitude: 0.8, period: Duration::from_s(60), peak_at: Duration::from_s(14) };
    let phases = [
        Phase { length: Duration::from_s(120), rate: Rate::per_second(10.0), shape: day },
        flat(30, 0.0),
        flat(60, 7.0),
    ];
    let report: Vec<String> =
        [Process::Constant, Process::Poisson, Process::Bursty(burst(5.0, 2_000, 18_000))]
            .into_iter()
            .map(|process| {
                let scenario = scenario(process, phases.to_vec(), 42);
                let all: Vec<u64> = arrivals(&scenario, 0, Flight::Whole)
                    .expect("a load")
                    .map(|arrival| arrival.at_ns)
                    .collect();
                // FNV-1a over all of them.
                let hash = all
                    .iter()
                    .flat_map(|at_ns| at_ns.to_le_bytes())
                    .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                    });
                format!("{process:?}: {} arrivals, {:?} …, {hash:016x}", all.len(), &all[..3])
            })
            .collect();
    insta::assert_snapshot!(report.join("\n"));
}
