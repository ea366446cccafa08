//! Waiting on the API server's own events, with a deadline.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Longest time for anything in these tests.
const DEADLINE: Duration = Duration::from_secs(20);

/// Watches the named object until the condition holds.
pub(crate) async fn until<K>(api: Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    let mut last = None;
    let wait = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                if holds(&object) {
                    return Some(object);
                }
                last = Some(object);
            }
        }
        None
    };
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(Some(object)) => object,
        _ => panic!("{what}: not within {DEADLINE:?}; last seen: {last:#?}"),
    }
}
