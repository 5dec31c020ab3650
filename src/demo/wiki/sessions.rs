//! Who is signed in to the wiki, in memory: it forgets when it stops, as a demonstration may and a product must not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::relying_party::{Pending, Person};
use crate::domain::{Clock, Timestamp};
use crate::storage::random;

/// How long a login may take.
pub(super) const LOGIN_LIFETIME: Duration = Duration::from_mins(10);

/// How long a session lasts.
pub(super) const SESSION_LIFETIME: Duration = Duration::from_hours(8);

/// A person who is signed in.
pub(super) struct Member {
    pub(super) person: Person,
    /// The CSRF token of this session's forms.
    pub(super) csrf: String,
}

enum Entry {
    Login(Pending),
    Session(Arc<Member>),
}

/// Logins under way and sessions, by the fingerprint of the cookie's value.
pub(super) struct Sessions {
    entries: Mutex<HashMap<String, (Timestamp, Entry)>>,
    clock: Clock,
}

impl Sessions {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
        }
    }

    /// Remembers a login under way; the answer is the cookie's value.
    pub(super) fn begin(&self, pending: Pending) -> String {
        self.insert(LOGIN_LIFETIME, Entry::Login(pending))
    }

    /// Takes a login under way: it counts once.
    pub(super) fn take_login(&self, token: &str) -> Option<Pending> {
        match self.remove(token)? {
            Entry::Login(pending) => Some(pending),
            Entry::Session(_) => None,
        }
    }

    /// Opens a session; the answer is the cookie's value.
    pub(super) fn open(&self, person: Person) -> String {
        self.insert(
            SESSION_LIFETIME,
            Entry::Session(Arc::new(Member {
                person,
                csrf: random::token(),
            })),
        )
    }

    /// The person of a session.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Member>> {
        match self.entries().get(&random::fingerprint(token)) {
            Some((_, Entry::Session(member))) => Some(Arc::clone(member)),
            _ => None,
        }
    }

    /// Ends a session or a login under way.
    pub(super) fn close(&self, token: &str) {
        self.remove(token);
    }

    fn insert(&self, lifetime: Duration, entry: Entry) -> String {
        let token = random::token();
        self.entries()
            .insert(random::fingerprint(&token), (self.clock.now().plus(lifetime), entry));
        token
    }

    fn remove(&self, token: &str) -> Option<Entry> {
        self.entries()
            .remove(&random::fingerprint(token))
            .map(|(_, entry)| entry)
    }

    /// The entries that have not expired.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Entry)>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, (expires, _)| *expires > now);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Person {
        Person {
            claims: serde_json::Map::new(),
            logout: None,
        }
    }

    #[test]
    fn a_session_is_found_until_it_expires() {
        let clock = Clock::fixed(Timestamp(0));
        let sessions = Sessions::new(clock.clone());
        let token = sessions.open(person());
        clock.advance(SESSION_LIFETIME / 2);
        assert!(sessions.find(&token).is_some());
        clock.advance(SESSION_LIFETIME / 2);
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn a_closed_session_is_gone() {
        let sessions = Sessions::new(Clock::fixed(Timestamp(0)));
        let token = sessions.open(person());
        sessions.close(&token);
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn a_session_is_no_login_under_way() {
        let sessions = Sessions::new(Clock::fixed(Timestamp(0)));
        let token = sessions.open(person());
        assert!(sessions.take_login(&token).is_none());
    }
}
