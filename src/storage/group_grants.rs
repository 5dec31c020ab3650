//! The group memberships that identity providers granted to users.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::{group_grants, links};
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

/// A membership that an identity provider granted: the user, the provider and the group.
pub(crate) type Granted = (ResourceId, IdentityProviderName, ResourceId);

/// Returns at most `limit` memberships that a provider granted to a user, or to any, who is not linked to it any more.
pub(crate) fn outdated(
    connection: &mut SqlConnection,
    user: Option<&ResourceId>,
    limit: i64,
) -> QueryResult<Vec<Granted>> {
    let linked = links::table
        .filter(links::resource_id.eq(group_grants::resource_id))
        .filter(links::identity_provider.eq(group_grants::identity_provider));
    let mut query = group_grants::table
        .filter(diesel::dsl::not(diesel::dsl::exists(linked)))
        .select((
            group_grants::resource_id,
            group_grants::identity_provider,
            group_grants::group_id,
        ))
        .limit(limit)
        .into_boxed();
    if let Some(user) = user {
        query = query.filter(group_grants::resource_id.eq(user.as_str()));
    }
    let rows: Vec<(String, String, String)> = query.load(connection)?;
    let granted = rows
        .into_iter()
        .map(|(user, provider, group)| (user.into(), provider.into(), group.into()));
    Ok(granted.collect())
}

/// Deletes the records of a deleted user or group.
pub fn forget(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<()> {
    diesel::delete(group_grants::table.filter(group_grants::resource_id.eq(id.as_str()))).execute(connection)?;
    diesel::delete(group_grants::table.filter(group_grants::group_id.eq(id.as_str())))
        .execute(connection)
        .map(|_| ())
}
