//! Which memberships an identity provider granted to whom.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::group_grants;
use crate::domain::{Grant, IdentityProviderName, ResourceId};

/// Writes down that the provider granted the membership, or that it did so no more.
pub fn set(connection: &mut SqlConnection, group: &ResourceId, grant: &Grant) -> QueryResult<()> {
    let (user, provider) = (grant.user.as_str(), grant.identity_provider.as_str());
    if !grant.granted {
        return diesel::delete(group_grants::table.find((user, provider, group.as_str())))
            .execute(connection)
            .map(|_| ());
    }
    diesel::insert_into(group_grants::table)
        .values((
            group_grants::resource_id.eq(user),
            group_grants::identity_provider.eq(provider),
            group_grants::group_id.eq(group.as_str()),
        ))
        .suffix(" ON CONFLICT (resource_id, identity_provider, group_id) DO NOTHING")
        .execute(connection)
        .map(|_| ())
}

/// The groups that a provider put a user into.
pub fn of_user(
    connection: &mut SqlConnection,
    user: &ResourceId,
    provider: &IdentityProviderName,
) -> QueryResult<Vec<ResourceId>> {
    let groups: Vec<String> = group_grants::table
        .filter(group_grants::resource_id.eq(user.as_str()))
        .filter(group_grants::identity_provider.eq(provider.as_str()))
        .select(group_grants::group_id)
        .load(connection)?;
    Ok(groups.into_iter().map(ResourceId::from).collect())
}

/// Forgets what is known of a user or a group that is gone.
pub fn forget(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<()> {
    diesel::delete(group_grants::table.filter(group_grants::resource_id.eq(id.as_str()))).execute(connection)?;
    diesel::delete(group_grants::table.filter(group_grants::group_id.eq(id.as_str())))
        .execute(connection)
        .map(|_| ())
}
