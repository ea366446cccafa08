//! How long a piece of work takes: draws from a distribution.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::impossible::{Impossible, not_negative, positive};
use crate::engine::Stream;

const NOT_NEGATIVE: &str = "take a finite number of 0 or more";
const POSITIVE: &str = "take a finite number above 0";

/// A distribution of times in nanoseconds: of service, of thinking, of anything that takes time.
///
/// Distributions of one kind draw the same numbers from a stream whatever their parameters are, so that variants of
/// a scenario differ by what was changed and not by luck. Logarithms and exponentials are `libm`'s, whose bits are
/// the same everywhere.
///
/// ```
/// use windtunnel_sim::{engine::Stream, server::Draw};
/// let time = Draw::constant(1_000_000.0)?;
/// assert_eq!(time.draw(&mut Stream::named(42, "service-time")), 1_000_000);
/// # Ok::<(), windtunnel_sim::server::Impossible>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    shape: Shape,
    mean_ns: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Constant,
    Exponential,
    /// Mean and standard deviation of the logarithm.
    Lognormal {
        location: f64,
        scale: f64,
    },
    Gamma {
        shape: f64,
        scale_ns: f64,
    },
    Pareto {
        minimum_ns: f64,
        exponent: f64,
    },
    /// Ascending.
    Empirical {
        values_ns: Arc<[u64]>,
    },
}

/// Always nothing.
impl Default for Draw {
    fn default() -> Self {
        Self { shape: Shape::Constant, mean_ns: 0.0 }
    }
}

impl Draw {
    /// Always `mean_ns`.
    ///
    /// # Errors
    /// A mean that is negative or not finite.
    pub fn constant(mean_ns: f64) -> Result<Self, Impossible> {
        let mean_ns = mean("mean of a constant distribution", mean_ns)?;
        Ok(Self { shape: Shape::Constant, mean_ns })
    }

    /// Memoryless with mean `mean_ns`.
    ///
    /// # Errors
    /// A mean that is negative or not finite.
    pub fn exponential(mean_ns: f64) -> Result<Self, Impossible> {
        let mean_ns = mean("mean of an exponential distribution", mean_ns)?;
        Ok(Self { shape: Shape::Exponential, mean_ns })
    }

    /// Lognormal with mean `mean_ns` and `cv` = standard deviation / mean; a `cv` of 0 is a constant.
    ///
    /// # Errors
    /// A mean or cv that is negative or not finite.
    pub fn lognormal(mean_ns: f64, cv: f64) -> Result<Self, Impossible> {
        let mean_ns = mean("mean of a lognormal distribution", mean_ns)?;
        let cv = not_negative("cv of a lognormal distribution", cv, NOT_NEGATIVE)?;
        if cv == 0.0 || mean_ns == 0.0 {
            return Self::constant(mean_ns);
        }
        let variance = libm::log1p(cv * cv);
        let location = libm::log(mean_ns) - variance / 2.0;
        Ok(Self { shape: Shape::Lognormal { location, scale: variance.sqrt() }, mean_ns })
    }

    /// Gamma with mean `mean_ns` and `cv` = standard deviation / mean; a `cv` of 0 is a constant.
    ///
    /// # Errors
    /// A mean or cv that is negative or not finite.
    pub fn gamma(mean_ns: f64, cv: f64) -> Result<Self, Impossible> {
        let mean_ns = mean("mean of a gamma distribution", mean_ns)?;
        let cv = not_negative("cv of a gamma distribution", cv, NOT_NEGATIVE)?;
        let (shape, scale_ns) = (1.0 / (cv * cv), mean_ns * cv * cv);
        if mean_ns == 0.0 || !shape.is_finite() {
            return Self::constant(mean_ns);
        }
        if shape == 0.0 {
            let remedy = "take a number that a measurement could have: at most 1000";
            return Err(Impossible::new("cv of a gamma distribution", cv, remedy));
        }
        Ok(Self { shape: Shape::Gamma { shape, scale_ns }, mean_ns })
    }

    /// Pareto (type I): never under `minimum_ns`, over x with probability `(minimum / x)^exponent`.
    ///
    /// # Errors
    /// A minimum that is not positive, or an exponent of 1 or less: the mean would be infinite, and with it
    /// every queue.
    pub fn pareto(minimum_ns: f64, exponent: f64) -> Result<Self, Impossible> {
        let minimum_ns = positive("minimum of a Pareto distribution", minimum_ns, POSITIVE)?;
        if !(exponent.is_finite() && exponent > 1.0) {
            let remedy = "take a number above 1, or the mean is infinite";
            return Err(Impossible::new("shape of a Pareto distribution", exponent, remedy));
        }
        let mean_ns = minimum_ns * exponent / (exponent - 1.0);
        Ok(Self { shape: Shape::Pareto { minimum_ns, exponent }, mean_ns })
    }

    /// As observed: between neighbours of the sorted `values_ns` every time is equally likely.
    ///
    /// # Errors
    /// No values, or values that do not ascend.
    pub fn empirical(values_ns: Arc<[u64]>) -> Result<Self, Impossible> {
        let setting = "list of values of an empirical distribution";
        let Some((first, last)) = values_ns.first().zip(values_ns.last()) else {
            return Err(Impossible::new(setting, "empty", "give at least one value"));
        };
        if let Some(at) = values_ns.windows(2).position(|pair| pair[0] > pair[1]) {
            let place = format!("out of order after value {}", at + 1);
            return Err(Impossible::new(setting, place, "sort it"));
        }
        // The mean of a polygon: the ends count half.
        let sum: u128 = values_ns.iter().map(|value| u128::from(*value)).sum();
        let mean_ns = if values_ns.len() == 1 {
            *first as f64
        } else {
            (sum as f64 - (*first as f64 + *last as f64) / 2.0) / (values_ns.len() - 1) as f64
        };
        Ok(Self { shape: Shape::Empirical { values_ns }, mean_ns })
    }

    /// The mean, in nanoseconds.
    pub fn mean_ns(&self) -> f64 {
        self.mean_ns
    }

    /// One time, in whole nanoseconds; what would not fit saturates.
    #[inline]
    pub fn draw(&self, stream: &mut Stream) -> u64 {
        let time_ns = match &self.shape {
            Shape::Constant => self.mean_ns,
            Shape::Exponential => self.mean_ns * stream.exponential(),
            Shape::Lognormal { location, scale } => libm::exp(location + scale * stream.normal()),
            Shape::Gamma { shape, scale_ns } => scale_ns * unit_gamma(*shape, stream),
            Shape::Pareto { minimum_ns, exponent } => minimum_ns * libm::exp(stream.exponential() / exponent),
            Shape::Empirical { values_ns } => return interpolated(values_ns, stream.unit()),
        };
        (time_ns + 0.5) as u64
    }
}

fn mean(setting: &'static str, mean_ns: f64) -> Result<f64, Impossible> {
    not_negative(setting, mean_ns, NOT_NEGATIVE)
        .map_err(|fault| Impossible { value: format!("{} ns", fault.value), ..fault })
}

/// Scale 1, by squeezing a normal variate: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma
/// variables", ACM Transactions on Mathematical Software 26 (2000), with their step for shapes below 1.
fn unit_gamma(shape: f64, stream: &mut Stream) -> f64 {
    if shape < 1.0 {
        let boost = libm::exp(-stream.exponential() / shape);
        return boost * unit_gamma(shape + 1.0, stream);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // More than 95 of 100 tries succeed, so the bound is never met.
    for _ in 0..1_000 {
        let normal = stream.normal();
        let root = 1.0 + c * normal;
        let cube = root * root * root;
        let exponential = stream.exponential();
        if root > 0.0 && -exponential < normal * normal / 2.0 + d - d * cube + d * libm::log(cube) {
            return d * cube;
        }
    }
    shape
}

fn interpolated(values_ns: &[u64], unit: f64) -> u64 {
    let Some(last) = values_ns.len().checked_sub(1) else { return 0 };
    let place = unit * last as f64;
    let below = place as usize;
    let from = values_ns[below];
    let Some(to) = values_ns.get(below + 1) else { return from };
    let way = place - below as f64;
    from + ((to.saturating_sub(from)) as f64 * way + 0.5) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    fn sorted(time: &Draw) -> Vec<f64> {
        let mut stream = Stream::named(42, "statistics");
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| time.draw(&mut stream) as f64).collect();
        draws.sort_by(f64::total_cmp);
        draws
    }

    /// Mean, coefficient of variation, and Kolmogorov's distance from `distribution`, against its 1 % bound.
    fn check(time: &Draw, mean: f64, cv: f64, distribution: impl Fn(f64) -> f64) {
        let draws = sorted(time);
        let n = draws.len() as f64;
        let got_mean = draws.iter().sum::<f64>() / n;
        let got_cv = (draws.iter().map(|draw| (draw - got_mean).powi(2)).sum::<f64>() / n).sqrt() / got_mean;
        assert!((time.mean_ns() / mean - 1.0).abs() < 1e-12, "mean {} of {mean}", time.mean_ns());
        assert!((got_mean / mean - 1.0).abs() < 3.5 * cv / n.sqrt() + 1e-9, "{got_mean} of {mean}");
        assert!((got_cv - cv).abs() < 0.03 * cv + 1e-9, "cv {got_cv} of {cv}");
        let distance = draws.iter().enumerate().fold(0.0_f64, |most, (rank, draw)| {
            let at = distribution(*draw);
            most.max((at - rank as f64 / n).abs()).max((at - (rank + 1) as f64 / n).abs())
        });
        assert!(distance < 1.63 / n.sqrt(), "distance {distance}");
    }

    fn normal(z: f64) -> f64 {
        0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
    }

    /// A service time with another distribution than configured makes every capacity figure wrong.
    #[test]
    fn draws_follow_the_formulas_of_their_distribution() {
        check(&Draw::exponential(2e6).unwrap(), 2e6, 1.0, |x| 1.0 - libm::exp(-x / 2e6));
        let variance = libm::log1p(0.25);
        check(&Draw::lognormal(1e6, 0.5).unwrap(), 1e6, 0.5, |x| {
            normal((libm::log(x / 1e6) + variance / 2.0) / variance.sqrt())
        });
        // Variance of a Pareto variate with exponent a: mean² / (a (a - 2)).
        check(&Draw::pareto(1e6, 5.0).unwrap(), 1.25e6, 1.0 / 15.0_f64.sqrt(), |x| {
            1.0 - libm::pow(1e6 / x, 5.0)
        });
        let values: Arc<[u64]> = Arc::from([0_u64, 1_000_000, 5_000_000]);
        let second_moment = (1e12 / 3.0 + (1e12 + 5e12 + 25e12) / 3.0) / 2.0;
        let cv = (second_moment - 1.75e6_f64.powi(2)).sqrt() / 1.75e6;
        check(&Draw::empirical(values).unwrap(), 1.75e6, cv, |x| {
            if x < 1e6 { x / 2e6 } else { 0.5 + (x - 1e6) / 8e6 }
        });
    }

    /// The gamma distribution in the three cases with a closed formula: below, at and above shape 1.
    #[test]
    fn gamma_is_chi_square_exponential_and_erlang() {
        check(&Draw::gamma(1e6, 2.0_f64.sqrt()).unwrap(), 1e6, 2.0_f64.sqrt(), |x| {
            libm::erf((x / 2e6).sqrt())
        });
        check(&Draw::gamma(1e6, 1.0).unwrap(), 1e6, 1.0, |x| 1.0 - libm::exp(-x / 1e6));
        check(&Draw::gamma(1e6, 0.5).unwrap(), 1e6, 0.5, |x| {
            let y = x / 2.5e5;
            1.0 - libm::exp(-y) * (1.0 + y + y * y / 2.0 + y * y * y / 6.0)
        });
    }

    /// No spread at all must be a constant, not a division by zero.
    #[test]
    fn without_spread_every_draw_is_the_mean() {
        let mut stream = Stream::named(1, "constant");
        for time in [
            Draw::constant(7.0),
            Draw::lognormal(7.0, 0.0),
            Draw::gamma(7.0, 0.0),
            Draw::gamma(7.0, 1e-200),
            Draw::empirical(Arc::from([7_u64])),
        ] {
            let time = time.unwrap();
            assert_eq!((time.draw(&mut stream), time.mean_ns()), (7, 7.0));
        }
        assert_eq!(Draw::exponential(0.0).unwrap().draw(&mut stream), 0);
        let widest = Draw::empirical(Arc::from([0, u64::MAX])).unwrap();
        assert!(widest.draw(&mut stream) > 0);
        assert_eq!(Draw::constant(1e300).unwrap().draw(&mut stream), u64::MAX);
    }

    /// "Twice as fast" must be the same luck at half the time, or two variants cannot be compared request by request.
    #[test]
    fn parameters_do_not_change_the_luck() {
        let pairs = [
            (Draw::exponential(1e6), Draw::exponential(2e6)),
            (Draw::lognormal(1e6, 0.7), Draw::lognormal(2e6, 0.7)),
            (Draw::gamma(1e6, 1.3), Draw::gamma(2e6, 1.3)),
            (Draw::pareto(1e6, 1.5), Draw::pareto(2e6, 1.5)),
        ];
        for (one, twice) in pairs {
            let (one, twice) = (one.unwrap(), twice.unwrap());
            let (mut here, mut there) = (Stream::named(9, "step"), Stream::named(9, "step"));
            for _ in 0..1_000 {
                let (short_ns, long_ns) = (one.draw(&mut here), twice.draw(&mut there));
                assert!(long_ns.abs_diff(2 * short_ns) <= 1 + long_ns / 1_000_000_000_000, "{one:?}");
            }
        }
    }

    /// A typing mistake in a scenario must be told at once, with what to write instead.
    #[test]
    fn impossible_parameters_are_refused_with_a_remedy() {
        let refused = |time: Result<Draw, Impossible>| time.unwrap_err().to_string();
        assert_eq!(
            refused(Draw::pareto(1e6, 1.0)),
            "shape of a Pareto distribution is 1: take a number above 1, or the mean is infinite"
        );
        assert_eq!(
            refused(Draw::empirical(Arc::from([3_u64, 5, 4]))),
            "list of values of an empirical distribution is out of order after value 2: sort it"
        );
        assert_eq!(
            refused(Draw::lognormal(f64::INFINITY, 1.0)),
            "mean of a lognormal distribution is inf ns: take a finite number of 0 or more"
        );
        for time in [
            Draw::constant(f64::NAN),
            Draw::exponential(-1.0),
            Draw::lognormal(1.0, -0.1),
            Draw::gamma(1.0, f64::INFINITY),
            Draw::gamma(1.0, 1e200),
            Draw::pareto(0.0, 2.0),
            Draw::pareto(1.0, f64::NAN),
            Draw::empirical(Arc::from([])),
        ] {
            time.unwrap_err();
        }
    }

    /// A plan that is sent to another thread or written down must draw the same times there.
    #[test]
    fn a_distribution_survives_being_written_down() {
        for time in [Draw::gamma(1e6, 0.3).unwrap(), Draw::empirical(Arc::from([1_u64, 9])).unwrap()] {
            let text = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Draw>(&text).unwrap(), time);
        }
    }
}
