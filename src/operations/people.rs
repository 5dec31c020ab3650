//! Users: created, given a password, unlocked, and their values transferred. Each change goes through the pipeline.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Context, OperationError, Right};
use crate::domain::password::PasswordDefect;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{
    Attributes, Change, Kind, Operation, Precondition, Resource, Secret, SecurityEventKind, StoreName, change,
    provenance,
};
use crate::storage::{StorageError, factors, grants, known_browsers, sessions};

/// A user by name.
#[derive(Clone, Debug)]
pub struct UserRef {
    /// The userstore.
    pub store: StoreName,
    /// The `userName`.
    pub user_name: String,
}

/// The attributes of a new user.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The given name.
    pub given_name: Option<String>,
    /// The family name.
    pub family_name: Option<String>,
    /// The work e-mail address.
    pub email: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// The result of a transfer of values.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// The user.
    pub user: Resource,
    /// The paths of the values; empty if there were none to transfer.
    pub paths: Vec<String>,
}

/// Creates a user.
pub fn create(context: &Context, user: &UserRef, new: &NewUser) -> Result<Resource, OperationError> {
    context.administrator.must(Right::ManagePeople)?;
    let mut attributes = Attributes::new();
    attributes.insert("userName".to_owned(), user.user_name.clone().into());
    let parts = [("givenName", &new.given_name), ("familyName", &new.family_name)];
    let name: Attributes = parts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into())))
        .collect();
    if !name.is_empty() {
        attributes.insert("name".to_owned(), name.into());
    }
    if let Some(email) = &new.email {
        let emails = json!([{ "value": email, "type": "work", "primary": true }]);
        attributes.insert("emails".to_owned(), emails);
    }
    if let Some(password) = &new.password {
        check_password(context, user, password)?;
        attributes.insert("password".to_owned(), password.expose().into());
    }
    let operation = Operation::Create {
        store: user.store.clone(),
        kind: Kind::USER,
        attributes,
        typed: Vec::new(),
    };
    apply(context, operation)
}

/// Sets the password of a user.
pub fn set_password(context: &Context, user: &UserRef, password: &Secret) -> Result<Resource, OperationError> {
    context.administrator.must(Right::ManagePeople)?;
    let found = context.user(user)?;
    check_password(context, user, password)?;
    let users = context.directory.registry().resource_type(&Kind::USER);
    let path = users
        .and_then(|users| Path::parse("password", users).ok())
        .ok_or_else(|| OperationError::Invalid("The User schema has no password.".to_owned()))?;
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: found.id,
        operations: vec![PatchOperation::replace(path, password.expose().into())],
        precondition: Precondition::None,
    };
    apply(context, operation)
}

/// Unlocks an account that was locked after wrong passwords, also in the browsers of its person.
pub fn unlock(context: &Context, user: &UserRef) -> Result<Resource, OperationError> {
    context.administrator.must(Right::RecoverAccounts)?;
    let user = context.user(user)?;
    context.directory.unlock(&user.store, &user.id)?;
    let id = user.id.clone();
    context
        .database
        .write::<_, StorageError>(move |connection| Ok(known_browsers::unlock(connection, &id)?))?;
    context.record("account_unlocked", |event| event.user = Some(user.id.clone()));
    Ok(user)
}

/// Removes the second factor and the recovery codes of a user, and ends the sessions and grants that were proved by them.
/// `false` if there were none.
pub fn reset_factor(context: &Context, user: &UserRef) -> Result<(Resource, bool), OperationError> {
    context.administrator.must(Right::RecoverAccounts)?;
    let user = context.user(user)?;
    let (id, now) = (user.id.clone(), context.clock.now());
    let count = context.database.write::<_, StorageError>(move |connection| {
        let count = factors::delete_of_user(connection, &id)?;
        if count > 0 {
            sessions::delete_of_user(connection, &id, now)?;
            grants::revoke_of_user(connection, &id, now)?;
        }
        Ok(count)
    })?;
    if count > 0 {
        context.record("reset", |event| {
            event.kind = SecurityEventKind::AuthenticatorChanged;
            event.user = Some(user.id.clone());
        });
    }
    Ok((user, count > 0))
}

/// Transfers the ownership of values: from identity providers to the administrator, or back to one of them. Without
/// attributes all values are transferred.
pub fn transfer(
    context: &Context,
    user: &UserRef,
    attributes: &[String],
    back_to: Option<&str>,
) -> Result<Transferred, OperationError> {
    context.administrator.must(Right::ManagePeople)?;
    let mut user = context.user(user)?;
    let to = match back_to {
        Some(name) => {
            let known = &context.names.identity_providers;
            let Some((name, _)) = known.iter().find(|(known, _)| known.as_str() == name) else {
                return Err(OperationError::Invalid(format!(
                    "No identity provider is called {name}."
                )));
            };
            provenance::of_provider(name)
        }
        None => provenance::HELD.to_owned(),
    };
    let is_meant = |path: &str| {
        let base = path.split('[').next().unwrap_or(path);
        attributes.is_empty() || attributes.iter().any(|wanted| wanted == base || wanted == path)
    };
    let is_given = |writer: &str| match back_to {
        Some(_) => writer == provenance::HELD,
        None => provenance::provider(writer).is_some(),
    };
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, writer) in user.writers.writers() {
        if is_meant(&path) && is_given(&writer) {
            owners.entry(writer).or_default().push(path);
        }
    }
    let transferred: Vec<String> = owners.values().flatten().cloned().collect();
    for (from, paths) in owners {
        let (kind, id, to) = (Kind::USER, user.id.clone(), to.clone());
        let transfer = change::Transfer { from, paths, to };
        user = apply(context, Operation::Transfer { kind, id, transfer })?;
    }
    Ok(Transferred {
        user,
        paths: transferred,
    })
}

fn apply(context: &Context, operation: Operation) -> Result<Resource, OperationError> {
    let change = Change {
        actor: context.actor(),
        operation,
        side_records: Vec::new(),
    };
    Ok(context.directory.apply(change)?.into_resource())
}

fn check_password(context: &Context, user: &UserRef, password: &Secret) -> Result<(), OperationError> {
    let policy = context.passwords;
    policy
        .check(password.expose(), &user.user_name)
        .map_err(|defect| match defect {
            PasswordDefect::Short => {
                OperationError::Invalid(format!("A password needs at least {} characters.", policy.min_length))
            }
            defect => OperationError::Invalid(format!("Choose another password: {defect}.")),
        })
}
