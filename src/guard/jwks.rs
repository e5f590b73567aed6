//! A JWK Set (RFC 7517) as the keys that can check a signature. Everything else in it is left out:
//! shared secrets, encryption keys, private keys, curves that no allowed algorithm uses.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use crate::types::id::KeyId;

use super::options::SignatureAlgorithm;

/// How many bytes a JWK Set may take.
pub(super) const JWKS_BYTES_MAX: usize = 64 * 1024;
/// How many keys a JWK Set may hold.
pub(super) const JWKS_KEYS_MAX: usize = 32;

/// The keys of the issuer that can check a signature.
pub(super) struct KeySet(Vec<Arc<VerificationKey>>);

/// One key, for one algorithm.
pub(super) struct VerificationKey {
    key_id: Option<KeyId>,
    algorithm: SignatureAlgorithm,
    decoding: DecodingKey,
}

/// Why a document is not a JWK Set that a guard takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAKeySet {
    #[error("not a JWK Set: a JSON object with an array \"keys\"")]
    Syntax,
    #[error("more than 32 keys")]
    TooMany,
}

/// What a set holds for the header of a token.
pub(super) enum Found {
    Key(Arc<VerificationKey>),
    /// The key is not for this algorithm, or none was named and there is a choice.
    Mismatch,
    /// No key has this identifier.
    Unknown,
}

#[derive(serde::Deserialize)]
struct RawKeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(serde::Deserialize)]
struct RawKey {
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
    d: Option<serde::de::IgnoredAny>,
}

impl KeySet {
    /// The usable keys of the document `bytes`. A key that cannot be used is not an error
    /// (RFC 7517 section 5), so the set may turn out empty.
    pub(super) fn decode(
        bytes: &[u8],
        algorithms: &[SignatureAlgorithm],
    ) -> Result<Self, NotAKeySet> {
        let raw: RawKeySet = serde_json::from_slice(bytes).map_err(|_| NotAKeySet::Syntax)?;
        if JWKS_KEYS_MAX < raw.keys.len() {
            return Err(NotAKeySet::TooMany);
        }
        let usable = |key| {
            let raw = serde_json::from_value::<RawKey>(key).ok()?;
            VerificationKey::decode(raw).filter(|key| algorithms.contains(&key.algorithm))
        };
        Ok(Self(raw.keys.into_iter().filter_map(usable).map(Arc::new).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that the token names, if it is for the algorithm that the token names.
    pub(super) fn find(&self, key_id: Option<&KeyId>, algorithm: SignatureAlgorithm) -> Found {
        let mut named =
            self.0.iter().filter(|key| key_id.is_none() || key.key_id.as_ref() == key_id);
        let fits = |key: &&Arc<VerificationKey>| key.algorithm == algorithm;
        match key_id {
            Some(_) => match named.clone().find(fits) {
                Some(key) => Found::Key(Arc::clone(key)),
                None if named.next().is_some() => Found::Mismatch,
                None => Found::Unknown,
            },
            // A token need not name its key; then there must be no choice.
            None => {
                let mut fitting = named.filter(fits);
                match (fitting.next(), fitting.next()) {
                    (Some(key), None) => Found::Key(Arc::clone(key)),
                    (Some(_), Some(_)) | (None, _) => Found::Mismatch,
                }
            }
        }
    }
}

impl VerificationKey {
    pub(super) fn decoding_key(&self) -> &DecodingKey {
        &self.decoding
    }

    fn decode(raw: RawKey) -> Option<Self> {
        if raw.d.is_some() {
            tracing::error!("the issuer publishes a private key; it is not trusted");
            return None;
        }
        let for_signatures = raw.usage.as_deref().is_none_or(|usage| usage == "sig")
            && raw.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let (algorithm, decoding) = match (raw.kty.as_str(), raw.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let x = raw.x.filter(|x| length(x) == Some(32))?;
                (SignatureAlgorithm::EdDsa, DecodingKey::from_ed_components(&x))
            }
            ("EC", Some("P-256")) => {
                let x = raw.x.filter(|x| length(x) == Some(32))?;
                let y = raw.y.filter(|y| length(y) == Some(32))?;
                (SignatureAlgorithm::Es256, DecodingKey::from_ec_components(&x, &y))
            }
            ("RSA", _) => {
                let n = raw.n.filter(|n| length(n).is_some_and(|n| (256..=1024).contains(&n)))?;
                let e = raw.e.filter(|e| length(e).is_some_and(|e| (1..=8).contains(&e)))?;
                (SignatureAlgorithm::Rs256, DecodingKey::from_rsa_components(&n, &e))
            }
            _ => return None,
        };
        // A key is for one algorithm; what it says of itself must agree (RFC 8725 section 3.1).
        if raw.alg.is_some_and(|alg| alg != algorithm.as_str()) {
            return None;
        }
        let key_id = raw.kid.map(|kid| kid.parse()).transpose().ok()?;
        Some(Self { key_id, algorithm, decoding: decoding.ok()? })
    }
}

/// How many bytes a base64url text stands for.
fn length(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn usable(keys: Value) -> usize {
        let bytes = json!({ "keys": keys }).to_string();
        KeySet::decode(bytes.as_bytes(), &SignatureAlgorithm::ALL).expect("a key set").len()
    }

    fn ed25519(more: Value) -> Value {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "one" });
        let more = more.as_object().cloned().unwrap_or_default();
        key.as_object_mut().expect("an object").extend(more);
        key
    }

    #[test]
    fn a_key_that_cannot_check_a_signature_is_left_out() {
        assert_eq!(usable(json!([ed25519(json!({}))])), 1);
        assert_eq!(usable(json!([ed25519(json!({ "alg": "EdDSA", "use": "sig" }))])), 1);
        for more in [
            json!({ "alg": "HS256" }),
            json!({ "use": "enc" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "crv": "Ed448" }),
            json!({ "crv": "X25519" }),
            json!({ "x": "AAAA" }),
            json!({ "d": URL_SAFE_NO_PAD.encode([7; 32]) }),
            json!({ "kid": "a b" }),
            json!({ "kid": 7 }),
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB" }),
        ] {
            assert_eq!(usable(json!([ed25519(more.clone()), 7, {}])), 0, "{more}");
        }
    }

    #[test]
    fn a_set_has_an_upper_limit() {
        let keys: Vec<Value> = (0..=JWKS_KEYS_MAX).map(|_| ed25519(json!({}))).collect();
        let bytes = json!({ "keys": keys }).to_string();
        let decoded = KeySet::decode(bytes.as_bytes(), &SignatureAlgorithm::ALL);
        assert_eq!(decoded.err(), Some(NotAKeySet::TooMany));
        let decoded = KeySet::decode(b"[]", &SignatureAlgorithm::ALL);
        assert_eq!(decoded.err(), Some(NotAKeySet::Syntax));
    }

    #[test]
    fn a_token_without_kid_needs_a_set_without_choice() {
        let set = |keys: Value| {
            let bytes = json!({ "keys": keys }).to_string();
            KeySet::decode(bytes.as_bytes(), &SignatureAlgorithm::ALL).expect("a key set")
        };
        let one = set(json!([ed25519(json!({}))]));
        assert!(matches!(one.find(None, SignatureAlgorithm::EdDsa), Found::Key(_)));
        assert!(matches!(one.find(None, SignatureAlgorithm::Es256), Found::Mismatch));
        let two = set(json!([ed25519(json!({})), ed25519(json!({ "kid": "two" }))]));
        assert!(matches!(two.find(None, SignatureAlgorithm::EdDsa), Found::Mismatch));
        let named = "two".parse().expect("a key id");
        assert!(matches!(two.find(Some(&named), SignatureAlgorithm::EdDsa), Found::Key(_)));
        assert!(matches!(two.find(Some(&named), SignatureAlgorithm::Rs256), Found::Mismatch));
        assert!(matches!(one.find(Some(&named), SignatureAlgorithm::EdDsa), Found::Unknown));
    }
}
