//! The front door over HTTP: cookies, forms and responses to bad input.

use std::sync::Arc;

use crate::fixtures::front_door::{Rig, request};
use actix_web::cookie::Cookie;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use serde_json::json;
use url::Url;
use vestibule::federation::jit::policy::SecondFactor;
use vestibule::server::language;
use vestibule::server::login::{Completed, Incomplete, LoginData, cookie_name, routes};
use vestibule::server::onward::Onward;
use vestibule::storage::StorageError;
use vestibule::storage::approvals::{self, Ruling, Verdict};

const RIGHT: &str = "correct horse battery";

fn login_data(rig: &Rig) -> LoginData {
    let answer = |answer: &str| Url::parse(&format!("https://wiki.example/callback?{answer}")).unwrap();
    LoginData {
        federation: Arc::clone(&rig.federation),
        complete: Arc::new(move |_, _, before| {
            let before = before.map_or_else(String::new, |before| format!("&before={before}"));
            Ok(Completed {
                session: Cookie::new("session", "opened"),
                onward: Onward::Page(answer(&format!("code=1{before}"))),
                is_new: true,
            })
        }),
        cancel: Arc::new(move |_| Some(Onward::Page(answer("error=access_denied")))),
        session_cookie: "session",
    }
}

fn rig() -> Rig {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    rig.user(&json!({"userName": "bob", "password": RIGHT}));
    rig
}

async fn call(rig: &Rig, request: TestRequest) -> ServiceResponse {
    call_with(login_data(rig), request).await
}

async fn call_with(data: LoginData, request: TestRequest) -> ServiceResponse {
    let app = App::new().app_data(web::Data::new(data)).configure(routes);
    let app = init_service(app.wrap(from_fn(language::assign))).await;
    call_service(&app, request.to_request()).await.map_into_boxed_body()
}

fn with(handle: &str, request: TestRequest) -> TestRequest {
    request.cookie(Cookie::new(cookie_name(handle, true), handle.to_owned()))
}

async fn text(response: ServiceResponse) -> String {
    String::from_utf8(read_body(response).await.to_vec()).unwrap()
}

/// The CSRF token on the login's current page.
async fn csrf(rig: &Rig, handle: &str) -> String {
    let page = text(call(rig, with(handle, TestRequest::get().uri("/login"))).await).await;
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form with a token");
    rest.split('"').next().unwrap().to_owned()
}

fn post(path: &str, fields: &[(&str, &str)]) -> TestRequest {
    TestRequest::post().uri(path).set_form(fields)
}

/// The path of the page of a login.
fn path(handle: &str) -> String {
    let id = cookie_name(handle, true).replace("__Host-vestibule-login-", "");
    format!("/login?login={id}")
}

fn location(response: &ServiceResponse) -> &str {
    response.headers().get("location").unwrap().to_str().unwrap()
}

#[actix_web::test]
async fn login_start_sets_a_protected_cookie() {
    let rig = rig();
    let http = TestRequest::default().to_http_request();
    let response = vestibule::server::login::start((&login_data(&rig), &http), request(), "wiki".into()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.cookies().next().unwrap();
    let id = cookie.name().strip_prefix("__Host-vestibule-login-").unwrap();
    let location = response.headers().get("location").unwrap().to_str().unwrap();
    assert_eq!(location, format!("/login?login={id}"));
    assert_eq!(cookie.value().len(), 43);
    let text = cookie.to_string();
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=600"] {
        assert!(text.contains(attribute), "{attribute} in {text}");
    }
}

#[actix_web::test]
async fn request_that_is_no_longer_valid_is_named_on_the_page() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", RIGHT)];
    let data = LoginData {
        complete: Arc::new(|_, _, _| Err(Incomplete::Refused("invalid_redirect_uri"))),
        ..login_data(&rig)
    };
    let response = call_with(data, with(&handle, post("/login/password", &fields))).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let page = text(response).await;
    assert!(
        page.contains("redirect address") || page.contains("return address"),
        "{page}"
    );
}

#[actix_web::test]
async fn the_right_password_leads_on_with_a_session() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", RIGHT)];
    let response = call(&rig, with(&handle, post("/login/password", &fields))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookies: Vec<String> = response.response().cookies().map(|cookie| cookie.to_string()).collect();
    assert!(
        cookies.iter().any(|cookie| cookie.starts_with("session=opened")),
        "{cookies:?}"
    );
    assert!(
        cookies
            .iter()
            .any(|cookie| cookie.starts_with(&format!("{}=;", cookie_name(&handle, true)))),
        "{cookies:?}"
    );
    assert!(text(response).await.contains("https://wiki.example/callback?code=1"));
}

#[actix_web::test]
async fn page_language_is_from_ui_locales_or_accept_language() {
    let rig = rig();
    let page = async |ui_locales: &[&str], accept: &str| {
        let mut request = request();
        request.ui_locales = ui_locales.iter().map(|tag| (*tag).to_owned()).collect();
        let handle = rig.federation.login.start(request, &"wiki".into()).unwrap().handle;
        let get = TestRequest::get()
            .uri("/login")
            .insert_header(("Accept-Language", accept));
        text(call(&rig, with(&handle, get)).await).await
    };
    let german = "<html lang=\"de\">";
    assert!(page(&["de-CH"], "en").await.contains(german));
    assert!(
        page(&[], "de, en;q=0.5")
            .await
            .contains("Weiter zu <strong>Wiki</strong>")
    );
    assert!(!page(&["en"], "de").await.contains(german));
}

#[actix_web::test]
async fn a_login_takes_the_place_of_the_session_before() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", RIGHT)];
    let request = with(&handle, post("/login/password", &fields)).cookie(Cookie::new("session", "earlier"));
    assert!(text(call(&rig, request).await).await.contains("before=earlier"));
}

#[actix_web::test]
async fn a_refusal_shows_the_way_out_as_long_as_the_login_stands() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("identity_provider", "nobody")];
    let page = text(call(&rig, with(&handle, post("/login/idp", &fields))).await).await;
    assert!(
        page.contains("Back to Wiki") && page.contains("https://id.example/login/cancel"),
        "{page}"
    );
    assert!(
        page.contains(&format!("href=\"{}\">Try again", path(&handle))),
        "{page}"
    );
    call(&rig, with(&handle, TestRequest::get().uri("/login/cancel"))).await;
    let page = text(call(&rig, with(&handle, post("/login/idp", &fields))).await).await;
    assert!(page.contains("expired_login"), "{page}");
    assert!(!page.contains("Back to") && !page.contains("Try again"), "{page}");
}

#[actix_web::test]
async fn a_form_of_another_login_is_told_to_be_out_of_date() {
    let rig = rig();
    let token = csrf(&rig, &rig.start()).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", RIGHT)];
    let page = text(call(&rig, with(&rig.start(), post("/login/password", &fields))).await).await;
    assert!(page.contains("This form has expired"), "{page}");
}

#[actix_web::test]
async fn a_wrong_password_leads_back_to_the_page() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", "wrong")];
    let response = call(&rig, with(&handle, post("/login/password", &fields))).await;
    assert_eq!(
        (response.status(), location(&response)),
        (StatusCode::SEE_OTHER, path(&handle).as_str())
    );
    let page = text(call(&rig, with(&handle, TestRequest::get().uri("/login"))).await).await;
    assert!(page.contains("Sign-in failed") && !page.contains("wrong\""));
}

#[actix_web::test]
async fn one_address_cannot_guess_without_limit() {
    let rig = Rig::with(json!({"mode": "silent", "username": {"claim": "nick"}}), |wiki| {
        wiki.mfa = SecondFactor::Totp;
    });
    let from = |request: TestRequest| request.peer_addr("203.0.113.250:4711".parse().unwrap());
    // Wrong codes of many people: they are checked faster than passwords, and no account is locked.
    for number in 0..40 {
        let handle = rig.start();
        let person = json!({"sub": format!("sub-{number}"), "nick": format!("n{number}")});
        rig.back(&handle, &rig.away(&handle, &person)).unwrap();
        let token = csrf(&rig, &handle).await;
        for _ in 0..8 {
            let wrong = post("/login/code", &[("csrf", token.as_str()), ("code", "000000")]);
            call(&rig, with(&handle, from(wrong))).await;
        }
    }
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", "wrong")];
    let refused = call(&rig, with(&handle, from(post("/login/password", &fields)))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let elsewhere = call(&rig, with(&handle, post("/login/password", &fields))).await;
    assert_ne!(elsewhere.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[actix_web::test]
async fn a_form_from_elsewhere_does_nothing() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let before = rig.federation.login.view(&handle);
    for path in ["/login/idp", "/login/password", "/login/prove"] {
        let good = [
            ("csrf", token.as_str()),
            ("identity_provider", "google"),
            ("username", "bob"),
            ("password", RIGHT),
        ];
        let forged = [
            with(&handle, post(path, &good[1..])),
            with(&handle, post(path, &good)).insert_header(("Origin", "https://evil.example")),
            with(&handle, post(path, &good)).insert_header(("Sec-Fetch-Site", "cross-site")),
            with(&rig.start(), post(path, &good)),
            post(path, &good),
        ];
        for request in forged {
            assert_eq!(call(&rig, request).await.status(), StatusCode::BAD_REQUEST, "{path}");
        }
        let by_link = call(&rig, with(&handle, TestRequest::get().uri(path))).await;
        assert!(by_link.status().is_client_error(), "{path}");
    }
    assert_eq!(
        format!("{:?}", rig.federation.login.view(&handle)),
        format!("{before:?}")
    );
}

#[actix_web::test]
async fn a_login_through_a_provider_goes_there_and_back() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let fields = [("csrf", token.as_str()), ("identity_provider", "google")];
    let sent = text(call(&rig, with(&handle, post("/login/idp", &fields))).await).await;
    assert!(sent.contains("https://idp.example/authorize?state="));
    let returned = rig.away(&handle, &json!({"sub": "1", "nick": "alice"}));
    let query = format!(
        "code={}&state={}",
        returned.get("code").unwrap(),
        returned.get("state").unwrap()
    );
    let uri = format!("/federation/google/callback?{query}");
    let response = call(&rig, with(&handle, TestRequest::get().uri(&uri))).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&response), "https://wiki.example/callback?code=1");
    let again = call(&rig, with(&handle, TestRequest::get().uri(&uri))).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn callback_of_an_unknown_provider_says_so() {
    let rig = rig();
    let handle = rig.start();
    let request = TestRequest::get().uri("/federation/nobody/callback?code=1&state=2");
    let response = call(&rig, with(&handle, request)).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(text(response).await.contains("This way to sign in is not available"));
}

#[actix_web::test]
async fn giving_up_leads_back_to_the_application() {
    let rig = rig();
    let response = call(&rig, with(&rig.start(), TestRequest::get().uri("/login/cancel"))).await;
    assert_eq!(location(&response), "https://wiki.example/callback?error=access_denied");
}

#[actix_web::test]
async fn bad_input_is_never_our_fault() {
    let rig = rig();
    let handle = rig.start();
    let token = csrf(&rig, &handle).await;
    let long = "x".repeat(5000);
    let odd = ["", "\0", "%00", "' OR 1=1", "<script>", long.as_str()];
    for text in odd {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let requests = [
            TestRequest::get()
                .uri("/login")
                .cookie(Cookie::new(cookie_name(&encoded, true), encoded.clone())),
            with(
                &handle,
                TestRequest::get().uri(&format!("/federation/google/callback?code={encoded}&state={encoded}")),
            ),
            with(
                &handle,
                TestRequest::get().uri(&format!("/federation/x{encoded}/callback?error={encoded}")),
            ),
            with(
                &handle,
                TestRequest::get().uri("/federation/google/callback?state=a&state=b"),
            ),
            with(
                &handle,
                post("/login/idp", &[("csrf", token.as_str()), ("identity_provider", text)]),
            ),
            with(
                &handle,
                post(
                    "/login/password",
                    &[("csrf", token.as_str()), ("username", text), ("password", text)],
                ),
            ),
            with(
                &handle,
                post(
                    "/login/prove",
                    &[("csrf", token.as_str()), ("decision", text), ("password", text)],
                ),
            ),
            with(
                &handle,
                post(
                    "/login/password",
                    &[("csrf", token.as_str()), ("username", "a"), ("username", "b")],
                ),
            ),
            with(
                &handle,
                post(
                    "/login/code",
                    &[("csrf", token.as_str()), ("decision", text), ("code", text)],
                ),
            ),
            with(
                &handle,
                TestRequest::post().uri("/login/password").set_payload(text.to_owned()),
            ),
        ];
        for request in requests {
            let response = call(&rig, request).await;
            assert!(!response.status().is_server_error(), "{text:?}: {}", response.status());
        }
    }
}

/// Returns from the provider with a login of Bob: the response, and the login's page afterwards.
async fn come_back(rig: &Rig) -> (ServiceResponse, String) {
    let handle = rig.start();
    let returned = rig.away(&handle, &json!({"sub": "sub-bob", "nick": "bob"}));
    let (code, state) = (returned.get("code").unwrap(), returned.get("state").unwrap());
    let back = TestRequest::get().uri(&format!("/federation/google/callback?code={code}&state={state}"));
    let response = call(rig, with(&handle, back)).await;
    let page = text(call(rig, with(&handle, TestRequest::get().uri("/login"))).await).await;
    (response, page)
}

#[actix_web::test]
async fn approval_pages_show_the_reference_or_the_refusal_reason() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "approval": "always"}));
    let (response, page) = come_back(&rig).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(location(&response).starts_with("/login?login="));
    let now = rig.clock.now();
    let queue = rig
        .database
        .read::<_, StorageError>(|connection| approvals::all(connection, now));
    let id = queue.unwrap()[0].id.clone();
    for part in [id.as_str(), "/login/cancel", "Waiting for approval"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let ruling = Ruling {
        verdict: Verdict::Refused,
        reason: "Ask <Ann>.".to_owned(),
        by: "ann".to_owned(),
        at: now,
    };
    rig.database
        .write::<_, StorageError>(move |connection| Ok(approvals::rule(connection, &id, &ruling)?))
        .unwrap();
    let (response, _) = come_back(&rig).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let page = text(response).await;
    for part in ["approval_refused", "Ask &#60;Ann&#62;.", "/login/cancel"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

/// The address to which the answer of the pretended provider leads.
fn callback(rig: &Rig, handle: &str, name: &str) -> String {
    let returned = rig.away(handle, &json!({"sub": name, "nick": name}));
    let pairs = ["code", "state"].map(|parameter| (parameter, returned.get(parameter).unwrap()));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("/federation/google/callback?{query}")
}

#[actix_web::test]
async fn two_tabs_do_not_disturb_each_other() {
    let rig = rig();
    let (first, second) = (rig.start(), rig.start());
    let in_browser = |request: TestRequest| with(&second, with(&first, request));
    let (to_first, to_second) = (callback(&rig, &first, "ann"), callback(&rig, &second, "ann"));
    for uri in [to_first, to_second] {
        let response = call(&rig, in_browser(TestRequest::get().uri(&uri))).await;
        assert_eq!(location(&response), "https://wiki.example/callback?code=1");
    }
}

#[actix_web::test]
async fn form_belongs_to_the_login_of_its_page() {
    let rig = rig();
    let (first, second) = (rig.start(), rig.start());
    let token = csrf(&rig, &first).await;
    let fields = [("csrf", token.as_str()), ("username", "bob"), ("password", "wrong")];
    let response = call(&rig, with(&second, with(&first, post("/login/password", &fields)))).await;
    assert_eq!(location(&response), path(&first));
    let page = call(
        &rig,
        with(&second, with(&first, TestRequest::get().uri(location(&response)))),
    )
    .await;
    assert!(text(page).await.contains("aria-invalid"));
    let other = call(&rig, with(&second, TestRequest::get().uri("/login"))).await;
    assert!(!text(other).await.contains("aria-invalid"));
}

#[actix_web::test]
async fn cookie_under_the_name_of_another_login_is_none() {
    let rig = rig();
    let (mine, planted) = (rig.start(), rig.start());
    let cookie = Cookie::new(cookie_name(&mine, true), planted);
    let response = call(&rig, TestRequest::get().uri("/login").cookie(cookie)).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn browser_keeps_a_bounded_number_of_logins() {
    let rig = rig();
    let handles: Vec<String> = (0..8).map(|_| rig.start()).collect();
    let cookies: Vec<String> = handles
        .iter()
        .map(|handle| format!("{}={handle}", cookie_name(handle, true)))
        .collect();
    let http = TestRequest::default()
        .insert_header(("Cookie", cookies.join("; ")))
        .to_http_request();
    let response = vestibule::server::login::start((&login_data(&rig), &http), request(), "wiki".into()).await;
    let removed: Vec<String> = response
        .cookies()
        .filter(|cookie| cookie.value().is_empty())
        .map(|cookie| cookie.name().to_owned())
        .collect();
    assert_eq!(removed, [cookie_name(&handles[0], true)]);
}

#[actix_web::test]
async fn posted_answer_becomes_a_link() {
    let rig = rig();
    let handle = rig.start();
    let to = callback(&rig, &handle, "ann");
    let (path, query) = to.split_once('?').unwrap();
    let mut fields: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    fields.push(("id_token".to_owned(), "not.for.us".to_owned()));
    // The browser withholds the cookies from a form of another site.
    let posted = TestRequest::post()
        .uri(path)
        .insert_header(("Origin", "https://idp.example"))
        .set_form(&fields);
    let response = call(&rig, posted).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&response), to);
    let done = call(&rig, with(&handle, TestRequest::get().uri(&to))).await;
    assert_eq!(location(&done), "https://wiki.example/callback?code=1");
}
