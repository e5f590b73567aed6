//! Canonical base64url without padding (RFC 4648 section 5): one text for the same bytes, never two.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

pub(super) use crate::types::text::text_len;

/// The text of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the text of `bytes` to `text`.
pub(super) fn encode_to(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// The bytes of `text`; `None` for padding, another alphabet or stray bits.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(text).ok().map(Zeroizing::new)
}

/// How many bytes `text` stands for, without making them; `None` as for [`decode`].
pub(super) fn decoded_len(text: &[u8]) -> Option<usize> {
    let allowed = |all: bool, c: &u8| all & (c.is_ascii_alphanumeric() | matches!(c, b'-' | b'_'));
    // Without an early end, so that many characters are looked at in one step.
    if !text.iter().fold(true, allowed) {
        return None;
    }
    // What the last character says past the last byte must be 0 (RFC 4648 section 3.5).
    let ends_well = match (text.len() % 4, text.last()) {
        (0, _) => true,
        (2, Some(last)) => b"AQgw".contains(last),
        (3, Some(last)) => b"AEIMQUYcgkosw048".contains(last),
        (_, _) => false,
    };
    ends_well.then_some(text.len() * 3 / 4)
}

/// The `N` bytes of `text`; `None` for every other length too.
pub(super) fn decode_exact<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    // The length first: `decode_slice` would accept less.
    if text.len() != text_len(N) {
        return None;
    }
    match URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()) {
        Ok(n) if n == N => Some(bytes),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_told_of_exactly_the_texts_that_are_decoded() {
        let characters = || (0x20..=0x7F_u8).map(char::from).chain(['é']);
        for beginning in ["", "A", "AA", "AAA", "AAAA", "A+", "AA=A"] {
            for (a, b) in characters().flat_map(|a| characters().map(move |b| (a, b))) {
                let text = format!("{beginning}{a}{b}");
                assert_eq!(
                    decoded_len(text.as_bytes()),
                    decode(&text).map(|b| b.len()),
                    "{text:?}"
                );
            }
        }
        assert_eq!(decoded_len(b""), Some(0));
    }

    #[test]
    fn one_text_for_the_same_bytes() {
        assert_eq!(decode_exact::<2>("AAA").map(|b| *b), Some([0, 0]));
        for text in ["AAB", "AA", "AAAA", "AAA=", "AA+", "A A", ""] {
            assert!(decode_exact::<2>(text).is_none(), "{text:?}");
        }
        assert!(decode("AAB").is_none() && decode("AAA=").is_none());
    }
}
