//! The HTTP client towards other hosts: checked addresses only, no redirects, bounded answers.

mod guard;

use std::error::Error as StdError;
use std::io::Read;
use std::time::{Duration, Instant};

use http::{Request, Response};
use reqwest::redirect::Policy;
use url::Url;

use guard::{Guard, PrivateAddress};

/// How long a connection, and each wait for bytes, may take unless the caller says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole answer may take, however slowly it arrives.
const TOTAL: Duration = Duration::from_secs(20);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// A request with its whole body.
pub type HttpRequest = Request<Vec<u8>>;
/// An answer with its whole body.
pub type HttpResponse = Response<Vec<u8>>;

/// Why a request brought no answer. No variant shows a URL: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The scheme is neither `https` nor, where the settings allow it, `http`.
    #[error("the address is not an https URL")]
    Scheme,
    /// The host is, or resolves to, an address that is not on the public internet.
    #[error("the address is not on the public internet: set allow_private_network if that is meant")]
    Private,
    /// The answer is too large.
    #[error("the answer is longer than 1 MiB")]
    TooLarge,
    /// The answer did not end in time.
    #[error("the answer took too long")]
    TooSlow,
    /// There was no answer in time.
    #[error("the host did not answer in time")]
    TimedOut(#[source] Box<dyn StdError + Send + Sync>),
    /// There was no connection.
    #[error("the host could not be reached")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The connection ended before the answer did.
    #[error("the connection was closed before the answer was complete")]
    Interrupted(#[source] Box<dyn StdError + Send + Sync>),
}

impl HttpError {
    /// The message with the cause at its root, such as a refused connection, an unknown host or an untrusted certificate.
    pub(crate) fn with_cause(&self) -> String {
        let mut root = self.source();
        while let Some(deeper) = root.and_then(StdError::source) {
            root = Some(deeper);
        }
        match root {
            Some(root) => format!("{self}: {root}"),
            None => self.to_string(),
        }
    }
}

/// The addresses that a client may call, and its time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpSettings {
    /// Whether loopback and private addresses may be called.
    pub allow_private_network: bool,
    /// Whether plain `http` is allowed.
    pub allow_plain_http: bool,
    /// How long a connection, and each wait for bytes, may take.
    pub timeout: Duration,
    /// How long a whole answer may take.
    pub total: Duration,
    /// The number of idle connections that are kept for each host.
    pub idle_connections: usize,
}

impl HttpSettings {
    /// The default limits. Plain `http` is allowed only together with private addresses.
    pub(crate) fn new(allow_private_network: bool) -> Self {
        Self {
            allow_private_network,
            allow_plain_http: allow_private_network,
            timeout: TIMEOUT,
            total: TOTAL,
            idle_connections: usize::MAX,
        }
    }
}

/// Sends requests within its settings. Methods block.
pub(crate) struct HttpClient {
    client: reqwest::blocking::Client,
    guard: Guard,
    settings: HttpSettings,
}

impl HttpClient {
    /// Prepares a client; nothing is sent yet.
    pub(crate) fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        let guard = Guard {
            allow_private_network: settings.allow_private_network,
        };
        let client = reqwest::blocking::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout)
            .pool_max_idle_per_host(settings.idle_connections)
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(std::sync::Arc::new(guard))
            .build()
            .map_err(failure)?;
        Ok(Self {
            client,
            guard,
            settings,
        })
    }

    /// Checks a URL before its host is resolved: its scheme, and its host if that is an address.
    pub(crate) fn check(&self, url: &Url) -> Result<(), HttpError> {
        match url.scheme() {
            "https" => {}
            "http" if self.settings.allow_plain_http => {}
            _ => return Err(HttpError::Scheme),
        }
        self.guard.check(url).map_err(|PrivateAddress| HttpError::Private)
    }

    /// Sends a request and reads the whole answer. A redirect is an answer like any other.
    pub(crate) fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request: reqwest::blocking::Request = request.try_into().map_err(failure)?;
        // The connector does not resolve a literal address, so it is checked here.
        self.check(request.url())?;
        let started = Instant::now();
        let response = self.client.execute(request).map_err(failure)?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let body = self.read(response, started)?;
        answer.body(body).map_err(|error| HttpError::Interrupted(error.into()))
    }

    fn read(&self, mut response: reqwest::blocking::Response, started: Instant) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        let mut part = [0; 16 * 1024];
        loop {
            let length = response
                .read(&mut part)
                .map_err(|error| HttpError::Interrupted(error.into()))?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&part[..length]);
            if body.len() > LARGEST {
                return Err(HttpError::TooLarge);
            }
            if started.elapsed() > self.settings.total {
                return Err(HttpError::TooSlow);
            }
        }
    }
}

fn failure(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.is::<PrivateAddress>() {
            return HttpError::Private;
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        HttpError::TimedOut(error.into())
    } else if error.is_connect() || error.is_builder() {
        HttpError::Unreachable(error.into())
    } else {
        HttpError::Interrupted(error.into())
    }
}

/// Two clients: one for public addresses, one that may call private ones too.
pub struct HttpClients(Source);

enum Source {
    Network {
        public: HttpClient,
        private: HttpClient,
    },
    #[cfg(test)]
    Scripted(Box<Script>),
}

#[cfg(test)]
type Script = dyn Fn(HttpRequest) -> Result<HttpResponse, HttpError> + Send + Sync;

impl HttpClients {
    /// Prepares both clients with the default limits.
    pub fn new() -> Result<Self, HttpError> {
        Ok(Self(Source::Network {
            public: HttpClient::new(HttpSettings::new(false))?,
            private: HttpClient::new(HttpSettings::new(true))?,
        }))
    }

    /// Answers from a script instead of the network.
    #[cfg(test)]
    pub(crate) fn scripted(script: Box<Script>) -> Self {
        Self(Source::Scripted(script))
    }

    /// Sends a request with the client that the flag asks for.
    pub fn send(&self, request: HttpRequest, allow_private_network: bool) -> Result<HttpResponse, HttpError> {
        match &self.0 {
            Source::Network { private, .. } if allow_private_network => private.send(request),
            Source::Network { public, .. } => public.send(request),
            #[cfg(test)]
            Source::Scripted(script) => script(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn get(client: &HttpClient, url: &str) -> Result<HttpResponse, HttpError> {
        client.send(Request::get(url).body(Vec::new()).unwrap())
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
        let client = HttpClient::new(HttpSettings::new(false)).unwrap();
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
            let outcome = get(&client, &format!("https://{host}:9/"));
            assert!(matches!(outcome, Err(HttpError::Private)), "{host}: {outcome:?}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_a_private_address_is_refused() {
        let outcome = get(
            &HttpClient::new(HttpSettings::new(false)).unwrap(),
            "https://localhost:9/",
        );
        assert!(matches!(outcome, Err(HttpError::Private)), "{outcome:?}");
    }

    #[test]
    fn plain_http_is_refused_on_the_internet() {
        assert!(matches!(
            get(
                &HttpClient::new(HttpSettings::new(false)).unwrap(),
                "http://example.com/"
            ),
            Err(HttpError::Scheme)
        ));
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let url = serve(|stream| {
            let _ =
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        });
        assert_eq!(
            get(&HttpClient::new(HttpSettings::new(true)).unwrap(), &url)
                .unwrap()
                .status(),
            302
        );
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let url = serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        });
        let outcome = get(&HttpClient::new(HttpSettings::new(true)).unwrap(), &url);
        assert!(matches!(outcome, Err(HttpError::TooLarge)), "{outcome:?}");
    }

    #[test]
    fn an_error_never_shows_the_url() {
        let error = get(
            &HttpClient::new(HttpSettings::new(true)).unwrap(),
            "http://127.0.0.1:1/?code=hunter2",
        )
        .unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
