//! JWTs by which clients prove themselves (RFC 7523 sections 2.2 and 3). What an assertion says is
//! a claim until [`Assertion::prove`] has found it signed, meant for this server, and in its time.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::base64url;
use super::digest;
use super::jwk_set::{NoKey, OF_NOBODY, PublicJwkSet};
use super::public_jwk::algorithm_named;
use super::signing::SigningAlgorithm;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, KeyId};
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// How many bytes an assertion may take.
pub const ASSERTION_BYTES_MAX: usize = 8 * 1024;

/// Which audiences an assertion may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudienceRule {
    /// Among them the issuer, the token endpoint, or the endpoint that is called (RFC 7523
    /// section 3, item 3).
    Rfc7523,
    /// The issuer and nothing else, as one string (RFC 7523bis): no other server can pass the
    /// assertion on to this one.
    Issuer,
}

/// What an assertion has to say to be accepted.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedAssertion<'a> {
    /// The issuer identifier of this server.
    pub issuer: &'a str,
    /// The URLs that [`AudienceRule::Rfc7523`] accepts besides the issuer.
    pub endpoints: [&'a str; 2],
    /// Which of them.
    pub audience: AudienceRule,
    /// How far ahead `exp` may lie, in seconds.
    pub lifetime_s_max: u64,
    /// How far the clocks of both sides may be apart, in seconds.
    pub leeway_s: u64,
}

/// Why an assertion proves nothing. To the client all of them are `invalid_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionRefusal {
    /// Above [`ASSERTION_BYTES_MAX`].
    #[error("too long for an assertion")]
    TooLong,
    /// Not a signed JWT, or a claim is missing or of another type.
    #[error("not a signed JWT with iss, sub, aud, exp and jti")]
    Malformed,
    /// `typ` says that it is something else, or `crit` asks for what is not understood.
    #[error("typ or crit say that it is something else")]
    WrongType,
    /// `none`, a symmetric algorithm, or any other that no key is for.
    #[error("an algorithm that no client key is for")]
    UnknownAlgorithm,
    /// The client has no such key; perhaps it has changed its keys.
    #[error("signed with a key that the client does not have")]
    UnknownKey,
    /// The key is for another algorithm, or more than one could be meant.
    #[error("the algorithm is not that of the key, or no key is named")]
    WrongAlgorithm,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    WrongSignature,
    /// `iss` and `sub` are not both the client.
    #[error("iss and sub are not both the client")]
    WrongSubject,
    /// For another server.
    #[error("meant for another server")]
    WrongAudience,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `exp` is further ahead than is allowed.
    #[error("valid for longer than is allowed")]
    TooLongLived,
    /// `iat` or `nbf` is in the future.
    #[error("not valid yet")]
    NotYetValid,
}

/// A JWT that claims to be of a client. It has no `Debug`: until it is used it is a credential.
pub struct Assertion {
    text: Secret,
    algorithm: SigningAlgorithm,
    kid: Option<KeyId>,
    client: ClientId,
    claims: Claims,
}

/// What an accepted assertion leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// The digest of client and `jti`: it must not come again.
    pub digest: Digest,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    iat: Option<NumericDate>,
    nbf: Option<NumericDate>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since 1970, with a fraction or without (RFC 7519 section 2), rounded down.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct NumericDate(u64);

#[derive(Debug, thiserror::Error)]
#[error("not a NumericDate")]
struct NotANumericDate;

impl TryFrom<serde_json::Number> for NumericDate {
    type Error = NotANumericDate;

    fn try_from(number: serde_json::Number) -> Result<Self, NotANumericDate> {
        let rounded = || {
            let seconds = number.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
            Some(seconds as u64)
        };
        number.as_u64().or_else(rounded).map(Self).ok_or(NotANumericDate)
    }
}

impl NumericDate {
    const fn at(self) -> Timestamp {
        Timestamp::from_seconds(self.0)
    }
}

impl Assertion {
    /// Reads header and claims; nothing of them is proven yet.
    ///
    /// # Errors
    /// [`AssertionRefusal`] for what no key could make an assertion: answer `invalid_client`.
    pub fn parse(text: Secret) -> Result<Self, AssertionRefusal> {
        if ASSERTION_BYTES_MAX < text.expose().len() {
            return Err(AssertionRefusal::TooLong);
        }
        let malformed = AssertionRefusal::Malformed;
        let (message, _) = text.expose().rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = message.split_once('.').ok_or(malformed)?;
        let header: Header = read(header).ok_or(malformed)?;
        // Without typ, or with one that every JWT may have (RFC 7519 section 5.1), or with the one
        // of RFC 7523bis: another kind of JWT by the same key proves nothing here.
        let is_typed = header.typ.as_deref().is_none_or(|typ| {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("client-authentication+jwt")
        });
        if !is_typed || header.crit.is_some() {
            return Err(AssertionRefusal::WrongType);
        }
        let algorithm = algorithm_named(&header.alg).ok_or(AssertionRefusal::UnknownAlgorithm)?;
        let kid = header.kid.map(|kid| kid.parse()).transpose();
        let kid = kid.map_err(|_| AssertionRefusal::UnknownKey)?;
        let claims: Claims = read(payload).ok_or(malformed)?;
        let client = claims.sub.parse().map_err(|_| AssertionRefusal::WrongSubject)?;
        if claims.jti.is_empty() {
            return Err(malformed);
        }
        Ok(Self { text, algorithm, kid, client, claims })
    }

    /// The client that it claims to be of.
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Whether `keys` lack the key that it claims to be signed with: they may be out of date.
    pub fn needs_other_keys(&self, keys: &PublicJwkSet) -> bool {
        matches!(keys.find(self.kid.as_ref(), self.algorithm), Err(NoKey::Unknown))
    }

    /// Finds out whether one of `keys`, which are those of [`Assertion::client`], signed it for this
    /// server, and `now` is in its time. Whether it was used before is for the ledger to say.
    ///
    /// # Errors
    /// [`AssertionRefusal`]: answer `invalid_client`.
    pub fn prove(
        &self,
        keys: &PublicJwkSet,
        expected: &ExpectedAssertion<'_>,
        now: Timestamp,
    ) -> Result<Proven, AssertionRefusal> {
        let key = keys.find(self.kid.as_ref(), self.algorithm).map_err(|no_key| {
            self.verify_in_vain();
            match no_key {
                NoKey::Unknown => AssertionRefusal::UnknownKey,
                NoKey::Mismatch => AssertionRefusal::WrongAlgorithm,
            }
        })?;
        let (message, signature) =
            self.text.expose().rsplit_once('.').ok_or(AssertionRefusal::Malformed)?;
        if !key.verifies(message, signature) {
            return Err(AssertionRefusal::WrongSignature);
        }
        self.claims.check(self.client.as_str(), expected, now)?;
        let digest = digest::assertion(&self.client, &self.claims.jti);
        Ok(Proven { digest, expires_at: self.claims.exp.at() })
    }
}

impl Assertion {
    /// Does what [`Assertion::prove`] does, by keys of nobody, and says nothing. For a client that is
    /// unknown or has no keys: its refusal takes as long as any other, or the time would tell which
    /// clients there are.
    pub fn prove_in_vain(&self, expected: &ExpectedAssertion<'_>, now: Timestamp) {
        // Who could sign by these keys would gain nothing: what came of it is dropped here.
        std::hint::black_box(self.prove(&OF_NOBODY, expected, now).is_ok());
    }

    /// Checks the signature where there is no key that could have made it.
    fn verify_in_vain(&self) {
        let parts = self.text.expose().rsplit_once('.');
        if let (Ok(key), Some((message, signature))) = (OF_NOBODY.find(None, self.algorithm), parts)
        {
            // The result has no meaning; that it is used keeps the work from being left out.
            std::hint::black_box(key.verifies(message, signature));
        }
    }
}

/// The JSON of a part. All of it is UTF-8, also members that nobody reads (RFC 7519 section 7.2).
fn read<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    let decoded = base64url::decode(part)?;
    serde_json::from_str(std::str::from_utf8(&decoded).ok()?).ok()
}

impl Claims {
    fn check(
        &self,
        client: &str,
        expected: &ExpectedAssertion<'_>,
        now: Timestamp,
    ) -> Result<(), AssertionRefusal> {
        if self.iss != client || self.sub != client {
            return Err(AssertionRefusal::WrongSubject);
        }
        if !self.aud.fits(expected) {
            return Err(AssertionRefusal::WrongAudience);
        }
        let latest = now.plus_seconds(expected.leeway_s);
        if self.exp.at().plus_seconds(expected.leeway_s) <= now {
            return Err(AssertionRefusal::Expired);
        }
        if latest.plus_seconds(expected.lifetime_s_max) < self.exp.at() {
            return Err(AssertionRefusal::TooLongLived);
        }
        if [self.iat, self.nbf].into_iter().flatten().any(|from| latest < from.at()) {
            return Err(AssertionRefusal::NotYetValid);
        }
        Ok(())
    }
}

impl Audience {
    fn fits(&self, expected: &ExpectedAssertion<'_>) -> bool {
        let is_ours =
            |aud: &String| aud == expected.issuer || expected.endpoints.contains(&aud.as_str());
        match (expected.audience, self) {
            (AudienceRule::Rfc7523, Self::One(aud)) => is_ours(aud),
            (AudienceRule::Rfc7523, Self::Many(all)) => all.iter().any(is_ours),
            (AudienceRule::Issuer, Self::One(aud)) => aud == expected.issuer,
            (AudienceRule::Issuer, Self::Many(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::signing::SigningKey;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);
    const EXPECTED: ExpectedAssertion<'_> = ExpectedAssertion {
        issuer: "https://as.example",
        endpoints: ["https://as.example/token", "https://as.example/revoke"],
        audience: AudienceRule::Rfc7523,
        lifetime_s_max: 300,
        leeway_s: 10,
    };

    fn key() -> SigningKey {
        SigningKey::from_ed25519_seed(&[7; 32]).expect("a key")
    }

    fn prove(changes: Value, now: Timestamp) -> Result<Proven, AssertionRefusal> {
        let mut claims = json!({
            "iss": "app", "sub": "app", "aud": "https://as.example", "exp": 1_100, "jti": "j",
        });
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": "EdDSA", "kid": key().kid() });
        let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
        let mut text = format!("{}.{}", part(&header), part(&claims));
        key().append_signature(&mut text).expect("signed");
        let set = json!({ "keys": [key().public_jwk()] });
        let keys: PublicJwkSet = serde_json::from_value(set).expect("a set");
        Assertion::parse(Secret::new(text))?.prove(&keys, &EXPECTED, now)
    }

    #[test]
    fn c8_a_lifetime_ends_at_exp_and_begins_at_nbf_give_or_take_the_leeway() {
        let at = |micros| prove(json!({}), Timestamp::from_micros(micros)).map(drop);
        assert_eq!(at(1_109_999_999), Ok(()));
        assert_eq!(at(1_110_000_000), Err(AssertionRefusal::Expired));
        assert_eq!(at(790_000_000), Ok(()));
        assert_eq!(at(789_999_999), Err(AssertionRefusal::TooLongLived));
        for name in ["iat", "nbf"] {
            let from = |seconds: u64| prove(json!({ name: seconds }), NOW).map(drop);
            assert_eq!(from(1_010), Ok(()));
            assert_eq!(from(1_011), Err(AssertionRefusal::NotYetValid));
        }
        let forever = prove(json!({ "exp": u64::MAX }), NOW).map(drop);
        assert_eq!(forever, Err(AssertionRefusal::TooLongLived));
    }

    #[test]
    fn c9_what_is_left_of_an_assertion_names_its_client_and_its_jti() {
        let proven = prove(json!({}), NOW).expect("proven");
        let client: ClientId = "app".parse().expect("a client id");
        assert_eq!(proven.digest, digest::assertion(&client, "j"));
        assert_eq!(proven.expires_at, Timestamp::from_seconds(1_100));
        let rounded = prove(json!({ "exp": 1_100.9 }), NOW).expect("proven");
        assert_eq!(rounded.expires_at, Timestamp::from_seconds(1_100));
    }

    #[test]
    fn c8_an_assertion_is_bounded_and_whole() {
        let refusal = |text: String| Assertion::parse(Secret::new(text)).err();
        let long = "a".repeat(ASSERTION_BYTES_MAX + 1);
        assert_eq!(refusal(long), Some(AssertionRefusal::TooLong));
        let none = format!("{}.e30.", base64url::encode(br#"{"alg":"none"}"#));
        assert_eq!(refusal(none), Some(AssertionRefusal::UnknownAlgorithm));
        for text in ["", "..", "a.b.c", "e30.e30.", "e30.e30.e30"] {
            assert_eq!(refusal(text.to_owned()), Some(AssertionRefusal::Malformed), "{text}");
        }
        let twice = br#"{"alg":"EdDSA","alg":"none"}"#;
        let twice = format!("{}.e30.", base64url::encode(twice));
        assert_eq!(refusal(twice), Some(AssertionRefusal::Malformed));
    }

    #[test]
    fn all_of_an_assertion_is_utf_8_also_what_nobody_reads() {
        let claims = br#"{"iss":"app","sub":"app","aud":"a","exp":1100,"jti":"j","x":"_"}"#;
        let spoilt = claims.map(|byte| if byte == b'_' { 0xff } else { byte });
        for (claims, is_whole) in [(claims, true), (&spoilt, false)] {
            let text = format!("eyJhbGciOiJFZERTQSJ9.{}.", base64url::encode(claims));
            assert_eq!(Assertion::parse(Secret::new(text)).is_ok(), is_whole);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in ".{0,80}",
            header in "\\{(\"(alg|kid|typ|crit)\":(\"[ -~]{0,8}\"|[0-9]{1,25}|null),?){0,3}\\}",
            claims in "\\{(\"(iss|aud|exp|jti)\":(\"[a-z]{0,8}\"|-?[0-9e.]{1,25}|\\[\\]),?){0,5}\\}",
        ) {
            let part = |text: &str| base64url::encode(text.as_bytes());
            let likely = format!("{}.{}.AAAA", part(&header), part(&claims));
            let real = format!("{}.{}.AAAA", part("{\"alg\":\"EdDSA\"}"), part(&claims));
            for text in [text, likely, real] {
                let _ = Assertion::parse(Secret::new(text));
            }
        }
    }
}
