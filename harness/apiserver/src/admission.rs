//! Admission: synchronous, pure reviewers that may change or refuse a write before it is committed.
//!
//! They stand where a real cluster has admission webhooks: a reviewer sees the decoded and defaulted object,
//! may mutate it in place (mutating webhook) and may deny the request (validating webhook).

use serde_json::Value;

/// A reviewer of writes. Reviewers run in the order in which they were added, inside the write's transaction,
/// so they must be quick and must not block.
pub trait Admission: Send + Sync {
    /// The name in the denial: `admission webhook "NAME" denied the request: …`.
    fn name(&self) -> &str;

    /// Whether [`Admission::review`] wants to see this request.
    fn matches(&self, attributes: &Attributes) -> bool;

    /// Reviews one write. `object` is the new object (the stored one for a deletion) and may be changed for
    /// creations and updates; `old` is the stored object for updates and deletions.
    ///
    /// # Errors
    /// A [`Denial`] refuses the request; nothing is stored.
    fn review(&self, attributes: &Attributes, object: &mut Value, old: Option<&Value>) -> Result<(), Denial>;

    /// The same, for reviewers that have something to tell the client: the server sends the texts as `Warning`
    /// headers, whatever the verdict.
    ///
    /// # Errors
    /// A [`Denial`] refuses the request; nothing is stored.
    fn review_with_warnings(
        &self,
        attributes: &Attributes,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denial> {
        let _ = warnings;
        self.review(attributes, object, old)
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// API group, empty for the core group.
    pub group: String,
    /// Version of the request, e.g. `v1beta1`.
    pub version: String,
    /// Plural resource name, e.g. `inferenceservices`.
    pub resource: String,
    /// Subresource such as `status`, empty for the object itself.
    pub subresource: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name, empty while `generateName` has not been expanded.
    pub name: String,
    /// What is being done.
    pub operation: Operation,
    /// Nothing will be stored.
    pub dry_run: bool,
}

/// The kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change of an existing object, by replacement or patch.
    Update,
    /// A deletion.
    Delete,
}

/// Why a reviewer refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reviewer's words, appended to `admission webhook "NAME" denied the request: `.
    pub message: String,
    /// HTTP status; values below 400 mean 400, as for a webhook that gives no code.
    pub code: u16,
}

impl Denial {
    /// A denial without a code of its own: HTTP 400, as the real server answers.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 400 }
    }
}
