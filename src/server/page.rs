//! The pages: what each one shows, and how it is sent.

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;

use super::headers;
use super::href::Href;
use super::messages;

/// The name of the form field that carries the CSRF token, on every form of every page.
pub const CSRF_FIELD: &str = "csrf";

/// Sends a page. `targets` are the addresses that the answer to one of its forms may redirect to beside ourselves.
pub fn respond(status: StatusCode, html: String, targets: &[Href]) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(status);
    headers::page_policy(&mut response, targets);
    response.content_type(ContentType::html()).body(html)
}

/// Where people can go on from a page that ends here: the application that sent them.
#[derive(Clone, Debug)]
pub struct WayOut {
    /// What people call the application.
    pub name: String,
    /// An address from its registration, never one from the request.
    pub href: Href,
}

/// An identity provider that can be chosen.
#[derive(Clone, Debug)]
pub struct ProviderChoice {
    /// Its name in the configuration; what the form sends as `identity_provider`.
    pub name: String,
    /// What people call it.
    pub display_name: String,
}

impl ProviderChoice {
    pub(super) fn monogram(&self) -> String {
        let initial = self.display_name.chars().find(|letter| letter.is_alphanumeric());
        initial.map_or_else(|| "?".to_owned(), |letter| letter.to_uppercase().collect())
    }
}

/// The form for a username and a password; it posts `csrf`, `username` and `password`.
#[derive(Clone, Debug)]
pub struct LocalLogin {
    /// The path that it posts to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The username to start with: the hint of the application, or what was typed before.
    pub username: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl LocalLogin {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// The ways of signing in to a service provider; posts `csrf` and `identity_provider`.
#[derive(Clone, Debug, Template)]
#[template(path = "chooser.html")]
pub struct Chooser {
    /// What people call the service provider.
    pub service_provider: String,
    /// The path that a choice is posted to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The identity providers, in the order in which they are shown.
    pub providers: Vec<ProviderChoice>,
    /// The form for an e-mail address, where its domain can tell the identity provider.
    pub by_email: Option<EmailForm>,
    /// The password form, where the service provider allows local login.
    pub local: Option<LocalLogin>,
}

/// The form for an e-mail address; it posts `csrf` and `email`.
#[derive(Clone, Debug)]
pub struct EmailForm {
    /// What it starts from.
    pub address: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl EmailForm {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// Local login alone.
#[derive(Clone, Debug, Template)]
#[template(path = "password.html")]
pub struct PasswordForm {
    /// What people call the service provider.
    pub service_provider: String,
    /// The form.
    pub login: LocalLogin,
    /// The path of the [`Chooser`], if there are other ways.
    pub other_ways: Option<String>,
}

/// An account with the name of a person who came from an identity provider is here already: asks for its password.
///
/// Posts `csrf` and `decision`, which is `link` (with `password`), `rename` or `back`.
#[derive(Clone, Debug, Template)]
#[template(path = "link_proof.html")]
pub struct LinkProof {
    /// What people call the service provider.
    pub service_provider: String,
    /// What people call the identity provider.
    pub provider: String,
    /// The name of the account that is here.
    pub username: String,
    /// Whether an account of another name can be had instead (`decision` is `rename`).
    pub may_rename: bool,
    /// The path that the forms post to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl LinkProof {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// What a person agrees to and fills in before there is an account.
///
/// Posts `csrf`, `decision` (`agree` or `refuse`), and what was asked: `username`, `password`, `password_again`, `keep`
/// once for each optional attribute that may be kept, and one field for each of `fields`.
#[derive(Clone, Debug, Template)]
#[template(path = "details.html")]
pub struct DetailsForm {
    /// What people call the service provider.
    pub service_provider: String,
    /// What people call the identity provider.
    pub provider: String,
    /// The path that the form posts to.
    pub action: &'static str,
    /// The CSRF token.
    pub csrf: String,
    /// What was wrong with the form before: title and text of each.
    pub problems: Vec<(&'static str, &'static str)>,
    /// What the identity provider says and is kept: label and value.
    pub known: Vec<(String, String)>,
    /// The user name to start from, if it can be chosen.
    pub username: Option<Field>,
    /// What else is filled in.
    pub fields: Vec<Field>,
    /// Whether a password is chosen, and whether the last one would not do.
    pub password: Option<bool>,
    /// The purposes.
    pub purposes: Vec<PurposeText>,
}

/// A text to fill in.
#[derive(Clone, Debug)]
pub struct Field {
    /// What the form sends it as.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// What it starts from.
    pub value: String,
    /// Whether it was not good before.
    pub invalid: bool,
}

/// A purpose in the person's language.
#[derive(Clone, Debug)]
pub struct PurposeText {
    /// What it is called.
    pub title: String,
    /// What it is.
    pub text: String,
    /// The labels of what must be kept for it.
    pub needed: Vec<String>,
    /// What may be kept for it.
    pub optional: Vec<Choosable>,
    /// Whose law applies.
    pub jurisdiction: Option<String>,
    /// How long it is kept.
    pub retention: Option<String>,
    /// Where the policy is.
    pub policy: Option<Href>,
}

/// An optional attribute.
#[derive(Clone, Debug)]
pub struct Choosable {
    /// What the form sends.
    pub path: String,
    /// What people call it.
    pub label: String,
    /// Whether it was chosen before.
    pub chosen: bool,
}

/// Somebody else must let the person in.
#[derive(Clone, Debug, Template)]
#[template(path = "waiting.html")]
pub struct Waiting {
    /// What people call the service provider.
    pub service_provider: String,
    /// What people call the identity provider.
    pub provider: String,
    /// What the request is called.
    pub reference: String,
}

/// Asks for the code of the second factor; posts `csrf` and `code`.
#[derive(Clone, Debug, Template)]
#[template(path = "factor.html")]
pub struct FactorForm {
    /// What people call the service provider.
    pub service_provider: String,
    /// The CSRF token.
    pub csrf: String,
    /// Whether a code by e-mail would do as well (`decision` is `mail`).
    pub or_mail: bool,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

/// Asks for a code that went out by e-mail; posts `csrf` and `code`, or `csrf` and `decision`, which is `mail` (another
/// one) or `authenticator`.
#[derive(Clone, Debug, Template)]
#[template(path = "mail_code.html")]
pub struct MailCodeForm {
    /// What people call the service provider.
    pub service_provider: String,
    /// The CSRF token.
    pub csrf: String,
    /// Where it went, as far as it is shown.
    pub address: String,
    /// Whether an authenticator would do as well.
    pub or_authenticator: bool,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

/// Sets a second factor up; posts `csrf` and `code`.
#[derive(Clone, Debug, Template)]
#[template(path = "enrol.html")]
pub struct EnrolForm {
    /// What people call the service provider.
    pub service_provider: String,
    /// The CSRF token.
    pub csrf: String,
    /// The picture for an authenticator.
    pub picture: Option<Picture>,
    /// What it says, to be typed.
    pub key: String,
    /// Whether a code by e-mail would do as well (`decision` is `mail`).
    pub or_mail: bool,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

/// Shows recovery codes once; posts `csrf`.
#[derive(Clone, Debug, Template)]
#[template(path = "recovery_codes.html")]
pub struct RecoveryCodes {
    /// What people call the service provider.
    pub service_provider: String,
    /// The CSRF token.
    pub csrf: String,
    /// The codes.
    pub codes: Vec<String>,
}

/// A square of dark and light, drawn as one path.
#[derive(Clone, Debug)]
pub struct Picture {
    /// How many units it is wide.
    pub width: usize,
    /// The dark ones.
    pub path: String,
}

impl FactorForm {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

impl MailCodeForm {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

impl EnrolForm {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }

    /// The key in groups that can be typed.
    fn groups(&self) -> Vec<String> {
        let signs: Vec<char> = self.key.chars().collect();
        signs.chunks(4).map(|group| group.iter().collect()).collect()
    }
}

/// Asks whether to end the session; the form's fields show that it is ours.
#[derive(Clone, Debug, Template)]
#[template(path = "logout_confirm.html")]
pub struct LogoutConfirm {
    /// The path that the form posts to.
    pub action: &'static str,
    /// The hidden fields, by name.
    pub fields: Vec<(&'static str, String)>,
}

/// The session is over.
#[derive(Clone, Debug, Template)]
#[template(path = "logged_out.html")]
pub struct LoggedOut {
    /// The way back to the application, if it is known.
    pub way_out: Option<WayOut>,
}

/// Leads on by itself, without a redirect.
///
/// For the answer to a form's POST where the redirects that follow are not ours to know: `form-action` does not reach
/// past this page, as it would past a redirect.
#[derive(Clone, Debug, Template)]
#[template(path = "onward.html")]
pub struct Onward {
    /// What people call the place that it leads to.
    pub name: String,
    /// The address.
    pub href: Href,
}

/// Something went wrong, and the way back to the application with an error is not open.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// The stable code, one of [`messages::message`].
    pub code: &'static str,
    /// What an administrator wants the person to know besides.
    pub reason: Option<String>,
    /// The request's id, as it is in the log.
    pub request_id: String,
    /// The path where the login can be tried once more, if it still stands.
    pub again: Option<&'static str>,
    /// The way back to the application, if it is known.
    pub way_out: Option<WayOut>,
}

impl ErrorPage {
    fn message(&self) -> (&'static str, &'static str) {
        messages::message(self.code)
    }
}

/// The page at `/`: what this is, and where operators find what they need.
#[derive(Clone, Debug, Template)]
#[template(path = "home.html")]
pub struct Home {
    /// The address under which the world knows us, without a slash at its end.
    pub public_url: String,
}

/// Nothing is at this path.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "not_found.html")]
pub struct NotFound;

macro_rules! render {
    ($($page:ident),*) => {$(
        impl $page {
            /// The page as HTML.
            pub fn render(&self) -> String {
                rendered(self)
            }
        }
    )*};
}
render!(
    Chooser,
    PasswordForm,
    LinkProof,
    DetailsForm,
    FactorForm,
    EnrolForm,
    MailCodeForm,
    RecoveryCodes,
    Waiting,
    LogoutConfirm,
    LoggedOut,
    Onward,
    ErrorPage,
    Home,
    NotFound
);

/// A template fails only where a value's `Display` fails or a filter does, and our pages hold neither; if one ever
/// did, an empty page is better than half of one.
pub(crate) fn rendered(page: &impl Template) -> String {
    Template::render(page).unwrap_or_else(|error| {
        log::error!("a page could not be rendered: {error}");
        String::new()
    })
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
