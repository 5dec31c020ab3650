//! First logins of people whom a trusted SCIM client knows by their subject: no login makes them a second account, and what
//! the client switched off stays off.

use crate::fixtures::front_door::{ISSUER, Outcome, Rig, completed, google, refused, shown};
use serde_json::{Value, json};
use vestibule::directory::DirectoryError;
use vestibule::domain::change::{MembershipGrant, SubjectSource};
use vestibule::domain::patch::{PatchOp, PatchOperation};
use vestibule::domain::path::Path;
use vestibule::domain::{
    Actor, Change, Kind, Link, Operation, Precondition, Principal, ResourceId, SideRecord, StoreName,
};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::login::step::LoginPage;
use vestibule::storage::StorageError;
use vestibule::storage::mail_addresses::{self, AddressFacts};
use vestibule::userstore::StoreError;

fn rig() -> Rig {
    Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}))
}

/// The person whose subject is `sub-bob`. The name at the provider is not the one that the client gives.
fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bobby"})
}

fn identity(subject: &str) -> Link {
    Link {
        identity_provider: google(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
    }
}

fn client(name: &str) -> Actor {
    Actor {
        principal: Principal::Client {
            token: "t".to_owned(),
            store: None,
        },
        service_provider: name.into(),
    }
}

fn apply(
    rig: &Rig,
    actor: Actor,
    operation: Operation,
    side_records: Vec<SideRecord>,
) -> Result<ResourceId, DirectoryError> {
    let change = Change {
        actor,
        operation,
        side_records,
    };
    rig.directory.apply(change).map(|outcome| outcome.resource().id.clone())
}

fn creation(attributes: &Value) -> Operation {
    Operation::Create {
        store: StoreName::PRIMARY,
        kind: Kind::USER,
        attributes: attributes.as_object().unwrap().clone(),
        typed: Vec::new(),
    }
}

/// An account that a client made.
fn synced(rig: &Rig, name: &str, attributes: &Value) -> ResourceId {
    apply(rig, client(name), creation(attributes), Vec::new()).unwrap()
}

/// The account of `sub-bob`, which the client made with a password.
fn bob_with_password(rig: &Rig) -> ResourceId {
    let account = json!({"userName": "bob", "externalId": "sub-bob", "password": "correct horse battery"});
    synced(rig, "hr", &account)
}

fn set(rig: &Rig, name: &str, id: &ResourceId, (path, value): (&str, Value)) {
    let users = rig.directory.registry().resource_type(&Kind::USER).unwrap();
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: id.clone(),
        operations: vec![PatchOperation::replace(Path::parse(path, users).unwrap(), value)],
        precondition: Precondition::None,
    };
    apply(rig, client(name), operation, Vec::new()).unwrap();
}

/// Unlinks an identity as its person does, or as a removal of the provider does.
fn unlink_by(rig: &Rig, principal: Principal, id: &ResourceId, subject: &str) {
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: id.clone(),
        operations: Vec::new(),
        precondition: Precondition::None,
    };
    let unlink = SideRecord::Unlink {
        link: identity(subject),
        spared: None,
        for_good: principal == Principal::Person,
    };
    let actor = Actor {
        principal,
        service_provider: "wiki".into(),
    };
    apply(rig, actor, operation, vec![unlink]).unwrap();
}

fn unlink(rig: &Rig, id: &ResourceId, subject: &str) {
    unlink_by(rig, Principal::Person, id, subject);
}

/// The addresses of an account.
fn mail_addresses_of(rig: &Rig, id: &ResourceId) -> Vec<String> {
    let attributes = rig.get(id).document.attributes();
    let emails = attributes.get("emails").and_then(Value::as_array).into_iter().flatten();
    emails
        .map(|email| email["value"].as_str().unwrap().to_owned())
        .collect()
}

/// The client gives an account to another subject, or to none.
fn correct(rig: &Rig, id: &ResourceId, (old, new): (Option<&str>, Option<&str>)) -> Result<ResourceId, DirectoryError> {
    let correction = SideRecord::SubjectChange {
        identity_provider: google(),
        issuer: ISSUER.to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
        addresses: mail_addresses_of(rig, id),
    };
    let users = rig.directory.registry().resource_type(&Kind::USER).unwrap();
    let path = Path::parse("externalId", users).unwrap();
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: id.clone(),
        operations: vec![match new {
            Some(new) => PatchOperation::replace(path, json!(new)),
            None => PatchOperation::remove(path),
        }],
        precondition: Precondition::None,
    };
    apply(rig, client("hr"), operation, vec![correction])
}

fn is_asked_for_proof(outcome: Outcome) -> bool {
    matches!(shown(outcome), LoginPage::LinkProof(_))
}

#[test]
fn account_that_the_client_switched_off_is_not_replaced() {
    let accounts = [
        json!({"userName": "bob", "externalId": "sub-bob", "active": false}),
        json!({"userName": "bob", "externalId": "sub-bob", "active": false, "roles": [{"value": "admin"}]}),
    ];
    for account in accounts {
        let rig = rig();
        synced(&rig, "hr", &account);
        assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled, "{account}");
        assert_eq!(rig.users().len(), 1);
    }
}

#[test]
fn account_of_an_administrator_asks_for_proof() {
    let rig = rig();
    synced(
        &rig,
        "hr",
        &json!({"userName": "bob", "externalId": "sub-bob", "roles": [{"value": "admin"}]}),
    );
    assert!(is_asked_for_proof(rig.login(&bob())));
}

#[test]
fn two_accounts_under_one_subject_let_nobody_in() {
    let rig = rig();
    for name in ["bob", "bob2"] {
        synced(&rig, "hr", &json!({"userName": name, "externalId": "sub-bob"}));
    }
    assert_eq!(refused(rig.login(&bob())), Denial::SeveralAccounts);
    assert_eq!(rig.users().len(), 2);
}

#[test]
fn accounts_of_other_clients_hide_no_account() {
    let rig = rig();
    for name in ["x1", "x2", "x3"] {
        synced(&rig, "crm", &json!({"userName": name, "externalId": "sub-bob"}));
    }
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    assert_eq!(completed(rig.login(&bob())).user, id);
}

#[test]
fn subject_by_another_client_is_no_statement() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob"}));
    set(&rig, "payroll", &id, ("externalId", json!("sub-bob")));
    assert_ne!(completed(rig.login(&bob())).user, id);
}

#[test]
fn unlinked_identity_is_linked_again_with_a_proof_only() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    assert_eq!(completed(rig.login(&bob())).user, id);
    unlink(&rig, &id, "sub-bob");
    assert!(is_asked_for_proof(rig.login(&bob())));
    set(&rig, "hr", &id, ("active", json!(false)));
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
}

#[test]
fn account_with_another_identity_is_not_replaced() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    let link = Operation::Patch {
        kind: Kind::USER,
        id: id.clone(),
        operations: Vec::new(),
        precondition: Precondition::None,
    };
    let other = SideRecord::Link(identity("sub-other"));
    apply(&rig, client("hr"), link, vec![other]).unwrap();
    assert!(is_asked_for_proof(rig.login(&bob())));
    set(&rig, "hr", &id, ("active", json!(false)));
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn identity_of_another_account_than_the_client_says_is_refused() {
    let rig = rig();
    completed(rig.login(&bob()));
    let kept = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    assert_eq!(refused(rig.login(&bob())), Denial::SeveralAccounts);
    set(&rig, "hr", &kept, ("active", json!(false)));
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
}

#[test]
fn corrected_subject_ends_every_way_into_the_account() {
    let rig = rig();
    let id = bob_with_password(&rig);
    assert_eq!(completed(rig.login(&bob())).user, id);
    rig.set_up_authenticator(&id);
    correct(&rig, &id, (Some("sub-bob"), Some("sub-ann"))).unwrap();
    assert!(!rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap());
    let right = completed(rig.login(&json!({"sub": "sub-ann", "nick": "ann"})));
    assert_eq!((right.user, right.amr), (id.clone(), vec!["fed".to_owned()]));
    assert_ne!(completed(rig.login(&bob())).user, id);
}

#[test]
fn unlinked_subject_of_a_deleted_account_may_not_return() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "returning": "refuse"}));
    let id = completed(rig.login(&bob())).user;
    unlink(&rig, &id, "sub-bob");
    rig.delete(&id);
    assert_eq!(refused(rig.login(&bob())), Denial::AccountRemoved);
}

#[test]
fn login_and_client_make_one_account_between_them() {
    let rig = rig();
    let id = completed(rig.login(&bob())).user;
    let condition = |trusted: &[&str]| SideRecord::NewSubject {
        link: identity("sub-bob"),
        trusted: trusted.iter().map(|name| (*name).to_owned()).collect(),
        stores: vec![StoreName::PRIMARY],
    };
    let is_superseded =
        |made: Result<ResourceId, DirectoryError>| matches!(made, Err(DirectoryError::Store(StoreError::Superseded)));
    let second = creation(&json!({"userName": "bob", "externalId": "sub-bob"}));
    assert!(
        is_superseded(apply(&rig, client("hr"), second.clone(), vec![condition(&[])])),
        "{id} is linked"
    );
    unlink(&rig, &id, "sub-bob");
    apply(&rig, client("hr"), second, vec![condition(&[])]).unwrap();
    let third = creation(&json!({"userName": "robert"}));
    assert!(is_superseded(apply(
        &rig,
        client("wiki"),
        third.clone(),
        vec![condition(&["scim:hr"])]
    )));
    apply(&rig, client("wiki"), third, vec![condition(&["scim:other"])]).unwrap();
}

#[test]
fn corrected_subject_ends_what_a_removed_provider_left() {
    for next in [Some("sub-ann"), None] {
        let rig = rig();
        let id = bob_with_password(&rig);
        assert_eq!(completed(rig.login(&bob())).user, id);
        unlink_by(&rig, Principal::Job("removal".into()), &id, "sub-bob");
        correct(&rig, &id, (Some("sub-bob"), next)).unwrap();
        let has_password = rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap();
        assert!(!has_password, "{next:?}");
    }
}

#[test]
fn identity_that_a_removal_unlinked_needs_no_proof() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    assert_eq!(completed(rig.login(&bob())).user, id);
    unlink_by(&rig, Principal::Job("removal".into()), &id, "sub-bob");
    assert_eq!(completed(rig.login(&bob())).user, id);
}

#[test]
fn subject_that_is_named_again_keeps_its_ways_in() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    assert_eq!(completed(rig.login(&bob())).user, id);
    correct(&rig, &id, (Some("sub-bob"), None)).unwrap();
    set(&rig, "hr", &id, ("password", json!("correct horse battery")));
    correct(&rig, &id, (None, Some("sub-bob"))).unwrap();
    assert!(rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap());
    assert_eq!(completed(rig.login(&bob())).user, id);
}

/// A group of which a provider makes a user a member.
fn grant(rig: &Rig, user: &ResourceId, group: &ResourceId) -> Result<ResourceId, DirectoryError> {
    let groups = rig.directory.registry().resource_type(&Kind::GROUP).unwrap();
    let operation = Operation::Patch {
        kind: Kind::GROUP,
        id: group.clone(),
        operations: vec![PatchOperation {
            op: PatchOp::Add,
            path: Some(Path::parse("members", groups).unwrap()),
            value: Some(json!([{"value": user}])),
        }],
        precondition: Precondition::None,
    };
    let granted = SideRecord::Grant(MembershipGrant {
        user: user.clone(),
        identity_provider: google(),
        granted: true,
    });
    let login = Actor {
        principal: Principal::Login {
            identity_provider: google(),
        },
        service_provider: "wiki".into(),
    };
    apply(rig, login, operation, vec![granted])
}

fn group(rig: &Rig) -> ResourceId {
    let operation = Operation::Create {
        store: StoreName::PRIMARY,
        kind: Kind::GROUP,
        attributes: json!({"displayName": "Admins"}).as_object().unwrap().clone(),
        typed: Vec::new(),
    };
    apply(rig, client("hr"), operation, Vec::new()).unwrap()
}

fn is_stale(outcome: Result<ResourceId, DirectoryError>) -> bool {
    matches!(outcome, Err(DirectoryError::Store(StoreError::Superseded)))
}

#[test]
fn unlinked_identity_grants_no_membership() {
    let rig = rig();
    let (id, group) = (completed(rig.login(&bob())).user, group(&rig));
    grant(&rig, &id, &group).unwrap();
    let other = synced(&rig, "hr", &json!({"userName": "ann"}));
    assert!(is_stale(grant(&rig, &other, &group)));
}

#[test]
fn wrong_person_with_a_password_alone_is_out() {
    for next in [Some("sub-ann"), None] {
        let rig = rig();
        let id = bob_with_password(&rig);
        correct(&rig, &id, (Some("sub-bob"), next)).unwrap();
        let has_password = rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap();
        assert!(!has_password, "{next:?}");
    }
}

#[test]
fn correction_keeps_the_password_that_it_sets() {
    let rig = rig();
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    let replacement = Operation::Replace {
        kind: Kind::USER,
        id: id.clone(),
        attributes: json!({"userName": "ann", "externalId": "sub-ann", "password": "correct horse battery"})
            .as_object()
            .unwrap()
            .clone(),
        precondition: Precondition::None,
    };
    let correction = SideRecord::SubjectChange {
        identity_provider: google(),
        issuer: ISSUER.to_owned(),
        old: Some("sub-bob".to_owned()),
        new: Some("sub-ann".to_owned()),
        addresses: Vec::new(),
    };
    apply(&rig, client("hr"), replacement, vec![correction]).unwrap();
    assert!(rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap());
}

#[test]
fn past_identity_that_moved_on_is_remembered() {
    let rig = rig();
    let id = completed(rig.login(&bob())).user;
    unlink(&rig, &id, "sub-bob");
    set(&rig, "hr", &id, ("password", json!("correct horse battery")));
    let elsewhere = completed(rig.login(&json!({"sub": "sub-bob", "nick": "robert"}))).user;
    assert_ne!(elsewhere, id);
    correct(&rig, &id, (None, Some("sub-ann"))).unwrap();
    assert!(!rig.directory.has_password(&StoreName::PRIMARY, &id).unwrap());
}

#[test]
fn subject_of_a_deleted_account_of_a_client_may_not_return() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "returning": "refuse"}));
    let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
    let source = SubjectSource {
        writer: "scim:hr".to_owned(),
        identity_provider: google(),
        issuer: ISSUER.to_owned(),
    };
    let deletion = Operation::Delete {
        kind: Kind::USER,
        id,
        precondition: Precondition::None,
    };
    apply(
        &rig,
        client("crm"),
        deletion,
        vec![SideRecord::KeptSubjects(vec![source])],
    )
    .unwrap();
    assert_eq!(refused(rig.login(&bob())), Denial::AccountRemoved);
}

#[test]
fn address_of_the_person_before_proves_nothing() {
    let rig = rig();
    let email = |address: &str| json!([{"value": address, "type": "work"}]);
    let id = synced(
        &rig,
        "hr",
        &json!({"userName": "ann", "externalId": "sub-ann", "emails": email("ann@example.com")}),
    );
    let trusted = || {
        let facts = rig
            .database
            .read::<_, StorageError>(|connection| AddressFacts::read(connection, &id))
            .unwrap();
        mail_addresses::trusted(&rig.get(&id), &facts)
    };
    assert_eq!(trusted().as_deref(), Some("ann@example.com"));
    correct(&rig, &id, (Some("sub-ann"), Some("sub-bob"))).unwrap();
    assert_eq!(trusted(), None, "a code would go to Ann");
    set(&rig, "hr", &id, ("emails", email("bob@example.com")));
    assert_eq!(trusted().as_deref(), Some("bob@example.com"));
}
