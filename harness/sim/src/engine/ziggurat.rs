//! Exponential and normal samples by the ziggurat method.
//!
//! Marsaglia, Tsang: "The ziggurat method for generating random variables", Journal of Statistical Software 5(8),
//! 2000, with 256 layers, and with the layer and the position within it taken from different bits of a word
//! (Doornik: "An improved ziggurat method to generate normal random samples", 2005). Every logarithm and
//! exponential is libm's, so that the same seed gives the same bits on every machine and in every profile.

use std::sync::LazyLock;

use super::Stream;

const LAYERS: usize = 256;

/// The right edge of each layer, the widest first, and the density there.
struct Layers {
    edges: [f64; LAYERS + 1],
    densities: [f64; LAYERS + 1],
}

/// Where the tail begins and how large each layer is: for 256 layers, from the paper.
const EXPONENTIAL: (f64, f64) = (7.697_117_470_131_05, 0.003_949_659_822_581_557);
const NORMAL: (f64, f64) = (3.654_152_885_361_009, 0.004_928_673_233_974_655);

static EXPONENTIAL_LAYERS: LazyLock<Layers> =
    LazyLock::new(|| Layers::of(EXPONENTIAL, |x| libm::exp(-x), |density| -libm::log(density)));
static NORMAL_LAYERS: LazyLock<Layers> = LazyLock::new(|| {
    Layers::of(NORMAL, |x| libm::exp(-x * x / 2.0), |density| (-2.0 * libm::log(density)).sqrt())
});

impl Layers {
    fn of((tail, area): (f64, f64), density: impl Fn(f64) -> f64, inverse: impl Fn(f64) -> f64) -> Self {
        let mut edges = [0.0; LAYERS + 1];
        // The lowest layer is as wide as a box of its area would be, the tail included.
        edges[0] = area / density(tail);
        edges[1] = tail;
        for layer in 2..LAYERS {
            edges[layer] = inverse(area / edges[layer - 1] + density(edges[layer - 1]));
        }
        Self { densities: edges.map(&density), edges }
    }
}

/// A sample with mean 1.
pub(super) fn exponential(stream: &mut Stream) -> f64 {
    let layers = &*EXPONENTIAL_LAYERS;
    loop {
        let word = stream.word();
        let layer = (word & 0xff) as usize;
        let x = fraction(word) * layers.edges[layer];
        if x < layers.edges[layer + 1] {
            return x;
        }
        if layer == 0 {
            // Memoryless: the tail is the distribution itself, further out. 1 - u is never 0.
            return EXPONENTIAL.0 - libm::log(1.0 - stream.unit());
        }
        if is_under(layers, layer, stream.unit(), libm::exp(-x)) {
            return x;
        }
    }
}

/// A sample with mean 0 and standard deviation 1.
pub(super) fn normal(stream: &mut Stream) -> f64 {
    let layers = &*NORMAL_LAYERS;
    loop {
        let word = stream.word();
        let layer = (word & 0xff) as usize;
        let x = (2.0 * fraction(word) - 1.0) * layers.edges[layer];
        if x.abs() < layers.edges[layer + 1] {
            return x;
        }
        if layer == 0 {
            return normal_tail(stream).copysign(x);
        }
        if is_under(layers, layer, stream.unit(), libm::exp(-x * x / 2.0)) {
            return x;
        }
    }
}

/// Marsaglia's method for the tail of the normal distribution (Technometrics 6, 1964).
fn normal_tail(stream: &mut Stream) -> f64 {
    loop {
        let x = -libm::log(1.0 - stream.unit()) / NORMAL.0;
        let y = -libm::log(1.0 - stream.unit());
        if 2.0 * y >= x * x {
            return NORMAL.0 + x;
        }
    }
}

/// Whether a point of a layer, `height` of the way down from its upper edge's density, lies under the curve.
fn is_under(layers: &Layers, layer: usize, height: f64, density: f64) -> bool {
    let (low, high) = (layers.densities[layer], layers.densities[layer + 1]);
    high + (low - high) * height < density
}

/// The upper 53 bits, in [0, 1): those that do not choose the layer.
fn fraction(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 1_000_000;

    /// The largest distance between the sampled and the exact distribution (Kolmogorov and Smirnov).
    fn distance(mut draws: Vec<f64>, exact: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let count = draws.len() as f64;
        let far = |(rank, x): (usize, &f64)| {
            let exact = exact(*x);
            (exact - rank as f64 / count).abs().max(((rank + 1) as f64 / count - exact).abs())
        };
        draws.iter().enumerate().map(far).fold(0.0, f64::max)
    }

    /// Every service time and every gap comes from here: a wrong shape would make every queue wrong.
    #[test]
    fn both_distributions_have_the_exact_shape() {
        // 99 % quantile of the Kolmogorov distribution.
        let limit = 1.628 / (DRAWS as f64).sqrt();
        let mut stream = Stream::named(42, "exponential");
        let draws: Vec<f64> = (0..DRAWS).map(|_| stream.exponential()).collect();
        let far = draws.iter().filter(|draw| **draw > EXPONENTIAL.0).count() as f64;
        let expected = DRAWS as f64 * (-EXPONENTIAL.0).exp();
        assert!((far - expected).abs() < 4.0 * expected.sqrt(), "{far} in the tail instead of {expected}");
        let exponential = distance(draws, |x| -(-x).exp_m1());
        assert!(exponential < limit, "exponential: {exponential} > {limit}");

        let mut stream = Stream::named(42, "normal");
        let draws: Vec<f64> = (0..DRAWS).map(|_| stream.normal()).collect();
        let normal = distance(draws, |x| libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0);
        assert!(normal < limit, "normal: {normal} > {limit}");
    }

    /// The layers must close at the top, or samples near the mode are missing.
    #[test]
    fn the_layers_have_equal_areas_up_to_the_top() {
        for (layers, (_, area)) in [(&*EXPONENTIAL_LAYERS, EXPONENTIAL), (&*NORMAL_LAYERS, NORMAL)] {
            let top = layers.edges[LAYERS - 1] * (1.0 - layers.densities[LAYERS - 1]);
            assert!((top / area - 1.0).abs() < 1e-6, "{top} {area}");
            assert_eq!(layers.edges[LAYERS], 0.0);
        }
    }
}
