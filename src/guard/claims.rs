//! What an access token or an introspection answer says, and whether it is meant for this API and
//! this moment. Pure: the time is an argument.

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny};

use crate::types::resource::Resource;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

use super::access::{Access, Facts};
use super::options::GuardOptions;
use super::refused::Cause;

/// The claims of RFC 9068 section 2.2, which are also the members of RFC 7662 section 2.2.
#[derive(serde::Deserialize)]
pub(super) struct Claims {
    pub(super) iss: Option<String>,
    pub(super) aud: Option<Audience>,
    pub(super) exp: Option<NumericDate>,
    pub(super) iat: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) sub: Option<Box<str>>,
    pub(super) client_id: Option<String>,
    pub(super) jti: Option<Box<str>>,
    pub(super) scope: Option<String>,
    pub(super) token_type: Option<String>,
    pub(super) cnf: Option<IgnoredAny>,
}

/// `aud`: one string, or an array of strings (RFC 7519 section 4.1.3).
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since the epoch, perhaps with a fraction (RFC 7519 section 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NumericDate(pub(super) Timestamp);

/// What the claims are held against.
pub(super) struct Expected {
    issuer: Box<str>,
    resource: Resource,
    leeway_s: u64,
}

impl Expected {
    pub(super) fn new(options: GuardOptions) -> Self {
        let GuardOptions { issuer, resource, leeway_s, .. } = options;
        Self { issuer: issuer.into(), resource, leeway_s }
    }

    /// What the token allows, if it is one of our issuer, for us, for now, and for any bearer.
    pub(super) fn check(&self, claims: Claims, now: Timestamp) -> Result<Access, Cause> {
        if claims.iss.as_deref() != Some(&*self.issuer) {
            return Err(Cause::InvalidToken("the access token is from another issuer"));
        }
        if !claims.aud.is_some_and(|aud| aud.contains(&self.resource)) {
            return Err(Cause::InvalidToken("the access token is not for this resource"));
        }
        let Some(NumericDate(expires_at)) = claims.exp else {
            return Err(Cause::InvalidToken("the access token has no expiry"));
        };
        // "On or after" is too late (RFC 7519 section 4.1.4).
        if expires_at.plus_seconds(self.leeway_s) <= now {
            return Err(Cause::InvalidToken("the access token is expired"));
        }
        let latest = now.plus_seconds(self.leeway_s);
        if [claims.iat, claims.nbf].into_iter().flatten().any(|NumericDate(from)| latest < from) {
            return Err(Cause::InvalidToken("the access token is not valid yet"));
        }
        // A token bound to a key is no bearer token: taking it without proof of the key would undo
        // the binding (RFC 9449 section 7.2, RFC 8705 section 3).
        if claims.cnf.is_some() {
            return Err(Cause::InvalidToken("the access token is bound to a key"));
        }
        let client_id = claims.client_id.map(|client| client.parse()).transpose();
        let scope: Result<Scope, _> = claims.scope.unwrap_or_default().parse();
        let (Ok(client_id), Ok(scope)) = (client_id, scope) else {
            return Err(Cause::InvalidToken("the access token has a malformed claim"));
        };
        let (subject, jti) = (claims.sub, claims.jti);
        Ok(Access::new(Facts { subject, client_id, scope, jti, expires_at }))
    }
}

impl Audience {
    fn contains(&self, resource: &Resource) -> bool {
        match self {
            Self::One(one) => one == resource.as_str(),
            Self::Many(many) => many.iter().any(|one| one == resource.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(from)?;
        if let Some(seconds) = number.as_u64() {
            return Ok(Self(Timestamp::from_seconds(seconds)));
        }
        match number.as_f64() {
            // The cast saturates, and a timestamp is clamped to the year 9999.
            Some(seconds) if 0.0 <= seconds => {
                Ok(Self(Timestamp::from_micros((seconds * 1_000_000.0) as u64)))
            }
            Some(_) | None => Err(D::Error::custom("a date before 1970")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Option<NumericDate> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn a_date_may_have_a_fraction_and_is_never_negative() {
        assert_eq!(date("17"), Some(NumericDate(Timestamp::from_seconds(17))));
        assert_eq!(date("17.5"), Some(NumericDate(Timestamp::from_micros(17_500_000))));
        assert_eq!(date("1e300"), Some(NumericDate(Timestamp::from_micros(u64::MAX))));
        for text in ["-1", "-0.5", "\"17\"", "null", "[]"] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
