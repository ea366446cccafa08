//! RabbitMQ, by its management API.
//!
//! Source: `pkg/scalers/rabbitmq_scaler.go`. AMQP is refused by name: the management API says the same and more.

use form_urlencoded::byte_serialize;
use serde_json::Value;
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::{Queue, RabbitMq};

use super::authentication::Parameters;
use super::http::{Address, Http, Tls, basic};

/// Path of the virtual host that is there from the beginning.
const ROOT: &str = "/%2F";

/// The queue, or all that the regular expression matches.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn ask(
    http: &Http,
    settings: &RabbitMq,
    parameters: &Parameters,
) -> Result<Vec<Queue>, String> {
    let host = parameters.any("host").ok_or("no host setting given")?;
    let mut address = Address::parse(host).map_err(|why| format!("host: {why}"))?;
    if !matches!(address.scheme.as_str(), "http" | "https") || parameters.any("protocol") == Some("amqp") {
        return Err(format!(
            "host: protocol {} is not supported, expected http or https, the address of the management API",
            address.scheme
        ));
    }
    match (parameters.any("username"), parameters.any("password")) {
        (Some(user), Some(password)) => address.user = Some((user.to_owned(), password.to_owned())),
        (None, None) => {}
        _ => return Err("username and password must be given together".to_owned()),
    }
    let path = path(&address, settings, parameters);
    let headers: Vec<(String, String)> = address
        .user
        .iter()
        .map(|(user, password)| ("Authorization".to_owned(), basic(user, password)))
        .collect();
    let text = |key: &str| parameters.secret(key).map(ToOwned::to_owned);
    let tls = Tls {
        is_unsafe: parameters.plain("unsafeSsl") == Some("true"),
        ca: text("ca"),
        client: text("cert").zip(text("key")),
    };
    let uri = format!("{}{path}", address.origin());
    let (status, body) = http.get(&uri, &headers, &tls).await.map_err(|why| format!("{uri}: {why}"))?;
    if status != 200 {
        let shown = String::from_utf8_lossy(body.get(..256).unwrap_or(&body)).into_owned();
        return Err(format!(
            "error requesting RabbitMQ API status: {status}, response: {shown}, from: {uri}"
        ));
    }
    let answer: Value =
        serde_json::from_slice(&body).map_err(|error| format!("{uri} answered no JSON: {error}"))?;
    if !settings.use_regex {
        return Ok(vec![queue(&answer)]);
    }
    // With paging the list is in `items`, without it is the answer.
    let list = answer["items"].as_array().or(answer.as_array());
    Ok(list.map_or(&[][..], Vec::as_slice).iter().map(queue).collect())
}

/// The last part of the address's path is the virtual host, unless there is a parameter for it.
fn path(address: &Address, settings: &RabbitMq, parameters: &Parameters) -> String {
    let escape = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let (below, last) = address.path.rsplit_once('/').unwrap_or(("", ""));
    let virtual_host = match parameters.any("vhostName") {
        Some("/") => ROOT.to_owned(),
        Some(name) => format!("/{}", escape(name)),
        None if last.is_empty() => ROOT.to_owned(),
        None => format!("/{last}"),
    };
    let name = escape(&settings.queue_name);
    if settings.use_regex {
        let size = parameters.plain("pageSize").unwrap_or("100");
        format!(
            "{below}/api/queues{virtual_host}?page=1&use_regex=true&pagination=false&name={name}&page_size={size}"
        )
    } else {
        format!("{below}/api/queues{virtual_host}/{name}")
    }
}

fn queue(answer: &Value) -> Queue {
    let count = |field: &str| answer[field].as_i64();
    let rate = |field: &str| answer["message_stats"][field]["rate"].as_f64().unwrap_or(0.0);
    let messages = count("messages").unwrap_or(0);
    let unacknowledged = count("messages_unacknowledged").unwrap_or(0);
    Queue {
        messages,
        ready: messages.saturating_sub(unacknowledged),
        publish_rate: rate("publish_details"),
        deliver_get_rate: rate("deliver_get_details"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windtunnel_kernel::autoscale::keda::triggers::metadata::Metadata;

    use super::*;

    fn settings(regex: &str) -> RabbitMq {
        let metadata = [("queueName", "a.*"), ("mode", "QueueLength"), ("value", "5"), ("useRegex", regex)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        RabbitMq::read(&Metadata::new(0, &metadata)).expect("settings")
    }

    /// The queue of another virtual host would be counted.
    #[test]
    fn virtual_hosts() {
        let path = |host: &str, regex: &str, metadata: &[(&str, &str)]| {
            let address = Address::parse(host).expect("an address");
            super::path(&address, &settings(regex), &Parameters::of(metadata, &[]))
        };
        assert_eq!(path("http://r", "false", &[]), "/api/queues/%2F/a.*");
        assert_eq!(path("http://r/", "false", &[]), "/api/queues/%2F/a.*");
        assert_eq!(path("http://r/prefix/team", "false", &[]), "/prefix/api/queues/team/a.*");
        assert_eq!(path("http://r/x", "false", &[("vhostName", "a/b")]), "/api/queues/a%2Fb/a.*");
        assert_eq!(
            path("http://r", "true", &[("pageSize", "7")]),
            "/api/queues/%2F?page=1&use_regex=true&pagination=false&name=a.*&page_size=7"
        );
    }

    /// Messages that a consumer holds would count as waiting, or the rates not at all.
    #[test]
    fn queues_are_read() {
        let answer = json!({"messages": 12, "messages_unacknowledged": 5, "message_stats": {
            "publish_details": {"rate": 1.5}, "deliver_get_details": {"rate": 0.5}}});
        let expected = Queue { messages: 12, ready: 7, publish_rate: 1.5, deliver_get_rate: 0.5 };
        assert_eq!(queue(&answer), expected);
        assert_eq!(queue(&json!({})), Queue::default(), "a queue that has just been declared");
    }
}
