//! What a guard is told when it is made. It is checked once, there, and never at a request.

use jsonwebtoken::Algorithm;
use url::{Host, Url};

use crate::types::id::ClientId;
use crate::types::resource::Resource;
use crate::types::secret::Secret;

/// The longest leeway in seconds: more would hide a clock that is simply wrong.
const LEEWAY_MAX_S: u64 = 300;

/// What every guard needs to know.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// The issuer, exactly as it stands in the `iss` of its tokens.
    pub issuer: String,
    /// The resource that this API is: one member of the `aud` of every token that it takes.
    pub resource: Resource,
    /// The realm of the challenges (RFC 9110 section 11.5). Default `api`.
    pub realm: String,
    /// How far the issuer's clock and ours may be apart, in seconds. Default 30, at most 300.
    pub leeway_s: u64,
    /// How long connecting to the issuer may take, in milliseconds. Default 2,000.
    pub connect_timeout_ms: u64,
    /// How long one whole answer of the issuer may take, in milliseconds. Default 5,000.
    pub answer_timeout_ms: u64,
    /// Whether the issuer may be reached by plain `http` beyond the loopback interface, where
    /// whoever is on the path can name the keys or read the tokens. Default no.
    pub plain_http_allowed: bool,
}

/// What a guard by published keys needs to know (RFC 7517).
#[derive(Debug, Clone)]
pub struct JwksOptions {
    /// Where the issuer publishes its keys.
    pub jwks_uri: Url,
    /// The signature algorithms that are taken. Default all three.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The least time between two fetches in seconds, whatever the tokens name. Default 10.
    pub jwks_refetch_min_s: u32,
    /// From which age on the keys are fetched anew, in seconds. Default 300.
    pub jwks_max_age_s: u32,
    /// Up to which age keys are used when they cannot be fetched, in seconds. Default 3,600.
    pub jwks_stale_max_s: u32,
}

/// What a guard by introspection needs to know (RFC 7662). It holds a secret, so it has no `Debug`.
pub struct IntrospectionOptions {
    /// The issuer's introspection endpoint.
    pub introspection_endpoint: Url,
    /// As which client this API asks.
    pub client_id: ClientId,
    /// That client's secret, sent by `client_secret_basic`.
    pub client_secret: Secret,
    /// For how long an answer may be used again, in seconds; a revocation may go unseen for as
    /// long. Default 0: each request asks.
    pub cache_s_max: u32,
    /// How many answers are kept. Default 10,000.
    pub cache_entries_max: usize,
    /// How many questions may be under way at once; beyond, the answer is 503. Default 256.
    pub calls_max: usize,
}

/// A signature algorithm of RFC 7518 or RFC 8037 that a guard can check. There is no `none` and no
/// shared-secret algorithm to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// EdDSA with Ed25519.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits or more.
    Rs256,
}

/// Why a guard cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GuardFault {
    /// An issuer is never empty.
    #[error("issuer is empty: give it exactly as it stands in the tokens")]
    Issuer,
    /// The realm cannot be written into a header.
    #[error("realm may hold printable ASCII but \" and \\, and is not empty")]
    Realm,
    /// The leeway hides a wrong clock.
    #[error("leeway_s is at most 300")]
    Leeway,
    /// A time limit of 0 lets nothing through.
    #[error("{0} is at least 1")]
    Zero(&'static str),
    /// Neither `https` nor `http`, or `http` where it was not allowed.
    #[error("{0} is https, or http on the loopback interface, or needs plain_http_allowed")]
    Scheme(&'static str),
    /// No algorithm is left.
    #[error("algorithms is empty: no token could pass")]
    Algorithms,
    /// Keys would be too old to use before they are fetched anew.
    #[error("jwks_stale_max_s is at least jwks_max_age_s, which is at least jwks_refetch_min_s")]
    Ages,
    /// The HTTP client could not be set up, most likely for want of TLS roots.
    #[error("the HTTP client cannot be set up")]
    HttpClient(#[source] reqwest::Error),
    /// The client's credentials cannot be written into a header.
    #[error("client_id and client_secret do not fit into a header")]
    Credentials,
}

impl GuardOptions {
    /// The defaults, for the API `resource` that takes the tokens of `issuer`.
    pub fn new(issuer: impl Into<String>, resource: Resource) -> Self {
        Self {
            issuer: issuer.into(),
            resource,
            realm: "api".to_owned(),
            leeway_s: 30,
            connect_timeout_ms: 2_000,
            answer_timeout_ms: 5_000,
            plain_http_allowed: false,
        }
    }

    pub(super) fn check(&self) -> Result<(), GuardFault> {
        let quotable = |c: u8| matches!(c, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if self.issuer.is_empty() {
            return Err(GuardFault::Issuer);
        }
        if self.realm.is_empty() || !self.realm.bytes().all(quotable) {
            return Err(GuardFault::Realm);
        }
        if LEEWAY_MAX_S < self.leeway_s {
            return Err(GuardFault::Leeway);
        }
        Ok(())
    }

    /// Whether the issuer may be asked at `uri`.
    pub(super) fn check_uri(&self, name: &'static str, uri: &Url) -> Result<(), GuardFault> {
        let loopback = match uri.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match uri.scheme() {
            "https" => Ok(()),
            "http" if loopback || self.plain_http_allowed => Ok(()),
            _ => Err(GuardFault::Scheme(name)),
        }
    }
}

impl JwksOptions {
    /// The defaults, for the keys at `jwks_uri`.
    pub fn new(jwks_uri: Url) -> Self {
        let algorithms = SignatureAlgorithm::ALL.to_vec();
        Self {
            jwks_uri,
            algorithms,
            jwks_refetch_min_s: 10,
            jwks_max_age_s: 300,
            jwks_stale_max_s: 3_600,
        }
    }

    pub(super) fn check(&self) -> Result<(), GuardFault> {
        if self.algorithms.is_empty() {
            return Err(GuardFault::Algorithms);
        }
        if self.jwks_refetch_min_s == 0 {
            return Err(GuardFault::Zero("jwks_refetch_min_s"));
        }
        let ages = [self.jwks_refetch_min_s, self.jwks_max_age_s, self.jwks_stale_max_s];
        if ages.is_sorted() { Ok(()) } else { Err(GuardFault::Ages) }
    }
}

impl IntrospectionOptions {
    /// The defaults: no cache, 256 questions at once.
    pub fn new(introspection_endpoint: Url, client_id: ClientId, client_secret: Secret) -> Self {
        Self {
            introspection_endpoint,
            client_id,
            client_secret,
            cache_s_max: 0,
            cache_entries_max: 10_000,
            calls_max: 256,
        }
    }

    pub(super) fn check(&self) -> Result<(), GuardFault> {
        if self.cache_entries_max == 0 {
            return Err(GuardFault::Zero("cache_entries_max"));
        }
        if self.calls_max == 0 {
            return Err(GuardFault::Zero("calls_max"));
        }
        Ok(())
    }
}

impl SignatureAlgorithm {
    /// Every algorithm that a guard can check.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The value of `alg` (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_the_loopback_interface() {
        let resource = "https://api.example.com".parse().expect("a resource");
        let mut options = GuardOptions::new("https://tokens.example.com", resource);
        for (uri, fits) in [
            ("https://tokens.example.com/jwks", true),
            ("http://127.0.0.1:8080/jwks", true),
            ("http://[::1]/jwks", true),
            ("http://localhost/jwks", true),
            ("http://tokens.example.com/jwks", false),
            ("http://localhost.example.com/jwks", false),
            ("file:///etc/jwks", false),
        ] {
            let uri: Url = uri.parse().expect("a URI");
            assert_eq!(options.check_uri("jwks_uri", &uri).is_ok(), fits, "{uri}");
        }
        options.plain_http_allowed = true;
        let uri = "http://tokens.example.com/jwks".parse().expect("a URI");
        assert!(options.check_uri("jwks_uri", &uri).is_ok());
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let resource = "https://api.example.com".parse().expect("a resource");
        let options = GuardOptions::new("https://tokens.example.com", resource);
        let realm = GuardOptions { realm: "a\"b".to_owned(), ..options.clone() };
        assert!(matches!(realm.check(), Err(GuardFault::Realm)));
        let issuer = GuardOptions { issuer: String::new(), ..options.clone() };
        assert!(matches!(issuer.check(), Err(GuardFault::Issuer)));
        let leeway = GuardOptions { leeway_s: 301, ..options };
        assert!(matches!(leeway.check(), Err(GuardFault::Leeway)));
        let mut jwks = JwksOptions::new("https://a/jwks".parse().expect("a URI"));
        assert!(jwks.check().is_ok());
        jwks.jwks_stale_max_s = 299;
        assert!(matches!(jwks.check(), Err(GuardFault::Ages)));
        jwks.algorithms.clear();
        assert!(matches!(jwks.check(), Err(GuardFault::Algorithms)));
    }
}
