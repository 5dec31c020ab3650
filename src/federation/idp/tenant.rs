//! Issuer rules: one issuer, or some or all tenants of a multi-tenant provider.

use serde_json::{Map, Value};

use crate::federation::idp::id_token::TokenDefect;

/// Placeholder for the tenant in the issuer identifier of a multi-tenant provider.
pub(crate) const PLACEHOLDER: &str = "{tenantid}";

/// The issuer that a token must come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerRule {
    /// The issuer identifier; with [`PLACEHOLDER`], those of all tenants.
    pub issuer: String,
    /// The allowed tenants; all if empty.
    pub tenants: Vec<String>,
}

impl IssuerRule {
    /// Whether the rule covers several issuers.
    pub(crate) fn is_of_many(&self) -> bool {
        self.issuer.contains(PLACEHOLDER)
    }

    /// Returns the issuer that a token with these claims must name: that of the tenant in `tid`.
    pub(crate) fn expected(&self, claims: &Map<String, Value>) -> Result<String, TokenDefect> {
        if !self.is_of_many() {
            return Ok(self.issuer.clone());
        }
        let tenant = claims.get("tid").and_then(Value::as_str).ok_or(TokenDefect::Tenant)?;
        let allowed = self.tenants.is_empty() || self.tenants.iter().any(|known| known.eq_ignore_ascii_case(tenant));
        if !is_guid(tenant) || !allowed {
            return Err(TokenDefect::Tenant);
        }
        Ok(self.issuer.replace(PLACEHOLDER, tenant))
    }

    /// Whether an answer may name this issuer (RFC 9207), as far as can be checked without a token.
    pub(crate) fn admits(&self, issuer: &str) -> bool {
        is_of(&self.issuer, issuer)
    }

    /// Whether a key that is published for the issuer `of` may sign for `issuer`. A key of one tenant never signs for
    /// another.
    pub(crate) fn key_signs_for(of: &str, issuer: &str, claims: &Map<String, Value>) -> bool {
        let tenant = claims.get("tid").and_then(Value::as_str).unwrap_or_default();
        of.replace(PLACEHOLDER, tenant) == issuer
    }
}

/// Whether an issuer is the configured one, or that of a tenant of it.
pub(crate) fn is_of(configured: &str, issuer: &str) -> bool {
    match configured.split_once(PLACEHOLDER) {
        None => issuer == configured,
        Some((before, after)) => issuer
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(is_guid),
    }
}

/// Whether a text is a GUID, like a tenant id: `8-4-4-4-12` hexadecimal digits.
pub(crate) fn is_guid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ONE: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

    fn rule(tenants: &[&str]) -> IssuerRule {
        IssuerRule {
            issuer: "https://login.example/{tenantid}/v2.0".to_owned(),
            tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
        }
    }

    fn claims(tid: Value) -> Map<String, Value> {
        Map::from_iter([("tid".to_owned(), tid)])
    }

    #[test]
    fn the_issuer_of_many_is_that_of_the_token_s_tenant() {
        let expected = rule(&[]).expected(&claims(json!(ONE)));
        assert_eq!(expected, Ok(format!("https://login.example/{ONE}/v2.0")));
    }

    #[test]
    fn a_tenant_must_be_a_guid() {
        for tid in [
            json!(null),
            json!(7),
            json!(""),
            json!("common"),
            json!("evil.example/x"),
            json!(format!("{ONE}/")),
            json!(format!("{{{ONE}}}")),
            json!("8eaef0232b344da19baa8bc8c9d6a490"),
        ] {
            assert_eq!(
                rule(&[]).expected(&claims(tid.clone())),
                Err(TokenDefect::Tenant),
                "{tid}"
            );
        }
        assert_eq!(rule(&[]).expected(&Map::new()), Err(TokenDefect::Tenant));
    }

    #[test]
    fn only_listed_tenants_come_where_there_is_a_list() {
        assert!(rule(&[&ONE.to_uppercase()]).expected(&claims(json!(ONE))).is_ok());
        let other = "82229342-1101-4ab6-817b-70c0747630f3";
        assert_eq!(rule(&[other]).expected(&claims(json!(ONE))), Err(TokenDefect::Tenant));
    }

    #[test]
    fn one_issuer_needs_no_tenant() {
        let rule = IssuerRule {
            issuer: "https://one.example".to_owned(),
            tenants: Vec::new(),
        };
        assert_eq!(rule.expected(&Map::new()), Ok("https://one.example".to_owned()));
        assert!(rule.admits("https://one.example") && !rule.admits("https://one.example/"));
    }

    #[test]
    fn an_answer_names_an_issuer_of_the_family() {
        assert!(rule(&[]).admits(&format!("https://login.example/{ONE}/v2.0")));
        for other in [
            "https://login.example/{tenantid}/v2.0",
            "https://login.example/x/v2.0",
            "https://evil.example",
            "",
        ] {
            assert!(!rule(&[]).admits(other), "{other}");
        }
    }

    #[test]
    fn a_key_of_one_tenant_signs_for_no_other() {
        let here = format!("https://login.example/{ONE}/v2.0");
        let token = claims(json!(ONE));
        assert!(IssuerRule::key_signs_for(
            "https://login.example/{tenantid}/v2.0",
            &here,
            &token
        ));
        assert!(IssuerRule::key_signs_for(&here, &here, &token));
        let consumers = "https://login.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
        assert!(!IssuerRule::key_signs_for(consumers, &here, &token));
    }
}
