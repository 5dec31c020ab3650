//! Sessions of the wiki, kept in memory only, which is enough for a demonstration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::relying_party::{LoginAttempt, Person};
use crate::domain::{Clock, Timestamp};
use crate::storage::random;

/// The lifetime of a pending login.
pub(super) const LOGIN_LIFETIME: Duration = Duration::from_mins(10);

/// The lifetime of a session.
pub(super) const SESSION_LIFETIME: Duration = Duration::from_hours(8);

/// A person who is signed in.
pub(super) struct WikiUser {
    pub(super) person: Person,
    /// The CSRF token of this session's forms.
    pub(super) csrf: String,
}

enum SessionEntry {
    Login(LoginAttempt),
    Session(Arc<WikiUser>),
}

/// Pending logins and sessions, by the fingerprint of the cookie's value.
pub(super) struct Sessions {
    entries: Mutex<HashMap<String, (Timestamp, SessionEntry)>>,
    clock: Clock,
}

impl Sessions {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
        }
    }

    /// Stores a pending login and returns the cookie's value.
    pub(super) fn begin(&self, pending: LoginAttempt) -> String {
        self.insert(LOGIN_LIFETIME, SessionEntry::Login(pending))
    }

    /// Takes a pending login. It can be used once.
    pub(super) fn take_login(&self, token: &str) -> Option<LoginAttempt> {
        match self.remove(token)? {
            SessionEntry::Login(pending) => Some(pending),
            SessionEntry::Session(_) => None,
        }
    }

    /// Opens a session and returns the cookie's value.
    pub(super) fn open(&self, person: Person) -> String {
        self.insert(
            SESSION_LIFETIME,
            SessionEntry::Session(Arc::new(WikiUser {
                person,
                csrf: random::token(),
            })),
        )
    }

    /// The person of a session.
    pub(super) fn find(&self, token: &str) -> Option<Arc<WikiUser>> {
        match self.entries().get(&random::fingerprint(token)) {
            Some((_, SessionEntry::Session(member))) => Some(Arc::clone(member)),
            _ => None,
        }
    }

    /// Ends a session or a pending login.
    pub(super) fn close(&self, token: &str) {
        self.remove(token);
    }

    fn insert(&self, lifetime: Duration, entry: SessionEntry) -> String {
        let token = random::token();
        self.entries()
            .insert(random::fingerprint(&token), (self.clock.now().plus(lifetime), entry));
        token
    }

    fn remove(&self, token: &str) -> Option<SessionEntry> {
        self.entries()
            .remove(&random::fingerprint(token))
            .map(|(_, entry)| entry)
    }

    /// The entries that have not expired.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, SessionEntry)>> {
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
