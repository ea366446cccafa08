//! One case from its namespace to its verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject};
use serde_json::{Value, json};

use super::kubelet::Played;
use super::objects::{Kinds, ObjectError, Reach, called};
use super::outcome::{Failure, StepResult, ms};
use super::traffic::Traffic;
use super::watching::{Seen, Waited, matching, nearest, watch};
use crate::assertion::{Mismatch, brief, mismatches};
use crate::case::substitute::{self, Variables};
use crate::case::{Action, Case, Refusal, Step, Verb, Words};
use crate::expression;

/// Time between two dry runs while a setting reaches the webhooks: it announces nothing.
const DRY_RUN_EVERY: Duration = Duration::from_millis(50);

/// A case under way.
pub(crate) struct Flight<'a> {
    pub(crate) kinds: &'a Kinds,
    pub(crate) case: &'a Case,
    pub(crate) namespace: &'a str,
    pub(crate) variables: Variables,
    pub(crate) kubelet: &'a Played,
    pub(crate) traffic: Option<&'a Traffic>,
    /// When the latest write was sent.
    pub(crate) written: Instant,
    /// Objects to remove that are not in the namespace.
    pub(crate) made: Vec<(Api<DynamicObject>, String)>,
}

/// What a step found.
#[derive(Default)]
struct Found {
    is_consistency: bool,
    attempts: Option<u32>,
}

/// Why a step failed.
struct Trouble {
    message: String,
    mismatches: Vec<Mismatch>,
    environment: bool,
}

impl Trouble {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), mismatches: Vec::new(), environment: false }
    }

    fn at(message: impl Into<String>, mismatches: Vec<Mismatch>) -> Self {
        Self { mismatches, ..Self::new(message) }
    }
}

impl From<ObjectError> for Trouble {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Refused { code, message } => {
                Self::new(format!("the API server refused ({code}): {message}"))
            }
            ObjectError::Impossible(message) => Self::new(message),
            ObjectError::Unreachable(message) => {
                Self { environment: true, ..Self::new(format!("the API server did not answer: {message}")) }
            }
        }
    }
}

impl Flight<'_> {
    /// Every step in turn, until one fails.
    pub(crate) async fn fly(&mut self) -> (Vec<StepResult>, Option<Failure>) {
        let mut results = Vec::new();
        for (index, step) in self.case.steps.iter().enumerate() {
            let mut action = step.action.clone();
            action.for_each_value(&mut |value, _| *value = substitute::substitute(value, &self.variables));
            action.for_each_text(&mut |text| *text = substitute::text(text, &self.variables));
            let what = describe(&action);
            let limit = step.within.unwrap_or(self.case.within);
            let began = Instant::now();
            let outcome = Box::pin(self.act(&action, limit, step.within.is_some())).await;
            let since_write = self.written.elapsed();
            let mut result = StepResult {
                line: step.line,
                what: what.clone(),
                took_ms: ms(began.elapsed()),
                consistency_ms: None,
                attempts: None,
            };
            match outcome {
                Ok(found) => {
                    result.consistency_ms = found.is_consistency.then(|| ms(since_write));
                    result.attempts = found.attempts.filter(|attempts| *attempts > 1);
                    results.push(result);
                }
                Err(trouble) => {
                    results.push(result);
                    let failure = Failure {
                        step: index + 1,
                        position: self.position(step),
                        message: format!("{what}: {}", trouble.message),
                        mismatches: trouble.mismatches,
                        environment: trouble.environment,
                    };
                    return (results, Some(failure));
                }
            }
        }
        (results, None)
    }

    fn position(&self, step: &Step) -> String {
        format!("{}:{}", self.case.file.display(), step.line)
    }

    async fn act(&mut self, action: &Action, limit: Duration, has_limit: bool) -> Result<Found, Trouble> {
        match action {
            Action::Write { verb, object, dry_run, refused, gives } => {
                // Settings and objects reach the webhooks some time after they were written; a dry run leaves no trace, so
                // it may be sent again where the case says so. Everything else is sent once.
                let repeats = *dry_run && (has_limit || !self.case.settings.is_empty());
                let limit = if repeats { limit } else { Duration::ZERO };
                self.write(*verb, object, *dry_run, refused.as_ref(), gives.as_ref(), limit).await
            }
            Action::Expect { tree, save } => self.expect(tree, save, limit).await,
            Action::Wait(condition) => self.expect(&condition.tree(), &BTreeMap::new(), limit).await,
            Action::Absent { tree } => self.absent(tree, limit).await,
            Action::Never { tree, lasting } => self.never(tree, *lasting).await,
            Action::Unchanged { trees, lasting } => self.unchanged(trees, *lasting).await,
            Action::Pods(kubelet) => {
                self.written = Instant::now();
                self.kubelet.play(kubelet, limit).await?;
                self.written = Instant::now();
                Ok(Found::default())
            }
            Action::Request(request) => match self.gateway()?.expect(request, limit).await {
                Ok(attempts) => Ok(Found { is_consistency: true, attempts: Some(attempts) }),
                Err((attempts, found)) => {
                    Err(Trouble::at(format!("not so within {limit:?} and {attempts} attempts"), found))
                }
            },
            Action::Split(split) => match self.gateway()?.split(split).await {
                Ok(()) => Ok(Found::default()),
                Err(unlike) => Err(Trouble::at(unlike.message, unlike.mismatches)),
            },
        }
    }

    fn gateway(&self) -> Result<&Traffic, Trouble> {
        self.traffic.ok_or_else(|| {
            Trouble::new("there is no gateway to send requests to; add gateway to the case's needs")
        })
    }

    async fn write(
        &mut self,
        verb: Verb,
        object: &Value,
        dry_run: bool,
        refused: Option<&Refusal>,
        gives: Option<&Value>,
        limit: Duration,
    ) -> Result<Found, Trouble> {
        let end = Instant::now() + limit;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let sent = Instant::now();
            let outcome = self.kinds.write(verb, object, self.namespace, dry_run).await;
            if !dry_run {
                self.written = sent;
                if let Ok((_, reach)) = &outcome {
                    self.remember(verb, object, reach);
                }
            }
            let judged = judge_write(outcome, refused, gives);
            let may_repeat = Instant::now() + DRY_RUN_EVERY < end;
            match judged {
                Err(trouble) if may_repeat && !trouble.environment => tokio::time::sleep(DRY_RUN_EVERY).await,
                Err(trouble) => return Err(trouble),
                Ok(()) => return Ok(Found { is_consistency: false, attempts: Some(attempts) }),
            }
        }
    }

    fn remember(&mut self, verb: Verb, object: &Value, reach: &Reach) {
        let namespace = object["metadata"]["namespace"].as_str();
        let is_elsewhere = namespace.is_some_and(|namespace| namespace != self.namespace);
        if (reach.is_cluster_scoped || is_elsewhere)
            && matches!(verb, Verb::Create | Verb::Apply)
            && let Some(name) = object["metadata"]["name"].as_str()
        {
            self.made.push((reach.api.clone(), name.to_owned()));
        }
    }

    async fn expect(
        &mut self,
        tree: &Value,
        save: &BTreeMap<String, String>,
        limit: Duration,
    ) -> Result<Found, Trouble> {
        let waited =
            watch(self.kinds, self.namespace, tree, limit, |seen| matching(seen, tree).cloned()).await?;
        match waited {
            Waited::Held(object) => {
                for (name, source) in save {
                    let value = expression::of_self(source, &object)
                        .map_err(|error| Trouble::new(format!("`{source}` for {name}: {error}")))?;
                    self.variables.insert(name.clone(), value);
                }
                Ok(Found { is_consistency: true, attempts: None })
            }
            Waited::TimedOut(seen) => Err(not_so(&seen, tree, limit)),
        }
    }

    async fn absent(&mut self, tree: &Value, limit: Duration) -> Result<Found, Trouble> {
        let gone = |seen: &Seen| matching(seen, tree).is_none().then_some(());
        match watch(self.kinds, self.namespace, tree, limit, gone).await? {
            Waited::Held(()) => Ok(Found { is_consistency: true, attempts: None }),
            Waited::TimedOut(seen) => {
                let there = matching(&seen, tree).map(brief).unwrap_or_default();
                Err(Trouble::new(format!("still there after {limit:?}: {there}")))
            }
        }
    }

    async fn never(&mut self, tree: &Value, lasting: Duration) -> Result<Found, Trouble> {
        let came = |seen: &Seen| matching(seen, tree).cloned();
        match watch(self.kinds, self.namespace, tree, lasting, came).await? {
            Waited::Held(object) => Err(Trouble::new(format!("it came: {}", brief(&object)))),
            Waited::TimedOut(_) => Ok(Found::default()),
        }
    }

    async fn unchanged(&mut self, trees: &[Value], lasting: Duration) -> Result<Found, Trouble> {
        let checks = trees.iter().map(|tree| self.unchanged_one(tree, lasting));
        futures::future::try_join_all(checks).await?;
        Ok(Found::default())
    }

    async fn unchanged_one(&self, tree: &Value, lasting: Duration) -> Result<(), Trouble> {
        let versions = |seen: &Seen| -> BTreeMap<String, Value> {
            let of = |object: &Value| object["metadata"]["resourceVersion"].clone();
            let matching = seen.iter().filter(|(_, object)| mismatches(tree, object).is_empty());
            matching.map(|(key, object)| (key.clone(), of(object))).collect()
        };
        let mut first: Option<(BTreeMap<String, Value>, Seen)> = None;
        let changed = |seen: &Seen| {
            let now = versions(seen);
            let Some((before, then)) = &first else {
                first = Some((now, seen.clone()));
                return None;
            };
            (*before != now).then(|| (then.clone(), seen.clone()))
        };
        let waited = watch(self.kinds, self.namespace, tree, lasting, changed).await?;
        if let Waited::Held((before, after)) = waited {
            return Err(Trouble::at(format!("{} was written", called(tree)), difference(&before, &after)));
        }
        match first {
            Some((versions, _)) if !versions.is_empty() => Ok(()),
            _ => Err(Trouble::new(format!("there is no {} to watch", called(tree)))),
        }
    }

    /// Removes what is not in the namespace.
    pub(crate) async fn remove_cluster_objects(&mut self) {
        for (api, name) in std::mem::take(&mut self.made) {
            if let Err(error) = api.delete(&name, &DeleteParams::background()).await {
                tracing::debug!(%name, %error, "an object outside of the namespace was not removed");
            }
        }
    }
}

fn judge_write(
    outcome: Result<(Value, Reach), ObjectError>,
    refused: Option<&Refusal>,
    gives: Option<&Value>,
) -> Result<(), Trouble> {
    match (outcome, refused) {
        (Err(ObjectError::Refused { message, .. }), Some(refusal)) => {
            if says(&message, &refusal.words) {
                return Ok(());
            }
            let expected = match &refusal.words {
                Words::Contain(text) => format!("a refusal that says \"{text}\""),
                Words::Match(pattern) => format!("a refusal that matches \"{pattern}\""),
                Words::Any => "a refusal".to_owned(),
            };
            Err(Trouble::at(
                "refused in other words",
                vec![Mismatch { path: "message".to_owned(), expected, seen: message }],
            ))
        }
        (Err(error), _) => Err(error.into()),
        (Ok((object, _)), Some(_)) => {
            Err(Trouble::new(format!("it was taken, but must be refused; it became {}", brief(&object))))
        }
        (Ok((object, _)), None) => match gives.map(|tree| mismatches(tree, &object)) {
            Some(found) if !found.is_empty() => Err(Trouble::at("what came back is not as expected", found)),
            _ => Ok(()),
        },
    }
}

fn says(message: &str, words: &Words) -> bool {
    match words {
        Words::Contain(text) => message.contains(text),
        Words::Match(pattern) => regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(message)),
        Words::Any => true,
    }
}

fn not_so(seen: &Seen, tree: &Value, limit: Duration) -> Trouble {
    match nearest(seen, tree) {
        (None, _) => Trouble::new(format!("there is none after {limit:?}")),
        (Some(name), found) => {
            let which = if tree["metadata"]["name"].is_string() {
                String::new()
            } else {
                format!("; the nearest is {name}")
            };
            Trouble::at(format!("not so within {limit:?}{which}"), found)
        }
    }
}

/// What was written between two looks, leaving out what every write changes.
fn difference(before: &Seen, after: &Seen) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for (key, then) in before {
        match after.get(key) {
            None => found.push(Mismatch {
                path: key.clone(),
                expected: "unchanged".to_owned(),
                seen: "gone".to_owned(),
            }),
            Some(now) => differing(then, now, "", &mut found),
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        found.push(Mismatch {
            path: key.clone(),
            expected: "nothing".to_owned(),
            seen: "a new object".to_owned(),
        });
    }
    found
}

fn differing(then: &Value, now: &Value, path: &str, found: &mut Vec<Mismatch>) {
    const ALWAYS: [&str; 2] = ["metadata.resourceVersion", "metadata.managedFields"];
    if then == now || ALWAYS.contains(&path) {
        return;
    }
    if let (Value::Object(one), Value::Object(other)) = (then, now) {
        let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differing(
                &one.get(key).cloned().unwrap_or(Value::Null),
                &other.get(key).cloned().unwrap_or(Value::Null),
                &path,
                found,
            );
        }
        return;
    }
    found.push(Mismatch { path: path.to_owned(), expected: brief(then), seen: brief(now) });
}

/// A step in a few words.
fn describe(action: &Action) -> String {
    match action {
        Action::Write { verb, object, dry_run, .. } => {
            format!("{}{} {}", verb.name(), if *dry_run { " (dry run)" } else { "" }, called(object))
        }
        Action::Expect { tree, .. } => format!("expect {}", called(tree)),
        Action::Absent { tree } => format!("absent {}", called(tree)),
        Action::Never { tree, lasting } => format!("never {} for {lasting:?}", called(tree)),
        Action::Unchanged { trees, lasting } => {
            let all: Vec<String> = trees.iter().map(called).collect();
            format!("unchanged {} for {lasting:?}", all.join(", "))
        }
        Action::Wait(condition) => {
            format!("wait {} {}={}", called(&condition.object), condition.condition, condition.status)
        }
        Action::Pods(kubelet) => format!("pods {} {:?}", json!(kubelet.labels), kubelet.state),
        Action::Request(request) => format!("request {} {}{}", request.method, request.host, request.path),
        Action::Split(split) => format!("split {} requests to {}", split.requests, split.request.host),
    }
}
