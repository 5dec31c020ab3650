//! A POST for a person whose account exists already, for example from a login.

use serde_json::{Value, json};
use vestibule::domain::change::MembershipGrant;
use vestibule::domain::patch::{PatchOp, PatchOperation};
use vestibule::domain::path::Path;
use vestibule::domain::{
    Actor, Change, Kind, Link, Operation, Precondition, Principal, Relations, ServiceProviderName, SideRecord,
    StoreName,
};
use vestibule::storage::{StorageError, links};

use crate::support::{GROUP, PATCH_OP, USER, app, client_of, id_of, unique, wiki};

fn login() -> Actor {
    Actor {
        principal: Principal::Login {
            identity_provider: "google".into(),
        },
        service_provider: ServiceProviderName::new("wiki"),
    }
}

/// Creates an account as a login does; returns its path and the subject.
fn logged_in(attributes: &Value) -> (String, String) {
    let subject = unique("subject");
    let link = Link {
        identity_provider: "google".into(),
        issuer: "https://accounts.google.com".to_owned(),
        subject: subject.clone(),
    };
    let change = Change {
        actor: login(),
        operation: Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes: attributes.as_object().unwrap().clone(),
            typed: Vec::new(),
        },
        side_records: vec![SideRecord::Link(link)],
    };
    let made = app().app.directory.apply(change).unwrap().into_resource();
    (format!("/scim/v2/Users/{}", made.id), subject)
}

#[test]
fn trusted_scim_source_adopts_the_account_of_the_subject() {
    let (path, subject) = logged_in(&json!({ "userName": unique("google"), "nickName": "Al", "title": "old" }));
    let body = json!({ "schemas": [USER], "userName": unique("alice"), "externalId": subject, "title": "new" });
    let made = client_of("hr").post("/scim/v2/Users", &body).gives(201);
    assert_eq!(made.id(), id_of(&path));
    assert!(made.header("location").ends_with(&path));
    let seen = wiki().get(&path).body;
    let seen = [
        &seen["userName"],
        &seen["externalId"],
        &seen["title"],
        &seen["nickName"],
    ];
    assert_eq!(seen, [&body["userName"], &json!(subject), &json!("new"), &json!("Al")]);
    // A second POST finds the same account.
    client_of("hr").post("/scim/v2/Users", &body).gives(201);
    assert_eq!(wiki().get(&path).body["meta"]["version"], "W/\"2\"");
}

#[test]
fn a_client_may_know_accounts_by_an_attribute() {
    let number = unique("employee");
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let (path, _) = logged_in(&json!({ "userName": unique("google"), extension: { "employeeNumber": number } }));
    let body =
        json!({ "schemas": [USER, extension], "userName": unique("alice"), extension: { "employeeNumber": number } });
    let adopted = client_of("payroll").post("/scim/v2/Users", &body).gives(201).id();
    assert_eq!(adopted, id_of(&path));
    // This account has no link to Google, so it is not adopted.
    let stranger = unique("employee");
    let body = json!({ "userName": unique("bob"), extension: { "employeeNumber": stranger } });
    let bob = client_of("wiki").post("/scim/v2/Users", &body).gives(201).id();
    let twin = json!({ "userName": unique("bob"), extension: { "employeeNumber": stranger } });
    assert_ne!(client_of("payroll").post("/scim/v2/Users", &twin).gives(201).id(), bob);
}

#[test]
fn another_client_gets_a_conflict_that_says_what_to_do() {
    let name = unique("alice");
    let (path, subject) = logged_in(&json!({ "userName": name }));
    for caller in [client_of("wiki"), client_of("hr")] {
        // Neither an untrusted client nor a different subject adopts the account.
        let external_id = if caller.token() == wiki().token() {
            subject.clone()
        } else {
            unique("other")
        };
        let body = json!({ "schemas": [USER], "userName": name, "externalId": external_id });
        let refused = caller.post("/scim/v2/Users", &body).refuses(409, Some("uniqueness"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains(id_of(&path)) && detail.contains("Change that one"),
            "{detail}"
        );
    }
}

#[test]
fn typed_values_are_no_reason_to_adopt_an_account() {
    let name = unique("ceo");
    let subject = unique("subject");
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let number = unique("employee");
    let change = Change {
        actor: login(),
        operation: Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes: json!({"userName": name, extension: {"employeeNumber": number}})
                .as_object()
                .unwrap()
                .clone(),
            typed: vec![format!("{extension}:employeeNumber")],
        },
        side_records: vec![SideRecord::Link(Link {
            identity_provider: "google".into(),
            issuer: "https://accounts.google.com".to_owned(),
            subject,
        })],
    };
    let made = app().app.directory.apply(change).unwrap().into_resource();
    let body =
        json!({ "schemas": [USER, extension], "userName": unique("ceo"), extension: { "employeeNumber": number } });
    let created = client_of("payroll").post("/scim/v2/Users", &body).gives(201);
    assert_ne!(created.id(), made.id.to_string());
}

#[test]
fn post_enables_nobody_whom_another_client_switched_off() {
    let name = unique("alice");
    let body = json!({ "schemas": [USER], "userName": name });
    let made = wiki().post("/scim/v2/Users", &body).gives(201);
    let path = format!("/scim/v2/Users/{}", made.id());
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    wiki().patch(&path, &off).gives(200);
    // Another client says the same: now it is its statement.
    client_of("hr").patch(&path, &off).gives(200);
    wiki().post("/scim/v2/Users", &body).refuses(409, Some("uniqueness"));
    assert_eq!(wiki().get(&path).body["active"], false);
}

/// The writer of the `externalId` of a user.
fn subject_is_stated_by(path: &str) -> String {
    let user = app()
        .app
        .directory
        .get(&Kind::USER, &id_of(path).into(), Relations::NONE)
        .unwrap();
    user.unwrap().writers.writers().remove("externalId").unwrap_or_default()
}

#[test]
fn subject_of_one_provider_is_no_subject_of_another() {
    let subject = unique("subject");
    let body = json!({ "schemas": [USER], "userName": unique("bob"), "externalId": subject });
    let path = format!(
        "/scim/v2/Users/{}",
        client_of("hr").post("/scim/v2/Users", &body).gives(201).id()
    );
    let partner = client_of("partner");
    partner.put(&path, &body).gives(200);
    for op in ["add", "replace"] {
        let same = json!([{ "op": op, "path": "externalId", "value": subject }]);
        partner.patch(&path, &same).gives(200);
    }
    assert_eq!(subject_is_stated_by(&path), "scim:hr");
}

#[test]
fn refused_request_takes_no_subject_over() {
    let subject = unique("subject");
    let body = json!({ "schemas": [USER], "userName": unique("bob"), "externalId": subject });
    let path = format!(
        "/scim/v2/Users/{}",
        wiki().post("/scim/v2/Users", &body).gives(201).id()
    );
    let same =
        json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "replace", "path": "externalId", "value": subject }] });
    let stale = [("if-match", "W/\"99\""), ("content-type", "application/scim+json")];
    let hr = client_of("hr");
    hr.send("PATCH", &path, &stale, same.to_string()).refuses(412, None);
    assert_eq!(subject_is_stated_by(&path), "scim:wiki");
    let taken = wiki().post(
        "/scim/v2/Users",
        &json!({ "schemas": [USER], "userName": unique("ann") }),
    );
    let name = taken.gives(201).body["userName"].clone();
    let both = json!([{ "op": "replace", "value": { "userName": name, "externalId": subject } }]);
    hr.patch(&path, &both).refuses(409, Some("uniqueness"));
    assert_eq!(subject_is_stated_by(&path), "scim:wiki");
    let answer = hr.put(&path, &body).gives(200);
    assert_eq!(subject_is_stated_by(&path), "scim:hr");
    assert_eq!(answer.body["meta"]["version"], hr.get(&path).body["meta"]["version"]);
}

#[test]
fn adoption_undoes_no_parallel_deactivation() {
    let (hr, other) = (client_of("hr"), wiki());
    for _ in 0..40 {
        let (path, subject) = logged_in(&json!({ "userName": unique("google") }));
        let body = json!({ "schemas": [USER], "userName": unique("alice"), "externalId": subject, "active": true });
        let off = json!([{ "op": "replace", "path": "active", "value": false }]);
        let (adopted, disabled) = std::thread::scope(|scope| {
            let adopting = scope.spawn(|| hr.post("/scim/v2/Users", &body).status);
            let disabling = scope.spawn(|| other.patch(&path, &off).status);
            (adopting.join().unwrap(), disabling.join().unwrap())
        });
        assert_eq!(disabled, 200);
        // Whichever came first: who adopts afterwards is refused.
        assert!([201, 409].contains(&adopted), "{adopted}");
        assert_eq!(other.get(&path).body["active"], false, "{adopted}");
    }
}

#[test]
fn leaving_active_out_enables_nobody() {
    let made = client_of("hr").post(
        "/scim/v2/Users",
        &json!({ "schemas": [USER], "userName": unique("ann") }),
    );
    let made = made.gives(201);
    let path = format!("/scim/v2/Users/{}", made.id());
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    client_of("hr").patch(&path, &off).gives(200);
    for (number, operation) in [
        json!({ "op": "remove", "path": "active" }),
        json!({ "op": "replace", "path": "active", "value": null }),
        json!({ "op": "replace", "path": "active", "value": [] }),
        json!({ "op": "replace", "value": { "nickName": "n", "Active": null } }),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = wiki().patch(&path, &json!([operation]));
        assert!(answer.status < 500, "{number}");
        let kept = wiki().get(&path).body;
        assert_eq!(kept["active"], false, "{operation}");
    }
    // Nor does it become the other client's statement.
    wiki()
        .post(
            "/scim/v2/Users",
            &json!({ "schemas": [USER], "userName": made.body["userName"] }),
        )
        .refuses(409, Some("uniqueness"));
}

#[test]
fn client_reactivates_by_post_the_user_it_deactivated() {
    let name = unique("alice");
    let body = json!({ "schemas": [USER], "userName": name, "title": "T", "nickName": "Al" });
    let made = wiki().post("/scim/v2/Users", &body).gives(201);
    let path = format!("/scim/v2/Users/{}", made.id());
    wiki()
        .patch(&path, &json!([{ "op": "replace", "path": "active", "value": false }]))
        .gives(200);
    let again = json!({ "schemas": [USER], "userName": name.to_uppercase(), "title": "U" });
    client_of("hr")
        .post("/scim/v2/Users", &again)
        .refuses(409, Some("uniqueness"));
    let back = wiki().post("/scim/v2/Users", &again).gives(201);
    assert_eq!(back.id(), made.id());
    let seen = [&back.body["active"], &back.body["title"], &back.body["nickName"]];
    assert_eq!(seen, [&json!(true), &json!("U"), &json!("Al")]);
    wiki().post("/scim/v2/Users", &again).refuses(409, Some("uniqueness"));
}

#[test]
fn newcomer_does_not_get_the_account_of_a_leaver() {
    for client in [wiki(), client_of("hr")] {
        let name = unique("alice");
        let (leaver, newcomer) = (unique("leaver"), unique("newcomer"));
        let body = |external_id: &str| json!({ "schemas": [USER], "userName": name, "externalId": external_id });
        let made = client.post("/scim/v2/Users", &body(&leaver)).gives(201);
        let path = format!("/scim/v2/Users/{}", made.id());
        let off = json!([{ "op": "replace", "path": "active", "value": false }]);
        client.patch(&path, &off).gives(200);
        client
            .post("/scim/v2/Users", &body(&newcomer))
            .refuses(409, Some("uniqueness"));
        let kept = client.get(&path).body;
        assert_eq!((&kept["active"], &kept["externalId"]), (&json!(false), &json!(leaver)));
        let back = client.post("/scim/v2/Users", &body(&leaver)).gives(201);
        assert_eq!(back.id(), made.id());
    }
}

#[test]
fn value_of_another_provider_is_no_reason_to_adopt() {
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let number = unique("employee");
    // A login through a provider where anybody signs up; an identity at Google was linked to the account later.
    let change = Change {
        actor: Actor {
            principal: Principal::Login {
                identity_provider: "open".into(),
            },
            service_provider: ServiceProviderName::new("wiki"),
        },
        operation: Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes: json!({"userName": unique("eve"), extension: {"employeeNumber": number}})
                .as_object()
                .unwrap()
                .clone(),
            typed: Vec::new(),
        },
        side_records: vec![SideRecord::Link(Link {
            identity_provider: "google".into(),
            issuer: "https://accounts.google.com".to_owned(),
            subject: unique("subject"),
        })],
    };
    let eve = app().app.directory.apply(change).unwrap().into_resource();
    let body =
        json!({ "schemas": [USER, extension], "userName": unique("ceo"), extension: { "employeeNumber": number } });
    let made = client_of("payroll").post("/scim/v2/Users", &body).gives(201).id();
    assert_ne!(made, eve.id.as_str());
}

/// Whether the identity of a subject at Google has an account.
fn is_linked(subject: &str) -> bool {
    let link = app().app.database.read::<_, StorageError>(|connection| {
        links::find(connection, &"google".into(), "https://accounts.google.com", subject)
    });
    link.unwrap().is_some()
}

/// An account that a login made and the client adopted; returns its path, its subject and its user name.
fn adopted() -> (String, String, String) {
    let (path, subject) = logged_in(&json!({ "userName": unique("google") }));
    let name = unique("alice");
    let body = json!({ "schemas": [USER], "userName": name, "externalId": subject });
    client_of("hr").post("/scim/v2/Users", &body).gives(201);
    (path, subject, name)
}

/// A group with a user as its member, added by a login or by a client. Returns its id.
fn group_with(user: &str, by_login: bool) -> String {
    let group = json!({ "schemas": [GROUP], "displayName": unique("group") });
    let id = client_of("hr").post("/scim/v2/Groups", &group).gives(201).id();
    let members = json!([{ "op": "add", "path": "members", "value": [{ "value": id_of(user) }] }]);
    if !by_login {
        client_of("hr").patch(&format!("/scim/v2/Groups/{id}"), &members);
        return id;
    }
    let groups = app().app.directory.registry().resource_type(&Kind::GROUP).unwrap();
    let change = Change {
        actor: login(),
        operation: Operation::Patch {
            kind: Kind::GROUP,
            id: id.as_str().into(),
            operations: vec![PatchOperation {
                op: PatchOp::Add,
                path: Some(Path::parse("members", groups).unwrap()),
                value: Some(members[0]["value"].clone()),
            }],
            precondition: Precondition::None,
        },
        side_records: vec![SideRecord::Grant(MembershipGrant {
            user: id_of(user).into(),
            identity_provider: "google".into(),
            granted: true,
        })],
    };
    app().app.directory.apply(change).unwrap();
    id
}

#[test]
fn subject_that_the_client_takes_back_is_unlinked() {
    for operation in [
        json!({ "op": "remove", "path": "externalId" }),
        json!({ "op": "replace", "value": { "externalId": null } }),
    ] {
        let (path, subject, _) = adopted();
        client_of("hr").patch(&path, &json!([operation])).gives(200);
        assert!(!is_linked(&subject), "{operation}");
    }
}

#[test]
fn replacement_without_the_subject_keeps_it() {
    let (path, subject, name) = adopted();
    let body = json!({ "schemas": [USER], "userName": name, "title": "new" });
    let seen = client_of("hr").put(&path, &body).gives(200).body;
    assert_eq!((&seen["externalId"], is_linked(&subject)), (&json!(subject), true));
}

#[test]
fn subject_that_has_another_account_is_a_conflict() {
    let (other, taken) = logged_in(&json!({ "userName": unique("google") }));
    let (path, subject, _) = adopted();
    let change = json!([{ "op": "replace", "path": "externalId", "value": taken }]);
    let refused = client_of("hr").patch(&path, &change).refuses(409, Some("uniqueness"));
    assert!(refused.body["detail"].as_str().unwrap().contains(id_of(&other)));
    assert!(is_linked(&subject) && is_linked(&taken));
}

#[test]
fn subject_belongs_to_the_client_that_knows_it() {
    let (path, subject, name) = adopted();
    let change = json!([{ "op": "replace", "path": "externalId", "value": "mine" }]);
    client_of("wiki").patch(&path, &change).refuses(400, Some("mutability"));
    let body = json!({ "schemas": [USER], "userName": name, "externalId": "mine" });
    let seen = client_of("wiki").put(&path, &body).gives(200).body;
    assert_eq!(seen["externalId"], json!(subject));
}

#[test]
fn corrected_subject_unlinks_the_wrong_identity() {
    let (path, wrong) = logged_in(&json!({ "userName": unique("google") }));
    let body = json!({ "schemas": [USER], "userName": unique("alice"), "externalId": wrong });
    client_of("hr").post("/scim/v2/Users", &body).gives(201);
    let correction = json!([{ "op": "replace", "path": "externalId", "value": unique("right") }]);
    client_of("hr").patch(&path, &correction).gives(200);
    let link = app().app.database.read::<_, StorageError>(|connection| {
        links::find(connection, &"google".into(), "https://accounts.google.com", &wrong)
    });
    assert_eq!(link.unwrap(), None);
    // The wrong subject is another person's, who gets an account of their own.
    let other = json!({ "schemas": [USER], "userName": unique("bob"), "externalId": wrong });
    assert_ne!(
        client_of("hr").post("/scim/v2/Users", &other).gives(201).id(),
        id_of(&path)
    );
}

#[test]
fn corrected_subject_loses_granted_memberships() {
    let (path, wrong) = logged_in(&json!({ "userName": unique("google") }));
    let body = json!({ "schemas": [USER], "userName": unique("alice"), "externalId": wrong });
    client_of("hr").post("/scim/v2/Users", &body).gives(201);
    let (granted, own) = (group_with(&path, true), group_with(&path, false));
    let correction = json!([{ "op": "replace", "path": "externalId", "value": unique("right") }]);
    client_of("hr").patch(&path, &correction).gives(200);
    let groups = wiki().get(&path).body["groups"].clone();
    let left: Vec<&str> = groups
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|group| group["value"].as_str())
        .collect();
    assert_eq!(left, [&*own], "not {granted}");
}
