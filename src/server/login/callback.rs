//! The callback of an identity provider: `/federation/{idp}/callback`.

use std::sync::Arc;

use actix_web::web::{Data, Form, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::answer::refused;
use super::{LoginData, Stop, finish_step, run, run_at_provider, stopped};
use crate::domain::IdentityProviderName;
use crate::federation::idp::calls::RESPONSE;
use crate::federation::idp::provider::CallbackParameters;
use crate::federation::jit::denial::Denial;
use crate::server::onward::{ArrivedBy, see_other};

/// `GET /federation/{idp}/callback`: the browser comes back from an identity provider.
pub(super) async fn by_link(
    login_data: Data<LoginData>,
    request: HttpRequest,
    idp: Path<String>,
    parameters: Query<Vec<(String, String)>>,
) -> HttpResponse {
    let handles = login_data.handles(&request);
    let (federation, idp) = (
        Arc::clone(&login_data.federation),
        IdentityProviderName::new(idp.into_inner()),
    );
    if federation.login.display_name(&idp).is_none() {
        return refused(&Denial::UnknownProvider);
    }
    let parameters: CallbackParameters = parameters.into_inner().into_iter().collect();
    let (asked, answer) = (idp.clone(), parameters.clone());
    let found = run(move || federation.login.answered(&handles, &asked, &answer)).await;
    let handle = match found {
        Ok(Some(handle)) => handle,
        // An answer that was taken before: the page leads back to the login that the browser has, if any.
        Ok(None) => {
            let current = login_data.cookies(&request).map(|cookies| cookies.handle);
            let stop = Stop::Denied(Denial::NotUnderWay, None);
            return stopped((&login_data, &request), current.as_deref(), stop).await;
        }
        Err(stop) => return stop.into_page(),
    };
    let cookies = login_data.cookies_of(&request, handle.clone());
    let federation = Arc::clone(&login_data.federation);
    let provider = idp.clone();
    let step = run_at_provider(&provider, move || {
        federation.login.callback(cookies.browser(), &idp, &parameters)
    })
    .await;
    finish_step((&login_data, &request), Some(&handle), step, ArrivedBy::ByLink).await
}

/// `POST /federation/{idp}/callback`: an identity provider answers with a form (OAuth 2.0 Form Post Response Mode). The
/// browser withholds the cookies of the login from a form of another site, so it is sent to the same address by a link.
pub(super) async fn by_form(idp: Path<String>, parameters: Form<Vec<(String, String)>>) -> HttpResponse {
    let answer = parameters.iter().filter(|(name, _)| RESPONSE.contains(&name.as_str()));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(answer)
        .finish();
    let idp = utf8_percent_encode(&idp, NON_ALPHANUMERIC);
    see_other(&format!("/federation/{idp}/callback?{query}"), None)
}
