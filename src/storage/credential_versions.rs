//! Versions of the credentials of accounts. A version advances whenever a password, a second factor, a link or the
//! activity of an account changes; what was proved under an earlier version does not count any more.

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl};
use super::tables::credential_versions;
use crate::domain::ResourceId;

/// Returns the version of a user's credentials.
pub fn current(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<i64> {
    let version = credential_versions::table
        .find(user.as_str())
        .select(credential_versions::version)
        .first(connection)
        .optional()?;
    Ok(version.unwrap_or(0))
}

/// Returns the version, which then stays as it is until the open transaction ends.
pub fn hold(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<i64> {
    diesel::insert_into(credential_versions::table)
        .values((
            credential_versions::resource_id.eq(user.as_str()),
            credential_versions::version.eq(0),
        ))
        .suffix(" ON CONFLICT (resource_id) DO NOTHING")
        .execute(connection)?;
    credential_versions::table
        .find(user.as_str())
        .select(credential_versions::version)
        .suffix_postgres(" FOR UPDATE")
        .get_result(connection)
}

/// Advances the version of a user's credentials, and returns the new one.
pub fn advance(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<i64> {
    let version = hold(connection, user)? + 1;
    diesel::update(credential_versions::table.find(user.as_str()))
        .set(credential_versions::version.eq(version))
        .returning(credential_versions::version)
        .prepared()
        .get_results::<i64>(connection)?;
    Ok(version)
}

/// Forgets the version of a user who is deleted.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<()> {
    diesel::delete(credential_versions::table.find(user.as_str()))
        .execute(connection)
        .map(|_| ())
}
