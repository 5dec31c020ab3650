//! A login that is rehearsed: the real steps with an assertion that is given, and a person who agrees to everything.

use serde_json::{Value, json};
use url::Url;

use super::denial::Denial;
use super::login::{Federation, FederationError};
use super::policy::IdentityProviderSettings;
use super::provider::{Hint, Identity, IdentityProvider, Pending, ProviderError, Returned};
use super::purpose::AttributePath;
use super::questions::{Answers, Questions};
use super::step::{FactorPage, Page, Step};
use super::upstream::Upstream;
use crate::domain::login::AuthorizationRequest;
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};
use crate::storage::random;

/// How many pages are gone through at most.
const PAGES: usize = 10;

/// Everybody's assertion at an identity provider.
struct Given(Identity);

impl IdentityProvider for Given {
    fn begin(&self, callback: &Url, _hint: &Hint) -> Result<(Url, Pending), ProviderError> {
        let pending = Pending {
            issuer: self.0.issuer.clone(),
            callback: callback.clone(),
            state: random::token(),
            nonce: String::new(),
            verifier: String::new(),
        };
        let mut url = callback.clone();
        url.query_pairs_mut().append_pair("state", &pending.state);
        Ok((url, pending))
    }

    fn finish(&self, _returned: &Returned, _pending: &Pending) -> Result<Identity, ProviderError> {
        Ok(self.0.clone())
    }
}

/// An identity provider that says one thing.
pub fn upstream(settings: IdentityProviderSettings, identity: Identity) -> Upstream {
    Upstream::new(settings, Box::new(Given(identity)))
}

/// How a rehearsal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The person is in, or would be after the last page.
    In,
    /// The person stands at a page that no rehearsal gets past.
    Stands,
    /// The person stays outside.
    Refused(Denial),
}

/// What the person saw, and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The pages, each with what it asks.
    pub pages: Vec<Value>,
    /// The end.
    pub ending: Ending,
}

impl Federation {
    /// Goes through a login to an application through an identity provider. What it writes goes where this front door
    /// writes: give it a copy.
    pub fn rehearse(
        &self,
        provider: &IdentityProviderName,
        service_provider: &ServiceProviderName,
    ) -> Result<Course, FederationError> {
        let request = AuthorizationRequest {
            client_id: "rehearsal".to_owned(),
            ..AuthorizationRequest::of_ourselves(String::new(), None)
        };
        let handle = self.start(request, service_provider)?.handle;
        let mut pages = Vec::new();
        let to = match self.choose(&handle, provider)? {
            Ok(to) => to,
            Err(denial) => {
                let ending = Ending::Refused(denial);
                return Ok(Course { pages, ending });
            }
        };
        let state = to.query_pairs().find(|(name, _)| name == "state");
        let returned = Returned {
            code: Some(String::new()),
            state: state.map(|(_, state)| state.into_owned()),
            ..Returned::default()
        };
        let mut step = self.callback(&handle, provider, &returned)?;
        let ending = loop {
            let page = match step {
                Step::Complete(..) => break Ending::In,
                Step::Refused(denial) => break Ending::Refused(denial),
                Step::Show(screen) => screen.page,
            };
            let asks_again = pages.len() >= PAGES;
            pages.push(described(&page));
            step = match page {
                Page::Details(details) if !asks_again && details.questions.problems.is_empty() => {
                    self.answer(&handle, agreeing(&details.questions))?
                }
                // By then everything is written, and whoever has the factor enters.
                Page::SecondFactor(_) => break Ending::In,
                _ => break Ending::Stands,
            };
        };
        Ok(Course { pages, ending })
    }
}

/// What somebody answers who agrees to everything and fills everything in.
fn agreeing(questions: &Questions) -> Answers {
    let password = Secret::new(random::token());
    let offered = questions.purposes.iter().flat_map(|purpose| &purpose.attributes);
    let missing = questions
        .missing
        .iter()
        .map(|path| (path, "(what the person fills in)"));
    let suggested = questions.suggested.iter().map(|(path, text)| (path, text.as_str()));
    Answers {
        username: questions.username.clone(),
        passwords: Some((password.clone(), password)),
        kept: offered.map(|attribute| attribute.path.as_str().to_owned()).collect(),
        attributes: missing
            .chain(suggested)
            .map(|(path, text)| (path.as_str().to_owned(), text.to_owned()))
            .collect(),
    }
}

fn described(page: &Page) -> Value {
    match page {
        Page::SignIn { .. } => json!({ "page": "sign_in" }),
        Page::LinkProof { username, .. } => json!({ "page": "link_proof", "account": username }),
        Page::Waiting { .. } => json!({ "page": "approval" }),
        Page::SecondFactor(factor) => json!({ "page": match factor {
            FactorPage::Code { .. } => "authenticator_code",
            FactorPage::MailCode { .. } => "mail_code",
            FactorPage::Enrol { .. } => "authenticator_set_up",
            FactorPage::RecoveryCodes(_) => "recovery_codes",
        } }),
        Page::Details(details) => {
            let questions = &details.questions;
            let purposes = questions.purposes.iter().map(|purpose| purpose.name.as_str());
            json!({
                "page": "details",
                "username": questions.username,
                "password": questions.password,
                "purposes": purposes.collect::<Vec<_>>(),
                "missing": questions.missing.iter().map(AttributePath::as_str).collect::<Vec<_>>(),
                "suggested": questions.suggested.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            })
        }
    }
}
