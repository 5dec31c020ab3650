//! The wanted and the sent group members at each target: one row per target, group and member.
//! One added member is thus one row and one small request, whatever the size of the group.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::connection::{PreparedDsl, SqlConnection, any_of, each};
use super::tables::{outbound, outbound_members};
use crate::domain::{Kind, ResourceId, TargetName, Timestamp};

/// A membership that was not sent to the target yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferingMember {
    /// The member.
    pub member: ResourceId,
    /// Whether it should be a member.
    pub wanted: bool,
    /// The target's id of the member, if known.
    pub remote_id: Option<String>,
}

/// Whether a member should be in a group, by group and member.
pub(crate) type WantedMembers = BTreeMap<(ResourceId, ResourceId), bool>;

/// Records whether members should be in groups, and marks them as not sent: a request in progress, or one whose answer was
/// lost, may have done the opposite. The list is one bound value.
pub(crate) fn want(connection: &mut SqlConnection, target: &TargetName, members: &WantedMembers) -> QueryResult<()> {
    let listed = match connection {
        SqlConnection::Postgres(_) => {
            "SELECT $1, m->>0, m->>1, (m->>2)::boolean, NOT (m->>2)::boolean FROM json_array_elements($2::json) AS listed (m)"
        }
        SqlConnection::Sqlite(_) => {
            "SELECT $1, value->>0, value->>1, value->>2, NOT value->>2 FROM json_each($2) WHERE true"
        }
    };
    let list: serde_json::Value = members
        .iter()
        .map(|((group, member), wanted)| serde_json::json!([group.as_str(), member.as_str(), wanted]))
        .collect();
    let sql = format!(
        "INSERT INTO outbound_members (target, group_id, member_id, wanted, sent) {listed} \
        ON CONFLICT (target, group_id, member_id) DO UPDATE SET wanted = excluded.wanted, sent = excluded.sent, refusal = NULL"
    );
    each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(list.to_string())
        .prepared()
        .execute(c))
    .map(|_| ())
}

/// The members among which [`want_unknown`] looks for those that the target does not know.
#[derive(Clone, Debug)]
pub(crate) enum UnknownMembers {
    /// These, each with its group.
    Listed(BTreeSet<(ResourceId, ResourceId)>),
    /// All of a group, and no more than so many are made due.
    AtMost(ResourceId, usize),
}

/// The memberships to be sent of a group whose members the target does not know. One that is gone there is unknown if it
/// exists here; a member that never existed would otherwise become due with every change of its group.
const UNKNOWN: &str = "m.wanted <> m.sent AND m.wanted AND NOT EXISTS (SELECT 1 FROM outbound u WHERE u.target = m.target AND u.resource_id = m.member_id \
    AND (u.state <> 'gone' OR NOT EXISTS (SELECT 1 FROM resources r WHERE r.id = m.member_id) \
    AND NOT EXISTS (SELECT 1 FROM ldap_entries l WHERE l.resource_id = m.member_id)))";

/// Whether a group has wanted members that the target does not know.
pub(crate) fn has_unknown(
    connection: &mut SqlConnection,
    target: &TargetName,
    group: &ResourceId,
) -> QueryResult<bool> {
    let sql = format!(
        "SELECT m.group_id FROM outbound_members m WHERE m.target = $1 AND m.group_id = $2 AND {UNKNOWN} LIMIT 1"
    );
    let found: Vec<Group> = each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(group.as_str())
        .prepared()
        .load(c))?;
    Ok(found.iter().any(|row| !row.group_id.is_empty()))
}

/// Makes members that the target does not know due as users: a membership that points to no user is useless. Returns how
/// many it made due.
pub(crate) fn want_unknown(
    connection: &mut SqlConnection,
    target: &TargetName,
    which: &UnknownMembers,
    now: Timestamp,
) -> QueryResult<usize> {
    let (list, limit): (serde_json::Value, _) = match which {
        UnknownMembers::Listed(pairs) => {
            let pairs = pairs.iter().map(|(group, member)| [group.as_str(), member.as_str()]);
            (pairs.map(|pair| serde_json::json!(pair)).collect(), i64::MAX)
        }
        UnknownMembers::AtMost(group, limit) => (
            serde_json::json!([[group.as_str()]]),
            i64::try_from(*limit).unwrap_or(i64::MAX),
        ),
    };
    let (each, group, member) = match connection {
        SqlConnection::Postgres(_) => ("json_array_elements($4::json) AS listed (l)", "l->>0", "l->>1"),
        SqlConnection::Sqlite(_) => ("json_each($4) AS listed", "listed.value->>0", "listed.value->>1"),
    };
    let is_listed = match which {
        UnknownMembers::Listed(_) => format!("AND m.member_id = {member}"),
        UnknownMembers::AtMost(..) => String::new(),
    };
    let sql = format!(
        "INSERT INTO outbound (target, resource_id, kind, store, service_provider, state, wanted, pushed, attempts, next_attempt, lease_until, changed) \
        SELECT g.target, m.member_id, $1, MIN(g.store), MIN(g.service_provider), 'pending', 1, 0, 0, $2, 0, MIN(g.changed) \
        FROM (SELECT CAST($3 AS TEXT) AS name) AS t CROSS JOIN {each} \
        JOIN outbound_members m ON m.target = t.name AND m.group_id = {group} {is_listed} \
        JOIN outbound g ON g.target = m.target AND g.resource_id = m.group_id \
        WHERE {UNKNOWN} GROUP BY g.target, m.member_id LIMIT $5 \
        ON CONFLICT (target, resource_id) DO UPDATE SET state = 'pending', next_attempt = excluded.next_attempt"
    );
    each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(Kind::USER.as_str())
        .bind::<BigInt, _>(now.0)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(list.to_string())
        .bind::<BigInt, _>(limit)
        .prepared()
        .execute(c))
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    member_id: String,
    #[diesel(sql_type = Bool)]
    wanted: bool,
    #[diesel(sql_type = Nullable<Text>)]
    remote_id: Option<String>,
}

/// Returns at most `limit` memberships of a group that can be sent now: additions of members with a remote id, and
/// removals. Those that the target refused are left out.
pub fn differing(
    connection: &mut SqlConnection,
    target: &TargetName,
    group: &ResourceId,
    limit: i64,
) -> QueryResult<Vec<DifferingMember>> {
    const SQL: &str = "SELECT m.member_id, m.wanted, COALESCE(m.remote_id, u.remote_id) AS remote_id FROM outbound_members m \
        LEFT JOIN outbound u ON u.target = m.target AND u.resource_id = m.member_id \
        WHERE m.target = $1 AND m.group_id = $2 AND m.wanted <> m.sent AND m.refusal IS NULL \
        AND (NOT m.wanted OR u.remote_id IS NOT NULL) \
        ORDER BY m.wanted, m.member_id LIMIT $3";
    let rows: Vec<Row> = each!(connection, c => diesel::sql_query(SQL)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(group.as_str())
        .bind::<BigInt, _>(limit)
        .prepared()
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|row| DifferingMember {
            member: row.member_id.into(),
            wanted: row.wanted,
            remote_id: row.remote_id,
        })
        .collect())
}

/// Returns the target's ids of all wanted members of a group that are known there.
pub fn remote_members(
    connection: &mut SqlConnection,
    target: &TargetName,
    group: &ResourceId,
) -> QueryResult<Vec<String>> {
    let ids: Vec<Option<String>> = outbound_members::table
        .inner_join(
            outbound::table.on(outbound::target
                .eq(outbound_members::target)
                .and(outbound::resource_id.eq(outbound_members::member_id))),
        )
        .filter(outbound_members::target.eq(target.as_str()))
        .filter(outbound_members::group_id.eq(group.as_str()))
        .filter(outbound_members::wanted.eq(true))
        .filter(outbound::remote_id.is_not_null())
        .order(outbound_members::member_id)
        .select(outbound::remote_id)
        .load(connection)?;
    Ok(ids.into_iter().flatten().collect())
}

/// Records that an addition or removal was sent to the target, unless the opposite is wanted by now.
pub(crate) fn note_sent(
    connection: &mut SqlConnection,
    target: &TargetName,
    group: &ResourceId,
    member: &ResourceId,
    wanted: bool,
) -> QueryResult<()> {
    let row = outbound_members::table
        .find((target.as_str(), group.as_str(), member.as_str()))
        .filter(outbound_members::wanted.eq(wanted));
    if wanted {
        diesel::update(row)
            .set(outbound_members::sent.eq(true))
            .execute(connection)
            .map(|_| ())
    } else {
        diesel::delete(row).execute(connection).map(|_| ())
    }
}

/// Records that the target refused to add a member, unless it has left by now.
pub(crate) fn note_refused(
    connection: &mut SqlConnection,
    target: &TargetName,
    (group, member): (&ResourceId, &ResourceId),
    cause: &str,
) -> QueryResult<()> {
    diesel::update(
        outbound_members::table
            .find((target.as_str(), group.as_str(), member.as_str()))
            .filter(outbound_members::wanted.eq(true)),
    )
    .set(outbound_members::refusal.eq(cause.replace('\0', "")))
    .execute(connection)
    .map(|_| ())
}

/// Returns why the target refused a member of a group, if it refused any that is still wanted.
pub(crate) fn refusal(
    connection: &mut SqlConnection,
    target: &TargetName,
    group: &ResourceId,
) -> QueryResult<Option<String>> {
    outbound_members::table
        .filter(outbound_members::target.eq(target.as_str()))
        .filter(outbound_members::group_id.eq(group.as_str()))
        .filter(outbound_members::refusal.is_not_null())
        .filter(outbound_members::wanted.eq(true))
        .order(outbound_members::member_id)
        .select(outbound_members::refusal.assume_not_null())
        .first(connection)
        .optional()
}

/// Forgets refusals, so that those members are sent again: at most `limit`. Returns how many.
pub(crate) fn forget_refusals(connection: &mut SqlConnection, target: &TargetName, limit: i64) -> QueryResult<usize> {
    let refused: Vec<(String, String)> = outbound_members::table
        .filter(outbound_members::target.eq(target.as_str()))
        .filter(outbound_members::refusal.is_not_null())
        .order((outbound_members::group_id, outbound_members::member_id))
        .select((outbound_members::group_id, outbound_members::member_id))
        .limit(limit)
        .load(connection)?;
    for (group, member) in &refused {
        diesel::update(outbound_members::table.find((target.as_str(), group, member)))
            .set(outbound_members::refusal.eq(None::<String>))
            .execute(connection)?;
    }
    Ok(refused.len())
}

/// Marks all members of a group as not sent, for example after the group was created again.
pub(crate) fn resend_group(connection: &mut SqlConnection, target: &TargetName, group: &ResourceId) -> QueryResult<()> {
    let rows = || {
        outbound_members::table
            .filter(outbound_members::target.eq(target.as_str()))
            .filter(outbound_members::group_id.eq(group.as_str()))
    };
    diesel::delete(rows().filter(outbound_members::wanted.eq(false))).execute(connection)?;
    diesel::update(rows())
        .set((
            outbound_members::sent.eq(false),
            outbound_members::refusal.eq(None::<String>),
        ))
        .execute(connection)
        .map(|_| ())
}

/// A place in the memberships of a target: behind a member of a group.
#[derive(Clone, Debug)]
pub(crate) struct MemberPlace {
    /// The group; empty before the first one.
    pub(crate) group: String,
    /// The member; empty before the first one.
    pub(crate) member: String,
    /// Whether the groups behind this one are left out.
    pub(crate) only_group: bool,
}

/// Marks wanted memberships as not sent, so that they are sent again: those among the next `limit` behind a place.
/// Returns the place behind the last of them; `None` at the end.
pub(crate) fn resend_wanted(
    connection: &mut SqlConnection,
    target: &TargetName,
    place: &MemberPlace,
    limit: i64,
) -> QueryResult<Option<MemberPlace>> {
    let rows = || outbound_members::table.filter(outbound_members::target.eq(target.as_str()));
    let keys = (outbound_members::group_id, outbound_members::member_id);
    let mut next: Vec<(String, String)> = rows()
        .filter(outbound_members::group_id.eq(&place.group))
        .filter(outbound_members::member_id.gt(&place.member))
        .order(keys)
        .limit(limit)
        .select(keys)
        .load(connection)?;
    if next.is_empty() && !place.only_group {
        next = rows()
            .filter(outbound_members::group_id.gt(&place.group))
            .order(keys)
            .limit(limit)
            .select(keys)
            .load(connection)?;
        // One group at a time.
        let first = next.first().map(|(group, _)| group.clone());
        next.retain(|(group, _)| Some(group) == first.as_ref());
    }
    if let Some((group, _)) = next.first() {
        let members = next.iter().map(|(_, member)| member.as_str());
        diesel::update(
            rows()
                .filter(outbound_members::group_id.eq(group))
                .filter(any_of(outbound_members::member_id, members))
                .filter(outbound_members::wanted.eq(true)),
        )
        .set((
            outbound_members::sent.eq(false),
            outbound_members::refusal.eq(None::<String>),
        ))
        .execute(connection)?;
    }
    Ok(next.pop().map(|(group, member)| MemberPlace {
        group,
        member,
        only_group: place.only_group,
    }))
}

/// Marks a member's memberships as not sent, for example after the member was created again with another remote id.
pub(crate) fn resend_member(
    connection: &mut SqlConnection,
    target: &TargetName,
    member: &ResourceId,
) -> QueryResult<()> {
    diesel::update(
        outbound_members::table
            .filter(outbound_members::target.eq(target.as_str()))
            .filter(outbound_members::member_id.eq(member.as_str()))
            .filter(outbound_members::wanted.eq(true)),
    )
    .set((
        outbound_members::sent.eq(false),
        outbound_members::refusal.eq(None::<String>),
    ))
    .execute(connection)
    .map(|_| ())
}

/// Removes a deleted user's account, deleted or disabled at the target, from every group there, since a request in
/// progress may still add it. The removals are stored under a separate member id, as the user's own rows may change in
/// the meantime. Returns that member id.
pub fn leave_all(
    connection: &mut SqlConnection,
    target: &TargetName,
    member: &ResourceId,
    account: &str,
) -> QueryResult<ResourceId> {
    const SQL: &str = "INSERT INTO outbound_members (target, group_id, member_id, wanted, sent, remote_id) \
        SELECT target, group_id, $1, $2, $3, $4 FROM outbound_members WHERE target = $5 AND member_id = $6 \
        ON CONFLICT (target, group_id, member_id) DO NOTHING";
    // No resource has an id of this form.
    let former = ResourceId::from(format!("#{account}"));
    each!(&mut *connection, c => diesel::sql_query(SQL)
        .bind::<Text, _>(former.as_str())
        .bind::<Bool, _>(false)
        .bind::<Bool, _>(true)
        .bind::<Text, _>(account)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(member.as_str())
        .execute(c))?;
    diesel::delete(
        outbound_members::table
            .filter(outbound_members::target.eq(target.as_str()))
            .filter(outbound_members::member_id.eq(member.as_str())),
    )
    .execute(connection)?;
    Ok(former)
}

/// Deletes the member rows of a group that the target no longer has.
pub(crate) fn forget_group(connection: &mut SqlConnection, target: &TargetName, group: &ResourceId) -> QueryResult<()> {
    diesel::delete(
        outbound_members::table
            .filter(outbound_members::target.eq(target.as_str()))
            .filter(outbound_members::group_id.eq(group.as_str())),
    )
    .execute(connection)
    .map(|_| ())
}

#[derive(QueryableByName)]
struct Group {
    #[diesel(sql_type = Text)]
    group_id: String,
}

/// Makes synced groups due that have memberships to be sent. Returns their number.
pub(crate) fn wake_groups(
    connection: &mut SqlConnection,
    target: &TargetName,
    which: &GroupSelection<'_>,
    now: Timestamp,
) -> QueryResult<usize> {
    const SQL: &str = "SELECT DISTINCT m.group_id FROM outbound_members m \
        LEFT JOIN outbound u ON u.target = m.target AND u.resource_id = m.member_id \
        WHERE m.target = $1 AND m.wanted <> m.sent AND m.refusal IS NULL AND (NOT m.wanted OR u.remote_id IS NOT NULL)";
    let (tail, id) = match which {
        GroupSelection::All => ("$2 = ''", ""),
        GroupSelection::Of(member) => ("m.member_id = $2", member.as_str()),
        GroupSelection::One(group) => ("m.group_id = $2", group.as_str()),
    };
    let found: Vec<Group> = each!(connection, c => diesel::sql_query(format!("{SQL} AND {tail}"))
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(id)
        .load(c))?;
    // There is rarely any. Update by key, since an index on the state would scan all synced rows.
    let ids: Vec<&str> = found.iter().map(|group| group.group_id.as_str()).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    diesel::update(
        outbound::table
            .filter(outbound::target.eq(target.as_str()))
            .filter(any_of(outbound::resource_id, ids))
            // A group that failed for a refused member alone goes on with the others.
            .filter(
                outbound::state
                    .eq("synced")
                    .or(outbound::state.eq("failed").and(outbound::pushed.eq(outbound::wanted))),
            ),
    )
    .set((
        outbound::state.eq("pending"),
        outbound::next_attempt.eq(now.0),
        outbound::changed.eq(now.0),
    ))
    .execute(connection)
}

/// The groups that [`wake_groups`] checks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupSelection<'a> {
    /// Every group.
    All,
    /// The groups that have a row for one member.
    Of(&'a ResourceId),
    /// One group.
    One(&'a ResourceId),
}
