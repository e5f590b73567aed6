//! Identifiers. Each kind has its own type and its own prefix, so none is taken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::text::{TEXT_MAX, as_text, decode, encode_into, encode_onto, text_len};

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct NotAnId(&'static str);

/// Random bytes with a prefix, in base64url.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The identifier of these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes behind the text.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The length of every text.
            pub(crate) const TEXT_LEN: usize = $prefix.len() + text_len($bytes);

            pub(crate) fn with_text<R>(&self, show: impl FnOnce(&str) -> R) -> R {
                show(encode_into($prefix, &self.0, &mut [0; TEXT_MAX]))
            }

            pub(crate) fn text_onto(&self, to: &mut Vec<u8>) {
                encode_onto($prefix, &self.0, to);
            }

            pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
                text.strip_prefix($prefix.as_bytes()).and_then(decode).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Self::of_text(text.as_bytes()).ok_or(NotAnId($what))
            }
        }

        as_text!($name);
    };
}

random_id!(
    /// A grant: the authorization that all its tokens descend from (RFC 9700 section 4.14.2).
    GrantId, 16, "g_", "a grant id: g_ and 22 characters of base64url"
);
random_id!(
    /// A resource owner's pseudonym; the log never holds the `sub` itself.
    SubjectId, 16, "s_", "a subject pseudonym: s_ and 22 characters of base64url"
);
random_id!(
    /// One entry of the blacklist.
    BlacklistId, 9, "b_", "a blacklist entry id: b_ and 12 characters of base64url"
);
random_id!(
    /// Address and user agent of a caller under the subject's own key: equal tags, one host.
    OriginTag, 8, "", "an origin tag: 11 characters of base64url"
);

/// One command; all its records carry it. Written `r_` and 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The identifier of these bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    fn with_text<R>(&self, show: impl FnOnce(&str) -> R) -> R {
        show(std::str::from_utf8(&self.text()).expect("hexadecimal digits are ASCII"))
    }

    pub(crate) fn text(self) -> [u8; Self::TEXT_LEN] {
        let mut text = *b"r_0000000000000000";
        let pairs = text.split_at_mut(2).1.as_chunks_mut().0;
        for (pair, byte) in pairs.iter_mut().zip(self.0.to_be_bytes()) {
            // Without a branch, so that all of them are made in a few steps.
            let digit = |value| value + if value < 10 { b'0' } else { b'a' - 10 };
            *pair = [digit(byte >> 4), digit(byte & 0xF)];
        }
        text
    }

    /// The length of every text.
    pub(crate) const TEXT_LEN: usize = 18;

    pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
        let digits: &[u8; 16] = text.strip_prefix(b"r_")?.try_into().ok()?;
        let number = digits.iter().try_fold(0, |number, digit| {
            let value = char::from(*digit).to_digit(16)?;
            Some(number << 4 | u64::from(value))
        });
        number.map(Self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::of_text(text.as_bytes()).ok_or(NotAnId("a request id: r_ and 16 hexadecimal digits"))
    }
}

as_text!(RequestId);

/// The position of a record: dense from 0, and its leaf index in the Merkle tree.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seq {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        text.parse().map(Self).map_err(|_| NotAnId("a seq: a whole number from 0"))
    }
}

/// A client identifier (RFC 6749 section 2.2): 1 to 128 visible ASCII characters but `"` and `\`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

/// The identifier of a signing key, as in the `kid` of a JWS header (RFC 7515 section 4.1.4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

macro_rules! text_id {
    ($name:ident, $max:literal, $what:literal) => {
        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn with_text<R>(&self, show: impl FnOnce(&str) -> R) -> R {
                show(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let visible = |c: u8| matches!(c, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
                if text.is_empty() || $max < text.len() || !text.bytes().all(visible) {
                    return Err(NotAnId($what));
                }
                Ok(Self(text.into()))
            }
        }

        as_text!($name);
    };
}

text_id!(ClientId, 128, "a client_id: 1 to 128 visible ASCII characters but \" and \\");
text_id!(KeyId, 64, "a key id: 1 to 64 visible ASCII characters but \" and \\");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text() {
        let id = GrantId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 24);
        assert_eq!("a:b c".parse::<ClientId>().ok(), None);
        assert_eq!("a:b+c".parse::<ClientId>().map(|c| c.to_string()), Ok("a:b+c".to_owned()));
    }

    #[test]
    fn a_request_id_is_sixteen_hexadecimal_digits() {
        for byte in 0..=u8::MAX {
            let bytes = [byte, 0, !byte, 1, byte, 2, 3, !byte];
            let number = u64::from_be_bytes(bytes);
            assert_eq!(RequestId::from_bytes(bytes).to_string(), format!("r_{number:016x}"));
        }
    }

    #[test]
    fn one_kind_of_id_is_not_another() {
        let text = GrantId::from_bytes([7; 16]).to_string();
        assert!(text.parse::<SubjectId>().is_err());
        assert!(format!("{text}A").parse::<GrantId>().is_err());
        assert!(text[..23].parse::<GrantId>().is_err());
    }
}
