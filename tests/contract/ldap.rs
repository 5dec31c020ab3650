//! Hostile directory servers and hostile input: no injection, no leak, no hang.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::fixtures::stores::{World, directory, ldap_at, ldap_settings, ldap_world, ldapmodify};
use libtest_mimic::Trial;
use serde_json::json;
use vestibule::domain::filter::parse;
use vestibule::domain::lockout::FailureCount;
use vestibule::domain::query::Query;
use vestibule::domain::unique::unique_values;
use vestibule::domain::{Attributes, Kind, Relations, Resource, ResourceId, Secret};
use vestibule::userstore::ldap::{Flavour, LdapSettings};
use vestibule::userstore::{Draft, PasswordChange, PasswordCheck, StoreError, UniqueKey, Write, WriteAction};

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case)),*] };
}

/// Needs `OpenLDAP`.
const AGAINST_OPENLDAP: &[(&str, fn())] = cases![
    an_empty_password_is_wrong_whatever_the_directory_says,
    metacharacters_are_plain_characters_everywhere,
    filter_cannot_reveal_a_password,
    what_is_outside_the_bases_is_not_there,
    a_referral_is_not_followed,
    a_server_with_another_certificate_is_told_nothing,
    a_spelling_of_a_name_is_the_name,
];

/// Needs no server.
const ALONE: &[(&str, fn())] = cases![
    a_directory_that_lies_about_lengths_is_given_up,
    a_directory_that_answers_something_else_is_given_up,
    a_directory_that_speaks_http_is_given_up,
    a_directory_that_says_nothing_is_given_up,
];

pub(crate) fn trials() -> Vec<Trial> {
    let is_there = directory("openldap").is_some();
    let trial = |(name, case): &(&'static str, fn()), ignored: bool| {
        let case = *case;
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(ignored)
    };
    let against = AGAINST_OPENLDAP.iter().map(|case| trial(case, !is_there));
    let trials = against.chain(ALONE.iter().map(|case| trial(case, false)));
    trials.collect()
}

// ---- helpers ----

fn world() -> (World, LdapSettings) {
    let settings = ldap_settings("openldap", Flavour::OpenLdap);
    (ldap_world(settings.clone(), None), settings)
}

fn create(world: &World, attributes: serde_json::Value, password: Option<&str>) -> Result<Resource, StoreError> {
    let users = world.registry.resource_type(&Kind::USER).unwrap();
    let attributes: Attributes = attributes.as_object().unwrap().clone();
    let id = ResourceId::new(uuid::Uuid::now_v7().to_string());
    let draft = Draft {
        key: UniqueKey::of(Some(users), &id, &attributes),
        unique: unique_values(users, &attributes),
        attributes,
        writers: std::collections::BTreeMap::new(),
        members: None,
        password: password.map(|password| PasswordChange::Set(Secret::new(password))),
    };
    let write = Write {
        kind: Kind::USER,
        id,
        at: world.clock.now(),
        action: WriteAction::Create(draft),
    };
    Ok(world.store.write(write, Vec::new())?.unwrap().resource)
}

fn user(world: &World, name: &str) -> Resource {
    create(world, json!({ "userName": name }), Some("correct horse")).unwrap()
}

fn names(world: &World, filter: &str) -> Vec<String> {
    let filter = parse(filter, world.registry.resource_type(&Kind::USER).unwrap()).unwrap();
    let found = world.store.find(&Query::all(Kind::USER, 100).filtered(filter)).unwrap();
    let name = |one: &Resource| one.document.attributes()["userName"].as_str().unwrap().to_owned();
    found.resources.iter().map(name).collect()
}

// ---- against OpenLDAP ----

fn an_empty_password_is_wrong_whatever_the_directory_says() {
    let (world, _) = world();
    let ann = user(&world, "ann");
    for empty in ["", " ", "\t", "\0", "correct horse\0"] {
        let verdict = world
            .store
            .verify_password(&ann.id, &Secret::new(empty), FailureCount::Account)
            .unwrap();
        assert_eq!(verdict, PasswordCheck::Invalid, "{empty:?}");
    }
    let verdict = world
        .store
        .verify_password(&ann.id, &Secret::new("correct horse"), FailureCount::Account)
        .unwrap();
    assert_eq!(verdict, PasswordCheck::Valid);
}

fn metacharacters_are_plain_characters_everywhere() {
    let (world, _) = world();
    user(&world, "ann");
    for name in [
        "*",
        "*)(uid=*",
        "admin)(&",
        "\\2a",
        "a,ou=people",
        "a+cn=b",
        "#a",
        " a b",
        "a\\",
        "\"a\"",
        "a=b;c<d>",
        "ü(ß)*",
    ] {
        let made = user(&world, name);
        let quoted = serde_json::to_string(name).unwrap();
        assert_eq!(names(&world, &format!("userName eq {quoted}")), [name]);
        assert_eq!(names(&world, &format!("userName sw {quoted}")), [name]);
        let verdict = world
            .store
            .verify_password(&made.id, &Secret::new("correct horse"), FailureCount::Account)
            .unwrap();
        assert_eq!(verdict, PasswordCheck::Valid, "{name}");
        let read = world.store.get(&Kind::USER, &made.id, Relations::ALL).unwrap();
        assert!(read.is_some(), "{name}");
    }
    for nobody in ["a*", "*n*", "ann)(objectClass=*", "\\61nn"] {
        let quoted = serde_json::to_string(nobody).unwrap();
        assert_eq!(names(&world, &format!("userName eq {quoted}")), Vec::<String>::new());
    }
    let refused = create(&world, json!({ "userName": "a\u{0}b" }), None);
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

fn filter_cannot_reveal_a_password() {
    let (world, _) = world();
    user(&world, "bob");
    for filter in ["bob)(userPassword=a*", "bob)(userPassword=*", "bob)(|(userPassword=*))"] {
        assert_eq!(
            names(&world, &format!("userName eq \"{filter}\"")),
            Vec::<String>::new()
        );
    }
    let users = world.registry.resource_type(&Kind::USER).unwrap();
    for attribute in ["userPassword", "uid", "objectClass", "memberOf"] {
        let by_ldap_name = parse(&format!("{attribute} pr"), users);
        let found = by_ldap_name.map(|filter| world.store.find(&Query::all(Kind::USER, 100).filtered(filter)).unwrap());
        assert!(found.is_err() || found.unwrap().resources.is_empty(), "{attribute}");
    }
}

fn what_is_outside_the_bases_is_not_there() {
    let (world, settings) = world();
    let (other, _) = self::world();
    let elsewhere = user(&other, "ann");
    for id in [
        elsewhere.id.as_str(),
        &settings.bind_dn,
        "cn=admin,dc=example,dc=com",
        "*",
        "",
        "00000000-0000-1000-8000-000000000000",
    ] {
        let found = world
            .store
            .get(&Kind::USER, &ResourceId::new(id.to_owned()), Relations::ALL)
            .unwrap();
        assert!(found.is_none(), "{id}");
        let verdict = world.store.verify_password(
            &ResourceId::new(id.to_owned()),
            &Secret::new("correct horse"),
            FailureCount::Account,
        );
        assert_eq!(verdict.unwrap(), PasswordCheck::Invalid, "{id}");
    }
}

fn a_referral_is_not_followed() {
    let (world, settings) = world();
    user(&world, "ann");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let facts = directory("openldap").unwrap();
    let elsewhere = format!(
        "dn: ou=elsewhere,{base}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://127.0.0.1:{port}/dc=evil\n",
        base = settings.user_base
    );
    ldapmodify(&facts[0], &facts[1], (&facts[2], &facts[3]), &elsewhere);
    assert_eq!(names(&world, "userName pr"), ["ann"]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "no connection was made");
}

fn a_server_with_another_certificate_is_told_nothing() {
    let (_, settings) = world();
    // The certificate is not for this host name, and the system's roots do not include its authority.
    let by_name = settings.urls[0].replace("127.0.0.1", "localhost");
    for (url, ca_file) in [
        (by_name.as_str(), settings.ca_file.clone()),
        (settings.urls[0].as_str(), None),
    ] {
        let with = LdapSettings {
            urls: vec![url.to_owned()],
            start_tls: true,
            ca_file,
            ..settings.clone()
        };
        let refused = ldap_world(with, None).store.ping();
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{url}: {refused:?}");
    }
    let trusted = LdapSettings {
        start_tls: true,
        ..settings
    };
    ldap_world(trusted, None).store.ping().unwrap();
}

fn a_spelling_of_a_name_is_the_name() {
    let (world, _) = world();
    let bob = user(&world, "Bob");
    for spelling in ["bob", "BOB", "Ｂｏｂ"] {
        assert_eq!(
            names(&world, &format!("userName eq \"{spelling}\"")),
            ["Bob"],
            "{spelling}"
        );
        let taken = create(&world, json!({ "userName": spelling }), None);
        assert!(matches!(taken, Err(StoreError::Taken { .. })), "{spelling}");
    }
    for _ in 0..5 {
        world
            .store
            .verify_password(&bob.id, &Secret::new("wrong"), FailureCount::Account)
            .unwrap();
    }
    let locked = world
        .store
        .verify_password(&bob.id, &Secret::new("correct horse"), FailureCount::Account)
        .unwrap();
    assert!(matches!(locked, PasswordCheck::Locked { .. }));
}

// ---- against hostile servers ----

fn a_directory_that_lies_about_lengths_is_given_up() {
    lies(b"\x30\x84\xff\xff\xff\xff\x02\x01\x01");
}

/// The message id matches no request.
fn a_directory_that_answers_something_else_is_given_up() {
    lies(b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00");
}

fn a_directory_that_speaks_http_is_given_up() {
    lies(b"HTTP/1.1 400 Bad Request\r\n\r\n");
}

fn a_directory_that_says_nothing_is_given_up() {
    lies(b"");
}

/// Expects an error within the timeout from a server that sends this to every request.
fn lies(answer: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let answer = answer.to_vec();
    let serve = move |mut stream: TcpStream, answer: Vec<u8>| {
        let mut request = [0; 4096];
        while stream.read(&mut request).is_ok_and(|read| read > 0) {
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    let settings = LdapSettings {
        timeout: Duration::from_secs(1),
        ..ldap_at("LIAR".into(), &url)
    };
    let world = ldap_world(settings, None);
    let answers = [
        world.store.ping().err(),
        world.store.find(&Query::all(Kind::USER, 10)).err(),
        create(&world, json!({ "userName": "ann" }), Some("correct horse")).err(),
    ];
    for error in answers {
        let error = error.expect("an error is expected");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("secret-of-ours"));
    }
}
