//! The JSON of a key file, version 1. Only its shape: what belongs together is checked by `KeyFile`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::base64url;
use super::signing::SigningAlgorithm;
use crate::types::id::KeyId;

/// Domain separation of the digest.
const CHECK_CONTEXT: &str = "token-ledger 2026 key file check v1";

#[derive(Deserialize)]
pub(super) struct RawVersion {
    pub(super) version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeyFile {
    pub(super) version: u64,
    pub(super) token_keys: RawTokenKeys,
    pub(super) vault_key: Bytes32,
    pub(super) signing_keys: RawSigningKeys,
    pub(super) checkpoint_key: Bytes32,
    /// Those that replace it, while it goes on signing beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) later_checkpoint_keys: Vec<Bytes32>,
    /// BLAKE3 of all the above: a key with a flipped bit is still a key. Files from before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<String>,
}

impl RawKeyFile {
    /// The digest of all but itself.
    pub(super) fn digest(&mut self) -> String {
        let check = self.check.take();
        let bytes = serde_json::to_vec(self).expect("text and numbers always encode");
        self.check = check;
        let digest = blake3::derive_key(CHECK_CONTEXT, &Zeroizing::new(bytes));
        base64url::encode(&digest)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokenKeys {
    pub(super) current: u8,
    pub(super) keys: Vec<RawTokenKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokenKey {
    pub(super) id: u8,
    pub(super) tag: Bytes32,
    pub(super) rotation: Bytes32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSigningKeys {
    pub(super) current: KeyId,
    pub(super) keys: Vec<RawSigningKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSigningKey {
    pub(super) kid: KeyId,
    pub(super) alg: SigningAlgorithm,
    pub(super) pkcs8: Document,
}

/// 32 secret bytes, in base64url.
pub(super) struct Bytes32(pub(super) Zeroizing<[u8; 32]>);

/// A secret document of any length, in base64url.
pub(super) struct Document(pub(super) Zeroizing<Vec<u8>>);

impl Serialize for Bytes32 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(base64url::encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Borrowed, so that the parser makes no copy that nobody wipes.
        let text = <&'de str>::deserialize(from)?;
        base64url::decode_exact(text).map(Self).ok_or_else(|| Error::custom("not a key"))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(base64url::encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <&'de str>::deserialize(from)?;
        base64url::decode(text).map(Self).ok_or_else(|| Error::custom("not a key"))
    }
}
