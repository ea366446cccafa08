//! The replica calculator.

use serde_json::Value;
use windtunnel_kernel::autoscale::hpa::calculator::{
    MetricFault, PodSamples, Proposal, Rules, Timing, Tolerances, average, classify, shared_value,
    total_milli, utilization, value,
};
use windtunnel_kernel::autoscale::hpa::{Class, Options, Phase, Pod, Readiness, ReadyStatus, Sample};

use super::super::check::Checks;
use super::super::fields::{Fields, FromValue, Length};
use super::{instant_ns, now_ns, options};

/// A value or null in a list.
struct Maybe<T>(Option<T>);

impl<'a, T: FromValue<'a>> FromValue<'a> for Maybe<T> {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(Self(None)),
            value => T::read(place, value).map(|value| Self(Some(value))),
        }
    }
}

fn phase(place: &str, name: Option<&str>) -> Result<Phase, String> {
    Ok(match name {
        None | Some("Running") => Phase::Running,
        Some("Pending") => Phase::Pending,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        Some(other) => return Err(format!("{place}: {other:?} is no phase")),
    })
}

/// A pod that has been ready for long, or one that has never been.
fn pod(phase: Phase, deleting: bool, unready: bool) -> Pod {
    let started_ns = instant_ns(-600.0);
    let status = if unready { ReadyStatus::False } else { ReadyStatus::True };
    Pod {
        phase,
        deleting,
        ready: Some(Readiness { status, since_ns: started_ns }),
        started_ns: Some(started_ns),
    }
}

fn sample(value_milli: i64) -> Sample {
    Sample { value_milli, at_ns: now_ns(), window_ns: 60_000_000_000 }
}

fn tolerances(inputs: &Fields<'_>) -> Result<Tolerances, String> {
    let both: f64 = inputs.or("tolerance", 0.1)?;
    Ok(Tolerances { down: inputs.or("tolerance_down", both)?, up: inputs.or("tolerance_up", both)? })
}

/// Upstream's message of a fault, in full.
fn message(fault: &MetricFault, api: &str) -> String {
    match fault {
        MetricFault::Empty if api == "resource" => {
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
                .to_string()
        }
        MetricFault::Empty => format!("unable to get metric: no metrics returned from {api} metrics API"),
        MetricFault::MissingRequest { pod } => {
            format!("missing request for cpu in container container1 of Pod test-pod-{pod}")
        }
        other => other.to_string(),
    }
}

/// Compares a proposal, or an error: `error: true`, or a text that upstream's message holds.
fn compare(
    expect: &Fields<'_>,
    checks: &mut Checks,
    found: &Result<Proposal, MetricFault>,
    value_key: &'static str,
) -> Result<(), String> {
    let api = if value_key == "raw_average_m" { "resource" } else { "custom" };
    match found {
        Ok(found) => {
            checks.equal(expect, "replicas", &found.replicas)?;
            checks.equal(expect, value_key, &found.value_milli)?;
            if let Some(utilization) = found.utilization {
                checks.equal(expect, "utilization", &utilization)?;
            }
            if expect.opt::<Text>("error")?.is_some_and(|error| error.0 != "false") {
                checks.fault(format!("{}: expected an error, got {found:?}", expect.at("error")));
            }
        }
        Err(fault) => match expect.opt::<Text>("error")? {
            Some(Text(text)) if text == "true" || message(fault, api).contains(&text) => {
                checks.equal(expect, "error", &Text(text))?;
                for key in ["replicas", value_key, "utilization"] {
                    if expect.opt::<i64>(key)?.is_some() {
                        checks.fault(format!("{}: got an error: {fault}", expect.at(key)));
                    }
                }
            }
            _ => checks.fault(format!("expect: got an error: {fault}")),
        },
    }
    Ok(())
}

/// A text, or a truth value as one.
#[derive(Debug, PartialEq)]
struct Text(String);

impl<'a> FromValue<'a> for Text {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Bool(truth) => Ok(Self(truth.to_string())),
            value => String::read(place, value).map(Self),
        }
    }
}

pub(super) fn resource_utilization(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let options = options(inputs)?;
    let is_cpu = inputs.or::<String>("resource", "cpu".to_string())? == "cpu";
    let (mut pods, mut samples, mut requests_milli) = (Vec::new(), Vec::new(), Vec::new());
    for fields in inputs.get::<Vec<Fields<'_>>>("pods")? {
        let phase = phase(&fields.at("phase"), fields.opt::<String>("phase")?.as_deref())?;
        pods.push(pod(
            phase,
            fields.or("deleted", false)? | fields.or("deleting", false)?,
            fields.or("unready", false)?,
        ));
        samples.push(fields.opt::<i64>("usage_m")?.map(sample));
        requests_milli.push(fields.opt::<i64>("request_m")?);
        fields.finish()?;
    }
    let others_milli: Vec<i64> = inputs.or("metrics_for_unknown_pods_m", Vec::new())?;
    let rules = Rules {
        current: inputs.get("current_replicas")?,
        tolerances: tolerances(inputs)?,
        options: &options,
    };
    let samples = PodSamples {
        pods: &pods,
        samples: &samples,
        others_milli: &others_milli,
        is_cpu,
        timing: Timing::of(&options, now_ns()),
    };
    let found = utilization(samples, &requests_milli, positive(inputs, "target_utilization")?, rules);
    compare(expect, checks, &found, "raw_average_m")
}

pub(super) fn pods_metric(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let options = options(inputs)?;
    let current: i32 = inputs.get("current_replicas")?;
    let levels: Vec<Option<i64>> =
        inputs.get::<Vec<Maybe<i64>>>("levels_m")?.into_iter().map(|level| level.0).collect();
    let phases: Vec<String> = inputs.or("phases", Vec::new())?;
    let deleted: Vec<bool> = inputs.or("deleted", Vec::new())?;
    let unready: Vec<bool> = inputs.or("unready", Vec::new())?;
    // As upstream's tests have it: a pod a replica, or a phase where more are given; further levels are of pods unknown.
    let count = usize::try_from(current).unwrap_or(0).max(phases.len());
    let count = inputs.or::<u32>("pods", u32::try_from(count).unwrap_or(u32::MAX))? as usize;
    if count > 100_000 {
        return Err(format!("{}: too many", inputs.at("current_replicas")));
    }
    let pods = (0..count).map(|index| {
        let phase = phase(&inputs.at("phases"), phases.get(index).map(String::as_str))?;
        let is_set = |list: &[bool]| list.get(index).copied().unwrap_or(false);
        Ok(pod(phase, is_set(&deleted), is_set(&unready)))
    });
    let pods: Vec<Pod> = pods.collect::<Result<_, String>>()?;
    let samples: Vec<Option<Sample>> =
        (0..count).map(|index| levels.get(index).copied().flatten().map(sample)).collect();
    let others_milli: Vec<i64> = levels.iter().skip(count).copied().flatten().collect();
    let rules = Rules { current, tolerances: tolerances(inputs)?, options: &options };
    let samples = PodSamples {
        pods: &pods,
        samples: &samples,
        others_milli: &others_milli,
        is_cpu: inputs.or::<String>("resource", String::new())? == "cpu",
        timing: Timing::of(&options, now_ns()),
    };
    let found = average(samples, positive(inputs, "target_m")?, rules);
    compare(expect, checks, &found, "usage_m")
}

/// The value of an object, or the values of an external metric.
fn total(inputs: &Fields<'_>) -> Result<i64, String> {
    match (inputs.opt::<i64>("value_m")?, inputs.opt::<Vec<i64>>("values_m")?) {
        (Some(value), None) => Ok(value),
        (None, Some(values)) => Ok(total_milli(&values)),
        (None, None) => Err(format!("{}: is missing", inputs.at("value_m"))),
        (Some(_), Some(_)) => Err(format!("{}: there is a value_m already", inputs.at("values_m"))),
    }
}

pub(super) fn object_value(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let options: Options = options(inputs)?;
    let current: i32 = inputs.get("current_replicas")?;
    let ready: u32 = inputs.opt("ready_pods")?.unwrap_or(u32::try_from(current).unwrap_or(0));
    let count = inputs.or::<u32>("pods", ready.max(u32::try_from(current).unwrap_or(0)))?;
    // Which pods they are does not matter, only whether there are any.
    let pods = [Pod::default()];
    let pods = if count == 0 { &pods[..0] } else { &pods[..] };
    let rules = Rules { current, tolerances: tolerances(inputs)?, options: &options };
    let found = value(total(inputs)?, positive(inputs, "target_m")?, pods, i64::from(ready), rules);
    compare(expect, checks, &found, "usage_m")
}

pub(super) fn per_pod_value(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let options = options(inputs)?;
    let current: i32 = inputs.get("current_replicas")?;
    inputs.opt::<u32>("ready_pods")?;
    let status: i32 = inputs.or("status_replicas", current)?;
    let rules = Rules { current, tolerances: tolerances(inputs)?, options: &options };
    let found = shared_value(total(inputs)?, positive(inputs, "target_m")?, status, true, rules);
    compare(expect, checks, &Ok(found), "usage_m")
}

/// A number that is divided by.
fn positive<'a, T>(inputs: &Fields<'a>, key: &'static str) -> Result<T, String>
where
    T: FromValue<'a> + PartialOrd + Default,
{
    let number: T = inputs.get(key)?;
    if number > T::default() { Ok(number) } else { Err(format!("{}: expected more than 0", inputs.at(key))) }
}

pub(super) fn group_pod_cpu(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let ready = match inputs.opt::<bool>("ready")? {
        None => None,
        Some(is_ready) => Some(Readiness {
            status: if is_ready { ReadyStatus::True } else { ReadyStatus::False },
            since_ns: inputs.opt::<f64>("trans")?.map_or(0, instant_ns),
        }),
    };
    inputs.opt::<f64>("trans")?;
    let pod = Pod {
        phase: phase(&inputs.at("phase"), inputs.opt::<String>("phase")?.as_deref())?,
        deleting: inputs.or("deleted", false)?,
        ready,
        started_ns: inputs.opt::<f64>("start")?.map(instant_ns),
    };
    // A metric without a time is one of the beginning of time.
    let sample = Sample {
        value_milli: 1000,
        at_ns: inputs.opt::<f64>("metric_t")?.map_or(0, instant_ns),
        window_ns: inputs.or("window", Length::seconds(0))?.ns,
    };
    let has_metric = inputs.or("has_metric", true)?;
    let timing = Timing {
        now_ns: now_ns(),
        cpu_initialization_period_ns: inputs.or("cpu_initialization_period_s", Length::seconds(120))?.ns,
        initial_readiness_delay_ns: inputs.or("delay_of_initial_readiness_s", Length::seconds(10))?.ns,
    };
    let is_cpu = inputs.or::<String>("resource", "cpu".to_string())? == "cpu";
    let found = match classify(&pod, has_metric.then_some(&sample), is_cpu, timing) {
        Class::Ready => "ready",
        Class::Unready => "unready",
        Class::Missing => "missing",
        Class::Ignored => "ignored",
    };
    let expected: String = expect.get("cls")?;
    if !["ready", "unready", "missing", "ignored"].contains(&expected.as_str()) {
        return Err(format!("{}: {expected:?} is no class", expect.at("cls")));
    }
    checks.equal(expect, "cls", &found.to_string())
}
