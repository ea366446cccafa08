//! How often one component may tell of one object: as often as client-go's event broadcaster lets it (a burst of 25, then one
//! in five minutes; `EventSourceObjectSpamFilter`).

use std::collections::{HashMap, VecDeque};

use k8s_openapi::jiff::Timestamp;

/// Events that a component may tell of an object at once.
const BURST: f64 = 25.0;
/// Events a second that come free again.
const REFILL_PER_S: f64 = 1.0 / 300.0;
/// Pairs of component and object that are remembered.
const REMEMBERED: usize = 4096;

/// Component and UID of the object.
type Source = (&'static str, String);

/// What each component has left for each object.
#[derive(Debug, Default)]
pub(super) struct EventLimit {
    buckets: HashMap<Source, Bucket>,
    order: VecDeque<Source>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl EventLimit {
    /// Whether a component may tell of an object now; if so, it has done it.
    pub(super) fn allows(&mut self, component: &'static str, uid: &str, now: Timestamp) -> bool {
        let source = (component, uid.to_owned());
        if !self.buckets.contains_key(&source) {
            self.order.push_back(source.clone());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.buckets.remove(&oldest);
            }
        }
        let bucket = self.buckets.entry(source).or_insert(Bucket { left: BURST, at: now });
        let waited_s = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.left = (bucket.left + waited_s * REFILL_PER_S).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::{SignedDuration, Timestamp};

    use super::EventLimit;

    /// A thousand autoscalers without metrics would fill the memory with their complaints.
    #[test]
    fn a_burst_and_then_one_in_five_minutes() {
        let mut limit = EventLimit::default();
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let allowed = (0..100).filter(|_| limit.allows("kubelet", "a", start)).count();
        assert_eq!(allowed, 25);
        assert!(limit.allows("kubelet", "b", start), "another object has its own");
        assert!(limit.allows("scheduler", "a", start), "and so has another component");
        assert!(!limit.allows("kubelet", "a", at(299)));
        assert!(limit.allows("kubelet", "a", at(301)));
        assert!(!limit.allows("kubelet", "a", at(302)));
    }
}
