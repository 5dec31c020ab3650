//! The login sessions of browsers.

use super::{Oidc, OidcError};
use crate::domain::Relations;
use crate::domain::login::Authentication;
use crate::storage::{StorageError, credential_versions, grants, links, logouts, random, removals, sessions};

impl Oidc {
    /// Opens a session for a completed login and returns the value of its cookie, which is always new. The previous
    /// session of the browser ends. Its grants move to the new session if the same user logs in again, and are revoked
    /// if another user logs in.
    pub fn open_session(&self, authentication: &Authentication, before: Option<&str>) -> Result<String, OidcError> {
        let cookie = random::token();
        let id_hash = random::fingerprint(&cookie);
        let before = before.map(random::fingerprint);
        let authentication = authentication.clone();
        let now = self.clock.now();
        let expires = now.plus(self.session_lifetime);
        let is_open = self.database.write::<_, StorageError>(move |connection| {
            // Between the login and now, its credentials can have changed, or its identity can have been unlinked.
            if credential_versions::hold(connection, &authentication.user)? != authentication.credentials {
                return Ok(false);
            }
            if let Some(provider) = &authentication.identity_provider
                && (removals::has_begun(connection, provider)?
                    || !links::has(connection, &authentication.user, provider)?)
            {
                return Ok(false);
            }
            sessions::insert(connection, &id_hash, &authentication, now, expires)?;
            if let Some(before) = &before {
                match sessions::user(connection, before)? {
                    Some(user) if user == authentication.user => {
                        grants::move_to_session(connection, before, &id_hash)?;
                        logouts::move_to_session(connection, before, &id_hash)?;
                    }
                    Some(_) => grants::revoke_of_session(connection, before, now)?,
                    None => {}
                }
                sessions::delete(connection, before, now)?;
            }
            Ok(true)
        })?;
        is_open.then_some(cookie).ok_or(OidcError::Outdated)
    }

    /// Returns the login of a session cookie, if the session has not ended and the user may still log in.
    pub fn session(&self, cookie: &str) -> Result<Option<Authentication>, OidcError> {
        let id_hash = random::fingerprint(cookie);
        let now = self.clock.now();
        let found = self
            .database
            .read::<_, OidcError>(|connection| sessions::find(connection, &id_hash, now))?;
        let Some(authentication) = found else { return Ok(None) };
        if self.user(&authentication, Relations::NONE)?.is_some() {
            return Ok(Some(authentication));
        }
        self.end_session(id_hash)?;
        Ok(None)
    }

    /// Ends a session and revokes its grants.
    pub(super) fn end_session(&self, id_hash: String) -> Result<(), OidcError> {
        let now = self.clock.now();
        self.database.write::<_, StorageError>(move |connection| {
            sessions::delete(connection, &id_hash, now)?;
            Ok(grants::revoke_of_session(connection, &id_hash, now)?)
        })?;
        Ok(())
    }
}
