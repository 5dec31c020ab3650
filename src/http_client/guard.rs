//! Keeps requests away from private addresses: the addresses that are checked are the ones that are connected to.

use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;
use url::{Host, Url};

use crate::domain::address::is_public;

/// Checks literal addresses and resolves names to addresses that may be connected to.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    /// Whether loopback and private addresses are allowed.
    pub(super) allow_private_network: bool,
}

/// The host is, or resolves to, an address on a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not on the public internet")]
pub(super) struct PrivateAddress;

impl Guard {
    /// Checks a URL whose host is an address; names are checked when they are resolved.
    pub(super) fn check(self, url: &Url) -> Result<(), PrivateAddress> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.allow_private_network || is_public(address) {
            Ok(())
        } else {
            Err(PrivateAddress)
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (answer, answered) = oneshot::channel();
        let allow_private_network = self.allow_private_network;
        // The system's resolver blocks; a thread of its own keeps a slow one from holding up other requests.
        let started = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            // The receiver is gone if the request timed out.
            let _ = answer.send(resolve(name.as_str(), allow_private_network));
        });
        Box::pin(async move {
            started?;
            let addresses: Addrs = Box::new(answered.await??.into_iter());
            Ok(addresses)
        })
    }
}

fn resolve(host: &str, allow_private_network: bool) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    // Port 0 stands for the one of the URL.
    let addresses: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    // One private address among public ones could be reached by a retry.
    if !allow_private_network && addresses.iter().any(|address| !is_public(address.ip())) {
        return Err(PrivateAddress.into());
    }
    Ok(addresses)
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
            let guard = |allow_private_network| Guard { allow_private_network };
            assert!(guard(false).check(&url).is_err(), "{text}");
            assert!(guard(true).check(&url).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_loopback_gives_no_address() {
        assert!(resolve("localhost", false).is_err());
        assert!(resolve("localhost", true).is_ok());
    }
}
