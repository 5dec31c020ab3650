//! The connectors by kind: the only place that knows them all.

use std::sync::Arc;

use super::connector::Connector;
use super::plan::TargetOperation;
use super::preview::PlannedRequest;
use super::scim::{self, ScimConnector};
use super::settings::{ConnectorSettings, TargetSettings};
use crate::domain::{Clock, Kind};

/// Creates the connector of a target without making a request, or returns what is wrong with its settings.
pub fn connect(target: &TargetSettings, clock: &Clock) -> Result<Arc<dyn Connector>, String> {
    match &target.connector {
        ConnectorSettings::Scim(settings) => {
            let connector = ScimConnector::new(settings, usize::from(target.concurrency), clock.clone())?;
            Ok(Arc::new(connector))
        }
    }
}

/// The request of an operation on a resource, by its id at the target; none if the operation is not previewed.
pub(super) fn preview(
    settings: &ConnectorSettings,
    kind: &Kind,
    id: &str,
    operation: TargetOperation,
) -> Option<PlannedRequest> {
    match settings {
        ConnectorSettings::Scim(settings) => scim::preview::request_of(settings, kind, id, operation),
    }
}

/// The request that adds or removes a member of a group, by their ids at the target.
pub(super) fn preview_membership(
    settings: &ConnectorSettings,
    group: &str,
    member: &str,
    joins: bool,
) -> PlannedRequest {
    match settings {
        ConnectorSettings::Scim(settings) => scim::preview::membership(settings, group, member, joins),
    }
}
