//! The pages of the second factor, and their forms.

use std::sync::Arc;

use actix_web::web::{Data, Form};
use actix_web::{HttpRequest, HttpResponse};
use qrcode::{Color, QrCode};
use serde::Deserialize;

use super::{Arrived, Door, empty, not_ours, own_handle, run, settle};
use crate::domain::Secret;
use crate::federation::Wrong;
use crate::server::page::Picture;

#[derive(Deserialize)]
pub(super) struct CodeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default = "empty")]
    code: Secret,
}

/// `POST /login/code`: the code of a second factor, or a recovery code.
pub(super) async fn code(door: Data<Door>, http: HttpRequest, form: Form<CodeForm>) -> HttpResponse {
    let Some(handle) = own_handle(&door, &http, &form.csrf) else {
        return not_ours(&http);
    };
    let federation = Arc::clone(&door.federation);
    let step = run(move || federation.code(&handle, &form.code)).await;
    settle(&door, &http, step, Arrived::ByForm).await
}

/// `POST /login/codes`: the recovery codes are read.
pub(super) async fn read_codes(door: Data<Door>, http: HttpRequest, form: Form<CodeForm>) -> HttpResponse {
    let Some(handle) = own_handle(&door, &http, &form.csrf) else {
        return not_ours(&http);
    };
    let federation = Arc::clone(&door.federation);
    let step = run(move || federation.read_codes(&handle)).await;
    settle(&door, &http, step, Arrived::ByForm).await
}

/// The message for a code that did not count.
pub(super) fn notice(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Code => "wrong_code",
        Wrong::Locked => "too_many_attempts",
    }
}

/// A text as a picture that cameras read. None if it is longer than such a picture can be.
pub(super) fn picture(text: &str) -> Option<Picture> {
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
