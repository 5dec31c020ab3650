//! Admits an identity: gathers the facts, decides, writes, and retries on conflict.

mod expected;
mod writes;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::{Directory, DirectoryError};
use crate::domain::login::Authentication;
use crate::domain::password::PasswordPolicy;
use crate::domain::{Consent, Kind, Relations, Resource, ResourceId, StoreName, name};
use crate::federation::error::FederationError;
use crate::federation::idp::provider::Identity;
use crate::federation::idp::tenant;
use crate::federation::jit::approval::{ApprovalStatus, Approvals};
use crate::federation::jit::claim_mapping::{self, ClaimMapping};
use crate::federation::jit::decide::{
    Decision, DecisionInput, DesiredAccount, ExpectedAccount, LocalAccount, LoginPrompt, Proposal, decide,
};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::entry::accepts_store;
use crate::federation::jit::facts::{self, account};
use crate::federation::jit::groups_claim;
use crate::federation::jit::policy::{JitMode, ServiceProviderPolicy};
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::questions::{Answers, LoginPreferences, Questions};
use crate::federation::jit::settings::{IdentityProviderSettings, TrustedScimSource};
use crate::federation::jit::unusable_claims::{Defect, IgnoredClaims};
use crate::federation::jit::username;
use crate::storage::consents::{self, ConsentRecord};
use crate::storage::mail_addresses::{self, AddressFacts};
use crate::storage::{Database, StorageError, approvals, credential_versions, identity_locks, links, removals};
use crate::userstore::StoreError;

/// Most attempts of one login. It retries on conflict with another writer.
const ATTEMPTS: usize = 8;

/// The identity that a login brings, and everything needed to admit it.
#[derive(Clone, Copy)]
pub(crate) struct ProvisioningContext<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) database: &'a Database,
    pub(crate) settings: &'a IdentityProviderSettings,
    pub(crate) claims: &'a [ClaimMapping],
    /// The requests for approval.
    pub(crate) approvals: &'a Approvals,
    /// Counts the claims that are left out.
    pub(crate) ignored_claims: &'a IgnoredClaims,
    pub(crate) service_provider: &'a ServiceProviderPolicy,
    pub(crate) identity: &'a Identity,
    pub(crate) purposes: &'a [Purpose],
    pub(crate) trusted_sources: &'a [TrustedScimSource],
    pub(crate) passwords: PasswordPolicy,
    /// The proof of the account that the person has shown to be theirs in this login.
    pub(crate) proof: Option<&'a Authentication>,
    /// The account and the address that a code by e-mail proved in this login.
    pub(crate) mailed: Option<&'a (ResourceId, String)>,
    pub(crate) wishes: &'a LoginPreferences,
    pub(crate) answers: Option<&'a Answers>,
}

/// The account of an identity: the one that it is linked to, or that a trusted SCIM client made for its subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownAccount {
    /// The account.
    pub(crate) id: ResourceId,
    /// The version of its credentials.
    pub(crate) credentials: i64,
    /// Whether the identity is linked to it.
    pub(crate) is_linked: bool,
}

/// The outcome of admitting an identity.
pub(crate) enum ProvisioningResult {
    /// The person is this user.
    Admitted(StoreName, ResourceId),
    /// The person must prove this account first.
    Prove(LocalAccount),
    /// The login waits for approval. An earlier one, by its id, was of something else.
    Waits(Option<String>),
    /// The person must answer these questions first.
    Asked(Box<Questions>),
    /// The login is refused.
    Refused(Denial),
}

/// The facts that come from our own records.
struct LocalRecords {
    account: Option<LocalAccount>,
    expected: Option<ExpectedAccount>,
    wanted: DesiredAccount,
    unlinked: bool,
    approval: ApprovalStatus,
    /// The approval that was of something else.
    outdated_approval: Option<String>,
    given: Vec<Consent>,
}

impl ProvisioningContext<'_> {
    /// Decides and writes. Concurrent logins of one person end in one account and one link.
    pub(crate) fn admit(&self) -> Result<ProvisioningResult, FederationError> {
        if let Some(denial) = self.blocking_denial()? {
            return Ok(ProvisioningResult::Refused(denial));
        }
        let mut taken_before = None;
        for _ in 0..ATTEMPTS {
            if self.is_proof_outdated()? {
                return Ok(ProvisioningResult::Refused(Denial::NotUnderWay));
            }
            let linked = self.linked()?;
            let resource = match &linked {
                LinkedUser::Nobody => None,
                LinkedUser::Gone => return Ok(ProvisioningResult::Refused(Denial::NoAccount)),
                LinkedUser::To(resource) => Some(resource),
            };
            let known = match self.known(resource)? {
                Ok(known) => known,
                Err(denial) => return Ok(ProvisioningResult::Refused(denial)),
            };
            // A concurrent login of this identity may have made the account after the link was looked up.
            if matches!(known.wanted, DesiredAccount::Named { holder: Some(_), .. })
                && !matches!(self.linked()?, LinkedUser::Nobody)
            {
                continue;
            }
            let decision = self.decide(&known);
            let creates = matches!(decision, Decision::Provision(Proposal::Create { .. }));
            let (outcome, id) = match self.carry_out(decision, resource, &known) {
                Err(ended) => return Ok(*ended),
                Ok(written) => written,
            };
            match outcome {
                Ok(made) => {
                    if let Some((store, id)) = made.or(id) {
                        return Ok(ProvisioningResult::Admitted(store, id));
                    }
                }
                Err(DirectoryError::Store(StoreError::Taken { attribute })) => {
                    match self.claim_of(&attribute) {
                        // Another account has a value that a claim brought. An account that exists goes on without it.
                        Some(claim) if !creates => return self.admit_without(claim),
                        // The first time it may be a concurrent login of this identity.
                        Some(_) if taken_before.as_ref() == Some(&attribute) => {
                            return Ok(ProvisioningResult::Refused(Denial::ValueTaken { attribute }));
                        }
                        _ => taken_before = Some(attribute),
                    }
                }
                Err(
                    DirectoryError::Store(StoreError::Stale | StoreError::Superseded) | DirectoryError::NotFound(_),
                ) => {}
                Err(DirectoryError::Invalid(invalid)) => {
                    log::warn!(
                        "attributes from {} were refused: {}",
                        self.settings.name,
                        invalid.detail
                    );
                    return Ok(ProvisioningResult::Refused(Denial::InvalidAttributes));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(FederationError::Contended)
    }

    /// Returns the account of the identity as it is now.
    pub(crate) fn known_account(&self) -> Result<Option<KnownAccount>, FederationError> {
        let (id, is_linked) = match self.linked()? {
            LinkedUser::To(resource) => (resource.id, true),
            LinkedUser::Gone => return Ok(None),
            LinkedUser::Nobody => match self.expected()? {
                Ok(Some(expected)) => (expected.account.id, false),
                Ok(None) | Err(_) => return Ok(None),
            },
        };
        let credentials = self
            .database
            .read::<_, StorageError>(|connection| credential_versions::current(connection, &id))?;
        Ok(Some(KnownAccount {
            id,
            credentials,
            is_linked,
        }))
    }

    /// Whether the account has changed since the person proved it: its credentials, or the address that a code went to.
    fn is_proof_outdated(&self) -> Result<bool, FederationError> {
        let Some(proof) = self.proof else { return Ok(false) };
        let current = self
            .database
            .read::<_, StorageError>(|connection| credential_versions::current(connection, &proof.user))?;
        if current != proof.credentials {
            return Ok(true);
        }
        let user = self.directory.get(&Kind::USER, &proof.user, Relations::NONE)?;
        user.map_or(Ok(true), |user| self.is_mailed_elsewhere(&user))
    }

    /// Whether the proof of an account is a code by e-mail, and codes of the account go to another address now.
    fn is_mailed_elsewhere(&self, user: &Resource) -> Result<bool, FederationError> {
        let Some((_, address)) = self.mailed.filter(|(mailed, _)| *mailed == user.id) else {
            return Ok(false);
        };
        let facts = self
            .database
            .read::<_, StorageError>(|connection| AddressFacts::read(connection, &user.id))?;
        Ok(mail_addresses::trusted(user, &facts).as_ref() != Some(address))
    }

    /// Writes what was decided, and returns the account if it existed before. The error is a decision that writes
    /// nothing.
    fn carry_out(
        &self,
        decision: Decision,
        linked: Option<&Resource>,
        known: &LocalRecords,
    ) -> Result<(Written, CreatedAccount), Box<ProvisioningResult>> {
        let (outcome, account) = match decision {
            Decision::Refuse(denial) => return Err(Box::new(ProvisioningResult::Refused(denial))),
            Decision::Ask(prompt) => {
                return Err(Box::new(match prompt {
                    LoginPrompt::LinkProof(account) => ProvisioningResult::Prove(account),
                    LoginPrompt::Approval => ProvisioningResult::Waits(known.outdated_approval.clone()),
                    LoginPrompt::Details(questions) => ProvisioningResult::Asked(Box::new(questions)),
                }));
            }
            Decision::Complete(account, agreement) => (
                self.synchronise(linked, &known.given, &agreement),
                Some((account.store, account.id)),
            ),
            Decision::Provision(Proposal::Renew(_)) => (self.renew(linked), None),
            Decision::Provision(Proposal::Create {
                store,
                username,
                agreement,
            }) => (self.create(&store, &username, &agreement), None),
            Decision::Provision(Proposal::Link(account, agreement)) => {
                let expected = known.expected.as_ref().map(|expected| &expected.account.id);
                let by_statement = expected == Some(&account.id) && self.proof.is_none();
                let written = self.link((&account, by_statement), &known.given, &agreement);
                (written, Some((account.store, account.id)))
            }
        };
        Ok((outcome, account))
    }

    /// Returns the line of the claim mapping that writes an attribute.
    fn claim_of(&self, attribute: &str) -> Option<&ClaimMapping> {
        let mut written = self.claims.iter().filter(|mapping| mapping.path().is_some());
        written.find(|mapping| mapping.attribute().eq_ignore_ascii_case(attribute))
    }

    /// Admits the identity without a claim whose value another account has.
    fn admit_without(&self, claim: &ClaimMapping) -> Result<ProvisioningResult, FederationError> {
        let provider = &self.settings.name;
        let defect = Defect::Taken.code();
        log::warn!(
            "the claim {} of {provider} is left out of a login: {defect}",
            claim.from()
        );
        self.ignored_claims.count(provider, claim.from(), defect);
        let others = self.claims.iter().filter(|mapping| *mapping != claim);
        let claims: Vec<ClaimMapping> = others.cloned().collect();
        let context = ProvisioningContext {
            claims: &claims,
            ..*self
        };
        context.admit()
    }

    /// Returns a denial if the provider is removed or the identity is locked.
    fn blocking_denial(&self) -> Result<Option<Denial>, FederationError> {
        let identity = self.link_record();
        let (locked, removal) = self.database.read::<_, StorageError>(|connection| {
            let locked = identity_locks::of_identity(connection, &identity)?;
            Ok((locked, removals::find(connection, &self.settings.name)?))
        })?;
        // The provider may have another issuer than when the login began: its old identities count no more.
        if !tenant::is_of(&self.settings.issuer, &self.identity.issuer) {
            return Ok(Some(Denial::NotUnderWay));
        }
        let removed = removal.map(|_| Denial::UnknownProvider);
        Ok(removed.or(locked.map(|reason| Denial::IdentityLocked { reason })))
    }

    fn decide(&self, known: &LocalRecords) -> Decision {
        decide(&DecisionInput {
            provider: &self.settings.name,
            policy: &self.settings.jit,
            trusted_email_domains: &self.settings.trusted_email_domains,
            claims: self.claims,
            service_provider: self.service_provider,
            identity: self.identity,
            purposes: self.purposes,
            passwords: self.passwords,
            linked: known.account.as_ref(),
            expected: known.expected.as_ref(),
            unlinked: known.unlinked,
            approval: &known.approval,
            given: &known.given,
            wanted: &known.wanted,
            proved: self.proof.map(|proof| &proof.user),
            wishes: self.wishes,
            answers: self.answers,
        })
    }

    fn known(&self, linked: Option<&Resource>) -> Result<Result<LocalRecords, Denial>, FederationError> {
        let account = linked.map(|resource| account(resource, self.purposes));
        let wanted = self.wanted(account.is_some())?;
        let holder = match &wanted {
            DesiredAccount::Named { holder, .. } => holder.as_ref(),
            _ => None,
        };
        let expected = match self.expected()? {
            Ok(expected) => expected,
            Err(denial) => return Ok(Err(denial)),
        };
        // A client keeps another account for this subject than the one that the identity is linked to.
        if let (Some(linked), Some(expected)) = (&account, &expected)
            && linked.id != expected.account.id
        {
            let is_off = !expected.account.active;
            return Ok(Err(if is_off {
                Denial::AccountDisabled
            } else {
                Denial::SeveralAccounts
            }));
        }
        let expected = expected.filter(|_| account.is_none());
        let theirs = account
            .as_ref()
            .or(expected.as_ref().map(|expected| &expected.account))
            .or(holder)
            .map(|account| &account.id);
        let Identity { issuer, subject, .. } = self.identity;
        let now = self.directory.clock().now();
        let (given, unlinked, asked) = self.database.read::<_, StorageError>(|connection| {
            let given = theirs.map_or(Ok(Vec::new()), |id| consents::of_user(connection, id))?;
            let unlinked = account.is_none() && links::was_unlinked(connection, &self.settings.name, issuer, subject)?;
            let asked = approvals::of_identity(connection, &self.link_record(), now)?;
            Ok((given, unlinked, asked))
        })?;
        let (approval, outdated_approval) = asked.map_or_else(Default::default, |asked| {
            let is_same = |claims: &Map<String, Value>, chosen: Option<&str>| self.makes_the_same(claims, chosen);
            self.approvals.status(asked, is_same)
        });
        Ok(Ok(LocalRecords {
            account,
            expected,
            wanted,
            unlinked,
            approval,
            outdated_approval,
            given: given.into_iter().map(ConsentRecord::effective).collect(),
        }))
    }

    /// Whether this login would make the account that approved claims would: its store, its user name, its attributes and
    /// its groups. A user name that the person must choose and has not chosen yet is not compared.
    fn makes_the_same(&self, approved: &Map<String, Value>, approved_name: Option<&str>) -> bool {
        let jit = &self.settings.jit;
        let then = Identity {
            claims: approved.clone(),
            ..self.identity.clone()
        };
        let chosen = self.answers.and_then(|answers| answers.username.as_deref());
        let asks_name = self.mode().asks_username();
        let named = |identity: &Identity, chosen: Option<&str>| match chosen {
            Some(chosen) => Some(chosen.to_owned()),
            None => username::derive(&jit.username, &self.settings.name, identity).ok(),
        };
        let chosen = chosen.filter(|_| asks_name);
        let is_same_name =
            (asks_name && chosen.is_none()) || named(&then, approved_name) == named(self.identity, chosen);
        let groups = |claims| {
            let policy = jit.groups.as_ref()?;
            let read = groups_claim::read(policy, claims);
            let names: BTreeSet<String> = read.names.into_iter().collect();
            Some((names, read.incomplete))
        };
        is_same_name
            && username::store(&jit.userstore, &then) == username::store(&jit.userstore, self.identity)
            && claim_mapping::attributes(self.claims, "", approved)
                == claim_mapping::attributes(self.claims, "", &self.identity.claims)
            && groups(approved) == groups(&self.identity.claims)
    }

    fn linked(&self) -> Result<LinkedUser, FederationError> {
        let Identity { issuer, subject, .. } = self.identity;
        let link = self
            .database
            .read::<_, StorageError>(|connection| links::find(connection, &self.settings.name, issuer, subject))?;
        let Some(link) = link else {
            return Ok(LinkedUser::Nobody);
        };
        let resource = self.directory.get(&Kind::USER, &link.resource_id, Relations::NONE)?;
        Ok(resource.map_or(LinkedUser::Gone, LinkedUser::To))
    }

    fn mode(&self) -> JitMode {
        self.service_provider.mode(&self.settings.jit)
    }

    /// Returns the account that a first login would make. Nothing is looked up where none can be made.
    fn wanted(&self, linked: bool) -> Result<DesiredAccount, FederationError> {
        let jit = &self.settings.jit;
        if linked || self.mode() == JitMode::Off {
            return Ok(DesiredAccount::Unclear(Denial::NoAccount));
        }
        let store = match username::store(&jit.userstore, self.identity) {
            Ok(store) => store,
            Err(denial) => return Ok(DesiredAccount::Unclear(denial)),
        };
        if !accepts_store(self.service_provider, &store) {
            return Ok(DesiredAccount::Unclear(Denial::OtherStore));
        }
        let chosen = self.answers.and_then(|answers| answers.username.as_ref());
        let named = match chosen.filter(|_| self.mode().asks_username()) {
            Some(chosen) => name::check(chosen)
                .map(|()| chosen.clone())
                .map_err(|_| Denial::BadUsername),
            None => username::derive(&jit.username, &self.settings.name, self.identity),
        };
        let username = match named {
            Ok(username) => username,
            Err(denial) => return Ok(DesiredAccount::Nameless { store, denial }),
        };
        let holder = self.directory.named(&store, &Kind::USER, &username)?;
        Ok(DesiredAccount::Named {
            holder: holder
                .map(|holder| facts::holder(self.database, &holder, self.purposes))
                .transpose()?,
            store,
            username,
        })
    }
}

/// The result of writing what was decided.
type Written = Result<CreatedAccount, DirectoryError>;

/// Userstore and id of a new account; `None` if the account existed before.
type CreatedAccount = Option<(StoreName, ResourceId)>;

/// The user of a link.
enum LinkedUser {
    Nobody,
    /// The link exists, but its user does not.
    Gone,
    To(Resource),
}
