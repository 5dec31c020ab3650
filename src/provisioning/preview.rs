//! Previews the requests that the SCIM connector would send to a target, without sending any.

use serde_json::{Value, json};

use crate::domain::{Attributes, Kind, Resource};

use super::plan::{TargetOperation, outgoing, patch_operations, plan};
use super::scim::{endpoint, patch_body};
use super::settings::{TargetSettings, Verb};

/// A request to a target.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRequest {
    /// The HTTP method.
    pub method: &'static str,
    /// The URL.
    pub url: String,
    /// The body.
    pub body: Option<Value>,
}

/// The state of a resource at a target.
#[derive(Clone, Debug, Default)]
pub struct RemoteState {
    /// Its id there.
    pub id: String,
    /// The attributes that were last sent.
    pub sent: Attributes,
}

/// A placeholder for an id that the target will assign.
pub const NEW_ID: &str = "{id that the target gives}";

/// Returns the requests that bring a target to the state of a resource. If the target decides between PATCH and PUT,
/// PATCH is assumed.
pub fn requests(target: &TargetSettings, known: Option<&RemoteState>, resource: &Resource) -> Vec<PlannedRequest> {
    let current = outgoing(resource, &target.profile);
    let planned = plan(
        known.map(|known| &known.sent),
        Some(&current),
        &resource.kind,
        &target.profile,
    );
    let verb = if resource.kind == Kind::GROUP {
        target.profile.group_verb
    } else {
        target.profile.user_verb
    };
    let id = known.map_or(NEW_ID, |known| &known.id);
    let made = planned.into_iter().filter_map(|operation| match operation {
        TargetOperation::Create(attributes) => Some(request(target, "POST", &resource.kind, None, attributes.into())),
        TargetOperation::Update(update) if verb == Some(Verb::Put) => {
            let mut body = update.full;
            body.insert("id".to_owned(), id.into());
            Some(request(target, "PUT", &resource.kind, Some(id), body.into()))
        }
        TargetOperation::Update(update) => {
            let body = patch_body(&patch_operations(&update.changes));
            Some(request(target, "PATCH", &resource.kind, Some(id), body))
        }
        TargetOperation::Deactivate | TargetOperation::Delete => None,
    });
    made.collect()
}

/// Returns the request that adds or removes a member of a group, by their ids at the target.
pub fn membership(target: &TargetSettings, group: &str, member: &str, joins: bool) -> PlannedRequest {
    let operation = if joins {
        json!({ "op": "add", "path": "members", "value": [{ "value": member }] })
    } else {
        json!({ "op": "remove", "path": format!("members[value eq {}]", Value::String(member.to_owned())) })
    };
    request(target, "PATCH", &Kind::GROUP, Some(group), patch_body(&[operation]))
}

fn request(
    target: &TargetSettings,
    method: &'static str,
    kind: &Kind,
    id: Option<&str>,
    body: Value,
) -> PlannedRequest {
    let base = target.base_url.as_str().trim_end_matches('/');
    let place = id.map_or_else(String::new, |id| format!("/{id}"));
    PlannedRequest {
        method,
        url: format!("{base}/{}{place}", endpoint(kind)),
        body: Some(body),
    }
}
