//! Base64url without padding, as every identifier and digest is written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest text of an identifier or digest: a prefix of two characters, and 32 bytes.
pub(crate) const TEXT_MAX: usize = 2 + 43;

/// `prefix` and the base64url text of `bytes`, written into `room`: every record has a dozen of
/// these, and none of them is worth an allocation.
pub(crate) fn encode_into<'a>(prefix: &str, bytes: &[u8], room: &'a mut [u8; TEXT_MAX]) -> &'a str {
    let (head, rest) = room.split_at_mut(prefix.len());
    head.copy_from_slice(prefix.as_bytes());
    let length =
        URL_SAFE_NO_PAD.encode_slice(bytes, rest).expect("no text is longer than the room");
    let text = room.get(..prefix.len() + length).expect("it was just written there");
    std::str::from_utf8(text).expect("prefix and base64url are ASCII")
}

/// As [`encode_into`], behind what `to` holds.
pub(crate) fn encode_onto(prefix: &str, bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(prefix.as_bytes());
    let start = to.len();
    to.resize(start + text_len(bytes.len()), 0);
    let (_, room) = to.split_at_mut(start);
    URL_SAFE_NO_PAD.encode_slice(bytes, room).expect("the room is as long as the text");
}

/// How many characters `bytes` bytes take.
pub(crate) const fn text_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The `N` bytes that `text` stands for; `None` for another length, alphabet or padding.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0_u8; N];
    // A strict length first: `decode_slice` would accept less.
    if text.len() != text_len(N) {
        return None;
    }
    match URL_SAFE_NO_PAD.decode_slice(text, &mut out) {
        Ok(n) if n == N => Some(out),
        Ok(_) | Err(_) => None,
    }
}

/// `Serialize` and `Deserialize` by way of `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        $crate::types::text::deserialize_from_text!($type);
    };
}
pub(crate) use serde_as_text;

/// `Display`, `Serialize` and `Deserialize` by way of `with_text`, which lends the whole text at
/// once, and `FromStr`.
macro_rules! as_text {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.with_text(|text| f.write_str(text))
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.with_text(|text| to.serialize_str(text))
            }
        }
        $crate::types::text::deserialize_from_text!($type);
    };
}
pub(crate) use as_text;

macro_rules! deserialize_from_text {
    ($type:ty) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use deserialize_from_text;
