//! The wiki against a small OpenID provider that can be told to misbehave.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, SET_COOKIE};
use actix_web::test as http;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::*;

/// The requests that the provider received, and the claims that it changes to misbehave.
struct Provider {
    issuer: String,
    key: CoreEdDsaPrivateSigningKey,
    asked: Mutex<HashMap<String, String>>,
    changed: Value,
}

fn key() -> CoreEdDsaPrivateSigningKey {
    // PKCS #8 of an Ed25519 key: a fixed head, then the 32 bytes of the seed (RFC 8410 §7).
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(random::bytes::<32>());
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    );
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new("k1".to_owned()))).unwrap()
}

impl Provider {
    /// Starts a provider whose ID tokens have `changed` in place of the correct claims.
    fn start(changed: Value) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Arc::new(Self {
            issuer,
            key: key(),
            asked: Mutex::default(),
            changed,
        });
        let data = Data::from(Arc::clone(&provider));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/.well-known/openid-configuration", web::get().to(discovery))
                .route("/jwks", web::get().to(jwks))
                .route("/token", web::post().to(token))
                .route("/userinfo", web::get().to(userinfo))
        });
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        provider
    }

    fn id_token(&self) -> String {
        let now = Clock::system().now().seconds();
        let nonce = self.asked.lock().unwrap()["nonce"].clone();
        let mut claims = json!({ "iss": self.issuer, "aud": "wiki", "sub": "42", "iat": now, "exp": now + 300,
            "auth_time": now, "amr": ["pwd"], "nonce": nonce, "name": "Ada \"><svg onload=alert(1)>" });
        claims
            .as_object_mut()
            .unwrap()
            .extend(self.changed.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "k1" })), part(&claims));
        let signature = self
            .key
            .sign(&CoreJwsSigningAlgorithm::EdDsa, signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn discovery(provider: Data<Provider>) -> HttpResponse {
    let at = |path: &str| format!("{}/{path}", provider.issuer);
    HttpResponse::Ok().json(
        json!({ "issuer": provider.issuer, "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"), "userinfo_endpoint": at("userinfo"), "jwks_uri": at("jwks"),
        "end_session_endpoint": at("logout"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["EdDSA"] }),
    )
}

async fn jwks(provider: Data<Provider>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "keys": [provider.key.as_verification_key()] }))
}

async fn token(provider: Data<Provider>, request: HttpRequest, form: Form<HashMap<String, String>>) -> HttpResponse {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    let expected = format!("Basic {}", STANDARD.encode("wiki:secret"));
    let right = provider.asked.lock().unwrap()["code_challenge"] == challenge
        && form["code"] == "right"
        && request
            .headers()
            .get(AUTHORIZATION)
            .is_some_and(|sent| *sent == *expected);
    if !right {
        return HttpResponse::BadRequest().json(json!({ "error": "invalid_grant" }));
    }
    HttpResponse::Ok().json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": provider.id_token() }))
}

async fn userinfo() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "sub": "42", "email": "ada@example.com", "groups": ["Editors", "Staff"] }))
}

/// A browser for the wiki: its cookies, and the parameters that it sent the provider.
struct Browser {
    wiki: Data<Wiki>,
    provider: Arc<Provider>,
    cookies: HashMap<String, String>,
}

impl Browser {
    fn new(changed: Value) -> Self {
        let provider = Provider::start(changed);
        let settings = WikiSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            issuer: provider.issuer.clone(),
            client_id: "wiki".to_owned(),
            client_secret: Secret::new("secret"),
            public_url: "http://wiki.test".to_owned(),
        };
        Self {
            wiki: Data::new(Wiki::new(settings, Clock::system())),
            provider,
            cookies: HashMap::new(),
        }
    }

    async fn send(&mut self, mut request: http::TestRequest) -> (StatusCode, Option<String>, String) {
        for (name, value) in &self.cookies {
            request = request.cookie(Cookie::new(name.clone(), value.clone()));
        }
        let app = http::init_service(App::new().configure(|config| routes(config, &self.wiki))).await;
        let reply = app.call(request.to_request()).await.unwrap();
        self.keep_cookies(&reply);
        let location = reply
            .headers()
            .get(LOCATION)
            .map(|value| value.to_str().unwrap().to_owned());
        (
            reply.status(),
            location,
            String::from_utf8(http::read_body(reply).await.to_vec()).unwrap(),
        )
    }

    fn keep_cookies<B: MessageBody>(&mut self, reply: &ServiceResponse<B>) {
        for header in reply.headers().get_all(SET_COOKIE) {
            let cookie = Cookie::parse_encoded(header.to_str().unwrap().to_owned()).unwrap();
            assert!(cookie.http_only() == Some(true) && cookie.same_site() == Some(SameSite::Lax));
            self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
        }
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Option<String>, String) {
        self.send(http::TestRequest::get().uri(path)).await
    }

    /// Begins a login and returns the `state` that was sent to the provider.
    async fn begin(&mut self) -> String {
        let (status, location, _) = self.get("/login").await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        let url = url::Url::parse(&location.unwrap()).unwrap();
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["redirect_uri"], "http://wiki.test/callback");
        let state = asked["state"].clone();
        *self.provider.asked.lock().unwrap() = asked;
        state
    }

    /// A login from beginning to end.
    async fn log_in(&mut self) -> (StatusCode, Option<String>, String) {
        let state = self.begin().await;
        self.get(&format!("/callback?code=right&state={state}")).await
    }

    async fn is_signed_in(&mut self) -> bool {
        self.get("/").await.2.contains("How people get in here")
    }
}

#[actix_web::test]
async fn a_login_shows_the_article_with_the_persons_claims() {
    let mut browser = Browser::new(json!({}));
    assert!(browser.get("/").await.2.contains("href=\"/login\""));
    let (status, location, _) = browser.log_in().await;
    assert_eq!((status, location.as_deref()), (StatusCode::SEE_OTHER, Some("/")));
    let (_, _, page) = browser.get("/").await;
    for part in [
        "How people get in here",
        "ada@example.com",
        "Editors, Staff",
        "<code>sub</code>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<svg"), "a hostile name is text");
}

#[actix_web::test]
async fn id_token_of_another_login_is_refused() {
    for changed in [
        json!({ "nonce": "another" }),
        json!({ "aud": "another" }),
        json!({ "aud": ["wiki", "another"] }),
        json!({ "iss": "http://another.test" }),
        json!({ "exp": 1000 }),
        json!({ "iat": 99_999_999_999_i64 }),
        json!({ "at_hash": "another" }),
        json!({ "sub": "43" }),
    ] {
        let mut browser = Browser::new(changed.clone());
        let (status, _, page) = browser.log_in().await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{changed}");
        assert!(page.contains("provider_error"), "{changed}");
        assert!(!browser.is_signed_in().await, "{changed}");
    }
}

#[actix_web::test]
async fn unsolicited_responses_are_refused() {
    let mut browser = Browser::new(json!({}));
    let (_, _, page) = browser.get("/callback?code=right&state=x").await;
    assert!(page.contains("expired_login"));
    browser.begin().await;
    let (_, _, page) = browser.get("/callback?code=right&state=x").await;
    assert!(page.contains("wrong_browser"));
    let state = browser.begin().await;
    let (_, _, page) = browser
        .get(&format!("/callback?code=right&state={state}&iss=http://another.test"))
        .await;
    assert!(page.contains("provider_error"));
    assert!(!browser.is_signed_in().await);
}

#[actix_web::test]
async fn a_return_counts_once() {
    let mut browser = Browser::new(json!({}));
    let state = browser.begin().await;
    let login = browser.cookies[LOGIN_COOKIE].clone();
    browser.get(&format!("/callback?code=right&state={state}")).await;
    browser.cookies.insert(LOGIN_COOKIE.to_owned(), login);
    let (_, _, page) = browser.get(&format!("/callback?code=right&state={state}")).await;
    assert!(page.contains("expired_login"));
}

#[actix_web::test]
async fn error_texts_from_the_url_are_not_shown() {
    let mut browser = Browser::new(json!({}));
    let state = browser.begin().await;
    let url = format!("/callback?error=access_denied&error_description=call-555&state={state}");
    let (status, _, page) = browser.get(&url).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("The sign-in was cancelled") && !page.contains("call-555"));
}

#[actix_web::test]
async fn a_new_login_ends_the_session_before() {
    let mut browser = Browser::new(json!({}));
    browser.log_in().await;
    let before = browser.cookies[SESSION_COOKIE].clone();
    browser.log_in().await;
    assert_ne!(browser.cookies[SESSION_COOKIE], before);
    assert!(browser.wiki.sessions.find(&before).is_none());
}

#[actix_web::test]
async fn logging_out_ends_the_session_and_goes_on_to_the_provider() {
    let mut browser = Browser::new(json!({}));
    browser.log_in().await;
    let session = browser.cookies[SESSION_COOKIE].clone();
    let csrf = browser.wiki.sessions.find(&session).unwrap().csrf.clone();
    let (_, location, _) = browser
        .send(http::TestRequest::post().uri("/logout").set_form([("csrf", csrf)]))
        .await;
    let location = location.unwrap();
    assert!(
        location.starts_with(&format!("{}/logout?id_token_hint=", browser.provider.issuer)),
        "{location}"
    );
    assert!(
        location.contains("post_logout_redirect_uri=http%3A%2F%2Fwiki.test%2F"),
        "{location}"
    );
    browser.cookies.insert(SESSION_COOKIE.to_owned(), session);
    assert!(!browser.is_signed_in().await, "the old cookie is no longer valid");
}

#[actix_web::test]
async fn logging_out_needs_the_token_of_the_form() {
    let mut browser = Browser::new(json!({}));
    browser.log_in().await;
    let (status, _, _) = browser
        .send(http::TestRequest::post().uri("/logout").set_form([("csrf", "guess")]))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(browser.is_signed_in().await);
    assert_eq!(
        browser.get("/logout").await.0,
        StatusCode::NOT_FOUND,
        "and never by GET"
    );
}

#[actix_web::test]
async fn without_its_provider_the_wiki_says_so() {
    let mut browser = Browser::new(json!({}));
    let settings = WikiSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "wiki".to_owned(),
        client_secret: Secret::new("secret"),
        public_url: "http://wiki.test".to_owned(),
    };
    browser.wiki = Data::new(Wiki::new(settings, Clock::system()));
    let (status, _, page) = browser.get("/login").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(page.contains("provider_unavailable"));
}
