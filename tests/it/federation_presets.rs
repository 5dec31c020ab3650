//! Peculiarities of identity providers: multi-tenant issuers, hosted domains, other subject claims, other claims for a
//! verified address.

use crate::fixtures::issuer::{Issuer, Key};
use serde_json::{Value, json};
use url::Url;
use vestibule::domain::{Clock, Timestamp};
use vestibule::federation::idp::openid::{OpenIdProvider, OpenIdRules, OpenIdSettings};
use vestibule::federation::idp::provider::{
    Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError, RequestOptions,
};

const NOW: i64 = 1_700_000_000;
const ONE: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const OTHER: &str = "82229342-1101-4ab6-817b-70c0747630f3";

/// A multi-tenant issuer such as Entra ID, and the provider under test as its client.
struct Rig {
    issuer: Issuer,
    key: Key,
    provider: OpenIdProvider,
}

impl Rig {
    fn new(bend: impl Fn(&mut OpenIdRules)) -> Self {
        let key = Key::new("k1");
        let issuer = Issuer::start(&key);
        issuer.describe("issuer", json!(format!("{}/{{tenantid}}/v2.0", issuer.url)));
        let mut rules = OpenIdRules {
            discovery_url: Url::parse(&format!("{}/.well-known/openid-configuration", issuer.url)).ok(),
            verified_claim: "xms_edov".to_owned(),
            ..OpenIdRules::default()
        };
        bend(&mut rules);
        let settings = OpenIdSettings {
            issuer: format!("{}/{{tenantid}}/v2.0", issuer.url),
            client_id: "us".to_owned(),
            client_secret: None,
            scopes: vec!["openid".to_owned()],
            allow_private_network: true,
            wanted_claims: Vec::new(),
            groups: None,
            request: RequestOptions::default(),
            rules,
        };
        let provider = OpenIdProvider::new(settings, Clock::fixed(Timestamp(NOW * 1000))).unwrap();
        Self { issuer, key, provider }
    }

    fn concrete(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.issuer.url)
    }

    fn begin(&self) -> (Url, LoginSecret) {
        let callback = Url::parse("https://id.example/federation/entra/callback").unwrap();
        let begun = self.provider.begin(&callback, &LoginHint::default()).unwrap();
        (begun.redirect, begun.state)
    }

    /// A login whose claims were altered.
    fn login(&self, bend: impl Fn(&mut Value)) -> Result<Identity, ProviderError> {
        self.answer(None, bend)
    }

    fn answer(&self, iss: Option<String>, bend: impl Fn(&mut Value)) -> Result<Identity, ProviderError> {
        let (_, pending) = self.begin();
        let mut claims = json!({
            "iss": self.concrete(ONE), "tid": ONE, "sub": "pairwise", "oid": "0b7b1a10-0000-4000-8000-000000000001",
            "aud": "us", "exp": NOW + 300, "iat": NOW, "nonce": memory(&pending)["nonce"], "email": "a@example.com",
        });
        bend(&mut claims);
        let header = json!({"alg": "EdDSA", "kid": self.key.id, "typ": "JWT"});
        let token = self.key.sign(&header, &claims);
        let answer = json!({"access_token": "opaque", "token_type": "Bearer", "id_token": token});
        self.issuer.say("/token", 200, answer);
        let code = ("code", "code".to_owned());
        let returned = std::iter::once(code).chain(iss.map(|iss| ("iss", iss))).collect();
        self.provider.finish(&returned, &pending)
    }

    fn reason(&self, bend: impl Fn(&mut Value)) -> &'static str {
        self.login(bend).map_or_else(|error| error.reason(), |_| "accepted")
    }
}

/// The state that the adapter keeps of a login.
fn memory(state: &LoginSecret) -> Value {
    serde_json::to_value(state).unwrap()
}

#[test]
fn the_issuer_in_links_is_the_tenant_s_own() {
    let rig = Rig::new(|_| {});
    let identity = rig.login(|_| {}).unwrap();
    assert_eq!(
        (identity.issuer, identity.subject.as_str()),
        (rig.concrete(ONE), "pairwise")
    );
}

#[test]
fn issuer_and_tenant_must_agree() {
    let rig = Rig::new(|_| {});
    assert_eq!(rig.reason(|claims| claims["tid"] = json!(OTHER)), "id_token_iss");
    assert_eq!(
        rig.reason(|claims| claims["iss"] = json!(rig.concrete(OTHER))),
        "id_token_iss"
    );
    assert_eq!(
        rig.reason(|claims| claims["iss"] = json!(rig.concrete("{tenantid}"))),
        "id_token_iss"
    );
    for tid in [json!(null), json!("common"), json!("{tenantid}"), json!(7)] {
        let bend = |claims: &mut Value| {
            claims["iss"] = json!(rig.concrete(tid.as_str().unwrap_or_default()));
            claims["tid"] = tid.clone();
        };
        assert_eq!(rig.reason(bend), "id_token_tid", "{tid}");
    }
}

#[test]
fn a_tenant_that_is_not_listed_stays_outside() {
    let rig = Rig::new(|rules| rules.allowed_tenants = vec![OTHER.to_owned()]);
    assert_eq!(rig.reason(|_| {}), "id_token_tid");
    let rig = Rig::new(|rules| rules.allowed_tenants = vec![ONE.to_uppercase()]);
    assert_eq!(rig.reason(|_| {}), "accepted");
}

#[test]
fn a_key_of_one_tenant_signs_for_no_other() {
    let publish = |rig: &Rig, issuer: String| {
        let mut key = rig.key.public();
        key["issuer"] = json!(issuer);
        rig.issuer.say("/jwks", 200, json!({ "keys": [key] }));
    };
    let rig = Rig::new(|_| {});
    publish(&rig, rig.concrete(OTHER));
    assert_eq!(rig.reason(|_| {}), "id_token_kid");
    for issuer in [ONE, "{tenantid}"] {
        let rig = Rig::new(|_| {});
        publish(&rig, rig.concrete(issuer));
        assert_eq!(rig.reason(|_| {}), "accepted", "{issuer}");
    }
}

#[test]
fn multi_tenant_metadata_must_name_the_configured_issuer() {
    let rig = Rig::new(|_| {});
    rig.issuer
        .describe("issuer", json!("https://other.example/{tenantid}/v2.0"));
    let callback = Url::parse("https://id.example/federation/entra/callback").unwrap();
    let error = rig.provider.begin(&callback, &LoginHint::default()).err().unwrap();
    assert_eq!(error.reason(), "idp_unusable");
}

#[test]
fn an_answer_names_the_issuer_of_the_token() {
    let rig = Rig::new(|_| {});
    let reason = |iss: String| {
        rig.answer(Some(iss), |_| {})
            .map_or_else(|error| error.reason(), |_| "accepted")
    };
    assert_eq!(reason(rig.concrete(ONE)), "accepted");
    assert_eq!(reason(rig.concrete(OTHER)), "idp_mix_up");
    assert_eq!(reason(rig.concrete("{tenantid}")), "idp_mix_up");
    let spent = rig.issuer.hits("/token");
    assert_eq!(reason("https://other.example".to_owned()), "idp_mix_up");
    assert_eq!(rig.issuer.hits("/token"), spent, "the code was not sent");
}

#[test]
fn another_claim_can_be_the_subject_if_it_is_a_text() {
    let rig = Rig::new(|rules| rules.subject = "oid".to_owned());
    assert_eq!(
        rig.login(|_| {}).unwrap().subject,
        "0b7b1a10-0000-4000-8000-000000000001"
    );
    for oid in [json!(null), json!(""), json!(7)] {
        assert_eq!(
            rig.reason(|claims| claims["oid"] = oid.clone()),
            "id_token_sub",
            "{oid}"
        );
    }
}

#[test]
fn email_is_verified_only_by_the_configured_claim() {
    let rig = Rig::new(|_| {});
    let verified = |edov: Value| {
        let identity = rig.login(|claims| {
            claims["email_verified"] = json!(true);
            claims["xms_edov"] = edov.clone();
        });
        identity.unwrap().claims["email_verified"].clone()
    };
    assert_eq!(verified(json!(true)), json!(true));
    for edov in [json!(false), json!("true"), json!("1"), json!(1), json!(null)] {
        assert_eq!(verified(edov.clone()), json!(false), "{edov}");
    }
}

#[test]
fn only_people_of_the_hosted_domain_come() {
    let rig = Rig::new(|rules| rules.hosted_domain = Some("corp.example".to_owned()));
    assert!(
        rig.begin()
            .0
            .query_pairs()
            .any(|(name, value)| name == "hd" && value == "corp.example")
    );
    assert_eq!(rig.reason(|claims| claims["hd"] = json!("Corp.Example")), "accepted");
    assert_eq!(rig.reason(|_| {}), "id_token_hd");
    for hd in [
        json!("other.example"),
        json!("x.corp.example"),
        json!(["corp.example"]),
        json!(null),
        json!(""),
    ] {
        assert_eq!(rig.reason(|claims| claims["hd"] = hd.clone()), "id_token_hd", "{hd}");
    }
}
