//! Previews the requests that a connector would send to a target, without sending any.

use serde_json::Value;

use super::kinds;
use super::plan::{outgoing, plan};
use super::settings::TargetSettings;
use crate::domain::{Attributes, Resource};

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
pub(crate) const NEW_ID: &str = "{id that the target gives}";

/// Returns the requests that bring a target to the state of a resource.
pub fn requests(target: &TargetSettings, known: Option<&RemoteState>, resource: &Resource) -> Vec<PlannedRequest> {
    let current = outgoing(resource, &target.profile);
    let planned = plan(
        known.map(|known| &known.sent),
        Some(&current),
        &resource.kind,
        &target.profile,
    );
    let id = known.map_or(NEW_ID, |known| &known.id);
    let request = |operation| kinds::preview(&target.connector, &resource.kind, id, operation);
    planned.into_iter().filter_map(request).collect()
}

/// Returns the request that adds or removes a member of a group, by their ids at the target.
pub fn membership(target: &TargetSettings, group: &str, member: &str, joins: bool) -> PlannedRequest {
    kinds::preview_membership(&target.connector, group, member, joins)
}
