//! Tests of the claim mapping.

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

/// The attributes and writers of Alice after a first login.
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
        &StoredUser {
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
fn an_absent_claim_clears_only_its_own_value_in_override_mode() {
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
    let stored = StoredUser {
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
    let stored = StoredUser {
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
fn text_that_a_database_refuses_is_not_storable() {
    for bad in [
        json!("a\0b"),
        json!("a\u{1b}b"),
        json!("x".repeat(5000)),
        json!(["a\0"]),
        json!({"a": "\0"}),
    ] {
        assert!(!is_storable(&bad));
    }
}

#[test]
fn only_the_boolean_true_verifies_an_address() {
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

#[test]
fn a_template_writes_like_a_claim() {
    let mapping = [ClaimMapping::new("{{ first }} {{ last }}", "displayName", ClaimMode::Force).unwrap()];
    let claims = map(json!({"first": "Zoë", "last": "Liddell"}));
    assert_eq!(attributes(&mapping, "z", &claims)["displayName"], "Zoë Liddell");
    assert_eq!(mapping[0].claims(), ["first", "last"]);
    assert!(!attributes(&mapping, "z", &map(json!({"first": "Zoë"}))).contains_key("displayName"));
}

#[test]
fn a_failing_template_writes_and_clears_nothing() {
    let line = |mode| [ClaimMapping::new("{{ name | abs }}", "displayName", mode).unwrap()];
    let claims = map(json!({"name": "Alice"}));
    assert_eq!(check(&line(ClaimMode::Force), &claims), Ok(()));
    assert!(!attributes(&line(ClaimMode::Force), "a", &claims).contains_key("displayName"));
    let missing = Denial::MissingClaim {
        claim: "{{ name | abs }}".to_owned(),
    };
    assert_eq!(check(&line(ClaimMode::Require), &claims), Err(missing));
    let (attributes, writers) = stored_alice();
    let stored = StoredUser {
        attributes: &attributes,
        writers: &writers,
    };
    let edits = changes(
        &line(ClaimMode::Force),
        SyncMode::Override,
        &claims,
        &stored,
        "idp:google",
    );
    assert_eq!(edits, Vec::<Edit>::new());
}

#[test]
fn a_mapping_with_a_malformed_template_is_refused() {
    let bad = ClaimMapping::new("{{ name", "displayName", ClaimMode::Force);
    assert!(matches!(bad, Err(BadMapping::Template(_))), "{bad:?}");
}
