//! Keys of signed notes (C2SP signed-note v1.0.0 and tlog-cosignature v1.0.1): their names, their
//! texts, what they sign. Public halves only.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::types::time::Timestamp;

use super::note::NoteSignature;

/// How many bytes a key name may take; cosignatures of type 0x06 write that length in one byte.
pub const KEY_NAME_BYTES_MAX: usize = 255;

pub(super) const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const TIME_BYTES: usize = 8;

/// The name of a key: not empty, without Unicode spaces, control characters and `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

/// The short identifier of a key: unique together with its name, but no proof of anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKeyId(u32);

/// The signature types of signed-note that this ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKeyKind {
    /// Type 0x01: Ed25519 over the text of the note.
    Note,
    /// Type 0x04: Ed25519 over a time and the text (`cosignature/v1`).
    Cosignature,
}

/// Why a text is not a key. A key that fails here is wrong in the configuration: nothing to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `name+id+base64`, or not written the one way there is.
    #[error("a key is written name+id+base64, the id in 8 hexadecimal digits")]
    Syntax,
    /// See [`KeyName`].
    #[error("a key name has 1 to 255 bytes, and no space, control character or plus")]
    Name,
    /// Another signature type than the one asked for, or one that this ledger does not know.
    #[error("signature type 0x{0:02x} is not supported here")]
    Kind(u8),
    /// The 32 bytes are no point of the curve, or one of low order.
    #[error("not an Ed25519 public key")]
    PublicKey,
    /// The id in the text is not the one that name, type and public key have.
    #[error("the key id does not belong to this name and key")]
    KeyId,
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let refused = |c: char| c.is_whitespace() || c < ' ' || c == '+';
        if text.is_empty() || KEY_NAME_BYTES_MAX < text.len() || text.contains(refused) {
            return Err(KeyError::Name);
        }
        Ok(Self(text.into()))
    }
}

impl NoteKeyId {
    /// The identifier of these bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The bytes, as they stand before the signature.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The identifier that signed-note recommends: the first bytes of
    /// SHA-256(name, newline, type, public key).
    fn of(name: &KeyName, kind: NoteKeyKind, key: &VerifyingKey) -> Self {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', kind.byte()])
            .chain_update(key.as_bytes())
            .finalize()
            .into();
        let mut id = [0; 4];
        id.copy_from_slice(hash.split_at(4).0);
        Self::from_bytes(id)
    }
}

impl fmt::Display for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NoteKeyKind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Note),
            0x04 => Ok(Self::Cosignature),
            other => Err(KeyError::Kind(other)),
        }
    }
}

/// A public key that checks signatures under one name. Its text (`Display`, `FromStr`) is the vkey
/// of signed-note: `name+id+base64(type, key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: KeyName,
    id: NoteKeyId,
    kind: NoteKeyKind,
    key: VerifyingKey,
}

impl NoteVerifier {
    pub(super) fn new(name: KeyName, kind: NoteKeyKind, key: VerifyingKey) -> Self {
        Self { id: NoteKeyId::of(&name, kind, &key), name, kind, key }
    }

    /// The name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The identifier of the key.
    pub fn id(&self) -> NoteKeyId {
        self.id
    }

    /// What kind of signature it checks.
    pub fn kind(&self) -> NoteKeyKind {
        self.kind
    }

    /// The key under which a log dates its own checkpoints: of the same name and public key, for
    /// cosignatures.
    pub fn dating(&self) -> Self {
        Self::new(self.name.clone(), NoteKeyKind::Cosignature, self.key)
    }

    /// The 32 bytes of the public key (RFC 8032 section 5.1.5).
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` claims to be by this key: name and identifier, no proof.
    pub fn is_named_by(&self, signature: &NoteSignature) -> bool {
        self.id == signature.id() && self.name == *signature.name()
    }

    /// Whether `signature` is this key's over `text`, the text of a note with its last newline.
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Option<Verified> {
        if !self.is_named_by(signature) {
            return None;
        }
        let at = match self.kind {
            NoteKeyKind::Note => {
                self.check(text.as_bytes(), signature.payload())?;
                None
            }
            NoteKeyKind::Cosignature => {
                let (time, payload) = signature.payload().split_first_chunk::<TIME_BYTES>()?;
                let seconds = u64::from_be_bytes(*time);
                self.check(cosigned(text, seconds).as_bytes(), payload)?;
                // A time that this ledger cannot write down is no evidence of a time.
                let at = Timestamp::from_seconds(seconds);
                Some(at).filter(|at| at.seconds() == seconds).map(Some)?
            }
        };
        Some(Verified { name: self.name.clone(), id: self.id, at })
    }

    fn check(&self, message: &[u8], payload: &[u8]) -> Option<()> {
        let payload: &[u8; SIGNATURE_BYTES] = payload.try_into().ok()?;
        self.key.verify_strict(message, &Signature::from_bytes(payload)).ok()
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for NoteVerifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = KeyParts::split(text)?;
        let key = VerifyingKey::from_bytes(&parts.key).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        let verifier = Self::new(parts.name, parts.kind, key);
        if verifier.id != parts.id { Err(KeyError::KeyId) } else { Ok(verifier) }
    }
}

/// A signature that was checked: whose it is, and for a cosignature when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name of the key.
    pub name: KeyName,
    /// The identifier of the key.
    pub id: NoteKeyId,
    /// The cosigner's time, to the second; `None` for signatures that carry none.
    pub at: Option<Timestamp>,
}

/// The message that a cosignature signs (tlog-cosignature, "Ed25519 signed message").
pub(super) fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// What public and private key texts have in common.
pub(super) struct KeyParts {
    pub(super) name: KeyName,
    pub(super) id: NoteKeyId,
    pub(super) kind: NoteKeyKind,
    pub(super) key: Zeroizing<[u8; KEY_BYTES]>,
}

impl KeyParts {
    pub(super) fn split(text: &str) -> Result<Self, KeyError> {
        // The first two pluses only: base64 has pluses of its own.
        let (name, rest) = text.split_once('+').ok_or(KeyError::Syntax)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Syntax)?;
        let name = name.parse()?;
        let lower_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if id.len() != 8 || !id.bytes().all(lower_hex) {
            return Err(KeyError::Syntax);
        }
        let id = u32::from_str_radix(id, 16).map(NoteKeyId).map_err(|_| KeyError::Syntax)?;
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::Syntax)?);
        let (kind, key) = bytes.split_first().ok_or(KeyError::Syntax)?;
        let kind = NoteKeyKind::from_byte(*kind)?;
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| KeyError::Syntax)?;
        Ok(Self { name, id, kind, key: Zeroizing::new(*key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn verifier(text: &str) -> Result<NoteVerifier, KeyError> {
        text.parse()
    }

    #[test]
    fn a_vkey_round_trips_and_its_id_is_computed() {
        let key = verifier(VKEY).expect("the key of the specification");
        assert_eq!(key.to_string(), VKEY);
        assert_eq!(
            (key.name().as_str(), key.id().to_string()),
            ("example.com/foo", "530d903a".into())
        );
        assert_eq!(key.kind(), NoteKeyKind::Note);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let cases = [
            ("", KeyError::Syntax),
            ("example.com/foo+530d903a", KeyError::Syntax),
            ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
            ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
            (
                "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                KeyError::Syntax,
            ),
            (
                "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                KeyError::KeyId,
            ),
            (
                "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                KeyError::KeyId,
            ),
            (
                "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                KeyError::Kind(2),
            ),
            (
                "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3Q==",
                KeyError::Syntax,
            ),
            (
                "example.com/foo+530d903a+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                KeyError::PublicKey,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(verifier(text), Err(error), "{text}");
        }
    }
}
