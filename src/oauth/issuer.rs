//! The issuer identifier (RFC 8414 section 2): one spelling, compared as text, never normalised.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use url::{Host, Url};

/// How many bytes an issuer may take.
pub const ISSUER_BYTES_MAX: usize = 256;

/// Where RFC 8414 section 3 puts the metadata.
const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

/// An `https` URL without query and fragment; `http` where the host is a loopback.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Issuer(Arc<str>);

/// Why a text is not an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIssuer {
    /// Not an absolute URL, or too long.
    #[error("an issuer is an absolute URL of at most 256 bytes, like https://auth.example.com")]
    Syntax,
    /// `http` to another host than this one, or another scheme.
    #[error("an issuer is https; http is only for 127.0.0.0/8, [::1] and localhost")]
    NotHttps,
    /// User information, a query, a fragment, a `+`, which the name of a log cannot hold, or a `%`, which a
    /// new ledger's cannot.
    #[error("an issuer has no user, query or fragment, and no '+' or '%'")]
    Parts,
    /// A spelling that clients would not compare equal: capitals in the host, a default port, `..`.
    #[error(
        "an issuer is written in its normal form: host in lower case, no default port, no dots"
    )]
    NotNormal,
}

impl Issuer {
    /// The issuer as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The issuer without its scheme: the origin of the log, and the name of its keys.
    pub fn origin_name(&self) -> &str {
        self.0.split_once("://").map_or(self.as_str(), |(_, rest)| rest)
    }

    /// The path, without the slash that may end it: `""` or like `/tenant`.
    pub fn path(&self) -> &str {
        let name = self.origin_name();
        name.find('/').and_then(|at| name.get(at..)).unwrap_or_default().trim_end_matches('/')
    }

    /// The port under which programs on this machine look for the service, where the issuer's host is a
    /// loopback; none where it is another host, whose ports lead through what is not seen here.
    pub fn loopback_port(&self) -> Option<u16> {
        let url = Url::parse(self.as_str()).ok()?;
        is_loopback(url.host()?).then(|| url.port_or_known_default()).flatten()
    }

    /// The path of the metadata: the issuer's own path comes last (RFC 8414 section 3.1).
    pub fn well_known_path(&self) -> String {
        format!("{WELL_KNOWN}{}", self.path())
    }

    /// The URL of `path`, which begins with a slash, below the issuer.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

fn is_loopback(host: Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    }
}

impl FromStr for Issuer {
    type Err = NotAnIssuer;

    fn from_str(text: &str) -> Result<Self, NotAnIssuer> {
        let printable = |c: u8| c.is_ascii_graphic();
        if ISSUER_BYTES_MAX < text.len() || !text.bytes().all(printable) {
            return Err(NotAnIssuer::Syntax);
        }
        let url = Url::parse(text).map_err(|_| NotAnIssuer::Syntax)?;
        let is_loopback = is_loopback(url.host().ok_or(NotAnIssuer::Syntax)?);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            _ => return Err(NotAnIssuer::NotHttps),
        }
        if text.contains(['?', '#', '@', '+']) {
            return Err(NotAnIssuer::Parts);
        }
        // RFC 8414 section 4 compares code points, so a spelling that some client's URL library
        // would rewrite must not be published. The parser adds only the slash of an empty path.
        let normal = url.as_str();
        if text != normal && normal.strip_suffix('/') != Some(text) || url.path().contains("//") {
            return Err(NotAnIssuer::NotNormal);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Issuer {
    type Error = NotAnIssuer;

    fn try_from(text: String) -> Result<Self, NotAnIssuer> {
        text.parse()
    }
}

impl Serialize for Issuer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issuer(text: &str) -> Issuer {
        text.parse().unwrap()
    }

    #[test]
    fn d2_an_issuer_is_kept_as_written() {
        for text in [
            "https://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com:8443/tenant",
            "https://auth.example.com/tenant/",
            "http://127.0.0.1:8080",
            "http://127.1.2.3",
            "http://[::1]:8080",
            "http://localhost:8080",
        ] {
            assert_eq!(issuer(text).as_str(), text);
            let json = serde_json::to_string(&issuer(text)).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Issuer>(&json).unwrap(), issuer(text));
        }
        assert_ne!(issuer("https://a.example"), issuer("https://a.example/"));
    }

    #[test]
    fn d2_what_is_not_https_is_refused() {
        for text in [
            "http://auth.example.com",
            "http://10.0.0.1",
            "http://[::2]",
            "http://localhost.example.com",
            "ftp://auth.example.com",
        ] {
            assert_eq!(text.parse::<Issuer>(), Err(NotAnIssuer::NotHttps), "{text}");
        }
    }

    #[test]
    fn d2_query_fragment_and_user_are_refused() {
        for text in [
            "https://a.example?x=1",
            "https://a.example/?",
            "https://a.example/#",
            "https://user@a.example",
            "https://a.example/a+b",
        ] {
            assert_eq!(text.parse::<Issuer>(), Err(NotAnIssuer::Parts), "{text}");
        }
    }

    #[test]
    fn an_issuer_has_one_spelling() {
        for text in [
            "HTTPS://a.example",
            "https://A.example",
            "https://a.example:443",
            "https://a.example/a/../b",
            "https://a.example//",
            "https:a.example",
            "https:///a.example",
            "https:\\\\a.example",
            "http://127.1",
        ] {
            assert_eq!(text.parse::<Issuer>(), Err(NotAnIssuer::NotNormal), "{text}");
        }
        for text in
            ["", "a.example", "/tenant", "https://", "https://a b", "https://caf\u{e9}", "urn:a"]
        {
            assert_eq!(text.parse::<Issuer>(), Err(NotAnIssuer::Syntax), "{text}");
        }
        let long = format!("https://a.example/{}", "a".repeat(ISSUER_BYTES_MAX));
        assert_eq!(long.parse::<Issuer>(), Err(NotAnIssuer::Syntax));
    }

    #[test]
    fn d1_the_path_of_an_issuer_follows_the_well_known_path() {
        for (text, origin, well_known) in [
            ("https://a.example", "a.example", WELL_KNOWN),
            ("https://a.example/", "a.example/", WELL_KNOWN),
            (
                "https://a.example:8443/t/u/",
                "a.example:8443/t/u/",
                "/.well-known/oauth-authorization-server/t/u",
            ),
        ] {
            assert_eq!(issuer(text).origin_name(), origin);
            assert_eq!(issuer(text).well_known_path(), well_known);
        }
    }

    #[test]
    fn only_an_issuer_on_this_machine_names_a_port_of_it() {
        for (text, port) in [
            ("http://127.0.0.1:8080", Some(8080)),
            ("http://127.1.2.3", Some(80)),
            ("https://localhost/tenant", Some(443)),
            ("http://[::1]:9", Some(9)),
            ("https://auth.example:8443", None),
            ("https://10.0.0.1", None),
        ] {
            assert_eq!(issuer(text).loopback_port(), port, "{text}");
        }
    }

    #[test]
    fn endpoints_stand_below_the_issuer() {
        let endpoint = |text| issuer(text).endpoint("/oauth/token");
        assert_eq!(endpoint("https://a.example"), "https://a.example/oauth/token");
        assert_eq!(endpoint("https://a.example/"), "https://a.example/oauth/token");
        assert_eq!(endpoint("https://a.example/t"), "https://a.example/t/oauth/token");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", tail in "[0-9a-zA:/.?@#\\[\\]%+\\\\-]{0,40}") {
            for text in [&text, &format!("http://{tail}"), &format!("https://{tail}")] {
                if let Ok(issuer) = text.parse::<Issuer>() {
                    prop_assert_eq!(issuer.as_str(), text);
                    prop_assert!(issuer.well_known_path().starts_with(WELL_KNOWN));
                    let scheme = text.len() - issuer.origin_name().len();
                    prop_assert_eq!(&text[scheme..], issuer.origin_name());
                }
            }
        }
    }
}
