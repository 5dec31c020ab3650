//! One connection type for both databases, and extensions for what diesel's common dialect lacks.
//!
//! `#[derive(MultiConnection)]` lets each query be written once. Where SQLite and PostgreSQL differ, there are two
//! ways: [`each!`] runs a statement on the inner connection (batch inserts, `ON CONFLICT`), [`Suffix`] appends a tail
//! that depends on the database (`FOR UPDATE SKIP LOCKED`). [`any_of`] compares with a list; [`Prepared`] is prepared
//! once.

#![expect(missing_docs, reason = "the derive writes undocumented public items")]

use diesel::backend::Backend;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Text};
use diesel::{Connection, QueryResult};

/// A connection to SQLite or PostgreSQL.
#[derive(diesel::MultiConnection)]
pub enum SqlConnection {
    /// PostgreSQL.
    Postgres(diesel::PgConnection),
    /// SQLite.
    Sqlite(diesel::SqliteConnection),
}

/// Runs one expression on the inner connection of either kind.
#[macro_export]
macro_rules! each {
    ($connection:expr, $inner:ident => $run:expr) => {
        match $connection {
            $crate::storage::SqlConnection::Postgres($inner) => $run,
            $crate::storage::SqlConnection::Sqlite($inner) => $run,
        }
    };
}
pub use each;

/// Rolls back on drop unless the transaction was committed, on an early return as well as on a panic.
struct RollbackGuard<'a>(&'a mut SqlConnection, bool);

impl Drop for RollbackGuard<'_> {
    fn drop(&mut self) {
        if !self.1 {
            let _ = each!(&mut *self.0, c => AnsiTransactionManager::rollback_transaction(c));
        }
    }
}

/// The end of a transaction.
pub(super) enum TransactionEnd<T, E> {
    /// The database has committed it.
    Committed(T),
    /// The work failed; nothing was written.
    Failed(E),
    /// The work succeeded with this value, and COMMIT failed.
    CommitFailed(T, diesel::result::Error),
}

impl SqlConnection {
    /// Runs `work` in a transaction that may write. On SQLite it takes the write lock first (`BEGIN IMMEDIATE`): a
    /// transaction that reads, then writes, would fail at once if another commit came between.
    pub(crate) fn write_transaction<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?,
            Self::Postgres(c) => AnsiTransactionManager::begin_transaction(c)?,
        }
        self.finish(work)
    }

    /// Whether this is a connection to PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Runs several reads on one state of the database, whatever is committed meanwhile.
    pub(crate) fn snapshot<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, diesel::result::Error>,
    ) -> Result<T, diesel::result::Error> {
        match self {
            Self::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN")?,
            Self::Postgres(c) => {
                AnsiTransactionManager::begin_transaction_sql(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            }
        }
        self.finish(work)
    }

    /// Like [`SqlConnection::write_transaction`] on PostgreSQL, and tells a failed COMMIT, whose outcome may be unknown,
    /// from failed work, which was rolled back.
    pub(super) fn transaction_in_steps<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> TransactionEnd<T, E> {
        if let Err(error) = each!(&mut *self, c => AnsiTransactionManager::begin_transaction(c)) {
            return TransactionEnd::Failed(error.into());
        }
        let mut unfinished = RollbackGuard(self, false);
        let value = match work(unfinished.0) {
            Ok(value) => value,
            Err(error) => return TransactionEnd::Failed(error),
        };
        match each!(&mut *unfinished.0, c => AnsiTransactionManager::commit_transaction(c)) {
            Ok(()) => {
                unfinished.1 = true;
                TransactionEnd::Committed(value)
            }
            Err(error) => TransactionEnd::CommitFailed(value, error),
        }
    }

    /// Runs `work` in a savepoint of the open transaction: if it fails or panics, only its own writes are undone.
    pub(crate) fn savepoint<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        each!(&mut *self, c => AnsiTransactionManager::begin_transaction(c))?;
        self.finish(work)
    }

    fn finish<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut unfinished = RollbackGuard(self, false);
        let value = work(unfinished.0)?;
        each!(&mut *unfinished.0, c => AnsiTransactionManager::commit_transaction(c))?;
        unfinished.1 = true;
        Ok(value)
    }
}

/// A statement with a database-specific tail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suffix<Q> {
    query: Q,
    postgres: &'static str,
    sqlite: &'static str,
}

/// Adds [`Suffix`] to every statement.
pub(crate) trait SuffixDsl: Sized {
    /// Appends `tail` on both databases.
    fn suffix(self, tail: &'static str) -> Suffix<Self> {
        Suffix {
            query: self,
            postgres: tail,
            sqlite: tail,
        }
    }

    /// Appends `tail` only on PostgreSQL.
    fn suffix_postgres(self, tail: &'static str) -> Suffix<Self> {
        Suffix {
            query: self,
            postgres: tail,
            sqlite: "",
        }
    }
}

impl<Q> SuffixDsl for Q {}

impl<Q: QueryFragment<MultiBackend>> QueryFragment<MultiBackend> for Suffix<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        let tail = match out.backend() {
            MultiBackend::Postgres(_) => self.postgres,
            MultiBackend::Sqlite(_) => self.sqlite,
        };
        out.push_sql(tail);
        Ok(())
    }
}

impl<Q> QueryId for Suffix<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Suffix<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> diesel::RunQueryDsl<SqlConnection> for Suffix<Q> {}

/// A statement that is prepared once per connection and text. By default diesel prepares updates and SQL texts each
/// time, since their number may be unbounded. It respects this type only where rows are loaded, so an update uses
/// `RETURNING`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared<Q>(Q);

/// Adds [`Prepared`] to every statement.
pub(crate) trait PreparedDsl: Sized {
    /// Prepares the statement once. Its text must not depend on values.
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

impl<Q> PreparedDsl for Q {}

impl<B: Backend, Q: QueryFragment<B>> QueryFragment<B> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, B>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &B) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, C: Connection> diesel::RunQueryDsl<C> for Prepared<Q> {}

/// A text column that equals one of a list. The list is one bound value, so the statement is prepared once for lists of
/// every length, and no database limits that.
#[derive(Debug, Clone)]
pub(crate) struct AnyOf<C> {
    column: C,
    list: String,
}

/// Whether `column` is one of `texts`.
pub(crate) fn any_of<'a, C>(column: C, texts: impl IntoIterator<Item = &'a str>) -> AnyOf<C> {
    let texts: serde_json::Value = texts.into_iter().collect();
    AnyOf {
        column,
        list: texts.to_string(),
    }
}

impl<C: QueryFragment<MultiBackend>> QueryFragment<MultiBackend> for AnyOf<C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        let (begin, end) = match out.backend() {
            MultiBackend::Postgres(_) => (" = ANY (ARRAY (SELECT json_array_elements_text(", "::json)))"),
            MultiBackend::Sqlite(_) => (" IN (SELECT value FROM json_each(", "))"),
        };
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(begin);
        out.push_bind_param::<Text, _>(&self.list)?;
        out.push_sql(end);
        Ok(())
    }
}

impl<C: QueryId> QueryId for AnyOf<C> {
    type QueryId = AnyOf<C::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = C::HAS_STATIC_QUERY_ID;
}

impl<C> Expression for AnyOf<C> {
    type SqlType = Bool;
}

impl<C> ValidGrouping<()> for AnyOf<C> {
    type IsAggregate = is_aggregate::No;
}

impl<C: AppearsOnTable<T>, T> AppearsOnTable<T> for AnyOf<C> {}
impl<C: SelectableExpression<T>, T> SelectableExpression<T> for AnyOf<C> {}
