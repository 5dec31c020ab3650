//! The requests that the SCIM connector would send, without sending any.

use serde_json::{Value, json};

use super::settings::{ScimTargetSettings, Verb};
use super::{endpoint, patch_body};
use crate::domain::Kind;
use crate::provisioning::plan::{TargetOperation, patch_operations};
use crate::provisioning::preview::PlannedRequest;

/// The request of an operation. If the target decides between PATCH and PUT, PATCH is assumed.
pub(crate) fn request_of(
    settings: &ScimTargetSettings,
    kind: &Kind,
    id: &str,
    operation: TargetOperation,
) -> Option<PlannedRequest> {
    let verb = if *kind == Kind::GROUP {
        settings.group_verb
    } else {
        settings.user_verb
    };
    match operation {
        TargetOperation::Create(attributes) => Some(request(settings, "POST", kind, None, attributes.into())),
        TargetOperation::Update(update) if verb == Some(Verb::Put) => {
            let mut body = update.full;
            body.insert("id".to_owned(), id.into());
            Some(request(settings, "PUT", kind, Some(id), body.into()))
        }
        TargetOperation::Update(update) => {
            let body = patch_body(&patch_operations(&update.changes));
            Some(request(settings, "PATCH", kind, Some(id), body))
        }
        TargetOperation::Deactivate | TargetOperation::Delete => None,
    }
}

/// The request that adds or removes a member of a group.
pub(crate) fn membership(settings: &ScimTargetSettings, group: &str, member: &str, joins: bool) -> PlannedRequest {
    let operation = if joins {
        json!({ "op": "add", "path": "members", "value": [{ "value": member }] })
    } else {
        json!({ "op": "remove", "path": format!("members[value eq {}]", Value::String(member.to_owned())) })
    };
    request(settings, "PATCH", &Kind::GROUP, Some(group), patch_body(&[operation]))
}

fn request(
    settings: &ScimTargetSettings,
    method: &'static str,
    kind: &Kind,
    id: Option<&str>,
    body: Value,
) -> PlannedRequest {
    let base = settings.base_url.as_str().trim_end_matches('/');
    let place = id.map_or_else(String::new, |id| format!("/{id}"));
    PlannedRequest {
        method,
        url: format!("{base}/{}{place}", endpoint(kind)),
        body: Some(body),
    }
}
