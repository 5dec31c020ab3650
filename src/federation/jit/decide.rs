//! Decides what a login does, from facts alone.
//! Everything that the front door does follows from this function.

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

/// The facts that the decision is based on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The identity provider of the login.
    pub provider: &'a IdentityProviderName,
    /// The provisioning policy of the provider.
    pub policy: &'a JitPolicy,
    /// The e-mail domains that the provider is trusted for; any if empty.
    pub trusted_email_domains: &'a [String],
    /// The claim mapping.
    pub claims: &'a [ClaimMapping],
    /// The policy of the application.
    pub service_provider: &'a ServiceProviderPolicy,
    /// The identity that the provider asserts.
    pub identity: &'a Identity,
    /// The purposes that attributes are stored for.
    pub purposes: &'a [Purpose],
    /// The password policy.
    pub passwords: PasswordPolicy,
    /// The account that the identity is linked to.
    pub linked: Option<&'a Account>,
    /// The account that a trusted SCIM client made for this subject and that is not linked yet.
    pub expected: Option<&'a Account>,
    /// The answer to the request for approval.
    pub approval: &'a ApprovalStatus,
    /// Whether the identity had an account that was removed.
    pub parted: bool,
    /// The consents that the person gave before, oldest first.
    pub given: &'a [Consent],
    /// The account that a first login would make, and the account that has its user name already.
    pub wanted: &'a Wanted,
    /// The account that the person has proved to be theirs, in this login and for this identity.
    pub proved: Option<&'a ResourceId>,
    /// Choices of the person that deviate from the policy.
    pub wishes: &'a Wishes,
    /// The answers of the person, if questions were asked.
    pub answers: Option<&'a Answers>,
}

/// A local account, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its store.
    pub store: StoreName,
    /// Its id.
    pub id: ResourceId,
    /// Its user name, for the person to recognise.
    pub username: String,
    /// Whether it is active.
    pub active: bool,
    /// Whether it is inactive only because its lease expired.
    pub lapsed: bool,
    /// Whether it is an administrator's.
    pub administrator: bool,
    /// The attributes of the purposes that have a value in the account.
    pub present: Vec<AttributePath>,
    /// Its e-mail address, if its owner verified it here. An address that a client or an administrator wrote does not
    /// count.
    pub verified_email: Option<String>,
}

/// The account that a first login would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The userstore is not known, or no account can be made.
    Unclear(Denial),
    /// The userstore is known, but the rule gives no valid user name.
    Nameless {
        /// The store.
        store: StoreName,
        /// The reason.
        denial: Denial,
    },
    /// Userstore and user name are known. Another account may have the name.
    Named {
        /// The store.
        store: StoreName,
        /// The name.
        username: String,
        /// The account that has the name and is not linked to this identity.
        holder: Option<Account>,
    },
}

/// The next action of the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The person is this user; the attributes are updated from the claims.
    Complete(Account, Agreement),
    /// A change must be written first.
    Provision(Proposal),
    /// The person must answer or wait first.
    Ask(Prompt),
    /// The login is refused.
    Refuse(Denial),
}

/// A change that must be written before the login completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// A new account, linked.
    Create {
        /// In this store.
        store: StoreName,
        /// Under this name.
        username: String,
        /// With these answers of the person.
        agreement: Agreement,
    },
    /// A link to an existing account.
    Link(Account, Agreement),
    /// The account is enabled again, because only its expired lease disabled it. Then the login is decided again.
    Renew(Account),
}

/// A step that the person must take before the login goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A proof that the account with the user name is theirs: its password.
    LinkProof(Account),
    /// Answers to the questions that an account is made with.
    Details(Questions),
    /// No answer: the login waits for approval.
    Approval,
}

/// Decides the next action. Equal facts always give the same decision.
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

/// Returns a decision if a new account needs an approval that it does not have. Checked before the person is asked
/// anything.
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

/// Calls `go_on` if there are no questions or all answers are valid; otherwise asks the questions.
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

/// Returns the questions for a person without an account.
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

/// Returns the questions for a person with an account: only purposes without consent and missing attributes.
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

/// Returns the required attributes of the purposes that neither the provider nor the account has.
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

/// Asks for another user name. The problem is shown only if the person typed the name.
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

/// Checks the rules that hold for every login, linked or not.
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

/// Decides when an account that is not linked to this identity has the user name. It is never overwritten.
fn conflict(facts: &Facts<'_>, holder: &Account) -> Decision {
    let may_link = facts.policy.on_conflict != OnConflict::Refuse && holder.active;
    if mode(facts).asks_username() {
        let typed = facts.answers.is_some_and(|answers| answers.username.is_some());
        // A user name that the person typed never leads to linking the account that has it.
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

/// Whether the provider and the owner both verified the same address, the provider is trusted for its domain by
/// configuration, and the account is not an administrator's.
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
