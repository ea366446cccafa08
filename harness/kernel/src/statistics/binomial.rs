//! Exact binomial statements, for samples up to ten million and beyond. Counts are cut to 2^40; a probability that is NaN
//! is taken for 0.

use super::beta::{COUNT_LIMIT, ln_probability, regularized};

/// `P[Bin(n, p) <= k]`.
#[must_use]
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    let (k, n) = cut(k, n);
    if p.is_nan() || k >= n { 1.0 } else { regularized(1.0 - p, n - k, k + 1) }
}

/// `P[Bin(n, p) >= k]`.
#[must_use]
pub fn at_least(k: u64, n: u64, p: f64) -> f64 {
    let is_impossible = k > n;
    let (k, n) = cut(k, n);
    match k {
        0 => 1.0,
        _ if is_impossible => 0.0,
        k => regularized(p, k, n - k + 1),
    }
}

/// The exact two-sided p-value of `successes` in `trials` for a success probability of `p`: the probability of all
/// outcomes that are no likelier than the one seen. 1 without trials; `p` outside `[0, 1]` is cut to it.
#[must_use]
pub fn two_sided_p_value(successes: u64, trials: u64, p: f64) -> f64 {
    // Two outcomes that are equally likely on paper count as such.
    const TOLERANCE: f64 = 1e-7;
    if trials == 0 {
        return 1.0;
    }
    let p = if p.is_nan() { return 1.0 } else { p.clamp(0.0, 1.0) };
    let (successes, trials) = cut(successes, trials);
    let seen = ln_probability(successes, trials, p);
    let limit = seen + TOLERANCE;
    let is_as_unlikely = |k: u64| ln_probability(k, trials, p) <= limit;
    let mode = ((trials as f64 + 1.0) * p).floor().min(trials as f64) as u64;
    if is_as_unlikely(mode) {
        return 1.0;
    }
    if successes < mode {
        // The other tail starts at the first outcome above the mode that is as unlikely.
        let other = first(mode, trials + 1, is_as_unlikely);
        (at_most(successes, trials, p) + at_least(other, trials, p)).min(1.0)
    } else {
        // The outcomes below the mode that are as unlikely end before `likelier`.
        let likelier = first(0, mode, |k| !is_as_unlikely(k));
        let below = if likelier == 0 { 0.0 } else { at_most(likelier - 1, trials, p) };
        (below + at_least(successes, trials, p)).min(1.0)
    }
}

/// The exact (Clopper-Pearson) interval of the success probability for `successes` in `trials` at `confidence`
/// (0 to 1, such as 0.99). `(0, 1)` without trials.
#[must_use]
pub fn clopper_pearson(successes: u64, trials: u64, confidence: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (successes, trials) = cut(successes, trials);
    let tail = super::interval::tail(confidence);
    let low = if successes == 0 { 0.0 } else { solve(|p| at_least(successes, trials, p) >= tail) };
    let high = if successes == trials { 1.0 } else { solve(|p| at_most(successes, trials, p) <= tail) };
    (low, high)
}

/// Counts within [`COUNT_LIMIT`], the first at most the second.
fn cut(k: u64, n: u64) -> (u64, u64) {
    let n = n.min(COUNT_LIMIT);
    (k.min(n), n)
}

/// The least whole number in `from..end` that fulfils `condition`, which once true stays true; `end` if none.
fn first(from: u64, end: u64, condition: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (from, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if condition(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The probability at which `condition` turns true, to the last bit.
fn solve(condition: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // Halves until the bounds are neighbours.
    for _ in 0..1100 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if condition(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}
