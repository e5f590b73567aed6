//! Digests: what is kept of a secret, and what chains one record to the next.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use super::text::{TEXT_MAX, as_text, decode, encode_into, encode_onto, text_len};

/// A BLAKE3-256 digest under a context of its own, in base64url. Equality takes constant time.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The RFC 6962 leaf hash of a record: SHA-256 of 0x00 and the exact bytes, in base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafHash([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: 43 characters of base64url")]
pub struct NotADigest;

macro_rules! digest {
    ($name:ident) => {
        impl $name {
            /// The digest of these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The length of every text.
            pub(crate) const TEXT_LEN: usize = text_len(32);

            pub(crate) fn with_text<R>(&self, show: impl FnOnce(&str) -> R) -> R {
                show(encode_into("", &self.0, &mut [0; TEXT_MAX]))
            }

            pub(crate) fn text_onto(&self, to: &mut Vec<u8>) {
                encode_onto("", &self.0, to);
            }

            pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
                decode(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotADigest;

            fn from_str(text: &str) -> Result<Self, NotADigest> {
                Self::of_text(text.as_bytes()).ok_or(NotADigest)
            }
        }

        as_text!($name);
    };
}

digest!(Digest);
digest!(LeafHash);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.words().zip(other.words());
        pairs.fold(0, |differing, (one, other)| differing | (one ^ other)).ct_eq(&0).into()
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Digest {
    /// Eight bytes at a time: one by one, a comparison takes as long as half a decision.
    fn words(&self) -> impl Iterator<Item = u64> {
        self.0.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word))
    }

    /// The first 16 bytes: the key under which a live access token is found.
    pub fn short(&self) -> ShortDigest {
        let mut short = [0; 16];
        short.copy_from_slice(self.0.split_at(16).0);
        ShortDigest(short)
    }
}

/// The first 16 bytes of the [`Digest`] of an access token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortDigest([u8; 16]);

impl ShortDigest {
    /// The digest of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ShortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(encode_into("", &self.0, &mut [0; TEXT_MAX]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_that_differ_in_one_bit_are_not_equal() {
        let digest = Digest::from_bytes([0xA5; 32]);
        assert_eq!(digest, Digest::from_bytes([0xA5; 32]));
        for bit in 0..256 {
            let mut bytes = [0xA5; 32];
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(digest, Digest::from_bytes(bytes), "bit {bit}");
        }
    }
}
