//! The group memberships that identity providers granted to users.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::group_grants;
use crate::domain::{IdentityProviderName, MembershipGrant, ResourceId};

/// Records that the provider granted a membership, or no longer grants it.
pub fn set(connection: &mut SqlConnection, group: &ResourceId, grant: &MembershipGrant) -> QueryResult<()> {
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

/// Returns the groups that a provider added a user to.
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

/// Returns the groups that any provider added a user to, and the provider of each.
pub(crate) fn of_user_at_any(
    connection: &mut SqlConnection,
    user: &ResourceId,
) -> QueryResult<Vec<(IdentityProviderName, ResourceId)>> {
    let rows: Vec<(IdentityProviderName, String)> = group_grants::table
        .filter(group_grants::resource_id.eq(user.as_str()))
        .select((group_grants::identity_provider, group_grants::group_id))
        .load(connection)?;
    let found = rows
        .into_iter()
        .map(|(provider, group)| (provider, ResourceId::from(group)));
    Ok(found.collect())
}

/// Deletes the records of a deleted user or group.
pub fn forget(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<()> {
    diesel::delete(group_grants::table.filter(group_grants::resource_id.eq(id.as_str()))).execute(connection)?;
    diesel::delete(group_grants::table.filter(group_grants::group_id.eq(id.as_str())))
        .execute(connection)
        .map(|_| ())
}
