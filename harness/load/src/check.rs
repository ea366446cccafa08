//! Whether an attack is possible as it is stated.

use std::collections::BTreeSet;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use windtunnel_scenario::objective::{Metric, Scope};

use crate::{Attack, Increase, LoadError};

/// The slowest increase that goose takes, in users a second: one user a day.
const SLOWEST_INCREASE: f64 = 1.0 / 86_400.0;

/// Where requests go, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The whole address.
    pub(crate) url: Url,
    /// Scheme, host and port.
    pub(crate) origin: String,
    /// Host and port for people.
    pub(crate) authority: String,
    /// Host name or address, without the brackets of IPv6.
    pub(crate) host: String,
    /// The port, the scheme's own where none was given.
    pub(crate) port: u16,
    /// Headers of every request.
    pub(crate) headers: HeaderMap,
}

/// The target of an attack whose settings are all possible.
pub(crate) fn target(attack: &Attack) -> Result<Target, LoadError> {
    settings(attack)?;
    rules(attack)?;
    version(attack)?;
    let fault = |message: String| LoadError::Url { url: attack.url.clone(), message };
    let url = Url::parse(&attack.url).map_err(|error| fault(error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(fault(format!("its scheme is {}", url.scheme())));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(fault("it names no host".to_owned()));
    };
    let authority = format!("{host}:{port}");
    Ok(Target {
        origin: format!("{}://{authority}", url.scheme()),
        host: host.trim_matches(['[', ']']).to_owned(),
        authority,
        port,
        headers: headers(attack)?,
        url,
    })
}

fn settings(attack: &Attack) -> Result<(), LoadError> {
    let whole = |time: Duration| time.subsec_nanos() == 0 && !time.is_zero();
    if attack.users == 0 {
        return Err(LoadError::setting("the number of users", &0, "a load has at least one user"));
    }
    if !whole(attack.run_time) {
        return Err(LoadError::time(
            "the run time",
            attack.run_time,
            "goose counts whole seconds, from 1s on",
        ));
    }
    if attack.timeout.is_zero() {
        return Err(LoadError::time("the time-out", attack.timeout, "no service answers in no time"));
    }
    match attack.increase {
        Increase::Rate(rate) if !rate.is_finite() || rate < SLOWEST_INCREASE => {
            let hint = "write how many users start each second, such as 10 or 0.5";
            Err(LoadError::setting("the increase rate", &rate, hint))
        }
        Increase::Over(time) if !whole(time) => {
            Err(LoadError::time("the increase time", time, "goose counts whole seconds, from 1s on"))
        }
        Increase::Over(time) if attack.users < 2 => {
            Err(LoadError::time("the increase time", time, "a single user starts at once"))
        }
        _ => Ok(()),
    }
}

/// Rules about what only a look inside shows. Without one they would be judged on nothing, and some would pass.
fn rules(attack: &Attack) -> Result<(), LoadError> {
    for rule in &attack.rules {
        let reason = match (&rule.metric, &rule.scope) {
            (Metric::ColdStarts | Metric::ColdRequests, _) => "starts of pods can't be seen from outside",
            (metric, _) if !metric.of_requests() => {
                "what pods, queues and nodes do can't be seen from outside"
            }
            (Metric::CanaryShare, _) | (_, Scope::Canary | Scope::Stable) => {
                "which revision is the canary can't be seen from outside"
            }
            _ => continue,
        };
        return Err(LoadError::Rule { rule: rule.text.clone(), reason });
    }
    Ok(())
}

fn version(attack: &Attack) -> Result<(), LoadError> {
    let Some(version) = &attack.expect else { return Ok(()) };
    let rows = (0..attack.requests.len()).map(|row| attack.requests.get(row as u32));
    let known: BTreeSet<&str> = rows.flat_map(|row| row.expect.keys().map(String::as_str)).collect();
    if known.contains(version.as_str()) {
        return Ok(());
    }
    let hint = if known.is_empty() {
        "the request set has no reference answers at all".to_owned()
    } else {
        format!("it has those of {}", known.into_iter().collect::<Vec<_>>().join(", "))
    };
    Err(LoadError::UnknownVersion { version: version.clone(), hint })
}

fn headers(attack: &Attack) -> Result<HeaderMap, LoadError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &attack.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(LoadError::Header { name: name.clone(), value: value.clone() });
        };
        headers.insert(name, value);
    }
    Ok(headers)
}
