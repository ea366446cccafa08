//! The compiled route table: host name to rules, rule to split, revision key to activator.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use tokio::sync::broadcast;
use windtunnel_kernel::routing::split::TrafficSplit;

use crate::{
    activator::Revision,
    error::Refusal,
    matching::Matcher,
    meter::{Meter, RevisionStat},
    table::{Backend, DEFAULT_TIMEOUT_MS, Filter, RequestMatch, RevisionKey, RouteTable},
};

/// Hosts that an error names as those that could have been asked for.
const NAMED_HOSTS: usize = 5;

/// Everything that one request needs to know about the table.
pub(crate) struct Router {
    hosts: RwLock<Hosts>,
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

/// The rules of each host, the most specific first. A wildcard's name begins with `*.`, or with `?.` for a single label.
type Hosts = BTreeMap<String, Vec<Case>>;

/// A rule under one of its matches.
struct Case {
    matcher: Matcher,
    rule: Arc<Rule>,
}

/// One compiled rule.
struct Rule {
    backends: Vec<(Backend, Arc<Revision>)>,
    filters: Arc<[Filter]>,
    split: Arc<Mutex<TrafficSplit>>,
    timeout: Duration,
}

/// Where one request goes.
pub(crate) struct Chosen {
    pub(crate) revision: Arc<Revision>,
    pub(crate) percent: u32,
    pub(crate) timeout: Duration,
}

/// What the table says about a request before a revision is chosen.
pub(crate) struct Matched {
    rule: Arc<Rule>,
    /// The prefix that the rule's path match is about.
    pub(crate) prefix: String,
}

impl Matched {
    pub(crate) fn filters(&self) -> &Arc<[Filter]> {
        &self.rule.filters
    }
}

impl Router {
    pub(crate) fn new(stats: broadcast::Sender<RevisionStat>, seed: u64) -> Self {
        Self { hosts: RwLock::default(), revisions: Mutex::default(), stats, next_seed: AtomicU64::new(seed) }
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
        let rules = table.routes.iter().flat_map(|route| &route.rules);
        let routed = rules.flat_map(|rule| &rule.backends).map(|backend| &backend.revision);
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
                Some(backend) => {
                    revision.update(backend.container_concurrency, backend.activated, &backend.endpoints);
                }
                None => revision.update(0, true, &[]),
            }
        }
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let compiled = compile(&table, &hosts, &current);
        *hosts = compiled;
        drop(hosts);
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

    /// The rule for a request. `host` is in lower case, without port.
    pub(crate) fn find(&self, host: &str, head: &Parts) -> Result<Matched, Refusal> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(cases) = cases(&hosts, host) else {
            return Err(Refusal::UnknownHost { host: host.to_owned(), known: known_hosts(&hosts) });
        };
        let Some(case) = cases.iter().find(|case| case.matcher.matches(head)) else {
            return Err(Refusal::NoRule {
                host: host.to_owned(),
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
            });
        };
        Ok(Matched { rule: Arc::clone(&case.rule), prefix: case.matcher.prefix().to_owned() })
    }

    /// The revision that the next request of this rule goes to.
    pub(crate) fn choose(matched: &Matched, host: &str) -> Result<Chosen, Refusal> {
        let rule = &matched.rule;
        if rule.backends.iter().all(|(backend, _)| backend.percent == 0) {
            return Err(Refusal::NoBackend { host: host.to_owned() });
        }
        let index = rule.split.lock().unwrap_or_else(PoisonError::into_inner).next();
        let (backend, revision) = &rule.backends[index];
        Ok(Chosen { revision: Arc::clone(revision), percent: backend.percent, timeout: rule.timeout })
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

/// The rules of the host itself, else those of the nearest wildcard above it, else those for every host.
fn cases<'a>(hosts: &'a Hosts, host: &str) -> Option<&'a Vec<Case>> {
    let one_label = || hosts.get(&format!("?.{}", host.split_once('.')?.1));
    hosts.get(host).or_else(one_label).or_else(|| {
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = hosts.get(&format!("*.{parent}")) {
                return Some(found);
            }
            rest = parent;
        }
        hosts.get("*")
    })
}

fn compile(table: &RouteTable, before: &Hosts, revisions: &BTreeMap<RevisionKey, Arc<Revision>>) -> Hosts {
    let mut hosts = Hosts::new();
    let everything = [RequestMatch::default()];
    for route in &table.routes {
        for rule in &route.rules {
            let backends: Vec<_> = rule
                .backends
                .iter()
                .map(|backend| (backend.clone(), Arc::clone(&revisions[&backend.revision])))
                .collect();
            // A split that did not change keeps its position: a new pod must not restart it.
            let split = route
                .hosts
                .iter()
                .filter_map(|host| before.get(&host.to_ascii_lowercase()))
                .flatten()
                .find(|old| old.rule.backends.iter().map(|(backend, _)| backend).eq(&rule.backends))
                .map(|old| Arc::clone(&old.rule.split))
                .unwrap_or_else(|| {
                    let weights: Vec<u32> = rule.backends.iter().map(|backend| backend.percent).collect();
                    Arc::new(Mutex::new(TrafficSplit::new(&weights)))
                });
            let timeout_ms = if rule.timeout_ms == 0 { DEFAULT_TIMEOUT_MS } else { rule.timeout_ms };
            let compiled = Arc::new(Rule {
                backends,
                filters: rule.filters.clone().into(),
                split,
                timeout: Duration::from_millis(timeout_ms),
            });
            let matches = if rule.matches.is_empty() { &everything[..] } else { &rule.matches };
            for host in &route.hosts {
                let cases = hosts.entry(host.to_ascii_lowercase()).or_default();
                cases.extend(
                    matches
                        .iter()
                        .map(|wanted| Case { matcher: Matcher::new(wanted), rule: Arc::clone(&compiled) }),
                );
            }
        }
    }
    for cases in hosts.values_mut() {
        // Equally specific ones stay in the table's order.
        cases.sort_by_key(|case| case.matcher.precedence());
    }
    hosts
}

fn known_hosts(hosts: &Hosts) -> String {
    if hosts.is_empty() {
        return "no service is routed yet".to_owned();
    }
    let named: Vec<&str> = hosts.keys().take(NAMED_HOSTS).map(String::as_str).collect();
    let more = if hosts.len() > NAMED_HOSTS {
        format!(" and {} more", hosts.len() - NAMED_HOSTS)
    } else {
        String::new()
    };
    format!("routed are {}{more}", named.join(", "))
}
