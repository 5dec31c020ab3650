//! One push: brings one resource at one target to what it is here now.

use serde_json::Value;

use crate::domain::{Attributes, Kind, Relations, Resource, ResourceId};
use crate::storage::outbound::{self, OutboundRow, OutboundState};
use crate::storage::{StorageError, journal};

use super::connector::{Found, PushError, RemoteId};
use super::lane::Lane;
use super::lease::Lease;
use super::metrics::count;
use super::plan::{Operation, Update, doubted, outgoing, plan};

/// How far back it is looked what was lost: one that changes more often than this between two pushes is hardly a person.
const MOST_DIFFS: i64 = 1000;

/// A push under way, and what has become of it so far.
pub(super) struct Push<'a> {
    pub(super) lane: &'a Lane,
    pub(super) lease: &'a Lease,
    pub(super) row: &'a OutboundRow,
    /// The target's id, as far as it is known now.
    pub(super) remote: Option<RemoteId>,
    /// What the target was last sent; `None` if that is not known.
    pub(super) sent: Option<Attributes>,
    /// Paths that were lost here since a push of which no end is known. Then `sent` is only what the target had for
    /// certain before, and all is sent again.
    doubt: Option<Vec<String>>,
    pub(super) notes: Notes,
}

/// What a push did besides.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Members that the target was told are in (`true`) or out.
    pub(super) members: Vec<(ResourceId, bool)>,
    /// The resource has a remote id that it did not have before.
    pub(super) new_remote: bool,
    /// What the target said of members that it refused.
    pub(super) refused_member: Option<String>,
}

/// How a push ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The target has what it shall have.
    Synced,
    /// The target no longer has it.
    Removed,
    /// The target keeps the account, locked.
    Deactivated,
}

/// Why a push ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The target's doing.
    Target(PushError),
    /// Something of ours was not available.
    Here(String),
    /// The lease has run out: somebody else may be at it.
    LeaseLost,
    /// Too many removals in an hour.
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
    /// Begins a push.
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

    /// Carries it out.
    pub(super) fn run(&mut self) -> Result<End, Stop> {
        let resource = self.read()?;
        let current = resource.map(|resource| outgoing(&resource, &self.lane.settings.profile));
        // An earlier try may have worked though its answer was lost.
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

    /// The paths that have had no value any more since the oldest change that the target has not got for certain.
    fn lost(&self) -> Result<Vec<String>, Stop> {
        let row = self.row;
        let diffs: Result<_, StorageError> = self
            .lane
            .database
            .read(|connection| journal::diffs_since(connection, &row.resource_id, row.changed, MOST_DIFFS));
        let gone = diffs?.into_iter().flatten().filter(|(_, value)| value.is_null());
        Ok(gone.map(|(path, _)| path).collect())
    }

    /// To be called before each request: whoever has lost the lease must not send anything.
    pub(super) fn still_ours(&self) -> Result<(), Stop> {
        if self.lease.is_held(self.lane.clock.now()) {
            Ok(())
        } else {
            Err(Stop::LeaseLost)
        }
    }

    /// The target's id of a resource that must have one by now.
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

    /// What has to be done, members apart.
    pub(super) fn operations(&self, current: Option<&Attributes>) -> Vec<Operation> {
        let known = self.remote.as_ref().map(|_| self.known());
        plan(known.as_ref(), current, &self.row.kind, &self.lane.settings.profile)
    }

    /// What the target has of a resource that it has, as far as that is known.
    fn known(&self) -> Attributes {
        let sent = self.sent.clone().unwrap_or_default();
        match &self.doubt {
            Some(lost) => doubted(&sent, lost, &self.lane.settings.profile),
            None => sent,
        }
    }

    /// The target has this now.
    pub(super) fn confirmed(&mut self, attributes: Attributes) {
        (self.sent, self.doubt) = (Some(attributes), None);
    }

    /// Does one thing at the target.
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

    /// Whether somebody loses access by it. One that was locked for certain and is locked again, for safety, does not.
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

    /// Brings a resource that was there before us to what it shall be.
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

    /// The target denied that it has the resource: looks whether that is so, and makes it again.
    pub(super) fn make_anew(&mut self, remote: &RemoteId, attributes: Attributes) -> Result<(), Stop> {
        self.still_ours()?;
        // Once a push: a target that finds what it denies to have would be asked for ever.
        if self.notes.new_remote || self.lane.connector.exists(&self.row.kind, remote)? {
            return Err(later("the target shows the resource and denies that it has it").into());
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

    /// Looks for the resource at the target, by our id, then by its name, and adopts it.
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

    /// A resource at the target that is the copy of another one of ours is not for the taking: its own row will rename or
    /// remove it, and then the name is free.
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
                Err(later("the name still belongs to another resource of ours at the target").into())
            }
            _ => Ok(()),
        }
    }

    /// The attribute that names resources of this type.
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

    /// What to say of a name that is taken when a resource is renamed: if another resource of ours has it there, that one
    /// is about to give it up.
    fn taken_by(&self, attributes: &Attributes) -> Result<PushError, Stop> {
        self.still_ours()?;
        let Some(name) = self.name_in(attributes) else {
            return Ok(taken());
        };
        match self.lane.connector.find(&self.row.kind, self.naming(), name)? {
            Some(found) if self.remote.as_ref() != Some(&found.id) => self.check_free(&found)?,
            // Whoever had it has just given it up. A target that hides the holder is not asked for ever.
            None if self.row.attempts < MOST_CONFLICTS => return Ok(later("the name was taken a moment ago")),
            _ => {}
        }
        Ok(taken())
    }

    /// The resource is no longer here: sees that the target lets go of it too.
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

/// How often a name that nobody seems to hold may be refused before a person must look.
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
        detail: "the name is taken there".to_owned(),
    }
}

impl Stop {
    /// Whether what stopped one push would stop the next ones too.
    pub(super) fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost | Self::Fuse | Self::Target(PushError::Unauthorized { .. })
        )
    }
}
