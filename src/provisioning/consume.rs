//! Reads the journal and records which resources each target must get.
//!
//! The rows and the journal position are written in one transaction, so that no change is lost or applied twice if the
//! process dies. A transaction writes a bounded number of rows: a record about more members is applied in several, the
//! last of which moves the position. Each checks that no other process has moved it, and writes only what another try
//! would write again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::directory::DirectoryError;
use crate::domain::change::{JournalPosition, JournalRecord};
use crate::domain::{Kind, ResourceId, ServiceProviderName, TargetName, Timestamp};
use crate::storage::outbound::{self, OutboundState};
use crate::storage::outbound_members::{self, GroupSelection, UnknownMembers};
use crate::storage::{SqlConnection, StorageError, journal, parked_records, targets};

use super::batch_writes::{BatchWrites, Told};
use super::target_context::TargetContext;

/// The number of records that one step reads.
const STEP: i64 = 500;
/// The most rows that one transaction writes.
const ROWS: usize = 500;
/// The number of idle rounds between two searches for waiting groups that were not woken.
const SWEEP: u32 = 20;

/// How long a woken reader waits for more records, so that changes that come together are written together.
const LINGER: Duration = Duration::from_millis(10);

/// The reason why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConsumeError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads the journal until the engine stops.
pub(super) fn consume(context: &TargetContext) {
    let mut idle = 0;
    while !context.is_stopping() {
        let heard = context.news.notifications();
        match step(context) {
            Ok(0) => {
                idle += 1;
                if idle % SWEEP == 0 {
                    sweep(context);
                }
                context.news.wait(heard, context.pace.poll);
                std::thread::sleep(LINGER);
            }
            Ok(_) => context.jobs.notify(),
            Err(error) => {
                log::warn!("target {}: cannot read the journal: {error}", context.target());
                context.news.wait(heard, context.pace.poll);
            }
        }
    }
}

/// Wakes groups whose new member is known by now, which two concurrent transactions can both miss.
fn sweep(context: &TargetContext) {
    let (target, now) = (context.target().clone(), context.clock.now());
    let woken = context.database.write(move |connection| {
        Ok::<_, StorageError>(outbound_members::wake_groups(
            connection,
            &target,
            &GroupSelection::All,
            now,
        )?)
    });
    match woken {
        Ok(0) => {}
        Ok(_) => context.jobs.notify(),
        Err(error) => log::warn!("target {}: cannot search for waiting groups: {error}", context.target()),
    }
}

/// Processes the next records. Returns how many it read; 0 at the end of the journal.
pub(super) fn step(context: &TargetContext) -> Result<usize, ConsumeError> {
    let target = context.target();
    let (position, records) = context.database.read::<_, StorageError>(|connection| {
        let position = targets::cursor(connection, target)?;
        Ok((position, journal::after(connection, position, STEP)?))
    })?;
    let read = records.len();
    let mut reader = Reader {
        context,
        position,
        now: context.clock.now(),
        checked: HashSet::new(),
        rejected: None,
    };
    let mut records: VecDeque<_> = records
        .into_iter()
        .map(|record| {
            let listens = listens(context, &record);
            Told::new(record, listens)
        })
        .collect();
    while !records.is_empty() && !context.is_stopping() {
        if !reader.apply_next(&mut records)? {
            // Another process has read on meanwhile.
            break;
        }
    }
    Ok(read)
}

/// Returns whether the service provider that made the change lists the target, and for a login, whether it has `jit`
/// set.
fn listens(context: &TargetContext, record: &JournalRecord) -> bool {
    let is_login = record.actor.starts_with("idp:");
    context
        .rules
        .iter()
        .any(|rule| rule.service_provider == record.service_provider && (rule.jit || !is_login))
}

/// Applies records from a position on.
struct Reader<'a> {
    context: &'a TargetContext,
    position: JournalPosition,
    now: Timestamp,
    /// The groups that are known, or will be with the records before, and of whose members none is unknown.
    checked: HashSet<ResourceId>,
    /// The last error of the database for the record that is applied in parts.
    rejected: Option<StorageError>,
}

impl Reader<'_> {
    /// Applies as many of the next records as fit into a transaction, or the next one in several. False if another
    /// process has moved the position.
    fn apply_next(&mut self, records: &mut VecDeque<Told>) -> Result<bool, ConsumeError> {
        let mut batch = Vec::new();
        let mut rows = 0;
        // Groups that change here without this target being told.
        let mut untold = HashSet::new();
        while let Some(mut next) = records.pop_front() {
            // Members that joined them are looked for in the database, so they must be written first.
            if next.listens && untold.contains(&next.record.id) {
                records.push_front(next);
                break;
            }
            let is_small = self.is_small(&mut next)?;
            if next.is_of_group() && !next.listens {
                untold.insert(next.record.id.clone());
            }
            if is_small && rows + next.rows() <= ROWS {
                rows += next.rows();
                batch.push(Arc::new(next));
            } else if batch.is_empty() {
                return self.apply_large(&Arc::new(next));
            } else {
                records.push_front(next);
                break;
            }
        }
        let records: Arc<[Arc<Told>]> = batch.into();
        match self.write(Arc::clone(&records)) {
            Err(error @ StorageError::Failed(_)) => {
                log::warn!(
                    "target {}: cannot read some records together: {error}",
                    self.context.target()
                );
                self.apply_separately(&records)
            }
            done => Ok(done?),
        }
    }

    /// Whether everything that the record causes fits into one transaction. Reads the members of a group that becomes
    /// known.
    fn is_small(&mut self, record: &mut Told) -> Result<bool, ConsumeError> {
        let JournalRecord { id, store, .. } = &record.record;
        if !record.is_of_group() {
            return Ok(record.rows() <= ROWS);
        }
        if !record.listens {
            self.checked.remove(id);
        }
        if self.checked.contains(id) {
            return Ok(record.rows() <= ROWS);
        }
        if self.becomes_known(record)? {
            record.newcomers = self.context.source.member_ids(store, id, None, ROWS)?;
            if 2 * record.newcomers.len() + record.rows() > ROWS {
                record.newcomers.clear();
                return Ok(false);
            }
        } else if record.listens {
            let has_unknown: bool = self
                .context
                .database
                .read::<_, StorageError>(|c| outbound_members::has_unknown(c, self.context.target(), id))?;
            if has_unknown {
                return Ok(false);
            }
        }
        if record.listens {
            self.checked.insert(id.clone());
        }
        Ok(record.rows() <= ROWS)
    }

    /// Applies records one by one, and in parts where the database rejects something, so that the rest goes on.
    fn apply_separately(&mut self, records: &[Arc<Told>]) -> Result<bool, ConsumeError> {
        for record in records {
            let still_ours = match self.write([Arc::clone(record)].into()) {
                Err(StorageError::Failed(_)) => self.apply_large(record)?,
                done => done?,
            };
            if !still_ours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write(&mut self, records: Arc<[Arc<Told>]>) -> Result<bool, StorageError> {
        let end = records.last().map(|record| record.record.position);
        let now = self.now;
        self.transaction(end, move |connection, target| {
            let writes = BatchWrites::of(connection, target, &records)?;
            writes.write(connection, target, now)
        })
    }

    /// Runs writes in a transaction if the position is still this one, and moves it to `end`. Returns whether it was.
    fn transaction(
        &mut self,
        end: Option<JournalPosition>,
        writes: impl Fn(&mut SqlConnection, &TargetName) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<bool, StorageError> {
        let (target, position) = (self.context.target().clone(), self.position);
        let still_ours = self.context.database.write(move |connection| {
            if targets::lock_cursor(connection, &target)? != position {
                return Ok(false);
            }
            writes(connection, &target)?;
            if let Some(end) = end {
                targets::move_cursor(connection, &target, end)?;
            }
            Ok::<_, StorageError>(true)
        })?;
        if let (true, Some(end)) = (still_ours, end) {
            self.position = end;
        }
        Ok(still_ours)
    }

    /// Whether a group becomes known to the target by a record. The target may know it as a member of another group,
    /// without its type.
    fn becomes_known(&self, record: &Told) -> Result<bool, StorageError> {
        let (target, id) = (self.context.target(), &record.record.id);
        let row = self
            .context
            .database
            .read::<_, StorageError>(|connection| outbound::find(connection, target, id))?;
        Ok(record.is_of_group()
            && match row {
                Some(row) if row.kind == Kind::GROUP && row.state != OutboundState::Gone => false,
                Some(_) => record.listens || record.record.service_provider == ServiceProviderName::RESIDENT,
                None => record.listens,
            })
    }

    /// Applies a record about many members. The group becomes known only after all its members were recorded.
    fn apply_large(&mut self, record: &Arc<Told>) -> Result<bool, ConsumeError> {
        match self.apply_in_parts(record) {
            Err(ConsumeError::Storage(error @ StorageError::Failed(_))) => Ok(self.park(record, &error)?),
            done => done,
        }
    }

    fn apply_in_parts(&mut self, record: &Arc<Told>) -> Result<bool, ConsumeError> {
        if self.becomes_known(record)? && !self.record_present_members(record)? {
            return Ok(false);
        }
        let members = &record.record.members;
        for (ids, is_in) in [(&members.joined, true), (&members.left, false)] {
            for part in ids.chunks(ROWS) {
                if !self.record_members(record, part.to_vec(), is_in)? {
                    return Ok(false);
                }
            }
        }
        let (last, now) = (Arc::clone(record), self.now);
        if !self.transaction(None, move |connection, target| {
            let writes = BatchWrites::of(connection, target, &[Arc::clone(&last)])?.without_members();
            writes.write(connection, target, now)
        })? {
            return Ok(false);
        }
        if record.listens && record.is_of_group() && !self.record_unknown_members(record)? {
            return Ok(false);
        }
        match self.rejected.take() {
            Some(error) => Ok(self.park(record, &error)?),
            None => Ok(self.transaction(Some(record.record.position), |_, _| Ok(()))?),
        }
    }

    fn record_present_members(&mut self, record: &Arc<Told>) -> Result<bool, ConsumeError> {
        let (store, group) = (&record.record.store, &record.record.id);
        let mut last: Option<ResourceId> = None;
        loop {
            let ids = self.context.source.member_ids(store, group, last.as_ref(), ROWS)?;
            let Some(end) = ids.last() else { return Ok(true) };
            last = Some(end.clone());
            if !self.record_members(record, ids, true)? {
                return Ok(false);
            }
        }
    }

    /// Records members. Where the database rejects one of them, the others are recorded without it.
    fn record_members(&mut self, record: &Told, ids: Vec<ResourceId>, is_in: bool) -> Result<bool, ConsumeError> {
        match self.record_members_together(record, ids.clone(), is_in) {
            Err(StorageError::Failed(_)) if ids.len() > 1 => {
                for id in ids {
                    if !self.record_members(record, vec![id], is_in)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Err(error @ StorageError::Failed(_)) => {
                self.rejected = Some(error);
                Ok(true)
            }
            done => Ok(done?),
        }
    }

    fn record_members_together(
        &mut self,
        record: &Told,
        ids: Vec<ResourceId>,
        is_in: bool,
    ) -> Result<bool, StorageError> {
        let group = record.record.id.clone();
        let listens = record.listens;
        self.transaction(None, move |connection, target| {
            if !listens && outbound::find(connection, target, &group)?.is_none() {
                return Ok(());
            }
            let members = ids.iter().map(|member| ((group.clone(), member.clone()), is_in));
            Ok(outbound_members::want(connection, target, &members.collect())?)
        })
    }

    fn record_unknown_members(&mut self, record: &Told) -> Result<bool, ConsumeError> {
        let now = self.now;
        loop {
            let group = record.record.id.clone();
            let (target, position) = (self.context.target().clone(), self.position);
            let written: Option<usize> = self.context.database.write(move |connection| {
                if targets::lock_cursor(connection, &target)? != position {
                    return Ok(None);
                }
                let which = UnknownMembers::AtMost(group.clone(), ROWS);
                let count = outbound_members::want_unknown(connection, &target, &which, now)?;
                Ok::<_, StorageError>(Some(count))
            })?;
            match written {
                None => return Ok(false),
                Some(count) if count < ROWS => return Ok(true),
                Some(_) => {}
            }
        }
    }

    /// Notes a record that the database rejects, in whole or in part, and goes on behind it.
    fn park(&mut self, record: &Told, error: &StorageError) -> Result<bool, StorageError> {
        let JournalRecord { position, id, kind, .. } = &record.record;
        log::error!(
            "target {}: a change of {kind} {id} (journal {}.{}) cannot be recorded as a whole; what is rejected is set aside and does not reach the target: {error}",
            self.context.target(),
            position.transaction,
            position.sequence,
        );
        let (position, cause, now) = (*position, error.to_string(), self.now);
        self.checked.remove(id);
        self.transaction(Some(position), move |connection, target| {
            Ok(parked_records::insert(connection, target, position, &cause, now)?)
        })
    }
}
