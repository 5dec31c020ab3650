//! Journal records that could not be recorded for a target and were set aside.

use diesel::prelude::*;

use super::connection::SqlConnection;
use super::tables::parked_records;
use crate::domain::change::JournalPosition;
use crate::domain::{TargetName, Timestamp};

/// Sets a record aside, with the cause.
pub(crate) fn insert(
    connection: &mut SqlConnection,
    target: &TargetName,
    record: JournalPosition,
    cause: &str,
    at: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(parked_records::table)
        .values((
            parked_records::target.eq(target.as_str()),
            parked_records::tx.eq(record.transaction),
            parked_records::seq.eq(record.sequence),
            parked_records::cause.eq(cause.replace('\0', "")),
            parked_records::at.eq(at.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns how many records are set aside for a target.
pub fn count(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<i64> {
    parked_records::table
        .filter(parked_records::target.eq(target.as_str()))
        .count()
        .get_result(connection)
}
