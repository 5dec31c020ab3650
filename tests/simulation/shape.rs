//! The shape of a world: the settings that a seed draws.

use std::path::Path;

use vestibule::domain::ServiceProviderName;

use super::random::Random;

/// An application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    pub(crate) providers: &'static [&'static str],
    pub(crate) local_login: bool,
    pub(crate) store: Option<&'static str>,
    pub(crate) mode: &'static str,
    pub(crate) purposes: &'static [&'static str],
    pub(crate) mfa: &'static str,
}

/// The applications.
pub(crate) const APPLICATIONS: [Application; 4] = [
    Application {
        name: "wiki",
        providers: &["google", "okta"],
        local_login: true,
        store: None,
        mode: "silent",
        purposes: &[],
        mfa: "none",
    },
    Application {
        name: "crm",
        providers: &["okta"],
        local_login: true,
        store: Some("CORP"),
        mode: "silent",
        purposes: &[],
        mfa: "totp",
    },
    Application {
        name: "shop",
        providers: &["google", "okta"],
        local_login: false,
        store: None,
        mode: "consent",
        purposes: &["marketing"],
        mfa: "none",
    },
    Application {
        name: "bank",
        providers: &["google"],
        local_login: true,
        store: Some("PRIMARY"),
        mode: "silent",
        purposes: &[],
        mfa: "any",
    },
];

/// The settings that differ between worlds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The mode of google.
    pub(crate) google_mode: &'static str,
    /// The second factor of google.
    pub(crate) google_mfa: &'static str,
    /// The rule of google for a user name that is taken.
    pub(crate) on_conflict: &'static str,
    /// The mode of okta.
    pub(crate) okta_mode: &'static str,
    /// The second factor of okta.
    pub(crate) okta_mfa: &'static str,
    /// Whether first logins through okta wait for an approval.
    pub(crate) approval: &'static str,
    /// The rule of google for later logins.
    pub(crate) sync: &'static str,
    /// Whether okta ignores that it should ask again for a password.
    pub(crate) okta_is_stubborn: bool,
    /// Whether people may link identities and set passwords.
    pub(crate) may_change_ways: bool,
}

/// The SCIM clients.
const CLIENTS: &str = r#"
[[service_providers]]
name = "hr"
inbound_userstore = "PRIMARY"
scim = { adopts = "okta" }

[[service_providers]]
name = "payroll"
inbound_userstore = "PRIMARY"
scim = { adopts = "google", adopts_by = "userName" }
"#;

/// The modes, least strict first.
const MODES: [&str; 4] = ["silent", "consent", "password_consent", "username_password_consent"];

impl Shape {
    /// Draws a shape.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            google_mode: random.pick(&MODES),
            google_mfa: random.pick(&["none", "none", "totp", "email_otp"]),
            on_conflict: random.pick(&["ask", "ask", "link_verified_email", "refuse"]),
            okta_mode: random.pick(&["silent", "silent", "consent", "off"]),
            okta_mfa: random.pick(&["none", "none", "none", "totp"]),
            approval: random.pick(&["none", "none", "always"]),
            sync: random.pick(&["override", "preserve_local"]),
            okta_is_stubborn: random.below(3) == 0,
            may_change_ways: random.below(5) > 0,
        }
    }

    /// The mode and the factor of a provider.
    pub(crate) fn provider(&self, name: &str) -> (&'static str, &'static str) {
        match name {
            "google" => (self.google_mode, self.google_mfa),
            _ => (self.okta_mode, self.okta_mfa),
        }
    }

    /// Whether a login through a provider to an application asks for consent.
    pub(crate) fn asks_consent(&self, application: &Application, provider: &str) -> bool {
        let rank = |mode: &str| MODES.iter().position(|known| *known == mode).unwrap_or(MODES.len());
        let mode = rank(application.mode).max(rank(self.provider(provider).0));
        (1..MODES.len()).contains(&mode)
    }

    /// The names that administrators use.
    pub(crate) fn service_providers() -> Vec<ServiceProviderName> {
        let names = APPLICATIONS.iter().map(|application| application.name);
        names.chain(["hr", "payroll"]).map(Into::into).collect()
    }

    /// The configuration file.
    pub(crate) fn configuration(&self, folder: &Path, mail_port: u16) -> String {
        let folder = folder.display();
        let Self {
            google_mode,
            google_mfa,
            on_conflict,
            okta_mode,
            okta_mfa,
            approval,
            sync,
            may_change_ways,
            okta_is_stubborn: _,
        } = self;
        let mut text = format!(
            r#"
server = {{ listen = "127.0.0.1:1", public_url = "https://id.example" }}
database.url = "sqlite:{folder}/vestibule.db"
security.master_key = {{ file = "{folder}/master.key" }}
userstores = [{{ name = "PRIMARY", kind = "sql" }}, {{ name = "CORP", kind = "sql" }}]
account = {{ linking = {may_change_ways}, passwords = {may_change_ways} }}
mail = {{ host = "127.0.0.1", port = {mail_port}, encryption = "none", from = "login@id.example", timeout = "2s" }}
purposes = [
  {{ name = "profile", title = "Profile", text = "t", attributes = [{{ path = "name.givenName" }}, {{ path = "nickName", optional = true }}, {{ path = 'emails[type eq "work"].value' }}] }},
  {{ name = "contact", title = "Contact", text = "t", attributes = [{{ path = 'phoneNumbers[type eq "work"].value', optional = true }}] }},
  {{ name = "marketing", title = "Marketing", text = "t", attributes = [{{ path = "nickName", optional = true }}] }},
]

[[identity_providers]]
name = "google"
issuer = "https://google.example"
client_id = "us"
mfa = "{google_mfa}"
trusted_email_domains = ["corp.example", "evil.example"]
jit = {{ mode = "{google_mode}", username = {{ claim = "nick" }}, on_conflict = "{on_conflict}", sync = "{sync}", purposes = ["profile", "contact"] }}
claims = [
  {{ from = "given_name", to = "name.givenName" }},
  {{ from = "email", to = 'emails[type eq "work"].value' }},
  {{ from = "phone_number", to = 'phoneNumbers[type eq "work"].value' }},
  {{ from = "title", to = "title" }},
  {{ from = "nickname", to = "nickName", mode = "suggest" }},
]

[[identity_providers]]
name = "okta"
issuer = "https://okta.example"
client_id = "us"
mfa = "{okta_mfa}"
[identity_providers.jit]
mode = "{okta_mode}"
userstore = {{ claim = "region", stores = {{ eu = "PRIMARY", corp = "CORP" }} }}
username = {{ claim = "nick" }}
approval = "{approval}"
lease_days = 30
lease_grace_days = 10
purposes = ["profile"]
groups = {{ claim = "groups", unmapped = "create" }}

"#
        );
        text += CLIENTS;
        for application in &APPLICATIONS {
            text += &application.configuration();
        }
        text
    }
}

impl Application {
    /// The secret of its client.
    pub(crate) fn secret(&self) -> String {
        format!("secret-of-{}-0123456789abcdef", self.name)
    }

    fn configuration(&self) -> String {
        let Self {
            name,
            providers,
            local_login,
            store,
            mode,
            purposes,
            mfa,
        } = self;
        let store = store.map_or(String::new(), |store| format!("inbound_userstore = \"{store}\""));
        format!(
            r#"
[[service_providers]]
name = "{name}"
client_id = "{name}"
client_secret = "{}"
redirect_uris = ["https://{name}.example/callback"]
post_logout_redirect_uris = ["https://{name}.example/bye"]
id_token_alg = "ES256"
identity_providers = {providers:?}
local_login = {local_login}
jit_mode = "{mode}"
purposes = {purposes:?}
mfa = "{mfa}"
{store}
"#,
            self.secret()
        )
    }
}
