//! Conditions of Argo's metrics: facts of argo-rollouts' `utils/evaluate/evaluate_test.go` and of expr-lang's
//! language definition.

use std::collections::BTreeMap;

use windtunnel_kernel::rollout::argo::AnalysisPhase;
use windtunnel_kernel::rollout::argo::analysis::assess::evaluate_result;
use windtunnel_kernel::rollout::argo::analysis::condition::{ConditionError, evaluate};
use windtunnel_kernel::rollout::argo::analysis::spec::Metric;
use windtunnel_kernel::rollout::value::Value;

fn text(text: &str) -> Value {
    Value::Text(text.to_string())
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect())
}

fn metric(success: &str, failure: &str) -> Metric {
    Metric {
        success_condition: success.to_string(),
        failure_condition: failure.to_string(),
        ..Metric::default()
    }
}

/// If it fails, a good release is aborted or a bad one promoted.
#[test]
fn what_a_measurement_means() {
    use AnalysisPhase::{Error, Failed, Inconclusive, Successful};
    let invalid = "a == true";
    for (success, failure, expected) in [
        ("true", "false", Successful),
        ("true", "true", Failed),
        ("false", "false", Inconclusive),
        ("", "false", Successful),
        ("", "true", Failed),
        ("false", "", Failed),
        ("true", "", Successful),
        ("", "", Successful),
        (invalid, "true", Error),
        ("true", invalid, Error),
    ] {
        let found = evaluate_result(&metric(success, failure), &Value::Bool(true)).unwrap_or(Error);
        assert_eq!(found, expected, "{success:?} {failure:?}");
    }
}

/// If it fails, nobody can tell a metric without data from a condition with a typo.
#[test]
fn errors_say_what_is_wrong() {
    let message = |success: &str, failure: &str, result: &Value| {
        evaluate_result(&metric(success, failure), result).expect_err("an error").to_string()
    };
    for result in [Value::Nil, Value::numbers(&[])] {
        let said = message("result[0] >= 0.95", "", &result);
        assert!(said.contains("metric result is nil or empty"), "{said}");
        assert!(said.contains("successCondition"), "{said}");
    }
    let said = message("a == true", "", &Value::Bool(true));
    assert!(said.contains("could not evaluate successCondition \"a == true\": unknown name a"), "{said}");
    let said = message("true", "invalidVar == true", &Value::Bool(true));
    assert!(said.contains("could not evaluate failureCondition"), "{said}");
}

/// If it fails, a condition that works in a cluster does not work in the simulator, or the other way round.
#[test]
fn conditions_that_hold_or_do_not() {
    let apdex = map(&[(
        "service_apdex",
        map(&[
            ("label", Value::Nil),
            ("values", map(&[("values", Value::List(vec![Value::Float(2.0), Value::Float(2.0)]))])),
        ]),
    )]);
    let prometheus = Value::numbers(&[0.97, 0.5]);
    let web = map(&[("status", text("ok")), ("count", Value::Int(3)), ("ratio", Value::Float(0.2))]);
    for (result, condition, expected) in [
        // utils/evaluate/evaluate_test.go
        (&Value::Bool(true), "result == true", true),
        (&Value::Bool(true), "result == false", false),
        (&apdex, "all(result.service_apdex.values.values, {# > 1})", true),
        (&Value::numbers(&[2.0, 2.0]), "2 in result", true),
        (&Value::Float(5.0), "result > 1", true),
        (&text("1"), "asInt(result) == 1", true),
        (&Value::Int(1), "asInt(result) == 1", true),
        (&Value::Float(1.123), "asInt(result) == 1", true),
        (&text("1.1"), "asFloat(result) == 1.1", true),
        (&text("1.1"), "asFloat(result) >= 1.1", true),
        (&Value::Float(1.1), "asFloat(result) <= 1.1", true),
        (&Value::Int(1), "asFloat(result) == 1", true),
        // What people write.
        (&prometheus, "result[0] >= 0.95", true),
        (&prometheus, "result[-1] >= 0.95", false),
        (&prometheus, "len(result) == 0 || result[0] >= 0.95", true),
        (&Value::numbers(&[]), "len(result) == 0 || result[0] >= 0.95", true),
        (&Value::numbers(&[f64::NAN]), "isNaN(result[0]) || result[0] >= 0.95", true),
        (&Value::numbers(&[f64::NAN]), "result[0] >= 0.95", false),
        (&Value::numbers(&[f64::NAN]), "result[0] < 0.95", false),
        (&Value::numbers(&[f64::INFINITY]), "isInf(result[0])", true),
        (&Value::Nil, "default(result, 0) == 0", true),
        (&Value::Float(7.0), "default(result, 0) < 5", false),
        (&Value::Nil, "isNil(result)", true),
        (&Value::Nil, "result == nil", true),
        (&prometheus, "not isNil(result) and result[0] > 0.9", true),
        (&prometheus, "all(result, # > 0.4) && any(result, {# < 0.6})", true),
        (
            &prometheus,
            "none(result, {# > 1}) and one(result, {# > 0.9}) and count(result, {# > 0}) == 2",
            true,
        ),
        (&prometheus, "len(filter(result, {# > 0.9})) == 1", true),
        (&prometheus, "sum(result) / len(result) > 0.7 && mean(result) < 0.74", true),
        (&prometheus, "max(result) - min(result) <= 0.47", true),
        (&prometheus, "len(result[0:1]) == 1 and len(result[1:]) == 1 and len(result[:-1]) == 1", true),
        (&web, "result.status == \"ok\" and result.count in [1, 2, 3]", true),
        (&web, "result.status == 'ok' ? result.ratio < 0.5 : false", true),
        (&web, "result['ratio'] * 100 > 15", true),
        (&web, "result.missing == nil and result.missing?.deeper == nil", true),
        (&web, "(result.missing ?? 5) == 5", true),
        (&web, "\"count\" in result and \"nothing\" not in result", true),
        (&web, "result.count == \"3\"", false),
        (&web, "result.status startsWith \"o\" && result.status matches \"^o.$\"", true),
        // Operators: fractions, remainders, powers, precedence.
        (&Value::Nil, "7 / 2 == 3.5 and 7 % 2 == 1 and 2 ** 3 ** 2 == 512 and 2 ^ -1 == 0.5", true),
        (&Value::Nil, "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && -2 ** 2 == -4", true),
        (&Value::Nil, "1 / 0 > 1e300 and !(0 / 0 == 0 / 0)", true),
        (&Value::Nil, "true || false && false", true),
        (&Value::Nil, "not (1 > 2) and !false", true),
        (&Value::Nil, "'a' + \"b\" == 'ab' and upper('a') == 'A' and 'b' > 'a'", true),
        (&Value::Nil, "1_000 == 1e3", true),
        (&Value::Nil, "round(2.5) == 3 and floor(-0.5) == -1 and ceil(0.2) == 1 and abs(-3) == 3", true),
        (&Value::Nil, "median([3, 1, 2]) == 2 and first([1, 2]) == 1 and last([1, 2]) == 2", true),
    ] {
        assert_eq!(evaluate(condition, result), Ok(expected), "{condition} of {result}");
    }
}

/// If it fails, a condition with a mistake counts as one that does not hold, and aborts a good release.
#[test]
fn conditions_that_cannot_be_evaluated() {
    let prometheus = Value::numbers(&[0.97]);
    let error = |condition: &str, result: &Value| evaluate(condition, result).expect_err(condition);
    assert_eq!(error("1", &Value::Bool(true)).to_string(), "expected bool, but got int");
    assert_eq!(error("invalidVariable", &Value::Bool(true)).to_string(), "unknown name invalidVariable");
    assert_eq!(
        error("true || invalidVariable", &Value::Bool(true)),
        ConditionError::UnknownName("invalidVariable".to_string()),
        "a name is looked up before anything is evaluated"
    );
    let mismatched = error("asFloat(result) == \"1.1\"", &text("1.1")).to_string();
    assert!(mismatched.contains("== (mismatched types float64 and string)"), "{mismatched}");
    for (condition, result) in [
        ("result.Name() == 'hi'", &Value::Bool(true)),
        ("asInt(result) == 1.1", &text("1.1")),
        ("asFloat(result) == 1.1", &text("NotANum")),
        ("result[0] >= 0.95", &Value::Nil),
        ("result[0] >= 0.95", &Value::numbers(&[])),
        ("result[1] >= 0.95", &prometheus),
        ("result[-2] >= 0.95", &prometheus),
        ("len(result) == 0", &Value::Nil),
        ("result >= 0.95", &prometheus),
        ("result == 'x'", &Value::Bool(true)),
        ("result[0]", &prometheus),
        ("result[0] >= 0.95 &&", &prometheus),
        ("result[0] => 0.95", &prometheus),
        ("(result[0] > 1", &prometheus),
        ("result[0] >= 'a'", &prometheus),
        ("1 % 0 == 0", &prometheus),
        ("1.5 % 2 == 0", &prometheus),
        ("2 ** 0.5 > 1", &prometheus),
        ("# > 1", &prometheus),
        ("len() == 0", &prometheus),
        ("'open", &prometheus),
        ("", &prometheus),
        ("if", &prometheus),
        ("!1", &prometheus),
        ("1 and true", &prometheus),
    ] {
        assert!(evaluate(condition, result).is_err(), "{condition:?} of {result}");
    }
}

/// If it fails, a manifest can stop the control plane.
#[test]
fn conditions_are_bounded() {
    let deep = format!("{}true{}", "(".repeat(2000), ")".repeat(2000));
    assert!(evaluate(&deep, &Value::Nil).is_err());
    assert!(evaluate(&"!".repeat(4000), &Value::Nil).is_err());
    assert!(evaluate(&format!("true{}", " && true".repeat(400)), &Value::Nil).is_ok());
    assert!(evaluate(&"x".repeat(5000), &Value::Nil).is_err());
    let long = Value::numbers(&[1.0; 2000]);
    let nested = "all(result, {all(result, {all(result, {# > 0})})})";
    assert!(matches!(evaluate(nested, &long), Err(ConditionError::TooLarge(_))));
    let members = format!("result{} == nil", "?.a".repeat(1000));
    assert!(evaluate(&members, &Value::Map(BTreeMap::new())).is_err());
}
