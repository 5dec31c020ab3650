//! Small events, drawn from a seed. Their numbers choose among the pages, accounts and tokens of the moment, so any part of
//! a list of events can be run as well.

use std::fmt;

use super::people::BROWSERS;
use super::random::Random;

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A browser opens an application, which sends it here.
    Open,
    /// A person takes a whole login, as well as they can.
    Login,
    /// A person sends a form of the page before them.
    Submit,
    /// A person signs in at the provider that they were sent to, now or earlier.
    ComeBack,
    /// A callback is followed again.
    RepeatCallback,
    /// A person opens their account page.
    Account,
    /// A person follows a link of the page: back, sign out, the page again.
    Link,
    /// A browser uses a session cookie that it had before.
    OldCookie,
    /// A login cookie is planted in another browser, which is lured to where that login was sent.
    PlantCookie,
    /// The next answer to a browser is lost.
    LoseAnswer,
    /// An application uses a refresh token.
    Refresh,
    /// An application asks for the claims, or a person for their own resource.
    UseToken,
    /// An application redeems a code late.
    Redeem,
    /// The HR system creates a user.
    HrCreate,
    /// The HR system changes a user.
    HrChange,
    /// The payroll system, which is no trusted source, creates or changes a user.
    Payroll,
    /// An administrator does something.
    Administer,
    /// A person's claims at a provider change.
    Claims,
    /// A provider goes down or up.
    Provider,
    /// Somebody learns the password of another person.
    Leak,
    /// Time passes.
    Wait,
    /// The server does what it does from time to time.
    Sweep,
    /// Writes to a table fail from now on, or work again.
    Fault,
    /// A process starts again.
    Restart,
}

/// How often each kind is drawn.
const WEIGHTS: [(Kind, u64); 24] = [
    (Kind::Open, 12),
    (Kind::Login, 16),
    (Kind::Submit, 40),
    (Kind::ComeBack, 22),
    (Kind::RepeatCallback, 2),
    (Kind::Account, 10),
    (Kind::Link, 4),
    (Kind::OldCookie, 2),
    (Kind::PlantCookie, 2),
    (Kind::LoseAnswer, 2),
    (Kind::Refresh, 5),
    (Kind::UseToken, 4),
    (Kind::Redeem, 3),
    (Kind::HrCreate, 5),
    (Kind::HrChange, 7),
    (Kind::Payroll, 4),
    (Kind::Administer, 8),
    (Kind::Claims, 8),
    (Kind::Provider, 1),
    (Kind::Leak, 1),
    (Kind::Wait, 8),
    (Kind::Sweep, 3),
    (Kind::Fault, 2),
    (Kind::Restart, 1),
];

/// An event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// Choose the browser or person, and what they do.
    pub(crate) choices: [u8; 5],
}

impl Event {
    /// Draws an event.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total);
        let mut kind = Kind::Wait;
        for (known, weight) in WEIGHTS {
            if at < weight {
                kind = known;
                break;
            }
            at -= weight;
        }
        Self {
            kind,
            choices: std::array::from_fn(|_| random.byte()),
        }
    }
}

/// A sequence of events that belong together. Single events would rarely reach the same states.
#[derive(Clone, Copy)]
enum Story {
    /// The HR system gives a person a password, and the person sets an authenticator up.
    Authenticator,
    /// A person who has an account by password comes through a provider too.
    SecondWay,
    /// A provider says something about groups, then nothing any more.
    Groups,
    /// A person goes from one application to the next.
    Tour,
    /// Something happens to an account while a login is under way.
    Meanwhile,
    /// A person agrees to less than everything, or takes it back.
    Consent,
    /// A person has tokens, then something ends.
    Tokens,
    /// An HR system switches a person off and on.
    Leaver,
    /// The HR system says that an account is another person's, while its person is inside.
    Handover,
    /// The attacker begins to link an identity, and lures somebody else into the end of it.
    Lure,
}

const STORIES: [Story; 10] = [
    Story::Authenticator,
    Story::SecondWay,
    Story::Groups,
    Story::Tour,
    Story::Meanwhile,
    Story::Consent,
    Story::Tokens,
    Story::Leaver,
    Story::Handover,
    Story::Lure,
];

/// With the number of a person added: chooses an account of that person.
pub(crate) const OF_PERSON: u8 = 250;

/// The application asks for a login although there is a session.
const AGAIN: u8 = 0;

/// Draws what people do one after the other.
pub(crate) fn story(random: &mut Random) -> Vec<Event> {
    let browser = random.byte() % 7;
    let teller = Teller {
        browser,
        person: u8::try_from(BROWSERS[usize::from(browser)].0).unwrap_or_default(),
        process: random.byte(),
        one: random.byte(),
        other: random.byte(),
    };
    match random.pick(&STORIES) {
        story @ (Story::Meanwhile | Story::Tokens | Story::Leaver | Story::Handover | Story::Lure) => {
            teller.tell_an_end(story)
        }
        story => teller.tell(story),
    }
}

/// The person of a story, and the choices in it.
struct Teller {
    browser: u8,
    person: u8,
    process: u8,
    one: u8,
    other: u8,
}

impl Teller {
    fn event(&self, kind: Kind, [one, two, three, four]: [u8; 4]) -> Event {
        Event {
            kind,
            choices: [one, two, three, four, self.process],
        }
    }

    /// The person acts in their browser.
    fn act(&self, kind: Kind, [one, two, three]: [u8; 3]) -> Event {
        self.event(kind, [self.browser, one, two, three])
    }

    /// Half a minute passes: an authenticator shows another code.
    fn wait(&self) -> Event {
        self.event(Kind::Wait, [0, 1, 0, 0])
    }

    /// The HR system creates the person, with a password.
    fn hired(&self) -> Event {
        self.event(Kind::HrCreate, [self.person, 0, 0, 0])
    }

    fn by_password(&self) -> Event {
        self.act(Kind::Login, [0, AGAIN, 8])
    }

    fn by_provider(&self, application: u8) -> Event {
        self.act(Kind::Login, [application, AGAIN, 17 + 8 * (self.other % 2)])
    }

    fn authenticator(&self) -> Event {
        self.act(Kind::Account, [4, 2, 1])
    }

    fn tell(&self, story: Story) -> Vec<Event> {
        let mut events = vec![self.hired(), self.by_password(), self.authenticator(), self.wait()];
        match story {
            Story::SecondWay => events.extend([self.by_provider(self.one % 4), self.wait()]),
            Story::Groups => {
                let claims = |how| self.event(Kind::Claims, [self.person, 1, how, 0]);
                let through_okta = self.act(Kind::Login, [0, AGAIN, 25]);
                let silent = claims(3 + self.other % 3);
                events = vec![claims(self.one % 2), through_okta, silent, through_okta, claims(15)];
            }
            Story::Tour => {
                events = vec![self.by_provider(self.one % 4)];
                events.extend((0..4).map(|number| self.act(Kind::Open, [number, 7, 0])));
            }
            Story::Consent => {
                let agreed = 17 + 8 * (self.other % 2) + 16 * (self.one % 8);
                events = vec![
                    self.act(Kind::Login, [2, AGAIN, agreed]),
                    self.act(Kind::Account, [5, 2, self.one]),
                    self.by_provider(2),
                ];
            }
            // The second login comes while the authenticator still shows the code of the first.
            _ => events.extend([self.by_password(), self.by_password()]),
        }
        events
    }

    /// The HR system corrects the subject of an account while its person is inside.
    fn handover(&self) -> Vec<Event> {
        let (one, other, theirs) = (self.one, self.other, OF_PERSON + self.person);
        let through_okta = self.act(Kind::Login, [one % 4, AGAIN, 25]);
        let open = self.act(Kind::Open, [other, 7, 0]);
        let corrected = self.event(Kind::HrChange, [theirs, 14, other, 0]);
        let uses = [Kind::Refresh, Kind::UseToken].map(|kind| self.event(kind, [0, one, 0, 0]));
        let mut events = vec![self.hired(), self.by_password(), through_okta, open, corrected];
        events.extend(uses);
        events.extend([
            self.act(Kind::Submit, [one, 1, other]),
            self.by_password(),
            through_okta,
        ]);
        events
    }

    fn tell_an_end(&self, story: Story) -> Vec<Event> {
        let (one, other) = (self.one, self.other);
        let theirs = OF_PERSON + self.person;
        let password = self.event(Kind::HrChange, [theirs, 8, 0, 0]);
        let administrator = self.event(Kind::Administer, [theirs, one / 4, other, 0]);
        match story {
            Story::Meanwhile => {
                let elsewhere = (self.browser + 1) % 7;
                let change = match one % 4 {
                    0 => password,
                    1 => administrator,
                    2 => self.event(Kind::HrChange, [OF_PERSON + self.person, one / 4, other, 0]),
                    _ => self.event(Kind::Account, [elsewhere, one / 4, 2, other]),
                };
                let submit = self.act(Kind::Submit, [one, 1, other]);
                let open = self.act(Kind::Open, [other, 7, 0]);
                vec![open, submit, submit, change, submit, submit]
            }
            Story::Tokens => {
                let end = match one % 4 {
                    0 => self.act(Kind::Account, [6, 1, other]),
                    1 => self.act(Kind::Account, [3, 1, other]),
                    2 => password,
                    _ => administrator,
                };
                let uses = [Kind::Refresh, Kind::UseToken].map(|kind| self.event(kind, [0, one, 0, 0]));
                let mut events = vec![self.by_password(), self.by_provider(one % 4), end];
                events.extend(uses);
                events
            }
            Story::Handover => self.handover(),
            Story::Lure => {
                let eve = 5 + one % 2;
                vec![
                    self.event(Kind::Login, [eve, 0, AGAIN, 17 + 8 * (other % 2)]),
                    self.event(Kind::Account, [eve, 1, 1, one]),
                    self.act(Kind::PlantCookie, [eve, 0, 0]),
                    self.act(Kind::ComeBack, [1, 1, 0]),
                ]
            }
            _ => {
                let through_okta = self.act(Kind::Login, [0, AGAIN, 25]);
                let mut events = vec![through_okta];
                if one % 2 == 0 {
                    events.push(self.hired());
                }
                events.extend([
                    self.event(Kind::Wait, [0, 15, 0, 0]),
                    self.event(Kind::Sweep, [0, 0, 0, 0]),
                    self.event(Kind::HrChange, [OF_PERSON + self.person, other % 6, 0, 0]),
                    through_okta,
                    self.event(Kind::Payroll, [self.person, 0, 0, 0]),
                ]);
                events
            }
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.kind, self.choices)
    }
}
