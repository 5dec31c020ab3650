//! The authorization endpoint: from a request to a code, or a refusal (OpenID Connect Core §3.1.2).

use std::time::Duration;

use super::authorization_request::{self, AuthorizeError, ErrorDelivery, Prompt, ValidRequest};
use super::authorization_response::AuthorizationResponse;
use super::client::Client;
use super::error::{ErrorCode, OAuthError, OidcError, PageError, PageFailure};
use super::pushed::IncomingRequest;
use super::{CODE_LIFETIME, Oidc, keys};
use crate::domain::login::{Authentication, AuthorizationRequest, Entry, ResponseMode};
use crate::domain::{Relations, ResourceId};
use crate::storage::grants::{self, Grant};
use crate::storage::{StorageError, credential_versions, random, sessions};

/// The result of an authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorized {
    /// Answers the service provider, with a code or an error.
    Answer(AuthorizationResponse),
    /// The user must log in first; then call [`Oidc::complete`] or [`Oidc::refuse`].
    Login(Box<AuthorizationRequest>),
    /// The user, who has a session, must take a further step first. The text is the hash of the session's cookie.
    StepUp(Box<AuthorizationRequest>, Authentication, String),
}

impl Oidc {
    /// Answers an authorization request, given its parameters and the session's cookie.
    pub fn authorize(&self, parameters: &[(String, String)], session: Option<&str>) -> Result<Authorized, PageFailure> {
        let brought = self.resolve_pushed(parameters)?;
        let mut asked = match self.asked(&brought) {
            Ok(asked) => asked,
            Err(AuthorizeError {
                deliver: ErrorDelivery::Page(page),
                ..
            }) => return Err(page.into()),
            Err(AuthorizeError {
                error,
                deliver:
                    ErrorDelivery::Redirect {
                        redirect_uri,
                        state,
                        mode,
                    },
            }) => return Ok(Authorized::Answer(self.error_at((redirect_uri, mode), state, error))),
        };
        let now = self.clock.now();
        asked.request.fresh_since = match asked.max_age {
            _ if asked.prompt == Prompt::Login || asked.max_age == Some(Duration::ZERO) => Some(now),
            max_age => max_age.map(|max_age| now.minus(max_age)),
        };
        if let Some(hint) = &asked.id_token_hint {
            let hinted = self.hinted(hint)?;
            if asked.request.subject.is_some() && hinted.is_some() && asked.request.subject != hinted {
                let error = ErrorCode::InvalidRequest.because("claims and id_token_hint name different users.");
                return Ok(Authorized::Answer(self.error_of(&asked.request, error)));
            }
            // An invalid hint names no user, so no session satisfies it.
            asked.request.reauthenticate |= hinted.is_none();
            asked.request.subject = asked.request.subject.or(hinted);
        }
        if let Some(cookie) = session
            && let Some(authentication) = self.session(cookie)?
        {
            let request = &asked.request;
            match self.suffices(request, &authentication)? {
                Entry::Granted => {
                    return Ok(Authorized::Answer(self.issue_code(request, &authentication, cookie)?));
                }
                missing @ (Entry::StepUp | Entry::Consent) if asked.prompt == Prompt::None => {
                    let code = if missing == Entry::Consent {
                        ErrorCode::ConsentRequired
                    } else {
                        ErrorCode::InteractionRequired
                    };
                    return Ok(Authorized::Answer(self.refuse(request, code)?));
                }
                Entry::StepUp | Entry::Consent => {
                    let request = Box::new(asked.request);
                    return Ok(Authorized::StepUp(request, authentication, random::fingerprint(cookie)));
                }
                Entry::Login => (asked.request.reauthenticate, asked.request.again) = (true, true),
            }
        }
        match asked.prompt {
            Prompt::None => Ok(Authorized::Answer(
                self.refuse(&asked.request, ErrorCode::LoginRequired)?,
            )),
            Prompt::Any | Prompt::Login | Prompt::Choose => Ok(Authorized::Login(Box::new(asked.request))),
        }
    }

    /// Returns the request if it is valid, and pushed if the client requires that.
    fn asked(&self, brought: &IncomingRequest<'_>) -> Result<ValidRequest, AuthorizeError> {
        let asked = authorization_request::validate(&brought.parameters, &self.clients)?;
        let client = self.clients.get(&asked.request.client_id);
        if client.is_some_and(|client| client.require_pushed_requests) && !brought.was_pushed {
            return Err(AuthorizeError {
                error: ErrorCode::InvalidRequest.because("The client must push its requests."),
                deliver: ErrorDelivery::Redirect {
                    redirect_uri: asked.request.redirect_uri,
                    state: asked.request.state,
                    mode: asked.request.response_mode,
                },
            });
        }
        Ok(asked)
    }

    /// Returns the response after a login, with a code, or with `access_denied` if the user may not log in. `session` is the one that was opened for this login.
    pub fn complete(
        &self,
        request: &AuthorizationRequest,
        authentication: &Authentication,
        session: &str,
    ) -> Result<AuthorizationResponse, PageFailure> {
        let client = self.client_of(request)?;
        let user = self.user(authentication, Relations::NONE)?;
        let entry = (self.entries)(&client.name, authentication, request.purpose()).map_err(PageFailure::from)?;
        if user.is_none() || entry != Entry::Granted {
            return self.refuse(request, ErrorCode::AccessDenied);
        }
        // Another user than the requested one logged in (OpenID Connect Core §3.1.2.2).
        if request
            .subject
            .as_ref()
            .is_some_and(|subject| *subject != authentication.user)
        {
            return self.refuse(request, ErrorCode::LoginRequired);
        }
        Ok(self.issue_code(request, authentication, session)?)
    }

    /// Returns the response when the login failed, with an error.
    pub fn refuse(
        &self,
        request: &AuthorizationRequest,
        code: ErrorCode,
    ) -> Result<AuthorizationResponse, PageFailure> {
        self.client_of(request)?;
        let error = code.because(match code {
            ErrorCode::AccessDenied => "The user may not log in, or declined.",
            ErrorCode::LoginRequired => "The user must log in.",
            ErrorCode::InteractionRequired => "The user must take a further step.",
            ErrorCode::ConsentRequired => "The user must give consent.",
            _ => "The login failed.",
        });
        Ok(self.error_of(request, error))
    }

    /// Returns the client of a request that was valid earlier; the configuration may have changed since.
    fn client_of(&self, request: &AuthorizationRequest) -> Result<&Client, PageError> {
        let client = self.clients.get(&request.client_id).ok_or(PageError::UNKNOWN_CLIENT)?;
        if client.may_redirect_to(&request.redirect_uri) {
            Ok(client)
        } else {
            Err(PageError::REDIRECT_URI)
        }
    }

    /// Returns the user that an ID token of this server names. It may have expired (OpenID Connect Core §3.1.2.1).
    fn hinted(&self, hint: &str) -> Result<Option<ResourceId>, OidcError> {
        let claims = keys::claims_of_id_token(&*self.keys.set()?, hint);
        Ok(claims.and_then(|claims| Some(claims.get("sub")?.as_str()?.into())))
    }

    /// Decides whether the login of a session satisfies the request.
    fn suffices(&self, request: &AuthorizationRequest, authentication: &Authentication) -> Result<Entry, OidcError> {
        let expected = request
            .subject
            .as_ref()
            .is_none_or(|subject| *subject == authentication.user);
        let client = self.clients.get(&request.client_id);
        let (Some(client), false, true) = (client, request.reauthenticate, expected) else {
            return Ok(Entry::Login);
        };
        (self.entries)(&client.name, authentication, request.purpose())
    }

    /// Issues a code, bound to the client, its redirect URI, its PKCE challenge and the session.
    fn issue_code(
        &self,
        request: &AuthorizationRequest,
        authentication: &Authentication,
        session: &str,
    ) -> Result<AuthorizationResponse, OidcError> {
        let code = random::token();
        let code_hash = random::fingerprint(&code);
        let credentials = authentication.credentials;
        let now = self.clock.now();
        let grant = Grant {
            id: random::token(),
            code_expires: now.plus(CODE_LIFETIME),
            client_id: request.client_id.clone(),
            session_hash: random::fingerprint(session),
            store: authentication.store.clone(),
            user: authentication.user.clone(),
            redirect_uri: request.redirect_uri.clone(),
            scope: request.scope.join(" "),
            nonce: request.nonce.clone(),
            claims: request.claims.clone(),
            code_challenge: request.code_challenge.clone(),
            amr: authentication.amr.clone(),
            auth_time: authentication.at,
            authenticated_at: authentication.authenticated_at,
            identity_provider: authentication.identity_provider.clone(),
            created: now,
            expires: now.plus(CODE_LIFETIME),
            revoked: None,
        };
        let issued = self.database.write::<_, StorageError>(move |connection| {
            // No code is issued if the session has ended meanwhile or belongs to another user.
            if sessions::hold(connection, &grant.session_hash, now)?.as_ref() != Some(&grant.user)
                || credential_versions::current(connection, &grant.user)? != credentials
            {
                return Ok(false);
            }
            grants::insert(connection, &grant, &code_hash)?;
            Ok(true)
        })?;
        if !issued {
            let error = ErrorCode::LoginRequired.because("The session has ended.");
            return Ok(self.error_of(request, error));
        }
        let to = (request.redirect_uri.clone(), request.response_mode);
        Ok(self.answer_at(to, request.state.clone(), vec![("code", code)]))
    }

    fn error_of(&self, request: &AuthorizationRequest, error: OAuthError) -> AuthorizationResponse {
        let to = (request.redirect_uri.clone(), request.response_mode);
        self.error_at(to, request.state.clone(), error)
    }

    fn error_at(&self, to: (String, ResponseMode), state: Option<String>, error: OAuthError) -> AuthorizationResponse {
        let parameters = vec![
            ("error", error.code.as_str().to_owned()),
            ("error_description", error.description.to_owned()),
        ];
        self.answer_at(to, state, parameters)
    }

    /// Returns the response, with the issuer as `iss` (RFC 9207).
    fn answer_at(
        &self,
        (redirect_uri, mode): (String, ResponseMode),
        state: Option<String>,
        mut parameters: Vec<(&'static str, String)>,
    ) -> AuthorizationResponse {
        parameters.extend(state.map(|state| ("state", state)));
        parameters.push(("iss", self.issuer.clone()));
        AuthorizationResponse {
            redirect_uri,
            mode,
            parameters,
        }
    }
}
