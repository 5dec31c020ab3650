use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, test};
use serde_json::Value;

use super::*;
use crate::oidc::fixtures::{REQUEST, VERIFIER, World, parameter};

/// The parts of a response that tests check.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The endpoints over a test world, and the cookie of a logged-in user.
macro_rules! site {
    () => {{
        let world = World::new();
        let cookie = format!("__Host-vestibule-session={}", world.login());
        let app = App::new()
            .app_data(login_data(&world))
            .app_data(web::Data::new(world.oidc))
            .configure(routes);
        (test::init_service(app).await, cookie)
    }};
}

/// A federation without users: tests that log in have a session already.
fn login_data(world: &World) -> web::Data<login::LoginData> {
    let (database, clock) = (world.database.clone(), world.clock.clone());
    let registry = Arc::new(crate::domain::schema::Registry::builtin());
    let hasher = crate::userstore::PasswordHasher::new();
    let directory = Arc::new(crate::directory::Directory::new(Vec::new(), registry, hasher, clock));
    let key = crate::domain::Secret::new("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let secrets = Arc::new(crate::storage::SecretBox::from_secret(&key).unwrap());
    let front_door = crate::federation::FederationConfig {
        public_url: "https://id.example".parse().unwrap(),
        upstreams: Vec::new(),
        service_providers: Vec::new(),
        trusted_sources: Vec::new(),
        purposes: Vec::new(),
        account: crate::federation::AccountRules::default(),
        passwords: crate::domain::password::PasswordPolicy::default(),
        mail: None,
    };
    let federation = crate::federation::Federation::new(directory, database, secrets, front_door);
    web::Data::new(login::LoginData {
        federation: Arc::new(federation),
        complete: Arc::new(|_, _, _| Err(login::Incomplete::Failed)),
        cancel: Arc::new(|_| None),
        session_cookie: cookie_name(&world.oidc),
    })
}

/// Sends a request whose type actix does not name.
async fn call<S, R, B>(app: &S, request: R) -> Answer
where
    S: Service<R, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let response = test::call_service(app, request).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    Answer { status, headers, body }
}

/// Sends a test request.
macro_rules! send {
    ($app:expr, $request:expr) => {
        call($app, $request.to_request()).await
    };
}

fn authorize_uri(changes: &[(&str, &str)]) -> String {
    let parameters = crate::oidc::fixtures::with(REQUEST, changes);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    format!("/oauth2/authorize?{query}")
}

fn form(path: &str, fields: &[(&str, &str)]) -> test::TestRequest {
    test::TestRequest::post().uri(path).set_form(fields)
}

#[actix_web::test]
async fn a_session_leads_to_a_code_to_tokens_and_to_claims() {
    let (app, cookie) = site!();
    let request = test::TestRequest::get()
        .uri(&authorize_uri(&[]))
        .insert_header(("Cookie", cookie.as_str()));
    let answer = send!(&app, request);
    assert_eq!(answer.status, 303);
    let code = parameter(answer.header("location"), "code").unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://app.example/cb"),
        ("code_verifier", VERIFIER),
    ];
    let basic = ("Authorization", "Basic d2lraTpzM2NyZXQ=");
    let tokens = send!(&app, form("/oauth2/token", &fields).insert_header(basic));
    assert_eq!((tokens.status, tokens.header("cache-control")), (200, "no-store"));
    let bearer = format!("Bearer {}", tokens.json()["access_token"].as_str().unwrap());
    for request in [test::TestRequest::get(), test::TestRequest::post()] {
        let claims = send!(
            &app,
            request
                .uri("/oauth2/userinfo")
                .insert_header(("Authorization", bearer.as_str()))
        );
        assert_eq!((claims.status, claims.json()["sub"].as_str()), (200, Some("u1")));
    }
}

#[actix_web::test]
async fn an_authorization_request_may_come_as_a_form() {
    let (app, cookie) = site!();
    let answer = send!(
        &app,
        form("/oauth2/authorize", REQUEST).insert_header(("Cookie", cookie.as_str()))
    );
    assert_eq!(answer.status, 303);
    assert!(parameter(answer.header("location"), "code").is_some());
}

#[actix_web::test]
async fn a_request_of_an_unknown_client_gets_a_page_and_no_redirect() {
    let (app, _) = site!();
    let answer = send!(
        &app,
        test::TestRequest::get().uri(&authorize_uri(&[("client_id", "<script>")]))
    );
    assert_eq!((answer.status, answer.header("location")), (400, ""));
    assert!(answer.body.contains("Unknown application"));
    assert!(!answer.body.contains("<script>"));
}

#[actix_web::test]
async fn an_unauthenticated_client_is_challenged() {
    let (app, _) = site!();
    let answer = send!(
        &app,
        form(
            "/oauth2/token",
            &[("grant_type", "refresh_token"), ("client_id", "wiki")]
        )
    );
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("invalid_client"))
    );
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[actix_web::test]
async fn token_requests_that_are_no_form_or_too_large_are_refused() {
    let (app, _) = site!();
    let no_form = test::TestRequest::post()
        .uri("/oauth2/token")
        .set_json(json!({ "grant_type": "refresh_token" }));
    assert_eq!(send!(&app, no_form).status, 401);
    assert_eq!(
        send!(&app, form("/oauth2/token", &[("code", &"x".repeat(40_000))])).status,
        413
    );
    assert_eq!(send!(&app, test::TestRequest::get().uri("/oauth2/token")).status, 405);
}

#[actix_web::test]
async fn a_client_introspects_a_token() {
    let (app, _) = site!();
    let basic = ("Authorization", "Basic d2lraTpzM2NyZXQ=");
    let answer = send!(
        &app,
        form("/oauth2/introspect", &[("token", "unknown")]).insert_header(basic)
    );
    assert_eq!(
        (answer.status, answer.header("cache-control"), answer.body.as_str()),
        (200, "no-store", r#"{"active":false}"#)
    );
    let stranger = send!(&app, form("/oauth2/introspect", &[("token", "unknown")]));
    assert_eq!(stranger.status, 401);
    assert!(stranger.header("www-authenticate").starts_with("Basic "));
}

#[actix_web::test]
async fn a_pushed_request_is_used_by_its_request_uri() {
    let (app, cookie) = site!();
    let basic = ("Authorization", "Basic d2lraTpzM2NyZXQ=");
    let pushed = send!(&app, form("/oauth2/par", REQUEST).insert_header(basic));
    assert_eq!((pushed.status, pushed.header("cache-control")), (201, "no-store"));
    assert_eq!(pushed.json()["expires_in"], 60);
    let name = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let bring = || {
        test::TestRequest::get()
            .uri(&format!("/oauth2/authorize?client_id=wiki&request_uri={name}"))
            .insert_header(("Cookie", cookie.as_str()))
    };
    let answer = send!(&app, bring());
    assert_eq!(answer.status, 303);
    assert!(parameter(answer.header("location"), "code").is_some());
    let again = send!(&app, bring());
    assert_eq!((again.status, again.header("location")), (400, ""));
    assert_eq!(send!(&app, form("/oauth2/par", REQUEST)).status, 401);
}

#[actix_web::test]
async fn a_bad_access_token_is_challenged() {
    let (app, _) = site!();
    let request = test::TestRequest::get()
        .uri("/oauth2/userinfo")
        .insert_header(("Authorization", "Bearer x"));
    let answer = send!(&app, request);
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains(r#"error="invalid_token""#));
}

#[actix_web::test]
async fn no_endpoint_answers_to_a_foreign_origin() {
    let (app, _) = site!();
    for path in [
        "/.well-known/openid-configuration",
        "/oauth2/jwks",
        "/oauth2/userinfo",
        "/oauth2/authorize",
    ] {
        for origin in ["https://evil.example", "null"] {
            let answer = send!(
                &app,
                test::TestRequest::get().uri(path).insert_header(("Origin", origin))
            );
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        }
    }
    for path in ["/oauth2/token", "/oauth2/par", "/oauth2/introspect", "/oauth2/revoke"] {
        let posted = form(path, &[("client_id", "phone")]).insert_header(("Origin", "https://evil.example"));
        let answer = send!(&app, posted);
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[actix_web::test]
async fn every_endpoint_of_the_discovery_document_is_there() {
    let (app, _) = site!();
    let discovery = send!(&app, test::TestRequest::get().uri("/.well-known/openid-configuration")).json();
    for (name, value) in discovery.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let path = value.as_str().unwrap().strip_prefix("https://id.example").unwrap();
            assert_ne!(send!(&app, test::TestRequest::get().uri(path)).status, 404, "{name}");
        }
    }
    let jwks = send!(&app, test::TestRequest::get().uri("/oauth2/jwks"));
    assert_eq!(
        (
            jwks.header("cache-control"),
            jwks.json()["keys"].as_array().unwrap().len()
        ),
        ("public, max-age=300", 2)
    );
}

#[actix_web::test]
async fn logging_out_asks_first_and_then_takes_the_cookie_away() {
    let (app, cookie) = site!();
    let uri =
        "/oauth2/logout?client_id=wiki&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye&state=%22%3E%3Csvg%3E";
    let request = test::TestRequest::get()
        .uri(uri)
        .insert_header(("Cookie", cookie.as_str()));
    let page = send!(&app, request);
    assert_eq!((page.status, page.header("set-cookie")), (200, ""));
    assert!(!page.body.contains("<svg>"));
    let confirm = page
        .body
        .split_once(r#"name="confirm" value=""#)
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let answer = send!(
        &app,
        form("/oauth2/logout", &[("confirm", confirm)]).insert_header(("Cookie", cookie.as_str()))
    );
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("signed out"), "{}", answer.body);
    let removed = answer.header("set-cookie");
    assert!(
        removed.starts_with("__Host-vestibule-session=;") && removed.contains("Max-Age=0"),
        "{removed}"
    );
    assert!(
        removed.contains("Secure") && removed.contains("Path=/"),
        "a browser ignores it otherwise: {removed}"
    );
}

#[actix_web::test]
async fn logout_form_of_another_site_is_asked_about() {
    let world = World::new();
    let hint = world.tokens().id_token.unwrap();
    let app = App::new()
        .app_data(login_data(&world))
        .app_data(web::Data::new(world.oidc))
        .configure(routes);
    let app = test::init_service(app).await;
    let fields = [
        ("id_token_hint", hint.as_str()),
        ("post_logout_redirect_uri", "https://app.example/bye"),
    ];
    let answer = send!(&app, form("/oauth2/logout", &fields));
    assert_eq!((answer.status, answer.header("set-cookie")), (303, ""));
    let location = answer.header("location");
    assert!(
        location.contains("client_id=wiki") && !location.contains("id_token_hint"),
        "{location}"
    );
}

#[actix_web::test]
async fn session_cookie_is_host_only_and_http_only() {
    let world = World::new();
    let cookie = session_cookie(&world.oidc, "value".to_owned()).to_string();
    assert_eq!(
        cookie,
        "__Host-vestibule-session=value; HttpOnly; SameSite=Lax; Secure; Path=/"
    );
}

#[actix_web::test]
async fn response_by_form_is_a_page_that_posts_it() {
    let (app, cookie) = site!();
    for (changes, name) in [(&[][..], "code"), (&[("response_type", "token")][..], "error")] {
        let changes = [&[("response_mode", "form_post")], changes].concat();
        let request = test::TestRequest::get().uri(&authorize_uri(&changes));
        let answer = send!(&app, request.insert_header(("Cookie", cookie.as_str())));
        assert_eq!(answer.status, 200);
        for part in [
            r#"<form method="post" action="https://app.example/cb">"#,
            &format!(r#"<input type="hidden" name="{name}" value="#),
            r#"<input type="hidden" name="state" value="st">"#,
            r#"<input type="hidden" name="iss" value="https://id.example">"#,
            "<button",
        ] {
            assert!(answer.body.contains(part), "{part} in {}", answer.body);
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("script-src 'self';") && policy.ends_with("form-action https: http:"),
            "{policy}"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}
