//! Group members: one row each, so the cost of a step is independent of the group's size.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Text;

use crate::domain::change::MembershipDelta;
use crate::domain::patch::MemberStep;
use crate::domain::{Kind, Member, Relations, Resource, ResourceId, Version};
use crate::storage::connection::{PreparedDsl, any_of};
use crate::storage::tables::{members, resources};
use crate::storage::{SqlConnection, each};

/// Adds the requested relations. Groups are read with the row and cleared if they were not requested.
pub(super) fn attach(connection: &mut SqlConnection, found: &mut [Resource], relations: Relations) -> QueryResult<()> {
    if relations.members {
        attach_members(connection, found)?;
    }
    if !relations.groups {
        for resource in found {
            resource.groups.clear();
        }
    }
    Ok(())
}

fn attach_members(connection: &mut SqlConnection, found: &mut [Resource]) -> QueryResult<()> {
    for group in found.iter_mut().filter(|resource| resource.kind == Kind::GROUP) {
        let mut rows: Vec<(i64, String, String)> = members::table
            .filter(members::group_id.eq(group.id.as_str()))
            .select((members::seq, members::member_id, members::body))
            .load(connection)?;
        // In the order in which they joined.
        rows.sort_unstable_by_key(|(seq, ..)| *seq);
        group.members = rows
            .into_iter()
            .map(|(_, id, body)| Member { id: id.into(), body })
            .collect();
    }
    Ok(())
}

/// Reads the one membership at offset `limit` and checks that it is still of this group. With a filter on this group
/// alone, PostgreSQL would read and sort all of its members where it estimates groups to be small.
pub(super) fn is_larger(connection: &mut SqlConnection, group: &ResourceId, limit: usize) -> QueryResult<bool> {
    let past: Option<String> = members::table
        .filter(members::group_id.ge(group.as_str()))
        .order((members::group_id, members::member_id))
        .select(members::group_id)
        .offset(i64::try_from(limit).unwrap_or(i64::MAX))
        .limit(1)
        .first(connection)
        .optional()?;
    Ok(past.is_some_and(|id| id == group.as_str()))
}

/// Returns the ids of the next members in order.
pub(super) fn ids_after(
    connection: &mut SqlConnection,
    group: &ResourceId,
    after: Option<&ResourceId>,
    limit: usize,
) -> QueryResult<Vec<ResourceId>> {
    let ids: Vec<String> = members::table
        .filter(members::group_id.eq(group.as_str()))
        .filter(members::member_id.gt(after.map_or("", ResourceId::as_str)))
        .order(members::member_id)
        .select(members::member_id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(connection)?;
    Ok(ids.into_iter().map(ResourceId::from).collect())
}

/// Applies the steps to one group and returns the members that really joined and left.
pub(super) fn change(
    connection: &mut SqlConnection,
    group: &ResourceId,
    steps: &[MemberStep],
    granted_by: &str,
) -> QueryResult<MembershipDelta> {
    let (mut delta, mut before) = (MembershipDelta::default(), HashMap::new());
    for step in steps {
        match step {
            MemberStep::Join(joining) => join(connection, group, joining, granted_by, &mut delta)?,
            MemberStep::Leave(leaving) => leave(connection, group, leaving, &mut delta, &mut before)?,
            MemberStep::Clear => {
                let all = present(connection, group)?;
                leave(connection, group, &all, &mut delta, &mut before)?;
            }
            MemberStep::Replace(wanted) => {
                let bodies: HashMap<&str, &str> = wanted
                    .iter()
                    .map(|member| (member.id.as_str(), member.body.as_str()))
                    .collect();
                let (mut unwanted, mut renamed) = (Vec::new(), Vec::new());
                for (id, body) in present_with_bodies(connection, group)? {
                    match bodies.get(id.as_str()) {
                        None => unwanted.push(id),
                        Some(wanted) if *wanted != body => {
                            renamed.push((id.as_str().to_owned(), (*wanted).to_owned()));
                            before.entry(id).or_insert(body);
                        }
                        Some(_) => {}
                    }
                }
                relabel(connection, group, &renamed)?;
                leave(connection, group, &unwanted, &mut delta, &mut before)?;
                join(connection, group, wanted, granted_by, &mut delta)?;
            }
        }
    }
    net_delta(connection, group, delta, &before)
}

/// Reduces a change to its net effect: a member that left and came back, or the reverse, did neither, and one that
/// left, came back and left again left once. `before` holds the earlier bodies of members that left or were relabelled;
/// some may have the same body again at the end.
fn net_delta(
    connection: &mut SqlConnection,
    group: &ResourceId,
    delta: MembershipDelta,
    before: &HashMap<ResourceId, String>,
) -> QueryResult<MembershipDelta> {
    let mut balance: HashMap<ResourceId, i32> = HashMap::new();
    let signed = delta
        .joined
        .iter()
        .map(|id| (id, 1))
        .chain(delta.left.iter().map(|id| (id, -1)));
    for (id, sign) in signed {
        *balance.entry(id.clone()).or_default() += sign;
    }
    let stayed: Vec<&ResourceId> = before
        .keys()
        .filter(|id| balance.get(*id).is_none_or(|sign| *sign == 0))
        .collect();
    let mut relabelled = Vec::new();
    if !stayed.is_empty() {
        const POSTGRES: &str = "SELECT m.member_id, m.body FROM json_array_elements_text($1::json) AS listed (id) \
            JOIN members m ON m.group_id = $2 AND m.member_id = listed.id";
        // The cross join makes SQLite begin with the list, not with all members of the group.
        const SQLITE: &str = "SELECT m.member_id, m.body FROM json_each($1) listed \
            CROSS JOIN members m ON m.group_id = $2 AND m.member_id = listed.value";
        let now = of_list(connection, (POSTGRES, SQLITE), group, stayed.into_iter())?;
        let now = now.into_iter().map(|row| (ResourceId::from(row.member_id), row.body));
        relabelled.extend(now.filter(|(id, body)| before.get(id) != Some(body)).map(|(id, _)| id));
    }
    relabelled.sort();
    let mut once = |ids: Vec<ResourceId>, sign: i32| {
        let counts = |id: &ResourceId| balance.get(id) == Some(&sign) && balance.remove(id).is_some();
        ids.into_iter().filter(counts).collect()
    };
    Ok(MembershipDelta {
        joined: once(delta.joined, 1),
        left: once(delta.left, -1),
        relabelled,
    })
}

#[derive(QueryableByName)]
struct MemberRow {
    #[diesel(sql_type = Text)]
    member_id: String,
    #[diesel(sql_type = Text)]
    body: String,
}

/// Runs a statement about those members of a group (`$2`) whose ids are in a list (`$1`, JSON): both databases number `$n`
/// alike as long as they first appear in order. Each is looked up by its key, so the cost grows with the list alone.
fn of_list<'a>(
    connection: &mut SqlConnection,
    (postgres, sqlite): (&str, &str),
    group: &ResourceId,
    ids: impl Iterator<Item = &'a ResourceId>,
) -> QueryResult<Vec<MemberRow>> {
    let list: serde_json::Value = ids.map(ResourceId::as_str).collect();
    let sql = match connection {
        SqlConnection::Postgres(_) => postgres,
        SqlConnection::Sqlite(_) => sqlite,
    };
    each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(list.to_string())
        .bind::<Text, _>(group.as_str())
        .get_results(c))
}

fn present(connection: &mut SqlConnection, group: &ResourceId) -> QueryResult<Vec<ResourceId>> {
    let ids: Vec<String> = members::table
        .filter(members::group_id.eq(group.as_str()))
        .select(members::member_id)
        .load(connection)?;
    Ok(ids.into_iter().map(ResourceId::from).collect())
}

fn present_with_bodies(connection: &mut SqlConnection, group: &ResourceId) -> QueryResult<Vec<(ResourceId, String)>> {
    let rows: Vec<(String, String)> = members::table
        .filter(members::group_id.eq(group.as_str()))
        .select((members::member_id, members::body))
        .load(connection)?;
    Ok(rows.into_iter().map(|(id, body)| (id.into(), body)).collect())
}

/// Gives members new bodies, as pairs of id and body.
fn relabel(connection: &mut SqlConnection, group: &ResourceId, renamed: &[(String, String)]) -> QueryResult<()> {
    const SQL: &str = "UPDATE members SET body = pair ->> 1 FROM json_array_elements($1::json) pair \
        WHERE group_id = $2 AND member_id = pair ->> 0";
    if renamed.is_empty() {
        return Ok(());
    }
    match connection {
        SqlConnection::Postgres(c) => diesel::sql_query(SQL)
            .bind::<Text, _>(serde_json::json!(renamed).to_string())
            .bind::<Text, _>(group.as_str())
            .execute(c)
            .map(|_| ()),
        // A statement for each costs a lookup; from a list, SQLite would search the list for each member of the group.
        SqlConnection::Sqlite(c) => renamed.iter().try_for_each(|(member, body)| {
            let row = members::table
                .filter(members::group_id.eq(group.as_str()))
                .filter(members::member_id.eq(member));
            diesel::update(row).set(members::body.eq(body)).execute(c).map(|_| ())
        }),
    }
}

fn join(
    connection: &mut SqlConnection,
    group: &ResourceId,
    joining: &[Member],
    granted_by: &str,
    delta: &mut MembershipDelta,
) -> QueryResult<()> {
    const POSTGRES: &str = "INSERT INTO members (group_id, granted_by, member_id, body) \
        SELECT $1, $2, listed.m->>0, listed.m->>1 FROM json_array_elements($3::json) WITH ORDINALITY AS listed (m, place) \
        ORDER BY listed.place ON CONFLICT DO NOTHING RETURNING member_id";
    const SQLITE: &str = "INSERT INTO members (group_id, granted_by, member_id, body) \
        SELECT $1, $2, value->>0, value->>1 FROM json_each($3) WHERE true ORDER BY key \
        ON CONFLICT DO NOTHING RETURNING member_id";
    if joining.is_empty() {
        return Ok(());
    }
    let list: serde_json::Value = joining
        .iter()
        .map(|member| serde_json::json!([member.id.as_str(), member.body]))
        .collect();
    let sql = if connection.is_postgres() { POSTGRES } else { SQLITE };
    let joined: Vec<JoinedRow> = each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(group.as_str())
        .bind::<Text, _>(granted_by)
        .bind::<Text, _>(list.to_string())
        .prepared()
        .get_results(c))?;
    delta
        .joined
        .extend(joined.into_iter().map(|row| ResourceId::from(row.member_id)));
    Ok(())
}

#[derive(QueryableByName)]
struct JoinedRow {
    #[diesel(sql_type = Text)]
    member_id: String,
}

fn leave(
    connection: &mut SqlConnection,
    group: &ResourceId,
    leaving: &[ResourceId],
    delta: &mut MembershipDelta,
    before: &mut HashMap<ResourceId, String>,
) -> QueryResult<()> {
    let left: Vec<MemberRow> = match leaving {
        [] => Vec::new(),
        // A single member is found by its key, whatever group size the planner estimates.
        [one] => diesel::delete(
            members::table
                .filter(members::group_id.eq(group.as_str()))
                .filter(members::member_id.eq(one.as_str())),
        )
        .returning((members::member_id, members::body))
        .get_results::<(String, String)>(connection)?
        .into_iter()
        .map(|(member_id, body)| MemberRow { member_id, body })
        .collect(),
        many => {
            const POSTGRES: &str = "DELETE FROM members m USING json_array_elements_text($1::json) AS listed (id) \
                WHERE m.group_id = $2 AND m.member_id = listed.id RETURNING m.member_id, m.body";
            const SQLITE: &str = "DELETE FROM members WHERE member_id IN (SELECT value FROM json_each($1)) AND group_id = $2 \
                RETURNING member_id, body";
            of_list(connection, (POSTGRES, SQLITE), group, many.iter())?
        }
    };
    for MemberRow { member_id, body } in left {
        let id = ResourceId::from(member_id);
        delta.left.push(id.clone());
        before.entry(id).or_insert(body);
    }
    Ok(())
}

/// Takes the lock under which the members of these groups change, on PostgreSQL; SQLite has one writer.
///
/// Journal records are read in the order of their transactions' numbers, and a transaction gets its number with its first
/// write or row lock. This lock is taken before that, so of two changes of one group's members the later one always has
/// the higher number.
pub(super) fn lock_members<'a>(
    connection: &mut SqlConnection,
    groups: impl Iterator<Item = &'a str>,
) -> QueryResult<()> {
    /// Sets these locks apart from others.
    const SQL: &str = "SELECT pg_advisory_xact_lock(key)::text AS locked FROM (SELECT DISTINCT hashtextextended(id, 7164) AS key \
        FROM json_array_elements_text($1::json) AS listed (id) ORDER BY key) AS keys";
    let SqlConnection::Postgres(connection) = connection else {
        return Ok(());
    };
    let groups: serde_json::Value = groups.collect();
    diesel::sql_query(SQL)
        .bind::<Text, _>(groups.to_string())
        .prepared()
        .load::<Locked>(connection)
        .map(|_| ())
}

/// A lock that was taken.
#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Text)]
    #[expect(dead_code, reason = "only that it came counts")]
    locked: String,
}

/// The locks of a transaction that deletes a resource.
pub(super) struct LockedForDeletion {
    /// The groups that held the resource.
    groups: Vec<ResourceId>,
    /// The version of the resource before the locks were taken, on PostgreSQL.
    version: Option<i64>,
}

impl LockedForDeletion {
    /// Checks that nothing happened to the resource while the transaction waited for its locks; otherwise it must begin
    /// again. It has its number from the first lock on, and a change that came between has a higher one: the journal
    /// would tell that change after the deletion.
    pub(super) fn check(&self, version: Version, left: &[ResourceId]) -> QueryResult<()> {
        let again = |text: &str| {
            let text = Box::new(text.to_owned());
            Err(Error::DatabaseError(DatabaseErrorKind::SerializationFailure, text))
        };
        if self.version.is_some_and(|seen| seen != version.0) {
            return again("it has changed meanwhile");
        }
        if left.iter().any(|group| !self.groups.contains(group)) {
            return again("it has joined a group meanwhile");
        }
        Ok(())
    }
}

/// Locks a resource together with the groups that hold it. Changes that lock several resources do so in the order of their
/// ids, so that none waits for another in a circle.
pub(super) fn lock_with_groups(connection: &mut SqlConnection, member: &ResourceId) -> QueryResult<LockedForDeletion> {
    const SQL: &str = "SELECT id AS locked FROM resources WHERE id = ANY (ARRAY (SELECT json_array_elements_text($1::json))) ORDER BY id FOR UPDATE";
    let mut groups: Vec<String> = members::table
        .filter(members::member_id.eq(member.as_str()))
        .select(members::group_id)
        .load(connection)?;
    groups.sort_unstable();
    let mut version = None;
    if connection.is_postgres() {
        // A group is locked for its own members, too, since they go with it.
        let all = || groups.iter().map(String::as_str).chain([member.as_str()]);
        lock_members(connection, all())?;
        let versions = resources::table.find(member.as_str()).select(resources::version);
        version = versions.load(connection)?.pop();
        if let SqlConnection::Postgres(connection) = connection {
            let list: serde_json::Value = all().collect();
            diesel::sql_query(SQL)
                .bind::<Text, _>(list.to_string())
                .prepared()
                .load::<Locked>(connection)?;
        }
    }
    Ok(LockedForDeletion {
        groups: groups.into_iter().map(ResourceId::from).collect(),
        version,
    })
}

/// Removes a resource from every group and returns those groups, in the order of their ids.
pub(super) fn leave_all(connection: &mut SqlConnection, member: &ResourceId) -> QueryResult<Vec<ResourceId>> {
    let mut groups: Vec<String> = diesel::delete(members::table.filter(members::member_id.eq(member.as_str())))
        .returning(members::group_id)
        .get_results(connection)?;
    groups.sort_unstable();
    Ok(groups.into_iter().map(ResourceId::from).collect())
}

/// Returns the ids of groups that hold a resource, at most `limit`, in order.
pub(super) fn some_groups(
    connection: &mut SqlConnection,
    member: &ResourceId,
    limit: usize,
) -> QueryResult<Vec<ResourceId>> {
    let mut groups: Vec<String> = members::table
        .filter(members::member_id.eq(member.as_str()))
        .select(members::group_id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(connection)?;
    groups.sort_unstable();
    Ok(groups.into_iter().map(ResourceId::from).collect())
}

/// Removes a resource from these groups and returns those that it was in, in the order of their ids.
pub(super) fn leave_these(
    connection: &mut SqlConnection,
    member: &ResourceId,
    groups: &[ResourceId],
) -> QueryResult<Vec<ResourceId>> {
    let these = any_of(members::group_id, groups.iter().map(ResourceId::as_str));
    let mut left: Vec<String> = diesel::delete(
        members::table
            .filter(members::member_id.eq(member.as_str()))
            .filter(these),
    )
    .returning(members::group_id)
    .get_results(connection)?;
    left.sort_unstable();
    Ok(left.into_iter().map(ResourceId::from).collect())
}
