//! How long a model server computes for one request.

use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::engine::Stream;

/// A distribution of service times in nanoseconds.
///
/// ```
/// use windtunnel_sim::{engine::Stream, ServiceTime};
/// let constant = ServiceTime::constant(1_000_000.0);
/// assert_eq!(constant.draw(&mut Stream::named(42, "service-time")), 1_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceTime {
    shape: Shape,
    mean_ns: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Constant,
    Exponential,
    Lognormal { location: f64, scale: f64 },
}

impl ServiceTime {
    /// Always `mean_ns`.
    pub fn constant(mean_ns: f64) -> Self {
        Self { shape: Shape::Constant, mean_ns }
    }

    /// Memoryless with mean `mean_ns`.
    pub fn exponential(mean_ns: f64) -> Self {
        Self { shape: Shape::Exponential, mean_ns }
    }

    /// Lognormal with mean `mean_ns` and `cv` = standard deviation / mean.
    pub fn lognormal(mean_ns: f64, cv: f64) -> Self {
        let variance = (cv * cv).ln_1p();
        let location = mean_ns.ln() - variance / 2.0;
        Self { shape: Shape::Lognormal { location, scale: variance.sqrt() }, mean_ns }
    }

    /// The mean, in nanoseconds.
    pub fn mean_ns(&self) -> f64 {
        self.mean_ns
    }

    /// One service time, in whole nanoseconds.
    pub fn draw(&self, stream: &mut Stream) -> u64 {
        let time_ns = match self.shape {
            Shape::Constant => self.mean_ns,
            Shape::Exponential => {
                let unit: f64 = Exp1.sample(stream.generator());
                unit * self.mean_ns
            }
            Shape::Lognormal { location, scale } => {
                let normal: f64 = StandardNormal.sample(stream.generator());
                (location + scale * normal).exp()
            }
        };
        // A float out of range saturates: a service time is never negative and never wraps.
        time_ns.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(time: ServiceTime) -> (f64, f64) {
        let mut stream = Stream::named(42, "moments");
        let draws: Vec<f64> = (0..400_000).map(|_| time.draw(&mut stream) as f64).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    /// A service time with another mean or spread than configured makes every capacity figure wrong.
    #[test]
    fn means_and_spreads_are_the_configured_ones() {
        let (mean, cv) = moments(ServiceTime::exponential(2e6));
        assert!((mean / 2e6 - 1.0).abs() < 0.01 && (cv - 1.0).abs() < 0.01, "{mean} {cv}");
        let (mean, cv) = moments(ServiceTime::lognormal(1e6, 0.2));
        assert!((mean / 1e6 - 1.0).abs() < 0.01 && (cv - 0.2).abs() < 0.01, "{mean} {cv}");
        let (mean, cv) = moments(ServiceTime::constant(5e5));
        assert!(mean == 5e5 && cv == 0.0, "{mean} {cv}");
    }
}
