//! The database row of a resource.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Nullable, Text};

use crate::domain::provenance::Provenance;
use crate::domain::{Document, Membership, Resource, Timestamp, Version};
use crate::storage::connection::MultiBackend;
use crate::storage::tables::resources;

/// The columns read from a resource's row.
#[derive(Queryable, Selectable)]
#[diesel(table_name = resources)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) store: String,
    pub(super) kind: String,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) version: i64,
    pub(super) writers: String,
    pub(super) document: String,
    #[diesel(select_expression = GroupsColumn, select_expression_type = GroupsColumn)]
    groups: Option<String>,
}

impl Row {
    /// Converts the row into a resource, with its groups and without members.
    pub(super) fn into_resource(self) -> Resource {
        Resource {
            store: self.store.into(),
            kind: self.kind.into(),
            id: self.id.into(),
            version: Version(self.version),
            created: Timestamp(self.created),
            modified: Timestamp(self.modified),
            document: Document::from_text(self.document),
            writers: Provenance::from_text(self.writers),
            members: Vec::new(),
            groups: self.groups.map_or_else(Vec::new, |list| memberships(&list)),
        }
    }
}

/// The groups of a user as a column of the row: `[["id","displayName","direct"],…]`, or NULL. One statement thus reads
/// users with their groups, and a user without groups costs one index lookup.
///
/// A member of a nested group is an indirect member of the outer group. Groups in other stores do not count. Cycles end
/// because `UNION` takes no group twice. Scalar subqueries in place of joins and `EXISTS` force the databases to start
/// at the user and go up.
#[derive(Clone, Copy, QueryId)]
pub(super) struct GroupsColumn;

impl QueryFragment<MultiBackend> for GroupsColumn {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        let (list, element, end) = match out.backend() {
            MultiBackend::Postgres(_) => ("json_agg(", "json_build_array(", ")::text"),
            MultiBackend::Sqlite(_) => ("json_group_array(", "json_array(", ")"),
        };
        out.push_sql(
            "CASE WHEN resources.kind <> 'Group' AND (SELECT m.group_id FROM members m WHERE m.member_id = resources.id LIMIT 1) IS NOT NULL \
            THEN (WITH RECURSIVE above (id) AS (\
            SELECT m.group_id FROM members m WHERE m.member_id = resources.id \
            AND (SELECT g.store FROM resources g WHERE g.id = m.group_id) = resources.store \
            UNION SELECT m.group_id FROM above JOIN members m ON m.member_id = above.id \
            WHERE (SELECT g.store FROM resources g WHERE g.id = m.group_id) = resources.store) \
            SELECT ",
        );
        out.push_sql(list);
        out.push_sql(element);
        out.push_sql(
            "above.id, (SELECT g.name FROM resources g WHERE g.id = above.id), \
            CASE WHEN (SELECT d.seq FROM members d WHERE d.group_id = above.id AND d.member_id = resources.id) IS NULL \
            THEN 'indirect' ELSE 'direct' END)",
        );
        out.push_sql(end);
        out.push_sql(" FROM above) END");
        Ok(())
    }
}

impl Expression for GroupsColumn {
    type SqlType = Nullable<Text>;
}

impl ValidGrouping<()> for GroupsColumn {
    type IsAggregate = is_aggregate::No;
}

impl AppearsOnTable<resources::table> for GroupsColumn {}
impl SelectableExpression<resources::table> for GroupsColumn {}

fn memberships(list: &str) -> Vec<Membership> {
    let mut groups: Vec<(String, String, String)> = serde_json::from_str(list).unwrap_or_default();
    groups.sort();
    let membership = |(id, display, way): (String, String, String)| Membership {
        id: id.into(),
        display,
        direct: way == "direct",
    };
    groups.into_iter().map(membership).collect()
}
