//! The page for consent and missing values of a new account, and its form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::web::{Data, Form};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::out_of_date;
use super::{ArrivedBy, LoginData, finish_step, foreign_form, own_cookies, run};
use crate::domain::Secret;
use crate::domain::password::PasswordDefect;
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::purpose::{Purpose, Wording};
use crate::federation::jit::questions::{AnswerProblem, Answers, Questions};
use crate::federation::login::step::Details;
use crate::server::href::Href;
use crate::server::page::{Choosable, DetailsForm, Field, NewPassword, PurposeText};
use crate::server::{language, messages};

/// The prefix of an attribute's form field, before its path.
const PREFIX: &str = "attribute:";

/// `POST /login/details`: takes the answers, or the refusal to agree.
pub(super) async fn answer(
    login_data: Data<LoginData>,
    http: HttpRequest,
    form: Form<Vec<(String, String)>>,
) -> HttpResponse {
    let Some(form) = DetailsFields::read(form.into_inner()) else {
        return out_of_date();
    };
    let Some(cookies) = own_cookies(&login_data, &http, form.one("csrf")) else {
        return foreign_form(&login_data, &http);
    };
    let (federation, handle) = (Arc::clone(&login_data.federation), cookies.handle.clone());
    let step = run(move || match form.one("decision") {
        "agree" => federation.login.answer(cookies.browser(), form.answers()),
        "refuse" => federation.login.disagree(cookies.browser()),
        _ => federation.login.view(cookies.browser()),
    })
    .await;
    finish_step((&login_data, &http), Some(&handle), step, ArrivedBy::ByForm).await
}

/// The submitted form.
struct DetailsFields {
    once: BTreeMap<String, String>,
    kept: BTreeSet<String>,
}

impl DetailsFields {
    /// Reads the fields. `None` if one occurs twice, since it is not clear which one counts.
    fn read(pairs: Vec<(String, String)>) -> Option<Self> {
        let mut sent = Self {
            once: BTreeMap::new(),
            kept: BTreeSet::new(),
        };
        for (name, value) in pairs {
            if name == "keep" {
                sent.kept.insert(value);
            } else if sent.once.insert(name, value).is_some() {
                return None;
            }
        }
        Some(sent)
    }

    fn one(&self, name: &str) -> &str {
        self.once.get(name).map_or("", String::as_str)
    }

    fn answers(&self) -> Answers {
        let secret = |name: &str| self.once.get(name).map(|text| Secret::new(text.clone()));
        let attributes = self.once.iter();
        Answers {
            username: self.once.get("username").map(|name| name.trim().to_owned()),
            passwords: secret("password").zip(secret("password_again")),
            page: Some(self.one("page").to_owned()),
            shown: Vec::new(),
            kept: self.kept.clone(),
            attributes: attributes
                .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value.clone())))
                .collect(),
        }
    }
}

/// Builds the page for the questions.
pub(super) fn page(details: Details, service_provider: String, csrf: &str) -> DetailsForm {
    let Details {
        provider,
        known,
        questions,
        shortest_password,
    } = details;
    let asked = |path: &WritablePath| {
        let mut suggested = questions.suggested.iter();
        questions.missing.contains(path) || suggested.any(|(suggested, _)| suggested == path)
    };
    let known = known.into_iter().filter(|(path, _)| !asked(path));
    let has = |is_meant: fn(&AnswerProblem) -> bool| questions.problems.iter().any(is_meant);
    let bad_name = has(|problem| matches!(problem, AnswerProblem::NameTaken | AnswerProblem::BadName));
    let bad_password = has(|problem| matches!(problem, AnswerProblem::Password(_) | AnswerProblem::PasswordsDiffer));
    let bad_attribute = has(|problem| matches!(problem, AnswerProblem::Attribute(_)));
    let username = questions.username.clone().map(|value| Field {
        name: "username".to_owned(),
        label: messages::text("sign_in.username").to_owned(),
        value,
        invalid: bad_name,
        focus: bad_name,
    });
    let account_name = questions.account_name.clone();
    let name = account_name.map(|name| (messages::text("sign_in.username").to_owned(), name));
    let known = known.map(|(path, value)| (label(path.as_str()), value));
    DetailsForm {
        is_new: questions.account_name.is_some() || questions.username.is_some(),
        known: name.into_iter().chain(known).collect(),
        username,
        fields: fields(&questions, bad_name),
        password: questions.password.then(|| NewPassword {
            rule: password_rule(shortest_password),
            invalid: bad_password,
            focus: bad_password && !bad_name && !bad_attribute,
        }),
        problems: notices(&questions.problems),
        purposes: questions
            .purposes
            .iter()
            .map(|purpose| told(purpose, &questions.kept))
            .collect(),
        service_provider,
        provider,
        action: "/login/details",
        page: questions.page(),
        csrf: csrf.to_owned(),
    }
}

/// The rule for passwords, as people read it.
pub(in crate::server) fn password_rule(shortest: usize) -> String {
    messages::filled("details.password_rule", &[("length", shortest.to_string())])
}

/// The text fields. The first invalid one has the focus, unless the user name has it.
fn fields(questions: &Questions, mut is_focused: bool) -> Vec<Field> {
    let missing = questions.missing.iter().map(|path| (path, ""));
    let suggested = questions.suggested.iter().map(|(path, value)| (path, value.as_str()));
    let field = |(path, value): (&WritablePath, &str)| {
        let invalid = questions.problems.contains(&AnswerProblem::Attribute(path.clone()));
        let focus = invalid && !is_focused;
        is_focused |= focus;
        Field {
            name: format!("{PREFIX}{}", path.as_str()),
            label: label(path.as_str()),
            value: questions
                .typed
                .get(path.as_str())
                .map_or(value, String::as_str)
                .to_owned(),
            invalid,
            focus,
        }
    };
    missing.chain(suggested).map(field).collect()
}

/// Returns the faults of the last input: a title and a text for each kind. The text about missing values names their fields.
fn notices(problems: &[AnswerProblem]) -> Vec<(&'static str, String)> {
    let mut notices = Vec::new();
    for problem in problems {
        let (title, text) = messages::message(match problem {
            AnswerProblem::NameTaken => "username_taken",
            AnswerProblem::BadName => "username_unusable",
            AnswerProblem::Password(PasswordDefect::Short) => "password_short",
            AnswerProblem::Password(PasswordDefect::Long) => "password_long",
            AnswerProblem::Password(PasswordDefect::Username) => "password_is_name",
            AnswerProblem::Password(PasswordDefect::Common) => "password_common",
            AnswerProblem::PasswordsDiffer => "passwords_differ",
            AnswerProblem::Attribute(_) => "attribute_missing",
            AnswerProblem::PurposesChanged => "purposes_changed",
        });
        let text = match problem {
            AnswerProblem::Attribute(_) => {
                let of_fields = problems.iter().filter_map(|problem| match problem {
                    AnswerProblem::Attribute(path) => Some(label(path.as_str())),
                    _ => None,
                });
                let named: Vec<String> = of_fields.collect();
                messages::filled("details.fill_in", &[("fields", named.join(", "))])
            }
            _ => text.to_owned(),
        };
        if !notices.contains(&(title, text.clone())) {
            notices.push((title, text));
        }
    }
    notices
}

fn told(purpose: &Purpose, kept: &BTreeSet<String>) -> PurposeText {
    let tag = language::current().tag();
    let words = |wording: &Option<Wording>| wording.as_ref().map(|wording| wording.in_language(tag).to_owned());
    let (optional, needed): (Vec<_>, Vec<_>) = purpose.attributes.iter().partition(|attribute| attribute.optional);
    PurposeText {
        title: words(&purpose.title).unwrap_or_else(|| messages::text("details.account").to_owned()),
        text: words(&purpose.text).unwrap_or_else(|| messages::text("details.account_text").to_owned()),
        needed: needed
            .into_iter()
            .map(|attribute| label(attribute.path.as_str()))
            .collect(),
        optional: optional
            .into_iter()
            .map(|attribute| Choosable {
                path: attribute.path.as_str().to_owned(),
                label: label(attribute.path.as_str()),
                chosen: kept.contains(attribute.path.as_str()),
            })
            .collect(),
        jurisdiction: words(&purpose.jurisdiction),
        retention: words(&purpose.retention),
        policy: purpose.policy_url.as_ref().and_then(|url| Href::parse(url.as_str())),
    }
}

/// The label of an attribute; `emails[type eq "work"].value` has that of `emails`. Unknown ones show their names.
pub(in crate::server) fn label(path: &str) -> String {
    let name = path.split('[').next().unwrap_or(path);
    let name = name.rsplit(':').next().unwrap_or(name);
    messages::find(&format!("attribute.{}", name.replace('.', "_"))).map_or_else(|| name.to_owned(), str::to_owned)
}
