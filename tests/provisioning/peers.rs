//! A typical day of changes to a few users, pushed to the target in the test and to every real one in
//! `VESTIBULE_TEST_SCIM_TARGETS="url|token url|token"`.

use serde_json::{Value, json};
use url::Url;
use vestibule::domain::{Kind, Secret};
use vestibule::provisioning::{Auth, TargetSettings};
use vestibule::storage::outbound::{self, OutboundState};
use vestibule::storage::{StorageError, random};

use crate::fixtures::fake_target::FakeTarget;
use crate::world::{World, chat, count, scim, settled, target};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn targets(fake: &FakeTarget) -> Vec<(TargetSettings, String)> {
    let mut targets = vec![(target("chat", fake), "t".to_owned())];
    for peer in std::env::var("VESTIBULE_TEST_SCIM_TARGETS")
        .unwrap_or_default()
        .split_whitespace()
    {
        let (url, token) = peer.split_once('|').expect("url|token");
        let mut settings = target("chat", fake);
        scim(&mut settings).base_url = Url::parse(url).unwrap();
        scim(&mut settings).auth = Auth::Bearer(Secret::new(token));
        targets.push((settings, token.to_owned()));
    }
    targets
}

fn person(name: &str, title: Option<&str>, department: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "userName": name, "title": title, "active": true,
        "name": {"givenName": "Ann", "familyName": "Smith"}, "emails": [{"value": "ann@example.com", "type": "work", "primary": true}],
        ENTERPRISE: {"department": department},
    })
}

#[test]
fn a_day_in_the_life_arrives_at_every_target() {
    let fake = FakeTarget::start();
    for (mut settings, token) in targets(&fake) {
        let world = World::new();
        let base = scim(&mut settings).base_url.clone();
        let engine = world.engine(vec![settings]);
        let tag = &random::fingerprint(&random::token())[..10];
        let (ann, bob, team) = (format!("a{tag}"), format!("b{tag}"), format!("g{tag}"));
        world.save(&Kind::USER, &ann, person(&format!("ann-{tag}"), Some("Dr"), "Sales"));
        world.save(&Kind::USER, &bob, person(&format!("bob-{tag}"), None, "Sales"));
        world.save(
            &Kind::GROUP,
            &team,
            json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": format!("team-{tag}")}),
        );
        world.members(&team, &[&ann, &bob], &[]);
        settled(&engine, "chat");
        world.save(&Kind::USER, &ann, person(&format!("anna-{tag}"), None, "Support"));
        world.members(&team, &[], &[&bob]);
        world.delete(&bob);
        settled(&engine, "chat");
        assert_eq!(engine.failed(&chat(), 10).unwrap(), [], "{base}");
        assert_eq!(
            (
                count(&engine, OutboundState::Synced),
                count(&engine, OutboundState::Gone)
            ),
            (2, 1),
            "{base}"
        );
        let there = |endpoint: &str, id: &str| -> Value {
            let row = world
                .database
                .read::<_, StorageError>(|connection| outbound::find(connection, &chat(), &id.into()));
            let remote = row.unwrap().unwrap().remote_id.unwrap();
            let client = reqwest::blocking::Client::builder().build().unwrap();
            let answer = client
                .get(format!("{base}/{endpoint}/{remote}"))
                .bearer_auth(&token)
                .send()
                .unwrap();
            serde_json::from_str(&answer.text().unwrap()).unwrap()
        };
        let user = there("Users", &ann);
        assert_eq!(user["userName"], format!("anna-{tag}"), "{base}");
        assert_eq!(user.get("title"), None, "{base}");
        assert_eq!(user[ENTERPRISE]["department"], "Support", "{base}");
        let group = there("Groups", &team);
        let members: Vec<&Value> = group["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| &member["value"])
            .collect();
        assert_eq!(members, [&user["id"]], "{base}");
        engine.stop();
    }
}
