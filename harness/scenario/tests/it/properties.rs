//! Laws of the grammars, and that no text makes the program panic.

use proptest::prelude::*;
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::quantity::{MAX_DURATION, parse_percent};
use windtunnel_scenario::{Bandwidth, Bytes, Duration, Price, Rate, Scenario, suggest};

use crate::room::{Room, all_full, full_with_phases};

proptest! {
    /// A duration in a report, pasted into a scenario, would be another duration.
    #[test]
    fn durations_are_read_back_as_they_are_written(ns in prop_oneof![0u64..10_000_000_000, 0..=MAX_DURATION.as_ns()]) {
        let duration = Duration::from_ns(ns);
        prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
    }

    /// Units would not add up.
    #[test]
    fn units_add_up(hours in 0u64..1_000, minutes in 0u64..60, seconds in 0u64..60, ms in 0u64..1_000) {
        let text = format!("{hours}h{minutes}m{seconds}s{ms}ms");
        let expected = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms;
        prop_assert_eq!(text.parse::<Duration>(), Ok(Duration::from_ms(expected)));
    }

    /// A rate in a report, pasted into a scenario, would be another rate.
    #[test]
    fn rates_are_read_back_as_they_are_written(per_second in 0.0..1e6f64) {
        let rate = Rate::per_second(per_second);
        prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
    }

    /// A size or a speed in a report, pasted into a scenario, would be another one.
    #[test]
    fn sizes_and_prices_are_read_back_as_they_are_written(
        bytes in 0u64..=1 << 60,
        shift in 0u32..40,
        bits in 1u64..=1_000_000_000_000_000,
        price in 0.0..1e6f64,
    ) {
        let bytes = Bytes::new(bytes >> shift << shift);
        prop_assert_eq!(bytes.to_string().parse::<Bytes>(), Ok(bytes));
        let bandwidth = Bandwidth::bits_per_s(bits);
        prop_assert_eq!(bandwidth.to_string().parse::<Bandwidth>(), Ok(bandwidth));
        let price = Price::per_hour(price);
        prop_assert_eq!(price.to_string().parse::<Price>(), Ok(price));
    }

    /// A rule with other blanks or another alias would be another rule.
    #[test]
    fn blanks_and_aliases_do_not_change_a_rule(
        percentile in 1u32..1_000,
        ms in 1u32..100_000,
        blanks in proptest::collection::vec(" {0,2}", 4),
        strict in any::<bool>(),
        scope in prop_oneof![Just(""), Just(" for canary"), Just(" for a-00001")],
    ) {
        let percentile = f64::from(percentile) / 10.0;
        let operator = if strict { "<" } else { "<=" };
        let plain = Objective::parse(&format!("p{percentile}{operator}{ms}ms{scope}")).expect("a rule");
        let [a, b, c, d] = [&blanks[0], &blanks[1], &blanks[2], &blanks[3]];
        let other = format!("{a}p({percentile}){b}{operator}{c}{ms}{scope}{d}");
        let other = Objective::parse(&other).expect("the same rule");
        prop_assert_eq!(
            (plain.metric, plain.operator, plain.limit, &plain.scope),
            (other.metric, other.operator, other.limit, &other.scope)
        );
        prop_assert_eq!(plain.limit, f64::from(ms) * 1e6);
        // And what is shown is a rule again.
        let shown = format!("{}{}", plain.metric, plain.limit_text());
        let again = Objective::parse(&shown);
        prop_assert!(again.is_ok(), "{}", shown);
    }

    /// A stray character would end the program instead of being reported.
    #[test]
    fn no_text_makes_a_grammar_panic(text in ".{0,60}", rule in "[p(0-9).a-z<>=% \u{e9}-]{0,30}") {
        for text in [&text, &rule] {
            if let Err(error) = Objective::parse(text) {
                prop_assert!(error.column >= 1 && error.column as usize <= text.chars().count() + 1);
                prop_assert!(!error.message.is_empty() && !error.hint.is_empty());
            }
            let _ = text.parse::<Duration>();
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Bandwidth>();
            let _ = text.parse::<Price>();
            let _ = parse_percent(text);
            let _ = suggest::nearest(text, ["duration", "seed", ""]);
        }
    }

    /// A stray character in a file would end the program instead of being reported.
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", yaml in "[a-z:\\[\\]{},*&!|>'\"\n -]{0,120}") {
        let room = Room::new();
        for text in [&text, &yaml] {
            if let Err(faults) = room.parse(text) {
                prop_assert!(!faults.is_empty());
                for fault in &faults.0 {
                    prop_assert!(fault.line >= 1 && fault.column >= 1, "{}", fault);
                    prop_assert!(!fault.message.is_empty() && !fault.hint.is_empty(), "{}", fault);
                }
            }
        }
    }

    /// A file that was damaged somewhere would end the program instead of being reported.
    #[test]
    fn a_damaged_file_is_read_or_reported(
        at in 0usize..8_000,
        length in 0usize..40,
        insert in "[a-z0-9:{}\\[\\]\"',-]{0,3}",
        which in 0usize..3,
    ) {
        let room = Room::new();
        let mut text = serde_json::to_string_pretty(&all_full()[which]).expect("JSON");
        let from = at % text.len();
        let to = (from + length).min(text.len());
        text.replace_range(from..to, &insert);
        match room.parse(&text) {
            Ok(scenario) => prop_assert!(scenario.duration > Duration::ZERO),
            Err(faults) => prop_assert!(!faults.is_empty()),
        }
    }
}

/// Deep nesting would overflow the stack.
#[test]
fn deep_nesting_is_refused() {
    let room = Room::new();
    for open in ["[", "{a: ", "- "] {
        assert!(room.parse(&open.repeat(50_000)).is_err());
    }
    let nested = "apiVersion: x\nspec: ".to_owned() + &"[".repeat(60) + &"]".repeat(60);
    assert!(room.parse(&nested).is_err());
}

/// A file of aliases would eat the memory of the machine.
#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(Scenario::parse(&text, "bomb.yaml".as_ref()).is_err());
}

/// What the file says would not be what runs.
#[test]
fn a_full_file_is_read_whole() {
    let room = Room::new();
    let scenario = room.parse_json(&full_with_phases()).expect("a good scenario");
    let shown = format!("{scenario:#?}").replace(&format!("{}/", room.path().display()), "");
    insta::assert_snapshot!(shown);
    for full in all_full() {
        room.parse_json(&full).unwrap_or_else(|faults| panic!("{faults}"));
    }
}

/// A scenario that leaves things out would not get the documented defaults.
#[test]
fn a_short_file_gets_the_defaults() {
    let room = Room::new();
    let text = "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {name: short}\nspec:\n  duration: 10s\n  \
                manifests: [isvc.yaml]\n  load: {requests: requests.jsonl, arrivals: {phases: [{for: 1s, rate: 1/s}]}}\n";
    let scenario = room.parse(text).expect("a good scenario");
    let shown = format!("{scenario:#?}").replace(&format!("{}/", room.path().display()), "");
    insta::assert_snapshot!(shown);
}
