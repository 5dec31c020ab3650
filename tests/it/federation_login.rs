//! Logins through the front door, against a real directory.

use std::time::Duration;

use crate::fixtures::front_door::{Rig, completed, google, refused, request, shown};
use serde_json::{Value, json};
use vestibule::domain::schema::Registry;
use vestibule::domain::{
    Actor, Change, IdentityProviderName, Kind, Link, Operation, Principal, Relations, Secret, StoreName,
};
use vestibule::federation::LoginError;
use vestibule::federation::idp::provider::CallbackParameters;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::login::StartedLogin;
use vestibule::federation::login::step::{LinkProofPage, LoginPage};
use vestibule::storage::identity_locks::{self, IdentityLock};
use vestibule::storage::{SqlConnection, StorageError, links};

/// The username is the claim `nick`.
fn by_name() -> Value {
    json!({"mode": "silent", "username": {"claim": "nick"}})
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "given_name": "Bob", "email": "bob@example.com", "email_verified": true})
}

fn password(text: &str) -> Secret {
    Secret::new(text)
}

const RIGHT: &str = "correct horse battery";

fn local_bob() -> Value {
    json!({"userName": "bob", "displayName": "Local Bob", "password": RIGHT})
}

#[test]
fn a_first_login_makes_an_account_and_the_next_one_finds_it() {
    let rig = Rig::new(by_name());
    let first = completed(rig.login(&bob()));
    let user = rig.get(&first.user);
    let attributes = user.document.attributes();
    assert_eq!(
        (&attributes["userName"], &attributes["name"]["givenName"]),
        (&json!("bob"), &json!("Bob"))
    );
    assert_eq!(user.writers.writers()["name.givenName"], "idp:google");
    assert_eq!(
        (first.amr, first.identity_provider),
        (vec!["fed".to_owned()], Some(google()))
    );
    let second = completed(rig.login(&bob()));
    assert_eq!(second.user, first.user);
    assert_eq!(rig.get(&first.user).version, user.version);
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn fifty_first_logins_at_once_make_one_account_and_one_link() {
    let rig = Rig::new(by_name());
    let users: Vec<_> = std::thread::scope(|scope| {
        let login = || completed(rig.login(&bob())).user;
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(login)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(users.iter().all(|user| *user == users[0]));
    assert_eq!(rig.users().len(), 1);
    let linked = rig
        .database
        .read::<_, StorageError>(|connection| links::of_user(connection, &users[0]))
        .unwrap();
    assert_eq!(linked.len(), 1);
}

#[test]
fn two_subjects_that_swap_their_addresses_keep_their_accounts() {
    let rig = Rig::new(json!({"mode": "silent"}));
    let person = |sub: &str, email: &str| json!({"sub": sub, "email": email, "email_verified": true});
    let one = completed(rig.login(&person("1", "a@example.com"))).user;
    let two = completed(rig.login(&person("2", "b@example.com"))).user;
    assert_ne!(one, two);
    assert_eq!(completed(rig.login(&person("1", "b@example.com"))).user, one);
    assert_eq!(completed(rig.login(&person("2", "a@example.com"))).user, two);
}

#[test]
fn later_logins_bring_the_account_up_to_the_claims() {
    let rig = Rig::new(by_name());
    let id = completed(rig.login(&bob())).user;
    let changed = json!({"sub": "sub-bob", "nick": "robert", "given_name": "Robert"});
    completed(rig.login(&changed));
    let attributes = rig.get(&id).document.attributes();
    assert_eq!(
        (&attributes["userName"], &attributes["name"]["givenName"]),
        (&json!("bob"), &json!("Robert"))
    );
    assert!(!attributes.contains_key("emails"));
}

#[test]
fn an_answer_counts_once_in_the_browser_that_asked() {
    let rig = Rig::new(by_name());
    let (handle, other) = (rig.start(), rig.start());
    let returned = rig.away(&handle, &bob());
    let state = |state: &str| -> CallbackParameters {
        let code = returned.get("code").unwrap();
        [("code", code), ("state", state)].into_iter().collect()
    };
    assert_eq!(refused(rig.back(&other, &returned)), Denial::NotUnderWay);
    assert_eq!(refused(rig.back("made up", &returned)), Denial::NotUnderWay);
    assert_eq!(refused(rig.back(&handle, &state("wrong"))), Denial::NotUnderWay);
    assert_eq!(refused(rig.back(&handle, &state(""))), Denial::NotUnderWay);
    assert!(rig.users().is_empty());
    completed(rig.back(&handle, &returned));
    assert_eq!(refused(rig.back(&handle, &returned)), Denial::NotUnderWay);
}

#[test]
fn a_provider_answers_at_its_own_callback_only() {
    let rig = Rig::with(by_name(), |wiki| wiki.identity_providers.push("other".into()));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let step = rig.federation.login.callback(&handle, &"other".into(), &returned);
    assert_eq!(refused(step), Denial::NotUnderWay);
}

#[test]
fn unlisted_provider_is_refused_at_every_step() {
    let rig = Rig::new(by_name());
    let handle = rig.start();
    let choose = |name: &str| {
        let chosen = rig.federation.login.choose(&handle, &IdentityProviderName::from(name));
        let Err(LoginError::Denied(denial, _)) = chosen else {
            panic!("not denied: {chosen:?}")
        };
        denial
    };
    assert_eq!(choose("other"), Denial::ProviderNotAllowed);
    assert_eq!(choose("nobody"), Denial::UnknownProvider);
    let returned = rig.away(&handle, &bob());
    let callback = |name: &str| refused(rig.federation.login.callback(&handle, &name.into(), &returned));
    assert_eq!(callback("other"), Denial::ProviderNotAllowed);
    assert_eq!(callback("nobody"), Denial::UnknownProvider);
}

#[test]
fn a_login_ends_after_ten_minutes() {
    let rig = Rig::new(by_name());
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    rig.clock.advance(Duration::from_mins(10));
    assert_eq!(refused(rig.back(&handle, &returned)), Denial::NotUnderWay);
    assert_eq!(refused(rig.federation.login.view(&handle)), Denial::NotUnderWay);
}

#[test]
fn a_taken_name_is_linked_only_after_its_password() {
    let rig = Rig::new(by_name());
    let id = rig.user(&local_bob());
    let before = rig.get(&id);
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let asked = |failed| {
        LoginPage::LinkProof(LinkProofPage {
            provider: "google".to_owned(),
            username: "bob".to_owned(),
            password: true,
            providers: Vec::new(),
            mail: None,
            may_rename: false,
            failed,
        })
    };
    assert_eq!(shown(rig.back(&handle, &returned)), asked(false));
    assert_eq!(shown(rig.federation.login.prove(&handle, &password(""))), asked(false));
    assert_eq!(
        shown(rig.federation.login.prove(&handle, &password("wrong"))),
        asked(true)
    );
    assert_eq!(rig.get(&id), before);
    let authentication = completed(rig.federation.login.prove(&handle, &password(RIGHT)));
    assert_eq!((&authentication.user, authentication.amr.len()), (&id, 2));
    assert_eq!(
        refused(rig.federation.login.prove(&handle, &password(RIGHT))),
        Denial::NotUnderWay
    );
    assert_eq!(completed(rig.login(&bob())).user, id);
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn a_spelling_of_a_taken_name_is_the_taken_name() {
    let rig = Rig::new(by_name());
    rig.user(&local_bob());
    for twin in ["BOB", "ｂｏｂ", "Bob"] {
        let claims = json!({"sub": twin, "nick": twin});
        assert!(matches!(shown(rig.login(&claims)), LoginPage::LinkProof(_)), "{twin}");
    }
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn a_proof_counts_for_the_identity_that_asked_for_it() {
    let rig = Rig::new(by_name());
    rig.user(&local_bob());
    let handle = rig.start();
    let mine = rig.away(&handle, &bob());
    shown(rig.back(&handle, &mine));
    let theirs = rig.away(&handle, &json!({"sub": "sub-mallory", "nick": "bob"}));
    shown(rig.back(&handle, &theirs));
    completed(rig.federation.login.prove(&handle, &password(RIGHT)));
    assert!(matches!(shown(rig.login(&bob())), LoginPage::LinkProof(_)));
}

#[test]
fn a_proof_can_be_given_up() {
    let rig = Rig::new(by_name());
    rig.user(&local_bob());
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    shown(rig.back(&handle, &returned));
    assert!(matches!(
        shown(rig.federation.login.back(&handle)),
        LoginPage::SignIn { .. }
    ));
    assert!(matches!(
        shown(rig.federation.login.prove(&handle, &password(RIGHT))),
        LoginPage::SignIn { .. }
    ));
}

#[test]
fn a_disabled_account_stays_disabled() {
    let rig = Rig::new(by_name());
    let id = completed(rig.login(&bob())).user;
    rig.replace(&id, &json!({"userName": "bob", "active": false}));
    let before = rig.get(&id);
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
    assert_eq!(rig.get(&id), before);
}

#[test]
fn without_provisioning_nothing_is_written() {
    let rig = Rig::new(json!({"mode": "off"}));
    assert_eq!(refused(rig.login(&bob())), Denial::NoAccount);
    assert!(rig.users().is_empty());
}

#[test]
fn user_name_that_does_not_fit_refuses_and_leaves_nothing() {
    let rig = Rig::new(by_name());
    let with = |name: &str, value: Value| {
        let mut claims = bob();
        claims[name] = value;
        claims
    };
    assert_eq!(
        refused(rig.login(&with("nick", json!("bob\u{200b}")))),
        Denial::BadUsername
    );
    assert_eq!(
        refused(rig.login(&with("nick", json!(null)))),
        Denial::MissingClaim {
            claim: "nick".to_owned()
        }
    );
    assert!(rig.users().is_empty());
}

#[test]
fn optional_claim_that_does_not_fit_keeps_nobody_out() {
    let rig = Rig::new(by_name());
    completed(rig.login(&bob()));
    for (name, value) in [
        ("email", json!("a@b@example.com")),
        ("given_name", json!("a\0")),
        ("given_name", json!(["a"])),
        ("picture", json!("x".repeat(40_000))),
    ] {
        let mut claims = bob();
        claims[name] = value.clone();
        completed(rig.login(&claims));
        claims["sub"] = json!(format!("{name} {}", value.is_array()));
        claims["nick"] = claims["sub"].clone();
        completed(rig.login(&claims));
        let user = &rig.users()[0].document.attributes()["name"]["givenName"];
        assert_eq!(*user, json!("Bob"), "{name} of a linked person stays");
    }
}

/// Users whose e-mail addresses are unique.
fn unique_addresses() -> Rig {
    let mut user: Value = serde_json::from_str(include_str!("../../schemas/user.json")).unwrap();
    for attribute in user["attributes"].as_array_mut().unwrap() {
        if attribute["name"] == "emails" {
            let subs = attribute["subAttributes"].as_array_mut().unwrap();
            let value = subs.iter_mut().find(|sub| sub["name"] == "value").unwrap();
            value["uniqueness"] = "server".into();
        }
    }
    let registry = Registry::load(&[("user.json".to_owned(), user.to_string())]).unwrap();
    Rig::over(registry, (&by_name(), &json!([])), |_| {}, None)
}

#[test]
fn taken_unique_value_refuses_the_first_login() {
    let rig = unique_addresses();
    rig.user(&json!({"userName": "other", "emails": [{"value": "bob@example.com", "type": "work"}]}));
    let refusal = refused(rig.login(&bob()));
    assert_eq!(
        refusal,
        Denial::ValueTaken {
            attribute: "emails.value".to_owned()
        }
    );
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn taken_unique_value_keeps_no_linked_person_out() {
    let rig = unique_addresses();
    rig.user(&json!({"userName": "other", "emails": [{"value": "bob@new.example", "type": "work"}]}));
    completed(rig.login(&bob()));
    let mut claims = bob();
    claims["email"] = "bob@new.example".into();
    claims["given_name"] = "Robert".into();
    let user = completed(rig.login(&claims)).user;
    let user = rig.directory.get(&Kind::USER, &user, Relations::NONE).unwrap().unwrap();
    let attributes = user.document.attributes();
    assert_eq!(attributes["emails"][0]["value"], "bob@example.com");
    assert_eq!(attributes["name"]["givenName"], "Robert");
}

#[test]
fn a_local_password_lets_in() {
    let rig = Rig::new(by_name());
    let id = rig.user(&local_bob());
    let handle = rig.start();
    let authentication = completed(rig.federation.login.password(&handle, "BOB", &password(RIGHT)));
    assert_eq!((authentication.user, authentication.amr), (id, vec!["pwd".to_owned()]));
    assert_eq!(
        refused(rig.federation.login.password(&handle, "bob", &password(RIGHT))),
        Denial::NotUnderWay
    );
}

#[test]
fn a_wrong_password_and_an_unknown_name_look_alike() {
    let rig = Rig::new(by_name());
    rig.user(&local_bob());
    let page = |name: &str| {
        let mut page = shown(rig.federation.login.password(&rig.start(), name, &password("wrong")));
        let LoginPage::SignIn { local: Some(local), .. } = &mut page else {
            panic!("no form")
        };
        assert!(local.failed && local.username == name);
        local.username.clear();
        page
    };
    assert_eq!(page("bob"), page("nobody"));
    assert_eq!(page("bob"), page("bob\u{200b}"));
}

#[test]
fn disabled_account_is_revealed_only_with_its_password() {
    let rig = Rig::new(by_name());
    rig.user(&json!({"userName": "bob", "password": RIGHT, "active": false}));
    let attempt = |text: &str| rig.federation.login.password(&rig.start(), "bob", &password(text));
    shown(attempt("wrong"));
    assert_eq!(refused(attempt(RIGHT)), Denial::AccountDisabled);
}

#[test]
fn ten_wrong_passwords_end_a_login() {
    let rig = Rig::new(by_name());
    let handle = rig.start();
    for _ in 0..9 {
        shown(rig.federation.login.password(&handle, "nobody", &password("wrong")));
    }
    let last = rig.federation.login.password(&handle, "nobody", &password("wrong"));
    assert_eq!(refused(last), Denial::TooManyAttempts);
    assert_eq!(refused(rig.federation.login.view(&handle)), Denial::NotUnderWay);
}

#[test]
fn passwords_are_refused_where_the_application_takes_none() {
    let rig = Rig::with(by_name(), |wiki| wiki.local_login = false);
    rig.user(&local_bob());
    let step = rig.federation.login.password(&rig.start(), "bob", &password(RIGHT));
    assert_eq!(refused(step), Denial::NoLocalLogin);
}

#[test]
fn steps_out_of_order_show_the_step_that_is_due() {
    let rig = Rig::new(by_name());
    let handle = rig.start();
    let due = shown(rig.federation.login.view(&handle));
    assert_eq!(shown(rig.federation.login.prove(&handle, &password(RIGHT))), due);
    assert_eq!(shown(rig.federation.login.password(&handle, "", &password(""))), due);
    let returned: CallbackParameters = [("state", "x")].into_iter().collect();
    assert_eq!(refused(rig.back(&handle, &returned)), Denial::NotUnderWay);
    assert_eq!(shown(rig.federation.login.view(&handle)), due);
}

#[test]
fn a_single_way_in_is_taken_at_once() {
    let rig = Rig::with(by_name(), |wiki| wiki.local_login = false);
    let StartedLogin { to, .. } = rig.federation.login.start(request(), &"wiki".into()).unwrap();
    assert_eq!(to, Some(google()));
    let rig = Rig::new(by_name());
    assert_eq!(rig.federation.login.start(request(), &"wiki".into()).unwrap().to, None);
    let mut hinted = request();
    hinted.idp_hint = Some(google());
    assert!(rig.federation.login.start(hinted, &"wiki".into()).unwrap().to.is_some());
    let mut foreign = request();
    foreign.idp_hint = Some("other".into());
    assert_eq!(rig.federation.login.start(foreign, &"wiki".into()).unwrap().to, None);
}

#[test]
fn a_refusal_of_the_provider_leaves_the_other_ways_open() {
    let rig = Rig::new(by_name());
    let id = rig.user(&local_bob());
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let state = returned.get("state").unwrap();
    let returned = [("state", state), ("error", "access_denied")].into_iter().collect();
    assert_eq!(refused(rig.back(&handle, &returned)), Denial::Declined);
    assert_eq!(
        completed(rig.federation.login.password(&handle, "bob", &password(RIGHT))).user,
        id
    );
}

#[test]
fn a_login_that_is_given_up_is_over() {
    let rig = Rig::new(by_name());
    let handle = rig.start();
    assert_eq!(rig.federation.login.cancel(&handle).unwrap(), Some(request()));
    assert_eq!(rig.federation.login.cancel(&handle).unwrap(), None);
}

/// Creates a user as a SCIM client.
fn synced(rig: &Rig, client: &str, attributes: &Value) -> vestibule::domain::ResourceId {
    let operation = Operation::Create {
        store: StoreName::PRIMARY,
        kind: Kind::USER,
        attributes: attributes.as_object().unwrap().clone(),
        typed: Vec::new(),
    };
    let principal = Principal::Client {
        token: "t".to_owned(),
        store: Some(StoreName::PRIMARY),
    };
    let actor = Actor {
        principal,
        service_provider: client.into(),
    };
    let change = Change {
        actor,
        operation,
        side_records: Vec::new(),
    };
    rig.directory.apply(change).unwrap().resource().id.clone()
}

#[test]
fn login_links_the_account_of_its_trusted_scim_source() {
    for mode in ["silent", "off"] {
        let rig = Rig::new(json!({"mode": mode, "username": {"claim": "nick"}}));
        let id = synced(&rig, "hr", &json!({"userName": "bob", "externalId": "sub-bob"}));
        assert_eq!(completed(rig.login(&bob())).user, id, "{mode}");
        assert_eq!(completed(rig.login(&bob())).user, id, "{mode}");
        assert_eq!(rig.users().len(), 1);
    }
}

#[test]
fn external_id_from_an_untrusted_source_never_links() {
    let other = json!({"userName": "victim", "externalId": "sub-bob"});
    let rig = Rig::new(by_name());
    let theirs = synced(&rig, "wiki", &other);
    assert_ne!(completed(rig.login(&bob())).user, theirs);
    let rig = Rig::new(by_name());
    let ours = rig.user(&other);
    assert_ne!(completed(rig.login(&bob())).user, ours);
}

#[test]
fn locked_identity_blocks_every_sign_in_until_unlocked() {
    let rig = Rig::new(by_name());
    let id = rig.user(&local_bob());
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    rig.back(&handle, &returned).unwrap();
    completed(rig.federation.login.prove(&handle, &password(RIGHT)));
    let lock = IdentityLock {
        identity: Link {
            identity_provider: google(),
            issuer: crate::fixtures::front_door::ISSUER.to_owned(),
            subject: "sub-bob".to_owned(),
        },
        reason: "Ask Carol".to_owned(),
        at: rig.clock.now(),
    };
    let identity = lock.identity.clone();
    let lock = move |connection: &mut SqlConnection| Ok(identity_locks::lock(connection, &lock)?);
    let whose = rig.database.write::<_, StorageError>(lock).unwrap();
    assert_eq!(whose, Some(id));
    let locked = Denial::IdentityLocked {
        reason: "Ask Carol".to_owned(),
    };
    let by_password = || rig.federation.login.password(&rig.start(), "bob", &password(RIGHT));
    assert_eq!(refused(rig.login(&bob())), locked);
    assert_eq!(refused(by_password()), locked);
    let unlock = move |connection: &mut SqlConnection| Ok(identity_locks::unlock(connection, &identity)?);
    assert!(rig.database.write::<_, StorageError>(unlock).unwrap());
    completed(rig.login(&bob()));
    completed(by_password());
}

fn many_ways() -> Rig {
    Rig::with(by_name(), |wiki| wiki.identity_providers.push("other".into()))
}

#[test]
fn email_domain_selects_the_provider() {
    let rig = many_ways();
    let handle = rig.start();
    let LoginPage::SignIn {
        by_email: Some(form), ..
    } = shown(rig.federation.login.view(&handle))
    else {
        panic!("no address is asked for")
    };
    assert_eq!((form.address.as_str(), form.is_unknown), ("", false));
    let chosen = rig.federation.login.choose_by_email(&handle, " Ann@Example.com ");
    assert_eq!(chosen.unwrap().unwrap().0, "other");
}

#[test]
fn an_address_that_leads_nowhere_can_be_corrected() {
    let rig = many_ways();
    let handle = rig.start();
    for address in ["ann@elsewhere.example", "ann", "", "ann@example.com@evil.example"] {
        let chosen = rig.federation.login.choose_by_email(&handle, address).unwrap();
        assert_eq!(chosen, None, "{address}");
        let LoginPage::SignIn {
            by_email: Some(form), ..
        } = shown(rig.federation.login.view(&handle))
        else {
            panic!("no address is asked for")
        };
        assert!(form.is_unknown, "{address}");
    }
}

#[test]
fn a_hint_with_an_address_leads_to_the_provider_at_once() {
    let rig = many_ways();
    let hinted = |hint: &str| {
        let request = vestibule::domain::login::AuthorizationRequest {
            login_hint: Some(hint.to_owned()),
            ..request()
        };
        rig.federation
            .login
            .start(request, &"wiki".into())
            .unwrap()
            .to
            .is_some()
    };
    assert!(hinted("ann@example.com"));
    assert!(!hinted("ann@elsewhere.example"));
    assert!(!hinted("ann"));
}

#[test]
fn two_people_who_swap_their_addresses_keep_their_accounts() {
    let rig = Rig::new(by_name());
    let claims = |name: &str, email: &str| json!({"sub": format!("sub-{name}"), "nick": name, "email": email, "email_verified": true});
    let (ann, bob) = ("ann@example.com", "bob@example.com");
    let before = [
        completed(rig.login(&claims("ann", ann))).user,
        completed(rig.login(&claims("bob", bob))).user,
    ];
    let after = [
        completed(rig.login(&claims("ann", bob))).user,
        completed(rig.login(&claims("bob", ann))).user,
    ];
    assert_eq!(before, after);
    assert_eq!(rig.users().len(), 2);
}

#[test]
fn wrong_passwords_count_across_spellings_of_the_username() {
    let rig = Rig::new(by_name());
    rig.user(&local_bob());
    for name in ["bob", "BOB", "Bob", "\u{ff42}ob", "bOb"] {
        let handle = rig.start();
        shown(rig.federation.login.password(&handle, name, &password("wrong")));
    }
    let handle = rig.start();
    let right = || rig.federation.login.password(&handle, "bob", &password(RIGHT));
    shown(right());
    rig.clock.advance(Duration::from_secs(31));
    completed(right());
}
