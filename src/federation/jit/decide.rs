//! Who is let in: the decision, from facts alone. Whatever the front door does, it does because of this function.

use crate::domain::email::Email;
use crate::domain::password::PasswordPolicy;
use crate::domain::{Consent, IdentityProviderName, ResourceId, StoreName};
use crate::federation::idp::provider::Identity;
use crate::federation::jit::approval::ApprovalStatus;
use crate::federation::jit::attribute_path::AttributePath;
use crate::federation::jit::claims::{self, ClaimMapping};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::{JitMode, JitPolicy, OnConflict, Returning, ServiceProviderPolicy};
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::questions::{Agreement, Answers, Parties, Problem, Questions, Wishes, covers};

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
    /// What attributes are kept for.
    pub purposes: &'a [Purpose],
    /// What passwords must be like.
    pub passwords: PasswordPolicy,
    /// The account that the identity is linked to.
    pub linked: Option<&'a Account>,
    /// The account that a SCIM client made for this very subject, which is not linked yet.
    pub expected: Option<&'a Account>,
    /// What somebody answered who was asked to let the person in.
    pub approval: &'a ApprovalStatus,
    /// Whether the identity had an account that was removed.
    pub parted: bool,
    /// What the person agreed to before, oldest first.
    pub given: &'a [Consent],
    /// What an account would be called, and who has that name already.
    pub wanted: &'a Wanted,
    /// The account that the person has proved to be theirs, in this login and for this identity.
    pub proved: Option<&'a ResourceId>,
    /// What the person wants otherwise than the policy has it at first.
    pub wishes: &'a Wishes,
    /// What the person answered, if they were asked.
    pub answers: Option<&'a Answers>,
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
    /// Whether it may not because its lease is over, and for no other reason.
    pub lapsed: bool,
    /// Whether it holds power over others.
    pub administrator: bool,
    /// The attributes of purposes that it has a value of.
    pub present: Vec<AttributePath>,
    /// Its address, if its owner has proved it to us. What a client or an administrator wrote proves nothing.
    pub verified_email: Option<String>,
}

/// The account that a first login would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is not known where, or how it would be called.
    Unclear(Denial),
    /// It is known where, but the rule gives no name.
    Nameless {
        /// The store.
        store: StoreName,
        /// Why.
        denial: Denial,
    },
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
    Complete(Account, Agreement),
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
        /// With this.
        agreement: Agreement,
    },
    /// A link to an account that was there before.
    Link(Account, Agreement),
    /// The account as it was before its lease was over. Then it is decided anew.
    Renew(Account),
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Whether the account of the wanted name is theirs: its password proves it.
    LinkProof(Account),
    /// What an account is made with.
    Details(Questions),
    /// Nothing: somebody else is asked to let them in.
    Approval,
}

/// Decides. The same facts always give the same decision.
pub fn decide(facts: &Facts<'_>) -> Decision {
    if let Err(denial) = admissible(facts) {
        return Decision::Refuse(denial);
    }
    if let Some(account) = facts.linked {
        if account.lapsed {
            return Decision::Provision(Proposal::Renew(account.clone()));
        }
        if !account.active {
            return Decision::Refuse(Denial::AccountDisabled);
        }
        let complete = |agreement| Decision::Complete(account.clone(), agreement);
        return agreed(facts, open(facts, account), &account.username, complete);
    }
    if let Some(account) = facts.expected.filter(|account| !account.administrator) {
        if !account.active {
            return Decision::Refuse(Denial::AccountDisabled);
        }
        let link = |agreement| Decision::Provision(Proposal::Link(account.clone(), agreement));
        return agreed(facts, open(facts, account), &account.username, link);
    }
    if mode(facts) == JitMode::Off {
        return Decision::Refuse(Denial::NoAccount);
    }
    if facts.parted && facts.policy.returning == Returning::Refuse {
        return Decision::Refuse(Denial::AccountRemoved);
    }
    match facts.wanted {
        Wanted::Nameless { .. } if mode(facts).asks_username() => another_name(facts, Problem::BadName),
        Wanted::Unclear(denial) | Wanted::Nameless { denial, .. } => Decision::Refuse(denial.clone()),
        Wanted::Named {
            store,
            username,
            holder: None,
        } => {
            if let Some(decision) = unapproved(facts) {
                return decision;
            }
            let create = |agreement| {
                Decision::Provision(Proposal::Create {
                    store: store.clone(),
                    username: username.clone(),
                    agreement,
                })
            };
            agreed(facts, newcomer(facts, username), username, create)
        }
        Wanted::Named {
            holder: Some(holder), ..
        } => conflict(facts, holder),
    }
}

/// Before anybody is asked anything for a new account, somebody else may have to approve of it.
fn unapproved(facts: &Facts<'_>) -> Option<Decision> {
    if !facts.policy.approval.applies(&facts.identity.claims) {
        return None;
    }
    match facts.approval {
        ApprovalStatus::None => Some(Decision::Ask(Prompt::Approval)),
        ApprovalStatus::Granted => None,
        ApprovalStatus::Refused { reason } => Some(Decision::Refuse(Denial::NotApproved { reason: reason.clone() })),
    }
}

fn mode(facts: &Facts<'_>) -> JitMode {
    facts.service_provider.mode(facts.policy)
}

/// Goes on if nothing is asked, or if all of it is answered well.
fn agreed(
    facts: &Facts<'_>,
    questions: Questions,
    username: &str,
    go_on: impl FnOnce(Agreement) -> Decision,
) -> Decision {
    if questions.is_empty() {
        return go_on(Agreement::default());
    }
    let Some(answers) = facts.answers else {
        return Decision::Ask(Prompt::Details(questions));
    };
    let parties = Parties {
        identity_provider: facts.provider,
        service_provider: &facts.service_provider.name,
    };
    match questions.settle(answers, username, facts.passwords, parties) {
        Ok(agreement) => go_on(agreement),
        Err(questions) => Decision::Ask(Prompt::Details(*questions)),
    }
}

/// What somebody is asked who has no account yet.
fn newcomer(facts: &Facts<'_>, username: &str) -> Questions {
    let mode = mode(facts);
    if !mode.asks_consent() {
        return Questions::default();
    }
    Questions {
        username: mode.asks_username().then(|| username.to_owned()),
        password: mode.asks_password(),
        purposes: facts.purposes.to_vec(),
        missing: missing(facts, &[]),
        suggested: claims::suggestions(facts.claims, &facts.identity.claims),
        ..Questions::default()
    }
}

/// What somebody is asked who has an account: only what they have not agreed to yet.
fn open(facts: &Facts<'_>, account: &Account) -> Questions {
    if !mode(facts).asks_consent() {
        return Questions::default();
    }
    let unknown = facts.purposes.iter().filter(|purpose| !covers(facts.given, purpose));
    Questions {
        purposes: unknown.cloned().collect(),
        missing: missing(facts, &account.present),
        ..Questions::default()
    }
}

/// The attributes that a purpose cannot do without and that neither the provider nor the account has.
fn missing(facts: &Facts<'_>, present: &[AttributePath]) -> Vec<AttributePath> {
    let mut missing = Vec::new();
    for attribute in facts.purposes.iter().flat_map(|purpose| &purpose.attributes) {
        let known = attribute.optional
            || present.contains(&attribute.path)
            || missing.contains(&attribute.path)
            || claims::says(facts.claims, &facts.identity.claims, &attribute.path);
        if !known {
            missing.push(attribute.path.clone());
        }
    }
    missing
}

/// Asks for a name, since the one at hand will not do; for no reason that would have to be told if nobody typed it.
fn another_name(facts: &Facts<'_>, problem: Problem) -> Decision {
    if let Some(decision) = unapproved(facts) {
        return decision;
    }
    let typed = facts.answers.and_then(|answers| answers.username.as_ref());
    let mut questions = newcomer(facts, typed.map_or("", String::as_str));
    if typed.is_some() {
        questions.problems.push(problem);
    }
    Decision::Ask(Prompt::Details(questions))
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
    if mode(facts).asks_username() {
        let typed = facts.answers.is_some_and(|answers| answers.username.is_some());
        // A name that somebody types is never a way to the account that has it.
        if typed || facts.wishes.another_name || !may_link {
            return another_name(facts, Problem::NameTaken);
        }
    }
    if !may_link {
        return Decision::Refuse(Denial::NameTaken);
    }
    let proved = facts.proved == Some(&holder.id);
    if proved || (facts.policy.on_conflict == OnConflict::LinkVerifiedEmail && verified_on_both_sides(facts, holder)) {
        let link = |agreement| Decision::Provision(Proposal::Link(holder.clone(), agreement));
        return agreed(facts, open(facts, holder), &holder.username, link);
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
