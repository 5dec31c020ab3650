//! The journal: security events, and the changes of users and groups, in the order of their times.

use super::{Context, OperationError, Right};
use crate::domain::change::JournalRecord;
use crate::domain::{Kind, ResourceId, SecurityEvent, StoreName, Timestamp};
use crate::storage::security_events::{self, EventFilter};
use crate::storage::{StorageError, journal};

/// The lines that are looked for.
#[derive(Clone, Debug, Default)]
pub struct JournalQuery {
    /// The part of a line that both kinds have, and what only security events have.
    pub events: EventFilter,
    /// The account or its name: `ann`, `CORP/ann`, or the id, also of an account that was deleted.
    pub user: Option<String>,
    /// Whether security events alone are wanted.
    pub without_changes: bool,
}

/// A line of the journal.
#[derive(Clone, Debug)]
pub enum JournalLine {
    /// A security event.
    Event(Box<SecurityEvent>),
    /// A change of a resource.
    Change(Box<JournalRecord>),
}

impl JournalLine {
    /// The time.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.at,
            Self::Change(change) => change.at,
        }
    }
}

/// Returns the newest lines, at most `limit`, in the order of their times.
pub fn newest(context: &Context, query: &JournalQuery, limit: u16) -> Result<Vec<JournalLine>, OperationError> {
    context.administrator.must(Right::Read)?;
    let mut filter = query.events.clone();
    filter.user = query.user.as_deref().map(|name| account(context, name)).transpose()?;
    // A change went through no identity provider and has no kind of event.
    let with_changes = !query.without_changes
        && filter.kind.is_none()
        && filter.identity_provider.is_none()
        && filter.address.is_none();
    let most = i64::from(limit);
    let (events, changes) = context.database.read::<_, StorageError>(|connection| {
        let events = security_events::newest(connection, &filter, most)?;
        let changes = if with_changes {
            journal::newest(connection, &filter, most)?
        } else {
            Vec::new()
        };
        Ok((events, changes))
    })?;
    let events = events.into_iter().map(|event| JournalLine::Event(Box::new(event)));
    let changes = changes.into_iter().map(|change| JournalLine::Change(Box::new(change)));
    let mut lines: Vec<JournalLine> = events.chain(changes).collect();
    lines.sort_by_key(JournalLine::at);
    lines.drain(..lines.len().saturating_sub(usize::from(limit)));
    Ok(lines)
}

/// The id of an account by its name, or the text itself if no account has the name.
fn account(context: &Context, name: &str) -> Result<ResourceId, OperationError> {
    let (store, user_name) = match name.split_once('/') {
        Some((store, rest)) if context.directory.store_names().any(|known| known.as_str() == store) => {
            (StoreName::new(store.to_owned()), rest)
        }
        _ => (StoreName::PRIMARY, name),
    };
    let found = context.directory.named(&store, &Kind::USER, user_name)?;
    Ok(found.map_or_else(|| ResourceId::from(name), |user| user.id))
}
