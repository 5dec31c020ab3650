//! Carries a decision out: gathers the facts, decides, writes through the door, and starts over if a race was lost.

use serde_json::Value;

use super::claims::{self, ClaimMapping, Stored};
use super::decide::{Account, Decision, Facts, Prompt, Proposal, Wanted, decide};
use super::denial::Denial;
use super::login::FederationError;
use super::policy::{IdentityProviderSettings, JitMode, ServiceProviderPolicy};
use super::provider::Identity;
use super::target::Edit;
use super::username;
use crate::directory::{Directory, DirectoryError};
use crate::domain::patch::{PatchOperation, Path};
use crate::domain::{
    Actor, Change, Companion, Kind, Link, Operation, Precondition, Principal, Relations, Resource, ResourceId,
    StoreName, name,
};
use crate::storage::{Database, StorageError, links};
use crate::userstore::StoreError;

/// How often a login starts over: each time somebody else has written what it was about to write.
const ATTEMPTS: usize = 8;

/// One identity at the door.
pub(super) struct Arrival<'a> {
    pub(super) directory: &'a Directory,
    pub(super) database: &'a Database,
    pub(super) settings: &'a IdentityProviderSettings,
    pub(super) claims: &'a [ClaimMapping],
    pub(super) service_provider: &'a ServiceProviderPolicy,
    pub(super) identity: &'a Identity,
    /// The account that the person has proved in this login.
    pub(super) proved: Option<&'a ResourceId>,
}

/// What became of it.
pub(super) enum Admission {
    /// The person is this user.
    Admitted(StoreName, ResourceId),
    /// The person must prove this account first.
    Prove(Account),
    /// The person stays outside.
    Refused(Denial),
}

impl Arrival<'_> {
    /// Decides and writes. Many logins of one person at once end in one account and one link.
    pub(super) fn admit(&self) -> Result<Admission, FederationError> {
        for _ in 0..ATTEMPTS {
            let linked = self.linked()?;
            let resource = match &linked {
                Linked::Nobody => None,
                Linked::Gone => return Ok(Admission::Refused(Denial::NoAccount)),
                Linked::To(resource) => Some(resource),
            };
            let account = resource.map(account);
            let wanted = self.wanted(account.is_some())?;
            // Whoever has the name may have come in by a twin of this login since the link was looked for.
            if matches!(wanted, Wanted::Named { holder: Some(_), .. }) && !matches!(self.linked()?, Linked::Nobody) {
                continue;
            }
            let (outcome, id) = match self.decide(account.as_ref(), &wanted) {
                Decision::Refuse(denial) => return Ok(Admission::Refused(denial)),
                Decision::Ask(Prompt::LinkProof(account)) => return Ok(Admission::Prove(account)),
                Decision::Complete(account) => (self.synchronise(resource), Some((account.store, account.id))),
                Decision::Provision(Proposal::Create { store, username }) => (self.create(&store, &username), None),
                Decision::Provision(Proposal::Link(account)) => {
                    (self.link(&account), Some((account.store, account.id)))
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

    fn decide(&self, linked: Option<&Account>, wanted: &Wanted) -> Decision {
        decide(&Facts {
            provider: &self.settings.name,
            policy: &self.settings.jit,
            trusted_email_domains: &self.settings.trusted_email_domains,
            claims: self.claims,
            service_provider: self.service_provider,
            identity: self.identity,
            linked,
            wanted,
            proved: self.proved,
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

    /// What a first login would make; not looked up where none can be.
    fn wanted(&self, linked: bool) -> Result<Wanted, FederationError> {
        let jit = &self.settings.jit;
        if linked || jit.mode == JitMode::Off {
            return Ok(Wanted::Unclear(Denial::NoAccount));
        }
        let named = username::derive(&jit.username, &self.settings.name, self.identity)
            .and_then(|username| username::store(&jit.userstore, self.identity).map(|store| (store, username)));
        Ok(match named {
            Err(denial) => Wanted::Unclear(denial),
            Ok((store, username)) => {
                let holder = self
                    .directory
                    .named(&store, &Kind::USER, &username)?
                    .as_ref()
                    .map(account);
                Wanted::Named {
                    store,
                    username,
                    holder,
                }
            }
        })
    }

    fn create(&self, store: &StoreName, username: &str) -> Result<Made, DirectoryError> {
        let attributes = claims::attributes(self.claims, username, &self.identity.claims);
        let operation = Operation::Create {
            store: store.clone(),
            kind: Kind::USER,
            attributes,
        };
        let outcome = self.directory.apply(self.change(operation, vec![self.companion()]))?;
        let resource = outcome.resource();
        Ok(Some((resource.store.clone(), resource.id.clone())))
    }

    /// Ties the identity to an account that was there. An operation list may be empty: the link is written all the same.
    fn link(&self, account: &Account) -> Result<Made, DirectoryError> {
        let Some(resource) = self.directory.get(&Kind::USER, &account.id, Relations::NONE)? else {
            return Err(DirectoryError::NotFound(Kind::USER));
        };
        let operation = self.patch(&resource)?;
        self.directory
            .apply(self.change(operation, vec![self.companion()]))
            .map(|_| None)
    }

    /// Brings a linked user up to the claims. A value that does not fit keeps nobody out who was in before.
    fn synchronise(&self, resource: Option<&Resource>) -> Result<Made, DirectoryError> {
        let Some(resource) = resource else { return Ok(None) };
        let outcome = match self.patch(resource) {
            Ok(Operation::Patch { operations, .. }) if operations.is_empty() => return Ok(None),
            Ok(operation) => self.directory.apply(self.change(operation, Vec::new())).map(|_| None),
            Err(error) => Err(error),
        };
        match outcome {
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!(
                    "attributes from {} were not synchronised: {}",
                    self.settings.name,
                    invalid.detail
                );
                Ok(None)
            }
            Err(DirectoryError::Store(StoreError::Unsupported(what))) => {
                log::warn!(
                    "attributes from {} were not synchronised: the userstore cannot {what}",
                    self.settings.name
                );
                Ok(None)
            }
            outcome => outcome,
        }
    }

    fn patch(&self, resource: &Resource) -> Result<Operation, DirectoryError> {
        let attributes = resource.document.attributes();
        let stored = Stored {
            attributes: &attributes,
            writers: &resource.writers.writers(),
        };
        let sync = self.settings.jit.sync;
        let edits = claims::changes(
            self.claims,
            sync,
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

    fn actor(&self) -> Actor {
        Actor {
            principal: Principal::Login {
                identity_provider: self.settings.name.clone(),
            },
            service_provider: self.service_provider.name.clone(),
        }
    }

    fn companion(&self) -> Companion {
        Companion::Link(Link {
            identity_provider: self.settings.name.clone(),
            issuer: self.identity.issuer.clone(),
            subject: self.identity.subject.clone(),
        })
    }

    /// One operation in the form that the door takes.
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

/// Where a new account is; none where the account was there before.
type Made = Option<(StoreName, ResourceId)>;

/// The user of a link.
enum Linked {
    Nobody,
    /// A link is left over from a user who is gone.
    Gone,
    To(Resource),
}

/// A user as the decision sees them. No address of ours is verified: nothing here has made its owner prove it.
fn account(resource: &Resource) -> Account {
    let attributes = resource.document.attributes();
    let roles = attributes
        .get("roles")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let governs = |role: &Value| {
        let role = role.get("value").and_then(Value::as_str).map(name::canonical);
        role.is_some_and(|role| role == "admin" || role == "administrator")
    };
    Account {
        store: resource.store.clone(),
        id: resource.id.clone(),
        username: attributes
            .get("userName")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        active: attributes.get("active") != Some(&Value::Bool(false)),
        administrator: roles.iter().any(governs),
        verified_email: None,
    }
}
