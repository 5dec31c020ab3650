//! Pushes one resource to one target, until it has the current state.

use serde_json::Value;

use crate::domain::{Attributes, Kind, Relations, Resource, ResourceId};
use crate::storage::outbound::{self, OutboundRow, OutboundState};
use crate::storage::{StorageError, journal};

use super::connector::{Found, PushError, RemoteId};
use super::lane::Lane;
use super::lease::Lease;
use super::metrics::count;
use super::plan::{Operation, Update, doubted, outgoing, plan};

/// The number of changes that are searched for lost values. More changes between two pushes are hardly made by people.
const MOST_DIFFS: i64 = 1000;

/// A running push and its results so far.
pub(super) struct Push<'a> {
    pub(super) lane: &'a Lane,
    pub(super) lease: &'a Lease,
    pub(super) row: &'a OutboundRow,
    /// The id at the target, if it is known.
    pub(super) remote: Option<RemoteId>,
    /// The attributes that were last sent; `None` if they are unknown.
    pub(super) sent: Option<Attributes>,
    /// The paths that lost their value here since a push with an unknown result. If set, `sent` holds only what the
    /// target had for certain before that push, and everything is sent again.
    doubt: Option<Vec<String>>,
    pub(super) notes: Notes,
}

/// Additional results of a push.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The members that were added (`true`) or removed at the target.
    pub(super) members: Vec<(ResourceId, bool)>,
    /// Whether the resource got a new id at the target.
    pub(super) new_remote: bool,
    /// The error of a member that the target refused.
    pub(super) refused_member: Option<String>,
}

/// The result of a successful push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The target has the wanted state.
    Synced,
    /// The target does not have the resource any more.
    Removed,
    /// The target keeps the account, deactivated.
    Deactivated,
}

/// The reason why a push stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The target failed or refused.
    Target(PushError),
    /// A local failure.
    Here(String),
    /// The lease has expired: another worker may have the row.
    LeaseLost,
    /// The delete limit is reached.
    Fuse,
}

impl From<PushError> for Stop {
    fn from(error: PushError) -> Self {
        Self::Target(error)
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Here(error.to_string())
    }
}

impl<'a> Push<'a> {
    /// Prepares a push.
    pub(super) fn new(lane: &'a Lane, lease: &'a Lease, row: &'a OutboundRow) -> Self {
        Self {
            lane,
            lease,
            row,
            remote: row.remote_id.clone().map(RemoteId),
            sent: row.sent.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            doubt: None,
            notes: Notes::default(),
        }
    }

    /// Runs the push.
    pub(super) fn run(&mut self) -> Result<End, Stop> {
        let resource = self.read()?;
        let current = resource.map(|resource| outgoing(&resource, &self.lane.settings.profile));
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
                self.bring(&current)?;
                Ok(End::Synced)
            }
        }
    }

    fn read(&self) -> Result<Option<Resource>, Stop> {
        let row = self.row;
        let found = self.lane.source.get(&row.kind, &row.resource_id, Relations::NONE);
        found.map_err(|error| Stop::Here(error.to_string()))
    }

    /// Returns the paths that lost their value since the oldest change that the target may not have.
    fn lost(&self) -> Result<Vec<String>, Stop> {
        let row = self.row;
        let diffs: Result<_, StorageError> = self
            .lane
            .database
            .read(|connection| journal::diffs_since(connection, &row.resource_id, row.changed, MOST_DIFFS));
        let gone = diffs?.into_iter().flatten().filter(|(_, value)| value.is_null());
        Ok(gone.map(|(path, _)| path).collect())
    }

    /// Checks the lease; to be called before each request, because a worker with an expired lease must not send.
    pub(super) fn still_ours(&self) -> Result<(), Stop> {
        if self.lease.is_held(self.lane.clock.now()) {
            Ok(())
        } else {
            Err(Stop::LeaseLost)
        }
    }

    /// Returns the id at the target, for a resource that must have one by now.
    pub(super) fn remote(&self) -> Result<RemoteId, Stop> {
        self.remote.clone().ok_or(Stop::Target(PushError::Gone))
    }

    fn bring(&mut self, current: &Attributes) -> Result<(), Stop> {
        if self.row.kind == Kind::GROUP {
            return self.bring_group(current);
        }
        for operation in self.operations(Some(current)) {
            self.carry_out(operation)?;
        }
        Ok(())
    }

    /// Returns the operations to do, without members.
    pub(super) fn operations(&self, current: Option<&Attributes>) -> Vec<Operation> {
        let known = self.remote.as_ref().map(|_| self.known());
        plan(known.as_ref(), current, &self.row.kind, &self.lane.settings.profile)
    }

    /// Returns the attributes that the target has, as far as known.
    fn known(&self) -> Attributes {
        let sent = self.sent.clone().unwrap_or_default();
        match &self.doubt {
            Some(lost) => doubted(&sent, lost, &self.lane.settings.profile),
            None => sent,
        }
    }

    /// Records the attributes that the target now has.
    pub(super) fn confirmed(&mut self, attributes: Attributes) {
        (self.sent, self.doubt) = (Some(attributes), None);
    }

    /// Runs one operation at the target.
    pub(super) fn carry_out(&mut self, operation: Operation) -> Result<(), Stop> {
        self.still_ours()?;
        if !self.takes_access(&operation) {
            return self.send(operation);
        }
        if !self.lane.gate.take_removal(self.lane.clock.now()) {
            return Err(Stop::Fuse);
        }
        self.send(operation).inspect_err(|_| self.lane.gate.give_removal_back())
    }

    /// Returns whether a user loses access by it. Deactivating an account again that was certainly inactive does not
    /// count.
    fn takes_access(&self, operation: &Operation) -> bool {
        let was_locked = || self.sent.as_ref().and_then(|sent| sent.get("active")) == Some(&Value::Bool(false));
        operation.is_removal() && !(matches!(operation, Operation::Update(_)) && was_locked())
    }

    fn send(&mut self, operation: Operation) -> Result<(), Stop> {
        let (connector, kind) = (&self.lane.connector, &self.row.kind);
        match operation {
            Operation::Create(attributes) => self.create(attributes),
            Operation::Update(update) => self.update(update),
            Operation::Deactivate => {
                let sent = self.sent.clone().unwrap_or_default();
                connector.deactivate(kind, &self.remote()?, &sent)?;
                count(&self.lane.counters.removed);
                Ok(())
            }
            Operation::Delete => {
                connector.delete(kind, &self.remote()?)?;
                count(&self.lane.counters.removed);
                Ok(())
            }
        }
    }

    fn create(&mut self, attributes: Attributes) -> Result<(), Stop> {
        match self.lane.connector.create(&self.row.kind, &attributes) {
            Ok(id) => {
                self.found_at(id);
                self.confirmed(attributes);
                count(&self.lane.counters.created);
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
    fn adjust(&mut self, attributes: &Attributes) -> Result<(), Stop> {
        for operation in self.operations(Some(attributes)) {
            self.carry_out(operation)?;
        }
        Ok(())
    }

    fn update(&mut self, update: Update) -> Result<(), Stop> {
        let remote = self.remote()?;
        match self.lane.connector.update(&self.row.kind, &remote, &update) {
            Ok(()) => {
                self.confirmed(update.full);
                count(&self.lane.counters.updated);
                Ok(())
            }
            Err(PushError::Conflict) => Err(self.taken_by(&update.full)?.into()),
            Err(PushError::Gone) => self.make_anew(&remote, update.full),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the resource again after the target said that it does not have it, if that proves true.
    pub(super) fn make_anew(&mut self, remote: &RemoteId, attributes: Attributes) -> Result<(), Stop> {
        self.still_ours()?;
        // Only once per push, because a target that contradicts itself would cause an endless loop.
        if self.notes.new_remote || self.lane.connector.exists(&self.row.kind, remote)? {
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
    fn look_up(&mut self, current: Option<&Attributes>) -> Result<(), Stop> {
        self.still_ours()?;
        let connector = &self.lane.connector;
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
    fn check_free(&self, found: &Found) -> Result<(), Stop> {
        let (target, remote, external_id) = (
            self.lane.target().clone(),
            found.id.0.clone(),
            found.external_id.clone(),
        );
        let owner = self
            .lane
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
    fn taken_by(&self, attributes: &Attributes) -> Result<PushError, Stop> {
        self.still_ours()?;
        let Some(name) = self.name_in(attributes) else {
            return Ok(taken());
        };
        match self.lane.connector.find(&self.row.kind, self.naming(), name)? {
            Some(found) if self.remote.as_ref() != Some(&found.id) => self.check_free(&found)?,
            // The holder has just given it up. A target that hides the holder is not retried forever.
            None if self.row.attempts < MOST_CONFLICTS => return Ok(later("the name was still taken a moment ago")),
            _ => {}
        }
        Ok(taken())
    }

    /// Deletes or deactivates at the target a resource that no longer exists here.
    fn retire(&mut self) -> Result<End, Stop> {
        let operations = self.operations(None);
        let stays = operations
            .iter()
            .all(|operation| !matches!(operation, Operation::Delete))
            && self.remote.is_some();
        for operation in operations {
            self.carry_out(operation)?;
        }
        Ok(if stays { End::Deactivated } else { End::Removed })
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

impl Stop {
    /// Returns whether the next pushes would stop for the same reason.
    pub(super) fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost | Self::Fuse | Self::Target(PushError::Unauthorized { .. })
        )
    }
}
