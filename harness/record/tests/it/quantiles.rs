//! How fast.

use proptest::prelude::*;
use windtunnel_record::quantile::{LatencyHistogram, of_requests, sorted_latencies};
use windtunnel_record::{Request, Source};

use crate::flights::{MS, with_latencies};

/// A report would show another latency than the one that was measured.
#[test]
fn quantiles_are_latencies_that_occurred() {
    let latencies: Vec<u64> = (1..=100).collect();
    let recording = with_latencies(Source::Live, &latencies);
    for (q, ms) in [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1)] {
        assert_eq!(of_requests(recording.requests.iter(), q), Some(ms * MS), "{q}");
    }
    assert_eq!(of_requests([].iter(), 0.5), None);
    let failed = with_latencies(Source::Live, &[0, 0, 7]);
    assert_eq!(sorted_latencies(failed.requests.iter()), [7 * MS]);
}

proptest! {
    /// A long run would report other latencies than a short one.
    #[test]
    fn the_histogram_is_close_to_the_exact_quantiles(
        latencies in proptest::collection::vec(1u64..100_000_000_000, 1..300),
        q in 0.0..=1.0f64,
    ) {
        let requests: Vec<Request> = latencies.iter().map(|ns| Request::answered(0, *ns, 0)).collect();
        let exact = of_requests(requests.iter(), q).expect("a latency") as f64;
        let (mut left, mut right) = (LatencyHistogram::new(), LatencyHistogram::new());
        for (n, ns) in latencies.iter().enumerate() {
            if n % 2 == 0 { left.record(*ns) } else { right.record(*ns) }
        }
        left.add(&right);
        prop_assert_eq!(left.len(), latencies.len() as u64);
        let estimate = left.quantile(q).expect("a latency") as f64;
        prop_assert!((estimate - exact).abs() <= exact * 0.002 + 1.0, "{estimate} instead of {exact}");
    }
}

/// A run without answers would report a latency.
#[test]
fn an_empty_histogram_has_no_quantile() {
    assert!(LatencyHistogram::new().is_empty());
    assert_eq!(LatencyHistogram::default().quantile(0.5), None);
}
