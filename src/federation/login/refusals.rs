//! Records refused logins.

use super::browser::Browser;
use super::step::LoginContext;
use super::{Login, pages};
use crate::audit;
use crate::domain::{SecurityEvent, SecurityEventKind};
use crate::federation::error::{FederationError, LoginError, RefusedPerson};
use crate::federation::jit::denial::Denial;

impl Login {
    /// Records a refusal, and returns the context of the login, as long as it is under way.
    pub fn refused<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
        denial: &Denial,
        person: Option<&RefusedPerson>,
    ) -> Result<Option<LoginContext>, FederationError> {
        let loaded = match self.load(browser) {
            Ok(loaded) => Some(loaded),
            Err(LoginError::Denied(..)) => None,
            Err(LoginError::Failed(error)) => return Err(error),
        };
        let transaction = loaded.as_ref().map(|(loaded, _)| &loaded.transaction);
        let mut event = self.event(SecurityEventKind::LoginRefused);
        event.reason = Some(denial.code().to_owned());
        event.service_provider = transaction.map(|transaction| transaction.service_provider.clone());
        event.identity_provider = transaction.and_then(|transaction| transaction.state.provider().cloned());
        event.user = transaction.and_then(|transaction| Some(transaction.proved_account()?.0.clone()));
        if let Some(person) = person {
            let identity = person.identity.clone();
            event.user = person.user.clone().or(event.user);
            event.object = identity.as_ref().map(|identity| identity.subject.clone());
            event.identity_provider = identity
                .map(|identity| identity.identity_provider)
                .or(event.identity_provider);
        }
        // Nothing is known of a login that is not under way any more: its page is only old.
        if transaction.is_some() || *denial != Denial::NotUnderWay {
            audit::record(&self.database, event);
        }
        Ok(loaded.map(|(loaded, policy)| pages::context(&loaded.transaction, policy)))
    }

    /// A security event of now.
    pub(crate) fn event(&self, kind: SecurityEventKind) -> SecurityEvent {
        SecurityEvent::new(kind, self.directory.clock().now())
    }
}
