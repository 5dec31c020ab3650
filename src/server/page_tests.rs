use super::*;
use crate::server::onward::{FormPostPage, RedirectPage};

/// The name of the hidden field that holds a form's token.
const CSRF_FIELD: &str = "csrf";

const HOSTILE: &str = "\"><svg onload=alert(1)>'{{7*7}}&";

fn hostile() -> String {
    HOSTILE.to_owned()
}

fn local(name: &str) -> LocalLogin {
    LocalLogin {
        action: "/login/password".to_owned(),
        csrf: "token-of-this-form".to_owned(),
        username: name.to_owned(),
        notice: Some("wrong_password"),
    }
}

fn way_out(name: &str) -> ReturnLink {
    let href = Href::parse("https://wiki.example.com/?a=\"><svg onload=x>&b='").unwrap();
    ReturnLink {
        name: name.to_owned(),
        href,
    }
}

/// The details page with every field.
fn details(name: &str) -> DetailsForm {
    let text = || name.to_owned();
    let field = |name: &str| Field {
        name: name.to_owned(),
        label: text(),
        value: text(),
        invalid: true,
        focus: true,
    };
    DetailsForm {
        page: "p1".to_owned(),
        is_new: true,
        service_provider: text(),
        provider: text(),
        action: "/login/details",
        csrf: "token-of-this-form".to_owned(),
        problems: vec![("That username is taken", text())],
        known: vec![(text(), text())],
        username: Some(field("username")),
        fields: vec![field("attribute:title")],
        password: Some(NewPassword {
            rule: text(),
            invalid: true,
            focus: false,
        }),
        purposes: vec![PurposeText {
            title: text(),
            text: text(),
            needed: vec![text()],
            optional: vec![Choosable {
                path: text(),
                label: text(),
                chosen: true,
            }],
            jurisdiction: Some(text()),
            retention: Some(text()),
            policy: Href::parse("https://acme.example/policy"),
        }],
    }
}

/// Every page that has a form, with `name` in place of each external text.
fn forms(name: &str) -> Vec<(&'static str, String)> {
    let text = || name.to_owned();
    let (csrf, action) = ("token-of-this-form".to_owned(), "/login/step".to_owned());
    let chooser = Chooser {
        lead: messages::phrase("sign_in.lead", &[("application", "Wiki")]),
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: text(),
        action: action.clone(),
        csrf: csrf.clone(),
        providers: vec![ProviderChoice {
            name: text(),
            display_name: text(),
        }],
        by_email: Some(EmailForm {
            address: text(),
            notice: Some("unknown_domain"),
        }),
        local: Some(local(name)),
    };
    let password = PasswordPage {
        lead: messages::phrase("sign_in.lead", &[("application", "Wiki")]),
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: text(),
        login: local(name),
        other_ways: Some("/login".to_owned()),
    };
    let link = LinkProof {
        service_provider: text(),
        provider: text(),
        username: text(),
        password: true,
        providers: vec![ProviderChoice {
            name: text(),
            display_name: text(),
        }],
        mail: Some(text()),
        may_rename: true,
        action: action.clone(),
        csrf: csrf.clone(),
        notice: Some("wrong_password"),
    };
    let logout = LogoutConfirm {
        action: "/oauth2/logout",
        fields: vec![("confirm", csrf), ("state", text())],
    };
    let mut forms = vec![
        ("chooser", chooser.render()),
        ("password", password.render()),
        ("link", link.render()),
        ("details", details(name).render()),
        ("logout", logout.render()),
        ("account", super::super::account::page::tests::page(name)),
    ];
    forms.extend(factors(name));
    forms
}

/// The pages of the second factor.
fn factors(name: &str) -> Vec<(&'static str, String)> {
    let (text, csrf) = (|| name.to_owned(), "token-of-this-form".to_owned());
    let factor = FactorForm {
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: text(),
        csrf: csrf.clone(),
        or_mail: true,
        notice: Some("wrong_code"),
    };
    let mail_code = MailCodeForm {
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: text(),
        csrf: csrf.clone(),
        address: text(),
        or_authenticator: true,
        notice: Some("wrong_mail_code"),
    };
    let enrol = EnrolForm {
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: text(),
        csrf: csrf.clone(),
        picture: Some(Picture { width: 1, path: text() }),
        key: "ABCDEFGH".to_owned(),
        or_mail: true,
        notice: Some("wrong_code"),
    };
    let codes = RecoveryCodes {
        service_provider: text(),
        csrf: csrf.clone(),
        codes: vec![text()],
    };
    vec![
        ("factor", factor.render()),
        ("mail_code", mail_code.render()),
        ("enrol", enrol.render()),
        ("codes", codes.render()),
    ]
}

/// Every page.
fn pages(name: &str) -> Vec<(&'static str, String)> {
    let out = way_out(name);
    let mut pages = forms(name);
    let waiting = WaitingPage {
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: name.to_owned(),
        provider: name.to_owned(),
        reference: name.to_owned(),
    };
    pages.push(("waiting", waiting.render()));
    pages.extend([
        (
            "form_post",
            rendered(&FormPostPage {
                name: name.to_owned(),
                href: out.href.clone(),
                fields: vec![("state", name.to_owned())],
            }),
        ),
        (
            "onward",
            rendered(&RedirectPage {
                name: name.to_owned(),
                href: out.href.clone(),
            }),
        ),
        (
            "logged out",
            LoggedOutPage {
                way_out: Some(out.clone()),
            }
            .render(),
        ),
        (
            "error",
            ErrorPage {
                code: "no_account",
                reason: None,
                request_id: name.to_owned(),
                again: Some("/login".to_owned()),
                way_out: Some(out),
            }
            .render(),
        ),
        (
            "home",
            Home {
                public_url: name.to_owned(),
            }
            .render(),
        ),
        ("not found", NotFound.render()),
    ]);
    pages
}

/// The opening tags of a page, as a browser would read them when every value is escaped.
fn tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .filter(|tag| !tag.starts_with('/'))
        .collect()
}

#[test]
fn a_hostile_name_adds_no_element_and_ends_no_attribute() {
    for ((page, plain), (_, attacked)) in pages("Plain name").iter().zip(pages(HOSTILE)) {
        assert!(!attacked.contains("<svg onload"), "{page}");
        assert!(!attacked.contains("\">&lt;svg"), "{page}");
        let names = |html: &str| {
            tags(html)
                .iter()
                .map(|tag| tag.split([' ', '\n']).next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        // A field that is filled takes the focus from another, so compare elements, not attributes.
        assert_eq!(names(plain), names(&attacked), "{page}");
    }
}

#[test]
fn a_hostile_name_is_still_shown_as_text() {
    let html = ErrorPage {
        code: "internal",
        reason: None,
        request_id: hostile(),
        again: None,
        way_out: None,
    }
    .render();
    assert!(html.contains("&#60;svg onload=alert(1)&#62;"));
}

#[test]
fn every_form_posts_and_carries_the_token() {
    let field = format!("<input type=\"hidden\" name=\"{CSRF_FIELD}\" value=\"token-of-this-form\">");
    let mut count = 0;
    for (page, html) in forms("Alice") {
        for form in html.split("<form ").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let field = if page == "logout" {
                field.replace(CSRF_FIELD, "confirm")
            } else {
                field.clone()
            };
            assert!(form.starts_with("method=\"post\" action=\"/"), "{page}: {form}");
            assert!(form.contains(&field), "{page}: {form}");
            count += 1;
        }
    }
    assert_eq!(
        count, 26,
        "three to choose, one password, four to link, one for details, seven for codes, one to sign out, nine for the account"
    );
}

#[test]
fn pages_hold_no_inline_script_style_or_foreign_content() {
    for (page, html) in pages("Alice") {
        for tag in tags(&html) {
            let name = tag.split([' ', '\n']).next().unwrap();
            assert!(
                !matches!(name, "style" | "iframe" | "object" | "embed" | "base"),
                "{page}: {tag}"
            );
            if name == "script" {
                assert!(["codes", "form_post"].contains(&page), "{page}: {tag}");
                assert!(
                    tag.starts_with("script src=\"/assets/") && tag.ends_with(".js\" defer"),
                    "{page}: {tag}"
                );
            }
            assert!(!tag.contains("style=") && !tag.contains(" on"), "{page}: {tag}");
            if matches!(name, "img" | "link") {
                assert!(tag.contains("=\"/assets/"), "{page}: {tag}");
            }
        }
    }
}

#[test]
fn no_page_ever_shows_a_password() {
    for (page, html) in pages("Alice") {
        for tag in tags(&html).into_iter().filter(|tag| tag.contains("type=\"password\"")) {
            assert!(!tag.contains("value="), "{page}: {tag}");
        }
    }
}

#[test]
fn a_failed_login_keeps_the_username_and_says_what_happened() {
    let html = PasswordPage {
        lead: messages::phrase("sign_in.lead", &[("application", "Wiki")]),
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: "Wiki".to_owned(),
        login: local("alice"),
        other_ways: None,
    }
    .render();
    assert!(html.contains("value=\"alice\""));
    assert!(html.contains("role=\"alert\"") && html.contains("The username or password is incorrect."));
    assert!(html.contains("aria-describedby=\"notice\""));
}

#[test]
fn without_local_login_the_chooser_asks_for_no_password() {
    let mut page = Chooser {
        lead: messages::phrase("sign_in.lead", &[("application", "Wiki")]),
        cancel: "/login/cancel?login=a1".to_owned(),
        service_provider: "Wiki".to_owned(),
        action: "/login/provider".to_owned(),
        csrf: "t".to_owned(),
        providers: vec![ProviderChoice {
            name: "acme".to_owned(),
            display_name: "Acme".to_owned(),
        }],
        by_email: None,
        local: None,
    };
    assert!(!page.render().contains("type=\"password\""));
    page.providers.clear();
    assert!(page.render().contains("No sign-in method"), "an empty chooser says so");
}

#[test]
fn an_error_page_shows_code_request_id_and_the_way_out() {
    let html = ErrorPage {
        code: "no_account",
        reason: None,
        request_id: "0192-abc".to_owned(),
        again: Some("/login".to_owned()),
        way_out: Some(way_out("Team Wiki")),
    }
    .render();
    for part in [
        "no_account",
        "0192-abc",
        "There is no account for you yet",
        "Back to Team Wiki",
        "https://wiki.example.com/",
        "href=\"/login\">Try again",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let alone = ErrorPage {
        code: "no_account",
        reason: None,
        request_id: "0192-abc".to_owned(),
        again: None,
        way_out: None,
    }
    .render();
    assert!(!alone.contains("Back to") && !alone.contains("Try again"));
}

#[test]
fn a_page_is_sent_as_html_with_its_policy() {
    let target = Href::parse("https://wiki.example.com/callback").unwrap();
    let reply = respond(StatusCode::NOT_FOUND, NotFound.render(), &[target]);
    assert_eq!(reply.status(), StatusCode::NOT_FOUND);
    assert_eq!(reply.headers().get("content-type").unwrap(), "text/html; charset=utf-8");
    let policy = reply
        .headers()
        .get("content-security-policy")
        .unwrap()
        .to_str()
        .unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com"));
}
