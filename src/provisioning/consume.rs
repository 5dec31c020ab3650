//! Reads the journal and records which resources each target must get.
//!
//! The rows and the journal position are written in one transaction, so that no change is lost or applied twice if the
//! process dies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::directory::DirectoryError;
use crate::domain::change::{Action, JournalRecord};
use crate::domain::{Kind, Relations, ResourceId, ServiceProviderName, TargetName, Timestamp};
use crate::storage::outbound::{self, OutboundChange};
use crate::storage::outbound_members::{self, GroupSelection};
use crate::storage::{SqlConnection, StorageError, journal, targets};

use super::target_context::TargetContext;

/// The number of records that one step reads.
const STEP: i64 = 500;
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

/// The input of one step.
struct JournalBatch {
    target: TargetName,
    now: Timestamp,
    records: Vec<(JournalRecord, bool)>,
    /// The members of groups that the target does not know yet.
    newcomers: HashMap<ResourceId, Vec<ResourceId>>,
}

/// Processes the next records. Returns how many it read; 0 at the end of the journal.
pub(super) fn step(context: &TargetContext) -> Result<usize, ConsumeError> {
    let target = context.target().clone();
    let (position, records) = context.database.read::<_, StorageError>(|connection| {
        let position = targets::cursor(connection, &target)?;
        Ok((position, journal::after(connection, position, STEP)?))
    })?;
    let (Some(end), read) = (records.last().map(|record| record.position), records.len()) else {
        return Ok(0);
    };
    let records: Vec<_> = records
        .into_iter()
        .map(|record| (listens(context, &record), record))
        .map(|(l, r)| (r, l))
        .collect();
    let newcomers = newcomers(context, &records)?;
    let step = Arc::new(JournalBatch {
        target,
        now: context.clock.now(),
        records,
        newcomers,
    });
    context.database.write(move |connection| {
        // Another process may have processed these records meanwhile.
        if targets::lock_cursor(connection, &step.target)? != position {
            return Ok(());
        }
        for (record, listens) in &step.records {
            step.apply(connection, record, *listens)?;
        }
        Ok::<_, StorageError>(targets::move_cursor(connection, &step.target, end)?)
    })?;
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

/// Reads the members of groups that become known with these records: earlier members must be sent as well.
fn newcomers(
    context: &TargetContext,
    records: &[(JournalRecord, bool)],
) -> Result<HashMap<ResourceId, Vec<ResourceId>>, ConsumeError> {
    let mut found = HashMap::new();
    for (record, listens) in records {
        if !listens || record.kind != Kind::GROUP || record.action == Action::Delete || found.contains_key(&record.id) {
            continue;
        }
        let known: bool = context.database.read::<_, StorageError>(|connection| {
            // It may be known already as a member of another group, without its type.
            Ok(outbound::find(connection, context.target(), &record.id)?.is_some_and(|row| row.kind == Kind::GROUP))
        })?;
        if !known {
            let relations = Relations {
                members: true,
                groups: false,
            };
            let group = context.source.get(&record.kind, &record.id, relations)?;
            let members = group.map(|group| group.members.into_iter().map(|member| member.id).collect());
            found.insert(record.id.clone(), members.unwrap_or_default());
        }
    }
    Ok(found)
}

impl JournalBatch {
    fn apply(&self, connection: &mut SqlConnection, record: &JournalRecord, listens: bool) -> Result<(), StorageError> {
        if record.kind != Kind::USER && record.kind != Kind::GROUP {
            return Ok(());
        }
        // Changes of other service providers are not sent on their own, but go along with the next change that is sent.
        // Deletions are always sent, since the account could not be removed otherwise. Changes by administrators, jobs
        // and users themselves are sent to every target that has a copy.
        let known = (!listens)
            .then(|| outbound::find(connection, &self.target, &record.id))
            .transpose()?
            .flatten();
        if !listens && known.is_none() {
            return Ok(());
        }
        if record.action == Action::Delete {
            return self.delete(connection, record, listens);
        }
        if listens || record.service_provider == ServiceProviderName::RESIDENT {
            outbound::want(connection, &self.target, &wanted(record), self.now)?;
        }
        if record.kind == Kind::GROUP {
            self.members(connection, record)?;
            if listens {
                outbound_members::want_unknown(connection, &self.target, &record.id, self.now)?;
            }
        }
        Ok(())
    }

    fn delete(
        &self,
        connection: &mut SqlConnection,
        record: &JournalRecord,
        listens: bool,
    ) -> Result<(), StorageError> {
        // A resource that the target never got needs no deletion.
        if listens && outbound::find(connection, &self.target, &record.id)?.is_none() {
            return Ok(());
        }
        Ok(outbound::want(connection, &self.target, &wanted(record), self.now)?)
    }

    fn members(&self, connection: &mut SqlConnection, record: &JournalRecord) -> Result<(), StorageError> {
        let newcomers = self.newcomers.get(&record.id).into_iter().flatten();
        let changes = newcomers
            .chain(&record.members.joined)
            .map(|member| (member, true))
            .chain(record.members.left.iter().map(|member| (member, false)));
        for (member, is_in) in changes {
            outbound_members::want(connection, &self.target, &record.id, member, is_in)?;
        }
        Ok(())
    }
}

fn wanted(record: &JournalRecord) -> OutboundChange {
    OutboundChange {
        resource_id: record.id.clone(),
        kind: record.kind.clone(),
        store: record.store.clone(),
        service_provider: record.service_provider.clone(),
        version: record.version,
        changed: record.at,
    }
}
