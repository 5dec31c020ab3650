//! Authenticates clients at the token endpoint (RFC 6749 §2.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Oidc;
use super::client::{Client, Clients};
use super::error::{ClientFailure, ErrorCode, OAuthError};
use super::parameters::Parameters;
use crate::storage::random;

pub(super) const REFUSED: OAuthError =
    ErrorCode::InvalidClient.because("Unknown client, or client authentication failed.");

/// The client authentication methods in the discovery document. Public clients do not authenticate; they only send
/// their `client_id`.
pub(super) const METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

impl Oidc {
    /// Returns the client that authenticated with the method that it is configured for. An assertion together with a
    /// secret is refused, so that one cannot replace the other.
    pub(super) fn authenticate(
        &self,
        authorization: Option<&str>,
        parameters: &Parameters<'_>,
    ) -> Result<&Client, ClientFailure> {
        let has_secret = authorization.is_some() || parameters.get("client_secret").is_some();
        match parameters
            .get("client_assertion")
            .or(parameters.get("client_assertion_type"))
        {
            Some(_) if has_secret => Err(REFUSED.into()),
            Some(_) => self.by_assertion(parameters),
            None => Ok(by_secret(&self.clients, authorization, parameters)?),
        }
    }
}

/// Returns the client that authenticated with `client_secret_basic` or `client_secret_post`, or the public client that
/// `client_id` names. A request that tries more than one method is refused.
fn by_secret<'c>(
    clients: &'c Clients,
    authorization: Option<&str>,
    parameters: &Parameters<'_>,
) -> Result<&'c Client, OAuthError> {
    let named = parameters.get("client_id");
    match (authorization, parameters.get("client_secret")) {
        (Some(_), Some(_)) => Err(ErrorCode::InvalidRequest.because("The client uses two authentication methods.")),
        (Some(header), None) => {
            let client = basic(clients, header).ok_or(REFUSED)?;
            match named {
                Some(name) if name != client.client_id => {
                    Err(ErrorCode::InvalidRequest.because("client_id does not match the authenticated client."))
                }
                _ => Ok(client),
            }
        }
        (None, Some(secret)) => proved(clients, named.unwrap_or_default(), secret).ok_or(REFUSED),
        (None, None) => named
            .and_then(|name| clients.get(name))
            .filter(|client| client.is_public())
            .ok_or(REFUSED),
    }
}

/// Reads the `Authorization` header. RFC 6749 §2.3.1 has the id and secret form-encoded before they are joined, but
/// many clients do not do this, so both readings are tried.
fn basic<'c>(clients: &'c Clients, header: &str) -> Option<&'c Client> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (name, secret) = credentials.split_once(':')?;
    proved(clients, &form_decoded(name), &form_decoded(secret)).or_else(|| proved(clients, name, secret))
}

/// Returns the client if this is its secret. An unknown client takes the same time.
fn proved<'c>(clients: &'c Clients, name: &str, secret: &str) -> Option<&'c Client> {
    let client = clients.get(name);
    let expected = client.and_then(|client| client.secret.as_ref());
    let equal = random::equal(secret, expected.map_or("", |secret| secret.expose()));
    client.filter(|_| equal && expected.is_some() && !secret.is_empty())
}

fn form_decoded(text: &str) -> String {
    // This is a single value: the separators `&` and `=` stand for themselves.
    let text = text.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(value, _)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{confidential, pairs, public};
    use super::*;
    use crate::domain::Secret;

    fn clients() -> Clients {
        let odd = Client {
            client_id: "odd one".to_owned(),
            secret: Some(Secret::new("a+b%&=:c ")),
            ..confidential()
        };
        Clients::new(vec![confidential(), public(), odd])
    }

    fn header(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    fn who(authorization: Option<&str>, body: &[(&str, &str)]) -> Result<String, &'static str> {
        let body = pairs(body);
        by_secret(&clients(), authorization, &Parameters::new(&body))
            .map(|client| client.client_id.clone())
            .map_err(|error| error.code.as_str())
    }

    #[test]
    fn a_secret_is_taken_from_the_header_or_the_body() {
        assert_eq!(who(Some(&header("wiki:s3cret")), &[]), Ok("wiki".to_owned()));
        assert_eq!(
            who(
                Some(&header("wiki:s3cret").replace("Basic", "bASIC")),
                &[("client_id", "wiki")]
            ),
            Ok("wiki".to_owned())
        );
        assert_eq!(
            who(None, &[("client_id", "wiki"), ("client_secret", "s3cret")]),
            Ok("wiki".to_owned())
        );
        assert_eq!(who(None, &[("client_id", "phone")]), Ok("phone".to_owned()));
    }

    #[test]
    fn ids_and_secrets_may_be_form_encoded_or_plain() {
        assert_eq!(
            who(Some(&header("odd+one:a%2Bb%25%26%3D%3Ac+")), &[]),
            Ok("odd one".to_owned())
        );
        assert_eq!(who(Some(&header("odd one:a+b%&=:c ")), &[]), Ok("odd one".to_owned()));
    }

    #[test]
    fn failed_client_authentication_is_refused() {
        for (authorization, body) in [
            (Some(header("wiki:wrong")), vec![]),
            (Some(header("wiki:")), vec![]),
            (Some(header("nobody:s3cret")), vec![]),
            (Some(header("nobody:")), vec![]),
            (Some(header("phone:")), vec![]),
            (Some("Bearer s3cret".to_owned()), vec![]),
            (Some("Basic".to_owned()), vec![]),
            (Some("Basic \u{fffd}".to_owned()), vec![]),
            (None, vec![]),
            (None, vec![("client_id", "wiki")]),
            (None, vec![("client_id", "nobody")]),
            (None, vec![("client_id", "wiki"), ("client_secret", "")]),
            (None, vec![("client_id", "wiki"), ("client_secret", "s3cre")]),
            (None, vec![("client_id", "phone"), ("client_secret", "x")]),
            (None, vec![("client_secret", "s3cret")]),
        ] {
            assert_eq!(
                who(authorization.as_deref(), &body),
                Err("invalid_client"),
                "{authorization:?} {body:?}"
            );
        }
    }

    #[test]
    fn two_methods_or_two_client_ids_are_refused() {
        let header = header("wiki:s3cret");
        assert_eq!(
            who(Some(&header), &[("client_id", "wiki"), ("client_secret", "s3cret")]),
            Err("invalid_request")
        );
        assert_eq!(who(Some(&header), &[("client_id", "phone")]), Err("invalid_request"));
    }
}
