//! Who is let in: the decision, from facts alone. Whatever the front door does, it does because of this function.

use super::claims::{self, ClaimMapping};
use super::denial::Denial;
use super::policy::{JitMode, JitPolicy, OnConflict, ServiceProviderPolicy};
use super::provider::Identity;
use crate::domain::email::Email;
use crate::domain::{IdentityProviderName, ResourceId, StoreName};

/// Everything that the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Through whom the person comes.
    pub provider: &'a IdentityProviderName,
    /// How that provider's people get accounts.
    pub policy: &'a JitPolicy,
    /// The mail domains that it may speak for; any if there are none.
    pub trusted_email_domains: &'a [String],
    /// Which claims are stored.
    pub claims: &'a [ClaimMapping],
    /// What the application allows.
    pub service_provider: &'a ServiceProviderPolicy,
    /// Who the provider says this is.
    pub identity: &'a Identity,
    /// The account that the identity is linked to.
    pub linked: Option<&'a Account>,
    /// What an account would be called, and who has that name already.
    pub wanted: &'a Wanted,
    /// The account that the person has proved to be theirs, in this login and for this identity.
    pub proved: Option<&'a ResourceId>,
}

/// A local account, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its store.
    pub store: StoreName,
    /// Its id.
    pub id: ResourceId,
    /// Its name, for the person to recognise.
    pub username: String,
    /// Whether it may enter.
    pub active: bool,
    /// Whether it holds power over others.
    pub administrator: bool,
    /// Its address, if its owner has proved it to us. What a client or an administrator wrote proves nothing.
    pub verified_email: Option<String>,
}

/// The account that a first login would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is not known where, or how it would be called.
    Unclear(Denial),
    /// This name in this store; perhaps somebody has it.
    Named {
        /// The store.
        store: StoreName,
        /// The name.
        username: String,
        /// Who has it, without being linked to this identity.
        holder: Option<Account>,
    },
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The person is this user; their attributes are brought up to the claims.
    Complete(Account),
    /// Something is written first.
    Provision(Proposal),
    /// The person is asked something first.
    Ask(Prompt),
    /// The person stays outside.
    Refuse(Denial),
}

/// What a first login writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// A new account, linked.
    Create {
        /// In this store.
        store: StoreName,
        /// Under this name.
        username: String,
    },
    /// A link to an account that was there before.
    Link(Account),
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Whether the account of the wanted name is theirs: its password proves it.
    LinkProof(Account),
}

/// Decides. The same facts always give the same decision.
pub fn decide(facts: &Facts<'_>) -> Decision {
    if let Err(denial) = admissible(facts) {
        return Decision::Refuse(denial);
    }
    if let Some(account) = facts.linked {
        return if account.active {
            Decision::Complete(account.clone())
        } else {
            Decision::Refuse(Denial::AccountDisabled)
        };
    }
    if facts.policy.mode == JitMode::Off {
        return Decision::Refuse(Denial::NoAccount);
    }
    match facts.wanted {
        Wanted::Unclear(denial) => Decision::Refuse(denial.clone()),
        Wanted::Named {
            store,
            username,
            holder: None,
        } => Decision::Provision(Proposal::Create {
            store: store.clone(),
            username: username.clone(),
        }),
        Wanted::Named {
            holder: Some(holder), ..
        } => conflict(facts, holder),
    }
}

/// What holds for every login, linked or not.
fn admissible(facts: &Facts<'_>) -> Result<(), Denial> {
    if !facts.service_provider.identity_providers.contains(facts.provider) {
        return Err(Denial::ProviderNotAllowed);
    }
    let claims = &facts.identity.claims;
    claims::check(facts.claims, claims)?;
    let said = claims.get("email").is_some_and(|email| !email.is_null() && email != "");
    match claims::email(claims) {
        None if said => Err(Denial::BadEmail),
        Some(email) if !facts.trusted_email_domains.is_empty() && !is_trusted(facts, &email) => {
            Err(Denial::EmailDomain)
        }
        _ => Ok(()),
    }
}

/// The wanted name is an account's that is not linked to this identity. It is never overwritten.
fn conflict(facts: &Facts<'_>, holder: &Account) -> Decision {
    let may_link = facts.policy.on_conflict != OnConflict::Refuse && holder.active;
    if !may_link {
        return Decision::Refuse(Denial::NameTaken);
    }
    let proved = facts.proved == Some(&holder.id);
    if proved || (facts.policy.on_conflict == OnConflict::LinkVerifiedEmail && verified_on_both_sides(facts, holder)) {
        return Decision::Provision(Proposal::Link(holder.clone()));
    }
    Decision::Ask(Prompt::LinkProof(holder.clone()))
}

/// Whether provider and owner have both proved one address, the provider speaks for its domain by configuration, and
/// nobody gains power over others by it.
fn verified_on_both_sides(facts: &Facts<'_>, holder: &Account) -> bool {
    let asserted = claims::verified_email(&facts.identity.claims);
    let ours = holder.verified_email.as_deref().and_then(Email::parse);
    match (asserted, ours) {
        (Some(asserted), Some(ours)) => {
            !holder.administrator && is_trusted(facts, &asserted) && asserted.same_mailbox(&ours)
        }
        _ => false,
    }
}

fn is_trusted(facts: &Facts<'_>, email: &Email<'_>) -> bool {
    facts.trusted_email_domains.iter().any(|domain| email.is_at(domain))
}

#[cfg(test)]
mod tests;
