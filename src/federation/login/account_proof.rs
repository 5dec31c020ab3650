//! The proof of an account that an identity is to be linked to: all that the account needs to be entered, in the same
//! browser and the same login.

use super::Login;
use super::browser::Browser;
use super::local_password::PasswordGuess;
use super::step::LoginStep;
use super::transaction::{AccountProofs, AssertedIdentity, Linking, LoadedTransaction, LoginState};
use crate::domain::login::Authentication;
use crate::domain::{IdentityProviderName, ResourceId, Secret, StoreName};
use crate::federation::error::LoginError;
use crate::federation::idp::provider::Identity;
use crate::federation::jit::decide::{LocalAccount, check_claims};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::storage::{StorageError, identity_locks, links};

impl Login {
    /// Asks the person to prove an account, and offers the proofs that it has.
    pub(super) fn ask_proof(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        asserted: AssertedIdentity,
        account: LocalAccount,
    ) -> Result<LoginStep, LoginError> {
        let proofs = self.proofs(policy, &account.store, &account.id)?;
        loaded.transaction.linking = Some(Linking {
            asserted,
            store: account.store,
            account: account.id,
            username: account.username,
            proofs,
        });
        self.enter(loaded, policy, LoginState::Proving)
    }

    /// Returns the first proofs that a person may give for an account. A code by e-mail is one only where there is no
    /// other.
    fn proofs(
        &self,
        policy: &ServiceProviderPolicy,
        store: &StoreName,
        account: &ResourceId,
    ) -> Result<AccountProofs, LoginError> {
        let password = self.directory.has_password(store, account)?;
        let linked = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, account))?;
        let mut providers: Vec<IdentityProviderName> = Vec::new();
        let mut has_identity = false;
        for record in linked {
            let provider = record.link.identity_provider;
            has_identity |= self.config.upstream(&provider).is_some() && !self.is_removed(&provider)?;
            if !providers.contains(&provider) && self.allowed(&provider, policy).is_ok() {
                providers.push(provider);
            }
        }
        let authentication = self.authentication((store.clone(), account.clone()), None, &[])?;
        let mail = if password || has_identity || self.config.mail.is_none() {
            None
        } else {
            self.mailed_code(&authentication, false)?
        };
        Ok(AccountProofs {
            password,
            providers,
            mail,
        })
    }

    /// Proves, by its password, the account that an identity is to be linked to. The proof counts for this identity in
    /// this login alone.
    pub fn prove<'a>(&self, browser: impl Into<Browser<'a>>, password: &Secret) -> Result<LoginStep, LoginError> {
        let browser = browser.into();
        let (loaded, policy) = self.load(browser)?;
        let Some(linking) = proving(&loaded).filter(|linking| linking.proofs.password) else {
            return Ok(self.show(&loaded, policy));
        };
        if password.expose().is_empty() {
            return Ok(self.show(&loaded, policy));
        }
        let mut authentication = self.proof_of(&linking)?;
        let guess = PasswordGuess {
            store: &linking.store,
            id: Some(&linking.account),
            service_provider: &policy.name,
            known: browser.known,
        };
        if !self.is_password(&guess, password)? {
            return self.count_failure(loaded, policy);
        }
        authentication.amr.push("pwd".to_owned());
        self.complete(loaded, policy, authentication)
    }

    /// Sends a code to the account that an identity is to be linked to, where it has no other proof.
    pub fn prove_by_mail<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(browser)?;
        let Some(mut linking) = proving(&loaded) else {
            return Ok(self.show(&loaded, policy));
        };
        // The account may have got another proof, or another address, since the page was shown.
        linking.proofs = self.proofs(policy, &linking.store, &linking.account)?;
        loaded.transaction.linking = Some(linking.clone());
        let Some(mail) = linking.proofs.mail.clone() else {
            return self.enter(loaded, policy, LoginState::Proving);
        };
        let mut authentication = self.proof_of(&linking)?;
        authentication.authenticated_at = None;
        self.send_code(loaded, policy, authentication, mail)
    }

    /// Proves the account that an identity is to be linked to by another identity, which is linked to it already.
    pub(super) fn prove_by_identity(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        provider: &IdentityProviderName,
        identity: &Identity,
    ) -> Result<LoginStep, LoginError> {
        let Some(linking) = loaded.transaction.linking.clone() else {
            return Err(Denial::NotUnderWay.into());
        };
        // Read before the link is looked up: an unlinking in between makes the proof one of earlier credentials.
        let mut authentication = self.proof_of(&linking)?;
        let link = self.database.read::<_, StorageError>(|connection| {
            links::find(connection, provider, &identity.issuer, &identity.subject)
        })?;
        if link.is_none_or(|link| link.resource_id != linking.account) {
            return Err(Denial::AnotherPerson.into());
        }
        // An identity that may not sign in proves nothing.
        let upstream = self.allowed(provider, policy)?;
        let left_out = self.unusable_claims(upstream, identity)?;
        let mappings = AssertedIdentity::new(provider, identity.clone(), left_out).mappings(upstream);
        check_claims(&mappings, &identity.claims, &upstream.settings.trusted_email_domains)?;
        let link = identity.link(provider);
        let locked = self
            .database
            .read::<_, StorageError>(|connection| identity_locks::of_identity(connection, &link))?;
        if let Some(reason) = locked {
            return Err(Denial::IdentityLocked { reason }.into());
        }
        authentication.amr.push("fed".to_owned());
        authentication.identity_provider = Some(provider.clone());
        authentication.authenticated_at = self.authenticated_at(upstream, identity, &loaded.transaction.request);
        self.complete(loaded, policy, authentication)
    }

    /// Asks for another user name instead of linking, where people choose their names.
    pub fn rename<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(browser)?;
        let Some(linking) = proving(&loaded) else {
            return Ok(self.show(&loaded, policy));
        };
        let mut asserted = linking.asserted;
        asserted.wishes.another_name = true;
        loaded.transaction.linking = None;
        let upstream = self.config.allowed(&asserted.provider, policy)?;
        self.admit(loaded, upstream, asserted, None)
    }

    /// Links the identity to the account, now that the account is proved.
    pub(super) fn link_proved(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        linking: Linking,
        proof: Authentication,
    ) -> Result<LoginStep, LoginError> {
        loaded.transaction.linking = None;
        let asserted = AssertedIdentity {
            proof: Some(proof),
            ..linking.asserted
        };
        let upstream = self.allowed(&asserted.provider, policy)?;
        self.admit(loaded, upstream, asserted, None)
    }

    /// The account, before anything of it is proved.
    fn proof_of(&self, linking: &Linking) -> Result<Authentication, LoginError> {
        let account = (linking.store.clone(), linking.account.clone());
        Ok(self.authentication(account, None, &[])?)
    }
}

/// The identity that is to be linked, if the account is to be proved now.
fn proving(loaded: &LoadedTransaction) -> Option<Linking> {
    match loaded.transaction.state {
        LoginState::Proving | LoginState::Away { .. } => loaded.transaction.linking.clone(),
        _ => None,
    }
}
