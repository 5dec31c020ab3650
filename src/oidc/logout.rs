//! Logout requested by a service provider (OpenID Connect RP-Initiated Logout §2).

use super::error::{OidcError, PageError, PageFailure};
use super::parameters::Parameters;
use super::{Oidc, id_token, keys, redirect};
use crate::storage::{random, sessions};

/// The longest accepted `state`, in bytes.
const LONGEST_STATE: usize = 2048;

/// The result of a logout request. After the first two, the session cookie is of no further use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedOut {
    /// Redirects the browser to the service provider.
    Redirect(String),
    /// Shows a page of this server.
    Done,
    /// The user must confirm first, since any site could have sent the browser here.
    Confirm(Confirmation),
}

/// The hidden fields of the confirmation page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The fields by name. `confirm` proves that the form comes from this server.
    pub fields: Vec<(&'static str, String)>,
}

impl Oidc {
    /// Answers a logout request, given its parameters, the session's cookie and whether it came as a form (POST).
    pub fn logout(
        &self,
        parameters: &[(String, String)],
        session: Option<&str>,
        is_form: bool,
    ) -> Result<LoggedOut, PageFailure> {
        let parameters = Parameters::new(parameters);
        parameters.refuse_repeated().map_err(|_| PageError::MALFORMED)?;
        let hint = self.hint(&parameters)?;
        let client_id = leaving_client(&parameters, hint.as_ref())?;
        let target = self.after_logout(&parameters, client_id)?;
        if let Some(cookie) = session {
            let id_hash = random::fingerprint(cookie);
            let now = self.clock.now();
            let lives = self
                .database
                .read::<_, OidcError>(|connection| sessions::find(connection, &id_hash, now))?
                .is_some();
            let confirm = random::fingerprint(&format!("logout:{cookie}"));
            let hinted = hint.as_ref().is_some_and(|hint| hint.sid == id_token::sid(&id_hash));
            let confirmed = is_form
                && parameters
                    .get("confirm")
                    .is_some_and(|sent| random::equal(sent, &confirm));
            if lives && !hinted && !confirmed {
                return Ok(LoggedOut::Confirm(confirmation(confirm, client_id, &parameters)));
            }
            self.end_session(id_hash)?;
        }
        Ok(target.map_or(LoggedOut::Done, LoggedOut::Redirect))
    }

    /// Returns the client that the `id_token_hint` of a logout request was issued to.
    pub fn hinted_client(&self, parameters: &[(String, String)]) -> Result<Option<String>, OidcError> {
        let hint = self.hint(&Parameters::new(parameters))?;
        Ok(hint.map(|hint| hint.client_id))
    }

    /// Returns the claims of the `id_token_hint`, if this server issued it. It may have expired.
    fn hint(&self, parameters: &Parameters<'_>) -> Result<Option<IdTokenHint>, OidcError> {
        let Some(token) = parameters.get("id_token_hint") else {
            return Ok(None);
        };
        let claims = keys::claims_of_id_token(&*self.keys.set()?, token)
            .filter(|claims| claims.get("iss").is_some_and(|iss| *iss == self.issuer));
        let text = |name: &str| claims.as_ref()?.get(name)?.as_str().map(str::to_owned);
        Ok(text("sid")
            .zip(text("aud"))
            .map(|(sid, client_id)| IdTokenHint { sid, client_id }))
    }

    /// Returns where the browser is redirected afterwards, which must equal a registered URI byte for byte.
    fn after_logout(&self, parameters: &Parameters<'_>, client_id: Option<&str>) -> Result<Option<String>, PageError> {
        let Some(uri) = parameters.get("post_logout_redirect_uri") else {
            return Ok(None);
        };
        let client = client_id
            .and_then(|client_id| self.clients.get(client_id))
            .ok_or(PageError::AFTER_LOGOUT)?;
        if !client
            .post_logout_redirect_uris
            .iter()
            .any(|registered| registered == uri)
        {
            return Err(PageError::AFTER_LOGOUT);
        }
        match parameters.get("state") {
            Some(state) if state.len() > LONGEST_STATE => Err(PageError::MALFORMED),
            Some(state) => Ok(Some(redirect::with_parameters(uri, &[("state", state)]))),
            None => Ok(Some(uri.to_owned())),
        }
    }
}

struct IdTokenHint {
    sid: String,
    client_id: String,
}

/// Returns the client that requests the logout. If the hint and `client_id` both name one, they must agree.
fn leaving_client<'a>(
    parameters: &Parameters<'a>,
    hint: Option<&'a IdTokenHint>,
) -> Result<Option<&'a str>, PageError> {
    let hinted = hint.map(|hint| hint.client_id.as_str());
    match (hinted, parameters.get("client_id")) {
        (Some(hinted), Some(named)) if hinted != named => Err(PageError::MALFORMED),
        (hinted, named) => Ok(hinted.or(named)),
    }
}

fn confirmation(confirm: String, client_id: Option<&str>, parameters: &Parameters<'_>) -> Confirmation {
    let mut fields = vec![("confirm", confirm)];
    fields.extend(client_id.map(|client_id| ("client_id", client_id.to_owned())));
    for name in ["post_logout_redirect_uri", "state"] {
        fields.extend(parameters.get(name).map(|value| (name, value.to_owned())));
    }
    Confirmation { fields }
}
