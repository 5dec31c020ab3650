//! The people of the simulation, and what each of them knows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::provider::subject;

/// A person, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Person(pub(crate) usize);

/// Their names. The last one wants into the accounts of the others.
const NAMES: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

/// The person who wants into the accounts of the others.
pub(crate) const EVE: Person = Person(4);

/// The person at each browser. Some people have two.
pub(crate) const BROWSERS: [Person; 7] = [Person(0), Person(0), Person(1), Person(2), Person(3), EVE, EVE];

impl Person {
    /// Everybody.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    /// The person of a number, whatever its size.
    pub(crate) fn nth(number: u8) -> Self {
        Self(usize::from(number) % NAMES.len())
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[self.0]
    }

    /// The address whose mail the person reads.
    pub(crate) fn address(self) -> String {
        let domain = if self == EVE { "evil.example" } else { "corp.example" };
        format!("{}@{domain}", self.name())
    }

    /// The claims of the person at a provider, before anything happens.
    pub(crate) fn claims(self, provider: usize) -> Map<String, Value> {
        let claims = json!({
            "sub": subject(provider, self),
            "nick": self.name(),
            "email": self.address(),
            "email_verified": true,
            "given_name": self.name(),
            "phone_number": format!("+49 30 {}", self.0),
            "title": "Engineer",
            "nickname": format!("little {}", self.name()),
            "region": "eu",
            "groups": ["eng"],
        });
        claims.as_object().expect("an object").clone()
    }
}

/// The passwords, keys and codes that a person knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// Passwords, by user name, newest last.
    pub(crate) passwords: BTreeMap<String, Vec<String>>,
    /// The keys in their authenticator app, newest last.
    pub(crate) keys: Vec<String>,
    /// Unused recovery codes that they wrote down.
    pub(crate) recovery_codes: Vec<String>,
    /// Number of passwords that they made up so far.
    made_up: usize,
}

impl Knowledge {
    /// Makes up a password.
    pub(crate) fn new_password(&mut self, person: Person) -> String {
        self.made_up += 1;
        format!("{} rides horse number {}", person.name(), self.made_up)
    }

    /// Remembers a password for a user name.
    pub(crate) fn learn(&mut self, username: &str, password: &str) {
        self.passwords
            .entry(username.to_lowercase())
            .or_default()
            .push(password.to_owned());
    }

    /// The newest password for a user name; a guess if they know none.
    pub(crate) fn password(&self, username: &str) -> String {
        let known = self.passwords.get(&username.to_lowercase()).and_then(|all| all.last());
        known.cloned().unwrap_or_else(|| "a guess of somebody".to_owned())
    }
}
