//! Reads `[[identity_providers]]`: the settings of a preset, overridden by explicit ones.

use std::collections::BTreeMap;

use url::Url;

use super::reader::TableReader;
use super::sections::{Environment, check_slug};
use crate::federation::idp::metadata::Endpoints;
use crate::federation::idp::oauth2::OAuth2Rules;
use crate::federation::idp::openid::OpenIdRules;
use crate::federation::idp::preset::{PRESETS, Preset};
use crate::federation::idp::provider::RequestOptions;
use crate::federation::idp::tenant;
use crate::federation::jit::policy::JitPolicy;
use crate::federation::jit::settings::{IdentityProviderSettings, ProviderKind};

/// Claims that can change or be reassigned to another person, so that they must not identify a person.
const UNSTABLE: [&str; 9] = [
    "email",
    "preferred_username",
    "upn",
    "unique_name",
    "login",
    "username",
    "nickname",
    "name",
    "phone_number",
];

pub(super) fn identity_provider(mut r: TableReader, environment: Environment<'_>) -> IdentityProviderSettings {
    let name = r.needed("name");
    check_slug(&r, &name);
    fill_from_preset(&mut r);
    let is_oauth2 = r.word("kind", &[("oidc", false), ("oauth2", true)]);
    let issuer = r.url("issuer");
    check_issuer(&r, &issuer, is_oauth2);
    let kind = if is_oauth2 {
        oauth2(&mut r)
    } else {
        ProviderKind::Oidc(Box::new(openid(&mut r, &issuer)))
    };
    let provider = IdentityProviderSettings {
        name: name.into(),
        display_name: r.text("display_name"),
        issuer,
        client_id: r.needed("client_id"),
        client_secret: r.secret("client_secret", environment),
        scopes: scopes(&mut r, is_oauth2),
        allow_private_network: r.flag("allow_private_network", false),
        request: request(&mut r),
        logout: logout(&mut r, is_oauth2),
        trusted_email_domains: r.texts("trusted_email_domains"),
        jit: jit(r.table("jit")),
        mfa: r.parsed("mfa"),
        claims: r.list("claims"),
        kind,
    };
    r.done();
    provider
}

/// Checks what is often written in place of an issuer. Nothing is fetched from that of an OAuth 2.0 provider.
fn check_issuer(r: &TableReader, issuer: &str, is_oauth2: bool) {
    const DOCUMENT: &str = "/.well-known/openid-configuration";
    if let Some(bare) = issuer.strip_suffix(DOCUMENT) {
        r.problem(
            "issuer",
            format!("is the address of the discovery document; the issuer is what stands before {DOCUMENT}: {bare}"),
        );
    }
    let is_private = r.is_set("allow_private_network");
    if issuer.starts_with("http://") && !is_oauth2 && !is_private {
        r.problem(
            "issuer",
            "must begin with https://; only a provider in a private network, with allow_private_network = true, may do without",
        );
    }
}

/// Adds the settings of a preset. Explicit settings take precedence.
fn fill_from_preset(r: &mut TableReader) {
    let Some(name) = r.text("preset") else {
        return;
    };
    let Some(preset) = Preset::named(&name) else {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        return r.problem("preset", format!("must be one of {}", names.join(", ")));
    };
    let place = preset.parameter.and_then(|parameter| r.text(parameter));
    match (preset.parameter, &place) {
        (Some(parameter), None) if !r.has("issuer") => {
            r.problem(parameter, format!("is missing; {}", preset.explained));
        }
        (Some(parameter), Some(place)) if !preset.takes(place) => r.problem(parameter, preset.explained),
        _ => {}
    }
    r.fill(preset.settings(place.as_deref()));
}

/// The parameters of its authorization requests.
fn request(r: &mut TableReader) -> RequestOptions {
    let parameters: BTreeMap<String, String> = r.parsed("authorization_parameters");
    let reserved = RequestOptions::RESERVED
        .iter()
        .find(|name| parameters.contains_key(**name));
    if let Some(name) = reserved {
        let message = format!("must not set {name}, which every login sets itself");
        r.problem("authorization_parameters", message);
    }
    if parameters
        .get("prompt")
        .is_some_and(|prompt| prompt.split(' ').any(|word| word == "none"))
    {
        let message = "must not set prompt = \"none\": people could not sign in there";
        r.problem("authorization_parameters", message);
    }
    RequestOptions {
        parameters,
        form_post: r.word("response_mode", &[("query", false), ("form_post", true)]),
    }
}

fn logout(r: &mut TableReader, is_oauth2: bool) -> bool {
    let logout = r.flag("logout", false);
    if logout && is_oauth2 {
        r.problem(
            "logout",
            "must not be set for OAuth 2.0, which has no logout: only OpenID Connect has",
        );
    }
    logout
}

/// The endpoints of an OpenID provider without metadata.
fn endpoints(r: &mut TableReader) -> Option<Box<Endpoints>> {
    const NEEDED: [&str; 3] = ["authorization_endpoint", "token_endpoint", "jwks_uri"];
    let missing: Vec<&str> = NEEDED.into_iter().filter(|key| !r.has(key)).collect();
    let urls = NEEDED.map(|key| r.optional_url(key));
    let userinfo = r.optional_url("userinfo_endpoint");
    let end_session = r.optional_url("end_session_endpoint");
    if missing.len() == NEEDED.len() && userinfo.is_none() && end_session.is_none() {
        return None;
    }
    for key in missing {
        r.problem(
            key,
            "is missing; an issuer without discovery needs authorization_endpoint, token_endpoint and jwks_uri",
        );
    }
    let [Some(authorization), Some(token), Some(keys)] = urls else {
        return None;
    };
    Some(Box::new(Endpoints {
        authorization,
        token,
        userinfo,
        keys,
        end_session,
    }))
}

fn openid(r: &mut TableReader, issuer: &str) -> OpenIdRules {
    let usual = OpenIdRules::default();
    let rules = OpenIdRules {
        discovery_url: r.optional_url("discovery_url"),
        endpoints: endpoints(r),
        secret_in_body: r.word(
            "client_auth",
            &[("discovered", None), ("basic", Some(false)), ("post", Some(true))],
        ),
        allowed_tenants: r.texts("allowed_tenants"),
        hosted_domain: r.text("hosted_domain"),
        subject: subject(r, usual.subject),
        verified_claim: r.text("verified_claim").unwrap_or(usual.verified_claim),
        groups_endpoint: r.optional_url("groups_endpoint"),
    };
    if rules.endpoints.is_some() && rules.discovery_url.is_some() {
        r.problem(
            "discovery_url",
            "must not be set together with authorization_endpoint: the endpoints come from one of them",
        );
    }
    let of_many = issuer.contains(tenant::PLACEHOLDER);
    if of_many && rules.discovery_url.is_none() && rules.endpoints.is_none() {
        r.problem("discovery_url", "is missing, but required with a multi-tenant issuer");
    }
    if !of_many && !rules.allowed_tenants.is_empty() {
        r.problem(
            "allowed_tenants",
            "needs a multi-tenant issuer, but the issuer is of one tenant",
        );
    }
    if !rules.allowed_tenants.iter().all(|tenant| tenant::is_guid(tenant)) {
        r.problem(
            "allowed_tenants",
            "must be a list of tenant ids, such as 8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
        );
    }
    rules
}

fn oauth2(r: &mut TableReader) -> ProviderKind {
    // A missing issuer is already reported, and a configuration with problems is not used.
    let nowhere = || Url::parse("https://invalid./").ok();
    let endpoint = |r: &mut TableReader, key: &str| Url::parse(&r.url(key)).ok().or_else(nowhere);
    let (authorization, token, userinfo) = (
        endpoint(r, "authorization_endpoint"),
        endpoint(r, "token_endpoint"),
        endpoint(r, "userinfo_endpoint"),
    );
    let (Some(authorization), Some(token), Some(userinfo)) = (authorization, token, userinfo) else {
        return ProviderKind::default();
    };
    ProviderKind::OAuth2(Box::new(OAuth2Rules {
        authorization,
        token,
        userinfo,
        subject: subject(r, "sub".to_owned()),
        verified_claim: r.text("verified_claim"),
        calls: r.list("calls"),
        email_list: r.text("email_list"),
        pkce: r.flag("pkce", true),
        secret_in_body: r.word("client_auth", &[("basic", false), ("post", true)]),
        secret_proof: r.flag("secret_proof", false),
    }))
}

fn subject(r: &mut TableReader, usual: String) -> String {
    let subject = r.text("subject").unwrap_or(usual);
    if subject.is_empty() || UNSTABLE.iter().any(|claim| subject.eq_ignore_ascii_case(claim)) {
        r.problem(
            "subject",
            "must be a claim that never changes and is never reassigned to another person",
        );
    }
    subject
}

fn scopes(r: &mut TableReader, is_oauth2: bool) -> Vec<String> {
    if !r.has("scopes") {
        let usual: &[&str] = if is_oauth2 {
            &[]
        } else {
            &["openid", "email", "profile"]
        };
        return usual.iter().map(|&scope| scope.to_owned()).collect();
    }
    let scopes = r.texts("scopes");
    if !is_oauth2 && !scopes.iter().any(|scope| scope == "openid") {
        r.problem("scopes", "must contain \"openid\"");
    }
    scopes
}

fn jit(mut r: TableReader) -> JitPolicy {
    if r.has("lease_grace_days") && !r.has("lease_days") {
        r.problem("lease_grace_days", "requires lease_days, which is not set");
    }
    let jit = JitPolicy {
        mode: r.parsed("mode"),
        userstore: r.parsed("userstore"),
        username: r.parsed("username"),
        sync: r.parsed("sync"),
        on_conflict: r.parsed("on_conflict"),
        returning: r.parsed("returning"),
        groups: r.parsed("groups"),
        purposes: r.texts("purposes"),
        approval: r.parsed("approval"),
        approval_days: Some(r.number("approval_days", 14, 365)),
        lease_days: r.has("lease_days").then(|| r.number("lease_days", 30, 3650)),
        lease_grace_days: Some(r.number("lease_grace_days", 30, 3650)),
    };
    r.done();
    jit
}
