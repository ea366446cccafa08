//! The loop that keeps the world, calls the reconcilers of what changed and carries their effects out.
//!
//! One task owns all state, so there are no locks and the order of work is that of the keys. Writes run beside
//! it, at most [`WRITES_AT_ONCE`] keys at a time and one after the other for a key; a key that changes while
//! its writes run is looked at again afterwards.

mod affected;
mod carry_out;
mod drift;
mod live;
mod queue;
mod readiness;
mod watch;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt as _;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch as leadership};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};
use windtunnel_api::knative::default_rollout_duration_s;
use windtunnel_gateway::{GatewayHandle, RevisionStat, RouteTable};

use crate::Options;
use crate::admission::LiveConfig;
use crate::autoscaler::{AutoscaleDecision, Loops, Step};
use crate::clock::Clock;
use crate::effect::{Effect, Effects};
use crate::health::Health;
use crate::keda::sources::Sources;
use crate::keda::{self, Ask, Polled, Question};
use crate::metrics::{self, Metrics};
use crate::world::{Key, Kind, Need, Object, ObjectKey, Refusal, Target, World};
use crate::{gateway_routes, install, knative, kserve};
use carry_out::Outcome;
use drift::Drift;
use queue::Queue;
use readiness::Readiness;
use watch::Change;

/// Keys whose writes run at the same time.
pub(crate) const WRITES_AT_ONCE: usize = 64;
/// Keys that are reconciled before the loop looks at what has come in meanwhile.
const RECONCILES_AT_ONCE: usize = 256;
/// Changes that may wait for the loop before watchers wait.
const CHANGES_QUEUED: usize = 1024;
/// Wait before the first retry of a failed write; doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest wait before a retry.
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// The table is made anew after so many times of what it took, so that a thousand services that come at once don't
/// cost the square of a thousand.
const TABLE_PAUSE: u32 = 4;
/// The definition that says whether KEDA is ours.
const SCALED_OBJECTS: &str = "scaledobjects.keda.sh";
/// The definition that says whether Knative is ours.
const KNATIVE_SERVICES: &str = "services.serving.knative.dev";
/// How long writes may take to finish when the control plane stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// A failure that comes so often in a row is told in an event.
const TOLD_AFTER: u32 = 3;
/// Name of the spans of reconciles.
const RECONCILE: &str = "reconcile";

/// The running state of a control plane.
pub(crate) struct Engine {
    client: kube::Client,
    gateway: GatewayHandle,
    live_config: LiveConfig,
    decisions: broadcast::Sender<AutoscaleDecision>,
    clock: Clock,
    world: World,
    /// Watches that have not told yet what there is.
    unsynced: usize,
    loops: Loops,
    table: RouteTable,
    table_is_stale: bool,
    /// When the table may be made again.
    table_not_before: Instant,
    /// Whether this control plane writes; one that stands by only keeps the world.
    leads: bool,
    /// Whether the objects of Knative are ours to look after: nobody has brought Knative.
    runs_knative: bool,
    dirty: Queue,
    /// Writes of autoscalers that wait for older ones of theirs to end; a newer one replaces an older.
    waiting: BTreeMap<Key, Effects>,
    retries: BTreeMap<Key, Retry>,
    /// Keys that want to be looked at again although nothing changes.
    requeues: BTreeMap<Key, Instant>,
    writes: JoinSet<Written>,
    /// Events about failures.
    events: JoinSet<()>,
    external_metrics: keda::Metrics,
    scaled: keda::Loops,
    sources: Sources,
    listeners: keda::Listeners,
    polls: JoinSet<Poll>,
    /// Whether there may be local models: the watches of the kinds that only these need wait for it.
    local_models: leadership::Sender<bool>,
    /// Whether there are copies of certificate authorities, which are watched then.
    ca_bundles: leadership::Sender<bool>,
    metrics: Metrics,
    health: Health,
    drift: Drift,
    readiness: Readiness,
    /// Reconciles so far, for their identifiers.
    count: u64,
}

/// The end of a poll of a ScaledObject's triggers.
struct Poll {
    question: Question,
    polled: Polled,
    /// Who wants to know; absent for the loop itself.
    ask: Option<Ask>,
}

/// A key whose writes failed.
struct Retry {
    attempts: u32,
    due: Option<Instant>,
}

/// The end of a key's writes.
struct Written {
    key: Key,
    done: Done,
    span: Span,
}

/// What came of writes.
#[derive(Default)]
struct Done {
    outcomes: Vec<Outcome>,
    /// Children that the API server did not take.
    refused: Vec<Refusal>,
    /// The first failure.
    error: Option<String>,
}

impl Engine {
    pub(crate) fn new(
        client: kube::Client,
        gateway: GatewayHandle,
        options: &Options,
        decisions: broadcast::Sender<AutoscaleDecision>,
        health: Health,
    ) -> Self {
        options.live_config.set_profile(options.profile);
        let mut world = World::new(options.profile);
        world.gateway_address = Some(gateway.address());
        Self {
            client,
            gateway,
            live_config: options.live_config.clone(),
            decisions,
            clock: Clock::new(),
            world,
            unsynced: 0,
            loops: Loops::default(),
            table: RouteTable::default(),
            table_is_stale: false,
            table_not_before: Instant::now(),
            leads: false,
            runs_knative: false,
            dirty: Queue::new(options.metrics.clone()),
            waiting: BTreeMap::new(),
            retries: BTreeMap::new(),
            requeues: BTreeMap::new(),
            writes: JoinSet::new(),
            events: JoinSet::new(),
            external_metrics: options.external_metrics.clone(),
            scaled: keda::Loops::default(),
            sources: Sources::default(),
            listeners: keda::Listeners::default(),
            polls: JoinSet::new(),
            local_models: leadership::Sender::new(false),
            ca_bundles: leadership::Sender::new(false),
            metrics: options.metrics.clone(),
            health,
            drift: Drift::default(),
            readiness: Readiness::default(),
            count: 0,
        }
    }

    /// Runs until stopped. Before it leads it only keeps the world, so that it can begin at once when it does.
    pub(crate) async fn run(mut self, stop: CancellationToken, mut leadership: leadership::Receiver<bool>) {
        let told = async {
            tokio::join!(
                install::kubernetes_version(&self.client),
                install::is_ours(&self.client, SCALED_OBJECTS),
                install::is_ours(&self.client, KNATIVE_SERVICES),
            )
        };
        (self.world.kubernetes, self.world.has_own_keda, self.runs_knative) = tokio::select! {
            told = told => told,
            () = stop.cancelled() => return,
        };
        let mut asks = self.external_metrics.serve();
        let mut stats = self.gateway.stats();
        let mut reports = true;
        let (sender, mut changes) = mpsc::channel(CHANGES_QUEUED);
        let wanted = watch::Wanted {
            local_models: self.local_models.subscribe(),
            ca_bundles: self.ca_bundles.subscribe(),
        };
        let mut watchers = watch::start(&self.client, &sender, &wanted);
        self.unsynced = watchers.len();
        drop(sender);
        self.leads = *leadership.borrow_and_update();
        loop {
            self.work();
            let more = self.has_work();
            let due = self.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = leadership.changed() => self.leads = *leadership.borrow_and_update(),
                () = tokio::task::yield_now(), if more => {}
                change = changes.recv() => match change {
                    Some(change) => {
                        self.take(change);
                        // What has arrived together is worked on together.
                        while let Ok(change) = changes.try_recv() {
                            self.take(change);
                        }
                    }
                    None => break,
                },
                Some(written) = self.writes.join_next() => match written {
                    Ok(written) => self.finish(written),
                    Err(error) => tracing::error!(%error, "a write was lost"),
                },
                Some(_) = self.events.join_next() => {}
                Some(poll) = self.polls.join_next() => match poll {
                    Ok(poll) => self.polled(poll),
                    Err(error) => tracing::error!(%error, "a poll was lost"),
                },
                Some(ask) = asks.recv() => self.asked(ask),
                Some(question) = self.listeners.next() => self.poll(question, None),
                report = stats.recv(), if reports => match report {
                    Ok(report) if self.leads => self.report(&report),
                    Ok(_) => {}
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "concurrency reports were lost"),
                    Err(RecvError::Closed) => reports = false,
                },
                () = sleep_until(due) => self.tick(),
            }
        }
        watchers.shutdown().await;
        let rest = async { while self.writes.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, rest).await.is_err() {
            tracing::warn!("writes were cut off while stopping");
        }
    }

    /// Reconciles keys that have changed and are not being written, in order, and makes the gateway's table.
    fn work(&mut self) {
        // A decision on half of the objects would be undone on the other half.
        if self.unsynced > 0 {
            return;
        }
        let mut last = None;
        for _ in 0..RECONCILES_AT_ONCE {
            if !self.leads || self.dirty.in_flight() >= WRITES_AT_ONCE {
                break;
            }
            let Some(key) = self.dirty.next(last.as_ref()) else { break };
            let _span = self.span(&key).entered();
            match self.reconcile(&key) {
                Ok(Some(effects)) => self.write(key.clone(), effects),
                Ok(None) if self.dirty.is_in_flight(&key) => {}
                Ok(None) => self.dirty.done(&key, metrics::Outcome::Success, false),
                Err(panic) => self.fail(&key, &format!("internal error: {}", text(&*panic))),
            }
            last = Some(key);
        }
        self.renew_table();
    }

    /// Whether keys are left that could be reconciled now.
    fn has_work(&self) -> bool {
        self.leads && self.unsynced == 0 && self.dirty.in_flight() < WRITES_AT_ONCE && self.dirty.has_work()
    }

    /// What the reconcilers say to a key; `None` from those that write by themselves. One that panics does no harm to
    /// other keys.
    fn reconcile(&mut self, key: &Key) -> std::thread::Result<Option<Effects>> {
        let is_knatives = match key {
            Key::Service(_) | Key::Configuration(_) | Key::Revision(_) | Key::Route(_) => true,
            Key::Scale(of) => matches!(of, Target::Revision(_)),
            _ => false,
        };
        if is_knatives && !self.runs_knative {
            return Ok(Some(Effects::new()));
        }
        catch_unwind(AssertUnwindSafe(|| {
            let now_ns = self.clock.now_ns();
            let effects = match &key {
                Key::InferenceService(of) => kserve::reconcile(&self.world, of, now_ns),
                Key::InferenceGraph(of) => kserve::reconcile_graph(&self.world, of, now_ns),
                Key::TrainedModel(of) => kserve::reconcile_trained_model(&self.world, of, now_ns),
                Key::Service(of) => knative::service::reconcile(&self.world, of, now_ns),
                Key::Configuration(of) => knative::configuration::reconcile(&self.world, of, now_ns),
                Key::Revision(of) => knative::revision::reconcile(&self.world, of, now_ns),
                Key::Route(of) => knative::route::reconcile(&self.world, of, now_ns),
                Key::HttpRoute(of) => gateway_routes::reconcile_route(&self.world, of, now_ns),
                Key::Gateway(of) => gateway_routes::reconcile_gateway(&self.world, of, now_ns),
                Key::GatewayClass(of) => gateway_routes::reconcile_class(&self.world, of, now_ns),
                Key::LocalModelNode(of) => kserve::reconcile_local_model_node(&self.world, of),
                Key::LocalModel(of) => kserve::reconcile_local_model(&self.world, of),
                Key::Ingress(of) => gateway_routes::reconcile_ingress(&self.world, of),
                Key::ScaledObject(of) => {
                    let effects = self.scaled.changed(&self.world, of, now_ns);
                    self.listeners.follow(&self.client, self.scaled.listening());
                    effects
                }
                Key::Scale(of) => {
                    let step = self.loops.changed(&self.world, of, now_ns);
                    self.follow(of, step);
                    return None;
                }
            };
            Some(effects)
        }))
    }

    /// The span of the work on a key: where it has begun already, that one.
    fn span(&mut self, key: &Key) -> Span {
        let current = Span::current();
        if current.metadata().is_some_and(|metadata| metadata.name() == RECONCILE) {
            return current;
        }
        self.count += 1;
        let object = key.object();
        tracing::info_span!(
            RECONCILE,
            controller = key.controller(),
            kind = key.kind(),
            namespace = object.namespace,
            name = object.name,
            reconcileID = %format_args!("{:x}-{}", self.clock.start_unix_ns(), self.count),
        )
    }

    fn renew_table(&mut self) {
        let now = Instant::now();
        if self.table_is_stale && now >= self.table_not_before {
            self.table_is_stale = false;
            let table = gateway_routes::table(&self.world);
            if table != self.table {
                self.gateway.apply(table.clone());
                self.table = table;
            }
            self.table_not_before = Instant::now() + now.elapsed().saturating_mul(TABLE_PAUSE);
        }
    }

    fn write(&mut self, key: Key, effects: Effects) {
        let mut requeued = false;
        let mut writes = Vec::with_capacity(effects.len());
        for effect in effects {
            let reason = match &effect {
                Effect::Apply(object) => {
                    let Some(need) = self.world.why_apply(object) else { continue };
                    if let Err(due) = self.may_apply(object, need) {
                        requeued = true;
                        self.requeues.insert(key.clone(), due);
                        continue;
                    }
                    need.as_str()
                }
                Effect::Requeue { after_ms } => {
                    requeued = true;
                    self.requeues.insert(key.clone(), Instant::now() + Duration::from_millis(*after_ms));
                    continue;
                }
                other => other.reason(),
            };
            writes.push((effect, reason));
        }
        let outcome = if requeued { metrics::Outcome::RequeueAfter } else { metrics::Outcome::Success };
        if writes.is_empty() {
            self.retries.remove(&key);
            self.world.note_refusals(&key, Vec::new());
            self.dirty.done(&key, outcome, false);
            return;
        }
        let span = self.span(&key);
        span.in_scope(|| tracing::debug!(writes = writes.len(), "reconciled"));
        self.dirty.send(key.clone());
        let (client, metrics) = (self.client.clone(), self.metrics.clone());
        let writing = async move {
            let mut done = Done::default();
            for (effect, reason) in writes {
                metrics.wrote(effect.kind(), effect.operation(), reason);
                match carry_out::carry_out(&client, effect).await {
                    Ok(outcome) => done.outcomes.push(outcome),
                    Err(failure) => {
                        done.error.get_or_insert(failure.message);
                        match failure.refusal {
                            // What else there is to do does not need this child; the status is told in any case.
                            Some(refusal) => done.refused.push(refusal),
                            None => break,
                        }
                    }
                }
            }
            done
        };
        let writing = writing.instrument(span.clone());
        self.writes.spawn(async move {
            let done = AssertUnwindSafe(writing).catch_unwind().await.unwrap_or_else(|panic| Done {
                error: Some(format!("internal error: {}", text(&*panic))),
                ..Done::default()
            });
            Written { key, done, span }
        });
    }

    /// Whether an object may be applied.
    ///
    /// # Errors
    /// When it may be, if somebody else keeps changing what we want.
    fn may_apply(&mut self, object: &Object, need: Need) -> Result<(), Instant> {
        if need != Need::Drifted {
            return Ok(());
        }
        let (kind, key) = (object.kind(), object.key());
        let allowed = self.drift.correct(kind, &key, Instant::now());
        if let Err(due) = allowed {
            tracing::warn!(
                object = %format_args!("{kind:?} {key}"),
                corrections = self.drift.count(kind, &key),
                again_in_s = due.duration_since(Instant::now()).as_secs_f64(),
                "somebody else keeps changing fields of this object that are ours; see its managedFields"
            );
        }
        allowed
    }

    fn finish(&mut self, written: Written) {
        let Written { key, done: Done { outcomes, refused, error }, span } = written;
        let _span = span.entered();
        let is_news = self.world.note_refusals(&key, refused);
        let (ended, requeued) = (error.is_none(), self.requeues.contains_key(&key));
        let outcome = match (ended, requeued) {
            (false, _) => metrics::Outcome::Error,
            (true, true) => metrics::Outcome::RequeueAfter,
            (true, false) => metrics::Outcome::Success,
        };
        self.dirty.done(&key, outcome, true);
        for Outcome { object, applied, created } in outcomes {
            if let Some(created) = created.map(Object::trimmed) {
                // What is decided next must know of it, also when the watch is late: who cleans up would leave it behind.
                let affected = affected::by(&self.world, &created);
                self.note_table(created.kind());
                if self.world.note_created(created) {
                    self.dirty.extend(affected);
                }
            }
            let Some(object) = object.map(Object::trimmed) else { continue };
            if let Some(applied) = applied
                && !self.world.note_applied(&applied, &object)
            {
                // It went while the answer was on its way.
                self.dirty.insert(key.clone());
            }
            let affected = affected::by(&self.world, &object);
            self.note_table(object.kind());
            self.readiness.note(&object, &self.metrics);
            if self.world.refresh(object) {
                self.dirty.extend(affected);
            }
        }
        if let Some(error) = error {
            self.waiting.remove(&key);
            if let Key::Scale(of) = &key {
                self.loops.write_failed(of);
            }
            if let Key::ScaledObject(of) = &key {
                self.scaled.write_failed(of, self.clock.now_ns());
            }
            self.fail(&key, &error);
            if is_news {
                // The status says it at once; the next try of the child comes with it.
                self.dirty.insert(key);
            }
            return;
        }
        self.retries.remove(&key);
        if is_news {
            self.dirty.insert(key.clone());
        }
        if let Some(effects) = self.waiting.remove(&key) {
            self.write(key, effects);
        }
    }

    /// Has a key looked at again after a failure, later each time; a lasting one is told to the object's user.
    fn fail(&mut self, key: &Key, error: &str) {
        self.dirty.done(key, metrics::Outcome::Error, true);
        self.metrics.retried(key);
        let retry = self.retries.entry(key.clone()).or_insert(Retry { attempts: 0, due: None });
        let wait = RETRY_FIRST.saturating_mul(1 << retry.attempts.min(16)).min(RETRY_LONGEST);
        retry.attempts += 1;
        retry.due = Some(Instant::now() + wait);
        let attempts = retry.attempts;
        tracing::warn!(error, attempts, again_in_ms = wait.as_millis(), "failed and is tried again");
        if attempts == TOLD_AFTER
            && let Some(event) = kserve::failure_event(&self.world, key, error)
        {
            let client = self.client.clone();
            self.metrics.wrote(event.kind(), event.operation(), event.reason());
            self.events.spawn(async move {
                if let Err(failure) = carry_out::carry_out(&client, event).await {
                    tracing::debug!(error = failure.message, "an event was not recorded");
                }
            });
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Synced => {
                self.unsynced = self.unsynced.saturating_sub(1);
                if self.unsynced == 0 {
                    self.health.set_synced();
                    tracing::info!("all watches have told what there is");
                }
            }
            Change::Served(kind) => {
                self.world.served.insert(kind);
                // What could not be made without the kind can be made now.
                self.dirty.extend(self.world.inference_services.keys().cloned().map(Key::InferenceService));
                self.dirty.extend(kserve::local_model_keys(&self.world));
            }
            Change::Applied(object) => self.applied(*object),
            Change::Deleted(kind, key) => self.deleted(kind, &key),
            Change::Listed { kind, part, keys } => {
                let known = self.world.keys(kind).into_iter();
                let gone: Vec<ObjectKey> = known.filter(|key| part.has(key) && !keys.contains(key)).collect();
                for key in gone {
                    self.deleted(kind, &key);
                }
                self.world.forget_applied_except(kind, |key| !part.has(key) || keys.contains(key));
            }
        }
    }

    fn applied(&mut self, object: Object) {
        let object = object.trimmed();
        let (kind, key) = (object.kind(), object.key());
        let affected = affected::by(&self.world, &object);
        if kserve::is_cache_looked_after(&object) {
            self.local_models.send_replace(true);
        }
        self.readiness.note(&object, &self.metrics);
        let is_news = self.world.apply(object);
        live::applied(&self.live_config, &self.world, kind, &key);
        if !is_news {
            return;
        }
        self.note_table(kind);
        self.dirty.extend(affected);
        if kind == Kind::ConfigMap {
            self.configured(&key);
        }
    }

    fn deleted(&mut self, kind: Kind, key: &ObjectKey) {
        let affected = affected::by_key(&self.world, kind, key);
        live::deleted(&self.live_config, kind, key);
        if kind == Kind::InferenceService {
            self.readiness.forget(key);
        }
        if self.world.remove(kind, key) {
            self.note_table(kind);
            self.dirty.extend(affected);
        }
    }

    fn configured(&self, key: &ObjectKey) {
        use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
        if key.namespace == CONFIG_NAMESPACE && key.name == CONFIG_MAP {
            if let Ok(config) = self.world.kserve_config() {
                if config.local_model.enabled {
                    self.local_models.send_replace(true);
                }
                if !config.storage_initializer.ca_bundle_config_map_name.is_empty() {
                    self.ca_bundles.send_replace(true);
                }
            }
            for fault in self.live_config.configure(&self.world.config_data(CONFIG_NAMESPACE, CONFIG_MAP)) {
                tracing::warn!(%fault, "a setting keeps its last good value");
            }
        }
        if let Some(fault) = self.world.gc_policy().err().filter(|_| key.name == install::CONFIG_GC) {
            tracing::warn!(%fault, "no revision is deleted");
        }
        let network = default_rollout_duration_s(&self.world.network_config());
        if let Some(fault) = network.err().filter(|_| key.name == install::CONFIG_NETWORK) {
            tracing::warn!(%fault, "new revisions get their traffic at once");
        }
    }

    fn note_table(&mut self, kind: Kind) {
        self.table_is_stale |= matches!(
            kind,
            Kind::Route
                | Kind::Revision
                | Kind::Endpoints
                | Kind::Deployment
                | Kind::InferenceService
                | Kind::CoreService
                | Kind::HttpRoute
                | Kind::Gateway
                | Kind::GatewayClass
                | Kind::Ingress
                | Kind::IngressClass
        );
    }

    fn report(&mut self, report: &RevisionStat) {
        let now_ns = self.clock.now_ns();
        for (target, step) in self.loops.record(&self.world, &report.revision, &report.stat, now_ns) {
            self.follow(&target, step);
        }
    }

    fn tick(&mut self) {
        let now_ns = self.clock.now_ns();
        for target in self.loops.due(now_ns) {
            let step = self.loops.run_due(&self.world, &target, now_ns);
            self.follow(&target, step);
        }
        for question in self.scaled.due(now_ns) {
            self.poll(question, None);
        }
        let now = Instant::now();
        let due = |at: &mut Instant| *at <= now;
        self.dirty.extend(self.requeues.extract_if(.., |_, at| due(at)).map(|(key, _)| key));
        for (key, retry) in &mut self.retries {
            if retry.due.is_some_and(|due| due <= now) {
                retry.due = None;
                self.dirty.insert(key.clone());
            }
        }
    }

    /// Asks what a question asks, beside everything else.
    fn poll(&mut self, question: Question, ask: Option<Ask>) {
        let (client, sources) = (self.client.clone(), self.sources.clone());
        self.polls.spawn(async move {
            let polled = sources.ask(&client, &question).await;
            Poll { question, polled, ask }
        });
    }

    fn polled(&mut self, Poll { question, polled, ask }: Poll) {
        let now_ns = self.clock.now_ns();
        let key = question.key;
        if let Some(Ask { metric, reply, .. }) = ask {
            // Who asked may have gone.
            let _ = reply.send(self.scaled.answer(&key, &metric, &polled, now_ns));
            return;
        }
        let effects = self.scaled.polled(&self.world, &key, &polled, now_ns);
        if effects.is_empty() {
            return;
        }
        let work = Key::ScaledObject(key);
        if self.dirty.is_in_flight(&work) {
            self.waiting.insert(work, effects);
        } else {
            self.write(work, effects);
        }
    }

    fn asked(&mut self, ask: Ask) {
        match self.scaled.question(&ask.key, &ask.metric) {
            Ok(question) => self.poll(question, Some(ask)),
            Err(why) => {
                let _ = ask.reply.send(Err(why));
            }
        }
    }

    /// Publishes and writes what a step of an autoscaler came to.
    fn follow(&mut self, target: &Target, step: Step) {
        if let Some(decision) = step.decision {
            tracing::info!(revision = %target, from = decision.from, to = decision.to, why = %decision.text, "scaled");
            // Nobody listening is fine.
            let _ = self.decisions.send(decision);
        }
        match self.loops.view(target) {
            Some(view) if self.world.scales.get(target) != Some(&view) => {
                let before = self.world.scales.insert(target.clone(), view.clone());
                self.table_is_stale |= before.is_none_or(|before| before.is_direct != view.is_direct);
                if let Target::Revision(key) = target {
                    self.dirty.insert(Key::Revision(key.clone()));
                }
            }
            None => {
                self.world.scales.remove(target);
            }
            Some(_) => {}
        }
        if step.effects.is_empty() {
            return;
        }
        let work = Loops::work_key(target);
        if self.dirty.is_in_flight(&work) {
            self.waiting.insert(work, step.effects);
        } else {
            self.write(work, step.effects);
        }
    }

    /// When a tick, a requeue or a retry is due.
    fn next_due(&self) -> Option<Instant> {
        let now_ns = self.clock.now_ns();
        let scale = self
            .loops
            .next_due_ns()
            .map(|due| Instant::now() + Duration::from_nanos(due.saturating_sub(now_ns)));
        let poll = self
            .scaled
            .next_due_ns()
            .map(|due| Instant::now() + Duration::from_nanos(due.saturating_sub(now_ns)));
        let retry = self.retries.values().filter_map(|retry| retry.due).min();
        let table = self.table_is_stale.then_some(self.table_not_before);
        let requeue = self.requeues.values().min().copied();
        [scale, poll, retry, requeue, table].into_iter().flatten().min()
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> String {
    let known = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    known.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
