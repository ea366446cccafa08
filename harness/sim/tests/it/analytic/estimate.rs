//! Estimates with confidence: independent replications, and Student's t.

/// Seeds of the first round: one replication each.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;
/// Student's t for a two-sided interval of 99 % with 19 degrees of freedom (the 0.995 quantile; any printed table).
const STUDENT_99_19: f64 = 2.861;

/// Seeds of the second round.
const OTHER_SEEDS: std::ops::RangeInclusive<u64> = 1_001..=1_081;
/// The same for 80 degrees of freedom.
const STUDENT_99_80: f64 = 2.639;

/// A number that theory knows.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    name: &'static str,
    theory: f64,
    /// The interval must be at least this narrow, as a share of `theory`: a wide one proves nothing.
    precision: f64,
}

impl Fact {
    /// To be measured within 2 %.
    pub(crate) fn new(name: &'static str, theory: f64) -> Self {
        Self { name, theory, precision: 0.02 }
    }

    /// To be measured within `share` of it, where rare events need too many requests for 2 %.
    pub(crate) fn within(self, share: f64) -> Self {
        Self { precision: share, ..self }
    }
}

/// A mean over replications and half the width of its interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    mean: f64,
    half_width: f64,
}

impl Interval {
    fn of(values: &[f64], student: f64) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, half_width: student * (variance / count).sqrt() }
    }

    /// Whether the whole interval lies between two bounds.
    pub(crate) fn lies_within(&self, low: f64, high: f64) -> bool {
        low <= self.mean - self.half_width && self.mean + self.half_width <= high
    }

    fn covers(&self, theory: f64) -> bool {
        // What never varies has no width, but sums of it are rounded.
        (self.mean - theory).abs() <= self.half_width + 1e-12 * theory.abs()
    }
}

/// Asserts that what `replicate` measures, one number a fact, is what theory says, with 99 % confidence.
///
/// One sound interval in a hundred misses. So a fact that is missed is measured once more, with other seeds and four
/// times as much: chance does not come twice on one side, a defect does, and the narrower interval shows it better.
pub(crate) fn assert_facts(system: &str, facts: &[Fact], replicate: impl Fn(u64) -> Vec<f64>) {
    let first = measure(SEEDS, STUDENT_99_19, facts, &replicate);
    let mut second: Option<Vec<Interval>> = None;
    for (position, (fact, interval)) in facts.iter().zip(&first).enumerate() {
        println!(
            "{system} | {} | {:.6} | {:.6} ± {:.6} | {:+.2} % ± {:.2} %",
            fact.name,
            fact.theory,
            interval.mean,
            interval.half_width,
            100.0 * (interval.mean / fact.theory - 1.0),
            100.0 * interval.half_width / fact.theory
        );
        assert!(
            interval.half_width <= fact.precision * fact.theory,
            "{system}, {}: an interval of {interval:?} is too wide to prove {}",
            fact.name,
            fact.theory
        );
        if interval.covers(fact.theory) {
            continue;
        }
        let again =
            second.get_or_insert_with(|| measure(OTHER_SEEDS, STUDENT_99_80, facts, &replicate))[position];
        let is_same_side = (again.mean > fact.theory) == (interval.mean > fact.theory);
        println!("{system} | {} | again | {again:?}", fact.name);
        assert!(
            again.covers(fact.theory) || !is_same_side,
            "{system}, {}: theory says {}, measured {interval:?} and, with other seeds, {again:?}",
            fact.name,
            fact.theory
        );
    }
}

/// What `replicate` measures, at 99 % confidence.
pub(crate) fn estimate(replicate: impl Fn(u64) -> f64) -> Interval {
    Interval::of(&SEEDS.map(replicate).collect::<Vec<f64>>(), STUDENT_99_19)
}

fn measure(
    seeds: std::ops::RangeInclusive<u64>,
    student: f64,
    facts: &[Fact],
    replicate: impl Fn(u64) -> Vec<f64>,
) -> Vec<Interval> {
    let replications: Vec<Vec<f64>> = seeds.map(replicate).collect();
    assert!(replications.iter().all(|values| values.len() == facts.len()), "one number a fact");
    let column =
        |position: usize| -> Vec<f64> { replications.iter().map(|values| values[position]).collect() };
    (0..facts.len()).map(|position| Interval::of(&column(position), student)).collect()
}

/// A test that cannot fail protects nobody: a number that is 3 % off must be refused, the right one must not.
#[test]
fn a_wrong_formula_is_refused() {
    let noise =
        |seed: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
    let measured = |seed| vec![1.0 + 0.05 * noise(seed)];
    assert_facts("noise", &[Fact::new("one", 1.0)], measured);
    let refused = |theory: f64| {
        std::panic::catch_unwind(|| assert_facts("noise", &[Fact::new("one", theory)], measured)).is_err()
    };
    assert!(refused(1.03) && refused(0.97));
    assert!(
        std::panic::catch_unwind(|| {
            assert_facts("noise", &[Fact::new("one", 1.0).within(0.001)], measured);
        })
        .is_err()
    );
}
