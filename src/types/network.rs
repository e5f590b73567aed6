//! Whom to believe about where a request came from: the addresses of our own proxies.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

/// How many proxies and networks may be named.
const PROXIES_MAX: usize = 64;

/// The proxies that stand in front of the service; none unless the operator names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// Why a text does not name proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of addresses and networks like 10.0.0.7, 10.1.0.0/16")]
pub struct NotProxies;

impl TrustedProxies {
    /// Whether there is no proxy.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is a proxy of ours. An IPv4 address is the same when written as IPv6.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = NotProxies;

    fn from_str(text: &str) -> Result<Self, NotProxies> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let read = |part: &str| {
            let part = part.trim();
            let address = part.parse::<IpAddr>().ok().map(|address| address.to_canonical().into());
            address.or_else(|| part.parse::<IpNet>().ok()).ok_or(NotProxies)
        };
        let networks = text.split(',').map(read).collect::<Result<Arc<[IpNet]>, NotProxies>>()?;
        if networks.len() <= PROXIES_MAX { Ok(Self(networks)) } else { Err(NotProxies) }
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies: TrustedProxies = "10.0.0.7, 10.1.0.0/16,2001:db8::/32".parse().unwrap();
        for (address, expected) in [
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("10.0.0.8", false),
            ("10.1.255.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(proxies.trust(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(" ".parse(), Ok(TrustedProxies::default()));
        for text in ["proxy", "10.0.0.0/33", "10.0.0.1,", "10.0.0.1 10.0.0.2", "*"] {
            assert_eq!(text.parse::<TrustedProxies>(), Err(NotProxies), "{text}");
        }
    }
}
