//! The account page and the data that it shows.

use askama::Template;

use crate::domain::Timestamp;
use crate::federation::account::{AccountView, GivenConsent, LinkedIdentity, OpenSession, Owner, ProfileValue};
use crate::federation::jit::purpose::Wording;
use crate::server::login::details::{label, password_rule};
use crate::server::page::{Field, ProviderChoice, rendered};
use crate::server::{language, messages};

/// The prefix of an attribute's form field, before its path.
pub(super) const PREFIX: &str = "attribute:";

/// The account page. Its forms post `csrf` and their fields to `/account/…`.
#[derive(Clone, Debug, Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage {
    csrf: String,
    done: Option<&'static str>,
    problem: Option<(&'static str, &'static str)>,
    username: String,
    is_fresh: bool,
    facts: Vec<ManagedValue>,
    fields: Vec<Field>,
    identities: Vec<LinkedIdentity>,
    providers: Vec<ProviderChoice>,
    has_password: Option<bool>,
    password_rule: String,
    has_authenticator: bool,
    recovery_codes: String,
    consents: Vec<ConsentReceipt>,
    sessions: Vec<OpenSession>,
}

/// An attribute value that the user cannot change here.
#[derive(Clone, Debug)]
struct ManagedValue {
    label: String,
    value: String,
    owner: Option<String>,
}

/// A consent in the user's language.
#[derive(Clone, Debug)]
struct ConsentReceipt {
    purpose: String,
    title: String,
    text: String,
    told: String,
    is_withdrawn: bool,
    kept: Vec<KeptAttribute>,
}

#[derive(Clone, Debug)]
struct KeptAttribute {
    path: String,
    label: String,
    is_optional: bool,
}

impl AccountPage {
    /// Builds the page for an account. The last parameter is the codes of what was done and of what went wrong.
    pub(super) fn new(account: AccountView, csrf: String, (done, problem): (Option<&str>, Option<&str>)) -> Self {
        let is_fresh = account.is_fresh;
        let (own, others): (Vec<ProfileValue>, Vec<ProfileValue>) =
            account.profile.into_iter().partition(|entry| entry.is_own && is_fresh);
        let known = |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        Self {
            csrf,
            done: done
                .filter(known)
                .and_then(|code| messages::find(&format!("account.done.{code}"))),
            problem: problem
                .filter(known)
                .filter(|code| messages::find(&format!("error.{code}.title")).is_some())
                .map(messages::message),
            username: account.username,
            is_fresh,
            facts: others
                .into_iter()
                .filter(|entry| !entry.value.is_empty())
                .map(fact)
                .collect(),
            fields: own.into_iter().map(field).collect(),
            identities: account.identities,
            providers: account
                .providers
                .into_iter()
                .map(|choice| ProviderChoice {
                    name: choice.name.as_str().to_owned(),
                    display_name: choice.display_name,
                })
                .collect(),
            has_password: account.has_password,
            password_rule: password_rule(account.shortest_password),
            has_authenticator: account.has_authenticator,
            recovery_codes: account.recovery_codes.to_string(),
            consents: account.consents.into_iter().map(receipt).collect(),
            sessions: account.sessions,
        }
    }

    /// The page as HTML.
    pub(super) fn render(&self) -> String {
        rendered(self)
    }
}

fn fact(entry: ProfileValue) -> ManagedValue {
    ManagedValue {
        label: label(&entry.path),
        owner: entry.owner.map(|owner| match owner {
            Owner::Person => messages::text("account.by_you").to_owned(),
            Owner::Administrator => messages::text("account.by_administrator").to_owned(),
            Owner::Named(name) => messages::filled("account.by", &[("name", name)]),
        }),
        value: entry.value,
    }
}

fn field(entry: ProfileValue) -> Field {
    Field {
        name: format!("{PREFIX}{}", entry.path),
        label: label(&entry.path),
        value: entry.value,
        invalid: false,
        focus: false,
    }
}

fn receipt(given: GivenConsent) -> ConsentReceipt {
    let tag = language::current().tag();
    let words = |wording: Option<Wording>, key| {
        wording.map_or_else(
            || messages::text(key).to_owned(),
            |wording| wording.in_language(tag).to_owned(),
        )
    };
    let told = match given.withdrawn {
        Some(at) => messages::filled("account.withdrawn", &[("date", day(at))]),
        None => messages::filled(
            "account.agreed",
            &[("date", day(given.at)), ("application", given.application)],
        ),
    };
    ConsentReceipt {
        purpose: given.purpose,
        title: words(given.title, "details.account"),
        text: words(given.text, "details.account_text"),
        told,
        is_withdrawn: given.withdrawn.is_some(),
        kept: given
            .kept
            .into_iter()
            .map(|(path, is_optional)| KeptAttribute {
                label: label(&path),
                path,
                is_optional,
            })
            .collect(),
    }
}

/// Formats a date as people write it, such as 1 December 2026.
fn day(at: Timestamp) -> String {
    let text = at.to_string();
    let mut parts = text[..10].splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (year, month, day) = (part(), part(), part().trim_start_matches('0'));
    let names = messages::text("date.months").split(' ');
    let month = month
        .parse::<usize>()
        .ok()
        .and_then(|month| names.clone().nth(month - 1));
    let values = [("day", day), ("month", month.unwrap_or_default()), ("year", year)];
    messages::filled("date.day", &values)
}

/// Formats a time as people write it, such as 1 December 2026, 11:49 UTC.
fn minute(at: Timestamp) -> String {
    format!("{}, {} UTC", day(at), &at.to_string()[11..16])
}

#[cfg(test)]
pub(in crate::server) mod tests {
    use super::*;
    use crate::domain::Link;
    use crate::federation::login::step::ProviderOption;

    /// The fullest account page, with `name` wherever a text comes from outside.
    pub(in crate::server) fn page(name: &str) -> String {
        let (text, at) = (|| name.to_owned(), Timestamp(0));
        let entry = |path: &str, is_own| ProfileValue {
            path: path.to_owned(),
            value: text(),
            owner: Some(Owner::Named(text())),
            is_own,
        };
        let session = |is_this| OpenSession {
            reference: "reference".to_owned(),
            provider: Some(text()),
            by_two_factors: true,
            since: at,
            until: at,
            is_this,
        };
        let account = AccountView {
            username: text(),
            is_fresh: true,
            profile: vec![entry("title", false), entry("nickName", true)],
            identities: vec![LinkedIdentity {
                link: Link {
                    identity_provider: text().into(),
                    issuer: text(),
                    subject: text(),
                },
                provider: text(),
                since: at,
                last_login: at,
            }],
            providers: vec![ProviderOption {
                name: text().into(),
                display_name: text(),
            }],
            has_password: Some(true),
            shortest_password: 12,
            has_authenticator: true,
            recovery_codes: 3,
            consents: vec![GivenConsent {
                purpose: text(),
                title: Some(Wording::Same(text())),
                text: None,
                at,
                withdrawn: None,
                application: text(),
                kept: vec![("nickName".to_owned(), true)],
            }],
            sessions: vec![session(true), session(false)],
        };
        let told = (Some("profile"), Some("last_way_in"));
        AccountPage::new(account, "token-of-this-form".to_owned(), told).render()
    }

    #[test]
    fn dates_are_written_as_people_write_them() {
        let at = Timestamp(1_796_125_740_000);
        assert_eq!(minute(at), "1 December 2026, 11:49 UTC");
        assert_eq!(day(Timestamp(0)), "1 January 1970");
    }

    #[test]
    fn unknown_codes_show_no_message() {
        let html = page("Alice");
        assert!(html.contains("Your profile is saved.") && html.contains("This is your last way to sign in"));
        let account = |told| {
            let account = AccountView {
                username: "alice".to_owned(),
                is_fresh: false,
                profile: Vec::new(),
                identities: Vec::new(),
                providers: Vec::new(),
                has_password: Some(false),
                shortest_password: 12,
                has_authenticator: false,
                recovery_codes: 0,
                consents: Vec::new(),
                sessions: Vec::new(),
            };
            AccountPage::new(account, "token".to_owned(), told).render()
        };
        for told in ["<b>", "no_such", "../error", ""] {
            assert_eq!(account((Some(told), Some(told))), account((None, None)), "{told}");
        }
    }
}
