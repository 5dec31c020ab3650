//! The discovery document (OpenID Connect Discovery §3), with the supported features only.

use serde_json::{Value, json};

use super::authorization_request::SCOPES;
use super::claims::CLAIMS;
use super::client_authentication::METHODS;
use super::{Oidc, client_credentials, id_token};
use crate::jose::ALGORITHMS;
use crate::jose::Algorithm;

impl Oidc {
    /// Returns the discovery document.
    pub fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let claims: Vec<&str> = [
            "sub",
            "iss",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "acr",
            "nonce",
            "at_hash",
            "amr",
            "sid",
        ]
        .into_iter()
        .chain(CLAIMS)
        .collect();
        let with_none: Vec<&str> = METHODS.into_iter().chain(["none"]).collect();
        let scopes: Vec<&str> = SCOPES.into_iter().chain(client_credentials::SCOPES).collect();
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/oauth2/authorize"),
            "token_endpoint": at("/oauth2/token"),
            "userinfo_endpoint": at("/oauth2/userinfo"),
            "end_session_endpoint": at("/oauth2/logout"),
            "revocation_endpoint": at("/oauth2/revoke"),
            "pushed_authorization_request_endpoint": at("/oauth2/par"),
            "require_pushed_authorization_requests": false,
            "introspection_endpoint": at("/oauth2/introspect"),
            "jwks_uri": at("/oauth2/jwks"),
            "scopes_supported": scopes,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::name),
            "token_endpoint_auth_methods_supported": with_none,
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "revocation_endpoint_auth_methods_supported": with_none,
            "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "introspection_endpoint_auth_methods_supported": METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "select_account", "consent"],
            "acr_values_supported": id_token::CLASSES,
            "claims_supported": claims,
            "claims_parameter_supported": true,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        })
    }
}
