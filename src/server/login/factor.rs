//! The pages of the second factor and their forms.

use std::sync::Arc;

use actix_web::web::{Data, Form};
use actix_web::{HttpRequest, HttpResponse};
use qrcode::{Color, QrCode};
use serde::Deserialize;

use super::{ArrivedBy, LoginData, empty, finish_step, foreign_form, own_cookies, run, settle_guess};
use crate::domain::Secret;
use crate::federation::login::step::{CodeError, FactorPage};
use crate::server::guesses::Guess;
use crate::server::page::{EnrolForm, FactorForm, MailCodeForm, Picture, RecoveryCodes};
use crate::server::source;

#[derive(Deserialize)]
pub(super) struct CodeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default = "empty")]
    code: Secret,
    #[serde(default)]
    decision: String,
}

/// `POST /login/code`: checks the code of a second factor or a recovery code, or switches to another kind of code.
pub(super) async fn code(login_data: Data<LoginData>, http: HttpRequest, form: Form<CodeForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &http, &form.csrf) else {
        return foreign_form(&login_data, &http);
    };
    let Some(guess) = Guess::begin(&http) else {
        return source::too_many_guesses();
    };
    let (federation, handle) = (Arc::clone(&login_data.federation), cookies.handle.clone());
    let step = run(move || match form.decision.as_str() {
        "mail" => federation.login.mail_code(cookies.browser()),
        "authenticator" => federation.login.authenticator(cookies.browser()),
        _ => federation.login.code(cookies.browser(), &form.code),
    })
    .await;
    settle_guess(guess, &step);
    finish_step((&login_data, &http), Some(&handle), step, ArrivedBy::ByForm).await
}

/// `POST /login/codes`: confirms that the recovery codes were read.
pub(super) async fn read_codes(login_data: Data<LoginData>, http: HttpRequest, form: Form<CodeForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &http, &form.csrf) else {
        return foreign_form(&login_data, &http);
    };
    let (federation, handle) = (Arc::clone(&login_data.federation), cookies.handle.clone());
    let step = run(move || federation.login.read_codes(cookies.browser())).await;
    finish_step((&login_data, &http), Some(&handle), step, ArrivedBy::ByForm).await
}

/// Returns the page of a login that waits for its second factor.
pub(super) fn page(page: FactorPage, service_provider: String, (csrf, cancel): (String, String)) -> String {
    match page {
        FactorPage::Code { wrong, or_mail } => FactorForm {
            service_provider,
            csrf,
            cancel,
            or_mail,
            notice: wrong.map(|wrong| notice(wrong, "wrong_code")),
        }
        .render(),
        FactorPage::MailCode {
            address,
            wrong,
            or_authenticator,
        } => MailCodeForm {
            service_provider,
            csrf,
            cancel,
            address,
            or_authenticator,
            notice: wrong.map(|wrong| notice(wrong, "wrong_mail_code")),
        }
        .render(),
        FactorPage::Enrol {
            uri,
            key,
            wrong,
            or_mail,
        } => EnrolForm {
            service_provider,
            csrf,
            cancel,
            picture: picture(&uri),
            key,
            or_mail,
            notice: wrong.map(|wrong| notice(wrong, "wrong_code")),
        }
        .render(),
        FactorPage::RecoveryCodes(codes) => RecoveryCodes {
            service_provider,
            csrf,
            codes,
        }
        .render(),
    }
}

/// The message code for a code that was rejected or not sent.
fn notice(wrong: CodeError, not_right: &'static str) -> &'static str {
    match wrong {
        CodeError::Address => "unknown_domain",
        CodeError::Code => not_right,
        CodeError::Locked => "too_many_attempts",
        CodeError::TooSoon => "mail_too_soon",
        CodeError::TooMany => "mail_too_many",
    }
}

/// Draws a text as a QR code. `None` if it is too long for one.
fn picture(text: &str) -> Option<Picture> {
    let code = QrCode::new(text).ok()?;
    let width = code.width();
    let dark = code.to_colors().into_iter().enumerate();
    let dark = dark.filter(|(_, color)| *color == Color::Dark).map(|(at, _)| at);
    let modules = dark.map(|at| format!("M{} {}h1v1h-1z", at % width, at / width));
    Some(Picture {
        width,
        path: modules.collect(),
    })
}
