//! Decides what a login does, from facts alone.
//! Everything that the front door does follows from this function.

use serde_json::{Map, Value};

use crate::domain::email::Email;
use crate::domain::password::PasswordPolicy;
use crate::domain::{Consent, IdentityProviderName, ResourceId, StoreName};
use crate::federation::idp::provider::Identity;
use crate::federation::jit::approval::ApprovalStatus;
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::claim_mapping::{self, ClaimMapping};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::entry::accepts_store;
use crate::federation::jit::policy::{JitMode, JitPolicy, OnConflict, Returning, ServiceProviderPolicy};
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::questions::{
    Agreement, AnswerProblem, Answers, ConsentParties, LoginPreferences, Questions, covers,
};

/// The facts that the decision is based on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionInput<'a> {
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
    pub linked: Option<&'a LocalAccount>,
    /// The account that a trusted SCIM client keeps for this subject and that is not linked to it.
    pub expected: Option<&'a ExpectedAccount>,
    /// The answer to the request for approval.
    pub approval: &'a ApprovalStatus,
    /// Whether the identity had an account that was removed.
    pub unlinked: bool,
    /// The consents that the person gave before, oldest first.
    pub given: &'a [Consent],
    /// The account that a first login would make, and the account that has its user name already.
    pub wanted: &'a DesiredAccount,
    /// The account that the person has proved to be theirs, in this login and for this identity.
    pub proved: Option<&'a ResourceId>,
    /// Choices of the person that deviate from the policy.
    pub wishes: &'a LoginPreferences,
    /// The answers of the person, if questions were asked.
    pub answers: Option<&'a Answers>,
}

/// A local account, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalAccount {
    /// Its store.
    pub store: StoreName,
    /// Its id.
    pub id: ResourceId,
    /// Its user name, for the person to recognise.
    pub username: String,
    /// Whether it is active.
    pub active: bool,
    /// Whether it is inactive only because its lease expired.
    pub lease_expired: bool,
    /// Whether it is an administrator's.
    pub administrator: bool,
    /// The attributes of the purposes that have a value in the account.
    pub present: Vec<WritablePath>,
    /// Its e-mail address, if its owner verified it here and the account has no authenticator. An address that a client or an administrator wrote does not
    /// count.
    pub verified_email: Option<String>,
}

/// An account that a trusted SCIM client keeps for the subject of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedAccount {
    /// The account.
    pub account: LocalAccount,
    /// Whether the client's statement is not enough: the account has another identity at the provider, or the person
    /// unlinked this one.
    pub needs_proof: bool,
}

/// The account that a first login would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DesiredAccount {
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
        holder: Option<LocalAccount>,
    },
}

/// The next action of the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The person is this user; the attributes are updated from the claims.
    Complete(LocalAccount, Agreement),
    /// A change must be written first.
    Provision(Proposal),
    /// The person must answer or wait first.
    Ask(LoginPrompt),
    /// The login is refused.
    Refuse(Denial),
}

/// A change that must be written before the login completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proposal {
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
    Link(LocalAccount, Agreement),
    /// The account is enabled again, because only its expired lease disabled it. Then the login is decided again.
    Renew(LocalAccount),
}

/// A step that the person must take before the login goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginPrompt {
    /// A proof that the account with the user name is theirs: its password.
    LinkProof(LocalAccount),
    /// Answers to the questions that an account is made with.
    Details(Questions),
    /// No answer: the login waits for approval.
    Approval,
}

/// Decides the next action. Equal facts always give the same decision.
pub(crate) fn decide(input: &DecisionInput<'_>) -> Decision {
    if let Err(denial) = admissible(input) {
        return Decision::Refuse(denial);
    }
    let known = input.linked.or(input.expected.map(|expected| &expected.account));
    if known.is_some_and(|account| !accepts_store(input.service_provider, &account.store)) {
        return Decision::Refuse(Denial::OtherStore);
    }
    if let Some(account) = input.linked {
        if account.lease_expired {
            return Decision::Provision(Proposal::Renew(account.clone()));
        }
        if !account.active {
            return Decision::Refuse(Denial::AccountDisabled);
        }
        let complete = |agreement| Decision::Complete(account.clone(), agreement);
        return agreed(input, open(input, account), &account.username, complete);
    }
    if let Some(ExpectedAccount { account, needs_proof }) = input.expected {
        // No other account is made for a person whom a trusted client knows: what it switched off stays off.
        if !account.active {
            return Decision::Refuse(Denial::AccountDisabled);
        }
        if (*needs_proof || account.administrator) && input.proved != Some(&account.id) {
            return match input.policy.on_conflict {
                OnConflict::Refuse => Decision::Refuse(Denial::NameTaken),
                _ => Decision::Ask(LoginPrompt::LinkProof(account.clone())),
            };
        }
        let link = |agreement| Decision::Provision(Proposal::Link(account.clone(), agreement));
        return agreed(input, open(input, account), &account.username, link);
    }
    if mode(input) == JitMode::Off {
        return Decision::Refuse(Denial::NoAccount);
    }
    if input.unlinked && input.policy.returning == Returning::Refuse {
        return Decision::Refuse(Denial::AccountRemoved);
    }
    match input.wanted {
        DesiredAccount::Nameless { .. } if mode(input).asks_username() => another_name(input, AnswerProblem::BadName),
        DesiredAccount::Unclear(denial) | DesiredAccount::Nameless { denial, .. } => Decision::Refuse(denial.clone()),
        DesiredAccount::Named {
            store,
            username,
            holder: None,
        } => {
            if let Some(decision) = unapproved(input) {
                return decision;
            }
            let create = |agreement| {
                Decision::Provision(Proposal::Create {
                    store: store.clone(),
                    username: username.clone(),
                    agreement,
                })
            };
            agreed(input, newcomer(input, username), username, create)
        }
        DesiredAccount::Named {
            holder: Some(holder), ..
        } => conflict(input, holder),
    }
}

/// Returns a decision if a new account needs an approval that it does not have. Checked before the person is asked
/// anything.
fn unapproved(input: &DecisionInput<'_>) -> Option<Decision> {
    if !input.policy.approval.applies(&input.identity.claims) {
        return None;
    }
    match input.approval {
        ApprovalStatus::None => Some(Decision::Ask(LoginPrompt::Approval)),
        ApprovalStatus::Granted => None,
        ApprovalStatus::Refused { reason } => Some(Decision::Refuse(Denial::NotApproved { reason: reason.clone() })),
    }
}

fn mode(input: &DecisionInput<'_>) -> JitMode {
    input.service_provider.mode(input.policy)
}

/// Calls `go_on` if there are no questions or all answers are valid; otherwise asks the questions.
fn agreed(
    input: &DecisionInput<'_>,
    questions: Questions,
    username: &str,
    go_on: impl FnOnce(Agreement) -> Decision,
) -> Decision {
    if questions.is_empty() {
        return go_on(Agreement::default());
    }
    let Some(answers) = input.answers else {
        return Decision::Ask(LoginPrompt::Details(questions));
    };
    let parties = ConsentParties {
        identity_provider: input.provider,
        service_provider: &input.service_provider.name,
    };
    match questions.validate_answers(answers, username, input.passwords, parties) {
        Ok(agreement) => go_on(agreement),
        Err(questions) => Decision::Ask(LoginPrompt::Details(*questions)),
    }
}

/// Returns the questions for a person without an account.
fn newcomer(input: &DecisionInput<'_>, username: &str) -> Questions {
    let mode = mode(input);
    if !mode.asks_consent() {
        return Questions::default();
    }
    // Values that an administrator approved cannot be changed afterwards.
    let suggested = if input.policy.approval.applies(&input.identity.claims) {
        Vec::new()
    } else {
        claim_mapping::suggestions(input.claims, &input.identity.claims)
    };
    Questions {
        username: mode.asks_username().then(|| username.to_owned()),
        account_name: (!mode.asks_username()).then(|| username.to_owned()),
        password: mode.asks_password(),
        purposes: input.purposes.to_vec(),
        missing: missing(input, &[]),
        suggested,
        ..Questions::default()
    }
}

/// Returns the questions for a person with an account: only purposes without consent and missing attributes.
fn open(input: &DecisionInput<'_>, account: &LocalAccount) -> Questions {
    if !mode(input).asks_consent() {
        return Questions::default();
    }
    let unknown = input.purposes.iter().filter(|purpose| !covers(input.given, purpose));
    Questions {
        purposes: unknown.cloned().collect(),
        missing: missing(input, &account.present),
        ..Questions::default()
    }
}

/// Returns the required attributes of the purposes that neither the provider nor the account has.
fn missing(input: &DecisionInput<'_>, present: &[WritablePath]) -> Vec<WritablePath> {
    let mut missing = Vec::new();
    for attribute in input.purposes.iter().flat_map(|purpose| &purpose.attributes) {
        let known = attribute.optional
            || present.contains(&attribute.path)
            || missing.contains(&attribute.path)
            || claim_mapping::says(input.claims, &input.identity.claims, &attribute.path);
        if !known {
            missing.push(attribute.path.clone());
        }
    }
    missing
}

/// Asks for another user name. The problem is shown only if the person typed the name.
fn another_name(input: &DecisionInput<'_>, problem: AnswerProblem) -> Decision {
    if let Some(decision) = unapproved(input) {
        return decision;
    }
    let typed = input.answers.and_then(|answers| answers.username.as_ref());
    let mut questions = newcomer(input, typed.map_or("", String::as_str));
    if typed.is_some() {
        questions.problems.push(problem);
    }
    Decision::Ask(LoginPrompt::Details(questions))
}

/// Checks the rules that hold for every login, linked or not.
fn admissible(input: &DecisionInput<'_>) -> Result<(), Denial> {
    if !input.service_provider.identity_providers.contains(input.provider) {
        return Err(Denial::ProviderNotAllowed);
    }
    check_claims(input.claims, &input.identity.claims, input.trusted_email_domains)
}

/// Checks that claims have what every login needs, and an address of a domain that the provider is trusted for.
pub(crate) fn check_claims(
    mappings: &[ClaimMapping],
    claims: &Map<String, Value>,
    trusted_email_domains: &[String],
) -> Result<(), Denial> {
    claim_mapping::check(mappings, claims)?;
    let said = claims.get("email").is_some_and(|email| !email.is_null() && email != "");
    match claim_mapping::email(claims) {
        None if said && !trusted_email_domains.is_empty() => Err(Denial::BadEmail),
        Some(email) if !trusted_email_domains.is_empty() && !is_of_domains(trusted_email_domains, &email) => {
            Err(Denial::EmailDomain)
        }
        _ => Ok(()),
    }
}

/// Decides when an account that is not linked to this identity has the user name. It is never overwritten.
fn conflict(input: &DecisionInput<'_>, holder: &LocalAccount) -> Decision {
    let may_link = input.policy.on_conflict != OnConflict::Refuse && holder.active;
    if mode(input).asks_username() {
        let typed = input.answers.is_some_and(|answers| answers.username.is_some());
        // A user name that the person typed never leads to linking the account that has it.
        if typed || input.wishes.another_name || !may_link {
            return another_name(input, AnswerProblem::NameTaken);
        }
    }
    if !may_link {
        return Decision::Refuse(Denial::NameTaken);
    }
    let proved = input.proved == Some(&holder.id);
    if proved || (input.policy.on_conflict == OnConflict::LinkVerifiedEmail && verified_on_both_sides(input, holder)) {
        let link = |agreement| Decision::Provision(Proposal::Link(holder.clone(), agreement));
        return agreed(input, open(input, holder), &holder.username, link);
    }
    Decision::Ask(LoginPrompt::LinkProof(holder.clone()))
}

/// Whether the provider and the owner both verified the same address, the provider is trusted for its domain by
/// configuration, and the account is not an administrator's.
fn verified_on_both_sides(input: &DecisionInput<'_>, holder: &LocalAccount) -> bool {
    let asserted = claim_mapping::verified_email(&input.identity.claims);
    let ours = holder.verified_email.as_deref().and_then(Email::parse);
    match (asserted, ours) {
        (Some(asserted), Some(ours)) => {
            !holder.administrator
                && is_of_domains(input.trusted_email_domains, &asserted)
                && asserted.same_mailbox(&ours)
        }
        _ => false,
    }
}

fn is_of_domains(domains: &[String], email: &Email<'_>) -> bool {
    domains.iter().any(|domain| email.is_at(domain))
}

#[cfg(test)]
mod tests;
