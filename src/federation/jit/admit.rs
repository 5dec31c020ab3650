//! Admits an identity: gathers the facts, decides, writes, and retries on conflict.

use crate::directory::{Directory, DirectoryError};
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::password::PasswordPolicy;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::query::Query;
use crate::domain::{
    Actor, Change, Companion, Consent, Kind, Link, Operation, Precondition, Principal, Relations, Resource, ResourceId,
    StoreName, name,
};
use crate::federation::error::FederationError;
use crate::federation::idp::provider::Identity;
use crate::federation::jit::approval::{self, ApprovalStatus};
use crate::federation::jit::attribute_path::{Edit, Target};
use crate::federation::jit::claims::{self, ClaimMapping, Stored};
use crate::federation::jit::decide::{Account, Decision, Facts, Prompt, Proposal, Wanted, decide};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::facts::{self, account};
use crate::federation::jit::lease;
use crate::federation::jit::policy::{JitMode, ServiceProviderPolicy};
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::questions::{self, Agreement, Answers, Questions, Wishes};
use crate::federation::jit::settings::{IdentityProviderSettings, TrustedScimSource};
use crate::federation::jit::username;
use crate::storage::consents::{self, ConsentRecord};
use crate::storage::{Database, StorageError, approvals, identity_locks, links, removals};
use crate::userstore::StoreError;

/// Most attempts of one login. It retries on conflict with another writer.
const ATTEMPTS: usize = 8;

/// The identity that a login brings, and everything needed to admit it.
pub(crate) struct Arrival<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) database: &'a Database,
    pub(crate) settings: &'a IdentityProviderSettings,
    pub(crate) claims: &'a [ClaimMapping],
    pub(crate) service_provider: &'a ServiceProviderPolicy,
    pub(crate) identity: &'a Identity,
    pub(crate) purposes: &'a [Purpose],
    pub(crate) trusted_sources: &'a [TrustedScimSource],
    pub(crate) passwords: PasswordPolicy,
    /// The account that the person has proved in this login.
    pub(crate) proved: Option<&'a ResourceId>,
    pub(crate) wishes: &'a Wishes,
    pub(crate) answers: Option<&'a Answers>,
}

/// The outcome of admitting an identity.
pub(crate) enum Admission {
    /// The person is this user.
    Admitted(StoreName, ResourceId),
    /// The person must prove this account first.
    Prove(Account),
    /// The login waits for approval.
    Waits,
    /// The person must answer these questions first.
    Asked(Box<Questions>),
    /// The login is refused.
    Refused(Denial),
}

/// The facts that come from our own records.
struct Known {
    account: Option<Account>,
    expected: Option<Account>,
    wanted: Wanted,
    parted: bool,
    approval: ApprovalStatus,
    given: Vec<Consent>,
}

impl Arrival<'_> {
    /// Decides and writes. Concurrent logins of one person end in one account and one link.
    pub(crate) fn admit(&self) -> Result<Admission, FederationError> {
        if let Some(denial) = self.barred()? {
            return Ok(Admission::Refused(denial));
        }
        for _ in 0..ATTEMPTS {
            let linked = self.linked()?;
            let resource = match &linked {
                Linked::Nobody => None,
                Linked::Gone => return Ok(Admission::Refused(Denial::NoAccount)),
                Linked::To(resource) => Some(resource),
            };
            let known = self.known(resource)?;
            // A concurrent login of this identity may have made the account after the link was looked up.
            if matches!(known.wanted, Wanted::Named { holder: Some(_), .. })
                && !matches!(self.linked()?, Linked::Nobody)
            {
                continue;
            }
            let (outcome, id) = match self.decide(&known) {
                Decision::Refuse(denial) => return Ok(Admission::Refused(denial)),
                Decision::Ask(Prompt::LinkProof(account)) => return Ok(Admission::Prove(account)),
                Decision::Ask(Prompt::Approval) => return Ok(Admission::Waits),
                Decision::Ask(Prompt::Details(questions)) => return Ok(Admission::Asked(Box::new(questions))),
                Decision::Complete(account, agreement) => (
                    self.synchronise(resource, &known.given, &agreement),
                    Some((account.store, account.id)),
                ),
                Decision::Provision(Proposal::Renew(_)) => (self.renew(resource), None),
                Decision::Provision(Proposal::Create {
                    store,
                    username,
                    agreement,
                }) => (self.create(&store, &username, &agreement), None),
                Decision::Provision(Proposal::Link(account, agreement)) => {
                    (self.link(&account, &agreement), Some((account.store, account.id)))
                }
            };
            match outcome {
                Ok(made) => {
                    if let Some((store, id)) = made.or(id) {
                        return Ok(Admission::Admitted(store, id));
                    }
                }
                Err(
                    DirectoryError::Store(StoreError::Taken { .. } | StoreError::Stale) | DirectoryError::NotFound(_),
                ) => {}
                Err(DirectoryError::Invalid(invalid)) => {
                    log::warn!(
                        "attributes from {} were refused: {}",
                        self.settings.name,
                        invalid.detail
                    );
                    return Ok(Admission::Refused(Denial::InvalidAttributes));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(FederationError::Contended)
    }

    /// Returns a denial if the provider is removed or the identity is locked.
    fn barred(&self) -> Result<Option<Denial>, FederationError> {
        let identity = self.link_record();
        let (locked, removal) = self.database.read::<_, StorageError>(|connection| {
            let locked = identity_locks::of_identity(connection, &identity)?;
            Ok((locked, removals::find(connection, &self.settings.name)?))
        })?;
        let removed = removal.map(|_| Denial::UnknownProvider);
        Ok(removed.or(locked.map(|reason| Denial::IdentityLocked { reason })))
    }

    fn decide(&self, known: &Known) -> Decision {
        decide(&Facts {
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
            parted: known.parted,
            approval: &known.approval,
            given: &known.given,
            wanted: &known.wanted,
            proved: self.proved,
            wishes: self.wishes,
            answers: self.answers,
        })
    }

    fn known(&self, linked: Option<&Resource>) -> Result<Known, FederationError> {
        let account = linked.map(|resource| account(resource, self.purposes));
        let wanted = self.wanted(account.is_some())?;
        let holder = match &wanted {
            Wanted::Named { holder, .. } => holder.as_ref(),
            _ => None,
        };
        let expected = if account.is_some() { None } else { self.expected()? };
        let theirs = account
            .as_ref()
            .or(expected.as_ref())
            .or(holder)
            .map(|account| &account.id);
        let Identity { issuer, subject, .. } = self.identity;
        let now = self.directory.clock().now();
        let (given, parted, asked) = self.database.read::<_, StorageError>(|connection| {
            let given = theirs.map_or(Ok(Vec::new()), |id| consents::of_user(connection, id))?;
            let parted = account.is_none() && links::has_parted(connection, &self.settings.name, issuer, subject)?;
            let asked = approvals::of_identity(connection, &self.link_record(), now)?;
            Ok((given, parted, asked))
        })?;
        Ok(Known {
            account,
            expected,
            wanted,
            parted,
            approval: asked.map(approval::status).unwrap_or_default(),
            given: given.into_iter().map(ConsentRecord::standing).collect(),
        })
    }

    fn linked(&self) -> Result<Linked, FederationError> {
        let Identity { issuer, subject, .. } = self.identity;
        let link = self
            .database
            .read::<_, StorageError>(|connection| links::find(connection, &self.settings.name, issuer, subject))?;
        let Some(link) = link else { return Ok(Linked::Nobody) };
        let resource = self.directory.get(&Kind::USER, &link.resource_id, Relations::NONE)?;
        Ok(resource.map_or(Linked::Gone, Linked::To))
    }

    /// Returns the account that a trusted SCIM client of the provider keeps under this subject (`externalId`), if it is
    /// not linked yet. An `externalId` from any other writer does not count.
    fn expected(&self) -> Result<Option<Account>, FederationError> {
        let user = self.directory.registry().resource_type(&Kind::USER);
        let Some(attribute) = user.and_then(|user| user.resolve("externalId")) else {
            return Ok(None);
        };
        for source in self
            .trusted_sources
            .iter()
            .filter(|source| source.identity_provider == self.settings.name)
        {
            let filter = Filter::Compare {
                attribute: attribute.clone(),
                operator: Operator::Eq,
                value: Comparand::Text(self.identity.subject.clone()),
            };
            let found = self
                .directory
                .find(&source.store, &Query::all(Kind::USER, 2).filtered(filter))?;
            let [one] = found.resources.as_slice() else { continue };
            let writer = format!("scim:{}", source.client);
            let links = self
                .database
                .read::<_, StorageError>(|connection| links::of_user(connection, &one.id))?;
            let is_linked = links
                .iter()
                .any(|known| known.link.identity_provider == self.settings.name);
            if one.writers.writers().get("externalId") == Some(&writer) && !is_linked {
                return Ok(Some(account(one, self.purposes)));
            }
        }
        Ok(None)
    }

    fn mode(&self) -> JitMode {
        self.service_provider.mode(&self.settings.jit)
    }

    /// Returns the account that a first login would make. Nothing is looked up where none can be made.
    fn wanted(&self, linked: bool) -> Result<Wanted, FederationError> {
        let jit = &self.settings.jit;
        if linked || self.mode() == JitMode::Off {
            return Ok(Wanted::Unclear(Denial::NoAccount));
        }
        let store = match username::store(&jit.userstore, self.identity) {
            Ok(store) => store,
            Err(denial) => return Ok(Wanted::Unclear(denial)),
        };
        let chosen = self.answers.and_then(|answers| answers.username.as_ref());
        let named = match chosen.filter(|_| self.mode().asks_username()) {
            Some(chosen) => name::check(chosen)
                .map(|()| chosen.clone())
                .map_err(|_| Denial::BadUsername),
            None => username::derive(&jit.username, &self.settings.name, self.identity),
        };
        let username = match named {
            Ok(username) => username,
            Err(denial) => return Ok(Wanted::Nameless { store, denial }),
        };
        let holder = self.directory.named(&store, &Kind::USER, &username)?;
        Ok(Wanted::Named {
            holder: holder
                .map(|holder| facts::holder(self.database, &holder, self.purposes))
                .transpose()?,
            store,
            username,
        })
    }

    fn create(&self, store: &StoreName, username: &str, agreement: &Agreement) -> Result<Made, DirectoryError> {
        let mappings = self.kept(&agreement.consents);
        let mut attributes = claims::attributes(&mappings, username, &self.identity.claims);
        for (path, text) in &agreement.changed {
            if let Some(target) = Target::parse(path.as_str()) {
                target.put(&mut attributes, text.as_str().into());
            }
        }
        if let Some(password) = &agreement.password {
            attributes.insert("password".to_owned(), password.expose().into());
        }
        let operation = Operation::Create {
            store: store.clone(),
            kind: Kind::USER,
            attributes,
        };
        let outcome = self
            .directory
            .apply(self.change(operation, self.companions(true, agreement)))?;
        let resource = outcome.resource();
        self.fill(resource, agreement)?;
        Ok(Some((resource.store.clone(), resource.id.clone())))
    }

    /// Enables an account again that was disabled when its lease expired. The person is not signed in yet: the caller
    /// decides again.
    fn renew(&self, resource: Option<&Resource>) -> Result<Made, DirectoryError> {
        let Some(resource) = resource else { return Ok(None) };
        log::info!(
            "user {} signed in through {} after the lease expired and is enabled again",
            resource.id,
            self.settings.name
        );
        lease::switch(self.directory, resource, true)?;
        Ok(None)
    }

    /// Links the identity to an existing account. The link is written even if no attribute changes.
    fn link(&self, account: &Account, agreement: &Agreement) -> Result<Made, DirectoryError> {
        let Some(resource) = self.directory.get(&Kind::USER, &account.id, Relations::NONE)? else {
            return Err(DirectoryError::NotFound(Kind::USER));
        };
        let operation = self.patch(&resource, &agreement.consents)?;
        self.directory
            .apply(self.change(operation, self.companions(true, agreement)))?;
        self.fill(&resource, agreement)?;
        Ok(None)
    }

    /// Updates a linked user from the claims. A value that does not fit never refuses the login.
    fn synchronise(
        &self,
        resource: Option<&Resource>,
        given: &[Consent],
        agreement: &Agreement,
    ) -> Result<Made, DirectoryError> {
        let Some(resource) = resource else { return Ok(None) };
        let given: Vec<Consent> = given.iter().chain(&agreement.consents).cloned().collect();
        let companions = self.companions(false, agreement);
        let outcome = match self.patch(resource, &given) {
            Ok(Operation::Patch { operations, .. }) if operations.is_empty() && companions.is_empty() => Ok(()),
            Ok(operation) => self
                .directory
                .apply(self.change(operation, companions.clone()))
                .map(|_| ()),
            Err(error) => Err(error),
        };
        match outcome {
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!(
                    "attributes from {} were not synchronised: {}",
                    self.settings.name,
                    invalid.detail
                );
                let nothing = Operation::Patch {
                    kind: Kind::USER,
                    id: resource.id.clone(),
                    operations: Vec::new(),
                    precondition: Precondition::None,
                };
                self.directory.apply(self.change(nothing, companions))?;
            }
            Err(DirectoryError::Store(StoreError::Unsupported(what))) => {
                log::warn!(
                    "attributes from {} were not synchronised: the userstore cannot {what}",
                    self.settings.name
                );
            }
            outcome => outcome?,
        }
        self.fill(resource, agreement)?;
        Ok(None)
    }

    /// Writes the attributes that the person filled in, with the person as writer, so that the provider does not clear
    /// them.
    fn fill(&self, resource: &Resource, agreement: &Agreement) -> Result<(), DirectoryError> {
        if agreement.filled.is_empty() {
            return Ok(());
        }
        let attributes = resource.document.attributes();
        let edits = agreement.filled.iter().filter_map(|(path, text)| {
            let target = Target::parse(path.as_str())?;
            Some(self.strict(target.set_operation(&attributes, &text.as_str().into())))
        });
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: resource.id.clone(),
            operations: edits.collect::<Result<_, _>>()?,
            precondition: Precondition::None,
        };
        let actor = Actor {
            principal: Principal::Person,
            ..self.actor()
        };
        let change = Change {
            actor,
            operation,
            companions: Vec::new(),
        };
        match self.directory.apply(change) {
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!("attributes that a person filled in were not stored: {}", invalid.detail);
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }

    /// Returns the claim mapping without the attributes that the person refused to have stored.
    fn kept(&self, given: &[Consent]) -> Vec<ClaimMapping> {
        let refused = questions::refused(given);
        let wanted = |mapping: &&ClaimMapping| mapping.path().is_none_or(|path| !refused.contains(path.as_str()));
        self.claims.iter().filter(wanted).cloned().collect()
    }

    fn patch(&self, resource: &Resource, given: &[Consent]) -> Result<Operation, DirectoryError> {
        let attributes = resource.document.attributes();
        let stored = Stored {
            attributes: &attributes,
            writers: &resource.writers.writers(),
        };
        let edits = claims::changes(
            &self.kept(given),
            self.settings.jit.sync,
            &self.identity.claims,
            &stored,
            &self.actor().writer(),
        );
        Ok(Operation::Patch {
            kind: Kind::USER,
            id: resource.id.clone(),
            operations: edits
                .into_iter()
                .map(|edit| self.strict(edit))
                .collect::<Result<_, _>>()?,
            precondition: Precondition::Versions(vec![resource.version]),
        })
    }

    fn change(&self, operation: Operation, companions: Vec<Companion>) -> Change {
        Change {
            actor: self.actor(),
            operation,
            companions,
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor {
            principal: Principal::Login {
                identity_provider: self.settings.name.clone(),
            },
            service_provider: self.service_provider.name.clone(),
        }
    }

    fn link_record(&self) -> Link {
        Link {
            identity_provider: self.settings.name.clone(),
            issuer: self.identity.issuer.clone(),
            subject: self.identity.subject.clone(),
        }
    }

    /// Returns the side records to write with the account: the link, if it is new, and the consents.
    fn companions(&self, linked: bool, agreement: &Agreement) -> Vec<Companion> {
        let link = linked.then(|| Companion::Link(self.link_record()));
        let consents = agreement.consents.iter().cloned().map(Companion::Consent);
        link.into_iter().chain(consents).collect()
    }

    /// Converts an edit to an operation of the change pipeline.
    fn strict(&self, edit: Edit) -> Result<PatchOperation, DirectoryError> {
        let user = self.directory.registry().resource_type(&Kind::USER);
        let user = user.ok_or(DirectoryError::NotFound(Kind::USER))?;
        Ok(PatchOperation {
            op: edit.op,
            path: Some(Path::parse(&edit.path, user)?),
            value: edit.value,
        })
    }
}

/// Userstore and id of a new account; `None` if the account existed before.
type Made = Option<(StoreName, ResourceId)>;

/// The user of a link.
enum Linked {
    Nobody,
    /// The link exists, but its user does not.
    Gone,
    To(Resource),
}
