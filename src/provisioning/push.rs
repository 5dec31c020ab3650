//! Pushes one resource to one target, until it has the current state.

use serde_json::Value;

use crate::domain::{Attributes, Kind, Relations, Resource, ResourceId};
use crate::storage::outbound::{self, OutboundRow, OutboundState};
use crate::storage::{StorageError, journal};

use super::connector::{PushError, RemoteId, RemoteResource};
use super::lease::Lease;
use super::metrics::count;
use super::plan::{TargetOperation, Update, doubted, outgoing, plan};
use super::target_context::TargetContext;

/// The number of changes that are searched for lost values. More changes between two pushes are hardly made by people.
const MOST_DIFFS: i64 = 1000;

/// A running push and its results so far.
pub(super) struct Push<'a> {
    pub(super) context: &'a TargetContext,
    pub(super) lease: &'a Lease,
    pub(super) row: &'a OutboundRow,
    /// The id at the target, if it is known.
    pub(super) remote: Option<RemoteId>,
    /// The attributes that were last sent; `None` if they are unknown.
    pub(super) sent: Option<Attributes>,
    /// The paths that lost their value here since a push with an unknown result. If set, `sent` holds only what the
    /// target had for certain before that push, and everything is sent again.
    doubt: Option<Vec<String>>,
    pub(super) notes: PushNotes,
}

/// Additional results of a push.
#[derive(Debug, Default)]
pub(super) struct PushNotes {
    /// The members that were added (`true`) or removed at the target.
    pub(super) members: Vec<(ResourceId, bool)>,
    /// Whether the resource got a new id at the target.
    pub(super) new_remote: bool,
    /// The members that the target refused, each with its error.
    pub(super) refused: Vec<(ResourceId, String)>,
    /// The error of a member that it refused before.
    pub(super) refused_before: Option<String>,
}

/// The result of a successful push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushEnd {
    /// The target has the wanted state.
    Synced,
    /// The target does not have the resource any more.
    Removed,
    /// The target keeps the account, deactivated.
    Deactivated,
}

/// The reason why a push stopped.
#[derive(Debug)]
pub(super) enum PushStop {
    /// The target failed or refused.
    Target(PushError),
    /// A local failure.
    Here(String),
    /// The lease has expired: another worker may have the row.
    LeaseLost,
    /// The delete limit is reached.
    DeleteLimit,
}

impl From<PushError> for PushStop {
    fn from(error: PushError) -> Self {
        Self::Target(error)
    }
}

impl From<StorageError> for PushStop {
    fn from(error: StorageError) -> Self {
        Self::Here(error.to_string())
    }
}

impl<'a> Push<'a> {
    /// Prepares a push.
    pub(super) fn new(context: &'a TargetContext, lease: &'a Lease, row: &'a OutboundRow) -> Self {
        Self {
            context,
            lease,
            row,
            remote: row.remote_id.clone().map(RemoteId),
            sent: row.sent.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            doubt: None,
            notes: PushNotes::default(),
        }
    }

    /// Runs the push.
    pub(super) fn run(&mut self) -> Result<PushEnd, PushStop> {
        let resource = self.read()?;
        let current = resource.map(|resource| outgoing(&resource, &self.context.settings.profile));
        // An earlier try may have succeeded although its answer was lost.
        if self.row.attempts > 1 {
            self.doubt = Some(self.lost()?);
            if self.remote.is_none() {
                self.look_up(current.as_ref())?;
            }
        }
        match current {
            None => self.retire(),
            Some(current) => {
                self.sync(&current)?;
                Ok(PushEnd::Synced)
            }
        }
    }

    fn read(&self) -> Result<Option<Resource>, PushStop> {
        let row = self.row;
        let found = self.context.source.get(&row.kind, &row.resource_id, Relations::NONE);
        found.map_err(|error| PushStop::Here(error.to_string()))
    }

    /// Returns the paths that lost their value since the oldest change that the target may not have.
    fn lost(&self) -> Result<Vec<String>, PushStop> {
        let row = self.row;
        let diffs: Result<_, StorageError> = self
            .context
            .database
            .read(|connection| journal::diffs_since(connection, &row.resource_id, row.changed, MOST_DIFFS));
        let gone = diffs?.into_iter().flatten().filter(|(_, value)| value.is_null());
        Ok(gone.map(|(path, _)| path).collect())
    }

    /// Checks the lease; to be called before each request, because a worker with an expired lease must not send.
    pub(super) fn check_lease(&self) -> Result<(), PushStop> {
        if self.lease.is_held(self.context.clock.now()) {
            Ok(())
        } else {
            Err(PushStop::LeaseLost)
        }
    }

    /// Returns the id at the target, for a resource that must have one by now.
    pub(super) fn remote(&self) -> Result<RemoteId, PushStop> {
        self.remote.clone().ok_or(PushStop::Target(PushError::Gone))
    }

    fn sync(&mut self, current: &Attributes) -> Result<(), PushStop> {
        if self.row.kind == Kind::GROUP {
            return self.sync_group(current);
        }
        for operation in self.operations(Some(current)) {
            self.carry_out(operation)?;
        }
        Ok(())
    }

    /// Returns the operations to do, without members.
    pub(super) fn operations(&self, current: Option<&Attributes>) -> Vec<TargetOperation> {
        let known = self.remote.as_ref().map(|_| self.known());
        plan(known.as_ref(), current, &self.row.kind, &self.context.settings.profile)
    }

    /// Returns the attributes that the target has, as far as known.
    fn known(&self) -> Attributes {
        let sent = self.sent.clone().unwrap_or_default();
        match &self.doubt {
            Some(lost) => doubted(&sent, lost, &self.context.settings.profile),
            None => sent,
        }
    }

    /// Records the attributes that the target now has.
    pub(super) fn confirmed(&mut self, attributes: Attributes) {
        (self.sent, self.doubt) = (Some(attributes), None);
    }

    /// Runs one operation at the target.
    pub(super) fn carry_out(&mut self, operation: TargetOperation) -> Result<(), PushStop> {
        self.check_lease()?;
        if !self.takes_access(&operation) {
            return self.send(operation);
        }
        if !self.context.breaker.count_removal(self.context.clock.now()) {
            return Err(PushStop::DeleteLimit);
        }
        self.send(operation)
            .inspect_err(|_| self.context.breaker.uncount_removal())
    }

    /// Returns whether a user loses access by it. Deactivating an account again that was certainly inactive does not
    /// count.
    fn takes_access(&self, operation: &TargetOperation) -> bool {
        let was_locked = || self.sent.as_ref().and_then(|sent| sent.get("active")) == Some(&Value::Bool(false));
        operation.is_removal() && !(matches!(operation, TargetOperation::Update(_)) && was_locked())
    }

    fn send(&mut self, operation: TargetOperation) -> Result<(), PushStop> {
        let (connector, kind) = (&self.context.connector, &self.row.kind);
        match operation {
            TargetOperation::Create(attributes) => self.create(attributes),
            TargetOperation::Update(update) => self.update(update),
            TargetOperation::Deactivate => {
                let sent = self.sent.clone().unwrap_or_default();
                connector.deactivate(kind, &self.remote()?, &sent)?;
                count(&self.context.counters.removed);
                Ok(())
            }
            TargetOperation::Delete => {
                connector.delete(kind, &self.remote()?)?;
                count(&self.context.counters.removed);
                Ok(())
            }
        }
    }

    fn create(&mut self, attributes: Attributes) -> Result<(), PushStop> {
        match self.context.connector.create(&self.row.kind, &attributes) {
            Ok(id) => {
                self.found_at(id);
                self.confirmed(attributes);
                count(&self.context.counters.created);
                Ok(())
            }
            Err(PushError::Conflict) => {
                self.look_up(Some(&attributes))?;
                if self.remote.is_none() {
                    return Err(taken().into());
                }
                self.adjust(&attributes)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Updates a resource that already existed at the target.
    fn adjust(&mut self, attributes: &Attributes) -> Result<(), PushStop> {
        for operation in self.operations(Some(attributes)) {
            self.carry_out(operation)?;
        }
        Ok(())
    }

    fn update(&mut self, update: Update) -> Result<(), PushStop> {
        let remote = self.remote()?;
        match self.context.connector.update(&self.row.kind, &remote, &update) {
            Ok(()) => {
                self.confirmed(update.full);
                count(&self.context.counters.updated);
                Ok(())
            }
            Err(PushError::Conflict) => Err(self.name_conflict(&update.full)?.into()),
            Err(PushError::Gone) => self.recreate(&remote, update.full),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the resource again after the target said that it does not have it, if that proves true.
    pub(super) fn recreate(&mut self, remote: &RemoteId, attributes: Attributes) -> Result<(), PushStop> {
        self.check_lease()?;
        // Only once per push, because a target that contradicts itself would cause an endless loop.
        if self.notes.new_remote || self.context.connector.exists(&self.row.kind, remote)? {
            return Err(later("the target returns the resource but reports it as missing on change").into());
        }
        (self.remote, self.sent) = (None, None);
        self.notes.members.clear();
        self.look_up(Some(&attributes))?;
        if self.remote.is_some() {
            self.adjust(&attributes)
        } else {
            self.create(attributes)
        }
    }

    fn found_at(&mut self, id: RemoteId) {
        self.remote = Some(id);
        self.notes.new_remote = true;
    }

    /// Looks for the resource at the target by `externalId`, then by name, and adopts it.
    fn look_up(&mut self, current: Option<&Attributes>) -> Result<(), PushStop> {
        self.check_lease()?;
        let connector = &self.context.connector;
        let mut found = connector.find(&self.row.kind, "externalId", self.row.resource_id.as_str())?;
        if let (None, Some(name)) = (&found, current.and_then(|attributes| self.name_in(attributes))) {
            found = connector.find(&self.row.kind, self.naming(), name)?;
        }
        if let Some(found) = found {
            self.check_free(&found)?;
            self.found_at(found.id);
            self.sent = None;
        }
        Ok(())
    }

    /// Refuses to adopt a resource that is the copy of another local one. The other one's row will rename or remove it,
    /// and then the name is free.
    fn check_free(&self, found: &RemoteResource) -> Result<(), PushStop> {
        let (target, remote, external_id) = (
            self.context.target().clone(),
            found.id.0.clone(),
            found.external_id.clone(),
        );
        let owner = self
            .context
            .database
            .read::<_, StorageError>(|connection| match &external_id {
                Some(id) => {
                    let row = outbound::find(connection, &target, id)?;
                    Ok(row
                        .filter(|row| row.remote_id.as_ref() == Some(&remote) && row.state != OutboundState::Gone)
                        .map(|row| row.resource_id))
                }
                None => outbound::owner_of(connection, &target, &remote),
            })?;
        match owner {
            Some(owner) if owner != self.row.resource_id => {
                Err(later("the name still belongs to the copy of another resource at the target").into())
            }
            _ => Ok(()),
        }
    }

    /// Returns the attribute that holds the name of this resource type.
    fn naming(&self) -> &'static str {
        if self.row.kind == Kind::GROUP {
            "displayName"
        } else {
            "userName"
        }
    }

    fn name_in<'v>(&self, attributes: &'v Attributes) -> Option<&'v str> {
        attributes.get(self.naming())?.as_str()
    }

    /// Returns the error for a rename to a taken name. If another local resource has the name at the target, it is
    /// about to give it up.
    fn name_conflict(&self, attributes: &Attributes) -> Result<PushError, PushStop> {
        self.check_lease()?;
        let Some(name) = self.name_in(attributes) else {
            return Ok(taken());
        };
        match self.context.connector.find(&self.row.kind, self.naming(), name)? {
            Some(found) if self.remote.as_ref() != Some(&found.id) => self.check_free(&found)?,
            // The holder has just given it up. A target that hides the holder is not retried forever.
            None if self.row.attempts < MOST_CONFLICTS => return Ok(later("the name was still taken a moment ago")),
            _ => {}
        }
        Ok(taken())
    }

    /// Deletes or deactivates at the target a resource that no longer exists here.
    fn retire(&mut self) -> Result<PushEnd, PushStop> {
        let operations = self.operations(None);
        let stays = operations
            .iter()
            .all(|operation| !matches!(operation, TargetOperation::Delete))
            && self.remote.is_some();
        for operation in operations {
            self.carry_out(operation)?;
        }
        Ok(if stays { PushEnd::Deactivated } else { PushEnd::Removed })
    }
}

/// How often a name without a visible holder may be refused before an administrator must look.
const MOST_CONFLICTS: i32 = 5;

fn later(cause: &str) -> PushError {
    PushError::Retry {
        after: None,
        unreachable: false,
        cause: cause.to_owned(),
    }
}

fn taken() -> PushError {
    PushError::Refused {
        status: 409,
        detail: "the name is already taken at the target".to_owned(),
    }
}

impl PushStop {
    /// Returns whether the next pushes would stop for the same reason.
    pub(super) fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost | Self::DeleteLimit | Self::Target(PushError::Unauthorized { .. })
        )
    }
}
