//! The data that each page shows, and how a page is sent.

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::headers;
use super::href::Href;
use super::messages::{self, Phrase};
use super::request_id;

/// Builds the response for a page. `targets` are other origins that the response to its forms may redirect to.
pub fn respond(status: StatusCode, html: String, targets: &[Href]) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(status);
    headers::page_policy(&mut response, targets);
    response.content_type(ContentType::html()).body(html)
}

/// Builds the response for a page with a script of this server.
pub(crate) fn respond_scripted(html: String) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(StatusCode::OK);
    headers::scripted_page_policy(&mut response);
    response.content_type(ContentType::html()).body(html)
}

/// The link from a final page back to the application that sent the person.
#[derive(Clone, Debug)]
pub(crate) struct ReturnLink {
    /// The display name of the application.
    pub name: String,
    /// An address from its registration, never one from the request.
    pub href: Href,
}

/// An identity provider that can be chosen.
#[derive(Clone, Debug)]
pub(crate) struct ProviderChoice {
    /// Its name in the configuration, which the form sends as `identity_provider`.
    pub name: String,
    /// The display name.
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
pub(crate) struct LocalLogin {
    /// The path that it posts to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The initial username: the hint of the application, or the last input.
    pub username: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl LocalLogin {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// The sign-in methods for a service provider; posts `csrf` and `identity_provider`.
#[derive(Clone, Debug, Template)]
#[template(path = "chooser.html")]
pub(crate) struct Chooser {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The sentence that says what the login is for.
    pub lead: Phrase,
    /// The path that cancels the login.
    pub cancel: String,
    /// The path that a choice is posted to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The identity providers, in the order in which they are shown.
    pub providers: Vec<ProviderChoice>,
    /// The form for an e-mail address, if its domain can select the identity provider.
    pub by_email: Option<EmailForm>,
    /// The password form, if the service provider allows local login.
    pub local: Option<LocalLogin>,
}

/// The form for an e-mail address; it posts `csrf` and `email`.
#[derive(Clone, Debug)]
pub(crate) struct EmailForm {
    /// The initial value.
    pub address: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl EmailForm {
    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// The page for local login only.
#[derive(Clone, Debug, Template)]
#[template(path = "password.html")]
pub(crate) struct PasswordPage {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The sentence that says what the login is for.
    pub lead: Phrase,
    /// The path that cancels the login.
    pub cancel: String,
    /// The form.
    pub login: LocalLogin,
    /// The path of the [`Chooser`], if there are other ways.
    pub other_ways: Option<String>,
}

/// Asks for a proof of an existing account whose name a person from an identity provider has, to link the two.
///
/// Posts `csrf` and `decision`, which is `link` (with `password`), `mail`, `rename` or `back`; or `identity_provider` to
/// `/login/idp`.
#[derive(Clone, Debug, Template)]
#[template(path = "link_proof.html")]
pub struct LinkProof {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The display name of the identity provider.
    pub provider: String,
    /// The name of the existing account.
    pub username: String,
    /// Whether the account has a password.
    pub password: bool,
    /// The identity providers where the account has an identity.
    pub(crate) providers: Vec<ProviderChoice>,
    /// The masked address that a code can be sent to.
    pub mail: Option<String>,
    /// Whether the person may choose another username instead (`decision` is `rename`).
    pub may_rename: bool,
    /// The path that the forms post to.
    pub action: String,
    /// The CSRF token.
    pub csrf: String,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

impl LinkProof {
    fn has_no_proof(&self) -> bool {
        !self.password && self.providers.is_empty() && self.mail.is_none()
    }

    fn message(&self) -> Option<(&'static str, &'static str)> {
        self.notice.map(messages::message)
    }
}

/// The form for consent and missing values before an account is created.
///
/// Posts `csrf`, `decision` (`agree` or `refuse`) and the fields that it shows: `username`, `password`,
/// `password_again`, `keep` once for each optional attribute that may be kept, and one field for each of `fields`.
#[derive(Clone, Debug, Template)]
#[template(path = "details.html")]
pub(crate) struct DetailsForm {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The display name of the identity provider.
    pub provider: String,
    /// The path that the form posts to.
    pub action: &'static str,
    /// The fingerprint of the purposes that it shows.
    pub page: String,
    /// The CSRF token.
    pub csrf: String,
    /// The errors of the last input: title and text of each.
    pub problems: Vec<(&'static str, String)>,
    /// Whether the account is new.
    pub is_new: bool,
    /// The values that are kept: label and value.
    pub known: Vec<(String, String)>,
    /// The initial username, if it can be chosen.
    pub username: Option<Field>,
    /// The other fields to fill in.
    pub fields: Vec<Field>,
    /// The choice of a password, if one is chosen.
    pub password: Option<NewPassword>,
    /// The purposes.
    pub purposes: Vec<PurposeText>,
}

/// A text field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The name of the form field.
    pub name: String,
    /// The display name.
    pub label: String,
    /// The initial value.
    pub value: String,
    /// Whether the last input was invalid.
    pub invalid: bool,
    /// Whether it is the first that was: it has the focus.
    pub focus: bool,
}

/// The choice of a password.
#[derive(Clone, Debug)]
pub(crate) struct NewPassword {
    /// The rule for passwords.
    pub rule: String,
    /// Whether the last one was rejected.
    pub invalid: bool,
    /// Whether it is the first input that was: it has the focus.
    pub focus: bool,
}

/// A purpose in the user's language.
#[derive(Clone, Debug)]
pub(crate) struct PurposeText {
    /// The title of the purpose.
    pub title: String,
    /// The description of the purpose.
    pub text: String,
    /// The labels of the required attributes.
    pub needed: Vec<String>,
    /// The optional attributes.
    pub optional: Vec<Choosable>,
    /// The jurisdiction.
    pub jurisdiction: Option<String>,
    /// The retention period.
    pub retention: Option<String>,
    /// The address of the privacy policy.
    pub policy: Option<Href>,
}

/// An optional attribute.
#[derive(Clone, Debug)]
pub(crate) struct Choosable {
    /// The attribute path that the form sends.
    pub path: String,
    /// The name that people see.
    pub label: String,
    /// Whether it was selected in the last input.
    pub chosen: bool,
}

/// Says that an administrator must approve the account first.
#[derive(Clone, Debug, Template)]
#[template(path = "waiting.html")]
pub(crate) struct WaitingPage {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The path that cancels the login.
    pub cancel: String,
    /// The display name of the identity provider.
    pub provider: String,
    /// The reference of the request.
    pub reference: String,
}

/// Asks for the code of the second factor; posts `csrf` and `code`.
#[derive(Clone, Debug, Template)]
#[template(path = "factor.html")]
pub(crate) struct FactorForm {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The path that cancels the login.
    pub cancel: String,
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
pub(crate) struct MailCodeForm {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The path that cancels the login.
    pub cancel: String,
    /// The CSRF token.
    pub csrf: String,
    /// The address that it was sent to, masked.
    pub address: String,
    /// Whether an authenticator may be used instead.
    pub or_authenticator: bool,
    /// The code of what went wrong, if this is not the first try.
    pub notice: Option<&'static str>,
}

/// Sets up a second factor; posts `csrf` and `code`.
#[derive(Clone, Debug, Template)]
#[template(path = "enrol.html")]
pub(crate) struct EnrolForm {
    /// The display name of the service provider.
    pub service_provider: String,
    /// The path that cancels the login.
    pub cancel: String,
    /// The CSRF token.
    pub csrf: String,
    /// The QR code for an authenticator.
    pub picture: Option<Picture>,
    /// The key in the QR code, for typing.
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
    /// The display name of the service provider.
    pub service_provider: String,
    /// The CSRF token.
    pub csrf: String,
    /// The codes.
    pub codes: Vec<String>,
}

/// A QR code as one SVG path.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The width in modules.
    pub width: usize,
    /// The path of the dark modules.
    pub path: String,
}

impl RecoveryCodes {
    /// The codes as a file, for browsers with and without scripts.
    fn download(&self) -> String {
        let text = format!(
            "{}\n{}\n",
            messages::filled("codes.title", &[("application", &self.service_provider)]),
            self.codes.join("\n")
        );
        format!(
            "data:text/plain;charset=utf-8,{}",
            utf8_percent_encode(&text, NON_ALPHANUMERIC)
        )
    }
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

    /// The key in groups, for typing.
    fn groups(&self) -> Vec<String> {
        let signs: Vec<char> = self.key.chars().collect();
        signs.chunks(4).map(|group| group.iter().collect()).collect()
    }
}

/// Asks whether to end the session; the hidden fields show that the form comes from this server.
#[derive(Clone, Debug, Template)]
#[template(path = "logout_confirm.html")]
pub(crate) struct LogoutConfirm {
    /// The path that the form posts to.
    pub action: &'static str,
    /// The hidden fields, by name.
    pub fields: Vec<(&'static str, String)>,
}

/// Says that the session has ended.
#[derive(Clone, Debug, Template)]
#[template(path = "logged_out.html")]
pub(crate) struct LoggedOutPage {
    /// The link back to the application, if it is known.
    pub way_out: Option<ReturnLink>,
}

/// An error that cannot be sent back to the application.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    /// The stable code, one of [`messages::message`].
    pub code: &'static str,
    /// An administrator's explanation for the person.
    pub reason: Option<String>,
    /// The request id, as in the log.
    pub request_id: String,
    /// The path where the login can be tried again, if it is still under way.
    pub again: Option<String>,
    /// The link back to the application, if it is known.
    pub way_out: Option<ReturnLink>,
}

impl ErrorPage {
    fn message(&self) -> (&'static str, &'static str) {
        messages::message(self.code)
    }
}

/// Answers with an error page that says no more than its code, one of [`messages::message`].
pub(crate) fn error_page(status: StatusCode, code: &'static str) -> HttpResponse {
    let page = ErrorPage {
        code,
        reason: None,
        request_id: request_id::current().unwrap_or_default(),
        again: None,
        way_out: None,
    };
    respond(status, page.render(), &[])
}

/// The error page for a temporary failure.
pub(crate) fn unavailable() -> HttpResponse {
    error_page(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
}

/// The page at `/`: what this server is, and links for operators.
#[derive(Clone, Debug, Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    /// The public URL of this server, without a slash at its end.
    pub public_url: String,
}

/// The page for an unknown path (404).
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "not_found.html")]
pub struct NotFound;

macro_rules! render {
    ($($page:ident),*) => {$(
        impl $page {
            /// The page as HTML.
            pub(crate) fn render(&self) -> String {
                rendered(self)
            }
        }
    )*};
}
render!(
    Chooser,
    PasswordPage,
    LinkProof,
    DetailsForm,
    FactorForm,
    EnrolForm,
    MailCodeForm,
    RecoveryCodes,
    WaitingPage,
    LogoutConfirm,
    LoggedOutPage,
    ErrorPage,
    Home,
    NotFound
);

/// Renders a template. It fails only if a value's `Display` or a filter does, and the pages have neither; if one ever
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
