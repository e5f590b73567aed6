//! How a client proves itself with its own keys: their set, or where it publishes them (RFC 7591
//! section 2, `jwks` and `jwks_uri`). Only public halves get this far.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::domain::client::{AuthMethod, ClientMetadata, MetadataFault, require};

/// How many bytes a `jwks_uri` may take.
pub const JWKS_URI_BYTES_MAX: usize = 512;

/// Where a client publishes its keys: `https`, or `http` on this machine.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JwksUri(Arc<str>);

/// Why keys are not fetched from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a jwks_uri is an https URL (http to a loopback host) of at most 512 bytes")]
pub struct NotAJwksUri;

impl JwksUri {
    /// The URI as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JwksUri {
    type Err = NotAJwksUri;

    fn from_str(text: &str) -> Result<Self, NotAJwksUri> {
        let allowed = |c: u8| c.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&c);
        if JWKS_URI_BYTES_MAX < text.len() || !text.bytes().all(allowed) {
            return Err(NotAJwksUri);
        }
        let url = Url::parse(text).map_err(|_| NotAJwksUri)?;
        let is_loopback = match url.host().ok_or(NotAJwksUri)? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(name) => name == "localhost",
        };
        let is_safe = match url.scheme() {
            "https" => text.starts_with("https://"),
            "http" => is_loopback && text.starts_with("http://"),
            _ => false,
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        if is_safe && !has_user { Ok(Self(text.into())) } else { Err(NotAJwksUri) }
    }
}

impl TryFrom<String> for JwksUri {
    type Error = NotAJwksUri;

    fn try_from(text: String) -> Result<Self, NotAJwksUri> {
        text.parse()
    }
}

impl From<JwksUri> for String {
    fn from(uri: JwksUri) -> Self {
        uri.as_str().to_owned()
    }
}

impl fmt::Debug for JwksUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JwksUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClientMetadata {
    /// Whether the client authenticates with a secret that the ledger made.
    pub fn has_secret(&self) -> bool {
        match self.token_endpoint_auth_method {
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => true,
            AuthMethod::PrivateKeyJwt | AuthMethod::None => false,
        }
    }

    pub(super) fn check_keys(&self) -> Result<(), MetadataFault> {
        let proves = self.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt;
        let what = "only one of jwks and jwks_uri may be registered; null takes one away";
        require(self.jwks.is_none() || self.jwks_uri.is_none(), "jwks_uri", what)?;
        let what = "private_key_jwt needs the client's public keys, in jwks or by jwks_uri";
        require(!proves || self.jwks.is_some() || self.jwks_uri.is_some(), "jwks", what)?;
        let what = "is for token_endpoint_auth_method private_key_jwt only; null takes it away";
        require(proves || self.jwks.is_none(), "jwks", what)?;
        require(proves || self.jwks_uri.is_none(), "jwks_uri", what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_fetched_by_https_or_from_this_machine() {
        for text in [
            "https://app.example/jwks.json",
            "https://app.example:8443/keys?of=app",
            "http://127.0.0.1:9000/",
            "http://[::1]/jwks",
            "http://localhost/jwks",
        ] {
            assert_eq!(text.parse::<JwksUri>().map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
        let long = format!("https://app.example/{}", "a".repeat(JWKS_URI_BYTES_MAX));
        for text in [
            "",
            "/jwks",
            "http://app.example/jwks",
            "http://localhost.example/",
            "http://10.0.0.1/",
            "ftp://app.example/",
            "file:///etc/passwd",
            "https:app.example",
            "https://user@app.example/",
            "https://app.example/#a",
            "https://app.example/a b",
            &long,
        ] {
            assert_eq!(text.parse::<JwksUri>(), Err(NotAJwksUri), "{text}");
        }
    }

    fn fault_of(method: AuthMethod, jwks: bool, jwks_uri: bool) -> Option<&'static str> {
        let x = "A".repeat(43);
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
        let metadata = ClientMetadata {
            token_endpoint_auth_method: method,
            jwks: jwks.then(|| serde_json::from_value(set).unwrap()),
            jwks_uri: jwks_uri.then(|| "https://app.example/jwks".parse().unwrap()),
            ..ClientMetadata::default()
        };
        metadata.check(false).err().map(|fault| fault.member)
    }

    #[test]
    fn c8_keys_are_registered_for_private_key_jwt_and_for_nothing_else() {
        for method in AuthMethod::ALL {
            let proves = method == AuthMethod::PrivateKeyJwt;
            assert_eq!(fault_of(method, false, false), proves.then_some("jwks"), "{method:?}");
            assert_eq!(fault_of(method, true, false), (!proves).then_some("jwks"), "{method:?}");
            let of_uri = fault_of(method, false, true);
            assert_eq!(of_uri, (!proves).then_some("jwks_uri"), "{method:?}");
            assert_eq!(fault_of(method, true, true), Some("jwks_uri"), "{method:?}");
        }
    }

    #[test]
    fn metadata_of_before_there_were_keys_is_read_and_written_as_it_was() {
        let text = serde_json::to_string(&ClientMetadata::default()).unwrap();
        assert!(!text.contains("jwks"), "{text}");
        let read: ClientMetadata = serde_json::from_str(&text).unwrap();
        assert_eq!((read.jwks, read.jwks_uri), (None, None));
    }
}
