//! Where a router listens that runs in a pod of the embedded cluster: pods share one machine there, so each has an address, or
//! ports, of its own. Elsewhere the variables are absent and nothing changes.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::RouterError;

/// The pod's address.
const BIND: &str = "WINDTUNNEL_BIND";
/// `container port=port of the machine`, with commas between.
const PORTS: &str = "WINDTUNNEL_PORTS";

/// The address for a container's port.
///
/// # Errors
/// When a variable does not have its form.
pub fn pod_address(port: u16) -> Result<SocketAddr, RouterError> {
    from_variables(port, env::var(BIND).ok(), env::var(PORTS).ok())
}

fn from_variables(port: u16, bind: Option<String>, ports: Option<String>) -> Result<SocketAddr, RouterError> {
    let address = match bind {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(value) => match value.parse() {
            Ok(address) => address,
            Err(_) => {
                return Err(RouterError::Environment { name: BIND, value, expected: "an IP address" });
            }
        },
    };
    let Some(ports) = ports else { return Ok(SocketAddr::new(address, port)) };
    for pair in ports.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let pair = pair
            .split_once('=')
            .and_then(|(container, host)| Some((container.trim().parse().ok()?, host.trim().parse().ok()?)));
        let Some((container, host)) = pair else {
            let expected = "container ports and host ports, such as 8080=41234,9000=41235";
            return Err(RouterError::Environment { name: PORTS, value: ports, expected });
        };
        if u16::eq(&container, &port) {
            return Ok(SocketAddr::new(address, host));
        }
    }
    Ok(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails graphs answer nowhere on the embedded cluster.
    #[test]
    fn a_pod_has_its_address_and_ports() {
        let with = |bind: Option<&str>, ports: Option<&str>| {
            from_variables(8080, bind.map(str::to_owned), ports.map(str::to_owned))
                .map(|address| address.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(with(None, None).unwrap(), "0.0.0.0:8080");
        assert_eq!(with(Some("127.64.0.2"), None).unwrap(), "127.64.0.2:8080");
        assert_eq!(with(None, Some("9000=9, 8080=41234")).unwrap(), "0.0.0.0:41234");
        assert_eq!(with(None, Some("")).unwrap(), "0.0.0.0:8080");
        assert!(with(Some("here"), None).unwrap_err().contains("WINDTUNNEL_BIND"));
        assert!(with(None, Some("8080")).unwrap_err().contains("8080=41234"));
    }
}
