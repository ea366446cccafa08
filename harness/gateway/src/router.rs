//! The compiled route table: host name to split, revision key to activator.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;
use windtunnel_kernel::routing::split::TrafficSplit;

use crate::{
    activator::Revision,
    error::Refusal,
    meter::{Meter, RevisionStat},
    table::{Backend, DEFAULT_TIMEOUT_MS, RevisionKey, RouteTable},
};

/// Hosts that an error names as those that could have been asked for.
const NAMED_HOSTS: usize = 5;

/// Everything that one request needs to know about the table.
pub(crate) struct Router {
    routes: RwLock<BTreeMap<String, Arc<Route>>>,
    revisions: Mutex<Revisions>,
    stats: broadcast::Sender<RevisionStat>,
    next_seed: AtomicU64,
}

#[derive(Default)]
struct Revisions {
    /// The table as it was applied last.
    table: RouteTable,
    /// In the table.
    current: BTreeMap<RevisionKey, Arc<Revision>>,
    /// Taken out of the table, with requests that are not over or not yet reported.
    leaving: Vec<Arc<Revision>>,
}

/// One compiled route.
struct Route {
    backends: Vec<(Backend, Arc<Revision>)>,
    split: Arc<Mutex<TrafficSplit>>,
    timeout: Duration,
}

/// Where one request goes.
pub(crate) struct Chosen {
    pub(crate) revision: Arc<Revision>,
    pub(crate) percent: u32,
    pub(crate) timeout: Duration,
}

impl Router {
    pub(crate) fn new(stats: broadcast::Sender<RevisionStat>, seed: u64) -> Self {
        Self {
            routes: RwLock::default(),
            revisions: Mutex::default(),
            stats,
            next_seed: AtomicU64::new(seed),
        }
    }

    /// Replaces the table. Requests see the old one or the new one, nothing in between.
    pub(crate) fn apply(&self, table: RouteTable) {
        let mut revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        if revisions.table == table {
            return;
        }
        let mut before = std::mem::take(&mut revisions.current);
        let mut current = BTreeMap::new();
        let named = table.revisions.iter().map(|revision| &revision.key);
        let routed = table.routes.iter().flat_map(|route| &route.backends).map(|backend| &backend.revision);
        for key in named.chain(routed) {
            if !current.contains_key(key) {
                let revision = before.remove(key).unwrap_or_else(|| self.new_revision(key));
                current.insert(key.clone(), revision);
            }
        }
        let described: BTreeMap<_, _> =
            table.revisions.iter().map(|revision| (&revision.key, revision)).collect();

        // Pods first, then routes: a request that sees a new route finds its pods.
        for (key, revision) in &current {
            match described.get(key) {
                Some(backend) => revision.update(backend.container_concurrency, &backend.endpoints),
                None => revision.update(0, &[]),
            }
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let compiled = compile(&table, &routes, &current);
        *routes = compiled;
        drop(routes);
        // Those who wait for a revision that is gone choose again, and see the new routes.
        for revision in before.into_values() {
            revision.remove();
            revisions.leaving.push(revision);
        }
        revisions.current = current;
        revisions.table = table;
    }

    fn new_revision(&self, key: &RevisionKey) -> Arc<Revision> {
        let meter = Arc::new(Meter::new(key.clone(), self.stats.clone()));
        let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
        Arc::new(Revision::new(key.clone(), meter, seed))
    }

    /// The revision that the next request for this host goes to. `host` is in lower case, without port.
    pub(crate) fn choose(&self, host: &str) -> Result<Chosen, Refusal> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(route) = routes.get(host).map(Arc::clone) else {
            return Err(Refusal::UnknownHost { host: host.to_owned(), known: known_hosts(&routes) });
        };
        drop(routes);
        if route.backends.iter().all(|(backend, _)| backend.percent == 0) {
            return Err(Refusal::NoBackend { host: host.to_owned() });
        }
        let index = route.split.lock().unwrap_or_else(PoisonError::into_inner).next();
        let (backend, revision) = &route.backends[index];
        Ok(Chosen { revision: Arc::clone(revision), percent: backend.percent, timeout: route.timeout })
    }

    /// Sends the reports that are due and forgets what is over.
    pub(crate) fn report(&self) {
        let (current, leaving) = {
            let revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
            (revisions.current.values().map(Arc::clone).collect::<Vec<_>>(), revisions.leaving.clone())
        };
        for revision in &current {
            revision.meter.report();
            revision.close_aged();
        }
        for revision in &leaving {
            revision.meter.report();
        }
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .leaving
            .retain(|revision| !revision.meter.is_idle());
    }

    /// Requests in flight for a revision, whether or not it is still in the table.
    pub(crate) fn in_flight(&self, key: &RevisionKey) -> u32 {
        let revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        revisions
            .current
            .get(key)
            .into_iter()
            .chain(revisions.leaving.iter().filter(|revision| revision.key == *key))
            .map(|revision| revision.meter.in_flight())
            .sum()
    }
}

fn compile(
    table: &RouteTable,
    before: &BTreeMap<String, Arc<Route>>,
    revisions: &BTreeMap<RevisionKey, Arc<Revision>>,
) -> BTreeMap<String, Arc<Route>> {
    let mut routes = BTreeMap::new();
    for route in &table.routes {
        let backends: Vec<_> = route
            .backends
            .iter()
            .map(|backend| (backend.clone(), Arc::clone(&revisions[&backend.revision])))
            .collect();
        // A split that did not change keeps its position: a new pod must not restart it.
        let split = route
            .hosts
            .iter()
            .filter_map(|host| before.get(&host.to_ascii_lowercase()))
            .find(|old| old.backends.iter().map(|(backend, _)| backend).eq(&route.backends))
            .map(|old| Arc::clone(&old.split))
            .unwrap_or_else(|| {
                let weights: Vec<u32> = route.backends.iter().map(|backend| backend.percent).collect();
                Arc::new(Mutex::new(TrafficSplit::new(&weights)))
            });
        let timeout_ms = if route.timeout_ms == 0 { DEFAULT_TIMEOUT_MS } else { route.timeout_ms };
        let compiled = Arc::new(Route { backends, split, timeout: Duration::from_millis(timeout_ms) });
        for host in &route.hosts {
            routes.entry(host.to_ascii_lowercase()).or_insert_with(|| Arc::clone(&compiled));
        }
    }
    routes
}

fn known_hosts(routes: &BTreeMap<String, Arc<Route>>) -> String {
    if routes.is_empty() {
        return "no service is routed yet".to_owned();
    }
    let named: Vec<&str> = routes.keys().take(NAMED_HOSTS).map(String::as_str).collect();
    let more = if routes.len() > NAMED_HOSTS {
        format!(" and {} more", routes.len() - NAMED_HOSTS)
    } else {
        String::new()
    };
    format!("routed are {}{more}", named.join(", "))
}
