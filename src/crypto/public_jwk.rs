//! A public key of a client as a JWK (RFC 7517). A private or symmetric key never becomes one, and
//! a key is for one algorithm whatever a signature's header says.

use jsonwebtoken::DecodingKey;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::base64url;
use super::jws::is_signed;
use super::signing::SigningAlgorithm;
use crate::types::id::KeyId;

/// The least and the most bytes of an RSA modulus: 2048 to 8192 bits (RFC 7518 section 3.3).
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// The most bytes of an RSA exponent.
const RSA_EXPONENT_BYTES_MAX: usize = 8;

/// A public key with the one algorithm that it is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawJwk", into = "PlainJwk")]
pub struct PublicJwk {
    kid: Option<KeyId>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Ed25519 { x: String },
    P256 { x: String, y: String },
    Rsa { n: String, e: String },
}

/// Why a JWK is not one that a client may prove itself with. What was sent is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPublicJwk {
    /// A member that only a private or symmetric key has.
    #[error("the JWK holds a private key: it is compromised now, make another")]
    Private,
    /// Of a type or curve that no supported algorithm uses, or malformed.
    #[error("not a public key: OKP with Ed25519, EC with P-256, or RSA of 2048 to 8192 bits")]
    Kind,
    /// `alg`, `use` or `key_ops` say that it is for something else.
    #[error("alg, use or key_ops say that the key is not for EdDSA, ES256 or RS256 signatures")]
    Purpose,
    /// `kid` is no identifier.
    #[error("kid is 1 to 64 visible ASCII characters but quote and backslash")]
    Kid,
}

/// A JWK as it comes; members that are not named here have no say.
#[derive(Deserialize)]
struct RawJwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// A JWK as it is written: what is needed to check signatures, and nothing that was sent besides.
#[derive(Serialize)]
struct PlainJwk {
    kty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<KeyId>,
    alg: SigningAlgorithm,
    r#use: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl TryFrom<RawJwk> for PublicJwk {
    type Error = NotAPublicJwk;

    fn try_from(raw: RawJwk) -> Result<Self, NotAPublicJwk> {
        let private = [&raw.d, &raw.p, &raw.q, &raw.dp, &raw.dq, &raw.qi, &raw.oth, &raw.k];
        if private.into_iter().any(Option::is_some) {
            return Err(NotAPublicJwk::Private);
        }
        let material = Material::read(raw.kty.as_str(), raw.crv.as_deref(), raw.x, raw.y)
            .or_else(|| Material::read_rsa(raw.kty.as_str(), raw.n, raw.e))
            .ok_or(NotAPublicJwk::Kind)?;
        let kid = raw.kid.map(|kid| kid.parse()).transpose().map_err(|_| NotAPublicJwk::Kid)?;
        let key = Self { kid, material };
        // What it says of itself may only agree (RFC 8725 section 3.1).
        let agrees = raw.alg.is_none_or(|alg| algorithm_named(&alg) == Some(key.algorithm()))
            && raw.usage.is_none_or(|usage| usage == "sig")
            && raw.key_ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if agrees { Ok(key) } else { Err(NotAPublicJwk::Purpose) }
    }
}

impl Material {
    fn read(kty: &str, crv: Option<&str>, x: Option<String>, y: Option<String>) -> Option<Self> {
        let coordinate = |text: Option<String>| {
            text.filter(|text| base64url::decode_exact::<32>(text).is_some())
        };
        match (kty, crv) {
            ("OKP", Some("Ed25519")) => Some(Self::Ed25519 { x: coordinate(x)? }),
            ("EC", Some("P-256")) => Some(Self::P256 { x: coordinate(x)?, y: coordinate(y)? }),
            _ => None,
        }
    }

    fn read_rsa(kty: &str, n: Option<String>, e: Option<String>) -> Option<Self> {
        let (n, e) = (n.filter(|_| kty == "RSA")?, e?);
        let modulus = base64url::decode(&n)?;
        // A first byte below 0x80 would make 2048 bits of 256 bytes less.
        let is_full = modulus.first().is_some_and(|first| {
            *first != 0 && (0x80 <= *first || *RSA_MODULUS_BYTES.start() < modulus.len())
        });
        let exponent = base64url::decode(&e)?;
        let is_odd = exponent.last().is_some_and(|last| last & 1 == 1);
        let sound = is_full
            && RSA_MODULUS_BYTES.contains(&modulus.len())
            && (1..=RSA_EXPONENT_BYTES_MAX).contains(&exponent.len())
            && is_odd
            && **exponent != [1];
        sound.then_some(Self::Rsa { n, e })
    }

    fn decoding_key(&self) -> Option<DecodingKey> {
        match self {
            Self::Ed25519 { x } => DecodingKey::from_ed_components(x),
            Self::P256 { x, y } => DecodingKey::from_ec_components(x, y),
            Self::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
        }
        .ok()
    }
}

impl From<PublicJwk> for PlainJwk {
    fn from(key: PublicJwk) -> Self {
        let alg = key.algorithm();
        let plain = |kty| Self {
            kty,
            kid: key.kid,
            alg,
            r#use: "sig",
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
        };
        match key.material {
            Material::Ed25519 { x } => Self { crv: Some("Ed25519"), x: Some(x), ..plain("OKP") },
            Material::P256 { x, y } => {
                Self { crv: Some("P-256"), x: Some(x), y: Some(y), ..plain("EC") }
            }
            Material::Rsa { n, e } => Self { n: Some(n), e: Some(e), ..plain("RSA") },
        }
    }
}

/// The algorithm of a name in a header or a JWK. `Ed25519` is the fully specified name of what was
/// registered as `EdDSA` before (RFC 9864 section 2.2).
pub(super) fn algorithm_named(name: &str) -> Option<SigningAlgorithm> {
    match name {
        "EdDSA" | "Ed25519" => Some(SigningAlgorithm::EdDSA),
        "ES256" => Some(SigningAlgorithm::ES256),
        "RS256" => Some(SigningAlgorithm::RS256),
        _ => None,
    }
}

/// The names that there are keys for, as metadata lists them.
pub const ASSERTION_ALGORITHMS: [&str; 4] = ["EdDSA", "Ed25519", "ES256", "RS256"];

impl PublicJwk {
    /// The one algorithm that it is for.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.material {
            Material::Ed25519 { .. } => SigningAlgorithm::EdDSA,
            Material::P256 { .. } => SigningAlgorithm::ES256,
            Material::Rsa { .. } => SigningAlgorithm::RS256,
        }
    }

    /// Its identifier, if it has one.
    pub fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        let key = self.material.decoding_key();
        key.is_some_and(|key| is_signed(self.algorithm(), &key, message, signature))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::jwk_set::PublicJwkSet;

    fn ed25519() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&[7; 32]), "kid": "one" })
    }

    fn rsa(first: u8, bytes: usize) -> Value {
        let mut modulus = vec![0xFF; bytes];
        modulus[0] = first;
        json!({ "kty": "RSA", "n": base64url::encode(&modulus), "e": "AQAB" })
    }

    fn set(keys: &[Value]) -> Result<PublicJwkSet, String> {
        serde_json::from_value(json!({ "keys": keys })).map_err(|error| error.to_string())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut key = ed25519();
        key[name] = value;
        key
    }

    #[test]
    fn a_set_is_written_with_what_checks_signatures_and_nothing_else() {
        let key = with("x5c", json!(["MII"]));
        let read = set(&[key, rsa(0x80, 256)]).expect("a set");
        let mut ed = ed25519();
        ed["alg"] = json!("EdDSA");
        ed["use"] = json!("sig");
        let mut rs = rsa(0x80, 256);
        rs["alg"] = json!("RS256");
        rs["use"] = json!("sig");
        let written = serde_json::to_value(&read).expect("JSON");
        assert_eq!(written, json!({ "keys": [ed, rs] }));
        assert_eq!(serde_json::from_value::<PublicJwkSet>(written).expect("a set"), read);
    }

    #[test]
    fn a_private_member_is_refused_whatever_it_holds() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let fault = set(&[with(name, json!("AAAA"))]).expect_err("private");
            assert!(fault.contains("private key"), "{name}: {fault}");
            assert!(!fault.contains("AAAA"), "{fault}");
        }
        assert!(set(&[json!({ "kty": "oct", "k": "AAAA" })]).is_err());
    }

    #[test]
    fn a_key_is_of_a_supported_kind_and_says_nothing_else() {
        for (name, value) in [
            ("alg", json!("EdDSA")),
            ("alg", json!("Ed25519")),
            ("use", json!("sig")),
            ("key_ops", json!(["verify"])),
            ("kid", json!(null)),
        ] {
            assert!(set(&[with(name, value.clone())]).is_ok(), "{name} {value}");
        }
        for (name, value) in [
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("ES256")),
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("kid", json!("a b")),
            ("kid", json!(1)),
            ("crv", json!("X25519")),
            ("crv", json!("Ed448")),
            ("kty", json!("oct")),
            ("x", json!("AAAA")),
            ("x", json!("A".repeat(44))),
        ] {
            assert!(set(&[with(name, value.clone())]).is_err(), "{name} {value}");
        }
        let es256 = json!({ "kty": "EC", "crv": "P-256", "x": base64url::encode(&[1; 32]) });
        assert!(set(&[es256]).is_err(), "without y");
    }

    #[test]
    fn an_rsa_key_has_2048_bits_at_least() {
        for (first, bytes, sound) in [
            (0x80, 256, true),
            (0x7F, 256, false),
            (0xFF, 255, false),
            (0x01, 257, true),
            (0x00, 257, false),
            (0xFF, 1024, true),
            (0xFF, 1025, false),
        ] {
            assert_eq!(set(&[rsa(first, bytes)]).is_ok(), sound, "{first:#x} {bytes}");
        }
        for exponent in ["AQ", "AA", "Ag", "", "AQABAQABAQABAQAB"] {
            let mut key = rsa(0x80, 256);
            key["e"] = json!(exponent);
            assert!(set(&[key]).is_err(), "{exponent}");
        }
    }
}
