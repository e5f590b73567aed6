//! The keys that sign JWTs: parsed once, then only used. The public half is a JWK; the private half
//! leaves only towards the key file.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse,
    RSAKeyParameters, RSAKeyType,
};
use jsonwebtoken::{Algorithm, Header};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::base64url;
use crate::entropy::{Entropy, bytes};
use crate::types::id::KeyId;

/// What stands before the 32 bytes of the seed in the PKCS#8 of an Ed25519 key (RFC 8410 section 7).
const ED25519_PKCS8: [u8; 16] =
    *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// The signature algorithms that access tokens are signed with (RFC 7518 section 3.1, RFC 8037).
#[derive(
    Debug,
    Default,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum SigningAlgorithm {
    /// Ed25519. The fastest here by far, and the default.
    #[default]
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and 2048 bits; every resource server has it
    /// (RFC 9068 section 2.1).
    RS256,
}

impl SigningAlgorithm {
    /// Every algorithm that is served; `none` is not one of them.
    pub const ALL: [Self; 3] = [Self::EdDSA, Self::ES256, Self::RS256];

    /// The name in the `alg` of a JWS header or a JWK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
        }
    }

    pub(super) const fn jws(self) -> Algorithm {
        match self {
            Self::EdDSA => Algorithm::EdDSA,
            Self::ES256 => Algorithm::ES256,
            Self::RS256 => Algorithm::RS256,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyRefused {
    /// The bytes are not the PKCS#8 of a key for this algorithm.
    #[error("not the PKCS#8 of a private key for {0}")]
    NotPkcs8(SigningAlgorithm),
    /// The cryptographic library could not make one.
    #[error("no key for {0} could be generated")]
    NotGenerated(SigningAlgorithm),
}

/// The library refused to sign; a key that was accepted does not do so in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0:?} did not sign")]
pub struct NotSigned(pub SigningAlgorithm);

/// A private signing key. Parsing costs as much as signing, so it is done once.
pub struct SigningKey {
    algorithm: SigningAlgorithm,
    kid: KeyId,
    jwk: Jwk,
    /// The header of every access token it signs, as text.
    access_token_header: String,
    /// The header of every introspection response it signs, as text.
    introspection_header: String,
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Es(EcdsaKeyPair),
    Rs(RsaKeyPair),
}

impl SigningKey {
    /// A new key. `entropy` feeds Ed25519; the other two draw from the library's own generator,
    /// which cannot be given any, so that a seed does not reproduce them.
    ///
    /// # Errors
    /// [`SigningKeyRefused::NotGenerated`] when the library has no randomness or memory.
    pub fn generate(
        algorithm: SigningAlgorithm,
        entropy: &dyn Entropy,
    ) -> Result<Self, SigningKeyRefused> {
        let failed = SigningKeyRefused::NotGenerated(algorithm);
        let pkcs8 = match algorithm {
            SigningAlgorithm::EdDSA => return Self::from_ed25519_seed(&bytes(entropy)),
            SigningAlgorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|pair| pair.to_pkcs8v1())
                .map(|document| Zeroizing::new(document.as_ref().to_vec())),
            SigningAlgorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048)
                .and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair))
                .map(|document| Zeroizing::new(document.as_ref().to_vec())),
        };
        Self::from_pkcs8(algorithm, &pkcs8.map_err(|_| failed)?)
    }

    /// The EdDSA key of this seed (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`SigningKeyRefused`] only when the library fails: every seed is a key.
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Result<Self, SigningKeyRefused> {
        let pkcs8 = Zeroizing::new([ED25519_PKCS8.as_slice(), seed.as_slice()].concat());
        Self::from_pkcs8(SigningAlgorithm::EdDSA, &pkcs8)
    }

    /// The key in this PKCS#8 document (RFC 5958), unencrypted.
    ///
    /// # Errors
    /// [`SigningKeyRefused::NotPkcs8`] when it is none, of another algorithm, or too weak.
    pub fn from_pkcs8(
        algorithm: SigningAlgorithm,
        pkcs8: &[u8],
    ) -> Result<Self, SigningKeyRefused> {
        let pair = match algorithm {
            SigningAlgorithm::EdDSA => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::Ed),
            SigningAlgorithm::ES256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::Es)
            }
            SigningAlgorithm::RS256 => RsaKeyPair::from_pkcs8(pkcs8).map(Pair::Rs),
        };
        let refused = SigningKeyRefused::NotPkcs8(algorithm);
        let pair = pair.map_err(|_| refused)?;
        let parameters = public_parameters(&pair).ok_or(refused)?;
        let mut jwk = Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(algorithm.jws().into()),
                ..CommonParameters::default()
            },
            algorithm: parameters,
        };
        let kid = thumbprint(&jwk).ok_or(refused)?;
        jwk.common.key_id = Some(kid.as_str().to_owned());
        let access_token_header = header(algorithm, &kid, "at+jwt").ok_or(refused)?;
        let introspection_header =
            header(algorithm, &kid, "token-introspection+jwt").ok_or(refused)?;
        let pkcs8 = Zeroizing::new(pkcs8.to_vec());
        Ok(Self { algorithm, kid, jwk, access_token_header, introspection_header, pair, pkcs8 })
    }

    /// What it signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its identifier: the thumbprint of its public half.
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// Its public half, as it is published (RFC 7517), with `kid`, `use` and `alg`.
    pub fn public_jwk(&self) -> &Jwk {
        &self.jwk
    }

    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn access_token_header(&self) -> &str {
        &self.access_token_header
    }

    pub(super) fn introspection_header(&self) -> &str {
        &self.introspection_header
    }

    /// Appends a dot and the signature over all of `text` so far (RFC 7515 section 7.1).
    pub(super) fn append_signature(&self, text: &mut String) -> Result<(), NotSigned> {
        let failed = NotSigned(self.algorithm);
        let message = text.as_bytes();
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(message),
            Pair::Es(pair) => pair.sign(&SystemRandom::new(), message).map_err(|_| failed)?,
            Pair::Rs(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                // The padding has no randomness in it; the argument is not used.
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| failed)?;
                text.push('.');
                base64url::encode_to(&signature, text);
                return Ok(());
            }
        };
        text.push('.');
        base64url::encode_to(signature.as_ref(), text);
        Ok(())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The header of a JWT of the type `typ`, in base64url: RFC 9068 section 2.1 for access tokens,
/// RFC 9701 section 5 for introspection. The types keep one from being taken for the other.
fn header(algorithm: SigningAlgorithm, kid: &KeyId, typ: &str) -> Option<String> {
    let mut header = Header::new(algorithm.jws());
    header.typ = Some(typ.to_owned());
    header.kid = Some(kid.as_str().to_owned());
    serde_json::to_vec(&header).ok().map(|json| base64url::encode(&json))
}

fn public_parameters(pair: &Pair) -> Option<AlgorithmParameters> {
    Some(match pair {
        Pair::Ed(pair) => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: base64url::encode(pair.public_key().as_ref()),
        }),
        Pair::Es(pair) => {
            // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
            let (&[4], point) = pair.public_key().as_ref().split_first_chunk()? else {
                return None;
            };
            let (x, y) = point.split_at_checked(32)?;
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                key_type: EllipticCurveKeyType::EC,
                curve: EllipticCurve::P256,
                x: base64url::encode(x),
                y: base64url::encode(y),
            })
        }
        Pair::Rs(pair) => {
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            AlgorithmParameters::RSA(RSAKeyParameters {
                key_type: RSAKeyType::RSA,
                n: base64url::encode(&public.n),
                e: base64url::encode(&public.e),
            })
        }
    })
}

/// The SHA-256 thumbprint of a public key (RFC 7638 section 3; RFC 8037 section 2 for Ed25519);
/// `None` for a symmetric key, which has no public half, and for what is not understood.
pub fn thumbprint(jwk: &Jwk) -> Option<KeyId> {
    let curve = |curve: &EllipticCurve| match curve {
        EllipticCurve::P256 => Some("P-256"),
        EllipticCurve::P384 => Some("P-384"),
        EllipticCurve::P521 => Some("P-521"),
        EllipticCurve::Ed25519 => Some("Ed25519"),
        _ => None,
    };
    // A map of the required members, sorted, is the canonical form.
    let required: BTreeMap<&str, &str> = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) => {
            [("kty", "EC"), ("crv", curve(&key.curve)?), ("x", &key.x), ("y", &key.y)].into()
        }
        AlgorithmParameters::RSA(key) => [("kty", "RSA"), ("n", &key.n), ("e", &key.e)].into(),
        AlgorithmParameters::OctetKeyPair(key) => {
            [("kty", "OKP"), ("crv", curve(&key.curve)?), ("x", &key.x)].into()
        }
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => return None,
    };
    let canonical = serde_json::to_vec(&required).ok()?;
    base64url::encode(&Sha256::digest(canonical)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn thumbprint_of(json: &str) -> Option<String> {
        let jwk: Jwk = serde_json::from_str(json).expect("a JWK");
        thumbprint(&jwk).map(|kid| kid.to_string())
    }

    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        // RFC 7638 section 3.1.
        let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(thumbprint_of(rsa).as_deref(), Some(expected));
        // RFC 8037 appendix A.3.
        let ed =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let expected = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(thumbprint_of(ed).as_deref(), Some(expected));
        assert_eq!(thumbprint_of(r#"{"kty":"oct","k":"AAAA"}"#), None);
    }

    #[test]
    fn the_public_half_is_what_the_rfc_derives_from_the_seed() {
        // RFC 8037 appendix A.1 and A.2.
        let seed = base64url::decode_exact("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let key = SigningKey::from_ed25519_seed(&seed.expect("32 bytes")).expect("a key");
        let jwk = serde_json::to_value(key.public_jwk()).expect("JSON");
        let expected = serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "use": "sig", "alg": "EdDSA", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        });
        assert_eq!(jwk, expected);
    }

    #[test]
    fn every_algorithm_generates_and_parses_back() {
        for algorithm in SigningAlgorithm::ALL {
            let key = SigningKey::generate(algorithm, &SeededEntropy::new(1)).expect("a key");
            let again = SigningKey::from_pkcs8(algorithm, key.pkcs8()).expect("its own PKCS#8");
            assert_eq!(key.kid(), again.kid());
            let json = serde_json::to_string(key.public_jwk()).expect("JSON");
            for private in ["\"d\"", "\"p\"", "\"k\""] {
                assert!(!json.contains(private), "{json}");
            }
            for other in SigningAlgorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                let refused = SigningKey::from_pkcs8(other, key.pkcs8()).err();
                assert_eq!(refused, Some(SigningKeyRefused::NotPkcs8(other)));
            }
        }
        assert!(SigningKey::from_pkcs8(SigningAlgorithm::EdDSA, b"").is_err());
    }
}
