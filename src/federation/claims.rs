//! Claims of an identity provider as attributes of a user, at the first login and at every later one.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::denial::Denial;
use super::policy::SyncMode;
use super::purpose::AttributePath;
use super::target::{Edit, Target};
use crate::domain::Attributes;
use crate::domain::email::Email;
use crate::domain::provenance::Writers;

/// The longest text that is taken from a claim, in bytes.
const LONGEST: usize = 4096;

/// One line of the mapping.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "MappingText")]
pub struct ClaimMapping {
    from: String,
    to: Target,
    mode: ClaimMode,
}

/// What a claim means to a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimMode {
    /// It is stored at every login.
    #[default]
    Force,
    /// It is stored at the first login.
    Suggest,
    /// As `force`, and the login is refused without it.
    Require,
    /// It is not stored.
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingText {
    from: String,
    to: String,
    #[serde(default)]
    mode: ClaimMode,
}

/// A mapping leads to a place where no claim may go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a claim cannot go to \"{0}\": use attribute, attribute.sub or attribute[type eq \"work\"].sub, but none that decides \
     who may enter (userName, active, password, groups, roles, entitlements) or that the server keeps"
)]
pub struct BadTarget(String);

impl TryFrom<MappingText> for ClaimMapping {
    type Error = BadTarget;

    fn try_from(text: MappingText) -> Result<Self, BadTarget> {
        Self::new(&text.from, &text.to, text.mode)
    }
}

impl ClaimMapping {
    /// Leads the claim `from`, a name or a JSON Pointer (RFC 6901), to the attribute `to`, a SCIM path.
    pub fn new(from: &str, to: &str, mode: ClaimMode) -> Result<Self, BadTarget> {
        let target = Target::parse(to).ok_or_else(|| BadTarget(to.to_owned()))?;
        Ok(Self {
            from: from.to_owned(),
            to: target,
            mode,
        })
    }

    /// The attribute that this line writes; none if it is ignored.
    pub fn path(&self) -> Option<AttributePath> {
        (self.mode != ClaimMode::Ignore).then(|| AttributePath::of(&self.to))
    }

    /// The claim at the top level that this line reads.
    pub fn claim(&self) -> String {
        top_level(&self.from)
    }
}

/// The claim at the top level that a name or a JSON Pointer leads into.
pub fn top_level(from: &str) -> String {
    match from.strip_prefix('/') {
        Some(pointer) => pointer
            .split('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/")
            .replace("~0", "~"),
        None => from.to_owned(),
    }
}

/// The mapping of the standard claims (OpenID Connect Core §5.1).
pub fn standard() -> Vec<ClaimMapping> {
    [
        ("given_name", "name.givenName"),
        ("family_name", "name.familyName"),
        ("middle_name", "name.middleName"),
        ("name", "displayName"),
        ("name", "name.formatted"),
        ("nickname", "nickName"),
        ("email", "emails[type eq \"work\"].value"),
        ("phone_number", "phoneNumbers[type eq \"work\"].value"),
        ("picture", "photos[type eq \"photo\"].value"),
        ("locale", "locale"),
        ("zoneinfo", "timezone"),
    ]
    .into_iter()
    .filter_map(|(from, to)| ClaimMapping::new(from, to, ClaimMode::Force).ok())
    .collect()
}

/// A claim by name, or by JSON Pointer if it begins with `/`.
pub fn lookup<'a>(claims: &'a Map<String, Value>, from: &str) -> Option<&'a Value> {
    let Some(pointer) = from.strip_prefix('/') else {
        return claims.get(from);
    };
    let (first, rest) = match pointer.split_once('/') {
        Some((first, _)) => (first, &pointer[first.len()..]),
        None => (pointer, ""),
    };
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// The address, if the issuer says in so many words that it is the person's: `email_verified` is `true` itself.
pub fn verified_email(claims: &Map<String, Value>) -> Option<Email<'_>> {
    (claims.get("email_verified") == Some(&Value::Bool(true)))
        .then(|| email(claims))
        .flatten()
}

/// The address that the issuer asserts, verified or not, if it is well-formed.
pub fn email(claims: &Map<String, Value>) -> Option<Email<'_>> {
    Email::parse(claims.get("email")?.as_str()?)
}

/// What a claim says. Saying nothing and saying "nothing" are two things.
enum Said<'a> {
    Nothing,
    Empty,
    Value(&'a Value),
}

fn said<'a>(claims: &'a Map<String, Value>, from: &str) -> Said<'a> {
    match lookup(claims, from) {
        None => Said::Nothing,
        Some(Value::Null) => Said::Empty,
        Some(Value::String(text)) if text.is_empty() => Said::Empty,
        Some(Value::Array(list)) if list.is_empty() => Said::Empty,
        Some(value) => Said::Value(value),
    }
}

/// Whether the claims can be stored at all: required ones are there, no text is endless or holds what databases refuse.
pub fn check(mappings: &[ClaimMapping], claims: &Map<String, Value>) -> Result<(), Denial> {
    for mapping in mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore) {
        let claim = || mapping.from.clone();
        match said(claims, &mapping.from) {
            Said::Value(value) if !is_storable(value) => return Err(Denial::BadClaim { claim: claim() }),
            Said::Nothing | Said::Empty if mapping.mode == ClaimMode::Require => {
                return Err(Denial::MissingClaim { claim: claim() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_storable(value: &Value) -> bool {
    match value {
        // A postal address has lines (OpenID Connect Core §5.1.1); nothing has other control characters.
        Value::String(text) => {
            text.len() <= LONGEST && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        }
        Value::Array(list) => list.iter().all(is_storable),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| !name.contains('\0') && is_storable(value)),
        _ => true,
    }
}

/// The attributes of an account that a first login makes.
pub fn attributes(mappings: &[ClaimMapping], username: &str, claims: &Map<String, Value>) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert("userName".to_owned(), username.into());
    for mapping in mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore) {
        if let Said::Value(value) = said(claims, &mapping.from) {
            mapping.to.put(&mut attributes, value.clone());
        }
    }
    attributes
}

/// What the provider suggests and the person may change: texts alone.
pub fn suggestions(mappings: &[ClaimMapping], claims: &Map<String, Value>) -> Vec<(AttributePath, String)> {
    let suggested = mappings.iter().filter(|mapping| mapping.mode == ClaimMode::Suggest);
    let text = |mapping: &ClaimMapping| match said(claims, &mapping.from) {
        Said::Value(Value::String(text)) => Some((AttributePath::of(&mapping.to), text.clone())),
        _ => None,
    };
    suggested.filter_map(text).collect()
}

/// Whether the claims say anything of an attribute.
pub fn says(mappings: &[ClaimMapping], claims: &Map<String, Value>, path: &AttributePath) -> bool {
    let written = mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore);
    written
        .filter(|mapping| mapping.to.path() == path.as_str())
        .any(|mapping| matches!(said(claims, &mapping.from), Said::Value(_)))
}

/// What is stored of a user, and who wrote it.
pub struct Stored<'a> {
    /// The attributes.
    pub attributes: &'a Attributes,
    /// The writer of each.
    pub writers: &'a Writers,
}

/// The PATCH operations that bring a linked user up to the claims; none if nothing changed. `writer` is the identity
/// provider as provenance names it: only what it wrote itself is cleared.
pub fn changes(
    mappings: &[ClaimMapping],
    sync: SyncMode,
    claims: &Map<String, Value>,
    stored: &Stored<'_>,
    writer: &str,
) -> Vec<Edit> {
    let synced = mappings
        .iter()
        .filter(|mapping| matches!(mapping.mode, ClaimMode::Force | ClaimMode::Require));
    let change = |mapping: &ClaimMapping| {
        let present = mapping.to.value(stored.attributes);
        let is_ours = || {
            let key = mapping.to.writer_key(stored.attributes);
            key.and_then(|key| stored.writers.get(&key))
                .is_some_and(|found| found == writer)
        };
        match (said(claims, &mapping.from), sync) {
            (_, SyncMode::None) | (Said::Nothing, SyncMode::PreserveLocal) => None,
            (Said::Value(value), _) => {
                (present != Some(value)).then(|| mapping.to.set_operation(stored.attributes, value))
            }
            (Said::Empty, _) | (Said::Nothing, SyncMode::Override) => {
                (present.is_some() && is_ours()).then(|| mapping.to.clear_operation())
            }
        }
    };
    synced.filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::patch::PatchOp;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        map
    }

    fn alice() -> Map<String, Value> {
        map(
            json!({"sub": "1", "given_name": "Alice", "family_name": "Liddell", "name": "Alice Liddell", "email": "alice@example.com"}),
        )
    }

    /// A user as a first login left it.
    fn stored_alice() -> (Attributes, Writers) {
        let attributes = attributes(&standard(), "alice", &alice());
        let writers = [
            "name.givenName",
            "name.familyName",
            "name.formatted",
            "displayName",
            "emails[alice@example.com]",
        ]
        .map(|path| (path.to_owned(), "idp:google".to_owned()))
        .into();
        (attributes, writers)
    }

    fn synced(sync: SyncMode, claims: &Map<String, Value>, writers: &Writers) -> Vec<Edit> {
        let (attributes, _) = stored_alice();
        changes(
            &standard(),
            sync,
            claims,
            &Stored {
                attributes: &attributes,
                writers,
            },
            "idp:google",
        )
    }

    #[test]
    fn every_standard_claim_has_a_place() {
        assert_eq!(standard().len(), 11);
    }

    #[test]
    fn standard_claims_become_a_user() {
        assert_eq!(
            Value::from(attributes(&standard(), "alice", &alice())),
            json!({
                "userName": "alice",
                "name": {"givenName": "Alice", "familyName": "Liddell", "formatted": "Alice Liddell"},
                "displayName": "Alice Liddell",
                "emails": [{"value": "alice@example.com", "type": "work", "primary": true}],
            })
        );
    }

    #[test]
    fn the_same_claims_change_nothing() {
        let (_, writers) = stored_alice();
        for sync in [SyncMode::Override, SyncMode::PreserveLocal, SyncMode::None] {
            assert_eq!(synced(sync, &alice(), &writers), Vec::<Edit>::new());
        }
    }

    #[test]
    fn a_new_value_is_written_unless_sync_is_off() {
        let (_, writers) = stored_alice();
        let mut claims = alice();
        claims.insert("given_name".to_owned(), json!("Alicia"));
        let replace = Edit {
            op: PatchOp::Replace,
            path: "name.givenName".to_owned(),
            value: Some(json!("Alicia")),
        };
        assert_eq!(
            synced(SyncMode::Override, &claims, &writers),
            std::slice::from_ref(&replace)
        );
        assert_eq!(synced(SyncMode::PreserveLocal, &claims, &writers), [replace]);
        assert_eq!(synced(SyncMode::None, &claims, &writers), Vec::<Edit>::new());
    }

    #[test]
    fn a_claim_that_is_gone_clears_only_what_it_wrote_and_only_under_override() {
        let (_, mut writers) = stored_alice();
        let mut claims = alice();
        claims.remove("email");
        claims.remove("given_name");
        writers.insert("name.givenName".to_owned(), "admin".to_owned());
        let cleared = Edit {
            op: PatchOp::Remove,
            path: "emails[type eq \"work\"]".to_owned(),
            value: None,
        };
        assert_eq!(synced(SyncMode::Override, &claims, &writers), [cleared]);
        assert_eq!(synced(SyncMode::PreserveLocal, &claims, &writers), Vec::<Edit>::new());
    }

    #[test]
    fn null_and_empty_clear_what_the_same_provider_wrote() {
        let (_, writers) = stored_alice();
        for empty in [json!(null), json!(""), json!([])] {
            let mut claims = alice();
            claims.insert("given_name".to_owned(), empty);
            let cleared = Edit {
                op: PatchOp::Remove,
                path: "name.givenName".to_owned(),
                value: None,
            };
            assert_eq!(
                synced(SyncMode::Override, &claims, &writers),
                std::slice::from_ref(&cleared)
            );
            assert_eq!(synced(SyncMode::PreserveLocal, &claims, &writers), [cleared]);
            assert_eq!(synced(SyncMode::Override, &claims, &Writers::new()), Vec::<Edit>::new());
        }
    }

    #[test]
    fn another_provider_never_clears_it() {
        let (attributes, writers) = stored_alice();
        let stored = Stored {
            attributes: &attributes,
            writers: &writers,
        };
        let none = changes(
            &standard(),
            SyncMode::Override,
            &map(json!({"sub": "2"})),
            &stored,
            "idp:other",
        );
        assert_eq!(none, Vec::<Edit>::new());
    }

    #[test]
    fn a_suggestion_is_stored_once() {
        let mapping = [ClaimMapping::new("title", "title", ClaimMode::Suggest).unwrap()];
        let claims = map(json!({"title": "Dr"}));
        assert_eq!(attributes(&mapping, "a", &claims)["title"], "Dr");
        let (attributes, writers) = stored_alice();
        let stored = Stored {
            attributes: &attributes,
            writers: &writers,
        };
        assert_eq!(
            changes(&mapping, SyncMode::Override, &claims, &stored, "idp:google"),
            Vec::<Edit>::new()
        );
    }

    #[test]
    fn a_required_claim_must_say_something() {
        let mapping = [ClaimMapping::new("title", "title", ClaimMode::Require).unwrap()];
        assert_eq!(check(&mapping, &map(json!({"title": "Dr"}))), Ok(()));
        for claims in [json!({}), json!({"title": null}), json!({"title": ""})] {
            assert_eq!(
                check(&mapping, &map(claims)),
                Err(Denial::MissingClaim {
                    claim: "title".to_owned()
                })
            );
        }
    }

    #[test]
    fn text_that_a_database_refuses_is_refused_before() {
        for bad in [
            json!("a\0b"),
            json!("a\u{1b}b"),
            json!("x".repeat(5000)),
            json!(["a\0"]),
            json!({"a": "\0"}),
        ] {
            assert!(matches!(
                check(&standard(), &map(json!({"name": bad}))),
                Err(Denial::BadClaim { .. })
            ));
        }
    }

    #[test]
    fn only_true_itself_verifies_an_address() {
        let email = "a@example.com";
        assert!(verified_email(&map(json!({"email": email, "email_verified": true}))).is_some());
        for lie in [
            json!("true"),
            json!("false"),
            json!(1),
            json!("1"),
            json!([]),
            json!([true]),
            json!({}),
            json!(null),
            json!(false),
        ] {
            assert_eq!(
                verified_email(&map(json!({"email": email, "email_verified": lie}))),
                None
            );
        }
        assert_eq!(verified_email(&map(json!({"email": email}))), None);
        assert_eq!(
            verified_email(&map(json!({"email": "a@b@c", "email_verified": true}))),
            None
        );
    }

    #[test]
    fn a_claim_is_found_by_name_or_pointer() {
        let claims = map(json!({"https://corp/tenant": "a", "address": {"locality": "Oulu"}, "a/b": 1}));
        assert_eq!(lookup(&claims, "https://corp/tenant"), Some(&json!("a")));
        assert_eq!(lookup(&claims, "/address/locality"), Some(&json!("Oulu")));
        assert_eq!(lookup(&claims, "/a~1b"), Some(&json!(1)));
        assert_eq!(lookup(&claims, "/address/x"), None);
    }
}
