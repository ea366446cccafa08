//! The status of a ScaledObject, in upstream's words.

use serde_json::{Value, json};
use windtunnel_api::keda::ScaledObject;
use windtunnel_kernel::autoscale::keda::{ActiveState, Decision, ReadyState};

use crate::effect::{Effect, merge_difference};
use crate::world::{Kind, ObjectKey};

/// Message of a healthy object's `Ready`.
const READY: &str = "ScaledObject is defined correctly and is ready for scaling";
/// Message of a paused object.
pub(super) const PAUSED: &str = "ScaledObject is paused";

/// A status that is being written.
#[derive(Clone, Debug)]
pub(super) struct Status {
    before: Value,
    now: Value,
}

impl Status {
    /// The status that the object has, with all conditions.
    pub(super) fn of(object: &ScaledObject) -> Self {
        let before = object.status.as_ref().map_or_else(|| json!({}), |status| json!(status));
        let mut status = Self { now: before.clone(), before };
        if !status.now["conditions"].is_array() {
            status.now["conditions"] = json!([]);
        }
        for (kind, value) in
            [("Ready", "Unknown"), ("Active", "Unknown"), ("Fallback", "Unknown"), ("Paused", "False")]
        {
            if status.condition(kind, "type").is_none() {
                status.set(kind, value, "", "");
            }
        }
        status
    }

    /// A field of a condition.
    pub(super) fn condition(&self, kind: &str, field: &str) -> Option<&str> {
        let conditions = self.now["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == kind)?[field].as_str()
    }

    /// Whether a condition holds.
    pub(super) fn is(&self, kind: &str, value: &str) -> bool {
        self.condition(kind, "status") == Some(value)
    }

    /// A field.
    pub(super) fn field(&self, name: &str) -> &Value {
        &self.now[name]
    }

    /// Sets a field; null takes it away.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        if value.is_null() {
            self.now.as_object_mut().and_then(|fields| fields.shift_remove(name));
        } else {
            self.now[name] = value;
        }
    }

    /// Sets a condition.
    pub(super) fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let mut condition = json!({"type": kind, "status": status});
        for (field, text) in [("reason", reason), ("message", message)] {
            if !text.is_empty() {
                condition[field] = text.into();
            }
        }
        let Some(conditions) = self.now["conditions"].as_array_mut() else { return };
        match conditions.iter_mut().find(|found| found["type"] == kind) {
            Some(found) => *found = condition,
            None => conditions.push(condition),
        }
    }

    /// What a poll decided.
    pub(super) fn decide(&mut self, decision: &Decision, is_forced: bool, has_fallback: bool) {
        match decision.ready {
            ReadyState::Ready => self.set("Ready", "True", "ScaledObjectReady", READY),
            ReadyState::PartialTriggerError => {
                let message = "Some triggers defined in ScaledObject are not working correctly";
                self.set("Ready", "Unknown", "PartialTriggerError", message);
            }
            ReadyState::TriggerError => {
                let message = "Triggers defined in ScaledObject are not working correctly";
                self.set("Ready", "False", "TriggerError", message);
            }
        }
        self.activate(decision, is_forced);
        if has_fallback && decision.fallback {
            let message = "At least one trigger is falling back on this scaled object";
            self.set("Fallback", "True", "FallbackExists", message);
        } else {
            self.set("Fallback", "False", "NoFallbackFound", "No fallbacks are active on this scaled object");
        }
    }

    /// The `Active` condition after a decision.
    pub(super) fn activate(&mut self, decision: &Decision, is_forced: bool) {
        let message = match decision.active {
            ActiveState::Active if is_forced => {
                "Scaling is performed because activation is being forced by annotation"
            }
            ActiveState::Active => "Scaling is performed because triggers are active",
            ActiveState::NotActive => "Scaling is not performed because triggers are not active",
            ActiveState::Cooldown => "Scaler cooling down because triggers are not active",
            ActiveState::Unknown => "",
        };
        self.set("Active", decision.active.status(), decision.active.reason(), message);
    }

    /// The write that it takes, if any.
    pub(super) fn effect(&self, key: &ObjectKey) -> Option<Effect> {
        let difference = merge_difference(&self.before, &self.now)?;
        let patch = json!({"status": difference});
        Some(Effect::Patch { kind: Kind::ScaledObject, key: key.clone(), patch, status: true })
    }
}
