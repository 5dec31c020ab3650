//! Finds the claims that cannot be stored. A claim that no login needs never refuses one: it is left out, counted and
//! named in the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::claim_mapping::{ClaimMapping, ClaimValue, email, is_storable};
use super::denial::Denial;
use crate::domain::IdentityProviderName;
use crate::domain::schema::ResourceType;
use crate::domain::validate;

/// Why a claim cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// It is too long or has control characters.
    Text,
    /// It is not of the type of the attribute.
    Type,
    /// It is not a well-formed e-mail address.
    Email,
    /// Another account has the value, and the attribute is unique.
    Taken,
}

impl Defect {
    /// Returns a stable code for logs and metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Type => "type",
            Self::Email => "email",
            Self::Taken => "taken",
        }
    }
}

/// Returns the lines of a mapping whose claims cannot be stored, each with the reason.
///
/// # Errors
/// [`Denial::BadClaim`] if a required claim cannot be stored.
pub(crate) fn find<'a>(
    mappings: &'a [ClaimMapping],
    claims: &Map<String, Value>,
    user: &ResourceType,
) -> Result<Vec<(&'a ClaimMapping, Defect)>, Denial> {
    let mut found = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.path().is_some()) {
        let ClaimValue::Value(value) = mapping.value(claims) else {
            continue;
        };
        if let Some(defect) = defect(mapping, &value, claims, user) {
            if mapping.is_required() {
                return Err(Denial::BadClaim {
                    claim: mapping.from().to_owned(),
                });
            }
            found.push((mapping, defect));
        }
    }
    Ok(found)
}

fn defect(mapping: &ClaimMapping, value: &Value, claims: &Map<String, Value>, user: &ResourceType) -> Option<Defect> {
    if !is_storable(value) {
        return Some(Defect::Text);
    }
    let fits = user
        .resolve(&mapping.attribute())
        .is_some_and(|found| validate::fits(&found, value));
    if !fits {
        return Some(Defect::Type);
    }
    (mapping.from() == "email" && email(claims).is_none()).then_some(Defect::Email)
}

/// Counts the claims that were left out, by identity provider, claim and reason.
#[derive(Debug, Default)]
pub struct IgnoredClaims(Mutex<BTreeMap<IgnoredClaim, u64>>);

/// A claim that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IgnoredClaim {
    /// The identity provider.
    pub identity_provider: String,
    /// The claim, as the configuration names it.
    pub claim: String,
    /// The reason.
    pub reason: &'static str,
}

impl IgnoredClaims {
    /// Counts one claim of one login.
    pub(crate) fn count(&self, provider: &IdentityProviderName, claim: &str, reason: &'static str) {
        let ignored = IgnoredClaim {
            identity_provider: provider.to_string(),
            claim: claim.to_owned(),
            reason,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(ignored).or_default() += 1;
    }

    /// Returns the counts since the process started.
    pub fn counts(&self) -> BTreeMap<IgnoredClaim, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;
    use crate::federation::jit::claim_mapping::{ClaimMode, standard};

    fn defects(mappings: &[ClaimMapping], claims: &Value) -> Result<Vec<(String, Defect)>, Denial> {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).unwrap();
        let found = find(mappings, claims.as_object().unwrap(), user)?;
        let found = found
            .iter()
            .map(|(mapping, defect)| (mapping.from().to_owned(), *defect));
        Ok(found.collect())
    }

    #[test]
    fn optional_claims_that_cannot_be_stored_are_found() {
        for (claim, value, defect) in [
            ("picture", json!("x".repeat(40_000)), Defect::Text),
            ("nickname", json!("a\u{7}"), Defect::Text),
            ("locale", json!({"country": "US"}), Defect::Type),
            ("nickname", json!(7), Defect::Type),
            ("email", json!("a@@b"), Defect::Email),
        ] {
            let claims = json!({"sub": "1", "given_name": "Ann", claim: value});
            assert_eq!(defects(&standard(), &claims), Ok(vec![(claim.to_owned(), defect)]));
        }
    }

    #[test]
    fn required_claim_that_cannot_be_stored_refuses_the_login() {
        let mapping = ClaimMapping::new("locale", "locale", ClaimMode::Require).unwrap();
        let refused = defects(&[mapping], &json!({"locale": {"country": "US"}}));
        assert_eq!(
            refused,
            Err(Denial::BadClaim {
                claim: "locale".to_owned()
            })
        );
    }

    #[test]
    fn claims_that_fit_have_no_defect() {
        let claims =
            json!({"given_name": "Ann", "email": "ann@example.com", "locale": "en", "picture": "https://x.example/a"});
        assert_eq!(defects(&standard(), &claims), Ok(Vec::new()));
    }
}
