//! Groups that an identity provider asserts, against a real directory.

use crate::fixtures::front_door::{Rig, completed};
use serde_json::{Value, json};
use vestibule::domain::patch::{PatchOp, PatchOperation};
use vestibule::domain::path::Path;
use vestibule::domain::{Actor, Change, Kind, Operation, Precondition, Relations, ResourceId, StoreName};

fn rig(groups: &Value) -> Rig {
    let mut policy = json!({"claim": "groups"});
    policy
        .as_object_mut()
        .unwrap()
        .extend(groups.as_object().unwrap().clone());
    Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "groups": policy}))
}

fn bob(groups: &Value) -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "groups": groups})
}

fn login(rig: &Rig, groups: &Value) -> ResourceId {
    completed(rig.login(&bob(groups))).user
}

fn apply(rig: &Rig, operation: Operation) -> ResourceId {
    let change = Change {
        actor: Actor::administrator("test"),
        operation,
        side_records: Vec::new(),
    };
    rig.directory.apply(change).unwrap().resource().id.clone()
}

fn group(rig: &Rig, name: &str) -> ResourceId {
    let operation = Operation::Create {
        store: StoreName::PRIMARY,
        kind: Kind::GROUP,
        attributes: json!({"displayName": name}).as_object().unwrap().clone(),
        typed: Vec::new(),
    };
    apply(rig, operation)
}

/// Adds or removes a member as an administrator.
fn by_hand(rig: &Rig, group: &ResourceId, user: &ResourceId, op: PatchOp) {
    let groups = rig.directory.registry().resource_type(&Kind::GROUP).unwrap();
    let (path, value) = match op {
        PatchOp::Remove => (format!("members[value eq \"{user}\"]"), None),
        _ => ("members".to_owned(), Some(json!([{"value": user}]))),
    };
    let step = PatchOperation {
        op,
        path: Some(Path::parse(&path, groups).unwrap()),
        value,
    };
    let operation = Operation::Patch {
        kind: Kind::GROUP,
        id: group.clone(),
        operations: vec![step],
        precondition: Precondition::None,
    };
    apply(rig, operation);
}

fn groups_of(rig: &Rig, user: &ResourceId) -> Vec<String> {
    let relations = Relations {
        groups: true,
        members: false,
    };
    let user = rig.directory.get(&Kind::USER, user, relations).unwrap().unwrap();
    let mut names: Vec<String> = user.groups.into_iter().map(|membership| membership.display).collect();
    names.sort();
    names
}

#[test]
fn a_group_that_is_asserted_at_each_login_is_held_after_each() {
    let rig = rig(&json!({"map": [{"from": "eng-*", "to": "Engineering"}], "default": ["Everyone"]}));
    group(&rig, "Engineering");
    group(&rig, "Everyone");
    for _ in 0..3 {
        let user = login(&rig, &json!(["eng-web", "unknown"]));
        assert_eq!(groups_of(&rig, &user), ["Engineering", "Everyone"]);
    }
    let user = login(&rig, &json!([]));
    assert_eq!(groups_of(&rig, &user), ["Everyone"]);
}

#[test]
fn a_login_that_changes_no_membership_changes_no_group() {
    let rig = rig(&json!({"unmapped": "same_name"}));
    let id = group(&rig, "Engineering");
    login(&rig, &json!(["Engineering"]));
    let version = || {
        rig.directory
            .get(&Kind::GROUP, &id, Relations::NONE)
            .unwrap()
            .unwrap()
            .version
    };
    let before = version();
    login(&rig, &json!(["Engineering"]));
    assert_eq!(version(), before);
}

#[test]
fn manual_membership_stays_when_the_provider_revokes() {
    let rig = rig(&json!({"unmapped": "same_name"}));
    let (team, club) = (group(&rig, "Team"), group(&rig, "Club"));
    let user = login(&rig, &json!([]));
    by_hand(&rig, &team, &user, PatchOp::Add);
    login(&rig, &json!(["Team", "Club"]));
    login(&rig, &json!([]));
    assert_eq!(
        groups_of(&rig, &user),
        ["Team"],
        "an administrator granted it before the provider did"
    );
    login(&rig, &json!(["Club"]));
    by_hand(&rig, &club, &user, PatchOp::Remove);
    login(&rig, &json!([]));
    by_hand(&rig, &club, &user, PatchOp::Add);
    login(&rig, &json!([]));
    assert_eq!(
        groups_of(&rig, &user),
        ["Club", "Team"],
        "ended grants of the provider are forgotten"
    );
}

#[test]
fn override_mode_revokes_manual_memberships() {
    let rig = rig(&json!({"unmapped": "same_name", "mode": "override"}));
    let team = group(&rig, "Team");
    group(&rig, "Club");
    let user = login(&rig, &json!([]));
    by_hand(&rig, &team, &user, PatchOp::Add);
    login(&rig, &json!(["Club"]));
    assert_eq!(groups_of(&rig, &user), ["Club"]);
}

#[test]
fn a_group_is_made_only_where_the_policy_says_so() {
    for (unmapped, held) in [
        ("drop", vec![]),
        ("same_name", vec![]),
        ("create", vec!["New".to_owned()]),
    ] {
        let rig = rig(&json!({"unmapped": unmapped}));
        let user = login(&rig, &json!(["New"]));
        assert_eq!(groups_of(&rig, &user), held, "{unmapped}");
    }
}

#[test]
fn first_logins_at_once_make_a_group_once() {
    let rig = rig(&json!({"unmapped": "create"}));
    std::thread::scope(|scope| {
        for at in 0..8 {
            let rig = &rig;
            scope.spawn(move || {
                let claims = json!({"sub": format!("s{at}"), "nick": format!("n{at}"), "groups": ["New"]});
                assert_eq!(groups_of(rig, &completed(rig.login(&claims)).user), ["New"]);
            });
        }
    });
}

#[test]
fn a_deleted_group_or_person_leaves_no_grant_behind() {
    let rig = rig(&json!({"unmapped": "same_name"}));
    let team = group(&rig, "Team");
    let user = login(&rig, &json!(["Team"]));
    let operation = Operation::Delete {
        kind: Kind::GROUP,
        id: team,
        precondition: Precondition::None,
    };
    apply(&rig, operation);
    login(&rig, &json!([]));
    assert_eq!(groups_of(&rig, &user), [] as [String; 0]);
}
