//! The steps of a login between the identity provider and the application: what must be proved, answered, agreed to.

use super::admit::{Admission, Arrival};
use super::claims::{self, ClaimMapping};
use super::denial::Denial;
use super::login::{Federation, FederationError};
use super::policy::{JitMode, ServiceProviderPolicy};
use super::purpose::AttributePath;
use super::questions::Answers;
use super::step::Step;
use super::target::Target;
use super::transaction::{Arriving, Held, Stage};
use super::upstream::Upstream;
use crate::domain::{IdentityProviderName, Secret};

impl Federation {
    /// Proves the account that an identity wants to be linked to. The proof counts for this identity in this login alone.
    pub fn prove(&self, handle: &str, password: &Secret) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        let Stage::Proving {
            arriving,
            store,
            account,
            ..
        } = held.transaction.stage.clone()
        else {
            return Ok(Step::Show(self.screen(&held.transaction, policy)));
        };
        let upstream = match self.allowed(&arriving.provider, policy) {
            Ok(upstream) => upstream,
            Err(denial) => return Ok(Step::Refused(denial)),
        };
        if password.expose().is_empty() {
            return Ok(Step::Show(self.screen(&held.transaction, policy)));
        }
        if !self.is_password(&store, Some(&account), password)? {
            return self.failed(held, policy);
        }
        let proved = Arriving {
            proved: Some(account),
            ..arriving
        };
        self.admit(held, upstream, proved, None)
    }

    /// Leaves the account of the wanted name alone and asks for another name, where people choose their names.
    pub fn rename(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        let Stage::Proving { mut arriving, .. } = held.transaction.stage.clone() else {
            return Ok(Step::Show(self.screen(&held.transaction, policy)));
        };
        arriving.wishes.another_name = true;
        match self.allowed(&arriving.provider, policy) {
            Ok(upstream) => self.admit(held, upstream, arriving, None),
            Err(denial) => Ok(Step::Refused(denial)),
        }
    }

    /// Takes what a person answered. What was not asked does not count.
    pub fn answer(&self, handle: &str, mut answers: Answers) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        let Stage::Asking { arriving, questions } = held.transaction.stage.clone() else {
            return Ok(Step::Show(self.screen(&held.transaction, policy)));
        };
        if questions.username.is_none() && answers.username.take().is_some() {
            log::warn!("a form that asks for no user name brought one; it does not count");
        }
        match self.allowed(&arriving.provider, policy) {
            Ok(upstream) => self.admit(held, upstream, arriving, Some(&answers)),
            Err(denial) => Ok(Step::Refused(denial)),
        }
    }

    /// The person does not agree. Nothing was written, and the identity is forgotten.
    pub fn disagree(&self, handle: &str) -> Result<Step, FederationError> {
        Ok(match self.back(handle)? {
            Step::Show(_) => Step::Refused(Denial::ConsentRefused),
            other => other,
        })
    }

    /// Goes back to the choice of ways, and forgets an identity that was to be proved.
    pub fn back(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        self.stand(held, policy, Stage::Choosing)
    }

    pub(super) fn admit(
        &self,
        held: Held,
        upstream: &Upstream,
        arriving: Arriving,
        answers: Option<&Answers>,
    ) -> Result<Step, FederationError> {
        let Some(policy) = self.policy(&held.transaction.service_provider) else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        let purposes = self.door.purposes(upstream, policy, &arriving.identity);
        let arrival = Arrival {
            directory: &self.directory,
            database: &self.database,
            settings: &upstream.settings,
            claims: &upstream.claims,
            service_provider: policy,
            identity: &arriving.identity,
            purposes: &purposes,
            ties: &self.door.ties,
            passwords: self.door.passwords,
            proved: arriving.proved.as_ref(),
            wishes: &arriving.wishes,
            answers,
        };
        let provider = &upstream.settings.name;
        match arrival.admit()? {
            Admission::Refused(denial) => {
                log::warn!("a login through {provider} was refused: {}", denial.code());
                Ok(Step::Refused(denial))
            }
            Admission::Prove(account) => {
                let stage = Stage::Proving {
                    arriving,
                    store: account.store,
                    account: account.id,
                    username: account.username,
                };
                self.stand(held, policy, stage)
            }
            Admission::Waits => {
                let reference = self.ask_approval(&arriving, &upstream.settings.jit, &policy.name)?;
                let provider = arriving.provider;
                self.stand(held, policy, Stage::Waiting { provider, reference })
            }
            Admission::Asked(questions) => {
                let questions = *questions;
                self.stand(held, policy, Stage::Asking { arriving, questions })
            }
            Admission::Admitted(store, user) => {
                arrival.synchronise_groups(&store, &user)?;
                self.note_login(upstream, &arriving.identity, &user)?;
                let amr: &[&str] = if arriving.proved.is_some() {
                    &["fed", "pwd"]
                } else {
                    &["fed"]
                };
                let authentication = self.authentication((store, user), Some(provider), amr);
                self.complete(held, policy, authentication)
            }
        }
    }

    /// Lets the login stand at a stage, and shows its page.
    pub(super) fn stand(
        &self,
        mut held: Held,
        policy: &ServiceProviderPolicy,
        stage: Stage,
    ) -> Result<Step, FederationError> {
        held.transaction.failed = false;
        held.transaction.wrong = None;
        held.transaction.stage = stage;
        if !self.transactions.advance(&mut held)? {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        Ok(Step::Show(self.screen(&held.transaction, policy)))
    }

    /// What an identity provider says of somebody and is kept, as texts.
    pub(super) fn known(&self, arriving: &Arriving) -> Vec<(AttributePath, String)> {
        let Some(upstream) = self.upstream(&arriving.provider) else {
            return Vec::new();
        };
        let attributes = claims::attributes(&upstream.claims, "", &arriving.identity.claims);
        let mut known: Vec<(AttributePath, String)> = Vec::new();
        for path in upstream.claims.iter().filter_map(ClaimMapping::path) {
            let value = Target::parse(path.as_str()).and_then(|target| target.value(&attributes));
            let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            known.extend(text.map(|text| (path, text)));
        }
        known
    }

    /// What people are asked who come through an identity provider.
    pub(super) fn mode(&self, provider: &IdentityProviderName, policy: &ServiceProviderPolicy) -> JitMode {
        self.upstream(provider)
            .map_or(JitMode::Off, |upstream| policy.mode(&upstream.settings.jit))
    }

    /// What people call an identity provider; its name if it is configured no more.
    pub(super) fn called(&self, provider: &IdentityProviderName) -> String {
        self.display_name(provider).unwrap_or_else(|| provider.to_string())
    }
}
