//! The sequential test of a share: how often it is wrong, and how soon it is right.

use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::statistics::binomial::at_most;
use windtunnel_kernel::statistics::sequential::{Judgement, ShareTest};

/// Looks once a second at `rate` more samples, up to `seconds` times: the judgement, and when it was made.
fn run(seed: u64, share: f64, limit: f64, alpha: f64, rate: u64, seconds: u32) -> (Judgement, u32) {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut test = ShareTest::new(limit, alpha);
    for second in 1..=seconds {
        let is_over = |word: u64| ((word >> 11) as f64) < share * (1_u64 << 53) as f64;
        let over = (0..rate).filter(|_| is_over(generator.next_u64())).count() as u64;
        let judgement = test.observe(rate, over);
        if judgement != Judgement::Open {
            return (judgement, second);
        }
    }
    (Judgement::Open, seconds)
}

/// If it fails, a service that just keeps its limit is stopped more often than was agreed (a threshold that is looked
/// at every second stops a third of services at half of it), or a bad one is let through.
#[test]
fn false_words_stay_within_alpha_however_often_one_looks() {
    let (runs, alpha, limit) = (3000_u64, 0.05, 0.01);
    let count = |share: f64, wrong: Judgement| {
        (0..runs).filter(|&seed| run(seed, share, limit, alpha, 50, 120).0 == wrong).count() as u64
    };
    for wrong in [Judgement::Broken, Judgement::Kept] {
        let mistakes = count(limit, wrong);
        // So many or fewer come about with probability 10^-9 at most if the rate were over alpha.
        assert!(1.0 - at_most(mistakes, runs, alpha) > 1e-9, "seeds 0..{runs}: {mistakes} {wrong:?}");
        assert!(mistakes > 0, "a test that never errs is not used up");
    }
    assert_eq!(count(0.005, Judgement::Broken), 0);
}

/// The times of a simulation of the same rule at 50 requests a second, limit 1 %, alpha 1 %: median 28 s to stop a
/// service of 2 %, 3 s at 5 %, 62 s to accept one of 0.5 %. If it fails, a bad build burns its users for minutes.
#[test]
fn it_judges_as_soon_as_the_samples_allow() {
    for (share, expected, earliest_s, latest_s) in
        [(0.02, Judgement::Broken, 20, 36), (0.05, Judgement::Broken, 2, 6), (0.005, Judgement::Kept, 50, 75)]
    {
        let mut times: Vec<u32> = (0..301)
            .map(|seed| {
                let (judgement, second) = run(seed, share, 0.01, 0.01, 50, 600);
                assert_eq!(judgement, expected, "seed {seed}, {share}");
                second
            })
            .collect();
        times.sort_unstable();
        assert!((earliest_s..=latest_s).contains(&times[150]), "{share}: median {} s", times[150]);
    }
}

/// If it fails, a judgement changes its mind, or depends on how samples are bundled.
#[test]
fn judgements_stay_and_bundles_do_not_matter() {
    let mut test = ShareTest::new(0.01, 0.01);
    assert_eq!(test.ln_evidence(), (0.0, 0.0));
    assert_eq!(test.observe(150, 8), Judgement::Broken);
    assert_eq!(test.observe(1_000_000, 0), Judgement::Broken);
    assert_eq!(test.counts(), (1_000_150, 8));
    let (mut one, mut other) = (ShareTest::new(0.2, 0.01), ShareTest::new(0.2, 0.01));
    one.observe(10, 2);
    (0..5).for_each(|i| {
        other.observe(2, u64::from(i < 2));
    });
    assert_eq!(one.ln_evidence(), other.ln_evidence());
}
