//! RabbitMQ, by its management API, or by AMQP where that is what the address says.
//!
//! Source: `pkg/scalers/rabbitmq_scaler.go`.

mod amqp;

use form_urlencoded::byte_serialize;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::{Mode, Protocol, Queue, RabbitMq};

use self::amqp::Broker;
use super::authentication::Parameters;
use super::http::{Address, Http, basic};
use super::tls::{Tls, host_and_port};

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
    match (parameters.any("username"), parameters.any("password")) {
        (Some(user), Some(password)) => address.user = Some((user.to_owned(), password.to_owned())),
        (None, None) => {}
        _ => return Err("username and password must be given together".to_owned()),
    }
    let protocol = protocol(&address, parameters)?;
    let tls = Tls::of(parameters, "ca", "cert", "key")?;
    if protocol == Protocol::Amqp {
        return by_amqp(&address, settings, parameters, &tls).await;
    }
    let path = path(&address, settings, parameters);
    let headers: Vec<(String, String)> = address
        .user
        .iter()
        .map(|(user, password)| ("Authorization".to_owned(), basic(user, password)))
        .collect();
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

/// What the address or the parameter says; the address may come from a Secret, which nobody has read before.
fn protocol(address: &Address, parameters: &Parameters) -> Result<Protocol, String> {
    let by_scheme = match address.scheme.as_str() {
        "http" | "https" => Protocol::Http,
        "amqp" | "amqps" => Protocol::Amqp,
        other => return Err(format!("host: {other}:// is not allowed, expected http, https, amqp or amqps")),
    };
    let wanted = match parameters.any("protocol").unwrap_or("auto") {
        "auto" => by_scheme,
        "http" => Protocol::Http,
        "amqp" => Protocol::Amqp,
        other => return Err(format!("protocol: {other:?} is not allowed, expected auto, http or amqp")),
    };
    if wanted == by_scheme {
        return Ok(wanted);
    }
    let expected = if wanted == Protocol::Http { "http or https" } else { "amqp or amqps" };
    Err(format!("host: {}:// is not allowed with this protocol, expected {expected}", address.scheme))
}

/// As a client: the number of messages only.
async fn by_amqp(
    address: &Address,
    settings: &RabbitMq,
    parameters: &Parameters,
    tls: &Tls,
) -> Result<Vec<Queue>, String> {
    if settings.mode != Mode::QueueLength || settings.use_regex || settings.exclude_unacknowledged {
        return Err("protocol amqp knows only the mode QueueLength of one queue, all messages included; the address of the \
             management API, http://, knows the rest"
            .to_owned());
    }
    let is_secure = address.scheme == "amqps" || parameters.secret("tls") == Some("enable");
    let usual = if is_secure { 5671 } else { 5672 };
    let authority = &address.authority;
    let (host, port) = host_and_port(authority).unwrap_or((authority, usual));
    let (user, password) = address.user.clone().unwrap_or_else(|| ("guest".to_owned(), "guest".to_owned()));
    let in_path = percent_decode_str(address.path.trim_start_matches('/')).decode_utf8_lossy();
    let virtual_host = parameters.any("vhostName").unwrap_or(&in_path);
    let broker = Broker {
        host: host.trim_start_matches('[').trim_end_matches(']'),
        port,
        tls: is_secure.then_some(tls),
        user: &user,
        password: &password,
        virtual_host: if virtual_host.is_empty() { "/" } else { virtual_host },
    };
    let messages = i64::from(amqp::messages(&broker, &settings.queue_name).await?);
    Ok(vec![Queue { messages, ready: messages, ..Queue::default() }])
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

    /// A broker would be asked in a language that it does not speak at this address.
    #[test]
    fn protocols() {
        let protocol = |host: &str, wanted: &[(&str, &str)]| {
            super::protocol(&Address::parse(host).expect("an address"), &Parameters::of(wanted, &[]))
        };
        assert_eq!(protocol("amqps://r", &[]), Ok(Protocol::Amqp));
        assert_eq!(protocol("http://r", &[("protocol", "auto")]), Ok(Protocol::Http));
        assert_eq!(protocol("amqp://r", &[("protocol", "amqp")]), Ok(Protocol::Amqp));
        for (host, wanted) in
            [("http://r", "amqp"), ("amqp://r", "http"), ("ftp://r", "auto"), ("http://r", "x")]
        {
            assert!(protocol(host, &[("protocol", wanted)]).is_err(), "{host} {wanted}");
        }
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
