//! Maps a user's SCIM attributes to OpenID claims (OpenID Connect Core §5.1, §5.4).

use serde_json::{Map, Value, json};

use super::{Oidc, OidcError};
use crate::domain::email::Email;
use crate::domain::{Attributes, Resource};
use crate::storage::links::LinkRecord;
use crate::storage::mail_addresses::{self, AddressFacts};
use crate::storage::{mail_codes, removals};

/// The claims that scopes can request, for the discovery document.
pub(crate) const CLAIMS: [&str; 16] = [
    "name",
    "given_name",
    "family_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "locale",
    "zoneinfo",
    "updated_at",
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "address",
    "groups",
];

/// The scopes that request claims.
const ALL_SCOPES: &str = "profile email phone address groups";

impl Oidc {
    /// Returns the claims about a user that the scopes request, and those that are asked for one by one.
    pub(super) fn claims_of(
        &self,
        user: &Resource,
        scope: &str,
        asked: &[String],
    ) -> Result<Map<String, Value>, OidcError> {
        let mut claims = of(user, scope);
        let all = if asked.is_empty() {
            Map::new()
        } else {
            of(user, ALL_SCOPES)
        };
        for name in asked {
            if let Some(value) = all.get(name) {
                claims.insert(name.clone(), value.clone());
            }
        }
        let is_verified_asked = asked.iter().any(|name| name == "email_verified");
        let address = claims.get("email").or(all.get("email").filter(|_| is_verified_asked));
        if let Some(address) = address.and_then(Value::as_str) {
            let is_verified = self.is_proved(user, address)?;
            claims.insert("email_verified".to_owned(), json!(is_verified));
        }
        Ok(claims)
    }

    /// Whether the user proved an address by a code that was sent to it, and it can still be trusted to be theirs, or an
    /// identity provider that the account is linked to, and that is not removed, called it verified at the last login.
    fn is_proved(&self, user: &Resource, address: &str) -> Result<bool, OidcError> {
        let Some(email) = Email::parse(address) else {
            return Ok(false);
        };
        let fingerprint = mail_codes::address_fingerprint(&user.id, &email);
        let (proved, facts) = self.database.read::<_, OidcError>(|connection| {
            let mut facts = AddressFacts::read(connection, &user.id)?;
            for removal in removals::all(connection)? {
                facts
                    .links
                    .retain(|link| link.link.identity_provider != removal.identity_provider);
            }
            Ok((mail_codes::proved(connection, &user.id)?, facts))
        })?;
        let by_provider = |link: &LinkRecord| link.verified_email.as_ref() == Some(&fingerprint);
        let by_code = proved.as_ref() == Some(&fingerprint) && mail_addresses::is_trusted(user, &facts, address);
        Ok(by_code || facts.links.iter().any(by_provider))
    }
}

/// Returns the claims that the scopes request, but for `email_verified`, which SCIM has no attribute for.
fn of(user: &Resource, scope: &str) -> Map<String, Value> {
    let attributes = user.document.attributes();
    let mut claims = Map::new();
    for word in scope.split(' ') {
        match word {
            "profile" => profile(user, &attributes, &mut claims),
            "email" => put(&mut claims, "email", preferred(&attributes, "emails")),
            "phone" => phone(&attributes, &mut claims),
            "address" => address(&attributes, &mut claims),
            "groups" => {
                let groups: Vec<&str> = user.groups.iter().map(|group| group.display.as_str()).collect();
                claims.insert("groups".to_owned(), json!(groups));
            }
            _ => {}
        }
    }
    claims
}

fn profile(user: &Resource, attributes: &Attributes, claims: &mut Map<String, Value>) {
    let name = |part: &str| {
        attributes
            .get("name")
            .and_then(|name| name.get(part))
            .and_then(Value::as_str)
    };
    let text = |attribute: &str| attributes.get(attribute).and_then(Value::as_str).map(str::to_owned);
    put(claims, "name", full_name(text("displayName"), name));
    put(claims, "given_name", name("givenName").map(str::to_owned));
    put(claims, "family_name", name("familyName").map(str::to_owned));
    put(claims, "nickname", text("nickName"));
    put(claims, "preferred_username", text("userName"));
    put(claims, "profile", text("profileUrl"));
    put(claims, "picture", preferred(attributes, "photos"));
    put(claims, "locale", text("locale"));
    put(claims, "zoneinfo", text("timezone"));
    claims.insert("updated_at".to_owned(), json!(user.modified.seconds()));
}

/// The preferred telephone number, without the scheme of RFC 3966. Nobody here has verified it.
fn phone(attributes: &Attributes, claims: &mut Map<String, Value>) {
    let Some(number) = preferred(attributes, "phoneNumbers") else {
        return;
    };
    let number = number.strip_prefix("tel:").unwrap_or(&number).to_owned();
    put(claims, "phone_number", Some(number));
    claims.insert("phone_number_verified".to_owned(), json!(false));
}

/// The preferred address (OpenID Connect Core §5.1.1).
fn address(attributes: &Attributes, claims: &mut Map<String, Value>) {
    const PARTS: [(&str, &str); 6] = [
        ("formatted", "formatted"),
        ("street_address", "streetAddress"),
        ("locality", "locality"),
        ("region", "region"),
        ("postal_code", "postalCode"),
        ("country", "country"),
    ];
    let Some(chosen) = preferred_element(attributes, "addresses") else {
        return;
    };
    let mut address = Map::new();
    for (claim, attribute) in PARTS {
        put(
            &mut address,
            claim,
            chosen.get(attribute).and_then(Value::as_str).map(str::to_owned),
        );
    }
    if !address.is_empty() {
        claims.insert("address".to_owned(), Value::Object(address));
    }
}

/// Returns the display name, else the formatted name, else the given and family name joined.
fn full_name<'a>(display: Option<String>, name: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    display
        .filter(|name| !name.is_empty())
        .or_else(|| name("formatted").map(str::to_owned))
        .or_else(|| {
            let parts: Vec<&str> = [name("givenName"), name("familyName")].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        })
}

/// Returns the primary value of a multi-valued attribute, else its first.
fn preferred(attributes: &Attributes, attribute: &str) -> Option<String> {
    let chosen = preferred_element(attributes, attribute)?;
    chosen.get("value")?.as_str().map(str::to_owned)
}

/// Returns the primary element of a multi-valued attribute, else its first.
fn preferred_element<'a>(attributes: &'a Attributes, attribute: &str) -> Option<&'a Value> {
    let elements = attributes.get(attribute)?.as_array()?;
    let is_primary = |element: &&Value| element.get("primary") == Some(&Value::Bool(true));
    elements.iter().find(is_primary).or_else(|| elements.first())
}

fn put(claims: &mut Map<String, Value>, name: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        claims.insert(name.to_owned(), Value::String(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::user;
    use super::*;

    #[test]
    fn each_scope_adds_only_its_own_claims() {
        let mut user = user(
            "u1",
            json!({
                "userName": "alice",
                "displayName": "Alice A.",
                "name": { "givenName": "Alice", "familyName": "Adams" },
                "emails": [{ "value": "old@example.com" }, { "value": "alice@example.com", "primary": true }],
                "photos": [{ "value": "https://example.com/a.png" }],
                "locale": "en-GB",
                "timezone": "Europe/Paris",
                "nickName": "Al",
                "phoneNumbers": [{ "value": "tel:+1-201-555-0123" }],
                "addresses": [{ "locality": "Lyon", "country": "FR", "type": "work" }],
            }),
        );
        user.groups = vec![crate::domain::Membership {
            id: "g1".into(),
            display: "Staff".to_owned(),
            direct: true,
        }];
        assert_eq!(Value::Object(of(&user, "openid")), json!({}));
        assert_eq!(
            Value::Object(of(&user, "openid email")),
            json!({ "email": "alice@example.com" })
        );
        assert_eq!(
            Value::Object(of(&user, "openid phone")),
            json!({ "phone_number": "+1-201-555-0123", "phone_number_verified": false })
        );
        assert_eq!(
            Value::Object(of(&user, "openid address")),
            json!({ "address": { "locality": "Lyon", "country": "FR" } })
        );
        assert_eq!(
            Value::Object(of(&user, "openid groups")),
            json!({ "groups": ["Staff"] })
        );
        assert_eq!(
            Value::Object(of(&user, "openid profile")),
            json!({
                "name": "Alice A.", "given_name": "Alice", "family_name": "Adams", "nickname": "Al",
                "preferred_username": "alice",
                "picture": "https://example.com/a.png", "locale": "en-GB", "zoneinfo": "Europe/Paris", "updated_at": 2,
            })
        );
    }

    #[test]
    fn absent_attributes_give_no_claims() {
        let user = user("u1", json!({ "userName": "bob", "emails": [], "name": {} }));
        assert_eq!(
            Value::Object(of(&user, "openid profile email")),
            json!({ "preferred_username": "bob", "updated_at": 2 })
        );
    }

    #[test]
    fn name_is_joined_from_its_parts_without_display_name() {
        let user = user(
            "u1",
            json!({ "userName": "bob", "name": { "givenName": "Bob", "familyName": "Brown" } }),
        );
        assert_eq!(of(&user, "profile")["name"], "Bob Brown");
    }
}
