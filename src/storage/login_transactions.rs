//! Login transactions: the sealed state of a login, stored under the hash of a random handle.

use diesel::prelude::*;

use super::connection::{SqlConnection, any_of};
use super::tables::login_transactions;
use crate::domain::Timestamp;

/// A stored transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginTransaction {
    /// The revision, counted from 1. Each step names the revision that it read, so that none happens twice.
    pub revision: i64,
    /// The state of the login, sealed.
    pub sealed: Vec<u8>,
}

/// Starts a transaction.
pub fn insert(
    connection: &mut SqlConnection,
    handle_hash: &str,
    sealed: &[u8],
    now: Timestamp,
    expires: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(login_transactions::table)
        .values((
            login_transactions::handle_hash.eq(handle_hash),
            login_transactions::created.eq(now.0),
            login_transactions::expires.eq(expires.0),
            login_transactions::revision.eq(1),
            login_transactions::sealed.eq(sealed),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns the transaction of a handle, unless it has expired.
pub fn find(
    connection: &mut SqlConnection,
    handle_hash: &str,
    now: Timestamp,
) -> QueryResult<Option<LoginTransaction>> {
    login_transactions::table
        .find(handle_hash)
        .filter(login_transactions::expires.gt(now.0))
        .select((login_transactions::revision, login_transactions::sealed))
        .first::<(i64, Vec<u8>)>(connection)
        .optional()
        .map(|row| row.map(|(revision, sealed)| LoginTransaction { revision, sealed }))
}

/// Stores the state after a step and increases the revision. `false`, without a change, if another step came first.
pub fn advance(connection: &mut SqlConnection, handle_hash: &str, seen: i64, sealed: &[u8]) -> QueryResult<bool> {
    diesel::update(
        login_transactions::table
            .find(handle_hash)
            .filter(login_transactions::revision.eq(seen)),
    )
    .set((
        login_transactions::revision.eq(seen + 1),
        login_transactions::sealed.eq(sealed),
    ))
    .execute(connection)
    .map(|rows| rows == 1)
}

/// Deletes the transaction with its last step. `false` if another step came first.
pub fn finish(connection: &mut SqlConnection, handle_hash: &str, seen: i64) -> QueryResult<bool> {
    diesel::delete(
        login_transactions::table
            .find(handle_hash)
            .filter(login_transactions::revision.eq(seen)),
    )
    .execute(connection)
    .map(|rows| rows == 1)
}

/// Deletes all of them.
pub(crate) fn delete_all(connection: &mut SqlConnection) -> QueryResult<()> {
    diesel::delete(login_transactions::table)
        .execute(connection)
        .map(|_| ())
}

/// Deletes at most `limit` of the transactions that expired by `now`; returns their number.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = login_transactions::table
        .filter(login_transactions::expires.le(now.0))
        .select(login_transactions::handle_hash)
        .limit(limit)
        .load(connection)?;
    diesel::delete(
        login_transactions::table.filter(any_of(login_transactions::handle_hash, next.iter().map(String::as_str))),
    )
    .execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Database, DatabaseUrl, StorageError, migrate};

    fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        let database = Database::open(&url).unwrap();
        migrate::run(&database).unwrap();
        (folder, database)
    }

    fn write<T: Send + 'static>(
        database: &Database,
        work: impl Fn(&mut SqlConnection) -> QueryResult<T> + Send + 'static,
    ) -> T {
        database
            .write(move |connection| work(connection).map_err(StorageError::from))
            .unwrap()
    }

    fn look(database: &Database, now: i64) -> Option<LoginTransaction> {
        database
            .read::<_, StorageError>(|connection| find(connection, "h", Timestamp(now)))
            .unwrap()
    }

    #[test]
    fn a_step_happens_once() {
        let (_folder, database) = database();
        write(&database, |connection| {
            insert(connection, "h", b"one", Timestamp(0), Timestamp(10))
        });
        assert!(write(&database, |connection| advance(connection, "h", 1, b"two")));
        assert!(!write(&database, |connection| advance(connection, "h", 1, b"three")));
        assert_eq!(
            look(&database, 5),
            Some(LoginTransaction {
                revision: 2,
                sealed: b"two".to_vec()
            })
        );
        assert!(!write(&database, |connection| finish(connection, "h", 1)));
        assert!(write(&database, |connection| finish(connection, "h", 2)));
        assert_eq!(look(&database, 5), None);
    }

    #[test]
    fn an_expired_transaction_is_not_found_and_is_deleted() {
        let (_folder, database) = database();
        write(&database, |connection| {
            insert(connection, "h", b"one", Timestamp(0), Timestamp(10))
        });
        assert_eq!(look(&database, 10), None);
        write(&database, |connection| {
            insert(connection, "other", b"x", Timestamp(10), Timestamp(20))
        });
        assert_eq!(
            write(&database, |connection| delete_expired(connection, Timestamp(10), 100)),
            1
        );
        assert_eq!(look(&database, 5), None);
        assert_eq!(
            write(&database, |connection| delete_expired(connection, Timestamp(20), 100)),
            1
        );
    }
}
