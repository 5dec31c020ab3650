//! The steps of a login between the identity provider and the application: questions, consent, approval.

use std::collections::BTreeSet;

use super::Login;
use super::browser::Browser;
use super::step::LoginStep;
use super::transaction::{AssertedIdentity, LoadedTransaction, LoginState, Transaction};
use crate::directory::DirectoryError;
use crate::domain::login::Authentication;
use crate::domain::{Kind, ResourceId, ServiceProviderName, StoreName};
use crate::federation::config::Upstream;
use crate::federation::error::{FederationError, LoginError, RefusedPerson};
use crate::federation::idp::provider::Identity;
use crate::federation::jit::admit::{KnownAccount, ProvisioningContext, ProvisioningResult};
use crate::federation::jit::approval::ShownToApprover;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::groups::GroupSync;
use crate::federation::jit::questions::Answers;
use crate::federation::jit::unusable_claims;
use crate::storage::{StorageError, sessions};
use crate::userstore::StoreError;

impl Login {
    /// Takes a person's answers. Answers to questions that were not asked do not count.
    pub fn answer<'a>(&self, browser: impl Into<Browser<'a>>, mut answers: Answers) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        let LoginState::Asking {
            asserted, questions, ..
        } = loaded.transaction.state.clone()
        else {
            return Ok(self.show(&loaded, policy));
        };
        if questions.username.is_none() && answers.username.take().is_some() {
            log::warn!("ignored a user name from a form that did not ask for one");
        }
        let is_of_page = answers.page.as_ref().is_none_or(|page| *page == questions.page());
        answers.shown = if is_of_page { questions.purposes } else { Vec::new() };
        let upstream = self.config.allowed(&asserted.provider, policy)?;
        self.admit(loaded, upstream, *asserted, Some(&answers))
    }

    /// Ends the first login of a person who refused consent. Nothing was written, and the identity is forgotten.
    pub fn disagree<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        match self.back(browser)? {
            LoginStep::Show(_) => Err(Denial::ConsentRefused.into()),
            complete @ LoginStep::Complete(..) => Ok(complete),
        }
    }

    /// Returns to the choice of providers, and forgets an identity that was to be proved.
    pub fn back<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(browser)?;
        loaded.transaction.linking = None;
        self.enter(loaded, policy, LoginState::Choosing)
    }

    /// Decides on an asserted identity, and goes on to the step that the decision asks for.
    pub(super) fn admit(
        &self,
        loaded: LoadedTransaction,
        upstream: &Upstream,
        mut asserted: AssertedIdentity,
        answers: Option<&Answers>,
    ) -> Result<LoginStep, LoginError> {
        let policy = self.config.policy(&loaded.transaction.service_provider);
        let policy = policy.ok_or(Denial::NotUnderWay)?;
        let mappings = asserted.mappings(upstream);
        let purposes = self
            .config
            .purposes(upstream, policy, (&mappings, &asserted.identity.claims));
        let arrival = ProvisioningContext {
            directory: &self.directory,
            database: &self.database,
            settings: &upstream.settings,
            claims: &mappings,
            approvals: &self.approvals,
            ignored_claims: &self.ignored_claims,
            service_provider: policy,
            identity: &asserted.identity,
            purposes: &purposes,
            trusted_sources: &self.config.trusted_sources,
            passwords: self.config.passwords,
            proof: asserted.proof.as_ref(),
            mailed: loaded.transaction.mailed.as_ref(),
            wishes: &asserted.wishes,
            answers,
        };
        // Read before the decision: a change in between makes this login one of earlier credentials.
        let account = arrival.known_account()?;
        let refuse = |denial| refuse(&arrival, account.as_ref(), denial);
        if asserted.has_another_account(account.as_ref()) {
            return Err(refuse(Denial::AccountChanged));
        }
        match arrival.admit()? {
            ProvisioningResult::Refused(denial) => Err(refuse(denial)),
            ProvisioningResult::Prove(holder) => {
                asserted.account = account.into();
                self.ask_proof(loaded, policy, asserted, holder)
            }
            ProvisioningResult::Waits(outdated) => {
                let chosen = answers.and_then(|answers| answers.username.as_deref());
                let reference = self.request_approval(&asserted, &policy.name, chosen, outdated.as_deref())?;
                let provider = asserted.provider;
                self.enter(loaded, policy, LoginState::Waiting { provider, reference })
            }
            ProvisioningResult::Asked(questions) => {
                // The decision itself may have renewed the lease of the account.
                asserted.account = arrival.known_account()?.into();
                let state = LoginState::Asking {
                    asserted: Box::new(asserted),
                    questions: *questions,
                };
                self.enter(loaded, policy, state)
            }
            ProvisioningResult::Admitted(store, user) => {
                self.sync_groups(upstream, &arrival, &store, &user)?;
                self.record_login(upstream, &asserted.identity, &user)?;
                let mut authentication = self.federated((store, user), account, asserted)?;
                self.keep_proofs_of_session(&loaded.transaction, &mut authentication)?;
                self.complete(loaded, policy, authentication)
            }
        }
    }

    /// A login that continues a session keeps the factors that were proved in it, if the account has not changed since.
    fn keep_proofs_of_session(
        &self,
        transaction: &Transaction,
        authentication: &mut Authentication,
    ) -> Result<(), LoginError> {
        let Some(bound) = &transaction.session else {
            return Ok(());
        };
        let now = self.directory.clock().now();
        let session = self
            .database
            .read::<_, StorageError>(|connection| sessions::find(connection, bound, now))?;
        let is_same = |session: &Authentication| {
            session.user == authentication.user && session.credentials == authentication.credentials
        };
        for method in session.filter(is_same).into_iter().flat_map(|session| session.amr) {
            if !authentication.amr.contains(&method) {
                authentication.amr.push(method);
            }
        }
        Ok(())
    }

    /// Files a request for approval, and returns its reference.
    fn request_approval(
        &self,
        asserted: &AssertedIdentity,
        service_provider: &ServiceProviderName,
        chosen: Option<&str>,
        outdated: Option<&str>,
    ) -> Result<String, LoginError> {
        let (provider, identity) = (&asserted.provider, &asserted.identity);
        let shown = ShownToApprover {
            asserted: &identity.claims,
            chosen,
            outdated,
        };
        let upstream = self.config.upstream(provider);
        let span = upstream.map(|upstream| upstream.settings.jit.approval_span());
        let link = identity.link(provider);
        Ok(self
            .approvals
            .request(link, &shown, span.unwrap_or_default(), service_provider)?)
    }

    /// Returns the login of a person whom an identity provider asserted, with the proofs of the account that they gave.
    fn federated(
        &self,
        (store, user): (StoreName, ResourceId),
        account: Option<KnownAccount>,
        asserted: AssertedIdentity,
    ) -> Result<Authentication, LoginError> {
        let AssertedIdentity {
            provider,
            identity,
            authenticated_at,
            proof,
            ..
        } = asserted;
        let upstream = self.config.upstream(&provider);
        let logs_out = upstream.is_some_and(|upstream| upstream.settings.logout);
        let proof = proof.filter(|proof| proof.user == user);
        // The link itself advanced the version under which the account was proved.
        let credentials = match (&proof, account) {
            (Some(proof), _) => proof.credentials + 1,
            (None, Some(known)) if known.id == user => known.credentials + i64::from(!known.is_linked),
            (None, _) => self.credentials(&user)?,
        };
        let proved = proof.as_ref().map_or(&[][..], |proof| &proof.amr);
        let mut amr = vec!["fed".to_owned()];
        amr.extend(proved.iter().filter(|method| *method != "fed").cloned());
        Ok(Authentication {
            store,
            user,
            amr,
            identity_provider: Some(provider),
            at: self.directory.clock().now(),
            authenticated_at: authenticated_at.max(proof.and_then(|proof| proof.authenticated_at)),
            credentials,
            provider_token: identity.token.filter(|_| logs_out),
        })
    }

    /// Finds the claims that cannot be stored, and names them in the log.
    pub(super) fn unusable_claims(
        &self,
        upstream: &Upstream,
        identity: &Identity,
    ) -> Result<BTreeSet<String>, LoginError> {
        let provider = &upstream.settings.name;
        let user = self.directory.registry().resource_type(&Kind::USER);
        let Some(user) = user else { return Ok(BTreeSet::new()) };
        let found = unusable_claims::find(&upstream.claims, &identity.claims, user)?;
        for (mapping, defect) in &found {
            let (claim, code) = (mapping.from(), defect.code());
            log::warn!("the claim {claim} of {provider} is left out of a login: {code}");
            self.ignored_claims.count(provider, claim, code);
        }
        Ok(found.iter().map(|(mapping, _)| mapping.key()).collect())
    }

    /// Brings the groups of a user up to what the identity provider asserts, if it asserts groups.
    fn sync_groups(
        &self,
        upstream: &Upstream,
        arrival: &ProvisioningContext<'_>,
        store: &StoreName,
        user: &ResourceId,
    ) -> Result<(), LoginError> {
        let jit = &upstream.settings.jit;
        let Some(policy) = &jit.groups else { return Ok(()) };
        let sync = GroupSync {
            directory: &self.directory,
            database: &self.database,
            provider: &upstream.settings.name,
            policy,
            sync: jit.sync,
            actor: arrival.actor(),
            ignored_claims: &self.ignored_claims,
        };
        match sync.run(store, user, &arrival.identity.claims) {
            // The identity was unlinked meanwhile.
            Err(FederationError::Directory(DirectoryError::Store(StoreError::Superseded))) => {
                Err(Denial::AccountChanged.into())
            }
            outcome => Ok(outcome?),
        }
    }
}

/// Refuses a login of an identity.
fn refuse(arrival: &ProvisioningContext<'_>, account: Option<&KnownAccount>, denial: Denial) -> LoginError {
    let person = RefusedPerson {
        identity: Some(arrival.identity.link(&arrival.settings.name)),
        user: account.map(|account| account.id.clone()),
    };
    LoginError::Denied(denial, Some(Box::new(person)))
}
