//! Garbage collection: revisions that no Route points at any more, by `config-gc`.

use windtunnel_api::knative::{Configuration, Revision, names};
use windtunnel_kernel::rollout::knative::gc::{self, Candidate, Policy};

use crate::clock::{unix_ns, unix_ns_of};
use crate::effect::{Effect, Effects};
use crate::world::{Kind, ObjectKey, World};

/// The revisions of a Configuration that are to be deleted now, and when to look again. Nothing is deleted by settings that
/// cannot be used.
pub(super) fn collect(world: &World, key: &ObjectKey, configuration: &Configuration, now_ns: u64) -> Effects {
    let Ok(policy) = world.gc_policy() else { return Effects::new() };
    let latest_ready =
        configuration.status.as_ref().and_then(|found| found.latest_ready_revision_name.as_deref());
    let candidates: Vec<Candidate> = world
        .revisions
        .range(ObjectKey::new(key.namespace.clone(), "")..)
        .take_while(|(found, _)| found.namespace == key.namespace)
        .filter(|(_, revision)| label(revision, names::CONFIGURATION) == Some(key.name.as_str()))
        .filter(|(_, revision)| revision.metadata.deletion_timestamp.is_none())
        .map(|(found, revision)| candidate(&found.name, revision, latest_ready, now_ns))
        .collect();
    decided(&policy, key, &candidates, now_ns)
}

fn decided(policy: &Policy, key: &ObjectKey, candidates: &[Candidate], now_ns: u64) -> Effects {
    let decision = gc::collect(policy, candidates, now_ns);
    let mut effects: Effects = decision
        .deleted
        .into_iter()
        .map(|(name, _)| Effect::Delete { kind: Kind::Revision, key: key.sibling(name) })
        .collect();
    let wait_ns = decision.look_again_ns.map(|at_ns| at_ns.saturating_sub(now_ns));
    effects.extend(wait_ns.map(|wait_ns| Effect::Requeue { after_ms: wait_ns.div_ceil(1_000_000) }));
    effects
}

fn candidate(name: &str, revision: &Revision, latest_ready: Option<&str>, now_ns: u64) -> Candidate {
    let annotation = |key: &str| revision.metadata.annotations.as_ref().and_then(|found| found.get(key));
    let is_preserved = annotation(names::NO_GC).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let created_ns = revision.metadata.creation_timestamp.as_ref().map_or(now_ns, unix_ns);
    let modified_ns = annotation(names::ROUTING_STATE_MODIFIED).and_then(|text| unix_ns_of(text));
    Candidate {
        name: name.to_owned(),
        is_kept: is_preserved
            || latest_ready == Some(name)
            // One that waits for its first traffic may still get it.
            || label(revision, names::ROUTING_STATE) != Some(names::RESERVE),
        created_ns,
        last_active_ns: modified_ns.unwrap_or(created_ns),
    }
}

fn label<'a>(revision: &'a Revision, key: &str) -> Option<&'a str> {
    revision.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
