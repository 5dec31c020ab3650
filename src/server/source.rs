//! The network address that a request comes from, and how many logins each address may begin.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;

use super::page::{self, ErrorPage};
use super::request_id;
use crate::gate::Allowances;

/// How many logins one address may begin at once, and in a second in the long run. Many people can be behind one address.
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 20.0;

/// How many logins all addresses together may begin. With their lifetime of ten minutes this bounds what they store.
const BURST_OF_ALL: f64 = 20_000.0;
const PER_SECOND_OF_ALL: f64 = 200.0;

static OF_EACH: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST, PER_SECOND));
static OF_ALL: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST_OF_ALL, PER_SECOND_OF_ALL));

/// Returns the address of a request as text, if it is known.
pub(super) fn of(request: &HttpRequest) -> Option<String> {
    let peer = request.peer_addr()?.ip();
    source(peer, request.headers()).map(|source| source.to_string())
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
    Some(too_many())
}

/// The page for an address that does too much.
pub(super) fn too_many() -> HttpResponse {
    let page = ErrorPage {
        code: "too_many_logins",
        reason: None,
        request_id: request_id::current().unwrap_or_default(),
        again: None,
        way_out: None,
    };
    page::respond(StatusCode::TOO_MANY_REQUESTS, page.render(), &[])
}

/// The address of a request: that of the peer, or the one that a reverse proxy on this host or network appended to
/// `X-Forwarded-For`. A peer nearby without that header may be a proxy for anybody, so the address is unknown. An IPv6
/// address stands for its network of 64 bits, which one party has as a whole.
fn source(peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let is_near = match peer {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    };
    let forwarded = || {
        let last = headers.get_all("x-forwarded-for").last()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    };
    let address = if is_near { forwarded()? } else { peer };
    Some(match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(value),
            );
        }
        source(peer.parse().unwrap(), &headers).map_or_else(|| "unknown".to_owned(), |source| source.to_string())
    }

    #[test]
    fn only_a_proxy_nearby_names_another_address() {
        assert_eq!(seen("198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.2", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &[]), "unknown");
    }

    #[test]
    fn of_several_addresses_the_last_one_counts() {
        assert_eq!(seen("127.0.0.1", &["1.2.3.4, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &["1.2.3.4", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &["not an address"]), "unknown");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
    }
}
