//! Watches that feed the store.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::store::{Routed, Store};
use crate::world::{Key, Stored};

/// Starts watches and knows when each has had its first list.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) store: Arc<Store>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// How many watches have had their first list.
    pub(crate) synced: watch::Sender<usize>,
}

impl Watches {
    /// Feeds all objects of one kind into the store, from now on.
    pub(crate) fn start<T>(&self)
    where
        T: Routed + Resource<DynamicType = ()> + DeserializeOwned + Debug,
    {
        self.start_with::<T>(watcher::Config::default());
    }

    /// Feeds the objects of one kind that have this name, in whatever namespace.
    pub(crate) fn start_named<T>(&self, name: &str)
    where
        T: Routed + Resource<DynamicType = ()> + DeserializeOwned + Debug,
    {
        self.start_with::<T>(watcher::Config::default().fields(&format!("metadata.name={name}")));
    }

    fn start_with<T>(&self, config: watcher::Config)
    where
        T: Routed + Resource<DynamicType = ()> + DeserializeOwned + Debug,
    {
        let api = Api::<T>::all(self.client.clone());
        let (store, stop, synced) = (self.store.clone(), self.stop.clone(), self.synced.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = feed(api, config, store, synced) => {}
            }
        });
    }
}

/// Feeds the objects of one kind into the store; never ends by itself.
async fn feed<T>(api: Api<T>, config: watcher::Config, store: Arc<Store>, synced: watch::Sender<usize>)
where
    T: Routed + Resource<DynamicType = ()> + DeserializeOwned + Debug,
{
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = BTreeSet::new();
    let mut is_first = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(Key::of(Stored::metadata(&object)));
                store.apply(object);
            }
            Ok(watcher::Event::InitDone) => {
                store.retain::<T>(&std::mem::take(&mut listed));
                if std::mem::take(&mut is_first) {
                    synced.send_modify(|count| *count += 1);
                }
            }
            Ok(watcher::Event::Apply(object)) => store.apply(object),
            Ok(watcher::Event::Delete(object)) => store.remove::<T>(Stored::metadata(&object)),
            Err(error) => tracing::warn!(kind = T::KIND.name(), %error, "a watch broke; starting it again"),
        }
    }
}
