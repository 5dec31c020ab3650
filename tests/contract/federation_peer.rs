//! An independent OpenID provider as identity provider: drives the login form of a certified implementation.
//!
//! Runs if `VESTIBULE_TEST_OIDC_ISSUER`, `…_OIDC_CLIENT_ID`, `…_OIDC_CLIENT_SECRET`, `…_OIDC_USER` and
//! `…_OIDC_PASSWORD` are set; the client must be registered with [`CALLBACK`].
use std::collections::BTreeMap;

use libtest_mimic::Trial;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use serde_json::json;
use url::Url;
use vestibule::domain::{Clock, Secret};
use vestibule::federation::idp::openid::{OpenIdProvider, OpenIdRules, OpenIdSettings};
use vestibule::federation::idp::provider::{CallbackParameters, IdentityProvider, LoginHint, RequestOptions};

const CALLBACK: &str = "http://127.0.0.1:8080/federation/upstream/callback";

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("VESTIBULE_TEST_OIDC_{name}")).ok()
}

/// A browser without scripts.
struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            client,
            cookies: BTreeMap::new(),
        }
    }

    /// Follows redirects to a page or to our callback; returns the final URL.
    fn visit(&mut self, url: Url, form: Option<&[(&str, &str)]>) -> Url {
        let (mut url, mut form) = (url, form);
        while !url.as_str().starts_with(CALLBACK) {
            let response = self.send(&url, form.take());
            if response.status() == StatusCode::OK {
                break;
            }
            assert!(response.status().is_redirection(), "{} at {url}", response.status());
            url = url.join(response.headers()["location"].to_str().unwrap()).unwrap();
        }
        url
    }

    fn send(&mut self, url: &Url, form: Option<&[(&str, &str)]>) -> Response {
        let jar: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = match form {
            Some(fields) => self.client.post(url.clone()).form(fields),
            None => self.client.get(url.clone()),
        };
        let response = request.header("cookie", jar.join("; ")).send().unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        response
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let case = Trial::test("a_person_comes_in_through_a_certified_provider", || {
        a_person_comes_in_through_a_certified_provider();
        Ok(())
    });
    let ignored = variable("ISSUER").is_none();
    vec![case.with_ignored_flag(ignored)]
}

fn a_person_comes_in_through_a_certified_provider() {
    let issuer = variable("ISSUER").unwrap();
    let settings = OpenIdSettings {
        issuer: issuer.clone(),
        client_id: variable("CLIENT_ID").unwrap(),
        client_secret: variable("CLIENT_SECRET").map(Secret::new),
        scopes: ["email", "profile"].map(str::to_owned).to_vec(),
        allow_private_network: true,
        wanted_claims: ["email", "zoneinfo"].map(str::to_owned).to_vec(),
        groups: None,
        request: RequestOptions::default(),
        rules: OpenIdRules::default(),
    };
    let provider = OpenIdProvider::new(settings, Clock::system()).unwrap();
    let begun = provider
        .begin(&Url::parse(CALLBACK).unwrap(), &LoginHint::default())
        .unwrap();
    let (user, password) = (variable("USER").unwrap(), variable("PASSWORD").unwrap());

    let mut browser = Browser::new();
    let login = browser.visit(begun.redirect, None);
    let consent = browser.visit(login, Some(&[("email", &user), ("password", &password)]));
    let back = browser.visit(consent, Some(&[("allow", "1")]));

    let returned: CallbackParameters = back.query_pairs().collect();
    assert!(provider.answers(&returned, &begun.state));
    let identity = provider.finish(&returned, &begun.state).unwrap();
    assert_eq!(identity.issuer, issuer);
    assert_eq!(identity.claims["email"], json!(user));
    let replayed = provider.finish(&returned, &begun.state).unwrap_err();
    assert_eq!(replayed.reason(), "idp_error");
}
