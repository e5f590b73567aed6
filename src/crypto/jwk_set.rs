//! The public keys of one client as a JWK Set (RFC 7517 section 5): few, told apart by their `kid`.
//! Which of them checks a signature is decided by the keys, never by what was signed.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::public_jwk::PublicJwk;
use super::signing::SigningAlgorithm;
use crate::types::id::KeyId;

/// How many keys a client's set may hold.
pub const CLIENT_KEYS_MAX: usize = 8;

/// The keys of one client: 1 to [`CLIENT_KEYS_MAX`] as registered, no two of one `kid`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSet")]
pub struct PublicJwkSet {
    keys: Vec<PublicJwk>,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<PublicJwk>,
}

/// Why keys are not a client's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAJwkSet {
    /// Not a JSON object with an array `keys`.
    #[error("not a JWK Set: a JSON object with an array keys")]
    Syntax,
    /// None at all, or none that can be used.
    #[error("there is no usable key in it")]
    Empty,
    /// Above [`CLIENT_KEYS_MAX`].
    #[error("more than 8 keys")]
    TooMany,
    /// Two keys with one `kid`: which one is meant could not be told.
    #[error("two keys have the same kid")]
    SameKid,
}

impl TryFrom<RawSet> for PublicJwkSet {
    type Error = NotAJwkSet;

    fn try_from(RawSet { keys }: RawSet) -> Result<Self, NotAJwkSet> {
        if keys.is_empty() {
            return Err(NotAJwkSet::Empty);
        }
        if CLIENT_KEYS_MAX < keys.len() {
            return Err(NotAJwkSet::TooMany);
        }
        let mut rest = keys.iter();
        while let Some(key) = rest.next() {
            if key.kid().is_some() && rest.clone().any(|later| later.kid() == key.kid()) {
                return Err(NotAJwkSet::SameKid);
            }
        }
        Ok(Self { keys })
    }
}

/// Why a set has no key for a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// No key has this identifier, or none at all this algorithm.
    Unknown,
    /// The key is for another algorithm, or none was named and there is a choice.
    Mismatch,
}

impl PublicJwkSet {
    /// The usable keys of a fetched document. A key that cannot be used is passed over (RFC 7517
    /// section 5); a private one is, too.
    ///
    /// # Errors
    /// [`NotAJwkSet`]: the client cannot prove itself by this document.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAJwkSet> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|_| NotAJwkSet::Syntax)?;
        if CLIENT_KEYS_MAX < document.keys.len() {
            return Err(NotAJwkSet::TooMany);
        }
        let usable = document.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Self::try_from(RawSet { keys: usable.collect() })
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicJwk] {
        &self.keys
    }

    /// The key that a header names; without a name, the only one of its algorithm.
    pub(super) fn find(
        &self,
        kid: Option<&KeyId>,
        algorithm: SigningAlgorithm,
    ) -> Result<&PublicJwk, NoKey> {
        if let Some(kid) = kid {
            let named = self.keys.iter().find(|key| key.kid() == Some(kid));
            let named = named.ok_or(NoKey::Unknown)?;
            // The key decides, never the header.
            return if named.algorithm() == algorithm { Ok(named) } else { Err(NoKey::Mismatch) };
        }
        let mut fitting = self.keys.iter().filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NoKey::Mismatch),
            (None, _) => Err(NoKey::Unknown),
        }
    }
}

/// A key of each algorithm: the base points of both curves, and a modulus made of hashes. Who could
/// sign by one of them would gain nothing, for the result is never looked at.
const NOBODYS: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","x":"WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"},
    {"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
     "y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"},
    {"kty":"RSA","e":"AQAB","n":"5Tfr0FjViFodpbr9z2GAdXJb8ZW11LUQbdgmEiCQngu3nFe9zpJ7YncjUMWQCqtgzyUoijNmev7cObTIYTEqiPC6Uln71VdZGNmqmbPhgUtJAZf5s5vTZFzvEGCA-C2saiDSX0TMC3AVxbEacO1VoRXNk9K8P4TeJvdBpf05wKFpM7kEwyXE0M4EkJBnSOgsPEgPwlWfV-0d54KAY7d7BYPGd-LCF0TbOLoU3VQM_J6JDywbQ8RG5ZStYor0vMpk-9Kto2dNfthH1jHmAgrSSsi-3rIYiUAuHI28wVLhTq09no0S5sQ8AmJ08I-C02wVkywOdZbvtk0clVtKfEqYPw"}]}"#;

/// The set of a client that does not exist. A signature is checked by it where there is no other key,
/// so that the refusal takes as long as one by a key that is there.
pub(super) static OF_NOBODY: LazyLock<PublicJwkSet> = LazyLock::new(|| {
    serde_json::from_str(NOBODYS).expect("three public keys, as the test of this file has found")
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::base64url;

    #[test]
    fn c5_the_keys_of_nobody_are_one_of_each_algorithm() {
        for alg in SigningAlgorithm::ALL {
            assert!(OF_NOBODY.find(None, alg).is_ok_and(|key| !key.verifies("a", "b")), "{alg:?}");
        }
    }

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
    fn a_set_has_one_to_eight_keys_of_different_names() {
        let named = |i: usize| with("kid", json!(format!("k{i}")));
        let keys: Vec<Value> = (0..9).map(named).collect();
        assert!(set(&[]).is_err());
        assert!(set(&keys[..8]).is_ok());
        assert!(set(&keys).is_err_and(|fault| fault.contains("more than 8")));
        assert!(set(&[ed25519(), ed25519()]).is_err_and(|fault| fault.contains("same kid")));
        assert!(set(&[with("kid", json!(null)), with("kid", json!(null))]).is_ok());
    }

    #[test]
    fn what_cannot_be_used_of_a_fetched_set_is_passed_over() {
        let decode =
            |keys: Value| PublicJwkSet::decode(json!({ "keys": keys }).to_string().as_bytes());
        let keys = json!([with("d", json!("AAAA")), { "kty": "oct" }, 7, ed25519()]);
        assert_eq!(decode(keys).map(|set| set.keys().len()), Ok(1));
        assert_eq!(decode(json!([])), Err(NotAJwkSet::Empty));
        assert_eq!(decode(json!([with("d", json!("AAAA"))])), Err(NotAJwkSet::Empty));
        assert_eq!(decode(json!([7, 7, 7, 7, 7, 7, 7, 7, 7])), Err(NotAJwkSet::TooMany));
        for bytes in [b"".as_slice(), b"[]", b"{}", b"{\"keys\":{}}", b"\xFF"] {
            assert_eq!(PublicJwkSet::decode(bytes), Err(NotAJwkSet::Syntax));
        }
    }

    #[test]
    fn without_a_name_there_must_be_no_choice() {
        let (ed, es, rs) =
            (SigningAlgorithm::EdDSA, SigningAlgorithm::ES256, SigningAlgorithm::RS256);
        let one = set(&[ed25519(), rsa(0x80, 256)]).expect("a set");
        assert!(one.find(None, ed).is_ok() && one.find(None, rs).is_ok());
        assert_eq!(one.find(None, es), Err(NoKey::Unknown));
        let name: KeyId = "one".parse().expect("a key id");
        assert!(one.find(Some(&name), ed).is_ok());
        assert_eq!(one.find(Some(&name), rs), Err(NoKey::Mismatch));
        let other: KeyId = "two".parse().expect("a key id");
        assert_eq!(one.find(Some(&other), ed), Err(NoKey::Unknown));
        let two = set(&[ed25519(), with("kid", json!("two"))]).expect("a set");
        assert_eq!(two.find(None, ed), Err(NoKey::Mismatch));
        assert!(two.find(Some(&other), ed).is_ok());
    }
}
