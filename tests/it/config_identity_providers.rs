//! Identity providers in the configuration: presets, settings that override them, and mistakes with their dotted keys.
use vestibule::config::{Config, ConfigProblem};
use vestibule::federation::idp::oauth2::OAuth2Rules;
use vestibule::federation::idp::openid::OpenIdRules;
use vestibule::federation::jit::settings::{IdentityProviderSettings, ProviderKind};

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

/// The only identity provider of a configuration with these lines.
fn provider(lines: &str) -> Result<IdentityProviderSettings, Vec<ConfigProblem>> {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:8080\"\n[[userstores]]\nname = \"PRIMARY\"\n\
         [[identity_providers]]\nname = \"p\"\nclient_id = \"us\"\n{lines}\n"
    );
    Config::read(&text, &[]).map(|config| config.identity_providers[0].clone())
}

fn openid(lines: &str) -> (IdentityProviderSettings, OpenIdRules) {
    let provider = provider(lines).unwrap_or_else(|problems| panic!("{problems:#?}"));
    match provider.kind.clone() {
        ProviderKind::Oidc(rules) => (provider, *rules),
        ProviderKind::OAuth2(_) => panic!("not an OpenID provider"),
    }
}

fn oauth2(lines: &str) -> (IdentityProviderSettings, OAuth2Rules) {
    let provider = provider(lines).unwrap_or_else(|problems| panic!("{problems:#?}"));
    match provider.kind.clone() {
        ProviderKind::OAuth2(rules) => (provider, *rules),
        ProviderKind::Oidc(_) => panic!("not a provider of plain OAuth 2.0"),
    }
}

/// The keys of the problems, without the provider's prefix.
fn problems(lines: &str) -> Vec<String> {
    let place = |problem: ConfigProblem| problem.key.trim_start_matches("identity_providers[0].").to_owned();
    provider(lines).err().into_iter().flatten().map(place).collect()
}

#[test]
fn a_preset_needs_little_else() {
    let (google, rules) = openid("preset = \"google\"");
    assert_eq!(google.issuer, "https://accounts.google.com");
    assert_eq!(google.display_name.as_deref(), Some("Google"));
    assert_eq!(rules, OpenIdRules::default());

    let (github, rules) = oauth2("preset = \"github\"");
    assert_eq!(github.scopes, ["read:user", "user:email"]);
    assert_eq!(
        (rules.subject.as_str(), rules.email_list.as_deref()),
        ("id", Some("emails"))
    );
    assert_eq!(rules.calls[0].endpoint.as_str(), "https://api.github.com/user/emails");
    assert!(rules.pkce && rules.secret_in_body && !rules.secret_proof && !github.claims.is_empty());

    let (_, rules) = oauth2("preset = \"facebook\"");
    assert!(rules.secret_proof && rules.verified_claim.is_none() && rules.email_list.is_none());

    let (okta, _) = openid("preset = \"okta\"\ndomain = \"example.okta.com\"");
    assert_eq!(okta.issuer, "https://example.okta.com");

    assert_eq!(problems("preset = \"oidc\""), ["issuer"]);
}

#[test]
fn entra_is_of_one_tenant_or_of_many() {
    let (one, rules) = openid(&format!("preset = \"entra\"\ntenant = \"{TENANT}\""));
    assert_eq!(one.issuer, format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!((rules.discovery_url, rules.verified_claim.as_str()), (None, "xms_edov"));

    let (many, rules) = openid(&format!(
        "preset = \"entra\"\ntenant = \"organizations\"\nallowed_tenants = [\"{TENANT}\"]\nsubject = \"oid\""
    ));
    assert_eq!(many.issuer, "https://login.microsoftonline.com/{tenantid}/v2.0");
    assert!(rules.discovery_url.unwrap().path().starts_with("/organizations/"));
    assert_eq!(
        (rules.allowed_tenants, rules.subject.as_str()),
        (vec![TENANT.to_owned()], "oid")
    );
}

#[test]
fn everything_in_a_preset_can_be_set_by_hand() {
    let (github, rules) = oauth2(
        "preset = \"github\"\ndisplay_name = \"Our GitHub\"\nissuer = \"https://git.corp.example/login/oauth\"\n\
         userinfo_endpoint = \"https://git.corp.example/api/v3/user\"\ncalls = []\npkce = false\nclient_auth = \"basic\"\n\
         claims = [{ from = \"{{ name or login }}\", to = \"displayName\" }]",
    );
    assert_eq!(github.display_name.as_deref(), Some("Our GitHub"));
    assert_eq!(github.claims.len(), 1);
    assert_eq!(rules.userinfo.host_str(), Some("git.corp.example"));
    assert!(!rules.pkce && !rules.secret_in_body && rules.calls.is_empty());
}

#[test]
fn a_wrong_preset_or_parameter_is_told() {
    assert!(problems("preset = \"myspace\"").contains(&"preset".to_owned()));
    assert_eq!(problems("preset = \"google\"\ntenant = \"common\""), ["tenant"]);
    assert!(problems("preset = \"entra\"").contains(&"tenant".to_owned()));
    assert!(problems("preset = \"entra\"\ntenant = \"contoso.example\"").contains(&"tenant".to_owned()));
    assert!(problems("preset = \"okta\"\ndomain = \"https://example.okta.com\"").contains(&"domain".to_owned()));
}

#[test]
fn tenants_are_guids_of_an_issuer_of_many() {
    let many = "issuer = \"https://login.example/{tenantid}/v2.0\"";
    assert_eq!(problems(many), ["discovery_url"]);
    let listed = "preset = \"entra\"\ntenant = \"common\"\nallowed_tenants = [\"contoso\"]";
    assert_eq!(problems(listed), ["allowed_tenants"]);
    let of_one = format!("issuer = \"https://one.example\"\nallowed_tenants = [\"{TENANT}\"]");
    assert_eq!(problems(&of_one), ["allowed_tenants"]);
}

#[test]
fn accounts_of_many_tenants_are_not_adopted() {
    let lines =
        "preset = \"entra\"\ntenant = \"common\"\n[[service_providers]]\nname = \"hr\"\nscim = { adopts = \"p\" }";
    let keys: Vec<String> = provider(lines)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.key)
        .collect();
    assert_eq!(keys, ["service_providers[0].scim.adopts"]);
}

#[test]
fn reassignable_claim_cannot_be_the_subject() {
    for claim in ["email", "login", "Preferred_Username", ""] {
        assert_eq!(
            problems(&format!("preset = \"github\"\nsubject = \"{claim}\"")),
            ["subject"],
            "{claim}"
        );
        assert_eq!(
            problems(&format!("preset = \"google\"\nsubject = \"{claim}\"")),
            ["subject"],
            "{claim}"
        );
    }
}

#[test]
fn each_kind_has_its_own_settings() {
    assert_eq!(problems("preset = \"google\"\nemail_list = \"emails\""), ["email_list"]);
    assert_eq!(
        problems("preset = \"github\"\nhosted_domain = \"corp.example\""),
        ["hosted_domain"]
    );
    let bare = "kind = \"oauth2\"\nissuer = \"https://x.example\"";
    let keys = ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"];
    assert_eq!(problems(bare), keys);
    let call = "preset = \"github\"\ncalls = [{ endpoint = \"not a url\", claim = \"x\" }, { endpint = \"\" }]";
    assert_eq!(problems(call), ["calls[0]", "calls[1]"]);
}

#[test]
fn issuer_without_discovery_needs_all_endpoints() {
    let all = "authorization_endpoint = \"https://x.example/a\"\ntoken_endpoint = \"https://x.example/t\"\n\
               jwks_uri = \"https://x.example/k\"";
    assert_eq!(problems(&format!("preset = \"google\"\n{all}")), Vec::<String>::new());
    let one = "preset = \"google\"\nuserinfo_endpoint = \"https://x.example\"";
    assert_eq!(problems(one), ["authorization_endpoint", "token_endpoint", "jwks_uri"]);
    let both = format!("preset = \"google\"\ndiscovery_url = \"https://x.example/d\"\n{all}");
    assert_eq!(problems(&both), ["discovery_url"]);
}

#[test]
fn parameters_that_a_login_sets_itself_are_refused() {
    let with = |parameter: &str| {
        problems(&format!(
            "preset = \"google\"\nauthorization_parameters = {{ {parameter} }}"
        ))
    };
    assert_eq!(with("acr_values = \"eidas1\""), Vec::<String>::new());
    for parameter in [
        "state = \"x\"",
        "redirect_uri = \"x\"",
        "prompt = \"none\"",
        "max_age = 7",
    ] {
        assert_eq!(with(parameter), ["authorization_parameters"], "{parameter}");
    }
}

#[test]
fn a_template_that_cannot_be_read_is_told_with_its_place() {
    let lines = "preset = \"github\"\nclaims = [{ from = \"name\", to = \"displayName\" }, { from = \"{{ name\", to = \"title\" }]";
    assert_eq!(problems(lines), ["claims[1]"]);
}
