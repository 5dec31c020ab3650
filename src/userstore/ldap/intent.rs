//! The stored form of an intent: a change that is about to be made in the directory.

use serde::{Deserialize, Serialize};

use super::name::Dn;
use crate::domain::patch::MemberStep;
use crate::domain::provenance::Writers;
use crate::domain::unique::UniqueValue;
use crate::domain::{Attributes, Kind, Precondition, ResourceId, SideRecord, Timestamp};
use crate::userstore::{Draft, PasswordChange, UniqueKey, Write, WriteAction};

/// The subject of an intent about an existing entry.
pub(super) fn of_entry(entry: &str) -> String {
    format!("entry:{entry}")
}

/// The subject of an intent about a name to be taken.
pub(super) fn of_name(dn: &Dn) -> String {
    format!("name:{}", dn.stored_key())
}

/// A pending change, without passwords.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PendingChange {
    /// The DN of the entry before the change.
    pub(super) dn: String,
    /// The entry version before the change; empty if there was no entry.
    #[serde(rename = "stamp")]
    pub(super) entry_version: String,
    pub(super) kind: Kind,
    pub(super) id: ResourceId,
    pub(super) at: Timestamp,
    pub(super) step: IntendedAction,
    /// Whether the change also sets a password.
    pub(super) password: bool,
    #[serde(rename = "companions")]
    pub(super) side_records: Vec<SideRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum IntendedAction {
    Create(IntendedState),
    Replace(IntendedState),
    Members(Vec<MemberStep>),
    Delete,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IntendedState {
    key: UniqueKey,
    unique: Option<Vec<UniqueValue>>,
    pub(super) attributes: Attributes,
    writers: Writers,
    members: Option<Vec<MemberStep>>,
}

impl PendingChange {
    pub(super) fn new(write: &Write, side_records: &[SideRecord], (dn, entry_version): (&Dn, &str)) -> Self {
        let state = |draft: &Draft| IntendedState {
            key: draft.key.clone(),
            unique: draft.unique.as_ref().map(|values| values.iter().cloned().collect()),
            attributes: draft.attributes.clone(),
            writers: draft.writers.clone(),
            members: draft.members.clone(),
        };
        let (step, password) = match &write.action {
            WriteAction::Create(draft) => (IntendedAction::Create(state(draft)), draft.password.is_some()),
            WriteAction::Replace { draft, .. } => (IntendedAction::Replace(state(draft)), draft.password.is_some()),
            WriteAction::Members { change, .. } => (IntendedAction::Members(change.clone()), false),
            WriteAction::Delete { .. } | WriteAction::Keep => (IntendedAction::Delete, false),
        };
        Self {
            dn: dn.as_str().to_owned(),
            entry_version: entry_version.to_owned(),
            kind: write.kind.clone(),
            id: write.id.clone(),
            at: write.at,
            step,
            password,
            side_records: side_records.to_vec(),
        }
    }

    /// Returns the write for the confirmation, valid for any version of the copy.
    pub(super) fn write(&self) -> Write {
        let draft = |state: &IntendedState| Draft {
            key: state.key.clone(),
            unique: state.unique.as_ref().map(|values| values.iter().cloned().collect()),
            attributes: state.attributes.clone(),
            writers: state.writers.clone(),
            members: state.members.clone(),
            password: self.password.then_some(PasswordChange::Clear),
        };
        let expected = Precondition::None;
        let action = match &self.step {
            IntendedAction::Create(state) => WriteAction::Create(draft(state)),
            IntendedAction::Replace(state) => WriteAction::Replace {
                draft: draft(state),
                before: None,
                expected,
            },
            IntendedAction::Members(change) => WriteAction::Members {
                change: change.clone(),
                expected,
            },
            IntendedAction::Delete => WriteAction::Delete { expected },
        };
        Write {
            kind: self.kind.clone(),
            id: self.id.clone(),
            at: self.at,
            action,
        }
    }
}
