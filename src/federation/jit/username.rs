//! Derives the user name and the userstore of an account that a login makes.

use serde_json::Value;

use crate::domain::email::Email;
use crate::domain::{IdentityProviderName, StoreName, name};
use crate::federation::idp::claim::lookup;
use crate::federation::idp::provider::Identity;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::{StoreRule, UsernameRule};
use crate::storage::random::fingerprint;

/// Returns the user name by the rule, exactly as the claim has it.
pub fn derive(rule: &UsernameRule, provider: &IdentityProviderName, identity: &Identity) -> Result<String, Denial> {
    let username = match rule {
        UsernameRule::Claim(claims) => {
            let (claim, text) = first_text(identity, claims)?;
            // An address that programs could read differently is how one name is made to look like another's.
            let is_odd = claim == "email" && text.contains('@') && Email::parse(&text).is_none();
            if is_odd {
                return Err(Denial::BadEmail);
            }
            text
        }
        UsernameRule::Subject => identity.subject.clone(),
        UsernameRule::FederatedId => federated_id(provider, identity),
    };
    name::check(&username).map_err(|_| Denial::BadUsername)?;
    Ok(username)
}

/// Returns the userstore by the rule.
pub fn store(rule: &StoreRule, identity: &Identity) -> Result<StoreName, Denial> {
    match rule {
        StoreRule::Fixed(store) => Ok(store.clone()),
        StoreRule::Claim { claim, stores } => stores
            .get(&text(identity, claim)?)
            .cloned()
            .ok_or_else(|| Denial::UnknownStore { claim: claim.clone() }),
    }
}

/// Returns a user name for (identity provider, issuer, subject): the same at every login, different for other
/// identities.
fn federated_id(provider: &IdentityProviderName, identity: &Identity) -> String {
    // JSON, so that different triples never give the same text.
    let triple = serde_json::json!([provider, identity.issuer, identity.subject]).to_string();
    format!("fed-{}", &fingerprint(&triple)[..32])
}

/// Returns the first of some claims that is a string or a number, with its name.
fn first_text<'c>(identity: &Identity, claims: &'c [String]) -> Result<(&'c str, String), Denial> {
    let mut found = claims
        .iter()
        .filter_map(|claim| Some((claim.as_str(), text(identity, claim).ok()?)));
    found.next().ok_or_else(|| Denial::MissingClaim {
        claim: claims.join(" or "),
    })
}

/// Returns a claim that must be a string or a number.
fn text(identity: &Identity, claim: &str) -> Result<String, Denial> {
    match lookup(&identity.claims, claim) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Denial::MissingClaim {
            claim: claim.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(claims: Value) -> Identity {
        let Value::Object(claims) = claims else {
            panic!("not an object")
        };
        Identity {
            issuer: "https://idp.example".to_owned(),
            subject: "s/1@x".to_owned(),
            claims,
            token: None,
        }
    }

    fn derived(rule: &UsernameRule, claims: Value) -> Result<String, Denial> {
        derive(rule, &"google".into(), &identity(claims))
    }

    #[test]
    fn first_claim_of_a_list_that_is_there_is_the_name() {
        let rule = UsernameRule::Claim(vec!["upn".to_owned(), "email".to_owned()]);
        let both = json!({"upn": "ann", "email": "ann@example.com"});
        assert_eq!(derived(&rule, both).unwrap(), "ann");
        let one = json!({"upn": "", "email": "ann@example.com"});
        assert_eq!(derived(&rule, one).unwrap(), "ann@example.com");
        let claim = "upn or email".to_owned();
        assert_eq!(derived(&rule, json!({})), Err(Denial::MissingClaim { claim }));
    }

    #[test]
    fn a_claim_is_taken_as_it_is() {
        let rule = UsernameRule::Claim(vec!["upn".to_owned()]);
        assert_eq!(
            derived(&rule, json!({"upn": "Alice@Corp/EU"})).unwrap(),
            "Alice@Corp/EU"
        );
        assert_eq!(derived(&rule, json!({"upn": 7})).unwrap(), "7");
    }

    #[test]
    fn ambiguous_address_is_no_user_name() {
        let rule = UsernameRule::Claim(vec!["email".to_owned()]);
        let refused = derived(&rule, json!({"email": "a@b@example.com"}));
        assert_eq!(refused, Err(Denial::BadEmail));
    }

    #[test]
    fn a_claim_that_is_absent_or_no_text_is_missing() {
        let rule = UsernameRule::Claim(vec!["email".to_owned()]);
        for claims in [
            json!({}),
            json!({"email": null}),
            json!({"email": ""}),
            json!({"email": ["a"]}),
            json!({"email": true}),
        ] {
            assert_eq!(
                derived(&rule, claims),
                Err(Denial::MissingClaim {
                    claim: "email".to_owned()
                })
            );
        }
    }

    #[test]
    fn a_name_that_cannot_be_seen_is_refused() {
        let rule = UsernameRule::Claim(vec!["email".to_owned()]);
        for name in ["bob\u{200b}", "bob\u{202e}", "a\nb", "  "] {
            assert_eq!(
                derived(&rule, json!({"email": name})),
                Err(Denial::BadUsername),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_subject_is_taken_as_user_name_unchanged() {
        assert_eq!(derived(&UsernameRule::Subject, json!({})).unwrap(), "s/1@x");
    }

    #[test]
    fn a_federated_id_is_stable_and_different_per_identity() {
        let rule = UsernameRule::FederatedId;
        let base = identity(json!({}));
        let name = |provider: &str, identity: &Identity| derive(&rule, &provider.into(), identity).unwrap();
        assert_eq!(name("google", &base), name("google", &base));
        assert_ne!(name("google", &base), name("other", &base));
        assert_ne!(
            name("google", &base),
            name(
                "google",
                &Identity {
                    subject: "2".to_owned(),
                    ..base.clone()
                }
            )
        );
        assert_ne!(
            name("google", &base),
            name(
                "google",
                &Identity {
                    issuer: "i".to_owned(),
                    ..base.clone()
                }
            )
        );
    }

    #[test]
    fn an_unknown_store_value_never_falls_back() {
        let stores = [("corp".to_owned(), StoreName::from("CORP"))].into();
        let rule = StoreRule::Claim {
            claim: "tenant".to_owned(),
            stores,
        };
        assert_eq!(store(&rule, &identity(json!({"tenant": "corp"}))), Ok("CORP".into()));
        let unknown = Err(Denial::UnknownStore {
            claim: "tenant".to_owned(),
        });
        assert_eq!(store(&rule, &identity(json!({"tenant": "else"}))), unknown);
    }
}
