//! Runs cases on a cluster: side by side, each in a namespace of its own that is always removed.
//!
//! Cases that need the same settings of the platform run together, between setting these and putting back what was
//! there. Nothing is tried again in silence: a wait has a deadline, a request counts its attempts.

mod capture;
mod echo;
mod execute;
mod features;
mod kubelet;
mod objects;
mod outcome;
mod settings;
mod traffic;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::execute::Flight;
use self::kubelet::Played;
use self::objects::{Kinds, ObjectError};
use self::traffic::Traffic;
use crate::case::{Case, Need, Profile, Settings, Tag};
use crate::selection::Selection;

pub use kubelet::SCHEDULER;
pub use outcome::{CaseResult, ConsistencyStatistics, Counts, Failure, StepResult, SuiteResult, Verdict};

/// How long a namespace may take to go.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);
/// How long a new namespace's service account may take to come.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(5);

/// What is tested.
#[derive(Clone)]
pub struct Target {
    /// A client of the cluster.
    pub client: Client,
    /// Host and port to which requests are sent.
    pub gateway: Option<String>,
    /// Whether the gateway reaches loopback addresses of this machine, so that the runner can answer for pods.
    pub local_pods: bool,
    /// The cluster in words, for reports.
    pub description: String,
}

/// How it is tested.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose rules are expected.
    pub profile: Profile,
    /// How many cases run at once.
    pub jobs: usize,
    /// Which cases run.
    pub selection: Selection,
    /// Ends the run early; what runs is cleaned up.
    pub stop: CancellationToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            jobs: 8,
            selection: Selection::default(),
            stop: CancellationToken::new(),
        }
    }
}

/// Why no case could be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server did not say what it serves.
    #[error("the cluster does not answer: {0}; check the context and that the API server runs")]
    Unreachable(Box<kube::Error>),
    /// It did not say what it has.
    #[error("the cluster did not say what it offers: {0}")]
    Features(String),
}

struct Context {
    kinds: Kinds,
    traffic: Option<Traffic>,
    local_pods: bool,
    domain: String,
    run: String,
    jobs: Semaphore,
    stop: CancellationToken,
}

/// Runs the cases; `progress` hears of each as it ends.
///
/// # Errors
/// The cluster cannot be reached at all. Whatever goes wrong later is the failure of a case.
pub async fn run(
    cases: &[Case],
    target: &Target,
    options: &Options,
    mut progress: impl FnMut(&CaseResult),
) -> Result<SuiteResult, RunError> {
    let began = Instant::now();
    let unreachable = |error: kube::Error| RunError::Unreachable(Box::new(error));
    let kubernetes = target.client.apiserver_version().await.map_err(unreachable)?.git_version;
    let kinds = Kinds::discover(target.client.clone()).await.map_err(unreachable)?;
    let offered = features::detect(&kinds, target.gateway.is_some(), target.local_pods)
        .await
        .map_err(|error| RunError::Features(format!("{error:?}")))?;
    let context = Arc::new(Context {
        domain: settings::domain(&target.client).await,
        kinds,
        traffic: target.gateway.as_deref().map(Traffic::new),
        local_pods: target.local_pods,
        run: run_name(),
        jobs: Semaphore::new(options.jobs.max(1)),
        stop: options.stop.clone(),
    });
    let mut results: BTreeMap<usize, CaseResult> = BTreeMap::new();
    let mut groups: Vec<(&Settings, Vec<usize>)> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some(result) = left_out(case, options, &offered) {
            progress(&result);
            results.insert(index, result);
            continue;
        }
        match groups.iter_mut().find(|(settings, _)| **settings == case.settings) {
            Some((_, members)) => members.push(index),
            None => groups.push((&case.settings, vec![index])),
        }
    }
    // Those that take the platform as it is come first: they are the most.
    groups.sort_by_key(|(settings, _)| !settings.is_empty());
    for (settings, members) in groups {
        let before = match settings::set(&target.client, settings).await {
            Ok(before) => before,
            Err(error) => {
                for index in members {
                    let result = not_set(&cases[index], &error);
                    progress(&result);
                    results.insert(index, result);
                }
                continue;
            }
        };
        let mut running = JoinSet::new();
        for index in members {
            let (context, case) = (Arc::clone(&context), cases[index].clone());
            running.spawn(async move { (index, Box::pin(run_case(&context, &case)).await) });
        }
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((index, result)) => {
                    progress(&result);
                    results.insert(index, result);
                }
                Err(error) => tracing::error!(%error, "a case's task failed"),
            }
        }
        if let Err(error) = settings::restore(before).await {
            tracing::error!(?error, "the settings of the platform were not put back");
        }
    }
    let cases =
        (0..cases.len()).map(|index| results.remove(&index).unwrap_or_else(|| lost(&cases[index]))).collect();
    Ok(SuiteResult {
        run: context.run.clone(),
        date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        profile: options.profile,
        cluster: target.description.clone(),
        kubernetes,
        features: offered.iter().map(ToString::to_string).collect(),
        cases,
        interrupted: options.stop.is_cancelled(),
        took_s: began.elapsed().as_secs_f64(),
    })
}

/// Why a case is not run: a choice, its profile, or the cluster.
fn left_out(case: &Case, options: &Options, offered: &BTreeSet<Need>) -> Option<CaseResult> {
    let skipped = |reason: String| Some(CaseResult::new(case, Verdict::Skipped, Some(reason)));
    if !options.selection.takes(case) {
        return skipped("not selected".to_owned());
    }
    if !case.profiles.contains(&options.profile) {
        let reason = format!("not part of the profile {}", options.profile);
        return Some(CaseResult::new(case, Verdict::Unsupported, Some(reason)));
    }
    let missing: Vec<String> = case.needs.difference(offered).map(features::remedy).collect();
    (!missing.is_empty()).then(|| CaseResult::new(case, Verdict::Unsupported, Some(missing.join("; "))))
}

fn not_set(case: &Case, error: &ObjectError) -> CaseResult {
    let mut result = CaseResult::new(case, Verdict::Failed, None);
    result.failure = Some(Failure {
        step: 0,
        position: case.position(),
        message: format!("the settings {} could not be made: {error:?}", json!(case.settings)),
        mismatches: Vec::new(),
        environment: true,
    });
    result
}

fn lost(case: &Case) -> CaseResult {
    let mut result = CaseResult::new(case, Verdict::Failed, None);
    result.failure = Some(Failure {
        step: 0,
        position: case.position(),
        message: "the case ended without a result, a defect of the runner".to_owned(),
        mismatches: Vec::new(),
        environment: true,
    });
    result
}

/// Four characters that differ from run to run.
fn run_name() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut number = Timestamp::now().as_nanosecond() as u64 ^ (u64::from(std::process::id()) << 40);
    number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..4).map(|place| char::from(LETTERS[(number >> (40 + 5 * place)) as usize % 32])).collect()
}

/// `wt-RUN-ID`, short enough for the host names that are made of it.
fn namespace_of(run: &str, id: &str) -> String {
    let id = id.to_lowercase().replace('/', "-");
    let name: String = format!("wt-{run}-{id}").chars().take(44).collect();
    name.trim_end_matches('-').to_owned()
}

async fn run_case(context: &Context, case: &Case) -> CaseResult {
    let stopped = || CaseResult::new(case, Verdict::Skipped, Some("the run was interrupted".to_owned()));
    let permit = tokio::select! {
        permit = context.jobs.acquire() => permit,
        () = context.stop.cancelled() => return stopped(),
    };
    let began = Instant::now();
    let namespace = namespace_of(&context.run, &case.id);
    let client = &context.kinds.client;
    let mut result = CaseResult::new(case, Verdict::Passed, None);
    if let Err(message) = make_namespace(client, &namespace, &context.run).await {
        result.failure = Some(before_the_first_step(case, message));
        result.verdict = Verdict::Failed;
        return result;
    }
    let kubelet =
        Played::new(client.clone(), &namespace, context.local_pods && case.needs.contains(&Need::LocalPods));
    let mut flight = Flight {
        kinds: &context.kinds,
        case,
        namespace: &namespace,
        variables: BTreeMap::from([
            ("namespace".to_owned(), Value::from(namespace.as_str())),
            ("run".to_owned(), Value::from(context.run.as_str())),
            ("domain".to_owned(), Value::from(context.domain.as_str())),
        ]),
        kubelet: &kubelet,
        traffic: context.traffic.as_ref(),
        written: Instant::now(),
        made: Vec::new(),
    };
    let flown = {
        let flying = flight.fly();
        let ready = async {
            if case.pods_ready {
                kubelet.keep_ready().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            flown = flying => Some(flown),
            () = ready => None,
            () = context.stop.cancelled() => None,
        }
    };
    match flown {
        None => result = stopped(),
        Some((steps, failure)) => {
            result.steps = steps;
            if failure.is_some() {
                result.verdict = Verdict::Failed;
                result.captured = capture::capture(&context.kinds, case, &namespace).await;
            }
            result.failure = failure;
        }
    }
    result.took_ms = outcome::ms(began.elapsed());
    flight.remove_cluster_objects().await;
    let removed = remove_namespace(client, &namespace, permit).await;
    if let Err(message) = removed
        && result.verdict == Verdict::Passed
    {
        result.verdict = Verdict::Failed;
        result.failure = Some(before_the_first_step(case, message));
    }
    result
}

fn before_the_first_step(case: &Case, message: String) -> Failure {
    Failure { step: 0, position: case.position(), message, mismatches: Vec::new(), environment: false }
}

async fn make_namespace(client: &Client, name: &str, run: &str) -> Result<(), String> {
    let labels = BTreeMap::from([("windtunnel.dev/conformance-run".to_owned(), run.to_owned())]);
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let namespaces = Api::<Namespace>::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .map_err(|error| format!("namespace {name} could not be made: {error}"))?;
    // Pods are refused before it is there.
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), name);
    let there = await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some());
    match tokio::time::timeout(ACCOUNT_LIMIT, there).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(format!("namespace {name} has no service account `default` after {ACCOUNT_LIMIT:?}")),
    }
}

/// Removes it and waits until it is gone; the next case may begin meanwhile.
async fn remove_namespace<P>(client: &Client, name: &str, permit: P) -> Result<(), String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let deleted = namespaces.delete(name, &DeleteParams::background()).await;
    drop(permit);
    let uid = match deleted {
        Ok(deleted) => match deleted.left() {
            Some(namespace) => namespace.metadata.uid.unwrap_or_default(),
            None => return Ok(()),
        },
        Err(error) => return Err(format!("namespace {name} could not be removed: {error}")),
    };
    let gone = await_condition(namespaces.clone(), name, conditions::is_deleted(&uid));
    if tokio::time::timeout(CLEAN_UP_LIMIT, gone).await.is_ok_and(|gone| gone.is_ok()) {
        return Ok(());
    }
    let left = namespaces.get_opt(name).await.ok().flatten();
    let told = left.and_then(|namespace| namespace.status?.conditions).unwrap_or_default();
    let told: Vec<String> = told.into_iter().filter_map(|condition| condition.message).collect();
    Err(format!("namespace {name} is still there {CLEAN_UP_LIMIT:?} after its deletion: {}", told.join("; ")))
}

/// Whether a case is one that whoever calls itself KServe must pass.
pub(crate) fn is_core(result: &CaseResult) -> bool {
    result.tags.contains(&Tag::Must)
}
