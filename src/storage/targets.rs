//! Targets: their positions in the journal, and whether they are paused.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, each};
use super::tables::targets;
use crate::domain::TargetName;
use crate::domain::change::JournalPosition;

/// Creates the target's row if it has none. A new target starts at the beginning of the journal, so that it receives
/// every change that its service providers ever made.
pub(crate) fn ensure(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<()> {
    diesel::insert_into(targets::table)
        .values((
            targets::target.eq(target.as_str()),
            targets::cursor_tx.eq(0_i64),
            targets::cursor_seq.eq(0_i64),
        ))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)
        .map(|_| ())
}

/// Returns every target that was ever configured.
pub(crate) fn names(connection: &mut SqlConnection) -> QueryResult<Vec<TargetName>> {
    targets::table.select(targets::target).load(connection)
}

/// Returns the target's position in the journal.
pub fn cursor(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<JournalPosition> {
    targets::table
        .find(target.as_str())
        .select((targets::cursor_tx, targets::cursor_seq))
        .first(connection)
        .map(|(transaction, sequence)| JournalPosition { transaction, sequence })
}

/// Whether the journal holds records that the target has not read, including those that cannot be read yet because an
/// older transaction is still open ([`super::journal::after`]).
pub fn has_unread(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<bool> {
    let at = cursor(connection, target)?;
    let beyond = match connection {
        SqlConnection::Sqlite(_) => "? = 0 AND seq > ? ORDER BY seq",
        SqlConnection::Postgres(_) => "(tx, seq) > ($1, $2) ORDER BY tx, seq",
    };
    let rows: Vec<Unread> = each!(connection, c => diesel::sql_query(format!("SELECT seq FROM journal WHERE {beyond} LIMIT 1"))
        .bind::<BigInt, _>(at.transaction)
        .bind::<BigInt, _>(at.sequence)
        .prepared()
        .load(c))?;
    Ok(rows.iter().any(|row| row.seq > 0))
}

#[derive(QueryableByName)]
struct Unread {
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Like [`cursor`], and locks the position until the transaction ends.
pub(crate) fn lock_cursor(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<JournalPosition> {
    let place: Vec<(i64, i64)> = targets::table
        .filter(targets::target.eq(target.as_str()))
        .select((targets::cursor_tx, targets::cursor_seq))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?;
    let (transaction, sequence) = place.into_iter().next().ok_or(diesel::result::Error::NotFound)?;
    Ok(JournalPosition { transaction, sequence })
}

/// Stores the target's position in the journal.
pub(crate) fn move_cursor(connection: &mut SqlConnection, target: &TargetName, to: JournalPosition) -> QueryResult<()> {
    diesel::update(targets::table.find(target.as_str()))
        .set((
            targets::cursor_tx.eq(to.transaction),
            targets::cursor_seq.eq(to.sequence),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns the reason why the target is paused; `None` while it runs.
pub fn paused(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<Option<String>> {
    let reason: Option<Option<String>> = targets::table
        .find(target.as_str())
        .select(targets::paused)
        .first(connection)
        .optional()?;
    Ok(reason.flatten())
}

/// Pauses the target with a reason that an administrator can act on, or resumes it.
pub fn set_paused(connection: &mut SqlConnection, target: &TargetName, reason: Option<&str>) -> QueryResult<()> {
    diesel::update(targets::table.find(target.as_str()))
        .set(targets::paused.eq(reason))
        .execute(connection)
        .map(|_| ())
}
