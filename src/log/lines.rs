//! The lines that checkpoints, receipts and witness requests are made of: decimals and hashes, each
//! with one way to write it. Nothing else is accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::types::digest::LeafHash;

use super::leaf::NodeHash;

/// The number of a decimal without sign and leading zeros.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in base64 with padding (RFC 4648 section 4), as C2SP writes it.
pub(super) fn encode_hash(hash: &NodeHash) -> String {
    STANDARD.encode(hash.as_bytes())
}

/// The hash of such a line.
pub(super) fn decode_hash(line: &str) -> Option<NodeHash> {
    let bytes = STANDARD.decode(line).ok()?;
    bytes.try_into().ok().map(LeafHash::from_bytes)
}

/// The hashes of `lines`; `None` for more than `max`, or a line that is none.
pub(super) fn decode_hashes<'a>(
    lines: impl Iterator<Item = &'a str>,
    max: usize,
) -> Option<Vec<NodeHash>> {
    let mut hashes = Vec::new();
    for line in lines {
        if max <= hashes.len() {
            return None;
        }
        hashes.push(decode_hash(line)?);
    }
    Some(hashes)
}

/// A body of lines, an empty line and a signed note: the lines, and the bytes of the note.
pub(super) fn split_note(body: &[u8]) -> Option<(impl Iterator<Item = &str>, &[u8])> {
    let body = std::str::from_utf8(body).ok()?;
    // The first empty line: the lines before the note are not empty, the note has some of its own.
    let (lines, note) = body.split_once("\n\n")?;
    Some((lines.split('\n'), note.as_bytes()))
}
