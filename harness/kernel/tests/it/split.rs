//! The traffic split.

use proptest::prelude::*;
use windtunnel_kernel::routing::split::TrafficSplit;

/// Every backend is strictly within one request of its share.
fn assert_exact(weights: &[u32], prefix: u64, counts: &[u64]) -> Result<(), TestCaseError> {
    let total: i128 = weights.iter().map(|&weight| i128::from(weight)).sum();
    for (backend, (&weight, &count)) in weights.iter().zip(counts).enumerate() {
        let off = i128::from(count) * total - i128::from(prefix) * i128::from(weight);
        prop_assert!(off.abs() < total, "backend {backend} of {weights:?} has {count} of the first {prefix}");
    }
    Ok(())
}

proptest! {
    /// If it fails, a canary gets more, or less, than its share, and a test on the split fails by bad luck.
    #[test]
    fn every_prefix_is_within_one_request_of_its_share(
        weights in prop::collection::vec(prop_oneof![Just(0), 1..=100_u32, 1..=u32::MAX], 1..14),
    ) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let mut split = TrafficSplit::new(&weights);
        let mut counts = vec![0_u64; weights.len()];
        for prefix in 1..=1500 {
            let backend = split.next();
            prop_assert!(weights[backend] > 0, "a backend of weight zero was picked");
            counts[backend] += 1;
            assert_exact(&weights, prefix, &counts)?;
        }
    }

    /// If it fails, a gateway that is restarted, or a recording that is replayed, routes differently.
    #[test]
    fn a_stored_split_goes_on_the_same(weights in prop::collection::vec(1..=100_u32, 1..6), steps in 0..200_usize) {
        let mut split = TrafficSplit::new(&weights);
        for _ in 0..steps {
            split.next();
        }
        let text = serde_json::to_string(&split).expect("a split is JSON");
        let mut restored: TrafficSplit = serde_json::from_str(&text).expect("the same split");
        prop_assert_eq!(&restored, &split);
        for _ in 0..100 {
            prop_assert_eq!(restored.next(), split.next());
        }
    }
}

/// If it fails, 10 % is not one request in ten.
#[test]
fn ten_percent_is_one_in_ten() {
    let mut split = TrafficSplit::new(&[90, 10]);
    let picks: Vec<usize> = (0..1000).map(|_| split.next()).collect();
    for block in picks.chunks(10) {
        assert_eq!(block.iter().filter(|&&backend| backend == 1).count(), 1);
    }
}

/// If it fails, a route without live backends crashes the gateway.
#[test]
fn no_weight_is_no_crash() {
    for weights in [&[][..], &[0, 0]] {
        let mut split = TrafficSplit::new(weights);
        assert!(split.is_empty());
        assert_eq!(split.next(), 0);
    }
    let mut single = TrafficSplit::new(&[0, 7]);
    assert_eq!((single.next(), single.next()), (1, 1));
}
