//! Named random streams: one generator for each source of chance.

use rand::Rng as _;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::ziggurat;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    generator: Pcg64,
}

impl Stream {
    /// The stream `name` of `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        let Streams { high, low, stream_high, stream_low } = Streams::named(seed, name);
        Self { generator: Pcg64::new(wide(high, low), wide(stream_high, stream_low)) }
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

    /// A sample of the exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        ziggurat::exponential(self)
    }

    /// A sample of the normal distribution with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        ziggurat::normal(self)
    }
}

/// A family of streams: one for each number, such as the place of a request in its load.
///
/// What a request draws is then a function of the seed, the family's name and the request's number: two futures
/// of one run, or two variants of one scenario, give the same request the same luck whatever happened before it
/// came. Nothing of it is state.
///
/// ```
/// use windtunnel_sim::engine::Streams;
/// let requests = Streams::named(42, "requests/digits");
/// assert_eq!(requests.of(7).unit(), requests.of(7).unit());
/// assert_ne!(requests.of(7).unit(), requests.of(8).unit());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    high: u64,
    low: u64,
    stream_high: u64,
    stream_low: u64,
}

impl Streams {
    /// The family `name` of `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        let hash = fnv1a(name.as_bytes());
        Self {
            high: scramble(seed ^ hash),
            low: scramble(seed.rotate_left(32)),
            stream_high: scramble(hash),
            stream_low: hash,
        }
    }

    /// The stream of one number.
    pub fn of(&self, number: u64) -> Stream {
        // Places on one sequence of 2^128 numbers, as far apart as chance puts them.
        let place = scramble(self.high ^ number);
        let state = wide(place, scramble(place ^ self.low));
        Stream { generator: Pcg64::new(state, wide(self.stream_high, self.stream_low)) }
    }
}

fn wide(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
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

    /// Requests with related luck would make every queue look shorter or longer than it is.
    #[test]
    fn the_first_numbers_of_neighbouring_streams_are_independent() {
        let streams = Streams::named(42, "requests");
        let draws: Vec<f64> = (0..200_000).map(|number| streams.of(number).unit() - 0.5).collect();
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / count;
        // Standard errors: 0.289 / sqrt(n) of the mean, 1/12 / sqrt(n) of the products of two.
        assert!(mean.abs() < 4.0 * 0.289 / count.sqrt(), "mean {mean}");
        assert!((variance * 12.0 - 1.0).abs() < 0.01, "variance {variance}");
        for lag in [1, 2, 3, 64, 256] {
            let products =
                draws.iter().zip(&draws[lag..]).map(|(one, other)| one * other).sum::<f64>() / count;
            assert!(products.abs() < 4.0 / 12.0 / count.sqrt(), "lag {lag}: {products}");
        }
    }

    /// A stream that was stored must go on where it was.
    #[test]
    fn a_stored_stream_goes_on() {
        let mut stream = Stream::named(42, "stored");
        stream.word();
        let text = serde_json::to_string(&stream).expect("serialisable");
        let mut stored: Stream = serde_json::from_str(&text).expect("what was written");
        assert_eq!([stored.word(), stored.word()], [stream.word(), stream.word()]);
    }
}
