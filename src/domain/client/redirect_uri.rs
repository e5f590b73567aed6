//! Redirect URIs: kept exactly as registered and compared as text (RFC 9700 section 2.1).
//! Nothing here normalises: two spellings of one place are two URIs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// How many bytes a redirect URI may take.
pub const REDIRECT_URI_BYTES_MAX: usize = 512;

/// An absolute URI without fragment that a code may be sent to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(Arc<str>);

/// Why a text is not a redirect URI that can be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARedirectUri {
    /// Not an absolute URI, with a fragment or user information, or too long.
    #[error("a redirect URI is absolute, without fragment or user, of at most 512 bytes")]
    Syntax,
    /// A scheme by which a code could reach someone else.
    #[error("a redirect URI is https, http to a loopback host, or a private-use scheme with a dot")]
    Scheme,
}

impl RedirectUri {
    /// The URI as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `given`, as sent by a client, is this URI: byte for byte, but for the port of an
    /// `http` URI to a loopback host, which a native app learns only at run time (RFC 8252
    /// section 7.3, RFC 9700 section 2.1).
    pub fn matches(&self, given: &str) -> bool {
        if *self.0 == *given {
            return true;
        }
        match (Loopback::parse(&self.0), Loopback::parse(given)) {
            (Some(registered), Some(given)) => registered == given,
            (None | Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// An `http` URI to a loopback host, without its port.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    /// Path and query.
    rest: &'a str,
}

impl<'a> Loopback<'a> {
    fn parse(uri: &'a str) -> Option<Self> {
        let after_scheme = uri.strip_prefix("http://")?;
        let end = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme.split_at_checked(end)?;
        // The colons of an IPv6 address stand before its bracket.
        let colon =
            authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|end| end < *at));
        let (host, port) = match colon {
            Some(at) => authority.split_at_checked(at)?,
            None => (authority, ""),
        };
        let digits = port.strip_prefix(':').unwrap_or("1");
        let is_port = digits.bytes().all(|c| c.is_ascii_digit()) && digits.parse() != Ok(0_u16);
        (is_port && digits.parse::<u16>().is_ok() && is_loopback(host))
            .then_some(Self { host, rest })
    }
}

/// Whether `host`, as written in a URI, can only be this machine (RFC 8252 sections 7.3 and 8.3).
fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) => address.is_loopback() && address.to_string() == host,
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(_)) => host == "localhost",
        Err(_) => false,
    }
}

impl FromStr for RedirectUri {
    type Err = NotARedirectUri;

    fn from_str(text: &str) -> Result<Self, NotARedirectUri> {
        // The URL parser drops or rewrites what a URI cannot hold, so that is refused before.
        let allowed = |c: u8| c.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&c);
        if REDIRECT_URI_BYTES_MAX < text.len() || !text.bytes().all(allowed) {
            return Err(NotARedirectUri::Syntax);
        }
        let url = Url::parse(text).map_err(|_| NotARedirectUri::Syntax)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotARedirectUri::Syntax);
        }
        let is_safe = match url.scheme() {
            "https" => has_host(text, "https://"),
            "http" => Loopback::parse(text).is_some(),
            // RFC 8252 section 7.1: a private-use scheme is a reversed domain name.
            scheme => scheme.contains('.') && text.starts_with(scheme),
        };
        if is_safe { Ok(Self(text.into())) } else { Err(NotARedirectUri::Scheme) }
    }
}

/// Whether `text` names a host right after `scheme`; the URL parser would forgive `https:a`.
fn has_host(text: &str, scheme: &str) -> bool {
    text.strip_prefix(scheme).is_some_and(|rest| !rest.starts_with(['/', '?', '@']))
}

impl TryFrom<String> for RedirectUri {
    type Error = NotARedirectUri;

    fn try_from(text: String) -> Result<Self, NotARedirectUri> {
        text.parse()
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0.as_ref().to_owned()
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> RedirectUri {
        text.parse().unwrap()
    }

    #[test]
    fn https_loopback_and_private_use_schemes_are_kept_as_written() {
        for text in [
            "https://app.example/cb",
            "https://App.example",
            "https://app.example:8443/cb?next=%2F",
            "http://127.0.0.1/cb",
            "http://127.8.9.1:3000/cb",
            "http://[::1]:3000",
            "http://localhost/",
            "com.example.app:/cb",
            "com.example.app://cb",
        ] {
            assert_eq!(uri(text).as_str(), text);
        }
    }

    #[test]
    fn what_is_no_absolute_uri_is_refused() {
        let long = format!("https://a.example/{}", "a".repeat(REDIRECT_URI_BYTES_MAX));
        for text in [
            "",
            "/cb",
            "app.example/cb",
            "https://",
            "https://a.example/cb#x",
            "https://a.example/cb#",
            "https://a.example/ b",
            "https://a.example/\u{e9}",
            "https://a.example\\cb",
            "https://user@a.example/cb",
            "http://user:pass@127.0.0.1/cb",
            "\thttps://a.example/",
            long.as_str(),
        ] {
            assert_eq!(text.parse::<RedirectUri>(), Err(NotARedirectUri::Syntax), "{text:?}");
        }
    }

    #[test]
    fn a_scheme_that_leaks_codes_is_refused() {
        for text in [
            "http://a.example/cb",
            "http://127.0.0.1.a.example/cb",
            "http://localhost.a.example/cb",
            "http://0x7f.1/cb",
            "http://10.0.0.1/cb",
            "http://[::2]/cb",
            "http://127.0.0.1:/cb",
            "http:127.0.0.1/cb",
            "https:a.example/cb",
            "https:///a.example/cb",
            "https://@a.example/cb",
            "HTTPS://a.example/cb",
            "javascript:alert(1)",
            "data:text/html,a.b",
            "myapp:/cb",
        ] {
            assert_eq!(text.parse::<RedirectUri>(), Err(NotARedirectUri::Scheme), "{text:?}");
        }
    }

    #[test]
    fn a5_a_redirect_uri_matches_exactly() {
        let registered = uri("https://a.example/cb");
        assert!(registered.matches("https://a.example/cb"));
        for given in [
            "https://a.example/cb/",
            "https://a.example/cb?x=1",
            "https://A.example/cb",
            "https://a.example:443/cb",
            "http://a.example/cb",
            "https://a.example/%63b",
            "",
        ] {
            assert!(!registered.matches(given), "{given}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_uri_may_differ() {
        for (registered, given, matches) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]/cb", "http://[::1]:51004/cb", true),
            ("http://localhost/cb?a", "http://localhost:51004/cb?a", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:+80/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.2:80/cb", false),
            ("http://127.0.0.1/cb", "http://localhost:80/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80/cb/", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@a.example/cb", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:80/cb", false),
            ("https://127.0.0.1/cb", "https://127.0.0.1:80/cb", false),
            ("com.example.app:/cb", "com.example.app:80/cb", false),
        ] {
            assert_eq!(uri(registered).matches(given), matches, "{registered} {given}");
        }
    }

    #[test]
    fn a_redirect_uri_is_a_json_string() {
        let text = "\"https://a.example/cb\"";
        let parsed: RedirectUri = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), text);
        assert!(serde_json::from_str::<RedirectUri>("\"/cb\"").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}", tail in "[0-9a-z.:/?@\\[\\]%+]{0,40}") {
            for text in [&text, &format!("http://{tail}"), &format!("https://{tail}"), &tail] {
                let parsed = text.parse::<RedirectUri>();
                prop_assert!(parsed.is_err() || parsed.is_ok_and(|uri| uri.matches(text)));
                uri("http://127.0.0.1/cb").matches(text);
            }
        }
    }
}
