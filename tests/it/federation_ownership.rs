//! Values that an identity provider owns cannot be written by others until an administrator takes them over.

use crate::fixtures::front_door::{Rig, completed};
use serde_json::{Value, json};
use vestibule::directory::DirectoryError;
use vestibule::domain::change::Transfer;
use vestibule::domain::patch::PatchOperation;
use vestibule::domain::path::Path;
use vestibule::domain::validate::InvalidKind;
use vestibule::domain::{Actor, Change, Kind, Operation, Precondition, Principal, ResourceId, StoreName, provenance};

fn bob(name: &str) -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "given_name": name})
}

fn rig(sync: &str) -> (Rig, ResourceId) {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "sync": sync}));
    let user = completed(rig.login(&bob("Bob"))).user;
    (rig, user)
}

fn client(name: &str) -> Actor {
    Actor {
        principal: Principal::Client {
            token: "t".to_owned(),
            store: Some(StoreName::PRIMARY),
        },
        service_provider: name.to_owned().into(),
    }
}

fn write(rig: &Rig, actor: Actor, user: &ResourceId, (path, value): (&str, &str)) -> Result<(), DirectoryError> {
    let users = rig.directory.registry().resource_type(&Kind::USER).unwrap();
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: user.clone(),
        operations: vec![PatchOperation::replace(Path::parse(path, users).unwrap(), value.into())],
        precondition: Precondition::None,
    };
    apply(rig, actor, operation)
}

fn apply(rig: &Rig, actor: Actor, operation: Operation) -> Result<(), DirectoryError> {
    let change = Change {
        actor,
        operation,
        side_records: Vec::new(),
    };
    rig.directory.apply(change).map(|_| ())
}

fn given_name(rig: &Rig, user: &ResourceId) -> Value {
    rig.get(user).document.attributes()["name"]["givenName"].clone()
}

fn is_mutability(outcome: Result<(), DirectoryError>) -> bool {
    matches!(outcome, Err(DirectoryError::Invalid(invalid))
        if invalid.kind == InvalidKind::Mutability && invalid.detail.contains("google"))
}

#[test]
fn refused_write_names_the_owner_of_the_value() {
    let (rig, user) = rig("override");
    let version = rig.get(&user).version;
    assert!(is_mutability(write(
        &rig,
        client("wiki"),
        &user,
        ("name.givenName", "Rob")
    )));
    assert!(is_mutability(write(
        &rig,
        Actor::administrator("test"),
        &user,
        ("name.givenName", "Rob")
    )));
    assert_eq!(
        (given_name(&rig, &user), rig.get(&user).version),
        (json!("Bob"), version)
    );
}

#[test]
fn a_replacement_leaves_what_a_provider_keeps_as_it_is() {
    let (rig, user) = rig("override");
    let attributes =
        json!({"userName": "bob", "title": "Chief", "active": false, "name": {"givenName": "Rob", "familyName": "B"}});
    let replaced = Operation::Replace {
        kind: Kind::USER,
        id: user.clone(),
        attributes: attributes.as_object().unwrap().clone(),
        precondition: Precondition::None,
    };
    apply(&rig, client("wiki"), replaced).unwrap();
    let stored = rig.get(&user).document.attributes();
    assert_eq!(
        (&stored["title"], &stored["active"], &stored["name"]),
        (
            &json!("Chief"),
            &json!(false),
            &json!({"givenName": "Bob", "familyName": "B"})
        )
    );
}

#[test]
fn unchanged_owned_values_and_unowned_writes_are_accepted() {
    let (rig, user) = rig("override");
    write(&rig, client("wiki"), &user, ("name.givenName", "Bob")).unwrap();
    write(&rig, client("wiki"), &user, ("title", "Chief")).unwrap();
    write(&rig, client("wiki"), &user, ("userName", "bobby")).unwrap();
}

#[test]
fn trusted_scim_source_may_write_owned_values() {
    let (rig, user) = rig("override");
    write(&rig, client("hr"), &user, ("name.givenName", "Rob")).unwrap();
}

#[test]
fn provider_without_sync_owns_no_values() {
    let (rig, user) = rig("none");
    write(&rig, client("wiki"), &user, ("name.givenName", "Rob")).unwrap();
}

#[test]
fn login_skips_values_taken_over_by_an_administrator() {
    let (rig, user) = rig("override");
    let transfer = |from: &str, to: &str| {
        let operation = Operation::Transfer {
            kind: Kind::USER,
            id: user.clone(),
            transfer: Transfer {
                from: from.to_owned(),
                paths: vec!["name.givenName".to_owned()],
                to: to.to_owned(),
            },
        };
        apply(&rig, Actor::administrator("test"), operation).unwrap();
    };
    let google = provenance::of_provider(&crate::fixtures::front_door::google());
    transfer(&google, provenance::HELD);
    completed(rig.login(&bob("Robert")));
    assert_eq!(given_name(&rig, &user), "Bob");
    completed(rig.login(&json!({"sub": "sub-bob", "nick": "bob"})));
    assert_eq!(given_name(&rig, &user), "Bob", "nor does it clear it");
    transfer(provenance::HELD, &google);
    completed(rig.login(&bob("Robert")));
    assert_eq!(given_name(&rig, &user), "Robert");
}
