//! Cursors (RFC 9865): a position in the order of one search, sealed. They keep no state on the server, so that any
//! process accepts those of others, and added or removed resources do not shift them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::error::{ScimError, ScimErrorKind};
use crate::domain::query::{SortKey, SortPosition, Start};
use crate::domain::{Kind, ResourceId, StoreName, Timestamp};
use crate::storage::SecretBox;

/// The start of a page, and the resource type that it is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor {
    /// The type that the position is in: a search over all types is ordered within each.
    pub(super) kind: Kind,
    /// The store that the position is in, if the stores are queried one by one.
    pub(super) store: Option<StoreName>,
    /// Right after a position, or so that the page ends right before it.
    pub(super) start: Start,
}

/// Makes and opens the cursors of one search.
pub(super) struct Cursors<'a> {
    secret_box: &'a SecretBox,
    context: String,
    now: Timestamp,
    lifetime: Duration,
}

/// The type of a position, and its store if the stores are queried one by one.
type CursorScope<'a> = (&'a Kind, Option<&'a StoreName>);

/// The content that is sealed.
#[derive(Serialize, Deserialize)]
struct Content {
    kind: Kind,
    #[serde(default)]
    store: Option<StoreName>,
    id: ResourceId,
    key: Option<Key>,
    forward: bool,
    issued: i64,
}

/// A sort key; numbers are kept as bits, so that they are not rounded.
#[derive(Serialize, Deserialize)]
enum Key {
    #[serde(rename = "b")]
    Boolean(bool),
    #[serde(rename = "n")]
    Number(u64),
    #[serde(rename = "m")]
    Moment(i64),
    #[serde(rename = "t")]
    Text(String),
}

impl<'a> Cursors<'a> {
    /// `search` identifies the search by client, store, types, filter and order. Another search cannot open its
    /// cursors.
    pub(super) fn new(secret_box: &'a SecretBox, search: &str, now: Timestamp, lifetime: Duration) -> Self {
        Self {
            secret_box,
            context: format!("scim_cursor/{search}"),
            now,
            lifetime,
        }
    }

    /// A cursor for the page after a position.
    pub(super) fn after(&self, whose: CursorScope<'_>, place: SortPosition) -> String {
        self.seal(whose, place, true)
    }

    /// A cursor for the page before a position.
    pub(super) fn before(&self, whose: CursorScope<'_>, place: SortPosition) -> String {
        self.seal(whose, place, false)
    }

    fn seal(&self, (kind, store): CursorScope<'_>, place: SortPosition, forward: bool) -> String {
        let content = Content {
            kind: kind.clone(),
            store: store.cloned(),
            id: place.id,
            key: place.key.map(|key| match key {
                SortKey::Boolean(flag) => Key::Boolean(flag),
                SortKey::Number(number) => Key::Number(number.to_bits()),
                SortKey::Moment(moment) => Key::Moment(moment.0),
                SortKey::Text(text) => Key::Text(text),
            }),
            forward,
            issued: self.now.0,
        };
        let plain = serde_json::to_vec(&content).expect("a cursor always serialises");
        URL_SAFE_NO_PAD.encode(self.secret_box.seal(&self.context, &plain))
    }

    /// Opens a cursor of this search.
    pub(super) fn open(&self, text: &str) -> Result<Cursor, ScimError> {
        let content: Content = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|sealed| self.secret_box.open(&self.context, &sealed).ok())
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .ok_or_else(|| {
                ScimErrorKind::InvalidCursor
                    .because("This cursor was not issued for this search. Repeat the search with an empty cursor.")
            })?;
        if Timestamp(content.issued).plus(self.lifetime) <= self.now {
            return Err(ScimErrorKind::ExpiredCursor
                .because("This cursor has expired. Repeat the search with an empty cursor."));
        }
        let place = SortPosition {
            id: content.id,
            key: content.key.map(|key| match key {
                Key::Boolean(flag) => SortKey::Boolean(flag),
                Key::Number(bits) => SortKey::Number(f64::from_bits(bits)),
                Key::Moment(moment) => SortKey::Moment(Timestamp(moment)),
                Key::Text(text) => SortKey::Text(text),
            }),
        };
        Ok(Cursor {
            kind: content.kind,
            store: content.store,
            start: if content.forward {
                Start::After(place)
            } else {
                Start::Before(place)
            },
        })
    }
}
