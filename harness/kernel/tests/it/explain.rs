//! A time span of decisions, as a person reads it.

use windtunnel_kernel::autoscale::kpa::Trigger;
use windtunnel_kernel::autoscale::kpa::explain::Span;

use crate::flight::{Flight, at, ten_a_pod};

/// If it fails, what happened over a minute is either a wall of ticks or hides why pods came and went.
#[test]
fn a_span_tells_what_happened_and_why() {
    let mut flight = Flight::new(ten_a_pod(), 1, 1);
    let mut span = Span::new(at(0.0));
    for tick in 1..=34_u32 {
        let seconds = 2.0 * f64::from(tick);
        for second in [seconds - 1.0, seconds] {
            flight.report(second, if (3.0..10.0).contains(&second) { 60.0 } else { 5.0 });
        }
        let decision = flight.step(Trigger::Tick, seconds);
        span.push(at(seconds), &decision.explanation);
        flight.ready = flight.replicas;
    }
    let text = span.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() < 20, "{text}");
    assert_eq!(span.stretches().iter().map(|stretch| stretch.count).sum::<u64>(), 34);
    assert!(lines[0].trim_start().starts_with("seconds"), "{text}");
    assert!(lines.iter().any(|line| line.contains("1 -> 4") && line.contains("panicking")), "{text}");
    assert!(lines.iter().any(|line| line.contains("held at") && line.contains("times)")), "{text}");
    assert!(!text.ends_with('\n'));
    assert_eq!(Span::new(0).to_string(), "no decision in this time span");
}
