//! What may happen next: small events, drawn from a seed. Their numbers choose among what is there at that moment, so
//! that any part of a list of events is a list of events.

use std::fmt;

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
    /// A login cookie is planted in another browser.
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

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.kind, self.choices)
    }
}
