//! The steps of a case.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// One step and what it may take.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: u32,
    /// Deadline of its wait, where it differs from the case's.
    pub within: Option<Duration>,
    /// What it does.
    pub action: Action,
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A new object.
    Create,
    /// Server-side apply, taking over fields of others.
    Apply,
    /// A JSON merge patch: null removes.
    Patch,
    /// A JSON merge patch of the status subresource, as whoever owns it would write it.
    Status,
    /// Deletion, in the background.
    Delete,
}

impl Verb {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("create", Self::Create),
        ("apply", Self::Apply),
        ("patch", Self::Patch),
        ("status", Self::Status),
        ("delete", Self::Delete),
    ];

    /// The verb as a case writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, verb)| *verb == self).map_or("", |(name, _)| name)
    }
}

/// What a text must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// It holds this text.
    Contain(String),
    /// It matches this regular expression somewhere.
    Match(String),
    /// Anything will do.
    Any,
}

/// A write that must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the message must say.
    pub words: Words,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes an object.
    Write {
        /// How.
        verb: Verb,
        /// The object, or the patch with its kind and name.
        object: Value,
        /// Whether the server only says what would come of it.
        dry_run: bool,
        /// The refusal that must come.
        refused: Option<Refusal>,
        /// An assertion tree for the object that comes back.
        gives: Option<Value>,
    },
    /// Waits until an object matches the assertion tree.
    Expect {
        /// The tree, with kind and (for one certain object) name.
        tree: Value,
        /// Values to remember of the object that matched: name to expression.
        save: BTreeMap<String, String>,
    },
    /// Waits until no object matches.
    Absent {
        /// The tree.
        tree: Value,
    },
    /// No object may match for a time.
    Never {
        /// The tree.
        tree: Value,
        /// For how long.
        lasting: Duration,
    },
    /// The objects may not be written for a time.
    Unchanged {
        /// Trees that say which.
        trees: Vec<Value>,
        /// For how long.
        lasting: Duration,
    },
    /// Waits until an object's condition is as said.
    Wait(Condition),
    /// Plays the kubelet of pods that no node takes.
    Pods(Kubelet),
    /// Sends a request through the gateway until the answer is as expected.
    Request(Request),
    /// Sends many requests and judges how they are split.
    Split(Split),
}

/// A condition of an object's status.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Kind and name, as an assertion tree.
    pub object: Value,
    /// Type of the condition.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason, where it is certain.
    pub reason: Option<String>,
}

impl Condition {
    /// The same as an assertion tree.
    #[must_use]
    pub fn tree(&self) -> Value {
        let mut wanted = serde_json::json!({"status": self.status});
        if let Some(reason) = &self.reason {
            wanted["reason"] = Value::from(reason.as_str());
        }
        let mut tree = self.object.clone();
        tree["status"] = serde_json::json!({"conditions": {"$type": {&*self.condition: wanted}}});
        tree
    }
}

/// What becomes of the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// Every container runs and is ready.
    Ready,
    /// Every container runs, none is ready.
    Running,
    /// The first init container runs.
    Initializing,
    /// The first init container ended with an error.
    InitFailed,
    /// The first container ends again and again.
    CrashLoop,
}

impl PodState {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("ready", Self::Ready),
        ("running", Self::Running),
        ("initializing", Self::Initializing),
        ("init-failed", Self::InitFailed),
        ("crash-loop", Self::CrashLoop),
    ];
}

/// Plays the kubelet.
#[derive(Clone, Debug)]
pub struct Kubelet {
    /// Labels of the pods.
    pub labels: BTreeMap<String, String>,
    /// How many pods must be there first.
    pub count: usize,
    /// What becomes of them.
    pub state: PodState,
    /// What a failed container says at its end.
    pub message: Option<String>,
    /// The exit code of a failed container.
    pub exit_code: i32,
}

/// A request through the gateway.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name that the client asks for.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The method.
    pub method: String,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// What is sent; not a text: sent as JSON.
    pub body: Option<Value>,
    /// An assertion tree for `{status, headers, body}`.
    pub answer: Value,
}

/// A traffic split.
#[derive(Clone, Debug)]
pub struct Split {
    /// The request that is sent again and again.
    pub request: Request,
    /// How many times.
    pub requests: u32,
    /// An expression over the answer (`status`, `headers`, `body`) that names who answered.
    pub by: String,
    /// Who must answer how many percent; anybody else is a failure.
    pub shares: BTreeMap<String, f64>,
    /// Probability with which a correct split may be refused.
    pub alpha: f64,
}

impl Action {
    /// Every value in which names are filled in; `true` for those that are assertion trees.
    pub(crate) fn for_each_value(&mut self, visit: &mut impl FnMut(&mut Value, bool)) {
        match self {
            Self::Write { object, gives, .. } => {
                visit(object, false);
                if let Some(gives) = gives {
                    visit(gives, true);
                }
            }
            Self::Expect { tree, .. } | Self::Absent { tree } | Self::Never { tree, .. } => visit(tree, true),
            Self::Unchanged { trees, .. } => trees.iter_mut().for_each(|tree| visit(tree, true)),
            Self::Wait(condition) => visit(&mut condition.object, true),
            Self::Pods(_) => {}
            Self::Request(request) => request.for_each_value(visit),
            Self::Split(split) => split.request.for_each_value(visit),
        }
    }

    /// Every other text in which names are filled in.
    pub(crate) fn for_each_text(&mut self, visit: &mut impl FnMut(&mut String)) {
        match self {
            Self::Write { refused: Some(Refusal { words: Words::Contain(text) }), .. } => visit(text),
            Self::Wait(condition) => {
                visit(&mut condition.condition);
                visit(&mut condition.status);
                if let Some(reason) = &mut condition.reason {
                    visit(reason);
                }
            }
            Self::Pods(kubelet) => {
                kubelet.labels.values_mut().for_each(&mut *visit);
                if let Some(message) = &mut kubelet.message {
                    visit(message);
                }
            }
            Self::Request(request) => request.for_each_text(visit),
            Self::Split(split) => {
                split.request.for_each_text(visit);
            }
            _ => {}
        }
    }
}

impl Request {
    fn for_each_value(&mut self, visit: &mut impl FnMut(&mut Value, bool)) {
        if let Some(body) = &mut self.body {
            visit(body, false);
        }
        if !self.answer.is_null() {
            visit(&mut self.answer, true);
        }
    }

    fn for_each_text(&mut self, visit: &mut impl FnMut(&mut String)) {
        visit(&mut self.host);
        visit(&mut self.path);
        self.headers.values_mut().for_each(visit);
    }
}
