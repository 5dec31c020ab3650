//! Keeps requests away from addresses that a target has no business with: what is checked is what is connected to.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::domain::address::is_public;

/// Resolves names and gives only addresses that may be connected to.
pub(super) struct Guard {
    /// Whether loopback and private addresses are fine.
    pub(super) allow_private: bool,
}

/// A name or an address leads into a network that targets may not be in.
#[derive(Debug, thiserror::Error)]
#[error("the address is not on the public internet: set allow_private_network if that is meant")]
pub(super) struct Private;

impl Guard {
    /// Checks a URL whose host is an address; names are checked when they are resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), Private> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.allow_private || is_public(address) {
            Ok(())
        } else {
            Err(Private)
        }
    }
}

fn look_up(name: &str, allow_private: bool) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let allowed: Vec<SocketAddr> = (name, 0)
        .to_socket_addrs()?
        .filter(|address| allow_private || is_public(address.ip()))
        .collect();
    if allowed.is_empty() {
        Err(Private.into())
    } else {
        Ok(allowed)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (answer, result) = tokio::sync::oneshot::channel();
        let allow_private = self.allow_private;
        // The system's resolver blocks; the requests of the client's other callers must go on meanwhile.
        let started = std::thread::Builder::new()
            .name("target-lookup".to_owned())
            .spawn(move || {
                let _ = answer.send(look_up(name.as_str(), allow_private));
            });
        Box::pin(async move {
            started?;
            let addresses = result.await.map_err(|_| "the look-up was given up")??;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_any_spelling_are_checked() {
        for text in [
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://0.0.0.0/",
            "http://169.254.169.254/",
            "http://10.1.1.1/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[fd00::8]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://127.1/",
        ] {
            let url = Url::parse(text).unwrap();
            assert!(Guard { allow_private: false }.check(&url).is_err(), "{text}");
            assert!(Guard { allow_private: true }.check(&url).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_loopback_gives_no_address() {
        assert!(look_up("localhost", false).is_err());
        assert!(look_up("localhost", true).is_ok());
    }
}
