//! Bulk requests (RFC 7644 §3.7): many changes in one request, each applied separately, in the client's order, with
//! references between them.
//!
//! An operation may refer to a resource that another one creates, as `bulkId:NAME` in its data or its path. A reference
//! to a resource that exists already is replaced by its id. A POST that refers to a later operation, to itself, or in a
//! circle, is carried out without those values, which are patched in as soon as possible. Any other operation waits.
//! One whose reference is never resolved fails with 409 and leaves nothing behind.

mod references;
mod request;

use std::collections::{HashMap, HashSet};

use scim_v2::schema_urns;
use serde_json::{Value, json};

use references::{REFERENCE, defer_references, resolve};
use request::{BulkOperation, BulkRequest, Method};

use super::{Caller, Prefer, Reply, RequestOptions, ResourceRef, Scim, ScimError, ScimErrorKind, parse};
use crate::domain::{Kind, ResourceId};

/// The maximum number of operations in one request.
pub(crate) const MOST_OPERATIONS: usize = 1000;
/// The maximum size of one request in bytes.
pub(crate) const LARGEST_PAYLOAD: usize = 1024 * 1024;

impl Scim {
    /// `POST /Bulk`. The request as a whole is refused only if it is malformed or too large.
    pub fn bulk(&self, caller: &Caller, body: &[u8]) -> Result<Reply, ScimError> {
        if body.len() > LARGEST_PAYLOAD {
            return Err(too_large());
        }
        let request = BulkRequest::read(parse(body)?)?;
        self.note(caller, request.deviations.iter().copied())?;
        let mut run = BulkRun {
            scim: self,
            caller,
            known: HashMap::new(),
            lost: HashSet::new(),
            coming: request.defined(),
            referred: request.operations.iter().flat_map(BulkOperation::references).collect(),
            results: request.operations.iter().map(|_| None).collect(),
            pending: Vec::new(),
            operations: request.operations,
            errors: 0,
            most_errors: request.fail_on_errors,
        };
        run.carry_out();
        let results: Vec<Value> = run.results.into_iter().flatten().collect();
        let body = json!({
            "schemas": [schema_urns::BULK_RESPONSE],
            "Operations": results,
        });
        Ok(Reply {
            body: Some(body.to_string()),
            ..Reply::of(200)
        })
    }
}

/// The error for a request that is too large; names both limits (RFC 7644 §3.7.4).
pub(crate) fn too_large() -> ScimError {
    ScimErrorKind::TooLarge.because(format!(
        "A bulk request may have at most {MOST_OPERATIONS} operations (maxOperations) and {LARGEST_PAYLOAD} bytes (maxPayloadSize)."
    ))
}

/// A bulk request in progress.
struct BulkRun<'a> {
    scim: &'a Scim,
    caller: &'a Caller,
    operations: Vec<BulkOperation>,
    /// The result of each finished operation.
    results: Vec<Option<Value>>,
    /// The created resources by bulkId.
    known: HashMap<String, ResourceId>,
    /// The bulkIds of resources that will not be created.
    lost: HashSet<String>,
    /// The bulkIds of the resources to create, with the indexes of their operations.
    coming: HashMap<String, Vec<usize>>,
    /// The bulkIds that any operation refers to.
    referred: HashSet<String>,
    /// The operations that wait for references, in the client's order.
    pending: Vec<PendingOperation>,
    errors: usize,
    most_errors: Option<usize>,
}

/// An operation that waits for the resources that it refers to.
struct PendingOperation {
    at: usize,
    waits_for: HashSet<String>,
    /// The resource that it created already, with the operations to patch in later; none if it has not begun.
    created: Option<(ResourceRef, Vec<Value>)>,
}

/// The result of one operation.
struct OperationResult {
    location: Option<String>,
    version: Option<String>,
}

impl BulkRun<'_> {
    fn carry_out(&mut self) {
        for at in 0..self.operations.len() {
            if self.is_over() {
                break;
            }
            self.begin(at);
            self.run_waiting();
        }
        // Operations that are still pending wait for one that was not reached, or that is pending itself.
        for pending in std::mem::take(&mut self.pending) {
            self.give_up(pending);
        }
    }

    fn is_over(&self) -> bool {
        self.most_errors.is_some_and(|most| self.errors >= most)
    }

    fn begin(&mut self, at: usize) {
        let operation = self.operations[at].clone();
        let references = operation.references();
        if let Some(twice) = self.is_ambiguous(at, &operation) {
            return self.failed(at, &twice);
        }
        let hopeless = |name: &&String| self.lost.contains(*name) || !self.coming.contains_key(*name);
        let missing = references
            .iter()
            .find(|name| !self.known.contains_key(*name) && hopeless(name));
        if let Some(name) = missing {
            let error = unresolved(name);
            return self.failed(at, &error);
        }
        let waits_for: HashSet<String> = references
            .into_iter()
            .filter(|name| !self.known.contains_key(name))
            .collect();
        if waits_for.is_empty() {
            return self.run(at, operation);
        }
        let created = self.begin_to_create(operation);
        if let (Some((target, _)), Some(bulk_id)) = (&created, &self.operations[at].bulk_id) {
            self.known.insert(bulk_id.clone(), target.id.clone());
        }
        self.pending.push(PendingOperation { at, waits_for, created });
    }

    /// Carries out a POST without its open references. If that fails, it waits as a whole.
    fn begin_to_create(&self, mut operation: BulkOperation) -> Option<(ResourceRef, Vec<Value>)> {
        if operation.method != Method::Post || operation.path.contains(REFERENCE) {
            return None;
        }
        resolve(&mut operation.data, &self.known);
        let later = defer_references("", operation.data.as_object_mut()?);
        let kind = self.collection(&operation.path).ok()?;
        let (_, id) = self.create(&kind, &operation.data).ok()?;
        Some((ResourceRef { kind, id }, later))
    }

    /// Finishes the waiting operations whose references are all resolved or lost.
    fn run_waiting(&mut self) {
        while let Some(place) = self.pending.iter().position(|pending| {
            let mut names = pending.waits_for.iter();
            pending.waits_for.iter().any(|name| self.lost.contains(name))
                || names.all(|name| self.known.contains_key(name))
        }) {
            let pending = self.pending.remove(place);
            if pending.waits_for.iter().any(|name| self.lost.contains(name)) {
                self.give_up(pending);
            } else {
                self.finish(pending);
            }
        }
    }

    fn finish(&mut self, pending: PendingOperation) {
        let at = pending.at;
        let Some((target, later)) = pending.created else {
            let operation = self.operations[at].clone();
            return self.run(at, operation);
        };
        let mut patch = json!({"schemas": [schema_urns::PATCH_OP], "Operations": later});
        resolve(&mut patch, &self.known);
        match self.scim.patch(
            self.caller,
            &target,
            patch.to_string().as_bytes(),
            &minimal_options(None),
        ) {
            Ok(reply) => self.succeeded(at, OperationResult::of(&reply)),
            Err(error) => {
                self.roll_back_create(at, &target);
                self.failed(at, &error);
            }
        }
    }

    fn give_up(&mut self, pending: PendingOperation) {
        let at = pending.at;
        if let Some((target, _)) = &pending.created {
            self.roll_back_create(at, target);
        }
        let mut names: Vec<&String> = pending
            .waits_for
            .iter()
            .filter(|name| !self.known.contains_key(*name))
            .collect();
        names.sort();
        let error = unresolved(names.first().map_or("", |name| name.as_str()));
        self.failed(at, &error);
    }

    /// Removes the resource that was created for an operation that failed.
    fn roll_back_create(&mut self, at: usize, target: &ResourceRef) {
        if let Some(bulk_id) = &self.operations[at].bulk_id {
            self.known.remove(bulk_id);
        }
        if let Err(error) = self.scim.delete(self.caller, target, &RequestOptions::default()) {
            log::warn!(
                "a {} that a failed bulk operation created could not be removed: {error}",
                target.kind
            );
        }
    }

    /// Carries out an operation whose references are all known.
    fn run(&mut self, at: usize, mut operation: BulkOperation) {
        resolve(&mut operation.data, &self.known);
        let done = match operation.method {
            Method::Post => self.collection(&operation.path).and_then(|kind| {
                let (reply, id) = self.create(&kind, &operation.data)?;
                if let Some(bulk_id) = operation.bulk_id {
                    self.known.insert(bulk_id, id);
                }
                Ok(reply)
            }),
            Method::Put | Method::Patch | Method::Delete => self.change(&operation),
        };
        match done {
            Ok(reply) => self.succeeded(at, OperationResult::of(&reply)),
            Err(error) => self.failed(at, &error),
        }
    }

    fn create(&self, kind: &Kind, data: &Value) -> Result<(Reply, ResourceId), ScimError> {
        let reply = self
            .scim
            .create(self.caller, kind, data.to_string().as_bytes(), &minimal_options(None))?;
        let location = reply.location.as_deref().unwrap_or_default();
        let id = ResourceId::new(location.rsplit('/').next().unwrap_or_default());
        Ok((reply, id))
    }

    fn change(&self, operation: &BulkOperation) -> Result<Reply, ScimError> {
        let target = self.target(&operation.path)?;
        let (data, terms) = (operation.data.to_string(), minimal_options(operation.version.clone()));
        match operation.method {
            Method::Put => self.scim.replace(self.caller, &target, data.as_bytes(), &terms),
            Method::Patch => self.scim.patch(self.caller, &target, data.as_bytes(), &terms),
            Method::Post | Method::Delete => {
                let reply = self.scim.delete(self.caller, &target, &terms)?;
                Ok(Reply {
                    location: Some(self.scim.location(&target)?),
                    ..reply
                })
            }
        }
    }

    /// A bulkId that is used twice is an error only if an operation refers to it.
    fn is_ambiguous(&self, at: usize, operation: &BulkOperation) -> Option<ScimError> {
        let bulk_id = operation.bulk_id.as_ref()?;
        let first = *self.coming.get(bulk_id)?.first()?;
        let is_referred = self.referred.contains(bulk_id);
        (operation.method == Method::Post && first != at && is_referred).then(|| {
            ScimErrorKind::InvalidValue.because(format!(
                "The bulkId {bulk_id} is used twice, so references to it are ambiguous."
            ))
        })
    }

    fn segments<'p>(&self, path: &'p str) -> Vec<&'p str> {
        let path = path.strip_prefix(&self.scim.base_url).unwrap_or(path);
        let path = path.split('?').next().unwrap_or_default().trim_matches('/');
        let path = path.strip_prefix("scim/").unwrap_or(path);
        path.strip_prefix("v2/").unwrap_or(path).split('/').collect()
    }

    fn collection(&self, path: &str) -> Result<Kind, ScimError> {
        match self.segments(path).as_slice() {
            [endpoint] => self.scim.kind_at(endpoint).ok_or_else(|| nothing_at(path)),
            _ => Err(ScimErrorKind::InvalidPath
                .because("The path of a POST must be that of a resource type, such as /Users.")),
        }
    }

    fn target(&self, path: &str) -> Result<ResourceRef, ScimError> {
        let segments = self.segments(path);
        let [endpoint, id] = segments.as_slice() else {
            return Err(ScimErrorKind::InvalidPath.because("The path must be that of a resource, such as /Users/ID."));
        };
        let kind = self.scim.kind_at(endpoint).ok_or_else(|| nothing_at(path))?;
        let id = match id.strip_prefix(REFERENCE) {
            Some(name) => self.known.get(name).cloned().ok_or_else(|| unresolved(name))?,
            None => ResourceId::new(*id),
        };
        if id.as_str().contains('\0') {
            return Err(nothing_at(path));
        }
        Ok(ResourceRef { kind, id })
    }

    fn succeeded(&mut self, at: usize, done: OperationResult) {
        let mut result = self.result(at);
        result["status"] = self.operations[at].method.status().into();
        for (name, value) in [("location", done.location), ("version", done.version)] {
            if let Some(value) = value {
                result[name] = value.into();
            }
        }
        self.results[at] = Some(result);
    }

    fn failed(&mut self, at: usize, error: &ScimError) {
        error.log();
        let operation = &self.operations[at];
        let mut result = self.result(at);
        result["status"] = error.fault.row().0.to_string().into();
        result["response"] = error.to_json();
        if operation.method == Method::Post {
            // The bulkId belongs to the first of two operations that use it.
            let first = operation
                .bulk_id
                .as_ref()
                .and_then(|name| self.coming.get(name)?.first().copied());
            if let (Some(name), true) = (&operation.bulk_id, first == Some(at)) {
                self.lost.insert(name.clone());
            }
        } else if let Ok(location) = self
            .target(&operation.path)
            .and_then(|target| self.scim.location(&target))
        {
            result["location"] = location.into();
        }
        self.results[at] = Some(result);
        self.errors += 1;
    }

    fn result(&self, at: usize) -> Value {
        let operation = &self.operations[at];
        let mut result = json!({"method": operation.method.name()});
        if let Some(bulk_id) = &operation.bulk_id {
            result["bulkId"] = bulk_id.as_str().into();
        }
        result
    }
}

impl OperationResult {
    fn of(reply: &Reply) -> Self {
        Self {
            location: reply.location.clone(),
            version: reply.etag.clone(),
        }
    }
}

/// Asks for minimal responses: the bodies of single operations are not returned.
fn minimal_options(version: Option<String>) -> RequestOptions {
    let mut terms = RequestOptions {
        prefer: Some(Prefer::Minimal),
        ..RequestOptions::default()
    };
    terms.conditions.if_match = version;
    terms
}

fn unresolved(name: &str) -> ScimError {
    ScimErrorKind::Conflict.because(format!(
        "{REFERENCE}{name} does not name a resource that this request creates."
    ))
}

fn nothing_at(path: &str) -> ScimError {
    ScimErrorKind::NotFound.because(format!("There is no resource or resource type at the path {path}."))
}
