//! The network address that a request comes from, and how many logins each address may begin.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Data;
use ipnet::IpNet;

use super::page;
use crate::gate::Allowances;

/// How many logins one address may begin at once, and in a second in the long run. Many people can be behind one address.
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 20.0;

/// How many logins all addresses together may begin. With their lifetime of ten minutes this bounds what they store.
const BURST_OF_ALL: f64 = 20_000.0;
const PER_SECOND_OF_ALL: f64 = 200.0;

static OF_EACH: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST, PER_SECOND));
static OF_ALL: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST_OF_ALL, PER_SECOND_OF_ALL));

/// The networks of the reverse proxies that are trusted; `None`: any peer on this host or in a private network.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(pub(super) Option<Vec<IpNet>>);

/// Returns the source of a request, if it is known, as limits count it: an IPv6 address stands for its network of 64 bits,
/// which one party has as a whole.
pub(super) fn of(request: &HttpRequest) -> Option<String> {
    let source = match sender(request)? {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    };
    Some(source.to_string())
}

/// Returns the address that a request comes from: that of the peer, if no other is known.
pub(super) fn address(request: &HttpRequest) -> Option<String> {
    let address = sender(request).or_else(|| Some(request.peer_addr()?.ip()));
    address.map(|address| address.to_string())
}

fn sender(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let configured = request.app_data::<Data<TrustedProxies>>();
    let proxies = configured.and_then(|proxies| proxies.0.as_deref());
    sender_behind(peer, request.headers(), proxies)
}

/// Returns the page that says that no login can begin now, if the address of a request has begun too many.
pub(super) fn turned_away(request: &HttpRequest) -> Option<HttpResponse> {
    request.peer_addr()?;
    let source = of(request);
    if source.as_ref().is_none_or(|source| OF_EACH.take(source)) && OF_ALL.take("") {
        return None;
    }
    let source = source.unwrap_or_else(|| "unknown addresses".to_owned());
    log::warn!("too many logins are begun from {source}; one is turned away");
    Some(page::error_page(StatusCode::TOO_MANY_REQUESTS, "too_many_logins"))
}

/// The page for an address that makes too many wrong guesses.
pub(super) fn too_many_guesses() -> HttpResponse {
    page::error_page(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses")
}

/// The address of the sender: that of the peer, or the one that a reverse proxy appended to `X-Forwarded-For`. Where the
/// proxies are configured, they are passed over from the last on. Otherwise a peer nearby may be a proxy for anybody, and
/// without that header the sender is unknown.
fn sender_behind(peer: IpAddr, headers: &HeaderMap, proxies: Option<&[IpNet]>) -> Option<IpAddr> {
    // A client may send any bytes before what the proxy appends.
    let values = headers.get_all("x-forwarded-for");
    let listed: Vec<&[u8]> = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .collect();
    let Some(proxies) = proxies else {
        let is_near = match peer {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        };
        return if is_near {
            Some(forwarded(listed.last()?).unwrap_or(peer))
        } else {
            Some(peer)
        };
    };
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut sender = peer;
    for text in listed.iter().rev() {
        if !is_proxy(&sender) {
            break;
        }
        // Behind what is no address the sender is not known: the proxy stands for all of them.
        let Some(before) = forwarded(text) else { break };
        sender = before;
    }
    Some(sender)
}

/// Reads one address of `X-Forwarded-For`. Some proxies add the port.
fn forwarded(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str], proxies: Option<&[&str]>) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(value),
            );
        }
        let proxies: Option<Vec<IpNet>> =
            proxies.map(|proxies| proxies.iter().map(|text| text.parse().unwrap()).collect());
        sender_behind(peer.parse().unwrap(), &headers, proxies.as_deref())
            .map_or_else(|| "unknown".to_owned(), |source| source.to_string())
    }

    #[test]
    fn only_a_proxy_nearby_names_another_address() {
        assert_eq!(seen("198.51.100.7", &["203.0.113.9"], None), "198.51.100.7");
        assert_eq!(seen("10.0.0.2", &["203.0.113.9"], None), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &[], None), "unknown");
    }

    #[test]
    fn of_several_addresses_the_last_one_counts() {
        assert_eq!(seen("127.0.0.1", &["1.2.3.4, 203.0.113.9"], None), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &["1.2.3.4", "203.0.113.9"], None), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &["not an address"], None), "127.0.0.1");
    }

    #[test]
    fn strange_bytes_before_the_address_hide_nobody() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"\xc3\xa9\xff, 203.0.113.9").unwrap();
        headers.append(HeaderName::from_static("x-forwarded-for"), value);
        let proxies: Vec<IpNet> = vec!["10.0.0.2/32".parse().unwrap()];
        for proxies in [None, Some(&*proxies)] {
            let sender = sender_behind("10.0.0.2".parse().unwrap(), &headers, proxies);
            assert_eq!(sender, Some("203.0.113.9".parse().unwrap()), "{proxies:?}");
        }
        assert_eq!(seen("10.0.0.2", &["x"], Some(&["10.0.0.2/32"])), "10.0.0.2");
    }

    #[test]
    fn port_of_an_address_is_left_out() {
        for (text, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(seen("127.0.0.1", &[text], None), address);
        }
    }

    #[test]
    fn configured_proxies_alone_name_another_address() {
        let proxies = Some(&["10.1.0.0/24", "10.0.0.2/32"][..]);
        assert_eq!(seen("10.0.0.3", &["203.0.113.9"], proxies), "10.0.0.3");
        assert_eq!(seen("10.0.0.2", &["203.0.113.9"], proxies), "203.0.113.9");
        assert_eq!(seen("10.0.0.2", &["203.0.113.9, 10.1.0.7"], proxies), "203.0.113.9");
        assert_eq!(seen("10.0.0.2", &["198.51.100.1, 203.0.113.9"], proxies), "203.0.113.9");
        assert_eq!(seen("10.0.0.2", &[], proxies), "10.0.0.2");
        assert_eq!(seen("127.0.0.1", &["203.0.113.9"], Some(&[])), "127.0.0.1");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let of = |peer: &str| {
            let request = actix_web::test::TestRequest::default();
            of(&request
                .peer_addr((peer.parse::<IpAddr>().unwrap(), 1).into())
                .to_http_request())
        };
        assert_eq!(of("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
    }
}
