//! Random streams: one a source, derived from the scenario's seed and the source's name.
//!
//! Two what-ifs that share a source share its random numbers, whatever else differs between them.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Infallible, TryRng};

/// The generator of every stream: PCG XSL-RR 128/64 (LCG), whose output is fixed by its publication, so that
/// a seed means the same numbers for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream(Pcg64);

/// The stream of one source, such as `arrivals` or `service-time/pod-3`.
pub fn stream(seed: u64, name: &str) -> Stream {
    let high = split_mix(seed);
    let low = split_mix(high ^ seed.rotate_left(32));
    let state = (u128::from(high) << 64) | u128::from(low);
    Stream(Pcg64::new(state, fnv1a_128(name.as_bytes())))
}

impl Stream {
    /// A number from 0 (inclusive) to 1 (exclusive), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A sample of the exponential distribution with mean 1.
    ///
    /// Von Neumann's method (1951): it only compares uniform numbers, so that no platform's logarithm can
    /// change a bit of a recording.
    pub fn exponential(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.unit();
            let mut previous = first;
            let mut descents = 1u32;
            loop {
                let next = self.unit();
                if next >= previous {
                    break;
                }
                previous = next;
                descents += 1;
            }
            if descents % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }

    fn bits(&mut self) -> u64 {
        let Ok(bits) = self.0.try_next_u64();
        bits
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(destination)
    }
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014), one step.
fn split_mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The FNV-1a hash with 128 bits: a different increment of the generator for every name.
fn fnv1a_128(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here would change every recording that a user has kept.
    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        let mut arrivals = stream(42, "arrivals");
        let first: Vec<u64> = (0..3).map(|_| arrivals.bits()).collect();
        insta::assert_debug_snapshot!(first);
        assert_ne!(stream(42, "arrivals"), stream(42, "service-time"));
        assert_ne!(stream(42, "arrivals"), stream(43, "arrivals"));
    }

    /// Arrivals would be too regular or too bursty.
    #[test]
    fn exponential_samples_have_the_right_moments() {
        let mut stream = stream(7, "test");
        let n = 200_000;
        let samples: Vec<f64> = (0..n).map(|_| stream.exponential()).collect();
        let mean = samples.iter().sum::<f64>() / f64::from(n);
        let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        let above_one = samples.iter().filter(|x| **x > 1.0).count() as f64 / f64::from(n);
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
        assert!((above_one - (-1f64).exp()).abs() < 0.005, "{above_one}");
    }
}
