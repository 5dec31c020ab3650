//! The claims of an OpenID provider from two documents: the ID token and userinfo (OpenID Connect Core §5.3.2).

use serde_json::{Map, Value};

use super::id_token::TokenDefect;
use super::provider::ProviderError;

/// The standard claim that says whether `email` is verified (OpenID Connect Core §5.1).
pub(crate) const EMAIL_VERIFIED: &str = "email_verified";

/// The claims about an e-mail address.
const EMAIL_CLAIMS: [&str; 2] = ["email", EMAIL_VERIFIED];

/// Merges userinfo into verified claims, if it is about the same person (OpenID Connect Core §5.3.2).
pub(super) fn merge(claims: &mut Map<String, Value>, more: Map<String, Value>) -> Result<(), ProviderError> {
    if more.get("sub") != claims.get("sub") {
        return Err(TokenDefect::UserinfoSubject.into());
    }
    // An address and its verification come from one document: the ID token if it has both, else userinfo if it has both.
    let has_both = |document: &Map<String, Value>| EMAIL_CLAIMS.iter().all(|name| document.contains_key(*name));
    let takes_email = !has_both(claims) && (has_both(&more) || !claims.contains_key("email"));
    if takes_email {
        for name in EMAIL_CLAIMS {
            claims.remove(name);
        }
    }
    for (name, value) in more {
        let is_of_email = EMAIL_CLAIMS.contains(&name.as_str());
        if (takes_email || !is_of_email) && !claims.contains_key(&name) {
            claims.insert(name, value);
        }
    }
    Ok(())
}

/// Sets `email_verified` of one document from the configured claim. Without an address it verifies nothing, and is
/// removed.
pub(super) fn judge_email(document: &mut Map<String, Value>, verified_claim: &str) {
    let has_address = document.get("email").is_some_and(|email| !email.is_null());
    if !has_address {
        document.remove(EMAIL_VERIFIED);
    } else if verified_claim != EMAIL_VERIFIED {
        let verified = document.get(verified_claim) == Some(&Value::Bool(true));
        document.insert(EMAIL_VERIFIED.to_owned(), verified.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(claims: Value, more: Value) -> Result<Value, ProviderError> {
        let (Value::Object(mut claims), Value::Object(mut more)) = (claims, more) else {
            panic!("not objects")
        };
        judge_email(&mut claims, EMAIL_VERIFIED);
        judge_email(&mut more, EMAIL_VERIFIED);
        merge(&mut claims, more).map(|()| claims.into())
    }

    #[test]
    fn userinfo_fills_gaps_and_never_overrides() {
        let claims = merged(
            json!({"sub": "1", "name": "A"}),
            json!({"sub": "1", "name": "B", "locale": "fi"}),
        )
        .unwrap();
        assert_eq!(claims, json!({"sub": "1", "name": "A", "locale": "fi"}));
    }

    #[test]
    fn userinfo_about_another_person_is_refused() {
        for more in [json!({"sub": "2"}), json!({}), json!({"sub": 1})] {
            assert!(matches!(
                merged(json!({"sub": "1"}), more),
                Err(ProviderError::Token(TokenDefect::UserinfoSubject))
            ));
        }
    }

    #[test]
    fn address_and_verification_come_from_one_document() {
        let (mine, victim) = ("me@example.com", "victim@example.com");
        for (token, userinfo, expected) in [
            (
                json!({"email": victim}),
                json!({"email": mine, "email_verified": true}),
                json!({"email": mine, "email_verified": true}),
            ),
            (
                json!({"email_verified": true}),
                json!({"email": victim, "email_verified": false}),
                json!({"email": victim, "email_verified": false}),
            ),
            (
                json!({"email_verified": true}),
                json!({"email": victim}),
                json!({"email": victim}),
            ),
            (
                json!({"email": mine, "email_verified": false}),
                json!({"email": mine, "email_verified": true}),
                json!({"email": mine, "email_verified": false}),
            ),
            (
                json!({"email": mine}),
                json!({"email_verified": true}),
                json!({"email": mine}),
            ),
        ] {
            let of_ann = |claims: &Value| {
                let mut claims = claims.clone();
                claims["sub"] = "1".into();
                claims
            };
            let claims = merged(of_ann(&token), of_ann(&userinfo)).unwrap();
            assert_eq!(claims, of_ann(&expected), "{token} {userinfo}");
        }
    }

    #[test]
    fn configured_claim_verifies_the_address_of_its_document() {
        let judged = |document: Value| {
            let Value::Object(mut document) = document else {
                panic!()
            };
            judge_email(&mut document, "xms_edov");
            document.get(EMAIL_VERIFIED).cloned()
        };
        assert_eq!(
            judged(json!({"email": "a@x.example", "xms_edov": true})),
            Some(json!(true))
        );
        assert_eq!(
            judged(json!({"email": "a@x.example", "email_verified": true})),
            Some(json!(false))
        );
        assert_eq!(judged(json!({"xms_edov": true})), None);
    }
}
