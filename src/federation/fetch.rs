//! HTTP to identity providers: only to addresses that were checked, never along a redirect, never without an end.

use std::error::Error as StdError;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openidconnect::{HttpRequest, HttpResponse};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::sync::oneshot;
use url::{Host, Url};

use crate::domain::address::is_public;

/// How long a connection, and each wait for bytes, may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole answer may take, however steadily it drips.
const LONGEST: Duration = Duration::from_secs(20);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// Why a request brought no answer. No variant shows a URL: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Only `https` is spoken, and `http` where private networks are allowed.
    #[error("the address is not an https URL")]
    Scheme,
    /// The host is, or resolves to, an address that is not on the public internet.
    #[error("the host is on a private network, and allow_private_network is not set")]
    Private,
    /// The answer was too large or took too long.
    #[error("the answer is larger than 1 MiB or takes longer than 20 seconds")]
    Endless,
    /// Nobody answered.
    #[error("the host does not answer")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
}

/// An HTTP client for one identity provider.
pub struct Fetcher {
    client: reqwest::blocking::Client,
    allow_private_network: bool,
}

impl Fetcher {
    /// A client that calls private addresses, and speaks plain `http`, only if that is allowed.
    pub fn new(allow_private_network: bool) -> Result<Self, FetchError> {
        let client = reqwest::blocking::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(CheckedResolver { allow_private_network }))
            .build()
            .map_err(unreachable)?;
        Ok(Self {
            client,
            allow_private_network,
        })
    }

    /// Whether `url` may be called at all, as far as that shows before its host is resolved.
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private_network => {}
            _ => return Err(FetchError::Scheme),
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        match literal {
            Some(address) if !self.allow_private_network && !is_public(address) => Err(FetchError::Private),
            _ => Ok(()),
        }
    }

    /// Sends a request and reads the whole answer. A redirect is an answer like any other.
    pub fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let request: reqwest::blocking::Request = request.try_into().map_err(unreachable)?;
        // The connector does not resolve a literal address, so it is checked here.
        self.check(request.url())?;
        let started = Instant::now();
        let response = self.client.execute(request).map_err(unreachable)?;
        let mut answer = openidconnect::http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let body = read(response, started)?;
        answer.body(body).map_err(|error| FetchError::Unreachable(error.into()))
    }
}

fn read(mut response: reqwest::blocking::Response, started: Instant) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        let length = response
            .read(&mut part)
            .map_err(|error| FetchError::Unreachable(error.into()))?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&part[..length]);
        if body.len() > LARGEST || started.elapsed() > LONGEST {
            return Err(FetchError::Endless);
        }
    }
}

fn unreachable(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.is::<PrivateAddress>() {
            return FetchError::Private;
        }
        cause = inner.source();
    }
    FetchError::Unreachable(error.into())
}

#[derive(Debug, thiserror::Error)]
#[error("the host resolves to an address on a private network")]
struct PrivateAddress;

/// Resolves names once: the addresses that were checked are the ones that are connected to.
struct CheckedResolver {
    allow_private_network: bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private_network = self.allow_private_network;
        let (answer, answered) = oneshot::channel();
        // The system's resolver blocks; a thread of its own keeps a slow one from holding up other requests.
        std::thread::spawn(move || {
            // Nobody listens any more if the request timed out.
            let _ = answer.send(resolve(name.as_str(), allow_private_network));
        });
        Box::pin(async move {
            let addresses: Addrs = Box::new(answered.await??.into_iter());
            Ok(addresses)
        })
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

fn resolve(host: &str, allow_private_network: bool) -> Result<Vec<SocketAddr>, BoxError> {
    // Port 0 stands for the one of the URL.
    let addresses: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    // One private address among public ones is an attempt to get in by retry.
    if !allow_private_network && addresses.iter().any(|address| !is_public(address.ip())) {
        return Err(PrivateAddress.into());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn get(fetcher: &Fetcher, url: &str) -> Result<HttpResponse, FetchError> {
        fetcher.send(openidconnect::http::Request::get(url).body(Vec::new()).unwrap())
    }

    /// Answers each connection with the same bytes.
    fn serve(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                answer(&mut stream);
            }
        });
        url
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        let fetcher = Fetcher::new(false).unwrap();
        for host in [
            "127.0.0.1",
            "[::1]",
            "0.0.0.0",
            "169.254.169.254",
            "10.1.2.3",
            "[::ffff:a9fe:a9fe]",
            "0xa9fea9fe",
            "2852039166",
            "127.1",
            "0177.0.0.1",
            "[fd00::1]",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            let outcome = get(&fetcher, &format!("https://{host}:9/"));
            assert!(matches!(outcome, Err(FetchError::Private)), "{host}: {outcome:?}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_a_private_address_is_refused() {
        let outcome = get(&Fetcher::new(false).unwrap(), "https://localhost:9/");
        assert!(matches!(outcome, Err(FetchError::Private)), "{outcome:?}");
    }

    #[test]
    fn plain_http_is_refused_on_the_internet() {
        assert!(matches!(
            get(&Fetcher::new(false).unwrap(), "http://example.com/"),
            Err(FetchError::Scheme)
        ));
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let url = serve(|stream| {
            let _ =
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        });
        assert_eq!(get(&Fetcher::new(true).unwrap(), &url).unwrap().status(), 302);
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let url = serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        });
        let outcome = get(&Fetcher::new(true).unwrap(), &url);
        assert!(matches!(outcome, Err(FetchError::Endless)), "{outcome:?}");
    }

    #[test]
    fn an_error_never_shows_the_url() {
        let error = get(&Fetcher::new(true).unwrap(), "http://127.0.0.1:1/?code=hunter2").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
