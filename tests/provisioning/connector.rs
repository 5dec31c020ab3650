//! The contract of every connector. Runs against a target inside the test, and against each real one in
//! `VESTIBULE_TEST_SCIM_TARGETS="url|token url|token"`.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use vestibule::domain::{Attributes, Clock, Kind, Secret};
use vestibule::provisioning::connector::{MemberChange, MemberUpdateMode};
use vestibule::provisioning::plan::{AttributeChange, Update};
use vestibule::provisioning::{Auth, Connector, PushError, RemoteId, ScimConnector, ScimTargetSettings, Verb};
use vestibule::storage::random;

use crate::fixtures::fake_target::{FakeTarget, Fault};

/// Reads a resource by its endpoint and id.
type Peek = dyn Fn(&str, &RemoteId) -> Value;

/// A connector under test, and a way to read at its target without it.
struct Subject {
    name: String,
    connector: Box<dyn Connector>,
    peek: Box<Peek>,
}

impl Subject {
    fn scim(url: Url, token: &str, change: impl FnOnce(&mut ScimTargetSettings)) -> Self {
        let (settings, token) = (scim_settings(url, token, change), token.to_owned());
        let base_url = settings.base_url.clone();
        Self {
            name: base_url.to_string(),
            connector: Box::new(ScimConnector::new(&settings, 4, Clock::system()).unwrap()),
            peek: Box::new(move |endpoint, id| {
                let client = reqwest::blocking::Client::builder().build().unwrap();
                let resource = format!("{base_url}/{endpoint}/{}", id.0);
                let answer = client.get(resource).bearer_auth(&token).send().unwrap();
                serde_json::from_str(&answer.text().unwrap()).unwrap_or_default()
            }),
        }
    }

    /// Reads a resource at the target without the connector.
    fn peek(&self, endpoint: &str, id: &RemoteId) -> Value {
        (self.peek)(endpoint, id)
    }
}

fn scim_settings(url: Url, token: &str, change: impl FnOnce(&mut ScimTargetSettings)) -> ScimTargetSettings {
    let mut settings = ScimTargetSettings::new(url, Auth::Bearer(Secret::new(token)));
    settings.allow_private_network = true;
    settings.timeout = Duration::from_secs(5);
    change(&mut settings);
    settings
}

/// Every target for which the contract is checked, also with PUT instead of PATCH.
fn subjects() -> Vec<Subject> {
    let put = |settings: &mut ScimTargetSettings| {
        settings.user_verb = Some(Verb::Put);
        settings.group_verb = Some(Verb::Put);
    };
    let fake = FakeTarget::start();
    let mut subjects = vec![
        Subject::scim(fake.url.clone(), "t", |_| {}),
        Subject::scim(fake.url, "t", put),
    ];
    for peer in std::env::var("VESTIBULE_TEST_SCIM_TARGETS")
        .unwrap_or_default()
        .split_whitespace()
    {
        let (url, token) = peer.split_once('|').expect("url|token");
        let url = Url::parse(url).unwrap();
        subjects.extend([
            Subject::scim(url.clone(), token, |_| {}),
            Subject::scim(url, token, put),
        ]);
    }
    subjects
}

fn fake() -> (FakeTarget, ScimConnector) {
    let fake = FakeTarget::start();
    let settings = scim_settings(fake.url.clone(), "s3cret-token", |settings| {
        settings.timeout = Duration::from_millis(400);
    });
    (fake, ScimConnector::new(&settings, 4, Clock::system()).unwrap())
}

fn attributes(value: Value) -> Attributes {
    value.as_object().unwrap().clone()
}

fn user(name: &str) -> Attributes {
    attributes(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "externalId": format!("x-{name}"), "userName": name,
        "name": {"givenName": "Ann", "familyName": "Smith"}, "active": true, "emails": [{"value": "ann@example.com", "type": "work"}],
    }))
}

fn group(name: &str) -> Attributes {
    attributes(
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "externalId": format!("x-{name}"), "displayName": name}),
    )
}

fn fresh(start: &str) -> String {
    format!("{start}-{}", &random::token()[..10])
}

#[test]
fn a_created_user_is_found_by_external_id_and_by_name() {
    for subject in subjects() {
        let name = fresh("ann");
        let id = subject.connector.create(&Kind::USER, &user(&name)).unwrap();
        assert_eq!(
            subject
                .connector
                .find(&Kind::USER, "userName", &name.to_uppercase())
                .unwrap()
                .unwrap()
                .id,
            id,
            "{}",
            subject.name
        );
        assert_eq!(
            subject
                .connector
                .find(&Kind::USER, "externalId", &format!("x-{name}"))
                .unwrap()
                .unwrap()
                .id,
            id
        );
        assert!(subject.connector.exists(&Kind::USER, &id).unwrap());
    }
}

#[test]
fn a_name_with_quotes_is_looked_for_as_it_is() {
    for subject in subjects() {
        assert_eq!(
            subject
                .connector
                .find(&Kind::USER, "userName", r#"o"brien\" or userName pr"#)
                .unwrap(),
            None
        );
    }
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    for subject in subjects() {
        let id = subject.connector.create(&Kind::USER, &user(&fresh("bob"))).unwrap();
        let mut full = user(&fresh("bob"));
        full["name"] = json!({"givenName": "Bob", "familyName": "Smith"});
        let change = |path: &str, value: Value| AttributeChange {
            path: path.to_owned(),
            value: Some(value),
        };
        let changes = vec![
            change("userName", full["userName"].clone()),
            change("name.givenName", json!("Bob")),
            change("title", json!("Dr")),
        ];
        full.insert("title".to_owned(), json!("Dr"));
        subject
            .connector
            .update(
                &Kind::USER,
                &id,
                &Update {
                    changes,
                    full: full.clone(),
                },
            )
            .unwrap();
        let there = subject.peek("Users", &id);
        for (path, wanted) in [
            ("/userName", &full["userName"]),
            ("/name/givenName", &json!("Bob")),
            ("/name/familyName", &json!("Smith")),
            ("/title", &json!("Dr")),
        ] {
            assert_eq!(there.pointer(path), Some(wanted), "{path} at {}", subject.name);
        }
        full.remove("title");
        let changes = vec![AttributeChange {
            path: "title".to_owned(),
            value: None,
        }];
        subject
            .connector
            .update(&Kind::USER, &id, &Update { changes, full })
            .unwrap();
        assert_eq!(subject.peek("Users", &id).get("title"), None, "{}", subject.name);
    }
}

#[test]
fn a_deactivated_user_is_still_there() {
    for subject in subjects() {
        let sent = user(&fresh("carl"));
        let id = subject.connector.create(&Kind::USER, &sent).unwrap();
        subject.connector.deactivate(&Kind::USER, &id, &sent).unwrap();
        assert_eq!(subject.peek("Users", &id)["active"], json!(false));
    }
}

#[test]
fn deleting_twice_is_as_good_as_once() {
    for subject in subjects() {
        let id = subject.connector.create(&Kind::USER, &user(&fresh("dora"))).unwrap();
        subject.connector.delete(&Kind::USER, &id).unwrap();
        subject.connector.delete(&Kind::USER, &id).unwrap();
        assert!(!subject.connector.exists(&Kind::USER, &id).unwrap());
    }
}

#[test]
fn an_update_of_what_is_not_there_says_so() {
    for subject in subjects() {
        let changes = vec![AttributeChange {
            path: "title".to_owned(),
            value: Some(json!("Dr")),
        }];
        let update = Update {
            changes,
            full: user(&fresh("eve")),
        };
        assert_eq!(
            subject
                .connector
                .update(&Kind::USER, &RemoteId("no-such-id".to_owned()), &update),
            Err(PushError::Gone)
        );
    }
}

#[test]
fn a_taken_name_is_a_conflict() {
    for subject in subjects() {
        let taken = user(&fresh("finn"));
        subject.connector.create(&Kind::USER, &taken).unwrap();
        assert_eq!(
            subject.connector.create(&Kind::USER, &taken),
            Err(PushError::Conflict),
            "{}",
            subject.name
        );
    }
}

#[test]
fn members_join_and_leave() {
    for subject in subjects() {
        let connector = &subject.connector;
        let members: Vec<RemoteId> = (0..3)
            .map(|_| connector.create(&Kind::USER, &user(&fresh("gus"))).unwrap())
            .collect();
        let attributes = group(&fresh("team"));
        let team = connector.create(&Kind::GROUP, &attributes).unwrap();
        let change = |index: usize, joins| MemberChange {
            member: members[index].clone(),
            joins,
        };
        match connector.membership().unwrap() {
            MemberUpdateMode::Changes(_) => {
                connector
                    .change_members(&team, &[change(0, true), change(1, true)])
                    .unwrap();
                connector
                    .change_members(&team, &[change(2, true), change(0, false)])
                    .unwrap();
            }
            MemberUpdateMode::Whole => {
                connector.replace_group(&team, &attributes, &members[..2]).unwrap();
                connector.replace_group(&team, &attributes, &members[1..]).unwrap();
            }
        }
        let there = subject.peek("Groups", &team);
        let mut ids: Vec<&str> = there["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["value"].as_str().unwrap())
            .collect();
        let mut wanted: Vec<&str> = members[1..].iter().map(|id| id.0.as_str()).collect();
        ids.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(ids, wanted, "{}", subject.name);
    }
}

#[test]
fn a_target_that_works_passes_the_probe() {
    for subject in subjects() {
        assert_eq!(subject.connector.probe(), Ok(()));
    }
}

#[test]
fn every_failure_of_a_target_says_what_to_do_next() {
    for (fault, expected) in [
        (Fault::Status(400), "refused"),
        (Fault::Status(401), "unauthorized"),
        (Fault::Status(403), "unauthorized"),
        (Fault::Status(409), "conflict"),
        (Fault::Status(422), "refused"),
        (Fault::Status(500), "retry"),
        (Fault::Status(503), "unreachable"),
        (Fault::Drop, "unreachable"),
        (Fault::Ate, "unreachable"),
        (Fault::Hang(Duration::from_secs(1)), "unreachable"),
        (Fault::Html(200), "unreachable"),
        (Fault::Html(404), "unreachable"),
        (Fault::Redirect("http://127.0.0.1:1/".to_owned()), "unreachable"),
        (Fault::Big, "unreachable"),
    ] {
        let (fake, connector) = fake();
        fake.fail("POST /Users", fault.clone(), 9);
        let verdict = match connector.create(&Kind::USER, &user("ann")) {
            Ok(_) => "ok",
            Err(PushError::Retry { unreachable: true, .. }) => "unreachable",
            Err(PushError::Retry { .. }) => "retry",
            Err(PushError::Refused { .. }) => "refused",
            Err(PushError::Unauthorized { .. }) => "unauthorized",
            Err(PushError::Gone) => "gone",
            Err(PushError::Conflict) => "conflict",
        };
        assert_eq!(verdict, expected, "{fault:?}");
    }
}

#[test]
fn a_target_is_not_waited_for_beyond_the_timeout() {
    let (fake, connector) = fake();
    fake.fail("POST", Fault::Hang(Duration::from_secs(30)), 1);
    let error = connector.create(&Kind::USER, &user("ann")).unwrap_err();
    assert!(format!("{error:?}").contains("did not answer in time"), "{error:?}");
}

#[test]
fn the_wait_that_a_target_asks_for_is_passed_on() {
    let (fake, connector) = fake();
    fake.fail("POST", Fault::Later(429, "7".to_owned()), 1);
    match connector.create(&Kind::USER, &user("ann")) {
        Err(PushError::Retry {
            after,
            unreachable: false,
            ..
        }) => assert_eq!(after, Some(Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_redirect_is_not_followed_and_credentials_go_nowhere_else() {
    let (fake, connector) = fake();
    let elsewhere = FakeTarget::start();
    fake.fail("GET", Fault::Redirect(format!("{}/Users", elsewhere.url)), 1);
    connector.exists(&Kind::USER, &RemoteId("r1".to_owned())).unwrap_err();
    assert_eq!(elsewhere.requests(""), 0);
}

#[test]
fn a_target_that_ignores_the_filter_is_looked_through() {
    let fake = FakeTarget::start();
    let connector = Subject::scim(fake.url.clone(), "t", |settings| settings.page = 3).connector;
    fake.with(|state| state.ignores_filters = true);
    let ids: Vec<RemoteId> = (0..8)
        .map(|index| connector.create(&Kind::USER, &user(&format!("n{index}"))).unwrap())
        .collect();
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(
            &connector
                .find(&Kind::USER, "userName", &format!("n{index}"))
                .unwrap()
                .unwrap()
                .id,
            id
        );
    }
    assert_eq!(connector.find(&Kind::USER, "userName", "somebody-else").unwrap(), None);
}

#[test]
fn a_target_without_patch_gets_put() {
    for supported in [Some(false), None] {
        let (fake, connector) = fake();
        fake.with(|state| state.patch_supported = supported);
        let id = connector.create(&Kind::USER, &user("ann")).unwrap();
        let update = Update {
            changes: vec![AttributeChange {
                path: "active".to_owned(),
                value: Some(json!(false)),
            }],
            full: user("ann"),
        };
        if supported.is_none() {
            fake.fail("PATCH", Fault::Status(405), 1);
            assert!(matches!(
                connector.update(&Kind::USER, &id, &update),
                Err(PushError::Retry { unreachable: false, .. })
            ));
        }
        connector.update(&Kind::USER, &id, &update).unwrap();
        assert_eq!(fake.requests("PUT /Users"), 1);
        assert_eq!(connector.membership(), Ok(MemberUpdateMode::Whole));
    }
}

#[test]
fn a_private_address_is_refused_unless_it_is_meant() {
    let fake = FakeTarget::start();
    let mut localhost = fake.url.clone();
    localhost.set_host(Some("localhost")).unwrap();
    for url in [fake.url.clone(), localhost] {
        let subject = Subject::scim(url, "t", |settings| settings.allow_private_network = false);
        match subject.connector.probe() {
            Err(PushError::Retry { cause, .. }) => assert!(cause.contains("allow_private_network"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fake.requests(""), 0);
}
