//! Questions to a person during a login, and the validation of the answers.
//! Pure: part of the login decision.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::password::{PasswordDefect, PasswordPolicy};
use crate::domain::{Consent, IdentityProviderName, Secret, ServiceProviderName};
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::purpose::Purpose;
use crate::storage::random::fingerprint;

/// Longest text of an attribute, in characters.
const LONGEST: usize = 256;

/// Questions to a person before an account is made or used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    /// The proposed user name, if the person chooses one.
    pub username: Option<String>,
    /// The user name of the new account, if the person does not choose it; `None` for a person who has an account.
    #[serde(default)]
    pub account_name: Option<String>,
    /// Whether the person chooses a password.
    pub password: bool,
    /// The purposes to agree to.
    pub purposes: Vec<Purpose>,
    /// Required attributes to fill in.
    pub missing: Vec<WritablePath>,
    /// Attributes that the person may change, with the value that the provider suggests.
    pub suggested: Vec<(WritablePath, String)>,
    /// Problems of the last answers.
    pub problems: Vec<AnswerProblem>,
    /// Earlier answers for attributes, by path.
    pub typed: BTreeMap<String, String>,
    /// The optional attributes that the person chose to have stored, in earlier answers.
    pub kept: BTreeSet<String>,
}

/// A problem of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerProblem {
    /// Another account has the user name.
    NameTaken,
    /// The user name is not valid.
    BadName,
    /// The password does not meet the policy.
    Password(PasswordDefect),
    /// The two passwords differ.
    PasswordsDiffer,
    /// An attribute is empty, too long or has control characters.
    Attribute(WritablePath),
    /// The purposes have changed since the page was shown.
    PurposesChanged,
}

/// Answers of a person. Answers to other questions than the asked ones are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The user name.
    pub username: Option<String>,
    /// The password, twice.
    pub passwords: Option<(Secret, Secret)>,
    /// The fingerprint of the purposes that the form was sent for, if it has one.
    pub page: Option<String>,
    /// The purposes that the page showed.
    pub shown: Vec<Purpose>,
    /// The optional attributes that may be stored.
    pub kept: BTreeSet<String>,
    /// Texts of attributes, by path.
    pub attributes: BTreeMap<String, String>,
}

/// The valid answers, which the account is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The password that was chosen.
    pub password: Option<Secret>,
    /// The consents.
    pub consents: Vec<Consent>,
    /// Attributes that the person filled in.
    pub filled: Vec<(WritablePath, String)>,
    /// Suggested attributes as the person left or changed them.
    pub changed: Vec<(WritablePath, String)>,
}

/// Identity provider and application, for the consent record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsentParties<'a> {
    pub(crate) identity_provider: &'a IdentityProviderName,
    pub(crate) service_provider: &'a ServiceProviderName,
}

/// Choices of the person that are kept for the rest of the login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginPreferences {
    /// Another user name is wanted, instead of proving the account that has the first one.
    pub another_name: bool,
}

impl Questions {
    /// The fingerprint of the purposes. A form carries it, so that a copy of an older page agrees to nothing new.
    pub fn page(&self) -> String {
        let purposes = serde_json::to_string(&self.purposes).unwrap_or_default();
        let mut page = fingerprint(&format!("purposes/{purposes}"));
        page.truncate(16);
        page
    }

    /// Whether there are no questions.
    pub fn is_empty(&self) -> bool {
        self.username.is_none()
            && !self.password
            && self.purposes.is_empty()
            && self.missing.is_empty()
            && self.suggested.is_empty()
    }

    /// Validates the answers. Returns the agreement, or the questions again with the problems. `username` is the name
    /// that the account would have.
    pub(crate) fn validate_answers(
        self,
        answers: &Answers,
        username: &str,
        policy: PasswordPolicy,
        parties: ConsentParties<'_>,
    ) -> Result<Agreement, Box<Self>> {
        let mut problems = self.problems.clone();
        // A person agrees to what they saw: in this version, with these attributes.
        if !self.purposes.iter().all(|purpose| answers.shown.contains(purpose)) {
            problems.push(AnswerProblem::PurposesChanged);
        }
        let password = if self.password {
            chosen(answers, username, policy)
                .map_err(|problem| problems.push(problem))
                .ok()
        } else {
            None
        };
        let mut text = |path: &WritablePath| match answers.attributes.get(path.as_str()).map(|text| text.trim()) {
            Some(text) if is_fit(text) => Some((path.clone(), text.to_owned())),
            _ => {
                problems.push(AnswerProblem::Attribute(path.clone()));
                None
            }
        };
        let filled: Vec<_> = self.missing.iter().filter_map(&mut text).collect();
        let changed: Vec<_> = self.suggested.iter().filter_map(|(path, _)| text(path)).collect();
        if problems.is_empty() {
            return Ok(Agreement {
                password,
                consents: self
                    .purposes
                    .iter()
                    .map(|purpose| receipt(purpose, &answers.kept, parties))
                    .collect(),
                filled,
                changed,
            });
        }
        let asked = |path: &str| {
            let paths = self.missing.iter().chain(self.suggested.iter().map(|(path, _)| path));
            paths.map(WritablePath::as_str).any(|known| known == path)
        };
        let typed = answers.attributes.iter().filter(|(path, _)| asked(path));
        let short = |(path, text): (&String, &String)| (path.clone(), text.chars().take(LONGEST).collect());
        let typed = typed.map(short).collect();
        let offered = self.purposes.iter().flat_map(|purpose| &purpose.attributes);
        let kept = offered.map(|attribute| attribute.path.as_str().to_owned());
        let kept = kept.filter(|path| answers.kept.contains(path)).collect();
        Err(Box::new(Self {
            problems,
            typed,
            kept,
            ..self
        }))
    }
}

fn chosen(answers: &Answers, username: &str, policy: PasswordPolicy) -> Result<Secret, AnswerProblem> {
    let (password, again) = answers
        .passwords
        .as_ref()
        .ok_or(AnswerProblem::Password(PasswordDefect::Short))?;
    policy
        .check(password.expose(), username)
        .map_err(AnswerProblem::Password)?;
    if password != again {
        return Err(AnswerProblem::PasswordsDiffer);
    }
    Ok(password.clone())
}

fn is_fit(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control)
}

fn receipt(purpose: &Purpose, kept: &BTreeSet<String>, parties: ConsentParties<'_>) -> Consent {
    let paths = |wanted: bool| {
        let of = purpose
            .attributes
            .iter()
            .filter(move |attribute| wanted == (!attribute.optional || kept.contains(attribute.path.as_str())));
        of.map(|attribute| attribute.path.as_str().to_owned()).collect()
    };
    Consent {
        purpose: purpose.name.clone(),
        version: purpose.version,
        granted: paths(true),
        refused: paths(false),
        identity_provider: parties.identity_provider.clone(),
        service_provider: parties.service_provider.clone(),
    }
}

/// Whether an earlier consent covers the purpose in its present version.
pub(crate) fn covers(given: &[Consent], purpose: &Purpose) -> bool {
    let latest = given.iter().rev().find(|consent| consent.purpose == purpose.name);
    let granted = granted_for(given, &purpose.name);
    latest.is_some_and(|consent| {
        let mut needed = purpose.attributes.iter().filter(|attribute| !attribute.optional);
        consent.version == purpose.version && needed.all(|attribute| granted.contains(attribute.path.as_str()))
    })
}

/// Returns the attributes that the person agreed to have stored for a purpose. The purpose of the account itself has the
/// attributes that a login brings, so it grows with each consent until it is withdrawn.
fn granted_for<'a>(given: &'a [Consent], purpose: &str) -> BTreeSet<&'a str> {
    let mut granted = BTreeSet::new();
    for consent in given.iter().filter(|consent| consent.purpose == purpose) {
        if purpose != Purpose::ACCOUNT || consent.version == 0 {
            granted.clear();
        }
        granted.extend(consent.granted.iter().map(String::as_str));
    }
    granted
}

/// Returns the attributes that the person agreed to have stored.
pub(crate) fn granted(given: &[Consent]) -> BTreeSet<&str> {
    let purposes: BTreeSet<&str> = given.iter().map(|consent| consent.purpose.as_str()).collect();
    purposes
        .into_iter()
        .flat_map(|purpose| granted_for(given, purpose))
        .collect()
}

/// Returns the attributes that the person refused to have stored, by their newest consents.
pub(crate) fn refused(given: &[Consent]) -> BTreeSet<&str> {
    let mut latest: BTreeMap<&str, &Consent> = BTreeMap::new();
    for consent in given {
        latest.insert(&consent.purpose, consent);
    }
    let granted = granted(given);
    let refused = latest.values().flat_map(|consent| &consent.refused).map(String::as_str);
    refused.filter(|path| !granted.contains(path)).collect()
}
