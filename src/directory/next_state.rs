//! The new state of a resource after a change, without I/O.

use serde_json::Value;

use super::DirectoryError;
use crate::domain::patch::{self, MemberStep, PatchOperation};
use crate::domain::schema::ResourceType;
use crate::domain::validate::{self, Invalid, InvalidKind};
use crate::domain::{Attributes, Kind, ResourceId, Secret, provenance};
use crate::userstore::{MemberSteps, PasswordChange};

/// The attribute that says whether an account may enter.
pub(super) const ACTIVE: &str = "active";

/// The new state of a resource after a change.
pub(super) struct NextState {
    pub(super) attributes: Attributes,
    pub(super) members: Option<MemberSteps>,
    /// Whether `members` was computed from the present members, and so holds only for the version that was read.
    pub(super) rests_on_members: bool,
    pub(super) password: Option<PasswordChange>,
    /// The writer of each value, if the change does not determine it.
    pub(super) writers: Option<provenance::Writers>,
    /// Whether the change contains `active`, even with the stored value.
    pub(super) states_active: bool,
}

/// Applies operations to attributes.
pub(super) fn patched(
    resource_type: &ResourceType,
    before: &Attributes,
    operations: &[PatchOperation],
) -> Result<NextState, DirectoryError> {
    let attributes = patch::apply(resource_type, before, operations)?;
    validate::check(resource_type, &attributes)?;
    let mut next = separate(resource_type, attributes)?;
    next.states_active = next.attributes.contains_key(ACTIVE) && patch::touches(operations, ACTIVE);
    if next.password.is_none() && patch::touches(operations, "password") {
        next.password = Some(PasswordChange::Clear);
    }
    Ok(next)
}

/// Sets `active` to true if it is absent: clients read `active` of every user.
pub(super) fn activate(resource_type: &ResourceType, attributes: &mut Attributes) {
    let has_active = resource_type
        .schema
        .attributes
        .iter()
        .any(|attribute| attribute.name == "active");
    if has_active && !attributes.contains_key("active") {
        attributes.insert("active".to_owned(), Value::Bool(true));
    }
}

/// Separates the password and the members, which are not part of the document.
pub(super) fn separate(resource_type: &ResourceType, mut attributes: Attributes) -> Result<NextState, Invalid> {
    let password = match attributes.remove("password") {
        Some(Value::String(password)) => Some(PasswordChange::Set(Secret::new(password))),
        _ => None,
    };
    let members = match attributes.remove("members") {
        Some(Value::Array(elements)) if has_members(resource_type) => {
            let without = || {
                let longest = ResourceId::LONGEST;
                let detail = format!("each element of members needs a value, of at most {longest} characters");
                Invalid::new(InvalidKind::Value, detail)
            };
            Some(vec![MemberStep::Replace(
                patch::as_members(&elements).ok_or_else(without)?,
            )])
        }
        other => {
            attributes.extend(other.map(|other| ("members".to_owned(), other)));
            None
        }
    };
    Ok(NextState {
        attributes,
        members,
        rests_on_members: false,
        password,
        writers: None,
        states_active: false,
    })
}

pub(super) fn has_members(resource_type: &ResourceType) -> bool {
    resource_type.kind == Kind::GROUP
}
