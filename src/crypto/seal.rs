//! Fields about people, sealed under a key of their subject: without that key they are noise, and
//! erasing a person is erasing one key. Never logs or shows a key or an opened field.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use chacha20::{R20, hchacha};
use zeroize::{Zeroize, Zeroizing};

use super::base64url;
use crate::entropy::{Entropy, bytes};
use crate::types::id::OriginTag;

/// How many bytes one sealed field may hold, so that a record stays below its own bound.
pub const SEALED_BYTES_MAX: usize = 2048;

/// How the text of a sealed field begins: XChaCha20-Poly1305, version 1.
const PREFIX: &str = "x1.";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

static SEALED_FIELD: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 sealed field v1"));
static ORIGIN_TAG: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 origin tag v1"));
static VAULT_COPY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 vault copy v1"));
static SUBJECT_LOOKUP: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 subject lookup v1"));

/// The key of one subject. Wiped when dropped; shows nothing.
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(&bytes(entropy))
    }

    /// The key of these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The 32 bytes, for the vault alone.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A sealed field: `x1.` and base64url( nonce 24 B, ciphertext, tag 16 B ).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(Arc<str>);

/// Why a text is not a sealed field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sealed field: x1. and base64url of at most 2088 bytes")]
pub struct NotSealed;

/// More than [`SEALED_BYTES_MAX`] bytes to seal: shorten the field first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too long to seal: at most 2048 bytes")]
pub struct TooLongToSeal;

/// The field does not open: another key, another purpose, or changed bytes. Nobody can tell which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed field does not open under this key for this purpose")]
pub struct SealBroken;

impl Sealed {
    /// The text, as it stands in a record.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is that of a sealed field.
    pub(crate) fn is_text(text: &[u8]) -> bool {
        let most = NONCE_BYTES + SEALED_BYTES_MAX + TAG_BYTES;
        let bytes = text.strip_prefix(PREFIX.as_bytes()).and_then(base64url::decoded_len);
        text.len() <= PREFIX.len() + base64url::text_len(most)
            && bytes.is_some_and(|bytes| NONCE_BYTES + TAG_BYTES <= bytes)
    }
}

impl FromStr for Sealed {
    type Err = NotSealed;

    fn from_str(text: &str) -> Result<Self, NotSealed> {
        if !Self::is_text(text.as_bytes()) {
            return Err(NotSealed);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl serde::Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Seals `plaintext` for `purpose`, which names the field (and whatever else it must not be moved
/// away from) and is needed again to open it. The nonce is random and long enough to be so.
///
/// # Errors
/// [`TooLongToSeal`] above [`SEALED_BYTES_MAX`].
pub fn seal(
    key: &SubjectKey,
    purpose: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Sealed, TooLongToSeal> {
    if SEALED_BYTES_MAX < plaintext.len() {
        return Err(TooLongToSeal);
    }
    let nonce = bytes::<NONCE_BYTES>(entropy);
    // With room for the tag: growing would leave a copy of the plaintext behind.
    let mut raw = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
    raw.extend_from_slice(&nonce);
    raw.extend_from_slice(plaintext);
    let (_, in_place) = raw.split_at_mut(NONCE_BYTES);
    let (cipher, short_nonce) = cipher(key, &nonce);
    let tag = cipher
        .seal_in_place_separate_tag(short_nonce, Aad::from(purpose), in_place)
        .map_err(|_| TooLongToSeal)?;
    raw.extend_from_slice(tag.as_ref());
    let mut text = String::with_capacity(PREFIX.len() + base64url::text_len(raw.len()));
    text.push_str(PREFIX);
    base64url::encode_to(&raw, &mut text);
    Ok(Sealed(text.into()))
}

/// What was sealed under `key` for `purpose`.
///
/// # Errors
/// [`SealBroken`] when it was not, or was changed since: show the field as unreadable.
pub fn open(
    key: &SubjectKey,
    purpose: &[u8],
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
    let mut raw = sealed.0.strip_prefix(PREFIX).and_then(base64url::decode).ok_or(SealBroken)?;
    let (nonce, in_place) = raw.split_first_chunk_mut::<NONCE_BYTES>().ok_or(SealBroken)?;
    let (cipher, short_nonce) = cipher(key, nonce);
    let opened = cipher.open_in_place(short_nonce, Aad::from(purpose), in_place);
    let plaintext = opened.map_err(|_| SealBroken)?;
    Ok(Zeroizing::new(plaintext.to_vec()))
}

/// The tag of a caller's address and user agent under the subject's own key: equal tags, one host.
/// Without the key it says nothing, not even by guessing addresses.
pub fn origin_tag(key: &SubjectKey, address: &str, user_agent: &str) -> OriginTag {
    let mut hasher = Hasher::new_keyed(&derive(&ORIGIN_TAG, key.as_bytes()));
    // The length first, so that no part of one field can pass for a part of the other.
    for field in [address, user_agent] {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
    }
    let mut tag = [0; 8];
    hasher.finalize_xof().fill(&mut tag);
    OriginTag::from_bytes(tag)
}

/// Where the vault keeps the row of `sub`: the vault's file alone does not tell whose rows it has.
pub fn subject_lookup(vault_key: &[u8; 32], sub: &str) -> [u8; 32] {
    *blake3::keyed_hash(&derive(&SUBJECT_LOOKUP, vault_key), sub.as_bytes()).as_bytes()
}

/// The key under which copies of the vault are sealed: a copy is of no use without the key file.
pub fn vault_copy_key(vault_key: &[u8; 32]) -> SubjectKey {
    SubjectKey(derive(&VAULT_COPY, vault_key))
}

/// The key for one use of `key`; two uses never share one.
fn derive(context: &ContextKey, key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*Hasher::new_from_context_key(context).update(key).finalize().as_bytes())
}

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2): the AEAD of RFC 8439 under a key of its
/// own, which HChaCha20 makes from the first 16 bytes of the nonce.
fn cipher(key: &SubjectKey, nonce: &[u8; NONCE_BYTES]) -> (LessSafeKey, Nonce) {
    let key = derive(&SEALED_FIELD, key.as_bytes());
    let (first, last) = nonce.split_first_chunk::<16>().expect("24 bytes hold 16");
    let mut own: [u8; 32] = hchacha::<R20>((&*key).into(), first.into()).into();
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, &own).expect("its keys have 32 bytes");
    own.zeroize();
    let mut short = [0; 12];
    let (_, counted) = short.split_at_mut(4);
    counted.copy_from_slice(last);
    (LessSafeKey::new(unbound), Nonce::assume_unique_for_key(short))
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const PURPOSE: &[u8] = b"origin";

    fn key(byte: u8) -> SubjectKey {
        SubjectKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn what_was_sealed_opens_and_looks_different_each_time() {
        let entropy = SeededEntropy::new(1);
        for plaintext in [&b""[..], b"203.0.113.7", &[0xFF; SEALED_BYTES_MAX]] {
            let sealed = seal(&key(1), PURPOSE, plaintext, &entropy).expect("short enough");
            assert_eq!(open(&key(1), PURPOSE, &sealed).expect("it opens").as_slice(), plaintext);
            let again = seal(&key(1), PURPOSE, plaintext, &entropy).expect("short enough");
            assert_ne!(sealed, again);
            let json = serde_json::to_string(&sealed).expect("text");
            assert_eq!(serde_json::from_str::<Sealed>(&json).ok(), Some(sealed));
        }
        let long = [0; SEALED_BYTES_MAX + 1];
        assert_eq!(seal(&key(1), PURPOSE, &long, &entropy), Err(TooLongToSeal));
    }

    #[test]
    fn another_implementation_opens_what_was_sealed() {
        use chacha20poly1305::aead::{Aead, Payload};
        use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
        for length in [0, 1, 64, 1000] {
            let plaintext = vec![b'a'; length];
            let sealed = seal(&key(1), PURPOSE, &plaintext, &SeededEntropy::new(4)).expect("short");
            let raw = base64url::decode(&sealed.as_str()[3..]).expect("its own text");
            let (nonce, msg) = raw.split_first_chunk::<NONCE_BYTES>().expect("a nonce");
            let derived = blake3::derive_key("token-ledger 2026 sealed field v1", &[1; 32]);
            let other = XChaCha20Poly1305::new(&derived.into());
            let opened = other.decrypt(&XNonce::from(*nonce), Payload { msg, aad: PURPOSE });
            assert_eq!(opened.expect("it opens"), plaintext);
        }
    }

    #[test]
    fn another_key_purpose_or_bit_opens_nothing() {
        let sealed = seal(&key(1), PURPOSE, b"alice", &SeededEntropy::new(2)).expect("short");
        assert_eq!(open(&key(2), PURPOSE, &sealed), Err(SealBroken));
        assert_eq!(open(&key(1), b"sub", &sealed), Err(SealBroken));
        let raw = base64url::decode(&sealed.as_str()[3..]).expect("its own text");
        for bit in 0..raw.len() * 8 {
            let mut flipped = raw.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped: Sealed =
                format!("x1.{}", base64url::encode(&flipped)).parse().expect("same length");
            assert_eq!(open(&key(1), PURPOSE, &flipped), Err(SealBroken), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_sealed_field_is_refused() {
        let shortest = format!("x1.{}", base64url::encode(&[0; 40]));
        assert!(shortest.parse::<Sealed>().is_ok());
        let short = format!("x1.{}", base64url::encode(&[0; 39]));
        let long = format!("x1.{}", base64url::encode(&[0; 40 + SEALED_BYTES_MAX + 1]));
        let other = shortest.replacen("x1.", "x2.", 1);
        for text in ["", "x1.", "x1.====", &short, &long, &other, &format!("{shortest}=")] {
            assert_eq!(text.parse::<Sealed>(), Err(NotSealed), "{text:?}");
        }
    }

    #[test]
    fn an_origin_tag_separates_hosts_subjects_and_fields() {
        let tag = origin_tag(&key(1), "203.0.113.7", "app/1");
        assert_eq!(tag, origin_tag(&key(1), "203.0.113.7", "app/1"));
        assert_ne!(tag, origin_tag(&key(2), "203.0.113.7", "app/1"));
        assert_ne!(tag, origin_tag(&key(1), "203.0.113.8", "app/1"));
        assert_ne!(tag, origin_tag(&key(1), "203.0.113.7a", "pp/1"));
    }

    #[test]
    fn a_subject_is_found_under_its_own_vault_key_only() {
        assert_eq!(subject_lookup(&[1; 32], "alice"), subject_lookup(&[1; 32], "alice"));
        assert_ne!(subject_lookup(&[1; 32], "alice"), subject_lookup(&[2; 32], "alice"));
        assert_ne!(subject_lookup(&[1; 32], "alice"), subject_lookup(&[1; 32], "alicf"));
    }

    #[test]
    fn a_subject_key_shows_nothing() {
        assert_eq!(format!("{:?}", key(65)), "SubjectKey { .. }");
        assert_eq!(SubjectKey::generate(&SeededEntropy::new(3)).as_bytes().len(), 32);
    }
}
