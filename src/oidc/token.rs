//! The token endpoint, which issues tokens for codes and refresh tokens (RFC 6749 §4.1.3, §6).

use serde::Serialize;

use super::client::Client;
use super::error::{ClientFailure, ErrorCode, OAuthError, OidcError};
use super::id_token::{self, IdTokenInput};
use super::keys::KeysError;
use super::parameters::Parameters;
use super::{Oidc, pkce};
use crate::audit;
use crate::domain::{Resource, SecurityEvent, SecurityEventKind, Timestamp};
use crate::jose::jws;
use crate::storage::grants::{self, Grant};
use crate::storage::logouts::{self, SessionClient};
use crate::storage::tokens::{self, NewToken};
use crate::storage::{StorageError, random};

/// All reasons share one answer, so that a client cannot tell them apart.
const INVALID_GRANT: OAuthError =
    ErrorCode::InvalidGrant.because("The code or refresh token is unknown, expired, used, or another client's.");

/// The token response (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Clone, Debug, Serialize)]
pub struct TokenResponse {
    /// Opaque; for the userinfo endpoint.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// The lifetime of the access token in seconds.
    pub expires_in: i64,
    /// Valid once, for new tokens; present if `offline_access` was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The scope of the access token.
    pub scope: String,
    /// The ID token; left out of a refresh whose scope does not contain `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

/// The code or refresh token that is exchanged for new tokens.
enum SpentCredential {
    Code,
    RefreshToken { hash: String },
}

/// The input for new tokens.
struct TokenInput<'a> {
    client: &'a Client,
    grant: Grant,
    user: Resource,
    /// The scope of the access token: the grant's scope, or less.
    scope: String,
    spent: SpentCredential,
}

impl Oidc {
    /// Answers a token request, given its `Authorization` header and its form.
    pub fn token(
        &self,
        authorization: Option<&str>,
        parameters: &[(String, String)],
    ) -> Result<TokenResponse, ClientFailure> {
        let parameters = Parameters::new(parameters);
        parameters.refuse_repeated()?;
        let client = match self.authenticate(authorization, &parameters) {
            Ok(client) => client,
            Err(failure) => return Err(self.record_refusal(None, failure)),
        };
        let answer = match parameters.required("grant_type", "grant_type is missing.")? {
            "authorization_code" => self.redeem(client, &parameters),
            "refresh_token" => self.refresh(client, &parameters),
            "client_credentials" => self.client_credentials(client, &parameters),
            _ => Err(ErrorCode::UnsupportedGrantType
                .because("grant_type must be authorization_code, refresh_token or client_credentials.")
                .into()),
        };
        answer.map_err(|failure| self.record_refusal(Some(client), failure))
    }

    /// Records that an application gets no tokens.
    fn record_refusal(&self, client: Option<&Client>, failure: ClientFailure) -> ClientFailure {
        if let ClientFailure::Refused(error) = &failure {
            let event = SecurityEvent {
                service_provider: client.map(|client| client.name.clone()),
                reason: Some(error.code.as_str().to_owned()),
                ..SecurityEvent::new(SecurityEventKind::TokenRefused, self.clock.now())
            };
            audit::record(&self.database, event);
        }
        failure
    }

    fn redeem(&self, client: &Client, parameters: &Parameters<'_>) -> Result<TokenResponse, ClientFailure> {
        let code_hash = random::fingerprint(parameters.required("code", "code is missing.")?);
        let redirect_uri = parameters.required("redirect_uri", "redirect_uri is missing.")?;
        let verifier = parameters.get("code_verifier");
        let grant = self
            .database
            .read::<_, OidcError>(|connection| grants::by_code(connection, &code_hash))?;
        let grant = grant.ok_or(INVALID_GRANT)?;
        let fits = grant.client_id == client.client_id
            && grant.redirect_uri == redirect_uri
            // The registration may have changed since the code was issued.
            && client.may_redirect_to(redirect_uri)
            && !(client.needs_pkce() && grant.code_challenge.is_none())
            && pkce::holds(grant.code_challenge.as_deref(), verifier);
        let user = if fits {
            self.user_of(&grant, &grant.scope)?
        } else {
            None
        };
        // A code that is presented wrongly, or whose user may no longer log in, is revoked.
        let Some(user) = user else {
            return self.revoke_grant(grant);
        };
        let scope = grant.scope.clone();
        self.issue(TokenInput {
            client,
            grant,
            user,
            scope,
            spent: SpentCredential::Code,
        })
    }

    fn refresh(&self, client: &Client, parameters: &Parameters<'_>) -> Result<TokenResponse, ClientFailure> {
        let hash = random::fingerprint(parameters.required("refresh_token", "refresh_token is missing.")?);
        let found = self
            .database
            .read::<_, OidcError>(|connection| tokens::refresh(connection, &hash))?;
        let found = found.ok_or(INVALID_GRANT)?;
        let grant = found.grant;
        if grant.client_id != client.client_id {
            return self.revoke_grant(grant);
        }
        if !grant.is_live(self.clock.now()) {
            return Err(INVALID_GRANT.into());
        }
        let scope = narrowed(&found.scope, parameters.get("scope"))?;
        let Some(user) = self.user_of(&grant, &grant.scope)? else {
            return self.revoke_grant(grant);
        };
        self.issue(TokenInput {
            client,
            grant,
            user,
            scope,
            spent: SpentCredential::RefreshToken { hash },
        })
    }

    /// Issues new tokens for the presented code or refresh token.
    fn issue(&self, issue: TokenInput<'_>) -> Result<TokenResponse, ClientFailure> {
        let now = self.clock.now();
        let signer = self.keys.signer(issue.client.id_token_alg)?;
        let fresh = NewTokens::new(&issue, now);
        let TokenInput {
            client,
            grant,
            user,
            scope,
            spent,
        } = issue;
        let is_first = matches!(spent, SpentCredential::Code);
        let nonce = is_first.then_some(grant.nonce.as_deref()).flatten();
        if !self.spend(grant.id.clone(), spent, fresh.rows, now)? {
            log::warn!(
                "a code or refresh token of {} was used twice or after it expired: its grant is revoked",
                client.name
            );
            return Err(INVALID_GRANT.into());
        }
        if is_first {
            let event = SecurityEvent {
                user: Some(grant.user.clone()),
                identity_provider: grant.identity_provider.clone(),
                service_provider: Some(client.name.clone()),
                reason: Some(scope.clone()),
                ..SecurityEvent::new(SecurityEventKind::TokenIssued, now)
            };
            audit::record(&self.database, event);
        }
        let id_token = if has(&scope, "openid") {
            let subject = IdTokenInput {
                client,
                grant: &grant,
                about_user: self.claims_of(&user, &scope, &grant.claims.id_token)?,
            };
            let claims = id_token::claims(&self.issuer, subject, &fresh.access_token, now, nonce);
            Some(jws::write(&signer, jws::ID_TOKEN, &claims).map_err(KeysError::from)?)
        } else {
            None
        };
        Ok(TokenResponse {
            access_token: fresh.access_token,
            token_type: "Bearer",
            expires_in: fresh.expires_in,
            refresh_token: fresh.refresh_token,
            scope,
            id_token,
        })
    }

    /// Consumes the presented code or refresh token and stores the new tokens, in one transaction. If it was used
    /// before, there is a copy: the whole grant is revoked (RFC 6749 §4.1.2, RFC 9700 §4.14.2), and the result is
    /// `false`.
    fn spend(
        &self,
        grant_id: String,
        spent: SpentCredential,
        rows: Rows,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        self.database.write(move |connection| {
            // Lock the session before the grant, in the order in which both end.
            if let Some(learned) = &rows.learned {
                logouts::record_session_client(connection, learned, now)?;
            }
            let taken = match &spent {
                SpentCredential::Code => grants::take_code(connection, &grant_id, now, rows.grant_expires)?,
                SpentCredential::RefreshToken { hash } => {
                    grants::hold(connection, &grant_id, now)? && tokens::take_refresh(connection, hash, now)?
                }
            };
            if !taken {
                grants::revoke(connection, &grant_id, now)?;
                return Ok(false);
            }
            tokens::insert_access(connection, &grant_id, &rows.access)?;
            if let Some(refresh) = &rows.refresh {
                tokens::insert_refresh(connection, &grant_id, refresh, now)?;
            }
            Ok(true)
        })
    }

    /// Revokes a grant and returns `invalid_grant`.
    fn revoke_grant(&self, grant: Grant) -> Result<TokenResponse, ClientFailure> {
        let now = self.clock.now();
        self.database
            .write::<_, StorageError>(move |connection| Ok(grants::revoke(connection, &grant.id, now)?))?;
        Err(INVALID_GRANT.into())
    }
}

/// New tokens: their values for the client, and the rows that are stored.
struct NewTokens {
    access_token: String,
    expires_in: i64,
    refresh_token: Option<String>,
    rows: Rows,
}

struct Rows {
    access: NewToken,
    refresh: Option<NewToken>,
    grant_expires: Timestamp,
    /// The session id that a client with back-channel logout receives.
    learned: Option<SessionClient>,
}

impl NewTokens {
    fn new(issue: &TokenInput<'_>, now: Timestamp) -> Self {
        let lifetimes = &issue.client.lifetimes;
        let offline = has(&issue.grant.scope, "offline_access");
        let grant_expires = match issue.spent {
            SpentCredential::RefreshToken { .. } => issue.grant.expires,
            SpentCredential::Code if offline => now.plus(lifetimes.refresh_in_all),
            SpentCredential::Code => now.plus(lifetimes.access_token),
        };
        let token = |scope: &str, life| {
            let text = random::token();
            let hash = random::fingerprint(&text);
            (
                text,
                NewToken {
                    hash,
                    scope: scope.to_owned(),
                    expires: now.plus(life).min(grant_expires),
                },
            )
        };
        let (access_token, access) = token(&issue.scope, lifetimes.access_token);
        let refresh = offline.then(|| token(&issue.grant.scope, lifetimes.refresh_token));
        let (refresh_token, refresh) = refresh.unzip();
        let learned = issue.client.backchannel_logout.is_some().then(|| SessionClient {
            session_hash: issue.grant.session_hash.clone(),
            client_id: issue.client.client_id.clone(),
            sid: id_token::sid(&issue.grant.session_hash),
        });
        let expires_in = access.expires.seconds() - now.seconds();
        Self {
            access_token,
            expires_in,
            refresh_token,
            rows: Rows {
                access,
                refresh,
                grant_expires,
                learned,
            },
        }
    }
}

/// Returns the scope of a refresh: the granted scope by default. More than was granted is refused (RFC 6749 §6).
fn narrowed(granted: &str, asked: Option<&str>) -> Result<String, OAuthError> {
    let Some(asked) = asked else {
        return Ok(granted.to_owned());
    };
    if asked.len() > granted.len() || !asked.split(' ').all(|word| has(granted, word)) {
        return Err(ErrorCode::InvalidScope.because("scope contains more than was granted."));
    }
    Ok(asked.to_owned())
}

fn has(scope: &str, word: &str) -> bool {
    scope.split(' ').any(|held| held == word)
}
