//! Rehearses a login: the real steps with a given assertion and a person who agrees to everything.

use serde_json::{Value, json};
use url::Url;

use crate::domain::login::AuthorizationRequest;
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};
use crate::federation::config::Upstream;
use crate::federation::error::{FederationError, LoginError};
use crate::federation::idp::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError,
};
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::questions::{Answers, Questions};
use crate::federation::jit::settings::IdentityProviderSettings;
use crate::federation::login::Login;
use crate::federation::login::step::{FactorPage, LoginPage, LoginStep};
use crate::storage::random;

/// Most pages that a rehearsal goes through.
const PAGES: usize = 10;

/// An identity provider that asserts one given identity for every login.
struct FixedIdentity(Identity);

impl IdentityProvider for FixedIdentity {
    fn begin(&self, callback: &Url, _hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        let state = random::token();
        let mut redirect = callback.clone();
        redirect.query_pairs_mut().append_pair("state", &state);
        Ok(AuthorizationStart {
            redirect,
            state: LoginSecret::new(state),
        })
    }

    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool {
        let given = parameters.get("state");
        given.is_some_and(|given| state.read::<String>().is_ok_and(|state| state == given))
    }

    fn finish(&self, _parameters: &CallbackParameters, _state: &LoginSecret) -> Result<Identity, ProviderError> {
        Ok(self.0.clone())
    }
}

/// Returns an identity provider that always asserts the given identity.
pub fn upstream(settings: IdentityProviderSettings, identity: Identity) -> Upstream {
    Upstream::new(settings, Box::new(FixedIdentity(identity)))
}

/// The result of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RehearsalEnding {
    /// The login completes, or would after the last page.
    In,
    /// The login waits at a page that no rehearsal gets past.
    Stands,
    /// The login is refused.
    Refused(Denial),
}

/// The pages and the result of a rehearsal.
#[derive(Clone, Debug, PartialEq)]
pub struct RehearsalReport {
    /// The pages, each with its questions.
    pub pages: Vec<Value>,
    /// The result.
    pub ending: RehearsalEnding,
}

/// Goes through a login to an application through an identity provider. What it writes goes to the database of `login`:
/// give it a copy.
pub fn rehearse(
    login: &Login,
    provider: &IdentityProviderName,
    service_provider: &ServiceProviderName,
) -> Result<RehearsalReport, FederationError> {
    let request = AuthorizationRequest {
        client_id: "rehearsal".to_owned(),
        ..AuthorizationRequest::of_ourselves(String::new(), None)
    };
    let handle = login.start(request, service_provider)?.handle;
    let mut pages = Vec::new();
    let ending = match pass(login, &handle, provider, &mut pages) {
        Ok(ending) => ending,
        Err(LoginError::Denied(denial, _)) => RehearsalEnding::Refused(denial),
        Err(LoginError::Failed(error)) => return Err(error),
    };
    Ok(RehearsalReport { pages, ending })
}

/// Passes the pages of a login and notes each of them.
fn pass(
    login: &Login,
    handle: &str,
    provider: &IdentityProviderName,
    pages: &mut Vec<Value>,
) -> Result<RehearsalEnding, LoginError> {
    let to = login.choose(handle, provider)?;
    let parameters: CallbackParameters = to.query_pairs().collect();
    let mut step = login.callback(handle, provider, &parameters)?;
    loop {
        let page = match step {
            LoginStep::Complete(..) => return Ok(RehearsalEnding::In),
            LoginStep::Show(screen) => screen.page,
        };
        let asks_again = pages.len() >= PAGES;
        pages.push(described(&page));
        step = match page {
            LoginPage::Details(details) if !asks_again && details.questions.problems.is_empty() => {
                login.answer(handle, agreeing(&details.questions))?
            }
            // By then everything is written, and a person who has the factor enters.
            LoginPage::SecondFactor(_) => return Ok(RehearsalEnding::In),
            _ => return Ok(RehearsalEnding::Stands),
        };
    }
}

/// Returns the answers of a person who agrees to everything and fills everything in.
fn agreeing(questions: &Questions) -> Answers {
    let password = Secret::new(random::token());
    let offered = questions.purposes.iter().flat_map(|purpose| &purpose.attributes);
    let missing = questions
        .missing
        .iter()
        .map(|path| (path, "(what the person fills in)"));
    let suggested = questions.suggested.iter().map(|(path, text)| (path, text.as_str()));
    Answers {
        page: None,
        shown: questions.purposes.clone(),
        username: questions.username.clone(),
        passwords: Some((password.clone(), password)),
        kept: offered.map(|attribute| attribute.path.as_str().to_owned()).collect(),
        attributes: missing
            .chain(suggested)
            .map(|(path, text)| (path.as_str().to_owned(), text.to_owned()))
            .collect(),
    }
}

fn described(page: &LoginPage) -> Value {
    match page {
        LoginPage::SignIn { .. } => json!({ "page": "sign_in" }),
        LoginPage::LinkProof(proof) => json!({ "page": "link_proof", "account": proof.username }),
        LoginPage::Waiting { .. } => json!({ "page": "approval" }),
        LoginPage::SecondFactor(factor) => json!({ "page": match factor {
            FactorPage::Code { .. } => "authenticator_code",
            FactorPage::MailCode { .. } => "mail_code",
            FactorPage::Enrol { .. } => "authenticator_set_up",
            FactorPage::RecoveryCodes(_) => "recovery_codes",
        } }),
        LoginPage::Details(details) => {
            let questions = &details.questions;
            let purposes = questions.purposes.iter().map(|purpose| purpose.name.as_str());
            json!({
                "page": "details",
                "username": questions.username,
                "password": questions.password,
                "purposes": purposes.collect::<Vec<_>>(),
                "missing": questions.missing.iter().map(WritablePath::as_str).collect::<Vec<_>>(),
                "suggested": questions.suggested.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            })
        }
    }
}
