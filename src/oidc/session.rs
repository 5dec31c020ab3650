//! The login sessions of browsers.

use super::{Oidc, OidcError};
use crate::audit::{self, origin};
use crate::domain::login::{Authentication, ProviderToken};
use crate::domain::{
    IdentityProviderName, Relations, SecurityEvent, SecurityEventKind, ServiceProviderName, provenance,
};
use crate::storage::{StorageError, credential_versions, grants, links, logouts, random, removals, sessions};

/// The purpose that a token of an identity provider is sealed for.
const PROVIDER_TOKEN: &str = "token of an identity provider";

impl Oidc {
    /// Opens a session for a completed login and returns the value of its cookie, which is always new. The previous
    /// session of the browser ends. Its grants move to the new session if the same user logs in again, and are revoked
    /// if another user logs in. `application` is what the person signed in to; without one, it is no login of its own.
    pub fn open_session(
        &self,
        authentication: &Authentication,
        before: Option<&str>,
        application: Option<&ServiceProviderName>,
    ) -> Result<String, OidcError> {
        let cookie = random::token();
        let id_hash = random::fingerprint(&cookie);
        let before = before.map(random::fingerprint);
        let authentication = authentication.clone();
        let now = self.clock.now();
        let event = application.map(|application| SecurityEvent {
            user: Some(authentication.user.clone()),
            actor: Some(provenance::PERSON.to_owned()),
            identity_provider: authentication.identity_provider.clone(),
            service_provider: Some(application.clone()),
            reason: Some(authentication.amr.join("+")),
            origin: origin::current(),
            ..SecurityEvent::new(SecurityEventKind::Login, now)
        });
        let expires = now.plus(self.session_lifetime);
        let token = authentication.provider_token.as_ref();
        let token = token.map(|token| self.secrets.seal(PROVIDER_TOKEN, token.expose().as_bytes()));
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
            if let Some(token) = &token {
                sessions::keep_token(connection, &id_hash, token)?;
            }
            if let Some(event) = &event {
                audit::append(connection, event)?;
            }
            if let Some(before) = &before {
                match sessions::user(connection, before)? {
                    Some(user) if user == authentication.user => {
                        grants::move_to_session(connection, before, &id_hash)?;
                        logouts::move_to_session(connection, before, &id_hash)?;
                        sessions::move_token(connection, before, &id_hash)?;
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

    /// Returns the identity provider that the login of a session came through, and the token that ends the session there.
    pub fn session_at_provider(
        &self,
        cookie: &str,
    ) -> Result<Option<(IdentityProviderName, Option<ProviderToken>)>, OidcError> {
        let id_hash = random::fingerprint(cookie);
        let found = self
            .database
            .read::<_, OidcError>(|connection| sessions::at_provider(connection, &id_hash))?;
        let open = |sealed: Vec<u8>| {
            let plain = self.secrets.open(PROVIDER_TOKEN, &sealed).ok()?;
            ProviderToken::new(&String::from_utf8(plain).ok()?)
        };
        Ok(found.map(|found| (found.identity_provider, found.sealed_token.and_then(open))))
    }

    /// Ends a session and revokes its grants.
    pub(super) fn end_session(&self, id_hash: String) -> Result<(), OidcError> {
        let now = self.clock.now();
        let origin = origin::current();
        self.database.write::<_, StorageError>(move |connection| {
            if let Some(user) = sessions::user(connection, &id_hash)? {
                let event = SecurityEvent {
                    user: Some(user),
                    actor: Some(provenance::PERSON.to_owned()),
                    origin: origin.clone(),
                    ..SecurityEvent::new(SecurityEventKind::Logout, now)
                };
                audit::append(connection, &event)?;
            }
            sessions::delete(connection, &id_hash, now)?;
            Ok(grants::revoke_of_session(connection, &id_hash, now)?)
        })?;
        Ok(())
    }
}
