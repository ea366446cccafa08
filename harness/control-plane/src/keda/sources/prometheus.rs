//! Prometheus: one instant query.
//!
//! Source: `pkg/scalers/prometheus_scaler.go`, `pkg/scalers/authentication`.

use form_urlencoded::byte_serialize;
use serde_json::Value;
use windtunnel_kernel::autoscale::keda::triggers::prometheus::Prometheus;

use super::authentication::Parameters;
use super::http::{Http, basic};
use super::tls::Tls;

/// The values that the query gives.
///
/// # Errors
/// Why there are none.
pub(super) async fn ask(
    http: &Http,
    settings: &Prometheus,
    parameters: &Parameters,
) -> Result<Vec<f64>, String> {
    let server = parameters.plain("serverAddress").ok_or("no serverAddress given")?;
    let headers = headers(parameters)?;
    let uri = uri(server, settings, parameters)?;
    let (status, body) = http.get(&uri, &headers, &tls(parameters)?).await?;
    if !(200..300).contains(&status) {
        return Err(format!("prometheus query api returned error. status: {status}"));
    }
    values(&body)
}

fn uri(server: &str, settings: &Prometheus, parameters: &Parameters) -> Result<String, String> {
    let escape = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let server = server.trim_end_matches('/');
    let mut uri = format!("{server}/api/v1/query?query={}", escape(&settings.query));
    if let Some(namespace) = parameters.plain("namespace") {
        uri = format!("{uri}&namespace={}", escape(namespace));
    }
    for (key, value) in pairs(parameters, "queryParameters")? {
        uri = format!("{uri}&{}={}", escape(&key), escape(&value));
    }
    Ok(uri)
}

/// `a=b,c=d`.
fn pairs(parameters: &Parameters, key: &str) -> Result<Vec<(String, String)>, String> {
    let texts = parameters.plain(key).into_iter().flat_map(|text| text.split(','));
    texts
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("{key}: {text:?} is not allowed, expected NAME=VALUE with commas in between")),
        })
        .collect()
}

fn headers(parameters: &Parameters) -> Result<Vec<(String, String)>, String> {
    let mut headers = pairs(parameters, "customHeaders")?;
    let needed =
        |key: &str| parameters.any(key).ok_or_else(|| format!("no {key} given, which the authModes ask for"));
    for mode in modes(parameters) {
        let header = match mode {
            "bearer" => ("Authorization".to_owned(), format!("Bearer {}", needed("bearerToken")?)),
            "basic" => {
                let password = parameters.any("password").unwrap_or_default();
                ("Authorization".to_owned(), basic(needed("username")?, password))
            }
            "custom" => (needed("customAuthHeader")?.to_owned(), needed("customAuthValue")?.to_owned()),
            "tls" => continue,
            other => {
                return Err(format!(
                    "authModes: {other:?} is not supported, expected bearer, basic, custom or tls"
                ));
            }
        };
        headers.push(header);
    }
    Ok(headers)
}

fn modes(parameters: &Parameters) -> impl Iterator<Item = &str> {
    let text = parameters.any("authModes").unwrap_or_default();
    text.split(',').map(str::trim).filter(|mode| !mode.is_empty())
}

fn tls(parameters: &Parameters) -> Result<Tls, String> {
    let text = |key: &str| parameters.secret(key).map(ToOwned::to_owned);
    let client = match (modes(parameters).any(|mode| mode == "tls"), text("cert"), text("key")) {
        (false, ..) => None,
        (true, Some(certificate), Some(key)) => Some((certificate, key)),
        (true, ..) => return Err("authModes tls needs the parameters cert and key".to_owned()),
    };
    Ok(Tls { is_unsafe: parameters.is_true("unsafeSsl"), ca: text("ca"), client })
}

/// The values of an instant vector or a scalar.
fn values(body: &[u8]) -> Result<Vec<f64>, String> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| format!("prometheus answered something that is no JSON: {error}"))?;
    let number = |value: &Value| {
        let text = value.get(1).and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("prometheus answered {value}, which has no value"))?;
        match text {
            "+Inf" => Ok(f64::INFINITY),
            "-Inf" => Ok(f64::NEG_INFINITY),
            text => text.parse().map_err(|_| format!("prometheus answered {text:?}, which is no number")),
        }
    };
    let result = &answer["data"]["result"];
    match answer["data"]["resultType"].as_str() {
        Some("scalar") => Ok(vec![number(result)?]),
        Some("vector") => {
            let series = result.as_array().map_or(&[][..], Vec::as_slice);
            series.iter().map(|series| number(&series["value"])).collect()
        }
        other => Err(format!(
            "prometheus answered a {}, expected a vector; the query must not give a range",
            other.unwrap_or("document without a result")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas would follow another number than the one that the query gives.
    #[test]
    fn answers_are_read() {
        let vector = |result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#)
        };
        let one = vector(r#"[{"metric":{},"value":[1700000000.1,"12.5"]}]"#);
        assert_eq!(values(one.as_bytes()), Ok(vec![12.5]));
        assert_eq!(values(vector("[]").as_bytes()), Ok(vec![]));
        let infinite =
            values(vector(r#"[{"value":[1,"+Inf"]},{"value":[1,"NaN"]}]"#).as_bytes()).expect("two");
        assert!(infinite[0].is_infinite() && infinite[1].is_nan());
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(values(scalar.as_bytes()), Ok(vec![3.0]));
        for (body, part) in [
            ("<html>", "no JSON"),
            (r#"{"data":{"resultType":"matrix","result":[]}}"#, "a matrix"),
            ("{}", "without a result"),
        ] {
            assert!(values(body.as_bytes()).expect_err(body).contains(part));
        }
    }

    /// A query with signs that addresses give a meaning to would be cut.
    #[test]
    fn queries_and_headers_are_written() {
        let metadata = [
            ("queryParameters", "maxSourceResolution=5m,dedup=true"),
            ("namespace", "a b"),
            ("customHeaders", "X-Scope=one"),
            ("authModes", "bearer"),
        ];
        let parameters = Parameters::of(&metadata, &[("bearerToken", "t")]);
        let settings = Prometheus {
            query: "sum(rate(x{a=\"b\"}[1m])) + 1".to_owned(),
            threshold: 1.0,
            activation_threshold: 0.0,
            ignore_null_values: true,
        };
        assert_eq!(
            uri("http://p:9090/", &settings, &parameters).expect("an address"),
            "http://p:9090/api/v1/query?query=sum%28rate%28x%7Ba%3D%22b%22%7D%5B1m%5D%29%29+%2B+1&namespace=a+b\
             &maxSourceResolution=5m&dedup=true"
        );
        let expected =
            [("X-Scope".to_owned(), "one".to_owned()), ("Authorization".to_owned(), "Bearer t".to_owned())];
        assert_eq!(headers(&parameters).expect("headers"), expected);
        let without = Parameters::of(&[("authModes", "basic")], &[]);
        assert!(headers(&without).expect_err("no user").contains("username"));
    }
}
