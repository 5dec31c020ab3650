//! Redirect URIs: the rules for registering them and for comparing them with requests.

use url::{Host, Url};

/// The loopback addresses, where native applications listen on a port that is chosen at start.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Returns whether both URIs are on the same loopback address and differ only in the port (RFC 8252 §7.3). Compares
/// bytes without parsing: a parser and a browser may read a URI differently.
pub(crate) fn differs_in_loopback_port(registered: &str, asked: &str) -> bool {
    match (without_port(registered), without_port(asked)) {
        (Some(registered), Some(asked)) => registered == asked,
        _ => false,
    }
}

/// Splits a URI into its loopback address and the part after the port.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let host = LOOPBACK.into_iter().find(|host| uri.starts_with(host))?;
    let (address, rest) = uri.split_at_checked(host.len())?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = rest.split_at_checked(digits)?;
            (!port.starts_with('0') && port.parse::<u16>().is_ok()).then_some(rest)?
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((address, rest))
}

/// Returns the reason why `uri` cannot be registered, as the end of a sentence; `None` if it can.
pub fn problem(uri: &str) -> Option<&'static str> {
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("contains a character that is not visible ASCII");
    }
    if uri.contains(['*', '\\']) {
        return Some("contains a wildcard or a backslash: URIs are compared literally");
    }
    if uri.contains('#') {
        return Some("has a fragment");
    }
    let Ok(url) = Url::parse(uri) else {
        return Some("is not an absolute URI");
    };
    match (url.scheme(), url.host()) {
        ("https" | "http", _) if url.cannot_be_a_base() || !has_slashes(uri) => Some("has no host"),
        ("https" | "http", _) if !url.username().is_empty() || url.password().is_some() => Some("holds a user name"),
        ("https", Some(_)) | ("http", Some(Host::Domain("localhost"))) => None,
        ("http", Some(Host::Ipv4(address))) if address.is_loopback() => None,
        ("http", Some(Host::Ipv6(address))) if address.is_loopback() => None,
        ("http", _) => Some("is not encrypted: use https, or http on a loopback address"),
        (scheme, _) if scheme.contains('.') => None,
        _ => Some("has an unsupported scheme: use https, or a private-use scheme with a dot, such as com.example.app"),
    }
}

/// Whether a registered URI is of a web server.
pub(super) fn is_of_web(uri: &str) -> bool {
    let scheme = uri.split_once(':').map_or(uri, |(scheme, _)| scheme);
    ["https", "http"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

/// Parsers repair `https:/host` and `https:host`. URIs that need repair must not be registered.
fn has_slashes(uri: &str) -> bool {
    uri.split_once(':')
        .is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"))
}

/// Returns `uri` with parameters added to its query. The rest stays as registered, byte for byte.
pub(super) fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::{confidential, public};
    use super::*;

    /// Variants of `https://app.example/cb` and `http://127.0.0.1/cb` that other implementations accepted by mistake.
    const NEIGHBOURS: &[&str] = &[
        "https://app.example.evil/cb",
        "https://app.example/cbx",
        "https://app.example/cb/x",
        "https://app.example/cb/../x",
        "https://app.example/cb/..%2Fx",
        "https://app.example/cb%252f..%252fx",
        "https://app.example/cb/..;/x",
        "https://app.example@evil/cb",
        "https://a@b@evil/cb",
        "https://app.example\\@evil/cb",
        "https://app.example#@evil/cb",
        "http://localhost.evil/cb",
        "http://localhost/cb",
        "http://127.0.0.1@evil/cb",
        "http://127.0.0.1:80@evil/cb",
        "http://127.0.0.1.evil/cb",
        "http://127.1/cb",
        "http://127.0.0.2/cb",
        "http://2130706433/cb",
        "http://127.0.0.1/other",
        "http://127.0.0.1:8080",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:0443/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:8080:9/cb",
        "http://127.0.0.1:8080/cb?x",
        "http://127.0.0.1:8080/cb/",
        "https://127.0.0.1/cb",
        "http://[::1]/cb",
        "http://[::1%25lo]/cb",
        "HTTP://127.0.0.1/cb",
        "https://fooXexample.com/cb",
        "https://appXexample/cb",
        "HTTPS://APP.EXAMPLE/CB",
        "https://app.example/Cb",
        "https://app.example/CB",
        "https://app.example/cb?x",
        "https://app.example/cb?",
        "https://app.example/cb#",
        "https://app.example/cb%23",
        "https://app.example/cb/",
        "//app.example/cb",
        "https:/app.example/cb",
        "https:app.example/cb",
        "https:///app.example/cb",
        "https://app.example/\tcb",
        "https://app.example/cb\n",
        " https://app.example/cb",
        "https://app.example./cb",
        "https://app%2eexample/cb",
        "https://app.example:443/cb",
        "https://app.example:0443/cb",
        "http://app.example/cb",
        "https://аpp.example/cb",
        "https://xn--pp-6kc.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "com.example.app:/other",
        "",
        "*",
    ];

    #[test]
    fn no_neighbour_of_a_registered_uri_is_taken() {
        for uri in NEIGHBOURS {
            assert!(!confidential().may_redirect_to(uri), "{uri}");
            assert!(!public().may_redirect_to(uri), "{uri}");
        }
        let long = format!("https://app.example/cb{}", "a".repeat(8192));
        assert!(!confidential().may_redirect_to(&long));
    }

    #[test]
    fn registered_uris_and_other_loopback_ports_are_taken() {
        assert!(confidential().may_redirect_to("https://app.example/cb"));
        for uri in [
            "http://127.0.0.1/cb",
            "http://127.0.0.1:1/cb",
            "http://127.0.0.1:65535/cb",
            "com.example.app:/cb",
        ] {
            assert!(public().may_redirect_to(uri), "{uri}");
        }
        assert!(differs_in_loopback_port("http://[::1]:9/cb", "http://[::1]:10/cb"));
    }

    #[test]
    fn uris_that_no_client_should_have_cannot_be_registered() {
        for uri in [
            "https://*.app.example/cb",
            "https://app.example/.*",
            "https://app.example/cb#x",
            "https://user@app.example/cb",
            "https:app.example/cb",
            "https:/app.example/cb",
            "https:///app.example/cb",
            "http://app.example/cb",
            "http://localhost.evil/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:/cb",
            "/cb",
            "https://app.example/c b",
            "https://аpp.example/cb",
        ] {
            assert!(problem(uri).is_some(), "{uri}");
        }
        for uri in [
            "https://app.example/cb?x=1",
            "http://127.0.0.1/cb",
            "http://[::1]:3000/",
            "http://localhost:3000/cb",
            "com.example.app:/cb",
        ] {
            assert_eq!(problem(uri), None, "{uri}");
        }
    }

    #[test]
    fn parameters_are_added_to_what_the_uri_has() {
        assert_eq!(
            with_parameters("https://a/cb", &[("state", "a b&c")]),
            "https://a/cb?state=a+b%26c"
        );
        assert_eq!(
            with_parameters("https://a/cb?x=1", &[("code", "c")]),
            "https://a/cb?x=1&code=c"
        );
        assert_eq!(
            with_parameters("https://a/cb?", &[("code", "c")]),
            "https://a/cb?code=c"
        );
    }

    proptest! {
        #[test]
        fn every_uri_of_the_loopback_rule_is_on_loopback(tail in "[:/@.?#0-9a-z\\\\]{0,16}") {
            let asked = format!("http://127.0.0.1{tail}");
            if differs_in_loopback_port("http://127.0.0.1/cb", &asked) {
                let url = Url::parse(&asked).unwrap();
                prop_assert_eq!(url.host_str(), Some("127.0.0.1"));
                prop_assert_eq!(url.path(), "/cb");
            }
        }

        #[test]
        fn any_change_of_one_byte_makes_another_uri(at in 0..22usize, byte in 0x20..0x7fu8) {
            let mut bytes = b"https://app.example/cb".to_vec();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(!confidential().may_redirect_to(&changed));
        }
    }
}
