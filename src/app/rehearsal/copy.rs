//! The initial data of a rehearsal: copies of stored records, and people given by the caller.

use serde_json::Value;

use super::{RehearsalBase, RehearsalError};
use crate::directory::Directory;
use crate::domain::{
    Actor, Change, Kind, Link, MembershipGrant, Operation, Principal, ResourceId, ServiceProviderName, SideRecord,
    StoreName, Timestamp,
};
use crate::storage::factors::{self, Factor, TOTP};
use crate::storage::identity_locks::{self, IdentityLock};
use crate::storage::{Database, StorageError, approvals, consents, group_grants, links, mail_codes, removals};

/// Copies the records of an external identity: its link, lock, approval and the removal of its provider.
pub(super) fn copy_identity(to: &Database, before: &RehearsalBase<'_>, link: &Link) -> Result<(), RehearsalError> {
    let RehearsalBase::Here(core) = before else {
        return Ok(());
    };
    let now = core.clock.now();
    let Link {
        identity_provider,
        issuer,
        subject,
    } = link;
    let (known, unlinked, locked, removal, approval) = core.database.read::<_, StorageError>(|connection| {
        Ok((
            links::find(connection, identity_provider, issuer, subject)?,
            links::was_unlinked(connection, identity_provider, issuer, subject)?,
            identity_locks::of_identity(connection, link)?,
            removals::find(connection, identity_provider)?,
            approvals::of_identity(connection, link, now)?,
        ))
    })?;
    let link = link.clone();
    to.write::<_, StorageError>(move |connection| {
        if unlinked {
            let nobody = ResourceId::new("nobody".to_owned());
            links::insert(connection, &link, &StoreName::PRIMARY, &nobody, now)?;
            links::unlink_all(connection, &nobody, now)?;
        }
        if let Some(known) = &known {
            links::insert(connection, &known.link, &known.store, &known.resource_id, known.created)?;
        }
        if let Some(reason) = &locked {
            let lock = IdentityLock {
                identity: link.clone(),
                reason: reason.clone(),
                at: now,
            };
            identity_locks::lock(connection, &lock)?;
        }
        if let Some(removal) = &removal {
            removals::begin(connection, &removal.identity_provider, removal.deletes, now)?;
        }
        if let Some(approval) = &approval {
            approvals::ask(connection, approval)?;
            approvals::rule(connection, &approval.id, &approval.ruling)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Copies the stored records of a user.
pub(super) fn copy_user(from: &Database, to: &Database, user: &ResourceId) -> Result<(), StorageError> {
    let (linked, given, has_factor, proved) = from.read::<_, StorageError>(|connection| {
        Ok((
            links::of_user(connection, user)?,
            consents::of_user(connection, user)?,
            factors::has(connection, user, TOTP)?,
            mail_codes::proved(connection, user)?,
        ))
    })?;
    let mut grants = Vec::new();
    for link in &linked {
        let provider = link.link.identity_provider.clone();
        let groups = from.read::<_, StorageError>(|connection| group_grants::of_user(connection, user, &provider))?;
        grants.extend(groups.into_iter().map(|group| (provider.clone(), group)));
    }
    let user = user.clone();
    to.write::<_, StorageError>(move |connection| {
        for link in &linked {
            links::delete(connection, &link.link, &user)?;
            links::insert(connection, &link.link, &link.store, &user, link.created)?;
        }
        for record in &given {
            let store = linked.first().map_or(StoreName::PRIMARY, |link| link.store.clone());
            consents::insert(connection, &record.consent, &store, &user, record.at)?;
            if let Some(at) = record.withdrawn {
                consents::withdraw(connection, &record.consent.purpose, &user, at)?;
            }
        }
        for (provider, group) in &grants {
            let grant = MembershipGrant {
                user: user.clone(),
                identity_provider: provider.clone(),
                granted: true,
            };
            group_grants::set(connection, group, &grant)?;
        }
        if let Some(proved) = &proved {
            mail_codes::send(connection, &user, Timestamp(0))?;
            mail_codes::pass(connection, &user, Some(proved))?;
        }
        if has_factor {
            // A rehearsal only needs to know that there is one, so the secret is not copied.
            let factor = Factor {
                sealed: Vec::new(),
                last_step: 0,
            };
            factors::insert(connection, &user, TOTP, &factor, Timestamp(0))?;
        }
        Ok(())
    })
}

/// Creates a person given by the caller.
pub(super) fn place(directory: &Directory, link: &Link, person: &Value) -> Result<(), RehearsalError> {
    let bad = |what: &str| RehearsalError::Existing(what.to_owned());
    let attributes = person
        .get("attributes")
        .and_then(Value::as_object)
        .ok_or_else(|| bad("attributes is missing"))?;
    let made_by = person.get("made_by").and_then(Value::as_str).unwrap_or("admin");
    let (principal, service_provider) = match made_by.split_once(':') {
        None if made_by == "admin" => (
            Principal::Administrator {
                name: "rehearsal".to_owned(),
            },
            ServiceProviderName::RESIDENT,
        ),
        Some(("idp", name)) => {
            let identity_provider = name.to_owned().into();
            (Principal::Login { identity_provider }, ServiceProviderName::RESIDENT)
        }
        Some(("scim", name)) => {
            let store = None;
            let token = String::new();
            (Principal::Client { token, store }, name.to_owned().into())
        }
        _ => return Err(bad("made_by is admin, idp:NAME or scim:NAME")),
    };
    let kind = if attributes.contains_key("userName") {
        Kind::USER
    } else {
        Kind::GROUP
    };
    let is_linked = person.get("linked") == Some(&Value::Bool(true));
    let change = Change {
        actor: Actor {
            principal,
            service_provider,
        },
        operation: Operation::Create {
            store: person
                .get("store")
                .and_then(Value::as_str)
                .map_or(StoreName::PRIMARY, |name| name.to_owned().into()),
            kind,
            attributes: attributes.clone(),
            typed: Vec::new(),
        },
        side_records: is_linked.then(|| SideRecord::Link(link.clone())).into_iter().collect(),
    };
    directory
        .apply(change)
        .map_err(|error| RehearsalError::Existing(error.to_string()))?;
    Ok(())
}
