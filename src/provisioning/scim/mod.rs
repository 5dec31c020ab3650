//! The connector for SCIM 2.0 targets (RFC 7644), tolerant of known deviations.

pub(super) mod preview;
mod requests;
mod response;
mod settings;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use scim_v2::schema_urns;
use serde_json::{Value, json};

use crate::domain::{Attributes, Clock, Kind, ResourceId, name};

use super::connector::{Connector, MemberChange, MemberUpdateMode, PushError, RemoteId, RemoteResource};
use super::plan::{Update, patch_operations};
use requests::{Http, PathAndQuery};
use response::TargetResponse;
pub use settings::{Auth, ScimTargetSettings, Verb};

/// The number of pages that are searched at a target that ignores filters.
const MOST_PAGES: usize = 1000;

/// A SCIM 2.0 target.
pub struct ScimConnector {
    http: Http,
    settings: ScimTargetSettings,
    /// Whether the target's `ServiceProviderConfig` announces PATCH; fetched once.
    patch: OnceLock<bool>,
    /// Whether the target announced PATCH but refused it.
    patch_refused: AtomicBool,
}

impl ScimConnector {
    /// Creates a connector without making a request. Not to be called from asynchronous code.
    pub fn new(settings: &ScimTargetSettings, idle_connections: usize, clock: Clock) -> Result<Self, String> {
        Ok(Self {
            http: Http::new(settings, idle_connections, clock)?,
            settings: settings.clone(),
            patch: OnceLock::new(),
            patch_refused: AtomicBool::new(false),
        })
    }

    fn send(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<TargetResponse, PushError> {
        self.call(method, &PathAndQuery { path, query: &[] }, body)
    }

    fn call(
        &self,
        method: Method,
        place: &PathAndQuery<'_>,
        body: Option<&Value>,
    ) -> Result<TargetResponse, PushError> {
        self.http
            .send(method, place, body)?
            .judge(|detail| self.http.redact(detail))
    }

    fn verb(&self, kind: &Kind) -> Result<Verb, PushError> {
        let told = if *kind == Kind::GROUP {
            self.settings.group_verb
        } else {
            self.settings.user_verb
        };
        if let Some(verb) = told {
            return Ok(verb);
        }
        if self.patch_refused.load(Ordering::Relaxed) {
            return Ok(Verb::Put);
        }
        let patch = match self.patch.get() {
            Some(known) => *known,
            None => *self.patch.get_or_init({
                let asked = self.ask_for_patch()?;
                move || asked
            }),
        };
        Ok(if patch { Verb::Patch } else { Verb::Put })
    }

    /// Targets without a `ServiceProviderConfig` are assumed to support PATCH.
    fn ask_for_patch(&self) -> Result<bool, PushError> {
        match self.send(Method::GET, &["ServiceProviderConfig"], None) {
            Ok(config) => Ok(config
                .get("patch")
                .and_then(|patch| patch.get("supported"))
                .and_then(truth)
                != Some(false)),
            Err(error @ PushError::Retry { .. }) => Err(error),
            Err(_) => Ok(true),
        }
    }

    /// Returns one page of a search, from the `start`-th result on; `None` if the target refuses this filter.
    fn page(&self, kind: &Kind, filter: &str, start: usize) -> Result<Option<Vec<Value>>, PushError> {
        let (start, count) = (start.to_string(), self.settings.page.to_string());
        let mut query = vec![("filter", filter), ("count", count.as_str())];
        if start != "1" {
            query.push(("startIndex", start.as_str()));
        }
        let answer = match self.call(
            Method::GET,
            &PathAndQuery {
                path: &[&endpoint(kind)],
                query: &query,
            },
            None,
        ) {
            Err(PushError::Refused { .. } | PushError::Gone) => return Ok(None),
            answer => answer?,
        };
        let list = answer
            .get("Resources")
            .or_else(|| answer.get("resources"))
            .and_then(Value::as_array);
        Ok(Some(list.cloned().unwrap_or_default()))
    }

    fn patch(&self, kind: &Kind, id: &RemoteId, operations: Vec<Value>) -> Result<(), PushError> {
        let body = patch_body(&operations);
        match self.send(Method::PATCH, &[&endpoint(kind), &id.0], Some(&body)) {
            Err(PushError::Refused { status: 405 | 501, .. }) => {
                self.patch_refused.store(true, Ordering::Relaxed);
                let cause = "the target does not support PATCH; PUT is used next".to_owned();
                Err(PushError::Retry {
                    after: None,
                    unreachable: false,
                    cause,
                })
            }
            answer => answer.map(|_| ()),
        }
    }

    fn put(&self, kind: &Kind, id: &RemoteId, attributes: &Attributes) -> Result<(), PushError> {
        let mut body = attributes.clone();
        body.insert("id".to_owned(), Value::String(id.0.clone()));
        self.send(Method::PUT, &[&endpoint(kind), &id.0], Some(&Value::Object(body)))
            .map(|_| ())
    }
}

impl Connector for ScimConnector {
    fn find(&self, kind: &Kind, attribute: &str, value: &str) -> Result<Option<RemoteResource>, PushError> {
        let filter = format!("{attribute} eq {}", Value::String(value.to_owned()));
        let mut seen = 0;
        let mut first_id = None;
        for _ in 0..MOST_PAGES {
            let Some(list) = self.page(kind, &filter, seen + 1)? else {
                return Ok(None);
            };
            if let Some(resource) = list.iter().find(|resource| has(resource, attribute, value)) {
                let external_id = resource.get("externalId").and_then(Value::as_str).map(ResourceId::from);
                return Ok(resource
                    .get("id")
                    .and_then(remote_id)
                    .map(|id| RemoteResource { id, external_id }));
            }
            // Other resources than requested mean that the target ignores filters, so all of its resources must be
            // searched.
            let id = list.first().and_then(|resource| resource.get("id")).cloned();
            if id.is_none() || id == first_id {
                return Ok(None);
            }
            seen += list.len();
            first_id = first_id.or(id);
        }
        Ok(None)
    }

    fn exists(&self, kind: &Kind, id: &RemoteId) -> Result<bool, PushError> {
        match self.send(Method::GET, &[&endpoint(kind), &id.0], None) {
            Ok(_) => Ok(true),
            Err(PushError::Gone) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create(&self, kind: &Kind, attributes: &Attributes) -> Result<RemoteId, PushError> {
        let body = Value::Object(attributes.clone());
        let answer = self
            .send(Method::POST, &[&endpoint(kind)], Some(&body))
            .map_err(|error| match error {
                PushError::Gone => PushError::unreachable("the target has no endpoint for this type: check base_url"),
                other => other,
            })?;
        let from_location = || {
            let last = answer.location.as_deref()?.trim_end_matches('/').rsplit('/').next()?;
            remote_id(&Value::String(last.to_owned()))
        };
        if let Some(id) = answer.get("id").and_then(remote_id).or_else(from_location) {
            return Ok(id);
        }
        if answer.get("id").is_some_and(|id| !id.is_null()) {
            // This resource alone needs a person; the target itself is well.
            return Err(PushError::Refused {
                status: 201,
                detail: format!(
                    "the target created it under an id that cannot be used: empty, longer than {} bytes, or with control characters",
                    RemoteId::LONGEST
                ),
            });
        }
        let external_id = attributes.get("externalId").and_then(Value::as_str).unwrap_or_default();
        let found = self.find(kind, "externalId", external_id)?;
        found
            .map(|found| found.id)
            .ok_or_else(|| PushError::unreachable("the target did not return the id of the created resource"))
    }

    fn update(&self, kind: &Kind, id: &RemoteId, update: &Update) -> Result<(), PushError> {
        match self.verb(kind)? {
            Verb::Patch => self.patch(kind, id, patch_operations(&update.changes)),
            Verb::Put => self.put(kind, id, &update.full),
        }
    }

    fn deactivate(&self, kind: &Kind, id: &RemoteId, sent: &Attributes) -> Result<(), PushError> {
        match self.verb(kind)? {
            Verb::Patch => self.patch(
                kind,
                id,
                vec![json!({ "op": "replace", "path": "active", "value": false })],
            ),
            Verb::Put => {
                let mut attributes = sent.clone();
                attributes.insert("active".to_owned(), Value::Bool(false));
                self.put(kind, id, &attributes)
            }
        }
    }

    fn delete(&self, kind: &Kind, id: &RemoteId) -> Result<(), PushError> {
        match self.send(Method::DELETE, &[&endpoint(kind), &id.0], None) {
            Ok(_) | Err(PushError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn membership(&self) -> Result<MemberUpdateMode, PushError> {
        Ok(match self.verb(&Kind::GROUP)? {
            Verb::Patch => MemberUpdateMode::Changes(self.settings.members_per_request.max(1)),
            Verb::Put => MemberUpdateMode::Whole,
        })
    }

    fn change_members(&self, group: &RemoteId, changes: &[MemberChange]) -> Result<(), PushError> {
        let leaving = changes.iter().filter(|change| !change.joins).map(|change| {
            let path = format!("members[value eq {}]", Value::String(change.member.0.clone()));
            json!({ "op": "remove", "path": path })
        });
        let mut operations: Vec<Value> = leaving.collect();
        let joining: Vec<Value> = changes
            .iter()
            .filter(|change| change.joins)
            .map(|change| json!({ "value": change.member.0 }))
            .collect();
        if !joining.is_empty() {
            operations.push(json!({ "op": "add", "path": "members", "value": joining }));
        }
        self.patch(&Kind::GROUP, group, operations)
    }

    fn replace_group(&self, group: &RemoteId, attributes: &Attributes, members: &[RemoteId]) -> Result<(), PushError> {
        let mut body = attributes.clone();
        body.insert(
            "members".to_owned(),
            members.iter().map(|member| json!({ "value": member.0 })).collect(),
        );
        self.put(&Kind::GROUP, group, &body)
    }

    fn probe(&self) -> Result<(), PushError> {
        match self.send(Method::GET, &["ServiceProviderConfig"], None) {
            Err(PushError::Gone | PushError::Refused { .. }) => {
                let place = PathAndQuery {
                    path: &["Users"],
                    query: &[("count", "1")],
                };
                self.call(Method::GET, &place, None).map(|_| ())
            }
            answer => answer.map(|_| ()),
        }
    }
}

/// Returns the endpoint of a resource type (RFC 7644 §3.2).
pub(super) fn endpoint(kind: &Kind) -> String {
    format!("{kind}s")
}

/// Returns the body of a PATCH request (RFC 7644 §3.5.2).
pub(super) fn patch_body(operations: &[Value]) -> Value {
    json!({ "schemas": [schema_urns::PATCH_OP], "Operations": operations })
}

/// Returns an id that is safe as a path segment; some targets use numbers.
fn remote_id(value: &Value) -> Option<RemoteId> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    // Such an id would turn a request for one resource into one for all.
    if matches!(text.as_str(), "." | "..") {
        return None;
    }
    RemoteId::new(text)
}

/// Reads a boolean, which may be written as a string.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// Returns whether a found resource has the value. Names are compared without case.
fn has(resource: &Value, attribute: &str, value: &str) -> bool {
    let Some(found) = resource.get(attribute).and_then(Value::as_str) else {
        return false;
    };
    if attribute == "externalId" {
        found == value
    } else {
        name::canonical(found) == name::canonical(value)
    }
}
