//! Where a write meets the webhooks: changed by some, refused by others.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Request, body, state::NAMESPACES, write::Write};
use crate::{
    admission::Operation,
    cel::{self, CelValue},
    kinds::Kind,
    object::{as_map, list, text},
    patch,
    schema::decode::Findings,
    status::ApiError,
    store::{Key, Object},
    webhook::{
        Call, Destination, Hook, Outcome,
        config::{Place, Subject},
        response::Response,
    },
};

/// What a review is about, beside the objects.
pub(crate) struct About<'a> {
    pub(crate) request: &'a Request,
    pub(crate) operation: Operation,
    pub(crate) name: &'a str,
    /// Kind of the objects in the review where it is not the resource's own: group, version, kind.
    pub(crate) kind: Option<(&'a str, &'a str, &'a str)>,
}

/// A group, version and kind or resource.
struct Names {
    group: String,
    version: String,
    kind: String,
}

/// The error that ends an attempt; the caller sees that calls are pending and drops it.
fn suspended() -> ApiError {
    ApiError::internal("waiting for admission webhooks")
}

impl Write<'_, '_> {
    /// Calls the webhooks that may change the object; tells whether one of them did.
    pub(crate) fn mutate(
        &mut self,
        about: &About<'_>,
        object: &mut Value,
        old: Option<&Value>,
        complete: &dyn Fn(&Self, &mut Value) -> Result<(), ApiError>,
    ) -> Result<bool, ApiError> {
        let hooks = self.state.hooks.mutating();
        if hooks.is_empty() || self.is_exempt() {
            return Ok(false);
        }
        let before = object.clone();
        // What each called webhook left behind: another change after that calls it again, once, if it wants to be.
        let mut called: Vec<(Arc<Hook>, Value)> = Vec::new();
        for hook in &hooks {
            if self.mutate_by(hook, about, object, old, complete)? {
                called.push((Arc::clone(hook), object.clone()));
            }
        }
        for (hook, left) in called {
            if hook.reinvoked && left != *object {
                self.mutate_by(&hook, about, object, old, complete)?;
            }
        }
        Ok(before != *object)
    }

    /// Tells whether the webhook was asked.
    fn mutate_by(
        &mut self,
        hook: &Arc<Hook>,
        about: &About<'_>,
        object: &mut Value,
        old: Option<&Value>,
        complete: &dyn Fn(&Self, &mut Value) -> Result<(), ApiError>,
    ) -> Result<bool, ApiError> {
        let shown = (about.operation != Operation::Delete).then_some(&*object);
        let Some(call) = self.review(hook, about, shown, old)? else { return Ok(false) };
        let version = text(&call.request, &["kind", "version"]).to_owned();
        let outcome = self.context.transcript.ask(call).cloned().ok_or_else(suspended)?;
        let Some(response) = self.heed(hook, outcome)? else { return Ok(true) };
        let Some(patch) = response.patch else { return Ok(true) };
        let sent = self.at_version(object, &version);
        let failed = |why: String| {
            failure(&format!(
                "failed calling webhook \"{}\": cannot apply the response.patch: {why}",
                hook.name
            ))
        };
        let mut changed =
            patch::json::apply(&sent, &patch).map_err(|_| failed("it does not fit the object".into()))?;
        if let Some(given) = object.get("apiVersion") {
            as_map(&mut changed).insert("apiVersion".into(), given.clone());
        }
        complete(self, &mut changed)?;
        *object = changed;
        Ok(true)
    }

    /// Asks the webhooks that may refuse, all at once.
    pub(crate) fn validate_by_webhooks(
        &mut self,
        about: &About<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        if self.is_exempt() {
            return Ok(());
        }
        self.check_policies(about, object, old)?;
        let hooks = self.state.hooks.validating();
        let (mut waiting, mut refusal) = (false, None);
        for hook in &hooks {
            let call = match self.review(hook, about, object, old) {
                Ok(Some(call)) => call,
                Ok(None) => continue,
                Err(error) => {
                    refusal.get_or_insert(error);
                    continue;
                }
            };
            match self.context.transcript.ask(call).cloned() {
                None => waiting = true,
                Some(outcome) => {
                    if let Err(error) = self.heed(hook, outcome) {
                        refusal.get_or_insert(error);
                    }
                }
            }
        }
        match refusal {
            _ if waiting => Err(suspended()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What an outcome means: a response that lets the request pass, nothing (a failure that counts for nothing), or
    /// a refusal.
    fn heed(&mut self, hook: &Hook, outcome: Outcome) -> Result<Option<Response>, ApiError> {
        match outcome {
            Outcome::Failed(why) if hook.ignores_failure => {
                tracing::warn!(webhook = %hook.name, %why, "a failing webhook is ignored");
                Ok(None)
            }
            Outcome::Failed(why) => Err(failure(&format!("failed calling webhook \"{}\": {why}", hook.name))),
            Outcome::Reviewed(response) => {
                self.context.transcript.warnings.extend(response.warnings.iter().cloned());
                if response.allowed { Ok(Some(response)) } else { Err(response.refusal(&hook.name)) }
            }
        }
    }

    /// Configurations of webhooks are never reviewed by webhooks: a wrong one could not be taken back.
    fn is_exempt(&self) -> bool {
        &*self.target.kind.group == "admissionregistration.k8s.io"
    }

    /// The call that a webhook is to get, if it wants this request.
    fn review(
        &self,
        hook: &Arc<Hook>,
        about: &About<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Option<Call>, ApiError> {
        let wants = |subject: &Subject<'_>| hook.wants(subject);
        let Some(version) = self.wanted_version(about.operation, hook.equivalent, &wants) else {
            return Ok(None);
        };
        if !hook.wants_namespace(self.namespace_labels(about, object).as_ref())
            || !hook.wants_object([object, old])
        {
            return Ok(None);
        }
        let request = self.described(about, version, object, old);
        if !hook.conditions.is_empty() {
            let variable = |value: Option<&Value>| value.map_or(CelValue::Null, cel::value);
            let fields = request.iter().filter(|(key, _)| !matches!(key.as_str(), "object" | "oldObject"));
            let variables = [
                ("object", variable(request.get("object"))),
                ("oldObject", variable(request.get("oldObject"))),
                ("request", cel::map(fields.map(|(key, value)| (key.clone(), cel::value(value))))),
            ];
            match hook.conditions_hold(&variables) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if hook.ignores_failure => return Ok(None),
                Err(why) => {
                    let (group, resource) = self.target.error_name();
                    return Err(ApiError::forbidden(group, resource, about.name, &why));
                }
            }
        }
        let destination = self.destination(hook);
        Ok(Some(Call { hook: Arc::clone(hook), destination, request: Value::Object(request) }))
    }

    /// The request as a review describes it: who asks for what, with the objects in a version.
    pub(super) fn described(
        &self,
        about: &About<'_>,
        version: usize,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Map<String, Value> {
        let kind = &self.target.kind;
        let own = |version: usize| match about.kind {
            Some((group, version, kind)) => {
                Names { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
            }
            None => Names {
                group: kind.group.to_string(),
                version: kind.versions[version].name.to_string(),
                kind: kind.name.to_string(),
            },
        };
        let version_name = own(version).version;
        let shown = |object: Option<&Value>| {
            object.map(|object| {
                if about.kind.is_some() { object.clone() } else { self.at_version(object, &version_name) }
            })
        };
        let mut request = Map::new();
        let names =
            |names: Names| json!({"group": names.group, "version": names.version, "kind": names.kind});
        let resource = |version: usize| json!({"group": &*kind.group, "version": &*kind.versions[version].name, "resource": &*kind.plural});
        request.insert("uid".into(), "".into());
        request.insert("kind".into(), names(own(version)));
        request.insert("resource".into(), resource(version));
        if !self.target.subresource.is_empty() {
            request.insert("subResource".into(), self.target.subresource.as_str().into());
        }
        request.insert("requestKind".into(), names(own(self.target.version)));
        request.insert("requestResource".into(), resource(self.target.version));
        if !self.target.subresource.is_empty() {
            request.insert("requestSubResource".into(), self.target.subresource.as_str().into());
        }
        if !about.name.is_empty() {
            request.insert("name".into(), about.name.into());
        }
        if let Some(namespace) = self.namespace_of(about) {
            request.insert("namespace".into(), namespace.into());
        }
        request.insert("operation".into(), operation(about.operation).into());
        request.insert("userInfo".into(), about.request.user.info());
        request.insert("object".into(), shown(object).unwrap_or_default());
        request.insert("oldObject".into(), shown(old).unwrap_or_default());
        request.insert("dryRun".into(), self.is_dry_run(about).into());
        request.insert("options".into(), self.options_of(about));
        request
    }

    /// The version in which the object is wanted: the request's, or where that will do an equivalent one.
    pub(super) fn wanted_version(
        &self,
        wanted: Operation,
        equivalent: bool,
        wants: &dyn Fn(&Subject<'_>) -> bool,
    ) -> Option<usize> {
        let kind: &Kind = &self.target.kind;
        let fits = |version: usize| {
            wants(&Subject {
                group: &kind.group,
                version: &kind.versions[version].name,
                resource: &kind.plural,
                subresource: &self.target.subresource,
                operation: operation(wanted),
                namespaced: kind.namespaced,
            })
        };
        if fits(self.target.version) {
            return Some(self.target.version);
        }
        if !equivalent || !kind.is_custom() {
            return None;
        }
        (0..kind.versions.len()).find(|version| kind.versions[*version].served && fits(*version))
    }

    /// Versions of a custom kind differ by their `apiVersion` only.
    fn at_version(&self, object: &Value, version: &str) -> Value {
        let kind = &self.target.kind;
        let mut object = object.clone();
        if kind.is_custom() && object.is_object() {
            let api_version =
                if kind.group.is_empty() { version.to_owned() } else { format!("{}/{version}", kind.group) };
            as_map(&mut object).insert("apiVersion".into(), api_version.into());
        }
        object
    }

    fn namespace_of(&self, about: &About<'_>) -> Option<String> {
        if &*self.target.kind.shelf == NAMESPACES {
            return (!about.name.is_empty()).then(|| about.name.to_owned());
        }
        self.target.namespace.clone()
    }

    /// Labels of the namespace that the object is in, or is.
    pub(super) fn namespace_labels(&self, about: &About<'_>, object: Option<&Value>) -> Option<Value> {
        let labels = |object: &Value| object["metadata"].get("labels").cloned().unwrap_or_default();
        if &*self.target.kind.shelf == NAMESPACES
            && let Some(object) = object
        {
            return Some(labels(object));
        }
        let namespace = self.namespace_of(about)?;
        let found = self.state.store.get(NAMESPACES, &Key::new("", &namespace));
        Some(found.map(|namespace| labels(&namespace.value)).unwrap_or_default())
    }

    fn is_dry_run(&self, about: &About<'_>) -> bool {
        self.options.dry_run
            || (about.operation == Operation::Delete
                && !list(&delete_options(about.request), &["dryRun"]).is_empty())
    }

    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` of the request.
    fn options_of(&self, about: &About<'_>) -> Value {
        let mut options = Map::new();
        let kind = match (about.operation, about.request.method.as_str()) {
            (Operation::Delete, _) => "DeleteOptions",
            (_, "PATCH") => "PatchOptions",
            (Operation::Create, _) => "CreateOptions",
            (Operation::Update, _) => "UpdateOptions",
        };
        options.insert("kind".into(), kind.into());
        options.insert("apiVersion".into(), "meta.k8s.io/v1".into());
        if about.operation == Operation::Delete {
            if let Value::Object(given) = delete_options(about.request) {
                options.extend(
                    given.into_iter().filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion")),
                );
            }
            return Value::Object(options);
        }
        for (key, value) in form_urlencoded::parse(about.request.query.as_bytes()) {
            match &*key {
                "dryRun" => options.insert("dryRun".into(), json!([value])),
                "force" if kind == "PatchOptions" => options.insert("force".into(), (value == "true").into()),
                "fieldManager" | "fieldValidation" => {
                    options.insert(key.into_owned(), value.into_owned().into())
                }
                _ => None,
            };
        }
        Value::Object(options)
    }

    /// Where a webhook is; that of a service is one of its ready pods.
    fn destination(&self, hook: &Hook) -> Destination {
        let (namespace, name, path, port) = match &hook.client.place {
            Place::Url(url) => return Destination { url: url.clone(), endpoint: Ok(None) },
            Place::Service { namespace, name, path, port } => (namespace, name, path, *port),
        };
        let path = path.trim_start_matches('/');
        let url = format!("https://{name}.{namespace}.svc:{port}/{path}");
        let key = Key::new(namespace, name);
        let endpoint = match self.state.store.get("/services", &key) {
            None => Err(format!("service \"{name}\" not found")),
            Some(service) => {
                let endpoints = self.state.store.get("/endpoints", &key);
                endpoint(service, endpoints.map(Arc::as_ref), port)
                    .map(Some)
                    .ok_or_else(|| format!("no endpoints available for service \"{name}\""))
            }
        };
        Destination { url, endpoint }
    }
}

/// A ready address behind a service's port.
fn endpoint(service: &Object, endpoints: Option<&Object>, port: u16) -> Option<std::net::SocketAddr> {
    let ports = list(&service.value, &["spec", "ports"]);
    let wanted = ports.iter().find(|entry| entry["port"] == port)?;
    let name = text(wanted, &["name"]);
    list(&endpoints?.value, &["subsets"]).iter().find_map(|subset| {
        let ports = list(subset, &["ports"]);
        let found = ports.iter().find(|entry| text(entry, &["name"]) == name)?;
        let number = found["port"].as_u64().and_then(|port| u16::try_from(port).ok())?;
        let address = list(subset, &["addresses"]).first()?;
        Some(std::net::SocketAddr::new(text(address, &["ip"]).parse().ok()?, number))
    })
}

/// The body of a deletion, or its query.
fn delete_options(request: &Request) -> Value {
    if !request.body.is_empty() {
        return body::object(request, "DeleteOptions", &mut Findings::default()).unwrap_or_default();
    }
    let mut options = Map::new();
    for (key, value) in form_urlencoded::parse(request.query.as_bytes()) {
        match &*key {
            "dryRun" => options.insert("dryRun".into(), json!([value])),
            "propagationPolicy" => options.insert("propagationPolicy".into(), value.into_owned().into()),
            "gracePeriodSeconds" => value
                .parse::<i64>()
                .ok()
                .and_then(|seconds| options.insert("gracePeriodSeconds".into(), seconds.into())),
            _ => None,
        };
    }
    Value::Object(options)
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    }
}

/// A failure that is the cluster's fault and not the client's.
fn failure(why: &str) -> ApiError {
    ApiError::new(500, "InternalError", format!("Internal error occurred: {why}"))
        .with_details(json!({"causes": [{"message": why}]}))
}
