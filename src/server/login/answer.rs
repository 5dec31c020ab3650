//! The pages of a login and its refusals.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use url::Url;

use super::cookies::{cancel_path, login_path};
use super::{details, factor};
use crate::federation::jit::denial::Denial;
use crate::federation::login::step::{FactorPage, LocalLoginForm, LoginContext, LoginPage, ProviderOption, Screen};
use crate::server::csrf::login_token;
use crate::server::href::Href;
use crate::server::messages::Phrase;
use crate::server::page::{
    Chooser, EmailForm, ErrorPage, LinkProof, LocalLogin, PasswordPage, ProviderChoice, ReturnLink, WaitingPage,
    respond, respond_scripted,
};
use crate::server::request_id;
use crate::server::{language, messages};

/// Shows a page of the login of a handle.
pub(super) fn show(screen: Screen, handle: &str) -> HttpResponse {
    let (csrf, cancel) = (&login_token(handle), cancel_path(handle));
    language::prefer(&screen.context.ui_locales);
    let lead = lead(&screen.context);
    let service_provider = called(screen.context.application);
    let has_script = matches!(screen.page, LoginPage::SecondFactor(FactorPage::RecoveryCodes(_)));
    let html = match screen.page {
        LoginPage::SignIn {
            providers,
            local: Some(local),
            ..
        } if providers.is_empty() => PasswordPage {
            service_provider,
            lead,
            login: local_login(local, csrf),
            cancel,
            other_ways: None,
        }
        .render(),
        LoginPage::SignIn {
            providers,
            by_email,
            local,
        } => Chooser {
            by_email: by_email.map(|form| EmailForm {
                address: form.address,
                notice: form.is_unknown.then_some("unknown_domain"),
            }),
            service_provider,
            lead,
            cancel,
            action: "/login/idp".to_owned(),
            csrf: csrf.to_owned(),
            providers: providers.into_iter().map(choice).collect(),
            local: local.map(|local| local_login(local, csrf)),
        }
        .render(),
        LoginPage::LinkProof(proof) => LinkProof {
            service_provider,
            provider: proof.provider,
            username: proof.username,
            action: "/login/prove".to_owned(),
            csrf: csrf.to_owned(),
            password: proof.password,
            providers: proof.providers.into_iter().map(choice).collect(),
            mail: proof.mail,
            may_rename: proof.may_rename,
            notice: proof.failed.then_some("wrong_proof"),
        }
        .render(),
        LoginPage::Waiting { provider, reference } => WaitingPage {
            service_provider,
            cancel,
            provider,
            reference,
        }
        .render(),
        LoginPage::SecondFactor(page) => factor::page(page, service_provider, (csrf.to_owned(), cancel)),
        LoginPage::Details(details) => details::page(*details, service_provider, csrf).render(),
    };
    sent(html, has_script)
}

fn sent(html: String, has_script: bool) -> HttpResponse {
    if has_script {
        respond_scripted(html)
    } else {
        respond(StatusCode::OK, html, &[])
    }
}

/// The sentence over the ways to sign in: what the login is for.
fn lead(context: &LoginContext) -> Phrase {
    let sentence = match (context.again, context.application.is_empty()) {
        (true, true) => "sign_in.again_own",
        (true, false) => "sign_in.again",
        (false, _) => "sign_in.lead",
    };
    messages::phrase(sentence, &[("application", called(context.application.clone()))])
}

/// The display name of an application. An empty name means the account page.
fn called(application: String) -> String {
    if application.is_empty() {
        messages::text("account.name").to_owned()
    } else {
        application
    }
}

/// Shows the reason of a refusal.
pub(in crate::server) fn refused(denial: &Denial) -> HttpResponse {
    error(told(denial), reason(denial), None, None)
}

/// Shows the reason of a refusal in a login that is still under way: the person can try again, or cancel and return to
/// the application.
pub(super) fn refused_with_way_out(
    denial: &Denial,
    context: LoginContext,
    public_url: &Url,
    handle: &str,
) -> HttpResponse {
    language::prefer(&context.ui_locales);
    let cancel = public_url.join(&cancel_path(handle)).ok();
    let href = cancel.and_then(|url| Href::parse(url.as_str()));
    let way_out = href.map(|href| ReturnLink {
        name: called(context.application),
        href,
    });
    // A login whose account changed fails at the same step again: it must start again at the application.
    let again = (*denial != Denial::AccountChanged).then(|| login_path(handle));
    error(told(denial), reason(denial), way_out, again)
}

/// The error page for a form that fails the CSRF check.
pub(in crate::server) fn out_of_date() -> HttpResponse {
    error((StatusCode::BAD_REQUEST, "wrong_csrf"), None, None, None)
}

/// The error page for a request of an application that is not valid, or not any more.
pub(super) fn refused_request(code: &'static str) -> HttpResponse {
    error((StatusCode::BAD_REQUEST, code), None, None, None)
}

/// Says a refusal in the log, and returns the status and the message of its page.
fn told(denial: &Denial) -> (StatusCode, &'static str) {
    let (status, code) = row(denial);
    log::info!("a login ended on the page {code}: {denial}");
    (status, code)
}

/// Returns the notice of a refusal: the message of an administrator, or the claim that is missing.
fn reason(denial: &Denial) -> Option<String> {
    match denial {
        Denial::MissingClaim { claim } => Some(messages::filled("refusal.missing_claim", &[("claim", claim)])),
        Denial::IdentityLocked { reason } | Denial::NotApproved { reason } if !reason.is_empty() => {
            Some(reason.clone())
        }
        _ => None,
    }
}

fn error(
    (status, code): (StatusCode, &'static str),
    reason: Option<String>,
    way_out: Option<ReturnLink>,
    again: Option<String>,
) -> HttpResponse {
    let request_id = request_id::current().unwrap_or_default();
    respond(
        status,
        ErrorPage {
            code,
            reason,
            request_id,
            again,
            way_out,
        }
        .render(),
        &[],
    )
}

/// The HTTP status and the message code of a refusal.
fn row(denial: &Denial) -> (StatusCode, &'static str) {
    match denial {
        Denial::NotUnderWay | Denial::AccountChanged => (StatusCode::BAD_REQUEST, "expired_login"),
        Denial::ProviderNotAllowed | Denial::UnknownProvider | Denial::NoLocalLogin => {
            (StatusCode::FORBIDDEN, "unknown_provider")
        }
        Denial::NoAccount => (StatusCode::FORBIDDEN, "no_account"),
        Denial::AccountRemoved => (StatusCode::FORBIDDEN, "account_removed"),
        Denial::ConsentRefused => (StatusCode::FORBIDDEN, "consent_refused"),
        Denial::NotApproved { .. } => (StatusCode::FORBIDDEN, "approval_refused"),
        Denial::IdentityLocked { .. } => (StatusCode::FORBIDDEN, "identity_locked"),
        Denial::IdentityTaken => (StatusCode::FORBIDDEN, "identity_taken"),
        Denial::AnotherPerson => (StatusCode::FORBIDDEN, "another_person"),
        Denial::AccountDisabled => (StatusCode::FORBIDDEN, "account_disabled"),
        Denial::NameTaken => (StatusCode::FORBIDDEN, "name_taken"),
        Denial::ValueTaken { .. } => (StatusCode::CONFLICT, "value_taken"),
        Denial::MissingClaim { .. } => (StatusCode::FORBIDDEN, "missing_claim"),
        Denial::BadUsername => (StatusCode::BAD_REQUEST, "invalid_name"),
        Denial::BadEmail | Denial::BadClaim { .. } | Denial::InvalidAttributes | Denial::BadAnswer { .. } => {
            (StatusCode::BAD_REQUEST, "provider_error")
        }
        Denial::NotReauthenticated => (StatusCode::FORBIDDEN, "not_reauthenticated"),
        Denial::EmailDomain | Denial::OtherStore | Denial::UnknownStore { .. } | Denial::SeveralAccounts => {
            (StatusCode::FORBIDDEN, "access_denied")
        }
        Denial::TooManyAttempts => (StatusCode::FORBIDDEN, "too_many_attempts"),
        Denial::NoMailAddress => (StatusCode::FORBIDDEN, "no_mail_address"),
        Denial::MailUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "mail_unavailable"),
        Denial::Declined => (StatusCode::FORBIDDEN, "provider_refused"),
        Denial::ProviderUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"),
    }
}

fn choice(choice: ProviderOption) -> ProviderChoice {
    ProviderChoice {
        name: choice.name.as_str().to_owned(),
        display_name: choice.display_name,
    }
}

fn local_login(local: LocalLoginForm, csrf: &str) -> LocalLogin {
    LocalLogin {
        action: "/login/password".to_owned(),
        csrf: csrf.to_owned(),
        username: local.username,
        notice: local.failed.then_some("wrong_password"),
    }
}
