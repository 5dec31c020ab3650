//! Presets for well-known identity providers, in the terms of the configuration.

use toml::Table;
use url::Url;

use crate::federation::idp::tenant::is_guid;

/// Settings that apply where the configuration sets nothing.
pub(crate) struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The setting that some of its values are built from.
    pub parameter: Option<&'static str>,
    /// Error text about the allowed values of that setting.
    pub explained: &'static str,
    /// The settings; `{parameter}` is replaced.
    settings: &'static str,
    /// Settings that are added or replaced if the parameter is a GUID.
    of_one_tenant: &'static str,
}

/// All presets.
pub(crate) const PRESETS: [Preset; 6] = [
    Preset::plain("google", GOOGLE),
    Preset::plain("github", GITHUB),
    Preset::plain("facebook", FACEBOOK),
    Preset {
        name: "entra",
        parameter: Some("tenant"),
        explained: "must be common, organizations or the tenant's id, such as 8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
        settings: ENTRA,
        of_one_tenant: ENTRA_OF_ONE_TENANT,
    },
    Preset {
        name: "okta",
        parameter: Some("domain"),
        explained: "must be the organisation's host, such as example.okta.com",
        settings: OKTA,
        of_one_tenant: "",
    },
    Preset::plain("oidc", "kind = \"oidc\""),
];

/// <https://accounts.google.com/.well-known/openid-configuration>
const GOOGLE: &str = r#"
kind = "oidc"
display_name = "Google"
issuer = "https://accounts.google.com"
scopes = ["openid", "email", "profile"]
"#;

/// The numeric `id` is stable; the name `login` can change and later belong to another person. The address in `/user`
/// is only the public one, so the list of addresses decides.
const GITHUB: &str = r#"
kind = "oauth2"
display_name = "GitHub"
issuer = "https://github.com/login/oauth"
authorization_endpoint = "https://github.com/login/oauth/authorize"
token_endpoint = "https://github.com/login/oauth/access_token"
userinfo_endpoint = "https://api.github.com/user"
calls = [{ endpoint = "https://api.github.com/user/emails", claim = "emails" }]
email_list = "emails"
subject = "id"
scopes = ["read:user", "user:email"]
client_auth = "post"
claims = [
  { from = "name", to = "displayName" },
  { from = "name", to = "name.formatted" },
  { from = "login", to = "nickName" },
  { from = "email", to = 'emails[type eq "work"].value' },
  { from = "avatar_url", to = 'photos[type eq "photo"].value' },
  { from = "html_url", to = "profileUrl" },
]
"#;

/// `id` is stable within one app. No claim says that an address is verified.
const FACEBOOK: &str = r#"
kind = "oauth2"
display_name = "Facebook"
issuer = "https://www.facebook.com"
authorization_endpoint = "https://www.facebook.com/v23.0/dialog/oauth"
token_endpoint = "https://graph.facebook.com/v23.0/oauth/access_token"
userinfo_endpoint = "https://graph.facebook.com/v23.0/me?fields=id,name,first_name,last_name,email,picture"
subject = "id"
scopes = ["public_profile", "email"]
client_auth = "post"
secret_proof = true
claims = [
  { from = "name", to = "displayName" },
  { from = "name", to = "name.formatted" },
  { from = "first_name", to = "name.givenName" },
  { from = "last_name", to = "name.familyName" },
  { from = "email", to = 'emails[type eq "work"].value' },
  { from = "/picture/data/url", to = 'photos[type eq "photo"].value' },
]
"#;

/// For many tenants: `tid` in the ID token determines the issuer. An address counts as verified only if the optional
/// claim `xms_edov` says so, since anyone can write any address into their own directory.
const ENTRA: &str = r#"
kind = "oidc"
display_name = "Microsoft"
issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
discovery_url = "https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration"
scopes = ["openid", "email", "profile"]
verified_claim = "xms_edov"
"#;

const ENTRA_OF_ONE_TENANT: &str = r#"
issuer = "https://login.microsoftonline.com/{tenant}/v2.0"
"#;

/// The organisation's own authorization server; set `issuer` for another one.
const OKTA: &str = r#"
kind = "oidc"
display_name = "Okta"
issuer = "https://{domain}"
scopes = ["openid", "email", "profile"]
"#;

impl Preset {
    const fn plain(name: &'static str, settings: &'static str) -> Self {
        Self {
            name,
            parameter: None,
            explained: "",
            settings,
            of_one_tenant: "",
        }
    }

    /// Returns the preset with a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Whether the parameter accepts this value.
    pub(crate) fn takes(&self, value: &str) -> bool {
        match self.parameter {
            Some("tenant") => is_guid(value) || ["common", "organizations"].contains(&value),
            Some(_) => Url::parse(&format!("https://{value}")).is_ok_and(|url| {
                let host = url.host_str().unwrap_or_default();
                host == value || url.port().is_some_and(|port| format!("{host}:{port}") == value)
            }),
            None => false,
        }
    }

    /// Returns the settings with the value of the parameter filled in. Without a value, settings that need one are left
    /// out.
    pub(crate) fn settings(&self, value: Option<&str>) -> Table {
        let place = format!("{{{}}}", self.parameter.unwrap_or_default());
        let one_tenant = value.is_some_and(is_guid) && !self.of_one_tenant.is_empty();
        let mut settings = table(self.settings);
        if one_tenant {
            // The issuer of a single tenant determines the URL of its metadata.
            settings.remove("discovery_url");
            settings.extend(table(self.of_one_tenant));
        }
        settings.retain(|_, setting| {
            let toml::Value::String(text) = setting else {
                return true;
            };
            match value {
                Some(value) => *text = text.replace(&place, value),
                None if text.contains(&place) => return false,
                None => {}
            }
            true
        });
        settings
    }
}

fn table(text: &str) -> Table {
    text.parse().expect("a test reads every preset")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

    fn text(settings: &Table, key: &str) -> Option<String> {
        settings.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    }

    #[test]
    fn every_preset_can_be_read_and_says_its_kind() {
        for preset in &PRESETS {
            assert!(preset.settings(Some(TENANT)).contains_key("kind"), "{}", preset.name);
            assert!(preset.settings(None).contains_key("kind"), "{}", preset.name);
        }
    }

    #[test]
    fn many_tenants_share_a_template_and_one_has_its_own_issuer() {
        let entra = Preset::named("entra").unwrap();
        let many = entra.settings(Some("organizations"));
        let issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let place = "https://login.microsoftonline.com/organizations/v2.0/.well-known/openid-configuration";
        assert_eq!(text(&many, "issuer").as_deref(), Some(issuer));
        assert_eq!(text(&many, "discovery_url").as_deref(), Some(place));
        let one = entra.settings(Some(TENANT));
        let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
        assert_eq!(
            (text(&one, "issuer"), text(&one, "discovery_url")),
            (Some(issuer), None)
        );
    }

    #[test]
    fn preset_parameters_are_validated() {
        let (entra, okta) = (Preset::named("entra").unwrap(), Preset::named("okta").unwrap());
        assert!(entra.takes("common") && entra.takes(TENANT));
        assert!(!entra.takes("contoso.example") && !entra.takes("../x"));
        assert!(okta.takes("example.okta.com") && okta.takes("localhost:8443"));
        for bad in ["https://example.okta.com", "a.example/x", "a@b", "", "a b"] {
            assert!(!okta.takes(bad), "{bad}");
        }
    }
}
