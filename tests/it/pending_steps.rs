//! Every event that changes how an account is entered, against every step of a login that may wait meanwhile: no step goes
//! on after such an event.

use std::sync::Arc;
use std::time::Duration;

use crate::fixtures::front_door::{ISSUER, Outcome, Rig, completed, google, request, shown};
use crate::second_factor::code;
use serde_json::{Value, json};
use vestibule::domain::login::Authentication;
use vestibule::domain::{Link, ResourceId, Secret};
use vestibule::federation::account::SessionSelection;
use vestibule::federation::idp::provider::CallbackParameters;
use vestibule::federation::jit::policy::{JitMode, SecondFactor};
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::browser::Browser;
use vestibule::federation::login::entry::StepUp;
use vestibule::federation::login::step::{FactorPage, LoginPage, LoginStep};
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::federation::removal::ProviderRemover;
use vestibule::storage::factors::{self, Factor, TOTP};
use vestibule::storage::identity_locks::{self, IdentityLock};
use vestibule::storage::{StorageError, credential_versions, links, random, sessions};

const RIGHT: &str = "correct horse battery";

/// A step that waits for the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The code of an authenticator, after a password.
    CodeAfterPassword,
    /// The code of an authenticator, after an identity provider.
    CodeAfterProvider,
    /// The set-up of an authenticator that the application asks for.
    Enrolment,
    /// The page with the recovery codes.
    RecoveryCodes,
    /// Questions to a person who has an account.
    Questions,
    /// The code of an authenticator, to link an identity.
    CodeToLink,
    /// The return from an identity provider, to link an identity on the account page.
    Linking,
    /// The set-up of an authenticator on the account page.
    EnrolmentOnAccountPage,
    /// A step-up of a session.
    StepUp,
}

/// An event that changes how the account is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    PasswordChanged,
    Deactivated,
    Deleted,
    IdentityLocked,
    FactorAdded,
    FactorRemoved,
    Linked,
    Unlinked,
    SignedOutEverywhere,
    ProviderRemoved,
    ProviderRemovedAndRestored,
}

const WAITING: [Waiting; 9] = [
    Waiting::CodeAfterPassword,
    Waiting::CodeAfterProvider,
    Waiting::Enrolment,
    Waiting::RecoveryCodes,
    Waiting::Questions,
    Waiting::CodeToLink,
    Waiting::Linking,
    Waiting::EnrolmentOnAccountPage,
    Waiting::StepUp,
];

const EVENTS: [Event; 11] = [
    Event::PasswordChanged,
    Event::Deactivated,
    Event::Deleted,
    Event::IdentityLocked,
    Event::FactorAdded,
    Event::FactorRemoved,
    Event::Linked,
    Event::Unlinked,
    Event::SignedOutEverywhere,
    Event::ProviderRemoved,
    Event::ProviderRemovedAndRestored,
];

impl Waiting {
    /// Whether the account has an authenticator while the step waits.
    fn has_authenticator(self) -> bool {
        matches!(
            self,
            Self::CodeAfterPassword | Self::CodeAfterProvider | Self::CodeToLink | Self::RecoveryCodes
        )
    }

    /// Whether the step rests on the identity at google.
    fn is_through_google(self) -> bool {
        matches!(self, Self::CodeAfterProvider | Self::Questions)
    }
}

impl Event {
    /// Whether it can happen, and must end the step.
    fn ends(self, waiting: Waiting) -> bool {
        match self {
            Self::FactorAdded => !waiting.has_authenticator(),
            Self::FactorRemoved => waiting.has_authenticator(),
            Self::ProviderRemoved => waiting.is_through_google(),
            Self::PasswordChanged
            | Self::Deactivated
            | Self::Deleted
            | Self::IdentityLocked
            | Self::Linked
            | Self::Unlinked
            | Self::SignedOutEverywhere
            | Self::ProviderRemovedAndRestored => true,
        }
    }
}

/// A person with a password and an identity at google, and a step that waits.
struct World {
    rig: Rig,
    bob: ResourceId,
    handle: String,
    cookie: Option<String>,
    /// The key of the authenticator, or of the one that is being set up.
    key: String,
    returned: Option<CallbackParameters>,
}

fn jit() -> Value {
    json!({"mode": "silent", "username": {"claim": "nick"}})
}

fn of_bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob"})
}

fn link_of(provider: &str, subject: &str) -> Link {
    Link {
        identity_provider: provider.into(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
    }
}

fn insert_link(rig: &Rig, user: &ResourceId, link: Link) {
    let (user, now) = (user.clone(), rig.clock.now());
    rig.database
        .write::<_, StorageError>(move |connection| {
            credential_versions::advance(connection, &user)?;
            Ok(links::insert(connection, &link, &"PRIMARY".into(), &user, now)?)
        })
        .unwrap();
}

fn by_password(rig: &Rig) -> Authentication {
    let handle = rig.start();
    completed(rig.federation.login.password(&handle, "bob", &Secret::new(RIGHT)))
}

fn open(rig: &Rig, login: &Authentication) -> (String, SignedInUser) {
    let (cookie, now) = (random::token(), rig.clock.now());
    let user = SignedInUser {
        authentication: login.clone(),
        session: random::fingerprint(&cookie),
    };
    let (hash, login) = (user.session.clone(), login.clone());
    let open = move |connection: &mut _| {
        let later = now.plus(Duration::from_hours(1));
        Ok(sessions::insert(connection, &hash, &login, now, later)?)
    };
    rig.database.write::<_, StorageError>(open).unwrap();
    (cookie, user)
}

impl World {
    /// Brings a login to a step that waits.
    fn at(waiting: Waiting) -> Self {
        let rig = Rig::with(jit(), |wiki| wiki.identity_providers.push("other".into()));
        let bob = rig.user(&json!({"userName": "bob", "password": RIGHT}));
        insert_link(&rig, &bob, link_of("google", "sub-bob"));
        let mut world = Self {
            rig,
            bob,
            handle: String::new(),
            cookie: None,
            key: String::new(),
            returned: None,
        };
        if waiting.has_authenticator() && waiting != Waiting::RecoveryCodes {
            world.set_authenticator_up();
        }
        world.advance_to(waiting);
        world
    }

    fn set_authenticator_up(&mut self) {
        self.begin_on_account_page();
        let browser = self.browser();
        shown(
            self.rig
                .federation
                .login
                .code(browser, &code(&self.key, self.rig.clock.now())),
        );
        self.cookie = None;
        self.rig.clock.advance(Duration::from_secs(30));
    }

    fn begin_on_account_page(&mut self) {
        let (cookie, visitor) = open(&self.rig, &by_password(&self.rig));
        self.handle = self.rig.federation.account.begin_authenticator(&visitor).unwrap();
        self.cookie = Some(cookie);
        self.key = self.key_on_page();
    }

    fn browser(&self) -> Browser<'_> {
        Browser {
            handle: &self.handle,
            session: self.cookie.as_deref(),
            known: None,
        }
    }

    fn key_on_page(&self) -> String {
        match shown(self.rig.federation.login.view(self.browser())) {
            LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) => key,
            page => panic!("not asked to set an authenticator up: {page:?}"),
        }
    }

    fn with_policy(&mut self, mfa: SecondFactor, mode: Option<JitMode>) {
        self.rig = self.rig.bent(&jit(), |wiki| {
            wiki.identity_providers.push("other".into());
            wiki.mfa = mfa;
            wiki.jit_mode = mode;
        });
    }

    fn through_google(&mut self) -> LoginPage {
        self.handle = self.rig.start();
        let returned = self.rig.away(&self.handle, &of_bob());
        shown(self.rig.back(&self.handle, &returned))
    }

    fn advance_to(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::CodeAfterPassword => {
                self.handle = self.rig.start();
                let login = &self.rig.federation.login;
                shown(login.password(&self.handle, "bob", &Secret::new(RIGHT)));
            }
            Waiting::CodeAfterProvider => {
                self.with_policy(SecondFactor::Totp, None);
                self.through_google();
            }
            Waiting::Enrolment | Waiting::RecoveryCodes => {
                self.with_policy(SecondFactor::Totp, None);
                self.handle = self.rig.start();
                let login = &self.rig.federation.login;
                shown(login.password(&self.handle, "bob", &Secret::new(RIGHT)));
                self.key = self.key_on_page();
                if waiting == Waiting::RecoveryCodes {
                    let code = code(&self.key, self.rig.clock.now());
                    shown(self.rig.federation.login.code(&self.handle, &code));
                }
            }
            Waiting::Questions => {
                self.with_policy(SecondFactor::None, Some(JitMode::Consent));
                self.through_google();
            }
            Waiting::CodeToLink => {
                self.handle = self.rig.start();
                let url = self.rig.federation.login.choose(&self.handle, &"other".into()).unwrap();
                let claims = json!({"sub": "bob-there", "nick": "bob", "email": "bob@example.com"});
                let returned = self.rig.returned(&url, &claims);
                let login = &self.rig.federation.login;
                shown(login.callback(&self.handle, &"other".into(), &returned));
                shown(login.prove(&self.handle, &Secret::new(RIGHT)));
            }
            Waiting::Linking => {
                let (cookie, visitor) = open(&self.rig, &by_password(&self.rig));
                let away = self.rig.federation.account.begin_linking(&visitor, &"other".into());
                let away = away.unwrap_or_else(|error| panic!("{error}"));
                let claims = json!({"sub": "bob-there", "email": "bob@example.com"});
                self.returned = Some(self.rig.returned(&away.to, &claims));
                (self.handle, self.cookie) = (away.handle, Some(cookie));
            }
            Waiting::EnrolmentOnAccountPage => self.begin_on_account_page(),
            Waiting::StepUp => {
                let (cookie, visitor) = open(&self.rig, &by_password(&self.rig));
                self.with_policy(SecondFactor::Totp, None);
                let started = self.rig.federation.login.step_up(request(), &"wiki".into(), &visitor);
                let Ok(StepUp::Begun(started)) = started else {
                    panic!("no step-up")
                };
                (self.handle, self.cookie) = (started.handle, Some(cookie));
                self.key = self.key_on_page();
            }
        }
    }

    /// Takes the step that waits.
    fn go_on(&self, waiting: Waiting) -> Outcome {
        let login = &self.rig.federation.login;
        match waiting {
            Waiting::Questions => login.answer(self.browser(), Answers::default()),
            Waiting::RecoveryCodes => login.read_codes(self.browser()),
            Waiting::Linking => login.callback(self.browser(), &"other".into(), self.returned.as_ref().unwrap()),
            _ => login.code(self.browser(), &code(&self.key, self.rig.clock.now())),
        }
    }

    fn happens(&self, event: Event) {
        let rig = &self.rig;
        match event {
            Event::PasswordChanged => rig.replace(&self.bob, &json!({"userName": "bob", "password": "another horse"})),
            Event::Deactivated => rig.replace(&self.bob, &json!({"userName": "bob", "active": false})),
            Event::Deleted => rig.delete(&self.bob),
            Event::IdentityLocked => {
                let lock = IdentityLock {
                    identity: link_of("google", "sub-bob"),
                    reason: String::new(),
                    at: rig.clock.now(),
                };
                let lock = move |connection: &mut _| Ok(identity_locks::lock(connection, &lock)?);
                rig.database.write::<_, StorageError>(lock).unwrap();
            }
            Event::FactorAdded => rig.set_up_authenticator(&self.bob),
            Event::FactorRemoved => {
                let (_, visitor) = open(rig, &self.current_login());
                rig.federation.account.drop_authenticator(&visitor).unwrap();
            }
            Event::Linked => insert_link(rig, &self.bob, link_of("other", "bob-elsewhere")),
            Event::Unlinked => {
                let (_, visitor) = open(rig, &self.current_login());
                let google = link_of("google", "sub-bob");
                rig.federation.account.unlink(&visitor, &google).unwrap();
            }
            Event::SignedOutEverywhere => {
                let (_, visitor) = open(rig, &self.current_login());
                rig.federation
                    .account
                    .sign_out(&visitor, SessionSelection::All)
                    .unwrap();
            }
            Event::ProviderRemoved => {
                let remover = ProviderRemover::new(Arc::clone(&rig.directory), rig.database.clone());
                remover.begin(&google(), false).unwrap();
            }
            Event::ProviderRemovedAndRestored => {
                let remover = ProviderRemover::new(Arc::clone(&rig.directory), rig.database.clone());
                remover.begin(&google(), false).unwrap();
                remover.restore(&google()).unwrap();
            }
        }
    }

    /// A login in another browser, with all factors.
    fn current_login(&self) -> Authentication {
        let (user, now) = (self.bob.clone(), self.rig.clock.now());
        let current = |connection: &mut _| credential_versions::current(connection, &user);
        Authentication {
            store: "PRIMARY".into(),
            user: user.clone(),
            amr: ["pwd", "otp", "mfa"].map(str::to_owned).to_vec(),
            identity_provider: None,
            at: now,
            authenticated_at: Some(now),
            credentials: self.rig.database.read::<_, StorageError>(current).unwrap(),
            provider_token: None,
        }
    }

    /// The links and the authenticator of the account.
    fn ways_in(&self) -> (usize, Option<Vec<u8>>) {
        let bob = self.bob.clone();
        let read = move |connection: &mut _| {
            let links = links::of_user(connection, &bob)?.len();
            let factor = match factors::attempt(connection, &bob, TOTP, self_time()) {
                Ok(factors::FactorAttempt::Compare(Factor { sealed, .. }, _)) => Some(sealed),
                _ => None,
            };
            Ok((links, factor))
        };
        self.rig.database.write::<_, StorageError>(read).unwrap()
    }
}

/// A time at which no factor is locked.
fn self_time() -> vestibule::domain::Timestamp {
    vestibule::domain::Timestamp(i64::MAX / 2)
}

#[test]
fn every_waiting_step_goes_on_if_nothing_happens() {
    for waiting in WAITING {
        let world = World::at(waiting);
        let step = world.go_on(waiting);
        let goes_on = match &step {
            Ok(LoginStep::Complete(..)) => true,
            Ok(LoginStep::Show(screen)) => {
                matches!(screen.page, LoginPage::SecondFactor(FactorPage::RecoveryCodes(_)))
            }
            Err(_) => false,
        };
        assert!(goes_on, "{waiting:?}: {step:?}");
    }
}

#[test]
fn no_waiting_step_outlives_a_change_of_the_account() {
    for waiting in WAITING {
        for event in EVENTS.into_iter().filter(|event| event.ends(waiting)) {
            let world = World::at(waiting);
            world.happens(event);
            let before = world.ways_in();
            let step = world.go_on(waiting);
            assert!(step.is_err(), "{waiting:?} after {event:?}: {step:?}");
            assert_eq!(
                world.ways_in(),
                before,
                "{waiting:?} after {event:?} changed the account"
            );
        }
    }
}
