//! Checking a JWT access token without asking the ledger (RFC 9068 section 4). The time is an
//! argument; nothing here knows what was revoked.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use serde::Deserialize;

use super::base64url;
use super::jws::is_signed;
use super::jwt::AccessTokenClaims;
use super::signing::SigningAlgorithm;
use crate::types::id::KeyId;
use crate::types::resource::Resource;
use crate::types::time::Timestamp;

/// How many bytes of JWT are looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A public key, with the one algorithm it is used for.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    kid: KeyId,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
}

/// A JWK that no access token is verified with: no `kid`, not for signatures, symmetric, or of an
/// algorithm that is not supported. Skip it and use the others of the set (RFC 7517 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key with a kid for EdDSA, ES256 or RS256 signatures")]
pub struct UnusableJwk;

impl VerifyingKey {
    /// The public half of a published key.
    ///
    /// # Errors
    /// [`UnusableJwk`].
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, UnusableJwk> {
        // The kind of key decides the algorithm; what `alg` says may only agree.
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                SigningAlgorithm::EdDSA
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                SigningAlgorithm::ES256
            }
            AlgorithmParameters::RSA(_) => SigningAlgorithm::RS256,
            AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKey(_)
            | AlgorithmParameters::Other(_)
            | _ => return Err(UnusableJwk),
        };
        let common = &jwk.common;
        if common.key_algorithm.is_some_and(|stated| stated != algorithm.jws().into())
            || common
                .public_key_use
                .as_ref()
                .is_some_and(|stated| *stated != PublicKeyUse::Signature)
        {
            return Err(UnusableJwk);
        }
        let kid = common.key_id.as_deref().and_then(|kid| kid.parse().ok()).ok_or(UnusableJwk)?;
        let key = DecodingKey::from_jwk(jwk).map_err(|_| UnusableJwk)?;
        Ok(Self { kid, algorithm, key })
    }

    /// The identifier that a token names it by.
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    fn verifies(&self, message: &str, signature: &str) -> bool {
        is_signed(self.algorithm, &self.key, message, signature)
    }
}

/// What an access token has to say to be accepted.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, compared byte for byte.
    pub issuer: &'a str,
    /// The resource that is being asked; `None` accepts a token for any.
    pub audience: Option<&'a Resource>,
}

/// Why an access token is not accepted. To its bearer all are `invalid_token` (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtRefusal {
    /// Above [`TOKEN_BYTES_MAX`].
    #[error("too long for an access token")]
    TooLong,
    /// Not a signed JWT whose header is understood; `alg` `none` is among them.
    #[error("not a signed JWT")]
    Malformed,
    /// `typ` is not `at+jwt`: some other JWT of the same issuer, such as an ID token.
    #[error("not an access token: typ is not at+jwt")]
    WrongType,
    /// A `crit` header: extensions that must be understood, and are not (RFC 7515 section 4.1.11).
    #[error("the header names critical extensions")]
    Critical,
    /// No `kid`, or one that is not known.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// `alg` is not what the key is for.
    #[error("the algorithm is not that of the key")]
    WrongAlgorithm,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    WrongSignature,
    /// Signed, but a claim that RFC 9068 requires is missing or of another type.
    #[error("a required claim is missing or malformed")]
    MalformedClaims,
    /// Of another issuer.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// For another resource.
    #[error("meant for another resource")]
    WrongAudience,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `iat` or `nbf` is in the future.
    #[error("not valid yet")]
    NotYetValid,
}

/// The claims of `token`, when one of `keys` signed it, it is an access token, it says what is
/// `expected`, and `now` is inside its lifetime give or take `leeway_s` seconds (RFC 9068 section 4).
///
/// # Errors
/// [`JwtRefusal`]: answer `invalid_token`. On [`JwtRefusal::UnknownKey`] the keys may be fetched
/// again, once, before that.
pub fn verify_access_token(
    token: &str,
    keys: &[VerifyingKey],
    expected: Expected<'_>,
    now: Timestamp,
    leeway_s: u64,
) -> Result<AccessTokenClaims, JwtRefusal> {
    let payload = verified_payload(token, keys)?;
    let payload = base64url::decode(payload).ok_or(JwtRefusal::MalformedClaims)?;
    // All of it is UTF-8, also members that nobody reads (RFC 7519 section 7.2).
    let payload = std::str::from_utf8(&payload).map_err(|_| JwtRefusal::MalformedClaims)?;
    let parse = |_| JwtRefusal::MalformedClaims;
    let claims: AccessTokenClaims = serde_json::from_str(payload).map_err(parse)?;
    let window: Window = serde_json::from_str(payload).map_err(parse)?;
    if *claims.iss != *expected.issuer {
        return Err(JwtRefusal::WrongIssuer);
    }
    if expected.audience.is_some_and(|resource| !claims.aud.contains(resource)) {
        return Err(JwtRefusal::WrongAudience);
    }
    if claims.exp.plus_seconds(leeway_s) <= now {
        return Err(JwtRefusal::Expired);
    }
    let from = claims.iat.max(Timestamp::from_seconds(window.nbf));
    if now.plus_seconds(leeway_s) < from {
        return Err(JwtRefusal::NotYetValid);
    }
    Ok(claims)
}

/// The payload of a JWT whose header and signature are right.
fn verified_payload<'a>(token: &'a str, keys: &[VerifyingKey]) -> Result<&'a str, JwtRefusal> {
    if TOKEN_BYTES_MAX < token.len() {
        return Err(JwtRefusal::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtRefusal::Malformed)?;
    let (_, payload) = message.split_once('.').ok_or(JwtRefusal::Malformed)?;
    let header = jsonwebtoken::decode_header(token).map_err(|_| JwtRefusal::Malformed)?;
    let is = |name: &str| header.typ.as_ref().is_some_and(|typ| typ.eq_ignore_ascii_case(name));
    if !is("at+jwt") && !is("application/at+jwt") {
        return Err(JwtRefusal::WrongType);
    }
    if header.crit.is_some() {
        return Err(JwtRefusal::Critical);
    }
    let kid = header.kid.as_deref().ok_or(JwtRefusal::UnknownKey)?;
    let named = keys.iter().find(|key| key.kid.as_str() == kid);
    let key = named.ok_or(JwtRefusal::UnknownKey)?;
    // The key decides, never the header: else a public key could pass for an HMAC secret.
    if header.alg != key.algorithm.jws() {
        return Err(JwtRefusal::WrongAlgorithm);
    }
    if !key.verifies(message, signature) {
        return Err(JwtRefusal::WrongSignature);
    }
    Ok(payload)
}

/// A claim that our tokens never have, but that must be obeyed in one that does: not before this
/// second (RFC 7519 section 4.1.5).
#[derive(Deserialize)]
struct Window {
    #[serde(default)]
    nbf: u64,
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto::aws_lc;
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::signing::SigningKey;
    use crate::entropy::SeededEntropy;

    const NOW: Timestamp = Timestamp::from_seconds(1_100);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_ed25519_seed(&[seed; 32]).expect("a key")
    }

    fn payload() -> Value {
        json!({
            "iss": "https://as.example", "sub": "alice", "aud": ["urn:a", "urn:b"],
            "client_id": "photos", "iat": 1000, "exp": 1300, "jti": "j", "more": {"is": "ignored"},
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut payload = payload();
        payload[name] = value;
        payload
    }

    fn header(key: &SigningKey) -> Value {
        json!({"typ": "at+jwt", "alg": key.algorithm(), "kid": key.kid()})
    }

    fn compact(key: &SigningKey, header: &Value, payload: &Value) -> String {
        let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
        let mut text = format!("{}.{}", part(header), part(payload));
        key.append_signature(&mut text).expect("signed");
        text
    }

    fn verify_at(key: &SigningKey, token: &str, now: Timestamp) -> Result<(), JwtRefusal> {
        let keys = [VerifyingKey::from_jwk(key.public_jwk()).expect("a public key")];
        let resource = "urn:b".parse().expect("a resource");
        let expected = Expected { issuer: "https://as.example", audience: Some(&resource) };
        verify_access_token(token, &keys, expected, now, 5).map(drop)
    }

    fn verify(token: &str) -> Result<(), JwtRefusal> {
        verify_at(&key(1), token, NOW)
    }

    #[test]
    fn all_of_a_token_is_utf_8_also_what_nobody_reads() {
        let mut whole = payload();
        whole["x"] = json!("~");
        for (byte, is_whole) in [(b'~', true), (0xff, false)] {
            let claims = whole.to_string().into_bytes();
            let claims: Vec<u8> =
                claims.iter().map(|c| if *c == b'~' { byte } else { *c }).collect();
            let head = base64url::encode(header(&key(1)).to_string().as_bytes());
            let mut token = format!("{head}.{}", base64url::encode(&claims));
            key(1).append_signature(&mut token).expect("signed");
            assert_eq!(verify(&token).is_ok(), is_whole);
        }
    }

    #[test]
    fn a_token_of_each_algorithm_is_accepted() {
        for algorithm in [SigningAlgorithm::EdDSA, SigningAlgorithm::ES256, SigningAlgorithm::RS256]
        {
            let key = SigningKey::generate(algorithm, &SeededEntropy::new(1)).expect("a key");
            let claims: AccessTokenClaims = serde_json::from_value(payload()).expect("claims");
            let token = key.sign_access_token(&claims).expect("signed");
            let keys = [VerifyingKey::from_jwk(key.public_jwk()).expect("a public key")];
            let expected = Expected { issuer: "https://as.example", audience: None };
            let verified = verify_access_token(token.expose(), &keys, expected, NOW, 0);
            assert_eq!(verified, Ok(claims));
            assert_eq!(verify_at(&key, token.expose(), NOW), Ok(()));
        }
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let token = compact(&key(1), &header(&key(1)), &payload());
        for bit in 0..token.len() * 8 {
            let mut flipped = token.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            assert!(verify(&flipped).is_err(), "bit {bit}: {flipped}");
        }
    }

    #[test]
    fn the_header_does_not_choose_the_algorithm() {
        let (key, payload) = (key(1), payload());
        let with_alg = |alg: &str| {
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": key.kid()});
            compact(&key, &header, &payload)
        };
        assert_eq!(verify(&with_alg("none")), Err(JwtRefusal::Malformed));
        assert_eq!(verify(&with_alg("RS256")), Err(JwtRefusal::WrongAlgorithm));
        assert_eq!(verify(&with_alg("HS256")), Err(JwtRefusal::WrongAlgorithm));
        // The public key, which everybody has, as the secret of an HMAC.
        let public = VerifyingKey::from_jwk(key.public_jwk()).expect("a public key");
        let secret = public.key.try_get_as_bytes().expect("raw bytes");
        let hmac = jsonwebtoken::EncodingKey::from_secret(secret);
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&algorithm, &hmac).expect("HMAC");
        let hs256 = with_alg("HS256");
        let (message, _) = hs256.rsplit_once('.').expect("three parts");
        let signature = signer.try_sign(message.as_bytes()).expect("signed");
        let forged = format!("{message}.{}", base64url::encode(&signature));
        assert_eq!(verify(&forged), Err(JwtRefusal::WrongAlgorithm));
        // No signature at all.
        assert_eq!(verify(&format!("{message}.")), Err(JwtRefusal::WrongAlgorithm));
        let unsigned = compact(&key, &header(&key), &payload);
        let (message, _) = unsigned.rsplit_once('.').expect("three parts");
        assert_eq!(verify(&format!("{message}.")), Err(JwtRefusal::WrongSignature));
    }

    #[test]
    fn another_header_is_refused() {
        let key = key(1);
        let sign = |header: Value| compact(&key, &header, &payload());
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
            let header = json!({"typ": typ, "alg": "EdDSA", "kid": key.kid()});
            assert_eq!(verify(&sign(header)), Ok(()), "{typ}");
        }
        for typ in [json!("JWT"), json!("jwt"), json!(""), json!(null)] {
            let header = json!({"typ": typ, "alg": "EdDSA", "kid": key.kid()});
            assert_eq!(verify(&sign(header)), Err(JwtRefusal::WrongType), "{typ}");
        }
        let no_kid = json!({"typ": "at+jwt", "alg": "EdDSA"});
        assert_eq!(verify(&sign(no_kid)), Err(JwtRefusal::UnknownKey));
        let other = self::key(2);
        let token = compact(&other, &header(&other), &payload());
        assert_eq!(verify(&token), Err(JwtRefusal::UnknownKey));
        let token = compact(&other, &header(&key), &payload());
        assert_eq!(verify(&token), Err(JwtRefusal::WrongSignature));
        let critical = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": key.kid(), "crit": ["exp"]});
        assert_eq!(verify(&sign(critical)), Err(JwtRefusal::Critical));
    }

    #[test]
    fn other_claims_are_refused() {
        let key = key(1);
        let check = |payload: &Value| verify(&compact(&key, &header(&key), payload));
        let issuer = with("iss", json!("https://as.example/"));
        assert_eq!(check(&issuer), Err(JwtRefusal::WrongIssuer));
        assert_eq!(check(&with("aud", json!("urn:b"))), Ok(()));
        assert_eq!(check(&with("aud", json!("urn:c"))), Err(JwtRefusal::WrongAudience));
        assert_eq!(check(&with("aud", json!([]))), Err(JwtRefusal::MalformedClaims));
        assert_eq!(check(&with("exp", json!("1300"))), Err(JwtRefusal::MalformedClaims));
        for required in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti"] {
            let mut payload = payload();
            payload.as_object_mut().expect("an object").remove(required);
            assert_eq!(check(&payload), Err(JwtRefusal::MalformedClaims), "{required}");
        }
    }

    #[test]
    fn a_lifetime_ends_at_exp_give_or_take_the_leeway() {
        let key = key(1);
        let token = compact(&key, &header(&key), &payload());
        let at = |micros| verify_at(&key, &token, Timestamp::from_micros(micros));
        assert_eq!(at(1_304_999_999), Ok(()));
        assert_eq!(at(1_305_000_000), Err(JwtRefusal::Expired));
        assert_eq!(at(995_000_000), Ok(()));
        assert_eq!(at(994_999_999), Err(JwtRefusal::NotYetValid));
        let later = compact(&key, &header(&key), &with("nbf", json!(1_200)));
        assert_eq!(verify(&later), Err(JwtRefusal::NotYetValid));
        assert_eq!(verify_at(&key, &later, Timestamp::from_seconds(1_195)), Ok(()));
    }

    #[test]
    fn what_is_no_jwt_is_refused() {
        for text in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "a.b.c.d.e"] {
            assert_eq!(verify(text), Err(JwtRefusal::Malformed), "{text:?}");
        }
        assert_eq!(verify(&"a".repeat(TOKEN_BYTES_MAX + 1)), Err(JwtRefusal::TooLong));
    }

    #[test]
    fn a_jwk_that_is_not_for_verifying_is_unusable() {
        let good = serde_json::to_value(key(1).public_jwk()).expect("JSON");
        let refused = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            let jwk: Jwk = serde_json::from_value(jwk).expect("a JWK");
            VerifyingKey::from_jwk(&jwk).is_err()
        };
        assert!(!refused("alg", json!("EdDSA")));
        assert!(refused("alg", json!("HS256")));
        assert!(refused("alg", json!("ES256")));
        assert!(refused("use", json!("enc")));
        assert!(refused("kid", json!(null)));
        assert!(refused("crv", json!("X25519")));
        let jwk: Jwk =
            serde_json::from_value(json!({"kty": "oct", "k": "AAAA", "kid": "k"})).expect("a JWK");
        assert!(VerifyingKey::from_jwk(&jwk).is_err());
    }
}
