//! The journal: entries are appended in each change's own transaction and read in commit order.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::connection::{PreparedDsl, SqlConnection, each};
use crate::domain::change::{Action, JournalPosition, JournalRecord, MembershipDelta};
use crate::domain::{Attributes, JournalEntry, Kind, ResourceId, ServiceProviderName, StoreName, Timestamp, Version};

use super::security_events::EventFilter;
use super::tables::journal;

/// The facts that the store adds to a change when it writes the journal.
pub struct JournalSubject<'a> {
    /// The store.
    pub store: &'a StoreName,
    /// The resource's type.
    pub kind: &'a Kind,
    /// The resource.
    pub id: &'a ResourceId,
    /// The version after the change.
    pub version: Version,
    /// The members that joined or left.
    pub members: &'a MembershipDelta,
}

/// A journal entry in the form in which it is stored.
#[derive(Clone)]
pub struct StoredJournalEntry {
    at: Timestamp,
    actor: String,
    service_provider: ServiceProviderName,
    action: Action,
    diff: String,
}

impl From<JournalEntry> for StoredJournalEntry {
    fn from(entry: JournalEntry) -> Self {
        Self {
            at: entry.at,
            actor: entry.actor,
            service_provider: entry.service_provider,
            action: entry.action,
            diff: serde_json::to_string(&entry.diff).expect("a JSON object always serialises"),
        }
    }
}

impl StoredJournalEntry {
    /// The actor who made the change.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// On whose behalf the change was made.
    pub fn service_provider(&self) -> &ServiceProviderName {
        &self.service_provider
    }

    /// Returns the entry for another resource that this change affected only in its members.
    pub(crate) fn of_members(&self) -> Self {
        Self {
            action: Action::Update,
            diff: "{}".to_owned(),
            ..self.clone()
        }
    }
}

/// Appends one entry, in the change's transaction.
pub fn append(
    connection: &mut SqlConnection,
    entry: &StoredJournalEntry,
    subject: &JournalSubject<'_>,
) -> QueryResult<()> {
    let members = (!subject.members.is_empty())
        .then(|| serde_json::to_string(subject.members).expect("a delta always serialises"));
    diesel::insert_into(journal::table)
        .values((
            journal::at.eq(entry.at.0),
            journal::store.eq(subject.store.as_str()),
            journal::kind.eq(subject.kind.as_str()),
            journal::resource_id.eq(subject.id.as_str()),
            journal::version.eq(subject.version.0),
            journal::actor.eq(&entry.actor),
            journal::service_provider.eq(entry.service_provider.as_str()),
            journal::action.eq(entry.action.as_str()),
            journal::diff.eq(&entry.diff),
            journal::members.eq(members),
        ))
        .execute(connection)
        .map(|_| ())
}

#[derive(Queryable, QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = BigInt)]
    tx: i64,
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = Text)]
    store: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    resource_id: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    service_provider: String,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    diff: String,
    #[diesel(sql_type = Nullable<Text>)]
    members: Option<String>,
}

/// Returns the next records after `position`, oldest first. On PostgreSQL, only those of transactions older than every
/// open one, so that no older record can appear after a reader has passed.
pub fn after(connection: &mut SqlConnection, position: JournalPosition, limit: i64) -> QueryResult<Vec<JournalRecord>> {
    const COLUMNS: &str = "SELECT seq, tx, at, store, kind, resource_id, version, actor, service_provider, action, diff, members FROM journal";
    let sql = match connection {
        SqlConnection::Sqlite(_) => format!("{COLUMNS} WHERE ? = 0 AND seq > ? ORDER BY seq LIMIT ?"),
        SqlConnection::Postgres(_) => format!(
            "{COLUMNS} WHERE (tx, seq) > ($1, $2) AND tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY tx, seq LIMIT $3"
        ),
    };
    let rows: Vec<Row> = each!(connection, c => diesel::sql_query(sql)
        .bind::<BigInt, _>(position.transaction)
        .bind::<BigInt, _>(position.sequence)
        .bind::<BigInt, _>(limit)
        .prepared()
        .load(c))?;
    Ok(rows.into_iter().map(record).collect())
}

/// Returns the changes of a resource since a time, newest first, at most `limit` records: path → new value.
pub fn diffs_since(
    connection: &mut SqlConnection,
    id: &ResourceId,
    since: Timestamp,
    limit: i64,
) -> QueryResult<Vec<Attributes>> {
    let texts: Vec<String> = journal::table
        .filter(journal::resource_id.eq(id.as_str()))
        .filter(journal::at.ge(since.0))
        .order(journal::seq.desc())
        .limit(limit)
        .select(journal::diff)
        .load(connection)?;
    Ok(texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap_or_default())
        .collect())
}

/// Returns at most `limit` records that fit a filter, the newest first. What only security events have does not
/// count.
pub fn newest(connection: &mut SqlConnection, filter: &EventFilter, limit: i64) -> QueryResult<Vec<JournalRecord>> {
    let mut query = journal::table.into_boxed();
    if let Some(user) = &filter.user {
        query = query.filter(journal::resource_id.eq(user.as_str()));
    }
    if let Some(application) = &filter.service_provider {
        query = query.filter(journal::service_provider.eq(application.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(journal::at.ge(since.0));
    }
    let rows: Vec<Row> = query.order(journal::seq.desc()).limit(limit).load(connection)?;
    Ok(rows.into_iter().map(record).collect())
}

fn record(row: Row) -> JournalRecord {
    JournalRecord {
        position: JournalPosition {
            transaction: row.tx,
            sequence: row.seq,
        },
        at: Timestamp(row.at),
        store: row.store.into(),
        kind: row.kind.into(),
        id: row.resource_id.into(),
        version: Version(row.version),
        actor: row.actor,
        service_provider: row.service_provider.into(),
        action: match row.action.as_str() {
            "create" => Action::Create,
            "delete" => Action::Delete,
            _ => Action::Update,
        },
        diff: serde_json::from_str(&row.diff).unwrap_or_default(),
        members: row
            .members
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    }
}
