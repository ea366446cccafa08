//! Named random streams: one generator for each source of chance.

use rand::Rng as _;
use rand_pcg::Pcg64;

/// A random stream that depends on the seed and its name and on nothing else.
///
/// Two variants of a scenario that share a stream's name draw the same numbers from it, however many numbers
/// the rest of the model draws: differences between them are then differences of the variants, not luck.
///
/// ```
/// use windtunnel_sim::engine::Stream;
/// let mut one = Stream::named(42, "service-time");
/// let mut two = Stream::named(42, "service-time");
/// assert_eq!(one.unit(), two.unit());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    generator: Pcg64,
}

impl Stream {
    /// The stream `name` of `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        let hash = fnv1a(name.as_bytes());
        let state = (u128::from(scramble(seed ^ hash)) << 64) | u128::from(scramble(seed.rotate_left(32)));
        let stream = (u128::from(scramble(hash)) << 64) | u128::from(hash);
        Self { generator: Pcg64::new(state, stream) }
    }

    /// A number in [0, 1), with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.word() >> 11) as f64 * SCALE
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// The generator itself, for distributions.
    pub fn generator(&mut self) -> &mut Pcg64 {
        &mut self.generator
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of SplitMix64: neighbouring seeds give unrelated states.
fn scramble(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams that shared numbers would correlate parts of the model that have nothing to do with each other.
    #[test]
    fn names_and_seeds_give_unrelated_streams() {
        let draw = |seed, name| Stream::named(seed, name).unit();
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        let mut stream = Stream::named(7, "mean");
        let mean = (0..100_000).map(|_| stream.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
    }
}
