//! Group members: one row each, so the cost of a step is independent of the group's size.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::domain::change::MembershipDelta;
use crate::domain::patch::MemberStep;
use crate::domain::{Kind, Member, Relations, Resource, ResourceId};
use crate::storage::SqlConnection;
use crate::storage::connection::any_of;
use crate::storage::tables::members;

/// Rows per statement; both databases limit the number of bound values.
const CHUNK: usize = 500;

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
                let mut unwanted = Vec::new();
                for (id, body) in present_with_bodies(connection, group)? {
                    match bodies.get(id.as_str()) {
                        None => unwanted.push(id),
                        Some(wanted) if *wanted != body => {
                            relabel(connection, group, &id, wanted)?;
                            before.entry(id).or_insert(body);
                        }
                        Some(_) => {}
                    }
                }
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
        let now: Vec<(String, String)> = members::table
            .filter(members::group_id.eq(group.as_str()))
            .filter(any_of(members::member_id, stayed.into_iter().map(ResourceId::as_str)))
            .select((members::member_id, members::body))
            .load(connection)?;
        let now = now.into_iter().map(|(id, body)| (ResourceId::from(id), body));
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

fn relabel(connection: &mut SqlConnection, group: &ResourceId, member: &ResourceId, body: &str) -> QueryResult<()> {
    let row = members::table
        .filter(members::group_id.eq(group.as_str()))
        .filter(members::member_id.eq(member.as_str()));
    diesel::update(row).set(members::body.eq(body)).execute(connection)?;
    Ok(())
}

fn join(
    connection: &mut SqlConnection,
    group: &ResourceId,
    joining: &[Member],
    granted_by: &str,
    delta: &mut MembershipDelta,
) -> QueryResult<()> {
    for chunk in joining.chunks(CHUNK) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|member| {
                (
                    members::group_id.eq(group.as_str()),
                    members::member_id.eq(member.id.as_str()),
                    members::body.eq(&member.body),
                    members::granted_by.eq(granted_by),
                )
            })
            .collect();
        let inserted: Vec<String> = match connection {
            SqlConnection::Sqlite(c) => {
                // Through this dialect SQLite has no RETURNING for a batch that skips conflicts, so insert one by one.
                let mut inserted = Vec::new();
                for (row, member) in rows.into_iter().zip(chunk) {
                    let done = diesel::insert_or_ignore_into(members::table).values(row).execute(c)?;
                    if done > 0 {
                        inserted.push(member.id.as_str().to_owned());
                    }
                }
                inserted
            }
            SqlConnection::Postgres(c) => diesel::insert_into(members::table)
                .values(rows)
                .on_conflict_do_nothing()
                .returning(members::member_id)
                .get_results(c)?,
        };
        delta.joined.extend(inserted.into_iter().map(ResourceId::from));
    }
    Ok(())
}

fn leave(
    connection: &mut SqlConnection,
    group: &ResourceId,
    leaving: &[ResourceId],
    delta: &mut MembershipDelta,
    before: &mut HashMap<ResourceId, String>,
) -> QueryResult<()> {
    let of_group = members::table.filter(members::group_id.eq(group.as_str()));
    let shown = (members::member_id, members::body);
    let left: Vec<(String, String)> = match leaving {
        // A single member is found by its key, whatever group size the planner estimates.
        [one] => diesel::delete(of_group.filter(members::member_id.eq(one.as_str())))
            .returning(shown)
            .get_results(connection)?,
        many => diesel::delete(of_group.filter(any_of(members::member_id, many.iter().map(ResourceId::as_str))))
            .returning(shown)
            .get_results(connection)?,
    };
    for (id, body) in left {
        let id = ResourceId::from(id);
        delta.left.push(id.clone());
        before.entry(id).or_insert(body);
    }
    Ok(())
}

/// Removes a resource from every group and returns those groups.
pub(super) fn leave_all(connection: &mut SqlConnection, member: &ResourceId) -> QueryResult<Vec<ResourceId>> {
    let groups: Vec<String> = diesel::delete(members::table.filter(members::member_id.eq(member.as_str())))
        .returning(members::group_id)
        .get_results(connection)?;
    Ok(groups.into_iter().map(ResourceId::from).collect())
}
