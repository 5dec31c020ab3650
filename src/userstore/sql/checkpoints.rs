//! Page checkpoints: ids at fixed intervals, so that a deep page starts without a full scan.
//!
//! Ids ascend in the order of creation, so the ids at every n-th position stay valid until a resource is removed, or
//! created with an earlier id. The database counts both (`resource_counts`); where the counts do not match, the
//! checkpoints are computed again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::domain::{Kind, StoreName};
use crate::storage::SqlConnection;
use crate::storage::connection::{PreparedDsl, each};
use crate::storage::tables::{resource_counts, resources};

/// The number of positions between two checkpoints.
const STRIDE: usize = 1000;

/// The number of resources of a type in a store, and the number removed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ResourceCounts {
    pub(super) total: usize,
    removed: usize,
}

impl ResourceCounts {
    /// Reads the counts, which are consistent with each other.
    pub(super) fn read(connection: &mut SqlConnection, store: &str, kind: &str) -> QueryResult<Self> {
        let stripes: Vec<(i64, i64)> = resource_counts::table
            .filter(resource_counts::store.eq(store))
            .filter(resource_counts::kind.eq(kind))
            .select((resource_counts::amount, resource_counts::removed))
            .load(connection)?;
        Ok(Self {
            total: counted(stripes.iter().map(|stripe| stripe.0).sum()),
            removed: counted(stripes.iter().map(|stripe| stripe.1).sum()),
        })
    }
}

/// The checkpoints that this process has for one store.
#[derive(Debug)]
pub(super) struct PageCheckpoints {
    stride: usize,
    types: Mutex<HashMap<Kind, CheckpointState>>,
}

#[derive(Debug, Default)]
struct CheckpointState {
    known: Option<Arc<Checkpoints>>,
    /// The number of positions scanned since then for lack of checkpoints.
    walked: usize,
    /// Whether another thread is computing the checkpoints.
    busy: bool,
}

/// The checkpoints of one type.
#[derive(Clone, Debug, Default)]
struct Checkpoints {
    /// The counts for which the checkpoints were last valid.
    counts: ResourceCounts,
    /// The ids at the positions `stride`, 2 × `stride`, and so on, counted from 1.
    ids: Vec<String>,
}

impl PageCheckpoints {
    pub(super) fn new() -> Self {
        Self::every(STRIDE)
    }

    fn every(stride: usize) -> Self {
        Self {
            stride,
            types: Mutex::default(),
        }
    }

    /// Returns the last checkpoint before a position (counted from 0) and the number of positions between. `None` if
    /// there is none or none is known; the caller then scans.
    pub(super) fn before(
        &self,
        connection: &mut SqlConnection,
        (store, kind): (&StoreName, &Kind),
        place: usize,
    ) -> QueryResult<Option<(String, usize)>> {
        if place < self.stride {
            return Ok(None);
        }
        let counts = ResourceCounts::read(connection, store.as_str(), kind.as_str())?;
        let Some(known) = self.holding(connection, (store, kind), (counts, place))? else {
            return Ok(None);
        };
        let passed = (place / self.stride).min(known.ids.len());
        let checkpoint = passed.checked_sub(1).map(|at| known.ids[at].clone());
        Ok(checkpoint.map(|id| (id, place - passed * self.stride)))
    }

    /// Returns the checkpoints if they are valid now. They are computed again only once scans have cost as much, so the
    /// total cost is at most twice that of scanning, however many removals there are.
    fn holding(
        &self,
        connection: &mut SqlConnection,
        of: (&StoreName, &Kind),
        (counts, place): (ResourceCounts, usize),
    ) -> QueryResult<Option<Arc<Checkpoints>>> {
        let lock = || self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = {
            let mut types = lock();
            let state = types.entry(of.1.clone()).or_default();
            let ids = match &state.known {
                Some(known) if known.counts == counts => return Ok(Some(Arc::clone(known))),
                Some(known) if known.counts.removed == counts.removed => known.ids.clone(),
                _ => {
                    state.walked += place;
                    if state.walked < counts.total {
                        return Ok(None);
                    }
                    Vec::new()
                }
            };
            if std::mem::replace(&mut state.busy, true) {
                return Ok(None);
            }
            ids
        };
        let found = self.extend(connection, of, (counts, ids));
        let known = found.as_ref().ok().and_then(Option::clone);
        lock().insert(
            of.1.clone(),
            CheckpointState {
                known,
                walked: 0,
                busy: false,
            },
        );
        found
    }

    /// Extends the checkpoints up to the counted total. `None` if the counts no longer match afterwards.
    fn extend(
        &self,
        connection: &mut SqlConnection,
        of: (&StoreName, &Kind),
        (counts, mut ids): (ResourceCounts, Vec<String>),
    ) -> QueryResult<Option<Arc<Checkpoints>>> {
        let stride = i64::try_from(self.stride).unwrap_or(i64::MAX);
        // A checkpoint with nothing behind it would be useless.
        while (ids.len() + 1) * self.stride < counts.total {
            let next = resources::table
                .filter(resources::store.eq(of.0.as_str()))
                .filter(resources::kind.eq(of.1.as_str()))
                .filter(resources::id.gt(ids.last().map_or("", String::as_str)))
                .order(resources::id.asc())
                .offset(stride - 1)
                .limit(1)
                .select(resources::id)
                .get_result::<String>(connection)
                .optional()?;
            match next {
                Some(id) => ids.push(id),
                None => break,
            }
        }
        let now = CountSnapshot::read(connection, of, ids.last())?;
        let fits = now.counts().removed == counts.removed
            && now.counts().total == ids.len() * self.stride + counted(now.behind);
        let counts = now.counts();
        Ok(fits.then(|| Arc::new(Checkpoints { counts, ids })))
    }
}

/// The number of rows behind a checkpoint and the counts, from one snapshot.
#[derive(QueryableByName)]
struct CountSnapshot {
    #[diesel(sql_type = BigInt)]
    behind: i64,
    #[diesel(sql_type = BigInt)]
    total: i64,
    #[diesel(sql_type = BigInt)]
    removed: i64,
}

impl CountSnapshot {
    fn read(
        connection: &mut SqlConnection,
        (store, kind): (&StoreName, &Kind),
        checkpoint: Option<&String>,
    ) -> QueryResult<Self> {
        const SQL: &str = "SELECT (SELECT COUNT(*) FROM resources WHERE store = $1 AND kind = $2 AND id > $3) AS behind, \
            CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total, CAST(COALESCE(SUM(removed), 0) AS BIGINT) AS removed \
            FROM resource_counts WHERE store = $1 AND kind = $2";
        each!(connection, c => diesel::sql_query(SQL)
            .bind::<Text, _>(store.as_str())
            .bind::<Text, _>(kind.as_str())
            .bind::<Text, _>(checkpoint.map_or("", String::as_str))
            .prepared()
            .get_result(c))
    }

    fn counts(&self) -> ResourceCounts {
        ResourceCounts {
            total: counted(self.total),
            removed: counted(self.removed),
        }
    }
}

/// Converts a row count from the database.
pub(super) fn counted(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Database, StorageError, migrate, random, test_database};

    const STORE: StoreName = StoreName::PRIMARY;

    fn make(connection: &mut SqlConnection, id: &str) {
        diesel::insert_into(resources::table)
            .values((
                resources::id.eq(id),
                resources::store.eq(STORE.as_str()),
                resources::kind.eq(Kind::USER.as_str()),
                resources::name.eq(id),
                resources::key.eq(id),
                resources::active.eq(true),
                resources::created.eq(0),
                resources::modified.eq(0),
                resources::version.eq(1),
                resources::writers.eq("{}"),
                resources::document.eq("{}"),
            ))
            .execute(connection)
            .unwrap();
    }

    #[test]
    fn checkpoints_stay_correct_through_changes() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&test_database::url(&folder)).unwrap();
        migrate::run(&database).unwrap();
        let (checkpoints, mut ids, mut next) = (PageCheckpoints::every(7), Vec::<String>::new(), 100_000);
        let read = |connection: &mut SqlConnection| {
            let mut found = 0;
            for _ in 0..300 {
                let [dice, at, ..] = random::bytes::<2>();
                let at = usize::from(at) * ids.len() / 256;
                match dice {
                    // Created in order or out of order; removed at the end or anywhere.
                    0..150 => {
                        next += 10;
                        ids.push(next.to_string());
                        make(connection, ids.last().unwrap());
                    }
                    150..180 => {
                        let late = format!("{}x{at}", ids.get(at).map_or("0", String::as_str));
                        if !ids.contains(&late) {
                            make(connection, &late);
                            ids.push(late);
                            ids.sort();
                        }
                    }
                    180..210 if !ids.is_empty() => {
                        let id = ids.remove(if dice < 195 { ids.len() - 1 } else { at });
                        diesel::delete(resources::table.find(id)).execute(connection).unwrap();
                    }
                    _ => {}
                }
                let place = checkpoints.before(connection, (&STORE, &Kind::USER), at).unwrap();
                let Some((id, between)) = place else { continue };
                found += 1;
                let known = ids.iter().position(|known| *known == id).unwrap();
                assert_eq!(
                    (known + 1 + between, between <= 7),
                    (at, true),
                    "place {at} of {}",
                    ids.len()
                );
            }
            assert!(found > 30, "{found} places were found");
            Ok(())
        };
        database.read::<_, StorageError>(read).unwrap();
    }
}
