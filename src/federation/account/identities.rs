//! Linked identities of a person: linking another one, and unlinking.

use url::Url;

use super::{Account, AccountError, AccountProblem, own_actor};
use crate::directory::DirectoryError;
use crate::domain::{IdentityProviderName, Link, ServiceProviderName, Timestamp};
use crate::federation::error::FederationError;
use crate::federation::idp::provider::LoginHint;
use crate::federation::jit::denial::Denial;
use crate::federation::login::denial;
use crate::federation::login::transaction::LoginState;
use crate::federation::login::visitor::SignedInUser;
use crate::federation::unlink::UnlinkContext;
use crate::storage::links::LinkRecord;
use crate::storage::{StorageError, links};
use crate::userstore::StoreError;

/// An identity that is linked to the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The link.
    pub link: Link,
    /// Display name of its provider.
    pub provider: String,
    /// Time of linking.
    pub since: Timestamp,
    /// Time of the last login with it.
    pub last_login: Timestamp,
}

/// A person who is sent to an identity provider to link another identity.
pub struct LinkingRedirect {
    /// The handle that the browser keeps.
    pub handle: String,
    /// The URL that the browser goes to.
    pub to: Url,
}

impl Account {
    pub(crate) fn identity(&self, record: LinkRecord) -> LinkedIdentity {
        LinkedIdentity {
            provider: self.login.config.display_name(&record.link.identity_provider),
            link: record.link,
            since: record.created,
            last_login: record.last_login,
        }
    }

    /// Sends a person to an identity provider, to link another identity.
    pub fn begin_linking(
        &self,
        visitor: &SignedInUser,
        provider: &IdentityProviderName,
    ) -> Result<LinkingRedirect, AccountError> {
        self.changeable(visitor)?;
        if !self.login.config.account.linking {
            return Err(AccountProblem::NotAllowed.into());
        }
        let config = &self.login.config;
        let policy = config.policy(&ServiceProviderName::RESIDENT);
        let policy = policy.ok_or(Denial::ProviderNotAllowed)?;
        let upstream = self.login.allowed(provider, policy)?;
        let begun = upstream
            .begin(&config.callback_url(provider), &LoginHint::default())
            .map_err(|error| denial(provider, &error))?;
        let state = LoginState::Linking {
            provider: provider.clone(),
            pending: begun.state,
            visitor: visitor.clone(),
        };
        let handle = self.begin_login(visitor, state)?;
        let to = begun.redirect;
        Ok(LinkingRedirect { handle, to })
    }

    /// Unlinks an identity: withdraws the grants of its provider, makes the person the writer of its values, and ends
    /// the sessions that began with it, this one too. The last way to sign in cannot be removed.
    /// Returns whether the session goes on.
    pub fn unlink(&self, visitor: &SignedInUser, link: &Link) -> Result<bool, AccountError> {
        let user = self.changeable(visitor)?;
        let provider = &link.identity_provider;
        let linked = self
            .login
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &user.id))?;
        let (these, others): (Vec<_>, Vec<_>) = linked.into_iter().partition(|known| known.link == *link);
        if these.is_empty() {
            return Err(AccountProblem::Outdated.into());
        }
        let policy = self.login.config.policy(&ServiceProviderName::RESIDENT);
        let allows_passwords = policy.is_some_and(|policy| policy.local_login);
        let by_password = allows_passwords && self.login.directory.has_password(&user.store, &user.id)?;
        if !by_password && !self.any_usable(&others)? {
            return Err(AccountProblem::LastWayIn.into());
        }
        // A session that began with the identity has no proof left: it ends like the others.
        let is_of_provider = visitor.authentication.identity_provider.as_ref() == Some(provider);
        let unlinking = UnlinkContext {
            directory: &self.login.directory,
            database: &self.login.database,
            actor: &own_actor(),
            spared: (!is_of_provider).then_some(&*visitor.session),
            proof: Some(visitor.authentication.credentials),
        };
        match unlinking.unlink(&user.id, link) {
            Err(FederationError::Directory(DirectoryError::Store(StoreError::Superseded))) => {
                return Err(AccountProblem::NotFresh.into());
            }
            outcome => outcome?,
        }
        log::info!("user {} unlinked an identity of {provider}", user.id);
        Ok(!is_of_provider)
    }

    /// Whether a person can sign in with any of these identities: its provider is configured and not removed.
    fn any_usable(&self, identities: &[LinkRecord]) -> Result<bool, StorageError> {
        for identity in identities {
            let provider = &identity.link.identity_provider;
            if self.login.config.upstream(provider).is_some() && !self.login.is_removed(provider)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
