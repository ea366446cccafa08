//! Addresses and ports that a service gets from the cluster, or asks for.

use serde_json::{Value, json};

use super::write::Write;
use crate::{
    object::{as_map, list, map_at, meta, text},
    status::{ApiError, FieldError},
    store::Object,
};

/// Ports that services may have on the nodes.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

impl Write<'_, '_> {
    /// Gives a service what it has to have, and refuses what it can't have.
    pub(super) fn allocate(&mut self, object: &mut Value, old: Option<&Object>) -> Result<(), ApiError> {
        if &*self.target.kind.shelf != "/services" {
            return Ok(());
        }
        let kind = text(object, &["spec", "type"]).to_owned();
        if let Some(old) = old {
            drop_of_the_old_type(object, &old.value, &kind);
        }
        if kind == "ExternalName" {
            return Ok(());
        }
        let name = meta(object, "name").to_owned();
        let kept = old.map(|old| text(&old.value, &["spec", "clusterIP"])).unwrap_or_default().to_owned();
        let spec = map_at(as_map(object), "spec");
        match spec.get("clusterIP").and_then(Value::as_str) {
            Some("") | None if !kept.is_empty() => {
                spec.insert("clusterIP".into(), kept.into());
            }
            Some("") | None => {
                let address = self
                    .state
                    .allocate_address(self.context.options.service_network)
                    .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?;
                spec.insert("clusterIP".into(), address.into());
            }
            Some("None") => {}
            Some(wanted) if kept.is_empty() => {
                if let Some(why) = self.state.refuse_address(wanted, self.context.options.service_network) {
                    let why = format!("failed to allocate IP {wanted}: {why}");
                    let error = FieldError::invalid("spec.clusterIPs", &json!([wanted]), &why);
                    return Err(self.invalid(&name, &[error]));
                }
            }
            // A change of a given address is refused by the rules.
            Some(_) => {}
        }
        if !spec.contains_key("clusterIPs") {
            let address = spec.get("clusterIP").cloned().unwrap_or_default();
            spec.insert("clusterIPs".into(), json!([address]));
        }
        if kind == "NodePort" || kind == "LoadBalancer" {
            let before: Vec<i64> = old
                .into_iter()
                .flat_map(|old| list(&old.value, &["spec", "ports"]))
                .filter_map(|port| port["nodePort"].as_i64())
                .collect();
            self.allocate_node_ports(&name, object, &before)?;
        }
        Ok(())
    }

    fn allocate_node_ports(
        &mut self,
        name: &str,
        object: &mut Value,
        before: &[i64],
    ) -> Result<(), ApiError> {
        let ports = map_at(as_map(object), "spec").get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let wanted = port["nodePort"].as_i64().unwrap_or_default();
            if wanted == 0 {
                if let Some(number) = self.state.allocate_node_port() {
                    as_map(port).insert("nodePort".into(), number.into());
                }
                continue;
            }
            if before.contains(&wanted) {
                continue;
            }
            let why = if !NODE_PORTS.contains(&wanted) {
                format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    NODE_PORTS.start(),
                    NODE_PORTS.end()
                )
            } else if self.state.has_node_port(wanted) {
                "provided port is already allocated".to_owned()
            } else {
                continue;
            };
            let error = FieldError::invalid(format!("spec.ports[{index}].nodePort"), &wanted.into(), &why);
            return Err(self.invalid(name, &[error]));
        }
        Ok(())
    }
}

/// What only the old type could have goes with it, unless somebody has just asked for something else: who patches the type
/// alone need not know what the cluster had given.
fn drop_of_the_old_type(object: &mut Value, old: &Value, kind: &str) {
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let before = text(old, &["spec", "type"]);
    if before == "LoadBalancer" && kind != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            drop_same(object, old, field);
        }
    }
    if !has_node_ports(before) || has_node_ports(kind) {
        return;
    }
    let numbers = |service: &Value| -> Vec<i64> {
        list(service, &["spec", "ports"]).iter().map(|port| port["nodePort"].as_i64().unwrap_or(0)).collect()
    };
    if numbers(object) == numbers(old) {
        let ports = map_at(as_map(object), "spec").get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            as_map(port).shift_remove("nodePort");
        }
    }
    if list(object, &["spec", "externalIPs"]).is_empty() {
        drop_same(object, old, "externalTrafficPolicy");
    }
}

/// Takes away a field of the specification that is as it was.
fn drop_same(object: &mut Value, old: &Value, field: &str) {
    if object["spec"].get(field) == old["spec"].get(field) {
        map_at(as_map(object), "spec").shift_remove(field);
    }
}
