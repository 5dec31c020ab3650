//! Open sessions of a person, and signing out of them. Signing out needs no fresh login.

use super::Account;
use crate::audit;
use crate::domain::{SecurityEvent, SecurityEventKind, Timestamp, provenance};
use crate::federation::error::FederationError;
use crate::federation::login::visitor::SignedInUser;
use crate::storage::sessions::{self, SessionRecord};
use crate::storage::{StorageError, credential_versions, grants, known_browsers, random};

/// A session as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its identifier on the page.
    pub reference: String,
    /// Display name of the identity provider; `None` for a local password.
    pub provider: Option<String>,
    /// Whether a second factor was proved.
    pub by_two_factors: bool,
    /// Time of the login.
    pub since: Timestamp,
    /// Time when it expires.
    pub until: Timestamp,
    /// Whether it is the session that shows the page.
    pub is_this: bool,
}

/// The sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSelection {
    /// The one with this reference.
    One(String),
    /// All of them.
    All,
}

impl Account {
    pub(crate) fn open_session(&self, record: SessionRecord, visitor: &SignedInUser) -> OpenSession {
        let authentication = record.authentication;
        OpenSession {
            reference: reference(&record.id_hash),
            provider: authentication
                .identity_provider
                .map(|name| self.login.config.display_name(&name)),
            by_two_factors: authentication.amr.iter().any(|method| method == "mfa"),
            since: authentication.at,
            until: record.expires,
            is_this: record.id_hash == visitor.session,
        }
    }

    /// Ends sessions and revokes the tokens that they issued. Applications that asked for logout notices get one.
    pub fn sign_out(&self, visitor: &SignedInUser, ending: SessionSelection) -> Result<(), FederationError> {
        let user = visitor.authentication.user.clone();
        let now = self.login.directory.clock().now();
        let event = SecurityEvent {
            user: Some(user.clone()),
            actor: Some(provenance::PERSON.to_owned()),
            reason: Some(
                if ending == SessionSelection::All {
                    "everywhere"
                } else {
                    "one_session"
                }
                .to_owned(),
            ),
            ..self.login.event(SecurityEventKind::Logout)
        };
        self.login.database.write::<_, StorageError>(move |connection| {
            if ending == SessionSelection::All {
                // Also what sessions left behind that have expired, and the logins that are under way.
                credential_versions::advance(connection, &user)?;
                known_browsers::forget(connection, &user)?;
                sessions::delete_of_user(connection, &user, now)?;
                return Ok(grants::revoke_of_user(connection, &user, now)?);
            }
            let ends = |record: &&SessionRecord| match &ending {
                SessionSelection::One(wanted) => reference(&record.id_hash) == *wanted,
                SessionSelection::All => true,
            };
            for record in sessions::of_user(connection, &user, now)?.iter().filter(ends) {
                sessions::delete(connection, &record.id_hash, now)?;
                grants::revoke_of_session(connection, &record.id_hash, now)?;
            }
            Ok(())
        })?;
        audit::record(&self.login.database, event);
        Ok(())
    }
}

fn reference(id_hash: &str) -> String {
    random::fingerprint(&format!("session/{id_hash}"))
}
